"""What a packed answer of a server says: gzip and deflate, unpacked piece by piece.

In: the bytes of an answer, as they come. Out: what they unpack to, or Cut if they do not come to
their end. The libraries below do not ask for that end, so that half a catalogue would look whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import urllib3

PACKINGS = {"gzip", "x-gzip", "deflate"}
MOST_PACKINGS = 5  # of one answer, one in the other; honest servers pack it once
PIECE = 65536  # bytes unpacked at once: a bomb takes no more memory than that
GZIP, ZLIB, BARE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class Cut(urllib3.exceptions.DecodeError):
    """The packed bytes end before their end, or are damaged."""


def content_of(pieces: Iterable[bytes], content_encoding: str) -> Iterator[bytes]:
    """The content of an answer's bytes, in pieces, some of which are empty. Raises Cut, and
    ValueError if it is packed too often. Words that name no packing are mistakes of servers, because
    only PACKINGS are asked for: what they are said of is taken as it is."""
    names = [name.strip() for name in content_encoding.lower().split(",")]
    packings = [name for name in names if name in PACKINGS]
    if len(packings) > MOST_PACKINGS:
        raise ValueError(f"packed more than {MOST_PACKINGS} times")
    for packing in reversed(packings):
        pieces = unpacked(pieces, packing)
    return iter(pieces)


def unpacked(pieces: Iterable[bytes], packing: str) -> Iterator[bytes]:
    """The content of packed pieces, in pieces of at most PIECE bytes. No byte at all is no content,
    because servers call an empty answer packed, too. Raises Cut."""
    unpacker, start, has_more = None, b"", False
    for piece in pieces:
        if unpacker is None:
            start += piece
            if len(start) < 2:  # the format is known from two bytes on
                continue
            piece, unpacker = start, zlib.decompressobj(format_of(start, packing))
        while piece or has_more:
            if unpacker.eof:
                if packing == "deflate" or not piece.startswith(b"\x1f"):
                    break  # what follows the end is left out, as other programs do it
                unpacker = zlib.decompressobj(GZIP)  # a file of several parts
            try:
                content = unpacker.decompress(piece, PIECE)
            except zlib.error:
                raise Cut from None
            yield content
            has_more = len(content) == PIECE and not unpacker.eof
            piece = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    if start and (unpacker is None or not unpacker.eof):
        raise Cut


def format_of(start: bytes, packing: str) -> int:
    """The format, as zlib calls it, of what begins with these bytes: some servers send deflate
    without its header."""
    if packing != "deflate":
        return GZIP
    has_header = start[0] & 15 == zlib.DEFLATED and int.from_bytes(start[:2], "big") % 31 == 0
    return ZLIB if has_header else BARE
