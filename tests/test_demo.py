"""The demo, as `make demo` runs it."""

import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[1] / "sample" / "demo.py"


def run_demo(folder):
    return subprocess.run(
        [sys.executable, DEMO, "--folder", folder],
        text=True,
        capture_output=True,
        timeout=600,
        check=False,
    )


def listening(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_shop_ends_with_the_demo_however_it_ends(tmp_path, how):
    demo = subprocess.Popen(
        [sys.executable, DEMO, "--folder", tmp_path / "demo"],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    port = next(
        int(found.group(1))
        for line in demo.stdout
        if (found := re.search(r"SHOPSTYLE_API_URL=http://127.0.0.1:(\d+)/", line))
    )
    assert listening(port)
    demo.send_signal(how)
    demo.wait(timeout=30)
    demo.stdout.close()
    deadline = time.monotonic() + 20
    while listening(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not listening(port)


@pytest.mark.slow
def test_the_demo_runs_teaches_and_is_reused(tmp_path):
    folder = tmp_path / "demo"
    first, second = run_demo(folder), run_demo(folder)
    for done in (first, second):
        assert done.returncode == 0, done.stderr
        assert "$ python crawl.py" in done.stdout and "$ python analyze.py" in done.stdout
        assert "RANDOM weights" in done.stdout
        assert str(folder / "errors.html") in done.stdout
    assert re.search("this run: 7.. fetched, 0 unusable", first.stdout)
    assert "this run: 0 fetched, 0 unusable" in second.stdout
    assert "bottlenecks:" in first.stderr and "bottlenecks:" not in second.stderr
    assert "<table>" in (folder / "errors.html").read_text(encoding="utf-8")
    with sqlite3.connect(folder / "crawl.db") as conn:
        leaves = {row[0] for row in conn.execute("select id from category where leaf = 1")}
    assert {"bootcut-jeans", "skinny-jeans", "clutches"} <= leaves and len(leaves) == 12
    for script in ("categorize_words.py", "categorize_images.py", "categorize_both.py"):
        done = subprocess.run(
            [sys.executable, script, "--categories", "bootcut-jeans,skinny-jeans"],
            cwd=folder,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "classification of: bootcut-jeans,skinny-jeans\n  Accuracy: " in done.stdout
