"""Whether a promise holds of a shop's new products, which may differ from those it rests on.

In: a promise of guarantees.py, the products that it rests on, and the answers for new ones. Out:
thresholds for these: the promise's own, or stricter ones, with the reasons in words. Numpy only;
filing.py files by them.
"""
import math

import numpy as np

from evaluation import certificates, figures, filing_queries, guarantees, shifts
from learning import category_tree, metrics
from learning import queries as learning_queries

STEPS = (.1, .2, .4, .6, .8)   # quantiles of labelled products' scores, to count new ones between
SURE = 3       # standard deviations by which labelled products must be right less often to refuse
ENOUGH = 200   # groups of labelled products of a shop to compare its new ones with
# How far new products may be from those that the promise rests on, at the least that chance leaves:
# shares and means, and distances of distributions, each from 0 to 1. (The model that files has
# learned from all of them, and is a little surer than those that were measured.)
TOLERATED = {"unknown words": .05, "no picture": .05, "no description": .05, "scores": .05,
             "near-duplicates": .05, "categories": .2}


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
    """filing_queries.features of the products that the experiment's promise rests on: a shop's own where it has
    ENOUGH, else all; with the unknown words that they had while the model had not seen them."""
    table = "predicted_category" if described["settings"].get("folds") else "validation_prediction"
    found = filing_queries.features(conn, number, source, table)
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
    """Lines about how `new` products differ from `old` ones, both filing_queries.features, by more than is
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
          f"their mix of categories is another one (at least {100 * moved:.0f} % of them would "
          "have to be of other categories to give the usual one, "
          f"{100 * TOLERATED['categories']:.0f} % may)")
    return lines


def mixed(counts, labelled, promise):
    """(thresholds, lines): those of the promise, without the levels that `refused` speaks against,
    and the reasons. If the leaf is refused, the parent's promise for all products is left."""
    own, lines = guarantees.thresholds(promise), []
    against = refused(labelled, counts, own, promise["target"])
    if "leaf" in against:
        lines.append(against["leaf"])
        own = guarantees.parent_alone(promise)
        against = refused(labelled, counts, own, promise["target"])
    if "parent" in against:
        lines.append(against["parent"])
        own["parent"] = math.inf
    return own, lines


def labelled_rows(conn, number, described):
    """(names, rows, parent codes), as figures has them, of the products that the promise rests
    on."""
    names, rows = figures.read_rows(conn, number, not described["settings"].get("folds"), False,
                                    described["categories"])
    return names, rows, figures.parent_codes(names, category_tree.parents(conn))


def for_source(conn, number, described, source, labelled, promise):
    """(thresholds, lines, features): what the promise comes to for a shop's new products, why it is
    less if it is, and their filing_queries.features."""
    old, new = reference(conn, number, described, source), filing_queries.features(conn, number, source)
    new["scores"] = np.fromiter(new["scores"], float)
    names, rows, above = labelled
    if old["source"] is not None:
        rows = rows[np.isin(rows["product"], learning_queries.product_ids(conn, source))]
    groups = new["groups"] / max(1, new["products"])   # colours of a style are no more evidence
    counts = {answer: groups * count for answer, count in filing_queries.answer_counts(
        conn, number, source, edges(rows).tolist()).items()}
    own, lines = mixed(counts, (names, rows, above), promise)
    if different := differences(old, new, described["kind"]):
        own, lines = dict.fromkeys(own, math.inf), different
    return own, lines, new
