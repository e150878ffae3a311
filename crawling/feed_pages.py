"""A saved page of a shop -> rows. In: HTML, whose scripts hold JSON-LD. Out: a row for each product
of the page, as feed_formats.read_feed_rows yields them.

A shop puts JSON-LD into its pages so that search engines know what they show. If the products of a
page have no category, the way to the page is theirs: Home > Women > Jeans.

    python crawl.py --feed page.html
    python crawl.py --feed pages/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from common.terminal import UserError
from common.text import unescaped
from crawling.feed_json_shape import JSON
from crawling.feed_lines import BLANK, LONGEST_LINE, PIECE, Source
from crawling.feed_linked_data import allowance, breadcrumbs, category_of, linked_columns, title_of
from crawling.feed_types import FeedRow, HowRead, Skipped, Value
from crawling.feed_values import SameNames

LONGEST_PAGE = 20_000_000  # characters
IS_PAGE = re.compile(
    r"(\s|<!--(?:(?!-->).)*-->|<\?xml[^<>]*>)*<(!doctype\s+html|html[\s>])", re.I | re.S
)
IS_PART_OF_PAGE = re.compile(r"<(script|head|body|div|meta|title|link|!doctype|!--)", re.I)
# Not by html.parser: a hostile page can make it take the square of its length in time.
SCRIPT = re.compile(r"<script\b([^<>]{0,2000})>", re.I)
SCRIPT_END = re.compile(r"</script", re.I)
LINKED_DATA = re.compile(r"type\s*=\s*[\"']?\s*application/ld\+json", re.I)
# Some shops wrap their scripts, so that old browsers pass over them.
WRAPPING = re.compile(r"^\s*(//\s*)?(<!--|<!\[CDATA\[)|(//\s*)?(-->|\]\]>)\s*$")


def is_page(head: str) -> bool:
    """Whether text that begins like this is a page in HTML."""
    start = head[:5000].lstrip(BLANK)
    if IS_PAGE.match(start):
        return True
    scripts_there = (LINKED_DATA.search(found.group(1)) for found in SCRIPT.finditer(head))
    return IS_PART_OF_PAGE.match(start) is not None and any(scripts_there)


def page_rows(source: Source, skipped: Skipped, how: HowRead) -> Iterator[FeedRow]:
    """The rows of a page, as feed_formats.read_feed_rows says. A script that is broken is left
    out. Raises UserError if the page has no products."""
    how.kind = "a web page with JSON-LD"
    text = whole_text(source)
    # Of a product its columns, which are counted, and its title: it may hold much more.
    products: list[tuple[int, str, bool, dict[str, Value]]] = []
    way: list[str] | None = None  # the longest
    has_category, broken, left = False, 0, allowance()
    for line, script in scripts(text):
        try:
            data = JSON.decode(WRAPPING.sub("", script).strip())
        except (ValueError, RecursionError):
            skipped.append((line, "broken JSON-LD"))
            broken += 1
            continue
        for product, columns in linked_columns(data, line, skipped, left):
            if columns is None:
                broken += 1
            else:
                is_variant = "inProductGroupWithID" in product
                products.append((line, title_of(product), is_variant, columns))
                has_category = has_category or bool(product.get("category"))
        for other in breadcrumbs(data):
            way = other if way is None else max(way, other, key=len)
    if not products and not broken:
        raise UserError(
            f"{source.name} is a web page without products in JSON-LD: --feed takes a catalogue "
            "file, or pages of products"
        )
    same_names = SameNames()
    for line, title, is_variant, columns in products:
        for name, value in columns.items():
            if isinstance(value, str) and "&" in value:
                columns[name] = unescaped(value)
        if way is not None and not has_category:
            category = category_of(way, title, is_variant)
            columns["category"] = (category,) if category else ""
        yield line, *same_names.row(columns)
    how.remarks += same_names.remarks()


def whole_text(source: Source) -> str:
    """The text of a page. Raises UserError if it is too long to be one."""
    pieces: list[str] = []
    line = 1
    while piece := source.read(PIECE, line):
        pieces.append(piece)
        line += piece.count("\n")
        if len(pieces) * PIECE > LONGEST_PAGE:
            raise UserError(
                f"{source.name} is too long for a web page: --feed takes a catalogue file"
            )
    return "".join(pieces)


def scripts(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of the scripts of a page that hold JSON-LD."""
    line, counted_to = 1, 0
    place = 0
    while found := SCRIPT.search(text, place):
        end = SCRIPT_END.search(text, found.end())
        place = end.start() if end else len(text)
        if LINKED_DATA.search(found.group(1)):
            line += text.count("\n", counted_to, found.end())
            counted_to = found.end()
            yield line, text[found.end() : min(place, found.end() + LONGEST_LINE)]
