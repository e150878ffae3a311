"""The category tree as moves see it: where each category stands, and where a move puts it.

In: crawl.db. Out: a Tree, whose categories are found by id or by path, and the places of moves.
moves_file.py reads a person's lines against it, and recategorize.py makes the moves:

    python analyze.py --recategorize moves.csv
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import db
from common.terminal import UserError
from common.text import folded, printable

Key = tuple[str, ...]  # a path as it is compared


class Place(NamedTuple):
    """Where a category stands, or is to stand."""

    root: str | None  # of an API's tree, whose root stands in no path; None for a feed's
    words: tuple[str, ...]  # the shop's, from the top to it; () for a root


class Tree(NamedTuple):
    """All categories of crawl.db."""

    rows: dict[str, sqlite3.Row]  # by id
    steps: dict[str, list[str]]  # ids from the top to the category; [] of an API's root
    places: dict[str, Place]
    ids: dict[Key, list[str]]  # by path; several trees may have the same one


class Move(NamedTuple):
    """A line of the file that can be used."""

    line: int
    category: str  # its id
    place: Place | None  # where it is to stand; None: its products wait to be filed
    target: str | None  # the id of the category that stands there already, None if none does
    source: str  # the category, as the line calls it


def key_of(words: Sequence[str]) -> Key:
    """A path as it is compared."""
    return tuple(folded(part) for part in printable(" > ".join(words)).split(">"))


def path_text(place: Place) -> str:
    """A place in the shop's words."""
    return " > ".join(place.words)


def read_tree(conn: sqlite3.Connection) -> Tree:
    """The Tree of a crawl.db."""
    rows = {row["id"]: row for row in db.categories(conn)}
    tree = Tree(rows, {}, {}, {})
    for category in rows:
        steps = steps_of(category, rows)
        if not set(steps) <= set(rows) or steps[-1:] not in ([], [category]):
            raise UserError(
                f"the path of the category {category!r} in crawl.db is {rows[category]['path']!r}, "
                "and not the ids of categories from the top to it: nothing is changed; correct it, "
                "or load the feed again"
            )
        words = tuple(named(step, rows) for step in steps)
        place = Place(root_of(steps[0] if steps else category, rows), words)
        tree.steps[category], tree.places[category] = steps, place
        tree.ids.setdefault(key_of(words), []).append(category)
    return tree


def steps_of(category: str, rows: Mapping[str, sqlite3.Row]) -> list[str]:
    """The ids from the top to a category. Files of 2016 have no path for inner categories."""
    if rows[category]["path"]:
        return rows[category]["path"].split("/")
    steps = []
    while category in rows and rows[category]["parent"] and category not in steps:
        steps.append(category)
        category = rows[category]["parent"]
    return steps[::-1]


def root_of(top: str, rows: Mapping[str, sqlite3.Row]) -> str | None:
    """The root of an API's tree that a top category is of, or that it is; None for a feed's."""
    if top not in rows:
        return None
    if rows[top]["parent"]:
        return rows[top]["parent"]
    return None if rows[top]["path"] else top


def named(category: str, rows: Mapping[str, sqlite3.Row]) -> str:
    """The shop's word for a category. Files of 2016 have none."""
    return (rows[category]["name"] if category in rows else None) or category


def place_then(tree: Tree, category: str, move: Move) -> Place | None:
    """Where a category is to stand by the line that moves it or a category above it."""
    if move.place is None:
        return None
    below = tree.places[category].words[len(tree.places[move.category].words) :]
    return Place(move.place.root, (*move.place.words, *below))


def is_below(place: Place, above: Place) -> bool:
    """Whether one place lies below another one."""
    key, top = key_of(place.words), key_of(above.words)
    return place.root == above.root and len(key) > len(top) and key[: len(top)] == top
