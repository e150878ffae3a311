"""SQL of categories that are renamed, moved and merged: the tree, the labels and what was.

In: an open crawl.db and what is to become of which categories. Out: the changed rows, and in
category_change_row what they were. The caller holds the transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import db
from common.stored_json import row_text


class CategoryChange(NamedTuple):
    """What becomes of a category."""

    from_id: str
    to_id: str | None  # None: its products wait to be filed
    from_path: str  # in the shop's words
    to_path: str | None


class NewCategory(NamedTuple):
    """A category to create."""

    id: str
    parent: str | None
    path: str  # ids, as in the table category
    name: str
    source: str | None  # the category whose place it takes, None if it is new altogether
    crawled: int  # 1: it is a part of an API's tree, and the API can't be asked for it


# Rows that name a category to change: (table, its columns beside product_id).
KEPT_COLUMNS = "run, relation, product_id, category_id"
MOVED = "in (select id from moved_category)"
NOW_OF = "(select now from moved_category where id = {0})"
WAS = "from category_change_row as was where was.run = :run and relation = "


def want_moved(conn: sqlite3.Connection, now: Iterable[tuple[str, str | None]]) -> None:
    """Fill the temporary table moved_category(id, now) with ids that change, and those then."""
    conn.execute("create temp table if not exists moved_category(id text primary key, now text)")
    conn.execute("delete from moved_category")
    conn.executemany(
        "insert or ignore into moved_category values (?, ?)",
        [(category, then) for category, then in now if category != then],
    )


# ---- changing -----------------------------------------------------------------------------------


def recategorize(
    conn: sqlite3.Connection,
    changes: Sequence[CategoryChange],
    new: Sequence[NewCategory],
    gone: Collection[str],
    words: Mapping[str, str],
    proposed: Mapping[str, str],
) -> tuple[int, dict[str, int]]:
    """Make the changes: create the categories `new`, delete those that are gone, give others their
    words {id: name}, and have all rows name the categories of now. `proposed` are {path: path then}
    of categories that decisions name and that do not exist yet. Returns the run's number and
    {category that has another id or path now: how many products it had}."""
    (run,) = conn.execute("select coalesce(max(run), 0) + 1 from category_change").fetchone()
    want_moved(conn, [(change.from_id, change.to_id) for change in changes])
    sizes = dict(db.plain(conn, "select category_id, count(*) from product group by category_id"))
    products = {change.from_id: sizes.get(change.from_id, 0) for change in changes}
    conn.executemany(
        """insert into category_change(run, from_id, to_id, from_path, to_path, products, date)
           values (?, ?, ?, ?, ?, ?, datetime())""",
        [(run, *change, products[change.from_id]) for change in changes],
    )
    parents = change_tree(conn, run, new, gone, words)
    keep_old_labels(conn, run)
    move_products(conn, run)
    move_lists(conn, run)
    move_decisions(conn, run, proposed)
    settle_tree(
        conn,
        [
            *remove_emptied(conn, run, parents),
            *(category for change in changes for category in change[:2]),
            *(category for made in new for category in (made.id, made.parent)),
        ],
    )
    return run, products


def change_tree(
    conn: sqlite3.Connection,
    run: int,
    new: Sequence[NewCategory],
    gone: Collection[str],
    words: Mapping[str, str],
) -> set[str | None]:
    """Change the table category. A category that takes another one's place gets its columns. Returns
    the parents of those that are gone."""
    rows = {row["id"]: dict(row) for row in db.categories(conn)}
    made = [
        {
            **dict.fromkeys(next(iter(rows.values())), None),
            **{"next_offset": 0, "crawled": 0, "stale_pages": 0, "leaf": 1, "product_count": 0},
            **(rows[category.source] if category.source else {}),
            **{name: getattr(category, name) for name in ("id", "parent", "path", "name")},
            **({"crawled": 1} if category.crawled else {}),
        }
        for category in new
    ]
    keep_categories(conn, run, [*gone, *words, *(row["id"] for row in made)])
    conn.executemany("delete from category where id = ?", [(category,) for category in gone])
    insert_categories(conn, made)
    conn.executemany(
        "update category set name = ? where id = ?",
        [(word, category) for category, word in words.items()],
    )
    return {rows[category]["parent"] for category in gone}


def keep_categories(conn: sqlite3.Connection, run: int, categories: Iterable[str]) -> None:
    """Keep rows of category as they are; those that are not there, as null."""
    kept = []
    for category in dict.fromkeys(categories):
        row = conn.execute("select * from category where id = ?", (category,)).fetchone()
        kept.append((run, category, row_text(row) if row else None))
    conn.executemany(
        """insert into category_change_row(run, relation, category_id, row)
           values (?, 'category', ?, ?)""",
        kept,
    )


def insert_categories(conn: sqlite3.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert whole rows of the table category; those that are there stay. Their columns may come
    from stored JSON, so they are quoted."""
    for row in rows:
        names = ", ".join('"{}"'.format(name.replace('"', '""')) for name in row)
        marks = ", ".join("?" * len(row))
        conn.execute(
            f"insert or ignore into category({names}) values ({marks})", list(row.values())
        )


def keep_old_labels(conn: sqlite3.Connection, run: int) -> None:
    """Write down the labels of predictions of 2016, which have none but their product's, so that
    their figures stay as they were."""
    conn.execute(
        f"""insert into category_change_row({KEPT_COLUMNS})
            select distinct :run, 'predicted_category', product_id, product.category_id
            from predicted_category join product on product.id = product_id
            where label_id is null and product.category_id {MOVED}""",
        {"run": run},
    )
    conn.execute(
        f"""update predicted_category set label_id = (
                select category_id {WAS} 'predicted_category' and was.product_id =
                predicted_category.product_id)
            where label_id is null and product_id in (
                select product_id {WAS} 'predicted_category')""",
        {"run": run},
    )


def move_products(conn: sqlite3.Connection, run: int) -> None:
    """File all products of the changed categories where they belong now."""
    conn.execute(
        f"""insert into category_change_row({KEPT_COLUMNS})
            select ?, 'product', id, category_id from product where category_id {MOVED}""",
        (run,),
    )
    conn.execute(
        f"""update product set category_id = {NOW_OF.format("category_id")}
            where category_id {MOVED}"""
    )


def move_lists(conn: sqlite3.Connection, run: int) -> None:
    """Have product_category and filed_before name the categories of now. A product that was in two
    categories that are one now is in it once, at the first of the positions."""
    then = f"""case when category_id {MOVED} then {NOW_OF.format("category_id")}
               else category_id end as category"""
    take_rows(conn, run, "product_category", "position, found")
    conn.execute(
        f"""insert into product_category(product_id, category_id, position, found)
            select product_id, {then}, min(position), max(found) {WAS} 'product_category'
            group by product_id, category having category is not null""",
        {"run": run},
    )
    take_rows(conn, run, "filed_before", "null, null")
    conn.execute(
        f"""insert into filed_before(product_id, category_id)
            select distinct product_id, {then} {WAS} 'filed_before' and category is not null""",
        {"run": run},
    )


def take_rows(conn: sqlite3.Connection, run: int, table: str, more: str) -> None:
    """Keep and delete the rows of a table about products that are in a changed category: those
    of it, and those of the categories that take its place."""
    conn.execute(
        f"""insert into category_change_row({KEPT_COLUMNS}, position, found)
            select :run, '{table}', product_id, category_id, {more} from {table}
            where product_id in (select product_id from {table} where category_id {MOVED})
            and (category_id {MOVED} or category_id in (select now from moved_category))""",
        {"run": run},
    )
    conn.execute(
        f"""delete from {table} where (product_id, category_id) in (
                select product_id, category_id {WAS} '{table}')""",
        {"run": run},
    )


def proposals(conn: sqlite3.Connection) -> list[str]:
    """What decisions call categories that do not exist (yet)."""
    rows = db.plain(
        conn,
        """select distinct category_id from label_override
           where category_id is not null and category_id not in (select id from category)""",
    )
    return [name for (name,) in rows]


def move_decisions(conn: sqlite3.Connection, run: int, proposed: Mapping[str, str]) -> None:
    """Have a person's decisions name the categories of now, so that they hold on. What was decided
    on a product that waits now is about a product without a label; that its label is right is not
    true any more, and lapses."""
    moved = dict(db.plain(conn, "select id, now from moved_category"))
    rows = conn.execute(
        f"""select * from label_override where category_id {MOVED} or label_id {MOVED}
            or category_id in (select value from json_each(?))""",
        (json.dumps(list(proposed)),),
    ).fetchall()
    conn.executemany(
        f"""insert into category_change_row({KEPT_COLUMNS}, row)
            values (?, 'label_override', ?, ?, ?)""",
        [(run, row["product_id"], proposed.get(row["category_id"]), row_text(row)) for row in rows],
    )
    store_decisions(
        conn, [decision_now(dict(row), moved, proposed.get(row["category_id"])) for row in rows]
    )


def decision_now(
    row: dict[str, Any], moved: Mapping[str, str | None], proposed: str | None
) -> dict[str, Any]:
    """A row of label_override with the categories of now; `proposed` is the path that the category
    of the decision has then, if it does not exist yet and goes along with another one."""
    label = moved.get(row["label_id"], row["label_id"])
    if label is None and row["label_id"] is not None:
        if row["decision"] == "classifier wrong":
            label = row["label_id"]
        elif row["decision"] == "label wrong":
            row["decision"] = "filed by hand"
    category = proposed or moved.get(row["category_id"]) or row["category_id"]
    return {**row, "label_id": label, "category_id": category}


def store_decisions(conn: sqlite3.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace rows of label_override."""
    conn.executemany(
        """update label_override set decision = :decision, category_id = :category_id,
           label_id = :label_id where product_id = :product_id""",
        rows,
    )


def remove_emptied(
    conn: sqlite3.Connection, run: int, parents: Iterable[str | None]
) -> set[str | None]:
    """Remove those of these categories that had others below them and have nothing left, and then
    those above them. Returns all of them, and the first above them that stays. The root of an API's
    tree stays."""
    touched = set()
    for parent in parents:
        touched.add(parent)
        while parent is not None and (row := emptied(conn, parent)):
            keep_categories(conn, run, [parent])
            conn.execute("delete from category where id = ?", (parent,))
            parent = row["parent"]
            touched.add(parent)
    return touched


def emptied(conn: sqlite3.Connection, category: str) -> sqlite3.Row | None:
    """The row of a category that has no products, no listed ones and nothing below it; None of
    another one."""
    return conn.execute(
        """select * from category where id = ?1 and (path <> '' or parent is not null)
           and not exists (select 1 from category where parent = ?1)
           and not exists (select 1 from product where category_id = ?1)
           and not exists (select 1 from product_category where category_id = ?1)""",
        (category,),
    ).fetchone()


def settle_tree(conn: sqlite3.Connection, touched: Iterable[str | None]) -> None:
    """Set the flag leaf and product_count of these categories."""
    conn.execute("create temp table if not exists touched(id text primary key)")
    conn.execute("delete from touched")
    conn.executemany(
        "insert into touched values (?)", [(category,) for category in {*touched} - {None}]
    )
    conn.execute(
        """update category set
               leaf = id not in (select parent from category where parent is not null),
               product_count = (select count(*) from product
                                where category_id = category.id and removed = 0)
           where id in (select id from touched)"""
    )
