"""What a floor for every leaf costs in coverage, and what it gains in the worst leaf.

In: an experiment with folds in crawl.db. Each fold is filed by what the other folds certify, at its
leaf, else at its parent, as --apply does. Out: a table in Markdown. "worst leaf" and "at
leaves under 90 %" (products) are about leaves at which 30 products are filed; "clearly" are all
leaves that a test with one product of each group tells from 90 %.

    python benchmarks/floor.py --experiment 1
"""

import argparse
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

import db
from evaluation import certificates, certified_figures, figures, floors
from learning import category_tree

ENOUGH = 30  # accepted products of a leaf that counts among the worst
HEAD = (
    "target",
    "floor",
    "at leaves",
    "right",
    "at parents",
    "right",
    "leaves shut",
    "worst leaf",
    "at leaves under 90 %",
    "clearly",
)


def filed(rows, names, above, target, floor):
    """(bool [n] filed at the leaf, bool [n] at the parent, leaves shut for products to come)."""

    def certify(independent):
        return certified_figures.certify_leaf_and_parent(independent, above, target, 0.95, floor)

    as_filed, thresholds, overall = certified_figures.certified_apart(rows, rows[:0], 10, certify)
    leaf_from, below, parent_from, alone = thresholds.T
    leaf = as_filed["score"] >= leaf_from
    if math.isinf(overall.thresholds[0]):
        parent_from = alone
    parent = ~leaf & (as_filed["score"] < below) & (as_filed["parent_score"] >= parent_from)
    return leaf, parent, len(overall.shut)


def line(rows, names, above, target, floor):
    """The cells of HEAD."""
    leaf, parent, shut = filed(rows, names, above, target, floor)
    hits = figures.correct(rows, above)
    counts = np.bincount(rows["predicted"][leaf], minlength=len(names))
    right = np.bincount(rows["predicted"][leaf & hits.leaf], minlength=len(names))
    large = np.flatnonzero(counts >= ENOUGH)
    shares = right[large] / counts[large]
    worst = "-"
    if len(large):
        code = large[shares.argmin()]
        worst = f"{100 * shares.min():.1f} % of {counts[code]:,}"
    return (
        f"{100 * target:g} %",
        f"{100 * floor.share:g} %",
        f"{100 * leaf.mean():.1f} %",
        f"{100 * hits.leaf[leaf].mean():.2f} %" if leaf.any() else "-",
        f"{100 * parent.mean():.1f} %",
        f"{100 * hits.likeliest_parent[parent].mean():.2f} %" if parent.any() else "-",
        str(shut),
        worst,
        f"{counts[large][shares < 0.9].sum():,} ({(shares < 0.9).sum()} leaves)",
        str(clearly_under(rows, leaf, hits.leaf)),
    )


def clearly_under(rows, leaf, right):
    """How many leaves are clearly under 90 %, of all sizes, by one product of each group."""
    chosen = certificates.one_of_each(rows["group"])
    taken = chosen[leaf[chosen]]
    counts = np.bincount(rows["predicted"][taken])
    hits = np.bincount(rows["predicted"][taken[right[taken]]], minlength=len(counts))
    return len(floors.clearly_worse(hits, counts, 0.9))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db-path", default="crawl.db")
    parser.add_argument("--experiment", type=int, required=True)
    parser.add_argument("--floors", type=int, nargs="+", default=[0, 90])
    args = parser.parse_args()
    conn = db.open_readonly(args.db_path)
    names, rows = figures.read_predictions(conn, args.experiment, words=False)
    rule = category_tree.rule_of(db.settings(db.experiment_row(conn, args.experiment)))
    above = figures.parent_codes(names, category_tree.parents(conn, rule))
    print("| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|", sep="\n")
    for target in (0.95, 0.98):
        for percent in args.floors:
            floor = certified_figures.floor_of(conn, args.experiment, percent / 100, names)
            print("| " + " | ".join(line(rows, names, above, target, floor)) + " |")


if __name__ == "__main__":
    main()
