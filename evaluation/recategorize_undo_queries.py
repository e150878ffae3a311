"""SQL that takes back what a call of --recategorize did, as far as nothing has changed since.

In: an open crawl.db, the number of the run. Out: the rows of category_change_row where they were.
The caller holds the transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import db
from common.stored_json import DECISION
from common.text import folded
from evaluation.recategorize_queries import (
    MOVED,
    NOW_OF,
    WAS,
    decision_now,
    emptied,
    insert_categories,
    keep_categories,
    settle_tree,
    store_decisions,
    want_moved,
)
from learning import category_tree
from learning.queries import kept_categories, kept_row


def last_run(conn: sqlite3.Connection) -> sqlite3.Row | None:
    """(run, date) of the last run that is not taken back, None if there is none."""
    return conn.execute(
        """select run, min(date) as date from category_change where undoes is null and run not in (
               select undoes from category_change where undoes is not null)
           group by run order by run desc limit 1"""
    ).fetchone()


def undo(conn: sqlite3.Connection, run: int) -> tuple[int, int, list[str]]:
    """Take a run back. Returns (products that are where they were, products that have been filed
    elsewhere since and stay, paths of the categories that are as before)."""
    changes = conn.execute(
        "select * from category_change where run = ? order by id", (run,)
    ).fetchall()
    want_moved(conn, [(change["from_id"], change["to_id"]) for change in changes])
    stayed = keep_stayed(conn, run)
    products = return_products(conn, run)
    return_lists(conn, run)
    return_decisions(conn, run)
    conn.execute(
        f"""update predicted_category set label_id = null where label_score is null
            and (product_id, label_id) in (
                select product_id, category_id {WAS} 'predicted_category')""",
        {"run": run},
    )
    (number,) = conn.execute("select max(run) + 1 from category_change").fetchone()
    settle_tree(
        conn,
        [
            *return_tree(conn, run, number),
            *(change[column] for change in changes for column in ("from_id", "to_id")),
        ],
    )
    note_undo(conn, run, number, changes)
    conn.execute("delete from category_change_row where run = ? and relation <> 'category'", (run,))
    return products, stayed, [change["from_path"] for change in changes]


def keep_stayed(conn: sqlite3.Connection, run: int) -> int:
    """Fill the temporary table stayed(id) with the products that have been filed elsewhere since a
    run. Returns how many they are."""
    conn.execute("create temp table if not exists stayed(id integer primary key)")
    conn.execute("delete from stayed")
    return conn.execute(
        f"""insert into stayed select product.id
            from category_change_row as was join product on product.id = was.product_id
            where was.run = :run and relation = 'product'
            and product.category_id is not {NOW_OF.format("was.category_id")}""",
        {"run": run},
    ).rowcount


def return_products(conn: sqlite3.Connection, run: int) -> int:
    """File products where they were. Returns how many."""
    return conn.execute(
        f"""update product set category_id = (
                select was.category_id {WAS} 'product' and was.product_id = product.id)
            where id in (select product_id {WAS} 'product')
            and id not in (select id from stayed)""",
        {"run": run},
    ).rowcount


def return_lists(conn: sqlite3.Connection, run: int) -> None:
    """Put the rows of product_category and filed_before back."""
    for table, more in (("product_category", ", position, found"), ("filed_before", "")):
        kept = f"{WAS} '{table}' and product_id not in (select id from stayed)"
        conn.execute(
            f"""delete from {table} where (product_id, category_id) in (
                    select product_id, case when category_id {MOVED}
                        then {NOW_OF.format("category_id")} else category_id end {kept})""",
            {"run": run},
        )
        conn.execute(
            f"""insert or replace into {table}(product_id, category_id{more})
                select product_id, category_id{more} {kept}
                and product_id in (select id from product)""",
            {"run": run},
        )


def return_decisions(conn: sqlite3.Connection, run: int) -> None:
    """Put the decisions back that nobody has changed since."""
    moved = dict(db.plain(conn, "select id, now from moved_category"))
    names = category_tree.category_names(conn)

    def settled(row: Mapping[str, Any]) -> dict[str, Any]:
        """What is decided, without a person's own columns, with the id of the category if what was
        proposed exists by now."""
        category = row["category_id"]
        decided = {name: row.get(name) for name in DECISION}
        return {**decided, "category_id": names.get(folded(category or ""), category)}

    returned = []
    kept = db.plain(conn, f"select row, category_id {WAS} 'label_override'", {"run": run})
    for text, proposed in kept.fetchall():
        before = kept_row(text, DECISION, run, "product_id")
        now = conn.execute(
            "select * from label_override where product_id = ?", (before["product_id"],)
        ).fetchone()
        then = decision_now(dict(before), moved, proposed)
        if now and settled(dict(now)) == settled(then):
            returned.append(before)
    store_decisions(conn, returned)


def return_tree(conn: sqlite3.Connection, run: int, number: int) -> set[str | None]:
    """Put the rows of category back, and delete those that the run created and that are empty now.
    What they are before that is kept as of the run `number`. Returns the ids of all that are
    touched."""
    kept = kept_categories(conn, run)
    keep_categories(conn, number, kept)
    rows = [row for row in kept.values() if row]
    insert_categories(conn, rows)
    conn.executemany(
        "update category set parent = :parent, path = :path, name = :name where id = :id", rows
    )
    touched = {*kept, *(row["parent"] for row in rows)}
    made = [category for category, row in kept.items() if not row]
    while made:  # those below others first
        deleted = set()
        for category in made:
            if row := emptied(conn, category):
                conn.execute("delete from category where id = ?", (category,))
                deleted.add(category)
                touched.add(row["parent"])
        if not deleted:
            break
        made = [category for category in made if category not in deleted]
    return touched | set(made)


def note_undo(
    conn: sqlite3.Connection, run: int, number: int, changes: Sequence[sqlite3.Row]
) -> None:
    """Note in category_change that a run is taken back by the run `number`. What several categories became is, for
    experiments made in between, the one of them that the most products came from; if the category
    was there before, it is itself."""
    created = {category for category, row in kept_categories(conn, run).items() if not row}
    moved = {change["from_id"] for change in changes if change["from_id"] != change["to_id"]}
    was_there = {change["to_id"] for change in changes} - created - moved
    named: set[str | None] = {None}
    rows = []
    for change in sorted(changes, key=lambda change: -change["products"]):
        now = change["to_id"]
        is_whole = now not in named and now not in was_there
        named.add(now)
        rows.append(
            (
                number,
                now if is_whole else None,
                change["from_id"],
                change["to_path"],
                change["from_path"],
                change["products"],
                run,
            )
        )
    conn.executemany(
        """insert into category_change(run, from_id, to_id, from_path, to_path, products, date,
                                       undoes) values (?, ?, ?, ?, ?, ?, datetime(), ?)""",
        rows,
    )
