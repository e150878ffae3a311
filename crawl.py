"""Fill crawl.db with a shop's categories and products, and images/ with their pictures.

In: a catalogue file with --feed, or a ShopStyle-compatible API (its key in SHOPSTYLE_API_KEY). Out:
the tables category, product, product_category and picture of crawl.db; one file for each picture in
images/. It may be stopped at any time: the same command goes on where it was.

    python crawl.py --feed products.tsv
    SHOPSTYLE_API_KEY=... python crawl.py --root women
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence

from common import interrupts

if __name__ == "__main__":
    interrupts.quiet_until_run()

import db
from common.arguments import add_paths
from common.files import images_folder
from common.terminal import (
    Parser,
    StopEvent,
    UserError,
    counted,
    ended_at_once,
    log,
    run,
    say,
    told_to_stop,
)
from common.text import clean_text
from crawling import (
    api_crawl,
    crawl_arguments,
    crawl_lock,
    feed_arguments,
    feed_download,
    feed_import,
    feed_load,
    feed_products,
    feed_reading,
    feed_renames,
    feed_report,
    feed_survey,
    feed_types,
    feed_understood,
    http_client,
    picture_crawl,
    picture_queries,
    picture_store,
    private_addresses,
    shopstyle_api,
    status,
)

# ---- the command ------------------------------------------------------------------------------


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        description=(__doc__ or "").split("\n\n")[0],
        epilog=(
            "The API key is read from the environment variable SHOPSTYLE_API_KEY. Exit status: 0 "
            "all done, 1 something could not be fetched (run it again) or no picture can be used, 2 "
            "a mistake to mend first, 130 or 143 stopped (run it again)."
        ),
    )
    add_paths(parser, "the SQLite file to fill", "folder for the pictures")
    crawl_arguments.add_feed_arguments(parser)
    crawl_arguments.add_api_arguments(parser)
    crawl_arguments.add_picture_arguments(parser)
    crawl_arguments.add_other_arguments(parser)
    args = parser.parse_args(argv)
    crawl_arguments.check_arguments(parser, args)
    args.images_path = images_folder(args.db_path, args.images_path)
    args.source = "feed" if args.source is None else args.source
    args.column = feed_arguments.named_columns(parser, args.column)
    args.survey = feed_arguments.survey_options(args)
    return args


# ---- the crawl --------------------------------------------------------------------------------


def webs(args: argparse.Namespace, stop: StopEvent) -> tuple[http_client.Web, http_client.Web]:
    """What asks for products, and what asks for pictures."""
    web = http_client.Web(
        shopstyle_api.RATE,
        stop,
        1,
        args.tries,
        api_crawl.GIVE_UP,
        public_redirects=not args.allow_private,
    )
    picture_web = http_client.Web(
        args.image_rate,
        stop,
        picture_crawl.CONNECTIONS,
        args.tries,
        public_only=not args.allow_private,
        hosts=picture_crawl.bounds().queues,
    )
    return web, picture_web


def crawl(args: argparse.Namespace, stop: StopEvent) -> int:
    """Products, then pictures; prints the summary. Returns the exit status."""
    began = time.monotonic()
    web, picture_web = webs(args, stop)
    counts = dict.fromkeys(("new", "changed", "unchanged", "skipped"), 0)
    fetched = {"ok": 0, "failed": 0, "unfinished": 0}
    failed_leaves: list[str] = []
    feed = shop = reading = None
    account: list[str] = []  # lines about a feed's rows
    with contextlib.ExitStack() as stack:
        # What could be wrong is looked at first, so that it leaves no empty crawl.db.
        db.check_writable(args.db_path)
        picture_crawl.check_folder(args.images_path)
        if args.feed is not None:
            source = feed_source(args.source)
            feed = feed_download.open_feed(
                args.feed, args.survey.read, args.feed_images, web, stack
            )
            reading, products = open_feed(args, feed, stop)
        else:
            source = "shopstyle"
            shop = shopstyle_api.Shop(args.api_url, api_key(), web)
            tree = api_crawl.read_tree(shop, args.root)
        conn = db.open_database(args.db_path, create=True)
        stack.enter_context(contextlib.closing(conn))  # without -wal and -shm beside the file
        stack.enter_context(crawl_lock.only_crawl(args.db_path))
        if not args.retry_failed:
            picture_crawl.check_there(conn, source, args.images_path)
        with contextlib.suppress(http_client.Stopped):
            if reading:
                counts, account = load_feed(args, conn, reading, products, stop)
            elif shop:
                failed_leaves = api_crawl.crawl_api(conn, shop, tree, args.max_per_category, counts)
        if not stop.is_set():
            fetched = fetch_pictures(args, conn, source, picture_web, feed)
        say(
            *status.run_summary(
                conn,
                source,
                counts,
                account,
                fetched,
                args.max_per_category,
                (web, picture_web),
                time.monotonic() - began,
            )
        )
        usable = unusable = 0
        if picture_queries.has_links(conn, source):
            usable, unusable = picture_queries.count_usable_pictures(conn, source, bool(feed))
    none_usable = unusable if not usable and not stop.is_set() else 0
    return exit_status(len(failed_leaves), fetched["unfinished"], none_usable)


def exit_status(failed_leaves: int, unfinished: int, none_usable: int) -> int:
    """The exit status of a crawl that left so many leaves and pictures for another run; logs why
    it is not 0. none_usable is the number of unusable pictures if there is no usable one."""
    if failed_leaves or unfinished:
        undone = []
        if failed_leaves:
            undone.append(counted(failed_leaves, "category", "categories"))
        if unfinished:
            undone.append(counted(unfinished, "picture"))
        are = "is" if failed_leaves + unfinished == 1 else "are"
        log(f"{' and '.join(undone)} {are} not done: run the same command again")
        return 1
    if none_usable:
        log(
            f"none of the {none_usable} pictures of this load can be used, for the reasons above: "
            "mend the files or the links (--feed-images names the folder that relative links lie in, "
            "--retry-failed tries links into the web again)"
        )
        return 1
    return 0


def feed_source(name: str) -> str:
    """The name of a feed's shop. Raises UserError if it can't be one."""
    source = clean_text(name)
    if source in ("", "shopstyle"):
        raise UserError("--source must name the feed's shop, and 'shopstyle' is the API's name")
    return source


def open_feed(
    args: argparse.Namespace, feed: feed_download.Feed, stop: StopEvent
) -> tuple[feed_reading.Reading, Iterator[feed_types.FeedProduct]]:
    """How a feed is read, which is logged, and its products, of which there is one at least."""
    with feed_download.called_by_name(feed.files), ended_at_once(stop, http_client.Stopped):
        options = args.survey
        if db.is_begun(args.db_path):
            with contextlib.closing(db.open_readonly(args.db_path)) as conn:
                known = feed_report.known_categories(conn, feed_source(args.source))
                options = options._replace(known=known)
        reading = feed_survey.survey(feed.files, options)
        for line in feed_understood.understood(reading):
            log(line)
        return reading, feed_products.some_products(reading)


def load_feed(
    args: argparse.Namespace,
    conn: sqlite3.Connection,
    reading: feed_reading.Reading,
    products: Iterator[feed_types.FeedProduct],
    stop: StopEvent,
) -> tuple[dict[str, int], list[str]]:
    """Store a feed's products, and log what a person should know. Returns how many products are
    new, changed, unchanged and skipped, and lines about its rows."""
    options = feed_options(args)._replace(written_by=reading.written_by)
    with feed_download.called_by_name([file.file for file in reading.files]):
        counts = feed_import.load_feed(conn, products, reading.left_out, options, stop)
    for line in (
        *feed_report.load_lines(conn, reading, options, counts),
        *feed_renames.move_lines(counts.moves, options, dry_run=False),
    ):
        log(line)
    outcomes = {**counts.outcomes, "skipped": len(reading.left_out)}
    return outcomes, [feed_report.account_line(reading, counts)]


def feed_options(args: argparse.Namespace) -> feed_load.FeedOptions:
    return feed_load.FeedOptions(
        feed_source(args.source),
        args.unlabelled,
        args.remove_missing,
        args.write_moves,
        args.db_path,
    )


def api_key() -> str:
    key = os.environ.get("SHOPSTYLE_API_KEY", "").strip()
    if not key:
        raise UserError(
            "set SHOPSTYLE_API_KEY to your API key, or load a catalogue file with --feed FILE"
        )
    return key


def fetch_pictures(
    args: argparse.Namespace,
    conn: sqlite3.Connection,
    source: str,
    web: http_client.Web,
    feed: feed_download.Feed | None,
) -> dict[str, int]:
    """Get the pictures that are not there yet. Returns how many are ok, failed and unfinished."""
    if not picture_queries.has_links(conn, source):
        return {"ok": 0, "failed": 0, "unfinished": 0}
    if args.retry_failed:
        picture_queries.forget_failed_pictures(conn, source)
    elif args.allow_private:
        picture_queries.forget_failed_pictures(conn, source, private_addresses.PRIVATE)
    mark = hashlib.sha256(os.path.realpath(args.db_path).encode()).hexdigest()[:16]
    store = picture_store.Store(args.images_path, mark)
    return picture_crawl.fetch_pictures(conn, source, store, web, feed, args.adopt_images)


# ---- instead of a crawl -----------------------------------------------------------------------


def dry_run(args: argparse.Namespace, stop: StopEvent) -> None:
    """Print what a crawl would do."""
    with contextlib.ExitStack() as stack:
        if args.feed is not None:
            options = feed_options(args)
            web = http_client.Web(
                0, stop, tries=args.tries, public_redirects=not args.allow_private
            )
            feed = feed_download.open_feed(
                args.feed, args.survey.read, args.feed_images, web, stack
            )
            reading, products = open_feed(args, feed, stop)
        if db.is_begun(args.db_path):
            conn = db.open_readonly(args.db_path)
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="crawl-"))
            conn = db.open_database(f"{folder}/crawl.db", create=True)
        stack.enter_context(contextlib.closing(conn))
        if args.feed is not None:
            with feed_download.called_by_name(feed.files), ended_at_once(stop, http_client.Stopped):
                plan = status.feed_plan(conn, reading, products, options)
        else:
            plan = status.crawl_plan(
                conn,
                args.api_url,
                args.root,
                args.max_per_category,
                args.image_rate,
                args.retry_failed,
            )
        say(*plan)


def verify(args: argparse.Namespace) -> int:
    """Check crawl.db, and all pictures on the disk. Returns the exit status."""
    conn = db.open_database(args.db_path)
    db.check_every_value(conn, args.db_path)
    say(f"{args.db_path}: no damage found")
    with crawl_lock.only_crawl(args.db_path):
        good, bad = picture_crawl.verify(conn, args.images_path)
    line = f"pictures: {good} good, {bad} damaged or gone"
    say(f"{line}, which the next crawl fetches again" if bad else line)
    return 1 if bad else 0


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    if args.status:
        conn = db.open_readonly(args.db_path)
        say(*status.crawl_status(conn, args.max_per_category))
        return 0
    if args.verify:
        return verify(args)
    exit_status = 0
    with told_to_stop() as stop:
        with contextlib.suppress(http_client.Stopped):
            if args.dry_run:
                dry_run(args, stop)
            else:
                exit_status = crawl(args, stop)
        if stop.is_set():
            log("crawl.py: stopped; run the same command again to go on")
            return 128 + stop.signal
    return exit_status


if __name__ == "__main__":
    raise SystemExit(run(main))
