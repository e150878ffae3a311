"""The training of the network on top of words and bottlenecks.

In: Inputs and labels of products. Out: Trained weights, a handful of numpy arrays from which
layers.logits gives scores without TensorFlow. The three classifiers and retrain.py train with it:

    python categorize_words.py --epochs 5
    python retrain.py --image_dir flower_photos --learning_rate 0.01
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import NamedTuple

import numpy as np

from common.terminal import UserError, log, progress
from learning import layers, metrics
from learning.steps import make_loss, make_step
from learning.tensorflow_loader import load_tensorflow

FITTED = 20_000_000  # validation products times classes that a temperature is fitted on, at most


class Options(NamedTuple):
    """How to train. An evaluation is a look at the validation set; the best one's weights win."""

    batch_size: int = 100
    max_steps: int = 4000
    max_epochs: int = 0  # if above 0, it counts instead of max_steps
    evaluate_every: int = 0  # steps; 0 for once an epoch
    patience: int = 3  # evaluations without a lower validation loss before it stops; 0: it
    #                             goes on to the end and the last weights count, as in 2016
    learning_rate: float = 0.0  # 0: Adam; above: gradient descent
    adam_rate: float = 0.001
    decay: bool = False  # the rate falls to 0, in a straight line
    dropout: float = 0.0  # of the hidden units
    word_dropout: float = 0.0  # of a product's terms
    start: str = "glorot"  # or 2016
    seed: int = 0
    members: int = 1  # networks that are trained in step, whose mean is kept


class Trained(NamedTuple):
    weights: dict  # name -> float32 array; see layers.logits
    steps: int  # of the weights kept
    temperature: float  # fitted on validation; 1 without
    members: Sequence[dict] = ()  # weights of each, if there are several


class Kept(NamedTuple):
    """The best that training has come to so far."""

    weights: dict | None  # as layers.members_of takes them
    loss: float  # on validation
    step: int


def train(
    inputs: layers.Inputs,
    labels: np.ndarray,
    classes: int,
    rows: np.ndarray,
    validation: np.ndarray,
    options: Options,
    label: str = "training",
    pictures: Callable | None = None,
    watch: Callable | None = None,
    blind: np.ndarray | None = None,
) -> Trained:
    """Train a network, or options.members of them side by side, on products `rows`, watching what
    their mean says of `validation`.

    It stops when the validation loss has not fallen for options.patience evaluations, and keeps the
    weights with the lowest. Without validation rows it takes as many steps as it may. Bottlenecks
    are standardised for training only: the weights returned take them as they are.

    pictures(rows, epoch), if given, is what to train on instead of the bottlenecks of these
    products. watch(step, training loss, validation loss, validation accuracy), if given, is called
    at each evaluation. blind int [n], if given, is the member that does not learn from a product.
    Raises UserError if the loss is no number.
    """
    rng = np.random.default_rng(options.seed)
    variables = first_variables(inputs, classes, rng, options)
    loss_of = make_loss(variables, options.dropout, options.seed)
    step = make_step(variables, loss_of, options.learning_rate, options.members > 1)
    statistics = None if inputs.bottlenecks is None else layers.bottleneck_statistics(inputs, rows)
    epoch_steps = -(-len(rows) // options.batch_size)
    most = options.max_epochs * epoch_steps or options.max_steps
    every, patience = options.evaluate_every or epoch_steps, options.patience or np.inf
    batches = prepared(inputs, labels, rows, statistics, options, rng, pictures, blind)
    if pictures is None:  # distorted ones take minutes a batch, for which an interrupt would wait
        batches = ahead(itertools.islice(batches, most))
    best, without_gain, done, losses, began = Kept(None, np.inf, 0), 0, 0, [], time.monotonic()
    # A run that diverges is reported below, in a sentence, not by numpy at every step.
    with progress(label, most, "steps") as bar, np.errstate(over="ignore", invalid="ignore"):
        while done < most and without_gain < patience:
            epoch, tensors = next(batches)
            losses.append(step(tensors, adam_rate(options, done, most)))
            done += 1
            bar.update()
            if done % every and done < most:
                continue
            weights = usable_weights(variables, inputs, statistics)
            note, losses = {"loss": float(np.mean(losses)) / options.members}, []
            if len(validation):
                loss, accuracy = evaluate(layers.mean_of(weights), inputs, labels, validation)
                note.update({"validation loss": loss, "validation accuracy": accuracy})
                without_gain += 1
                if loss < best.loss or not options.patience and np.isfinite(loss):
                    best, without_gain = Kept(weights, loss, done), 0
                if watch:
                    watch(done, note["loss"], loss, accuracy)
            else:
                best = Kept(weights if np.isfinite(note["loss"]) else None, np.inf, done)
            bar.set_postfix(in_words(note), refresh=False)
            if not options.evaluate_every:
                left = (time.monotonic() - began) * (most / done - 1)
                log_epoch(label, epoch + 1, -(-most // epoch_steps), note, left)
    return finish(best, inputs, labels, validation, options.seed, label, done, note)


def finish(best, inputs, labels, validation, seed, label, done, note):
    """The Trained of the best that training has come to in `done` steps. Raises UserError if there
    is none; note are the figures of the last evaluation."""
    if best.weights is None:
        raise UserError("training ran away, its loss is no number any more: lower --learning_rate")
    mean, temperature = layers.mean_of(best.weights), 1.0
    if len(validation):
        log_end(label, best, done, note)
        temperature = fitted_temperature(mean, inputs, labels, validation, seed)
    return Trained(mean, best.step, temperature, layers.members_of(best.weights))


def first_variables(inputs, classes, rng, options):
    """TensorFlow's variables of options.members networks side by side, as {name: variable}, each
    with the members in front, [members, ...], but hidden_kernel [terms, members * units]: what
    belongs to a term is gathered at once."""
    tf = load_tensorflow()
    each = [
        layers.initial_weights(inputs, classes, rng, options.start) for _ in range(options.members)
    ]
    stacked = {name: [weights[name] for weights in each] for name in each[0]}
    return {
        name: tf.Variable((np.hstack if name == "hidden_kernel" else np.stack)(arrays))
        for name, arrays in stacked.items()
    }


def shares(batch, members, blind):
    """float32 [members, len(batch)]: what each product of a batch counts in the mean loss of each
    member, which is nothing for the member that is blind to it."""
    counts = np.ones((members, len(batch)), bool)
    if blind is not None:
        counts = blind[batch] != np.arange(members)[:, None]
    of_all = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return counts / of_all.astype(np.float32)


def adam_rate(options: Options, done: int, most: int) -> float:
    """Adam's rate after `done` of at most `most` steps."""
    return options.adam_rate * (1 - done / most if options.decay else 1)


def log_end(label, best, done, note):
    """Say what was kept, of so many steps; note are the figures of the last evaluation."""
    last = ", ".join(
        f"{name} {value}" for name, value in in_words(note).items() if name != "validation loss"
    )
    log(f"{label}: kept step {best.step} of {done}, validation loss {best.loss:.4f}, last {last}")


def shuffled(rows, count, rng):
    """Yield (epoch, batch of rows) without end: each epoch all rows, in `count` batches."""
    for epoch in itertools.count():
        for batch in np.array_split(rng.permutation(rows), count):
            yield epoch, batch


def prepared(inputs, labels, rows, statistics, options, rng, pictures, blind):
    """Yield (epoch, what the step takes of a batch) without end; see `train`."""
    for epoch, batch in shuffled(rows, -(-len(rows) // options.batch_size), rng):
        drawn = pictures(batch, epoch) if pictures else None
        tensors = batch_tensors(
            inputs, labels, batch, statistics, drawn, options.word_dropout, rng, options.members
        )
        yield epoch, {**tensors, "shares": shares(batch, options.members, blind)}


def ahead(items):
    """Yield what an iterator yields, none of it None. A thread makes the next item meanwhile, since
    TensorFlow computes without Python."""

    def following():
        with np.errstate(over="ignore", invalid="ignore"):  # as in `train`; each thread has its own
            return next(items, None)

    with futures.ThreadPoolExecutor(1) as pool:
        coming = pool.submit(following)
        while (item := coming.result()) is not None:
            coming = pool.submit(following)
            yield item


def evaluate(weights, inputs, labels, rows):
    """(loss in nats, accuracy) of a network given by its weights on products `rows`."""
    of_label, right = [], []
    for part in metrics.slices(len(rows), len(weights["bias"])):
        values = layers.logits(weights, inputs, rows[part])
        of_label.append(metrics.label_log_probability(values, labels[rows[part]]))
        right.append(values.argmax(axis=1) == labels[rows[part]])
    return metrics.mean_loss(np.concatenate(of_label)), metrics.accuracy(np.concatenate(right))


def fitted_temperature(weights, inputs, labels, rows, seed, most_scores=FITTED):
    """The temperature of a network given by its weights, fitted on products `rows`, or on a sample
    of at least 1,000 of them if all have more than most_scores."""
    most = max(1000, most_scores // len(weights["bias"]))
    if len(rows) > most:
        rows = np.random.default_rng(seed).choice(rows, most, replace=False)
    return metrics.fit_temperature(layers.logits(weights, inputs, rows), labels[rows])


def in_words(note):
    """An evaluation's figures as text."""
    return {
        name: f"{100 * value:.2f}%" if name.endswith("accuracy") else f"{value:.4f}"
        for name, value in note.items()
    }


def log_epoch(label, number, epochs, note, left):
    """Say how an epoch went, of many only of some twenty; `left` in seconds."""
    if number % (1 + epochs // 20) == 0:
        figures = ", ".join(f"{name} {value}" for name, value in in_words(note).items())
        log(f"{label}: epoch {number} of {epochs}, {figures}, at most {left:.0f} s left")


def batch_tensors(
    inputs, labels, batch, statistics, drawn=None, word_dropout=0.0, rng=None, members=1
):
    """What `make_step` takes of some products, as {name: array}; drawn [len(batch), size], if
    given, instead of their bottlenecks. Of their terms chance drops the share word_dropout, others
    for each of the members, whose bags of words stand one below the other."""
    tensors = {"labels": labels[batch].astype(np.int32)}
    if inputs.bag is not None:
        bag = inputs.bag[batch]
        keep = np.ones((members, bag.nnz), bool)
        if word_dropout:
            keep = rng.random(keep.shape, np.float32) >= word_dropout
        member, kept = np.nonzero(keep)
        values = bag.data[kept] / np.float32(1 - word_dropout)
        product = np.repeat(np.arange(len(batch)), np.diff(bag.indptr))[kept]
        rows, shape = member * len(batch) + product, (members * len(batch), bag.shape[1])
        if not inputs.alone and bag.shape[1]:
            # With no term at all TensorFlow would divide by zero, so the first one is always there.
            terms, places = np.unique(np.append(0, bag.indices), return_inverse=True)
            tensors["terms"] = terms
            tensors["places"] = np.stack([rows, places[1:][kept] * members + member], axis=1)
            tensors["values"] = values.astype(np.float32, copy=False)
        if inputs.embedding is not None:
            from scipy import sparse

            bag = sparse.csr_matrix((values, (rows, bag.indices[kept])), shape)
            vectors = (bag @ inputs.embedding).astype(np.float32, copy=False)
            tensors["vectors"] = vectors.reshape(members, len(batch), -1)
    if statistics is not None:
        mean, deviation = statistics
        drawn = layers.bottlenecks_of(inputs, batch, mean) if drawn is None else drawn
        tensors["pictures"] = (drawn - mean) / deviation
    return tensors


def usable_weights(variables, inputs, statistics):
    """The weights in numpy, as layers.members_of takes them, for bottlenecks and a bag of words as
    they are: standardising and the terms' vectors are folded in."""
    weights = {name: variable.numpy() for name, variable in variables.items()}
    if inputs.embedding is not None:
        kernel = np.hstack([inputs.embedding @ one for one in weights.pop("vector_kernel")])
        weights["hidden_kernel"] = kernel + weights.get("hidden_kernel", 0)
    if inputs.idf is not None:
        weights["idf"] = inputs.idf
    if statistics is not None:
        mean, deviation = statistics
        pictures = weights["kernel"][:, -len(mean) :]
        pictures /= deviation[:, None]
        weights["bias"] -= mean @ pictures
        weights["bottleneck_mean"] = mean
    return weights
