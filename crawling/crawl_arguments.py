"""The flags of crawl.py: where products come from, and how pictures are fetched.

In: an argparse parser, then what it parsed. Out: checked arguments.
"""

from __future__ import annotations

import argparse
import os

from common.arguments import rate, whole_number
from crawling import feed_arguments, fetched_elsewhere, shopstyle_api
from crawling.http_client import TRIES


def add_feed_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that say which files a feed has, and how they are read."""
    feed = parser.add_argument_group("from a catalogue file")
    feed.add_argument(
        "--feed",
        action="extend",
        nargs="+",
        metavar="FILE_OR_URL",
        help="load this catalogue instead of an API: a file, folder, zip or URL, or several; "
        "docs/crawl.md lists the systems and formats that are known",
    )
    feed_arguments.add_reading_arguments(feed)
    feed.add_argument(
        "--sheet",
        metavar="NAME",
        help="which sheet of a spreadsheet to read (default: the first with a header)",
    )
    add_storing_arguments(feed)


def add_storing_arguments(feed: argparse._ArgumentGroup) -> None:
    """The flags that say what is done with the products of a feed."""
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
    feed.add_argument(
        "--remove-missing",
        action="store_true",
        help="mark products that the feed no longer has: they are kept, but out of "
        "training and filing until a feed has them again",
    )
    feed.add_argument(
        "--write-moves",
        metavar="FILE",
        help="write the categories that the feed has renamed or moved to this CSV file, for "
        "analyze.py --recategorize; with --dry-run nothing else is written",
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
        "on this machine, and through a proxy; let a feed's public host redirect to one",
    )
    images.add_argument(
        "--adopt-images",
        metavar="DIR",
        help="first take the pictures that img2dataset has fetched into this folder; what it lacks "
        "is fetched as usual",
    )
    images.add_argument(
        "--retry-failed", action="store_true", help="also try again the pictures that were unusable"
    )


def add_other_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that say what is done instead of a crawl, and how often a request is tried."""
    only = parser.add_mutually_exclusive_group()
    only.add_argument(
        "--verify",
        action="store_true",
        help="only check crawl.db, and all pictures on the disk; the next crawl fetches those "
        "again that are damaged or gone",
    )
    only.add_argument(
        "--status",
        action="store_true",
        help="only say where the crawl stands, and show the category tree by level",
    )
    only.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what would be done; nothing is written, and nothing is asked of an API",
    )
    parser.add_argument(
        "--tries",
        type=whole_number(),
        default=TRIES,
        metavar="N",
        help="how often a request that may succeed later is tried (default: "
        f"{TRIES}, with up to 2, 4, 8 and 16 s between them)",
    )


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with an error, or UserError, if flags do not fit together."""
    for_feeds = (
        "column",
        "separator",
        "ignore_category",
        "category_names",
        "encoding",
        "sheet",
        "feed_images",
        "adopt_images",
        "source",
        "unlabelled",
        "remove_missing",
        "write_moves",
    )
    for name in for_feeds:
        if getattr(args, name) and args.feed is None:
            parser.error(f"--{name.replace('_', '-')} is for --feed")
    if args.feed is not None and not all(args.feed):
        parser.error("--feed must name a file, a folder or a URL")
    if args.separator is not None and not args.separator:
        parser.error("--separator must name what stands between the levels of a category")
    for flag, folder in (
        ("--feed-images", args.feed_images),
        ("--adopt-images", args.adopt_images),
    ):
        if folder is not None and not os.path.isdir(folder):
            parser.error(f"{flag} takes a folder, and {folder} is none")
    if args.adopt_images is not None:
        fetched_elsewhere.check_folder(args.adopt_images)
    if args.write_moves is not None:
        check_moves_file(parser, args)
    if (args.verify or args.status) and (args.feed is not None or args.retry_failed):
        parser.error(
            "--verify and --status look at all that is there: leave --feed and --retry-failed out"
        )


def check_moves_file(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with an error if --write-moves can't be done, before a million rows are read."""
    path = args.write_moves
    folder = os.path.dirname(os.path.abspath(path))
    if args.unlabelled:
        parser.error("--write-moves needs the feed's categories: leave --unlabelled out")
    if not path or os.path.isdir(path) or not os.path.isdir(folder):
        parser.error(f"--write-moves takes a file in a folder that is there, not {path!r}")
    if not os.access(folder, os.W_OK):
        parser.error(f"--write-moves can't write into {folder}: name a file in another folder")
    if os.path.exists(path) and not is_moves_file(path):
        parser.error(f"--write-moves would replace {path}, which holds no moves: name another file")
    if os.path.realpath(path) in map(os.path.realpath, (args.db_path, *args.feed)):
        parser.error(f"--write-moves would replace {path}, which is read: name another file")


def is_moves_file(path: str) -> bool:
    """Whether a file is empty or begins as --write-moves writes it."""
    if not os.path.isfile(path):  # a pipe or a device
        return False
    with open(path, "rb") as file:
        return file.read(8) in (b"", b"from,to,")
