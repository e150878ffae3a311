"""--cluster local:2, which starts two workers here: the experiment that one process gives, and nobody
else can reach them.

    pytest tests/test_cluster_local.py
"""

import os
import signal

import pytest
from cluster_runs import rows_of
from clusters import cluster
from conftest import draw_feed, networks_made_once, run_script
from shared_pictures import draw

from common.terminal import Terminated, terminable
from learning import cluster_address, cluster_connection, inception

pytest.importorskip("distributed", reason="requirements-cluster.txt is not installed")


def test_a_local_cluster_is_spawned_and_listens_to_this_computer_alone():
    """A fork of a process that has TensorFlow hangs; and who reaches a port may run programs."""
    psutil = pytest.importorskip("psutil")  # Dask needs it
    with cluster_connection.Connection(cluster_address.Options("local:2")) as connection:
        here = psutil.Process()
        workers = list(connection.client.run(os.getpid).values())
        addresses = {
            listener.laddr.ip
            for process in (here, *here.children(recursive=True))
            for listener in process.net_connections()
            if listener.status == psutil.CONN_LISTEN
        }
        commands = [" ".join(psutil.Process(worker).cmdline()) for worker in workers]
        settings = connection.client.run(slowed_by)
    assert addresses == {"127.0.0.1"}
    assert len(commands) == 2 and all("spawn_main" in command for command in commands)
    assert list(settings.values()) == [(None, False)] * 2


def test_a_signal_while_dask_begins_is_put_off():
    """It has no end for what has half begun, and would print a traceback."""
    reached = []
    with pytest.raises(Terminated), terminable():
        with cluster_connection.without_interrupts():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            reached.append("the end")
        reached.append("what comes after it")
    assert reached == ["the end"]


def slowed_by():
    """What took a tenth of a worker's rate, as it is in this process."""
    import dask.config

    profile = dask.config.get("distributed.worker.profile.enabled")
    return os.environ.get("MALLOC_TRIM_THRESHOLD_"), profile


NETWORK = (
    *("--weights", "random", "--layer", "mixed0", "--how_many_training_steps", "4"),
    *("--cache-dtype", "float32"),  # which rows_of reads
)


def run_well(script, *arguments, cwd, **more):
    result = run_script(script, *arguments, cwd=cwd, **more)
    assert result.returncode == 0, result.stderr
    return result


def compute_nothing_here(monkeypatch):
    """From now on this process could not compute a bottleneck; its workers are others."""
    monkeypatch.setattr(inception, "make_forward", None)


@pytest.mark.slow  # test_cluster.py has a cluster that computes the same rows
def test_local_workers_give_the_experiment_that_one_process_gives(
    tmp_path, monkeypatch, networks_made_once
):
    draw_feed(tmp_path / "shop", 12)
    run_well("crawl", "--feed", tmp_path / "shop" / "products.tsv", cwd=tmp_path)
    settings = ("categorize_images", "--min-products", "2", *NETWORK, "--bottleneck_dir")
    here = run_well(*settings, "here", cwd=tmp_path)
    compute_nothing_here(monkeypatch)
    there = run_well(*settings, "there", "--cluster", "local:2", cwd=tmp_path)
    assert here.stdout.partition(":")[2] == there.stdout.partition(":")[2]
    assert rows_of(tmp_path / "here") == rows_of(tmp_path / "there")
    assert len(rows_of(tmp_path / "here")) == 24  # a third is left out, having too few styles
    assert "distributed" not in there.stderr  # nothing of what Dask logs


@pytest.mark.slow
def test_retrain_and_both_and_apply_ask_a_cluster_too(tmp_path, monkeypatch, networks_made_once):
    compute_nothing_here(monkeypatch)
    for number in range(60):
        draw(tmp_path / "labels" / ("warm", "cold")[number % 2] / f"{number}.png", number)
    draw_feed(tmp_path / "shop", 12)
    run_well("crawl", "--feed", tmp_path / "shop" / "products.tsv", cwd=tmp_path)
    with cluster(tmp_path / "cluster", "a") as made:
        there = (*NETWORK, "--cluster", made.address, "--bottleneck_dir")
        shares = ("--testing_percentage", "30", "--validation_percentage", "30")
        run_well("retrain", "--image_dir", "labels", *shares, *there, "retrained", cwd=tmp_path)
        assert len(rows_of(tmp_path / "retrained")) == 60
        both = ("categorize_both", "--min-products", "2", "--epochs", "2", *there, "both")
        run_well(*both, cwd=tmp_path)
        learned = rows_of(tmp_path / "both")
        draw_feed(tmp_path / "shop", 20)  # eight more of each, with pictures of their own
        run_well(
            *("crawl", "--feed", tmp_path / "shop" / "products.tsv", "--unlabelled"), cwd=tmp_path
        )
        promise = ("--target", "60", "--confidence", "60", "--file-anyway")
        filed = run_script(
            "categorize_both", "--apply", "1", *promise, *there, "both", cwd=tmp_path
        )
        assert "left to a person" in filed.stderr  # so few words promise nothing
    answered = rows_of(tmp_path / "both")
    assert len(answered) > len(learned) and answered.items() >= learned.items()
