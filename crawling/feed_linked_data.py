"""Products in JSON-LD, the form of schema.org that shops put into their pages.

In: an object of JSON-LD. Out: its products, each an object. What is no product, such as the page
or the shop, is passed over.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from common.text import DEEPEST_PATH, LONGEST_LEVEL, unescaped
from crawling.feed_types import Skipped, Value
from crawling.feed_values import TooMuch, flattened

PRODUCTS = {"product", "individualproduct", "productmodel", "someproducts"}
DEEPEST = 10
# Values of all products of a page or of an object: variants have what their group has, and many
# products may point to one large object, so that a few kilobytes could become gigabytes.
MOST_TOGETHER = 500_000
TOO_MANY = f"more than {MOST_TOGETHER:,} values of JSON-LD together"
# What an object may have that only points to another one.
REFERENCE = {"@type", "@id", "url", "@context"}
# Where an object has others that may be products.
INNER = ("@graph", "mainEntity", "mainEntityOfPage", "itemListElement", "item", "itemOffered")


def is_linked_data(item: Any) -> bool:
    """Whether a value is an object of JSON-LD."""
    return isinstance(item, dict) and bool({"@type", "@graph", "@context"} & item.keys())


def types(item: dict[str, Any]) -> set[str]:
    """The types of an object, in lower case, without the address of the vocabulary."""
    names = item.get("@type")
    names = names if isinstance(names, list) else [names]
    return {re.split("[/#:]", name)[-1].lower() for name in names if isinstance(name, str)}


def with_references(item: Any) -> Any:
    """An object with a list @graph, in which what only points to an object of the list, such as the
    picture {"@id": "..."} of a product, is that object. Other values as they are."""
    graph = item.get("@graph") if isinstance(item, dict) else None
    if not isinstance(graph, list):
        return item
    objects = {
        each["@id"]: each
        for each in graph
        if isinstance(each, dict) and isinstance(each.get("@id"), str) and len(each) > 1
    }

    def target(value: Any) -> Any:
        if isinstance(value, list):
            return [target(each) for each in value if not isinstance(each, list)]
        if isinstance(value, dict) and value.keys() == {"@id"} and isinstance(value["@id"], str):
            return objects.get(value["@id"], value)
        return value

    resolved = [
        {key: target(value) for key, value in each.items()}
        if isinstance(each, dict) and types(each) & (PRODUCTS | {"productgroup"})
        else each
        for each in graph
    ]
    return {**item, "@graph": resolved}


def linked_products(item: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The products in a value of JSON-LD. Each variant of a ProductGroup is one."""
    if isinstance(item, list):
        for inner in item if depth < DEEPEST else ():
            yield from linked_products(inner, depth + 1)
        return
    if not isinstance(item, dict) or depth > DEEPEST:
        return
    kinds = types(item)
    if "productgroup" in kinds or isinstance(item.get("hasVariant"), list):
        yield from variants(item)
    elif kinds & PRODUCTS:
        if not item.keys() - REFERENCE:
            return
        group = item.get("isVariantOf")
        if isinstance(group, dict) and group.get("productGroupID"):
            item = {"inProductGroupWithID": group["productGroupID"], **item}
        yield item
    else:
        for key in INNER:
            yield from linked_products(item.get(key), depth + 1)


def allowance() -> Iterator[int]:
    """What linked_columns may take of a page or an object: it ends after MOST_TOGETHER."""
    return iter(range(MOST_TOGETHER))


def linked_columns(
    item: Any, line: int, skipped: Skipped, left: Iterator[int]
) -> Iterator[tuple[dict[str, Any], dict[str, Value] | None]]:
    """Yield (product, its columns) of the products in a value of JSON-LD in this line. The columns
    are None if they are too many, and the product is skipped. `left` is what is left of the
    allowance; if it is used up, the rest is skipped as one."""
    for product in linked_products(with_references(item)):
        try:
            columns = flattened(product, left)
        except TooMuch as reason:
            columns = None
            skipped.append((line, str(reason)))
        yield product, columns
        # A text counts as a value more for every hundred letters: variants share a description, too.
        cost = sum(1 + len(value) // 100 for value in (columns or {}).values())
        if next(itertools.islice(left, cost, None), None) is None:
            skipped.append((line, TOO_MANY))
            return


def variants(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A product for each variant of a group, which has the group's values where it lacks its own;
    the group itself if it has none."""
    inner = group.get("hasVariant")
    inner = inner if isinstance(inner, list) else [inner]
    usable = [each for each in inner if isinstance(each, dict) and each.keys() - REFERENCE]
    if not usable:
        yield {key: value for key, value in group.items() if key != "hasVariant"}
        return
    ids = ("productGroupID", "sku", "@id", "url", "name")
    group_id = next((group[key] for key in ids if isinstance(group.get(key), str)), "")
    shared = {
        key: value
        for key, value in group.items()
        if key not in ("@id", "@type", "sku", "mpn", "gtin", "hasVariant", "variesBy")
    }
    for variant in usable:
        filled = {key: value for key, value in variant.items() if value not in (None, "", [])}
        row = {"inProductGroupWithID": group_id, **shared, **filled}
        if "@id" in filled and "url" not in filled:
            row.pop(
                "url", None
            )  # it may be what tells products apart, and all variants would share it
        yield row


# ---- the way to a page --------------------------------------------------------------------------


def breadcrumbs(item: Any, depth: int = 0) -> Iterator[list[str]]:
    """The BreadcrumbLists in a value of JSON-LD, as `crumbs` says."""
    if isinstance(item, list):
        for inner in item if depth < DEEPEST else ():
            yield from breadcrumbs(inner, depth + 1)
    elif isinstance(item, dict) and depth <= DEEPEST:
        if "breadcrumblist" in types(item):
            levels = item.get("itemListElement")
            yield crumbs(levels if isinstance(levels, list) else [levels])
        else:
            for key in ("@graph", "breadcrumb", "mainEntity", "mainEntityOfPage"):
                yield from breadcrumbs(item.get(key), depth + 1)


def crumbs(levels: list[Any]) -> list[str]:
    """The names of the levels of a BreadcrumbList, the top first, without the shop's first page.
    Of a longer list or name only so much that it is too long: each product of a page has it."""
    usable = [level for level in levels if isinstance(level, dict)]
    try:
        usable.sort(key=lambda level: float(level["position"]))
    except (KeyError, TypeError, ValueError):
        pass  # some lists have no numbers, and then stand in order
    named: list[tuple[str, str]] = []  # (name, address)
    for level in usable:
        if len(named) > DEEPEST_PATH + 2:  # without the first page and the product still too deep
            break
        target = level.get("item")
        inner = target if isinstance(target, dict) else {"@id": target}
        name = level.get("name") or inner.get("name")
        address = inner.get("@id") or inner.get("url") or level.get("url")
        if isinstance(name, str) and name.strip():
            name = unescaped(name.strip())[: LONGEST_LEVEL + 1]
            named.append((name, address if isinstance(address, str) else ""))
    without_root = named[1:] if named and is_site_root(named[0][1]) else named
    return [name for name, _ in without_root]


def title_of(product: dict[str, Any]) -> str:
    """So much of a product's title as is compared with a level; '' if it has none."""
    name = product.get("name")
    return unescaped(name.strip())[: LONGEST_LEVEL + 1] if isinstance(name, str) else ""


def category_of(levels: list[str], title: str, is_variant: bool) -> tuple[str, ...]:
    """The levels of a product's category, by the way to its page: without the product itself."""
    if levels:
        last, name = levels[-1].casefold(), title.casefold()
        is_group = is_variant and re.match(rf"{re.escape(last)}\W", name)
        if last == name or is_group:
            levels = levels[:-1]
    return tuple(levels)


def is_site_root(address: str) -> bool:
    """Whether an address is that of a site's first page, perhaps of one language."""
    try:
        path = urlsplit(address).path
    except ValueError:
        return False
    return (
        bool(address)
        and re.fullmatch(r"/?([a-z]{2}([-_][a-zA-Z]{2})?/?)?(index\.\w+)?", path) is not None
    )
