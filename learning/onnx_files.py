"""ONNX files, which may be anybody's: looked through before onnxruntime reads them.

In: the path of a file. Out: nothing, or the reason why it is not read. The format is Protocol
Buffers' (onnx.proto of the ONNX project names the fields); what is looked for is whether a network
wants to read its numbers from other files, which could be any on this computer.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

from common.foreign_files import open_regular

MOST_FILE = 2_000_000_000  # bytes; Protocol Buffers' own limit is 2 GiB
MOST_FIELDS = 5_000_000  # that are looked at; a sentence encoder has some 10,000
DEEPEST = 20  # messages in messages
TAGS = 1 << 32  # of a larger tag Protocol Buffers read the last 32 bits: another field
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # how a field is written
# {message: {number of a field: the message that it holds}}, as far as they lead to tensors.
HOLDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of a tensor


def check_file(path: str | os.PathLike) -> None:
    """Raise ValueError, with the reason, if a file is no ONNX, or one of its tensors lies in another
    file; OSError if it can't be read, or is too large. A link at the path is followed."""
    with open_regular(path, MOST_FILE, follow=True) as file:
        if not os.fstat(file.fileno()).st_size:
            raise ValueError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            check_message(data, 0, len(data), "model", [MOST_FIELDS], 0)


def check_message(
    data: mmap.mmap | bytes, start: int, end: int, kind: str, left: list[int], depth: int
) -> None:
    """check_file of one message, the bytes from start to end, of which `left` fields more may be
    looked at in all."""
    if depth > DEEPEST:
        raise ValueError("it is too deep")
    seen = False
    for number, first, last in fields(data, start, end):
        left[0] -= 1
        if left[0] < 0:
            raise ValueError("it has too many parts")
        if kind == "tensor" and number in (EXTERNAL_DATA, DATA_LOCATION):
            if number == EXTERNAL_DATA or first != 0:
                raise ValueError(
                    "it keeps its numbers in other files, which are not read: export it as one file"
                )
        within = HOLDS.get(kind, {}).get(number)
        if within is not None and last >= 0:
            check_message(data, first, last, within, left, depth + 1)
        seen = seen or number == 7
    if kind == "model" and not seen:
        raise ValueError("it is no ONNX file")


def fields(data: mmap.mmap | bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (number, first byte, byte behind the last) of each field of a message that holds bytes,
    and (number, value, -1) of one that holds a number. Raises ValueError if it is cut or damaged."""
    place = start
    while place < end:
        tag, place = varint(data, place, end)
        number, how = tag >> 3, tag & 7
        if tag >= TAGS:
            raise ValueError("it is cut or damaged, or no ONNX file")
        if how == VARINT:
            value, place = varint(data, place, end)
            yield number, value, -1
        elif how == BYTES:
            length, place = varint(data, place, end)
            if length > end - place:
                raise ValueError("it is cut or damaged, or no ONNX file")
            yield number, place, place + length
            place += length
        elif how in (FIXED64, FIXED32):
            place += 8 if how == FIXED64 else 4
            if place > end:
                raise ValueError("it is cut or damaged, or no ONNX file")
        else:
            raise ValueError("it is cut or damaged, or no ONNX file")


def varint(data: mmap.mmap | bytes, place: int, end: int) -> tuple[int, int]:
    """(the number that is written from `place` on, 7 bits a byte, the place behind it)."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("it is cut or damaged, or no ONNX file")
