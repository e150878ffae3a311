"""Vectors of words: what they are learned from, that they learn, and the file they are saved to.

Real TensorFlow; about a minute.

    pytest tests/test_word_vectors.py
    pytest tests/test_word_vectors.py -k script
"""

import json
import os

import numpy as np
import pytest
from conftest import run_script, write_feed
from hypothesis import given
from hypothesis import strategies as st

from learning import saved_models, text_classifier, word_vectors

TOPICS = ["red green blue yellow black white".split(), "one two three four five six".split()]


def topical(count, seed=0):
    """(words, texts, vocabulary) of texts of eight words of one of two topics."""
    rng = np.random.default_rng(seed)
    texts = [rng.choice(TOPICS[i % 2], 8).tolist() for i in range(count)]
    vocabulary = sorted({word for text in texts for word in text})
    return (*word_vectors.chosen_words(texts, np.arange(count), vocabulary), vocabulary)


def test_only_words_of_the_training_texts_and_of_the_vocabulary_are_learned_from():
    texts = iter(["a b c".split(), "d a".split(), [], "c c b".split(), ["a"]])
    found, texts = word_vectors.chosen_words(texts, np.array([0, 2, 3]), ["a", "c"])
    assert found.tolist() == [0, 1, 1, 1] and texts.tolist() == [0, 0, 2, 2]


def test_a_word_of_names_has_its_words_vector_and_none_where_that_is_none_of_the_vocabulary():
    vectors = np.array([[1, 2], [3, 4]], np.float32)
    spread = text_classifier.term_vectors(
        vectors, ["blue", "jean"], ["blue", "jean", "name:jean", "name:slim", "blue jean"]
    )
    assert spread.tolist() == [[1, 2], [3, 4], [3, 4], [0, 0], [0, 0]]


@given(
    st.lists(st.text("abcd ", max_size=14), min_size=1, max_size=6).filter(
        lambda texts: any(text.strip() for text in texts)
    )
)
def test_cooccurrences_are_those_of_a_plain_loop(texts):
    texts = [text.split() for text in texts]
    vocabulary = sorted({word for text in texts for word in text})
    count = len(vocabulary)
    found, own = word_vectors.chosen_words(texts, np.arange(len(texts)), vocabulary)
    expected = np.zeros((count, count))
    for text in texts:
        cut = [vocabulary.index(word) for word in text]
        for i, left in enumerate(cut):
            for distance, right in enumerate(cut[i + 1 : i + 6], 1):
                expected[left, right] += 1 / distance
                expected[right, left] += 1 / distance
    np.testing.assert_allclose(
        word_vectors.cooccurrences(found, own, count).toarray(), expected, rtol=1e-5
    )


@pytest.mark.parametrize("learn", [word_vectors.word2vec, word_vectors.swivel])
def test_words_of_one_topic_come_to_lie_together(learn, monkeypatch):
    monkeypatch.setattr(word_vectors, "BATCH", 512)
    monkeypatch.setattr(word_vectors, "OFTEN", 1)  # twelve words are all frequent
    found, texts, vocabulary = topical(400)
    vectors = learn(found, texts, len(vocabulary))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -1)
    for number, word in enumerate(vocabulary):
        topic = next(topic for topic in TOPICS if word in topic)
        nearest = {vocabulary[other] for other in np.argsort(-near[number])[:5]}
        assert nearest == {*topic} - {word}


@pytest.mark.parametrize("learn", [word_vectors.word2vec, word_vectors.swivel])
def test_a_seed_makes_vectors_repeatable(learn):
    found, texts, vocabulary = topical(40)
    one, two, other = (learn(found, texts, len(vocabulary), seed) for seed in (3, 3, 4))
    assert one.shape == (12, word_vectors.SIZE) and one.dtype == np.float32
    np.testing.assert_allclose(one, two, atol=1e-5)
    assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize("learn", [word_vectors.word2vec, word_vectors.swivel])
@pytest.mark.parametrize("text", ["", "alone", "alone alone"])
def test_words_without_company_have_finite_vectors(learn, text):
    vocabulary = sorted({*text.split(), "x"})
    found, texts = word_vectors.chosen_words([text.split(), ["x"]], np.arange(2), vocabulary)
    assert np.isfinite(learn(found, texts, len(vocabulary))).all()


def test_blocks_of_swivel_cover_a_vocabulary_of_any_size(monkeypatch):
    """Blocks of four words give what one block gives, up to the order of the steps."""
    found, texts, vocabulary = topical(300)
    whole = word_vectors.swivel(found, texts, len(vocabulary))
    monkeypatch.setattr(word_vectors, "ROWS", 5)
    parts = word_vectors.swivel(found, texts, len(vocabulary))
    same = [
        (a / np.linalg.norm(a)) @ (a / np.linalg.norm(a)).T
        for a in (whole - whole.mean(0), parts - parts.mean(0))
    ]
    assert np.corrcoef(same[0].ravel(), same[1].ravel())[0, 1] > 0.9


# ---- the script ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    rows = [
        (
            str(i),
            f"{' '.join(rng.choice(TOPICS[i % 2], 2))} {i}",
            " ".join(rng.choice(TOPICS[i % 2], 6)),
            ("A > Colours", "B > Numbers")[i % 2],
        )
        for i in range(160)
    ]
    write_feed(folder / "products.tsv", rows, "id title description product_type")
    assert run_script("crawl", "--feed", "products.tsv", cwd=folder).returncode == 0
    return folder


@pytest.mark.parametrize(
    "flags",
    [["word2vec"], ["swivel"], ["word2vec", "--embedding-alone"], ["swivel", "--embedding-alone"]],
    ids=" ".join,
)
def test_the_script_classifies_by_vectors_and_saves_them(shop, flags, tmp_path):
    done = run_script(
        "categorize_words",
        "--min-products",
        "1",
        "--embedding",
        *flags,
        "--save-embedding",
        tmp_path / "vectors.txt",
        cwd=shop,
    )
    assert done.returncode == 0, done.stderr
    number = int(done.stdout[1 : done.stdout.index(":")])
    assert float(done.stdout.split("Accuracy: ")[1].split("%")[0]) > 90
    weights, described = saved_models.load_model(shop / "models" / f"experiment-{number}")
    units = 5 * 100  # of five networks side by side
    assert weights["hidden_kernel"].shape == (len(described["vocabulary"]), units)
    assert not [name for name in weights if "vector" in name]
    lines = (tmp_path / "vectors.txt").read_text(encoding="utf-8").splitlines()
    single = [term for term in described["vocabulary"] if ":" not in term and " " not in term]
    assert lines[0] == f"{len(single)} {word_vectors.SIZE}"
    assert [line.split(" ")[0] for line in lines[1:]] == single
    assert all(len(line.split(" ")) == 1 + word_vectors.SIZE for line in lines[1:])
    np.array([line.split(" ")[1:] for line in lines[1:]], float)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.txt"]
    settings = json.dumps(described["settings"])
    assert f'"embedding": "{flags[0]}"' in settings


def test_the_script_explains_what_was_learned_by_vectors(shop):
    done = run_script(
        "categorize_words",
        "--min-products",
        "1",
        "--embedding",
        "swivel",
        "--embedding-alone",
        cwd=shop,
    )
    number = done.stdout[1 : done.stdout.index(":")]
    told = run_script("categorize_words", "--explain", 1, "--experiment", number, cwd=shop)
    assert told.returncode == 0 and "together" in told.stdout


def test_a_file_that_holds_something_else_is_not_overwritten(shop):
    before = (shop / "crawl.db").read_bytes()
    done = run_script(
        "categorize_words",
        "--min-products",
        "1",
        "--embedding",
        "swivel",
        "--save-embedding",
        "crawl.db",
        cwd=shop,
    )
    assert done.returncode == 2 and "holds something else" in done.stderr
    assert (shop / "crawl.db").read_bytes() == before


def test_a_place_that_cant_be_written_is_one_sentence(shop):
    done = run_script(
        "categorize_words",
        "--min-products",
        "1",
        "--embedding",
        "swivel",
        "--save-embedding",
        "/proc/vectors.txt",
        cwd=shop,
    )
    assert done.returncode == 2 and "a folder that can be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1  # before any work


@pytest.mark.redteam
def test_a_pipe_in_the_files_place_is_not_waited_for_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not word_vectors.may_be_replaced(str(tmp_path / "pipe"))
    assert not word_vectors.may_be_replaced("/dev/zero")
