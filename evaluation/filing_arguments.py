"""The flags of --apply, which the three classifiers share.

In: an argparse parser, then what it parsed. Out: Options for filing.py.

    python categorize_words.py --apply 1 --target 95 --dry-run
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

from common.arguments import share

USUAL_FLOOR = 0.9


class Options(NamedTuple):
    """What --apply is asked to do."""

    number: int  # of the experiment
    db_path: str
    target: float  # share of the filed products that have to be right
    confidence: float  # of that promise
    floor: float  # share of the products filed at each leaf that has to be right
    format: str  # csv or jsonl
    file_anyway: bool  # file also the products of shops that are refused
    dry_run: bool


def options(args: argparse.Namespace) -> Options:
    """The Options of a script's arguments. A floor above the target has to be asked for."""
    return Options(
        args.apply,
        args.db_path,
        args.target,
        args.confidence,
        min(USUAL_FLOOR, args.target) if args.floor is None else args.floor,
        args.format,
        args.file_anyway,
        args.dry_run,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("filing the products without a category")
    group.add_argument(
        "--apply",
        type=int,
        metavar="N",
        help="train nothing: file the products without a category with the model of "
        "experiment N, and print what was filed",
    )
    group.add_argument(
        "--target",
        type=share(50, 99.99),
        default=0.98,
        metavar="PERCENT",
        help="how many of the filed products have to be right (default: 98)",
    )
    group.add_argument(
        "--confidence",
        type=share(50, 99.99),
        default=0.95,
        metavar="PERCENT",
        help="the confidence of that promise (default: 95)",
    )
    group.add_argument(
        "--floor",
        type=share(0, 99.99),
        metavar="PERCENT",
        help="file nothing at a leaf if clearly fewer of the products filed there would be right; "
        "0 for no floor (default: 90, or the target if that is lower)",
    )
    group.add_argument(
        "--format", choices=("csv", "jsonl"), default="csv", help="what is printed (default: csv)"
    )
    group.add_argument(
        "--file-anyway",
        action="store_true",
        help="file also the products of a shop that are so different that nothing "
        "is promised for them",
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="file nothing: print how many products would be filed, and what would "
        "change against what is filed now, for example with another --target",
    )


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a sentence if a flag would have no effect: those of --apply without it, and those of
    training with it."""
    if args.apply is None:
        for name in ("dry_run", "target", "confidence", "floor", "format", "file_anyway"):
            if getattr(args, name) != parser.get_default(name):
                parser.error(f"--{name.replace('_', '-')} is for --apply: training has none")
    elif args.folds or args.categories or args.trust_filed:
        parser.error(
            "--apply trains nothing, and files what its experiment learned: leave "
            "--folds, --categories and --trust-filed out"
        )
