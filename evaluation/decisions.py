"""A person's decisions about products, from a CSV file into the table label_override.

In: a file that a page has saved, or that of --label-suspects with its column `decision` filled in.
Out: rows for queries.store_overrides, each about the product that the person has looked at, and the
lines that can't be used, with the reason. A spreadsheet may have changed the file in between;
decision_lines.py finds the product and the decision of a line.

    python analyze.py --overrides decisions.csv
    python analyze.py --overrides suspects.csv --json
"""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import db
from common.terminal import UserError, log
from evaluation import decision_lines, queries
from evaluation.decision_lines import Decision
from learning import category_tree
from learning import queries as learning_queries

NAMED = 5  # lines that can't be used, at most; the others are counted


def take_file(db_path: str, path: str) -> dict[str, Any]:
    """Store a file of decisions, and name the lines that can't be used. Returns what was done: a
    dict of read, changed, in_all {decision: products}, to_be_created {category: products} and
    unusable [{line, reason}]. Raises UserError if nothing of the file can be used."""
    conn = db.open_database(db_path)
    learning_queries.settle_proposals(conn)
    decisions, unusable = read_decisions(conn, path)
    if unusable and not decisions:
        raise UserError(
            f"no decision of {path} can be used, and none was stored: "
            + "; ".join(first_lines(unusable))
        )
    for line in first_lines(unusable):
        log(f"{path}, {line}")
    if unusable:
        log(f"{len(unusable)} lines of {path} can't be used; the other decisions were stored")
    changed = queries.store_overrides(conn, decisions)
    count = dict.fromkeys(queries.DECISIONS, 0)
    for row in queries.overrides(conn).values():
        count[row["decision"]] = count.get(row["decision"], 0) + 1
    return {
        "read": len(decisions),
        "changed": changed,
        "in_all": count,
        "to_be_created": learning_queries.missing_categories(conn),
        "unusable": [{"line": line, "reason": reason} for line, reason in unusable],
    }


def first_lines(unusable: Sequence[tuple[int, str]]) -> list[str]:
    """The first lines that can't be used, in words, and how many more there are."""
    lines = [f"line {line}: {reason}" for line, reason in unusable[:NAMED]]
    more = len(unusable) - NAMED
    if more > 0:
        lines.append(f"and {more} more lines like these")
    return lines


# ---- the file -----------------------------------------------------------------------------------


def read_decisions(
    conn: sqlite3.Connection, path: str
) -> tuple[list[tuple[int, str | None, str | None]], list[tuple[int, str]]]:
    """(decisions, unusable) of a CSV file: rows (product id, decision or None to take one back,
    category or None), and (line, reason) of each line that can't be used, by line. Raises UserError
    if the file is no CSV of decisions at all."""
    names = category_tree.category_names(conn)
    categories = {row["id"]: bool(category_tree.levels(row)) for row in db.categories(conn)}
    # {product id: {what is decided: lines that say so}}
    decided: dict[int, dict[Decision, list[int]]] = {}
    unusable, any_decision = [], False
    for line, cells in read_csv(path):
        decision = cells.get("decision", "").lower()
        if not decision or decision == "decision":  # the header of a second file
            continue
        any_decision = True
        try:
            product = decision_lines.find_product(conn, cells)
            read = decision_lines.read_decision(
                cells, decision, product["category_id"], categories, names
            )
        except ValueError as problem:
            unusable.append((line, str(problem)))
        else:
            decided.setdefault(product["id"], {}).setdefault(read, []).append(line)
    if not any_decision:
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


def read_csv(path: str) -> list[tuple[int, dict[str, str]]]:
    """[(line, {column: cell})] of a CSV file as spreadsheets write it, columns in lower case.
    Raises UserError if it can't be read, or lacks the columns."""
    text = csv_text(path)
    if text.startswith("sep="):  # a hint for Excel
        text = text.partition("\n")[2]
    head = text.split("\n", 1)[0]
    csv.field_size_limit(2**31 - 1)  # a shop's text may be long
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True
    )
    rows = []
    try:
        for row in reader:
            rows.append((reader.reader.line_num, clean_cells(row)))
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.reader.line_num}, is no CSV ({error}); nothing of "
            "the file was stored"
        ) from None
    names = {(name or "").strip().lower() for name in reader.fieldnames or ()}
    if "decision" not in names or not ("product_id" in names or {"source", "external_id"} <= names):
        raise UserError(
            f"{path} needs the columns product_id and decision, or source, external_id "
            "and decision, as --label-suspects writes them"
        )
    return rows


def csv_text(path: str) -> str:
    """The text of a file in UTF-8. Raises UserError if it can't be read as such."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError:
        reason = "save it as CSV UTF-8"
    except (FileNotFoundError, IsADirectoryError) as error:
        reason = str(error.strerror)
    raise UserError(f"{path} can't be read as a CSV file in UTF-8 ({reason})")


def clean_cells(row: Mapping[Any, Any]) -> dict[str, str]:
    """A row of csv.DictReader without blanks around names and cells. What the reader adds to a row
    that is too long (a list) or too short (None) is left out."""
    return {
        (name or "").strip().lower(): cell.strip()
        for name, cell in row.items()
        if isinstance(cell, str)
    }
