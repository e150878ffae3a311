"""Pictures, decoded the same way by the crawl, the network and the pages.

In: bytes or a file. Out: Pillow images, upright and in RGB.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

MOST_PIXELS = 50_000_000
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


class TooLarge(ValueError):
    """A picture with more pixels than are decoded."""


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """A picture in one of FORMATS that is not decoded yet. Raises TooLarge, or what Pillow raises,
    which is anything: RuntimeError, struct.error ..."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooLarge("too many pixels") from None
    with picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise TooLarge(f"{picture.width}x{picture.height} pixels are too many")
        yield picture


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Drop Pillow's warnings of files that are odd but readable. Threads that enter it each by
    itself may leave it out of order, so it belongs around them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def upright_rgb(picture: Image.Image, side: tuple[int, int]) -> Image.Image:
    """A picture as a person sees it: turned as its EXIF data says, of a moving one the first frame,
    in RGB. A JPEG is decoded at the smallest scale that still has `side` (width, height)."""
    picture.draft("RGB", side)
    return as_rgb(ImageOps.exif_transpose(picture))


def as_rgb(picture: Image.Image) -> Image.Image:
    """A picture in RGB. Grey of 16 bits is scaled to 8, because Pillow would clip it. What is
    transparent becomes white, as on a shop's page, because Pillow would show what it hides."""
    if picture.mode.startswith("I"):
        deep = np.asarray(picture)
        grey = (deep >> 8).clip(0, 255).astype(np.uint8)
        grey[deep == picture.info.get("transparency", -1)] = 255
        picture = Image.fromarray(grey)
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")
