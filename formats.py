"""Catalogue files -> rows. In: a file as shops publish it, its format told by what stands in it,
never by its name; out: for each row its line, the names of its columns, and its values as text.

Delimited text (tab, comma, semicolon, pipe), JSON (a document, or an object a line), XML (RSS,
Atom); UTF-8, or UTF-16 with its mark; as it is, or packed by gzip or zip. Nothing is unpacked to
disk, and only a row is in memory at a time. What a column means is for feeds.py to say.
"""
import codecs
import collections
import contextlib
import csv
import gzip
import io
import json
import re
import zipfile
import zlib
from xml.parsers import expat

from console import UserError

LONGEST_LINE = 4_000_000   # characters; a longer line, record, object or item is broken, no product
HEAD = 1_000_000           # characters that are looked at to tell a format
PIECE = 65_536             # read at a time where there are no lines
COST = 100                 # of a line or an element beyond its characters, while it is kept
DEEPEST_XML = 200
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# Numbers stay as they were written: 007, 1.50 and one of 5,000 digits are somebody's ids.
JSON = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)


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
            first = head.lstrip()[:1]
            if first == "<":
                yield from xml_rows(text.detach(), marked, path, skipped)
            elif first not in ("{", "["):
                yield from delimited_rows(text, head, path, skipped)
            elif is_json_lines(head):
                yield from json_line_rows(text, path, skipped)
            else:
                yield from json_document_rows(text, path, skipped)
    except UnicodeError:   # of UTF-16 alone; other bytes are marked, for check_utf8
        raise UserError(f"{path} is damaged or not whole UTF-16: save it again, as UTF-8") from None
    except (EOFError, NotImplementedError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile):
        raise UserError(f"{path} is packed, and cut short or damaged: get it again") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; --feed takes a catalogue file") from None


def check_utf8(text, path, line):
    """Raise UserError where text that begins in this line was read from what is not UTF-8."""
    if not text.isascii() and (bad := re.search("[\ud800-\udfff]", text)):
        line += text.count("\n", 0, bad.start())
        raise UserError(f"{path}, line {line} is not UTF-8: save the file as UTF-8, or convert it "
                        "(iconv -f latin1 -t utf-8), and load that")


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
    while first.startswith(("#", "sep=")):   # Meta's remarks; a hint for Excel
        number, first = number + 1, file.readline(LONGEST_LINE)
    first = first.replace("\0", " ")
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
    that are inches and names. Quoted means that some cells begin with a quote, that all of those
    end with one, and that at least as many rows then have all their columns."""
    lines = [line + "\n" for line in head.split("\n") if line.strip()]
    reader, begun, proof, whole = csv.reader(lines, delimiter="\t", strict=True), 0, False, 0
    try:
        for record in reader:
            proof = proof or any(re.search('(^|\t)"', line)
                                 for line in lines[begun:reader.line_num])
            begun, whole = reader.line_num, whole + (len(record) == width)
    except csv.Error:
        if reader.line_num < len(lines) or len(head) < HEAD:   # else the head ends within quotes
            return False
    return proof and whole >= sum(line.count("\t") == width - 1 for line in lines[:begun])


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


# ---- JSON ---------------------------------------------------------------------------------------

def is_json_lines(head):
    """Whether JSON that begins like this has an object a line, and is no document: its first line
    is an object without a list of products, or a broken one and the next line begins another."""
    first, _, rest = head.lstrip().partition("\n")
    try:
        item = JSON.decode(first.rstrip())
        return isinstance(item, dict) and not isinstance(item.get("products"), list)
    except (ValueError, RecursionError):
        return (re.match(r'{(?!\s*"products"\s*:)', first) is not None
                and rest.lstrip("\r\n").startswith("{"))


def json_line_rows(file, path, skipped):
    """The rows of JSON Lines, as read_rows says."""
    for number, line in physical_lines(file, path, 0):
        if len(line) == LONGEST_LINE:
            skipped.append((number, "line too long"))
        elif line.strip():
            try:
                item = JSON.decode(line.strip())
            except (ValueError, RecursionError):
                skipped.append((number, "broken JSON, or nested too deep"))
            else:
                yield from object_rows(number, item, skipped)


def json_document_rows(file, path, skipped):
    """The rows of a list of objects, of an object's list `products`, or of an object without one.
    Another may follow in the same file: pages that were fetched one by one and put together."""
    text = JsonText(file, path)
    while text.peek():
        read = list_items if text.take("{[") == "[" else product_items
        for line, item in read(text):
            yield from object_rows(line, item, skipped)


def list_items(text):
    """Yield (line, value) of the list whose [ has been taken."""
    while text.peek() != "]":
        yield text.line, text.value()
        if text.peek() != "]":
            text.take(",")
    text.take("]")


def product_items(text):
    """Yield (line, value) of the list `products` of the object whose { has been taken, or of the
    object itself where it has none."""
    line, item, found, start = text.line, {}, False, text.used
    while text.peek() != "}":
        key = str(text.value())
        text.take(":")
        if key == "products" and text.peek() == "[":
            found = True
            text.take("[")
            yield from list_items(text)
        elif found:
            text.value()
        else:
            item[key] = text.value()
            if text.used - start > LONGEST_LINE:
                raise text.broken()
        if text.peek() != "}":
            text.take(",")
    text.take("}")
    if not found:
        yield line, item


class JsonText:
    """JSON text read piece by piece, of which no more than a value is kept."""

    def __init__(self, file, path):
        self.file, self.path = file, path
        self.text, self.line, self.used = "", 1, 0

    def more(self):
        """Read more text; whether there was any."""
        piece = self.file.read(max(PIECE, len(self.text)))
        check_utf8(piece, self.path, self.line + self.text.count("\n"))
        self.text += piece
        return piece != ""

    def drop(self, size):
        self.used += size
        self.line += self.text.count("\n", 0, size)
        self.text = self.text[size:]

    def peek(self):
        """The next character that is no space, "" at the end."""
        self.drop(len(self.text) - len(self.text.lstrip(" \t\r\n")))
        while not self.text and self.more():
            self.drop(len(self.text) - len(self.text.lstrip(" \t\r\n")))
        return self.text[:1]

    def take(self, wanted):
        """The next character, which must be one of those wanted."""
        found = self.peek()
        if not found or found not in wanted:
            raise self.broken()
        self.drop(1)
        return found

    def value(self):
        """Take the next value."""
        self.peek()
        while True:
            try:
                value, end = JSON.raw_decode(self.text)
            except ValueError:
                end = len(self.text)   # broken, or not all of it is here
            except RecursionError:
                raise self.broken() from None
            if end < len(self.text):   # at the end of the text a number might go on
                self.drop(end)
                return value
            if len(self.text) > LONGEST_LINE or not self.more():
                raise self.broken()

    def broken(self):
        return UserError(f"{self.path}, line {self.line}: here the JSON is broken, cut short, too "
                         "long or nested too deep; save it again")


def object_rows(line, item, skipped):
    """The row of a JSON object, if it is one. Of Shopify's pictures the first is kept; other nested
    values, null and so on are ''."""
    if not isinstance(item, dict):
        skipped.append((line, "no JSON object"))
        return
    values = []
    for key, value in item.items():
        if isinstance(value, list):
            value = first_picture(value) if key == "images" else tuple(
                text for text in value if isinstance(text, str))
        values.append(value if isinstance(value, (str, tuple)) else "")
    yield line, tuple(item), values


def first_picture(images):
    """The address of the picture in the first position, '' where there is none."""
    found = [image for image in images
             if isinstance(image, dict) and isinstance(image.get("src"), str)]
    first = [image for image in found if image.get("position") == "1"]
    return (first or found or [{"src": ""}])[0]["src"]


# ---- XML ----------------------------------------------------------------------------------------

def xml_rows(file, marked, path, skipped):
    """The rows of RSS or Atom, as read_rows says: what is in an item or entry are its columns.
    `marked` is the encoding that a mark at the beginning tells, None where there is none."""
    items = XmlItems(marked, path, skipped)
    piece = file.read(PIECE)
    start = piece.lstrip(b" \t\r\n")   # scripts begin with an empty line, which XML forbids
    items.above = piece.count(b"\n", 0, len(piece) - len(start))
    try:
        while piece:
            items.parser.Parse(start, False)
            yield from items.take_rows()
            piece = start = file.read(PIECE)
        items.parser.Parse(b"", True)
    except expat.ExpatError as error:
        problem = expat.ErrorString(error.code)
        line = error.lineno + items.above
        raise UserError(f"{path}, line {line}: the XML is broken or cut short ({problem}); mend "
                        "it, or get it again") from None
    except (ValueError, LookupError):
        raise UserError(f"{path} is XML in an unusual encoding: save it as UTF-8") from None
    if not items.found:
        names = ", ".join(repr(name[:30]) for name in items.others)
        raise UserError(f"{path} is XML without an <item> or <entry>: ask the shop for its Google "
                        f"Merchant feed; found: {names}")


class XmlItems:
    """expat's handlers, which make a row of each item; no more than one is kept while it is read.
    """

    def __init__(self, marked, path, skipped):
        self.path, self.skipped = path, skipped
        self.parser = expat.ParserCreate(marked, namespace_separator=" ")   # or XML's own word
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self.refuse
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.rows, self.found, self.others = [], False, {}
        self.above = self.depth = self.silent = 0
        self.item = self.line = self.size = 0   # of the open item: its depth, 0 where none is
        self.space, self.pieces, self.texts = "", [], ({}, {}, {})

    def take_rows(self):
        """The rows of the items that ended in the last piece."""
        self.silent += PIECE
        if self.silent > LONGEST_LINE:   # expat holds all of a tag or comment without an end
            raise self.broken("has a tag or comment without an end")
        rows, self.rows = self.rows, []
        return rows

    def broken(self, what):
        line = self.parser.CurrentLineNumber + self.above
        return UserError(f"{self.path}, line {line}: the XML {what}; ask the shop for its Google "
                         "Merchant feed")

    def refuse(self, *_):
        # Entities can be made to grow without bound, or to read other files. No feed needs any.
        raise self.broken("has a DOCTYPE, which a web page has and a feed does not need")

    def start(self, name, _):
        self.depth, self.silent = self.depth + 1, 0
        if self.depth > DEEPEST_XML:
            raise self.broken("is nested too deep")
        space, _, name = name.rpartition(" ")
        if self.item:
            self.size += len(name) + COST
            if self.depth == self.item + 1:
                self.pieces = []
        elif name in ("item", "entry"):
            self.item, self.space, self.found = self.depth, space, True
            self.line = self.parser.CurrentLineNumber + self.above
            self.size, self.pieces, self.texts = 0, [], ({}, {}, {})
        elif len(self.others) < 20:
            self.others[name] = None

    def text(self, text):
        self.silent = 0
        if self.item:
            self.size += len(text)
            if self.size <= LONGEST_LINE:
                self.pieces.append(text)

    def end(self, name):
        if self.item and self.depth == self.item + 1:
            space, _, name = name.rpartition(" ")
            # Google's elements win over the feed's own, and those over any others.
            rank = 2 if "base.google.com/ns" in space else 1 if space == self.space else 0
            if not self.texts[rank].get(name):
                self.texts[rank][name] = "".join(self.pieces).strip()
        elif self.depth == self.item:
            self.item = 0
            if self.size > LONGEST_LINE:
                self.skipped.append((self.line, "item too long"))
            else:
                row = {}
                for texts in self.texts:
                    row.update((name, text) for name, text in texts.items()
                               if text or name not in row)
                self.rows.append((self.line, tuple(row), list(row.values())))
        self.depth -= 1
