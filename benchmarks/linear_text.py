"""The plain rival of categorize_words.py: TF-IDF and logistic regression on the same products.

In: a crawl.db. Out, on stdout: the six figures of analyze.py. The split and the words are those of
categorize_words.py; having no use for a validation set, it trains on that too.

    python benchmarks/linear_text.py --min-products 50
    python benchmarks/linear_text.py --min-products 50 --folds 10
"""
import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import categorize_words  # noqa: E402
import db  # noqa: E402
import experiments  # noqa: E402
import metrics  # noqa: E402
from console import run  # noqa: E402


def predict(counts, labels, train, test):
    """(score, predicted class) [len(test)] of a model fitted on products `train`."""
    terms = counts[:, categorize_words.text_inputs(counts, train).columns]
    weighted = TfidfTransformer(sublinear_tf=True).fit(terms[train]).transform(terms)
    model = LogisticRegression(C=10, max_iter=500).fit(weighted[train], labels[train])
    probability = model.predict_proba(weighted[test])
    return probability.max(axis=1), model.classes_[probability.argmax(axis=1)]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    experiments.add_experiment_arguments(parser)
    args = parser.parse_args(argv)
    conn = db.open_database(args.db_path)
    _, products = experiments.choose_products(conn, args)
    counts, _ = categorize_words.count_terms(db.texts(conn, products.leaves))
    parents = np.array(products.parents)
    score, right, above = [], [], []
    for *known, test in experiments.checked_splits(products, args.folds):
        surest, guess = predict(counts, products.labels, np.concatenate(known), test)
        score.append(surest)
        right.append(guess == products.labels[test])
        above.append(parents[guess] == parents[products.labels[test]])
    print(*metrics.summary(*map(np.concatenate, (score, right, above))), sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
