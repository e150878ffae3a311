"""Which categories a person wants renamed, moved or merged, from a CSV file with `from` and `to`.

In: the file and the category tree as it is. Out: moves that can be made together, and the lines
that can't be used, with the reason. Each line is read against the tree as it is before the file, so
that two categories may change places. recategorize.py makes the moves:

    python analyze.py --recategorize moves.csv
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from common.terminal import UserError
from common.text import DEEPEST_PATH, LONGEST_PATH, printable, slug, tidy
from evaluation import moves_together
from evaluation.csv_file import MORE, NAMED, read_csv, unquoted
from evaluation.moves_tree import Move, Place, Tree, is_below, key_of, path_text

LONGEST = 500  # characters of a new path in words


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
    moves, twice = moves_together.without_contradictions(moves)
    moves, too_deep = moves_together.without_too_deep(tree, moves)
    moves, in_circles = moves_together.without_circles(tree, moves)
    unusable += twice + too_deep + in_circles
    sources = {line: cells.get("from", "") for line, cells in rows}
    refused = {line: called(tree, sources[line])[0] for line, _ in unusable}
    moves, above_refused = moves_together.without_refused_below(tree, moves, refused)
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
