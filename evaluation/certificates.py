"""Coverage that is promised: thresholds that are certified on labelled products.

In: scores of independent products that no model has seen, and whether their predictions are right.
Out: the lowest threshold above which, with the confidence asked for, the target holds of products
to come. Numpy only; figures.py shows them, guarantees.py and filing.py file by them:

    python analyze.py --experiment 1
    python categorize_words.py --apply 1 --target 95
"""
import bisect
import math
from typing import NamedTuple

import numpy as np

from learning import metrics


def one_of_each(groups, seed=0):
    """Row numbers of one product of each group, drawn at random, in ascending order."""
    order = np.random.default_rng(seed).permutation(len(groups))
    _, first = np.unique(np.asarray(groups)[order], return_index=True)
    return np.sort(order[first])


def candidates(target):
    """(thresholds from the strictest to 0, bool array: at which of them testing starts).

    Fixed before any score is seen, or the bound would not hold: steps of 1/64 in log-odds from 8
    above to 8 below the target's, where a calibrated score has its threshold not far from 0.
    """
    odds = np.arange(8, -8.01, -1 / 64)
    thresholds = 1 / (1 + np.exp(-(math.log(target / (1 - target)) + odds)))
    return np.append(thresholds, 0.0), np.append(np.isin(odds, (8, 4, 2, 1, 0, -1, -3)), False)


def counts_above(score, right, thresholds):
    """(products with at least that score, wrong ones among them) for each threshold."""
    order = np.argsort(score, kind="stable")
    below = np.searchsorted(np.asarray(score)[order], thresholds)
    wrong = np.cumsum(np.append(0, ~np.asarray(right, bool)[order]))
    return len(order) - below, wrong[-1] - wrong[below]


def batch_tail(wrong, taken, target):
    """The probability that so few of `taken` labelled products are wrong if, of a batch of new ones
    half as large, more than 1 - target are: P(X <= wrong) of a hypergeometric X, how many of all
    the wrong ones are labelled if every product is equally likely to be new (exact prediction as by
    Thatcher, J. Royal Statistical Society B 26, 1964)."""
    batch = taken // 2
    too_many = math.floor((1 - target) * batch + 1e-9) + 1
    if too_many > batch:   # a batch that cannot be too wrong; it is too small to say so
        return 1.0
    errors, total = wrong + too_many, taken + batch
    choose = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
              for n, k in ((taken, wrong), (batch, too_many), (total, errors))]
    last = math.exp(choose[0] + choose[1] - choose[2])   # P(X = wrong)
    i = np.arange(wrong, 0, -1)   # P(X = i - 1) / P(X = i)
    ratios = i * (batch - errors + i) / ((taken - i + 1) * (errors - i + 1))
    return min(1.0, last * (1 + float(np.cumprod(ratios).sum())))


def certified(taken, wrong, starts, target, delta, batch_delta):
    """The last candidate that is certified, given how many products each takes and how many of
    those are wrong, or None. See `certify`."""
    found, level = None, 0.0
    shares = delta / starts.sum() * starts
    for j in range(len(taken)):
        level += shares[j]
        # Beyond the mean the tail is more than a half, which no level is.
        hopeful = level and wrong[j] < taken[j] * (1 - target)
        if hopeful and metrics.binomial_cdf(int(wrong[j]), int(taken[j]), 1 - target) <= level \
                and batch_tail(int(wrong[j]), int(taken[j]), target) <= batch_delta:
            found = j
        else:
            level = 0.0
    return found


def certify(score, right, target, delta, batch_delta=None):
    """The lowest threshold at which, with confidence 1 - delta, at least `target` of all products
    with such a score are right; inf if none can be promised.

    The products must be independent and must not have served to fit the scores. If they are
    `one_of_each` group, the promise is for one product of each group too: should the large groups
    be the worse ones, more than that may be wrong of all their products.
    Each candidate is a null hypothesis 'more than 1 - target are wrong', whose exact p-value is a
    binomial tail. The candidates are tested from the strictest on; testing starts at seven of them
    with delta / 7 each, and a hypothesis that is refuted hands its share on to the next (the
    fallback procedure of Wiens and Dmitrienko, J. Biopharm. Stat. 15, 2005, which holds whatever
    the tests' dependence; fixed-sequence testing as in Angelopoulos et al., Learn then Test, 2021).

    What a person sees is a batch, in which chance has a part too. So a candidate must also hold for
    a batch half as large as the products that certify it, with confidence 1 - batch_delta (delta,
    if none is given): `batch_tail`. That only adds to what is asked.
    """
    thresholds, starts = candidates(target)
    found = certified(*counts_above(score, right, thresholds), starts, target, delta,
                      batch_delta or delta)
    return math.inf if found is None else float(thresholds[found])


RUNS = 8   # of the leaf's tests, each of which the parent may follow: as many as starts, and none


class Thresholds(NamedTuple):
    """What a score has to reach, inf if nothing can be promised there."""
    leaf: float     # the leaf's score, to file a product at its leaf
    below: float    # the parent's promise is about products whose leaf's score is below this
    parent: float   # the parent's score, to file one of those at its parent
    alone: float    # the parent's score, to file any product at its parent, if no leaf is filed


def certify_fallback(score, right, parent_score, parent_right, target, delta):
    """The Thresholds with which, with confidence 1 - delta, at least `target` are right of what is
    filed at leaves, and of what is filed at parents.

    Leaf and parent get half of delta each. The leaf's threshold depends on the same products, but
    its tests go from the highest score down: a run of tests that ends at a candidate has seen no
    product below it, so those are still a fair sample of what scores less (a stopping time). The
    parent is certified on them. The few products between the last candidate that was certified and
    the one at which the run ended are not fair, and are filed at neither. There are as many runs
    as starts, and `alone` is a promise of its own, so the parent's half is shared among them
    (Bonferroni).
    """
    thresholds, starts = candidates(target)
    found = certified(*counts_above(score, right, thresholds), starts, target, delta / 2, delta / 2)
    share = delta / 2 / RUNS
    alone = certify(parent_score, parent_right, target, share, delta / 2)
    if found is None:
        return Thresholds(math.inf, math.inf, alone, alone)
    below = float(np.append(thresholds, 0)[found + 1])
    rest = score < below
    parent = certify(parent_score[rest], parent_right[rest], target, share, delta / 2)
    return Thresholds(float(thresholds[found]), below, parent, alone)


def nearest(score, right, target, delta):
    """(threshold, products taken, wrong ones) of the candidate that comes nearest to a certificate:
    the one at which so few errors would be least likely if more than 1 - target were wrong. Those
    that take fewer products than a certificate needs count only if there are no others: so a few
    that are nearly all right are told from many that are not. (inf, 0, 0) without products."""
    thresholds, _ = candidates(target)
    taken, wrong = counts_above(score, right, thresholds)
    if not len(score):
        return math.inf, 0, 0
    enough = [j for j, n in enumerate(taken) if most_wrong(int(n), target, delta) >= 0] \
        or [j for j, n in enumerate(taken) if n] or [len(taken) - 1]
    # Of tails that are all one the lowest share of wrong ones.
    best = min(enough, key=lambda j: (
        metrics.binomial_cdf(int(wrong[j]), int(taken[j]), 1 - target),
        wrong[j] / max(1, taken[j])))
    return float(thresholds[best]), int(taken[best]), int(wrong[best])


def most_wrong(taken, target, delta, share=1):
    """How many of `taken` products may be wrong at most, so that a test at level delta / share
    certifies them, and the batch's at level delta: -1 if not even none."""
    def holds(wrong):
        return metrics.binomial_cdf(wrong, taken, 1 - target) <= delta / share \
            and batch_tail(wrong, taken, target) <= delta

    if not holds(0):
        return -1
    return bisect.bisect_left(range(taken), True, key=lambda wrong: not holds(wrong)) - 1


def products_needed(score, right, target, delta, most=1_000_000):
    """About how many products it would take to certify something, were they all like these; None
    where even `most` would not do."""
    thresholds, starts = candidates(target)
    taken, wrong = counts_above(score, right, thresholds)
    times = 1.0
    while len(score) and times * len(score) <= most:
        if certified(np.floor(taken * times), np.ceil(wrong * times), starts, target, delta,
                     delta) is not None:
            return math.ceil(times * len(score))
        times *= 1.1
    return None


def fewest(target, delta):
    """How many products must be accepted, all right, before one threshold can be certified: the
    smallest n with target ** n <= delta (149 for .98 and .05)."""
    return math.ceil(math.log(delta) / math.log(target))
