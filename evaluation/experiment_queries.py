"""SQL of an experiment's products: what has become of them, and what they share with others.

In: an open crawl.db and an experiment's number. Out: counts, ids and rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import db
from common.text import normalised
from evaluation.catalogue_queries import (
    LEAF_TODAY,
    NOW,
    measured_products,
    want_leaves_today,
    want_places,
)
from learning import category_changes
from learning.queries import CLASS_OF, FILED_HERE

# A measured product has the category that was learned, of which nothing has changed (settled).
SETTLED = "label_id = product.category_id and label_id in (select id from settled)"


def trusts_filed(conn: sqlite3.Connection, number: int) -> bool:
    """Whether an experiment was trained with --trust-filed."""
    arguments = db.settings(db.experiment_row(conn, number)).get("arguments")
    return isinstance(arguments, dict) and bool(arguments.get("trust_filed"))


def changes(conn: sqlite3.Connection, number: int) -> dict[str, int]:
    """What has become of the products that an experiment was measured on: {products: how many they
    are; refiled: those that the shop has in another category now, or in one that nothing may be
    filed at any more; unlabelled: those that have no category any more, unless --recategorize has
    them wait; regrouped: those that have
    another item group now than when it read them}."""
    want_places(conn, number)
    measured = measured_products(conn, number)
    last = db.settings(db.experiment_row(conn, number)).get("regroupings")
    label, learned = CLASS_OF.format("product.category_id"), f"({NOW.format('label_id')})"
    conn.execute("create temp table if not exists settled(id text primary key) without rowid")
    conn.execute("delete from settled")
    conn.execute(
        f"""insert into settled select id from category where
            {CLASS_OF.format("category.id")} = ({NOW.format("category.id")})
            and {LEAF_TODAY.format(CLASS_OF.format("category.id"))}"""
    )
    # Nearly all products are filed in the category that was learned, and that one is settled.
    products, unlabelled, refiled = db.plain(
        conn,
        f"""
        select count(*), coalesce(sum(case when {SETTLED} then 0 else
                                      product.id is not null and product.category_id is null
                                      and coalesce({learned}, '?') <> '' end), 0),
            coalesce(sum(case when {SETTLED} then 0 else
            product.category_id is not null and label_id is not null
            and ({label} <> {learned} or not {LEAF_TODAY.format(label)})
            and not {FILED_HERE} end), 0)
        from ({measured}) left join product on product.id = product_id""",
        {"number": number},
    ).fetchone()
    (regrouped,) = db.plain(
        conn,
        f"""
        select count(*) from (select product_id, min(id) as first from regrouped where id > :last
                              group by product_id) as moved
        join regrouped on regrouped.id = first join product on product.id = moved.product_id
        where regrouped.group_key is not product.group_key
        and moved.product_id in (select product_id from ({measured}))""",
        {"number": number, "last": last if type(last) is int else 0},
    ).fetchone()
    return {
        "products": products,
        "refiled": refiled,
        "unlabelled": unlabelled,
        "regrouped": regrouped,
    }


def tuned_products(conn: sqlite3.Connection, number: int) -> list[int]:
    """Ids of the products that an experiment's validation held."""
    return [
        row[0]
        for row in db.plain(
            conn,
            """select product_id from validation_prediction
                                                where experiment_id = ?""",
            (number,),
        )
    ]


def near_trained(conn: sqlite3.Connection, number: int) -> list[int] | None:
    """Ids of the predicted products whose model had learned from a near-duplicate; None if nobody
    has looked."""
    rows = db.plain(
        conn,
        """select product_id, twin from predicted_category
                             where experiment_id = ?""",
        (number,),
    ).fetchall()
    if any(twin is None for _, twin in rows):
        return None
    return [product_id for product_id, twin in rows if twin]


def contents(
    conn: sqlite3.Connection, number: int, leaves: Sequence[str]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield (product_id, group, text, picture) of all products filed in an experiment's leaves, or
    in one of them until --recategorize had them wait, by id. Products of one number share the group
    or cluster by which experiment `number` was split, the words, or the picture file; -1 stands for
    none."""
    want_leaves_today(conn, number, leaves)
    for product_id, group, name, description, picture in db.plain(
        conn,
        """
        select product.id, coalesce(cluster, group_key), name, description, sha256
        from product left join picture on picture.product_id = product.id
        left join near_duplicate on near_duplicate.product_id = product.id
                  and experiment_id = :number
        where +category_id in (select id from wanted_leaf) or category_id is null
              and product.id in (select product_id from category_change_row
                                 where run > :seen and relation = 'product')
        order by product.id""",
        {"number": number, "seen": category_changes.seen_by(conn, number)},
    ):
        text = normalised(name, description) or None
        yield product_id, content_code(group), content_code(text), content_code(picture)


def content_code(value: Any) -> int:
    """By what values are told apart, -1 for None. A hash of 63 bits: that any two of a million
    values share one has a probability of 1 to 20 million, and no table of them is kept."""
    return -1 if value is None else hash(value) & 2**63 - 1
