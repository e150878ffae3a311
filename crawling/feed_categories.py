"""Categories of a feed, in the shop's words -> the ids that they have in crawl.db.

In: paths such as ("Women", "Jeans"). Out: ids such as women.jeans, which stay the same whatever the
order of the feed's lines, and rows of the table category.
"""

from __future__ import annotations

import hashlib
import sqlite3
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

Path = tuple[str, ...]  # the shop's words from the top to the category


def slug(words: str) -> str:
    """Lower-case letters, marks and digits of any language, joined by '-'; a hash if none is left.
    It holds no '.', which parts levels, and no ',', which parts ids in --categories."""
    kept = (
        letter if unicodedata.category(letter)[0] in "LMN" else " "
        for letter in unicodedata.normalize("NFKC", words).lower()
    )
    return "-".join("".join(kept).split()) or short_hash(words)


def short_hash(text: str) -> str:
    """The first eight hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


class CategoryTree:
    """Category ids of a feed: the slugs of the whole path joined by '.', made unique.

    `categories` are the category rows of crawl.db: a feed that is loaded again keeps its ids. No
    category of an API's tree is taken over by its id or its name; those lie below a root, which a
    feed does not have.
    """

    def __init__(self, categories: Collection[sqlite3.Row | Mapping[str, Any]] = ()) -> None:
        names = {row["id"]: row["name"] for row in categories}
        tops = {row["id"] for row in categories if row["parent"] is None}
        self.ids: dict[Path, str] = {}
        for row in categories:
            steps = row["path"].split("/") if row["path"] else []
            if steps and steps[0] in tops:
                self.ids[tuple(names.get(step) or step for step in steps)] = row["id"]
        self.taken = set(names)

    def id_of(self, path: Path) -> str:
        """The id of a path in the shop's words, which is not (). Gives ids to its parents too.
        Blanks and ways to write an accent make no difference."""
        path = tuple(unicodedata.normalize("NFC", " ".join(word.split())) for word in path)
        if path not in self.ids:
            above = self.id_of(path[:-1]) + "." if len(path) > 1 else ""
            category = above + slug(path[-1])
            if category in self.taken:
                category += "-" + short_hash(" > ".join(path))
            self.ids[path] = category
            self.taken.add(category)
        return self.ids[path]

    def rows(self) -> list[tuple[str, str | None, int, str, str]]:
        """(id, parent, leaf, path, name) of all categories, for queries.store_categories."""
        inner = {path[:-1] for path in self.ids}
        rows = []
        for path, category in self.ids.items():
            steps = [self.ids[path[:depth]] for depth in range(1, len(path) + 1)]
            rows.append(
                (
                    category,
                    self.ids.get(path[:-1]),
                    int(path not in inner),
                    "/".join(steps),
                    path[-1],
                )
            )
        return rows
