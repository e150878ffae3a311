"""Which test products share their words or their picture with products that the model learned from.

In: an experiment of crawl.db and its predictions. Out: bool arrays, one value a prediction.
figures.py makes shares of them, which are shown by

    python analyze.py --experiment 1
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation import experiment_queries

# Codes of a product's group, text and picture; products of one code share it. -1 stands for none.
CONTENT = np.dtype([("product", "i8"), ("group", "i8"), ("text", "i8"), ("picture", "i8")])


def shared_masks(
    conn: sqlite3.Connection, number: int, settings: Mapping[str, Any], rows: NDArray[np.void]
) -> dict[str, NDArray[np.bool_] | None] | None:
    """Which of an experiment's predictions, rows of figures.ROW, share something with a product
    that the model was trained on.

    Returns {near-duplicate, text, picture: bool [n]}; near-duplicate is None if nobody has looked.
    Returns None if the training set is not known.
    """
    if not settings.get("categories"):
        return None
    contents = np.fromiter(
        experiment_queries.contents(conn, number, settings["categories"]), CONTENT
    )
    if not len(contents):
        return None
    position = np.searchsorted(contents["product"], rows["product"])
    position[position == len(contents)] = 0
    here = contents["product"][position] == rows["product"]
    taught = contents[was_learned(conn, number, rows, contents)]
    near = experiment_queries.near_trained(conn, number)
    masks = {"near-duplicate": None if near is None else np.isin(rows["product"], near)}
    for kind in ("text", "picture"):
        codes = np.where(here, contents[kind][position], -1)
        if settings.get("folds"):
            masks[kind] = shared_by_fold(codes, rows["fold"], settings["folds"])
        else:
            masks[kind] = (codes >= 0) & np.isin(codes, taught[kind])
    return masks


def was_learned(
    conn: sqlite3.Connection, number: int, rows: NDArray[np.void], contents: NDArray[np.void]
) -> NDArray[np.bool_]:
    """Which of the contents the model was trained on, without folds: all that are neither in the
    test set nor in validation."""
    measured = np.append(
        rows["product"], np.array(experiment_queries.tuned_products(conn, number), np.int64)
    )
    apart = np.isin(contents["product"], measured)
    apart |= np.isin(contents["group"], contents["group"][apart])  # groups are never parted
    return ~apart


def shared_by_fold(
    codes: NDArray[np.int64], fold: NDArray[np.int32], folds: int
) -> NDArray[np.bool_]:
    """Which products share their code with one of the folds that their model was trained on: all
    but their own fold and the next one, which was its validation. codes and fold are [n]."""
    shared = np.zeros(len(codes), bool)
    for number in np.unique(fold):
        tested = fold == number
        taught = codes[~tested & (fold != (number + 1) % folds)]
        shared[tested] = (codes[tested] >= 0) & np.isin(codes[tested], taught)
    return shared
