"""The categories of a ShopStyle API: its answers -> rows of category, a tree within bounds.

In: a Shop of shopstyle_api.py, and the id of the root. Out: rows for api_crawl.py to store. A category
that is too deep, too long or in a circle is left out, counted and named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from common.terminal import counted, log
from common.text import (
    DEEPEST_PATH,
    LONGEST_LEVEL,
    LONGEST_PATH,
    MOST_CATEGORIES,
    MOST_PATHS,
    clean_text,
)
from crawling.http_client import GivenUp, Stopped, Unfinished, Unreachable
from crawling.queries import CategoryRow
from crawling.shopstyle_api import Shop, as_dict, drop_key


class Node(NamedTuple):
    """A category of a /categories answer."""

    id: str
    parent: str
    name: str


PlacedNode = tuple[str, "str | None", str, tuple[str, ...]]  # id, parent, name, path


def fetch_tree(shop: Shop, root: str) -> list[CategoryRow]:
    """The category tree below `root` as rows (id, parent, leaf, path, name), the root's row first.

    One request gets all of it. If the host answers only one level or none, each category is asked
    for what is below it. Raises http_client.Unfinished and UserError as Shop.get does.
    """
    answer = ask_for_tree(shop, root)
    nodes, unusable = child_nodes(answer, root, shop.key)
    if all(node.parent == root for node in nodes):
        lower, lower_unusable = lower_levels(shop, nodes, root)
        nodes, unusable = nodes + lower, unusable + lower_unusable
    if unusable:
        log(
            f"{counted(unusable, 'category', 'categories')} without a usable id (a text without / "
            f"and ,), or with one or a name of more than {LONGEST_LEVEL} characters: left out"
        )
    root_entry = as_dict(as_dict(answer.get("metadata")).get("root"))
    parent, name = root_entry.get("parentId"), clean_text(str(root_entry.get("name") or root))
    rows, too_deep = tree_rows(
        nodes[:MOST_CATEGORIES],
        root,
        clean_text(parent) if isinstance(parent, str) and len(parent) <= LONGEST_LEVEL else None,
        name if len(name) <= LONGEST_LEVEL else root,
    )
    log_left_out(nodes, rows, too_deep, root)
    return rows


def log_left_out(
    nodes: Sequence[Node], rows: Iterable[CategoryRow], too_deep: Collection[str], root: str
) -> None:
    """Log how many categories of an answer are not in the tree, and why."""
    left = {node.id for node in nodes}.difference(too_deep, (row[0] for row in rows))
    if too_deep:
        log(
            f"{counted(len(too_deep), 'category is', 'categories are')} more than {DEEPEST_PATH} "
            f"levels below {root}, or below ids that are too long in all, such as "
            f"{min(too_deep)[:50]}: left out"
        )
    if beyond := left.intersection(node.id for node in nodes[MOST_CATEGORIES:]):
        are = counted(len(beyond), "category is", "categories are")
        log(f"{are} beyond the first {MOST_CATEGORIES:,}: left out")
    if lost := sorted(left - beyond):
        have = counted(len(lost), "category has", "categories have")
        log(f"{have} no parent below {root}, such as {lost[0][:50]}: left out")


def ask_for_tree(shop: Shop, root: str) -> dict[str, Any]:
    """The host's answer about all categories below `root`, or only about the level below it."""
    try:
        return shop.get("categories", cat=root)
    except (Unreachable, GivenUp, Stopped):
        raise
    except Unfinished as problem:
        log(f"{problem}; asking for the tree level by level")
        return shop.get("categories", cat=root, depth=1)


def lower_levels(shop: Shop, top_level: list[Node], root: str) -> tuple[list[Node], int]:
    """All categories below those of the top level, each asked for what is below it, and how many
    entries of the answers are none. It ends at a host that answers the top level again, whatever it
    is asked for, and beyond MOST_CATEGORIES, because a host may name ever new ones."""
    top_ids, unusable = {node.id for node in top_level}, 0
    nodes = dict.fromkeys(top_level)
    waiting, asked = [(node, 1) for node in nodes], {root}
    while waiting and len(nodes) <= MOST_CATEGORIES:
        node, level = waiting.pop()
        if node.id in asked or level > DEEPEST_PATH:
            continue
        asked.add(node.id)
        answer = shop.get("categories", cat=node.id, depth=1)
        children, others = child_nodes(answer, node.id, shop.key)
        if top_ids.issubset(child.id for child in children):
            break
        unusable += others
        new_nodes = [child for child in dict.fromkeys(children) if child not in nodes]
        nodes.update(dict.fromkeys(new_nodes))
        waiting += [(child, level + 1) for child in new_nodes]
    return list(nodes)[len(set(top_level)) :], unusable


def tree_rows(
    nodes: Iterable[Node], root: str, root_parent: str | None, root_name: str
) -> tuple[list[CategoryRow], set[str]]:
    """The rows of the tree, level by level, and the ids that lie too deep or whose paths would be
    too long. A category under two parents stays with the first, and a cycle is never entered. A
    category with nothing below it that fits is a leaf, because its pages show what is below it."""
    children: dict[str, list[Node]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node)
    rows: list[CategoryRow] = []
    level: list[PlacedNode] = [(root, root_parent, root_name, ())]
    placed, too_deep, characters = {root}, list[str](), 0
    while level:
        next_level: list[PlacedNode] = []
        for category, parent, name, path in level:
            has_children = False
            for child in children.get(category, ()):
                length = sum(map(len, path)) + len(path) + len(child.id)
                if len(path) >= DEEPEST_PATH or length > LONGEST_PATH or characters > MOST_PATHS:
                    too_deep.append(child.id)
                    continue
                if child.id != root and child.id not in path:
                    has_children = True
                if child.id not in placed:
                    placed.add(child.id)
                    characters += length
                    next_level.append((child.id, category, child.name, (*path, child.id)))
            is_leaf = not has_children and category != root
            rows.append((category, parent, int(is_leaf), "/".join(path), name))
        level = next_level
    return rows, below(children, too_deep, placed)


def below(children: Mapping[str, list[Node]], ids: Iterable[str], placed: set[str]) -> set[str]:
    """These ids and all below them, without those that have a place elsewhere."""
    waiting, found = list(ids), set[str]()
    while waiting:
        category = waiting.pop()
        if category not in placed and category not in found:
            found.add(category)
            waiting += [child.id for child in children.get(category, ())]
    return found


def child_nodes(answer: dict[str, Any], root: str, key: str) -> tuple[list[Node], int]:
    """The categories of a /categories answer, and how many of its entries are none."""
    entries = answer.get("categories")
    if not isinstance(entries, list):
        return [], 0
    nodes = [
        Node(
            drop_key(entry["id"], key),
            drop_key(entry.get("parentId") or root, key),
            drop_key(str(entry.get("name") or ""), key),
        )
        for entry in entries
        if is_category(entry)
    ]
    return nodes, len(entries) - len(nodes)


def is_category(entry: Any) -> bool:
    """Whether an entry of a /categories answer has a usable id, and a parent's id or none."""
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        return False
    if entry.get("parentId") and not isinstance(entry["parentId"], str):
        return False
    category = entry["id"]
    if max(len(category), len(str(entry.get("name") or ""))) > LONGEST_LEVEL:
        return False
    return bool(category.isprintable() and category.strip()) and not set(category) & set("/,")
