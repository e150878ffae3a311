"""The category tree: parents, paths in the shop's words, names a person may use, and the leaves to
classify.

In: an open crawl.db. Out: category ids, or their rows.
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Callable, Sequence

import db
from common.terminal import UserError
from common.text import folded


def parents(conn: sqlite3.Connection) -> dict[str, str]:
    """{leaf id: id of its immediate parent}, the leaf itself if there is none. The root is
    nobody's parent: it does not stand in a path."""
    ids = {}
    for row in db.categories(conn):
        above = row["path"].split("/")[-2:-1] if row["path"] else [row["parent"]]
        ids[row["id"]] = above[0] if above and above[0] else row["id"]
    return ids


def readable_paths(conn: sqlite3.Connection, clean: Callable[[str], str] = str) -> dict[str, str]:
    """{category id: its path in the shop's words, cleaned one by one, from the top to it}."""
    rows = {row["id"]: row for row in db.categories(conn)}

    def name(category):
        return clean((rows[category]["name"] if category in rows else None) or category)

    return {
        category: " > ".join(map(name, row["path"].split("/") if row["path"] else [category]))
        for category, row in rows.items()
    }


def leaf_names(conn: sqlite3.Connection) -> dict[str, str]:
    """{what a person may call a leaf, in lower case: its id}: its id, its path in the shop's words,
    and the last part of that if only one leaf has it. Blanks in a row count as one."""
    leaves = [row["id"] for row in db.categories(conn) if row["leaf"]]
    readable = readable_paths(conn)
    paths = {leaf: folded(readable[leaf]) for leaf in leaves}
    by_last_part: dict[str, list[str]] = {}
    for leaf, path in paths.items():
        by_last_part.setdefault(path.split(" > ")[-1], []).append(leaf)
    # An id counts before a path, and a path before the last part of another one.
    return {
        **{part: ids[0] for part, ids in by_last_part.items() if len(ids) == 1},
        **{path: leaf for leaf, path in paths.items()},
        **{folded(leaf): leaf for leaf in leaves},
    }


def choose_leaves(
    conn: sqlite3.Connection, wanted: Sequence[str], min_products: int
) -> list[sqlite3.Row]:
    """The leaves to classify, as rows in path order: those named in `wanted` (ids, or a leaf's own
    slug if only one has it), or without names all with at least min_products products.

    Raises UserError for a name that is unknown (with the nearest ones) or that several leaves have.
    """
    leaves = [row for row in db.categories(conn) if row["leaf"]]
    if not wanted:
        return large_leaves(leaves, min_products)
    ids_by_name: dict[str, list[str]] = {}
    for leaf in leaves:
        for name in dict.fromkeys((leaf["id"], leaf["id"].split(".")[-1])):
            ids_by_name.setdefault(name, []).append(leaf["id"])
    chosen = {leaf_called(name, ids_by_name) for name in wanted}
    return [leaf for leaf in leaves if leaf["id"] in chosen]


def large_leaves(leaves: list[sqlite3.Row], min_products: int) -> list[sqlite3.Row]:
    """The rows of leaves with so many products. Raises UserError if there is none."""
    large = [leaf for leaf in leaves if leaf["product_count"] >= min_products]
    if large:
        return large
    most = max((leaf["product_count"] for leaf in leaves), default=0)
    if not most:
        raise UserError("no product has a category: load some that have one with crawl.py")
    raise UserError(
        f"no leaf has {min_products} products (the largest has {most}); "
        "lower --min-products, name some with --categories, or crawl more"
    )


def leaf_called(name: str, ids_by_name: dict[str, list[str]]) -> str:
    """The id of the leaf that has this id, or else this slug."""
    ids = ids_by_name.get(name, [])
    if name in ids:
        return name
    if len(ids) > 1:
        raise UserError(f"several leaves are called '{name}': name one of {', '.join(ids)}")
    if ids:
        return ids[0]
    nearest = difflib.get_close_matches(name.lower(), ids_by_name, n=3, cutoff=0.4)
    if nearest:
        hint = f"the nearest: {', '.join(nearest)}"
    elif ids_by_name:
        hint = f"there are {', '.join(list(ids_by_name)[:3])} and others"
    else:
        hint = "crawl first"
    raise UserError(f"there is no leaf category '{name}'; {hint}")
