"""How long `python analyze.py` takes over many predictions, and the 2016 rule in a loop on them.

In: nothing; it fills a crawl.db of its own. Out, on stdout: seconds of both, median and spread of
the rounds, their ratio, and the memory of analyze.py. The rule of 2016: of the thresholds 0, .001,
... .999 the first at which enough of the accepted products are right, found by counting in a loop.

    python benchmarks/block.py
    python benchmarks/block.py --products 100000 --rounds 5
"""

import argparse
import contextlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import db  # noqa: E402
from common.terminal import log, run  # noqa: E402
from crawling import queries as crawling_queries
from evaluation import figures
from learning import model_folders

LEAVES, PARENTS = 156, 38


def fill(path, n):
    """A crawl.db with one experiment of n predictions whose scores are calibrated."""
    leaves = [f"women.group-{i % PARENTS}.leaf-{i}" for i in range(LEAVES)]
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, LEAVES, n), rng.beta(3, 0.4, n)
    guess = np.where(rng.random(n) < score, label, rng.integers(0, LEAVES, n))
    five = json.dumps([[leaf, 0.123456] for leaf in leaves[:5]])
    with contextlib.closing(db.open_database(path, create=True)) as conn:
        crawling_queries.store_categories(
            conn,
            [
                (leaf, f"group-{i % PARENTS}", 1, f"group-{i % PARENTS}/{leaf}", leaf)
                for i, leaf in enumerate(leaves)
            ],
        )
        rows = (
            (i, leaves[guess[i]], float(score[i]), leaves[label[i]], 0.5, "group-1", 0.9, five, 0)
            for i in range(n)
        )
        model_folders.save_experiment(
            conn, path, "Text classification of: ", {}, rows, [], lambda folder: None
        )


def rule_of_2016(rows, target):
    """The coverage that the first threshold of the grid gives, counted in a loop."""
    for thousandth in range(1000):
        threshold, accepted, right = thousandth / 1000, 0, 0
        for score, hit in rows:
            if score >= threshold:
                accepted += 1
                right += hit
        if accepted and right / accepted >= target:
            return accepted / len(rows)
    return 0.0


def loop(path):
    """Seconds that reading the rows and the four coverages of the block take in a loop."""
    started = time.perf_counter()
    with contextlib.closing(db.open_readonly(path)) as conn:
        rows = list(zip(*map(np.ndarray.tolist, figures.block_scores(conn, 1))))
    for level in (1, 2):
        for target in (0.95, 0.98):
            rule_of_2016([(row[0], row[level]) for row in rows], target)
    return time.perf_counter() - started


def ours(path):
    """Seconds of `python analyze.py`, start of Python included, on a file that was just read, as
    for the loop: between rounds the system may have put it out of memory."""
    Path(path).read_bytes()
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, ROOT / "analyze.py", "--db-path", path], check=True, capture_output=True
    )
    return time.perf_counter() - started


def memory(path):
    """What analyze.py takes at its peak, in MB. Linux; getrusage would count this process in."""
    code = (
        "import sys, analyze; analyze.main(sys.argv[1:]); "
        "print(open('/proc/self/status').read(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--db-path", path],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return int(re.search(r"VmHWM:\s*(\d+)", done.stderr)[1]) / 1024


def spread(seconds):
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--products",
        type=int,
        default=1_000_000,
        metavar="N",
        help="predictions (default: 1000000)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        metavar="K",
        help="times to measure both, in turn (default: 5)",
    )
    args = parser.parse_args(argv)
    times = {ours: [], loop: []}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "crawl.db")
        fill(path, args.products)
        for turn in range(args.rounds):
            for way, seconds in times.items():
                seconds.append(way(path))
            log(f"round {turn + 1}: {times[ours][-1]:.2f} s against {times[loop][-1]:.2f} s")
        peak = memory(path)
    ratio = statistics.median(times[loop]) / statistics.median(times[ours])
    print(
        f"| {args.products:,} predictions | median of {args.rounds} (least to most) | memory |\n"
        "|---|---|---|\n"
        f"| `analyze.py` | {spread(times[ours])} | {peak:.0f} MB |\n"
        f"| the rule of 2016 in a loop | {spread(times[loop])} | |\n"
        f"| ratio of the medians | {ratio:.0f} | |"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
