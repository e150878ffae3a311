"""The page of errors: an experiment's wrong predictions, for a person to judge.

In: an experiment of crawl.db, its model, and the pictures' folder. Out: HTML with all that was
measured, a slider over thresholds and the wrong predictions with the highest scores.

    python analyze.py --dump-errors-for-experiment 1 --top 50 -o errors.html
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import db
from evaluation import (
    catalogue_queries,
    decision_queries,
    experiment_figures,
    figures,
    html_pages,
    label_suspects,
    product_view,
    queries,
    text_report,
)
from evaluation.figures import Rows
from evaluation.product_view import page_text
from learning import category_changes, metrics

MOST_STEPS = 2000  # of the slider
Step = tuple[float, int, int]  # a threshold's score, the products it accepts, the right ones


def error_page(
    conn: sqlite3.Connection,
    number: int,
    images_path: str,
    db_path: str,
    confidence: float = 0.95,
    top: int = 500,
    floor: float = 0.0,
) -> str:
    """HTML of an experiment's `top` wrong predictions with the highest scores, and of every
    category, with a floor for its leaves. Raises UserError if there is no such experiment, or if it
    has no predictions."""
    suspects = suspected_products(conn, number)
    read = figures.read_predictions(conn, number)
    report, rows = experiment_figures.describe(conn, number, confidence, floor, read), read[1]
    right = (rows["label"] >= 0) & (rows["label"] == rows["predicted"])
    wrong, slider = int((~right).sum()), slider_steps(rows["score"], right)
    paths, decisions = html_pages.page_paths(conn), decision_queries.overrides(conn)
    then, today = html_pages.paths_then(conn, number, paths)
    model = product_view.text_model(conn, db_path, number)
    raw = [dict(row) for row in queries.surest_errors(conn, number, top)]
    errors = read_errors(conn, number, raw, model, suspects, decisions, paths, images_path)
    html_pages.warn_missing_pictures(errors, images_path)
    certified = certified_leaf(report)
    database = page_text(str(db_path), 200)
    data = {
        "key": html_pages.page_key("errors", number, report["date"], db_path),
        "word": "error",
        "puts": "label wrong",
        "database": database,
        "decided": html_pages.decided_before(conn, number, decisions),
        "all": wrong,
        "n": len(rows),
        "steps": slider,
        "start": certified,
        "leaves": html_pages.leaf_options(conn, number, paths),
    }
    return html_pages.render(
        "errors.html",
        data,
        errors,
        report=report,
        number=number,
        wrong=wrong,
        name=page_text(report["name"], 300),
        date=page_text(report["date"], 40),
        confusions=confused_pairs(report, then),
        categories=category_rows(report, then),
        shut_note=text_report.shut_note(report),
        chart=make_chart(rows, right, slider),
        count=len(report["settings"].get("categories") or np.unique(rows["label"])),
        settings=settings_pairs(report["settings"]),
        labels=html_pages.filter_options((label_today(row, today) for row in raw), paths),
        predictions=html_pages.filter_options((row["predicted"] for row in raw), then),
        parents=html_pages.filter_options((error["parent"] for error in errors), then),
        marks=decision_queries.DECISIONS[:3],
        database=database,
        words=model is not None,
        certified=certified is not None,
    )


def suspected_products(conn: sqlite3.Connection, number: int) -> set[int]:
    """Ids of the products whose label is probably wrong; none for an experiment without folds."""
    if not db.settings(db.experiment_row(conn, number)).get("folds"):
        return set()
    return {suspect.product_id for suspect in label_suspects.suspected(conn, number)}


def certified_leaf(report: Mapping[str, Any]) -> float | None:
    """The leaf's threshold certified for 98 %, of experiment_figures.describe, or None."""
    (threshold,) = (
        promise["threshold"]
        for promise in report["coverage"]
        if (promise["level"], promise["target"]) == ("leaf", 98)
    )
    return threshold if math.isfinite(threshold) else None


# ---- the errors ---------------------------------------------------------------------------------


def read_errors(
    conn: sqlite3.Connection,
    number: int,
    rows: Sequence[Mapping[str, Any]],
    model: product_view.TextModel | None,
    suspects: Collection[int],
    decisions: Mapping[int, sqlite3.Row],
    paths: Mapping[str, str],
    images_path: str,
) -> list[dict[str, Any]]:
    """What the page shows of wrong predictions of an experiment, rows of queries.surest_errors.

    suspects are the ids of products whose label is probably wrong, decisions decision_queries.overrides,
    paths html_pages.page_paths. The prediction is proposed as the right category if it is one of
    the leaves of today. `label` is what the category is today, about which a person decides.
    """
    parents = category_changes.parents_then(conn, number)
    then, today = html_pages.paths_then(conn, number, paths)
    there = catalogue_queries.places_today(conn, number)
    errors = []
    for row in rows:
        label_parent = parents.get(row["label"], row["label"])
        badges = []
        if label_parent == parents.get(row["predicted"], row["predicted"]):
            badges.append("same parent")
        if row["listed"]:
            badges.append("listed there too")
        if row["id"] in suspects:
            badges.append("suspected label")
        loud = product_view.loud_terms(model, row) if model else set()
        error = product_view.product_parts(
            {**row, "parent": label_parent},
            loud,
            badges,
            decisions.get(row["id"]),
            paths,
            images_path,
        )
        label, predicted = label_today(row, today), today.get(row["predicted"], row["predicted"])
        error["suggestion"] = predicted if there.get(predicted) and predicted != label else ""
        errors.append(
            {
                **error,
                "predicted_path": then.get(row["predicted"], error["predicted"]),
                "label": page_text(label, 200),
                "label_path": then.get(row["label"], page_text(row["label"], 200)),
                "label_score": row["label_score"],
            }
        )
    return errors


def label_today(row: Mapping[str, Any], today: Mapping[str, str | None]) -> str | None:
    """What the category is today that a product, a row of queries.surest_errors, had as its label;
    the label itself if its products wait. `today` is category_changes.classes_today."""
    return today.get(row["label"]) or row["label"]


# ---- figures ------------------------------------------------------------------------------------


def confused_pairs(report: Mapping[str, Any], paths: Mapping[str, str]) -> list[dict[str, Any]]:
    """The ten pairs of categories of experiment_figures.describe that are confused most often, by
    path."""
    return [
        {
            **pair,
            "categories": [
                paths.get(category, page_text(category, 200)) for category in pair["categories"]
            ],
        }
        for pair in report["confusions"][:10]
    ]


def category_rows(report: Mapping[str, Any], paths: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every category of experiment_figures.describe: path, labelled, accepted (how many), right
    (the share of these with its interval, in words) and shut (why, in words; "open" if it is not)."""
    return [
        {
            "path": paths.get(category["category"], page_text(category["category"], 200)),
            "labelled": category["support"],
            "accepted": category["accepted"]["n"],
            "right": text_report.with_interval(category["accepted"]),
            "shut": text_report.shut_text(category["shut"]) or "open",
        }
        for category in report["categories"]
    ]


def settings_pairs(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """[(name, value)] of an experiment's settings, in words."""
    return [
        (page_text(str(key), 100), page_text(setting_text(key, value), 300))
        for key, value in settings.items()
        if key != "calibration"
    ]


def setting_text(key: str, value: Any) -> str:
    """A setting's value in words; of the categories only how many they are."""
    if key == "categories" and hasattr(value, "__len__"):
        return str(len(value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if value is None or isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def slider_steps(score: NDArray[np.float64], right: NDArray[np.bool_]) -> list[Step]:
    """What thresholds accept, at most MOST_STEPS of them, from the strictest down; predictions of
    equal scores are accepted together. score and right are [n]."""
    order = np.argsort(-score, kind="stable")
    score, hits = score[order], np.cumsum(right[order])
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True)) if len(score) else score
    if len(last) > MOST_STEPS:
        last = last[np.unique(np.linspace(0, len(last) - 1, MOST_STEPS).round().astype(int))]
    return [(float(score[i]), int(i) + 1, int(hits[i])) for i in last]


# ---- charts -------------------------------------------------------------------------------------


class Chart(NamedTuple):
    """The two charts of the page. Points are in units of 1/1000, from the left and from the top."""

    curve: str  # of accuracy by coverage, the points of an SVG polyline
    floor: int  # its accuracy in % at the bottom: 50, or 0 if it falls below
    dots: list[tuple[int, int]]  # on the curve, at the accuracies of figures.TARGETS
    reliability: list[tuple[float, float, int]]  # (mean score, accuracy, products) by bin of score


def make_chart(rows: Rows, right: NDArray[np.bool_], slider: Sequence[Step]) -> Chart:
    """The Chart of predictions, figures.ROW [n], of which `right` [n] are right."""
    curve, floor = risk_coverage_curve(slider, len(rows))
    dots = [dot(rows["score"], right, target, floor) for target in figures.TARGETS]
    return Chart(
        curve, floor, [point for point in dots if point], reliability(rows["score"], right)
    )


def reliability(
    score: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15
) -> list[tuple[float, float, int]]:
    """[(mean score, accuracy, products)] of equal-width bins, empty ones left out."""
    bin_of = np.minimum((np.clip(score, 0, 1) * bins).astype(int), bins - 1)
    points = []
    for number in range(bins):
        members = bin_of == number
        if members.any():
            points.append(
                (float(score[members].mean()), float(right[members].mean()), int(members.sum()))
            )
    return points


def risk_coverage_curve(slider: Sequence[Step], n: int) -> tuple[str, int]:
    """(the risk-coverage curve of n predictions as points of an SVG polyline, its floor): coverage
    from left to right, accuracy from `floor` % at the bottom to 100 % at the top."""
    every = max(1, len(slider) // 300)
    steps = [*slider[::every], slider[-1]] if slider else []
    floor = 50 if all(right >= accepted / 2 for _, accepted, right in steps) else 0
    points = [
        f"{1000 * accepted / n:.0f},{1e5 * (1 - right / accepted) / (100 - floor):.0f}"
        for _, accepted, right in steps
    ]
    return " ".join(points), floor


def dot(
    score: NDArray[np.float64], right: NDArray[np.bool_], target: int, floor: int
) -> tuple[int, int] | None:
    """(x, y) of the largest coverage with `target` % accuracy; None if there is none."""
    count = metrics.accepted(score, right, target)
    if not count:
        return None
    hits = int(right[np.argsort(-score, kind="stable")[:count]].sum())
    return (round(1000 * count / len(score)), round(1e5 * (1 - hits / count) / (100 - floor)))
