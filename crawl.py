"""Fill crawl.db with a shop's categories and products, and images/ with their pictures.

In: a ShopStyle-compatible API (key in SHOPSTYLE_API_KEY), or with --feed a catalogue file. Out:
tables category, product, product_category and picture of crawl.db; one file a picture in images/.
Stop it whenever you like: the same command goes on where it was, page by page.

    python crawl.py --feed products.tsv
    SHOPSTYLE_API_KEY=... python crawl.py --root women
"""
import contextlib
import hashlib
import os
import tempfile
import time

import db
from common.arguments import add_paths, rate, whole_number
from common.files import images_folder
from common.terminal import (
    Parser,
    UserError,
    ended_at_once,
    log,
    run,
    told_to_stop,
)
from crawling import (
    api_crawl,
    feed_download,
    feed_import,
    feed_products,
    http_client,
    picture_store,
    queries,
    shopstyle_api,
    status,
)

# ---- the command ------------------------------------------------------------------------------

def parse(argv):
    parser = Parser(description=__doc__.split("\n\n")[0], epilog=(
        "The API key is read from the environment variable SHOPSTYLE_API_KEY. Exit status: 0 all "
        "done, 1 something could not be fetched (run it again) or no picture can be used, 2 a "
        "mistake to mend first, 130 or 143 stopped (run it again)."))
    add_paths(parser, "the SQLite file to fill", "folder for the pictures")
    add_source_arguments(parser)
    images = parser.add_argument_group("pictures")
    images.add_argument("--image-rate", type=rate, default=8.0, metavar="N",
                        help="pictures a second from one host at the most, 0 for no limit "
                        "(default: 8)")
    images.add_argument("--allow-private", action="store_true",
                        help="fetch pictures from private addresses too, as of a shop on this "
                        "machine, and through a proxy")
    images.add_argument("--retry-failed", action="store_true",
                        help="try the pictures again that were no good")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--verify", action="store_true",
                      help="only check all pictures on the disk; what is damaged or gone the next "
                      "crawl fetches again")
    only.add_argument("--status", action="store_true", help="only say where the crawl stands")
    only.add_argument("--dry-run", action="store_true",
                      help="only say what would be done; nothing is written, and nothing is asked "
                      "of an API")
    parser.add_argument("--tries", type=whole_number(), default=http_client.TRIES, metavar="N",
                        help="of a request that fails but may succeed (default: "
                        f"{http_client.TRIES}, with up to 2, 4, 8 and 16 s between them)")
    args = parser.parse_args(argv)
    for name in ("column", "source", "unlabelled"):
        if getattr(args, name) and args.feed is None:
            parser.error(f"--{name} is for --feed")
    if (args.verify or args.status) and (args.feed is not None or args.retry_failed):
        parser.error("--verify and --status look at all that is there: leave --feed and "
                     "--retry-failed out")
    args.images_path = images_folder(args.db_path, args.images_path)
    args.source = "feed" if args.source is None else args.source
    args.column = column_arguments(parser, args.column)
    return args


def add_source_arguments(parser):
    """The flags of where products come from, a catalogue file or an API."""
    feed = parser.add_argument_group("from a catalogue file")
    feed.add_argument("--feed", metavar="FILE_OR_URL",
                      help="load this file (a pipe is none) instead of an API: a feed of Google "
                      "Merchant, Meta, Shopify or Awin, or any table or JSON Lines (see "
                      "docs/crawl.md)")
    feed.add_argument("--column", action="append", default=[], metavar="FIELD=NAME",
                      help="which column holds id, title, description, product_type (the "
                      "category), image_link or item_group_id, where its name does not say so")
    feed.add_argument("--source", metavar="NAME",
                      help="name of the feed's shop; products of one name replace each other by "
                      "id, so give a second shop its own (default: feed)")
    feed.add_argument("--unlabelled", action="store_true",
                      help="load the products without the feed's categories, for --apply to "
                      "file; those that have one already keep it")
    api = parser.add_argument_group("from an API")
    api.add_argument("--api-url", metavar="URL",
                     default=os.environ.get("SHOPSTYLE_API_URL") or shopstyle_api.API_URL,
                     help="where the ShopStyle API v2 is (default: SHOPSTYLE_API_URL in the "
                     f"environment, else {shopstyle_api.API_URL})")
    api.add_argument("--root", default="women", metavar="ID",
                     help="category whose leaves are crawled (default: women)")
    api.add_argument("--max-per-category", type=whole_number(), default=1000, metavar="N",
                     help="products to file in a leaf before going on to the next; never "
                     "limits a feed (default: 1000)")


def column_arguments(parser, texts):
    """{field: header} of the --column arguments."""
    columns = {}
    for text in texts:
        field, equals, name = text.partition("=")
        if field not in feed_products.FIELDS or not equals or not name.strip():
            parser.error("--column takes FIELD=NAME, FIELD one of "
                         + ", ".join(feed_products.FIELDS))
        columns[field] = name
    return columns


def crawl(args, stop):
    """Products, then pictures; prints the summary. Returns the exit status."""
    began, counts = time.monotonic(), dict.fromkeys(("new", "changed", "unchanged", "skipped"), 0)
    webs = [http_client.Web(shopstyle_api.RATE, stop, 1, args.tries, api_crawl.GIVE_UP),
            http_client.Web(args.image_rate, stop, picture_store.CONNECTIONS, args.tries,
                            public_only=not args.allow_private)]
    failed, fetched = [], {"ok": 0, "failed": 0, "unfinished": 0}
    path = base = None
    with contextlib.ExitStack() as stack:
        # What could be wrong is looked at first, so that it leaves no empty crawl.db.
        picture_store.check_folder(args.images_path)
        if args.feed is not None:
            source = args.source = feed_products.clean(args.source)
            if source in ("", "shopstyle"):
                raise UserError("--source must name the feed's shop, and 'shopstyle' is the API's "
                                "name")
            path, base = feed_download.feed_file(args, stack, webs[0])
            with feed_download.called(path, base), ended_at_once(stop, http_client.Stopped):
                feed_products.check_feed(path, args.column)
        else:
            key = os.environ.get("SHOPSTYLE_API_KEY", "").strip()
            if not key:
                raise UserError("set SHOPSTYLE_API_KEY to your API key, or load a catalogue file "
                                "with --feed FILE")
            source, shop = "shopstyle", shopstyle_api.Shop(args.api_url, key, webs[0])
            tree = api_crawl.read_tree(shop, args.root)
        conn = db.open_database(args.db_path, create=True)
        stack.enter_context(contextlib.closing(conn))   # which leaves one file
        stack.enter_context(db.only_crawl(args.db_path))
        if not args.retry_failed:
            picture_store.check_there(conn, source, args.images_path)
        try:
            if args.feed is not None:
                with feed_download.called(path, base):
                    feed_import.load_feed(conn, path, args, counts, stop, base)
            else:
                failed = api_crawl.crawl_api(conn, shop, tree, args.max_per_category, counts)
        except http_client.Stopped:
            if args.feed is not None:   # of which nothing was kept
                counts = dict.fromkeys(counts, 0)
        if not stop.is_set():
            if args.retry_failed:
                queries.forget_failed_pictures(conn, source)
            elif args.allow_private:
                queries.forget_failed_pictures(conn, source, http_client.PRIVATE)
            mark = hashlib.sha256(os.path.realpath(args.db_path).encode()).hexdigest()[:16]
            fetched = picture_store.fetch_pictures(conn, source, args.images_path, webs[1],
                                                   None if base else path, mark)
        have, bad = queries.count_usable_pictures(conn, source, args.feed is not None)
        none_usable = bad if not have and not stop.is_set() else 0
        print(*status.summary(conn, source, counts, fetched, args.max_per_category, webs,
                              time.monotonic() - began), sep="\n")
    if failed or fetched["unfinished"]:
        log(f"{len(failed)} categories and {fetched['unfinished']} pictures are not done: run the "
            "same command again")
        return 1
    if none_usable:
        log(f"none of the {none_usable} pictures of this load can be used, for the reasons above: "
            "mend the files or the links (--retry-failed tries links into the web again)")
        return 1
    return 0


def dry_run(args, stop):
    """Print what a crawl would do."""
    with contextlib.ExitStack() as stack:
        if args.feed is not None:
            web = http_client.Web(0, stop, tries=args.tries)
            path, base = feed_download.feed_file(args, stack, web)
            with feed_download.called(path, base), ended_at_once(stop, http_client.Stopped):
                print(*status.feed_plan(path, args.column, args.unlabelled,
                                        None if base else path), sep="\n")
        elif os.path.exists(args.db_path):
            print(*status.plan(db.open_readonly(args.db_path), args), sep="\n")
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="crawl-"))
            print(*status.plan(db.open_database(f"{folder}/crawl.db", create=True), args),
                  sep="\n")
    return 0


def main(argv=None):
    args = parse(argv)
    if args.status or args.verify:
        conn = (db.open_readonly if args.status else db.open_database)(args.db_path)
        if args.status:
            print(*status.status(conn, args.max_per_category), sep="\n")
            return 0
        with db.only_crawl(args.db_path):
            good, bad = picture_store.verify(conn, args.images_path)
        print(f"pictures: {good} good, {bad} damaged or gone"
              f"{', which the next crawl fetches again' if bad else ''}")
        return 1 if bad else 0
    with told_to_stop() as stop:
        try:
            status_code = dry_run(args, stop) if args.dry_run else crawl(args, stop)
        except http_client.Stopped:
            status_code = 0
        if stop.is_set():
            log("crawl.py: stopped; run the same command again to go on")
            return 128 + stop.signal
        return status_code


if __name__ == "__main__":
    raise SystemExit(run(main))
