"""Pictures, decoded the same way by the crawl, the network and the pages.

In: bytes or a file. Out: Pillow images, upright and in RGB. Whatever the pictures are and however
many threads decode them, the process never needs more memory than a picture of MOST_PIXELS does.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import threading
import warnings
from collections.abc import Iterator
from typing import IO

import numpy as np
import PIL
from PIL import Image, ImageOps, TiffImagePlugin

# A shop's largest pictures come straight from a camera of 24 megapixels. Decoding takes up to 16
# bytes a pixel (a WebP), so the largest picture takes 400 MB.
MOST_PIXELS = 25_000_000
MOST_BYTES = 4 * MOST_PIXELS  # of a file: as many as its pixels take, not compressed
MOST_SIDE = 65_535  # pixels, as of a JPEG: each row costs memory, however short it is
# Bytes before the pixels: profiles of colours have up to 2 MB. A piece counts as PIECE bytes at
# least, because Pillow keeps an object of Python for each.
MOST_HEADER = 4_000_000
PIECE = 200
MOST_SCANS = 100  # of a JPEG: each goes over all pixels, and a progressive one has about 10
STRIP = 1_000_000  # pixels that are converted at once

# Pillow's names of the formats that are read, and the suffixes of their files: the same formats
# everywhere, so that nothing is fetched that can't be trained on or shown. A JPEG with more pictures
# behind the first is an MPO.
SUFFIXES = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "WEBP": ".webp",
    "AVIF": ".avif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "MPO": ".jpg",
}
FORMATS = [name for name in SUFFIXES if name != "MPO"]  # Pillow finds that inside JPEG
UNSURE = ("AVIF", "TIFF")  # what is inside may be larger than the header says
TILE_SIDES = (322, 323)  # the tags of a TIFF's TileWidth and TileLength

# The room for all pictures of the process that are decoded at a time: a permit for each megapixel.
MEGAPIXEL = 1_000_000
PERMITS = MOST_PIXELS // MEGAPIXEL
ROOM = threading.Semaphore(PERMITS)
TURN = threading.Lock()
# The bytes of a file, and what decoding adds for each of them, have no permits: large files wait
# for each other.
LARGE = 2_000_000  # bytes; most pictures of shops have fewer
ONE_LARGE = threading.Lock()


# A picture's memory in one piece goes back to the system at once. In pieces of 16 MB, which Pillow
# takes by itself, it would stay with the thread that decoded it.
Image.core.set_block_size(1 << 27)


class TooLarge(ValueError):
    """A picture that would take too much memory or time to decode."""


class Metered(io.BytesIO):
    """Bytes of a picture, of which Pillow may read only so many in so many pieces: a file of 20 MB
    may consist of a million parts."""

    left: float = MOST_HEADER

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        if size is not None and size >= 0:  # otherwise it is all, which is read once
            self.left -= max(len(piece), PIECE)
            if self.left < 0:
                raise TooLarge("it has too many parts, or too much before its pixels")
        return piece


@contextlib.contextmanager
def held(
    file: IO[bytes], most: int = MOST_BYTES, part: tuple[int, int] | None = None
) -> Iterator[bytes]:
    """All bytes of a file, or of its part (first byte, how many there are), in whose `with` they are to be decoded, stored and let go: no other large
    file is in memory during it. It must not stand inside `opened`, nor inside another. Raises
    TooLarge if they are more than `most`."""
    begin, size = part or (0, file.seek(0, os.SEEK_END))
    if size > most:
        raise TooLarge(f"more than {most} bytes")
    file.seek(begin)
    with ONE_LARGE if size > LARGE else contextlib.nullcontext():
        yield file.read(size)


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """A picture in one of FORMATS that is not decoded yet. Waits until there is room to decode it
    in this `with`, which must not stand inside another. Raises TooLarge, or what Pillow raises,
    which is anything: RuntimeError, struct.error ..."""
    file = Metered(data)
    try:
        picture = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooLarge("too many pixels") from None
    check_size(picture, data)
    # Only of a PNG parts are kept that stand behind the pixels.
    file.left += 2 * len(data) if picture.format == "PNG" else math.inf
    with room_for(picture):
        try:
            yield picture
        finally:  # its memory is free before the next one is decoded, whoever still holds it
            vars(picture).clear()


def check_size(picture: Image.Image, data: bytes) -> None:
    """Raise TooLarge if decoding a picture would take too much memory or time."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise TooLarge(f"{width}x{height} pixels are too many (at most {PERMITS} million)")
    if max(width, height) > MOST_SIDE:
        raise TooLarge(f"a side of {max(width, height)} pixels is too long")
    # A tile of a TIFF is decoded whole, even if the picture ends in it.
    tags = getattr(picture, "tag_v2", {})
    tile = [side for side in map(tags.get, TILE_SIDES) if isinstance(side, int)]
    if len(tile) == 2 and tile[0] * tile[1] > MOST_PIXELS:
        raise TooLarge(f"tiles of {tile[0]}x{tile[1]} pixels are too large")
    scans = data.count(b"\xff\xda") if picture.format in ("JPEG", "MPO") else 0
    if scans > MOST_SCANS:
        raise TooLarge(f"{scans} scans are too many")


@contextlib.contextmanager
def room_for(picture: Image.Image) -> Iterator[None]:
    """Wait until all pictures that are decoded at this time have at most MOST_PIXELS. One that may
    be larger inside than it says is decoded alone."""
    pixels = picture.width * picture.height
    permits = PERMITS if picture.format in UNSURE else min(PERMITS, pixels // MEGAPIXEL + 1)
    with TURN:  # whoever came first takes all its permits, or two could wait for each other
        for _ in range(permits):
            ROOM.acquire()
    try:
        yield
    finally:
        ROOM.release(permits)


def bound_directories() -> None:
    """Make Pillow read the tags of EXIF data only as far as MOST_HEADER. Before version 13, and so
    with Python 3.10, 5,000 tags in 60 kB may each be the same 60 kB."""
    read_all = TiffImagePlugin.ImageFileDirectory_v2.load

    def load(directory: TiffImagePlugin.ImageFileDirectory_v2, file: io.BytesIO) -> None:
        metered = Metered(file.getvalue())
        metered.seek(file.tell())
        read_all(directory, metered)
        file.seek(metered.tell())

    TiffImagePlugin.ImageFileDirectory_v2.load = load  # type: ignore[method-assign,assignment]


if int(PIL.__version__.partition(".")[0]) < 13:
    bound_directories()


def begins_like_a_picture(data: bytes) -> bool:
    """Whether the first bytes are those of one of FORMATS, or too few to say."""
    accepts = [Image.OPEN[name][1] for name in FORMATS if name in Image.OPEN]
    return len(data) < 16 or any(accept and accept(data[:16]) for accept in accepts)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Drop Pillow's warnings of files that are odd but readable. Threads that enter it each by
    itself may leave it out of order, so it belongs around them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def upright_rgb(picture: Image.Image, side: tuple[int, int]) -> Image.Image:
    """A picture as a person sees it: turned as its EXIF data says, of a moving one the first frame,
    in RGB. A JPEG is decoded at the smallest scale that still has `side` (width, height). The
    picture itself is turned, because a copy would take as much memory again."""
    picture.draft("RGB", side)
    ImageOps.exif_transpose(picture, in_place=True)
    return as_rgb(picture)


def as_rgb(picture: Image.Image) -> Image.Image:
    """A picture in RGB. It is converted strip by strip, so that what a conversion holds on its way
    is small."""
    rgb = Image.new("RGB", picture.size)
    rows = max(1, STRIP // picture.width)
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        rgb.paste(strip_as_rgb(strip), (0, top))
    return rgb


def strip_as_rgb(picture: Image.Image) -> Image.Image:
    """A part of a picture in RGB. Grey of 16 bits is scaled to 8, because Pillow would clip it. What
    is transparent becomes white, as on a shop's page, because Pillow would show what it hides."""
    if picture.mode.startswith("I"):
        deep = np.asarray(picture)
        grey = (deep >> 8).clip(0, 255).astype(np.uint8)
        grey[deep == picture.info.get("transparency", -1)] = 255
        picture = Image.fromarray(grey)
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")
