"""The category tree: parents, paths in the shop's words, names a person may use, and the leaves to
classify.

In: an open crawl.db. Out: category ids, or their rows.
"""
import difflib

import db
from common.terminal import UserError
from common.text import folded


def parents(conn):
    """{leaf id: id of its immediate parent}, the leaf itself where there is none. The root is
    nobody's parent: it does not stand in a path."""
    ids = {}
    for row in db.categories(conn):
        above = row["path"].split("/")[-2:-1] if row["path"] else [row["parent"]]
        ids[row["id"]] = above[0] if above and above[0] else row["id"]
    return ids


def readable_paths(conn, clean=str):
    """{category id: its path in the shop's words, cleaned one by one, from the top to it}."""
    rows = {row["id"]: row for row in db.categories(conn)}

    def name(own):
        return clean((rows[own]["name"] if own in rows else None) or own)

    return {own: " > ".join(map(name, row["path"].split("/"))) if row["path"] else name(own)
            for own, row in rows.items()}


def leaf_names(conn):
    """{what a person may call a leaf, in lower case: its id}: its id, its path in the shop's words,
    and the last part of that where only one leaf has it. Blanks in a row count as one."""
    paths, found, last = readable_paths(conn), {}, {}
    for row in db.categories(conn):
        if row["leaf"]:
            path = folded(paths[row["id"]])
            last.setdefault(path.split(" > ")[-1], []).append(row["id"])
            found[path] = row["id"]
    found = {**{name: ids[0] for name, ids in last.items() if len(ids) == 1}, **found}
    return {**found, **{folded(row["id"]): row["id"] for row in db.categories(conn) if row["leaf"]}}


def choose_leaves(conn, wanted, min_products):
    """The leaves to classify, as rows in path order: those named in `wanted` (ids, or a leaf's own
    slug where only one has it), or without names all with at least min_products products.

    Raises UserError for a name that is unknown (with the nearest ones) or that several leaves have.
    """
    leaves = [row for row in db.categories(conn) if row["leaf"]]
    if not wanted:
        return large_leaves(leaves, min_products)
    ids_by_name = {}
    for leaf in leaves:
        for name in {leaf["id"], leaf["id"].split(".")[-1]}:
            ids_by_name.setdefault(name, []).append(leaf["id"])
    chosen = {leaf_called(name, ids_by_name) for name in wanted}
    return [leaf for leaf in leaves if leaf["id"] in chosen]


def large_leaves(leaves, min_products):
    """The rows of leaves with so many products. Raises UserError where there is none."""
    large = [leaf for leaf in leaves if leaf["product_count"] >= min_products]
    if large:
        return large
    most = max((leaf["product_count"] for leaf in leaves), default=0)
    if not most:
        raise UserError("no product has a category: load some that have one with crawl.py")
    raise UserError(f"no leaf has {min_products} products (the largest has {most}); "
                    "lower --min-products, name some with --categories, or crawl more")


def leaf_called(name, ids_by_name):
    """The id of the leaf that has this id, or else this slug."""
    ids = ids_by_name.get(name, [])
    if name in ids:
        return name
    if len(ids) > 1:
        raise UserError(f"several leaves are called '{name}': name one of {', '.join(ids)}")
    if ids:
        return ids[0]
    nearest = difflib.get_close_matches(name.lower(), ids_by_name, n=3, cutoff=.4)
    if nearest:
        hint = f"the nearest: {', '.join(nearest)}"
    elif ids_by_name:
        hint = f"there are {', '.join(list(ids_by_name)[:3])} and others"
    else:
        hint = "crawl first"
    raise UserError(f"there is no leaf category '{name}'; {hint}")
