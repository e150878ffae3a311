"""SQL of an experiment's products: what has become of them, and what they share with others.

In: an open crawl.db and an experiment's number. Out: counts, ids and rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import db
from common.text import normalised, text_key
from evaluation.catalogue_queries import (
    LEAF_TODAY,
    NOW,
    measured_products,
    want_leaves_today,
    want_places,
)
from learning import category_changes
from learning.queries import CLASS_OF, FILED_HERE


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
    products, unlabelled, refiled = db.plain(
        conn,
        f"""
        select count(*), coalesce(sum(product.id is not null and product.category_id is null
                                      and coalesce({learned}, '?') <> ''), 0),
            coalesce(sum(product.category_id is not null and label_id is not null
            and ({label} <> {learned} or not {LEAF_TODAY.format(label)}) and not {FILED_HERE}), 0)
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


def text_code(name: str | None, description: str | None) -> str | None:
    """By what two texts are told apart; None for a product without words."""
    text = normalised(name, description)
    return text_key(text) if text else None


def contents(conn: sqlite3.Connection, number: int, leaves: Sequence[str]) -> sqlite3.Cursor:
    """Tuples (product_id, group, text, picture) of all products filed in an experiment's leaves, or
    in one of them until --recategorize had them wait. Products of
    one number share the group or cluster by which experiment `number` was split, the words, or the
    picture file; -1 stands for none."""
    want_leaves_today(conn, number, leaves)
    conn.create_function("text_code", 2, text_code, deterministic=True)
    return db.plain(
        conn,
        """
        with content as (select product.id, coalesce(cluster, group_key) as group_key,
                         text_code(name, description) as text, sha256 as picture
                         from product left join picture on picture.product_id = product.id
                         left join near_duplicate on near_duplicate.product_id = product.id
                         and experiment_id = :number
                         where category_id in (select id from wanted_leaf) or category_id is null
                         and product.id in (select product_id from category_change_row
                                            where run > :seen and relation = 'product'))
        select id, case when group_key is null then -1
               else dense_rank() over (order by group_key) end,
               case when text is null then -1 else dense_rank() over (order by text) end,
               case when picture is null then -1 else dense_rank() over (order by picture) end
        from content order by id""",
        {"number": number, "seen": category_changes.seen_by(conn, number)},
    )
