"""Classify products by name and description; write an experiment with its test predictions.

In: crawl.db. Out: rows of experiment, predicted_category and validation_prediction, and the folder
models/experiment-N beside crawl.db. The network: a bag of the 20,000 words that most training
products have, as many words of their names and as many pairs of words -> 100 ReLU -> softmax.

    python categorize_words.py --categories bootcut-jeans,skinny-jeans
    python categorize_words.py --min-products 50 --folds 10
"""
import argparse
import collections
import os

import numpy as np

import db
from common.terminal import Parser, UserError, log, run
from evaluation import filing
from learning import experiments, metrics, saved_models, text_classifier, text_features

# ---- one product --------------------------------------------------------------------------------

def explain(args):
    """Print the words of a product for and against the first two categories of a saved model."""
    conn = db.open_readonly(args.db_path)
    name, text, label = db.product_text(conn, args.explain)
    db.experiment(conn, args.experiment)
    folder = os.path.join(db.models_folder(args.db_path), f"experiment-{args.experiment}")
    weights, model = saved_models.load_model(folder)
    if model["kind"] != "Text":
        raise UserError(f"there is no model of words in {folder}: name an experiment of "
                        "categorize_words.py")
    leaves, temperature = model["categories"], model["temperature"]
    columns, values = text_features.one_text(model, weights, name, text)
    scores = np.maximum(values @ weights["hidden_kernel"][columns] + weights["hidden_bias"],
                        0) @ weights["kernel"] + weights["bias"]
    probability = np.exp(metrics.log_softmax(scores[None].astype(np.float64) / temperature))[0]
    first, second = np.argsort(-probability, kind="stable")[:2]
    said, rest = text_features.contributions(weights, columns, values, first, second)
    shown = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    print(f"product {args.explain}: {shown[:80]}")
    print(f"  filed under {label}" if label is not None else
          "  it has no category in the shop's catalogue; the model would file it under "
          f"{leaves[first]} (probability {probability[first]:.4f})")
    if not len(columns):
        print("  the model knows none of its words")
    for leaf in (first, second):
        print(f"  {probability[leaf]:.4f}  {leaves[leaf]}")
    order = sorted(zip((said / temperature).tolist(), (model["vocabulary"][c] for c in columns)),
                   key=lambda item: (-item[0], item[1]))
    for title, some in ((f"for {leaves[first]}", [item for item in order if item[0] > 0]),
                        (f"for {leaves[second]}", [item for item in order[::-1] if item[0] < 0])):
        print(title)
        for one, term in some[:15]:
            print(f"  {one:+7.2f}  {term}")
        if some[15:]:
            print(f"  {sum(one for one, _ in some[15:]):+7.2f}  {len(some) - 15} more")
    print(f"together {said.sum() / temperature:+.2f}, without any word {rest / temperature:+.2f}: "
          f"the logarithm of the odds between the two is {(said.sum() + rest) / temperature:.2f}")
    if model["settings"].get("folds"):
        print("(this model was trained on all products; the prediction in predicted_category is of "
              "one that had not seen this)")


# ---- the script ---------------------------------------------------------------------------------


def product_argument(text):
    """The id of a product in crawl.db, which is not the shop's."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            "must be a number: product_id in filed.csv, id in the table product")
    return int(text)


def parse(argv):
    parser = Parser(description=__doc__.split("\n\n")[0])
    experiments.add_experiment_arguments(parser)
    text_classifier.add_text_arguments(parser)
    filing.add_arguments(parser)
    parser.add_argument("--explain", type=product_argument, metavar="PRODUCT_ID",
                        help="train nothing: show the words of this product for and against the "
                        "first two categories, by the model of --experiment")
    parser.add_argument("--experiment", type=int, metavar="N",
                        help="the experiment whose model --explain asks")
    args = parser.parse_args(argv)
    if (args.explain is None) != (args.experiment is None):
        parser.error("--explain PRODUCT_ID and --experiment N go together")
    if args.explain is not None and args.apply is not None:
        parser.error("--explain and --apply are two things: run one after the other")
    text_classifier.check_text_arguments(parser, args)
    filing.check_arguments(parser, args)
    args.images_path = db.images_folder(args.db_path, args.images_path)
    return args


def main(argv=None):
    args = parse(argv)
    if args.explain is not None:
        explain(args)
        return 0
    if args.apply is not None:
        return filing.apply(args, "Text", text_classifier.scorer)
    conn = db.open_database(args.db_path)
    wanted, products = experiments.choose_products(conn, args)
    parts = experiments.checked_splits(products, args.folds)
    log(f"{len(products.ids)} products in {len(products.leaves)} categories: counting their words")
    terms = text_classifier.read_terms(conn, products, args)
    words = terms.kinds == text_features.WORD
    log(f"{(terms.counts @ words.astype(int)).sum()} words, {words.sum()} different ones")
    found, unknown = collections.defaultdict(collections.Counter), []

    def look(model, test, scores):
        text_classifier.misled(products, terms, model, test, scores, found)
        unknown.append(text_classifier.unknown_shares(terms, test, model.inputs.columns))

    fit = experiments.network(products, lambda rows: text_classifier.text_inputs(terms, rows, args),
                              text_classifier.text_options(args, len(products.ids)))
    outcome = experiments.experiment(products, parts, fit, look)
    for line in text_classifier.worst_categories(products, outcome.predicted, found):
        log(line)
    experiments.record(conn, args, "Text", wanted, products, outcome,
                       {**text_classifier.described(terms, outcome.model.inputs.columns, args),
                        **text_classifier.measured_unknown(conn, products, unknown)})
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
