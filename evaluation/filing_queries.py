"""SQL of filing: products that nobody has filed, the model's answers, and where each one goes.

In: an open crawl.db and an experiment's number. Out: rows and counts.
"""
import json

import db
from learning import category_tree
from learning.queries import FILED_HERE, PUTS, want_leaves

# A category id, of a column, that products may be filed at today.
LEAF_TODAY = "{0} in (select id from place where leaf = 1)"

PLACE_TODAY = "{0} in (select id from place)"


def want_places(conn):
    """Fill the temporary table place(id, leaf) with the categories that products may be filed at
    today: the leaves that have a labelled product, and all categories above those."""
    conn.execute("create temp table if not exists place(id text primary key, leaf integer)")
    conn.execute("delete from place")
    leaves = conn.execute(f"""
        select id, path from category where leaf = 1 and (
            exists (select 1 from product where category_id = category.id)
            or id in (select label_override.category_id from label_override
                      join product on product.id = product_id where {PUTS}
                      and label_id is product.category_id))""").fetchall()
    above, own = category_tree.parents(conn), {row["id"] for row in leaves}
    inner = {name for row in leaves for name in (above[row["id"]], *(row["path"] or "").split("/"))}
    conn.executemany("insert into place values (?, ?)", [
        *((name, 1) for name in own), *((name, 0) for name in inner - own if name)])


def places_today(conn):
    """{category id: 1 for a leaf, else 0} of the categories that products may be filed at today."""
    want_places(conn)
    return dict(db.plain(conn, "select id, leaf from place"))


# Without a category of the shop's, and of a person's.
UNFILED = f"""product.category_id is null and not exists (
             select 1 from label_override where product_id = product.id
             and {PUTS} and label_id is null)"""

# Without a category of the shop's, but with a person's: what UNFILED leaves out.
DECIDED = f"""product.category_id is null and {PUTS} and label_override.label_id is null"""

# Filed in a leaf that is not in the table wanted_leaf, the model's, by a shop that it learned from
# (and never by this suite), unless the experiment was measured on it.
STRANGE = f"""+product.category_id in (select id from category where leaf = 1)
             and product.category_id not in (select id from wanted_leaf)
             and product.source in (select source from taught_source)
             and product.id not in (select id from measured) and not {FILED_HERE}"""


def measured_products(conn, number):
    """The SQL of the products that an experiment was measured on: rows of product_id and label_id,
    each product once."""
    own = "select product_id, label_id from {} where experiment_id = :number"
    if db.settings(db.experiment(conn, number)).get("folds"):   # all of them are predicted once
        return own.format("predicted_category")
    return " union ".join(map(own.format, ("predicted_category", "validation_prediction")))


def want_strange(conn, number, leaves):
    """Fill the temporary tables that STRANGE looks into, for experiment `number` and its leaves."""
    want_leaves(conn, leaves)
    conn.execute("create temp table if not exists measured(id integer primary key)")
    conn.execute("delete from measured")
    own = measured_products(conn, number)
    conn.execute(f"""insert or ignore into measured
                     select id from ({own}) join product on id = product_id
                     where category_id not in (select id from wanted_leaf)""", {"number": number})
    conn.execute("create temp table if not exists taught_source(source text)")
    conn.execute("delete from taught_source")
    conn.execute("""insert into taught_source select distinct source from product
                    where category_id in (select id from wanted_leaf)""")


def learned_texts(conn, number, leaves):
    """Yield (group key, name, description) of the products that the saved model of experiment
    `number`, of these leaves, learned from, as far as they are still there.

    An older experiment has no rows in learned_product. With folds its model learned from all that
    it predicted, and from a few that a person had filed, which are left out here. Without folds
    those products are taken that have a label today and that it was not measured on, so those that
    came with a label after the training count too."""
    want_leaves(conn, leaves)
    own = "select product_id from learned_product where experiment_id = :number"
    if not conn.execute(f"{own} limit 1", {"number": number}).fetchone():
        measured = f"select product_id from ({measured_products(conn, number)})"
        folds = db.settings(db.experiment(conn, number)).get("folds")
        own = measured if folds else f"""
            select id from product left join label_override on product_id = id and {PUTS}
            and label_id is product.category_id
            where coalesce(label_override.category_id, product.category_id) in (
                select id from wanted_leaf) and id not in ({measured})"""
    yield from db.plain(conn, f"""select {db.GROUP_KEY}, name, description from product
                               where id in ({own}) order by id""", {"number": number})


def to_answer(conn, number, leaves, size):
    """Yield lists of up to `size` products that experiment `number` has no answer for yet and that
    nobody has filed, or that are filed in a leaf that is not one of its own `leaves`: rows of id,
    category_id, group_key, cluster (of the experiment's, else the group_key), name, description,
    and path and sha256 of their picture or null."""
    want_strange(conn, number, leaves)
    for where in (UNFILED, STRANGE):   # with an `or` SQLite would sort them all for each list
        after = -2 ** 63
        while rows := conn.execute(f"""
                select product.id, category_id, {db.GROUP_KEY} as group_key,
                       coalesce(name, '') as name,
                       coalesce(description, '') as description, path, sha256,
                       coalesce(cluster, {db.GROUP_KEY}) as cluster
                from product left join picture on picture.product_id = product.id and status <> ?
                left join near_duplicate on near_duplicate.product_id = product.id
                     and near_duplicate.experiment_id = ?
                where {where} and product.id > ? and not exists (
                    select 1 from filing where experiment_id = ? and product_id = product.id)
                order by product.id limit ?""",
                                   (db.PICTURE_FAILED, number, after, number, size)).fetchall():
            yield rows
            after = rows[-1]["id"]


def count_unfiled(conn, number, leaves):
    """(products that nobody has filed, products without an answer yet as in `to_answer`, products
    without a category that a person has filed)."""
    want_strange(conn, number, leaves)
    return tuple(conn.execute(f"""
        select (select count(*) from product where {UNFILED}),
               (select count(*) from product where ({UNFILED} or {STRANGE}) and not exists (
                    select 1 from filing where experiment_id = ? and product_id = product.id)),
               (select count(*) from label_override join product on product.id = product_id
                where {DECIDED})""", (number,)).fetchone())


def count_strange(conn, number, leaves, pictured=False):
    """(products filed in leaves that are not the model's `leaves`, those of them that experiment
    `number` has answered), only products with a usable picture if `pictured`."""
    want_strange(conn, number, leaves)
    seen = "exists (select 1 from picture where product_id = product.id and status <> ?)"
    return tuple(conn.execute(f"""
        select count(*), coalesce(sum(exists (select 1 from filing where experiment_id = ?
                                              and product_id = product.id)), 0)
        from product where {STRANGE} {f"and {seen}" if pictured else ""}""",
                              (number, db.PICTURE_FAILED) if pictured else (number,)).fetchone())


def store_answers(conn, number, rows):
    """Store what a model says of products, rows (product_id, leaf_id, leaf_score, parent_id,
    parent_score, top, words, unknown, pictured, twin), in one transaction. What another process has
    answered meanwhile stays."""
    with db.transaction(conn):
        conn.executemany(f"""insert or ignore into filing(experiment_id, product_id, leaf_id,
                             leaf_score, parent_id, parent_score, top, words, unknown, pictured,
                             twin) values ({number}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""", rows)


# What a source's products are filed as by their answers: at the leaf from score :leaf on; if the
# leaf's score is under :below, or the leaf is not there today, at the parent from :parent on; the
# others not at all, and nothing at a category that is not there today (want_places).
LEVEL = f"""case when leaf_id is null then 'person'
            when leaf_score >= :leaf and {LEAF_TODAY.format("leaf_id")} then 'leaf'
            when (leaf_score < :below or not {LEAF_TODAY.format("leaf_id")})
                 and parent_score >= :parent and {PLACE_TODAY.format("parent_id")} then 'parent'
            else 'person' end"""

OF_SOURCE = f"""where experiment_id = :number and product_id in (
                    select id from product where source = :source and {UNFILED})"""


def file_products(conn, number, source, leaf, below, parent, target=None):
    """File a source's products by their answers and thresholds, as LEVEL has it, and remember what
    is filed at a leaf. target is the --target."""
    want_places(conn)
    values = {"leaf": leaf, "below": below, "parent": parent, "number": number, "source": source,
              "target": target}
    conn.execute(f"""
        update filing set level = {LEVEL}, target = :target,
            category_id = case {LEVEL} when 'leaf' then leaf_id when 'parent' then parent_id end,
            score = case {LEVEL} when 'parent' then parent_score else leaf_score end {OF_SOURCE}""",
                 values)
    conn.execute(f"""insert or ignore into filed_before(product_id, category_id)
                     select product_id, category_id from filing {OF_SOURCE} and level = 'leaf'""",
                 values)


def filing_moves(conn, number, source, leaf, below, parent):
    """What file_products would do, and from what: tuples (level now, or None; target that it was
    decided for, or None; level then; products). It writes nothing."""
    want_places(conn)
    return db.plain(conn, f"""select level, target, {LEVEL} as next, count(*) from filing {OF_SOURCE}
                           group by level, target, next""",
                 {"leaf": leaf, "below": below, "parent": parent, "number": number,
                  "source": source}).fetchall()


def answers_gone(conn, number):
    """[(category, products)] of the leaves that experiment `number` names for products that nobody
    has filed, and that nothing may be filed at today; most products first."""
    want_places(conn)
    return conn.execute(f"""select leaf_id, count(*) from filing join product
                            on product.id = product_id where experiment_id = ?
                            and leaf_id is not null and not {LEAF_TODAY.format("leaf_id")}
                            and {UNFILED} group by leaf_id order by count(*) desc, leaf_id""",
                        (number,)).fetchall()


def answer_counts(conn, number, source, edges):
    """{(leaf, how many of these edges its score reaches): products} of what an experiment says of a
    source's products without a category. A score for a leaf that nothing may be filed at today
    reaches none, as in `details`."""
    want_places(conn)
    step = " + ".join([f"(leaf_score >= ? and {LEAF_TODAY.format('leaf_id')})"] * len(edges))
    return {(leaf, step): count for leaf, step, count in db.plain(conn, f"""
        select leaf_id, {step} as step, count(*) from filing
        join product on product.id = product_id
        where experiment_id = ? and source = ? and leaf_id is not null and {UNFILED}
        group by leaf_id, step""", (*edges, number, source))}


def unfile(conn, number):
    """Take back what was filed of products that somebody has filed since."""
    conn.execute(f"""update filing set level = null, category_id = null, score = null,
                     target = null where experiment_id = ? and level is not null
                     and product_id not in (select id from product where {UNFILED})""", (number,))


def filed(conn, number):
    """Yield rows of what an experiment filed, and of what a person decided of products without a
    category (level decided, without score and suggestions), by product: product_id, external_id,
    source, name, category_id, level, score, top."""
    return conn.execute(f"""
        select filing.product_id, external_id, source, coalesce(name, '') as name,
               filing.category_id, level, score, top
        from filing join product on product.id = filing.product_id
        where experiment_id = ? and level is not null and {UNFILED}
        union all
        select label_override.product_id, external_id, source, coalesce(name, ''),
               label_override.category_id, 'decided', null, '[]'
        from label_override join product on product.id = label_override.product_id
        where {DECIDED} order by 1""", (number,))


def left_to_person(conn, number, top, surest=True):
    """Rows of what an experiment has left to a person, and then of what it filed at the parent,
    which lacks a leaf: id, source, external_id, name, description, image, picture, level, leaf_id,
    score, parent_id, parent_score, top; those with the highest scores first, or the lowest."""
    return conn.execute(f"""
        select product.id, source, external_id, name, description, image, picture.path as picture,
               level, leaf_id, leaf_score as score, parent_id, parent_score, top
        from filing join product on product.id = filing.product_id
        left join picture on picture.product_id = product.id and picture.status <> ?
        where experiment_id = ? and level in ('person', 'parent') and {UNFILED}
        order by level = 'parent', leaf_score {"desc" if surest else "asc"}, product.id limit ?""",
                        (db.PICTURE_FAILED, number, top)).fetchall()


def keep_filing(conn, number, source, promise, thresholds, reasons, refused):
    """Note by which thresholds {level: score, inf for none} a shop's products were filed, and the
    reasons (sentences) why that is less than the promise, a dict with target and confidence. The
    promise holds at the levels `refused` too, but not for this shop."""
    leaf, parent = (None if thresholds[level] == float("inf") else thresholds[level]
                    for level in ("leaf", "parent"))
    conn.execute("""insert or replace into filing_source(experiment_id, source, target, confidence,
                    leaf, parent, reasons, refused) values (?, ?, ?, ?, ?, ?, ?, ?)""",
                 (number, source or "", promise["target"], promise["confidence"], leaf, parent,
                  json.dumps(list(reasons)), json.dumps(list(refused))))


def kept_filing(conn, number):
    """{shop: row of target, confidence, leaf, parent, reasons and refused} of an experiment's last
    --apply, without the shops that an older version filed, which kept less."""
    return {row["source"]: row for row in conn.execute(
        """select * from filing_source where experiment_id = ? and refused is not null
           order by source""", (number,))}


def count_levels(conn, number):
    """{leaf, parent, person: products} of what an experiment filed."""
    return dict(db.plain(conn, f"""select level, count(*) from filing join product
                                on product.id = product_id
                                where experiment_id = ? and level is not null and {UNFILED}
                                group by level""", (number,)))


def unfiled_sources(conn):
    """The shops that products without a category came from."""
    return [row[0] for row in conn.execute(f"""select distinct source from product
                                               where {UNFILED} order by source""")]


def features(conn, number, source, table=None):
    """What a shop's products (all shops' where source is None) look like to an experiment: those
    without a category, or with a table of predictions those in it and the model's answers for
    products of leaves that are not in the table wanted_leaf.

    Products that are gone do not count. A dict of products; groups, or clusters as far as known;
    `no description` and `no picture`, shares; `near-duplicate`, the share that has one among those
    that the model learned from, None if nobody has looked;
    `unknown`, (products with words, mean and variance of the share of words that are unknown), of
    answers alone; categories, {leaf: products}; and scores, an iterator.
    """
    own = """select product_id, leaf_id, leaf_score, words, unknown, twin from filing join product
             on id = product_id where experiment_id = :number and """
    if table:
        own = f"""select product_id, category_id as leaf_id, score as leaf_score, 0 as words,
                  0 as unknown, twin from {table} where experiment_id = :number
                  union all {own} {STRANGE}"""
    else:
        own += UNFILED

    def select(columns, end=""):
        return db.plain(conn, f"""
            select {columns} from ({own}) as own join product on product.id = own.product_id
            left join picture on picture.product_id = own.product_id and status <> 'failed'
            left join near_duplicate on near_duplicate.product_id = own.product_id
                      and near_duplicate.experiment_id = :number
            where :source is null or product.source = :source {end}""",
                     {"number": number, "source": source})

    share = "case when words > 0 then 1.0 * unknown / words end"
    count, groups, bare, blind, near, looked, said, mean, square = select(
        f"""count(*), count(distinct coalesce(cluster, group_key, product.id)),
            avg(coalesce(description, '') = ''), avg(picture.product_id is null), avg(twin),
            count(twin), count({share}),
            coalesce(avg({share}), 0), coalesce(avg(({share}) * ({share})), 0)""").fetchone()
    return {"products": count, "groups": groups, "no description": bare or 0.0,
            "no picture": blind or 0.0, "near-duplicate": near if looked == count else None,
            "unknown": (said, mean, max(0.0, square - mean ** 2)),
            "categories": dict(select("leaf_id, count(*)", "group by leaf_id")),
            "scores": (row[0] for row in select("coalesce(leaf_score, 0)"))}
