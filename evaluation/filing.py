"""File the products that nobody has filed, as far as a promise holds; leave the rest to a person.

In: products of crawl.db without a category, an experiment's model, and its predictions of products
the model had never seen, which a promise rests on. Out: rows of the table filing, CSV or JSON Lines
on stdout, and on stderr what was filed at the leaf, at the parent, and not at all. Each classifier
files with the models of its own kind:

    python categorize_words.py --apply 1 > filed.csv
    python categorize_both.py --apply 3 --target 95 --format jsonl
    python categorize_words.py --apply 1 --target 95 --dry-run
"""
import collections
import contextlib
import csv
import json
import math
import os
import re
import sys

import db
from common.arguments import share
from common.terminal import UserError, log, progress
from common.text import safe_cell
from evaluation import filing_queries, guarantees, queries, refusals, today
from learning import (
    category_tree,
    model_folders,
    near_duplicates,
    predictions,
    saved_models,
    selection,
)

CHUNK = 5_000    # products answered at a time, in one transaction
COLUMNS = ("id", "name", "category", "path", "level", "score", "suggestion_1", "suggestion_2",
           "suggestion_3", "source", "product_id", "suggestion_1_path", "suggestion_2_path",
           "suggestion_3_path")   # new ones stand at the end
SUGGESTIONS = 3


# ---- arguments ----------------------------------------------------------------------------------

def add_arguments(parser):
    own = parser.add_argument_group("filing what has no category")
    own.add_argument("--apply", type=int, metavar="N",
                     help="train nothing: file the products without a category with the model of "
                     "experiment N, and print what was filed")
    own.add_argument("--target", type=share(50, 99.99), default=.98, metavar="PERCENT",
                     help="how many of those filed have to be right (default: 98)")
    own.add_argument("--confidence", type=share(50, 99.99), default=.95, metavar="PERCENT",
                     help="with which that is promised (default: 95)")
    own.add_argument("--format", choices=("csv", "jsonl"), default="csv",
                     help="what is printed (default: csv)")
    own.add_argument("--file-anyway", action="store_true",
                     help="file also the products of a shop that are so different that nothing is "
                     "promised of them")
    own.add_argument("--dry-run", action="store_true",
                     help="file nothing: print how many products would be filed, and what would "
                     "change against what is filed now, for example with another --target")


def check_arguments(parser, args):
    """End with a sentence if a flag would be passed over that has to change what is done."""
    if args.apply is None:
        for name in ("dry_run", "target", "confidence", "format", "file_anyway"):
            if getattr(args, name) != parser.get_default(name):
                parser.error(f"--{name.replace('_', '-')} is for --apply: training has none")


# ---- the model ----------------------------------------------------------------------------------

def load(conn, args, kind):
    """(its folder, weights, description) of the experiment --apply. Raises UserError where it is of
    another kind."""
    settings = db.settings(db.experiment(conn, args.apply))
    folder = os.path.join(model_folders.models_folder(args.db_path), f"experiment-{args.apply}")
    weights, described = saved_models.load_model(folder)
    if described["kind"] != kind:
        script = {"Text": "words", "Image": "images", "Image+Text": "both"}[described["kind"]]
        raise UserError(f"the model of experiment {args.apply} is for categorize_{script}.py: run "
                        "that with --apply")
    if settings.get("model") not in (None, saved_models.digest(folder)):
        raise UserError(f"the model in {folder} is not the one that experiment {args.apply} wrote, "
                        "and nothing is promised of another: put its own back, or train again")
    return folder, weights, described


def answer(conn, args, described, score):
    """Have the model answer all products without a category that it has not answered yet, and those
    of leaves that it does not know, a chunk and a transaction at a time. Without folds only so many
    of the latter as there are of the others that a promise rests on."""
    folds, leaves = described["settings"].get("folds"), described["categories"]
    _, waiting, _ = filing_queries.count_unfiled(conn, args.apply, leaves)
    near = near_duplicates.seek(filing_queries.learned_texts(conn, args.apply, leaves))
    with progress("answers", waiting, "products") as bar:
        for rows in filing_queries.to_answer(conn, args.apply, leaves, CHUNK):
            bar.update(len(rows))
            rows = [row for row in rows if row["category_id"] is None or folds
                    or selection.certifies(row["cluster"])]
            if not rows:
                continue
            scores, known, words, unknown, pictured = score(rows)
            twins = near([(row["group_key"], row["name"], row["description"]) for row in rows])
            found = predictions.answers(scores, described["temperature"], described["parents"])
            columns = ([leaves[j] for j in found.best[:, 0].tolist()], found.score[:, 0].tolist(),
                       [found.names[j] for j in found.parent.tolist()], found.parent_score.tolist(),
                       predictions.top_json(leaves, found.best, found.score))
            nothing = (None, 0.0, None, 0.0, "[]")   # where there is nothing to go by
            filing_queries.store_answers(conn, args.apply, [
                (row["id"], *(own if one else nothing), *more) for row, one, own, more in zip(
                    rows, known, zip(*columns), zip(*(map(int, some) for some in (
                        words, unknown, pictured, twins))))])


# ---- what is filed ------------------------------------------------------------------------------

def decide(conn, args, described, promise):
    """File what has been answered, shop by shop; in a dry run only count. Returns whether what is
    promised holds of all, and the moves, see `settle`."""
    labelled, held = refusals.labelled_rows(conn, args.apply, described), True
    moves = collections.Counter()
    with contextlib.nullcontext() if args.dry_run else db.transaction(conn):
        if not args.dry_run:
            filing_queries.unfile(conn, args.apply)
        for source in filing_queries.unfiled_sources(conn):
            own, lines, new = refusals.for_source(conn, args.apply, described, source, labelled,
                                                  promise)
            if new["near-duplicate"]:
                log(f"{100 * new['near-duplicate']:.0f} % of the {new['products']} products of "
                    f"{source} have a near-duplicate among those that the model learned from")
            if lines:
                held = False
                log(f"{100 * promise['target']:g} % is not promised of the {new['products']} "
                    f"products of {source}, which differ from those that the promise rests on: "
                    f"{'; '.join(lines)}. "
                    + refused_text(refused_levels(promise, own), args.file_anyway))
            if args.file_anyway:
                own, lines = guarantees.thresholds(promise), []
            moves += settle(conn, args, source, promise, own, lines)
    return held, moves


def refused_levels(promise, thresholds):
    """The levels that the promise has a threshold for, and a shop's own thresholds have none."""
    return [level for level in ("leaf", "parent")
            if promise[level] is not None and math.isinf(thresholds[level])]


def refused_text(levels, file_anyway):
    """What becomes of a shop's products that differ, a sentence without its full stop."""
    if not levels:
        return "Nothing is promised of other products either"
    if file_anyway:
        return "They are filed anyway"
    return f"None of them is filed at the {' or the '.join(levels)} (--file-anyway does)"


def settle(conn, args, source, promise, thresholds, reasons):
    """File a shop's products by their answers and thresholds, and note the reasons why these are
    less than the promise, unless it is a dry run. Returns the moves: a Counter of (level before or
    None, the --target of that or None, level after), products each."""
    moves = collections.Counter()
    for before, target, after, products in filing_queries.filing_moves(conn, args.apply, source,
                                                           **thresholds):
        moves[before, target, after] += products
    if not args.dry_run:
        filing_queries.keep_filing(conn, args.apply, source, promise, thresholds, reasons,
                       refused_levels(promise, thresholds))
        filing_queries.file_products(conn, args.apply, source, **thresholds, target=args.target)
    return moves


def counts_text(counts, products):
    """How many of the products each level has, in words."""
    return ", ".join(f"{counts[level]} ({100 * counts[level] / products:.1f} %) {words}"
                     for level, words in (("leaf", "filed at the leaf"),
                                          ("parent", "at the parent"),
                                          ("person", "left to a person")))


def changes_text(moves):
    """What the moves change against what was filed before, in words; None if nothing changes, or
    if nothing had been decided before."""
    filed, counts, targets = ("leaf", "parent"), collections.Counter(), set()
    for (before, target, after), products in moves.items():
        if before is not None:
            targets.add("a target that was not kept" if target is None else
                        f"{100 * target:g} %")
        name = "as before" if before == after or {before, after} <= {None, "person"} else \
            "newly filed" if before not in filed else \
            "taken back" if after not in filed else "refiled at another level"
        counts[name] += products
    if not targets or set(counts) <= {"as before"}:
        return None
    return (f"changes against what was filed before, at {' and '.join(sorted(targets))}: "
            + ", ".join(f"{counts[name]} {name}" for name in (
                "newly filed", "refiled at another level", "taken back", "as before")))


def print_dry_run(args, moves, products):
    """Print what would be filed, and what would change."""
    counts, decided = collections.Counter(), False
    for (before, _, after), count in moves.items():
        counts[after] += count
        decided = decided or before is not None
    print(f"nothing is filed: by experiment {args.apply}, at {100 * args.target:g} %, it would be "
          + counts_text(counts, products))
    print(changes_text(moves) or ("nothing would change against what is filed now" if decided else
                                  "nothing was filed by this experiment before"))


def id_cell(text):
    """An id as the shop gave it, unless a spreadsheet might run it."""
    return text if re.fullmatch(r"[+-]?[\w.-]+", text or "") else safe_cell(text)


def write(conn, args):
    """Print all that the experiment has filed, and what a person decided. A decision's category
    that is not there has no path. Returns a Counter {level: products}."""
    paths, counts = category_tree.readable_paths(conn), collections.Counter()
    there, missing = filing_queries.places_today(conn), collections.Counter()
    out = csv.writer(sys.stdout, lineterminator="\n")
    if args.format == "csv":
        out.writerow(COLUMNS)
    for row in filing_queries.filed(conn, args.apply):
        counts[row["level"]] += 1
        top = json.loads(row["top"]) if row["level"] == "person" or args.format == "jsonl" else ()
        top = [own for own in top if there.get(own[0])][:SUGGESTIONS]
        path = paths.get(row["category_id"], row["category_id"])
        if row["level"] == "decided" and not there.get(row["category_id"]):
            missing[row["category_id"]] += 1
            path = None
        if args.format == "csv":
            names = [name for name, _ in top]
            names += [""] * (SUGGESTIONS - len(names))
            out.writerow([id_cell(row["external_id"])] + [safe_cell(value) for value in (
                row["name"], row["category_id"], path, row["level"])]
                + ["" if row["score"] is None else f"{row['score']:.6f}"]
                + [safe_cell(name) for name in names]
                + [safe_cell(row["source"]), row["product_id"]]
                + [safe_cell(paths.get(name, name)) for name in names])
        else:
            print(json.dumps({
                "id": row["external_id"], "name": row["name"], "category": row["category_id"],
                "path": path, "level": row["level"],
                "score": None if row["score"] is None else round(row["score"], 6),
                "suggestions": [{"category": name, "path": paths.get(name, name), "score": score}
                                for name, score in top], "source": row["source"],
                "product_id": row["product_id"]}, ensure_ascii=False))
    if missing:
        log(missing_text(missing))
    return counts


def missing_text(missing):
    """A sentence about decisions of categories that are not there, {category: products}."""
    names = ", ".join(repr(name) for name, _ in missing.most_common(3))
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return (f"{missing.total()} products have a person's category that is no leaf of the shop "
            f"({names}{more}): their path is empty; load the shop's new categories, or decide "
            "again with analyze.py --overrides")


def apply(args, kind, scorer):
    """What --apply does: answer, check, file, print. scorer(conn, args, weights, description) gives
    a function: rows of filing_queries.to_answer -> (logits [n, leaves], whether there is anything to go by,
    words, unknown words, whether there is a picture, [n] each). Returns the exit status."""
    if args.folds or args.categories or args.trust_filed:
        raise UserError("--apply trains nothing, and files what its experiment learned: leave "
                        "--folds, --categories and --trust-filed out")
    conn = db.open_database(args.db_path)
    folder, weights, described = load(conn, args, kind)
    leaves = described["categories"]
    products, waiting, by_person = filing_queries.count_unfiled(conn, args.apply, leaves)
    if by_person:
        log(f"{by_person} products have a person's category already")
    if not products:
        if by_person and not args.dry_run:
            write(conn, args)
        else:
            log("there is no product without a category: load some with crawl.py --feed, or "
                "--unlabelled")
        return 0
    if waiting:
        answer(conn, args, described, scorer(conn, args, weights, described))
    if not refusals.reference(conn, args.apply, described, None)["groups"]:
        log(f"nothing is filed: none of the products that the promise of experiment {args.apply} "
            "rests on is left to compare the new ones with; load labelled products and train again")
        return 1
    promise = guarantees.promise(conn, args.apply, leaves, args.target, args.confidence)
    if not args.dry_run:
        saved_models.keep_promise(folder, promise)
    log(guarantees.promise_text(promise))
    if promise["leaf"] is None and described["settings"].get("folds"):
        log("wrong labels count as errors, too: python analyze.py --label-suspects "
            f"{args.apply} lists those that may be wrong; put them right in the shop's feed, "
            "load it and train again")
    for line in today.changes_lines(args.apply, queries.changes(conn, args.apply)):
        log(line)
    if gone := today.gone_line(filing_queries.answers_gone(conn, args.apply)):
        log(gone)
    held, moves = decide(conn, args, described, promise)
    if args.dry_run:
        print_dry_run(args, moves, products)
        return 0 if held else 1
    if changes := changes_text(moves):
        log(changes)
    counts = write(conn, args)
    log(counts_text(counts, products))
    if counts["person"] + counts["parent"]:
        log("choose a leaf for what has none: python analyze.py --review "
            f"{args.apply} > review.html")
    return 0 if held else 1
