"""Catalogue files -> rows. In: a file as shops publish it, its format told by what stands in it,
never by its name; out: for each row its line, the names of its columns, and its values as text.

Delimited text (tab, comma, semicolon, pipe), JSON (a document, or an object a line), XML (RSS,
Atom); UTF-8, or UTF-16 with its mark; as it is, or packed by gzip or zip. Nothing is unpacked to
disk, and only a row is in memory at a time. What a column means is for feed_products.py to say.
"""
import codecs
import collections
import contextlib
import csv
import gzip
import io
import re
import zipfile
import zlib

from common.terminal import UserError
from crawling.feed_json_xml import (
    COST,
    LONGEST_LINE,
    check_utf8,
    is_json_lines,
    json_document_rows,
    json_line_rows,
    xml_rows,
)

HEAD = 1_000_000           # characters that are looked at to tell a format
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_rows(path, skipped):
    """Yield (line, names, values) for each row of a catalogue file.

    `names` are the column names as the file has them, the same object for as long as they stay the
    same; `values` are texts in their order (a list of texts in JSON is a tuple), perhaps fewer. Of
    delimited text the header comes first, with None for values. A row that can't be used is
    appended to `skipped` as (line, reason). Raises UserError where the file can't be read, or can't
    be told apart into rows, or is not UTF-8: guessing would damage names.
    """
    try:
        with open_bytes(path) as file:
            start = file.read(4)
            marked = next((name for mark, name in MARKS.items() if start.startswith(mark)), None)
            file.seek(0)
            utf16 = marked == "utf-16"
            # Only \n ends a line: a description may hold \x0b, \x85 or U+2028.
            text = io.TextIOWrapper(file, encoding="utf-16" if utf16 else "utf-8-sig", newline="\n",
                                    errors="surrogatepass" if utf16 else "surrogateescape")
            head = text.read(HEAD)
            text.seek(0)
            if not head.strip():
                raise UserError(f"{path} is empty: --feed takes a catalogue file")
            if "\r" in head.lstrip().split("\n")[0].rstrip("\r"):   # lines as on the old Mac
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
    except UnicodeError:   # of UTF-16 alone; other bytes are marked, for check_utf8
        raise UserError(f"{path} is damaged or not whole UTF-16: save it again, as UTF-8") from None
    except (EOFError, NotImplementedError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile):
        raise UserError(f"{path} is packed, and cut short or damaged: get it again") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; --feed takes a catalogue file") from None


# ---- packed files -------------------------------------------------------------------------------

@contextlib.contextmanager
def open_bytes(path):
    """The bytes of a file, unpacked on the way where gzip or zip packed it."""
    with open(path, "rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            with gzip.open(file) as unpacked:
                yield unpacked
        elif magic in (b"PK\3\4", b"PK\5\6"):
            with zipfile.ZipFile(file) as archive, \
                    archive.open(only_member(archive, path)) as unpacked:
                yield unpacked
        else:
            yield file


def only_member(archive, path):
    """The one file in a zip archive; raises UserError where there is not one, or none to unpack."""
    names = archive.namelist()
    if "[Content_Types].xml" in names:
        raise UserError(f"{path} is an office document: save its sheet as CSV UTF-8, and load that")
    members = [member for member in archive.infolist()   # without folders and hidden files
               if not re.search(r"(^|/)(__MACOSX/|\.[^/]*$|$)", member.filename)]
    if len(members) != 1:
        found = ", ".join(repr(member.filename[:60]) for member in members[:10])
        raise UserError(f"{path} holds {len(members)} files: unpack it and load the one with the "
                        f"products; found: {found or 'nothing'}")
    if members[0].flag_bits & 1 or members[0].compress_type not in (zipfile.ZIP_STORED,
                                                                    zipfile.ZIP_DEFLATED):
        raise UserError(f"{path} has a password or an unusual packing: unpack it, and load what is "
                        "in it")
    return members[0]


# ---- delimited text -----------------------------------------------------------------------------

def delimited_rows(file, head, path, skipped):
    """The rows of delimited text, as read_rows says; `head` is how it begins."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    number, first = 1, file.readline(LONGEST_LINE)
    # Meta's remarks; a hint for Excel; nothing at all
    while first.startswith(("#", "sep=")) or first and not first.strip():
        number, first = number + 1, file.readline(LONGEST_LINE)
    if "\0" in first:
        raise UserError(f"{path} is no text in UTF-8: save the catalogue as CSV UTF-8")
    delimiter = max("\t,;|", key=lambda letter: len(split_header(first, letter)))
    names = tuple(split_header(first, delimiter))
    yield number, names, None
    check_utf8(first, path, number)   # only now: what is no text at all has no columns either
    lines = physical_lines(file, path, number)
    if delimiter != "\t" or first.startswith('"') or is_quoted(head, len(names)):
        records = quoted_records(lines, delimiter, len(names), skipped)
    else:
        records = plain_records(lines, skipped)
    for number, values in records:
        while len(values) > len(names) and not values[-1].strip():
            values.pop()
        if len(values) > len(names):
            skipped.append((number, "more columns than the header names"))
        else:
            yield number, names, values


def split_header(line, delimiter):
    line = line.rstrip("\r\n")
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
    except (csv.Error, StopIteration):
        return line.split(delimiter)


def physical_lines(file, path, number):
    """Yield (number, line) of the lines after line `number`. One of LONGEST_LINE characters is the
    beginning of a longer one, whose rest is left out."""
    while line := file.readline(LONGEST_LINE):
        number += 1
        check_utf8(line, path, number)
        yield number, line.replace("\0", " ")   # which SQLite can't hold, nor Python 3.10's csv
        while len(line) == LONGEST_LINE and not line.endswith("\n"):
            line = file.readline(LONGEST_LINE)


def is_quoted(head, width):
    """Whether tab-separated text that begins like this is quoted, as Excel does it, or has quotes
    that are inches and names. Of the first rows with a cell that begins with a quote most then have
    to end it, and to have all their columns."""
    lines = collections.deque(enumerate(line + "\n" for line in head.split("\n")))
    tabs, verdicts = width - 1, []

    def take_line():
        return lines.popleft() if lines else None

    while lines and len(verdicts) < 100:   # each may read on to the end of the head
        line = lines.popleft()[1]
        if re.search('(^|\t)"', line):
            values, taken, sound = next_record(line, take_line, "\t")
            fits = sound and len(values) == width and not (
                line.count("\t") == tabs and any(more.count("\t") == tabs for _, more in taken))
            verdicts.append(fits)
            if not fits and not lines and len(head) == HEAD:
                verdicts[-1] = None   # it may end beyond the head
            if not fits:
                lines.extendleft(reversed(taken))
    return verdicts.count(True) > verdicts.count(False)


def plain_records(lines, skipped):
    """Yield (line, values) of tab-separated lines without quoting."""
    for number, line in lines:
        if len(line) == LONGEST_LINE:
            skipped.append((number, "line too long"))
        elif line.strip():
            yield number, line.rstrip("\r\n").split("\t")


def quoted_records(lines, delimiter, width, skipped):
    """Yield (line, values) of records whose cells may be quoted, and so go over several lines.

    Where a record's quotes do not match, its first line is split as if nothing were quoted, and
    reading goes on in the next. The rest of a long text is no product, so from there on rows that
    lack columns are left out, up to the next one that has them all.
    """
    again, strict, told = collections.deque(), False, False

    def take_line():
        return again.popleft() if again else next(lines, None)

    while numbered := take_line():
        number, line = numbered
        if len(line) == LONGEST_LINE:
            skipped.append((number, "line too long"))
            continue
        if not line.strip():
            continue
        values, taken, sound = next_record(line, take_line, delimiter)
        if len(values) == width or sound and not strict:
            strict, told = not sound, False
            if not sound:
                again.extendleft(reversed(taken))
            yield number, values
        else:
            again.extendleft(reversed(taken))
            if not told:
                skipped.append((number, "quotes that do not match, or a text too long; left out "
                                        "with what follows, up to the next whole row"))
            strict = told = True


def next_record(line, take_line, delimiter):
    """(values, lines taken, whether its quotes match) of the record that begins with this line.
    Lines are taken for as long as a quote is open, but no more than LONGEST_LINE characters."""
    if '"' not in line:
        return line.rstrip("\r\n").split(delimiter), (), True
    taken = []

    def record_lines():
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


def unwrap(cell):
    """The text of a quoted cell, whose inner quotes may be doubled or not; others as they are."""
    bare = cell.strip()
    return bare[1:-1].replace('""', '"') if bare[:1] == bare[-1:] == '"' != bare else cell
