"""Ctrl-C while a script's imports are loaded: no traceback, and ignored if the caller ignores it.

pytest tests/test_interrupts.py
"""

import signal
import subprocess
import sys

import pytest
from conftest import REPO

SCRIPTS = (
    "analyze",
    "categorize_both",
    "categorize_images",
    "categorize_words",
    "crawl",
    "retrain",
)
# Runs a script, and interrupts it when it imports a library for the first time.
INTERRUPTED = """
import os, runpy, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name in ("numpy", "tqdm"):
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

repo, script = sys.argv[1:3]
sys.path.insert(0, repo)
sys.meta_path.insert(0, Interrupts())
sys.argv = [script, "--help"]
runpy.run_path(os.path.join(repo, script), run_name="__main__")
"""


def interrupted(script, **how):
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(REPO), f"{script}.py"],
        capture_output=True,
        text=True,
        timeout=60,
        **how,
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_ctrl_c_while_a_script_is_loaded_ends_it_without_a_traceback(script):
    done = interrupted(script)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_what_runs_in_the_background_is_not_interrupted_while_it_is_loaded():
    done = interrupted("analyze", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert done.returncode == 0 and "usage" in done.stdout.lower() and done.stderr == ""
