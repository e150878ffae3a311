"""Where each cell of a record stands in the file's own text, so that one can be changed and all
others stay as they came.

In: the text of a record, as it stands in the file, and the values that feed_tables.py has read of
it. Out: the places of its cells, and the text with other cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from crawling.feed_tables import excel_texts
from crawling.feed_types import Value

ENDS = "\r\n"  # of lines


class Cells(NamedTuple):
    """The cells of a record."""

    spans: tuple[tuple[int, int], ...]  # where each begins and ends, with its quotes
    quoted: bool  # whether a quote at the beginning of a cell is no part of its text


def find_cells(text: str, delimiter: str, quoted: bool, values: Sequence[Value]) -> Cells | None:
    """The cells of a record's text. None if no way to part them gives the values that were read: then
    nobody knows what is what. `quoted` is HowRead.quoted of the file."""
    candidates = [Cells(plain_spans(text, delimiter), False)]
    if quoted and (spans := quoted_spans(text, delimiter)):
        candidates.insert(0, Cells(spans, True))
    for cells in candidates:
        texts = [cell_text(text[start:end], cells.quoted) for start, end in cells.spans]
        if are_read_as(texts, values):
            return cells
    return None


def are_read_as(texts: Sequence[str], values: Sequence[Value]) -> bool:
    """Whether a reader that trims cells reads these texts as these values. Empty cells at the end
    are no values."""
    read = [text.replace("\0", " ").strip() for text in texts]
    meant = [value.strip() if isinstance(value, str) else None for value in values]
    if any(read[len(meant) :]) or len(read) < len(meant):
        return False
    first = read[: len(meant)]
    return first == meant or [cell.strip() for cell in excel_texts(first)] == meant


def plain_spans(text: str, delimiter: str) -> tuple[tuple[int, int], ...]:
    """The cells of text without quoting."""
    spans, start, end = [], 0, len(text.rstrip(ENDS))
    while (stop := text.find(delimiter, start, end)) >= 0:
        spans.append((start, stop))
        start = stop + 1
    return (*spans, (start, end))


def quoted_spans(text: str, delimiter: str) -> tuple[tuple[int, int], ...]:
    """The cells of text in which cells may be quoted; () if its quotes do not match."""
    spans, start, end = [], 0, len(text.rstrip(ENDS))
    while True:
        stop = quoted_end(text, start, end, delimiter)
        if stop < 0:
            return ()
        spans.append((start, stop))
        if stop == end:
            return tuple(spans)
        start = stop + 1


def quoted_end(text: str, start: int, end: int, delimiter: str) -> int:
    """Where the cell ends that begins here; -1 if its quotes do not match. Blanks may stand around
    what is in quotes."""
    place = start
    while place < end and text[place] == " ":
        place += 1
    if text[place : place + 1] != '"' or place >= end:
        stop = text.find(delimiter, start, end)
        return end if stop < 0 else stop
    place += 1
    while (place := text.find('"', place, end)) >= 0 and text[place + 1 : place + 2] == '"':
        place += 2
    if place < 0:
        return -1
    place += 1
    while place < end and text[place] == " ":
        place += 1
    return place if place == end or text[place] == delimiter else -1


def cell_text(raw: str, quoted: bool) -> str:
    """The text of a cell, of which `raw` stands in the file."""
    bare = raw.strip(" ")
    if quoted and bare.startswith('"'):
        return bare[1:-1].replace('""', '"')
    return raw


def with_cells(text: str, cells: Cells, delimiter: str, changed: Mapping[int, str]) -> str:
    """The record's text with other texts in the cells at these positions, from 0. A cell that was in
    quotes stays so, and so does the end of the line. Cells beyond the last are added. Raises
    ValueError if the file can't hold a text."""
    end = len(text.rstrip(ENDS))
    pieces, last = [], 0
    for position, (start, stop) in enumerate(cells.spans):
        if position in changed:
            pieces += [
                text[last:start],
                raw_cell(changed[position], text[start:stop], cells, delimiter),
            ]
            last = stop
    pieces.append(text[last:end])
    neighbour = text[slice(*cells.spans[-1])]
    for position in range(len(cells.spans), max(changed, default=-1) + 1):
        pieces += [delimiter, raw_cell(changed.get(position, ""), neighbour, cells, delimiter)]
    return "".join((*pieces, text[end:]))


def raw_cell(text: str, before: str, cells: Cells, delimiter: str) -> str:
    """A cell's text as it is to stand in the file, in the place of `before` or beside it."""
    needs_quotes = any(sign in text for sign in (delimiter, '"', *ENDS))
    if not cells.quoted:
        if any(sign in text for sign in (delimiter, *ENDS)) or text.startswith('"'):
            raise ValueError("a text that the file can't hold, because its cells are not in quotes")
        return text
    if needs_quotes or before.strip(" ").startswith('"'):
        return '"' + text.replace('"', '""') + '"'
    return text
