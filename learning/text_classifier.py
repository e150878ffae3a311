"""The classifier by name and description: a bag of words -> 100 ReLU -> softmax.

In: products and their texts. Out: inputs and options for training, what the saved model has to know
of words, and a function from new products to logits. categorize_words.py and categorize_both.py
train by it.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.terminal import log
from learning import (
    discriminant,
    encodings,
    experiments,
    fusion,
    layers,
    lexicons,
    queries,
    term_counts,
    text_features,
    training,
    word_vectors,
)
from learning.experiments import Fitted
from learning.selection import Products
from learning.term_counts import Terms

EPOCHS = 3  # at least, if --epochs does not say
FEW = 5_000  # training products


class TextOptions(NamedTuple):
    """What of a product's text is read, and how the classifier is trained on it."""

    network: str = "default"  # or original, that of 2016
    fields: Sequence[str] = ("name", "description")
    epochs: int | None = None  # None: as many as so many products need
    embedding: str | None = None  # word2vec or swivel
    embedding_alone: bool = False
    save_embedding: str | None = None  # a file
    seed: int = 0
    encoder: encodings.Asked = encodings.Asked()


def text_inputs(terms: Terms, rows: np.ndarray, options: TextOptions) -> layers.Inputs:
    """Inputs with the bag of words of all products, over the vocabulary of the products `rows`; for
    the original network of 0 and 1. With options.embedding the vectors are learned here too."""
    columns, idf = term_counts.choose_terms(terms, rows)
    has = term_counts.presence(terms, columns)
    kinds, names = terms.kinds[columns], terms.names[columns]
    alone, named, pairs = np.bincount(kinds, minlength=3)
    log(f"vocabulary: {alone} words, {named} of names, {pairs} pairs")
    if options.network == "original":
        return layers.Inputs(bag=has, columns=columns)
    inputs = layers.Inputs(bag=text_features.weigh(has, idf), idf=idf, columns=columns)
    if not options.embedding:
        return inputs
    words = names[kinds == term_counts.WORD]
    learn = word_vectors.word2vec if options.embedding == "word2vec" else word_vectors.swivel
    vectors = learn(
        *word_vectors.chosen_words(terms.words(), rows, words), len(words), options.seed
    )
    if options.save_embedding:
        word_vectors.save(options.save_embedding, words, vectors)
    # Their length is that of chance; the median one becomes 1, like a weight's of the bag.
    spread = term_vectors(vectors / np.median(np.linalg.norm(vectors, axis=1)), words, names)
    return inputs._replace(embedding=spread, alone=options.embedding_alone)


def term_vectors(vectors: np.ndarray, words: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """The vectors float32 [terms, size] of terms by those of `words`: a word of the name has its
    word's once more, a pair and a word that is none of these have zeros."""
    number = {word: row for row, word in enumerate(words)}
    rows = np.array([number.get(name.removeprefix("name:"), -1) for name in names], int)
    spread = np.zeros((len(names), vectors.shape[1]), np.float32)
    spread[rows >= 0] = vectors[rows[rows >= 0]]
    return spread


def description(terms: Terms, columns: np.ndarray, options: TextOptions) -> dict:
    """What the saved model has to know of words."""
    return {
        "network": options.network,
        "fields": options.fields,
        "vocabulary": terms.names[columns].tolist(),
    }


def training_options(options: TextOptions, count: int) -> training.Options:
    """Options for training on so many products' words: batches small enough for some 40 steps an
    epoch. All of it was chosen on the validation products of public catalogues."""
    if options.network == "original":
        return training.Options(
            batch_size=32,
            max_epochs=options.epochs or 5,
            patience=0,
            start="2016",
            seed=options.seed,
        )
    # Large steps save time, and cost accuracy where products are few and there is none to save.
    batch, steps, rate = min(count // 50, 2048), 160, 0.01
    if count < FEW:
        batch, steps, rate = max(count // 100, 32), 330, 0.005
    epochs = options.epochs or max(EPOCHS, math.ceil(steps * batch / (0.8 * count)))
    return training.Options(
        batch_size=batch,
        max_epochs=epochs,
        patience=2,
        adam_rate=rate,
        decay=True,
        dropout=0.5,
        word_dropout=0.5,
        seed=options.seed,
    )


# ---- with an encoder ----------------------------------------------------------------------------


def text_fit(
    products: Products,
    terms: Terms,
    options: TextOptions,
    encoded: layers.Inputs | None,
    members: int = 1,
) -> experiments.Fit:
    """A function that trains the classifier, as experiments.experiment needs it: that of words, an
    ensemble of so many members, or with vectors of an encoder that one and a discriminant of these,
    fused."""
    words = experiments.network(
        products,
        lambda rows: text_inputs(terms, rows, options),
        training_options(options, len(products.ids))._replace(members=members),
    )
    if encoded is None or encoded.rows is None:
        return words
    encoder = discriminant.discriminant(products, encoded, members)
    return fusion.fusion(products, words, encoder, encoded.rows >= 0, fusion.ENCODER)


def encoded_inputs(
    conn: sqlite3.Connection, products: Products, options: TextOptions
) -> tuple[layers.Inputs | None, dict]:
    """(Inputs with the vectors of the products' texts, what to record of them); (None, {}) without
    an encoder. Raises UserError if it can't be used."""
    if options.encoder.path is None:
        return None, {}
    opened = encodings.open_encoder(options.encoder.path, options.encoder.db_path)

    def texts():
        return (
            encodings.text_of(name, text, options.fields)
            for name, text in queries.texts(conn, products.leaves, products.rule)
        )

    rows = encodings.rows_of(opened, texts)
    encodings.say_unknown(options.encoder.path, rows)
    return (
        layers.Inputs(bottlenecks=opened.cache.matrix(), rows=rows),
        {"encoder": opened.encoder.fingerprint, "without vector": int((rows < 0).sum())},
    )


def words_of(model: Fitted) -> Fitted:
    """The network of words in a model, which may be fused with others."""
    while model.parts:
        model = model.parts[0]
    return model


class Misled(NamedTuple):
    """What terms said for wrong predictions and against the labels, of one split."""

    said: Any  # scipy CSR float32 [leaves, terms], sums of logits by label
    taken: Any  # scipy CSR int [leaves, leaves], how often a label was taken for which leaf


def misled(
    products: Products, terms: Terms, model: Fitted, test: np.ndarray, guesses: np.ndarray
) -> Misled:
    """The Misled of a split; guesses are the leaves that its test products were predicted in. It
    keeps at most 8 bytes for each term of a product that is predicted wrongly."""
    from scipy import sparse

    wrong = np.flatnonzero(guesses != products.labels[test])
    rows, guesses, labels = test[wrong], guesses[wrong], products.labels[test[wrong]]
    model = words_of(model)
    bag, leaves = model.inputs.bag[rows], len(products.leaves)
    logits = [
        text_features.contributions(model.weights, row.indices, row.data, guess, label)[0]
        for row, guess, label in zip(bag, guesses, labels)
    ]
    places = np.repeat(labels, np.diff(bag.indptr)), np.asarray(model.inputs.columns)[bag.indices]
    values = np.concatenate([*logits, np.zeros(0, np.float32)])
    said = sparse.csr_matrix((values, places), (leaves, len(terms.names)))
    taken = sparse.csr_matrix((np.ones(len(rows), int), (labels, guesses)), (leaves, leaves))
    return Misled(said, taken)


def worst_categories(
    products: Products, terms: Terms, predicted: np.ndarray, splits: Sequence[Misled], most: int = 5
) -> list[str]:
    """Lines about the leaves that were most often predicted wrongly, of those with ten test
    products or more if there are such: what they were taken for, and the words that misled.
    predicted is predictions.PREDICTION of all splits."""
    right = predicted["label"] == predicted["best"][:, 0]
    total = np.bincount(predicted["label"], minlength=len(products.leaves))
    wrong = np.bincount(predicted["label"][~right], minlength=len(products.leaves))
    enough = 10 if total.max(initial=0) >= 10 else 1
    worst = sorted(
        np.flatnonzero((total >= enough) & (wrong > 0)).tolist(),
        key=lambda label: (-wrong[label] / total[label], products.leaves[label]),
    )[:most]
    if not worst:
        return []
    lines = [
        "the worst categories, and the words that misled most (in logits, on the average of "
        "the errors):"
    ]
    for label in worst:
        times = sum(split.taken[label].toarray()[0] for split in splits)
        said = sum(split.said[label].toarray()[0] for split in splits) / wrong[label]
        best = sorted((-said[term], terms.names[term]) for term in np.flatnonzero(said > 0))[:5]
        lines.append(
            f"  {products.leaves[label]}: {100 - 100 * wrong[label] / total[label]:.1f}% right of "
            f"{total[label]}, {times.max()} taken for {products.leaves[times.argmax()]}; "
            + ", ".join(f"{term} +{-logit:.2f}" for logit, term in best)
        )
    return lines


def text_scorer(weights: dict, described: dict, vectors: encodings.Find | None = None) -> Callable:
    """A function: rows with name and description -> (logits [n, leaves], words, how many of them
    are unknown, [n] each), by a saved model; `vectors` finds those of its encoder, if it has one."""
    if vectors is None:
        return words_scorer(weights, described)
    words, encoder = fusion.parted(weights, fusion.ENCODER)
    by_words = words_scorer(words, described)
    temperatures = described[fusion.ENCODER.key]["used temperatures"]

    def score(rows: Sequence) -> tuple:
        logits, count, unknown = by_words(rows)
        matrix, places = vectors(rows)
        by_encoder = layers.logits(
            encoder, layers.Inputs(bottlenecks=matrix, rows=places), np.arange(len(rows))
        )
        fused = fusion.saved_logits(
            weights, temperatures, logits, by_encoder, places >= 0, fusion.ENCODER
        )
        return fused, count, unknown

    return score


def words_scorer(weights: dict, described: dict) -> Callable:
    """`text_scorer` of the network of words."""
    lexicon = lexicons.make_lexicon(described, weights)

    def score(rows: Sequence) -> tuple:
        bag, count, unknown = lexicons.bag_of(
            lexicon, ((row["name"], row["description"]) for row in rows)
        )
        return (
            layers.logits(weights, layers.Inputs(bag=bag), np.arange(len(rows))),
            count,
            unknown,
        )

    return score


def scorer(
    encoder: encodings.Asked, weights: dict, description: dict, waiting: object = None
) -> Callable:
    """A function from new products to logits and what they rest on, as picture_classifier.scorer
    has it, by a saved model. It does without the pictures of those that are waiting."""
    by_text = text_scorer(weights, description, encodings.finder(encoder, description, ahead=True))

    def score(rows: Sequence) -> tuple:
        logits, count, unknown = by_text(rows)
        return logits, count > 0, count, unknown, [row["path"] is not None for row in rows]

    return score


def unknown_shares(
    terms: Terms, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(rows, float [rows]): the share of the words of each of these products that are not in the
    vocabulary, the terms `columns`; products without words are left out."""
    words = terms.kinds == term_counts.WORD
    strange = words.copy()
    strange[columns] = False
    counts = terms.counts[rows]
    total, unknown = counts @ words.astype(int), counts @ strange.astype(int)
    with_words = total > 0
    return rows[with_words], unknown[with_words] / total[with_words]


def measured_unknown(
    conn: sqlite3.Connection, products: Products, measured: Sequence[tuple]
) -> dict:
    """What the experiment keeps of unknown_shares of its splits, which filing.py compares new
    products with: mean and variance for each shop, and for all under ''."""
    rows, shares = map(np.concatenate, zip(*measured))
    moments = {"": [float(shares.mean()), float(shares.var())]} if len(shares) else {}
    codes: dict[str, int] = {}
    numbered = np.fromiter(
        (
            (number, codes.setdefault(source, len(codes)))
            for number, source in queries.product_sources(conn)
        ),
        [("product", "i8"), ("source", "i4")],
    )
    measured_here = np.isin(products.ids[rows], numbered["product"])
    ids, shares = products.ids[rows][measured_here], shares[measured_here]
    of_source = numbered["source"][np.searchsorted(numbered["product"], ids)]
    order = np.argsort(of_source, kind="stable")  # one sort, however many shops there are
    ends = np.cumsum(np.bincount(of_source, minlength=len(codes)))
    for source, of_shop in zip(codes, np.split(shares[order], ends)):
        if len(of_shop):
            moments[source] = [float(of_shop.mean()), float(of_shop.var())]
    return {"unknown words": moments}


def read_terms(conn: sqlite3.Connection, products: Products, options: TextOptions) -> Terms:
    """term_counts.Terms of the products' texts, of the fields asked for."""
    original = options.network == "original"

    def read():
        return (
            (
                name if "name" in options.fields else "",
                text if "description" in options.fields else "",
            )
            for name, text in queries.texts(conn, products.leaves, products.rule)
        )

    texts = list(read()) if options.embedding else None  # its words are read again for each model
    return term_counts.count_terms(
        read if texts is None else lambda: texts,
        text_features.tokens_of_2016 if original else text_features.tokens,
        original,
    )
