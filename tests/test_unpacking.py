"""Packed answers: unpacked to their end in whatever pieces they come, and refused if they are cut."""

import gzip
import random
import zlib

import pytest

from crawling.unpacking import PIECE, Cut, content_of

TEXT = random.Random(1).randbytes(90_000) + bytes(3 * PIECE)  # packed badly, and very well
BARE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
PACKED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT[:70_000]) + gzip.compress(TEXT[70_000:]),
    "deflate": zlib.compress(TEXT),
    "Deflate": BARE.compress(TEXT) + BARE.flush(),
    "gzip, deflate": zlib.compress(gzip.compress(TEXT)),
    "gzip, utf-8": gzip.compress(TEXT),
}


def unpacked(data, words, step):
    pieces = (data[start : start + step] for start in range(0, len(data), step))
    return b"".join(content_of(pieces, words))


@pytest.mark.parametrize("step", (1, 999, PIECE, 10**6))
@pytest.mark.parametrize("words", PACKED)
def test_what_is_packed_is_unpacked_to_its_end(words, step):
    assert unpacked(PACKED[words], words, step) == TEXT
    assert unpacked(PACKED[words] + b"rest", words, step) == TEXT


@pytest.mark.parametrize("words", PACKED)
def test_what_is_cut_is_refused(words):
    data = PACKED[words]
    last = len(data) - 1
    for cut in {1, 2, 9, len(data) // 3, last - 8, last - 1, last}:
        with pytest.raises(Cut):
            unpacked(data[:cut], words, PIECE)


@pytest.mark.parametrize("words", ("gzip", "deflate"))
def test_what_is_no_packed_data_is_refused(words):
    for data in (b"id,title\n1,Shoe\n", b"\x1f\x8b no", b"\x78\x9c no", b"<html>"):
        with pytest.raises(Cut):
            unpacked(data, words, PIECE)


@pytest.mark.parametrize("words", ("", "utf-8", "identity"))
def test_what_is_not_packed_stays(words):
    assert unpacked(TEXT, words, 999) == TEXT
    assert unpacked(b"", "gzip", 999) == b""


def test_what_is_packed_in_layers_without_end_is_refused():
    with pytest.raises(ValueError, match="packed more than 5 times"):
        unpacked(TEXT, ", ".join(["gzip"] * 1000), 999)
