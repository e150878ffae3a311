"""JSON with products in it -> rows, read in pieces: at most one product is kept at a time.

In: text of a catalogue file: a document, or an object on each line (JSON Lines, or dicts as Python
prints them). Out: rows as feed_formats.read_feed_rows yields them. feed_json_shape.py finds the
list of products in a document, which may have any name.

    python crawl.py --feed products.json
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from common.terminal import UserError
from crawling.feed_columns import header_rank
from crawling.feed_json_shape import ANY, ITEMS, JSON, Where, product_place
from crawling.feed_lines import BLANK, HEAD, LONGEST_LINE, PIECE, Line, Source, numbered_lines
from crawling.feed_linked_data import allowance, is_linked_data, linked_columns
from crawling.feed_types import FeedRow, HowRead, ReadOptions, Skipped, Value
from crawling.feed_values import SameNames, TooMuch, flattened

PRODUCTS_OWN = {"sku", "mpn", "gtin", "gtin13", "productID", "offers", "id"}
LONGEST_DICT = 200_000  # characters of a line as Python prints it: reading one takes much memory
BROKEN = "broken JSON, or nested too deep"


def json_rows(
    source: Source, skipped: Skipped, options: ReadOptions, how: HowRead
) -> Iterator[FeedRow]:
    """The rows of JSON, as feed_formats.read_feed_rows says."""
    head = source.head.lstrip(BLANK)
    first, _, rest = head.partition("\n")
    is_lines = is_json_lines(first, rest)
    sound = rest if is_lines and decoded_line(first) is None else head
    where = () if is_python(head) else product_place(sound, options.columns)
    if is_lines and ITEMS in where and is_product(first, options):
        where = ()  # what it lists are parts of it
    if where[:1] == ("@graph",) and len(source.head) < HEAD:  # its objects point to each other
        where = ()
    same_names = SameNames()
    if is_lines and ITEMS not in where:
        how.kind = "JSON Lines"
        items = line_items(numbered_lines(source), where, skipped)
    else:
        how.kind = "JSON" + (f", its list {shown(where)}" if shown(where) else "")
        items = JsonText(source, skipped).items(where)
    for line, item in items:
        item = unwrapped(item)
        if isinstance(item, dict):
            for columns in item_columns(item, line, skipped):
                yield line, *same_names.row(columns)
        else:
            skipped.append((line, "no JSON object"))
        item = None  # or it would be kept while the next one is read: 100 MB, if it is hostile
    how.remarks += same_names.remarks()


def item_columns(item: dict[str, Any], line: int, skipped: Skipped) -> Iterator[dict[str, Value]]:
    """Yield the columns of each product of an object in this line."""
    if not is_linked_data(item):
        try:
            yield flattened(item)
        except TooMuch as reason:
            skipped.append((line, str(reason)))
        return
    none_found = True
    for _, columns in linked_columns(item, line, skipped, allowance()):
        none_found = False
        if columns is not None:
            yield columns
    if none_found and item.keys() & PRODUCTS_OWN:  # it is no page, and no shop
        skipped.append((line, "JSON-LD of another type than Product"))


def is_product(line: str, options: ReadOptions) -> bool:
    """Whether the object of a line has a name that a product has, so that it is no page of them."""
    item = decoded_line(line)
    if not isinstance(item, dict):
        return False
    try:
        return header_rank(tuple(flattened(item)), options.columns) > 0
    except TooMuch:
        return False


def shown(where: Where) -> str:
    """The place of the products, for a person: data.products.edges."""
    return ".".join(key for key in where if key not in (ITEMS, ANY))[:100]


def unwrapped(item: Any) -> Any:
    """The object that an edge of GraphQL leads to; other values as they are."""
    if isinstance(item, dict) and item.keys() <= {"node", "cursor"} and "node" in item:
        return item["node"]
    return item


# ---- an object on each line ---------------------------------------------------------------------


def is_python(head: str) -> bool:
    """Whether text that begins like this is no JSON, but dicts as Python prints them."""
    return re.match(r"\{\s*'", head) is not None


def is_json_lines(first: str, rest: str) -> bool:
    """Whether JSON of this first line and this rest has an object on each line, and is no document.
    Its first line is then an object, or a broken one before the next."""
    rest = rest.lstrip(BLANK)
    if not first.startswith("{"):
        return False
    if decoded_line(first) is not None:
        return bool(rest) or is_python(first)
    begins_object = first.rstrip().endswith(("{", "[", ","))
    return rest.startswith("{") and not begins_object


def line_items(lines: Iterable[Line], where: Where, skipped: Skipped) -> Iterator[tuple[int, Any]]:
    """Yield (line, value at a place) of each line."""
    for number, line in lines:
        if len(line) >= LONGEST_LINE:
            skipped.append((number, "line too long"))
        elif line := line.strip(BLANK):
            try:
                item = JSON.decode(line)
            except (ValueError, RecursionError):
                item = python_dict(line)
                if item is None:
                    skipped.append((number, BROKEN))
                    continue
            for key in where:
                item = item.get(key) if isinstance(item, dict) else None
            yield number, item
            item = None  # before the next one is read


def decoded_line(line: str) -> Any:
    """The object of a line; None if it is none."""
    try:
        return JSON.decode(line.strip(BLANK))
    except (ValueError, RecursionError):
        return python_dict(line)


def python_dict(line: str) -> dict[str, Any] | None:
    """The dict of a line as Python prints it: {'asin': '1'}. None if it is none."""
    if not re.match(r"\s*\{\s*['\"]", line) or len(line) > LONGEST_DICT:
        return None
    try:
        item = ast.literal_eval(line.strip(BLANK))
        # Through JSON, because keys may be numbers, and numbers are kept as they are written.
        return JSON.decode(json.dumps(item)) if isinstance(item, dict) else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


# ---- documents ----------------------------------------------------------------------------------


class JsonText:
    """JSON text that is read in pieces; at most one value of it is kept."""

    def __init__(self, source: Source, skipped: Skipped) -> None:
        self.source, self.skipped = source, skipped
        self.text, self.at, self.line = "", 0, 1  # text[at] is the next character, in this line

    def items(self, where: Where) -> Iterator[tuple[int, Any]]:
        """Yield (line, value) of the values at a place of the document. Another document may follow
        in the same file: pages that were fetched one by one and put together."""
        while self.peek():
            yield from self.items_below(where)

    def items_below(self, where: Where) -> Iterator[tuple[int, Any]]:
        """Yield (line, value) of the values at a place of the next value, and take that."""
        opening = self.peek()
        if not where:
            yield from self.whole()
        elif opening == "[" and where[0] == ITEMS:
            yield from self.list_items(where[1:])
        elif opening == "{" and where[0] != ITEMS:
            yield from self.object_items(where)
        elif opening == "{" and len(where) == 1:  # pages of which one is an object by itself
            yield from self.whole()
        else:
            self.skip()

    def whole(self) -> Iterator[tuple[int, Any]]:
        """The next value, unless it is too long or nested too deep."""
        line = self.line
        if self.peek() not in ("{", "["):
            yield line, self.value()
            return
        try:
            value = self.value()
        except TooMuch as reason:
            self.skipped.append((line, str(reason)))
            self.skip()
        else:
            yield line, value

    def list_items(self, where: Where) -> Iterator[tuple[int, Any]]:
        self.take("[")
        while self.peek() != "]":
            yield from self.items_below(where)
            if self.peek() != "]":
                self.take(",")
        self.take("]")

    def object_items(self, where: Where) -> Iterator[tuple[int, Any]]:
        self.take("{")
        while self.peek() != "}":
            key = str(self.value())
            self.take(":")
            if where[0] == ANY and self.peek() == "{":
                for line, item in self.items_below(where[1:]):
                    yield line, {"id": key, **item} if isinstance(item, dict) else item
                    item = None  # before the next one is read
            elif key == where[0]:
                yield from self.items_below(where[1:])
            else:
                self.skip()
            if self.peek() != "}":
                self.take(",")
        self.take("}")

    def more(self) -> bool:
        """Read more text. Returns whether there was any."""
        kept = self.text[self.at :]
        piece = self.source.read(max(PIECE, len(kept)), self.line + kept.count("\n"))
        self.text, self.at = kept + piece, 0
        return piece != ""

    def drop(self, end: int) -> None:
        """Go on to a place in the text."""
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def peek(self) -> str:
        """The next character that is no space, "" at the end."""
        while True:
            found = NO_SPACE.search(self.text, self.at)
            if found:
                self.drop(found.start())
                return found.group()
            self.drop(len(self.text))
            if not self.more():
                return ""

    def take(self, wanted: str) -> None:
        """Take the next character, which must be this one."""
        if self.peek() != wanted:
            raise self.broken()
        self.drop(self.at + 1)

    def value(self) -> Any:
        """Take the next value. Raises TooMuch, and takes nothing, if it is too long or nested too
        deep."""
        self.peek()
        while True:
            whole = True
            try:
                value, end = JSON.raw_decode(self.text, self.at)
            except ValueError:
                whole, end = False, len(self.text)  # it is broken, or not all of it has been read
            except RecursionError:
                raise TooMuch(BROKEN) from None
            if end == len(self.text):  # here a number might go on
                if len(self.text) - self.at > LONGEST_LINE:
                    raise TooMuch("item too long")
                if self.more():
                    continue
                end = len(self.text)
            if not whole:
                raise self.broken()
            self.drop(end)
            return value

    def skip(self) -> None:
        """Take the next value without keeping it."""
        if self.peek() not in ("{", "["):
            try:
                self.value()
            except TooMuch:
                raise self.broken() from None
            return
        depth, in_text = 0, False
        while True:
            at = self.at
            while found := (IN_TEXT if in_text else SIGNS).search(self.text, at):
                sign, at = found.group(), found.end()
                if sign == '"':
                    in_text = not in_text
                elif sign == "\\":
                    at += 1  # what it escapes
                else:
                    depth += len(sign) if sign[0] in "[{" else -len(sign)
                    if depth <= 0:
                        self.drop(at + depth)  # the last signs may belong to what is around
                        return
            escaped = max(0, at - len(self.text))  # what has not been read yet
            self.drop(len(self.text))
            if not self.more():
                raise self.broken()
            self.at += escaped

    def broken(self) -> UserError:
        return UserError(
            f"{self.source.name}, line {self.line}: here the JSON is broken, cut short, too "
            "long or nested too deep; save it again"
        )


NO_SPACE = re.compile("[^\ufeff \t\r\n]")
SIGNS = re.compile(r'"|[\[{]+|[\]}]+')
IN_TEXT = re.compile(r'["\\]')
