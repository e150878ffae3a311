"""Which row of a cache has a key: entries of eight bytes, sorted, and mapped from a file.

In: records of a cache's keys, 36 bytes each in the order of the rows. Out: the row of each key that
is asked for. The file is made from the records, so whatever is wrong with it costs time and never
gives a wrong row, since the whole key is compared.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from common.files import replacing
from common.foreign_files import open_regular

KEY = 32  # bytes of a SHA-256
RECORD = KEY + 4  # and of the CRC-32 of its row
# An index in memory has eight bytes a row while it is made: 1.6 GB, also if a stranger's file has
# nothing but holes. It is twice the hundred million that a cache has been measured with.
MOST_ROWS = 200_000_000
PIECE = 100_000  # records that are read at a time
# Rows that the file does not cover are in memory, and sorted again each time a cache is opened,
# which takes less than a tenth of a second for so many, or for this part of the rows.
FEWEST, PART = 100_000, 16
FORM = b"keys 1\n\0"
HEADER = struct.Struct(f"<8sQI{RECORD}s")  # the form, rows, their CRC-32, the last one's record
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


class KeyIndex:
    """Sorted entries: the last 32 bits of a key, then its row.

    They are in runs, of which each holds later rows than the one before. The first is the file's,
    the others are in memory. What a process has mapped stays as it is if another replaces the file.
    """

    def __init__(self, path: str):
        self.path = path
        self.runs: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
        self.sum = 0  # the CRC-32 of the first run, as the file says

    def load(self, keys: BinaryIO) -> int:
        """Map the file if it was made from this file of keys. Returns how many rows it covers."""
        with (
            contextlib.suppress(OSError, struct.error),
            open_regular(self.path, HEADER.size + 8 * MOST_ROWS) as file,
        ):
            form, rows, written, last = HEADER.unpack(file.read(HEADER.size))
            whole = os.fstat(file.fileno()).st_size == HEADER.size + 8 * rows
            if form == FORM and rows and whole:
                keys.seek(RECORD * (rows - 1))
                if keys.read(RECORD) == last:
                    self.runs, self.sum = [mapped(file, np.uint64, HEADER.size)], written
                    return rows
        return 0

    def is_whole(self) -> bool:
        """Whether the file that was mapped still is what was written."""
        return zlib.crc32(self.runs[0].data) == self.sum

    def extend(self, keys: BinaryIO, rows: int) -> int:
        """Take up the records of the next rows until there are so many, as far as they are there.
        Returns how many rows are known."""
        known = sum(map(len, self.runs))
        fresh = read_entries(keys, known, rows)
        self.runs.append(fresh)
        # Each run stays more than twice as long as the next, so that an entry is moved seldom.
        while len(self.runs) > 2 and len(self.runs[-2]) <= 2 * len(self.runs[-1]):
            self.runs[-2:] = [merged(self.runs[-2:])]
        known += len(fresh)
        if known - len(self.runs[0]) > max(FEWEST, len(self.runs[0]) // PART):
            self.save(keys)
        return known

    def save(self, keys: BinaryIO) -> None:
        """Write all entries to a file that takes the place of the one before. If the disk refuses
        it, they stay in memory."""
        whole = merged(self.runs)
        self.runs, self.sum = [whole], zlib.crc32(whole.data)
        keys.seek(RECORD * (len(whole) - 1))
        header = HEADER.pack(FORM, len(whole), self.sum, keys.read(RECORD))
        with contextlib.suppress(OSError):
            with replacing(self.path) as beside, open(beside, "wb") as file:
                file.write(header)
                file.write(whole.data)
            with open_regular(self.path, HEADER.size + whole.nbytes) as file:
                if file.read(HEADER.size) == header:
                    self.runs = [mapped(file, np.uint64, HEADER.size)]

    def find(self, keys: NDArray[np.uint8], records: NDArray[np.uint8]) -> NDArray[np.int64]:
        """int64 [n]: the row of each of the keys, uint8 [n, 32], the last one if it has several,
        -1 if it has none. records, uint8 [rows, 36], are those that the entries were made from."""
        found = np.full(len(keys), -1)
        ends = entries(keys, 0) | LOW
        order = np.argsort(ends)  # so that neighbours are asked for one after the other
        for run in reversed(self.runs):
            left = order[found[order] < 0]
            place = np.searchsorted(run, ends[left], side="right") - 1
            while len(left):  # go back through the keys that end like the one that is asked for
                left, place = left[place >= 0], place[place >= 0]
                entry = run[place]
                alike = entry >> HALF == ends[left] >> HALF
                left, place, rows = left[alike], place[alike], entry[alike] & LOW
                hit = have_keys(records, rows.astype(np.int64), keys[left])
                found[left[hit]] = rows[hit]
                left, place = left[~hit], place[~hit] - 1
        return found


def entries(keys: NDArray[np.uint8], first: int) -> NDArray[np.uint64]:
    """The entries of keys, uint8 [n, 32], whose rows begin with `first`."""
    ends = np.ascontiguousarray(keys[:, KEY - 4 :]).view("<u4").ravel()
    return ends.astype(np.uint64) << HALF | np.arange(first, first + len(keys), dtype=np.uint64)


def read_entries(keys: BinaryIO, start: int, stop: int) -> NDArray[np.uint64]:
    """The sorted entries of the rows from start to stop, or to the end of the file."""
    read = np.empty(max(0, stop - start), np.uint64)
    keys.seek(RECORD * start)
    for first in range(start, stop, PIECE):
        piece = keys.read(RECORD * min(PIECE, stop - first))
        records = np.frombuffer(piece[: len(piece) // RECORD * RECORD], np.uint8)
        of_piece = entries(records.reshape(-1, RECORD)[:, :KEY], first)
        read[first - start : first - start + len(of_piece)] = of_piece
        if len(of_piece) < min(PIECE, stop - first):  # it has been cut
            read = read[: first - start + len(of_piece)]
            break
    read.sort()
    return read


def merged(runs: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """The entries of sorted runs in one."""
    runs = [run for run in runs if len(run)]
    if len(runs) == 1:  # without a copy
        return runs[0]
    whole = np.concatenate(runs)
    whole.sort(kind="stable")  # which merges what is sorted
    return whole


def have_keys(
    records: NDArray[np.uint8], rows: NDArray[np.int64], keys: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """bool [n]: whether the records of these rows are those of these keys, uint8 [n, 32]."""
    there = rows < len(records)
    there[there] = (records[rows[there]][:, :KEY] == keys[there]).all(axis=1)
    return there


def mapped(file: BinaryIO, dtype: type, offset: int = 0, shape: tuple | None = None) -> NDArray:
    """What an open file holds from an offset on, mapped into memory."""
    return np.memmap(file, dtype, "r", offset, shape).view(np.ndarray)
