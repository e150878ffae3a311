"""Products of a feed that crawl.db has already: what changed is stored.

In: products, and how they are stored. Out: rows of crawl.db that hold what the feed says now.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from crawling import feed_queries, refiled_queries
from crawling.feed_load import Lists, Load, further_links
from crawling.feed_queries import StoredProduct
from crawling.feed_types import FeedProduct


class Content(NamedTuple):
    """What a load may change of a product."""

    words: tuple[str | None, str | None]  # name and description
    image: str | None
    group_key: str | None
    categories: tuple[str, ...]  # ids; the first files it
    links: tuple[str, ...]  # further ones to its picture


Change = tuple[int, Content, Content]  # product id, before, and now


def update_stored(
    load: Load, pairs: Sequence[tuple[FeedProduct, StoredProduct]], lists: Lists
) -> set[str]:
    """Update products that crawl.db has, given as (product, as it is stored), with these lists of
    categories. Returns the external_ids of those that changed."""
    if not pairs:
        return set()
    numbers = [old.product_id for _, old in pairs]
    categories = feed_queries.further_categories(load.conn, numbers)
    links = feed_queries.further_links(load.conn, numbers)
    changes: list[Change] = []
    changed: set[str] = set()
    for product, old in pairs:
        number, external_id, filed_under, name, description, image, key, removed = old
        listed = categories.get(number, ())
        if filed_under is not None:
            listed = (filed_under, *listed)
        before = Content((name, description), image, key, listed, links.get(number, ()))
        now = content_now(load, product, lists[external_id], before)
        if now != before or removed:
            changes.append((number, before, now))
            changed.add(external_id)
    update_contents(load.conn, changes)
    return changed


def content_now(
    load: Load, product: FeedProduct, listed: tuple[str, ...] | None, before: Content
) -> Content:
    """What a product is to hold, in the place of what it held before. It never changes sides of the
    split because a word of its text changed: only a new item group replaces group_key."""
    if before.categories:
        load.counts.labels_kept += load.options.unlabelled
        load.counts.labels_lost += listed == ()
    load.counts.pictures_lost += bool(before.image) and not product.images
    return Content(
        (product.name, product.description),
        product.images[0] if product.images else "",
        f"{load.options.source} {product.group}" if product.group else before.group_key,
        before.categories if listed is None else listed,
        further_links(product),
    )


def update_contents(conn: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Store what changed. A product that was removed is there again."""
    refiled_queries.remember_categories(
        conn, [n for n, before, now in changes if now.categories[:1] != before.categories[:1]]
    )
    feed_queries.update_products(
        conn,
        [
            (now.categories[0] if now.categories else None, *now.words, now.image, number)
            for number, _, now in changes
        ],
    )
    feed_queries.replace_lists(
        conn,
        [(n, now.categories) for n, before, now in changes if now.categories != before.categories],
    )
    feed_queries.replace_links(
        conn, [(n, now.links) for n, before, now in changes if now.links != before.links]
    )
    feed_queries.regroup(
        conn,
        [
            (now.group_key, n)
            for n, before, now in changes
            if now.group_key and now.group_key != before.group_key
        ],
    )
    other_picture = [n for n, before, now in changes if now.image != before.image]
    other_words = [n for n, before, now in changes if now.words != before.words]
    feed_queries.forget_answers(conn, {*other_words, *other_picture})
    feed_queries.forget_pictures(conn, other_picture)
