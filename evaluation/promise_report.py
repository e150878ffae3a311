"""What an experiment promises, and its figures at every level of the tree, as lines of text.

In: the dict of experiment_figures.describe, with levels.by_level as its `levels`. Out: lines. No
figure is computed here. They are a part of what experiment_report.py prints:

    python analyze.py --experiment 1
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from common.terminal import command, counted
from evaluation import today
from evaluation.filing_arguments import USUAL_FLOOR
from evaluation.text_report import Report, aligned, percent, threshold_text, with_interval


def certified_text(report: Report) -> Iterator[str]:
    """Coverage beside what is certified of it."""
    yield f"Certified with {100 * report['confidence']:g}% confidence, {certified_on_text(report)}"
    rows = [("", "coverage", "certified", "accepted", "right of these", "where")]
    for promise in report["coverage"]:
        parent = "Parent " if promise["level"] == "parent" else ""
        rows.append(
            (
                f"{parent}{promise['target']}% Accuracy",
                percent(promise["observed"]["share"]),
                with_interval(promise["coverage"]),
                f"{promise['coverage']['hits']:,}",
                with_interval(promise["accuracy"]),
                threshold_text("score", promise["threshold"]),
            )
        )
    yield from aligned(rows)
    if report["floor"]:
        yield from floor_text(report)
    else:
        yield (
            "  (--apply may file less at leaves, because it keeps a floor for each: --floor "
            f"{100 * USUAL_FLOOR:g} shows how much)"
        )
    if report["certified_on"] == "folds":
        yield from folds_text(report)
    missing = [promise for promise in report["coverage"] if math.isinf(promise["threshold"])]
    for promise in missing:
        yield "  " + missing_text(promise)
    if missing:
        yield (
            "  (wrong labels count as errors: analyze.py --label-suspects "
            f"{report['experiment']} lists those that may be wrong)"
        )
    if report["certified_on"] == "validation" and missing:
        yield "  (an experiment made with --folds 10 is certified on all its products)"


def floor_text(report: Report) -> Iterator[str]:
    """A line for each target: which leaves are shut by the floor, the worst first."""
    for promise in report["coverage"]:
        if promise["level"] != "leaf":
            continue
        shut = promise["shut"]
        names = ", ".join(
            f"{leaf['category']} ({leaf['right']:,} of {leaf['accepted']:,} right)"
            for leaf in shut[:3]
        )
        more = f" and {len(shut) - 3} more" if len(shut) > 3 else ""
        yield (
            f"  Floor of {100 * report['floor']:g}%, at {promise['target']}%: "
            + (f"{len(shut)} shut: {names}{more}" if shut else "no leaf is shut")
        )


def folds_text(report: Report) -> Iterator[str]:
    """Lines about the thresholds of the folds."""
    yield (
        '  ("where" is the threshold for new products; the figures beside it come from one '
        "threshold a fold)"
    )
    for promise in report["coverage"]:
        without = sum(map(math.isinf, promise["fold_thresholds"]))
        if without and not math.isinf(promise["threshold"]):
            yield (
                f"  {promise['level'].capitalize()} {promise['target']}%: for {without} of "
                f"{len(promise['fold_thresholds'])} folds nothing could be promised, so "
                "nothing was accepted there"
            )


def certified_on_text(report: Report) -> str:
    """What the certificates rest on, in words."""
    if report["certified_on"] == "folds":
        return "each fold by the predictions of the others"
    if report["certified_on"] == "validation":
        return (
            f"by {counted(report['certifying_products'], 'validation product')} kept for it, seen "
            "on the test products"
        )
    return "but no validation product was kept for it: run its script again, or with --folds 10"


def missing_text(promise: Report) -> str:
    """A sentence that says why nothing can be promised, and what it would take."""
    start = f"{promise['level'].capitalize()} {promise['target']}%: nothing can be promised"
    if not promise["have"]:
        return (
            f"{start} without such products, of which it takes at least "
            f"{promise['fewest']:,}, all right"
        )
    if promise["needed"] is None:
        return (
            f"{start}, and even a million products like these would not be enough: too many "
            "of the surest predictions are wrong"
        )
    return (
        f"{start} by {counted(promise['have'], 'independent product')}: it would take about "
        f"{promise['needed']:,} like these"
    )


def fallback_text(report: Report) -> Iterator[str]:
    """What is filed at the leaf, else at the parent, else left to a person."""
    if report["fallback"] is None:
        yield "Leaf, else parent, else a person: unknown, the predictions hold no parent's score"
        return
    yield (
        f"Leaf, else parent, else a person (both promises together {100 * report['confidence']:g}%)"
    )
    rows: list[tuple[str, ...]] = [("", "", "products", "share", "right of these", "where")]
    for fallback in report["fallback"]:
        rows += fallback_rows(fallback)
    yield from aligned(rows, left=(0, 1))
    for fallback in report["fallback"]:
        target = fallback["target"]
        for level, products in (("leaf", ""), ("parent", " for products not filed at the leaf")):
            if math.isinf(fallback[level]["threshold"]) and fallback["person"]["taken"]["hits"]:
                yield f"  {target}%: nothing can be promised at the {level}{products}"
    unsure = [
        fallback["target"]
        for fallback in report["fallback"]
        if fallback["person"]["taken"]["hits"]
        and any(math.isinf(fallback[level]["threshold"]) for level in ("leaf", "parent"))
    ]
    if unsure:
        yield f"  (how near it comes: {apply_command(report, unsure[0])})"


def apply_command(report: Report, target: int) -> str:
    """The command that shows what an experiment would file at a target."""
    kind = report["name"].partition(" classification of")[0]
    return command(
        f"categorize_{today.SCRIPTS.get(kind, 'words')}",
        "--apply",
        report["experiment"],
        "--target",
        target,
        "--dry-run",
        db_path=report.get("db_path", "crawl.db"),
    )


def fallback_rows(fallback: Report) -> list[tuple[str, ...]]:
    """The rows of fallback_text's table for one target."""
    leaf, parent, person = fallback["leaf"], fallback["parent"], fallback["person"]
    guess = ""
    if person["taken"]["hits"]:
        guess = f"(the first suggestion is right for {percent(person['accuracy']['share'])})"
    return [
        (
            f"{fallback['target']}%",
            "leaf",
            f"{leaf['taken']['hits']:,}",
            with_interval(leaf["taken"]),
            with_interval(leaf["accuracy"]),
            threshold_text("score", leaf["threshold"]),
        ),
        (
            "",
            "parent",
            f"{parent['taken']['hits']:,}",
            with_interval(parent["taken"]),
            with_interval(parent["accuracy"]),
            threshold_text("parent_score", parent["threshold"]),
        ),
        ("", "person", f"{person['taken']['hits']:,}", with_interval(person["taken"]), guess, ""),
    ]


def levels_text(report: Report) -> Iterator[str]:
    """Accuracy and coverage at every level of the tree."""
    yield "At every level of the category tree, by the leaf's score (level 1 is the top; --depth N learns level N)"
    targets = [coverage["target"] for coverage in report["levels"][0]["coverage"]]
    heads = [head for target in targets for head in (f"{target}% coverage", "certified")]
    rows: list[tuple[str, ...]] = [("", "categories", "products so deep", "accuracy", *heads)]
    for level in report["levels"]:
        rows.append(
            (
                f"level {level['level']}",
                f"{level['categories']:,}",
                f"{level['as_deep']:,}",
                with_interval(level["accuracy"]),
                *(
                    percent(coverage[share]["share"])
                    for coverage in level["coverage"]
                    for share in ("observed", "coverage")
                ),
            )
        )
    yield from aligned(rows)
    if report["levels"][0]["as_deep"] < report["n"]:
        yield "  (a category that is not so deep counts as itself)"
