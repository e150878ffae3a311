"""The bytes of a catalogue file -> text. In: a file, one in a zip or one that gzip packed. Out: its
bytes, unpacked on the way, and its text, once the encoding is known.

The encoding is told by a mark at the beginning, by the zeros of UTF-16, by --encoding, or by what
XML and HTML say of themselves; otherwise it is UTF-8. Bytes that are no UTF-8 are refused, with the
encoding that they probably have: guessing would damage names in silence.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import os
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from typing import IO, Any, cast

import charset_normalizer

from common.terminal import UserError
from crawling.feed_types import FeedFile

MOST_PACKING = 400  # how many times smaller than its content a large packed file may be
LARGE = 100_000_000  # bytes
READ_AHEAD = 262_144  # bytes
# Of the list of its files in a zip: 60,000 pictures with long names and dates take 6 MB. Of the
# shortest names it holds 260,000, which take 270 MB of memory.
LONGEST_LIST = 12_000_000  # bytes
SAMPLE = 4096  # bytes that are looked at for the zeros of UTF-16
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
EAST_ASIAN = ("cp932", "gb18030", "big5", "cp949")
# What programs write that know no Unicode, the commonest first: of those that fit equally well the
# first is named.
LIKELY_ENCODINGS = (
    *("cp1252", "cp1250", "cp1251", "cp1254", "cp1253", "cp1255", "cp1256", "cp1257", "cp1258"),
    *("cp874", "koi8_r", "cp437", "cp850", "mac_roman", *EAST_ASIAN),
)
META_CHARSET = re.compile(rb"<meta[^<>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.I)
NEITHER_FOLDER_NOR_HIDDEN = re.compile(r"(?!.*(^|/)(__MACOSX/|\.[^/]*$|$))", re.S)


# ---- unpacking ----------------------------------------------------------------------------------


@contextlib.contextmanager
def open_bytes(feed: FeedFile) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if gzip or zip packed it. Raises UserError if a zip holds no
    file of that name, or several without one, or can't be unpacked."""
    with open(feed.path, "rb") as file:
        if is_archive(file):
            with open_zip(file) as archive:
                with archive.open(only_member(archive, feed)) as unpacked:
                    with gunzipped(limited(unpacked, feed), feed) as f:
                        yield f
        else:
            with gunzipped(file, feed) as f:
                yield f


@contextlib.contextmanager
def gunzipped(file: IO[bytes], feed: FeedFile) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if gzip packed it."""
    magic = file.read(2)
    file.seek(0)
    if magic == b"\x1f\x8b":
        with gzip.open(file) as unpacked:
            yield limited(cast(IO[bytes], unpacked), feed)
    else:
        yield file


def limited(file: IO[bytes], feed: FeedFile) -> IO[bytes]:
    """What is unpacked from a feed's file. Reading it raises UserError if it is much more than a
    catalogue packs: a small file may be made to unpack for hours."""
    return io.BufferedReader(Limited(file, feed), READ_AHEAD)


def most_unpacked(feed: FeedFile) -> int:
    """How many bytes a feed's file may unpack to."""
    return max(LARGE, MOST_PACKING * os.path.getsize(feed.path))


def packs_too_much(feed: FeedFile) -> UserError:
    return UserError(
        f"{feed.name} unpacks to more than {MOST_PACKING} times its size, which no catalogue does: "
        "unpack it yourself, and load that"
    )


class Limited(io.RawIOBase):
    """A file of which at most so many bytes can be read."""

    name = None  # it is none on the disk

    def __init__(self, file: IO[bytes], feed: FeedFile) -> None:
        self.file, self.feed, self.most = file, feed, most_unpacked(feed)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        if self.file.tell() > self.most:
            raise packs_too_much(self.feed)
        return len(data)


class ShortReads:
    """A file of which at most LONGEST_LIST bytes can be read at a time. zipfile reads the list of a
    zip's files at a time, whatever the zip says of its length, and keeps 900 bytes of each file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > LONGEST_LIST:
            raise UserError(
                f"{self.file.name or 'a file in a zip'} is a zip of too many files: unpack it, and "
                "load the folder"
            )
        return self.file.read(size)


def open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    """A file as a zip. Raises UserError if it holds too many files."""
    return zipfile.ZipFile(cast(IO[bytes], ShortReads(file)))


def is_archive(file: IO[bytes]) -> bool:
    """Whether a file is a zip of files, and no document of an office program."""
    magic = file.read(4)
    file.seek(0)
    if magic not in (b"PK\3\4", b"PK\5\6"):
        return False
    try:
        with open_zip(file) as archive:
            names = set(archive.namelist())
    finally:
        file.seek(0)
    return not names & {"[Content_Types].xml", "mimetype"}


def members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files in a zip, sorted by name, without folders and hidden files."""
    return sorted(
        (info for info in archive.infolist() if NEITHER_FOLDER_NOR_HIDDEN.match(info.filename)),
        key=lambda info: info.filename,
    )


def only_member(archive: zipfile.ZipFile, feed: FeedFile) -> zipfile.ZipInfo:
    """The member of a zip that is meant, or its only one."""
    inside = members(archive)
    if sum(info.file_size for info in inside) > most_unpacked(
        feed
    ):  # zipfile reads no more of each
        raise packs_too_much(feed)
    wanted = [info for info in inside if feed.member in (None, info.filename)]
    if len(wanted) != 1:
        found = ", ".join(repr(info.filename[:60]) for info in wanted[:10])
        raise UserError(
            f"{feed.name} holds {len(wanted)} files: unpack it and load the one with the "
            f"products; found: {found or 'nothing'}"
        )
    if wanted[0].flag_bits & 1 or wanted[0].compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        raise UserError(
            f"{feed.name} has a password or an unusual packing: unpack it, and load what is in it"
        )
    return wanted[0]


# ---- encodings ----------------------------------------------------------------------------------


def as_text(file: IO[bytes], name: str, encoding: str | None) -> tuple[io.TextIOWrapper, str]:
    """(text of a file from its beginning, the name of its encoding). `encoding` is what the user
    says it is; a mark knows better. Bytes that don't fit it become halves of surrogate pairs, which
    check_text finds. Raises UserError if Python knows no such encoding."""
    check_encoding(encoding)
    start = file.read(SAMPLE)
    file.seek(0)
    bare = start.lstrip(b" \t\r\n")
    marked = next((name for mark, name in MARKS if bare.startswith(mark)), None)
    known = marked or encoding or zeros_of_utf16(start) or declared_encoding(start, name) or "utf-8"
    utf16 = known.startswith(("utf-16", "utf-32"))
    # Only \n ends a line: a description may hold \x0b, \x85 or U+2028.
    text = io.TextIOWrapper(
        cast(IO[bytes], file),
        encoding=known,
        newline="\n",
        errors="surrogatepass" if utf16 else "surrogateescape",
    )
    return text, "UTF-8" if known == "utf-8" else codecs.lookup(known).name.upper()


def check_encoding(encoding: str | None) -> None:
    """Raise UserError if the user names an encoding that Python can't decode text by."""
    try:
        if encoding is not None:
            b"".decode(encoding)
            io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    except (LookupError, ValueError, TypeError, UnicodeError):
        raise UserError(
            f"--encoding {encoding!r} is none that is known: name one such as utf-8, cp1252, "
            "cp1251, utf-16 or shift_jis"
        ) from None


def zeros_of_utf16(start: bytes) -> str | None:
    """Which UTF-16 a text without a mark is in: every second byte of its ASCII is zero."""
    even, odd = start[::2].count(0), start[1::2].count(0)
    enough = len(start) / 40
    if odd > enough and even * 10 < odd:
        return "utf-16-le"
    if even > enough and odd * 10 < even:
        return "utf-16-be"
    return None


def declared_encoding(start: bytes, file_name: str) -> str | None:
    """What XML or HTML says its encoding is. None if it says nothing."""
    bare = start.lstrip(b" \t\r\n")
    if bare.startswith(b"<?xml"):
        found = re.match(rb"<\?xml[^>]{0,200}?\sencoding\s*=\s*[\"']([\w.:-]{1,40})", bare)
    elif re.match(rb"<(!doctype\s+html|html|head|!--)", bare, re.I):
        found = META_CHARSET.search(bare)
    else:
        return None
    if not found:
        return None
    name = found.group(1).decode()
    try:
        known = codecs.lookup(name)
        b"".decode(name)
    except (LookupError, ValueError, UnicodeError):
        raise UserError(
            f"{file_name} says that its encoding is {name!r}, which is none that is known: say "
            "what it is, such as --encoding utf-8"
        ) from None
    # This line could be read as ASCII. So it is no UTF-16, whatever it says.
    return None if known.name.startswith(("utf-16", "utf-32", "utf-7")) else known.name


def check_text(text: str, name: str, line: int, encoding: str) -> None:
    """Raise UserError if text that begins in this line was read from bytes that don't fit its
    encoding."""
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:  # there is half of a surrogate pair
        raise wrong_bytes(text, error.start, name, line, encoding) from None


def wrong_bytes(text: str, place: int, name: str, line: int, encoding: str) -> UserError:
    """What to say of bytes at a place of a text that begins in this line."""
    line += text.count("\n", 0, place)
    if encoding.startswith("UTF-16"):
        return UserError(f"{name}, line {line} is not whole {encoding}: save it again, as UTF-8")
    # Whole lines, because a letter of two bytes that is cut fits no encoding.
    first = text.rfind("\n", 0, max(0, place - 2000)) + 1
    last = text.rfind("\n", place, place + 4000)
    around = text[max(first, place - 4000) : last if last > 0 else place + 4000]
    likely, reads = "utf-8", ""
    if encoding == "UTF-8":
        likely = likely_encoding(around.encode("utf-8", "surrogateescape"))
        reads = readings(text, place, likely)
    return UserError(
        f"{name}, line {line} is not {encoding}: it looks like {likely}, so say "
        f"--encoding {likely}{reads}, or save the file as UTF-8"
    )


def readings(text: str, place: int, likely: str) -> str:
    """How the word at a place of a text reads in the likely encoding, and in others in which it is
    one too: only who knows the language can tell."""
    word = re.search(r"[^\s;,|\"<>]{0,30}$", text[max(0, place - 30) : place]).group()  # type: ignore[union-attr]
    word += re.match(r"[^\s;,|\"<>]{1,30}", text[place : place + 30] + " ").group()  # type: ignore[union-attr]
    raw = word.encode("utf-8", "surrogateescape")
    read: dict[str, str] = {}
    for encoding in dict.fromkeys((likely, *LIKELY_ENCODINGS)):
        with contextlib.suppress(UnicodeDecodeError):
            decoded = raw.decode(encoding)
            if encoding == likely or is_word(decoded):
                read.setdefault(decoded, encoding)
    if likely not in read.values():  # the word is cut within a letter
        return ""
    first, *others = read.items()
    more = "".join(f", {encoding} if it is {word!r}" for word, encoding in others[:2])
    return f" if {first[0]!r} is right{more}" if more else ""


def is_word(text: str) -> bool:
    """Whether letters that are not ASCII may stand in this word: Latin ones beside Latin ones."""
    letters = [letter for letter in text if not letter.isascii()]
    latin = any(letter.isascii() and letter.isalpha() for letter in text)
    return all(
        letter.isalpha() and (not latin or "LATIN" in unicodedata.name(letter, ""))
        for letter in letters
    )


def likely_encoding(raw: bytes) -> str:
    """The encoding that bytes which are no UTF-8 probably have."""
    lines = [line for line in raw.split(b"\n") if not is_utf8(line)]
    matches = charset_normalizer.from_bytes(
        b"\n".join(lines), cp_isolation=list(LIKELY_ENCODINGS), enable_fallback=False
    )
    best = matches.best()
    if best is None:
        return "cp1252"
    if best.encoding in EAST_ASIAN:
        return best.encoding
    equal = {
        name
        for match in matches
        if (match.chaos, match.coherence) == (best.chaos, best.coherence)
        for name in (match.encoding, *match.could_be_from_charset)
    }
    return next((name for name in LIKELY_ENCODINGS if name in equal), "cp1252")


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
