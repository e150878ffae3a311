"""Which categories a person wants renamed, moved or merged, from a CSV file with `from` and `to`.

In: the file and the category tree as it is. Out: moves that can be made together, and the lines
that can't be used, with the reason. Each line is read against the tree as it is before the file, so
that two categories may change places. recategorize.py makes the moves:

    python analyze.py --recategorize moves.csv
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import db
from common.terminal import UserError
from common.text import DEEPEST_PATH, LONGEST_PATH, folded, is_short, printable, slug, tidy
from evaluation.csv_file import MORE, NAMED, read_csv, unquoted

Key = tuple[str, ...]  # a path as it is compared
LONGEST = 500  # characters of a new path in words


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


# ---- the tree -----------------------------------------------------------------------------------


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


# ---- the file -----------------------------------------------------------------------------------


def read_moves(
    tree: Tree, path: str, moved_before: Mapping[str, str]
) -> tuple[list[Move], list[tuple[int, str]]]:
    """(moves, unusable) of a CSV file: what can be done, one Move a category, and (line, reason) of
    each line that can't be used, by line. moved_before are recategorize.moved_before. Raises
    UserError if the file is no CSV with these columns."""
    names, rows = read_csv(path)
    if not {"from", "to"} <= names:
        raise UserError(
            f"{path} needs the columns from and to: in each line a category by its id or its path, "
            "such as Women > Jeans, and what becomes of it"
        )
    moves: list[Move] = []
    unusable: list[tuple[int, str]] = []
    for line, cells in rows:
        source, target = cells.get("from", ""), cells.get("to", "")
        if (source, target) == ("", "") or (source.lower(), target.lower()) == ("from", "to"):
            continue  # a blank line, or the header of a second file
        try:
            check_whole(cells)
            moves.append(read_line(tree, line, source, target, moved_before))
        except ValueError as problem:
            hint = nearest_text(tree, source) if len(unusable) < NAMED else ""
            unusable.append((line, str(problem) + hint))
    moves, twice = without_contradictions(moves)
    moves, too_deep = without_too_deep(tree, moves)
    moves, in_circles = without_circles(tree, moves)
    unusable += twice + too_deep + in_circles
    sources = {line: cells.get("from", "") for line, cells in rows}
    refused = {line: called(tree, sources[line])[0] for line, _ in unusable}
    moves, above_refused = without_refused_below(tree, moves, refused)
    return moves, sorted(unusable + above_refused)


def check_whole(cells: Mapping[str, str]) -> None:
    """Raise ValueError if a line has more cells than columns, or less: a name with a ',' that is
    not in quotes, or a file that was cut off, must not move or remove another category."""
    if MORE in cells:
        raise ValueError('it has more cells than columns: put a name with a comma in it into "..."')
    if "from" in cells and "to" not in cells:
        raise ValueError("it ends before the column to: if its products are to wait, add a comma")


def read_line(
    tree: Tree, line: int, source: str, target: str, moved_before: Mapping[str, str]
) -> Move:
    """The Move of a line. Raises ValueError with the reason if it can't be used."""
    if not source:
        raise ValueError("it names no category in the column from")
    categories, by_id = called(tree, source)
    category = only_one(categories, source)
    if category is None:
        key = " > ".join(key_of([source]))
        now = moved_before.get(key, "")
        raise ValueError(f"there is no category {source[:60]!r}{now}")
    own = tree.places[category]
    if not own.words:
        raise ValueError(f"{source!r} is the root of an API's tree, which stays: name one below it")
    if not target:
        return Move(line, category, None, None, source)
    there, _ = called(tree, target)
    beside = [twin for twin in there if tree.places[twin].root == own.root]
    goal = only_one(beside or there, target)
    place = tree.places[goal] if goal else Place(own.root, new_words(tree, target, by_id))
    if not goal and own.root and by_id and len(place.words) == 1:  # an API's id holds no path
        place = Place(own.root, (*own.words[:-1], *place.words))
    if not place.words:
        raise ValueError(f"{target!r} is the root of an API's tree: no product is filed there")
    if goal == category:  # letter case and blanks alone
        if ">" in target or target not in tree.rows:
            place = Place(own.root, (*own.words[:-1], new_words(tree, target, False)[-1]))
    elif is_below(place, own):
        raise ValueError(f"{target!r} lies below {source!r} itself")
    return Move(line, category, place, goal, source)


def called(tree: Tree, cell: str) -> tuple[list[str], bool]:
    """(categories that a cell may mean, whether it is their id). An id counts before a path."""
    for text in unquoted(cell):
        if text in tree.rows:
            return [text], True
        if key_of([text]) in tree.ids:
            return tree.ids[key_of([text])], False
    return [], False


def only_one(categories: Sequence[str], cell: str) -> str | None:
    """The one category, None without any. Raises ValueError if there are several."""
    if len(categories) > 1:
        listed = ", ".join(categories[:5])
        raise ValueError(
            f"several categories are called {cell[:60]!r}: name one by its id, {listed}"
        )
    return categories[0] if categories else None


def nearest_text(tree: Tree, cell: str) -> str:
    """The categories whose paths or ids are nearest to an unknown one, as the end of a sentence."""
    if not cell or called(tree, cell)[0]:
        return ""
    names = [path_text(place) for place in tree.places.values() if place.words]
    nearest = difflib.get_close_matches(cell[:200], [*names, *tree.rows], n=3, cutoff=0.6)
    return f"; the nearest: {', '.join(dict.fromkeys(nearest))}" if nearest else ""


def new_words(tree: Tree, cell: str, by_id: bool) -> tuple[str, ...]:
    """The path of a category that does not exist yet. Raises ValueError if it can't be one.

    It is a path in words, or an id as feeds give them (women.wide-jeans), if the line names the
    other category by its id too, or if an existing category has the id before the last '.'."""
    text = unquoted(cell)[0]
    if len(text) > LONGEST_PATH:
        raise ValueError(f"{cell[:60]!r} is too long for the name of a category")
    parts = text.split(".")
    slugs = ">" not in text and all(part and slug(part) == part for part in parts)
    if slugs and (by_id or ".".join(parts[:-1]) in tree.rows):
        for known in range(min(len(parts) - 1, DEEPEST_PATH), 0, -1):
            above = ".".join(parts[:known])
            if above in tree.rows:
                rest = [part.replace("-", " ") for part in parts[known:]]
                return (*tree.places[above].words, *rest)
        return tuple(part.replace("-", " ") for part in parts)
    words = tuple(tidy(part) for part in text.split(">"))
    if not all(words) or len(text) > LONGEST or any(printable(word) != word for word in words):
        raise ValueError(
            f"{cell[:60]!r} is no name for a new category: write it as Parent > Category"
        )
    return words


def place_then(tree: Tree, category: str, move: Move) -> Place | None:
    """Where a category is to stand by the line that moves it or a category above it."""
    if move.place is None:
        return None
    below = tree.places[category].words[len(tree.places[move.category].words) :]
    return Place(move.place.root, (*move.place.words, *below))


# ---- lines that speak against each other --------------------------------------------------------


def is_below(place: Place, above: Place) -> bool:
    """Whether one place lies below another one."""
    key, top = key_of(place.words), key_of(above.words)
    return place.root == above.root and len(key) > len(top) and key[: len(top)] == top


def without_contradictions(moves: Sequence[Move]) -> tuple[list[Move], list[tuple[int, str]]]:
    """(moves, unusable) without lines that say different things of one category; a line that says
    the same once more is passed over."""
    by_category: dict[str, list[Move]] = {}
    for move in moves:
        by_category.setdefault(move.category, []).append(move)
    kept, unusable = [], []
    for said in by_category.values():
        if len({move.place and (move.place.root, key_of(move.place.words)) for move in said}) == 1:
            kept.append(said[0])
            continue
        lines = ", ".join(str(move.line) for move in said[:5])
        reason = f"is moved to different categories (lines {lines})"
        unusable += [(move.line, f"{move.source[:60]!r} {reason}") for move in said]
    return kept, unusable


def without_too_deep(tree: Tree, moves: Sequence[Move]) -> tuple[list[Move], list[tuple[int, str]]]:
    """(moves, unusable) without those by which a category has more levels, or a longer name or path,
    than a load takes. Those below a category go along with it."""
    by_category = {move.category: move for move in moves}
    refused = set()
    for category, steps in tree.steps.items():
        move = next((by_category[step] for step in reversed(steps) if step in by_category), None)
        place = move and place_then(tree, category, move)
        if move and place and not (len(place.words) <= DEEPEST_PATH and is_short(place.words)):
            refused.add(move)
    reason = f"or what is below it would have more than {DEEPEST_PATH} levels, or too long a path"
    return [move for move in moves if move not in refused], [
        (move.line, f"{move.source[:60]!r} {reason}") for move in moves if move in refused
    ]


def without_circles(tree: Tree, moves: Sequence[Move]) -> tuple[list[Move], list[tuple[int, str]]]:
    """(moves, unusable) without categories that are to stand below each other."""
    by_key = {}
    for move in moves:
        own = tree.places[move.category]
        by_key[own.root, key_of(own.words)] = move
    number = {move.line: place for place, move in enumerate(moves)}
    waiting, awaited = [], []  # the lines of this category, and of one that it is to lie below
    for move in moves:
        root, words = move.place or Place(None, ())
        for length in range(1, len(words)):
            above = by_key.get((root, key_of(words[:length])))
            if above and above.place != tree.places[above.category]:
                waiting.append(number[move.line])
                awaited.append(number[above.line])
    circling = on_circles(waiting, awaited, len(moves))
    kept = [move for move, is_circling in zip(moves, circling) if not is_circling]
    return kept, [
        (move.line, "these lines put categories below each other in a circle")
        for move, is_circling in zip(moves, circling)
        if is_circling
    ]


def on_circles(starts: Sequence[int], ends: Sequence[int], count: int) -> NDArray[np.bool_]:
    """bool [count]: which of so many numbers lie on a circle of the edges from starts to ends: on
    an edge to themselves, or with another one in a strongly connected component. In linear time."""
    from scipy import sparse  # slow to import
    from scipy.sparse import csgraph

    edges = sparse.coo_matrix((np.ones(len(starts), bool), (starts, ends)), (count, count))
    _, component = csgraph.connected_components(edges, connection="strong")
    circling = np.bincount(component)[component] > 1
    circling[[start for start, end in zip(starts, ends) if start == end]] = True
    return circling


def without_refused_below(
    tree: Tree, moves: Sequence[Move], refused: Mapping[int, Sequence[str]]
) -> tuple[list[Move], list[tuple[int, str]]]:
    """(moves, unusable) without categories above one that a refused line names, {line: ids}: it was
    to go elsewhere, and would go along with them."""
    line_below = {
        above: line
        for line, categories in refused.items()
        for category in categories
        for above in tree.steps[category][:-1]
    }
    kept = [move for move in moves if move.category not in line_below]
    unusable = [
        (
            move.line,
            f"{move.source[:60]!r} has a category below it that line {line_below[move.category]} "
            "names, which can't be used",
        )
        for move in moves
        if move.category in line_below
    ]
    return kept, unusable
