"""Inner categories are classes, and --depth counts deeper ones as their ancestor, from training to
filing, pages and decisions.

pytest tests/test_depth.py
"""

import contextlib
import csv
import io
import json
import random
import sqlite3

import pytest
from conftest import run_script, write_feed

import db
from evaluation import decision_queries, html_pages, queries

TREE = (
    "Women",
    "Women > Jeans",
    "Women > Jeans > Skinny",
    "Women > Jeans > Wide",
    "Men > Shirts",
    "Men > Shoes",
    "Men > Shoes > Boots",
)
CLASSES = {
    "whole": [
        "men.shirts",
        "men.shoes",
        "men.shoes.boots",
        "women",
        "women.jeans",
        "women.jeans.skinny",
        "women.jeans.wide",
    ],
    "depth 2": ["men.shirts", "men.shoes", "women", "women.jeans"],
    "depth 1": ["men", "women"],
    "leaves": ["men.shirts", "men.shoes.boots", "women.jeans.skinny", "women.jeans.wide"],
}
FLAGS = {
    "whole": (),
    "depth 2": ("--depth", "2"),
    "depth 1": ("--depth", "1"),
    "leaves": ("--leaves-only",),
}


def draw(count, labelled, start):
    """Rows of a feed: so many products of each category, in its words and some of its parent's."""
    rng, rows = random.Random(start), []
    for path in TREE:
        words = [f"{word.lower()}{n}" for word in path.split(" > ")[-1:] for n in range(12)]
        words += [f"{path.split(' > ')[0].lower()}{n}" for n in range(6)]
        for _ in range(count):
            name = " ".join(rng.sample(words, 6)) + f" x{rng.randrange(1000)}"
            rows.append((f"{start + len(rows)}", name, "", path if labelled else "", "", ""))
    return rows


def run(folder, script, *args, status=0):
    done = run_script(script, *args, cwd=folder)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    return done


def query(folder, statement, *values):
    with contextlib.closing(sqlite3.connect(folder / "crawl.db")) as conn:
        return conn.execute(statement, values).fetchall()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A catalogue with products at all levels, an experiment for each of FLAGS, new products."""
    folder = tmp_path_factory.mktemp("depth")
    write_feed(folder / "products.tsv", draw(40, True, 1))
    write_feed(folder / "new.tsv", draw(6, False, 10_001))
    run(folder, "crawl", "--feed", "products.tsv")
    for flags in FLAGS.values():
        done = run(
            folder,
            *("categorize_words", "--min-products", "5", "--folds", "5", "--epochs", "6"),
            *flags,
        )
        at_inner = "--leaves-only: 120 products at categories that have others below them take no"
        assert (at_inner in done.stderr) == (flags == ("--leaves-only",))
        assert "left out" not in done.stderr
    run(folder, "crawl", "--feed", "new.tsv", "--unlabelled")
    return folder


@pytest.mark.parametrize("number, name", list(enumerate(CLASSES, 1)))
def test_classes_labels_and_parents_are_those_of_the_cut_tree(shop, number, name):
    (settings,) = query(shop, "select settings from experiment where id = ?", number)[0]
    assert json.loads(settings)["categories"] == CLASSES[name]
    assert json.loads(settings)["tree"] == {
        "depth": int(name[-1]) if name.startswith("depth") else None,
        "leaves only": name == "leaves",
    }
    labels = dict(
        query(
            shop,
            """select label_id, count(*) from predicted_category where experiment_id = ?
               group by label_id""",
            number,
        )
    )
    of_one = {"depth 2": (40, 80, 40, 120), "depth 1": (120, 160)}.get(name, (40,) * 7)
    assert labels == dict(zip(CLASSES[name], of_one))
    parents = {
        parent
        for (parent,) in query(
            shop,
            "select distinct parent_id from predicted_category where experiment_id = ?",
            number,
        )
    }
    expected = {
        "whole": {"men", "men.shoes", "women", "women.jeans"},
        "depth 2": {"men", "women"},
        "depth 1": {"men", "women"},
        "leaves": {"men", "men.shoes", "women.jeans"},
    }[name]
    # At depth 2 women.jeans and men.shoes end the tree; women has products of its own.
    assert parents == expected


def test_an_inner_class_and_the_classes_below_it_share_their_parent(shop):
    described = json.loads(run(shop, "analyze", "--experiment", "1", "--json").stdout)
    pairs = query(
        shop, "select label_id, category_id from predicted_category where experiment_id = 1"
    )
    parent = dict(
        zip(CLASSES["whole"], (*["men"], *["men.shoes"] * 2, "women", *["women.jeans"] * 3))
    )
    right = sum(parent[label] == parent[predicted] for label, predicted in pairs)
    assert described["parent_accuracy"] == pytest.approx(right / len(pairs))
    assert described["accuracy"] <= described["parent_accuracy"]


@pytest.mark.parametrize("number, name", list(enumerate(CLASSES, 1)))
def test_new_products_are_filed_at_the_classes_or_the_categories_above(shop, number, name):
    done = run(shop, "categorize_words", "--apply", number, "--target", "70")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    by_level = {
        level: {row["category"] for row in rows if row["level"] == level}
        for level in ("leaf", "parent")
    }
    assert len(rows) == 42 and by_level["leaf"] and by_level["leaf"] <= set(CLASSES[name])
    assert by_level["parent"] <= {"men", "women", "men.shoes", "women.jeans"}
    # Products at inner categories are none that a model of leaves alone knows.
    assert ("of them of other categories than the model's" in done.stderr) == (name == "leaves")
    run(shop, "analyze", "--review", number)
    with contextlib.closing(db.open_readonly(str(shop / "crawl.db"))) as conn:
        offered = html_pages.leaf_options(conn, number, html_pages.page_paths(conn))
    assert [category for category, _ in offered] == CLASSES[name]


def test_a_product_refiled_below_the_cut_is_where_it_was(shop):
    """At depth 2 a product of women.jeans.skinny that moves to women.jeans.wide stays one of
    women.jeans; for the whole tree it has been refiled."""
    with contextlib.closing(sqlite3.connect(shop / "crawl.db")) as conn, conn:
        (product,) = conn.execute(
            "select min(id) from product where category_id = 'women.jeans.skinny'"
        ).fetchone()
        conn.execute("update product set category_id = 'women.jeans.wide' where id = ?", (product,))
    try:
        assert (
            "1 of the 280 products of experiment 1 has another category now"
            in run(shop, "analyze", "--experiment", "1").stdout
        )
        assert "another category now" not in run(shop, "analyze", "--experiment", "2").stdout
    finally:
        with contextlib.closing(sqlite3.connect(shop / "crawl.db")) as conn, conn:
            conn.execute(
                "update product set category_id = 'women.jeans.skinny' where id = ?", (product,)
            )


@pytest.mark.slow
def test_a_person_may_file_at_an_inner_category_and_deeper_than_the_cut(shop, tmp_path):
    ids = [
        number
        for (number,) in query(shop, "select id from product where category_id is null order by id")
    ]
    (tmp_path / "decisions.csv").write_text(
        "product_id,decision,suggestion\n"
        f"{ids[0]},filed by hand,women.jeans\n{ids[1]},filed by hand,men.shoes.boots\n"
    )
    run(shop, "analyze", "--overrides", tmp_path / "decisions.csv")
    done = run(shop, "categorize_words", "--apply", "2", "--target", "70")
    paths = {row["category"]: row["path"] for row in csv.DictReader(io.StringIO(done.stdout))}
    assert (
        paths["men.shoes.boots"] == "Men > Shoes > Boots"
        and "person's category that" not in done.stderr
    )
    for number, flags in enumerate((FLAGS["whole"], FLAGS["depth 2"], FLAGS["leaves"]), 5):
        run(
            shop,
            *("categorize_words", "--min-products", "5", "--epochs", "1", "--folds", "5"),
            *flags,
        )
        learned = query(
            shop,
            f"""select count(*) from learned_product where experiment_id = ?
                and product_id in ({ids[0]}, {ids[1]})""",
            number,
        )
        assert learned == [(1 if flags == ("--leaves-only",) else 2,)]


def test_experiments_of_different_depth_are_compared_at_the_lesser_one(shop):
    def parts(category, depth):
        return ".".join(category.split(".")[:depth])

    compared = json.loads(run(shop, "analyze", "--compare", "1", "2", "3", "--json").stdout)
    assert (compared["depth"], compared["n"], compared["label_differs"]) == (1, 280, 0)
    for number, result in enumerate(compared["experiments"], 1):
        pairs = query(
            shop,
            "select label_id, category_id from predicted_category where experiment_id = ?",
            number,
        )
        right = sum(parts(label, 1) == parts(predicted, 1) for label, predicted in pairs)
        assert result["accuracy"]["hits"] == right
    told = run(shop, "analyze", "--compare", "1", "2").stdout
    assert "compared at level 2: deeper categories count as the one above them there" in told
    assert json.loads(run(shop, "analyze", "--compare", "1", "4", "--json").stdout)["depth"] is None


def test_the_page_of_a_cut_tree_knows_the_decisions_on_labels_below_the_cut(shop):
    with contextlib.closing(db.open_database(str(shop / "crawl.db"))) as conn:
        (product, label) = conn.execute(
            "select id, category_id from product where category_id = 'men.shoes.boots' limit 1"
        ).fetchone()
        decision_queries.store_overrides(conn, [(product, "unclear", None)])
        try:
            shown = [
                html_pages.decided_before(conn, number, decision_queries.overrides(conn))[product][
                    2
                ]
                for number in (1, 2, 3)
            ]
        finally:
            decision_queries.store_overrides(conn, [(product, None, None)])
    assert shown == [label, "men.shoes", "men"]


@pytest.mark.parametrize(
    "flags, sentence",
    (
        (("--depth", "0"), "--depth"),
        (("--depth", "two"), "--depth"),
        (
            ("--depth", "1", "--categories", "women.jeans,men"),
            "'women.jeans' is deeper than --depth, and counts as women: name that one",
        ),
        (("--leaves-only", "--categories", "women.jeans,shirts"), "no category 'women.jeans'"),
    ),
)
def test_bad_choices_are_one_sentence(shop, flags, sentence):
    done = run(shop, "categorize_words", *flags, status=2)
    assert sentence in done.stderr.splitlines()[-1] and done.stdout == ""


def test_an_experiment_of_before_goes_by_leaves_only(shop):
    """Without the key `tree` in its settings, none of the products at inner categories counts as one
    of a category that the model does not know."""
    before = run(shop, "analyze", "--experiment", "4", "--json").stdout
    with contextlib.closing(sqlite3.connect(shop / "crawl.db")) as conn, conn:
        conn.execute(
            "update experiment set settings = json_remove(settings, '$.tree') where id = 4"
        )
    after = json.loads(run(shop, "analyze", "--experiment", "4", "--json").stdout)
    before = json.loads(before)
    before["settings"].pop("tree")
    assert after["today"].pop("all") is None
    assert before["today"].pop("all")["products"] == [160, 280]
    assert after == before
