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

import categorize_images
import categorize_words
import db
import retrain
from common.terminal import Parser, UserError, log, run
from evaluation import filing
from learning import experiments, inception, metrics, text_features, training

FUSED = ("text", "picture", "picture per nat of the text's entropy")
PRIOR = (1, 1, 25)   # precision of the normal prior of each weight, around the text alone
MOST = 20_000        # validation products that the weights are fitted on


# ---- fusion -------------------------------------------------------------------------------------

def evidence(text, picture):
    """What speaks for each category, [n, leaves, 3] as in FUSED, of the log-probabilities
    [n, leaves] of the text and of the picture."""
    entropy = -(np.exp(text) * text).sum(axis=1, keepdims=True)
    return np.stack([text, picture, entropy * picture], axis=2)


def fit_fusion(found, labels, prior=PRIOR):
    """The weights [k] of evidence [n, leaves, k] that make the labels [n] likeliest: a conditional
    logit (McFadden 1974), with a prior that keeps to the text alone where products are few. The
    likelihood is concave: Newton's steps, halved where they go too far, find its top."""
    prior, start = np.array(prior), np.eye(len(prior))[0]
    rows = np.arange(len(labels))
    chosen, weights = found[rows, labels], start

    def loss(weights):
        return (prior @ (weights - start) ** 2 / 2
                - metrics.log_softmax(found @ weights)[rows, labels].sum())

    for _ in range(50):
        chance = np.exp(metrics.log_softmax(found @ weights))
        mean = np.einsum("nk,nkd->nd", chance, found)
        slope = (mean - chosen).sum(axis=0) + prior * (weights - start)
        curvature = np.einsum("nk,nkd,nke->de", chance, found, found) - mean.T @ mean
        step = np.linalg.solve(curvature + np.diag(prior), slope)
        while np.abs(step).max() > 1e-9 and not loss(weights - step) <= loss(weights):
            step /= 2
        weights = weights - step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def fuse(text, picture, has_picture, weights):
    """Logits [n, leaves] of the log-probabilities [n, leaves] of text and picture; those of the
    text alone where there is no picture."""
    entropy = -(np.exp(text) * text).sum(axis=1, keepdims=True)
    both = weights[0] * text + (weights[1] + weights[2] * entropy) * picture
    return np.where(has_picture[:, None], both, text)


def log_probabilities(model, rows):
    """Calibrated, [rows, leaves], of an experiments.Fitted."""
    return metrics.log_softmax(model.scores(rows).astype(np.float64) / model.temperature)


def fusion(products, fit_text, fit_picture, has_picture):
    """A function that trains two classifiers and fuses them, as experiments.experiment needs it;
    has_picture is bool [products].

    Its weights are those of both networks, their names with text_ and picture_ before them,
    `fusion` (float64 [3]) and `unseen`. Raises UserError where there are no pictures to train and
    to validate on.
    """
    def fit(rows, validation, label, models=()):
        seen, watched = rows[has_picture[rows]], validation[has_picture[validation]]
        if not len(seen) or not (len(watched) or models):
            raise UserError("there are no pictures that can be read among the products to train "
                            "or to validate on: use categorize_words.py")
        text, picture = (
            train(some, held, f"{label}, {name}", [model.parts[turn] for model in models])
            for turn, (train, some, held, name) in enumerate((
                (fit_text, rows, validation, "text"), (fit_picture, seen, watched, "picture"))))
        # Of a category that had no picture to learn from the picture says nothing at all.
        unseen = np.bincount(products.taught[seen], minlength=len(products.leaves)) == 0

        def both(some):
            by_picture = log_probabilities(picture, some)
            by_picture[:, unseen] = -np.log(len(unseen))
            return log_probabilities(text, some), by_picture

        if models:
            weights = np.mean([model.weights["fusion"] for model in models], axis=0)
        else:
            some = watched[np.argsort(products.u[watched])[:MOST]]   # by chance: u is a hash
            weights = fit_fusion(evidence(*both(some)), products.taught[some])
        log(f"{label}: weights of the " + ", ".join(f"{name} {weight:.2f}"
                                                    for name, weight in zip(FUSED, weights)))

        def scores(some):
            out = np.empty((len(some), len(unseen)), np.float32)
            for start in range(0, len(some), training.CHUNK):
                few = slice(start, start + training.CHUNK)
                out[few] = fuse(*both(some[few]), has_picture[some[few]], weights)
            return out

        kept = {f"{name}_{key}": value for name, part in (("text", text), ("picture", picture))
                for key, value in part.weights.items()}
        return experiments.Fitted({**kept, "fusion": weights, "unseen": unseen},
                                  [text.steps, picture.steps], len(rows), 1.0, scores,
                                  parts=(text, picture))

    return fit


def fused_settings(outcome):
    """What the experiment and its model keep of the fusion, in plain numbers."""
    return {"fusion": {
        "weights": {name: [round(float(model.weights["fusion"][place]), 4)
                           for model in outcome.models] for place, name in enumerate(FUSED)},
        "temperatures": [[part.temperature for part in model.parts] for model in outcome.models],
        "used": [float(weight) for weight in outcome.model.weights["fusion"]],
        "used temperatures": [part.temperature for part in outcome.model.parts]}}


# ---- do pictures help? --------------------------------------------------------------------------

def compared(products, rows, guesses, most=5):
    """Lines about test products `rows`: how many text, picture, both and either alone answer
    rightly, and in which categories the picture helps. guesses: int [3, rows], of text, picture
    (-1 for none) and both."""
    labels, pictured = products.labels[rows], guesses[1] >= 0
    text, picture, both = guesses == labels
    lines = [f"On the same {len(rows)} products, {pictured.sum()} of them with a picture"]
    for name, right in (("Text", text), ("Picture, where there is one", picture[pictured]),
                        ("Both", both), ("Text or picture right", text | picture)):
        lines.append(f"  {name}: {100 * metrics.accuracy(right):.2f}%")
    for name, some in (("text", text), ("picture, where there is one", picture)):
        asked = pictured | (name == "text")
        gained, lost = int((both & ~some & asked).sum()), int((some & ~both).sum())
        lines.append(f"  Both against {name}: {gained} gained, {lost} lost, exact McNemar p "
                     f"{metrics.p_value(metrics.mcnemar(gained, lost))}")
    gains, losses = (np.bincount(labels[some], minlength=len(products.leaves))
                     for some in (both & ~text, text & ~both))
    for title, net in (("helps", gains - losses), ("harms", losses - gains)):
        best = [leaf for leaf in np.argsort(-net, kind="stable")[:most] if net[leaf] > 0]
        if best:
            lines.append(f"  The picture {title} most: " + ", ".join(
                f"{products.leaves[leaf]} +{gains[leaf]} -{losses[leaf]}" for leaf in best))
    return lines


# ---- products without a category ----------------------------------------------------------------

def scorer(conn, args, weights, described):
    """What filing.apply needs."""
    find = categorize_images.picture_rows(args, described)
    if "fusion" not in weights:   # one network, of 2016
        lexicon = text_features.make_lexicon(described, weights)

        def score(rows):
            matrix, found = find(rows)
            bag, count, unknown = text_features.bag_of(
                lexicon, ((row["name"], row["description"]) for row in rows),
                len(described["vocabulary"]))
            logits = training.logits(weights, training.Inputs(
                bag=bag, bottlenecks=matrix, rows=found), np.arange(len(rows)))
            return logits, (count > 0) | (found >= 0), count, unknown, found >= 0

        return score
    text, picture = ({name.removeprefix(prefix): array for name, array in weights.items()
                      if name.startswith(prefix)} for prefix in ("text_", "picture_"))
    by_text = categorize_words.text_scorer(text, described)
    warmth = described["fusion"]["used temperatures"]

    def score(rows):
        matrix, found = find(rows)
        logits, count, unknown = by_text(rows)
        by_picture = metrics.log_softmax(training.logits(
            picture, training.Inputs(bottlenecks=matrix, rows=found), np.arange(len(rows))
        ).astype(np.float64) / warmth[1])
        by_picture[:, weights["unseen"]] = -np.log(len(weights["unseen"]))
        fused = fuse(metrics.log_softmax(logits.astype(np.float64) / warmth[0]), by_picture,
                     found >= 0, weights["fusion"])
        return fused, (count > 0) | (found >= 0), count, unknown, found >= 0

    return score


# ---- the script ---------------------------------------------------------------------------------

def parse(argv):
    parser = Parser(description=__doc__.split("\n\n")[0])
    experiments.add_experiment_arguments(parser)
    parser.add_argument("--fusion", choices=("decision", "concat"), default="decision",
                        help="decision: add what the two classifiers say; concat: the network of "
                        "2016, hidden units of the text and bottleneck side by side into one "
                        "softmax, for the record (default: decision)")
    categorize_words.add_text_arguments(parser)
    retrain.addargs(parser)
    filing.add_arguments(parser)
    args = parser.parse_args(argv)
    if args.fusion == "concat" and (args.embedding or args.epochs):
        parser.error("--embedding and --epochs are for --fusion decision")
    categorize_words.check_text_arguments(parser, args)
    retrain.check_arguments(args, one_split=True)
    filing.check_arguments(parser, args)
    if args.fusion == "concat":
        args.network = "original"
    args.images_path = db.images_folder(args.db_path, args.images_path)
    return args


def main(argv=None):
    args = parse(argv)
    if args.apply is not None:
        return filing.apply(args, "Image+Text", scorer)
    inception.check_weights(args.weights, args.layer)
    conn = db.open_database(args.db_path)
    wanted, products = experiments.choose_products(conn, args)
    parts = experiments.checked_splits(products, args.folds)
    terms = categorize_words.read_terms(conn, products, args)
    pictures, extra = categorize_images.picture_inputs(conn, products, args)
    asked, answers, unknown = [], [], []

    def look(model, test, scores):
        text = model.parts[0] if model.parts else model
        unknown.append(categorize_words.unknown_shares(terms, test, text.inputs.columns))
        if not model.parts:   # of --fusion concat
            return
        guesses = np.stack([*(part.scores(test).argmax(axis=1) for part in model.parts),
                            scores.argmax(axis=1)])
        guesses[1, pictures.rows[test] < 0] = -1
        asked.append(test)
        answers.append(guesses)

    def text_inputs(rows):
        return categorize_words.text_inputs(terms, rows, args)

    def both_inputs(rows):
        return text_inputs(rows)._replace(bottlenecks=pictures.bottlenecks, rows=pictures.rows)

    options = retrain.picture_options(args)
    if args.fusion == "concat":
        fit = experiments.network(products, both_inputs, options._replace(dropout=.5))
        outcome = experiments.experiment(products, parts, fit, look)
        text, lines = outcome.model, []
    else:
        fit = fusion(products, experiments.network(
            products, text_inputs, categorize_words.text_options(args, len(products.ids))),
            experiments.network(products, lambda rows: pictures, options), pictures.rows >= 0)
        outcome = experiments.experiment(products, parts, fit, look)
        text, lines = outcome.model.parts[0], compared(
            products, np.concatenate(asked), np.concatenate(answers, axis=1))
        extra.update(fused_settings(outcome))
    experiments.record(conn, args, "Image+Text", wanted, products, outcome, {
        **extra, **categorize_words.described(terms, text.inputs.columns, args),
        **categorize_words.measured_unknown(conn, products, unknown)})
    print(*lines, sep="\n", end="\n" if lines else "")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
