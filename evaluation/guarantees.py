"""What may be filed of products to come.

In: an experiment's predictions of products that its model had never seen. Out: thresholds that are
certified for a target, and where there are none, why, in words. Numpy only; refusals.py looks
whether they hold of a shop's new products, filing.py files by them, and they are listed by

    python categorize_words.py --apply 1 --target 95
    python analyze.py --models
"""
import bisect
import math

import numpy as np

import db
from evaluation import certificates, figures
from learning import category_tree
from learning.split import FEWEST_FOLDS, few_folds_text

OUT_OF_FOLD = "out-of-fold predictions"


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
    above = figures.parent_codes(names, category_tree.parents(conn))
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


def thresholds(promise):
    """{leaf, below, parent}: what scores have to be, as in certificates.Thresholds."""
    return {level: math.inf if promise[level] is None else promise[level]
            for level in ("leaf", "below", "parent")}


def parent_alone(promise):
    """The thresholds if nothing may be filed at leaves."""
    return {"leaf": math.inf, "below": math.inf,
            "parent": math.inf if promise["alone"] is None else promise["alone"]}
