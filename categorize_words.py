"""Classify products by name and description; write an experiment with its test predictions.

In: crawl.db. Out: rows of experiment, predicted_category and validation_prediction, and the folder
models/experiment-N beside crawl.db. The network: a bag of the 20,000 most frequent terms of the
training products -> 100 ReLU -> softmax.

    python categorize_words.py --categories bootcut-jeans,skinny-jeans
    python categorize_words.py --min-products 50 --folds 10
"""
import argparse
import html
import re
import unicodedata

import numpy as np

import db
import experiments
import training
from console import UserError, log, run

VOCABULARY = 20_000
BATCH = 128
DROPOUT = .5


def tokens(text):
    """The words of a text: markup dropped, entities read once, case folded, and letters and digits
    of any language kept together with the apostrophes between them (women's, café, 27)."""
    plain = re.sub(r"<[^<>]*>", " ", html.unescape(text))
    folded = unicodedata.normalize("NFKC", plain).casefold().replace("\u2019", "'")
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", folded)


def count_terms(texts):
    """Read texts once. Returns (CSR float32 [n, terms]: how often a text has a term; the terms, in
    the order of the alphabet)."""
    from sklearn.feature_extraction.text import CountVectorizer
    vectorizer = CountVectorizer(analyzer=tokens, dtype=np.float32)
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:
        raise UserError("these products have no words in name or description") from None
    return counts, vectorizer.get_feature_names_out()


def text_inputs(counts, rows):
    """The bag of words of all products over the 20,000 terms most frequent in the products `rows`
    (of equals the first in the alphabet): 1 where a text has the term, however often."""
    frequency = np.asarray(counts[rows].sum(axis=0)).ravel()
    order = np.argsort(-frequency, kind="stable")[:VOCABULARY]
    columns = np.sort(order[frequency[order] > 0])
    bag = counts[:, columns]
    bag.data[:] = 1
    return training.Inputs(bag=bag, columns=columns)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    experiments.add_experiment_arguments(parser)
    parser.add_argument("--epochs", type=int, default=100, metavar="N",
                        help="times to go through the training products at the most; it ends "
                        "earlier when validation gains nothing (default: 100)")
    args = parser.parse_args(argv)
    if args.epochs < 1:
        parser.error("--epochs must be 1 or more")
    return args


def main(argv=None):
    args = parse(argv)
    conn = db.open_database(args.db_path)
    wanted, products = experiments.choose_products(conn, args)
    parts = experiments.checked_splits(products, args.folds)
    log(f"{len(products.ids)} products in {len(products.leaves)} categories: counting their words")
    counts, terms = count_terms(db.texts(conn, products.leaves))
    options = training.Options(batch_size=BATCH, max_epochs=args.epochs, dropout=DROPOUT,
                              seed=args.seed)
    outcome = experiments.experiment(products, parts, lambda rows: text_inputs(counts, rows),
                                     options)
    experiments.record(conn, args, "Text", wanted, products, outcome,
                       {"vocabulary": terms[outcome.inputs.columns].tolist()})
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
