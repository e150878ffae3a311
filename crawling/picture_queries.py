"""SQL for pictures: which are to be fetched, which are there, and which products share one.

In: an open crawl.db. Out: rows. db.py has the schema; queries.py keeps the table `seen`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import db
from crawling.queries import question_marks, remember_seen

# product_id, path, sha256, status, reason, position
PictureRow = tuple[int, "str | None", "str | None", str, "str | None", int]


class Wanted(NamedTuple):
    """A picture to get."""

    id: int  # of the product
    external_id: str
    links: tuple[str, ...]  # the first that works counts
    path: str | None  # of a file that is to be checked before anything is fetched
    tried: int  # the last of its links that was tried, -1 if none was
    reason: str | None  # why the first link gave none; None if it may give one


def of_the_web(product: str) -> str:
    """SQL: whether the image of a product, given by its alias, means the same picture wherever it
    stands. Other links are files beside a feed, and two feeds may have a file of the same name; or
    they are relative to the URL that this load's feed came from (:by_url)."""
    return f"""({product}.image like 'http%' or {product}.image like '//%'
                or :by_url and {product}.external_id in (select id from seen))"""


# A picture of a later link while the first one could not be had: that one is not known.
FIRST_UNKNOWN = "picture.status = 'ok' and picture.position > 0 and picture.reason is null"

# Whether an earlier product with the same image gets it, or has got it.
ANOTHER_GETS_IT = f"""exists (
    select 1 from product first left join picture on picture.product_id = first.id
    where first.source = product.source and first.image = product.image and first.id < product.id
    and first.removed = 0 and {of_the_web("first")} and not coalesce({FIRST_UNKNOWN}, 0))"""

# The products whose picture is to be fetched. One that failed is tried again only if it is a file
# beside the feed that was just loaded, which costs nothing. Of products with the same link into the
# web the first stands for all. The + has SQLite read them in the order of their ids.
TO_FETCH = f"""from product left join picture on picture.product_id = product.id
    where +product.source = :source and image <> '' and product.removed = 0
    and case when {of_the_web("product")} then
        (status is null or status = 'unchecked') and (path is not null or not {ANOTHER_GETS_IT})
    else
        coalesce(status, '') <> 'ok'
        and (path is not null or external_id in (select id from seen))
    end"""

LINKS_LEFT = """(picture.status = 'failed' and exists (
    select 1 from picture_link where picture_link.product_id = product.id
    and picture_link.position > picture.position))"""


def has_links(conn: sqlite3.Connection, source: str) -> bool:
    """Whether a product of a source has a link to a picture."""
    row = conn.execute(
        "select 1 from product where source = ? and image > '' limit 1", (source,)
    ).fetchone()
    return row is not None


def with_links(conn: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> list[Wanted]:
    """Rows (id, external_id, image, path, tried, reason) with all links of their products."""
    further: dict[int, list[str]] = {}
    for product_id, link in db.plain(
        conn,
        f"""select product_id, link from picture_link
            where product_id in ({question_marks(rows)}) order by product_id, position""",
        [row["id"] for row in rows],
    ):
        further.setdefault(product_id, []).append(link)
    return [
        Wanted(
            row["id"],
            row["external_id"],
            (row["image"], *further.get(row["id"], ())),
            row["path"],
            row["tried"],
            row["reason"],
        )
        for row in rows
    ]


def wanted_by_link(conn: sqlite3.Connection, source: str, url: str) -> Wanted | None:
    """The first product of a source that has this first link, and no picture of it; None if there
    is none, or another product has that picture, which share_pictures gives to the others."""
    row = conn.execute(
        """select id, external_id from (
               select product.* from product left join picture on product_id = id
               where source = ? and image in (?, ?) and removed = 0
               and (coalesce(status, 'unchecked') = 'unchecked' or position > 0
                    or status = 'failed' and sha256 is null)
               order by id limit 1) first
           where not exists (
               select 1 from product join picture on product_id = product.id
               where source = first.source and image = first.image
               and status = 'ok' and position = 0)""",
        (source, url, url.removeprefix("https:")),
    ).fetchone()
    return Wanted(row["id"], row["external_id"], (url,), None, -1, None) if row else None


def count_pictures_to_fetch(conn: sqlite3.Connection, source: str, by_url: bool = False) -> int:
    remember_seen(conn)
    return conn.execute(
        f"select count(*) {TO_FETCH}", {"source": source, "by_url": by_url}
    ).fetchone()[0]


def count_unfinished(conn: sqlite3.Connection, source: str) -> int:
    """How many products have a link to a picture that this run could get and did not."""
    remember_seen(conn)
    return conn.execute(
        f"""select count(*) from product left join picture on picture.product_id = product.id
            where product.source = :source and image <> '' and product.removed = 0
            and (coalesce(status, 'unchecked') = 'unchecked' or {LINKS_LEFT})
            and ({of_the_web("product")} or path is not null
                 or external_id in (select id from seen))""",
        {"source": source, "by_url": False},
    ).fetchone()[0]


def share_pictures(conn: sqlite3.Connection, source: str, by_url: bool = False) -> None:
    """Give products that have no picture what the first product with the same link has of it: the
    picture, or the reason why there is none. A picture of a later link is given only to products
    with the same list of links."""
    remember_seen(conn)
    with db.transaction(conn):
        conn.execute(
            f"""
            with known as (
                select product.image, min(product.id) as id from product
                join picture on picture.product_id = product.id
                where product.source = :source and {of_the_web("product")}
                and status in ('ok', 'failed') and not ({FIRST_UNKNOWN}) group by product.image),
            given as (
                select product.id, picture.*,
                       picture.position = 0 or {further("product")} is {further("known")} as whole
                from known join product on product.source = :source and product.image = known.image
                join picture on picture.product_id = known.id
                where product.id <> known.id and {of_the_web("product")})
            insert or replace into picture(product_id, path, sha256, status, reason, position)
            select id, case when whole then path end, case when whole then sha256 end,
                   case when whole then status else 'failed' end, reason,
                   case when whole then position else 0 end
            from given where not exists (
                select 1 from picture old where old.product_id = given.id
                and (old.status <> 'failed' or not whole
                     or given.status = 'failed' and given.position <= old.position))""",
            {"source": source, "by_url": by_url},
        )
        note_crawled(conn, source)


def further(product: str) -> str:
    """SQL: the further links of a product, given by its alias, as one text; null without any."""
    return f"""(select group_concat(link, char(10)) from (
        select link from picture_link where product_id = {product}.id order by position))"""


def note_crawled(conn: sqlite3.Connection, source: str) -> None:
    """Set image_crawled of products that share a picture."""
    conn.execute(
        """update product set image_crawled = 1 where source = ? and image_crawled = 0
           and id in (select product_id from picture where status = 'ok')""",
        (source,),
    )


# ---- all pictures -------------------------------------------------------------------------------


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


def set_placeholders(conn: sqlite3.Connection, least: int) -> int:
    """Mark the pictures that `least` groups of products or more share as unusable. Returns how many
    products have one."""
    with db.transaction(conn):
        conn.execute("create temp table if not exists placeholder(sha256 text, groups integer)")
        conn.execute("delete from placeholder")
        conn.execute(
            f"""insert into placeholder select sha256, count(distinct {db.GROUP_KEY})
                        from picture join product on id = product_id where sha256 in (
                            select sha256 from picture group by sha256 having count(*) >= ?)
                        group by sha256 having count(distinct group_key) >= ?""",
            (least, least),
        )
        conn.execute("""update product set image_crawled = 0 where id in (
                            select product_id from picture join placeholder using (sha256))""")
        return conn.execute("""update picture set status = 'failed',
                               reason = coalesce(case when position > 0 then reason end,
                               'a placeholder: ' || (select groups from placeholder
                                   where placeholder.sha256 = picture.sha256)
                               || ' different products have it') where sha256 in
                               (select sha256 from placeholder) and status = 'ok'""").rowcount


def picture_counts(conn: sqlite3.Connection, source: str | None = None) -> list[sqlite3.Row]:
    """[(status, reason, products)] of the products that have a link to a picture, of one source or
    of all, most first. status is None for products with a link that nobody has tried; reason
    says why a picture is unusable."""
    return conn.execute(
        f"""with state as (
                select case when {LINKS_LEFT} then null else status end as status,
                       reason, position
                from product left join picture on picture.product_id = product.id
                where image <> '' and (source = ? or ? is null)),
            worded as (
                select status, case when status = 'failed' then reason || case position
                    when 0 then '' when 1 then ', and 1 other link gave none'
                    else ', and ' || position || ' other links gave none' end end as reason
                from state)
            select status, reason, count(*) from worded
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
    """Insert or replace rows (product_id, path, sha256, status, reason, position) in one
    transaction."""
    with db.transaction(conn):
        conn.executemany(
            """insert or replace into picture(product_id, path, sha256, status, reason, position)
               values (?, ?, ?, ?, ?, ?)""",
            rows,
        )
        conn.executemany(
            "update product set image_crawled = ? where id = ?",
            [(int(row[3] == db.PICTURE_OK), row[0]) for row in rows],
        )
        conn.executemany("delete from filing where product_id = ?", [row[:1] for row in rows])
