"""A floor for every leaf: one where clearly fewer products are right than that is shut.

In: independent predictions, and the floor, the share that has to be right at each leaf. Out: the
leaves that are shut, and thresholds that are certified. Numpy only. If all leaves together keep the
promise, the worst ones are shut afterwards, which can hardly break it. Otherwise it may be that
they keep it without the worst. Those must be chosen on products that do not certify what is left;
otherwise the promise would be broken too often (tests/test_floors.py). figures.py and guarantees.py
file by it:

    python categorize_words.py --apply 1 --floor 90
    python analyze.py --experiment 1 --floor 90
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation import certificates
from learning import metrics

STEP = 16  # of the candidates of a certificate every so many are tried: a quarter in log-odds
TOGETHER = 0.8  # of the error probability, the share of the case that all leaves certify together
CLEARLY = 0.05  # how likely so few right ones may be at most, if as many as the floor were right
Rows = NDArray[np.void]  # a structured array, [n] of figures.ROW
# {leaf: (products that chose and are accepted there, right ones of them)} of the leaves shut.
Shut = dict[int, tuple[int, int]]
# A certificate: (rows, confidence, lowest threshold that it may give) -> its thresholds, the leaf's
# first.
Certificate = Callable[[Rows, float, float], Sequence[float]]
# (rows without the leaves shut, confidence, thresholds of all rows) -> the thresholds, those below
# the leaf's anew.
Again = Callable[[Rows, float, Sequence[float]], Sequence[float]]


class Floor(NamedTuple):
    """What share has to be right at each leaf, and who chooses the leaves that are shut."""

    share: float  # 0: no leaf is shut
    choosers: Rows | None = None  # independent rows that certify nothing; None: some of the others
    lone: Set[int] = frozenset()  # leaves that are their own and no other leaf's parent


NO_FLOOR = Floor(0.0)


class Certified(NamedTuple):
    """What is certified, and for what."""

    thresholds: Any  # what the Certificate gave
    rows: Rows  # the rows that certified it, as they are filed
    confidence: float  # of the certificate
    shut: Shut = {}
    lone: Set[int] = frozenset()  # those of Floor


def leaf_right(rows: Rows) -> NDArray[np.bool_]:
    """Whether the predicted leaf is right, bool [n]."""
    known = (rows["label"] >= 0) & (rows["predicted"] >= 0)
    return known & (rows["predicted"] == rows["label"])


def choose(rows: Rows, target: float, floor: float) -> tuple[float, Shut]:
    """(lowest threshold, Shut) of independent rows.

    At each threshold those leaves are shut of which clearly less than the floor is right: so few
    that this would have a probability of at most CLEARLY if the share were the floor (a one-sided
    binomial test). The threshold is the one at which the rest holds most rows, `target` of them
    right. Below it further leaves may have to be shut, so nothing may be filed below it. Without
    such a threshold nothing is known: (0, no leaf).
    """
    rows = np.sort(rows[rows["predicted"] >= 0], order="score")[::-1]
    right = leaf_right(rows)
    thresholds = np.append(certificates.candidates(target)[0][:-1:STEP], 0.0)
    ends, _ = certificates.counts_above(rows["score"], right, thresholds)
    most, lowest = 0, 0.0
    shut: Shut = {}
    for j in np.flatnonzero(np.diff(ends, append=-1)):  # the lowest of those that take the same
        counts = np.bincount(rows["predicted"][: ends[j]])
        hits = np.bincount(rows["predicted"][: ends[j]][right[: ends[j]]], minlength=len(counts))
        worse = clearly_worse(hits, counts, floor)
        kept = int(counts.sum() - counts[worse].sum())
        if kept > most and hits.sum() - hits[worse].sum() >= target * kept:
            most, lowest = kept, float(thresholds[j])
            shut = {leaf: (int(counts[leaf]), int(hits[leaf])) for leaf in worse}
    return lowest, shut


def worse_above(rows: Rows, threshold: float, floor: float) -> Shut:
    """The leaves that are clearly worse than the floor among the rows that reach a threshold."""
    accepted = rows[(rows["predicted"] >= 0) & (rows["score"] >= threshold)]
    counts = np.bincount(accepted["predicted"])
    hits = np.bincount(accepted["predicted"][leaf_right(accepted)], minlength=len(counts))
    worse = clearly_worse(hits, counts, floor)
    return {leaf: (int(counts[leaf]), int(hits[leaf])) for leaf in worse}


def clearly_worse(
    hits: NDArray[np.integer], counts: NDArray[np.integer], floor: float
) -> list[int]:
    """The leaves of which clearly less than the floor is right; both are counts [leaves]."""
    return [
        leaf
        for leaf in np.flatnonzero(hits < floor * counts).tolist()
        if metrics.binomial_cdf(int(hits[leaf]), int(counts[leaf]), floor) <= CLEARLY
    ]


def chooses(products: ArrayLike) -> NDArray[np.bool_]:
    """bool [n]: whether a product, an id, chooses the leaves that are shut, and does not certify
    what is left. Half of them do, by a hash that has seen no score. So a product has the same part
    in figures and in filing, however many other products there are."""
    mixed = np.asarray(products).astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # of splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))) & np.uint64(1) == 1


def without_shut(rows: Rows, shut: Collection[int], lone: Set[int]) -> Rows:
    """The rows as they are filed: a leaf that is shut has the score -1, like one that is not there
    today, so that no threshold is reached. The parent's score stays, but not that of a lone leaf:
    to file a product there as at a parent would mean the same. lone are those of Floor."""
    if not shut:
        return rows
    rows = rows.copy()
    rows["score"][np.isin(rows["predicted"], list(shut))] = -1
    rows["parent_score"][np.isin(rows["parent"], [leaf for leaf in shut if leaf in lone])] = -1
    return rows


def certify(
    independent: Rows,
    target: float,
    confidence: float,
    floor: Floor,
    certificate: Certificate,
    again: Again | None = None,
) -> Certified:
    """Which leaves are shut, and what the certificate gives for independent rows.

    If the floor has choosers of its own, they choose what is shut, and the rows certify the rest.
    Otherwise there are two cases: `together` and `apart`. They share the error probability
    (TOGETHER), so both are broken seldom enough (Bonferroni). `apart` counts if it shuts leaves and
    files more of these rows at the others. `again` is for `together`. If the floor is above the
    target, there is only `apart`: a leaf that is shut may be better than what is left.
    """
    if floor.choosers is not None or not floor.share:
        lowest, shut = 0.0, Shut()
        if floor.choosers is not None:
            lowest, shut = choose(floor.choosers, target, floor.share)
        filed = without_shut(independent, shut, floor.lone)
        return Certified(
            certificate(filed, confidence, lowest), filed, confidence, shut, floor.lone
        )
    if floor.share > target:
        return apart(independent, target, confidence, floor, certificate)
    delta = 1 - confidence
    first = together(independent, 1 - TOGETHER * delta, floor, certificate, again)
    second = apart(independent, target, 1 - (1 - TOGETHER) * delta, floor, certificate)
    better = share_filed(second, independent) > share_filed(first, independent)
    return second if second.shut and better else first


def together(
    independent: Rows,
    confidence: float,
    floor: Floor,
    certificate: Certificate,
    again: Again | None,
) -> Certified:
    """All rows certify all leaves; the leaves that are clearly worse than the floor above that
    threshold are shut afterwards.

    That can hardly break the promise, because what is shut is less right than the target, which must
    be no lower than the floor. `again`, if given, certifies the parent once more, which now gets the
    products of those leaves too.
    """
    thresholds = certificate(independent, confidence, 0.0)
    shut = worse_above(independent, thresholds[0], floor.share)
    filed = without_shut(independent, shut, floor.lone)
    if shut and again:
        thresholds = again(filed, confidence, thresholds)
    return Certified(thresholds, filed, confidence, shut, floor.lone)


def apart(
    independent: Rows, target: float, confidence: float, floor: Floor, certificate: Certificate
) -> Certified:
    """One half of the rows chooses what is shut, and the other half certifies the rest. So
    something is promised even if bad leaves spoil the promise of all."""
    half = chooses(independent["product"])
    lowest, shut = choose(independent[half], target, floor.share)
    filed = without_shut(independent[~half], shut, floor.lone)
    return Certified(certificate(filed, confidence, lowest), filed, confidence, shut, floor.lone)


def share_filed(certified: Certified, rows: Rows) -> float:
    """The share of these rows that would be filed at leaves; 0 without rows."""
    filed = without_shut(rows, certified.shut, certified.lone)
    return float((filed["score"] >= certified.thresholds[0]).mean()) if len(filed) else 0.0


def named(shut: Shut, names: Sequence[str]) -> list[dict[str, Any]]:
    """Dicts of category, accepted and right, for JSON: the leaves that are shut, the worst first.
    names are the ids that the leaves are numbers into."""
    worst_first = sorted(shut.items(), key=lambda pair: (pair[1][1] / pair[1][0], names[pair[0]]))
    return [
        {"category": names[leaf], "accepted": accepted, "right": right}
        for leaf, (accepted, right) in worst_first
    ]
