"""What every script shares at the terminal: one-sentence errors, log lines, a progress bar.

stdout belongs to a script's result; everything here goes to stderr. Imports nothing of ours.
"""
import os
import sqlite3
import sys

from tqdm import tqdm

VERSION = "1.0.0"


class UserError(Exception):
    """A mistake the user can mend. Its text is one sentence that says what to do next."""


def run(main):
    """Run a script's main and return its exit status: 2 for a user's mistake, 130 for Ctrl-C.

    An OSError (disk full, no permission) is reported by what the system says of it, never by
    its whole text: the text of a network error holds the URL, and the URL holds the API key.
    """
    script = os.path.basename(sys.argv[0])
    try:
        return main()
    except UserError as error:
        sentence = str(error)
    except KeyboardInterrupt:
        print(f"{script}: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away, which is its right. Point stdout at nothing, or the
        # interpreter complains once more while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except sqlite3.OperationalError as error:
        sentence = f"the database can't go on ({error})"   # disk full, locked for 30 s
    except OSError as error:
        if error.strerror is None:
            raise
        sentence = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    print(f"{script}: {sentence}", file=sys.stderr)
    return 2


def log(sentence):
    """Print one line to stderr without tearing a progress bar that may be there."""
    tqdm.write(sentence, file=sys.stderr)


def progress(label, total, unit, iterable=None):
    """A tqdm bar on stderr: redrawn in place on a terminal, elsewhere a line every 30 seconds."""
    if sys.stderr.isatty():
        return tqdm(iterable, desc=label, total=total, unit=unit, leave=False, dynamic_ncols=True)
    line = "{desc}: {n_fmt} of {total_fmt} ({rate_fmt}, {remaining} left){postfix}\n"
    return tqdm(iterable, desc=label, total=total, unit=unit, mininterval=30, maxinterval=30,
                delay=1e-3, bar_format=line)
