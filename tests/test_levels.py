"""The figures of an experiment at every level of the tree, on hand-made trees of up to three
levels, against plain counting.

    pytest tests/test_levels.py
"""

import itertools
import json
import math
import random

import numpy as np
import pytest
from test_figures import Row, ask, change, save, stock, tell

import db
from crawling import queries as crawling_queries
from evaluation import certificates
from learning import metrics

TREE = {
    "gifts": "gifts",
    "bags": "bags",
    "clutches": "bags/clutches",
    "clothing": "clothing",
    "tops": "clothing/tops",
    "jeans": "clothing/jeans",
    "bootcut": "clothing/jeans/bootcut",
    "skinny": "clothing/jeans/skinny",
}
# How many products have this label and this prediction. Jeans are a class and have children.
COUNTS = {
    ("bootcut", "bootcut"): 40,
    ("bootcut", "skinny"): 10,
    ("skinny", "jeans"): 6,
    ("jeans", "bootcut"): 4,
    ("tops", "skinny"): 5,
    ("gifts", "clutches"): 3,
    ("gifts", "gifts"): 2,
    ("clutches", "clutches"): 30,
}


def answer(number, label, predicted, score, fold=0):
    return Row(
        number,
        predicted,
        score,
        label,
        score if label == predicted else 1 - score,
        predicted,
        score,
        json.dumps([[predicted, score]]),
        fold,
    )


def answers_of(counts):
    pairs = [pair for pair, count in counts.items() for _ in range(count)]
    return [answer(number, *pair, 0.9) for number, pair in enumerate(pairs, 1)]


def draw(numbers, seed, folds=1):
    """An answer for each of these products, the likelier right the higher its score is."""
    rng = random.Random(seed)
    classes = [category for category in TREE if category not in ("bags", "clothing")]
    answers = []
    for number in numbers:
        label, score = rng.choice(classes), 1 - 0.5 * rng.random() ** 3
        predicted = label if rng.random() < score else rng.choice(classes)
        answers.append(answer(number, label, predicted, score, rng.randrange(folds)))
    return answers


def store_tree(conn, tree, root=None):
    paths = set(tree.values())
    crawling_queries.store_categories(
        conn,
        [
            (
                category,
                (path.split("/")[-2:-1] or [root])[0],
                int(not any(other.startswith(path + "/") for other in paths)),
                path,
                category.title(),
            )
            for category, path in tree.items()
        ],
    )


@pytest.fixture
def shop(tmp_path):
    """A crawl.db with the categories of TREE, and no products yet."""
    conn = db.open_database(str(tmp_path / "crawl.db"), create=True)
    store_tree(conn, TREE)
    yield conn
    conn.close()


def is_right(answer, level):
    label, predicted = (
        TREE[category].split("/")[:level][-1] for category in (answer.label, answer.predicted)
    )
    return label == predicted


def columns(answers, level):
    return (
        np.array([answer.score for answer in answers]),
        np.array([is_right(answer, level) for answer in answers], bool),
    )


def brief(levels):
    return [
        (level["level"], level["categories"], level["as_deep"], level["accuracy"]["hits"])
        for level in levels
    ]


def test_accuracy_at_each_level_is_what_one_counts_by_hand(shop, ask, tell):
    answers = answers_of(COUNTS)
    stock(shop, answers)
    save(shop, answers)
    report = ask("--experiment", 1)
    assert brief(report["levels"]) == [(3, 6, 56, 72), (2, 4, 95, 92), (1, 3, 100, 97)]
    assert report["levels"][0]["accuracy"] == {
        "share": 0.72,
        "hits": 72,
        "n": 100,
        "interval": report["interval"],
    }
    section = tell("--experiment", 1).split("At every level")[1].split("\n\n")[0]
    assert section.splitlines() == [
        " of the category tree, by the leaf's score (level 1 is the top)",
        "           categories  products so deep               accuracy  95% coverage  certified"
        "  98% coverage  certified",
        "  level 3           6                56  72.00% [62.51, 79.86]         0.00%      0.00%"
        "         0.00%      0.00%",
        "  level 2           4                95  92.00% [85.00, 95.89]         0.00%      0.00%"
        "         0.00%      0.00%",
        "  level 1           3               100  97.00% [91.55, 98.97]       100.00%      0.00%"
        "         0.00%      0.00%",
        "  (a category that is not so deep counts as itself)",
    ]


@pytest.mark.parametrize("folds, confidence", [(None, 95), (None, 80), (3, 95)])
def test_coverage_at_each_level_is_certified_like_that_of_the_leaf(shop, ask, folds, confidence):
    answers = draw(range(1, 2001), 3, folds or 1)
    kept = [] if folds else draw(range(3000, 5000), 4)
    stock(shop, answers + kept)
    save(shop, answers, kept=kept, folds=folds)
    delta = 1 - confidence / 100
    sources = [
        [other for other in answers if other.fold != fold] if folds else kept
        for fold in range(folds or 1)
    ]
    fold = np.array([answer.fold for answer in answers])
    levels = ask("--experiment", 1, "--confidence", confidence)["levels"]
    assert [level["level"] for level in levels] == [3, 2, 1]
    for level, target in itertools.product((3, 2, 1), (95, 98)):
        *apart, overall = (
            certificates.certify(*columns(source, level), target / 100, delta)
            for source in (*sources, kept or answers)
        )
        score, right = columns(answers, level)
        taken = (score >= np.array(apart)[fold]) & (not math.isinf(overall))
        (coverage,) = (
            coverage for coverage in levels[3 - level]["coverage"] if coverage["target"] == target
        )
        assert coverage["threshold"] == (None if math.isinf(overall) else overall)
        assert coverage["coverage"]["hits"] == taken.sum()
        assert coverage["accuracy"]["hits"] == (taken & right).sum()
        assert coverage["observed"]["hits"] == metrics.accepted(score, right, target)
    taken = {coverage["coverage"]["hits"] for level in levels for coverage in level["coverage"]}
    assert len(taken) > 3  # no level and no target is taken for another one


def test_the_deepest_level_is_the_leaf_and_that_of_all_parents_the_parent(shop, ask, tell):
    even = {"bags.a": "bags/bags.a", "bags.b": "bags/bags.b", "hats.a": "hats/hats.a"}
    store_tree(shop, {"hats": "hats", **even})
    pairs = itertools.product(even, even)
    answers = answers_of({pair: 300 if pair[0] == pair[1] else 5 for pair in pairs})
    stock(shop, answers)
    save(shop, answers, kept=answers)
    report = ask("--experiment", 1)
    assert brief(report["levels"]) == [(2, 3, 930, 900), (1, 2, 930, 910)]
    for level, name in zip(report["levels"], ("leaf", "parent"), strict=True):
        assert (
            level["accuracy"]["share"]
            == report["accuracy" if name == "leaf" else "parent_accuracy"]
        )
        shut = {"shut": []} if name == "leaf" else {}
        assert [{"level": name, **coverage, **shut} for coverage in level["coverage"]] == [
            coverage for coverage in report["coverage"] if coverage["level"] == name
        ]
    assert "counts as itself" not in tell("--experiment", 1)


def test_the_root_of_an_api_is_no_level(shop, ask):
    store_tree(shop, {"women": ""})
    store_tree(shop, {"shoes": "shoes", "boots": "shoes/boots", "pumps": "shoes/pumps"}, "women")
    answers = answers_of({("boots", "boots"): 3, ("boots", "pumps"): 2, ("boots", "women"): 1})
    stock(shop, answers)
    save(shop, answers)
    assert brief(ask("--experiment", 1)["levels"]) == [(2, 1, 6, 3), (1, 1, 6, 5)]


def test_a_category_that_is_gone_counts_as_itself(shop, ask):
    answers = answers_of(COUNTS)
    stock(shop, answers)
    save(shop, answers)
    change(shop, "delete from category where id = 'skinny'")
    assert brief(ask("--experiment", 1)["levels"]) == [
        (3, 6, 50, 72),
        (2, 5, 89, 76),
        (1, 4, 100, 76),
    ]


def test_an_answer_deeper_than_every_label_is_not_taken_for_right(shop, ask):
    answers = answers_of({("jeans", "jeans"): 5, ("jeans", "bootcut"): 3, ("gifts", "gifts"): 1})
    stock(shop, answers)
    save(shop, answers)
    assert brief(ask("--experiment", 1)["levels"]) == [(3, 2, 0, 6), (2, 2, 8, 9), (1, 2, 9, 9)]


def test_products_without_any_label_or_answer_have_one_level_and_nothing_right(shop, ask, tell):
    """Rows as the scripts of 2016 left them, whose products are gone since."""
    save(shop, [answer(1, None, None, 0.5)])
    assert brief(ask("--experiment", 1)["levels"]) == [(1, 0, 0, 0)]
    assert "level 1" in tell("--experiment", 1)
