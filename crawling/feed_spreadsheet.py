"""A spreadsheet -> rows. In: a file of Excel (.xlsx, .xlsb, .xls) or of LibreOffice (.ods), told by
its content. Out: rows as feed_formats.read_feed_rows yields them; the line is the sheet's row.

    python crawl.py --feed products.xlsx
    python crawl.py --feed products.xlsx --sheet Articles
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from common.terminal import UserError, first_few
from crawling.feed_bytes import LARGE, MOST_PACKING, is_archive, open_zip
from crawling.feed_columns import header_rank
from crawling.feed_tables import HEADER_LINES, are_numbers, excel_texts, width_fits
from crawling.feed_types import FeedFile, FeedRow, HowRead, Names, ReadOptions, Skipped
from crawling.feed_values import MOST_COLUMNS, clean

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # how .xls begins, and what Excel gives a password
MOST_UNPACKED = 3_000_000_000  # bytes
ENCRYPTED = "EncryptedPackage".encode("utf-16-le")  # the part of it that has a password
PIECE = 1_000_000  # bytes
READER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sheet_reader.py")


def is_spreadsheet(file: IO[bytes]) -> bool:
    """Whether a file is a document of an office program."""
    magic = file.read(len(OLE))
    file.seek(0)
    return magic == OLE or magic.startswith(b"PK\3\4") and not is_archive(file)


def spreadsheet_rows(
    file: IO[bytes], feed: FeedFile, skipped: Skipped, options: ReadOptions, how: HowRead
) -> Iterator[FeedRow]:
    """The rows of a spreadsheet, as feed_formats.read_feed_rows says."""
    check_size(file, feed)
    with on_disk(file) as path, Reader(path, feed) as reader:
        names = reader.names
        sheet, header, width = choose_sheet(reader, options, feed)
        columns: Names = ()
        if not header:
            how.remarks.append(
                "there is no header: row 1 is read as a product, and the columns are called 1, 2, 3 ..."
            )
            columns = tuple(str(number) for number in range(1, width + 1))
        how.kind = f"a spreadsheet, its sheet {sheet[:50]!r}"
        others = [name[:50] for name in names if name != sheet]
        if others:
            how.remarks.append(
                f"the sheet {sheet[:50]!r} was read, and not {first_few(others)}: --sheet NAME "
                "reads another"
            )
        if header > 1:
            how.remarks.append(f"the header is in row {header}; what stands above was passed over")
        if columns:
            yield 0, columns, None
        for number, cells in reader.rows(sheet, None):
            texts = excel_texts([clean(cell) for cell in cells])
            if number == header:
                columns = tuple(texts[:width])
                yield number, columns, None
            elif number > header and width_fits(number, texts, width, skipped):
                yield number, columns, texts


def choose_sheet(reader: Reader, options: ReadOptions, feed: FeedFile) -> tuple[str, int, int]:
    """(name, row of the header, number of its columns) of the first sheet with a header, or of the
    one that the user names."""
    names = reader.names
    if options.sheet is not None and options.sheet not in names:
        raise UserError(
            f"{feed.name} has no sheet {options.sheet!r}: name one with --sheet; it has "
            f"{', '.join(repr(name[:50]) for name in names[:20]) or 'none'}"
        )
    best: tuple[int, str, int, int] | None = None
    for name in names if options.sheet is None else [options.sheet]:
        for number, cells in reader.rows(name, HEADER_LINES):
            while cells and not cells[-1].strip():
                cells.pop()
            rank = header_rank(cells, options.columns)
            if best is None or rank > best[0]:
                best = (rank, name, number, len(cells))
        if best and best[0] >= 2:
            break
    if best and not best[0] and options.columns and all(map(are_numbers, options.columns.values())):
        width = max(len(cells) for _, cells in reader.rows(best[1], HEADER_LINES))
        best = (0, best[1], 0, width)
    if best is None:
        raise UserError(f"{feed.name} is empty: --feed takes a catalogue file")
    if best[3] > MOST_COLUMNS:
        raise UserError(f"{feed.name} has more than {MOST_COLUMNS:,} columns: it is no catalogue")
    return best[1:]


def check_size(file: IO[bytes], feed: FeedFile) -> None:
    """Raise UserError if a file says that it holds much more than a catalogue can."""
    magic = file.read(len(OLE))
    if magic == OLE:
        last = b""
        while piece := file.read(PIECE):
            if ENCRYPTED in last + piece:
                raise no_spreadsheet(feed, "it has a password")
            last = piece[-len(ENCRYPTED) :]
    else:
        with open_zip(file) as archive:
            infos = archive.infolist()
        size = sum(info.file_size for info in infos)
        packed = sum(info.compress_size for info in infos)
        if any(info.flag_bits & 1 for info in infos):
            raise no_spreadsheet(feed, "it has a password")
        if size > MOST_UNPACKED or size > LARGE and size > MOST_PACKING * packed:
            raise no_spreadsheet(feed, "it holds more than a catalogue can")
    file.seek(0)


def no_spreadsheet(feed: FeedFile, reason: str) -> UserError:
    return UserError(
        f"{feed.name} is a spreadsheet that can't be read, because {reason}: save its sheet as CSV "
        "UTF-8, and load that"
    )


@contextlib.contextmanager
def on_disk(file: IO[bytes]) -> Iterator[str]:
    """The path of a file with these bytes: of itself, or of a copy if a zip holds it."""
    if isinstance(file, io.BufferedReader) and isinstance(file.name, str):
        yield file.name
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sheet")
        with open(path, "wb") as copy:
            shutil.copyfileobj(file, copy)
        yield path


class Reader:
    """The process that reads a spreadsheet: sheet_reader.py."""

    def __init__(self, path: str, feed: FeedFile) -> None:
        self.feed = feed
        self.process = subprocess.Popen(
            [sys.executable, READER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self.names: list[str] = self.answer()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def rows(self, sheet: str, most: int | None) -> Iterator[tuple[int, list[str]]]:
        """Yield (number, cells) of the first rows of a sheet, without those that are empty."""
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps([sheet, most]) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it ended: the answer says so
        while row := self.answer():
            yield row[0], row[1]

    def answer(self) -> Any:
        """The next line of the process. Raises UserError if it can't read the file."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise no_spreadsheet(self.feed, "it is damaged, or it takes too much memory")
        answer = json.loads(line)
        if isinstance(answer, str):
            raise no_spreadsheet(self.feed, answer)
        return answer
