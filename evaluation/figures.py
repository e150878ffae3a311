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
from evaluation import certificates, queries, shared_content
from learning import category_tree, metrics

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
) -> tuple[list[str], Rows]:
    """(category ids, structured array ROW [n] whose categories are numbers into them) of
    queries.details, which explains the arguments."""
    names, rows = queries.details(conn, number, certifying, words, leaves)
    return names, structured(rows, ROW, number)


def read_held(conn: sqlite3.Connection, number: int, folds: int | None) -> Rows:
    """The validation products that were kept for certifying, without their words. With folds, which
    certify each other, none is needed or read."""
    if folds:
        return np.empty(0, ROW)
    return read_predictions(conn, number, certifying=True, words=False)[1]


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
        known & (rows["predicted"] == rows["label"]),
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
    source = rows if folds else held
    source = source[certificates.one_of_each(source["group"])]
    overall = certify(source)
    apart = np.tile(overall, (len(rows), 1))
    if folds:
        for fold in np.unique(rows["fold"]):
            apart[rows["fold"] == fold] = certify(source[source["fold"] != fold])
    # If nothing is promised for products to come, nothing is filed here either.
    return np.where(np.isinf(overall), np.inf, apart), overall


def by_fold(rows: Rows, thresholds: NDArray[np.float64], folds: int | None) -> list[float] | None:
    """The threshold by which each fold was accepted, None without folds."""
    if not folds:
        return None
    return [float(thresholds[np.argmax(rows["fold"] == fold)]) for fold in np.unique(rows["fold"])]


def certified_coverage(
    rows: Rows, held: Rows, folds: int | None, above: NDArray[np.int64], confidence: float
) -> list[dict[str, Any]]:
    """For leaf and parent at each target: coverage as the block has it, and the certified one."""
    themselves = np.append(np.arange(len(above) - 1), -2)
    return [
        {"level": level, **coverage_at(rows, held, folds, codes, confidence, percent)}
        for level, codes in (("leaf", themselves), ("parent", above))
        for percent in TARGETS
    ]


def coverage_at(
    rows: Rows,
    held: Rows,
    folds: int | None,
    codes: NDArray[np.int64],
    confidence: float,
    percent: int,
) -> dict[str, Any]:
    """Coverage, as observed and as certified, at one target, if categories count as category_codes
    say."""
    delta, target = 1 - confidence, percent / 100

    def certify(independent: Rows) -> Sequence[float]:
        right = right_as(independent, codes)
        return (certificates.certify(independent["score"], right, target, delta),)

    thresholds, (overall,) = certify_apart(rows, held, folds, certify)
    taken, right = rows["score"] >= thresholds[:, 0], right_as(rows, codes)
    report = {
        "target": percent,
        "observed": share_of(
            metrics.accepted(rows["score"], right, percent), len(rows), confidence
        ),
        "threshold": overall,
        "fold_thresholds": by_fold(rows, thresholds[:, 0], folds),
        "coverage": share_of(taken.sum(), len(rows), confidence),
        "accuracy": share_of((right & taken).sum(), taken.sum(), confidence),
    }
    if math.isinf(overall):
        source = rows if folds else held
        independent = source[certificates.one_of_each(source["group"])]
        report["have"] = len(independent)
        report["fewest"] = certificates.fewest(target, delta)
        report["needed"] = certificates.products_needed(
            independent["score"], right_as(independent, codes), target, delta
        )
    return report


def fallback(
    rows: Rows, held: Rows, folds: int | None, above: NDArray[np.int64], confidence: float
) -> list[dict[str, Any]] | None:
    """For each target: what the leaf takes, what the parent takes of the rest, and what is left to
    a person, and how much of each is right. None for rows of 2016, which have no parent's score."""
    if (rows["parent"] < 0).any():
        return None
    return [fallback_at(rows, held, folds, above, confidence, percent) for percent in TARGETS]


def fallback_at(
    rows: Rows,
    held: Rows,
    folds: int | None,
    above: NDArray[np.int64],
    confidence: float,
    percent: int,
) -> dict[str, Any]:
    """The `fallback` at one target."""

    def certify(independent: Rows) -> certificates.Thresholds:
        return certify_pair(independent, above, percent / 100, confidence)

    thresholds, overall = certify_apart(rows, held, folds, certify)
    overall_leaf, _, overall_parent, _ = overall
    leaf_from, below, parent_from, alone = thresholds.T
    leaf = rows["score"] >= leaf_from
    if math.isinf(overall_leaf):  # nor is a leaf promised in a fold of its own
        parent_from = alone
    parent = ~leaf & (rows["score"] < below) & (rows["parent_score"] >= parent_from)
    hits = correct(rows, above)
    levels = (
        ("leaf", overall_leaf, leaf, hits.leaf),
        ("parent", overall_parent, parent, hits.likeliest_parent),
        ("person", None, ~leaf & ~parent, hits.leaf),
    )
    report: dict[str, Any] = {"target": percent}
    for name, threshold, taken, right in levels:
        report[name] = {
            "threshold": threshold,
            "taken": share_of(taken.sum(), len(rows), confidence),
            "accuracy": share_of((taken & right).sum(), taken.sum(), confidence),
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
    names: Sequence[str], rows: Rows, right: NDArray[np.bool_], confidence: float
) -> list[dict[str, Any]]:
    """Support, recall and precision of each category that is a label or a prediction."""
    labelled, predicted = (
        np.bincount(rows[field][rows[field] >= 0], minlength=len(names))
        for field in ("label", "predicted")
    )
    hits = np.bincount(rows["label"][right], minlength=len(names))
    return [
        {
            "category": names[i],
            "support": int(labelled[i]),
            "recall": share_of(hits[i], labelled[i], confidence),
            "precision": share_of(hits[i], predicted[i], confidence),
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


def describe(conn: sqlite3.Connection, number: int, confidence: float) -> dict[str, Any]:
    """All that is known about one experiment, as a dict for JSON. Raises UserError if there is no
    such experiment, or if it has no predictions."""
    experiment = db.experiment_row(conn, number)
    names, rows = read_predictions(conn, number)
    if not len(rows):
        raise UserError(f"experiment {number} has no predictions; run its script again")
    settings = db.settings(experiment)
    folds = settings.get("folds")
    above = parent_codes(names, category_tree.parents(conn, category_tree.rule_of(settings)))
    held = read_held(conn, number, folds)
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
        "coverage": certified_coverage(rows, held, folds, above, confidence),
        "fallback": fallback(rows, held, folds, above, confidence),
        "calibration": calibration_errors(rows, right, settings),
        "aurc": metrics.aurc(rows["score"], right),
        "by_words": accuracy_by(rows["words"], right, WORDS, confidence),
        "by_picture": accuracy_by(rows["picture"], right, (0, 1), confidence),
        "shared_with_training": shared_shares(
            shared_content.shared_masks(conn, number, settings, rows), right, confidence
        ),
        "categories": by_category(names, rows, right, confidence),
        "confusions": confusions(names, rows, right, above),
        "settings": settings,
    }
