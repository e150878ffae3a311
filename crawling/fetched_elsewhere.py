"""Pictures that img2dataset has fetched, on a cluster or on this machine.

In: the folder that it wrote: folders 00000, 00001, ... of files, or 00000.tar, ... with the same
members. Each picture has a JSON file of the same name that says its URL. Out: for each picture its
URL, and where its bytes lie. Nothing here is trusted: files may be anybody's, or cut.

    python crawl.py --feed products.tsv --adopt-images fetched
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from common.foreign_files import open_regular, parse_json
from common.terminal import UserError

SUFFIXES = (".jpg", ".png", ".webp")  # that img2dataset gives to pictures, whatever they are
MOST_JSON = 1_000_000  # bytes of a picture's JSON, which holds its EXIF data too
MOST_HEADER = 1_000_000  # bytes of one header in a tar: a URL or a long name needs a few hundred
# What may be wrong with a file, before its name.
NO_PICTURE = "there is no picture beside"
NO_JSON = "there is no JSON file beside"
NO_URL = "there is no url of a picture in"

Tell = Callable[[str, object], None]  # of terminal.grouped: a reason, and what it is about


class Fetched(NamedTuple):
    """A picture that lies there, and is not checked yet."""

    url: str
    sha256: str | None  # of what the host gave, if the tool has noted it
    path: str  # of the file, or of the tar
    part: tuple[int, int] | None  # where it lies in a tar: its first byte, and how many there are


class Headers(io.BufferedReader):
    """A tar, of which no header takes more memory than MOST_HEADER."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MOST_HEADER:
            raise tarfile.ReadError("a header is too long")
        return super().read(size)


def check_folder(folder: str) -> None:
    """Raise UserError, before the long work, if nothing in the folder can be adopted."""
    if next(pictures(folder, lambda reason, name: None, threading.Event()), None) is None:
        raise UserError(
            f"--adopt-images {folder} holds no picture beside a JSON file with its url: name the "
            "folder that img2dataset has written, with output_format files or webdataset"
        )


def pictures(folder: str, tell: Tell, stop: threading.Event) -> Iterator[Fetched]:
    """Yield the pictures of all folders and tars in a folder, by their names. What can't be read is
    left out, and given to `tell`: the reason is the beginning of a sentence that ends with names.
    Ends early if `stop` is set."""
    with os.scandir(folder) as entries:
        shards = sorted(entries, key=lambda entry: entry.name)
    for shard in shards:
        try:
            if shard.is_dir():
                yield from in_folder(shard.path, tell, stop)
            elif shard.name.endswith(".tar"):
                yield from in_tar(shard.path, tell, stop)
        except Exception as error:  # tarfile raises anything
            reason = error.strerror if isinstance(error, OSError) else str(error)
            tell(f"there is a part that can't be read ({reason}) in", shard.name)


def in_folder(folder: str, tell: Tell, stop: threading.Event) -> Iterator[Fetched]:
    for base in sorted(
        os.listdir(folder)
    ):  # 10,000 pictures, unless img2dataset was told otherwise
        if stop.is_set():
            return
        stem, suffix = os.path.splitext(os.path.join(folder, base))
        name = os.path.join(os.path.basename(folder), base)
        if suffix in SUFFIXES and not os.path.lexists(stem + ".json"):
            tell(NO_JSON, name)
        if suffix != ".json":
            continue
        paths = filter(os.path.lexists, (stem + ending for ending in SUFFIXES))
        path = next(paths, None)
        if path is None:
            tell(NO_PICTURE, name)
            continue
        try:
            with open_regular(stem + suffix, MOST_JSON) as file:
                url, sha256 = described(file.read())
        except (OSError, ValueError, RecursionError):
            tell(NO_URL, name)
            continue
        yield Fetched(url, sha256, path, None)


def in_tar(path: str, tell: Tell, stop: threading.Event) -> Iterator[Fetched]:
    """As in_folder. The members of one picture stand one behind the other, in any order."""
    with open_regular(path, sys.maxsize) as file, Headers(file.raw) as headers:  # type: ignore[attr-defined]
        tar = tarfile.open(fileobj=headers, mode="r:")
        before, part, about = "", None, None
        alone = None  # (what it lacks, name) of a member whose other half has not come yet
        while member := tar.next():
            if stop.is_set():
                return
            tar.members.clear()  # type: ignore[attr-defined]  # otherwise it would hold all of them
            if member.size < 0:  # tarfile would come back to it for ever
                raise tarfile.ReadError("a size is below zero")
            stem, suffix = os.path.splitext(member.name)
            name = f"{os.path.basename(path)}/{member.name}"
            if stem != before:
                if alone:
                    tell(*alone)
                before, part, about, alone = stem, None, None, None
            if member.isreg() and suffix in SUFFIXES:
                part, alone = (member.offset_data, member.size), alone or (NO_JSON, name)
            elif member.isreg() and suffix == ".json":
                alone = (NO_PICTURE, name)
                headers.seek(member.offset_data)
                try:
                    about = described(headers.read(min(member.size, MOST_JSON)))
                except (ValueError, RecursionError):
                    alone = (NO_URL, name)
            if part and about:
                yield Fetched(*about, path, part)
                part, alone = None, None
        headers.seek(tar.offset)
        end = headers.read(tarfile.BLOCKSIZE)
        if end != bytes(tarfile.BLOCKSIZE):  # tarfile takes it for an end
            raise tarfile.ReadError("it is cut, or damaged")
        if alone:
            tell(*alone)


def described(data: bytes) -> tuple[str, str | None]:
    """The (url, sha256 or None) that the JSON of a picture says. Raises ValueError if it says no
    url, and RecursionError."""
    about: Any = parse_json(data)
    url = about.get("url") if isinstance(about, dict) else None
    if not isinstance(url, str) or not url:
        raise ValueError("no url")
    url.encode()  # half a character, which JSON can hold, raises an error
    sha256 = about.get("sha256")
    return url, sha256 if isinstance(sha256, str) else None
