"""Which products train, which validate, and which are predicted; the same for all classifiers.

In: keys of groups (or clusters), so that what shares a key is never parted. Out: row numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from common.terminal import UserError

FEWEST_FOLDS = 5  # with fewer, their models learn from half of the products or less


def split_position(key: str) -> float:
    """A group's place u in [0, 1), the same for all scripts, seeds and times."""
    digest = hashlib.sha256(key.encode("utf-8", "replace")).digest()
    return (int.from_bytes(digest[:7], "big") >> 3) / 2**53


def splits(
    u: Sequence[float] | np.ndarray,
    folds: int | None = None,
    testing: float = 0.1,
    validation: float = 0.1,
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """[(training rows, validation rows, rows to predict)] of products at positions u [n].

    Without folds one: u < testing is predicted, the next `validation` of it validates, the rest
    trains. With folds K: fold = floor(u K); fold i is predicted by a model validated on fold i + 1
    and trained on the rest.
    """
    u = np.asarray(u)
    if not folds:
        return [
            (
                np.flatnonzero(u >= testing + validation),
                np.flatnonzero((u >= testing) & (u < testing + validation)),
                np.flatnonzero(u < testing),
            )
        ]
    fold = np.floor(u * folds).astype(int)
    return [
        (
            np.flatnonzero((fold != i) & (fold != (i + 1) % folds)),
            np.flatnonzero(fold == (i + 1) % folds),
            np.flatnonzero(fold == i),
        )
        for i in range(folds)
    ]


def unlearnable(
    classes: np.ndarray, u: np.ndarray, n: int, folds: int | None = None, *shares: float
) -> set[int]:
    """Which of n classes can't be learned by products of `classes`, int [m] (-1: none), at
    positions u [m]: those that have no product to train on in some split, or, without folds, none
    to validate on or none to predict. With folds each product is predicted once in any case.
    `shares` are the testing and validation of `splits`."""
    parts = splits(u, folds, *shares)
    needed = [rows for part in parts for rows in (part[:1] if folds else part)]
    return {int(lost) for rows in needed for lost in np.setdiff1d(np.arange(n), classes[rows])}


def check_splits(parts: Sequence, names: Sequence[str]) -> None:
    """Raise UserError if there are fewer than two classes, or if a split has nothing to validate on
    or to predict. parts are [(training, validation, test)], rows of products."""
    if len(names) < 2:
        raise UserError(
            f"there is nothing to tell apart: {names[0]} is the only category; name two or more"
        )
    for _, validation, predicted in parts:
        for what, products in (("validation", validation), ("test", predicted)):
            if not len(products):
                raise UserError(
                    f"there are too few products to split: the {what} set is empty. Load more, or "
                    f"use {'fewer --folds' if len(parts) > 1 else '--folds 10'}"
                )


def few_folds_text(folds: int) -> str:
    """Why nothing is promised by so few folds, in words."""
    return (
        f"with {folds} folds each model learns from {100 * (folds - 2) / folds:.0f} % of the "
        "products, and the one that files learns from all and is much surer, so their scores "
        f"cannot be compared; train with --folds 10 ({FEWEST_FOLDS} at least)"
    )
