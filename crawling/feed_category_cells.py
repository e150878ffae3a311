"""How a file spells the category of a product: the cells that hold it, and the text in them.

In: how the file was read, by which feed_products.py reads its products. Out: the cells of a row with
another category, which the next load reads as that.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from common.terminal import UserError
from common.text import folded
from crawling import feed_choice
from crawling.feed_cells import (
    Parting,
    cell_categories,
    plain,
    split_levels,
    text_entries,
    usable_levels,
)
from crawling.feed_columns import Source, category_source, is_template
from crawling.feed_dialects import PLAIN
from crawling.feed_names import column_name, known_names
from crawling.feed_products import OpenProduct, source_of
from crawling.feed_reading import Cells, FileReading, Reading
from crawling.feed_types import Names, Path, Value

LOOKED_AT = 1_000  # cells of a file, to see how it spells categories
LONGEST = 500  # characters of each
OTHER_MEANING = "its category can't be written as the file writes categories"


class Fill(NamedTuple):
    """What becomes of a product's category."""

    path: Path  # the category that it gets, in the shop's words
    replaced: Path = ()  # the one that this takes the place of; () if the product had none


class Place(NamedTuple):
    """Where a file has the category of a row, and how it is spelt there."""

    positions: tuple[int, ...]  # of the columns
    levels: bool  # whether each of them holds a level
    added: str  # the name of the column that is added for it; '' if the file has one
    parting: Parting
    joiner: str  # what is written between levels
    root: str  # what stands before the first level; '' for nothing
    escapes: str  # signs that get a backslash
    alias: str  # the known name of the column


def find_place(reading: Reading, file: FileReading, names: Names) -> Place:
    """Where and how a file with these column names has its categories: as the load reads them, and if
    no row has one, in the column that a load would look at first. Raises UserError if --column makes
    the category of several columns."""
    wanted = reading.options.read.columns.get("product_type", "")
    known = known_names(names)
    if is_template(wanted) and column_name(wanted) not in known:
        raise UserError(
            f"--format same can't fill in a category that is made of several columns ({wanted}): "
            "name another --format"
        )
    alias, source = file.category, source_of(file, names, reading.options.read.columns)
    if source is None:
        alias, source = empty_column(file, known)
    parting = file.parting
    if not file.category:
        file.cells.setdefault(alias, collections.Counter())
        parting = feed_choice.find_parting(file, alias, False, reading.options)
    cells = file.cells[alias]
    dialect = file.dialect
    return Place(
        source.positions if source else (len(names),),
        source is not None and source.levels,
        "" if source else new_name(file, names),
        parting,
        joiner_of(cells, parting),
        root_of(cells, parting) or (dialect.roots[0] if dialect.has_root and not cells else ""),
        dialect.escapes,
        alias,
    )


def empty_column(file: FileReading, known: Names) -> tuple[str, Source | None]:
    """(alias, where it is) of the first column that may hold the shop's own categories, and is not
    known to hold something else."""
    aliases = (*file.dialect.columns.get("product_type", ()), *PLAIN.columns["product_type"])
    for alias in dict.fromkeys(aliases):
        cells = file.cells.get(alias)
        if cells and feed_choice.is_kind(cells):
            continue
        source = category_source(known, alias)
        if source:
            return alias, source
    return "product_type", None


def new_name(file: FileReading, names: Names) -> str:
    """The name of a column for the category, as the system calls it, in capitals if the others are."""
    aliases = [
        alias for alias in file.dialect.columns.get("product_type", ()) if alias.isidentifier()
    ]
    name = aliases[0] if aliases and file.dialect is not PLAIN else "product_type"
    capitals = sum(text.strip()[:1].isupper() for text in names)
    return name.replace("_", " ").capitalize() if 2 * capitals > len(names) else name


def is_headless(names: Names) -> bool:
    """Whether the columns are only called by their numbers."""
    return names == tuple(str(number) for number in range(1, len(names) + 1))


# ---- spelling -----------------------------------------------------------------------------------


def some_texts(cells: Cells) -> list[str]:
    """Some cells of a column that are texts."""
    texts = (cell for cell in cells if isinstance(cell, str))
    return list(itertools.islice(texts, LOOKED_AT))


def joiner_of(cells: Cells, parting: Parting) -> str:
    """What the cells of a column have between levels, with the blanks around it: what stands there
    most often, otherwise the usual for this sign."""
    between = re.compile(f" {{0,3}}(?:{parting.level_pattern}) {{0,3}}")
    written = collections.Counter(
        joiner
        for text in some_texts(cells)
        for joiner in between.findall(f" {text[:LONGEST]} ")
        if joiner
    )
    if written:
        return written.most_common(1)[0][0]
    sign = parting.level_sign
    return sign if sign in ("/", "|") or not sign.strip() else f" {sign.strip()} "


def root_of(cells: Cells, parting: Parting) -> str:
    """The root that most cells of a column begin with, as it is spelt there; '' for none."""
    roots: collections.Counter[str] = collections.Counter()
    texts = some_texts(cells) if parting.roots else []
    for text in texts:
        entry = text_entries(plain(text), parting)[0]
        first = next((level.strip() for level in split_levels(entry, parting) if level.strip()), "")
        if folded(first) in parting.roots:
            roots[first] += 1
    return roots.most_common(1)[0][0] if 2 * roots.total() > len(texts) else ""


def spelled(path: Path, place: Place) -> str:
    """A category as the file writes it."""
    levels = []
    for level in path:
        for sign in place.escapes:
            level = level.replace(sign, f"\\{sign}")
        levels.append(level)
    return place.joiner.join([place.root, *levels] if place.root else levels)


def keys(paths: Sequence[Path]) -> list[Path]:
    """Categories as they are compared."""
    return [tuple(map(folded, path)) for path in paths]


def read_otherwise(
    reading: Reading, file: FileReading, place: Place, removed: Cells, written: Cells
) -> list[str]:
    """Cells of the file that the next load will read as other categories than this one: what parts
    levels and categories is told by all cells of a file, and these are others now."""
    cells = file.cells[place.alias] - removed + written
    filled = dataclasses.replace(file, cells={place.alias: cells})
    standard = place.parting.standard
    now = feed_choice.find_parting(filled, place.alias, standard, reading.options)
    now = now._replace(bare_numbers=place.parting.bare_numbers)  # not told by these cells alone
    return [
        cell
        for cell in cells
        if isinstance(cell, str)
        and keys(cell_categories(cell, now)) != keys(cell_categories(cell, place.parting))
    ]


# ---- the cells of a row -------------------------------------------------------------------------


NewCells = tuple[dict[int, str], bool] | None


def new_cells(row: OpenProduct, fill: Fill, place: Place) -> NewCells:
    """({position: text} of the cells that change, whether the row had other categories that no person
    has found wrong). Nothing changes if the row has the category. None if a person has found a
    category wrong, and the row has neither that nor the right one. Raises ValueError if the file
    can't hold it."""
    if place.levels:
        return level_cells(row, fill, place)
    position = next(
        (column for column in place.positions if value_at(row, column)), place.positions[0]
    )
    cell = value_at(row, position)
    text = cell if isinstance(cell, str) else ""
    whole = place.parting._replace(ignored=frozenset())
    before, wanted = keys(cell_categories(cell, whole)), keys([fill.path])
    if fill.replaced and before:
        if keys([fill.replaced])[0] not in before:
            return ({}, False) if wanted[0] in before else None
        new = replaced_entry(text, fill, place)
        if keys(cell_categories(new, place.parting)).count(wanted[0]) != 1:
            raise ValueError(OTHER_MEANING)
        return {position: new}, False
    if before[:1] == wanted:  # the load files it there, and lists it in the others
        return {}, False
    new = spelled(fill.path, place)
    if keys(cell_categories(new, place.parting)) != wanted:
        raise ValueError(OTHER_MEANING)
    return {position: new}, bool(before)


def value_at(row: OpenProduct, position: int) -> Value:
    """A row's cell, '' if the row ends before it."""
    return row.values[position] if position < len(row.values) else ""


def replaced_entry(text: str, fill: Fill, place: Place) -> str:
    """A cell with one category in the place of another, and the others as they are. Raises ValueError
    if that one is not to be found in the cell as it stands."""
    old = keys([fill.replaced])
    for entry in text_entries(plain(text), place.parting):
        path = usable_levels(split_levels(entry, place.parting), place.parting)
        if keys([path]) != old:
            continue
        bare = entry.strip()
        for sign in ("", *place.escapes):
            raw = bare.replace(sign, f"\\{sign}") if sign else bare
            if text.count(raw) == 1:
                return text.replace(raw, spelled(fill.path, place))
    raise ValueError("the category that is to be replaced can't be told apart in its cell")


def level_cells(row: OpenProduct, fill: Fill, place: Place) -> NewCells:
    """new_cells of a file with a column for each level."""
    if len(fill.path) > len(place.positions):
        raise ValueError(f"a category of more levels than the {len(place.positions)} columns")
    texts = [*fill.path, *[""] * (len(place.positions) - len(fill.path))]
    before = [value_at(row, position) for position in place.positions]
    old = tuple(text for text in before if isinstance(text, str) and text.strip())
    is_replaced = keys([old]) == keys([fill.replaced])
    if keys([old]) == keys([fill.path]):
        return {}, False
    if fill.replaced and old and not is_replaced:
        return None
    if keys(cell_categories((fill.path,), place.parting)) != keys([fill.path]):
        raise ValueError(OTHER_MEANING)
    return dict(zip(place.positions, texts)), bool(old) and not is_replaced
