"""File the products that nobody has filed, as far as a promise holds; leave the rest to a person.

In: products of crawl.db without a category, an experiment's model, and its predictions of products
the model had never seen, which a promise rests on. Out: rows of the table filing, CSV or JSON Lines
on stdout, and on stderr what was filed at the leaf, at the parent, and not at all. Each classifier
files with the models of its own kind:

    python categorize_words.py --apply 1 > filed.csv
    python categorize_both.py --apply 3 --target 95 --format jsonl
"""
import argparse
import csv
import json
import math
import os
import re
import sys

import db
import experiments
import model_files
import near_duplicates
import promises
import today
from console import UserError, log, progress, safe_cell

CHUNK = 5_000    # products answered at a time, in one transaction
COLUMNS = ("id", "name", "category", "path", "level", "score", "suggestion_1", "suggestion_2",
           "suggestion_3", "source", "product_id")


# ---- arguments ----------------------------------------------------------------------------------

def add_arguments(parser):
    own = parser.add_argument_group("filing what has no category")
    own.add_argument("--apply", type=int, metavar="N",
                     help="train nothing: file the products without a category with the model of "
                     "experiment N, and print what was filed")
    own.add_argument("--target", type=percent_argument, default=.98, metavar="PERCENT",
                     help="how many of those filed have to be right (default: 98)")
    own.add_argument("--confidence", type=percent_argument, default=.95, metavar="PERCENT",
                     help="with which that is promised (default: 95)")
    own.add_argument("--format", choices=("csv", "jsonl"), default="csv",
                     help="what is printed (default: csv)")
    own.add_argument("--file-anyway", action="store_true",
                     help="file also the products of a shop that are so different that nothing is "
                     "promised of them")


def percent_argument(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 50 <= value <= 99.99:
        raise argparse.ArgumentTypeError("must be a percentage from 50 to 99.99")
    return value / 100


# ---- the model ----------------------------------------------------------------------------------

def load(conn, args, kind):
    """(its folder, weights, description) of the experiment --apply. Raises UserError where it is of
    another kind."""
    settings = db.settings(db.experiment(conn, args.apply))
    folder = os.path.join(db.models_folder(args.db_path), f"experiment-{args.apply}")
    weights, described = model_files.load_model(folder)
    if described["kind"] != kind:
        script = {"Text": "words", "Image": "images", "Image+Text": "both"}[described["kind"]]
        raise UserError(f"the model of experiment {args.apply} is for categorize_{script}.py: run "
                        "that with --apply")
    if settings.get("model") not in (None, model_files.digest(folder)):
        raise UserError(f"the model in {folder} is not the one that experiment {args.apply} wrote, "
                        "and nothing is promised of another: put its own back, or train again")
    return folder, weights, described


def answer(conn, args, described, score):
    """Have the model answer all products without a category that it has not answered yet, and those
    of leaves that it does not know, a chunk and a transaction at a time. Without folds only so many
    of the latter as there are of the others that a promise rests on."""
    folds, leaves = described["settings"].get("folds"), described["categories"]
    _, waiting, _ = db.count_unfiled(conn, args.apply, leaves)
    near = near_duplicates.seek(db.learned_texts(conn, leaves, described["kind"] == "Image"))
    with progress("answers", waiting, "products") as bar:
        for rows in db.to_answer(conn, args.apply, leaves, CHUNK):
            bar.update(len(rows))
            rows = [row for row in rows if row["category_id"] is None or folds
                    or experiments.certifies(row["cluster"])]
            if not rows:
                continue
            scores, known, words, unknown, pictured = score(rows)
            twins = near([(row["group_key"], row["name"], row["description"]) for row in rows])
            found = experiments.answers(scores, described["temperature"], described["parents"])
            columns = ([leaves[j] for j in found.best[:, 0].tolist()], found.score[:, 0].tolist(),
                       [found.names[j] for j in found.parent.tolist()], found.parent_score.tolist(),
                       experiments.top_json(leaves, found.best[:, :3], found.score[:, :3]))
            nothing = (None, 0.0, None, 0.0, "[]")   # where there is nothing to go by
            db.store_answers(conn, args.apply, [
                (row["id"], *(own if one else nothing), *more) for row, one, own, more in zip(
                    rows, known, zip(*columns), zip(*(map(int, some) for some in (
                        words, unknown, pictured, twins))))])


# ---- what is filed ------------------------------------------------------------------------------

def decide(conn, args, described, promise):
    """File what has been answered, shop by shop. Returns whether what is promised holds of all."""
    labelled, held, moved = promises.labelled_rows(conn, args.apply, described), True, 0
    with db.transaction(conn):
        db.unfile(conn, args.apply)
        for source in db.unfiled_sources(conn):
            own, lines, products = promises.for_source(conn, args.apply, described, source,
                                                       labelled, promise)
            if lines:
                held = False
                where = " or the ".join(level for level in ("leaf", "parent")
                                        if math.isinf(own[level]))
                log(f"{100 * promise['target']:g} % is not promised of the {products} products of "
                    f"{source}, which differ from those that the promise rests on: "
                    f"{'; '.join(lines)}. " + (
                        "They are filed anyway" if args.file_anyway else
                        f"None of them is filed at the {where} (--file-anyway does)"))
            if args.file_anyway:
                own = promises.thresholds(promise)
            db.keep_filing(conn, args.apply, source, promise, own, lines)
            moved += db.file_products(conn, args.apply, source, **own)
    if moved:
        log(f"{moved} products that were filed before are filed otherwise now, or not at all")
    return held


def id_cell(text):
    """An id as the shop gave it, unless a spreadsheet might run it."""
    return text if re.fullmatch(r"[+-]?[\w.-]+", text or "") else safe_cell(text)


def write(conn, args, described):
    """Print all that the experiment has filed. Returns {level: products}."""
    paths, counts = db.readable_paths(conn), dict.fromkeys(("leaf", "parent", "person"), 0)
    out = csv.writer(sys.stdout, lineterminator="\n")
    if args.format == "csv":
        out.writerow(COLUMNS)
    for row in db.filed(conn, args.apply):
        counts[row["level"]] += 1
        top = json.loads(row["top"]) if row["level"] == "person" or args.format == "jsonl" else ()
        path = paths.get(row["category_id"], row["category_id"])
        if args.format == "csv":
            names = [name for name, _ in top[:3]]
            out.writerow([id_cell(row["external_id"])] + [safe_cell(value) for value in (
                row["name"], row["category_id"], path, row["level"])]
                + [f"{row['score']:.6f}"] + [safe_cell(name) for name in names]
                + [""] * (3 - len(names)) + [safe_cell(row["source"]), row["product_id"]])
        else:
            print(json.dumps({
                "id": row["external_id"], "name": row["name"], "category": row["category_id"],
                "path": path, "level": row["level"], "score": round(row["score"], 6),
                "suggestions": [{"category": name, "path": paths.get(name, name), "score": score}
                                for name, score in top], "source": row["source"],
                "product_id": row["product_id"]}, ensure_ascii=False))
    return counts


def apply(args, kind, scorer):
    """What --apply does: answer, check, file, print. scorer(conn, args, weights, description) gives
    a function: rows of db.to_answer -> (logits [n, leaves], whether there is anything to go by,
    words, unknown words, whether there is a picture, [n] each). Returns the exit status."""
    if args.folds or args.categories or args.trust_filed:
        raise UserError("--apply trains nothing, and files what its experiment learned: leave "
                        "--folds, --categories and --trust-filed out")
    conn = db.open_database(args.db_path)
    folder, weights, described = load(conn, args, kind)
    leaves = described["categories"]
    products, waiting, by_person = db.count_unfiled(conn, args.apply, leaves)
    if by_person:
        log(f"{by_person} products have a person's category already")
    if not products:
        log("there is no product without a category: load some with crawl.py --feed, or "
            "--unlabelled")
        return 0
    if waiting:
        answer(conn, args, described, scorer(conn, args, weights, described))
    promise = promises.promise(conn, args.apply, leaves, args.target, args.confidence)
    model_files.keep_promise(folder, promise)
    log(promises.promise_text(promise))
    for line in today.changes_lines(args.apply, db.changes(conn, args.apply)):
        log(line)
    if gone := today.gone_line(db.answers_gone(conn, args.apply)):
        log(gone)
    held = decide(conn, args, described, promise)
    counts = write(conn, args, described)
    log(", ".join(f"{counts[level]} ({100 * counts[level] / products:.1f} %) {words}"
                  for level, words in (("leaf", "filed at the leaf"), ("parent", "at the parent"),
                                       ("person", "left to a person"))))
    if counts["person"] + counts["parent"]:
        log("choose a leaf for what has none: python analyze.py --review "
            f"{args.apply} > review.html")
    return 0 if held else 1
