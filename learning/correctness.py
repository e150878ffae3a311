"""Is the likeliest category right? The second stage, which makes a network's scores rank better.

In: calibrated log-probabilities of products that the network had not seen, and their labels. Out:
logistic models of whether the likeliest leaf, and the likeliest parent, is right, and
log-probabilities in which these have the probability that they are right. The leaf's siblings share
what it leaves of their parent's probability, so all scores of a product agree.

The products are those of training. Each member of an ensemble is blind to a share of them, and what
it says of these is as honest as what is said of validation products, but there are many times more,
enough to know how often each category, and each pair of the two likeliest, is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from learning import metrics

FEATURES = ("one", "log-odds", "margin", "entropy", "parent's log-odds")
PRIOR = (1, 10, 10, 10, 10)  # precision of the normal prior of each one's weight, around 0: a
#                              score stays what it is if nothing speaks against it
LEAF_PRIOR, PAIR_PRIOR = 4, 8  # of what is added for a leaf, and for the two likeliest ones
MOST = 10.0  # a margin, or a parent's log-odds, counts as at most this
LEAST, LARGEST = 1e-3, 1e3  # 1 / temperature of a product
APART = 1e-4  # of the log-probability: the likeliest leaf stays so much above all others
MOST_SCORES = 20_000_000  # products times classes that the second stage is fitted on, at most


class Blind(NamedTuple):
    """What members of an ensemble say of training products that they are blind to."""

    rows: np.ndarray  # int [m], of Products
    logs: np.ndarray  # float32 [m, leaves], calibrated log-probabilities


class Correctness(NamedTuple):
    """The logistic model of one level: weights are added to the log-odds of the likeliest class, a
    leaf or a parent. A parent is its own parent there."""

    features: np.ndarray  # float [5], weights as in FEATURES
    classes: np.ndarray  # float [classes], by the likeliest class
    pairs: np.ndarray  # int [k], likeliest class times classes plus second, rising
    by_pair: np.ndarray  # float [k]


class SecondStage(NamedTuple):
    """Whether the likeliest leaf is right, and whether the likeliest parent is."""

    leaf: Correctness
    parent: Correctness | None  # of parents in the order of their names; None if there is only one


class Evidence(NamedTuple):
    """What the model looks at, of n products."""

    features: np.ndarray  # float [n, 5], as in FEATURES
    first: np.ndarray  # int [n], the likeliest leaf
    pair: np.ndarray  # int [n], as Correctness.pairs


def blind_members(u: np.ndarray, members: int) -> np.ndarray:
    """int [n]: the member that does not learn from each product, by its place u [n] in the split,
    so that a group is not parted; later digits of u than folds are made of."""
    return (np.modf(np.asarray(u) * 1000)[0] * members).astype(int)


def sample(rows: np.ndarray, u: np.ndarray, leaves: int) -> np.ndarray:
    """Of these rows so many that their scores fit in memory, drawn by u [n], which is a hash; the
    same ones for text and picture."""
    most = max(1000, MOST_SCORES // leaves)
    if len(rows) <= most:
        return rows
    return np.sort(rows[np.argsort(np.modf(u[rows] * 1e6)[0], kind="stable")[:most]])


def evidence(logs: np.ndarray, parents: Sequence) -> Evidence:
    """The Evidence of calibrated log-probabilities [n, leaves]; parents of the leaves."""
    parts = [evidence_of(logs[part], parents) for part in metrics.slices(*logs.shape)]
    return Evidence(*map(np.concatenate, zip(*parts)))


def evidence_of(logs: np.ndarray, parents: Sequence) -> Evidence:
    """`evidence` of so few products that several arrays of this shape fit in memory."""
    from scipy import sparse  # slow to import

    rows, (count, leaves) = np.arange(len(logs)), logs.shape
    others, probability = logs.astype(np.float64), np.exp(logs.astype(np.float64))
    first = others.argmax(axis=1)
    of_first = others[rows, first]
    entropy = -(probability * others).sum(axis=1)
    others[rows, first] = -np.inf
    second = others.argmax(axis=1)
    of_second = others[rows, second]
    odds = of_first - of_second - np.log(np.exp(others - of_second[:, None]).sum(axis=1))
    names, number = np.unique(np.asarray(parents), return_inverse=True)
    sums = sparse.csr_matrix((np.ones(leaves), (np.arange(leaves), number)), (leaves, len(names)))
    above = np.minimum((probability @ sums)[rows, number[first]], 1.0)
    with np.errstate(divide="ignore"):
        parent = np.log(above) - np.log1p(-above)
    features = np.stack(
        [
            np.ones(count),
            odds,
            np.minimum(of_first - of_second, MOST),
            entropy,
            np.minimum(parent, MOST),
        ],
        axis=1,
    )
    return Evidence(features, first, first * leaves + second)


def fit(logs: np.ndarray, labels: np.ndarray, parents: Sequence[str]) -> SecondStage:
    """The SecondStage of calibrated log-probabilities [n, leaves] of products that were not seen,
    and their labels [n]; parents of the leaves."""
    number, parent = numbers_of(parents), None
    if number.max() > 0:
        parent = fit_level(by_parent(logs, number), number[labels], range(number.max() + 1))
    return SecondStage(fit_level(logs, labels, parents), parent)


def numbers_of(parents: Sequence[str]) -> np.ndarray:
    """int [leaves]: the parent of each leaf, as a number in the order of their names."""
    return np.unique(np.asarray(parents), return_inverse=True)[1]


def by_parent(logs: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Log-probabilities [n, parents] of the parents, of those of the leaves; number [leaves] is the
    parent of each."""
    from scipy import sparse  # slow to import

    leaves = np.arange(len(number))
    sums = sparse.csr_matrix((np.ones(len(leaves)), (leaves, number)))
    above = np.empty((len(logs), sums.shape[1]))
    for part in metrics.slices(*logs.shape):
        above[part] = np.exp(logs[part].astype(np.float64)) @ sums
    return np.log(np.maximum(above, 1e-300))


def fit_level(logs: np.ndarray, labels: np.ndarray, parents: Sequence) -> Correctness:
    """The Correctness of calibrated log-probabilities [n, leaves] of products that were not seen,
    and their labels [n]: logistic regression with a normal prior that keeps to the probability as
    it is where products are few (Platt 1999, with more to go by than the score)."""
    import threadpoolctl  # slow to import, as scipy is
    from scipy import optimize, sparse

    seen = evidence(logs, parents)
    count, leaves = logs.shape
    pairs, place = np.unique(seen.pair, return_inverse=True)
    rows, ones = np.arange(count), np.ones(count)
    design = sparse.hstack(
        [
            sparse.csr_matrix(seen.features),
            sparse.csr_matrix((ones, (rows, seen.first)), (count, leaves)),
            sparse.csr_matrix((ones, (rows, place)), (count, len(pairs))),
        ]
    ).tocsr()
    right, odds = seen.first == labels, seen.features[:, 1]
    precision = np.repeat(
        [*PRIOR, LEAF_PRIOR, PAIR_PRIOR], [*(1 for _ in PRIOR), leaves, len(pairs)]
    )

    def loss(weights):
        total = odds + design @ weights
        slope = design.T @ (1 / (1 + np.exp(-total)) - right) + precision * weights
        value = np.logaddexp(0, total).sum() - total[right].sum()
        return value + (precision * weights**2).sum() / 2, slope

    # Its vectors are too short for threads, which would spend their time waiting for each other.
    with threadpoolctl.threadpool_limits(1):
        weights = optimize.minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x
    features, by_leaf, by_pair = np.split(weights, np.cumsum([len(PRIOR), leaves]))
    return Correctness(features, by_leaf, pairs, by_pair)


def log_odds(model: Correctness, seen: Evidence) -> np.ndarray:
    """The log-odds [n] that the likeliest leaf is right."""
    total = seen.features[:, 1] + seen.features @ model.features + model.classes[seen.first]
    if len(model.pairs):
        place = np.minimum(np.searchsorted(model.pairs, seen.pair), len(model.pairs) - 1)
        total += np.where(model.pairs[place] == seen.pair, model.by_pair[place], 0.0)
    return total


def tempered(logits: np.ndarray, model: SecondStage, parents: Sequence[str]) -> np.ndarray:
    """Log-probabilities [n, leaves] of calibrated logits [n, leaves], in which the likeliest leaf
    and the likeliest parent have the probabilities with which they are right. That leaf stays the
    likeliest.

    What the leaf gains or loses then is its siblings': the logits of the leaves below its parent
    are multiplied by one number above 0. So no leaf is surer than its parent. A leaf without
    siblings is as sure as its parent: there all leaves are multiplied.
    """
    logs = metrics.log_softmax(logits.astype(np.float64))
    number, seen = numbers_of(parents), evidence(logs, parents)
    if model.parent is not None:
        logs = with_parents(logs, seen.first, model.parent, number)
    alone = np.bincount(number)[number[seen.first]] == 1
    family = (number == number[seen.first][:, None]) | alone[:, None]
    inside = np.where(family, logs, -np.inf)
    whole = np.logaddexp.reduce(inside, axis=1)
    rival = np.where(family, -np.inf, logs).max(axis=1, initial=-np.inf)
    wanted = -np.logaddexp(0, -log_odds(model.leaf, seen))
    share = np.minimum(np.maximum(wanted, rival + APART) - whole, -APART)
    numbers = inverse_temperatures(inside, seen.first, share - np.log(-np.expm1(share)))
    inside = np.where(family, inside * numbers[:, None], -np.inf)
    inside += (whole - np.logaddexp.reduce(inside, axis=1))[:, None]
    return np.where(family, inside, logs)


def with_parents(
    logs: np.ndarray, first: np.ndarray, model: Correctness, number: np.ndarray
) -> np.ndarray:
    """Log-probabilities [n, leaves] in which the likeliest parent has the probability with which it
    is right, if the likeliest leaf, first [n], is below it; number [leaves] is the parent of each."""
    above = by_parent(logs, number)
    seen = evidence(above, range(above.shape[1]))
    calm = above * inverse_temperatures(above, seen.first, log_odds(model, seen))[:, None]
    moved = (metrics.log_softmax(calm) - above)[:, number]
    return np.where((seen.first == number[first])[:, None], logs + moved, logs)


def inverse_temperatures(logs: np.ndarray, first: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The numbers [n] by which log-probabilities [n, leaves] are multiplied, so that the log-odds
    of the likeliest leaf, first [n], are those that are wanted [n]; leaves of -inf are none.

    These log-odds rise with the number and are concave in it, so Newton's steps, once they are
    below the root, rise to it. What cannot be reached (a tie for the first place, less than all
    leaves alike) comes as near as LEAST and LARGEST allow.
    """
    rows = np.arange(len(logs))
    behind = logs - logs[rows, first][:, None]
    behind[rows, first] = -np.inf
    others = np.isfinite(behind)
    finite = np.where(others, behind, 0.0)
    wanted = np.maximum(wanted, 1e-3 - np.log(np.maximum(1, others.sum(axis=1))))
    number = np.ones(len(logs))
    for _ in range(50):
        scaled = behind * number[:, None]
        top = scaled.max(axis=1, keepdims=True)
        share = np.exp(scaled - top)
        total = share.sum(axis=1)
        odds = -top[:, 0] - np.log(total)
        slope = np.maximum(-(share * finite).sum(axis=1) / total, 1e-12)
        step = np.clip(number + (wanted - odds) / slope, LEAST, LARGEST) - number
        number += step
        if np.abs(step).max(initial=0) < 1e-9:
            break
    return number


# ---- in a saved model ---------------------------------------------------------------------------


def described(model: SecondStage | None) -> dict:
    """What model.json keeps of it; nothing if there is none."""
    if model is None:
        return {}
    return {
        "correctness": {name: level_described(level) for name, level in model._asdict().items()}
    }


def level_described(model: Correctness | None) -> dict | None:
    """What model.json keeps of one level."""
    if model is None:
        return None
    classes = len(model.classes)
    return {
        "features": dict(zip(FEATURES, model.features.tolist())),
        "categories": model.classes.tolist(),
        "pairs": [
            [*divmod(pair, classes), weight]
            for pair, weight in zip(model.pairs.tolist(), model.by_pair.tolist())
        ],
    }


def of_description(description: dict) -> SecondStage | None:
    """The SecondStage of a saved model's description, None if it has none. Raises ValueError,
    KeyError or TypeError if it is not what `described` writes."""
    if "correctness" not in description:
        return None
    kept, parents = description["correctness"], len(set(description["parents"]))
    return SecondStage(
        level_of(kept["leaf"], len(description["categories"])),
        None if parents == 1 else level_of(kept["parent"], parents),
    )


def level_of(kept: dict, classes: int) -> Correctness:
    """The Correctness of what level_described wrote."""
    features = np.array([kept["features"][name] for name in FEATURES], np.float64)
    by_leaf = np.array(kept["categories"], np.float64)
    table = np.array(kept["pairs"], np.float64).reshape(-1, 3)
    if not all((np.abs(values) < 1e6).all() for values in (features, by_leaf, table)):
        raise ValueError("correctness must be numbers of at most 1e6")
    places, weights = table[:, :2].astype(int), table[:, 2]
    pairs = places[:, 0] * classes + places[:, 1]
    if features.shape != (len(FEATURES),) or by_leaf.shape != (classes,) or classes < 2:
        raise ValueError("correctness does not fit the categories")
    if (places != table[:, :2]).any() or (places < 0).any() or (places >= classes).any():
        raise ValueError("correctness names categories that there are not")
    if not (np.diff(pairs) > 0).all():
        raise ValueError("correctness does not fit the categories")
    return Correctness(features, by_leaf, pairs, weights)


def calibrated(logits: np.ndarray, description: dict[str, Any]) -> np.ndarray:
    """Logits [n, leaves] of a saved model, of whose description this is, made calibrated."""
    calm = logits.astype(np.float64) / description["temperature"]
    model = of_description(description)
    return calm if model is None else tempered(calm, model, description["parents"])
