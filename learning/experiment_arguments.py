"""The flags that the three classifiers share.

In: an argparse parser, then what it parsed. Out: what is wanted, and the settings to record.
"""

from __future__ import annotations

import argparse
import platform
import time
from importlib import metadata

from common.arguments import add_paths, seed, whole_number
from common.terminal import VERSION
from learning.category_tree import Rule
from learning.selection import Wanted

MEMBERS = 5  # of an ensemble: what they gain and cost is in results/README.md
# Flags that have no part in how a model was trained.
NOT_RECORDED = {
    "started",
    "explain",
    "experiment",
    "apply",
    "target",
    "confidence",
    "floor",
    "format",
    "file_anyway",
    "dry_run",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags, and the time that the run started."""
    parser.set_defaults(started=time.monotonic())
    add_paths(parser, "the SQLite file that crawl.py filled", "folder of the pictures")
    parser.add_argument(
        "--categories",
        default="",
        metavar="A,B",
        help="categories to tell apart, by id or by a category's own name if only "
        "one has it (default: all with --min-products)",
    )
    parser.add_argument(
        "--min-products",
        type=whole_number(),
        default=1000,
        metavar="N",
        help="without --categories, take the categories with at least so many products, of as many "
        "different styles (default: 1000)",
    )
    parser.add_argument(
        "--depth",
        type=whole_number(),
        metavar="N",
        help="count categories that are deeper than N levels as the category above them at level N; "
        "the top is level 1, and crawl.py --status shows the levels (default: the tree as it is)",
    )
    parser.add_argument(
        "--leaves-only",
        action="store_true",
        help="take only categories without others below them; products that are filed higher up "
        "take no part",
    )
    parser.add_argument(
        "--folds",
        type=whole_number(3, 100),
        metavar="K",
        help="train K models, each of which predicts a part of the products that it "
        "never saw, and save one that learns from all; 10 is a good number. "
        "(default: one model predicts a tenth of the products)",
    )
    parser.add_argument(
        "--split-by",
        choices=("cluster", "group"),
        default="cluster",
        help="what the split keeps on one side: clusters of near-duplicates, whose "
        "texts differ by a word or two, or only groups, which share their text or "
        "the feed's item_group_id (default: cluster)",
    )
    parser.add_argument(
        "--trust-filed",
        action="store_true",
        help="trust the categories that the shop's feed has now for products that "
        "--apply filed before; without it they are only learned, and no figure "
        "rests on them",
    )
    parser.add_argument(
        "--ensemble",
        type=whole_number(1, 20),
        metavar="N",
        help="train N networks and take the mean of them; each is blind to a share of the training "
        "products, which shows how often the answers are right; 1 takes about half as long "
        "(default: 5; 1 for a network of 2016)",
    )
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        metavar="N",
        help="start number of the random generator; the split does not depend on it (default: 0)",
    )


def members(args: argparse.Namespace) -> int:
    """How many networks to train. The network of 2016 was one, and is measured as it was."""
    return args.ensemble or (1 if getattr(args, "network", None) == "original" else MEMBERS)


def wanted(args: argparse.Namespace) -> Wanted:
    """Which products the experiment is asked to be about."""
    names = [name.strip() for name in args.categories.split(",") if name.strip()]
    return Wanted(
        names,
        args.min_products,
        args.folds,
        Rule(args.depth, args.leaves_only),
        args.split_by == "cluster",
        args.trust_filed,
    )


def run_settings(args: argparse.Namespace, **used) -> dict:
    """What made an experiment: its arguments, seed, versions and wall time in seconds. `used` are
    arguments whose value was found on the way."""
    versions = {
        name: metadata.version(name)
        for name in ("tensorflow", "keras", "numpy", "scikit-learn", "scipy")
    }
    return {
        "arguments": {
            name: value
            for name, value in sorted({**vars(args), "ensemble": members(args), **used}.items())
            if name not in NOT_RECORDED
        },
        "seed": args.seed,
        "version": VERSION,
        "versions": {"python": platform.python_version(), **versions},
        "wall_time": round(time.monotonic() - args.started, 2),
    }
