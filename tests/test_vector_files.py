"""Files of word vectors: told by their content, read as a stream, broken ones in one sentence.

pytest tests/test_vector_files.py
"""

import gzip
import os
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="pip install -r requirements-encoder.txt")

from common.terminal import UserError
from learning import encodings, vector_files

VECTORS = {
    "the": [0.1, -0.2, 0.3],
    "jean": [1.0, 2.0, -3.0],
    "café": [0.5, 0.25, 0.125],
    "Satin": [-1.0, 0.0, 4.0],
}


def text_lines(vectors=VECTORS, parted=" ", end="\n"):
    return "".join(
        parted.join([word, *map(str, vector)]) + end for word, vector in vectors.items()
    ).encode()


def binary(vectors=VECTORS, end=b"\n"):
    return b"".join(
        word.encode() + b" " + np.array(vector, "<f4").tobytes() + end
        for word, vector in vectors.items()
    )


HEAD = b"4 3\n"
FORMS = {
    "word2vec text": HEAD + text_lines(),
    "word2vec binary": HEAD + binary(),
    "word2vec binary without line ends": HEAD + binary(end=b""),
    "GloVe": text_lines(),
    "GloVe with tabs": text_lines(parted="\t"),
    "fastText .vec": HEAD + text_lines(end=" \n"),
    "Windows": b"4 3\r\n" + text_lines(end="\r\n"),
    "without the last line's end": HEAD + text_lines()[:-1],
    "another line than the header says": HEAD + text_lines({**VECTORS, "more": [1, 1, 1]}),
}


def mean_of(*words):
    return np.mean([VECTORS[word] for word in words], axis=0)


def written(tmp_path, data, name="vectors"):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def vectors_of(path, texts):
    encoder = encodings.open_encoder(path, path + ".db").encoder
    return encoder.prepare(texts)(texts)


def refused(path, part, texts=("jean",)):
    with pytest.raises(UserError) as caught:
        vectors_of(path, list(texts))
    said = str(caught.value)
    assert part in said and "\n" not in said, said


@pytest.mark.parametrize("packed", (False, True), ids=("plain", "gz"))
@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_vectors(tmp_path, form, packed):
    data = FORMS[form]
    path = written(tmp_path, gzip.compress(data) if packed else data)
    found = vectors_of(path, ["The JEAN jean!", "Café", "a satin unknown", "nothing", ""])
    for row, words in zip(found, (("the", "jean", "jean"), ("café",), ("Satin",))):
        np.testing.assert_allclose(row, mean_of(*words), rtol=1e-6)
    assert not found[3:].any()


def test_a_name_says_nothing(tmp_path):
    path = written(tmp_path, FORMS["word2vec binary"], "vectors.txt.gz")
    np.testing.assert_allclose(vectors_of(path, ["jean"])[0], VECTORS["jean"])


def test_a_word_in_small_letters_counts_before_one_in_capitals_and_the_first_of_two(tmp_path):
    lines = b"JEAN 1 1\njean 2 2\nJean 3 3\njean 4 4\nSATIN 5 5\nsatin 6 nan\nSatin 7 7\n"
    found = vectors_of(written(tmp_path, lines), ["jean", "satin"])
    assert found.tolist() == [[2, 2], [5, 5]]


def test_lines_that_are_no_vector_are_left_out_and_counted(tmp_path, capsys, recwarn):
    lines = (
        b"a 1 1e99\nthe 1 2\njean 1\nsatin nan 2\nbag 1e30 2\nwide 1e99 2\nred one 2\n\xff\xfe 1 2\n\n"
        b"new york 1 2\nblue 3 4\nclutch inf 1\nslim 1 2 3\n"
    )
    texts = ["a jean satin bag wide red new york clutch slim", "blue", "the"]
    found = vectors_of(written(tmp_path, lines), texts)
    assert found.tolist() == [[0, 0], [3, 4], [1, 2]]
    assert "8 words in" in capsys.readouterr().err
    assert not recwarn.list  # numpy would print one, with a line of code


@pytest.mark.parametrize(
    "data, part",
    (
        (b"", "does not begin with a word and its vector"),
        (b"\n\n", "does not begin with a word and its vector"),
        (b"a text about jeans\nand more\n", "does not begin with a word and its vector"),
        (b"id,title,price\n1,jean,20\n", "does not begin with a word and its vector"),
        (b"\x00" * 5_000, "does not begin with a word and its vector"),
        (b"4 7\n" + text_lines(), "first line says other sizes"),
        (b"4 999999\n" + text_lines(), "first line says other sizes"),
        (b"999999999999 3\n" + binary(), "too many words"),
        (b"999 3\n" + binary(), "it was cut"),
        (b"9 3\n" + text_lines(), "it was cut"),
        (HEAD + binary()[:-9], "it was cut"),
        (gzip.compress(HEAD + text_lines())[:-12], "cut or damaged"),
        (gzip.compress(HEAD)[:12] + b"\xff" * 50, "cut or damaged"),
        (vector_files.FASTTEXT + b"\x0c\0\0\0" * 20, "a .bin of fastText"),
        (gzip.compress(vector_files.FASTTEXT + b"\x0c\0\0\0" * 20), "a .bin of fastText"),
    ),
    ids=lambda value: str(value)[:40],
)
@pytest.mark.redteam
def test_what_holds_no_word_vectors_is_one_sentence(tmp_path, data, part):
    refused(written(tmp_path, data), part)


@pytest.mark.parametrize("form", ("word2vec binary", "GloVe"))
def test_texts_without_a_word_of_the_file_have_zeros(tmp_path, form):
    """They may be one new product's. Nobody else has to wait for it."""
    path = written(tmp_path, FORMS[form])
    assert vectors_of(path, ["unknown", ""]).tolist() == [[0, 0, 0]] * 2
    rows = encodings.rows_of(encodings.open_encoder(path, path + ".db"), lambda: ["unknown", ""])
    assert rows.tolist() == [-1, -1]


@pytest.mark.redteam
def test_a_line_or_a_word_without_an_end_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_files, "MOST_LINE", 1_000)
    refused(written(tmp_path, b"jean 1 2\n" + b"x" * 5_000), "too long a line")
    refused(
        written(tmp_path, b"9 2\nok " + bytes(8) + b"x" * 5_000 + b" " + bytes(8)),
        "too long a word",
    )


@pytest.mark.redteam
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(str(tmp_path / "pipe"), "no plain file")


def test_another_file_has_another_fingerprint(tmp_path):
    one, two = (
        encodings.open_encoder(written(tmp_path, data, name), str(tmp_path / "x.db"))
        for name, data in (("a", text_lines()), ("b", text_lines() + b"bag 1 2 3\n"))
    )
    assert one.encoder.fingerprint != two.encoder.fingerprint


def test_only_words_of_the_texts_stay_in_memory(tmp_path):
    """Of 20,000 words with 100 numbers each, which take 8 MB as float32, two are asked for."""
    numbers = " ".join(["0.25"] * 100)
    path = written(
        tmp_path, "".join(f"word{i} {numbers}\n" for i in range(20_000)).encode(), "large.vec"
    )
    texts = ["word7 word19999"]
    encoder = vector_files.open_vectors(path)
    tracemalloc.start()
    vectors = encoder.prepare(texts)(texts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert vectors.tolist() == [[0.25] * 100] and peak < 4_000_000
