"""SQL of the catalogue as it is today: where products may be filed, which ones nobody has filed,
and which ones an experiment's model has learned from, was measured on or does not know.

In: an open crawl.db and an experiment's number. Out: rows, and conditions that filing_queries.py
and queries.py put into their SQL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator

import db
from learning import category_changes, category_tree
from learning.category_tree import Rule
from learning.queries import FILED_HERE, PUTS, want_classes, want_leaves

# The class of today that an experiment's category {0}, a column, has become; '' if its products
# wait to be filed. See want_today.
NOW = """case when {0} in (select id from category_today)
         then (select now from category_today where category_today.id = {0}) else {0} end"""
# Whether products may be filed today at the category {0}, a column: at it as a class, or at all.
LEAF_TODAY = "{0} in (select id from place where leaf = 1)"
PLACE_TODAY = "{0} in (select id from place)"
LEAF_NOW, PARENT_NOW = NOW.format("leaf_id"), NOW.format("parent_id")
LEAF_THERE = LEAF_TODAY.format(f"({LEAF_NOW})")
PARENT_THERE = PLACE_TODAY.format(f"({PARENT_NOW})")

# Neither the shop nor a person has given the product a category, and the shop still has it.
UNFILED = f"""product.category_id is null and product.removed = 0 and not exists (
             select 1 from label_override where product_id = product.id
             and {PUTS} and label_id is null)"""

# The shop has given it no category, but a person has: these products UNFILED leaves out.
DECIDED = f"""product.category_id is null and product.removed = 0
              and {PUTS} and label_override.label_id is null"""

# Filed in a category that counts (the table counted), but as none of the model's (wanted_leaf), by a
# shop that it learned from (and never by this suite), unless the experiment was measured on it or
# the shop has it no longer.
STRANGE = f"""product.removed = 0
             and +product.category_id in (select id from counted)
             and product.category_id not in (select id from wanted_leaf)
             and product.source in (select source from taught_source)
             and product.id not in (select id from measured) and not {FILED_HERE}"""


def rule_of(conn: sqlite3.Connection, number: int) -> Rule:
    """Which categories count as classes in an experiment."""
    return category_tree.rule_of(db.settings(db.experiment_row(conn, number)))


def lone_classes(conn: sqlite3.Connection, number: int, then: bool = False) -> set[str]:
    """The classes of an experiment that are their own and no other class's parent, today or `then`,
    in the tree that it knew."""
    rule, tree = rule_of(conn, number), None
    if then:
        tree = category_changes.categories_then(conn, category_changes.seen_by(conn, number))
    classes = set(category_tree.counts_as(conn, rule, tree).values())
    parents = category_tree.parents(conn, rule, tree)
    others = {parents[name] for name in classes if parents.get(name, name) != name}
    return {name for name in classes - others if parents.get(name, name) == name}


def want_today(conn: sqlite3.Connection, number: int) -> None:
    """Fill the temporary table category_today(id, now) with the categories of experiment `number`
    that --recategorize has changed since."""
    conn.execute("create temp table if not exists category_today(id text primary key, now text)")
    conn.execute("create index if not exists temp.category_today_by_now on category_today(now, id)")
    conn.execute("delete from category_today")
    today = category_changes.classes_today(conn, number)
    conn.executemany(
        "insert into category_today values (?, ?)",
        [(category, now or "") for category, now in today.items()],
    )


def want_places(conn: sqlite3.Connection, number: int, shut: Collection[str] = ()) -> None:
    """Fill the temporary table place(id, leaf) with the categories that products may be filed at
    today by experiment `number`: the classes that have a labelled product (leaf is 1), and all
    categories above those. counts_as and category_today are filled with it. At the classes `shut`
    nothing may be filed as a class, nor at lone ones as at a parent (floors.without_shut)."""
    rule = rule_of(conn, number)
    want_today(conn, number)
    want_classes(conn, rule)
    conn.execute("create temp table if not exists place(id text primary key, leaf integer)")
    conn.execute("delete from place")
    leaves = {
        row[0]
        for row in db.plain(
            conn,
            f"""
        select distinct class from counts_as where
            exists (select 1 from product where category_id = counts_as.id and removed = 0)
            or id in (select label_override.category_id from label_override
                      join product on product.id = product_id where {PUTS} and removed = 0
                      and label_id is product.category_id)""",
        )
    }
    parents = category_tree.parents(conn, rule)
    above = {parents.get(leaf, leaf) for leaf in leaves}
    for row in db.categories(conn):
        if row["id"] in leaves:
            above.update(category_tree.levels(row))
    conn.executemany("insert into place values (?, 1)", [(name,) for name in leaves])
    conn.executemany("insert into place values (?, 0)", [(name,) for name in above - leaves])
    if shut:
        lone = lone_classes(conn, number)
        conn.executemany("update place set leaf = 0 where id = ?", [(name,) for name in shut])
        conn.executemany("delete from place where id = ?", [(name,) for name in lone & set(shut)])


def places_today(conn: sqlite3.Connection, number: int) -> dict[str, int]:
    """{category id: 1 for a class, else 0} of the categories that products may be filed at today by
    experiment `number`."""
    want_places(conn, number)
    return dict(db.plain(conn, "select id, leaf from place"))


def measured_products(conn: sqlite3.Connection, number: int) -> str:
    """The SQL of the products that an experiment was measured on: rows of product_id and label_id,
    each product once."""
    # A column that the index by scores does not have: in that order each product would be on
    # another page.
    tested = """select product_id, label_id from predicted_category
                where experiment_id = :number and coalesce(fold, 0) is not null"""
    if db.settings(db.experiment_row(conn, number)).get("folds"):  # each product is predicted once
        return tested
    return tested + " union " + tested.replace("predicted_category", "validation_prediction")


def want_leaves_today(conn: sqlite3.Connection, number: int, leaves: Iterable[str]) -> None:
    """Fill wanted_leaf (queries.want_leaves) with what an experiment's leaves are today, and
    category_today."""
    want_today(conn, number)
    today = category_changes.leaves_today(conn, number, leaves)
    want_leaves(conn, today, rule_of(conn, number))


def want_strange(conn: sqlite3.Connection, number: int, leaves: Iterable[str]) -> None:
    """Fill the temporary tables that STRANGE looks into, for experiment `number` and its leaves."""
    want_leaves_today(conn, number, leaves)
    conn.execute("create temp table if not exists measured(id integer primary key)")
    conn.execute("delete from measured")
    conn.execute(
        f"""insert or ignore into measured
                     select id from ({measured_products(conn, number)})
                     join product on id = product_id
                     where category_id not in (select id from wanted_leaf)""",
        {"number": number},
    )
    # With --leaves-only the products at inner categories are none that the model knows. Experiments
    # that did not record their tree were promised without them.
    settings = db.settings(db.experiment_row(conn, number))
    rule = category_tree.rule_of(settings)
    counted = category_tree.counts_as(conn, rule._replace(leaves_only="tree" not in settings))
    conn.execute("create temp table if not exists counted(id text primary key)")
    conn.execute("delete from counted")
    conn.executemany("insert into counted values (?)", [(name,) for name in counted])
    conn.execute("create temp table if not exists taught_source(source text)")
    conn.execute("delete from taught_source")
    conn.execute("""insert into taught_source select distinct source from product
                    where category_id in (select id from wanted_leaf)""")


def learned_texts(
    conn: sqlite3.Connection, number: int, leaves: Iterable[str]
) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield (group key, name, description) of the products that the saved model of experiment
    `number`, of these leaves, learned from, as far as they are still there.

    An older experiment has no rows in learned_product. With folds its model learned from all that
    it predicted, and from a few that a person had filed, which are left out here. Without folds
    those products are taken that have a label today and that it was not measured on, so those that
    came with a label after the training count too."""
    want_leaves_today(conn, number, leaves)
    learned = "select product_id from learned_product where experiment_id = :number"
    if not conn.execute(f"{learned} limit 1", {"number": number}).fetchone():
        learned = f"select product_id from ({measured_products(conn, number)})"
        if not db.settings(db.experiment_row(conn, number)).get("folds"):
            learned = f"""
                select id from product left join label_override on product_id = id and {PUTS}
                and label_id is product.category_id
                where coalesce(label_override.category_id, product.category_id) in (
                    select id from wanted_leaf) and id not in ({learned})"""
    yield from db.plain(
        conn,
        f"""select {db.GROUP_KEY}, name, description from product
                                  where id in ({learned}) order by id""",
        {"number": number},
    )
