"""A nested value of JSON -> the columns of a row.

In: what a JSON decoder gives for a product. Out: names and values: {"image": {"url": "u"}} is a
column `image.url`, and a list of objects is a column for each of their keys, with a list in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from common.text import storable
from crawling.feed_types import Names, Value

MOST_COLUMNS = 10_000  # of a row; one with more is left out
TOO_WIDE = f"more than {MOST_COLUMNS:,} columns"
# Values of a product, in its lists and objects: thousands of variants have 50,000. One character
# of JSON may be a value of 50 bytes.
MOST_VALUES = 100_000
TOO_MANY = f"more than {MOST_VALUES:,} values"
MOST_KEPT = 10_000  # names of columns in a file: those of one row fit, and a file of ever new ones
DEEPEST = 20  # levels of a value that are looked at
LONGEST_NAME = 500  # characters; a longer name is cut
MOST_NAMES = 50_000  # in the objects that rows with the same names share
WORDS = {True: "true", False: "false", None: ""}


class TooMuch(Exception):
    """A product is too long, too wide or nested too deep. The text is the reason, for a person."""


class SameNames:
    """Gives rows with the same names one object for them, so that comparing them costs nothing. A
    row may have ever new names. All that follows costs something for each, so names beyond the
    first MOST_KEPT of a file are no columns."""

    def __init__(self) -> None:
        self.known: dict[Names, Names] = {}
        self.columns: set[str] = set()  # the names there are, at most MOST_KEPT and a row's
        self.dropped = 0  # values under later names

    def row(self, columns: dict[str, Value]) -> tuple[Names, list[Value]]:
        """(names, values) of a row; the names are without what SQLite can't hold."""
        if not self.columns.issuperset(columns):
            if len(self.columns) < MOST_KEPT:
                self.columns.update(columns)
            else:
                kept = {name: value for name, value in columns.items() if name in self.columns}
                self.dropped += len(columns) - len(kept)
                columns = kept
        names = tuple(columns)
        same = self.known.get(names)
        if same is None:
            same = tuple(map(clean, names))
            if len(self.known) * len(names) < MOST_NAMES:
                self.known[names] = same
        return same, list(columns.values())

    def remarks(self) -> list[str]:
        """What a person should know at the end of a file."""
        if not self.dropped:
            return []
        return [
            f"it has more than {MOST_KEPT:,} names of columns: {self.dropped:,} values under later "
            "ones were not read"
        ]


def flattened(item: dict[str, Any], steps: Iterator[int] | None = None) -> dict[str, Value]:
    """{name: value} of an object and of all that is in it. `steps` ends after so many values as
    may be looked at. Raises TooMuch if there are more than that, than MOST_VALUES, or than
    MOST_COLUMNS columns."""
    columns: dict[str, Value] = {}
    left = iter(range(MOST_VALUES)) if steps is None else itertools.islice(steps, MOST_VALUES)
    for key, value in item.items():
        key = key[:LONGEST_NAME]
        if isinstance(value, str):  # as most are
            columns[key] = clean(value)
        else:
            add_columns(columns, key, value, 1, left)
    if len(columns) > MOST_COLUMNS:
        raise TooMuch(TOO_WIDE)
    return columns


def take(left: Iterator[int], count: int) -> None:
    """Take so many values from what is left. Raises TooMuch if there are not so many."""
    if count and next(itertools.islice(left, count - 1, count), None) is None:
        raise TooMuch(TOO_MANY)


def add_columns(
    columns: dict[str, Value], name: str, value: Any, depth: int, left: Iterator[int]
) -> None:
    """Add to `columns` what a value holds."""
    take(left, 1)
    value = without_edges(value)
    if isinstance(value, str):
        columns[name] = clean(value)
    elif depth > DEEPEST:
        columns[name] = ""
    elif isinstance(value, dict):
        if not value:
            columns[name] = ""
        for key, inner in value.items():
            add_columns(columns, f"{name}.{key}"[:LONGEST_NAME], inner, depth + 1, left)
    elif isinstance(value, (list, tuple)):
        add_list(columns, name, in_order(value), depth, left)
    else:
        columns[name] = WORDS[value] if value in (True, False, None) else str(value)


def add_list(
    columns: dict[str, Value], name: str, values: list[Any], depth: int, left: Iterator[int]
) -> None:
    """Add to `columns` what a list holds: its texts and lists under its name, and what its objects
    have under each of their keys as a list. null is nothing."""
    take(left, len(values))
    lists: dict[str, list[Value]] = {} if values else {name: []}
    for value in values:
        if isinstance(value, str):
            lists.setdefault(name, []).append(clean(value))
            continue
        inner: dict[str, Value] = {}
        if value is not None:
            add_columns(inner, name, value, depth + 1, left)
        for key, value in inner.items():
            lists.setdefault(key, []).append(value)
    for key, texts in lists.items():
        columns[key] = tuple(texts)


def without_edges(value: Any) -> Any:
    """The list in GraphQL's {"edges": [{"node": ...}]} and {"nodes": [...]}; other values as they
    are."""
    if isinstance(value, dict):
        edges, nodes = value.get("edges"), value.get("nodes")
        if isinstance(edges, list):
            return [edge.get("node") for edge in edges if isinstance(edge, dict)]
        if isinstance(nodes, list):
            return nodes
    return value


def in_order(values: list[Any] | tuple[Any, ...]) -> list[Any]:
    """A list, sorted by `position` if all its values are objects with a number there."""
    try:
        return sorted(values, key=lambda value: float(value["position"]))
    except (TypeError, ValueError, KeyError, IndexError):
        return list(values)


def clean(text: str) -> str:
    """Text that SQLite can hold: JSON can escape what a line of text can't hold."""
    if "\0" in text:
        text = text.replace("\0", " ")
    return text if text.isascii() else storable(text)
