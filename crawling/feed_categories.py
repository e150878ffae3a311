"""Categories of a feed, in the shop's words -> the ids that they have in crawl.db.

In: paths such as ("Women", "Jeans"). Out: ids such as women.jeans, which stay the same whatever the
order of the feed's lines, and rows of the table category.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

from common.terminal import UserError
from common.text import (
    LONGEST_LEVEL,
    MOST_CATEGORIES,
    MOST_PATHS,
    category_id,
    folded,
    is_short,
    tidy,
)
from crawling.feed_types import Path

MOST_SPELLINGS = 2 * MOST_CATEGORIES  # of paths, that are found again without a look at each letter
TOO_LONG = f"a category with more than {LONGEST_LEVEL} characters in a level, or too many in all"


class CategoryTree:
    """Category ids of a feed: the slugs of the whole path joined by '.', made unique.

    `categories` are the category rows of crawl.db: a feed that is loaded again keeps its ids. No
    category of an API's tree is taken over by its id or its name; those lie below a root, which a
    feed does not have.
    """

    def __init__(self, categories: Collection[sqlite3.Row | Mapping[str, Any]] = ()) -> None:
        names = {row["id"]: row["name"] for row in categories}
        tops = {row["id"] for row in categories if row["parent"] is None}
        self.taken = set(names)
        self.path_lengths = {row["id"]: len(row["path"] or "") for row in categories}
        self.characters = sum(self.path_lengths.values())  # of all paths
        self.names: dict[str, str] = {}  # id -> the shop's word, as it was written last
        self.parents: dict[str, str | None] = {}
        self.ids: dict[Path, str] = {}  # of paths as a feed has them, and as they are stored
        self.ids_by_key: dict[Path, str] = {}  # of paths with the keys of their levels
        for row in categories:
            steps = row["path"].split("/") if row["path"] else []
            if steps and steps[0] in tops:
                words = tuple(names.get(step) or step for step in steps)
                self.ids[words] = row["id"]
                self.ids_by_key.setdefault(tuple(map(folded, words)), row["id"])
                self.names[row["id"]] = words[-1]
                # By the path: a person may have edited `parent`, so that it leads nowhere.
                above = steps[-2] if len(steps) > 1 else None
                self.parents[row["id"]] = above if above in names else row["parent"]

    def id_of(self, path: Path) -> str | None:
        """The id of a path in the shop's words, which is not (). Gives ids to its parents too. None
        if the path is too long to be a category's, and is none yet. Letter case, blanks and ways to
        write an accent make no difference. Raises UserError if there are too many categories."""
        category = self.ids.get(path)
        if category is None:
            category = self.find(tuple(map(tidy, path)))
            if category is not None and len(self.ids) < MOST_SPELLINGS:
                self.ids[path] = category
        return category

    def find(self, path: Path) -> str | None:
        """The id of a path in tidy words, which becomes a category if it is none."""
        keys = tuple(map(folded, path))
        category = self.ids.get(path) or self.ids_by_key.get(keys)
        if category is None and not is_short(path):
            return None
        parent = self.id_of(path[:-1]) if len(path) > 1 else None
        if category is None:
            category = self.ids_by_key[keys] = self.add(path, parent)
        self.names[category] = path[-1]
        return category

    def add(self, path: Path, parent: str | None) -> str:
        """The id of a new category. Raises UserError if there are too many."""
        category = category_id(parent, path, self.taken)
        above = self.path_lengths[parent] + 1 if parent else 0
        self.path_lengths[category] = above + len(category)
        self.characters += self.path_lengths[category]
        if len(self.taken) >= MOST_CATEGORIES or self.characters > MOST_PATHS:
            raise UserError(
                f"the feed has more than {MOST_CATEGORIES:,} categories, or fewer with very long "
                f"names, such as {path[-1][:50]!r}: name another column with --column "
                "product_type=NAME, or leave the categories out with --unlabelled"
            )
        self.taken.add(category)
        self.parents[category] = parent
        return category

    def rows(self) -> list[tuple[str, str | None, int, str, str]]:
        """(id, parent, leaf, path, name) of all categories, for queries.store_categories."""
        inner = set(self.parents.values())
        return [
            (
                category,
                self.parents[category],
                int(category not in inner),
                self.path(category),
                name,
            )
            for category, name in self.names.items()
        ]

    def path(self, category: str) -> str:
        """The ids from the top to a category joined by '/'."""
        steps = [category]
        while (parent := self.parents.get(steps[-1])) and parent not in steps:
            steps.append(parent)
        return "/".join(reversed(steps))
