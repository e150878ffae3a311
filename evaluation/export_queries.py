"""SQL of exports: what an experiment filed and what people decided, and where the shops came from.

In: an open crawl.db and an experiment's number. Out: rows and counts.
"""

from __future__ import annotations

import sqlite3

import db
from evaluation.catalogue_queries import DECIDED, UNFILED
from learning.queries import PUTS

# The label is the one that a person has found wrong.
CORRECTED = f"""product.category_id is not null and product.removed = 0 and {PUTS}
                and label_override.label_id = product.category_id
                and label_override.category_id <> product.category_id"""

# The product is a variant of another one of the shop: it is in its group, which has its id.
VARIANT = """exists (select 1 from product as parent where parent.source = product.source
                     and parent.external_id = substr(product.group_key, length(product.source) + 2)
                     and parent.id <> product.id)"""


def exported_sql(where: str) -> str:
    """The SQL of the products that have a category to export, as far as `where` holds: what was
    filed at the leaf or the parent, what a person has decided about a product without a label, and
    where a person has put a product with a wrong one (`replaced`)."""
    return f"""
        select product.id as product_id, external_id, source, coalesce(name, '') as name,
               filing.category_id, level, score, null as replaced, {VARIANT} as is_variant
        from filing join product on product.id = filing.product_id
        where experiment_id = :number and level in ('leaf', 'parent') and {UNFILED} and {where}
        union all
        select product.id, external_id, source, coalesce(name, ''), label_override.category_id,
               'decided', null, null, {VARIANT}
        from label_override join product on product.id = label_override.product_id
        where {DECIDED} and label_override.category_id is not null and {where}
        union all
        select product.id, external_id, source, coalesce(name, ''), label_override.category_id,
               'decided', null, product.category_id, {VARIANT}
        from label_override join product on product.id = label_override.product_id
        where {CORRECTED} and {where}"""


def hold_still(conn: sqlite3.Connection) -> None:
    """Have all that is read from now on be as it is now, whatever others write meanwhile: a file with
    categories from before and after another --apply would be wrong in both."""
    conn.execute("begin")


def exported(conn: sqlite3.Connection, number: int, source: str | None) -> sqlite3.Cursor:
    """Rows of all that is exported of a source, or of all sources, by product: product_id,
    external_id, source, name, category_id, level (leaf, parent or decided), score, replaced,
    is_variant."""
    where = "true" if source is None else "coalesce(product.source, '') = :source"
    return conn.execute(f"{exported_sql(where)} order by 1", {"number": number, "source": source})


def exported_product(
    conn: sqlite3.Connection, number: int, source: str, external_id: str
) -> sqlite3.Row | None:
    """The row of `exported` of one product; None if it has none."""
    return conn.execute(
        exported_sql("product.source = :source and product.external_id = :external_id"),
        {"number": number, "source": source, "external_id": external_id},
    ).fetchone()


def want_met(conn: sqlite3.Connection) -> None:
    """Empty the temporary table met(id), of the products that a file has."""
    conn.execute("create temp table if not exists met(id integer primary key)")
    conn.execute("delete from met")


def note_met(conn: sqlite3.Connection, product_id: int) -> None:
    """Note that the file has this product, in one row or in several."""
    conn.execute("insert or ignore into met values (?)", (product_id,))


def count_met(conn: sqlite3.Connection) -> int:
    return conn.execute("select count(*) from met").fetchone()[0]


def could_file(conn: sqlite3.Connection, number: int) -> bool:
    """Whether an experiment has not filed yet, and there are products without a category."""
    return bool(
        conn.execute(
            """select exists (select 1 from product where category_id is null) and not exists
               (select 1 from filing where experiment_id = ? and level is not null)""",
            (number,),
        ).fetchone()[0]
    )


def exported_sources(conn: sqlite3.Connection, number: int) -> dict[str, int]:
    """{source: products that have a category to export}."""
    rows = db.plain(
        conn,
        f"""select coalesce(source, ''), count(*) from ({exported_sql("true")})
            group by source order by source""",
        {"number": number},
    )
    return dict(rows)


def count_waiting(conn: sqlite3.Connection, number: int, source: str | None) -> int:
    """How many products an experiment has left to a person, who has not decided yet."""
    return conn.execute(
        f"""select count(*) from filing join product on product.id = filing.product_id
            where experiment_id = :number and level = 'person' and {UNFILED}
            and (:source is null or source = :source)""",
        {"number": number, "source": source},
    ).fetchone()[0]


def listed_categories(conn: sqlite3.Connection, product_id: int) -> list[str]:
    """The ids of the categories that the shop lists a product in, in its order."""
    rows = db.plain(
        conn,
        """select category_id from product_category where product_id = ?
           order by position is null, position, category_id""",
        (product_id,),
    )
    return [category for (category,) in rows]


def feed_system(conn: sqlite3.Connection, source: str) -> tuple[str, str, str]:
    """(the system that wrote the feed of a source, the known names of the columns of its ids and its
    categories), '' for what nobody knows."""
    row = db.plain(
        conn,
        "select system, id_column, category_column from feed_system where source = ?",
        (source,),
    ).fetchone()
    return row or ("", "", "")
