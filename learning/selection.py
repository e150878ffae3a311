"""Which products an experiment is about, their labels, and the parts that train and are predicted.

In: crawl.db, and what was asked for. Out: Products and Parts, as row numbers. The three classifiers
choose by it, so that their experiments can be compared product by product.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np

import db
from common.terminal import UserError, counted, log
from learning import category_tree, left_out, near_duplicates, queries, split
from learning.category_tree import Rule
from learning.split import FEWEST_FOLDS, check_splits, few_folds_text, split_position, splits

CERTIFYING = 0.15  # place in the split from which on validation (.1 to .2) is kept for thresholds


class Wanted(NamedTuple):
    """Which products an experiment is asked to be about."""

    categories: list[str]  # names of classes; none: all that are large enough
    min_products: int  # of a class, and as many styles, if none is named
    folds: int | None
    rule: Rule = Rule()  # which categories are classes
    by_cluster: bool = True  # what the split keeps whole: clusters of near-duplicates, or groups
    trust_filed: bool = False  # labels of products that --apply filed before are the shop's own


class Products(NamedTuple):
    """The products of an experiment, n of them, and the classes they are filed in. A class is
    called a leaf also if there are categories below it."""

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
    category_changes: int = 0  # queries.last_category_change at that time
    rule: Rule = Rule()  # which categories count as these leaves


LABELLED = np.dtype([("id", "i8"), ("label", "i4"), ("taught", "i4"), ("u", "f8"), ("filed", "?")])


class Part(NamedTuple):
    """One split, as row numbers. Only labels as crawled are predicted and certified on."""

    training: np.ndarray
    tuning: np.ndarray  # the validation that early stopping and the temperature see
    certifying: np.ndarray  # the validation kept for thresholds alone; none with folds
    test: np.ndarray


def make_products(
    rows: Iterable[Sequence], leaves: Sequence[str], parents: dict[str, str]
) -> Products:
    """Products from rows (id, category id, group key, category id to train on, and if known whether
    --apply filed the product before) and {leaf: parent}. Of each row 25 bytes are kept. Raises
    UserError without any."""
    number = {leaf: index for index, leaf in enumerate(leaves)}
    table = np.fromiter(
        (
            (
                row[0],
                number.get(row[1], -1),
                number.get(row[3], -1),
                split_position(row[2]),
                len(row) > 4 and row[4],
            )
            for row in rows
        ),
        LABELLED,
    )
    if not len(table):
        raise UserError("no products are filed in these categories; crawl them first")
    return Products(
        table["id"].copy(),
        table["label"].copy(),
        table["taught"].copy(),
        table["u"].copy(),
        leaves=list(leaves),
        parents=[parents.get(leaf, leaf) for leaf in leaves],
        filed=table["filed"].copy(),
    )


def by_cluster(products: Products, near: near_duplicates.Clusters) -> Products:
    """The products of make_products, split by the keys of clusters in the place of group keys."""
    cluster, u = dict(zip(near.ids, near.keys)), products.u.copy()
    for place in np.flatnonzero(np.isin(products.ids, near.ids)):
        u[place] = split_position(cluster[int(products.ids[place])])
    return products._replace(u=u, near=near)


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
        [(part.training, np.append(part.tuning, part.certifying), part.test) for part in parts],
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


def unlearnable(products: Products, folds: int | None) -> set[str]:
    """The leaves that can't be learned by these products: see split.unlearnable."""
    lost = split.unlearnable(products.taught, products.u, len(products.leaves), folds)
    return {products.leaves[leaf] for leaf in lost}


def trainable(
    products: Products, folds: int | None, usable: np.ndarray | None = None, of: str = ""
) -> Products:
    """The products without the leaves that can't be learned, which are warned of; the same if there
    are none. Of the products only those count that a bool array `usable` [n] picks; `of` says in
    words what counts as a product. Raises UserError if fewer than two leaves remain."""
    considered = products if usable is None else take_products(products, usable)
    lost = unlearnable(considered, folds)
    if not lost:
        return products
    sizes = sizes_of(considered)
    if len(products.leaves) - len(lost) < 2:
        raise UserError(left_out.too_few_text(sizes, lost, folds, of))
    log(left_out.warning_text({leaf: sizes[leaf] for leaf in lost}, len(sizes), folds, of))
    return without_leaves(products, lost)


def sizes_of(products: Products) -> dict[str, tuple[int, int]]:
    """{leaf: (products that are taught there, different places in the split)}."""
    order = np.argsort(products.taught, kind="stable")
    taught = products.taught[order]
    begins = np.searchsorted(taught, np.arange(len(products.leaves) + 1))
    return {
        leaf: (int(end - begin), len(np.unique(products.u[order[begin:end]])))
        for leaf, begin, end in zip(products.leaves, begins, begins[1:])
    }


def without_leaves(products: Products, lost: set[str]) -> Products:
    """The products without these leaves, and without what is filed or taught in those only."""
    kept = [number for number, leaf in enumerate(products.leaves) if leaf not in lost]
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
    """The Products of an experiment. Raises UserError for names that are unknown, and if fewer than
    two classes can be learned. What the reader has to know of the choice goes to stderr."""
    queries.settle_proposals(conn)
    category_changes = queries.last_category_change(conn)
    sizes = queries.class_sizes(conn, wanted.rule)
    if not sizes and not wanted.categories:
        raise UserError("no product has a category: load some that have one with crawl.py")
    leaves = choose_leaves(conn, wanted, sizes)
    if len(leaves) < 2:
        raise UserError(stopped_text(conn, wanted, sizes, leaves, ()))
    regroupings, near = db.last_regrouping(conn), None
    products = read_products(conn, wanted, leaves)
    if wanted.by_cluster:  # clusters of all products, whatever the categories are
        near = near_duplicates.find_clusters(queries.catalogue(conn))
        for line in near_duplicates.report_lines(near.report):
            log(line)
    products, poor = split_products(products, near, wanted.folds)
    lost = unlearnable(products, wanted.folds)
    split_sizes = sizes_of(products)  # by clusters, which are what can't be split
    sizes = {**sizes, **{leaf: split_sizes[leaf] for leaf in lost}}
    if len(leaves) - len(lost) < 2:
        raise UserError(stopped_text(conn, wanted, sizes, leaves, lost))
    if lost:
        leaves = [leaf for leaf in leaves if leaf not in lost]
        products = read_products(conn, wanted, leaves)
        products, poor = split_products(products, near, wanted.folds)
    if poor and products.near and products.near.report["parted for training"]:
        log(
            "warning: with whole clusters of near-duplicates there would be nothing to train "
            f"on in {', '.join(sorted(poor))}: theirs are split by group, so the test flatters "
            "there"
        )
    if wanted.folds and wanted.folds < FEWEST_FOLDS:
        log(
            f"warning: --apply will file nothing by this experiment: {few_folds_text(wanted.folds)}"
        )
    for line in left_out.lines(sizes, leaves, lost, asked_min_products(wanted), wanted.folds):
        log(line)
    if wanted.rule.leaves_only and (above := queries.count_at_inner(conn)):
        log(
            f"--leaves-only: {counted(above, 'product')} at categories that have others below them "
            "take no part. The model cannot know them, and --apply counts such products as errors"
        )
    if products.filed is not None and products.filed.any():
        rows = queries.labelled_products(conn, leaves, wanted.trust_filed, wanted.rule)
        log(
            f"--apply filed {products.filed.sum()} of the {len(products.ids)} products before they "
            f"had a category, and the shop has corrected {sum(row['corrected'] for row in rows)} of "
            "those: the "
            "model learns from all of them, but no figure and no promise rests on them "
            "(--trust-filed takes these labels as the shop's own)"
        )
    return products._replace(
        regroupings=regroupings, category_changes=category_changes, rule=wanted.rule
    )


def read_products(conn: sqlite3.Connection, wanted: Wanted, leaves: Sequence[str]) -> Products:
    """The Products of these leaves, split by group. Raises UserError without any."""
    rows = queries.labelled_products(conn, leaves, wanted.trust_filed, wanted.rule)
    return make_products(rows, leaves, category_tree.parents(conn, wanted.rule))


def choose_leaves(conn: sqlite3.Connection, wanted: Wanted, sizes: left_out.Sizes) -> list[str]:
    """The classes that are wanted, in path order: the named ones, or all that have enough products
    and styles by sizes, which are queries.class_sizes."""
    if wanted.categories:
        return category_tree.classes_called(conn, wanted.categories, wanted.rule)
    large = {leaf for leaf, size in sizes.items() if min(size) >= wanted.min_products}
    classes = category_tree.counts_as(conn, wanted.rule).values()
    return [leaf for leaf in dict.fromkeys(classes) if leaf in large]


def asked_min_products(wanted: Wanted) -> int | None:
    """The size that a class needs, None if classes were named, which are not bound by it."""
    return None if wanted.categories else wanted.min_products


def stopped_text(
    conn: sqlite3.Connection,
    wanted: Wanted,
    sizes: left_out.Sizes,
    leaves: Sequence[str],
    lost: Collection[str],
) -> str:
    """Why there is nothing to train on: see left_out.stopped_text."""
    deepest = max((len(category_tree.levels(row)) for row in db.categories(conn)), default=0)
    depths = range(1, min(deepest, wanted.rule.depth or deepest))
    by_depth = {
        depth: queries.class_sizes(conn, wanted.rule._replace(depth=depth)) for depth in depths
    }
    return left_out.stopped_text(
        sizes, leaves, lost, asked_min_products(wanted), wanted.folds, by_depth
    )


def split_products(
    products: Products, near: near_duplicates.Clusters | None, folds: int | None
) -> tuple[Products, set[str]]:
    """The products of make_products, split by clusters if there are some, and the leaves that whole
    clusters would leave nothing to train on. The clusters of those leaves are split by group."""
    if near is None:
        return products, set()
    clustered = by_cluster(products, near)
    poor = untaught(clustered, folds) | unlearnable(clustered, folds)
    if poor:
        codes = [code for code, leaf in enumerate(products.leaves) if leaf in poor]
        theirs = products.ids[np.isin(products.taught, codes)]
        clustered = by_cluster(products, near_duplicates.without(near, set(theirs.tolist())))
    return clustered, poor
