"""Classify products by picture: a softmax on Inception v3 bottlenecks; write an experiment.

In: crawl.db and the pictures in images/. Out: rows of experiment, predicted_category and
validation_prediction, the folder models/experiment-N beside crawl.db, and the cache of bottlenecks,
which makes every later run a matter of seconds. Products without a readable picture are left out.

    python categorize_images.py --categories bootcut-jeans,skinny-jeans
    python categorize_images.py --min-products 50 --weights FILE --layer mixed8
"""

import numpy as np

import db
from common.files import images_folder
from common.terminal import Parser, run
from evaluation import filing
from learning import experiments, inception, picture_arguments, picture_classifier, queries

# ---- the script ---------------------------------------------------------------------------------

def parse(argv):
    parser = Parser(description=__doc__.split("\n\n")[0])
    experiments.add_experiment_arguments(parser)
    picture_arguments.addargs(parser)
    filing.add_arguments(parser)
    args = parser.parse_args(argv)
    picture_arguments.check_arguments(args, one_split=True)
    filing.check_arguments(parser, args)
    args.images_path = images_folder(args.db_path, args.images_path)
    return args


def main(argv=None):
    args = parse(argv)
    if args.apply is not None:
        return filing.apply(filing.options(args), "Image", lambda conn, weights, described:
                            picture_classifier.scorer(conn, args, weights, described))
    inception.check_weights(args.weights, args.layer)
    conn = db.open_database(args.db_path)
    wanted, products = experiments.choose_products(conn, args)
    # Before the long work, of those that may have a picture; without any it is told below.
    known = np.isin(products.ids, [row["product_id"] for row in queries.pictures(conn, products.leaves)])
    if known.any():
        experiments.checked_splits(experiments.take_products(products, known), args.folds)
    inputs, extra = picture_classifier.picture_inputs(conn, products, args)
    seen = inputs.rows >= 0
    products = experiments.take_products(products, seen)
    inputs = inputs._replace(rows=inputs.rows[seen])
    fit = experiments.network(products, lambda rows: inputs,
                              picture_arguments.picture_options(args))
    outcome = experiments.experiment(products, experiments.checked_splits(products, args.folds),
                                     fit)
    experiments.record(conn, args, "Image", wanted, products, outcome, extra)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
