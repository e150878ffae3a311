"""What an audit says in worlds that are known: how often it errs, and that its controls do err.

    pytest tests/test_audit_limits.py

The worlds are those of benchmarks/audit.py, which prints how many answers a verdict takes.
"""

import importlib.util
import math

import numpy as np
import pytest
from conftest import REPO
from scipy.stats import hypergeom

from evaluation import audit_limits
from evaluation.audit_limits import BROKEN, KEPT, OPEN, Counts, Limits

ALPHA = 0.05
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def worlds_of():
    """The module benchmarks/audit.py."""
    spec = importlib.util.spec_from_file_location("audit_worlds", REPO / "benchmarks" / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def most_false(worlds):
    """The share of so many worlds in which a verdict may be false: one of twenty, and by chance three
    standard errors more."""
    return ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / worlds)


def limits_of(filed, looked, wrong, target=0.98, unsure=0):
    return audit_limits.limits(Counts(filed, looked, wrong, unsure), target, ALPHA)


# ---- how often it errs ----------------------------------------------------------------------------


def ever(filed, wrong, most, hits):
    """The exact probability that `hits`, bool [most + 1, most + 1] by answers and wrong ones, is ever
    true while the products are looked at one after another."""
    alive, reached = np.zeros(most + 1), 0.0
    alive[0] = 1.0
    found = np.arange(most + 1)
    for looked in range(1, most + 1):
        is_wrong = np.clip((wrong - found) / (filed - looked + 1), 0, 1)
        alive = alive * (1 - is_wrong) + np.append(0, (alive * is_wrong)[:-1])
        reached += alive[hits[looked]].sum()
        alive[hits[looked]] = 0
    return reached


@pytest.mark.parametrize("target", (0.9, 0.95, 0.98))
@pytest.mark.parametrize("filed", (100, 1000))
def test_a_promise_that_is_just_kept_is_called_broken_in_one_of_twenty_at_most(
    worlds_of, filed, target
):
    """By exact arithmetic, with a look after each answer until all were looked at."""
    kept, broken = worlds_of.edges(filed, filed, target, ALPHA, audit_limits.limits)
    found = np.arange(filed + 1)
    wrong = round((1 - target) * filed)
    false_alarms = ever(filed, wrong, filed, found >= broken[:, None])
    # And one that is broken by a single product is called kept as seldom.
    falsely_kept = ever(filed, wrong + 1, filed, found <= kept[:, None])
    assert max(false_alarms, falsely_kept) < ALPHA
    assert filed < 1000 or min(false_alarms, falsely_kept) > 0.001  # a hundred can't surprise
    # The same arithmetic finds what is common: a promise that is far from kept.
    assert ever(filed, filed // 3, filed, found >= broken[:, None]) > 0.99


def test_the_truth_is_hardly_ever_outside_of_the_limits_at_any_answer(worlds_of):
    filed, most = 400, 200
    for wrong in (4, 20, 60):
        outside = np.zeros((most + 1, most + 1), bool)
        for looked in range(1, most + 1):
            for found in range(min(looked, wrong) + 1):
                low, high = limits_of(filed, looked, found, 0.95)
                outside[looked, found] = not low <= 1 - wrong / filed + 1e-12 <= high + 2e-12
        assert ever(filed, wrong, most, outside) < ALPHA


def test_the_evidence_against_what_is_true_is_expected_to_stay_at_one():
    """That makes it a martingale, on which the limits rest."""
    for filed, wrong, looked in ((60, 3, 10), (300, 15, 100), (50, 50, 20)):
        expected = sum(
            hypergeom.pmf(found, filed, wrong, looked)
            * math.exp(audit_limits.log_evidence(filed, looked, found, wrong, 0.95))
            for found in range(max(0, wrong - filed + looked), min(wrong, looked) + 1)
        )
        assert expected <= 1 + 1e-9
    assert expected < 1  # all are wrong: the mixture also allows for what can't happen


@pytest.fixture(params=[(300, 600), pytest.param((2000, 1500), marks=SLOW)])
def size(request):
    """(worlds, answers in each): few tell a gross error, many a small one."""
    return request.param


@pytest.mark.parametrize("target", (95, 98))
def test_drawn_worlds_in_which_the_promise_is_true(worlds_of, size, target):
    worlds, most = size
    for gap in (0, -1):
        broken, _ = worlds_of.simulate(
            worlds, 10_000, (target - gap) / 100, most, target / 100, ALPHA
        )
        assert broken.ever.mean() <= most_false(worlds)


@pytest.mark.parametrize("target", (0.95, 0.98))
def test_drawn_worlds_in_which_more_is_filed_during_the_audit(worlds_of, size, target):
    """A thousand products are filed, and after 150 answers a thousand more. The next 150 answers are
    about the new ones, as in audit.draw, and the rest about all."""
    worlds, rng, half = size[0], np.random.default_rng(3), 1000
    most = 600
    first, second = (
        rng.permuted(np.tile(np.arange(half) < round((1 - target) * half), (worlds, 1)), axis=1)
        for _ in range(2)
    )
    rest = rng.permuted(np.hstack([first[:, 150:], second[:, 150:]]), axis=1)
    wrong = np.hstack([first[:, :150], second[:, :150], rest[:, : most - 300]])
    counts = np.cumsum(np.column_stack([np.zeros(worlds, int), wrong]), 1)
    _, before = worlds_of.edges(half, 150, target, ALPHA, audit_limits.limits)
    _, after = worlds_of.edges(2 * half, most, target, ALPHA, audit_limits.limits)
    is_broken = counts >= after
    is_broken[:, :151] |= counts[:, :151] >= before
    assert is_broken.any(1).mean() <= most_false(worlds)


@pytest.mark.parametrize("target", (95, 98))
def test_drawn_worlds_in_which_the_promise_is_false(worlds_of, size, target):
    worlds, most = size
    ever_broken = []
    for gap in (0.5, 1, 2, 5):
        broken, kept = worlds_of.simulate(
            worlds, 10_000, (target - gap) / 100, most, target / 100, ALPHA
        )
        assert kept.ever.mean() <= most_false(worlds)
        ever_broken.append(broken.ever.mean())
    assert ever_broken == sorted(ever_broken)
    assert ever_broken[-1] > 0.9  # false by five points: it is found


def test_control_limits_of_a_fixed_sample_break_their_word_if_one_looks_after_each_answer(
    worlds_of, size
):
    worlds, most = size
    broken, _ = worlds_of.simulate(worlds, 10_000, 0.95, most, 0.95, ALPHA, worlds_of.fixed_limits)
    false_alarms = broken.ever.mean()
    assert false_alarms > most_false(worlds)


def test_control_a_sample_of_the_surest_products_calls_a_broken_promise_kept(worlds_of):
    """What makes the limits hold is chance. Here the products with the highest scores are looked at,
    of which fewer are wrong."""
    kept, _ = worlds_of.edges(10_000, 600, 0.98, ALPHA, audit_limits.limits)
    rng = np.random.default_rng(1)
    wrong = rng.random((300, 600)) < 0.002  # and 3 % of all that was filed
    counts = np.cumsum(np.column_stack([np.zeros(300, int), wrong]), 1)
    assert ((counts <= kept) & (kept >= 0)).any(1).mean() > 0.9


# ---- what the limits are --------------------------------------------------------------------------


def test_before_the_first_answer_all_is_open():
    assert limits_of(1000, 0, 0) == Limits(0, 1)
    assert audit_limits.verdict(Limits(0, 1), 0.98) == OPEN


def test_when_all_were_looked_at_the_share_is_known():
    assert limits_of(127, 127, 3) == pytest.approx((124 / 127, 124 / 127))
    assert audit_limits.verdict(limits_of(100, 100, 2), 0.98) == KEPT
    assert audit_limits.verdict(limits_of(100, 100, 3), 0.98) == BROKEN


def test_more_answers_narrow_the_limits_and_more_errors_lower_them():
    for filed in (60, 5000):
        widths = [np.diff(limits_of(filed, looked, 0))[0] for looked in (5, 15, 30, 60)]
        assert widths == sorted(widths, reverse=True)
        by_errors = [limits_of(filed, 40, wrong, 0.95) for wrong in range(41)]
        assert by_errors == sorted(by_errors, reverse=True)
        assert [high for _, high in by_errors] == sorted((h for _, h in by_errors), reverse=True)


def test_who_is_not_sure_widens_the_limits_on_both_sides():
    sure_right, sure_wrong = limits_of(5000, 200, 2), limits_of(5000, 200, 7)
    unsure = limits_of(5000, 200, 2, unsure=5)
    assert unsure == Limits(sure_wrong.low, sure_right.high)


def test_limits_of_many_products_are_worked_out_at_once():
    low, high = limits_of(10**7, 150, 3)
    assert 0.9 < low < 0.98 < high < 1


# ---- what it takes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("filed", (300, 5000))
@pytest.mark.parametrize("wrong", (0, 2))
def test_so_many_answers_confirm_a_promise_and_not_one_fewer(filed, wrong):
    for target in (0.95, 0.98):
        needed = audit_limits.answers_needed(filed, wrong, target, ALPHA)
        verdicts = [
            audit_limits.verdict(limits_of(filed, looked, wrong, target), target)
            for looked in range(wrong, filed + 1)
        ]
        assert verdicts.index(KEPT) + wrong == needed
        assert set(verdicts[: needed - wrong]) == {OPEN}
        assert set(verdicts[needed - wrong :]) == {KEPT}


def test_with_too_many_errors_no_number_of_answers_does():
    assert audit_limits.answers_needed(100, 5, 0.95, ALPHA) == 100
    assert audit_limits.answers_needed(100, 6, 0.95, ALPHA) is None
    assert audit_limits.answers_needed(0, 0, 0.95, ALPHA) is None


# ---- the threshold that it supports -----------------------------------------------------------------


def answers_by_score(filed, every, is_wrong):
    """(scores of what was filed, answers of each `every`-th): scores rise from 0 to 1."""
    scores = [number / filed for number in range(filed)]
    answers = [(score, "wrong" if is_wrong(score) else "right") for score in scores[::every]]
    return scores, answers


def test_the_lowest_threshold_above_which_the_target_is_kept_is_named():
    scores, answers = answers_by_score(2000, 2, lambda score: score < 0.2)
    found = audit_limits.supported_threshold(scores, answers, 0.95, ALPHA)
    assert found.confirmed and found.threshold == 0.25 and found.counts == (1500, 750, 0, 0)


def test_few_answers_agree_with_a_threshold_and_confirm_none():
    scores, answers = answers_by_score(2000, 40, lambda score: score < 0.2)
    found = audit_limits.supported_threshold(scores, answers, 0.95, ALPHA)
    assert not found.confirmed and found.threshold == 0.25 and found.counts.looked == 37


def test_if_errors_are_everywhere_no_threshold_is_supported():
    scores, answers = answers_by_score(2000, 2, lambda score: round(score * 2000) % 8 == 0)
    assert audit_limits.supported_threshold(scores, answers, 0.95, ALPHA) is None
    assert audit_limits.supported_threshold([], [], 0.95, ALPHA) is None


def test_the_best_of_seven_thresholds_hardly_ever_breaks_its_word():
    """Scores say nothing here, and one product too many is wrong above each threshold."""
    rng, filed, broken = np.random.default_rng(0), 800, 0
    for _ in range(100):
        wrong = rng.permutation(filed) < 0.06 * filed
        scores = np.arange(filed) / filed
        looked = rng.permutation(filed)[:300]
        answers = [(scores[i], "wrong" if wrong[i] else "right") for i in looked]
        found = audit_limits.supported_threshold(scores.tolist(), answers, 0.95, ALPHA)
        if found and found.confirmed:
            broken += wrong[scores >= found.threshold].mean() > 0.05
    assert broken <= 100 * most_false(100)
