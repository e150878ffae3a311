"""The second pass over the files of a feed: rows -> products.

In: a Reading, which feed_survey.py made in the first pass. Out: products for feed_import.py to
store. A product needs only an id and a title. Its description, categories, pictures and group are
used if they are there.

    python crawl.py --feed products.tsv
    python crawl.py --feed stock.csv --column id=SKU --column title=Name
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

from common.terminal import UserError
from common.text import DEEPEST_PATH, clean_text, folded
from crawling import feed_cells, feed_columns, feed_survey, picture_links
from crawling.feed_cells import decoded
from crawling.feed_choice import categories_shown
from crawling.feed_columns import Layout, Source, category_value, field_text
from crawling.feed_formats import read_feed_rows
from crawling.feed_names import known_names
from crawling.feed_reading import FileReading, Reading
from crawling.feed_survey import LONGEST_CELL, layout_of, size_of
from crawling.feed_types import (
    FeedFile,
    FeedProduct,
    HowRead,
    Names,
    Path,
    ReadOptions,
    Skipped,
    Value,
)
from crawling.feed_words import NO_CATEGORY

MOST_CACHED = 100_000  # distinct cells whose categories are kept
MOST_CELLS = 1_000  # with other categories of one product: shops give it a few
TOO_MANY_CELLS = f"a product in more than {MOST_CELLS:,} categories"


@dataclasses.dataclass(slots=True)
class OpenProduct:
    """A product of which more rows may come."""

    line: int
    fields: dict[str, str]
    category: Value
    pictures: list[tuple[int, str]]  # (place, link)
    values: Sequence[Value] = ()  # of its first row
    # Of rows that say the product in another category. A dict, for the sake of `in`.
    more_categories: dict[Value, None] = dataclasses.field(default_factory=dict)


def read_products(reading: Reading, skipped: Skipped) -> Iterator[FeedProduct]:
    """Yield the products of a feed. What can't be used is appended to `skipped` as (line, reason),
    and `reading` counts the rows read, and those that belong to the product of another row."""
    reading.rows = reading.merged = 0
    for file in reading.files:
        yield from file_products(reading, file, skipped)


def some_products(reading: Reading) -> Iterator[FeedProduct]:
    """read_products, with what can't be used in reading.left_out. Raises UserError if there is no
    product."""
    products = read_products(reading, reading.left_out)
    first = next(products, None)
    if first is None:
        sentences = reading.left_out.sentences()
        reason = f"; {sentences[0]}" if sentences else ""
        raise UserError(f"the feed holds no product{reason}")
    return itertools.chain([first], products)


def read_feed(
    path: str, skipped: Skipped, columns: Mapping[str, str] | None = None
) -> Iterator[FeedProduct]:
    """Yield the products of one file, as read_products does. `columns` is what --column says."""
    options = feed_survey.SurveyOptions(ReadOptions(columns or {}))
    yield from read_products(feed_survey.survey([FeedFile(path, name=path)], options), skipped)


def file_products(reading: Reading, file: FileReading, skipped: Skipped) -> Iterator[FeedProduct]:
    """The products of one file."""
    categories = Categories(reading, file)
    product: OpenProduct | None = None
    for row in open_products(reading, file, skipped):
        part = is_part(row, file)
        if part and not product:
            skipped.append((row.line, "no product stands above this part of one"))
        elif product and (part or belongs_to(row, product, file)):
            if len(product.more_categories) >= MOST_CELLS and in_another_category(row, product):
                skipped.append((row.line, TOO_MANY_CELLS))
                continue
            add_row(product, row, part)
            reading.merged += 1
        else:
            if product and (done := finished(product, file, categories, skipped)):
                yield done
            product = row
    if product and (done := finished(product, file, categories, skipped)):
        yield done


class Categories(dict[Value, tuple[Path, ...]]):
    """The categories of each cell of a file, the most specific first, as they will be shown."""

    def __init__(self, reading: Reading, file: FileReading) -> None:
        self.reading, self.file = reading, file

    def __missing__(self, cell: Value) -> tuple[Path, ...]:
        categories = categories_shown(self.reading, self.file, cell)
        if len(self) < MOST_CACHED and size_of(cell) <= LONGEST_CELL:
            self[cell] = categories
        return categories


def finished(
    product: OpenProduct, file: FileReading, cells: Categories, skipped: Skipped
) -> FeedProduct | None:
    """A product of which no more rows come; None if it can't be used."""
    categories, fields = cells[product.category], product.fields
    if product.more_categories:
        lists = (categories, *(cells[cell] for cell in product.more_categories))
        paths = dict.fromkeys(itertools.chain.from_iterable(lists))
        categories = tuple(sorted(paths, key=len, reverse=True))
    title = shown_title(fields["title"])
    if file.dialect.ends_with_title:
        categories = without_title(categories, title)
    if not fields["id"]:
        skipped.append((product.line, "no id"))
    elif not title:
        skipped.append((product.line, f"no title (id {fields['id'][:50]})"))
    elif categories and len(categories[0]) > DEEPEST_PATH:
        skipped.append((product.line, f"a category of more than {DEEPEST_PATH} levels"))
    else:
        return FeedProduct(
            product.line,
            fields["id"],
            title,
            with_line_ends(fields["description"])
            if file.dialect.escaped_lines
            else fields["description"],
            categories,
            links_in_order(product.pictures) if product.pictures else (),
            group_of(fields),
            parent_of(fields, file) if fields["parent"] or file.children else "",
        )
    return None


def with_line_ends(text: str) -> str:
    """A text in which \\n stands for the end of a line."""
    return text.replace("\\n", "\n")


def shown_title(text: str) -> str:
    """A title without entities, and without the ' that keeps a spreadsheet from calculating it."""
    text = decoded(text).strip()
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text


def without_title(categories: tuple[Path, ...], title: str) -> tuple[Path, ...]:
    """Categories without a last level that is the product's own name."""
    name = folded(title)
    paths = []
    for path in categories:
        last = folded(path[-1]).removesuffix("...")
        paths.append(path[:-1] if name.startswith(last) and len(last) > len(name) / 2 else path)
    return tuple(path for path in paths if path)


# ---- rows ---------------------------------------------------------------------------------------

FIELDS = (
    "id",
    "title",
    "description",
    "item_group_id",
    "parent",
    "kind",
    "part_of",
    "view",
    "position",
)


def open_products(reading: Reading, file: FileReading, skipped: Skipped) -> Iterator[OpenProduct]:
    """What each row of a file says, as the product it may be."""
    columns = reading.options.read.columns
    names: Names | None = None
    left_out = CountedSkips(skipped)
    rows = read_feed_rows(file.file, left_out, reading.options.read, HowRead())
    for line, row_names, values in rows:
        if row_names is not names:
            names, layout = row_names, layout_of(file, row_names, columns)
            source = source_of(file, names, columns)
            simple, others = field_columns(layout)
            empty = dict.fromkeys(FIELDS, "")
        if values is None:
            continue
        reading.rows += 1
        fields, width = empty.copy(), len(values)
        for name, position in simple:
            if position < width:
                fields[name] = values[position].strip()  # type: ignore[union-attr]
        for name in others:
            fields[name] = field_text(values, layout, name)
        category = category_value(values, source) if source else ""
        pictures = row_pictures(values, layout, file, fields["position"])
        yield OpenProduct(line, fields, category, pictures, values)
    reading.rows += left_out.rows


def field_columns(layout: Layout) -> tuple[list[tuple[str, int]], list[str]]:
    """The fields that are the text of one column each, with its position, and all others that rows
    of this layout have."""
    simple, others = [], []
    for name in FIELDS:
        positions = layout.positions.get(name, ())
        if (
            name in layout.templates
            or name in layout.joined
            or len(positions) > 1
            or positions
            and layout.clean
        ):
            others.append(name)
        elif positions:
            simple.append((name, positions[0]))
    return simple, others


class CountedSkips:
    """Hands what can't be used on, and counts it."""

    def __init__(self, skipped: Skipped) -> None:
        self.skipped, self.rows = skipped, 0

    def append(self, entry: tuple[int, str], /) -> None:
        self.rows += 1
        self.skipped.append(entry)


def source_of(file: FileReading, names: Names, columns: Mapping[str, str]) -> Source | None:
    """Where rows with these column names have the category that files them."""
    known = known_names(names)
    if "product_type" in columns:
        return feed_columns.named_source(known, columns["product_type"])
    return feed_columns.category_source(known, file.category) if file.category else None


def row_pictures(
    values: Sequence[Value], layout: Layout, file: FileReading, position: str
) -> list[tuple[int, str]]:
    """(place, link) of a row's pictures."""
    place = int(position) if position.isascii() and position.isdigit() and len(position) < 9 else 0
    if "image_link" in layout.templates:
        link = feed_columns.filled(layout.templates["image_link"], values)
        return [(place, stored_link(link, file))] if link else []
    links: list[tuple[int, str]] = []
    for column in layout.positions.get("image_link", ()):
        if column < len(values) and values[column] and len(links) < feed_cells.MOST_LINKS:
            for link in feed_cells.picture_links(values[column], file.dialect.pictures):
                links.append((place, stored_link(link, file)))
                if file.dialect.picture_base and "/" not in link:
                    links.append((place, file.dialect.picture_base + link))
    return links


def stored_link(link: str, file: FileReading) -> str:
    """A link to a picture as it is stored, without what SQLite can't hold."""
    if link.startswith(("https://", "http://")) and link.isascii():  # as most are
        return link.replace("\0", " ")
    return picture_links.absolute(clean_text(link), file.file.url, file.file.folder)


def is_part(row: OpenProduct, file: FileReading) -> bool:
    """Whether a row is a part of the product above it, such as a picture."""
    kinds = file.dialect.kinds
    if row.fields["part_of"]:
        return True
    return bool(kinds) and (
        kinds.get(row.fields["kind"].partition(",")[0].strip().lower()) == "part"
    )


def belongs_to(row: OpenProduct, product: OpenProduct, file: FileReading) -> bool:
    """Whether a row only says more of the product that stands above it: its dialect says so, it has
    the product's id and no title, or it says the product in another language or category."""
    if row.fields["view"]:
        return row.fields["id"] in ("", product.fields["id"])
    same_id = bool(row.fields["id"]) and row.fields["id"] == product.fields["id"]
    return same_id and (
        file.dialect.joined or not row.fields["title"] or in_another_category(row, product)
    )


def in_another_category(row: OpenProduct, product: OpenProduct) -> bool:
    """Whether a row with the product's id is the product once more, in another category: some
    exports have a row for each category of a product."""
    return (
        row.fields["title"] == product.fields["title"]
        and bool(row.category and product.category)
        and row.category != product.category
        and row.category not in product.more_categories
    )


def add_row(product: OpenProduct, row: OpenProduct, part: bool) -> None:
    """Add the pictures of another row of a product, and if it is no part of another kind, such as
    a variant's, fill the gaps of the product. A row in another language adds nothing."""
    if row.fields["view"]:
        return
    if not part:
        if row.fields["title"] and in_another_category(row, product):
            product.more_categories[row.category] = None
        for field, text in product.fields.items():
            product.fields[field] = text or row.fields[field]
        product.category = product.category or row.category
    if len(product.pictures) < 10 * feed_cells.MOST_LINKS:
        product.pictures += row.pictures


def links_in_order(pictures: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    """The links of a product, those with a place in its order: 1 is the first."""
    ordered = sorted(pictures, key=lambda picture: picture[0] or 10**9)
    return tuple(dict.fromkeys(link for _, link in ordered if link))[: feed_cells.MOST_LINKS]


def group_of(fields: dict[str, str]) -> str:
    """The item group of a product. A shop may say "0" or "none" if it is in none."""
    group = fields["item_group_id"]
    return "" if group == "0" or group and group.lower() in NO_CATEGORY else group


def parent_of(fields: dict[str, str], file: FileReading) -> str:
    """The id of the product that a row is a variant of; '' if it is none."""
    parent = fields["parent"].removeprefix("id:")
    parent = file.codes.get(parent, parent) if parent else file.children.get(fields["id"], "")
    return "" if parent in ("0", fields["id"]) else parent
