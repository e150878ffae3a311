"""What is promised, and if it holds of new products: the decisions, on rows drawn by hand.

pytest tests/test_guarantees.py
"""

import collections
import math

import numpy as np
import pytest

from evaluation import certificates, certified_figures, figures, guarantees, promise_text, refusals
from learning import metrics

NAMES = ["easy", "hard", "harder"]
ABOVE = np.array([3, 4, 4, -2])  # the hard ones have one parent


def rows_of(n, rng, easy=0.8, strange=0.0):
    """findings.ROW [n] of three leaves: products of the easy one are right 99 times in a hundred,
    of the hard ones 85 times, and else taken for each other or for the easy one. `strange` of them
    are of a leaf that no answer names."""
    rows = np.zeros(n, figures.ROW)
    label = np.where(rng.random(n) < easy, 0, rng.integers(1, 3, n))
    wrong = rng.random(n) >= np.where(label == 0, 0.99, 0.85)
    rows["predicted"] = np.where(wrong, (label + rng.integers(1, 3, n)) % 3, label)
    odd = rng.random(n) < strange
    rows["label"], rows["fold"] = np.where(odd, -1, label), np.where(odd, -1, 0)
    rows["score"] = np.where(rows["predicted"] == 0, 0.9, 0.7) + 0.1 * rng.random(n)
    rows["group"], rows["parent"] = np.arange(n), ABOVE[rows["predicted"]]
    rows["parent_score"] = rows["score"]
    return rows


def promise_of(rows, target):
    found = certified_figures.certify_pair(rows, ABOVE, target, 0.95)
    return {
        "target": target,
        **{level: None if one == math.inf else one for level, one in found._asdict().items()},
    }


def counts_of(new, labelled):
    return collections.Counter(
        zip(
            [NAMES[code] for code in new["predicted"]],
            np.digitize(new["score"], refusals.edges(labelled)).tolist(),
        )
    )


@pytest.mark.parametrize("easy, at_the_leaf", ((0.8, True), (0.5, False)))
def test_a_batch_of_harder_products_is_not_filed_at_leaves_and_others_are(easy, at_the_leaf):
    rng = np.random.default_rng(1)
    labelled, new = rows_of(8000, rng), rows_of(4000, rng, easy)
    promise = promise_of(labelled, 0.95)
    assert promise["leaf"] is not None
    least, lines = refusals.mixed(counts_of(new, labelled), (NAMES, labelled, ABOVE), promise)
    if at_the_leaf:
        assert least == guarantees.promised_thresholds(promise) and not lines
    else:
        assert least["leaf"] == least["below"] == math.inf
        assert "are right at the leaf" in lines[0] and "in such a mix of categories" in lines[0]


def test_if_the_leaf_is_refused_the_parent_is_what_was_promised_of_all():
    rng = np.random.default_rng(2)
    labelled, new = rows_of(8000, rng), rows_of(4000, rng, 0.5)
    # The parent is nearly always right, so its promise for all products holds in any mix.
    labelled["parent"] = np.where(rng.random(8000) < 0.01, 3, ABOVE[labelled["label"]])
    promise = promise_of(labelled, 0.95)
    least, lines = refusals.mixed(counts_of(new, labelled), (NAMES, labelled, ABOVE), promise)
    assert least == guarantees.parent_alone(promise) and least["parent"] < math.inf
    assert len(lines) == 1


def test_nothing_to_compare_refuses_nothing():
    rng = np.random.default_rng(3)
    labelled = rows_of(2000, rng)
    promise = promise_of(labelled, 0.9)
    for known, counts in (
        (labelled, {}),
        (labelled[:0], counts_of(labelled, labelled)),
        (labelled, {("gone", 2): 30.0}),
    ):
        least, lines = refusals.mixed(counts, (NAMES, known, ABOVE), promise)
        assert least == guarantees.promised_thresholds(promise) and not lines


def features(near, scores, n=5000):
    return {
        "products": n,
        "groups": n,
        "no description": 0.0,
        "no picture": 0.0,
        "near-duplicate": near,
        "unknown": (n, 0.1, 0.01),
        "categories": {"easy": n},
        "scores": np.full(n, scores),
    }


@pytest.mark.parametrize(
    "before, now, said",
    (
        (0.96, 0.03, True),
        (0.96, 0.94, False),
        (0.03, 0.96, False),
        (None, 0.03, False),
        (0.96, None, False),
    ),
)
def test_products_without_near_duplicates_differ_from_such_with_them(before, now, said):
    for kind in ("Text", "Image", "Image+Text"):
        lines = refusals.differences(features(before, 0.9), features(now, 0.9), kind)
        assert lines == (
            [
                "3 % of them have a near-duplicate among the labelled products (96 % had "
                "one among those that they were predicted from)"
            ]
            if said
            else []
        )


def test_lower_scores_differ_and_higher_ones_do_not():
    (line,) = refusals.differences(features(0.0, 0.9), features(0.0, 0.7), "Text")
    assert line == "their scores are lower (on the average 0.70, there 0.90)"
    assert refusals.differences(features(0.0, 0.7), features(0.0, 0.9), "Text") == []


def test_a_level_that_nothing_is_promised_at_says_the_numbers_that_it_failed_on():
    rows = rows_of(8000, np.random.default_rng(4), strange=0.06)
    own = guarantees.nearest_by_level(
        guarantees.certify_rows(rows, ABOVE, 0.98, 0.95), ABOVE, 0.98
    )["leaf"]
    taken = rows["score"] >= own["score"]
    wrong = taken & (rows["predicted"] != rows["label"])
    assert (own["products"], own["wrong"]) == (taken.sum(), wrong.sum())
    assert own["strange"] == (wrong & (rows["fold"] < 0)).sum() > 0
    assert 0 <= own["most"] < own["wrong"]
    # One more would be too many, and so many would do.
    tails = [metrics.binomial_cdf(k, own["products"], 0.02) for k in (own["most"], own["most"] + 1)]
    assert tails[0] <= 0.2 * 0.6 * 0.05 < tails[1]
    text = promise_text.nearest_text({"nearest": {"leaf": own}}, "leaf")
    assert f"Of the {own['products']} products with a score" in text
    assert f" {own['wrong']} are wrong, {own['strange']} of those" in text


def test_the_lower_target_is_one_at_which_leaves_are_promised_and_the_next_is_not():
    rows = rows_of(8000, np.random.default_rng(5), strange=0.06)
    percent, share = guarantees.lower_target(rows, ABOVE, 0.98, 0.95)
    leaf, above_it = (
        guarantees.certify_rows(rows, ABOVE, target, 0.95).thresholds.leaf
        for target in (percent / 100, (percent + 1) / 100)
    )
    assert leaf < math.inf == above_it
    assert share == (rows["score"] >= leaf).mean()
    assert guarantees.lower_target(rows[:0], ABOVE, 0.98, 0.95) is None
    assert guarantees.lower_target(rows[:5], ABOVE, 0.98, 0.95) is None


def test_few_folds_promise_nothing_and_say_why():
    text = "\n".join(promise_text.promise_lines({"target": 0.95, "few_folds": 3}))
    assert "with 3 folds each model learns from 33 % of the products" in text
    assert "train with --folds 10 (5 at least)" in text


@pytest.mark.parametrize("rests_on", ("out-of-fold predictions", "validation"))
@pytest.mark.parametrize(
    "lower, stopped, advised",
    (
        ((90, 0.5), [], True),
        ((90, 0.5), ["strange"], True),
        (None, [], False),
        (None, ["refiled"], False),
        ((90, 0.5), ["strange", "refiled"], False),
    ),
)
@pytest.mark.parametrize("parent", (None, 0.7))
def test_a_lower_target_is_advised_only_if_one_would_do(rests_on, lower, stopped, advised, parent):
    near = {"score": 0.9, "products": 10, "wrong": 5, "strange": 0, "most": 0}
    text = "\n".join(
        promise_text.promise_lines(
            {
                "target": 0.98,
                "confidence": 0.95,
                "leaf": None,
                "below": None,
                "parent": parent,
                "alone": None,
                "rests_on": rests_on,
                "products": 10,
                "strange": 2,
                "refiled": 3,
                "stopped": stopped,
                "lower": lower,
                "few_folds": None,
                "min_products": 1000,
                "nearest": dict.fromkeys(("leaf", "parent"), near),
            }
        )
    )
    assert ("a lower --target" in text) == ("(90 would file 50 % of" in text) == advised
    lines = text.splitlines()
    assert all(line.strip() and "  " not in line.strip() for line in lines)
    assert ": ." not in text and ".." not in text
    if parent is None:
        assert ("train with --folds 10" in text) == (rests_on == "validation")
