"""Which products an experiment is about, their labels, and the parts that train and are predicted.

In: crawl.db, and what was asked for. Out: Products and Parts, as row numbers. The three classifiers
choose by it, so that their experiments can be compared product by product.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np

import db
from common.terminal import UserError, counted, first_few, log
from learning import category_tree, near_duplicates, queries
from learning.split import FEWEST_FOLDS, check_splits, few_folds_text, split_position, splits

CERTIFYING = 0.15  # place in the split from which on validation (.1 to .2) is kept for thresholds


class Wanted(NamedTuple):
    """Which products an experiment is asked to be about."""

    categories: list[str]  # names of leaves; none: all that are large enough
    min_products: int  # of a leaf, if none is named
    folds: int | None
    by_cluster: bool = True  # what the split keeps whole: clusters of near-duplicates, or groups
    trust_filed: bool = False  # labels of products that --apply filed before are the shop's own


class Products(NamedTuple):
    """The products of an experiment, n of them, and the leaves they are filed in."""

    ids: np.ndarray  # int64 [n]
    labels: np.ndarray  # int32 [n], index into leaves; -1: filed elsewhere, here by a person's
    #                       word, or filed by --apply before: the label may be its own answer
    taught: np.ndarray  # int32 [n], the same after a person's overrides, for training; -1: none
    u: np.ndarray  # float [n], place in the split
    leaves: list[str]  # category ids
    parents: list[str]  # of the leaves, category ids
    near: near_duplicates.Clusters | None = None  # None: split by group
    filed: np.ndarray | None = None  # bool [n], --apply filed the product before; None: it did not
    regroupings: int = 0  # db.last_regrouping when the products were read


class Part(NamedTuple):
    """One split, as row numbers. Only labels as crawled are predicted and certified on."""

    training: np.ndarray
    tuning: np.ndarray  # the validation that early stopping and the temperature see
    certifying: np.ndarray  # the validation kept for thresholds alone; none with folds
    test: np.ndarray


def make_products(
    rows: Sequence,
    leaves: Sequence[str],
    parents: dict[str, str],
    near: near_duplicates.Clusters | None = None,
) -> Products:
    """Products from rows (id, category id, group key, category id to train on), {leaf: parent} and
    their Clusters, whose keys take the place of group keys. Raises UserError without any."""
    if not rows:
        raise UserError("no products are filed in these categories; crawl them first")
    number = {leaf: index for index, leaf in enumerate(leaves)}
    cluster = dict(zip(near.ids, near.keys)) if near else {}
    return Products(
        np.array([row[0] for row in rows], np.int64),
        np.array([number.get(row[1], -1) for row in rows], np.int32),
        np.array([number.get(row[3], -1) for row in rows], np.int32),
        np.array([split_position(cluster.get(row[0], row[2])) for row in rows]),
        list(leaves),
        [parents.get(leaf, leaf) for leaf in leaves],
        near,
    )


def take_products(products: Products, chosen: np.ndarray) -> Products:
    """The products that a bool array [n] picks."""
    return products._replace(
        ids=products.ids[chosen],
        labels=products.labels[chosen],
        taught=products.taught[chosen],
        u=products.u[chosen],
        filed=None if products.filed is None else products.filed[chosen],
    )


def checked_splits(products: Products, folds: int | None) -> list[Part]:
    """The Parts of an experiment. Raises UserError if they can't be used."""
    parts = []
    for training, validation, test in splits(products.u, folds):
        training = training[products.taught[training] >= 0]
        validation = validation[products.taught[validation] >= 0]
        # u is a hash, so its order cuts validation into two halves by chance.
        kept = products.u[validation] >= (1 if folds else CERTIFYING)
        if kept.all():  # a few products: no threshold is certified on those anyway
            kept[:] = False
        certifying = validation[kept]
        parts.append(
            Part(
                training,
                validation[~kept],
                certifying[products.labels[certifying] >= 0],
                test[products.labels[test] >= 0],
            )
        )
    check_splits(
        [
            (
                products.taught[part.training],
                products.taught[np.append(part.tuning, part.certifying)],
                products.labels[part.test],
            )
            for part in parts
        ],
        products.leaves,
    )
    return parts


def untaught(products: Products, folds: int | None) -> set[str]:
    """The leaves that have nothing to train on in some split."""
    leaves = np.arange(len(products.leaves))
    return {
        products.leaves[leaf]
        for training, _, _ in splits(products.u, folds)
        for leaf in np.setdiff1d(leaves, products.taught[training])
    }


def too_few_groups(products: Products, folds: int | None, of: str = "") -> set[str]:
    """The untaught leaves, to be left out, with a warning; none if fewer than two would remain,
    because checked_splits then says what is wrong. `of` says what counts as a product here."""
    few = untaught(products, folds)
    if not few or len(products.leaves) - len(few) < 2:
        return set()
    names = []
    for number, leaf in enumerate(products.leaves):
        if leaf in few:
            groups = len(np.unique(products.u[products.taught == number]))
            names.append(f"{leaf} ({counted(groups, 'group')})")
    if len(names) == 1:
        sentence = f"{names[0]} is left out, because it has"
    else:
        sentence = f"{len(names)} categories are left out, because they have"
    listed = f": {first_few(names)}" if len(names) > 1 else ""
    needed = "A category needs a group among the 80 % that are for training"
    if folds:
        needed = "Groups in 3 different folds are enough for a category"
    log(f"warning: {sentence} too few groups of products{of} to be split{listed}. {needed}")
    return few


def trainable(
    products: Products, folds: int | None, usable: np.ndarray | None = None, of: str = ""
) -> Products:
    """The products without the leaves that have too few groups, which are warned of; the same if
    there are none. Of the products only those count that a bool array `usable` [n] picks."""
    few = too_few_groups(products if usable is None else take_products(products, usable), folds, of)
    if not few:
        return products
    kept = [number for number, leaf in enumerate(products.leaves) if leaf not in few]
    number = np.full(len(products.leaves) + 1, -1, np.int32)  # the last is for -1
    number[kept] = np.arange(len(kept))
    fewer = products._replace(
        labels=number[products.labels],
        taught=number[products.taught],
        leaves=[products.leaves[leaf] for leaf in kept],
        parents=[products.parents[leaf] for leaf in kept],
    )
    return take_products(fewer, (fewer.labels >= 0) | (fewer.taught >= 0))


def certifies(group_key: str) -> bool:
    """Whether products of this group or cluster are kept for certifying, without folds."""
    return CERTIFYING <= split_position(group_key) < 0.2


def choose_products(conn: sqlite3.Connection, wanted: Wanted) -> Products:
    """The Products of an experiment. Raises UserError for names that are unknown, and if nothing is
    filed there. What the reader has to know of the choice goes to stderr."""
    queries.settle_proposals(conn)
    leaves = [
        leaf["id"]
        for leaf in category_tree.choose_leaves(conn, wanted.categories, wanted.min_products)
    ]
    regroupings, near = db.last_regrouping(conn), None
    rows = queries.labelled_products(conn, leaves, wanted.trust_filed)
    if rows and wanted.by_cluster:  # clusters of all products, whatever the categories are
        near = near_duplicates.find_clusters(queries.catalogue(conn))
        for line in near_duplicates.report_lines(near.report):
            log(line)
    parents = category_tree.parents(conn)
    products, poor = split_products(rows, leaves, parents, near, wanted.folds)
    left_out = too_few_groups(products, wanted.folds)
    if left_out:
        leaves = [leaf for leaf in leaves if leaf not in left_out]
        rows = queries.labelled_products(conn, leaves, wanted.trust_filed)
        products, poor = split_products(rows, leaves, parents, near, wanted.folds)
    if poor and products.near and products.near.report["parted for training"]:
        log(
            "warning: with whole clusters of near-duplicates there would be nothing to train "
            f"on in {', '.join(sorted(poor))}: theirs are split by group, so the test flatters "
            "there"
        )
    filed = np.array([row["filed"] for row in rows], bool)
    if wanted.folds and wanted.folds < FEWEST_FOLDS:
        log(
            f"warning: --apply will file nothing by this experiment: {few_folds_text(wanted.folds)}"
        )
    tell_left_out(
        queries.leaf_sizes(conn),
        leaves,
        None if wanted.categories else wanted.min_products,
        left_out,
    )
    if filed.any():
        log(
            f"--apply filed {filed.sum()} of the {len(rows)} products before they had a category, "
            f"and the shop has corrected {sum(row['corrected'] for row in rows)} of those: the "
            "model learns from all of them, but no figure and no promise rests on them "
            "(--trust-filed takes these labels as the shop's own)"
        )
    return products._replace(filed=filed, regroupings=regroupings)


def split_products(
    rows: Sequence,
    leaves: Sequence[str],
    parents: dict[str, str],
    near: near_duplicates.Clusters | None,
    folds: int | None,
) -> tuple[Products, set[str]]:
    """The Products of make_products, and the leaves that whole clusters would leave nothing to
    train on. The clusters of those leaves are split by group."""
    products = make_products(rows, leaves, parents, near)
    poor = untaught(products, folds) if near else set()
    if near and poor:
        near = near_duplicates.without(near, {row["id"] for row in rows if row["taught"] in poor})
        products = make_products(rows, leaves, parents, near)
    return products, poor


def tell_left_out(
    sizes: dict[str, int],
    leaves: Sequence[str],
    min_products: int | None,
    too_few: Container[str] = (),
) -> None:
    """Say on stderr what it means that only `leaves` take part, of sizes, {leaf: products}.
    min_products is None if the leaves were named one by one; the leaves too_few have too few groups
    to take part."""
    known, total = sum(sizes.get(leaf, 0) for leaf in leaves), sum(sizes.values())
    if known == total:
        return
    largest = max(
        (size for leaf, size in sizes.items() if leaf not in leaves and leaf not in too_few),
        default=0,
    )
    more = max(2, min(5, largest))
    if min_products is None and largest:
        advice = "name more of them with --categories, or leave that flag out"
    elif largest >= more:
        advice = f"--min-products {more} takes more leaves in"
    else:
        what = "products" if largest else "groups of products"
        advice = f"their leaves need more {what} before a model can learn them"
    log(
        f"{len(leaves)} of {len(sizes)} leaves take part, with {known:,} of {total:,} labelled "
        f"products. The model cannot know the categories of the other {total - known:,}. --apply "
        "counts such products as errors, because new products will be of them, too; " + advice
    )
