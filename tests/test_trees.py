"""README's six commands run to the end on category trees as shops have them, with default flags.

The trees are drawn by tests/trees.py. Each run says what it left out. The catalogues of
../shared/data take the same way, without their pictures.
"""

import contextlib
import csv
import json
import re
import sqlite3

import pytest
import trees
from conftest import REPO, run_script, write_feed

TRAIN = ("categorize_words", "--min-products", 5, "--folds", 10)
NEW = 40  # products without a category
CATALOGUES = REPO.parent / "shared" / "data"


def done(name, *args, cwd):
    """What a script printed, which did all that it was asked for."""
    result = run_script(name, *args, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


def select(folder, query):
    with contextlib.closing(sqlite3.connect(folder / "crawl.db")) as conn:
        return conn.execute(query).fetchall()


def train(folder, *flags):
    """What training said. If it stops it has written nothing, and the flag that it names helps."""
    result = run_script(*TRAIN, *flags, cwd=folder)
    if result.returncode != 2:
        assert result.returncode == 0, result.stderr
        return result.stderr
    assert not flags and result.stderr.count("\n") == 1
    assert select(folder, "select count(*) from experiment") == [(0,)]
    advice = re.search(r"Try (--depth \d+) ", result.stderr)
    return result.stderr + train(folder, *advice.group(1).split())


def go_through(folder, labelled, new, *flags):
    """README's six commands on two feeds, the training with more flags. Returns what training said, what `--experiment` printed,
    and the rows of filed.csv."""
    done("crawl", "--feed", labelled, cwd=folder)
    said = train(folder, *flags)
    report = done("analyze", "--experiment", 1, cwd=folder)
    done("crawl", "--feed", new, "--unlabelled", cwd=folder)
    applied = run_script("categorize_words", "--apply", 1, "--target", 95, cwd=folder)
    # With 1 the new products differ from the labelled ones, which the message says.
    assert applied.returncode == 0 or "is not promised of" in applied.stderr, applied.stderr
    done("analyze", "--review", 1, "-o", "review.html", cwd=folder)
    return said, report, list(csv.DictReader(applied.stdout.splitlines()))


def model_of(folder):
    """{class of experiment 1: its parent}."""
    described = json.loads((folder / "models/experiment-1/model.json").read_text("utf-8"))
    return dict(zip(described["categories"], described["parents"]))


def check_filed(folder, filed, count):
    """Each new product is filed in a class of the model, at a parent, or left to a person; the
    review page has all that are not filed in a class."""
    parents = model_of(folder)
    allowed = {"leaf": set(parents), "parent": set(parents.values()), "person": {""}}
    assert len(filed) == count
    assert all(row["category"] in allowed[row["level"]] for row in filed)
    page = (folder / "review.html").read_text("utf-8")
    assert page.count("<article") == sum(row["level"] != "leaf" for row in filed)


def check_counts(folder, report, classes, products):
    """The model has so many classes, and each of so many products was predicted once."""
    assert len(model_of(folder)) == classes
    assert f"(N={products})" in report
    assert select(folder, "select count(distinct label_id), count(*) from predicted_category") == [
        (classes, products)
    ]


@pytest.mark.parametrize(
    "draw, classes, products, sentences",
    (
        pytest.param(trees.even, 6, 240, (), id="even", marks=pytest.mark.slow),
        pytest.param(
            trees.giant_and_tiny,
            33,
            476,
            (
                r"warning: 68 of 101 categories, with 170 of 646 labelled products, are left out "
                r"\(68 with fewer than 5 products of as many different styles\)",
                "--min-products 4 takes more categories in",
            ),
            id="giant and tiny",
            marks=pytest.mark.slow,
        ),
        pytest.param(trees.three_levels, 21, 420, (), id="three levels", marks=pytest.mark.slow),
        pytest.param(
            trees.product_names,
            4,
            176,
            (
                "fewer than two categories can be learned: 0 of 160 have 5 products",
                r"\(2 products of 2 styles\)",
                r"Try --depth 1 \(4 categories\)",
            ),
            id="product names",
        ),
        pytest.param(
            trees.one_style_a_leaf,
            4,
            800,
            (
                "fewer than two categories can be learned: 0 of 100 have 5 products",
                r"\(8 products of 1 style\)",
                r"Try --depth 1 \(4 categories\)",
            ),
            id="one style a leaf",
            marks=pytest.mark.slow,
        ),
        pytest.param(trees.many_leaves, 60, 600, (), id="many leaves", marks=pytest.mark.slow),
    ),
)
def test_the_six_commands_run_to_the_end(tmp_path, draw, classes, products, sentences):
    tree = draw()
    labelled = trees.write(tmp_path / "labelled.tsv", trees.products(tree))
    new = trees.write(tmp_path / "new.tsv", trees.new_products(tree, NEW))
    said, report, filed = go_through(tmp_path, labelled, new)
    check_counts(tmp_path, report, classes, products)
    check_filed(tmp_path, filed, NEW)
    for sentence in sentences:
        assert re.search(sentence, said), said
    if not sentences:
        assert "left out" not in said and "take part" not in said
    all_products = sum(styles * colours for styles, colours in tree.values())
    assert ("The model knows" in report) == (products < all_products)


@pytest.mark.slow
def test_an_inner_category_is_a_class_and_its_own_parent(tmp_path):
    trees.write(tmp_path / "feed.tsv", trees.products(trees.three_levels(styles=6)))
    done("crawl", "--feed", "feed.tsv", cwd=tmp_path)
    train(tmp_path)
    parents = model_of(tmp_path)
    inner = {leaf for leaf in parents if leaf.count(".") < 2}
    assert len(inner) == 9 and all(parents[leaf] == leaf for leaf in inner)
    assert all(parents[leaf] == leaf.rpartition(".")[0] for leaf in set(parents) - inner)


def parted(folder, name):
    """Two feeds of a catalogue, without its pictures: all products but each 50th, and those without
    their categories. Returns their paths, and how many the second has."""
    path = CATALOGUES / name / "products.tsv"
    if not path.is_file():
        pytest.skip(f"../shared/data/{name} is not here")
    header, *lines = path.read_text("utf-8").rstrip("\n").split("\n")
    columns = [column for column in header.split("\t") if column != "image_link"]
    products = [dict(zip(header.split("\t"), line.split("\t"))) for line in lines]
    for number, product in enumerate(products):
        product["new"] = number % 50 == 0
    rows = [[product[column] for column in columns] for product in products if not product["new"]]
    new = [{**product, "product_type": ""} for product in products if product["new"]]
    return (
        write_feed(folder / "labelled.tsv", rows, " ".join(columns)),
        write_feed(
            folder / "new.tsv",
            [[product[column] for column in columns] for product in new],
            " ".join(columns),
        ),
        len(new),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, flags",
    (("livostyle", ()), ("hm", ()), ("hm-text", ("--ensemble", 1))),  # five would take minutes more
)
def test_the_six_commands_run_to_the_end_on_a_catalogue(tmp_path, name, flags):
    labelled, new, count = parted(tmp_path, name)
    said, report, filed = go_through(tmp_path, labelled, new, *flags)
    classes = len(model_of(tmp_path))
    ((products,),) = select(tmp_path, "select count(*) from predicted_category")
    check_counts(tmp_path, report, classes, products)
    check_filed(tmp_path, filed, count)
    left, of = re.search(r"warning: (\d+) of (\d+) categories, with .* left out", said).groups()
    assert classes == int(of) - int(left) > 1
    assert f"The model knows {classes} of {of}" in report
