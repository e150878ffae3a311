"""The answers of an audit, from the CSV file of its page into crawl.db.

In: lines of a file of decisions that have an experiment in their column `audit`. Out: answers in the
table audit_sample, and what training is to learn from them: rows for
decision_queries.store_overrides. decisions.py reads the file:

    python analyze.py --overrides audit.csv
"""

from __future__ import annotations

import collections
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from common.terminal import UserError, command, grouped, log
from evaluation import audit, audit_queries, decision_conflicts, decision_lines
from evaluation.csv_file import NAMED
from evaluation.decision_lines import Categories, Cells, short

Line = tuple[int, Cells]
Override = tuple[int, str | None, str | None]  # as decision_queries.store_overrides takes it
# What the page writes into the column `decision`, and what a person may write there or into one
# called `answer`.
ANSWERS = {
    **dict.fromkeys(("right", "y", "yes"), "right"),
    **dict.fromkeys(("wrong", "n", "no"), "wrong"),
    **dict.fromkeys(("unsure", "?"), "unsure"),
    "undecided": None,  # takes an answer back
}


class Answer(NamedTuple):
    """What a line says of a product that was drawn."""

    drawn_as: int  # the row of audit_sample
    answer: str | None  # right, wrong, unsure; None takes it back
    right_id: str | None  # if it is wrong and that is known: where it belongs


class Read(NamedTuple):
    """What a file says of audits."""

    lines: int  # that are about an audit
    answers: list[Answer]
    overrides: list[Override]
    unusable: list[tuple[int, str]]  # (line, reason)


def part_lines(lines: Iterable[Line]) -> tuple[list[Line], list[Line]]:
    """(lines about an audit, the other lines) of a file of decisions. A line about an audit that
    says nothing is left out."""
    audited: list[Line] = []
    others: list[Line] = []
    for line, cells in lines:
        is_audit = cells.get("audit", "").lower() not in ("", "audit")  # a second header
        if not is_audit:
            others.append((line, cells))
        elif word_of(cells):
            audited.append((line, cells))
    return audited, others


def word_of(cells: Cells) -> str:
    """What a line says: one of ANSWERS, if it can be used."""
    return (cells.get("answer") or cells.get("decision", "")).lower()


def read_lines(
    conn: sqlite3.Connection,
    path: str,
    lines: Sequence[Line],
    categories: Categories,
    from_page: bool,
) -> Read:
    """What the lines of part_lines say. A product that is answered twice, differently, is left out.
    from_page: whether the file says which answers its page knew of; then nothing replaces what
    somebody else has answered since."""
    there = set()
    # {row of audit_sample: {(answer, what training learns of it): lines that say so}}
    said: dict[int, dict[tuple[Answer, Override | None], list[int]]] = {}
    unusable = []
    with grouped(decision_lines.changed_ids_text) as tell:
        for line, cells in lines:
            try:
                if from_page:
                    there.add(decision_conflicts.check_whole(cells))
                product = decision_lines.find_product(conn, cells, tell)
                drawn = find_drawn(conn, cells, product, categories)
                answer = read_answer(cells, drawn, categories)
                if from_page:
                    check_no_conflict(cells, answer, drawn)
            except ValueError as problem:
                unusable.append((line, str(problem)))
            else:
                override = override_of(conn, answer, drawn, product, categories)
                said.setdefault(drawn["id"], {}).setdefault((answer, override), []).append(line)
    answers, overrides = [], []
    for lines_by_answer in said.values():
        if len(lines_by_answer) == 1:
            ((answer, override),) = lines_by_answer
            answers.append(answer)
            overrides += [override] if override else []
        else:
            unusable += contradictions(lines_by_answer.values())
    decision_conflicts.tell_missing(path, there)
    return Read(len(lines), answers, overrides, sorted(unusable))


def check_no_conflict(cells: Cells, answer: Answer, drawn: sqlite3.Row) -> None:
    """Raise ValueError if another answer is stored, and none that the page of this line knew. Who
    knows may always answer what nobody was sure of."""
    same = answer[1:] == (drawn["answer"], drawn["right_id"])
    if same or drawn["answer"] is None or drawn["answer"] == "unsure" and answer.answer:
        return
    words = [drawn["answer"], *(["wrong"] if drawn["right_id"] else [])]  # as read_answer has it
    stored = [decision_conflicts.state_text(word, drawn["right_id"]) for word in words]
    known = cells.get(decision_conflicts.INSTEAD_OF, "").split(" | ")
    if not set(stored) & set(known):
        raise ValueError(
            f"product {drawn['product_id']} is answered otherwise by now, {short(stored[0])}: make "
            "the page again if you want to change that"
        )


def contradictions(answered_by: Iterable[Sequence[int]]) -> list[tuple[int, str]]:
    """(line, reason) of each of these lines, which answer for one product differently."""
    lines = sorted(line for lines in answered_by for line in lines)
    first = ", ".join(map(str, lines[:NAMED]))
    return [(line, f"the product is answered twice, differently (lines {first})") for line in lines]


def find_drawn(
    conn: sqlite3.Connection, cells: Cells, product: sqlite3.Row, categories: Categories
) -> sqlite3.Row:
    """The row of audit_sample that a line is about. Raises ValueError with the reason if the product
    was not drawn for that audit, or if the line is about another category than it was drawn at, such
    as one of a page that was made from another crawl.db."""
    audit_number, drawn = cells["audit"], []
    if audit_number.isdecimal() and int(audit_number[:20]) < 2**63:
        drawn = audit_queries.drawn_product(conn, int(audit_number), product["id"])
    if not drawn:
        raise ValueError(
            f"product {product['id']} ({short(product['name'])}) was never drawn for the audit of "
            f"experiment {audit_number[:20]}: only what chance has drawn counts"
        )
    # A product may be drawn for its leaf, and for its parent after it was filed anew.
    said = cells.get("label", "")
    for row in drawn:
        names = row["category_id"], category_today(row["category_id"], categories)
        if not said or any(decision_lines.same_label(said, name) for name in names):
            return row
    raise ValueError(
        f"the answer is about {short(said)}, and product {product['id']} was filed at "
        f"{short(drawn[0]['category_id'])}: is the page of another crawl.db?"
    )


def read_answer(cells: Cells, drawn: sqlite3.Row, categories: Categories) -> Answer:
    """The Answer of a line. Raises ValueError with the reason if it can't be used.

    If a product was filed at a parent, and belongs into a leaf below that, the parent was right."""
    word = word_of(cells)
    if word not in ANSWERS:
        raise ValueError(f"the answer {short(word)} is none of right, wrong and unsure")
    answer, filed = ANSWERS[word], category_today(drawn["category_id"], categories)
    if answer is None or not (cells.get("suggestion") or cells.get("proposed")):
        return Answer(drawn["id"], answer, None)
    right = decision_lines.read_category(cells, word, categories, False)
    if drawn["level"] == "parent" and filed in categories.levels.get(right, ()):
        return Answer(drawn["id"], "right", None if right == filed else right)
    if answer == "right" and right == filed:
        return Answer(drawn["id"], answer, None)
    if answer != "wrong":
        raise ValueError(f"it is called {answer}, and is to go to {right!r}: answer wrong")
    if right == filed:
        raise ValueError(f"it is called wrong in {right!r}, and is to go there: answer right")
    return Answer(drawn["id"], answer, right)


def category_today(category: str, categories: Categories) -> str:
    """A category that a product was filed at, as it is called today."""
    if category in categories.levels:
        return category
    return categories.renamed.get(category) or category


# ---- what training learns -----------------------------------------------------------------------


def override_of(
    conn: sqlite3.Connection,
    answer: Answer,
    drawn: sqlite3.Row,
    product: sqlite3.Row,
    categories: Categories,
) -> Override | None:
    """The label that an answer gives a product, as a decision; one that takes the label of an
    earlier answer back; or None. A product that the shop has filed since keeps the shop's label."""
    if product["category_id"] is not None:
        return None
    filed = category_today(drawn["category_id"], categories)
    label = label_of(answer.answer, answer.right_id, drawn["level"], filed)
    if label == filed and filed not in categories.levels:  # the category is gone since
        label = None
    if label:
        return product["id"], "filed by hand", label
    before = label_of(drawn["answer"], drawn["right_id"], drawn["level"], filed)
    if before and audit_queries.decided_category(conn, product["id"]) == before:
        return product["id"], None, None
    return None


def label_of(answer: str | None, right_id: str | None, level: str, filed: str) -> str | None:
    """The label that an answer gives: where the product belongs, or the leaf that was right. That a
    parent was right gives none."""
    if right_id or answer != "right" or level != "leaf":
        return right_id
    return filed


# ---- what the answers say -----------------------------------------------------------------------


def store(conn: sqlite3.Connection, read: Read) -> dict[str, Any]:
    """Store answers, in the caller's transaction. Returns what was done: a dict of read, changed
    and {answer: how many} of those that were read."""
    changed = audit_queries.store_answers(conn, read.answers)
    counts = collections.Counter(answer.answer or "taken back" for answer in read.answers)
    return {"read": len(read.answers), "changed": changed, "answers": dict(counts)}


def judged_after(conn: sqlite3.Connection, read: Read, db_path: str) -> dict[int, dict[str, Any]]:
    """{experiment: what the answers say of the promise in force} of the audits that a file was about:
    `levels` (audit.judge), `categories` (audit.judge_categories), how many of the file's answers are
    `beside` the sample of the whole, the `confidence`, and the command that draws `more`."""
    judged, answered = {}, {answer.drawn_as for answer in read.answers}
    for number in audit_queries.experiments_of(conn, list(answered)):
        try:
            promise = audit.promise_in_force(conn, number, db_path)
        except UserError as problem:  # the answers are stored all the same
            log(str(problem))
        else:
            levels, sample = audit.judge(conn, number, promise), audit_queries.sample(conn, number)
            counted = {
                row["id"]
                for level in levels
                for row in audit.answered_rows(sample, level.level, level.threshold)
            }
            judged[number] = {
                "levels": levels,
                "categories": audit.judge_categories(conn, number, promise),
                "beside": sum(
                    row["beside"] and row["id"] in answered and row["id"] not in counted
                    for row in sample
                ),
                "confidence": promise.confidence,
                "more": command("analyze", "--audit", number, "-o", "audit.html", db_path=db_path),
            }
    return judged
