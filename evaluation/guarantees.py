"""What a model may file of products to come.

In: an experiment's predictions of products that its model had never seen. Out: thresholds that are
certified for a target, and, if there are none, the reason in words. Numpy only. refusals.py checks
whether they hold for a shop's new products, filing.py files by them, and they are listed by

    python categorize_words.py --apply 1 --target 95
    python analyze.py --models
"""

from __future__ import annotations

import bisect
import math
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import db
from evaluation import catalogue_queries, certificates, certified_figures, figures, floors
from evaluation.figures import Rows
from learning import category_tree
from learning.split import FEWEST_FOLDS

OUT_OF_FOLD = "out-of-fold predictions"
# A promise is a dict of
#   target, confidence
#   leaf, below, parent, alone    certificates.Thresholds, None for inf
#   rests_on, products            on what it rests: in words, and how many independent products
#   strange, refiled              how many of those products are so (see below)
#   floor, shut                   the floor, and the leaves that are shut by it: floors.named
#   chose                         how many of those products chose them and certified nothing
#   at_leaves, without_floor      the share of those products that are filed at leaves, and that would
#                                 be without the floor; 0 if nothing is promised at the leaf
#   stopped                       what prevents a promise at the leaf: `floor`, or these two
#   lower                         if nothing is promised at the leaf, lower_target, else None
#   nearest                       nearest_by_level, of the levels at which nothing is promised
#   few_folds                     how many folds there were, if these are too few, else None
#   min_products                  that of the training, None with --categories
Promise = dict[str, Any]


def promise(
    conn: sqlite3.Connection,
    number: int,
    leaves: Sequence[str],
    target: float,
    confidence: float,
    floor: float = 0.0,
) -> Promise:
    """What an experiment's model, of these leaves, may file of products to come.

    A row is right if it says what the product's label is today. Products to come may belong to
    leaves that the model does not know, as some of the catalogue do: its answers for those are
    `strange` and count as errors, and so do rows of products that the shop has refiled elsewhere.
    """
    settings = db.settings(db.experiment_row(conn, number))
    folds = settings.get("folds")
    names, rows = figures.read_predictions(conn, number, not folds, False, leaves)
    above = figures.parent_codes(
        names, category_tree.parents(conn, category_tree.rule_of(settings))
    )
    independent = rows[certificates.one_of_each(rows["group"])]
    counts = strange_and_refiled(independent, leaves)
    few_folds = bool(folds and folds < FEWEST_FOLDS)
    certified = floors.Certified(certificates.NO_THRESHOLDS, independent, confidence)
    stopped, lower, near, at_leaves, without_floor = [], None, {}, 0.0, 0.0
    if not few_folds:
        wanted = certified_figures.floor_of(conn, number, floor, names, leaves)
        certified = certify_rows(rows, above, target, confidence, wanted)
        near = nearest_by_level(certified, above, target)
    if certified.thresholds.leaf < math.inf:
        at_leaves = without_floor = floors.share_filed(certified, independent)
        if floor:
            unlimited = certify_rows(rows, above, target, confidence)
            without_floor = floors.share_filed(unlimited, independent)
    elif not few_folds:
        lower = lower_target(independent, above, target, confidence, wanted)
        learned = rows
        if any(counts.values()):
            _, learned = figures.read_learned(conn, number, not folds)
        stopped = stopped_by(rows, learned, counts, above, target, confidence, wanted)
    return {
        "target": target,
        "confidence": confidence,
        **scores_or_none(certified.thresholds),
        "rests_on": OUT_OF_FOLD if folds else "validation kept for certifying",
        "products": len(independent),
        **counts,
        "floor": floor,
        "shut": floors.named(certified.shut, names),
        "chose": len(independent) - len(certified.rows),
        "at_leaves": at_leaves,
        "without_floor": without_floor,
        "stopped": stopped,
        "lower": lower,
        "nearest": near,
        "few_folds": folds if few_folds else None,
        "min_products": asked_min_products(settings),
    }


def strange_and_refiled(independent: Rows, leaves: Sequence[str]) -> dict[str, int]:
    """How many of these rows are strange, and how many of products that the shop has refiled."""
    known = independent["fold"] >= 0
    return {
        "strange": int((~known).sum()) if leaves else 0,
        "refiled": int(((independent["label"] != independent["learned"]) & known).sum()),
    }


def scores_or_none(thresholds: certificates.Thresholds) -> dict[str, float | None]:
    """{name: score} of thresholds, None for inf, which JSON does not have."""
    return {
        level: None if math.isinf(score) else score for level, score in thresholds._asdict().items()
    }


def asked_min_products(settings: Mapping[str, Any]) -> int | None:
    """--min-products of an experiment's training; None if it is not known, or with --categories,
    which are not bound by it."""
    arguments = settings.get("arguments")
    if not isinstance(arguments, dict) or arguments.get("categories"):
        return None
    return arguments.get("min_products")


def certify_rows(
    rows: Rows,
    above: NDArray[np.int64],
    target: float,
    confidence: float,
    floor: floors.Floor = floors.NO_FLOOR,
) -> floors.Certified:
    """What is certified by one row of each group; its thresholds are certificates.Thresholds."""
    independent = rows[certificates.one_of_each(rows["group"])]
    if not len(independent) or (independent["parent"] < 0).all():  # rows of 2016
        return floors.Certified(certificates.NO_THRESHOLDS, independent, confidence)
    return certified_figures.certify_leaf_and_parent(independent, above, target, confidence, floor)


def nearest_by_level(
    certified: floors.Certified, above: NDArray[np.int64], target: float
) -> dict[str, dict[str, Any]]:
    """{level: what came nearest to a promise} for each level at which nothing is certified. What
    came nearest is a dict of score (the threshold), products and wrong ones there, how many of the
    wrong ones are `strange`, how many may be wrong at `most`, and the `fewest` products that prove
    something, all of them right."""
    rows, limits = certified.rows, certified.thresholds
    hits = figures.correct(rows, above)
    failed, rest = {}, ~(rows["score"] >= limits.leaf)
    if math.isinf(limits.leaf):
        failed["leaf"] = rows, rows["score"], hits.leaf
    if math.isinf(limits.parent) and rest.any() and (rows["parent"] >= 0).any():
        failed["parent"] = rows[rest], rows["parent_score"][rest], hits.likeliest_parent[rest]
    levels = certificates.single_levels(1 - certified.confidence, limits.leaf < math.inf)
    test_levels = dict(zip(("leaf", "parent"), levels))
    report = {}
    for level, (failed_rows, score, right) in failed.items():
        threshold, products, wrong = certificates.nearest(score, right, target, test_levels[level])
        strange_errors = (score >= threshold) & ~right & (failed_rows["fold"] < 0)
        report[level] = {
            "score": threshold,
            "products": products,
            "wrong": wrong,
            "strange": int(strange_errors.sum()),
            "most": certificates.most_wrong(products, target, test_levels[level]),
            "fewest": certificates.fewest(target, test_levels[level]),
        }
    return report


def lower_target(
    independent: Rows,
    above: NDArray[np.int64],
    target: float,
    confidence: float,
    floor: floors.Floor = floors.NO_FLOOR,
) -> tuple[int, float] | None:
    """(percent, share): the highest whole percentage under the target at which leaves can be
    promised for these independent rows, and the share of them that this would file; None if none
    from 50 on. The floor is lowered with the target."""

    def leaves_at(percent: int) -> floors.Certified:
        lower_floor = floor._replace(share=min(floor.share, percent / 100))
        return certify_rows(independent, above, percent / 100, confidence, lower_floor)

    percents = range(50, math.ceil(100 * target))
    last = bisect.bisect_left(
        percents, True, key=lambda percent: math.isinf(leaves_at(percent).thresholds.leaf)
    )
    if last == 0 or not len(independent):
        return None
    return percents[last - 1], floors.share_filed(leaves_at(percents[last - 1]), independent)


def stopped_by(
    rows: Rows,
    learned: Rows,
    counts: Mapping[str, int],
    above: NDArray[np.int64],
    target: float,
    confidence: float,
    floor: floors.Floor = floors.NO_FLOOR,
) -> list[str]:
    """What stopped a promise at the leaf: `floor`, if something is promised without it; `strange`,
    if something is promised without these rows; `refiled`, if something is promised with the labels
    that were learned; or both, if it takes both. [] if none of them did. `learned` are the rows as
    they were learned, without strange ones."""

    def is_promised(other_rows: Rows, wanted: floors.Floor = floor) -> bool:
        certified = certify_rows(other_rows, above, target, confidence, wanted)
        return certified.thresholds.leaf < math.inf

    if floor.share and is_promised(rows, floors.NO_FLOOR):
        return ["floor"]
    if counts["strange"] and is_promised(rows[rows["fold"] >= 0]):
        return ["strange"]
    if counts["refiled"] and is_promised(np.append(learned, rows[rows["fold"] < 0])):
        return ["refiled"]
    return ["strange", "refiled"] if all(counts.values()) and is_promised(learned) else []


# ---- the thresholds of a promise ----------------------------------------------------------------


def promised_thresholds(promise: Promise) -> dict[str, float]:
    """{leaf, below, parent}: the scores that are needed, as in certificates.Thresholds."""
    return {
        level: math.inf if promise[level] is None else promise[level]
        for level in ("leaf", "below", "parent")
    }


def parent_alone(promise: Promise) -> dict[str, float]:
    """The thresholds if nothing may be filed at leaves."""
    return {
        "leaf": math.inf,
        "below": math.inf,
        "parent": math.inf if promise["alone"] is None else promise["alone"],
    }


def shut_leaves(promise: Promise) -> set[str]:
    """The ids of the leaves that are shut."""
    return {leaf["category"] for leaf in promise["shut"]}


def filed_rows(
    conn: sqlite3.Connection, number: int, names: Sequence[str], rows: Rows, promise: Promise
) -> Rows:
    """Rows of figures.read_predictions as they are filed, without the leaves that are shut."""
    if not promise["shut"]:
        return rows
    code = {name: code for code, name in enumerate(names)}
    shut = [code[leaf] for leaf in shut_leaves(promise)]
    lone = {code[leaf] for leaf in catalogue_queries.lone_classes(conn, number)}
    return floors.without_shut(rows, shut, lone)
