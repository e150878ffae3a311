"""Categories renamed, moved and merged: labels, tree and decisions change together, or not at all.

In: crawl.db, and a CSV file of moves, which moves_file.py reads. Out: the tree and all labels as
the file says, and in the table category_change what was. The ids are those that a feed with the new
paths gives, so that it finds the same categories when it is loaded.

    python analyze.py --recategorize moves.csv
    python analyze.py --undo-recategorize
"""

from __future__ import annotations

import collections
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import db
from common.terminal import UserError, counted, log
from common.text import MOST_CATEGORIES, MOST_PATHS, category_id, tidy
from evaluation import moves_file, recategorize_queries, recategorize_undo_queries, text_report
from evaluation.csv_file import first_lines
from evaluation.moves_tree import Key, Move, Place, Tree, key_of, path_text, place_then, read_tree
from evaluation.recategorize_queries import CategoryChange, NewCategory
from learning import queries as learning_queries


class Plan(NamedTuple):
    """What becomes of the tree."""

    now: dict[str, str | None]  # of each category that a line is about: its id then, None: it waits
    line_of: dict[str, Move]  # of each of these categories
    places: dict[str, Place | None]  # of each of these categories
    new: list[NewCategory]  # categories to create, parents first
    gone: set[str]  # ids that are no category any more
    words: dict[str, str]  # {id: the shop's word} of those that are written otherwise now


# ---- the plan -----------------------------------------------------------------------------------


def make_plan(tree: Tree, moves: Sequence[Move]) -> Plan:
    """The Plan of moves. A category goes with the nearest one above it that a line names."""
    by_category = {move.category: move for move in moves}
    line_of = {}
    for category, steps in tree.steps.items():
        named = [step for step in steps if step in by_category]
        if named:
            line_of[category] = by_category[named[-1]]
    places = {category: place_then(tree, category, move) for category, move in line_of.items()}
    now: dict[str, str | None] = {}
    kept = set(tree.rows) - set(line_of)
    for category, place in places.items():
        now[category] = place and existing(tree, place, line_of[category], category, kept)
        kept |= kept_by(tree, now[category], place)
    new = new_categories(tree, places, now, kept)
    return Plan(now, line_of, places, new, set(line_of) - kept, changed_words(tree, moves))


def existing(tree: Tree, place: Place, move: Move, category: str, staying: set[str]) -> str | None:
    """The id of the category at a place, in the tree as it is; None if there is none. A category
    that stays goes before one that goes away."""
    if category == move.category and move.target:
        return move.target
    here = categories_at(tree, place)
    if category in here:
        return category
    return next((twin for twin in here if twin in staying), here[0] if here else None)


def categories_at(tree: Tree, place: Place) -> list[str]:
    """The ids of the categories at a place: at most one, but an API may have twins."""
    here = tree.ids.get(key_of(place.words), ())
    return [twin for twin in here if tree.places[twin].root == place.root]


def kept_by(tree: Tree, category: str | None, place: Place | None) -> set[str]:
    """The ids of the category at a place and of those above it, as far as they exist."""
    if category:
        return {category, *tree.steps[category]}
    kept: set[str] = set()
    root, words = place or Place(None, ())
    for length in range(1, len(words)):
        for above in categories_at(tree, Place(root, words[:length]))[:1]:
            kept.update(tree.steps[above])
    return kept


def new_categories(
    tree: Tree, places: Mapping[str, Place | None], now: dict[str, str | None], kept: set[str]
) -> list[NewCategory]:
    """The categories to create, parents first; `now` gets their ids. kept are the ids of the
    others. Raises UserError if they are more than a load takes."""
    taken = set(kept)
    made: dict[tuple[str | None, Key], NewCategory] = {}
    characters = 0  # of their paths

    def make(place: Place, source: str | None) -> tuple[str | None, str]:
        """(id, path) of a category at a place, which is created if there is none."""
        nonlocal characters
        if not place.words:
            return place.root, ""
        key = place.root, key_of(place.words)
        for known in categories_at(tree, place):
            if known in kept:
                return known, "/".join(tree.steps[known])
        if key not in made:
            parent, path = make(Place(place.root, place.words[:-1]), None)
            # The ids of an API are slugs of the last word alone.
            made_id = category_id(None if place.root else parent, place.words, taken)
            taken.add(made_id)
            path = f"{path}/{made_id}" if path else made_id
            characters += len(path)
            if len(made) >= MOST_CATEGORIES or characters > MOST_PATHS:
                raise UserError(
                    f"the file would make more than {MOST_CATEGORIES:,} categories, or paths of more "
                    f"than {MOST_PATHS / 1e6:.0f} MB, and nothing is changed: split it"
                )
            unknown = int(bool(place.root) and made_id != source)
            made[key] = NewCategory(made_id, parent, path, place.words[-1], source, unknown)
        return made[key].id, made[key].path

    for category, place in places.items():  # in path order, so that parents come first
        if place and not now[category]:
            now[category], _ = make(place, category)
    return list(made.values())


def changed_words(tree: Tree, moves: Sequence[Move]) -> dict[str, str]:
    """{id: word} of the categories whose word is merely written otherwise."""
    return {
        move.category: move.place.words[-1]
        for move in moves
        if move.place and move.target == move.category
        if move.place.words[-1] != tree.places[move.category].words[-1]
    }


# ---- what is done -------------------------------------------------------------------------------


def take_file(db_path: str, path: str) -> dict[str, Any]:
    """Make the moves of a file in one transaction, and name the lines that can't be used. Returns
    {run: its number or None, moves: [{line, from, to, kind, products}], unusable: [{line, reason}]}.
    Raises UserError if nothing of the file can be used; then nothing is changed."""
    conn = db.open_database(db_path)
    with db.transaction(conn):
        tree = read_tree(conn)
        moves, unusable = moves_file.read_moves(tree, path, moved_before(conn))
        if unusable and not moves:
            raise UserError(
                f"no line of {path} can be used, and nothing is changed: "
                + "; ".join(first_lines(unusable))
            )
        plan = make_plan(tree, moves)
        changes = changes_of(tree, plan)
        run: int | None = None
        products: dict[str, int] = {}
        if changes:
            run, products = recategorize_queries.recategorize(
                conn,
                changes,
                plan.new,
                plan.gone,
                plan.words,
                proposals_then(tree, plan, recategorize_queries.proposals(conn)),
            )
    if not moves and not unusable:
        log(f"{path} names no category in its column from: nothing is changed")
    for line in first_lines(unusable):
        log(f"{path}, {line}")
    if unusable:
        others = "the others are done" if changes else "the others change nothing"
        log(f"{counted(len(unusable), 'line')} of {path} can't be used; {others}")
    reports = move_reports(tree, plan, moves, products)
    say_waiting(sum(report["products"] for report in reports if report["kind"] == "waits"))
    return {
        "run": run,
        "moves": reports,
        "unusable": [{"line": line, "reason": reason} for line, reason in unusable],
    }


def say_waiting(products: int) -> None:
    """Warn of so many products of categories that are removed, if there are any."""
    if products:
        waits = f"{counted(products, 'product')} {'waits' if products == 1 else 'wait'}"
        log(
            f"{waits} to be filed now: the next --apply files them together with all others that "
            "wait. So many of one category may make their mix unlike the labelled one. Then --apply "
            "refuses all of that shop, and files none until they are filed by hand or "
            "--undo-recategorize takes the line back"
        )


def changes_of(tree: Tree, plan: Plan) -> list[CategoryChange]:
    """The CategoryChanges of a plan, in path order."""
    changes = []
    for category, now in plan.now.items():
        place = plan.places[category]
        path = place and path_text(place)
        before = path_text(tree.places[category])
        if now != category or path != before:
            changes.append(CategoryChange(category, now, before, path))
    return changes


def proposals_then(tree: Tree, plan: Plan, proposals: Iterable[str]) -> dict[str, str]:
    """{path: path then} of those of the proposed categories, which do not exist yet, that are to lie
    at or below a category that moves."""
    then = {}
    for proposed in proposals:
        parts = [tidy(part) for part in proposed.split(">")]
        for length in range(len(parts), 0, -1):
            there = tree.ids.get(key_of(parts[:length]), ())
            if there:
                place = plan.places.get(there[0])
                if place:
                    then[proposed] = " > ".join((*place.words, *parts[length:]))
                break
    return {proposed: path for proposed, path in then.items() if path != proposed}


def moved_before(conn: sqlite3.Connection) -> dict[str, str]:
    """{id, or path as it is compared: the end of a sentence that says where it is} of categories
    that earlier files have moved."""
    return {
        " > ".join(key_of([name])): f" any more: it is {change['to_path'] or 'to be filed anew'}"
        f" since {change['date']}"
        for change in learning_queries.category_changes(conn)
        for name in (change["from_id"], change["from_path"])
        if name
    }


def move_reports(
    tree: Tree, plan: Plan, moves: Sequence[Move], products: Mapping[str, int]
) -> list[dict[str, Any]]:
    """What each line has done, as dicts. products are {category: how many were moved}."""
    into = collections.Counter(plan.now.values())
    moved: collections.Counter[int] = collections.Counter()
    for category, move in plan.line_of.items():
        moved[move.line] += products.get(category, 0)
    return [
        {
            "line": move.line,
            "from": path_text(tree.places[move.category]),
            "from_id": move.category,
            "to": move.place and path_text(move.place),
            "to_id": plan.now[move.category],
            "kind": kind_of(tree, plan, move, into[plan.now[move.category]] > 1),
            "products": moved[move.line],
        }
        for move in moves
    ]


def kind_of(tree: Tree, plan: Plan, move: Move, shares: bool) -> str:
    """What a line does: renamed, moved, merged, waits or unchanged. `shares` says whether other
    categories become the same one."""
    if move.place is None:
        return "waits"
    if move.target == move.category:
        return "renamed" if move.category in plan.words else "unchanged"
    if shares:
        return "merged"
    if move.target and move.target not in plan.line_of and is_used(tree.rows[move.target]):
        return "merged"
    own = tree.places[move.category]
    beside = key_of(own.words[:-1]) == key_of(move.place.words[:-1])
    return "renamed" if beside and own.root == move.place.root else "moved"


def is_used(category: sqlite3.Row) -> bool:
    """Whether a category has products, or others below it."""
    return bool(category["product_count"] or not category["leaf"])


def undo(db_path: str) -> dict[str, Any]:
    """Take the last run back that is not taken back yet. Returns {run, date, products (how many are
    where they were before), stayed (how many have been filed elsewhere since), categories: [paths
    that are there again]}. Raises UserError if there is no such run."""
    conn = db.open_database(db_path)
    with db.transaction(conn):
        last = recategorize_undo_queries.last_run(conn)
        if last is None:
            raise UserError(
                f"there is nothing to take back in {db_path}: analyze.py --recategorize has changed "
                "no category, or all of that is taken back already"
            )
        products, stayed, categories = recategorize_undo_queries.undo(conn, last["run"])
    return {
        "run": last["run"],
        "date": last["date"],
        "products": products,
        "stayed": stayed,
        "categories": categories,
    }


# ---- in words -----------------------------------------------------------------------------------

HEAD = ("from", "to", "", "products")


def moves_text(result: Mapping[str, Any]) -> list[str]:
    """The lines of the table of take_file's result."""
    rows = [
        (move["from"], move["to"] or "-", move["kind"], f"{move['products']:,}")
        for move in result["moves"]
    ]
    return text_report.aligned([HEAD, *rows], left=(0, 1, 2)) if rows else []


def undo_text(result: Mapping[str, Any]) -> Iterator[str]:
    """Lines about undo's result."""
    products = counted(result["products"], "product")
    yield (
        f"taken back what was changed on {result['date']}: "
        f"{counted(len(result['categories']), 'category', 'categories')} as before"
        + (f", with {products}" if result["products"] else "")
    )
    if result["stayed"]:
        yield (
            f"{counted(result['stayed'], 'product')} stayed where they are, because they have been "
            "filed elsewhere since"
        )
