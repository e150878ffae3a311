"""Small disks for tests, and how to fill them.

pytest tests/test_bottlenecks.py tests/test_cluster_pieces.py
"""

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 64 KB of its own, which another process sees and shows us."""
    if not shutil.which("unshare"):
        pytest.skip("there is no unshare to mount a small disk with")
    mount = 'mount -t tmpfs -o size=64k tmpfs "$0" && echo ready && exec sleep 600'
    holder = subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", mount, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"a small disk can't be mounted ({holder.communicate()[1].strip()})")
        yield Path(f"/proc/{holder.pid}/root{tmp_path}")
    finally:
        holder.kill()
        holder.communicate()


def fill_up(path):
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
