"""A command and the workers of its cluster, killed at any moment: in the end the cache holds what one
computer by itself computes, bit by bit, and each row once.

    pytest tests/test_cluster_kills.py
"""

import os
import random
import signal
import time

import cluster_runs
import pytest
from cluster_runs import Command, make_pictures, records_of, rows_of
from clusters import cluster, wait_until

pytest.importorskip("distributed", reason="requirements-cluster.txt is not installed")
PICTURES = 200


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures"), PICTURES)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, pictures):
    """The rows that this process computes by itself."""
    return cluster_runs.rows_alone(tmp_path_factory.mktemp("alone"), pictures)


def kill_and_go_on(made, command, victim, start):
    """Kill the command, the process of a worker that computes, or a worker with its nanny. Returns
    the command that goes on."""
    if victim == "command":
        command.kill()
        return start()
    if victim.startswith("all of "):
        name = victim.removeprefix("all of ")
        made.kill(name)
        made.start_worker(name, wait=False)
    else:
        os.kill(made.computing(victim), signal.SIGKILL)
    return command


def wait_for_rows(cache, command):
    """Wait until there are more rows than now, or the command has ended."""
    before = len(records_of(cache))
    wait_until(lambda: command.process.poll() is not None or len(records_of(cache)) > before, 180)


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(3, marks=[pytest.mark.slow, pytest.mark.redteam]),
        pytest.param(20, marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment(tmp_path, pictures, alone, kills):
    rng = random.Random(22)
    left, turn = kills, 0
    victims = ["command", "command", "a", "b", "all of a"]
    with cluster(tmp_path / "cluster", "a", "b") as made:
        while left > 0:
            turn += 1
            cache = tmp_path / f"cache-{turn}"

            def start(cache=cache):
                return Command(made, cache, pictures)

            command = start()
            while left > 0:
                if rng.random() < 0.5:  # else a worker would be killed before its first shard
                    wait_for_rows(cache, command)
                time.sleep(rng.uniform(0.1, 4))
                if command.process.poll() is not None:
                    break  # done: another turn, with nothing in its cache
                command = kill_and_go_on(made, command, rng.choice(victims), start)
                left -= 1
            status, bad, stderr = command.end()
            assert (status, bad) == (0, {}), stderr
            assert rows_of(cache) == alone
            assert len(records_of(cache)) == PICTURES
