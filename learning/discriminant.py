"""A softmax on vectors that is computed at once, without steps: linear discriminant analysis.

In: vectors of products and their labels. Out: weights for layers.logits, as training.train returns
them, and a temperature. Each category is a normal distribution around its mean, with a covariance
that all share (Fisher 1936; Rao 1948), shrunk towards a sphere as far as the number of products asks
for (Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices).
On few labels it is more accurate than a softmax that is trained in steps (results/README.md).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from learning import correctness, layers, metrics
from learning.experiments import Fit, Fitted
from learning.selection import Products

BLOCKS = 5  # that training products are cut into for the temperature
SCALE = 0.1  # of the logits: by themselves they are too sure, and a temperature is near 1
LEAST = 1e-3  # shrinkage; without any, the covariance of vectors in a plane has no inverse


def discriminant(products: Products, inputs: layers.Inputs, members: int = 1) -> Fit:
    """A function that fits one on the vectors of products, as experiments.experiment needs it. All
    products that it is given must have one. The temperature is fitted on training products, each
    block by what was fitted without it, so that a shop with few labels has more than its few
    validation products for that. Beside an ensemble of so many members, what is said of the blocks
    is that of its members on the products that they are blind to."""
    block = correctness.blind_members(products.u, members if members > 1 else BLOCKS)

    def fit(rows, validation, label, models=()):
        labels, classes = products.taught, len(products.leaves)
        weights = fitted_weights(inputs, rows, labels, classes)
        asked = correctness.sample(rows, products.u, classes)
        logits = held_out_logits(inputs, rows, labels, classes, block, asked)
        temperature = metrics.fit_temperature(logits, labels[asked])
        blind = None
        if members > 1:
            blind = correctness.Blind(asked, metrics.log_softmax(logits / np.float32(temperature)))
        return Fitted(
            weights,
            [0],
            len(rows),
            temperature,
            lambda rows: layers.logits(weights, inputs, rows),
            inputs,
            blind=blind,
        )

    return fit


def fitted_weights(
    inputs: layers.Inputs, rows: NDArray[np.integer], labels: NDArray[np.integer], classes: int
) -> dict[str, NDArray[np.float32]]:
    """kernel [size, classes], bias [classes] and bottleneck_mean [size] of products `rows`."""
    counts = np.bincount(labels[rows], minlength=classes)
    size = inputs.bottlenecks.shape[1] if inputs.bottlenecks is not None else 0
    sums = np.zeros((classes, size))
    for chunk, vectors in chunks(inputs, rows):
        np.add.at(sums, labels[chunk], vectors)
    middle = sums.sum(axis=0) / max(1, len(rows))
    means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], middle)
    scatter, fourth = np.zeros((size, size)), 0.0
    for chunk, vectors in chunks(inputs, rows):
        vectors = vectors - means[labels[chunk]]
        scatter += vectors.T @ vectors
        fourth += float((np.einsum("ij,ij->i", vectors, vectors) ** 2).sum())
    covariance = shrunk(scatter, fourth, max(1, len(rows) - int(np.count_nonzero(counts))))
    apart = means - middle
    kernel = SCALE * np.linalg.solve(covariance, apart.T)
    # Half a product more in each category: one without any is improbable, and not impossible.
    prior = np.log((counts + 0.5) / (counts.sum() + 0.5 * classes))
    bias = SCALE * prior - np.einsum("cs,sc->c", apart / 2, kernel) - middle @ kernel
    return {
        "kernel": kernel.astype(np.float32),
        "bias": bias.astype(np.float32),
        "bottleneck_mean": middle.astype(np.float32),
    }


def chunks(
    inputs: layers.Inputs, rows: NDArray[np.integer]
) -> Iterator[tuple[NDArray[np.integer], NDArray[np.float64]]]:
    """Yield (products, their vectors), some at a time."""
    nothing = np.zeros(inputs.bottlenecks.shape[1] if inputs.bottlenecks is not None else 0)
    for start in range(0, len(rows), layers.CHUNK):
        chunk = rows[start : start + layers.CHUNK]
        yield chunk, layers.bottlenecks_of(inputs, chunk, nothing).astype(np.float64)


def shrunk(scatter: NDArray[np.float64], fourth: float, freedom: int) -> NDArray[np.float64]:
    """A covariance [size, size] by the sum of the products of deviations, the sum of their lengths'
    fourth powers, and how many of them are free."""
    covariance, size = scatter / freedom, len(scatter)
    variance = float(np.trace(covariance)) / size or 1.0  # of vectors that are all the same: any
    apart = float((covariance**2).sum()) - size * variance**2  # from the sphere, squared
    chance = (fourth / freedom - float((covariance**2).sum())) / freedom  # of which is chance
    share = 1.0 if apart <= 0 else min(1.0, max(LEAST, chance / apart))
    return (1 - share) * covariance + share * variance * np.eye(size)


def held_out_logits(
    inputs: layers.Inputs,
    rows: NDArray[np.integer],
    labels: NDArray[np.integer],
    classes: int,
    block: NDArray[np.integer],
    asked: NDArray[np.integer],
) -> NDArray[np.float32]:
    """Logits [asked, classes] of some of the products `rows`, each by what is fitted on those of
    the other blocks, int [products]; zeros if there are no others."""
    logits = np.zeros((len(asked), classes), np.float32)
    for number in np.unique(block[asked]):
        rest, here = rows[block[rows] != number], block[asked] == number
        if len(rest):
            weights = fitted_weights(inputs, rest, labels, classes)
            logits[here] = layers.logits(weights, inputs, asked[here])
    return logits
