"""What was filed and decided, on its way back into the shop: the products with their categories.

In: crawl.db, an experiment's number and the name of a format. Out: lines, given to a function that
writes their bytes, and on stderr what went out, what did not, and why. --format same is written by
crawling/feed_same.py, which asks `Choice.fill` for each product of the file.

    python analyze.py --export 1 --format woocommerce > categories.csv
    python analyze.py --export 1 --format csv --only leaf
"""

from __future__ import annotations

import collections
import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import db
from common.terminal import UserError, counted, first_few, grouped, log
from common.text import csv_line, json_text, safe_cell
from evaluation import (
    audit,
    audit_limits,
    audit_queries,
    audit_text,
    export_formats,
    export_queries,
    export_text,
    filing_output,
)
from evaluation.export_formats import FORMATS, Columns, Path
from learning import category_changes

CHOICES = ("csv", "jsonl", *FORMATS, "same")
TABLES = ("csv", "jsonl")  # the formats of --apply, which have a column for the shop
Write = Callable[[bytes], object]
Counts = collections.Counter[str]


class Exported(NamedTuple):
    """A product and where it goes."""

    row: sqlite3.Row  # of export_queries.exported
    category: str  # its id, or the path of a category that a person has thought of
    path: Path
    is_new: bool  # whether the shop has no category of that name


class Choice:
    """Which products are exported, and what their categories are called in the shop."""

    def __init__(self, conn: sqlite3.Connection, number: int, only_leaves: bool) -> None:
        self.conn, self.number, self.only_leaves = conn, number, only_leaves
        self.paths = paths_of(conn)
        self.today = category_changes.classes_today(conn, number)
        self.renamed = category_changes.current_ids(conn)
        # Where the shop itself has products, a person's decision is final, too.
        self.leaves = {
            row["id"] for row in db.categories(conn) if row["leaf"] or row["product_count"]
        }

    def of_row(self, row: sqlite3.Row) -> Exported | None:
        """Where the product of a row goes; None if --only leaf leaves it out. Raises ValueError with
        the reason if it can't go anywhere."""
        decided = row["level"] == "decided"
        category = row["category_id"]
        if not decided:
            category = self.today.get(category, category)
        is_new = category not in self.paths
        if is_new and not decided:
            raise ValueError(f"its category is gone: run --apply {self.number} again")
        if is_new and category in self.renamed:  # an id, and no name that a person has typed
            raise ValueError("its category is gone: decide again, with --overrides")
        is_leaf = is_new or category in self.leaves if decided else row["level"] == "leaf"
        if self.only_leaves and not is_leaf:
            return None
        path = tuple(category.split(" > ")) if is_new else self.paths[category]
        return Exported(row, category, path, is_new)

    def fill(self, source: str, external_id: str) -> tuple[Path, Path] | None:
        """(the category that a product of a source gets, the one that a person has found wrong or ())
        of one product, which is noted as met; None if none is exported for it. Raises ValueError as
        of_row does."""
        row = export_queries.exported_product(self.conn, self.number, source, external_id)
        exported = self.of_row(row) if row else None
        if not exported:
            return None
        export_queries.note_met(self.conn, exported.row["product_id"])
        return exported.path, self.paths.get(exported.row["replaced"], ())

    def tally(self, source: str) -> tuple[Counts, Counts]:
        """({level, or "at the parent only": products}, {category that the shop does not have:
        products}) of what is exported of a source. What can't go anywhere is left out."""
        counts: Counts = collections.Counter()
        new: Counts = collections.Counter()
        for row in export_queries.exported(self.conn, self.number, source):
            with contextlib.suppress(ValueError):
                exported = self.of_row(row)
                counts[row["level"] if exported else "at the parent only"] += 1
                new.update([" > ".join(exported.path)] if exported and exported.is_new else ())
        return counts, new

    def categories(self, exported: Exported) -> list[Path]:
        """The category that a product goes to, and then the others that the shop lists it in."""
        listed = export_queries.listed_categories(self.conn, exported.row["product_id"])
        others = [name for name in listed if name != exported.row["replaced"]]
        return [exported.path, *(self.paths[name] for name in others if name in self.paths)]


def paths_of(conn: sqlite3.Connection) -> dict[str, Path]:
    """{category id: its names from the top to it}."""
    rows = {row["id"]: row for row in db.categories(conn)}
    return {
        category: tuple(
            (rows[step]["name"] if step in rows else None) or step
            for step in (row["path"].split("/") if row["path"] else [category])
        )
        for category, row in rows.items()
    }


# ---- which shop ---------------------------------------------------------------------------------


def source_to_export(
    conn: sqlite3.Connection, number: int, form: str, wanted: str | None
) -> str | None:
    """The source whose products go out; None for all, in a table that has a column for it. Raises
    UserError if there is nothing to export, or if one file would mix the ids of several shops."""
    db.experiment_row(conn, number)
    sources = export_queries.exported_sources(conn, number)
    if wanted is not None and wanted not in db.sources(conn):
        known = ", ".join(map(repr, db.sources(conn)[:10]))
        raise UserError(f"there is no shop {wanted!r} for --source: name one of {known}")
    if not sources or wanted is not None and wanted not in sources:
        raise UserError(
            f"there is nothing to export: experiment {number} has filed nothing"
            + (f" of {wanted!r}" if wanted is not None else "")
            + f", and nobody has decided; --apply {number} with its classifier files what it can, or "
            "says why it files nothing"
        )
    if export_queries.could_file(conn, number):
        log(
            f"experiment {number} itself has filed nothing: only what people decided goes out; "
            f"--apply {number} with its classifier files what it can"
        )
    if wanted is None and form not in TABLES:
        if len(sources) > 1:
            raise UserError(
                f"the products to export are of {len(sources)} shops, whose ids one file would mix: "
                f"name one with --source ({first_few(list(sources))})"
            )
        return next(iter(sources))
    return wanted


def warn_refuted(choice: Choice, db_path: str) -> None:
    """Say so if an audit refutes the promise by which products were filed that go out."""
    if not audit_queries.is_audited(choice.conn, choice.number):
        return
    try:
        promise = audit.promise_in_force(choice.conn, choice.number, db_path)
    except UserError as problem:  # it goes out all the same
        log(str(problem))
        return
    for judged in audit.judge(choice.conn, choice.number, promise):
        if judged.verdict == audit_limits.BROKEN and not (
            choice.only_leaves and judged.level == "parent"
        ):
            log(audit_text.exported_text(judged))


def warn_other_column(conn: sqlite3.Connection, source: str, column: str) -> None:
    """Say so if the categories of a source were loaded from another column than this one of the file
    that is to be filled in, both by their known names: a flag may be forgotten."""
    _, _, loaded_from = export_queries.feed_system(conn, source)
    if column and loaded_from and column != loaded_from:
        log(
            f"the column {column!r} is filled in, and crawl.db has the categories of {source!r} from "
            "another one: if you loaded this file with --column or --ignore-category, say the same "
            "here"
        )


# ---- the files ----------------------------------------------------------------------------------


def export(choice: Choice, form: str, source: str | None, write: Write) -> bool:
    """Write what is exported of a source in a format other than `same`, and say what went out.
    Returns whether all of it could be written."""
    counts: collections.Counter[str] = collections.Counter()
    new: collections.Counter[str] = collections.Counter()
    inherits = False
    if form in TABLES:
        line_of = table_line(form)
    else:
        columns = columns_of(choice, form, source or "")
        line_of = system_line(choice, columns)
        inherits = columns.is_own_id and columns.form.inherits
    write(line_of(None).encode("utf-8", "replace"))
    with grouped(left_out_text) as tell:
        for row in export_queries.exported(choice.conn, choice.number, source):
            if inherits and row["is_variant"]:
                counts["variants"] += 1
                continue
            exported = None
            try:
                exported = choice.of_row(row)
                line = line_of(exported) if exported else ""
            except ValueError as reason:
                place = f" in {' > '.join(exported.path)[:100]}" if exported else ""
                tell(str(reason), f"id {(row['external_id'] or '')[:50]}{place}")
                counts["left out"] += 1
                continue
            if exported is None:
                counts["at the parent only"] += 1
                continue
            write(line.encode("utf-8", "replace"))
            counts[row["level"]] += 1
            counts["changed ids"] += safe_cell(row["external_id"]) != (row["external_id"] or "")
            new.update([" > ".join(exported.path)] if exported.is_new else ())
    waiting = export_queries.count_waiting(choice.conn, choice.number, source)
    export_text.log_counts(counts, new, waiting)
    if form == "csv" and counts["changed ids"]:
        log(filing_output.changed_ids_text(counts["changed ids"]))
    return not counts["left out"]


def left_out_text(count: int, names: str, reason: str) -> str:
    return f"left out: {counted(count, 'product')} ({names}): {reason}"


LineOf = Callable[["Exported | None"], str]  # of None the line of the header


def table_line(form: str) -> LineOf:
    """What makes the lines of the tables that --apply prints, without suggestions."""

    def csv_text(exported: Exported | None) -> str:
        if exported is None:
            return csv_line(filing_output.COLUMNS) + "\n"
        cells = filing_output.csv_cells(today_row(exported), escaped_path(exported.path), (), {})
        return csv_line(cells) + "\n"

    def json_lines(exported: Exported | None) -> str:
        if exported is None:
            return ""
        line = filing_output.json_line(today_row(exported), escaped_path(exported.path), (), {})
        return json_text(line) + "\n"

    return csv_text if form == "csv" else json_lines


def today_row(exported: Exported) -> dict[str, Any]:
    """The product's row with the category that it has today."""
    return {**dict(exported.row), "category_id": exported.category}


def escaped_path(path: Path) -> str:
    """A path as crawl.py reads it: a > in a name has a backslash before it."""
    return " > ".join(level.replace(">", "\\>") for level in path)


def columns_of(choice: Choice, form: str, source: str) -> Columns:
    """The columns of a shop system's file; says what the ids are taken for."""
    system, id_column, category_column = export_queries.feed_system(choice.conn, source)
    columns = export_formats.columns_for(FORMATS[form], system, id_column, category_column)
    if not columns.is_own_id:
        log(
            f"crawl.db does not know the products of {source!r} from a file of "
            f"{columns.form.system}: their ids go out as {columns.id}, so make sure that the shop "
            "knows them by it"
        )
    if columns.form.root:
        log(
            f"all categories are below {columns.form.root!r}, as {columns.form.system} calls its "
            "root: if yours is called otherwise, use --format same"
        )
    return columns


def system_line(choice: Choice, columns: Columns) -> LineOf:
    """What makes the lines of a shop system's file."""

    def line_of(exported: Exported | None) -> str:
        if exported is None:
            cells = export_formats.header(columns)
        else:
            cells = cells_of(choice, columns, exported)
        return export_formats.exact_line(cells, columns.form.delimiter)

    return line_of


def cells_of(choice: Choice, columns: Columns, exported: Exported) -> list[str]:
    """The cells of a product's line. Raises ValueError if the file can't hold one."""
    paths = choice.categories(exported) if columns.form.several else [exported.path]
    row = exported.row
    return export_formats.row_cells(columns, row["external_id"] or "", row["name"], paths)
