"""How long does a cache of many bottlenecks take to open, to look up and to append to, and how much
memory? And does training end on bottlenecks that do not fit in memory?

In: nothing; it makes keys and rows by chance, in a folder that it removes. Out, on stdout: a table
of seconds and memory, each line from a process of its own, with today's cache beside the dict of
keys in hex that came before it; with --training, the seconds and rates of a training, whose memory
and page cache together stay within --memory if this process may make a control group (else it says
so and is not bounded).

    python benchmarks/cache.py
    python benchmarks/cache.py --rows 100000000 --size 1 --no-dict
    python benchmarks/cache.py --training 1000000 --memory 4
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common.terminal import run  # noqa: E402
from learning import bottleneck_cache, key_index  # noqa: E402

PIECE = 1_000_000  # rows that are written at a time
CLASSES = 100
FINGERPRINT = {"network": "made by chance"}


def memory():
    """(MB of this process's own, MB of files mapped into it, MB of both at the most so far)."""
    status = Path("/proc/self/status").read_text()
    return tuple(
        int(re.search(rf"{name}:\s*(\d+)", status)[1]) / 1000
        for name in ("RssAnon", "RssFile", "VmHWM")
    )


def make(folder, rows, size):
    """Write the files of a cache, whose sums are zero: nobody here compares them."""
    cache = bottleneck_cache.Cache(folder, FINGERPRINT, size)
    rng = np.random.default_rng(0)
    with open(cache.keys_path, "wb") as keys, open(cache.data_path, "wb") as data:
        for start in range(0, rows, PIECE):
            count = min(PIECE, rows - start)
            records = np.zeros((count, key_index.RECORD), np.uint8)
            records[:, : key_index.KEY] = rng.integers(0, 256, (count, key_index.KEY), np.uint8)
            keys.write(records.data)
            data.write(rng.random((count, size), np.float32).data)


def asked(cache_or_path, rows, count):
    """Keys to look up, in hex: half of them are in the cache."""
    rng = np.random.default_rng(1)
    records = np.memmap(cache_or_path, np.uint8, "r", shape=(rows, key_index.RECORD))
    there = records[rng.integers(0, rows, count // 2)][:, : key_index.KEY]
    absent = rng.integers(0, 256, (count - count // 2, key_index.KEY), np.uint8)
    return [key.tobytes().hex() for key in rng.permutation(np.concatenate([there, absent]))]


class Dict:
    """The cache's dict as it was: the keys in hex."""

    def __init__(self, path):
        self.rows = {}
        with open(path, "rb") as file:
            while piece := file.read(key_index.RECORD * 10_000):
                for start in range(0, len(piece), key_index.RECORD):
                    self.rows[piece[start : start + 32].hex()] = len(self.rows)

    def find(self, keys):
        return np.array([self.rows.get(key, -1) for key in keys])


def work(what, folder, rows, size):
    """Open, look up and append; print what it took as JSON."""
    path = next(Path(folder).glob("*.keys"))
    keys = asked(path, rows, 1_000_000)
    fresh = [f"{i:064x}" for i in range(10_000)]
    before, taken = memory(), {}
    began = time.perf_counter()
    cache = Dict(path) if what == "dict" else bottleneck_cache.Cache(folder, FINGERPRINT, size)
    taken["open"], opened = time.perf_counter() - began, memory()
    began = time.perf_counter()
    batches = bottleneck_cache.in_batches(keys, bottleneck_cache.LOOKED_UP)
    found = np.concatenate([cache.find(batch) for batch in batches])
    taken["look up"] = time.perf_counter() - began
    assert 0 <= (found >= 0).sum() - 500_000 < 10
    if what == "again":
        began = time.perf_counter()
        cache.append(fresh, np.ones((len(fresh), size), np.float32))
        taken["append"] = time.perf_counter() - began
    after = memory()
    taken["own"] = opened[0] - before[0]
    taken["own, later"] = after[0] - before[0]
    taken["mapped"] = after[1] - before[1]
    taken["peak"] = after[2] - sum(before[:2])
    print(json.dumps(taken))


def index_table(rows, size, with_dict):
    names = {
        "dict": "the dict of before",
        "first": "index, first time (it is made)",
        "again": "index",
    }
    with tempfile.TemporaryDirectory() as folder:
        make(folder, rows, size)
        print(
            f"{rows:,} rows of {size}:\n\n"
            "| | open | look up a million | append 10,000 | memory after opening | after all "
            "| mapped files | peak of all |\n|---|---|---|---|---|---|---|---|",
            flush=True,
        )
        for what, name in names.items():
            if what == "dict" and not with_dict:
                continue
            taken = json.loads(in_a_process("--work", what, folder, rows, size))
            append = f"{taken['append']:.2f} s" if "append" in taken else ""
            print(
                f"| {name} | {taken['open']:.2f} s | {taken['look up']:.2f} s | {append} | "
                f"{taken['own']:,.0f} MB | {taken['own, later']:,.0f} MB | "
                f"{taken['mapped']:,.0f} MB | {taken['peak']:,.0f} MB |",
                flush=True,
            )


def in_a_process(*words):
    return subprocess.run(
        [sys.executable, __file__, *map(str, words)], check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--size", type=int, default=8, metavar="N", help="numbers in a row")
    parser.add_argument("--no-dict", action="store_true", help="leave out what came before")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.work:
        work(args.work[0], args.work[1], *map(int, args.work[2:]))
    else:
        index_table(args.rows, args.size, not args.no_dict)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
