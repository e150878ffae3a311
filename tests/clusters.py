"""Real Dask clusters for tests: a scheduler and workers as processes on this computer, keys for TLS,
and computers of a network that can be cut, each a network namespace.

pytest tests/test_cluster.py tests/test_cluster_trouble.py
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPO, environment

SLOWEST = 60  # seconds that a busy computer may take to start one process


def free_port():
    """A port of this computer that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until(condition, seconds=SLOWEST, what="the test waited in vain"):
    """Wait for a condition, and return what it gave; fail if it takes longer than that."""
    end = time.monotonic() + seconds
    while not (given := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return given


class Cluster:
    """A scheduler and its workers, each a process that writes into a file of its own. They are
    started in the folder of the scripts, as the documentation has it."""

    def __init__(self, folder, host="127.0.0.1", prefix=(), tls=None, env=None):
        self.folder, self.host, self.tls = Path(folder), host, tls
        self.folder.mkdir(parents=True, exist_ok=True)
        self.processes, self.logs = {}, {}
        self.port = free_port()
        self.address = f"{'tls' if tls else 'tcp'}://{host}:{self.port}"
        self.file = self.folder / "scheduler.json"
        self.start_scheduler(prefix, env)

    def start(self, name, argv, prefix=(), env=None):
        """Start a process by the name that its log and its end go by."""
        self.logs[name] = self.folder / f"{name}-{len(self.processes)}.log"
        with open(self.logs[name], "wb") as log:
            self.processes[name] = subprocess.Popen(
                [*prefix, *map(str, argv)],
                cwd=REPO,
                env=environment(**(env or {})),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that a nanny and its worker can be killed together
            )
        return self.processes[name]

    def keys(self):
        """The flags of dask for TLS."""
        if self.tls is None:
            return []
        names = {"ca-file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
        return [word for flag, name in names.items() for word in (f"--tls-{flag}", self.tls / name)]

    def start_scheduler(self, prefix=(), env=None):
        """Start it, or start it again at the same address, and wait until it listens."""
        self.file.unlink(missing_ok=True)
        self.start(
            "scheduler",
            [
                *(sys.executable, "-m", "dask", "scheduler"),
                *("--host", self.host, "--port", self.port, *self.keys()),
                *("--dashboard-address", f"{self.host}:0", "--scheduler-file", self.file),
            ],
            prefix,
            env,
        )
        wait_until(lambda: self.has_ended("scheduler") or "Scheduler at" in self.log("scheduler"))
        assert not self.has_ended("scheduler"), self.log("scheduler")

    def start_worker(self, name, *arguments, prefix=(), env=None, host=None, wait=True):
        """Start a worker of one task thread, and wait until the scheduler knows it."""
        host = host or self.host
        argv = [
            *(sys.executable, "-m", "dask", "worker", self.address, *self.keys()),
            *(() if "--contact-address" in arguments else ("--host", host)),
            *("--dashboard-address", f"{host}:0", "--name", name),
            *("--nworkers", 1, "--nthreads", 1, "--memory-limit", 0),
            *("--local-directory", self.folder / "scratch", *arguments),
        ]
        process = self.start(name, argv, prefix, env)
        if wait:
            self.wait_for(name)
        return process

    def wait_for(self, name):
        """Wait until a worker that is being started is known to the scheduler."""
        wait_until(
            lambda: self.has_ended(name) or "Registered to" in self.log(name),
            what=f"{name} did not start",
        )
        assert not self.has_ended(name), self.log(name)

    def has_ended(self, name):
        return self.processes[name].poll() is not None

    def log(self, name):
        return self.logs[name].read_text(encoding="utf-8", errors="replace")

    def computing(self, name):
        """The id of the process that computes for a worker: the child of its nanny if it has one."""
        nanny = self.processes[name].pid
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                words = path.read_text().rpartition(")")[2].split()
                command = (path.parent / "cmdline").read_bytes()
                if int(words[1]) == nanny and b"spawn_main" in command:
                    return int(path.parent.name)
        return nanny

    def kill(self, name, number=signal.SIGKILL):
        """Send a signal to a process and to all that it started, and wait for the end of a kill."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.processes[name].pid, number)
        if number == signal.SIGKILL:
            self.processes[name].wait()

    def close(self):
        for name in self.processes:
            self.kill(name)


@contextlib.contextmanager
def cluster(folder, *workers, **more):
    """A Cluster with workers of these names, which ends with the `with`."""
    made = Cluster(folder, **more)
    try:
        for name in workers:
            made.start_worker(name, wait=False)
        for name in workers:
            made.wait_for(name)
        yield made
    finally:
        made.close()


def make_keys(folder):
    """Make a folder with ca.pem, cert.pem and key.pem, by the commands in docs/cluster.md."""
    folder.mkdir()
    page = (REPO / "docs" / "cluster.md").read_text(encoding="utf-8")
    block = re.search(r"\n((?:    .*\n)*    .*openssl req -x509(?:.*\n    )*.*\n)", page)[1]
    lines = [line[4:].removeprefix("$ ") for line in block.splitlines()]
    subprocess.run(
        ["sh", "-ec", "\n".join(lines)],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=SLOWEST,
    )
    made = next(path.parent for path in folder.rglob("ca.pem"))
    return made


# ---- a network that can be cut ------------------------------------------------------------------


@functools.cache
def why_no_namespaces():
    """Why this process can't make network namespaces, or nothing if it can."""
    if shutil.which("ip") is None:
        return "there is no ip (iproute2)"
    name = f"try-{os.getpid()}"
    for command in (
        ["netns", "add", name],
        ["-n", name, "link", "add", "br0", "type", "bridge"],
        ["-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1"],
    ):
        done = subprocess.run(["ip", *command], capture_output=True, text=True)
        if done.returncode:
            break
    subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    return f"no network namespace can be made: {done.stderr.strip()}" if done.returncode else ""


class Network:
    """Computers 0, 1, 2 ... that are joined by a switch: each is a network namespace of this
    computer. They share its disk."""

    def __init__(self, computers):
        self.names = [f"fp{os.getpid()}-{number}" for number in range(computers)]
        self.switch = f"fp{os.getpid()}-switch"

    def __enter__(self):
        for name in (self.switch, *self.names):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")
        for number, name in enumerate(self.names):
            end = f"v{number}"
            ip(
                *("-n", self.switch, "link", "add", end, "type", "veth"),
                *("peer", "name", "eth0", "netns", name),
            )
            ip("-n", self.switch, "link", "set", end, "master", "br0", "up")
            ip("-n", name, "address", "add", f"{self.host(number)}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        return self

    def __exit__(self, *error):
        for name in (*self.names, self.switch):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

    def host(self, number):
        """The address of a computer."""
        return f"10.99.0.{number + 1}"

    def on(self, number):
        """What stands before a command that is to run on a computer."""
        return ("ip", "netns", "exec", self.names[number])

    def cut(self, number):
        """Pull the cable of a computer."""
        ip("-n", self.switch, "link", "set", f"v{number}", "down")

    def mend(self, number):
        """Put its cable back."""
        ip("-n", self.switch, "link", "set", f"v{number}", "up")


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stderr)


@pytest.fixture
def network_of_three():
    """A Network of three computers; a test that asks for it is skipped where none can be made."""
    if why_no_namespaces():
        pytest.skip(why_no_namespaces())
    with Network(3) as network:
        yield network
