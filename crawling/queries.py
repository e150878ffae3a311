"""SQL of the crawl: its categories and products, and how far it is.

In: an open crawl.db. Out: rows. db.py has the schema, picture_queries.py the SQL for pictures.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

import db

CategoryRow = tuple[str, "str | None", int, str, str]  # id, parent, leaf, path, name


class CrawledProduct(TypedDict):
    """A product as a shop shows it."""

    external_id: str
    name: str
    description: str
    image: str  # the URL of its picture, or a path beside the feed; '' without one
    listed: list[str] | None  # its category ids in the shop's order; None leaves them as they are
    found: str | None  # the leaf on whose page it stood
    group: str | None  # the shop's item group


def question_marks(values: Sequence[object]) -> str:
    """Parameters for so many values: '?,?,?'."""
    return ",".join("?" * len(values))


# ---- categories ---------------------------------------------------------------------------------


def store_categories(conn: sqlite3.Connection, categories: Iterable[CategoryRow]) -> None:
    """Insert or update rows (id, parent, leaf, path, name); progress and counts stay."""
    conn.executemany(
        """insert into category(id, parent, leaf, path, name) values (?, ?, ?, ?, ?)
                        on conflict(id) do update set parent = excluded.parent,
                        leaf = excluded.leaf, path = excluded.path, name = excluded.name""",
        categories,
    )


def set_host(conn: sqlite3.Connection, root: str, host: str) -> str | None:
    """Note the host that a root's tree comes from. Returns another host that it came from before,
    None if there is none."""
    before = conn.execute("select host from category where id = ?", (root,)).fetchone()[0]
    conn.execute("update category set host = ? where id = ?", (host, root))
    return before if before != host else None


def leaves_to_crawl(conn: sqlite3.Connection, most: int) -> list[sqlite3.Row]:
    """Leaves that have pages left, and fewer than `most` products filed from their own pages, in
    path order: (id, next_offset, stale_pages)."""
    return conn.execute(
        """
        select id, next_offset, stale_pages from category where leaf = 1 and crawled = 0 and (
            select count(*) from product_category join product on product.id = product_id
            where product_category.category_id = category.id and found = 1
            and product.category_id = product_category.category_id) < ?
        order by path, id""",
        (most,),
    ).fetchall()


def filed_from_own_pages(conn: sqlite3.Connection, leaf: str) -> int:
    """How many products that stood on this leaf's own pages are filed there. Products from other
    leaves' pages do not count, or the order of the crawl would decide where a leaf stops."""
    return conn.execute(
        """
        select count(*) from product_category join product on product.id = product_id
        where product_category.category_id = ? and found = 1
        and product.category_id = product_category.category_id""",
        (leaf,),
    ).fetchone()[0]


def leaf_states(conn: sqlite3.Connection) -> list[sqlite3.Row]:
    """(id, product_count, total, next_offset, crawled) of the leaves of an API, in path order. The
    paths of an API's tree begin below its root, those of a feed with a top category."""
    return conn.execute("""select id, product_count, total, next_offset, crawled from category
                           where leaf = 1 and parent is not null
                           and substr(path, 1, instr(path || '/', '/') - 1) not in (
                               select id from category where parent is null)
                           order by path, id""").fetchall()


def set_progress(
    conn: sqlite3.Connection,
    leaf: str,
    next_offset: int,
    stale_pages: int,
    total: int | None,
    crawled: bool,
) -> None:
    """Note how far the crawl of a leaf is; crawled means that the shop has no more of it."""
    conn.execute(
        """update category set next_offset = ?, stale_pages = ?, total = ?, crawled = ?
                    where id = ?""",
        (next_offset, stale_pages, total, int(crawled), leaf),
    )


def count_products(conn: sqlite3.Connection, categories: Iterable[str] | None = None) -> None:
    """Set product_count of these category ids, or of all, to the number of products filed there,
    without removed ones."""
    statement = """update category set product_count =
                   (select count(*) from product
                    where category_id = category.id and removed = 0)"""
    if categories is None:
        conn.execute(statement)
    else:
        conn.executemany(f"{statement} where id = ?", [(category,) for category in categories])


def catalogue_counts(conn: sqlite3.Connection, source: str) -> tuple[int, int, int, int, int]:
    """(products, leaves with products, products at an inner category, products with no category,
    products that are removed) of a source; only the last number counts removed products."""
    return tuple(
        conn.execute(
            """select coalesce(sum(size), 0), coalesce(sum(leaf = 1 and size > 0), 0),
                      coalesce(sum(size * (leaf = 0)), 0),
                      coalesce(sum(size * (category_id is null)), 0), coalesce(sum(gone), 0)
               from (select category_id, sum(removed = 0) as size, sum(removed) as gone
                     from product where +source = ? group by category_id)
               left join category on category.id = category_id""",
            (source,),
        ).fetchone()
    )


def filed_styles(conn: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """(category id, key of the group of variants) of each product that is filed and not removed."""
    return db.plain(
        conn,
        f"""select category_id, {db.GROUP_KEY} from product
            where category_id is not null and removed = 0""",
    )


# ---- products -----------------------------------------------------------------------------------

# The category that a product is filed under: of the shop's own list the first that is a leaf of the
# tree, otherwise the first in path order of the leaves that it was found in, otherwise the first
# inner category of the list, otherwise none.
FILED_UNDER = """(select category.id from product_category
                  join category on category.id = product_category.category_id
                  where product_id = product.id
                  order by leaf desc, position is null, position, path, category.id limit 1)"""


def refile_product(conn: sqlite3.Connection, product_id: int) -> str | None:
    """File a product anew. Returns the category it is filed under now."""
    conn.execute(f"update product set category_id = {FILED_UNDER} where id = ?", (product_id,))
    return conn.execute("select category_id from product where id = ?", (product_id,)).fetchone()[0]


def store_product(
    conn: sqlite3.Connection, source: str, product: CrawledProduct
) -> tuple[int, str, bool]:
    """Insert or update one product. Returns (id, 'new' | 'changed' | 'unchanged', whether it had
    not stood on the pages of the leaf `found` before).

    The shop's number becomes the id if it is free and SQLite can hold it. A product never changes
    sides of the split because a word of its text changed: only a new item group of the shop's
    replaces group_key, and the table regrouped keeps the earlier one.
    """
    old = conn.execute(
        """select id, name, description, image, category_id, group_key from product
                          where source = ? and external_id = ?""",
        (source, product["external_id"]),
    ).fetchone()
    if old is None:
        product_id, outcome = insert_product(conn, source, product), "new"
    else:
        product_id = old["id"]
        outcome = "changed" if update_product(conn, old, product) else "unchanged"
    new_on_page = False
    if product["listed"] is not None:
        new_on_page = store_listing(conn, product_id, product["listed"], product["found"])
    filed_under = refile_product(conn, product_id)
    if outcome == "unchanged" and old["category_id"] != filed_under:
        outcome = "changed"
    return product_id, outcome, new_on_page


def insert_product(conn: sqlite3.Connection, source: str, product: CrawledProduct) -> int:
    """Insert a product without its categories. Returns its id."""
    product_id = free_product_id(conn, product["external_id"])
    conn.execute(
        """insert into product(id, source, external_id, group_key, name, description,
                    image) values (?, ?, ?, ?, ?, ?, ?)""",
        (
            product_id,
            source,
            product["external_id"],
            db.group_key(product["name"], product["description"], product["group"]),
            product["name"],
            product["description"],
            product["image"],
        ),
    )
    return product_id


def update_product(conn: sqlite3.Connection, old: sqlite3.Row, product: CrawledProduct) -> bool:
    """Update the row `old` of a product, without its categories. Returns whether it changed."""
    product_id, changed = old["id"], False
    fields = (product["name"], product["description"], product["image"])
    if (old["name"], old["description"], old["image"]) != fields:
        changed = True
        conn.execute(
            "update product set name = ?, description = ?, image = ? where id = ?",
            (*fields, product_id),
        )
        conn.execute("delete from filing where product_id = ?", (product_id,))
    if old["image"] != product["image"]:
        conn.execute("delete from picture where product_id = ?", (product_id,))
        conn.execute("update product set image_crawled = 0 where id = ?", (product_id,))
    if product["group"] and product["group"] != old["group_key"]:
        changed = True
        conn.execute(
            "update product set group_key = ? where id = ?", (product["group"], product_id)
        )
        conn.execute(
            """insert into regrouped(product_id, group_key, date)
                        values (?, ?, datetime())""",
            (product_id, old["group_key"]),
        )
    return changed


def free_product_id(conn: sqlite3.Connection, external_id: str) -> int:
    """The shop's own number if it is one and free, otherwise the next free id."""
    if re.fullmatch("0|[1-9][0-9]{0,18}", external_id):
        number = int(external_id)
        # The upper half stays free, or the largest number would leave none above it.
        if (
            number < 2**62
            and not conn.execute("select 1 from product where id = ?", (number,)).fetchone()
        ):
            return number
    return conn.execute("select coalesce(max(id), 0) + 1 from product").fetchone()[0]


def store_listing(
    conn: sqlite3.Connection, product_id: int, listed: Sequence[str], found: str | None
) -> bool:
    """Replace the shop's list of a product's categories. The leaves that it was found in stay, and
    `found` joins them. Returns whether `found` is new among them."""
    conn.execute("delete from product_category where product_id = ? and found = 0", (product_id,))
    conn.execute("update product_category set position = null where product_id = ?", (product_id,))
    conn.executemany(
        """insert into product_category(product_id, category_id, position)
                        values (?, ?, ?) on conflict(product_id, category_id)
                        do update set position = excluded.position where position is null""",
        [(product_id, category, position) for position, category in enumerate(listed)],
    )
    if found is None:
        return False
    return (
        conn.execute(
            """insert into product_category(product_id, category_id, found) values (?, ?, 1)
           on conflict(product_id, category_id) do update set found = 1 where found = 0""",
            (product_id, found),
        ).rowcount
        > 0
    )


# ---- what this run has seen ---------------------------------------------------------------------


def remember_seen(conn: sqlite3.Connection) -> None:
    """Make the temporary table `seen` unless it is there: the shop's ids of the products of this
    connection's feed, and what each of them was: new, changed or unchanged."""
    conn.execute("""create temp table if not exists seen(id text primary key, outcome text)
                    without rowid""")


def seen_among(conn: sqlite3.Connection, external_ids: Sequence[str]) -> set[str]:
    """Which of these ids of the shop's this load has seen already."""
    rows = db.plain(
        conn, f"select id from seen where id in ({question_marks(external_ids)})", external_ids
    )
    return {row[0] for row in rows}


def remember_outcomes(conn: sqlite3.Connection, outcomes: Iterable[tuple[str, str]]) -> None:
    """Note (external_id, outcome) of products that this load had not seen before."""
    conn.executemany("insert into seen(id, outcome) values (?, ?)", outcomes)


def remember_outcome(conn: sqlite3.Connection, external_id: str, outcome: str) -> str | None:
    """Note what a product of an API was, for a product may stand on several pages. Returns what it
    was when this connection stored it before, None if it did not."""
    conn.execute("""create temp table if not exists crawled(id text primary key, outcome text)
                    without rowid""")
    before = conn.execute("select outcome from crawled where id = ?", (external_id,)).fetchone()
    if before is None or (before[0], outcome) == ("unchanged", "changed"):
        conn.execute("insert or replace into crawled values (?, ?)", (external_id, outcome))
    return before[0] if before else None


# ---- where a feed comes from --------------------------------------------------------------------


def note_system(
    conn: sqlite3.Connection, source: str, system: str, id_column: str, category_column: str
) -> None:
    """Note which system wrote the feed of a source. A feed without categories leaves the column
    that an earlier one had them in."""
    conn.execute(
        """insert into feed_system(source, system, id_column, category_column)
           values (?, ?, ?, ?)
           on conflict(source) do update set system = excluded.system,
               id_column = excluded.id_column,
               category_column = coalesce(nullif(excluded.category_column, ''), category_column)""",
        (source, system, id_column, category_column),
    )
