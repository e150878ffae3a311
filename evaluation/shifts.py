"""Are new products like the labelled ones that a promise rests on?

In: features, scores and answers of a classifier for both. Out: how far they are apart by more than
chance, and how often the classifier is right in the new products' mix of categories. Numpy and
scipy; imports nothing of ours. refusals.py decides with it what holds of products to come.
"""
import math
from typing import NamedTuple

import numpy as np

LEAST = 30     # labelled products of a label to know how it is answered; rarer ones are one label
PRIOR = 100    # products, by which an estimated mix is drawn to the labelled one
DRAWS = 200    # of labelled products, to see what chance makes of the estimate
ROUNDS = 60    # of expectation maximization


# ---- single features ----------------------------------------------------------------------------

def mean_shift(mean, variance, n, other_mean, other_variance, other_n, delta=1e-4):
    """How far two means are apart at the least, with confidence 1 - delta (normal approximation);
    0 where chance may have done it."""
    deviation = math.sqrt(variance / max(1, n) + other_variance / max(1, other_n))
    # The quantile of a normal tail is not above this (Chernoff's bound).
    return max(0.0, abs(mean - other_mean) - math.sqrt(2 * math.log(2 / delta)) * deviation)


def score_shift(scores, n, other, other_n, delta=1e-4):
    """How much lower scores from 0 to 1 are than other ones at the least, with confidence
    1 - delta: the area by which their distribution function lies above the other's (how far scores
    fell, on the average), less what chance makes of n and other_n independent ones at the most (by
    the tail of Kolmogorov and Smirnov's distance, exp(-2 d^2 n m / (n + m)), which bounds it).

    Higher scores do not count: a model that learned from all products is surer than those of the
    folds, which learned from a part, and so it is of products like some it has seen.
    """
    scores, other = np.sort(scores), np.sort(other)
    if not len(scores) or not len(other):
        return 0.0
    at = np.sort(np.concatenate([scores, other]))
    between = np.maximum(0, np.searchsorted(scores, at[:-1], "right") / len(scores)
                         - np.searchsorted(other, at[:-1], "right") / len(other))
    return max(0.0, float(between @ np.diff(at))
               - math.sqrt(math.log(1 / delta) / 2 * (1 / max(1, n) + 1 / max(1, other_n))))


def count_shift(counts, n, other, other_n, delta=1e-4):
    """How far two distributions over categories are apart at the least, with confidence
    1 - delta: the total variation distance of {category: products}, less its mean under no
    difference and what chance adds to that (McDiarmid's inequality), of n and other_n independent
    ones."""
    names = sorted({*counts, *other}, key=str)
    if not counts or not other:
        return 0.0
    own, old = (np.array([some.get(name, 0) for name in names], float) for some in (counts, other))
    own, old = own / own.sum(), old / old.sum()
    n, other_n = max(1, n), max(1, other_n)
    pooled = (n * own + other_n * old) / (n + other_n)
    # The mean of |x| of a normal x is sqrt(2 / pi) deviations.
    mean = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / other_n) * 2 / math.pi).sum() / 2
    chance = math.sqrt(math.log(1 / delta) / 2 * (1 / n + 1 / other_n))
    return max(0.0, float(np.abs(own - old).sum() / 2 - mean - chance))


# ---- the mix of categories ----------------------------------------------------------------------

class Right(NamedTuple):
    """How often a classifier is right of those that some threshold lets pass, as shares."""
    usual: float       # of the labelled products
    estimated: float   # of labelled products in the new ones' mix of categories
    chance: float      # standard deviation of that estimate when nothing has moved


def pooled(labels, least=LEAST):
    """int [n]: labels int [n], those with fewer than `least` products being one label, -1. How a
    rare label is answered cannot be estimated, and a few of its products that were answered like
    a common one would explain a surplus of those answers as well as the common label does."""
    _, place, count = np.unique(labels, return_inverse=True, return_counts=True)
    return np.where(count[place] < least, -1, labels)


def right_in_mix(answers, labels, passed, right, new, seed=0):
    """A Right for each of k thresholds, None if it lets no labelled product pass.

    answers and labels are int [n] of independent labelled products; passed and right bool [n, k],
    whether a threshold lets a product pass and whether it is right there; new float [a], how many
    new products got each answer 0 ... a - 1.

    The shares of labels that make the new answers likeliest, if products of a label are answered as
    before (Saerens, Latinne and Decaestecker, Neural Computation 14, 2002; with the answer in the
    place of probabilities, as Lipton, Wang and Smola, ICML 2018), weigh the labelled products.
    The same is done for DRAWS pairs of samples of the labelled products, of as many as there are
    labelled and new ones (parametric bootstrap; Efron and Tibshirani 1993, chapter 6): their mean
    is the bias of the estimate, which is taken off, and their spread is chance.
    """
    rng, total = np.random.default_rng(seed), len(labels)
    columns = np.column_stack([answers, pooled(labels), passed, right])
    cells, count = np.unique(columns, axis=0, return_counts=True)
    thresholds = passed.shape[1]
    answers, labels = cells[:, 0], np.unique(cells[:, 1], return_inverse=True)[1]
    passed, right = cells[:, 2:2 + thresholds] > 0, cells[:, 2 + thresholds:] > 0
    drawn = rng.multinomial(total, count / total, DRAWS).T
    as_new = rng.multinomial(round(new.sum()), count / total, DRAWS).T
    by_answer = indicator(answers, len(new))
    old = np.column_stack([count, drawn]).astype(float)   # the labelled products, then the draws
    weights = mix_weights(by_answer, indicator(labels, labels.max(initial=0) + 1), old,
                          np.column_stack([new, by_answer @ as_new]))
    found = []
    for of_these, hits in zip(passed.T, right.T):
        if not of_these.any():
            found.append(None)
            continue
        usual, estimate = (share_right(some, of_these, hits) for some in (old, old * weights))
        moved = estimate - usual
        bias, chance = np.nanmean(moved[1:]), np.nanstd(moved[1:])
        found.append(Right(float(usual[0]), float(usual[0] + moved[0] - bias), float(chance)))
    return found


def indicator(codes, size):
    """A sparse matrix [size, n] that sums n values by their code."""
    from scipy import sparse  # late: analyze.py needs it seldom, and starts at once

    return sparse.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))),
                             (size, len(codes)))


def mix_weights(by_answer, by_label, old, new):
    """float [cells, samples]: how much each product of a cell counts in the mix of labels that
    explains the answers `new` [answers, samples], if there are `old` [cells, samples] labelled ones
    of each; by expectation maximization after a Dirichlet prior, as strong as PRIOR products."""
    count = by_label @ old
    usual = count / count.sum(axis=0)
    shares = usual
    for _ in range(ROUNDS):
        weights = by_label.T @ ratio(shares, usual)
        alike = by_answer @ (old * weights)    # labelled products that were so answered
        explained = by_label @ (old * weights * (by_answer.T @ ratio(new, alike)))
        shares = (explained + PRIOR * usual) / (explained.sum(axis=0) + PRIOR)
    return by_label.T @ ratio(shares, usual)


def ratio(above, below):
    """above / below, 0 where both are to be left out because `below` is 0."""
    return np.divide(above, below, out=np.zeros_like(above, dtype=float), where=below > 0)


def share_right(weights, passed, right):
    """float [samples]: the share that is right of what passes, weights [cells, samples]; nan if
    a sample has nothing that passes."""
    taken = weights[passed].sum(axis=0)
    return np.where(taken > 0, ratio(weights[passed & right].sum(axis=0), taken), np.nan)
