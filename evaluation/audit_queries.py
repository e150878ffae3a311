"""SQL of the audit: what was filed automatically, in random order, what was drawn, the answers.

In: an open crawl.db and an experiment's number. Out: rows and counts.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import db

LEVELS = ("leaf", "parent")  # the levels at which products are filed automatically

# What experiment :number has filed automatically, also if the shop or a person has filed it since:
# otherwise a review of what is hard would make the rest look better. filing_queries.unfile notes such
# products in audit_sample, as rows without the time of a drawing.
FILED = """from filing join product on product.id = filing.product_id
           where filing.experiment_id = :number and level in ('leaf', 'parent')
           and filing.category_id is not null and product.removed = 0"""
UNDRAWN = f"""{FILED} and not exists (
            select 1 from audit_sample where audit_sample.experiment_id = :number
            and audit_sample.product_id = filing.product_id
            and audit_sample.level = filing.level)"""


# ---- the random order ---------------------------------------------------------------------------


def make_secret(conn: sqlite3.Connection, number: int) -> None:
    """Begin the audit of an experiment, unless it has begun."""
    conn.execute("insert or ignore into audit values (?, ?)", (number, secrets.token_hex(16)))


def random_order(conn: sqlite3.Connection, number: int) -> Callable[[int], bytes]:
    """Where each product stands in the random order of an experiment's audit: a function of its id,
    whose values are compared. It is a keyed hash, so nobody can foresee it, and products that are
    filed later fall among the others at random."""
    (secret,) = conn.execute(
        "select secret from audit where experiment_id = ?", (number,)
    ).fetchone()

    def place(product: int) -> bytes:
        key = secret.encode()[:64]
        return hashlib.blake2b(str(product).encode(), key=key, digest_size=8).digest()

    return place


def next_undrawn(conn: sqlite3.Connection, number: int, most: int) -> list[sqlite3.Row]:
    """The first `most` products, in the random order, that the experiment has filed and that were
    not drawn for the level at which they stand: rows of product_id, source, level, category_id and
    score."""
    conn.create_function("place", 1, random_order(conn, number), deterministic=True)
    return conn.execute(
        f"""select filing.product_id, source, level, filing.category_id, score {UNDRAWN}
            order by place(filing.product_id) limit :most""",
        {"number": number, "most": most},
    ).fetchall()


def next_of_categories(conn: sqlite3.Connection, number: int, most: int) -> list[sqlite3.Row]:
    """The first `most` of each category of a level, as rows of next_undrawn in the random order."""
    conn.create_function("place", 1, random_order(conn, number), deterministic=True)
    return conn.execute(
        f"""select product_id, source, level, category_id, score from (
                select filing.product_id, source, level, filing.category_id, score,
                       row_number() over (partition by level, filing.category_id
                                          order by place(filing.product_id)) as turn {UNDRAWN})
            where turn <= :most order by place(product_id)""",
        {"number": number, "most": most},
    ).fetchall()


# ---- what was filed -----------------------------------------------------------------------------


def undrawn_scores(conn: sqlite3.Connection, number: int, level: str, least: float) -> list[float]:
    """The scores, at least `least`, of what is filed at a level and was not drawn."""
    rows = db.plain(
        conn,
        f"select score {UNDRAWN} and level = :level and score >= :least",
        {"number": number, "level": level, "least": least},
    )
    return [score for (score,) in rows]


def count_undrawn(conn: sqlite3.Connection, number: int, level: str, least: float) -> int:
    """How many products are filed at a level with a score of at least `least` and were not drawn."""
    return conn.execute(
        f"select count(*) {UNDRAWN} and level = :level and score >= :least",
        {"number": number, "level": level, "least": least},
    ).fetchone()[0]


def category_counts(conn: sqlite3.Connection, number: int) -> dict[tuple[str, str], int]:
    """{(level, category): products} of what is filed and was not drawn."""
    rows = db.plain(
        conn,
        f"select level, filing.category_id, count(*) {UNDRAWN} group by level, filing.category_id",
        {"number": number},
    )
    return {(level, category): products for level, category, products in rows}


def targets(conn: sqlite3.Connection, number: int) -> list[tuple[float | None, int]]:
    """[(target by which products were filed, how many)], most first."""
    return db.plain(
        conn,
        f"select target, count(*) {FILED} group by target order by count(*) desc",
        {"number": number},
    ).fetchall()


# ---- what was drawn -----------------------------------------------------------------------------


def sample(conn: sqlite3.Connection, number: int) -> list[sqlite3.Row]:
    """All rows of audit_sample of an experiment, in the order of drawing, each with the product's
    source. A row whose `drawn` is null is one that somebody has filed since, and that chance may
    draw yet."""
    return conn.execute(
        """select audit_sample.*, source from audit_sample
           join product on product.id = product_id where experiment_id = ? order by audit_sample.id""",
        (number,),
    ).fetchall()


def is_audited(conn: sqlite3.Connection, number: int) -> bool:
    """Whether anything was drawn of what an experiment has filed."""
    return bool(
        conn.execute(
            "select 1 from audit_sample where experiment_id = ? limit 1", (number,)
        ).fetchone()
    )


def store_drawn(
    conn: sqlite3.Connection,
    number: int,
    drawn: Sequence[tuple[Mapping[str, Any] | sqlite3.Row, float | None]],
) -> None:
    """Note products that were drawn, pairs of a row of `next_undrawn` or `sample` and the threshold
    in force, in this order; None if it is drawn for its category only. Those that were drawn before
    keep their place, and the lower threshold; what was drawn for its category only, or noted
    (`sample`), gets its place now."""
    conn.executemany(
        """delete from audit_sample where experiment_id = ? and product_id = ? and level = ?
           and drawn is null""",
        [(number, row["product_id"], row["level"]) for row, _ in drawn],
    )
    for row, threshold in drawn:
        values = {
            **{name: row[name] for name in ("product_id", "level", "category_id", "score")},
            "number": number,
            "threshold": threshold,
        }
        conn.execute(
            """insert into audit_sample(experiment_id, product_id, level, category_id, score,
                                        threshold, beside, drawn)
               values (:number, :product_id, :level, :category_id, :score, :threshold,
                       :threshold is null, datetime())
               on conflict(experiment_id, product_id, level) do update set
               threshold = min(excluded.threshold, coalesce(threshold, excluded.threshold))
               where excluded.threshold is not null""",
            values,
        )
        conn.execute(
            """update audit_sample
               set place = (select coalesce(max(place), 0) + 1 from audit_sample
                            where experiment_id = :number)
               where experiment_id = :number and product_id = :product_id and level = :level
               and place is null and threshold is not null""",
            values,
        )


def to_answer(conn: sqlite3.Connection, ids: Sequence[int]) -> list[sqlite3.Row]:
    """What a page shows of these rows of audit_sample: their columns, and id (the product's),
    source, external_id, name, description, image and picture of the product."""
    place = {number: position for position, number in enumerate(ids)}
    rows = []
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        rows += conn.execute(
            f"""select audit_sample.id as drawn_as, level, audit_sample.category_id, answer,
                       threshold, product.id, source, external_id, name, description, image,
                       picture.path as picture
                from audit_sample join product on product.id = audit_sample.product_id
                left join picture on picture.product_id = product.id and picture.status <> ?
                where audit_sample.id in ({",".join("?" * len(part))})""",
            (db.PICTURE_FAILED, *part),
        ).fetchall()
    return sorted(rows, key=lambda row: place[row["drawn_as"]])


# ---- answers ------------------------------------------------------------------------------------


def drawn_product(conn: sqlite3.Connection, number: int, product: int) -> list[sqlite3.Row]:
    """The rows of audit_sample of a product, the last that was drawn first."""
    return conn.execute(
        """select * from audit_sample where experiment_id = ? and product_id = ?
           and drawn is not null order by id desc""",
        (number, product),
    ).fetchall()


def decided_category(conn: sqlite3.Connection, product: int) -> str | None:
    """The category that a person has put a product into; None if there is none."""
    row = conn.execute(
        "select category_id from label_override where product_id = ?", (product,)
    ).fetchone()
    return row and row["category_id"]


def experiments_of(conn: sqlite3.Connection, ids: Sequence[int]) -> list[int]:
    """The experiments of these rows of audit_sample."""
    rows = db.plain(
        conn,
        """select distinct experiment_id from audit_sample
           where id in (select value from json_each(?)) order by experiment_id""",
        (json.dumps(list(ids)),),
    )
    return [number for (number,) in rows]


def store_answers(
    conn: sqlite3.Connection, answers: Iterable[tuple[int, str | None, str | None]]
) -> int:
    """Store answers: the id in audit_sample, right, wrong, unsure or None to take one back, and
    where the product belongs if it is wrong and that is known. What is wrong is left to a person,
    and what is not wrong any more is filed by the next --apply. Returns how many are new or
    changed."""
    rows = [
        {"id": number, "answer": answer, "right": category} for number, answer, category in answers
    ]
    before = conn.total_changes
    conn.executemany(
        """update audit_sample set answer = :answer, right_id = :right,
           answered = case when :answer is null then null else datetime() end
           where id = :id and (answer is not :answer or right_id is not :right)""",
        rows,
    )
    changed = conn.total_changes - before
    conn.executemany(
        """update filing set level = 'person', category_id = null, score = leaf_score
           where level in ('leaf', 'parent') and (experiment_id, product_id, level) in (
               select experiment_id, product_id, level from audit_sample
               where id = :id and answer = 'wrong')""",
        rows,
    )
    return changed
