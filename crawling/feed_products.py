"""Catalogue files -> products. In: a feed as shops publish it; out: products for crawl.py to store.

The feeds are those of Google Merchant and Meta, Shopify's exports and products.json, Awin's product
files, and any other table with a name for each column; feed_formats.py reads the files. A product
needs only an id and a title. Its description, category, picture and group are used if they are
there.

    python crawl.py --feed products.tsv
    python crawl.py --feed stock.csv --column id=SKU --column title=Name
"""

from __future__ import annotations

import collections
import contextlib
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from common.terminal import UserError
from common.text import storable
from crawling.feed_formats import read_feed_rows
from crawling.feed_json_xml import Skipped, Value

DEEPEST_PATH = 50  # levels of a category
# What --column can name. product_type is the category in the shop's own words.
FIELDS = ("id", "title", "description", "product_type", "image_link", "item_group_id")

# For each shop system the columns of each field, the best first. `standard` is a category of a tree
# that is not the shop's own; it is used if the file has no categories of the shop's own.
Columns = dict[str, tuple[str, ...]]
GOOGLE: Columns = {
    "id": ("id",),
    "title": ("title",),
    "description": ("description", "summary", "content"),
    "product_type": ("product_type",),
    "standard": ("google_product_category", "fb_product_category"),
    "image_link": ("image_link", "image[0].url"),
    "item_group_id": ("item_group_id",),
}
SHOPIFY: Columns = {
    "id": ("url_handle", "handle"),
    "title": ("title",),
    "description": ("body_(html)", "body_html", "description"),
    "product_type": ("type", "product_type"),
    "standard": ("product_category", "google_shopping_/_google_product_category"),
    "image_link": ("image_src", "product_image_url", "images"),
    "position": ("image_position",),
}
AWIN: Columns = {
    "id": ("aw_product_id",),
    "title": ("product_name",),
    "description": ("description", "product_short_description"),
    "product_type": ("merchant_product_category_path", "merchant_category"),
    "standard": ("category_name",),
    "image_link": ("large_image", "merchant_image_url", "aw_image_url"),
    "item_group_id": ("parent_product_id",),
}

Fields = dict[str, str]  # field -> its text, '' if there is none


class FeedProduct(NamedTuple):
    line: int  # of the file, from 1
    external_id: str  # as the shop gave it: leading zeros are part of it
    name: str
    description: str
    category: tuple[str, ...]  # the shop's words from the top to the leaf; () if it gives none
    image: str  # a URL or a path relative to the feed's folder; '' if there is none
    group: str  # item_group_id; '' if there is none


class Layout(NamedTuple):
    """How to read rows with certain column names."""

    positions: dict[str, tuple[int, ...]]  # field -> which columns may hold it, the best first
    standard: tuple[int, ...]  # the columns with a category of a tree that is not the shop's own
    header: bool  # whether all rows of the file have these columns
    merged: bool  # whether rows that share an id and stand together are one product
    separator: str  # what parts the levels of a category; '' if the values have to tell


# ---- rows -> products ---------------------------------------------------------------------------


def read_feed(
    path: str, skipped: Skipped, columns: Mapping[str, str] | None = None
) -> Iterator[FeedProduct]:
    """Yield a FeedProduct for each product of a catalogue file.

    What can't be used is appended to `skipped` as (line number, reason). `columns`, {field of
    FIELDS: column name}, goes before what the names of the columns say. Raises UserError if the
    file can't be read, has no columns for id and title, or is not UTF-8.
    """
    columns = columns or {}
    yield from read_products(path, skipped, columns, *survey_categories(path, columns))


def check_feed(path: str, columns: Mapping[str, str] | None = None) -> None:
    """Raise UserError unless the file can be read and has a catalogue's columns."""
    products = read_products(path, collections.deque(maxlen=0), columns or {}, " > ", False)
    with contextlib.closing(products):
        next(products, None)


def read_products(
    path: str, skipped: Skipped, columns: Mapping[str, str], separator: str, use_standard: bool
) -> Generator[FeedProduct, None, None]:
    """read_feed's products, once it is known what parts the levels of a category, and whether the
    `standard` categories are to be used."""
    for line, fields in merge_rows(read_fields(path, skipped, columns)):
        category = fields["product_type"]
        if not category and use_standard:
            category = fields["standard"]
        levels = category_levels(category, separator)
        if not fields["id"]:
            skipped.append((line, "no id"))
        elif not fields["title"]:
            skipped.append((line, f"no title (id {fields['id'][:50]})"))
        elif len(levels) > DEEPEST_PATH:
            skipped.append((line, f"a category of more than {DEEPEST_PATH} levels"))
        else:
            yield FeedProduct(
                line,
                fields["id"],
                fields["title"],
                fields["description"],
                levels,
                fields["image_link"],
                fields["item_group_id"],
            )


def category_levels(category: str, separator: str) -> tuple[str, ...]:
    """The levels of a category. Blanks around a separator make no difference, if it has some."""
    # Feeds that were escaped twice have &gt;, and some have a separator at the end.
    category = f" {category} ".replace(" &gt; ", " > ")
    bare = separator.strip()
    if bare == separator:
        levels = category.split(separator)
    else:
        levels = re.split(rf"\s{re.escape(bare)}(?=\s)", category)
    return tuple([level.strip() for level in levels if level.strip()])


def survey_categories(path: str, columns: Mapping[str, str]) -> tuple[str, bool]:
    """(separator, use_standard) for read_products. Reads as much of the file as that takes: as a
    rule its first row. One answer holds for a file, or its categories would be of two trees."""
    separators: collections.Counter[str] = collections.Counter()
    total = 0
    for layout, _, fields in read_fields(path, collections.deque(maxlen=0), columns):
        category = fields["product_type"]
        has_no_column = layout.header and not layout.positions["product_type"]
        if layout.separator and (category or has_no_column):
            return layout.separator, not category
        if category:
            total += 1
            separators.update(
                separator for separator in (" > ", ">", " | ", " / ") if separator in category
            )
    most_common = max((" > ", " | ", " / "), key=separators.__getitem__)
    if separators[most_common] <= total / 2:  # "Coats / Jackets" may be the name of one category
        most_common = ">" if separators[">"] and not separators[" > "] else " > "
    return most_common, not total


def merge_rows(rows: Iterable[tuple[Layout, int, Fields]]) -> Iterator[tuple[int, Fields]]:
    """Yield (line, fields) of the rows as they are, but those of one Shopify product, which stand
    together, as one: each field from the first row that has it, but the picture from the row with
    position 1."""
    product_line = 0
    product: Fields | None = None  # the Shopify product whose rows are being read
    for layout, line, fields in rows:
        if not layout.merged:
            yield line, fields
        elif product and fields["id"] and fields["id"] == product["id"]:
            add_row(product, fields)
        else:
            if product:
                yield product_line, product
            product_line, product = line, fields
    if product:
        yield product_line, product


def add_row(product: Fields, fields: Fields) -> None:
    """Fill the gaps of a Shopify product from another of its rows."""
    comes_first = fields["position"] == "1" and product["position"] != "1"
    if comes_first and fields["image_link"]:
        product["image_link"], product["position"] = fields["image_link"], "1"
    for field, text in product.items():
        product[field] = text or fields[field]


# ---- rows -> fields -----------------------------------------------------------------------------


def read_fields(
    path: str, skipped: Skipped, columns: Mapping[str, str]
) -> Iterator[tuple[Layout, int, Fields]]:
    """Yield (layout, line, fields) for each row of a file."""
    unknown = sorted(set(columns) - set(FIELDS))
    if unknown:
        raise UserError(
            f"--column knows no field {', '.join(unknown)}: name one of {', '.join(FIELDS)}"
        )
    names: tuple[str, ...] | None = None  # of the columns of this row
    first_names: tuple[str, ...] | None = None  # of the first row that has columns
    fields_seen: set[str] = set()  # fields that some row has a column for
    for line, row_names, values in read_feed_rows(path, skipped):
        if row_names is not names and row_names != names:
            names, first_names = row_names, first_names or row_names
            layout = find_layout(names, columns, header=values is None)
            fields_seen.update(field for field, positions in layout.positions.items() if positions)
        if values is None:
            check_columns(path, row_names, fields_seen, columns)
        else:
            yield layout, line, row_fields(values, layout)
    if first_names is not None:  # JSON and XML name their columns row by row
        check_columns(path, first_names, fields_seen, columns)


def find_layout(names: Sequence[str], columns: Mapping[str, str], header: bool) -> Layout:
    """The Layout of rows with these column names."""
    names = [column_name(name) for name in names]
    system = shop_system(names)
    wanted = {
        **dict.fromkeys(FIELDS, ()),
        **system,
        **{field: (column_name(name),) for field, name in columns.items()},
    }
    positions = {field: column_positions(names, aliases) for field, aliases in wanted.items()}
    standard = positions.pop("standard")
    if "product_type" in columns:
        standard = ()
    separator = "" if system is AWIN or "product_type" in columns else " > "
    return Layout(positions, standard, header, header and system is SHOPIFY, separator)


def shop_system(names: Sequence[str]) -> Columns:
    """The columns of the shop system that wrote the file, told by names that only it has."""
    if "aw_product_id" in names:
        return AWIN
    if "url_handle" in names:
        return SHOPIFY
    if "handle" in names and ("body_html" in names or "id" not in names):
        return SHOPIFY
    return GOOGLE


def column_positions(names: Sequence[str], aliases: Iterable[str]) -> tuple[int, ...]:
    """Where the columns with one of these names are, in the order of the aliases."""
    return tuple(
        position for alias in aliases for position, name in enumerate(names) if name == alias
    )


def check_columns(
    path: str, names: Sequence[str], fields_seen: set[str], columns: Mapping[str, str]
) -> None:
    """Raise UserError if id, title or a field of `columns` is not among the fields seen."""
    names_found = "found: " + ", ".join(repr(name[:30]) for name in names[:20])
    for field, name in columns.items():
        if field not in fields_seen:
            raise UserError(
                f"{path} has no column {name!r} for --column {field}: name one that it "
                f"has; {names_found}"
            )
    missing = [field for field in ("id", "title") if field not in fields_seen]
    if missing:
        raise UserError(
            f"{path} has no column {', '.join(missing)}: say which it is, for example "
            f"--column {missing[0]}=HEADER; {names_found}"
        )


def row_fields(values: Sequence[Value], layout: Layout) -> Fields:
    """The fields of a row. Only the first of `product_type` and `standard` is kept."""
    if not layout.header:  # JSON can escape what a line of text can't hold
        values = [
            clean_text(value) if isinstance(value, str) else tuple(map(clean_text, value))
            for value in values
        ]
    fields = {field: first_text(values, positions) for field, positions in layout.positions.items()}
    fields["standard"] = ""
    if not fields["image_link"]:  # JSON may list several
        links = (links for links in lists(values, layout.positions["image_link"]) if links)
        fields["image_link"] = next(links, ("",))[0]
    if not fields["product_type"]:
        fields["product_type"] = first_path(values, layout.positions["product_type"])
        fields["standard"] = first_text(values, layout.standard, has_letters)
    return fields


def first_text(
    values: Sequence[Value], positions: Iterable[int], usable: Callable[[str], bool] | None = None
) -> str:
    """The first of the values in these columns that is a usable text; '' if none is."""
    for position in positions:
        value = values[position] if position < len(values) else ""
        if isinstance(value, str):
            text = value.strip()
            if text and (usable is None or usable(text)):
                return text
    return ""


def lists(values: Sequence[Value], positions: Iterable[int]) -> Iterator[tuple[str, ...]]:
    """The lists among the values in these columns; only JSON has any."""
    for position in positions:
        value = values[position] if position < len(values) else ""
        if not isinstance(value, str):
            yield value


def first_path(values: Sequence[Value], positions: Iterable[int]) -> str:
    """The first list among the values in these columns as one path: the first of its texts that is
    a path, otherwise all its texts as levels. '' if there is no list."""
    texts = next(lists(values, positions), ())
    for text in texts:
        if " > " in text:
            return text
    return " > ".join(texts)


def has_letters(text: str) -> bool:
    """Whether a category may be words; Google's may be a number instead, which means nothing."""
    return any(character.isalpha() for character in text)


def column_name(text: str) -> str:
    """The name by which a column is known: `image link [image_link]`, `Image Link`, `g:image_link`
    and `image_link` are one column."""
    text = text.strip().lower()
    bracket = re.search(r"\[([a-z_]\w*)\]$", text)  # but image[0].url is another
    return bracket.group(1) if bracket else re.sub(r"[\s-]+", "_", text.removeprefix("g:"))


def clean_text(text: str) -> str:
    """Text that SQLite, JSON and a terminal can hold: no NUL, no half of a surrogate pair."""
    return storable(text.replace("\0", " ")).strip()
