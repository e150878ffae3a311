"""A floor for every leaf: one where clearly fewer products are right than that is shut.

In: independent predictions, and the floor, the share that has to be right at each leaf. Out: the
leaves that are shut, and thresholds that are certified for the others. Numpy only. The leaves are
chosen on products that do not certify what is left; otherwise the promise would be broken too often
(tests/test_floors.py). figures.py and guarantees.py file by it:

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
NOTHING_SHUT = 0.8  # of the error probability, the share of the case that no leaf is shut
CLEARLY = 0.05  # how likely so few right ones may be at most, if as many as the floor were right
Rows = NDArray[np.void]  # a structured array, [n] of figures.ROW
# {leaf: (products that chose and are accepted there, right ones of them)} of the leaves shut.
Shut = dict[int, tuple[int, int]]
# A certificate: (rows, confidence, lowest threshold that it may give) -> its thresholds.
Certificate = Callable[[Rows, float, float], Sequence[float]]


class Floor(NamedTuple):
    """What share has to be right at each leaf, and who chooses the leaves that are shut."""

    share: float  # 0: no leaf is shut
    choosers: Rows | None = None  # independent rows that certify nothing; None: half of the others
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
    independent: Rows, target: float, confidence: float, floor: Floor, certificate: Certificate
) -> Certified:
    """Which leaves are shut, and what the certificate gives for independent rows without those.

    If the floor has no choosers of its own, one half of the rows chooses. Then there are two cases:
    if no leaf is shut, all rows certify, otherwise the other half does. They share the error
    probability (NOTHING_SHUT), so both together are broken seldom enough (Bonferroni). If there is
    nothing to shut, which is usual at a high target or with few products, this costs less than to
    certify by a half always. Leaves are shut where products are many, which bears a smaller share.
    """
    lowest, shut = 0.0, Shut()
    if floor.choosers is not None:
        lowest, shut = choose(floor.choosers, target, floor.share)
    elif floor.share:
        half = chooses(independent["product"])
        lowest, shut = choose(independent[half], target, floor.share)
        independent = independent[~half] if shut else independent
        confidence = 1 - (1 - confidence) * (1 - NOTHING_SHUT if shut else NOTHING_SHUT)
    filed = without_shut(independent, shut, floor.lone)
    thresholds = certificate(filed, confidence, lowest)
    return Certified(thresholds, filed, confidence, shut, floor.lone)


def named(shut: Shut, names: Sequence[str]) -> list[dict[str, Any]]:
    """Dicts of category, accepted and right, for JSON: the leaves that are shut, the worst first.
    names are the ids that the leaves are numbers into."""
    worst_first = sorted(shut.items(), key=lambda pair: (pair[1][1] / pair[1][0], names[pair[0]]))
    return [
        {"category": names[leaf], "accepted": accepted, "right": right}
        for leaf, (accepted, right) in worst_first
    ]
