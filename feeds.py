"""Catalogue files -> products. In: a feed as shops publish it; out: rows for crawl.py to store.

Google Merchant form: UTF-8 text, one product a line, columns parted by tabs and named by the first
line, nothing quoted. `id`, `title` and `product_type` (the shop's own category path, its levels
parted by " > ") are needed; `description`, `image_link` and `item_group_id` are used where present.

    python crawl.py --feed products.tsv
"""
import contextlib
import hashlib
import os
import re
import unicodedata
from typing import NamedTuple

from console import UserError

NEEDED = ("id", "title", "product_type")
LONGEST_LINE = 4_000_000   # characters; a longer one is a broken file, not a product
DEEPEST_PATH = 50          # levels of a category


class FeedProduct(NamedTuple):
    line: int            # of the file, from 1
    external_id: str     # as the shop gave it: leading zeros are part of it
    name: str
    description: str
    category: tuple      # the shop's words from the top to the leaf; () where it gives none
    image: str           # a URL or a path relative to the feed's folder, '' where there is none
    group: str           # item_group_id, '' where there is none


def read_feed(path, skipped):
    """Yield a FeedProduct for each usable line of a feed.

    A line that can't be used is appended to `skipped` as (line number, reason). Raises UserError
    where the file can't be read, is no feed, or is not UTF-8: guessing would damage names.
    """
    try:
        # Only \n ends a line: a description may hold \x0b, \x85 or U+2028.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
            yield from read_lines(file, path, skipped)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; --feed takes a tab-separated file") from None


def read_lines(file, path, skipped):
    first = file.readline(LONGEST_LINE)
    header = [column_name(name) for name in first.rstrip("\r\n").split("\t")]
    missing = [name for name in NEEDED if name not in header]
    if missing:
        found = ", ".join(repr(name[:30]) for name in header[:20])   # it may be no text at all
        raise UserError(f"{path} has no column {', '.join(missing)} in its first line, which must "
                        f"name the columns, parted by tabs; found: {found}")
    check_utf8(first, path, 1)
    number = 1
    while line := file.readline(LONGEST_LINE):
        number += 1
        if not line.strip() and len(line) < LONGEST_LINE:
            continue
        check_utf8(line, path, number)
        values = [clean(value) for value in line.rstrip("\r\n").split("\t")]
        while len(values) > len(header) and not values[-1]:
            values.pop()
        row = dict(zip(header, values))
        words = [word.strip() for word in row.get("product_type", "").split(" > ")]
        if len(line) == LONGEST_LINE:
            skipped.append((number, "line too long"))
            while len(line) == LONGEST_LINE and not line.endswith("\n"):
                line = file.readline(LONGEST_LINE)
        elif len(values) > len(header):
            skipped.append((number, "more columns than the first line names"))
        elif not row.get("id"):
            skipped.append((number, "no id"))
        elif not row.get("title"):
            skipped.append((number, "no title"))
        elif len(words) > DEEPEST_PATH:
            skipped.append((number, f"a category of more than {DEEPEST_PATH} levels"))
        else:
            yield FeedProduct(number, row["id"], row["title"], row.get("description", ""),
                              tuple(word for word in words if word), row.get("image_link", ""),
                              row.get("item_group_id", ""))


def check_utf8(line, path, number):
    """Raise UserError where a line read with surrogateescape held bytes that are not UTF-8."""
    if not line.isascii() and any("\ud800" <= letter <= "\udfff" for letter in line):
        raise UserError(f"{path}, line {number} is not UTF-8: save the file as UTF-8, or convert "
                        "it (iconv -f latin1 -t utf-8), and load that")


def check_feed(path):
    """Raise UserError unless the file can be read and its first line is a feed's."""
    with contextlib.closing(read_feed(path, [])) as rows:
        next(rows, None)


def column_name(text):
    """`image link [image_link]`, `Image Link` and `image_link` are one column."""
    bracket = re.search(r"\[(\w+)\]", text)
    return bracket.group(1) if bracket else re.sub(r"[\s-]+", "_", text.strip().lower())


def clean(text):
    """Text that SQLite, JSON and a terminal can hold: no NUL, no half of a surrogate pair."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8").strip()


def slug(words):
    """Lower-case letters, marks and digits of any language, joined by '-'; a hash where none is
    left. It holds no '.', which parts levels, and no ',', which parts ids in --categories."""
    kept = (letter if unicodedata.category(letter)[0] in "LMN" else " "
            for letter in unicodedata.normalize("NFKC", words).lower())
    return "-".join("".join(kept).split()) or short_hash(words)


def short_hash(text):
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


class CategoryTree:
    """Category ids of a feed: the slugs of the whole path joined by '.', made unique.

    `categories` are the category rows of crawl.db: a feed loaded again keeps its ids whatever the
    order of its lines, and no category of an API's tree (they lie below a root, which a feed has
    not) is taken over by its id or its name.
    """

    def __init__(self, categories=()):
        names = {row["id"]: row["name"] for row in categories}
        tops = {row["id"] for row in categories if row["parent"] is None}
        self.ids = {tuple(names.get(step) or step for step in row["path"].split("/")): row["id"]
                    for row in categories if row["path"] and row["path"].split("/")[0] in tops}
        self.taken = set(names)

    def id_of(self, path):
        """The id of a path in the shop's words, () for none; gives ids to its parents too."""
        if path not in self.ids:
            above = self.id_of(path[:-1]) + "." if len(path) > 1 else ""
            own = above + slug(path[-1])
            if own in self.taken:
                own += "-" + short_hash(" > ".join(path))
            self.ids[path] = own
            self.taken.add(own)
        return self.ids[path]

    def rows(self):
        """(id, parent, leaf, path, name) of all categories, for db.store_categories."""
        inner = {path[:-1] for path in self.ids}
        return [(own, self.ids.get(path[:-1]), int(path not in inner),
                 "/".join(self.ids[path[:depth]] for depth in range(1, len(path) + 1)), path[-1])
                for path, own in self.ids.items()]


def picture_file(feed_path, link):
    """The file that a feed's relative image_link means; None where it leaves the feed's folder."""
    folder = os.path.realpath(os.path.dirname(os.path.abspath(feed_path)))
    try:
        path = os.path.realpath(os.path.join(folder, link))
    except ValueError:
        return None
    return path if os.path.commonpath([folder, path]) == folder else None
