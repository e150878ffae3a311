"""How a feed is read: what a user says about it, and what the first pass over its files finds.

In: nothing. Out: the types that feed_survey fills in, and that feed_products and feed_understood
read.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from crawling.feed_cells import Parting
from crawling.feed_columns import Layout, is_template
from crawling.feed_dialects import PLAIN, Dialect
from crawling.feed_names import column_name
from crawling.feed_types import (
    FeedFile,
    FeedSystem,
    HowRead,
    LeftOut,
    Names,
    Path,
    ReadOptions,
    Value,
)

NAMED = "--column product_type"  # the name of what --column says, among those of columns

Cells = Counter[Value]


class SurveyOptions(NamedTuple):
    """What a user says about a feed, besides what is in its files."""

    read: ReadOptions = ReadOptions()
    separator: str | None = None  # --separator
    ignored: tuple[str, ...] = ()  # --ignore-category
    numbers: Mapping[str, str] = {}  # --category-names: a number -> its category
    known: Mapping[Path, int] = {}  # categories that crawl.db has of this shop -> their products


@dataclasses.dataclass
class FileReading:
    """How one file of a feed is read."""

    file: FeedFile
    how: HowRead = dataclasses.field(default_factory=HowRead)
    dialect: Dialect = PLAIN
    header: bool = False  # whether all rows have the same columns
    names: dict[str, str] = dataclasses.field(default_factory=dict)  # known name -> as it stands
    fields: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # field -> its columns
    joined: set[str] = dataclasses.field(default_factory=set)  # those made of all their columns
    category: str = ""  # the known name of the column that files products; '' if none does
    standard: bool = False  # whether its categories are of a published tree
    parting: Parting = Parting()
    rows: int = 0
    cells: dict[str, Cells] = dataclasses.field(default_factory=dict)  # by known name
    samples: dict[str, Cells] = dataclasses.field(default_factory=dict)  # of columns not read
    filed: dict[str, int] = dataclasses.field(default_factory=dict)  # column -> rows it files
    listing_several: int = 0  # rows that list several categories
    none_words: Cells = dataclasses.field(default_factory=Counter)  # Uncategorized ...
    codes: dict[str, str] = dataclasses.field(default_factory=dict)  # of parents -> their id
    children: dict[str, str] = dataclasses.field(default_factory=dict)  # id of a variant -> parent
    short: list[int] = dataclasses.field(default_factory=list)  # lines of rows with cells missing
    counted_bytes: int = 0  # that cells take
    sampled_bytes: int = 0  # that samples take
    parents_size: int = 0  # bytes that codes and children take
    parents_lost: int = 0  # further ones, which were too many to keep
    layouts: dict[Names, Layout] = dataclasses.field(default_factory=dict)

    def id_column(self) -> str:
        """The known name of the column that has the ids: the first of those that may have them, and
        are not empty; '' if none is known."""
        known = map(column_name, self.fields.get("id", ()))
        return next((name for name in known if self.samples.get(name)), "")


@dataclasses.dataclass
class Reading:
    """How a feed is read, and what reading it counts."""

    files: list[FileReading]
    options: SurveyOptions
    shown: dict[Path, str] = dataclasses.field(default_factory=dict)  # folded path -> its last name
    left_out: LeftOut = dataclasses.field(default_factory=LeftOut)
    rows: int = 0  # that feed_products has read
    merged: int = 0  # that belong to the product of another row

    @property
    def written_by(self) -> FeedSystem:
        """Where the feed comes from."""
        columns = self.options.read.columns
        found = (
            {file.dialect.name for file in self.files},
            {"" if is_template(columns.get("id", "")) else file.id_column() for file in self.files},
            {file.category for file in self.files if file.category != NAMED} or {""},
        )
        return FeedSystem(*(names.pop() if len(names) == 1 else "" for names in found))

    @property
    def name(self) -> str:
        """What messages call the feed."""
        return self.files[0].file.name if len(self.files) == 1 else "the feed"
