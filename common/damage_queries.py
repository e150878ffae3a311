"""SQL that finds damage: pages of the file that do not hang together, values that no script writes.

In: an open SQLite file and its path. Out: nothing, or UserError with what is wrong. What a disk has
changed within a text or a number can't be found: SQLite keeps no checksums.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from common.terminal import UserError, damage_sentence, database_sentence

# Whose values are looked at. Those of predictions and answers are, when they are read.
TABLES = (
    "category",
    "product",
    "product_category",
    "picture",
    "picture_link",
    "experiment",
    "label_override",
    "filing_source",
    "near_duplicate",
    "regrouped",
    "category_change",
    "category_change_row",
)


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


def check_whole(conn: sqlite3.Connection, path: str, thorough: bool = False) -> None:
    """Raise UserError if the file is damaged. A page that is never read may hide what is missing in
    an answer, so all are looked at: 3 s for 1 GB. `thorough` also compares the indexes with their
    tables: 12 s for 1 GB."""
    check = "integrity_check" if thorough else "quick_check"
    with closed_if_damaged(conn, path):
        if (said := conn.execute(f"pragma {check}(1)").fetchone()[0]) != "ok":
            raise UserError(damage_sentence(path, said.splitlines()[-1]))
        for table in TABLES:
            if wrong := wrong_value(conn, table):
                raise UserError(
                    f"{path} holds what no script writes ({wrong}): correct that with sqlite3, or "
                    "restore the file from a copy"
                )


def wrong_value(conn: sqlite3.Connection, table: str) -> str | None:
    """The first value of a table that is not of its column's type, in words; None without any."""
    kinds = {
        row["name"]: row["type"].lower()
        for row in conn.execute(f"pragma table_info({table})")
        if row["type"].lower() in ("text", "integer", "real")
    }
    wrong = [f"typeof({name}) not in ('null', '{kind}')" for name, kind in kinds.items()]
    if not wrong:
        return None
    cases = " ".join(f"when {test} then '{name}'" for test, name in zip(wrong, kinds))
    row = conn.execute(
        f"select case {cases} end as wrong, * from {table} where {' or '.join(wrong)} limit 1"
    ).fetchone()
    if row is None:
        return None
    key = next(iter(kinds))
    where = f"{key} = {row[key]!r}"[:60]
    return f"{table}.{row['wrong']} is no {kinds[row['wrong']]} where {where}"
