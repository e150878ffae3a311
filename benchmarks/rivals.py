"""The rivals of categorize_words.py on the same products and folds, as experiments beside its own.

In: a crawl.db. Out: an experiment for each rival in that crawl.db, its figures on stdout, so that
`python analyze.py --compare OURS RIVAL` tells them apart. A rival is fitted on the training
products of each fold, and its temperature on the validation products, as ours is; with --known on
both, having no other use for the latter. fastText gets a virtual environment in benchmarks/.venvs.

    python benchmarks/rivals.py --min-products 50 --folds 10
    python benchmarks/rivals.py --min-products 50 --folds 10 --only linear --known
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import db  # noqa: E402
from common.terminal import UserError, log, run  # noqa: E402
from learning import (
    experiment_arguments,
    experiments,  # noqa: E402
    metrics,  # noqa: E402
    model_folders,
    predictions,
    queries,
    selection,
    text_features,  # noqa: E402
)

# fastText's build of PyPI breaks with numpy 2.
FASTTEXT = ("fasttext-wheel", "numpy<2")
WORKER = """
import json, sys, fasttext, numpy as np
folder, classes = sys.argv[1], int(sys.argv[2])
model = fasttext.train_supervised(folder + "/train.txt", **json.loads(sys.argv[3]), verbose=0)
out = np.full((sum(1 for _ in open(folder + "/ask.txt", encoding="utf-8")), classes), 1e-9)
for row, line in enumerate(open(folder + "/ask.txt", encoding="utf-8")):
    labels, scores = model.predict(line.rstrip("\\n"), k=classes)
    out[row, [int(label[9:]) for label in labels]] = np.maximum(scores, 1e-9)
np.save(folder + "/scores.npy", out)
"""
SETTINGS = {"epoch": 5, "lr": 0.5, "wordNgrams": 2, "dim": 100, "thread": 2}  # of fastText


def environment_python(name, packages):
    """The Python of a rival's virtual environment. Raises UserError where it can't be installed."""
    folder = ROOT / "benchmarks" / ".venvs" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        log(f"installing {name} ...")
        for command in (
            [sys.executable, "-m", "venv", folder],
            [python, "-m", "pip", "install", "--quiet", *packages],
        ):
            if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
                raise UserError(f"{name} can't be installed here")
        (folder / "ready").touch()
    return python


def ask_fasttext(texts, labels, fit, ask, classes, settings=None):
    """Log-probabilities [len(ask), classes] of a fastText model fitted on products `fit`; texts are
    words parted by blanks."""
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("train", fit), ("ask", ask)):
            with open(f"{folder}/{name}.txt", "w", encoding="utf-8") as file:
                file.writelines(
                    (f"__label__{labels[i]} " if name == "train" else "") + f"{texts[i]}\n"
                    for i in rows
                )
        python = environment_python("fasttext", FASTTEXT)
        subprocess.run(
            [python, "-c", WORKER, folder, str(classes), json.dumps(settings or SETTINGS)],
            check=True,
        )
        return np.log(np.load(f"{folder}/scores.npy"))


def ask_linear(texts, labels, fit, ask, classes, pairs=True):
    """The same of TF-IDF over words (and pairs of them) and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(
        ngram_range=(1, 1 + pairs),
        token_pattern=r"\S+",
        lowercase=False,
        sublinear_tf=True,
        dtype=np.float32,
    )
    known = vectorizer.fit_transform(texts[i] for i in fit)
    model = LogisticRegression(C=10, solver="saga", tol=1e-3, max_iter=100)
    model.fit(known, labels[fit])
    scores = np.full((len(ask), classes), -30.0)
    scores[:, model.classes_] = model.predict_log_proba(vectorizer.transform(texts[i] for i in ask))
    return scores


RIVALS = {
    "linear": ("TF-IDF of words and pairs, logistic regression: ", ask_linear),
    "fasttext": ("fastText, words and pairs: ", ask_fasttext),
}


def rival(products, parts, texts, ask, known):
    """Rows of predicted_category of a rival, fold by fold."""
    predicted, classes = [], len(products.leaves)
    for fold, part in enumerate(parts):
        validation = np.append(part.tuning, part.certifying)
        fit = np.append(part.training, validation) if known else part.training
        both = np.append(validation, part.test)
        scores = ask(texts, products.taught, fit, both, classes).astype(np.float32)
        temperature = (
            1.0
            if known
            else metrics.fit_temperature(scores[: len(validation)], products.taught[validation])
        )
        predicted.append(
            predictions.predicted(products, part.test, scores[len(validation) :], temperature, fold)
        )
        log(f"fold {fold + 1} of {len(parts)}")
    return np.concatenate(predicted)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    experiment_arguments.add_arguments(parser)
    parser.add_argument("--only", choices=RIVALS, help="(default: both)")
    parser.add_argument("--known", action="store_true", help="fit on validation products too")
    args = parser.parse_args(argv)
    conn = db.open_database(args.db_path)
    products = selection.choose_products(conn, experiment_arguments.wanted(args))
    parts = selection.checked_splits(products, args.folds)
    texts = [
        " ".join(text_features.tokens(f"{name} {text}"))
        for name, text in queries.texts(conn, products.leaves, products.rule)
    ]
    for name, (title, ask) in RIVALS.items():
        if args.only in (None, name):
            began = time.monotonic()
            predicted = rival(products, parts, texts, ask, args.known)
            rows = predictions.stored_rows(products, predicted)
            number = model_folders.save_experiment(
                conn, args.db_path, title, {"known": args.known}, rows, [], lambda folder: None
            )
            print(f"#{number}: {title}", *experiments.summary_lines(predicted, products), sep="\n")
            log(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
