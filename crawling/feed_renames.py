"""Categories that a feed has renamed, moved or merged, found by the products that were in them.

In: crawl.db in the middle of a load, when all products are stored. Out: moves of categories, in
words and as a CSV file that analyze.py --recategorize reads.

    python crawl.py --feed new.tsv --dry-run --write-moves moves.csv
    python analyze.py --recategorize moves.csv
    python crawl.py --feed new.tsv
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from common.files import replacing
from common.terminal import command, counted
from common.text import csv_line, folded, one_line
from crawling import refiled_queries
from crawling.feed_load import FeedOptions, Load, Move
from crawling.feed_types import Path

MOST = 0.9  # of the products of a moved category are together in another one
FEWEST = 3  # of these products; fewer are enough if they were all, and the other one is new
SHOWN = 5  # moves, in words
COLUMNS = ("from", "to", "products")


class Leaving(NamedTuple):
    """What this load did with the products of a category, as far as the feed has them."""

    target: str | None  # the category that most of those that left are in now
    together: int  # how many these are
    gone: int  # how many left, for any category or for none
    left: int  # how many are listed there now, without those that came from another category

    @property
    def is_empty(self) -> bool:
        """Whether there are no products left, or hardly any."""
        return self.gone >= MOST * (self.gone + self.left)

    @property
    def moved_to(self) -> str | None:
        """The category that most of the products are in now, None if there is none."""
        return self.target if self.together >= MOST * (self.gone + self.left) else None


@dataclasses.dataclass
class Search:
    """What find_moves looks at."""

    load: Load
    sizes: Mapping[str, int]  # {id: products} of the categories that were there before the load
    leavings: dict[str, Leaving]  # of the categories that products have left
    of_others: set[str]  # the categories that products of other shops are filed under
    children: dict[str | None, list[str]]


# ---- finding moves ------------------------------------------------------------------------------


def find_moves(load: Load, sizes: Mapping[str, int]) -> list[Move]:
    """The categories that this load has emptied into another one, most products first; `sizes` is
    {id: products} of the categories that were there before. If what lies below a category went
    along, and keeps the rest of its path, there is one move for all of it. A category that another
    shop files products under does not move: that shop has not renamed it."""
    leavings = read_leavings(load)
    if not leavings:
        return []
    children: dict[str | None, list[str]] = defaultdict(list)
    for category, parent in load.tree.parents.items():
        children[parent].append(category)
    of_others = refiled_queries.categories_of_others(load.conn, load.options.source)
    search = Search(load, sizes, leavings, of_others, children)
    moves: dict[str, str] = {}
    found = []
    for source, targets in candidates(search):
        for target, products in likeliest(search, source, targets):
            if went_along(load, moves, source, target):
                break
            if is_move(search, source, target, products):
                moves[source] = target
                found.append(Move(words(load, source), words(load, target), products))
                break
    return sorted(found, key=lambda move: -move.products)


def read_leavings(load: Load) -> dict[str, Leaving]:
    """{category of the feed's tree: Leaving} of the categories that products have left."""
    leavings = {}
    rows = refiled_queries.refilings(load.conn)
    for category, targets in itertools.groupby(rows, key=lambda row: row[0]):
        if category in load.tree.parents:
            (_, target, together), *others = targets
            gone = together + sum(products for _, _, products in others)
            # It is not empty then, and more need not be counted.
            left = count_left(load, category, int(gone / MOST - gone) + 1)
            leavings[category] = Leaving(target, together, gone, left)
    return leavings


def count_left(load: Load, category: str, most: int) -> int:
    """How many products of the feed are in a category, up to `most`; see Leaving.left."""
    return refiled_queries.count_listed(load.conn, load.options.source, category, most)


def candidates(search: Search) -> list[tuple[str, Counter[str]]]:
    """[(category, {where it may have moved: products})], those near the top first."""
    load = search.load
    targets: dict[str, Counter[str]] = defaultdict(Counter)
    for category, leaving in search.leavings.items():
        if leaving.moved_to in load.tree.parents:
            for source, target in pairs(load, category, leaving.moved_to):
                targets[source][target] += leaving.together
    return sorted(targets.items(), key=lambda entry: len(steps(load, entry[0])))


def likeliest(search: Search, source: str, targets: Counter[str]) -> Iterator[tuple[str, int]]:
    """(category, products) of where a category's own products have moved, and of where most of what
    lies in it and below it has."""
    own = search.leavings[source].moved_to if source in search.leavings else None
    if own is not None and own in targets:
        yield own, targets[own]
    yield from targets.most_common(1)


def went_along(load: Load, moves: Mapping[str, str], source: str, target: str) -> bool:
    """Whether the move of a category above brings one to its target."""
    for above, beside in pairs(load, source, target):
        if above in moves:
            return moves[above] == beside
    return False


def pairs(load: Load, source: str, target: str) -> Iterator[tuple[str, str]]:
    """(source, target), and the categories above both as long as the rest of the path is the same:
    for A > B > C and A > D > C also A > B and A > D. Of these none is above the other."""
    names, parents = load.tree.names, load.tree.parents
    yield source, target
    while folded(names[source]) == folded(names[target]):
        above, beside = parents[source], parents[target]
        if not above or not beside:
            return
        if above in steps(load, beside) or beside in steps(load, above):
            return
        yield above, beside
        source, target = above, beside


def is_move(search: Search, source: str, target: str, products: int) -> bool:
    """Whether a category has moved to `target`, as so many products in it and below it have. If its
    own did, others below it may have moves of their own."""
    branch = list(below(search, source))
    if source in steps(search.load, target) or not is_empty(search, branch):
        return False
    leavings = [search.leavings[category] for category in branch if category in search.leavings]
    there = sum(leaving.gone + leaving.left for leaving in leavings)
    before = sum(search.sizes.get(category, 0) for category in branch)
    own = search.leavings.get(source)
    if own and own.moved_to == target:
        are_most = own.together >= search.sizes.get(source, 0) / 2
    else:
        are_most = products > there / 2 and products >= before / 2
    if sum(leaving.together for leaving in leavings if leaving.moved_to) < MOST * there:
        return False
    is_all = products == there and products >= before and target not in search.sizes
    return are_most and (products >= FEWEST or is_all)


def is_empty(search: Search, branch: Sequence[str]) -> bool:
    """Whether hardly any product of the feed is left in these categories, and none of another
    shop."""
    if not search.of_others.isdisjoint(branch):
        return False
    leavings = [search.leavings.get(category) for category in branch]
    return all(leaving.is_empty for leaving in leavings if leaving) and not any(
        count_left(search.load, category, 1)
        for category, leaving in zip(branch, leavings)
        if not leaving
    )


def below(search: Search, category: str) -> Iterator[str]:
    """The category and all that lie below it."""
    waiting = [category]
    while waiting:
        category = waiting.pop()
        yield category
        waiting += search.children.get(category, ())


def steps(load: Load, category: str) -> list[str]:
    """The ids from the top to a category."""
    return load.tree.path(category).split("/")


def words(load: Load, category: str) -> Path:
    """The names from the top to a category."""
    return tuple(load.tree.names[step] for step in steps(load, category))


# ---- telling of them ----------------------------------------------------------------------------


def move_lines(moves: Sequence[Move], options: FeedOptions, dry_run: bool) -> list[str]:
    """Sentences about moves that a load or a dry run has found, for stderr: which they are, and
    what to do."""
    file = options.moves_file
    if not moves:
        return [f"no category has been renamed or moved: {file} has no line"] if file else []
    lines = [
        f"{counted(move.products, 'product')} of {path_text(move.source)} "
        f"{'is' if move.products == 1 else 'are'} now in {path_text(move.target)}"
        for move in moves[:SHOWN]
    ]
    if len(moves) > SHOWN:
        rest = len(moves) - SHOWN
        lines.append(f"and {counted(rest, 'more category', 'more categories')} moved like these")
    left_out = sum(not is_writable(move) for move in moves)
    if file and left_out:
        are = "move is" if left_out == 1 else "moves are"
        lines.append(f"{left_out} {are} not in {file}, because a name has '>' in it")
    return [*lines, advice(options, dry_run)]


def advice(options: FeedOptions, dry_run: bool) -> str:
    """What to do about moves."""
    file, db_path = options.moves_file, options.db_path
    rename = command("analyze", "--recategorize", file or "FILE", db_path=db_path)
    keeps = "experiments, decisions and models keep their categories"
    if file:
        if dry_run:
            return f"run {rename} before you load the feed, and {keeps}"
        return f"the old categories are empty now: run {rename}, and {keeps}"
    if dry_run:
        return (
            "if these categories have other names now, --dry-run --write-moves FILE writes a file "
            f"of them: run {rename} before you load the feed, and {keeps}"
        )
    return (
        "the old categories are empty now: if they have other names, write these moves as columns "
        f"from,to into a CSV file FILE, run {rename}, and {keeps}"
    )


def path_text(path: Path) -> str:
    return one_line(" > ".join(path))


def write_moves(path: str, moves: Sequence[Move]) -> None:
    """Write moves as a CSV file, one a line, whole or not at all."""
    with replacing(path) as beside, open(beside, "w", encoding="utf-8", newline="") as file:
        file.write(csv_line(COLUMNS) + "\n")
        for move in filter(is_writable, moves):
            cells = path_text(move.source), path_text(move.target), move.products
            file.write(csv_line(cells) + "\n")


def is_writable(move: Move) -> bool:
    """Whether the levels of both paths can be told apart when they are read back."""
    return not any(">" in name for name in (*move.source, *move.target))
