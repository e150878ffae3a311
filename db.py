"""crawl.db: the schema, its migrations and every SQL statement of the suite.

In: the path of a SQLite file, which may be one of the 2016 scripts. Out: plain rows. People query
the file with the sqlite3 shell, so tables and columns gain, but never lose or change meaning:

    sqlite3 crawl.db .schema
    sqlite3 crawl.db 'select name, date from experiment'
"""
import contextlib
import difflib
import fcntl
import hashlib
import html
import itertools
import json
import os
import re
import shutil
import sqlite3
import unicodedata
import urllib.parse

from common.terminal import UserError, log

PICTURE_OK, PICTURE_FAILED, PICTURE_UNCHECKED = "ok", "failed", "unchecked"
# A product's group; one that was added by hand may have no key, and is a group of its own.
GROUP_KEY = "coalesce(group_key, 'product ' || product.id)"


# ---- schema -----------------------------------------------------------------------------------

def add_column(conn, table, column):
    """Add a column unless it is there: a 2016 script noted a step before it did it, so a file may
    claim a column that it lacks."""
    if column.split()[0] not in {row[1] for row in conn.execute(f"pragma table_info({table})")}:
        conn.execute(f"alter table {table} add column {column}")


def category_table(conn):
    conn.execute("""create table if not exists category(id text primary key, parent text,
                    leaf integer default 0, product_count integer default 0)""")


def product_table(conn):
    conn.execute("""create table if not exists product(id integer primary key, category_id text,
                    image text, name text, description text)""")


def add_category_path(conn):
    add_column(conn, "category", "path text")


def add_product_image_crawled(conn):
    add_column(conn, "product", "image_crawled integer default 0")


def experiment_schema(conn):
    conn.execute("""create table if not exists experiment(
                    id integer primary key autoincrement, name text, date text)""")
    conn.execute("""create table if not exists predicted_category(experiment_id integer,
                    product_id integer, category_id text, score real)""")


def add_crawl_progress(conn):
    """category.name is the shop's word for it; next_offset and crawled say where the crawl is.
    In a 2016 file a leaf counts as crawled once product_count is set."""
    add_column(conn, "category", "name text")
    add_column(conn, "category", "next_offset integer default 0")
    add_column(conn, "category", "crawled integer default 0")
    conn.execute("update category set crawled = 1 where leaf = 1 and product_count > 0")


def add_product_source(conn):
    for column in ("source text", "external_id text", "group_key text"):
        add_column(conn, "product", column)
    conn.create_function("group_key", 2, group_key, deterministic=True)
    conn.execute("""update product set source = 'shopstyle', external_id = cast(id as text)
                    where source is null""")
    conn.execute("""update product set group_key = group_key(name, description)
                    where group_key is null""")
    conn.execute("""create unique index if not exists product_by_external_id
                    on product(source, external_id)""")
    conn.execute("create index if not exists product_by_category on product(category_id)")


def product_category_table(conn):
    """position: place in the shop's own list (null where the shop does not list it, but shows it
    there); found: 1 where the product stood on that category's pages."""
    conn.execute("""create table if not exists product_category(
                    product_id integer not null references product(id) on delete cascade,
                    category_id text not null, position integer, found integer not null default 0,
                    primary key (product_id, category_id)) without rowid""")
    conn.execute("""create index if not exists product_category_by_category
                    on product_category(category_id, found)""")
    conn.execute("""insert or ignore into product_category(product_id, category_id, position)
                    select id, category_id, 0 from product where category_id is not null""")


def picture_table(conn):
    """The 2016 scripts kept pictures as images/ab/<last part of the URL>: such a file is used
    where it is, and the next crawl checks it instead of fetching it again."""
    conn.execute("""create table if not exists picture(
                    product_id integer primary key references product(id) on delete cascade,
                    path text, sha256 text, status text not null, reason text)""")
    conn.create_function("old_picture_path", 1, old_picture_path, deterministic=True)
    conn.execute("""insert or ignore into picture(product_id, path, status)
                    select id, old_picture_path(image), ? from product
                    where source = 'shopstyle' and old_picture_path(image) is not null""",
                 (PICTURE_UNCHECKED,))


def add_experiment_settings(conn):
    add_column(conn, "experiment", "settings text")


def add_prediction_columns(conn):
    columns = ("label_id text", "label_score real", "parent_id text", "parent_score real",
               "top text", "fold integer")
    conn.execute("""create table if not exists validation_prediction(
                    experiment_id integer not null references experiment(id) on delete cascade,
                    product_id integer, category_id text, score real)""")
    for table in ("predicted_category", "validation_prediction"):
        for column in columns:
            add_column(conn, table, column)
    conn.execute("""create index if not exists validation_prediction_by_experiment
                    on validation_prediction(experiment_id, score)""")


def add_certifying(conn):
    """certifying: 1 where the model was not tuned on the row, so that thresholds may be certified
    on it. In older rows early stopping and temperature have seen all of validation."""
    add_column(conn, "validation_prediction", "certifying integer default 0")


def label_override_table(conn):
    """A person's decisions; label_id is the crawled label that was looked at."""
    conn.execute("""create table if not exists label_override(
                    product_id integer primary key references product(id) on delete cascade,
                    decision text not null, category_id text, label_id text, date text)""")


def index_predictions_whole(conn):
    """An index that holds all that the block of analyze.py needs, in the order of the scores: the
    rows themselves are ten times as long."""
    conn.execute("drop index if exists predicted_category_by_experiment")
    conn.execute("""create index if not exists predicted_category_by_score on predicted_category(
                    experiment_id, score, category_id, label_id, product_id)""")


def add_crawl_totals(conn):
    """total: how many products the shop says a leaf has; stale_pages: how many pages in a row
    showed nothing that had not stood on the leaf's own pages before. The index finds the products
    that share a picture."""
    add_column(conn, "category", "total integer")
    add_column(conn, "category", "stale_pages integer default 0")
    conn.execute("create index if not exists product_by_image on product(source, image, id)")
    conn.execute("create index if not exists picture_by_sha256 on picture(sha256)")


def add_category_host(conn):
    """host: where an API's tree came from, at its root."""
    add_column(conn, "category", "host text")


def filing_table(conn):
    """What an experiment's model says of products without a category (leaf_id ... pictured), and
    what they were filed as: category_id and score, at level leaf, parent or person (then null)."""
    conn.execute("""create table if not exists filing(
                    experiment_id integer not null references experiment(id) on delete cascade,
                    product_id integer not null references product(id) on delete cascade,
                    category_id text, level text, score real, leaf_id text, leaf_score real,
                    parent_id text, parent_score real, top text, words integer, unknown integer,
                    pictured integer, primary key (experiment_id, product_id)) without rowid""")
    conn.execute("create index if not exists filing_by_product on filing(product_id)")


def near_duplicate_table(conn):
    """The clusters that an experiment's split kept together: cluster is the smallest group_key of
    them. Only products in clusters of two groups or more have a row."""
    conn.execute("""create table if not exists near_duplicate(
                    experiment_id integer not null references experiment(id) on delete cascade,
                    product_id integer not null, cluster text not null,
                    primary key (experiment_id, product_id)) without rowid""")


def add_twin(conn):
    """twin: 1 where a near-duplicate of the product was among those that the model learned from, 0
    where none was, null where nobody has looked."""
    for table in ("predicted_category", "validation_prediction", "filing"):
        add_column(conn, table, "twin integer")


def filed_before_table(conn):
    """Each leaf that --apply ever filed a product at: if the shop's next feed has the product
    there, the label is this suite's own answer. What `filing` still holds is taken over."""
    conn.execute("""create table if not exists filed_before(
                    product_id integer not null references product(id) on delete cascade,
                    category_id text not null, primary key (product_id, category_id))
                    without rowid""")
    conn.execute("""insert or ignore into filed_before(product_id, category_id)
                    select product_id, category_id from filing
                    where level = 'leaf' and category_id is not null
                    and product_id in (select id from product)""")


def regrouped_table(conn):
    """Products that a later load gave another item group. group_key is the one before; an
    experiment's settings hold the last id that there was when it read its products."""
    conn.execute("""create table if not exists regrouped(
                    id integer primary key autoincrement,
                    product_id integer not null references product(id) on delete cascade,
                    group_key text, date text)""")
    conn.execute("create index if not exists regrouped_by_product on regrouped(product_id)")


def name_filed_by_hand(conn):
    """What had no label is not 'label wrong', as its decision was called before."""
    conn.execute("""update label_override set decision = 'filed by hand'
                    where decision = 'label wrong' and label_id is null""")


def filing_source_table(conn):
    """What the last --apply of an experiment took for each shop: the thresholds, null where nothing
    may be filed, and the reasons why they are less than what is promised, a JSON list."""
    conn.execute("""create table if not exists filing_source(
                    experiment_id integer not null references experiment(id) on delete cascade,
                    source text not null, target real, confidence real, leaf real, parent real,
                    reasons text, primary key (experiment_id, source)) without rowid""")


def add_filing_target(conn):
    """target: the --target that the row's level was decided with; null in older rows."""
    add_column(conn, "filing", "target real")


def learned_product_table(conn):
    """The products that an experiment's saved model learned from; no rows for older ones."""
    conn.execute("""create table if not exists learned_product(
                    experiment_id integer not null references experiment(id) on delete cascade,
                    product_id integer not null, primary key (experiment_id, product_id))
                    without rowid""")


def add_filing_refused(conn):
    """refused: at which levels the reasons kept a shop from being filed, a JSON list; null in older
    rows."""
    add_column(conn, "filing_source", "refused text")


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
)


def old_picture_path(url):
    """Where a 2016 crawl put the picture of this URL, relative to the folder of pictures; None
    where it has no usable last part, or one that would lead out of the folder."""
    name = (url or "").split("/")[-1]
    usable = name.strip(".") and "\0" not in name and not name.startswith("..")
    return f"{name[:2]}/{name}" if usable else None


def group_key(name, description, group=None):
    """What parts products into groups that share a side of the split: a feed's item group, else
    a hash of name and description without case, markup, punctuation and spacing."""
    return group or text_key(normalised(name, description))


def normalised(name, description):
    """A product's text without case, markup, punctuation and spacing."""
    text = unicodedata.normalize("NFKC", html.unescape(f"{name or ''}\n{description or ''}"))
    return re.sub(r"\W+", " ", re.sub(r"<[^<>]*>", " ", text)).casefold().strip()


def text_key(text):
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


# ---- opening ----------------------------------------------------------------------------------

def connect(path, mode):
    """A connection with the settings all scripts share. mode is ro, rw or rwc."""
    uri = "file:" + urllib.parse.quote(os.fsencode(os.path.abspath(path)))
    # A reader of a WAL file writes beside it, except where it is told that nobody will.
    frozen = mode == "ro" and not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK) \
        and not os.path.exists(f"{path}-wal")
    try:
        # isolation_level None: transactions begin and end where `transaction` says, nowhere else.
        conn = sqlite3.connect(f"{uri}?mode={mode}{'&immutable=1' * frozen}", uri=True, timeout=30,
                               isolation_level=None)
        conn.row_factory = sqlite3.Row
        conn.execute("pragma foreign_keys = on")
        conn.execute("select count(*) from sqlite_master").fetchone()
        return conn
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path} can't be opened as a SQLite file ({error}): is its folder there, "
                        "may you write in it, and is it a crawl.db?") from None


def check_exists(path):
    if not os.path.isfile(path):
        raise UserError(f"there is no {path}: run crawl.py first, or name a file with --db-path")


def check_ours(conn, path, create=False):
    """Raise UserError where the file is another program's, or empty (unless create)."""
    tables = {row[0] for row in conn.execute("select name from sqlite_master")}
    if not (tables & {"schema_version", "category"} or create and not tables):
        raise UserError(f"{path} is no crawl.db, but empty or another program's: name the file "
                        "that crawl.py filled with --db-path")


def open_database(path, create=False):
    """Open crawl.db for reading and writing, all pending migrations done.

    Raises UserError where the file is missing (unless create) or is something else.
    """
    if not create:
        check_exists(path)
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise UserError(f"{path} may not be written by you: copy it, or change its permissions")
    conn = connect(path, "rwc" if create else "rw")
    try:
        check_ours(conn, path, create)
        conn.execute("pragma journal_mode = wal")
        if pending_migrations(conn):
            migrate(conn)
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path} can't be used as a crawl.db ({error}): restore it from a copy, or "
                        "crawl into a new file") from None
    return conn


def open_readonly(path):
    """Open crawl.db so that nothing can write it; an old file is migrated first, and said so."""
    check_exists(path)
    if os.path.exists(f"{path}-journal"):   # a killed 2016 script's: only a writer can undo it
        connect(path, "rw").close()
    conn = connect(path, "ro")
    check_ours(conn, path)
    steps = pending_migrations(conn)
    if steps:
        conn.close()
        log(f"{path} is of an older version: bringing it up to date ({len(steps)} steps)")
        open_database(path).close()
        conn = connect(path, "ro")
    return conn


def pending_migrations(conn):
    """Names of the steps that this file has not recorded, in order."""
    known = conn.execute("select 1 from sqlite_master where name = 'schema_version'").fetchone()
    done = {row[0] for row in conn.execute("select name from schema_version")} if known else set()
    return [name for name, _ in MIGRATIONS if name not in done]


def migrate(conn):
    """Bring the schema up to date: all steps and the rows that record them in one transaction.

    Every step does nothing where its work is done, so all of them run, which also mends a file
    whose 2016 script was killed between recording a step and doing it.
    """
    with transaction(conn):
        conn.execute("""create table if not exists schema_version(
                        id integer primary key autoincrement, date text, name text)""")
        pending = pending_migrations(conn)
        for name, step in MIGRATIONS:
            step(conn)
            if name in pending:
                conn.execute("insert into schema_version(date, name) values (datetime(), ?)",
                             (name,))


@contextlib.contextmanager
def only_crawl(path):
    """Raise UserError where another crawl is at work on this database."""
    beside = f"{os.path.realpath(path)}-crawling"   # of a link, that of its file
    while True:
        with open(beside, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another crawl is at work on {path}: wait for it, or stop "
                                "it") from None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(beside)):
                    try:
                        yield
                    finally:
                        os.remove(beside)
                    return


@contextlib.contextmanager
def transaction(conn):
    """All of the block or nothing; takes the write lock at once, so it can't fail half-way, and
    waits for another script that has it: what is to be written may have taken hours."""
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
        if conn.in_transaction:   # a full disk has rolled back already
            conn.execute("rollback")
        raise


# ---- categories and products: what crawl.py writes --------------------------------------------

def store_categories(conn, categories):
    """Insert or update rows (id, parent, leaf, path, name); progress and counts stay."""
    conn.executemany("""insert into category(id, parent, leaf, path, name) values (?, ?, ?, ?, ?)
                        on conflict(id) do update set parent = excluded.parent,
                        leaf = excluded.leaf, path = excluded.path, name = excluded.name""",
                     categories)


def set_host(conn, root, host):
    """Note the host that a root's tree comes from. Returns another one that it came from before."""
    before = conn.execute("select host from category where id = ?", (root,)).fetchone()[0]
    conn.execute("update category set host = ? where id = ?", (host, root))
    return before if before != host else None


def categories(conn):
    """All categories, in path order."""
    return conn.execute("select * from category order by path, id").fetchall()


def leaves_to_crawl(conn, most):
    """Leaves that have pages left, and fewer than `most` products filed from their own pages, in
    path order: (id, next_offset, stale_pages)."""
    return conn.execute(f"""select id, next_offset, stale_pages from category where leaf = 1
                            and crawled = 0 and ({FILED_FROM_OWN_PAGES.format("category.id")}) < ?
                            order by path, id""", (most,)).fetchall()


def leaf_states(conn):
    """(id, product_count, total, next_offset, crawled) of the leaves of an API, in path order."""
    return conn.execute("""select id, product_count, total, next_offset, crawled from category
                           where leaf = 1 and parent is not null and id not in (
                               select category_id from product where source <> 'shopstyle'
                               and category_id is not null)
                           order by path, id""").fetchall()


def set_progress(conn, leaf, next_offset, stale_pages, total, crawled):
    """Note how far a leaf is; crawled means that the shop has no more of it."""
    conn.execute("""update category set next_offset = ?, stale_pages = ?, total = ?, crawled = ?
                    where id = ?""", (next_offset, stale_pages, total, int(crawled), leaf))


# Products that came in from other leaves' pages do not count, or the crawl's order would decide
# where a leaf stops.
FILED_FROM_OWN_PAGES = """select count(*) from product_category join product on product.id =
                          product_id where product_category.category_id = {} and found = 1
                          and product.category_id = product_category.category_id"""


def filed_from_own_pages(conn, leaf):
    """How many products that stood on this leaf's own pages are filed there."""
    return conn.execute(FILED_FROM_OWN_PAGES.format("?"), (leaf,)).fetchone()[0]


def store_product(conn, source, product):
    """Insert or update one product, a dict with external_id, name, description, image, listed (its
    category ids in the shop's order, or None: they stay as they are), found (the leaf whose page it
    stood on, or None) and group (or None). Returns (id, 'new' | 'changed' | 'unchanged', whether it
    had not stood on `found`'s pages before).

    The shop's number becomes the id if it is free and SQLite can hold it. A product never changes
    sides of the split because a word of its text changed; only an item group of the shop's that is
    new or another one replaces group_key, and the table regrouped keeps the one before.
    """
    fields = (product["name"], product["description"], product["image"])
    old = conn.execute("""select id, name, description, image, category_id, group_key from product
                          where source = ? and external_id = ?""",
                       (source, product["external_id"])).fetchone()
    if old is None:
        number, outcome = free_product_id(conn, product["external_id"]), "new"
        conn.execute("""insert into product(id, source, external_id, group_key, name, description,
                        image) values (?, ?, ?, ?, ?, ?, ?)""",
                     (number, source, product["external_id"],
                      group_key(fields[0], fields[1], product["group"]), *fields))
    else:
        number, outcome = old["id"], "unchanged"
        if tuple(old)[1:4] != fields:
            outcome = "changed"
            conn.execute("update product set name = ?, description = ?, image = ? where id = ?",
                         (*fields, number))
            conn.execute("delete from filing where product_id = ?", (number,))
        if old["image"] != fields[2]:
            conn.execute("delete from picture where product_id = ?", (number,))
            conn.execute("update product set image_crawled = 0 where id = ?", (number,))
        if product["group"] and product["group"] != old["group_key"]:
            outcome = "changed"
            conn.execute("update product set group_key = ? where id = ?",
                         (product["group"], number))
            conn.execute("""insert into regrouped(product_id, group_key, date)
                            values (?, ?, datetime())""", (number, old["group_key"]))
    fresh = product["listed"] is not None and store_listing(conn, number, product["listed"],
                                                            product["found"])
    refile(conn, "id = ?", number)
    filed = conn.execute("select category_id from product where id = ?", (number,)).fetchone()[0]
    if outcome == "unchanged" and old["category_id"] != filed:
        outcome = "changed"
    return number, outcome, fresh


def free_product_id(conn, external_id):
    if re.fullmatch("0|[1-9][0-9]{0,18}", external_id):
        number = int(external_id)
        # The upper half stays free, or the largest number would leave none above it.
        if number < 2 ** 62 and not conn.execute("select 1 from product where id = ?",
                                                 (number,)).fetchone():
            return number
    return conn.execute("select coalesce(max(id), 0) + 1 from product").fetchone()[0]


def store_listing(conn, number, listed, found):
    """Replace the shop's list of a product's categories; where it was found is only added to.
    Returns whether `found` was."""
    conn.execute("delete from product_category where product_id = ? and found = 0", (number,))
    conn.execute("update product_category set position = null where product_id = ?", (number,))
    conn.executemany("""insert into product_category(product_id, category_id, position)
                        values (?, ?, ?) on conflict(product_id, category_id)
                        do update set position = excluded.position where position is null""",
                     [(number, category, place) for place, category in enumerate(listed)])
    return found is not None and conn.execute(
        """insert into product_category(product_id, category_id, found) values (?, ?, 1)
           on conflict(product_id, category_id) do update set found = 1 where found = 0""",
        (number, found)).rowcount > 0


def refile(conn, where, value):
    """File the products that `where` picks under the first category of the shop's own list that
    is a leaf of the tree, else the first in path order of the leaves they were found in, else the
    first inner category listed, else none."""
    conn.execute(f"""update product set category_id = (
                         select category.id from product_category
                         join category on category.id = product_category.category_id
                         where product_id = product.id
                         order by leaf desc, position is null, position, path, category.id limit 1)
                     where {where}""", (value,))


def count_products(conn, only=None):
    """Set product_count, of all categories or of the ids given, to the products filed there."""
    statement = """update category set product_count =
                   (select count(*) from product where category_id = category.id)"""
    if only is None:
        conn.execute(statement)
    else:
        conn.executemany(f"{statement} where id = ?", [(own,) for own in only])


def catalogue_counts(conn, source):
    """(products, leaves with products, products at an inner category, products with none)."""
    return tuple(conn.execute(
        """select count(*), count(distinct case when leaf = 1 then category_id end),
           coalesce(sum(leaf = 0), 0), coalesce(sum(category_id is null), 0)
           from product left join category on category.id = category_id where source = ?""",
        (source,)).fetchone())


def sources(conn):
    """The names of the shops that products came from."""
    return [row[0] for row in conn.execute("select distinct source from product order by source")]


# ---- pictures ---------------------------------------------------------------------------------

# A link into the web, which means one picture wherever it stands; others are files beside a feed,
# and two feeds may have one of the same name.
OF_THE_WEB = "({0}.image like 'http%' or {0}.image like '//%')"
# One that failed is tried again only where it is a file beside the feed that was just loaded, which
# costs nothing. Of products with one link the first stands for all.
TO_FETCH = f"""from product left join picture on product_id = product.id
              where product.source = ? and product.id > ? and image <> ''
              and case when {OF_THE_WEB.format("product")} then
                  (status is null or status = 'unchecked') and (path is not null or not exists (
                      select 1 from product first where first.source = product.source
                      and first.image = product.image and first.id < product.id))
              else coalesce(status, '') <> 'ok' and (path is not null
                  or external_id in (select id from seen)) end"""


def remember_seen(conn):
    conn.execute("create temp table if not exists seen(id text primary key) without rowid")


def pictures_to_fetch(conn, source, after, count):
    """The next rows (id, external_id, image, path) past id `after` that have no checked picture;
    path is that of a file that is to be checked."""
    remember_seen(conn)
    return conn.execute(f"""select product.id, external_id, image, path {TO_FETCH}
                            order by product.id limit ?""", (source, after, count)).fetchall()


def count_pictures_to_fetch(conn, source, after=-2 ** 63):
    remember_seen(conn)
    return conn.execute(f"select count(*) {TO_FETCH}", (source, after)).fetchone()[0]


def count_unfinished(conn, source):
    """How many products have a link to a picture that could be had in this run, and was not."""
    remember_seen(conn)
    return conn.execute(f"""select count(*) from product left join picture on product_id = id
                            where source = ? and image <> ''
                            and coalesce(status, 'unchecked') = 'unchecked'
                            and ({OF_THE_WEB.format("product")} or path is not null
                                 or external_id in (select id from seen))""",
                        (source,)).fetchone()[0]


def kept_pictures(conn, source):
    """Yield (product_id, path, sha256) of the pictures of a source that are kept as files, of all
    sources for None, by id."""
    return conn.execute("""select product_id, path, sha256 from picture
                           join product on id = product_id where status = 'ok'
                           and (source = ? or ? is null) order by product_id""", (source, source))


def forget_pictures(conn, products):
    """Forget the pictures of these product ids, so that they are fetched again."""
    with transaction(conn):
        for number in products:
            conn.execute("delete from picture where product_id = ?", (number,))
            conn.execute("update product set image_crawled = 0 where id = ?", (number,))


def forget_failed_pictures(conn, source, reason=None):
    """Forget which pictures of a source were no good, all or those of a reason, so that they are
    tried again."""
    with transaction(conn):
        conn.execute("""delete from picture where status = 'failed' and (reason = ? or ? is null)
                        and product_id in (select id from product where source = ?)""",
                     (reason, reason, source))


def share_pictures(conn, source):
    """Give products that have none the picture of the first product with the same link."""
    with transaction(conn):
        conn.execute(f"""insert or replace into picture(product_id, path, sha256, status, reason)
                        select own.id, first.path, first.sha256, first.status, first.reason
                        from product own join picture first on first.product_id = (
                            select min(id) from product other
                            where other.source = own.source and other.image = own.image)
                        where own.source = ? and {OF_THE_WEB.format("own")}
                        and own.id <> first.product_id
                        and first.status in ('ok', 'failed') and not exists (
                            select 1 from picture where product_id = own.id
                            and (status <> 'failed' or first.status = 'failed'))""", (source,))
        conn.execute("""update product set image_crawled = 1 where source = ? and image_crawled = 0
                        and id in (select product_id from picture where status = 'ok')""",
                     (source,))


def set_placeholders(conn, least):
    """Call the pictures that so many groups of products share no good. Returns how many products
    have one."""
    with transaction(conn):
        conn.execute("""create temp table if not exists placeholder(sha256 text, groups integer)""")
        conn.execute("delete from placeholder")
        conn.execute(f"""insert into placeholder select sha256, count(distinct {GROUP_KEY})
                        from picture join product on id = product_id where sha256 is not null
                        group by sha256 having count(distinct group_key) >= ?""", (least,))
        conn.execute("""update product set image_crawled = 0 where id in (
                            select product_id from picture join placeholder using (sha256))""")
        return conn.execute("""update picture set status = 'failed', reason = 'a placeholder: '
                               || (select groups from placeholder
                                   where placeholder.sha256 = picture.sha256)
                               || ' different products have it' where sha256 in
                               (select sha256 from placeholder) and status = 'ok'""").rowcount


def picture_counts(conn, source=None):
    """[(status or None where there is none yet, reason, products)] of the products that have a link
    to a picture, of one source or of all, most first."""
    return conn.execute("""select status, reason, count(*) from product
                           left join picture on product_id = id
                           where image <> '' and (source = ? or ? is null)
                           group by status, reason order by count(*) desc, status, reason""",
                        (source, source)).fetchall()


def count_usable_pictures(conn, source, seen):
    """(products that have a picture, products whose picture is no good) of a source, or with `seen`
    of those of its products that this connection has met."""
    remember_seen(conn)
    return tuple(conn.execute("""
        select coalesce(sum(status = 'ok'), 0), coalesce(sum(status = 'failed'), 0)
        from product join picture on product_id = id where source = ? and image <> ''
        and (not ? or external_id in (select id from seen))""", (source, seen)).fetchone())


def first_sight(conn, external_id):
    """Whether this is the first time that this connection is asked about this id."""
    remember_seen(conn)
    return conn.execute("insert or ignore into seen values (?)", (external_id,)).rowcount == 1


def remember_labelled(conn, source):
    """Note, for count_labels_kept, which products of a source have a category."""
    conn.execute("create temp table if not exists labelled(id integer primary key)")
    conn.execute("delete from labelled")
    conn.execute("""insert into labelled select id from product
                    where source = ? and category_id is not null""", (source,))


def count_labels_kept(conn):
    """Of the products that had a category at remember_labelled: (how many of those that this
    connection has seen have one, how many of all have none)."""
    return tuple(conn.execute("""
        select coalesce(sum(category_id is not null and external_id in (select id from seen)), 0),
               coalesce(sum(category_id is null), 0)
        from labelled join product using (id)""").fetchone())


def product_ids(conn, source):
    """Ids of a shop's products."""
    return [row[0] for row in plain(conn, "select id from product where source = ?", (source,))]


def store_pictures(conn, rows):
    """Insert or replace rows (product_id, path, sha256, status, reason) in one transaction."""
    with transaction(conn):
        conn.executemany("insert or replace into picture values (?, ?, ?, ?, ?)", rows)
        conn.executemany("update product set image_crawled = ? where id = ?",
                         [(int(row[3] == PICTURE_OK), row[0]) for row in rows])
        conn.executemany("delete from filing where product_id = ?", [row[:1] for row in rows])


def pictures(conn, leaves):
    """(product_id, path, sha256) of the products of `labelled_products` that may have a picture,
    by id."""
    want_leaves(conn, leaves)
    return conn.execute(f"""select product_id, path, sha256 from picture
                            where product_id in (select product.id {TAKES_PART}) and status <> ?
                            order by product_id""", (PICTURE_FAILED,)).fetchall()


# ---- what the classifiers read ----------------------------------------------------------------

def choose_leaves(conn, wanted, min_products):
    """The leaves to classify, as rows in path order: those named in `wanted` (ids, or a leaf's own
    slug where only one has it), or without names all with at least min_products products.

    Raises UserError for a name that is unknown (with the nearest ones) or that several leaves have.
    """
    leaves = conn.execute("select * from category where leaf = 1 order by path, id").fetchall()
    if not wanted:
        chosen = [leaf for leaf in leaves if leaf["product_count"] >= min_products]
        if not chosen:
            largest = max((leaf["product_count"] for leaf in leaves), default=0)
            if not largest:
                raise UserError("no product has a category: load some that have one with crawl.py")
            raise UserError(f"no leaf has {min_products} products (the largest has {largest}); "
                            "lower --min-products, name some with --categories, or crawl more")
        return chosen
    by_name = {}
    for leaf in leaves:
        by_name.setdefault(leaf["id"], []).append(leaf)
        slug = leaf["id"].split(".")[-1]
        if slug != leaf["id"]:
            by_name.setdefault(slug, []).append(leaf)
    chosen = {}
    for name in wanted:
        exact = [leaf for leaf in by_name.get(name, ()) if leaf["id"] == name]
        found = exact or by_name.get(name, [])
        if not found:
            near = difflib.get_close_matches(name.lower(), by_name, n=3, cutoff=.4)
            hint = f"the nearest: {', '.join(near)}" if near else \
                f"there are {', '.join(list(by_name)[:3])} and others" if by_name else "crawl first"
            raise UserError(f"there is no leaf category '{name}'; {hint}")
        if len(found) > 1:
            raise UserError(f"several leaves are called '{name}': name one of "
                            + ", ".join(leaf["id"] for leaf in found))
        chosen[found[0]["id"]] = found[0]
    return [leaf for leaf in leaves if leaf["id"] in chosen]


def want_leaves(conn, leaves):
    """Fill the temporary table wanted_leaf: an IN list would meet SQLite's limit of variables."""
    conn.execute("create temp table if not exists wanted_leaf(id text primary key)")
    conn.execute("delete from wanted_leaf")
    conn.executemany("insert into wanted_leaf values (?)", [(leaf,) for leaf in leaves])


# A person's decisions that put a product into a category.
PUTS = "decision in ('label wrong', 'filed by hand')"
# A product takes part where it is filed in a wanted leaf, or where a person has put it into one. A
# decision holds as long as the shop's label is the one that was looked at.
TAKES_PART = f"""from product left join label_override
                on product_id = product.id and {PUTS}
                and label_id is product.category_id
                where product.category_id in (select id from wanted_leaf)
                or label_override.category_id in (select id from wanted_leaf)
                order by product.id"""


def labelled_products(conn, leaves, trust_filed=False):
    """(id, category_id, group_key, taught, filed, corrected) of all products filed in these leaves,
    or put into one of them by a person, by id. category_id is the label as crawled, `taught` the
    one to learn. Unless trust_filed, the label of a product that --apply filed before is only
    taught: category_id is null then, and `filed` is 1; `corrected` is 1 if that label is another
    one than --apply gave."""
    want_leaves(conn, leaves)
    filed = "0" if trust_filed else FILED_HERE
    return conn.execute(f"""select product.id, case when {filed} then null
                            else product.category_id end as category_id, {GROUP_KEY} as group_key,
                            coalesce(label_override.category_id, product.category_id) as taught,
                            {filed} as filed, {filed} and not exists (
                                select 1 from filed_before where filed_before.product_id =
                                product.id and filed_before.category_id = product.category_id)
                            as corrected {TAKES_PART}""").fetchall()


def leaf_sizes(conn):
    """{leaf: products filed there}, without empty leaves."""
    return dict(plain(conn, """select category_id, count(*) from product where category_id in (
                               select id from category where leaf = 1) group by category_id"""))


def texts(conn, leaves):
    """Yield (name, description) of the same products in the same order, so that the catalogue's
    text is never in memory as a whole."""
    want_leaves(conn, leaves)
    yield from map(tuple, conn.execute(f"""select coalesce(name, ''), coalesce(description, '')
                                           {TAKES_PART}"""))


def catalogue(conn):
    """Yield (id, group key, name, description) of all products that the shop or a person has filed,
    whatever the category, by id: what is only waiting must not move the split."""
    yield from plain(conn, f"""select id, {GROUP_KEY}, name, description
                              from product where category_id is not null or exists (
                                  select 1 from label_override where product_id = product.id
                                  and {PUTS}) order by id""")


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
        folds = settings(experiment(conn, number)).get("folds")
        own = measured if folds else f"""
            select id from product left join label_override on product_id = id and {PUTS}
            and label_id is product.category_id
            where coalesce(label_override.category_id, product.category_id) in (
                select id from wanted_leaf) and id not in ({measured})"""
    yield from plain(conn, f"""select {GROUP_KEY}, name, description from product
                               where id in ({own}) order by id""", {"number": number})


def product_text(conn, number):
    """(name, description, category id) of a product. Raises UserError where there is none."""
    row = None
    if abs(number) < 2 ** 63:   # what SQLite can hold
        row = conn.execute("""select coalesce(name, ''), coalesce(description, ''), category_id
                              from product where id = ?""", (number,)).fetchone()
    if row is None:
        raise UserError(f"there is no product {number}: the ids are those of the table product, "
                        "as in predicted_category.product_id")
    return tuple(row)


def parents(conn):
    """{leaf id: id of its immediate parent}, the leaf itself where there is none. The root is
    nobody's parent: it does not stand in a path."""
    ids = {}
    for row in categories(conn):
        above = row["path"].split("/")[-2:-1] if row["path"] else [row["parent"]]
        ids[row["id"]] = above[0] if above and above[0] else row["id"]
    return ids


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
    above, own = parents(conn), {row["id"] for row in leaves}
    inner = {name for row in leaves for name in (above[row["id"]], *(row["path"] or "").split("/"))}
    conn.executemany("insert into place values (?, ?)", [
        *((name, 1) for name in own), *((name, 0) for name in inner - own if name)])


def places_today(conn):
    """{category id: 1 for a leaf, else 0} of the categories that products may be filed at today."""
    want_places(conn)
    return dict(plain(conn, "select id, leaf from place"))


# A category id, of a column, that products may be filed at today.
LEAF_TODAY = "{0} in (select id from place where leaf = 1)"
PLACE_TODAY = "{0} in (select id from place)"
# The product has a category that no person has chosen, and --apply filed the product before. If it
# has another category now, the shop has corrected it. Those count no more than the others: figures
# that left out only what was filed rightly would rest on the suite's errors.
FILED_HERE = """(product.category_id is not null and exists (
                select 1 from filed_before where filed_before.product_id = product.id)
                and not exists (
                select 1 from label_override where label_override.product_id = product.id
                and (label_override.category_id = product.category_id
                     or decision = 'classifier wrong' and label_id = product.category_id)))"""


def readable_paths(conn, clean=str):
    """{category id: its path in the shop's words, cleaned one by one, from the top to it}."""
    rows = {row["id"]: row for row in categories(conn)}

    def name(own):
        return clean((rows[own]["name"] if own in rows else None) or own)

    return {own: " > ".join(map(name, row["path"].split("/"))) if row["path"] else name(own)
            for own, row in rows.items()}


# ---- experiments ------------------------------------------------------------------------------

def storable(text):
    """The text without halves of surrogate pairs, which arguments may hold and SQLite can't."""
    return text.encode("utf-8", "replace").decode("utf-8")


def experiment_name(kind, wanted):
    """The name that the 2016 scripts gave: `wanted` are the names asked for, [] for all."""
    if len(wanted) > 10:
        return f"{kind} classification of: {','.join(wanted[:5])}... ({len(wanted)} total)"
    return f"{kind} classification of: {','.join(wanted)}"


def models_folder(db_path):
    """models/ beside crawl.db, models-shop/ beside shop.db. Experiments of each file are numbered
    from 1, so of files whose names differ only in the extension one has that folder, and the others
    have folders of their own from the first time that they are written (part_models)."""
    shared, own = models_folders(db_path)
    return own if os.path.isdir(own) else shared


def models_folders(db_path):
    """(the models folder that all files of this name have at first, this file's own)."""
    folder, name = os.path.split(os.path.abspath(db_path))
    stem = os.path.splitext(name)[0]
    return (os.path.join(folder, "models" if stem == "crawl" else f"models-{stem}"),
            os.path.join(folder, f"models_{name}"))


def namesakes(db_path):
    """Paths of our other databases in this folder whose names differ in the extension only."""
    path = os.path.abspath(db_path)
    found = []
    for entry in os.scandir(os.path.dirname(path)):
        same = os.path.splitext(entry.path)[0] == os.path.splitext(path)[0] and entry.is_file()
        with contextlib.suppress(OSError):
            if same and not os.path.samefile(entry.path, path):
                if has_experiments(entry.path):
                    found.append(entry.path)
    return found


def has_experiments(path):
    """Whether a file is a database of ours, which may have models."""
    with open(path, "rb") as file:
        if file.read(15) != b"SQLite format 3":
            return False
    with contextlib.suppress(sqlite3.DatabaseError, UserError), \
            contextlib.closing(connect(path, "ro")) as conn:
        return conn.execute("select 1 from sqlite_master where name = 'experiment'"
                            ).fetchone() is not None
    return False


def model_digest(folder):
    """What a model is known by: the SHA-256 of its two files."""
    own = hashlib.sha256()
    for name in ("weights.npz", "model.json"):
        with open(os.path.join(folder, name), "rb") as file:
            while piece := file.read(1 << 20):
                own.update(piece)
    return own.hexdigest()


def own_models(db_path):
    """Names of the folders beside a database that hold what its experiments wrote there."""
    found, shared = [], models_folders(db_path)[0]
    with contextlib.suppress(sqlite3.DatabaseError, UserError), \
            contextlib.closing(connect(db_path, "ro")) as conn:
        for row in all_experiments(conn):
            name = f"experiment-{row['id']}"
            with contextlib.suppress(OSError):
                if settings(row).get("model") == model_digest(os.path.join(shared, name)):
                    found.append(name)
    return found


def part_models(db_path):
    """Before an experiment is written: of files whose names differ only in the extension the one
    that ends with .db (or comes first) keeps the shared folder, and each other one that has models
    there gets a folder of its own with copies of them, so that nobody replaces another's."""
    files = sorted([os.path.abspath(db_path), *namesakes(db_path)],
                   key=lambda path: (not path.endswith(".db"), path))
    for path in files[1:]:
        shared, own = models_folders(path)
        if os.path.isdir(own):
            continue
        theirs = own_models(path)
        if theirs or path == os.path.abspath(db_path):
            shutil.rmtree(f"{own}.writing", ignore_errors=True)
            os.mkdir(f"{own}.writing")
            for name in theirs:
                shutil.copytree(os.path.join(shared, name), os.path.join(f"{own}.writing", name))
            os.rename(f"{own}.writing", own)


def images_folder(db_path, asked=None):
    """The folder of the pictures: the one asked for (--images-path), else images/ beside crawl.db.
    An images/ in the current folder counts as long as there is none beside crawl.db, since all
    pictures went there before."""
    beside = os.path.join(os.path.dirname(db_path), "images")
    if asked is not None:
        return asked
    return "images" if os.path.isdir("images") and not os.path.isdir(beside) else beside


def save_experiment(conn, db_path, name, settings, predicted, validation, write_model, twins=None,
                    clusters=(), learned=()):
    """Write an experiment, its predictions and its model folder together or not at all.

    predicted and validation are rows (product_id, category_id, score, label_id, label_score,
    parent_id, parent_score, top, fold), validation's with `certifying` behind them; `twins` are
    their two columns twin, clusters rows (product_id, cluster) of near_duplicate, learned the ids
    of the products that the saved model learned from;
    write_model(folder) fills models/experiment-N beside crawl.db and returns what settings keep of
    it as `model`, by which it is known again, or None. The folder is moved in just
    before the commit, so a kill in between leaves at most a folder without a row, and the next
    experiment, which gets the same number, takes its place. (It is not another file's, see
    part_models.) Returns the number.
    """
    part_models(db_path)
    models_path = models_folder(db_path)
    beside = os.path.join(models_path, ".writing")   # one at a time: the write lock is ours
    with transaction(conn):
        try:
            os.makedirs(models_path, exist_ok=True)
            shutil.rmtree(beside, ignore_errors=True)
            os.mkdir(beside)
            digest = write_model(beside)
            settings = {**settings, "model": digest} if digest else settings
            number = conn.execute("""insert into experiment(name, date, settings)
                                     values (?, datetime(), ?)""",
                                  (storable(name),
                                   storable(json.dumps(settings, ensure_ascii=False)))).lastrowid
            columns = """experiment_id, product_id, category_id, score, label_id, label_score,
                         parent_id, parent_score, top, fold"""
            of_predicted, of_validation = twins or (itertools.repeat(None), itertools.repeat(None))
            conn.executemany(f"""insert into predicted_category({columns}, twin)
                                 values ({number}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                             ((*row, twin) for row, twin in zip(predicted, of_predicted)))
            conn.executemany(f"""insert into validation_prediction({columns}, certifying, twin)
                                 values ({number}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                             ((*row, twin) for row, twin in zip(validation, of_validation)))
            conn.executemany(f"insert into near_duplicate values ({number}, ?, ?)", clusters)
            conn.executemany(f"insert into learned_product values ({number}, ?)",
                             ((own,) for own in learned))
            folder = os.path.join(models_path, f"experiment-{number}")
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(beside, folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    return number


def experiments(conn):
    """Experiments that have predictions, oldest first."""
    return conn.execute("""select * from experiment where exists (select 1 from predicted_category
                           where experiment_id = experiment.id) order by id""").fetchall()


def all_experiments(conn):
    """All rows of the table, oldest first."""
    return conn.execute("select * from experiment order by id").fetchall()


def experiment(conn, number):
    """One experiment's row. Raises UserError where there is none."""
    row = None
    if abs(number) < 2 ** 63:   # what SQLite can hold
        row = conn.execute("select * from experiment where id = ?", (number,)).fetchone()
    if row is None:
        known = ", ".join(str(row["id"]) for row in experiments(conn)) or "none yet"
        raise UserError(f"there is no experiment {number} (there are: {known})")
    return row


def settings(row):
    """The settings of an experiment's row, a dict: {} in rows of 2016, and where somebody wrote
    something else there."""
    try:
        found = json.loads(row["settings"] or "{}")
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


# ---- what analyze.py reads --------------------------------------------------------------------

def plain(conn, statement, values=()):
    """A cursor of tuples: a million rows of sqlite3.Row take twice the time."""
    cursor = conn.cursor()
    cursor.row_factory = None
    return cursor.execute(statement, values)


def name_parents(conn):
    """Fill the temporary table leaf_parent(leaf, parent)."""
    conn.execute("create temp table if not exists leaf_parent(leaf text primary key, parent text)")
    conn.execute("delete from leaf_parent")
    conn.executemany("insert into leaf_parent values (?, ?)", parents(conn).items())


# Rows of 2016 hold no label of their own and get the category their product is filed under.
LABEL = "coalesce(label_id, (select product.category_id from product where id = product_id))"


def outcomes(conn, number):
    """Tuples (score, whether the leaf is right, whether its parent is) of an experiment."""
    name_parents(conn)
    above = "coalesce((select parent from leaf_parent where leaf = {0}), {0})".format
    return plain(conn, f"""
        select coalesce(score, 0), coalesce(predicted = label, 0),
               case when predicted = label then 1
               else coalesce({above("predicted")} = {above("label")}, 0) end
        from (select score, category_id as predicted, {LABEL} as label
              from predicted_category where experiment_id = ?)""", (number,))


def graded(conn, number, certifying=False):
    """Tuples (product_id, score, whether the leaf is right, fold or -1) of an experiment's
    predictions, or of the validation products that were kept for certifying."""
    table = "validation_prediction where certifying and" if certifying else \
        "predicted_category where"
    return plain(conn, f"""select product_id, coalesce(score, 0),
                           coalesce(category_id = {LABEL}, 0), coalesce(fold, -1)
                           from {table} experiment_id = ?""", (number,))


def group_numbers(conn):
    """Tuples (product id, number of its group) of all products, by id."""
    return plain(conn, f"""select id, dense_rank() over (
                              order by {GROUP_KEY}) from product order by id""")


def cluster_numbers(conn, number):
    """Tuples (product id, number of its cluster) of the near-duplicates that an experiment's split
    kept together, by product id."""
    return plain(conn, """select product_id, dense_rank() over (order by cluster)
                          from near_duplicate where experiment_id = ? order by product_id""",
                 (number,))


def count_labels(conn, number):
    """How many categories the products were filed under that an experiment predicted."""
    return conn.execute(f"""select count(distinct {LABEL}) from predicted_category
                            where experiment_id = ?""", (number,)).fetchone()[0]


def count_predictions(conn, number):
    return conn.execute("select count(*) from predicted_category where experiment_id = ?",
                        (number,)).fetchone()[0]


def code_categories(conn, number):
    """Fill the temporary table code(id, number) with every category that an experiment, its labels
    or a person may name. Returns their ids by number."""
    conn.execute("create temp table if not exists code(id text primary key, number integer)")
    conn.execute("delete from code")
    predicted = " union ".join(f"select {column} from {table} where experiment_id = :number"
                               for table in ("predicted_category", "validation_prediction")
                               for column in ("category_id", "label_id", "parent_id"))
    conn.execute(f"""insert into code select id, row_number() over (order by id) - 1 from (
                     select id from category union select category_id from product
                     union select category_id from label_override union {predicted})
                     where id is not null""", {"number": number})
    return [row[0] for row in conn.execute("select id from code order by number")]


def details(conn, number, certifying=False, words=True, leaves=()):
    """(names, rows) of an experiment's predictions by product, or of the validation products kept
    for certifying. names are category ids; a row is a tuple of numbers:

    product_id, group (products of one group, or cluster of near-duplicates, share it), label,
    predicted leaf, score, label_score, parent (the predicted), parent_score, fold, words of its
    text, picture (1: has one), reviewed (the label after a person's review), learned (the label
    that the experiment learned). Categories are places in names, -1 if not there. Without `words`
    these are not counted, but 0.

    With `leaves`, the model's, the rows are what a promise of today rests on: also its answers for
    products filed in other leaves (fold -1). The label is the one that the product has now, and the
    learned one if it has none or is gone.
    Scores of categories that nothing may be filed at now are -1. Products that --apply filed before
    they had the label of now are left out, unless --trust-filed was given.
    """
    names = code_categories(conn, number)
    conn.create_function("words", 2, lambda *text: len(normalised(*text).split()),
                         deterministic=True)
    own = "validation_prediction where certifying and" if certifying else "predicted_category where"
    columns = "product_id, category_id, score, label_id, label_score, parent_id, parent_score, fold"
    table = f"select {columns} from {own} experiment_id = :number"
    label = learned = "coalesce(prediction.label_id, product.category_id)"
    score, parent_score, where = "score", "parent_score", "true"
    if leaves:
        want_strange(conn, number, leaves)
        want_places(conn)
        label = f"coalesce(product.category_id, {learned})"
        score = f"case when {LEAF_TODAY.format('prediction.category_id')} then score else -1 end"
        parent_score = f"case when {PLACE_TODAY.format('parent_id')} then parent_score else -1 end"
        where = "true" if trusts_filed(conn, number) else f"not {FILED_HERE}"
        table += f""" union all select product_id, leaf_id, leaf_score, null, null, parent_id,
                      parent_score, null from filing join product on product.id = product_id
                      where experiment_id = :number and leaf_id is not null and {STRANGE}"""
    code = "coalesce((select number from code where code.id = {}), -1)".format
    put = f"case when {PUTS} then put.category_id else {label} end"
    rows = plain(conn, f"""
        select prediction.product_id,
               dense_rank() over (
                   order by coalesce(cluster, group_key, 'product ' || prediction.product_id)),
               {code(label)}, {code("prediction.category_id")}, coalesce({score}, 0),
               coalesce(label_score, -1),
               {code("parent_id")}, coalesce({parent_score}, -1), coalesce(fold, -1),
               {"words(name, description)" if words else "0"},
               exists(select 1 from picture where picture.product_id = prediction.product_id
                      and status <> '{PICTURE_FAILED}'), {code(put)}, {code(learned)}
        from ({table}) as prediction left join product on product.id = prediction.product_id
        left join near_duplicate on near_duplicate.experiment_id = :number
                  and near_duplicate.product_id = prediction.product_id
        left join label_override as put on put.product_id = prediction.product_id
                  and put.label_id is product.category_id
        where {where} order by prediction.product_id""", {"number": number})
    return names, rows


def trusts_filed(conn, number):
    """Whether an experiment was trained with --trust-filed."""
    arguments = settings(experiment(conn, number)).get("arguments")
    return isinstance(arguments, dict) and bool(arguments.get("trust_filed"))


def measured_products(conn, number):
    """The SQL of the products that an experiment was measured on: rows of product_id and label_id,
    each product once."""
    own = "select product_id, label_id from {} where experiment_id = :number"
    if settings(experiment(conn, number)).get("folds"):   # all of them are predicted once
        return own.format("predicted_category")
    return " union ".join(map(own.format, ("predicted_category", "validation_prediction")))


def changes(conn, number):
    """What has become of the products that an experiment was measured on, a dict: products;
    refiled, those that the shop has in another category now, or in one that nothing may be filed at
    any more; unlabelled, those that have no category any more; and regrouped, those that have
    another item group now than when it read them."""
    want_places(conn)
    own = measured_products(conn, number)
    last = settings(experiment(conn, number)).get("regroupings")
    products, unlabelled, refiled = plain(conn, f"""
        select count(*), coalesce(sum(product.id is not null and product.category_id is null), 0),
            coalesce(sum(product.category_id is not null and label_id is not null
            and (product.category_id <> label_id
                 or not {LEAF_TODAY.format("product.category_id")}) and not {FILED_HERE}), 0)
        from ({own}) left join product on product.id = product_id""",
                                          {"number": number}).fetchone()
    regrouped, = plain(conn, f"""
        select count(*) from (select product_id, min(id) as first from regrouped where id > :last
                              group by product_id) as moved
        join regrouped on regrouped.id = first join product on product.id = moved.product_id
        where regrouped.group_key is not product.group_key
        and moved.product_id in (select product_id from ({own}))""",
                       {"number": number, "last": last if type(last) is int else 0}).fetchone()
    return {"products": products, "refiled": refiled, "unlabelled": unlabelled,
            "regrouped": regrouped}


def last_regrouping(conn):
    """The last id of the table regrouped, 0 if it is empty."""
    return conn.execute("select coalesce(max(id), 0) from regrouped").fetchone()[0]


def best_five(conn, number):
    """Yield `top` of an experiment's predictions by product, as written: JSON."""
    for row in plain(conn, """select coalesce(top, '[]') from predicted_category
                              where experiment_id = ? order by product_id""", (number,)):
        yield row[0]


def tuned_products(conn, number):
    """Ids of the products that an experiment's validation held."""
    return [row[0] for row in plain(conn, """select product_id from validation_prediction
                                             where experiment_id = ?""", (number,))]


def near_trained(conn, number):
    """Ids of the predicted products whose model had learned from a near-duplicate; None where
    nobody has looked."""
    rows = plain(conn, """select product_id, twin from predicted_category
                          where experiment_id = ?""", (number,)).fetchall()
    return None if any(twin is None for _, twin in rows) else [own for own, twin in rows if twin]


def contents(conn, number, leaves):
    """Tuples (product_id, group, text, picture) of all products filed in these leaves: products of
    one number share the group or cluster, by which experiment `number` was split, the words or the
    picture file; -1 stands for none."""
    want_leaves(conn, leaves)
    conn.create_function("text_key", 2, lambda *text: text_key(normalised(*text) or "") if
                         normalised(*text) else None, deterministic=True)
    return plain(conn, """
        with own as (select product.id, coalesce(cluster, group_key) as group_key,
                     text_key(name, description) as text, sha256 as picture
                     from product left join picture on picture.product_id = product.id
                     left join near_duplicate on near_duplicate.product_id = product.id
                     and experiment_id = ?
                     where category_id in (select id from wanted_leaf))
        select id, case when group_key is null then -1
               else dense_rank() over (order by group_key) end,
               case when text is null then -1 else dense_rank() over (order by text) end,
               case when picture is null then -1 else dense_rank() over (order by picture) end
        from own order by id""", (number,))


def product_texts(conn, ids):
    """{id: row of source, external_id, name, description, image, picture (path)} of these
    products."""
    rows = {}
    for start in range(0, len(ids), 500):
        some = ids[start:start + 500]
        for row in conn.execute(f"""select id, source, external_id, name, description, image,
                                    picture.path as picture from product
                                    left join picture on product_id = id
                                    where id in ({','.join('?' * len(some))})""", some):
            rows[row["id"]] = row
    return rows


# ---- products that nobody has filed ------------------------------------------------------------

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


def to_answer(conn, number, leaves, size):
    """Yield lists of up to `size` products that experiment `number` has no answer for yet and that
    nobody has filed, or that are filed in a leaf that is not one of its own `leaves`: rows of id,
    category_id, group_key, cluster (of the experiment's, else the group_key), name, description,
    and path and sha256 of their picture or null."""
    want_strange(conn, number, leaves)
    for where in (UNFILED, STRANGE):   # with an `or` SQLite would sort them all for each list
        after = -2 ** 63
        while rows := conn.execute(f"""
                select product.id, category_id, {GROUP_KEY} as group_key,
                       coalesce(name, '') as name,
                       coalesce(description, '') as description, path, sha256,
                       coalesce(cluster, {GROUP_KEY}) as cluster
                from product left join picture on picture.product_id = product.id and status <> ?
                left join near_duplicate on near_duplicate.product_id = product.id
                     and near_duplicate.experiment_id = ?
                where {where} and product.id > ? and not exists (
                    select 1 from filing where experiment_id = ? and product_id = product.id)
                order by product.id limit ?""",
                                   (PICTURE_FAILED, number, after, number, size)).fetchall():
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
                              (number, PICTURE_FAILED) if pictured else (number,)).fetchone())


def store_answers(conn, number, rows):
    """Store what a model says of products, rows (product_id, leaf_id, leaf_score, parent_id,
    parent_score, top, words, unknown, pictured, twin), in one transaction. What another process has
    answered meanwhile stays."""
    with transaction(conn):
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
    return plain(conn, f"""select level, target, {LEVEL} as next, count(*) from filing {OF_SOURCE}
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
    return {(leaf, step): count for leaf, step, count in plain(conn, f"""
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
                        (PICTURE_FAILED, number, top)).fetchall()


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
    return dict(plain(conn, f"""select level, count(*) from filing join product
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
        return plain(conn, f"""
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


# ---- a person's decisions ---------------------------------------------------------------------

# `filed by hand` is for what had no label.
DECISIONS = ("label wrong", "classifier wrong", "unclear", "filed by hand")


def overrides(conn):
    """All decisions: {product id: row of decision, category_id, label_id, date, and holds: 1 as
    long as the shop's label is the one that was looked at}."""
    return {row["product_id"]: row for row in conn.execute(
        """select label_override.*, label_id is product.category_id as holds
           from label_override join product on product.id = product_id""")}


def product_by_id(conn, number):
    """A product's row of id, source, external_id, name and category_id; None where there is none.
    """
    return conn.execute("""select id, source, external_id, name, category_id from product
                           where id = ?""", (number,)).fetchone()


def products_called(conn, source, external_ids):
    """The same rows of a shop's products with these external ids."""
    rows = (conn.execute("""select id, source, external_id, name, category_id from product
                            where source = ? and external_id = ?""", (source, own)).fetchone()
            for own in external_ids)
    return [row for row in rows if row]


def leaf_names(conn):
    """{what a person may call a leaf, in lower case: its id}: its id, its path in the shop's words,
    and the last part of that where only one leaf has it. Blanks in a row count as one."""
    paths, found, last = readable_paths(conn), {}, {}
    for row in categories(conn):
        if row["leaf"]:
            path = folded(paths[row["id"]])
            last.setdefault(path.split(" > ")[-1], []).append(row["id"])
            found[path] = row["id"]
    found = {**{name: ids[0] for name, ids in last.items() if len(ids) == 1}, **found}
    return {**found, **{folded(row["id"]): row["id"] for row in categories(conn) if row["leaf"]}}


def folded(text):
    """A category's name as it is compared: in lower case, blanks in a row as one."""
    return " ".join(text.split()).casefold()


def missing_categories(conn):
    """{category: products} of decisions that hold, of categories that are no leaf (yet)."""
    return dict(plain(conn, f"""
        select label_override.category_id, count(*) from label_override
        join product on product.id = product_id and label_id is product.category_id
        where {PUTS} and label_override.category_id not in (select id from category where leaf = 1)
        group by label_override.category_id order by count(*) desc, label_override.category_id"""))


def settle_proposals(conn):
    """Have decisions of a category that did not exist name the leaf that is called so by now."""
    missing = missing_categories(conn)
    leaves = leaf_names(conn) if missing else {}
    settled = [(leaves[folded(name)], name) for name in missing if folded(name) in leaves]
    if settled:
        with transaction(conn):
            conn.executemany("update label_override set category_id = ? where category_id = ?",
                             settled)


def store_overrides(conn, rows):
    """Store decisions (product id, decision or None to take one back, category id or None) in one
    transaction. Returns how many changed something."""
    with transaction(conn):
        before = conn.total_changes
        conn.executemany("delete from label_override where product_id = ?",
                         [(number,) for number, decision, _ in rows if decision is None])
        conn.executemany("""insert into label_override(product_id, decision, category_id, label_id,
                            date) select id, :decision, :category, category_id, datetime()
                            from product where id = :id
                            on conflict(product_id) do update set decision = excluded.decision,
                            category_id = excluded.category_id, label_id = excluded.label_id,
                            date = excluded.date where decision <> excluded.decision
                            or category_id is not excluded.category_id
                            or label_id is not excluded.label_id""",
                         [{"id": number, "decision": decision, "category": category}
                          for number, decision, category in rows if decision is not None])
        return conn.total_changes - before


def surest_errors(conn, number, count):
    """The wrong predictions with the highest scores: product, picture, label, prediction, their
    scores, and whether the shop lists the product in the predicted category too."""
    return conn.execute("""
        select product.id, source, external_id, product.name, product.description, product.image,
               picture.path as picture, coalesce(label_id, product.category_id) as label,
               predicted_category.category_id as predicted, score, label_score,
               exists (select 1 from product_category where product_id = product.id
                       and category_id = predicted_category.category_id) as listed
        from predicted_category join product on product.id = predicted_category.product_id
        left join picture on picture.product_id = product.id and picture.status <> ?
        where experiment_id = ?
              and coalesce(label_id, product.category_id) is not predicted_category.category_id
        order by score desc, product.id limit ?""", (PICTURE_FAILED, number, count)).fetchall()
