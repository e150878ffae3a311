"""SQL that finds damage: pages of the file that do not hang together, values that no script writes.

In: an open SQLite file and its path. Out: nothing, or UserError with what is wrong. What a disk has
changed within a text or a number can't be found: SQLite keeps no checksums.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping

from common.terminal import UserError
from common.trouble import damage_sentence, database_sentence

# {table: {column: type}} of what the scripts write; a person may add more, which is not looked at.
Columns = Mapping[str, Mapping[str, str]]
# Tables of many rows, whose values are looked at when they are read, and by a thorough check.
LARGE_TABLES = ("predicted_category", "validation_prediction", "filing")


@contextlib.contextmanager
def closed_if_damaged(conn: sqlite3.Connection, path: str) -> Iterator[None]:
    """Close the connection after any error. Raises UserError for what SQLite says of the file. If
    it quotes a damaged name, that is no text: UnicodeDecodeError."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        conn.close()
        raise UserError(database_sentence(error, path)) from None
    except BaseException:
        conn.close()
        raise


def check_whole(
    conn: sqlite3.Connection, path: str, columns: Columns, thorough: bool = False
) -> None:
    """Raise UserError if the file is damaged. A page that is never read may hide what is missing in
    an answer, so all are looked at: 3 s for 1 GB. `thorough` also compares the indexes with their
    tables, and looks at every text: 12 s for 1 GB and 1 s for a million texts."""
    check = "integrity_check" if thorough else "quick_check"
    conn.create_function("is_utf8", 1, is_utf8, deterministic=True)
    with closed_if_damaged(conn, path):
        if (said := conn.execute(f"pragma {check}(1)").fetchone()[0]) != "ok":
            raise UserError(damage_sentence(path, said.splitlines()[-1]))
        for table, kinds in columns.items():
            if table in LARGE_TABLES and not thorough:
                continue
            if wrong := wrong_value(conn, table, kinds, thorough):
                raise UserError(
                    f"{path} holds what no script writes ({wrong}): correct that with sqlite3, or "
                    "restore the file from a copy"
                )


def wrong_value(
    conn: sqlite3.Connection, table: str, kinds: Mapping[str, str], texts: bool
) -> str | None:
    """The first value of a table that is not of its column's type (kinds), in words; None without
    any. With `texts`, also a text that is no UTF-8."""
    there = [row["name"] for row in conn.execute(f"pragma table_info({table})")]
    wrong = {}
    for name in filter(there.__contains__, kinds):
        # In this order, and without `in`: half the time, which each command takes at its start.
        wrong[name] = f"typeof({name}) <> '{kinds[name]}' and {name} is not null"
        if texts and kinds[name] == "text":
            wrong[name] += f" or typeof({name}) = 'text' and not is_utf8(cast({name} as blob))"
    # At once: for each column alone the whole table would be read again.
    any_wrong = " or ".join(wrong.values())
    if not wrong or not conn.execute(f"select 1 from {table} where {any_wrong} limit 1").fetchone():
        return None
    for name in wrong:
        row = conn.execute(
            f"select cast({there[0]} as blob) as key, typeof({name}) as kind from {table} "
            f"where {wrong[name]} limit 1"
        ).fetchone()
        if row:
            what = "no text in UTF-8" if row["kind"] == kinds[name] else f"no {kinds[name]}"
            key = (row["key"] or b"").decode("utf-8", "replace")
            return f"{table}.{name} is {what} where {there[0]} = {key}"[:200]
    return None


def is_utf8(value: bytes) -> bool:
    """Whether the bytes of a text are UTF-8, as all of the scripts' are."""
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
