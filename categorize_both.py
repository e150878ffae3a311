"""Classify products by text and picture together; write an experiment with its test predictions.

In: crawl.db and the pictures in images/. Out: as categorize_words.py. The network of the original
study: the 100 hidden units of the text and the bottleneck of the picture side by side into one
softmax. A product without a readable picture is answered from its words.

    python categorize_both.py --categories bootcut-jeans,skinny-jeans
    python categorize_both.py --min-products 50 --weights FILE --layer mixed8
"""
import categorize_images
import categorize_words
import db
import experiments
import retrain
import words
from console import run


def main(argv=None):
    args = categorize_images.parse(argv, __doc__)
    conn = db.open_database(args.db_path)
    wanted, products = experiments.choose_products(conn, args)
    parts = experiments.checked_splits(products, args.folds)
    # In one softmax with the picture, as in 2016, more terms than single words gain nothing.
    terms = words.count_terms(words.read_texts(db.texts(conn, products.leaves)), False, False)
    pictures, extra = categorize_images.picture_inputs(conn, products, args)

    def inputs_for(rows):
        return categorize_words.text_inputs(terms, rows)._replace(
            bottlenecks=pictures.bottlenecks, rows=pictures.rows)

    options = retrain.picture_options(args)._replace(dropout=.5)
    outcome = experiments.experiment(products, parts, inputs_for, options)
    experiments.record(conn, args, "Image+Text", wanted, products, outcome,
                       {**extra, **categorize_words.described(terms, outcome)})
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
