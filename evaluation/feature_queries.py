"""SQL of what a shop's products look like to an experiment: words, pictures, scores and answers.

In: an open crawl.db and an experiment's number. Out: counts, means and scores, by which refusals.py
sees whether new products are like the labelled ones.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import db
from evaluation.catalogue_queries import STRANGE, UNFILED

UNKNOWN_SHARE = "case when words > 0 then 1.0 * unknown / words end"
ANSWERED = """select product_id, leaf_id, leaf_score, words, unknown, twin
              from filing join product on id = product_id where experiment_id = :number and """


def features(
    conn: sqlite3.Connection, number: int, source: str | None, predictions: str | None = None
) -> dict[str, Any]:
    """What a shop's products (all shops' if source is None) look like to an experiment: those
    without a category; or, with the name of a table of predictions, those in it and the model's
    answers for products of leaves that are not in the table wanted_leaf.

    Products that are gone do not count. A dict of products; groups, or clusters as far as known;
    `no description` and `no picture`, shares; `near-duplicate`, the share that has one among those
    that the model learned from, None if nobody has looked;
    `unknown`, (products with words, mean and variance of the share of words that are unknown), of
    answers alone; categories, {leaf: products}; and scores, an iterator.
    """
    looked_at = f"{ANSWERED} {UNFILED}"
    if predictions:
        looked_at = f"""
            select product_id, category_id as leaf_id, score as leaf_score, 0 as words,
                   0 as unknown, twin from {predictions} where experiment_id = :number
            union all {ANSWERED} {STRANGE}"""
    products = f"""
        from ({looked_at}) as looked_at join product on product.id = looked_at.product_id
        left join picture on picture.product_id = looked_at.product_id and status <> 'failed'
        left join near_duplicate on near_duplicate.product_id = looked_at.product_id
                  and near_duplicate.experiment_id = :number
        where :source is null or product.source = :source"""
    values = {"number": number, "source": source}
    count, groups, bare, blind, near, looked, with_words, mean, square = db.plain(
        conn,
        f"""
        select count(*), count(distinct coalesce(cluster, group_key, product.id)),
            avg(coalesce(description, '') = ''), avg(picture.product_id is null), avg(twin),
            count(twin), count({UNKNOWN_SHARE}), coalesce(avg({UNKNOWN_SHARE}), 0),
            coalesce(avg(({UNKNOWN_SHARE}) * ({UNKNOWN_SHARE})), 0)
        {products}""",
        values,
    ).fetchone()
    categories = db.plain(conn, f"select leaf_id, count(*) {products} group by leaf_id", values)
    return {
        "products": count,
        "groups": groups,
        "no description": bare or 0.0,
        "no picture": blind or 0.0,
        "near-duplicate": near if looked == count else None,
        "unknown": (with_words, mean, max(0.0, square - mean**2)),
        "categories": dict(categories),
        "scores": (
            row[0] for row in db.plain(conn, f"select coalesce(leaf_score, 0) {products}", values)
        ),
    }
