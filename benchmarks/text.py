"""How long categorize_words.py takes as a whole command, side by side with its rivals.

In: nothing; it draws a catalogue of its own, 156 leaves with 940 products of 50 to 80 words each.
Out, on stdout: seconds and memory of the whole commands in turn (start of Python, TensorFlow's
import, crawl.db and the writing of predictions included), their ratios, and the figures of each.
The rivals: TF-IDF of single words with logistic regression, fastText with its defaults for such
texts, and `--network original`, which is run once.

    python benchmarks/text.py
    python benchmarks/text.py --rounds 1 --growth 20000,146640,500000,1000000 --figure growth.svg
"""

import argparse
import contextlib
import os
import re
import shutil
import statistics
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

import db  # noqa: E402
from common.terminal import log, run  # noqa: E402
from crawling import queries as crawling_queries
from learning import (
    experiment_arguments,
    experiments,  # noqa: E402
    model_folders,
    predictions,
    selection,
)
from learning import queries as learning_queries

LEAVES, PARENTS, PER_LEAF = 156, 38, 940
COMMON, OWN, SHARED = 30_000, 60, 400  # words of all, of a leaf, of a parent's leaves
COMMANDS = {
    "categorize_words.py": [ROOT / "categorize_words.py", "--min-products", "1"],
    "categorize_words.py --ensemble 1": [
        ROOT / "categorize_words.py",
        "--min-products",
        "1",
        "--ensemble",
        "1",
    ],
    "TF-IDF and logistic regression": [__file__, "--work", "linear"],
    "fastText": [__file__, "--work", "fasttext"],
    "categorize_words.py --network original": [
        ROOT / "categorize_words.py",
        "--min-products",
        "1",
        "--network",
        "original",
    ],
}


def draw(path, count):
    """Fill a crawl.db with so many products whose words are drawn: most from all words by Zipf's
    law, some from those of the leaf or of its parent; one in twenty stands in another leaf."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    names = np.array(
        ["".join(rng.choice(letters, rng.integers(3, 11))) + str(i % 97) for i in range(COMMON)],
        object,
    )
    law = np.cumsum(1 / np.arange(10, COMMON + 10))
    own = rng.integers(300, COMMON, (LEAVES, OWN))
    shared = rng.integers(300, COMMON, (PARENTS, SHARED))
    leaves = [f"women.group-{i % PARENTS}.leaf-{i}" for i in range(LEAVES)]
    with contextlib.closing(db.open_database(path, create=True)) as conn:
        crawling_queries.store_categories(
            conn,
            [
                (leaf, f"women.group-{i % PARENTS}", 1, f"women.group-{i % PARENTS}/{leaf}", leaf)
                for i, leaf in enumerate(leaves)
            ],
        )
        with db.transaction(conn):
            for number in range(count):
                leaf = number % LEAVES
                topic = leaf if rng.random() > 0.05 else rng.integers(LEAVES)
                chosen = np.searchsorted(law, rng.random(rng.integers(50, 81)) * law[-1])
                kind = rng.random(len(chosen))
                chosen = np.where(kind < 0.06, rng.choice(own[topic], len(chosen)), chosen)
                chosen = np.where(
                    kind > 0.92, rng.choice(shared[topic % PARENTS], len(chosen)), chosen
                )
                text = " ".join(names[chosen])
                name, _, description = text.partition(text.split()[4])
                conn.execute(
                    """insert into product(id, category_id, name, description, source,
                                external_id, group_key) values (?, ?, ?, ?, 'drawn', ?, ?)""",
                    (number, leaves[leaf], name, description, str(number), str(number)),
                )
            conn.execute("""update category set product_count = (select count(*) from product
                            where category_id = category.id)""")


def work(which, path):
    """A rival as a whole command: read crawl.db, train, predict, write the predictions."""
    parser = argparse.ArgumentParser()
    experiment_arguments.add_arguments(parser)
    args = parser.parse_args(["--min-products", "1"])
    conn = db.open_database(path)
    products = selection.choose_products(conn, experiment_arguments.wanted(args))
    (part,) = selection.checked_splits(products, None)
    texts = [
        f"{name} {text}"
        for name, text in learning_queries.texts(conn, products.leaves, products.rule)
    ]
    if which == "fasttext":
        scores = rivals.ask_fasttext(
            texts,
            products.labels,
            part.training,
            part.test,
            len(products.leaves),
            {"epoch": 5, "lr": 0.5, "thread": 2},
        )
    else:
        scores = rivals.ask_linear(
            texts, products.labels, part.training, part.test, len(products.leaves), pairs=False
        )
    predicted = predictions.predicted(products, part.test, scores, 1.0, 0)
    rows = predictions.stored_rows(products, predicted)
    model_folders.save_experiment(conn, path, f"{which}: ", {}, rows, [], lambda folder: None)
    print(*experiments.summary_lines(predicted, products), sep="\n")


def measure(command, path):
    """(seconds, peak MB of the command and its children together, its stdout)."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            [sys.executable, *command, "--db-path", path], stdout=out, stderr=subprocess.DEVNULL
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(resident(pid) for pid in [process.pid, *children(process.pid)]))
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        assert process.returncode == 0, command
        out.seek(0)
        return seconds, peak / 1024, out.read()


def children(pid):
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except OSError:
        return []


def resident(pid):
    """kB that a process has in memory. Linux."""
    try:
        return int(re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
    except (OSError, TypeError):
        return 0


def figures(printed):
    found = dict(re.findall(r"^ *([A-Za-z0-9% ]+): ([\d.]+)%", printed, re.M))
    return (
        f"{found['Accuracy']} % | {found['95% Accuracy Coverage']} / "
        f"{found['98% Accuracy Coverage']} %"
    )


def compare(path, rounds, commands):
    seconds, memory, said = {name: [] for name in commands}, {}, {}
    for turn in range(rounds):
        for name, command in commands.items():
            if "original" in name and turn:
                continue
            taken, peak, said[name] = measure(command, path)
            seconds[name].append(taken)
            memory[name] = max(peak, memory.get(name, 0))
            log(f"round {turn + 1}: {name}: {taken:.1f} s, {peak:.0f} MB")
    print(
        "| | seconds, median (least to most) | memory | accuracy | coverage at 95 / 98 % |\n"
        "|---|---|---|---|---|"
    )
    for name, some in seconds.items():
        print(
            f"| {name} | {statistics.median(some):.1f} ({min(some):.1f} to {max(some):.1f}) "
            f"| {memory[name]:.0f} MB | {figures(said[name])} |"
        )
    ours, *others = commands
    for name in others:
        ratios = [a / b for a, b in zip(seconds[ours], seconds[name])]
        print(
            f"{ours} : {name} = {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def figure(points):
    """An SVG of [(products, seconds, MB)]: time and memory against products."""
    most = max(count for count, *_ in points)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 300" font-size="13" '
        'font-family="sans-serif">',
        '<rect width="760" height="300" fill="white"/>',
    ]
    for place, (title, unit, values) in enumerate(
        (
            ("time of the whole command", "s", [one[1] for one in points]),
            ("peak memory", "MB", [one[2] for one in points]),
        )
    ):
        left, top, high = 60 + 380 * place, 45, max(values) * 1.1
        where = [
            (left + 290 * one[0] / most, 250 - (250 - top) * value / high)
            for one, value in zip(points, values)
        ]
        parts += [
            f'<text x="{left}" y="25" font-weight="bold">{title}, {unit}</text>',
            f'<path d="M{left} {top}V250H{left + 300}" fill="none" stroke="#444"/>',
            f'<path d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in where)}" fill="none" '
            'stroke="#06c" stroke-width="2"/>',
        ]
        for (x, y), one, value in zip(where, points, values):
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#06c"/>',
                f'<text x="{x:.1f}" y="{y - 9:.1f}" text-anchor="middle">{value:,.0f}</text>',
            ]
            if one[0] > most / 10:
                parts.append(f'<text x="{x:.1f}" y="268" text-anchor="middle">{one[0]:,}</text>')
        parts.append(f'<text x="{left + 150}" y="290" text-anchor="middle">products</text>')
    return "\n".join([*parts, "</svg>\n"])


def grow(counts, rounds, folder, path):
    """Print the table of categorize_words.py alone with so many products each; draw it to path."""
    print(
        "| products | seconds | memory | accuracy | coverage at 95 / 98 % |\n|---|---|---|---|---|"
    )
    points = []
    for count in counts:
        own = os.path.join(folder, f"{count}")
        os.mkdir(own)
        draw(os.path.join(own, "crawl.db"), count)
        taken = [
            measure(COMMANDS["categorize_words.py"], os.path.join(own, "crawl.db"))
            for _ in range(rounds)
        ]
        points.append(
            (count, statistics.median(one[0] for one in taken), max(one[1] for one in taken))
        )
        print(
            f"| {count:,} | {points[-1][1]:.1f} | {points[-1][2]:.0f} MB "
            f"| {figures(taken[-1][2])} |",
            flush=True,
        )
        shutil.rmtree(own)
    if path:
        Path(path).write_text(figure(points), encoding="utf-8")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: 5)")
    parser.add_argument(
        "--products", type=int, default=LEAVES * PER_LEAF, metavar="N", help="(default: 146640)"
    )
    parser.add_argument("--short", action="store_true", help="without --network original")
    parser.add_argument(
        "--growth",
        default="",
        metavar="N,N",
        help="instead, categorize_words.py alone with so many products each",
    )
    parser.add_argument("--figure", metavar="FILE", help="where to draw that, as SVG")
    parser.add_argument("--work", choices=("linear", "fasttext"), help=argparse.SUPPRESS)
    parser.add_argument("--db-path", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.work:
        work(args.work, args.db_path)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "crawl.db")
        if not args.growth:
            rivals.environment_python("fasttext", rivals.FASTTEXT)
            draw(path, args.products)
            commands = {
                name: command
                for name, command in COMMANDS.items()
                if not (args.short and "original" in name)
            }
            compare(path, args.rounds, commands)
            return 0
        grow(map(int, args.growth.split(",")), args.rounds, folder, args.figure)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
