"""How often an audit says "broken" and "kept", and after how many answers, in worlds that are known.

In: nothing; the worlds are drawn. In each, so many products were filed, and exactly so many of them
are wrong. They are looked at one after another in random order, and after each answer one looks at
the verdict. Out, on stdout, a table in Markdown: in how many worlds it is ever "broken" or "kept"
within `--most` answers, and after how many answers it is so first (the median, and nine of ten of
those in which it is). `interval` is the one that is looked at:

    sequence   evaluation/audit_limits.py, which holds at every answer
    fixed      exact limits of a sample whose size is fixed beforehand (Clopper and Pearson, Biometrika
               26, 1934): the control, which does not hold if one looks after each answer

    python benchmarks/audit.py
    python benchmarks/audit.py --worlds 200 --filed 20000 --most 5000
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from scipy.stats import beta

from evaluation import audit_limits
from evaluation.audit_limits import BROKEN, KEPT, Counts, Limits

GAPS = (-2, -1, 0, 0.5, 1, 2, 5)  # points by which fewer are right than is promised
HEAD = (
    "promised",
    "truly right",
    "interval",
    "ever broken",
    "after: median",
    "nine of ten",
    "ever kept",
    "after: median",
    "nine of ten",
)


class Said(NamedTuple):
    """Of each world, bool [worlds] and int [worlds]: whether a verdict was ever given, and after how
    many answers first."""

    ever: np.ndarray
    after: np.ndarray


def fixed_limits(counts: Counts, target: float, alpha: float) -> Limits:
    """Limits of the share that is right if the number of answers was fixed beforehand."""
    _, looked, wrong, _ = counts
    right = looked - wrong
    low = beta.ppf(alpha / 2, right, wrong + 1) if right else 0.0
    high = beta.ppf(1 - alpha / 2, right + 1, wrong) if wrong else 1.0
    return Limits(float(low), float(high))


def edges(filed, most, target, alpha, limits):
    """(int [most + 1], int [most + 1]): for each number of answers the largest number of wrong ones
    that is `kept`, -1 if none is, and the smallest that is `broken`. Both never fall, which saves
    nearly all of the limits."""
    kept, broken = np.full(most + 1, -1), np.full(most + 1, most + 1)
    most_kept, least_broken = -1, 0

    def verdict(looked, wrong):
        return audit_limits.verdict(limits(Counts(filed, looked, wrong, 0), target, alpha), target)

    for looked in range(1, most + 1):
        while most_kept < looked and verdict(looked, most_kept + 1) == KEPT:
            most_kept += 1
        while least_broken <= looked and verdict(looked, least_broken) != BROKEN:
            least_broken += 1
        kept[looked], broken[looked] = most_kept, least_broken
    return kept, broken


def draw_worlds(worlds, filed, wrong, most, rng):
    """int [worlds, most + 1]: how many of the first answers are wrong, from 0 answers on, if `wrong`
    of the filed products are and each is looked at once."""
    left, left_wrong = filed, np.full(worlds, wrong)
    counts = np.zeros((worlds, most + 1), int)
    for looked in range(1, most + 1):
        is_wrong = rng.random(worlds) * left < left_wrong
        left, left_wrong = left - 1, left_wrong - is_wrong
        counts[:, looked] = counts[:, looked - 1] + is_wrong
    return counts


def first(hits):
    """Said of bool [worlds, most + 1]."""
    return Said(hits.any(1), hits.argmax(1))


def simulate(worlds, filed, right, most, target, alpha, limits=audit_limits.limits, seed=0):
    """(Said of broken, Said of kept) in so many worlds, in which this share of what was filed is
    right."""
    kept, broken = edges(filed, most, target, alpha, limits)
    wrong = round((1 - right) * filed)
    counts = draw_worlds(worlds, filed, wrong, most, np.random.default_rng(seed))
    return first(counts >= broken), first((counts <= kept) & (kept >= 0))


def cells(said):
    """The cells of a verdict: how often, and after how many answers."""
    after = said.after[said.ever]
    if not len(after):
        return ["0.0 %", "-", "-"]
    middle, late = np.quantile(after, (0.5, 0.9))
    return [f"{100 * said.ever.mean():.1f} %", f"{middle:,.0f}", f"{late:,.0f}"]


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=2000)
    parser.add_argument("--filed", type=int, default=10_000, help="products in each world")
    parser.add_argument("--most", type=int, default=1500, help="answers in each world, at most")
    parser.add_argument("--targets", type=float, nargs="+", default=[95, 98], metavar="PERCENT")
    parser.add_argument("--confidence", type=float, default=95, metavar="PERCENT")
    args = parser.parse_args(argv)
    most, alpha = min(args.most, args.filed), 1 - args.confidence / 100
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
    for target in args.targets:
        for gap in GAPS:
            right = (target - gap) / 100
            if right >= 1:
                continue
            for name, limits in (("sequence", audit_limits.limits), ("fixed", fixed_limits)):
                broken, kept = simulate(
                    args.worlds, args.filed, right, most, target / 100, alpha, limits
                )
                row = [f"{target:g} %", f"{100 * right:g} %", name, *cells(broken), *cells(kept)]
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
