"""What SQLite and the system say of trouble, in one sentence with what to do about it.

In: an error. Out: a sentence, which terminal.py prints.
"""

from __future__ import annotations

import errno
import os

from common.files import may_use
from common.text import one_line

MOST_SAID = 200  # letters of what SQLite says, which may quote what is in the file
MAKE_ROOM = "; make room, and run the same command again"
NO_TEXT = "holds a text that can't be read as UTF-8: crawl.py --verify names it"
# What SQLite says of trouble with the file, by a word of it, and what to do then.
DATABASE_TROUBLE = (
    ("locked", "is being written by another script: wait for it, and run this again"),
    ("is full", f"can't be written, because there is no room for it{MAKE_ROOM}"),
    (
        "readonly",
        "may not be written by you: copy it, or change the permissions of it and its folder",
    ),
    ("disk I/O", "can't be read or written by the system: see whether its disk is full or broken"),
    *(
        (
            words,
            "has a table or column that the scripts can't work with ({}): rename what was added",
        )
        for words in ("ambiguous", "no such column", "values were supplied", "syntax error")
    ),
    ("Could not decode", NO_TEXT),
    ("user-defined function", NO_TEXT),
    ("not a database", "is no SQLite file: name the file that crawl.py filled with --db-path"),
)


def database_sentence(error: Exception | str, path: str = "the database given by --db-path") -> str:
    """What is wrong with the database at `path` by what SQLite says, and what to do about it."""
    said = str(error)
    for words, sentence in DATABASE_TROUBLE:
        if words in said and "malformed" not in said:  # that quotes names, which may be any
            return f"{path} {sentence.format(one_line(said)[:MOST_SAID])}"
    if "unable to open" in said:
        return f"{path} can't be opened, because {unopened_reason(path)}"
    if isinstance(error, UnicodeDecodeError):
        said = "a name in its schema is no text"
    return damage_sentence(path, said)


def damage_sentence(path: str, said: str) -> str:
    """What is damaged in the database at `path`, and what to do about it."""
    return (
        f"{path} is damaged ({one_line(said)[:MOST_SAID]}): restore it from a copy, without the "
        "-wal and -shm beside it, or crawl into a new file"
    )


def unopened_reason(path: str) -> str:
    """Why SQLite can't open a file, and what to do about it."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        return f"there is no folder {folder}: make it, or name another file"
    if os.path.exists(path) and not os.path.isfile(path):
        return "it is a folder or a device: name the file that crawl.py filled with --db-path"
    if os.path.exists(path) and not may_use(path, os.R_OK):
        return "you may not read it: change its permissions"
    return "you may not write in its folder: change the permissions of that, or copy the file"


def system_sentence(error: OSError) -> str:
    """What the system says of an error, and what to do about it."""
    sentence = f"{error.strerror}: {error.filename}" if error.filename else f"{error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        sentence += MAKE_ROOM
    return sentence
