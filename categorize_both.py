"""Classify products by text and picture together; write an experiment with its test predictions.

In: crawl.db and the pictures in images/. Out: as categorize_words.py, and on stdout whether the
pictures helped. The two classifiers are trained as categorize_words.py and categorize_images.py
train them, and their decisions are fused: the logarithms of their probabilities are added, with
weights fitted on validation products; the less sure the text is, the more the picture counts. A
product without a readable picture is answered from its words.

    python categorize_both.py --categories bootcut-jeans,skinny-jeans
    python categorize_both.py --min-products 50 --weights FILE --layer mixed8
"""

import functools

from common import interrupts

if __name__ == "__main__":
    interrupts.quiet_until_run()

import numpy as np

import db
from common.files import images_folder
from common.terminal import Parser, run, say
from evaluation import filing, filing_arguments
from learning import (
    both_scorers,
    experiment_arguments,
    experiments,
    fusion,
    inception,
    picture_arguments,
    picture_classifier,
    recording,
    selection,
    text_arguments,
    text_classifier,
)


def parse(argv):
    parser = Parser(description=__doc__.split("\n\n")[0])
    experiment_arguments.add_arguments(parser)
    parser.add_argument(
        "--fusion",
        choices=("decision", "concat"),
        default="decision",
        help="decision: add what the two classifiers say; concat: the network of "
        "2016, hidden units of the text and bottleneck side by side into one "
        "softmax, for the record (default: decision)",
    )
    text_arguments.add_arguments(parser)
    picture_arguments.addargs(parser)
    filing_arguments.add_arguments(parser)
    args = parser.parse_args(argv)
    if args.fusion == "concat" and (args.embedding or args.epochs or args.encoder):
        parser.error("--embedding, --encoder and --epochs are for --fusion decision")
    text_arguments.check_arguments(parser, args)
    picture_arguments.check_arguments(args, one_split=True)
    filing_arguments.check_arguments(parser, args)
    if args.fusion == "concat":
        args.network = "original"
    args.images_path = images_folder(args.db_path, args.images_path)
    return args


def main(argv=None):
    args = parse(argv)
    if args.apply is not None:
        scorer = functools.partial(
            both_scorers.scorer,
            picture_arguments.picture_options(args),
            text_arguments.text_options(args).encoder,
        )
        return filing.apply(filing_arguments.options(args), "Image+Text", scorer)
    train(args)
    return 0


def train(args):
    """Train, record the experiment, and print whether the pictures helped."""
    by_text, by_picture = text_arguments.text_options(args), picture_arguments.picture_options(args)
    inception.check_weights(args.weights, args.layer)
    conn = db.open_database(args.db_path)
    wanted = experiment_arguments.wanted(args)
    products = selection.choose_products(conn, wanted)
    members = experiment_arguments.members(args)
    recording.check_disk(args.db_path, products, members)
    parts = selection.checked_splits(products, args.folds)
    terms = text_classifier.read_terms(conn, products, by_text)
    encoded, of_encoder = text_classifier.encoded_inputs(conn, products, by_text)
    pictures, extra, weights = picture_classifier.picture_inputs(conn, products, by_picture)
    extra.update(of_encoder)
    tested, answers, unknown = [], [], []

    def look(model, test, guesses):
        words = text_classifier.words_of(model)
        unknown.append(text_classifier.unknown_shares(terms, test, words.inputs.columns))
        if not model.parts:  # of --fusion concat
            return
        tested.append(test)
        answers.append(fusion.predicted_leaves(model, test, guesses, pictures.rows >= 0))

    def both_inputs(rows):
        inputs = text_classifier.text_inputs(terms, rows, by_text)
        return inputs._replace(bottlenecks=pictures.bottlenecks, rows=pictures.rows)

    options = picture_arguments.training_options(args)._replace(members=members)
    if args.fusion == "concat":
        fit = experiments.network(products, both_inputs, options._replace(dropout=0.5))
        outcome = experiments.experiment(products, parts, fit, look)
        lines = []
    else:
        fit_text = text_classifier.text_fit(products, terms, by_text, encoded, members)
        fit_picture = experiments.network(products, lambda rows: pictures, options)
        fit = fusion.fusion(products, fit_text, fit_picture, pictures.rows >= 0)
        outcome = experiments.experiment(products, parts, fit, look)
        lines = fusion.compared(products, np.concatenate(tested), np.concatenate(answers, axis=1))
        extra.update(fusion.fused_settings(outcome))
        if encoded is not None:
            extra.update(fusion.fused_settings(fusion.of_first(outcome), fusion.ENCODER))
    recording.record(
        conn,
        args.db_path,
        "Image+Text",
        wanted.categories,
        products,
        outcome,
        experiment_arguments.run_settings(args, weights=weights),
        {
            **extra,
            **text_classifier.description(
                terms, text_classifier.words_of(outcome.model).inputs.columns, by_text
            ),
            **text_classifier.measured_unknown(conn, products, unknown),
        },
    )
    say(*lines)


if __name__ == "__main__":
    raise SystemExit(run(main))
