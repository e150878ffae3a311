"""Invented shops that are known exactly: what is true above a threshold is a sum, no estimate.

A Shop is a probability for each true leaf, answer and score. The true leaf that comes last is one
that the model does not know. From a Shop, products are drawn, a promise is made of them as --apply
makes it, and it is looked up whether it holds for the same shop or for another one.
"""

import collections
import math
from typing import NamedTuple

import numpy as np

from evaluation import certificates, certified_figures, figures, floors, refusals

TARGET, FLOOR, CONFIDENCE = 0.95, 0.9, 0.95
LEAVES, OF_A_PARENT = 20, 5
UNKNOWN = LEAVES  # the true leaf that no answer names
NAMES = [f"leaf {leaf}" for leaf in range(LEAVES)]
ABOVE = np.append(LEAVES + np.arange(LEAVES) // OF_A_PARENT, -2)  # figures.parent_codes
LEVELS = np.sort(certificates.candidates(TARGET)[0][:-1:24])  # the scores that there are
EDGES = np.append((LEVELS[:-1] + LEVELS[1:]) / 2, 1)  # where each ends
# A product has one of the LEVELS, and its other probabilities are nearly all below the same parent,
# or they are below any: so each level is there twice, with two scores of the parent.
SCORES = np.tile(LEVELS, 2)
PARENT_SCORES = np.append((1 + LEVELS) / 2, LEVELS + (1 - LEVELS) / 4)


class Shop(NamedTuple):
    """What is true of a shop's products."""

    share: np.ndarray  # [leaves + 1] of the products that truly are of a leaf
    answer: np.ndarray  # [leaves + 1, leaves, scores]: how such a product is answered; sums to 1
    new_words: float = 0.0  # the share of products a quarter of whose words nobody has seen

    @property
    def joint(self):
        """[true leaf, answer, score]: the share of such products."""
        return self.share[:, None, None] * self.answer


def next_leaf(leaf):
    """The leaf of the same parent that a leaf is taken for."""
    return leaf // OF_A_PARENT * OF_A_PARENT + (leaf + 1) % OF_A_PARENT


def levels_of(shape):
    """[levels]: how often a product has a score, by Kumaraswamy's distribution with such a shape;
    1 is even, and the smaller the shape, the surer the model."""
    return np.diff(1 - (1 - EDGES**3) ** shape, prepend=0)


def answered(sure, wrong, near, share):
    """Shop.answer of leaves with levels sure [leaves, levels], answered wrongly so often, wrong
    [leaves, levels]; a share `near` of the wrong ones as the next leaf, the others as any leaf."""
    leaves = np.arange(LEAVES)
    others = np.tile(share[:LEAVES], (LEAVES, 1))
    np.fill_diagonal(others, 0)
    others /= others.sum(axis=1, keepdims=True)
    far = (others * (1 - near))[:, :, None] * (sure * wrong)[:, None]
    beside = np.zeros_like(far)
    beside[leaves, next_leaf(leaves)] = near * sure * wrong
    beside[leaves, leaves] = sure * (1 - wrong)
    return below_parents(beside, 0.9) + below_parents(far, 0.2)


def below_parents(answer, same):
    """[..., scores] of [..., levels], a share of which is nearly all below the same parent."""
    return np.concatenate([same * answer, (1 - same) * answer], axis=-1)


def any_shop(rng):
    """Leaves of which some are harder than others, and harder than the model knows; up to 2 % of
    the products are of a leaf that it does not know, and are answered with low scores."""
    share = np.append(rng.uniform(0.3, 1.5, LEAVES), 0)
    share *= (1 - rng.uniform(0, 0.02)) / share.sum()
    share[UNKNOWN] = 1 - share.sum()
    sure = np.array([levels_of(shape) for shape in rng.uniform(0.05, 0.6, LEAVES)])
    boast = rng.uniform(0.3, 1.5) * rng.lognormal(0, 0.7, (LEAVES, 1))
    wrong = np.minimum(0.9, boast * (1 - LEVELS) ** rng.uniform(0.8, 1.3))
    known = answered(sure, wrong, rng.choice([0.3, 0.95]), share)
    return Shop(share, np.append(known, [unlike_any(share)], axis=0))


def unlike_any(share):
    """[leaves, scores]: the answers for products that sound like no leaf."""
    return below_parents(share[:LEAVES, None] / share[:LEAVES].sum() * levels_of(3), 0.2)


# ---- products and promises ----------------------------------------------------------------------


def draw(joint, count, rng):
    """figures.ROW [count] of products, from probabilities [true leaf, answer, score]."""
    cells = rng.choice(joint.size, count, p=joint.ravel() / joint.sum())
    label, predicted, score = np.unravel_index(cells, joint.shape)
    rows = np.zeros(count, figures.ROW)
    rows["product"] = rows["group"] = np.arange(count)
    rows["label"] = np.where(label == UNKNOWN, -1, label)
    rows["fold"] = np.where(label == UNKNOWN, -1, 0)
    rows["predicted"], rows["score"] = predicted, SCORES[score]
    rows["parent"], rows["parent_score"] = ABOVE[predicted], PARENT_SCORES[score]
    return rows


def certify(rows, target=TARGET):
    """floors.Certified of labelled products, as --apply has it."""
    floor = floors.Floor(min(FLOOR, target))
    return certified_figures.certify_leaf_and_parent(rows, ABOVE, target, CONFIDENCE, floor)


def filed(joint, thresholds, shut):
    """{level: (share of the products that is filed there, share that is filed there wrongly)}."""
    leaf_from, below, parent_from = (thresholds[level] for level in ("leaf", "below", "parent"))
    is_open = ~np.isin(np.arange(LEAVES), list(shut))[:, None]
    at_leaf = is_open & (SCORES >= leaf_from)
    at_parent = (~is_open | (SCORES < below)) & (PARENT_SCORES >= parent_from)
    wrong = np.arange(LEAVES + 1)[:, None] != np.arange(LEAVES)
    wrong_parent = ABOVE[:, None] != ABOVE[:LEAVES]
    return {
        level: ((joint * taken).sum(), (joint * (taken & errors[:, :, None])).sum())
        for level, taken, errors in (("leaf", at_leaf, wrong), ("parent", at_parent, wrong_parent))
    }


def shortfall(joint, thresholds, shut, target=TARGET):
    """By how much too few are right of what is filed at leaves or at parents, the larger one; at
    most 0 if the promise is kept, -1 if nothing is filed."""
    return max(
        wrong / taken - (1 - target + 1e-12) if taken > 0 else -1
        for taken, wrong in filed(joint, thresholds, shut).values()
    )


# ---- is a batch like the labelled products? -----------------------------------------------------


def promise_of(certified, target=TARGET):
    """What refusals.py reads of a guarantees.promise."""
    levels = certified.thresholds._asdict().items()
    return {
        "target": target,
        **{level: None if math.isinf(score) else score for level, score in levels},
    }


def features(shop, rows, rng):
    """feature_queries.features of products that were drawn from the shop."""
    unknown = np.where(rng.random(len(rows)) < shop.new_words, 0.25, 0.02)
    unknown = np.minimum(1, unknown * rng.exponential(1, len(rows)))
    return {
        "products": len(rows),
        "groups": len(rows),
        "no description": 0.0,
        "no picture": 0.0,
        "near-duplicate": 0.0,
        "unknown": (len(rows), unknown.mean(), unknown.var()),
        "categories": collections.Counter(rows["predicted"].tolist()),
        "scores": rows["score"],
    }


def allowed(certified, old, new, old_features, new_features, target=TARGET):
    """The thresholds that refusals.py leaves for new products, rows as draw makes them."""
    promise = promise_of(certified, target)
    nothing = dict.fromkeys(("leaf", "below", "parent"), math.inf)
    if refusals.differences(old_features, new_features, "Text"):
        return nothing
    old, new = (floors.without_shut(rows, certified.shut, set()) for rows in (old, new))
    steps = np.digitize(new["score"], refusals.edges(old)).tolist()
    counts = collections.Counter(zip([NAMES[code] for code in new["predicted"]], steps))
    return refusals.mixed(counts, refusals.Labelled(NAMES, old, ABOVE), promise)[0]
