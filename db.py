"""crawl.db: the schema, its migrations, opening, transactions, and the reads that all need.

In: the path of a SQLite file, which the 2016 scripts may have made. Out: plain rows. People query
the file with the sqlite3 shell, so tables may gain columns but never lose one or change its
meaning:

    sqlite3 crawl.db .schema
    sqlite3 crawl.db 'select name, date from experiment'
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common import stored_json
from common.damage_queries import check_whole, closed_if_damaged
from common.files import may_use
from common.terminal import UserError, log
from common.text import normalised, text_key
from common.trouble import database_sentence

PATIENCE = 30  # seconds that a script waits for another one that writes
PICTURE_OK, PICTURE_FAILED, PICTURE_UNCHECKED = "ok", "failed", "unchecked"
# A product's group. A product that was added by hand may have no key: it is a group of its own.
GROUP_KEY = "coalesce(group_key, 'product ' || product.id)"


# ---- schema -----------------------------------------------------------------------------------


def add_column(conn: sqlite3.Connection, table: str, column: str) -> None:
    """Add a column, given as SQL ("path text"), unless it is there. The 2016 scripts recorded a
    step before they did it, so a file may claim a column that it lacks."""
    names = {row[1] for row in conn.execute(f"pragma table_info({table})")}
    if column.split()[0] not in names:
        conn.execute(f"alter table {table} add column {column}")


def category_table(conn: sqlite3.Connection) -> None:
    conn.execute("""create table if not exists category(id text primary key, parent text,
                    leaf integer default 0, product_count integer default 0)""")


def product_table(conn: sqlite3.Connection) -> None:
    conn.execute("""create table if not exists product(id integer primary key, category_id text,
                    image text, name text, description text)""")


def add_category_path(conn: sqlite3.Connection) -> None:
    add_column(conn, "category", "path text")


def add_product_image_crawled(conn: sqlite3.Connection) -> None:
    add_column(conn, "product", "image_crawled integer default 0")


def experiment_schema(conn: sqlite3.Connection) -> None:
    conn.execute("""create table if not exists experiment(
                    id integer primary key autoincrement, name text, date text)""")
    conn.execute("""create table if not exists predicted_category(experiment_id integer,
                    product_id integer, category_id text, score real)""")


def add_crawl_progress(conn: sqlite3.Connection) -> None:
    """name: the shop's word for the category; next_offset and crawled: where the crawl is. In a
    2016 file a leaf counts as crawled if its product_count is above zero."""
    add_column(conn, "category", "name text")
    add_column(conn, "category", "next_offset integer default 0")
    add_column(conn, "category", "crawled integer default 0")
    conn.execute("update category set crawled = 1 where leaf = 1 and product_count > 0")


def add_product_source(conn: sqlite3.Connection) -> None:
    for column in ("source text", "external_id text", "group_key text"):
        add_column(conn, "product", column)
    conn.create_function("group_key", 2, group_key, deterministic=True)
    conn.execute("""update product set source = 'shopstyle', external_id = cast(id as text)
                    where source is null""")
    conn.execute("""update product set group_key = group_key(name, description)
                    where group_key is null""")
    conn.execute("""create unique index if not exists product_by_external_id
                    on product(source, external_id)""")


def product_category_table(conn: sqlite3.Connection) -> None:
    """position: where the category stands in the shop's own list, null if the shop does not list
    it; found: 1 if the product stood on that category's pages."""
    conn.execute("""create table if not exists product_category(
                    product_id integer not null references product(id) on delete cascade,
                    category_id text not null, position integer, found integer not null default 0,
                    primary key (product_id, category_id)) without rowid""")
    conn.execute("""create index if not exists product_category_by_category
                    on product_category(category_id, found)""")
    conn.execute("""insert or ignore into product_category(product_id, category_id, position)
                    select id, category_id, 0 from product where category_id is not null""")


def picture_table(conn: sqlite3.Connection) -> None:
    """The 2016 scripts kept pictures as images/ab/<last part of the URL>. Such a file stays where
    it is, and the next crawl checks it instead of fetching it again."""
    conn.execute("""create table if not exists picture(
                    product_id integer primary key references product(id) on delete cascade,
                    path text, sha256 text, status text not null, reason text)""")
    conn.create_function("old_picture_path", 1, old_picture_path, deterministic=True)
    conn.execute(
        """insert or ignore into picture(product_id, path, status)
                    select id, old_picture_path(image), ? from product
                    where source = 'shopstyle' and old_picture_path(image) is not null""",
        (PICTURE_UNCHECKED,),
    )


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


def add_crawl_totals(conn: sqlite3.Connection) -> None:
    """total: how many products the shop says a leaf has; stale_pages: how many pages in a row
    showed only products that had stood on the leaf's own pages before. The indexes find the
    products that share a picture."""
    add_column(conn, "category", "total integer")
    add_column(conn, "category", "stale_pages integer default 0")
    conn.execute("create index if not exists product_by_image on product(source, image, id)")
    conn.execute("create index if not exists picture_by_sha256 on picture(sha256)")


def add_category_host(conn: sqlite3.Connection) -> None:
    """host: which host an API's tree came from; only the root of the tree has it."""
    add_column(conn, "category", "host text")


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


def regrouped_table(conn: sqlite3.Connection) -> None:
    """Products that a later load gave another item group; group_key is the earlier one. An
    experiment's settings hold the last id that existed when it read its products."""
    conn.execute("""create table if not exists regrouped(
                    id integer primary key autoincrement,
                    product_id integer not null references product(id) on delete cascade,
                    group_key text, date text)""")
    conn.execute("create index if not exists regrouped_by_product on regrouped(product_id)")


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


def picture_link_table(conn: sqlite3.Connection) -> None:
    """Further links to a product's picture: the next is tried where an earlier fails."""
    conn.execute("""create table if not exists picture_link(
                    product_id integer not null references product(id) on delete cascade,
                    position integer not null, link text not null,
                    primary key (product_id, position)) without rowid""")


def add_product_removed(conn: sqlite3.Connection) -> None:
    """removed: 1 if the last feed of the product's shop no longer has it. The index holds all that
    it takes to count the products of a category: the rows of the table are long."""
    add_column(conn, "product", "removed integer default 0")
    conn.execute("drop index if exists product_by_category")
    conn.execute("""create index if not exists product_by_category_and_source
                    on product(category_id, source, removed)""")


def add_picture_position(conn: sqlite3.Connection) -> None:
    """position: the link that the picture is of, 0 for product.image, otherwise the position in
    picture_link; of an unusable picture the last link that was tried. `reason` is the first link's;
    if it is null and position is above 0, the first link may work later."""
    add_column(conn, "picture", "position integer not null default 0")


def category_change_tables(conn: sqlite3.Connection) -> None:
    """What --recategorize did to each category, and the rows that it changed as they were: of the
    table category for good, so that older experiments know their tree, of the others until they are
    put back by --undo-recategorize. That is a run with a number, too; undoes is the run that it
    took back."""
    conn.execute("""create table if not exists category_change(
                    id integer primary key autoincrement, run integer not null,
                    from_id text, to_id text, from_path text, to_path text,
                    products integer not null default 0, date text, undoes integer)""")
    conn.execute("""create table if not exists category_change_row(
                    run integer not null, relation text not null, product_id integer,
                    category_id text, position integer, found integer, row text)""")
    conn.execute("""create index if not exists category_change_row_by_run
                    on category_change_row(run, relation, product_id)""")


def index_categories(conn: sqlite3.Connection) -> None:
    """Whether a category has others below it is asked for each that --undo-recategorize removes."""
    conn.execute("create index if not exists category_by_parent on category(parent)")


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
    for the whole level; null: it was drawn for its category only."""
    conn.execute("""create table if not exists audit(
                    experiment_id integer primary key
                    references experiment(id) on delete cascade, secret text not null)""")
    conn.execute("""create table if not exists audit_sample(
                    id integer primary key autoincrement,
                    experiment_id integer not null references experiment(id) on delete cascade,
                    product_id integer not null references product(id) on delete cascade,
                    level text not null, category_id text not null, score real not null,
                    threshold real, drawn text, answer text, right_id text, answered text,
                    unique (experiment_id, product_id, level))""")
    conn.execute("""create index if not exists audit_sample_by_product
                    on audit_sample(product_id)""")


def feed_system_table(conn: sqlite3.Connection) -> None:
    """Which system wrote the last feed of a shop, as crawling/feed_dialects.py calls it, and the
    known names of the columns that ids and categories stood in, '' if nobody knows: an export for
    that system needs them. A shop that an older version has loaded has no row."""
    conn.execute("""create table if not exists feed_system(
                    source text primary key, system text not null, id_column text not null,
                    category_column text not null) without rowid""")


# The first five names are those of the 2016 scripts.
MIGRATIONS = (
    ("category table", category_table),
    ("product table", product_table),
    ("add category.path", add_category_path),
    ("add product.image_crawled", add_product_image_crawled),
    ("add experiment schema", experiment_schema),
    ("add crawl progress", add_crawl_progress),
    ("add product.source and group_key", add_product_source),
    ("product_category table", product_category_table),
    ("picture table", picture_table),
    ("add experiment.settings", add_experiment_settings),
    ("add prediction columns", add_prediction_columns),
    ("add validation_prediction.certifying", add_certifying),
    ("label_override table", label_override_table),
    ("index predictions whole", index_predictions_whole),
    ("add crawl totals", add_crawl_totals),
    ("filing table", filing_table),
    ("add category.host", add_category_host),
    ("near_duplicate table", near_duplicate_table),
    ("add twin", add_twin),
    ("filed_before table", filed_before_table),
    ("regrouped table", regrouped_table),
    ("name decisions filed by hand", name_filed_by_hand),
    ("filing_source table", filing_source_table),
    ("add filing.target", add_filing_target),
    ("learned_product table", learned_product_table),
    ("add filing_source.refused", add_filing_refused),
    ("picture_link table", picture_link_table),
    ("add product.removed", add_product_removed),
    ("add picture.position", add_picture_position),
    ("add filing_source.floor", add_filing_floor),
    ("category_change tables", category_change_tables),
    ("index categories by parent", index_categories),
    ("index predictions by product", index_predictions_by_product),
    ("audit tables", audit_tables),
    ("feed_system table", feed_system_table),
)


def old_picture_path(url: str | None) -> str | None:
    """Where a 2016 crawl put the picture of this URL, relative to the folder of pictures. None if
    the URL's last part is not usable, or would lead out of the folder."""
    name = (url or "").split("/")[-1]
    usable = name.strip(".") and "\0" not in name and not name.startswith("..")
    return f"{name[:2]}/{name}" if usable else None


def group_key(name: str | None, description: str | None, group: str | None = None) -> str:
    """The key of a product's group, whose products are never parted by the split: a feed's item
    group, otherwise a hash of name and description without case, markup, punctuation and spacing.
    """
    return group or text_key(normalised(name, description))


# ---- opening ------------------------------------------------------------------------------


def connect(path: str, mode: str) -> sqlite3.Connection:
    """A connection with the settings that all scripts share. `mode` is ro, rw or rwc. Raises
    UserError if there is no such file, or if it is not a SQLite file."""
    if os.path.exists(path) and not os.path.isfile(path):  # of a named pipe SQLite would wait
        raise UserError(database_sentence("unable to open", path))
    options = f"mode={mode}"
    if mode == "ro" and is_frozen(path):
        options += "&immutable=1"
    uri = f"file:{urllib.parse.quote(os.fsencode(os.path.abspath(path)))}?{options}"
    try:
        # isolation_level None: only `transaction` begins and ends a transaction.
        conn = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)
    except sqlite3.DatabaseError as error:
        raise UserError(database_sentence(error, path)) from None
    with closed_if_damaged(conn, path):
        conn.row_factory = sqlite3.Row
        conn.execute("pragma foreign_keys = on")
        # As a whole: later errors quote its names, and a name that is no text is none of ours.
        conn.execute("select name, tbl_name, sql from sqlite_master").fetchall()
    return conn


def is_frozen(path: str) -> bool:
    """Whether nobody can be writing the file. A reader of a WAL file writes beside it too, unless
    it is told so."""
    writable = may_use(os.path.dirname(os.path.abspath(path)), os.W_OK)
    return not writable and not os.path.exists(f"{path}-wal")


def check_exists(path: str) -> None:
    """Raise UserError if there is no such file."""
    if not os.path.exists(path):
        raise UserError(f"there is no {path}: run crawl.py first, or name a file with --db-path")


def check_writable(path: str) -> None:
    """Raise UserError if this user may not write the file, or not beside it."""
    if os.path.isfile(path) and not may_use(path, os.W_OK):
        raise UserError(database_sentence("readonly", path))
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(folder) and not may_use(folder, os.W_OK):
        raise UserError(database_sentence("unable to open", path))


def table_names(conn: sqlite3.Connection) -> set[str]:
    """The names of all tables and indexes."""
    return {row[0] for row in conn.execute("select name from sqlite_master")}


def check_ours(conn: sqlite3.Connection, path: str, create: bool = False) -> None:
    """Raise UserError if the file is another program's, if it is empty (unless create), or if a
    newer version has changed it."""
    names = table_names(conn)
    is_ours = "schema_version" in names or "category" in names
    if not is_ours and (names or not create):
        raise UserError(
            f"{path} is no crawl.db, but empty or another program's: name the file "
            "that crawl.py filled with --db-path"
        )
    if unknown := recorded_steps(conn) - {name for name, _ in MIGRATIONS}:
        raise UserError(
            f"{path} was made by a newer version of these scripts, or is damaged: its step "
            f"{min(map(str, unknown))[:60]!r} is not known here, so use the newer version, or a copy"
        )


def own_columns() -> dict[str, dict[str, str]]:
    """{table: {column: type}} of what the scripts write, as a new file has it."""
    with contextlib.closing(sqlite3.connect(":memory:")) as conn:
        for _, step in MIGRATIONS:
            step(conn)
        tables = [
            row[0] for row in conn.execute("select name from sqlite_master where type = 'table'")
        ]
        return {
            table: {row[1]: row[2].lower() for row in conn.execute(f"pragma table_info({table})")}
            for table in tables
            if not table.startswith("sqlite_")
        }


def check_every_value(conn: sqlite3.Connection, path: str) -> None:
    """Look at every value and index of the file. Raises UserError for what is damaged."""
    check_whole(conn, path, own_columns(), thorough=True)


def open_checked(path: str, mode: str, create: bool = False) -> sqlite3.Connection:
    """`connect` to a file that is ours and whole. Raises UserError otherwise."""
    conn = connect(path, mode)
    with closed_if_damaged(conn, path):
        check_ours(conn, path, create)
        check_whole(conn, path, own_columns())
    return conn


def open_database(path: str, create: bool = False) -> sqlite3.Connection:
    """Open crawl.db for reading and writing, with all pending migrations done.

    Raises UserError if the file is missing (unless create), if it is something else, or if it is
    damaged; then it stays as it is.
    """
    if not create:
        check_exists(path)
    check_writable(path)
    if os.path.isfile(path) and os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"):
        # A writer that closes puts the log into the file, even one that does not belong to it.
        open_checked(path, "ro", create).close()
    conn = open_checked(path, "rwc" if create else "rw", create)
    with closed_if_damaged(conn, path):
        conn.execute("pragma journal_mode = wal")
        if pending_migrations(conn):
            migrate(conn)
    return conn


def open_readonly(path: str) -> sqlite3.Connection:
    """Open crawl.db so that nothing can write it. An old file is migrated first, which is logged.

    Raises UserError if the file is missing, if it is something else, or if it is damaged.
    """
    check_exists(path)
    undo_killed(path)
    conn = open_checked(path, "ro")
    steps = pending_migrations(conn)
    if steps:
        conn.close()
        log(f"{path} is of an older version: bringing it up to date ({len(steps)} steps)")
        open_database(path).close()
        conn = connect(path, "ro")
    return conn


def undo_killed(path: str) -> None:
    """Take back what a killed first load, or a script of 2016, has left half-written. Only a writer
    can."""
    if os.path.exists(f"{path}-journal"):
        connect(path, "rw").close()


def is_begun(path: str) -> bool:
    """Whether there is a database to read. A first load that was killed at its beginning leaves one
    without a table, which is as good as none."""
    if not os.path.exists(path):
        return False
    undo_killed(path)
    with contextlib.closing(connect(path, "ro")) as conn:
        return bool(table_names(conn))


def recorded_steps(conn: sqlite3.Connection) -> set[Any]:
    """Names of the steps that this file has recorded."""
    if "schema_version" not in table_names(conn):
        return set()
    return {row[0] for row in conn.execute("select name from schema_version")}


def pending_migrations(conn: sqlite3.Connection) -> list[str]:
    """Names of the steps that this file has not recorded, in order."""
    done = recorded_steps(conn)
    return [name for name, _ in MIGRATIONS if name not in done]


def migrate(conn: sqlite3.Connection) -> None:
    """Bring the schema up to date: all steps and the rows that record them in one transaction.

    A step whose work is done does nothing, so all of them run. That also mends a file whose 2016
    script was killed between recording a step and doing it.
    """
    with transaction(conn):
        conn.execute("""create table if not exists schema_version(
                        id integer primary key autoincrement, date text, name text)""")
        pending = pending_migrations(conn)
        for name, step in MIGRATIONS:
            step(conn)
            if name in pending:
                conn.execute(
                    "insert into schema_version(date, name) values (datetime(), ?)", (name,)
                )


@contextlib.contextmanager
def transaction(conn: sqlite3.Connection) -> Iterator[None]:
    """All of the block or nothing of it. The write lock is taken at once, so that the block can't
    fail half-way; if another script has it, this waits: what is to be written may have taken hours.
    Within another transaction the block is a part of that.
    """
    if conn.in_transaction:
        yield
        return
    while True:
        try:
            conn.execute("begin immediate")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            log("the database is being written by another script: waiting for it")
    try:
        yield
        conn.execute("commit")
    except BaseException:
        if conn.in_transaction:  # after "disk is full" SQLite has rolled back already
            conn.execute("rollback")
        raise


# ---- reads that all need -----------------------------------------------------------------------


def plain(
    conn: sqlite3.Connection, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()
) -> sqlite3.Cursor:
    """A cursor of tuples: a million rows of sqlite3.Row take twice the time."""
    cursor = conn.cursor()
    cursor.row_factory = None
    return cursor.execute(statement, values)


def categories(conn: sqlite3.Connection) -> list[sqlite3.Row]:
    """All categories, in path order."""
    return conn.execute("select * from category order by path, id").fetchall()


def sources(conn: sqlite3.Connection) -> list[str]:
    """The names of the shops that products came from."""
    return [row[0] for row in conn.execute("select distinct source from product order by source")]


def last_regrouping(conn: sqlite3.Connection) -> int:
    """The last id of the table regrouped, 0 if it is empty."""
    return conn.execute("select coalesce(max(id), 0) from regrouped").fetchone()[0]


def experiments(conn: sqlite3.Connection) -> list[sqlite3.Row]:
    """Experiments that have predictions, oldest first."""
    return conn.execute("""select * from experiment where exists (select 1 from predicted_category
                           where experiment_id = experiment.id) order by id""").fetchall()


def all_experiments(conn: sqlite3.Connection) -> list[sqlite3.Row]:
    """All rows of the table, oldest first."""
    return conn.execute("select * from experiment order by id").fetchall()


def experiment_row(conn: sqlite3.Connection, number: int) -> sqlite3.Row:
    """One experiment's row. Raises UserError if there is none."""
    row = None
    if abs(number) < 2**63:  # what SQLite can hold
        row = conn.execute("select * from experiment where id = ?", (number,)).fetchone()
    if row is None:
        known = ", ".join(str(row["id"]) for row in experiments(conn)) or "none yet"
        raise UserError(f"there is no experiment {number} (there are: {known})")
    return row


def settings(row: sqlite3.Row) -> dict[str, Any]:
    """The settings of an experiment's row, {} in rows of 2016. Raises UserError if the column is
    damaged: without `folds` or `model` another answer would be given."""
    return stored_json.read(
        row["settings"] or "{}",
        stored_json.SETTINGS,
        f"experiment.settings of experiment {row['id']}",
        "restore the file from a copy, or delete from experiment "
        f"where id = {row['id']}, and train again",
    )
