"""What a model may file of products to come.

In: an experiment's predictions of products that its model had never seen. Out: thresholds that are
certified for a target, and, if there are none, the reason in words. Numpy only. refusals.py checks
whether they hold for a shop's new products, filing.py files by them, and they are listed by

    python categorize_words.py --apply 1 --target 95
    python analyze.py --models
"""

from __future__ import annotations

import bisect
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import db
from common.terminal import counted
from common.text import printable
from evaluation import catalogue_queries, certificates, certified_figures, figures, floors
from evaluation.figures import Rows
from learning import category_tree
from learning.split import FEWEST_FOLDS, few_folds_text

OUT_OF_FOLD = "out-of-fold predictions"
Promise = dict[str, Any]  # as `promise` makes it


def promise(
    conn: sqlite3.Connection,
    number: int,
    leaves: Sequence[str],
    target: float,
    confidence: float,
    floor: float = 0.0,
) -> Promise:
    """What an experiment's model, of these leaves, may file of products to come. A dict:

    target, confidence
    leaf, below, parent, alone    certificates.Thresholds, None for inf
    rests_on, products            on what it rests: in words, and how many independent products
    strange, refiled              how many of those products are so (see below)
    floor, shut                   the floor, and the leaves that are shut by it: floors.named
    chose                         how many of those products chose them and certified nothing
    stopped                       what prevents a promise at the leaf: `floor`, or these two
    lower                         if nothing is promised at the leaf, lower_target, else None
    nearest                       nearest_by_level, of the levels at which nothing is promised
    few_folds                     how many folds there were, if these are too few, else None
    min_products                  that of the training, None with --categories

    A row is right if it says what the product's label is today. Products to come may belong to
    leaves that the model does not know, as some of the catalogue do: its answers for those are
    `strange` and count as errors, and so do rows of products that the shop has refiled elsewhere.
    """
    settings = db.settings(db.experiment_row(conn, number))
    folds = settings.get("folds")
    names, rows = figures.read_predictions(conn, number, not folds, False, leaves)
    above = figures.parent_codes(
        names, category_tree.parents(conn, category_tree.rule_of(settings))
    )
    independent = rows[certificates.one_of_each(rows["group"])]
    counts = {
        "strange": 0,
        "refiled": int(
            ((independent["label"] != independent["learned"]) & (independent["fold"] >= 0)).sum()
        ),
    }
    if leaves:
        counts["strange"] = int((independent["fold"] < 0).sum())
    few_folds = bool(folds and folds < FEWEST_FOLDS)
    certified = floors.Certified(certificates.NO_THRESHOLDS, independent, confidence)
    stopped, lower, near = [], None, {}
    if not few_folds:
        wanted = certified_figures.floor_of(conn, number, floor, names, leaves)
        certified = certify_rows(rows, above, target, confidence, wanted)
        near = nearest_by_level(certified, above, target)
    if not few_folds and math.isinf(certified.thresholds.leaf):
        lower = lower_target(independent, above, target, confidence, wanted)
        learned = rows
        if any(counts.values()):
            _, learned = figures.read_learned(conn, number, not folds)
        stopped = stopped_by(rows, learned, counts, above, target, confidence, wanted)
    return {
        "target": target,
        "confidence": confidence,
        **{
            level: None if math.isinf(score) else score
            for level, score in certified.thresholds._asdict().items()
        },
        "rests_on": OUT_OF_FOLD if folds else "validation kept for certifying",
        "products": len(independent),
        **counts,
        "floor": floor,
        "shut": floors.named(certified.shut, names),
        "chose": len(independent) - len(certified.rows),
        "stopped": stopped,
        "lower": lower,
        "nearest": near,
        "few_folds": folds if few_folds else None,
        "min_products": asked_min_products(settings),
    }


def asked_min_products(settings: Mapping[str, Any]) -> int | None:
    """--min-products of an experiment's training; None if it is not known, or with --categories,
    which are not bound by it."""
    arguments = settings.get("arguments")
    if not isinstance(arguments, dict) or arguments.get("categories"):
        return None
    return arguments.get("min_products")


def certify_rows(
    rows: Rows,
    above: NDArray[np.int64],
    target: float,
    confidence: float,
    floor: floors.Floor = floors.NO_FLOOR,
) -> floors.Certified:
    """What is certified by one row of each group; its thresholds are certificates.Thresholds."""
    independent = rows[certificates.one_of_each(rows["group"])]
    if not len(independent) or (independent["parent"] < 0).any():
        return floors.Certified(certificates.NO_THRESHOLDS, independent, confidence)
    return certified_figures.certify_leaf_and_parent(independent, above, target, confidence, floor)


def nearest_by_level(
    certified: floors.Certified, above: NDArray[np.int64], target: float
) -> dict[str, dict[str, Any]]:
    """{level: what came nearest to a promise} for each level at which nothing is certified. What
    came nearest is a dict of score (the threshold), products and wrong ones there, how many of the
    wrong ones are `strange`, and how many may be wrong at `most`."""
    rows, limits = certified.rows, certified.thresholds
    hits = figures.correct(rows, above)
    failed, rest = {}, ~(rows["score"] >= limits.leaf)
    if math.isinf(limits.leaf):
        failed["leaf"] = rows, rows["score"], hits.leaf
    if math.isinf(limits.parent) and rest.any() and (rows["parent"] >= 0).all():
        failed["parent"] = rows[rest], rows["parent_score"][rest], hits.likeliest_parent[rest]
    delta = (1 - certified.confidence) / 2
    report = {}
    for level, (failed_rows, score, right) in failed.items():
        threshold, products, wrong = certificates.nearest(score, right, target, delta)
        tests = 7 if level == "leaf" else 7 * certificates.RUNS
        strange_errors = (score >= threshold) & ~right & (failed_rows["fold"] < 0)
        report[level] = {
            "score": threshold,
            "products": products,
            "wrong": wrong,
            "strange": int(strange_errors.sum()),
            "most": certificates.most_wrong(products, target, delta, tests),
        }
    return report


def lower_target(
    independent: Rows,
    above: NDArray[np.int64],
    target: float,
    confidence: float,
    floor: floors.Floor = floors.NO_FLOOR,
) -> tuple[int, float] | None:
    """(percent, share): the highest whole percentage under the target at which leaves can be
    promised for these independent rows, and the share of them that this would file; None if none
    from 50 on. The floor is lowered with the target."""

    def leaves_at(percent: int) -> floors.Certified:
        lower_floor = floor._replace(share=min(floor.share, percent / 100))
        return certify_rows(independent, above, percent / 100, confidence, lower_floor)

    percents = range(50, math.ceil(100 * target))
    last = bisect.bisect_left(
        percents, True, key=lambda percent: math.isinf(leaves_at(percent).thresholds.leaf)
    )
    if last == 0 or not len(independent):
        return None
    certified = leaves_at(percents[last - 1])
    filed = floors.without_shut(independent, certified.shut, certified.lone)
    return percents[last - 1], float((filed["score"] >= certified.thresholds.leaf).mean())


def stopped_by(
    rows: Rows,
    learned: Rows,
    counts: Mapping[str, int],
    above: NDArray[np.int64],
    target: float,
    confidence: float,
    floor: floors.Floor = floors.NO_FLOOR,
) -> list[str]:
    """What stopped a promise at the leaf: `floor`, if something is promised without it; `strange`,
    if something is promised without these rows; `refiled`, if something is promised with the labels
    that were learned; or both, if it takes both. [] if none of them did. `learned` are the rows as
    they were learned, without strange ones."""

    def is_promised(other_rows: Rows, wanted: floors.Floor = floor) -> bool:
        certified = certify_rows(other_rows, above, target, confidence, wanted)
        return certified.thresholds.leaf < math.inf

    if floor.share and is_promised(rows, floors.NO_FLOOR):
        return ["floor"]
    if counts["strange"] and is_promised(rows[rows["fold"] >= 0]):
        return ["strange"]
    if counts["refiled"] and is_promised(np.append(learned, rows[rows["fold"] < 0])):
        return ["refiled"]
    return ["strange", "refiled"] if all(counts.values()) and is_promised(learned) else []


# ---- the thresholds of a promise ----------------------------------------------------------------


def promised_thresholds(promise: Promise) -> dict[str, float]:
    """{leaf, below, parent}: the scores that are needed, as in certificates.Thresholds."""
    return {
        level: math.inf if promise[level] is None else promise[level]
        for level in ("leaf", "below", "parent")
    }


def parent_alone(promise: Promise) -> dict[str, float]:
    """The thresholds if nothing may be filed at leaves."""
    return {
        "leaf": math.inf,
        "below": math.inf,
        "parent": math.inf if promise["alone"] is None else promise["alone"],
    }


def shut_leaves(promise: Promise) -> set[str]:
    """The ids of the leaves that are shut."""
    return {leaf["category"] for leaf in promise["shut"]}


def filed_rows(
    conn: sqlite3.Connection, number: int, names: Sequence[str], rows: Rows, promise: Promise
) -> Rows:
    """Rows of figures.read_predictions as they are filed, without the leaves that are shut."""
    if not promise["shut"]:
        return rows
    code = {name: code for code, name in enumerate(names)}
    shut = [code[leaf] for leaf in shut_leaves(promise)]
    lone = [code[leaf] for leaf in catalogue_queries.lone_classes(conn, number)]
    return floors.without_shut(rows, shut, lone)


# ---- a promise in words -------------------------------------------------------------------------


def promise_text(promise: Promise) -> str:
    """What is promised, in a few lines."""
    return "\n".join(promise_lines(promise))


def promise_lines(promise: Promise) -> Iterator[str]:
    """The lines of promise_text."""
    if promise["few_folds"]:
        yield "nothing can be promised, so nothing is filed: " + few_folds_text(
            promise["few_folds"]
        )
        return
    if promise["leaf"] is None and promise["parent"] is None:
        yield from nothing_promised_lines(promise)
        return
    yield (
        f"promised with {100 * promise['confidence']:g} % confidence: of the products that are "
        f"filed, at least {100 * promise['target']:g} % are right. It rests on "
        f"{basis_text(promise)}, and holds for products like those, of their categories"
    )
    for level in ("leaf", "parent"):
        if promise[level] is None:
            yield f"  at the {level}: nothing. {nearest_text(promise, level)}"
        else:
            yield f"  at the {level}: from score {promise[level]:.4f} on"
    if promise["leaf"] is not None and promise.get("shut"):
        yield f"  {shut_text(promise)}"
    if promise["leaf"] is None and lowering_helps(promise):
        yield f"  a lower --target may file some at leaves{lower_text(promise)}"
    yield from stopped_lines(promise)


def shut_text(promise: Promise) -> str:
    """How many leaves are shut, and where their products go, in words."""
    worst, number = promise["shut"][0], len(promise["shut"])
    return (
        f"{'1 leaf is' if number == 1 else f'{number} leaves are'} shut: clearly less than "
        f"{100 * promise['floor']:g} % (--floor) would be right there (the worst, "
        f"{printable(worst['category'])}: {worst['right']} of {worst['accepted']} were). Their "
        "products go to the parent, or to a person"
    )


def nothing_promised_lines(promise: Promise) -> Iterator[str]:
    """Why nothing is promised at the leaf or at the parent, and what may help, in words."""
    yield (
        f"nothing can be promised at {100 * promise['target']:g} % by {basis_text(promise)}, "
        "so nothing is filed"
    )
    for level in promise["nearest"]:
        yield f"  at the {level}: {nearest_text(promise, level)}"
    if promise["rests_on"] != OUT_OF_FOLD:
        yield "  train with --folds 10, which certifies on all products"
    if lowering_helps(promise):
        yield f"  try a lower --target{lower_text(promise)}"
    yield from stopped_lines(promise)


def basis_text(promise: Promise) -> str:
    """What a promise rests on, in words."""
    details = [promise["rests_on"]]
    if promise.get("chose"):
        details.append(f"{promise['chose']} of them chose the leaves that are shut")
    if promise["strange"]:
        details.append(f"{promise['strange']} of them of other categories than the model's")
    if promise["refiled"]:
        details.append(f"{promise['refiled']} of them refiled by the shop since")
    return f"{promise['products']} independent products ({'; '.join(details)})"


def lowering_helps(promise: Promise) -> bool:
    """Whether a lower target is the advice; if products were refiled, it is to train again."""
    return bool(promise["lower"]) and "refiled" not in promise["stopped"]


def lower_text(promise: Promise) -> str:
    """What the lower target would file, in words."""
    percent, share = promise["lower"]
    return f" ({percent} would file {100 * share:.0f} % of products like these at leaves)"


def nearest_text(promise: Promise, level: str) -> str:
    """The numbers that the promise failed on at a level, in words."""
    near = promise["nearest"].get(level)
    if near is None:
        return "All products are filed at the leaf"
    if not near["products"]:
        return "There is no product to go by"
    strange = ""
    if near["strange"]:
        strange = f", {near['strange']} of those of categories that the model does not know"
    if near["most"] < 0:
        verdict = "So few products prove nothing"
    elif near["most"] == 0 < near["wrong"]:
        verdict = "None may be wrong"
    elif near["most"] < near["wrong"]:
        verdict = f"At most about {near['most']} may be wrong"
    else:
        verdict = "That falls a little short of a proof"
    return (
        f"Of the {counted(near['products'], 'product')} with a score of at least "
        f"{near['score']:.4f}, {near['wrong']} are wrong{strange}. {verdict}"
    )


def stopped_lines(promise: Promise) -> Iterator[str]:
    """A line that says what stopped the promise at the leaf, and what to do about it; none if
    nothing of the kind stopped it."""
    if "floor" in promise["stopped"]:
        yield (
            f"  at the leaf it would be promised without the floor of {100 * promise['floor']:g} "
            "%, which leaves fewer products to certify by: use --floor 0, or train on more "
            "labelled products"
        )
    causes, advice = [], []
    if "strange" in promise["stopped"]:
        low = promise["min_products"]
        wider = "more --categories" if low is None else f"--min-products below {low}"
        causes.append(
            f"the {promise['strange']} products of categories that the model does not know"
        )
        advice.append(f"train with {wider}, which leaves fewer of them out")
    if "refiled" in promise["stopped"]:
        causes.append(f"the {promise['refiled']} products that have another category now")
        advice.append("train again, on the categories they have now")
    if causes:
        yield (
            f"  at the leaf it would be promised without {' and '.join(causes)}, which count "
            f"as errors: {', and '.join(advice)}"
        )
