"""The flags that say how a catalogue file is read, which crawl.py and analyze.py share.

In: an argparse parser, then what it parsed. Out: SurveyOptions for feed_survey.py.

    python crawl.py --feed stock.csv --column id=SKU --column title=Name
    python analyze.py --export 1 --format same --feed stock.csv --column id=SKU --column title=Name
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable

from common.terminal import UserError
from crawling.feed_dialects import FIELDS
from crawling.feed_reading import SurveyOptions
from crawling.feed_types import ReadOptions

LONGEST_LINE = 10_000  # characters of a file of names


def add_reading_arguments(group: argparse._ActionsContainer) -> None:
    """The flags that say what is what in a catalogue file."""
    group.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="FIELD=NAME",
        help="which column holds id, title, description, product_type (the category), image_link "
        "or item_group_id. NAME is a name or a number from 1; product_type=A,B takes a level from "
        "each column; image_link=images/{sku}.jpg is made of the column sku",
    )
    group.add_argument(
        "--separator",
        metavar="TEXT",
        help="what stands between the levels of a category (default: what most of the file's "
        "categories have, such as ' > ' or '/')",
    )
    group.add_argument(
        "--ignore-category",
        action="append",
        default=[],
        metavar="NAME",
        help="a category, or a level of one, that is none: 'Sale'; may be repeated",
    )
    group.add_argument(
        "--category-names",
        metavar="FILE",
        help="names for categories that are numbers: lines such as '166 - Apparel & Accessories', "
        "as Google publishes them",
    )
    group.add_argument(
        "--encoding",
        metavar="NAME",
        help="how a text file is encoded, such as cp1252, if it is not UTF-8",
    )


def named_columns(parser: argparse.ArgumentParser, texts: Iterable[str]) -> dict[str, str]:
    """{field: column name} of the --column arguments."""
    columns = {}
    for text in texts:
        field, equals, name = text.partition("=")
        if field not in FIELDS or not equals or not name.strip():
            parser.error("--column takes FIELD=NAME, FIELD one of " + ", ".join(FIELDS))
        if field in columns:
            parser.error(f"--column names {field} twice: name it once")
        columns[field] = name
    return columns


def category_numbers(path: str) -> dict[str, str]:
    """{number: category} of a file with lines such as '166 - Apparel & Accessories'. Raises
    UserError if it can't be read or has no such line."""
    numbers = {}
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"--category-names {path} is no file: name one")
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            while line := file.readline(LONGEST_LINE):
                number, dash, category = line.partition(" - ")
                if dash and number.strip().isdigit() and category.strip():
                    numbers[number.strip()] = category.strip()
    except OSError as error:
        raise UserError(f"--category-names {path}: {error.strerror}; name a file") from None
    if not numbers:
        raise UserError(
            f"--category-names {path} has no line such as '166 - Apparel & Accessories'"
        )
    return numbers


def survey_options(args: argparse.Namespace) -> SurveyOptions:
    """What the flags say about how a feed is read. Raises UserError if a file that they name can't
    be read."""
    return SurveyOptions(
        ReadOptions(args.column, args.encoding, getattr(args, "sheet", None)),
        args.separator,
        tuple(args.ignore_category),
        category_numbers(args.category_names) if args.category_names else {},
    )
