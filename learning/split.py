"""Which products train, which validate, and which are predicted; the same for all classifiers.

In: keys of groups (or clusters), so that what shares a key is never parted. Out: row numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from common.terminal import UserError, grouped

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


def check_splits(parts: Sequence, names: Sequence[str]) -> None:
    """Raise UserError if a class has no training product, or there is nothing to validate on or
    to predict; warn of classes that are missing in one of those. parts are [(training, validation,
    test)],
    the classes of the products there."""
    counts = [[np.bincount(labels, minlength=len(names)) for labels in part] for part in parts]
    for train, validation, predicted in counts:
        for name, trained, validated, tested in zip(names, train, validation, predicted):
            if not trained:
                raise UserError(
                    f"{name} has nothing to train on (0 training, {validated} "
                    f"validation, {tested} test): leave it out, or add to it"
                )
        smallest = min(range(len(names)), key=lambda i: train[i])
        have = (
            f"{names[smallest]} has {train[smallest]} training, "
            f"{validation[smallest]} validation and {predicted[smallest]} test"
        )
        for what, products in (("validation", validation), ("test", predicted)):
            if not products.sum():
                raise UserError(
                    f"there are too few products to split: the {what} set is empty "
                    f"({have}). Load more"
                )
    if len(names) < 2:
        raise UserError(
            f"there is nothing to tell apart: {names[0]} is the only category; name two or more"
        )
    if len(parts) == 1:
        train, validation, predicted = counts[0]
        with grouped(
            lambda count, names, reason: (
                f"warning: {names} examples"
                if count == 1
                else f"warning: {count} categories have {reason}: {names}"
            )
        ) as tell:
            for name, trained, validated, tested in zip(names, train, validation, predicted):
                if not (validated and tested):
                    tell(
                        "no validation or no test examples",
                        f"{name} has {trained} training, {validated} validation and {tested} test",
                    )


def few_folds_text(folds: int) -> str:
    """Why nothing is promised by so few folds, in words."""
    return (
        f"with {folds} folds each model learns from {100 * (folds - 2) / folds:.0f} % of the "
        "products, and the one that files learns from all and is much surer, so their scores "
        f"cannot be compared; train with --folds 10 ({FEWEST_FOLDS} at least)"
    )
