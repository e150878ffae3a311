"""The flags of analyze.py: the reports that it prints, and what goes with them.

In: a parser. Out: the same with the flags; analyze.py reads the command line with it:

    python analyze.py --help
"""

from __future__ import annotations

import argparse
import re

from common.arguments import share, whole_number


def add_reports(parser: argparse.ArgumentParser) -> None:
    """The flags that choose what is printed or done, one at a time."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--experiments",
        action="store_true",
        help="print a table of all experiments: how each was made, its accuracy, and "
        "the coverage that is certified for its leaves",
    )
    what.add_argument(
        "--experiment",
        type=int,
        metavar="N",
        help="print experiment N in full: certified coverage, what leaf, parent and "
        "a person would file, calibration, categories, settings",
    )
    what.add_argument(
        "--compare",
        type=int,
        nargs="+",
        metavar="N",
        help="compare experiments on the products that all have: exact McNemar test, "
        "paired bootstrap, products that flipped",
    )
    what.add_argument(
        "--label-suspects",
        type=int,
        metavar="N",
        help="print the products whose label may be wrong, as CSV, by an experiment with folds",
    )
    what.add_argument(
        "--overrides",
        metavar="FILE",
        help="store a person's decisions in crawl.db, from a CSV file that a page has "
        "saved, or that --label-suspects has printed and you have filled in "
        "(column `decision`); later training uses them. A line that can't be used is reported and "
        "left "
        "out, and the exit status is 1",
    )
    what.add_argument(
        "--recategorize",
        metavar="FILE",
        help="rename, move and merge categories, with all products in them, as a CSV file says that "
        "has the columns from and to: ids, or paths such as Women > Jeans. Without `to` the "
        "products wait to be filed. A line that can't be used is reported and left out, and the "
        "exit status is 1",
    )
    what.add_argument(
        "--undo-recategorize",
        action="store_true",
        help="take back what the last --recategorize changed; again, what the one before it did",
    )
    what.add_argument(
        "--dump-errors-for-experiment",
        type=int,
        metavar="N",
        help="print an HTML page of the wrong predictions with the highest scores of experiment N",
    )
    what.add_argument(
        "--review",
        type=int,
        metavar="N",
        help="print an HTML page of the products that --apply N has left to a "
        "person or filed at the parent only, to choose their leaves",
    )
    what.add_argument(
        "--audit",
        type=int,
        metavar="N",
        help="print an HTML page of a random sample of what --apply N has filed by itself, to be "
        "called right or wrong; the answers come in by --overrides, and judge the promise",
    )
    what.add_argument(
        "--models",
        action="store_true",
        help="list the saved models, and the thresholds certified for them",
    )
    what.add_argument(
        "--export",
        type=int,
        metavar="N",
        help="print what --apply N has filed and what people have decided, as --format says, for "
        "the shop to import. A product that the format can't hold is reported and left out, and the "
        "exit status is 1",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The flags that go with those."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write the page or the export there, instead of printing it",
    )
    parser.add_argument(
        "--surest-first",
        action="store_true",
        help="with --review: the surest products first, instead of the least sure",
    )
    parser.add_argument(
        "--part",
        type=part_of,
        metavar="K/N",
        help="with --review: the K-th of N pages that have no product in common, for several people; "
        "products that are alike are on one of them",
    )
    parser.add_argument(
        "--unclear",
        action="store_true",
        help="with --review: also the products that a person has called unclear before",
    )
    parser.add_argument(
        "--confidence",
        type=share(50, 99.999),
        default=0.95,
        metavar="PERCENT",
        help="confidence of certificates, intervals and tests (default: 95)",
    )
    parser.add_argument(
        "--floor",
        type=share(0, 99.99),
        default=0.0,
        metavar="PERCENT",
        help="with --experiment and --dump-errors-for-experiment: file nothing at a leaf if "
        "clearly fewer of the products filed there would be right (default: 0, no floor)",
    )
    parser.add_argument(
        "--top",
        type=whole_number(),
        metavar="K",
        help="how many to show: errors on the page (default: 500), products to audit (150), flipped "
        "products and confused pairs (default: 20), products to review and suspects (default: all)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead")


def part_of(text: str) -> tuple[int, int]:
    """(k, n) of a --part k/n."""
    numbers = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
    if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no part: write 1/2 for the first of two")
    return int(numbers[1]), int(numbers[2])
