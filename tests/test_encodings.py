"""Vectors of texts in their cache: made once, kept, damaged, and killed while they are made.

pytest tests/test_encodings.py
pytest tests/test_encodings.py -m "slow or not slow"
"""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import REPO, environment
from encoders import network, table, write_encoder, write_tokens

from common.terminal import UserError
from learning import encodings

TEXTS = ["slim jean", "", "satin clutch", "slim jean", "evening bag", "unknown"]


def opened(folder, path):
    return encodings.open_encoder(str(folder), str(path))


def cached(tmp_path, encoder="e"):
    return opened(tmp_path / encoder, tmp_path / "crawl.db")


# ---- the cache ----------------------------------------------------------------------------------


def test_each_text_is_encoded_once_and_an_empty_one_has_no_vector(tmp_path, capsys):
    write_encoder(tmp_path / "e")
    first = cached(tmp_path)
    rows = encodings.rows_of(first, lambda: iter(TEXTS))
    assert rows[1] == -1 and rows[0] == rows[3] and len({*rows}) == 5
    assert first.cache.count == 4 and sorted(os.listdir(tmp_path / "encodings"))
    direct = first.encoder.prepare(TEXTS)(["evening bag"])
    np.testing.assert_allclose(first.cache.matrix()[rows[4]], direct[0], atol=1e-3)
    again = cached(tmp_path)
    again = again._replace(encoder=again.encoder._replace(prepare=None))  # nothing to encode
    assert encodings.rows_of(again, lambda: iter(TEXTS)).tolist() == rows.tolist()


def test_what_the_encoder_knows_nothing_of_has_no_vector(tmp_path):
    write_tokens(tmp_path / "e")
    rows = encodings.rows_of(cached(tmp_path), lambda: iter(TEXTS))
    assert rows[5] == rows[1] == -1 and (np.delete(rows, [1, 5]) >= 0).all()


def test_two_encoders_have_caches_of_their_own(tmp_path):
    write_encoder(tmp_path / "e")
    write_encoder(tmp_path / "f", network(table(seed=2)))
    one, two = (cached(tmp_path, name) for name in "ef")
    encodings.rows_of(one, lambda: TEXTS)
    assert one.cache.data_path != two.cache.data_path and two.cache.count == 0


def test_a_damaged_vector_is_made_again(tmp_path, capsys):
    write_encoder(tmp_path / "e")
    first = cached(tmp_path)
    rows = encodings.rows_of(first, lambda: TEXTS)
    before = np.array(first.cache.matrix()[rows[2]])
    with open(first.cache.data_path, "r+b") as file:
        file.seek(int(rows[2]) * first.cache.row_bytes)
        file.write(b"\x12\x34")
    again = cached(tmp_path)
    rows = encodings.rows_of(again, lambda: TEXTS)
    np.testing.assert_array_equal(again.cache.matrix()[rows[2]], before)
    assert "1 vectors of texts in" in capsys.readouterr().err


def test_a_vector_that_is_no_number_is_left_out_and_counted(tmp_path, capsys):
    vectors = table()
    vectors[vectors.shape[0] - 1] = np.inf  # of blue
    write_encoder(tmp_path / "e", network(vectors), normalize=False)
    rows = encodings.rows_of(cached(tmp_path), lambda: ["blue jean", "slim jean"])
    assert rows.tolist() == [-1, 0]
    assert "the encoder gives no usable vector for 1 text" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_folder_is_one_sentence(tmp_path):
    write_encoder(tmp_path / "e")
    (tmp_path / "encodings").write_text("")
    with pytest.raises(UserError, match="can't be made"):
        cached(tmp_path)


@pytest.mark.parametrize(
    "name, description, fields, expected",
    (
        ("Slim  jean", "A <b>blue</b> one &amp; more", ("name", "description"),
         "Slim jean. A blue one & more"),
        ("Slim jean", "A blue one", ("name",), "Slim jean"),
        ("", "A blue one", ("name", "description"), "A blue one"),
        ("", "", ("name", "description"), ""),
        ("x" * 50_000, "y", ("name", "description"), "x" * encodings.MOST_TEXT),
    ),
)  # fmt: skip
def test_the_text_of_a_product(name, description, fields, expected):
    assert encodings.text_of(name, description, fields) == expected


KILLED = """
import itertools, sys
sys.path.insert(0, {repo!r})
from learning import encodings
encodings.SAVED, encodings.WINDOW = 0, 64
opened = encodings.open_encoder({encoder!r}, {path!r})
print("ready", flush=True)
encodings.rows_of(opened, lambda: (f"slim jean {{i}} " * 6 for i in range(60_000)))
"""


@pytest.mark.slow
@pytest.mark.redteam
def test_after_a_kill_it_goes_on_where_it_was(tmp_path):
    write_encoder(tmp_path / "e")
    path = str(tmp_path / "crawl.db")
    code = KILLED.format(repo=str(REPO), encoder=str(tmp_path / "e"), path=path)
    counts = [0]
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE
        ) as running:
            running.stdout.readline()
            deadline = time.monotonic() + 60
            while cached(tmp_path).cache.count <= counts[-1] + 100:
                assert time.monotonic() < deadline and running.poll() is None
                time.sleep(0.01)
            running.send_signal(signal.SIGKILL)
        counts.append(cached(tmp_path).cache.count)
    assert counts == sorted(counts) and counts[-1] < 60_000
    after = cached(tmp_path)
    texts = [f"slim jean {i} " * 6 for i in range(500)]
    rows = encodings.rows_of(after, lambda: texts)
    direct = after.encoder.prepare(texts)(texts)
    assert (rows >= 0).all()
    np.testing.assert_allclose(after.cache.matrix()[rows], direct, atol=2e-3)
