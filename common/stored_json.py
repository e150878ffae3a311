"""JSON that a column of crawl.db holds, read as the form that the suite wrote.

In: the text of a column; anybody may have written to the file, and a disk may have damaged it.
Out: the value, or UserError with what to do about it, so that nothing is computed from half of it.

A form is a type, [form] for a list of any length, (form, form) for a list of that length, or
{key: form} for an object; its values may be null, and other keys may hold anything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from common.terminal import UserError

DAMAGED = "{} can't be read as what a script wrote there: {}"
NUMBER = float  # an int fits, too; infinity and NaN do not
TOP = [(str, NUMBER)]  # the best categories of a product: [category, score]
SHUT = [{"category": str, "accepted": int, "right": int}]  # leaves: floors.named
CATEGORY = {  # a row of the table as it was
    **dict.fromkeys(("id", "parent", "path", "name", "host"), str),
    **dict.fromkeys(("leaf", "product_count", "next_offset", "crawled"), int),
    **dict.fromkeys(("total", "stale_pages"), int),
}
DECISION = {  # a row of label_override as it was
    "product_id": int,
    **dict.fromkeys(("decision", "category_id", "label_id", "date"), str),
}
# Of an experiment's settings what others compute with; the rest is only shown.
SETTINGS = {  # the form of what others compute with; the rest is only shown
    "folds": int,
    "products": int,
    "categories": [str],
    "calibration": {"test": {"nll before": float, "ece before": float, "nll after": float}},
    "model": str,
    "regroupings": int,
    "category changes": int,
}


def read(text: Any, form: Any, what: str, mend: str, needed: Sequence[str] = ()) -> Any:
    """The value of a JSON text that has this form, and these keys with values. Raises UserError,
    which says that `what` is damaged and what to do (mend), if it is not that."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        value = math.nan
    objects = value if isinstance(value, list) else [value]
    if not fits(value, form) or any(part.get(key) is None for part in objects for key in needed):
        raise UserError(DAMAGED.format(what, mend))
    return value


def row_text(row: Mapping[str, Any]) -> str:
    """JSON of a row of a table, to which a person may have added columns. A blob is an object there:
    {"blob": its hex digits}."""
    return json.dumps(dict(row), default=lambda blob: {"blob": blob.hex()})


def read_row(text: Any, form: Any, what: str, mend: str, key: str) -> dict[str, Any]:
    """The row that `row_text` has made a text of, which has a `key`. Raises UserError as `read`."""
    row = read(text, form, what, mend, [key])
    try:
        return {
            name: bytes.fromhex(value["blob"]) if isinstance(value, dict) else value
            for name, value in row.items()
        }
    except (KeyError, TypeError, ValueError):
        raise UserError(DAMAGED.format(what, mend)) from None


def fits(value: Any, form: Any) -> bool:
    """Whether a value that JSON gave has this form."""
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(part, form[0]) for part in value)
    if isinstance(form, tuple):
        return isinstance(value, list) and len(value) == len(form) and all(map(fits, value, form))
    if isinstance(form, dict):
        return isinstance(value, dict) and all(
            value.get(key) is None or fits(value[key], part) for key, part in form.items()
        )
    if form is NUMBER:
        return type(value) in (int, float) and abs(value) < 2**63
    if form is int:
        return type(value) is int and abs(value) < 2**63  # what SQLite can hold
    return type(value) is form
