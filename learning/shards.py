"""Shards of bottlenecks: the files that workers of a cluster leave, and how the cache takes them in.

In: the rows of some pictures, or a folder of shards. Out: a file, or rows in the cache. A file's
first line is JSON that says what it was computed from; the rows lie behind it. It appears whole or
not at all, and its name is a digest of what it was computed from, so that a worker that everybody
thought dead does no harm with it. cluster_worker.py writes them, and cluster.py adopts them.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import socket
import zlib
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.files import sweep
from common.foreign_files import open_regular, parse_json
from common.terminal import VERSION, counted, grouped, log
from learning.bottleneck_cache import Cache
from learning.tensorflow_loader import load_tensorflow

ENDING = ".shard"
TOKEN = "here-"  # begins the name of the file by which a worker sees that it has the same folder
BLOCK = 4096  # bytes: rows begin at a multiple, so that a file system can share them with the cache
MOST_PICTURES = 2_000  # in a shard: half a minute of one core
MOST_HEADER = 2_000_000  # bytes of the first line: 80 for each picture, and 800 for a long reason


class Recipe(NamedTuple):
    """What a worker needs to know to compute what this computer would."""

    version: str  # of this suite
    weights: str  # imagenet, random or a file
    layer: str
    seed: int
    precision: str
    fingerprint: dict
    size: int  # of a bottleneck
    dtype: str
    folder: str  # where shards are kept
    token: str  # the name of a file there, by which a worker sees that it is the same folder


class Shard(NamedTuple):
    """The first line of a shard's file, and where its rows begin."""

    keys: list[str]  # SHA-256 of n pictures
    sums: list[int]  # CRC-32 of their rows
    bad: dict[str, str]  # {SHA-256: why it has no row}
    unread: dict[
        str, str
    ]  # {SHA-256: why the worker could not read it, and another one perhaps can}
    processor: str  # and the computer are those of the worker
    computer: str
    offset: int  # bytes


def recipe(cache: Cache, fingerprint: dict, weights: str, seed: int, layer: str) -> Recipe:
    """The recipe of a cache's bottlenecks: weights is imagenet, random or a file. There is no token
    yet."""
    if weights not in ("imagenet", "random"):
        weights = os.path.abspath(weights)
    return Recipe(
        VERSION,
        weights,
        layer,
        seed,
        fingerprint["precision"],
        fingerprint,
        cache.size,
        cache.dtype.name,
        os.path.abspath(f"{cache.data_path}.shards"),
        "",
    )


# ---- the file -----------------------------------------------------------------------------------


def described(recipe: Recipe) -> dict[str, Any]:
    """What rows of a recipe are rows of."""
    return {"fingerprint": recipe.fingerprint, "size": recipe.size, "dtype": recipe.dtype}


def file_name(recipe: Recipe, keys: Sequence[str]) -> str:
    """The name of the shard of these pictures."""
    text = json.dumps([described(recipe), list(keys)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32] + ENDING


def to_bytes(
    recipe: Recipe, keys: list[str], rows: np.ndarray, bad: dict[str, str], unread: dict[str, str]
) -> bytes:
    """A shard's file, from rows [n, size] in the dtype of the recipe."""
    header = {
        **described(recipe),
        "keys": keys,
        "sums": [zlib.crc32(row) for row in rows],
        "bad": bad,
        "unread": unread,
        "processor": processor(),
        "tensorflow": load_tensorflow().__version__,
        "computer": socket.gethostname(),
    }
    line = json.dumps(header).encode()
    line += b" " * (-(len(line) + 1) % BLOCK) + b"\n"
    return line + rows.tobytes()


def read_shard(path: str, recipe: Recipe) -> Shard:
    """What a shard's file says of itself. Raises OSError if it can't be read, and ValueError if it
    is damaged or of another network. The sums of its rows are not compared yet."""
    row_bytes = recipe.size * np.dtype(recipe.dtype).itemsize
    with open_regular(path, MOST_HEADER + MOST_PICTURES * row_bytes) as file:
        line = file.readline(MOST_HEADER)
        length = os.fstat(file.fileno()).st_size
    try:
        header = parse_json(line)
    except RecursionError:
        raise ValueError("its first line is too deep") from None
    if not isinstance(header, dict) or any(
        header.get(name) != value for name, value in described(recipe).items()
    ):
        raise ValueError("it is of another network")
    header = {"unread": {}, **header}  # of the version before
    fields: dict[str, Any] = {name: header.get(name) for name in Shard._fields}
    shard = Shard(**{**fields, "offset": len(line)})
    if (
        not isinstance(shard.keys, list)
        or not isinstance(shard.sums, list)
        or not all(is_key(key) for key in shard.keys)
        or not all(type(number) is int for number in shard.sums)
        or len(shard.keys) != len(shard.sums)
        or len(line) + len(shard.keys) * row_bytes != length
        or not is_reasons(shard.bad)
        or not is_reasons(shard.unread)
        or not isinstance(shard.processor, str)
        or not isinstance(shard.computer, str)
    ):
        raise ValueError("it is cut or damaged")
    return shard


def is_key(value: object) -> bool:
    """Whether a value is a SHA-256 in hex."""
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")


def is_reasons(value: object) -> bool:
    """Whether a value is {SHA-256 in hex: reason}."""
    return isinstance(value, dict) and all(
        is_key(key) and isinstance(text, str) for key, text in value.items()
    )


def processor() -> str:
    """The name of this computer's processor, as Linux gives it, or else nothing."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""


# ---- shards that lie there ----------------------------------------------------------------------


def adopt_all(cache: Cache, recipe: Recipe) -> None:
    """Bring all shards of a recipe that lie in its folder into the cache, and remove them. What is
    damaged there is removed too, and reported, and so is what killed processes have left. Raises
    OSError if the cache can't be written."""
    if not os.path.isdir(recipe.folder) or os.path.islink(recipe.folder):
        return
    for pattern in (f"*{ENDING}.*.tmp", f"{TOKEN}*"):
        sweep(os.path.join(glob.escape(recipe.folder), pattern))
    before = cache.count
    with grouped(lambda count, names, reason: f"{names} can't be used ({reason})") as tell:
        for name in sorted(os.listdir(recipe.folder)):
            if name.endswith(ENDING):
                path = os.path.join(recipe.folder, name)
                try:
                    adopt(cache, recipe, path)
                except ValueError as problem:
                    tell(str(problem), path)
                except FileNotFoundError:  # another command was here
                    pass
                except OSError as error:
                    if error.filename not in (path, None):  # of the cache
                        raise
                    tell(f"{error.strerror}: remove it", path)
    if cache.count > before:
        number = counted(cache.count - before, "bottleneck")
        log(f"{number} that workers had left in {recipe.folder}: used")


def adopt(cache: Cache, recipe: Recipe, path: str, wanted: Collection[str] | None = None) -> Shard:
    """Bring one shard into the cache, and remove its file. Raises OSError if it can't be read, and
    ValueError, and removes it too, if it can't be used: it is damaged, or of other pictures than
    the `wanted` keys."""
    try:
        shard = read_shard(path, recipe)
        if wanted is not None and sorted([*shard.keys, *shard.bad, *shard.unread]) != sorted(
            wanted
        ):
            raise ValueError("it is of other pictures")
        cache.adopt(shard.keys, path, shard.offset, shard.sums)
    except ValueError:
        remove(path)
        raise
    remove(path)
    return shard


def remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(path)
