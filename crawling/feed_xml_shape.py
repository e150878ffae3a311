"""Which element of an XML file is a product: the one that repeats, and whose children are named as
a product's are.

In: pieces of XML. Out: the name of the element.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.parsers import expat

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
    size = 0
    for piece in pieces:
        size += len(piece)
        try:
            shape.parser.Parse(piece, False)
        except (expat.ExpatError, ValueError):
            break  # it is reported when the products are read
        if size > MOST_SURVEYED or size > SURVEYED and choose(shape.elements, columns, 2):
            break
    name = choose(shape.elements, columns, 2) or choose(shape.elements, columns, 0)
    return name, list(dict.fromkeys(element.name for element in shape.elements))[:20]


class Shape:
    """expat's handlers, which note the elements there are."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.elements: list[Element] = []
        self.open: list[Element | None] = [Element("", 0)]  # None if it is not noted

    def start(self, name: str, attributes: dict[str, Any]) -> None:
        parent = self.open[-1]
        element = parent.children.get(name) if parent else None
        if element is None and parent and len(self.elements) < MOST_PATHS:
            element = parent.children[name] = Element(local(name), len(self.open))
            self.elements.append(element)
        if element:
            element.times += 1
            if attributes and len(element.attributes) < MOST_NAMES:
                element.attributes.update(dict.fromkeys(map(local, attributes)))
        self.open.append(element)

    def end(self, _: str) -> None:
        self.open.pop()


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
