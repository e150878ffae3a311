"""The products of a feed -> crawl.db, whole or not at all.

In: a feed's file. Out: its products and categories in crawl.db, and on stderr what was left out,
and what a person should know of the categories.

    python crawl.py --feed products.tsv
    python crawl.py --feed new.tsv --unlabelled
"""
import collections

import db
from common.terminal import UserError, ended_at_once, grouped, log, progress
from crawling import feed_download, feed_products, http_client, queries


def load_feed(conn, path, args, counts, stop, base=None):
    """Store all products of a feed, in one transaction: whole or not at all; adds to counts by
    outcome. base is the URL it came from. Raises UserError, and http_client.Stopped where
    stop is set."""
    skipped, levels, signs = [], 0, collections.Counter()
    with db.transaction(conn), ended_at_once(stop, http_client.Stopped):
        before = db.categories(conn)
        tree, known = feed_products.CategoryTree(before), {row["id"] for row in before}
        queries.remember_labelled(conn, args.source)
        regrouped = db.last_regrouping(conn)
        rows = feed_products.read_feed(path, skipped, args.column)
        for row in progress("feed", None, "products", rows):
            if not queries.first_sight(conn, row.external_id):
                skipped.append((row.line, "its id stood in an earlier line (id "
                                f"{row.external_id[:50]})"))
                continue
            listed = None if args.unlabelled else \
                [tree.id_of(row.category)] if row.category else []
            levels = max(levels, len(row.category))
            signs.update(sign for sign in ">/|" if sign in "".join(row.category))
            product = {"external_id": row.external_id, "name": row.name,
                       "image": feed_download.at_shop(row.image, base),
                       "description": row.description, "listed": listed, "found": None,
                       "group": f"{args.source} {row.group}" if row.group else None}
            _, outcome, _ = queries.store_product(conn, args.source, product)
            # A category that is new itself is filed in at the end only.
            counts["changed" if outcome == "unchanged" and not known.issuperset(listed or ())
                   else outcome] += 1
        total = counts["new"] + counts["changed"] + counts["unchanged"]
        if not total:
            reason = f"; line {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
            raise UserError(f"the feed holds no product{reason}")
        queries.store_categories(conn, tree.rows())
        queries.refile(conn, "source = ?", args.source)
        queries.count_products(conn)
        kept, lost = queries.count_labels_kept(conn)
        regrouped = db.last_regrouping(conn) - regrouped
    counts["skipped"] = len(skipped)
    name = "the feed" if base else path
    tell_left_out(skipped, lambda line: log(f"{name}, {line}; left out"))
    if args.unlabelled and kept:
        log(f"{kept} of these products have a category in {args.db_path} already, and keep it")
    if lost:
        log(f"{lost} products of {args.source} had a category and have none now: the feed has none "
            "for them (--unlabelled keeps what is there)")
    if regrouped:
        log(f"{regrouped} products of {args.source} have another item group than before: the next "
            "training keeps each group together, and the experiments so far were split otherwise")
    sign, often = signs.most_common(1)[0] if signs else ("", 0)
    if levels == 1 and often > total / 2:
        log(f"{name}: no category has a level below another, but many have {sign!r} in them: "
            "levels are parted by ' > '")


def tell_left_out(skipped, write):
    """Write a line for each reason of the lines that were left out, [(line, reason)], with the
    first of them."""
    def sentence(count, names, reason):
        return f"line {names}: {reason}" if count == 1 else f"{count} lines ({names}): {reason}"

    with grouped(sentence, write) as tell:
        for line, reason in skipped:   # an id is in brackets behind the reason
            kind, bracket, own = reason.partition(" (")
            tell(kind, f"{line}{bracket}{own}")
