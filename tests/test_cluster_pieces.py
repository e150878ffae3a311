"""What becomes of pictures on a cluster: in pieces, halved after deaths, counted once; and shards that
are not what they should be.

    pytest tests/test_cluster_pieces.py
"""

import json
import random
import zlib

import numpy as np
import pytest

from common.terminal import progress
from learning import cluster_pieces, shards
from learning.bottleneck_cache import Cache

FINGERPRINT = {"network": "toy", "precision": "float32"}
SIZE = 2


def make_pictures(count):
    return [(f"{number:064x}", f"/pictures/{number}.png") for number in range(count)]


@pytest.fixture
def cache(tmp_path):
    return Cache(str(tmp_path / "cache"), FINGERPRINT, SIZE)


@pytest.fixture
def recipe(cache):
    return shards.recipe(cache, FINGERPRINT, "random", 0, "mixed0")


# ---- pieces -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 40, 1000])
@pytest.mark.parametrize("killers", [0, 1, 3])
def test_the_pictures_that_end_their_workers_are_left_out_and_no_others(cache, count, killers):
    pictures = make_pictures(count)
    fatal = {key for key, _ in random.Random(count).sample(pictures, min(killers, count))}
    deaths, done = 0, []
    with progress("bottlenecks", count, "pictures") as bar:
        pieces = cluster_pieces.Pieces(cache, pictures, False, bar)
        while piece := pieces.next_piece(2, []):
            keys = [key for key, _ in piece.pictures]
            if fatal & set(keys):
                pieces.note_death(piece, is_running=False)
                deaths += 1
            else:
                pieces.note_rows(keys)
                done += keys
        assert bar.n == count
    assert pieces.are_done()
    assert sorted(done) == sorted({key for key, _ in pictures} - fatal)
    assert pieces.bad == dict.fromkeys(fatal, cluster_pieces.KILLED)
    # Of each: as a whole, of each half, and three times alone.
    assert deaths <= len(fatal) * (2 + np.log2(max(2, count)) + 3)


def test_deaths_by_one_of_two_that_are_at_a_piece_are_not_forgotten(cache):
    pictures = make_pictures(20)
    with progress("bottlenecks", 20, "pictures") as bar:
        pieces = cluster_pieces.Pieces(cache, pictures, False, bar)
        piece = pieces.next_piece(2, [])
        assert pieces.next_piece(2, [piece]) == piece  # the other worker is idle
        pieces.note_death(piece, is_running=True)
        assert pieces.next_piece(2, [piece]) is None  # and would be ended, too
        pieces.note_death(piece, is_running=False)
        assert [len(half.pictures) for half in pieces.again] == [10, 10]


def test_what_another_command_has_computed_is_not_given_to_a_worker(cache, tmp_path):
    pictures = make_pictures(100)
    with progress("bottlenecks", 100, "pictures") as bar:
        pieces = cluster_pieces.Pieces(cache, pictures, False, bar)
        other = Cache(str(tmp_path / "cache"), FINGERPRINT, SIZE)
        other.append([key for key, _ in pictures[:60]], np.zeros((60, SIZE)))
        given = []
        while piece := pieces.next_piece(1, []):
            given += piece.pictures
            pieces.note_rows([key for key, _ in piece.pictures])
        assert given == pictures[60:] and bar.n == 100


def test_a_picture_is_counted_once_whatever_is_said_of_it(cache):
    (key, _), *_ = pictures = make_pictures(3)
    with progress("bottlenecks", 3, "pictures") as bar:
        pieces = cluster_pieces.Pieces(cache, pictures, False, bar)
        pieces.leave_out(key, "the file is missing")
        pieces.leave_out(key, "it can't be read")
        assert bar.n == 1
        pieces.note_rows([key])  # by another worker, which had read it before
        assert bar.n == 1 and pieces.bad == {}


# ---- shards -------------------------------------------------------------------------------------


def whole(recipe, keys, rows=None, bad=None):
    """The bytes of a shard's file, without TensorFlow's version."""
    rows = np.ones((len(keys), SIZE), np.float32) if rows is None else rows
    header = {
        **shards.described(recipe),
        "keys": keys,
        "sums": [zlib.crc32(row) for row in rows],
        "bad": bad or {},
        "processor": "",
        "computer": "",
    }
    line = json.dumps(header).encode()
    return line + b" " * (-(len(line) + 1) % shards.BLOCK) + b"\n" + rows.tobytes()


KEYS = [key for key, _ in make_pictures(4)]
NO_NUMBERS = np.array([[1, 2], [np.nan, 1], [1, 1], [np.inf, 1]], np.float32)
WRONG = {
    "fewer keys": lambda recipe: whole(recipe, KEYS[:3]),
    "no keys": lambda recipe: whole(recipe, []),
    "other keys": lambda recipe: whole(recipe, [*KEYS[:3], "f" * 64]),
    "more keys": lambda recipe: whole(recipe, [*KEYS, "f" * 64]),
    "a key twice": lambda recipe: whole(recipe, [*KEYS[:3], KEYS[0]]),
    "a row that is bad, too": lambda recipe: whole(recipe, KEYS, bad={KEYS[0]: "it is no picture"}),
    "rows that are no numbers": lambda recipe: whole(recipe, KEYS, NO_NUMBERS),
    "another network": lambda recipe: whole(
        recipe._replace(fingerprint={**FINGERPRINT, "precision": "int8"}), KEYS
    ),
    "cut": lambda recipe: whole(recipe, KEYS)[:-1],
    "longer": lambda recipe: whole(recipe, KEYS) + b"\0",
    "another byte in a row": lambda recipe: whole(recipe, KEYS)[:-1] + b"\1",
    "deep JSON": lambda recipe: b"[" * 100_000 + b"\n",
    "no JSON": lambda recipe: b"\0" * 10_000,
    "empty": lambda recipe: b"",
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_shard_that_is_not_what_was_asked_for_leaves_no_row(cache, recipe, tmp_path, kind):
    path = tmp_path / f"some{shards.ENDING}"
    path.write_bytes(WRONG[kind](recipe))
    with pytest.raises(ValueError):
        shards.adopt(cache, recipe, str(path), KEYS)
    assert cache.count == 0 and not path.exists()


def test_a_shard_that_is_what_was_asked_for_is_adopted_once(cache, recipe, tmp_path):
    path = tmp_path / f"some{shards.ENDING}"
    path.write_bytes(whole(recipe, KEYS[:3], bad={KEYS[3]: "it is no picture"}))
    shard = shards.adopt(cache, recipe, str(path), KEYS)
    assert shard.bad == {KEYS[3]: "it is no picture"} and not path.exists()
    assert (cache.find(KEYS) >= 0).tolist() == [True, True, True, False]
    with pytest.raises(OSError):
        shards.adopt(cache, recipe, str(path), KEYS)


def test_what_lies_there_is_adopted_and_what_is_wrong_is_removed_and_named(
    cache, recipe, tmp_path, capsys
):
    folder = tmp_path / "cache" / recipe.folder
    folder.mkdir()
    (folder / f"a{shards.ENDING}").write_bytes(whole(recipe, KEYS))
    (folder / f"b{shards.ENDING}").write_bytes(b"[" * 100_000 + b"\n")
    (folder / f"c{shards.ENDING}").mkdir()
    (folder / "notes.txt").write_text("mine")
    shards.adopt_all(cache, recipe)
    assert (cache.find(KEYS) >= 0).all()
    assert sorted(path.name for path in folder.iterdir()) == ["c.shard", "notes.txt"]
    said = capsys.readouterr().err
    assert "4 bottlenecks" in said and "b.shard" in said and "c.shard" in said
    shards.adopt_all(cache, recipe)
    assert "4 bottlenecks" not in capsys.readouterr().err


def test_a_link_in_place_of_the_folder_of_shards_is_not_followed(cache, recipe, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / f"a{shards.ENDING}").write_bytes(whole(recipe, KEYS))
    (tmp_path / "cache" / recipe.folder).symlink_to(other)
    shards.adopt_all(cache, recipe)
    assert cache.count == 0 and list(other.iterdir())
