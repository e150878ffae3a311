"""SQL of the crawl: categories, products and pictures, stored as they come, and how far it is.

In: an open crawl.db. Out: rows. db.py has the schema.
"""
import re

import db


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
                      db.group_key(fields[0], fields[1], product["group"]), *fields))
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


def remember_seen(conn):
    conn.execute("create temp table if not exists seen(id text primary key) without rowid")


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
    with db.transaction(conn):
        for number in products:
            conn.execute("delete from picture where product_id = ?", (number,))
            conn.execute("update product set image_crawled = 0 where id = ?", (number,))


def forget_failed_pictures(conn, source, reason=None):
    """Forget which pictures of a source were no good, all or those of a reason, so that they are
    tried again."""
    with db.transaction(conn):
        conn.execute("""delete from picture where status = 'failed' and (reason = ? or ? is null)
                        and product_id in (select id from product where source = ?)""",
                     (reason, reason, source))


def share_pictures(conn, source):
    """Give products that have none the picture of the first product with the same link."""
    with db.transaction(conn):
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
    with db.transaction(conn):
        conn.execute("""create temp table if not exists placeholder(sha256 text, groups integer)""")
        conn.execute("delete from placeholder")
        conn.execute(f"""insert into placeholder select sha256, count(distinct {db.GROUP_KEY})
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


def store_pictures(conn, rows):
    """Insert or replace rows (product_id, path, sha256, status, reason) in one transaction."""
    with db.transaction(conn):
        conn.executemany("insert or replace into picture values (?, ?, ?, ?, ?)", rows)
        conn.executemany("update product set image_crawled = ? where id = ?",
                         [(int(row[3] == db.PICTURE_OK), row[0]) for row in rows])
        conn.executemany("delete from filing where product_id = ?", [row[:1] for row in rows])
