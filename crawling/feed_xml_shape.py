"""Which element of an XML file is a product: the one that repeats, and whose children are named as
a product's are.

In: pieces of XML. Out: the name of the element.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping

from crawling.feed_columns import header_rank

PRODUCT_ELEMENTS = {
    *("item", "entry", "product", "offer", "shopitem", "o", "produkt", "article", "artikel"),
    *("good", "goods", "record", "row", "prod", "listing", "prodotto", "producto", "produit"),
}
PART_ELEMENTS = re.compile(
    "categor|variant|variation|image|picture|photo|media|option|param|attribute|propert|brand|"
    "currenc|manufacturer|producer|vendor|review|shipping|delivery|store|seller",
    re.I,
)
MOST_PATHS = 1000
MOST_NAMES = 300  # of an element's children
DEEPEST = 200
# The beginning of a CDATA section or comment, or a tag: (/, name, attributes, /).
TAG = re.compile(
    r"<!\[CDATA\[|<!--|<(/?)([^\s<>/!?=\"']{1,200})(?=[\s/>])"
    r"([^<>\"'/]*(?:(?:\"[^<\"]*\"|'[^<']*'|/(?!>))[^<>\"'/]*)*)(/?)>"
)
# With its value, and from the beginning of a word: otherwise each letter of a long value might be
# the beginning of a name.
ATTRIBUTE = re.compile(r"(?<![^\s\"'/])([^\s=\"'/]{1,200})\s*=\s*(?:\"[^\"]*\"|'[^']*')")
SURVEYED = 1_000_000  # characters; more, if no product was among them
MOST_SURVEYED = 50_000_000


class Element:
    """What stands at one place of a file, however often."""

    def __init__(self, name: str, depth: int) -> None:
        self.name, self.depth = name, depth
        self.times = 0
        self.children: dict[str, Element] = {}
        self.attributes: dict[str, None] = {}

    def names(self) -> list[str]:
        """What its columns would be called."""
        names = [f"@{key}" for key in self.attributes]
        for child in self.children.values():
            names.append(child.name)
            names += [f"{child.name}@{key}" for key in child.attributes]
            names += [f"{child.name}.{name}" for name in child.children]
        return names


def local(name: str) -> str:
    """The name of an element or attribute without its namespace."""
    return name.rpartition(":")[2]


def product_element(pieces: Iterable[str], columns: Mapping[str, str]) -> tuple[str, list[str]]:
    """(the name of the element that is a product, '' if none is; the first names of elements)."""
    shape = Shape()
    size, enough = 0, SURVEYED
    for piece in pieces:
        size += len(piece)
        shape.read(piece)
        if size > MOST_SURVEYED:
            break
        if size > enough:
            if choose(shape.elements, columns, 2):
                break
            enough *= 2  # to choose among many elements takes longer than to read a piece
    name = choose(shape.elements, columns, 2) or choose(shape.elements, columns, 0)
    return name, list(dict.fromkeys(element.name for element in shape.elements))[:20]


class Shape:
    """Notes the elements there are, whether the XML is right or broken."""

    def __init__(self) -> None:
        self.elements: list[Element] = []
        self.open: list[Element] = [Element("", 0)]
        self.ending = ""  # of the section or comment that is open

    def read(self, piece: str) -> None:
        """Note the elements of a piece, which parts no tag."""
        at = 0
        while at < len(piece):
            if self.ending:
                at = piece.find(self.ending, at) + len(self.ending)
                if at < len(self.ending):
                    return
                self.ending = ""
            found = TAG.search(piece, at)
            if not found:
                return
            at = found.end()
            closing, name, attributes, empty = found.groups()
            if not name:
                self.ending = "]]>" if found.group() == "<![CDATA[" else "-->"
            elif closing:
                self.end(local(name))
            else:
                self.start(local(name), attributes)
                if empty:
                    self.end(local(name))

    def start(self, name: str, attributes: str) -> None:
        parent = self.open[-1]
        element = parent.children.get(name)
        if element is None:
            element = Element(name, len(self.open))
            if len(self.elements) < MOST_PATHS:
                parent.children[name] = element
                self.elements.append(element)
        element.times += 1
        if attributes and element.times < MOST_NAMES and len(element.attributes) < MOST_NAMES:
            names = itertools.islice(ATTRIBUTE.finditer(attributes), MOST_NAMES)
            element.attributes.update(dict.fromkeys(local(found.group(1)) for found in names))
        if len(self.open) < DEEPEST:
            self.open.append(element)

    def end(self, name: str) -> None:
        """Close the last open element of this name, and what was left open in it."""
        for depth in range(len(self.open) - 1, 0, -1):
            if self.open[depth].name == name:
                del self.open[depth:]
                return


def choose(elements: Iterable[Element], columns: Mapping[str, str], least: int) -> str:
    """The name of the element that is a product; '' if none ranks so high."""
    best: tuple[tuple[int, ...], str] = ((), "")
    for element in elements:
        names, repeats = element.names(), element.times > 1
        rank = header_rank(names, columns)
        known = element.name.lower() in PRODUCT_ELEMENTS
        # What is no product's name has to repeat, and to have children.
        if rank < least or not (known or rank > 1 or repeats and len(names) > 1):
            continue
        is_part = PART_ELEMENTS.search(element.name) is not None
        preference = (
            *(rank > 1, known, element.depth > 1, not is_part),
            *(repeats, rank, -element.depth),
        )
        if preference > best[0]:
            best = (preference, element.name)
    return best[1]
