"""Ctrl-C while Python still loads what a script imports, which takes up to a second.

A script calls `quiet_until_run` before it imports anything large, and terminal.run `heard`, which
has Ctrl-C raise KeyboardInterrupt again. If SIGINT is ignored, as it is for what a shell starts in
the background, it stays ignored.
"""

import signal


def quiet_until_run() -> None:
    """Have Ctrl-C end the process at once, without a traceback. Nothing has begun that it could
    leave half-done."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def heard() -> None:
    """Have Ctrl-C raise KeyboardInterrupt, as Python has it from the start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
