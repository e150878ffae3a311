"""Certified coverage: thresholds that hold for products to come, from labelled products.

In: scores of independent products that no model has seen, and whether their predictions are right.
Out: the lowest threshold above which, with the given confidence, the target accuracy holds for
products to come. Numpy only. figures.py shows the thresholds, guarantees.py and filing.py file by
them:

    python analyze.py --experiment 1
    python categorize_words.py --apply 1 --target 95
"""

from __future__ import annotations

import bisect
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from learning import metrics

# Where testing starts, in log-odds above the target's, and with which share of delta. The surest
# products are often wrongly labelled ones, so it must also start further down; where a classifier
# boasts, so that its scores are too high, it must start high up. Chosen on two public catalogues
# and in drawn worlds (results/README.md).
STARTS = {6.0: 0.1, 2.0: 0.2, 1.0: 0.2, 0.0: 0.2, -1.0: 0.2, -2.0: 0.1}
# Of delta, the shares of the leaf, of the parent below it, and of the parent if no leaf is filed.
LEAF, PARENT, ALONE = 0.6, 0.3, 0.1


class Thresholds(NamedTuple):
    """The scores that a product has to reach. A value is inf if nothing can be promised there."""

    leaf: float  # the leaf's score, to file a product at its leaf
    below: float  # the parent's promise is about products whose leaf's score is below this
    parent: float  # the parent's score, to file one of those at its parent
    alone: float  # the parent's score, to file any product at its parent, if no leaf is filed


NO_THRESHOLDS = Thresholds(math.inf, math.inf, math.inf, math.inf)


def one_of_each(groups: ArrayLike, seed: int = 0) -> NDArray[np.int64]:
    """Row numbers, ascending, of one product of each group, drawn at random; groups int [n]."""
    codes = np.asarray(groups)
    order = np.random.default_rng(seed).permutation(len(codes))
    _, first = np.unique(codes[order], return_index=True)
    return np.sort(order[first])


def candidates(target: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(thresholds from the strictest to 0, the share of delta with which testing starts at each).

    They are fixed before any score is seen; otherwise the bound would not hold. They are steps of
    1/64 in log-odds, from 8 above to 8 below the target's. A calibrated score has its threshold
    not far from the target's log-odds.
    """
    odds = np.arange(8, -8.01, -1 / 64)
    thresholds = 1 / (1 + np.exp(-(math.log(target / (1 - target)) + odds)))
    return np.append(thresholds, 0.0), np.array(
        [*(STARTS.get(float(place), 0.0) for place in odds), 0.0]
    )


def counts_above(
    score: ArrayLike, right: ArrayLike, thresholds: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(products with at least that score, wrong ones among them) for each threshold."""
    # There are a thousand thresholds and up to millions of scores, so these are counted, not sorted.
    order = np.argsort(thresholds, kind="stable")
    reached = np.searchsorted(thresholds[order], np.asarray(score), side="right")
    counts = []
    for reaching in (reached, reached[~np.asarray(right, bool)]):
        at_least = np.empty(len(order), np.int64)
        at_least[order] = np.bincount(reaching, minlength=len(order) + 1)[::-1].cumsum()[-2::-1]
        counts.append(at_least)
    return counts[0], counts[1]


def last_certified(
    taken: NDArray[np.number],
    wrong: NDArray[np.number],
    shares: NDArray[np.float64],
    target: float,
    delta: float,
    tested: int | None = None,
) -> int | None:
    """The number of the last candidate that is certified, or None. See `certify`.

    taken and wrong [candidates]: how many products each candidate takes, and how many of those are
    wrong. shares: with which share of delta testing starts there. Only the first `tested` candidates
    are tested, all if that is None.
    """
    last, level = None, 0.0
    for j in range(len(taken) if tested is None else tested):
        level += delta * shares[j]
        # Beyond the mean the tail is more than a half, and no level is that large.
        hopeful = level and wrong[j] < taken[j] * (1 - target)
        if hopeful and metrics.binomial_cdf(int(wrong[j]), int(taken[j]), 1 - target) <= level:
            last = j
        else:
            level = 0.0
    return last


def certify(
    score: ArrayLike, right: ArrayLike, target: float, delta: float, lowest: float = 0.0
) -> float:
    """The lowest threshold at which, with confidence 1 - delta, at least `target` of all products
    with such a score are right; inf if none can be promised. It is at least `lowest`.

    The products must be independent and must not have served to fit the scores. If they are
    `one_of_each` group, the promise is for one product of each group too: if the large groups are
    the worse ones, more than that may be wrong of all their products.

    Each candidate is a null hypothesis 'more than 1 - target are wrong', whose exact p-value is a
    binomial tail. The candidates are tested from the strictest on. Testing starts at the STARTS,
    which share delta, and a hypothesis that is rejected hands its share on to the next (the
    fallback procedure of Wiens and Dmitrienko, J. Biopharm. Stat. 15, 2005, which holds whatever
    the tests' dependence; fixed-sequence testing as in Angelopoulos et al., Learn then Test, 2021).

    The promise is about all products to come. The accuracy of a batch of them also varies by
    chance: of a batch as large as the labelled products too many are wrong about as seldom
    (tests/test_certificates.py), of a smaller one more often.
    """
    thresholds, shares = candidates(target)
    last = last_certified(
        *counts_above(score, right, thresholds),
        shares,
        target,
        delta,
        int((thresholds >= lowest).sum()),
    )
    return math.inf if last is None else float(thresholds[last])


def certify_fallback(
    score: NDArray[np.float64],
    right: NDArray[np.bool_],
    parent_score: NDArray[np.float64],
    parent_right: NDArray[np.bool_],
    target: float,
    delta: float,
    lowest: float = 0.0,
) -> Thresholds:
    """The Thresholds with which, with confidence 1 - delta, at least `target` are right of what is
    filed at leaves, and of what is filed at parents. All arrays are [n], of independent products.
    The leaf's threshold is at least `lowest`.

    Leaf and parent share delta (LEAF, PARENT, ALONE). The leaf's threshold depends on the same
    products, but its tests go from the highest score down: a run of tests that ends at a
    candidate has seen no product below it, so those are still a fair sample of what scores less (a
    stopping time). The parent is certified on them: `certify_parent`. The few products between the
    last candidate that was certified and the one at which the run ended are not a fair sample, and
    are filed at neither.
    """
    thresholds, shares = candidates(target)
    tested = int((thresholds >= lowest).sum())
    counts = counts_above(score, right, thresholds)
    last = last_certified(*counts, shares, target, LEAF * delta, tested)
    leaf, below = math.inf, math.inf
    if last is not None:
        leaf, below = map(float, np.append(thresholds, 0)[[last, last + 1]])
    return certify_parent(leaf, below, score, parent_score, parent_right, target, delta)


def certify_parent(
    leaf: float,
    below: float,
    score: NDArray[np.float64],
    parent_score: NDArray[np.float64],
    parent_right: NDArray[np.bool_],
    target: float,
    delta: float,
) -> Thresholds:
    """The Thresholds of certify_fallback, of which those of the leaf are known.

    A run is a series of tests from one start on. The parent may follow on each of the leaf's runs,
    of which there are as many as starts. So these share the parent's part (Bonferroni).
    """
    alone = certify(parent_score, parent_right, target, ALONE * delta)
    rest = score < below
    parent = alone
    if below < math.inf:
        parent_delta = PARENT * delta / len(STARTS)
        parent = certify(parent_score[rest], parent_right[rest], target, parent_delta)
    return Thresholds(leaf, below, parent, alone)


def single_levels(delta: float, leaf: bool) -> tuple[float, float]:
    """(level of a single test of the leaf, of the parent) in certify_fallback at the start with the
    largest share; `leaf` says whether something is filed at leaves."""
    share = max(STARTS.values())
    return LEAF * delta * share, (PARENT / len(STARTS) if leaf else ALONE) * delta * share


def nearest(
    score: NDArray[np.float64], right: NDArray[np.bool_], target: float, level: float
) -> tuple[float, int, int]:
    """(threshold, products taken, wrong ones) of the candidate that comes nearest to a certificate
    by tests at this level; (inf, 0, 0) without products.

    It is the one at which so few errors would be least likely if more than 1 - target were wrong.
    Candidates that take fewer products than a certificate needs count only if there are no others:
    this tells a few products that are nearly all right from many that are not.
    """
    thresholds, _ = candidates(target)
    taken, wrong = counts_above(score, right, thresholds)
    if not len(score):
        return math.inf, 0, 0
    eligible = [j for j, n in enumerate(taken) if most_wrong(int(n), target, level) >= 0]
    if not eligible:
        eligible = [j for j, n in enumerate(taken) if n]
    if not eligible:
        eligible = [len(taken) - 1]

    def tail_and_error_rate(j: int) -> tuple[float, float]:
        """The error rate decides between tails that are all 1."""
        return (
            metrics.binomial_cdf(int(wrong[j]), int(taken[j]), 1 - target),
            wrong[j] / max(1, taken[j]),
        )

    best = min(eligible, key=tail_and_error_rate)
    return float(thresholds[best]), int(taken[best]), int(wrong[best])


def most_wrong(taken: int, target: float, level: float) -> int:
    """How many of `taken` products may be wrong at most, so that a test at this level certifies
    them; -1 if even zero are too many."""

    def fails(wrong: int) -> bool:
        return metrics.binomial_cdf(wrong, taken, 1 - target) > level

    return bisect.bisect_left(range(taken), True, key=fails) - 1


def products_needed(
    score: NDArray[np.float64],
    right: NDArray[np.bool_],
    target: float,
    delta: float,
    most: int = 1_000_000,
) -> int | None:
    """About how many products it would take to certify something, if all were like these; None if
    even `most` would not suffice."""
    thresholds, shares = candidates(target)
    taken, wrong = counts_above(score, right, thresholds)
    times = 1.0
    while len(score) and times * len(score) <= most:
        if (
            last_certified(np.floor(taken * times), np.ceil(wrong * times), shares, target, delta)
            is not None
        ):
            return math.ceil(times * len(score))
        times *= 1.1
    return None


def fewest(target: float, delta: float) -> int:
    """How many products must be accepted, all right, before one threshold can be certified: the
    smallest n with target ** n <= delta (149 for .98 and .05)."""
    return math.ceil(math.log(delta) / math.log(target))
