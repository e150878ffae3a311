"""Classify products by name and description; write an experiment with its test predictions.

In: crawl.db. Out: rows of experiment, predicted_category and validation_prediction, and the folder
models/experiment-N beside crawl.db. The network: a bag of the 20,000 words that most training
products have, as many words of their names and as many pairs of words -> 100 ReLU -> softmax.

    python categorize_words.py --categories bootcut-jeans,skinny-jeans
    python categorize_words.py --min-products 50 --folds 10
"""

import argparse
import functools
import re

from common import interrupts

if __name__ == "__main__":
    interrupts.quiet_until_run()

import numpy as np

import db
from common.files import images_folder
from common.terminal import Parser, log, run, say
from evaluation import explanation, filing, filing_arguments
from learning import (
    experiment_arguments,
    experiments,
    fusion,
    recording,
    selection,
    term_counts,
    text_arguments,
    text_classifier,
)


def product_id(text):
    """The id of a product in crawl.db, which is not the shop's."""
    if not re.fullmatch("0|[1-9][0-9]*", text):  # 0012 is an id of the shop's
        raise argparse.ArgumentTypeError(
            "must be a number, and no id of the shop: product_id in filed.csv, id in the table product"
        )
    return int(text)


def parse(argv):
    parser = Parser(description=__doc__.split("\n\n")[0])
    experiment_arguments.add_arguments(parser)
    text_arguments.add_arguments(parser)
    filing_arguments.add_arguments(parser)
    parser.add_argument(
        "--explain",
        type=product_id,
        metavar="PRODUCT_ID",
        help="train nothing: show the words of this product for and against the "
        "first two categories, by the model of --experiment",
    )
    parser.add_argument(
        "--experiment", type=int, metavar="N", help="the experiment whose model --explain asks"
    )
    args = parser.parse_args(argv)
    if (args.explain is None) != (args.experiment is None):
        parser.error("--explain PRODUCT_ID and --experiment N go together")
    if args.explain is not None and args.apply is not None:
        parser.error("--explain and --apply are two things: run one after the other")
    text_arguments.check_arguments(parser, args)
    filing_arguments.check_arguments(parser, args)
    args.images_path = images_folder(args.db_path, args.images_path)
    return args


def main(argv=None):
    args = parse(argv)
    options = text_arguments.text_options(args)
    if args.explain is not None:
        conn = db.open_readonly(args.db_path)
        say(*explanation.lines(conn, options.encoder, args.experiment, args.explain))
        return 0
    if args.apply is not None:
        scorer = functools.partial(text_classifier.scorer, options.encoder)
        return filing.apply(filing_arguments.options(args), "Text", scorer)
    train(args, options)
    return 0


def train(args, options):
    """Train, record the experiment, and print whether the encoder helped, if there is one."""
    conn = db.open_database(args.db_path)
    wanted = experiment_arguments.wanted(args)
    products = selection.choose_products(conn, wanted)
    members = experiment_arguments.members(args)
    recording.check_disk(args.db_path, products, members)
    parts = selection.checked_splits(products, args.folds)
    log(f"{len(products.ids)} products in {len(products.leaves)} categories: counting their words")
    terms = text_classifier.read_terms(conn, products, options)
    words = terms.kinds == term_counts.WORD
    log(f"{(terms.counts @ words.astype(int)).sum()} words, {words.sum()} different ones")
    encoded, extra = text_classifier.encoded_inputs(conn, products, options)
    misled, unknown, tested, answers = [], [], [], []

    def look(model, test, guesses):
        misled.append(text_classifier.misled(products, terms, model, test, guesses))
        columns = text_classifier.words_of(model).inputs.columns
        unknown.append(text_classifier.unknown_shares(terms, test, columns))
        if encoded is not None:
            tested.append(test)
            answers.append(fusion.predicted_leaves(model, test, guesses, encoded.rows >= 0))

    fit = text_classifier.text_fit(products, terms, options, encoded, members)
    outcome = experiments.experiment(products, parts, fit, look)
    lines = []
    if encoded is not None:
        extra.update(fusion.fused_settings(outcome, fusion.ENCODER))
        found = np.concatenate(tested), np.concatenate(answers, axis=1)
        lines = fusion.compared(products, *found, pair=fusion.ENCODER)
    for line in text_classifier.worst_categories(products, terms, outcome.predicted, misled):
        log(line)
    recording.record(
        conn,
        args.db_path,
        "Text",
        wanted.categories,
        products,
        outcome,
        experiment_arguments.run_settings(args),
        {
            **extra,
            **text_classifier.description(
                terms, text_classifier.words_of(outcome.model).inputs.columns, options
            ),
            **text_classifier.measured_unknown(conn, products, unknown),
        },
    )
    say(*lines)


if __name__ == "__main__":
    raise SystemExit(run(main))
