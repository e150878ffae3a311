"""categorize_words.py and categorize_both.py with an encoder: trained, applied, explained.

pytest tests/test_encoder_scripts.py
pytest tests/test_encoder_scripts.py -m "slow or not slow"
"""

import json
import shutil
import sqlite3

import numpy as np
import pytest
from conftest import draw_feed, networks_made_once, run_script, write_feed
from encoders import WORDS, network, table, write_encoder

from common.terminal import UserError
from evaluation import filing
from learning import encodings, fusion, lexicons, saved_models, text_classifier, text_features

KINDS = {"Jeans > Jeans": "denim jean flared slim", "Bags > Bags": "satin clutch evening bag"}


def write_shop(folder, per_leaf=60):
    """A feed whose texts have some of its category's words, and none that is of one product."""
    rng, rows = np.random.default_rng(0), []
    for category, words in KINDS.items():
        for number in range(per_leaf):
            chosen = rng.choice(words.split(), 3, replace=False)
            name = f"{' '.join(chosen[:2])} {rng.integers(1000)}"
            rows.append((f"{category[0]}{number}", name, f"{chosen[2]} piece", category))
    write_feed(folder / "feed.tsv", rows, "id title description product_type")
    new = [(f"new{i}", row[1], row[2], "") for i, row in enumerate(rows[::10])]
    write_feed(folder / "new.tsv", new, "id title description product_type")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with crawl.db and an encoder, and experiment 1 that was trained with it."""
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    write_encoder(folder / "e")
    assert run_script("crawl", "--feed", "feed.tsv", cwd=folder).returncode == 0
    done = run_script(
        "categorize_words", "--min-products", 5, "--folds", 5, "--encoder", "e", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    (folder / "printed").write_text(done.stdout)
    assert run_script("crawl", "--feed", "new.tsv", "--source", "new", cwd=folder).returncode == 0
    return folder


def asked(folder, query):
    conn = sqlite3.connect(folder / "crawl.db")
    rows = conn.execute(query).fetchall()
    conn.close()
    return rows


def test_it_prints_whether_the_encoder_helps_and_keeps_what_it_was(shop):
    printed = (shop / "printed").read_text()
    for line in ("  Words: ", "  Encoder: ", "  Both: ", "  Both against words: "):
        assert f"\n{line}" in printed
    ((settings,),) = asked(shop, "select settings from experiment")
    settings = json.loads(settings)
    assert settings["arguments"]["encoder"] == str(shop / "e")
    assert settings["encoder"]["pooling"] == "mean"
    assert len(settings["encoder fusion"]["weights"]["encoder"]) == 5
    weights, described = saved_models.load_model(str(shop / "models/experiment-1"))
    assert described["encoder"] == settings["encoder"]
    assert {"words_kernel", "encoder_kernel", "fusion", "unseen"} <= set(weights)


def test_new_products_are_answered_as_the_saved_model_does(shop, tmp_path):
    folder = shutil.copytree(shop, tmp_path / "own")
    done = run_script("categorize_words", "--apply", 1, "--target", 50, cwd=folder)
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
    rows = asked(
        folder, "select name, description, score from filing join product on id=product_id"
    )
    assert len(rows) == 12
    # By hand, without a line of the project's own: text, encoder, and what fuses them.
    weights, model = saved_models.load_model(str(folder / "models/experiment-1"))
    words, encoder = fusion.parted(weights, fusion.ENCODER)
    run = encodings.open_encoder(str(folder / "e"), str(folder / "x.db")).encoder.prepare([])
    for name, description, score in rows:
        columns, values = lexicons.one_text(model, words, name, description)
        hidden = np.maximum(values @ words["hidden_kernel"][columns] + words["hidden_bias"], 0)
        vector = run([f"{name}. {description}"])[0]
        both = [
            hidden @ words["kernel"] + words["bias"],
            vector @ encoder["kernel"] + encoder["bias"],
        ]
        logs = [
            (logits := part / temperature) - np.log(np.exp(logits).sum())
            for part, temperature in zip(both, model["encoder fusion"]["used temperatures"])
        ]
        logs[1] = np.log(0.98 * np.exp(logs[1]) + 0.02 / len(logs[1]))
        entropy = -(np.exp(logs[0]) * logs[0]).sum()
        a, b, c = weights["fusion"]
        fused = (a * logs[0] + (b + c * entropy) * logs[1]) / model["temperature"]
        assert np.exp(fused - np.log(np.exp(fused).sum())).max() == pytest.approx(score, abs=2e-3)


def test_a_file_of_word_vectors_is_read_once_for_all_new_products(shop, tmp_path, monkeypatch):
    folder = shutil.copytree(shop, tmp_path / "own")
    lines = [
        f"{word} {' '.join(map(str, vector))}\n" for word, vector in zip(WORDS, table().tolist())
    ]
    (folder / "vectors.txt").write_text("".join(lines))
    done = run_script(
        "categorize_words", "--min-products", 5, "--folds", 5, "--encoder", "vectors.txt",
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "encodings")  # which has the texts of the new ones by chance
    monkeypatch.setattr(filing, "CHUNK", 3)
    done = run_script("categorize_words", "--apply", 2, "--target", 50, cwd=folder)
    assert done.returncode in (0, 1) and done.stderr.count("words have a vector in") == 1
    assert asked(folder, "select count(*) from filing where score > 0") == [(12,)]


def test_word_vectors_of_another_language_are_one_sentence_and_a_new_product_s_are_none(
    shop, tmp_path
):
    folder = shutil.copytree(shop, tmp_path / "own")
    (folder / "other.txt").write_text("hose 1 2\nhemd 3 4\n")
    flags = "--min-products", 5, "--ensemble", 1, "--epochs", 1, "--encoder"
    done = run_script("categorize_words", *flags, "other.txt", cwd=folder)
    assert done.returncode == 2 and "nothing of the catalogue's words" in done.stderr
    lines = [
        f"{word} {' '.join(map(str, vector))}\n" for word, vector in zip(WORDS, table().tolist())
    ]
    (folder / "vectors.txt").write_text("".join(lines))
    done = run_script("categorize_words", *flags, "vectors.txt", cwd=folder)
    assert done.returncode == 0, done.stderr
    conn = sqlite3.connect(folder / "crawl.db")
    conn.execute("update product set name = 'hose', description = '' where category_id is null")
    conn.commit()
    conn.close()
    done = run_script("categorize_words", "--apply", 2, "--target", 50, cwd=folder)
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
    assert asked(folder, "select count(*) from filing where experiment_id = 2") == [(12,)]


def test_it_can_lie_elsewhere_and_another_one_or_none_is_one_sentence(shop, tmp_path):
    folder = shutil.copytree(shop, tmp_path / "own")
    (shop / "e").rename(shop / "moved")
    try:
        done = run_script("categorize_words", "--apply", 1, cwd=folder)
        assert done.returncode == 2 and "say by --encoder where it lies now" in done.stderr
        done = run_script("categorize_words", "--apply", 1, "--encoder", "e", cwd=folder)
        assert done.returncode in (0, 1), done.stderr
    finally:
        (shop / "moved").rename(shop / "e")
    asked_again = ("--explain", 1, "--experiment", 1)
    write_encoder(folder / "other", network(table(seed=3)))
    done = run_script("categorize_words", *asked_again, "--encoder", "other", cwd=folder)
    assert done.returncode == 2 and "trained with another encoder" in done.stderr


def test_explain_says_what_the_encoder_adds_and_it_adds_up(shop):
    done = run_script("categorize_words", "--explain", 1, "--experiment", 1, cwd=shop)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (last,) = [line for line in lines if line.startswith("together")]
    parts = [float(word.rstrip(",:")) for word in last.split() if word[0] in "+-0123456789"]
    together, encoder, second_stage, rest, odds = parts
    assert together + encoder + second_stage + rest == pytest.approx(odds, abs=0.03)
    assert float(lines[2].split()[0]) == pytest.approx(1 / (1 + np.exp(-odds)), abs=2e-4)


def test_the_pages_mark_words_as_the_model_hears_them(shop, tmp_path):
    folder = shutil.copytree(shop, tmp_path / "own")
    done = run_script("categorize_words", "--apply", 1, "--target", 99.99, cwd=folder)
    assert done.returncode == 0, done.stderr
    for flag in ("--dump-errors-for-experiment", "--review"):
        done = run_script("analyze", flag, 1, "-o", "page.html", cwd=folder)
        assert done.returncode == 0 and "Traceback" not in done.stderr, (flag, done.stderr)
    assert "<mark>" in (folder / "page.html").read_text()


@pytest.mark.parametrize("before", ((), ("text_",), ("words_",), ("text_", "words_")))
def test_the_words_own_network_is_found_in_whatever_fuses_it(before):
    weights = {"hidden_kernel": 1, "idf": 2}
    for prefix in reversed(before):
        weights = {f"{prefix}{name}": value for name, value in weights.items()}
        weights.update({"fusion": 3, "picture_kernel": 4, "encoder_kernel": 5})
    found = text_features.words_weights(weights)
    assert {name: found[name] for name in ("hidden_kernel", "idf")} == {
        "hidden_kernel": 1,
        "idf": 2,
    }


@pytest.mark.parametrize(
    "flags, part",
    (
        (("--encoder", "gone"), "name the folder of an encoder"),
        (("--encoder", "feed.tsv"), "can't be used as an encoder"),
        (("--encoder", "e", "--network", "original"), "--encoder is for the default network"),
    ),
)
def test_a_mistake_is_one_sentence(shop, flags, part):
    done = run_script("categorize_words", "--min-products", 5, *flags, cwd=shop)
    assert done.returncode == 2 and part in done.stderr and "Traceback" not in done.stderr


def test_an_encoder_for_a_model_without_one_is_one_sentence(shop, tmp_path):
    folder = shutil.copytree(shop, tmp_path / "own")
    done = run_script("categorize_words", "--min-products", 5, cwd=folder)
    assert done.returncode == 0 and "Encoder" not in done.stdout
    done = run_script(
        "categorize_words", "--explain", 1, "--experiment", 2, "--encoder", "e", cwd=folder
    )
    assert done.returncode == 2 and "without an encoder" in done.stderr


@pytest.mark.redteam
@pytest.mark.parametrize(
    "name, value",
    (
        ("encoder_kernel", np.zeros((3, 2), np.float32)),
        ("encoder_bias", np.full(2, np.nan, np.float32)),
        ("words_bias", np.zeros(3, np.float32)),
        ("fusion", np.ones(2)),
        ("unseen", None),
    ),
)
def test_a_model_that_does_not_fit_is_one_sentence(shop, tmp_path, name, value):
    weights, described = saved_models.load_model(str(shop / "models/experiment-1"))
    weights[name] = value
    if value is None:
        del weights[name]
    saved_models.save_model(str(tmp_path), weights, described)
    with pytest.raises(UserError, match="train again"):
        saved_models.load_model(str(tmp_path))


@pytest.mark.redteam
@pytest.mark.parametrize("size", (1, 3, 5))
def test_a_model_of_vectors_of_another_length_is_one_sentence(shop, tmp_path, size):
    """It fits together, and the encoder is the one that it names."""
    weights, described = saved_models.load_model(str(shop / "models/experiment-1"))
    weights["encoder_kernel"] = np.zeros((size, 2), np.float32)
    weights["encoder_bottleneck_mean"] = np.zeros(size, np.float32)
    saved_models.save_model(str(tmp_path), weights, described)
    weights, described = saved_models.load_model(str(tmp_path))
    find = encodings.finder(encodings.Asked(str(shop / "e"), str(tmp_path / "x.db")), described)
    score = text_classifier.text_scorer(weights, described, find)
    with pytest.raises(UserError, match=f"of {size} numbers, and these have 4"):
        score([{"name": "slim jean", "description": ""}])


@pytest.mark.redteam
@pytest.mark.parametrize("changed", ({"encoder": "e"}, {"encoder fusion": {}}), ids=str)
def test_a_description_that_does_not_fit_is_one_sentence(shop, tmp_path, changed):
    weights, described = saved_models.load_model(str(shop / "models/experiment-1"))
    saved_models.save_model(str(tmp_path), weights, {**described, **changed})
    with pytest.raises(UserError, match="train again"):
        saved_models.load_model(str(tmp_path))


@pytest.mark.slow
def test_pictures_join_what_words_and_encoder_say(tmp_path, networks_made_once):
    draw_feed(tmp_path, 30)
    write_encoder(tmp_path / "e")
    assert run_script("crawl", "--feed", "products.tsv", cwd=tmp_path).returncode == 0
    flags = ("--min-products", 5, "--encoder", "e")
    done = run_script("categorize_words", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_script("categorize_both", *flags, "--weights", "random", cwd=tmp_path)
    assert done.returncode == 0 and "  Picture, where there is one: " in done.stdout, done.stderr
    text, both = (
        np.load(tmp_path / f"models/experiment-{number}/weights.npz") for number in (1, 2)
    )
    for name in text.files:
        np.testing.assert_array_equal(text[name], both[f"text_{name}"])
    ((settings,),) = asked(tmp_path, "select settings from experiment where id = 2")
    assert {"fusion", "encoder fusion"} <= set(json.loads(settings))
    new = [("n1", "denim jean", "slim flared", ""), ("n2", "satin clutch", "evening", "")]
    write_feed(tmp_path / "new.tsv", new, "id title description product_type")
    run_script("crawl", "--feed", "new.tsv", "--source", "new", cwd=tmp_path)
    done = run_script("categorize_both", "--apply", 2, "--target", 50, cwd=tmp_path)
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
    assert asked(tmp_path, "select count(*) from filing where score > 0") == [(2,)]
    for flag in ("--dump-errors-for-experiment", "--review"):
        done = run_script("analyze", flag, 2, "-o", "page.html", cwd=tmp_path)
        assert done.returncode == 0 and "Traceback" not in done.stderr, (flag, done.stderr)


def test_concat_takes_no_encoder(shop):
    done = run_script("categorize_both", "--fusion", "concat", "--encoder", "e", cwd=shop)
    assert done.returncode == 2 and "--encoder" in done.stderr
