"""The crawl of an API: leaf by leaf, page by page, each page a transaction.

In: a Shop of shopstyle_api.py and crawl.db. Out: rows of category, product and product_category; a
crawl that was stopped goes on where it was.
"""
import db
from common.terminal import (
    Undone,
    UserError,
    grouped,
    log,
    progress,
)
from crawling import (
    http_client,
    queries,
    shopstyle_api,
)

GIVE_UP = 5    # leaves in a row that fail before the API is left alone


def crawl_leaf(conn, shop, leaf, most, counts, tell):
    """Fetch a leaf's pages from where it is on, one transaction a page, until `most` products of
    them are filed there or the shop has no more. leaf is a row of queries.leaves_to_crawl.

    The shop has no more where a page is empty, where two in a row show nothing new, at the API's
    cap, and after a page that is short and reaches `total`: that may lie. A page that is empty
    before `total` is asked for again a second later; if it still is, the leaf is left for this run,
    and the next one asks once more. tell(reason, name) is told what is left out. Returns whether
    there is more to come in this run.
    """
    own, offset, stale, asked_again = leaf["id"], leaf["next_offset"], leaf["stale_pages"], False
    while True:
        items, total, limit = shop.page(own, offset)
        early = not items and offset < min(total or 0, shopstyle_api.PAGING_CAP)
        if early and not asked_again:
            asked_again = True
            shop.web.sleep(1)
            continue
        asked_again, offset = False, offset + len(items)
        with db.transaction(conn):
            touched, fresh = {own}, 0
            for item in items:
                product = shopstyle_api.read_product(item, own, shop.key)
                if product is None:
                    counts["skipped"] += 1
                    tell("a product without a usable id",
                         f"{own} from row {offset - len(items)} on")
                    continue
                touched.update(product["listed"])
                _, outcome, new_here = queries.store_product(conn, "shopstyle", product)
                counts[outcome] += 1
                fresh += new_here
            stale = 0 if fresh else stale + 1
            last = (not items and not early or stale == 2 or offset >= shopstyle_api.PAGING_CAP
                    or total is not None and offset >= total and len(items) < limit)
            queries.set_progress(conn, own, offset, stale, total, last)
            queries.count_products(conn, sorted(touched))
            if last or early:
                return False
            if queries.filed_from_own_pages(conn, own) >= most:
                return True


def read_tree(shop, root):
    """The category tree. Raises UserError where there is none to be had."""
    try:
        tree = shopstyle_api.fetch_tree(shop, root)
    except http_client.Stopped:
        raise
    except http_client.Unfinished as problem:
        raise Undone(f"{problem}; check --api-url and the network, or load a file with "
                     "--feed") from None
    if len(tree) == 1:
        raise UserError(f"{shop.host} knows no categories below --root {root}")
    return tree


def left_out(count, names, reason):
    return f"{names}: {reason}; left out" if count == 1 else \
        f"{count} times {reason}; left out ({names})"


def unfinished(count, names, reason):
    return f"{names} is not finished: {reason}" if count == 1 else \
        f"{count} categories are not finished: {reason} ({names})"


def crawl_api(conn, shop, tree, most, counts):
    """Crawl all products, adding to counts by outcome. Returns the ids of the leaves that could
    not be finished."""
    with db.transaction(conn):
        queries.store_categories(conn, tree)
        before = queries.set_host(conn, tree[0][0], shop.name)
    if before:
        log(f"warning: what is in this file came from {before}, and {shop.name} is taken for the "
            "same shop: crawl another one into another --db-path")
    failed, ended = [], set()
    known = {row[0] for row in tree}   # crawl.db may hold a feed's leaves too

    def waiting():
        return [leaf for leaf in queries.leaves_to_crawl(conn, most)
                if leaf["id"] in known and leaf["id"] not in ended]

    with progress("categories", len(waiting()), "leaves") as bar, \
            grouped(left_out) as tell, grouped(unfinished) as tell_unfinished:
        # A leaf that comes late may take products from one that had enough: then that goes on.
        while leaves := waiting():
            for leaf in leaves:
                try:
                    if not crawl_leaf(conn, shop, leaf, most, counts, tell):
                        ended.add(leaf["id"])
                except http_client.Stopped:
                    raise
                except http_client.GivenUp as problem:
                    log(f"going no further: {problem}")
                    return failed + [leaf["id"] for leaf in waiting()]
                except http_client.Unfinished as problem:
                    tell_unfinished(str(problem), leaf["id"])
                    failed.append(leaf["id"])
                    ended.add(leaf["id"])
                bar.update()
    with db.transaction(conn):
        queries.count_products(conn)
    return failed
