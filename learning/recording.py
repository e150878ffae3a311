"""What an experiment found is recorded: its row, its predictions and its model, all or nothing.

In: the Outcome of an experiment, and how it was made. Out: rows of crawl.db, a folder of models/,
and its number, name and figures on stdout. Query what it writes with

    sqlite3 crawl.db 'select id, name, settings from experiment'
    sqlite3 crawl.db 'select * from predicted_category where experiment_id = 1 limit 5'
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from common.files import free_space
from common.terminal import UserError, say
from learning import correctness, model_folders, predictions, queries, saved_models, twin_search
from learning.experiments import Outcome
from learning.selection import Products


def check_disk(db_path: str, products: Products, members: int = 1) -> None:
    """Raise UserError, before the training, if the disk has no room for its predictions (about a
    kilobyte a product, journal included) and its model (25 MB a network if words are many)."""
    folder = os.path.dirname(os.path.abspath(db_path))
    need, free = 1000 * len(products.ids) + 25_000_000 * members, free_space(folder)
    if need > free:
        raise UserError(
            f"an experiment takes up to {need / 1e6:.0f} MB and {folder} has room for "
            f"{free / 1e6:.0f}: make room"
        )


def experiment_name(kind: str, wanted: Sequence[str]) -> str:
    """The name that the 2016 scripts gave: `wanted` are the names asked for, none for all."""
    if len(wanted) > 10:
        return f"{kind} classification of: {','.join(wanted[:5])}... ({len(wanted)} total)"
    return f"{kind} classification of: {','.join(wanted)}"


def record(
    conn: sqlite3.Connection,
    db_path: str,
    kind: str,
    wanted: Sequence[str],
    products: Products,
    outcome: Outcome,
    run_settings: dict,
    extra: dict,
) -> None:
    """Write the experiment and print its number, name and figures. run_settings say how it was
    made; `extra` is what its kind of model needs besides its weights: the vocabulary, the
    bottleneck's fingerprint."""
    name = experiment_name(kind, wanted)
    near, twins, learned = products.near, None, products.taught >= 0  # after folds: from all
    if outcome.parts:
        twins = twin_search.twin_columns(
            queries.catalogue(conn),
            products.ids,
            [part.training for part in outcome.parts],
            (outcome.predicted, outcome.validation),
        )
        if not outcome.settings["folds"]:
            learned = outcome.parts[0].training
    split = (
        {"split by": "cluster", "near-duplicates": near.report} if near else {"split by": "group"}
    )
    settings = {
        **outcome.settings,
        **run_settings,
        **split,
        **{key: value for key, value in extra.items() if key != "vocabulary"},
    }
    description = {
        "kind": kind,
        "categories": products.leaves,
        "parents": products.parents,
        "temperature": outcome.model.temperature,
        **correctness.described(outcome.model.right),
        **extra,
        "settings": settings,
    }
    number = model_folders.save_experiment(
        conn,
        db_path,
        name,
        settings,
        predictions.stored_rows(products, outcome.predicted),
        (
            (*row, kept)
            for row, kept in zip(
                predictions.stored_rows(products, outcome.validation),
                map(int, outcome.validation["certifying"]),
            )
        ),
        lambda folder: saved_models.save_model(folder, outcome.model.weights, description),
        twins,
        zip(near.ids, near.keys) if near else (),
        products.ids[learned].tolist(),
    )
    say(f"#{number}: {name}", *outcome.summary)
