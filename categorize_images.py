"""Classify products by picture: a softmax on Inception v3 bottlenecks; write an experiment.

In: crawl.db and the pictures in images/. Out: rows of experiment, predicted_category and
validation_prediction, the folder models/experiment-N beside crawl.db, and the cache of bottlenecks,
which makes every later run a matter of seconds. Products without a readable picture are left out.

    python categorize_images.py --categories bootcut-jeans,skinny-jeans
    python categorize_images.py --min-products 50 --weights FILE --layer mixed8
"""
import argparse
import os
import time

import numpy as np

import bottlenecks
import db
import retrain
from console import UserError, log, run


def picture_inputs(conn, leaves, ids, args):
    """Inputs with the bottlenecks of the products `ids` [n] filed in these leaves, those missing
    from the cache computed first, and what to store with a model: the network's fingerprint.

    A product without a readable picture has row -1; they are counted on stderr.
    """
    network, fingerprint = bottlenecks.build_network(args.weights, args.layer, args.seed)
    if args.weights == "random":
        log("warning: with --weights random the network has learned nothing of the world, so "
            "figures by picture mean little")
    cache = bottlenecks.Cache(args.bottleneck_dir, fingerprint, network.output_shape[1])
    keys, paths = {}, {}
    for row in db.pictures(conn, leaves):
        path = os.path.join(args.images_path, row["path"])
        try:
            key = row["sha256"] or bottlenecks.file_sha256(path)
        except OSError:
            continue   # counted below
        keys[row["product_id"]] = key
        paths.setdefault(key, path)
    bottlenecks.compute(network, cache, paths)
    rows = np.array([cache.rows.get(keys.get(number), -1) for number in ids.tolist()])
    if (rows < 0).any():
        log(f"{(rows < 0).sum()} of {len(rows)} products have no picture that can be read")
    if (rows < 0).all():
        raise UserError(f"none of these products has a picture that can be read in "
                        f"{args.images_path}; run crawl.py, or name the folder with --images-path")
    return retrain.Inputs(bottlenecks=cache.matrix(), rows=rows), fingerprint


def parse(argv, text=__doc__):
    parser = argparse.ArgumentParser(description=text.split("\n\n")[0])
    retrain.add_experiment_arguments(parser)
    retrain.addargs(parser)
    args = parser.parse_args(argv)
    retrain.check_arguments(args, one_split=True)
    return args


def main(argv=None):
    args, started = parse(argv), time.monotonic()
    conn = db.open_database(args.db_path)
    wanted = retrain.wanted_names(args.categories)
    leaves = [leaf["id"] for leaf in db.choose_leaves(conn, wanted, args.min_products)]
    products = retrain.make_products(db.labelled_products(conn, leaves), leaves, db.parents(conn))
    retrain.checked_splits(products, args.folds)   # before the long work
    inputs, fingerprint = picture_inputs(conn, leaves, products.ids, args)
    seen = inputs.rows >= 0
    products = retrain.take_products(products, seen)
    inputs = inputs._replace(rows=inputs.rows[seen])
    outcome = retrain.experiment(products, retrain.checked_splits(products, args.folds),
                                 lambda rows: inputs, retrain.picture_options(args))
    extra = {"kind": "Image", "bottleneck": fingerprint}
    name = db.experiment_name("Image", wanted)
    number = db.save_experiment(
        conn, args.db_path, name,
        {**outcome.settings, **retrain.run_settings(args, started), "bottleneck": fingerprint,
         "without picture": int((~seen).sum())},
        outcome.predicted, outcome.validation,
        lambda folder: retrain.save_model(folder, outcome, products, extra))
    print(f"#{number}: {name}", *outcome.summary, sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
