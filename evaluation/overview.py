"""All experiments at a glance: what each was made of, what it reached, and what it can promise.

In: the rows of crawl.db and the folders of models beside it. Out: a dict for each experiment, and
the same as a table. Each prediction is read once, and of each only what the table needs.

    python analyze.py --experiments
    python analyze.py --experiments --json
"""
import os

import numpy as np

import db
from common.text import printable
from evaluation import certificates, figures, queries, text_report
from learning import metrics, model_folders

ROW = np.dtype([("product", "i8"), ("score", "f8"), ("right", "?"), ("fold", "i4"),
                ("group", "i8")])
NOTHING, NOT_MEASURED = "none", "-"   # no threshold could be certified; there was nothing to try


def listing(conn, db_path, confidence):
    """A dict for each row of the table experiment, oldest first: experiment (its number), name,
    kind, date, products (predicted), categories, folds, layer, min_products, accuracy,
    certified_95 and certified_98 (certified coverage at the leaf, as --experiment shows it; zero if
    no threshold could be certified), and model (whether its folder is there). What is not known of
    an experiment, such as the settings of those of 2016, is None. Shares lie in [0, 1]."""
    groups, folder = group_numbers(conn), model_folders.models_folder(db_path)
    return [{**described(conn, row), **reached(conn, row, groups, confidence),
             "model": os.path.isdir(os.path.join(folder, f"experiment-{row['id']}"))}
            for row in db.all_experiments(conn)]


def described(conn, row):
    """What an experiment's row says of how it was made."""
    settings, name = db.settings(row), row["name"] or ""
    asked = settings.get("arguments")
    asked = asked if isinstance(asked, dict) else {}
    kind, known, _ = name.partition(" classification of:")
    leaves = settings.get("categories")
    return {"experiment": row["id"], "name": name, "kind": kind if known else None,
            "date": row["date"],
            "categories": len(leaves) if isinstance(leaves, list) else
            queries.count_labels(conn, row["id"]) or None,
            "folds": settings.get("folds"),
            "layer": asked.get("layer") if "Image" in kind else None,
            # --categories are not bound by it.
            "min_products": None if asked.get("categories") else asked.get("min_products")}


def reached(conn, row, groups, confidence):
    """How many products an experiment predicted, and how well."""
    folds = db.settings(row).get("folds")
    rows = graded_rows(conn, row["id"], groups)
    held = rows if folds else graded_rows(conn, row["id"], groups, certifying=True)
    found = {"products": len(rows), "accuracy": metrics.accuracy(rows["right"]) if len(rows)
             else None}

    def certify(some):
        return tuple(certificates.certify(some["score"], some["right"], percent / 100,
                                          1 - confidence) for percent in figures.TARGETS)

    shares = [None] * len(figures.TARGETS)
    if len(rows) and len(held):
        thresholds, _ = figures.certify_apart(rows, held, folds, certify)
        shares = (rows["score"][:, None] >= thresholds).mean(axis=0).tolist()
    return found | {f"certified_{percent}": share
                    for percent, share in zip(figures.TARGETS, shares)}


NUMBERED = np.dtype([("product", "i8"), ("group", "i8")])


def group_numbers(conn):
    """Structured array NUMBERED of all products, by id."""
    return np.fromiter(queries.group_numbers(conn), NUMBERED)


def numbers_of(products, numbered):
    """(bool [n], which of the products are in `numbered`, by product; the group of those)."""
    place = np.searchsorted(numbered["product"], products)
    place[place == len(numbered)] = 0
    if not len(numbered):
        return np.zeros(len(products), bool), numbered["group"]
    here = numbered["product"][place] == products
    return here, numbered["group"][place[here]]


def graded_rows(conn, number, groups, certifying=False):
    """Structured array ROW [n] of an experiment's predictions in the order of their products, or of
    the validation products that were kept for certifying."""
    graded = figures.table(queries.graded(conn, number, certifying), ROW.descr[:4], number)
    order = np.argsort(graded["product"], kind="stable")
    rows = np.empty(len(graded), ROW)
    for field in graded.dtype.names:
        rows[field] = graded[field][order]
    rows["group"] = -1 - np.arange(len(rows))   # a product that is gone is a group by itself
    clusters = np.fromiter(queries.cluster_numbers(conn, number), NUMBERED)
    clusters["group"] = -1 - len(rows) - clusters["group"]
    for numbered in (groups, clusters):
        here, own = numbers_of(rows["product"], numbered)
        rows["group"][here] = own
    return rows


# ---- the table ----------------------------------------------------------------------------------

def text(found, top=None):
    """The lines of the table."""
    if not found:
        return ["there is no experiment yet: run categorize_words.py, or one of its sisters"]
    head = ("", "kind", "date (UTC)", "products", "categories", "folds", "layer", "min-products",
            "accuracy", "leaves certified 95%", "98%", "model")
    rows = [(f"#{one['experiment']}", cell(one["kind"]), cell(one["date"])[:16],
             f"{one['products']:,}", cell(one["categories"]), cell(one["folds"]),
             cell(one["layer"]), cell(one["min_products"]), text_report.percent(one["accuracy"]),
             *(NOTHING if one[f"certified_{percent}"] == 0 else
               text_report.percent(one[f"certified_{percent}"]) for percent in figures.TARGETS),
             "yes" if one["model"] else "no") for one in found]
    return text_report.table([head, *rows], left=(0, 1, 2, 6, 11))


def cell(value):
    return NOT_MEASURED if value is None else printable(str(value))
