"""crawl.db: its migrations, opening, transactions, and the reads that all need.

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

from common import catalogue_schema_queries as catalogue_schema
from common import experiment_schema_queries as experiment_schema
from common import stored_json
from common.catalogue_schema_queries import PICTURE_FAILED as PICTURE_FAILED  # for all who read
from common.catalogue_schema_queries import PICTURE_OK as PICTURE_OK
from common.catalogue_schema_queries import PICTURE_UNCHECKED as PICTURE_UNCHECKED
from common.catalogue_schema_queries import group_key as group_key
from common.damage_queries import check_whole, closed_if_damaged
from common.files import may_use
from common.terminal import UserError, log
from common.trouble import database_sentence

PATIENCE = 30  # seconds that a script waits for another one that writes
# A product's group. A product that was added by hand may have no key: it is a group of its own.
GROUP_KEY = "coalesce(group_key, 'product ' || product.id)"
# The steps to the schema, in order. The first five names are those of the 2016 scripts.
MIGRATIONS = (
    ("category table", catalogue_schema.category_table),
    ("product table", catalogue_schema.product_table),
    ("add category.path", catalogue_schema.add_category_path),
    ("add product.image_crawled", catalogue_schema.add_product_image_crawled),
    ("add experiment schema", experiment_schema.experiment_schema),
    ("add crawl progress", catalogue_schema.add_crawl_progress),
    ("add product.source and group_key", catalogue_schema.add_product_source),
    ("product_category table", catalogue_schema.product_category_table),
    ("picture table", catalogue_schema.picture_table),
    ("add experiment.settings", experiment_schema.add_experiment_settings),
    ("add prediction columns", experiment_schema.add_prediction_columns),
    ("add validation_prediction.certifying", experiment_schema.add_certifying),
    ("label_override table", experiment_schema.label_override_table),
    ("index predictions whole", experiment_schema.index_predictions_whole),
    ("add crawl totals", catalogue_schema.add_crawl_totals),
    ("filing table", experiment_schema.filing_table),
    ("add category.host", catalogue_schema.add_category_host),
    ("near_duplicate table", experiment_schema.near_duplicate_table),
    ("add twin", experiment_schema.add_twin),
    ("filed_before table", experiment_schema.filed_before_table),
    ("regrouped table", catalogue_schema.regrouped_table),
    ("name decisions filed by hand", experiment_schema.name_filed_by_hand),
    ("filing_source table", experiment_schema.filing_source_table),
    ("add filing.target", experiment_schema.add_filing_target),
    ("learned_product table", experiment_schema.learned_product_table),
    ("add filing_source.refused", experiment_schema.add_filing_refused),
    ("picture_link table", catalogue_schema.picture_link_table),
    ("add product.removed", catalogue_schema.add_product_removed),
    ("add picture.position", catalogue_schema.add_picture_position),
    ("add filing_source.floor", experiment_schema.add_filing_floor),
    ("category_change tables", catalogue_schema.category_change_tables),
    ("index categories by parent", catalogue_schema.index_categories),
    ("index predictions by product", experiment_schema.index_predictions_by_product),
    ("audit tables", experiment_schema.audit_tables),
    ("feed_system table", catalogue_schema.feed_system_table),
)


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
