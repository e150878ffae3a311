"""Delimited text -> rows. In: text with tabs, commas, semicolons or bars between its cells. Out:
rows as feed_formats.read_feed_rows yields them.

The header is the line that looks most like one of a catalogue's: other lines may stand above it.
Rakuten's files have none, because its documentation gives the order of the columns.

    python crawl.py --feed products.tsv
    python crawl.py --feed no_header.csv --column id=1 --column title=3
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from common.terminal import UserError, counted
from crawling.feed_columns import header_rank
from crawling.feed_lines import BLANK, HEAD, LONGEST_LINE, Source, numbered_lines
from crawling.feed_records import is_quoted, quoted_records
from crawling.feed_types import FeedRow, HowRead, Names, ReadOptions, Skipped
from crawling.feed_values import MOST_COLUMNS

DELIMITERS = "\t,;|"
HEADER_LINES = 50  # lines among which the header is looked for
EXCEL_TEXT = re.compile('="([^"]*)"')  # how a number is written that Excel shall leave as it is
IN_BRACKETS = re.compile(r"\([^()]*\)")  # of a header, such as PrestaShop's Categories (x,y,z...)
# The order that Rakuten's Product Catalog guidelines (once LinkShare's Merchandiser) give. What
# follows depends on the class of the product.
RAKUTEN = (
    *("Product ID", "Product Name", "SKU Number", "Primary Category", "Secondary Category"),
    *("Product URL", "Product Image URL", "Buy URL", "Short Product Description"),
    *("Long Product Description", "Discount", "Discount Type", "Sale Price", "Retail Price"),
    *("Begin Date", "End Date", "Brand", "Shipping", "Keywords", "Manufacturer Part Number"),
    *("Manufacturer Name", "Shipping Information", "Availability", "Universal Product Code"),
    *("Class ID", "Currency", "M1", "Pixel"),
    *(f"Attribute {number}" for number in range(1, 16)),
)
# The order of Trovaprezzi's text, whose lines end with this mark.
TROVAPREZZI_END = "<endrecord>"
TROVAPREZZI = (
    *("Name", "Brand", "Description", "Price", "Code", "Link", "Stock", "Categories", "Image"),
    *("Shipping Cost", "Part Number", "EAN Code"),
)


class Header(NamedTuple):
    """Where a table's rows begin, and what their columns are."""

    line: int  # the last line before the rows
    names: Names
    delimiter: str
    quoted: bool  # whether it begins with a quote


def delimited_rows(
    source: Source, skipped: Skipped, options: ReadOptions, how: HowRead
) -> Iterator[FeedRow]:
    """The rows of delimited text, as feed_formats.read_feed_rows says."""
    if source.head.lstrip(BLANK).startswith("HDR|"):
        yield from rakuten_rows(source, skipped, how)
        return
    if source.head.split(source.end, 1)[0].rstrip().endswith(TROVAPREZZI_END):
        yield from trovaprezzi_rows(source, skipped, how)
        return
    lines = [line.strip("\ufeff") for line in source.head.split(source.end, HEADER_LINES)]
    header = find_header(lines[:HEADER_LINES], source, options.columns, how)
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    signs = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
    how.kind = f"text with {signs[header.delimiter]} between its cells"
    width, head = len(header.names), source.head.replace(source.end, "\n")
    below = "".join(head.split("\n", header.line)[header.line :])
    how.delimiter = header.delimiter
    how.quoted = (
        header.delimiter != "\t" or header.quoted or is_quoted(below, width, whole=len(head) < HEAD)
    )
    yield header.line, header.names, None
    if how.quoted:
        lines_left = numbered_lines(source, header.line)
        has_excel_texts = writes_excel_texts(source.head, header.delimiter)
        records = quoted_records(lines_left, header.delimiter, width, skipped)
        for number, texts in records:
            if len(texts) <= width or width_fits(number, texts, width, skipped):
                yield number, header.names, excel_texts(texts) if has_excel_texts else texts
    else:
        yield from plain_rows(source, header, skipped)


def plain_rows(source: Source, header: Header, skipped: Skipped) -> Iterator[FeedRow]:
    """The rows below a header of text without quoting."""
    _, names, delimiter, _ = header
    width = len(names)
    has_excel_texts = writes_excel_texts(source.head, delimiter)
    read_line, number = source.read_line, 0
    while number < header.line and read_line(number + 1):
        number += 1
    while line := read_line(number + 1):
        number += 1
        texts = line.rstrip("\r\n").split(delimiter)
        if len(texts) == width and texts[0] and len(line) < LONGEST_LINE and not has_excel_texts:
            yield number, names, texts  # as most do: a feed may have millions
        elif len(line) >= LONGEST_LINE:
            skipped.append((number, "line too long"))
        elif line.strip() and width_fits(number, texts, width, skipped):
            yield number, names, excel_texts(texts)


def width_fits(number: int, texts: list[str], width: int, skipped: Skipped) -> bool:
    """Drop empty cells beyond the header's columns. Returns whether then no more are left."""
    while len(texts) > width and not texts[-1].strip():
        texts.pop()
    if len(texts) > width:
        skipped.append((number, "more columns than the header names"))
        return False
    return True


def writes_excel_texts(head: str, delimiter: str) -> bool:
    """Whether cells of a file that begins like this are written ="0012". Who does so, does so in
    whole columns."""
    return re.search(f'(^|[\\r\\n"{re.escape(delimiter)}])="', head) is not None


def excel_texts(texts: Sequence[str]) -> list[str]:
    """Cells, in which ="0012" is 0012."""
    return [
        found.group(1) if (found := EXCEL_TEXT.fullmatch(text.strip())) else text for text in texts
    ]


def rakuten_rows(source: Source, skipped: Skipped, how: HowRead) -> Iterator[FeedRow]:
    """The rows of a file of Rakuten, without the line HDR at its beginning and TRL at its end."""
    how.kind = "Rakuten's text with bars between its cells"
    blank_lines = source.head[: source.head.index("HDR|")].count(source.end)
    header = Header(blank_lines + 1, RAKUTEN, "|", False)
    yield header.line, RAKUTEN, None
    for row in plain_rows(source, header, skipped):
        if row[2] is None or row[2][0] != "TRL":
            yield row


def trovaprezzi_rows(source: Source, skipped: Skipped, how: HowRead) -> Iterator[FeedRow]:
    """The rows of Trovaprezzi's text, without the mark at the end of each."""
    how.kind = "Trovaprezzi's text with bars between its cells"
    yield 0, TROVAPREZZI, None
    for number, names, texts in plain_rows(source, Header(0, TROVAPREZZI, "|", False), skipped):
        yield number, names, [text.removesuffix(TROVAPREZZI_END) for text in cast(list[str], texts)]


# ---- headers ------------------------------------------------------------------------------------


def find_header(
    lines: Sequence[str], source: Source, columns: Mapping[str, str], how: HowRead
) -> Header:
    """The header among the first lines of a file: the first of those that rank highest, otherwise
    the first that is no remark (Meta's begin with #), no hint for Excel (sep=) and not empty."""
    usable = [number for number, line in enumerate(lines, 1) if line.strip()]
    ranks = {number: header_rank(split_best(lines[number - 1])[1], {}) for number in usable}
    if columns and not all(map(are_numbers, columns.values())):
        for number in usable:
            rank = header_rank(split_best(lines[number - 1])[1], columns)
            ranks[number] = max(ranks[number], rank)
    first = next(
        (number for number in usable if not lines[number - 1].startswith(("#", "sep="))), usable[-1]
    )
    best = max(usable, key=lambda number: ranks[number])
    if ranks[best] >= 2:
        first = best
    elif columns and all(map(are_numbers, columns.values())) and not ranks[first]:
        return no_header(lines, first, source.name, how)
    above = sum(number < first and not lines[number - 1].startswith("#") for number in usable)
    if above > 0 and not lines[first - 2].startswith("sep="):
        how.remarks.append(
            f"the header is in line {first}; the {counted(first - 1, 'line')} above it "
            f"{'was' if first == 2 else 'were'} passed over"
        )
    line = lines[first - 1]
    delimiter, names = split_best(line)
    is_cut = len(source.head) >= HEAD and source.head.count(source.end) < first
    if len(names) > MOST_COLUMNS or is_cut:
        raise too_wide(source.name, first)
    return Header(first, tuple(names), delimiter, line.startswith('"'))


def too_wide(name: str, line: int) -> UserError:
    return UserError(
        f"{name}, line {line} has more than {MOST_COLUMNS:,} columns: --feed takes a catalogue file"
    )


def are_numbers(wanted: str) -> bool:
    """Whether what --column says are numbers of columns: 3, or 3,4, or images/{1}.jpg."""
    named = re.findall(r"\{([^{}]*)\}", wanted) or wanted.split(",")
    return all(re.fullmatch("[0-9]{1,6}", name.strip()) for name in named)


def no_header(lines: Sequence[str], first: int, name: str, how: HowRead) -> Header:
    """The Header of a table that has none: its columns are called by their numbers."""
    delimiter = split_best(lines[first - 1])[0]
    width = max(len(split_line(line, delimiter)) for line in lines[first - 1 :])
    if width > MOST_COLUMNS:
        raise too_wide(name, first)
    how.remarks.append(
        f"there is no header: line {first} is read as a product, and the columns are called 1, 2, 3 ..."
    )
    names = tuple(str(number) for number in range(1, width + 1))
    return Header(first - 1, names, delimiter, lines[first - 1].startswith('"'))


def split_best(line: str) -> tuple[str, list[str]]:
    """(delimiter, cells) of the delimiter that parts a line into most cells, whatever stands in
    brackets."""
    bare = IN_BRACKETS.sub("", line)
    parted = {delimiter: len(split_line(bare, delimiter)) for delimiter in DELIMITERS}
    delimiter = max(DELIMITERS, key=parted.__getitem__)
    return delimiter, split_line(line, delimiter)


def split_line(line: str, delimiter: str) -> list[str]:
    line = line.rstrip("\r\n")
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
    except (csv.Error, StopIteration):
        return line.split(delimiter)
