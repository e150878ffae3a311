"""Why a model of words files a product as it does.

In: crawl.db, an experiment by text, a product. Out: lines with the words for and against the two
likeliest categories.

    python categorize_words.py --explain 523000032 --experiment 1
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np

import db
from common.terminal import UserError
from common.text import one_line
from learning import category_changes, metrics, model_folders, queries, saved_models, text_features

MOST_TERMS = 15  # that are printed for each category


def lines(
    conn: sqlite3.Connection, db_path: str, experiment: int, product_id: int
) -> Iterator[str]:
    """Lines about a product, by the model of an experiment. Raises UserError if there is no such
    product, or no model of words."""
    name, text, label = queries.product_text(conn, product_id)
    known = db.settings(db.experiment_row(conn, experiment)).get("model")
    folder = os.path.join(model_folders.models_folder(db_path), f"experiment-{experiment}")
    weights, model = saved_models.load_model(folder, known)
    if model["kind"] != "Text":
        raise UserError(
            f"there is no model of words in {folder}: name an experiment of categorize_words.py"
        )
    leaves, temperature = model["categories"], model["temperature"]
    columns, values = text_features.one_text(model, weights, name, text)
    logits = (
        np.maximum(values @ weights["hidden_kernel"][columns] + weights["hidden_bias"], 0)
        @ weights["kernel"]
        + weights["bias"]
    )
    probability = np.exp(metrics.log_softmax(logits[None].astype(np.float64) / temperature))[0]
    first, second = np.argsort(-probability, kind="stable")[:2]
    said, rest = text_features.contributions(weights, columns, values, first, second)
    changed = category_changes.classes_today(conn, experiment)
    names = [category_changes.now_text(leaf, changed) for leaf in leaves]
    yield f"product {product_id}: {one_line(name)[:80]}"
    if label is not None:
        yield f"  filed under {label}"
    else:
        yield (
            "  it has no category in the shop's catalogue; the model would file it under "
            f"{names[first]} (probability {probability[first]:.4f})"
        )
    if not len(columns):
        yield "  the model knows none of its words"
    for leaf in (first, second):
        yield f"  {probability[leaf]:.4f}  {names[leaf]}"
    terms = sorted(
        zip((said / temperature).tolist(), (model["vocabulary"][column] for column in columns)),
        key=lambda term: (-term[0], term[1]),
    )
    yield f"for {names[first]}"
    yield from term_lines([term for term in terms if term[0] > 0])
    yield f"for {names[second]}"
    yield from term_lines([term for term in reversed(terms) if term[0] < 0])
    yield (
        f"together {said.sum() / temperature:+.2f}, without any word "
        f"{rest / temperature:+.2f}: the logarithm of the odds between the two is "
        f"{(said.sum() + rest) / temperature:.2f}"
    )
    if model["settings"].get("folds"):
        yield (
            "(this model was trained on all products; the prediction in predicted_category is "
            "of one that had not seen this)"
        )


def term_lines(terms: Sequence[tuple[float, str]]) -> Iterator[str]:
    """A line for each of the first terms, (logits, term), and one for the rest."""
    for said, term in terms[:MOST_TERMS]:
        yield f"  {said:+7.2f}  {term}"
    rest = terms[MOST_TERMS:]
    if rest:
        yield f"  {sum(said for said, _ in rest):+7.2f}  {len(rest)} more"
