"""The tree of categories that some XML feeds have beside their products, such as Yandex Market's.

In: elements like <category id="2" parentId="1">Hats</category>. Out: for the ids that a product
names the categories that they mean, each as a path.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from common.terminal import counted, first_few
from common.text import LONGEST_LEVEL
from crawling.feed_types import Path, Value

if TYPE_CHECKING:
    from crawling.feed_xml import Frame

DEEPEST = 50  # levels
MOST_CATEGORIES = 100_000
IDS = ("@id", "id", "category_id", "categoryId")
PARENTS = ("@parentId", "@parent_id", "@parentID", "@parent", "parentId", "parent_id", "parent")
NAMES = ("@name", "@title", "name", "title")
CATEGORY_ID = re.compile(r"(.*\.)?category_?id", re.I)


class CategoryNames:
    """The categories of a file, by their id."""

    def __init__(self) -> None:
        self.categories: dict[str, tuple[str, str]] = {}  # id -> (its name, the id of its parent)
        self.paths: dict[str, Path] = {}  # id -> its levels, once they were asked for
        self.unknown: Counter[str] = Counter()  # ids that products name and that are not among them

    def add(self, frame: Frame) -> None:
        """Add the category of an element, if it is one."""
        category_id = first_text(frame, IDS)
        name = "".join(frame.texts).strip() if frame.is_text else first_text(frame, NAMES)
        if category_id and name and len(self.categories) < MOST_CATEGORIES:
            # Of a longer name only that it is too long: each product below it has it in its path.
            self.categories[category_id] = (name[: LONGEST_LEVEL + 1], first_text(frame, PARENTS))
            self.paths.clear()

    def complete(self, row: dict[str, Value]) -> None:
        """Add to a row for each column of ids of categories a column `.path`: their paths."""
        if not self.categories:
            return
        for name in [name for name in row if CATEGORY_ID.fullmatch(name)]:
            value = row[name]
            ids = (value,) if isinstance(value, str) else value
            paths = {each: self.path(each) for each in ids if isinstance(each, str) and each}
            row[f"{name}.path"] = tuple(path for path in paths.values() if path)
            self.unknown.update(each for each, path in paths.items() if not path)

    def remark(self) -> str:
        """A sentence about the ids that are not among the categories."""
        names = [repr(name[:30]) for name, _ in self.unknown.most_common()]
        return (
            f"{counted(self.unknown.total(), 'product')} without a category: the file does not say "
            f"what its category {first_few(names)} is called"
        )

    def path(self, category_id: str) -> Path:
        """The levels of a category from the top; () if there is none of that id."""
        if category_id not in self.paths:
            levels: list[str] = []
            seen: set[str] = set()
            above = category_id
            while above in self.categories and above not in seen and len(levels) < DEEPEST:
                seen.add(above)
                name, parent = self.categories[above]
                levels.append(name)
                above = parent
            self.paths[category_id] = tuple(reversed(levels))
        return self.paths[category_id]


def first_text(frame: Frame, names: tuple[str, ...]) -> str:
    """The first text that an element has under one of these names; '' if it has none."""
    for name in names:
        if name in frame.columns:
            value = frame.value(name)
            if isinstance(value, str) and value.strip():
                return value.strip()
    return ""
