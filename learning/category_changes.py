"""What --recategorize has made of the categories that an experiment knows.

Predictions keep the ids that categories had when the experiment was made. In: an open crawl.db and
how many runs an experiment had seen. Out: the ids that those categories have today, and the tree as
it was then.

    python analyze.py --recategorize moves.csv
    python categorize_words.py --apply 1
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import db
from common.text import folded
from learning import category_tree, queries
from learning.category_tree import Row

SEEN = "category changes"  # the setting that holds the last run before an experiment's training


def seen_by(conn: sqlite3.Connection, number: int) -> int:
    """The last run before experiment `number` read its products; 0 if that is not on record: it is
    older than any run then."""
    seen = db.settings(db.experiment_row(conn, number)).get(SEEN)
    return seen if type(seen) is int else 0


def runs_since(changes: Iterable[sqlite3.Row], since: int, until: int | None) -> list[int]:
    """The runs after `since` and up to `until` (None: today), without those that were taken back
    within that time."""
    undoes = {
        change["run"]: change["undoes"]
        for change in changes
        if change["run"] > since and (until is None or change["run"] <= until)
    }
    taken_back = {run for run, undone in undoes.items() if undone in undoes}
    return sorted(set(undoes) - taken_back - {undoes[run] for run in taken_back})


Steps = dict[int, dict[str, str | None]]  # {run: {id before it: id after it, None: they wait}}


def steps_by_run(changes: Iterable[sqlite3.Row]) -> Steps:
    """What each run changed."""
    steps: Steps = {}
    for change in changes:
        if change["from_id"]:
            steps.setdefault(change["run"], {})[change["from_id"]] = change["to_id"]
    return steps


def current_ids(
    conn: sqlite3.Connection, since: int = 0, until: int | None = None
) -> dict[str, str | None]:
    """{id after the run `since`: id after the run `until` (None: today), or None if its products
    wait to be filed} of the categories that have another id then."""
    changes = queries.category_changes(conn)
    steps = steps_by_run(changes)
    ids: dict[str, str | None] = {}
    for run in reversed(runs_since(changes, since, until)):
        ids = before_run(ids, steps.get(run, {}))
    return {category: now for category, now in ids.items() if category != now}


def before_run(ids: dict[str, str | None], step: Mapping[str, str | None]) -> dict[str, str | None]:
    """What ids before a run become, {id: id}, if `step` is what it changed and `ids` is what ids
    after it become. `ids` is changed, so a run costs as much as it has changes."""
    ids.update({category: now and ids.get(now, now) for category, now in step.items()})
    return ids


def paths_today(conn: sqlite3.Connection) -> dict[str, str]:
    """{path before a run, as it is compared: path today}, in the shop's words, of the categories
    that have another path now; without those whose products wait. If a path was of several one after
    another, it is the last one's."""
    changes = queries.category_changes(conn)
    readable = category_tree.readable_paths(conn) if changes else {}
    steps, before = steps_by_run(changes), paths_by_run(changes)
    ids: dict[str, str | None] = {}
    paths: dict[str, str] = {}
    for run in reversed(runs_since(changes, 0, None)):
        ids = before_run(ids, steps.get(run, {}))
        for category, path in reversed(before.get(run, {}).items()):
            now = ids.get(category, category)
            if now in readable:
                paths.setdefault(path, readable[now])
    return paths


def paths_by_run(changes: Iterable[sqlite3.Row]) -> dict[int, dict[str, str]]:
    """{run: {id before it: path before it, as it is compared}}."""
    paths: dict[int, dict[str, str]] = {}
    for change in changes:
        if change["from_id"]:
            paths.setdefault(change["run"], {})[change["from_id"]] = folded(
                change["from_path"] or ""
            )
    return paths


def classes_today(conn: sqlite3.Connection, number: int) -> dict[str, str | None]:
    """{class of experiment `number`, or category above one: the class that it is today, or None if
    its products wait}, of those that --recategorize has changed. One that a load has brought back
    since, with products, is itself, and so is one above it."""
    ids = current_ids(conn, seen_by(conn, number))
    if not ids:
        return {}
    rows = {row["id"]: row for row in db.categories(conn)}
    made = {step for now in ids.values() if now in rows for step in category_tree.levels(rows[now])}
    brought_back = {name for name in ids if name in rows and rows[name]["product_count"]} - made
    above = {step for name in brought_back for step in category_tree.levels(rows[name])} - made
    ids = {name: now for name, now in ids.items() if name not in brought_back | above}
    rule = category_tree.rule_of(db.settings(db.experiment_row(conn, number)))
    classes = category_tree.counts_as(conn, rule)
    return {category: now and classes.get(now, now) for category, now in ids.items()}


def leaves_today(conn: sqlite3.Connection, number: int, leaves: Iterable[str]) -> list[str]:
    """The classes that an experiment's leaves are today, each once, without those whose products
    wait."""
    today = classes_today(conn, number)
    return list(dict.fromkeys(now for leaf in leaves if (now := today.get(leaf, leaf))))


def likeliest_today(
    top: Iterable[Sequence[Any]], today: Mapping[str, str | None]
) -> list[tuple[str, float]]:
    """[(class of today, score)] of an experiment's best leaves, [leaf, score], in their order. Of
    leaves that are one today the first counts. `today` is classes_today."""
    likeliest: dict[str, float] = {}
    for leaf, score in top:
        now = today.get(leaf, leaf)
        if now is not None:
            likeliest.setdefault(now, score)
    return list(likeliest.items())


def categories_then(conn: sqlite3.Connection, since: int) -> list[Row]:
    """The rows of the table category as they were after the run `since`, in path order. Categories
    that a load has brought since are there, too."""
    rows: dict[str, Row] = {row["id"]: row for row in db.categories(conn)}
    runs = runs_since(queries.category_changes(conn), since, None)
    if not runs:
        return list(rows.values())
    touched: set[str | None] = set()
    for run in reversed(runs):
        for category, before in queries.kept_categories(conn, run).items():
            now = rows.pop(category, None)
            if before:
                rows[category] = before
            touched.update(row["parent"] for row in (now, rows.get(category)) if row)
    parents = {row["parent"] for row in rows.values()}
    for category in {step for step in touched if step in rows}:
        rows[category] = {**dict(rows[category]), "leaf": int(category not in parents)}
    return sorted(rows.values(), key=lambda row: (row["path"] or "", row["id"]))


def parents_then(conn: sqlite3.Connection, number: int) -> dict[str, str]:
    """category_tree.parents of the tree that experiment `number` knew."""
    rule = category_tree.rule_of(db.settings(db.experiment_row(conn, number)))
    return category_tree.parents(conn, rule, categories_then(conn, seen_by(conn, number)))


def now_text(category: str, today: Mapping[str, str | None]) -> str:
    """A category's id, and the one that it has today if that is another one; `today` is
    classes_today."""
    if category not in today:
        return category
    now = today[category]
    return f"{category}, no category any more" if now is None else f"{category}, now {now}"
