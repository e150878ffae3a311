"""The classifier by picture: a softmax on the bottlenecks of Inception v3.

In: products and the files of their pictures. Out: bottlenecks, computed where the cache lacks them,
and a function from new products to logits. categorize_images.py and categorize_both.py train by it.
"""
import os

import numpy as np

from common.files import file_sha256
from common.terminal import UserError, log
from learning import bottlenecks, inception, queries, training


def open_network(args):
    """(network, fingerprint, cache of its bottlenecks). Raises UserError where the weights can't be
    had."""
    unasked, args.weights = args.weights is None, args.weights or "imagenet"
    try:
        network, fingerprint = inception.build_network(args.weights, args.layer, args.seed,
                                                       args.precision)
    except UserError as problem:
        # Where somebody has chosen random weights before (the demo does) and asks for none now, a
        # missing network is no reason to stop: the settings and the warning below say what is used.
        if not unasked or not bottlenecks.random_before(args.bottleneck_dir):
            raise
        log(f"warning: {problem}; going on with random weights, as before in {args.bottleneck_dir}")
        args.weights = "random"
        network, fingerprint = inception.build_network(args.weights, args.layer, args.seed,
                                                       args.precision)
    if args.weights == "random":
        log("warning: with --weights random the network has learned nothing of the world, so "
            "figures by picture mean little")
    return network, fingerprint, bottlenecks.Cache(
        args.bottleneck_dir, fingerprint, network.output_shape[1], args.cache_dtype)


def cached_rows(network, cache, args, ids, pictures):
    """int [n]: the cache's row of each product of `ids`, -1 where it has no readable picture; those
    that are missing are computed first. pictures are rows (product_id, path, sha256)."""
    keys, paths = {}, {}
    for product, picture, sha256 in pictures:
        path = os.path.join(args.images_path, picture)
        try:
            key = sha256 or file_sha256(path)
        except OSError:
            continue
        keys[product] = key
        paths.setdefault(key, path)
    bottlenecks.compute(network, args.precision, cache, paths)
    return np.array([cache.rows.get(keys.get(number), -1) for number in ids])


def picture_inputs(conn, products, args):
    """(Inputs with the products' bottlenecks, what to record of them). A product without a readable
    picture has row -1; they are counted on stderr."""
    network, fingerprint, cache = open_network(args)
    rows = cached_rows(network, cache, args, products.ids.tolist(),
                       map(tuple, queries.pictures(conn, products.leaves)))
    if (rows < 0).any():
        log(f"{(rows < 0).sum()} of {len(rows)} products have no picture that can be read")
    if (rows < 0).all():
        raise UserError(f"none of these products has a picture that can be read in "
                        f"{args.images_path}; run crawl.py, name the folder with --images-path, "
                        "or use categorize_words.py")
    return (training.Inputs(bottlenecks=cache.matrix(), rows=rows),
            {"bottleneck": fingerprint, "without picture": int((rows < 0).sum())})


def picture_rows(args, described):
    """A function: rows of filing_queries.to_answer -> (bottlenecks [m, size], a row of them for each, -1
    without a picture), by the network that a saved model was trained on. Raises UserError where
    the weights are not to be had."""
    own = described["settings"].get("arguments")
    own = own if isinstance(own, dict) else {}
    for name, choices in (("layer", inception.LAYERS), ("precision", inception.PRECISIONS),
                          ("cache_dtype", ("float32", "float16"))):
        if own.get(name) in choices:
            setattr(args, name, own[name])
    if type(own.get("seed")) is int and own["seed"] >= 0:
        args.seed = own["seed"]
    if args.weights is None and isinstance(own.get("weights"), str):
        args.weights = own["weights"]
    network, fingerprint, cache = open_network(args)
    if fingerprint != described["bottleneck"]:
        raise UserError(f"experiment {args.apply} was trained on bottlenecks of other weights: "
                        "name their file with --weights")

    def find(rows):
        found = cached_rows(network, cache, args, [row["id"] for row in rows],
                            [(row["id"], row["path"], row["sha256"]) for row in rows
                             if row["path"] is not None])
        return cache.matrix(), found

    return find


def scorer(conn, args, weights, described):
    """What filing.apply needs."""
    find = picture_rows(args, described)

    def score(rows):
        matrix, found = find(rows)
        logits = training.logits(weights, training.Inputs(bottlenecks=matrix, rows=found),
                                 np.arange(len(rows)))
        nought = np.zeros(len(rows), int)
        return logits, found >= 0, nought, nought, found >= 0

    return score
