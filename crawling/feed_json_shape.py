"""Where the products are in a JSON document: its list of products may have any name.

In: the beginning of a document. Out: a Where, the way from its top to each product. What looks most
like products wins: by the names of its objects' keys.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from crawling.feed_columns import header_rank
from crawling.feed_linked_data import is_linked_data, linked_products
from crawling.feed_values import TooMuch, flattened

# Numbers stay as they were written: 1.50 and a number of 5,000 digits may be ids. (JSON has no 007:
# zeros in front stay only in a text, "007".)
JSON = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)

ITEMS = "[]"  # each value of a list
ANY = "{}"  # each value of an object, whatever its key is
Where = tuple[str, ...]  # keys, ITEMS and ANY from the top to a product; () is the top itself

SAMPLES = 10  # objects at a place that are looked at
LONGEST_SAMPLE = 100_000  # characters
# Characters of all samples, each as often as an object around it is one, too: a character may
# become 40 bytes.
MOST_SAMPLED = 3_000_000
MOST_PLACES = 300
DEEPEST = 12  # levels at which products are looked for
PRODUCT_KEYS = re.compile(
    "products?|items|offers|articles|goods|entries|results|produkte|@graph|itemlistelement", re.I
)
PART_KEYS = re.compile(
    "variant|variation|image|media|picture|photo|option|review|rating|attribute|tag|categor|"
    "breadcrumb|related|collection|param|propert|brand|store|shop|seller|merchant|user|author",
    re.I,
)
# A text that the head cuts short is a token too: otherwise it would be read from each of its quotes.
TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}:,]', re.S)


class Place(NamedTuple):
    """Objects at one place of a document."""

    where: Where
    rank: int  # header_rank of their names


def product_place(head: str, columns: Mapping[str, str]) -> Where:
    """The way to the products of a document that begins like this."""
    samples: dict[Where, list[Any]] = {}
    left = MOST_SAMPLED
    for where, start, end in objects(head):
        at_place = samples.setdefault(where, []) if len(samples) < MOST_PLACES else []
        if len(at_place) < SAMPLES and end - start <= min(left, LONGEST_SAMPLE):
            left -= end - start
            try:
                at_place.append(JSON.raw_decode(head, start)[0])
            except (ValueError, RecursionError):
                pass  # what is broken is reported when it is read
    places = [Place(where, 2) for where in keyed_places(samples, columns)]
    places += [Place(where, rank_of(items, columns)) for where, items in samples.items()]
    usable = [place for place in places if place.rank]
    if usable:
        return max(usable, key=preference).where
    empty_list = re.search(rf'"({PRODUCT_KEYS.pattern})"\s*:\s*\[', head, re.I)
    if head.startswith("["):
        return (ITEMS,)
    return (empty_list.group(1), ITEMS) if empty_list else ()


def preference(place: Place) -> tuple[bool, bool, bool, int, int]:
    """What makes a place more likely than another to be the one of the products."""
    where = place.where
    keys = [key for key in where if key not in (ITEMS, ANY, "edges", "nodes", "node")]
    last = keys[-1] if keys else ""
    is_list = where[-1:] == (ITEMS,)
    return (
        place.rank >= 2,
        is_list and bool(PRODUCT_KEYS.fullmatch(last)),
        is_list and not any(map(PART_KEYS.search, keys)),
        place.rank,
        -len(where),
    )


def rank_of(items: list[Any], columns: Mapping[str, str]) -> int:
    """header_rank of the names that objects have together."""
    names: dict[str, None] = {}
    for item in items:
        products = linked_products(item) if is_linked_data(item) else [item]
        for product in itertools.islice(products, SAMPLES):
            node = product.get("node")
            with contextlib.suppress(TooMuch):  # it is left out when it is read
                names.update(dict.fromkeys(flattened(node if isinstance(node, dict) else product)))
    return header_rank(tuple(names), columns)


def keyed_places(samples: Mapping[Where, list[Any]], columns: Mapping[str, str]) -> Iterator[Where]:
    """The places of objects that hold a product under each key, which is its id: {"12": {...}}."""
    below: dict[Where, list[Any]] = {}
    for where, items in samples.items():
        if where and where[-1] != ITEMS and items:
            below.setdefault(where[:-1], []).append(items[0])
    for where, items in below.items():
        alike = len(items) > 1 and 2 * len(items[0].keys() & items[1].keys()) >= len(items[0])
        if alike and all(rank_of([{"id": "", **item}], columns) > 1 for item in items[:SAMPLES]):
            yield (*where, ANY)


def objects(head: str) -> Iterator[tuple[Where, int, int]]:
    """Yield (place, start, end) of each whole object in a text of JSON, inner ones first."""
    where: list[str] = []  # the way to the open value
    starts: list[int] = []  # where the open objects and lists begin
    key = ""  # the last text, which is a key if : follows
    for token in TOKEN.finditer(head):
        sign = token.group()
        if sign in "{[":
            if len(starts) > 200:
                return
            starts.append(token.start())
            where.append(ITEMS if sign == "[" else "")
        elif sign in "}]":
            if not starts:
                return
            where.pop()
            start = starts.pop()
            if sign == "}" and len(where) <= DEEPEST:
                yield tuple(where), start, token.end()
        elif sign == ":" and where:
            where[-1] = key[1:-1]
        elif len(sign) > 1:
            key = sign
