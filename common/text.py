"""Texts as they are compared, stored and printed.

In and out: strings. Names and ids are a shop's, so none may steer a terminal or a spreadsheet.
"""

from __future__ import annotations

import hashlib
import html
import itertools
import json
import re
import unicodedata
from collections.abc import Container, Iterable, Sequence
from typing import Literal

# Of each ASCII character what is left of it: letters, digits and '_', in lower case.
ASCII_WORDS = "".join(re.sub(r"\W", " ", chr(code)).lower() for code in range(128)).encode() * 2
LONG_NUMBER = re.compile(r"&#[0-9]{1000,};?")
# Characters without a picture: controls (C0, DEL, C1), ends of lines, marks that turn the direction
# of writing up to the end of the line (U+202A to U+202E, U+2066 to U+2069), and what only hides.
# U+200C and U+200D stay, which Persian, Hindi and many emoji are written with, and so do U+200E,
# U+200F and U+061C, which Arabic and Hebrew need: they act on their neighbours alone, as letters do.
UNSEEN = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2028-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff"
)  # pages have their script take out the same
UNSEEN_LETTER = re.compile(f"[{UNSEEN}]")
NOT_IN_JSON = re.compile(f"[{UNSEEN}\\ud800-\\udfff]")
# Where a spreadsheet may see the beginning of a formula, also in full width, behind blanks and
# quotes. Those of many countries part cells by ';', even if it stands in a cell in quotes.
FORMULA = r"""(^|;)(?=[\s'"]*[=+\-@＝＋－＠])"""
FORMULA_BEGINS = re.compile(FORMULA)
MADE_SAFE = re.compile(FORMULA.replace(")(", ")'(", 1))
PARTS_CELLS = re.compile(r'[",;]')
# What makes a line of cells without commas and quotes another line: a formula may begin in it.
UNSAFE_IN_LINE = re.compile(r"""[";]|(?:^|,)[\s']*[=+\-@＝＋－＠]""")
# What stands above or below a letter, and the few that come apart into such marks. unicodedata puts
# marks in a row into order by insertion, which takes the square of their number. Unicode's own
# bound for a stream is 30, and no language writes more than a few.
MOST_MARKS = 30
MARKS = frozenset(filter(unicodedata.combining, map(chr, range(0x300, 0x20000)))).union(
    "\u0f73\u0f75\u0f81\uff9e\uff9f"
)
ANY_MARK = f"[{''.join(sorted(MARKS))}]"
TOO_MANY_MARKS = re.compile(f"({ANY_MARK}{{{MOST_MARKS}}}){ANY_MARK}+")
# The same roughly, in a twentieth of the time: letters beyond U+FFFF make a pattern slow.
PERHAPS_TOO_MANY = re.compile(
    f"[{''.join(sorted(mark for mark in MARKS if ord(mark) < 0x10000))}\U00010000-\U0001ffff]{{{MOST_MARKS + 1}}}"
)
# What a shop's tree of categories may hold. An id of a feed holds the ids above it, and a path of
# crawl.db joins all of these, so that a path grows with the cube of what a row says. No published
# tree comes near: their longest names have 100 characters, and their longest paths 2,000.
DEEPEST_PATH = 50  # levels of a category
LONGEST_LEVEL = 500  # characters of a category's name, or of the id that an API gives it
LONGEST_PATH = 10_000  # characters of a path
MOST_CATEGORIES = 100_000  # of a shop: each takes memory, and no shop has so many
MOST_PATHS = 200_000_000  # characters of all paths: a load takes a gigabyte of memory then


def normalised(name: str | None, description: str | None) -> str:
    """A product's text without case, markup, punctuation and spacing."""
    text = unescaped(f"{name or ''}\n{description or ''}")
    if text.isascii():  # a third of the time, for a million products 10 s
        if "<" in text:
            text = re.sub(r"<[^<>]*>", " ", text)
        # Of bytes, which have a table, not a dictionary: a fifth faster.
        return b" ".join(text.encode().translate(ASCII_WORDS).split()).decode()
    text = composed("NFKC", text)
    return re.sub(r"\W+", " ", re.sub(r"<[^<>]*>", " ", text)).casefold().strip()


def composed(form: Literal["NFC", "NFKC"], text: str) -> str:
    """The text in a normal form of Unicode, without the marks behind the first 30 in a row."""
    # Of too many in a row one is among each thirtieth letter, which takes no time to see.
    if not MARKS.isdisjoint(text[::MOST_MARKS]) and PERHAPS_TOO_MANY.search(text):
        text = TOO_MANY_MARKS.sub(r"\1", text)
    return unicodedata.normalize(form, text)


def unescaped(text: str) -> str:
    """The text without HTML's entities. html.unescape alone ends with an error at a character whose
    number has thousands of digits."""
    return html.unescape(LONG_NUMBER.sub("\ufffd", text) if "&#" in text else text)


def text_key(text: str) -> str:
    """32 hex digits by which texts are told apart."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def folded(text: str) -> str:
    """A category's name as it is compared: letter case, blanks and forms of accents do not matter."""
    return " ".join(composed("NFKC", text).casefold().split())


def tidy(words: str) -> str:
    """A category's name as it is shown: blanks in a row as one, an accent and its letter as one."""
    return composed("NFC", " ".join(words.split()))


def slug(words: str) -> str:
    """Lower-case letters, marks and digits of any language, joined by '-'; a hash if none is left.
    It holds no '.', which parts levels, and no ',', which parts ids in --categories."""
    kept = (
        letter if unicodedata.category(letter)[0] in "LMN" else " "
        for letter in composed("NFKC", words).lower()
    )
    return "-".join("".join(kept).split()) or short_hash(words)


def short_hash(text: str) -> str:
    """The first eight hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def category_id(parent: str | None, path: Sequence[str], taken: Container[str]) -> str:
    """The id of a new category: that of its parent and its own slug, joined by '.', and a hash
    behind it if that is taken. path are the tidy words from the top to it."""
    category = (f"{parent}." if parent else "") + slug(path[-1])
    return f"{category}-{short_hash(' > '.join(path))}" if category in taken else category


def is_short(path: Sequence[str]) -> bool:
    """Whether a path in words is short enough for a new category. It is counted as it will be stored:
    the first level stands in the ids of all levels below it."""
    lengths = [len(word) + 1 for word in path]
    return max(lengths) <= LONGEST_LEVEL + 1 and sum(itertools.accumulate(lengths)) <= LONGEST_PATH


def storable(text: str) -> str:
    """The text without halves of surrogate pairs, which arguments may hold and SQLite can't."""
    return text.encode("utf-8", "replace").decode("utf-8")


def clean_text(text: str) -> str:
    """Text that SQLite, JSON and a terminal can hold: no NUL, no half of a surrogate pair."""
    return storable(text.replace("\0", " ")).strip()


def printable(text: str) -> str:
    """Text for a line: a blank for each character that would steer a terminal, end the line, turn
    the direction of what follows, or hide."""
    return text if text.isprintable() else UNSEEN_LETTER.sub(" ", text)


def one_line(text: str) -> str:
    """Printable, and blanks in a row as one."""
    return " ".join(printable(text).split())


def json_text(value: object, indent: int | None = None) -> str:
    """JSON with the letters of all languages as they are, and with JSON's own escapes for all that
    `printable` takes out, so that it is exact."""
    lines = json.dumps(value, ensure_ascii=False, indent=indent).split("\n")
    return "\n".join(
        line if line.isprintable() else NOT_IN_JSON.sub(json_escape, line) for line in lines
    )


def json_escape(letter: re.Match[str]) -> str:
    return json.dumps(letter[0])[1:-1]


# ---- CSV that a person opens --------------------------------------------------------------------


def csv_line(cells: Iterable[object]) -> str:
    """A line of a CSV file that a person opens, without its end: safe cells, those in quotes that
    hold a sign by which a spreadsheet may part them."""
    texts = ["" if cell is None else str(cell) for cell in cells]
    line = ",".join(texts)
    if line.count(",") == len(texts) - 1 and line.isprintable() and not UNSAFE_IN_LINE.search(line):
        return line  # nearly all lines, in a third of the time
    return ",".join(
        '"' + cell.replace('"', '""') + '"' if PARTS_CELLS.search(cell) else cell
        for cell in map(safe_cell, texts)
    )


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet computes, by whichever sign it parts cells: printable, and with an
    apostrophe before what it might take for a formula."""
    text = printable("" if value is None else str(value))
    if text[:1].isalnum() and ";" not in text:
        return text  # nearly all cells, in a third of the time
    return FORMULA_BEGINS.sub(r"\1'", text)


def without_apostrophes(cell: str) -> str:
    """The printable text that `safe_cell` has made the cell of."""
    return MADE_SAFE.sub(r"\1", cell)
