"""Files and folders: where pictures lie, and how a file is written whole or not at all.

In: paths. Out: paths, digests, sizes in bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator


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
def replacing(path: str, beside: str | None = None) -> Iterator[str]:
    """The path to write to instead of `path`, in the same folder unless `beside` names another.
    When the block ends, the file moves to its place; if it fails, nothing is left."""
    beside = beside or f"{path}.{os.getpid()}.tmp"
    try:
        yield beside
        os.replace(beside, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(beside)


def may_use(path: str, how: int) -> bool:
    """Whether this user may use a file or folder so: os.R_OK to read it, os.W_OK to write."""
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


def free_space(path: str) -> int:
    """Bytes free on the disk where a file or folder is, or would be made."""
    folder = os.path.abspath(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free
