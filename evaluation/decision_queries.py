"""SQL of products as a person sees them, and of what a person decided about them.

In: an open crawl.db. Out: rows, by product.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import db

# ---- products -----------------------------------------------------------------------------------


def product_texts(conn: sqlite3.Connection, ids: Sequence[int]) -> dict[int, sqlite3.Row]:
    """{id: row of source, external_id, name, description, image, picture (path)} of these
    products."""
    rows = {}
    for start in range(0, len(ids), 500):
        chunk = ids[start : start + 500]
        for row in conn.execute(
            f"""select id, source, external_id, name, description, image,
                                    picture.path as picture from product
                                    left join picture on product_id = id
                                    where id in ({",".join("?" * len(chunk))})""",
            chunk,
        ):
            rows[row["id"]] = row
    return rows


def product_by_id(conn: sqlite3.Connection, number: int) -> sqlite3.Row | None:
    """A product's row of id, source, external_id, name and category_id; None if there is none."""
    return conn.execute(
        """select id, source, external_id, name, category_id from product
                           where id = ?""",
        (number,),
    ).fetchone()


def products_called(
    conn: sqlite3.Connection, source: str, external_ids: Iterable[str]
) -> list[sqlite3.Row]:
    """The same rows of a shop's products with these external ids."""
    rows = (
        conn.execute(
            """select id, source, external_id, name, category_id from product
                            where source = ? and external_id = ?""",
            (source, external_id),
        ).fetchone()
        for external_id in external_ids
    )
    return [row for row in rows if row]


# ---- a person's decisions -----------------------------------------------------------------------

# `filed by hand` is for products without a label.
DECISIONS = ("label wrong", "classifier wrong", "unclear", "filed by hand")


def overrides(conn: sqlite3.Connection) -> dict[int, sqlite3.Row]:
    """All decisions: {product id: row of decision, category_id, label_id, date, and holds: 1 as
    long as the shop's label is the one that was looked at}."""
    return {
        row["product_id"]: row
        for row in conn.execute(
            """select label_override.*, label_id is product.category_id as holds
           from label_override join product on product.id = product_id"""
        )
    }


def store_overrides(
    conn: sqlite3.Connection, rows: Sequence[tuple[int, str | None, str | None]]
) -> int:
    """Store decisions (product id, decision or None to take one back, category id or None) in one
    transaction. Returns how many changed something."""
    with db.transaction(conn):
        before = conn.total_changes
        conn.executemany(
            "delete from label_override where product_id = ?",
            [(number,) for number, decision, _ in rows if decision is None],
        )
        conn.executemany(
            """insert into label_override(product_id, decision, category_id, label_id,
                            date) select id, :decision, :category, category_id, datetime()
                            from product where id = :id
                            on conflict(product_id) do update set decision = excluded.decision,
                            category_id = excluded.category_id, label_id = excluded.label_id,
                            date = excluded.date where decision <> excluded.decision
                            or category_id is not excluded.category_id
                            or label_id is not excluded.label_id""",
            [
                {"id": number, "decision": decision, "category": category}
                for number, decision, category in rows
                if decision is not None
            ],
        )
        return conn.total_changes - before
