"""Pictures -> Inception v3 bottlenecks, brought into the cache on disk.

A bottleneck is what the network knows of a picture just before it names it: the outputs of one
layer, averaged over the picture. In: picture files with the SHA-256 of their bytes. Out: rows of
bottleneck_cache. retrain.py and the two classifiers that look at pictures use it:

    python categorize_images.py --weights imagenet
    python categorize_images.py --precision int8 --cache-dtype float16
"""

from __future__ import annotations

import collections
import concurrent.futures
import hashlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.foreign_files import open_regular
from common.pictures import held, opened, quietly, upright_rgb
from common.terminal import grouped, log, progress
from learning import inception
from learning.bottleneck_cache import LOOKED_UP, Cache, digests, in_batches

MISSING = "the file is missing"
OTHER_FILE = "it is not the file that was crawled: crawl.py --verify names such files"


# ---- pictures ---------------------------------------------------------------------------------


class Distortions(NamedTuple):
    """What may happen to a training picture, under the names of 2016; percentages but for flip."""

    flip_left_right: bool = False
    random_crop: int = 0  # margin around what is cut out
    random_scale: int = 0  # enlarged by up to so much more
    random_brightness: int = 0  # pixels multiplied by 1 - so much to 1 + so much


def read_picture(
    path: str | os.PathLike,
    distortions: Distortions | None = None,
    rng: np.random.Generator | None = None,
    sha256: str | None = None,
) -> np.ndarray:
    """A picture file as the network wants it: uint8 [299, 299, 3] in RGB, of a moving picture the
    first frame, upright. With Distortions, as chance (a numpy Generator) has it.

    Raises ValueError, with the reason, for a file that is missing or can't be decoded, or whose
    bytes have another SHA-256 (in hex) than the one that is given.
    """
    try:
        with open_regular(path, sys.maxsize, follow=True) as file:  # a pipe would never end
            return decode_picture(file, distortions, rng, sha256)
    except FileNotFoundError:
        raise ValueError(MISSING) from None
    except OSError as error:
        raise ValueError(error.strerror) from None


def decode_picture(
    file: BinaryIO,
    distortions: Distortions | None = None,
    rng: np.random.Generator | None = None,
    sha256: str | None = None,
) -> np.ndarray:
    """Pixels as read_picture gives them, of an open file. Raises ValueError, with the reason."""
    try:
        with held(file) as data:
            if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
                raise ValueError(OTHER_FILE)
            with opened(data) as picture:
                return distorted(
                    upright_rgb(picture, (inception.SIDE, inception.SIDE)),  # named, it would stay
                    distortions or Distortions(),
                    rng,
                )
    except Image.UnidentifiedImageError:
        raise ValueError("it is no picture") from None
    except Exception as error:  # Pillow's decoders raise whatever comes up
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(reason[:120]) from None


def distorted(
    picture: Image.Image, distortions: Distortions, rng: np.random.Generator | None
) -> np.ndarray:
    """Pixels uint8 [299, 299, 3] of a picture in RGB: a part of it, or all, scaled to that size."""
    side = (inception.SIDE, inception.SIDE)
    if rng is None or not any(distortions):
        return np.asarray(picture.resize(side, Image.Resampling.BILINEAR))
    zoom = (1 + distortions.random_crop / 100) * rng.uniform(1, 1 + distortions.random_scale / 100)
    width, height = picture.width / zoom, picture.height / zoom
    left, top = rng.uniform(0, picture.width - width), rng.uniform(0, picture.height - height)
    part = picture.resize(side, Image.Resampling.BILINEAR, (left, top, left + width, top + height))
    pixels = np.asarray(part, np.float32)
    if distortions.flip_left_right and rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    span = distortions.random_brightness / 100
    return np.clip(np.rint(pixels * rng.uniform(1 - span, 1 + span)), 0, 255).astype(np.uint8)


# ---- from one to the other ----------------------------------------------------------------------


# (cache, pictures (key, path) that it has not, a bar) -> {key: reason of those that can't be read}
Filler = Callable[[Cache, Iterable[tuple[str, str]], Any], dict[str, str]]


def compute(
    network: Any,
    precision: str,
    cache: Cache,
    pictures: Callable[[], Iterable[tuple[str, str]]],
    elsewhere: Filler | None = None,
) -> dict[str, str]:
    """Bring pictures into the cache of a network in a precision; `elsewhere` does it on a cluster.
    pictures() gives (key, path) of each, so that they need not all be in memory. It is called
    several times. If a crawl brings or takes pictures meanwhile, those are left for the next run.

    Returns {key: reason} of those that can't be read, which are named on stderr. Raises UserError,
    before any work, if the disk has no room for them.
    """
    cache.drop_damaged(key for key, _ in pictures())
    wanted, count = missing(cache, pictures())
    if not len(wanted):
        return {}
    cache.check_space(len(wanted))
    if elsewhere is None:
        forward = inception.make_forward(network, precision)

        def elsewhere(
            cache: Cache, pictures: Iterable[tuple[str, str]], bar: Any
        ) -> dict[str, str]:
            return fill(
                cache, pictures, forward, lambda key, path: read_picture(path, sha256=key), bar
            )

    with progress("bottlenecks", len(wanted), "pictures") as bar:
        bad = elsewhere(cache, chosen(pictures(), wanted), bar)
    if others := other_files(pictures(), bad):
        with progress("other files", len(others), "pictures") as bar:
            still = elsewhere(cache, others.items(), bar)
        bad = {key: bad[key] for key in bad if key not in others or key in still}
    name_unreadable(bad, chosen(pictures(), wanted), count)
    return bad


def missing(cache: Cache, pictures: Iterable[tuple[str, str]]) -> tuple[NDArray[np.uint64], int]:
    """(ends of the keys that the cache has not, sorted, each once; how many pictures there are) of
    pictures (key, path)."""
    absent, count = [np.zeros(0, np.uint64)], 0
    for batch in in_batches(pictures, LOOKED_UP):
        keys = [key for key, _ in batch]
        absent.append(ends(keys)[cache.find(keys) < 0])
        count += len(keys)
    return np.unique(np.concatenate(absent)), count


def ends(keys: Sequence[str]) -> NDArray[np.uint64]:
    """The last 64 of 256 bits of each key. Of a hundred million pictures two differ and share them
    once in 4,000 catalogues. Then one of them has no row until the command runs again."""
    return digests(keys)[:, 24:].copy().view(np.uint64).ravel()


def chosen(
    pictures: Iterable[tuple[str, str]], wanted: NDArray[np.uint64]
) -> Iterator[tuple[str, str]]:
    """Yield those of the pictures (key, path) whose keys have these ends (sorted); of those under
    the same key, the first."""
    left = np.ones(len(wanted), bool)
    for batch in in_batches(pictures, inception.BATCH):
        for picture, end in zip(batch, ends([key for key, _ in batch])):
            place = int(np.searchsorted(wanted, end))
            if place < len(wanted) and wanted[place] == end and left[place]:
                left[place] = False
                yield picture


def other_files(pictures: Iterable[tuple[str, str]], bad: Collection[str]) -> dict[str, str]:
    """{key: path} of those of the bad keys whose pictures (key, path) have a second file, which can
    be tried where the first one can't be read."""
    first, others = dict[str, str](), dict[str, str]()
    for key, path in pictures if bad else ():
        if key in bad and first.setdefault(key, path) != path and key not in others:
            if "://" in path or os.path.exists(path):
                others[key] = path
    return others


def name_unreadable(bad: dict[str, str], pictures: Iterable[tuple[str, str]], count: int) -> None:
    """Name those of the pictures (key, path) that can't be read, {key: reason}, of so many."""
    if not bad:
        return
    with grouped(
        lambda count, names, reason: (
            f"{names} can't be read ({reason}); left out"
            if count == 1
            else f"{count} pictures can't be read ({reason}); left out: {names}"
        )
    ) as tell:
        for key, path in pictures:
            if key in bad:
                tell(bad[key], path)
    log(f"{len(bad)} of {count} pictures can't be read")


def fill(
    cache: Cache,
    pictures: Iterable[tuple[str, str]],
    forward: tuple[Callable, int],
    read: Callable,
    bar: Any = None,
) -> dict[str, str]:
    """Compute pictures (key, path) that the cache has not, each key once, and append them to it,
    batch by batch and in order. They are read as they are needed.

    forward is what inception.make_forward returns; read(key, path) gives pixels as read_picture
    does. Each thread decodes a batch and computes it, so that decoding overlaps with computing.
    Returns {key: reason} of what can't be read.
    """
    function, threads = forward
    batches, bad = in_batches(pictures, inception.BATCH), dict[str, str]()
    running: collections.deque[concurrent.futures.Future] = collections.deque()
    with quietly(), concurrent.futures.ThreadPoolExecutor(threads) as pool:
        while True:
            for batch in itertools.islice(batches, threads + 1 - len(running)):  # one waits
                cache.refresh()
                there = cache.find([key for key, _ in batch]) >= 0
                fresh = [picture for picture, known in zip(batch, there) if not known]
                running.append(pool.submit(compute_batch, function, fresh, read, cache.dtype))
                if bar is not None and there.any():  # another process was here
                    bar.update(int(there.sum()))
            if not running:
                return bad
            finished = [running.popleft().result()]
            while running and running[0].done():
                finished.append(running.popleft().result())
            keys = [key for batch_keys, _, _ in finished for key in batch_keys]
            if keys:
                cache.append(
                    keys, np.concatenate([rows for batch_keys, rows, _ in finished if batch_keys])
                )
            for _, _, unreadable in finished:
                bad.update(unreadable)
            if bar is not None:
                bar.update(len(keys) + sum(len(unreadable) for _, _, unreadable in finished))


def compute_batch(
    function: Callable, batch: list[tuple[str, str]], read: Callable, dtype: np.dtype
) -> tuple[list[str], np.ndarray | None, dict[str, str]]:
    """(keys, rows, {key: reason of those that can't be read}) of [(key, path)]."""
    keys, pixels, bad = [], [], {}
    for key, path in batch:
        try:
            pixels.append(read(key, path))
            keys.append(key)
        except ValueError as error:
            bad[key] = str(error)
    if not keys:
        return [], None, bad
    with np.errstate(over="ignore"):
        rows = function(np.stack(pixels)).astype(dtype)
    sound = np.isfinite(rows).all(axis=1)
    bad.update({key: "its bottleneck is no number" for key, good in zip(keys, sound) if not good})
    return [key for key, good in zip(keys, sound) if good], rows[sound], bad


def measure_rate(forward: tuple[Callable, int]) -> float:
    """Pictures a second of what inception.make_forward returns, decoding left out."""
    function, threads = forward
    shape = (inception.BATCH, inception.SIDE, inception.SIDE, 3)
    pixels = [np.zeros(shape, np.uint8)] * 2 * threads
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(function, pixels))  # the first call of each is slow
        began = time.perf_counter()
        list(pool.map(function, pixels))
        return len(pixels) * inception.BATCH / (time.perf_counter() - began)
