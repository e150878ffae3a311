"""What was tried to fuse text and picture in categorize_both.py, on validation products alone.

In: a crawl.db, the flags of categorize_both.py. Out, on stdout: a table of accuracy and negative
log-likelihood (in nats, which shows what accuracy is too coarse for), for each way. The first three
of ten folds are trained. What is fitted on validation products is fitted on one half of a fold's
and judged on the other, and the other way round; test products are not looked at.

    python benchmarks/trials_both.py --min-products 50 --weights FILE --layer mixed8
    python benchmarks/trials_both.py --min-products 50 --weights FILE --layer mixed8 --fields name
"""

import contextlib
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import categorize_both  # noqa: E402
import db  # noqa: E402
from common.terminal import log, run  # noqa: E402
from learning import (
    experiment_arguments,
    experiments,  # noqa: E402,
    fusion,
    inception,  # noqa: E402,
    layers,
    metrics,  # noqa: E402,
    picture_arguments,
    picture_classifier,
    selection,
    text_arguments,
    text_classifier,
    training,  # noqa: E402,
)

FOLDS_USED = 3
PROJECTED = 128  # units of the picture in the one network of both
GONE = 0.3  # how often it loses the text, and how often the picture


# ---- what speaks for a category, for a conditional logit ------------------------------------------


def entropy(logs):
    return -(np.exp(logs) * logs).sum(axis=1, keepdims=True)


def two_weights(text, picture, terms):
    return np.stack([text, picture], axis=2), (1, 1)


def chosen(text, picture, terms):
    return fusion.evidence(text, picture), fusion.PRIOR


def with_terms(text, picture, terms):
    found, prior = chosen(text, picture, terms)
    return np.dstack([found, np.log1p(terms)[:, None] * picture]), (*prior, 25)


def gate(text, picture, terms):
    by = [
        np.ones_like(text),
        *(
            np.broadcast_to(one, text.shape)
            for one in (entropy(text), entropy(picture), np.log1p(terms)[:, None])
        ),
    ]
    return (np.dstack([one * part for part in (text, picture) for one in by]), (1, 25, 25, 25) * 2)


def gate_and_agreement(text, picture, terms):
    found, prior = gate(text, picture, terms)
    agree = (text.argmax(axis=1) == picture.argmax(axis=1))[:, None]
    return np.dstack([found, agree * text, agree * picture]), (*prior, 25, 25)


def mixture(text, picture, terms):
    found, prior = chosen(text, picture, terms)
    return np.dstack([found, np.logaddexp(text, picture) - np.log(2)]), (*prior, 1)


def own_bias(text, picture, terms):
    found, prior = chosen(text, picture, terms)
    leaves = text.shape[1]
    own = np.broadcast_to(np.eye(leaves), (len(text), leaves, leaves))
    return np.dstack([found, own]), (*prior, *[1] * leaves)


def own_weight(text, picture, terms):
    found, prior = chosen(text, picture, terms)
    return (
        np.dstack([found, np.eye(text.shape[1]) * picture[:, None, :]]),
        (*prior, *[1] * text.shape[1]),
    )


WAYS = {
    "two weights on the log-probabilities": two_weights,
    "**and one for the picture where the text is unsure**": chosen,
    "and one for the number of known terms": with_terms,
    "a gate of both entropies and the number of terms on both parts": gate,
    "the same with agreement": gate_and_agreement,
    "the mixture of both probabilities as a fourth part": mixture,
    "a bias for each category": own_bias,
    "a weight of the picture for each category": own_weight,
}


def halves(count):
    """[(rows to fit on, rows to judge)], in turn."""
    first = np.arange(count) % 2 == 0
    return [
        (np.flatnonzero(first), np.flatnonzero(~first)),
        (np.flatnonzero(~first), np.flatnonzero(first)),
    ]


def fused(way, text, picture, terms, labels):
    """Log-probabilities [n, leaves] of validation products by a conditional logit."""
    found, prior = way(text, picture, terms)
    out = np.empty_like(text)
    for fitted, judged in halves(len(labels)):
        weights = fusion.fit_fusion(found[fitted], labels[fitted], prior)
        out[judged] = metrics.log_softmax(found[judged] @ weights)
    return out


def stacked(text, picture, terms, labels):
    """The same by logistic regression on both probability vectors, their logarithms' entropies,
    the number of terms and agreement."""
    from sklearn.linear_model import LogisticRegression

    agree = text.argmax(axis=1) == picture.argmax(axis=1)
    seen = np.hstack(
        [
            np.exp(text),
            np.exp(picture),
            entropy(text),
            entropy(picture),
            np.log1p(terms)[:, None],
            agree[:, None],
        ]
    )
    out = np.full(text.shape, np.log(1e-6))  # of a category that a half lacks
    for fitted, judged in halves(len(labels)):
        model = LogisticRegression(C=0.1, max_iter=2000).fit(seen[fitted], labels[fitted])
        out[np.ix_(judged, model.classes_)] = model.predict_log_proba(seen[judged])
    return out


# ---- one network of both ------------------------------------------------------------------------


def together(inputs, labels, classes, part, options):
    """Log-probabilities of the validation products by one network: 100 units of the words and
    PROJECTED of the picture side by side, one of the two dropped by chance in training."""
    tf = inception.load_tensorflow()
    rng = np.random.default_rng(options.seed)
    size = inputs.bottlenecks.shape[1]
    statistics = layers.bottleneck_statistics(inputs, part.training)

    def uniform(rows, columns):
        limit = (6 / (rows + columns)) ** 0.5
        return rng.uniform(-limit, limit, (rows, columns)).astype(np.float32)

    start = {
        "words": uniform(inputs.bag.shape[1], layers.HIDDEN),
        "words_bias": np.zeros(layers.HIDDEN, np.float32),
        "project": uniform(size, PROJECTED),
        "project_bias": np.zeros(PROJECTED, np.float32),
        "kernel": uniform(layers.HIDDEN + PROJECTED, classes),
        "bias": np.zeros(classes, np.float32),
    }
    variables = {name: tf.Variable(value) for name, value in start.items()}
    generator = tf.random.Generator.from_seed(options.seed)

    def scores(batch, learning):
        count = tf.size(batch["labels"])
        known = tf.gather(variables["words"], batch["terms"])
        shape = tf.cast(tf.stack([count, tf.shape(known)[0]]), tf.int64)
        bag = tf.SparseTensor(batch["places"], batch["values"], shape)
        words = tf.nn.relu(tf.sparse.sparse_dense_matmul(bag, known) + variables["words_bias"])
        picture = tf.nn.relu(batch["pictures"] @ variables["project"] + variables["project_bias"])
        if learning:
            words, picture = (
                tf.where(
                    generator.uniform(tf.shape(one)) >= options.dropout,
                    one / (1 - options.dropout),
                    0.0,
                )
                for one in (words, picture)
            )
            chance = generator.uniform([count, 1])
            words = tf.where(chance < GONE, 0.0, words)
            picture = tf.where(chance > 1 - GONE, 0.0, picture)
        return tf.concat([words, picture], 1) @ variables["kernel"] + variables["bias"]

    def loss(batch):
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(batch["labels"], scores(batch, True))
        )

    step = training.make_step(variables, loss, 0)
    epoch = -(-len(part.training) // options.batch_size)
    batches, most = training.shuffled(part.training, epoch, rng), options.max_epochs * epoch
    held = training.batch_tensors(inputs, labels, part.tuning, statistics)
    best, best_loss = None, np.inf
    for done in range(most):
        batch = training.batch_tensors(
            inputs, labels, next(batches)[1], statistics, None, options.word_dropout, rng
        )
        step(batch, options.adam_rate * (1 - done / most))
        if (done + 1) % epoch == 0:
            out = metrics.log_softmax(scores(held, False).numpy().astype(np.float64))
            found = metrics.nll(out, labels[part.tuning])
            if found < best_loss:
                best, best_loss = out, found
    temperature = metrics.fit_temperature(best, labels[part.tuning])
    return metrics.log_softmax(best / temperature)


# ---- the table ----------------------------------------------------------------------------------


def fold(products, terms, pictures, part, args, number):
    """({way: log-probabilities [n, leaves]}, labels [n]) of a fold's validation products that have
    a picture."""
    name = f"fold {number + 1} of {FOLDS_USED}"
    has_picture = pictures.rows >= 0
    text_options = text_classifier.training_options(
        text_arguments.text_options(args), len(products.ids)
    )
    part = part._replace(tuning=part.tuning[has_picture[part.tuning]])
    text = experiments.network(
        products,
        lambda rows: text_classifier.text_inputs(terms, rows, text_arguments.text_options(args)),
        text_options,
    )(part.training, part.tuning, f"{name}, text")
    picture = experiments.network(
        products, lambda rows: pictures, picture_arguments.training_options(args)
    )(part.training[has_picture[part.training]], part.tuning, f"{name}, picture")
    labels = products.taught[part.tuning]
    by_text, by_picture = (
        fusion.log_probabilities(model, part.tuning) for model in (text, picture)
    )
    known = np.diff(text.inputs.bag.indptr)[part.tuning]
    found = {"text alone": by_text, "picture alone": by_picture}
    for way, evidence in WAYS.items():
        log(f"{name}: {way}")
        found[way] = fused(evidence, by_text, by_picture, known, labels)
    found["a stacker: logistic regression on all of it, C = .1"] = stacked(
        by_text, by_picture, known, labels
    )
    log(f"{name}: one network of both")
    inputs = text.inputs._replace(bottlenecks=pictures.bottlenecks, rows=pictures.rows)
    one = together(inputs, products.taught, len(products.leaves), part, text_options)
    found["one network of both, text or picture dropped by chance"] = one
    found["the same, fused with the text alone"] = fused(two_weights, by_text, one, known, labels)
    return found, labels


def main(argv=None):
    args = categorize_both.parse(argv)
    args.folds = 10
    with contextlib.closing(db.open_readonly(args.db_path)) as conn:
        products = selection.choose_products(conn, experiment_arguments.wanted(args))
        terms = text_classifier.read_terms(conn, products, text_arguments.text_options(args))
        pictures, _, _ = picture_classifier.picture_inputs(
            conn, products, picture_arguments.picture_options(args)
        )
    results = [
        fold(products, terms, pictures, part, args, number)
        for number, part in enumerate(selection.checked_splits(products, args.folds)[:FOLDS_USED])
    ]
    labels = np.concatenate([labels for _, labels in results])
    print(f"| N = {len(labels):,} | accuracy | nll |\n|---|---|---|")
    for way in results[0][0]:
        logs = np.concatenate([found[way] for found, _ in results])
        print(
            f"| {way} | {100 * metrics.accuracy(logs.argmax(axis=1) == labels):.2f} % "
            f"| {metrics.nll(logs, labels):.3f} |"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
