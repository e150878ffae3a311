"""The arithmetic of predictions: coverage, comparison, calibration, suspects.

numpy only; imports nothing of ours. Everywhere `score` is a float array [n], the probability of the
predicted category, `right` a bool array [n], and `groups` an int array [n]: products of one group
(colours of a style) are no independent evidence. Shares and confidences lie in [0, 1].
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np

CHUNK, CELLS = 4096, 4_096_000  # at most so many products, and products times classes, at a time


def rows_at_once(classes: int, most: int = CHUNK) -> int:
    """How many products to score at a time, at most `most`: fewer if classes are many, because the
    scores of all would not fit into memory."""
    return max(1, min(most, CELLS // max(1, classes)))


def slices(count: int, classes: int) -> Iterator[slice]:
    """Yield the slices that part `count` products by rows_at_once; at least one, which is empty if
    there are no products."""
    size = rows_at_once(classes)
    for start in range(0, max(1, count), size):
        yield slice(start, min(count, start + size))


def accuracy(right: np.ndarray) -> float:
    """Share of right predictions, 0 if there are none."""
    return float(np.mean(right)) if len(right) else 0.0


def by_score(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows from the highest score down, bool array [n]: whether a row is the last of its score).
    A threshold can't part products of one score."""
    order = np.argsort(-np.asarray(score), kind="stable")
    ordered = np.asarray(score)[order]
    last_of_tie = np.ones(len(ordered), bool)
    last_of_tie[:-1] = ordered[1:] != ordered[:-1]
    return order, last_of_tie


def last_enough(hits: np.ndarray, taken: np.ndarray, last_of_tie: np.ndarray, percent: int) -> int:
    """The largest of the counts `taken` that ends a tie and of which `percent` % are hits, or 0."""
    # In whole numbers, because .29 * 100 is 28.999999999999996.
    enough = np.flatnonzero(last_of_tie & (100 * hits >= percent * taken))
    return int(taken[enough[-1]]) if len(enough) else 0


def accepted(score: np.ndarray, right: np.ndarray, percent: int) -> int:
    """How many products can be taken, from the highest score down, so that at least `percent` %
    (a whole number) of them are right: the largest such count, 0 when there is none.

    Selective classification as in El-Yaniv and Wiener, JMLR 11 (2010), on the sample itself.
    """
    order, last_of_tie = by_score(score)
    hits = np.cumsum(np.asarray(right)[order], dtype=np.int64)
    return last_enough(hits, np.arange(1, len(order) + 1), last_of_tie, percent)


def coverage_percent(score: np.ndarray, right: np.ndarray, percent: int) -> int:
    """`accepted` as a whole percentage of all products, cut off, not rounded."""
    return 100 * accepted(score, right, percent) // len(score) if len(score) else 0


def summary_lines(score: np.ndarray, right: np.ndarray, parent_right: np.ndarray) -> list[str]:
    """The six lines of figures that the 2016 analyze.py printed, to the letter."""
    lines = [f"  Accuracy: {100 * accuracy(right):.2f}% (N={len(score)})"]
    for name, hits in (("", right), ("Parent ", parent_right)):
        if name:
            lines.append(f"  Parent Accuracy: {100 * accuracy(hits):.2f}%")
        lines += [
            f"  {name}{percent}% Accuracy Coverage: {coverage_percent(score, hits, percent)}%"
            for percent in (95, 98)
        ]
    return lines


# ---- how sure a figure is -----------------------------------------------------------------------


@functools.lru_cache(maxsize=10_000)  # thresholds side by side often take the same products
def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) of X ~ Binomial(n, p) for 0 < p < 1, every term summed."""
    if k < 0 or k >= n:
        return float(k >= n)
    if k > n * p:  # from the other side: there the terms become smaller
        return 1 - binomial_cdf(n - k - 1, n, 1 - p)
    last = math.exp(
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * math.log(p)
        + (n - k) * math.log1p(-p)
    )
    i = np.arange(k, 0, -1)
    return min(1.0, last * (1 + float(np.cumprod(i * (1 - p) / ((n - i + 1) * p)).sum())))


def wilson(hits: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of a share hits / n (Wilson, JASA 22, 1927); (0, 1) for n = 0."""
    if not n:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(max(0, hits * (n - hits) / n) + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of two classifiers that are right alone so often on the same products
    (McNemar, Psychometrika 12, 1947; as advised by Dietterich, Neural Computation 10(7), 1998)."""
    fewer, both = min(only_first, only_second), only_first + only_second
    return min(1.0, 2 * binomial_cdf(fewer, both, 0.5))


def p_value(p: float) -> str:
    """A p-value as text; what is too small for a float is not zero."""
    return f"= {p:.3g}" if p > 1e-300 else "< 1e-300"


def bootstrap_differences(
    first: tuple,
    second: tuple,
    groups: np.ndarray,
    percents: Sequence[int] = (95, 98),
    rounds: int = 2000,
    seed: int = 0,
) -> np.ndarray:
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
            figures.append(
                [
                    hits[-1],
                    *(last_enough(hits, taken, last_of_tie, percent) for percent in percents),
                ]
            )
        turn[:] = np.subtract(figures[1], figures[0]) / taken[-1]
    return out


# ---- the curve of risk and coverage -------------------------------------------------------------


def aurc(score: np.ndarray, right: np.ndarray) -> float:
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


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities [n, classes] of logits [n, classes]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats of the labels [n], nan for none."""
    return mean_loss(label_log_probability(logits, labels))


def label_log_probability(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Log-probabilities [n] of the labels [n]."""
    return log_softmax(logits)[np.arange(len(labels)), labels]


def mean_loss(log_probability: np.ndarray) -> float:
    """nll of the log-probabilities [n] of the labels."""
    if not len(log_probability):
        return float("nan")
    loss = float(-log_probability.mean())
    return 0.0 if loss <= 0 else loss  # rounding may make it -1e-17


def ece(score: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins (Guo et al., ICML 2017, equation 3)."""
    if not len(score):
        return float("nan")
    index = np.minimum((np.asarray(score) * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=np.asarray(right, float) - score, minlength=bins)
    return float(np.abs(gap).sum() / len(score))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T > 0 that minimises the NLL of logits / T (Guo et al. 2017, section 4.2), with a normal
    prior of standard deviation 1/2 on log T.

    Without the prior a handful of products that are all right would make every score 1; with a
    thousand it is hardly felt. Bisection finds where the derivative crosses zero between
    T = 1/20 and T = 20.
    """
    logits = np.asarray(logits)
    if not len(labels):
        return 1.0
    of_label = logits[np.arange(len(labels)), labels].astype(np.float64)
    parts = list(slices(*logits.shape))

    def expected(values, inverse):
        return (np.exp(log_softmax(values * inverse)) * values).sum(axis=1)

    def slope(inverse):
        mean = [expected(logits[part].astype(np.float64), inverse) for part in parts]
        prior = 4 * np.log(inverse) / (inverse * len(labels))
        return float((np.concatenate(mean) - of_label).mean() + prior)

    low, high = 1 / 20, 20.0
    for _ in range(50):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / (low * high) ** 0.5


# ---- labels that are probably wrong -------------------------------------------------------------


def label_suspects(
    labels: np.ndarray, label_probability: np.ndarray, best: np.ndarray, probability: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confident learning (Northcutt, Jiang and Chuang, JAIR 70, 2021, section 3.1) on out-of-sample
    probabilities: (rows whose label is probably wrong, the likeliest first; the suggested class of
    each; the margin by which its label is the less probable).

    labels int [n]; label_probability float [n]; best int [n, k] and probability [n, k], the k most
    probable classes of each row, surest first (probability -1 if there are fewer). A class is
    confident if its probability reaches the mean of label_probability over the products labelled
    so; of several confident ones the most probable class of all is taken, as cleanlab does.
    """
    most = int(max(labels.max(initial=0), best.max(initial=0))) + 1
    count = np.bincount(labels, minlength=most)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count, np.bincount(labels, label_probability, most) / count, np.inf)
    mean = np.maximum(mean, 2e-6)  # or all would be sure of a class that nobody is sure of
    confident = probability >= mean[best] - 1e-6  # `top` in crawl.db has six digits
    of_label = (best == labels[:, None]) & (probability >= 0)
    beyond = ~of_label.any(axis=1) & (label_probability >= mean[labels] - 1e-6)
    guess = np.where(
        confident.sum(axis=1) + beyond > 1,
        best[:, 0],
        best[np.arange(len(best)), confident.argmax(axis=1)],
    )
    # Compared as the six digits have it, or rounding alone would make a tie a suspect.
    label_probability = np.where(
        of_label.any(axis=1), (probability * of_label).sum(axis=1), label_probability
    )
    margin = np.where(of_label, -np.inf, probability).max(axis=1) - label_probability
    rows = np.flatnonzero(confident.any(axis=1) & (guess != labels) & (margin > 0))
    rows = rows[np.argsort(-margin[rows], kind="stable")]
    return rows, guess[rows], margin[rows]
