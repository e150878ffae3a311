"""How fast crawl.py loads a large feed, and how much memory that takes.

In: nothing; it writes feeds of its own, 1,000 categories, 60 words a product. Out, on stdout: rows
a second and peak memory of the whole command for each number of rows, into a new crawl.db, and once
more into the same one.

    python benchmarks/feed_rows.py
    python benchmarks/feed_rows.py --rows 10000,100000
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def write_feed(path, rows):
    rng = random.Random(0)
    words = [f"word{number}" for number in range(20_000)]
    with open(path, "w", encoding="utf-8") as file:
        file.write("id\ttitle\tdescription\tproduct_type\titem_group_id\n")
        for number in range(rows):
            leaf = number % 1000
            file.write(
                f"{number}\t{' '.join(rng.choices(words, k=6))}\t"
                f"{' '.join(rng.choices(words, k=54))}\tTop {leaf % 40} > Leaf {leaf}\t"
                f"{number // 3}\n"
            )


def timed(folder):
    """(seconds, peak memory in MB) of loading folder/feed.tsv."""
    began = time.monotonic()
    command = [sys.executable, ROOT / "crawl.py", "--feed", "feed.tsv"]
    pid = os.fork()
    if not pid:
        os.chdir(folder)
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        os.execv(sys.executable, list(map(str, command)))
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit("crawl.py failed")
    return time.monotonic() - began, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--rows",
        default="10000,100000,1000000",
        metavar="N,N",
        help="(default: 10000,100000,1000000)",
    )
    args = parser.parse_args(argv)
    print("| rows | | seconds | rows/s | peak memory |\n|---|---|---|---|---|")
    for rows in map(int, args.rows.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            write_feed(Path(folder) / "feed.tsv", rows)
            for turn in ("new", "again"):
                seconds, memory = timed(folder)
                print(
                    f"| {rows:,} | {turn} | {seconds:.1f} | {rows / seconds:,.0f} | "
                    f"{memory:.0f} MB |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
