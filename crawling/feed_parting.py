"""How the cells of a column part levels and categories, as they do throughout.

In: the distinct cells of a column, and what is known without them. Out: the Parting by which
feed_cells.py reads each of them.
"""

from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from common.text import folded
from crawling.feed_cells import GREATER, Parting, cell_list, plain, split_levels
from crawling.feed_types import Value
from crawling.feed_words import NO_CATEGORY

# What parts levels: sign, regular expression, and the share of the categories that must hold it.
# A '/' or a '-' may also stand within a name, so most categories must have one. The blanks around a
# sign are no part of the expression: a cell of many would take the square of its length in time.
LEVELS = (
    (">", GREATER, 0.0),
    ("＞", r"(?<!\\)＞", 0.0),
    ("»", r"(?<!\\)»", 0.0),
    ("›", r"(?<!\\)›", 0.0),
    ("→", r"(?<!\\)→", 0.0),
    ("::", r"(?<!\\)::", 0.0),
    ("|", r"(?<!\\)\|", 0.5),
    (" / ", r"(?<=\s)/(?=\s)", 0.5),
    ("/", r"(?<!\\)/", 0.5),
    (" - ", r"(?<=\s)-(?=\s)", 0.5),
)
LOOKED_AT = 1_000  # texts that are compared with known paths
IN_NAMES = ("/", " - ")  # part levels only if some top has several categories below it


def column_parting(
    cells: Mapping[Value, int],
    given: Parting,
    separator: str | None,
    known: frozenset[str] = frozenset(),
) -> Parting:
    """How these cells part levels and categories, as they do throughout. `cells` are the distinct
    cells of a column with how often each stands there; `given` is what is known without them, and
    `separator` is what --separator says. `known` are the folded paths that the shop
    has already: what makes some of them parts levels, however few the cells are."""
    texts = [(text, number) for cell, number in cells.items() for text in flat_texts(cell)]
    if separator is not None:
        parting = given._replace(
            given=True, level_sign=separator, level_pattern=separator_pattern(separator)
        )
    elif given.level_sign:
        pattern = next(
            (regex for sign, regex, _ in LEVELS if sign == given.level_sign[:1]),
            "[,;]" if given.level_sign == ",;" else re.escape(given.level_sign),
        )
        parting = given._replace(level_pattern=pattern, given=True)
        if not given.standard and not any(re.search(pattern, text) for text, _ in texts):
            sign, pattern = level_separator(texts)  # the shop writes another one
            if any(re.search(pattern, text) for text, _ in texts):
                parting = given._replace(level_sign=sign, level_pattern=pattern)
    else:
        sign, pattern = known_separator(texts, known) or level_separator(texts)
        parting = given._replace(level_sign=sign, level_pattern=pattern)
    if len(parting.entry_sign) > 1:
        parting = parting._replace(entry_sign=entry_separator(texts, parting))
    parting = parting._replace(
        pipe_parts=parting.level_sign != "|"
        and not parting.entry_sign
        and pipes_part(texts, parting)
    )
    return parting._replace(**comma_evidence(texts, parting))


def separator_pattern(separator: str) -> str:
    """The regular expression of what --separator says. A blank on one side of it has to be there,
    and others around it do not matter."""
    sign = separator.strip()
    if not sign:
        return re.escape(separator)
    before = r"(?<=\s)" if separator[0].isspace() else ""
    after = r"(?=\s)" if separator[-1].isspace() else ""
    return before + re.escape(sign) + after


def flat_texts(cell: Value) -> Iterator[str]:
    """The texts of a cell, also those of a list in it, without entities."""
    if isinstance(cell, str):
        listed = cell_list(cell) if cell[:1] in "[({ " else cell
        if isinstance(listed, str):
            yield plain(listed).strip()
            return
        cell = listed
    for part in cell:
        yield from flat_texts(part)


def known_separator(
    texts: Iterable[tuple[str, int]], known: frozenset[str]
) -> tuple[str, str] | None:
    """(sign, regular expression) of what makes known paths of these texts; None if nothing does."""
    often: collections.Counter[tuple[str, str]] = collections.Counter()
    for text, _ in itertools.islice(texts, LOOKED_AT) if known else ():
        for sign, pattern, _ in LEVELS:
            if sign in text:
                levels = re.split(pattern, f" {text} ")
                key = " > ".join(folded(level) for level in levels if level.strip())
                often[sign, pattern] += key in known
    best = max(often, key=often.__getitem__, default=None)
    return best if best and often[best] else None


def level_separator(texts: Iterable[tuple[str, int]]) -> tuple[str, str]:
    """(sign, regular expression) of what parts levels in most of these (text, how often)."""
    often: collections.Counter[str] = collections.Counter()
    holding: collections.Counter[str] = collections.Counter()  # distinct texts
    tops: dict[str, set[str]] = {sign: set() for sign, _, _ in LEVELS}
    total = 0
    texts = [(text, number) for text, number in texts if folded(text) not in NO_CATEGORY]
    for text, number in texts:
        total += number
        for sign, pattern, _ in LEVELS:
            if sign in text:
                often[sign] += number
                holding[sign] += 1
                tops[sign].add(re.split(pattern, text, maxsplit=1)[0].strip())
    for text, number in texts:  # what others are below speaks for their sign
        often.update({sign: number for sign, names in tops.items() if text in names})
    best, regex = LEVELS[0][:2]
    most = often[best]
    for sign, pattern, share in LEVELS[1:]:
        if often[sign] <= most or often[sign] <= share * total:
            continue
        if sign == "|" and pipes_part(texts, Parting()):
            continue
        if sign in IN_NAMES and len(tops[sign]) >= holding[sign]:
            continue
        best, regex, most = sign, pattern, often[sign]
    return best, regex


def entry_separator(texts: Iterable[tuple[str, int]], parting: Parting) -> str:
    """Which of a dialect's signs parts categories: the one that a root follows most often."""
    often = dict.fromkeys(parting.entry_sign, 0)
    for text, _ in texts:
        for sign in often:
            often[sign] += sum(
                folded(split_levels(entry, parting)[0]) in parting.roots
                for entry in text.split(sign)[1:]
            )
    return max(often, key=often.__getitem__)


def lists_of_categories(cells: Iterable[Value]) -> bool:
    """Whether lists hold categories, and not levels: what is not the first of one begins others."""
    firsts: set[str] = set()
    later: collections.Counter[str] = collections.Counter()
    for cell in cells:
        listed = cell_list(cell) if isinstance(cell, str) and cell[:1] in "[({ " else cell
        parts = (listed,) if isinstance(listed, str) else listed
        names = [folded(plain(part)) for part in parts if isinstance(part, str) and part.strip()]
        firsts.update(names[:1])
        later.update(names[1:])
    return bool(later) and 2 * sum(name in firsts for name in later) >= len(later)


def pipes_part(texts: Iterable[tuple[str, int]], parting: Parting) -> bool:
    """Whether '|' parts categories: what stands after one also begins other cells."""
    firsts: set[str] = set()
    later: collections.Counter[str] = collections.Counter()
    for text, _ in texts:
        parts = [split_levels(part, parting) for part in text.split("|")]
        tops = [folded(" ".join("".join(part[:1] or "").split())) for part in parts]
        tops = [top for top in tops if top]
        firsts.update(tops[:1])
        later.update(tops[1:])
    return bool(later) and 2 * sum(top in firsts for top in later) >= len(later)


def comma_evidence(texts: Iterable[tuple[str, int]], parting: Parting) -> dict[str, Any]:
    """The first levels and the whole cells that show where a comma parts categories."""
    tops, paths = set(), set()
    for text, _ in texts:
        for entry in text.split(";"):
            before, comma, _ = entry.partition(",")
            levels = split_levels(before, parting)
            levels = [level.strip() for level in levels if level.strip()]
            if levels and (not comma or len(levels) > 1):
                tops.add(folded(levels[0]))
            if levels and not comma:
                paths.add(folded(before))
    return {"tops": frozenset(tops), "paths": frozenset(paths)}
