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

# What a load writes, in an order in which each table can name those before it.
WRITTEN_TABLES = (
    "category",
    "product",
    "product_category",
    "picture_link",
    "picture",
    "filing",
    "regrouped",
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
    """Make the temporary tables of a load: `seen`, and `variant` with the products that name a
    parent. 16 MB of `seen` stay in memory, which takes a million ids in any order."""
    conn.execute("pragma temp.cache_size = -16000")
    queries.remember_seen(conn)
    conn.execute("""create temp table if not exists variant(id text primary key, parent text,
                    own_group integer, own_categories integer) without rowid""")


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


def question_marks(values: Sequence[object]) -> str:
    """Parameters for so many values: '?,?,?'."""
    return ",".join("?" * len(values))


def seen_among(conn: sqlite3.Connection, external_ids: Sequence[str]) -> set[str]:
    """Which of these ids of the shop's this load has seen already."""
    rows = db.plain(
        conn, f"select id from seen where id in ({question_marks(external_ids)})", external_ids
    )
    return {row[0] for row in rows}


def remember_outcomes(conn: sqlite3.Connection, outcomes: Iterable[tuple[str, str]]) -> None:
    """Note (external_id, outcome) of products that this load had not seen before."""
    conn.executemany("insert into seen(id, outcome) values (?, ?)", outcomes)


def remember_variants(
    conn: sqlite3.Connection, variants: Iterable[tuple[str, str, int, int]]
) -> None:
    """Note (external_id, its parent's, whether it has an item group and categories of its own)."""
    conn.executemany("insert into variant values (?, ?, ?, ?)", variants)


def stored_products(
    conn: sqlite3.Connection, source: str, external_ids: Sequence[str]
) -> dict[str, StoredProduct]:
    """{external_id: StoredProduct} of those that a source has."""
    rows = db.plain(
        conn,
        f"""select id, external_id, category_id, name, description, image, group_key, removed
            from product where source = ? and external_id in ({question_marks(external_ids)})""",
        (source, *external_ids),
    )
    return {row[1]: StoredProduct(*row) for row in rows}


def stored_lists(
    conn: sqlite3.Connection, product_ids: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    """{product id: the categories that the shop lists for it, in its order}."""
    return in_lists(
        db.plain(
            conn,
            f"""select product_id, category_id from product_category
                where product_id in ({question_marks(product_ids)}) and position is not null
                order by product_id, position""",
            product_ids,
        )
    )


def stored_links(
    conn: sqlite3.Connection, product_ids: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    """{product id: the links to its pictures behind the first}."""
    return in_lists(
        db.plain(
            conn,
            f"""select product_id, link from picture_link
                where product_id in ({question_marks(product_ids)}) order by product_id, position""",
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
        conn, f"select id from product where id in ({question_marks(numbers)})", numbers
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


def insert_lists(conn: sqlite3.Connection, lists: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Store lists (product id, categories in the shop's order) of products that have none."""
    conn.executemany(
        "insert into product_category(product_id, category_id, position) values (?, ?, ?)",
        (
            (number, category, position)
            for number, categories in lists
            for position, category in enumerate(categories)
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
    not be used is tried again by the new links."""
    numbers = [(number,) for number, _ in links]
    conn.executemany("delete from picture_link where product_id = ?", numbers)
    insert_links(conn, links)
    conn.executemany(
        f"delete from picture where product_id = ? and status <> '{db.PICTURE_OK}'", numbers
    )


def regroup(conn: sqlite3.Connection, rows: Sequence[tuple[str, int]]) -> None:
    """Give products, as (group_key, id), another group; the table regrouped keeps the earlier."""
    conn.executemany(
        """insert into regrouped(product_id, group_key, date)
           select id, group_key, datetime() from product where id = ?""",
        ((number,) for _, number in rows),
    )
    conn.executemany("update product set group_key = ? where id = ?", rows)


# ---- variants -----------------------------------------------------------------------------------


def settle_variants(conn: sqlite3.Connection, source: str) -> tuple[int, int, int]:
    """Give the products in the table `variant` what is their parent's, now that all are stored: its
    group, and its categories if they have none of their own. Returns how many variants there are,
    how many have a category of their parent's, and how many had one before and have none now."""
    if not conn.execute("select 1 from variant limit 1").fetchone():
        return 0, 0, 0
    group_families(conn, source)
    conn.execute("create temp table heir(product_id integer primary key, parent_id integer)")
    conn.execute(
        """insert into heir select product.id, parent.id from variant
           join product on product.source = :source and product.external_id = variant.id
           left join product parent on parent.source = :source
                and parent.external_id = variant.parent
           where not own_categories""",
        {"source": source},
    )
    inherited, lost = inherit_categories(conn)
    conn.execute("drop table heir")
    variants = conn.execute("select count(*) from variant").fetchone()[0]
    return variants, inherited, lost


def group_families(conn: sqlite3.Connection, source: str) -> None:
    """Give each parent and its variants one group: the parent's item group, otherwise one named by
    the parent's id. A variant with an item group of its own keeps that."""
    values = {"source": source, "mark": f"{source} "}
    conn.execute("create temp table family(parent text primary key, key text) without rowid")
    conn.execute(
        """insert into family select distinct variant.parent,
               case when substr(group_key, 1, length(:mark)) = :mark then group_key
                    else :mark || variant.parent end
           from variant left join product
                on source = :source and external_id = variant.parent""",
        values,
    )
    conn.execute("create temp table moved(id text primary key, key text) without rowid")
    conn.execute("insert into moved select parent, key from family")
    conn.execute("""insert or replace into moved select id, key from variant join family
                    using (parent) where not own_group""")
    conn.execute(
        """delete from moved where not exists (
               select 1 from product where source = :source and external_id = moved.id
               and group_key is not moved.key)""",
        values,
    )
    conn.execute(
        """insert into regrouped(product_id, group_key, date)
           select product.id, group_key, datetime() from moved
           join product on source = :source and external_id = moved.id
           where not exists (select 1 from seen where seen.id = moved.id and outcome = 'new')
           order by product.id""",
        values,
    )
    conn.execute(
        """update product set group_key =
               (select key from moved where moved.id = product.external_id)
           where source = :source and external_id in (select id from moved)""",
        values,
    )
    conn.execute("""update seen set outcome = 'changed'
                    where outcome = 'unchanged' and id in (select id from moved)""")
    conn.execute("drop table moved")
    conn.execute("drop table family")


LISTED = """(select group_concat(category_id, ' ') from (
                select category_id from product_category where product_id = {}
                and position is not null order by position))"""


def inherit_categories(conn: sqlite3.Connection) -> tuple[int, int]:
    """Give the products in the table `heir` their parents' categories. Returns how many have one
    now, and how many had one before and have none now."""
    inherited, lost = conn.execute("""
        select coalesce(sum(parent.category_id is not null), 0),
               coalesce(sum(parent.category_id is null and product.category_id is not null), 0)
        from heir join product on product.id = product_id
        left join product parent on parent.id = parent_id""").fetchone()
    conn.execute(
        f"""delete from heir where {LISTED.format("heir.product_id")}
                                is {LISTED.format("heir.parent_id")}
            and (select category_id from product where id = heir.product_id)
                is (select category_id from product where id = heir.parent_id)"""
    )
    conn.execute("""create temp table inheritance as
                    select heir.product_id, category_id, position from heir
                    join product_category on product_category.product_id = parent_id""")
    conn.execute("delete from product_category where product_id in (select product_id from heir)")
    conn.execute("""insert into product_category(product_id, category_id, position)
                    select product_id, category_id, position from inheritance""")
    conn.execute("""update product set category_id = (
                        select parent.category_id from heir
                        join product parent on parent.id = heir.parent_id
                        where heir.product_id = product.id)
                    where id in (select product_id from heir)""")
    conn.execute("""update seen set outcome = 'changed' where outcome = 'unchanged' and id in (
                        select external_id from product where id in (
                            select product_id from heir))""")
    conn.execute("drop table inheritance")
    return inherited, lost


# ---- products that are gone, and figures --------------------------------------------------------

GONE = "source = ? and removed = 0 and external_id not in (select id from seen)"


def count_gone(conn: sqlite3.Connection, source: str) -> int:
    """How many products of a source this load has not seen, without those removed before."""
    return conn.execute(f"select count(*) from product where {GONE}", (source,)).fetchone()[0]


def remove_gone(conn: sqlite3.Connection, source: str) -> int:
    """Mark the products of count_gone as removed. Returns how many."""
    return conn.execute(f"update product set removed = 1 where {GONE}", (source,)).rowcount


def count_outcomes(conn: sqlite3.Connection) -> dict[str, int]:
    """{new, changed, unchanged: products} of this load."""
    queries.remember_seen(conn)
    counts = dict.fromkeys(("new", "changed", "unchanged"), 0)
    counts.update(db.plain(conn, "select outcome, count(*) from seen group by outcome"))
    return counts


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
    that a load of this source looks at: the file itself stays as it is."""
    for table in WRITTEN_TABLES:
        for (statement,) in db.plain(
            conn,
            """select sql from main.sqlite_master where tbl_name = ? and sql is not null
               order by type = 'index'""",
            (table,),
        ).fetchall():
            conn.execute(re.sub("(?i)^create table", "create temp table", statement))
    conn.execute("insert into temp.category select * from main.category")
    conn.execute("insert into temp.product select * from main.product where source = ?", (source,))
    for table in ("product_category", "picture_link"):
        conn.execute(
            f"""insert into temp.{table} select * from main.{table}
                where product_id in (select id from temp.product)"""
        )
