"""A floor for every leaf: a leaf is shut if clearly fewer than that are right of what is filed there.

In: independent predictions, and the floor, the share that has to be right at each leaf. Out: the
leaves that are shut, and thresholds that are certified for the others. Numpy only. The leaves are
chosen on products that do not certify what is left; otherwise the promise would be broken too often
(tests/test_floors.py). figures.py and guarantees.py file by it:

    python categorize_words.py --apply 1 --floor 90
    python analyze.py --experiment 1 --floor 90
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation import certificates
from learning import metrics

STEP = 16  # of the candidates of a certificate every so many are tried: a quarter in log-odds
CLEARLY = 0.05  # how likely so few right ones may be at most, if as many as the floor were right
Rows = NDArray[np.void]  # a structured array, [n] of figures.ROW
# {leaf: (products that chose and are accepted there, right ones of them)} of the leaves shut.
Shut = dict[int, tuple[int, int]]
# A certificate: (rows, confidence, lowest threshold that it may give) -> its thresholds.
Certificate = Callable[[Rows, float, float], Sequence[float]]


class Rule(NamedTuple):
    """By what products are filed."""

    thresholds: Sequence[float]
    shut: Shut = {}
    unfit_parents: tuple[int, ...] = ()  # shut leaves that are their own and no other leaf's parent


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


def chooses(groups: ArrayLike) -> NDArray[np.bool_]:
    """bool [n]: whether a group, a number from 0 on, chooses the leaves that are shut, and does not
    certify what is left. Half of them do, by a draw that has seen no score."""
    numbers = np.asarray(groups)
    half = np.random.default_rng(20).random(int(numbers.max(initial=-1)) + 1) < 0.5
    return half[numbers]


def unfit_parents(shut: Shut, above: NDArray[np.int64]) -> tuple[int, ...]:
    """Leaves without a parent that are shut: to file a product at one of those as its own parent
    would mean the same. above are figures.parent_codes."""
    return tuple(leaf for leaf in shut if above[leaf] == leaf and (above == leaf).sum() == 1)


def without_shut(rows: Rows, rule: Rule) -> Rows:
    """The rows as they are filed: a leaf that is shut has the score -1, like one that is not there
    today, so that no threshold is reached."""
    if not rule.shut:
        return rows
    rows = rows.copy()
    rows["score"][np.isin(rows["predicted"], list(rule.shut))] = -1
    rows["parent_score"][np.isin(rows["parent"], rule.unfit_parents)] = -1
    return rows


def certify(
    independent: Rows,
    choosers: Rows | None,
    above: NDArray[np.int64],
    target: float,
    floor: float,
    confidence: float,
    certificate: Certificate,
) -> Rule:
    """The Rule of independent rows: which leaves are shut, and what the certificate gives for the
    rows without those. With a floor of 0 no leaf is shut.

    choosers are independent rows that certify nothing and choose the leaves. Without any (None),
    one half of the rows chooses. Then there are two cases: if no leaf is shut, all rows certify,
    otherwise the other half does. Each case has half of the error probability, so both together
    are broken seldom enough (Bonferroni). If there is nothing to shut, which is usual at a high
    target, this costs less than to certify by a half always.
    """
    if not floor:
        return Rule(certificate(independent, confidence, 0.0))
    if choosers is not None:
        lowest, shut = choose(choosers, target, floor)
    else:
        half, confidence = chooses(independent["group"]), (1 + confidence) / 2
        lowest, shut = choose(independent[half], target, floor)
        independent = independent[~half] if shut else independent
    rule = Rule((), shut, unfit_parents(shut, above))
    return rule._replace(
        thresholds=certificate(without_shut(independent, rule), confidence, lowest)
    )
