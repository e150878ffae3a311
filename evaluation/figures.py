"""The figures of one experiment, as dicts that analyze.py prints or gives out as JSON.

In: the rows of crawl.db. Out: the block of the 2016 study, and one experiment in full with what it
promises. Shares lie in [0, 1]; beside a share, `n` says how many products it is a share of.

    python analyze.py --json
    python analyze.py --experiment 1 --json
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

import db
from common.terminal import UserError
from evaluation import catalogue_queries, certificates, floors, queries, shared_content
from learning import category_changes, metrics

TARGETS = (95, 98)  # % accuracy
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
Rows = NDArray[np.void]  # a structured array, [n] of ROW unless its function says otherwise
WORDS = (0, 1, 5, 10, 20, 40, 80, 160)  # where classes of text length begin


def structured(rows: Iterable[Any], dtype: DTypeLike, number: int) -> Rows:
    """A structured array of rows of experiment `number`. Raises UserError if a row holds text
    instead of a number: anybody may have written to the file."""
    try:
        return np.fromiter(rows, dtype)
    except (ValueError, TypeError):
        raise damaged(number) from None


def damaged(number: int) -> UserError:
    return UserError(
        f"rows of predicted_category for experiment {number} hold what no script "
        f"wrote there: delete from predicted_category where experiment_id = {number}, "
        "and run its script again"
    )


# ---- the block --------------------------------------------------------------------------------


def block(conn: sqlite3.Connection, experiment: sqlite3.Row) -> dict[str, Any]:
    """The figures of the block of one experiment, a row of the table. The parent of a prediction
    is the predicted leaf's parent, with the leaf's score."""
    rows = structured(
        queries.block_rows(conn, experiment["id"]),
        [("score", float), ("right", bool), ("parent_right", bool)],
        experiment["id"],
    )
    report = {
        "experiment": experiment["id"],
        "name": experiment["name"] or "",
        "date": experiment["date"],
        "n": len(rows),
        "lines": metrics.summary_lines(rows["score"], rows["right"], rows["parent_right"]),
    }
    for level, hits in (("", rows["right"]), ("parent_", rows["parent_right"])):
        report[f"{level}accuracy"] = metrics.accuracy(hits)
        for percent in TARGETS:
            report[f"{level}coverage_{percent}"] = metrics.accepted(
                rows["score"], hits, percent
            ) / max(1, len(rows))
    return report


# ---- one experiment in full -------------------------------------------------------------------


def read_predictions(
    conn: sqlite3.Connection,
    number: int,
    certifying: bool = False,
    words: bool = True,
    leaves: Sequence[str] = (),
    tuning: bool = False,
) -> tuple[list[str], Rows]:
    """(category ids, structured array ROW [n] whose categories are numbers into them) of
    queries.details, which explains the arguments."""
    names, rows = queries.details(conn, number, certifying, words, leaves, tuning)
    return names, structured(rows, ROW, number)


def floor_of(
    conn: sqlite3.Connection,
    number: int,
    share: float,
    names: Sequence[str],
    leaves: Sequence[str] = (),
) -> floors.Floor:
    """The floor of an experiment, for rows of read_predictions with these names and leaves. Without
    folds, the validation products that the model was tuned on choose which leaves are shut."""
    if not share:
        return floors.NO_FLOOR
    lone = catalogue_queries.lone_classes(conn, number, then=not leaves)
    lone_codes = [code for code, name in enumerate(names) if name in lone]
    if db.settings(db.experiment_row(conn, number)).get("folds"):
        return floors.Floor(share, lone=lone_codes)
    _, tuned = read_predictions(conn, number, False, False, leaves, tuning=True)
    return floors.Floor(share, tuned[certificates.one_of_each(tuned["group"])], lone_codes)


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
    for field in ("label", "predicted", "parent", "reviewed", "learned"):
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
    """For leaf and parent at each target: coverage as the block has it, and the certified one. The
    floor is the leaf's, and `shut` are the floors.named."""
    report = []
    for percent in TARGETS:
        at_leaf, certified = coverage_at(basis, themselves(names), percent, floor)
        shut = floors.named(certified.shut, names)
        report.append({"level": "leaf", **at_leaf, "shut": shut})
    for percent in TARGETS:
        report.append({"level": "parent", **coverage_at(basis, above, percent)[0]})
    return report


def themselves(names: Sequence[str]) -> NDArray[np.int64]:
    """The category_codes by which each category counts as itself."""
    return np.append(np.arange(len(names)), -2)


def certified_at(
    basis: Basis, codes: NDArray[np.int64], percent: int, floor: floors.Floor
) -> tuple[NDArray[np.bool_], NDArray[np.float64], floors.Certified]:
    """(bool [n], float [n], Certified): which rows the certified threshold accepts, the threshold
    for each, and what is certified for products to come, if categories count as codes say."""
    target = percent / 100

    def certificate(filed: Rows, confidence: float, lowest: float) -> Sequence[float]:
        right, delta = right_as(filed, codes), 1 - confidence
        return (certificates.certify(filed["score"], right, target, delta, lowest=lowest),)

    def certify(independent: Rows) -> floors.Certified:
        return floors.certify(independent, target, basis.confidence, floor, certificate)

    filed, thresholds, overall = certified_apart(basis.rows, basis.held, basis.folds, certify)
    return filed["score"] >= thresholds[:, 0], thresholds[:, 0], overall


def coverage_at(
    basis: Basis, codes: NDArray[np.int64], percent: int, floor: floors.Floor = floors.NO_FLOOR
) -> tuple[dict[str, Any], floors.Certified]:
    """(coverage, as observed and as certified, at one target, if categories count as category_codes
    say; what is certified for products to come)."""
    rows, confidence = basis.rows, basis.confidence
    right = right_as(rows, codes)
    taken, thresholds, certified = certified_at(basis, codes, percent, floor)
    report = {
        "target": percent,
        "observed": share_of(
            metrics.accepted(rows["score"], right, percent), len(rows), confidence
        ),
        "threshold": certified.thresholds[0],
        "fold_thresholds": by_fold(rows, thresholds, basis.folds),
        "coverage": share_of(taken.sum(), len(rows), confidence),
        "accuracy": share_of((right & taken).sum(), taken.sum(), confidence),
    }
    if math.isinf(certified.thresholds[0]):
        delta, target = 1 - certified.confidence, percent / 100
        report["have"] = len(certified.rows)
        report["fewest"] = certificates.fewest(target, delta)
        report["needed"] = certificates.products_needed(
            certified.rows["score"], right_as(certified.rows, codes), target, delta
        )
    return report, certified


def fallback(
    basis: Basis, above: NDArray[np.int64], floor: floors.Floor
) -> list[dict[str, Any]] | None:
    """For each target: what the leaf takes, what the parent takes of the rest, and what is left to
    a person, and how much of each is right. None for rows of 2016, which have no parent's score."""
    if (basis.rows["parent"] < 0).any():
        return None
    return [fallback_at(basis, above, percent, floor) for percent in TARGETS]


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
    hits = correct(filed, above)
    levels = (
        ("leaf", overall_leaf, leaf, hits.leaf),
        ("parent", overall_parent, parent, hits.likeliest_parent),
        ("person", None, ~leaf & ~parent, hits.leaf),
    )
    report: dict[str, Any] = {"target": percent}
    for name, threshold, taken, right in levels:
        report[name] = {
            "threshold": threshold,
            "taken": share_of(taken.sum(), len(filed), basis.confidence),
            "accuracy": share_of((taken & right).sum(), taken.sum(), basis.confidence),
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
    hits = correct(independent, above)
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

    return floors.certify(independent, target, confidence, floor, certificate)


def calibration_errors(
    rows: Rows, right: NDArray[np.bool_], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """NLL and ECE of the test products before and after the temperature, None if not known."""
    known = (settings.get("calibration") or {}).get("test", {})
    scored = len(rows) and (rows["label_score"] >= 0).all()
    with np.errstate(divide="ignore"):
        nll = float(-np.log(rows["label_score"]).mean()) if scored else None
    return {
        "before": {"nll": known.get("nll before"), "ece": known.get("ece before")},
        "after": {
            "nll": known.get("nll after", nll),
            "ece": metrics.ece(np.clip(rows["score"], 0, 1), right),
        },
        "temperature": settings.get("temperature"),
    }


def accuracy_by(
    values: NDArray[Any], right: NDArray[np.bool_], begins: Sequence[int], confidence: float
) -> list[dict[str, Any]]:
    """Accuracy by class of `values`, classes beginning at `begins` (ascending); empty classes are
    left out."""
    index = np.searchsorted(begins, values, "right") - 1
    classes = []
    for i, begin in enumerate(begins):
        end = begins[i + 1] - 1 if i + 1 < len(begins) else None
        if (index == i).any():
            classes.append(
                {
                    "from": begin,
                    "to": end,
                    "accuracy": share_of(right[index == i].sum(), (index == i).sum(), confidence),
                }
            )
    return classes


def by_category(
    basis: Basis, names: Sequence[str], right: NDArray[np.bool_], floor: floors.Floor
) -> list[dict[str, Any]]:
    """Support, recall and precision of each category that is a label or a prediction, what is
    accepted there at the lowest of TARGETS, and `shut`: None, or the products accepted there, and
    the right ones, by which the leaf is shut for products to come."""
    rows = basis.rows
    taken, _, certified = certified_at(basis, themselves(names), TARGETS[0], floor)
    known = rows["predicted"] >= 0
    labelled, predicted, hits, accepted, accepted_hits = (
        np.bincount(codes, minlength=len(names))
        for codes in (
            rows["label"][rows["label"] >= 0],
            rows["predicted"][known],
            rows["label"][right],
            rows["predicted"][known & taken],
            rows["predicted"][right & taken],
        )
    )
    shut = {leaf["category"]: leaf for leaf in floors.named(certified.shut, names)}
    return [
        {
            "category": names[i],
            "support": int(labelled[i]),
            "recall": share_of(hits[i], labelled[i], basis.confidence),
            "precision": share_of(hits[i], predicted[i], basis.confidence),
            "accepted": share_of(accepted_hits[i], accepted[i], basis.confidence),
            "shut": shut.get(names[i]),
        }
        for i in np.flatnonzero(labelled + predicted).tolist()
    ]


def confusions(
    names: Sequence[str], rows: Rows, right: NDArray[np.bool_], above: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Pairs of categories by how often one is taken for the other, most often first."""
    wrong = rows[~right & (rows["label"] >= 0) & (rows["predicted"] >= 0)]
    pairs, count = np.unique(
        np.stack([wrong["label"], wrong["predicted"]], axis=1), axis=0, return_counts=True
    )
    times = {(int(a), int(b)): int(n) for (a, b), n in zip(pairs, count)}
    report = []
    for a, b in {(min(pair), max(pair)) for pair in times}:
        a_as_b, b_as_a = times.get((a, b), 0), times.get((b, a), 0)
        report.append(
            {
                "categories": [names[a], names[b]],
                "errors": a_as_b + b_as_a,
                "first_as_second": a_as_b,
                "second_as_first": b_as_a,
                "same_parent": bool(above[a] == above[b]),
            }
        )
    return sorted(report, key=lambda pair: (-pair["errors"], pair["categories"]))


def shared_shares(
    masks: Mapping[str, NDArray[np.bool_] | None] | None,
    right: NDArray[np.bool_],
    confidence: float,
) -> dict[str, Any] | None:
    """How many products share something by shared_content.shared_masks, and the accuracy of those
    and of the others; None for what is not known."""
    if masks is None:
        return None
    return {
        kind: None
        if shared is None
        else {
            "shared": share_of(shared.sum(), len(shared), confidence),
            "accuracy_of_these": share_of(right[shared].sum(), shared.sum(), confidence),
            "accuracy_of_the_others": share_of(right[~shared].sum(), (~shared).sum(), confidence),
        }
        for kind, shared in masks.items()
    }


# ---- all of it --------------------------------------------------------------------------------


def describe(
    conn: sqlite3.Connection, number: int, confidence: float, floor: float = 0.0
) -> dict[str, Any]:
    """All that is known about one experiment, as a dict for JSON, with a floor for its leaves.
    Raises UserError if there is no such experiment, or if it has no predictions."""
    experiment = db.experiment_row(conn, number)
    names, rows = read_predictions(conn, number)
    if not len(rows):
        raise UserError(f"experiment {number} has no predictions; run its script again")
    settings = db.settings(experiment)
    folds = settings.get("folds")
    above = parent_codes(names, category_changes.parents_then(conn, number))
    held = read_held(conn, number, folds)
    basis, wanted = Basis(rows, held, folds, confidence), floor_of(conn, number, floor, names)
    right, parent_right, _ = correct(rows, above)
    reviewed = rows["reviewed"] != rows["label"]
    right_after_review = (rows["predicted"] == rows["reviewed"]) & (rows["reviewed"] >= 0)
    return {
        **block(conn, experiment),
        "interval": metrics.wilson(right.sum(), len(rows), confidence),
        "parent_interval": metrics.wilson(parent_right.sum(), len(rows), confidence),
        "after_review": {
            "corrected": int(reviewed.sum()),
            "accuracy": share_of(right_after_review.sum(), len(rows), confidence),
        },
        "confidence": confidence,
        "certified_on": "folds" if folds else "validation" if len(held) else None,
        "certifying_products": len(rows if folds else held),
        "coverage": certified_coverage(basis, names, above, wanted),
        "floor": floor,
        "fallback": fallback(basis, above, wanted),
        "calibration": calibration_errors(rows, right, settings),
        "aurc": metrics.aurc(rows["score"], right),
        "by_words": accuracy_by(rows["words"], right, WORDS, confidence),
        "by_picture": accuracy_by(rows["picture"], right, (0, 1), confidence),
        "shared_with_training": shared_shares(
            shared_content.shared_masks(conn, number, settings, rows), right, confidence
        ),
        "categories": by_category(basis, names, right, wanted),
        "confusions": confusions(names, rows, right, above),
        "recategorized": category_changes.classes_today(conn, number),
        "settings": settings,
    }
