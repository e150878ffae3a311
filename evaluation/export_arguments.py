"""The flags of --export, beside those of reading a file, which crawling/feed_arguments.py has.

In: an argparse parser, then what it parsed. Out: checked arguments.

    python analyze.py --export 1 --format shopify --source shop > types.csv
"""

from __future__ import annotations

import argparse
import os

from evaluation.export import CHOICES

DEFAULT = "csv"
OF_SAME = ("feed", "column", "separator", "ignore_category", "category_names", "encoding")


def add_arguments(group: argparse._ActionsContainer) -> None:
    """The flags that go with --export."""
    group.add_argument(
        "--format",
        choices=CHOICES,
        help=f"what --export prints: a table (csv, jsonl), the file that a shop's import takes, or "
        f"with --feed the same file with its categories filled in (default: {DEFAULT})",
    )
    group.add_argument(
        "--only", choices=("leaf",), help="leave out what was filed at the parent only"
    )
    group.add_argument(
        "--source",
        metavar="NAME",
        help="export the products of this shop only, as crawl.py --source named it",
    )
    group.add_argument(
        "--feed",
        metavar="FILE",
        help="with --format same: the file that was loaded; say of its columns what you said then",
    )


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a sentence if flags do not fit together."""
    if args.export is None:
        for name in ("format", "only", "source", *OF_SAME):
            if getattr(args, name):
                parser.error(f"--{name.replace('_', '-')} is for --export")
        return
    args.format = args.format or DEFAULT
    if args.json:
        parser.error("--export prints what --format says: leave --json out, and use --format jsonl")
    if args.format == "same":
        if not args.feed:
            parser.error("--format same needs the file that was loaded: name it with --feed")
        if os.path.isdir(args.feed) or not os.path.exists(args.feed):
            parser.error(f"--feed {args.feed} is no file on this machine: name one")
    else:
        for name in OF_SAME:
            if getattr(args, name):
                parser.error(f"--{name.replace('_', '-')} is for --format same")
    read = [args.db_path, *([args.feed] if args.feed else [])]
    if args.output and os.path.realpath(args.output) in map(os.path.realpath, read):
        parser.error(f"--output would replace {args.output}, which is read: name another file")
