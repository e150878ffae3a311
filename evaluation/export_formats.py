"""The files that shop systems import categories from: data, and the text of a cell and a line.

In: a product's id, name and categories. Out: the cells of a line, exactly as the system takes them.
docs/export.md says where each form is described. A text that a form can't hold raises ValueError,
and the product is left out: a name must not turn into two categories.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

NOTHING: Mapping[str, str] = MappingProxyType({})
Path = tuple[str, ...]  # a category: the shop's words from the top to it


class Format(NamedTuple):
    """How one system's file is written."""

    system: str  # as a sentence names it
    written_by: str  # the same as crawl.py has noted it in the table feed_system
    other_id: str  # the column of ids, if nobody knows that they came from the system
    title: str  # the column of names, '' if the import does not ask for it
    category: str  # the column of categories
    levels: str  # what parts levels
    refused: str  # signs that can't stand in the name of a category
    own_ids: Mapping[str, str] = NOTHING  # known column that ids came from -> the file's own column
    standard: Mapping[str, str] = NOTHING  # known column of a published tree -> the file's own
    escaped: str = ""  # signs that get a backslash
    several: str = ""  # what parts categories; '' if the file has one for each product
    root: str = ""  # the top that all categories are below
    before_category: tuple[str, ...] = ()  # further columns, which stay empty
    delimiter: str = ","
    longest: int = 0  # characters of a category; 0: not limited
    takes_ids: bool = False  # whether a category that is a number is taken for an id
    inherits: bool = False  # whether a variant has no categories but its parent's


FORMATS = {
    "merchant": Format(
        "Google Merchant Center",
        "Google Merchant or Meta",
        "id",
        "",
        "product_type",
        " > ",
        ">,",
        standard=MappingProxyType({"google_product_category": "google_product_category"}),
        delimiter="\t",
        longest=750,
    ),
    "meta": Format(
        "Meta Commerce Manager",
        "Google Merchant or Meta",
        "id",
        "",
        "product_type",
        " > ",
        ">",
        standard=MappingProxyType(
            {
                "google_product_category": "google_product_category",
                "fb_product_category": "fb_product_category",
            }
        ),
    ),
    "shopify": Format(
        "Shopify",
        "Shopify",
        "URL handle",
        "Title",
        "Type",
        " > ",
        ">",
        standard=MappingProxyType({"product_category": "Product category"}),
        longest=255,
    ),
    "woocommerce": Format(
        "WooCommerce",
        "WooCommerce",
        "SKU",
        "",
        "Categories",
        " > ",
        ">",
        own_ids=MappingProxyType({"id": "ID"}),
        escaped=",",
        several=", ",
        inherits=True,
    ),
    "magento": Format(
        "Magento",
        "Magento",
        "sku",
        "",
        "categories",
        "/",
        ",",
        escaped="/",
        several=",",
        root="Default Category",
        before_category=("store_view_code",),
    ),
    "prestashop": Format(
        "PrestaShop",
        "PrestaShop",
        "Reference",
        "Name",
        "Categories",
        "/",
        "/,",
        own_ids=MappingProxyType({"product_id": "Product ID", "id": "Product ID"}),
        several=",",
        delimiter=";",
        takes_ids=True,
    ),
}


class Columns(NamedTuple):
    """The columns of a file for products of one shop."""

    form: Format
    id: str
    category: str
    is_own_id: bool  # whether the ids are known to be the system's


def columns_for(form: Format, system: str, id_column: str, category_column: str) -> Columns:
    """The columns for a shop whose feed was written by `system`, with its ids and categories in these
    columns (export_queries.feed_system)."""
    is_own = system == form.written_by
    return Columns(
        form,
        form.own_ids.get(id_column, form.other_id) if is_own else form.other_id,
        form.standard.get(category_column, form.category) if is_own else form.category,
        is_own,
    )


def header(columns: Columns) -> list[str]:
    """The cells of the first line."""
    form = columns.form
    title = [form.title] if form.title else []
    return [columns.id, *title, *form.before_category, columns.category]


def row_cells(columns: Columns, external_id: str, name: str, paths: Sequence[Path]) -> list[str]:
    """The cells of a product's line. Of the categories `paths` the first is the one that it is filed
    in. Raises ValueError if the file can't hold a text."""
    form = columns.form
    if columns.id in form.own_ids.values() and not re.fullmatch("[0-9]+", external_id):
        raise ValueError(f"an id that is no number, as those of {form.system} are")
    title = [name] if form.title else []
    category = category_cell(form, paths)
    return [external_id, *title, *[""] * len(form.before_category), category]


def category_cell(form: Format, paths: Sequence[Path]) -> str:
    """The cell of these categories; of a file with one for each product only the first. Raises
    ValueError if it can't hold one."""
    taken = paths if form.several else paths[:1]
    texts = [path_text(form, path) for path in dict.fromkeys(taken)]
    cell = form.several.join(texts)
    if form.longest and len(cell) > form.longest:
        raise ValueError(f"a category of more than {form.longest} characters")
    if form.takes_ids and any(text.isdigit() for text in texts):
        raise ValueError(f"a category that is a number, which {form.system} takes for its id")
    return cell


def path_text(form: Format, path: Path) -> str:
    """A category as the system writes it."""
    levels = [form.root] if form.root else []
    for level in path:
        for sign in form.refused:
            if sign in level:
                raise ValueError(f"{form.system} can't have {sign!r} in the name of a category")
        if form.escaped and level.endswith("\\"):  # it would escape the sign behind it
            raise ValueError(
                f"{form.system} can't have a backslash at the end of a category's name"
            )
        for sign in form.escaped:
            level = level.replace(sign, f"\\{sign}")
        levels.append(level)
    return form.levels.join(levels)


def exact_line(cells: Sequence[str], delimiter: str) -> str:
    """A line, with its end, of a file that a machine reads: each text as it is, in quotes if it needs
    them."""
    signs = (delimiter, '"', "\r", "\n")
    return (
        delimiter.join(
            '"' + cell.replace('"', '""') + '"'
            if any(sign in cell for sign in signs) or cell != cell.strip()
            else cell
            for cell in cells
        )
        + "\n"
    )
