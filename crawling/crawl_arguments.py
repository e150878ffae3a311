"""The flags of crawl.py: where products come from, and how pictures are fetched.

In: an argparse parser, then what it parsed. Out: checked arguments.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable

from common.arguments import rate, whole_number
from crawling import feed_products, shopstyle_api


def add_feed_arguments(parser: argparse.ArgumentParser) -> None:
    feed = parser.add_argument_group("from a catalogue file")
    feed.add_argument(
        "--feed",
        metavar="FILE_OR_URL",
        help="load this file (no pipe) instead of an API: a feed of Google "
        "Merchant, Meta, Shopify or Awin, or any table or JSON Lines (see "
        "docs/crawl.md)",
    )
    feed.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="FIELD=NAME",
        help="which column holds id, title, description, product_type (the "
        "category), image_link or item_group_id, if its name does not say so",
    )
    feed.add_argument(
        "--feed-images",
        metavar="DIR",
        help="the folder that relative links to pictures lie in (default: the feed's own folder)",
    )
    feed.add_argument(
        "--source",
        metavar="NAME",
        help="name of the feed's shop; products of the same name and id replace "
        "each other, so give a second shop another name (default: feed)",
    )
    feed.add_argument(
        "--unlabelled",
        action="store_true",
        help="load the products without the feed's categories, for --apply to "
        "file; products that have a category already keep it",
    )


def add_api_arguments(parser: argparse.ArgumentParser) -> None:
    api = parser.add_argument_group("from an API")
    api.add_argument(
        "--api-url",
        metavar="URL",
        default=os.environ.get("SHOPSTYLE_API_URL") or shopstyle_api.API_URL,
        help="where the ShopStyle API v2 is (default: SHOPSTYLE_API_URL in the "
        f"environment, otherwise {shopstyle_api.API_URL})",
    )
    api.add_argument(
        "--root",
        default="women",
        metavar="ID",
        help="category whose leaves are crawled (default: women)",
    )
    api.add_argument(
        "--max-per-category",
        type=whole_number(),
        default=1000,
        metavar="N",
        help="products to file in a leaf before going on to the next; a feed is "
        "never limited (default: 1000)",
    )


def add_picture_arguments(parser: argparse.ArgumentParser) -> None:
    images = parser.add_argument_group("pictures")
    images.add_argument(
        "--image-rate",
        type=rate,
        default=8.0,
        metavar="N",
        help="pictures a second from one host, at most; 0 for no limit (default: 8)",
    )
    images.add_argument(
        "--allow-private",
        action="store_true",
        help="fetch pictures from private addresses too, for example from a shop "
        "on this machine, and through a proxy",
    )
    images.add_argument(
        "--retry-failed", action="store_true", help="also try again the pictures that were unusable"
    )


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with an error if flags do not fit together."""
    for name in ("column", "feed_images", "source", "unlabelled"):
        if getattr(args, name) and args.feed is None:
            parser.error(f"--{name.replace('_', '-')} is for --feed")
    if args.feed_images is not None and not os.path.isdir(args.feed_images):
        parser.error(f"--feed-images takes a folder, and {args.feed_images} is none")
    if (args.verify or args.status) and (args.feed is not None or args.retry_failed):
        parser.error(
            "--verify and --status look at all that is there: leave --feed and --retry-failed out"
        )


def named_columns(parser: argparse.ArgumentParser, texts: Iterable[str]) -> dict[str, str]:
    """{field: column name} of the --column arguments."""
    columns = {}
    for text in texts:
        field, equals, name = text.partition("=")
        if field not in feed_products.FIELDS or not equals or not name.strip():
            parser.error(
                "--column takes FIELD=NAME, FIELD one of " + ", ".join(feed_products.FIELDS)
            )
        columns[field] = name
    return columns
