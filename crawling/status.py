"""Where a crawl stands, in words: its summary, --status and --dry-run.

In: crawl.db, and what a run counted. Out: lines to print; nothing is written.

    python crawl.py --status
    python crawl.py --feed products.tsv --dry-run
"""
import os

import db
from common.terminal import grouped, progress
from crawling import feed_import, feed_products, queries, shopstyle_api


def summary(conn, source, counts, fetched, most, webs, seconds):
    """Lines about a run. counts and fetched are of this run, the rest of what is there now."""
    products, leaves, inner, none = queries.catalogue_counts(conn, source)
    lines = [f"products: {products} in {leaves} leaves ({inner} at an inner category, {none} "
             f"without one); this run: {counts['new']} new, {counts['changed']} changed, "
             f"{counts['unchanged']} seen before, {counts['skipped']} left out",
             pictures_line(conn, source, fetched)]
    reasons = [f"{number} {reason}" for status, reason, number in queries.picture_counts(conn, source)
               if status == db.PICTURE_FAILED]
    if reasons:
        more = f"; and {len(reasons) - 5} more kinds (see --status)" if len(reasons) > 5 else ""
        lines.append(f"unusable: {'; '.join(reasons[:5])}{more}")
    short = [leaf for leaf in queries.leaf_states(conn) if leaf["product_count"] < most] \
        if source == "shopstyle" else []
    if short:
        lines.append(f"short of {most} products: {len(short)} leaves, such as " + ", ".join(
            f"{leaf['id']} ({leaf['product_count']}"
            + (" of an unknown number)" if leaf["total"] is None else
               f" of the {leaf['total']} the shop tells of)")
            for leaf in sorted(short, key=lambda leaf: leaf["product_count"])[:3]))
    asked, again, size = (sum(one.counts[name] for one in webs)
                          for name in ("requests", "tries again", "bytes"))
    if asked:
        lines.append(f"requests: {asked}, {again} of them tries again; {size / 1e6:.1f} MB in "
                     f"{seconds:.0f} s")
    return lines


def pictures_line(conn, source, fetched):
    """What products have, and what this run did: one link may serve many products."""
    have = dict.fromkeys((db.PICTURE_OK, db.PICTURE_FAILED), 0)
    for state, _, number in queries.picture_counts(conn, source):
        if state in have:
            have[state] += number
    return (f"pictures: {have[db.PICTURE_OK]} products have theirs, {have[db.PICTURE_FAILED]} an "
            f"unusable one, {fetched['unfinished']} none yet; this run: {fetched['ok']} fetched, "
            f"{fetched['failed']} unusable")


def status(conn, most):
    """Lines about where a crawl stands, with every leaf of an API that is short of `most`."""
    leaves, lines = queries.leaf_states(conn), []
    todo = {leaf["id"] for leaf in queries.leaves_to_crawl(conn, most)} & {leaf["id"] for leaf in leaves}
    if leaves:
        ended = sum(leaf["crawled"] for leaf in leaves)
        begun = sum(leaf["next_offset"] > 0 for leaf in leaves if leaf["id"] in todo)
        lines.append(f"leaves: {len(leaves)}; {ended} read to their end, "
                     f"{len(leaves) - ended - len(todo)} with {most} products, {begun} begun, "
                     f"{len(todo) - begun} to begin")
    for leaf in leaves:
        if leaf["product_count"] < most:
            total = "an unknown number" if leaf["total"] is None else leaf["total"]
            end = "to go on" if leaf["id"] in todo else "the shop shows no more"
            lines.append(f"  {leaf['id']}: {leaf['product_count']} products; {leaf['next_offset']} "
                         f"rows read of {total}; {end}")
    for source in db.sources(conn):
        products, filled, inner, none = queries.catalogue_counts(conn, source)
        lines.append(f"products of {source}: {products} in {filled} leaves ({inner} at an inner "
                     f"category, {none} without one)")
    lines += [f"pictures: {number} {status or 'to fetch'}{': ' if reason else ''}{reason or ''}"
              for status, reason, number in queries.picture_counts(conn)]
    return lines or ["nothing has been crawled yet"]


def plan(conn, args):
    """Lines about what a crawl of the API would do, as far as crawl.db can tell."""
    filed = {leaf["id"]: leaf["product_count"] for leaf in queries.leaf_states(conn)}
    leaves = [leaf["id"] for leaf in queries.leaves_to_crawl(conn, args.max_per_category)
              if leaf["id"] in filed]
    pages = sum(-(-max(0, args.max_per_category - filed[leaf]) // shopstyle_api.PAGE)
                for leaf in leaves)
    waiting = queries.count_pictures_to_fetch(conn, "shopstyle")
    if args.retry_failed:
        waiting += sum(number for status, _, number in queries.picture_counts(conn, "shopstyle")
                       if status == db.PICTURE_FAILED)
    lines = [f"would fetch the categories below {args.root} from {args.api_url}",
             "and then the pages of each leaf among them; none is known yet" if not filed else
             f"and go on in {len(leaves)} of the {len(filed)} leaves known: {pages} pages or more, "
             f"{pages / shopstyle_api.RATE / 60:.0f} min at {shopstyle_api.RATE * 60:.0f} a minute"]
    rate = f", {waiting / args.image_rate / 60:.0f} min at {args.image_rate:g} a second from one " \
           "host" if args.image_rate else ""
    return [*lines, f"and {waiting} pictures of products that are there{rate}"]


def feed_plan(path, columns, unlabelled, beside):
    """Lines about what loading a feed would do, without its categories where unlabelled. Linked
    files are looked for beside the file `beside`; None for a feed that came from a URL."""
    skipped, categories, groups, lines = [], set(), set(), []
    counts = dict.fromkeys(("all", "none", "image", "files"), 0)

    def missing(count, names, reason):
        return f"{count} linked {reason}: " + names

    with grouped(missing, lines.append) as tell:
        rows = feed_products.read_feed(path, skipped, columns)
        for row in progress("feed", None, "products", rows):
            counts["all"] += 1
            category = () if unlabelled else row.category
            counts["none"] += not category
            counts["image"] += bool(row.image)
            categories.add(category)
            groups.add(row.group)
            if row.image and beside and not feed_products.of_the_web(row.image):
                counts["files"] += 1
                file = feed_products.picture_file(beside, row.image)
                if file is None or not os.path.isfile(file):
                    tell("files are not there, beside the feed", f"{row.image} (line {row.line})")
    feed_import.tell_left_out(skipped, lambda line: lines.append(f"and leave out {line}"))
    files = f" ({counts['files']} of them to files)" if counts["files"] else ""
    return [f"would load {counts['all']} products in {len(categories - {()})} categories "
            f"({counts['none']} without one), {counts['image']} with a link to a picture{files}, "
            f"{len(groups - {''})} item groups", *lines]
