"""What every script shares at the terminal: one-sentence errors, log lines, a progress bar.

stdout belongs to a script's result; everything here goes to stderr.
"""
import argparse
import contextlib
import errno
import os
import signal
import sqlite3
import sys
import threading

from tqdm import tqdm

from common.text import without_controls

VERSION = "1.0.0"
FEW, MOST_REASONS = 5, 10    # names in a line of warnings, and such lines of one loop


class UserError(Exception):
    """A mistake the user can mend. Its text is one sentence that says what to do next."""


class Undone(UserError):
    """What was asked for could not be done this time, but may be another; exit status 1."""


class Parser(argparse.ArgumentParser):
    """argparse's, but a mistake is one sentence, without the usage in front of it."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def run(main):
    """Run a script's main and return its exit status: 2 for a user's mistake, 1 for what may be
    done another time, 130 for Ctrl-C.

    An OSError (disk full, no permission) is reported by what the system says of it, never by
    its whole text: the text of a network error holds the URL, and the URL holds the API key.
    """
    script, status = os.path.basename(sys.argv[0]), 2
    # Names of products come in any alphabet, whatever the terminal's; and a page says it is UTF-8.
    if sys.stdout is None:   # closed by the shell: >&-
        sys.stdout = open(os.devnull, "w")
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    try:
        status = main()
        sys.stdout.flush()   # here, where a reader that went away can still be dealt with
        return status
    except UserError as error:
        sentence, status = str(error), 1 if isinstance(error, Undone) else 2
    except KeyboardInterrupt:
        print(f"{script}: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away, which is its right. Point stdout at nothing, or the
        # interpreter complains once more while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except sqlite3.DatabaseError as error:   # disk full, locked for 30 s, damaged
        sentence = f"the database given by --db-path can't be used: {error}"
        if "disk is full" in sentence:
            sentence += "; make room, and run the same command again"
        if "malformed" in sentence:
            sentence += "; restore it from a copy, or crawl into a new file"
    except OSError as error:
        if error.strerror is None:
            raise
        sentence = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sentence += "; make room, and run the same command again"
    print(f"{script}: {without_controls(sentence)}", file=sys.stderr)
    return status


@contextlib.contextmanager
def told_to_stop():
    """An Event that the first SIGINT or SIGTERM sets, with its number as .signal; the second one
    ends the process at once, which loses nothing but what is in flight. Where .error is set (by
    ended_at_once) the first one raises it too."""
    stop = threading.Event()
    stop.error = None

    def handle(number, frame):
        if stop.is_set():
            os._exit(128 + number)
        stop.signal = number
        stop.set()
        if stop.error:
            raise stop.error
        # Not by `log`: the signal may have come in the middle of it.
        os.write(2, b"\nfinishing what is in flight; once more to end at once\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def ended_at_once(stop, error):
    """What the block does a signal may end in the middle, by raising `error` there."""
    if stop.is_set():
        raise error
    stop.error = error
    try:
        yield
    finally:
        stop.error = None


def log(sentence):
    """Print one line to stderr without tearing a progress bar that may be there."""
    sentence = without_controls(sentence)
    if sys.stderr.isatty():
        tqdm.write(sentence, file=sys.stderr)
    else:
        print(sentence, file=sys.stderr, flush=True)


@contextlib.contextmanager
def grouped(sentence, write=None):
    """A function tell(reason, name) for a loop that may warn of many things. When the block ends,
    also by an error, each reason is one line, sentence(count, names, reason), to write (default:
    log). names holds the first few; reasons beyond the first MOST_REASONS share a line."""
    kinds = {}

    def tell(reason, name):
        if reason not in kinds and len(kinds) >= MOST_REASONS:
            reason = "other reasons"
        own = kinds.setdefault(reason, {"count": 0, "names": []})
        own["count"] += 1
        if len(own["names"]) < FEW and str(name) not in own["names"]:
            own["names"].append(str(name))

    try:
        yield tell
    finally:
        for reason, own in kinds.items():
            (write or log)(sentence(own["count"], first_few(**own), reason))


def first_few(names, count=None):
    """The first few names in words: "a, b and 28 more"; count is how many there are in all."""
    shown = names[:FEW]
    more = (len(names) if count is None else count) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


class Lines(tqdm):
    """A progress bar for where nothing can be redrawn: a plain line now and then."""

    def say(self, text):
        print(f"{self.desc}: {self.n} {text}", file=sys.stderr, flush=True)

    def display(self, msg=None, pos=None):
        rate = self.n / (self.format_dict["elapsed"] or 1)
        left = f", {self.format_interval((self.total - self.n) / rate)} left" \
            if self.total and rate else ""
        note = f", {self.postfix}" if self.postfix else ""
        self.say(f"of {self.total or '?'} {self.unit}, {rate:.1f}/s{left}{note}")

    def close(self):
        if not self.disable and self.n:
            self.say(f"{self.unit} in {self.format_dict['elapsed']:.1f} s")
        self.disable = True


def progress(label, total, unit, iterable=None):
    """A tqdm bar on stderr: redrawn in place on a terminal, elsewhere a line every 30 seconds.
    `unit` is a plural."""
    if sys.stderr.isatty():
        return tqdm(iterable, desc=label, total=total, unit=f" {unit}", leave=False,
                    dynamic_ncols=True)
    return Lines(iterable, desc=label, total=total, unit=unit, mininterval=30, miniters=1,
                 delay=1e-3)
