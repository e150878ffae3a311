"""Products whose label is probably wrong, for a person to decide on.

In: an experiment with folds, whose models had not learned the labels that they judge. Out: dicts,
likeliest first, or CSV with an empty column `decision`, which `analyze.py --overrides` takes back:

    python analyze.py --label-suspects 2 > suspects.csv
    python analyze.py --overrides suspects.csv
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import db
from common import stored_json
from common.terminal import UserError, log, say
from common.text import csv_line
from evaluation import decision_queries, experiment_queries, figures, queries, today
from learning import category_changes, metrics

COLUMNS = (
    "product_id",
    "decision",
    "suggestion",
    "label",
    "margin",
    "label_score",
    "source",
    "external_id",
    "name",
    "description",
    "image",
    "picture",
)


def label_suspects(conn: sqlite3.Connection, number: int, most: int | None) -> list[dict[str, Any]]:
    """At most so many (None: all) of the products whose label is probably wrong by experiment
    `number`, likeliest first, as dicts of COLUMNS; those that a person has decided on are left out.
    Categories are called as they are today.
    Raises UserError if the experiment has no folds: only with folds each product was judged by a
    model that had not learned its label."""
    settings = db.settings(db.experiment_row(conn, number))
    if not settings.get("folds"):
        raise UserError(
            f"experiment {number} has no folds, and a model agrees with the labels "
            "it was trained on: run its script again with --folds 10"
        )
    names, rows = figures.read_predictions(conn, number)
    codes = {name: code for code, name in enumerate(names)}
    best, probability = best_leaves(conn, number, codes, len(rows))
    labelled = np.flatnonzero((rows["label"] >= 0) & (rows["label_score"] >= 0))
    judged, ids = rows[labelled], rows["product"][labelled]
    suspected, guesses, margins = metrics.label_suspects(
        judged["label"], judged["label_score"], best[labelled], probability[labelled]
    )
    names, decided = list(codes), decision_queries.overrides(conn)
    changed = category_changes.classes_today(conn, number)
    texts = decision_queries.product_texts(conn, ids[suspected].tolist())
    suspects, settled = [], 0
    for row, guess, margin in zip(suspected, guesses, margins):
        product_id = int(ids[row])
        suggestion, label = (
            changed.get(name, name) for name in (names[guess], names[judged["label"][row]])
        )
        if None in (suggestion, label) or suggestion == label:
            settled += 1  # they are one category now, or one of them is none any more
            continue
        is_decided = product_id in decided and decided[product_id]["holds"]
        if product_id in texts and not is_decided:
            text = texts[product_id]
            suspects.append(
                {
                    "product_id": product_id,
                    "decision": "",
                    "suggestion": suggestion,
                    "label": label,
                    "margin": round(float(margin), 6),
                    "label_score": round(float(judged["label_score"][row]), 6),
                    **{
                        key: text[key]
                        for key in (
                            "source",
                            "external_id",
                            "name",
                            "description",
                            "image",
                            "picture",
                        )
                    },
                }
            )
    done = len(suspected) - len(suspects) - settled
    log(
        f"{len(suspected)} of {len(rows)} labels may be wrong, the likeliest first"
        + (f"; {done} of them are decided on already" if done else "")
        + (f"; --recategorize has settled {settled} of them" if settled else "")
    )
    for line in today.changes_lines(number, experiment_queries.changes(conn, number)):
        log(line)
    return suspects[:most]


def best_leaves(
    conn: sqlite3.Connection, number: int, codes: dict[str, int], n: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(leaves int [n, 5 or fewer], probabilities [n, 5 or fewer]) of an experiment's n predictions,
    the likeliest leaf first; the probability is -1 if there are fewer leaves. Leaves are numbers by
    `codes`, to which it adds the ones that are new. Raises UserError if a row was damaged."""
    try:
        best_by_row = json.loads(f"[{','.join(queries.best_five(conn, number))}]")
    except (ValueError, TypeError, RecursionError):
        raise figures.damaged(number) from None
    if len(best_by_row) != n or not stored_json.fits(best_by_row, [stored_json.TOP]):
        raise figures.damaged(number)
    width = max((len(best) for best in best_by_row), default=0) or 1
    leaves, probability = np.zeros((n, width), int), np.full((n, width), -1.0)
    for i, best in enumerate(best_by_row):
        for j, (name, score) in enumerate(best):
            leaves[i, j] = codes.setdefault(name, len(codes))
            probability[i, j] = score
    return leaves, probability


def print_csv(suspects: Iterable[Mapping[str, Any]]) -> None:
    """Print label_suspects as CSV."""
    say(csv_line(COLUMNS))
    for suspect in suspects:
        say(csv_line(suspect[column] for column in COLUMNS))
