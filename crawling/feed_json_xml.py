"""JSON and XML with products in it -> rows, read in pieces: at most one product is kept at a time.

In: text or bytes of a catalogue file. Out: rows as feed_formats.read_feed_rows yields them. XML
with a DOCTYPE is refused, because entities can be made to grow without bound and to read other
files.

    python crawl.py --feed products.json
    python crawl.py --feed products.xml
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from typing import IO, Any, TextIO
from xml.parsers import expat

from common.terminal import UserError

LONGEST_LINE = 4_000_000  # characters; a longer line, record, object or item is broken, no product
PIECE = 65_536  # characters or bytes that are read at a time if there are no lines
COST = 100  # what a line or an element counts for, besides its characters
DEEPEST_XML = 200
# Numbers stay as they were written: 1.50 and a number of 5,000 digits may be ids. (JSON has no 007:
# zeros in front stay only in a text, "007".)
JSON = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)

Value = str | tuple[str, ...]  # of a column; a tuple if JSON has a list of texts there
Row = tuple[int, tuple[str, ...], Sequence[Value]]  # line, column names, values
Skipped = MutableSequence[tuple[int, str]]  # (line, reason) of what can't be used


def check_utf8(text: str, path: str, line: int) -> None:
    """Raise UserError if text that begins in this line was read from bytes that are not UTF-8."""
    if not text.isascii() and (bad := re.search("[\ud800-\udfff]", text)):
        line += text.count("\n", 0, bad.start())
        raise UserError(
            f"{path}, line {line} is not UTF-8: save the file as UTF-8, or convert it "
            "(iconv -f cp1252 -t utf-8), and load that"
        )


# ---- JSON ---------------------------------------------------------------------------------------


def is_json_lines(head: str) -> bool:
    """Whether JSON that begins like this has an object on each line, and is no document. Its first
    line is then an object without a list of products, or a broken object before the next one."""
    first, _, rest = head.lstrip().partition("\n")
    try:
        item = JSON.decode(first.rstrip())
    except (ValueError, RecursionError):
        begins_products = re.match(r'{\s*"products"\s*:', first)
        return first.startswith("{") and not begins_products and rest.lstrip("\r\n").startswith("{")
    return isinstance(item, dict) and not isinstance(item.get("products"), list)


def json_line_rows(lines: Iterable[tuple[int, str]], skipped: Skipped) -> Iterator[Row]:
    """The rows of JSON Lines, given as (number, text), as feed_formats.read_feed_rows says."""
    for number, line in lines:
        if len(line) == LONGEST_LINE:
            skipped.append((number, "line too long"))
        elif line.strip():
            try:
                item = JSON.decode(line.strip())
            except (ValueError, RecursionError):
                skipped.append((number, "broken JSON, or nested too deep"))
            else:
                yield from object_rows(number, item, skipped)


def json_document_rows(file: TextIO, path: str, skipped: Skipped) -> Iterator[Row]:
    """The rows of a list of objects, of an object's list `products`, or of an object without one.
    Another may follow in the same file: pages that were fetched one by one and put together."""
    text = JsonText(file, path)
    while text.peek():
        read = list_items if text.take("{[") == "[" else product_items
        for line, item in read(text):
            yield from object_rows(line, item, skipped)


def list_items(text: JsonText) -> Iterator[tuple[int, Any]]:
    """Yield (line, value) of the list whose [ has been taken."""
    while text.peek() != "]":
        yield text.line, text.value()
        if text.peek() != "]":
            text.take(",")
    text.take("]")


def product_items(text: JsonText) -> Iterator[tuple[int, Any]]:
    """Yield (line, value) of the list `products` of the object whose { has been taken, or of the
    object itself if it has no such list."""
    line, start = text.line, text.used
    item: dict[str, Any] = {}
    has_products = False
    while text.peek() != "}":
        key = str(text.value())
        text.take(":")
        if key == "products" and text.peek() == "[":
            has_products = True
            text.take("[")
            yield from list_items(text)
        elif has_products:
            text.value()
        else:
            item[key] = text.value()
            if text.used - start > LONGEST_LINE:
                raise text.broken()
        if text.peek() != "}":
            text.take(",")
    text.take("}")
    if not has_products:
        yield line, item


class JsonText:
    """JSON text that is read in pieces; at most one value of it is kept."""

    def __init__(self, file: TextIO, path: str) -> None:
        self.file, self.path = file, path
        self.text, self.line, self.used = "", 1, 0

    def more(self) -> bool:
        """Read more text. Returns whether there was any."""
        piece = self.file.read(max(PIECE, len(self.text)))
        check_utf8(piece, self.path, self.line + self.text.count("\n"))
        self.text += piece
        return piece != ""

    def drop(self, size: int) -> None:
        self.used += size
        self.line += self.text.count("\n", 0, size)
        self.text = self.text[size:]

    def peek(self) -> str:
        """The next character that is no space, "" at the end."""
        self.drop(len(self.text) - len(self.text.lstrip(" \t\r\n")))
        while not self.text and self.more():
            self.drop(len(self.text) - len(self.text.lstrip(" \t\r\n")))
        return self.text[:1]

    def take(self, wanted: str) -> str:
        """Take the next character, which must be one of those wanted."""
        character = self.peek()
        if not character or character not in wanted:
            raise self.broken()
        self.drop(1)
        return character

    def value(self) -> Any:
        """Take the next value."""
        self.peek()
        while True:
            try:
                value, end = JSON.raw_decode(self.text)
            except ValueError:
                end = len(self.text)  # it is broken, or not all of it has been read
            except RecursionError:
                raise self.broken() from None
            if end < len(self.text):  # at the end of the text a number might go on
                self.drop(end)
                return value
            if len(self.text) > LONGEST_LINE or not self.more():
                raise self.broken()

    def broken(self) -> UserError:
        return UserError(
            f"{self.path}, line {self.line}: here the JSON is broken, cut short, too "
            "long or nested too deep; save it again"
        )


def object_rows(line: int, item: Any, skipped: Skipped) -> Iterator[Row]:
    """The row of a JSON object, if `item` is one. Of Shopify's list of pictures the first is kept;
    other nested values, null, true and false become ''."""
    if not isinstance(item, dict):
        skipped.append((line, "no JSON object"))
        return
    values: list[Value] = []
    for key, value in item.items():
        if isinstance(value, str):
            values.append(value)
        elif isinstance(value, list) and key == "images":
            values.append(first_picture(value))
        elif isinstance(value, list):
            values.append(tuple(text for text in value if isinstance(text, str)))
        else:
            values.append("")
    yield line, tuple(item), values


def first_picture(images: list[Any]) -> str:
    """The address of the picture in position 1, else of the first that has one, else ''."""
    usable = [
        image for image in images if isinstance(image, dict) and isinstance(image.get("src"), str)
    ]
    for image in usable:
        if image.get("position") == "1":
            return image["src"]
    return usable[0]["src"] if usable else ""


# ---- XML ----------------------------------------------------------------------------------------


def xml_rows(file: IO[bytes], marked: str | None, path: str, skipped: Skipped) -> Iterator[Row]:
    """The rows of RSS or Atom, as feed_formats.read_feed_rows says. The elements of an item or
    entry are its columns. `marked` is the encoding if a mark at the beginning tells it."""
    items = XmlItems(marked, path, skipped)
    piece = file.read(PIECE)
    start = piece.lstrip(b" \t\r\n")  # scripts begin with an empty line, which XML forbids
    items.lines_dropped = piece.count(b"\n", 0, len(piece) - len(start))
    try:
        while piece:
            items.parser.Parse(start, False)
            yield from items.take_rows()
            piece = start = file.read(PIECE)
        items.parser.Parse(b"", True)
    except expat.ExpatError as error:
        problem = expat.ErrorString(error.code)
        line = error.lineno + items.lines_dropped
        raise UserError(
            f"{path}, line {line}: the XML is broken or cut short ({problem}); mend "
            "it, or get it again"
        ) from None
    except (ValueError, LookupError):
        raise UserError(f"{path} is XML in an unusual encoding: save it as UTF-8") from None
    if not items.has_items:
        names = ", ".join(repr(name[:30]) for name in items.other_names)
        raise UserError(
            f"{path} is XML without an <item> or <entry>: ask the shop for its Google "
            f"Merchant feed; found: {names}"
        )


class XmlItems:
    """expat's handlers, which make a row of each item. Only the item being read is kept."""

    def __init__(self, marked: str | None, path: str, skipped: Skipped) -> None:
        self.path, self.skipped = path, skipped
        # Without a mark the XML's own declaration says what the encoding is.
        self.parser = expat.ParserCreate(marked, namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self.refuse
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.rows: list[Row] = []
        self.has_items = False
        self.other_names: dict[str, None] = {}  # the first few elements outside items, in order
        self.lines_dropped = 0  # before what expat gets
        self.depth = 0  # of the open element
        self.silent = 0  # bytes read since expat last called a handler
        self.item_depth = 0  # of the open item, 0 if none is open
        self.new_item(0, "")

    def new_item(self, line: int, space: str) -> None:
        """Begin an item in this line, whose name is in this namespace."""
        self.item_line, self.item_space, self.item_size = line, space, 0
        self.pieces: list[str] = []  # of the open column's text
        # Texts by column: those of other namespaces, of the item's own, and of Google's.
        self.texts: tuple[dict[str, str], ...] = ({}, {}, {})

    def take_rows(self) -> list[Row]:
        """The rows of the items that ended in the last piece."""
        self.silent += PIECE
        if self.silent > LONGEST_LINE:  # expat holds all of a tag or comment without an end
            raise self.broken("has a tag or comment without an end")
        rows, self.rows = self.rows, []
        return rows

    def broken(self, problem: str) -> UserError:
        line = self.parser.CurrentLineNumber + self.lines_dropped
        return UserError(
            f"{self.path}, line {line}: the XML {problem}; ask the shop for its "
            "Google Merchant feed"
        )

    def refuse(self, *_: Any) -> None:
        # Entities can be made to grow without bound, or to read other files. No feed needs any.
        raise self.broken("has a DOCTYPE, which a web page has and a feed does not need")

    def start(self, name: str, _: Any) -> None:
        self.depth, self.silent = self.depth + 1, 0
        if self.depth > DEEPEST_XML:
            raise self.broken("is nested too deep")
        space, _, name = name.rpartition(" ")
        if self.item_depth:
            self.item_size += len(name) + COST
            if self.depth == self.item_depth + 1:
                self.pieces = []
        elif name in ("item", "entry"):
            self.item_depth, self.has_items = self.depth, True
            self.new_item(self.parser.CurrentLineNumber + self.lines_dropped, space)
        elif len(self.other_names) < 20:
            self.other_names[name] = None

    def text(self, text: str) -> None:
        self.silent = 0
        if self.item_depth:
            self.item_size += len(text)
            if self.item_size <= LONGEST_LINE:
                self.pieces.append(text)

    def end(self, name: str) -> None:
        if self.item_depth and self.depth == self.item_depth + 1:
            self.end_column(name)
        elif self.depth == self.item_depth:
            self.end_item()
        self.depth -= 1

    def end_column(self, name: str) -> None:
        """Keep the text of an element of the item, unless the same element had a text before."""
        space, _, name = name.rpartition(" ")
        if "base.google.com/ns" in space:
            texts = self.texts[2]
        elif space == self.item_space:
            texts = self.texts[1]
        else:
            texts = self.texts[0]
        if not texts.get(name):
            texts[name] = "".join(self.pieces).strip()

    def end_item(self) -> None:
        """Make a row of the item. Google's elements win over those of the item's own namespace, and
        those over any others, unless they are empty."""
        self.item_depth = 0
        if self.item_size > LONGEST_LINE:
            self.skipped.append((self.item_line, "item too long"))
            return
        row: dict[str, str] = {}
        for texts in self.texts:
            for name, text in texts.items():
                if text or name not in row:
                    row[name] = text
        self.rows.append((self.item_line, tuple(row), list(row.values())))
