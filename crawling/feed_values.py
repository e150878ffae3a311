"""A nested value of JSON -> the columns of a row.

In: what a JSON decoder gives for a product. Out: names and values: {"image": {"url": "u"}} is a
column `image.url`, and a list of objects is a column for each of their keys, with a list in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from common.text import storable
from crawling.feed_types import Names, Value

DEEPEST = 20  # levels of a value that are looked at
LONGEST_NAME = 500  # characters; a longer name is cut
MOST_NAMES = 1000  # rows of so many kinds share the object that holds their names
WORDS = {True: "true", False: "false", None: ""}


class SameNames:
    """Gives rows with the same names one object for them, so that comparing them costs nothing."""

    def __init__(self) -> None:
        self.known: dict[Names, Names] = {}

    def of(self, names: Iterable[str]) -> Names:
        """The names, without what SQLite can't hold."""
        names = tuple(names)
        same = self.known.get(names)
        if same is None:
            same = tuple(map(clean, names))
            if len(self.known) < MOST_NAMES:
                self.known[names] = same
        return same


def flattened(item: dict[str, Any]) -> dict[str, Value]:
    """{name: value} of an object and of all that is in it."""
    columns: dict[str, Value] = {}
    for key, value in item.items():
        key = key[:LONGEST_NAME]
        if isinstance(value, str):  # as most are
            columns[key] = clean(value)
        else:
            add_columns(columns, key, value, 1)
    return columns


def add_columns(columns: dict[str, Value], name: str, value: Any, depth: int) -> None:
    """Add to `columns` what a value holds."""
    value = without_edges(value)
    if isinstance(value, str):
        columns[name] = clean(value)
    elif depth > DEEPEST:
        columns[name] = ""
    elif isinstance(value, dict):
        if not value:
            columns[name] = ""
        for key, inner in value.items():
            add_columns(columns, f"{name}.{key}"[:LONGEST_NAME], inner, depth + 1)
    elif isinstance(value, (list, tuple)):
        add_list(columns, name, in_order(value), depth)
    else:
        columns[name] = WORDS[value] if value in (True, False, None) else str(value)


def add_list(columns: dict[str, Value], name: str, values: list[Any], depth: int) -> None:
    """Add to `columns` what a list holds: its texts and lists under its name, and what its objects
    have under each of their keys as a list. null is nothing."""
    lists: dict[str, list[Value]] = {} if values else {name: []}
    for value in values:
        if isinstance(value, str):
            lists.setdefault(name, []).append(clean(value))
            continue
        inner: dict[str, Value] = {}
        if value is not None:
            add_columns(inner, name, value, depth + 1)
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
