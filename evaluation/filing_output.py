"""What --apply prints: the filed products as CSV or JSON Lines, and counts in words.

In: the tables filing and label_override of crawl.db, and how products moved between levels. Out:
lines on stdout, and sentences for filing.py.

    python categorize_words.py --apply 1 > filed.csv
    python categorize_words.py --apply 1 --dry-run
"""

from __future__ import annotations

import collections
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from common.terminal import counted, log, say, say_json
from common.text import csv_line, safe_cell
from evaluation import catalogue_queries, filing_queries, kept_answer_queries
from learning import category_changes, category_tree

COLUMNS = (
    "id",
    "name",
    "category",
    "path",
    "level",
    "score",
    "suggestion_1",
    "suggestion_2",
    "suggestion_3",
    "source",
    "product_id",
    "suggestion_1_path",
    "suggestion_2_path",
    "suggestion_3_path",
)  # new ones stand at the end
SUGGESTIONS = 3
# Products by (level before or None, the --target of that or None, level after).
Moves = collections.Counter[tuple[str | None, float | None, str]]
Suggestions = Sequence[tuple[str, float]]  # categories with their scores, the likeliest first
Row = sqlite3.Row | Mapping[str, Any]  # of filing_queries.filed


# ---- the filed products -------------------------------------------------------------------------


def print_filed(conn: sqlite3.Connection, number: int, form: str) -> collections.Counter[str]:
    """Print all that experiment `number` has filed, and what a person decided, as form: csv or
    jsonl. Returns {level: products}. If a person's category is not in the catalogue, its path stays
    empty, and a sentence on stderr says so."""
    paths = category_tree.readable_paths(conn)
    there = catalogue_queries.places_today(conn, number)
    today = category_changes.classes_today(conn, number)
    counts: collections.Counter[str] = collections.Counter()
    missing: collections.Counter[str] = collections.Counter()
    changed_ids = 0
    if form == "csv":
        say(csv_line(COLUMNS))
    for row in filing_queries.filed(conn, number):
        counts[row["level"]] += 1
        suggestions: Suggestions = ()
        if row["level"] == "person" or form == "jsonl":
            likeliest = category_changes.likeliest_today(
                kept_answer_queries.best(row["top"], number), today
            )
            suggestions = [pair for pair in likeliest if there.get(pair[0])][:SUGGESTIONS]
        path = paths.get(row["category_id"], row["category_id"])
        if row["level"] == "decided" and row["category_id"] not in paths:
            missing[row["category_id"]] += 1
            path = None
        if form == "csv":
            say(csv_line(csv_cells(row, path, [leaf for leaf, _ in suggestions], paths)))
            changed_ids += safe_cell(row["external_id"]) != (row["external_id"] or "")
        else:
            say_json(json_line(row, path, suggestions, paths))
    if missing:
        log(missing_categories_text(missing))
    if changed_ids:
        log(changed_ids_text(changed_ids))
    return counts


def csv_cells(
    row: Row, path: str | None, suggested: Sequence[str], paths: Mapping[str, str]
) -> list[Any]:
    """The cells of COLUMNS of a row of filing_queries.filed."""
    leaves = [*suggested, *[""] * (SUGGESTIONS - len(suggested))]
    score = "" if row["score"] is None else f"{row['score']:.6f}"
    return [
        row["external_id"],
        row["name"],
        row["category_id"],
        path,
        row["level"],
        score,
        *leaves,
        row["source"],
        row["product_id"],
        *(paths.get(leaf, leaf) for leaf in leaves),
    ]


def json_line(
    row: Row, path: str | None, suggestions: Suggestions, paths: Mapping[str, str]
) -> dict[str, Any]:
    """What JSON Lines hold of a row of filing_queries.filed."""
    return {
        "id": row["external_id"],
        "name": row["name"],
        "category": row["category_id"],
        "path": path,
        "level": row["level"],
        "score": None if row["score"] is None else round(row["score"], 6),
        "suggestions": [
            {"category": leaf, "path": paths.get(leaf, leaf), "score": score}
            for leaf, score in suggestions
        ],
        "source": row["source"],
        "product_id": row["product_id"],
    }


def changed_ids_text(count: int) -> str:
    """A sentence about ids that are not printed as the shop gave them."""
    return (
        f"{counted(count, 'id')} of the CSV {'is' if count == 1 else 'are'} not as the shop gave "
        "them: an apostrophe stands before what a spreadsheet would compute, and a blank for what "
        "nobody sees; to import them, print them with --format jsonl"
    )


def missing_categories_text(missing: collections.Counter[str]) -> str:
    """A sentence about decisions for categories that are not there, {category: products}."""
    names = ", ".join(repr(name) for name, _ in missing.most_common(3))
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return (
        f"{counted(missing.total(), 'product has', 'products have')} a person's category that the "
        f"shop does not have ({names}{more}), so no path is printed: load the shop's new "
        "categories, or decide again with analyze.py --overrides"
    )


# ---- counts in words ----------------------------------------------------------------------------


def counts_text(counts: Mapping[str, int], products: int) -> str:
    """How many of the products each level has, in words."""
    return ", ".join(
        f"{counts[level]} ({100 * counts[level] / products:.1f} %) {words}"
        for level, words in (
            ("leaf", "filed at the leaf"),
            ("parent", "at the parent"),
            ("person", "left to a person"),
        )
    )


def change_of(before: str | None, after: str) -> str:
    """What a move between two levels is called."""
    if before == after or {before, after} <= {None, "person"}:
        return "as before"
    if before not in ("leaf", "parent"):
        return "newly filed"
    if after not in ("leaf", "parent"):
        return "taken back"
    return "refiled at another level"


def moves_text(moves: Moves) -> str | None:
    """What the moves change against what was filed before, in words; None if nothing changes, or
    if nothing had been decided before."""
    counts: collections.Counter[str] = collections.Counter()
    targets = set()
    for (before, target, after), products in moves.items():
        if before is not None:
            targets.add("a target that was not kept" if target is None else f"{100 * target:g} %")
        counts[change_of(before, after)] += products
    if not targets or set(counts) <= {"as before"}:
        return None
    changes = [
        f"{counts[name]} {name}"
        for name in ("newly filed", "refiled at another level", "taken back", "as before")
    ]
    return (
        f"changes against what was filed before, at {' and '.join(sorted(targets))}: "
        + ", ".join(changes)
    )


def print_dry_run(number: int, target: float, moves: Moves, products: int) -> None:
    """Print what experiment `number` would file at this target, and what would change."""
    counts: collections.Counter[str] = collections.Counter()
    decided = False
    for (before, _, after), count in moves.items():
        counts[after] += count
        decided = decided or before is not None
    say(
        f"dry run, nothing is filed. Experiment {number} at {100 * target:g} % would give "
        + counts_text(counts, products)
    )
    if changes := moves_text(moves):
        say(changes)
    elif decided:
        say("nothing would change against what is filed now")
    else:
        say("nothing was filed by this experiment before")
