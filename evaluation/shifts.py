"""Are new products like the labelled ones that a promise rests on?

In: features, scores and answers of a classifier for both. Out: how far apart they are beyond what
chance explains, and how often the classifier is right in the new products' mix of categories. Numpy
and scipy; imports nothing of ours. refusals.py decides with it what holds for products to come.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy import sparse

LEAST = 30  # labelled products that a label needs; rarer ones together are one label
PRIOR = 100  # products, by which an estimated mix is drawn to the labelled one
DRAWS = 200  # samples of labelled products, to see how far chance moves the estimate
ROUNDS = 60  # of expectation maximization
CELLS = 2_000_000  # cells of labelled products times samples at a time: arrays of 16 MB


# ---- single features ----------------------------------------------------------------------------


def mean_shift(
    mean: float,
    variance: float,
    n: float,
    other_mean: float,
    other_variance: float,
    other_n: float,
    delta: float = 1e-4,
) -> float:
    """How far two means are apart at least, with confidence 1 - delta (normal approximation); 0 if
    chance may explain the difference."""
    deviation = math.sqrt(variance / max(1, n) + other_variance / max(1, other_n))
    # The quantile of a normal tail is not above this (Chernoff's bound).
    return max(0.0, abs(mean - other_mean) - math.sqrt(2 * math.log(2 / delta)) * deviation)


def score_shift(
    scores: ArrayLike, n: float, other: ArrayLike, other_n: float, delta: float = 1e-4
) -> float:
    """How much lower `scores` are than the `other` ones at least, with confidence 1 - delta.

    Scores lie in [0, 1]. The result is the area by which their distribution function lies above
    the other's (how far scores fell, on average), less the most that chance makes of n and other_n
    independent ones (the tail of Kolmogorov and Smirnov's distance, exp(-2 d^2 n m / (n + m)),
    bounds it).

    Higher scores do not count: a model that learned from all products is surer than those of the
    folds, which learned from a part, and it is surer of products like some that it has seen.
    """
    scores, other = np.sort(scores), np.sort(other)
    if not len(scores) or not len(other):
        return 0.0
    at = np.sort(np.concatenate([scores, other]))
    between = np.maximum(
        0,
        np.searchsorted(scores, at[:-1], "right") / len(scores)
        - np.searchsorted(other, at[:-1], "right") / len(other),
    )
    return max(
        0.0,
        float(between @ np.diff(at))
        - math.sqrt(math.log(1 / delta) / 2 * (1 / max(1, n) + 1 / max(1, other_n))),
    )


def count_shift(
    counts: Mapping[str | None, int],
    n: float,
    other: Mapping[str | None, int],
    other_n: float,
    delta: float = 1e-4,
) -> float:
    """How far two distributions over categories are apart at least, with confidence 1 - delta.

    counts and other are {category: products}, of n and other_n independent ones. The result is
    their total variation distance, less its mean if nothing differs and less what chance adds to
    that (McDiarmid's inequality).
    """
    names = sorted({*counts, *other}, key=str)
    if not counts or not other:
        return 0.0
    new = np.array([counts.get(name, 0) for name in names], float)
    old = np.array([other.get(name, 0) for name in names], float)
    new, old = new / new.sum(), old / old.sum()
    n, other_n = max(1, n), max(1, other_n)
    both = (n * new + other_n * old) / (n + other_n)
    # The mean of |x| of a normal x is sqrt(2 / pi) deviations.
    mean = np.sqrt(both * (1 - both) * (1 / n + 1 / other_n) * 2 / math.pi).sum() / 2
    chance = math.sqrt(math.log(1 / delta) / 2 * (1 / n + 1 / other_n))
    return max(0.0, float(np.abs(new - old).sum() / 2 - mean - chance))


# ---- the mix of categories ----------------------------------------------------------------------


class Right(NamedTuple):
    """How often a classifier is right among the products that some threshold accepts, as shares."""

    usual: float  # of the labelled products
    estimated: float  # of labelled products in the new ones' mix of categories
    chance: float  # standard deviation of that estimate if nothing has moved


def pooled(labels: NDArray[np.integer], least: int = LEAST) -> NDArray[np.integer]:
    """The labels int [n]; those with fewer than `least` products all become one label, -1.

    The answers for a rare label cannot be estimated. A few of its products that were answered like
    a common label would explain a surplus of those answers as well as the common label does.
    """
    _, codes, count = np.unique(labels, return_inverse=True, return_counts=True)
    return np.where(count[codes] < least, -1, labels)


def right_in_mix(
    answers: NDArray[np.integer],
    labels: NDArray[np.integer],
    passed: NDArray[np.bool_],
    right: NDArray[np.bool_],
    new: NDArray[np.float64],
    seed: int = 0,
) -> list[Right | None]:
    """A Right for each of k thresholds, None if it accepts no labelled product.

    answers and labels are int [n] of independent labelled products; passed and right bool [n, k],
    whether a threshold accepts a product and whether it is right there; new float [a], how many
    new products got each answer 0 ... a - 1.

    The labelled products are weighted by the shares of labels that make the new answers likeliest,
    if products of a label are answered as before (Saerens, Latinne and Decaestecker, Neural
    Computation 14, 2002; with the answer in place of probabilities, as Lipton, Wang and Smola, ICML
    2018). The same is done for DRAWS pairs of samples of the labelled products, of as many as there
    are labelled and new ones (parametric bootstrap; Efron and Tibshirani 1993, chapter 6): their
    mean is the bias of the estimate, which is subtracted, and their spread is chance.
    """
    rng = np.random.default_rng(seed)
    columns = np.column_stack([answers, pooled(labels), passed, right])
    cells, counted = np.unique(columns, axis=0, return_counts=True)
    count = counted.astype(float)
    thresholds = passed.shape[1]
    answers, labels = cells[:, 0], np.unique(cells[:, 1], return_inverse=True)[1]
    passed, right = cells[:, 2 : 2 + thresholds] > 0, cells[:, 2 + thresholds :] > 0
    by_answer = indicator(answers, len(new))
    by_label = indicator(labels, labels.max(initial=0) + 1)
    moved: list[list[NDArray[np.float64]]] = [[] for _ in range(thresholds)]
    for old, explained in mix_samples(count, new, by_answer, rng):
        weighted = old * mix_weights(by_answer, by_label, old, explained)
        for shares, accepted, hits in zip(moved, passed.T, right.T):
            shares.append(share_right(weighted, accepted, hits) - share_right(old, accepted, hits))
    estimates: list[Right | None] = []
    for shares, accepted, hits in zip(moved, passed.T, right.T):
        if not accepted.any():
            estimates.append(None)
            continue
        usual = float(share_right(count[:, None], accepted, hits)[0])
        estimate, *drawn = np.concatenate(shares)
        bias, chance = np.nanmean(drawn), np.nanstd(drawn)
        estimates.append(Right(usual, usual + float(estimate - bias), float(chance)))
    return estimates


def mix_samples(
    count: NDArray[np.float64],
    new: NDArray[np.float64],
    by_answer: sparse.csr_matrix,
    rng: np.random.Generator,
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield (labelled products [cells, samples], new answers to explain [answers, samples]): first
    the products themselves, count [cells] and new [answers], then DRAWS samples of `count`, of
    which CELLS bounds how many are in memory at a time."""
    yield count[:, None], new[:, None]
    at_once = max(1, CELLS // max(len(count), len(new)))
    shares, total, total_new = count / count.sum(), round(count.sum()), round(new.sum())
    for start in range(0, DRAWS, at_once):
        draws = min(at_once, DRAWS - start)
        drawn = rng.multinomial(total, shares, draws).T.astype(float)
        yield drawn, by_answer @ rng.multinomial(total_new, shares, draws).T.astype(float)


def indicator(codes: NDArray[np.integer], size: int) -> sparse.csr_matrix:
    """A sparse matrix [size, n] that sums n values by their code."""
    from scipy import sparse  # late: analyze.py needs it seldom, and starts at once

    return sparse.csr_matrix(
        (np.ones(len(codes)), (codes, np.arange(len(codes)))), (size, len(codes))
    )


def mix_weights(
    by_answer: sparse.csr_matrix,
    by_label: sparse.csr_matrix,
    old: NDArray[np.float64],
    new: NDArray[np.float64],
) -> NDArray[np.float64]:
    """float [cells, samples]: how much each product of a cell counts in the mix of labels that
    explains the new answers.

    new [answers, samples] are the counts to explain, old [cells, samples] the labelled products of
    each cell; by_answer and by_label sum cells. Expectation maximization with a Dirichlet prior, as
    strong as PRIOR products.
    """
    count = by_label @ old
    usual = count / count.sum(axis=0)
    shares = usual
    for _ in range(ROUNDS):
        weights = by_label.T @ ratio(shares, usual)
        alike = by_answer @ (old * weights)  # labelled products that were so answered
        explained = by_label @ (old * weights * (by_answer.T @ ratio(new, alike)))
        shares = (explained + PRIOR * usual) / (explained.sum(axis=0) + PRIOR)
    return by_label.T @ ratio(shares, usual)


def ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """above / below, and 0 wherever `below` is 0."""
    return np.divide(above, below, out=np.zeros_like(above, dtype=float), where=below > 0)


def share_right(
    weights: NDArray[np.float64], passed: NDArray[np.bool_], right: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """float [samples]: the share of right products among the accepted ones, by weights [cells,
    samples]; nan for a sample that has no accepted product."""
    taken = weights[passed].sum(axis=0)
    return np.where(taken > 0, ratio(weights[passed & right].sum(axis=0), taken), np.nan)
