"""The tables of crawl.db for a catalogue: categories, products and pictures, step by step.

In: an open crawl.db, of any version. Out: the same with a table, a column or an index more. Each
step does nothing if its work is done. db.py has all steps in their order, and does them:

    sqlite3 crawl.db 'select name, date from schema_version'
"""

from __future__ import annotations

import sqlite3

from common.text import normalised, text_key

PICTURE_OK, PICTURE_FAILED, PICTURE_UNCHECKED = "ok", "failed", "unchecked"


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


def regrouped_table(conn: sqlite3.Connection) -> None:
    """Products that a later load gave another item group; group_key is the earlier one. An
    experiment's settings hold the last id that existed when it read its products."""
    conn.execute("""create table if not exists regrouped(
                    id integer primary key autoincrement,
                    product_id integer not null references product(id) on delete cascade,
                    group_key text, date text)""")
    conn.execute("create index if not exists regrouped_by_product on regrouped(product_id)")


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


def feed_system_table(conn: sqlite3.Connection) -> None:
    """Which system wrote the last feed of a shop, as crawling/feed_dialects.py calls it, and the
    known names of the columns that ids and categories stood in, '' if nobody knows: an export for
    that system needs them. A shop that an older version has loaded has no row."""
    conn.execute("""create table if not exists feed_system(
                    source text primary key, system text not null, id_column text not null,
                    category_column text not null) without rowid""")
