"""analyze.py --experiments: every experiment in one table, with the figures of --experiment.

Hand-made databases; no TensorFlow.

    pytest tests/test_overview.py
"""

import json
import random
import sqlite3

import pytest
from conftest import run_script
from test_analyze import OLD_SCHEMA, add_prediction, add_product, fill, tree

import db
from evaluation import certificates, experiment_figures, figures, overview

LEAVES = ("jeans.bootcut", "jeans.skinny", "bags.totes")


def analyze(folder, *arguments):
    done = run_script("analyze", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def predictions(rng, products, sure):
    """Rows (product, label, predicted, score): of those with a high score nearly all are right."""
    for number in range(products):
        label = LEAVES[number % 3]
        score = rng.random()
        right = rng.random() < (sure if score > 0.4 else 0.5)
        yield number, label, label if right else LEAVES[(number + 1) % 3], score


@pytest.fixture
def several(tmp_path):
    """Experiment 1 with folds, 2 without, 3 of 2016 and 4 without any prediction; some groups have
    several products."""
    conn, rng = db.open_database(tmp_path / "crawl.db", create=True), random.Random(5)
    tree(conn)
    for number in range(3000):
        add_product(conn, number, LEAVES[number % 3])
    conn.execute("update product set group_key = case when id % 5 then 'g' || id else 'g1' end")
    with db.transaction(conn):
        for kind, settings in (
            (
                "Text",
                {
                    "folds": 5,
                    "categories": LEAVES,
                    "tree": {"depth": 2, "leaves only": False},
                    "arguments": {
                        "min_products": 40,
                        "ensemble": 5,
                        "fields": ["name"],
                        "encoder": "somewhere",
                        "embedding": None,
                        "network": "default",
                        "split_by": "group",
                        "layer": "mixed8",
                    },
                },
            ),
            (
                "Image",
                {
                    "folds": None,
                    "categories": LEAVES,
                    "tree": {"depth": None, "leaves only": False},
                    "arguments": {
                        "min_products": 1000,
                        "layer": "mixed8",
                        "ensemble": 1,
                        "split_by": "cluster",
                        "categories": "totes,skinny",
                    },
                },
            ),
            ("Image+Text", None),
            ("Text", None),
        ):
            conn.execute(
                "insert into experiment(name, date, settings) values (?, ?, ?)",
                (
                    f"{kind} classification of: ",
                    "2026-03-01 10:20:30",
                    settings and json.dumps(settings),
                ),
            )
        for number, label, predicted, score in predictions(rng, 3000, 0.995):
            add_prediction(conn, 1, number, predicted, score, label_id=label, fold=number // 7 % 5)
        for number, label, predicted, score in predictions(rng, 3000, 0.98):
            table = "predicted_category" if number % 2 else "validation_prediction"
            more = "" if number % 2 else ", certifying"
            conn.execute(
                f"""insert into {table}(experiment_id, product_id, category_id, score,
                             label_id{more}) values (2, ?, ?, ?, ?{", 1" if more else ""})""",
                (number, predicted, score, label),
            )
        for number, _, predicted, score in predictions(rng, 300, 0.9):
            add_prediction(conn, 3, number, predicted, score)
    conn.close()
    (tmp_path / "models/experiment-2").mkdir(parents=True)
    return tmp_path


def test_the_table_says_how_each_was_made_and_what_it_reached(several):
    lines = analyze(several, "--experiments").splitlines()
    assert len(lines) == 5
    cells = [[cell for cell in line.split("  ") if cell.strip()] for line in lines]
    assert [cell.strip() for cell in cells[0]] == [
        "kind",
        "date (UTC)",
        "products",
        "categories",
        "tree",
        "folds",
        "with",
        "min-products",
        "accuracy",
        "leaves certified 95%",
        "98%",
        "model",
    ]
    rows = [[cell.strip() for cell in row] for row in cells[1:]]
    assert rows[0][:9] == [
        "#1",
        "Text",
        "2026-03-01 10:20",
        "3,000",
        "3",
        "depth 2",
        "5",
        "5 networks, names, encoder, by group",
        "40",
    ]
    assert rows[1][:9] == [
        "#2",
        "Image",
        "2026-03-01 10:20",
        "1,500",
        "3",
        "whole",
        "-",
        "1 network, mixed8",
        "-",
    ]
    assert rows[2][:9] == ["#3", "Image+Text", "2026-03-01 10:20", "300", "3", "-", "-", "-", "-"]
    assert rows[3][1:] == ["Text", "2026-03-01 10:20", "0", *"--------", "no"]
    assert [row[-1] for row in rows] == ["no", "yes", "no", "no"]
    assert rows[2][-3:-1] == ["-", "-"]  # nothing was kept to certify on
    assert rows[1][-2] == "none"  # something was, and it was not enough
    assert all(row[-3].endswith("%") for row in rows[:1])


@pytest.mark.parametrize(
    "tree, text",
    [
        ({"depth": 3, "leaves only": True}, "depth 3, leaves only"),
        ({"depth": None, "leaves only": True}, "leaves only"),
        ({"depth": None, "leaves only": False}, "whole"),
        ("what somebody wrote there", "leaves only"),
    ],
)
def test_it_says_which_categories_of_the_tree_an_experiment_took(several, tree, text):
    with sqlite3.connect(several / "crawl.db") as conn:
        conn.execute("update experiment set settings = ?", (json.dumps({"tree": tree}),))
    conn.close()
    assert f" {text}  " in analyze(several, "--experiments").splitlines()[1]


def test_its_figures_are_those_of_the_experiment_in_full(several):
    found = json.loads(analyze(several, "--experiments", "--json"))
    assert [one["experiment"] for one in found] == [1, 2, 3, 4]
    conn = db.open_readonly(several / "crawl.db")
    for one in found[:2]:
        full = experiment_figures.describe(conn, one["experiment"], 0.95)
        assert one["accuracy"] == full["accuracy"] and one["products"] == full["n"]
        for promise in full["coverage"][:2]:
            assert promise["level"] == "leaf"
            assert one[f"certified_{promise['target']}"] == promise["coverage"]["share"]
    assert found[0]["certified_95"] > 0.3 and found[1]["certified_98"] == 0
    assert found[2]["certified_95"] is None and found[2]["categories"] == 3
    assert found[3]["accuracy"] is None and found[3]["products"] == 0
    surer = json.loads(analyze(several, "--experiments", "--json", "--confidence", "99.999"))
    assert surer[0]["certified_95"] < found[0]["certified_95"]


def test_a_database_of_2016_is_listed(tmp_path):
    with sqlite3.connect(tmp_path / "crawl.db") as conn:
        conn.executescript(OLD_SCHEMA)
        fill(conn, labels=False)
    conn.close()
    lines = analyze(tmp_path, "--experiments").splitlines()
    assert len(lines) == 2 and lines[1].split()[:2] == ["#1", "Image"]
    assert "2016-12-24" in lines[1] and "57.14%" in lines[1]
    assert lines[1].split()[-3:] == ["-", "-", "no"]


def test_without_an_experiment_it_says_what_to_run(tmp_path):
    db.open_database(tmp_path / "crawl.db", create=True).close()
    assert "no experiment yet: run categorize_words.py" in analyze(tmp_path, "--experiments")
    assert json.loads(analyze(tmp_path, "--experiments", "--json")) == []


def test_products_that_are_gone_count_as_groups_by_themselves(several):
    conn = db.open_database(several / "crawl.db")
    conn.execute("pragma foreign_keys = off")
    conn.execute("delete from product where id % 2")
    one, full = (
        overview.list_experiments(conn, several / "crawl.db", 0.95)[0],
        experiment_figures.describe(conn, 1, 0.95),
    )
    assert one["certified_95"] == full["coverage"][0]["coverage"]["share"]
    groups = overview.graded_rows(conn, 1, overview.group_numbers(conn))["group"]
    assert len(certificates.one_of_each(groups)) == 3000 - 300 + 1  # 300 are left of group g1


@pytest.mark.parametrize(
    "asked",
    [{"ensemble": "many"}, {"fields": 3}, {"encoder": ["a"]}, {"layer": 8}, {"network": {}}, {}],
)
def test_arguments_that_somebody_wrote_there_say_nothing(several, asked):
    with sqlite3.connect(several / "crawl.db") as conn:
        conn.execute("update experiment set settings = ?", (json.dumps({"arguments": asked}),))
    conn.close()
    found = json.loads(analyze(several, "--experiments", "--json"))
    assert [one["with"] for one in found] == [None] * 4
