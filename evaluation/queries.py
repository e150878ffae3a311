"""SQL of the evaluation: an experiment's predictions, what has become of its products, and what a
person decided about them.

In: an open crawl.db and an experiment's number. Out: rows; plain tuples wherever there may be a
million of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import db
from common.text import normalised
from evaluation import experiment_queries
from evaluation.catalogue_queries import (
    LEAF_TODAY,
    NOW,
    PLACE_TODAY,
    STRANGE,
    rule_of,
    want_places,
    want_strange,
    want_today,
)
from learning import category_changes
from learning.queries import CLASS_OF, FILED_HERE, PUTS, want_classes

# Rows of 2016 hold no label of their own and get the category their product is filed under.
LABEL = "coalesce(label_id, (select product.category_id from product where id = product_id))"


# ---- predictions --------------------------------------------------------------------------------


def name_parents(conn: sqlite3.Connection, number: int) -> None:
    """Fill the temporary table leaf_parent(leaf, parent) as it was for experiment `number`."""
    conn.execute(
        """create temp table if not exists leaf_parent(
           leaf text primary key, parent text) without rowid"""
    )
    conn.execute("delete from leaf_parent")
    parents = category_changes.parents_then(conn, number).items()
    conn.executemany(
        "insert into leaf_parent values (?, ?)", (row for row in parents if row[0] is not None)
    )


def block_rows(conn: sqlite3.Connection, number: int) -> sqlite3.Cursor:
    """Tuples (score, 2 if the leaf is right, 1 if only its parent is, else 0) of an experiment's
    predictions that hold their label."""
    name_parents(conn, number)
    predicted_parent, label_parent = (
        f"coalesce((select parent from leaf_parent where leaf = {column}), {column})"
        for column in ("category_id", "label_id")
    )
    return db.plain(
        conn,
        f"""select coalesce(score, 0), case when category_id = label_id then 2
                   else coalesce({predicted_parent} = {label_parent}, 0) end
            from predicted_category where experiment_id = ? and label_id is not null""",
        (number,),
    )


def unlabelled_rows(conn: sqlite3.Connection, number: int) -> sqlite3.Cursor:
    """Tuples (score, product_id, predicted leaf) of an experiment's other predictions, of 2016. What
    is no number of a product has no leaf, so that it counts as wrong."""
    return db.plain(
        conn,
        """select coalesce(score, 0), case when typeof(product_id) = 'integer' then product_id
                  else 0 end, case when typeof(product_id) = 'integer' then category_id end
           from predicted_category where experiment_id = ? and label_id is null""",
        (number,),
    )


def filed_products(conn: sqlite3.Connection) -> sqlite3.Cursor:
    """Tuples (product id, category id) of all products that have a category."""
    return db.plain(conn, "select id, category_id from product where category_id is not null")


def graded(conn: sqlite3.Connection, number: int, certifying: bool = False) -> sqlite3.Cursor:
    """Tuples (product_id, score, whether the leaf is right, fold or -1) of an experiment's
    predictions, or of the validation products that were kept for certifying."""
    source = (
        "validation_prediction where certifying and" if certifying else "predicted_category where"
    )
    return db.plain(
        conn,
        f"""select product_id, coalesce(score, 0),
                              coalesce(category_id = {LABEL}, 0), coalesce(fold, -1)
                              from {source} experiment_id = ?""",
        (number,),
    )


def group_numbers(conn: sqlite3.Connection) -> sqlite3.Cursor:
    """Tuples (product id, number of its group) of all products, by id."""
    return db.plain(
        conn,
        f"""select id, dense_rank() over (
                              order by {db.GROUP_KEY}) from product order by id""",
    )


def cluster_numbers(conn: sqlite3.Connection, number: int) -> sqlite3.Cursor:
    """Tuples (product id, number of its cluster) of the near-duplicates that an experiment's split
    kept together, by product id."""
    return db.plain(
        conn,
        """select product_id, dense_rank() over (order by cluster)
                             from near_duplicate where experiment_id = ? order by product_id""",
        (number,),
    )


def count_labels(conn: sqlite3.Connection, number: int) -> int:
    """How many different labels the products have that an experiment predicted."""
    return conn.execute(
        f"""select count(distinct {LABEL}) from predicted_category
                            where experiment_id = ?""",
        (number,),
    ).fetchone()[0]


def count_predictions(conn: sqlite3.Connection, number: int) -> int:
    return conn.execute(
        "select count(*) from predicted_category where experiment_id = ?", (number,)
    ).fetchone()[0]


def category_names(conn: sqlite3.Connection, number: int) -> list[str]:
    """Every category that an experiment, its labels or a person may name, in order. Raises TypeError
    if one of them is no text."""
    names = {
        row[0]
        for row in db.plain(
            conn,
            """select id from category union select distinct category_id from product
               union select category_id from label_override""",
        )
    }
    columns = ("category_id", "label_id", "parent_id")
    unknown = " or ".join(
        f"{column} not in (select id from category where id is not null)" for column in columns
    )
    for table in ("predicted_category", "validation_prediction"):  # hardly any row names others
        for row in db.plain(
            conn,
            f"select {', '.join(columns)} from {table} where experiment_id = ? and ({unknown})",
            (number,),
        ):
            names.update(row)
    return sorted(names - {None})


SAME = -2  # in place of a category that is the label
PREDICTION = """product_id, category_id, score, label_id, label_score, parent_id, parent_score,
                fold"""
TESTED = f"select {PREDICTION} from predicted_category where experiment_id = :number"
CERTIFYING = f"""select {PREDICTION} from validation_prediction
                 where certifying and experiment_id = :number"""
TUNING = f"""select {PREDICTION} from validation_prediction
             where not certifying and experiment_id = :number"""
# The model's answers for products of leaves that it does not know, with the columns of PREDICTION.
STRANGE_ANSWERS = f"""select product_id, leaf_id, leaf_score, null, null, parent_id, parent_score,
                             null
                      from filing join product on product.id = product_id
                      where experiment_id = :number and leaf_id is not null and {STRANGE}"""
LEARNED_LABEL = "coalesce(prediction.label_id, product.category_id)"
LEARNED_TODAY = NOW.format(LEARNED_LABEL)
LABEL_TODAY = f"coalesce({CLASS_OF.format('product.category_id')}, {LEARNED_TODAY})"
PREDICTED_TODAY, PARENT_TODAY = NOW.format("prediction.category_id"), NOW.format("parent_id")
SCORE_TODAY = f"case when {LEAF_TODAY.format(f'({PREDICTED_TODAY})')} then score else -1 end"
PARENT_SCORE_TODAY = f"""case when {PLACE_TODAY.format(f"({PARENT_TODAY})")}
                         then parent_score else -1 end"""
# The class that a person has chosen, as an experiment of before calls it. If it calls several so,
# the one that it learned or predicted, so that a change of names corrects nothing.
CHOSEN = CLASS_OF.format("review.category_id")
CHOSEN_THEN = f"""case {CHOSEN} when {LEARNED_TODAY} then {LEARNED_LABEL}
                  when {PREDICTED_TODAY} then prediction.category_id
                  else coalesce((select min(id) from category_today where now = {CHOSEN}),
                                {CHOSEN}) end"""


class Details(NamedTuple):
    """An experiment's predictions, as `details` reads them."""

    names: list[str]  # category ids, all that `rows` may name
    rows: sqlite3.Cursor  # tuples by product, see `details`
    groups: sqlite3.Cursor  # tuples of one number for each of the rows: its group


def details(
    conn: sqlite3.Connection,
    number: int,
    certifying: bool = False,
    words: bool = True,
    leaves: Sequence[str] = (),
    tuning: bool = False,
) -> Details:
    """The Details of an experiment's predictions, or of the validation products kept for
    certifying, or of those that it was tuned on. Products of one group, or cluster of
    near-duplicates, share a group. A row is a tuple:

    product_id, label, predicted leaf, score, label_score, parent (the predicted), parent_score,
    fold, words of its text, picture (1: has one), reviewed (the label after a person's review),
    learned (the label that the experiment learned). The last two are SAME if they are the label.
    Categories are ids or null, called as the experiment knows them. Without `words` these are not
    counted, but 0.

    With `leaves`, the model's, the rows are what a promise of today rests on. Then they also hold
    its answers for products filed in other leaves (fold -1; not with `tuning`). The label is the
    one that the product has now, and the learned one if it has none or is gone. Scores of
    categories that nothing may be filed at now are -1. Products that --apply filed before they had
    the label of now are left out, unless --trust-filed was given. All categories are those of
    today: see category_today.
    """
    names = category_names(conn, number)
    want_today(conn, number)
    want_classes(conn, rule_of(conn, number))
    predictions = TUNING if tuning else CERTIFYING if certifying else TESTED
    label, score, parent_score, kept = LEARNED_LABEL, "score", "parent_score", "true"
    learned, predicted, parent = str(SAME), "prediction.category_id", "parent_id"
    chosen = CHOSEN_THEN
    if leaves:
        want_strange(conn, number, leaves)
        want_places(conn, number)
        strange = f"select exists ({STRANGE_ANSWERS})"
        if not tuning and conn.execute(strange, {"number": number}).fetchone()[0]:
            predictions = f"{predictions} union all {STRANGE_ANSWERS}"  # they have to be sorted
        label, score, parent_score = LABEL_TODAY, SCORE_TODAY, PARENT_SCORE_TODAY
        learned, predicted, parent = LEARNED_TODAY, PREDICTED_TODAY, PARENT_TODAY
        chosen = CHOSEN
        if not experiment_queries.trusts_filed(conn, number):
            kept = f"not {FILED_HERE}"
    count = "0"
    if words:
        count = "count_words(name, description)"
        conn.create_function(
            "count_words", 2, lambda *text: len(normalised(*text).split()), deterministic=True
        )
    joined = f"""from ({predictions}) as prediction
        left join product on product.id = prediction.product_id
        left join near_duplicate on near_duplicate.experiment_id = :number
                  and near_duplicate.product_id = prediction.product_id
        left join label_override as review on review.product_id = prediction.product_id
                  and review.label_id is product.category_id
        where {kept} order by prediction.product_id"""
    rows = db.plain(
        conn,
        f"""
        select prediction.product_id, {label}, {predicted}, coalesce({score}, 0),
               coalesce(label_score, -1), {parent}, coalesce({parent_score}, -1),
               coalesce(fold, -1), {count},
               exists(select 1 from picture where picture.product_id = prediction.product_id
                      and status <> '{db.PICTURE_FAILED}'),
               case when {PUTS} then {chosen} else {SAME} end, {learned} {joined}""",
        {"number": number},
    )
    # Apart from the others, because numbering sorts the rows: with them it took twice the time. The
    # statements read the same state of the file, because the first one has not ended.
    groups = db.plain(
        conn,
        f"""select dense_rank() over (
                order by coalesce(cluster, group_key, 'product ' || prediction.product_id))
            {joined}""",
        {"number": number},
    )
    return Details(names, rows, groups)


def best_five(conn: sqlite3.Connection, number: int) -> Iterator[str]:
    """Yield `top` of an experiment's predictions by product, as written: JSON."""
    for row in db.plain(
        conn,
        """select coalesce(top, '[]') from predicted_category
                                 where experiment_id = ? order by product_id""",
        (number,),
    ):
        yield row[0]


def surest_errors(conn: sqlite3.Connection, number: int, count: int) -> list[sqlite3.Row]:
    """The wrong predictions with the highest scores: product, picture, label, prediction, their
    scores, and whether the shop lists the product in the predicted category too."""
    want_today(conn, number)
    want_classes(conn, rule_of(conn, number))
    predicted = NOW.format("predicted_category.category_id")
    listed = CLASS_OF.format("product_category.category_id")
    return conn.execute(
        f"""
        select product.id, source, external_id, product.name, product.description, product.image,
               picture.path as picture, coalesce(label_id, product.category_id) as label,
               predicted_category.category_id as predicted, score, label_score,
               exists (select 1 from product_category where product_id = product.id
                       and {listed} = {predicted}) as listed
        from predicted_category join product on product.id = predicted_category.product_id
        left join picture on picture.product_id = product.id and picture.status <> ?
        where experiment_id = ?
              and coalesce(label_id, product.category_id) is not predicted_category.category_id
        order by score desc, product.id limit ?""",
        (db.PICTURE_FAILED, number, count),
    ).fetchall()
