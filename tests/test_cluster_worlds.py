"""Runs on clusters that are simulated: real runs, caches and shards, but workers that compute nothing,
fail in all the ways that were thought of, and a clock that goes a second a step.

In each world the run ends, each picture that a good worker reads has a row, and each other one is
left out once. Real clusters are in test_cluster_trouble.py.

    pytest tests/test_cluster_worlds.py
"""

import json
import os
import random
import types
import zlib
from pathlib import Path

import numpy as np
import pytest

from common.terminal import UserError, progress
from learning import bottlenecks, cluster, cluster_crew, shards
from learning.bottleneck_cache import Cache
from learning.cluster_address import Options
from learning.cluster_connection import ConnectionLost, Worker
from learning.cluster_pieces import Pieces

FINGERPRINT, SIZE = {"network": "toy", "precision": "float32"}, 2


class Future:
    """What a worker was asked for."""

    def __init__(self, key, address, arguments, due):
        self.key, self.address, self.arguments, self.due = key, address, arguments, due
        self.status, self.value = "pending", None

    def add_done_callback(self, function):
        self.tell = function

    def cancel(self):
        self.status = "cancelled"

    def finish(self, value):
        self.status, self.value = "finished", value
        self.tell(self)


class Simulated:
    """A worker. It reads what reads(number of the picture, seconds) says: True, or False if it can't
    be read; it takes so many seconds to load and for each piece, and ends by what it is asked for if
    ends(numbers, seconds)."""

    def __init__(
        self, reads=lambda number, now: True, load=0, takes=0, comes=0, ready=True, **more
    ):
        self.reads, self.load, self.takes, self.comes, self.ready = reads, load, takes, comes, ready
        self.ends = more.get("ends", lambda numbers, now: False)
        self.sees_folder = more.get("sees_folder", True)
        self.is_private = more.get("is_private", False)  # nobody else can read its files
        self.hangs_at = more.get("hangs_at")  # "load" or "piece"
        self.hangs_from = more.get("hangs_from", 0)  # the second
        self.is_paused = more.get("is_paused", lambda now: False)


class World:
    """A scheduler and its workers, as cluster_connection.Connection shows them, and a clock."""

    def __init__(self, workers, monkeypatch):
        self.workers_by_address, self.now, self.tasks, self.started = dict(workers), 0.0, [], 0
        clock = types.SimpleNamespace(monotonic=lambda: self.now, sleep=lambda seconds: None)
        for module in (cluster, cluster_crew):
            monkeypatch.setattr(module, "time", clock)
        self.names = {address: f"{address}#0" for address in self.workers_by_address}
        self.back_after = None  # seconds after which one that has ended is there again
        self.reason = "Access denied"  # why a picture can't be read

    # ---- what Connection has

    def is_up(self):
        return True

    def workers(self, before):
        return {
            address: Worker(self.names[address], 1, worker.ready and not worker.is_paused(self.now))
            for address, worker in self.workers_by_address.items()
            if worker.comes <= self.now
        }

    def submit(self, function, recipe, share, names, data, worker, key):
        pictures, does = json.loads(zlib.decompress(names)), self.workers_by_address[worker]
        takes = does.takes if pictures else does.load
        if does.hangs_at == ("piece" if pictures else "load") and self.now >= does.hangs_from:
            takes = 1e9
        arguments = (json.loads(recipe), [(key, path) for key, path in pictures])
        self.tasks.append(Future(key, worker, arguments, self.now + takes))
        return self.tasks[-1]

    def result(self, future):
        if future.status == "cancelled":
            raise ConnectionLost
        return future.value

    # ---- what workers do

    def tick(self):
        """A second goes by."""
        self.now += 1
        due = [task for task in self.tasks if task.due <= self.now and task.status == "pending"]
        self.tasks = [task for task in self.tasks if task not in due]
        for task in due:
            if task.address in self.workers_by_address:
                self.answer(task, self.workers_by_address[task.address])

    def answer(self, task, worker):
        recipe, pictures = shards.Recipe(**task.arguments[0]), task.arguments[1]
        numbers = [int(key, 16) for key, _ in pictures]
        if worker.ends(numbers, self.now):
            del self.workers_by_address[task.address]
            if self.back_after is not None:
                self.started += 1
                worker.comes = self.now + self.back_after
                address = f"{task.address.rpartition(':')[0]}:{9000 + self.started}"
                self.workers_by_address[address] = worker
                self.names[address] = f"{address}#{self.started}"
            return
        read = [worker.reads(number, self.now) for number in numbers]
        keys = [key for (key, _), good in zip(pictures, read) if good]
        unread = {key: self.reason for (key, _), good in zip(pictures, read) if not good}
        whole = shards.to_bytes(recipe, keys, np.ones((len(keys), SIZE), np.float32), {}, unread)
        if not pictures:
            task.finish(None)
        elif worker.sees_folder and recipe.token != cluster.NO_FOLDER and not unread:
            path = os.path.join(recipe.folder, shards.file_name(recipe, keys))
            if worker.is_private:  # not even root opens a link in place of a file
                os.path.lexists(path) or os.symlink(os.devnull, path)
            else:
                Path(path).write_bytes(whole)
            task.finish(None)
        else:
            task.finish(whole)

    def run(self, folder, pictures, seconds=3000):
        """Run to the end: (run, pieces, rows). Raises what the run raises, and AssertionError if it
        has not ended by then, or has counted wrongly."""
        cache = Cache(str(folder / "cache"), FINGERPRINT, SIZE)
        recipe = shards.recipe(cache, FINGERPRINT, "random", 0, "mixed0")
        with progress("bottlenecks", len(pictures), "pictures") as bar:
            pieces = Pieces(cache, pictures, False, bar)
            with cluster.folder_with_token(recipe.folder) as token:
                options = Options("tcp://10.9.9.9:8786")
                run = cluster.Run(options, self, cache, pieces, recipe._replace(token=token))
                take = run.take_answers
                run.take_answers = lambda wait: take(0)  # the clock does not wait
                while run.step():
                    self.tick()
                    assert self.now < seconds, "it never ends"
            assert bar.n == len(pictures) == cache.count + len(pieces.bad)
        return run, pieces, cache.count


def make_pictures(count, folder="s3://shop"):
    return [(f"{number:064x}", f"{folder}/{number}.jpg") for number in range(count)]


def nothing(number, now):
    return False


def all_but(*numbers):
    return lambda number, now: number not in numbers


def busy(start, end):
    """A store that answers nobody for some seconds."""
    return lambda number, now: not start <= now < end


def hosts(*workers):
    """{address: worker}, each on a computer of its own."""
    return {f"tcp://10.0.0.{number}:1": worker for number, worker in enumerate(workers, 1)}


def one_host(*workers):
    return {f"tcp://10.0.0.1:{number}": worker for number, worker in enumerate(workers, 1)}


GOOD = Simulated
SLOW_ONE = 17  # seconds for each piece
# name: (workers, how many pictures, how many nobody can read)
WORLDS = {
    "good": (lambda: hosts(GOOD()), 100, 0),
    "a bad one that is faster": (lambda: hosts(GOOD(nothing), GOOD(takes=9)), 3000, 0),
    "a bad one beside it": (lambda: one_host(GOOD(nothing), GOOD(takes=9)), 3000, 0),
    "two bad computers of three": (
        lambda: hosts(GOOD(nothing), GOOD(nothing), GOOD(takes=SLOW_ONE)),
        3000,
        0,
    ),
    "a bad one that comes later": (
        lambda: hosts(GOOD(nothing), GOOD(nothing, load=5), GOOD(takes=SLOW_ONE)),
        8000,
        0,
    ),
    "a bad one, and one that loads for long": (
        lambda: hosts(GOOD(nothing), GOOD(load=200)),
        3000,
        0,
    ),
    "nobody can read some": (lambda: one_host(*(GOOD(all_but(3, 4)) for _ in range(8))), 5, 2),
    "nobody can read one, on two computers": (
        lambda: hosts(GOOD(all_but(7)), GOOD(all_but(7), takes=3)),
        3000,
        1,
    ),
    "one worker can't read one": (lambda: hosts(GOOD(all_but(7)), GOOD(takes=5)), 33, 0),
    "the only worker can't read one": (lambda: hosts(GOOD(all_but(7))), 33, 1),
    "the only worker can't read any": (lambda: hosts(GOOD(nothing)), 300, 300),
    "a store busy for all": (
        lambda: hosts(*(GOOD(busy(10, 13), takes=1) for _ in "ab")),
        20_000,
        0,
    ),
    "a store busy for one computer": (
        lambda: one_host(*(GOOD(busy(10, 13), takes=1) for _ in "abcd")),
        20_000,
        0,
    ),
    "a store busy for the only one": (lambda: hosts(GOOD(busy(3, 4), takes=1)), 4000, 0),
    "another hangs while it loads": (
        lambda: hosts(GOOD(all_but(7)), GOOD(hangs_at="load")),
        100,
        1,
    ),
    "another hangs at its piece": (lambda: hosts(GOOD(all_but(7)), GOOD(hangs_at="piece")), 100, 1),
    "another is paused": (lambda: hosts(GOOD(all_but(*range(32))), GOOD(ready=False)), 100, 32),
    "two hang, and the others take turns": (
        lambda: one_host(
            GOOD(all_but(*range(5)), load=4, takes=9),
            GOOD(load=20, comes=3, hangs_at="piece"),
            GOOD(all_but(*range(5)), load=4, takes=9, comes=40, hangs_at="piece", hangs_from=50),
            GOOD(nothing, comes=3, takes=30),
            GOOD(all_but(*range(5)), load=1, takes=30),
        ),
        32,
        5,
    ),
    "another comes and hangs": (
        lambda: hosts(GOOD(all_but(7)), GOOD(hangs_at="piece", comes=4)),
        20,
        1,
    ),
    "another hangs while one is in doubt": (
        lambda: hosts(GOOD(busy(60, 64), takes=3), GOOD(takes=3, hangs_at="piece", hangs_from=50)),
        60_000,
        0,
    ),
    "the good one is paused for a while": (
        lambda: hosts(GOOD(takes=5, is_paused=lambda now: 20 < now < 120), GOOD(nothing)),
        3000,
        0,
    ),
    "files that can't be read here": (
        lambda: hosts(GOOD(is_private=True), GOOD(is_private=True)),
        500,
        0,
    ),
    "folders that are not the same": (
        lambda: hosts(GOOD(all_but(7), sees_folder=False), GOOD(takes=2)),
        500,
        0,
    ),
}


@pytest.mark.parametrize("name", WORLDS)
def test_a_world(tmp_path, monkeypatch, name):
    workers, count, unreadable = WORLDS[name]
    run, pieces, _ = World(workers(), monkeypatch).run(tmp_path, make_pictures(count))
    assert len(pieces.bad) == unreadable
    assert set(pieces.bad.values()) <= {"Access denied"} and run.crew.unusable == {}


def test_a_good_worker_that_ends_while_a_bad_one_is_in_doubt_is_waited_for(tmp_path, monkeypatch):
    ended = []

    def ends(numbers, now):
        if now >= 6 and not ended:
            ended.append(now)
        return len(ended) == 1 and now == ended[0]

    world = World(hosts(GOOD(takes=5, ends=ends), GOOD(nothing)), monkeypatch)
    world.back_after = 20
    assert world.run(tmp_path, make_pictures(3000))[1].bad == {}


def test_if_those_who_could_read_are_gone_the_others_are_not_believed(
    tmp_path, monkeypatch, capsys
):
    good = GOOD(takes=5, ends=lambda numbers, now: now >= 20)
    world = World(hosts(good, GOOD(nothing)), monkeypatch)
    with pytest.raises(UserError, match="that could read the pictures .* are gone"):
        world.run(tmp_path, make_pictures(3000))
    assert "memory" not in capsys.readouterr().err  # nobody is paused


def test_if_the_only_one_who_could_read_hangs_the_others_are_not_believed(
    tmp_path, monkeypatch, capsys
):
    good = GOOD(takes=5, hangs_at="piece", hangs_from=9)
    world = World(hosts(good, GOOD(nothing)), monkeypatch)
    with pytest.raises(UserError, match="that could read the pictures .* are gone, or hang"):
        world.run(tmp_path, make_pictures(3000))
    assert "no answer for over 5 minutes of tcp://10.0.0.1:1" in capsys.readouterr().err


def test_workers_that_end_while_loading_again_and_again_are_not_waited_for(tmp_path, monkeypatch):
    bad = [
        GOOD(load=20, comes=4 * turn, ends=lambda numbers, now: not numbers) for turn in range(5)
    ]
    world = World(hosts(GOOD(all_but(7)), *bad), monkeypatch)
    world.back_after = 5
    assert len(world.run(tmp_path, make_pictures(100))[1].bad) == 1


def test_a_worker_without_its_folder_gets_few_pictures_if_others_lie_at_that_place(
    tmp_path, monkeypatch
):
    (tmp_path / "other.jpg").touch()
    world = World(hosts(GOOD(nothing), GOOD(takes=9)), monkeypatch)
    assert world.run(tmp_path, make_pictures(3000, tmp_path))[1].bad == {}


def test_pictures_that_were_replaced_since_the_crawl_cost_no_worker(tmp_path, monkeypatch):
    """Here are other files, too."""
    pictures = make_pictures(5, tmp_path)
    for _, path in pictures:
        Path(path).touch()
    world = World(hosts(GOOD(nothing)), monkeypatch)
    world.reason = bottlenecks.OTHER_FILE
    assert world.run(tmp_path, pictures)[1].bad == {key: world.reason for key, _ in pictures}


def test_pictures_that_kill_side_by_side_end_no_run(tmp_path, monkeypatch):
    fatal = set(range(100, 130))
    worker = GOOD(ends=lambda numbers, now: not fatal.isdisjoint(numbers))
    world = World(hosts(worker), monkeypatch)
    world.back_after = 1
    _, pieces, rows = world.run(tmp_path, make_pictures(4000))
    assert {int(key, 16) for key in pieces.bad} == fatal and rows == 4000 - len(fatal)


def test_workers_that_end_while_loading_do_not_end_a_run_in_which_another_one_loads(
    tmp_path, monkeypatch
):
    bad = [GOOD(ends=lambda numbers, now: True) for _ in range(cluster_crew.STILLBORN)]
    world = World(hosts(*bad, GOOD(load=9)), monkeypatch)
    assert world.run(tmp_path, make_pictures(50))[1].bad == {}


def drawn_world(seed):
    """({address: worker}, number of pictures, those that nobody can read, those that kill)."""
    rng = random.Random(seed)
    count = rng.choice([1, 5, 33, 100, 700])
    numbers = rng.sample(range(count), min(count, rng.choice([0, 1, 5])))
    fatal = set(rng.sample(range(count), rng.choice([0, 0, 1]))) - set(numbers)
    workers = {}
    for number, kind in enumerate(
        ["good", *rng.choices(["good", "bad", "half"], k=rng.randrange(4))]
    ):
        reads = {
            "good": all_but(*numbers),
            "bad": nothing,
            "half": lambda number, now: number % 2 == 0 and number not in numbers,
        }[kind]
        workers[f"tcp://10.0.0.{rng.choice([1, 2, 3])}:{number}"] = GOOD(
            reads,
            load=rng.choice([0, 1, 4]),
            takes=rng.choice([0, 2, 9]),
            comes=rng.choice([0, 3]) if kind != "good" else 0,
            sees_folder=rng.random() < 0.6,
            ends=lambda numbers, now: not fatal.isdisjoint(numbers),
        )
    shuffled = list(workers.items())
    rng.shuffle(shuffled)
    return dict(shuffled), count, set(numbers), fatal


@pytest.mark.parametrize("seed", range(60))
def test_any_world_ends_with_what_a_good_worker_reads(tmp_path, monkeypatch, seed):
    workers, count, unreadable, fatal = drawn_world(seed)
    world = World(workers, monkeypatch)
    world.back_after = 1
    _, pieces, _ = world.run(tmp_path, make_pictures(count))
    assert {int(key, 16) for key in pieces.bad} == unreadable | fatal
