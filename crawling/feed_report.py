"""What a person should know about a load, in words: its account, its categories, its labels.

In: crawl.db after a load, and what the load counted. Out: lines to print; nothing is written.
"""

from __future__ import annotations

import collections
import os
import shlex
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence

import db
from common.terminal import counted, first_few
from common.text import one_line
from crawling import feed_queries, feed_understood, picture_links
from crawling.feed_load import FeedOptions, LoadCounts
from crawling.feed_reading import Reading
from crawling.feed_types import FeedFile, FeedProduct

SEPARATORS = ">/|\\~,"  # that stand in categories whose levels they may part
SHOWN = 10  # of the largest categories, and of the smallest
BEGINNING = 80  # characters of a description that a dry run shows


def account_line(reading: Reading, counts: LoadCounts) -> str:
    """What has become of the rows of a feed."""
    return (
        f"feed: {counted(reading.rows, 'row')} = {counted(counts.products, 'product')} + "
        f"{reading.merged:,} merged + {len(reading.left_out):,} left out"
    )


def load_lines(
    conn: sqlite3.Connection, reading: Reading, options: FeedOptions, counts: LoadCounts
) -> list[str]:
    """Lines about a load that has just ended, for stderr."""
    name = reading.name
    return [
        *(f"{name}, {sentence}; left out" for sentence in reading.left_out.sentences()),
        *(
            f"{name}, {sentence}: loaded without it; if another column holds the category, name it "
            "with --column product_type=NAME"
            for sentence in counts.too_long.sentences()
        ),
        *feed_understood.remarks(reading),
        *label_lines(options, counts),
        *change_lines(options, counts),
        *category_lines(conn, name, options.source),
    ]


def products_have(number: int, source: str) -> str:
    return counted(number, f"product of {source} has", f"products of {source} have")


def label_lines(options: FeedOptions, counts: LoadCounts) -> list[str]:
    """Lines about the categories that the products of a feed have or had."""
    lines, source = [], options.source
    if options.unlabelled and counts.labels_kept:
        have = counted(counts.labels_kept, "of these products has", "of these products have")
        lines.append(f"{have} a category in the database already, which is kept")
    if counts.labels_lost:
        lines.append(
            f"{products_have(counts.labels_lost, source)} "
            "no category now, but had one before: the feed gives none (--unlabelled keeps what is "
            "there)"
        )
    if counts.pictures_lost:
        lines.append(
            f"{products_have(counts.pictures_lost, source)} no link to a picture now, but had one "
            "before"
        )
    if counts.variants:
        inherited = ""
        if counts.inherited:
            inherited = f"; {counts.inherited:,} without a category got the parent's"
        are = "is a variant" if counts.variants == 1 else "are variants"
        lines.append(
            f"{counted(counts.variants, 'product')} {are} of another product: the parent and its "
            f"variants are one group{inherited}"
        )
    return lines


def change_lines(options: FeedOptions, counts: LoadCounts) -> list[str]:
    """Lines about what an earlier load left otherwise."""
    lines, source = [], options.source
    if counts.regrouped:
        lines.append(
            f"{products_have(counts.regrouped, source)} "
            "another item group than before: the next training keeps each group together, and the "
            "experiments so far were split otherwise"
        )
    are = "is" if counts.gone == 1 else "are"
    gone = f"{counted(counts.gone, 'product')} of {source} {are} no longer in the feed"
    if counts.removed:
        lines.append(
            f"{gone}: marked as removed, which keeps predictions, but leaves the products out of "
            "training and filing until a feed has them again"
        )
    elif counts.gone and not options.unlabelled:  # which loads new products, beside the others
        lines.append(
            f"{gone}, and nothing changes for them: --remove-missing takes them out of training "
            "and filing"
        )
    return lines


# ---- categories ---------------------------------------------------------------------------------


def category_lines(conn: sqlite3.Connection, name: str, source: str) -> list[str]:
    """Lines about the categories of a source: the largest and the smallest by their names, and how
    many products have none. No lines for fewer than two categories, but a warning if the levels of
    the feed called `name` seem not to be parted."""
    paths = readable_paths(conn)
    sizes = feed_queries.category_sizes(conn, source)
    without = sum(size for category, size in sizes if category is None)
    labelled = [(paths.get(category, (category,)), size) for category, size in sizes if category]
    lines = separator_lines(name, labelled)
    if len(labelled) < 2:
        return lines
    total = sum(size for _, size in labelled)
    lines.append(
        f"{counted(total, 'product')} in {counted(len(labelled), 'category', 'categories')}, "
        f"{without:,} without one"
    )
    if len(labelled) <= 2 * SHOWN:
        return [*lines, *size_lines(labelled)]
    return [
        *lines,
        f"the {SHOWN} largest categories:",
        *size_lines(labelled[:SHOWN]),
        f"{SHOWN} of the smallest:",
        *size_lines(labelled[-SHOWN:]),
    ]


def size_lines(sizes: Iterable[tuple[tuple[str, ...], int]]) -> Iterator[str]:
    for path, size in sizes:
        yield f"{size:>11,}  {one_line(' > '.join(path))}"


def readable_paths(conn: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """{category id: its path in the shop's words}."""
    rows = {row["id"]: row for row in db.categories(conn)}
    names = {category: row["name"] or category for category, row in rows.items()}
    return {
        category: tuple(names.get(step, step) for step in (row["path"] or category).split("/"))
        for category, row in rows.items()
    }


def known_categories(conn: sqlite3.Connection, source: str) -> dict[tuple[str, ...], int]:
    """{path in the shop's words: number of products} of the categories that a source has."""
    paths = readable_paths(conn)
    sizes = feed_queries.category_sizes(conn, source)
    return {paths[category]: size for category, size in sizes if category in paths}


def separator_lines(name: str, sizes: Iterable[tuple[tuple[str, ...], int]]) -> list[str]:
    """A warning if no category has levels, and a sign that may part some is in the names of those
    that most products have."""
    sizes = list(sizes)
    often: collections.Counter[str] = collections.Counter()
    for path, size in sizes:
        often.update({sign: size for sign in SEPARATORS if sign in path[-1]})
    if not often or any(len(path) > 1 for path, _ in sizes):
        return []
    separator, products = often.most_common(1)[0]
    if products <= sum(size for _, size in sizes) / 2:
        return []
    return [
        f"{name}: the categories have no levels, but many contain '{separator}': if it stands "
        f"between levels, load it with --separator {shlex.quote(separator)}"
    ]


# ---- dry runs -----------------------------------------------------------------------------------


class Links:
    """Counts the links to pictures of a feed's products, and names the files that are missing.
    Relative links of a feed that came from a URL lead there."""

    def __init__(self, files: Sequence[FeedFile]) -> None:
        self.folders = list(dict.fromkeys(file.folder for file in files if file.folder is not None))
        beside = all(file.folder == os.path.dirname(os.path.abspath(file.path)) for file in files)
        self.where = "beside the feed" if beside else f"in {first_few(self.folders)}"
        self.linked = 0  # products with a link
        self.to_files = 0  # of those: with links to files alone

    def watched(
        self, products: Iterable[FeedProduct], tell: Callable[[str, object], None]
    ) -> Iterator[FeedProduct]:
        """Yield the products as they are, and `tell` of those none of whose files is there."""
        for product in products:
            self.linked += bool(product.images)
            if self.folders and product.images:
                self.look_for_files(product, tell)
            yield product

    def look_for_files(self, product: FeedProduct, tell: Callable[[str, object], None]) -> None:
        if any(map(picture_links.of_the_web, product.images)):
            return
        self.to_files += 1
        files = (
            picture_links.picture_file(folder, link)
            for link in product.images
            for folder in self.folders
        )
        if not any(file is not None and os.path.isfile(file) for file in files):
            tell(f"files are not there, {self.where}", f"{product.images[0]} (line {product.line})")


def missing_files(count: int, names: str, reason: str) -> str:
    """The sentence about linked files, for terminal.grouped."""
    return f"{count} linked {reason.replace('files are', 'file is') if count == 1 else reason}: {names}"


def plan_line(conn: sqlite3.Connection, source: str, counts: LoadCounts, links: Links) -> str:
    """What a load would load: the first line of a dry run."""
    categories, without, groups = feed_queries.seen_counts(conn, source)
    to_files = f" ({links.to_files} of them to files)" if links.to_files else ""
    return (
        f"would load {counted(counts.products, 'product')} in "
        f"{counted(categories, 'category', 'categories')} ({without} without one), "
        f"{links.linked} with a link to a picture{to_files}, {counted(groups, 'item group')}"
    )


def example_lines(products: Iterable[FeedProduct]) -> Iterator[str]:
    """The first products of a feed as they were understood."""
    for product in products:
        description = one_line(product.description)
        if len(description) > BEGINNING:
            description = f"{description[:BEGINNING]} ..."
        categories = "; ".join(" > ".join(path) for path in product.categories)
        if not categories and product.parent:
            categories = f"that of product {product.parent}"
        picture = product.images[0] if product.images else ""
        more = f" and {len(product.images) - 1} more" if len(product.images) > 1 else ""
        yield f"product {one_line(product.external_id)}: {one_line(product.name)}"
        for label, text in (
            ("categories" if len(product.categories) > 1 else "category", categories),
            ("picture", picture + more),
            ("group", product.group or product.parent),
            ("description", description),
        ):
            yield f"  {label}: {one_line(text) or 'none'}"
