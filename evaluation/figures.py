"""What is found of experiments, as dicts for analyze.py to print or to give out as JSON.

In: the rows of crawl.db. Out: the block of the 2016 study, one experiment in full with what it
promises, several compared. Shares lie in [0, 1]; `n` is how many products one is a share of.

    python analyze.py --json
    python analyze.py --experiment 1 --json
"""
import itertools
import math

import numpy as np

import db
from common.terminal import UserError
from evaluation import certificates, queries
from learning import category_tree, metrics

TARGETS = (95, 98)   # % accuracy
ROW = np.dtype([("product", "i8"), ("group", "i8"), ("label", "i4"), ("predicted", "i4"),
                ("score", "f8"), ("label_score", "f8"), ("parent", "i4"), ("parent_score", "f8"),
                ("fold", "i4"), ("words", "i4"), ("picture", "?"), ("reviewed", "i4"),
                ("learned", "i4")])
WORDS = (0, 1, 5, 10, 20, 40, 80, 160)   # where classes of text length begin


def table(rows, kinds, number):
    """A structured array of an experiment's rows. Raises UserError where one holds text instead of
    a number: the file is anybody's to write."""
    try:
        return np.fromiter(rows, kinds)
    except (ValueError, TypeError):
        raise damaged(number) from None


def damaged(number):
    return UserError(f"rows of predicted_category for experiment {number} hold what no script "
                     f"wrote there: delete from predicted_category where experiment_id = {number}, "
                     "and run its script again")


# ---- the block --------------------------------------------------------------------------------

def block(conn, experiment):
    """The figures of the block of one experiment, a row of the table. The parent of a prediction
    is the predicted leaf's parent, with the leaf's score."""
    rows = table(queries.outcomes(conn, experiment["id"]),
                 [("score", float), ("right", bool), ("above", bool)], experiment["id"])
    found = {"experiment": experiment["id"], "name": experiment["name"] or "",
             "date": experiment["date"], "n": len(rows),
             "lines": metrics.summary_lines(rows["score"], rows["right"], rows["above"])}
    for level, hits in (("", rows["right"]), ("parent_", rows["above"])):
        found[f"{level}accuracy"] = metrics.accuracy(hits)
        for percent in TARGETS:
            found[f"{level}coverage_{percent}"] = metrics.accepted(
                rows["score"], hits, percent) / max(1, len(rows))
    return found


# ---- one experiment in full -------------------------------------------------------------------

def read_rows(conn, number, certifying=False, words=True, leaves=()):
    """(category ids, structured array ROW [n] whose categories are places in them) of
    queries.details."""
    names, rows = queries.details(conn, number, certifying, words, leaves)
    return names, table(rows, ROW, number)


def parent_codes(names, parents):
    """int [len(names) + 1]: a number for each category's parent, the category's own where it has
    none; the last, which is what -1 finds, is no category's."""
    place = {name: i for i, name in enumerate(names)}
    return np.array([place.setdefault(parents.get(name, name), len(place)) for name in names]
                    + [-2])


def share(hits, n, confidence):
    """A share as the reports show it, with Wilson's interval."""
    return {"share": hits / n if n else None, "hits": int(hits), "n": int(n),
            "interval": metrics.wilson(hits, n, confidence)}


def outcomes(rows, above):
    """(leaf is right, the predicted leaf's parent is, the most probable parent is), bool [n]."""
    known = (rows["label"] >= 0) & (rows["predicted"] >= 0)
    return (known & (rows["predicted"] == rows["label"]),
            known & (above[rows["predicted"]] == above[rows["label"]]),
            known & (rows["parent"] == above[rows["label"]]))


def certify_apart(rows, held, folds, certify):
    """(float [n, k], tuple): the thresholds that hold for each row, chosen without its fold, and
    those for products to come. certify(rows) gives k thresholds of independent rows; with folds
    the rows of the other folds serve, else the validation products `held` back for it."""
    source = rows if folds else held
    source = source[certificates.one_of_each(source["group"])]
    overall = certify(source)
    apart = np.tile(overall, (len(rows), 1))
    for fold in np.unique(rows["fold"]) if folds else ():
        apart[rows["fold"] == fold] = certify(source[source["fold"] != fold])
    # Where nothing is promised for products to come, nothing is filed here either.
    return np.where(np.isinf(overall), np.inf, apart), overall


def by_fold(rows, thresholds, folds):
    """The threshold that each fold was accepted by, None without folds."""
    return [float(thresholds[np.argmax(rows["fold"] == fold)])
            for fold in np.unique(rows["fold"])] if folds else None


def promises(rows, held, folds, above, confidence):
    """For leaf and parent at each target: coverage as the block has it, and the certified one."""
    found, delta = [], 1 - confidence
    source = rows if folds else held
    for (level, index), percent in itertools.product((("leaf", 0), ("parent", 1)), TARGETS):
        def certify(some):
            return (certificates.certify(some["score"], outcomes(some, above)[index], percent / 100,
                                         delta),)
        thresholds, (overall,) = certify_apart(rows, held, folds, certify)
        taken, right = rows["score"] >= thresholds[:, 0], outcomes(rows, above)[index]
        promise = {"level": level, "target": percent,
                   "observed": share(metrics.accepted(rows["score"], right, percent), len(rows),
                                     confidence),
                   "threshold": overall, "fold_thresholds": by_fold(rows, thresholds[:, 0], folds),
                   "coverage": share(taken.sum(), len(rows), confidence),
                   "accuracy": share((right & taken).sum(), taken.sum(), confidence)}
        if math.isinf(overall):
            independent = source[certificates.one_of_each(source["group"])]
            promise["have"] = len(independent)
            promise["fewest"] = certificates.fewest(percent / 100, delta)
            promise["needed"] = certificates.products_needed(
                independent["score"], outcomes(independent, above)[index], percent / 100, delta)
        found.append(promise)
    return found


def fallback(rows, held, folds, above, confidence):
    """For each target: what the leaf takes, what the parent takes of the rest, what is left to a
    person, with how much of it is right; None for rows of 2016, which know no parent's score."""
    if (rows["parent"] < 0).any():
        return None
    found = []
    for percent in TARGETS:
        thresholds, overall = certify_apart(
            rows, held, folds, lambda some: certify_pair(some, above, percent / 100, confidence))
        leaf_from, below, parent_from, alone = thresholds.T
        leaf = rows["score"] >= leaf_from
        if math.isinf(overall.leaf):   # nor is it in a fold where it might be
            parent_from = alone
        parent = ~leaf & (rows["score"] < below) & (rows["parent_score"] >= parent_from)
        right, _, parent_right = outcomes(rows, above)
        found.append({"target": percent, **{
            name: {"threshold": threshold, "taken": share(taken.sum(), len(rows), confidence),
                   "accuracy": share((taken & hits).sum(), taken.sum(), confidence)}
            for name, threshold, taken, hits in (
                ("leaf", overall.leaf, leaf, right),
                ("parent", overall.parent, parent, parent_right),
                ("person", None, ~leaf & ~parent, right))}})
    return found


def certify_pair(some, above, target, confidence):
    """The certificates.Thresholds of independent rows, by certificates.certify_fallback."""
    right, _, parent_right = outcomes(some, above)
    return certificates.certify_fallback(some["score"], right, some["parent_score"], parent_right,
                                         target, 1 - confidence)


def calibration(rows, right, settings):
    """NLL and ECE of the test products before and after the temperature, as far as known."""
    known = (settings.get("calibration") or {}).get("test", {})
    scored = len(rows) and (rows["label_score"] >= 0).all()
    with np.errstate(divide="ignore"):
        nll = float(-np.log(rows["label_score"]).mean()) if scored else None
    return {"before": {"nll": known.get("nll before"), "ece": known.get("ece before")},
            "after": {"nll": known.get("nll after", nll),
                      "ece": metrics.ece(np.clip(rows["score"], 0, 1), right)},
            "temperature": settings.get("temperature")}


def accuracy_by(values, right, begins, confidence):
    """Accuracy by class of `values`, classes beginning at `begins` (ascending); empty ones left
    out."""
    index = np.searchsorted(begins, values, "right") - 1
    found = []
    for i, begin in enumerate(begins):
        end = begins[i + 1] - 1 if i + 1 < len(begins) else None
        if (index == i).any():
            found.append({"from": begin, "to": end, "accuracy": share(
                right[index == i].sum(), (index == i).sum(), confidence)})
    return found


def by_category(names, rows, right, confidence):
    """Support, recall and precision of each category that is a label or a prediction."""
    count = [np.bincount(rows[field][rows[field] >= 0], minlength=len(names))
             for field in ("label", "predicted")]
    hits = np.bincount(rows["label"][right], minlength=len(names))
    return [{"category": names[i], "support": int(count[0][i]),
             "recall": share(hits[i], count[0][i], confidence),
             "precision": share(hits[i], count[1][i], confidence)}
            for i in np.flatnonzero(count[0] + count[1])]


def confusions(names, rows, right, above):
    """Pairs of categories by how often one is taken for the other, most often first."""
    wrong = rows[~right & (rows["label"] >= 0) & (rows["predicted"] >= 0)]
    pairs, count = np.unique(np.stack([wrong["label"], wrong["predicted"]], axis=1), axis=0,
                             return_counts=True)
    times = {(int(a), int(b)): int(n) for (a, b), n in zip(pairs, count)}
    both = {tuple(sorted(pair)) for pair in times}
    found = [{"categories": [names[a], names[b]], "errors": times.get((a, b), 0)
              + times.get((b, a), 0), "first_as_second": times.get((a, b), 0),
              "second_as_first": times.get((b, a), 0), "same_parent": bool(above[a] == above[b])}
             for a, b in both]
    return sorted(found, key=lambda pair: (-pair["errors"], pair["categories"]))


def shared_content(conn, number, settings, rows, right, confidence):
    """How many test products have the words or the picture file of one that the model was trained
    on, or are a near-duplicate of one (None where that isn't known), and the accuracy of those and
    of the others; None where the training set isn't known."""
    if not settings.get("categories"):
        return None
    contents = np.fromiter(queries.contents(conn, number, settings["categories"]),
                           [("product", "i8"), ("group", "i8"), ("text", "i8"),
                            ("picture", "i8")])
    if not len(contents):
        return None
    place = np.searchsorted(contents["product"], rows["product"])
    place[place == len(contents)] = 0
    here = contents["product"][place] == rows["product"]
    apart = np.isin(contents["product"], np.append(rows["product"], np.array(
        queries.tuned_products(conn, number), np.int64)))
    apart |= np.isin(contents["group"], contents["group"][apart])   # groups are never parted
    near = queries.near_trained(conn, number)
    found = {"near-duplicate": None if near is None else shared_share(
        np.isin(rows["product"], near), right, confidence)}
    for kind in ("text", "picture"):
        own = np.where(here, contents[kind][place], -1)
        shared = np.zeros(len(rows), bool)
        for fold in np.unique(rows["fold"]):
            if settings.get("folds"):
                beside = (fold + 1) % settings["folds"]
                known = own[(rows["fold"] != fold) & (rows["fold"] != beside)]
            else:
                known = contents[kind][~apart]
            mine = rows["fold"] == fold
            shared[mine] = (own[mine] >= 0) & np.isin(own[mine], known)
        found[kind] = shared_share(shared, right, confidence)
    return found


def shared_share(shared, right, confidence):
    """How many products share something, and the accuracy of those and of the others."""
    return {"shared": share(shared.sum(), len(shared), confidence),
            "accuracy_of_these": share(right[shared].sum(), shared.sum(), confidence),
            "accuracy_of_the_others": share(right[~shared].sum(), (~shared).sum(), confidence)}


def describe(conn, number, confidence):
    """All that is known of one experiment, as a dict for JSON."""
    experiment = db.experiment(conn, number)
    names, rows = read_rows(conn, number)
    if not len(rows):
        raise UserError(f"experiment {number} has no predictions; run its script again")
    _, held = read_rows(conn, number, certifying=True)
    settings = db.settings(experiment)
    folds, above = settings.get("folds"), parent_codes(names, category_tree.parents(conn))
    right, parent_right, _ = outcomes(rows, above)
    reviewed = rows["reviewed"] != rows["label"]
    after = (rows["predicted"] == rows["reviewed"]) & (rows["reviewed"] >= 0)
    return {**block(conn, experiment),
            "interval": metrics.wilson(right.sum(), len(rows), confidence),
            "parent_interval": metrics.wilson(parent_right.sum(), len(rows), confidence),
            "after_review": {"corrected": int(reviewed.sum()),
                             "accuracy": share(after.sum(), len(rows), confidence)},
            "confidence": confidence,
            "certified_on": "folds" if folds else "validation" if len(held) else None,
            "certifying_products": len(rows if folds else held),
            "coverage": promises(rows, held, folds, above, confidence),
            "fallback": fallback(rows, held, folds, above, confidence),
            "calibration": calibration(rows, right, settings),
            "aurc": metrics.aurc(rows["score"], right),
            "by_words": accuracy_by(rows["words"], right, WORDS, confidence),
            "by_picture": accuracy_by(rows["picture"], right, (0, 1), confidence),
            "shared_with_training": shared_content(conn, number, settings, rows, right, confidence),
            "categories": by_category(names, rows, right, confidence),
            "confusions": confusions(names, rows, right, above),
            "settings": settings}
