"""The arithmetic of predictions: coverage and its certificate, comparison, calibration, suspects.

numpy only; imports nothing of ours. Everywhere `score` is a float array [n], the probability of the
predicted category, `right` a bool array [n], and `groups` an int array [n]: products of one group
(colours of a style) are no independent evidence. Shares and confidences lie in [0, 1].
"""
import bisect
import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np


def accuracy(right):
    """Share of right predictions, 0 where there are none."""
    return float(np.mean(right)) if len(right) else 0.0


def by_score(score):
    """(rows from the highest score down, bool array [n]: whether a row is the last of its score).
    A threshold can't part products of one score."""
    order = np.argsort(-np.asarray(score), kind="stable")
    ordered = np.asarray(score)[order]
    last_of_tie = np.ones(len(ordered), bool)
    last_of_tie[:-1] = ordered[1:] != ordered[:-1]
    return order, last_of_tie


def last_enough(hits, taken, last_of_tie, percent):
    """The largest of the counts `taken` that ends a tie and of which `percent` % are hits, or 0."""
    # In whole numbers, because .29 * 100 is 28.999999999999996.
    enough = np.flatnonzero(last_of_tie & (100 * hits >= percent * taken))
    return int(taken[enough[-1]]) if len(enough) else 0


def accepted(score, right, percent):
    """How many products can be taken, from the highest score down, so that at least `percent` %
    (a whole number) of them are right: the largest such count, 0 when there is none.

    Selective classification as in El-Yaniv and Wiener, JMLR 11 (2010), on the sample itself.
    """
    order, last_of_tie = by_score(score)
    hits = np.cumsum(np.asarray(right)[order], dtype=np.int64)
    return last_enough(hits, np.arange(1, len(order) + 1), last_of_tie, percent)


def coverage_percent(score, right, percent):
    """`accepted` as a whole percentage of all products, cut off, not rounded."""
    return 100 * accepted(score, right, percent) // len(score) if len(score) else 0


def summary(score, right, parent_right):
    """The six lines of figures that the 2016 analyze.py printed, to the letter."""
    lines = [f"  Accuracy: {100 * accuracy(right):.2f}% (N={len(score)})"]
    for name, hits in (("", right), ("Parent ", parent_right)):
        if name:
            lines.append(f"  Parent Accuracy: {100 * accuracy(hits):.2f}%")
        lines += [f"  {name}{percent}% Accuracy Coverage: {coverage_percent(score, hits, percent)}%"
                  for percent in (95, 98)]
    return lines


# ---- how sure a figure is -----------------------------------------------------------------------

def binomial_cdf(k, n, p):
    """P(X <= k) of X ~ Binomial(n, p) for 0 < p < 1, every term summed."""
    if k < 0 or k >= n:
        return float(k >= n)
    if k > n * p:   # from the other side, where the terms fall off
        return 1 - binomial_cdf(n - k - 1, n, 1 - p)
    last = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
                    + k * math.log(p) + (n - k) * math.log1p(-p))
    i = np.arange(k, 0, -1)
    return min(1.0, last * (1 + float(np.cumprod(i * (1 - p) / ((n - i + 1) * p)).sum())))


def wilson(hits, n, confidence=.95):
    """(low, high) of a share hits / n (Wilson, JASA 22, 1927); (0, 1) for n = 0."""
    if not n:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(max(0, hits * (n - hits) / n) + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar(only_first, only_second):
    """Exact two-sided p of two classifiers that are right alone so often on the same products
    (McNemar, Psychometrika 12, 1947; as advised by Dietterich, Neural Computation 10(7), 1998)."""
    fewer, both = min(only_first, only_second), only_first + only_second
    return min(1.0, 2 * binomial_cdf(fewer, both, .5))


def p_value(p):
    """A p-value as text; what is too small for a float is not nought."""
    return f"= {p:.3g}" if p > 1e-300 else "< 1e-300"


def bootstrap_differences(first, second, groups, percents=(95, 98), rounds=2000, seed=0):
    """Differences second - first of accuracy and of the coverages at `percents`, as shares, in
    `rounds` resamples of whole groups: float [rounds, 1 + len(percents)].

    first and second are (score, right) of the same products. Paired bootstrap by cluster (Efron
    and Tibshirani 1993, chapter 8): its quantiles are the interval.
    """
    _, member = np.unique(groups, return_inverse=True)
    number = int(member.max()) + 1
    rng, out = np.random.default_rng(seed), np.empty((rounds, 1 + len(percents)))
    sides = [(*by_score(score), np.asarray(right, np.int64)) for score, right in (first, second)]
    for turn in out:
        drawn = np.bincount(rng.integers(0, number, number), minlength=number)[member]
        figures = []
        for order, last_of_tie, right in sides:
            taken = np.cumsum(drawn[order])
            hits = np.cumsum((drawn * right)[order])
            figures.append([hits[-1], *(last_enough(hits, taken, last_of_tie, percent)
                                        for percent in percents)])
        turn[:] = np.subtract(figures[1], figures[0]) / taken[-1]
    return out


# ---- coverage that is promised ------------------------------------------------------------------

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
        if hopeful and binomial_cdf(int(wrong[j]), int(taken[j]), 1 - target) <= level \
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
    share = delta / 2 / (starts.sum() + 1)
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
    that take fewer products than a certificate needs count only if there are no others. (inf, 0, 0)
    without products."""
    thresholds, _ = candidates(target)
    taken, wrong = counts_above(score, right, thresholds)
    if not len(score):
        return math.inf, 0, 0
    enough = [j for j, n in enumerate(taken) if most_wrong(int(n), target, delta) >= 0] \
        or [len(taken) - 1]
    tails = [binomial_cdf(int(wrong[j]), int(taken[j]), 1 - target) for j in enough]
    best = enough[int(np.argmin(tails))]
    return float(thresholds[best]), int(taken[best]), int(wrong[best])


def most_wrong(taken, target, delta):
    """How many of `taken` products may be wrong at most, so that a test at level delta certifies
    them: -1 if not even none."""
    def holds(wrong):
        return binomial_cdf(wrong, taken, 1 - target) <= delta \
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


def aurc(score, right):
    """Area under the risk-coverage curve: the mean, over all counts of products accepted from the
    highest score down, of the share that is wrong (Geifman et al., ICLR 2019); nan for none.
    Products of one score count as if in random order."""
    if not len(score):
        return math.nan
    _, member, size = np.unique(-np.asarray(score), return_inverse=True, return_counts=True)
    wrong = np.bincount(member, weights=~np.asarray(right, bool))
    # Within a tie each product brings the tie's mean of errors.
    return float(np.mean(np.cumsum(np.repeat(wrong / size, size)) / np.arange(1, len(score) + 1)))


# ---- calibration --------------------------------------------------------------------------------

def log_softmax(logits):
    """Log-probabilities [n, classes] of logits [n, classes]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def nll(logits, labels):
    """Mean negative log-likelihood in nats of the labels [n], nan for none."""
    if not len(labels):
        return float("nan")
    loss = float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())
    return 0.0 if loss <= 0 else loss   # rounding may make it -1e-17


def ece(score, right, bins=15):
    """Expected calibration error over equal-width bins (Guo et al., ICML 2017, equation 3)."""
    if not len(score):
        return float("nan")
    index = np.minimum((np.asarray(score) * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=np.asarray(right, float) - score, minlength=bins)
    return float(np.abs(gap).sum() / len(score))


def fit_temperature(logits, labels):
    """The T > 0 that minimises the NLL of logits / T (Guo et al. 2017, section 4.2), with a normal
    prior of standard deviation 1/2 on log T.

    Without the prior a handful of products that are all right would make every score 1; with a
    thousand it is hardly felt. Bisection finds where the derivative crosses zero between
    T = 1/20 and T = 20.
    """
    logits = np.asarray(logits, np.float64)
    if not len(labels):
        return 1.0
    own = logits[np.arange(len(labels)), labels]

    def slope(inverse):
        probability = np.exp(log_softmax(logits * inverse))
        prior = 4 * np.log(inverse) / (inverse * len(labels))
        return float(((probability * logits).sum(axis=1) - own).mean() + prior)

    low, high = 1 / 20, 20.0
    for _ in range(50):
        middle = (low * high) ** .5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / (low * high) ** .5


# ---- labels that are probably wrong -------------------------------------------------------------

def label_suspects(labels, own, best, probability):
    """Confident learning (Northcutt, Jiang and Chuang, JAIR 70, 2021, section 3.1) on out-of-sample
    probabilities: (rows whose label is probably wrong, the likeliest first; the suggested class of
    each; the margin by which its label is the less probable).

    labels int [n]; own float [n], the probability of the label; best int [n, k] and probability
    [n, k], the k most probable classes of each row, surest first (probability -1 where there are
    fewer). A class is confident where its probability reaches the mean of `own` over the products
    labelled so; of several confident ones the most probable class of all is taken, as cleanlab
    does.
    """
    most = int(max(labels.max(initial=0), best.max(initial=0))) + 1
    count = np.bincount(labels, minlength=most)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count, np.bincount(labels, own, most) / count, np.inf)
    mean = np.maximum(mean, 2e-6)   # or all would be sure of a class that nobody is sure of
    confident = probability >= mean[best] - 1e-6   # `top` in crawl.db has six digits
    of_label = (best == labels[:, None]) & (probability >= 0)
    beyond = ~of_label.any(axis=1) & (own >= mean[labels] - 1e-6)
    guess = np.where(confident.sum(axis=1) + beyond > 1, best[:, 0],
                     best[np.arange(len(best)), confident.argmax(axis=1)])
    # Compared as the six digits have it, or rounding alone would make a tie a suspect.
    own = np.where(of_label.any(axis=1), (probability * of_label).sum(axis=1), own)
    margin = np.where(of_label, -np.inf, probability).max(axis=1) - own
    rows = np.flatnonzero(confident.any(axis=1) & (guess != labels) & (margin > 0))
    rows = rows[np.argsort(-margin[rows], kind="stable")]
    return rows, guess[rows], margin[rows]
