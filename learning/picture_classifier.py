"""The classifier by picture: a softmax on the bottlenecks of Inception v3.

In: products and the files of their pictures. Out: bottlenecks, computed if the cache lacks them,
and a function from new products to logits. categorize_images.py and categorize_both.py train by it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.files import file_sha256
from common.terminal import UserError, counted, log
from learning import bottlenecks, inception, layers, queries
from learning.selection import Products


class PictureOptions(NamedTuple):
    """How pictures become bottlenecks."""

    images_path: str
    weights: str | None  # imagenet, random or a file; None: nobody has asked for any
    layer: str
    precision: str
    bottleneck_dir: str
    cache_dtype: str
    seed: int  # of random weights


class OpenNetwork(NamedTuple):
    """A network that is ready, and the cache of its bottlenecks."""

    network: Any  # keras.Model
    fingerprint: dict
    cache: bottlenecks.Cache
    options: PictureOptions  # with the weights that are used


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
        if options.weights or not bottlenecks.random_before(options.bottleneck_dir):
            raise
        log(
            f"warning: {problem}; going on with random weights, as before in "
            f"{options.bottleneck_dir}"
        )
        weights = "random"
        network, fingerprint = inception.build_network(
            weights, options.layer, options.seed, options.precision
        )
    if weights == "random":
        log(
            "warning: with --weights random the network has learned nothing of the world, so "
            "figures by picture mean little"
        )
    cache = bottlenecks.Cache(
        options.bottleneck_dir, fingerprint, network.output_shape[1], options.cache_dtype
    )
    return OpenNetwork(network, fingerprint, cache, options._replace(weights=weights))


def cached_rows(opened: OpenNetwork, ids: Sequence[int], pictures: Iterable[tuple]) -> np.ndarray:
    """int [n]: the cache's row of each product of `ids`, -1 if it has no readable picture; those
    that are missing are computed first. pictures are rows (product_id, path, sha256)."""
    keys: dict[int, str] = {}
    paths: dict[str, str] = {}
    for product_id, picture, sha256 in pictures:
        path = os.path.join(opened.options.images_path, picture)
        try:
            key = sha256 or file_sha256(path)
        except OSError:
            continue
        keys[product_id] = key
        paths.setdefault(key, path)
    bottlenecks.compute(opened.network, opened.options.precision, opened.cache, paths)
    return np.array([opened.cache.rows.get(keys.get(product_id, ""), -1) for product_id in ids])


def picture_inputs(
    conn: sqlite3.Connection, products: Products, options: PictureOptions
) -> tuple[layers.Inputs, dict, str]:
    """(Inputs with the products' bottlenecks, what to record of them, the weights that are used).
    A product without a readable picture has row -1; they are counted on stderr."""
    opened = open_network(options)
    rows = cached_rows(
        opened,
        products.ids.tolist(),
        map(tuple, queries.pictures(conn, products.leaves, products.rule)),
    )
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
        {"bottleneck": opened.fingerprint, "without picture": int(missing.sum())},
        opened.options.weights or "",
    )


def options_of_model(options: PictureOptions, description: dict) -> PictureOptions:
    """The options that a saved model was trained with: what its settings do not hold is taken from
    `options`, and so are the weights if somebody names some."""
    arguments = description["settings"].get("arguments")
    arguments = arguments if isinstance(arguments, dict) else {}
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


def bottleneck_finder(options: PictureOptions, description: dict) -> Callable:
    """A function: rows of filing_queries.to_answer -> (bottlenecks [m, size], a row of them for
    each, -1 without a picture), by the network that a saved model was trained on. Raises UserError
    if the weights are not to be had."""
    opened = open_network(options_of_model(options, description))
    if opened.fingerprint != description["bottleneck"]:
        raise UserError(
            "the experiment was trained on bottlenecks of other weights: name their "
            "file with --weights"
        )

    def find(rows: Sequence) -> tuple[np.ndarray, np.ndarray]:
        found = cached_rows(
            opened,
            [row["id"] for row in rows],
            [(row["id"], row["path"], row["sha256"]) for row in rows if row["path"] is not None],
        )
        return opened.cache.matrix(), found

    return find


def scorer(options: PictureOptions, weights: dict, description: dict) -> Callable:
    """A function: rows of filing_queries.to_answer -> (logits [n, leaves], whether there is
    anything to go by, words, unknown words, whether there is a picture, [n] each), by a saved
    model. filing.apply needs it."""
    find = bottleneck_finder(options, description)

    def score(rows: Sequence) -> tuple:
        matrix, picture = find(rows)
        logits = layers.logits(
            weights, layers.Inputs(bottlenecks=matrix, rows=picture), np.arange(len(rows))
        )
        no_words = np.zeros(len(rows), int)
        return logits, picture >= 0, no_words, no_words, picture >= 0

    return score
