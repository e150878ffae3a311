"""Why a model of words files a product as it does.

In: crawl.db, an experiment by text, a product. Out: lines with the words for and against the two
likeliest categories.

    python categorize_words.py --explain 523000032 --experiment 1
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import db
from common.terminal import UserError
from common.text import one_line
from learning import (
    category_changes,
    correctness,
    encodings,
    fusion,
    layers,
    lexicons,
    metrics,
    model_folders,
    queries,
    saved_models,
    text_features,
)

MOST_TERMS = 15  # that are printed for each category


class Said(NamedTuple):
    """What a model says of one text."""

    logits: np.ndarray  # [leaves], calibrated
    words: dict[str, np.ndarray]  # the weights of its network of words
    scale: float  # what that one's logits count for
    encoder: np.ndarray | None  # what the encoder adds to the logits, [leaves]
    second_stage: np.ndarray | None = None  # what the second stage adds to them, [leaves]


def lines(
    conn: sqlite3.Connection, encoder: encodings.Asked, experiment: int, product_id: int
) -> Iterator[str]:
    """Lines about a product, by the model of an experiment, with the encoder that is asked for if
    it was trained with one. Raises UserError if there is no such product, or no model of words."""
    db_path = encoder.db_path
    name, text, label = queries.product_text(conn, product_id)
    known = db.settings(db.experiment_row(conn, experiment)).get("model")
    folder = os.path.join(model_folders.models_folder(db_path), f"experiment-{experiment}")
    weights, model = saved_models.load_model(folder, known)
    if model["kind"] != "Text":
        raise UserError(
            f"there is no model of words in {folder}: name an experiment of categorize_words.py"
        )
    leaves = model["categories"]
    columns, values, model_says = said_of(weights, model, encoder, name, text)
    probability = np.exp(metrics.log_softmax(model_says.logits[None]))[0]
    first, second = np.argsort(-probability, kind="stable")[:2]
    said, rest = text_features.contributions(model_says.words, columns, values, first, second)
    said, rest = said * model_says.scale, rest * model_says.scale
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
        zip(said.tolist(), (model["vocabulary"][column] for column in columns)),
        key=lambda term: (-term[0], term[1]),
    )
    yield f"for {names[first]}"
    yield from term_lines([term for term in terms if term[0] > 0])
    yield f"for {names[second]}"
    yield from term_lines([term for term in reversed(terms) if term[0] < 0])
    total, others = said.sum() + rest, ""
    for what, adds in (
        ("the encoder of the whole text", model_says.encoder),
        ("how often such answers are right", model_says.second_stage),
    ):
        if adds is not None:
            added = adds[first] - adds[second]
            total, others = total + added, f"{others}{what} {added:+.2f}, "
    yield (
        f"together {said.sum():+.2f}, {others}without any word {rest:+.2f}: the logarithm of "
        f"the odds between the two is {total:.2f}"
    )
    if label is not None and model["settings"].get("folds"):
        yield (
            "(this model was trained on all products; the prediction in predicted_category is "
            "of one that had not seen this)"
        )


def said_of(
    weights: dict[str, np.ndarray],
    model: dict[str, Any],
    asked: encodings.Asked,
    name: str,
    description: str,
) -> tuple[np.ndarray, np.ndarray, Said]:
    """(columns, values of the bag of words, what the model says) of a name and a description."""
    find = encodings.finder(asked, model)
    words, encoder = fusion.parted(weights, fusion.ENCODER) if find else (weights, {})
    columns, values = lexicons.one_text(model, words, name, description)
    hidden = np.maximum(values @ words["hidden_kernel"][columns] + words["hidden_bias"], 0)
    logits = (hidden @ words["kernel"] + words["bias"]).astype(np.float64)
    if find is None:
        logits /= model["temperature"]
        said = Said(logits, words, 1 / model["temperature"], None)
        return columns, values, with_second_stage(said, model)
    temperatures = model[fusion.ENCODER.key]["used temperatures"]
    matrix, row = find([{"name": name, "description": description}])
    of_encoder = layers.logits(encoder, layers.Inputs(bottlenecks=matrix, rows=row), np.arange(1))
    fused = fusion.saved_logits(
        weights, temperatures, logits[None], of_encoder, row >= 0, fusion.ENCODER
    )[0]
    # What fuses them adds up: what is not the words' is the encoder's.
    share = (weights["fusion"][0] if row[0] >= 0 else 1.0) / model["temperature"]
    fused = fused / model["temperature"]
    by_words = share * metrics.log_softmax(logits[None] / temperatures[0])[0]
    said = Said(fused, words, share / temperatures[0], fused - by_words)
    return columns, values, with_second_stage(said, model)


def with_second_stage(said: Said, model: dict[str, Any]) -> Said:
    """What a model says after its second stage, if it has one."""
    right = correctness.of_description(model)
    if right is None:
        return said
    logits = correctness.tempered(said.logits[None], right, model["parents"])[0]
    return said._replace(logits=logits, second_stage=logits - said.logits)


def term_lines(terms: Sequence[tuple[float, str]]) -> Iterator[str]:
    """A line for each of the first terms, (logits, term), and one for the rest."""
    for said, term in terms[:MOST_TERMS]:
        yield f"  {said:+7.2f}  {term}"
    rest = terms[MOST_TERMS:]
    if rest:
        yield f"  {sum(said for said, _ in rest):+7.2f}  {len(rest)} more"
