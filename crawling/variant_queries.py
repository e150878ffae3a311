"""SQL of variants: products of a feed that name a parent, and take its group and its categories.

In: an open crawl.db in which all products of a feed are stored. Out: counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from crawling import refiled_queries


def begin_load(conn: sqlite3.Connection) -> None:
    """Make the temporary table `variant`: a product's id in the shop, its parent's, and whether it
    has an item group and categories of its own."""
    conn.execute("""create temp table if not exists variant(id text primary key, parent text,
                    own_group integer, own_categories integer) without rowid""")


def remember_variants(
    conn: sqlite3.Connection, variants: Iterable[tuple[str, str, bool, bool]]
) -> None:
    """Add rows to the table `variant`."""
    conn.executemany("insert into variant values (?, ?, ?, ?)", variants)


def settle_variants(conn: sqlite3.Connection, source: str) -> tuple[int, int, int, int]:
    """Give the products in the table `variant` what is their parent's, now that all are stored: its
    group, and its categories if they have none of their own. Returns how many variants there are,
    how many have a category of their parent's, how many had one before and have none now, and how
    many products were counted as unchanged and are changed by this."""
    if not conn.execute("select 1 from variant limit 1").fetchone():
        return 0, 0, 0, 0
    moved = group_families(conn, source)
    conn.execute("create temp table heir(product_id integer primary key, parent_id integer)")
    conn.execute(
        """insert into heir select product.id, parent.id from variant
           join product on product.source = :source and product.external_id = variant.id
           left join product parent on parent.source = :source
                and parent.external_id = variant.parent
           where not own_categories""",
        {"source": source},
    )
    inherited, lost, refiled = inherit_categories(conn)
    conn.execute("drop table heir")
    variants = conn.execute("select count(*) from variant").fetchone()[0]
    return variants, inherited, lost, moved + refiled


def group_families(conn: sqlite3.Connection, source: str) -> int:
    """Give each parent and its variants one group: the parent's item group, otherwise one named by
    the parent's id. A variant with an item group of its own keeps that. Returns how many products
    are changed by this that had been unchanged."""
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
    changed = conn.execute("""update seen set outcome = 'changed'
                              where outcome = 'unchanged' and id in (select id from moved)""")
    conn.execute("drop table moved")
    conn.execute("drop table family")
    return changed.rowcount


LISTED = """(select group_concat(category_id, ' ') from (
                select category_id from product_category where product_id = {}
                and position is not null order by position))"""


def inherit_categories(conn: sqlite3.Connection) -> tuple[int, int, int]:
    """Give the products in the table `heir` their parents' categories. Returns how many have one
    now, how many had one before and have none now, and how many are changed that had been
    unchanged."""
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
    refiled_queries.remember_heirs(conn)
    conn.execute("""update product set category_id = (
                        select parent.category_id from heir
                        join product parent on parent.id = heir.parent_id
                        where heir.product_id = product.id)
                    where id in (select product_id from heir)""")
    changed = conn.execute("""update seen set outcome = 'changed'
                              where outcome = 'unchanged' and id in (
                                  select external_id from product where id in (
                                      select product_id from heir))""")
    conn.execute("drop table inheritance")
    return inherited, lost, changed.rowcount
