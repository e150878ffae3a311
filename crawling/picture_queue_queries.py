"""SQL for the order in which pictures are fetched: each host has a queue of its own.

In: an open crawl.db. Out: for each host its pictures to get, by the ids of their products, a few at
a time. Products of one host lie together in a feed; in queues, many hosts are asked at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from crawling.picture_queries import TO_FETCH, Wanted, with_links
from crawling.queries import remember_seen

BATCH = 100  # pictures of one host that are read at once: dozens of hosts have a batch in memory


def host_in(link: str) -> str:
    """SQL: what stands for the host in a link, given as SQL: the text between // and the next /.
    It is '' for a file. It only sorts: whoever fetches looks at the real host."""
    rest = f"substr({link}, instr({link}, '//') + 2, 300)"
    return f"""case when instr({link}, '//') = 0 then ''
                    else lower(substr({rest}, 1, instr({rest} || '/', '/') - 1)) end"""


def queue_pictures(conn: sqlite3.Connection, source: str, by_url: bool) -> int:
    """Note which pictures are to be fetched, by host. Returns how many they are. by_url: whether
    relative links lead to where the feed of this load came from."""
    remember_seen(conn)
    empty_queue(conn)
    return conn.execute(
        f"""insert into picture_queue(host, id, tried, path)
            select {host_in("image")}, product.id,
                   case when status = 'failed' then position else -1 end, path {TO_FETCH}""",
        {"source": source, "by_url": by_url},
    ).rowcount


def queue_links_left(conn: sqlite3.Connection, turn: int) -> int:
    """Note the pictures of a turn of picture_link_queries.find_links_left, by the host of the next
    link. Returns how many they are."""
    empty_queue(conn)
    return conn.execute(
        f"""insert into picture_queue(host, id, tried)
            select coalesce({host_in("link")}, ''), links_left.product_id, links_left.position
            from links_left left join picture_link on picture_link.product_id = leader
            and picture_link.position = links_left.position + 1
            where turn = ? and links_left.product_id = leader""",
        (turn,),
    ).rowcount


def empty_queue(conn: sqlite3.Connection) -> None:
    """Make the temporary table of the pictures to fetch. `tried` and `path` are those of Wanted."""
    conn.execute("drop table if exists picture_queue")
    conn.execute("""create temp table picture_queue(
                    host text, id integer, tried integer, path text,
                    primary key (host, id)) without rowid""")


def queues(conn: sqlite3.Connection) -> Iterator[Iterator[Wanted]]:
    """Yield the queue of each host: its pictures, which are read as they are asked for."""
    host = conn.execute("select min(host) from picture_queue").fetchone()[0]
    while host is not None:
        yield queue_of(conn, host)
        host = conn.execute(
            "select min(host) from picture_queue where host > ?", (host,)
        ).fetchone()[0]


def queue_of(conn: sqlite3.Connection, host: str) -> Iterator[Wanted]:
    """Yield the pictures of one host, by the ids of their products."""
    after = -(2**63)
    while rows := conn.execute(
        """select product.id, external_id, image, picture_queue.path, tried,
                  case when status = 'failed' then reason end as reason
           from picture_queue join product using (id)
           left join picture on picture.product_id = product.id
           where host = ? and picture_queue.id > ? order by picture_queue.id limit ?""",
        (host, after, BATCH),
    ).fetchall():
        after = rows[-1]["id"]
        yield from with_links(conn, rows)
