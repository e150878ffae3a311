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

import numpy as np

import db
import experiments
import findings
import metrics
import model_files
from console import UserError, log, progress, safe_cell

CHUNK = 5_000    # products answered at a time, in one transaction
COLUMNS = ("id", "name", "category", "path", "level", "score", "suggestion_1", "suggestion_2",
           "suggestion_3", "source", "product_id")
# How far new products may be from those that the promise rests on, at the least that chance leaves:
# shares and means, and distances of distributions, each from 0 to 1. (The model filing has learned
# from all of them, and is a little surer than those that were measured.)
ENOUGH = 200   # groups of labelled products of a shop to compare its new ones with
TOLERATED = {"unknown words": .05, "no picture": .05, "no description": .05, "scores": .05,
             "categories": .2}


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
    with progress("answers", waiting, "products") as bar:
        for rows in db.to_answer(conn, args.apply, leaves, CHUNK):
            bar.update(len(rows))
            rows = [row for row in rows if row["category_id"] is None or folds
                    or experiments.certifies(row["group_key"])]
            if not rows:
                continue
            scores, known, words, unknown, pictured = score(rows)
            found = experiments.answers(scores, described["temperature"], described["parents"])
            columns = ([leaves[j] for j in found.best[:, 0].tolist()], found.score[:, 0].tolist(),
                       [found.names[j] for j in found.parent.tolist()], found.parent_score.tolist(),
                       experiments.top_json(leaves, found.best[:, :3], found.score[:, :3]))
            nothing = (None, 0.0, None, 0.0, "[]")   # where there is nothing to go by
            db.store_answers(conn, args.apply, [
                (row["id"], *(own if one else nothing), *more) for row, one, own, more in zip(
                    rows, known, zip(*columns), zip(*(map(int, some) for some in (
                        words, unknown, pictured))))])


# ---- does the promise hold here? ----------------------------------------------------------------

def reference(conn, number, described, source):
    """db.features of the products that the experiment's promise rests on: a shop's own where it has
    ENOUGH, else all; with the unknown words that they had while the model had not seen them."""
    table = "predicted_category" if described["settings"].get("folds") else "validation_prediction"
    found = db.features(conn, number, source, table)
    if found["groups"] < ENOUGH and source is not None:
        return reference(conn, number, described, None)
    found["scores"] = np.fromiter(found["scores"], float)
    measured = described["settings"].get("unknown words")
    measured = measured.get(source or "") if isinstance(measured, dict) else None
    if isinstance(measured, list) and len(measured) == 2 and all(
            type(one) in (int, float) and 0 <= one <= 1 for one in measured):
        strange, mean, variance = found["unknown"]
        known = max(0, found["products"] - strange)
        both = np.average([[measured[0], measured[1] + measured[0] ** 2],
                           [mean, variance + mean ** 2]], axis=0, weights=[known, strange + 1e-9])
        found["unknown"] = (known + strange, float(both[0]), float(both[1] - both[0] ** 2))
    else:
        found["unknown"] = None
    found["source"] = source
    return found


def differences(old, new, kind):
    """Lines about how `new` products differ from `old` ones, both db.features, by more than is
    TOLERATED: what a model of this kind does not look at does not count, nor that more is known."""
    n, m = new["groups"], old["groups"]
    lines = []

    def check(what, shift, line):
        if shift > TOLERATED[what]:
            lines.append(line)

    def share(what, name):
        own, before = new[what], old[what]
        check(what, own > before and metrics.mean_shift(
            own, own * (1 - own), n, before, before * (1 - before), m),
              f"{100 * own:.0f} % of them have {name} ({100 * before:.0f} % there)")

    if "Text" in kind:
        if old["unknown"] and new["unknown"][1] > old["unknown"][1]:
            (_, *own), (_, *before) = new["unknown"], old["unknown"]
            check("unknown words", metrics.mean_shift(*own, n, *before, m),
                  f"the model knows {100 - 100 * own[0]:.0f} % of their words "
                  f"({100 - 100 * before[0]:.0f} % there)")
        share("no description", "no description")
    if "Image" in kind:
        share("no picture", "no picture")
    scores = np.fromiter(new["scores"], float)
    check("scores", metrics.score_shift(scores, n, old["scores"], m),
          f"their scores are others (on the average {scores.sum() / max(1, len(scores)):.2f}, "
          f"there {old['scores'].mean():.2f})")
    check("categories", metrics.count_shift(new["categories"], n, old["categories"], m),
          "they are of other categories")
    return lines


def thresholds(promise):
    """{level: what a score has to reach there, inf where nothing is promised}."""
    return {level: math.inf if promise[level] is None else promise[level]
            for level in ("leaf", "parent")}


def mixed(conn, args, source, names, rows, above, promise):
    """(thresholds, lines): those of the promise, inf where labelled rows in such a mix of accepted
    categories as the source's new products are were right less often than is promised, which the
    lines say."""
    own, lines = thresholds(promise), []
    for place, level in enumerate(own):
        right = findings.expected(names, rows, above, db.accepted(
            conn, args.apply, source, *own.values()), *own.values())[place]
        if right is not None and right < promise["target"]:
            lines.append(f"of labelled ones in such a mix of categories {100 * right:.1f} % were "
                         f"right at the {level}")
            own[level] = math.inf
    return own, lines


def decide(conn, args, described, promise):
    """File what has been answered, shop by shop. Returns whether what is promised holds of all."""
    folds, held = described["settings"].get("folds"), True
    names, rows = findings.read_rows(conn, args.apply, not folds, False, described["categories"])
    above = findings.parent_codes(names, db.parents(conn))
    with db.transaction(conn):
        db.unfile(conn, args.apply)
        for source in db.unfiled_sources(conn):
            old = reference(conn, args.apply, described, source)
            new = db.features(conn, args.apply, source)
            some = rows if old["source"] is None else rows[
                np.isin(rows["product"], db.product_ids(conn, source))]
            own, lines = mixed(conn, args, source, names, some, above, promise)
            if different := differences(old, new, described["kind"]):
                own, lines = dict.fromkeys(own, math.inf), different
            if lines:
                held = False
                where = " or the ".join(level for level in own if math.isinf(own[level]))
                log(f"{100 * promise['target']:g} % is not promised of the {new['products']} "
                    f"products of {source}, which differ from those that the promise rests on: "
                    f"{'; '.join(lines)}. " + (
                        "They are filed anyway" if args.file_anyway else
                        f"None of them is filed at the {where} (--file-anyway does)"))
            if args.file_anyway:
                own = thresholds(promise)
            db.file_products(conn, args.apply, source, own["leaf"], own["parent"])
    return held


def promise_text(promise):
    """What is promised, in words."""
    target = f"{100 * promise['target']:g} %"
    rests = f"{promise['products']} independent products ({promise['rests_on']}"
    rests += f"; {promise['strange']} of them of other categories than the model's)" \
        if promise["strange"] else ")"
    if promise["leaf"] is None and promise["parent"] is None:
        return (f"nothing can be promised at {target} by {rests}, so nothing is filed: "
                + ("" if promise["rests_on"] == findings.OUT_OF_FOLD else
                   "train with --folds 10, which certifies on all products, or ")
                + ("train with a lower --min-products, which leaves fewer categories out, or "
                   if 20 * promise["strange"] > promise["products"] else "")
                + "try a lower --target")
    levels = ", ".join(f"at the {level} " + (
        "nothing" if promise[level] is None else f"from score {promise[level]:.4f} on")
                       for level in ("leaf", "parent"))
    return (f"promised with {100 * promise['confidence']:g} % confidence: of what is filed, at "
            f"least {target} are right; {levels}"
            + " (a lower --target may give some)" * (promise["leaf"] is None)
            + f". It rests on {rests}, and holds for products like those")


# ---- what was filed -----------------------------------------------------------------------------

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
    if args.folds or args.categories:
        raise UserError("--apply trains nothing, and files what its experiment learned: leave "
                        "--folds and --categories out")
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
    promise = findings.promise(conn, args.apply, leaves, args.target, args.confidence)
    model_files.keep_promise(folder, promise)
    log(promise_text(promise))
    held = decide(conn, args, described, promise)
    counts = write(conn, args, described)
    log(", ".join(f"{counts[level]} ({100 * counts[level] / products:.1f} %) {words}"
                  for level, words in (("leaf", "filed at the leaf"), ("parent", "at the parent"),
                                       ("person", "left to a person"))))
    if counts["person"]:
        log(f"look at those: python analyze.py --review {args.apply} > review.html")
    return 0 if held else 1
