"""Leaves with too few groups of products to split are left out with a warning; the rest is trained
as if they were not there.

pytest tests/test_few_groups.py
"""

import contextlib
import json
import re
import sqlite3

import numpy as np
import pytest
from conftest import run_script, write_feed
from PIL import Image

from learning import selection
from learning.near_duplicates import Clusters
from learning.split import split_position

LARGE = ("lamps", "rugs", "vases")
NETWORK = ("--weights", "random", "--layer", "mixed0", "--how_many_training_steps", "5")
pytestmark = pytest.mark.usefixtures("networks_made_once")


def write_home(folder, of_one_style=7, pictured=()):
    """Three leaves of many styles, and some of six variants of one style, of which Hooks 1 is in
    the test set; pictures of the leaves `pictured`, and of one product of each other large leaf."""
    rng, rows = np.random.default_rng(3), []
    folder.mkdir(parents=True, exist_ok=True)
    for leaf, color in zip(LARGE, ((200, 30, 30), (30, 200, 30), (30, 30, 200))):
        for turn in range(30):
            words = " ".join(f"{leaf[:2]}{word}" for word in rng.integers(0, 30, 6))
            link = ""
            if leaf in pictured or pictured and turn == 0:
                link = f"{leaf}{turn}.png"
                picture = Image.new("RGB", (20, 20), color)
                picture.putpixel((turn % 20, turn // 20), (255, 255, 255))
                picture.save(folder / link)
            rows.append((f"{len(rows) + 1}", f"{leaf} {words}", "", f"Home > {leaf}", link, ""))
    groups = [f"g{number}" for number in range(200)]
    tested = [group for group in groups if split_position(f"feed {group}") < 0.1]
    for number in range(of_one_style):
        group = tested[0] if number == 1 else f"style {number}"
        name = f"Hook{number} iron{number} wall{number}"
        for turn in range(6):
            rows.append(
                (f"{len(rows) + 1}", f"{name} {turn}", "", f"Home > Hooks {number}", "", group)
            )
    return write_feed(folder / "home.tsv", rows)


def train(folder, script, *args, status=0):
    done = run_script(script, *args, cwd=folder)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    return done


def query(folder, statement):
    with contextlib.closing(sqlite3.connect(folder / "crawl.db")) as conn:
        return conn.execute(statement).fetchall()


def trained_categories(folder, experiment):
    (text,) = query(folder, f"select settings from experiment where id = {experiment}")[0]
    return json.loads(text)["categories"]


def predictions(folder, experiment):
    return query(
        folder,
        f"""select product_id, category_id, score, label_id, fold from predicted_category
            where experiment_id = {experiment} order by product_id""",
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    write_home(folder)
    train(folder, "crawl", "--feed", "home.tsv")
    return folder


WORDS = ("categorize_words", "--min-products", "5", "--epochs", "1", "--folds", "3")
LEFT_OUT = (
    "warning: 7 categories are left out, because they have too few groups of products to be split: "
    "home.hooks-0 (1 group), home.hooks-1 (1 group), home.hooks-2 (1 group), home.hooks-3 (1 group), "
    "home.hooks-4 (1 group) and 2 more. Groups in 3 different folds are enough for a category"
)


@pytest.mark.slow
def test_the_rest_is_trained_as_if_leaves_of_one_style_were_not_there(home):
    done = train(home, *WORDS)
    assert LEFT_OUT in done.stderr.splitlines()
    number = int(done.stdout.split(":")[0].removeprefix("#"))
    assert trained_categories(home, number) == [f"home.{leaf}" for leaf in LARGE]
    assert len(predictions(home, number)) == 30 * len(LARGE)
    # No other number of products takes them in, so none is advised.
    assert "3 of 10 leaves take part, with 90 of 132 labelled products" in done.stderr
    assert "--min-products" not in done.stderr
    train(home, *WORDS, "--categories", ",".join(LARGE))
    assert predictions(home, number + 1) == predictions(home, number)


def test_leaves_that_were_named_are_left_out_with_the_same_warning(home):
    done = train(home, *WORDS, "--categories", "lamps,rugs,hooks-3")
    assert (
        "warning: home.hooks-3 (1 group) is left out, because it has too few groups of products to "
        "be split. Groups in 3 different folds are enough for a category"
    ) in done.stderr.splitlines()
    assert done.stdout.startswith("#") and "of: lamps,rugs,hooks-3" in done.stdout
    number = int(done.stdout.split(":")[0].removeprefix("#"))
    assert trained_categories(home, number) == ["home.lamps", "home.rugs"]


@pytest.mark.parametrize("names", ("lamps,hooks-1", "hooks-0,hooks-1"))
def test_with_fewer_than_two_leaves_left_there_is_nothing_to_train(home, names):
    done = train(home, *WORDS, "--categories", names, status=2)
    assert re.search(
        "has nothing to train on .0 training, |too few products to split",
        done.stderr.splitlines()[-1],
    )
    assert "left out" not in done.stderr


def test_without_folds_only_leaves_that_are_all_test_or_validation_are_left_out(home):
    done = train(home, *WORDS[:-2])
    (line,) = [line for line in done.stderr.splitlines() if "left out" in line]
    assert line.endswith("A category needs a group among the 80 % that are for training")
    number = int(done.stdout.split(":")[0].removeprefix("#"))
    trained = trained_categories(home, number)
    left_out = {f"home.hooks-{n}" for n in range(7)} - set(trained)
    assert "home.hooks-1" in left_out and len(left_out) < 7
    assert all(f"{leaf} (1 group)" in line for leaf in left_out)
    labels = {row[3] for row in predictions(home, number)}
    assert labels and not labels & left_out


@pytest.mark.slow
@pytest.mark.parametrize("script", ("categorize_images", "categorize_both"))
def test_the_classifiers_by_picture_leave_such_leaves_out_too(tmp_path, script):
    write_home(tmp_path, of_one_style=2, pictured=("lamps", "rugs"))
    train(tmp_path, "crawl", "--feed", "home.tsv")
    done = train(tmp_path, script, "--min-products", "5", "--folds", "3", *NETWORK)
    lines = done.stderr.splitlines()
    assert (
        "warning: 2 categories are left out, because they have too few groups of products to be "
        "split: home.hooks-0 (1 group), home.hooks-1 (1 group). Groups in 3 different folds are "
        "enough for a category"
    ) in lines
    # Only the pictures of a product tell what its picture shows; its words need none.
    by_picture = (
        "warning: home.vases (1 group) is left out, because it has too few groups of products with "
        "a picture to be split. Groups in 3 different folds are enough for a category"
    )
    assert (by_picture in lines) == (script == "categorize_images")
    expected = LARGE[:2] if script == "categorize_images" else LARGE
    assert trained_categories(tmp_path, 1) == [f"home.{leaf}" for leaf in expected]
    assert {row[3] for row in predictions(tmp_path, 1)} == {f"home.{leaf}" for leaf in expected}


@pytest.mark.slow
def test_pictures_that_turn_out_unreadable_leave_a_leaf_out_after_all(tmp_path):
    write_home(tmp_path, of_one_style=0, pictured=LARGE)
    train(tmp_path, "crawl", "--feed", "home.tsv")
    paths = query(
        tmp_path,
        """select path from picture join product on id = product_id
           where category_id = 'home.vases' order by id""",
    )
    for (path,) in paths[1:]:
        (tmp_path / "images" / path).write_bytes(b"damaged")
    done = train(tmp_path, "categorize_images", "--min-products", "5", "--folds", "3", *NETWORK)
    assert "home.vases (1 group) is left out" in done.stderr
    assert trained_categories(tmp_path, 1) == ["home.lamps", "home.rugs"]
    rows = predictions(tmp_path, 1)
    assert len(rows) == 60 and {row[3] for row in rows} == {"home.lamps", "home.rugs"}


def products_of(labels, u, taught=None):
    labels = np.array(labels, np.int32)
    leaves = ["a", "b", "c"]
    return selection.Products(
        np.arange(1, len(labels) + 1),
        labels,
        labels if taught is None else np.array(taught, np.int32),
        np.array(u),
        leaves,
        leaves,
        Clusters([], [], {}),
    )


def test_what_a_person_put_elsewhere_stays_where_it_is_put():
    # Leaf b lies in folds 0 and 1 alone; one product of it is taught as c, one of c as b.
    u = [0.1, 0.5, 0.9, 0.15, 0.35, 0.15, 0.1, 0.5, 0.9, 0.15]
    products = products_of([0, 0, 0, 1, 1, 1, 2, 2, 2, 2], u, [0, 0, 0, 1, 1, 2, 2, 2, 2, 1])
    kept = selection.trainable(products, 4)
    assert kept.leaves == kept.parents == ["a", "c"]
    assert kept.ids.tolist() == [1, 2, 3, 6, 7, 8, 9, 10]
    assert kept.labels.tolist() == [0, 0, 0, -1, 1, 1, 1, 1]
    assert kept.taught.tolist() == [0, 0, 0, 1, 1, 1, 1, -1]
    assert kept.u.tolist() == [u[row] for row in (0, 1, 2, 5, 6, 7, 8, 9)]


def test_two_groups_in_folds_that_do_not_touch_are_enough(capsys):
    u = [0.05, 0.45, 0.85] * 2 + [0.05, 0.45]
    products = products_of([0, 0, 0, 1, 1, 1, 2, 2], u)
    assert selection.trainable(products, 10) is products
    assert capsys.readouterr().err == ""


def test_no_other_number_of_products_is_advised_for_leaves_with_too_few_groups(capsys):
    for named in (5, None):
        selection.tell_left_out({"a": 10, "b": 9, "c": 6}, ["a", "b"], named, {"c"})
        assert "their leaves need more groups of products" in capsys.readouterr().err
    selection.tell_left_out({"a": 10, "b": 9, "c": 6, "d": 3}, ["a", "b"], 5, {"c"})
    assert "--min-products 3 takes more leaves in" in capsys.readouterr().err
