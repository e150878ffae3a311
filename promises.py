"""What may be filed of products to come, and whether that holds of these.

In: an experiment's predictions of products that its model had never seen, and its answers for new
ones. Out: thresholds that are certified for a target, and for each shop's new products the same or
less, with the reasons in words. Numpy only; filing.py files by them, and they are listed by

    python categorize_words.py --apply 1 --target 95
    python analyze.py --models
"""
import math

import numpy as np

import db
import findings
import metrics
import shifts

OUT_OF_FOLD = "out-of-fold predictions"
STEPS = (.1, .2, .4, .6, .8)   # quantiles of labelled products' scores, to count new ones between
SURE = 3       # standard deviations by which labelled products must be right less often to refuse
ENOUGH = 200   # groups of labelled products of a shop to compare its new ones with
TWINS = 100    # groups with and without a near-duplicate in training, to look at both apart
SCORES = np.dtype([("score", "f8"), ("twin", "i1")])
# How far new products may be from those that the promise rests on, at the least that chance leaves:
# shares and means, and distances of distributions, each from 0 to 1. (The model that files has
# learned from all of them, and is a little surer than those that were measured.)
TOLERATED = {"unknown words": .05, "no picture": .05, "no description": .05, "scores": .05,
             "near-duplicates": .05, "categories": .2}


# ---- what is promised ---------------------------------------------------------------------------

def promise(conn, number, leaves, target, confidence):
    """What an experiment's model, of these leaves, may file of products to come: a dict of target,
    confidence, leaf, below, parent and alone (metrics.Thresholds, None for inf), what it rests_on,
    how many independent products that were, how many of them `strange` and how many `refiled`,
    which of these two `stopped` it (names, if nothing is promised at the leaf), the `min_products`
    of the training, and the `fewest` right ones that the target takes.

    A row is right if it says what the product's label is today. Products to come may belong to
    leaves that the model does not know, as some of the catalogue do: its answers for those are
    `strange` and count as errors, and so do rows of products that the shop has refiled elsewhere.
    """
    settings = db.settings(db.experiment(conn, number))
    folds, arguments = settings.get("folds"), settings.get("arguments")
    names, rows = findings.read_rows(conn, number, not folds, False, leaves)
    above = findings.parent_codes(names, db.parents(conn))
    found = certified(rows, above, target, confidence)
    own = rows[metrics.one_of_each(rows["group"])]
    counts = {"strange": int((own["fold"] < 0).sum()) if leaves else 0,
              "refiled": int(((own["label"] != own["learned"]) & (own["fold"] >= 0)).sum())}
    why = []
    if math.isinf(found.leaf) and any(counts.values()):
        _, learned = findings.read_rows(conn, number, not folds, False)
        why = stopped(rows, learned, counts, lambda some: certified(
            some, above, target, confidence).leaf < math.inf)
    return {"target": target, "confidence": confidence,
            **{level: None if math.isinf(one) else one for level, one in found._asdict().items()},
            "rests_on": OUT_OF_FOLD if folds else "validation kept for certifying",
            "products": len(own), **counts, "stopped": why,
            "min_products": arguments.get("min_products") if isinstance(arguments, dict)
            and not arguments.get("categories") else None,
            "fewest": metrics.fewest(target, (1 - confidence) / 2)}


def certified(rows, above, target, confidence):
    """The metrics.Thresholds of one row of each group."""
    own = rows[metrics.one_of_each(rows["group"])]
    if not len(own) or (own["parent"] < 0).any():
        return metrics.Thresholds(*[math.inf] * 4)
    return findings.certify_pair(own, above, target, confidence)


def stopped(rows, learned, counts, enough):
    """What stopped a promise at the leaf: `strange`, if enough(the rows without them), or
    `refiled`, if enough(the rows with the labels that were learned), or both; [] if neither did.
    `learned` are the rows as they were learned, without strange ones."""
    strange = rows[rows["fold"] < 0]
    if counts["strange"] and enough(rows[rows["fold"] >= 0]):
        return ["strange"]
    if counts["refiled"] and enough(np.append(learned, strange)):
        return ["refiled"]
    return ["strange", "refiled"] if all(counts.values()) and enough(learned) else []


def promise_text(promise):
    """What is promised, in words."""
    target = f"{100 * promise['target']:g} %"
    details = [promise["rests_on"]]
    if promise["strange"]:
        details.append(f"{promise['strange']} of them of other categories than the model's")
    if promise["refiled"]:
        details.append(f"{promise['refiled']} of them refiled by the shop since")
    rests = f"{promise['products']} independent products ({'; '.join(details)})"
    if promise["leaf"] is None and promise["parent"] is None:
        return (f"nothing can be promised at {target} by {rests}, so nothing is filed: "
                + ("" if promise["rests_on"] == OUT_OF_FOLD else
                   "train with --folds 10, which certifies on all products, or ")
                + "try a lower --target" + stopped_text(promise))
    levels = ", ".join(f"at the {level} " + (
        "nothing" if promise[level] is None else f"from score {promise[level]:.4f} on")
                       for level in ("leaf", "parent"))
    return (f"promised with {100 * promise['confidence']:g} % confidence: of what is filed, at "
            f"least {target} are right; {levels}"
            + " (a lower --target may give some)" * (promise["leaf"] is None)
            + f". It rests on {rests}, and holds for products like those, of their categories"
            + stopped_text(promise))


def stopped_text(promise):
    """A sentence that says what stopped the promise at the leaf, and what to do about it, to stand
    behind another; empty if it was nothing of the kind."""
    what, advice = [], []
    if "strange" in promise["stopped"]:
        low = promise["min_products"]
        what.append(f"the {promise['strange']} products of categories that the model does not know")
        advice.append("train with " + ("more --categories" if low is None else
                                       f"--min-products below {low}")
                      + ", which leaves fewer of them out")
    if "refiled" in promise["stopped"]:
        what.append(f"the {promise['refiled']} products that the shop has refiled since")
        advice.append("train again, on the categories they have now")
    if not what:
        return ""
    return (f". At the leaf it would be promised without {' and '.join(what)}, which count as "
            f"errors: {', and '.join(advice)}")


# ---- does it hold here? -------------------------------------------------------------------------

def apart(rows):
    """Whether enough of these independent rows have a near-duplicate in training, and enough have
    none, to estimate how often those and those are right."""
    return min((rows["twin"] == 1).sum(), (rows["twin"] == 0).sum()) >= TWINS


def answer_codes(leaves, steps, twins, names):
    """int [n]: a number for each answer, which is a leaf, a place in names (another number stands
    for none), how many of the STEPS its score reaches, and whether the product has a twin."""
    leaves = np.asarray(leaves)
    leaves = np.where((leaves >= 0) & (leaves < len(names)), leaves, len(names))
    return 2 * (leaves * (len(STEPS) + 1) + steps) + twins


def refused(labelled, counts, thresholds, target):
    """{level: what speaks against it, in words} for the thresholds, as `thresholds` has them, that
    let pass too many wrong products if the new ones are of such categories as explain their
    answers: of each leaf, step of STEPS and twin, counts {(leaf, step, twin): groups}.

    labelled is as labelled_rows has it. A level is refused if fewer than `target` are estimated to
    be right there and if chance makes so large a difference hardly ever. Products with and without
    a near-duplicate in training are categories of their own if there are enough of both.
    """
    names, rows, above = labelled
    rows = rows[metrics.one_of_each(rows["group"])]
    place, parted = {name: code for code, name in enumerate(names)}, apart(rows)
    new = np.zeros(answer_codes(-1, len(STEPS), 1, names) + 1)
    for (leaf, step, twin), count in counts.items():
        new[answer_codes(place.get(leaf, -1), step, int(parted and twin == 1), names)] += count
    if not len(rows) or not round(new.sum()):
        return {}
    right, _, parent_right = findings.outcomes(rows, above)
    passed = np.column_stack([rows["score"] >= thresholds["leaf"],
                              (rows["score"] < thresholds["below"])
                              & (rows["parent_score"] >= thresholds["parent"])])
    twins = (rows["twin"] == 1) & parted
    answers = answer_codes(rows["predicted"], np.digitize(rows["score"], edges(rows)), twins, names)
    found = shifts.right_in_mix(answers, 2 * rows["label"] + twins, passed,
                                np.column_stack([right, parent_right]), new)
    return {level: f"{100 * own.estimated:.1f} % of labelled ones in such a mix of categories are "
                   f"right at the {level} ({100 * own.usual:.1f} % in the usual one, and chance "
                   f"moves that by {100 * SURE * own.chance:.1f} points at most)"
            for level, own in zip(("leaf", "parent"), found)
            if own and own.estimated < min(target, own.usual - SURE * own.chance)}


def edges(rows):
    """The scores of STEPS."""
    return np.quantile(rows["score"], STEPS) if len(rows) else np.zeros(len(STEPS))


def reference(conn, number, described, source):
    """db.features of the products that the experiment's promise rests on: a shop's own where it has
    ENOUGH, else all; with the unknown words that they had while the model had not seen them."""
    table = "predicted_category" if described["settings"].get("folds") else "validation_prediction"
    found = db.features(conn, number, source, table)
    if found["groups"] < ENOUGH and source is not None:
        return reference(conn, number, described, None)
    found["scores"] = np.fromiter(found["scores"], SCORES)
    measured = described["settings"].get("unknown words")
    measured = measured.get(source or "") if isinstance(measured, dict) else None
    if isinstance(measured, list) and len(measured) == 2 and all(
            type(one) in (int, float) and 0 <= one <= 1 for one in measured):
        strange, mean, variance = found["unknown"]
        known = max(0, found["products"] - strange)
        both = np.average([[measured[0], measured[1] + measured[0] ** 2],
                           [mean, variance + mean ** 2]], axis=0, weights=[known, strange + 1e-9])
        found["unknown"] = (known + strange, float(both[0]), float(both[1] - both[0] ** 2))
    else:
        found["unknown"] = None
    found["source"] = source
    return found


def differences(old, new, kind, parted=False):
    """Lines about how `new` products differ from `old` ones, both db.features, by more than is
    TOLERATED: what a model of this kind does not look at does not count, nor that more is known.
    If `parted`, products with a near-duplicate in training are compared with such ones."""
    n, m = new["groups"], old["groups"]
    lines = []

    def check(what, shift, line):
        if shift > TOLERATED[what]:
            lines.append(line)

    def share(what, name):
        own, before = new[what], old[what]
        check(what, own > before and shifts.mean_shift(
            own, own * (1 - own), n, before, before * (1 - before), m),
              f"{100 * own:.0f} % of them have {name} ({100 * before:.0f} % there)")

    if "Text" in kind:
        if old["unknown"] and new["unknown"][1] > old["unknown"][1]:
            (_, *own), (_, *before) = new["unknown"], old["unknown"]
            check("unknown words", shifts.mean_shift(*own, n, *before, m),
                  f"the model knows {100 - 100 * own[0]:.0f} % of their words "
                  f"({100 - 100 * before[0]:.0f} % there)")
        share("no description", "no description")
    if "Image" in kind:
        share("no picture", "no picture")
    scores = np.fromiter(new["scores"], SCORES)
    twins = [float((some["twin"] == 1).mean()) if len(some) else 0. for some in (scores,
                                                                                old["scores"])]
    if not parted and twins[0] < twins[1] and (scores["twin"] >= 0).all():
        check("near-duplicates", shifts.mean_shift(twins[0], twins[0] * (1 - twins[0]), n, twins[1],
                                                   twins[1] * (1 - twins[1]), m),
              f"{100 * twins[0]:.0f} % of them have a near-duplicate among the labelled products "
              f"({100 * twins[1]:.0f} % had one among those that they were predicted from)")
    for some, before in ((scores[scores["twin"] == twin], old["scores"][old["scores"]["twin"] == twin])
                         for twin in (0, 1)) if parted else ((scores, old["scores"]),):
        shares = len(some) / max(1, len(scores)), len(before) / max(1, len(old["scores"]))
        check("scores", shifts.score_shift(some["score"], shares[0] * n, before["score"],
                                           shares[1] * m),
              f"their scores are lower (on the average {metrics.accuracy(some['score']):.2f}, "
              f"there {metrics.accuracy(before['score']):.2f})")
    check("categories", shifts.count_shift(new["categories"], n, old["categories"], m),
          "they are of other categories")
    return lines


def thresholds(promise):
    """{leaf, below, parent}: what scores have to be, as in metrics.Thresholds."""
    return {level: math.inf if promise[level] is None else promise[level]
            for level in ("leaf", "below", "parent")}


def parent_alone(promise):
    """The thresholds if nothing may be filed at leaves."""
    return {"leaf": math.inf, "below": math.inf,
            "parent": math.inf if promise["alone"] is None else promise["alone"]}


def mixed(counts, labelled, promise):
    """(thresholds, lines): those of the promise, without the levels that `refused` speaks against,
    and the reasons. If the leaf is refused, the parent's promise for all products is left."""
    own, lines = thresholds(promise), []
    against = refused(labelled, counts, own, promise["target"])
    if "leaf" in against:
        lines.append(against["leaf"])
        own = parent_alone(promise)
        against = refused(labelled, counts, own, promise["target"])
    if "parent" in against:
        lines.append(against["parent"])
        own["parent"] = math.inf
    return own, lines


def labelled_rows(conn, number, described):
    """(names, rows, parent codes) of findings of the products that the promise rests on."""
    names, rows = findings.read_rows(conn, number, not described["settings"].get("folds"), False,
                                     described["categories"])
    return names, rows, findings.parent_codes(names, db.parents(conn))


def for_source(conn, number, described, source, labelled, promise):
    """(thresholds, lines, products): what the promise comes to for a shop's new products, and why
    it is less where it is."""
    old, new = reference(conn, number, described, source), db.features(conn, number, source)
    names, rows, above = labelled
    if old["source"] is not None:
        rows = rows[np.isin(rows["product"], db.product_ids(conn, source))]
    groups = new["groups"] / max(1, new["products"])   # colours of a style are no more evidence
    counts = {answer: groups * count for answer, count in db.answer_counts(
        conn, number, source, edges(rows).tolist()).items()}
    own, lines = mixed(counts, (names, rows, above), promise)
    parted = apart(rows[metrics.one_of_each(rows["group"])])
    if different := differences(old, new, described["kind"], parted):
        own, lines = dict.fromkeys(own, math.inf), different
    return own, lines, new["products"]
