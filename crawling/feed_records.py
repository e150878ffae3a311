"""Lines of delimited text -> records, whose cells may be quoted and so go over several lines.

In: numbered lines. Out: (line, values) of each record. Quotes that don't match cost no more than
the record they stand in: inches and names are data.
"""

from __future__ import annotations

import collections
import csv
import re
from collections.abc import Callable, Iterator

from crawling.feed_lines import COST, HEAD, LONGEST_LINE, Line
from crawling.feed_types import Skipped

# Where a quote did not match, it is not looked for over more lines than this. Otherwise a file in
# which each line opens a quote would be read once for each of its lines.
MOST_LINES_IN_DOUBT = 20
MISMATCH = (
    "quotes that do not match, or a text too long (with what follows, up to the next whole row)"
)


def is_quoted(head: str, width: int, whole: bool) -> bool:
    """Whether tab-separated text that begins like this is quoted, as Excel does it, or has quotes
    that are inches and names.

    Looked at are the first 100 rows with a cell that begins with a quote. The text is quoted if in
    most of them the quotes match and the row then has all its `width` columns. `whole` is whether
    no more text follows.
    """
    lines = collections.deque(enumerate(line + "\n" for line in head.split("\n")))
    tabs = width - 1
    quoted = not_quoted = undecided = 0

    def take_line() -> Line | None:
        return lines.popleft() if lines else None

    while lines and quoted + not_quoted + undecided < 100:  # each may read to the head's end
        line = lines.popleft()[1]
        if not re.search('(^|\t)"', line):
            continue
        values, taken, quotes_match = next_record(line, take_line, "\t", HEAD)
        holds_rows = line.count("\t") == tabs and any(
            later.count("\t") == tabs for _, later in taken
        )
        if quotes_match and len(values) == width and not holds_rows:
            quoted += 1
            continue
        if not lines and not whole:  # the row may end beyond the head
            undecided += 1
        else:
            not_quoted += 1
        lines.extendleft(reversed(taken))
    return quoted > not_quoted


def quoted_records(
    lines: Iterator[Line], delimiter: str, width: int, skipped: Skipped
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, values) of records whose cells may be quoted, and so go over several lines.

    If a record's quotes do not match, its first line is split as if nothing were quoted, and
    reading goes on in the next line. What follows may be the rest of a long text, and no product.
    So from there on rows that lack columns are left out, up to the next row that has them all.
    """
    put_back: collections.deque[Line] = collections.deque()
    after_mismatch = False
    doubtful_to = 0  # the last line in which a quote that did not match was looked for

    def take_line() -> Line | None:
        return put_back.popleft() if put_back else next(lines, None)

    while numbered := take_line():
        number, line = numbered
        if len(line) >= LONGEST_LINE:
            skipped.append((number, "line too long"))
            continue
        if not line.strip():
            continue
        most_lines = LONGEST_LINE if number > doubtful_to else MOST_LINES_IN_DOUBT
        values, taken, quotes_match = next_record(line, take_line, delimiter, most_lines)
        if taken and not quotes_match:
            put_back.extendleft(reversed(taken))
            doubtful_to = max(doubtful_to, taken[-1][0])
        if len(values) == width or quotes_match and not after_mismatch:
            after_mismatch = not quotes_match
            yield number, values
        else:
            if quotes_match:
                put_back.extendleft(reversed(taken))
            skipped.append((number, MISMATCH))
            after_mismatch = True


def next_record(
    line: str, take_line: Callable[[], Line | None], delimiter: str, most_lines: int
) -> tuple[list[str], list[Line], bool]:
    """(values, further lines taken, whether its quotes match) of the record that begins with this
    line. Lines are taken for as long as a quote is open, at most so many, and at most LONGEST_LINE
    characters."""
    taken: list[Line] = []
    if '"' not in line:
        return line.rstrip("\r\n").split(delimiter), taken, True

    # Blanks behind a closing quote, with which some programs line columns up, are no text.
    padding = re.compile(rf'(?<!")" +(?={re.escape(delimiter)}|[\r\n]|$)')

    def record_lines() -> Iterator[str]:
        size = len(line)
        yield padding.sub('"', line) if '" ' in line else line
        while len(taken) < most_lines and (numbered := take_line()):
            taken.append(numbered)
            size += len(numbered[1]) + COST
            if size > LONGEST_LINE:
                return
            yield padding.sub('"', numbered[1]) if '" ' in numbered[1] else numbered[1]

    reader = csv.reader(record_lines(), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        values = next(reader)
    except csv.Error:
        values = [unwrapped(cell) for cell in line.rstrip("\r\n").split(delimiter)]
        return values, taken, False
    return values, taken, True


def unwrapped(cell: str) -> str:
    """The text of a quoted cell, whose inner quotes may be doubled; other cells as they are."""
    bare = cell.strip()
    if bare != '"' and bare.startswith('"') and bare.endswith('"'):
        return bare[1:-1].replace('""', '"')
    return cell
