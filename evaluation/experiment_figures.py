"""The figures of one experiment in full, as a dict that analyze.py prints or gives out as JSON.

In: the rows of crawl.db. Out: what was measured and what is promised. Shares lie in [0, 1]; beside
a share, `n` says how many products it is a share of.

    python analyze.py --experiment 1 --json
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import db
from common.terminal import UserError
from evaluation import certified_figures, figures, floors, shared_content
from evaluation.figures import Rows
from learning import category_changes, metrics

WORDS = (0, 1, 5, 10, 20, 40, 80, 160)  # where classes of text length begin


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
                    "accuracy": figures.share_of(
                        right[index == i].sum(), (index == i).sum(), confidence
                    ),
                }
            )
    return classes


def by_category(
    basis: certified_figures.Basis,
    names: Sequence[str],
    right: NDArray[np.bool_],
    floor: floors.Floor,
) -> list[dict[str, Any]]:
    """Support, recall and precision of each category that is a label or a prediction, what is
    accepted there at the lowest of figures.TARGETS, and `shut`: None, or the products accepted
    there, and the right ones, by which the leaf is shut for products to come."""
    rows = basis.rows
    taken, _, certified = certified_figures.certified_at(
        basis, certified_figures.themselves(names), figures.TARGETS[0], floor
    )
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
            "recall": figures.share_of(hits[i], labelled[i], basis.confidence),
            "precision": figures.share_of(hits[i], predicted[i], basis.confidence),
            "accepted": figures.share_of(accepted_hits[i], accepted[i], basis.confidence),
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
            "shared": figures.share_of(shared.sum(), len(shared), confidence),
            "accuracy_of_these": figures.share_of(right[shared].sum(), shared.sum(), confidence),
            "accuracy_of_the_others": figures.share_of(
                right[~shared].sum(), (~shared).sum(), confidence
            ),
        }
        for kind, shared in masks.items()
    }


# ---- all of it --------------------------------------------------------------------------------


def describe(
    conn: sqlite3.Connection,
    number: int,
    confidence: float,
    floor: float = 0.0,
    read: tuple[list[str], Rows] | None = None,
) -> dict[str, Any]:
    """All that is known about one experiment, as a dict for JSON, with a floor for its leaves.
    `read` are its figures.read_predictions, if somebody has read them already. Raises UserError if
    there is no such experiment, or if it has no predictions."""
    experiment = db.experiment_row(conn, number)
    names, rows = read or figures.read_predictions(conn, number)
    if not len(rows):
        raise UserError(f"experiment {number} has no predictions; run its script again")
    settings = db.settings(experiment)
    folds = settings.get("folds")
    above = figures.parent_codes(names, category_changes.parents_then(conn, number))
    held = figures.read_held(conn, number, folds)
    basis, wanted = (
        certified_figures.Basis(rows, held, folds, confidence),
        certified_figures.floor_of(conn, number, floor, names),
    )
    right, parent_right, _ = figures.correct(rows, above)
    reviewed = rows["reviewed"] != rows["label"]
    right_after_review = (rows["predicted"] == rows["reviewed"]) & (rows["reviewed"] >= 0)
    return {
        **figures.block(conn, experiment),
        "interval": metrics.wilson(right.sum(), len(rows), confidence),
        "parent_interval": metrics.wilson(parent_right.sum(), len(rows), confidence),
        "after_review": {
            "corrected": int(reviewed.sum()),
            "accuracy": figures.share_of(right_after_review.sum(), len(rows), confidence),
        },
        "confidence": confidence,
        "certified_on": "folds" if folds else "validation" if len(held) else None,
        "certifying_products": len(rows if folds else held),
        "coverage": certified_figures.certified_coverage(basis, names, above, wanted),
        "floor": floor,
        "fallback": certified_figures.fallback(basis, above, wanted),
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
