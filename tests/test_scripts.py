"""The three classifiers as people run them: a feed is crawled, each script runs, tables and models
are compared; and what each script says to a mistake. About 90 seconds.

    pytest tests/test_scripts.py
    pytest tests/test_scripts.py -k mistake
"""

import collections
import contextlib
import io
import itertools
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import REPO, environment, run_script, write_feed
from PIL import Image, ImageDraw

import analyze
import categorize_both
import categorize_images
import categorize_words
import crawl
import db
import retrain
from common.terminal import UserError
from learning import (
    experiments,
    fusion,
    metrics,
    recording,
    saved_models,
    selection,
    term_counts,
    text_classifier,
    text_features,
    training,
)
from learning.split import split_position

pytestmark = [pytest.mark.smoke, pytest.mark.usefixtures("networks_made_once")]
SCRIPTS = (
    "crawl",
    "retrain",
    "categorize_images",
    "categorize_words",
    "categorize_both",
    "analyze",
)
LEAVES = {  # category: (its own words, the colour of its pictures)
    "Jeans > Bootcut Jeans": ("flare hem", (40, 60, 160)),
    "Jeans > Skinny Jeans": ("slim ankle", (60, 80, 130)),
    "Bags > Clutches": ("evening satin", (200, 40, 60)),
    "Bags > Totes": ("canvas shopper", (190, 150, 40)),
    "Shoes > Boots": ("leather heel", (60, 160, 60)),
    "Shoes > Sandals": ("strap cork", (220, 220, 210)),
}
PER_LEAF = 40
NETWORK = ("--weights", "random", "--layer", "mixed0", "--how_many_training_steps", "300")


def group_on_side(number, turn):
    """A name for a pair's group, so that of each leaf two pairs are in the test set and two in the
    validation set."""
    side = {0: (0, 0.1), 4: (0, 0.1), 2: (0.1, 0.15), 3: (0.15, 0.2)}.get(turn // 2, (0.2, 1))
    names = (f"group-{number // 2}-{n}" for n in itertools.count())
    return next(name for name in names if side[0] <= split_position(f"feed {name}") < side[1])


def make_shop(folder):
    """A feed whose leaves differ in words and colours, but not in each product; pairs share a
    group, each product has a word of its own and every tenth no picture."""
    rng, rows = random.Random(11), []
    (folder / "pictures").mkdir(parents=True)
    for leaf, (words, shade) in LEAVES.items():
        for turn in range(PER_LEAF):
            number = len(rows)
            own = words if rng.random() < 0.8 else "flare satin strap"
            text = " ".join(rng.sample("red green classic soft new daily light long".split(), 3))
            picture = Image.new("RGB", (40, 50), tuple(c + rng.randrange(-30, 30) for c in shade))
            ImageDraw.Draw(picture).rectangle((5, 5, rng.randrange(8, 35), 30), fill=(9, 9, number))
            picture.save(folder / "pictures" / f"{number}.png")
            rows.append(
                (
                    str(1000 + number),
                    f"{text.title()} {own}",
                    f"only{number} {text} made{number // 2} kept{number // 2}",
                    leaf,
                    f"pictures/{number}.png" if number % 10 != 9 else "",
                    group_on_side(number, turn),
                )
            )
    return write_feed(folder / "feed.tsv", rows)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, networks_made_once):
    """The folder after one run of each script, with what each of them answered."""
    folder = tmp_path_factory.mktemp("shop")
    make_shop(folder)
    assert run_script("crawl", "--feed", "feed.tsv", cwd=folder).returncode == 0
    every = ("--min-products", "20")
    runs = [
        run_script(name, *flags, cwd=folder)
        for name, flags in (
            ("categorize_words", every),
            ("categorize_images", every + NETWORK),
            ("categorize_both", every + NETWORK),
            ("categorize_both", every + NETWORK),
        )
    ]
    for run in runs:
        assert run.returncode == 0, run.stderr
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert (
            categorize_words.main(
                [
                    "--db-path",
                    str(folder / "crawl.db"),
                    "--categories",
                    "bootcut-jeans, skinny-jeans,clutches",
                    "--folds",
                    "4",
                    "--seed",
                    "5",
                    "--epochs",
                    "20",
                ]
            )
            == 0
        )
    return SimpleNamespace(
        folder=folder,
        runs=runs,
        path=folder / "crawl.db",
        printed="".join(run.stdout for run in runs) + printed.getvalue(),
    )


WORDS, IMAGES, BOTH, BOTH_AGAIN, FOLDS = 1, 2, 3, 4, 5
COLUMNS = (
    "product_id, category_id, score, label_id, label_score, parent_id, parent_score, top, fold"
)


def copy_of(shop, folder):
    """A connection to a copy of the shop's crawl.db in another folder."""
    with sqlite3.connect(shop.path) as conn, sqlite3.connect(folder / "crawl.db") as copy:
        conn.backup(copy)
    conn.close()
    copy.row_factory = sqlite3.Row
    return copy


@pytest.fixture
def conn(shop):
    conn = sqlite3.connect(f"file:{shop.path}?mode=ro", uri=True)
    conn.row_factory = sqlite3.Row
    yield conn
    conn.close()


def predictions(conn, number, table="predicted_category", only="true"):
    return conn.execute(
        f"""select {COLUMNS} from {table} where experiment_id = ? and {only}
                            order by product_id""",
        (number,),
    ).fetchall()


def settings_of(conn, number):
    return json.loads(
        conn.execute("select settings from experiment where id = ?", (number,)).fetchone()[0]
    )


# ---- what an experiment is ----------------------------------------------------------------------


def test_experiments_are_named_as_in_2016(conn):
    assert [row[0] for row in conn.execute("select name from experiment order by id")] == [
        "Text classification of: ",
        "Image classification of: ",
        "Image+Text classification of: ",
        "Image+Text classification of: ",
        "Text classification of: bootcut-jeans,skinny-jeans,clutches",
    ]


@pytest.mark.parametrize(
    "count, names",
    [
        (0, ""),
        (1, "c0"),
        (10, ",".join(f"c{i}" for i in range(10))),
        (11, "c0,c1,c2,c3,c4... (11 total)"),
        (156, "c0,c1,c2,c3,c4... (156 total)"),
    ],
)
def test_over_ten_names_are_the_first_five_and_how_many(count, names):
    assert (
        recording.experiment_name("Text", [f"c{i}" for i in range(count)])
        == f"Text classification of: {names}"
    )


def test_each_script_prints_the_block_that_analyze_prints(shop):
    done = run_script("analyze", cwd=shop.folder)
    own = re.sub(r"On the same .*\n(  [TPB].*\n)+", "", shop.printed)  # what both adds
    assert done.returncode == 0 and done.stdout == own != shop.printed
    assert re.fullmatch(
        r"(#\d+: \w+(\+\w+)? classification of: .*\n"
        r"  Accuracy: \d+\.\d\d% \(N=\d+\)\n(  .*\d%\n){5}){5}",
        done.stdout,
    )


@pytest.mark.parametrize("number", [WORDS, IMAGES, BOTH, FOLDS])
def test_every_prediction_holds_what_the_design_promises(conn, number):
    filed = dict(conn.execute("select id, category_id from product"))
    leaves = settings_of(conn, number)["categories"]
    rows = predictions(conn, number)
    for row in rows + predictions(conn, number, "validation_prediction"):
        top = json.loads(row["top"])
        chances = [chance for _, chance in top]
        assert row["label_id"] == filed[row["product_id"]] and row["category_id"] in leaves
        assert chances == sorted(chances, reverse=True) and len(top) == min(5, len(leaves))
        assert top[0] == [row["category_id"], pytest.approx(row["score"], abs=1e-6)]
        assert 0 < row["score"] <= 1 and 0 <= row["label_score"] <= row["score"]
        assert row["category_id"] != row["label_id"] or row["label_score"] == row["score"]
        assert (
            max(chances[0], row["label_score"]) - 1e-6 <= row["parent_score"] <= 1
            or row["label_id"].split(".")[0] != row["parent_id"]
        )
        named = dict(top)
        if row["label_id"] in named:
            assert named[row["label_id"]] == pytest.approx(row["label_score"], abs=1e-6)
        by_parent = collections.Counter()
        for leaf, chance in top:
            by_parent[leaf.split(".")[0]] += chance
        rest = 1 - sum(chances)  # of the leaf that is not in the top five
        assert (
            by_parent[row["parent_id"]] - 1e-5
            <= row["parent_score"]
            <= by_parent[row["parent_id"]] + rest + 1e-5
        )
        assert row["parent_score"] >= max(by_parent.values()) - 1e-5
    assert len(rows) == len({row["product_id"] for row in rows})


@pytest.mark.parametrize("number", [WORDS, IMAGES, BOTH, FOLDS])
def test_the_sides_of_the_split_are_those_of_the_cluster_else_the_group_key(conn, number):
    u = {
        row[0]: split_position(row[1])
        for row in conn.execute(
            """select id, coalesce(cluster, group_key) from product left join near_duplicate
           on product_id = id and experiment_id = ?""",
            (number,),
        )
    }
    test, validation = (
        predictions(conn, number, table)
        for table in ("predicted_category", "validation_prediction")
    )
    if number == FOLDS:
        assert len(test) == len(validation) == 3 * PER_LEAF
        assert not predictions(conn, number, "validation_prediction", "certifying")
        assert all(row["fold"] == int(u[row["product_id"]] * 4) for row in test)
        assert all((row["fold"] + 1) % 4 == int(u[row["product_id"]] * 4) for row in validation)
        return
    read = {row[0] for row in conn.execute("select product_id from picture where status = 'ok'")}
    seen = set(u) if number != IMAGES else read
    assert {row["product_id"] for row in test} == {i for i in seen if u[i] < 0.1}
    assert {row["product_id"] for row in validation} == {i for i in seen if 0.1 <= u[i] < 0.2}
    kept = predictions(conn, number, "validation_prediction", "certifying")
    assert {row["product_id"] for row in kept} == {i for i in seen if 0.15 <= u[i] < 0.2}


def test_all_three_are_split_alike_and_say_of_each_prediction_whether_it_had_a_near_duplicate(conn):
    clusters = [
        conn.execute(
            """select product_id, cluster from near_duplicate
                                where experiment_id = ?""",
            (number,),
        ).fetchall()
        for number in (WORDS, IMAGES, BOTH)
    ]
    assert clusters[0] == clusters[1] == clusters[2]
    for number in (WORDS, IMAGES, BOTH, FOLDS):
        for table in ("predicted_category", "validation_prediction"):
            assert {
                row[0]
                for row in conn.execute(
                    f"select twin from {table} where experiment_id = ?", (number,)
                )
            } <= {0, 1}


def test_settings_say_what_made_the_experiment(conn):
    for number in (WORDS, IMAGES, BOTH, FOLDS):
        found = settings_of(conn, number)
        assert found["seed"] == (5 if number == FOLDS else 0) and found["wall_time"] > 0
        assert found["versions"].keys() == {
            "python",
            "tensorflow",
            "keras",
            "numpy",
            "scikit-learn",
            "scipy",
        }
        assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])
        models = 4 if number == FOLDS else 1
        assert found["folds"] == (4 if models == 4 else None)
        assert len(found["temperature"]) == len(found["steps"]) == models
        assert sum(found["test"]) == len(predictions(conn, number))
        assert all(temperature > 0 for temperature in found["temperature"])
        after = found["calibration"]["validation"]
        # Of some dozens of products, which the second stage learned from in part.
        assert 0 < after["nll after"] <= after["nll before"] + 0.1
        assert found["arguments"]["min_products"] == (1000 if number == FOLDS else 20)
    assert settings_of(conn, IMAGES)["bottleneck"] == {
        "network": "InceptionV3",
        "weights": "random-0",
        "layer": "mixed0",
        "preprocessing": "pillow-bilinear-299-v1",
        "precision": "float32",
    }


def test_the_recorded_calibration_is_that_of_the_stored_scores(conn):
    for number in (WORDS, BOTH, FOLDS):
        found = settings_of(conn, number)["calibration"]
        for side, table in (
            ("test", "predicted_category"),
            ("validation", "validation_prediction"),
        ):
            rows = predictions(conn, number, table, "true" if side == "test" else "not certifying")
            score = np.array([row["score"] for row in rows])
            right = np.array([row["category_id"] == row["label_id"] for row in rows])
            label = np.array([row["label_score"] for row in rows])
            assert found[side]["ece after"] == pytest.approx(metrics.ece(score, right), abs=1e-5)
            nll = pytest.approx(-np.log(label).mean(), rel=1e-4, abs=1e-7)  # logits are float32
            assert found[side]["nll after"] == nll


def check_same_weights(model, other):
    one, two = (np.load(f"{folder}/weights.npz") for folder in (model, other))
    assert all((one[name] == two[name]).all() for name in one.files)


@pytest.mark.slow
def test_an_interpreter_of_its_own_gives_the_same_table(conn, shop, tmp_path):
    shutil.copytree(shop.folder, tmp_path / "shop")
    run = run_script(
        *("categorize_both", "--min-products", "20", *NETWORK), cwd=tmp_path / "shop", process=True
    )
    assert run.returncode == 0, run.stderr
    with contextlib.closing(sqlite3.connect(tmp_path / "shop" / "crawl.db")) as copy:
        ((number,),) = copy.execute("select max(id) from experiment")
        rows = predictions(copy, number)
    assert rows == [tuple(row) for row in predictions(conn, BOTH)]
    check_same_weights(
        shop.folder / f"models/experiment-{BOTH}", tmp_path / f"shop/models/experiment-{number}"
    )


def test_the_same_seed_gives_the_same_table_and_another_does_not(conn, shop):
    assert [tuple(row) for row in predictions(conn, BOTH)] == [
        tuple(row) for row in predictions(conn, BOTH_AGAIN)
    ]
    check_same_weights(*(f"{shop.folder}/models/experiment-{n}" for n in (BOTH, BOTH_AGAIN)))


def test_another_seed_gives_other_scores_on_the_same_products(shop, tmp_path):
    own = copy_of(shop, tmp_path)
    for seed in ("0", "1"):
        assert (
            categorize_words.main(
                [
                    "--db-path",
                    str(tmp_path / "crawl.db"),
                    "--seed",
                    seed,
                    "--min-products",
                    "20",
                    "--epochs",
                    "3",
                ]
            )
            == 0
        )
    one, two = predictions(own, 6), predictions(own, 7)
    own.close()
    assert [row["product_id"] for row in one] == [row["product_id"] for row in two]
    assert [row["score"] for row in one] != [row["score"] for row in two]


def test_what_both_fuses_are_the_single_classifiers(conn, shop):
    text, picture, both = (
        np.load(shop.folder / f"models/experiment-{number}/weights.npz")
        for number in (WORDS, IMAGES, BOTH)
    )
    for prefix, one in (("text", text), ("picture", picture)):
        for name in one.files:
            np.testing.assert_array_equal(one[name], both[f"{prefix}_{name}"])
    fused = settings_of(conn, BOTH)["fusion"]
    assert list(fused["weights"]) == list(fusion.FUSED)
    assert fused["used"] == pytest.approx(both["fusion"].tolist())
    assert [round(weight, 4) for weight in fused["used"]] == [
        weight for (weight,) in fused["weights"].values()
    ]


def test_without_a_picture_both_says_what_the_text_says(conn):
    own = """product_id not in (select product_id from picture where status = 'ok')"""
    text, both = (
        [(row["product_id"], row["category_id"]) for row in predictions(conn, number, only=own)]
        for number in (WORDS, BOTH)
    )
    assert text == both and text  # each with a second stage of its own for the score


def test_both_prints_whether_pictures_help_on_the_same_products(conn, shop):
    right = {
        number: {
            row["product_id"]: row["category_id"] == row["label_id"]
            for row in predictions(conn, number)
        }
        for number in (WORDS, IMAGES, BOTH)
    }
    ids = right[BOTH]
    alone = {number: [right[number].get(i, False) for i in ids] for number in right}
    printed = dict(
        re.findall(r"^  (\w[\w, ]+): (.*)%$", shop.runs[2].stdout.split("On the")[1], re.M)
    )
    either = [a or b for a, b in zip(alone[WORDS], alone[IMAGES])]
    for name, some in (
        ("Text", alone[WORDS]),
        ("Both", alone[BOTH]),
        ("Picture, where there is one", list(right[IMAGES].values())),
        ("Text or picture right", either),
    ):
        assert float(printed[name]) == pytest.approx(100 * np.mean(some), abs=0.005)
    gained = sum(b and not t for b, t in zip(alone[BOTH], alone[WORDS]))
    lost = sum(t and not b for b, t in zip(alone[BOTH], alone[WORDS]))
    assert (
        f"Both against text: {gained} gained, {lost} lost, exact McNemar p "
        f"{metrics.p_value(metrics.mcnemar(gained, lost))}\n"
    ) in shop.runs[2].stdout
    gained = sum(right[BOTH][i] and not right[IMAGES][i] for i in right[IMAGES])
    lost = sum(right[IMAGES][i] and not right[BOTH][i] for i in right[IMAGES])
    assert f"picture, where there is one: {gained} gained, {lost} lost, " in shop.runs[2].stdout
    pictures = sum(i in right[IMAGES] for i in ids)
    assert (
        f"On the same {len(ids)} products, {pictures} of them with a picture\n"
        in shop.runs[2].stdout
    )


@pytest.mark.slow
def test_both_with_folds_and_names_alone_and_the_concat_of_2016(shop, tmp_path, monkeypatch):
    monkeypatch.chdir(shop.folder)
    own = copy_of(shop, tmp_path)
    every = ("--db-path", str(tmp_path / "crawl.db"), "--min-products", "20", *NETWORK)
    assert categorize_both.main([*every, "--folds", "4", "--fields", "name"]) == 0
    assert categorize_both.main([*every, "--fusion", "concat"]) == 0
    folded, concat = settings_of(own, 6), settings_of(own, 7)
    assert len(predictions(own, 6)) == 6 * PER_LEAF
    assert all(len(weights) == 4 for weights in folded["fusion"]["weights"].values())
    assert folded["fusion"]["used"] == pytest.approx(
        [np.mean(weights) for weights in folded["fusion"]["weights"].values()], abs=1e-4
    )
    model = json.loads((tmp_path / "models/experiment-6/model.json").read_text("utf-8"))
    assert not any(word.startswith("only") for word in model["vocabulary"])  # descriptions'
    assert model["fields"] == ["name"] and concat["arguments"]["network"] == "original"
    with np.load(tmp_path / "models/experiment-7/weights.npz") as weights:
        assert set(weights) == {"hidden_kernel", "hidden_bias", "bottleneck_mean", "kernel", "bias"}
    assert "fusion" not in concat and len(predictions(own, 7)) == len(predictions(own, BOTH))
    own.close()


def test_a_product_without_a_picture_is_left_out_by_images_and_answered_by_both(conn, shop):
    without = {
        row[0]
        for row in conn.execute("""select id from product where id not in
               (select product_id from picture where status = 'ok')""")
    }
    answered = {row["product_id"] for row in predictions(conn, BOTH)}
    assert without & answered and not without & {row[0] for row in predictions(conn, IMAGES)}
    assert answered == {row["product_id"] for row in predictions(conn, WORDS)}
    assert settings_of(conn, IMAGES)["without picture"] == len(without) == 24
    for run in shop.runs[1:4]:
        assert "24 of 240 products have no picture that can be read" in run.stderr
        assert "warning: with --weights random" in run.stderr


# ---- the flags of the network that looks at pictures --------------------------------------------

FEW = ("--categories", "bootcut-jeans,clutches,totes,boots", *NETWORK[:4])


def test_the_second_run_finds_the_bottlenecks_of_the_first(shop):
    assert "bottlenecks: 216 pictures" in shop.runs[1].stderr
    assert not any("bottlenecks:" in run.stderr for run in shop.runs[2:])


@pytest.mark.parametrize(
    "script, flag, value",
    [
        pytest.param(categorize_images, "--precision", "bfloat16", marks=pytest.mark.slow),
        (categorize_both, "--precision", "int8"),
        pytest.param(categorize_images, "--cache-dtype", "float32", marks=pytest.mark.slow),
        (categorize_both, "--precision", "float32"),
    ],
)
def test_another_precision_is_recorded_and_has_a_cache_of_its_own(
    shop, tmp_path, capsys, script, flag, value
):
    copy = copy_of(shop, tmp_path)
    is_default = (flag, value) == ("--precision", "float32")
    shutil.copytree(shop.folder / "retrain_out" / "bottleneck", tmp_path / "b")
    own = {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    for turn in range(2):
        assert (
            script.main(
                [
                    *FEW,
                    "--how_many_training_steps",
                    "15",
                    flag,
                    value,
                    "--db-path",
                    str(tmp_path / "crawl.db"),
                    "--images-path",
                    str(shop.folder / "images"),
                    "--bottleneck_dir",
                    str(tmp_path / "b"),
                ]
            )
            == 0
        )
        assert ("bottlenecks:" in capsys.readouterr().err) == (turn == 0 and not is_default)
    found = settings_of(copy, 7)
    copy.close()
    assert found["bottleneck"]["precision"] == (value if flag == "--precision" else "float32")
    assert found["arguments"][flag[2:].replace("-", "_")] == value
    after = {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    assert own.items() <= after.items() and (len(after) > len(own)) != is_default


@pytest.mark.parametrize("steps, rate", [(1, 0), (25, 0), (3000, 20)])
def test_how_many_training_steps_is_an_upper_bound(shop, tmp_path, capsys, steps, rate):
    copy = copy_of(shop, tmp_path)
    assert (
        categorize_images.main(
            [
                *FEW,
                "--how_many_training_steps",
                str(steps),
                "--learning_rate",
                str(rate),
                "--db-path",
                str(tmp_path / "crawl.db"),
                "--images-path",
                str(shop.folder / "images"),
                "--bottleneck_dir",
                str(shop.folder / "retrain_out" / "bottleneck"),
            ]
        )
        == 0
    )
    (kept,), (done,) = (
        settings_of(copy, 6)["steps"],
        re.findall(r"kept step \d+ of (\d+)", capsys.readouterr().err),
    )
    copy.close()
    assert 1 <= kept <= int(done) <= steps
    if steps == 3000:
        assert int(done) == kept + 200 < steps  # two hundred steps without gain
    else:
        assert int(done) == steps


# ---- nothing is fitted on what is predicted -----------------------------------------------------


def words_of(conn, ids):
    """The words of name and description, by a rule of their own: these texts are plain ASCII."""
    rows = conn.execute("select id, name || ' ' || description from product").fetchall()
    return {word for number, text in rows if number in ids for word in text.lower().split()}


def vocabulary(shop, number):
    return json.loads((shop.folder / f"models/experiment-{number}/model.json").read_text("utf-8"))[
        "vocabulary"
    ]


def single_words(terms):
    """The words among terms, after a look that words of names and pairs are made of these."""
    single = {term for term in terms if ":" not in term and " " not in term}
    assert {part for term in terms for part in term.removeprefix("name:").split()} == single
    return single


@pytest.mark.parametrize("number", [WORDS, BOTH])
def test_the_vocabulary_is_that_of_the_training_products(conn, shop, number):
    held_out = {
        row["product_id"]
        for table in ("predicted_category", "validation_prediction")
        for row in predictions(conn, number, table)
    }
    train = {row[0] for row in conn.execute("select id from product")} - held_out
    assert single_words(vocabulary(shop, number)) == words_of(conn, train)
    assert words_of(conn, held_out) - words_of(conn, train)  # there are words to leak


def test_with_folds_the_saved_model_knows_the_words_of_all_products(conn, shop):
    everything = {row["product_id"] for row in predictions(conn, FOLDS)}
    assert single_words(vocabulary(shop, FOLDS)) == words_of(conn, everything)


def test_with_folds_what_only_a_group_knows_helps_nobody():
    """Twins share a word that no other product has, and a label drawn by lot: a model that saw
    one of them would know the other's."""
    rng = np.random.default_rng(4)
    lots = rng.integers(0, 2, 200)
    labels = ["ab"[lots[i // 2]] for i in range(400)]
    rows = [(i, labels[i], f"twins-{i // 2}", labels[i]) for i in range(400)]
    products = selection.make_products(rows, ["a", "b"], {})
    texts = [("", f"word{i // 2} dress") for i in range(400)]
    terms = term_counts.count_terms(lambda: iter(texts))
    trained_on = []

    def inputs_for(some):
        trained_on.append(set(some.tolist()))
        return text_classifier.text_inputs(terms, some, text_classifier.TextOptions())

    outcome = experiments.experiment(
        products,
        selection.checked_splits(products, 4),
        experiments.network(products, inputs_for, training.Options(batch_size=50, max_epochs=20)),
    )
    assert sorted(outcome.predicted["product"]) == list(range(400))
    for row in outcome.predicted:
        assert not {row["product"], row["product"] ^ 1} & trained_on[row["fold"]]
    right = np.mean(outcome.predicted["best"][:, 0] == outcome.predicted["label"])
    assert right < 0.65 and trained_on[4] == set(range(400))  # the last is the refitted model
    assert len(outcome.model.weights["hidden_kernel"]) == len(outcome.model.inputs.columns)
    assert np.isfinite(outcome.model.scores(np.arange(400))).all()


# ---- saved models -------------------------------------------------------------------------------

BY_HAND = """
import json, sqlite3, sys
import numpy as np
from learning import correctness, lexicons
number, path = int(sys.argv[1]), sys.argv[2]
model = json.load(open(f"models/experiment-{number}/model.json", encoding="utf-8"))
weights = np.load(f"models/experiment-{number}/weights.npz", allow_pickle=False)
conn, answers = sqlite3.connect(path), []
rows = conn.execute('''select product_id, name, description, (select sha256 from picture
    where picture.product_id = id and status = 'ok') from predicted_category
    join product on id = product_id where experiment_id = ? order by product_id''', (number,))
if "bottleneck" in model:
    import glob
    base, = (name[:-5] for name in glob.glob("retrain_out/bottleneck/*.json")
             if json.load(open(name)).items() >= model["bottleneck"].items())
    keys = open(base + ".f16.keys", "rb").read()
    size = json.load(open(base + ".json"))["size"]
    cache = np.fromfile(base + ".f16", np.float16).reshape(-1, size)
    place = {keys[i:i + 32].hex(): i // 36 for i in range(0, len(keys), 36)}

def chances_of(logits):
    return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()

for product, name, text, sha256 in rows:
    found = []
    for prefix in ("text_", "picture_") if "fusion" in weights else ("",):
        own, parts = {key[len(prefix):]: weights[key] for key in weights.files
                      if key.startswith(prefix)}, []
        if "hidden_kernel" in own:
            columns, values = lexicons.one_text(model, own, name, text)
            kernel = own["hidden_kernel"][columns]
            parts.append(np.maximum(values @ kernel + own["hidden_bias"], 0))
        if "bottleneck_mean" in own:
            parts.append(cache[place[sha256]] if sha256 else own["bottleneck_mean"])
        found.append(np.concatenate(parts) @ own["kernel"] + own["bias"])
    if "fusion" in weights:
        text, picture = (chances_of(logits / temperature) for logits, temperature in
                         zip(found, model["fusion"]["used temperatures"]))
        entropy = -(text * np.log(text)).sum()
        alone, seen, unsure = weights["fusion"]
        found = [np.log(text) if sha256 is None else
                 alone * np.log(text) + (seen + unsure * entropy) * np.log(picture)]
    chances = chances_of(correctness.calibrated(found[0][None], model)[0])
    answers.append((product, model["categories"][chances.argmax()], float(chances.max())))
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
print(json.dumps(answers))
"""


@pytest.mark.parametrize("number", [WORDS, IMAGES, BOTH])
def test_the_model_folder_alone_gives_the_stored_scores_without_tensorflow(conn, shop, number):
    done = subprocess.run(
        [sys.executable, "-c", BY_HAND, str(number), "crawl.db"],
        cwd=shop.folder,
        env=environment(PYTHONPATH=str(REPO)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    stored = predictions(conn, number)
    answers = json.loads(done.stdout)
    assert [answer[:2] for answer in answers] == [list(tuple(row)[:2]) for row in stored]
    assert [answer[2] for answer in answers] == pytest.approx(
        [row["score"] for row in stored], rel=1e-3, abs=1e-5
    )


def check_whole(folder, expected=None):
    """Every experiment has its predictions and its folder. Returns how many there are."""
    conn = db.open_database(str(folder / "crawl.db"))
    rows = conn.execute("select id, settings from experiment order by id").fetchall()
    for row in rows:
        found = conn.execute(
            "select count(*) from predicted_category where experiment_id = ?", (row["id"],)
        ).fetchone()[0]
        assert found == (expected or sum(json.loads(row["settings"])["test"]))
        model = folder / "models" / f"experiment-{row['id']}"
        weights, described = saved_models.load_model(model)
        settings = json.loads(row["settings"])
        assert settings.pop("model") == saved_models.digest(model)  # by which it is known again
        assert "kernel" in weights and described["settings"] == settings
    for table in ("predicted_category", "validation_prediction", "near_duplicate"):
        assert (
            conn.execute(f"""select count(*) from {table} where experiment_id not in
                                (select id from experiment)""").fetchone()[0]
            == 0
        )
    conn.close()
    return len(rows)


RECORD_FOR_EVER = """
import numpy as np
import db
from learning import experiments, predictions, recording, selection
conn = db.open_database("crawl.db")
rows = np.zeros(2000, predictions.PREDICTION)
rows["product"] = range(2000)
weights = {"kernel": np.zeros((3000, 50), np.float32), "bias": np.zeros(50, np.float32),
           "bottleneck_mean": np.zeros(3000, np.float32)}
leaves = ["a", *map(str, range(49))]
kept = rows[:50].copy()
kept["certifying"] = 1
outcome = experiments.Outcome(
    rows, kept, experiments.Fitted(weights, [1], 1, 1.0, None), None, {}, [])
products = selection.Products(np.arange(2000), None, np.zeros(2000, int), None, leaves, leaves)
while True:
    recording.record(
        conn, "crawl.db", "Image", [], products, outcome, {}, {"bottleneck": {}}
    )
"""


def test_killed_while_it_records_there_is_the_whole_experiment_or_nothing(tmp_path):
    db.open_database(str(tmp_path / "crawl.db"), create=True).close()
    rng, counts = random.Random(8), [0]
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", RECORD_FOR_EVER],
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(REPO), PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline().startswith("#")
        time.sleep(rng.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        counts.append(check_whole(tmp_path, 2000))
    assert all(old < new for old, new in zip(counts, counts[1:]))  # each carried on


@pytest.mark.parametrize("kills", [1, pytest.param(15, marks=pytest.mark.slow)])
def test_the_script_killed_near_its_end_leaves_the_whole_experiment_or_nothing(
    shop, tmp_path, kills
):
    copy = copy_of(shop, tmp_path)
    with copy:
        for table in (
            "predicted_category",
            "validation_prediction",
            "near_duplicate",
            "experiment",
        ):
            copy.execute(f"delete from {table}")
    copy.close()
    rng = random.Random(kills)
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, REPO / "categorize_words.py", "--min-products", "20", "--epochs", "2"],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert any("kept step" in line for line in process.stderr)
        time.sleep(rng.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        check_whole(tmp_path)


# ---- mistakes -----------------------------------------------------------------------------------

ASK_FOR_HELP = """
import runpy, sys
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
sys.argv[:] = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code
assert not {"tensorflow", "keras", "sklearn", "scipy"} & set(sys.modules), "imported too early"
"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_answers_without_importing_what_is_slow(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ASK_FOR_HELP, str(REPO / f"{name}.py")],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name}.py") and os.listdir(tmp_path) == []


CLASSIFIERS = ("categorize_words", "categorize_images", "categorize_both")


@pytest.mark.parametrize("name", CLASSIFIERS + ("analyze",))
def test_mistake_no_crawl_db(name, tmp_path):
    done = run_script(name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and os.listdir(tmp_path) == []
    assert (
        done.stderr == f"{name}.py: there is no crawl.db: run crawl.py first, or name a file "
        "with --db-path\n"
    )


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(
    "flags, parts",
    [
        (("--categories", "skiny-jeans"), ("'skiny-jeans'", "skinny-jeans")),
        (("--categories", "clutches,Boots"), ("'Boots'", "boots")),
        (
            (),
            ("0 of 6 have 1,000 products", "40 products of 20 styles", "--min-products 5 (6 categ"),
        ),
    ],
)
def test_mistake_in_the_choice_of_categories(shop, conn, name, flags, parts):
    done = run_script(name, *flags, cwd=shop.folder)
    assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
    assert all(part in done.stderr for part in parts)
    assert conn.execute("select count(*) from experiment").fetchone()[0] == 5


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(
    "flags",
    [
        ("--folds", "2"),
        ("--folds", "x"),
        ("--seed", "-1"),
        ("--no-such-flag",),
        ("--min-products", "many"),
    ],
)
def test_mistake_in_a_flag(name, flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        {
            "categorize_words": categorize_words,
            "categorize_images": categorize_images,
            "categorize_both": categorize_both,
        }[name].parse(list(flags))
    assert flags[0] in capsys.readouterr().err


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_mistake_no_products(name, tmp_path):
    db.open_database(str(tmp_path / "crawl.db"), create=True).close()
    done = run_script(name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
    assert "no product has a category" in done.stderr


def test_mistake_a_category_that_is_there_but_empty(tmp_path):
    conn = db.open_database(str(tmp_path / "crawl.db"), create=True)
    conn.executemany(
        "insert into category(id, leaf, path) values (?, 1, ?)",
        [("hats", "hats"), ("caps", "caps")],
    )
    with pytest.raises(UserError, match="no products are filed in these categories"):
        categorize_words.main(
            ["--db-path", str(tmp_path / "crawl.db"), "--categories", "hats,caps"]
        )
    conn.close()


def test_mistake_one_category(shop):
    with pytest.raises(UserError, match="bags.clutches is the only category|set is empty"):
        categorize_words.main(["--db-path", str(shop.path), "--categories", "clutches"])


@pytest.mark.parametrize("script", [categorize_images, categorize_both])
@pytest.mark.parametrize(
    "flags, reason",
    [
        (("--testing_percentage", "20"), "all three classifiers share one split"),
        (("--validation_percentage", "9"), "all three classifiers share one split"),
        (("--flip_left_right",), "a picture's bottleneck is computed once"),
        (("--random_crop", "10"), "a picture's bottleneck is computed once"),
        (("--random_scale", "1"), "a picture's bottleneck is computed once"),
        (("--random_brightness", "5"), "a picture's bottleneck is computed once"),
    ],
)
def test_mistake_a_flag_of_retrain_that_has_no_place_here(script, flags, reason):
    with pytest.raises(UserError, match=f"^[^\n]*{reason}[^\n]*$") as problem:
        script.main(list(flags))
    assert flags[0] in str(problem.value) or "--random_*" in str(problem.value)


def test_mistake_products_without_a_word(tmp_path):
    feed = write_feed(
        tmp_path / "feed.tsv",
        [(str(i), "!", "", f"A > {'BC'[i % 2]}", "", str(i)) for i in range(120)],
    )
    assert run_script("crawl", "--feed", feed, cwd=tmp_path).returncode == 0
    with pytest.raises(UserError, match="no words"):
        categorize_words.main(["--db-path", str(tmp_path / "crawl.db"), "--min-products", "1"])


def test_mistake_not_one_picture_can_be_read(shop, tmp_path):
    done = run_script(
        "categorize_images",
        "--min-products",
        "20",
        "--db-path",
        shop.path,
        "--images-path",
        "elsewhere",
        *NETWORK,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "categorize_images.py: none of these products has a picture that can be read in "
        "elsewhere; run crawl.py, name the folder with --images-path, or use categorize_words.py"
    )


def test_mistake_a_full_disk_is_told_before_the_training(shop, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2_000_000))
    with pytest.raises(UserError, match="takes up to 125 MB and .* has room for 2: make room"):
        categorize_words.main(["--db-path", str(shop.path), "--min-products", "20"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_disk_that_is_full_at_the_end_is_one_sentence_that_says_what_to_do(shop):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, REPO / "analyze.py", "--db-path", shop.path],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
    assert done.returncode == 2
    assert (
        done.stderr == "analyze.py: No space left on device; make room, and run the same "
        "command again\n"
    )


# ---- the folder of the pictures ------------------------------------------------------------------


def folders_taken(db_path, *asked):
    """The folders of pictures that the scripts take, in a list without repetitions."""
    flags = ["--db-path", str(db_path), *asked]
    taken = [
        script.parse([*flags, *own]).images_path
        for script, own in (
            (crawl, ["--status"]),
            (categorize_words, []),
            (categorize_images, []),
            (categorize_both, []),
            (analyze, []),
        )
    ]
    return sorted(set(taken))


def test_the_folder_of_the_pictures_follows_the_database(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "there"
    there.mkdir()
    assert folders_taken("crawl.db") == ["images"]
    assert folders_taken(there / "shop.db") == [str(there / "images")]
    assert folders_taken("there/shop.db", "--images-path", "mine") == ["mine"]
    (tmp_path / "images").mkdir()  # all pictures went here before
    assert folders_taken(there / "shop.db") == ["images"]
    (there / "images").mkdir()
    assert folders_taken("there/shop.db") == ["there/images"]


def test_crawled_from_elsewhere_the_pictures_lie_beside_the_database(tmp_path, small_feed):
    (tmp_path / "there").mkdir()
    for _ in range(2):
        done = run_script("crawl", "--feed", small_feed, "--db-path", "there/shop.db", cwd=tmp_path)
        assert done.returncode == 0 and "12 products have theirs" in done.stdout
    assert not (tmp_path / "images").exists()
    assert len(list((tmp_path / "there/images").rglob("*.png"))) == 12
    done = run_script("crawl", "--verify", "--db-path", "shop.db", cwd=tmp_path / "there")
    assert done.stdout == "shop.db: no damage found\npictures: 12 good, 0 damaged or gone\n"


# ---- the weights of images ----------------------------------------------------------------------

TWO_RUNS = """
import sys
import categorize_images
from common import terminal
same = ["--min-products", "20", "--images-path", sys.argv[1], "--layer", "mixed0",
        "--how_many_training_steps", "20", "--bottleneck_dir"]
print(terminal.run(lambda: categorize_images.main([*same, "empty"])))
print(terminal.run(lambda: categorize_images.main([*same, "cache", "--weights", "imagenet"])))
print(terminal.run(lambda: categorize_images.main([*same, "cache"])))
"""


@pytest.mark.slow
def test_random_weights_step_in_for_the_download_only_where_they_were_used_before(shop, tmp_path):
    shutil.copytree(shop.folder / "retrain_out" / "bottleneck", tmp_path / "cache")
    copy = copy_of(shop, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", TWO_RUNS, shop.folder / "images"],
        cwd=tmp_path,
        text=True,
        env=environment(
            PYTHONPATH=str(REPO),
            KERAS_HOME=str(tmp_path / "home"),
            https_proxy="http://127.0.0.1:9",
        ),
        capture_output=True,
    )
    answers = done.stdout.splitlines()
    assert answers[:2] == ["2", "2"]  # no random cache; imagenet asked for in so many words
    assert answers[2].startswith("#6: Image") and answers[-1] == "0"
    refused, again, carried_on = done.stderr.split("--weights random, whose figures mean little")[
        :3
    ]
    assert "--weights FILE" in refused and "going on" not in refused + again
    carried_on += done.stderr.split("--weights random, whose figures mean little", 3)[3]
    assert "going on with random weights, as before in cache" in carried_on
    assert settings_of(copy, 6)["arguments"]["weights"] == "random"
    copy.close()
