"""Values of the command line, checked: what several scripts ask for in the same way.

In: an argparse parser, or the text of an argument. Out: flags, or values in the units that the
packages use (a percentage becomes a share).
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable

MOST_COUNT = 10**9


def add_paths(parser: argparse.ArgumentParser, database: str, pictures: str) -> None:
    """--db-path and --images-path; the texts say what they are to the script."""
    parser.add_argument(
        "--db-path", default="crawl.db", metavar="FILE", help=f"{database} (default: crawl.db)"
    )
    parser.add_argument(
        "--images-path",
        metavar="DIR",
        help=f"{pictures} (default: images/ beside the file of --db-path, or else the "
        "one in the current folder)",
    )


def whole_number(least: int = 1, most: int = MOST_COUNT) -> Callable[[str], int]:
    """A type for argparse: a whole number from least to most."""

    def value(text: str) -> int:
        if not re.fullmatch("[0-9]{1,20}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
        return int(text)

    return value


def count_or_all(text: str) -> int:
    """A whole number above 0, or -1 for all."""
    if text == "-1":
        return -1
    try:
        return whole_number()(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError("must be above 0, or -1 for all") from None


def seed(text: str) -> int:
    """What numpy and TensorFlow take as a seed: 32 bits."""
    return whole_number(0, 2**32 - 1)(text)


def share(least: float, most: float) -> Callable[[str], float]:
    """A type for argparse: a percentage from least to most, as a share of 1."""

    def value(text: str) -> float:
        try:
            percent = float(text)
        except ValueError:
            percent = math.nan
        if not least <= percent <= most:
            raise argparse.ArgumentTypeError(f"must be a percentage from {least:g} to {most:g}")
        return percent / 100

    return value


def rate(text: str) -> float:
    """How many a second; 0 for no limit."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (number == 0 or 1e-3 <= number <= 1e6):
        raise argparse.ArgumentTypeError("must be a number of pictures a second, or 0")
    return number
