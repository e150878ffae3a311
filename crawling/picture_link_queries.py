"""SQL for the later links to a picture, which are tried if the first link gives none.

In: an open crawl.db, whose first links have been tried. Out: pictures to get, in turns: a picture of
a turn may turn out to be a placeholder, and then the link behind it is tried in the next one.
"""

from __future__ import annotations

import sqlite3

import db
from crawling.picture_queries import LINKS_LEFT, further, note_crawled, of_the_web
from crawling.queries import remember_seen


def begin_turns(conn: sqlite3.Connection) -> None:
    """Make the empty temporary table of the links that this run has tried: links_left.position is
    the last one tried before, and leader the product that stands for all with the same links."""
    conn.execute("drop table if exists links_left")
    conn.execute("""create temp table links_left(
                    product_id integer, position integer, leader integer, turn integer,
                    primary key (product_id, position)) without rowid""")


def note_tried(conn: sqlite3.Connection, product_id: int) -> None:
    """Note a product none of whose links worked, and whose first link may work in another run."""
    conn.execute("insert or ignore into links_left values (?1, 0, ?1, 0)", (product_id,))


def find_links_left(conn: sqlite3.Connection, source: str, by_url: bool, turn: int) -> bool:
    """Note, as a turn of this run (from 1), the products whose first link gave no usable picture and
    whose later links are still to be tried, once from each position. Of products with the same links
    the first stands for all. Returns whether there are any."""
    remember_seen(conn)
    if not conn.execute("select 1 from picture_link limit 1").fetchone():
        return False
    conn.execute(
        f"""
        with candidate as (
            select product.id, image, {further("product")} as further,
                   coalesce(status, '') as status, coalesce(picture.position, 0) as position,
                   {of_the_web("product")} as of_the_web
            from product left join picture on picture.product_id = product.id
            where product.source = :source and image <> '' and product.removed = 0
            and ({of_the_web("product")} or external_id in (select id from seen))
            and ({LINKS_LEFT} or status = 'ok' and picture.position > 0
                 or status is null and {of_the_web("product")})),
        led as (
            select id, status, position, case when not of_the_web then id else
                first_value(id) over (partition by of_the_web, image, further
                                      order by status = 'ok' desc, id) end as leader
            from candidate where further is not null)
        insert or ignore into links_left(product_id, position, leader, turn)
        select id, position, leader, :turn from led where status <> 'ok'""",
        {"source": source, "by_url": by_url, "turn": turn},
    )
    return bool(conn.execute("select changes()").fetchone()[0])


def share_later_links(conn: sqlite3.Connection, source: str, turn: int) -> None:
    """Give the products of a turn what the product that stands for them has."""
    with db.transaction(conn):
        conn.execute(
            """insert or replace into picture(product_id, path, sha256, status, reason, position)
               select links_left.product_id, path, sha256, status, reason, picture.position
               from links_left join picture on picture.product_id = leader
               where turn = ? and leader <> links_left.product_id
               and (status = 'ok' or picture.position > links_left.position)""",
            (turn,),
        )
        note_crawled(conn, source)
