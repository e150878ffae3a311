"""A CSV file that a person, a page or a spreadsheet has written, as rows of cells.

In: a file in UTF-8 or UTF-16, its cells parted by ',', ';' or a tab. Out: the names of its columns,
and each line's cells. decisions.py reads a person's decisions by it, moves_file.py the categories to change:

    python analyze.py --overrides decisions.csv
    python analyze.py --recategorize moves.csv
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence

from common.foreign_files import open_regular
from common.terminal import UserError, counted, log
from common.text import without_apostrophes

MORE = "more cells than columns"  # the key of what a line has beyond its columns
UNSURE = "letters that may be others"  # the key of a cell that says so of its line
# A page writes ten columns: these are 300,000 decisions, more than a person makes. A cell takes up to
# 200 bytes of memory.
MOST_CELLS = 3_000_000
MOST_COLUMNS = 1_000
MOST_BYTES = 100_000_000
WORKBOOK = b"PK\x03\x04"  # how an .xlsx or .ods begins, whatever it is called
CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
NAMED = 5  # lines that can't be used, at most; the others are counted


def read_csv(path: str, windows: bool = False) -> tuple[set[str], list[tuple[int, dict[str, str]]]]:
    """(names of the columns in lower case, [(line, {column: cell})]) of a CSV file as spreadsheets
    write it. `windows`: what is no Unicode is read by windows_text, which may take a letter for
    another; each line of it has a cell UNSURE, and the caller checks what it uses. Raises UserError
    if the file can't be read, or is too large."""
    text, unsure = csv_text(path, windows)
    if text.startswith("sep="):  # a hint for Excel
        text = text.partition("\n")[2]
    head = re.split("[\r\n]", text, maxsplit=1)[0]
    delimiter = max(",;\t", key=head.count)
    separators = sum(map(text.count, delimiter + "\r\n"))
    if head.count(delimiter) >= MOST_COLUMNS or separators > MOST_CELLS:
        raise UserError(
            f"{path} has more than {MOST_COLUMNS:,} columns or {MOST_CELLS:,} cells: leave the "
            "columns out that are not needed, or split it into several files"
        )
    csv.field_size_limit(2**31 - 1)  # a shop's text may be long
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = []
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        for cells in reader:
            if cells:
                row = clean_cells(names, cells)
                rows.append((reader.line_num, {**row, UNSURE: "yes"} if unsure else row))
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}, is no CSV ({error}); nothing of the file was stored"
        ) from None
    return set(names), rows


def csv_text(path: str, windows: bool = False) -> tuple[str, bool]:
    """(the text of a file in UTF-8 or UTF-16, or of one that is windows_text, if `windows`; whether
    it is the latter). Raises UserError if it can't be read as such."""
    try:
        with open_regular(path, MOST_BYTES, follow=True) as file:
            data = file.read(MOST_BYTES)
    except OSError as error:
        raise unreadable(path, str(error.strerror)) from None
    if data.startswith(WORKBOOK):
        raise unreadable(path, "it is a workbook: save its sheet as CSV UTF-8")
    form = unicode_form(data)
    try:
        # A file that was cut may end within a letter. Its last line shows that.
        return codecs.getincrementaldecoder(form)().decode(data, final=form != "utf-8-sig"), False
    except UnicodeDecodeError:
        text = windows_text(data) if windows else None
    if text is None:
        raise unreadable(path, "save it as CSV UTF-8")
    log(f"{path} is no UTF-8: read as Excel saves CSV files in Western Europe (cp1252)")
    return text, True


def unreadable(path: str, reason: str) -> UserError:
    return UserError(f"{path} can't be read as a CSV file in UTF-8 ({reason})")


def unicode_form(data: bytes) -> str:
    """The codec of a file by its mark, or by the zeros that UTF-16 has beside each ASCII letter."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = data[:64]
    if len(head) >= 4 and len(head) % 2 == 0:
        first, second = head[::2], head[1::2]
        if not any(second) and all(first):
            return "utf-16-le"
        if not any(first) and all(second):
            return "utf-16-be"
    return "utf-8-sig"


def windows_text(data: bytes) -> str | None:
    """The text of a file in Windows' encoding of Western Europe, in which its Excel saves "CSV";
    None if it holds a byte that this encoding lacks, or a control character, as no text does."""
    if CONTROLS.search(data):
        return None
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return None


def clean_cells(names: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """{column: cell} of a line, without blanks around the cells. A cell that is missing at the end is
    left out; what is there beyond the columns is one text, MORE."""
    row = {name: cell.strip() for name, cell in zip(names, cells)}
    more = "".join(cells[len(names) :]).strip()
    return {**row, MORE: more} if more else row


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
