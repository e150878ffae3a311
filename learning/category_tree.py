"""The category tree: which categories are classes, their parents, their paths in the shop's words,
and the names that a person may use.

In: an open crawl.db. Out: category ids, or their rows.
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import db
from common.terminal import UserError
from common.text import folded

Row = sqlite3.Row | Mapping[str, Any]  # of the table category


class Rule(NamedTuple):
    """Which categories count as classes, and which count as the category above them."""

    depth: int | None = None  # categories deeper than so many levels below the root count as their
    #                           ancestor at that level
    leaves_only: bool = False  # categories that have others below them are no classes


WHOLE_TREE = Rule()


def rule_of(settings: Mapping[str, Any]) -> Rule:
    """The Rule of an experiment by its settings, which anybody may have written. Experiments that
    have none on record knew leaves only."""
    tree = settings.get("tree")
    if not isinstance(tree, dict):
        return Rule(leaves_only=True)
    depth = tree.get("depth")
    return Rule(depth if type(depth) is int and depth > 0 else None, bool(tree.get("leaves only")))


def levels(row: Row) -> list[str]:
    """The ids from the top to a category, a row of the table; [] for a root."""
    if row["path"]:
        return row["path"].split("/")
    return [row["id"]] if row["leaf"] else []


def counts_as(
    conn: sqlite3.Connection, rule: Rule, categories: Iterable[Row] | None = None
) -> dict[str, str]:
    """{category id: id of the class that its products count as}, in path order, without categories
    that are no part of a class. `categories` are the rows of another tree than today's."""
    classes = {}
    for row in db.categories(conn) if categories is None else categories:
        above = levels(row)
        if rule.depth and len(above) >= rule.depth:
            classes[row["id"]] = above[rule.depth - 1]
        elif row["leaf"] or above and not rule.leaves_only:
            classes[row["id"]] = row["id"]
    return classes


def parents(
    conn: sqlite3.Connection, rule: Rule, categories: Iterable[Row] | None = None
) -> dict[str, str]:
    """{category id: id of its parent}. The parent of a category without others below it is the one
    immediately above, or itself at the top (the root is nobody's parent). If inner categories are
    classes, the parent of such a one is itself: it parts the classes below it from all others.
    `categories` are the rows of another tree than today's."""
    ids = {}
    for row in db.categories(conn) if categories is None else categories:
        above = levels(row)
        is_inner = not row["leaf"] and not (rule.depth and len(above) >= rule.depth)
        if is_inner and not rule.leaves_only:
            ids[row["id"]] = row["id"]
        elif row["path"]:
            ids[row["id"]] = above[-2] if len(above) > 1 else row["id"]
        else:  # a row of 2016 may have no path
            ids[row["id"]] = row["parent"] or row["id"]
    return ids


def readable_paths(
    conn: sqlite3.Connection,
    clean: Callable[[str], str] = str,
    categories: Iterable[Row] | None = None,
) -> dict[str, str]:
    """{category id: its path in the shop's words, cleaned one by one, from the top to it}.
    `categories` are the rows of another tree than today's."""
    rows = {row["id"]: row for row in (db.categories(conn) if categories is None else categories)}

    def name(category):
        return clean((rows[category]["name"] if category in rows else None) or category)

    return {
        category: " > ".join(map(name, row["path"].split("/") if row["path"] else [category]))
        for category, row in rows.items()
    }


def category_names(conn: sqlite3.Connection) -> dict[str, str]:
    """{what a person may call a category, in lower case: its id}: its id, its path in the shop's
    words, and the last part of that if only one leaf has it, or no leaf and one inner category.
    Blanks in a row count as one."""
    rows = {row["id"]: row for row in db.categories(conn) if levels(row)}
    readable = readable_paths(conn)
    paths = {category: folded(readable[category]) for category in rows}
    # An id counts before a path, a path before the last part of another one, and the last part of a
    # leaf before that of an inner category.
    return {
        **last_parts(category for category in paths.items() if not rows[category[0]]["leaf"]),
        **last_parts(category for category in paths.items() if rows[category[0]]["leaf"]),
        **{path: category for category, path in paths.items()},
        **{folded(category): category for category in rows},
    }


def last_parts(paths: Iterable[tuple[str, str]]) -> dict[str, str]:
    """{last part of a path: category id} of (category id, path), without what several have."""
    ids: dict[str, list[str]] = {}
    for category, path in paths:
        ids.setdefault(path.split(" > ")[-1], []).append(category)
    return {part: categories[0] for part, categories in ids.items() if len(categories) == 1}


def classes_called(conn: sqlite3.Connection, wanted: Sequence[str], rule: Rule) -> list[str]:
    """The classes named in `wanted` (ids, or a category's own slug if only one has it), in path
    order. Raises UserError for a name that is unknown (with the nearest ones), that several have,
    or that counts as a category above it."""
    classes = counts_as(conn, rule)
    ids_by_name: dict[str, list[str]] = {}
    for category in dict.fromkeys(classes.values()):
        for name in dict.fromkeys((category, category.split(".")[-1])):
            ids_by_name.setdefault(name, []).append(category)
    chosen = {class_called(name, ids_by_name, classes) for name in wanted}
    return [category for category in dict.fromkeys(classes.values()) if category in chosen]


def class_called(
    name: str, ids_by_name: Mapping[str, Sequence[str]], classes: Mapping[str, str]
) -> str:
    """The id of the class that has this id, or else this slug. classes are counts_as."""
    ids = ids_by_name.get(name, [])
    if name in ids:
        return name
    if len(ids) > 1:
        raise UserError(f"several categories are called '{name}': name one of {', '.join(ids)}")
    if ids:
        return ids[0]
    if name in classes:
        raise UserError(
            f"'{name}' is deeper than --depth, and counts as {classes[name]}: name that one"
        )
    nearest = difflib.get_close_matches(name.lower(), ids_by_name, n=3, cutoff=0.4)
    if nearest:
        hint = f"the nearest: {', '.join(nearest)}"
    elif ids_by_name:
        hint = f"there are {', '.join(list(ids_by_name)[:3])} and others"
    else:
        hint = "crawl first"
    raise UserError(f"there is no category '{name}'; {hint}")
