"""Vectors of words from the company they keep, learned from the training products' own text.

In: the words of texts, and which texts to learn from. Out: a matrix of vectors. Two ways to
learn them: word2vec's skip-gram with negative sampling (Mikolov et al. 2013, arXiv 1310.4546) and
Swivel (Shazeer et al. 2016, arXiv 1602.02215). categorize_words.py uses them:

    python categorize_words.py --min-products 50 --embedding word2vec
    python categorize_words.py --min-products 50 --embedding swivel --save-embedding vectors.txt
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from common.files import replacing
from common.foreign_files import open_regular
from common.terminal import progress
from learning.tensorflow_loader import load_tensorflow

SIZE = 100  # of a vector
WINDOW = 5  # words on either side that are a word's company
EPOCHS = 10  # of word2vec
NEGATIVES = 5  # words drawn for each pair, in expectation
SHARED = 512  # of them drawn for a whole batch
BATCH = 4096  # pairs
PIECE = 500_000  # words whose pairs are shuffled at a time
OFTEN = 1e-3  # words above this share of the text are thinned out
ROWS = 4096  # of a block of Swivel's matrix, at the most
SWEEPS = 40  # of Swivel over its matrix


def chosen_words(
    texts: Iterable[list[str]], rows: np.ndarray, vocabulary: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(words int32, texts int32) of the texts `rows`, ascending: their words that are in the
    vocabulary, by their numbers there. texts are the lists of words of all texts."""
    number = {word: index for index, word in enumerate(vocabulary)}
    taken = np.zeros(rows.max(initial=-1) + 1, bool)
    taken[rows] = True
    chosen = [
        np.array([number[word] for word in words if word in number], np.int32)
        for words in itertools.compress(texts, taken)
    ]
    lengths = [len(words) for words in chosen]
    return (
        np.concatenate([np.zeros(0, np.int32), *chosen]),
        np.repeat(np.arange(len(chosen), dtype=np.int32), lengths),
    )


def neighbours(
    words: np.ndarray, texts: np.ndarray, reach: np.ndarray | None = None
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (distance, left words, right words) of all pairs within WINDOW in one text; with reach
    [words] only those that the left one reaches."""
    for distance in range(1, WINDOW + 1):
        near = texts[distance:] == texts[:-distance]
        if reach is not None:
            near &= reach[:-distance] >= distance
        yield distance, words[:-distance][near], words[distance:][near]


def make_adagrad(tf: ModuleType, rate: float) -> Callable:
    """update(variable, its sums of squares, row numbers, gradient of these rows): Adagrad (Duchi et
    al. 2011) on some rows of a matrix. A row that comes more than once is summed first: several
    threads at work on it would get in each other's way, and a seed would not repeat a run."""

    def update(variable, squares, rows, gradient):
        rows, segment = tf.unique(rows)
        gradient = tf.math.unsorted_segment_sum(gradient, segment, tf.size(rows))
        tf.raw_ops.ResourceSparseApplyAdagradV2(
            var=variable.handle,
            accum=squares.handle,
            lr=rate,
            epsilon=1e-7,
            grad=gradient,
            indices=rows,
        )

    return update


def random_vectors(
    tf: ModuleType, count: int, rng: np.random.Generator
) -> tuple[list[Any], list[Any]]:
    """Two matrices [count, SIZE] of vectors, of words and of company, and Adagrad's sums."""
    start = (rng.random((2, count, SIZE), np.float32) - 0.5) / SIZE**0.5
    return (
        [tf.Variable(matrix) for matrix in start],
        [tf.Variable(tf.fill(matrix.shape, 0.1)) for matrix in start],
    )


def word2vec(words: np.ndarray, texts: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Vectors float32 [count, SIZE] of words by skip-gram with negative sampling.

    The negatives are drawn for a whole batch of pairs and weighed down to NEGATIVES a pair, which
    turns them into a matrix product and changes nothing in expectation.
    """
    tf = load_tensorflow()
    rng = np.random.default_rng(seed)
    vectors, squares = random_vectors(tf, count, rng)
    frequency = np.bincount(words, minlength=count) / max(1, len(words))
    kept = np.minimum(1, np.sqrt(OFTEN / np.maximum(frequency, 1e-12)))
    noise = np.cumsum(frequency**0.75)
    update = make_adagrad(tf, 0.1)

    @tf.function(autograph=False, reduce_retracing=True)
    def step(left, right, drawn):
        word, near = tf.gather(vectors[0], left), tf.gather(vectors[1], right)
        far = tf.gather(vectors[1], drawn)
        with tf.GradientTape() as tape:
            tape.watch([word, near, far])
            loss = tf.reduce_sum(
                tf.nn.softplus(-tf.reduce_sum(word * near, 1))
            ) + NEGATIVES / SHARED * tf.reduce_sum(
                tf.nn.softplus(tf.matmul(word, far, transpose_b=True))
            )
        of_word, of_near, of_far = tape.gradient(loss, [word, near, far])
        update(vectors[0], squares[0], left, of_word)
        update(vectors[1], squares[1], right, of_near)
        update(vectors[1], squares[1], drawn, of_far)

    with progress("word2vec", EPOCHS * len(words), "words") as bar:
        for _ in range(EPOCHS):
            for start in range(0, len(words), PIECE):
                piece = words[start : start + PIECE]
                thin = rng.random(len(piece)) < kept[piece]
                thinned, thinned_texts = piece[thin], texts[start : start + PIECE][thin]
                reach = rng.integers(1, WINDOW + 1, len(thinned))
                pairs = list(neighbours(thinned, thinned_texts, reach))
                left = np.concatenate([side for _, a, b in pairs for side in (a, b)])
                right = np.concatenate([side for _, a, b in pairs for side in (b, a)])
                order = rng.permutation(len(left))
                for batch in np.array_split(order, -(-len(order) // BATCH)) if len(order) else ():
                    drawn = np.searchsorted(noise, rng.random(SHARED) * noise[-1])
                    step(left[batch], right[batch], drawn.astype(np.int32).clip(0, count - 1))
                bar.update(len(piece))
    return vectors[0].numpy()


def cooccurrences(words: np.ndarray, texts: np.ndarray, count: int) -> Any:
    """CSR float32 [count, count]: how often two words stand within WINDOW of each other, a pair
    at a distance d counting 1/d, both ways."""
    from scipy import sparse

    total = sparse.csr_matrix((count, count), dtype=np.float32)
    for start in range(0, len(words), 10 * PIECE):
        part = slice(start, start + 10 * PIECE)
        for distance, left, right in neighbours(words[part], texts[part]):
            weight = np.full(len(left), 1 / distance, np.float32)
            total += sparse.coo_matrix((weight, (left, right)), (count, count)).tocsr()
    return (total + total.T).tocsr()


def swivel(words: np.ndarray, texts: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Vectors float32 [count, SIZE] of words by Swivel: the product of a word's and its company's
    vector approximates their pointwise mutual information, pairs never seen included.

    Equations 2 and 3 of the paper, with its weights .1 + .25 sqrt(count) of the squared error; the
    matrix is worked off in blocks of words that are far apart in frequency.
    """
    tf = load_tensorflow()
    rng = np.random.default_rng(seed)
    vectors, squares = random_vectors(tf, count, rng)
    seen = cooccurrences(words, texts, count)
    marginal = np.log(np.maximum(np.asarray(seen.sum(axis=1)).ravel(), 1e-3)).astype(np.float32)
    total = np.float32(np.log(max(seen.sum(), 1e-3)))
    stripes = -(-count // ROWS)
    order = np.argsort(-marginal, kind="stable").astype(np.int32)
    blocks = [order[stripe::stripes] for stripe in range(stripes)]
    update = make_adagrad(tf, 0.3)

    @tf.function(autograph=False, reduce_retracing=True)
    def step(rows, columns, seen, row_marginal, column_marginal):
        word, near = tf.gather(vectors[0], rows), tf.gather(vectors[1], columns)
        with tf.GradientTape() as tape:
            tape.watch([word, near])
            product = tf.matmul(word, near, transpose_b=True)
            expected = row_marginal[:, None] + column_marginal[None] - total
            there = seen > 0
            error = product - (tf.math.log(tf.where(there, seen, 1.0)) - expected)
            loss = tf.reduce_sum(
                tf.where(
                    there, 0.5 * (0.1 + 0.25 * tf.sqrt(seen)) * error**2, tf.nn.softplus(error)
                )
            )
        of_word, of_near = tape.gradient(loss, [word, near])
        update(vectors[0], squares[0], rows, of_word)
        update(vectors[1], squares[1], columns, of_near)

    with progress("swivel", SWEEPS * stripes**2, "blocks") as bar:
        for _ in range(SWEEPS):
            for block in rng.permutation(stripes**2):
                rows, columns = blocks[block // stripes], blocks[block % stripes]
                step(
                    rows,
                    columns,
                    seen[rows][:, columns].toarray(),
                    marginal[rows],
                    marginal[columns],
                )
                bar.update()
    return (vectors[0] + vectors[1]).numpy()


def may_be_replaced(path: str) -> bool:
    """Whether there is no such file, or one that begins as those of `save` do. Nothing else is read
    of it, however large it is, and nothing is waited for."""
    try:
        with open_regular(path, sys.maxsize, follow=True) as file:
            return re.fullmatch(rb"(\d+ \d+\n.*)?", file.read(40), re.S) is not None
    except FileNotFoundError:
        return True
    except OSError:
        return False


def save(path: str, names: Sequence[str], vectors: np.ndarray) -> None:
    """Write word2vec's text format, whole or not at all: count and size, then a word a line."""
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as file:
        file.write(f"{len(names)} {vectors.shape[1]}\n")
        for name, vector in zip(names, vectors):
            file.write(f"{name} {' '.join(f'{value:.6g}' for value in vector.tolist())}\n")
