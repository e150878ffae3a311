"""Print what experiments reached and what they promise, compare them, find labels that are wrong.

In: crawl.db, which only --audit, --overrides and --recategorize write (one of an older version is
brought up to date first).
Out, on stdout: for each experiment its accuracy and its coverage, the share of products that a
machine may file by itself at 95 % and 98 % accuracy, for leaves and for their parents. Each flag
prints something else.

    python analyze.py
    python analyze.py --experiment 2
    python analyze.py --compare 1 2
    python analyze.py --label-suspects 2 > suspects.csv
    python analyze.py --dump-errors-for-experiment 2 > errors.html
    python analyze.py --review 2 > review.html
    python analyze.py --audit 2 > audit.html
    python analyze.py --review 2 --part 1/2 > first.html
    python analyze.py --recategorize moves.csv
    python analyze.py --export 2 --format shopify > types.csv
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from typing import Any

from common import interrupts

if __name__ == "__main__":
    interrupts.quiet_until_run()

import db
from common.arguments import add_paths
from common.files import images_folder
from common.terminal import Parser, exact_output, log, run, say, say_json
from crawling import feed_arguments
from evaluation import (
    audit_page,
    comparison,
    decisions,
    error_page,
    experiment_figures,
    experiment_report,
    export,
    export_arguments,
    export_queries,
    export_text,
    figures,
    html_pages,
    label_suspects,
    levels,
    overview,
    recategorize,
    report_arguments,
    review_page,
    text_report,
    today,
)

# ---- the command ------------------------------------------------------------------------------


def make_parser() -> Parser:
    parser = Parser(
        description="Print what each experiment reached: accuracy, and the share of products that "
        "a machine may file by itself at 95 % and 98 % accuracy. Each flag prints a "
        "different report. N is the number of an experiment. (--apply is a flag of "
        "categorize_words.py, categorize_images.py and categorize_both.py, which make them.)"
    )
    add_paths(parser, "the SQLite file with the experiments", "folder of the pictures for the page")
    report_arguments.add_reports(parser)
    report_arguments.add_options(parser)
    exporting = parser.add_argument_group("with --export")
    export_arguments.add_arguments(exporting)
    feed_arguments.add_reading_arguments(exporting)
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser()
    args = parser.parse_args(argv)
    pages = (args.dump_errors_for_experiment, args.review, args.audit)
    paged = any(number is not None for number in pages)
    if args.output is not None and not paged and args.export is None:
        parser.error("--output is for --dump-errors-for-experiment, --review, --audit and --export")
    if args.json and paged:
        parser.error(
            "--dump-errors-for-experiment, --review and --audit print a page: leave out --json"
        )
    if args.surest_first and args.review is None:
        parser.error("--surest-first is for --review")
    if (args.part or args.unclear) and args.review is None:
        parser.error("--part and --unclear are for --review")
    if args.floor and args.experiment is None and args.dump_errors_for_experiment is None:
        parser.error("--floor is for --experiment and --dump-errors-for-experiment")
    export_arguments.check_arguments(parser, args)
    args.column = feed_arguments.named_columns(parser, args.column)
    args.images_path = images_folder(args.db_path, args.images_path)
    return args


def json_ready(value: Any) -> Any:
    """The value without `lines`, which are text, and with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: json_ready(part) for key, part in value.items() if key != "lines"}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return json_ready(value._asdict())
    if isinstance(value, (list, tuple)):
        return [json_ready(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(result: Any, lines: Iterable[str], as_json: bool) -> None:
    """Print a result: its lines of text, or as JSON."""
    if as_json:
        say_json(json_ready(result), indent=1)
    else:
        say(*lines)


def write_page(text: str, path: str | None) -> None:
    """Print a page, or write it to the file asked for."""
    if path is None:
        say(*text.split("\n"))
        return
    html_pages.save_page(path, text)
    log(f"{path}: {len(text.encode()) / 1e6:.1f} MB")


def report_on(args: argparse.Namespace) -> None:
    """Print what is asked for about experiments."""
    conn = db.open_readonly(args.db_path)
    if args.dump_errors_for_experiment is not None:
        write_page(
            error_page.error_page(
                conn,
                args.dump_errors_for_experiment,
                args.images_path,
                args.db_path,
                args.confidence,
                args.top or 500,
                args.floor,
            ),
            args.output,
        )
    elif args.review is not None:
        write_page(
            review_page.review_page(
                conn,
                args.review,
                args.images_path,
                args.db_path,
                args.top or 500,
                args.surest_first,
                args.part,
                args.unclear,
            ),
            args.output,
        )
    elif args.label_suspects is not None:
        suspects = label_suspects.label_suspects(conn, args.label_suspects, args.top)
        if args.json:
            show(list(suspects), (), as_json=True)
        else:
            label_suspects.print_csv(suspects)
    elif args.experiments:
        listed = overview.list_experiments(conn, args.db_path, args.confidence)
        show(listed, overview.table_lines(listed), args.json)
    elif args.experiment is not None:
        read = figures.read_predictions(conn, args.experiment)
        report = experiment_figures.describe(
            conn, args.experiment, args.confidence, args.floor, read
        )
        if not args.json:
            report["db_path"] = args.db_path  # for the commands that it names
        report["today"] = today.since_training(conn, args.experiment, report)
        report["levels"] = levels.by_level(conn, args.experiment, report, read)
        show(report, experiment_report.experiment_text(report, args.top or 20), args.json)
    elif args.models:
        models = today.models(conn, args.db_path)
        if not args.json:
            for model in models:
                model["db_path"] = args.db_path  # for the commands that it names
        show(models, text_report.models_text(models), args.json)
    elif args.compare is not None:
        most = args.top or (None if args.json else 20)
        result = comparison.compare(conn, args.compare, args.confidence, most)
        show(result, text_report.comparison_text(result, args.top or 20), args.json)
    else:
        blocks = [figures.block(conn, experiment) for experiment in db.experiments(conn)]
        if not blocks:
            log("there are no predictions yet: run categorize_words.py or another classifier")
        show(blocks, text_report.blocks_text(blocks), args.json)


def change_catalogue(args: argparse.Namespace) -> int:
    """Do what is asked for about labels and categories, and print it. Returns the exit status."""
    if args.undo_recategorize:
        undone = recategorize.undo(args.db_path)
        show(undone, recategorize.undo_text(undone), args.json)
        return 0
    if args.recategorize is not None:
        result = recategorize.take_file(args.db_path, args.recategorize)
        show(result, recategorize.moves_text(result), args.json)
    else:
        result = decisions.take_file(args.db_path, args.overrides)
        show(result, text_report.overrides_text(result), args.json)
    return 1 if result["unusable"] else 0


def export_filed(args: argparse.Namespace) -> int:
    """Print what was filed and decided, for the shop. Returns the exit status."""
    conn = db.open_readonly(args.db_path)
    export_queries.hold_still(conn)
    source = export.source_to_export(conn, args.export, args.format, args.source)
    choice = export.Choice(conn, args.export, args.only == "leaf")
    export.warn_refuted(choice, args.db_path)
    if args.format == "same":
        return export_same(args, choice, source or "")
    with exact_output(args.output) as write:
        return 0 if export.export(choice, args.format, source, write) else 1


def export_same(args: argparse.Namespace, choice: export.Choice, source: str) -> int:
    """Print the file that was loaded, with its categories filled in. Returns the exit status."""
    from crawling import feed_category_cells, feed_report, feed_same  # they take a while to load

    known = feed_report.known_categories(choice.conn, source)
    options = feed_arguments.survey_options(args)._replace(known=known)
    reading = feed_same.read_file(args.feed, options)
    export.warn_other_column(choice.conn, source, reading.written_by.category_column)

    def wanted(external_id: str) -> feed_category_cells.Fill | None:
        fill = choice.fill(source, external_id)
        return feed_category_cells.Fill(*fill) if fill else None

    export_queries.want_met(choice.conn)
    with exact_output(args.output) as write:
        done = feed_same.fill_in(reading, wanted, write)
    (counts, new), found = choice.tally(source), export_queries.count_met(choice.conn)
    missing = sum(counts[level] for level in export_text.LEVELS) - found
    sentences = done.left_out.sentences()
    for line in export_text.same_counts(
        args.feed, done.place.added, done.counts, missing, sentences, done.read_otherwise
    ):
        log(line)
    waiting = export_queries.count_waiting(choice.conn, choice.number, source)
    export_text.log_consequences(counts, new, waiting)
    return 1 if sentences or not found else 0


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    if args.undo_recategorize or args.overrides is not None or args.recategorize is not None:
        return change_catalogue(args)
    if args.audit is not None:
        page = audit_page.audit_page(
            args.db_path, args.audit, args.images_path, args.top or audit_page.MOST
        )
        write_page(page, args.output)
        return 0
    if args.export is not None:
        return export_filed(args)
    report_on(args)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
