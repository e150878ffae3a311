"""Whether a file of decisions is whole, and which of its decisions contradict what is stored.

In: a line's cells {column: text}, as a page has saved them, and the stored decision. Out: nothing,
or ValueError with the reason, which decisions.py reports:

    python analyze.py --overrides decisions.csv

Two people may decide on the same product, and one person may change her mind. A line tells them
apart: it says which decisions on the product its page knew of, the person's own earlier ones among
them. What is stored and known may be replaced; what is stored and not known is somebody else's.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Mapping, Sequence

from common.terminal import counted, log
from common.text import folded, printable
from evaluation.csv_file import NAMED, unquoted
from evaluation.decision_lines import Categories, Cells, Decision, short

# Columns of a file that a page has saved: all decisions that it knew of before this one, and which
# line of how many it is. Files of older pages lack them.
INSTEAD_OF, LINE = "instead_of", "line"
OF_PAGES = {INSTEAD_OF, LINE}
PUT = ("label wrong", "filed by hand")  # the decisions that put a product into a category


def check_whole(cells: Cells) -> tuple[int, int]:
    """(which line of how many this is, as the page has counted). Raises ValueError if the line was
    cut: a part of a category's id may be another category's."""
    numbers = re.fullmatch(r"([0-9]{1,9}) of ([0-9]{1,9})", cells.get(LINE, ""))
    if not numbers:
        raise ValueError("the line is not whole: was the file saved half-way? Save it once more")
    return int(numbers[1]), int(numbers[2])


def state_text(decision: str | None, category: str | None) -> str:
    """A decision as the column `instead_of` has it."""
    return f"{decision or 'undecided'} {category or ''}".strip()


def check_no_conflict(
    cells: Cells, read: Decision, stored: sqlite3.Row | None, categories: Categories
) -> None:
    """Raise ValueError if `stored`, a product's row of decision_queries.overrides, is another
    decision than this one, and none that the page of this line knew: somebody else has made it. A
    page always says what it knew, so who has emptied that cell wants to replace whatever there is."""
    if stored is None or not is_other(read, stored):
        return
    if not cells.get(INSTEAD_OF):
        log(replaced_text(stored, read.decision, read.category))
        return
    category = stored["category_id"]
    called = [category or ""]  # as it was called when the page was made, or proposed
    if category:
        called += [old for old, now in categories.renamed.items() if now == category]
        called += [name for name, meant in categories.names.items() if meant == category]
    words = [stored["decision"]]
    if stored["decision"] in PUT:  # an older page says `label wrong` of all
        words = list(PUT)
    known = [f" | {folded(printable(cell))} | " for cell in unquoted(cells[INSTEAD_OF])]
    for word in words:
        for name in called:
            if any(f" | {folded(printable(state_text(word, name)))} | " in cell for cell in known):
                return
    raise ValueError(
        f"product {stored['product_id']} is decided otherwise by now, "
        f"{short(state_text(stored['decision'], category))}, and not "
        f"{short(state_text(*read))}: to replace that, empty the cell {INSTEAD_OF} of this line"
    )


def replaced_text(stored: sqlite3.Row, decision: str | None, category: str | None) -> str:
    """Which decision is replaced by which, in words."""
    before = state_text(stored["decision"], stored["category_id"])
    return f"product {stored['product_id']}: {state_text(decision, category)}, before that {before}"


def is_other(read: Decision, stored: sqlite3.Row | None) -> bool:
    """Whether a decision would replace another one that holds."""
    return bool(
        stored
        and stored["holds"]
        and (read.decision, read.category) != (stored["decision"], stored["category_id"])
    )


# ---- what is said of a file -----------------------------------------------------------------------


def tell_missing(path: str, lines_there: Collection[tuple[int, int]]) -> None:
    """Say so if lines are missing of those that a page has saved: it may have been saved half-way,
    or a person has deleted them. lines_there are check_whole."""
    most = max((total for _, total in lines_there), default=0)
    there = len({line for line, total in lines_there if total == most})
    if there < most:
        log(
            f"{path} holds {there:,} of the {counted(most, 'decision')} that the page saved: if "
            "nobody has deleted the others, take in the whole file (answers of an audit that are "
            "missing count as skipped)"
        )


def tell_replaced(
    path: str,
    decisions: Sequence[tuple[int, str | None, str | None]],
    stored: Mapping[int, sqlite3.Row],
) -> None:
    """Name the decisions that a file replaces which does not say what it knew of: an older page's,
    that of --label-suspects, or one that a person has written."""
    texts = [
        replaced_text(stored[number], decision, category)
        for number, decision, category in decisions
        if is_other(Decision(decision, category), stored.get(number))
    ]
    if texts:
        more = f", and {len(texts) - NAMED:,} more" if len(texts) > NAMED else ""
        log(f"{path} replaces {counted(len(texts), 'decision')} ({'; '.join(texts[:NAMED])}{more})")
