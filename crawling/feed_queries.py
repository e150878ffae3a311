"""SQL of loading a feed: what crawl.db has of its products, and a batch of them stored at a time.

In: an open crawl.db, or for a dry run a copy of its tables that only the connection sees. Out:
rows. queries.py has the table `seen`, what each product of this load was: new, changed, unchanged.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import db
from crawling import queries

# What a load writes, and what it names.
WRITTEN_TABLES = (
    "category",
    "product",
    "product_category",
    "picture_link",
    "picture",
    "experiment",  # which filing names
    "filing",
    "regrouped",
    "feed_system",
)


class StoredProduct(NamedTuple):
    """A product as crawl.db has it."""

    product_id: int
    external_id: str
    category_id: str | None
    name: str | None
    description: str | None
    image: str | None  # the first link to a picture
    group_key: str | None
    removed: int


# ---- before and after the rows ------------------------------------------------------------------


def begin_load(conn: sqlite3.Connection) -> None:
    """Make the temporary table `seen`, of which 16 MB stay in memory: a million ids in any order."""
    conn.execute("pragma temp.cache_size = -16000")
    queries.remember_seen(conn)


def largest_id(conn: sqlite3.Connection) -> int:
    """The largest product id, 0 without products."""
    return conn.execute("select coalesce(max(id), 0) from product").fetchone()[0]


def has_products(conn: sqlite3.Connection, source: str | None = None) -> bool:
    """Whether there is a product of this source, or with None of any."""
    if source is None:
        return bool(conn.execute("select 1 from product limit 1").fetchone())
    row = conn.execute("select 1 from product where source = ? limit 1", (source,)).fetchone()
    return bool(row)


@contextlib.contextmanager
def written_once(conn: sqlite3.Connection) -> Iterator[None]:
    """Write what the block commits into the file itself, where a write-ahead log would write it a
    second time. For a first load: until it ends, others can't read the file. If another process
    has the file open, the log stays."""

    def set_journal(mode: str) -> None:
        with contextlib.suppress(sqlite3.OperationalError):  # the file is open elsewhere
            conn.execute(f"pragma journal_mode = {mode}")

    conn.execute("pragma busy_timeout = 0")
    set_journal("delete")
    conn.execute("pragma busy_timeout = 30000")
    try:
        yield
    finally:
        set_journal("wal")


def drop_indexes(conn: sqlite3.Connection) -> list[str]:
    """Drop the indexes of the tables that get a row for each product. Returns the SQL that makes
    them again: to make an index of all rows takes a tenth of the time of adding row by row."""
    is_copy = "select 1 from sqlite_temp_master where name = 'product'"
    master = "sqlite_temp_master" if conn.execute(is_copy).fetchone() else "sqlite_master"
    indexes = db.plain(
        conn,
        f"""select name, sql from {master}
            where type = 'index' and sql is not null and tbl_name in ('product', 'product_category')
            order by rowid""",
    ).fetchall()
    for name, _ in indexes:
        conn.execute(f'drop index "{name}"')
    return [sql for _, sql in indexes]


def make_indexes(conn: sqlite3.Connection, statements: Iterable[str]) -> None:
    """Make the indexes again that drop_indexes dropped."""
    for statement in statements:
        conn.execute(statement)


# ---- a batch of products ------------------------------------------------------------------------


def stored_products(
    conn: sqlite3.Connection, source: str, external_ids: Sequence[str]
) -> dict[str, StoredProduct]:
    """{external_id: StoredProduct} of those that a source has."""
    rows = db.plain(
        conn,
        f"""select id, external_id, category_id, name, description, image, group_key, removed
            from product where source = ? and external_id in ({queries.question_marks(external_ids)})""",
        (source, *external_ids),
    )
    return {stored.external_id: stored for stored in map(StoredProduct._make, rows)}


def further_categories(
    conn: sqlite3.Connection, product_ids: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    """{product id: the categories that the shop lists for it behind the first, which files it}."""
    return in_lists(
        db.plain(
            conn,
            f"""select product_id, category_id from product_category
                where product_id in ({queries.question_marks(product_ids)}) and position > 0
                order by product_id, position""",
            product_ids,
        )
    )


def further_links(
    conn: sqlite3.Connection, product_ids: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    """{product id: the links to its pictures behind the first}."""
    return in_lists(
        db.plain(
            conn,
            f"""select product_id, link from picture_link
                where product_id in ({queries.question_marks(product_ids)}) order by product_id, position""",
            product_ids,
        )
    )


def in_lists(rows: Iterable[tuple[int, str]]) -> dict[int, tuple[str, ...]]:
    """{number: the texts of its rows (number, text)}."""
    lists: dict[int, tuple[str, ...]] = {}
    for number, text in rows:
        lists[number] = (*lists.get(number, ()), text)
    return lists


def taken_ids(conn: sqlite3.Connection, numbers: Sequence[int]) -> set[int]:
    """Which of these numbers are a product's id."""
    rows = db.plain(
        conn, f"select id from product where id in ({queries.question_marks(numbers)})", numbers
    )
    return {row[0] for row in rows}


def insert_products(conn: sqlite3.Connection, rows: Iterable[Sequence[object]]) -> None:
    """Insert rows (id, category_id, source, external_id, group_key, name, description, image)."""
    conn.executemany(
        """insert into product(id, category_id, source, external_id, group_key, name, description,
                               image) values (?, ?, ?, ?, ?, ?, ?, ?)""",
        rows,
    )


def update_products(conn: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> None:
    """Update from rows (category_id, name, description, image, id); such a product is there again,
    if it was removed."""
    conn.executemany(
        """update product set category_id = ?, name = ?, description = ?, image = ?, removed = 0
           where id = ?""",
        rows,
    )


def forget_answers(conn: sqlite3.Connection, product_ids: Iterable[int]) -> None:
    """Forget what models answered for products whose words or picture are others now."""
    conn.executemany(
        "delete from filing where product_id = ?", ((number,) for number in product_ids)
    )


def forget_pictures(conn: sqlite3.Connection, product_ids: Sequence[int]) -> None:
    """Forget the pictures of products, so that others are fetched."""
    for statement in (
        "delete from picture where product_id = ?",
        "update product set image_crawled = 0 where id = ?",
    ):
        conn.executemany(statement, ((number,) for number in product_ids))


def list_first_categories(conn: sqlite3.Connection, source: str) -> None:
    """List each product of a source first in the category that it is filed under."""
    conn.execute(
        """insert into product_category(product_id, category_id, position)
           select id, category_id, 0 from product
           where +source = ? and category_id is not null order by id""",
        (source,),
    )


def insert_lists(
    conn: sqlite3.Connection, lists: Iterable[tuple[int, Sequence[str]]], first: int = 0
) -> None:
    """Store lists (product id, categories in the shop's order) of products that have none in
    positions from `first` on."""
    conn.executemany(
        "insert into product_category(product_id, category_id, position) values (?, ?, ?)",
        (
            (number, category, position)
            for number, categories in lists
            for position, category in enumerate(categories, first)
        ),
    )


def replace_lists(conn: sqlite3.Connection, lists: Sequence[tuple[int, Sequence[str]]]) -> None:
    """Store lists as insert_lists does, in the place of those that are there."""
    conn.executemany(
        "delete from product_category where product_id = ?", ((number,) for number, _ in lists)
    )
    insert_lists(conn, lists)


def insert_links(conn: sqlite3.Connection, links: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Store (product id, links to its pictures behind the first) of products that have none."""
    conn.executemany(
        "insert into picture_link(product_id, position, link) values (?, ?, ?)",
        (
            (number, position, link)
            for number, further in links
            for position, link in enumerate(further, 1)
        ),
    )


def replace_links(conn: sqlite3.Connection, links: Sequence[tuple[int, Sequence[str]]]) -> None:
    """Store links as insert_links does, in the place of those that are there. A picture that could
    not be used, or that a later link gave, is got again by the new links."""
    numbers = [(number,) for number, _ in links]
    conn.executemany("delete from picture_link where product_id = ?", numbers)
    insert_links(conn, links)
    conn.executemany(
        f"""delete from picture where product_id = ?
            and (status <> '{db.PICTURE_OK}' or position > 0)""",
        numbers,
    )


def regroup(conn: sqlite3.Connection, rows: Sequence[tuple[str, int]]) -> None:
    """Give products, as (group_key, id), another group; the table regrouped keeps the earlier."""
    conn.executemany(
        """insert into regrouped(product_id, group_key, date)
           select id, group_key, datetime() from product where id = ?""",
        ((number,) for _, number in rows),
    )
    conn.executemany("update product set group_key = ? where id = ?", rows)


# ---- products that are gone, and figures --------------------------------------------------------


def count_there(conn: sqlite3.Connection, source: str) -> int:
    """How many products of a source are not removed."""
    return conn.execute(
        "select count(*) from product where +source = ? and removed = 0", (source,)
    ).fetchone()[0]


def remove_gone(conn: sqlite3.Connection, source: str) -> int:
    """Mark the products of a source that this load has not seen as removed. Returns how many were
    not marked before."""
    return conn.execute(
        """update product set removed = 1 where source = ? and removed = 0
           and external_id not in (select id from seen)""",
        (source,),
    ).rowcount


def category_sizes(conn: sqlite3.Connection, source: str) -> list[tuple[str | None, int]]:
    """[(category id, or None, number of a source's products filed there)], most first."""
    return db.plain(
        conn,
        """select product.category_id, count(*) as size from product
           left join category on category.id = product.category_id
           where +source = ? and removed = 0
           group by product.category_id order by size desc, path, category.id""",
        (source,),
    ).fetchall()


def seen_counts(conn: sqlite3.Connection, source: str) -> tuple[int, int, int]:
    """(categories, products without one, item groups) of the products that this load has seen."""
    mark = f"{source} "
    return tuple(
        conn.execute(
            """select count(distinct category_id), coalesce(sum(category_id is null), 0),
                      count(distinct case when substr(group_key, 1, length(:mark)) = :mark
                                     then group_key end)
               from seen join product on source = :source and external_id = seen.id""",
            {"source": source, "mark": mark},
        ).fetchone()
    )


# ---- dry runs -----------------------------------------------------------------------------------


def copy_tables(conn: sqlite3.Connection, source: str) -> None:
    """Give a connection temporary tables in the place of those that a load writes, with the rows
    that a load of this source looks at. The file itself stays as it is: the transaction that begins
    here is never committed."""
    conn.execute("begin")
    tables = ",".join(f"'{table}'" for table in WRITTEN_TABLES)
    statements = db.plain(
        conn,
        f"""select type, sql from main.sqlite_master
            where tbl_name in ({tables}) and sql is not null order by rowid""",
    ).fetchall()
    for kind, statement in statements:
        if kind == "table":
            conn.execute(re.sub("(?i)^create table", "create temp table", statement))
    conn.execute("insert into temp.category select * from main.category")
    conn.execute("insert into temp.product select * from main.product where +source = ?", (source,))
    for table in ("product_category", "picture_link"):
        conn.execute(
            f"""insert into temp.{table} select * from main.{table}
                where product_id in (select id from temp.product)"""
        )
    for kind, statement in statements:
        if kind == "index":
            conn.execute(statement)
