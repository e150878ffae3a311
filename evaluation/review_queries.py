"""SQL of the review: which products an experiment left to a person, and which of them are alike.

In: an open crawl.db and an experiment's number. Out: ids with the key of their group, and rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import db
from evaluation.catalogue_queries import UNFILED

# What is decided at once: products of one style, and those whose texts are nearly the same (the
# clusters of the experiment). Products without any text share a key, and nothing else.
ALIKE = f"""case when group_key = :textless then 'product ' || product.id
                 else coalesce(cluster, {db.GROUP_KEY}) end"""

# A person has looked at the product as it is, and left it without a category.
DISMISSED = """exists (select 1 from label_override where product_id = product.id
                       and label_id is product.category_id)"""

LEFT = f"""from filing join product on product.id = filing.product_id
           left join near_duplicate on near_duplicate.product_id = product.id
                     and near_duplicate.experiment_id = :number
           where filing.experiment_id = :number and level in ('person', 'parent') and {UNFILED}"""


def products_left(
    conn: sqlite3.Connection, number: int, surest: bool, dismissed: bool
) -> Iterator[tuple[int, str]]:
    """Yield (product id, key of its group) of what experiment `number` has left to a person, and
    then of what it filed at the parent, which lacks a leaf; the highest scores first, or the
    lowest. What a person has dismissed is left out unless `dismissed`."""
    yield from db.plain(
        conn,
        f"""select product.id, {ALIKE} {LEFT} {"" if dismissed else f"and not {DISMISSED}"}
            order by level = 'parent', leaf_score {"desc" if surest else "asc"}, product.id""",
        {"number": number, "textless": db.group_key(None, None)},
    )


def count_dismissed(conn: sqlite3.Connection, number: int) -> int:
    """How many of them a person has dismissed."""
    (count,) = conn.execute(
        f"select count(*) {LEFT} and {DISMISSED}", {"number": number}
    ).fetchone()
    return int(count)


def product_rows(
    conn: sqlite3.Connection, number: int, ids: Sequence[int]
) -> dict[int, sqlite3.Row]:
    """{id: row} of these products as experiment `number` filed them: id, source, external_id, name,
    description, image, picture, level, category_id (where it is filed, or null), leaf_id, score,
    parent_id, parent_score, top, refused (a JSON list of the categories that an audit's answers
    have called wrong)."""
    rows = {}
    for start in range(0, len(ids), 500):
        chunk = ids[start : start + 500]
        for row in conn.execute(
            f"""
            select product.id, source, external_id, name, description, image,
                   picture.path as picture, level, filing.category_id, leaf_id,
                   leaf_score as score, parent_id, parent_score, top,
                   (select json_group_array(category_id) from (
                        select category_id from audit_sample
                        where product_id = product.id and answer = 'wrong' order by id)) as refused
            from filing join product on product.id = filing.product_id
            left join picture on picture.product_id = product.id and picture.status <> ?
            where experiment_id = ? and product.id in ({",".join("?" * len(chunk))})""",
            (db.PICTURE_FAILED, number, *chunk),
        ):
            rows[row["id"]] = row
    return rows
