"""File the products that nobody has filed, as far as a promise holds; leave the rest to a person.

In: products of crawl.db without a category, an experiment's model, and its predictions of products
the model had never seen, which a promise rests on. Out: rows of the table filing, and by
filing_output.py CSV or JSON Lines on stdout; on stderr how many products were filed at the leaf, at
the parent, and not at all. Each classifier files with the models of its own kind:

    python categorize_words.py --apply 1 > filed.csv
    python categorize_both.py --apply 3 --target 95 --format jsonl
    python categorize_words.py --apply 1 --target 95 --dry-run
"""

from __future__ import annotations

import collections
import contextlib
import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

import db
from common.terminal import UserError, command, counted, log, progress
from evaluation import (
    audit,
    audit_limits,
    audit_text,
    catalogue_queries,
    experiment_queries,
    filing_output,
    filing_queries,
    filing_source_queries,
    guarantees,
    kept_answer_queries,
    promise_text,
    refusals,
    today,
)
from evaluation.filing_arguments import Options
from evaluation.filing_output import Moves
from learning import (
    correctness,
    metrics,
    model_folders,
    predictions,
    saved_models,
    selection,
    twin_search,
)
from learning import queries as learning_queries

CHUNK = 5_000  # products answered at a time, at most, in one transaction
Description = dict[str, Any]  # of a model, as saved_models.load_model reads it
Weights = dict[str, NDArray[Any]]
# A classifier: rows of filing_queries.to_answer -> (logits [n, leaves], whether there is anything
# to go by, words, unknown words, whether there is a picture, [n] each).
Score = Callable[[Sequence[sqlite3.Row]], tuple[Any, Any, Any, Any, Any]]
Pictures = Callable[[], Iterable[tuple[int, str, str | None]]]  # of all that will be asked for
Scorer = Callable[[Weights, Description, Pictures], Score]  # of a saved model


# ---- the model ----------------------------------------------------------------------------------


def load_for_apply(
    conn: sqlite3.Connection, number: int, db_path: str, kind: str
) -> tuple[str, Weights, Description]:
    """(folder, weights, description) of the model of an experiment. Raises UserError if it is of
    another kind than `kind`, or not the model that the experiment wrote."""
    settings = db.settings(db.experiment_row(conn, number))
    folder = os.path.join(model_folders.models_folder(db_path), f"experiment-{number}")
    weights, described = saved_models.load_model(folder, settings.get("model"))
    if described["kind"] != kind:
        script = today.SCRIPTS[described["kind"]]
        raise UserError(
            f"the model of experiment {number} is for categorize_{script}.py: run that with --apply"
        )
    return folder, weights, described


def answer_all(conn: sqlite3.Connection, number: int, described: Description, score: Score) -> None:
    """Have the model answer all products without a category that it has not answered yet, and those
    of leaves that it does not know, a chunk and a transaction at a time.

    Without folds a promise rests on a part of the labelled products only, and the same part of the
    products of unknown leaves is answered.
    """
    folds, leaves = described["settings"].get("folds"), described["categories"]
    _, waiting, _ = filing_queries.count_unfiled(conn, number, leaves)
    near = twin_search.seek(catalogue_queries.learned_texts(conn, number, leaves))
    changed = 0  # by another process, while they were answered
    with progress("answers", waiting, "products") as bar:
        size = metrics.rows_at_once(len(leaves), CHUNK)
        for rows in filing_queries.to_answer(conn, number, leaves, size):
            bar.update(len(rows))
            rows = [
                row
                for row in rows
                if row["category_id"] is None or folds or selection.certifies(row["cluster"])
            ]
            if rows:
                scored = score(rows)
                twins = near([(row["group_key"], row["name"], row["description"]) for row in rows])
                answered = answer_rows(rows, scored, twins, described)
                with db.transaction(conn):
                    same = filing_queries.unchanged(conn, rows)
                    filing_queries.store_answers(
                        conn, number, [row for row in answered if row[0] in same]
                    )
                changed += len(rows) - len(same)
    if changed:
        log(
            f"{counted(changed, 'product')} changed while the model answered, and a load is at "
            "work: run the same command again after it"
        )


def answer_rows(
    rows: Sequence[sqlite3.Row],
    scored: tuple[Any, Any, Any, Any, Any],
    twins: Any,
    described: Description,
) -> list[tuple[Any, ...]]:
    """The rows of filing_queries.store_answers for rows of filing_queries.to_answer. scored is what
    a Score returns for them, and twins says of each whether it has a near-duplicate in training."""
    logits, known, words, unknown, pictured = scored
    leaves = described["categories"]
    calm = correctness.calibrated(logits, described)
    answers = predictions.answers(calm, 1.0, described["parents"])
    top = predictions.top_json(leaves, answers.best, answers.score)
    stored = []
    for i, row in enumerate(rows):
        answer = (None, 0.0, None, 0.0, "[]")
        if known[i]:  # there is a word or a picture to go by
            answer = (
                leaves[answers.best[i, 0]],
                float(answers.score[i, 0]),
                answers.names[answers.parent[i]],
                float(answers.parent_score[i]),
                top[i],
            )
        stored.append(
            (row["id"], *answer, int(words[i]), int(unknown[i]), int(pictured[i]), int(twins[i]))
        )
    return stored


# ---- what is filed ------------------------------------------------------------------------------


def file_all(
    conn: sqlite3.Connection,
    wanted: Options,
    described: Description,
    promise: guarantees.Promise,
    broken: Sequence[str],
) -> tuple[bool, Moves]:
    """File what has been answered, shop by shop; in a dry run only count. Nothing more is filed at
    the levels `broken`, at which an audit refutes the promise, unless all is to be filed anyway.
    Returns whether the promise holds for all of it, and the Moves."""
    labelled = refusals.labelled_rows(conn, wanted.number, described, promise)
    holds = not broken
    moves: Moves = collections.Counter()
    with contextlib.nullcontext() if wanted.dry_run else db.transaction(conn):
        if not wanted.dry_run:
            filing_queries.unfile(conn, wanted.number)
        for source in filing_queries.unfiled_sources(conn):
            thresholds, reasons, new = refusals.for_source(
                conn, wanted.number, described, source, labelled, promise
            )
            if new["near-duplicate"]:
                log(
                    f"{100 * new['near-duplicate']:.0f} % of the {new['products']} products of "
                    f"{source} have the text of a product that the model learned from, or one that "
                    "differs by a word or two"
                )
            if reasons:
                holds = False
                refused = refused_text(refused_levels(promise, thresholds), wanted.file_anyway)
                log(
                    f"{100 * promise['target']:g} % is not promised of the {new['products']} "
                    f"products of {source}, which differ from those that the promise rests on: "
                    f"{'; '.join(reasons)}. {refused}"
                )
            if wanted.file_anyway:
                thresholds, reasons = guarantees.promised_thresholds(promise), []
            stay = () if wanted.file_anyway else broken
            moves += file_source(conn, wanted, source, promise, thresholds, reasons, stay)
    return holds, moves


def refused_levels(promise: guarantees.Promise, thresholds: Mapping[str, float]) -> list[str]:
    """The levels that the promise has a threshold for, and a shop's own thresholds have none."""
    return [
        level
        for level in ("leaf", "parent")
        if promise[level] is not None and math.isinf(thresholds[level])
    ]


def refused_text(levels: Sequence[str], file_anyway: bool) -> str:
    """What becomes of a shop's products that differ, a sentence without its full stop."""
    if not levels:
        return "Nothing is promised of other products either"
    if file_anyway:
        return "They are filed anyway"
    return f"None of them is filed at the {' or the '.join(levels)} (--file-anyway does)"


def file_source(
    conn: sqlite3.Connection,
    wanted: Options,
    source: str,
    promise: guarantees.Promise,
    thresholds: Mapping[str, float],
    reasons: Sequence[str],
    stay: Sequence[str] = (),
) -> Moves:
    """File a shop's products by their answers and thresholds, and note the reasons why these are
    less than the promise, unless it is a dry run. At the levels `stay` nothing more is filed, and
    what stands there stays. Returns the Moves."""
    moves: Moves = collections.Counter()
    shut = guarantees.shut_leaves(promise)
    used = {**thresholds, **dict.fromkeys(stay, math.inf)}
    for before, target, after, products in filing_queries.filing_moves(
        conn, wanted.number, source, **used, shut=shut, stay=stay
    ):
        moves[before, target, after] += products
    if not wanted.dry_run:
        filing_source_queries.keep_filing(
            conn,
            wanted.number,
            source,
            promise,
            thresholds,
            reasons,
            refused_levels(promise, thresholds),
        )
        filing_queries.file_products(
            conn, wanted.number, source, **used, target=wanted.target, shut=shut, stay=stay
        )
    return moves


# ---- all of it ----------------------------------------------------------------------------------


def apply(wanted: Options, kind: str, scorer: Scorer) -> int:
    """What --apply does: answer, check, file, print. kind is that of the models that `scorer` makes
    classifiers of. Returns the exit status: 0, or 1 if the promise does not hold for all products.
    Raises UserError if there is no such model."""
    conn = db.open_database(wanted.db_path)
    folder, weights, described = load_for_apply(conn, wanted.number, wanted.db_path, kind)
    leaves = described["categories"]
    if damaged := kept_answer_queries.forget_damaged(conn, wanted.number):
        log(
            f"{counted(damaged, 'answer')} of experiment {wanted.number} can't be read: asked again"
        )
    products, waiting, by_person = filing_queries.count_unfiled(conn, wanted.number, leaves)
    if by_person:
        log(f"{counted(by_person, 'product')} with a person's category already")
    if not products:
        if by_person and not wanted.dry_run:
            filing_output.print_filed(conn, wanted.number, wanted.format)
        else:
            log(
                "there is no product without a category: load some with crawl.py --feed, or "
                "--unlabelled"
            )
        return 0
    if waiting:

        def pictures() -> Iterable[tuple[int, str, str | None]]:
            ids = filing_queries.waiting_products(conn, wanted.number, leaves)
            return learning_queries.pictures(conn, ids)

        answer_all(conn, wanted.number, described, scorer(weights, described, pictures))
    if not refusals.reference(conn, wanted.number, described, None)["groups"]:
        log(
            "nothing is filed: none of the products that the promise of experiment "
            f"{wanted.number} rests on is left to compare the new ones with; load labelled "
            "products and train again"
        )
        return 1
    promise = guarantees.promise(
        conn, wanted.number, leaves, wanted.target, wanted.confidence, wanted.floor
    )
    if not wanted.dry_run:
        saved_models.keep_promise(folder, promise)
    log_promise(conn, wanted, described, promise)
    broken = log_audit(conn, wanted, promise)
    holds, moves = file_all(conn, wanted, described, promise, broken)
    if wanted.dry_run:
        filing_output.print_dry_run(wanted.number, wanted.target, moves, products)
    else:
        print_result(conn, wanted, moves, products)
    return 0 if holds else 1


def log_promise(
    conn: sqlite3.Connection, wanted: Options, described: Description, promise: guarantees.Promise
) -> None:
    """Say what is promised, and what has changed since the training."""
    number = wanted.number
    for line in promise_text.promise_lines(promise):
        log(line)
    if promise["leaf"] is None and described["settings"].get("folds"):
        suspects = command("analyze", "--label-suspects", number, db_path=wanted.db_path)
        log(
            f"wrong labels count as errors, too. To list those that may be wrong: {suspects}. "
            "Correct them in the shop's feed, load it and train again"
        )
    for line in today.changes_lines(number, experiment_queries.changes(conn, number)):
        log(line)
    if gone := today.gone_line(filing_queries.answers_gone(conn, number)):
        log(gone)


def log_audit(conn: sqlite3.Connection, wanted: Options, promise: guarantees.Promise) -> list[str]:
    """Say what an audit says of the promise, if there is one. Returns the levels at which it refutes
    the promise."""
    judged = audit.judge(conn, wanted.number, audit.promise_of(promise))
    for level in judged:
        log(audit_text.judged_text(level))
        if level.verdict == audit_limits.BROKEN:
            found = audit.supported(conn, wanted.number, level, wanted.confidence)
            log(audit_text.refuted_text(level, found, wanted.file_anyway))
    return audit_text.broken_levels(judged)


def print_result(conn: sqlite3.Connection, wanted: Options, moves: Moves, products: int) -> None:
    """Print what was filed, and say how many `products` have which level now."""
    if changes := filing_output.moves_text(moves):
        log(changes)
    counts = filing_output.print_filed(conn, wanted.number, wanted.format)
    log(filing_output.counts_text(counts, products))
    next_steps = []
    if counts["leaf"] + counts["parent"]:
        next_steps.append(("to check a sample of what was filed", "audit"))
    if counts["person"] + counts["parent"]:
        next_steps.append(("to choose leaves for the others", "review"))
    for why, page in next_steps:
        flags = (f"--{page}", wanted.number, "-o", f"{page}.html")
        log(f"{why}: {command('analyze', *flags, db_path=wanted.db_path)}")
