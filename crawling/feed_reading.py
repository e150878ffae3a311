"""A feed -> its products in the form that feed_import stores, with an account of its rows.

In: a Feed and the columns that a user named. Out: a Reading.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from common.terminal import UserError
from crawling import feed_products
from crawling.feed_download import Feed
from crawling.feed_types import FeedProduct, LeftOut


class Reading:
    """The products of a feed, and how many rows they came from."""

    def __init__(self, feed: Feed, columns: Mapping[str, str]) -> None:
        self.feed = feed
        self.columns = columns
        self.left_out = LeftOut()
        self.rows = 0  # read so far
        self.merged = 0  # rows that became part of another row's product

    def append(self, entry: tuple[int, str], /) -> None:
        """Count a row that can't be used, as (line, reason)."""
        self.rows += 1
        self.left_out.append(entry)

    def remarks(self) -> list[str]:
        """What a person should know about how the feed was read, in sentences."""
        return []


def read_products(reading: Reading) -> Iterator[FeedProduct]:
    """The products of a feed. Raises UserError if it holds none."""
    products = products_of(reading)
    first = next(products, None)
    if first is None:
        sentences = reading.left_out.sentences()
        reason = f"; {sentences[0]}" if sentences else ""
        raise UserError(f"the feed holds no product{reason}")
    return itertools.chain([first], products)


def products_of(reading: Reading) -> Iterator[FeedProduct]:
    """Yield the products of a feed."""
    skipped: Any = reading
    for row in feed_products.read_feed(reading.feed.path, skipped, reading.columns):
        reading.rows += 1
        yield FeedProduct(
            row.line,
            row.external_id,
            row.name,
            row.description,
            (row.category,) if row.category else (),
            (reading.feed.absolute(row.image),) if row.image else (),
            row.group,
            "",
        )
