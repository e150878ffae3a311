"""How long README's commands take with a million products in 5,000 leaves, and how much memory.

In: nothing; it draws such a catalogue, a tree of three levels with the same number of products in
each leaf, of which --strange have the words of another leaf (tests/trees.py). Out, on stdout: for
each number of products and of leaves the seconds and the peak memory of each command. Without
--folds the training has one split: with 10 folds it trains eleven networks instead of one. --keep
leaves the database in a folder, to look at it.

    python benchmarks/trees.py
    python benchmarks/trees.py --products 50000,200000 --leaves 100,5000
    python benchmarks/trees.py --products 200000 --folds 10
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import feed_rows

from tests import trees

NEW_PRODUCTS = 10_000


def commands(folds):
    """{what it does: a command}, in the order of README."""
    python = sys.executable
    words = (python, ROOT / "categorize_words.py")
    analyze = (python, ROOT / "analyze.py")
    load = (python, ROOT / "crawl.py", "--feed")
    training = ("--min-products", 5, *(("--folds", folds) if folds else ()))
    return {
        "load": (*load, "products.tsv"),
        "train": (*words, *training),
        "`--experiment`": (*analyze, "--experiment", 1),
        "load new ones": (*load, "new.tsv", "--unlabelled"),
        "file them": (*words, "--apply", 1, "--target", 95),
        "page of errors": (*analyze, "--dump-errors-for-experiment", 1, "-o", "errors.html"),
        "review page": (*analyze, "--review", 1, "-o", "review.html"),
    }


def measure(folder, products, leaves, folds, strange):
    """Print the lines of the table for a catalogue of this size."""
    tree = trees.many_leaves(products, leaves)
    trees.write(folder / "products.tsv", trees.products(tree, strange=strange / 100))
    trees.write(folder / "new.tsv", trees.new_products(tree, NEW_PRODUCTS))
    for name, command in commands(folds).items():
        taken = feed_rows.timed(folder, *command)
        result = "failed | " if taken is None else f"{taken[0]:.0f} | {taken[1]:.0f} MB"
        print(f"| {products:,} | {leaves:,} | {name} | {result} |", flush=True)


def numbers(text):
    return list(map(int, text.split(",")))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--products", type=numbers, default=[1_000_000], metavar="N,N")
    parser.add_argument("--leaves", type=numbers, default=[5000], metavar="N,N")
    parser.add_argument("--folds", type=int, metavar="K")
    parser.add_argument(
        "--strange",
        type=float,
        default=10,
        metavar="PERCENT",
        help="products with the words of another leaf (default: 10)",
    )
    parser.add_argument("--keep", metavar="DIR", help="a new folder for the last catalogue")
    args = parser.parse_args(argv)
    print("| products | leaves | | seconds | peak memory |\n|---|---|---|---|---|", flush=True)
    for products in args.products:
        for leaves in args.leaves:
            with contextlib.ExitStack() as stack:
                if args.keep:
                    folder = Path(args.keep) / f"{products}-{leaves}"
                    folder.mkdir(parents=True)
                else:
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                measure(folder, products, leaves, args.folds, args.strange)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
