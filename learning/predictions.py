"""From logits to what is stored: calibrated scores, the best leaf, the best parent.

In: logits of products, a temperature, and the leaves' parents. Out: Answers, rows of
predicted_category, and how well the scores are calibrated. experiments.py and filing.py use it.
"""
import json
from typing import Any, NamedTuple

import numpy as np

from learning import metrics, training


class Answers(NamedTuple):
    """What scores say of n products. Leaves are places in the model's categories, parents in
    `names`."""
    probability: Any     # float64 [n, leaves]
    best: Any            # int [n, 5 or fewer], the likeliest leaves, the first one first
    score: Any           # float64 [n, 5 or fewer], theirs
    parent: Any          # int [n], the likeliest parent
    parent_score: Any    # float [n], the sum of its leaves'
    names: list          # of parents


def answers(scores, temperature, parents):
    """The Answers of logits [n, leaves], whose parents are `parents`."""
    names = sorted(set(parents))
    sums = np.zeros((len(parents), len(names)), np.float32)
    sums[np.arange(len(parents)), [names.index(p) for p in parents]] = 1
    # In float64, or all that is surer than 1 - 6e-8 would share the score 1.
    probability = np.exp(metrics.log_softmax(scores.astype(np.float64) / temperature))
    best = np.argsort(-probability, axis=1, kind="stable")[:, :5]
    above = probability @ sums
    parent = above.argmax(axis=1)
    return Answers(probability, best, np.take_along_axis(probability, best, 1), parent,
                   np.minimum(above[np.arange(len(above)), parent], 1.0), names)


def top_json(leaves, best, score):
    """JSON of the leaves best [n, k] with their score [n, k]: a text for each of n products."""
    names = [json.dumps(leaf, ensure_ascii=False) for leaf in leaves]
    return ["[" + ", ".join([f"[{names[j]}, {one:.6f}]" for j, one in zip(*row)]) + "]"
            for row in zip(best.tolist(), score.tolist())]


def prediction_rows(products, rows, scores, temperature, fold):
    """Rows (product_id, category_id, score, label_id, label_score, parent_id, parent_score, top,
    fold) of logits [len(rows), leaves]; `top` is JSON, the five best leaves with their scores."""
    out = []
    for start in range(0, len(rows), training.CHUNK):
        found = answers(scores[start:start + training.CHUNK], temperature, products.parents)
        top = top_json(products.leaves, found.best, found.score)
        for i, row in enumerate(rows[start:start + training.CHUNK]):
            label = products.labels[row]
            out.append((int(products.ids[row]), products.leaves[found.best[i, 0]],
                        float(found.score[i, 0]), products.leaves[label],
                        float(found.probability[i, label]), found.names[found.parent[i]],
                        float(found.parent_score[i]), top[i], fold))
    return out


def calibration_figures(pooled):
    """NLL and ECE before and after the temperature of (logits, labels, temperature) pooled."""
    labels = np.concatenate([labels for _, labels, _ in pooled])
    figures = {}
    for name in ("before", "after"):
        scores = np.concatenate([scores / (1 if name == "before" else temperature)
                                 for scores, _, temperature in pooled])
        best = np.exp(metrics.log_softmax(scores).max(axis=1))
        figures[f"nll {name}"] = metrics.nll(scores, labels)
        figures[f"ece {name}"] = metrics.ece(best, scores.argmax(axis=1) == labels)
    return figures
