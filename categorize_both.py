"""Classify products by text and picture together; write an experiment with its test predictions.

In: crawl.db and the pictures in images/. Out: as categorize_words.py, and on stdout whether the
pictures helped. The two classifiers are trained as categorize_words.py and categorize_images.py
train them, and their decisions are fused: the logarithms of their probabilities are added, with
weights fitted on validation products; the less sure the text is, the more the picture counts. A
product without a readable picture is answered from its words.

    python categorize_both.py --categories bootcut-jeans,skinny-jeans
    python categorize_both.py --min-products 50 --weights FILE --layer mixed8
"""
import numpy as np

import db
from common.files import images_folder
from common.terminal import Parser, run
from evaluation import filing
from learning import (
    experiments,
    fusion,
    inception,
    picture_arguments,
    picture_classifier,
    text_classifier,
)

# ---- the script ---------------------------------------------------------------------------------

def parse(argv):
    parser = Parser(description=__doc__.split("\n\n")[0])
    experiments.add_experiment_arguments(parser)
    parser.add_argument("--fusion", choices=("decision", "concat"), default="decision",
                        help="decision: add what the two classifiers say; concat: the network of "
                        "2016, hidden units of the text and bottleneck side by side into one "
                        "softmax, for the record (default: decision)")
    text_classifier.add_text_arguments(parser)
    picture_arguments.addargs(parser)
    filing.add_arguments(parser)
    args = parser.parse_args(argv)
    if args.fusion == "concat" and (args.embedding or args.epochs):
        parser.error("--embedding and --epochs are for --fusion decision")
    text_classifier.check_text_arguments(parser, args)
    picture_arguments.check_arguments(args, one_split=True)
    filing.check_arguments(parser, args)
    if args.fusion == "concat":
        args.network = "original"
    args.images_path = images_folder(args.db_path, args.images_path)
    return args


def main(argv=None):
    args = parse(argv)
    if args.apply is not None:
        return filing.apply(filing.options(args), "Image+Text", lambda conn, weights, described:
                            fusion.scorer(conn, args, weights, described))
    inception.check_weights(args.weights, args.layer)
    conn = db.open_database(args.db_path)
    wanted, products = experiments.choose_products(conn, args)
    parts = experiments.checked_splits(products, args.folds)
    terms = text_classifier.read_terms(conn, products, args)
    pictures, extra = picture_classifier.picture_inputs(conn, products, args)
    asked, answers, unknown = [], [], []

    def look(model, test, scores):
        text = model.parts[0] if model.parts else model
        unknown.append(text_classifier.unknown_shares(terms, test, text.inputs.columns))
        if not model.parts:   # of --fusion concat
            return
        guesses = np.stack([*(part.scores(test).argmax(axis=1) for part in model.parts),
                            scores.argmax(axis=1)])
        guesses[1, pictures.rows[test] < 0] = -1
        asked.append(test)
        answers.append(guesses)

    def text_inputs(rows):
        return text_classifier.text_inputs(terms, rows, args)

    def both_inputs(rows):
        return text_inputs(rows)._replace(bottlenecks=pictures.bottlenecks, rows=pictures.rows)

    options = picture_arguments.picture_options(args)
    if args.fusion == "concat":
        fit = experiments.network(products, both_inputs, options._replace(dropout=.5))
        outcome = experiments.experiment(products, parts, fit, look)
        text, lines = outcome.model, []
    else:
        fit = fusion.fusion(products, experiments.network(
            products, text_inputs, text_classifier.text_options(args, len(products.ids))),
            experiments.network(products, lambda rows: pictures, options), pictures.rows >= 0)
        outcome = experiments.experiment(products, parts, fit, look)
        text, lines = outcome.model.parts[0], fusion.compared(
            products, np.concatenate(asked), np.concatenate(answers, axis=1))
        extra.update(fusion.fused_settings(outcome))
    experiments.record(conn, args, "Image+Text", wanted, products, outcome, {
        **extra, **text_classifier.described(terms, text.inputs.columns, args),
        **text_classifier.measured_unknown(conn, products, unknown)})
    print(*lines, sep="\n", end="\n" if lines else "")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
