"""Where a crawl stands, in words: the summary of a run, --status and --dry-run.

In: crawl.db, and what a run counted. Out: lines to print; nothing is written.

    python crawl.py --status
    python crawl.py --feed products.tsv --dry-run
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping

import db
from common.terminal import counted, grouped, progress
from crawling import (
    feed_import,
    feed_products,
    picture_links,
    picture_queries,
    queries,
    shopstyle_api,
)
from crawling.feed_download import Feed
from crawling.http_client import Web

MOST_REASONS = 5  # why pictures are unusable, in the summary of a run


# ---- after a run --------------------------------------------------------------------------------


def run_summary(
    conn: sqlite3.Connection,
    source: str,
    counts: Mapping[str, int],
    fetched: Mapping[str, int],
    most: int,
    webs: Iterable[Web],
    seconds: float,
) -> list[str]:
    """Lines about a run of so many seconds. counts are the products of this run, fetched its
    pictures, webs its requests; the rest is what is there now. `most` is how many products were
    wanted in each leaf."""
    products, leaves, inner, without = queries.catalogue_counts(conn, source)
    lines = [
        f"products: {products} in {counted(leaves, 'leaf', 'leaves')} ({inner} at an "
        f"inner category, {without} without one); this run: {counts['new']} new, "
        f"{counts['changed']} changed, {counts['unchanged']} seen before, {counts['skipped']} left out",
        pictures_line(conn, source, fetched),
    ]
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


def pictures_line(conn: sqlite3.Connection, source: str, fetched: Mapping[str, int]) -> str:
    """What pictures the products have, and what this run did: one link may serve many products."""
    products = {db.PICTURE_OK: 0, db.PICTURE_FAILED: 0}
    for status, _, number in picture_queries.picture_counts(conn, source):
        if status in products:
            products[status] += number
    return (
        f"pictures: {products[db.PICTURE_OK]} products have theirs, "
        f"{products[db.PICTURE_FAILED]} an unusable one, {fetched['unfinished']} none yet; "
        f"this run: {fetched['ok']} fetched, {fetched['failed']} unusable"
    )


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
    products."""
    lines = leaf_lines(conn, most)
    for source in db.sources(conn):
        products, leaves, inner, without = queries.catalogue_counts(conn, source)
        lines.append(
            f"products of {source}: {products} in {leaves} leaves ({inner} at an inner "
            f"category, {without} without one)"
        )
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
                f"  {leaf['id']}: {leaf['product_count']} products; {leaf['next_offset']} "
                f"rows read of {total}; {end}"
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
            f"and go on in {len(leaves)} of the {len(filed)} leaves known: {pages} pages "
            f"or more, {pages / shopstyle_api.RATE / 60:.0f} min at "
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
    return [*lines, f"and {waiting} pictures of products that are there{time_left}"]


def pages_left(products: int) -> int:
    """How many pages so many products fill, at least."""
    return -(-max(0, products) // shopstyle_api.PAGE)  # rounded up


def feed_plan(feed: Feed, columns: Mapping[str, str], unlabelled: bool) -> list[str]:
    """Lines about what loading a feed would do, without its categories if `unlabelled`. Linked
    files are looked for beside the feed, unless it came from a URL."""
    skipped: list[tuple[int, str]] = []
    categories, groups = set(), set()
    warnings: list[str] = []
    where = "beside the feed" if feed.images is None else f"in {feed.images}"
    products = without_category = with_picture = linked_files = 0

    def missing(count: int, names: str, reason: str) -> str:
        return f"{count} linked {reason}: {names}"

    with grouped(missing, warnings.append) as tell:
        rows = feed_products.read_feed(feed.path, skipped, columns)
        for row in progress("feed", None, "products", rows):
            category = () if unlabelled else row.category
            products += 1
            without_category += not category
            with_picture += bool(row.image)
            categories.add(category)
            groups.add(row.group)
            link = feed.absolute(row.image)
            if link and feed.pictures_folder and not picture_links.of_the_web(link):
                linked_files += 1
                file = picture_links.picture_file(feed.pictures_folder, link)
                if file is None or not os.path.isfile(file):
                    tell(f"files are not there, {where}", f"{link} (line {row.line})")
    feed_import.log_left_out(skipped, lambda line: warnings.append(f"and leave out {line}"))
    to_files = f" ({linked_files} of them to files)" if linked_files else ""
    return [
        f"would load {products} products in {len(categories - {()})} categories "
        f"({without_category} without one), {with_picture} with a link to a picture{to_files}, "
        f"{len(groups - {''})} item groups",
        *warnings,
    ]
