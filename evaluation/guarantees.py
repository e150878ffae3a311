"""What may be filed of products to come, and whether that holds of these.

In: an experiment's predictions of products that its model had never seen, and its answers for new
ones. Out: thresholds that are certified for a target, and for each shop's new products the same or
less, with the reasons in words. Numpy only; filing.py files by them, and they are listed by

    python categorize_words.py --apply 1 --target 95
    python analyze.py --models
"""
import bisect
import math

import numpy as np

import db
from evaluation import certificates, figures, shifts
from learning import metrics
from learning.split import FEWEST_FOLDS, few_folds_text

OUT_OF_FOLD = "out-of-fold predictions"
STEPS = (.1, .2, .4, .6, .8)   # quantiles of labelled products' scores, to count new ones between
SURE = 3       # standard deviations by which labelled products must be right less often to refuse
ENOUGH = 200   # groups of labelled products of a shop to compare its new ones with
# How far new products may be from those that the promise rests on, at the least that chance leaves:
# shares and means, and distances of distributions, each from 0 to 1. (The model that files has
# learned from all of them, and is a little surer than those that were measured.)
TOLERATED = {"unknown words": .05, "no picture": .05, "no description": .05, "scores": .05,
             "near-duplicates": .05, "categories": .2}


# ---- what is promised ---------------------------------------------------------------------------

def promise(conn, number, leaves, target, confidence):
    """What an experiment's model, of these leaves, may file of products to come: a dict of target,
    confidence, leaf, below, parent and alone (certificates.Thresholds, None for inf), what it
    rests_on, how many independent products that were, how many of them `strange` and how many
    `refiled`, which of these two `stopped` it (names, if nothing is promised at the leaf), the
    `min_products` of the training, what came `nearest` at each level at which nothing is promised,
    and, if nothing is promised at the leaf, as `lower` a target at which something would be
    (lower_target).

    A row is right if it says what the product's label is today. Products to come may belong to
    leaves that the model does not know, as some of the catalogue do: its answers for those are
    `strange` and count as errors, and so do rows of products that the shop has refiled elsewhere.
    """
    settings = db.settings(db.experiment(conn, number))
    folds, arguments = settings.get("folds"), settings.get("arguments")
    names, rows = figures.read_rows(conn, number, not folds, False, leaves)
    above = figures.parent_codes(names, db.parents(conn))
    found, few = certified(rows, above, target, confidence), bool(folds and folds < FEWEST_FOLDS)
    if few:
        found = certificates.Thresholds(*[math.inf] * 4)
    own = rows[certificates.one_of_each(rows["group"])]
    counts = {"strange": int((own["fold"] < 0).sum()) if leaves else 0,
              "refiled": int(((own["label"] != own["learned"]) & (own["fold"] >= 0)).sum())}
    why, lower = [], None
    if math.isinf(found.leaf) and not few:
        lower = lower_target(own, above, target, confidence)
    if math.isinf(found.leaf) and not few and any(counts.values()):
        _, learned = figures.read_rows(conn, number, not folds, False)
        why = stopped(rows, learned, counts, lambda some: certified(
            some, above, target, confidence).leaf < math.inf)
    return {"target": target, "confidence": confidence,
            **{level: None if math.isinf(one) else one for level, one in found._asdict().items()},
            "rests_on": OUT_OF_FOLD if folds else "validation kept for certifying",
            "products": len(own), **counts, "stopped": why, "lower": lower,
            "nearest": {} if few else nearest(own, above, found, target, confidence),
            "few_folds": folds if few else None,
            "min_products": arguments.get("min_products") if isinstance(arguments, dict)
            and not arguments.get("categories") else None}


def certified(rows, above, target, confidence):
    """The certificates.Thresholds of one row of each group."""
    own = rows[certificates.one_of_each(rows["group"])]
    if not len(own) or (own["parent"] < 0).any():
        return certificates.Thresholds(*[math.inf] * 4)
    return figures.certify_pair(own, above, target, confidence)


def nearest(own, above, found, target, confidence):
    """{level: dict of score, products, wrong ones, how many of those are `strange`, and how many at
    `most` may be wrong} of the threshold that came nearest to a promise, for each level that
    `found`, the Thresholds of these independent rows, promises nothing at."""
    right, _, parent_right = figures.outcomes(own, above)
    failed, near = {}, ~(own["score"] >= found.leaf)
    if math.isinf(found.leaf):
        failed["leaf"] = own, own["score"], right
    if math.isinf(found.parent) and near.any() and (own["parent"] >= 0).all():
        failed["parent"] = own[near], own["parent_score"][near], parent_right[near]
    numbers = {}
    for level, (rows, score, hits) in failed.items():
        threshold, products, wrong = certificates.nearest(score, hits, target, (1 - confidence) / 2)
        numbers[level] = {
            "score": threshold, "products": products, "wrong": wrong,
            "strange": int(((score >= threshold) & ~hits & (rows["fold"] < 0)).sum()),
            "most": certificates.most_wrong(products, target, (1 - confidence) / 2,
                                            7 if level == "leaf" else 7 * certificates.RUNS)}
    return numbers


def lower_target(own, above, target, confidence):
    """(percent, share): the highest whole percentage under the target at which leaves can be
    promised to these independent rows, and the share of them that this would file; None if none
    from 50 on."""
    def hopeless(percent):
        return math.isinf(certified(own, above, percent / 100, confidence).leaf)

    percents = range(50, math.ceil(100 * target))
    place = bisect.bisect_left(percents, True, key=hopeless) - 1
    if place < 0 or not len(own):
        return None
    leaf = certified(own, above, percents[place] / 100, confidence).leaf
    return percents[place], float((own["score"] >= leaf).mean())


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
    if promise["few_folds"]:
        return "nothing can be promised, so nothing is filed: " \
            + few_folds_text(promise["few_folds"])
    details = [promise["rests_on"]]
    if promise["strange"]:
        details.append(f"{promise['strange']} of them of other categories than the model's")
    if promise["refiled"]:
        details.append(f"{promise['refiled']} of them refiled by the shop since")
    rests = f"{promise['products']} independent products ({'; '.join(details)})"
    lowering = promise["lower"] and "refiled" not in promise["stopped"]   # else train again
    if promise["leaf"] is None and promise["parent"] is None:
        advice = ["train with --folds 10, which certifies on all products"] * (
            promise["rests_on"] != OUT_OF_FOLD)
        advice += [f"try a lower --target{lower_text(promise)}"] if lowering else []
        return (f"nothing can be promised at {target} by {rests}, so nothing is filed"
                + ": " * bool(advice) + ", or ".join(advice) + ". "
                + ". ".join(f"At the {level} {nearest_text(promise, level)}"
                            for level in promise["nearest"]) + stopped_text(promise))
    levels = ", ".join(f"at the {level} " + (
        f"nothing ({nearest_text(promise, level)})" if promise[level] is None
        else f"from score {promise[level]:.4f} on") for level in ("leaf", "parent"))
    return (f"promised with {100 * promise['confidence']:g} % confidence: of what is filed, at "
            f"least {target} are right; {levels}"
            + (f"; a lower --target may give some leaves{lower_text(promise)}"
               if promise["leaf"] is None and lowering else "")
            + f". It rests on {rests}, and holds for products like those, of their categories"
            + stopped_text(promise))


def lower_text(promise):
    """What a lower target would file, in words, if there is one."""
    percent, share = promise["lower"]
    return f" ({percent} would file {100 * share:.0f} % of products like these at leaves)"


def nearest_text(promise, level):
    """The numbers that the promise failed on at a level, in words."""
    own = promise["nearest"].get(level)
    if own is None:
        return "the leaf takes them all"
    if not own["products"]:
        return "there is no product to go by"
    strange = f", {own['strange']} of those of categories that the model does not know" \
        if own["strange"] else ""
    return (f"it comes nearest from score {own['score']:.4f} on: {own['wrong']} of "
            f"{own['products']} are wrong there{strange}, and "
            + ("so few products prove nothing" if own["most"] < 0 else
               "none may be" if own["most"] == 0 < own["wrong"] else
               f"at most about {own['most']} may be" if own["most"] < own["wrong"] else
               "that falls a little short of a proof"))


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

def answer_codes(leaves, steps, names):
    """int [n]: a number for each answer, which is a leaf, a place in names (another number stands
    for none), and how many of the STEPS its score reaches."""
    leaves = np.asarray(leaves)
    leaves = np.where((leaves >= 0) & (leaves < len(names)), leaves, len(names))
    return leaves * (len(STEPS) + 1) + steps


def refused(labelled, counts, thresholds, target):
    """{level: what speaks against it, in words} for the thresholds, as `thresholds` has them, that
    let pass too many wrong products if the new ones are of such categories as explain their
    answers: of each leaf and step of STEPS, counts {(leaf, step): groups}.

    labelled is as labelled_rows has it. A level is refused if fewer than `target` are estimated to
    be right there and if chance makes so large a difference hardly ever.
    """
    names, rows, above = labelled
    rows = rows[certificates.one_of_each(rows["group"])]
    place = {name: code for code, name in enumerate(names)}
    new = np.zeros(answer_codes(-1, len(STEPS), names) + 1)
    for (leaf, step), count in counts.items():
        new[answer_codes(place.get(leaf, -1), step, names)] += count
    if not len(rows) or not round(new.sum()):
        return {}
    right, _, parent_right = figures.outcomes(rows, above)
    passed = np.column_stack([rows["score"] >= thresholds["leaf"],
                              (rows["score"] < thresholds["below"])
                              & (rows["parent_score"] >= thresholds["parent"])])
    answers = answer_codes(rows["predicted"], np.digitize(rows["score"], edges(rows)), names)
    found = shifts.right_in_mix(answers, rows["label"], passed,
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
    found["scores"] = np.fromiter(found["scores"], float)
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


def differences(old, new, kind):
    """Lines about how `new` products differ from `old` ones, both db.features, by more than is
    TOLERATED: what a model of this kind does not look at does not count, nor that more is known or
    that more have a near-duplicate in training."""
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
    own, before = new["near-duplicate"], old["near-duplicate"]
    if own is not None and before is not None and own < before:
        check("near-duplicates", shifts.mean_shift(own, own * (1 - own), n, before,
                                                   before * (1 - before), m),
              f"{100 * own:.0f} % of them have a near-duplicate among the labelled products "
              f"({100 * before:.0f} % had one among those that they were predicted from)")
    check("scores", shifts.score_shift(new["scores"], n, old["scores"], m),
          f"their scores are lower (on the average {metrics.accuracy(new['scores']):.2f}, "
          f"there {metrics.accuracy(old['scores']):.2f})")
    moved = shifts.count_shift(new["categories"], n, old["categories"], m)
    check("categories", moved,
          f"their mix of categories is another one (at least {100 * moved:.0f} % of them would have "
          "to be of other categories to give the usual one, "
          f"{100 * TOLERATED['categories']:.0f} % may)")
    return lines


def thresholds(promise):
    """{leaf, below, parent}: what scores have to be, as in certificates.Thresholds."""
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
    names, rows = figures.read_rows(conn, number, not described["settings"].get("folds"), False,
                                     described["categories"])
    return names, rows, figures.parent_codes(names, db.parents(conn))


def for_source(conn, number, described, source, labelled, promise):
    """(thresholds, lines, features): what the promise comes to for a shop's new products, why it is
    less if it is, and their db.features."""
    old, new = reference(conn, number, described, source), db.features(conn, number, source)
    new["scores"] = np.fromiter(new["scores"], float)
    names, rows, above = labelled
    if old["source"] is not None:
        rows = rows[np.isin(rows["product"], db.product_ids(conn, source))]
    groups = new["groups"] / max(1, new["products"])   # colours of a style are no more evidence
    counts = {answer: groups * count for answer, count in db.answer_counts(
        conn, number, source, edges(rows).tolist()).items()}
    own, lines = mixed(counts, (names, rows, above), promise)
    if different := differences(old, new, described["kind"]):
        own, lines = dict.fromkeys(own, math.inf), different
    return own, lines, new
