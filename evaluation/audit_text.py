"""An audit in words: what it takes, what the answers say of a promise, and what follows from it.

In: the tuples of audit.py and audit_limits.py. Out: sentences for the terminal and for the page.

    python analyze.py --audit 1 -o audit.html
    python analyze.py --models
    python categorize_words.py --apply 1
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.terminal import counted
from evaluation import audit_limits
from evaluation.audit import Judged
from evaluation.audit_limits import BROKEN, KEPT, OPEN, Counts, Limits, Supported

ERRORS_SHOWN = 3  # for so many numbers of errors it is said how many answers they take


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def share_text(counts: Counts, found: Limits) -> str:
    """How many are right of those that were looked at, and the limits: 146 of 150 are right, 97.3 %
    [93.1, 99.2], and of one more nobody is sure."""
    sure = counts.looked - counts.unsure
    right = sure - counts.wrong
    share = f", {percent(right / sure)}" if sure else ""
    # Rounded outwards, so that limits never look tighter than they are.
    low = math.floor(1000 * found.low + 1e-6) / 10
    high = math.ceil(1000 * found.high - 1e-6) / 10
    unsure = f" ({counts.unsure} more not sure or skipped)" if counts.unsure else ""
    return f"{right:,} of {sure:,} are right{share} [{low:.1f}, {high:.1f}]{unsure}"


def judged_text(judged: Judged) -> str:
    """What the answers say of a promise at a level, without a full stop."""
    text = share_text(judged.counts, judged.limits)
    return (
        f"audit of the {judged.level}, from score {judged.threshold:.4f} on: {judged.verdict}. "
        f"Of {judged.counts.filed:,} filed {judged.counts.looked:,} were looked at: {text}"
    )


def answers_lines(taken: Mapping[str, Any]) -> Iterator[str]:
    """Lines about the answers that --overrides has stored: audit_answers.store's dict, with what
    they say of each experiment under `judged`."""
    counts = ", ".join(f"{count:,} {answer}" for answer, count in sorted(taken["answers"].items()))
    yield (
        f"answers of an audit: {taken['read']:,} read ({counts}), {taken['changed']:,} new or changed"
    )
    for number, judged in taken["judged"].items():
        for level in judged["levels"]:
            yield f"  experiment {number}, {judged_text(level)}"
            if level.verdict == OPEN:
                text = effort_text(level.level, level.counts, level.target, judged["confidence"])
                yield f"    {text}, those so far among them"
        if any(level.verdict == OPEN for level in judged["levels"]):
            yield f"  to look at more: {judged['more']}"
        if judged["beside"]:
            yield f"  {judged['beside']:,} of the answers count for their large category alone so far"
        if judged["categories"]:
            yield "  large categories, each by itself, the lowest limit first:"
        for category in judged["categories"]:
            text = share_text(category.counts, category.limits)
            yield f"    {category.category} ({category.level}): {text}"


# ---- how many answers it takes ------------------------------------------------------------------


def effort_text(level: str, counts: Counts, target: float, confidence: float) -> str:
    """How many answers confirm a promise at a level, by the method that will judge them. What nobody
    is sure of counts as an error there."""
    errors = counts.wrong + counts.unsure
    needed = [
        (wrong, audit_limits.answers_needed(counts.filed, wrong, target, 1 - confidence))
        for wrong in range(errors, errors + ERRORS_SHOWN)
    ]
    parts = [
        f"{answers:,} {'answers ' if wrong == errors else ''}{errors_text(wrong)}"
        for wrong, answers in needed
        if answers is not None
    ]
    unsure = f" ({counts.unsure:,} not sure or skipped among the errors)" if counts.unsure else ""
    start = f"{counts.filed:,} filed at the {level}, {100 * target:g} % promised: "
    if not parts:
        return f"{start}{errors_text(errors)} it can't be confirmed any more{unsure}"
    return (
        f"{start}it takes {', '.join(parts)} to confirm it with {100 * confidence:g} % "
        f"confidence{unsure}"
    )


def errors_text(wrong: int) -> str:
    return f"with {counted(wrong, 'error')}" if wrong else "without an error"


# ---- a promise that is broken -------------------------------------------------------------------


def broken_levels(judged: Sequence[Judged]) -> list[str]:
    return [level.level for level in judged if level.verdict == BROKEN]


def refuted_text(judged: Judged, found: Supported | None, file_anyway: bool) -> str:
    """That an audit refutes a promise, what becomes of the products, and which threshold the answers
    support."""
    done = (
        "Products are filed there anyway"
        if file_anyway
        else f"Nothing more is filed at the {judged.level} (--file-anyway does)"
    )
    return (
        f"the audit refutes the promise of {100 * judged.target:g} % at the {judged.level}: "
        f"{share_text(judged.counts, judged.limits)}. {done}. {supported_text(found, judged)}. "
        "Train again, because the answers are labels now, or try a higher --target"
    )


def exported_text(judged: Judged) -> str:
    """That products go out which were filed by a promise that an audit refutes, and what to do."""
    return (
        f"the audit refutes the promise of {100 * judged.target:g} % at the {judged.level}: "
        f"{share_text(judged.counts, judged.limits)}. What was filed there goes out all the same. "
        "Before you import it, run --apply with a higher --target, which takes the least sure ones "
        "back, or train again, because the answers are labels now"
    )


def supported_text(found: Supported | None, judged: Judged) -> str:
    """Which threshold the answers support, and how well."""
    target = f"{100 * judged.target:g} %"
    if found is None:
        return f"The answers support {target} at no threshold"
    above = (
        f"{found.counts.looked - found.counts.wrong - found.counts.unsure:,} of "
        f"{found.counts.looked - found.counts.unsure:,} that were looked at above it are right"
    )
    if found.confirmed:
        return f"The answers confirm {target} from score {found.threshold:.4f} on: {above}"
    return (
        f"The answers agree with {target} from score {found.threshold:.4f} on, and do not confirm "
        f"it yet: {above}"
    )


def verdict_text(judged: Judged) -> str:
    """What a verdict means, a sentence for the page."""
    if judged.verdict == KEPT:
        return "The promise is kept."
    if judged.verdict == BROKEN:
        return "The promise is broken."
    return "It is open whether the promise is kept."
