"""Pictures -> Inception v3 bottlenecks, kept in a cache on disk.

A bottleneck is what the network knows of a picture just before it names it: the outputs of one
layer, averaged over the picture. In: picture files with the SHA-256 of their bytes. Out: rows of
a memory-mapped matrix. retrain.py and the two classifiers that look at pictures use it:

    python categorize_images.py --weights imagenet
    python categorize_images.py --precision int8 --cache-dtype float16
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import fcntl
import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from common.files import free_space, replacing
from common.foreign_files import open_regular
from common.pictures import held, opened, quietly, upright_rgb
from common.terminal import UserError, grouped, log, progress
from learning import inception

MISSING = "the file is missing"
RECORD = 36  # bytes: a picture's SHA-256 and the CRC-32 of its row
MOST_KEYS = 20_000_000 * RECORD  # bytes, so of a cache of 160 GB; in memory they take 5 GB
PIECE = 10_000  # keys that are read at a time
MOST_DESCRIBED = 100_000  # bytes of what says whose bottlenecks they are, which has some 300


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
) -> np.ndarray:
    """A picture file as the network wants it: uint8 [299, 299, 3] in RGB, of a moving picture the
    first frame, upright. With Distortions, as chance (a numpy Generator) has it.

    Raises ValueError, with the reason, for a file that is missing or can't be decoded.
    """
    try:
        with open(path, "rb") as file, held(file) as data, opened(data) as picture:
            return distorted(
                upright_rgb(picture, (inception.SIDE, inception.SIDE)),  # named, it would stay
                distortions or Distortions(),
                rng,
            )
    except FileNotFoundError:
        raise ValueError(MISSING) from None
    except Image.UnidentifiedImageError:
        raise ValueError("it is no picture") from None
    except Exception as error:  # Pillow's decoders raise whatever comes up
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(reason.replace(str(path), "it")[:120]) from None


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


# ---- the cache --------------------------------------------------------------------------------


class Cache:
    """Bottlenecks of one network on disk, keyed by the SHA-256 of a picture's bytes.

    `<fingerprint>.f32` (or .f16) holds the rows, `<fingerprint>.keys` (.f16.keys) in the same order
    their keys and checksums; both only grow, and of two rows under one key the later counts. A key
    is written after its row is on disk, so whatever is left of a kill is a tail without keys, which
    the next append overwrites. Appends are under a file lock, so two processes may share a cache.
    """

    def __init__(self, folder: str, fingerprint: dict, size: int, dtype: str = "float32"):
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--bottleneck_dir {folder} can't be made ({error.strerror}): name another"
            ) from None
        described = json.dumps({**fingerprint, "size": size, "record": RECORD}, sort_keys=True)
        base = os.path.join(folder, hashlib.sha256(described.encode()).hexdigest()[:16])
        self.data_path = base + (".f32" if dtype == "float32" else ".f16")
        self.keys_path = base + (".keys" if dtype == "float32" else ".f16.keys")
        self.lock_path = base + ".lock"
        self.size, self.dtype = size, np.dtype(dtype)
        self.row_bytes = size * self.dtype.itemsize
        self.count, self.rows = 0, dict[str, int]()
        self.check_files()
        self.refresh()
        if not os.path.exists(base + ".json"):
            with replacing(base + ".json") as beside, open(beside, "w", encoding="utf-8") as file:
                file.write(described + "\n")

    def refresh(self) -> None:
        """Read the keys that this process has not seen yet."""
        with (
            contextlib.suppress(FileNotFoundError),
            open_regular(self.keys_path, MOST_KEYS) as file,
            open_regular(self.data_path, MOST_KEYS // RECORD * self.row_bytes) as data,
        ):
            whole = os.fstat(data.fileno()).st_size // self.row_bytes
            file.seek(RECORD * self.count)
            while piece := file.read(RECORD * max(0, min(PIECE, whole - self.count))):
                for start in range(0, len(piece) - RECORD + 1, RECORD):
                    self.rows[piece[start : start + 32].hex()] = self.count
                    self.count += 1
                if len(piece) % RECORD:  # a key that is being written
                    break

    def check_files(self) -> None:
        """Raise UserError if a file of the cache is a link, a pipe, or larger than any cache."""
        for path in (self.data_path, self.keys_path, self.lock_path):
            try:
                open_regular(path, MOST_KEYS // RECORD * self.row_bytes).close()
            except FileNotFoundError:
                pass
            except OSError as error:
                raise UserError(
                    f"{path} is no file of a cache ({error.strerror}): remove it, or name another "
                    "--bottleneck_dir"
                ) from None

    def append(self, keys: list[str], rows: np.ndarray) -> None:
        """Write rows [n, size] under their keys (hex) and wait until they are on disk."""
        with open_to_write(self.lock_path) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            fresh = [
                i for i, key in enumerate(keys) if key not in self.rows and key not in keys[:i]
            ]
            data = np.ascontiguousarray(rows[fresh], self.dtype)
            records = [
                bytes.fromhex(keys[i]) + zlib.crc32(row).to_bytes(4, "little")
                for i, row in zip(fresh, data)
            ]
            end = self.count * RECORD
            write_at(self.keys_path, end, b"")  # a key without a row, if there is one
            write_at(self.data_path, self.count * self.row_bytes, data.tobytes())
            write_at(self.keys_path, end, b"".join(records))
            self.refresh()

    def drop_damaged(self, keys: Iterable[str]) -> None:
        """Forget rows whose bytes on disk are no longer what was written, so that they are computed
        again, and say how many."""
        rows, matrix = self.rows, self.matrix()
        records = np.zeros((0, RECORD), np.uint8)
        with contextlib.suppress(FileNotFoundError):
            records = np.fromfile(self.keys_path, np.uint8, self.count * RECORD)
        sums = records.reshape(-1, RECORD)[:, 32:].copy().view("<u4").ravel()
        damaged = [
            key for key in keys if key in rows and zlib.crc32(matrix[rows[key]]) != sums[rows[key]]
        ]
        for key in damaged:
            del rows[key]
        if damaged:
            log(
                f"warning: {len(damaged)} bottlenecks in {self.data_path} were damaged on the "
                "disk: they are computed again"
            )

    def matrix(self) -> np.ndarray:
        """All rows [n, size], memory-mapped."""
        if not self.count:
            return np.zeros((0, self.size), self.dtype)
        return np.memmap(self.data_path, self.dtype, "r", shape=(self.count, self.size))

    def check_space(self, count: int) -> None:
        """Raise UserError if the disk has no room for so many rows more."""
        folder = os.path.dirname(self.data_path)
        need, free = count * (self.row_bytes + RECORD), free_space(folder)
        if need > free:
            half = "" if self.dtype == np.float16 else ", or halve them with --cache-dtype float16"
            raise UserError(
                f"{count} bottlenecks take {need / 1e6:.1f} MB and {folder} has room "
                f"for {free / 1e6:.1f}: make room, name another --bottleneck_dir{half}"
            )


def write_at(path: str, offset: int, data: bytes) -> None:
    """Write data at an offset, cut off what lies behind it, and wait until that is on disk."""
    if not data and os.path.exists(path) and os.path.getsize(path) == offset:
        return
    try:
        with open_to_write(path) as file:
            file.seek(offset)
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # of a full disk it does not say which
        raise OSError(error.errno, error.strerror, path) from None


def open_to_write(path: str) -> BinaryIO:
    """A file of the cache, opened as it is, or made. A link there is not followed (OSError): in a
    folder of a stranger's it would lead to a file of yours."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return open(os.open(path, flags, 0o666), "r+b")


def random_before(folder: str) -> bool:
    """Whether a cache in this folder was made with random weights."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.endswith(".json"):
                with open_regular(os.path.join(folder, name), MOST_DESCRIBED) as file:
                    if b'"weights": "random-' in file.read(MOST_DESCRIBED):
                        return True
    return False


# ---- from one to the other ----------------------------------------------------------------------


def compute(network: Any, precision: str, cache: Cache, pictures: dict[str, str]) -> dict[str, str]:
    """Bring pictures {key: path} into the cache of a network in a precision.

    Returns {key: reason} of those that can't be read, which are named on stderr. Raises UserError,
    before any work, if the disk has no room for them.
    """
    cache.drop_damaged(pictures)
    todo = {key: path for key, path in pictures.items() if key not in cache.rows}
    if not todo:
        return {}
    cache.check_space(len(todo))
    forward = inception.make_forward(network, precision)
    with progress("bottlenecks", len(todo), "pictures") as bar:
        bad = fill(cache, todo, forward, lambda key, path: read_picture(path), bar)
    with grouped(
        lambda count, names, reason: (
            f"{names} can't be read ({reason}); left out"
            if count == 1
            else f"{count} pictures can't be read ({reason}); left out: {names}"
        )
    ) as tell:
        for key, reason in bad.items():
            tell(reason, pictures[key])
    if bad:
        log(f"{len(bad)} of {len(pictures)} pictures can't be read")
    return bad


def fill(
    cache: Cache,
    pictures: dict[str, str],
    forward: tuple[Callable, int],
    read: Callable,
    bar: Any = None,
) -> dict[str, str]:
    """Compute {key: path} and append it to the cache, batch by batch and in order.

    forward is what inception.make_forward returns; read(key, path) gives pixels as read_picture
    does. Each thread decodes a batch and computes it, so that decoding overlaps with computing.
    Returns {key: reason} of what can't be read.
    """
    function, threads = forward
    items, bad = list(pictures.items()), {}
    batches = collections.deque(
        items[i : i + inception.BATCH] for i in range(0, len(items), inception.BATCH)
    )
    running: collections.deque[concurrent.futures.Future] = collections.deque()
    with quietly(), concurrent.futures.ThreadPoolExecutor(threads) as pool:
        while batches or running:
            while batches and len(running) <= threads:  # one waits its turn
                cache.refresh()
                batch = batches.popleft()
                fresh = [(key, path) for key, path in batch if key not in cache.rows]
                running.append(pool.submit(compute_batch, function, fresh, read, cache.dtype))
                if bar is not None and len(batch) > len(fresh):  # another process was here
                    bar.update(len(batch) - len(fresh))
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
    return bad


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
