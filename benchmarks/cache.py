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
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common.terminal import log, run  # noqa: E402
from learning import bottleneck_cache, key_index, layers, training  # noqa: E402

PIECE = 1_000_000  # rows that are written at a time
CLASSES = 100
BATCHES = 20  # of 100 rows that are read in either way
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
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, taken = memory(), {}

    def timed(name, function):
        began = time.perf_counter(), time.process_time()
        result = function()
        ended = time.perf_counter(), time.process_time()
        taken[name] = f"{ended[0] - began[0]:.2f} s ({ended[1] - began[1]:.2f})"
        return result

    def make_ready():
        return Dict(path) if what == "dict" else bottleneck_cache.Cache(folder, FINGERPRINT, size)

    cache = timed("open", make_ready)
    opened = memory()
    batches = bottleneck_cache.in_batches(keys, bottleneck_cache.LOOKED_UP)
    found = timed("look up", lambda: np.concatenate([cache.find(batch) for batch in batches]))
    assert 0 <= (found >= 0).sum() - 500_000 < 10
    if what == "again":
        ones = np.ones((len(fresh), size), np.float32)
        timed("append", lambda: cache.append(fresh, ones))
    after = memory()
    taken["own"] = opened[0] - before[0]
    taken["own, later"] = after[0] - before[0]
    taken["mapped"] = after[1] - before[1]
    taken["peak"] = opened[2] - sum(before[:2])
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
            f"{rows:,} rows of {size}; seconds, and in brackets those of the processor:\n\n"
            "| | open | look up a million | append 10,000 | peak while opening | memory after opening "
            "| after all | files mapped in the end |\n|---|---|---|---|---|---|---|---|",
            flush=True,
        )
        for what, name in names.items():
            if what == "dict" and not with_dict:
                continue
            taken = json.loads(in_a_process("--work", what, folder, rows, size))
            print(
                f"| {name} | {taken['open']} | {taken['look up']} | {taken.get('append', '')} | "
                f"{taken['peak']:,.0f} MB | {taken['own']:,.0f} MB | "
                f"{taken['own, later']:,.0f} MB | {taken['mapped']:,.0f} MB |",
                flush=True,
            )


def in_a_process(*words, group=None):
    """What this program prints in a process of its own, in a control group if one is given."""
    enter = f"echo $$ > {group}/cgroup.procs && " if group else ""
    command = ["sh", "-c", enter + 'exec "$0" "$@"', sys.executable, __file__, *map(str, words)]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


# ---- training -----------------------------------------------------------------------------------


def make_matrix(path, labels, size):
    """Write rows by chance, in which the label shows, and have the system forget them."""
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        for start in range(0, len(labels), 10_000):
            part = labels[start : start + 10_000]
            rows = rng.random((len(part), size), np.float32)
            rows[np.arange(len(part)), part] += 1
            file.write(rows.data)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def labels_of(rows):
    return np.random.default_rng(1).integers(0, CLASSES, rows).astype(np.int32)


def bytes_read():
    """Bytes that this process has had read from the disk."""
    return int(re.search(r"^read_bytes: (\d+)", Path("/proc/self/io").read_text(), re.M)[1])


def train(path, rows, steps):
    """Train on a file of rows, and print what each part took as JSON."""
    labels = labels_of(rows)
    size = os.path.getsize(path) // 4 // rows
    matrix = np.memmap(path, np.float32, "r", shape=(rows, size))
    order = np.random.default_rng(2).permutation(rows)
    inputs, labels = layers.Inputs(bottlenecks=matrix, rows=order), labels[order]
    part, validation = np.split(np.arange(rows), [rows - rows // 10])
    taken, read = {}, {}

    def timed(name, function, *args, **more):
        began, before = time.perf_counter(), bytes_read()
        result = function(*args, **more)
        taken[name] = time.perf_counter() - began
        read[name] = (bytes_read() - before) / 1e9
        return result

    options = training.Options(max_steps=steps)
    few = part[:100]
    training.train(inputs, labels, CLASSES, few, few, training.Options(max_steps=2))  # TensorFlow
    batches = np.sort(np.random.default_rng(3).integers(0, rows, (2, BATCHES, 100)))
    timed("at once", lambda: [layers.read_rows(matrix, batch) for batch in batches[1]])
    timed("plain", lambda: [matrix[batch] for batch in batches[0]])
    timed("statistics", layers.bottleneck_statistics, inputs, part)
    trained = timed("training", training.train, inputs, labels, CLASSES, part, validation, options)
    accuracy = timed("evaluation", training.evaluate, trained.weights, inputs, labels, validation)
    print(json.dumps([taken, read, memory()[0], accuracy[1]]))


@contextlib.contextmanager
def control_group(gigabytes):
    """The path of a control group below this process's own whose memory, page cache included, has a
    bound; None if it can't be made. It is removed in the end."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().split())
    for kind, root, bound in (
        ("memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("", "/sys/fs/cgroup", "memory.max"),
    ):
        group = Path(f"{root}{own.get(kind, '/')}/bottlenecks-{os.getpid()}")
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / bound).write_text(str(int(gigabytes * 2**30)))
            yield group
            return
        except FileNotFoundError:
            continue
        finally:
            group.rmdir()
    log("this process may not make a control group: the memory is not bounded")
    yield None


def training_table(rows, size, gigabytes, steps):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.f32"
        make_matrix(path, labels_of(rows), size)
        print(
            f"{rows:,} rows of {size}, {path.stat().st_size / 1e9:.1f} GB, {steps:,} steps of 100\n\n"
            "| memory | 100 random rows of the plain mapping | by read_rows | statistics | training "
            "| of which a step | evaluation | memory of its own | accuracy |\n"
            "|---|---|---|---|---|---|---|---|---|",
            flush=True,
        )
        for bound in (gigabytes, None):
            with control_group(bound) if bound else contextlib.nullcontext() as group:
                words = ("--train", path, rows, steps)
                taken, read, own, accuracy = json.loads(in_a_process(*words, group=group))
            # Training begins with the statistics, and ends with two passes over validation.
            step = (taken["training"] - taken["statistics"] - 2 * taken["evaluation"]) / steps
            batch = [
                f"{1000 * taken[how] / BATCHES:.1f} ms, {1000 * read[how] / BATCHES:.1f} MB read"
                for how in ("plain", "at once")
            ]
            whole = [
                f"{taken[part]:.0f} s, {read[part]:.1f} GB read"
                for part in ("statistics", "training")
            ]
            print(
                f"| {f'{bound:g} GB' if bound else 'not bounded'} | {' | '.join(batch + whole)} | "
                f"{1000 * step:.1f} ms | {taken['evaluation']:.0f} s | {own:,.0f} MB | "
                f"{100 * accuracy:.1f} % |",
                flush=True,
            )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--size", type=int, default=8, metavar="N", help="numbers in a row")
    parser.add_argument("--no-dict", action="store_true", help="leave out what came before")
    parser.add_argument("--training", type=int, metavar="N", help="train on so many rows instead")
    parser.add_argument("--memory", type=float, default=4, metavar="GB")
    parser.add_argument("--steps", type=int, default=4000, metavar="N")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--train", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.work:
        work(args.work[0], args.work[1], *map(int, args.work[2:]))
    elif args.train:
        train(args.train[0], *map(int, args.train[1:]))
    elif args.training:
        training_table(args.training, 2048, args.memory, args.steps)
    else:
        index_table(args.rows, args.size, not args.no_dict)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
