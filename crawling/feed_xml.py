"""XML with products in it -> rows, read in pieces: at most one product is kept at a time.

In: text of a catalogue file. Out: rows as feed_formats.read_feed_rows yields them. The elements and
attributes of a product are its columns: <pictures><picture> is `pictures.picture`, and the url of
<main url=""> is `main@url`. A DOCTYPE that declares entities is refused, because they can be made
to grow without bound and to read other files.

    python crawl.py --feed products.xml
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.parsers import expat

from common.terminal import UserError
from crawling.feed_lines import COST, LONGEST_LINE, Source
from crawling.feed_types import FeedRow, HowRead, ReadOptions, Skipped, Value
from crawling.feed_values import LONGEST_NAME, MOST_COLUMNS, TOO_WIDE, SameNames
from crawling.feed_xml_mend import Mender
from crawling.feed_xml_shape import local, product_element
from crawling.feed_xml_tree import CategoryNames

DEEPEST_XML = 200
MOST_NAMES = 1000  # of elements whose parts are kept
LONGEST_SPACE = 200  # characters of a namespace by which it is known
# Characters of all names of elements and attributes, which expat keeps, each with COST: 40,000 short
# ones. A feed has some hundred.
LONGEST_NAMES = 4_000_000
# Elements of HTML: what holds one of them is a text.
MARKUP = set("p br strong em ul ol div span font table h1 h2 h3 h4 h5 h6".split())
MOST_BROKEN = 1000  # products; the rest of the piece is read again after each of them
RESUMED = b"<resumed>"  # stands for the elements around a product
OTHERS, SAME, GOOGLE = range(3)  # whose namespace an element is in: the last one wins


def xml_rows(
    source: Source, skipped: Skipped, options: ReadOptions, how: HowRead
) -> Iterator[FeedRow]:
    """The rows of XML, as feed_formats.read_feed_rows says. At the end of the file, the remark on
    what was mended counts all of it."""
    first_pieces = Mender()
    name, names_found = product_element(first_pieces.pieces(source), options.columns)
    how.kind = f"XML of <{name[:50]}>"
    first_remark = first_pieces.remark()
    how.remarks += [first_remark] if first_remark else []
    source.text.seek(0)
    mender = Mender()
    items = XmlItems(name, source, skipped)
    yield from items.rows_of(mender)
    if first_remark in how.remarks:
        how.remarks[how.remarks.index(first_remark)] = mender.remark()
    elif mender.count:
        how.remarks.append(mender.remark())
    how.remarks += [items.categories.remark()] if items.categories.unknown else []
    how.remarks += items.same_names.remarks()
    if not name:
        found = ", ".join(repr(name[:30]) for name in names_found)
        raise UserError(
            f"{source.name} is XML without an element that is a product: ask the shop for its "
            f"Google Merchant feed; found: {found}"
        )


class Frame:
    """An open element of a product."""

    __slots__ = ("name", "space", "texts", "is_text", "columns")

    def __init__(self, name: str, space: int, attributes: dict[str, str]) -> None:
        self.name, self.space = name, space
        self.texts: list[str] = []  # all texts within it
        self.is_text = False  # whether it has a text of its own, and not only elements
        self.columns: dict[str, list[Value]] = {}  # of its attributes and elements
        for key, value in attributes.items():
            if not key.startswith("xmlns"):
                self.columns[f"@{local(key)}"[:LONGEST_NAME]] = [value]

    def value(self, name: str) -> Value:
        """What a column holds: its text, or the list of its texts."""
        return simplest(self.columns[name])


class XmlItems:
    """expat's handlers, which make a row of each product. Only the open product is kept."""

    def __init__(self, item_name: str, source: Source, skipped: Skipped) -> None:
        self.item_name, self.source, self.skipped = item_name, source, skipped
        self.rows: list[FeedRow] = []
        self.same_names = SameNames()
        self.categories = CategoryNames()
        self.spaces: dict[str, str] = {}  # prefix -> namespace
        self.prefixes: dict[str, tuple[str, str]] = {}  # name -> its prefix, and what follows
        self.item_start = re.compile(rf"<(?:[\w.-]+:)?{re.escape(item_name)}[\s/>]")
        self.names: dict[str, str] = {}  # of elements and attributes, which expat keeps
        self.names_counted = 0
        self.has_items = False
        self.broken_items = 0
        self.problem: UserError | None = None  # outside of products
        self.item_line = self.item_size = 0
        self.item_space = ""
        self.spaced: tuple[dict[str, list[Value]], ...] = ({}, {}, {})  # columns by whose they are
        self.restart(1)

    def restart(self, line: int) -> None:
        """Begin with a new parser, whose text begins in this line."""
        self.parser = expat.ParserCreate("utf-8", intern=self.names)
        self.fed = 0  # bytes
        self.parser.buffer_text = True
        self.parser.EntityDeclHandler = self.refuse
        self.parser.AttlistDeclHandler = self.refuse
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.lines_dropped = line - 1  # before what expat gets
        self.depth = 0  # of the open element
        self.silent = 0  # characters read since expat last called a handler
        self.frames: list[Frame] = []  # the open elements of a product, or of a category
        self.item_depth = 0  # of the open product, 0 if none is open

    def line(self) -> int:
        return self.parser.CurrentLineNumber + self.lines_dropped

    def rows_of(self, mender: Mender) -> Iterator[FeedRow]:
        """The rows of a file. A product that is broken beyond mending is left out, and reading goes
        on with the next one."""
        lost = resumed = False  # whether the next product is looked for, or was found
        for piece in mender.pieces(self.source):
            line = mender.line - piece.count("\n")  # in which the piece begins
            while piece:
                if self.fed == 0:
                    self.lines_dropped = line - 1
                if lost:
                    found = self.item_start.search(piece) if self.item_name else None
                    if not found:
                        break
                    line += piece.count("\n", 0, found.start())
                    piece = piece[found.start() :]
                    self.restart(line)
                    self.parse(RESUMED)
                    lost, resumed, self.problem = False, True, None
                try:
                    self.parse(piece.encode())
                    break
                except expat.ExpatError as error:
                    # What it was resumed with must not be found again.
                    least = 1 if self.fed == len(RESUMED) else 0
                    end = max(self.parser.ErrorByteIndex - self.fed, least)
                    rest = piece.encode()[end:].decode(errors="ignore")
                    before = piece[: len(piece) - len(rest)]
                    self.leave_out(error, before, resumed)
                    line += before.count("\n")
                    piece, lost = rest, True
            yield from self.take_rows(len(piece))
        if self.problem:
            raise self.problem
        if not lost:
            try:
                self.parser.Parse(b"", True)
            except expat.ExpatError as error:
                if not resumed or self.item_depth:
                    raise self.cut_short(error) from None

    def parse(self, data: bytes) -> None:
        self.parser.Parse(data, False)
        self.fed += len(data)

    def leave_out(self, error: expat.ExpatError, before: str, resumed: bool) -> None:
        """Leave out the product in which the XML is broken after this text. Note what is wrong, if
        it is in none."""
        self.broken_items += 1
        if self.broken_items > MOST_BROKEN:
            raise self.cut_short(error)
        reason = f"broken XML, {expat.ErrorString(error.code)}"
        last_tag = before.rfind("<")
        if self.item_depth:
            self.skipped.append((self.item_line, reason))
        elif self.item_name and last_tag >= 0 and self.item_start.match(before, last_tag):
            self.has_items = True
            self.skipped.append((error.lineno + self.lines_dropped, reason))
        elif not resumed and (self.depth or not self.has_items):
            # Text after the last element is harmless. What was resumed has ends without beginnings.
            self.problem = self.cut_short(error)

    def cut_short(self, error: expat.ExpatError) -> UserError:
        line = error.lineno + self.lines_dropped
        return UserError(
            f"{self.source.name}, line {line}: the XML is broken or cut short "
            f"({expat.ErrorString(error.code)}); mend it, or get it again"
        )

    def take_rows(self, size: int) -> list[FeedRow]:
        """The rows of the products that ended in the last piece, which had this size."""
        self.silent += size
        if self.silent > LONGEST_LINE:  # expat holds all of a tag or comment without an end
            raise self.broken("has a tag or comment without an end")
        if len(self.names) > self.names_counted:
            self.names_counted = len(self.names)
            if sum(map(len, self.names)) + COST * len(self.names) > LONGEST_NAMES:
                raise self.broken("has too many different names of elements or attributes")
        rows, self.rows = self.rows, []
        return rows

    def broken(self, problem: str) -> UserError:
        return UserError(
            f"{self.source.name}, line {self.line()}: the XML {problem}; ask the shop for its "
            "Google Merchant feed"
        )

    def refuse(self, *declared: Any) -> None:
        if len(declared) == 5 and declared[3] is None:
            return  # an attribute without a value
        # Entities can be made to grow without bound, or to read other files, and each element gets
        # the values of attributes that it lacks: 4 MB became 1.3 GB.
        raise self.broken("has a DOCTYPE that declares entities or values, which no feed needs")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth, self.silent = self.depth + 1, 0
        if self.depth > DEEPEST_XML:
            raise self.broken("is nested too deep")
        if attributes:
            self.declare(attributes)
        prefix, short = self.prefixes.get(name) or self.parted(name)
        if self.item_depth:
            self.item_size += len(short) + COST
            if self.item_size > LONGEST_LINE:
                return
            if short in MARKUP and not attributes and len(self.frames) > 1:
                self.frames[-1].is_text = True
            space = self.space_of(prefix) if len(self.frames) == 1 else OTHERS
            self.frames.append(Frame(short, space, attributes))
        elif short == self.item_name:
            self.has_items = True
            self.item_depth, self.item_line, self.item_size = self.depth, self.line(), 0
            self.item_space = self.spaces.get(prefix, prefix)
            self.spaced = ({}, {}, {})
            self.frames = [Frame(short, SAME, attributes)]
            self.spaced[SAME].update(self.frames[0].columns)
        elif self.frames or short.lower() == "category":
            self.item_size = self.item_size + COST if self.frames else 0
            self.frames.append(Frame(short, OTHERS, attributes))
            if self.item_size > LONGEST_LINE:  # this is no category
                self.frames = []

    def parted(self, name: str) -> tuple[str, str]:
        """(prefix, name without it) of an element."""
        prefix, _, short = name[-LONGEST_NAME:].rpartition(":")
        if len(self.prefixes) < MOST_NAMES:
            self.prefixes[name] = prefix, short
        return prefix, short

    def declare(self, attributes: dict[str, str]) -> None:
        """Note the namespaces that an element declares, and how long its attributes are."""
        for key, value in attributes.items():
            self.item_size += len(value)
            if key.startswith("xmlns"):
                self.spaces[key[6:]] = value[:LONGEST_SPACE]

    def space_of(self, prefix: str) -> int:
        """Whose namespace an element of a product is in. g: is Google's, also if it is not
        declared."""
        space = self.spaces.get(prefix, prefix if prefix != "g" else "base.google.com/ns")
        if "base.google.com/ns" in space:
            return GOOGLE
        return SAME if space == self.item_space else OTHERS

    def text(self, text: str) -> None:
        self.silent = 0
        if self.frames:
            self.item_size += len(text)
            if self.item_size <= LONGEST_LINE:
                frame = self.frames[-1]
                frame.texts.append(text)
                if not frame.is_text and not text.isspace():
                    frame.is_text = True

    def end(self, _: str) -> None:
        self.silent = 0
        if self.depth == self.item_depth:
            self.end_item()
        elif self.item_depth and self.item_size > LONGEST_LINE:
            pass  # it is left out
        elif len(self.frames) > 1:
            self.end_column()
        elif self.frames:
            self.categories.add(self.frames.pop())
        self.depth -= 1

    def end_column(self) -> None:
        """Give what an element holds to the one that it is in."""
        frame = self.frames.pop()
        parent = self.frames[-1]
        is_top = bool(self.item_depth) and len(self.frames) == 1
        columns = self.spaced[frame.space] if is_top else parent.columns
        text = "".join(frame.texts)
        if not is_top:
            parent.texts.append(text)
        if not frame.columns:  # as in most elements
            columns.setdefault(frame.name, []).append(text.strip())
            return
        called = column_of(frame, columns)
        inner = [name for name in frame.columns if not name.startswith("@")]
        if frame.is_text:
            columns.setdefault(called, []).append(text.strip())
            inner = []
        for name in [name for name in frame.columns if name.startswith("@")]:
            columns.setdefault(f"{called}{name}"[:LONGEST_NAME], []).append(frame.value(name))
        for name in inner:
            columns.setdefault(f"{called}.{name}"[:LONGEST_NAME], []).append(frame.value(name))

    def end_item(self) -> None:
        """Make a row of the product. Google's elements win over those of its own namespace, and
        those over any others, unless they are empty."""
        self.item_depth, self.frames = 0, []
        if self.item_size > LONGEST_LINE:
            self.skipped.append((self.item_line, "item too long"))
            return
        row: dict[str, Value] = {}
        for columns in self.spaced:
            for name, values in columns.items():
                value = simplest(values)
                if value or name not in row:
                    row[name] = value
        self.categories.complete(row)
        if len(row) > MOST_COLUMNS:
            self.skipped.append((self.item_line, TOO_WIDE))
            return
        self.rows.append((self.item_line, *self.same_names.row(row)))


def column_of(frame: Frame, columns: Mapping[str, list[Value]]) -> str:
    """The column of an element: its name, and its language too if the first one of that name is in
    another language."""
    languages = frame.columns.get("@lang")
    first = columns.get(f"{frame.name}@lang")
    if not languages or not first or languages[0] == first[0]:
        return frame.name
    return f"{frame.name}_{str(languages[0])[:20]}"


def simplest(values: list[Value]) -> Value:
    """The only value that is not empty, or all of these as a list; '' if there is none."""
    if len(values) == 1:
        return values[0]
    full = [value for value in values if value]
    if len(full) > 1:
        return tuple(full)
    return full[0] if full else ""
