"""A file that was loaded, written once more with its categories filled in: all else is as it came,
byte for byte.

In: a Reading of the file, and a function that says which category a product gets. Out: the bytes of
the file, given to a function that writes them, and what was counted on the way. The file is read
twice at the same time: by feed_products.py, so that each row is understood as the load understands
it, and as its own lines, of which only those cells are changed.

    python analyze.py --export 1 --format same --feed new.csv > filled.csv
"""

from __future__ import annotations

import codecs
import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from io import TextIOWrapper

from common.terminal import UserError, progress
from crawling import feed_survey
from crawling.feed_bytes import as_text, open_bytes
from crawling.feed_category_cells import (
    Fill,
    Place,
    find_place,
    is_headless,
    new_cells,
    read_otherwise,
    value_at,
)
from crawling.feed_files import feed_files
from crawling.feed_formats import read_feed_rows
from crawling.feed_lines import HEAD, LONGEST_LINE, line_end
from crawling.feed_products import OpenProduct, add_row, belongs_to, is_part, open_products
from crawling.feed_raw_cells import ENDS, find_cells, with_cells
from crawling.feed_reading import Cells, FileReading, Reading, SurveyOptions
from crawling.feed_types import FeedFile, LeftOut, ReadOptions

PIECE = 65_536  # characters that are compared at a time
# Of a product, by the id that the shop gives it. Raises ValueError with the reason if it can't go where
# it was filed.
Wanted = Callable[[str], "Fill | None"]


@dataclasses.dataclass
class FilledIn:
    """What was filled in, in rows."""

    place: Place
    filled: int = 0  # have another category now than they had
    overwritten: int = 0  # of those: had one, which no person has found wrong
    unchanged: int = 0  # had the right one
    inheriting: int = 0  # are variants, which have no category but their parent's
    left_out: LeftOut = dataclasses.field(default_factory=LeftOut)
    # Of products whose category a person has found wrong, by id: the line of the first row that has
    # neither that category nor the right one, and the products of which another row has one.
    elsewhere: dict[str, int] = dataclasses.field(default_factory=dict)
    settled: set[str] = dataclasses.field(default_factory=set)
    removed: Cells = dataclasses.field(default_factory=collections.Counter)  # cells of before
    written: Cells = dataclasses.field(default_factory=collections.Counter)  # in their place
    read_otherwise: list[str] = dataclasses.field(default_factory=list)  # cells, by the next load

    @property
    def counts(self) -> dict[str, int]:
        """The rows by what became of them."""
        return {
            name: getattr(self, name)
            for name in ("filled", "unchanged", "inheriting", "overwritten")
        }


def read_file(path: str, options: SurveyOptions) -> Reading:
    """The Reading of the one file of a feed. Raises UserError if it can't be written again so that
    all else stays as it came."""
    files = feed_files([path], options.read)
    if len(files) != 1:
        raise UserError(
            f"--format same writes one file at a time, and {path} holds {len(files)}: unpack it, "
            "and name one of them"
        )
    reading = feed_survey.survey(files, options)
    how = reading.files[0].how
    if not how.delimiter:
        raise UserError(
            f"{path} is {how.kind}, which --format same can't write, because it takes tables such as "
            "CSV: use --format jsonl or csv"
        )
    check_encoding(files[0], options.read)
    return reading


def check_encoding(file: FeedFile, options: ReadOptions) -> None:
    """Raise UserError if the file's text, encoded again, is not the file: in some encodings several
    bytes are the same letter."""
    with open_text(file, options) as text, open_bytes(file) as raw:
        encode = encoder_of(text)
        same = True
        while same and (piece := text.read(PIECE)):
            data = encode(piece)
            same = raw.read(len(data)) == data
        if not same or raw.read(1):
            raise UserError(
                f"{file.name} is in {text.encoding}, in which it can't be written exactly as it "
                "came: save it as UTF-8, or name another --format"
            )


@contextlib.contextmanager
def open_text(file: FeedFile, options: ReadOptions) -> Iterator[TextIOWrapper]:
    """The text of a file in the lines that the load counts."""
    with open_bytes(file) as raw:
        text, _ = as_text(raw, file.name, options.encoding)
        end = line_end(text.read(HEAD))
        text.seek(0)
        text.reconfigure(newline=end)
        yield text


def encoder_of(text: TextIOWrapper) -> Callable[[str], bytes]:
    """A function that encodes pieces of a text, one after the other, as the file is encoded."""
    return codecs.getincrementalencoder(text.encoding)(text.errors or "strict").encode


# ---- rows ---------------------------------------------------------------------------------------


def rows_of(reading: Reading, file: FileReading) -> Iterator[tuple[OpenProduct, bool]]:
    """Yield (row, whether it is one that says what a product is) of each row that the load uses. The
    other rows of a product are its pictures, its other languages and the like."""
    product: OpenProduct | None = None
    for row in open_products(reading, file, LeftOut()):
        part = is_part(row, file)
        if part or product and belongs_to(row, product, file):
            in_words = not part and not row.fields["view"] and bool(row.fields["title"])
            yield row, in_words and not file.dialect.joined
            if product:
                add_row(product, row, part)
        else:
            product = row
            yield row, True


def is_variant(row: OpenProduct, file: FileReading) -> bool:
    """Whether the system gives the product of a row no category but its parent's."""
    kind = row.fields["kind"].partition(",")[0].strip().lower()
    return file.dialect.kinds.get(kind) == "variant"


class Lines:
    """The lines of a file on their way from `text` to `write`, counted as the load counts them."""

    def __init__(self, text: TextIOWrapper, write: Callable[[str], object]) -> None:
        self.text, self.write, self.number = text, write, 0
        self.end = line_end(text.read(HEAD))
        text.seek(0)

    def copy_up_to(self, number: int | None) -> None:
        """Write all lines up to this number as they are; with None all that are left."""
        while number is None or self.number < number:
            piece = self.text.readline(LONGEST_LINE)
            self.write(piece)
            if piece.endswith(self.end) or len(piece) < LONGEST_LINE:
                self.number += 1
            if not piece:
                return

    def take(self, count: int) -> str:
        """The text of the next lines, which are not written."""
        self.number += count
        return "".join(self.text.readline(2 * LONGEST_LINE) for _ in range(count))


def fill_in(reading: Reading, wanted: Wanted, write: Callable[[bytes], object]) -> FilledIn:
    """Write the file of a Reading that read_file made, with the categories that `wanted` says. Only
    rows in which the category stands are changed; a column that is missing is added at the end."""
    file, options = reading.files[0], reading.options.read
    header, names, _ = next(read_feed_rows(file.file, LeftOut(), options))
    place = find_place(reading, file, names)
    done = FilledIn(place)
    with open_text(file.file, options) as text:
        encode = encoder_of(text)
        lines = Lines(text, lambda piece: write(encode(piece)))
        if place.added and not is_headless(names):
            lines.copy_up_to(header - 1)
            lines.write(header_with(lines.take(1), file, place.added))
        rows = progress("rows", None, "rows", rows_of(reading, file), least=5)
        for row, is_said in rows:
            try:
                fill = wanted(row.fields["id"]) if is_said else None
            except ValueError as problem:
                leave_out(done, row.line, row.fields["id"], str(problem))
                fill = None
            if fill and is_variant(row, file):
                done.inheriting += 1
                fill = None
            if not fill and not place.added:
                continue
            lines.copy_up_to(row.line - 1)
            ends = sum(value.count(lines.end) for value in row.values if isinstance(value, str))
            lines.write(new_record(lines.take(1 + ends), row, fill, done, file, text.encoding))
        lines.copy_up_to(None)
    for number, line in done.elsewhere.items():
        if number not in done.settled:
            leave_out(done, line, number, "it has another category than the one found wrong")
    if not place.levels:
        done.read_otherwise = read_otherwise(reading, file, place, done.removed, done.written)
    return done


def header_with(line: str, file: FileReading, name: str) -> str:
    """The line of the header with one more column."""
    bare = line.rstrip(ENDS)
    quote = '"' if bare.rstrip(" ").endswith('"') else ""
    return f"{bare}{file.how.delimiter}{quote}{name}{quote}{line[len(bare) :]}"


def new_record(
    text: str, row: OpenProduct, fill: Fill | None, done: FilledIn, file: FileReading, encoding: str
) -> str:
    """A record's text with the category that it is to have, which is counted. If it can't be written,
    the record stays as it is, and is named."""
    delimiter, place = file.how.delimiter, done.place
    cells = find_cells(text, delimiter, file.how.quoted, row.values)
    if cells is None:
        if fill:
            leave_out(done, row.line, row.fields["id"], "its cells can't be told apart")
        return text
    blank = with_cells(text, cells, delimiter, {place.positions[0]: ""} if place.added else {})
    if not fill:
        return blank
    try:
        new = new_cells(row, fill, place)
        if new is None:
            done.elsewhere.setdefault(row.fields["id"], row.line)
            return blank
        changed, overwrites = new
        for cell in changed.values():
            check_encodable(cell, encoding)
        record = with_cells(text, cells, delimiter, changed)
    except ValueError as problem:
        leave_out(done, row.line, row.fields["id"], str(problem))
        return blank
    if fill.replaced:
        done.settled.add(row.fields["id"])
    done.removed.update(filter(None, (value_at(row, position) for position in changed)))
    done.written.update(changed.values())
    done.filled += bool(changed)
    done.unchanged += not changed
    done.overwritten += overwrites
    return record


def leave_out(done: FilledIn, line: int, product_id: str, reason: str) -> None:
    done.left_out.append((line, f"{reason} (id {product_id[:50]})"))


def check_encodable(text: str, encoding: str) -> None:
    """Raise ValueError if a text can't be written in the file's encoding."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        raise ValueError(f"a category that {encoding} has no letters for") from None
