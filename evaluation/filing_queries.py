"""SQL of filing: products that nobody has filed, the model's answers, and where each one goes.

In: an open crawl.db and an experiment's number. Out: rows and counts.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import db
from evaluation.catalogue_queries import (
    DECIDED,
    LEAF_NOW,
    LEAF_THERE,
    PARENT_NOW,
    PARENT_THERE,
    STRANGE,
    UNFILED,
    want_places,
    want_strange,
)

# ---- answers ------------------------------------------------------------------------------------


def to_answer(
    conn: sqlite3.Connection, number: int, leaves: Iterable[str], size: int
) -> Iterator[list[sqlite3.Row]]:
    """Yield lists of up to `size` products that experiment `number` has no answer for yet and that
    nobody has filed, or that are filed in a leaf that is not one of its own `leaves`: rows of id,
    category_id, group_key, cluster (of the experiment's, else the group_key), name, description,
    and path and sha256 of their picture or null."""
    want_strange(conn, number, leaves)
    for wanted in (UNFILED, STRANGE):  # with an `or` SQLite would sort them all for each list
        after = -(2**63)
        while rows := conn.execute(
            f"""
                select product.id, category_id, {db.GROUP_KEY} as group_key,
                       coalesce(name, '') as name,
                       coalesce(description, '') as description, path, sha256,
                       coalesce(cluster, {db.GROUP_KEY}) as cluster
                from product left join picture on picture.product_id = product.id and status <> ?
                left join near_duplicate on near_duplicate.product_id = product.id
                     and near_duplicate.experiment_id = ?
                where {wanted} and product.id > ? and not exists (
                    select 1 from filing where experiment_id = ? and product_id = product.id)
                order by product.id limit ?""",
            (db.PICTURE_FAILED, number, after, number, size),
        ).fetchall():
            yield rows
            after = rows[-1]["id"]


def waiting_products(
    conn: sqlite3.Connection, number: int, leaves: Iterable[str]
) -> NDArray[np.int64]:
    """int64 [n], sorted: the ids of all products of `to_answer`."""
    want_strange(conn, number, leaves)
    rows = db.plain(
        conn,
        f"""select id from product where ({UNFILED} or {STRANGE}) and not exists (
                select 1 from filing where experiment_id = ? and product_id = product.id)
            order by id""",
        (number,),
    )
    return np.fromiter((product_id for (product_id,) in rows), np.int64)


def unchanged(conn: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> set[int]:
    """The ids of those rows of `to_answer` whose products still have the text and the picture that
    were read: a load may have changed others meanwhile."""
    now = db.plain(
        conn,
        f"""select id, coalesce(name, ''), coalesce(description, ''), sha256
            from product left join picture on product_id = id and status <> {db.PICTURE_FAILED!r}
            where id in (select value from json_each(?))""",
        (json.dumps([row["id"] for row in rows]),),
    )
    read = {(row["id"], row["name"], row["description"], row["sha256"]) for row in rows}
    return {product[0] for product in now if product in read}


def count_unfiled(
    conn: sqlite3.Connection, number: int, leaves: Iterable[str]
) -> tuple[int, int, int]:
    """(products that nobody has filed, products without an answer yet as in `to_answer`, products
    without a category that a person has filed)."""
    want_strange(conn, number, leaves)
    unfiled, waiting, by_person = conn.execute(
        f"""
        select (select count(*) from product where {UNFILED}),
               (select count(*) from product where ({UNFILED} or {STRANGE}) and not exists (
                    select 1 from filing where experiment_id = ? and product_id = product.id)),
               (select count(*) from label_override join product on product.id = product_id
                where {DECIDED})""",
        (number,),
    ).fetchone()
    return unfiled, waiting, by_person


def count_strange(
    conn: sqlite3.Connection, number: int, leaves: Iterable[str], pictured: bool = False
) -> tuple[int, int]:
    """(products filed in leaves that are not the model's `leaves`, those of them that experiment
    `number` has answered), only products with a usable picture if `pictured`."""
    want_strange(conn, number, leaves)
    with_picture = ""
    if pictured:
        with_picture = f"""and exists (select 1 from picture where product_id = product.id
                                       and status <> '{db.PICTURE_FAILED}')"""
    strange, answered = conn.execute(
        f"""
        select count(*), coalesce(sum(exists (select 1 from filing where experiment_id = ?
                                              and product_id = product.id)), 0)
        from product where {STRANGE} {with_picture}""",
        (number,),
    ).fetchone()
    return strange, answered


def store_answers(conn: sqlite3.Connection, number: int, rows: Iterable[Sequence[Any]]) -> None:
    """Store a model's answers for products, rows (product_id, leaf_id, leaf_score, parent_id,
    parent_score, top, words, unknown, pictured, twin), in one transaction. Answers that another
    process has stored meanwhile stay."""
    with db.transaction(conn):
        conn.executemany(
            f"""insert or ignore into filing(experiment_id, product_id, leaf_id,
                             leaf_score, parent_id, parent_score, top, words, unknown, pictured,
                             twin) values ({number}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            rows,
        )


def answers_gone(conn: sqlite3.Connection, number: int) -> list[sqlite3.Row]:
    """[(category, products)] of the leaves that experiment `number` names for products that nobody
    has filed, and that nothing may be filed at today; most products first."""
    want_places(conn, number)
    return conn.execute(
        f"""select leaf_id, count(*) from filing join product
                            on product.id = product_id where experiment_id = ?
                            and leaf_id is not null and not {LEAF_THERE}
                            and {UNFILED} group by leaf_id order by count(*) desc, leaf_id""",
        (number,),
    ).fetchall()


def answer_counts(
    conn: sqlite3.Connection,
    number: int,
    source: str,
    edges: Sequence[float],
    shut: Collection[str] = (),
) -> dict[tuple[str, int], int]:
    """{(leaf, how many of these edges its score reaches): products} of an experiment's answers for
    a source's products without a category. A score for a leaf that nothing may be filed at today
    reaches none, as in `details`, nor does one for the leaves `shut`."""
    want_places(conn, number, shut)
    step = " + ".join([f"(leaf_score >= ? and {LEAF_THERE})"] * len(edges))
    rows = db.plain(
        conn,
        f"""
        select {LEAF_NOW} as leaf, {step} as step, count(*) from filing
        join product on product.id = product_id
        where experiment_id = ? and source = ? and leaf_id is not null and {UNFILED}
        group by leaf, step""",
        (*edges, number, source),
    )
    return {(leaf, reached): count for leaf, reached, count in rows}


# ---- filing -------------------------------------------------------------------------------------

# An audit's answer says that the product does not belong where it would be filed.
REFUSED = f"""exists (select 1 from audit_sample
              where audit_sample.product_id = filing.product_id and answer = 'wrong'
              and audit_sample.category_id in ({LEAF_NOW}, {PARENT_NOW}))"""

# The level that a source's products are filed at by their answers. The leaf: from score :leaf on.
# The parent: from score :parent on, if the leaf's score is under :below or the leaf is not there
# today. Nothing is filed at a category that is not there today (want_places). What is filed at a
# level that stays (:stay_leaf, :stay_parent) stays there.
STAYS = """(:stay_leaf and filing.level = 'leaf' or :stay_parent and filing.level = 'parent')"""
LEVEL = f"""case when leaf_id is null or {REFUSED} then 'person'
            when (leaf_score >= :leaf or {STAYS} and filing.level = 'leaf')
                 and {LEAF_THERE} then 'leaf'
            when (leaf_score < :below or not {LEAF_THERE})
                 and parent_score >= :parent and {PARENT_THERE} then 'parent'
            when {STAYS} and filing.level = 'parent' and {PARENT_THERE} then 'parent'
            else 'person' end"""

OF_SOURCE = f"""where experiment_id = :number and product_id in (
                    select id from product where source = :source and {UNFILED})"""


def file_products(
    conn: sqlite3.Connection,
    number: int,
    source: str,
    leaf: float,
    below: float,
    parent: float,
    target: float | None = None,
    shut: Collection[str] = (),
    stay: Collection[str] = (),
) -> None:
    """File a source's products by their answers and the thresholds of LEVEL, and remember what is
    filed at a leaf. target is the --target. Nothing is filed at the leaves `shut`. What is filed at
    the levels `stay` stays there."""
    want_places(conn, number, shut)
    values = {
        "leaf": leaf,
        "below": below,
        "parent": parent,
        "number": number,
        "source": source,
        "target": target,
        **stay_values(stay),
    }
    conn.execute(
        f"""
        update filing set level = {LEVEL}, target = case when {STAYS} then target else :target end,
            category_id = case {LEVEL} when 'leaf' then {LEAF_NOW}
                                       when 'parent' then {PARENT_NOW} end,
            score = case {LEVEL} when 'parent' then parent_score else leaf_score end {OF_SOURCE}""",
        values,
    )
    conn.execute(
        f"""insert or ignore into filed_before(product_id, category_id)
                     select product_id, category_id from filing {OF_SOURCE} and level = 'leaf'""",
        values,
    )


def filing_moves(
    conn: sqlite3.Connection,
    number: int,
    source: str,
    leaf: float,
    below: float,
    parent: float,
    shut: Collection[str] = (),
    stay: Collection[str] = (),
) -> list[tuple[str | None, float | None, str, int]]:
    """What file_products would change: tuples (level now, or None; target that it was decided for,
    or None; level then; products). It writes nothing."""
    want_places(conn, number, shut)
    return db.plain(
        conn,
        f"""select level, target, {LEVEL} as next, count(*) from filing
                              {OF_SOURCE} group by level, target, next""",
        {
            "leaf": leaf,
            "below": below,
            "parent": parent,
            "number": number,
            "source": source,
            **stay_values(stay),
        },
    ).fetchall()


def stay_values(stay: Collection[str]) -> dict[str, bool]:
    """The values of STAYS for the levels at which what is filed stays."""
    return {"stay_leaf": "leaf" in stay, "stay_parent": "parent" in stay}


def unfile(conn: sqlite3.Connection, number: int) -> None:
    """Take back what was filed of products that somebody has filed since. If an audit has begun, it
    keeps on record that they were filed, as rows that are not drawn."""
    filed_since = f"""where experiment_id = :number and level is not null
                      and product_id not in (select id from product where {UNFILED})"""
    conn.execute(
        f"""insert or ignore into audit_sample(experiment_id, product_id, level, category_id, score)
            select experiment_id, product_id, level, category_id, score from filing {filed_since}
            and level in ('leaf', 'parent') and category_id is not null
            and exists (select 1 from audit where audit.experiment_id = :number)
            and product_id not in (select id from product where removed)""",
        {"number": number},
    )
    conn.execute(
        f"""update filing set level = null, category_id = null, score = null,
                     target = null {filed_since}""",
        {"number": number},
    )


def filed(conn: sqlite3.Connection, number: int) -> sqlite3.Cursor:
    """Rows of what an experiment filed, and of what a person decided about products without a
    category (level decided, without score and suggestions), by product: product_id, external_id,
    source, name, category_id, level, score, top."""
    return conn.execute(
        f"""
        select filing.product_id, external_id, source, coalesce(name, '') as name,
               filing.category_id, level, score, top
        from filing join product on product.id = filing.product_id
        where experiment_id = ? and level is not null and {UNFILED}
        union all
        select label_override.product_id, external_id, source, coalesce(name, ''),
               label_override.category_id, 'decided', null, '[]'
        from label_override join product on product.id = label_override.product_id
        where {DECIDED} order by 1""",
        (number,),
    )


def count_levels(conn: sqlite3.Connection, number: int) -> dict[str, int]:
    """{leaf, parent, person: products} of what an experiment filed."""
    return dict(
        db.plain(
            conn,
            f"""select level, count(*) from filing join product
                                   on product.id = product_id
                                   where experiment_id = ? and level is not null and {UNFILED}
                                   group by level""",
            (number,),
        )
    )


def unfiled_sources(conn: sqlite3.Connection) -> list[str]:
    """The shops that products without a category came from."""
    return [
        row[0]
        for row in conn.execute(f"""select distinct source from product
                                               where {UNFILED} order by source""")
    ]
