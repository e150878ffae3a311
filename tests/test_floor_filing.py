"""A floor for every leaf, in a database: figures, filing, the review page and the promise agree.

pytest tests/test_floor_filing.py
"""

import html
import json
import math
import re

import numpy as np
import pytest
from test_certificates import LEAVES, drawn, store_shop
from test_scripts import run_script

import db
from evaluation import (
    catalogue_queries,
    certificates,
    certified_figures,
    error_page,
    experiment_figures,
    experiment_report,
    figures,
    filing_queries,
    filing_source_queries,
    floors,
    guarantees,
    html_pages,
    levels,
    promise_text,
    refusals,
    review_page,
    today,
)

BAD, TARGET, CONFIDENCE = 5, 0.95, 0.95
NEW = 10_000  # from this id on products have no category


def bad_leaf(n, rng):
    """(label, predicted, score): answers with one leaf are surest, and wrong half of the time."""
    label, predicted, score = drawn(n, rng)
    score = np.where(predicted == BAD, 0.97 + 0.03 * score, score)
    beside = BAD // 3 * 3 + (BAD + 1) % 3
    return np.where((predicted == BAD) & (rng.random(n) < 0.5), beside, label), predicted, score


@pytest.fixture
def shop(tmp_path):
    """Experiment 1 with five folds, and 600 products without a category that it has answered."""
    rng = np.random.default_rng(3)
    conn = store_shop(str(tmp_path / "crawl.db"), *bad_leaf(5000, rng))
    _, predicted, score = bad_leaf(600, rng)
    conn.executemany(
        "insert into product(id, source, external_id, name) values (?, 'shop', ?, 'x')",
        [(NEW + n, f"new-{n}") for n in range(600)],
    )
    conn.executemany(
        """insert into filing(experiment_id, product_id, leaf_id, leaf_score, parent_id,
                              parent_score, top) values (1, ?, ?, ?, ?, ?, ?)""",
        [
            (
                NEW + n,
                LEAVES[leaf],
                sure,
                LEAVES[leaf].split(".")[0],
                (1 + sure) / 2,
                json.dumps([[LEAVES[leaf], sure]]),
            )
            for n, (leaf, sure) in enumerate(zip(predicted.tolist(), score.tolist()))
        ],
    )
    yield conn
    conn.close()


def promised(conn, floor, target=TARGET):
    return guarantees.promise(conn, 1, LEAVES, target, CONFIDENCE, floor)


def file_by(conn, promise):
    """File the new products, and return {product: (level, category, leaf that was answered)}."""
    thresholds, shut = guarantees.promised_thresholds(promise), guarantees.shut_leaves(promise)
    moves = filing_queries.filing_moves(conn, 1, "shop", **thresholds, shut=shut)
    filing_queries.file_products(conn, 1, "shop", **thresholds, target=TARGET, shut=shut)
    filing_source_queries.keep_filing(conn, 1, "shop", promise, thresholds, (), ())
    filed = db.plain(conn, "select product_id, level, category_id, leaf_id from filing").fetchall()
    counts = {}
    for _, _, level, products in moves:
        counts[level] = counts.get(level, 0) + products
    assert counts == filing_queries.count_levels(conn, 1)  # the dry run and the filing agree
    return {row[0]: row[1:] for row in filed}


def test_a_bad_leaf_is_shut_and_its_products_go_to_the_parent_or_a_person(shop):
    before, after = promised(shop, 0.0, 0.85), promised(shop, 0.8, 0.85)
    assert before["shut"] == [] and before["chose"] == 0
    (shut,) = after["shut"]
    assert shut["category"] == LEAVES[BAD] and shut["right"] < 0.7 * shut["accepted"]
    filed = file_by(shop, before)
    assert any(row[:2] == ("leaf", LEAVES[BAD]) for row in filed.values())
    filed = file_by(shop, after)
    of_bad = {level for level, _, leaf in filed.values() if leaf == LEAVES[BAD]}
    assert of_bad and of_bad <= {"parent", "person"}
    others = [level for level, _, leaf in filed.values() if leaf != LEAVES[BAD]]
    assert others.count("leaf") > 200


def test_without_the_bad_leaf_more_of_the_others_are_filed(shop):
    """At this target the leaf that is wrong half of the time spoils the promise for all."""
    before, after = promised(shop, 0.0, 0.96), promised(shop, 0.9, 0.96)
    least = (guarantees.promised_thresholds(promise)["leaf"] for promise in (before, after))
    assert next(least) > next(least)
    assert 0 < after["chose"] < 0.6 * after["products"]


@pytest.mark.parametrize("target", (0.9, 0.95, 0.98))
def test_a_floor_of_zero_changes_no_threshold(shop, target):
    names, rows = figures.read_predictions(shop, 1, False, False, LEAVES)
    above = refusals.labelled_rows(shop, 1, {"settings": {"folds": 5}, "categories": LEAVES}).above
    independent = rows[certificates.one_of_each(rows["group"])]
    expected = certified_figures.certify_pair(independent, above, target, CONFIDENCE)
    promise = promised(shop, 0.0, target)
    assert [promise[level] for level in expected._fields] == [
        None if math.isinf(score) else score for score in expected
    ]


def test_the_promise_says_which_leaves_are_shut_and_where_their_products_go(shop):
    promise = promised(shop, 0.9)
    (shut,) = promise["shut"]
    text = "\n".join(promise_text.promise_lines(promise))
    assert (
        f"1 leaf is shut: clearly less than 90 % (--floor) would be right there (the worst, "
        f"{LEAVES[BAD]}: {shut['right']} of {shut['accepted']} were). Their products go to the "
        "parent, or to a person" in text
    )
    assert f"{promise['chose']} of them decided which leaves are shut" in text
    assert "shut" not in "\n".join(promise_text.promise_lines(promised(shop, 0.0)))


@pytest.mark.parametrize("target, is_said", ((0.95, False), (0.85, True)))
def test_the_promise_says_how_much_the_floor_costs(shop, target, is_said):
    """At 95 % the floor shuts the leaf that is wrong half of the time, and more is filed with it."""
    with_floor, without = promised(shop, 0.8, target), promised(shop, 0.0, target)
    assert with_floor["without_floor"] == without["at_leaves"] == without["without_floor"]
    for promise in (with_floor, without):
        filed = [row[0] for row in file_by(shop, promise).values()].count("leaf")
        assert filed / 600 == pytest.approx(promise["at_leaves"], abs=0.06)
    text = "\n".join(promise_text.promise_lines(with_floor))
    said = (
        f"of products like these {100 * with_floor['at_leaves']:.0f} % are filed at leaves; without "
        f"the floor for each leaf (--floor 0) it would be {100 * without['at_leaves']:.0f} %"
    )
    assert (said in text) == ("(--floor 0)" in text) == is_said


def test_labelled_products_count_in_a_mix_as_they_are_filed(shop):
    promise = promised(shop, 0.9)
    described = {"settings": {"folds": 5}, "categories": LEAVES}
    names, rows, _ = refusals.labelled_rows(shop, 1, described, promise)
    bad = rows["predicted"] == names.index(LEAVES[BAD])
    assert bad.any() and (rows["score"][bad] == -1).all() and (rows["score"][~bad] >= 0).all()
    counts = filing_queries.answer_counts(shop, 1, "shop", [0.0], guarantees.shut_leaves(promise))
    assert {step for leaf, step in counts if leaf == LEAVES[BAD]} == {0}
    assert {step for leaf, step in counts if leaf != LEAVES[BAD]} == {1}


def test_the_review_page_says_that_the_leaf_is_shut(shop, tmp_path):
    promise = promised(shop, 0.9)
    filed = file_by(shop, promise)
    (shut,) = promise["shut"]
    shop.execute("update category set name = 'As people <call> it' where id = ?", (LEAVES[BAD],))
    path = html_pages.page_paths(shop)[LEAVES[BAD]]
    assert path.endswith(" > As people <call> it")
    reason = (
        f"its leaf {html.escape(path)} is shut: of {shut['accepted']} accepted there {shut['right']} "
        "were right, and the floor is 90 %"
    )
    page = review_page.review_page(shop, 1, str(tmp_path), str(tmp_path / "crawl.db"), 1000)
    waiting = [row for row in filed.values() if row[2] == LEAVES[BAD] and row[0] != "leaf"]
    assert page.count(reason) == len(waiting) > 0


def test_what_an_older_version_filed_has_no_floor(shop, tmp_path):
    file_by(shop, promised(shop, 0.0, 0.85))
    shop.execute("update filing_source set floor = null, shut = null")
    page = review_page.review_page(shop, 1, str(tmp_path), str(tmp_path / "crawl.db"), 1000)
    assert "is below the" in page and "is shut" not in page


# ---- leaves without a parent --------------------------------------------------------------------


def test_a_leaf_without_a_parent_is_shut_as_its_own_parent_too(shop):
    shop.execute("update category set path = id, parent = null where id = ?", (LEAVES[BAD],))
    for table in ("predicted_category", "filing"):
        column = "category_id" if table == "predicted_category" else "leaf_id"
        shop.execute(f"update {table} set parent_id = {column} where {column} = ?", (LEAVES[BAD],))
    promise = promised(shop, 0.9)
    assert guarantees.shut_leaves(promise) == {LEAVES[BAD]}
    assert catalogue_queries.lone_classes(shop, 1) == {LEAVES[BAD]}
    filed = file_by(shop, promise)
    assert {level for level, _, leaf in filed.values() if leaf == LEAVES[BAD]} == {"person"}


# ---- figures ------------------------------------------------------------------------------------


def test_each_folds_leaves_are_shut_by_the_other_folds(shop):
    """If a leaf is bad in one fold only, that fold does not know it."""
    report = experiment_figures.describe(shop, 1, CONFIDENCE, 0.9)
    (bad,) = (row for row in report["categories"] if row["category"] == LEAVES[BAD])
    assert bad["accepted"]["n"] == 0 and bad["shut"]["accepted"] > 0
    names, rows = figures.read_predictions(shop, 1)
    code = names.index(LEAVES[BAD])
    rows["label"][(rows["predicted"] == code) & (rows["fold"] != 2)] = code
    above = np.append(np.arange(len(names)), -2)

    def certify(independent):
        return certified_figures.certify_leaf_and_parent(
            independent, above, TARGET, CONFIDENCE, floors.Floor(0.9)
        )

    filed, _, _ = certified_figures.certified_apart(rows, rows[:0], 5, certify)
    mine = rows["predicted"] == code
    assert (filed["score"][mine & (rows["fold"] == 2)] >= 0).all()
    assert (figures.correct(rows, above).leaf[mine & (rows["fold"] != 2)]).all()


FOLDS = "A leaf is shut if clearly fewer than 90% of those accepted "
TUNED = "A leaf is shut if, among the products that the model was tuned on, clearly fewer than 90% "


def texts(shop, folder, floor):
    """The report of experiment 1 and its page of errors, each as one text."""
    report = experiment_figures.describe(shop, 1, CONFIDENCE, floor)
    report["today"] = today.since_training(shop, 1, report)
    report["levels"] = levels.by_level(shop, 1, report)
    page = error_page.error_page(shop, 1, str(folder), str(folder / "crawl.db"), floor=floor)
    return "\n".join(experiment_report.experiment_text(report, 20)), page


@pytest.mark.slow
def test_what_shut_means_is_said_if_a_leaf_is_shut(shop, tmp_path):
    for text in texts(shop, tmp_path, 0.9):
        assert text.count(FOLDS) == 1 and TUNED not in text
        assert "What was accepted there in folds that have not shut it is still counted" in text
    for floor in (0.0, 0.3):  # the worst leaf is above it
        for text in texts(shop, tmp_path, floor):
            assert "A leaf is shut" not in text
    assert "open</td>" in text and "were right</td>" not in text  # on the page of a floor of 30 %
    split_once(shop)
    for text in texts(shop, tmp_path, 0.9):
        assert text.count(TUNED) == 1 and FOLDS not in text and "still counted" not in text


def test_the_report_lists_every_category_with_what_is_accepted_and_why_it_is_shut(shop):
    report = experiment_figures.describe(shop, 1, CONFIDENCE, 0.9)
    report["today"] = today.since_training(shop, 1, report)
    report["levels"] = levels.by_level(shop, 1, report)
    first = report["coverage"][0]
    rows = report["categories"]
    assert sum(row["accepted"]["n"] for row in rows) == first["coverage"]["hits"]
    assert sum(row["accepted"]["hits"] for row in rows) == first["accuracy"]["hits"]
    (shut,) = first["shut"]
    lines = list(experiment_report.experiment_text(report, 20))
    text = "\n".join(lines)
    assert (
        f"  Floor of 90%, at 95%: 1 shut: {LEAVES[BAD]} ({shut['right']} of {shut['accepted']} "
        "right)" in lines
    )
    assert re.search(
        rf"^  {LEAVES[BAD]} .* 0 +-  shut: {shut['right']} of {shut['accepted']} were right$",
        text,
        re.M,
    )


def test_the_page_of_errors_lists_every_category(shop, tmp_path):
    pages = [
        error_page.error_page(shop, 1, str(tmp_path), str(tmp_path / "crawl.db"), floor=floor)
        for floor in (0.0, 0.9)
    ]
    for page in pages:
        assert f"Every category: {len(LEAVES)}" in page
    assert "were right</td>" in pages[1] and "were right</td>" not in pages[0]


# ---- one split ----------------------------------------------------------------------------------


def test_without_folds_the_products_that_the_model_was_tuned_on_choose(shop):
    """They certify nothing, so all that certified before still does."""
    split_once(shop)
    promise = promised(shop, 0.9)
    assert promise["chose"] == 0 and promise["products"] == 2000
    assert guarantees.shut_leaves(promise) == {LEAVES[BAD]}
    shop.execute("delete from validation_prediction where not certifying")
    assert promised(shop, 0.9)["shut"] == []  # nobody is left to choose


def split_once(shop):
    """Make of experiment 1 one without folds."""
    shop.execute(
        """insert into validation_prediction(experiment_id, product_id, category_id, score,
                  label_id, label_score, parent_id, parent_score, top, certifying)
           select experiment_id, product_id, category_id, score, label_id, label_score, parent_id,
                  parent_score, top, fold in (3, 4) from predicted_category where fold > 0"""
    )
    shop.execute("delete from predicted_category where fold > 0")
    shop.execute("update experiment set settings = json_remove(settings, '$.folds')")


# ---- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, words",
    (
        (("categorize_words", "--floor", "95"), "--floor is for --apply"),
        (("analyze", "--floor", "95"), "--floor is for --experiment and"),
        (("analyze", "--experiment", "1", "--floor", "100"), "must be a percentage from 0 to"),
    ),
)
def test_a_floor_that_has_no_effect_is_one_sentence(tmp_path, arguments, words):
    done = run_script(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
