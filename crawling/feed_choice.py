"""Which column of a feed files its products, and how its categories are spelt.

In: what the first pass counted of each column. Out: for each file the column, and how it parts its
cells; for each category the spelling that most products have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from common.text import DEEPEST_PATH, folded
from crawling import feed_parting
from crawling.feed_cells import GOOGLE_NUMBER, Parting, cell_categories
from crawling.feed_dialects import PLAIN
from crawling.feed_names import column_name
from crawling.feed_reading import NAMED, Cells, FileReading, Reading, SurveyOptions
from crawling.feed_types import Path, Value
from crawling.feed_words import PRODUCT_KINDS, ROOTS

MOST_SPELLINGS = 100_000  # of categories that are counted
MOST_NONE_WORDS = 1_000  # distinct cells that say that there is no category


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
        named = column_name(options.read.columns["product_type"])
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
        if isinstance(cell, str) and GOOGLE_NUMBER.match(cell):
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
        elif len(none_words) < MOST_NONE_WORDS:
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
