"""What was tried for the network of categorize_words.py, judged on validation products alone.

In: a crawl.db. Out, on stdout: a table of accuracy and negative log-likelihood (in nats, which
shows what accuracy is too coarse for), for each way of making the bag of words and of training on
it. The first --folds-used of ten folds are trained; their test products are not looked at.

    python benchmarks/trials_text.py --min-products 50
    python benchmarks/trials_text.py --min-products 50 --folds-used 2
"""

import argparse
import contextlib
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import categorize_words  # noqa: E402
import db  # noqa: E402
from common.terminal import log, run  # noqa: E402
from learning import (
    experiment_arguments,
    layers,
    selection,
    term_counts,
    text_arguments,
    text_classifier,
    text_features,  # noqa: E402,
    training,  # noqa: E402,
)

PLAIN = {"decay": False, "word_dropout": 0.0}
TRIALS = {  # name: (kinds of terms, whether they are weighed, Options)
    "words, 0 and 1, at a steady rate": (1, False, PLAIN),
    "words, TF-IDF rows, at a steady rate": (1, True, PLAIN),
    "the same at a falling rate": (1, True, {"word_dropout": 0.0}),
    "and words of names": (2, True, {"word_dropout": 0.0}),
    "and pairs of words": (3, True, {"word_dropout": 0.0}),
    "**and half of a product's words dropped in training**": (3, True, {}),
    "the same with another seed": (3, True, {"seed": 1}),
    "a third of them": (3, True, {"word_dropout": 0.3}),
    "half of them, and no hidden unit dropped": (3, True, {"dropout": 0.0}),
}


def bag_of(terms, rows, kinds, weighed):
    """layers.Inputs over the vocabulary of `rows`, of the first so many kinds of terms."""
    columns, idf = term_counts.choose_terms(terms, rows)
    some = terms.kinds[columns] < kinds
    columns, idf = columns[some], idf[some]
    has = term_counts.presence(terms, columns)
    bag = text_features.weigh(has, idf) if weighed else has
    return layers.Inputs(bag=bag, idf=idf if weighed else None, columns=columns)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--db-path", default="crawl.db", metavar="FILE")
    parser.add_argument("--min-products", type=int, default=1000, metavar="N")
    parser.add_argument("--folds-used", type=int, default=3, metavar="N", help="(default: 3)")
    own = parser.parse_args(argv)
    args = categorize_words.parse(
        ["--db-path", own.db_path, "--folds", "10", "--min-products", str(own.min_products)]
    )
    with contextlib.closing(db.open_readonly(own.db_path)) as conn:
        products = selection.choose_products(conn, experiment_arguments.wanted(args))
        terms = text_classifier.read_terms(conn, products, text_arguments.text_options(args))
    parts = selection.checked_splits(products, args.folds)[: own.folds_used]
    options = text_classifier.training_options(text_arguments.text_options(args), len(products.ids))
    print(
        "| network, N = "
        f"{sum(len(part.tuning) for part in parts):,} | accuracy | nll |\n|---|---|---|"
    )
    for name, (kinds, weighed, more) in TRIALS.items():
        loss, right = [], []
        for part in parts:
            log(name)
            inputs = bag_of(terms, part.training, kinds, weighed)
            model = training.train(
                inputs,
                products.taught,
                len(products.leaves),
                part.training,
                part.tuning,
                options._replace(**more),
            )
            found = training.evaluate(model.weights, inputs, products.taught, part.tuning)
            loss.append(found[0])
            right.append(found[1])
        share = [len(part.tuning) for part in parts]
        print(
            f"| {name} | {100 * np.average(right, weights=share):.2f} % "
            f"| {np.average(loss, weights=share):.3f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
