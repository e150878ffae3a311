"""Catalogue files -> rows. In: a file as shops publish it; its content says what format it has, and
its name never does. Out: for each row its line, the names of its columns, and its values.

The formats are delimited text, JSON, XML, web pages with JSON-LD and spreadsheets, perhaps packed
by gzip or zip. Nothing is unpacked to disk, but a spreadsheet that a zip holds, and only one row is
in memory at a time. feed_columns.py says what a column means.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Generator, Iterator
from typing import IO

from common.terminal import UserError
from crawling.feed_bytes import as_text, check_text, open_bytes
from crawling.feed_json import json_rows
from crawling.feed_lines import BLANK, HEAD, Source, line_end
from crawling.feed_pages import is_page, page_rows
from crawling.feed_spreadsheet import is_spreadsheet, spreadsheet_rows
from crawling.feed_tables import delimited_rows
from crawling.feed_types import FeedFile, FeedRow, HowRead, ReadOptions, Skipped
from crawling.feed_xml import xml_rows

# How files begin that people have beside their catalogue, or take for one.
OTHER_KINDS = (
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"RIFF", "a picture or a sound"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\0", "a database"),
    (b"BZh", "packed by bzip2"),
    (b"\xfd7zXZ", "packed by xz"),
    (b"7z\xbc\xaf\x27\x1c", "packed by 7-Zip"),
    (b"Rar!", "packed by RAR"),
    (b"\x28\xb5\x2f\xfd", "packed by Zstandard"),
)


def read_feed_rows(
    path: FeedFile | str,
    skipped: Skipped,
    options: ReadOptions = ReadOptions(),  # noqa: B008  # it can't be changed
    how: HowRead | None = None,
) -> Generator[FeedRow, None, None]:
    """Yield (line, names, values) for each row of a catalogue file.

    `names` are the column names as the file has them, the same object for as long as they stay the
    same. `values` are in the same order, perhaps fewer; a list in JSON, or an element that stands
    in XML several times, is a tuple. The header of a table comes first, with None for values.
    `how` is filled in before the first row. A row that can't be used is appended to `skipped` as
    (line, reason): each row of the file is yielded or skipped.

    Raises UserError if the file can't be read, if no product is in it, or if its bytes are not in
    its encoding: guessing would damage names.
    """
    feed = FeedFile(path) if isinstance(path, str) else path
    if not feed.name:
        feed = feed._replace(name=feed.path)
    name = feed.name
    try:
        with open_bytes(feed) as file:
            yield from format_rows(file, feed, skipped, options, how or HowRead())
    except UnicodeError:  # of UTF-16 and the like: in UTF-8 wrong bytes are marked, for check_text
        if options.encoding:
            raise UserError(
                f"{name} can't be read as {options.encoding}, which --encoding says: name "
                "another or none, or get the file again"
            ) from None
        raise UserError(
            f"{name} is damaged or not whole in its encoding: save it again, as UTF-8"
        ) from None
    except (EOFError, NotImplementedError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile):
        raise UserError(f"{name} is packed, and cut short or damaged: get it again") from None
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}; --feed takes a catalogue file") from None


def format_rows(
    file: IO[bytes], feed: FeedFile, skipped: Skipped, options: ReadOptions, how: HowRead
) -> Iterator[FeedRow]:
    """The rows of a file's bytes, whose beginning tells its format."""
    if is_spreadsheet(file):
        yield from spreadsheet_rows(file, feed, skipped, options, how)
        return
    if options.sheet is not None:
        raise UserError(f"{feed.name} is no spreadsheet: leave --sheet out")
    refuse_other_kinds(file, feed)
    text, how.encoding = as_text(file, feed.name, options.encoding)
    head = text.read(HEAD)
    bare = head.lstrip(BLANK)
    if not bare.strip():
        raise UserError(f"{feed.name} is empty: --feed takes a catalogue file")
    source = Source(text, feed.name, how.encoding, head, line_end(head))
    if "\0" in bare.split(source.end)[0] and bare[0] not in "<{[":
        raise UserError(
            f"{feed.name} is no text in {how.encoding}: save the catalogue as CSV UTF-8"
        )
    check_text(head, feed.name, 1, how.encoding)  # before anything is said of columns
    text.seek(0)
    text.reconfigure(newline=source.end)
    if bare[0] == "<":
        if is_page(head):
            yield from page_rows(source, skipped, how)
        else:
            yield from xml_rows(source, skipped, options, how)
    elif bare[0] in "{[":
        yield from json_rows(source, skipped, options, how)
    else:
        yield from delimited_rows(source, skipped, options, how)


def refuse_other_kinds(file: IO[bytes], feed: FeedFile) -> None:
    """Raise UserError if a file is plainly none that is text."""
    start = file.read(16)
    file.seek(0)
    for magic, kind in OTHER_KINDS:
        if start.startswith(magic):
            raise UserError(f"{feed.name} is {kind}: --feed takes a catalogue file")
