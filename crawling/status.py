"""Where a crawl stands, in words: the summary of a run, --status and --dry-run.

In: crawl.db, and what a run counted. Out: lines to print; nothing is written.

    python crawl.py --status
    python crawl.py --feed products.tsv --dry-run
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

import db
from common.terminal import counted, grouped, log
from crawling import (
    feed_import,
    feed_queries,
    feed_renames,
    feed_report,
    picture_queries,
    queries,
    shopstyle_api,
    tree_status,
)
from crawling.feed_load import FeedOptions
from crawling.feed_reading import Reading
from crawling.feed_types import FeedProduct
from crawling.http_client import Web

MOST_REASONS = 5  # why pictures are unusable, in the summary of a run


# ---- after a run --------------------------------------------------------------------------------


def run_summary(
    conn: sqlite3.Connection,
    source: str,
    counts: Mapping[str, int],
    account: Iterable[str],
    fetched: Mapping[str, int],
    most: int,
    webs: Iterable[Web],
    seconds: float,
) -> list[str]:
    """Lines about a run of so many seconds. counts are the products of this run, account says what
    became of a feed's rows, fetched counts the run's pictures, webs its requests; the rest is what
    is there now. `most` is how many products were wanted in each leaf."""
    lines = [products_line(conn, source, counts), *account, *pictures_lines(conn, source, fetched)]
    lines += unusable_lines(conn, source)
    if source == "shopstyle":
        lines += short_leaves_lines(conn, most)
    webs = list(webs)
    requests, retries, size = (
        sum(web.counts[name] for web in webs) for name in ("requests", "retries", "bytes")
    )
    if requests:
        lines.append(
            f"requests: {requests}, {retries or 'none'} of them retries; "
            f"{size / 1e6:.1f} MB in {seconds:.0f} s"
        )
    return lines


def products_line(conn: sqlite3.Connection, source: str, counts: Mapping[str, int]) -> str:
    """What products a source has, and what this run did."""
    return (
        f"products: {products_there(conn, source)}; this run: {counts['new']} new, "
        f"{counts['changed']} changed, {counts['unchanged']} seen before, {counts['skipped']} left "
        "out"
    )


def products_there(conn: sqlite3.Connection, source: str) -> str:
    """How many products of a source there are, and where."""
    products, leaves, inner, without, removed = queries.catalogue_counts(conn, source)
    gone = f", {removed} removed" if removed else ""
    return (
        f"{products} in {counted(leaves, 'leaf', 'leaves')} ({inner} at an inner category, "
        f"{without} without one{gone})"
    )


def pictures_lines(conn: sqlite3.Connection, source: str, fetched: Mapping[str, int]) -> list[str]:
    """A line about what pictures the products have, and what this run did; none if no product has a
    link. One link may serve many products."""
    if not picture_queries.has_links(conn, source):
        return []
    products = {db.PICTURE_OK: 0, db.PICTURE_FAILED: 0}
    for status, _, number in picture_queries.picture_counts(conn, source):
        if status in products:
            products[status] += number
    good = products[db.PICTURE_OK]
    return [
        f"pictures: {good} {'product has its own' if good == 1 else 'products have theirs'}, "
        f"{products[db.PICTURE_FAILED]} an unusable one, {fetched['unfinished']} none yet; "
        f"this run: {fetched['ok']} fetched, {fetched['failed']} unusable"
    ]


def unusable_lines(conn: sqlite3.Connection, source: str) -> list[str]:
    """A line with the most frequent reasons why pictures are unusable; none if all are usable."""
    reasons = [
        f"{number} {reason}"
        for status, reason, number in picture_queries.picture_counts(conn, source)
        if status == db.PICTURE_FAILED
    ]
    if not reasons:
        return []
    more = ""
    if len(reasons) > MOST_REASONS:
        more = f"; and {len(reasons) - MOST_REASONS} more kinds (see --status)"
    return [f"unusable: {'; '.join(reasons[:MOST_REASONS])}{more}"]


def short_leaves_lines(conn: sqlite3.Connection, most: int) -> list[str]:
    """A line about the leaves of an API that have fewer than `most` products; none if all have."""
    short = [leaf for leaf in queries.leaf_states(conn) if leaf["product_count"] < most]
    if not short:
        return []
    examples = []
    for leaf in sorted(short, key=lambda leaf: leaf["product_count"])[:3]:
        total = "of an unknown number"
        if leaf["total"] is not None:
            total = f"of the {leaf['total']} that the shop reports"
        examples.append(f"{leaf['id']} ({leaf['product_count']} {total})")
    return [
        f"{counted(len(short), 'leaf', 'leaves')} with fewer than {most} products, such as "
        + ", ".join(examples)
    ]


# ---- --status -----------------------------------------------------------------------------------


def crawl_status(conn: sqlite3.Connection, most: int) -> list[str]:
    """Lines about where the crawl stands, with every leaf of an API that is short of `most`
    products, and about the category tree."""
    lines = leaf_lines(conn, most)
    for source in db.sources(conn):
        lines.append(f"products of {source}: {products_there(conn, source)}")
    lines += tree_status.tree_lines(conn)
    for status, reason, number in picture_queries.picture_counts(conn):
        line = f"pictures: {number} {status or 'to fetch'}"
        lines.append(f"{line}: {reason}" if reason else line)
    return lines or ["nothing has been crawled yet"]


def leaf_lines(conn: sqlite3.Connection, most: int) -> list[str]:
    """Lines about the leaves of an API; none if there are none."""
    leaves = queries.leaf_states(conn)
    if not leaves:
        return []
    unfinished = {leaf["id"] for leaf in queries.leaves_to_crawl(conn, most)}
    unfinished &= {leaf["id"] for leaf in leaves}  # without those of feeds
    ended = sum(leaf["crawled"] for leaf in leaves)
    begun = sum(leaf["next_offset"] > 0 for leaf in leaves if leaf["id"] in unfinished)
    lines = [
        f"leaves: {len(leaves)}; {ended} read to their end, "
        f"{len(leaves) - ended - len(unfinished)} with {most} products, {begun} begun, "
        f"{len(unfinished) - begun} to begin"
    ]
    for leaf in leaves:
        if leaf["product_count"] < most:
            total = "an unknown number" if leaf["total"] is None else leaf["total"]
            end = "to go on" if leaf["id"] in unfinished else "the shop shows no more"
            lines.append(
                f"  {leaf['id']}: {counted(leaf['product_count'], 'product')}; "
                f"{counted(leaf['next_offset'], 'row')} read of {total}; {end}"
            )
    return lines


# ---- --dry-run ----------------------------------------------------------------------------------


def crawl_plan(
    conn: sqlite3.Connection,
    api_url: str,
    root: str,
    most: int,
    image_rate: float,
    retry_failed: bool,
) -> list[str]:
    """Lines about what a crawl of the API would do, as far as crawl.db can tell. `most` is how many
    products are wanted in each leaf, image_rate how many pictures a second (0: no limit), and
    retry_failed whether unusable pictures are tried again."""
    filed = {leaf["id"]: leaf["product_count"] for leaf in queries.leaf_states(conn)}
    leaves = [leaf["id"] for leaf in queries.leaves_to_crawl(conn, most) if leaf["id"] in filed]
    lines = [f"would fetch the categories below {root} from {api_url}"]
    if filed:
        pages = sum(pages_left(most - filed[leaf]) for leaf in leaves)
        lines.append(
            f"and go on in {len(leaves)} of the {len(filed)} leaves known: "
            f"{counted(pages, 'page')} or more, {pages / shopstyle_api.RATE / 60:.0f} min at "
            f"{shopstyle_api.RATE * 60:.0f} a minute"
        )
    else:
        lines.append("and then the pages of each leaf among them; none is known yet")
    waiting = picture_queries.count_pictures_to_fetch(conn, "shopstyle")
    if retry_failed:
        waiting += sum(
            number
            for status, _, number in picture_queries.picture_counts(conn, "shopstyle")
            if status == db.PICTURE_FAILED
        )
    time_left = ""
    if image_rate:
        time_left = (
            f", {waiting / image_rate / 60:.0f} min at {image_rate:g} a second from one host"
        )
    return [*lines, f"and {counted(waiting, 'picture')} of products that are there{time_left}"]


def pages_left(products: int) -> int:
    """How many pages so many products fill, at least."""
    return -(-max(0, products) // shopstyle_api.PAGE)  # rounded up


def feed_plan(
    conn: sqlite3.Connection,
    reading: Reading,
    products: Iterable[FeedProduct],
    options: FeedOptions,
) -> list[str]:
    """Lines about what loading a feed would do, with the first of its products. They are loaded
    into a copy of the tables, and reported on stderr as a load is. Linked files are looked
    for in the folders of the files."""
    feed_queries.copy_tables(conn, options.source)
    links, missing = feed_report.Links([file.file for file in reading.files]), list[str]()
    with grouped(feed_report.missing_files, missing.append) as tell:
        counts = feed_import.store_feed(
            conn, links.watched(products, tell), reading.left_out, options
        )
    for line in (
        *feed_report.load_lines(conn, reading, options, counts),
        *feed_renames.move_lines(counts.moves, options, dry_run=True),
    ):
        log(line)
    outcomes = {**counts.outcomes, "skipped": len(reading.left_out)}
    return [
        feed_report.plan_line(conn, options.source, counts, links),
        products_line(conn, options.source, outcomes),
        feed_report.account_line(reading, counts),
        *missing,
        *feed_report.example_lines(counts.examples),
    ]
