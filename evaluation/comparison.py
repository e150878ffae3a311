"""Experiments compared, as dicts for analyze.py to print or to give out as JSON.

In: the rows of crawl.db. Out: what several experiments reached on the products that all have, and
for each pair exact tests, intervals of differences and the products that flipped.

    python analyze.py --compare 1 2
    python analyze.py --compare 1 2 3 --json
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import db
from common.terminal import UserError
from evaluation import catalogue_queries, decision_queries, experiment_queries, figures, queries
from evaluation.figures import Rows
from learning import category_changes, category_tree, metrics


class Aligned(NamedTuple):
    """Several experiments' predictions of the products that all have with one label."""

    names: list[str]  # category ids
    tables: list[Rows]  # of figures.ROW, [m] each, in the same order of products
    shared: int  # how many products all have, also with different labels


def align(predictions: Sequence[tuple[list[str], Rows]]) -> Aligned:
    """The Aligned of several experiments' figures.read_predictions, whose categories it changes to
    common numbers."""
    codes: dict[str, int] = {}
    tables = []
    for names, rows in predictions:
        code = np.array([codes.setdefault(name, len(codes)) for name in names] + [-1])
        for field in ("label", "predicted"):
            rows[field] = code[rows[field]]
        tables.append(rows[np.unique(rows["product"], return_index=True)[1]])
    common = tables[0]["product"]
    for rows in tables[1:]:
        common = np.intersect1d(common, rows["product"])
    tables = [rows[np.isin(rows["product"], common)] for rows in tables]
    same = np.all([rows["label"] == tables[0]["label"] for rows in tables], axis=0)
    return Aligned(list(codes), [rows[same] for rows in tables], len(common))


def compare(
    conn: sqlite3.Connection, numbers: Sequence[int], confidence: float, most: int | None
) -> dict[str, Any]:
    """Experiments on the products that all have, as a dict for JSON, with at most so many products
    that flipped (None: all). Raises UserError if they have no products in common."""
    if len(numbers) < 2 or len(set(numbers)) < len(numbers):
        raise UserError("--compare takes two or more different experiments, such as --compare 1 2")
    experiments = [db.experiment_row(conn, number) for number in numbers]
    depth = common_depth(conn, numbers)
    names, tables, shared = aligned = align(read_all(conn, numbers, depth))
    check_comparable(numbers, aligned)
    right = np.array(
        [(rows["label"] >= 0) & (rows["predicted"] == rows["label"]) for rows in tables]
    )
    n, one_is_right = len(tables[0]), right.sum(axis=0) == 1
    results = [
        result_of(conn, experiment, rows, hits, hits & one_is_right, confidence)
        for experiment, rows, hits in zip(experiments, tables, right)
    ]
    categories = {tuple(db.settings(row).get("categories") or ()) for row in experiments}
    pairs = [
        compare_pair(
            (numbers[a], tables[a], right[a]), (numbers[b], tables[b], right[b]), confidence
        )
        for a, b in itertools.combinations(range(len(numbers)), 2)
    ]
    flipped, flips = find_flips(conn, names, numbers, tables, right, most)
    return {
        "n": n,
        "label_differs": shared - n,
        "confidence": confidence,
        "experiments": results,
        "same_categories": len(categories) == 1,
        "depth": depth,
        "any_right": figures.share_of(right.any(axis=0).sum(), n, confidence),
        "pairs": pairs,
        "flipped": flipped,
        "flips": flips,
    }


def common_depth(conn: sqlite3.Connection, numbers: Sequence[int]) -> int | None:
    """The least --depth of experiments that were trained with different ones; None if all had the
    same, or none."""
    depths = {catalogue_queries.rule_of(conn, number).depth for number in numbers}
    return min(depth for depth in depths if depth) if len(depths) > 1 else None


def read_all(
    conn: sqlite3.Connection, numbers: Sequence[int], depth: int | None
) -> list[tuple[list[str], Rows]]:
    """figures.read_predictions of experiments. If --recategorize has changed categories between
    two of them, all call these as the last one does. With a depth, categories that are deeper count
    as their ancestor there, by the tree of today."""
    seen = [category_changes.seen_by(conn, number) for number in numbers]
    classes = category_tree.counts_as(conn, category_tree.Rule(depth)) if depth else {}
    predictions = []
    for number, since in zip(numbers, seen):
        names, rows = figures.read_predictions(conn, number, words=False)
        ids = category_changes.current_ids(conn, since, max(seen))
        today = [ids.get(name) or name for name in names]
        predictions.append(([classes.get(name, name) for name in today], rows))
    return predictions


def check_comparable(numbers: Sequence[int], aligned: Aligned) -> None:
    """Raise UserError if the experiments have no products in common."""
    listed = ", ".join(map(str, numbers))
    if not aligned.shared:
        raise UserError(
            f"experiments {listed} share no test products, so there is nothing to "
            "compare: train them on the same categories"
        )
    if not len(aligned.tables[0]):
        raise UserError(
            f"experiments {listed} file none of the products they share under the "
            "same label: train them again on the catalogue as it is"
        )


def result_of(
    conn: sqlite3.Connection,
    experiment: sqlite3.Row,
    rows: Rows,
    hits: NDArray[np.bool_],
    alone: NDArray[np.bool_],
    confidence: float,
) -> dict[str, Any]:
    """What one experiment reached on the rows of the comparison. hits says which of them are right,
    and alone which ones no other experiment has right; bool [m] each."""
    number, settings, n = experiment["id"], db.settings(experiment), len(rows)
    return {
        "experiment": number,
        "name": experiment["name"] or "",
        "date": experiment["date"],
        "folds": settings.get("folds"),
        "categories": len(settings.get("categories") or ()) or None,
        "predictions": queries.count_predictions(conn, number),
        "accuracy": figures.share_of(hits.sum(), n, confidence),
        "today": experiment_queries.changes(conn, number),
        "right_alone": int(alone.sum()),
        **{
            f"coverage_{percent}": metrics.accepted(rows["score"], hits, percent) / n
            for percent in figures.TARGETS
        },
    }


def compare_pair(
    first: tuple[int, Rows, NDArray[np.bool_]],
    second: tuple[int, Rows, NDArray[np.bool_]],
    confidence: float,
) -> dict[str, Any]:
    """Exact McNemar test and paired bootstrap by group of two experiments. Each is (number, rows,
    the right ones of them), of the same products in the same order."""
    (number_a, a, right_a), (number_b, b, right_b) = first, second
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    drawn = metrics.bootstrap_differences(
        (a["score"], right_a), (b["score"], right_b), a["group"], figures.TARGETS
    )
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    measured = [("accuracy", metrics.accuracy(right_a), metrics.accuracy(right_b))]
    for percent in figures.TARGETS:
        measured.append(
            (
                f"coverage_{percent}",
                metrics.accepted(a["score"], right_a, percent) / len(a),
                metrics.accepted(b["score"], right_b, percent) / len(b),
            )
        )
    differences = []
    for (name, of_a, of_b), lowest, highest in zip(measured, low, high):
        ahead = number_b if lowest > 0 else number_a if highest < 0 else None
        differences.append(
            {
                "of": name,
                "second_minus_first": of_b - of_a,
                "interval": (float(lowest), float(highest)),
                "ahead": ahead,
            }
        )
    p = metrics.mcnemar(only_a, only_b)
    # McNemar takes products as independent: if the bootstrap by group sees no difference, groups
    # of many products have made it.
    seems_ahead = p < 1 - confidence
    is_ahead = seems_ahead and not low[0] <= 0 <= high[0]
    leader = number_a if only_a > only_b else number_b
    return {
        "experiments": [number_a, number_b],
        "both_right": int((right_a & right_b).sum()),
        "only_first_right": only_a,
        "only_second_right": only_b,
        "none_right": int((~right_a & ~right_b).sum()),
        "mcnemar_p": p,
        "ahead": leader if is_ahead else None,
        "level_by_group": seems_ahead and not is_ahead,
        "differences": differences,
    }


def find_flips(
    conn: sqlite3.Connection,
    names: Sequence[str],
    numbers: Sequence[int],
    tables: Sequence[Rows],
    right: NDArray[np.bool_],
    most: int | None,
) -> tuple[int, list[dict[str, Any]]]:
    """(how many products some experiments get right and others wrong, at most so many of those by
    the highest score that any experiment gave). right is bool [experiments, m]."""
    flipped = np.flatnonzero(right.any(axis=0) & ~right.all(axis=0))
    score = np.max([rows["score"][flipped] for rows in tables], axis=0)
    surest = flipped[np.argsort(-score, kind="stable")][:most]
    texts = decision_queries.product_texts(conn, tables[0]["product"][surest].tolist())
    flips = []
    for i in surest:
        product_id = int(tables[0]["product"][i])
        product = texts.get(product_id)
        answers = [
            {
                "experiment": number,
                "category": [*names, None][rows["predicted"][i]],
                "score": float(rows["score"][i]),
                "right": bool(hits[i]),
            }
            for number, rows, hits in zip(numbers, tables, right)
        ]
        flips.append(
            {
                "product": product_id,
                "external_id": product and product["external_id"],
                "name": product and product["name"],
                "label": names[tables[0]["label"][i]],
                "answers": answers,
            }
        )
    return len(flipped), flips
