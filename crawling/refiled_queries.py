"""SQL of the products that a load files anew: what they were filed under before.

In: an open crawl.db, in the middle of a load of a feed. Out: rows. In a dry run the tables are the
copies of feed_queries.copy_tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

import db


def begin_load(conn: sqlite3.Connection) -> None:
    """Make the temporary table `refiled`: the category that a product was filed under before this
    load, if the load has filed it anew."""
    conn.execute("""create temp table if not exists refiled(
                    product_id integer primary key, category_id text not null)""")


def remember_categories(conn: sqlite3.Connection, product_ids: Iterable[int]) -> None:
    """Note what products are filed under, before they are filed anew."""
    conn.executemany(
        """insert or ignore into refiled select id, category_id from product
           where id = ? and category_id is not null""",
        ((number,) for number in product_ids),
    )


def remember_heirs(conn: sqlite3.Connection) -> None:
    """Note what the products in the table `heir` are filed under; see variant_queries."""
    conn.execute("""insert or ignore into refiled select id, category_id from product
                    where id in (select product_id from heir) and category_id is not null""")


def refilings(conn: sqlite3.Connection) -> Iterator[tuple[str, str | None, int]]:
    """(category, category now or None, number of products) of the products that this load has filed
    anew and that the shop does not list in the first category any more, by the first category; then
    most products first."""
    if not conn.execute("select 1 from refiled limit 1").fetchone():
        return iter(())  # without a look at each product
    return db.plain(
        conn,
        """select refiled.category_id, product.category_id, count(*)
           from refiled join product on product.id = refiled.product_id
           where refiled.category_id is not product.category_id and not exists (
               select 1 from product_category where product_id = product.id
               and product_category.category_id = refiled.category_id)
           group by 1, 2 order by 1, 3 desc, 2""",
    )


def count_listed(conn: sqlite3.Connection, source: str, category: str, most: int) -> int:
    """How many products of this load the shop lists in a category, without those that have been
    filed there by this load and were filed elsewhere; it counts up to `most`."""
    return conn.execute(
        """select count(*) from (
               select 1 from product_category join product on product.id = product_id
               join seen on seen.id = external_id
               where product_category.category_id = :category and source = :source and not (
                   product.category_id = :category and exists (
                       select 1 from refiled where product_id = product.id
                       and refiled.category_id <> :category)) limit :most)""",
        {"category": category, "source": source, "most": most},
    ).fetchone()[0]


def categories_of_others(conn: sqlite3.Connection, source: str) -> set[str]:
    """The categories that products of other sources are filed under."""
    rows = db.plain(
        conn,
        """select distinct category_id from main.product
           where source is not ? and removed = 0 and category_id is not null""",
        (source,),
    )
    return {row[0] for row in rows}
