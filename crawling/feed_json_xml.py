"""JSON and XML with products in it -> rows, a piece at a time: no more than a product is kept.

In: text or bytes of a catalogue file. Out: rows as feed_formats.read_rows gives them. XML with a
DOCTYPE is refused, because entities can be made to grow without bound and to read other files.

    python crawl.py --feed products.json
    python crawl.py --feed products.xml
"""
import json
import re
from xml.parsers import expat

from common.terminal import UserError

LONGEST_LINE = 4_000_000   # characters; a longer line, record, object or item is broken, no product
PIECE = 65_536             # read at a time where there are no lines
COST = 100                 # of a line or an element beyond its characters, while it is kept
DEEPEST_XML = 200
# Numbers stay as they were written: 007, 1.50 and one of 5,000 digits are somebody's ids.
JSON = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)


def check_utf8(text, path, line):
    """Raise UserError where text that begins in this line was read from what is not UTF-8."""
    if not text.isascii() and (bad := re.search("[\ud800-\udfff]", text)):
        line += text.count("\n", 0, bad.start())
        raise UserError(f"{path}, line {line} is not UTF-8: save the file as UTF-8, or convert it "
                        "(iconv -f cp1252 -t utf-8), and load that")


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


def json_line_rows(lines, skipped):
    """The rows of JSON Lines, (number, text) each, as feed_formats.read_rows says."""
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
    """The rows of RSS or Atom, as feed_formats.read_rows says: what is in an item or entry are its
    columns.
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
