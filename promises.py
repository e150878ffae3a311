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
# How far new products may be from those that the promise rests on, at the least that chance leaves:
# shares and means, and distances of distributions, each from 0 to 1. (The model that files has
# learned from all of them, and is a little surer than those that were measured.)
TOLERATED = {"unknown words": .05, "no picture": .05, "no description": .05, "scores": .05,
             "categories": .2}


# ---- what is promised ---------------------------------------------------------------------------

def promise(conn, number, leaves, target, confidence):
    """What an experiment's model, of these leaves, may file of products to come: a dict of target,
    confidence, leaf, below, parent and alone (metrics.Thresholds, None for inf), what it rests_on,
    how many independent products that were, how many of them `strange`, and the `fewest` right ones
    that the target takes.

    Products to come may belong to leaves that the model does not know, as some of the catalogue do:
    its answers for those count, as errors.
    """
    folds = db.settings(db.experiment(conn, number)).get("folds")
    names, rows = findings.read_rows(conn, number, not folds, False, leaves)
    own, found = rows[metrics.one_of_each(rows["group"])], metrics.Thresholds(*[math.inf] * 4)
    if len(own) and (own["parent"] >= 0).all():
        found = findings.certify_pair(own, findings.parent_codes(names, db.parents(conn)),
                                      target, confidence)
    known = np.array([name in set(leaves) for name in names] + [False])
    return {"target": target, "confidence": confidence,
            **{level: None if math.isinf(one) else one for level, one in found._asdict().items()},
            "rests_on": OUT_OF_FOLD if folds else "validation kept for certifying",
            "products": len(own), "strange": int((~known[own["label"]]).sum()),
            "fewest": metrics.fewest(target, (1 - confidence) / 2)}


def promise_text(promise):
    """What is promised, in words."""
    target = f"{100 * promise['target']:g} %"
    rests = f"{promise['products']} independent products ({promise['rests_on']}"
    rests += f"; {promise['strange']} of them of other categories than the model's)" \
        if promise["strange"] else ")"
    if promise["leaf"] is None and promise["parent"] is None:
        return (f"nothing can be promised at {target} by {rests}, so nothing is filed: "
                + ("" if promise["rests_on"] == OUT_OF_FOLD else
                   "train with --folds 10, which certifies on all products, or ")
                + ("train with a lower --min-products, which leaves fewer categories out, or "
                   if 20 * promise["strange"] > promise["products"] else "")
                + "try a lower --target")
    levels = ", ".join(f"at the {level} " + (
        "nothing" if promise[level] is None else f"from score {promise[level]:.4f} on")
                       for level in ("leaf", "parent"))
    return (f"promised with {100 * promise['confidence']:g} % confidence: of what is filed, at "
            f"least {target} are right; {levels}"
            + " (a lower --target may give some)" * (promise["leaf"] is None)
            + f". It rests on {rests}, and holds for products like those, of their categories")


# ---- does it hold here? -------------------------------------------------------------------------

def answer_codes(leaves, steps, names):
    """int [n]: a number for each answer, which is a leaf, a place in names (another number stands
    for none), and how many of the STEPS its score reaches."""
    leaves = np.asarray(leaves)
    known = (leaves >= 0) & (leaves < len(names))
    return np.where(known, leaves, len(names)) * (len(STEPS) + 1) + steps


def refused(labelled, counts, thresholds, target):
    """{level: what speaks against it, in words} for the thresholds, as `thresholds` has them, that
    let pass too many wrong products if the new ones are of such categories as explain their
    answers: of each leaf and step of STEPS, counts {(leaf, step): groups}.

    labelled is as labelled_rows has it. A level is refused if fewer than `target` are estimated to
    be right there and if chance makes so large a difference hardly ever.
    """
    names, rows, above = labelled
    rows = rows[metrics.one_of_each(rows["group"])]
    place = {name: code for code, name in enumerate(names)}
    new = np.zeros((len(names) + 1) * (len(STEPS) + 1))
    for (leaf, step), count in counts.items():
        new[answer_codes(place.get(leaf, -1), step, names)] += count
    right, _, parent_right = findings.outcomes(rows, above)
    passed = np.column_stack([rows["score"] >= thresholds["leaf"],
                              (rows["score"] < thresholds["below"])
                              & (rows["parent_score"] >= thresholds["parent"])])
    against = {}
    if not len(rows) or not round(new.sum()):
        return against
    answers = answer_codes(rows["predicted"], np.digitize(rows["score"], edges(rows)), names)
    for level, found in zip(("leaf", "parent"), shifts.right_in_mix(
            answers, rows["label"], passed, np.column_stack([right, parent_right]), new)):
        if found and found.estimated < min(target, found.usual - SURE * found.chance):
            against[level] = (
                f"{100 * found.estimated:.1f} % of labelled ones in such a mix of categories are "
                f"right at the {level} ({100 * found.usual:.1f} % in the usual one, and chance moves "
                f"that by {100 * SURE * found.chance:.1f} points at most)")
    return against


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
    TOLERATED: what a model of this kind does not look at does not count, nor that more is known."""
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
    scores = np.fromiter(new["scores"], float)
    check("scores", shifts.score_shift(scores, n, old["scores"], m),
          f"their scores are lower (on the average {scores.sum() / max(1, len(scores)):.2f}, "
          f"there {old['scores'].mean():.2f})")
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
    if different := differences(old, new, described["kind"]):
        own, lines = dict.fromkeys(own, math.inf), different
    return own, lines, new["products"]
