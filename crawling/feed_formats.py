"""Catalogue files -> rows. In: a file as shops publish it; its content says what format it has, and
its name never does. Out: for each row its line, the names of its columns, and its values as text.

The formats are delimited text (tab, comma, semicolon, pipe), JSON (a document, or an object on each
line) and XML (RSS, Atom), in UTF-8, or in UTF-16 with its mark, and perhaps packed by gzip or zip.
Nothing is unpacked to disk, and only one row is in memory at a time. feed_products.py says what a
column means.
"""

from __future__ import annotations

import codecs
import collections
import contextlib
import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TextIO, cast

from common.terminal import UserError
from crawling.feed_json_xml import (
    COST,
    LONGEST_LINE,
    Skipped,
    Value,
    check_utf8,
    is_json_lines,
    json_document_rows,
    json_line_rows,
    xml_rows,
)

HEAD = 1_000_000  # characters that are looked at to tell a format
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

# (line, column names, values); the header of delimited text has None for values.
FeedRow = tuple[int, tuple[str, ...], "Sequence[Value] | None"]
Line = tuple[int, str]  # its number and its text


def read_feed_rows(path, skipped, options=None, how=None) -> Iterator[FeedRow]:
    """Yield (line, names, values) for each row of a catalogue file.

    `names` are the column names as the file has them, the same object for as long as they stay the
    same. `values` are texts in the same order, perhaps fewer; a list of texts in JSON is a tuple.
    The header of delimited text comes first, with None for values. A row that can't be used is
    appended to `skipped` as (line, reason).

    Raises UserError if the file can't be read or has no rows, or if it is not UTF-8: guessing would
    damage names.
    """
    path = getattr(path, "path", path)
    try:
        with open_bytes(path) as file:
            yield from format_rows(file, path, skipped)
    except UnicodeError:  # of UTF-16 only: in UTF-8 wrong bytes are marked, for check_utf8
        raise UserError(f"{path} is damaged or not whole UTF-16: save it again, as UTF-8") from None
    except (EOFError, NotImplementedError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile):
        raise UserError(f"{path} is packed, and cut short or damaged: get it again") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; --feed takes a catalogue file") from None


def format_rows(file: IO[bytes], path: str, skipped: Skipped) -> Iterator[FeedRow]:
    """The rows of a file's bytes, whose beginning tells its format."""
    start = file.read(4)
    marked = next((name for mark, name in MARKS.items() if start.startswith(mark)), None)
    file.seek(0)
    if marked == "utf-16":
        encoding, errors = "utf-16", "surrogatepass"
    else:
        encoding, errors = "utf-8-sig", "surrogateescape"
    # Only \n ends a line: a description may hold \x0b, \x85 or U+2028.
    text = io.TextIOWrapper(file, encoding=encoding, newline="\n", errors=errors)
    head = text.read(HEAD)
    text.seek(0)
    if not head.strip():
        raise UserError(f"{path} is empty: --feed takes a catalogue file")
    if "\r" in head.lstrip().split("\n")[0].rstrip("\r"):  # lines as on the old Mac
        text.reconfigure(newline="\r")
        head = head.replace("\r", "\n")
    first = head.lstrip()[:1]
    if first == "<":
        yield from xml_rows(text.detach(), marked, path, skipped)
    elif first not in ("{", "["):
        yield from delimited_rows(text, head, path, skipped)
    elif is_json_lines(head):
        yield from json_line_rows(physical_lines(text, path, 0), skipped)
    else:
        yield from json_document_rows(text, path, skipped)


# ---- packed files -------------------------------------------------------------------------------


@contextlib.contextmanager
def open_bytes(path: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked on the way if gzip or zip packed it."""
    with open(path, "rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            with gzip.open(file) as unpacked:
                yield cast(IO[bytes], unpacked)
        elif magic in (b"PK\3\4", b"PK\5\6"):
            with (
                zipfile.ZipFile(file) as archive,
                archive.open(only_member(archive, path)) as unpacked,
            ):
                yield unpacked
        else:
            yield file


def only_member(archive: zipfile.ZipFile, path: str) -> zipfile.ZipInfo:
    """The only file in a zip archive. Raises UserError if there are none or several, or if it can't
    be unpacked."""
    names = archive.namelist()
    if "[Content_Types].xml" in names:
        raise UserError(f"{path} is an office document: save its sheet as CSV UTF-8, and load that")
    members = [
        member
        for member in archive.infolist()  # without folders and hidden files
        if not re.search(r"(^|/)(__MACOSX/|\.[^/]*$|$)", member.filename)
    ]
    if len(members) != 1:
        names_found = ", ".join(repr(member.filename[:60]) for member in members[:10])
        raise UserError(
            f"{path} holds {len(members)} files: unpack it and load the one with the "
            f"products; found: {names_found or 'nothing'}"
        )
    if members[0].flag_bits & 1 or members[0].compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        raise UserError(
            f"{path} has a password or an unusual packing: unpack it, and load what is in it"
        )
    return members[0]


# ---- delimited text -----------------------------------------------------------------------------


def delimited_rows(file: TextIO, head: str, path: str, skipped: Skipped) -> Iterator[FeedRow]:
    """The rows of delimited text, as read_feed_rows says; `head` is how it begins."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    number, header = read_header(file)
    if "\0" in header:
        raise UserError(f"{path} is no text in UTF-8: save the catalogue as CSV UTF-8")
    delimiter = max("\t,;|", key=lambda character: len(split_header(header, character)))
    names = tuple(split_header(header, delimiter))
    yield number, names, None
    check_utf8(header, path, number)  # only now: what is no text at all has no columns either
    lines = physical_lines(file, path, number)
    if delimiter != "\t" or header.startswith('"') or is_quoted(head, len(names)):
        records = quoted_records(lines, delimiter, len(names), skipped)
    else:
        records = plain_records(lines, skipped)
    for number, texts in records:
        while len(texts) > len(names) and not texts[-1].strip():
            texts.pop()
        if len(texts) > len(names):
            skipped.append((number, "more columns than the header names"))
        else:
            yield number, names, texts


def read_header(file: TextIO) -> Line:
    """The first line with names of columns. Before it may stand remarks (Meta's begin with #), a
    hint for Excel (sep=) and empty lines."""
    number, line = 1, file.readline(LONGEST_LINE)
    while line.startswith(("#", "sep=")) or line and not line.strip():
        number, line = number + 1, file.readline(LONGEST_LINE)
    return number, line


def split_header(line: str, delimiter: str) -> list[str]:
    line = line.rstrip("\r\n")
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
    except (csv.Error, StopIteration):
        return line.split(delimiter)


def physical_lines(file: TextIO, path: str, number: int) -> Iterator[Line]:
    """Yield (number, line) of the lines after line `number`. Of a line that is longer than
    LONGEST_LINE, only so many characters are kept."""
    while line := file.readline(LONGEST_LINE):
        number += 1
        check_utf8(line, path, number)
        yield number, line.replace("\0", " ")  # SQLite can't hold \0, nor can Python 3.10's csv
        while len(line) == LONGEST_LINE and not line.endswith("\n"):
            line = file.readline(LONGEST_LINE)


def is_quoted(head: str, width: int) -> bool:
    """Whether tab-separated text that begins like this is quoted, as Excel does it, or has quotes
    that are inches and names.

    Looked at are the first 100 rows with a cell that begins with a quote. The text is quoted if in
    most of them the quotes match and the row then has all its `width` columns.
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
        values, taken, quotes_match = next_record(line, take_line, "\t")
        holds_rows = line.count("\t") == tabs and any(
            later.count("\t") == tabs for _, later in taken
        )
        if quotes_match and len(values) == width and not holds_rows:
            quoted += 1
            continue
        if not lines and len(head) == HEAD:  # the row may end beyond the head
            undecided += 1
        else:
            not_quoted += 1
        lines.extendleft(reversed(taken))
    return quoted > not_quoted


def plain_records(lines: Iterator[Line], skipped: Skipped) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, values) of tab-separated lines without quoting."""
    for number, line in lines:
        if len(line) == LONGEST_LINE:
            skipped.append((number, "line too long"))
        elif line.strip():
            yield number, line.rstrip("\r\n").split("\t")


def quoted_records(
    lines: Iterator[Line], delimiter: str, width: int, skipped: Skipped
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, values) of records whose cells may be quoted, and so go over several lines.

    If a record's quotes do not match, its first line is split as if nothing were quoted, and
    reading goes on in the next line. What follows may be the rest of a long text, and no product.
    So from there on rows that lack columns are left out, up to the next row that has them all.
    """
    put_back: collections.deque[Line] = collections.deque()
    after_mismatch = reported = False

    def take_line() -> Line | None:
        return put_back.popleft() if put_back else next(lines, None)

    while numbered := take_line():
        number, line = numbered
        if len(line) == LONGEST_LINE:
            skipped.append((number, "line too long"))
            continue
        if not line.strip():
            continue
        values, taken, quotes_match = next_record(line, take_line, delimiter)
        if len(values) == width or quotes_match and not after_mismatch:
            after_mismatch, reported = not quotes_match, False
            if not quotes_match:
                put_back.extendleft(reversed(taken))
            yield number, values
        else:
            put_back.extendleft(reversed(taken))
            if not reported:
                skipped.append(
                    (
                        number,
                        "quotes that do not match, or a text too long; left out "
                        "with what follows, up to the next whole row",
                    )
                )
            after_mismatch = reported = True


def next_record(
    line: str, take_line: Callable[[], Line | None], delimiter: str
) -> tuple[list[str], list[Line], bool]:
    """(values, further lines taken, whether its quotes match) of the record that begins with this
    line. Lines are taken for as long as a quote is open, at most LONGEST_LINE characters."""
    taken: list[Line] = []
    if '"' not in line:
        return line.rstrip("\r\n").split(delimiter), taken, True

    def record_lines() -> Iterator[str]:
        size = len(line)
        yield line
        while numbered := take_line():
            taken.append(numbered)
            size += len(numbered[1]) + COST
            if size > LONGEST_LINE:
                return
            yield numbered[1]

    reader = csv.reader(record_lines(), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        return next(reader), taken, True
    except csv.Error:
        return [unwrap(cell) for cell in line.rstrip("\r\n").split(delimiter)], taken, False


def unwrap(cell: str) -> str:
    """The text of a quoted cell, whose inner quotes may be doubled; other cells as they are."""
    bare = cell.strip()
    if bare != '"' and bare.startswith('"') and bare.endswith('"'):
        return bare[1:-1].replace('""', '"')
    return cell
