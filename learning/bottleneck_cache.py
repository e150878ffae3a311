"""Bottlenecks of one network, kept on disk under the SHA-256 of their pictures' bytes; and vectors
of texts, under that of the text.

In: keys and rows of bottlenecks, which only grow, or a file of such rows that another process has
written. Out: the row of each key, and all rows as a memory-mapped matrix.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.files import free_space, replacing
from common.foreign_files import open_regular
from common.terminal import UserError, log
from learning.key_index import KEY, MOST_ROWS, RECORD, KeyIndex, mapped

MOST_DESCRIBED = 100_000  # bytes of what says whose bottlenecks they are, which has some 300
LOOKED_UP = 10_000  # keys at a time
# The ends of the names of the files of rows and of keys.
ENDINGS = {"float32": (".f32", ".keys"), "float16": (".f16", ".f16.keys")}
COPIED = 1 << 24  # bytes that are copied at a time if the system can't copy them by itself
# What the system says if it can't: other disks, a disk or a kernel that has no such call.
CANT_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


class Names(NamedTuple):
    """What messages call the rows of a cache, and what they say to do."""

    rows: str = "bottlenecks"
    if_damaged: str = "remove it, or name another --bottleneck_dir"
    if_full: str = "make room, name another --bottleneck_dir"
    half: str = ", or halve them with --cache-dtype float16"  # if they are in float32


class Cache:
    """Bottlenecks of one network on disk, keyed by the SHA-256 of a picture's bytes.

    `<fingerprint>.f32` (or .f16) holds the rows, `<fingerprint>.keys` (.f16.keys) in the same order
    their keys and checksums; both only grow, and of two rows under one key the later counts. A key
    is written after its row is on disk, so whatever is left of a kill is a tail without keys, which
    the next append overwrites. Appends are under a file lock, so two processes may share a cache.
    `<fingerprint>.index` (.f16.index) is made from the keys if there are many, see key_index.
    """

    def __init__(
        self,
        folder: str,
        fingerprint: dict,
        size: int,
        dtype: str = "float32",
        names: Names | None = None,
    ):
        self.names = names or Names()
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            if names:
                raise UserError(
                    f"{folder}, where {names.rows} are kept, can't be made ({error.strerror}): "
                    "make it a folder that you may write to"
                ) from None
            raise UserError(
                f"--bottleneck_dir {folder} can't be made ({error.strerror}): name another"
            ) from None
        described = json.dumps({**fingerprint, "size": size, "record": RECORD}, sort_keys=True)
        base = os.path.join(folder, hashlib.sha256(described.encode()).hexdigest()[:16])
        self.data_path, self.keys_path = (base + ending for ending in ENDINGS[dtype])
        self.lock_path = base + ".lock"
        self.index_path = self.keys_path.removesuffix("keys") + "index"
        self.size, self.dtype = size, np.dtype(dtype)
        self.row_bytes = size * self.dtype.itemsize
        self.check_files()
        self.forgotten = np.zeros(0, np.int64)  # rows that are damaged
        self.index, self.count = KeyIndex(self.index_path), 0
        self.refresh()
        if not os.path.exists(base + ".json"):
            with replacing(base + ".json") as beside, open(beside, "w", encoding="utf-8") as file:
                file.write(described + "\n")

    def refresh(self) -> None:
        """Take up the keys that this process has not seen yet."""
        with (
            contextlib.suppress(FileNotFoundError),
            open_regular(self.keys_path, MOST_ROWS * RECORD) as file,
            open_regular(self.data_path, MOST_ROWS * self.row_bytes) as data,
        ):
            indexed = self.count or self.index.load(file)
            rows = os.fstat(data.fileno()).st_size // self.row_bytes
            rows = min(rows, os.fstat(file.fileno()).st_size // RECORD)
            if indexed > rows and not self.count:  # it is of rows that are gone
                self.index = KeyIndex(self.index_path)
            if rows > self.count:
                self.count = self.index.extend(file, rows)

    def check_files(self) -> None:
        """Raise UserError if a file of the cache is a link, a pipe, or larger than any cache."""
        for path in (self.data_path, self.keys_path, self.lock_path):
            try:
                open_regular(path, MOST_ROWS * max(self.row_bytes, RECORD)).close()
            except FileNotFoundError:
                pass
            except OSError as error:
                raise UserError(
                    f"{path} is no file of a cache ({error.strerror}): {self.names.if_damaged}"
                ) from None

    def find(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """int64 [n]: the row of each key (hex), -1 if it has none. Of two rows under one key the
        later counts. Raises ValueError if a key is no SHA-256."""
        rows = self.index.find(digests(keys), self.records())
        rows[np.isin(rows, self.forgotten)] = -1
        return rows

    def records(self) -> NDArray[np.uint8]:
        """uint8 [rows, 36]: each row's key and checksum, memory-mapped. They are mapped anew for
        each use, in case another process has cut off keys whose rows are gone."""
        with (
            contextlib.suppress(FileNotFoundError),
            open_regular(self.keys_path, MOST_ROWS * RECORD) as file,
        ):
            rows = min(self.count, os.fstat(file.fileno()).st_size // RECORD)
            if rows:
                return mapped(file, np.uint8, shape=(rows, RECORD))
        return np.zeros((0, RECORD), np.uint8)

    def keys(self) -> Iterator[str]:
        """The key of each row, in the order of the rows."""
        for start in range(0, self.count, LOOKED_UP):
            for record in self.records()[start : start + LOOKED_UP]:
                yield record[:KEY].tobytes().hex()

    def append(self, keys: Sequence[str], rows: NDArray) -> None:
        """Write rows [n, size] under their keys (hex) and wait until they are on disk."""
        data = np.ascontiguousarray(rows, self.dtype)

        def write(file: BinaryIO, fresh: NDArray[np.int64]) -> None:
            file.write(data[fresh].tobytes())

        self.add(keys, [zlib.crc32(row) for row in data], write)

    def adopt(self, keys: Sequence[str], path: str, offset: int, sums: Sequence[int]) -> None:
        """Append the rows of another file under their keys (hex): they are in the cache's dtype,
        one behind the other from a byte offset on, and sums are their CRC-32s. Keys that are there
        already are left out. Where the disk can, rows are shared with that file, not copied, if
        `offset` and the bytes of a row are whole blocks.

        Raises ValueError, before anything is written, if a row is damaged or missing.
        """
        with open_regular(path, MOST_ROWS * self.row_bytes) as source:
            source.seek(offset)
            for _, expected in zip(keys, sums, strict=True):
                row = source.read(self.row_bytes)
                if len(row) < self.row_bytes or zlib.crc32(row) != expected:
                    raise ValueError("a row is damaged")
                if not np.isfinite(np.frombuffer(row, self.dtype)).all():
                    raise ValueError("a bottleneck is no number")

            def write(file: BinaryIO, fresh: NDArray[np.int64]) -> None:
                for part in np.split(fresh, np.flatnonzero(np.diff(fresh) > 1) + 1):
                    if len(part):
                        start = offset + int(part[0]) * self.row_bytes
                        copy_bytes(source, start, file, len(part) * self.row_bytes)

            self.add(keys, sums, write)

    def add(
        self,
        keys: Sequence[str],
        sums: Sequence[int],
        write: Callable[[BinaryIO, NDArray[np.int64]], None],
    ) -> None:
        """Append rows under their keys and CRC-32s and wait until they are on disk. write(file,
        fresh) writes those of them that are not there yet, at the place where the file is."""
        with open_to_write(self.lock_path) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            first = {key: i for i, key in reversed(list(enumerate(keys)))}
            there = self.find(keys) >= 0
            fresh = [i for i, key in enumerate(keys) if first[key] == i and not there[i]]
            if not fresh:
                return
            end = self.count * RECORD
            if not os.path.exists(self.keys_path) or os.path.getsize(self.keys_path) != end:
                with writing_at(self.keys_path, end):  # cut off keys without rows
                    pass
            with writing_at(self.data_path, self.count * self.row_bytes) as file:
                write(file, np.array(fresh, np.int64))
            with writing_at(self.keys_path, end) as file:
                for i in fresh:
                    file.write(bytes.fromhex(keys[i]) + sums[i].to_bytes(4, "little"))
            self.refresh()

    def drop_damaged(self, keys: Iterable[str]) -> None:
        """Forget rows whose bytes on disk are no longer what was written, so that they are computed
        again, and say how many."""
        if not self.index.is_whole():
            with contextlib.suppress(OSError):
                os.remove(self.index_path)
            self.index, self.count = KeyIndex(self.index_path), 0
            self.refresh()
        asked = np.zeros(self.count, bool)
        for batch in in_batches(keys, LOOKED_UP):
            rows = self.find(batch)
            asked[rows[rows >= 0]] = True
        matrix, damaged = np.asarray(self.matrix()), list[int]()
        for start in range(0, self.count, LOOKED_UP):
            rows = start + np.flatnonzero(asked[start : start + LOOKED_UP])
            sums = np.ascontiguousarray(self.records()[rows][:, KEY:]).view("<u4").ravel()
            damaged += [
                int(row) for row, good in zip(rows, sums) if zlib.crc32(matrix[row]) != good
            ]
        self.forgotten = np.union1d(self.forgotten, np.array(damaged, np.int64))
        if damaged:
            log(
                f"warning: {len(damaged)} {self.names.rows} in {self.data_path} were damaged on "
                "the disk: they are computed again"
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
            half = "" if self.dtype == np.float16 else self.names.half
            raise UserError(
                f"{count} {self.names.rows} take {need / 1e6:.1f} MB and {folder} has room "
                f"for {free / 1e6:.1f}: {self.names.if_full}{half}"
            )


def open_cache(folder: str, fingerprint: dict, size: int, dtype: str | None) -> Cache:
    """The cache of a network, in the dtype that is asked for. If none is, it is float16, which
    classifies as well in half the space (results/README.md); if there are more rows in float32,
    from before, that goes on, so that nothing is computed again."""
    if dtype:
        return Cache(folder, fingerprint, size, dtype)
    half, full = (Cache(folder, fingerprint, size, name) for name in ("float16", "float32"))
    return full if full.count > half.count else half


def digests(keys: Sequence[str]) -> NDArray[np.uint8]:
    """Keys in hex as bytes [n, 32]. Raises ValueError if one of them is no SHA-256."""
    return np.frombuffer(bytes.fromhex("".join(keys)), np.uint8).reshape(len(keys), 32)


def in_batches(items: Iterable, size: int) -> Iterator[list]:
    """Lists of so many items, the last one shorter."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


@contextlib.contextmanager
def writing_at(path: str, offset: int) -> Iterator[BinaryIO]:
    """A file of the cache to write to from an offset on. When the block ends, what lies behind is
    cut off, and all is on disk."""
    try:
        with open_to_write(path) as file:
            file.seek(offset)
            yield file
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # of a full disk it does not say which
        raise OSError(error.errno, error.strerror, path) from None


def copy_bytes(source: BinaryIO, start: int, file: BinaryIO, count: int) -> None:
    """Copy bytes of a file to the place where another is: by the system, which shares them on disks
    that can, or else piece by piece."""
    file.flush()
    end = start + count
    while start < end:
        done = 0
        if hasattr(os, "copy_file_range"):  # of Linux
            try:
                done = os.copy_file_range(
                    source.fileno(), file.fileno(), end - start, start, file.tell()
                )
            except OSError as error:
                if error.errno not in CANT_COPY:
                    raise
        if not done:
            done = file.write(os.pread(source.fileno(), min(COPIED, end - start), start))
            if not done:
                raise OSError(errno.EIO, "it was cut while it was read", source.name)
        else:
            file.seek(done, os.SEEK_CUR)
        file.flush()
        start += done


def open_to_write(path: str) -> BinaryIO:
    """A file of the cache, opened as it is, or made. A link there is not followed (OSError): in a
    folder of a stranger's it would lead to a file of yours."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return open(os.open(path, flags, 0o666), "r+b")


def described(folder: str) -> Iterator[tuple[dict, int]]:
    """Yield (fingerprint, rows) of each cache in a folder; what is none is left out."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            base, ending = os.path.splitext(os.path.join(folder, name))
            with contextlib.suppress(OSError, ValueError, RecursionError):
                if ending == ".json":
                    with open_regular(base + ending, MOST_DESCRIBED) as file:
                        said = json.loads(file.read(MOST_DESCRIBED))
                    if isinstance(said, dict):
                        yield said, sum(rows_in(base + keys) for _, keys in ENDINGS.values())


def rows_in(keys_path: str) -> int:
    """How many rows have a key in this file; none if it is not there."""
    try:
        return os.stat(keys_path).st_size // RECORD
    except OSError:
        return 0


def random_before(folder: str) -> bool:
    """Whether a cache in this folder was made with random weights."""
    return any(str(said.get("weights")).startswith("random-") for said, _ in described(folder))
