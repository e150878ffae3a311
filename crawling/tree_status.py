"""The category tree in figures, so that a person can choose --depth and --min-products.

In: crawl.db. Out: lines to print; nothing is written.

    python crawl.py --status
"""

from __future__ import annotations

import array
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

import db
from common.terminal import counted
from crawling import queries

SIZES = (5, 50, 1000)  # of categories, in products of different styles
ENOUGH = 50  # one of SIZES
MOST = 0.9  # of the products are wanted in categories of ENOUGH


class Cut(NamedTuple):
    """A level of the tree, and the tree as --depth leaves it if it is cut there: categories below
    the level count as their ancestor at it."""

    level: int  # 1 is the top
    categories_here: int  # at this level of the whole tree, with products of their own
    products_here: int  # filed at them
    categories: int  # of the tree that is cut, with products
    large: tuple[int, ...]  # how many of these have as many styles as each of SIZES
    products: int  # in those of ENOUGH


def tree_lines(conn: sqlite3.Connection) -> list[str]:
    """Lines about the tree: its products by level, and what each --depth would give. None if no
    product has a category."""
    cuts = cut_at_each_level(conn)
    products = sum(cut.products_here for cut in cuts)
    if not products:
        return []
    return [
        f"tree: {counted(products, 'product')} in "
        f"{counted(cuts[-1].categories, 'category', 'categories')}, at "
        f"{counted(len(cuts), 'level')} (level 1 is the top)",
        *table(cuts, products),
        "  cut there: --depth N makes one category of all that lies below a category at level N",
        "  5, 50 and 1,000 count styles: variants (an item group, or the same words) count once",
        f"  {advice(cuts, products)}",
    ]


def table(cuts: Iterable[Cut], products: int) -> Iterator[str]:
    """Two rows of headings, and a row for each level."""
    sizes = "".join(f"{size:>8,}" for size in SIZES)
    yield f"{'':15}at the level itself    cut there (--depth N): categories of at least"
    yield (
        f"  level{'categories':>14}{'products':>13}{'1 product':>15}{sizes}"
        f"    products in those of {ENOUGH}"
    )
    for cut in cuts:
        large = "".join(f"{number:>8,}" for number in cut.large)
        share = f"{100 * cut.products // products} %"  # cut off, so that 100 % is all
        yield (
            f"  {cut.level:>5}{cut.categories_here:>14,}{cut.products_here:>13,}"
            f"{cut.categories:>15,}{large}{share:>11}"
        )


def advice(cuts: Sequence[Cut], products: int) -> str:
    """The deepest level at which most products are in categories of ENOUGH, in words."""
    wanted = f"nine of ten products are in categories of at least {ENOUGH}"
    deepest = max((cut.level for cut in cuts if cut.products >= MOST * products), default=0)
    if not deepest:
        return f"{wanted} at no level: --min-products takes a smaller number"
    if deepest == len(cuts):
        return f"{wanted} even without --depth: --min-products {ENOUGH}"
    return f"the deepest level at which {wanted} is {deepest}: --depth {deepest}"


# ---- counts -------------------------------------------------------------------------------------


def cut_at_each_level(conn: sqlite3.Connection) -> list[Cut]:
    """The tree cut at each level from the top to the deepest that has products, which is the whole
    tree. Products whose category is not in the tree, or is the root of an API, do not count."""
    paths = paths_from_the_top(db.categories(conn))
    numbers = {category: number for number, category in enumerate(paths)}
    filed, styles = filed_styles(conn, numbers)
    own_products = np.bincount(filed, minlength=len(paths))
    levels = np.array(list(map(len, paths.values())))
    cuts = []
    for level in range(1, max(levels[own_products > 0], default=0) + 1):
        counts_as = np.array([numbers[path[:level][-1]] for path in paths.values()])
        products = np.bincount(counts_as[filed], minlength=len(paths))
        sizes = style_counts(counts_as[filed], styles, len(paths))
        here = own_products[levels == level]
        cuts.append(
            Cut(
                level,
                int((here > 0).sum()),
                int(here.sum()),
                int((products > 0).sum()),
                tuple(int((sizes >= size).sum()) for size in SIZES),
                int(products[sizes >= ENOUGH].sum()),
            )
        )
    return cuts


def paths_from_the_top(categories: Iterable[sqlite3.Row]) -> dict[str, list[str]]:
    """{category id: the ids from the top of the tree to it}. A root of an API is none of them. In a
    file of 2016 only leaves have a path, which gives those of the categories above them."""
    paths: dict[str, list[str]] = {}
    for row in categories:
        path = row["path"].split("/") if row["path"] else [row["id"]] if row["leaf"] else []
        for length, category in enumerate(path, 1):
            paths[category] = max(paths.get(category, []), path[:length], key=len)
    return paths


def style_counts(categories: np.ndarray, styles: np.ndarray, count: int) -> np.ndarray:
    """How many different styles each of `count` categories has, of products given by the numbers
    of their categories and of their styles."""
    most = int(styles.max(initial=0)) + 1
    pairs = np.sort(categories * most + styles)  # a fifth of the time of np.unique
    is_first = np.diff(pairs, prepend=-1) > 0
    return np.bincount(pairs[is_first] // most, minlength=count)


def filed_styles(
    conn: sqlite3.Connection, numbers: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The number of the category, and a number of the style, of each product in one of the
    categories {id: number}. Of the key of a style only a hash is kept, or those of a million
    products would take 100 MB."""
    categories, hashes = array.array("q"), array.array("q")
    for category, key in queries.filed_styles(conn):
        if category in numbers:
            categories.append(numbers[category])
            hashes.append(hash(key))
    _, styles = np.unique(np.array(hashes), return_inverse=True)
    return np.array(categories), styles
