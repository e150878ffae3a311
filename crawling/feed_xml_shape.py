"""Which element of an XML file is a product: the one that repeats, and whose children are named as
a product's are.

In: pieces of XML. Out: the name of the element.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
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
DEEPEST = 30

ElementPath = tuple[str, ...]


class Element(NamedTuple):
    """The elements at one place of a file."""

    names: dict[str, None]  # of their children and attributes
    times: list[int]  # [how often they stand there]


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
    return name, list(dict.fromkeys(path[-1] for path in shape.elements))[:20]


class Shape:
    """expat's handlers, which note the elements there are."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.elements: dict[ElementPath, Element] = {}
        self.path: list[str] = []

    def start(self, name: str, attributes: dict[str, Any]) -> None:
        self.path.append(local(name))
        if len(self.path) > DEEPEST:
            return
        path = tuple(self.path)
        element = self.elements.get(path)
        if element is None:
            if len(self.elements) >= MOST_PATHS:
                return
            element = self.elements[path] = Element({}, [0])
        element.times[0] += 1
        self.note(path, *(f"@{local(key)}" for key in attributes))
        self.note(path[:-1], path[-1], *(f"{path[-1]}@{local(key)}" for key in attributes))
        if len(path) > 2:
            self.note(path[:-2], ".".join(path[-2:]))

    def note(self, path: ElementPath, *names: str) -> None:
        """Note names of children or attributes of an element."""
        element = self.elements.get(path)
        if element and len(element.names) < MOST_NAMES:
            element.names.update(dict.fromkeys(names))

    def end(self, _: str) -> None:
        self.path.pop()


def choose(elements: Mapping[ElementPath, Element], columns: Mapping[str, str], least: int) -> str:
    """The name of the element that is a product; '' if none ranks so high."""
    best: tuple[tuple[Any, ...], str] = ((), "")
    for path, element in elements.items():
        rank = header_rank(tuple(element.names), columns)
        known = path[-1].lower() in PRODUCT_ELEMENTS
        repeats = element.times[0] > 1
        # What is no product's name has to repeat, and to have children.
        if rank < least or not (known or rank > 1 or repeats and len(element.names) > 1):
            continue
        preference = (
            *(rank > 1, known, len(path) > 1, not PART_ELEMENTS.search(path[-1])),
            *(repeats, rank, -len(path)),
        )
        if preference > best[0]:
            best = (preference, path[-1])
    return best[1]
