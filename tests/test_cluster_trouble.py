"""Bottlenecks computed on a real cluster while it breaks: workers that end, hang, keep Python's lock
or can't be reached, a scheduler that is lost, pictures that kill whoever opens them.

In the end the cache must hold what one computer by itself computes, bit by bit.

    pytest tests/test_cluster_trouble.py
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import cluster_runs
import pytest
import trouble
from cluster_runs import Command, Hold, computed, make_pictures, make_trouble, records_of, rows_of
from clusters import cluster, free_port, network_of_three, wait_until
from conftest import REPO

from learning import cluster_crew, cluster_pieces

pytest.importorskip("distributed", reason="requirements-cluster.txt is not installed")
PRELOAD = ("--preload", REPO / "tests" / "trouble.py")
PICTURES = 96


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures"), PICTURES)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, pictures):
    """The rows that this process computes by itself."""
    return cluster_runs.rows_alone(tmp_path_factory.mktemp("alone"), pictures)


@pytest.fixture
def hold(tmp_path):
    return Hold(tmp_path / "trouble")


@contextlib.contextmanager
def troubled(folder, hold, *workers, arguments=(), **more):
    """A cluster whose workers know trouble.py."""
    with cluster(folder, **more) as made:
        for name in workers:
            made.start_worker(name, *PRELOAD, *arguments, env=hold.env)
        yield made


@pytest.mark.slow
def test_a_picture_that_kills_its_worker_costs_that_picture_alone(tmp_path, pictures, alone, hold):
    crash = make_trouble(tmp_path / "crash.png", trouble.CRASH)
    mixed = [*pictures[:40], crash, *pictures[40:]]
    with troubled(tmp_path / "cluster", hold, "a", "b") as made:
        status, bad, stderr = Command(made, tmp_path / "cache", mixed).end(900)
        starts = sum(made.log(name).count("Registered to") for name in "ab")
    assert status == 0, stderr
    assert bad == {crash[0]: cluster_pieces.KILLED} and crash[1] in stderr
    assert starts - 2 <= 2 + 6 + 3  # as a whole, of a half each, and alone
    assert "workers ended while computing" in stderr
    assert rows_of(tmp_path / "cache") == alone


@pytest.mark.slow
def test_a_worker_that_comes_back_at_its_address_is_not_to_blame_for_a_picture(tmp_path, hold):
    """Dask itself gives the task to it again, until it gives up."""
    crash = make_trouble(tmp_path / "crash.png", trouble.CRASH)
    port = ["--worker-port", free_port()]
    with troubled(tmp_path / "cluster", hold, "a", arguments=port) as made:
        status, bad, stderr = Command(made, tmp_path / "cache", [crash]).end()
    assert status == 0 and bad == {crash[0]: cluster_pieces.KILLED}, stderr
    assert "gets no pictures" not in stderr


@pytest.mark.slow
def test_workers_that_end_before_they_get_pictures_end_the_run_and_blame_none(tmp_path, pictures):
    """Started in another folder, they know no module of this project."""
    (tmp_path / "elsewhere").mkdir()
    with cluster(tmp_path / "cluster") as made:
        command = Command(made, tmp_path / "cache", pictures[:4])
        for number in range(cluster_crew.STILLBORN):
            made.start_worker(
                f"w{number}", "--no-nanny", prefix=("env", "-C", tmp_path / "elsewhere")
            )
            wait_until(lambda name=f"w{number}": made.has_ended(name), what="it did not end")
        status, _, stderr = command.end()
    assert status == 2 and "in the folder of the scripts" in stderr, stderr
    assert "can't be read" not in stderr


@pytest.mark.slow
def test_a_scheduler_that_was_started_in_another_folder_is_named(tmp_path, pictures):
    """It has to know what it passes on."""
    (tmp_path / "elsewhere").mkdir()
    with cluster(tmp_path / "cluster", prefix=("env", "-C", tmp_path / "elsewhere")) as made:
        made.start_worker("a")
        status, _, stderr = Command(made, tmp_path / "cache", pictures[:4]).end()
    assert status == 2 and "the scheduler at" in stderr.splitlines()[-1], stderr
    assert "no worker" not in stderr


@pytest.mark.slow
def test_pictures_that_are_missing_here_too_cost_no_worker(tmp_path, pictures, hold):
    gone = [(f"{number:064x}", str(tmp_path / f"{number}.png")) for number in range(80)]
    with troubled(tmp_path / "cluster", hold, "a") as made:
        bad = computed(made, tmp_path / "cache", [*gone, *pictures[:8]])
    assert bad == {key: "the file is missing" for key, _ in gone}
    assert set(rows_of(tmp_path / "cache")) == {key for key, _ in pictures[:8]}


# A scheduler takes a worker for dead that is silent for so long. On a busy computer it is silent for
# some seconds while it loads TensorFlow.
IMPATIENT = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "15s"}


@pytest.mark.slow
def test_a_task_that_keeps_pythons_lock_past_the_schedulers_patience(
    tmp_path, pictures, alone, hold
):
    greedy = make_trouble(tmp_path / "greedy.png", trouble.KEEPS_GIL)
    with troubled(tmp_path / "cluster", hold, "a", "b", env=IMPATIENT) as made:
        assert set(computed(made, tmp_path / "cache", [greedy])) <= {greedy[0]}
        assert computed(made, tmp_path / "cache", pictures) == {}
    rows = rows_of(tmp_path / "cache")
    rows.pop(greedy[0], None)
    assert rows == alone


@pytest.mark.slow
def test_nobody_is_blamed_for_waiting(tmp_path, pictures, alone, hold):
    """Dask blames all tasks that a worker had when it ended, and gives up one that was blamed three
    times. Here each worker has one, and a killed one's goes to another worker."""
    with troubled(tmp_path / "cluster", hold, "a", "b") as made:
        command = Command(made, tmp_path / "cache", pictures)
        for _ in range(5):
            hold.on()
            hold.wait_for(2)
            os.kill(made.computing("a"), signal.SIGKILL)
            os.kill(made.computing("b"), signal.SIGKILL)
            hold.off()
            time.sleep(1)
        status, bad, stderr = command.end()
    assert (status, bad) == (0, {}), stderr
    assert rows_of(tmp_path / "cache") == alone


@pytest.mark.slow
def test_workers_come_and_go(tmp_path, pictures, alone, hold):
    with troubled(tmp_path / "cluster", hold, "first") as made:
        hold.on()
        command = Command(made, tmp_path / "cache", pictures)
        hold.wait_for(1)
        made.start_worker("second", *PRELOAD, env=hold.env)
        hold.wait_for(2)
        made.kill("first")
        hold.off()
        made.start_worker("third", *PRELOAD, env=hold.env)
        status, bad, stderr = command.end()
    assert (status, bad) == (0, {}), stderr
    assert rows_of(tmp_path / "cache") == alone


@pytest.mark.slow
def test_a_worker_that_comes_between_two_commands(tmp_path, pictures, alone, hold):
    """The first one has its threads already, and can't change them."""
    with troubled(tmp_path / "cluster", hold, "first") as made:
        assert computed(made, tmp_path / "one", pictures[:8]) == {}
        made.start_worker("second", *PRELOAD, env=hold.env)
        hold.on()
        command = Command(made, tmp_path / "two", pictures)
        hold.wait_for(2)
        hold.off()
        status, bad, stderr = command.end()
    assert (status, bad) == (0, {}) and "gets no pictures" not in stderr, stderr
    assert rows_of(tmp_path / "two") == alone


@pytest.mark.slow
def test_a_command_waits_for_its_first_worker(tmp_path, pictures, alone, hold):
    with troubled(tmp_path / "cluster", hold) as made:
        command = Command(made, tmp_path / "cache", pictures)
        time.sleep(3)
        made.start_worker("late", *PRELOAD, env=hold.env)
        assert command.end()[:2] == (0, {})
    assert rows_of(tmp_path / "cache") == alone


@pytest.mark.slow
def test_a_scheduler_that_is_lost_ends_the_command_and_another_run_ends_the_work(
    tmp_path, pictures, alone, hold
):
    with troubled(tmp_path / "cluster", hold, "a", "b") as made:
        command = Command(made, tmp_path / "cache", pictures)
        wait_until(lambda: len(rows_of(tmp_path / "cache")) > 30, 120)
        hold.on()
        hold.wait_for(2)
        made.kill("scheduler")
        status, _, stderr = command.end(120)
        assert status == 1 and "Traceback" not in stderr
        assert "the scheduler at" in stderr.splitlines()[-1]
        hold.off()
        for name in ("a", "b"):  # they end by themselves
            wait_until(lambda name=name: made.has_ended(name))
        made.start_scheduler()
        made.start_worker("c", *PRELOAD, env=hold.env)
        assert computed(made, tmp_path / "cache", pictures) == {}
    assert rows_of(tmp_path / "cache") == alone


@pytest.mark.slow
def test_a_worker_that_everybody_gave_up_writes_late(tmp_path, pictures, alone, hold):
    cache = tmp_path / "cache"
    with troubled(tmp_path / "cluster", hold, "dead") as made:
        hold.on()
        command = Command(made, cache, pictures)
        hold.wait_for(1)
        made.kill("dead", signal.SIGSTOP)
        hold.off()
        made.start_worker("alive", *PRELOAD, env=hold.env)
        status, bad, stderr = command.end()
        assert (status, bad) == (0, {}), stderr
        assert rows_of(cache) == alone
        # The command has removed the folder of shards. Another one would have made it by now.
        Path(cluster_runs.open_cache(cache).data_path + ".shards").mkdir()
        made.kill("dead", signal.SIGCONT)
        wait_until(lambda: list(cache.glob("*.shards/*.shard")), 120)  # a zombie's
        assert computed(made, cache, pictures) == {}
    assert rows_of(cache) == alone and len(records_of(cache)) == PICTURES
    assert not list(cache.glob("*.shards/*"))


def hidden(folder):
    """What stands before a command that is to see nothing in a folder; None if that can't be."""
    prefix = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder))
    if shutil.which("unshare") is None:
        return None
    return (
        prefix if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0 else None
    )


@pytest.mark.slow
@pytest.mark.parametrize("send", [False, True], ids=["paths", "sent"])
def test_a_worker_that_has_no_folder_in_common_with_the_command(
    tmp_path, pictures, alone, hold, send
):
    cache, copies = tmp_path / "here" / "cache", tmp_path / "here" / "copies"
    cache.mkdir(parents=True)
    if hidden(tmp_path / "here") is None:
        pytest.skip("a folder can't be hidden from a process here")
    if send:
        shutil.copytree(os.path.dirname(pictures[0][1]), copies)
        pictures = [(key, str(copies / os.path.basename(path))) for key, path in pictures]
    with cluster(tmp_path / "cluster") as made:
        prefix = hidden(tmp_path / "here")
        for name in ("far", "farther"):
            made.start_worker(name, *PRELOAD, prefix=prefix, env=hold.env)
        assert computed(made, cache, pictures, send_pictures=send) == {}
        if send:  # and without the flag, the command names the path where the worker looked
            status, _, stderr = Command(made, tmp_path / "here" / "other", pictures).end()
            assert status != 0 and pictures[0][1] in stderr and "--send-pictures" in stderr
            assert "Traceback" not in stderr
    assert rows_of(cache) == alone


def covered(folder, by):
    """What stands before a command that is to see another folder in place of a folder; None if that
    can't be."""
    prefix = ("unshare", "-rm", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"')
    prefix = (*prefix, str(by), str(folder))
    if shutil.which("unshare") is None:
        return None
    return (
        prefix if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0 else None
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, trouble_of", [("path", "no plain files"), ("url", "gone"), ("path", "cut")]
)
def test_a_worker_that_reads_no_picture_costs_none(tmp_path, alone, hold, kind, trouble_of):
    """Its folder of pictures is not what it should be, so that it is the faster of the two."""
    images, other = tmp_path / "images", tmp_path / "other"
    pictures = make_pictures(images, PICTURES)
    other.mkdir()
    if trouble_of == "no plain files":
        for _, path in pictures:
            (other / os.path.basename(path)).mkdir()
    elif trouble_of == "cut":
        for _, path in pictures:
            (other / os.path.basename(path)).write_bytes(Path(path).read_bytes()[:-9])
    prefix = covered(images, other)
    if prefix is None:
        pytest.skip("a folder can't be covered for a process here")
    if kind == "url":
        pictures = [(key, f"file://{path}") for key, path in pictures]
    with troubled(tmp_path / "cluster", hold, "good") as made:
        made.start_worker("bad", *PRELOAD, prefix=prefix, env=hold.env)
        status, bad, stderr = Command(made, tmp_path / "cache", pictures).end()
    assert (status, bad) == (0, {}), stderr
    # This computer can read a path, and so knows who is to blame.
    what = "gets no pictures: it can't read" if kind == "path" else "which another one could"
    assert stderr.count(what) == 1
    assert rows_of(tmp_path / "cache") == alone


@pytest.mark.slow
def test_a_picture_that_the_only_worker_can_not_read_is_left_out(tmp_path, hold):
    """A pipe is none, and it is not waited for."""
    images = tmp_path / "images"
    good, (key, path) = make_pictures(images, 2)
    os.remove(path)
    os.mkfifo(path)
    url = (f"{1:064x}", f"file://{images / 'gone.png'}")
    with troubled(tmp_path / "cluster", hold, "only") as made:
        bad = computed(made, tmp_path / "cache", [good, (key, path), url])
        assert bad == {key: "it is no plain file", url[0]: "the file is missing"}
        assert set(rows_of(tmp_path / "cache")) == {good[0]}
        assert set(computed(made, tmp_path / "cache", [url])) == {url[0]}  # and nothing else


@pytest.mark.slow
def test_pictures_that_nobody_can_read_end_a_second_run(tmp_path, pictures, hold):
    """Three workers of one computer have loaded the network, and there is nothing else to do."""
    gone = [(f"{number:064x}", f"file://{tmp_path}/{number}.png") for number in range(5)]
    with troubled(tmp_path / "cluster", hold, "a", "b", "c") as made:
        for _ in range(2):
            bad = computed(made, tmp_path / "cache", [*pictures[:6], *gone])
            assert bad == {key: "the file is missing" for key, _ in gone}


@pytest.mark.slow
def test_a_folder_of_pictures_that_goes_away_meanwhile(tmp_path, alone, hold):
    """What the worker could read is kept, and the command says why it does not go on."""
    images = tmp_path / "images"
    pictures = make_pictures(images, PICTURES)
    (tmp_path / "other").mkdir()
    prefix = covered(tmp_path / "other", tmp_path / "other")
    if prefix is None:
        pytest.skip("a folder can't be covered for a process here")
    with troubled(tmp_path / "cluster", hold) as made:
        made.start_worker("only", *PRELOAD, prefix=prefix, env=hold.env)
        hold.on()
        command = Command(made, tmp_path / "cache", pictures)
        hold.wait_for(1)
        within = (
            "nsenter",
            "-t",
            str(made.computing("only")),
            "-U",
            "-m",
            "--preserve-credentials",
        )
        subprocess.run([*within, "mount", "--bind", tmp_path / "other", images], check=True)
        hold.off()
        status, _, stderr = command.end()
    assert status == 2 and "--send-pictures sends them" in stderr.splitlines()[-1], stderr
    with troubled(tmp_path / "again", hold, "whole") as made:
        assert computed(made, tmp_path / "cache", pictures) == {}
    assert rows_of(tmp_path / "cache") == alone


@pytest.mark.slow
def test_a_scheduler_that_hangs_ends_the_command(tmp_path, pictures, alone, hold):
    with troubled(tmp_path / "cluster", hold, "a") as made:
        hold.on()
        command = Command(made, tmp_path / "cache", pictures)
        hold.wait_for(1)
        made.kill("scheduler", signal.SIGSTOP)
        status, _, stderr = command.end(240)
        assert status == 1 and "can't be reached any more" in stderr.splitlines()[-1], stderr
        hold.off()


@pytest.mark.slow
def test_a_worker_that_cannot_be_reached_back(tmp_path, pictures, alone, hold):
    """Its answers do not arrive, so another one computes what it got."""
    cache = tmp_path / "here" / "cache"
    cache.mkdir(parents=True)
    prefix = hidden(tmp_path / "here")
    if prefix is None:
        pytest.skip("a folder can't be hidden from a process here")
    with cluster(tmp_path / "cluster") as made:
        deaf = "--listen-address tcp://127.0.0.1:0 --contact-address tcp://127.0.0.1:9 --no-nanny"
        for name, contact in (("deaf", deaf.split()), ("good", [])):
            made.start_worker(name, *PRELOAD, *contact, prefix=prefix, env=hold.env)
        command = Command(made, cache, pictures)
        status, bad, stderr = command.end(400)
    assert (status, bad) == (0, {}), stderr
    assert "tcp://127.0.0.1:9" in stderr
    assert rows_of(cache) == alone


@pytest.mark.slow
def test_links_that_are_cut_and_come_back(tmp_path, pictures, alone, hold, network_of_three):
    """For some seconds nothing is lost. After half a minute a worker ends, and is started again by
    its loop, as docs/cluster.md has it."""
    network = network_of_three
    with cluster(tmp_path / "cluster", host=network.host(0), prefix=network.on(0)) as made:
        for number in (1, 2):
            start_in_a_loop(made, network, number, hold)
        hold.on()
        command = Command(made, tmp_path / "cache", pictures, prefix=network.on(0), insecure=True)
        hold.wait_for(2)
        network.cut(1)
        network.cut(2)
        hold.off()
        time.sleep(8)
        network.mend(1)
        time.sleep(60)
        network.mend(2)
        status, bad, stderr = command.end()
        assert (status, bad) == (0, {}), stderr
        assert rows_of(tmp_path / "cache") == alone
        wait_until(lambda: made.log("2").count("Registered to") == 2, 120)
        assert made.log("1").count("Registered to") == 1


def start_in_a_loop(made, network, number, hold):
    """Start a worker on a computer of a network, again whenever it ends."""
    prefix = (*network.on(number), "sh", "-c", 'while true; do "$@"; sleep 1; done', "sh")
    made.start_worker(str(number), *PRELOAD, prefix=prefix, host=network.host(number), env=hold.env)


@pytest.mark.slow
def test_the_link_of_the_command_is_cut_and_comes_back(
    tmp_path, pictures, alone, hold, network_of_three
):
    """Workers and scheduler go on meanwhile. The command ends its work, or says that the scheduler
    is lost, but it does not wait for ever."""
    network = network_of_three
    with cluster(tmp_path / "cluster", host=network.host(0), prefix=network.on(0)) as made:
        start_in_a_loop(made, network, 1, hold)
        hold.on()
        command = Command(made, tmp_path / "cache", pictures, prefix=network.on(2), insecure=True)
        hold.wait_for(1)
        network.cut(2)
        time.sleep(40)
        network.mend(2)
        hold.off()
        status, bad, stderr = command.end(240)
        assert status in (0, 1) and "Traceback" not in stderr, stderr
        if status:
            again = Command(made, tmp_path / "cache", pictures, prefix=network.on(2), insecure=True)
            assert again.end()[:2] == (0, {})
    assert rows_of(tmp_path / "cache") == alone
