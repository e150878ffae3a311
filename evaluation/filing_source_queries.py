"""SQL of what the last --apply of an experiment used for each shop: the table filing_source.

In: an open crawl.db, an experiment's number, and thresholds. Out: rows, by the shop's name.

    sqlite3 crawl.db 'select * from filing_source'
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from common import stored_json


def keep_filing(
    conn: sqlite3.Connection,
    number: int,
    source: str | None,
    promise: Mapping[str, Any],
    thresholds: Mapping[str, float],
    reasons: Iterable[str],
    refused: Iterable[str],
) -> None:
    """Note by which thresholds {level: score, inf for none} a shop's products were filed, and the
    reasons (sentences) why that is less than the promise, a dict with target, confidence, floor and
    shut. The promise holds at the levels `refused` too, but not for this shop."""
    leaf, parent = (
        None if thresholds[level] == math.inf else thresholds[level] for level in ("leaf", "parent")
    )
    conn.execute(
        """insert or replace into filing_source(experiment_id, source, target, confidence,
                    leaf, parent, reasons, refused, floor, shut)
                    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            number,
            source or "",
            promise["target"],
            promise["confidence"],
            leaf,
            parent,
            json.dumps(list(reasons)),
            json.dumps(list(refused)),
            promise["floor"],
            json.dumps(promise["shut"]),
        ),
    )


def kept_filing(conn: sqlite3.Connection, number: int) -> dict[str, dict[str, Any]]:
    """{shop: row of target, confidence, leaf, parent, reasons, refused, floor and shut} of an
    experiment's last --apply. Shops that an older version filed are left out, since it kept
    less. Raises UserError if a row is damaged."""
    shops, mend = {}, f"run --apply {number} again"
    for row in conn.execute(
        """select * from filing_source where experiment_id = ? and refused is not null
           order by source""",
        (number,),
    ):
        lists = {
            name: stored_json.read(row[name] or "[]", form, f"filing_source.{name}", mend, needed)
            for name, form, needed in (
                ("reasons", [str], ()),
                ("refused", [str], ()),
                ("shut", stored_json.SHUT, ("category", "accepted", "right")),
            )
        }
        shops[row["source"]] = {**dict(row), **lists}
    return shops
