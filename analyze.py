"""Print what experiments reached and what they promise, compare them, find labels that are wrong.

In: crawl.db, which only --overrides writes (one of an older version is brought up to date first).
Out, on stdout: for each experiment its accuracy and its coverage, the share of products that a
machine may file by itself at 95 % and 98 % accuracy, for leaves and for their parents; the rest is
asked for.

    python analyze.py
    python analyze.py --experiments
    python analyze.py --experiment 2
    python analyze.py --compare 1 2
    python analyze.py --label-suspects 2 > suspects.csv
    python analyze.py --dump-errors-for-experiment 2 > errors.html
    python analyze.py --models
    python analyze.py --review 2 > review.html
"""
import argparse
import contextlib
import csv
import io
import json
import math
import os
import re
import sys

import numpy as np

import comparisons
import db
import findings
import metrics
import model_files
import overview
import page
import report
import show
from console import Parser, UserError, log, run, safe_cell


# ---- labels that are probably wrong -----------------------------------------------------------

def label_suspects(conn, number, top):
    """Products whose label is probably wrong, likeliest first, as dicts; those that a person has
    decided on are left out. Raises UserError where the experiment has no folds: only then each
    product was judged by a model that had not learned its label."""
    settings = db.settings(db.experiment(conn, number))
    if not settings.get("folds"):
        raise UserError(f"experiment {number} has no folds, and a model agrees with the labels it "
                        "was trained on: run its script again with --folds 10")
    names, rows = findings.read_rows(conn, number)
    place = {name: i for i, name in enumerate(names)}
    try:
        five = json.loads(f"[{','.join(db.best_five(conn, number))}]")
    except ValueError:
        raise findings.damaged(number) from None
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
    names, decided, suspects = list(place), db.overrides(conn), []
    ids = rows["product"][labelled]
    texts = db.product_texts(conn, ids[found].tolist())
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
    log(f"{len(found)} of {len(rows)} labels are probably wrong"
        + (f", {done} of them decided on already" if done else ""))
    return suspects[:top]


def read_decisions(conn, path):
    """Rows (product id, decision or None, category id or None) of a CSV file. Raises UserError with
    the line for anything it can't take, so that nothing of the file is stored."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{path} can't be read as a CSV file in UTF-8 ("
                        f"{getattr(error, 'strerror', None) or 'save it as CSV UTF-8'})") from None
    if text.startswith("sep="):   # a hint for Excel
        text = text.partition("\n")[2]
    head = text.split("\n", 1)[0]
    csv.field_size_limit(2 ** 31 - 1)   # a shop's text may be long
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count),
                            strict=True)
    try:
        lines = [(reader.reader.line_num, {(key or "").strip().lower(): (value or "").strip()
                                    for key, value in row.items() if isinstance(value, str)})
                 for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.reader.line_num}, is no CSV ({error}); nothing of "
                        "the file was stored") from None
    names = {(name or "").strip().lower() for name in reader.fieldnames or ()}
    if not {"product_id", "decision"} <= names:
        raise UserError(f"{path} needs the columns product_id and decision, as --label-suspects "
                        "writes them")
    leaves = {row["id"] for row in db.categories(conn) if row["leaf"]}
    known, found, lapsed = db.labels(conn), {}, 0
    for line, row in lines:
        decision = row.get("decision", "").lower()
        if not decision or decision == "decision":   # the header of a second file
            continue
        try:
            number, taken = read_decision(row, decision, known, leaves)
        except ValueError as problem:
            raise UserError(f"{path}, line {line}: {problem}; nothing of the file was stored") \
                from None
        if "label" in row and not same_label(row["label"], known[number]):
            lapsed += 1
        elif found.setdefault(number, taken) != taken:
            raise UserError(f"{path}, line {line}: product {number} is decided on twice, "
                            "differently; nothing of the file was stored")
    if lapsed:
        log(f"{lapsed} decisions are about another label than the product has by now: left out")
    elif not found:
        log(f"no line of {path} has a decision: write label wrong, classifier wrong or unclear "
            "into that column")
    return [(number, *taken) for number, taken in found.items()]


def same_label(written, label):
    """Whether a cell of the column `label` is the label that the product has, as a page or
    --label-suspects writes it."""
    label = label or ""
    return written in (label, show.shown(label, 200), safe_cell(label).strip())


def read_decision(row, decision, known, leaves):
    """(product id, (decision or None, category id or None)). Raises ValueError with the reason."""
    digits = row.get("product_id", "")[:20]
    number = int(digits) if digits.isdecimal() else None
    if number not in known:
        rounded = re.fullmatch(r"[0-9]+[.,][0-9]*(E\+?[0-9]+)?", digits, re.I)
        raise ValueError(f"there is no product {digits!r}" + (
            ": a spreadsheet has rounded the ids; have it read that column as text"
            if rounded else ""))
    if decision == "undecided":
        return number, (None, None)
    if decision not in db.DECISIONS:
        raise ValueError(f"the decision {decision!r} is none of "
                         f"{', '.join((*db.DECISIONS, 'undecided'))}")
    if decision != "label wrong":
        return number, (decision, None)
    category = row.get("suggestion", "")
    # An apostrophe is how `safe_cell` keeps a spreadsheet from running a cell.
    category = category if category in leaves else category.removeprefix("'")
    if category not in leaves:
        raise ValueError(f"'label wrong' needs a leaf category's id as suggestion, not "
                         f"{category!r}")
    if category == known[number]:
        raise ValueError(f"'label wrong' with the label that the product has, {category!r}")
    return number, (decision, category)


def print_csv(rows):
    columns = ["product_id", "decision", "suggestion", "label", "margin", "label_score", "source",
               "external_id", "name", "description", "image", "picture"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[safe_cell(row[column]) for column in columns] for row in rows])


# ---- the command ------------------------------------------------------------------------------

def positive(text):
    if not text.isdecimal() or not 1 <= int(text[:20]) <= 10 ** 9:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 1000000000")
    return int(text)


def confidence_argument(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 50 <= value <= 99.999:
        raise argparse.ArgumentTypeError("must be a percentage from 50 to 99.999")
    return value / 100


def parse(argv):
    parser = Parser(
        description="Print what each experiment reached: accuracy, and the share of products that "
        "a machine may file by itself at 95 % and 98 % accuracy. Everything else is asked for.")
    parser.add_argument("--db-path", default="crawl.db", metavar="FILE",
                        help="the SQLite file with the experiments (default: crawl.db)")
    parser.add_argument("--images-path", metavar="DIR",
                        help="folder of the pictures for the page (default: images/ beside the "
                        "file of --db-path)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--experiments", action="store_true",
                      help="print a table of all experiments: how each was made, its accuracy, and "
                      "the coverage that is certified for its leaves")
    what.add_argument("--experiment", type=int, metavar="N",
                      help="print experiment N in full: certified coverage, what leaf, parent and "
                      "a person would file, calibration, categories, settings")
    what.add_argument("--compare", type=int, nargs="+", metavar="N",
                      help="compare experiments on the products that all have: exact McNemar test, "
                      "paired bootstrap, products that flipped")
    what.add_argument("--label-suspects", type=int, metavar="N",
                      help="print the products whose label is probably wrong, as CSV, by an "
                      "experiment with folds")
    what.add_argument("--overrides", metavar="FILE",
                      help="take a person's decisions from a CSV file (that of --label-suspects "
                      "with its column `decision` filled in) into crawl.db; later training uses "
                      "them")
    what.add_argument("--dump-errors-for-experiment", type=int, metavar="N",
                      help="print an HTML page of the wrong predictions with the highest scores of "
                      "experiment N")
    what.add_argument("--review", type=int, metavar="N",
                      help="print an HTML page of the products that --apply N has left to a "
                      "person or filed at the parent only, to choose their leaves on")
    what.add_argument("--models", action="store_true",
                      help="list the saved models, and the thresholds certified for them")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="write the page there, instead of printing it")
    parser.add_argument("--surest-first", action="store_true",
                        help="of --review: the surest first, instead of the least sure")
    parser.add_argument("--confidence", type=confidence_argument, default=.95, metavar="PERCENT",
                        help="of certificates, intervals and tests (default: 95)")
    parser.add_argument("--top", type=positive, metavar="K",
                        help="how many to show: errors on the page (default: 500), flipped "
                        "products and confused pairs (default: 20), suspects (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON instead")
    args = parser.parse_args(argv)
    paged = args.dump_errors_for_experiment is not None or args.review is not None
    if args.output is not None and not paged:
        parser.error("--output is for --dump-errors-for-experiment and --review")
    if args.json and paged:
        parser.error("--dump-errors-for-experiment and --review print a page: leave out --json")
    if args.surest_first and args.review is None:
        parser.error("--surest-first is for --review")
    args.images_path = db.images_folder(args.db_path, args.images_path)
    return args


def save_page(path, text):
    """Write a page to a file, whole or not at all. Raises UserError where that can't be, or where
    there is something else than a page."""
    target = os.path.realpath(path)   # a link stays one
    ordinary = os.path.isfile(target) or not os.path.exists(path)
    beside = f"{target}.{os.getpid()}.tmp"
    try:
        if os.path.isfile(target):
            with open(target, "rb") as file:
                if file.read(100).lstrip()[:5].lower() not in (b"", b"<!doc", b"<html"):
                    raise UserError(f"--output {path} is a file of something else: name another")
        with open(beside if ordinary else path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        if ordinary:   # a pipe or a device is written into, not replaced
            if os.path.exists(target):
                os.chmod(beside, os.stat(target).st_mode & 0o777)
            os.replace(beside, target)
    except OSError as error:
        raise UserError(f"--output {path} can't be written ({error.strerror}): name "
                        "another") from None
    finally:
        with contextlib.suppress(OSError):
            os.remove(beside)


def make_page(conn, args):
    """The HTML of the page that is asked for."""
    if args.review is not None:
        return page.review_page(conn, args.review, args.images_path, args.db_path, args.top or 500,
                                args.surest_first)
    number, suspects = args.dump_errors_for_experiment, ()
    if db.settings(db.experiment(conn, number)).get("folds"):
        suspects = {row["product_id"] for row in label_suspects(conn, number, None)}
    return page.error_page(conn, number, args.images_path, args.db_path, args.confidence,
                           args.top or 500, suspects)


def write_page(text, args):
    """Print a page, or write it to the file asked for."""
    if args.output is None:
        print(text)
        return
    save_page(args.output, text)
    log(f"{args.output}: {len(text.encode()) / 1e6:.1f} MB")


def take_overrides(args):
    """Store a file of decisions. Returns what was done."""
    conn = db.open_database(args.db_path)
    decisions = read_decisions(conn, args.overrides)
    changed = db.store_overrides(conn, decisions)
    count = {name: 0 for name in db.DECISIONS}
    for row in db.overrides(conn).values():
        count[row["decision"]] += 1
    return {"read": len(decisions), "changed": changed, "in_all": count}


def clean(value):
    """The value with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: clean(own) for key, own in value.items() if key != "lines"}
    if isinstance(value, (list, tuple)):
        return [clean(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main(argv=None):
    args = parse(argv)
    if args.overrides is not None:
        result, show = take_overrides(args), report.overrides_text
    else:
        conn = db.open_readonly(args.db_path)
        if args.dump_errors_for_experiment is not None or args.review is not None:
            write_page(make_page(conn, args), args)
            return 0
        if args.label_suspects is not None:
            result = label_suspects(conn, args.label_suspects, args.top)
            if not args.json:
                print_csv(result)
                return 0
        elif args.experiments:
            result = overview.listing(conn, args.db_path, args.confidence)
            show = overview.text
        elif args.experiment is not None:
            result = findings.describe(conn, args.experiment, args.confidence)
            show = report.experiment_text
        elif args.models:
            rows = db.all_experiments(conn)
            result = model_files.listing(db.models_folder(args.db_path), rows, {
                row["id"]: db.settings(row).get("model") for row in rows})
            show = report.models_text
        elif args.compare is not None:
            result = comparisons.compare(conn, args.compare, args.confidence,
                                      args.top or (None if args.json else 20))
            show = report.comparison_text
        else:
            result = [findings.block(conn, experiment) for experiment in db.experiments(conn)]
            show = report.blocks_text
            if not result:
                log("there are no predictions yet: run categorize_words.py, or one of its sisters")
    if args.json:
        print(json.dumps(clean(result), ensure_ascii=False, indent=1, allow_nan=False))
    else:
        for line in show(result, args.top or 20):
            print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
