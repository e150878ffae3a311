"""Files that may be anybody's: opened as what they are, and read within bounds.

In: the path of a file in a folder that a stranger may have made. Out: an open file, JSON, or an
archive, whose size in memory follows from its size on the disk. A link is not followed, a pipe or a
device is not waited for, and nothing is unpacked.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import zipfile
from typing import Any, BinaryIO

# The largest model.json that was measured has 60,000 terms, which is the most that a vocabulary
# takes: 1.1 MB and 60,700 values. These bounds leave room for 100,000 categories. A value takes
# up to 200 bytes of memory.
MOST_JSON = 30_000_000  # bytes
MOST_VALUES = 1_000_000
# Of an archive's table of contents: a model has at most 16 arrays, of 100 bytes each there.
MOST_CONTENTS = 50_000  # bytes
END = 22  # bytes of the record that ends an archive without a comment
LARGE_END = 20  # bytes of the one before it, in an archive of more than 4 GB


def open_regular(path: str | os.PathLike, most: int, follow: bool = False) -> BinaryIO:
    """A file opened for reading bytes. Raises OSError if it is no plain file, or has more than
    `most` bytes. A link at its place is followed only if the user has named the path (`follow`);
    folders on the way may always be links, so that models/ may lie on another disk."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link", os.fspath(path)) from None
        raise
    # What was opened is looked at, not what is at the path by now.
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= most:
        return open(descriptor, "rb")
    os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", os.fspath(path))
    raise OSError(errno.EFBIG, f"it has more than {most / 1e6:.0f} MB", os.fspath(path))


def parse_json(data: bytes) -> Any:
    """What JSON in UTF-8 says. Raises ValueError if it is none, or too much, before it takes
    memory; RecursionError if it is too deep."""
    if len(data) > MOST_JSON:
        raise ValueError(f"its JSON has more than {MOST_JSON / 1e6:.0f} MB")
    check_values(data)
    return json.loads(data.decode("utf-8"))


def check_values(data: bytes) -> None:
    """Raises ValueError if JSON, in whatever encoding, may hold more than MOST_VALUES values."""
    # Each value but the first stands behind one of these. In texts they count, too.
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ValueError(f"its JSON has more than {MOST_VALUES:,} values")


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """The zip archive in an open file, in which nothing is compressed, as numpy and Keras write
    theirs, so that what is read of it is no larger than the file. Raises ValueError or BadZipFile
    for any other, before its table of contents takes memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END - LARGE_END))
    tail = file.read(END + LARGE_END)
    # No comment, behind which zipfile would look for another end, and no end of a large archive.
    if tail[-END:][:4] != b"PK\5\6" or tail[-2:] != b"\0\0" or tail[:-END].startswith(b"PK\6\7"):
        raise zipfile.BadZipFile("it is no plain zip archive")
    if int.from_bytes(tail[-10:-6], "little") > MOST_CONTENTS:
        raise ValueError("its table of contents is too long")
    archive = zipfile.ZipFile(file)
    members = archive.infolist()
    # The count, because of a damaged table a member may be missing. The sum, because several members
    # may share the same bytes.
    if len(members) != int.from_bytes(tail[-12:-10], "little"):
        raise ValueError("its table of contents is damaged")
    if (
        any(member.compress_type != zipfile.ZIP_STORED for member in members)
        or len({member.filename for member in members}) < len(members)
        or sum(member.file_size for member in members) > size
    ):
        raise ValueError("it is compressed, or holds more than it can")
    return archive
