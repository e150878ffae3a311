"""One experiment in full, as lines of text.

In: the dict of experiment_figures.describe, with today.since_training as its `today` and
levels.by_level as its `levels`. Out: lines. No figure is computed here.

    python analyze.py --experiment 1
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation import today
from evaluation.figures import TARGETS
from evaluation.promise_report import certified_text, fallback_text, levels_text
from evaluation.text_report import (
    Report,
    aligned,
    blocks_text,
    percent,
    shut_note,
    shut_text,
    with_interval,
)
from learning import category_changes, near_duplicates


def experiment_text(report: Report, top: int) -> Iterator[str]:
    """The lines of an experiment, with the `top` pairs of categories that are confused most."""
    yield from blocks_text([report])
    low, high = report["interval"]
    yield (
        f"  (accuracy between {100 * low:.2f}% and {100 * high:.2f}% with "
        f"{100 * report['confidence']:g}% confidence, if all products were independent)"
    )
    review = report["after_review"]
    if review["corrected"]:
        yield (
            f"  After review: {with_interval(review['accuracy'])}, with {review['corrected']} "
            "labels corrected by a person (who saw only what looked wrong, so this is too high)"
        )
    yield from today_text(report)
    for part in (
        certified_text(report),
        fallback_text(report),
        levels_text(report),
        calibration_text(report),
        classes_text(report),
        split_text(report["settings"]),
        shared_text(report["shared_with_training"]),
        confusions_text(report, top),
        categories_text(report),
        settings_text(report["settings"]),
    ):
        yield ""
        yield from part


# ---- the catalogue of today ---------------------------------------------------------------------


def today_text(report: Report) -> Iterator[str]:
    """Lines about the catalogue as it is today."""
    changes = report["today"]
    for line in today.changes_lines(report["experiment"], changes):
        yield f"  {line[0].upper()}{line[1:]}."
    if changes["refiled"]:
        yield (
            "  (All figures below are by the categories of the training. --apply counts "
            "products by the category they have now.)"
        )
    if changes["all"] is not None:
        yield ""
        yield from all_text(report)


def all_text(report: Report) -> Iterator[str]:
    """Lines that hold the figures of the categories that the model knows beside those of all."""
    everything = report["today"]["all"]
    (leaves, of_leaves), (known, products) = everything["leaves"], everything["products"]
    yield (
        f"The model knows {leaves} of {of_leaves} categories, with {known:,} of {products:,} "
        f"labelled products. It is always wrong about the other {products - known:,}"
    )
    rows = [
        ("", "of the categories it knows", "of all that comes"),
        ("Accuracy", percent(report["accuracy"]), percent(everything["accuracy"])),
    ]
    if everything["answered"]:
        rows += coverage_rows(report)
    yield from aligned(rows)
    if everything["answered"]:
        yield (
            f"  (--apply --floor {100 * report['floor']:g} promises what stands on the right, by "
            "the labels of today)"
        )
    else:
        script = today.SCRIPTS.get(everything["kind"], "words")
        yield (
            "  What can be promised of all that comes is known once the model has answered the "
            "others too: load products"
        )
        yield (
            f"  without a category, and run categorize_{script}.py --apply "
            f"{report['experiment']}. What follows is about the categories it knows"
        )
    if everything["min_products"] is not None:
        yield (
            f"  (it was trained with --min-products {everything['min_products']}; a lower one "
            "takes more leaves in)"
        )


def coverage_rows(report: Report) -> list[tuple[str, str, str]]:
    """The rows of all_text's table about coverage."""
    fallback = {promise["target"]: promise for promise in report["fallback"] or ()}
    rows = []
    for coverage in report["today"]["all"]["coverage"]:
        target = coverage["target"]
        rows.append(
            (
                f"{target}% Accuracy Coverage",
                percent(report[f"coverage_{target}"]),
                percent(coverage["observed"]),
            )
        )
        for level in ("leaf", "parent"):
            before = "-"
            if fallback:
                before = percent(fallback[target][level]["taken"]["share"])
            rows.append((f"{target}% certified, at the {level}", before, percent(coverage[level])))
    return rows


# ---- what was measured --------------------------------------------------------------------------


def calibration_text(report: Report) -> Iterator[str]:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    yield "Calibration"
    rows = [("", "NLL", "ECE")]
    for name in ("before", "after"):
        errors = report["calibration"][name]
        rows.append((f"{name} calibration", number(errors["nll"]), number(errors["ece"])))
    yield from aligned(rows)
    yield f"  AURC {number(report['aurc'])}"


def classes_text(report: Report) -> Iterator[str]:
    """Accuracy by the number of words, and with and without a picture."""
    yield "Accuracy by"
    rows = []
    for i, row in enumerate(report["by_words"]):
        title = "words: " if i == 0 else ""
        end = ""
        if row["to"] is None:
            end = "+"
        elif row["to"] > row["from"]:
            end = f"-{row['to']}"
        rows.append((f"{title}{row['from']}{end}", row["accuracy"]))
    for row in report["by_picture"]:
        rows.append(("with a picture" if row["from"] else "without a picture", row["accuracy"]))
    yield from aligned(
        [(name, f"{accuracy['n']:,}", with_interval(accuracy)) for name, accuracy in rows], left=()
    )


def split_text(settings: Mapping[str, Any]) -> Iterator[str]:
    """What the split kept on one side. Anybody may have written the settings."""
    yield "Split"
    clusters = settings.get("near-duplicates")
    if settings.get("split by") != "cluster" or not isinstance(clusters, dict):
        yield (
            "  by group: near-duplicates, texts that differ by a word or two, may be in both "
            "training and test"
        )
        return
    yield "  by clusters of near-duplicates, texts that differ by a word or two"
    try:
        yield from (f"  {line}" for line in near_duplicates.report_lines(clusters))
    except (KeyError, TypeError, ValueError, AttributeError):
        yield "  (their number is not on record)"


def shared_text(shared: Report | None) -> Iterator[str]:
    """What test products share with products that the model learned from."""
    yield "Test products that share with training products"
    if shared is None:
        yield "  unknown: its training products are not on record, or gone"
        return
    for kind, name in (
        ("text", "their words"),
        ("picture", "their picture file"),
        ("near-duplicate", "all but a word or two"),
    ):
        shares = shared[kind]
        if shares is not None:
            yield (
                f"  {name}: {shares['shared']['hits']:,} ({percent(shares['shared']['share'])})"
                f", accuracy {with_interval(shares['accuracy_of_these'])}; of the others "
                f"{with_interval(shares['accuracy_of_the_others'])}"
            )


def confusions_text(report: Report, top: int) -> Iterator[str]:
    pairs = report["confusions"]
    yield f"Categories most often confused ({len(pairs)} pairs)"
    rows = []
    for pair in pairs[:top]:
        names = " -> ".join(name_of(category, report) for category in pair["categories"])
        rows.append(
            (
                f"{pair['errors']:,}",
                f"{names} {pair['first_as_second']}, <- {pair['second_as_first']}",
                "same parent" if pair["same_parent"] else "",
            )
        )
    yield from aligned(rows, left=(1, 2))


def name_of(category: str, report: Report) -> str:
    """A category's id, and the one that --recategorize has given it since."""
    return category_changes.now_text(category, report["recategorized"])


def categories_text(report: Report) -> Iterator[str]:
    """Every category: how often it is found, and what is accepted there."""
    yield "Categories"
    rows = [("", "products", "recall", "precision", "accepted", "right of these", "")]
    for category in report["categories"]:
        accepted = category["accepted"]
        rows.append(
            (
                name_of(category["category"], report),
                f"{category['support']:,}",
                with_interval(category["recall"]),
                with_interval(category["precision"]),
                f"{accepted['n']:,}",
                with_interval(accepted),
                shut_text(category["shut"]),
            )
        )
    yield from aligned(rows, left=(0, 6))
    yield (
        f'  ("accepted" is what the line "{TARGETS[0]}% Accuracy" above accepts. The intervals of '
        "a small category are wide)"
    )
    if note := shut_note(report):
        yield f"  ({note.removesuffix('.')})"


def settings_text(settings: Mapping[str, Any]) -> Iterator[str]:
    """The settings that were not reported above; of the categories only how many they are."""
    yield "Settings"
    for key, value in settings.items():
        if key == "categories":
            value = len(value)
        if key not in ("calibration", "near-duplicates"):
            yield f"  {key}: {value}"
