"""Bottlenecks by the workers of a local cluster, beside this process alone, in one run.

In: a folder of pictures. Out: pictures a second of each, the ratio of each round, and whether the
rows are the same, bit by bit. A worker takes some seconds to start, which a run of an hour does not
notice: the first rate is from when the first of them has loaded the network, `whole` is all of it.

    python benchmarks/cluster.py --images "$CATALOGUES/hm/images" --weights FILE --layer mixed8
    python benchmarks/cluster.py --images "$CATALOGUES/hm/images" --precision int8 --workers 1 2 4
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common.files import file_sha256
from learning import bottlenecks, cluster, cluster_address, inception, shards
from learning.bottleneck_cache import Cache

HERE = 0  # workers: this process alone


class Clock:
    """A progress bar that notes when how many pictures were done."""

    def __init__(self, total: int) -> None:
        self.total, self.began, self.done = total, time.perf_counter(), 0
        self.first = self.last = 0.0  # seconds: the first call, which a worker's first piece makes

    def update(self, number: int = 1) -> None:
        self.last = time.perf_counter() - self.began
        self.first = self.first or self.last
        self.done += number

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """What a progress bar shows is not needed."""

    def whole(self) -> float:
        """Pictures a second from the start."""
        return self.done / self.last

    def steady(self) -> float:
        """Pictures a second from when the first worker has loaded the network."""
        return self.done / (self.last - self.first)


class Measured(NamedTuple):
    steady: float  # pictures a second
    whole: float
    rows: np.ndarray  # float32 [n, size]


def measure(
    workers: int, args: argparse.Namespace, network: tuple, pictures: dict[str, str]
) -> Measured:
    """Compute all pictures {SHA-256: path} into a new cache."""
    model, fingerprint = network
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        cache = Cache(folder, fingerprint, model.output_shape[1])
        clock = Clock(len(pictures))
        if workers == HERE:
            forward = inception.make_forward(model, args.precision)
            clock.began = time.perf_counter()
            bottlenecks.fill(
                cache,
                pictures.items(),
                forward,
                lambda key, path: bottlenecks.read_picture(path),
                clock,
            )
        else:
            recipe = shards.recipe(cache, fingerprint, args.weights, 0, args.layer)
            options = cluster_address.Options(f"local:{workers}")
            cluster.fill(options, recipe, cache, pictures.items(), clock)
        rows = np.array(cache.matrix()[cache.find(list(pictures))])
    return Measured(clock.whole() if workers == HERE else clock.steady(), clock.whole(), rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--images", required=True, metavar="DIR")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--layer", default="avg_pool")
    parser.add_argument("--precision", default="float32", choices=inception.PRECISIONS)
    parser.add_argument("--pictures", type=int, default=3000, metavar="N")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--scratch", metavar="DIR", help="where caches are made")
    args = parser.parse_args(argv)
    files = sorted(path for path in Path(args.images).rglob("*") if path.is_file())
    pictures: dict[str, str] = {}
    for path in itertools.islice(files, args.pictures):
        pictures.setdefault(file_sha256(str(path)), str(path))
    network = inception.build_network(args.weights, args.layer, 0, args.precision)
    print(f"{len(pictures)} pictures, {args.precision}, {os.cpu_count()} cores", flush=True)
    ratios: dict[int, list[float]] = {workers: [] for workers in args.workers}
    for turn in range(args.rounds):
        alone = measure(HERE, args, network, pictures)
        print(f"round {turn + 1}: alone {alone.steady:.1f}/s ({alone.whole:.1f} whole)", flush=True)
        for workers in args.workers:
            there = measure(workers, args, network, pictures)
            ratios[workers].append(there.steady / alone.steady)
            same = int((there.rows == alone.rows).all(axis=1).sum())
            print(
                f"  {workers} workers {there.steady:.1f}/s ({there.whole:.1f} whole), "
                f"ratio {ratios[workers][-1]:.3f}; {same} rows the same, bit by bit",
                flush=True,
            )
    for workers, measured in ratios.items():
        print(
            f"{workers} workers: {statistics.median(measured):.3f} of the rate of one process, "
            f"from {min(measured):.3f} to {max(measured):.3f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
