"""The peak memory of code, or of a script, that runs in a process of its own."""

import re
import subprocess
import sys
from typing import NamedTuple

from conftest import REPO, environment

# Written as the process ends, however it ends. Not ru_maxrss: that begins with what the process
# had that started this one.
PROLOGUE = """
import atexit, re, sys
sys.path.insert(0, {repo!r})
def say_peak():
    status = open("/proc/self/status").read()
    print("peak kB:", re.search(r"VmHWM:\\s*(\\d+)", status).group(1), file=sys.stderr, flush=True)
atexit.register(say_peak)
"""


class Peak(NamedTuple):
    """What a process did: its exit status, what it printed, and its peak memory in MB."""

    status: int
    stdout: str
    stderr: str
    megabytes: float


def peak_of_code(code: str, cwd=None, timeout: float = 120) -> Peak:
    """Run Python code; the project's modules can be imported."""
    run = subprocess.run(
        [sys.executable, "-c", PROLOGUE.format(repo=str(REPO)) + code],
        cwd=cwd,
        env=environment(),
        timeout=timeout,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    said = re.search(r"peak kB: (\d+)", run.stderr)
    return Peak(
        run.returncode,
        run.stdout,
        re.sub(r"peak kB: \d+\n", "", run.stderr),
        int(said.group(1)) / 1000 if said else float("nan"),
    )


def peak_of_script(name: str, *args, cwd, timeout: float = 120) -> Peak:
    """Run <repo>/name.py with these arguments."""
    argv = [f"{name}.py", *map(str, args)]
    code = f"import runpy\nsys.argv = {argv!r}\nrunpy.run_path({str(REPO / argv[0])!r}, run_name='__main__')\n"
    return peak_of_code(code, cwd, timeout)
