"""Mends what is commonly wrong in XML, before a strict parser sees it.

In: XML in pieces, as text. Out: the same, but a stray & or < is written as XML wants it, HTML's
entities are their characters, and a control character is a blank.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from html.entities import html5

from common.terminal import counted
from crawling.feed_lines import BLANK, LONGEST_LINE, PIECE, Source

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
CONTROL_BYTES = bytes(code for code in range(32) if code not in b"\t\n\r")
SECTION = re.compile(r"(<!\[CDATA\[|\]\]>)")
# & with what may be an entity behind it, and < that begins no markup.
SUSPECT = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)(#?[0-9A-Za-z]{1,32};)?|<(?=[\s\d=<&])")
# The same in two parts, which are found much faster: most of a feed is right.
SUSPECT_AND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)")
SUSPECT_LESS = re.compile(r"<(?=[\s\d=<&])")
LONGEST_ENTITY = 64  # characters that are not parted at the end of a piece


class Mender:
    """Mends the pieces of a text, one after the other, and counts what it mends."""

    def __init__(self) -> None:
        self.count = 0
        self.first_line = 0  # in which something was mended
        self.line = 1  # of the next piece
        self.in_section = False  # within CDATA, in which & is &

    def pieces(self, source: Source) -> Iterator[str]:
        """The text of a file in pieces, mended. Each ends with a > if it can, so that nothing that
        needs mending is in two."""
        rest, begun = "", False
        while piece := source.read(PIECE, self.line + rest.count("\n")):
            if not begun:
                bare = piece.lstrip(BLANK)  # blanks are forbidden before the XML declaration
                self.line += piece.count("\n", 0, len(piece) - len(bare))
                piece, begun = bare, bare != ""
            text = rest + piece
            end = text.rfind(">") + 1
            if len(text) - end > LONGEST_LINE // 8:
                end = max(text.rfind("&", -LONGEST_ENTITY), text.rfind("<", -LONGEST_ENTITY))
                end = end if end > 0 else len(text)
            rest = text[end:]
            yield self.mend(text[:end])
        yield self.mend(rest)

    def mend(self, text: str) -> str:
        """The next piece, mended."""
        line = self.line
        mended = CONTROL.sub(self.blank, text) if has_controls(text) else text
        if self.in_section or "]]>" in mended or "<![CDATA[" in mended:
            mended = "".join(self.parts(mended))
        else:
            mended = self.mend_markup(mended)
        self.line = line + text.count("\n")
        return mended

    def mend_markup(self, text: str) -> str:
        """Text that is in no CDATA section, mended."""
        if SUSPECT_AND.search(text) or SUSPECT_LESS.search(text):
            return SUSPECT.sub(self.replaced, text)
        return text

    def parts(self, text: str) -> Iterator[str]:
        """The parts of a piece in which a CDATA section begins or ends."""
        for part in SECTION.split(text):
            if part == "]]>" and not self.in_section:
                self.note(part, 0)
                yield "]]&gt;"
            elif part in ("<![CDATA[", "]]>"):
                self.in_section = part != "]]>"
                yield part
            elif self.in_section:
                yield part
            else:
                yield self.mend_markup(part)
            self.line += part.count("\n")

    def blank(self, found: re.Match[str]) -> str:
        self.note(found.string, found.start())
        return " "

    def replaced(self, found: re.Match[str]) -> str:
        """What a suspect sign becomes."""
        sign, entity = found.group(), found.group(1)
        if entity and entity.startswith("#") and (character := character_of(entity)):
            return sign if is_xml(character) else self.blank(found)
        self.note(found.string, found.start())
        if sign == "<":
            return "&lt;"
        if entity and not entity.startswith("#") and entity in html5:
            return html.escape(html5[entity])
        return "&amp;" + (entity or "")

    def note(self, text: str, place: int) -> None:
        self.count += 1
        self.first_line = self.first_line or self.line + text.count("\n", 0, place)

    def remark(self) -> str:
        """What was mended, for a person; '' if nothing was."""
        if not self.count:
            return ""
        return (
            f"{counted(self.count, 'character')} that XML does not allow "
            f"{'was' if self.count == 1 else 'were'} mended, the first in line {self.first_line}"
        )


def has_controls(text: str) -> bool:
    """Whether a text has characters that XML does not allow."""
    raw = text.encode()
    if len(raw.translate(None, CONTROL_BYTES)) < len(raw):
        return True
    return not text.isascii() and ("\ufffe" in text or "\uffff" in text)


def character_of(entity: str) -> str:
    """The character of #38; or #x26; as it stands between & and ;. '\\0' if there is none of that
    number, '' if it is no number."""
    digits = entity[1:-1]
    try:
        number = int(digits[1:], 16) if digits[:1] == "x" else int(digits, 10)
    except ValueError:
        return ""
    return chr(number) if 0 < number < 0x110000 else "\0"


def is_xml(character: str) -> bool:
    """Whether XML allows a character."""
    return not CONTROL.match(character) and not "\ud800" <= character <= "\udfff"
