"""A CSV file that a person, a page or a spreadsheet has written, as rows of cells.

In: a file in UTF-8, its cells parted by ',', ';' or a tab. Out: the names of its columns, and each
line's cells. decisions.py reads a person's decisions by it, moves_file.py the categories to change:

    python analyze.py --overrides decisions.csv
    python analyze.py --recategorize moves.csv
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from common.terminal import UserError, counted
from common.text import without_apostrophes

MORE = "more cells than columns"  # the key of what a line has beyond its columns
NAMED = 5  # lines that can't be used, at most; the others are counted


def read_csv(path: str) -> tuple[set[str], list[tuple[int, dict[str, str]]]]:
    """(names of the columns in lower case, [(line, {column: cell})]) of a CSV file as spreadsheets
    write it. Raises UserError if it can't be read."""
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
    return {(name or "").strip().lower() for name in reader.fieldnames or ()}, rows


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
    """A row of csv.DictReader without blanks around names and cells. A cell that is missing at the
    end (None) is left out; what is there beyond the columns (a list) is one text, MORE."""
    cells = {
        (name or "").strip().lower(): cell.strip()
        for name, cell in row.items()
        if isinstance(cell, str)
    }
    more = "".join(row.get(None, ())).strip()
    return {**cells, MORE: more} if more else cells


def unquoted(cell: str) -> list[str]:
    """What a cell may stand for, the likeliest first: `safe_cell` puts an apostrophe before what a
    spreadsheet would compute, and a spreadsheet or a person may have taken it off."""
    return list(dict.fromkeys((without_apostrophes(cell), cell)))


def first_lines(unusable: Sequence[tuple[int, str]]) -> list[str]:
    """The first lines that can't be used, in words, and how many more there are."""
    lines = [f"line {line}: {reason}" for line, reason in unusable[:NAMED]]
    more = len(unusable) - NAMED
    if more > 0:
        lines.append(f"and {counted(more, 'more line')} like these")
    return lines
