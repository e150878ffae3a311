"""An experiment, the same for the three classifiers: trained and predicted.

In: Products, their Parts, and a function that trains a classifier. Out: predictions of products the
model had never seen, figures, and the model, which recording.py writes.
Used by categorize_words.py, categorize_images.py and categorize_both.py:

    python categorize_words.py --min-products 50
    python categorize_words.py --min-products 50 --folds 10
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from learning import category_changes, correctness, layers, metrics, predictions, training
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
    blind: correctness.Blind | None = None  # of an ensemble: what members say of training products
    right: correctness.SecondStage | None = None  # the second stage, if there is one


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
        inputs, leaves = inputs_for(rows), len(products.leaves)
        blind = None
        if chosen.members > 1:
            blind = correctness.blind_members(products.u, chosen.members)
        trained = training.train(
            inputs, products.taught, leaves, rows, validation, chosen, label, blind=blind
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
            blind=None if blind is None else blind_scores(products, trained, inputs, rows, blind),
        )

    return fit


def blind_scores(
    products: Products,
    trained: training.Trained,
    inputs: layers.Inputs,
    rows: np.ndarray,
    blind: np.ndarray,
) -> correctness.Blind:
    """What each member of an ensemble says of the training products `rows` that it is blind to, or
    of a sample of them: blind int [n] is the member for each product. Their temperature is their
    own, for one member is not as sure as the mean of all."""
    chosen = correctness.sample(rows, products.u, len(products.leaves))
    logits = np.empty((len(chosen), len(products.leaves)), np.float32)
    for place, weights in enumerate(trained.members):
        asked = blind[chosen] == place
        logits[asked] = layers.logits(weights, inputs, chosen[asked])
    some = slice(None, None, 1 + len(chosen) // 20_000)  # enough for one number
    temperature = metrics.fit_temperature(logits[some], products.taught[chosen[some]])
    for part in metrics.slices(*logits.shape):  # in place, since these are millions
        logits[part] = metrics.log_softmax(logits[part] / np.float32(temperature))
    return correctness.Blind(chosen, logits)


def judged(model: Fitted, products: Products) -> Fitted:
    """The model with its second stage, if it is an ensemble, whose members have spoken blindly."""
    if model.blind is None:
        return model
    rows, logs = model.blind
    right = correctness.fit(logs, products.taught[rows], products.parents)
    return model._replace(right=right, blind=None)


def calibrated(model: Fitted, logits: np.ndarray, products: Products) -> np.ndarray:
    """Logits float64 [n, leaves] whose softmax is the model's scores."""
    calm = logits.astype(np.float64) / model.temperature
    if model.right is None:
        return calm
    return correctness.tempered(calm, model.right, products.parents)


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
    model = judged(fit(part.training, part.tuning, label), products)
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
    predicted, guesses, figures = [], [], []
    for part in metrics.slices(len(rows), len(products.leaves)):
        logits, labels = model.scores(rows[part]), products.labels[rows[part]]
        calm = calibrated(model, logits, products)
        predicted.append(predictions.predicted(products, rows[part], calm, 1.0, fold))
        guesses.append(logits.argmax(axis=1))
        figures.append(predictions.calibration(logits, labels, calm))
    return np.concatenate(predicted), np.concatenate(guesses), figures


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
            gc.collect()  # TensorFlow's functions hold one another, and the fold's tensors
        models = [split.model for split in splits]
        everything = np.flatnonzero(products.taught >= 0)
        model = judged(fit(everything, everything[:0], "all products", models), products)
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
        blind=None,
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
