"""An experiment against the catalogue as it is today: what has changed since the training, and what
its figures become if products of the categories that the model does not know count too.

In: crawl.db. Out: dicts of counts and shares, and sentences about them. They are shown by

    python analyze.py --experiment 1
    python analyze.py --models
    python categorize_words.py --apply 1
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import db
from common.terminal import counted
from evaluation import audit, audit_queries, experiment_queries, figures, filing_queries, guarantees
from learning import category_changes, category_tree, metrics, model_folders, saved_models
from learning import queries as learning_queries

SCRIPTS = {"Text": "words", "Image": "images", "Image+Text": "both"}  # by the kind of a model


# ---- sentences ----------------------------------------------------------------------------------


def changes_lines(number: int, changes: Mapping[str, int]) -> list[str]:
    """Sentences about experiment_queries.changes of an experiment; none if nothing has changed."""
    of_all = f"of the {counted(changes['products'], 'product')} of experiment {number}"
    sentences = {
        "refiled": "another category now than the one it learned: train again",
        "unlabelled": "no category in the shop any more: load them with their categories again, "
        "or train again",
        "regrouped": "another item group now: it was split otherwise, and groups may have been "
        "parted; train again",
    }
    return [
        f"{counted(changes[kind], f'{of_all} has', f'{of_all} have')} {sentence}"
        for kind, sentence in sentences.items()
        if changes[kind]
    ]


def gone_line(answers: Sequence[tuple[str, int]] | Sequence[sqlite3.Row]) -> str | None:
    """A sentence about filing_queries.answers_gone, None if there are none."""
    if not answers:
        return None
    names = ", ".join(leaf for leaf, _ in answers[:3])
    more = f" and {len(answers) - 3} more" if len(answers) > 3 else ""
    return (
        f"{counted(sum(products for _, products in answers), 'product was', 'products were')} "
        f"answered with leaves that are not there any more, or are empty now ({names}{more}): "
        "nothing is filed at such a leaf; train again"
    )


# ---- figures ------------------------------------------------------------------------------------


def since_training(
    conn: sqlite3.Connection, number: int, described: Mapping[str, Any]
) -> dict[str, Any]:
    """What has changed since an experiment's training, and its figures for all products to come, as
    a dict for JSON: the keys of experiment_queries.changes, and `all`: figures_of_all. described is
    experiment_figures.describe's."""
    return {
        **experiment_queries.changes(conn, number),
        "all": figures_of_all(conn, number, described),
    }


def models(conn: sqlite3.Connection, db_path: str) -> list[dict[str, Any]]:
    """saved_models.listing of all experiments, with the experiment_queries.changes of each under
    `today`, and under `audits` {target: what an audit says of its promise}, audit.judge."""
    rows = db.all_experiments(conn)
    digests = {row["id"]: db.settings(row).get("model") for row in rows}
    listed = saved_models.listing(model_folders.models_folder(db_path), rows, digests)
    return [
        {
            **model,
            "today": experiment_queries.changes(conn, model["experiment"]),
            "audits": audits(conn, model["experiment"], model.get("promises", {})),
        }
        for model in listed
    ]


def audits(
    conn: sqlite3.Connection, number: int, promises: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[audit.Judged]]:
    """{target: audit.judge} of an experiment's kept promises, {} if nothing was drawn."""
    if not audit_queries.is_audited(conn, number):
        return {}
    return {
        target: audit.judge(conn, number, audit.promise_of(promise))
        for target, promise in promises.items()
    }


def figures_of_all(
    conn: sqlite3.Connection, number: int, described: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The figures of an experiment if products of leaves that the model does not know count too, as
    errors, and all by the labels they have today. None if it knows the leaves of all, or if its
    leaves are not on record. described is experiment_figures.describe's.

    A dict of kind; leaves and products, (known, of how many) each; min_products of the training or
    None; accuracy, of all; and answered, whether --apply has had the model answer the products of
    unknown leaves. If it has answered any, `coverage` is coverage_of_all, else [].
    """
    settings, folds = described["settings"], described["settings"].get("folds")
    leaves = settings.get("categories")
    kind = described["name"].partition(" classification")[0]
    if not isinstance(leaves, list) or not leaves:
        return None
    strange, answered = filing_queries.count_strange(conn, number, leaves, kind == "Image")
    names, rows = figures.read_predictions(conn, number, False, False, leaves)
    measured = rows[rows["fold"] >= 0]
    rows = measured[measured["label"] >= 0]  # without those that --recategorize has waiting
    right = rows["label"] == rows["predicted"]
    known_leaves = set(category_changes.leaves_today(conn, number, leaves))
    known_today = np.isin(
        rows["label"], [code for code, name in enumerate(names) if name in known_leaves]
    )
    if not strange and known_today.all():
        return None
    sizes = learning_queries.class_sizes(conn, category_tree.rule_of(settings))
    known = settings.get("products") or described["n"]
    # Without folds a tenth of the known products was tested: as large a share of the others counts.
    strange_share = 1 if folds else described["n"] / known
    n = len(rows) + strange * strange_share
    known = round(known * len(rows) / max(1, len(measured)))
    coverage = []
    if answered:
        coverage = coverage_of_all(
            conn, number, folds, leaves, described["confidence"], described["floor"]
        )
    return {
        "kind": kind,
        "leaves": (sum(leaf in sizes for leaf in known_leaves), len(sizes)),
        "products": (round(known * metrics.accuracy(known_today)), known + strange),
        "accuracy": float(right.sum() / n),
        "min_products": guarantees.asked_min_products(settings),
        "answered": answered == strange if folds else answered > 0,
        "coverage": coverage,
    }


def coverage_of_all(
    conn: sqlite3.Connection,
    number: int,
    folds: int | None,
    leaves: Sequence[str],
    confidence: float,
    floor: float,
) -> list[dict[str, Any]]:
    """For each target a dict of it in percent, the observed coverage, and the shares of products
    that --apply may file at the leaf and at the parent today, by the products that its promise
    rests on."""
    names, rows = figures.read_predictions(conn, number, not folds, False, leaves)
    right = (rows["label"] >= 0) & (rows["label"] == rows["predicted"])
    coverage = []
    for percent in figures.TARGETS:
        promise = guarantees.promise(conn, number, leaves, percent / 100, confidence, floor)
        limits = guarantees.promised_thresholds(promise)
        filed = guarantees.filed_rows(conn, number, names, rows, promise)
        leaf = filed["score"] >= limits["leaf"]
        parent = ~leaf & (filed["parent_score"] >= limits["parent"])
        coverage.append(
            {
                "target": percent,
                "leaf": float(leaf.mean()),
                "parent": float(parent.mean()),
                "observed": metrics.accepted(rows["score"], right, percent) / len(rows),
            }
        )
    return coverage
