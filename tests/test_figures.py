"""analyze.py --experiment, --compare and --json on hand-made databases, against plain counting.

No TensorFlow; about 20 seconds.

    pytest tests/test_figures.py
    pytest tests/test_figures.py -k compare
"""

import itertools
import json
import math
import random
import re
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from conftest import run_script
from scipy.stats import binomtest
from test_db import make_2016
from test_metrics import accepted_by_definition

import analyze
import db
from common.terminal import UserError
from common.text import printable
from crawling import queries as crawling_queries
from evaluation import certificates, decision_queries
from evaluation import queries as evaluation_queries
from learning import model_folders

LEAVES = ("bags.clutches", "jeans.bootcut", "jeans.skinny")
PARENT = {leaf: leaf.split(".")[0] for leaf in LEAVES}
PROMISES = list(itertools.product(("leaf", "parent"), (95, 98)))
TEXT = "Text classification of: "


class Row(NamedTuple):
    """A row of predicted_category, as model_folders.save_experiment takes it."""

    product: int
    predicted: str
    score: float
    label: str
    label_score: float
    parent: str
    parent_score: float
    top: str = "[]"
    fold: int = 0


def row(product, label, predicted, score, fold=0):
    sure = score if label == predicted else (1 - score) / 2
    return Row(
        product,
        predicted,
        score,
        label,
        sure,
        PARENT.get(predicted, predicted),
        (1 + score) / 2,
        json.dumps([[predicted, score]]),
        fold,
    )


def draw(numbers, seed, folds=1):
    """A prediction of each of these products, about as often right as its score says. The parent
    is always right from a score of .5 up, whatever the leaf's is."""
    rng, rows = random.Random(seed), []
    for number in numbers:
        label, score = rng.choice(LEAVES), 1 - 0.6 * rng.random() ** 3
        wrong = rng.choice([leaf for leaf in LEAVES if leaf != label])
        own = row(
            number,
            label,
            label if rng.random() < score else wrong,
            score,
            rng.randrange(folds or 1),
        )
        other = "bags" if PARENT[label] == "jeans" else "jeans"
        rows.append(
            own._replace(parent=PARENT[label] if score > 0.5 or rng.random() < 0.5 else other)
        )
    return rows


def is_right(row, level="leaf"):
    if level == "leaf":
        return row.predicted == row.label
    return PARENT[row.predicted] == PARENT[row.label]


def columns(rows, level="leaf"):
    return (
        np.array([own.score for own in rows]),
        np.array([is_right(own, level) for own in rows], bool),
    )


def path_of(conn):
    return conn.execute("pragma database_list").fetchone()["file"]


def stock(conn, rows, texts=(), groups=()):
    """File the products of predictions under their labels. texts: {product: (name, description)};
    groups: {product: group_key}."""
    texts, groups = dict(texts), dict(groups)
    with db.transaction(conn):
        conn.executemany(
            """insert or ignore into product(id, category_id, name, description,
                            source, external_id, group_key)
                            values (?, ?, ?, ?, 'shop', ?, ?)""",
            [
                (
                    own.product,
                    own.label,
                    *texts.get(own.product, (f"Name {own.product}", "Text")),
                    f"sku-{own.product}",
                    groups.get(own.product, f"group {own.product}"),
                )
                for own in rows
            ],
        )


def save(conn, predicted, tuned=(), kept=(), name=TEXT, **settings):
    """Store an experiment; `kept` are the validation products that it certifies on."""
    validation = [(*own, 0) for own in tuned] + [(*own, 1) for own in kept]
    return model_folders.save_experiment(
        conn,
        path_of(conn),
        name,
        {"categories": LEAVES, **settings},
        predicted,
        validation,
        lambda folder: None,
    )


def change(conn, statement, *values):
    assert conn.execute(statement, values).rowcount > 0


def no_number(name):
    raise AssertionError(f"{name} is no JSON")


@pytest.fixture
def shop(tmp_path):
    """A crawl.db with three leaves below two parents, and no products yet."""
    conn = db.open_database(str(tmp_path / "crawl.db"), create=True)
    crawling_queries.store_categories(
        conn,
        [
            ("jeans", None, 0, "jeans", ""),
            ("bags", None, 0, "bags", ""),
            *((leaf, PARENT[leaf], 1, f"{PARENT[leaf]}/{leaf}", "") for leaf in LEAVES),
        ],
    )
    yield conn
    conn.close()


@pytest.fixture
def tell(tmp_path, capsys):
    """tell(*flags) -> what analyze.py prints; the database is crawl.db in tmp_path."""

    def tell(*flags):
        capsys.readouterr()
        assert analyze.main(["--db-path", str(tmp_path / "crawl.db"), *map(str, flags)]) == 0
        return capsys.readouterr().out

    return tell


@pytest.fixture
def ask(tell):
    """ask(*flags) -> what analyze.py --json prints, read."""
    return lambda *flags: json.loads(tell("--json", *flags), parse_constant=no_number)


# ---- the block as JSON --------------------------------------------------------------------------


def test_the_blocks_in_json_are_the_exact_shares_of_what_is_printed(shop, ask, tell):
    tests = {1: draw(range(1, 38), 1), 3: draw(range(30, 260), 2), 4: [row(1, *LEAVES[:2], 0.5)]}
    for rows in tests.values():
        stock(shop, rows)
    save(shop, tests[1])
    save(shop, [], name="no predictions")
    save(shop, tests[3], name="Image classification of: a,b")
    save(shop, tests[4])
    blocks, lines = ask(), []
    assert [block["experiment"] for block in blocks] == [1, 3, 4]
    assert [block["name"] for block in blocks] == [TEXT, "Image classification of: a,b", TEXT]
    for block in blocks:
        rows = tests[block["experiment"]]
        assert block["n"] == len(rows)
        lines.append(f"#{block['experiment']}: {block['name']}")
        for level, key, name in (("leaf", "", ""), ("parent", "parent_", "Parent ")):
            scored = [(own.score, is_right(own, level)) for own in rows]
            hits = sum(right for _, right in scored)
            assert block[f"{key}accuracy"] == pytest.approx(hits / len(rows), abs=1e-12)
            lines.append(
                f"  {name}Accuracy: {100 * hits / len(rows):.2f}%" + f" (N={len(rows)})" * (not key)
            )
            for percent in (95, 98):
                taken = accepted_by_definition(scored, percent)
                assert block[f"{key}coverage_{percent}"] == taken / len(rows)
                lines.append(f"  {name}{percent}% Accuracy Coverage: {100 * taken // len(rows)}%")
    assert tell().splitlines() == lines


def test_a_database_without_experiments_is_an_empty_list(shop, tmp_path):
    done = run_script("analyze", "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "[]\n")


def test_one_experiment_in_full_begins_with_its_block(shop, ask, tell):
    rows = draw(range(1, 60), 3)
    stock(shop, rows)
    save(shop, rows)
    (block,) = ask()
    full = ask("--experiment", 1)
    assert set(block) == {
        "experiment",
        "name",
        "date",
        "n",
        *(
            f"{level}{figure}"
            for level in ("", "parent_")
            for figure in ("accuracy", "coverage_95", "coverage_98")
        ),
    }
    assert {key: full[key] for key in block} == block
    assert tell("--experiment", 1).startswith(tell())


# ---- promises of one split ----------------------------------------------------------------------


@pytest.fixture
def split(shop):
    """Experiment 1 of one split: its test rows, those tuned on, those kept for certifying."""
    test, tuned, kept = draw(range(1, 501), 1), draw(range(501, 801), 2), draw(range(801, 2301), 3)
    stock(shop, test + tuned + kept)
    save(shop, test, tuned, kept)
    return test, tuned, kept


@pytest.mark.parametrize("confidence", [80, 95])
def test_thresholds_come_from_the_validation_kept_for_them_and_are_tried_on_the_test(
    split, ask, tell, confidence
):
    test, _, kept = split
    found = ask("--experiment", 1, "--confidence", confidence)
    assert (found["certified_on"], found["certifying_products"]) == ("validation", 1500)
    assert [(own["level"], own["target"]) for own in found["coverage"]] == PROMISES
    text = tell("--experiment", 1, "--confidence", confidence)
    assert f"Certified with {confidence}% confidence, by 1,500 validation products kept" in text
    for promise, (level, target) in zip(found["coverage"], PROMISES):
        threshold = certificates.certify(*columns(kept, level), target / 100, 1 - confidence / 100)
        taken = [own for own in test if own.score >= threshold]
        hits = sum(is_right(own, level) for own in taken)
        assert 0 < len(taken) < len(test) or level == "parent"
        assert promise["threshold"] == threshold
        assert (promise["coverage"]["hits"], promise["coverage"]["n"]) == (len(taken), len(test))
        assert (promise["accuracy"]["hits"], promise["accuracy"]["n"]) == (hits, len(taken))
        name = f"{'Parent ' * (level == 'parent')}{target}% Accuracy"
        (line,) = [line.split() for line in text.splitlines() if line.startswith(f"  {name}  ")]
        assert line[-7] == f"{len(taken)}" and line[-6] == f"{100 * hits / len(taken):.2f}%"
        assert line[-10] == f"{100 * len(taken) / len(test):.2f}%"
        assert line[-3:] == ["score", ">=", f"{threshold:.6f}"]


def test_what_the_model_was_tuned_on_certifies_nothing(shop, split, ask):
    before = ask("--experiment", 1)
    for certifying in (0, 1):
        change(
            shop,
            """update validation_prediction set category_id = 'gone', score = 1
                        where certifying = ?""",
            certifying,
        )
        assert (ask("--experiment", 1) == before) == (not certifying)


def test_the_test_products_do_not_choose_their_threshold(shop, split, ask):
    before = ask("--experiment", 1)["coverage"]
    change(shop, "update predicted_category set category_id = 'jeans'")
    after = ask("--experiment", 1)["coverage"]
    for was, now in zip(before, after):
        assert was["threshold"] == now["threshold"] and was["coverage"] == now["coverage"]
    assert before[0]["accuracy"]["hits"] > 0 == after[0]["accuracy"]["hits"]


@pytest.mark.parametrize("folds", [None, 5])
def test_products_of_one_group_are_one_witness(shop, tell, ask, folds):
    kept = [row(number, LEAVES[0], LEAVES[0], 0.999, number % 5) for number in range(1000)]
    stock(shop, kept, groups={own.product: f"group {own.product % 50}" for own in kept})
    if folds:
        save(shop, kept, folds=folds)
    else:
        test = draw(range(2000, 2100), 4)
        stock(shop, test)
        save(shop, test, kept=kept)
    for promise in ask("--experiment", 1)["coverage"]:
        assert promise["threshold"] is None and promise["have"] == 50
        assert promise["coverage"]["hits"] == 0 and promise["accuracy"]["share"] is None
    assert (
        "  Leaf 98%: nothing can be promised by 50 independent products: it would take about "
        in tell("--experiment", 1)
    )
    change(shop, "update product set group_key = external_id")
    for promise in ask("--experiment", 1)["coverage"]:
        assert promise["threshold"] is not None and "have" not in promise


def test_too_few_products_promise_nothing_and_the_number_it_names_is_enough(shop, tell):
    kept = [row(number, LEAVES[0], LEAVES[0], 0.99) for number in range(2000)]
    stock(shop, kept)
    save(shop, kept[:10], kept=kept[:30])
    text = tell("--experiment", 1)
    needed = {
        name: int(number)
        for name, number in re.findall(
            r"  (.*): nothing can be promised by 30 independent products: it would take about (\d+) "
            "like these",
            text,
        )
    }
    assert list(needed) == ["Leaf 95%", "Leaf 98%", "Parent 95%", "Parent 98%"]
    assert (
        needed["Leaf 98%"]
        == needed["Parent 98%"]
        > needed["Leaf 95%"]
        >= certificates.fewest(0.95, 0.05)
    )
    for name, number in needed.items():
        enough, short = (
            save(shop, kept[:10], kept=kept[:number]),
            save(shop, kept[:10], kept=kept[: int(number / 1.15)]),
        )
        assert f"\n  {name}: nothing can be promised" not in tell("--experiment", enough)
        assert f"\n  {name}: nothing can be promised" in tell("--experiment", short)


def test_a_model_that_is_never_right_is_told_that_no_number_would_do(shop, ask, tell):
    kept = [row(number, LEAVES[0], LEAVES[1], 0.9) for number in range(40)]
    stock(shop, kept)
    save(shop, kept[:10], kept=kept)
    assert (
        tell("--experiment", 1).count(
            "nothing can be promised, and even a million products like these would not be enough"
        )
        == 4
    )
    assert [promise["needed"] for promise in ask("--experiment", 1)["coverage"]] == [None] * 4


def test_without_validation_that_was_kept_there_is_no_promise(shop, ask, tell):
    test, tuned = draw(range(1, 301), 1), draw(range(301, 1301), 2)
    stock(shop, test + tuned)
    save(shop, test, tuned)
    found, text = ask("--experiment", 1), tell("--experiment", 1)
    assert (found["certified_on"], found["certifying_products"]) == (None, 0)
    assert [own["threshold"] for own in found["coverage"]] == [None] * 4
    assert all(
        own["leaf"]["taken"]["hits"] == own["parent"]["taken"]["hits"] == 0
        and own["person"]["taken"]["hits"] == 300
        for own in found["fallback"]
    )
    assert "no validation product was kept for it: run its script again, or with --folds" in text
    assert text.count("nothing can be promised without such products") == 4


def test_thousands_without_an_error_certify_everything(shop, ask, tell):
    rows = [
        row(number, LEAVES[number % 3], LEAVES[number % 3], number / 3000) for number in range(3000)
    ]
    stock(shop, rows)
    save(shop, rows[::3], kept=rows)
    found = ask("--experiment", 1)
    assert [own["threshold"] for own in found["coverage"]] == [0.0] * 4
    assert all(
        own["coverage"]["share"] == own["accuracy"]["share"] == 1 for own in found["coverage"]
    )
    assert all(
        own["leaf"]["taken"]["hits"] == 1000 and own["person"]["accuracy"]["share"] is None
        for own in found["fallback"]
    )
    assert found["aurc"] == 0 and not found["confusions"]
    text = tell("--experiment", 1)
    assert "nothing can be promised" not in text and "the first suggestion" not in text


# ---- promises of folds --------------------------------------------------------------------------


@pytest.mark.parametrize("spoiled", [0, 0.05, 1])
def test_a_folds_threshold_comes_from_the_other_folds(shop, ask, spoiled):
    rng = random.Random(7)
    rows = [
        own._replace(predicted=LEAVES[LEAVES.index(own.label) - 1])
        if own.fold == 2 and rng.random() < spoiled
        else own
        for own in draw(range(1, 2001), 4, folds=5)
    ]
    stock(shop, rows)
    save(shop, rows, kept=draw(range(1, 2001), 5), folds=5)
    found = ask("--experiment", 1)
    assert (found["certified_on"], found["certifying_products"]) == ("folds", 2000)
    for promise, (level, target) in zip(found["coverage"], PROMISES):
        apart = [
            certificates.certify(
                *columns([own for own in rows if own.fold != fold], level), target / 100, 1 - 0.95
            )
            for fold in range(5)
        ]
        overall = certificates.certify(*columns(rows, level), target / 100, 1 - 0.95)
        taken = [own for own in rows if own.score >= max(apart[own.fold], math.isinf(overall) * 9)]
        hits = sum(is_right(own, level) for own in taken)
        assert (promise["coverage"]["hits"], promise["coverage"]["n"]) == (len(taken), 2000)
        assert (promise["accuracy"]["hits"], promise["accuracy"]["n"]) == (hits, len(taken))
        assert promise["threshold"] == (None if math.isinf(overall) else overall)
        # The spoiled fold has the threshold of four sound ones, but where all five together
        # promise nothing for products to come nothing is filed.
        assert 0 < apart[2] < 1 or level == "parent"
        if spoiled == 1 and level == "leaf":
            assert promise["threshold"] is None and not taken


def test_with_folds_the_validation_certifies_nothing(shop, ask, tell):
    rows = draw(range(1, 801), 4, folds=5)
    stock(shop, rows)
    save(shop, rows, kept=rows, folds=5)
    before = ask("--experiment", 1)
    change(shop, "update validation_prediction set category_id = 'jeans', score = 1")
    assert ask("--experiment", 1) == before
    assert "Certified with 95% confidence, each fold by the predictions of the others\n" in tell(
        "--experiment", 1
    )


# ---- leaf, else parent, else a person -----------------------------------------------------------


@pytest.mark.parametrize("folds, confidence", [(None, 95), (None, 60), (5, 95)])
def test_leaf_parent_and_person_share_all_products_by_two_certified_thresholds(
    shop, ask, tell, folds, confidence
):
    test, kept = draw(range(1, 3001), 5, folds), draw(range(3001, 9001), 9)
    stock(shop, test + kept)
    save(shop, test, kept=kept, folds=folds)
    found = ask("--experiment", 1, "--confidence", confidence)
    text = tell("--experiment", 1, "--confidence", confidence)
    assert f"Leaf, else parent, else a person (both promises together {confidence}%)\n" in text
    parents = 0
    for own, target in zip(found["fallback"], (95, 98), strict=True):
        thresholds = []
        for fold in range(folds or 1):
            source = [one for one in test if one.fold != fold] if folds else kept
            thresholds.append(
                certificates.certify_fallback(
                    *columns(source),
                    np.array([one.parent_score for one in source]),
                    np.array([one.parent == PARENT[one.label] for one in source]),
                    target / 100,
                    1 - confidence / 100,
                )
            )
        filed = {"leaf": [], "parent": [], "person": []}
        for one in test:
            own_thresholds = thresholds[one.fold]
            place = (
                "leaf"
                if one.score >= own_thresholds.leaf
                else "parent"
                if one.score < own_thresholds.below and one.parent_score >= own_thresholds.parent
                else "person"
            )
            filed[place].append(
                one.parent == PARENT[one.label] if place == "parent" else one.predicted == one.label
            )
        assert own["target"] == target and filed["leaf"] and filed["person"]
        parents += len(filed["parent"])
        for place, hits in filed.items():
            assert (own[place]["taken"]["hits"], own[place]["taken"]["n"]) == (len(hits), 3000)
            assert (own[place]["accuracy"]["hits"], own[place]["accuracy"]["n"]) == (
                sum(hits),
                len(hits),
            )
            assert re.search(rf"  {place} +{len(hits):,} +{len(hits) / 30:.2f}%", text)
        if not folds:
            for level in ("leaf", "parent"):
                expected = getattr(thresholds[0], level)
                assert own[level]["threshold"] == (None if math.isinf(expected) else expected)
    assert parents


# ---- an experiment of 2016 ----------------------------------------------------------------------


def test_an_experiment_of_2016_says_what_nobody_recorded(tmp_path, ask, tell):
    make_2016(tmp_path / "crawl.db")
    found, text = ask("--experiment", 1), tell("--experiment", 1)
    assert (found["n"], found["accuracy"], found["parent_accuracy"]) == (2, 0.5, 1)
    assert found["settings"] == {} and found["date"] == "2016-12-24"
    assert found["certified_on"] is found["fallback"] is found["shared_with_training"] is None
    floored = ask("--experiment", 1, "--floor", 90)  # nobody is there to choose a leaf to shut
    assert {**floored, "floor": 0} == {**found, "floor": 0}
    assert found["calibration"] == {
        "before": {"nll": None, "ece": None},
        "temperature": None,
        "after": {"nll": None, "ece": pytest.approx(0.625)},
    }
    assert found["confusions"] == [
        {
            "categories": ["bootcut-jeans", "skinny-jeans"],
            "errors": 1,
            "first_as_second": 1,
            "second_as_first": 0,
            "same_parent": True,
        }
    ]
    for sentence in (
        "but no validation product was kept for it",
        "Leaf, else parent, else a person: unknown, the predictions hold no parent's",
        "unknown: its training products are not on record, or gone",
    ):
        assert sentence in text


def test_an_experiment_of_2016_is_held_against_where_its_products_are_filed_now(tmp_path, ask):
    make_2016(tmp_path / "crawl.db")
    conn = db.open_database(str(tmp_path / "crawl.db"))
    change(conn, "update product set category_id = 'skinny-jeans' where id = 616000001")
    assert ask("--experiment", 1)["accuracy"] == 1
    change(conn, "update product set category_id = null")
    found = ask("--experiment", 1)
    assert found["accuracy"] == found["parent_accuracy"] == 0 and not found["confusions"]
    conn.close()


# ---- every figure by counting -------------------------------------------------------------------


def shares(value):
    """Every share with an interval of a result."""
    if isinstance(value, dict):
        if "interval" in value and "hits" in value:
            yield value
        for own in value.values():
            yield from shares(own)
    elif isinstance(value, list):
        for own in value:
            yield from shares(own)


@pytest.mark.parametrize("confidence", [50, 95, 99.9])
def test_every_interval_is_wilsons_at_the_confidence_asked_for(split, ask, tell, confidence):
    found = ask("--experiment", 1, "--confidence", confidence)
    test = split[0]

    def wilson(hits, n):
        own = binomtest(hits, n).proportion_ci(confidence / 100, "wilson")
        return pytest.approx([own.low, own.high], abs=1e-9)

    assert found["interval"] == wilson(sum(map(is_right, test)), 500)
    assert found["parent_interval"] == wilson(sum(is_right(own, "parent") for own in test), 500)
    all_shares = list(shares(found))
    assert len(all_shares) > 20
    for own in all_shares:
        if own["n"]:
            assert own["share"] == own["hits"] / own["n"]
            assert own["interval"] == wilson(own["hits"], own["n"])
        else:
            assert (own["share"], own["interval"]) == (None, [0, 1])
    low, high = found["interval"]
    assert (
        f"(accuracy between {100 * low:.2f}% and {100 * high:.2f}% with {confidence}% "
        "confidence, if all products were independent)"
        in tell("--experiment", 1, "--confidence", confidence)
    )


def test_recall_precision_and_confused_pairs_are_plain_counts(shop, ask, tell):
    rows = draw(range(1, 400), 8) + [
        row(400, "never.predicted", LEAVES[0], 0.5),
        row(401, LEAVES[0], "never.a-label", 0.6),
    ]
    stock(shop, rows)
    save(shop, rows)
    found, text = ask("--experiment", 1), tell("--experiment", 1)
    assert [own["category"] for own in found["categories"]] == sorted(
        [*LEAVES, "never.a-label", "never.predicted"]
    )
    for own in found["categories"]:
        name = own["category"]
        filed = [one for one in rows if one.label == name]
        guessed = [one for one in rows if one.predicted == name]
        assert own["support"] == own["recall"]["n"] == len(filed)
        assert own["precision"]["n"] == len(guessed)
        assert own["recall"]["hits"] == sum(one.predicted == name for one in filed)
        assert own["precision"]["hits"] == sum(one.label == name for one in guessed)
    assert re.search(r"^  never\.a-label +0 +- +0\.00% \[0\.00, 79\.35\] +0 +-$", text, re.M)
    assert re.search(r"^  never\.predicted +1 +0\.00% \[0\.00, 79\.35\] +- +0 +-$", text, re.M)
    times = Counter((one.label, one.predicted) for one in rows if one.label != one.predicted)
    pairs = {tuple(sorted(pair)): times[pair] + times[pair[::-1]] for pair in times}
    assert {tuple(own["categories"]): own["errors"] for own in found["confusions"]} == pairs
    assert [own["errors"] for own in found["confusions"]] == sorted(pairs.values(), reverse=True)
    for own in found["confusions"]:
        first, second = own["categories"]
        assert own["first_as_second"] == times[first, second]
        assert own["second_as_first"] == times[second, first]
        assert own["same_parent"] == ({first, second} == {"jeans.bootcut", "jeans.skinny"})
        assert f"{first} -> {second} {times[first, second]}, <- {times[second, first]}" in text
    few = tell("--experiment", 1, "--top", 2)
    assert few.count(" -> ") == 2 and "(5 pairs)" in few and text.count(" -> ") == 5


def test_accuracy_by_words_and_by_picture_is_plain_counting(shop, ask, tell):
    counts = [0, 1, 4, 5, 9, 10, 19, 20, 39, 40, 79, 80, 159, 160, 5000]
    rows = [row(number, LEAVES[0], LEAVES[number % 2], 0.8) for number in range(60)]
    size = {number: counts[number // 4] for number in range(60)}
    stock(
        shop,
        rows,
        {
            number: (
                " ".join(["wörd"] * (n // 2)),
                f"<ul><li>{' <b>x-y</b> '.join(['I'] * (n - n // 2))}</li></ul>"
                if number == 3
                else "\n- ".join(["&lt;i&gt;1"] * (n - n // 2)),
            )
            for number, n in size.items()
        },
    )
    status = {number: ("ok", "failed", "unchecked", None)[number % 4] for number in range(60)}
    shop.executemany(
        "insert into picture(product_id, path, status) values (?, 'a', ?)",
        [item for item in status.items() if item[1]],
    )
    save(shop, rows)
    found, text = ask("--experiment", 1), tell("--experiment", 1)
    begins = [0, 1, 5, 10, 20, 40, 80, 160]
    expected = []
    for begin, end in itertools.zip_longest(begins, begins[1:]):
        own = [one for one in rows if begin <= size[one.product] < (end or math.inf)]
        expected.append((begin, end and end - 1, sum(map(is_right, own)), len(own)))
    assert [
        (own["from"], own["to"], own["accuracy"]["hits"], own["accuracy"]["n"])
        for own in found["by_words"]
    ] == expected
    assert [
        (own["from"], own["accuracy"]["hits"], own["accuracy"]["n"]) for own in found["by_picture"]
    ] == [(0, 0, 30), (1, 30, 30)]
    assert re.search(r"words: 0 +4 +50\.00%.*\n +1-4 +8 +50\.00%(.*\n)+ +160\+ +8 +50\.00%", text)
    assert re.search(r"without a picture +30 +0\.00%.*\n +with a picture +30 +100\.00%", text)


def pictured(conn, **files):
    conn.executemany(
        """insert into picture(product_id, path, sha256, status)
                        values (?, 'a', ?, 'ok')""",
        [(int(name[1:]), sha256) for name, sha256 in files.items()],
    )


def test_one_split_shares_with_what_was_neither_predicted_nor_validated(shop, ask, tell):
    def own(number, right=False):
        return row(number, LEAVES[0], LEAVES[not right], 0.8)

    test = [own(1, right=True), own(2), own(3), own(4), own(12)]
    tuned, kept, training = [own(5)], [own(6)], [own(7), own(8), own(9), own(10)]
    stock(
        shop,
        [*test, *tuned, *kept, *training, row(11, "elsewhere", "elsewhere", 0.5)],
        {
            1: ("A Jean", "blue &amp; wide"),
            7: ("a jean", "<b>BLUE</b> wide!"),  # trained on
            2: ("Tote", ""),
            5: ("Tote", ""),
            6: ("Tote", None),
            12: ("tote", ""),  # of other sides
            3: ("", None),
            8: (None, "<p> - </p>"),  # no words at all
            4: ("Clutch", "red"),
            11: ("Clutch", "red"),
        },
    )  # another category
    pictured(shop, p4="same", p9="same", p1="other", p12="other", p2=None, p10=None)
    save(shop, test, tuned, kept)
    found = ask("--experiment", 1)["shared_with_training"]
    assert found["text"]["shared"]["hits"] == found["picture"]["shared"]["hits"] == 1
    assert found["text"]["shared"]["n"] == 5
    assert [
        (found[kind][of]["hits"], found[kind][of]["n"])
        for kind in ("text", "picture")
        for of in ("accuracy_of_these", "accuracy_of_the_others")
    ] == [(1, 1), (0, 4), (0, 1), (1, 4)]
    text = tell("--experiment", 1)
    assert (
        "  their words: 1 (20.00%), accuracy 100.00% [20.65, 100.00]; of the others 0.00% [" in text
    )
    assert "  their picture file: 1 (20.00%), accuracy 0.00% [" in text


def test_with_folds_the_training_is_all_but_the_own_fold_and_the_next(shop, ask):
    folds = {1: 0, 2: 1, 3: 3, 4: 0, 5: 2, 6: 2, 7: 1, 8: 3, 9: 0, 10: 2}
    words = {1: "a", 2: "a", 3: "b", 4: "b", 5: "c", 6: "c", 7: "d", 8: "d", 9: "", 10: ""}
    rows = [row(number, LEAVES[0], LEAVES[number % 2], 0.8, fold) for number, fold in folds.items()]
    stock(
        shop,
        [*rows, row(11, LEAVES[0], LEAVES[0], 0.8)],  # 11 came with a later crawl
        {11: ("c", ""), **{number: (word, "") for number, word in words.items()}},
    )
    save(shop, rows, tuned=rows, folds=4)
    shared = [
        a
        for a in folds
        if words[a]
        and any(
            words[a] == words[b] and folds[b] not in (folds[a], (folds[a] + 1) % 4) for b in folds
        )
    ]
    assert shared == [2, 4, 7, 8]
    found = ask("--experiment", 1)["shared_with_training"]
    assert (found["text"]["shared"]["hits"], found["text"]["shared"]["n"]) == (4, 10)
    assert found["text"]["accuracy_of_these"]["hits"] == sum(not number % 2 for number in shared)
    assert found["picture"]["shared"]["hits"] == 0


def test_aurc_ece_and_nll_are_those_of_their_definitions(shop, ask, tell):
    rows = draw(range(1, 300), 9)
    stock(shop, rows)
    save(shop, rows)
    found = ask("--experiment", 1)
    ordered = sorted(rows, key=lambda own: -own.score)
    risks = [sum(not is_right(own) for own in ordered[:k]) / k for k in range(1, len(rows) + 1)]
    assert found["aurc"] == pytest.approx(sum(risks) / len(rows))
    bins = {}
    for own in rows:
        bins.setdefault(min(14, int(15 * own.score)), []).append(own)
    ece = sum(abs(sum(is_right(own) - own.score for own in some)) for some in bins.values())
    assert found["calibration"]["after"] == {
        "nll": pytest.approx(-sum(math.log(own.label_score) for own in rows) / len(rows)),
        "ece": pytest.approx(ece / len(rows)),
    }
    assert found["calibration"]["before"] == {"nll": None, "ece": None}
    assert f"  AURC {sum(risks) / len(rows):.4f}" in tell("--experiment", 1)


def test_calibration_before_and_after_is_what_the_experiment_recorded(shop, ask, tell):
    rows = draw(range(1, 30), 9)
    stock(shop, rows)
    own = {"nll before": 1.25, "nll after": 0.7512, "ece before": 0.3, "ece after": 0.2}
    save(shop, rows, temperature=[1.7], calibration={"validation": {}, "test": own}, seed=17)
    found, text = ask("--experiment", 1), tell("--experiment", 1)
    assert found["calibration"]["before"] == {"nll": 1.25, "ece": 0.3}
    assert found["calibration"]["after"]["nll"] == 0.7512
    assert found["calibration"]["temperature"] == found["settings"]["temperature"] == [1.7]
    assert re.search(r"before calibration +1\.2500 +0\.3000\n +after calibration +0\.7512 ", text)
    assert "\n  categories: 3\n" in text and "\n  seed: 17" in text


# ---- a person's review --------------------------------------------------------------------------


@pytest.mark.parametrize("folds", [None, 5])
def test_a_review_changes_the_line_after_review_and_nothing_else(shop, ask, tell, folds):
    test, kept = draw(range(1, 401), 10, folds), draw(range(401, 801), 11)
    stock(shop, test + kept)
    save(shop, test, kept=kept, folds=folds)
    before, text, blocks = ask("--experiment", 1), tell("--experiment", 1), tell()
    hits = sum(map(is_right, test))
    assert before.pop("after_review") == {
        "corrected": 0,
        "accuracy": {"share": hits / 400, "hits": hits, "n": 400, "interval": before["interval"]},
    }
    wrong = [own for own in test if not is_right(own)][:12]
    right = [own for own in test if is_right(own)][:5]
    decision_queries.store_overrides(
        shop,
        [
            (own.product, decision, None)
            for own, decision in zip(
                wrong + right + kept, itertools.cycle(["classifier wrong", "unclear"])
            )
        ],
    )
    assert tell("--experiment", 1) == text and "After review" not in text
    put = {own.product: own.predicted for own in wrong[:9]}
    put.update({own.product: LEAVES[LEAVES.index(own.predicted) - 1] for own in right})
    put.update({own.product: own.predicted for own in kept})
    decision_queries.store_overrides(
        shop, [(number, "label wrong", leaf) for number, leaf in put.items()]
    )
    after = ask("--experiment", 1)
    review = after.pop("after_review")
    assert after == before and tell() == blocks
    assert review["corrected"] == sum(put.get(own.product, own.label) != own.label for own in test)
    assert review["accuracy"]["hits"] == hits + 9 - 5
    (line,) = set(tell("--experiment", 1).splitlines()) - set(text.splitlines())
    assert line.startswith(f"  After review: {(hits + 4) / 4:.2f}% [")
    assert f"with {review['corrected']} labels corrected by a person" in line


# ---- comparison ---------------------------------------------------------------------------------


def check_pair(own, first, second, text):
    """Hold a pair of --compare against {product: right} of its two experiments."""
    count = Counter((first[number], second[number]) for number in first)
    assert (
        own["both_right"],
        own["only_first_right"],
        own["only_second_right"],
        own["none_right"],
    ) == tuple(count[a, b] for a, b in ((True, True), (True, False), (False, True), (False, False)))
    p = binomtest(count[True, False], count[True, False] + count[False, True]).pvalue
    assert own["mcnemar_p"] == pytest.approx(p) and f"exact McNemar: p = {p:.3g}: " in text
    assert own["differences"][0]["second_minus_first"] == pytest.approx(
        (sum(second.values()) - sum(first.values())) / len(first)
    )
    for difference in own["differences"]:
        low, high = difference["interval"]
        assert low <= high and difference["ahead"] == (
            own["experiments"][1] if low > 0 else own["experiments"][0] if high < 0 else None
        )


def test_a_comparison_is_plain_counting_on_the_products_that_all_have(shop, ask, tell):
    parts = [draw(range(1, 301), 12), draw(range(101, 401), 13), draw(range(51, 381), 14)]
    label = {number: LEAVES[number % 3] for number in range(1, 401)}
    # One experiment predicts what the tree does not know, so that its codes are none of the others.
    parts = [
        [
            row(
                own.product,
                label[own.product],
                "accessories" if own.product % 7 == turn == 1 else own.predicted,
                own.score,
            )
            for own in rows
        ]
        for turn, rows in enumerate(parts)
    ]
    moved = {110, 120, 130}
    parts[2] = [
        own._replace(label="bags.clutches" if own.label != "bags.clutches" else "jeans.skinny")
        if own.product in moved
        else own
        for own in parts[2]
    ]
    stock(shop, parts[0] + parts[1])
    for turn, rows in enumerate(parts, 1):
        save(shop, rows, name=f"Number {turn}")
    found, text = ask("--compare", 1, 2, 3), tell("--compare", 1, 2, 3)
    shared = [number for number in range(101, 301) if number not in moved]
    by_product = [{own.product: own for own in rows} for rows in parts]
    right = [
        {number: own[number].predicted == label[number] for number in shared} for own in by_product
    ]
    assert (found["n"], found["label_differs"]) == (197, 3)
    assert "On the 197 products that all have (#1 has 300, #2 has 300, #3 has 330)" in text
    assert "  3 more have another label in one than in the other" in text
    for turn, own in enumerate(found["experiments"]):
        assert (own["experiment"], own["name"], own["predictions"]) == (
            turn + 1,
            f"Number {turn + 1}",
            len(parts[turn]),
        )
        assert (own["accuracy"]["hits"], own["accuracy"]["n"]) == (sum(right[turn].values()), 197)
        assert own["right_alone"] == sum(
            [hits[number] for hits in right] == [i == turn for i in range(3)] for number in shared
        )
        for percent in (95, 98):
            assert (
                own[f"coverage_{percent}"]
                == accepted_by_definition(
                    [(by_product[turn][number].score, right[turn][number]) for number in shared],
                    percent,
                )
                / 197
            )
    assert found["any_right"]["hits"] == sum(
        any(hits[number] for hits in right) for number in shared
    )
    assert [own["experiments"] for own in found["pairs"]] == [[1, 2], [1, 3], [2, 3]]
    for own in found["pairs"]:
        check_pair(own, *(right[number - 1] for number in own["experiments"]), text)
    flipped = [number for number in shared if len({hits[number] for hits in right}) == 2]
    flipped.sort(key=lambda number: -max(own[number].score for own in by_product))
    assert [own["product"] for own in found["flips"]] == flipped
    assert found["flipped"] == len(flipped) > 20
    for own in found["flips"]:
        number = own["product"]
        assert (own["name"], own["external_id"], own["label"]) == (
            f"Name {number}",
            f"sku-{number}",
            label[number],
        )
        assert [tuple(answer.values()) for answer in own["answers"]] == [
            (
                turn + 1,
                by_product[turn][number].predicted,
                by_product[turn][number].score,
                right[turn][number],
            )
            for turn in range(3)
        ]
    first = found["flips"][0]
    line = text.splitlines()[-20].split()
    assert text.splitlines()[-22].startswith(f"Products that flipped (20 of {len(flipped)}, ")
    assert line[:2] == [str(first["product"]), first["label"]]
    assert ["*" in cell for cell in line[2:8:2]] == [own["right"] for own in first["answers"]]


def test_top_limits_the_flips_in_text_and_in_json(shop, ask, tell):
    rows = [row(number, LEAVES[0], LEAVES[0], 0.5 + number / 100) for number in range(30)]
    stock(shop, rows)
    save(shop, rows)
    save(shop, [own._replace(predicted=LEAVES[1], score=0.4) for own in rows])
    assert [own["product"] for own in ask("--compare", 1, 2, "--top", 3)["flips"]] == [29, 28, 27]
    assert (
        len(ask("--compare", 1, 2)["flips"]) == ask("--compare", 1, 2, "--top", 3)["flipped"] == 30
    )
    for flags, shown in (((), 20), (("--top", 3), 3), (("--top", "9" * 9), 30)):
        head, rows = tell("--compare", 1, 2, *flags).split("Products that flipped ")
        assert rows.startswith(f"({shown} of 30, ") and len(rows.splitlines()) == 2 + shown


def test_the_same_predictions_are_level_everywhere(shop, ask, tell):
    rows = draw(range(1, 200), 15)
    stock(shop, rows)
    for _ in range(2):
        save(shop, rows)
    found, text = ask("--compare", 2, 1), tell("--compare", 2, 1)
    (pair,) = found["pairs"]
    assert (pair["mcnemar_p"], pair["ahead"], found["flipped"], found["flips"]) == (1, None, 0, [])
    assert [
        (own["second_minus_first"], own["interval"], own["ahead"]) for own in pair["differences"]
    ] == [(0, [0, 0], None)] * 3
    assert found["experiments"][0]["right_alone"] == 0
    assert text.count(": level\n") == 4 and "is ahead" not in text
    assert "p = 1: level" in text and "(0 of 0, " in text


@pytest.mark.parametrize(
    "only, confidence, ahead",
    [
        ((2, 8), 95, None),
        ((2, 8), 80, 2),
        ((8, 2), 80, 1),
        ((40, 2), 95, 1),
        ((2, 40), 99.9, 2),
        ((5, 0), 95, None),
        ((6, 0), 95, 1),
    ],
)  # p = .0625 and .03125
def test_who_is_ahead_depends_on_the_exact_test_and_the_confidence(
    shop, ask, tell, only, confidence, ahead
):
    right = [row(number, LEAVES[0], LEAVES[0], 0.5 + number / 1000) for number in range(300)]
    wrong = [own._replace(predicted=LEAVES[1]) for own in right]
    stock(shop, right)
    save(shop, wrong[: only[1]] + right[only[1] :])
    save(shop, right[: only[1]] + wrong[only[1] : sum(only)] + right[sum(only) :])
    (pair,) = ask("--compare", 1, 2, "--confidence", confidence)["pairs"]
    assert (pair["only_first_right"], pair["only_second_right"]) == only
    assert pair["mcnemar_p"] == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    assert pair["ahead"] == ahead
    text = tell("--compare", 1, 2, "--confidence", confidence)
    assert (
        f"exact McNemar: p = {pair['mcnemar_p']:.3g}: "
        + (f"#{ahead} is ahead" if ahead else "level")
        in text
    )


def test_the_bootstrap_draws_whole_groups(shop, ask):
    rng = random.Random(16)
    first, second = [], []
    for group in range(100):
        hits = rng.random() < 0.6, rng.random() < 0.8
        for number in range(4 * group, 4 * group + 4):
            for rows, hit in zip((first, second), hits):
                rows.append(row(number, LEAVES[0], LEAVES[not hit], 0.5))
    stock(shop, first, groups={own.product: f"group {own.product // 4}" for own in first})
    save(shop, first)
    save(shop, second)

    def difference(confidence=95):
        own = ask("--compare", 1, 2, "--confidence", confidence)["pairs"][0]["differences"][0]
        return own["second_minus_first"], np.array(own["interval"])

    point, by_group = difference()
    change(shop, "update product set group_key = id")
    same, by_product = difference()
    moves = np.array([is_right(b) - is_right(a) for a, b in zip(first, second)], float)
    assert point == same == pytest.approx(moves.mean())
    normal = 1.96 * moves.std() * np.array([-1, 1])
    assert by_product == pytest.approx(point + normal / 20, abs=0.01)  # 400 of them
    assert by_group == pytest.approx(point + normal / 10, abs=0.02)  # 100
    narrow = difference(50)[1]
    assert narrow == pytest.approx(point + normal / 20 * 0.6745 / 1.96, abs=0.005)


def test_coverages_differ_by_what_the_highest_scores_allow(shop, ask, tell):
    rows = [row(number, LEAVES[0], LEAVES[0], (number + 1) / 101) for number in range(100)]
    stock(shop, rows)
    save(shop, rows)
    save(shop, rows[:50] + [own._replace(predicted=LEAVES[1]) for own in rows[50:]])
    (pair,) = ask("--compare", 1, 2)["pairs"]
    accuracy, *coverages = pair["differences"]
    assert [own["of"] for own in coverages] == ["coverage_95", "coverage_98"]
    # The surest half is wrong in every resample, and nothing of it can be accepted.
    for own in coverages:
        assert (own["second_minus_first"], own["interval"], own["ahead"]) == (-1, [-1, -1], 1)
    assert accuracy["second_minus_first"] == -0.5 and accuracy["interval"][0] > -0.65
    assert (
        "  95% coverage, bootstrap by group: #2 minus #1 = -100.00 points [-100.00, -100.00]: "
        "#1 is ahead\n" in tell("--compare", 1, 2)
    )


@pytest.fixture
def six(shop):
    """Experiments 1 and 2 on the same products, 3 on others, 4 with other labels, 5 without any."""
    rows, others = draw(range(1, 50), 17), draw(range(50, 90), 18)
    stock(shop, rows + others)
    save(shop, rows)
    save(shop, [own._replace(score=own.score / 2) for own in rows])
    save(shop, others)
    save(shop, [own._replace(label="jeans") for own in rows])
    save(shop, [])


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (("--compare", 1), "--compare takes two or more different experiments, such as"),
        (("--compare", 1, 1), "--compare takes two or more different experiments, such as"),
        (("--compare", 1, 2, 1), "--compare takes two or more different experiments, such as"),
        (("--compare", 1, 3), "experiments 1, 3 share no test products"),
        (("--compare", 1, 2, 3), "experiments 1, 2, 3 share no test products"),
        (("--compare", 1, 5), "experiments 1, 5 share no test products"),
        (
            ("--compare", 4, 1),
            "experiments 4, 1 file none of the products they share under the same",
        ),
        (("--compare", 1, 7), "there is no experiment 7 (there are: 1, 2, 3, 4)"),
        (("--compare", 1, "9" * 30), f"there is no experiment {'9' * 30} (there are: 1, 2, 3, 4)"),
        (("--compare", 1, -1), "there is no experiment -1 (there are: 1, 2, 3, 4)"),
        (("--experiment", 7), "there is no experiment 7 (there are: 1, 2, 3, 4)"),
        (("--experiment", 0), "there is no experiment 0 (there are: 1, 2, 3, 4)"),
        (
            ("--experiment", -(2**63)),
            "there is no experiment -9223372036854775808 (there are: 1, 2, 3",
        ),
        (("--experiment", 5), "experiment 5 has no predictions; run its script again"),
    ],
)
def test_what_has_no_answer_is_refused_in_one_sentence(six, tmp_path, capsys, flags, sentence):
    for form in ((), ("--json",)):
        with pytest.raises(UserError) as error:
            analyze.main(["--db-path", str(tmp_path / "crawl.db"), *map(str, flags), *form])
        assert str(error.value).startswith(sentence) and len(str(error.value).splitlines()) == 1
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "flags",
    [
        ("--compare", 1, 3),
        ("--experiment", 5, "--json"),
        ("--dump-errors-for-experiment", 1, "--json"),
    ],
)
def test_a_refusal_at_the_shell_is_one_line_on_stderr_and_status_2(six, tmp_path, flags):
    done = run_script("analyze", *flags, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("analyze.py: ") and len(done.stderr.splitlines()) == 1


# ---- flags --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags, problem",
    [
        *(
            (
                ("--confidence", text),
                "argument --confidence: must be a percentage from 50 to 99.999",
            )
            for text in ("0", "100", "abc", "nan", "inf", "-95", "49.9", "", "1e400")
        ),
        *(
            (("--top", text), "argument --top: must be a whole number from 1")
            for text in ("0", "-1", "x", "1.5", "", "²")
        ),
        (("--top", "9" * 5000), "argument --top: must be a whole number from 1 to 1000000000"),
        (("--experiment", "abc"), "argument --experiment: invalid int value: 'abc'"),
        (("--experiment", "1.0"), "argument --experiment: invalid int value: '1.0'"),
        (("--experiment", "9" * 5000), "argument --experiment: invalid int value: '999"),
        (("--experiment",), "argument --experiment: expected one argument"),
        (("--compare",), "argument --compare: expected at least one argument"),
        (("--compare", "1", "b"), "argument --compare: invalid int value: 'b'"),
        (("--compare", "1", "2", "--experiment", "1"), "argument --experiment: not allowed with"),
        (("--experiment", "1", "--dump-errors-for-experiment", "1"), "not allowed with argument"),
        (("--experiment", "1", "--label-suspects", "1"), "not allowed with argument --experiment"),
    ],
)
def test_a_wrong_flag_is_told_in_one_sentence(capsys, flags, problem):
    with pytest.raises(SystemExit) as stop:
        analyze.main(flags)
    printed = capsys.readouterr()
    assert stop.value.code == 2 and printed.out == "" and problem in printed.err
    assert len(printed.err.splitlines()) == 1 and "--help" in printed.err


def test_top_limits_the_page(shop, tell):
    rows = [row(number, *LEAVES[:2], 0.5 + number / 100) for number in range(30)]
    stock(shop, rows)
    save(shop, rows)
    for flags, shown in (((), range(29, -1, -1)), (("--top", 2), (29, 28)), (("--top", 1), (29,))):
        page = tell("--dump-errors-for-experiment", 1, *flags)
        assert re.findall(r"<h3[^>]*>Name (\d+)</h3>", page) == [str(number) for number in shown]


@pytest.mark.parametrize("confidence", [50, 99.999])
def test_the_confidences_at_both_ends_are_taken(split, ask, confidence):
    found = ask("--experiment", 1, "--confidence", confidence)
    assert found["confidence"] == confidence / 100
    thresholds = [own["threshold"] or 1 for own in found["coverage"]]
    usual = [own["threshold"] or 1 for own in ask("--experiment", 1)["coverage"]]
    assert all(a <= b if confidence == 50 else a >= b for a, b in zip(thresholds, usual))
    assert thresholds != usual


# ---- what is missing, and what is hostile -------------------------------------------------------

MODES = (("--experiment", 1), ("--experiment", 2), ("--compare", 1, 2), ("--compare", 2, 1), ())


def test_predictions_of_deleted_products_are_counted_by_the_label_they_hold(shop, ask, tell):
    rows = draw(range(1, 101), 19)
    stock(shop, rows)
    save(shop, rows)
    save(shop, [own._replace(predicted=LEAVES[0]) for own in rows])
    before = [ask(*flags) for flags in MODES]
    shop.execute("delete from product where id > 20")
    for flags, was in zip(MODES, before):
        now = ask(*flags)
        assert tell(*flags)
        if "--experiment" in flags:
            for key in ("accuracy", "coverage", "categories", "confusions", "aurc", "calibration"):
                assert now[key] == was[key]
            assert now["by_words"][0]["accuracy"]["n"] == 80
        elif flags:
            assert now["pairs"][0]["mcnemar_p"] == was["pairs"][0]["mcnemar_p"]
            gone = [own for own in now["flips"] if own["product"] > 20]
            assert gone and all(own["name"] is own["external_id"] is None for own in gone)


def test_without_a_label_or_a_known_category_a_prediction_is_wrong(shop, ask, tell):
    rows = [row(number, LEAVES[0], LEAVES[0], 0.9) for number in range(1, 11)]
    stock(shop, rows)
    for _ in range(2):
        save(shop, rows)
    change(shop, "update predicted_category set label_id = null where product_id in (1, 2)")
    change(shop, "update product set category_id = null where id = 1")
    change(shop, "delete from product where id = 2")
    change(
        shop,
        """update predicted_category set category_id = 'gone', parent_id = 'also gone'
                    where product_id = 3 and experiment_id = 2""",
    )
    one, two, both, _, blocks = [ask(*flags) for flags in MODES]
    assert [round(10 * block["accuracy"]) for block in blocks] == [8, 7]
    assert [own["after_review"]["accuracy"]["hits"] for own in (one, two)] == [8, 7]
    assert both["any_right"]["hits"] == 8
    assert [own["support"] for own in one["categories"]] == [8]
    assert [own["categories"] for own in two["confusions"]] == [[LEAVES[0], "gone"]]
    assert (both["n"], both["pairs"][0]["none_right"], both["flipped"]) == (10, 2, 1)
    assert both["flips"][0]["answers"][1]["category"] == "gone"
    assert all(tell(*flags) for flags in MODES)


def test_whatever_is_missing_the_parts_of_a_result_add_up(shop, ask, tell):
    rng = random.Random(20)
    for turn, folds in enumerate((None, 4)):
        for table in ("predicted_category", "validation_prediction", "product", "experiment"):
            shop.execute(f"delete from {table}")
        shop.execute("delete from sqlite_sequence")
        for _experiment in range(2):
            rows = [
                own._replace(
                    score=round(own.score, turn + 2),
                    predicted=rng.choice([own.predicted, "unknown", "jeans"]),
                    parent=rng.choice([own.parent, "unknown"]),
                )
                for own in draw(range(1, rng.randrange(20, 150)), rng.random(), folds)
            ]
            stock(shop, rows)
            save(shop, rows, kept=draw(range(200, 300), turn), folds=folds)
        for column, lacking in (("label_id", 3), ("label_score", 7), ("fold", 11)):
            change(
                shop,
                f"""update predicted_category set {column} = null
                             where (product_id + ?) % {lacking} = 0""",
                turn,
            )
        change(shop, "delete from product where id % 5 = 0")
        change(shop, "update product set category_id = null where id % 4 = 0")
        for block in ask():
            own, n = ask("--experiment", block["experiment"]), block["n"]
            assert [promise["observed"]["share"] for promise in own["coverage"]] == [
                block[f"{level}coverage_{percent}"]
                for level in ("", "parent_")
                for percent in (95, 98)
            ]
            assert own["interval"][0] <= block["accuracy"] <= own["interval"][1]
            low, high = own["parent_interval"]
            assert low <= block["parent_accuracy"] <= high
            labelled = sum(one["support"] for one in own["categories"])
            right = sum(one["recall"]["hits"] for one in own["categories"])
            assert round(n * block["accuracy"]) == right
            assert sum(one["precision"]["n"] for one in own["categories"]) == n
            assert sum(one["errors"] for one in own["confusions"]) == labelled - right
            for key in ("by_words", "by_picture"):
                assert sum(one["accuracy"]["n"] for one in own[key]) == n
            for one in own["fallback"]:
                assert sum(one[name]["taken"]["hits"] for name in ("leaf", "parent", "person")) == n
        assert "nan" not in tell("--experiment", 1).split()
        both = ask("--compare", 1, 2)
        assert both["n"] == sum(value for key, value in both["pairs"][0].items() if "_right" in key)


HOSTILE = [
    "\x1b[2J\x1b[31mred",
    "two\nlines\r\nthree",
    "tab\tbed",
    "\x9b31m\x85\x7f\b\b\a",
    "a\0b",
    "\u202egnp.exe\u2066\u200f",
    "\u2028\u2029\ufeff",
    "\U0001f456\u200d\U0001f9e5 ジーンズ",
    "word " * 200_000,
    "x" * 1_000_000,
    "",
    "'; drop table product; --",
    "\ud7ff\ue000\uffff",
    "{0} %s {{name}}",
    '"quoted"\\',
    "<script>alert(1)</script>",
]


def test_a_hostile_name_stays_on_its_line_of_a_comparison_and_whole_in_json(shop, ask, tell):
    rows = [row(number, LEAVES[0], LEAVES[0], 0.9) for number in range(len(HOSTILE))]
    stock(shop, rows, {number: (text, text) for number, text in enumerate(HOSTILE)})
    save(shop, rows)
    save(shop, [own._replace(predicted=LEAVES[1]) for own in rows])
    text = tell("--compare", 1, 2)
    lines = text.split("\n")
    assert all(printable(line) == line and len(line) < 200 for line in lines)
    shown = lines[-1 - len(HOSTILE) : -1]
    assert lines[-1] == "" and [line.split()[0] for line in shown] == [
        str(number) for number in range(len(HOSTILE))
    ]
    assert "[2J [31mred" in shown[0] and shown[1].endswith("two lines three")
    assert "ジーンズ" in shown[7] and shown[9].endswith("x" * 57 + "...")
    assert [own["name"] for own in ask("--compare", 1, 2)["flips"]] == HOSTILE
    assert ask("--experiment", 1)["by_words"][-1]["accuracy"]["n"] == 1
    assert all(line.isprintable() for line in tell("--experiment", 1).split("\n"))


def test_hostile_ids_and_names_of_experiments_are_whole_in_json(shop, ask, tell):
    ids = [f"{number}{text[:2000]}" for number, text in enumerate(HOSTILE)]
    rows = [row(number, own, ids[number - 1], 0.9) for number, own in enumerate(ids)]
    stock(shop, rows)
    for name in ("".join(text[:50] for text in HOSTILE), HOSTILE[0]):
        save(shop, rows, name=name, categories=ids)
        rows = [own._replace(predicted=own.label) for own in rows]
    assert [block["name"] for block in ask()][1] == HOSTILE[0]
    found = ask("--experiment", 1)
    assert sorted(own["category"] for own in found["categories"]) == sorted(ids)
    assert found["settings"]["categories"] == ids
    assert {frozenset(own["categories"]) for own in found["confusions"]} == {
        frozenset((ids[i], ids[i - 1])) for i in range(len(ids))
    }
    both = ask("--compare", 1, 2)
    assert [own["label"] for own in both["flips"]] == ids
    assert [own["answers"][0]["category"] for own in both["flips"]] == [ids[-1], *ids[:-1]]
    assert all(tell(*flags) for flags in MODES)


def test_an_answer_or_a_score_that_is_null_is_wrong_and_nobodys(shop, ask, tell):
    rows = [row(number, LEAVES[number % 3], LEAVES[number % 3], 0.9) for number in range(9)]
    stock(shop, rows)
    save(shop, rows)
    save(shop, rows)
    change(shop, "update predicted_category set category_id = null where product_id = 5")
    change(shop, "update predicted_category set score = null where product_id = 6")
    found = ask("--experiment", 1)
    assert found["accuracy"] == 8 / 9 and not found["confusions"]
    change(
        shop,
        """update predicted_category set category_id = ?, score = .9
                    where product_id = 5 and experiment_id = 2""",
        LEAVES[2],
    )
    (flip,) = ask("--compare", 1, 2)["flips"]
    assert [own["category"] for own in flip["answers"]] == [None, LEAVES[2]]
    assert "  - 0.900  " in tell("--compare", 1, 2)


def test_a_parent_that_the_tree_has_lost_is_still_one_parent(shop, ask):
    rows = [
        row(number, LEAVES[number % 3], LEAVES[1], 0.5 + number / 100)._replace(parent=None)
        for number in range(40)
    ]
    stock(shop, rows)
    save(shop, rows)
    change(shop, "delete from category where id in ('jeans', 'bags')")
    found = ask("--experiment", 1)
    low, high = found["parent_interval"]
    assert low < found["parent_accuracy"] < high and found["parent_accuracy"] > found["accuracy"]
    assert [own["observed"]["share"] for own in found["coverage"][2:]] == [
        found["parent_coverage_95"],
        found["parent_coverage_98"],
    ]


def test_twins_on_the_tests_side_that_took_no_part_share_nothing_with_training(shop, ask):
    rows = [row(1, LEAVES[0], LEAVES[0], 0.9), row(2, LEAVES[0], LEAVES[0], 0.9)]
    stock(shop, rows, {1: ("Tote", "red"), 2: ("Tote", "red")}, {1: "twins", 2: "twins"})
    save(shop, rows[:1])
    assert ask("--experiment", 1)["shared_with_training"]["text"]["shared"]["hits"] == 0


def test_names_of_categories_and_experiments_do_not_move_the_terminal(shop, tell):
    odd = "a\x1b[2J\n#9: fake\x9b"
    rows = [row(number, odd, LEAVES[number % 2], 0.9) for number in range(4)]
    stock(shop, rows)
    for turn in range(2):
        save(
            shop,
            [own._replace(predicted=odd) if own.product == turn else own for own in rows],
            name="T\x1b[31m\nx",
        )
    for flags in ((), ("--experiment", 1), ("--compare", 1, 2)):
        lines = tell(*flags).split("\n")
        assert all(line.isprintable() for line in lines)
        assert not any(line.startswith("#9") for line in lines)


def test_variants_of_a_few_styles_put_nobody_ahead(shop, ask, tell):
    """Forty variants of one style are one piece of evidence, whatever McNemar makes of them."""
    rows = [row(number, LEAVES[0], LEAVES[0], 0.9) for number in range(100)]
    stock(shop, rows, groups=dict.fromkeys(range(40), "style"))
    save(shop, rows)
    save(shop, [own._replace(predicted=LEAVES[1]) if own.product < 40 else own for own in rows])
    (pair,) = ask("--compare", 1, 2)["pairs"]
    assert pair["mcnemar_p"] < 1e-9 and pair["ahead"] is None
    assert "level, because the interval by group holds 0" in tell("--compare", 1, 2)
    assert pair["differences"][0]["ahead"] is None
    change(shop, "update product set group_key = id")
    assert ask("--compare", 1, 2)["pairs"][0]["ahead"] == 1


def test_experiments_that_told_other_categories_apart_are_said_to(shop, ask, tell):
    rows = [row(number, LEAVES[number % 2], LEAVES[0], 0.9) for number in range(20)]
    stock(shop, rows)
    save(shop, rows)
    save(shop, rows, categories=list(LEAVES[:2]))
    save(shop, rows, categories=list(LEAVES[:2]))
    assert "not the same task: #1 has 3 categories, #2 has 2" in tell("--compare", 1, 2)
    assert ask("--compare", 2, 3)["same_categories"] is True
    assert "same task" not in tell("--compare", 2, 3)
