"""What a worker of a cluster does: one shard of bottlenecks.

In: the names of some pictures, and how to build the network, which a process does once. Out: a file
of shards.py. cluster.py has it run on the workers.
"""

from __future__ import annotations

import concurrent.futures
import functools
import io
import json
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import BinaryIO

import numpy as np

from common.files import replacing
from common.foreign_files import open_regular
from common.pictures import MOST_BYTES, quietly
from common.terminal import VERSION, UserError
from learning import bottlenecks, inception
from learning.shards import Recipe, file_name, to_bytes
from learning.tensorflow_loader import load_tensorflow


class Unusable(Exception):
    """What a worker lacks for any shard, in words. No other shard would go better there."""


class Unread(ValueError):
    """This computer can't read the bytes of a picture, for a reason in words. Another one may."""


@functools.lru_cache(maxsize=1)
def load(text: str, cores: int) -> tuple[Callable, int]:
    """What inception.make_forward returns, once for all commands: text is the recipe in JSON, without
    what is of one command. Raises Unusable if this computer can't compute what it asks for."""
    recipe = Recipe(**json.loads(text))
    if recipe.version != VERSION:
        raise Unusable(f"it runs version {VERSION} and this computer {recipe.version}")
    tf = load_tensorflow()
    # They can be set once in a process. Since then another worker may have come to this computer.
    threads = tf.config.threading.get_intra_op_parallelism_threads() or cores
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for device in tf.config.list_physical_devices("GPU"):  # else TensorFlow takes all its memory
        tf.config.experimental.set_memory_growth(device, True)
    try:
        network, fingerprint = inception.build_network(
            recipe.weights, recipe.layer, recipe.seed, recipe.precision
        )
    except UserError as problem:
        raise Unusable(str(problem)) from None
    if fingerprint != recipe.fingerprint:
        raise Unusable(f"the weights {recipe.weights} are other ones there")
    return inception.make_forward(network, recipe.precision, threads)


def cores_of_worker(share: int) -> int:
    """How many cores a worker may use that shares its computer with `share` - 1 others. The limits
    of a container and of a batch system count."""
    from dask.system import CPU_COUNT

    return max(1, CPU_COUNT // share)


def compute_shard(
    recipe_text: str, share: int, names: bytes, data: Sequence[bytes] | None = None
) -> bytes | None:
    """Compute a shard on a worker that shares its computer with `share` - 1 others.

    names: the pictures as JSON [[key, path], ...], compressed by zlib; data: their bytes, if they
    were sent. Returns None if the shard is in its folder now, or else, if this computer does not
    see that folder or may not write there, the bytes of the file. Raises Unusable.
    """
    recipe = Recipe(**json.loads(recipe_text))
    lasting = json.dumps(recipe._replace(folder="", token="")._asdict())
    function, threads = load(lasting, cores_of_worker(share))
    pictures = [(key, path) for key, path in json.loads(zlib.decompress(names))]
    sent = dict(zip((key for key, _ in pictures), data)) if data is not None else None
    is_shared = os.path.exists(os.path.join(recipe.folder, recipe.token))
    path = os.path.join(recipe.folder, file_name(recipe, [key for key, _ in pictures]))
    if is_shared and os.path.exists(path):  # another worker has done it
        return None
    keys, rows, bad, unread = computed(pictures, sent, function, threads, recipe)
    whole = to_bytes(recipe, keys, rows, bad, unread)
    if not is_shared or unread:  # of another worker, a better file may lie there
        return whole
    try:
        with replacing(path) as beside, open(beside, "wb") as file:
            file.write(whole)
    except OSError:  # the folder is one to read only, for example
        return whole
    return None


def computed(
    pictures: Sequence[tuple[str, str]],
    sent: dict[str, bytes] | None,
    function: Callable,
    threads: int,
    recipe: Recipe,
) -> tuple[list[str], np.ndarray, dict[str, str], dict[str, str]]:
    """(keys, their rows, {key: reason of those that are no good}, {key: reason of those that this
    computer can't read}) of [(key, path)]."""
    unread: dict[str, str] = {}

    def read(key: str, path: str) -> np.ndarray:
        try:
            data = sent[key] if sent is not None else read_bytes(path)
            return bottlenecks.decode_picture(io.BytesIO(data), sha256=key)
        except ValueError as problem:
            # Another computer may have a copy that is not cut, or not an old one.
            is_other = sent is None and str(problem) == bottlenecks.OTHER_FILE
            if isinstance(problem, Unread) or is_other:
                unread[key] = str(problem)
            raise

    batches = [
        list(pictures[start : start + inception.BATCH])
        for start in range(0, len(pictures), inception.BATCH)
    ]
    keys, bad = [], {}
    rows: list[np.ndarray] = [np.zeros((0, recipe.size), recipe.dtype)]
    with quietly(), concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for batch_keys, batch_rows, batch_bad in pool.map(
            lambda batch: bottlenecks.compute_batch(function, batch, read, np.dtype(recipe.dtype)),
            batches,
        ):
            keys += batch_keys
            if batch_rows is not None:
                rows.append(batch_rows)
            bad.update({key: batch_bad[key] for key in batch_bad.keys() - unread.keys()})
    return keys, np.concatenate(rows), bad, unread


def read_bytes(picture: str) -> bytes:
    """The bytes of a picture by its path, or by a URL that fsspec knows, up to one more than a
    picture may have. Raises Unread and Unusable."""
    try:
        with opened(picture) as file:
            return file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise Unread(bottlenecks.MISSING) from None
    except Unusable:
        raise
    except Exception as error:  # the libraries of fsspec raise whatever comes up
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unread(reason[:120]) from None


def opened(picture: str) -> BinaryIO:
    """A picture that can be read, wherever it lies."""
    if "://" not in picture:
        return open_regular(picture, sys.maxsize, follow=True)  # a pipe would never end
    try:
        import fsspec

        return fsspec.open(picture, "rb").open()
    except ImportError as error:  # of fsspec's own for this kind of storage, such as s3fs
        raise Unusable(str(error)) from None
