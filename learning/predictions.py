"""From logits to what is stored: calibrated scores, the best leaf, the best parent.

In: logits of products, a temperature, and the leaves' parents. Out: Answers, rows of
predicted_category, and how well the scores are calibrated. experiments.py and filing.py use it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from learning import metrics, training

if TYPE_CHECKING:
    from learning.selection import Products


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
    names = sorted(set(parents))
    sums = np.zeros((len(parents), len(names)), np.float32)
    sums[np.arange(len(parents)), [names.index(parent) for parent in parents]] = 1
    # In float64, or all that is surer than 1 - 6e-8 would share the score 1.
    probability = np.exp(metrics.log_softmax(logits.astype(np.float64) / temperature))
    best = np.argsort(-probability, axis=1, kind="stable")[:, :5]
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


def top_json(leaves: Sequence[str], best: np.ndarray, score: np.ndarray) -> list[str]:
    """JSON of the leaves best [n, k] with their score [n, k]: a text for each of n products."""
    names = [json.dumps(leaf, ensure_ascii=False) for leaf in leaves]
    return [
        "["
        + ", ".join([f"[{names[leaf]}, {probability:.6f}]" for leaf, probability in zip(*row)])
        + "]"
        for row in zip(best.tolist(), score.tolist())
    ]


def prediction_rows(
    products: Products, rows: np.ndarray, logits: np.ndarray, temperature: float, fold: int
) -> list[tuple]:
    """Rows (product_id, category_id, score, label_id, label_score, parent_id, parent_score, top,
    fold) of logits [len(rows), leaves]; `top` is JSON, the five best leaves with their scores."""
    predicted = []
    for start in range(0, len(rows), training.CHUNK):
        said = answers(logits[start : start + training.CHUNK], temperature, products.parents)
        top = top_json(products.leaves, said.best, said.score)
        for i, row in enumerate(rows[start : start + training.CHUNK]):
            label = products.labels[row]
            predicted.append(
                (
                    int(products.ids[row]),
                    products.leaves[said.best[i, 0]],
                    float(said.score[i, 0]),
                    products.leaves[label],
                    float(said.probability[i, label]),
                    said.names[said.parent[i]],
                    float(said.parent_score[i]),
                    top[i],
                    fold,
                )
            )
    return predicted


def calibration_figures(pooled: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> dict[str, float]:
    """NLL and ECE before and after the temperature of (logits, labels, temperature) pooled."""
    labels = np.concatenate([labels for _, labels, _ in pooled])
    figures = {}
    for name in ("before", "after"):
        logits = np.concatenate(
            [logits / (1 if name == "before" else temperature) for logits, _, temperature in pooled]
        )
        best = np.exp(metrics.log_softmax(logits).max(axis=1))
        figures[f"nll {name}"] = metrics.nll(logits, labels)
        figures[f"ece {name}"] = metrics.ece(best, logits.argmax(axis=1) == labels)
    return figures
