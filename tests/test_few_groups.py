"""Categories that can't be learned are left out with one warning; the rest is trained as if they were
not there.

pytest tests/test_few_groups.py
"""

import contextlib
import json
import sqlite3

import numpy as np
import pytest
from conftest import run_script, write_feed
from PIL import Image

from learning import left_out as left_out_of_training
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


WORDS = ("categorize_words", "--min-products", "1", "--epochs", "1", "--folds", "3")
WHAT_IT_MEANS = (
    "The model cannot know them. --apply counts such products as errors, because new products will "
    "be of them, too; such categories need more styles before a model can learn them, or --depth, "
    "which counts them as the category above (crawl.py --status shows what it gives)"
)


def left_out(reason):
    """The warning that the seven hooks are left out."""
    return (
        f"warning: 7 of 10 categories, with 42 of 132 labelled products, are left out ({reason}): "
        "home.hooks-0 (6 products of 1 style), home.hooks-1 (6 products of 1 style), home.hooks-2 "
        f"(6 products of 1 style) and 4 more. {WHAT_IT_MEANS}"
    )


@pytest.mark.slow
def test_the_rest_is_trained_as_if_leaves_of_one_style_were_not_there(home):
    done = train(home, *WORDS)
    assert left_out("7 with styles that can't be split") in done.stderr.splitlines()
    number = int(done.stdout.split(":")[0].removeprefix("#"))
    assert trained_categories(home, number) == [f"home.{leaf}" for leaf in LARGE]
    assert len(predictions(home, number)) == 30 * len(LARGE)
    train(home, *WORDS, "--categories", ",".join(LARGE))
    assert predictions(home, number + 1) == predictions(home, number)


def test_a_leaf_of_many_colours_of_few_styles_is_small(home):
    done = train(home, WORDS[0], "--min-products", "5", *WORDS[3:])
    reason = "7 with fewer than 5 products of as many different styles"
    assert left_out(reason) in done.stderr.splitlines()
    number = int(done.stdout.split(":")[0].removeprefix("#"))
    assert trained_categories(home, number) == [f"home.{leaf}" for leaf in LARGE]


def test_leaves_that_were_named_are_left_out_with_a_warning_too(home):
    done = train(home, *WORDS, "--categories", "lamps,rugs,hooks-3")
    lines = done.stderr.splitlines()
    assert (
        "warning: 1 of 3 categories is left out, because the products can't be split: home.hooks-3 "
        "(6 products of 1 style). A category needs styles in 3 different folds"
    ) in lines
    assert any(line.startswith("2 of 10 categories take part, with 60 of 132 ") for line in lines)
    assert done.stdout.startswith("#") and "of: lamps,rugs,hooks-3" in done.stdout
    number = int(done.stdout.split(":")[0].removeprefix("#"))
    assert trained_categories(home, number) == ["home.lamps", "home.rugs"]


@pytest.mark.parametrize(
    "flags, sentence",
    (
        (("--categories", "lamps,hooks-1"), "1 of the 2 categories can't be learned, because"),
        (("--categories", "hooks-0,hooks-1"), "2 of the 2 categories can't be learned, because"),
        (
            ("--min-products", "200"),
            "fewer than two categories can be learned: 0 of 10 have 200 products of as many "
            "different styles. The largest: home.lamps (30 products of 30 styles), home.rugs (30 "
            "products of 30 styles), home.vases (30 products of 30 styles) and 7 more. Try "
            "--min-products 5 (3 categories)",
        ),
    ),
)
def test_with_fewer_than_two_leaves_left_there_is_nothing_to_train(home, flags, sentence):
    done = train(home, *WORDS, *flags, status=2)
    assert done.stderr.splitlines()[-1].startswith(f"categorize_words.py: {sentence}")
    assert "left out" not in done.stderr and done.stdout == ""


def test_a_cut_that_would_make_categories_large_enough_is_named(tmp_path):
    write_feed(
        tmp_path / "one.tsv",
        [(f"{n}", f"Thing {n}", "", f"{'AB'[n % 2]} > Thing {n}", "", "") for n in range(40)],
    )
    train(tmp_path, "crawl", "--feed", "one.tsv")
    done = train(tmp_path, "categorize_words", "--min-products", "5", "--folds", "5", status=2)
    assert done.stderr.endswith(". Try --depth 1 (2 categories)\n")
    done = train(tmp_path, "categorize_words", status=2)
    assert done.stderr.endswith(". Try --depth 1 --min-products 5 (2 categories)\n")
    flags = ("--min-products", "5", "--folds", "5", "--depth", "1", "--epochs", "1")
    done = train(tmp_path, "categorize_words", *flags)
    assert trained_categories(tmp_path, 1) == ["a", "b"] and "left out" not in done.stderr


def test_without_folds_leaves_need_a_product_on_each_side_of_the_split(home):
    done = train(home, *WORDS[:-2])
    assert "7 with styles that can't be split" in done.stderr
    done = train(home, *WORDS[:-2], "--categories", "lamps,rugs,hooks-3")
    assert "A category needs a style each to train, to validate and to test on" in done.stderr
    number = int(done.stdout.split(":")[0].removeprefix("#"))
    assert trained_categories(home, number) == ["home.lamps", "home.rugs"]


@pytest.mark.slow
@pytest.mark.parametrize("script", ("categorize_images", "categorize_both"))
def test_the_classifiers_by_picture_leave_such_leaves_out_too(tmp_path, script):
    write_home(tmp_path, of_one_style=2, pictured=("lamps", "rugs"))
    train(tmp_path, "crawl", "--feed", "home.tsv")
    done = train(tmp_path, script, "--min-products", "5", "--folds", "3", *NETWORK)
    lines = done.stderr.splitlines()
    assert any(line.startswith("warning: 2 of 5 categories, with 12 of 102 ") for line in lines)
    # Only the pictures of a product tell what its picture shows; its words need none.
    by_picture = (
        "warning: 1 of 3 categories is left out, because the products with a picture can't be "
        "split: home.vases (1 product of 1 style). A category needs styles in 3 different folds"
    )
    assert (by_picture in lines) == (script == "categorize_images")
    work = next(n for n, line in enumerate(lines) if line.startswith("bottlenecks"))
    assert by_picture not in lines[work:]
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
    assert "can't be split: home.vases (1 product of 1 style)" in done.stderr
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


def warned(*leaves, min_products=5, lost=()):
    sizes = {"a": (1000, 1000), "b": (1200, 900), "c": (40, 3), "d": (9, 1)}
    return list(left_out_of_training.lines(sizes, leaves, lost, min_products, 10))


def test_the_warning_says_which_number_would_take_more_in():
    (line,) = warned("a", "b", min_products=900)
    assert line.startswith(
        "warning: 2 of 4 categories, with 49 of 2,249 labelled products, are left out (2 with fewer "
        "than 900 products of as many different styles): c (40 products of 3 styles), d (9 products "
        "of 1 style). The model cannot know them. --apply counts such products as errors, because "
        "new products will be of them, too; --min-products 3 takes more"
    )
    (line,) = warned("a", min_products=1000)
    assert "--min-products 5 takes more" in line
    (line,) = warned("a", "b", "c", min_products=3)
    assert "--min-products" not in line and "need more styles" in line
    (line,) = warned("a", "b", min_products=2, lost=("c",))
    assert "1 with styles that can't be split" in line and "--min-products" not in line
    assert warned("a", "b", "c", "d", min_products=1) == []


def test_folds_are_no_advice_if_they_would_stop_too(tmp_path):
    feed = [(str(n), f"Lamp {n}", "", f"Home > Lamp {n}", "", "") for n in range(20)]
    write_feed(tmp_path / "f.tsv", feed)
    assert run_script("crawl", "--feed", "f.tsv", cwd=tmp_path).returncode == 0
    for flags in ((), ("--folds", "10")):
        done = run_script("categorize_words", "--min-products", "1", *flags, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].endswith("Try again with more products")
