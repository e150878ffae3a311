"""Which moves of categories can be made together.

In: moves, a line each, and the tree. Out: those that do not speak against each other, and the lines
that can't be used, with the reason. moves_file.py asks for it:

    python analyze.py --recategorize moves.csv
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from common.text import DEEPEST_PATH, is_short
from evaluation.moves_tree import Move, Place, Tree, key_of, place_then


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
