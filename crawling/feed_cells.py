"""What a cell of a feed holds: lists, links to pictures, categories and their levels.

In: cells, and what is known of the file they come from (Parting). Out: categories as tuples of
their levels, and links.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import functools
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from common.text import folded, unescaped
from crawling.feed_types import Path, Value
from crawling.feed_words import NO_CATEGORY

LONGEST_LIST = 100_000  # characters of a cell that may be a list
BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001))))
DEEPEST_LIST = 20  # lists in each other
LONGEST_ENTRY = 10_000  # characters in which commas are looked at one by one
NO_PICTURE = frozenset(
    "no_selection nan none null n/a #n/a - []".split()
)  # words in place of a link
MOST_LINKS = 10  # to pictures of a product
GREATER = r"(?<!\\)[-=]?>+"  # what parts levels in most files
CONJUNCTION = re.compile(r"&|\b(and|und|et|e|y|en|och|og|i|a|и|ve)\b", re.IGNORECASE)
GOOGLE_NUMBER = re.compile(r"\d+\s*-\s+(?=\S)")
NAMES_OF_ENTRIES = ("name", "title", "label", "url", "src", "uri", "link", "href", "path")


class Parting(NamedTuple):
    """How the cells of one column part levels and categories."""

    level_sign: str = ">"  # as feed_parting.LEVELS calls it, or what --separator says
    level_pattern: str = GREATER
    given: bool = False  # whether a dialect or --separator says so, and it also parts lists
    entry_sign: str = ""  # a dialect's sign between categories; '' if the cell has to tell
    list_is_path: bool = False  # whether a list of names is one category
    standard: bool = False  # whether the categories are of a published tree, such as Google's
    pipe_parts: bool = False  # whether '|' parts categories
    tops: frozenset[str] = frozenset()  # folded first levels that stand in cells without a comma
    paths: frozenset[str] = frozenset()  # folded cells without a comma
    roots: frozenset[str] = frozenset()  # folded names of a top that is no level
    ignored: frozenset[str] = frozenset()  # folded names that --ignore-category says
    numbers: Mapping[str, str] = {}  # a published tree's number -> its category
    bare_numbers: bool = True  # whether a number of a published tree is a category without a name
    bare_roots: frozenset[str] = frozenset()  # folded tops that alone say nothing


def decoded(text: str) -> str:
    """The text without HTML's entities. Feeds that were escaped twice have &amp;gt;."""
    if "&" not in text:
        return text
    text = unescaped(text)
    return unescaped(text) if "&" in text else text


def plain(text: str) -> str:
    """A category's text without entities and markup."""
    text = decoded(text)
    return re.sub(r"</?[a-zA-Z][^<>]*>", " ", text) if "<" in text else text


# ---- lists --------------------------------------------------------------------------------------


def cell_list(text: str) -> Value:
    """The list that a cell holds as JSON or as Python prints it; any other text as it is."""
    text = text.strip()
    if text[:1] + text[-1:] not in ("[]", "()", "{}") or not 2 < len(text) <= LONGEST_LIST:
        return text if text not in ("[]", "()", "{}") else ()
    for read in (functools.partial(json.loads, strict=False), ast.literal_eval):
        try:
            read_value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(read_value, (list, tuple)):
            return tuple(filter(None, map(as_value, read_value)))
        if isinstance(read_value, (dict, set)) and text[0] == "{":
            return as_value(read_value)
    return text


def as_value(item: Any, depth: int = 0) -> Value:
    """Something that JSON or Python holds as a text, or a tuple of them; '' if it is too deep."""
    if isinstance(item, str):
        return item
    if isinstance(item, (list, tuple, set)):
        inner = item if depth < DEEPEST_LIST else ()
        return tuple(filter(None, (as_value(each, depth + 1) for each in inner)))
    if isinstance(item, dict):
        for name in NAMES_OF_ENTRIES:
            if isinstance(item.get(name), str):
                return item[name]
        return ""
    return "" if item is None or isinstance(item, bool) else str(item)


def picture_links(value: Value, sign: str = "") -> Iterator[str]:
    """The links in a cell. `sign` parts them in a dialect; '' if the cell has to tell."""
    if isinstance(value, str):
        listed = cell_list(value)
        if isinstance(listed, str):
            yield from (
                link for link in split_links(listed, sign) if link.lower() not in NO_PICTURE
            )
            return
        value = listed
    for part in value:
        yield from picture_links(part, sign)


def split_links(text: str, sign: str) -> list[str]:
    """The links of a text: parted by `sign`, or by what stands before the next address, or by , ;
    or | if each part is the name of a picture."""
    if sign and sign in text:
        parts = text.split(sign)
    elif re.search(r"[,;|\s]\"?(https?:)?//", text, re.IGNORECASE):
        # From the first of several signs: from each, a row of them would take too long.
        between = r"(?<![,;|\s])[,;|\s]+(?=\"?(?:https?:)?//)"
        parts = re.split(between, text, flags=re.IGNORECASE)
    else:
        parts = [text]
        for mark in (",", ";", "|"):
            names = [part.strip() for part in text.split(mark) if part.strip()]
            if len(names) > 1 and all(map(is_picture_name, names)):
                parts = names
    parts = [part.strip(f'{BLANKS},;|"') for part in parts]
    return [part for part in parts if part]


def is_picture_name(text: str) -> bool:
    """Whether a text ends as the name of a file does, perhaps with a query behind it."""
    name, _, query = text.partition("?")
    return re.search(r"\.\w{3,4}$", name) is not None and not re.search(r"\s", query)


# ---- categories ---------------------------------------------------------------------------------


def cell_categories(value: Value, parting: Parting) -> tuple[Path, ...]:
    """The categories of a cell, the most specific first, each as its levels. () if it has none."""
    paths: dict[Path, None] = {}
    for levels in cell_paths(value, parting):
        path = usable_levels(levels, parting)
        if path:
            paths.setdefault(path)
    return tuple(sorted(paths, key=len, reverse=True))


def cell_paths(value: Value, parting: Parting) -> Iterator[list[str]]:
    """The levels of each category of a cell, as they stand there."""
    if isinstance(value, str):
        listed = cell_list(value) if value[:1] in "[({ " else value
        if not isinstance(listed, str):
            yield from cell_paths(listed, parting)
            return
        for entry in text_entries(plain(listed), parting):
            yield split_levels(entry, parting)
        return
    texts = [part for part in value if isinstance(part, str)]
    if texts and parting.list_is_path and not any(map(has_levels(parting), map(plain, texts))):
        yield [plain(text) for text in texts]
    else:
        for text in texts:
            yield from cell_paths(text, parting)
    for part in value:
        if isinstance(part, tuple):
            if any(isinstance(item, tuple) for item in part):
                yield from cell_paths(part, parting)
            elif parting.given:
                levels = [
                    level.strip()
                    for item in part
                    if isinstance(item, str)
                    for level in split_levels(plain(item), parting)
                ]  # a column may begin with the level that the one before it ends with
                yield [level for level, _ in itertools.groupby(levels)]
            else:
                yield [plain(item) for item in part if isinstance(item, str)]


def has_levels(parting: Parting) -> Callable[[str], bool]:
    """A function that says whether a text has levels."""
    pattern = re.compile(parting.level_pattern)
    return lambda text: pattern.search(text.strip()) is not None


def split_levels(entry: str, parting: Parting) -> list[str]:
    entry = entry.strip()
    if parting.numbers and (path := parting.numbers.get(entry.removesuffix(".0"))):
        return re.split(GREATER, path)  # > parts its levels, whatever does so in the file
    if parting.standard:
        number = GOOGLE_NUMBER.match(entry)
        entry = entry[number.end() :] if number else entry
    levels = re.split(parting.level_pattern, f" {entry} ")
    sign = parting.level_sign.strip()
    return [level.replace(f"\\{sign}", sign) for level in levels] if "\\" in entry else levels


def is_number(text: str) -> bool:
    """Whether a category of a published tree is its number: 173, or 173.0 as Excel writes it."""
    return re.fullmatch(r"\d+(\.0)?", text) is not None


def usable_levels(levels: Iterable[str], parting: Parting) -> Path:
    """The levels of a category without a root that is no level, and without a last level that says
    that there is none. () if it says that there is no category, or if --ignore-category names it."""
    words = [word for word in (" ".join(level.split()) for level in levels) if word]
    while words and folded(words[0]) in parting.roots:
        del words[0]
    while words and folded(words[-1]) in NO_CATEGORY:
        del words[-1]
    if not words:
        return ()
    if len(words) == 1:
        key = folded(words[0])
        if key in parting.bare_roots:
            return ()
        if parting.standard and not parting.bare_numbers and is_number(key):
            return ()
    if parting.ignored:
        keys = [folded(word) for word in words]
        if " > ".join(keys) in parting.ignored or not parting.ignored.isdisjoint(keys):
            return ()
    return tuple(words)


def text_entries(text: str, parting: Parting) -> list[str]:
    """The categories that a text lists."""
    if parting.standard:
        return [text]
    if text[:1] == text[-1:] == '"' and len(text) > 2:
        with contextlib.suppress(csv.Error):
            return next(csv.reader([text.replace("\n", " ")], skipinitialspace=True), [text])
    if parting.entry_sign == ",":
        return [part.replace("\\,", ",") for part in re.split(r"(?<!\\),", text)]
    if parting.entry_sign:
        return text.split(parting.entry_sign)
    if ";" in parting.level_sign:
        return [text]
    entries = [entry for line in text.split("\n") for entry in line.split(";")]
    if parting.pipe_parts:
        entries = [part for entry in entries for part in entry.split("|")]
    if parting.level_sign == "," or not parting.tops:
        return entries
    return [part for entry in entries for part in comma_entries(entry, parting)]


def comma_entries(entry: str, parting: Parting) -> list[str]:
    """The categories of a text with commas. A comma may be part of a name: it parts categories if
    what follows begins as another category of the file does, or if a whole category stands before
    it, or if there are levels on both of its sides and no enumeration ("Handbags, Wallets & Cases")
    goes over it."""
    if "," not in entry or len(entry) > LONGEST_ENTRY:
        return [entry]
    levels = has_levels(parting)
    parts: list[str] = []
    for piece in re.split(r"(?<!\\),", entry):
        if not parts:
            parts.append(piece)
            continue
        top = split_levels(piece, parting)
        first = next((level.strip() for level in top if level.strip()), "")
        key, before = folded(first), folded(parts[-1])
        new = key in parting.tops or (
            levels(piece)
            and not CONJUNCTION.search(first)
            and (before in parting.paths or levels(parts[-1]))
        )
        if new:
            parts.append(piece)
        else:
            parts[-1] += "," + piece
    return [part.replace("\\,", ",") for part in parts]
