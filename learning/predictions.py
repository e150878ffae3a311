"""From logits to what is stored: calibrated scores, the best leaf, the best parent.

In: logits of products, a temperature, and the leaves' parents. Out: Answers, rows of
predicted_category, and how well the scores are calibrated. experiments.py and filing.py use it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from learning import metrics

if TYPE_CHECKING:
    from learning.selection import Products

# A prediction until it is stored: 106 bytes, where the row of the table takes 500. A training holds
# those of all its products. Leaves are places in Products.leaves, the parent in parent_names.
PREDICTION = np.dtype(
    [
        ("product", "i8"),
        ("best", "i4", 5),  # the likeliest leaves, the first one first
        ("score", "f8", 5),  # theirs; -1 if there are fewer leaves
        ("label", "i4"),
        ("label_score", "f8"),
        ("parent", "i4"),
        ("parent_score", "f8"),
        ("fold", "i4"),
        ("certifying", "i2"),  # 1: of validation, kept for thresholds
    ]
)


class Answers(NamedTuple):
    """What scores say of n products. Leaves are places in the model's categories, parents in
    `names`."""

    probability: np.ndarray  # float64 [n, leaves]
    best: np.ndarray  # int [n, 5 or fewer], the likeliest leaves, the first one first
    score: np.ndarray  # float64 [n, 5 or fewer], theirs
    parent: np.ndarray  # int [n], the likeliest parent
    parent_score: np.ndarray  # float [n], the sum of its leaves'
    names: list[str]  # of parents


def answers(logits: np.ndarray, temperature: float, parents: Sequence[str]) -> Answers:
    """The Answers of logits [n, leaves], whose parents are `parents`."""
    from scipy import sparse  # slow to import

    names = parent_names(parents)
    number = {name: place for place, name in enumerate(names)}
    # There may be as many parents as leaves: sparse, or it would take their product in memory.
    places = (np.arange(len(parents)), [number[parent] for parent in parents])
    sums = sparse.csr_matrix((np.ones(len(parents)), places), (len(parents), len(names)))
    # In float64, or all that is surer than 1 - 6e-8 would share the score 1.
    probability = np.exp(metrics.log_softmax(logits.astype(np.float64) / temperature))
    best = likeliest(probability, 5)
    above = probability @ sums
    parent = above.argmax(axis=1)
    return Answers(
        probability,
        best,
        np.take_along_axis(probability, best, 1),
        parent,
        np.minimum(above[np.arange(len(above)), parent], 1.0),
        names,
    )


def likeliest(probability: np.ndarray, most: int) -> np.ndarray:
    """int [n, most or fewer]: the places with the highest probability [n, leaves], the highest
    first; of equal ones the first place comes first."""
    left, rows = probability.copy(), np.arange(len(probability))
    best = np.empty((len(left), min(most, left.shape[1])), int)
    for place in range(best.shape[1]):  # to sort all of some thousand leaves takes far longer
        best[:, place] = left.argmax(axis=1)
        left[rows, best[:, place]] = -1
    return best


def top_json(leaves: Sequence[str], best: np.ndarray, score: np.ndarray) -> list[str]:
    """JSON of the leaves best [n, k] with their score [n, k]: a text for each of n products."""
    names = {
        leaf: json.dumps(leaves[leaf], ensure_ascii=False) for leaf in np.unique(best).tolist()
    }
    return [
        "["
        + ", ".join([f"[{names[leaf]}, {probability:.6f}]" for leaf, probability in zip(*row)])
        + "]"
        for row in zip(best.tolist(), score.tolist())
    ]


def parent_names(parents: Sequence[str]) -> list[str]:
    """The ids of leaves' parents, each once, in order."""
    return sorted(set(parents))


def predicted(
    products: Products, rows: np.ndarray, logits: np.ndarray, temperature: float, fold: int
) -> np.ndarray:
    """PREDICTION [len(rows)] of logits [len(rows), leaves]."""
    predictions = np.zeros(len(rows), PREDICTION)
    predictions["product"], predictions["fold"] = products.ids[rows], fold
    predictions["label"] = products.labels[rows]
    predictions["score"] = -1
    for part in metrics.slices(*logits.shape):
        here, said = predictions[part], answers(logits[part], temperature, products.parents)
        many = said.best.shape[1]
        here["best"][:, :many], here["score"][:, :many] = said.best, said.score
        here["label_score"] = said.probability[np.arange(len(here)), here["label"]]
        here["parent"], here["parent_score"] = said.parent, said.parent_score
    return predictions


def stored_rows(products: Products, predictions: np.ndarray) -> Iterator[tuple]:
    """Yield rows (product_id, category_id, score, label_id, label_score, parent_id, parent_score,
    top, fold) of PREDICTION [n]; `top` is JSON, the five best leaves with their scores. They are
    made as they are written."""
    leaves, names = products.leaves, parent_names(products.parents)
    many = min(predictions["best"].shape[1], len(leaves))
    for part in metrics.slices(len(predictions), 1):
        rows = predictions[part]
        tops = top_json(leaves, rows["best"][:, :many], rows["score"][:, :many])
        columns = (
            rows[name].tolist()
            for name in ("product", "best", "score", "label", "label_score", "parent")
        )
        shares, folds = rows["parent_score"].tolist(), rows["fold"].tolist()
        for product, best, score, label, label_score, parent, share, top, fold in zip(
            *columns, shares, tops, folds
        ):
            yield (
                product,
                leaves[best[0]],
                score[0],
                leaves[label],
                label_score,
                names[parent],
                share,
                top,
                fold,
            )


class Calibration(NamedTuple):
    """What the figures of calibration need of n labelled products, [2, n] each: of their scores
    before calibration (temperature and second stage), and after it."""

    of_label: np.ndarray  # float32, log-probability of the label
    best: np.ndarray  # float32, probability of the likeliest leaf
    right: np.ndarray  # bool, whether that is the label


def calibration(logits: np.ndarray, labels: np.ndarray, calibrated: np.ndarray) -> Calibration:
    """The Calibration of logits [n, leaves], of the same calibrated, and of labels [n]."""
    of_label, best, right = [], [], []
    for values in (logits, calibrated):
        logs = metrics.log_softmax(values)
        of_label.append(logs[np.arange(len(labels)), labels])
        best.append(np.exp(logs.max(axis=1)))
        right.append(values.argmax(axis=1) == labels)
    return Calibration(*map(np.array, (of_label, best, right)))


def calibration_figures(parts: Sequence[Calibration]) -> dict[str, float]:
    """NLL and ECE before and after the temperature, of the products of all parts."""
    of_label, best, right = (np.concatenate(column, axis=1) for column in zip(*parts))
    figures = {}
    for place, name in enumerate(("before", "after")):
        figures[f"nll {name}"] = metrics.mean_loss(of_label[place])
        figures[f"ece {name}"] = metrics.ece(best[place], right[place])
    return figures
