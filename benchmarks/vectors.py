"""Do vectors of words improve the classifier? And are they what gensim would have learned?

In: a crawl.db, which is copied. Out, on stdout: accuracy, coverage and exact McNemar against the
plain bag of words for word2vec and Swivel, alone and beside it, on all text, on names alone and
with 20 training products a category; then our word2vec beside gensim's on the same words: seconds,
and how many of the ten nearest neighbours of ten words they share (of the 2,000 most frequent
words), with two seeds of gensim for comparison. gensim gets a virtual environment of its own.

    python benchmarks/vectors.py --min-products 50
    python benchmarks/vectors.py --min-products 50 --only gensim
"""

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))
import rivals  # noqa: E402

import categorize_words  # noqa: E402
import db  # noqa: E402
from common.terminal import run  # noqa: E402
from learning import (
    experiment_arguments,
    metrics,  # noqa: E402
    selection,
    term_counts,
    text_arguments,
    text_classifier,
    word_vectors,  # noqa: E402
)

FEW = 20
NETWORKS = {
    "bag of words": (),
    **{
        f"{name}, {how}": ("--embedding", name, *more)
        for name in ("word2vec", "swivel")
        for how, more in (("alone", ("--embedding-alone",)), ("beside it", ()))
    },
}
TEXTS = {"all text": (), "names alone": ("--fields", "name"), f"{FEW} products a category": ()}
GENSIM = """
import sys, time, numpy as np
from gensim.models import Word2Vec
folder, seed, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
texts = [line.split() for line in open(folder + "/texts.txt")]
began = time.perf_counter()
model = Word2Vec(texts, sg=1, vector_size=100, window=5, negative=5, min_count=1, sample=1e-3,
                 epochs=epochs, workers=2, seed=seed)
print(time.perf_counter() - began)
order = np.argsort([int(word) for word in model.wv.index_to_key])
np.save(folder + "/vectors.npy", model.wv.vectors[order])
"""


def thin(path, min_products):
    """Delete all but FEW training products of each leaf, by chance."""
    args = argparse.Namespace(
        categories="", min_products=min_products, db_path=path, folds=None, split_by="cluster"
    )
    with contextlib.closing(db.open_database(path)) as conn:
        products = selection.choose_products(conn, experiment_arguments.wanted(args))
        (part,) = selection.checked_splits(products, None)
        order = np.random.default_rng(0).permutation(part.training)
        gone = [
            int(products.ids[row])
            for leaf in range(len(products.leaves))
            for row in order[products.labels[order] == leaf][FEW:]
        ]
        with db.transaction(conn):
            conn.executemany("delete from product where id = ?", [(number,) for number in gone])


def outcome(path, min_products, flags):
    """({product: right}, the figures as text) of one run."""
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "categorize_words.py",
            "--db-path",
            path,
            "--min-products",
            str(min_products),
            *flags,
        ],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    number = int(re.match(r"#(\d+)", done.stdout)[1])
    with contextlib.closing(db.open_readonly(path)) as conn:
        right = {
            row[0]: row[1] == row[2]
            for row in conn.execute(
                """select product_id, category_id, label_id from predicted_category
               where experiment_id = ?""",
                (number,),
            )
        }
    found = dict(re.findall(r"^ *([A-Za-z0-9% ]+): ([\d.]+)%", done.stdout, re.M))
    return right, (
        f"{found['Accuracy']} % | {found['95% Accuracy Coverage']} / "
        f"{found['98% Accuracy Coverage']} %"
    )


def table(path, min_products, folder):
    print(
        "| text | network | accuracy | coverage at 95 / 98 % | gained, lost | exact McNemar |\n"
        "|---|---|---|---|---|---|",
        flush=True,
    )
    for text, fields in TEXTS.items():
        own = shutil.copy(path, folder / f"{len(list(folder.iterdir()))}.db")
        if str(FEW) in text:
            thin(own, min_products)
        plain = None
        for name, flags in NETWORKS.items():
            right, figures = outcome(own, min_products, (*fields, *flags))
            plain = plain or right
            gained = sum(right[key] and not plain[key] for key in right)
            lost = sum(plain[key] and not right[key] for key in right)
            told = f"{gained}, {lost} | p = {metrics.mcnemar(gained, lost):.2g}" if flags else " | "
            print(f"| {text}, N = {len(right):,} | {name} | {figures} | {told} |", flush=True)


def nearest(vectors, words, among):
    """The ten nearest of the words `among` for each of some words, a set each."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    near = unit[words] @ unit[among].T
    near[np.equal.outer(words, among)] = -1
    return [set(among[row]) for row in np.argsort(-near, axis=1)[:, :10]]


def against_gensim(path, min_products):
    python = rivals.environment_python("gensim", ("gensim",))
    args = categorize_words.parse(["--min-products", str(min_products)])
    with contextlib.closing(db.open_database(path)) as conn:
        products = selection.choose_products(conn, experiment_arguments.wanted(args))
        (part,) = selection.checked_splits(products, None)
        terms = text_classifier.read_terms(conn, products, text_arguments.text_options(args))
        learned = np.unique(terms.counts[part.training].indices)
        used = terms.names[learned[terms.kinds[learned] == term_counts.WORD]]
        words, texts = word_vectors.chosen_words(terms.words(), part.training, used)
    began = time.perf_counter()
    ours = word_vectors.word2vec(words, texts, len(used))
    seconds = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/texts.txt", "w") as file:
            for some in np.split(words, np.flatnonzero(np.diff(texts)) + 1):
                file.write(" ".join(map(str, some)) + "\n")
        theirs = []
        for seed in (0, 1):
            done = subprocess.run(
                [python, "-c", GENSIM, folder, str(seed), str(word_vectors.EPOCHS)],
                check=True,
                text=True,
                stdout=subprocess.PIPE,
            )
            theirs.append(np.load(f"{folder}/vectors.npy"))
    among = np.argsort(-np.bincount(words), kind="stable")[:2000]
    ten = among[np.linspace(50, 500, 10).astype(int)]
    sets = [nearest(vectors, ten, among) for vectors in (ours, *theirs)]

    def shared(one, other):
        return np.mean([len(a & b) for a, b in zip(sets[one], sets[other])])

    print(
        f"\n{len(words):,} words, {word_vectors.EPOCHS} epochs: word2vec {seconds:.1f} s, gensim "
        f"{float(done.stdout):.1f} s\nof ten nearest neighbours of ten words {shared(0, 1):.1f} "
        f"are gensim's; of gensim's {shared(1, 2):.1f} are those of another seed; by chance "
        f"{100 / len(among):.2f}"
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--db-path", default="crawl.db", metavar="FILE")
    parser.add_argument("--min-products", type=int, default=1000, metavar="N")
    parser.add_argument("--only", choices=("table", "gensim"), help="(default: both)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        if args.only != "gensim":
            table(args.db_path, args.min_products, Path(folder))
        if args.only != "table":
            against_gensim(shutil.copy(args.db_path, f"{folder}/own.db"), args.min_products)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
