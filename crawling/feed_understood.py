"""How a feed was understood, in words.

In: a Reading. Out: lines for a person: which column is what, what is not read, how categories are
parted, and what another flag would change.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from common.terminal import FEW, counted, first_few
from common.text import one_line
from crawling import feed_cells, feed_columns, feed_dialects
from crawling.feed_cells import cell_categories
from crawling.feed_reading import NAMED, FileReading, Reading
from crawling.feed_types import Path, Value

OTHER = ("product_type", "standard", "weak")  # fields of which one column is read
LONGEST = 60  # characters of a cell, a name or a category in a line
FEW_SHORT = 0.1  # of a file's rows: if more have cells missing, the file writes empty ones so
MOST_UNREAD = 15  # columns that are named as unread
# Columns with few values that are no categories.
NO_CATEGORY_COLUMNS = re.compile(
    r"colou?r|size|brand|gender|condition|availab|stock|currency|price|material|vendor|status|"
    r"season|year|date|country|language|store|shop|merchant|tax|type_of|unit|age|rating|url|link|"
    r"image|picture|id$|sku|^is_|^has_|published|visib|weight|option|attribute|published|market"
)
CATEGORY_NAME = re.compile(
    r"categor|kategor|catég|^cat$|department|breadcrumb|taxonom|collection|section|warengruppe|"
    r"producttype|product_type|subcat|article_?type|分类|カテゴリ|катего|раздел"
)
# What else is said of a category: of no interest if its name is there.
NO_NAME = re.compile(r"(slug|href|url|uri|link|image|id|description|permalink)s?$")


def shown_path(path: Path) -> str:
    """A category in a line."""
    return short(" > ".join(path), 3 * LONGEST)


def short(text: str, longest: int = LONGEST) -> str:
    """Text for a line: printable, and not too long."""
    text = one_line(text[: 4 * longest])
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def quoted(text: str) -> str:
    """Text in a line, in quotation marks; a backslash stays one."""
    return f"'{short(text)}'"


def cell_text(value: Value) -> str:
    """A cell as it stands in the file, or nearly so."""
    return value if isinstance(value, str) else ", ".join(map(cell_text, value))


def understood(reading: Reading) -> list[str]:
    """Lines about how the files of a feed are read."""
    lines = []
    for file in reading.files:
        kind = [
            file.how.kind,
            file.how.encoding,
            file.dialect.name and f"read as a file of {file.dialect.name}",
        ]
        lines.append(f"{file.file.name}: {', '.join(filter(None, kind)) or 'read'}")
        lines += [f"  {line}" for line in (*file.how.remarks, *file_lines(reading, file))]
    return lines


def file_lines(reading: Reading, file: FileReading) -> Iterator[str]:
    columns = reading.options.read.columns
    fields = []
    for field in feed_dialects.FIELDS:
        if field == "product_type" and not feed_columns.is_template(columns.get(field, "")):
            names = category_names(file, columns)
        elif field in columns and feed_columns.is_template(columns[field]):
            names = [columns[field]]
        else:
            names = file.fields.get(field, [])
        label = "product_type (the category)" if field == "product_type" else field
        fields.append(f"{label}: {names_read(field, names, field in file.joined) or 'none'}")
    yield "; ".join(fields)
    unread = unread_columns(file, columns)
    if unread:
        yield f"not read: {first_few_of(unread)}"
    example = category_example(file)
    if example:
        yield example


def names_read(field: str, names: Sequence[str], joined: bool) -> str:
    """The columns of a field: all of them, or the first and those that stand in for it."""
    shown = [short(name) for name in names[:FEW]]
    if field == "product_type":
        return " > ".join(shown)
    if field == "image_link" or len(shown) < 2:
        return ", ".join(shown)
    if joined:
        return " and ".join(shown)
    return f"{shown[0]} (otherwise {', '.join(shown[1:])})"


def category_names(file: FileReading, columns: Mapping[str, str]) -> list[str]:
    """The columns of the category, as they stand in the file."""
    known = tuple(file.names)
    if file.category == NAMED:
        source = feed_columns.named_source(known, columns["product_type"])
    else:
        source = feed_columns.category_source(known, file.category) if file.category else None
    if not source:
        return []
    positions = source.template.positions if source.template else source.positions
    return [file.names[known[position]] for position in positions]


def first_few_of(names: list[str]) -> str:
    shown = ", ".join(map(short, names[:MOST_UNREAD]))
    more = len(names) - MOST_UNREAD
    return f"{shown} and {more} more" if more > 0 else shown


def unread_columns(file: FileReading, columns: Mapping[str, str]) -> list[str]:
    """The names of the columns that no field is read from."""
    read = {name for field, names in file.fields.items() for name in names if field not in OTHER}
    read.update(category_names(file, columns))
    read.update(name.removesuffix(".path") for name in list(read))  # made of the column itself
    return [name for name in file.names.values() if name.strip() and name not in read]


def category_example(file: FileReading) -> str:
    """How the cell with the most categories, or the most levels, is read."""
    cells = file.cells.get(file.category)
    if not cells:
        return ""
    best: tuple[int, int, int] = (0, 0, 0)
    example: tuple[Value, tuple[Path, ...]] = ("", ())
    for number, (cell, often) in enumerate(cells.items()):
        if number >= 1000:
            break
        paths = cell_categories(cell, file.parting)
        if paths and (min(len(paths), 2), len(paths[0]), often) > best:
            best, example = (min(len(paths), 2), len(paths[0]), often), (cell, paths)
    cell, paths = example
    if not paths:
        return ""
    read_as = " and ".join(map(shown_path, paths[:3]))
    more = " and so on" if len(paths) > 3 else ""
    if len(paths) > 1:
        parts = f"{len(paths)} categories"
    elif (
        isinstance(cell, str) and file.parting.level_sign in feed_cells.plain(cell) and paths[0][1:]
    ):
        parts = f"{len(paths[0])} levels, parted by '{file.parting.level_sign}'"
    else:
        parts = counted(len(paths[0]), "level")
    return f"a category such as {quoted(cell_text(cell))} is read as {parts}: {read_as}{more}"


# ---- what another flag would change -------------------------------------------------------------


def remarks(reading: Reading) -> list[str]:
    """Lines about what a person may want to read otherwise, with the flag for it."""
    return [
        line
        for file in reading.files
        for line in (
            *column_remarks(reading, file),
            *category_remarks(file, reading.options.read.columns),
            *short_remark(file),
        )
    ]


def column_remarks(reading: Reading, file: FileReading) -> Iterator[str]:
    """Other columns that may hold the category."""
    chosen = ", ".join(category_names(file, reading.options.read.columns))
    chosen_count = file.filed.get(file.category, 0)
    standard = file.dialect.columns.get("standard", ())
    for name, number in file.filed.items():
        own_is_lost = file.standard and name not in standard
        if name == file.category or not number > chosen_count and not (own_is_lost and number):
            continue
        yield (
            f"{quoted(chosen)} is used and gives {counted(chosen_count, 'row')} a category; "
            f"{quoted(original(file, name))} gives {number:,}: to use it instead, add "
            f"{column_flag(original(file, name))}"
        )
    similar = similar_columns(file, reading.options.read.columns)[:FEW]
    if len(similar) > 1 and not file.category:
        names = [original(file, name) for name in similar]
        yield (
            f"columns {', '.join(map(quoted, names))} look like categories. If each holds a level, "
            f"add {column_flag(','.join(names))}; otherwise name one of them"
        )
        return
    for name in similar:
        values = first_few(
            [short(cell_text(value)) for value in file.samples[name]][:3], len(file.samples[name])
        )
        yield (
            f"column {quoted(original(file, name))} is not read, but looks like a category "
            f"({values}): to use it, add {column_flag(original(file, name))}"
        )


def original(file: FileReading, alias: str) -> str:
    """What --column calls the column that has this alias, or the several that hold its levels."""
    known = tuple(file.names)
    source = feed_columns.category_source(known, alias)
    if alias in file.names or not source:
        return file.names.get(alias, alias)
    names = [file.names[known[position]] for position in source.positions]
    return ",".join(names) if source.levels else names[0]


def column_flag(name: str) -> str:
    """The flag that makes a column the category, as it can be typed."""
    return shlex.join(["--column", f"product_type={name}"])


def similar_columns(file: FileReading, columns: Mapping[str, str]) -> list[str]:
    """The columns that are not read, and look like categories: by their name, by levels in them, or
    few values in many rows. If all rows have a category, only what parts them more finely does."""
    unread = set(unread_columns(file, columns))
    all_filed = 0 < file.rows <= file.filed.get(file.category, 0)
    least = len(file.cells[file.category]) if all_filed else 1
    looks = []
    for name, cells in file.samples.items():
        if file.names.get(name) not in unread or len(cells) < least:
            continue
        texts = [cell_text(value) for value in cells]
        called = CATEGORY_NAME.search(name)
        are_ids = called and not file.category and all(map(str.isdecimal, texts))
        if 2 * sum(map(is_name, texts)) <= len(texts) and not are_ids:
            continue
        named = called or 2 * sum(map(has_levels, texts)) > len(texts)
        named = named and not (file.category and NO_NAME.search(name))
        few = 2 <= len(cells) <= min(200, cells.total() / 10) and not file.category
        if named or few and not NO_CATEGORY_COLUMNS.search(name):
            looks.append(name)
    return looks


def is_name(text: str) -> bool:
    """Whether a cell may name a category: it has letters, and is no address or long text."""
    short_enough = len(text) < 100 or has_levels(text)
    is_answer = text.strip().lower() in ("true", "false", "yes", "no")
    return short_enough and any(map(str.isalpha, text)) and "://" not in text and not is_answer


def has_levels(text: str) -> bool:
    """Whether the levels of a category stand in a cell, and no markup."""
    return ">" in text and "<" not in text


def short_remark(file: FileReading) -> Iterator[str]:
    """That rows end before the header does, as rows do that were cut. If many do, that is how the
    file writes cells that are empty."""
    if file.header and 0 < len(file.short) <= file.rows * FEW_SHORT:
        yield (
            f"{counted(len(file.short), 'row has', 'rows have')} fewer cells than the header (line "
            f"{first_few([*map(str, file.short)])}), because something has cut them, or their last "
            "cells are empty; missing cells count as empty"
        )


def category_remarks(file: FileReading, columns: Mapping[str, str]) -> Iterator[str]:
    """What is particular about the categories of a file."""
    chosen = ", ".join(category_names(file, columns))
    if file.none_words:
        words = [quoted(cell_text(cell)) for cell, _ in file.none_words.most_common(FEW + 1)]
        counts = "counts" if len(words) == 1 else "count"
        yield (
            f"{counted(file.none_words.total(), 'row')} without a category: "
            f"{first_few(words, len(file.none_words))} {counts} as none"
        )
    if file.listing_several:
        lists = "row lists" if file.listing_several == 1 else "rows list"
        yield (
            f"{file.listing_several:,} {lists} several categories: a product is filed under the one "
            "with the most levels, the first if several have as many, and all are kept in the table "
            "product_category; --ignore-category NAME leaves one out"
        )
    if file.standard and file.parting.bare_numbers:
        yield (
            f"the categories in {quoted(chosen)} are numbers: "
            "--category-names FILE takes their names from a file with lines such as "
            "'166 - Apparel & Accessories'"
        )
