"""Which column of a feed is what.

In: the names of a file's columns, and what --column says. Out: a Layout, which finds the fields of
a product in a row.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from common.terminal import UserError
from common.text import clean_text
from crawling import feed_dialects
from crawling.feed_dialects import FIELDS, PLAIN, Dialect
from crawling.feed_names import column_name, inner_name, known_names, name_places
from crawling.feed_types import Names, Value

MOST_NAMES = 20  # of columns, in a sentence
PAGE = re.compile("(product_?)?(link|url|page|permalink)|(link|url)_product")


class Template(NamedTuple):
    """A text made of several columns: images/{id}.jpg."""

    texts: tuple[str, ...]  # before, between and after the columns
    positions: tuple[int, ...]


class Source(NamedTuple):
    """Where a row has its category: in one of several columns, or in all of them."""

    positions: tuple[int, ...]
    levels: bool = False  # whether each column holds one level
    template: Template | None = None


class Layout(NamedTuple):
    """How to read rows with certain column names."""

    positions: Mapping[str, tuple[int, ...]]  # field -> the columns that may hold it, best first
    templates: Mapping[str, Template]  # field -> what it is made of
    joined: Mapping[str, tuple[int, ...]]  # field -> columns whose texts together are one
    clean: bool  # whether values may hold what SQLite can't: only text in lines can't


# ---- --column -----------------------------------------------------------------------------------


def column_position(names: Names, wanted: str) -> int | None:
    """Where the column is that --column calls `wanted`, by its name or its number from 1; None if
    there is none."""
    known = column_name(wanted)
    if known in names:
        return names.index(known)
    number = int(wanted) if re.fullmatch("[0-9]{1,6}", wanted.strip()) else 0
    return number - 1 if 0 < number <= len(names) else None


def named_positions(names: Names, wanted: str) -> tuple[int, ...]:
    """Where the columns are that --column names: a column, or several with commas between them. ()
    if one of them is not there."""
    whole = column_position(names, wanted)
    if whole is not None:
        return (whole,)
    parts = [column_position(names, part) for part in wanted.split(",")]
    positions = [part for part in parts if part is not None]
    return tuple(positions) if len(positions) == len(parts) else ()


def named_template(
    names: Names, wanted: str, fields: Mapping[str, tuple[int, ...]] | None = None
) -> Template | None:
    """The Template that --column gives. It names columns, or fields that have one of `fields`. None
    if it names what is not there."""
    texts = re.split(r"\{[^{}]*\}", wanted)
    parts: list[int | None] = []
    for part in re.findall(r"\{([^{}]*)\}", wanted):
        position = column_position(names, part)
        if position is None and fields and fields.get(part.strip().lower()):
            position = fields[part.strip().lower()][0]
        parts.append(position)
    positions = [part for part in parts if part is not None]
    if len(positions) < len(parts):
        return None
    return Template(tuple(texts), tuple(positions))


def is_template(wanted: str) -> bool:
    return re.search(r"\{[^{}]+\}", wanted) is not None


def check_fields(columns: Mapping[str, str]) -> None:
    """Raise UserError if --column names a field that there is not."""
    unknown = sorted(set(columns) - set(FIELDS))
    if unknown:
        raise UserError(
            f"--column knows no field {', '.join(unknown)}: name one of {', '.join(FIELDS)}"
        )


# ---- headers ------------------------------------------------------------------------------------


def header_rank(cells: Sequence[str], columns: Mapping[str, str]) -> int:
    """How surely these cells are the header of a catalogue: 3 a known system's, 2 it has an id and
    a title, 1 it has a known name, 0 it has none. `columns` is what --column says."""
    names = tuple(column_name(cell) for cell in cells[:2000])
    present = set(names) - {""}
    if feed_dialects.recognise(present) is not PLAIN:
        return 3
    plain_names = present | set(map(inner_name, present))
    by_name = {
        field
        for field in ("id", "title", "product_type", "image_link", "description")
        if field in columns
        and not columns[field].strip().isdigit()
        and (named_positions(names, columns[field]) or is_template(columns[field]))
        or not plain_names.isdisjoint(PLAIN.columns[field])
    }
    if {"id", "title"} <= by_name and len(present) > 1:
        return 2
    return int(bool(by_name))


def find_layout(names: Names, dialect: Dialect, columns: Mapping[str, str], clean: bool) -> Layout:
    """The Layout of rows with these column names in a file of a dialect."""
    known = known_names(names)
    positions: dict[str, tuple[int, ...]] = {
        field: alias_positions(known, aliases) for field, aliases in dialect.columns.items()
    }
    joined = {
        field: alias_positions(known, alias.split("+"))
        for field, aliases in dialect.columns.items()
        for alias in joined_aliases(aliases)
        if field not in columns
    }
    templates: dict[str, Template] = {}
    for field, wanted in columns.items():
        if is_template(wanted) and column_name(wanted) not in known:
            positions[field] = ()
            template = named_template(known, wanted, positions)
            if template:
                templates[field] = template
            continue
        positions[field] = named_positions(known, wanted)
    if "product_type" in columns:
        positions["standard"] = ()
    return Layout(positions, templates, joined, clean)


def alias_positions(names: Names, aliases: Iterable[str]) -> tuple[int, ...]:
    """Where the columns with one of these names are, in the order of the aliases. In an alias, #
    stands for a number; advice in brackets behind a column's name does not matter."""
    places, order = name_places(names), alias_order(tuple(aliases))
    positions: dict[int, None] = {}
    for alias in sorted(places.keys() & order.keys(), key=order.__getitem__):
        positions.update(dict.fromkeys(places[alias]))
    return tuple(positions)


@functools.lru_cache(maxsize=1_000)
def alias_order(aliases: Names) -> dict[str, int]:
    """{alias: its place among the aliases}. A dialect has more of them than a row has columns."""
    return {alias: place for place, alias in reversed(list(enumerate(aliases)))}


@functools.lru_cache(maxsize=1_000)
def joined_aliases(aliases: Names) -> Names:
    """The aliases that are several columns whose texts together are one."""
    return tuple(alias for alias in aliases if "+" in alias)


# ---- where the category is ----------------------------------------------------------------------


def category_source(names: Names, alias: str) -> Source | None:
    """Where rows have the category that a dialect calls by this alias: a column's name, or several
    with commas between them, each of which holds a level. None if one is not there."""
    if "," not in alias:
        positions = alias_positions(names, (alias, f"{alias}.name"))  # JSON may have either
        return Source(positions) if positions else None
    parts = [alias_positions(names, (part,)) for part in alias.split(",") if part]
    if not all(parts):
        return None
    several = tuple(position for part in parts for position in part)
    return Source(several, levels=True) if len(several) > 1 else None


def category_starts() -> dict[str, list[str]]:
    """{a column's name: the aliases of the category that it may be the first column of}."""
    starts: dict[str, list[str]] = {}
    for alias in feed_dialects.CATEGORY_COLUMNS:
        first = alias.partition(",")[0]
        for name in (first,) if "," in alias else (alias, f"{alias}.name"):
            starts.setdefault(name, []).append(alias)
    return starts


STARTS = category_starts()


def category_sources(names: Names) -> dict[str, Source]:
    """{alias: where rows have that category} of all dialects' aliases that are there."""
    aliases = {alias: None for name in name_places(names) for alias in STARTS.get(name, ())}
    sources = {alias: category_source(names, alias) for alias in aliases}
    return {alias: source for alias, source in sources.items() if source}


def named_source(names: Names, wanted: str) -> Source | None:
    """Where rows have the category that --column names; None if it is not there."""
    if is_template(wanted) and column_name(wanted) not in names:
        template = named_template(names, wanted)
        return Source((), template=template) if template else None
    positions = named_positions(names, wanted)
    return Source(positions, levels=len(positions) > 1) if positions else None


def category_value(values: Sequence[Value], source: Source) -> Value:
    """The cell that holds a row's category, or what is made of several cells."""
    if source.template:
        return filled(source.template, values)
    width = len(values)
    if source.levels:
        levels = [text_of(values[position]) for position in source.positions if position < width]
        levels = [level for level in levels if level]
        return (tuple(levels),) if levels else ""
    for position in source.positions:
        if position < width and values[position]:
            return values[position]
    return ""


def fields_there(layout: Layout) -> set[str]:
    """The fields that rows of this layout have a column for."""
    all_positions = (*layout.positions.items(), *layout.joined.items())
    return {field for field, positions in all_positions if positions} | set(layout.templates)


def check_columns(
    path: str, names: Names, fields_seen: Collection[str], columns: Mapping[str, str], header: bool
) -> None:
    """Raise UserError if id, title or a field of `columns` is not among the fields seen. `names`
    are the columns of the file at `path`, and `header` says whether they stand in one."""
    names_found = "found: " + ", ".join(repr(name[:30]) for name in names[:MOST_NAMES])
    if len(names) > MOST_NAMES:
        names_found += f" and {len(names) - MOST_NAMES:,} more"
    for field, name in columns.items():
        if field not in fields_seen:
            raise UserError(
                f"{path} has no column {name!r} for --column {field}: name one that it "
                f"has; {names_found}"
            )
    missing = [field for field in ("id", "title") if field not in fields_seen]
    if not missing:
        return
    if header and all(name.isdigit() for name in names):
        raise UserError(
            f"{path} has no header, and no column is named for {' and '.join(missing)}: name one by "
            f"its number, such as --column {missing[0]}=1; if none has an id, the title may be it"
        )
    if header and not header_rank(names, columns):
        raise UserError(
            f"{path} has no column whose name is known: if it has a header, say which column is "
            f"what, such as --column id=NAME --column title=NAME; if it has none, name columns by "
            f"their number, such as --column id=1 --column title=2 --column product_type=3; "
            f"{names_found}"
        )
    instead = ""
    if missing == ["id"]:
        flags = [shlex.join(["--column", f"id={name}"]) for name in instead_of_id(names)[:1]]
        instead = "".join(f"; if there is none, {flag} will do" for flag in flags)
    raise UserError(
        f"{path} has no column {', '.join(missing)}: say which it is, for example "
        f"--column {missing[0]}=HEADER{instead}; {names_found}"
    )


def instead_of_id(names: Names) -> list[str]:
    """The columns that tell products apart if they have no id: their page's address, their title."""
    known = known_names(names)
    pages = [name for name, page in zip(names, known) if PAGE.fullmatch(page)]
    return pages + [names[position] for position in alias_positions(known, PLAIN.columns["title"])]


# ---- values -------------------------------------------------------------------------------------


def text_of(value: Value) -> str:
    """A cell as one text: the texts of a list are joined by a blank."""
    if isinstance(value, str):
        return value.strip()
    return " ".join(filter(None, map(text_of, value)))


def field_text(values: Sequence[Value], layout: Layout, field: str) -> str:
    """The text of a field in a row: the first of its columns that has one; '' if none has."""
    width = len(values)
    if field in layout.templates:
        text = filled(layout.templates[field], values)
        return clean_text(text) if layout.clean else text
    for position in layout.positions.get(field, ()):
        if position < width:
            value = values[position]
            text = value.strip() if isinstance(value, str) else text_of(value)
            if text:
                return clean_text(text) if layout.clean else text
    if field in layout.joined:
        texts = [text_of(values[column]) for column in layout.joined[field] if column < width]
        return clean_text(" ".join(filter(None, texts)))
    return ""


def filled(template: Template, values: Sequence[Value]) -> str:
    """The text that a row gives a Template; '' if one of its columns is empty."""
    texts = [
        text_of(values[position]) if position < len(values) else ""
        for position in template.positions
    ]
    if not all(texts):
        return ""
    return template.texts[0] + "".join(
        text + after for text, after in zip(texts, template.texts[1:])
    )
