"""New products that are like the labelled ones, and others, in worlds that are known.

pytest tests/test_shifts.py
"""

import numpy as np
import pytest

from evaluation import shifts

# ---- single features ----------------------------------------------------------------------------


@pytest.mark.parametrize("n, m", ((50, 3000), (3000, 3000), (200_000, 5000)))
def test_samples_of_one_distribution_are_not_said_to_differ(n, m):
    rng = np.random.default_rng(n)
    chance = rng.dirichlet(np.ones(40))
    for _ in range(30):
        old, new = rng.beta(5, 1, m), rng.beta(5, 1, n)
        assert shifts.score_shift(new, n, old, m) == 0
        assert shifts.mean_shift(new.mean(), new.var(), n, old.mean(), old.var(), m) == 0
        old, new = (dict(enumerate(rng.multinomial(size, chance).tolist())) for size in (m, n))
        assert shifts.count_shift(new, n, old, m) == 0


def test_shifts_are_as_large_as_they_are_and_small_samples_show_less():
    new, old = np.linspace(0, 0.6, 5000), np.linspace(0.3, 0.9, 5000)
    assert 0.25 < shifts.score_shift(new, 5000, old, 5000) <= 0.3
    assert shifts.score_shift(new, 50, old, 50) < 0.05 < shifts.score_shift(new, 500, old, 500)
    assert shifts.score_shift(old, 5000, new, 5000) == 0  # surer ones are no reason to worry
    # A hair's breadth is no shift, however many are moved by it.
    assert shifts.score_shift(np.full(9999, 0.97), 9999, np.full(9999, 0.971), 9999) == 0
    assert 0.07 < shifts.mean_shift(0.1, 0.09, 9000, 0.2, 0.16, 9000) < 0.1
    assert shifts.mean_shift(0.1, 0.09, 30, 0.2, 0.16, 9000) == 0
    half = shifts.count_shift({"a": 5000, "b": 5000}, 10_000, {"a": 5000, "c": 5000}, 10_000)
    assert 0.45 < half <= 0.5
    for nothing in (shifts.score_shift([], 0, old, 5000), shifts.count_shift({}, 0, {"a": 1}, 1)):
        assert nothing == 0


def test_without_any_independent_product_nothing_is_said_to_differ():
    for n, m in ((0, 0), (0, 9), (9, 0)):
        assert shifts.score_shift([0.1, 0.2], n, [0.9], m) == 0
        assert shifts.count_shift({"a": 2}, n, {"b": 1}, m) == 0
        assert shifts.mean_shift(0.1, 0.1, n, 0.9, 0.1, m) == 0


# ---- the mix of categories ----------------------------------------------------------------------


def three_leaves(rng, count, easy):
    """(answers, labels, right) of a classifier that tells three leaves from each other: of products
    of the easy one, `easy` of all, 99 of 100 rightly, of the two hard ones 85, which it takes for
    each other or for the easy one."""
    labels = np.where(rng.random(count) < easy, 0, rng.integers(1, 3, count))
    wrong = rng.random(count) >= np.where(labels == 0, 0.99, 0.85)
    answers = np.where(wrong, (labels + rng.integers(1, 3, count)) % 3, labels)
    return answers, labels, answers == labels


def judged(labelled, new, answers):
    """The Right of all products that classifiers as `labelled` and `new` answered."""
    everything = np.ones((len(labelled[0]), 1), bool)
    (found,) = shifts.right_in_mix(
        *labelled[:2],
        everything,
        labelled[2][:, None],
        np.bincount(new[0], minlength=answers).astype(float),
    )
    return found


@pytest.mark.parametrize("easy", (0.8, 0.5, 0.2))
def test_what_is_estimated_of_new_products_is_what_is_true_of_them(easy):
    """Four of five labelled products are easy; of the new ones others."""
    rng = np.random.default_rng(7)
    labelled, new = three_leaves(rng, 6000, 0.8), three_leaves(rng, 60_000, easy)
    found = judged(labelled, new, 3)
    assert found.usual == pytest.approx(labelled[2].mean())
    assert found.estimated == pytest.approx(new[2].mean(), abs=0.012)
    assert (abs(found.estimated - found.usual) > 3 * found.chance) == (easy < 0.8)


def test_few_new_products_prove_little():
    rng = np.random.default_rng(8)
    labelled = three_leaves(rng, 6000, 0.8)
    few, many = (judged(labelled, three_leaves(rng, count, 0.5), 3) for count in (20, 2000))
    assert abs(few.estimated - few.usual) < (many.usual - many.estimated) / 3
    assert many.usual - many.estimated > 3 * many.chance


def long_tail(rng, sizes, count):
    """(answers, labels, right): leaves of such sizes, of which the small ones are answered half of
    the time like one of the large ones, and the large ones seldom like another."""
    large = np.flatnonzero(sizes > 300)
    labels = rng.choice(len(sizes), count, p=sizes / sizes.sum())
    wrong = rng.random(count) < np.where(sizes[labels] < 40, 0.5, 0.03)
    answers = np.where(wrong, large[labels * 7 % len(large)], labels)
    return answers, labels, answers == labels


def test_a_long_tail_of_rare_labels_does_not_differ_from_itself():
    """Hundreds of labels with 1 to 40 products, each of which might explain a surplus of answers."""
    sizes = np.maximum(1, 5000 / np.arange(1, 401) ** 1.15)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = judged(long_tail(rng, sizes, 20_000), long_tail(rng, sizes, 10_000), 400)
        assert abs(found.estimated - found.usual) < 3.5 * found.chance
        assert found.estimated == pytest.approx(found.usual, abs=0.015)


def test_rare_labels_are_one():
    labels = np.repeat([5, 7, 9], [30, 29, 1])
    assert shifts.pooled(labels).tolist() == [5] * 30 + [-1] * 30


def test_a_threshold_that_no_labelled_product_passes_has_no_estimate():
    answers, labels = np.zeros(50, int), np.zeros(50, int)
    passed = np.column_stack([np.zeros(50, bool), np.ones(50, bool)])
    nothing, found = shifts.right_in_mix(answers, labels, passed, passed, np.array([10.0]))
    assert nothing is None and found.estimated == found.usual == 1


def test_answers_that_no_labelled_product_got_are_no_evidence():
    rng = np.random.default_rng(9)
    labelled = three_leaves(rng, 6000, 0.8)
    everything = np.ones((6000, 1), bool)
    for new in (np.array([0.0, 0, 0, 500]), np.array([800.0, 100, 100, 500])):
        (found,) = shifts.right_in_mix(*labelled[:2], everything, labelled[2][:, None], new)
        assert abs(found.estimated - found.usual) < 0.02
