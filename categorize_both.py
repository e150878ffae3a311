"""Classify products by text and picture together; write an experiment with its test predictions.

In: crawl.db and the pictures in images/. Out: as categorize_words.py. The network of the original
study: the 100 hidden units of the text and the bottleneck of the picture side by side into one
softmax. A product without a readable picture is answered from its words.

    python categorize_both.py --categories bootcut-jeans,skinny-jeans
    python categorize_both.py --min-products 50 --weights FILE --layer mixed8
"""
import time

import categorize_images
import categorize_words
import db
import retrain
from console import run


def main(argv=None):
    args, started = categorize_images.parse(argv, __doc__), time.monotonic()
    conn = db.open_database(args.db_path)
    wanted = retrain.wanted_names(args.categories)
    leaves = [leaf["id"] for leaf in db.choose_leaves(conn, wanted, args.min_products)]
    products = retrain.make_products(db.labelled_products(conn, leaves), leaves, db.parents(conn))
    parts = retrain.checked_splits(products, args.folds)
    counts, terms = categorize_words.count_terms(db.texts(conn, leaves))
    pictures, fingerprint = categorize_images.picture_inputs(conn, leaves, products.ids, args)

    def inputs_for(rows):
        return categorize_words.text_inputs(counts, rows)._replace(
            bottlenecks=pictures.bottlenecks, rows=pictures.rows)

    options = retrain.picture_options(args)._replace(dropout=categorize_words.DROPOUT)
    outcome = retrain.experiment(products, parts, inputs_for, options)
    extra = {"kind": "Image+Text", "bottleneck": fingerprint,
             "vocabulary": terms[outcome.inputs.columns].tolist()}
    name = db.experiment_name("Image+Text", wanted)
    number = db.save_experiment(
        conn, args.db_path, name,
        {**outcome.settings, **retrain.run_settings(args, started), "bottleneck": fingerprint,
         "without picture": int((pictures.rows < 0).sum())},
        outcome.predicted, outcome.validation,
        lambda folder: retrain.save_model(folder, outcome, products, extra))
    print(f"#{number}: {name}", *outcome.summary, sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
