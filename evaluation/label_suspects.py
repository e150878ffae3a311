"""Products whose label is probably wrong, for a person to decide on.

In: an experiment with folds, whose models had not learned the labels that they judge. Out: dicts,
likeliest first, or CSV with an empty column `decision`, which `analyze.py --overrides` takes back:

    python analyze.py --label-suspects 2 > suspects.csv
    python analyze.py --overrides suspects.csv
"""
import csv
import json
import sys

import numpy as np

import db
from common.terminal import UserError, log
from common.text import safe_cell
from evaluation import figures, queries, today
from learning import metrics


def label_suspects(conn, experiment, top):
    """Products whose label is probably wrong, likeliest first, as dicts; those that a person has
    decided on are left out. Raises UserError where the experiment has no folds: only then each
    product was judged by a model that had not learned its label."""
    settings = db.settings(db.experiment(conn, experiment))
    if not settings.get("folds"):
        raise UserError(f"experiment {experiment} has no folds, and a model agrees with the labels "
                        "it was trained on: run its script again with --folds 10")
    names, rows = figures.read_rows(conn, experiment)
    place = {name: i for i, name in enumerate(names)}
    try:
        five = json.loads(f"[{','.join(queries.best_five(conn, experiment))}]")
    except ValueError:
        raise figures.damaged(experiment) from None
    width = max((len(best) for best in five), default=0) or 1
    best, probability = np.zeros((len(rows), width), int), np.full((len(rows), width), -1.0)
    for i, top_five in enumerate(five):
        for j, (name, score) in enumerate(top_five):
            best[i, j] = place.setdefault(name, len(place))
            probability[i, j] = score
    labelled = np.flatnonzero((rows["label"] >= 0) & (rows["label_score"] >= 0))
    found, guess, margin = metrics.label_suspects(
        rows["label"][labelled], rows["label_score"][labelled], best[labelled],
        probability[labelled])
    names, decided, suspects = list(place), queries.overrides(conn), []
    ids = rows["product"][labelled]
    texts = queries.product_texts(conn, ids[found].tolist())
    for i, suggestion, by in zip(found, guess, margin):
        number = int(ids[i])
        if number in texts and not (number in decided and decided[number]["holds"]):
            suspects.append({
                "product_id": number, "decision": "", "suggestion": names[suggestion],
                "label": names[rows["label"][labelled[i]]], "margin": round(float(by), 6),
                "label_score": round(float(rows["label_score"][labelled[i]]), 6),
                **{key: texts[number][key] for key in ("source", "external_id", "name",
                                                       "description", "image", "picture")}})
    done = len(found) - len(suspects)
    log(f"{len(found)} of {len(rows)} labels may be wrong, the likeliest first"
        + (f"; {done} of them are decided on already" if done else ""))
    for line in today.changes_lines(experiment, queries.changes(conn, experiment)):
        log(line)
    return suspects[:top]


def print_csv(rows):
    columns = ["product_id", "decision", "suggestion", "label", "margin", "label_score", "source",
               "external_id", "name", "description", "image", "picture"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[safe_cell(row[column]) for column in columns] for row in rows])
