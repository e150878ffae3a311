"""The crawl of an API: leaf by leaf, page by page; each page is one transaction.

In: a Shop of shopstyle_api.py and crawl.db. Out: rows of category, product and product_category. A
crawl that was stopped goes on where it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, MutableMapping
from typing import Any

import db
from common.terminal import Undone, UserError, grouped, log, progress
from crawling import http_client, queries, shopstyle_api, shopstyle_tree

GIVE_UP = 5  # leaves in a row that fail before the API is left alone
Counts = MutableMapping[str, int]  # products by what became of them
Tell = Callable[[str, object], None]  # of common.terminal.grouped


def crawl_leaf(
    conn: sqlite3.Connection,
    shop: shopstyle_api.Shop,
    leaf: sqlite3.Row,
    most: int,
    counts: Counts,
    tell: Tell,
) -> bool:
    """Fetch a leaf's pages from where it is on, until `most` products of them are filed there or
    the shop has no more. Each page is one transaction; leaf is a row of queries.leaves_to_crawl.

    The shop has no more if a page is empty, if two pages in a row show nothing new, at the API's
    cap, and after a page that is short and reaches `total`. But `total` may be wrong: a page that
    is empty before `total` is asked for again a second later. If it is still empty, the leaf is
    left for this run, and the next run asks again.

    tell(reason, name) is called for what is left out. Returns whether this run may fetch more of
    the leaf. Raises http_client.Unfinished as Shop.page does.
    """
    leaf_id, offset, stale_pages = leaf["id"], leaf["next_offset"], leaf["stale_pages"]
    asked_again = False
    while True:
        items, total, limit = shop.page(leaf_id, offset)
        ends_early = not items and offset < min(total or 0, shopstyle_api.PAGING_CAP)
        if ends_early and not asked_again:
            asked_again = True
            shop.web.sleep(1)
            continue
        asked_again = False
        with db.transaction(conn):
            new_products, touched = store_page(conn, shop, leaf_id, items, offset, counts, tell)
            offset += len(items)
            stale_pages = 0 if new_products else stale_pages + 1
            ends_at_total = total is not None and offset >= total and len(items) < limit
            is_last = (
                not items
                and not ends_early
                or stale_pages == 2
                or offset >= shopstyle_api.PAGING_CAP
                or ends_at_total
            )
            queries.set_progress(conn, leaf_id, offset, stale_pages, total, is_last)
            queries.count_products(conn, sorted(touched))
            if is_last or ends_early:
                return False
            if queries.filed_from_own_pages(conn, leaf_id) >= most:
                return True


def store_page(
    conn: sqlite3.Connection,
    shop: shopstyle_api.Shop,
    leaf_id: str,
    items: list[Any],
    offset: int,
    counts: Counts,
    tell: Tell,
) -> tuple[int, set[str]]:
    """Store the products of a page. Returns how many had not stood on the leaf's pages before, and
    the categories whose number of products may have changed."""
    new_products, touched = 0, {leaf_id}
    for item in items:
        product = shopstyle_api.read_product(item, leaf_id, shop.key)
        if product is None:
            counts["skipped"] += 1
            tell("a product without a usable id", f"{leaf_id} from row {offset} on")
            continue
        listed, most = product["listed"] or [], shopstyle_api.MOST_LISTED
        if len(listed) > most:
            tell(f"its categories beyond the first {most:,}", product["external_id"][:50])
            product["listed"] = listed[:most]
        touched.update(product["listed"] or ())
        _, outcome, new_on_page = queries.store_product(conn, "shopstyle", product)
        count_outcome(conn, product["external_id"], outcome, counts)
        new_products += new_on_page
    return new_products, touched


def count_outcome(conn: sqlite3.Connection, external_id: str, outcome: str, counts: Counts) -> None:
    """Count a product once, on however many pages it stands: as what it was first, but as changed
    if a later page changed it."""
    before = queries.remember_outcome(conn, external_id, outcome)
    if before is None:
        counts[outcome] += 1
    elif (before, outcome) == ("unchanged", "changed"):
        counts["unchanged"] -= 1
        counts["changed"] += 1


def read_tree(shop: shopstyle_api.Shop, root: str) -> list[queries.CategoryRow]:
    """The category tree below `root`. Raises Undone if the host fails, UserError if it knows no
    categories there."""
    try:
        tree = shopstyle_tree.fetch_tree(shop, root)
    except http_client.Stopped:
        raise
    except http_client.Unfinished as problem:
        raise Undone(
            f"{problem}; check --api-url and the network, or load a file with --feed"
        ) from None
    if len(tree) == 1:
        raise UserError(f"{shop.host} knows no categories below --root {root}")
    return tree


def left_out(count: int, names: str, reason: str) -> str:
    if count == 1:
        return f"{names}: {reason}; left out"
    return f"{count} times {reason}; left out ({names})"


def unfinished_leaves(count: int, names: str, reason: str) -> str:
    if count == 1:
        return f"{names} is not finished: {reason}"
    return f"{count} categories are not finished: {reason} ({names})"


def crawl_api(
    conn: sqlite3.Connection,
    shop: shopstyle_api.Shop,
    tree: list[queries.CategoryRow],
    most: int,
    counts: Counts,
) -> list[str]:
    """Crawl all products below the root of the tree, until `most` are filed in each leaf; adds to
    counts by outcome. Returns the ids of the leaves that could not be finished. Raises
    http_client.Stopped."""
    store_tree(conn, shop, tree)
    failed: list[str] = []
    ended: set[str] = set()  # leaves that this run is through with
    tree_ids = {row[0] for row in tree}  # crawl.db may hold a feed's leaves too

    def waiting() -> list[sqlite3.Row]:
        return [
            leaf
            for leaf in queries.leaves_to_crawl(conn, most)
            if leaf["id"] in tree_ids and leaf["id"] not in ended
        ]

    with (
        progress("categories", len(waiting()), "leaves") as bar,
        grouped(left_out) as tell,
        grouped(unfinished_leaves) as tell_unfinished,
    ):
        # A leaf that comes late may take products from one that had enough: then that goes on.
        while leaves := waiting():
            for leaf in leaves:
                try:
                    has_more = crawl_leaf(conn, shop, leaf, most, counts, tell)
                except http_client.Stopped:
                    raise
                except http_client.GivenUp as problem:
                    log(f"the crawl ends here: {problem}")
                    return failed + [leaf["id"] for leaf in waiting()]
                except http_client.Unfinished as problem:
                    tell_unfinished(str(problem), leaf["id"])
                    failed.append(leaf["id"])
                    has_more = False
                if not has_more:
                    ended.add(leaf["id"])
                bar.update()
    with db.transaction(conn):
        queries.count_products(conn)
    return failed


def store_tree(
    conn: sqlite3.Connection, shop: shopstyle_api.Shop, tree: list[queries.CategoryRow]
) -> None:
    """Store the categories. Warns if those of the same root came from another host before."""
    with db.transaction(conn):
        queries.store_categories(conn, tree)
        host_before = queries.set_host(conn, tree[0][0], shop.name)
    if host_before:
        log(
            f"warning: the products in this file came from {host_before}, and {shop.name} counts "
            "as the same shop: crawl another shop into another --db-path"
        )
