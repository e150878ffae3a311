"""The audit of what was filed automatically: drawing a random sample, and judging by the answers.

In: the tables filing and audit_sample of crawl.db, and a promise. Out: rows of audit_sample, and for
each level what the answers say of the promise. Who is drawn depends on nothing but chance, and what
the answers say is worked out by audit_limits.py.

    python analyze.py --audit 1 -o audit.html
    python analyze.py --models
    python categorize_words.py --apply 1
"""

from __future__ import annotations

import collections
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import db
from common.terminal import UserError, command
from evaluation import audit_limits, audit_queries, filing_source_queries
from evaluation.audit_limits import Counts, Limits
from evaluation.audit_queries import LEVELS

# A category is large if it has this share of what was filed. Of each at least LEAST are drawn.
LARGE = 0.05
LEAST = 20
AGAIN = 0.25  # of a page, at most, for products of which somebody was not sure
Row = Mapping[str, Any] | sqlite3.Row


class Promise(NamedTuple):
    """A promise as an audit judges it."""

    target: float
    confidence: float
    thresholds: Mapping[str, float | None]  # {level: score}, None if nothing is promised there


class Judged(NamedTuple):
    """What the answers say of a promise at one level."""

    level: str
    target: float
    threshold: float
    counts: Counts
    limits: Limits
    verdict: str  # audit_limits.KEPT, OPEN or BROKEN


class Category(NamedTuple):
    """What the answers say of a large category."""

    level: str
    category: str
    counts: Counts
    limits: Limits


# ---- drawing ------------------------------------------------------------------------------------


def promise_in_force(conn: sqlite3.Connection, number: int, db_path: str) -> Promise:
    """The promise by which most of what stands filed was filed. Raises UserError if experiment
    `number` has filed nothing automatically, or if it is not on record by which promise."""
    rows = audit_queries.targets(conn, number)
    again = command("categorize_words", "--apply", number, db_path=db_path)
    if not rows and not audit_queries.is_audited(conn, number):
        raise UserError(
            f"experiment {number} has filed nothing by itself: {again}, or that of the script that "
            "made it, files what it can, or says why it files nothing"
        )
    shops = list(filing_source_queries.kept_filing(conn, number).values())
    target = next((target for target, _ in rows if target is not None), None)
    if not rows:  # all of it is decided by now
        target = next((shop["target"] for shop in shops), None)
    shops = [shop for shop in shops if shop["target"] == target]
    if target is None or not shops:
        raise UserError(
            f"it is not on record by which promise experiment {number} has filed, because an "
            f"older version did it: run {again} again"
        )
    lowest = {
        level: min((shop[level] for shop in shops if shop[level] is not None), default=None)
        for level in LEVELS
    }
    return Promise(target, shops[0]["confidence"], lowest)


def promise_of(promise: Mapping[str, Any]) -> Promise:
    """What an audit judges of a promise of guarantees.py, or of one that was kept."""
    thresholds = {level: promise[level] for level in LEVELS}
    return Promise(promise["target"], promise["confidence"], thresholds)


def thresholds_in_force(conn: sqlite3.Connection, number: int) -> Callable[[Row], float]:
    """A function of a filed product: the threshold of its level in its shop; 0 if it is not known,
    because an older version filed it."""
    shops = filing_source_queries.kept_filing(conn, number)

    def in_force(row: Row) -> float:
        shop = shops.get(row["source"] or "", {})
        return shop.get(row["level"]) or 0.0

    return in_force


def draw(conn: sqlite3.Connection, number: int, page: int) -> list[int]:
    """Draw until a page of so many products waits for an answer, among them up to AGAIN of those of
    which somebody was not sure, and return the ids of their rows in the table audit_sample. In one
    transaction.

    All that was filed stands in one random order, in which what is filed later falls at random. The
    products of the whole are drawn from its beginning on. What was filed since the last time is
    passed there first, until the sample is as dense among the new ones as among the others. Then
    the next ones of each large category are drawn, so that each has at least LEAST, but they take
    at most a quarter of the page. They count for the whole as soon as it reaches them.
    """
    with db.transaction(conn):
        audit_queries.make_secret(conn, number)
        in_force = thresholds_in_force(conn, number)
        drawn = audit_queries.sample(conn, number)
        most = page - min(int(AGAIN * page), sum(row["answer"] == "unsure" for row in drawn))
        fresh = audit_queries.next_undrawn(conn, number, most)
        place = audit_queries.random_order(conn, number)
        order = sorted([*drawn, *fresh], key=lambda row: place(row["product_id"]))
        large = set(large_categories(conn, number, drawn))
        following = [
            row
            for row in audit_queries.next_of_categories(conn, number, LEAST)
            if category_of(row) in large
        ]
        for share in range(most, most - most // 4 - 1, -1):
            whole = first_of(order, share, in_force)
            extra = more_of(following, drawn, whole)
            room = most - waiting(whole, in_force)
            if len(extra) <= room:
                break
        audit_queries.store_drawn(conn, number, [(row, in_force(row)) for row in whole])
        audit_queries.store_drawn(conn, number, [(row, None) for row in extra[:room]])
        return page_of(audit_queries.sample(conn, number), in_force, most, page)


def category_of(row: Row) -> tuple[str, str]:
    """The level and the category at which a product is filed, or was when it was drawn."""
    return row["level"], row["category_id"]


def is_waiting(row: Row, in_force: Callable[[Row], float]) -> bool:
    """Whether a product is to be looked at: it has no answer yet, and the promise is about it. A
    row of audit_queries.next_undrawn has none."""
    return "answer" not in row.keys() or row["answer"] is None and row["score"] >= in_force(row)


def waiting(rows: Sequence[Row], in_force: Callable[[Row], float]) -> int:
    return sum(is_waiting(row, in_force) for row in rows)


def first_of(order: Sequence[Row], most: int, in_force: Callable[[Row], float]) -> list[Row]:
    """The beginning of the random order, as far as `most` products that wait."""
    rows, found = [], 0
    for row in order:
        if found == most:
            break
        found += is_waiting(row, in_force)
        rows.append(row)
    return rows


def large_categories(
    conn: sqlite3.Connection, number: int, drawn: Sequence[Row]
) -> list[tuple[str, str]]:
    """[(level, category)] of the categories with at least LARGE of all that was filed."""
    counts = collections.Counter(audit_queries.category_counts(conn, number))
    counts.update(map(category_of, drawn))
    return [name for name, products in counts.items() if products >= LARGE * counts.total()]


def more_of(following: Sequence[Row], drawn: Sequence[Row], whole: Sequence[Row]) -> list[Row]:
    """The products to draw beside those of the whole, so that each category of the `following`
    products, which stand in the random order, has LEAST."""
    taken = {
        (row["product_id"], row["level"]): category_of(row)
        for row in (*(row for row in drawn if row["drawn"]), *whole)
    }
    counts = collections.Counter(taken.values())
    extra = []
    for row in following:
        if (row["product_id"], row["level"]) not in taken and counts[category_of(row)] < LEAST:
            counts[category_of(row)] += 1
            extra.append(row)
    return extra


def page_of(
    sample: Sequence[Row], in_force: Callable[[Row], float], most: int, page: int
) -> list[int]:
    """The ids of up to `most` rows that wait for an answer, in the order of drawing, each product
    once; then those of which somebody was not sure, up to a `page`."""
    products: dict[int, int] = {}
    for unsure in (False, True):
        for row in sample:
            if row["answer"] == "unsure" if unsure else row["drawn"] and is_waiting(row, in_force):
                if len(products) < (page if unsure else most):
                    products.setdefault(row["product_id"], row["id"])
    return list(products.values())


# ---- judging ------------------------------------------------------------------------------------


def judge(conn: sqlite3.Connection, number: int, promise: Promise) -> list[Judged]:
    """What the answers say of a promise: a Judged for each level that has answers about it."""
    sample = audit_queries.sample(conn, number)
    return [
        judge_level(conn, number, promise, level, sample)
        for level in LEVELS
        if promise.thresholds.get(level) is not None
        and any(row["level"] == level and row["answer"] for row in sample)
    ]


def judge_level(
    conn: sqlite3.Connection, number: int, promise: Promise, level: str, sample: Sequence[Row]
) -> Judged:
    """The Judged of a level that has answers.

    If the promise's threshold is lower than the one by which products were drawn, most answers speak
    only for those above the latter. Then the promise is judged there, until a later sample speaks
    for all: what is broken above is not mended by filing below."""
    promised = promise.thresholds[level] or 0.0
    in_force = {
        max(promised, row["threshold"])
        for row in sample
        if row["level"] == level and row["threshold"] is not None
    }
    threshold = max(
        sorted(in_force) or [promised], key=lambda edge: len(answered_rows(sample, level, edge))
    )
    rows = answered_rows(sample, level, threshold)
    counts = count_answers(rows, count_filed(conn, number, level, threshold, sample))
    found = audit_limits.limits(counts, promise.target, 1 - promise.confidence)
    verdict = audit_limits.verdict(found, promise.target)
    return Judged(level, promise.target, threshold, counts, found, verdict)


def answered_rows(sample: Sequence[Row], level: str, threshold: float) -> list[Row]:
    """The rows that speak for a level from this threshold on: those of the whole, in the order of
    their places, up to the last answer. Those that were drawn while the threshold was higher are no
    random sample of it.

    What was drawn for its category first may have its answer before its turn. By itself it moves
    that end only if all before it are answered: otherwise drawing a page would change the figures,
    and large categories would count more than others."""
    rows = [
        row
        for row in sample
        if row["level"] == level
        and row["threshold"] is not None
        and row["threshold"] <= threshold <= row["score"]
    ]
    rows.sort(key=lambda row: row["place"])
    end = end_of_answers([row["answer"] if not row["beside"] else None for row in rows])
    while end < len(rows) and rows[end]["answer"]:
        end += 1
    return rows[:end]


def end_of_answers(answers: Sequence[str | None]) -> int:
    """How many there are up to the last answer."""
    return max((place for place, answer in enumerate(answers, 1) if answer), default=0)


def count_answers(rows: Sequence[Row], filed: int) -> Counts:
    """The Counts of such rows. One without an answer counts as unsure: who skips what is hard must
    not gain by it."""
    answers = collections.Counter(row["answer"] or "unsure" for row in rows)
    return Counts(filed, len(rows), answers["wrong"], answers["unsure"])


def count_filed(
    conn: sqlite3.Connection, number: int, level: str, threshold: float, sample: Sequence[Row]
) -> int:
    """How many products were filed at a level from this threshold on: what stands there, and what
    was drawn of it, also if it was decided, refiled or removed since."""
    drawn = sum(row["level"] == level and row["score"] >= threshold for row in sample)
    return drawn + audit_queries.count_undrawn(conn, number, level, threshold)


def supported(
    conn: sqlite3.Connection, number: int, judged: Judged, confidence: float
) -> audit_limits.Supported | None:
    """The threshold that the answers support at a level whose promise is broken."""
    sample = audit_queries.sample(conn, number)
    rows = answered_rows(sample, judged.level, judged.threshold)
    drawn = [
        row["score"]
        for row in sample
        if row["level"] == judged.level and row["score"] >= judged.threshold
    ]
    rest = audit_queries.undrawn_scores(conn, number, judged.level, judged.threshold)
    return audit_limits.supported_threshold(
        drawn + rest,
        [(row["score"], row["answer"] or "unsure") for row in rows],
        judged.target,
        1 - confidence,
    )


def judge_categories(conn: sqlite3.Connection, number: int, promise: Promise) -> list[Category]:
    """The Category of each large category that has answers, the worst first. Its limits stand for
    themselves: of twenty categories about one may lie outside of its own."""
    sample = audit_queries.sample(conn, number)
    filed = collections.Counter(audit_queries.category_counts(conn, number))
    filed.update(map(category_of, sample))
    judged = []
    for name in large_categories(conn, number, sample):
        rows = [row for row in sample if row["drawn"] and category_of(row) == name]
        rows = rows[: end_of_answers([row["answer"] for row in rows])]
        if rows:
            counts = count_answers(rows, filed[name])
            found = audit_limits.limits(counts, promise.target, 1 - promise.confidence)
            judged.append(Category(*name, counts, found))
    return sorted(judged, key=lambda category: category.limits)
