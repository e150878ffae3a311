"""The folders of the saved models, and an experiment written together with its model.

In: the path of crawl.db. Out: models/experiment-N/ beside it, and the experiment's rows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable

import db
from common.files import move_folder
from common.terminal import UserError
from learning import queries, saved_models

SQLITE_FILES = ("-shm", "-wal", "-journal")  # ends of their names


def models_folder(db_path: str) -> str:
    """models/ beside crawl.db, models-shop/ beside shop.db. Experiments of each file are numbered
    from 1, so of files whose names differ only in the extension one has that folder, and the others
    have folders of their own from the first time that they are written (part_models)."""
    shared, alone = models_folders(db_path)
    return alone if os.path.isdir(alone) else shared


def models_folders(db_path: str) -> tuple[str, str]:
    """(the models folder that all files of this name have at first, this file's alone)."""
    folder, name = os.path.split(os.path.abspath(db_path))
    stem = os.path.splitext(name)[0]
    return (
        os.path.join(folder, "models" if stem == "crawl" else f"models-{stem}"),
        os.path.join(folder, f"models_{name}"),
    )


def namesakes(db_path: str) -> list[str]:
    """Paths of our other databases in this folder whose names differ in the extension only.

    SQLite's own files beside them are not even opened: to close such a file takes this process's
    locks from it, and another process would write as if nobody else did."""
    path = os.path.abspath(db_path)
    paths = []
    for entry in os.scandir(os.path.dirname(path)):
        if entry.name.endswith(SQLITE_FILES):
            continue
        same = os.path.splitext(entry.path)[0] == os.path.splitext(path)[0] and entry.is_file()
        with contextlib.suppress(OSError):
            if same and not os.path.samefile(entry.path, path):
                if has_experiments(entry.path):
                    paths.append(entry.path)
    return paths


def has_experiments(path: str) -> bool:
    """Whether a file is a database of ours, which may have models."""
    with open(path, "rb") as file:
        if file.read(15) != b"SQLite format 3":
            return False
    with (
        contextlib.suppress(sqlite3.DatabaseError, UserError),
        contextlib.closing(db.connect(path, "ro")) as conn,
    ):
        return "experiment" in db.table_names(conn)
    return False


def models_written(db_path: str) -> list[str]:
    """Names of the folders beside a database that hold what its experiments wrote there."""
    names, shared = [], models_folders(db_path)[0]
    with (
        contextlib.suppress(sqlite3.DatabaseError, UserError),
        contextlib.closing(db.connect(db_path, "ro")) as conn,
    ):
        for row in db.all_experiments(conn):
            name = f"experiment-{row['id']}"
            with contextlib.suppress(OSError, UserError):
                if db.settings(row).get("model") == saved_models.digest(os.path.join(shared, name)):
                    names.append(name)
    return names


def part_models(db_path: str) -> None:
    """Before an experiment is written: of files whose names differ only in the extension the one
    that ends with .db (or comes first) keeps the shared folder, and each other one that has models
    there gets a folder of its own with copies of them, so that nobody replaces another's."""
    files = sorted(
        [os.path.abspath(db_path), *namesakes(db_path)],
        key=lambda path: (not path.endswith(".db"), path),
    )
    for path in files[1:]:
        shared, alone = models_folders(path)
        if os.path.isdir(alone):
            continue
        names, beside = models_written(path), f"{alone}.writing"
        if names or path == os.path.abspath(db_path):
            remove(beside)
            os.mkdir(beside)
            for name in names:
                saved_models.copy_model(os.path.join(shared, name), os.path.join(beside, name))
            move_folder(beside, alone)


def remove(path: str) -> None:
    """Remove a folder, a file or a link, if there is one; what a link leads to stays."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.remove(path)


def save_experiment(
    conn: sqlite3.Connection,
    db_path: str,
    name: str,
    settings: dict,
    predicted: Iterable,
    validation: Iterable,
    write_model: Callable[[str], str | None],
    twins: list | None = None,
    clusters: Iterable = (),
    learned: Iterable[int] = (),
) -> int:
    """Write an experiment, its predictions and its model folder together or not at all.

    predicted and validation are rows (product_id, category_id, score, label_id, label_score,
    parent_id, parent_score, top, fold), validation's with `certifying` behind them; `twins` are
    their two columns twin, clusters rows (product_id, cluster) of near_duplicate, learned the ids
    of the products that the saved model learned from;
    write_model(folder) fills models/experiment-N beside crawl.db and returns what settings keep of
    it as `model`, by which it is known again, or None. The folder is moved in just
    before the commit, so a kill in between leaves at most a folder without a row, and the next
    experiment, which gets the same number, takes its place. (It is not another file's, see
    part_models.) Returns the number.
    """
    part_models(db_path)
    models_path = models_folder(db_path)
    beside = os.path.join(models_path, ".writing")  # one at a time: the write lock is ours
    with db.transaction(conn):
        try:
            os.makedirs(models_path, exist_ok=True)
            remove(beside)
            os.mkdir(beside)
            digest = write_model(beside)
            settings = {**settings, "model": digest} if digest else settings
            number = queries.insert_experiment(
                conn, name, settings, predicted, validation, twins, clusters, learned
            )
            folder = os.path.join(models_path, f"experiment-{number}")
            remove(folder)
            move_folder(beside, folder)
        except BaseException:
            remove(beside)
            raise
    return number
