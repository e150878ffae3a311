"""The page of an audit: a random sample of what was filed automatically, to be called right or wrong.

In: what an experiment has filed in crawl.db, what was drawn of it before, and the pictures' folder.
Out: rows of audit_sample for what is drawn now, and HTML. Who answers does not see how sure the
machine was, nor which words spoke for its answer.

    python analyze.py --audit 1 -o audit.html
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import db
from common.terminal import counted, log
from evaluation import audit, audit_queries, audit_text, html_pages, product_view
from evaluation.audit_limits import Counts
from evaluation.product_view import page_text
from learning import category_changes

MOST = 150  # products on a page, unless --top says otherwise
UNSURE = "answered ? before"


def audit_page(db_path: str, number: int, images_path: str, most: int = MOST) -> str:
    """HTML of `most` products that chance has drawn of what experiment `number` has filed, those
    that wait for an answer from before first. Raises UserError if it has filed nothing."""
    conn = db.open_database(db_path)
    experiment = db.experiment_row(conn, number)
    promise = audit.promise_in_force(conn, number, db_path)
    rows = audit_queries.to_answer(conn, audit.draw(conn, number, most))
    takes = effort(conn, number, promise)
    drawn = drawn_text(rows)
    log(drawn)
    for line in takes:
        log(line)
    paths = html_pages.page_paths(conn)
    renamed = category_changes.current_ids(conn)
    products = [
        view(row, position, paths, renamed, images_path) for position, row in enumerate(rows)
    ]
    html_pages.warn_missing_pictures(products, images_path)
    data = {
        "key": html_pages.page_key("audit", number, experiment["date"], db_path),
        "word": "product",
        "puts": "wrong",
        "done": "answered",
        "database": page_text(str(db_path), 200),
        "decided": answered_before(conn, number, rows, paths, renamed),
        "all": len(products),
        "start": None,
        "n": 0,
        "steps": [],
        "leaves": html_pages.leaf_options(conn, number, paths),
        "columns": {"audit": number},
        "file": "audit.csv",
    }
    return html_pages.render(
        "audit.html",
        data,
        products,
        number=number,
        name=page_text(experiment["name"], 300),
        known=len(db.settings(experiment).get("categories") or ()),
        database=page_text(str(db_path), 200),
        drawn=drawn,
        takes=takes,
        filed=html_pages.filter_options((row["filed"] for row in products), paths),
        marks=("right", "wrong", "unsure"),
    )


def drawn_text(rows: Sequence[sqlite3.Row]) -> str:
    """How many products there are to look at, rows of audit_queries.to_answer, and why these."""
    again = sum(row["answer"] == "unsure" for row in rows)
    beside = sum(row["threshold"] is None and row["answer"] is None for row in rows)
    return (
        f"{counted(len(rows), 'product')} to look at, drawn at random"
        + (f", {beside:,} of them from the large categories" if beside else "")
        + (f", {again:,} once more, because somebody was not sure" if again else "")
    )


def effort(conn: sqlite3.Connection, number: int, promise: audit.Promise) -> list[str]:
    """Sentences about each level at which something was filed: how many answers confirm the
    promise, and what they say so far."""
    judged = {level.level: level for level in audit.judge(conn, number, promise)}
    sample, lines = audit_queries.sample(conn, number), []
    for level in audit_queries.LEVELS:
        threshold = promise.thresholds[level]
        if threshold is None:
            continue
        counts = Counts(audit.count_filed(conn, number, level, threshold, sample), 0, 0, 0)
        if level in judged:
            counts = judged[level].counts
            lines.append(audit_text.judged_text(judged[level]))
        if counts.filed:
            lines.append(audit_text.effort_text(level, counts, promise.target, promise.confidence))
    return lines


def view(
    row: sqlite3.Row,
    position: int,
    paths: Mapping[str, str],
    renamed: Mapping[str, str | None],
    images_path: str,
) -> dict[str, Any]:
    """What the page shows of a product, a row of audit_queries.to_answer. The page's script orders
    by `score`, which is the place in the order of drawing here, and says nothing."""
    filed = filed_today(row, paths, renamed)
    shown = {**dict(row), "predicted": filed, "parent": None, "score": None}
    badges = [UNSURE] if row["answer"] == "unsure" else []
    parts = product_view.product_parts(shown, (), badges, None, paths, images_path)
    return {**parts, "score": -position, "filed": filed, "level": row["level"]}


def filed_today(
    row: sqlite3.Row, paths: Mapping[str, str], renamed: Mapping[str, str | None]
) -> str:
    """The category at which a row of audit_sample was filed, as it is called today."""
    filed: str = row["category_id"]
    return filed if filed in paths else renamed.get(filed) or filed


def answered_before(
    conn: sqlite3.Connection,
    number: int,
    rows: Sequence[sqlite3.Row],
    paths: Mapping[str, str],
    renamed: Mapping[str, str | None],
) -> html_pages.Decided:
    """All answers that the database has, as html_pages.Decided, by which the script knows what it
    need not keep any longer. What was said of a product where it was filed before does not hold for
    the page, whose `rows` ask where it is filed now."""
    asked = {row["id"]: row["drawn_as"] for row in rows}
    answers = {}
    for row in audit_queries.sample(conn, number):
        if row["answer"]:
            # Right at a parent, and the leaf named: on the page that was wrong, with the leaf.
            answer = "wrong" if row["right_id"] else row["answer"]
            filed = page_text(filed_today(row, paths, renamed), 200)
            holds = asked.get(row["product_id"], row["id"]) == row["id"]
            answers[row["product_id"]] = (answer, row["right_id"] or "", filed, holds)
    return answers
