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
import contextlib
import json
import math
import os

import db
from common.arguments import add_paths, share, whole_number
from common.files import images_folder, replacing
from common.terminal import Parser, UserError, log, run
from evaluation import (
    comparison,
    decisions,
    figures,
    html_pages,
    label_suspects,
    overview,
    text_report,
    today,
)

# ---- the command ------------------------------------------------------------------------------

def parse(argv):
    parser = Parser(
        description="Print what each experiment reached: accuracy, and the share of products that "
        "a machine may file by itself at 95 % and 98 % accuracy. Everything else is asked for.")
    add_paths(parser, "the SQLite file with the experiments", "folder of the pictures for the page")
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
                      help="print the products whose label may be wrong, as CSV, by an "
                      "experiment with folds")
    what.add_argument("--overrides", metavar="FILE",
                      help="take a person's decisions from a CSV file (saved by a page, or that of "
                      "--label-suspects with its column `decision` filled in) into crawl.db; "
                      "later training uses them. A line that can't be used is named and left out; "
                      "the exit status is 1 then")
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
    parser.add_argument("--confidence", type=share(50, 99.999), default=.95, metavar="PERCENT",
                        help="of certificates, intervals and tests (default: 95)")
    parser.add_argument("--top", type=whole_number(), metavar="K",
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
    args.images_path = images_folder(args.db_path, args.images_path)
    return args


def save_page(path, text):
    """Write a page to a file, whole or not at all. Raises UserError where that can't be, or where
    there is something else than a page."""
    target = os.path.realpath(path)   # a link stays one
    try:
        if os.path.isfile(target):
            with open(target, "rb") as file:
                if file.read(100).lstrip()[:5].lower() not in (b"", b"<!doc", b"<html"):
                    raise UserError(f"--output {path} is a file of something else: name another")
        # A pipe or a device is written into, not replaced.
        ordinary = os.path.isfile(target) or not os.path.exists(path)
        with replacing(target) if ordinary else contextlib.nullcontext(path) as beside:
            with open(beside, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            if os.path.isfile(target):
                os.chmod(beside, os.stat(target).st_mode & 0o777)
    except OSError as error:
        raise UserError(f"--output {path} can't be written ({error.strerror}): name "
                        "another") from None


def make_page(conn, args):
    """The HTML of the page that is asked for."""
    if args.review is not None:
        return html_pages.review_page(conn, args.review, args.images_path, args.db_path,
                                      args.top or 500, args.surest_first)
    number, suspected = args.dump_errors_for_experiment, ()
    if db.settings(db.experiment(conn, number)).get("folds"):
        suspected = {row["product_id"] for row in label_suspects.label_suspects(conn, number, None)}
    return html_pages.error_page(conn, number, args.images_path, args.db_path, args.confidence,
                                 args.top or 500, suspected)


def write_page(text, args):
    """Print a page, or write it to the file asked for."""
    if args.output is None:
        print(text)
        return
    save_page(args.output, text)
    log(f"{args.output}: {len(text.encode()) / 1e6:.1f} MB")


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
        result, show = decisions.take(args.db_path, args.overrides), text_report.overrides_text
    else:
        conn = db.open_readonly(args.db_path)
        if args.dump_errors_for_experiment is not None or args.review is not None:
            write_page(make_page(conn, args), args)
            return 0
        if args.label_suspects is not None:
            result = label_suspects.label_suspects(conn, args.label_suspects, args.top)
            if not args.json:
                label_suspects.print_csv(result)
                return 0
        elif args.experiments:
            result = overview.listing(conn, args.db_path, args.confidence)
            show = overview.text
        elif args.experiment is not None:
            result = figures.describe(conn, args.experiment, args.confidence)
            result["today"] = today.describe(conn, args.experiment, result)
            show = text_report.experiment_text
        elif args.models:
            result = today.models(conn, args.db_path)
            show = text_report.models_text
        elif args.compare is not None:
            result = comparison.compare(conn, args.compare, args.confidence,
                                        args.top or (None if args.json else 20))
            show = text_report.comparison_text
        else:
            result = [figures.block(conn, experiment) for experiment in db.experiments(conn)]
            show = text_report.blocks_text
            if not result:
                log("there are no predictions yet: run categorize_words.py, or one of its sisters")
    if args.json:
        print(json.dumps(clean(result), ensure_ascii=False, indent=1, allow_nan=False))
    else:
        for line in show(result, args.top or 20):
            print(line)
    return 1 if args.overrides is not None and result["unusable"] else 0


if __name__ == "__main__":
    raise SystemExit(run(main))
