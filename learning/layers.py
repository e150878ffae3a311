"""The network as numpy sees it: what it looks at, its first weights, and its scores.

In: words and bottlenecks of products, as Inputs, and weights. Out: logits, without TensorFlow, which
training.py needs to find better weights.
"""

from __future__ import annotations

import mmap
from typing import Any, NamedTuple

import numpy as np

from common.terminal import UserError
from learning import metrics

HIDDEN = 100  # ReLU units between the bag of words and the softmax
CHUNK = 4096  # products whose bottlenecks are read at a time


class Inputs(NamedTuple):
    """What a network sees of n products; a part it does not use is None."""

    bag: Any = None  # scipy CSR float32 [n, terms], weighed, or 0 and 1
    idf: np.ndarray | None = None  # float32 [terms], what the bag was weighed with
    embedding: np.ndarray | None = None  # float32 [terms, size]: the sum of the vectors of a
    #                                          product's terms is seen too
    alone: bool = False  # or is all that is seen
    bottlenecks: np.ndarray | None = None  # float32 or float16 [m, size], memory-mapped
    rows: np.ndarray | None = None  # int [n]: a product's row of bottlenecks, -1: none
    columns: np.ndarray | None = None  # int [terms], the catalogue's terms that the bag has


def logits(weights: dict[str, np.ndarray], inputs: Inputs, rows: np.ndarray) -> np.ndarray:
    """Logits [len(rows), classes] of a network given by its weights, in numpy.

    hidden_kernel [terms, units] and hidden_bias: bag of words -> ReLU (idf [terms], if it is among
    them, is what text_features.weigh made the bag with); bottleneck_mean [size] stands in for a
    missing picture; kernel [units and/or size, classes] and bias: the parts side by side ->
    classes.
    """
    out = np.empty((len(rows), len(weights["bias"])), np.float32)
    for part in metrics.slices(*out.shape):
        chunk, parts = rows[part], []
        if "hidden_kernel" in weights:
            parts.append(
                np.maximum(inputs.bag[chunk] @ weights["hidden_kernel"] + weights["hidden_bias"], 0)
            )
        if "bottleneck_mean" in weights:
            parts.append(bottlenecks_of(inputs, chunk, weights["bottleneck_mean"]))
        out[part] = np.hstack(parts) @ weights["kernel"] + weights["bias"]
    return out


def members_of(weights: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The weights of each of several networks that are trained side by side: hidden_kernel [terms,
    members * units], hidden_bias [members, units], kernel [members, width, classes] and bias
    [members, classes]; all else they share."""
    members = len(weights["bias"])
    parts = {
        name: np.split(weights[name], members, axis=1) if name == "hidden_kernel" else weights[name]
        for name in ("hidden_kernel", "hidden_bias", "kernel", "bias")
        if name in weights
    }
    return [
        {**weights, **{name: part[place] for name, part in parts.items()}}
        for place in range(members)
    ]


def mean_of(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of one network whose logits are the mean of those of the networks that
    `members_of` has: their hidden units stand side by side already, and what these say is divided
    by the number of members."""
    kernels, mean = weights["kernel"], {**weights}
    hidden = 0
    if "hidden_bias" in weights:
        hidden = weights["hidden_bias"].shape[1]
        mean["hidden_bias"] = weights["hidden_bias"].ravel()
    words = kernels[:, :hidden].reshape(-1, kernels.shape[2]) / np.float32(len(kernels))
    mean["kernel"] = np.concatenate([words, kernels[:, hidden:].mean(axis=0)])
    mean["bias"] = weights["bias"].mean(axis=0)
    return mean


def likeliest_classes(
    weights: dict[str, np.ndarray], inputs: Inputs, rows: np.ndarray
) -> np.ndarray:
    """int [len(rows)]: the class with the highest logit, of which only a chunk is in memory."""
    parts = metrics.slices(len(rows), len(weights["bias"]))
    return np.concatenate([logits(weights, inputs, rows[part]).argmax(axis=1) for part in parts])


def bottlenecks_of(inputs, products, mean):
    """Bottlenecks [len(products), size], the mean if a product has no picture. They are read in the
    order of the file, which may not fit in memory. Raises UserError if the mean, which is a saved
    model's, is of others."""
    if len(mean) != inputs.bottlenecks.shape[1]:
        raise UserError(
            f"the model takes vectors of {len(mean)} numbers, and these have "
            f"{inputs.bottlenecks.shape[1]}: it is damaged, train again"
        )
    rows = inputs.rows[products]
    pictures = np.repeat(mean[None], len(products), axis=0)
    order = np.argsort(rows)
    order = order[rows[order] >= 0]
    pictures[order] = read_rows(inputs.bottlenecks, rows[order])
    return pictures


def read_rows(matrix, rows):
    """Rows [len(rows), size] of a matrix, in rising order. If it is mapped from a file, the disk is
    asked for all of them at once: page by page it would read megabytes around each."""
    if isinstance(matrix.base, mmap.mmap) and len(rows):
        parts = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
        for first, last in [(int(part[0]), int(part[-1])) for part in parts]:
            start = first * matrix.strides[0] // mmap.PAGESIZE * mmap.PAGESIZE
            end = (last + 1) * matrix.strides[0]
            matrix.base.madvise(mmap.MADV_WILLNEED, start, end - start)
    return matrix[rows]


def bottleneck_statistics(inputs, train):
    """Mean and standard deviation [size] of the training products' bottlenecks."""
    rows = inputs.rows[train]
    rows = np.sort(rows[rows >= 0])
    total = np.zeros((2, inputs.bottlenecks.shape[1]))
    for start in range(0, len(rows), CHUNK):
        chunk = read_rows(inputs.bottlenecks, rows[start : start + CHUNK]).astype(np.float64)
        total += chunk.sum(axis=0), np.einsum("ij,ij->j", chunk, chunk)
    mean, square = total / max(1, len(rows))
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    # A unit that hardly ever fires must not be blown up to the size of the others.
    live = deviation[deviation > 0]
    floor = 0.1 * np.median(live) + 1e-6 if len(live) else 1.0
    return mean.astype(np.float32), np.maximum(deviation, floor).astype(np.float32)


def initial_weights(inputs, classes, rng, start="glorot"):
    """Glorot's uniform start (AISTATS 2010, equation 16), biases 0; or that of 2016, uniform within
    1 / sqrt(inputs), biases too."""

    def uniform(rows, columns):
        limit = (6 / (rows + columns)) ** 0.5 if start == "glorot" else rows**-0.5
        return rng.uniform(-limit, limit, (rows, columns)).astype(np.float32)

    def bias(rows, columns):
        return np.zeros(columns, np.float32) if start == "glorot" else uniform(rows, columns)[0]

    weights, width = {}, 0
    if inputs.bag is not None:
        if not inputs.alone:
            weights["hidden_kernel"] = uniform(inputs.bag.shape[1], HIDDEN)
        if inputs.embedding is not None:
            weights["vector_kernel"] = uniform(inputs.embedding.shape[1], HIDDEN)
        weights["hidden_bias"] = bias(inputs.bag.shape[1], HIDDEN)
        width += HIDDEN
    if inputs.bottlenecks is not None:
        width += inputs.bottlenecks.shape[1]
    weights["kernel"] = uniform(width, classes)
    weights["bias"] = bias(width, classes)
    return weights
