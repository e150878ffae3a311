"""Products whose label is probably wrong, for a person to decide on.

In: an experiment with folds, whose models had not learned the labels that they judge. Out: dicts,
likeliest first, or CSV with an empty column `decision`, which `analyze.py --overrides` takes back:

    python analyze.py --label-suspects 2 > suspects.csv
    python analyze.py --overrides suspects.csv
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import db
from common import stored_json
from common.terminal import UserError, counted, log, say
from common.text import csv_line
from evaluation import decision_queries, experiment_queries, figures, queries, today
from learning import category_changes, metrics

BEST = 5  # of the leaves of `top`, those that are read: a training writes no more
AT_ONCE = 500  # products whose texts are read at a time
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


class Suspect(NamedTuple):
    """A product whose label is probably wrong, with categories as they are called today."""

    product_id: int
    suggestion: str
    label: str
    margin: float  # by which the label is the less probable
    label_score: float


def label_suspects(
    conn: sqlite3.Connection, number: int, most: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield at most so many (None: all) of the products whose label is probably wrong by experiment
    `number`, likeliest first, as dicts of COLUMNS. Texts are read as they are needed. Raises
    UserError as `suspected` does, at the first one."""
    return itertools.islice(with_texts(conn, suspected(conn, number)), most)


def with_texts(conn: sqlite3.Connection, suspects: Sequence[Suspect]) -> Iterator[dict[str, Any]]:
    """Yield the dicts of COLUMNS of suspects, without products that are gone."""
    for start in range(0, len(suspects), AT_ONCE):
        chunk = suspects[start : start + AT_ONCE]
        texts = decision_queries.product_texts(conn, [suspect.product_id for suspect in chunk])
        for suspect in chunk:
            if suspect.product_id in texts:
                text = dict(texts[suspect.product_id])
                known = {**text, **suspect._asdict(), "decision": ""}
                yield {column: known[column] for column in COLUMNS}


def suspected(conn: sqlite3.Connection, number: int) -> list[Suspect]:
    """The Suspects of experiment `number`, likeliest first; those that a person has decided on are
    left out. How many there are goes to stderr. Raises UserError if the experiment has no folds:
    only with folds each product was judged by a model that had not learned its label."""
    settings = db.settings(db.experiment_row(conn, number))
    if not settings.get("folds"):
        raise UserError(
            f"experiment {number} has no folds, and a model agrees with the labels "
            "it was trained on: run its script again with --folds 10"
        )
    names, rows = figures.read_predictions(conn, number, words=False)
    codes = {name: code for code, name in enumerate(names)}
    best, probability = best_leaves(conn, number, codes, len(rows))
    labelled = np.flatnonzero((rows["label"] >= 0) & (rows["label_score"] >= 0))
    judged = rows[labelled]
    wrong, guesses, margins = metrics.label_suspects(
        judged["label"], judged["label_score"], best[labelled], probability[labelled]
    )
    names, decided = list(codes), decision_queries.overrides(conn)
    changed = category_changes.classes_today(conn, number)
    suspects, settled, done = [], 0, 0
    for row, guess, margin in zip(wrong, guesses, margins):
        product_id = int(judged["product"][row])
        suggestion, label = (
            changed.get(name, name) for name in (names[guess], names[judged["label"][row]])
        )
        if suggestion is None or label is None or suggestion == label:
            settled += 1  # they are one category now, or one of them is none any more
        elif product_id in decided and decided[product_id]["holds"]:
            done += 1
        else:
            score = round(float(judged["label_score"][row]), 6)
            suspects.append(Suspect(product_id, suggestion, label, round(float(margin), 6), score))
    log(
        f"{len(wrong)} of {len(rows)} labels may be wrong, the likeliest first"
        + (f"; {counted(done, 'is', 'are')} decided on already" if done else "")
        + (f"; --recategorize has settled {settled} of them" if settled else "")
    )
    for line in today.changes_lines(number, experiment_queries.changes(conn, number)):
        log(line)
    return suspects


def best_leaves(
    conn: sqlite3.Connection, number: int, codes: dict[str, int], n: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """(leaves int [n, BEST], probabilities [n, BEST]) of an experiment's n predictions, the
    likeliest leaf first; the probability is -1 if there are fewer leaves. Leaves are numbers by
    `codes`, to which it adds the ones that are new. Only one row's JSON is in memory at a time.
    Raises UserError if a row was damaged."""
    leaves, probability = np.zeros((n, BEST), np.int32), np.full((n, BEST), -1.0)
    read = 0
    for i, text in enumerate(queries.best_five(conn, number)):
        try:
            top = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            raise figures.damaged(number) from None
        if i >= n or not stored_json.fits(top, stored_json.TOP):
            raise figures.damaged(number)
        for j, (name, score) in enumerate(top[:BEST]):
            leaves[i, j] = codes.setdefault(name, len(codes))
            probability[i, j] = score
        read += 1
    if read != n:
        raise figures.damaged(number)
    return leaves, probability


def print_csv(suspects: Iterable[Mapping[str, Any]]) -> None:
    """Print label_suspects as CSV."""
    say(csv_line(COLUMNS))
    for suspect in suspects:
        say(csv_line(suspect[column] for column in COLUMNS))
