"""Files and folders: where pictures lie, and how a file is written whole or not at all.

In: paths. Out: paths, digests, sizes in bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import shutil
from collections.abc import Iterator
from typing import BinaryIO


def images_folder(db_path: str, asked: str | None = None) -> str:
    """The folder of the pictures: the one asked for (--images-path), else images/ beside crawl.db.
    An images/ in the current folder counts as long as there is none beside crawl.db, since all
    pictures went there before."""
    beside = os.path.join(os.path.dirname(db_path), "images")
    if asked is not None:
        return asked
    return "images" if os.path.isdir("images") and not os.path.isdir(beside) else beside


def file_sha256(*paths: str) -> str:
    """The SHA-256 of the bytes of these files, one behind the other, in hex."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


@contextlib.contextmanager
def replacing(path: str, beside: str | None = None, ending: str = "tmp") -> Iterator[str]:
    """The path to write to instead of `path`, in the same folder; it ends with `ending`. When the
    block ends, the file is on the disk, and moves to its place; if it fails, nothing is left. What
    a killed process has left there is removed. A caller of many files names `beside`, and sweeps
    by itself: their folder is not waited for."""
    # Not by `random`: two processes that have seeded it alike would draw the same name.
    mine = beside or f"{path}.{os.urandom(8).hex()}.{ending}"
    if not beside:
        sweep(f"{glob.escape(path)}.{'[0-9a-f]' * 16}.{ending}")
    with open_locked(mine):
        try:
            yield mine
            on_disk(mine)
            os.replace(mine, path)
        finally:
            with contextlib.suppress(OSError):
                os.remove(mine)
    if not beside:
        on_disk(os.path.dirname(path) or ".")


def open_locked(path: str) -> BinaryIO:
    """A new file that no other process sweeps away. A link that somebody has put there is not
    followed."""
    while True:
        file = open(path, "xb")
        with contextlib.suppress(OSError):  # some disks have no locks; nothing is swept there
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # it was swept before it was locked


def sweep(pattern: str) -> None:
    """Remove the files of these names that no process is writing: `replacing` locks its file."""
    for path in filter(os.path.isfile, glob.glob(pattern)):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.remove(path)


def on_disk(path: str) -> None:
    """Wait until a file, or a folder's list of names, is on the disk. A file that is moved before
    may be empty after a power cut."""
    ignored = [OSError] if os.path.isdir(path) else []  # not each disk can be asked for a folder
    with contextlib.suppress(*ignored):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def move_folder(path: str, target: str) -> None:
    """Move a folder to its place, once all that is in it is on the disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            on_disk(os.path.join(folder, name))
        on_disk(folder)
    os.rename(path, target)
    on_disk(os.path.dirname(target))


def may_use(path: str, how: int) -> bool:
    """Whether this user may use a file or folder so: os.R_OK to read it, os.W_OK to write."""
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


def free_space(path: str) -> int:
    """Bytes free on the disk where a file or folder is, or would be made."""
    folder = os.path.abspath(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free
