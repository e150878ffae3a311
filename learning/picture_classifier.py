"""The classifier by picture: a softmax on the bottlenecks of Inception v3.

In: products and the files of their pictures. Out: bottlenecks, computed if the cache lacks them,
and a function from new products to logits. categorize_images.py and categorize_both.py train by it.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.files import file_sha256
from common.terminal import UserError, counted, log
from learning import (
    bottlenecks,
    cluster,
    cluster_address,
    inception,
    layers,
    precision,
    queries,
    shards,
)
from learning.bottleneck_cache import LOOKED_UP, Cache, in_batches, open_cache, random_before
from learning.selection import Products

DIGEST = re.compile("[0-9a-f]{64}")  # a SHA-256
# A function: (product_id, path, SHA-256 or None) of pictures, always the same ones in the same order.
Pictures = Callable[[], Iterable[tuple[int, str, str | None]]]


class PictureOptions(NamedTuple):
    """How pictures become bottlenecks."""

    images_path: str
    weights: str | None  # imagenet, random or a file; None: nobody has asked for any
    layer: str
    precision: str
    bottleneck_dir: str
    cache_dtype: str | None  # None: nobody has asked for one
    seed: int  # of random weights
    cluster: cluster_address.Options | None = None  # whose workers compute them


class OpenNetwork(NamedTuple):
    """A network that is ready, and the cache of its bottlenecks."""

    network: Any  # keras.Model
    fingerprint: dict
    cache: Cache
    options: PictureOptions  # with the weights that are used
    elsewhere: bottlenecks.Filler | None  # computes on a cluster


def open_network(options: PictureOptions) -> OpenNetwork:
    """The network that is asked for. Raises UserError if the weights can't be had."""
    weights = options.weights or "imagenet"
    try:
        network, fingerprint = inception.build_network(
            weights, options.layer, options.seed, options.precision
        )
    except UserError as problem:
        # If somebody has chosen random weights before (the demo does) and asks for none now, a
        # missing network is no reason to stop: the settings and the warning below say what is used.
        if options.weights or not random_before(options.bottleneck_dir):
            raise
        log(
            f"warning: {problem}; going on with random weights, as before in "
            f"{options.bottleneck_dir}"
        )
        weights = "random"
        network, fingerprint = inception.build_network(
            weights, options.layer, options.seed, options.precision
        )
    chosen = precision.settled(options.precision, options.layer, options.bottleneck_dir, network)
    fingerprint["precision"] = chosen
    if weights == "random":
        log(
            "warning: with --weights random the network has learned nothing of the world, so "
            "figures by picture mean little"
        )
    cache = open_cache(
        options.bottleneck_dir, fingerprint, network.output_shape[1], options.cache_dtype
    )
    options = options._replace(weights=weights, precision=chosen)
    recipe = shards.recipe(cache, fingerprint, weights, options.seed, options.layer)
    shards.adopt_all(cache, recipe)
    return OpenNetwork(
        network, fingerprint, cache, options, cluster.filler(options.cluster, recipe)
    )


def keyed(
    opened: OpenNetwork, pictures: Pictures, bad: Container[str] = ()
) -> Callable[[], Iterator[tuple[int, str, str]]]:
    """A function that yields (product_id, key, path) of each picture that has a file, always in the
    same order, without those whose keys are known to be bad."""
    computed: dict[int, str | None] = {}  # if crawl.db has no SHA-256 of a file, or a damaged one

    def with_keys() -> Iterator[tuple[int, str, str]]:
        for product_id, picture, sha256 in pictures():
            path = os.path.join(opened.options.images_path, picture)
            if not DIGEST.fullmatch(str(sha256)):
                if product_id not in computed:
                    computed[product_id] = digest_if_there(path)
                sha256 = computed[product_id]
            if sha256 and sha256 not in bad:
                yield product_id, sha256, path

    return with_keys


def compute(
    opened: OpenNetwork, pictures: Callable[[], Iterator[tuple[int, str, str]]]
) -> dict[str, str]:
    """Bring the pictures of `keyed` into the cache. Returns {key: reason} of those that can't be
    read."""
    return bottlenecks.compute(
        opened.network,
        opened.options.precision,
        opened.cache,
        lambda: ((key, path) for _, key, path in pictures()),
        opened.elsewhere,
    )


def cached_rows(
    opened: OpenNetwork,
    ids: Sequence[int] | NDArray[Any],
    pictures: Pictures,
    bad: Container[str] = (),
) -> NDArray[np.int64]:
    """int64 [n]: the cache's row of each product of `ids`, -1 if it has no readable picture; those
    that are missing are computed first, but those whose keys are known to be bad."""
    with_keys = keyed(opened, pictures, bad)
    compute(opened, with_keys)
    of_products = np.asarray(ids, np.int64)
    order = np.argsort(of_products)
    rows = np.full(len(of_products), -1)
    for batch in in_batches(with_keys(), LOOKED_UP):
        pictured = np.array([product_id for product_id, _, _ in batch])
        place = np.searchsorted(of_products, pictured, sorter=order)
        asked = order[np.minimum(place, len(order) - 1)]
        found = opened.cache.find([key for _, key, _ in batch])
        same = of_products[asked] == pictured
        rows[asked[same]] = found[same]
    return rows


def digest_if_there(path: str) -> str | None:
    """The SHA-256 of a file in hex, None if it can't be read."""
    try:
        return file_sha256(path)
    except OSError:
        return None


def picture_inputs(
    conn: sqlite3.Connection, products: Products, options: PictureOptions
) -> tuple[layers.Inputs, dict, str]:
    """(Inputs with the products' bottlenecks, what to record of them, the weights that are used).
    A product without a readable picture has row -1; they are counted on stderr."""
    opened = open_network(options)
    rows = cached_rows(opened, products.ids, lambda: queries.pictures(conn, np.sort(products.ids)))
    missing = rows < 0
    if missing.any():
        of_all = f"of {len(rows):,} products"
        have = counted(int(missing.sum()), f"{of_all} has", f"{of_all} have")
        log(f"{have} no picture that can be read")
    if missing.all():
        raise UserError(
            f"none of these products has a picture that can be read in "
            f"{options.images_path}; run crawl.py, name the folder with --images-path, "
            "or use categorize_words.py"
        )
    return (
        layers.Inputs(bottlenecks=opened.cache.matrix(), rows=rows),
        {
            "bottleneck": opened.fingerprint,
            "cache dtype": opened.cache.dtype.name,
            "without picture": int(missing.sum()),
        },
        opened.options.weights or "",
    )


def options_of_model(options: PictureOptions, description: dict) -> PictureOptions:
    """The options that a saved model was trained with: what its settings do not hold is taken from
    `options`, and so are the weights if somebody names some."""
    arguments = description["settings"].get("arguments")
    arguments = dict(arguments) if isinstance(arguments, dict) else {}
    if "cache dtype" in description:  # that was used, if nobody asked for one
        arguments["cache_dtype"] = description["cache dtype"]
    used = description.get("bottleneck")
    if arguments.get("precision") == precision.AUTO and isinstance(used, dict):
        arguments["precision"] = used.get("precision")
    for name, choices in (
        ("layer", inception.LAYERS),
        ("precision", inception.PRECISIONS),
        ("cache_dtype", ("float32", "float16")),
    ):
        if arguments.get(name) in choices:
            options = options._replace(**{name: arguments[name]})
    if type(arguments.get("seed")) is int and arguments["seed"] >= 0:
        options = options._replace(seed=arguments["seed"])
    if options.weights is None and isinstance(arguments.get("weights"), str):
        options = options._replace(weights=arguments["weights"])
    return options


def check_folder(opened: OpenNetwork, pictures: Pictures) -> None:
    """Raise UserError if a bottleneck of these pictures is still to be computed, and no picture is
    there: that is another folder, and answers without pictures would be kept."""
    folder, number = opened.options.images_path, 0
    if "://" in folder:
        return
    for batch in in_batches(iter(pictures()), LOOKED_UP):
        known = [str(sha256) for *_, sha256 in batch if DIGEST.fullmatch(str(sha256))]
        number += len(batch) - int((opened.cache.find(known) >= 0).sum())
        if any(os.path.exists(os.path.join(folder, picture)) for _, picture, _ in batch):
            return
    if number:
        raise UserError(
            f"none of the pictures of the products that wait is in {folder}: name their folder "
            "with --images-path"
        )


def bottleneck_finder(options: PictureOptions, description: dict, waiting: Pictures) -> Callable:
    """A function: rows of filing_queries.to_answer -> (bottlenecks [m, size], a row of them for
    each, -1 without a picture), by the network that a saved model was trained on. On a cluster all
    that are `waiting` are computed at once, before the first is answered. Raises UserError if the
    weights are not to be had, or if the pictures are in another folder."""
    opened = open_network(options_of_model(options, description))
    if opened.fingerprint != description["bottleneck"]:
        raise UserError(
            "the experiment was trained on bottlenecks of other weights: name their "
            "file with --weights"
        )
    check_folder(opened, waiting)
    bad = compute(opened, keyed(opened, waiting)) if options.cluster else {}

    def find(rows: Sequence) -> tuple[np.ndarray, np.ndarray]:
        found = cached_rows(
            opened,
            [row["id"] for row in rows],
            lambda: (
                (row["id"], row["path"], row["sha256"]) for row in rows if row["path"] is not None
            ),
            bad,
        )
        return opened.cache.matrix(), found

    return find


def scorer(
    options: PictureOptions, weights: dict, description: dict, waiting: Pictures
) -> Callable:
    """A function: rows of filing_queries.to_answer -> (logits [n, leaves], whether there is
    anything to go by, words, unknown words, whether there is a picture, [n] each), by a saved
    model. `waiting` are the pictures of all that will be asked for. filing.apply needs it."""
    find = bottleneck_finder(options, description, waiting)

    def score(rows: Sequence) -> tuple:
        matrix, picture = find(rows)
        logits = layers.logits(
            weights, layers.Inputs(bottlenecks=matrix, rows=picture), np.arange(len(rows))
        )
        no_words = np.zeros(len(rows), int)
        return logits, picture >= 0, no_words, no_words, picture >= 0

    return score
