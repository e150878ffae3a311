"""An experiment's figures at every level of the category tree, from the deepest up to the top.

In: predictions in crawl.db, and the tree of today. Out: dicts for JSON. At level 2 a category
counts as its ancestor two levels below the root; one that is not so deep counts as itself.

    python analyze.py --experiment 1
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import numpy as np

from evaluation import certified_figures, figures
from evaluation.figures import Rows
from learning import category_changes, category_tree


def by_level(
    conn: sqlite3.Connection,
    number: int,
    described: Mapping[str, Any],
    read: tuple[list[str], Rows] | None = None,
) -> list[dict[str, Any]]:
    """For each level that labels or predictions reach, the deepest first: `categories` (how many
    the labels are there), `as_deep` (products whose label is at this level or below it), `accuracy`
    and `coverage` (certified_figures.coverage_at each target), as dicts for JSON.

    described is experiment_figures.describe's of the experiment, and `read` its
    figures.read_predictions, if somebody has read them already. The tree is the one that the
    experiment knew, before any --recategorize; a category that is gone otherwise is at level 1.
    """
    names, rows = read or figures.read_predictions(conn, number, words=False)
    folds, confidence = described["settings"].get("folds"), described["confidence"]
    basis = certified_figures.Basis(rows, figures.read_held(conn, number, folds), folds, confidence)
    tree = category_changes.categories_then(conn, category_changes.seen_by(conn, number))
    depth = {row["id"]: len(category_tree.levels(row)) for row in tree}
    depths = np.array([depth.get(name) or 1 for name in names] + [0])
    reached = depths[np.concatenate([rows["label"], rows["predicted"]])]
    levels = []
    for level in range(max(1, int(reached.max())), 0, -1):
        codes = figures.category_codes(
            names, category_tree.counts_as(conn, category_tree.Rule(level), tree)
        )
        right = figures.right_as(rows, codes)
        levels.append(
            {
                "level": level,
                "categories": len(np.unique(codes[rows["label"][rows["label"] >= 0]])),
                "as_deep": int((depths[rows["label"]] >= level).sum()),
                "accuracy": figures.share_of(right.sum(), len(rows), confidence),
                "coverage": [
                    certified_figures.coverage_at(basis, codes, percent)[0]
                    for percent in figures.TARGETS
                ],
            }
        )
    return levels
