"""What analyze.py prints as lines of text: blocks, comparisons, models and decisions.

In: the dicts of figures.block, comparison.compare, today.models and decisions.take_file. Out:
lines. No figure is computed here. experiment_report.py prints one experiment in full.

    python analyze.py
    python analyze.py --compare 1 2
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from common.terminal import command, counted
from common.text import one_line
from evaluation import audit_text, today
from learning import metrics

Report = Mapping[str, Any]
LONGEST_NAME = 60  # characters of a product's name that are shown


# ---- cells and tables ---------------------------------------------------------------------------


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}%"


def with_interval(share: Report) -> str:
    """A share of figures.share_of: 98.44% [98.12, 98.71]."""
    if share["share"] is None:
        return "-"
    low, high = share["interval"]
    return f"{percent(share['share'])} [{100 * low:.2f}, {100 * high:.2f}]"


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Rows of cells as lines. Columns are as wide as they must be, those in `left` flush left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def threshold_text(column: str, score: float) -> str:
    """Which products a threshold accepts, as one writes it in SQL."""
    return "nowhere" if math.isinf(score) else f"{column} >= {score:.6f}"


def shut_text(shut: Report | None) -> str:
    """Why a leaf is shut, one of floors.named; "" for None."""
    if shut is None:
        return ""
    return f"shut: {shut['right']:,} of {shut['accepted']:,} were right"


def shut_note(report: Report) -> str:
    """What it means that a leaf is shut, in sentences; "" if experiment_figures.describe's report
    has none."""
    if not any(category["shut"] for category in report["categories"]):
        return ""
    if report["settings"].get("folds"):
        choosers = ""
        folds = " What was accepted there in folds that have not shut it is still counted."
    else:
        choosers, folds = ", among the products that the model was tuned on,", ""
    return (
        f"A leaf is shut if{choosers} clearly fewer than {100 * report['floor']:g}% of those "
        f"accepted there are right.{folds}"
    )


def short_line(text: str | None, most: int = LONGEST_NAME) -> str:
    """A text on one line, cut if it is long."""
    line = one_line(text or "")
    return line if len(line) <= most else line[: most - 3] + "..."


# ---- experiments --------------------------------------------------------------------------------


def blocks_text(blocks: Iterable[Report]) -> Iterator[str]:
    """The block of each experiment, as the study of 2016 printed it, to the letter."""
    for block in blocks:
        yield f"#{block['experiment']}: {block['name']}"
        yield from block["lines"]


def comparison_text(comparison: Report, top: int) -> Iterator[str]:
    """Lines of comparison.compare's result, with the `top` products that flipped."""
    experiments = comparison["experiments"]
    sizes = ", ".join(
        f"#{experiment['experiment']} has {experiment['predictions']:,}"
        for experiment in experiments
    )
    yield f"On the {comparison['n']:,} products that all have ({sizes})"
    if not comparison["same_categories"]:
        yield "  not the same task: " + ", ".join(
            f"#{experiment['experiment']} has {experiment['categories'] or 'unknown'} categories"
            for experiment in experiments
        )
    for experiment in experiments:
        for line in today.changes_lines(experiment["experiment"], experiment["today"]):
            yield f"  {line}"
    if comparison["depth"]:
        yield (
            f"  compared at level {comparison['depth']}: deeper categories count as the one above "
            "them there, for all these experiments"
        )
    if comparison["label_differs"]:
        yield f"  {comparison['label_differs']:,} more have another label in one than in the other"
    yield from aligned(
        [
            ("", "accuracy", "95% coverage", "98% coverage", "right alone"),
            *map(compared_row, experiments),
        ]
    )
    yield f"  at least one of them is right: {with_interval(comparison['any_right'])}"
    for pair in comparison["pairs"]:
        yield ""
        yield from pair_text(pair)
    yield ""
    yield from flips_text(comparison, top)


def compared_row(experiment: Report) -> tuple[str, ...]:
    """The cells of an experiment in the table of comparison_text."""
    folds = f", {experiment['folds']} folds" if experiment["folds"] else ""
    return (
        f"#{experiment['experiment']}: {experiment['name']}({experiment['date']}{folds})",
        with_interval(experiment["accuracy"]),
        percent(experiment["coverage_95"]),
        percent(experiment["coverage_98"]),
        f"{experiment['right_alone']:,}",
    )


def pair_text(pair: Report) -> Iterator[str]:
    """Lines of comparison.compare_pair's result."""
    first, second = pair["experiments"]
    yield f"#{first} against #{second}"
    yield (
        f"  both right {pair['both_right']:,}, only #{first} {pair['only_first_right']:,}, "
        f"only #{second} {pair['only_second_right']:,}, none {pair['none_right']:,}"
    )
    p = metrics.p_value(pair["mcnemar_p"])
    why = ", because the interval by group holds 0" if pair["level_by_group"] else ""
    yield f"  accuracy, exact McNemar: p {p}: {verdict(pair['ahead'])}{why}"
    names = {"coverage_95": "95% coverage", "coverage_98": "98% coverage"}
    for difference in pair["differences"]:
        low, high = difference["interval"]
        name = names.get(difference["of"], difference["of"])
        yield (
            f"  {name}, bootstrap by group: #{second} minus #{first} = "
            f"{100 * difference['second_minus_first']:+.2f} points [{100 * low:+.2f}, "
            f"{100 * high:+.2f}]: {verdict(difference['ahead'])}"
        )


def verdict(ahead: int | None) -> str:
    return "level" if ahead is None else f"#{ahead} is ahead"


def flips_text(comparison: Report, top: int) -> Iterator[str]:
    """A table of the products that flipped."""
    flips = comparison["flips"]
    yield (
        f"Products that flipped ({min(top, len(flips)):,} of {comparison['flipped']:,}, by "
        "score; * is right)"
    )
    numbers = [f"#{experiment['experiment']}" for experiment in comparison["experiments"]]
    rows = [("product", "label", *numbers, "name")]
    for flip in flips[:top]:
        answers = [answer_text(answer) for answer in flip["answers"]]
        rows.append((str(flip["product"]), flip["label"], *answers, short_line(flip["name"])))
    yield from aligned(rows, left=range(len(rows[0])))


def answer_text(answer: Report) -> str:
    """An experiment's answer for a product that flipped: *jeans.skinny 0.987 if it is right."""
    star = "*" if answer["right"] else ""
    return f"{star}{answer['category'] or '-'} {answer['score']:.3f}"


# ---- models and decisions -----------------------------------------------------------------------


def models_text(models: Sequence[Report]) -> Iterator[str]:
    """Lines about saved models and what may be filed with them, of today.models."""
    if not models:
        yield "there is no saved model yet"
    for model in models:
        yield from model_lines(model)


def model_lines(model: Report) -> Iterator[str]:
    yield f"#{model['experiment']}: {model['name']}"
    if "problem" in model:
        yield f"  {model['problem']}"
        return
    folds = f"{model['folds']} folds, then trained on all" if model["folds"] else "no folds"
    yield (
        f"  {model['date']} UTC, {model['categories']} categories, {folds}, "
        f"{model['bytes'] / 1e6:.1f} MB"
    )
    for target, promise in sorted(model["promises"].items()):
        levels = [
            f"no {level}"
            if promise[level] is None
            else f"{level} from score {promise[level]:.4f} on"
            for level in ("leaf", "parent")
        ]
        yield (
            f"  {target}% with {100 * promise['confidence']:g}% confidence: "
            f"{', '.join(levels)} ({counted(promise['products'], 'product')}: "
            f"{promise['rests_on']}{kept_floor_text(promise)})"
        )
        for judged in model["audits"].get(target, ()):
            yield f"    {audit_text.judged_text(judged)}"
    for line in today.changes_lines(model["experiment"], model["today"]):
        yield f"  {line}"
    if not model["promises"]:
        script = f"categorize_{today.SCRIPTS[model['kind']]}"
        certify = command(
            script, "--apply", model["experiment"], db_path=model.get("db_path", "crawl.db")
        )
        yield f"  no threshold yet: {certify} certifies them"


def kept_floor_text(promise: Report) -> str:
    """The floor of a kept promise, and how many leaves are shut, in words. Older ones have none,
    and anybody may have written the file."""
    floor, shut = promise.get("floor"), promise.get("shut")
    if not floor or not isinstance(floor, float) or not isinstance(shut, list):
        return ""
    return f"; floor {100 * floor:g}%, leaves shut: {len(shut)}"


def overrides_text(result: Report) -> Iterator[str]:
    """Lines of decisions.take_file's result."""
    if "audit" in result:
        yield from audit_text.answers_lines(result["audit"])
    audited = " (the labels of these answers among them)" if "audit" in result else ""
    yield (
        f"decisions{audited}: {result['read']:,} read, {result['changed']:,} new or changed; in all "
        + ", ".join(f"{count:,} {name}" for name, count in result["in_all"].items())
    )
    if result["to_be_created"]:
        yield (
            "to be created, since no leaf has this name yet (until then training leaves these "
            "products out):"
        )
        for category, count in result["to_be_created"].items():
            yield f"  {category} ({count:,} product{'s' if count != 1 else ''})"
