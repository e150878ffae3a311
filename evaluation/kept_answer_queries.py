"""SQL of a model's answers that the table filing keeps, as far as they may have been damaged.

In: an open crawl.db and an experiment's number. Out: the categories of an answer, or UserError.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from common import stored_json
from common.terminal import UserError


def forget_damaged(conn: sqlite3.Connection, number: int) -> int:
    """Delete the answers of experiment `number` that no script wrote so, since text is greater than
    any threshold: the model answers again. Returns how many they are."""
    conn.create_function("is_top", 1, is_top, deterministic=True)
    counts = " and ".join(
        f"typeof({name}) in ('integer', 'null')"
        for name in ("words", "unknown", "pictured", "twin")
    )
    names = " and ".join(
        f"typeof({name}) in ('text', 'null')"
        for name in ("leaf_id", "parent_id", "category_id", "level")
    )
    return conn.execute(
        f"""delete from filing where experiment_id = ? and not (
                coalesce(leaf_score, 0) between -0.001 and 1.001
                and coalesce(parent_score, 0) between -0.001 and 1.001
                and typeof(score) in ('real', 'null') and typeof(target) in ('real', 'null')
                and {counts} and {names} and is_top(top))""",
        (number,),
    ).rowcount


def is_top(text: Any) -> bool:
    """Whether a column holds the best categories of an answer."""
    try:
        best(text, 0)
    except UserError:
        return False
    return True


def best(text: str | None, number: int) -> list[list[Any]]:
    """[category, score] of filing.top of experiment `number`, the likeliest first. Raises UserError
    if it is damaged."""
    mend = f"run --apply {number} again"
    return stored_json.read(
        text or "[]", stored_json.TOP, f"filing.top of experiment {number}", mend
    )
