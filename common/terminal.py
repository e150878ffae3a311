"""What every script shares at the terminal: one-sentence errors, log lines, a progress bar.

stdout belongs to a script's result, which `say` prints; everything else here goes to stderr. No line
that is printed holds a character by which a shop's names could steer the terminal or forge a line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from tqdm import tqdm

from common import interrupts
from common.files import replacing
from common.text import json_text, printable
from common.trouble import database_sentence, system_sentence

VERSION = "1.0.0"
FEW = 5  # names in one line of warnings
MOST_REASONS = 10  # lines of warnings from one loop


class UserError(Exception):
    """A mistake the user can mend. Its text is one sentence that says what to do next."""


class Terminated(KeyboardInterrupt):
    """A SIGTERM, which ends a script as Ctrl-C does: nothing half-done is left."""


class Undone(UserError):
    """What was asked for could not be done now, but another run may do it; exit status 1."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports a mistake in one sentence, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)} (see {self.prog} --help)\n")


# ---- from main to an exit status ----------------------------------------------------------------


def run(main: Callable[[], int]) -> int:
    """Run a script's main and return its exit status: 2 after a user's mistake, 1 if another run
    may do what is left, 130 after Ctrl-C, 143 after SIGTERM.

    An OSError (the disk is full, a permission is missing) is reported by the system's words for it.
    Its whole text is never printed: the text of a network error holds the URL, and the URL holds
    the API key.
    """
    script = os.path.basename(sys.argv[0])
    prepare_stdout()
    try:
        interrupts.heard()
        with terminable():
            status = main()
        sys.stdout.flush()  # here, so that a reader that went away can still be dealt with
        return status
    except UserError as error:
        sentence, status = str(error), 1 if isinstance(error, Undone) else 2
    except KeyboardInterrupt as error:
        print(f"{script}: interrupted; run the same command again to go on", file=sys.stderr)
        return 143 if isinstance(error, Terminated) else 130
    except BrokenPipeError:
        # The reader (head, less) went away, and may. stdout is pointed at nothing, because the
        # interpreter would complain again while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except sqlite3.DatabaseError as error:  # the disk is full; locked for 30 s; damaged
        sentence, status = database_sentence(error), 1 if "locked" in str(error) else 2
    except OSError as error:
        if error.strerror is None:
            raise
        sentence, status = system_sentence(error), 2
    print(f"{script}: {printable(sentence)}", file=sys.stderr)
    return status


def prepare_stdout() -> None:
    """Make stdout write UTF-8, whatever the terminal's alphabet is: product names come in any, and
    an HTML page says that it is UTF-8."""
    if sys.stdout is None:  # the shell closed it: >&-
        sys.stdout = open(os.devnull, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")


# ---- signals ------------------------------------------------------------------------------------


class StopEvent(threading.Event):
    """Set when the process was asked to end; `signal` is then the number of the signal. The signal
    also raises `error`, if that is set."""

    signal = 0
    error: type[Exception] | None = None


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM raise Terminated, unless the caller has it ignored."""

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def told_to_stop() -> Iterator[StopEvent]:
    """A StopEvent that the first SIGINT or SIGTERM sets. The second one ends the process at once,
    which loses only what is under way."""
    stop = StopEvent()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.signal = number
        stop.set()
        if stop.error:
            raise stop.error
        # Not by `log`: the signal may have come in the middle of it.
        os.write(2, b"\nfinishing what is under way; a second signal (Ctrl-C) ends at once\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def ended_at_once(stop: StopEvent, error: type[Exception]) -> Iterator[None]:
    """Let a signal end the block at any point: it raises `error` there."""
    if stop.is_set():
        raise error
    stop.error = error
    try:
        yield
    finally:
        stop.error = None


# ---- lines on stdout and stderr ----------------------------------------------------------------------------


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: 1 product, 1,234 products."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def command(script: str, *arguments: object, db_path: str) -> str:
    """The command that runs one of the scripts on a database, as it can be typed."""
    words = ["python", f"{script}.py", *map(str, arguments)]
    if db_path != "crawl.db":
        words += ["--db-path", db_path]
    return shlex.join(words)


def say(*lines: str) -> None:
    """Print lines to stdout. An end of a line within one of them is a blank."""
    for line in lines:
        print(printable(line))


def say_json(value: object, indent: int | None = None) -> None:
    """Print a value to stdout as JSON, which is exact: it has escapes where `say` has blanks."""
    print(json_text(value, indent))


@contextlib.contextmanager
def exact_output(path: str | None) -> Iterator[Callable[[bytes], object]]:
    """A function that writes bytes for a machine, exactly: to stdout, or with a path to that file,
    whole or not at all. On a terminal a blank stands for what would steer it. Raises UserError if the
    file can't be written."""
    if path is None:
        sys.stdout.flush()
        yield print_pieces if sys.stdout.isatty() else sys.stdout.buffer.write
        return
    target = os.path.realpath(path)  # a link stays one
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            with open(target, "wb") as device:  # a pipe is written into, not replaced
                yield device.write
            return
        with replacing(target) as beside, open(beside, "wb") as file:
            yield file.write
            file.flush()
            if os.path.isfile(target):
                os.chmod(beside, os.stat(target).st_mode & 0o777)
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.filename is None:
            raise
        raise UserError(
            f"--output {path} can't be written ({error.strerror}): name another"
        ) from None


def print_pieces(data: bytes) -> None:
    """Print bytes of text to a terminal, their lines as `say` prints them."""
    lines = data.decode("utf-8", "replace").split("\n")
    print("\n".join(map(printable, lines)), end="")


def log(sentence: str) -> None:
    """Print one line to stderr. A progress bar that is there stays whole."""
    sentence = printable(sentence)
    if sys.stderr.isatty():
        tqdm.write(sentence, file=sys.stderr)
    else:
        print(sentence, file=sys.stderr, flush=True)


class Reason:
    """How often a reason was reported, and the first FEW names it was reported for."""

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.names) < FEW and name not in self.names:
            self.names.append(name)


@contextlib.contextmanager
def grouped(
    sentence: Callable[[int, str, str], str], write: Callable[[str], object] | None = None
) -> Iterator[Callable[[str, object], None]]:
    """A function tell(reason, name) for a loop that may warn of many things.

    When the block ends, also by an error, each reason becomes one line, sentence(count, names,
    reason), which is given to `write` (default: log). `names` is a text with the first few of them.
    Reasons beyond the first MOST_REASONS share a line.
    """
    reasons: dict[str, Reason] = {}

    def tell(reason: str, name: object) -> None:
        if reason not in reasons and len(reasons) >= MOST_REASONS:
            reason = "other reasons"
        reasons.setdefault(reason, Reason()).add(str(name))

    try:
        yield tell
    finally:
        for text, reason in reasons.items():
            (write or log)(sentence(reason.count, first_few(reason.names, reason.count), text))


def first_few(names: Sequence[str], count: int | None = None) -> str:
    """The first few names in words: "a, b and 28 more". `count` is how many there are in all
    (default: as many as there are names)."""
    first = names[:FEW]
    more = (len(names) if count is None else count) - len(first)
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


# ---- progress -----------------------------------------------------------------------------------


class Lines(tqdm):
    """A progress bar for an output where nothing can be redrawn: a plain line now and then."""

    disable: bool
    least = 0.0  # seconds that the work must take to be reported at its end

    def say(self, text: str) -> None:
        print(printable(f"{self.desc}: {self.n} {text}"), file=sys.stderr, flush=True)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        rate = self.n / (self.format_dict["elapsed"] or 1)
        left = ""
        if self.total and rate:
            left = f", {self.format_interval((self.total - self.n) / rate)} left"
        note = f", {self.postfix}" if self.postfix else ""
        self.say(f"of {self.total or '?'} {self.unit}, {rate:.1f}/s{left}{note}")

    def close(self) -> None:
        if not self.disable and self.n and self.format_dict["elapsed"] >= self.least:
            whole = "" if self.n == (self.total or self.n) else f"of {self.total} "
            self.say(f"{whole}{self.unit} in {self.format_dict['elapsed']:.1f} s")
        self.disable = True


def progress(
    label: str,
    total: int | None,
    unit: str,
    iterable: Iterable[Any] | None = None,
    least: float = 0,
) -> tqdm:
    """A tqdm bar on stderr: redrawn in place on a terminal, elsewhere a line every 30 seconds, and
    one at the end of what takes `least` seconds. `unit` is a plural; `total` is None if nobody
    knows it."""
    if sys.stderr.isatty():
        return by_monotonic(
            tqdm(
                iterable, desc=label, total=total, unit=f" {unit}", leave=False, dynamic_ncols=True
            )
        )
    lines = Lines(
        iterable, desc=label, total=total, unit=unit, mininterval=30, miniters=1, delay=1e-3
    )
    lines.least = least
    return by_monotonic(lines)


def by_monotonic(bar: tqdm) -> tqdm:
    """The bar, by a clock that nobody sets: otherwise a clock set back would silence it."""
    bar._time = time.monotonic
    bar.start_t = bar.last_print_t = time.monotonic()
    return bar
