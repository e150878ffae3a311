"""What is certified of an experiment's predictions: coverage, and what is filed where.

In: arrays of figures.py. Out: thresholds that are chosen apart from the products that they are
tried on, and dicts for JSON. overview.py, levels.py and experiment_figures.py show them, and
guarantees.py files by them:

    python analyze.py --experiment 1
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import db
from evaluation import catalogue_queries, certificates, figures, floors
from evaluation.figures import Rows
from learning import metrics


def floor_of(
    conn: sqlite3.Connection,
    number: int,
    share: float,
    names: Sequence[str],
    leaves: Sequence[str] = (),
) -> floors.Floor:
    """The floor of an experiment, for rows of figures.read_predictions with these names and leaves.
    Without folds, the validation products that the model was tuned on choose which leaves are shut.
    """
    if not share:
        return floors.NO_FLOOR
    lone = catalogue_queries.lone_classes(conn, number, then=not leaves)
    lone_codes = {code for code, name in enumerate(names) if name in lone}
    if db.settings(db.experiment_row(conn, number)).get("folds"):
        return floors.Floor(share, lone=lone_codes)
    _, tuned = figures.read_predictions(conn, number, False, False, leaves, tuning=True)
    return floors.Floor(share, tuned[certificates.one_of_each(tuned["group"])], lone_codes)


def certify_apart(
    rows: Rows, held: Rows, folds: int | None, certify: Callable[[Rows], Sequence[float]]
) -> tuple[NDArray[np.float64], Sequence[float]]:
    """(float [n, k], k thresholds): the thresholds that hold for each row, chosen without its fold,
    and those for products to come.

    certify(rows) gives k thresholds from independent rows. With folds it gets the rows of the other
    folds; otherwise it gets the validation products `held` back for it.
    """

    def certified(independent: Rows) -> floors.Certified:
        return floors.Certified(certify(independent), independent, 0.0)

    _, thresholds, overall = certified_apart(rows, held, folds, certified)
    return thresholds, overall.thresholds


def certified_apart(
    rows: Rows, held: Rows, folds: int | None, certify: Callable[[Rows], floors.Certified]
) -> tuple[Rows, NDArray[np.float64], floors.Certified]:
    """(rows as they are filed, thresholds, Certified) as certify_apart has them, if certify(rows)
    also says which leaves are shut: each fold has its own."""
    source = rows if folds else held
    source = source[certificates.one_of_each(source["group"])]
    overall = certify(source)
    apart = np.tile(overall.thresholds, (len(rows), 1))
    filed = rows if folds else floors.without_shut(rows, overall.shut, overall.lone)
    if folds:
        for fold in np.unique(rows["fold"]):
            here = rows["fold"] == fold
            certified = certify(source[source["fold"] != fold])
            apart[here] = certified.thresholds
            if certified.shut:
                filed = rows.copy() if filed is rows else filed
                filed[here] = floors.without_shut(rows[here], certified.shut, certified.lone)
    # If nothing is promised for products to come, nothing is filed here either.
    return filed, np.where(np.isinf(overall.thresholds), np.inf, apart), overall


def by_fold(rows: Rows, thresholds: NDArray[np.float64], folds: int | None) -> list[float] | None:
    """The threshold by which each fold was accepted, None without folds."""
    if not folds:
        return None
    return [float(thresholds[np.argmax(rows["fold"] == fold)]) for fold in np.unique(rows["fold"])]


class Basis(NamedTuple):
    """What the certificates of one experiment rest on."""

    rows: Rows  # the predictions
    held: Rows  # the validation products held back for certifying
    folds: int | None
    confidence: float


def certified_coverage(
    basis: Basis, names: Sequence[str], above: NDArray[np.int64], floor: floors.Floor
) -> list[dict[str, Any]]:
    """For leaf and parent at each target: coverage as figures.block has it, and the certified one.
    The floor is the leaf's, and `shut` are the floors.named."""
    report = []
    for percent in figures.TARGETS:
        at_leaf, certified = coverage_at(basis, themselves(names), percent, floor)
        shut = floors.named(certified.shut, names)
        report.append({"level": "leaf", **at_leaf, "shut": shut})
    for percent in figures.TARGETS:
        report.append({"level": "parent", **coverage_at(basis, above, percent)[0]})
    return report


def themselves(names: Sequence[str]) -> NDArray[np.int64]:
    """The figures.category_codes by which each category counts as itself."""
    return np.append(np.arange(len(names)), -2)


def certified_at(
    basis: Basis, codes: NDArray[np.int64], percent: int, floor: floors.Floor
) -> tuple[NDArray[np.bool_], NDArray[np.float64], floors.Certified]:
    """(bool [n], float [n], Certified): which rows the certified threshold accepts, the threshold
    for each, and what is certified for products to come, if categories count as codes say."""
    target = percent / 100

    def certificate(filed: Rows, confidence: float, lowest: float) -> Sequence[float]:
        right, delta = figures.right_as(filed, codes), 1 - confidence
        return (certificates.certify(filed["score"], right, target, delta, lowest=lowest),)

    def certify(independent: Rows) -> floors.Certified:
        return floors.certify(independent, target, basis.confidence, floor, certificate)

    filed, thresholds, overall = certified_apart(basis.rows, basis.held, basis.folds, certify)
    return filed["score"] >= thresholds[:, 0], thresholds[:, 0], overall


def coverage_at(
    basis: Basis, codes: NDArray[np.int64], percent: int, floor: floors.Floor = floors.NO_FLOOR
) -> tuple[dict[str, Any], floors.Certified]:
    """(coverage, as observed and as certified, at one target, if categories count as codes say,
    figures.category_codes; what is certified for products to come)."""
    rows, confidence = basis.rows, basis.confidence
    right = figures.right_as(rows, codes)
    taken, thresholds, certified = certified_at(basis, codes, percent, floor)
    report = {
        "target": percent,
        "observed": figures.share_of(
            metrics.accepted(rows["score"], right, percent), len(rows), confidence
        ),
        "threshold": certified.thresholds[0],
        "fold_thresholds": by_fold(rows, thresholds, basis.folds),
        "coverage": figures.share_of(taken.sum(), len(rows), confidence),
        "accuracy": figures.share_of((right & taken).sum(), taken.sum(), confidence),
    }
    if math.isinf(certified.thresholds[0]):
        delta, target = 1 - certified.confidence, percent / 100
        report["have"] = len(certified.rows)
        report["fewest"] = certificates.fewest(target, delta)
        report["needed"] = certificates.products_needed(
            certified.rows["score"], figures.right_as(certified.rows, codes), target, delta
        )
    return report, certified


def fallback(
    basis: Basis, above: NDArray[np.int64], floor: floors.Floor
) -> list[dict[str, Any]] | None:
    """For each target: what the leaf takes, what the parent takes of the rest, and what is left to
    a person, and how much of each is right. None for rows of 2016, which have no parent's score."""
    if (basis.rows["parent"] < 0).any():
        return None
    return [fallback_at(basis, above, percent, floor) for percent in figures.TARGETS]


def fallback_at(
    basis: Basis, above: NDArray[np.int64], percent: int, floor: floors.Floor
) -> dict[str, Any]:
    """The `fallback` at one target."""

    def certify(independent: Rows) -> floors.Certified:
        return certify_leaf_and_parent(independent, above, percent / 100, basis.confidence, floor)

    filed, thresholds, overall = certified_apart(basis.rows, basis.held, basis.folds, certify)
    overall_leaf, _, overall_parent, _ = overall.thresholds
    leaf_from, below, parent_from, alone = thresholds.T
    leaf = filed["score"] >= leaf_from
    if math.isinf(overall_leaf):  # nor is a leaf promised in a fold of its own
        parent_from = alone
    parent = ~leaf & (filed["score"] < below) & (filed["parent_score"] >= parent_from)
    hits = figures.correct(filed, above)
    levels = (
        ("leaf", overall_leaf, leaf, hits.leaf),
        ("parent", overall_parent, parent, hits.likeliest_parent),
        ("person", None, ~leaf & ~parent, hits.leaf),
    )
    report: dict[str, Any] = {"target": percent}
    for name, threshold, taken, right in levels:
        report[name] = {
            "threshold": threshold,
            "taken": figures.share_of(taken.sum(), len(filed), basis.confidence),
            "accuracy": figures.share_of((taken & right).sum(), taken.sum(), basis.confidence),
        }
    return report


def certify_pair(
    independent: Rows,
    above: NDArray[np.int64],
    target: float,
    confidence: float,
    lowest: float = 0.0,
) -> certificates.Thresholds:
    """The certificates.Thresholds of independent rows, by certificates.certify_fallback."""
    hits = figures.correct(independent, above)
    return certificates.certify_fallback(
        independent["score"],
        hits.leaf,
        independent["parent_score"],
        hits.likeliest_parent,
        target,
        1 - confidence,
        lowest,
    )


def certify_leaf_and_parent(
    independent: Rows,
    above: NDArray[np.int64],
    target: float,
    confidence: float,
    floor: floors.Floor,
) -> floors.Certified:
    """What certify_pair certifies for independent rows without the leaves that are shut."""

    def certificate(filed: Rows, confidence: float, lowest: float) -> Sequence[float]:
        return certify_pair(filed, above, target, confidence, lowest)

    def again(filed: Rows, confidence: float, thresholds: Sequence[float]) -> Sequence[float]:
        leaf, below, *_ = thresholds
        return certificates.certify_parent(
            leaf,
            below,
            filed["score"],
            filed["parent_score"],
            figures.correct(filed, above).likeliest_parent,
            target,
            1 - confidence,
        )

    return floors.certify(independent, target, confidence, floor, certificate, again)
