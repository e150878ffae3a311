"""One crawl at a time fills a database: others are refused while it is at work.

In: the path of crawl.db. The file crawl.db-crawling beside it is locked as long as a crawl lasts;
one that a killed crawl has left locks nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import IO

from common.terminal import UserError


@contextlib.contextmanager
def only_crawl(path: str) -> Iterator[None]:
    """Hold this database for one crawl. Raises UserError if another crawl is at work on it."""
    lock_path = f"{os.path.realpath(path)}-crawling"  # beside the file itself, not beside a link
    with locked(lock_path, path):
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(lock_path)


def locked(lock_path: str, path: str) -> IO[str]:
    """The file `lock_path`, open and locked. Raises UserError if another process has locked it."""
    while True:
        file = open(lock_path, "w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise UserError(
                f"another crawl is at work on {path}: wait for it, or stop it"
            ) from None
        # If another crawl removed the file since it was opened here, this lock locks nothing.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(lock_path)):
                return file
        file.close()
