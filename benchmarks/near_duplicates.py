"""How long it takes to find the near-duplicates of a million products, and how much memory.

In: nothing; it draws catalogues, of names alone that run into each other ("brand3 men check blue
shirt"), and of such names with descriptions of 60 words, two colours a style. Out: seconds of a
core to read the texts (less the drawing) and to link them, and the memory that takes at its
peak, by kind and number of rows. Each is a process of its own.

    python benchmarks/near_duplicates.py
    python benchmarks/near_duplicates.py --rows 100000
"""

import argparse
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learning import near_duplicates

COLOURS = "black white blue navy red green grey brown pink yellow purple orange".split()


def draw(rows, described, seed=1):
    """Yield (name, description) of so many products, two colours a style."""
    rng = random.Random(seed)
    words = [f"word{int(i**1.5)}" for i in range(20_000)]
    for number in range(rows):
        if number % 2 == 0:
            name = [
                f"brand{int(80 * rng.random() ** 2)}",
                rng.choice(("men", "women")),
                rng.choice(("check", "solid", "printed", "plain")),
                f"kind{int(40 * rng.random() ** 2)}",
            ]
            if rng.random() < 0.4:
                name.insert(1, f"model{rng.randrange(rows // 20)}")
            text = " ".join(rng.choices(words, k=60)) if described else None
        yield " ".join([*name, rng.choice(COLOURS)]), text


def measure(rows, described):
    """Print one line of the table."""

    def memory():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

    core = time.process_time()
    for _ in draw(rows // 10, described):
        pass
    drawing, before = 10 * (time.process_time() - core), memory()
    core = time.process_time()
    texts = near_duplicates.word_sets(draw(rows, described))
    read, core = time.process_time() - core - drawing, time.process_time()
    found, chains = near_duplicates.bounded(np.arange(rows), texts)
    size = np.bincount(found)
    print(
        f"| {'name and description' if described else 'name'} | {rows:,} | "
        f"{len(texts.hashes) / rows:.1f} | {read:.1f} | {time.process_time() - core:.1f} | "
        f"{memory() - before:.0f} | {100 * (size[found] > 1).mean():.1f} % | {size.max()} | "
        f"{max(chains, default=0):,} |",
        flush=True,
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", default="100000,1000000", metavar="N,N")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        measure(int(args.one[0]), args.one[1] == "True")
        return 0
    print(
        "| text | rows | words | s to read | s to link | peak MB | in clusters | largest | "
        "longest chain |\n|" + "---|" * 9,
        flush=True,
    )
    for described in (False, True):
        for rows in args.rows.split(","):
            subprocess.run([sys.executable, __file__, "--one", rows, str(described)], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
