"""All experiments at a glance: how each was made, what it reached, and what it can promise.

In: the rows of crawl.db and the folders of models beside it. Out: a dict for each experiment, and
the same as a table. Each prediction is read once, and only the columns that the table needs.

    python analyze.py --experiments
    python analyze.py --experiments --json
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import db
from evaluation import certificates, certified_figures, figures, queries, text_report
from evaluation.figures import Rows
from learning import category_tree, metrics, model_folders

GRADED = np.dtype(
    [("product", "i8"), ("score", "f8"), ("right", "?"), ("fold", "i4"), ("group", "i8")]
)
NUMBERED = np.dtype([("product", "i8"), ("group", "i8")])
NOTHING, NOT_MEASURED = "none", "-"  # no threshold could be certified; there was nothing to try


def list_experiments(
    conn: sqlite3.Connection, db_path: str, confidence: float
) -> list[dict[str, Any]]:
    """A dict for each row of the table experiment, oldest first: experiment (its number), name,
    kind, date, products (predicted), categories, tree, folds, with, min_products, accuracy,
    certified_95 and certified_98 (certified coverage at the leaf, as --experiment shows it; zero if
    no threshold could be certified), and model (whether its folder is there). What is not known of
    an experiment, such as the settings of those of 2016, is None. Shares lie in [0, 1]."""
    groups, folder = group_numbers(conn), model_folders.models_folder(db_path)
    return [
        {
            **how_made(conn, row),
            **what_reached(conn, row, groups, confidence),
            "model": os.path.isdir(os.path.join(folder, f"experiment-{row['id']}")),
        }
        for row in db.all_experiments(conn)
    ]


def how_made(conn: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    """What an experiment's row says about how it was made."""
    settings, name = db.settings(row), row["name"] or ""
    asked = settings.get("arguments")
    asked = asked if isinstance(asked, dict) else {}
    kind, is_ours, _ = name.partition(" classification of:")
    leaves = settings.get("categories")
    if isinstance(leaves, list):
        categories: int | None = len(leaves)
    else:
        categories = queries.count_labels(conn, row["id"]) or None
    return {
        "experiment": row["id"],
        "name": name,
        "kind": kind if is_ours else None,
        "date": row["date"],
        "categories": categories,
        "tree": tree_text(settings),
        "folds": settings.get("folds"),
        "with": made_with(asked, kind),
        # --categories are not bound by it.
        "min_products": None if asked.get("categories") else asked.get("min_products"),
    }


def made_with(asked: Mapping[str, Any], kind: str) -> str | None:
    """What of the arguments of a training tells experiments apart, in words; None if none of it is
    on record. Anybody may have written them."""
    networks, fields = asked.get("ensemble"), asked.get("fields")
    words = []
    if type(networks) is int:
        words.append("1 network" if networks == 1 else f"{networks} networks")
    if "Image" in kind and isinstance(asked.get("layer"), str):
        words.append(asked["layer"])
    if fields in (["name"], ["description"]) and "Text" in kind:
        words.append(f"{fields[0]}s")
    words += [flag for flag in ("encoder", "embedding") if isinstance(asked.get(flag), str)]
    words += ["of 2016"] * (asked.get("network") == "original")
    words += ["by group"] * (asked.get("split_by") == "group")
    return ", ".join(words) or None


def tree_text(settings: Mapping[str, Any]) -> str | None:
    """Which categories of the tree an experiment took, in words; None if it is not on record."""
    if "tree" not in settings:
        return None
    rule = category_tree.rule_of(settings)
    words = [f"depth {rule.depth}"] if rule.depth else []
    if rule.leaves_only:
        words.append("leaves only")
    return ", ".join(words) or "whole"


def what_reached(
    conn: sqlite3.Connection, row: sqlite3.Row, groups: NDArray[np.void], confidence: float
) -> dict[str, Any]:
    """How many products an experiment predicted, and how well. groups are the group_numbers."""
    folds = db.settings(row).get("folds")
    rows = graded_rows(conn, row["id"], groups)
    held = rows if folds else graded_rows(conn, row["id"], groups, certifying=True)

    def certify(independent: Rows) -> Sequence[float]:
        return tuple(
            certificates.certify(
                independent["score"], independent["right"], percent / 100, 1 - confidence
            )
            for percent in figures.TARGETS
        )

    certified: list[float | None] = [None] * len(figures.TARGETS)
    if len(rows) and len(held):
        thresholds, _ = certified_figures.certify_apart(rows, held, folds, certify)
        certified = (rows["score"][:, None] >= thresholds).mean(axis=0).tolist()
    return {
        "products": len(rows),
        "accuracy": metrics.accuracy(rows["right"]) if len(rows) else None,
        **{f"certified_{percent}": share for percent, share in zip(figures.TARGETS, certified)},
    }


def group_numbers(conn: sqlite3.Connection) -> NDArray[np.void]:
    """Structured array NUMBERED of all products, by id."""
    return np.fromiter(queries.group_numbers(conn), NUMBERED)


def numbers_of(
    products: NDArray[np.int64], numbered: NDArray[np.void]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(bool [n], which of the products [n] are in the array NUMBERED `numbered`; the group of each
    of those). numbered is in the order of its products."""
    if not len(numbered):
        return np.zeros(len(products), bool), numbered["group"]
    position = np.searchsorted(numbered["product"], products)
    position[position == len(numbered)] = 0
    here = numbered["product"][position] == products
    return here, numbered["group"][position[here]]


def graded_rows(
    conn: sqlite3.Connection, number: int, groups: NDArray[np.void], certifying: bool = False
) -> Rows:
    """Structured array GRADED [n] of an experiment's predictions in the order of their products, or
    of the validation products that were kept for certifying."""
    columns = [("product", "i8"), ("score", "f8"), ("right", "?"), ("fold", "i4")]
    graded = figures.structured(queries.graded(conn, number, certifying), columns, number)
    order = np.argsort(graded["product"], kind="stable")
    rows = np.empty(len(graded), GRADED)
    for field, _ in columns:
        rows[field] = graded[field][order]
    rows["group"] = -1 - np.arange(len(rows))  # a product that is gone is a group by itself
    clusters = np.fromiter(queries.cluster_numbers(conn, number), NUMBERED)
    clusters["group"] = -1 - len(rows) - clusters["group"]
    for numbered in (groups, clusters):
        here, numbers = numbers_of(rows["product"], numbered)
        rows["group"][here] = numbers
    return rows


# ---- the table ----------------------------------------------------------------------------------

HEAD = (
    "",
    "kind",
    "date (UTC)",
    "products",
    "categories",
    "tree",
    "folds",
    "with",
    "min-products",
    "accuracy",
    "leaves certified 95%",
    "98%",
    "model",
)


def table_lines(experiments: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The lines of the table of list_experiments."""
    if not experiments:
        yield "there is no experiment yet: run categorize_words.py or another classifier"
    else:
        yield from text_report.aligned(
            [HEAD, *map(table_row, experiments)], left=(0, 1, 2, 5, 7, 12)
        )


def table_row(experiment: dict[str, Any]) -> tuple[str, ...]:
    """The cells of HEAD for a dict of list_experiments."""
    certified = [experiment[f"certified_{percent}"] for percent in figures.TARGETS]
    return (
        f"#{experiment['experiment']}",
        cell(experiment["kind"]),
        cell(experiment["date"])[:16],
        f"{experiment['products']:,}",
        cell(experiment["categories"]),
        cell(experiment["tree"]),
        cell(experiment["folds"]),
        cell(experiment["with"]),
        cell(experiment["min_products"]),
        text_report.percent(experiment["accuracy"]),
        *(NOTHING if share == 0 else text_report.percent(share) for share in certified),
        "yes" if experiment["model"] else "no",
    )


def cell(value: object) -> str:
    return NOT_MEASURED if value is None else str(value)
