"""The second stage: scores by how often an answer such as its own is right.

Numbers that are drawn, and a database of a few hundred invented products; about ten seconds.

    pytest tests/test_correctness.py
"""

import json

import numpy as np
import pytest

from learning import correctness, metrics, predictions

PARENTS = ["top", "top", "shoes", "bags"]
LEAVES = [f"{parent}.{place}" for place, parent in enumerate(PARENTS)]


def drawn(count, seed=0):
    """Log-probabilities [count, 4] and labels drawn by them, but of three in ten products that look
    like leaf 0 the label is leaf 1: a shop that confuses the two."""
    rng = np.random.default_rng(seed)
    logs = metrics.log_softmax(rng.normal(size=(count, 4)) * 3)
    labels = (np.exp(logs).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1).clip(0, 3)
    confused = (logs.argmax(axis=1) == 0) & (rng.random(count) < 0.3)
    return logs, np.where(confused, 1, labels)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


NUMBER = correctness.numbers_of(PARENTS)


def test_the_best_leaf_and_the_best_parent_get_their_probabilities_of_being_right():
    logs, labels = drawn(4000)
    model = correctness.fit(logs, labels, PARENTS)
    new, _ = drawn(1000, seed=1)
    seen, rows = correctness.evidence(new, PARENTS), np.arange(1000)
    scores = np.exp(correctness.tempered(new, model, PARENTS))
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert (scores.argmax(axis=1) == seen.first).all()
    siblings = PARENTS.count("top") == np.bincount(NUMBER)[NUMBER[seen.first]]
    above = correctness.evidence(correctness.by_parent(new, NUMBER), range(3))
    of_parent = np.exp(correctness.by_parent(np.log(scores), NUMBER))[rows, NUMBER[seen.first]]
    wanted = sigmoid(correctness.log_odds(model.parent, above))
    reached = siblings & (above.first == NUMBER[seen.first]) & (wanted > 0.334)
    assert reached.sum() > 300
    np.testing.assert_allclose(of_parent[reached], wanted[reached], atol=1e-5)
    others = np.where(siblings[:, None], scores[:, 2:], 0).max(axis=1)
    most = np.where(siblings, of_parent, 1)
    wanted = sigmoid(correctness.log_odds(model.leaf, seen))
    reached = (wanted > np.maximum(others, most / np.where(siblings, 2, 4)) + 1e-3) & (
        wanted < most - 1e-3
    )
    assert reached[siblings].mean() > 0.5 and reached[~siblings].mean() > 0.9
    np.testing.assert_allclose(scores.max(axis=1)[reached], wanted[reached], atol=1e-5)


def test_where_leaves_are_confused_below_one_parent_the_parent_stays_as_sure():
    """Three in ten answers of leaf 0 are leaf 1's, below the same parent, which is right as often
    as it says."""
    model = correctness.fit(*drawn(4000), PARENTS)
    new, truth = drawn(4000, seed=1)
    scores = correctness.tempered(new, model, PARENTS)
    for logs, most in ((new, 0.02), (scores, 0.02)):
        above = np.exp(correctness.by_parent(logs, NUMBER))
        right = above.argmax(axis=1) == NUMBER[truth]
        assert metrics.ece(above.max(axis=1), right) < most


def test_a_leaf_without_siblings_is_as_sure_as_its_parent_and_the_order_stays():
    logs, labels = drawn(4000)
    flat = ["a", "b", "c", "d"]
    model = correctness.fit(logs, labels, flat)
    new, _ = drawn(1000, seed=1)
    scores = np.exp(correctness.tempered(new, model, flat))
    wanted = sigmoid(correctness.log_odds(model.leaf, correctness.evidence(new, flat)))
    reached = wanted > 0.2501  # below that all leaves would be alike
    assert reached.mean() > 0.9
    np.testing.assert_allclose(scores.max(axis=1)[reached], wanted[reached], atol=1e-6)
    assert (np.argsort(-scores, axis=1) == np.argsort(-new, axis=1)).all()


def test_a_category_that_is_often_wrong_scores_lower_and_more_is_covered():
    logs, labels = drawn(4000)
    model = correctness.fit(logs, labels, PARENTS)
    new, truth = drawn(4000, seed=1)
    right, before = new.argmax(axis=1) == truth, np.exp(new.max(axis=1))
    after = np.exp(metrics.log_softmax(correctness.tempered(new, model, PARENTS))).max(axis=1)
    of_leaf = new.argmax(axis=1) == 0
    assert after[of_leaf].mean() < before[of_leaf].mean() - 0.15
    assert metrics.accepted(after, right, 90) > metrics.accepted(before, right, 90)
    assert metrics.ece(after, right) < metrics.ece(before, right)
    assert metrics.aurc(after, right) < metrics.aurc(before, right)


def test_a_handful_of_products_moves_the_scores_only_a_little():
    logs, labels = drawn(5)
    model = correctness.fit(logs, labels, PARENTS)
    new, _ = drawn(500, seed=1)
    new = new[np.exp(new.max(axis=1)) < 0.95]
    after = np.exp(metrics.log_softmax(correctness.tempered(new, model, PARENTS)))
    assert np.abs(after.max(axis=1) - np.exp(new.max(axis=1))).mean() < 0.15


def test_ties_and_certain_answers_end_in_numbers():
    logits = np.array([[2.0, 2, 0, 0], [0, 0, 0, 0], [900, 0, 0, 0], [1, 1 - 1e-12, 0, 0]])
    model = correctness.fit(*drawn(500), PARENTS)
    scores = np.exp(metrics.log_softmax(correctness.tempered(logits, model, PARENTS)))
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert (scores.argmax(axis=1) == 0).all() and scores[2, 0] > 0.999


def test_two_categories_are_enough():
    rng = np.random.default_rng(0)
    logs = metrics.log_softmax(rng.normal(size=(300, 2)))
    model = correctness.fit(logs, rng.integers(0, 2, 300), ["a", "b"])  # as good as chance
    scores = np.exp(metrics.log_softmax(correctness.tempered(logs, model, ["a", "b"])))
    assert 0.5 < scores.max(axis=1).mean() < 0.56


def test_a_saved_model_scores_as_the_one_that_was_trained():
    logs, labels = drawn(2000)
    model = correctness.fit(logs, labels, PARENTS)
    logits, _ = drawn(300, seed=1)
    kept = {"categories": LEAVES, "parents": PARENTS, "temperature": 1.3}
    kept = json.loads(json.dumps({**kept, **correctness.described(model)}))
    expected = correctness.tempered(logits / 1.3, model, PARENTS)
    np.testing.assert_array_equal(correctness.calibrated(logits, kept), expected)
    answers = predictions.answers(expected, 1.0, PARENTS)
    best = answers.probability[:, :2].sum(axis=1)
    of_top = answers.parent == answers.names.index("top")
    np.testing.assert_allclose(answers.parent_score[of_top], best[of_top])


def test_a_model_of_before_scores_as_before():
    logits, _ = drawn(50)
    kept = {"categories": LEAVES, "parents": PARENTS, "temperature": 1.3}
    np.testing.assert_array_equal(correctness.calibrated(logits, kept), logits / 1.3)
    assert correctness.described(None) == {}


def test_each_product_has_one_blind_member_and_folds_do_not_choose_it():
    u = np.random.default_rng(0).random(20_000)
    blind = correctness.blind_members(u, 5)
    assert set(blind) == set(range(5))
    fold = np.floor(u * 10).astype(int)
    table = np.zeros((10, 5))
    np.add.at(table, (fold, blind), 1)
    assert table.min() > 320 and table.max() < 480  # 400 each, by chance


def test_a_sample_of_the_text_and_of_the_picture_is_of_the_same_products():
    u = np.random.default_rng(0).random(5000)
    leaves = correctness.MOST_SCORES // 1500
    text = correctness.sample(np.arange(5000), u, leaves)
    picture = correctness.sample(np.arange(0, 5000, 2), u, leaves)
    assert len(text) == len(picture) == correctness.MOST_SCORES // leaves
    even = text[text % 2 == 0]
    assert np.isin(even, picture).all() and 600 < len(even) < 900


@pytest.mark.parametrize("count", (0, 1))
def test_without_products_nothing_is_learned_and_nothing_breaks(count):
    logs, labels = drawn(count)
    model = correctness.fit(logs, labels, PARENTS)
    assert np.isfinite(correctness.tempered(drawn(10)[0], model, PARENTS)).all()
