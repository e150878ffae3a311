"""An experiment against the catalogue as it is today: refiled and regrouped products, categories
that are gone, own filings that come back, and categories that the model does not know.

    pytest tests/test_today.py
"""

import json

import numpy as np
import pytest
from conftest import run_script
from test_figures import LEAVES, change, draw, path_of, save, shop, stock, tell  # noqa: F401

import db
from crawling import queries as crawling_queries
from evaluation import (
    decision_queries,
    experiment_queries,
    filing_queries,
    guarantees,
    promise_text,
    refusals,
    today,
)
from evaluation import queries as evaluation_queries
from learning import experiments, selection
from learning import queries as learning_queries

NEW = ("bags.new", "bags", 1, "bags/bags.new", "New")


def measured(shop, count=3000, folds=5, **settings):
    """An experiment (1) of so many products, with folds."""
    rows = draw(range(1, count + 1), 1, folds)
    stock(shop, rows)
    save(shop, rows, folds=folds, **settings)
    return rows


def answer(shop, number, leaf, score, parent=None, parent_score=0.9, label=None):
    """A product that experiment 1 has answered, without a category or with `label`."""
    shop.execute(
        """insert or ignore into product(id, source, external_id, group_key, name,
                    category_id) values (?, 'shop', ?, ?, 'x', ?)""",
        (number, f"new-{number}", f"new {number}", label),
    )
    filing_queries.store_answers(
        shop,
        1,
        [(number, leaf, score, parent or leaf.split(".")[0], parent_score, "[]", 1, 0, 0, 0)],
    )


def levels(shop, leaf=0.5, parent=0.5):
    filing_queries.file_products(shop, 1, "shop", leaf, leaf, parent)
    return {
        row["product_id"]: (row["level"], row["category_id"])
        for row in shop.execute(
            "select product_id, level, category_id from filing where level is not null"
        )
    }


# ---- labels ------------------------------------------------------------------------------------


def test_a_shop_that_has_refiled_nothing_is_not_said_to_have(shop, tell):
    measured(shop, 200)
    assert experiment_queries.changes(shop, 1) == {
        "products": 200,
        "refiled": 0,
        "unlabelled": 0,
        "regrouped": 0,
    }
    assert "since" not in tell("--experiment", "1") + tell("--models")


def test_refiled_products_are_counted_and_the_block_stays_as_learned(shop, tell):
    measured(shop, 200)
    block = tell()
    crawling_queries.store_categories(shop, [NEW])
    change(shop, "update product set category_id = 'bags.new' where id <= 30")
    change(shop, "update product set category_id = null where id > 195")
    change(shop, "delete from product where id = 40")
    assert experiment_queries.changes(shop, 1)["refiled"] == 30
    told = tell("--experiment", "1")
    assert tell() == block and told.startswith(block)
    assert (
        "30 of the 200 products of experiment 1 have another category now than the one it learned: "
        "train again" in told
    )
    assert "5 of the 200 products of experiment 1 have no category in the shop any more" in told
    assert json.loads(tell("--experiment", "1", "--json"))["today"]["refiled"] == 30


@pytest.mark.parametrize(
    "gone",
    (
        "update category set leaf = 0 where id = 'jeans.skinny'",
        "delete from category where id = 'jeans.skinny'",
    ),
)
def test_a_category_that_is_no_leaf_any_more_counts_as_refiled(shop, gone):
    rows = measured(shop, 300)
    change(shop, gone)
    assert experiment_queries.changes(shop, 1)["refiled"] == sum(
        own.label == "jeans.skinny" for own in rows
    )


def test_without_folds_the_validation_products_count_too(shop):
    rows = draw(range(1, 101), 2)
    stock(shop, rows)
    save(shop, rows[:50], rows[50:70], rows[70:90])
    change(shop, "update product set category_id = 'bags.other' where id between 41 and 100")
    assert experiment_queries.changes(shop, 1) == {
        "products": 90,
        "refiled": 50,
        "unlabelled": 0,
        "regrouped": 0,
    }


def test_a_promise_rests_on_the_labels_of_today(shop):
    measured(shop)
    before = guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)
    assert before["leaf"] is not None and before["refiled"] == 0 and before["stopped"] == []
    crawling_queries.store_categories(
        shop, [(f"new.{leaf}", "new", 1, f"new/{leaf}", leaf) for leaf in LEAVES]
    )
    change(shop, "update product set category_id = 'new.' || category_id")
    after = guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)
    assert (after["leaf"], after["parent"], after["refiled"]) == (None, None, 3000)
    assert after["stopped"] == ["refiled"]
    told = "\n".join(promise_text.promise_lines(after))
    assert (
        "without the 3,000 products that have another category now, which count as errors: "
        "train again" in told
    )
    # As it was learned it would be promised still: what --apply did before.
    assert guarantees.promise(shop, 1, (), 0.9, 0.95)["leaf"] == before["leaf"]


def test_products_that_vanished_or_lost_their_label_are_as_they_were_learned(shop):
    measured(shop)
    before = guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)
    change(shop, "update product set category_id = null where id % 3 = 0")
    change(shop, "delete from product where id % 3 = 1")
    after = guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)
    assert after == before


def test_a_product_refiled_to_a_leaf_that_the_model_does_not_know_counts_once(shop):
    measured(shop, 500)
    crawling_queries.store_categories(shop, [NEW])
    change(shop, "update product set category_id = 'bags.new' where id <= 20")
    answer(shop, 3, "bags.clutches", 0.99)  # what the model says of it now, having learned it
    answer(shop, 900, "bags.clutches", 0.99, label="bags.new")
    promise = guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)
    assert (promise["products"], promise["strange"], promise["refiled"]) == (501, 1, 20)
    assert filing_queries.count_strange(shop, 1, LEAVES) == (1, 1)


# ---- places ------------------------------------------------------------------------------------


def test_nothing_is_filed_at_a_category_that_is_not_there(shop):
    measured(shop, 60)
    for number, leaf in enumerate(("bags.clutches", "jeans.bootcut", "jeans.skinny"), 101):
        answer(shop, number, leaf, 0.9)
    assert {level for level, _ in levels(shop).values()} == {"leaf"}
    assert filing_queries.answers_gone(shop, 1) == []
    change(
        shop, "update product set category_id = 'jeans.bootcut' where category_id = 'jeans.skinny'"
    )  # empty
    assert levels(shop) == {
        101: ("leaf", "bags.clutches"),
        102: ("leaf", "jeans.bootcut"),
        103: ("parent", "jeans"),
    }
    assert [tuple(row) for row in filing_queries.answers_gone(shop, 1)] == [("jeans.skinny", 1)]
    change(shop, "update category set leaf = 0 where id = 'jeans.bootcut'")  # inner
    change(shop, "delete from category where id = 'bags.clutches'")
    assert set(levels(shop).values()) == {("person", None)}  # and no parent has a leaf left
    assert today.gone_line(filing_queries.answers_gone(shop, 1)).startswith(
        "3 products were answered with leaves that are not there any more, or are empty now "
        "(bags.clutches, jeans.bootcut, jeans.skinny): nothing is filed"
    )


def test_a_leaf_that_only_a_person_has_filled_is_there(shop):
    measured(shop, 60)
    crawling_queries.store_categories(shop, [NEW])
    answer(shop, 101, "bags.new", 0.9)
    answer(shop, 102, "bags.new", 0.9)
    assert levels(shop)[101] == ("parent", "bags")
    decision_queries.store_overrides(shop, [(102, "label wrong", "bags.new")])
    assert levels(shop)[101] == ("leaf", "bags.new")


# ---- what --apply filed and the shop's feed has now ---------------------------------------------


def filed_and_back(shop, trust=False):
    """Products 101 to 104 are filed at a leaf and come back so, but 104, which comes elsewhere."""
    measured(shop, 60)
    for number in range(101, 105):
        answer(shop, number, "jeans.skinny", 0.9)
    assert set(levels(shop).values()) == {("leaf", "jeans.skinny")}
    change(shop, "update product set category_id = 'jeans.skinny' where id between 101 and 103")
    change(shop, "update product set category_id = 'bags.clutches' where id = 104")
    return {row["id"]: row for row in learning_queries.labelled_products(shop, LEAVES, trust)}


def test_own_filings_that_come_back_are_taught_and_no_label(shop):
    rows = filed_and_back(shop)
    products = selection.make_products(list(rows.values()), LEAVES, {})
    skinny = LEAVES.index("jeans.skinny")
    for number in (101, 102, 103):
        place = products.ids.tolist().index(number)
        assert (products.labels[place], products.taught[place]) == (-1, skinny)
        assert rows[number]["filed"]
    # What the shop has corrected is out of the figures too, or they would rest on the errors.
    place = products.ids.tolist().index(104)
    assert (products.labels[place], products.taught[place]) == (-1, LEAVES.index("bags.clutches"))
    assert {
        number: (row["filed"], row["corrected"]) for number, row in rows.items() if number > 100
    } == {101: (1, 0), 102: (1, 0), 103: (1, 0), 104: (1, 1)}
    assert not any(
        row["filed"] or row["corrected"] for number, row in rows.items() if number <= 100
    )


def test_own_filings_are_labels_if_they_are_trusted(shop):
    rows = filed_and_back(shop, trust=True)
    assert rows[101]["category_id"] == "jeans.skinny" and not any(
        row["filed"] or row["corrected"] for row in rows.values()
    )
    assert rows[104]["category_id"] == "bags.clutches"


def test_the_memory_outlives_a_changed_text_and_another_target(shop):
    filed_and_back(shop)
    change(shop, "update product set category_id = null where id = 102")
    assert levels(shop, 2, 2)[102] == ("person", None)
    crawling_queries.store_product(
        shop,
        "shop",
        {
            "external_id": "new-102",
            "name": "other",
            "image": "",
            "description": "",
            "listed": ["jeans.skinny"],
            "found": None,
            "group": None,
        },
    )
    assert list(learning_queries.labelled_products(shop, ["jeans.skinny"]))[-2]["filed"] == 1


@pytest.mark.parametrize(
    "decision, category", (("label wrong", "jeans.skinny"), ("classifier wrong", None))
)
def test_what_a_person_has_confirmed_is_a_persons_label(shop, decision, category):
    filed_and_back(shop)
    if category:  # chosen before the shop had it
        change(shop, "update product set category_id = null where id = 101")
    decision_queries.store_overrides(shop, [(101, decision, category)])
    change(shop, "update product set category_id = 'jeans.skinny' where id = 101")
    filed = {row["id"] for row in learning_queries.labelled_products(shop, LEAVES) if row["filed"]}
    assert filed == {102, 103, 104}


def test_an_experiment_of_before_does_not_count_own_filings_as_errors_or_labels(shop):
    """They are answers for products of a leaf that the model does not know, or, in an experiment
    that was trained before the suite remembered, predictions with the label that it gave itself."""
    measured(shop, 500)
    crawling_queries.store_categories(shop, [NEW])
    for number in range(901, 921):
        answer(shop, number, "bags.clutches", 0.99, label="bags.new")
    assert guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)["strange"] == 20
    shop.execute("insert into filed_before select id, 'bags.new' from product where id > 910")
    assert guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)["strange"] == 10
    shop.execute("insert into filed_before select id, category_id from product where id <= 100")
    assert guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)["products"] == 410
    change(
        shop,
        """update experiment set settings = json_set(settings, '$.arguments',
                    json('{"trust_filed": true}'))""",
    )
    assert guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)["products"] == 510
    # What was filed and has come back elsewhere is left out as a whole, whatever it was learned as.
    change(shop, "update experiment set settings = json_remove(settings, '$.arguments')")
    shop.execute("delete from filed_before")
    change(shop, "update product set category_id = 'bags.new' where id <= 100")
    assert guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)["refiled"] == 100
    for leaf in ("bags.new", "jeans.skinny"):
        shop.execute("delete from filed_before")
        shop.execute("insert into filed_before select id, ? from product where id <= 100", (leaf,))
        shop.execute("insert into filed_before select id, ? from product where id > 910", (leaf,))
        promise = guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)
        assert (promise["refiled"], promise["strange"], promise["products"]) == (0, 10, 410)
        assert experiment_queries.changes(shop, 1)["refiled"] == 0
        assert filing_queries.count_strange(shop, 1, LEAVES) == (10, 10)


def test_figures_of_products_that_were_filed_and_corrected_do_not_rest_on_the_errors(shop):
    """Half of the products are filed, and the shop then corrects what was wrong of those."""
    rows = measured(shop, 2000)
    shop.execute("""insert into filed_before select product_id, category_id from predicted_category
                    where product_id > 1000""")
    own = {row["id"]: row for row in learning_queries.labelled_products(shop, LEAVES)}
    corrected = {row.product for row in rows[1000:] if row.label != row.predicted}
    assert {number for number, row in own.items() if row["corrected"]} == corrected
    assert {number for number, row in own.items() if row["category_id"]} == set(range(1, 1001))
    _, kept, _ = refusals.labelled_rows(shop, 1, {"settings": {"folds": 5}, "categories": LEAVES})
    assert set(kept["product"].tolist()) == set(range(1, 1001))


def test_an_older_database_remembers_what_filing_still_holds(shop):
    measured(shop, 60)
    answer(shop, 101, "jeans.skinny", 0.9)
    answer(shop, 102, "jeans.skinny", 0.3)
    levels(shop)
    path = path_of(shop)
    shop.execute("drop table filed_before")
    change(shop, "delete from schema_version where name = 'filed_before table'")
    again = db.open_database(path)
    assert [tuple(row) for row in again.execute("select * from filed_before")] == [
        (101, "jeans.skinny")
    ]
    again.close()


# ---- item groups -------------------------------------------------------------------------------


def regroup(shop, numbers, group):
    for number in numbers:
        crawling_queries.store_product(
            shop,
            "shop",
            {
                "external_id": f"sku-{number}",
                "name": f"Name {number}",
                "image": "",
                "description": "Text",
                "listed": None,
                "found": None,
                "group": group,
            },
        )


def test_experiments_of_before_are_marked_as_split_otherwise(shop, tell):
    rows = measured(shop, 200)
    change(shop, "update product set image = ''")
    regroup(shop, range(1, 11), "shop style")
    regroup(shop, [11], "group 11")  # the same
    save(shop, rows, folds=5, regroupings=db.last_regrouping(shop))
    assert [experiment_queries.changes(shop, number)["regrouped"] for number in (1, 2)] == [10, 0]
    line = (
        "10 of the 200 products of experiment 1 have another item group now: it was split "
        "otherwise, and groups may have been parted"
    )
    for told in (tell("--experiment", "1"), tell("--compare", "1", "2")):
        assert line in told and "experiment 2 have another" not in told
    # A product that has its old group again was split as it is.
    regroup(shop, [5], "group 5")
    assert [experiment_queries.changes(shop, number)["regrouped"] for number in (1, 2)] == [9, 1]


def test_a_promise_takes_one_product_of_each_group_of_today(shop):
    measured(shop, 500)
    change(shop, "update product set image = ''")
    regroup(shop, range(1, 101), "shop style")
    assert guarantees.promise(shop, 1, LEAVES, 0.9, 0.95)["products"] == 401


def test_a_load_says_how_many_products_have_another_group(tmp_path):
    def load(group):
        lines = [
            "id\ttitle\tproduct_type\titem_group_id",
            *(f"{n}\tName {n}\tA > B{n % 2}\t{group if n < 4 else ''}" for n in range(6)),
        ]
        (tmp_path / "feed.tsv").write_text("\n".join(lines) + "\n")
        return run_script("crawl", "--feed", "feed.tsv", cwd=tmp_path)

    assert "item group" not in load("").stderr
    done = load("style-1")
    assert "4 products of feed have another item group than before" in done.stderr
    assert "4 changed" in done.stdout
    assert "item group" not in load("style-1").stderr + load("").stderr


# ---- categories that the model does not know ----------------------------------------------------


@pytest.mark.parametrize("folds", (10, None))
def test_figures_of_all_that_comes_are_by_the_labels_of_today(shop, tell, folds):
    rows = measured(shop, 2000, products=2000) if folds else draw(range(1, 2001), 3)
    if not folds:
        stock(shop, rows)
        save(shop, rows, products=2000)
    crawling_queries.store_categories(shop, [NEW])
    change(shop, "update product set category_id = 'bags.new' where category_id = 'jeans.skinny'")
    renamed = sum(own.label == "jeans.skinny" for own in rows)
    right = sum(own.label == own.predicted != "jeans.skinny" for own in rows)
    told = tell("--experiment", "1")
    assert (
        f"with {2000 - renamed:,} of 2,000 labelled products. It is always wrong about the "
        f"other {renamed:,}\n" in told
    )
    assert [line.split()[-1] for line in told.splitlines() if line.startswith("  Accuracy  ")] == [
        f"{100 * right / 2000:.2f}%"
    ]


@pytest.mark.slow
def test_an_experiment_shows_the_figures_of_all_that_comes_beside_its_own(shop, tell):
    rows = measured(shop, 3000, products=3000, arguments={"min_products": 1000})
    assert "of all that comes" not in tell("--experiment", "1")
    crawling_queries.store_categories(shop, [NEW])
    for number in range(5001, 6001):
        shop.execute(
            """insert into product(id, source, external_id, group_key, name, category_id)
                        values (?, 'shop', ?, ?, 'x', 'bags.new')""",
            (number, number, number),
        )
    told = tell("--experiment", "1")
    right = np.mean([own.label == own.predicted for own in rows])
    assert "The model knows 3 of 4 categories, with 3,000 of 4,000 labelled products" in told
    assert [line.split()[-2:] for line in told.splitlines() if line.startswith("  Accuracy  ")] == [
        [f"{100 * right:.2f}%", f"{75 * right:.2f}%"]
    ]
    assert "--apply 1" in told and "certified, at the leaf" not in told
    for number in range(5001, 6001):
        answer(shop, number, "bags.clutches", 0.9999)
    told = tell("--experiment", "1")
    assert "95% certified, at the leaf" in told and "--min-products 1000" in told
    whole = json.loads(tell("--experiment", "1", "--json"))["today"]["all"]
    promise = guarantees.promise(shop, 1, LEAVES, 0.95, 0.95)
    leaf = np.mean(
        [own.score >= (promise["leaf"] or 2) for own in rows] + [promise["leaf"] is not None] * 1000
    )
    assert whole["coverage"][0]["leaf"] == pytest.approx(leaf)
    assert whole["accuracy"] == pytest.approx(0.75 * right)
    assert promise["stopped"] == ["strange"] and promise["leaf"] is None
    assert (
        "without the 1,000 products of categories that the model does not know, which count as "
        "errors: train with --min-products below 1000"
        in "\n".join(promise_text.promise_lines(promise))
    )
