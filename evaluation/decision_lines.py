"""One line of a file of decisions: the product that it is about, and what it decides.

In: a line's cells {column: text}, as a page or --label-suspects has written them and a spreadsheet
may have changed them. Out: a product's row and a decision, or ValueError with the reason, which
decisions.py reports:

    python analyze.py --overrides decisions.csv
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from common.terminal import counted
from common.text import folded, printable
from evaluation import decision_queries, product_view
from evaluation.csv_file import UNSURE, unquoted

Cells = Mapping[str, str]
Tell = Callable[[str, object], None]  # of common.terminal.grouped


class Decision(NamedTuple):
    decision: str | None  # one of decision_queries.DECISIONS, None to take one back
    category: str | None  # where the product belongs


class Categories(NamedTuple):
    """What a line may call a category. It may be older than --recategorize."""

    levels: Mapping[str, Sequence[str]]  # {id: its category_tree.levels}
    names: Mapping[str, str]  # category_tree.category_names
    renamed: Mapping[str, str | None]  # category_changes.current_ids
    paths: Mapping[str, str]  # category_changes.paths_today
    shown: Mapping[str, str]  # {an id as a cell shows it: the id}, if a character of it is not seen


# ---- the product --------------------------------------------------------------------------------


def find_product(conn: sqlite3.Connection, cells: Cells, tell: Tell) -> sqlite3.Row:
    """The product, a row of decision_queries.product_by_id, that a line is about. If a spreadsheet has
    changed its id, `tell` is told, for changed_ids_text.

    It goes by source and external_id if the line has them, which stay the same when the catalogue
    is crawled anew; otherwise by product_id, checked by what else the line says. Raises ValueError
    with the reason if the product is not there.
    """
    source, external, name = (cells.get(key, "") for key in ("source", "external_id", "name"))
    digits = cells.get("product_id", "")[:20]
    by_number = None
    if digits.isdecimal() and int(digits) < 2**63:
        by_number = decision_queries.product_by_id(conn, int(digits))
    if source and external:
        if (
            by_number
            and matches(source, by_number["source"])
            and matches(external, by_number["external_id"])
        ):
            return by_number
        return find_by_external_id(conn, source, external, name, by_number, tell)
    if not by_number:
        raise ValueError(f"there is no product {digits!r}" + rounded_hint(digits))
    check_same_product(cells, by_number)
    return by_number


def check_same_product(cells: Cells, product: sqlite3.Row) -> None:
    """Raise ValueError if a line says something else of a product than the database."""
    number = product["id"]
    for column in ("source", "external_id"):
        cell = cells.get(column, "")
        if cell and not matches(cell, product[column]):
            raise ValueError(
                f"product {number} has the {column} {product[column]!r} here, and not "
                f"{cell!r}: the ids of a fresh crawl are others, so decide on a page "
                "made from it"
            )
    name = cells.get("name", "")
    if not same_name(name, product["name"]):
        raise ValueError(
            f"product {number} is called {short(product['name'])} here, and not "
            f"{short(name)}: is it another product by now?"
        )


def changed_ids_text(count: int, names: str, reason: str) -> str:
    return (
        f"{reason} {counted(count, 'id')} ({names}): {'it is' if count == 1 else 'each is'} taken for "
        "the product with the same number and name"
    )


def find_by_external_id(
    conn: sqlite3.Connection,
    source: str,
    external: str,
    name: str,
    by_number: sqlite3.Row | None,
    tell: Tell,
) -> sqlite3.Row:
    """The product of a shop's own id; by_number is what product_id finds, or None. Raises
    ValueError with the reason if there is none, or if it is not sure that it is this one."""
    twins = [
        row
        for row in decision_queries.products_called(conn, source, zero_twins(external))
        if row["external_id"] != external
    ]
    called = [
        product
        for shop in unquoted(source)
        for product in decision_queries.products_called(conn, shop, unquoted(external))
    ]
    named = [product for product in called if same_name(name, product["name"])]
    if len(called) > 1 and len(named) != 1:  # =1 and '=1 are both ids of the shop
        ids = " or ".join(repr(product["external_id"]) for product in called)
        raise ValueError(f"it may be about the product {ids}: decide on it on a page")
    for product in named if len(called) > 1 else called:
        check_no_other(source, external, name, product, by_number, twins)
        return product
    if by_number and is_mangled(source, external, name, by_number):
        tell("a spreadsheet has changed", f"{by_number['external_id']} to {external}")
        return by_number
    hint = rounded_hint(external)
    if twins:
        hint = (
            f", but {twins[0]['external_id']!r}: a spreadsheet has taken the zeros off; have "
            "it read that column as text"
        )
    raise ValueError(f"there is no product {external[:60]!r} of {source[:60]!r}{hint}")


def check_no_other(
    source: str,
    external: str,
    name: str,
    product: sqlite3.Row,
    by_number: sqlite3.Row | None,
    twins: list[sqlite3.Row],
) -> None:
    """Raise ValueError if a line may be about another product than that of its external id: about
    by_number, that of its product_id, or about one of the twins, ids with other zeros."""
    named_so = same_name(name, product["name"])
    if by_number and not named_so and same_name(name, by_number["name"]):
        other = f"product_id {by_number['id']}"
    elif twins and not (name and named_so):
        other = repr(twins[0]["external_id"])
    else:
        return
    raise ValueError(
        f"it may be about the product {external!r} of {source} or about {other}: has "
        "a spreadsheet changed its ids? Have it read them as text"
    )


def is_mangled(source: str, external: str, name: str, product: sqlite3.Row) -> bool:
    """Whether a line is about this product, with an id that a spreadsheet has changed."""
    return (
        bool(name)
        and matches(source, product["source"])
        and same_name(name, product["name"])
        and may_become(product["external_id"], external)
    )


def matches(cell: str, value: str | None) -> bool:
    """Whether a cell is a product's value as pages and --label-suspects write it: without
    characters that steer a terminal, on one line."""

    def plain(text: str | None) -> str:
        return re.sub(r"[\s\ufffd]+", "", printable(text or ""))

    cells = set(map(plain, unquoted(cell)))
    # As it is, or as older pages show it.
    return bool(cells & {plain(value), plain(product_view.page_text(value, 100))})


def same_name(cell: str, name: str | None) -> bool:
    """Whether a line gives the product this name, or none. Only letters and digits count, and of a
    long name the beginning."""

    def plain(text: str | None) -> str:
        return re.sub(r"[\W_]+", "", (text or "")[:400]).casefold()[:200]

    if not cell or cell == "(no name)" and not plain(name):
        return True
    return plain(cell) == plain(name)


def zero_twins(external: str) -> list[str]:
    """Ids of digits that are the same number with other zeros before it."""
    if not (external.isascii() and external.isdecimal()):
        return []
    bare = external.lstrip("0") or "0"
    return [bare.zfill(length) for length in range(len(bare), 21)]


def rounded_hint(cell: str) -> str:
    """What to do about an id that a spreadsheet has rounded; empty if it doesn't look like one."""
    if not re.fullmatch(r"[0-9]+[.,][0-9]*(E\+?[0-9]+)?", cell, re.I):
        return ""
    return ": a spreadsheet has rounded the ids; have it read that column as text"


def may_become(external: str | None, cell: str) -> bool:
    """Whether a spreadsheet may have made `cell` of an id: without its leading zeros, or rounded to
    15 digits or fewer."""
    if not external or not re.fullmatch("[0-9]{1,40}", external):
        return False
    if cell.isascii() and cell.isdecimal():
        kept = cell.rstrip("0")
        return (
            int(cell[:40]) == int(external)
            or len(cell) == len(external)
            and len(kept) >= 14
            and external.startswith(kept[:14])
        )
    try:
        number = float(cell.replace(",", "."))
    except ValueError:
        return False
    return abs(number - int(external)) <= 0.01 * int(external)


def short(text: str | None) -> str:
    """A text in quotes, cut if it is long."""
    text = " ".join((text or "").split())
    return repr(text if len(text) <= 40 else text[:37] + "...")


# ---- the decision -------------------------------------------------------------------------------


def read_decision(
    cells: Cells, decision: str, label: str | None, categories: Categories
) -> Decision:
    """The Decision of a line about a product with this label (or None). Raises ValueError with the
    reason if it can't be taken."""
    # An experiment with --depth calls the label as its ancestor.
    labels = [label, *categories.levels.get(label or "", ())]
    is_older = "label" in cells and not any(same_label(cells["label"], name) for name in labels)
    renamed = categories.renamed
    if is_older and all(renamed.get(cell, "") not in labels for cell in unquoted(cells["label"])):
        raise ValueError(
            f"the decision is about the label {short(cells['label'])}, and the "
            f"product has {short(label)} by now"
        )
    if decision == "undecided":
        return Decision(None, None)
    if decision not in decision_queries.DECISIONS:
        raise ValueError(
            f"the decision {decision!r} is none of {', '.join((*decision_queries.DECISIONS, 'undecided'))}"
        )
    if decision in ("classifier wrong", "unclear"):
        return Decision(decision, None)
    if decision == "filed by hand" and label is not None:
        raise ValueError(
            f"'filed by hand' is for products without a label, and this one has "
            f"{label!r}: write 'label wrong'"
        )
    # An older page says `label wrong` also of a product without a label.
    decision = "label wrong" if label is not None else "filed by hand"
    category = read_category(cells, decision, categories, is_older)
    if category == label:
        raise ValueError(f"'label wrong' with the label that the product has, {category!r}")
    return Decision(decision, category)


def read_category(cells: Cells, decision: str, categories: Categories, is_older: bool) -> str:
    """A category's id from the column `suggestion`; otherwise, from `proposed`, what one is to be
    called that does not exist yet. If the line `is_older` than a change of categories, as its label
    shows, an id is what it was before. Raises ValueError if neither has one."""
    suggestion = cells.get("suggestion", "")
    called = unquoted(suggestion)
    called += [categories.shown[text] for text in called if text in categories.shown]
    for category in called:
        now = categories.renamed.get(category)
        for meant in (now, category) if is_older else (category, now):
            if meant and categories.levels.get(meant):
                return meant
    proposed = unquoted(cells.get("proposed", ""))[0]
    if suggestion or not proposed:
        raise ValueError(
            f"{decision!r} needs a category's id as suggestion, not "
            f"{suggestion[:60]!r} (a category that does not exist yet "
            "belongs into a column `proposed`)"
        )
    if cells.get(UNSURE) and not proposed.isascii():
        raise ValueError(
            f"the letters of the new category {short(proposed)} are not sure: save the file as CSV "
            "UTF-8"
        )
    parts = [" ".join(part.split()) for part in proposed.split(">")]
    proposed = " > ".join(parts)
    if not all(parts) or len(proposed) > 300 or printable(proposed) != proposed:
        raise ValueError(
            f"{proposed[:60]!r} is no name for a new category: write it as Parent > Leaf"
        )
    proposed = path_today(parts, categories)
    if folded(proposed) in categories.names:
        return categories.names[folded(proposed)]
    if proposed in categories.levels:
        raise ValueError(f"{proposed!r} is the root of the tree: name a category below it")
    return proposed


def path_today(parts: Sequence[str], categories: Categories) -> str:
    """A category's path, the parts of which a person has written: if it, or one above it, has
    another path now than at that time, by that."""
    for length in range(len(parts), 0, -1):
        above = folded(" > ".join(parts[:length]))
        if above in categories.names:
            break
        if above in categories.paths:
            return " > ".join((categories.paths[above], *parts[length:]))
    return " > ".join(parts)


def same_label(cell: str, label: str | None) -> bool:
    """Whether a cell of the column `label` is the label that the product has, as a page or
    --label-suspects writes it."""
    texts = label or "", product_view.page_text(label, 200)
    shown = {form for text in texts for form in (text, text.strip(), printable(text).strip())}
    return not shown.isdisjoint(unquoted(cell))
