"""Coverage, calibration and the printed figures against plain definitions and independent code.

    pytest tests/test_metrics.py
"""
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

import metrics

PREDICTIONS = st.lists(st.tuples(st.sampled_from([0, .1, .25, .5, .5000001, .9, 1]), st.booleans()),
                       max_size=60)


def columns(rows):
    return (np.array([score for score, _ in rows], float),
            np.array([right for _, right in rows], bool))


def accepted_by_definition(rows, percent):
    """The largest set 'every score >= threshold' of which at least percent % are right."""
    sizes = [0]
    for threshold in {score for score, _ in rows}:
        taken = [right for score, right in rows if score >= threshold]
        if Fraction(sum(taken), len(taken)) >= Fraction(percent, 100):
            sizes.append(len(taken))
    return max(sizes)


# ---- coverage -----------------------------------------------------------------------------------

@pytest.mark.parametrize("rows, percent, expected", [
    ([], 95, 0),
    ([(.9, True)], 95, 1),
    ([(.9, False)], 95, 0),
    ([(.9, False)] * 3 + [(.1, False)], 95, 0),
    ([(.9, True), (.8, True), (.7, True)], 100, 3),
    ([(.9, True), (.8, False), (.7, True)], 100, 1),
    ([(.9, False), (.8, True), (.7, True), (.6, True)], 75, 4),   # wrong at the top, right at last
    ([(.9, True), (.5, True), (.5, False)], 95, 1),               # of a tie neither is taken
    ([(.5, True), (.5, False), (.9, True)], 66, 3),               # or all of it
    ([(.5, True)] * 19 + [(.5, False)], 95, 20),
    ([(.5, True)] * 18 + [(.5, False)] * 2, 95, 0),
    ([(.5, True)] * 29 + [(.5, False)] * 71, 29, 100),            # .29 * 100 is 28.999999999999996
    ([(.5, True)] * 29 + [(.5, False)] * 71, 30, 0),
    ([(.5, True)] * 57 + [(.5, False)] * 43, 57, 100),
])
def test_accepted_by_example(rows, percent, expected):
    assert metrics.accepted(*columns(rows), percent) == expected
    assert metrics.accepted(*columns(rows[::-1]), percent) == expected


@given(PREDICTIONS, st.integers(1, 100))
@settings(deadline=None)
def test_accepted_is_the_largest_set_above_a_threshold_that_is_right_enough(rows, percent):
    assert metrics.accepted(*columns(rows), percent) == accepted_by_definition(rows, percent)


@given(PREDICTIONS, st.permutations(range(60)))
@settings(deadline=None)
def test_the_order_of_the_rows_does_not_matter(rows, order):
    shuffled = [rows[i] for i in order if i < len(rows)]
    for percent in (50, 95):
        assert metrics.accepted(*columns(rows), percent) \
            == metrics.accepted(*columns(shuffled), percent)


@given(PREDICTIONS.filter(len), st.integers(1, 100))
@settings(deadline=None)
def test_coverage_is_a_whole_percentage_cut_off(rows, percent):
    exact = Fraction(100 * accepted_by_definition(rows, percent), len(rows))
    assert metrics.coverage_percent(*columns(rows), percent) == math.floor(exact)


def test_no_predictions_are_no_error():
    none = columns([])
    assert metrics.coverage_percent(*none, 95) == 0
    assert metrics.summary(*none, none[1])[0] == "  Accuracy: 0.00% (N=0)"


# ---- what is printed ----------------------------------------------------------------------------

def test_the_six_lines_to_the_letter():
    score = np.linspace(1, .001, 200)
    right = np.arange(200) < 117             # 117 taken at 100 %, 123 at 95 %, 119 at 98 %
    above = np.arange(200) < 191             # 191 of 200 are 95.5 %: all taken at 95 %
    assert metrics.summary(score, right, above) == [
        "  Accuracy: 58.50% (N=200)",
        "  95% Accuracy Coverage: 61%",      # 61.5 cut off
        "  98% Accuracy Coverage: 59%",      # 59.5 cut off
        "  Parent Accuracy: 95.50%",
        "  Parent 95% Accuracy Coverage: 100%",
        "  Parent 98% Accuracy Coverage: 97%"]


def test_accuracy_is_rounded_and_coverage_is_cut_off():
    right = np.arange(3) < 2
    lines = metrics.summary(np.array([.9, .8, .7]), right, right)
    assert lines[0] == "  Accuracy: 66.67% (N=3)"
    assert lines[1] == "  95% Accuracy Coverage: 66%"


# ---- calibration --------------------------------------------------------------------------------

@pytest.fixture
def scores():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 7, 800)
    return 4 * (rng.normal(size=(800, 7)) + np.eye(7)[labels]), labels


def test_nll_and_log_softmax_agree_with_scikit_learn(scores):
    logits, labels = scores
    probability = np.exp(metrics.log_softmax(logits))
    assert probability.sum(axis=1) == pytest.approx(np.ones(800))
    assert metrics.nll(logits, labels) == pytest.approx(log_loss(labels, probability))


def test_large_logits_do_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        assert metrics.nll(np.array([[3e4, 0], [0, 3e4]]), np.array([0, 0])) == 15_000
    assert math.isnan(metrics.nll(np.zeros((0, 3)), np.zeros(0, int)))


def ece_by_definition(score, right, bins):
    total = 0
    for index in range(bins):
        low, high = index / bins, (index + 1) / bins
        own = [(s, r) for s, r in zip(score, right)
               if low <= s < high or (index == bins - 1 and s == 1)]
        if own:
            gap = np.mean([r for _, r in own]) - np.mean([s for s, _ in own])
            total += len(own) / len(score) * abs(gap)
    return total


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50),
       st.sampled_from([1, 4, 16]))      # powers of two, whose bounds are exact
@settings(deadline=None)
def test_ece_is_the_mean_gap_of_confidence_and_accuracy_by_bin(rows, bins):
    score, right = columns(rows)
    assert metrics.ece(score, right, bins) == pytest.approx(ece_by_definition(score, right, bins))


def test_ece_of_a_calibrated_and_of_a_boastful_model():
    assert metrics.ece(np.full(4, .75), np.array([1, 1, 1, 0], bool)) == 0
    assert metrics.ece(np.ones(4), np.zeros(4, bool)) == 1
    assert math.isnan(metrics.ece(np.zeros(0), np.zeros(0, bool)))


@pytest.mark.parametrize("scale", [.2, 1, 3])
def test_the_temperature_is_where_scipy_finds_the_lowest_nll(scores, scale):
    logits, labels = scores[0] * scale, scores[1]
    found = minimize_scalar(lambda t: log_loss(labels, np.exp(metrics.log_softmax(logits / t))),
                            bounds=(1 / 20, 20), method="bounded", options={"xatol": 1e-7}).x
    assert metrics.fit_temperature(logits, labels) == pytest.approx(found, rel=1e-4)


def test_scaling_the_logits_scales_the_temperature(scores):
    one = metrics.fit_temperature(*scores)
    assert metrics.fit_temperature(2 * scores[0], scores[1]) == pytest.approx(2 * one)


@pytest.mark.parametrize("label, end", [(0, 1 / 20), (1, 20)])
def test_a_model_that_is_always_right_or_always_wrong_gets_an_end_of_the_range(label, end):
    logits, labels = np.tile([5., 0.], (10, 1)), np.full(10, label)
    assert metrics.fit_temperature(logits, labels) == pytest.approx(end, rel=1e-6)
