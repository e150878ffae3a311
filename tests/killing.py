"""Runs of the scripts that are ended by a signal at a chosen instant: just before the n-th time that
the script changes something on the disk, through a file or through SQLite.

A process imports what is slow once, and forks for each run; the fork is a real process, whose
signal is a real one, and what it leaves on the disk is what any process would.
"""

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from conftest import REPO, environment

FORKS = """
import fcntl, importlib, json, os, signal, sqlite3, sys
sys.path.insert(0, sys.argv[1])
for name in ("analyze", "crawl", "categorize_words", "categorize_both", "retrain"):
    importlib.import_module(name)
from learning.tensorflow_loader import load_tensorflow
load_tensorflow().keras.layers.Dense  # Keras itself, which is imported late

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
READS = ("select", "pragma", "explain", "with", "--")

def arm(at, number):
    # From now on, the signal comes just before the change number `at`; 0 is none. Returns the list
    # of the kinds of changes that were made.
    kinds = []
    def change(kind):
        kinds.append(kind)
        if len(kinds) == at:
            os.kill(os.getpid(), number)
    def audit(event, args):
        if event in CHANGES or event == "open" and is_written(*args):
            change(event + " " + os.path.splitext(os.fsdecode(args[0]))[1])
    temporary = set()
    def statement(text):
        words = text.lower().replace("(", " ").split() + [""] * 3
        if words[1] == "temp":
            temporary.add(words[words.index("exists") + 1 if "exists" in words else 3])
        elif words[0] and words[0] not in READS and not temporary & set(words[1:5]):
            change(" ".join(words[:3]))
    def is_written(path, mode, flags):
        return (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
                and isinstance(path, (str, bytes)) and not os.fsdecode(path).startswith("/dev/"))
    def watched(connect):
        def connect_and_watch(*args, **more):
            conn = connect(*args, **more)
            conn.set_trace_callback(statement)
            return conn
        return connect_and_watch
    def before(call):
        def counted(*args):
            change(call.__name__)
            return call(*args)
        return counted
    sqlite3.connect = watched(sqlite3.connect)
    os.fsync = before(os.fsync)
    sys.addaudithook(audit)
    return kinds

def run(order):
    os.chdir(order["cwd"])
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(order[name], os.O_CREAT | os.O_WRONLY | os.O_TRUNC), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))
    sys.argv = [order["script"] + ".py", *order["argv"]]
    module = importlib.import_module(order["script"])
    kinds = arm(order["at"], order["signal"])
    try:
        status = module.run(module.main)
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        import traceback
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    kinds = list(kinds)
    with open(order["stderr"] + ".kinds", "w") as file:
        json.dump(kinds, file)
    os._exit(status)

for line in sys.stdin:
    child = os.fork()
    if not child:
        run(json.loads(line))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Ended(NamedTuple):
    """How a run ended: its exit status (-9 after a kill), what it printed, and the kinds of all the
    changes that it made, unless it was killed."""

    status: int
    stdout: str
    stderr: str
    changes: list[str]


class Runner:
    """Runs scripts in forks of one process, one at a time, and sends them a signal at an instant."""

    def __init__(self) -> None:
        self.said = tempfile.TemporaryDirectory()
        self.stdout, self.stderr, self.kinds = (
            Path(self.said.name) / name for name in ("stdout", "stderr", "stderr.kinds")
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKS, str(REPO)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *argv, cwd, at: int = 0, number: int = signal.SIGKILL) -> Ended:
        """Run a script to its end, or until the signal `number` comes before its change `at`."""
        self.begin(script, *argv, cwd=cwd, at=at, number=number)
        return self.end()

    def begin(self, script: str, *argv, cwd, at: int = 0, number: int = signal.SIGKILL) -> int:
        """Begin a run. Returns its process id."""
        self.kinds.unlink(missing_ok=True)
        order = {
            "script": script,
            "argv": [str(word) for word in argv],
            "cwd": str(cwd),
            "stdout": str(self.stdout),
            "stderr": str(self.stderr),
            "at": at,
            "signal": number,
        }
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self) -> Ended:
        """Wait for the end of the run that has begun."""
        status = int(self.process.stdout.readline())
        said = [
            path.read_text(encoding="utf-8", errors="replace")
            for path in (self.stdout, self.stderr)
        ]
        kinds = json.loads(self.kinds.read_text()) if self.kinds.exists() else []
        return Ended(status, *said, kinds)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.said.cleanup()


def is_stopped(process: int) -> bool:
    """Whether a SIGSTOP has stopped a process."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"
