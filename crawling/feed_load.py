"""A load under way: how products are stored, and what is counted.

In: nothing. Out: the types that feed_import, feed_changes and feed_report share.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from typing import NamedTuple

from crawling.feed_categories import CategoryTree
from crawling.feed_types import FeedProduct, FeedSystem, LeftOut, Path

MOST_LINKS = 10  # to pictures of one product


class FeedOptions(NamedTuple):
    """How the products of a feed are stored."""

    source: str  # the name of the feed's shop
    unlabelled: bool = False  # whether its categories are left out
    remove_missing: bool = False  # whether products that it no longer has are marked so
    moves_file: str | None = None  # to write the moves of categories to
    db_path: str = "crawl.db"  # for commands that are printed
    written_by: FeedSystem = FeedSystem()


class Move(NamedTuple):
    """A category that a feed has emptied into another one: renamed, moved or merged."""

    source: Path  # in the shop's words
    target: Path
    products: int  # that were below the one, and are below the other now


@dataclasses.dataclass
class LoadCounts:
    """What a load counts on its way, in products."""

    outcomes: dict[str, int] = dataclasses.field(
        default_factory=lambda: {"new": 0, "changed": 0, "unchanged": 0}
    )
    labels_kept: int = 0  # without the feed's categories: have one in crawl.db already
    pictures_lost: int = 0  # had a link to a picture, and have none now
    labels_lost: int = 0  # had a category, and have none now
    too_long: LeftOut = dataclasses.field(default_factory=LeftOut)  # categories, not products
    regrouped: int = 0  # have another item group than before
    variants: int = 0  # name a parent
    inherited: int = 0  # of the variants: have a category of the parent's
    gone: int = 0  # of the source: are not in the feed
    removed: int = 0  # of those: are marked as removed by this load
    moves: list[Move] = dataclasses.field(default_factory=list)  # of categories
    examples: list[FeedProduct] = dataclasses.field(default_factory=list)  # the first few

    @property
    def products(self) -> int:
        return sum(self.outcomes.values())


# {external_id: the ids of the categories that a product is to be listed in, the one that files it
# first; None leaves what is there}
Lists = dict[str, "tuple[str, ...] | None"]


@dataclasses.dataclass
class Load:
    """A load under way."""

    conn: sqlite3.Connection
    options: FeedOptions
    tree: CategoryTree
    largest_id: int  # of all products
    is_new_source: bool  # whether crawl.db had no product of the source
    counts: LoadCounts


def further_links(product: FeedProduct) -> tuple[str, ...]:
    """The links to a product's pictures that are tried if the first fails."""
    if len(product.images) < 2:
        return ()
    return tuple(dict.fromkeys(product.images))[1:MOST_LINKS]
