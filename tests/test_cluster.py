"""--cluster: what is refused before any work, what travels to a worker, and rows that are those of one
computer, by a real cluster with keys.

    pytest tests/test_cluster.py
"""

import ast
import contextlib
import pickle
import socket
import subprocess
import sys
import threading

import cluster_runs
import numpy as np
import pytest
from cluster_runs import Command, Hold, computed, make_pictures, rows_of
from clusters import cluster, free_port, make_keys, network_of_three
from conftest import REPO, run_script
from PIL import Image
from shared_pictures import keyed

from common.terminal import Undone, UserError
from learning import cluster_address

SCRIPTS = ("categorize_images", "categorize_both", "retrain")


# ---- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_dask_a_sentence_names_the_file_of_requirements(tmp_path, monkeypatch, script):
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not installed
    result = run_script(script, "--cluster", "local:2", "--image_dir", "labels", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "requirements-cluster.txt" in result.stderr
    assert (REPO / "requirements-cluster.txt").exists()


def test_dask_is_imported_late_so_that_all_else_works_without_it():
    modules = [
        path for room in ("common", "learning", "evaluation") for path in REPO.glob(f"{room}/*.py")
    ]
    for path in [*modules, *REPO.glob("*.py")]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in getattr(node, "names", [])]
            names.append(getattr(node, "module", None) or "")
            assert not {name.split(".")[0] for name in names} & {"dask", "distributed", "fsspec"}


def asks(tmp_path, *arguments):
    """(status, stderr) of a run that is to end before it looks for anything else."""
    result = run_script("categorize_images", *arguments, cwd=tmp_path)
    assert result.stdout == "" and "Traceback" not in result.stderr
    return result.returncode, result.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--cluster", "tcp://192.0.2.7:8786"], "--insecure-cluster"),
        (["--cluster", "tcp://scheduler.invalid:8786"], "--insecure-cluster"),
        (["--cluster", "tls://192.0.2.7:8786"], "--cluster-security"),
        (["--cluster", "tls://127.0.0.1:8786", "--cluster-security", "keys"], "ca.pem"),
        (["--cluster", "nowhere.json"], "there is no scheduler file nowhere.json"),
        (["--cluster", "feed.json"], "feed.json is no scheduler file"),
        (["--cluster", "http://127.0.0.1:8786"], "tcp://host:8786"),
        (["--cluster", "tcp://127.0.0.1"], "lacks its port: usually it is tcp://127.0.0.1:8786"),
        (["--cluster", "local:0"], "local:2"),
        (["--cluster", "local:"], "local:2"),
        (["--cluster", "local:x"], "local:2"),
        (["--cluster", "127.0.0.1:8786"], "write tcp://127.0.0.1:8786"),
        (["--cluster", "tcp://[bad:1"], "tcp://host:8786"),
        (["--cluster", "tcp://a..b:8786"], "--insecure-cluster"),
        (["--cluster", "tcp://127.0.0.1/"], "lacks its port: usually it is tcp://127.0.0.1:8786"),
        (["--cluster", "TCP://127.0.0.1:8786"], "tcp://host:8786"),
        (["--cluster", "tcp://me@127.0.0.1:8786"], "tcp://host:8786"),
        (["--cluster", "tcp://127.0.0.1:8786", "--cluster-security", "keys"], "tls://"),
        (
            ["--cluster", "local:2", "--send-pictures", "--images-path", "s3://shop/images"],
            "--send-pictures is for files",
        ),
        (["--cluster", ""], "local:2"),
        (["--send-pictures"], "--cluster"),
        (["--cluster-security", "keys"], "--cluster"),
        (["--insecure-cluster"], "--cluster"),
        (["--images-path", "s3://shop/images"], "--cluster"),
    ],
)
def test_what_is_asked_for_is_checked_before_any_work(tmp_path, arguments, words):
    pytest.importorskip("distributed")
    (tmp_path / "keys").mkdir()
    (tmp_path / "feed.json").write_text('{"products": []}')
    status, stderr = asks(tmp_path, *arguments)
    assert status == 2 and stderr.count("\n") == 1 and words in stderr


@contextlib.contextmanager
def speaker(said):
    """The port of a service that tells that to whatever connects, and then waits."""
    kept = []

    def speak():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                kept.append(connection)
                connection.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=speak, daemon=True).start()
        yield listening.getsockname()[1]


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-other\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_another_service_at_the_address_is_one_sentence_and_no_wait(said, monkeypatch):
    monkeypatch.setattr(cluster_address, "TIMEOUT", 1)
    with speaker(said) as port, pytest.raises(UserError, match="is no scheduler that speaks so"):
        cluster_address.knock(f"tcp://127.0.0.1:{port}", None)


def test_a_slash_behind_the_address_does_no_harm():
    pytest.importorskip("distributed")
    asked = cluster_address.Options("tcp://127.0.0.1:8786/")
    assert cluster_address.check(asked) == "tcp://127.0.0.1:8786"


@pytest.mark.parametrize("said", [bytes([56, *[0] * 7]), b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_speaks_no_tls_is_said_to(said, keys):
    """A scheduler without TLS speaks first, by eight bytes of a length."""
    with (
        speaker(said) as port,
        pytest.raises(UserError, match=r"does not speak TLS: is it tcp://\?"),
    ):
        cluster_address.knock(f"tls://127.0.0.1:{port}", str(keys))


def test_nobody_at_the_address_is_one_sentence():
    for host in ("127.0.0.1", "a..b"):
        with pytest.raises(Undone, match="no scheduler answers at"):
            cluster_address.knock(f"tcp://{host}:{free_port()}", None)


def test_keys_that_are_none_are_one_sentence(tmp_path):
    pytest.importorskip("distributed")
    for name in cluster_address.KEYS:
        (tmp_path / name).write_text("no key")
    with pytest.raises(UserError, match="can't be used"):
        cluster_address.security_of(str(tmp_path))


@pytest.mark.parametrize("host, here", [("127.0.0.1", True), ("::1", True), ("192.0.2.7", False)])
def test_a_host_is_here_if_its_address_belongs_to_this_computer(host, here):
    assert cluster_address.is_here(host) == here
    assert not cluster_address.is_here("no-such-host.invalid")


def test_an_address_where_this_computer_may_listen_is_not_here_for_that(network_of_three):
    """Linux can be told that it may, and is so for a router's or a balancer's sake."""
    hosts = [network_of_three.host(number) for number in (0, 1)]
    program = f"from learning.cluster_address import is_here; print([*map(is_here, {hosts})])"
    may_listen = 'echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind && exec "$0" "$@"'
    words = [*network_of_three.on(0), "sh", "-c", may_listen, sys.executable, "-c", program]
    done = subprocess.run(words, cwd=REPO, capture_output=True, text=True)
    assert done.stdout == "[True, False]\n", done.stderr


# ---- a real cluster, with keys --------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures"), 12)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, pictures):
    """The rows that this process computes by itself."""
    return cluster_runs.rows_alone(tmp_path_factory.mktemp("alone"), pictures)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_keys(tmp_path_factory.mktemp("tls") / "made")


@pytest.fixture(scope="module")
def hold(tmp_path_factory):
    return Hold(tmp_path_factory.mktemp("trouble"))


@pytest.fixture(scope="module")
def safe_cluster(tmp_path_factory, keys, hold):
    """A cluster of one worker, by TLS."""
    pytest.importorskip("distributed")
    with cluster(tmp_path_factory.mktemp("cluster"), tls=keys) as made:
        made.start_worker("a", "--preload", REPO / "tests" / "trouble.py", env=hold.env)
        yield made


@pytest.fixture(scope="module")
def client(safe_cluster, keys):
    """A second client, which looks into the cluster."""
    from distributed import Client

    security = cluster_address.security_of(str(keys))
    with Client(safe_cluster.address, security=security, set_as_default=False) as made:
        yield made


def test_a_cluster_with_keys_computes_the_rows_of_one_computer(
    tmp_path, safe_cluster, keys, pictures, alone
):
    assert computed(safe_cluster, tmp_path / "cache", pictures, security=str(keys)) == {}
    assert rows_of(tmp_path / "cache") == alone
    assert not list((tmp_path / "cache").glob("*.shards/*"))


def test_a_cluster_is_not_used_without_its_keys(tmp_path, tmp_path_factory, safe_cluster, pictures):
    other = make_keys(tmp_path / "other")
    status, _, stderr = Command(
        safe_cluster, tmp_path / "cache", pictures, security=str(other)
    ).end()
    assert status == 2 and "Traceback" not in stderr
    assert safe_cluster.address in stderr and str(other) in stderr


def test_what_travels_is_small_and_holds_no_network(
    tmp_path, safe_cluster, keys, hold, client, pictures
):
    """Of each picture its digest and its path, and of the network how to build it."""
    many = [pictures[0], *((f"{number:064x}", pictures[1][1]) for number in range(1_800))]
    hold.on()
    command = Command(safe_cluster, tmp_path / "cache", many, security=str(keys))
    try:
        hold.wait_for(1)
        tasks = client.run_on_scheduler(
            lambda dask_scheduler: {
                key: pickle.dumps(task.run_spec) for key, task in dask_scheduler.tasks.items()
            }
        )
    finally:
        hold.off()
        command.kill()
    assert len(tasks) == 1  # a worker's, and no other one waits at the scheduler
    (task,) = tasks.values()
    assert len(task) < 2_000 + 100 * len(many)
    assert b"keras" not in task.lower() and b"tensorflow" not in task.lower()


def test_a_worker_sets_tensorflows_threads_to_its_cores(
    tmp_path, safe_cluster, keys, client, pictures
):
    """Dask presets OMP_NUM_THREADS to 1 in its workers."""
    assert computed(safe_cluster, tmp_path / "cache", pictures, security=str(keys)) == {}

    def threads():
        import tensorflow
        from dask.system import CPU_COUNT

        return tensorflow.config.threading.get_intra_op_parallelism_threads(), CPU_COUNT

    ((set_to, cores),) = client.run(threads).values()
    assert set_to == cores


def test_a_worker_loads_the_network_once_whatever_commands_come(
    tmp_path, safe_cluster, keys, client, pictures
):
    for name in ("first", "second"):
        assert computed(safe_cluster, tmp_path / name, pictures, security=str(keys)) == {}

    def loads():
        from learning import cluster_worker

        return cluster_worker.load.cache_info().misses

    assert list(client.run(loads).values()) == [1]


@pytest.mark.slow
def test_the_memory_of_a_worker_does_not_grow_with_shards_and_commands(
    tmp_path, safe_cluster, keys, client
):
    many = make_pictures(tmp_path / "pictures", 64)
    used = []
    for turn in range(6):
        assert computed(safe_cluster, tmp_path / f"cache-{turn}", many, security=str(keys)) == {}
        used.extend(
            client.run(lambda dask_worker: dask_worker.monitor.get_process_memory()).values()
        )
    assert max(used[2:]) < used[1] + 100e6  # a network more, or a trace for each shard, takes more


def test_pictures_that_are_sent_go_in_tasks_of_some_megabytes(
    tmp_path, safe_cluster, keys, hold, client
):
    """Dask warns of a task of over 10 MB, which blocks its scheduler."""
    rng = np.random.default_rng(0)
    for number in range(24):
        pixels = rng.integers(0, 256, (400, 400, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    large = cluster_runs.as_pairs(keyed(tmp_path.glob("*.png")))
    hold.on()
    command = Command(
        safe_cluster, tmp_path / "cache", large, security=str(keys), send_pictures=True
    )
    try:
        hold.wait_for(1)
        sizes = task_sizes(client)
    finally:
        hold.off()
    status, bad, stderr = command.end()
    assert (status, bad) == (0, {}) and "Sending large" not in stderr, stderr
    assert len(rows_of(tmp_path / "cache")) == len(large)
    assert len(sizes) == 1 and 400_000 < sizes[0] < 6_000_000


def task_sizes(client):
    """The bytes of each task that a scheduler has."""
    return client.run_on_scheduler(
        lambda dask_scheduler: [
            len(pickle.dumps(task.run_spec)) for task in dask_scheduler.tasks.values()
        ]
    )
