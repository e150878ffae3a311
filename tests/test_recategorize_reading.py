"""Experiments of before and categories of today: figures that stay, promises, filing and pages that
know what a category has become.

    pytest tests/test_recategorize_reading.py
"""

import csv
import io
import json

import pytest
from test_figures import (  # noqa: F401
    LEAVES,
    change,
    draw,
    path_of,
    save,
    shop,
    stock,
    tell,
)
from test_today import answer, levels

from crawling import queries as crawling_queries
from evaluation import (
    csv_file,
    decision_queries,
    decisions,
    experiment_figures,
    experiment_queries,
    figures,
    filing_output,
    filing_queries,
    guarantees,
    label_suspects,
    recategorize,
    today,
)
from evaluation import queries as evaluation_queries
from learning import category_changes
from learning import queries as learning_queries

RENAMES = ("jeans,denim", "bags.clutches,bags.evening")
NAMES = {"jeans.skinny": "denim.skinny", "jeans.bootcut": "denim.bootcut"}


@pytest.fixture
def measured(shop):  # noqa: F811
    """The shop with 2000 products, and experiment 1 of all of them, with folds."""
    return measure(shop, 2000)


@pytest.fixture
def few_measured(shop):  # noqa: F811
    """The same with 300 products."""
    return measure(shop, 300)


def measure(conn, count):
    """Store so many products, and experiment 1 of all of them. Returns its predictions."""
    rows = [
        own._replace(
            top=json.dumps(
                [[own.predicted, own.score]]
                + [[leaf, (1 - own.score) / 2] for leaf in LEAVES if leaf != own.predicted]
            )
        )
        for own in draw(range(1, count + 1), 1, 5)
    ]
    stock(conn, rows)
    save(conn, rows, folds=5)
    conn.create_function("last_part", 1, lambda name: name.split(".")[-1])
    conn.execute("update category set name = last_part(id)")
    crawling_queries.count_products(conn)
    return rows


def move(conn, *lines):
    """Run --recategorize. Returns its result."""
    path = path_of(conn).replace("crawl.db", "moves.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(["from,to", *lines]) + "\n")
    return recategorize.take_file(path_of(conn), path)


def undo(conn):
    return recategorize.undo(path_of(conn))


def promise(conn, target=0.9):
    return guarantees.promise(conn, 1, LEAVES, target, 0.95)


def decide(conn, number, decision, category=None):
    decision_queries.store_overrides(conn, [(number, decision, category)])


# ---- what was measured --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    (
        RENAMES,
        ("jeans.skinny,jeans.bootcut",),
        ("jeans.skinny,jeans.bootcut", "jeans.bootcut,jeans.skinny"),
        ("jeans.skinny,bags.clutches", "bags.clutches,jeans.skinny"),
        ("jeans.skinny,bags > narrow",),
        ("jeans.skinny,",),
        ("jeans,",),
        ("jeans,bags",),
        ("bags.clutches,bags", "jeans.skinny,jeans"),
    ),
)
def test_no_figure_that_was_measured_changes_by_a_digit(few_measured, shop, tell, lines):  # noqa: F811
    for tree in ({}, {"depth": None, "leaves only": False}, {"depth": 1, "leaves only": False}):
        save(shop, few_measured[:200], few_measured[200:250], few_measured[250:], tree=tree)
    numbers = (1, 2, 3, 4)
    before = tell(), [report(tell, number) for number in numbers]
    table = tell("--experiments")
    move(shop, *lines)
    after = tell(), [report(tell, number) for number in numbers]
    assert after[0] == before[0] and tell("--experiments") == table
    for old, new in zip(before[1], after[1]):
        assert old.pop("recategorized") == {} and new.pop("recategorized")
        assert json.dumps(new) == json.dumps(old)
    undo(shop)
    assert experiment_figures.describe(shop, 1, 0.95)["recategorized"] == {}


def report(tell, number):  # noqa: F811
    """What --experiment prints as JSON, without what it says of today."""
    printed = json.loads(tell("--experiment", number, "--json"))
    del printed["today"]
    return printed


def test_a_persons_category_is_no_correction_because_it_has_another_name(measured, shop):  # noqa: F811
    agreed = next(own for own in measured if own.predicted == own.label == "jeans.skinny")
    wrong = next(own for own in measured if own.predicted != own.label == "jeans.skinny")
    shop.execute("update product set category_id = 'jeans.bootcut' where id = ?", (agreed.product,))
    decide(shop, agreed.product, "label wrong", "jeans.skinny")
    decide(shop, wrong.product, "label wrong", wrong.predicted)
    before = experiment_figures.describe(shop, 1, 0.95)["after_review"]
    assert before["corrected"] == 1
    move(shop, *RENAMES)
    assert experiment_figures.describe(shop, 1, 0.95)["after_review"] == before
    move(shop, "denim,trousers")
    assert experiment_figures.describe(shop, 1, 0.95)["after_review"] == before


def test_tables_and_json_name_both_ids(measured, shop, tell):  # noqa: F811
    move(shop, "jeans,denim", "bags.clutches,")
    told = tell("--experiment", "1")
    assert "jeans.skinny, now denim.skinny" in told
    assert "bags.clutches, no category any more" in told
    report = json.loads(tell("--experiment", "1", "--json"))
    assert report["recategorized"] == {**NAMES, "jeans": "denim", "bags.clutches": None}
    assert {row["category"] for row in report["categories"]} == set(LEAVES)


# ---- today --------------------------------------------------------------------------------------


def test_after_renames_nothing_is_refiled_and_a_promise_is_the_same(measured, shop, tell):  # noqa: F811
    before = promise(shop)
    assert before["leaf"] is not None
    move(shop, *RENAMES)
    changes = experiment_queries.changes(shop, 1)
    assert changes == {"products": 2000, "refiled": 0, "unlabelled": 0, "regrouped": 0}
    assert promise(shop) == before
    assert filing_queries.count_strange(shop, 1, LEAVES) == (0, 0)
    described = experiment_figures.describe(shop, 1, 0.95)
    assert today.figures_of_all(shop, 1, described) is None
    move(shop, "denim.skinny,denim.narrow", "bags,accessories")
    assert promise(shop) == before
    assert experiment_queries.changes(shop, 1) == changes
    undo(shop)
    undo(shop)
    assert promise(shop) == before


def test_leaves_that_have_changed_places_are_read_rightly(measured, shop):  # noqa: F811
    before = promise(shop)
    move(shop, "jeans.skinny,jeans.bootcut", "jeans.bootcut,jeans.skinny")
    assert promise(shop) == before
    assert experiment_queries.changes(shop, 1)["refiled"] == 0
    assert category_changes.classes_today(shop, 1) == {
        "jeans.skinny": "jeans.bootcut",
        "jeans.bootcut": "jeans.skinny",
    }


def test_two_leaves_that_are_one_are_one_in_a_promise(measured, shop):  # noqa: F811
    before = {row["product"]: row for row in read(shop)}
    move(shop, "jeans.skinny,jeans.bootcut")
    names, rows = figures.read_predictions(shop, 1, False, False, LEAVES)
    right = {row["product"]: row["label"] == row["predicted"] for row in rows}
    for own in measured:
        one = {own.predicted, own.label} <= {"jeans.skinny", "jeans.bootcut"}
        assert right[own.product] == (own.predicted == own.label or one)
    assert "jeans.skinny" not in {names[code] for code in rows["predicted"]}
    assert all(row["score"] == before[row["product"]]["score"] for row in rows)
    assert experiment_queries.changes(shop, 1)["refiled"] == 0
    assert promise(shop)["refiled"] == 0


def read(conn):
    return figures.read_predictions(conn, 1, False, False, LEAVES)[1]


def test_a_leaf_whose_products_wait_is_not_there(measured, shop):  # noqa: F811
    move(shop, "jeans.skinny,")
    rows = {row["product"]: row for row in read(shop)}
    for own in measured:
        row = rows[own.product]
        assert (row["score"] < 0) == (own.predicted == "jeans.skinny")
        assert (row["label"] < 0) == (own.label == "jeans.skinny")
    assert experiment_queries.changes(shop, 1) == {
        "products": 2000,
        "refiled": 0,
        "unlabelled": 0,
        "regrouped": 0,
    }
    undo(shop)
    assert min(row["score"] for row in read(shop)) >= 0


def test_a_product_that_the_shop_moves_after_a_rename_is_refiled(measured, shop):  # noqa: F811
    move(shop, *RENAMES)
    skinny = [own.product for own in measured if own.label == "jeans.skinny"][:7]
    for number in skinny:
        change(shop, "update product set category_id = 'denim.bootcut' where id = ?", number)
    assert experiment_queries.changes(shop, 1)["refiled"] == 7
    assert promise(shop)["refiled"] == 7
    (line,) = today.changes_lines(1, experiment_queries.changes(shop, 1))
    assert line.startswith("7 of the 2,000 products of experiment 1 have another category now")


# ---- filing -------------------------------------------------------------------------------------


def test_a_model_of_before_files_under_the_ids_of_today(measured, shop, capsys):  # noqa: F811
    answer(shop, 9001, "jeans.skinny", 0.9)
    answer(shop, 9002, "jeans.bootcut", 0.1, parent_score=0.9)
    answer(shop, 9003, "bags.clutches", 0.9)
    answer(shop, 9004, "jeans.skinny", 0.1, parent_score=0.1)
    top = json.dumps([["jeans.skinny", 0.5], ["jeans.bootcut", 0.3], ["bags.clutches", 0.2]])
    shop.execute("update filing set top = ?", (top,))
    move(shop, "jeans,denim", "bags.clutches,")
    assert levels(shop) == {
        9001: ("leaf", "denim.skinny"),
        9002: ("parent", "denim"),
        9003: ("person", None),
        9004: ("person", None),
    }
    assert shop.execute("select * from filed_before").fetchall()[0][1] == "denim.skinny"
    counts = filing_queries.answer_counts(shop, 1, "shop", [0.5])
    assert counts["denim.skinny", 1] == counts["denim.skinny", 0] == 1
    capsys.readouterr()
    filing_output.print_filed(shop, 1, "csv")
    rows = {row["product_id"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert rows["9001"]["category"] == "denim.skinny" and rows["9001"]["path"] == "denim > skinny"
    assert [rows["9004"][f"suggestion_{n}"] for n in (1, 2, 3)] == [
        "denim.skinny",
        "denim.bootcut",
        "",
    ]
    assert filing_queries.answers_gone(shop, 1)[0][0] == "bags.clutches"


def test_suggestions_of_leaves_that_are_one_now_are_one(measured, shop, capsys):  # noqa: F811
    answer(shop, 9001, "jeans.skinny", 0.1, parent_score=0.1)
    top = json.dumps([["jeans.skinny", 0.5], ["jeans.bootcut", 0.3], ["bags.clutches", 0.2]])
    shop.execute("update filing set top = ?", (top,))
    move(shop, "jeans.skinny,jeans.bootcut")
    levels(shop)
    filing_output.print_filed(shop, 1, "jsonl")
    (line,) = capsys.readouterr().out.splitlines()
    assert [(own["category"], own["score"]) for own in json.loads(line)["suggestions"]] == [
        ("jeans.bootcut", 0.5),
        ("bags.clutches", 0.2),
    ]


def test_a_promise_goes_on_if_a_parent_is_no_category_any_more(measured, shop):  # noqa: F811
    promised = promise(shop, 0.95)
    assert promised["leaf"] is not None and promised["parent"] is not None
    move(shop, "bags,")
    after = promise(shop, 0.95)
    assert after["leaf"] is not None and after["strange"] == after["refiled"] == 0


def test_products_that_wait_are_not_right_about_anything(measured, shop, tell):  # noqa: F811
    left = [own for own in measured if own.label != "bags.clutches"]
    answer(shop, 9001, "jeans.skinny", 0.9, label="women")  # the model does not know it
    shop.execute("insert into category(id, leaf, path) values ('women', 1, 'women')")
    move(shop, "bags.clutches,")
    of_all = json.loads(tell("--experiment", "1", "--json"))["today"]["all"]
    right = sum(own.predicted == own.label for own in left)
    assert of_all["accuracy"] == pytest.approx(right / (len(left) + 1))
    assert of_all["products"] == [len(left), len(left) + 1]


# ---- pages and decisions ------------------------------------------------------------------------


def test_the_page_of_errors_has_both_paths_and_decides_on_what_is_there(measured, shop, tell):  # noqa: F811
    wrong = sum(own.predicted != own.label for own in measured)
    move(shop, "jeans,denim")
    page = tell("--dump-errors-for-experiment", "1", "--top", "5000")
    assert page.count("data-product=") == wrong
    assert "jeans &gt; skinny, now denim &gt; skinny" in page
    assert 'data-suggestion="denim.skinny"' in page and 'data-label="denim.skinny"' in page
    assert 'data-suggestion="jeans.skinny"' not in page
    assert '["denim.skinny", "denim \\u003e skinny"]' in page
    move(shop, "denim.skinny,denim.bootcut", "bags.clutches,")
    page = tell("--dump-errors-for-experiment", "1", "--top", "5000")
    assert "jeans &gt; skinny, now denim &gt; bootcut" in page
    assert "bags &gt; clutches, no category any more" in page
    for own in measured:  # nobody is asked to put a product where it is
        if {own.predicted, own.label} == {"jeans.skinny", "jeans.bootcut"}:
            article = page.split(f'data-product="{own.product}"')[1].split(">")[0]
            assert 'data-suggestion=""' in article and 'data-label="denim.bootcut"' in article


def test_the_page_for_review_offers_what_is_there(measured, shop, tell):  # noqa: F811
    answer(shop, 9001, "jeans.skinny", 0.1, parent_score=0.1)
    top = json.dumps([["jeans.skinny", 0.5], ["jeans.bootcut", 0.3], ["bags.clutches", 0.2]])
    shop.execute("update filing set top = ?", (top,))
    move(shop, *RENAMES)
    levels(shop)
    page = tell("--review", "1")
    for leaf in ("denim.skinny", "denim.bootcut", "bags.evening"):
        assert f'value="{leaf}"' in page
    assert "jeans.skinny" not in page and "jeans &gt;" not in page


def test_suspects_are_called_as_today_and_a_file_of_before_is_taken(measured, shop, tmp_path):  # noqa: F811
    suspects = list(label_suspects.label_suspects(shop, 1))
    assert len(suspects) > 4
    by_number = {own.product: own for own in measured}
    move(shop, *RENAMES)
    after = list(label_suspects.label_suspects(shop, 1))
    new_names = {**NAMES, "bags.clutches": "bags.evening"}
    for old, new in zip(suspects, after):
        for column in ("suggestion", "label"):
            assert new.pop(column) == new_names[old[column]]
        assert new.items() <= old.items()
    first, second = suspects[:2]
    with open(tmp_path / "d.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, label_suspects.COLUMNS)
        writer.writeheader()
        writer.writerow({**first, "decision": "label wrong"})
        writer.writerow({**second, "decision": "classifier wrong"})
    result = decisions.take_file(path_of(shop), str(tmp_path / "d.csv"))
    assert (result["read"], result["changed"], result["unusable"]) == (2, 2, [])
    stored = decision_queries.overrides(shop)[first["product_id"]]
    assert stored["holds"] and stored["category_id"] == new_names[first["suggestion"]]
    assert stored["label_id"] == new_names[by_number[first["product_id"]].label]


@pytest.mark.parametrize(
    "lines, proposed, expected",
    (
        (("jeans,denim",), "jeans > bootcut", "denim.bootcut"),
        (("jeans,denim",), "Jeans >  Bootcut", "denim.bootcut"),
        (("jeans,denim", "denim.bootcut,bags.boots"), "jeans > bootcut", "bags.boots"),
        (("jeans,denim", "denim.bootcut,bags.boots"), "denim > bootcut", "bags.boots"),
        (("jeans,denim",), "jeans > flared > wide", "denim > flared > wide"),
        (("jeans.bootcut,bags.clutches",), "jeans > bootcut", "bags.clutches"),
        (("jeans.bootcut,",), "jeans > bootcut", "jeans > bootcut"),
        (("jeans.bootcut,bags.clutches",), "jeans > flared", "jeans > flared"),
        (("jeans.bootcut,jeans.skinny", "bags.clutches,jeans.bootcut"), "jeans > bootcut", None),
    ),
)
def test_a_path_of_before_is_the_category_of_today(
    few_measured,
    shop,  # noqa: F811
    tmp_path,
    lines,
    proposed,
    expected,
):
    for line in lines:
        move(shop, line)
    (product,) = shop.execute(
        "select min(id) from product where category_id like '%skinny'"
    ).fetchone()
    (tmp_path / "d.csv").write_text(
        f"product_id,decision,proposed\n{product},label wrong,{proposed}\n", encoding="utf-8"
    )
    result = decisions.take_file(path_of(shop), str(tmp_path / "d.csv"))
    assert result["unusable"] == []
    stored = decision_queries.overrides(shop)[product]["category_id"]
    # A path of today counts before one of another category at an earlier time.
    assert stored == (expected or "jeans.bootcut")


def test_a_path_that_was_taken_back_is_no_path_of_before(few_measured, shop):  # noqa: F811
    move(shop, "jeans,denim")
    assert category_changes.paths_today(shop)["jeans > bootcut"] == "denim > bootcut"
    undo(shop)
    assert category_changes.paths_today(shop) == {}


def test_a_decision_on_an_ancestor_is_about_the_label_below_it(measured, shop, tmp_path):  # noqa: F811
    save(shop, measured, folds=5, tree={"depth": 1, "leaves only": False})
    lines = ["product_id,decision,suggestion,label"]
    first, second = [own for own in measured if own.label == "jeans.skinny"][:2]
    lines.append(f"{first.product},label wrong,bags,jeans")
    lines.append(f"{second.product},label wrong,bags,bags")
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    result = decisions.take_file(path_of(shop), str(tmp_path / "d.csv"))
    assert result["read"] == 1 and [row["line"] for row in result["unusable"]] == [3]
    assert decision_queries.overrides(shop)[first.product]["label_id"] == "jeans.skinny"


def test_suspects_between_leaves_that_are_one_now_are_settled(measured, shop, capsys):  # noqa: F811
    pairs = [(own["label"], own["suggestion"]) for own in label_suspects.label_suspects(shop, 1)]
    settled = sum("bags.clutches" not in pair for pair in pairs)
    move(shop, "jeans.skinny,jeans.bootcut")
    capsys.readouterr()
    left = list(label_suspects.label_suspects(shop, 1))
    assert 0 < settled < len(pairs) and len(left) == len(pairs) - settled
    assert f"--recategorize has settled {settled} of them" in capsys.readouterr().err


# ---- experiments of different times -------------------------------------------------------------


def seen(conn):
    return {category_changes.SEEN: learning_queries.last_category_change(conn)}


def test_experiments_of_before_and_after_are_compared_by_the_same_names(measured, shop, tell):  # noqa: F811
    save(shop, measured, folds=5)
    both = json.loads(tell("--compare", "1", "2", "--json"))
    move(shop, *RENAMES)
    assert json.loads(tell("--compare", "1", "2", "--json"))["pairs"] == both["pairs"]
    new_names = {**NAMES, "bags.clutches": "bags.evening", "jeans": "denim"}
    renamed = [
        own._replace(
            **{
                field: new_names.get(getattr(own, field), getattr(own, field))
                for field in ("predicted", "label", "parent")
            }
        )
        for own in measured
    ]
    save(shop, renamed, folds=5, **seen(shop))
    result = json.loads(tell("--compare", "1", "3", "--json"))
    assert (result["n"], result["label_differs"], result["flipped"]) == (2000, 0, 0)
    assert result["experiments"][0]["accuracy"] == both["experiments"][0]["accuracy"]
    assert category_changes.classes_today(shop, 3) == {}
    undo(shop)
    assert category_changes.classes_today(shop, 1) == {}
    assert category_changes.classes_today(shop, 3) == {now: was for was, now in new_names.items()}
    result = json.loads(tell("--compare", "1", "3", "--json"))
    assert (result["label_differs"], result["flipped"]) == (0, 0)
    assert experiment_queries.changes(shop, 3)["refiled"] == 0


def test_ids_follow_chains_and_what_is_taken_back_does_not_count(measured, shop):  # noqa: F811
    def ids(since=0):
        changes = category_changes.current_ids(shop, since)
        return {name: now for name, now in changes.items() if "." in name}

    move(shop, "jeans.skinny,jeans > b")
    move(shop, "jeans > b,jeans > c", "bags.clutches,jeans > b")
    assert ids() == {"jeans.skinny": "jeans.c", "bags.clutches": "jeans.b", "jeans.b": "jeans.c"}
    assert ids(1) == {"jeans.b": "jeans.c", "bags.clutches": "jeans.b"}
    undo(shop)
    assert ids() == {"jeans.skinny": "jeans.b"} and ids(1) == {}
    assert ids(2) == {"jeans.c": "jeans.b", "jeans.b": "bags.clutches"}
    move(shop, "jeans.b,")
    assert ids() == {"jeans.skinny": None, "jeans.b": None}
    assert ids(2) == {"jeans.c": None, "jeans.b": "bags.clutches"}
    undo(shop)
    undo(shop)
    assert ids() == {} and ids(1) == {"jeans.b": "jeans.skinny"}


def test_what_was_merged_is_told_apart_again_only_as_far_as_it_is_known(measured, shop):  # noqa: F811
    move(
        shop, "jeans.skinny,jeans.bootcut", "bags.clutches,other > x", "jeans.bootcut,jeans.bootcut"
    )
    between = seen(shop)[category_changes.SEEN]
    undo(shop)
    assert category_changes.current_ids(shop, between)["other.x"] == "bags.clutches"
    assert "jeans.bootcut" not in category_changes.current_ids(shop, between)
    assert category_changes.current_ids(shop) == {}


def test_the_next_training_learns_the_new_labels(measured, shop):  # noqa: F811
    move(shop, *RENAMES)
    leaves = ["denim.skinny", "denim.bootcut", "bags.evening"]
    rows = learning_queries.labelled_products(shop, leaves)
    new_names = {**NAMES, "bags.clutches": "bags.evening"}
    assert [row["taught"] for row in rows] == [new_names[own.label] for own in measured]


def test_a_line_older_than_a_swap_means_the_categories_of_then(measured, shop, tmp_path):  # noqa: F811
    labels = {own.label: own.product for own in measured}
    move(
        shop,
        "jeans.skinny,jeans.bootcut",
        "jeans.bootcut,bags.clutches",
        "bags.clutches,jeans.skinny",
    )
    number = labels["jeans.skinny"]  # jeans.bootcut by now
    (tmp_path / "d.csv").write_text(
        f"product_id,decision,label,suggestion\n{number},label wrong,jeans.skinny,jeans.bootcut\n",
        encoding="utf-8",
    )
    result = decisions.take_file(path_of(shop), str(tmp_path / "d.csv"))
    assert result["unusable"] == []
    stored = decision_queries.overrides(shop)[number]
    assert stored["category_id"] == "bags.clutches" and stored["label_id"] == "jeans.bootcut"


def test_a_category_that_a_load_brings_back_is_itself(measured, shop):  # noqa: F811
    answer(shop, 9001, "jeans.skinny", 0.9)
    answer(shop, 9002, "bags.clutches", 0.9)
    old = [dict(row) for row in shop.execute("select * from category")]
    labels = dict(shop.execute("select id, category_id from product").fetchall())
    move(shop, "jeans,denim", "bags.clutches,")
    for row in old:
        names = ", ".join(row)
        marks = ", ".join("?" * len(row))
        shop.execute(f"insert or ignore into category({names}) values ({marks})", [*row.values()])
    for number, label in labels.items():
        shop.execute("update product set category_id = ? where id = ?", (label, number))
    crawling_queries.count_products(shop)
    assert category_changes.classes_today(shop, 1) == {}
    assert experiment_queries.changes(shop, 1)["refiled"] == 0
    assert levels(shop) == {9001: ("leaf", "jeans.skinny"), 9002: ("leaf", "bags.clutches")}


def test_a_line_has_its_own_cells_alone(tmp_path):
    """A value of each column for each line made a file of 400 kB take minutes."""
    names = ["from", *(f"n{number}" for number in range(900))]
    (tmp_path / "moves.csv").write_text(",".join(names) + "\nBags\n\nJeans,a\n")
    columns, rows = csv_file.read_csv(str(tmp_path / "moves.csv"))
    assert columns == set(names)
    assert rows == [(2, {"from": "Bags"}), (4, {"from": "Jeans", "n0": "a"})]
