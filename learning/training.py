"""The training of the network on top of words and bottlenecks.

In: Inputs and labels of products. Out: Trained weights, a handful of numpy arrays from which
layers.logits gives scores without TensorFlow. The three classifiers and retrain.py train with it:

    python categorize_words.py --epochs 5
    python retrain.py --image_dir flower_photos --learning_rate 0.01
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from common.terminal import UserError, log, progress
from learning import layers, metrics
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


class Trained(NamedTuple):
    weights: dict  # name -> float32 array; see layers.logits
    steps: int  # of the weights kept
    temperature: float  # fitted on validation; 1 without


def make_loss(variables, dropout, seed):
    """A TensorFlow function of a batch: the mean cross-entropy of the network of these variables,
    hidden units dropped by chance."""
    tf = load_tensorflow()
    generator = tf.random.Generator.from_seed(seed)

    def hidden_units(batch):
        total = variables["hidden_bias"]
        if "hidden_kernel" in variables:
            width = variables["hidden_kernel"].shape[0]
            shape = tf.cast(tf.stack([tf.size(batch["labels"]), width]), tf.int64)
            bag = tf.SparseTensor(batch["places"], batch["values"], shape)
            total = total + tf.sparse.sparse_dense_matmul(bag, variables["hidden_kernel"])
        if "vector_kernel" in variables:
            total = total + batch["vectors"] @ variables["vector_kernel"]
        hidden = tf.nn.relu(total)
        if dropout:
            keep = generator.uniform(tf.shape(hidden)) >= dropout
            hidden = tf.where(keep, hidden / (1 - dropout), 0.0)
        return hidden

    def loss(batch):
        parts = [hidden_units(batch)] if "hidden_bias" in variables else []
        if "pictures" in batch:
            parts.append(batch["pictures"])
        scores = tf.concat(parts, 1) @ variables["kernel"] + variables["bias"]
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(batch["labels"], scores)
        )

    return loss


def make_step(variables, loss_of, learning_rate):
    """A TensorFlow function for one step of training at a rate of Adam that returns the batch's
    loss. A learning_rate above 0 means gradient descent.

    Adam is TensorFlow's own fused kernel (Kingma and Ba 2015, algorithm 1): with millions of hidden
    weights the optimiser is the cost of a step, and Keras' takes more than twice as long.
    """
    tf = load_tensorflow()
    slots = {
        name: (tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v)))
        for name, v in variables.items()
    }
    power = (tf.Variable(1.0), tf.Variable(1.0))

    def one_step(batch, rate):
        with tf.GradientTape() as tape:
            loss = loss_of(batch)
        gradients = tape.gradient(loss, list(variables.values()))
        for decay, so_far in zip((0.9, 0.999), power):
            so_far.assign(so_far * decay)
        for name, gradient in zip(variables, gradients):
            gradient = tf.convert_to_tensor(gradient)
            if learning_rate:
                variables[name].assign_sub(learning_rate * gradient)
            else:
                mean, square = slots[name]
                tf.raw_ops.ResourceApplyAdam(
                    var=variables[name].handle,
                    m=mean.handle,
                    v=square.handle,
                    beta1_power=power[0],
                    beta2_power=power[1],
                    lr=rate,
                    beta1=0.9,
                    beta2=0.999,
                    epsilon=1e-7,
                    grad=gradient,
                )
        return loss

    compiled = []

    def step(batch, rate):
        if not compiled:  # one function for batches of any length; by itself it would make several
            kinds = {
                name: tf.TensorSpec([None, *value.shape[1:]], value.dtype)
                for name, value in batch.items()
            }
            compiled.append(
                tf.function(
                    one_step,
                    autograph=False,
                    input_signature=[kinds, tf.TensorSpec([], tf.float32)],
                )
            )
        return compiled[0](batch, tf.constant(rate, tf.float32))

    return step


class Kept(NamedTuple):
    """The best that training has come to so far."""

    weights: dict | None
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
) -> Trained:
    """Train a network on products `rows`, watching products `validation`.

    It stops when the validation loss has not fallen for options.patience evaluations, and keeps the
    weights with the lowest. Without validation rows it takes as many steps as it may. Bottlenecks
    are standardised for training only: the weights returned take them as they are. If it evaluates
    once an epoch, it says so in a line each.

    pictures(rows, epoch), if given, is what to train on instead of the bottlenecks of these
    products. watch(step, training loss, validation loss, validation accuracy), if given, is called
    at each evaluation. Raises UserError if the loss is no number.
    """
    tf = load_tensorflow()
    rng = np.random.default_rng(options.seed)
    variables = {
        name: tf.Variable(value)
        for name, value in layers.initial_weights(inputs, classes, rng, options.start).items()
    }
    statistics = (
        layers.bottleneck_statistics(inputs, rows) if inputs.bottlenecks is not None else None
    )
    step = make_step(
        variables, make_loss(variables, options.dropout, options.seed), options.learning_rate
    )
    epoch_steps = -(-len(rows) // options.batch_size)
    most = options.max_epochs * epoch_steps or options.max_steps
    every, patience = options.evaluate_every or epoch_steps, options.patience or np.inf
    batches = shuffled(rows, epoch_steps, rng)
    best, without_gain = Kept(None, np.inf, 0), 0
    done, losses, began = 0, [], time.monotonic()
    # A run that diverges is reported below, in a sentence, not by numpy at every step.
    with progress(label, most, "steps") as bar, np.errstate(over="ignore", invalid="ignore"):
        while done < most and without_gain < patience:
            epoch, batch = next(batches)
            drawn = pictures(batch, epoch) if pictures else None
            tensors = batch_tensors(
                inputs, labels, batch, statistics, drawn, options.word_dropout, rng
            )
            losses.append(step(tensors, adam_rate(options, done, most)))
            done += 1
            bar.update()
            if done % every and done < most:
                continue
            weights = usable_weights(variables, inputs, statistics)
            note, losses = {"loss": float(np.mean(losses))}, []
            if len(validation):
                loss, accuracy = evaluate(weights, inputs, labels, validation)
                note.update({"validation loss": loss, "validation accuracy": accuracy})
                without_gain += 1
                if loss < best.loss or not options.patience and np.isfinite(loss):
                    best, without_gain = Kept(weights, loss, done), 0
                if watch:
                    watch(done, note["loss"], loss, accuracy)
            bar.set_postfix(in_words(note), refresh=False)
            if not options.evaluate_every:
                left = (time.monotonic() - began) * (most / done - 1)
                log_epoch(label, epoch + 1, -(-most // epoch_steps), note, left)
    if not len(validation) and np.isfinite(note["loss"]):
        return Trained(weights, done, 1.0)
    if best.weights is None:
        raise UserError("training ran away, its loss is no number any more: lower --learning_rate")
    log_end(label, best, done, note)
    temperature = fitted_temperature(best.weights, inputs, labels, validation, options.seed)
    return Trained(best.weights, best.step, temperature)


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


def batch_tensors(inputs, labels, batch, statistics, drawn=None, word_dropout=0.0, rng=None):
    """What `make_step` takes of some products, as {name: array}; drawn [len(batch), size], if
    given, instead of their bottlenecks. Of their terms chance drops the share word_dropout."""
    tensors = {"labels": labels[batch].astype(np.int32)}
    if inputs.bag is not None:
        bag = inputs.bag[batch]
        if word_dropout:
            bag.data[rng.random(len(bag.data), np.float32) < word_dropout] = 0
            bag.eliminate_zeros()
            bag.data /= 1 - word_dropout
        if not inputs.alone:
            products = np.repeat(np.arange(len(batch)), np.diff(bag.indptr))
            tensors["places"] = np.stack([products, bag.indices.astype(np.int64)], axis=1)
            tensors["values"] = bag.data.astype(np.float32, copy=False)
        if inputs.embedding is not None:
            tensors["vectors"] = (bag @ inputs.embedding).astype(np.float32, copy=False)
    if statistics is not None:
        mean, deviation = statistics
        drawn = layers.bottlenecks_of(inputs, batch, mean) if drawn is None else drawn
        tensors["pictures"] = (drawn - mean) / deviation
    return tensors


def usable_weights(variables, inputs, statistics):
    """The weights in numpy, for bottlenecks and a bag of words as they are: standardising and the
    terms' vectors are folded in."""
    weights = {name: variable.numpy() for name, variable in variables.items()}
    if inputs.embedding is not None:
        kernel = inputs.embedding @ weights.pop("vector_kernel")
        weights["hidden_kernel"] = kernel + weights.get("hidden_kernel", 0)
    if inputs.idf is not None:
        weights["idf"] = inputs.idf
    if statistics is not None:
        mean, deviation = statistics
        pictures = slice(len(weights["kernel"]) - len(mean), None)
        weights["kernel"][pictures] /= deviation[:, None]
        weights["bias"] -= mean @ weights["kernel"][pictures]
        weights["bottleneck_mean"] = mean
    return weights
