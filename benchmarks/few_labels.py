"""What does an encoder add if a shop has few labels?

In: a crawl.db and an encoder, as --encoder takes it. The products are parted by clusters of
near-duplicates, and never by chance alone: half of them are the shop's, of which so many labels a
category are drawn, and of these a tenth validates; a quarter are validation products, on which all
was decided; a quarter are test products, which are looked at with --look test. Out, on stdout: a
table of the accuracy of words, encoder and both over the draws, mean and standard deviation, the
difference that the encoder makes, in how many draws it helps, and the products that it gains and
loses in the average draw; and the same for coverage at 95 %. --ensemble N says how many networks
words are.

    python benchmarks/few_labels.py --min-products 50 --encoder FOLDER
    python benchmarks/few_labels.py --min-products 50 --encoder FOLDER --fields name --look test
"""

import contextlib
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import db  # noqa: E402
from common.arguments import whole_number  # noqa: E402
from common.terminal import Parser, run  # noqa: E402
from learning import (  # noqa: E402
    experiment_arguments,
    fusion,
    metrics,
    selection,
    text_arguments,
    text_classifier,
)

SHOP, TRIED = 0.5, 0.75  # places in the split at which the shop's products end, and validation's
CLASSIFIERS = ("words", "encoder", "both")


def parse(argv):
    parser = Parser(description=__doc__.split("\n\n")[0])
    experiment_arguments.add_arguments(parser)
    text_arguments.add_arguments(parser)
    parser.add_argument("--labels", default="5,20,100,all", metavar="N,N", help="a category")
    parser.add_argument("--draws", type=whole_number(), default=10, metavar="N")
    parser.add_argument("--look", choices=("validation", "test"), default="validation")
    args = parser.parse_args(argv)
    text_arguments.check_arguments(parser, args)
    if args.encoder is None:
        parser.error("name one with --encoder")
    return args


def draw(products, count, number):
    """(training, validation) rows of a shop with so many labels a category (None: all)."""
    rng = np.random.default_rng(number)
    shop = np.flatnonzero((products.u < SHOP) & (products.labels >= 0))
    drawn = np.concatenate(
        [
            rng.permutation(shop[products.labels[shop] == leaf])[:count]
            for leaf in range(len(products.leaves))
        ]
    )
    order = drawn[np.argsort(products.u[drawn], kind="stable")]  # so that clusters stay whole
    parts = np.array_split(order, 10)
    chosen = number % 10
    return (
        np.sort(np.concatenate([part for i, part in enumerate(parts) if i != chosen])),
        np.sort(parts[chosen]),
    )


def scored(model, products, rows):
    """(score, right) of each of CLASSIFIERS on products `rows`."""
    for part in (*model.parts, model):
        logs = fusion.log_probabilities(part, rows)
        yield np.exp(logs.max(axis=1)), logs.argmax(axis=1) == products.labels[rows]


def measure(products, terms, encoded, options, members, count, draws, rows):
    """accuracies and coverages [draws, 3], and products gained and lost [draws, 2]."""
    accuracies, coverages, moved, trained = [], [], [], 0
    for number in range(draws):
        training, validation = draw(products, count, number)
        # How long is trained depends on how many products there are.
        shop = products._replace(ids=products.ids[: len(training) + len(validation)])
        fit = text_classifier.text_fit(shop, terms, options, encoded, members)
        model = fit(training, validation, f"{count or 'all'} labels, draw {number + 1}")
        judged = list(scored(model, products, rows))
        accuracies.append([100 * metrics.accuracy(right) for _, right in judged])
        coverages.append([metrics.coverage_percent(*each, 95) for each in judged])
        words, both = judged[0][1], judged[2][1]
        moved.append([(both & ~words).sum(), (words & ~both).sum()])
        trained = len(training)
    return np.array(accuracies), np.array(coverages), np.array(moved), trained


def spread(values):
    """Mean and standard deviation as text."""
    if len(values) < 2:
        return f"{values[0]:.1f}"
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"


def line(count, accuracies, coverages, moved, trained):
    """A row of the table."""
    gain = accuracies[:, 2] - accuracies[:, 0]
    cells = [
        f"{count or 'all'} ({trained:,})",
        *(spread(accuracies[:, place]) for place in range(3)),
        spread(gain),
        f"{(gain > 0).sum()} of {len(gain)}",
        f"{moved[:, 0].mean():.0f}, {moved[:, 1].mean():.0f}",
        *(spread(coverages[:, place]) for place in (0, 2)),
    ]
    return f"| {' | '.join(cells)} |"


def main(argv=None):
    args = parse(argv)
    options = text_arguments.text_options(args)
    with contextlib.closing(db.open_readonly(args.db_path)) as conn:
        products = selection.choose_products(conn, experiment_arguments.wanted(args))
        encoded, _ = text_classifier.encoded_inputs(conn, products, options)
        terms = text_classifier.read_terms(conn, products, options)
    tried = (products.u >= SHOP) & (products.u < TRIED)
    looked_at = tried if args.look == "validation" else products.u >= TRIED
    rows = np.flatnonzero(looked_at & (products.labels >= 0))
    print(
        f"{len(rows):,} {args.look} products, {len(products.leaves)} categories\n\n"
        "| labels a category (trained on) | words | encoder | both | gain | helps in "
        "| products gained, lost | coverage at 95 %: words | both |\n" + "|---" * 9 + "|",
        flush=True,
    )
    for label in args.labels.split(","):
        count = None if label == "all" else int(label)
        # Of all labels only the tenth that validates is another one, so a few draws do.
        draws = args.draws if count else min(3, args.draws)
        members = experiment_arguments.members(args)
        figures = measure(products, terms, encoded, options, members, count, draws, rows)
        print(line(count, *figures), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
