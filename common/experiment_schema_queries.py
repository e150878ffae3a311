"""The tables of crawl.db for experiments: predictions, decisions, filings and audits, step by step.

In: an open crawl.db, of any version. Out: the same with a table, a column or an index more. Each
step does nothing if its work is done. db.py has all steps in their order, and does them:

    sqlite3 crawl.db 'select name, date from schema_version'
"""

from __future__ import annotations

import sqlite3

from common.catalogue_schema_queries import add_column


def experiment_schema(conn: sqlite3.Connection) -> None:
    conn.execute("""create table if not exists experiment(
                    id integer primary key autoincrement, name text, date text)""")
    conn.execute("""create table if not exists predicted_category(experiment_id integer,
                    product_id integer, category_id text, score real)""")


def add_experiment_settings(conn: sqlite3.Connection) -> None:
    add_column(conn, "experiment", "settings text")


def add_prediction_columns(conn: sqlite3.Connection) -> None:
    columns = (
        "label_id text",
        "label_score real",
        "parent_id text",
        "parent_score real",
        "top text",
        "fold integer",
    )
    conn.execute("""create table if not exists validation_prediction(
                    experiment_id integer not null references experiment(id) on delete cascade,
                    product_id integer, category_id text, score real)""")
    for table in ("predicted_category", "validation_prediction"):
        for column in columns:
            add_column(conn, table, column)


def add_certifying(conn: sqlite3.Connection) -> None:
    """certifying: 1 if the model was not tuned on the row, so that thresholds may be certified on
    it. Older rows have 0: early stopping and temperature have seen all of their validation set."""
    add_column(conn, "validation_prediction", "certifying integer default 0")


def label_override_table(conn: sqlite3.Connection) -> None:
    """A person's decisions; label_id is the crawled label that the person looked at."""
    conn.execute("""create table if not exists label_override(
                    product_id integer primary key references product(id) on delete cascade,
                    decision text not null, category_id text, label_id text, date text)""")


def index_predictions_whole(conn: sqlite3.Connection) -> None:
    """An index with all that analyze.py's block of figures needs, in the order of the scores: the
    rows of the table are ten times as long."""
    conn.execute("drop index if exists predicted_category_by_experiment")
    conn.execute("""create index if not exists predicted_category_by_score on predicted_category(
                    experiment_id, score, category_id, label_id, product_id)""")


def filing_table(conn: sqlite3.Connection) -> None:
    """What an experiment's model says about products without a category (leaf_id ... pictured), and
    where they were filed: category_id and score, at level leaf or parent. At level person both are
    null."""
    conn.execute("""create table if not exists filing(
                    experiment_id integer not null references experiment(id) on delete cascade,
                    product_id integer not null references product(id) on delete cascade,
                    category_id text, level text, score real, leaf_id text, leaf_score real,
                    parent_id text, parent_score real, top text, words integer, unknown integer,
                    pictured integer, primary key (experiment_id, product_id)) without rowid""")
    conn.execute("create index if not exists filing_by_product on filing(product_id)")


def near_duplicate_table(conn: sqlite3.Connection) -> None:
    """The clusters that an experiment's split kept together; cluster is the smallest group_key in
    it. Only products in clusters of two groups or more have a row."""
    conn.execute("""create table if not exists near_duplicate(
                    experiment_id integer not null references experiment(id) on delete cascade,
                    product_id integer not null, cluster text not null,
                    primary key (experiment_id, product_id)) without rowid""")


def add_twin(conn: sqlite3.Connection) -> None:
    """twin: 1 if the model learned from a near-duplicate of the product, 0 if it did not, null if
    nobody has looked."""
    for table in ("predicted_category", "validation_prediction", "filing"):
        add_column(conn, table, "twin integer")


def filed_before_table(conn: sqlite3.Connection) -> None:
    """Each leaf that --apply ever filed a product under: if the shop's next feed has the product
    there, the label is this suite's own answer. The first rows come from the table filing."""
    conn.execute("""create table if not exists filed_before(
                    product_id integer not null references product(id) on delete cascade,
                    category_id text not null, primary key (product_id, category_id))
                    without rowid""")
    conn.execute("""insert or ignore into filed_before(product_id, category_id)
                    select product_id, category_id from filing
                    where level = 'leaf' and category_id is not null
                    and product_id in (select id from product)""")


def name_filed_by_hand(conn: sqlite3.Connection) -> None:
    """A product without a label can't have the decision 'label wrong', as it was called before."""
    conn.execute("""update label_override set decision = 'filed by hand'
                    where decision = 'label wrong' and label_id is null""")


def filing_source_table(conn: sqlite3.Connection) -> None:
    """What the last --apply of an experiment used for each shop: the thresholds, null if nothing
    may be filed, and as a JSON list the reasons why fewer products are filed than is promised."""
    conn.execute("""create table if not exists filing_source(
                    experiment_id integer not null references experiment(id) on delete cascade,
                    source text not null, target real, confidence real, leaf real, parent real,
                    reasons text, primary key (experiment_id, source)) without rowid""")


def add_filing_target(conn: sqlite3.Connection) -> None:
    """target: the --target by which the row's level was decided; null in older rows."""
    add_column(conn, "filing", "target real")


def learned_product_table(conn: sqlite3.Connection) -> None:
    """The products that an experiment's saved model learned from; older models have no rows."""
    conn.execute("""create table if not exists learned_product(
                    experiment_id integer not null references experiment(id) on delete cascade,
                    product_id integer not null, primary key (experiment_id, product_id))
                    without rowid""")


def add_filing_refused(conn: sqlite3.Connection) -> None:
    """refused: as a JSON list, the levels at which the reasons forbid filing; null in older
    rows."""
    add_column(conn, "filing_source", "refused text")


def add_filing_floor(conn: sqlite3.Connection) -> None:
    """floor: the share that has to be right at each leaf. shut: as a JSON list, the leaves that are
    shut by it, and of how many products there how many were right. null in older rows."""
    add_column(conn, "filing_source", "floor real")
    add_column(conn, "filing_source", "shut text")


def index_predictions_by_product(conn: sqlite3.Connection) -> None:
    """Most reads want an experiment's predictions beside the table product. In the order of the
    scores each row of both tables is on another page: 17 kB are read for each."""
    conn.execute("drop index if exists validation_prediction_by_experiment")
    for table in ("predicted_category", "validation_prediction"):
        conn.execute(f"""create index if not exists {table}_by_product
                         on {table}(experiment_id, product_id)""")


def audit_tables(conn: sqlite3.Connection) -> None:
    """audit: the secret by which the filed products of an experiment are put in a random order.
    audit_sample: those that were drawn, by id in the order of drawing, as they were filed then, and
    what a person answered. threshold: the lowest one that was in force when the product was drawn
    for the whole level; null: it was drawn for its category only. place: its place in the sample of
    the whole, or null; beside: 1 if it was drawn for its category before it had one."""
    conn.execute("""create table if not exists audit(
                    experiment_id integer primary key
                    references experiment(id) on delete cascade, secret text not null)""")
    conn.execute("""create table if not exists audit_sample(
                    id integer primary key autoincrement,
                    experiment_id integer not null references experiment(id) on delete cascade,
                    product_id integer not null references product(id) on delete cascade,
                    level text not null, category_id text not null, score real not null,
                    threshold real, place integer, beside integer not null default 0,
                    drawn text, answer text, right_id text, answered text,
                    unique (experiment_id, product_id, level))""")
    conn.execute("""create index if not exists audit_sample_by_product
                    on audit_sample(product_id)""")
