"""SQL for pictures: which are to be fetched, which are there, and which products share one.

In: an open crawl.db. Out: rows. db.py has the schema; queries.py keeps the table `seen`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

import db
from crawling.queries import remember_seen

# product_id, path, sha256, status, reason
PictureRow = tuple[int, "str | None", "str | None", str, "str | None"]

# A link into the web means the same picture wherever it stands. Other links are files beside a
# feed, and two feeds may have a file of the same name.
OF_THE_WEB = "(product.image like 'http%' or product.image like '//%')"

# The products whose picture is to be fetched. One that failed is tried again only if it is a file
# beside the feed that was just loaded, which costs nothing. Of products with the same link into the
# web the first stands for all.
TO_FETCH = f"""from product left join picture on product_id = product.id
    where product.source = ? and product.id > ? and image <> '' and product.removed = 0
    and case when {OF_THE_WEB} then
        (status is null or status = 'unchecked') and (path is not null or not exists (
            select 1 from product first where first.source = product.source and first.removed = 0
            and first.image = product.image and first.id < product.id))
    else
        coalesce(status, '') <> 'ok'
        and (path is not null or external_id in (select id from seen))
    end"""


def has_links(conn: sqlite3.Connection, source: str) -> bool:
    """Whether a product of a source has a link to a picture."""
    row = conn.execute(
        "select 1 from product where source = ? and image > '' limit 1", (source,)
    ).fetchone()
    return row is not None


def pictures_to_fetch(
    conn: sqlite3.Connection, source: str, after: int, count: int
) -> list[sqlite3.Row]:
    """The next `count` rows (id, external_id, image, path) past id `after` that have no checked
    picture; path is that of a file that is to be checked."""
    remember_seen(conn)
    return conn.execute(
        f"""select product.id, external_id, image, path {TO_FETCH}
                            order by product.id limit ?""",
        (source, after, count),
    ).fetchall()


def rows_to_fetch(conn: sqlite3.Connection, source: str) -> Iterator[sqlite3.Row]:
    """Yield all rows of pictures_to_fetch, read a thousand at a time."""
    after = -(2**63)
    while rows := pictures_to_fetch(conn, source, after, 1000):
        after = rows[-1]["id"]
        yield from rows


def count_pictures_to_fetch(conn: sqlite3.Connection, source: str, after: int = -(2**63)) -> int:
    remember_seen(conn)
    return conn.execute(f"select count(*) {TO_FETCH}", (source, after)).fetchone()[0]


def count_unfinished(conn: sqlite3.Connection, source: str) -> int:
    """How many products have a link to a picture that this run could get and did not."""
    remember_seen(conn)
    return conn.execute(
        f"""select count(*) from product left join picture on product_id = id
                            where source = ? and image <> '' and removed = 0
                            and coalesce(status, 'unchecked') = 'unchecked'
                            and ({OF_THE_WEB} or path is not null
                                 or external_id in (select id from seen))""",
        (source,),
    ).fetchone()[0]


def kept_pictures(conn: sqlite3.Connection, source: str | None) -> sqlite3.Cursor:
    """Yield (product_id, path, sha256) of the pictures that are kept as files, by id: of one
    source, or with None of all."""
    return conn.execute(
        """select product_id, path, sha256 from picture
                           join product on id = product_id where status = 'ok'
                           and (source = ? or ? is null) order by product_id""",
        (source, source),
    )


def forget_pictures(conn: sqlite3.Connection, products: Iterable[int]) -> None:
    """Forget the pictures of these product ids, so that they are fetched again."""
    with db.transaction(conn):
        for product_id in products:
            conn.execute("delete from picture where product_id = ?", (product_id,))
            conn.execute("update product set image_crawled = 0 where id = ?", (product_id,))


def forget_failed_pictures(
    conn: sqlite3.Connection, source: str, reason: str | None = None
) -> None:
    """Forget the unusable pictures of a source, all or those with this reason, so that they are
    tried again."""
    with db.transaction(conn):
        conn.execute(
            """delete from picture where status = 'failed' and (reason = ? or ? is null)
                        and product_id in (select id from product where source = ?)""",
            (reason, reason, source),
        )


def share_pictures(conn: sqlite3.Connection, source: str) -> None:
    """Give products that have no picture that of the first product with the same link."""
    with db.transaction(conn):
        conn.execute(
            f"""
            insert or replace into picture(product_id, path, sha256, status, reason)
            select product.id, first.path, first.sha256, first.status, first.reason
            from product join picture first on first.product_id = (
                select min(id) from product other
                where other.source = product.source and other.image = product.image)
            where product.source = ? and {OF_THE_WEB} and product.id <> first.product_id
            and first.status in ('ok', 'failed') and not exists (
                select 1 from picture where product_id = product.id
                and (status <> 'failed' or first.status = 'failed'))""",
            (source,),
        )
        conn.execute(
            """update product set image_crawled = 1 where source = ? and image_crawled = 0
                        and id in (select product_id from picture where status = 'ok')""",
            (source,),
        )


def set_placeholders(conn: sqlite3.Connection, least: int) -> int:
    """Mark the pictures that `least` groups of products or more share as unusable. Returns how many
    products have one."""
    with db.transaction(conn):
        conn.execute("create temp table if not exists placeholder(sha256 text, groups integer)")
        conn.execute("delete from placeholder")
        conn.execute(
            f"""insert into placeholder select sha256, count(distinct {db.GROUP_KEY})
                        from picture join product on id = product_id where sha256 is not null
                        group by sha256 having count(distinct group_key) >= ?""",
            (least,),
        )
        conn.execute("""update product set image_crawled = 0 where id in (
                            select product_id from picture join placeholder using (sha256))""")
        return conn.execute("""update picture set status = 'failed', reason = 'a placeholder: '
                               || (select groups from placeholder
                                   where placeholder.sha256 = picture.sha256)
                               || ' different products have it' where sha256 in
                               (select sha256 from placeholder) and status = 'ok'""").rowcount


def picture_counts(conn: sqlite3.Connection, source: str | None = None) -> list[sqlite3.Row]:
    """[(status, reason, products)] of the products that have a link to a picture, of one source or
    of all, most first. status is None for products whose picture nobody has tried to get."""
    return conn.execute(
        """select status, reason, count(*) from product
                           left join picture on product_id = id
                           where image <> '' and (source = ? or ? is null)
                           group by status, reason order by count(*) desc, status, reason""",
        (source, source),
    ).fetchall()


def count_usable_pictures(conn: sqlite3.Connection, source: str, seen: bool) -> tuple[int, int]:
    """(products that have a picture, products whose picture is unusable) of a source; with `seen`
    only of those of its products that this connection has seen."""
    remember_seen(conn)
    return tuple(
        conn.execute(
            """
        select coalesce(sum(status = 'ok'), 0), coalesce(sum(status = 'failed'), 0)
        from product join picture on product_id = id where source = ? and image <> ''
        and (not ? or external_id in (select id from seen))""",
            (source, seen),
        ).fetchone()
    )


def store_pictures(conn: sqlite3.Connection, rows: Sequence[PictureRow]) -> None:
    """Insert or replace rows (product_id, path, sha256, status, reason) in one transaction."""
    with db.transaction(conn):
        conn.executemany("insert or replace into picture values (?, ?, ?, ?, ?)", rows)
        conn.executemany(
            "update product set image_crawled = ? where id = ?",
            [(int(row[3] == db.PICTURE_OK), row[0]) for row in rows],
        )
        conn.executemany("delete from filing where product_id = ?", [row[:1] for row in rows])
