"""Classify products by picture: a softmax on Inception v3 bottlenecks; write an experiment.

In: crawl.db and the pictures in images/. Out: rows of experiment, predicted_category and
validation_prediction, the folder models/experiment-N beside crawl.db, and the cache of bottlenecks,
which makes every later run a matter of seconds. Products without a readable picture are left out.

    python categorize_images.py --categories bootcut-jeans,skinny-jeans
    python categorize_images.py --min-products 50 --weights FILE --layer mixed8
"""

import functools

from common import interrupts

if __name__ == "__main__":
    interrupts.quiet_until_run()

import numpy as np

import db
from common.files import images_folder
from common.terminal import Parser, run
from evaluation import filing, filing_arguments
from learning import (
    experiment_arguments,
    experiments,
    inception,
    picture_arguments,
    picture_classifier,
    queries,
    recording,
    selection,
)


def parse(argv):
    parser = Parser(description=__doc__.split("\n\n")[0])
    experiment_arguments.add_arguments(parser)
    picture_arguments.addargs(parser)
    filing_arguments.add_arguments(parser)
    args = parser.parse_args(argv)
    picture_arguments.check_arguments(args, one_split=True)
    filing_arguments.check_arguments(parser, args)
    args.images_path = images_folder(args.db_path, args.images_path)
    return args


def main(argv=None):
    args = parse(argv)
    options = picture_arguments.picture_options(args)
    if args.apply is not None:
        return filing.apply(
            filing_arguments.options(args),
            "Image",
            functools.partial(picture_classifier.scorer, options),
        )
    inception.check_weights(args.weights, args.layer)
    conn = db.open_database(args.db_path)
    wanted = experiment_arguments.wanted(args)
    products = selection.choose_products(conn, wanted)
    recording.check_disk(args.db_path, products)
    # Before the long work, for those that may have a picture. If none has, that is reported below.
    may_have = np.fromiter((row[0] for row in queries.pictures(conn, products.ids)), np.int64)
    if len(may_have):
        pictured = np.isin(products.ids, may_have)
        products = selection.trainable(products, args.folds, pictured, " with a picture")
        pictured = np.isin(products.ids, may_have)
        selection.checked_splits(selection.take_products(products, pictured), args.folds)
    inputs, extra, weights = picture_classifier.picture_inputs(conn, products, options)
    ids, readable = products.ids, inputs.rows >= 0
    products = selection.trainable(
        selection.take_products(products, readable), args.folds, of=" with a picture"
    )
    inputs = inputs._replace(rows=inputs.rows[readable & np.isin(ids, products.ids)])
    members = experiment_arguments.members(args)
    training_options = picture_arguments.training_options(args)._replace(members=members)
    fit = experiments.network(products, lambda rows: inputs, training_options)
    outcome = experiments.experiment(products, selection.checked_splits(products, args.folds), fit)
    recording.record(
        conn,
        args.db_path,
        "Image",
        wanted.categories,
        products,
        outcome,
        experiment_arguments.run_settings(args, weights=weights),
        extra,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
