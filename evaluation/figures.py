"""An experiment's predictions as arrays, what is right about them, and the block of the 2016 study.

In: the rows of crawl.db. Out: arrays, and dicts that analyze.py prints or gives out as JSON. Shares
lie in [0, 1]; beside a share, `n` says how many products it is a share of. certified_figures.py and
experiment_figures.py build on it.

    python analyze.py --json
"""

from __future__ import annotations

import collections
import itertools
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from common.terminal import UserError
from evaluation import floors, queries
from learning import category_changes, metrics

TARGETS = (95, 98)  # % accuracy
MOST_SCORE = 1.001  # of a sum of probabilities, which were rounded
# A prediction, as queries.details has it. Categories are numbers into a list of their ids.
ROW = np.dtype(
    [
        ("product", "i8"),
        ("group", "i8"),
        ("label", "i4"),
        ("predicted", "i4"),
        ("score", "f8"),
        ("label_score", "f8"),
        ("parent", "i4"),
        ("parent_score", "f8"),
        ("fold", "i4"),
        ("words", "i4"),
        ("picture", "?"),
        ("reviewed", "i4"),
        ("learned", "i4"),
    ]
)
UNLABELLED = np.dtype([("score", "f8"), ("product", "i8"), ("predicted", "i4")])
FILED = np.dtype([("product", "i8"), ("label", "i4")])
CATEGORIES = ("label", "predicted", "parent", "reviewed", "learned")
AT_ONCE = 10_000  # rows that are read at a time
Rows = NDArray[np.void]  # a structured array, [n] of ROW unless its function says otherwise


def structured(rows: Iterable[Any], dtype: DTypeLike, number: int) -> Rows:
    """A structured array of rows of experiment `number`, whose floats are probabilities, or -1.
    Raises UserError if a row holds something else: anybody may have written to the file."""
    try:
        array = np.fromiter(rows, dtype)
    except (ValueError, TypeError, OverflowError):
        raise damaged(number) from None
    check_scores(array, number)
    return array


def check_scores(array: NDArray[Any], number: int) -> None:
    """Raise UserError if a float of experiment `number` is no probability, and not -1."""
    names = array.dtype.names or ()
    for scores in [array[name] for name in names if array.dtype[name].kind == "f"] or [array]:
        if not (np.abs(scores) <= MOST_SCORE).all():
            raise damaged(number)


def damaged(number: int) -> UserError:
    return UserError(
        f"rows of predicted_category for experiment {number} hold what no script "
        f"wrote there: delete from predicted_category where experiment_id = {number}, "
        "and run its script again"
    )


class Codes(dict[Any, int]):
    """The numbers of categories, -1 for what is none."""

    def __missing__(self, category: Any) -> int:
        return -1


def in_columns(
    rows: sqlite3.Cursor, dtype: np.dtype[np.void], codes: dict[Any, int], left_out: str = ""
) -> Rows:
    """Rows as a structured array, whose field `left_out` they lack. Categories become numbers by
    `codes`. They are read a column at a time: row by row took half as long again."""
    fields = [field for field in dtype.names or () if field != left_out]
    parts = [np.empty(0, dtype)]
    while chunk := rows.fetchmany(AT_ONCE):
        part = np.empty(len(chunk), dtype)
        for field, column in zip(fields, zip(*chunk)):
            values = map(codes.__getitem__, column) if field in CATEGORIES else column
            part[field] = np.fromiter(values, dtype[field], len(chunk))
        parts.append(part)
    return np.concatenate(parts)


# ---- the block --------------------------------------------------------------------------------


def block_scores(
    conn: sqlite3.Connection, number: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """(score, whether the leaf is right, whether its parent is) of an experiment's predictions,
    from the highest score down. Raises UserError as `structured` does."""
    try:
        labelled = np.fromiter(
            itertools.chain.from_iterable(queries.block_rows(conn, number)), float
        ).reshape(-1, 2)
        score, level = graded_of_2016(conn, number)
    except (ValueError, TypeError, OverflowError):
        raise damaged(number) from None
    score, level = np.append(labelled[:, 0], score), np.append(labelled[:, 1], level)
    check_scores(score, number)
    order, _ = metrics.by_score(score)  # once: what is sorted is sorted again in no time
    return score[order], level[order] == 2, level[order] > 0


def graded_of_2016(
    conn: sqlite3.Connection, number: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(score, 2 if the leaf is right, 1 if only its parent is, else 0) of the predictions that hold
    no label, so that it is the category that their product is filed under. SQLite would look up
    each product in the order of the scores, each on another page, in three times the time."""
    codes: dict[Any, int] = collections.defaultdict(itertools.count().__next__, {None: -1})
    rows = in_columns(queries.unlabelled_rows(conn, number), UNLABELLED, codes)
    if not len(rows):
        return np.empty(0), np.empty(0, np.int64)
    filed = in_columns(queries.filed_products(conn), FILED, codes)
    filed = np.append(filed[np.argsort(filed["product"])], np.zeros(1, FILED))
    place = np.searchsorted(filed["product"][:-1], rows["product"])
    label = np.where(filed["product"][place] == rows["product"], filed["label"][place], -1)
    label[place == len(filed) - 1] = -1
    del codes[None]
    above = parent_codes(list(codes), category_changes.parents_then(conn, number))
    known = (rows["predicted"] >= 0) & (label >= 0)
    leaf_right = known & (rows["predicted"] == label)
    parent_right = known & (above[rows["predicted"]] == above[label])
    return rows["score"], leaf_right.astype(np.int64) + (leaf_right | parent_right)


def block(conn: sqlite3.Connection, experiment: sqlite3.Row) -> dict[str, Any]:
    """The figures of the block of one experiment, a row of the table. The parent of a prediction
    is the predicted leaf's parent, with the leaf's score."""
    score, right, parent_right = block_scores(conn, experiment["id"])
    report = {
        "experiment": experiment["id"],
        "name": experiment["name"] or "",
        "date": experiment["date"],
        "n": len(score),
        "lines": metrics.summary_lines(score, right, parent_right),
    }
    for level, hits in (("", right), ("parent_", parent_right)):
        report[f"{level}accuracy"] = metrics.accuracy(hits)
        for percent in TARGETS:
            report[f"{level}coverage_{percent}"] = metrics.accepted(score, hits, percent) / max(
                1, len(score)
            )
    return report


# ---- predictions --------------------------------------------------------------------------------


def read_predictions(
    conn: sqlite3.Connection,
    number: int,
    certifying: bool = False,
    words: bool = True,
    leaves: Sequence[str] = (),
    tuning: bool = False,
) -> tuple[list[str], Rows]:
    """(category ids, structured array ROW [n] whose categories are numbers into them) of
    queries.details, which explains the arguments. Raises UserError as `structured` does."""
    try:
        details = queries.details(conn, number, certifying, words, leaves, tuning)
        codes = Codes((name, code) for code, name in enumerate(details.names))
        codes[queries.SAME] = queries.SAME
        rows = in_columns(details.rows, ROW, codes, "group")
        rows["group"] = np.fromiter(itertools.chain.from_iterable(details.groups), "i8", len(rows))
    except (ValueError, TypeError, OverflowError):
        raise damaged(number) from None
    check_scores(rows, number)
    for field in ("reviewed", "learned"):
        rows[field] = np.where(rows[field] == queries.SAME, rows["label"], rows[field])
    return details.names, rows


def read_held(conn: sqlite3.Connection, number: int, folds: int | None) -> Rows:
    """The validation products that were kept for certifying, without their words. With folds, which
    certify each other, none is needed or read."""
    if folds:
        return np.empty(0, ROW)
    return read_predictions(conn, number, certifying=True, words=False)[1]


def read_learned(
    conn: sqlite3.Connection, number: int, certifying: bool = False
) -> tuple[list[str], Rows]:
    """read_predictions as they were learned, without words, with the categories that their labels
    and answers are today."""
    names, rows = read_predictions(conn, number, certifying, False)
    codes, today = {name: code for code, name in enumerate(names)}, [*range(len(names)), -1]
    for category, now in category_changes.classes_today(conn, number).items():
        if category in codes:
            today[codes[category]] = -1 if now is None else codes.get(now, -1)
    for field in CATEGORIES:
        rows[field] = np.array(today)[rows[field]]
    return names, rows


def category_codes(names: Sequence[str], counts_as: Mapping[str, str]) -> NDArray[np.int64]:
    """int [len(names) + 1]: a number for what each category counts as, its own if it is not among
    the keys. The last one stands for no category, so that the index -1 finds it."""
    codes = {name: code for code, name in enumerate(names)}
    counted = [codes.setdefault(counts_as.get(name, name), len(codes)) for name in names]
    return np.array(counted + [-2])


def parent_codes(names: Sequence[str], parents: Mapping[str, str]) -> NDArray[np.int64]:
    """The category_codes by which each category counts as its parent."""
    return category_codes(names, parents)


def share_of(hits: int, n: int, confidence: float) -> dict[str, Any]:
    """A share as the reports show it, with Wilson's interval."""
    return {
        "share": hits / n if n else None,
        "hits": int(hits),
        "n": int(n),
        "interval": metrics.wilson(hits, n, confidence),
    }


class Correct(NamedTuple):
    """What is right about n predictions, bool [n] each."""

    leaf: NDArray[np.bool_]  # the leaf
    leaf_parent: NDArray[np.bool_]  # the predicted leaf's parent
    likeliest_parent: NDArray[np.bool_]  # the most probable parent


def right_as(rows: Rows, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool [n]: whether label and prediction count as the same category, by category_codes."""
    known = (rows["label"] >= 0) & (rows["predicted"] >= 0)
    return known & (codes[rows["predicted"]] == codes[rows["label"]])


def correct(rows: Rows, above: NDArray[np.int64]) -> Correct:
    """The Correct of predictions; above are the parent_codes."""
    known = (rows["label"] >= 0) & (rows["predicted"] >= 0)
    return Correct(
        floors.leaf_right(rows),
        right_as(rows, above),
        known & (rows["parent"] == above[rows["label"]]),
    )
