"""Coverage, comparison, calibration, suspects and the printed figures against plain definitions and
independent code. What is promised of coverage is in test_certificates.py.

    pytest tests/test_metrics.py
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binned_statistic, binom, binomtest
from sklearn.metrics import log_loss

from evaluation import certificates
from learning import metrics

PREDICTIONS = st.lists(
    st.tuples(st.sampled_from([0, 0.1, 0.25, 0.5, 0.5000001, 0.9, 1]), st.booleans()), max_size=60
)


SEEDS = st.integers(0, 2**32 - 1)


def columns(rows):
    return (
        np.array([score for score, _ in rows], float),
        np.array([right for _, right in rows], bool),
    )


def accepted_by_definition(rows, percent):
    """The largest set 'every score >= threshold' of which at least percent % are right."""
    sizes = [0]
    for threshold in {score for score, _ in rows}:
        taken = [right for score, right in rows if score >= threshold]
        if Fraction(sum(taken), len(taken)) >= Fraction(percent, 100):
            sizes.append(len(taken))
    return max(sizes)


# ---- coverage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows, percent, expected",
    [
        ([], 95, 0),
        ([(0.9, True)], 95, 1),
        ([(0.9, False)], 95, 0),
        ([(0.9, False)] * 3 + [(0.1, False)], 95, 0),
        ([(0.9, True), (0.8, True), (0.7, True)], 100, 3),
        ([(0.9, True), (0.8, False), (0.7, True)], 100, 1),
        (
            [(0.9, False), (0.8, True), (0.7, True), (0.6, True)],
            75,
            4,
        ),  # wrong at the top, right at last
        ([(0.9, True), (0.5, True), (0.5, False)], 95, 1),  # of a tie neither is taken
        ([(0.5, True), (0.5, False), (0.9, True)], 66, 3),  # or all of it
        ([(0.5, True)] * 19 + [(0.5, False)], 95, 20),
        ([(0.5, True)] * 18 + [(0.5, False)] * 2, 95, 0),
        ([(0.5, True)] * 29 + [(0.5, False)] * 71, 29, 100),  # .29 * 100 is 28.999999999999996
        ([(0.5, True)] * 29 + [(0.5, False)] * 71, 30, 0),
        ([(0.5, True)] * 57 + [(0.5, False)] * 43, 57, 100),
    ],
)
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
        assert metrics.accepted(*columns(rows), percent) == metrics.accepted(
            *columns(shuffled), percent
        )


@given(PREDICTIONS.filter(len), st.integers(1, 100))
@settings(deadline=None)
def test_coverage_is_a_whole_percentage_cut_off(rows, percent):
    exact = Fraction(100 * accepted_by_definition(rows, percent), len(rows))
    assert metrics.coverage_percent(*columns(rows), percent) == math.floor(exact)


def coverage_of_2016(score, right, percent):
    """The share above the first of the thresholds 0, .001 ... .999 at which so many are right."""
    for threshold in np.arange(1000) / 1000:
        taken = right[score >= threshold]
        if len(taken) and 100 * taken.sum() >= percent * len(taken):
            return len(taken) / len(score)
    return 0


@given(SEEDS, st.integers(1, 400), st.floats(0.01, 1), st.sampled_from([95, 98]))
def test_coverage_is_never_below_that_of_2016_which_tried_a_thousand_thresholds(
    seed, n, doubt, percent
):
    rng = np.random.default_rng(seed)
    score = rng.beta(3, doubt, n)
    right = rng.random(n) < score
    assert metrics.accepted(score, right, percent) / n >= coverage_of_2016(score, right, percent)


def test_scores_above_the_last_threshold_of_2016_can_be_told_apart():
    score, right = np.linspace(0.9991, 0.9999, 100), np.arange(100) >= 20
    assert coverage_of_2016(score, right, 95) == 0
    assert metrics.accepted(score, right, 95) == 84  # 80 right and 4 wrong: 95.2 %


def test_no_predictions_are_no_error():
    none = columns([])
    assert metrics.coverage_percent(*none, 95) == 0
    assert metrics.summary_lines(*none, none[1])[0] == "  Accuracy: 0.00% (N=0)"


# ---- what is printed ----------------------------------------------------------------------------


def test_the_six_lines_to_the_letter():
    score = np.linspace(1, 0.001, 200)
    right = np.arange(200) < 117  # 117 taken at 100 %, 123 at 95 %, 119 at 98 %
    above = np.arange(200) < 191  # 191 of 200 are 95.5 %: all taken at 95 %
    assert metrics.summary_lines(score, right, above) == [
        "  Accuracy: 58.50% (N=200)",
        "  95% Accuracy Coverage: 61%",  # 61.5 cut off
        "  98% Accuracy Coverage: 59%",  # 59.5 cut off
        "  Parent Accuracy: 95.50%",
        "  Parent 95% Accuracy Coverage: 100%",
        "  Parent 98% Accuracy Coverage: 97%",
    ]


def test_accuracy_is_rounded_and_coverage_is_cut_off():
    right = np.arange(3) < 2
    lines = metrics.summary_lines(np.array([0.9, 0.8, 0.7]), right, right)
    assert lines[0] == "  Accuracy: 66.67% (N=3)"
    assert lines[1] == "  95% Accuracy Coverage: 66%"


# ---- how sure a figure is -----------------------------------------------------------------------


def assert_agrees_with_scipy(k, n, p):
    expected = binom.cdf(k, n, p)
    if expected > 1e-250:
        assert metrics.binomial_cdf(k, n, p) == pytest.approx(expected, rel=1e-8, abs=0)
    else:
        assert 0 <= metrics.binomial_cdf(k, n, p) < 1e-249


@given(
    st.integers(0, 2000).flatmap(lambda n: st.tuples(st.integers(-1, n + 1), st.just(n))),
    st.floats(1e-9, 1 - 1e-9),
)
def test_binomial_tails_of_any_count_agree_with_scipy(counts, p):
    assert_agrees_with_scipy(*counts, p)


@given(st.integers(1, 2000), st.floats(1e-6, 1 - 1e-6), st.floats(-20, 8))
def test_binomial_tails_agree_with_scipy_as_many_deviations_off_the_mean(n, p, deviations):
    assert_agrees_with_scipy(int(n * p + deviations * math.sqrt(n * p * (1 - p))), n, p)


@pytest.mark.parametrize("p", [1e-5, 0.02, 0.05, 0.3, 0.98])
@pytest.mark.parametrize("deviations", [-30, -10, -3, -1, -0.01, 0.01, 1, 3, 6])
def test_binomial_tails_of_a_million_agree_with_scipy(p, deviations):
    n = 1_000_000
    assert_agrees_with_scipy(int(n * p + deviations * math.sqrt(n * p * (1 - p))), n, p)


@pytest.mark.parametrize(
    "k, n, expected", [(-1, 0, 0), (-1, 9, 0), (0, 0, 1), (9, 9, 1), (12, 9, 1)]
)
def test_binomial_tails_end_in_nothing_and_in_certainty(k, n, expected):
    assert metrics.binomial_cdf(k, n, 0.5) == expected


@given(
    st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99, 0.999]),
)
@example((0, 1), 0.95)
@example((5000, 5000), 0.99)
def test_wilson_agrees_with_scipy(counts, confidence):
    interval = binomtest(*counts).proportion_ci(confidence, method="wilson")
    assert metrics.wilson(*counts, confidence) == pytest.approx(tuple(interval), abs=1e-12)


def test_a_share_of_nothing_may_be_anything():
    assert metrics.wilson(0, 0) == (0, 1)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_two_sided_sign_test(only_first, only_second):
    assume(only_first + only_second)
    expected = binomtest(min(only_first, only_second), only_first + only_second, 0.5).pvalue
    assert metrics.mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)
    assert metrics.mcnemar(only_second, only_first) == metrics.mcnemar(only_first, only_second)


def test_classifiers_that_are_never_right_alone_do_not_differ():
    assert metrics.mcnemar(0, 0) == 1


# ---- the bootstrap ------------------------------------------------------------------------------


def two_classifiers(rng, n, digits):
    """Two (score, right) of the same n products, whose scores tie the more the fewer digits."""
    scores = np.round(rng.beta(3, 0.4, (2, n)), digits)
    return [(score, rng.random(n) < 0.3 + 0.7 * score) for score in scores]


@given(SEEDS, st.integers(1, 200))
def test_a_classifier_does_not_differ_from_itself(seed, n):
    rng = np.random.default_rng(seed)
    one, _ = two_classifiers(rng, n, 2)
    groups = rng.integers(0, 20, n)
    assert (metrics.bootstrap_differences(one, one, groups, rounds=20) == 0).all()


def test_groups_are_drawn_as_a_whole_and_a_round_counts_the_products_it_drew():
    """One group of one product speaks for the second classifier, one of three for the first."""
    second = np.array([True, False, False, False])
    score, groups = np.full(4, 0.5), np.array([7, 3, 3, 3])
    found = metrics.bootstrap_differences((score, ~second), (score, second), groups, rounds=4000)
    values, counts = np.unique(found[:, 0], return_counts=True)
    assert values.tolist() == [-1, -0.5, 1]  # the larger twice, both, the smaller twice
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_of_single_products_the_rounds_have_the_mean_and_deviation_of_the_paired_difference():
    rng, n = np.random.default_rng(1), 2000
    first, second = two_classifiers(rng, n, 15)
    single = second[1].astype(int) - first[1]
    found = metrics.bootstrap_differences(first, second, rng.permutation(n), rounds=4000)[:, 0]
    deviation = single.std() / math.sqrt(n)
    assert found.mean() == pytest.approx(single.mean(), abs=4 * deviation / math.sqrt(4000))
    assert found.std() == pytest.approx(deviation, rel=0.05)


@given(SEEDS, st.integers(1, 80), st.integers(1, 20), st.sampled_from([1, 2, 15]))
def test_each_round_is_what_the_rows_it_drew_give_when_they_are_written_out(
    seed, n, most_groups, digits
):
    rng = np.random.default_rng(seed)
    first, second = two_classifiers(rng, n, digits)
    groups = rng.integers(0, most_groups, n) * 5 - 3
    found = metrics.bootstrap_differences(first, second, groups, (50, 95), rounds=5, seed=seed)
    again, names = np.random.default_rng(seed), np.unique(groups)
    for differences in found:
        drawn = names[again.integers(0, len(names), len(names))]
        rows = np.concatenate([np.flatnonzero(groups == name) for name in drawn])
        figures = [
            [
                right[rows].sum(),
                *(metrics.accepted(score[rows], right[rows], percent) for percent in (50, 95)),
            ]
            for score, right in (first, second)
        ]
        assert differences.tolist() == (np.subtract(figures[1], figures[0]) / len(rows)).tolist()


# ---- one product of each group ------------------------------------------------------------------


@given(st.lists(st.integers(-5, 15), max_size=60), SEEDS)
def test_one_of_each_has_one_row_of_each_group_in_ascending_order_and_always_the_same(groups, seed):
    rows = certificates.one_of_each(groups, seed)
    assert sorted(np.array(groups)[rows]) == sorted(set(groups))
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == certificates.one_of_each(groups, seed).tolist()


def test_each_member_of_a_group_has_the_same_chance_to_be_its_one():
    groups, rounds = np.repeat([4, 2, 9], [1, 5, 2]), 5000
    drawn = np.bincount(
        np.concatenate([certificates.one_of_each(groups, seed) for seed in range(rounds)]),
        minlength=8,
    )
    expected = np.repeat([1, 1 / 5, 1 / 2], [1, 5, 2])
    assert drawn / rounds == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(rounds))


# ---- risk and coverage --------------------------------------------------------------------------


def aurc_by_definition(rows):
    """The mean, over all orders of tied products, of the mean share wrong of the first 1 ... n."""
    areas = []
    for order in itertools.permutations(rows):
        if all(a[0] >= b[0] for a, b in zip(order, order[1:])):
            areas.append(
                np.mean(
                    [
                        np.mean([not right for _, right in order[:count]])
                        for count in range(1, len(rows) + 1)
                    ]
                )
            )
    return np.mean(areas)


@given(
    st.lists(st.tuples(st.sampled_from([0, 0.3, 0.7, 1]), st.booleans()), min_size=1, max_size=6)
)
@settings(max_examples=50)
def test_aurc_of_ties_is_the_mean_over_all_orders(rows):
    assert metrics.aurc(*columns(rows)) == pytest.approx(aurc_by_definition(rows))


@given(SEEDS, st.integers(1, 500))
def test_aurc_is_the_mean_share_wrong_over_all_counts(seed, n):
    rng = np.random.default_rng(seed)
    score, right = rng.random(n), rng.random(n) < 0.7
    assert len(set(score)) == n
    shares = [(~right[score >= threshold]).mean() for threshold in score]
    assert metrics.aurc(score, right) == pytest.approx(np.mean(shares))


def test_aurc_of_nothing_is_not_a_number():
    assert math.isnan(metrics.aurc(*columns([])))


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
        own = [
            (s, r)
            for s, r in zip(score, right)
            if low <= s < high or (index == bins - 1 and s == 1)
        ]
        if own:
            gap = np.mean([r for _, r in own]) - np.mean([s for s, _ in own])
            total += len(own) / len(score) * abs(gap)
    return total


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50),
    st.sampled_from([1, 4, 16]),
)  # powers of two, whose bounds are exact
@settings(deadline=None)
def test_ece_is_the_mean_gap_of_confidence_and_accuracy_by_bin(rows, bins):
    score, right = columns(rows)
    assert metrics.ece(score, right, bins) == pytest.approx(ece_by_definition(score, right, bins))


@given(SEEDS, st.integers(1, 500))
def test_ece_over_fifteen_bins_agrees_with_scipy(seed, n):
    rng = np.random.default_rng(seed)
    score, right = rng.random(n), rng.random(n) < 0.6
    assume(abs(score * 15 - np.round(score * 15)).min() > 1e-9)  # of bounds there is no telling
    gap = binned_statistic(score, right - score, "sum", bins=15, range=(0, 1)).statistic
    assert metrics.ece(score, right) == pytest.approx(abs(gap).sum() / n)


def test_ece_of_a_calibrated_and_of_a_boastful_model():
    assert metrics.ece(np.full(4, 0.75), np.array([1, 1, 1, 0], bool)) == 0
    assert metrics.ece(np.ones(4), np.zeros(4, bool)) == 1
    assert math.isnan(metrics.ece(np.zeros(0), np.zeros(0, bool)))


@pytest.mark.parametrize("scale", [0.2, 1, 3])
@pytest.mark.parametrize("n", [5, 800])
def test_the_temperature_is_where_scipy_finds_the_lowest_nll_with_its_prior(scores, scale, n):
    logits, labels = scores[0][:n] * scale, scores[1][:n]
    found = minimize_scalar(
        lambda t: (
            log_loss(labels, np.exp(metrics.log_softmax(logits / t)), labels=range(7))
            + 2 * np.log(t) ** 2 / n
        ),
        bounds=(1 / 20, 20),
        method="bounded",
        options={"xatol": 1e-7},
    ).x
    assert metrics.fit_temperature(logits, labels) == pytest.approx(found, rel=1e-4)


def test_with_many_products_the_prior_is_hardly_felt(scores):
    logits, labels = np.tile(scores[0], (20, 1)), np.tile(scores[1], 20)
    found = minimize_scalar(
        lambda t: log_loss(labels, np.exp(metrics.log_softmax(logits / t))),
        bounds=(1 / 20, 20),
        method="bounded",
        options={"xatol": 1e-7},
    ).x
    assert metrics.fit_temperature(logits, labels) == pytest.approx(found, rel=0.002)


@pytest.mark.parametrize("label, low, high", [(0, 0.5, 1), (1, 1, 8)])
def test_a_handful_that_are_all_right_or_all_wrong_do_not_make_the_scores_extreme(label, low, high):
    logits, labels = np.tile([5.0, 0.0], (10, 1)), np.full(10, label)
    assert low < metrics.fit_temperature(logits, labels) < high
    assert metrics.fit_temperature(logits[:0], labels[:0]) == 1


# ---- labels that are probably wrong -------------------------------------------------------------


def probabilities(rng, n, classes, digits):
    """(labels, probability [n, classes] rounded to so many digits, nowhere 0): a classifier that is
    mostly right and sometimes sure, and labels that are sometimes wrong, those of class 0 perhaps
    always."""
    truth = rng.integers(rng.integers(2), classes, n)
    sure = rng.gamma(rng.uniform(0.2, 4), size=(n, classes)) + 1e-9
    sure[np.arange(n), truth] += rng.exponential(rng.uniform(0.5, 6), n)
    labels = np.where(rng.random(n) < 0.25, rng.integers(0, classes, n), truth)
    labels[:2] = 0, 1  # cleanlab wants two classes
    rounded = np.round(sure / sure.sum(axis=1, keepdims=True), digits)
    return labels, rounded


def suspects_of_best(labels, probability, best):
    """metrics.label_suspects where the so many most probable classes of each row are known."""
    order = np.argsort(-probability, axis=1, kind="stable")[:, :best]
    return metrics.label_suspects(
        labels,
        probability[np.arange(len(labels)), labels],
        order,
        np.take_along_axis(probability, order, axis=1),
    )


def thresholds_of(labels, probability):
    """The mean probability of each class over the rows labelled so, infinite where none is."""
    return np.array(
        [
            probability[labels == j, j].mean() if (labels == j).any() else math.inf
            for j in range(probability.shape[1])
        ]
    )


def suspects_of_cleanlab(labels, probability):
    """{row: suggested class} by cleanlab, the likeliest first. The suggestion is the class that the
    loop in compute_confident_joint's docstring counts the row under."""
    cleanlab = pytest.importorskip("cleanlab.filter")
    rows = cleanlab.find_label_issues(
        labels,
        probability,
        filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin",
        n_jobs=1,
    )
    thresholds, found = thresholds_of(labels, probability), {}
    for row in rows.tolist():
        confident = probability[row] >= thresholds - 1e-6
        found[row] = int(np.argmax(confident if confident.sum() == 1 else probability[row]))
    return found


def margins(labels, probability):
    """How much more probable than its label the most probable other class of each row is."""
    other, rows = probability.copy(), np.arange(len(labels))
    other[rows, labels] = -1
    return other.max(axis=1) - probability[rows, labels]


@given(SEEDS, st.integers(2, 5), st.integers(20, 200), st.sampled_from([1, 2, 6]))
def test_suspects_their_order_and_the_suggestions_are_cleanlabs(seed, classes, n, digits):
    labels, probability = probabilities(np.random.default_rng(seed), n, classes, digits)
    expected, margin = suspects_of_cleanlab(labels, probability), margins(labels, probability)
    assume(not ((margin > 0) & (margin < 3e-6)).any())  # where cleanlab's own tolerance decides
    rows, guess, by = suspects_of_best(labels, probability, classes)
    assert dict(zip(rows.tolist(), guess.tolist())) == expected
    assert by == pytest.approx(margin[rows], abs=1e-12)
    assert by == pytest.approx(margin[list(expected)], abs=1e-12)  # ties in either order
    assert (np.diff(by) <= 0).all()


@given(SEEDS, st.integers(6, 12), st.integers(50, 300))
def test_five_classes_are_enough_for_all_rows_where_no_other_reaches_its_threshold(
    seed, classes, n
):
    labels, probability = probabilities(np.random.default_rng(seed), n, classes, 6)
    margin = margins(labels, probability)
    assume(not ((margin > 0) & (margin < 3e-6)).any())
    beyond = np.argsort(-probability, axis=1, kind="stable")[:, 5:]
    reached = (
        np.take_along_axis(probability, beyond, axis=1)
        >= thresholds_of(labels, probability)[beyond] - 1e-6
    ) & (beyond != labels[:, None])
    same = ~reached.any(axis=1)
    rows, guess, _ = suspects_of_best(labels, probability, 5)
    found, expected = zip(rows, guess), suspects_of_cleanlab(labels, probability).items()
    assert {row: suggestion for row, suggestion in found if same[row]} == {
        row: suggestion for row, suggestion in expected if same[row]
    }


def test_a_label_beyond_the_five_that_reaches_its_threshold_counts_as_confident():
    """As then two are in the last row, the label and class 1, the most probable class is taken."""
    labels, probability = (
        np.array([0, 1, 6]),
        np.array(
            [
                [0.90, 0.02, 0.02, 0.02, 0.02, 0.01, 0.01],
                [0.05, 0.25, 0.20, 0.20, 0.20, 0.05, 0.05],
                [0.40, 0.30, 0.10, 0.08, 0.06, 0.03, 0.03],
            ]
        ),
    )
    rows, guess, margin = suspects_of_best(labels, probability, 5)
    assert (rows.tolist(), guess.tolist()) == ([2], [0])
    assert margin == pytest.approx([0.37])
    assert suspects_of_cleanlab(labels, probability) == {2: 0}


def test_a_tie_by_rounding_is_no_suspect():
    labels, best = np.array([0, 0, 1, 1]), np.array([[0, 1], [0, 1], [1, 0], [0, 1]])
    probability = np.array([[0.4, 0.3], [0.4, 0.3], [0.6, 0.4], [0.5, 0.5]])
    own = np.array([0.4, 0.4, 0.6, 0.4999996])
    assert len(metrics.label_suspects(labels, own, best, probability)[0]) == 0
    probability[3] = 0.500001, 0.499999
    assert metrics.label_suspects(labels, own, best, probability)[0].tolist() == [3]


def test_no_products_have_no_suspects():
    none = np.zeros((0, 1))
    rows, guess, margin = metrics.label_suspects(
        none[:, 0].astype(int), none[:, 0], none.astype(int), none
    )
    assert len(rows) == len(guess) == len(margin) == 0


def test_nobody_is_sure_of_a_class_that_has_no_probability_anywhere():
    labels = np.array([0, 0, 1, 1, 2, 0])
    sure = np.array(
        [
            [0.95, 0.05, 0],
            [0.95, 0.05, 0],
            [0.2, 0.8, 0],
            [0.2, 0.8, 0],
            [0.9, 0.1, 0],
            [0.45, 0.55, 0],
        ]
    )
    rows, guess, _ = suspects_of_best(labels, sure, 3)
    assert (rows.tolist(), guess.tolist()) == ([4], [0])


def test_fewer_classes_than_columns_are_padded_with_what_counts_for_nothing():
    labels, own = np.array([0, 0, 1, 0]), np.array([0.6, 0.6, 0.35, 0.45])
    best = np.array([[0, 1, 2], [0, 1, 2], [1, 0, 2], [1, 0, 0]])
    sure = np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.35, 0.3, 0.3], [0.5, 0.45, -1]])
    rows, guess, margin = metrics.label_suspects(labels, own, best, sure)
    assert (rows.tolist(), guess.tolist()) == ([3], [1]) and margin == pytest.approx([0.05])


@pytest.mark.parametrize(
    "p, text",
    (
        (1, "= 1"),
        (0.04199, "= 0.042"),
        (3e-250, "= 3e-250"),
        (0, "< 1e-300"),
        (metrics.mcnemar(3000, 100), "< 1e-300"),
    ),
)
def test_a_p_value_is_never_said_to_be_nought(p, text):
    assert metrics.p_value(p) == text


def test_a_loss_is_never_below_nought_and_nan_stays_nan():
    sure = np.array([[40.0, 0.0], [800.0, -800.0]])
    assert str(metrics.nll(sure, [0, 0])) == "0.0"
    assert np.isnan(metrics.nll(np.array([[np.nan, 0.0]]), [0]))
