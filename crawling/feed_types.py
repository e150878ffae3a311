"""What the modules that read a feed hand to each other.

In: nothing. Out: the types of a row, of how a file was read, and of a product; and LeftOut, which
counts what can't be used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, Union

from common.terminal import FEW, first_few

# A cell: a text, or a list of texts or of lists. ("Sport", "Shoes") is a list of two texts.
Value = Union[str, "tuple[Value, ...]"]
Names = tuple[str, ...]  # of the columns
# (line, column names, values). A header row has None for values. The names are the same object for
# as long as they stay the same, and values may be fewer than names.
FeedRow = tuple[int, Names, "Sequence[Value] | None"]
Path = tuple[str, ...]  # a category: the shop's words from the top to the category


class FeedFile(NamedTuple):
    """One file of a feed, to read as often as needed."""

    path: str
    member: str | None = None  # of a zip of several files; None if the file is not one
    name: str = ""  # what messages call it
    url: str | None = None  # where it was downloaded from; None if it is the user's own
    folder: str | None = None  # of relative links to pictures; None if they are relative to url


class ReadOptions(NamedTuple):
    """What a user says about the files of a feed."""

    columns: Mapping[str, str] = {}  # --column: {field: what holds it}
    encoding: str | None = None  # --encoding; None if the bytes tell it
    sheet: str | None = None  # --sheet of a spreadsheet; None for the first with a header


@dataclasses.dataclass
class HowRead:
    """How a file was read. The reader fills it in before it yields the first row."""

    kind: str = ""  # such as "text with tabs", "CSV with ';'", "JSON Lines", "XML of <item>"
    encoding: str = ""  # such as "UTF-8"
    remarks: list[str] = dataclasses.field(default_factory=list)  # what a person should know
    delimiter: str = ""  # what stands between the cells of plain text; '' if it is none
    quoted: bool = False  # whether a quote there begins a cell that may hold the delimiter


class FeedSystem(NamedTuple):
    """Where a feed comes from; '' stands for what nobody knows, or in what its files differ."""

    system: str = ""  # that wrote it, as feed_dialects.py calls it
    id_column: str = ""  # the known name of the column that has the ids
    category_column: str = ""  # and of the one that files products


class Skipped(Protocol):
    """What takes the rows that can't be used: a list, or a LeftOut."""

    def append(self, entry: tuple[int, str], /) -> None:
        """Take (line, reason); an id may follow the reason in brackets: 'no title (id 7)'."""


class LeftOut:
    """Counts rows that can't be used, by reason, with the first few lines of each."""

    def __init__(self) -> None:
        self.rows = 0
        self.reasons: dict[str, tuple[int, list[str]]] = {}

    def __len__(self) -> int:
        return self.rows

    def append(self, entry: tuple[int, str], /) -> None:
        line, reason = entry
        kind, bracket, product_id = reason.partition(" (")
        count, names = self.reasons.setdefault(kind, (0, []))
        if len(names) < FEW:
            names.append(f"{line}{bracket}{product_id}")
        self.reasons[kind] = (count + 1, names)
        self.rows += 1

    def sentences(self) -> list[str]:
        """One sentence for each reason, with the first few of its lines."""
        return [
            f"line {names[0]}: {reason}"
            if count == 1
            else f"{count:,} lines ({first_few(names, count)}): {reason}"
            for reason, (count, names) in self.reasons.items()
        ]


class FeedProduct(NamedTuple):
    """A product of a feed."""

    line: int  # of its file, from 1
    external_id: str  # as the shop gave it: leading zeros are part of it
    name: str
    description: str
    categories: tuple[Path, ...]  # the most specific first; it is filed under the first of them
    images: tuple[str, ...]  # URLs, or paths relative to the feed's folder; the first that works
    group: str  # item_group_id; '' if there is none
    parent: str  # the external_id of the product it is a variant of; '' if it is none
