"""The products of a feed -> crawl.db, whole or not at all.

In: a Feed. Out: its products and categories in crawl.db, and on stderr what was left out, and what
a person should know about the categories.

    python crawl.py --feed products.tsv
    python crawl.py --feed new.tsv --unlabelled
"""

from __future__ import annotations

import collections
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import db
from common.terminal import StopEvent, UserError, ended_at_once, grouped, log, progress
from crawling import feed_products, http_client, queries
from crawling.feed_categories import CategoryTree
from crawling.feed_download import Feed

SEPARATORS = ">/|"  # that stand in categories whose levels they may part


class FeedOptions(NamedTuple):
    """How a feed is loaded."""

    source: str  # the name of the feed's shop
    columns: Mapping[str, str]  # {field: column name}, as feed_products.read_feed takes it
    unlabelled: bool  # whether its categories are left out


class LoadCounts:
    """What a load counts on its way."""

    def __init__(self) -> None:
        self.skipped: list[tuple[int, str]] = []  # (line, reason) of what is left out
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.deepest = 0  # most levels of a category
        self.separators: collections.Counter[str] = collections.Counter()  # products that have it
        self.labels_kept = self.labels_lost = self.regrouped = 0

    @property
    def total(self) -> int:
        return self.outcomes.total()


def load_feed(
    conn: sqlite3.Connection, feed: Feed, options: FeedOptions, stop: StopEvent
) -> dict[str, int]:
    """Store all products of a feed in one transaction, and report what a person should know.

    Returns how many products are new, changed, unchanged and skipped. Raises UserError if the feed
    holds no product, and http_client.Stopped if `stop` is set; then nothing is stored.
    """
    counted = LoadCounts()
    with db.transaction(conn), ended_at_once(stop, http_client.Stopped):
        store_feed(conn, feed, options, counted)
    report(feed, options, counted)
    outcomes = {name: counted.outcomes[name] for name in ("new", "changed", "unchanged")}
    return {**outcomes, "skipped": len(counted.skipped)}


def store_feed(
    conn: sqlite3.Connection, feed: Feed, options: FeedOptions, counted: LoadCounts
) -> None:
    """Store a feed's products and categories, and count them."""
    categories_before = db.categories(conn)
    known = {row["id"] for row in categories_before}
    tree = CategoryTree(categories_before)
    queries.remember_labelled(conn, options.source)
    last_regrouping = db.last_regrouping(conn)
    rows = feed_products.read_feed(feed.path, counted.skipped, options.columns)
    for row in progress("feed", None, "products", rows):
        if not queries.first_sight(conn, row.external_id):
            counted.skipped.append(
                (row.line, f"its id stood in an earlier line (id {row.external_id[:50]})")
            )
            continue
        count_levels(row.category, counted)
        product = crawled_product(row, feed, options, tree)
        _, outcome, _ = queries.store_product(conn, options.source, product)
        # Products in a category that is new itself are filed there only at the end.
        if outcome == "unchanged" and not known.issuperset(product["listed"] or ()):
            outcome = "changed"
        counted.outcomes[outcome] += 1
    if not counted.total:
        reason = ""
        if counted.skipped:
            line, problem = counted.skipped[0]
            reason = f"; line {line}: {problem}"
        raise UserError(f"the feed holds no product{reason}")
    queries.store_categories(conn, tree.rows())
    queries.refile_source(conn, options.source)
    queries.count_products(conn)
    counted.labels_kept, counted.labels_lost = queries.count_labels_kept(conn)
    counted.regrouped = db.last_regrouping(conn) - last_regrouping


def count_levels(category: tuple[str, ...], counted: LoadCounts) -> None:
    """Note how deep a category is, and what might part levels that its words still hold."""
    counted.deepest = max(counted.deepest, len(category))
    words = "".join(category)
    counted.separators.update(separator for separator in SEPARATORS if separator in words)


def crawled_product(
    row: feed_products.FeedProduct, feed: Feed, options: FeedOptions, tree: CategoryTree
) -> queries.CrawledProduct:
    """A product of a feed as queries.store_product takes it. The tree gets its category."""
    listed: list[str] | None = []
    if options.unlabelled:  # a category of these would enter the tree
        listed = None
    elif row.category:
        listed = [tree.id_of(row.category)]
    return {
        "external_id": row.external_id,
        "name": row.name,
        "description": row.description,
        "image": feed.absolute(row.image),
        "listed": listed,
        "found": None,
        "group": f"{options.source} {row.group}" if row.group else None,
    }


# ---- what a person should know ------------------------------------------------------------------


def report(feed: Feed, options: FeedOptions, counted: LoadCounts) -> None:
    """Log what was left out, and what is odd about labels, groups and categories."""
    log_left_out(counted.skipped, lambda line: log(f"{feed.name}, {line}; left out"))
    source = options.source
    if options.unlabelled and counted.labels_kept:
        log(
            f"{counted.labels_kept} of these products have a category in the database already, and "
            "keep it"
        )
    if counted.labels_lost:
        log(
            f"{counted.labels_lost} products of {source} had a category and have none now: the "
            "feed has none for them (--unlabelled keeps what is there)"
        )
    if counted.regrouped:
        log(
            f"{counted.regrouped} products of {source} have another item group than before: the "
            "next training keeps each group together, and the experiments so far were split "
            "otherwise"
        )
    if counted.deepest == 1 and counted.separators:
        separator, often = counted.separators.most_common(1)[0]
        if often > counted.total / 2:
            log(
                f"{feed.name}: the categories have no levels, but many contain {separator!r}. "
                "If it stands between levels, replace it by ' > ' in the file and load it again"
            )


def log_left_out(skipped: Iterable[tuple[int, str]], write: Callable[[str], object]) -> None:
    """Write one line for each reason of the lines that were left out, given as (line, reason), with
    the first of them."""

    def sentence(count: int, names: str, reason: str) -> str:
        return f"line {names}: {reason}" if count == 1 else f"{count} lines ({names}): {reason}"

    with grouped(sentence, write) as tell:
        for line, reason in skipped:  # an id is in brackets behind the reason
            kind, bracket, product_id = reason.partition(" (")
            tell(kind, f"{line}{bracket}{product_id}")
