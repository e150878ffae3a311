"""What the three classifiers share: which products, which folds, what is predicted and recorded.

In: crawl.db and a function that trains a classifier. Out: one experiment: its row, its
predictions of products the model had never seen, and the model, written together or not at all.
Used by categorize_words.py, categorize_images.py and categorize_both.py; query what it writes with

    sqlite3 crawl.db 'select id, name, settings from experiment'
    sqlite3 crawl.db 'select * from predicted_category where experiment_id = 1 limit 5'
"""
import os
import platform
import time
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

import db
from common.arguments import add_paths, seed, whole_number
from common.files import free_space
from common.terminal import VERSION, UserError, log
from learning import (
    category_tree,
    metrics,
    model_folders,
    near_duplicates,
    predictions,
    queries,
    saved_models,
    training,
)
from learning.split import FEWEST_FOLDS, check_splits, few_folds_text, split_position, splits

CERTIFYING = .15   # place in the split from which on validation (.1 to .2) is kept for thresholds


class Products(NamedTuple):
    """The products of an experiment, n of them, and the leaves they are filed in."""
    ids: Any        # int64 [n]
    labels: Any     # int32 [n], index into leaves; -1: filed elsewhere, here by a person's word,
                    # or filed by --apply before, so that the label may be this suite's own answer
    taught: Any     # int32 [n], the same after a person's overrides, for training; -1: left out
    u: Any          # float [n], place in the split
    leaves: list    # category ids
    parents: list   # of the leaves, category ids
    near: Any = None   # near_duplicates.Clusters; None: split by group
    filed: Any = None      # bool [n], --apply filed the product before; None: it filed none
    regroupings: int = 0   # db.last_regrouping when the products were read


class Part(NamedTuple):
    """One split, as row numbers. Only labels as crawled are predicted and certified on."""
    training: Any
    tuning: Any        # the validation that early stopping and the temperature see
    certifying: Any    # the validation kept for thresholds alone; none with folds
    test: Any


class Fitted(NamedTuple):
    """A classifier as it was trained: one network, or what categorize_both.py makes of two."""
    weights: dict       # name -> array, what saved_models.save_model keeps
    steps: int          # of the weights kept
    trained_on: int     # products
    temperature: float
    scores: Any         # function: rows [m] -> logits [m, leaves]
    inputs: Any = None  # what it was trained on
    parts: tuple = ()   # the Fitted that it fuses


class Outcome(NamedTuple):
    """What an experiment found, ready to be stored."""
    predicted: list     # rows of predicted_category, of products the model had never seen
    validation: list    # rows of validation_prediction
    model: Fitted       # of the only split, or refitted on all products after folds
    models: list        # of the splits, as `slim` leaves them
    settings: dict
    summary: list       # lines to print
    parts: list = ()    # the splits


def make_products(rows, leaves, parents, near=None):
    """Products from rows (id, category id, group key, category id to train on), {leaf: parent} and
    their Clusters, whose keys take the place of group keys. Raises UserError without any."""
    if not rows:
        raise UserError("no products are filed in these categories; crawl them first")
    number = {leaf: index for index, leaf in enumerate(leaves)}
    cluster = dict(zip(near.ids, near.keys)) if near else {}
    return Products(np.array([row[0] for row in rows], np.int64),
                    np.array([number.get(row[1], -1) for row in rows], np.int32),
                    np.array([number.get(row[3], -1) for row in rows], np.int32),
                    np.array([split_position(cluster.get(row[0], row[2]))
                              for row in rows]),
                    list(leaves), [parents.get(leaf, leaf) for leaf in leaves], near)


def take_products(products, chosen):
    """The products that a bool array [n] picks."""
    return products._replace(ids=products.ids[chosen], labels=products.labels[chosen],
                             taught=products.taught[chosen], u=products.u[chosen],
                             filed=None if products.filed is None else products.filed[chosen])


def checked_splits(products, folds):
    """The Parts of an experiment. Raises UserError where they can't be used."""
    parts = []
    for split in splits(products.u, folds):
        training, validation = (rows[products.taught[rows] >= 0] for rows in split[:2])
        # u is a hash, so its order cuts validation into two halves by chance.
        kept = products.u[validation] >= (1 if folds else CERTIFYING)
        if kept.all():   # a few products: no threshold is certified on those anyway
            kept[:] = False
        certifying, test = (rows[products.labels[rows] >= 0]
                            for rows in (validation[kept], split[2]))
        parts.append(Part(training, validation[~kept], certifying, test))
    check_splits([(products.taught[part.training],
                   products.taught[np.append(part.tuning, part.certifying)],
                   products.labels[part.test]) for part in parts], products.leaves)
    return parts


def untaught(products, folds):
    """The leaves that have nothing to train on in some split."""
    return {products.leaves[i] for split in splits(products.u, folds)
            for i in np.setdiff1d(np.arange(len(products.leaves)), products.taught[split[0]])}


def certifies(group_key):
    """Whether products of this group or cluster are kept for certifying, without folds."""
    return CERTIFYING <= split_position(group_key) < .2


def network(products, inputs_for, options):
    """A function that trains one network, as `experiment` needs it.

    inputs_for(training rows) gives the Inputs of all products, so that whatever is fitted (a
    vocabulary) is fitted on training products only.
    """
    def fit(rows, validation, label, models=()):
        own = options
        if models:   # for as many epochs as they were, on the average
            epochs = np.mean([model.steps / model.trained_on for model in models])
            own = options._replace(max_steps=max(1, round(epochs * len(rows))), max_epochs=0)
        inputs = inputs_for(rows)
        model = training.train(inputs, products.taught, len(products.leaves), rows, validation, own,
                               label)
        temperature = model.temperature
        if models:
            temperature = float(np.exp(np.mean([np.log(one.temperature) for one in models])))
        return Fitted(model.weights, model.steps, len(rows), temperature,
                      lambda some: training.logits(model.weights, inputs, some), inputs)

    return fit


def experiment(products, parts, fit, look=None):
    """Train and predict one split, or each of K folds and then train a model on all products.

    fit(training rows, validation rows, label) returns a Fitted; after folds it is called once more
    with all rows, none to validate on and the list of the folds' Fitted. look(Fitted, test rows,
    their logits), where given, is called for each split. Returns an Outcome.
    """
    folds = len(parts) if len(parts) > 1 else None
    predicted, validated, models, pooled = [], [], [], {"validation": [], "test": []}
    for fold, part in enumerate(parts):
        label = f"fold {fold + 1} of {folds}" if folds else "training"
        model = scores = rows = None   # or the last bag of words would be in memory beside the next
        model = fit(part.training, part.tuning, label)
        models.append(slim(model))
        tuning = part.tuning[products.labels[part.tuning] >= 0]
        for some, certifying in ((part.test, None), (tuning, 0), (part.certifying, 1)):
            scores = model.scores(some)
            rows = predictions.prediction_rows(products, some, scores, model.temperature, fold)
            if certifying is None:
                predicted += rows
                if look:
                    look(model, some, scores)
            else:
                validated += [(*row, certifying) for row in rows]
            if not certifying:
                pooled["test" if certifying is None else "validation"].append(
                    (scores, products.labels[some], model.temperature))
    filed = np.zeros(len(products.ids), bool) if products.filed is None else products.filed
    settings = {"folds": folds, "products": len(products.ids), "categories": products.leaves,
                "training": [len(part.training) for part in parts],
                "validation": [len(part.tuning) for part in parts],
                "certifying": [len(part.certifying) for part in parts],
                "test": [len(part.test) for part in parts],
                "overridden": int(((products.taught != products.labels) & ~filed).sum()),
                "filed by --apply": int(filed.sum()), "regroupings": products.regroupings,
                "steps": [model.steps for model in models],
                "temperature": [model.temperature for model in models],
                "calibration": {name: predictions.calibration(some)
                                for name, some in pooled.items()}}
    if folds:
        everything = np.flatnonzero(products.taught >= 0)
        model = scores = rows = None
        model = fit(everything, everything[:0], "all products", models)
    return Outcome(predicted, validated, model, models, settings, summary(predicted, products),
                   parts)


def slim(model):
    """What refitting and the settings need of a Fitted, without all that is large."""
    return model._replace(inputs=None, scores=None, parts=tuple(map(slim, model.parts)),
                          weights={name: value for name, value in model.weights.items()
                                   if name == "fusion"})


def summary(predicted, products):
    parents = dict(zip(products.leaves, products.parents))
    return metrics.summary(np.array([row[2] for row in predicted]),
                           np.array([row[1] == row[3] for row in predicted]),
                           np.array([parents[row[1]] == parents[row[3]] for row in predicted]))


def choose_products(conn, args):
    """(names asked for, Products) of an experiment. Raises UserError for names that are unknown
    where nothing is filed, and where the disk is full."""
    queries.settle_proposals(conn)
    wanted = [name.strip() for name in args.categories.split(",") if name.strip()]
    leaves = [leaf["id"] for leaf in category_tree.choose_leaves(conn, wanted, args.min_products)]
    regroupings, near = db.last_regrouping(conn), None
    rows = queries.labelled_products(conn, leaves, getattr(args, "trust_filed", False))
    if rows and args.split_by == "cluster":   # whatever the categories are
        near = near_duplicates.find_clusters(queries.catalogue(conn))
        for line in near_duplicates.report_lines(near.report):
            log(line)
    parents = category_tree.parents(conn)
    products = make_products(rows, leaves, parents, near)
    if near and (poor := untaught(products, args.folds)):
        near = near_duplicates.without(near, {row[0] for row in rows if row[3] in poor})
        if near.report["parted for training"]:
            log("warning: with whole clusters of near-duplicates there would be nothing to train "
                f"on in {', '.join(sorted(poor))}: theirs are split by group, so the test flatters "
                "there")
        products = make_products(rows, leaves, parents, near)
    products = products._replace(filed=np.array([row["filed"] for row in rows], bool),
                                 regroupings=regroupings)
    check_room(args.db_path, len(products.ids))
    if args.folds and args.folds < FEWEST_FOLDS:
        log("warning: --apply will file nothing by this experiment: "
            f"{few_folds_text(args.folds)}")
    tell_left_out(queries.leaf_sizes(conn), leaves, None if wanted else args.min_products)
    if products.filed.any():
        log(f"--apply filed {products.filed.sum()} of the {len(rows)} products before they had a "
            f"category, and the shop has corrected {sum(row['corrected'] for row in rows)} of "
            "those: the model learns from all of them, but no figure and no promise rests on them "
            "(--trust-filed takes these labels as the shop's own)")
    return wanted, products


def tell_left_out(sizes, leaves, min_products):
    """Say on stderr what it means that only `leaves` take part, of sizes, {leaf: products}.
    min_products is None if the leaves were named one by one."""
    known, total = sum(sizes.get(leaf, 0) for leaf in leaves), sum(sizes.values())
    if known == total:
        return
    largest = max(size for leaf, size in sizes.items() if leaf not in leaves)
    more = max(2, min(5, largest))
    if min_products is None:
        advice = "name more of them with --categories, or train without it"
    elif largest >= more:
        advice = f"--min-products {more} takes more leaves in"
    else:
        advice = "their leaves need more products before a model can learn them"
    log(f"{len(leaves)} of {len(sizes)} leaves take part, with {known:,} of {total:,} labelled "
        f"products. The model never answers the other {total - known:,} rightly, and --apply "
        "counts such products as errors, because new products will be of such categories too; "
        + advice)


def check_room(db_path, count):
    """Raise UserError, before the training, where the disk has no room for its predictions (some
    kilobyte a product, journal included) and its model (25 MB where words are many)."""
    folder = os.path.dirname(os.path.abspath(db_path))
    need, free = 1000 * count + 25_000_000, free_space(folder)
    if need > free:
        raise UserError(f"an experiment takes up to {need / 1e6:.0f} MB and {folder} has room for "
                        f"{free / 1e6:.0f}: make room")


def experiment_name(kind, wanted):
    """The name that the 2016 scripts gave: `wanted` are the names asked for, [] for all."""
    if len(wanted) > 10:
        return f"{kind} classification of: {','.join(wanted[:5])}... ({len(wanted)} total)"
    return f"{kind} classification of: {','.join(wanted)}"


def record(conn, args, kind, wanted, products, outcome, extra):
    """Write the experiment and print its number, name and figures. `extra` is what its kind of
    model needs besides its weights: the vocabulary, the bottleneck's fingerprint."""
    name = experiment_name(kind, wanted)
    near, twins, learned = products.near, None, products.taught >= 0   # after folds: from all
    if outcome.parts:
        twins = near_duplicates.twin_columns(queries.catalogue(conn), products.ids,
                                             [part.training for part in outcome.parts],
                                             (outcome.predicted, outcome.validation))
        if not outcome.settings["folds"]:
            learned = outcome.parts[0].training
    split = {"split by": "cluster", "near-duplicates": near.report} if near else \
        {"split by": "group"}
    settings = {**outcome.settings, **run_settings(args), **split,
                **{key: value for key, value in extra.items() if key != "vocabulary"}}
    described = {"kind": kind, "categories": products.leaves, "parents": products.parents,
                 "temperature": outcome.model.temperature, **extra, "settings": settings}
    number = model_folders.save_experiment(
        conn, args.db_path, name, settings, outcome.predicted, outcome.validation,
        lambda folder: saved_models.save_model(folder, outcome.model.weights, described),
        twins, zip(near.ids, near.keys) if near else (), products.ids[learned].tolist())
    print(f"#{number}: {name}", *outcome.summary, sep="\n")


def run_settings(args):
    """What made an experiment: its arguments, seed, versions and wall time in seconds."""
    versions = {name: metadata.version(name)
                for name in ("tensorflow", "keras", "numpy", "scikit-learn")}
    asked_else = {"started", "explain", "experiment", "apply", "target", "confidence", "format",
                  "file_anyway", "dry_run"}
    return {"arguments": {name: value for name, value in sorted(vars(args).items())
                          if name not in asked_else},
            "seed": args.seed, "version": VERSION,
            "versions": {"python": platform.python_version(), **versions},
            "wall_time": round(time.monotonic() - args.started, 2)}


def add_experiment_arguments(parser):
    """The flags that all three classifiers have, and the time they started."""
    parser.set_defaults(started=time.monotonic())
    add_paths(parser, "the SQLite file that crawl.py filled", "folder of the pictures")
    parser.add_argument("--categories", default="", metavar="A,B",
                        help="leaf categories to tell apart, by id or by a leaf's own name where "
                        "only one has it (default: all with --min-products)")
    parser.add_argument("--min-products", type=whole_number(), default=1000, metavar="N",
                        help="without --categories, take the leaves with at least so many products "
                        "(default: 1000)")
    parser.add_argument("--folds", type=whole_number(3, 100), metavar="K",
                        help="predict every product once, by K models that never saw it, instead "
                        "of a tenth of them by one; the model saved is then trained on all")
    parser.add_argument("--split-by", choices=("cluster", "group"), default="cluster",
                        help="what the split keeps on one side: clusters of near-duplicates, whose "
                        "texts differ by a word or two, or only groups, which share their text or "
                        "the feed's item_group_id (default: cluster)")
    parser.add_argument("--trust-filed", action="store_true",
                        help="trust the categories that the shop's feed has now for products that "
                        "--apply filed before; without it they are only learned, and no figure "
                        "rests on them")
    parser.add_argument("--seed", type=seed, default=0, metavar="N",
                        help="of everything random; the split does not depend on it (default: 0)")
