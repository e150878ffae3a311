"""An experiment, the same for the three classifiers: trained, predicted, recorded.

In: Products, their Parts, and a function that trains a classifier. Out: one experiment: its row,
its predictions of products the model had never seen, and the model, written together or not at all.
Used by categorize_words.py, categorize_images.py and categorize_both.py; query what it writes with

    sqlite3 crawl.db 'select id, name, settings from experiment'
    sqlite3 crawl.db 'select * from predicted_category where experiment_id = 1 limit 5'
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from common.files import free_space
from common.terminal import UserError, say
from learning import (
    category_changes,
    layers,
    metrics,
    model_folders,
    near_duplicates,
    predictions,
    queries,
    saved_models,
    training,
)
from learning.selection import Part, Products


class Fitted(NamedTuple):
    """A classifier as it was trained: one network, or what categorize_both.py makes of two."""

    weights: dict[str, np.ndarray]  # what saved_models.save_model keeps
    steps: list[int]  # of the weights kept, of each network
    trained_on: int  # products
    temperature: float
    scores: Callable[[np.ndarray], np.ndarray]  # rows [m] -> logits [m, leaves]
    inputs: layers.Inputs = layers.Inputs()  # what it was trained on
    parts: tuple[Fitted, ...] = ()  # what it fuses


class Outcome(NamedTuple):
    """What an experiment found, ready to be stored."""

    predicted: np.ndarray  # predictions.PREDICTION [n], of products the model had never seen
    validation: np.ndarray  # the same of validation products
    model: Fitted  # of the only split, or refitted on all products after folds
    models: list[Fitted]  # of the splits, as `slim` leaves them
    settings: dict
    summary: list[str]  # lines to print
    parts: Sequence[Part] = ()  # the splits


Fit = Callable[..., Fitted]  # (training rows, validation rows, label, models of the folds)


def network(
    products: Products, inputs_for: Callable[[np.ndarray], layers.Inputs], options: training.Options
) -> Fit:
    """A function that trains one network, as `experiment` needs it.

    inputs_for(training rows) gives the Inputs of all products, so that whatever is fitted (a
    vocabulary) is fitted on training products only. After folds the network is trained for as many
    epochs as theirs were on the average, and takes the geometric mean of their temperatures.
    """

    def fit(
        rows: np.ndarray, validation: np.ndarray, label: str, models: Sequence[Fitted] = ()
    ) -> Fitted:
        chosen = options
        if models:
            epochs = np.mean([model.steps[0] / model.trained_on for model in models])
            chosen = options._replace(max_steps=max(1, round(epochs * len(rows))), max_epochs=0)
        inputs = inputs_for(rows)
        trained = training.train(
            inputs, products.taught, len(products.leaves), rows, validation, chosen, label
        )
        temperature = trained.temperature
        if models:
            temperature = float(np.exp(np.mean([np.log(model.temperature) for model in models])))
        return Fitted(
            trained.weights,
            [trained.steps],
            len(rows),
            temperature,
            lambda rows: layers.logits(trained.weights, inputs, rows),
            inputs,
        )

    return fit


class Split(NamedTuple):
    """What came of one split."""

    model: Fitted
    predicted: np.ndarray  # predictions.PREDICTION
    validated: np.ndarray  # the same of validation products
    tested: list[predictions.Calibration]  # of the test products
    tuned: list[predictions.Calibration]  # of the products that the temperature was fitted on


def run_split(
    products: Products, part: Part, fold: int, label: str, fit: Fit, look: Callable | None
) -> Split:
    """Train on one split and predict what it holds out."""
    model = fit(part.training, part.tuning, label)
    predicted, guesses, tested = predict(products, part.test, model, fold)
    if look:
        look(model, part.test, guesses)
    tuning = part.tuning[products.labels[part.tuning] >= 0]
    validated, _, tuned = predict(products, tuning, model, fold)
    certifying, _, _ = predict(products, part.certifying, model, fold)
    certifying["certifying"] = 1
    return Split(model, predicted, np.append(validated, certifying), tested, tuned)


def predict(
    products: Products, rows: np.ndarray, model: Fitted, fold: int
) -> tuple[np.ndarray, np.ndarray, list[predictions.Calibration]]:
    """(predictions.PREDICTION [rows], the likeliest leaves int [rows], Calibrations) of labelled
    products, of which only a chunk's logits are in memory at a time."""
    predicted, guesses, judged = [], [], []
    for part in metrics.slices(len(rows), len(products.leaves)):
        logits, labels = model.scores(rows[part]), products.labels[rows[part]]
        predicted.append(
            predictions.predicted(products, rows[part], logits, model.temperature, fold)
        )
        guesses.append(logits.argmax(axis=1))
        judged.append(predictions.calibration(logits, labels, model.temperature))
    return np.concatenate(predicted), np.concatenate(guesses), judged


def experiment(
    products: Products, parts: Sequence[Part], fit: Fit, look: Callable | None = None
) -> Outcome:
    """Train and predict one split, or each of K folds and then train a model on all products.

    fit(training rows, validation rows, label) returns a Fitted; after folds it is called once more
    with all rows, none to validate on and the list of the folds' Fitted. look(Fitted, test rows,
    the likeliest leaf of each), if given, is called for each split. Returns an Outcome.
    """
    if len(parts) == 1:
        splits = [run_split(products, parts[0], 0, "training", fit, look)]
        models, model = [slim(splits[0].model)], splits[0].model
    else:
        splits = []
        for fold, part in enumerate(parts):
            split = run_split(products, part, fold, f"fold {fold + 1} of {len(parts)}", fit, look)
            # Or the last bag of words would be in memory beside the next.
            split = split._replace(model=slim(split.model))
            splits.append(split)
        models = [split.model for split in splits]
        everything = np.flatnonzero(products.taught >= 0)
        model = fit(everything, everything[:0], "all products", models)
    predicted = np.concatenate([split.predicted for split in splits])
    settings = {
        **counts(products, parts),
        "steps": [model.steps if model.parts else model.steps[0] for model in models],
        "temperature": [model.temperature for model in models],
        "calibration": {
            "validation": predictions.calibration_figures([c for s in splits for c in s.tuned]),
            "test": predictions.calibration_figures([c for s in splits for c in s.tested]),
        },
    }
    return Outcome(
        predicted,
        np.concatenate([split.validated for split in splits]),
        model,
        models,
        settings,
        summary_lines(predicted, products),
        parts,
    )


def counts(products: Products, parts: Sequence[Part]) -> dict:
    """What the settings say of the products and of how they were parted."""
    filed = np.zeros(len(products.ids), bool) if products.filed is None else products.filed
    return {
        "folds": len(parts) if len(parts) > 1 else None,
        "products": len(products.ids),
        "categories": products.leaves,
        "tree": {"depth": products.rule.depth, "leaves only": products.rule.leaves_only},
        "training": [len(part.training) for part in parts],
        "validation": [len(part.tuning) for part in parts],
        "certifying": [len(part.certifying) for part in parts],
        "test": [len(part.test) for part in parts],
        "overridden": int(((products.taught != products.labels) & ~filed).sum()),
        "filed by --apply": int(filed.sum()),
        "regroupings": products.regroupings,
        category_changes.SEEN: products.category_changes,
    }


def slim(model: Fitted) -> Fitted:
    """What refitting and the settings need of a Fitted, without all that is large."""
    return model._replace(
        inputs=layers.Inputs(),
        scores=gone,
        parts=tuple(map(slim, model.parts)),
        weights={name: value for name, value in model.weights.items() if name == "fusion"},
    )


def gone(rows: np.ndarray) -> np.ndarray:
    """In the place of a slim model's scores."""
    raise RuntimeError("this model was made slim: its inputs are gone")


def summary_lines(predicted: np.ndarray, products: Products) -> list[str]:
    """The six lines that analyze.py prints too, of predictions.PREDICTION."""
    _, parents = np.unique(products.parents, return_inverse=True)
    best, label = predicted["best"][:, 0], predicted["label"]
    return metrics.summary_lines(
        predicted["score"][:, 0], best == label, parents[best] == parents[label]
    )


def check_disk(db_path: str, products: Products) -> None:
    """Raise UserError, before the training, if the disk has no room for its predictions (about a
    kilobyte a product, journal included) and its model (25 MB if words are many)."""
    folder = os.path.dirname(os.path.abspath(db_path))
    need, free = 1000 * len(products.ids) + 25_000_000, free_space(folder)
    if need > free:
        raise UserError(
            f"an experiment takes up to {need / 1e6:.0f} MB and {folder} has room for "
            f"{free / 1e6:.0f}: make room"
        )


def experiment_name(kind: str, wanted: Sequence[str]) -> str:
    """The name that the 2016 scripts gave: `wanted` are the names asked for, none for all."""
    if len(wanted) > 10:
        return f"{kind} classification of: {','.join(wanted[:5])}... ({len(wanted)} total)"
    return f"{kind} classification of: {','.join(wanted)}"


def record(
    conn: sqlite3.Connection,
    db_path: str,
    kind: str,
    wanted: Sequence[str],
    products: Products,
    outcome: Outcome,
    run_settings: dict,
    extra: dict,
) -> None:
    """Write the experiment and print its number, name and figures. run_settings say how it was
    made; `extra` is what its kind of model needs besides its weights: the vocabulary, the
    bottleneck's fingerprint."""
    name = experiment_name(kind, wanted)
    near, twins, learned = products.near, None, products.taught >= 0  # after folds: from all
    if outcome.parts:
        twins = near_duplicates.twin_columns(
            queries.catalogue(conn),
            products.ids,
            [part.training for part in outcome.parts],
            (outcome.predicted, outcome.validation),
        )
        if not outcome.settings["folds"]:
            learned = outcome.parts[0].training
    split = (
        {"split by": "cluster", "near-duplicates": near.report} if near else {"split by": "group"}
    )
    settings = {
        **outcome.settings,
        **run_settings,
        **split,
        **{key: value for key, value in extra.items() if key != "vocabulary"},
    }
    description = {
        "kind": kind,
        "categories": products.leaves,
        "parents": products.parents,
        "temperature": outcome.model.temperature,
        **extra,
        "settings": settings,
    }
    number = model_folders.save_experiment(
        conn,
        db_path,
        name,
        settings,
        predictions.stored_rows(products, outcome.predicted),
        (
            (*row, kept)
            for row, kept in zip(
                predictions.stored_rows(products, outcome.validation),
                map(int, outcome.validation["certifying"]),
            )
        ),
        lambda folder: saved_models.save_model(folder, outcome.model.weights, description),
        twins,
        zip(near.ids, near.keys) if near else (),
        products.ids[learned].tolist(),
    )
    say(f"#{number}: {name}", *outcome.summary)
