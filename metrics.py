"""The arithmetic of predictions: coverage, calibration. numpy only; imports nothing of ours.

Everywhere `score` is a float array [n], the probability of the predicted category, and `right` a
bool array [n].
"""
import numpy as np


def accuracy(right):
    """Share of right predictions, 0 where there are none."""
    return float(np.mean(right)) if len(right) else 0.0


def accepted(score, right, percent):
    """How many products can be taken, from the highest score down, so that at least `percent` %
    (a whole number) of them are right: the largest such count, 0 when there is none.

    Products of one score are accepted or rejected together, because a threshold cannot part
    them. Selective classification as in El-Yaniv and Wiener, JMLR 11 (2010), on the sample itself.
    """
    if not len(score):
        return 0
    order = np.argsort(-np.asarray(score), kind="stable")
    ordered = np.asarray(score)[order]
    hits = np.cumsum(np.asarray(right)[order], dtype=np.int64)
    taken = np.arange(1, len(ordered) + 1)
    last_of_tie = np.append(ordered[1:] != ordered[:-1], True)
    # In whole numbers, because .29 * 100 is 28.999999999999996.
    enough = last_of_tie & (100 * hits >= percent * taken)
    return int(taken[enough][-1]) if enough.any() else 0


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


def log_softmax(logits):
    """Log-probabilities [n, classes] of logits [n, classes]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def nll(logits, labels):
    """Mean negative log-likelihood in nats of the labels [n], nan for none."""
    if not len(labels):
        return float("nan")
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def ece(score, right, bins=15):
    """Expected calibration error over equal-width bins (Guo et al., ICML 2017, equation 3)."""
    if not len(score):
        return float("nan")
    index = np.minimum((np.asarray(score) * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=np.asarray(right, float) - score, minlength=bins)
    return float(np.abs(gap).sum() / len(score))


def fit_temperature(logits, labels):
    """The T > 0 that minimises the NLL of logits / T (Guo et al. 2017, section 4.2).

    The NLL is convex in 1 / T, so its derivative has one zero, which bisection finds between
    T = 1/20 and T = 20; beyond those a model is not worth calibrating and the end is returned.
    """
    logits = np.asarray(logits, np.float64)
    own = logits[np.arange(len(labels)), labels]

    def slope(inverse):
        probability = np.exp(log_softmax(logits * inverse))
        return float(((probability * logits).sum(axis=1) - own).mean())

    low, high = 1 / 20, 20.0
    for _ in range(50):
        middle = (low * high) ** .5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / (low * high) ** .5
