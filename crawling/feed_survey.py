"""The first pass over the files of a feed: what they are, and how their categories are to be read.

In: files, and what --column and its like say. Out: a Reading, by which feed_products.py reads the
products, and feed_understood.py says what was understood. Categories are counted, not products, so
that little is kept of a large feed.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from common.terminal import progress
from crawling import feed_cells, feed_columns, feed_dialects, feed_parting
from crawling.feed_cells import Parting, cell_categories, folded
from crawling.feed_columns import Layout, Source, category_value
from crawling.feed_dialects import PLAIN, Dialect
from crawling.feed_formats import read_feed_rows
from crawling.feed_types import FeedFile, HowRead, LeftOut, Names, Path, ReadOptions, Value
from crawling.feed_words import PRODUCT_KINDS, ROOTS

MOST_CELLS = 50_000  # distinct cells of a column that are counted
MOST_NAMES = 5_000  # of columns that are kept of a file
MOST_SPELLINGS = 100_000  # of categories that are counted
DEEPEST_PATH = 50  # levels of a category
LONGEST_CELL = 2_000  # characters of a cell that is counted
LONGEST_SAMPLE = 200  # characters of a cell of a column that is not read
SAMPLE_ROWS = 20_000  # in which the values of columns that are not read are counted
CHILD = re.compile(r"(?:^|\|)\s*sku=([^,|]+)")  # in Magento's list of a product's variants
SAMPLE_CELLS = 1_000  # distinct ones of such a column
MOST_SAMPLED = 100_000  # distinct ones of all such columns, but LEAST_SAMPLED of each
LEAST_SAMPLED = 20
MOST_KEPT = 200_000  # names of columns in all kinds of rows of which something is kept

NAMED = "--column product_type"  # the name of what --column says, among those of columns

Cells = Counter[Value]
# Which columns of a row are counted: single ones, what is made of several, those that are not read.
Plan = tuple[list[tuple[int, Cells]], list[tuple[Source, Cells]], list[tuple[int, Cells]]]


class SurveyOptions(NamedTuple):
    """What a user says about a feed, besides what is in its files."""

    read: ReadOptions = ReadOptions()
    separator: str | None = None  # --separator
    ignored: tuple[str, ...] = ()  # --ignore-category
    numbers: Mapping[str, str] = {}  # --category-names: a number -> its category
    known: Mapping[Path, int] = {}  # categories that crawl.db has of this shop -> their products


@dataclasses.dataclass
class FileReading:
    """How one file of a feed is read."""

    file: FeedFile
    how: HowRead = dataclasses.field(default_factory=HowRead)
    dialect: Dialect = PLAIN
    header: bool = False  # whether all rows have the same columns
    names: dict[str, str] = dataclasses.field(default_factory=dict)  # known name -> as it stands
    fields: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # field -> its columns
    joined: set[str] = dataclasses.field(default_factory=set)  # those made of all their columns
    category: str = ""  # the known name of the column that files products; '' if none does
    standard: bool = False  # whether its categories are of a published tree
    parting: Parting = Parting()
    rows: int = 0
    cells: dict[str, Cells] = dataclasses.field(default_factory=dict)  # by known name
    samples: dict[str, Cells] = dataclasses.field(default_factory=dict)  # of columns not read
    filed: dict[str, int] = dataclasses.field(default_factory=dict)  # column -> rows it files
    listing_several: int = 0  # rows that list several categories
    none_words: Cells = dataclasses.field(default_factory=Counter)  # Uncategorized ...
    codes: dict[str, str] = dataclasses.field(default_factory=dict)  # of parents -> their id
    children: dict[str, str] = dataclasses.field(default_factory=dict)  # id of a variant -> parent
    layouts: dict[Names, Layout] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Reading:
    """How a feed is read, and what reading it counts."""

    files: list[FileReading]
    options: SurveyOptions
    shown: dict[Path, str] = dataclasses.field(default_factory=dict)  # folded path -> its last name
    left_out: LeftOut = dataclasses.field(default_factory=LeftOut)
    rows: int = 0  # that feed_products has read
    merged: int = 0  # that belong to the product of another row

    @property
    def name(self) -> str:
        """What messages call the feed."""
        return self.files[0].file.name if len(self.files) == 1 else "the feed"


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
    for _, row_names, values in progress("feed, first look", None, "rows", rows, least=5):
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
                layout = feed_columns.find_layout(row_names, reading.dialect, columns, True)
                has_parents = bool({"code", "children"} & set(reading.dialect.columns))
            names = row_names
        if values is None:
            reading.header = True
            check_fields(reading, row_names, columns)
            continue
        reading.rows += 1
        if has_parents:
            note_parents(reading, values, layout)
        count_cells(plan, values, most_sampled if reading.rows <= SAMPLE_ROWS else 0)
    reading.dialect = feed_dialects.recognise(reading.names)
    if first_names:
        check_fields(reading, first_names, columns)
    return reading


def count_cells(plan: Plan, values: Sequence[Value], most_sampled: int) -> None:
    """Count the cells of a row that may be categories, and of each other column this many different
    ones. Of very many different cells, and of long ones, no more are kept."""
    wanted, made, sampled = plan
    width = len(values)
    for position, cells in wanted:
        if position < width and (value := values[position]):
            if value in cells:
                cells[value] += 1
            elif len(cells) < MOST_CELLS and size_of(value) <= LONGEST_CELL:
                cells[value] = 1
    for source, cells in made:
        value = category_value(values, source)
        if value in cells:
            cells[value] += 1
        elif value and len(cells) < MOST_CELLS and size_of(value) <= LONGEST_CELL:
            cells[value] = 1
    if most_sampled:
        for position, cells in sampled:
            if position < width and len(cells) < most_sampled and (value := values[position]):
                if size_of(value) <= LONGEST_SAMPLE:
                    cells[value] += 1


def size_of(value: Value) -> int:
    """The characters of a cell."""
    return len(value) if isinstance(value, str) else sum(map(size_of, value)) + len(value)


def note_parents(reading: FileReading, values: Sequence[Value], layout: Layout) -> None:
    """Note which variants a row names, or by which code its variants name it."""
    kind = feed_columns.field_text(values, layout, "kind").partition(",")[0].strip().lower()
    code = feed_columns.field_text(values, layout, "code")
    product_id = feed_columns.field_text(values, layout, "id")
    if code and reading.dialect.kinds.get(kind) == "parent":
        reading.codes[code] = product_id
    for child in CHILD.findall(feed_columns.field_text(values, layout, "children")):
        reading.children[child] = product_id


def new_names(reading: FileReading, names: Names, header: bool) -> None:
    """Note the column names of a row."""
    for known, name in zip(feed_columns.known_names(names), names):
        if len(reading.names) < MOST_NAMES:
            reading.names.setdefault(known, name)
    if header or reading.dialect is PLAIN:
        reading.dialect = feed_dialects.recognise(reading.names)


def counters(reading: FileReading, names: Names, columns: Mapping[str, str]) -> Plan:
    """Where rows with these column names may have categories, and the Counter of each."""
    known = feed_columns.known_names(names)
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


# ---- which column files products, and how -------------------------------------------------------


def choose_category(file: FileReading, options: SurveyOptions) -> None:
    """Choose the column that --column names, or else the one that files most products, and find out
    how it parts its cells."""
    best: tuple[bool, bool, int] = (False, False, 0)
    numbers: tuple[str, Parting] | None = None
    for name, standard in candidates(file, options):
        parting = find_parting(file, name, standard, options)
        filed, several, categories, none_words = count_filed(file.cells[name], parting)
        file.filed[name] = filed
        if standard and not filed and file.cells[name] and numbers is None:
            numbers = name, parting._replace(bare_numbers=True)
        value = (name == NAMED, len(categories) > 1, filed)
        if value > best and filed or name == NAMED:
            best = value
            file.category, file.standard = name, standard
            file.parting, file.listing_several, file.none_words = parting, several, none_words
    if numbers and not best[2]:  # numbers without names are better than nothing
        file.category, file.parting = numbers
        file.standard = True
        filed, file.listing_several, _, file.none_words = count_filed(
            file.cells[file.category], file.parting
        )
        file.filed[file.category] = filed


def candidates(file: FileReading, options: SurveyOptions) -> Iterator[tuple[str, bool]]:
    """(known name, whether its categories are of a published tree) of the columns that may hold the
    category: the one that --column names, those of the shop's own, the others."""
    if NAMED in file.cells:
        named = feed_columns.column_name(options.read.columns["product_type"])
        yield NAMED, named in file.dialect.columns.get("standard", ())
    sure = [("product_type", file.dialect), ("standard", file.dialect)]
    last = [("weak", file.dialect), ("product_type", PLAIN), ("weak", PLAIN)]
    for place, (field, dialect) in enumerate([*sure, *last]):
        for name in dialect.columns.get(field, ()):
            if not file.cells.get(name) or name in file.filed or is_kind(file.cells[name]):
                continue
            if place < len(sure) or not any(file.filed.values()):
                yield name, field == "standard"


def is_kind(cells: Cells) -> bool:
    """Whether a column only says how products are sold: simple, variable."""
    return all(isinstance(cell, str) and folded(cell) in PRODUCT_KINDS for cell in cells)


def find_parting(file: FileReading, name: str, standard: bool, options: SurveyOptions) -> Parting:
    """How a column's cells part levels and categories."""
    dialect = file.dialect
    # A list in JSON may be the levels of a category. An element that repeats in XML is none.
    may_be_path = not name.split(".")[0].endswith("s") and not file.how.kind.startswith("XML")
    given = Parting(
        level_sign=">" if standard else dialect.levels,
        entry_sign="" if standard else dialect.entries,
        list_is_path=dialect.list_is_path
        or (may_be_path and not feed_parting.lists_of_categories(file.cells[name])),
        standard=standard,
        roots=frozenset(map(folded, dialect.roots)),
        ignored=frozenset(map(folded, options.ignored)),
        numbers={**(published_numbers(file.cells[name]) if standard else {}), **options.numbers},
        bare_numbers=False,
    )
    parting = feed_parting.column_parting(
        file.cells[name], given, options.separator, known_keys(options)
    )
    if dialect.has_root:
        whole = parting._replace(roots=frozenset())
        paths = [path for cell in file.cells[name] for path in cell_categories(cell, whole)]
        tops = {folded(path[0]) for path in paths}
        parting = parting._replace(roots=parting.roots | (tops if len(tops) == 1 else set()))
    return parting._replace(bare_roots=find_root(file.cells[name], parting))


def published_numbers(cells: Cells) -> dict[str, str]:
    """The numbers of categories that stand beside their names in some cells: 173 - Apparel > Hats."""
    numbers = {}
    for cell in cells:
        if isinstance(cell, str) and feed_cells.GOOGLE_NUMBER.match(cell):
            number, _, path = cell.partition("-")
            numbers[number.strip()] = path.strip()
    return numbers


def find_root(cells: Cells, parting: Parting) -> frozenset[str]:
    """The folded top that alone is no category: most categories are below it, and it is called Home
    or the like."""
    tops: Counter[str] = Counter()
    below: set[Path] = set()
    for cell in cells:
        for path in cell_categories(cell, parting):
            if len(path) > 1:
                tops[folded(path[0])] += 1
                below.add(path)
    if len(below) < 2:
        return frozenset()
    top, often = tops.most_common(1)[0]
    is_root = top in ROOTS and 2 * often > tops.total()
    return frozenset([top] if is_root else [])


def count_filed(cells: Cells, parting: Parting) -> tuple[int, int, set[Path], Cells]:
    """(rows that a column's cells file, rows that list several categories, two categories or all
    that there are, the cells that say that there is none)."""
    filed = several = 0
    categories: set[Path] = set()
    none_words: Cells = Counter()
    for cell, number in cells.items():
        paths = cell_categories(cell, parting)
        if paths:
            filed += number
            several += number * (len(paths) > 1)
            if len(categories) < 2:
                categories.add(paths[0])
        elif len(none_words) < SAMPLE_CELLS:
            none_words[cell] += number
    return filed, several, categories, none_words


# ---- one category, one spelling -----------------------------------------------------------------


def known_keys(options: SurveyOptions) -> frozenset[str]:
    """The folded paths with levels that crawl.db has of this shop."""
    return frozenset(" > ".join(map(folded, path)) for path in options.known if len(path) > 1)


def spell(reading: Reading) -> None:
    """Note for each category the spelling that most products have. Those that are in crawl.db count
    half: they may be the same ones, and the shop may have changed the spelling."""
    often: Counter[tuple[Path, str]] = Counter()
    for file in reading.files:
        for cell, number in file.cells.get(file.category, Counter()).items():
            for path in cell_categories(cell, file.parting):
                key: Path = ()
                for word in path[:DEEPEST_PATH]:
                    key += (folded(word),)
                    if len(often) < MOST_SPELLINGS or (key, word) in often:
                        often[key, word] += number
    for known, products in reading.options.known.items():
        for depth in range(1, len(known) + 1):
            key = tuple(map(folded, known[:depth]))
            often[key, known[depth - 1]] += (products + 1) // 2
    best: dict[Path, int] = {}
    for (key, word), number in often.items():
        if number > best.get(key, 0):
            best[key], reading.shown[key] = number, word


def categories_shown(reading: Reading, file: FileReading, value: Value) -> tuple[Path, ...]:
    """The categories of a cell in the spelling that most products of the feed have, the most
    specific first."""
    paths: dict[Path, None] = {}
    for path in cell_categories(value, file.parting):
        key: Path = ()
        words = []
        for word in path[: DEEPEST_PATH + 1]:  # a deeper one is left out
            key += (folded(word),)
            words.append(reading.shown.get(key, word))
        paths.setdefault(tuple(words))
    return tuple(paths)
