"""What becomes of pictures on a cluster: in pieces, halved after deaths, counted once; which workers
get them; and shards that are not what they should be.

    pytest tests/test_cluster_pieces.py
"""

import concurrent.futures
import errno
import json
import os
import random
import threading
import types
import zlib
from pathlib import Path

import numpy as np
import pytest
import shared_pictures
from small_disks import fill_up, small_disk

from common.terminal import UserError, progress
from learning import bottlenecks, cluster, cluster_crew, cluster_pieces, cluster_worker, shards
from learning.bottleneck_cache import Cache
from learning.cluster_address import Options
from learning.cluster_connection import Connection, Worker
from learning.cluster_crew import Crew, is_seen_here

FINGERPRINT = {"network": "toy", "precision": "float32"}
SIZE = 2


def make_pictures(count):
    return [(f"{number:064x}", f"/pictures/{number}.png") for number in range(count)]


def next_piece(pieces):
    """The next piece of a worker that is alone."""
    return pieces.waiting("tcp://10.0.0.1:1") or pieces.fresh(1)


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
        while piece := next_piece(pieces):
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
        piece = pieces.fresh(2)
        assert pieces.second_copy("b", [(piece, 1)]) == piece  # the other worker is idle
        assert pieces.second_copy("c", [(piece, 1), (piece, 1)]) is None
        pieces.note_death(piece, is_running=True)
        assert pieces.second_copy("b", [(piece, 1)]) is None  # and would be ended, too
        late = cluster_pieces.SLOW + 1  # the first one hangs
        assert pieces.second_copy("b", [(piece, late)]) == piece
        assert pieces.second_copy("c", [(piece, late), (piece, 1)]) is None
        pieces.note_death(piece, is_running=False)
        assert [len(half.pictures) for half in pieces.again] == [10, 10]


def test_what_another_command_has_computed_is_not_given_to_a_worker(cache, tmp_path):
    pictures = make_pictures(100)
    with progress("bottlenecks", 100, "pictures") as bar:
        pieces = cluster_pieces.Pieces(cache, pictures, False, bar)
        other = Cache(str(tmp_path / "cache"), FINGERPRINT, SIZE)
        other.append([key for key, _ in pictures[:60]], np.zeros((60, SIZE)))
        given = []
        while piece := next_piece(pieces):
            given += piece.pictures
            pieces.note_rows([key for key, _ in piece.pictures])
        assert given == pictures[60:] and bar.n == 100


def test_the_last_pictures_are_known_to_be_the_last_ones(cache):
    """Otherwise another worker would be waited for, if the only one has left."""
    pictures = make_pictures(cluster_pieces.LEAST_PICTURES)
    with progress("bottlenecks", len(pictures), "pictures") as bar:
        pieces = cluster_pieces.Pieces(cache, pictures, False, bar)
        assert pieces.fresh(1).pictures == pictures and not pieces.are_done()
        pieces.note_rows([key for key, _ in pictures])
        assert pieces.are_done()


def test_a_picture_is_counted_once_whatever_is_said_of_it(cache):
    (key, _), *_ = pictures = make_pictures(3)
    with progress("bottlenecks", 3, "pictures") as bar:
        pieces = cluster_pieces.Pieces(cache, pictures, False, bar)
        pieces.fresh(1)
        pieces.leave_out(key, "the file is missing")
        pieces.leave_out(key, "it can't be read")
        assert bar.n == 1
        pieces.note_rows([key])  # by another worker, which had read it before
        assert bar.n == 1 and pieces.bad == {}
        pieces.leave_out(key, "it can't be read")  # by a worker that comes late
        assert bar.n == 1 and pieces.bad == {}


def test_the_rows_of_a_shard_are_told_at_once(cache):
    """A bar that heard of one picture first, after the workers had loaded, told of hours."""
    pictures = make_pictures(40)
    heard = []
    bar = types.SimpleNamespace(total=40, update=lambda number=1: heard.append(number))
    pieces = cluster_pieces.Pieces(cache, pictures, False, bar)
    pieces.note_rows([key for key, _ in pieces.fresh(1).pictures])
    assert [number for number in heard if number] == [32]


def test_pictures_that_can_not_be_sent_are_left_out(cache, tmp_path):
    """A damaged database may hold any path."""
    pictures = [
        (key, f"{tmp_path}/{name}") for (key, _), name in zip(make_pictures(2), ("a\0b", "c"))
    ]
    with progress("bottlenecks", 2, "pictures") as bar:
        pieces = cluster_pieces.Pieces(cache, pictures, True, bar)
        assert pieces.read(pieces.fresh(1).pictures) == ([], [])
        assert list(pieces.bad.values()) == ["embedded null byte", bottlenecks.MISSING]


def test_what_a_worker_could_not_read_is_tried_by_others_and_once_more_at_the_end(cache):
    pictures = make_pictures(4)
    first, second = ({key: "Input/output error"} for key, _ in pictures[:2])
    with progress("bottlenecks", 4, "pictures") as bar:
        pieces = cluster_pieces.Pieces(cache, pictures, False, bar)
        pieces.note_unread(pieces.fresh(2), "a", first | second)
        assert pieces.waiting("a") is None
        piece = pieces.waiting("b")
        assert piece.pictures == pictures[:2]
        pieces.note_unread(piece, "b", first)
        pieces.note_unread(piece, "b", second, is_sure=True)
        assert pieces.waiting("a") is pieces.waiting("b") is None
        assert pieces.for_the_last_time().pictures == pictures[1:2]
        pieces.give_up()
        piece = pieces.for_the_last_time()
        assert piece.pictures == pictures[:1] and pieces.bad == {}
        pieces.note_unread(piece, "b", first)
        assert pieces.bad == first and bar.n == 1 and not pieces.are_done()
        pieces.note_rows(key for key, _ in pictures)
        assert pieces.bad == {} and bar.n == 4 and pieces.are_done()


# ---- workers ------------------------------------------------------------------------------------


def make_crew(*names):
    """A crew of loaded workers of these names, each a computer."""
    crew = Crew("tcp://10.0.0.9:8786")
    crew.update({f"tcp://{name}:1": Worker(name, 1, True) for name in names})
    crew.loaded.update(crew.workers)
    return crew, *crew.workers


def make_piece(folder, *tried, count=40):
    """A piece of URLs, or of files in a folder; of the latter the first half is there."""
    paths = [f"{folder}/{number}" for number in range(count)]
    for path in paths[: count // 2] if "://" not in str(folder) else ():
        Path(path).touch()
    pictures = [(f"{number:064x}", path) for number, path in enumerate(paths)]
    return cluster_pieces.Piece(0, pictures, frozenset(tried))


def say_unread(crew, worker, piece):
    """What comes of it if a worker reads no picture of a piece."""
    crew.note_unread(
        worker, [(path, "Input/output error", is_seen_here(path)) for _, path in piece.pictures]
    )


def test_a_worker_that_reads_nothing_gets_nothing_new_while_another_one_can(capsys):
    crew, bad, good = make_crew("bad", "good")
    crew.loaded.discard(good)
    say_unread(crew, bad, make_piece("s3://shop"))
    assert crew.is_trusted(bad, set()) and not crew.is_trusted(bad, {good})  # which loads
    crew.loaded.add(good)
    assert crew.is_trusted(good, set()) and not crew.is_trusted(bad, set())
    crew.update({bad: crew.workers[bad], good: crew.workers[good]._replace(is_ready=False)})
    assert crew.is_trusted(bad, set())


def test_a_worker_that_can_read_none_of_very_many_gets_no_more():
    crew, alone = make_crew("alone")
    for number in range(200):
        assert crew.is_trusted(alone, set())
        say_unread(crew, alone, make_piece("s3://shop"))
        if number == 50:
            crew.note_read(alone)  # it does read
        if not crew.usable():
            break
    assert number == 150
    with pytest.raises(UserError, match="s3://shop/0 .*, nor any other of 4000 pictures"):
        crew.check(are_working=False)


def test_what_this_computer_reads_tells_at_once_who_is_to_blame(tmp_path):
    crew, bad = make_crew("bad")
    say_unread(crew, bad, make_piece(tmp_path))
    assert crew.usable() == []
    with pytest.raises(UserError, match="--send-pictures sends them"):
        crew.check(are_working=False)


def test_one_picture_that_a_worker_can_not_read_costs_no_worker(tmp_path):
    crew, alone = make_crew("alone")
    say_unread(crew, alone, make_piece(tmp_path, count=2))
    assert crew.usable() == [alone]


def test_what_this_computer_knows_of_a_file(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.jpg").touch()
    os.mkfifo(tmp_path / "images" / "pipe")
    known = {"images/1.jpg": True, "images/2.jpg": False, "images/pipe": None, "a\0b": None}
    for path, seen in {**known, "empty/1.jpg": None, "none/1.jpg": None}.items():
        assert is_seen_here(str(tmp_path / path)) is seen, path
    assert is_seen_here("s3://shop/1.jpg") is None


def test_another_worker_at_the_same_address_begins_anew():
    crew, address = make_crew("host")
    crew.note_failure(address, "it lacks weights", at_once=True)
    assert crew.usable() == []
    assert not crew.update(dict(crew.workers)) and crew.usable() == []
    assert crew.update({address: Worker("another", 1, True)})
    assert crew.usable() == [address] and crew.loaded == set()


def test_workers_that_end_while_loading_end_no_run_that_others_compute(capsys):
    crew, _ = make_crew("good")
    for _ in range(3 * cluster_crew.STILLBORN):
        crew.note_stillborn(others_load=False)
    assert capsys.readouterr().err.count("ended while they loaded the network") == 1
    crew.update({})
    with pytest.raises(UserError, match="in the folder of the scripts"):
        crew.note_stillborn(others_load=False)


def test_workers_that_all_end_while_computing_end_the_run_in_words(cache):
    """It is not 10,000 pictures that are to blame."""
    crew, _ = make_crew("small")
    with progress("bottlenecks", 10_000, "pictures") as bar:
        pieces = cluster_pieces.Pieces(cache, make_pictures(10_000), False, bar)
        with pytest.raises(UserError, match="about 2 GB of memory"):
            while piece := next_piece(pieces):
                pieces.note_death(piece, is_running=False)
                crew.note_end()
        assert len(pieces.bad) < 50 and crew.ended == cluster_crew.DEATHS_IN_A_ROW


def test_many_pictures_that_kill_do_not_end_the_run(cache):
    pictures = make_pictures(4_000)
    fatal = {key for key, _ in random.Random(0).sample(pictures, 200)}
    crew, worker = make_crew("one")
    with progress("bottlenecks", 4_000, "pictures") as bar:
        pieces = cluster_pieces.Pieces(cache, pictures, False, bar)
        while piece := next_piece(pieces):
            if fatal & {key for key, _ in piece.pictures}:
                pieces.note_death(piece, is_running=False)
                crew.note_end()
            else:
                pieces.note_rows([key for key, _ in piece.pictures])
                crew.note_read(worker)
        assert set(pieces.bad) == fatal and bar.n == 4_000


def test_a_good_worker_that_has_just_ended_is_waited_for():
    crew, good, bad = make_crew("good", "bad")
    crew.loaded.discard(bad)
    crew.note_failure(bad, "it lacks weights", at_once=True)
    crew.update({bad: crew.workers[bad]})
    crew.check(are_working=False)
    crew.moved -= cluster_crew.PATIENCE + 1
    with pytest.raises(UserError, match="it lacks weights"):
        crew.check(are_working=False)


# ---- what a worker does -------------------------------------------------------------------------


def test_a_copy_that_was_cut_is_no_reason_to_leave_a_picture_out(recipe, tmp_path):
    """Another computer may have a better one. What was sent is the only one."""
    (key, path), *_ = shared_pictures.drawn(tmp_path, 1).items()
    data = path.read_bytes()[:-9]
    path.write_bytes(data)
    for sent, bad, unread in (
        (None, {}, {key: bottlenecks.OTHER_FILE}),
        ({key: data}, {key: bottlenecks.OTHER_FILE}, {}),
    ):
        done = cluster_worker.computed([(key, str(path))], sent, len, 1, recipe)
        assert done[2:] == (bad, unread)
    assert is_seen_here(str(path)) and is_seen_here(str(path), key) is False


def test_a_worker_that_may_not_write_where_shards_lie_sends_its_own(recipe, monkeypatch):
    def refuse(path):
        raise OSError(errno.EROFS, "Read-only file system", path)

    Path(recipe.folder).mkdir()
    (Path(recipe.folder) / "token").touch()
    monkeypatch.setattr(cluster_worker, "load", lambda text, cores: (len, 1))
    monkeypatch.setattr(cluster_worker, "to_bytes", lambda *shard: b"whole")
    monkeypatch.setattr(cluster_worker, "replacing", refuse)
    text = json.dumps(recipe._replace(token="token")._asdict())
    assert cluster_worker.compute_shard(text, 1, zlib.compress(b"[]")) == b"whole"


# ---- shards -------------------------------------------------------------------------------------


def whole(recipe, keys, rows=None, bad=None, unread=None):
    """The bytes of a shard's file, without TensorFlow's version."""
    rows = np.ones((len(keys), SIZE), np.float32) if rows is None else rows
    header = {
        **shards.described(recipe),
        "keys": keys,
        "sums": [zlib.crc32(row) for row in rows],
        "bad": bad or {},
        "unread": unread or {},
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
    "a row that is unread, too": lambda recipe: whole(recipe, KEYS, unread={KEYS[0]: "it is gone"}),
    "a reason that is none": lambda recipe: whole(recipe, KEYS[:3], unread={KEYS[3]: 1}),
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
    (folder / f"d{shards.ENDING}.{16 * '0'}.tmp").write_text("of a killed worker")
    (folder / f"{shards.TOKEN}1").write_text("of a killed command")
    shards.adopt_all(cache, recipe)
    assert (cache.find(KEYS) >= 0).all()
    assert sorted(path.name for path in folder.iterdir()) == ["c.shard", "notes.txt"]
    said = capsys.readouterr().err
    assert "4 bottlenecks" in said and "b.shard" in said and "c.shard" in said
    shards.adopt_all(cache, recipe)
    assert "4 bottlenecks" not in capsys.readouterr().err


def test_the_reasons_of_a_whole_shard_fit_into_its_first_line(cache, recipe, tmp_path):
    keys = [key for key, _ in make_pictures(shards.MOST_PICTURES)]
    path = tmp_path / f"some{shards.ENDING}"
    path.write_bytes(whole(recipe, [], np.zeros((0, SIZE)), dict.fromkeys(keys, "\u0436" * 120)))
    assert len(shards.adopt(cache, recipe, str(path), keys).bad) == len(keys)


def test_a_shard_that_was_sent_here_and_is_adopted_by_another_command_loses_nothing(
    cache, recipe, tmp_path
):
    pictures = make_pictures(100)
    Path(recipe.folder).mkdir()
    options, ended = Options("local:1"), threading.Event()

    def another_command():
        other = Cache(str(tmp_path / "cache"), FINGERPRINT, SIZE)
        while not ended.is_set():
            shards.adopt_all(other, recipe)

    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        progress("bottlenecks", 100, "pictures") as bar,
    ):
        other = pool.submit(another_command)
        pieces = cluster_pieces.Pieces(cache, pictures, False, bar)
        run = cluster.Run(options, Connection(options), cache, pieces, recipe)
        try:
            for number, (key, _) in enumerate(pictures):
                piece = cluster_pieces.Piece(number, pieces.take(1))
                task = cluster.Task(piece, [key], "tcp://10.0.0.1:1", "name", 0.0, None)
                sent_to = os.path.join(recipe.folder, shards.file_name(recipe, [key]))
                run.take_shard(task, sent_to, whole(recipe, [key]))
        finally:
            ended.set()
        other.result()
        assert (cache.find([key for key, _ in pictures]) >= 0).all() and not pieces.again
        assert bar.n == 100 and run.crew.unusable == {}


def test_a_full_disk_of_the_cache_is_not_said_of_a_shard(tmp_path, small_disk, capsys):
    cache = Cache(str(small_disk / "cache"), FINGERPRINT, 2048)
    recipe = shards.recipe(cache, FINGERPRINT, "random", 0, "mixed0")
    rows = np.ones((len(KEYS), 2048), np.float32)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / f"a{shards.ENDING}").write_bytes(whole(recipe, KEYS, rows))
    recipe = recipe._replace(folder=str(tmp_path / "shards"))
    fill_up(small_disk / "ballast")
    with pytest.raises(OSError, match="No space left") as raised:
        shards.adopt_all(cache, recipe)
    assert raised.value.filename == cache.data_path and "remove it" not in capsys.readouterr().err
    (small_disk / "ballast").unlink()
    shards.adopt_all(cache, recipe)
    assert (cache.find(KEYS) >= 0).all()


def test_a_link_in_place_of_the_folder_of_shards_is_not_followed(cache, recipe, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / f"a{shards.ENDING}").write_bytes(whole(recipe, KEYS))
    (tmp_path / "cache" / recipe.folder).symlink_to(other)
    shards.adopt_all(cache, recipe)
    assert cache.count == 0 and list(other.iterdir())
