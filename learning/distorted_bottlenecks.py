"""Distorted training pictures -> bottlenecks, drawn anew in each epoch.

In: pictures, and how chance may distort them. Out: a function for learning.training, which gives
the bottlenecks of a batch. Each distorted picture passes the network once, and is kept.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.terminal import UserError, log
from learning import bottlenecks, inception
from learning.bottleneck_cache import LOOKED_UP, Cache, in_batches, open_cache
from learning.picture_folders import Picture


class DistortionOptions(NamedTuple):
    """How pictures are distorted, and how the training asks for them."""

    distortions: bottlenecks.Distortions
    folder: str  # of the cache
    cache_dtype: str | None  # float32 or float16, as in open_cache
    precision: str  # of the network
    seed: int
    steps: int  # of the training
    batch_size: int  # pictures a step


def variant(sha256: str, epoch: int, seed: int) -> str:
    """The key of a picture as chance distorts it in an epoch, from which that chance is drawn too.
    It depends only on the picture's content, the epoch and the seed."""
    return hashlib.sha256(f"{sha256} {epoch} {seed}".encode()).hexdigest()


def distorted_bottlenecks(
    options: DistortionOptions,
    pictures: Sequence[Picture],
    training: Iterable[int],
    network: Any,
    fingerprint: dict[str, Any],
) -> Callable[[Any, int], NDArray[Any]]:
    """A function (rows of pictures, epoch) -> bottlenecks [n, size] of these pictures as chance
    distorts them in that epoch. `training` are the rows that will be asked for; network and
    fingerprint are what inception.build_network returns.

    They have a cache of their own, so that an interrupted run goes on where it was. Logs what the
    training will cost. Raises UserError if the disk has no room for it.
    """
    described = {**fingerprint, **options.distortions._asdict(), "seed": options.seed}
    cache = open_cache(options.folder, described, network.output_shape[1], options.cache_dtype)
    cache.drop_damaged(cache.keys())
    forward = inception.make_forward(network, options.precision)
    log_cost(
        options,
        cache,
        bottlenecks.measure_rate(forward),
        [pictures[row].sha256 for row in training],
    )

    def read(key: str, path: str) -> NDArray[Any]:
        rng = np.random.default_rng(int(key, 16))
        return bottlenecks.read_picture(path, options.distortions, rng)

    def bottlenecks_in(rows: Any, epoch: int) -> NDArray[Any]:
        keys = [variant(pictures[row].sha256, epoch, options.seed) for row in rows]
        there = cache.find(keys) >= 0
        missing = {
            key: pictures[row].path for key, row, known in zip(keys, rows, there) if not known
        }
        for key, reason in bottlenecks.fill(cache, missing.items(), forward, read).items():
            raise UserError(f"{missing[key]} could be read before and can't now ({reason})")
        return cache.matrix()[cache.find(keys)]

    return bottlenecks_in


def log_cost(
    options: DistortionOptions, cache: Cache, per_second: float, digests: Sequence[str]
) -> None:
    """Log what training on distortions of the pictures with these SHA-256 digests will cost at so
    many pictures a second. Raises UserError if the disk has no room for it."""
    steps, batch = options.steps, min(options.batch_size, len(digests))
    epochs = math.ceil(steps / math.ceil(len(digests) / batch))
    cached = 0
    for epoch in range(epochs):  # they were computed in this order
        keys = (variant(sha256, epoch, options.seed) for sha256 in digests)
        cached_of_epoch = sum(
            int((cache.find(batch) >= 0).sum()) for batch in in_batches(keys, LOOKED_UP)
        )
        if not cached_of_epoch:
            break
        cached += cached_of_epoch
    left = max(0, steps * batch - cached)
    log(
        f"distortions: each step looks at {batch} pictures anew, at most {steps * batch} in "
        f"{steps} steps, of which {steps * batch - left} are in {options.folder} already; the "
        f"others take up to {math.ceil(left / per_second / 60)} min at {per_second:.0f} pictures/s "
        f"and {left * cache.row_bytes / 1e9:.2f} GB there; stopped, the same command goes on"
    )
    cache.check_space(left)
