"""The first pass over the files of a feed: what they are, and how their categories are to be read.

In: files, and what --column and its like say. Out: a Reading, by which feed_products.py reads the
products, and feed_understood.py says what was understood. Categories are counted, not products, so
that little is kept of a large feed.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from common.terminal import counted, progress
from crawling import feed_columns, feed_dialects
from crawling.feed_choice import choose_category, spell
from crawling.feed_columns import Layout, Source, category_value
from crawling.feed_dialects import PLAIN
from crawling.feed_formats import read_feed_rows
from crawling.feed_names import known_names
from crawling.feed_reading import NAMED, Cells, FileReading, Reading, SurveyOptions
from crawling.feed_types import FeedFile, LeftOut, Names, Value

MOST_CELLS = 50_000  # distinct cells of a column that are counted
MOST_NAMES = 5_000  # of columns that are kept of a file
LONGEST_CELL = 2_000  # characters of a cell that is counted
# Bytes of all cells of a file that are counted, and as many of those that are sampled. 50,000
# categories of a shop take 6 MB.
MOST_COUNTED = 20_000_000
LONGEST_SAMPLE = 200  # characters of a cell of a column that is not read
SAMPLE_ROWS = 20_000  # in which the values of columns that are not read are counted
CHILD = re.compile(r"(?:^|\|)\s*sku=([^,|]+)")  # in Magento's list of a product's variants
SAMPLE_CELLS = 1_000  # distinct ones of such a column
MOST_SAMPLED = 100_000  # distinct ones of all such columns, but LEAST_SAMPLED of each
LEAST_SAMPLED = 20
MOST_PARENTS = 150_000_000  # bytes that a file's parents and their variants take: 700,000 of them
MOST_SHORT = 100_000  # rows with cells missing that are counted
MOST_KEPT = 200_000  # names of columns in all kinds of rows of which something is kept

# Which columns of a row are counted: single ones, what is made of several, those that are not read.
Plan = tuple[list[tuple[int, Cells]], list[tuple[Source, Cells]], list[tuple[int, Cells]]]


def survey(files: Sequence[FeedFile], options: SurveyOptions) -> Reading:
    """Read all files of a feed once. Raises UserError if one can't be read, or if it has no columns
    for id and title."""
    feed_columns.check_fields(options.read.columns)
    reading = Reading([survey_file(file, options) for file in files], options)
    for file in reading.files:
        choose_category(file, options)
    spell(reading)
    return reading


# ---- one file -----------------------------------------------------------------------------------


def survey_file(file: FeedFile, options: SurveyOptions) -> FileReading:
    """Read one file, and count the cells of each column that may hold categories."""
    reading = FileReading(file)
    columns = options.read.columns
    names: Names | None = None
    first_names: Names = ()
    plans: dict[Names, Plan] = {}
    rows = read_feed_rows(file, LeftOut(), options.read, reading.how)
    for line, row_names, values in progress("feed, first look", None, "rows", rows, least=5):
        if row_names is not names:
            if row_names != names:
                new_names(reading, row_names, values is None)
                if row_names not in plans:
                    if len(plans) * len(row_names) >= MOST_KEPT:
                        plans.clear()
                    plans[row_names] = counters(reading, row_names, columns)
                plan = plans[row_names]
                share = MOST_SAMPLED // (len(reading.samples) or 1)
                most_sampled = max(LEAST_SAMPLED, min(SAMPLE_CELLS, share))
                first_names = first_names or row_names
                has_parents = bool({"code", "children"} & set(reading.dialect.columns))
                if has_parents:
                    layout = feed_columns.find_layout(row_names, reading.dialect, columns, True)
            names = row_names
        if values is None:
            reading.header = True
            check_fields(reading, row_names, columns)
            continue
        reading.rows += 1
        if len(values) < len(row_names) and len(reading.short) < MOST_SHORT:
            reading.short.append(line)
        if has_parents:
            note_parents(reading, values, layout)
        count_cells(reading, plan, values, most_sampled if reading.rows <= SAMPLE_ROWS else 0)
    reading.dialect = feed_dialects.recognise(reading.names)
    if reading.parents_lost:
        reading.how.remarks.append(
            f"{counted(reading.parents_lost, 'variant')} without a parent: the file has too many of "
            "them, so split it into several files"
        )
    if first_names:
        check_fields(reading, first_names, columns)
    return reading


def count_cells(
    reading: FileReading, plan: Plan, values: Sequence[Value], most_sampled: int
) -> None:
    """Count the cells of a row that may be categories, and of each other column this many different
    ones. Of very many different cells, and of long ones, no more are kept."""
    wanted, made, sampled = plan
    width = len(values)
    for position, cells in wanted:
        if position < width and (value := values[position]):
            if value in cells:
                cells[value] += 1
            else:
                count_new(reading, cells, value)
    for source, cells in made:
        value = category_value(values, source)
        if value in cells:
            cells[value] += 1
        elif value:
            count_new(reading, cells, value)
    if most_sampled:
        for position, cells in sampled:
            if position < width and len(cells) < most_sampled and (value := values[position]):
                if size_of(value) <= LONGEST_SAMPLE and reading.sampled_bytes < MOST_COUNTED:
                    reading.sampled_bytes += 0 if value in cells else bytes_of(value)
                    cells[value] += 1


def count_new(reading: FileReading, cells: Cells, value: Value) -> None:
    """Count a cell that did not stand in its column before, unless it is too long or one too many."""
    if (
        len(cells) < MOST_CELLS
        and size_of(value) <= LONGEST_CELL
        and reading.counted_bytes < MOST_COUNTED
    ):
        reading.counted_bytes += bytes_of(value)
        cells[value] = 1


def bytes_of(value: Value) -> int:
    """The bytes that a cell takes."""
    inner = 0 if isinstance(value, str) else sum(map(bytes_of, value))
    return sys.getsizeof(value) + inner


def size_of(value: Value) -> int:
    """The characters of a cell."""
    return len(value) if isinstance(value, str) else sum(map(size_of, value)) + len(value)


def note_parents(reading: FileReading, values: Sequence[Value], layout: Layout) -> None:
    """Note which variants a row names, or by which code its variants name it."""
    kind = feed_columns.field_text(values, layout, "kind").partition(",")[0].strip().lower()
    code = feed_columns.field_text(values, layout, "code")
    product_id = feed_columns.field_text(values, layout, "id")
    if code and reading.dialect.kinds.get(kind) == "parent":
        keep_parent(reading, reading.codes, code, product_id)
    for child in CHILD.findall(feed_columns.field_text(values, layout, "children")):
        keep_parent(reading, reading.children, child, product_id)


def keep_parent(reading: FileReading, kept: dict[str, str], name: str, product_id: str) -> None:
    """Keep which product a code or a variant's id leads to, unless there are too many."""
    if reading.parents_size > MOST_PARENTS:
        reading.parents_lost += 1
        return
    kept[name] = product_id
    reading.parents_size += sys.getsizeof(name) + sys.getsizeof(product_id) + 100


def new_names(reading: FileReading, names: Names, header: bool) -> None:
    """Note the column names of a row."""
    before = len(reading.names)
    for known, name in zip(known_names(names), names):
        if len(reading.names) < MOST_NAMES:
            reading.names.setdefault(known, name)
    if len(reading.names) > before and (header or reading.dialect is PLAIN):
        reading.dialect = feed_dialects.recognise(reading.names)


def counters(reading: FileReading, names: Names, columns: Mapping[str, str]) -> Plan:
    """Where rows with these column names may have categories, and the Counter of each."""
    known = known_names(names)
    sources = feed_columns.category_sources(known)
    if "product_type" in columns:
        named = feed_columns.named_source(known, columns["product_type"])
        sources.update({NAMED: named} if named else {})
    used: set[int] = set()
    wanted, made = [], []
    for alias, source in sources.items():
        cells = reading.cells.setdefault(alias, Counter())
        if source.template is None and len(source.positions) == 1:
            wanted.append((source.positions[0], cells))
        else:
            made.append((source, cells))
        used.update(source.positions if alias == NAMED or not source.levels else ())
    sampled = [
        (position, reading.samples.setdefault(name, Counter()))
        for position, name in enumerate(known[:MOST_NAMES])
        if position not in used and (name in reading.samples or len(reading.samples) < MOST_NAMES)
    ]
    return wanted, made, sampled


def layout_of(reading: FileReading, names: Names, columns: Mapping[str, str]) -> Layout:
    """The Layout of rows with these column names in this file."""
    layout = reading.layouts.get(names)
    if layout is None:
        layout = feed_columns.find_layout(names, reading.dialect, columns, not reading.header)
        if len(reading.layouts) * len(names) < MOST_KEPT:
            reading.layouts[names] = layout
    return layout


def check_fields(reading: FileReading, names: Names, columns: Mapping[str, str]) -> None:
    """Note which columns hold which fields. Raises UserError if id, title or a field of --column
    has none."""
    all_names = names if reading.header else tuple(reading.names.values())
    layout = feed_columns.find_layout(all_names, reading.dialect, columns, False)
    feed_columns.check_columns(
        reading.file.name, names, feed_columns.fields_there(layout), columns, reading.header
    )
    templates = {field: template.positions for field, template in layout.templates.items()}
    reading.fields = {
        field: [all_names[position] for position in positions]
        for source in (layout.joined, layout.positions, templates)
        for field, positions in source.items()
        if positions
    }
    reading.joined = {field for field in layout.joined if not layout.positions.get(field)}
