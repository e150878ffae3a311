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
import metrics
from console import UserError

SHRINK = 10
OUT_OF_FOLD = "out-of-fold predictions"
TARGETS = (95, 98)   # % accuracy
ROW = np.dtype([("product", "i8"), ("group", "i8"), ("label", "i4"), ("predicted", "i4"),
                ("score", "f8"), ("label_score", "f8"), ("parent", "i4"), ("parent_score", "f8"),
                ("fold", "i4"), ("words", "i4"), ("picture", "?"), ("reviewed", "i4")])
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
    rows = table(db.outcomes(conn, experiment["id"]),
                 [("score", float), ("right", bool), ("above", bool)], experiment["id"])
    found = {"experiment": experiment["id"], "name": experiment["name"] or "",
             "date": experiment["date"], "n": len(rows),
             "lines": metrics.summary(rows["score"], rows["right"], rows["above"])}
    for level, hits in (("", rows["right"]), ("parent_", rows["above"])):
        found[f"{level}accuracy"] = metrics.accuracy(hits)
        for percent in TARGETS:
            found[f"{level}coverage_{percent}"] = metrics.accepted(
                rows["score"], hits, percent) / max(1, len(rows))
    return found


# ---- one experiment in full -------------------------------------------------------------------

def read_rows(conn, number, certifying=False, words=True, leaves=()):
    """(category ids, structured array ROW [n] whose categories are places in them) of
    db.details."""
    names, rows = db.details(conn, number, certifying, words, leaves)
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
    source = source[metrics.one_of_each(source["group"])]
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
            return (metrics.certify(some["score"], outcomes(some, above)[index], percent / 100,
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
            independent = source[metrics.one_of_each(source["group"])]
            promise["have"] = len(independent)
            promise["fewest"] = metrics.fewest(percent / 100, delta)
            promise["needed"] = metrics.products_needed(
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
        leaf = rows["score"] >= thresholds[:, 0]
        parent = ~leaf & (rows["parent_score"] >= thresholds[:, 1])
        right, _, parent_right = outcomes(rows, above)
        found.append({"target": percent, **{
            name: {"threshold": threshold, "taken": share(taken.sum(), len(rows), confidence),
                   "accuracy": share((taken & hits).sum(), taken.sum(), confidence)}
            for name, threshold, taken, hits in (
                ("leaf", overall[0], leaf, right), ("parent", overall[1], parent, parent_right),
                ("person", None, ~leaf & ~parent, right))}})
    return found


def certify_pair(some, above, target, confidence):
    """(leaf threshold, parent threshold) of independent rows, as metrics.certify_fallback."""
    right, _, parent_right = outcomes(some, above)
    return metrics.certify_fallback(some["score"], right, some["parent_score"], parent_right,
                                    target, 1 - confidence)


def promise(conn, number, leaves, target, confidence):
    """What an experiment's model, of these leaves, may file of products to come: a dict of target,
    confidence, leaf and parent (thresholds, None where nothing can be promised), what it rests_on,
    how many independent products that were, how many of them `strange`, and the `fewest` right ones
    that the target takes.

    Products to come may belong to leaves that the model does not know, as some of the catalogue do:
    its answers for those count, as errors.
    """
    folds = db.settings(db.experiment(conn, number)).get("folds")
    names, rows = read_rows(conn, number, not folds, False, leaves)
    own, thresholds = rows[metrics.one_of_each(rows["group"])], (math.inf, math.inf)
    if len(own) and (own["parent"] >= 0).all():
        thresholds = certify_pair(own, parent_codes(names, db.parents(conn)), target, confidence)
    leaf, parent = (None if math.isinf(one) else one for one in thresholds)
    known = np.array([name in set(leaves) for name in names] + [False])
    return {"target": target, "confidence": confidence, "leaf": leaf, "parent": parent,
            "rests_on": OUT_OF_FOLD if folds else "validation kept for certifying",
            "products": len(own), "strange": int((~known[own["label"]]).sum()),
            "fewest": metrics.fewest(target, (1 - confidence) / 2)}


def expected(names, rows, above, accepted, leaf, parent):
    """(share right of what passes the leaf's threshold, of what passes the parent's of the rest),
    None of nothing, where so many are accepted as each category: accepted is ({leaf: products},
    {parent: products}). Each category is as right as rows show it, drawn to the mean of all by as
    much as SHRINK products."""
    place = {name: code for code, name in enumerate(names)}
    right, _, parent_right = outcomes(rows, above)
    taken = rows["score"] >= leaf
    rest = ~taken & (rows["parent_score"] >= parent)
    found = []
    for some, hits, by, counts in ((taken, right, rows["predicted"], accepted[0]),
                                   (rest, parent_right, rows["parent"], accepted[1])):
        number = sum(counts.values())
        if not number or not some.any():
            found.append(None)
            continue
        seen = np.bincount(by[some], minlength=len(names))
        good = np.bincount(by[some & hits], minlength=len(names))
        share = (good + SHRINK * hits[some].mean()) / (seen + SHRINK)
        found.append(float(sum(count * (share[place[name]] if name in place else hits[some].mean())
                               for name, count in counts.items()) / number))
    return tuple(found)


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
    on, and the accuracy of those and of the others; None where the training set isn't known."""
    if not settings.get("categories"):
        return None
    contents = np.fromiter(db.contents(conn, settings["categories"]),
                           [("product", "i8"), ("group", "i8"), ("text", "i8"),
                            ("picture", "i8")])
    if not len(contents):
        return None
    place = np.searchsorted(contents["product"], rows["product"])
    place[place == len(contents)] = 0
    here = contents["product"][place] == rows["product"]
    apart = np.isin(contents["product"], np.append(rows["product"], np.array(
        db.tuned_products(conn, number), np.int64)))
    apart |= np.isin(contents["group"], contents["group"][apart])   # groups are never parted
    found = {}
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
        found[kind] = {"shared": share(shared.sum(), len(rows), confidence),
                       "accuracy_of_these": share(right[shared].sum(), shared.sum(), confidence),
                       "accuracy_of_the_others": share(right[~shared].sum(), (~shared).sum(),
                                                       confidence)}
    return found


def describe(conn, number, confidence):
    """All that is known of one experiment, as a dict for JSON."""
    experiment = db.experiment(conn, number)
    names, rows = read_rows(conn, number)
    if not len(rows):
        raise UserError(f"experiment {number} has no predictions; run its script again")
    _, held = read_rows(conn, number, certifying=True)
    settings = db.settings(experiment)
    folds, above = settings.get("folds"), parent_codes(names, db.parents(conn))
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


# ---- several experiments ----------------------------------------------------------------------

def align(found):
    """The rows of several experiments, [(names, ROW [n])], for the products that all have with one
    label: (names, [ROW [m]], how many products all have)."""
    place, tables = {}, []
    for names, rows in found:
        code = np.array([place.setdefault(name, len(place)) for name in names] + [-1])
        for field in ("label", "predicted"):
            rows[field] = code[rows[field]]
        tables.append(rows[np.unique(rows["product"], return_index=True)[1]])
    common = tables[0]["product"]
    for rows in tables[1:]:
        common = np.intersect1d(common, rows["product"])
    tables = [rows[np.isin(rows["product"], common)] for rows in tables]
    same = np.all([rows["label"] == tables[0]["label"] for rows in tables], axis=0)
    return list(place), [rows[same] for rows in tables], len(common)


def compare(conn, numbers, confidence, top):
    """Experiments on the products that all have, as a dict for JSON."""
    if len(numbers) < 2 or len(set(numbers)) < len(numbers):
        raise UserError("--compare takes two or more different experiments, such as --compare 1 2")
    chosen = [db.experiment(conn, number) for number in numbers]
    sizes = [db.count_predictions(conn, number) for number in numbers]
    names, tables, shared = align([read_rows(conn, number) for number in numbers])
    if not shared:
        raise UserError(f"experiments {', '.join(map(str, numbers))} share no test products, so "
                        "there is nothing to compare: train them on the same categories")
    if not len(tables[0]):
        raise UserError(f"experiments {', '.join(map(str, numbers))} file none of the products "
                        "they share under the same label: train them again on the catalogue "
                        "as it is")
    right = np.array([(rows["label"] >= 0) & (rows["predicted"] == rows["label"])
                      for rows in tables])
    n = len(tables[0])
    settings = [db.settings(row) for row in chosen]
    found = {"n": n, "label_differs": shared - n, "confidence": confidence, "experiments": [
        {"experiment": number, "name": row["name"] or "", "date": row["date"],
         "folds": own.get("folds"), "categories": len(own.get("categories") or ()) or None,
         "predictions": size,
         "accuracy": share(hits.sum(), n, confidence),
         "right_alone": int((hits & (right.sum(axis=0) == 1)).sum()),
         **{f"coverage_{percent}": metrics.accepted(rows["score"], hits, percent) / n
            for percent in TARGETS}}
        for number, row, own, size, rows, hits in zip(numbers, chosen, settings, sizes, tables,
                                                      right)]}
    found["same_categories"] = len({tuple(own.get("categories") or ()) for own in settings}) == 1
    found["any_right"] = share(right.any(axis=0).sum(), n, confidence)
    found["pairs"] = [compare_pair(numbers[a], numbers[b], tables[a], tables[b], right[a], right[b],
                                   confidence)
                      for a, b in itertools.combinations(range(len(numbers)), 2)]
    found["flipped"], found["flips"] = flips(conn, names, numbers, tables, right, top)
    return found


def compare_pair(first, second, a, b, right_a, right_b, confidence):
    """Exact McNemar and paired bootstrap by group of two experiments' rows of the same products."""
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    drawn = metrics.bootstrap_differences((a["score"], right_a), (b["score"], right_b), a["group"],
                                          TARGETS)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    of = [(metrics.accuracy(right_a), metrics.accuracy(right_b)),
          *((metrics.accepted(a["score"], right_a, percent) / len(a),
             metrics.accepted(b["score"], right_b, percent) / len(b)) for percent in TARGETS)]
    p, (low_accuracy, *_), (high_accuracy, *_) = metrics.mcnemar(only_a, only_b), low, high
    # McNemar takes products as independent: where the bootstrap by group sees nothing, groups
    # of many products have made the difference.
    seen = p < 1 - confidence and not low_accuracy <= 0 <= high_accuracy
    return {"experiments": [first, second], "both_right": int((right_a & right_b).sum()),
            "only_first_right": only_a, "only_second_right": only_b,
            "none_right": int((~right_a & ~right_b).sum()), "mcnemar_p": p,
            "ahead": None if not seen else first if only_a > only_b else second,
            "differences": [
                {"of": name, "second_minus_first": y - x, "interval": (float(lo), float(hi)),
                 "ahead": second if lo > 0 else first if hi < 0 else None}
                for name, (x, y), lo, hi in zip(
                    ("accuracy", *(f"coverage_{percent}" for percent in TARGETS)), of, low, high)]}


def flips(conn, names, numbers, tables, right, top):
    """(how many products some get right and others wrong, those by the highest score any gave)."""
    flipped = np.flatnonzero(right.any(axis=0) & ~right.all(axis=0))
    score = np.max([rows["score"][flipped] for rows in tables], axis=0)
    shown = flipped[np.argsort(-score, kind="stable")][:top]
    texts = db.product_texts(conn, tables[0]["product"][shown].tolist())
    found = []
    for i in shown:
        product = texts.get(int(tables[0]["product"][i]))
        found.append({"product": int(tables[0]["product"][i]),
                      "external_id": product and product["external_id"],
                      "name": product and product["name"], "label": names[tables[0]["label"][i]],
                      "answers": [{"experiment": number,
                                   "category": [*names, None][rows["predicted"][i]],
                                   "score": float(rows["score"][i]), "right": bool(hits[i])}
                                  for number, rows, hits in zip(numbers, tables, right)]})
    return len(flipped), found
