"""Which products train, which validate, and which are predicted; the same for all classifiers.

In: keys of groups (or clusters), so that what shares a key is never parted. Out: row numbers.
"""
import hashlib

import numpy as np

from common.terminal import UserError, grouped

FEWEST_FOLDS = 5   # with fewer, their models learn from half of the products or less


def split_position(key):
    """A group's place u in [0, 1), the same for all scripts, seeds and times."""
    digest = hashlib.sha256(key.encode("utf-8", "replace")).digest()
    return (int.from_bytes(digest[:7], "big") >> 3) / 2 ** 53


def splits(u, folds=None, testing=.1, validation=.1):
    """[(training rows, validation rows, rows to predict)] of products at positions u [n].

    Without folds one: u < testing is predicted, the next `validation` of it validates, the rest
    trains. With folds K: fold = floor(u K); fold i is predicted by a model validated on fold i + 1
    and trained on the rest.
    """
    u = np.asarray(u)
    if not folds:
        return [(np.flatnonzero(u >= testing + validation),
                 np.flatnonzero((u >= testing) & (u < testing + validation)),
                 np.flatnonzero(u < testing))]
    fold = np.floor(u * folds).astype(int)
    return [(np.flatnonzero((fold != i) & (fold != (i + 1) % folds)),
             np.flatnonzero(fold == (i + 1) % folds), np.flatnonzero(fold == i))
            for i in range(folds)]


def check_splits(parts, names):
    """Raise UserError where a class has no training product, or nothing is there to validate on or
    to predict; warn of classes that one of those lacks. parts are [(training, validation, test)],
    the classes of the products there."""
    counts = [[np.bincount(labels, minlength=len(names)) for labels in part] for part in parts]
    for train, validation, predicted in counts:
        for name, *n in zip(names, train, validation, predicted):
            if not n[0]:
                raise UserError(f"{name} has nothing to train on ({n[0]} training, {n[1]} "
                                f"validation, {n[2]} test): leave it out, or add to it")
        smallest = min(range(len(names)), key=lambda i: train[i])
        have = f"{names[smallest]} has {train[smallest]} training, " \
               f"{validation[smallest]} validation and {predicted[smallest]} test"
        for what, n in (("validation", validation), ("test", predicted)):
            if not n.sum():
                raise UserError(f"the {what} set is empty ({have}): there is too little to part")
    if len(names) < 2:
        raise UserError(f"there is nothing to tell apart: {names[0]} is the only category; name "
                        "two or more")
    if len(parts) == 1:
        train, validation, predicted = counts[0]
        with grouped(lambda count, names, reason: f"warning: {names} examples" if count == 1 else
                     f"warning: {count} categories have {reason}: {names}") as tell:
            for name, *n in zip(names, train, validation, predicted):
                if not (n[1] and n[2]):
                    tell("no validation or no test examples", f"{name} has {n[0]} training, {n[1]} "
                         f"validation and {n[2]} test")


def few_folds_text(folds):
    """Why nothing is promised by so few folds, in words."""
    return (f"with {folds} folds each model learns from {100 * (folds - 2) / folds:.0f} % of the "
            "products, and the one that files learns from all and is much surer, so their scores "
            f"cannot be compared; train with --folds 10 ({FEWEST_FOLDS} at least)")
