"""Text of a catalogue -> its lines, in pieces: at most a few lines are in memory at a time.

In: text that feed_bytes.as_text opened. Out: blocks of lines, and the limits that every format
keeps to, so that no file can take much memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TextIO

from crawling.feed_bytes import check_text

HEAD = 1_000_000  # characters that are looked at to tell a format
PIECE = 32_768  # characters that are read at a time
LONGEST_LINE = 4_000_000  # characters; a longer line, record, object or item is broken, no product
COST = 100  # what a line or an element counts for, besides its characters
BLANK = "\ufeff \t\r\n"  # what may stand before the first row

Line = tuple[int, str]  # its number and its text


def line_end(head: str) -> str:
    """What ends the lines of a text that begins like this: \\n, or \\r as on the old Mac."""
    return "\r" if "\r" in head.lstrip(BLANK).split("\n")[0].rstrip("\r") else "\n"


class Source(NamedTuple):
    """The text of a file, and what messages need."""

    text: TextIO
    name: str
    encoding: str
    head: str  # its first HEAD characters
    end: str = "\n"  # of a line: \r on the old Mac

    def read(self, size: int, line: int) -> str:
        """The next characters, of which the first is in this line; '' at the end. Raises UserError
        if they are not in the file's encoding."""
        piece = self.text.read(size)
        check_text(piece, self.name, line, self.encoding)
        return piece

    def read_line(self, number: int) -> str:
        """The next line, which has this number, with its end; '' at the file's end. Of a line
        longer than LONGEST_LINE, only so many characters are kept."""
        line = self.text.readline(LONGEST_LINE)
        if len(line) == LONGEST_LINE:
            rest = line
            while len(rest) == LONGEST_LINE and not rest.endswith(self.end):
                rest = self.text.readline(LONGEST_LINE)
        if not line.isascii():
            check_text(line, self.name, number, self.encoding)
        # SQLite can't hold \0, nor can Python 3.10's csv.
        return line.replace("\0", " ") if "\0" in line else line


def numbered_lines(source: Source, skip: int = 0) -> Iterator[Line]:
    """Yield (number, line with its end) of all lines after the first `skip`. Of a line longer than
    LONGEST_LINE, only so many characters are kept."""
    number = 0
    while line := source.read_line(number + 1):
        number += 1
        if number > skip:
            yield number, line
