"""The products of a feed -> crawl.db, whole or not at all.

In: the products as feed_products reads them. Out: products and categories in crawl.db, and what was
counted on the way, which feed_report.py puts into words.

    python crawl.py --feed products.tsv
    python crawl.py --feed new.tsv --unlabelled
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence

import db
from common.terminal import StopEvent, ended_at_once, progress
from crawling import (
    feed_queries,
    feed_renames,
    http_client,
    queries,
    refiled_queries,
    variant_queries,
)
from crawling.feed_categories import TOO_LONG, CategoryTree
from crawling.feed_changes import update_stored
from crawling.feed_load import FeedOptions, Lists, Load, LoadCounts, further_links
from crawling.feed_queries import StoredProduct
from crawling.feed_types import FeedProduct, Skipped

BATCH = 500  # products that are stored at a time; SQLite takes 999 parameters everywhere
BATCH_SIZE = 4_000_000  # bytes of their texts and links in memory
is_number = re.compile("0|[1-9][0-9]{0,18}").fullmatch  # a number as SQLite would write it
EXAMPLES = 3  # products that a dry run shows


def load_feed(
    conn: sqlite3.Connection,
    products: Iterable[FeedProduct],
    left_out: Skipped,
    options: FeedOptions,
    stop: StopEvent,
) -> LoadCounts:
    """Store all products of a feed in one transaction. A product whose id came before is appended
    to left_out. Raises http_client.Stopped if `stop` is set; then nothing is stored."""
    first = not feed_queries.has_products(conn)
    with contextlib.ExitStack() as stack:
        if first:
            stack.enter_context(feed_queries.written_once(conn))
        stack.enter_context(db.transaction(conn))
        stack.enter_context(ended_at_once(stop, http_client.Stopped))
        return store_feed(conn, products, left_out, options)


def store_feed(
    conn: sqlite3.Connection,
    products: Iterable[FeedProduct],
    left_out: Skipped,
    options: FeedOptions,
) -> LoadCounts:
    """load_feed without a transaction of its own."""
    feed_queries.begin_load(conn)
    variant_queries.begin_load(conn)
    refiled_queries.begin_load(conn)
    is_first_load = not feed_queries.has_products(conn)
    indexes = feed_queries.drop_indexes(conn) if is_first_load else []
    categories = db.categories(conn)
    load = Load(
        conn,
        options,
        CategoryTree(categories),
        feed_queries.largest_id(conn),
        is_first_load or not feed_queries.has_products(conn, options.source),
        LoadCounts(),
    )
    products, last_regrouping = iter(products), db.last_regrouping(conn)
    with progress("feed", None, "products") as bar:
        for batch in batches(products):
            store_batch(load, first_sights(load, batch, left_out))
            bar.update(len(batch))
    if load.is_new_source:
        feed_queries.list_first_categories(conn, options.source)
    feed_queries.make_indexes(conn, indexes)
    queries.store_categories(conn, load.tree.rows())
    settle(load)
    queries.note_system(conn, options.source, *options.written_by)
    sizes = {row["id"]: row["product_count"] for row in categories}
    load.counts.moves = feed_renames.find_moves(load, sizes)
    if options.moves_file:
        feed_renames.write_moves(options.moves_file, load.counts.moves)
    queries.count_products(conn)
    load.counts.regrouped = db.last_regrouping(conn) - last_regrouping
    return load.counts


def settle(load: Load) -> None:
    """Do what can only be done once all rows are stored: variants, and products that are gone."""
    conn, counts, source = load.conn, load.counts, load.options.source
    settled = variant_queries.settle_variants(conn, source)
    counts.variants, counts.inherited, labels_lost, changed = settled
    counts.labels_lost += labels_lost
    counts.outcomes["unchanged"] -= changed
    counts.outcomes["changed"] += changed
    if not load.is_new_source:
        counts.gone = feed_queries.count_there(conn, source) - counts.products
    if load.options.remove_missing and counts.gone:
        counts.removed = feed_queries.remove_gone(conn, source)


# ---- a batch of products ------------------------------------------------------------------------


def batches(products: Iterable[FeedProduct]) -> Iterator[list[FeedProduct]]:
    """The products in lists of at most BATCH products, and about as many bytes as fit well."""
    batch: list[FeedProduct] = []
    size = 0
    for product in products:
        batch.append(product)
        size += size_of(product)
        if len(batch) == BATCH or size > BATCH_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def size_of(product: FeedProduct) -> int:
    """The bytes that a product's texts take; a text with one emoji takes four for each letter."""
    _, external_id, name, description, categories, images, group, parent = product
    levels = itertools.chain.from_iterable(categories)
    return sum(
        map(sys.getsizeof, (external_id, name, description, group, parent, *images, *levels))
    )


def first_sights(
    load: Load, batch: Sequence[FeedProduct], left_out: Skipped
) -> dict[str, FeedProduct]:
    """The products of a batch by their ids, without those whose id came before."""
    products = {product.external_id: product for product in batch}
    seen = queries.seen_among(load.conn, list(products))
    if not seen and len(products) == len(batch):
        return products
    products = {}
    for product in batch:
        number = product.external_id
        if number in products or number in seen:
            left_out.append((product.line, f"its id stood in an earlier line (id {number[:50]})"))
        else:
            products[number] = product
    return products


def store_batch(load: Load, products: dict[str, FeedProduct]) -> None:
    """Store products that this load had not seen before, and count them."""
    conn, counts = load.conn, load.counts
    stored: dict[str, StoredProduct] = {}
    if not load.is_new_source and products:
        stored = feed_queries.stored_products(conn, load.options.source, list(products))
    # In the order of the feed, or ids of categories would depend on what is stored.
    lists = {number: listed_categories(load, product) for number, product in products.items()}
    new_products = [product for number, product in products.items() if number not in stored]
    insert_new(load, new_products, lists)
    pairs = [(products[number], old) for number, old in stored.items()]
    changed = update_stored(load, pairs, lists)
    outcomes = dict.fromkeys(products, "new")
    outcomes.update((number, "changed" if number in changed else "unchanged") for number in stored)
    queries.remember_outcomes(conn, outcomes.items())
    unlabelled = load.options.unlabelled
    variants = [
        (number, product.parent, bool(product.group), bool(product.categories or unlabelled))
        for number, product in products.items()
        if product.parent and parent_id(product)
    ]
    variant_queries.remember_variants(conn, variants)
    counts.outcomes["new"] += len(new_products)
    counts.outcomes["changed"] += len(changed)
    counts.outcomes["unchanged"] += len(stored) - len(changed)
    counts.examples += list(products.values())[: EXAMPLES - len(counts.examples)]


def parent_id(product: FeedProduct) -> str:
    """The external_id of the product that this is a variant of; '' if it is none."""
    return product.parent if product.parent != product.external_id else ""


def listed_categories(load: Load, product: FeedProduct) -> tuple[str, ...] | None:
    """A value of Lists. The tree gets the categories, without those that are too long."""
    categories = product.categories
    if load.options.unlabelled or (not categories and parent_id(product)):
        return None
    ids = list(map(load.tree.id_of, categories))
    if None in ids:
        load.counts.too_long.append((product.line, TOO_LONG))
    return tuple(dict.fromkeys(category for category in ids if category is not None))


def insert_new(load: Load, products: Sequence[FeedProduct], lists: Lists) -> None:
    """Insert products that crawl.db does not have, with these lists of categories. Those of a new
    source are listed in their first categories at the end, all at once."""
    rows, new_lists, links, source = [], [], [], load.options.source
    first = int(load.is_new_source)  # the position that lists begin at here
    for product_id, product in zip(new_ids(load, products), products):
        _, external_id, name, description, _, images, group, parent = product
        listed = lists[external_id]
        filed_under = listed[0] if listed else None
        group = group or (parent if parent != external_id else "")
        key = f"{source} {group}" if group else db.group_key(name, description)
        image = images[0] if images else ""
        rows.append((product_id, filed_under, source, external_id, key, name, description, image))
        if listed and len(listed) > first:
            new_lists.append((product_id, listed[first:]))
        if len(images) > 1:
            links.append((product_id, further_links(product)))
    feed_queries.insert_products(load.conn, rows)
    feed_queries.insert_lists(load.conn, new_lists, first)
    feed_queries.insert_links(load.conn, links)


def new_ids(load: Load, products: Iterable[FeedProduct]) -> list[int]:
    """Ids for new products: the shop's own number if it is one and free, otherwise the next free
    id. The upper half stays free, or the largest number would leave none above it."""
    numbers = [
        int(product.external_id) if is_number(product.external_id) else 2**62
        for product in products
    ]
    below = [number for number in numbers if number <= load.largest_id]
    taken = feed_queries.taken_ids(load.conn, below) if below else set()
    ids, largest = [], load.largest_id
    for number in numbers:
        if number >= 2**62 or number in taken:
            number = largest + 1
        if number > largest:
            largest = number
        taken.add(number)
        ids.append(number)
    load.largest_id = largest
    return ids
