"""What was tried for --ensemble and the second stage, judged on validation products alone.

In: a crawl.db, the flags of categorize_words.py. Out, on stdout: a table of accuracy, coverage at
95, 98 and 99 %, area under the risk-coverage curve and calibration error, for each way. All of ten
folds are trained; their test products are not looked at. Without --folds-used it takes a while.

    python benchmarks/trials_ensemble.py --min-products 50 --split-by group
    python benchmarks/trials_ensemble.py --min-products 50 --split-by group --folds-used 3
"""

import contextlib
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import categorize_words  # noqa: E402
import db  # noqa: E402
from common.terminal import log, run  # noqa: E402
from learning import (
    experiment_arguments,
    experiments,
    metrics,  # noqa: E402,
    selection,
    text_arguments,
    text_classifier,
)

TRIALS = {  # name: options of training
    "one network": {"members": 1},
    "three": {"members": 3},
    "**five**": {"members": 5},
    "ten": {"members": 10},
    "five, at half the rate": {"members": 5, "adam_rate": 0.0025},
    "five, at twice the rate": {"members": 5, "adam_rate": 0.01},
    "five, seven in ten words dropped": {"members": 5, "word_dropout": 0.7},
    "five, seven in ten units dropped": {"members": 5, "dropout": 0.7},
}


def row(name, score, right):
    """A line of the table."""
    coverage = " / ".join(
        f"{100 * metrics.accepted(score, right, percent) / len(score):.2f}"
        for percent in (95, 98, 99)
    )
    print(
        f"| {name} | {100 * metrics.accuracy(right):.2f} % | {coverage} % "
        f"| {metrics.aurc(score, right):.5f} | {metrics.ece(score, right):.4f} |",
        flush=True,
    )


def judge(products, model, rows):
    """{stage: (scores [n], right [n])} of validation products `rows`, before and after the second
    stage."""
    logits = model.scores(rows)
    ways = {"as it is": logits.astype(np.float64) / model.temperature}
    if model.right is not None:
        ways["and the second stage"] = experiments.calibrated(model, logits, products)
    return {
        name: (
            np.exp(metrics.log_softmax(values)).max(axis=1),
            values.argmax(axis=1) == products.labels[rows],
        )
        for name, values in ways.items()
    }


def main(argv=None):
    argv = list(sys.argv[1:] if argv is None else argv)
    used = 10
    if "--folds-used" in argv:
        place = argv.index("--folds-used")
        used = int(argv[place + 1])
        del argv[place : place + 2]
    args = categorize_words.parse([*argv, "--folds", "10"])
    with contextlib.closing(db.open_readonly(args.db_path)) as conn:
        products = selection.choose_products(conn, experiment_arguments.wanted(args))
        by_text = text_arguments.text_options(args)
        terms = text_classifier.read_terms(conn, products, by_text)
    parts = selection.checked_splits(products, args.folds)[:used]
    options = text_classifier.training_options(by_text, len(products.ids))
    count = sum(len(part.tuning) for part in parts)
    print(f"| N = {count:,} | accuracy | coverage at 95 / 98 / 99 % | AURC | ECE |")
    print("|---|---|---|---|---|")
    for name, changed in TRIALS.items():
        fit = experiments.network(
            products,
            lambda rows: text_classifier.text_inputs(terms, rows, by_text),
            options._replace(**changed),
        )
        found = {}
        for number, part in enumerate(parts):
            log(f"{name}: fold {number + 1} of {len(parts)}")
            label = f"fold {number + 1}"
            model = experiments.judged(fit(part.training, part.tuning, label), products)
            for stage, figures in judge(products, model, part.tuning).items():
                found.setdefault(stage, []).append(figures)
        for stage, figures in found.items():
            row(f"{name}, {stage}", *(np.concatenate(column) for column in zip(*figures)))
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
