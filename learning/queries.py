"""SQL of training: the labelled products, their texts and pictures, and the experiment's rows.

In: an open crawl.db. Out: rows by product id, so that several reads go side by side.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

import db
from common import stored_json
from common.stored_json import CATEGORY
from common.terminal import UserError
from common.text import folded, storable
from learning import category_tree
from learning.category_tree import WHOLE_TREE, Rule

PICTURES_AT_ONCE = 10_000  # rows in memory at a time

# A person's decisions that put a product into a category.
PUTS = "decision in ('label wrong', 'filed by hand')"

# The class that a category, a column, counts as; the category itself if it counts as none.
CLASS_OF = "coalesce((select class from counts_as where counts_as.id = {0}), {0})"

# A product takes part if it is filed in a wanted class, or if a person has put it into one. A
# decision holds as long as the shop's label is the one that was looked at. Products that the shop's
# feed no longer has take no part.
TAKES_PART = f"""from product left join label_override
                on product_id = product.id and {PUTS}
                and label_id is product.category_id
                where product.removed = 0
                and (product.category_id in (select id from wanted_leaf)
                       or label_override.category_id in (select id from wanted_leaf))"""

# The product has a category that no person has chosen, and --apply filed the product before. If it
# has another category now, the shop has corrected it. Those count no more than the others: figures
# that left out only what was filed rightly would rest on the suite's errors. Nor does the answer of
# an audit confirm it: only what the machine was sure of is audited, and that is no random sample.
FILED_HERE = """(product.category_id is not null and exists (
                select 1 from filed_before where filed_before.product_id = product.id)
                and (not exists (
                select 1 from label_override where label_override.product_id = product.id
                and (label_override.category_id = product.category_id
                     or decision = 'classifier wrong' and label_id = product.category_id))
                or exists (
                select 1 from audit_sample where audit_sample.product_id = product.id
                and audit_sample.answer is not null)))"""


def want_classes(conn: sqlite3.Connection, rule: Rule) -> None:
    """Fill the temporary table counts_as(id, class) with category_tree.counts_as."""
    conn.execute("create temp table if not exists counts_as(id text primary key, class text)")
    conn.execute("delete from counts_as")
    conn.executemany(
        "insert into counts_as values (?, ?)", category_tree.counts_as(conn, rule).items()
    )


def want_leaves(conn: sqlite3.Connection, leaves: Iterable[str], rule: Rule) -> None:
    """Fill the temporary tables counts_as and wanted_leaf(id): these classes, and each category that
    counts as one of them. An IN list would meet SQLite's limit of variables."""
    want_classes(conn, rule)
    conn.execute("create temp table if not exists wanted_leaf(id text primary key)")
    conn.execute("delete from wanted_leaf")
    conn.executemany("insert into wanted_leaf values (?)", [(leaf,) for leaf in leaves])
    conn.execute("""insert or ignore into wanted_leaf select id from counts_as
                    where class in (select id from wanted_leaf)""")


def labelled_products(
    conn: sqlite3.Connection,
    leaves: Iterable[str],
    trust_filed: bool = False,
    rule: Rule = WHOLE_TREE,
) -> sqlite3.Cursor:
    """Rows (id, category_id, group_key, taught, filed, corrected) of all products filed in these
    classes, or put into one of them by a person, by id. category_id is the class as crawled, `taught` the
    one to learn. Unless trust_filed, the label of a product that --apply filed before is only
    taught: category_id is null then, and `filed` is 1; `corrected` is 1 if that label is another
    one than --apply gave."""
    want_leaves(conn, leaves, rule)
    filed = "0" if trust_filed else FILED_HERE
    label = CLASS_OF.format("product.category_id")
    as_filed = f"""select 1 from filed_before where filed_before.product_id = product.id
                   and {CLASS_OF.format("filed_before.category_id")} = {label}"""
    taught = CLASS_OF.format("coalesce(label_override.category_id, product.category_id)")
    return conn.execute(f"""
        select product.id, case when {filed} then null else {label} end as category_id,
               {db.GROUP_KEY} as group_key, {taught} as taught,
               {filed} as filed, {filed} and not exists ({as_filed}) as corrected
        {TAKES_PART} order by product.id""")


def class_sizes(conn: sqlite3.Connection, rule: Rule) -> dict[str, tuple[int, int]]:
    """{class: (products filed there, different styles among them)}, without empty classes, the
    largest first. Products of one group are one style."""
    want_classes(conn, rule)
    return {
        category: (products, styles)
        for category, products, styles in db.plain(
            conn,
            f"""
        select class, count(*) as products, count(distinct {db.GROUP_KEY})
        from counts_as join product on category_id = counts_as.id where removed = 0
        group by class order by products desc, class""",
        )
    }


def count_at_inner(conn: sqlite3.Connection) -> int:
    """How many products are filed at categories that are not in the table counts_as."""
    return conn.execute(
        """select count(*) from product where removed = 0
           and category_id in (select id from category)
           and category_id not in (select id from counts_as)"""
    ).fetchone()[0]


def texts(
    conn: sqlite3.Connection, leaves: Iterable[str], rule: Rule = WHOLE_TREE
) -> Iterator[tuple[str, str]]:
    """Yield (name, description) of the same products in the same order, so that the catalogue's
    text is never in memory as a whole."""
    want_leaves(conn, leaves, rule)
    yield from db.plain(
        conn,
        f"""select coalesce(name, ''), coalesce(description, '')
                                  {TAKES_PART} order by product.id""",
    )


def pictures(conn: sqlite3.Connection, ids: NDArray[Any]) -> Iterator[tuple[int, str, str | None]]:
    """Yield (product_id, path, sha256) of those of the products, sorted by id, that may have a
    picture. They are read a part at a time: whoever asks may take a day, and a reader that stays
    would keep other scripts' changes out of the database's file."""
    for start in range(0, len(ids), PICTURES_AT_ONCE):
        part = json.dumps(ids[start : start + PICTURES_AT_ONCE].tolist())
        rows = conn.execute(
            """select product_id, path, sha256 from picture
               where product_id in (select value from json_each(?)) and status <> ?
               order by product_id""",
            (part, db.PICTURE_FAILED),
        ).fetchall()
        yield from map(tuple, rows)


def catalogue(conn: sqlite3.Connection) -> Iterator[tuple]:
    """Yield (id, group key, name, description) of all products that the shop or a person has filed,
    whatever the category, by id, without removed ones. Products that only wait must not move the
    split."""
    yield from db.plain(
        conn,
        f"""
        select id, {db.GROUP_KEY}, name, description from product
        where removed = 0 and (category_id is not null or exists (
            select 1 from label_override where product_id = product.id and {PUTS}))
        order by id""",
    )


def unfiled_texts(conn: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield (name, description) of all products that the shop has not filed, without removed
    ones, always in the same order."""
    yield from db.plain(
        conn,
        """select coalesce(name, ''), coalesce(description, '') from product
           where removed = 0 and category_id is null order by id""",
    )


def product_ids(conn: sqlite3.Connection, source: str) -> list[int]:
    """Ids of a shop's products."""
    return [row[0] for row in db.plain(conn, "select id from product where source = ?", (source,))]


def product_sources(conn: sqlite3.Connection) -> Iterator[tuple[int, str]]:
    """Yield (id, shop) of all products of a shop, by id."""
    yield from db.plain(conn, "select id, source from product where source is not null order by id")


def product_text(conn: sqlite3.Connection, number: int) -> tuple[str, str, str | None]:
    """(name, description, category id) of a product. Raises UserError if there is none."""
    row = None
    if abs(number) < 2**63:  # what SQLite can hold
        row = conn.execute(
            """select coalesce(name, ''), coalesce(description, ''), category_id
                              from product where id = ?""",
            (number,),
        ).fetchone()
    if row is None:
        raise UserError(
            f"there is no product {number}: name its product_id in filed.csv, which is its id in "
            "the table product, and not the shop's"
        )
    return tuple(row)


def missing_categories(conn: sqlite3.Connection) -> dict[str, int]:
    """{category: products} of decisions that hold, of categories that are not there (yet)."""
    return dict(
        db.plain(
            conn,
            f"""
        select label_override.category_id, count(*) from label_override
        join product on product.id = product_id and label_id is product.category_id
        where {PUTS} and label_override.category_id not in (select id from category)
        group by label_override.category_id order by count(*) desc, label_override.category_id""",
        )
    )


def settle_proposals(conn: sqlite3.Connection) -> None:
    """Have decisions of a category that did not exist name the one that is called so by now."""
    missing = missing_categories(conn)
    names = category_tree.category_names(conn) if missing else {}
    settled = [(names[folded(name)], name) for name in missing if folded(name) in names]
    if settled:
        with db.transaction(conn):
            conn.executemany(
                "update label_override set category_id = ? where category_id = ?", settled
            )


# ---- categories that were renamed, moved or merged -----------------------------------------------


def category_changes(conn: sqlite3.Connection) -> list[sqlite3.Row]:
    """All rows of category_change, oldest first."""
    return conn.execute("select * from category_change order by id").fetchall()


def last_category_change(conn: sqlite3.Connection) -> int:
    """The last run of --recategorize or --undo-recategorize, 0 without any."""
    return conn.execute("select coalesce(max(run), 0) from category_change").fetchone()[0]


def kept_categories(conn: sqlite3.Connection, run: int) -> dict[str, dict[str, Any] | None]:
    """{category id: its row before a run, None if there was none}. Raises UserError if one is
    damaged."""
    kept: dict[str, dict[str, Any] | None] = {}
    for category, text in db.plain(
        conn,
        """select category_id, row from category_change_row
           where run = ? and relation = 'category' order by rowid""",
        (run,),
    ):
        row = (
            None
            if text is None
            else {**dict.fromkeys(CATEGORY), **kept_row(text, CATEGORY, run, "id")}
        )
        kept.setdefault(category, row)
    return kept


def kept_row(text: str, form: dict[str, type], run: int, key: str) -> dict[str, Any]:
    """A row that a run of --recategorize has kept as JSON, which has a `key`. Raises UserError if
    it is damaged."""
    what = f"category_change_row.row of run {run}"
    mend = "restore the file from a copy"
    return stored_json.read_row(text, form, what, mend, key)


# ---- experiments --------------------------------------------------------------------------------


def insert_experiment(
    conn: sqlite3.Connection,
    name: str,
    settings: dict,
    predicted: Iterable,
    validation: Iterable,
    twins: Sequence[Iterable] | None,
    clusters: Iterable,
    learned: Iterable[int],
) -> int:
    """Insert an experiment with its predictions, as model_folders.save_experiment describes them.
    Returns its number. The caller holds the transaction."""
    conn.execute(
        "insert into experiment(name, date, settings) values (?, datetime(), ?)",
        (storable(name), storable(json.dumps(settings, ensure_ascii=False))),
    )
    number = conn.execute("select last_insert_rowid()").fetchone()[0]
    columns = """experiment_id, product_id, category_id, score, label_id, label_score,
                 parent_id, parent_score, top, fold"""
    predicted_twins, validation_twins = twins or (itertools.repeat(None), itertools.repeat(None))
    conn.executemany(
        f"""insert into predicted_category({columns}, twin)
                         values ({number}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        ((*row, twin) for row, twin in zip(predicted, predicted_twins)),
    )
    conn.executemany(
        f"""insert into validation_prediction({columns}, certifying, twin)
                         values ({number}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        ((*row, twin) for row, twin in zip(validation, validation_twins)),
    )
    conn.executemany(
        f"""insert into near_duplicate(experiment_id, product_id, cluster)
                         values ({number}, ?, ?)""",
        clusters,
    )
    conn.executemany(
        f"insert into learned_product(experiment_id, product_id) values ({number}, ?)",
        ((product_id,) for product_id in learned),
    )
    return number
