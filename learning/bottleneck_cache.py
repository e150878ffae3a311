"""Bottlenecks of one network, kept on disk under the SHA-256 of their pictures' bytes.

In: keys and rows of bottlenecks, which only grow, or a file of such rows that another process has
written. Out: the row of each key, and all rows as a memory-mapped matrix.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from common.files import free_space, replacing
from common.foreign_files import open_regular
from common.terminal import UserError, log

RECORD = 36  # bytes: a picture's SHA-256 and the CRC-32 of its row
MOST_KEYS = 20_000_000 * RECORD  # bytes, so of a cache of 160 GB; in memory they take 5 GB
PIECE = 10_000  # keys that are read at a time
MOST_DESCRIBED = 100_000  # bytes of what says whose bottlenecks they are, which has some 300


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

    def find(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """int64 [n]: the row of each key (hex), -1 if it has none. Of two rows under one key the
        later counts."""
        return np.array([self.rows.get(key, -1) for key in keys], np.int64)

    def find_all(self, keys: Iterable[str]) -> NDArray[np.int64]:
        """What `find` says of keys that need not all be in memory."""
        found = [self.find(batch) for batch in in_batches(keys, PIECE)]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def keys(self) -> Iterator[str]:
        """The key of each row, in the order of the rows."""
        yield from self.rows

    def append(self, keys: Sequence[str], rows: NDArray) -> None:
        """Write rows [n, size] under their keys (hex) and wait until they are on disk."""
        with open_to_write(self.lock_path) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            first = {key: i for i, key in reversed(list(enumerate(keys)))}
            there = self.find(keys) >= 0
            fresh = [i for i, key in enumerate(keys) if first[key] == i and not there[i]]
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

    def adopt(self, keys: list[str], path: str, offset: int, sums: list[int]) -> None:
        """Append rows that lie in another file. To be replaced."""
        with open(path, "rb") as file:
            file.seek(offset)
            rows = np.frombuffer(file.read(), self.dtype).reshape(len(keys), self.size)
        if any(zlib.crc32(row.tobytes()) != number for row, number in zip(rows, sums)):
            raise ValueError("it is damaged")
        if keys:
            self.append(keys, rows)

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


def digests(keys: Sequence[str]) -> NDArray[np.uint8]:
    """Keys in hex as bytes [n, 32]. Raises ValueError if one of them is no SHA-256."""
    return np.frombuffer(bytes.fromhex("".join(keys)), np.uint8).reshape(len(keys), 32)


def in_batches(items: Iterable, size: int) -> Iterator[list]:
    """Lists of so many items, the last one shorter."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


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
