"""A person's decisions about products, from a CSV file into the table label_override.

In: a file that a page has saved, or that of --label-suspects with its column `decision` filled in.
Out: rows for decision_queries.store_overrides, each about the product that the person has looked at, and the
lines that can't be used, with the reason. A spreadsheet may have changed the file in between;
decision_lines.py finds the product and the decision of a line.

    python analyze.py --overrides decisions.csv
    python analyze.py --overrides suspects.csv --json
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import db
from common.terminal import UserError, counted, grouped, log
from common.text import printable
from evaluation import audit_answers, csv_file, decision_conflicts, decision_lines, decision_queries
from evaluation.csv_file import NAMED, first_lines
from evaluation.decision_lines import Decision
from learning import category_changes, category_tree
from learning import queries as learning_queries


def take_file(db_path: str, path: str) -> dict[str, Any]:
    """Store a file of decisions, and name the lines that can't be used. Returns what was done: a
    dict of read, changed, in_all {decision: products}, to_be_created {category: products},
    unusable [{line, reason}], and if there are answers of an audit, what audit_answers.store and
    judged_after return. Raises UserError if nothing of the file can be used."""
    conn = db.open_database(db_path)
    with db.transaction(conn):  # or --recategorize could come between
        learning_queries.settle_proposals(conn)
        decisions, unusable, audit = read_file(conn, path)
        if unusable and not decisions and not audit.answers:
            raise UserError(
                f"no decision of {path} can be used, and none was stored: "
                + "; ".join(first_lines(unusable))
            )
        changed = decision_queries.store_overrides(conn, decisions)
        answered = audit_answers.store(conn, audit)
    for reason in first_lines(unusable):
        log(f"{path}, {reason}")
    if unusable:
        left_out = counted(len(unusable), "line")
        log(f"{left_out} of {path} can't be used; the other decisions were stored")
    count = dict.fromkeys(decision_queries.DECISIONS, 0)
    for row in decision_queries.overrides(conn).values():
        count[row["decision"]] = count.get(row["decision"], 0) + 1
    report = {
        "read": len(decisions),
        "changed": changed,
        "in_all": count,
        "to_be_created": learning_queries.missing_categories(conn),
        "unusable": [{"line": line, "reason": reason} for line, reason in unusable],
    }
    if audit.lines:
        report["audit"] = {**answered, "judged": audit_answers.judged_after(conn, audit, db_path)}
    return report


# ---- the file -----------------------------------------------------------------------------------


def read_file(
    conn: sqlite3.Connection, path: str
) -> tuple[list[audit_answers.Override], list[tuple[int, str]], audit_answers.Read]:
    """(decisions, unusable, answers of audits) of a CSV file: the decisions of its lines and of its
    answers, and (line, reason) of each line that can't be used, by line. Raises UserError if the
    file is no CSV of decisions at all."""
    columns, rows = read_csv(path)
    from_page = decision_conflicts.OF_PAGES <= columns
    categories = known_categories(conn)
    audited, lines = audit_answers.part_lines(rows)
    audit = audit_answers.read_lines(conn, path, audited, categories, from_page)
    decisions, unusable = audit.overrides, audit.unusable
    if lines or not audited:
        more, more_unusable = read_decisions(conn, path, lines, categories, from_page)
        decisions, unusable = decisions + more, sorted(unusable + more_unusable)
    return decisions, unusable, audit


def known_categories(conn: sqlite3.Connection) -> decision_lines.Categories:
    """What a line of a file may call a category."""
    levels = {row["id"]: category_tree.levels(row) for row in db.categories(conn)}
    return decision_lines.Categories(
        levels,
        category_tree.category_names(conn),
        category_changes.current_ids(conn),
        category_changes.paths_today(conn),
        {printable(name).strip(): name for name in levels if printable(name) != name},
    )


def read_decisions(
    conn: sqlite3.Connection,
    path: str,
    lines: Sequence[tuple[int, decision_lines.Cells]],
    categories: decision_lines.Categories,
    from_page: bool,
) -> tuple[list[tuple[int, str | None, str | None]], list[tuple[int, str]]]:
    """(decisions, unusable) of the lines of a CSV file: rows (product id, decision or None to take
    one back, category or None), and (line, reason) of each line that can't be used, by line.
    from_page: whether the file says what its page knew of."""
    stored = decision_queries.overrides(conn)
    # {product id: {what is decided: lines that say so}}
    decided: dict[int, dict[Decision, list[int]]] = {}
    unusable, any_decision, there = [], False, set()
    with grouped(decision_lines.changed_ids_text) as tell:
        for line, cells in lines:
            decision = cells.get("decision", "").lower()
            if decision == "decision":  # the header of a second file
                continue
            try:
                if from_page and any(cells.values()):
                    there.add(decision_conflicts.check_whole(cells))
                if not decision:
                    continue
                any_decision = True
                product = decision_lines.find_product(conn, cells, tell)
                read = decision_lines.read_decision(
                    cells, decision, product["category_id"], categories
                )
                if from_page:
                    before = stored.get(product["id"])
                    decision_conflicts.check_no_conflict(cells, read, before, categories)
            except ValueError as problem:
                unusable.append((line, str(problem)))
            else:
                decided.setdefault(product["id"], {}).setdefault(read, []).append(line)
    if not any_decision and not unusable:
        log(
            f"no line of {path} has a decision: write label wrong, classifier wrong, unclear, or "
            "(if there is no label) filed by hand into that column"
        )
    decisions = []
    for number, lines_by_decision in decided.items():
        if len(lines_by_decision) == 1:
            (decision_and_category,) = lines_by_decision
            decisions.append((number, *decision_and_category))
        else:
            unusable += contradictions(number, lines_by_decision)
    decision_conflicts.tell_missing(path, there)
    if not from_page:
        decision_conflicts.tell_replaced(path, decisions, stored)
    return decisions, sorted(unusable)


def contradictions(
    number: int, lines_by_decision: Mapping[Decision, Sequence[int]]
) -> list[tuple[int, str]]:
    """(line, reason) of each line about a product that is decided on differently: none of the
    decisions is likelier to be what the person means."""
    lines = sorted(line for lines in lines_by_decision.values() for line in lines)
    first = ", ".join(map(str, lines[:NAMED]))
    return [
        (line, f"product {number} is decided on twice, differently (lines {first})")
        for line in lines
    ]


def read_csv(path: str) -> tuple[set[str], list[tuple[int, dict[str, str]]]]:
    """csv_file.read_csv of a file of decisions. Raises UserError if it lacks the columns."""
    names, rows = csv_file.read_csv(path, windows=True)  # names and ids are checked line by line
    if "decision" not in names or not ("product_id" in names or {"source", "external_id"} <= names):
        raise UserError(
            f"{path} needs the columns product_id and decision, or source, external_id "
            "and decision, as --label-suspects writes them"
        )
    return names, rows
