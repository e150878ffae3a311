"""A floor for every leaf: is the promise kept although the worst leaves are shut, and is it the
worst ones that are? In worlds that are known exactly (pytest -s prints the figures)

    pytest tests/test_floors.py

A World holds what is true: mass[leaf, level] is the share of the groups that are predicted to
be of that leaf, with the score LEVELS[level]; wrong[leaf, level] is how likely such a group is
misclassified. A share `near` of the misclassified ones belongs to the same parent. `groups` is the
size of the sample.
"""

import math
from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import binom

from evaluation import certificates, certified_figures, figures, floors

TARGET, FLOOR, CONFIDENCE = 0.95, 0.9, 0.95
DELTA = 1 - CONFIDENCE
SLOW = pytest.mark.slow  # not that one is, but all together are
TOO_WRONG = 1 - TARGET + 1e-5  # hardly above what is allowed
LEVELS = np.sort(certificates.candidates(TARGET)[0][::64])  # the scores that there are


class World(NamedTuple):
    mass: np.ndarray
    wrong: np.ndarray
    groups: int
    floor: float
    near: float


@pytest.fixture(params=[25, pytest.param(1000, marks=SLOW)])
def worlds(request):
    """How many worlds a test draws: few tell a gross error, many a small one."""
    return request.param


def most_broken(count):
    """The share of so many worlds that may break its promise: one of twenty, and by chance three
    standard errors more."""
    return DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / count)


# ---- worlds -------------------------------------------------------------------------------------


def sizes(leaves, levels, rng):
    """mass of about equally large leaves that have the `levels` highest scores equally often."""
    size = rng.uniform(0.5, 1.5, leaves)
    mass = np.zeros((leaves, len(LEVELS)))
    mass[:, -levels:] = size[:, None] / size.sum() / levels
    return mass


def sound(mass, rng):
    """wrong of leaves that are as good as their scores, or a little better or worse."""
    return np.broadcast_to((1 - LEVELS) ** rng.uniform(0.8, 1.5), mass.shape).copy()


def few_bad(rng):
    """One to three of thirty leaves are much worse than their scores."""
    mass = sizes(30, len(LEVELS), rng)
    wrong = sound(mass, rng)
    wrong[: rng.integers(1, 4)] = rng.uniform(0.3, 0.6)
    return World(mass, wrong, rng.integers(2000, 6000), FLOOR, rng.choice([0, 0.7]))


def many_bad(rng):
    """A third of sixty leaves is. Nothing could be promised if they were not shut."""
    mass = sizes(60, len(LEVELS), rng)
    wrong = sound(mass, rng)
    wrong[:20] = rng.uniform(0.2, 0.6, 20)[:, None]
    return World(mass, wrong, rng.integers(4000, 8000), FLOOR, rng.choice([0, 0.7]))


def few_bad_and_the_rest_too_wrong(rng):
    """Nothing can rightly be certified, whether the one bad leaf is shut or not."""
    mass = sizes(30, rng.choice([1, 8]), rng)
    wrong = np.full(mass.shape, TOO_WRONG)
    wrong[0] = rng.uniform(0.15, 0.4)
    return World(mass, wrong, rng.integers(1000, 5000), FLOOR, rng.choice([0, 0.7]))


def many_bad_and_the_rest_too_wrong(rng):
    mass = sizes(60, rng.choice([1, 8]), rng)
    wrong = np.full(mass.shape, TOO_WRONG)
    wrong[:20] = rng.uniform(0.2, 0.6, 20)[:, None]
    return World(mass, wrong, rng.integers(4000, 8000), FLOOR, rng.choice([0, 0.7]))


def sound_then_spoiled(leaves, bad, rng):
    """All of delta has been handed on when the groups come that spoil the leaves that are open."""
    surest = rng.uniform(0.2, 0.6)
    mass = sizes(leaves, 1, rng) * surest
    mass[:, 5] = mass[:, -1] * (1 - surest) / surest
    wrong = np.zeros(mass.shape)
    wrong[:, 5] = TOO_WRONG / (1 - surest)
    wrong[:bad] = rng.uniform(0.3, 0.6, bad)[:, None]
    return World(mass, wrong, rng.integers(3000, 10_000), FLOOR, 0.7)


def few_bad_and_the_rest_spoiled(rng):
    return sound_then_spoiled(30, 2, rng)


def many_bad_and_the_rest_spoiled(rng):
    return sound_then_spoiled(60, 20, rng)


def all_alike_and_too_wrong(rng):
    """Many small leaves are a little too wrong each. Chance makes some of them look bad, and
    the others look good on the products that chose."""
    mass = sizes(3000, 1, rng)
    wrong = np.full(mass.shape, (1 - TARGET) * rng.uniform(1.0002, 1.05))
    return World(mass, wrong, rng.integers(12_000, 18_000), TARGET, rng.choice([0, 0.7]))


def large_ones_too_wrong(rng):
    """What is shut by chance is better than what is left: a thousand small leaves are right as
    often as the floor and the target ask, a large one is wrong so often that all together are
    hardly too wrong."""
    small = rng.uniform(0.2, 0.8)
    mass = np.vstack([sizes(1, 1, rng) * (1 - small), sizes(1000, 1, rng) * small])
    wrong = np.full(mass.shape, 1 - TARGET)
    wrong[0] = 1 - TARGET + 1e-5 / (1 - small)
    return World(mass, wrong, rng.integers(4000, 12_000), TARGET, rng.choice([0, 0.7]))


def floor_above_the_target(rng):
    """Large leaves keep the promise, but not the floor. Small ones do not keep the promise, and are
    so small that many of them look as if they kept the floor."""
    share = rng.uniform(0.05, 0.15)  # of the small ones
    mass = np.vstack([sizes(10, 1, rng) * (1 - share), sizes(200, 1, rng) * share])
    wrong = np.full(mass.shape, 2 * (1 - TARGET))
    wrong[:10] = (1 - TARGET) * rng.uniform(0.5, 0.6)
    return World(mass, wrong, rng.integers(10_000, 15_000), 0.99, rng.choice([0, 0.7]))


def draw(world, rng):
    """figures.ROW [n] of the groups that choose and certify."""
    cells = rng.choice(world.mass.size, world.groups, p=world.mass.ravel() / world.mass.sum())
    leaf, level = np.unravel_index(cells, world.mass.shape)
    rows = np.zeros(world.groups, figures.ROW)
    rows["predicted"], rows["score"], rows["group"] = leaf, LEVELS[level], np.arange(len(rows))
    rows["product"] = rows["group"]
    beside = np.where(rng.random(len(rows)) < world.near, leaf // 5 * 5 + (leaf + 1) % 5, -1)
    rows["label"] = np.where(rng.random(len(rows)) < world.wrong[leaf, level], beside, leaf)
    rows["parent"], rows["parent_score"] = parents_of(world)[leaf], (1 + rows["score"]) / 2
    return rows


def parents_of(world):
    """figures.parent_codes: five leaves have one parent."""
    leaves = len(world.mass)
    return np.append(leaves + np.arange(leaves) // 5, -2)


def is_broken(world, found):
    """Whether truly too many are wrong of what is filed at leaves or at parents."""
    leaf_from, below, parent_from, alone = found.thresholds
    is_open = ~np.isin(np.arange(len(world.mass)), list(found.shut))[:, None]
    parent_level, parent_wrong = (1 + LEVELS) / 2, world.wrong * (1 - world.near)
    filed = [
        (is_open & (LEVELS >= leaf_from), world.wrong),
        ((~is_open | (LEVELS < below)) & (parent_level >= parent_from), parent_wrong),
        (np.broadcast_to(parent_level >= alone, world.mass.shape), parent_wrong),
    ]
    return any(
        (world.mass * taken * wrong).sum() > (1 - TARGET + 1e-12) * (world.mass * taken).sum()
        for taken, wrong in filed
    )


def certified_apart(rows, world, rng):
    """What is certified for rows that choose, too."""
    return certify(rows, None, world)


def certified_beside(rows, world, rng):
    """What is certified for rows all of which certify, while others choose: an experiment without folds."""
    return certify(rows, draw(world, rng), world)


def certified_on_the_same(rows, world, rng):
    """The control: what chooses certifies too."""
    return certify(rows, rows, world)


def certify(rows, choosers, world):
    above = parents_of(world)

    floor = floors.Floor(world.floor, choosers)
    return certified_figures.certify_leaf_and_parent(rows, above, TARGET, CONFIDENCE, floor)


FAMILIES = [
    # family, least share of worlds with a certificate, leaves that are shut: least and most
    (few_bad, 0.9, 1, 4),
    (many_bad, 0.6, 10, 25),
    (few_bad_and_the_rest_spoiled, 0.9, 1, 4),
    (many_bad_and_the_rest_spoiled, 0.6, 10, 25),
    (few_bad_and_the_rest_too_wrong, 0, 0, 3),
    (many_bad_and_the_rest_too_wrong, 0, 0, 25),
    (all_alike_and_too_wrong, 0, 0, 300),
    (large_ones_too_wrong, 0, 0, 300),
    (floor_above_the_target, 0, 0, 210),
]


@pytest.mark.parametrize("certified", [certified_apart, certified_beside])
@pytest.mark.parametrize("family, least_certified, least_shut, most_shut", FAMILIES)
def test_at_most_one_world_of_twenty_breaks_its_promise_whatever_is_shut(
    worlds, family, least_certified, least_shut, most_shut, certified
):
    rng, promised, broken, shut = np.random.default_rng(1), 0, 0, 0
    for _ in range(worlds):
        world = family(rng)
        found = certified(draw(world, rng), world, rng)
        promised += found.thresholds[0] < math.inf
        broken += is_broken(world, found)
        shut += len(found.shut) / worlds
    print(
        f"{family.__name__}, {certified.__name__}: {promised / worlds:.4f} certified, "
        f"{broken / worlds:.4f} broken, {shut:.1f} leaves shut"
    )
    assert broken / worlds <= most_broken(worlds)
    assert promised / worlds >= least_certified
    assert least_shut <= shut <= most_shut


def test_leaves_chosen_on_what_certifies_break_the_promise_in_many_worlds():
    rng, broken, turns = np.random.default_rng(2), 0, 15
    for _ in range(turns):
        world = all_alike_and_too_wrong(rng)
        broken += is_broken(world, certified_on_the_same(draw(world, rng), world, rng))
    print(f"chosen on what certifies: {broken / turns:.3f} broken")
    assert broken / turns > 4 * DELTA


# ---- the choice ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_a_leaf_is_shut_if_so_few_right_ones_would_be_rare_at_the_floor(seed):
    """By scipy's binomial tail, at the threshold that files most of the open leaves' products."""
    rng = np.random.default_rng(seed)
    rows = draw(few_bad(rng), rng)
    lowest, shut = floors.choose(rows, TARGET, FLOOR)
    right = floors.leaf_right(rows)

    def at(threshold):
        taken = rows["score"] >= threshold
        counts = np.bincount(rows["predicted"][taken], minlength=30)
        hits = np.bincount(rows["predicted"][taken & right], minlength=30)
        worse = (counts > 0) & (binom.cdf(hits, counts, FLOOR) <= 0.05)
        enough = hits[~worse].sum() >= TARGET * counts[~worse].sum()
        return counts[~worse].sum() * enough, worse, counts, hits

    kept, worse, counts, hits = at(lowest)
    assert shut == {leaf: (counts[leaf], hits[leaf]) for leaf in np.flatnonzero(worse)}
    assert shut and kept == max(at(threshold)[0] for threshold in [*LEVELS, 0.0])


def test_if_the_target_is_never_reached_nobody_knows_which_leaf_is_worse():
    rows = draw(few_bad(np.random.default_rng(1)), np.random.default_rng(1))
    rows["label"] = -1
    assert floors.choose(rows, TARGET, FLOOR) == (0.0, {})
    assert floors.choose(rows[:0], TARGET, FLOOR) == (0.0, {})


def test_an_answer_without_a_leaf_is_no_leafs_error():
    rows = draw(few_bad(np.random.default_rng(2)), np.random.default_rng(2))
    expected = floors.choose(rows, TARGET, FLOOR)
    empty = np.zeros(500, figures.ROW)
    empty["predicted"], empty["label"], empty["score"] = -1, 3, 1.0
    assert floors.choose(np.append(rows, empty), TARGET, FLOOR) == expected


def test_a_small_bad_leaf_costs_no_more_than_its_own_products():
    """Three products of which one is right are shut. All others are filed from the score on from
    which they would be filed without them, but for a fifth of the error probability."""
    rng = np.random.default_rng(5)
    mass = sizes(30, len(LEVELS), rng)
    world = World(mass, sound(mass, rng), 4000, FLOOR, 0)
    rows = draw(world, rng)
    rows = rows[rows["predicted"] != 0]
    bad = rows[:3].copy()
    bad["predicted"], bad["label"], bad["score"] = 0, (0, 1, 1), 0.9999
    bad["product"] = bad["group"] = 10_000 + np.arange(3)
    found = certify(np.append(rows, bad), None, world)
    assert found.shut == {0: (3, 1)} and len(found.rows) == len(rows) + 3
    all_open = certified_figures.certify_pair(
        np.append(rows, bad), parents_of(world), TARGET, 1 - 0.8 * DELTA
    )
    assert found.thresholds[:2] == all_open[:2] and all_open.leaf < math.inf
    share = floors.share_filed(found, np.append(rows, bad))
    assert share == (rows["score"] >= all_open.leaf).sum() / (len(rows) + 3)


@pytest.mark.parametrize("lowest", (0.0, 0.5, 0.9, 0.97, 0.999))
def test_no_certificate_lies_below_the_lowest_threshold(lowest):
    rng = np.random.default_rng(7)
    score = rng.beta(2, 0.3, 4000)
    right = rng.random(4000) >= 0.3 * (1 - score)
    free = certificates.certify(score, right, TARGET, DELTA)
    held = certificates.certify(score, right, TARGET, DELTA, lowest=lowest)
    assert free < math.inf and held >= lowest
    assert held == free if free >= lowest else held - lowest < 0.01
    both = certificates.certify_fallback(score, right, score, right, TARGET, DELTA, lowest)
    assert both.leaf >= lowest
    if not lowest:
        assert both == certificates.certify_fallback(score, right, score, right, TARGET, DELTA)


def test_a_product_goes_on_choosing_if_others_come():
    ids = np.arange(-5, 100_000)
    half = floors.chooses(ids)
    assert 0.49 < half.mean() < 0.51
    assert (floors.chooses(ids[::7]) == half[::7]).all()
    assert abs(np.corrcoef(half[:-1], half[1:])[0, 1]) < 0.01
