"""Fill crawl.db with a shop's categories and products, and images/ with their pictures.

In: a ShopStyle-compatible API (key in SHOPSTYLE_API_KEY), or with --feed a catalogue file. Out:
tables category, product, product_category and picture of crawl.db; one file a picture in images/.
Stop it whenever you like: the same command goes on where it was, page by page.

    python crawl.py --feed products.tsv
    SHOPSTYLE_API_KEY=... python crawl.py --root women
"""
import concurrent.futures
import contextlib
import glob
import hashlib
import io
import os
import random
import time
import warnings

import requests
from PIL import Image

import db
import feeds
import shopstyle
from console import Parser, UserError, log, progress, run

PICTURE_WORKERS = 8
MOST_BYTES = 20_000_000       # of a picture
MOST_PIXELS = 50_000_000
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp",
            "TIFF": ".tif", "MPO": ".jpg"}   # MPO: a JPEG with more pictures behind the first
FORMATS = [name for name in SUFFIXES if name != "MPO"]   # Pillow finds that inside JPEG


# ---- the API ----------------------------------------------------------------------------------

def crawl_leaf(conn, shop, leaf, offset, most, counts):
    """Fetch a leaf's pages from `offset` on, one transaction a page, until `most` products of
    them are filed there or the shop has no more."""
    done = False
    while not done:
        answer = shop.get("products", cat=leaf, offset=offset, limit=shopstyle.PAGE)
        items = answer.get("products")
        if not isinstance(items, list):
            raise shopstyle.Unfinished(f"{shop.host} gives no list of products for {leaf}")
        metadata = answer.get("metadata") if isinstance(answer.get("metadata"), dict) else {}
        total = metadata.get("total")
        offset += len(items)
        with db.transaction(conn):
            touched = {leaf}
            for item in items:
                product = shopstyle.read_product(item, leaf, shop.key)
                if product is None:
                    counts["skipped"] += 1
                    continue
                touched.update(product["listed"])
                counts[db.store_product(conn, "shopstyle", product)[1]] += 1
            done = (not items or offset >= shopstyle.PAGING_CAP
                    or (isinstance(total, int) and offset >= total)
                    or db.filed_from_own_pages(conn, leaf) >= most)
            db.set_progress(conn, leaf, offset, done)
            db.count_products(conn, sorted(touched))


def read_tree(shop, root):
    """The category tree. Raises UserError where there is none to be had."""
    try:
        tree = shopstyle.fetch_tree(shop, root)
    except shopstyle.Unfinished as problem:
        raise UserError(f"{problem}; check --api-url and the network, or load a file with "
                        "--feed") from None
    if len(tree) == 1:
        raise UserError(f"{shop.host} knows no categories below --root {root}")
    return tree


def crawl_api(conn, shop, tree, most):
    """Crawl all products; returns (counts by outcome, leaves that could not be finished)."""
    with db.transaction(conn):
        db.store_categories(conn, tree)
    counts, failed = dict.fromkeys(("new", "changed", "unchanged", "skipped"), 0), []
    known = {row[0] for row in tree}   # crawl.db may hold a feed's leaves too, or an older tree's
    leaves = [leaf for leaf in db.leaves_to_crawl(conn) if leaf["id"] in known]
    for leaf in progress("categories", len(leaves), "leaves", leaves):
        try:
            crawl_leaf(conn, shop, leaf["id"], leaf["next_offset"], most, counts)
        except shopstyle.Unfinished as problem:
            log(f"{leaf['id']} is not finished: {problem}")
            failed.append(leaf["id"])
            if len(failed) == 5 and not counts["new"] + counts["changed"] + counts["unchanged"]:
                log("five categories in a row failed: going no further")
                break
    with db.transaction(conn):   # a leaf that came late may have taken products from others
        db.count_products(conn)
    return counts, failed


# ---- feeds ------------------------------------------------------------------------------------

def load_feed(conn, path, source):
    """Store all products of a feed, in one transaction: whole or not at all. Returns counts."""
    counts, skipped = dict.fromkeys(("new", "changed", "unchanged", "skipped"), 0), []
    with db.transaction(conn):
        tree = feeds.CategoryTree(db.categories(conn))
        for row in progress("feed", None, "products", feeds.read_feed(path, skipped)):
            if not db.first_sight(conn, row.external_id):
                skipped.append((row.line, f"the id {row.external_id} stood in an earlier line"))
                continue
            listed = [tree.id_of(row.category)] if row.category else []
            product = {"external_id": row.external_id, "name": row.name, "image": row.image,
                       "description": row.description, "listed": listed, "found": None,
                       "group": f"{source} {row.group}" if row.group else None}
            counts[db.store_product(conn, source, product)[1]] += 1
        db.store_categories(conn, tree.rows())
        db.refile(conn, "source = ?", source)
        db.count_products(conn)
    counts["skipped"] = len(skipped)
    for line, reason in skipped[:10]:
        log(f"{path}, line {line}: {reason}; left out")
    if len(skipped) > 10:
        log(f"{path}: {len(skipped) - 10} more lines left out")
    if not counts["new"] + counts["changed"] + counts["unchanged"]:
        raise UserError(f"{path} holds no product")
    return counts


# ---- pictures ---------------------------------------------------------------------------------

def check_picture(data):
    """The file suffix of picture bytes that decode in full. Raises ValueError with the reason."""
    if not data:
        raise ValueError("empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")   # Pillow's own, of a size that is checked below
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height <= MOST_PIXELS:
                    picture.load()
                    return SUFFIXES[picture.format]
    except Image.DecompressionBombError:
        raise ValueError("too many pixels") from None
    except Exception:   # a decoder raises whatever it meets: RuntimeError, struct.error ...
        raise ValueError("not a picture in a known format, or a broken one") from None
    raise ValueError(f"{width}x{height} pixels are too many")


def keep_picture(data, images_path):
    """Check picture bytes and put them under images_path by their content. Returns a picture
    row's (path, sha256, status, reason). The file is whole or not there, whenever this is killed.
    """
    try:
        suffix = check_picture(data)
    except ValueError as problem:
        return None, None, db.PICTURE_FAILED, str(problem)
    sha256 = hashlib.sha256(data).hexdigest()
    path = f"{sha256[:2]}/{sha256}{suffix}"
    target = os.path.join(images_path, path)
    if not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        beside = os.path.join(images_path, f".{os.getpid()}-{random.getrandbits(64):x}.tmp")
        try:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(beside)
    return path, sha256, db.PICTURE_OK, None


def sweep(images_path):
    """Remove what a killed crawl left half-written, a day later: until then it may be another's."""
    for path in glob.glob(os.path.join(glob.escape(images_path), ".*-*.tmp")):
        with contextlib.suppress(OSError):
            if time.time() - os.path.getmtime(path) > 86400:
                os.remove(path)


def adopt_picture(path, images_path):
    """The picture row of a file that an earlier crawl left at `path`, None where it is no good."""
    try:
        with open(os.path.join(images_path, path), "rb") as file:
            data = file.read(MOST_BYTES + 1)
        check_picture(data)
    except (OSError, ValueError):
        return None
    return path, hashlib.sha256(data).hexdigest(), db.PICTURE_OK, None


def download(session, url):
    """Bytes of a URL. Raises ValueError where it will never be a picture, Unfinished where
    another run may have more luck."""
    for attempt in range(shopstyle.TRIES):
        if attempt:
            time.sleep(random.uniform(0, 2 ** attempt))
        try:
            with session.get(url, timeout=shopstyle.TIMEOUT, stream=True,
                             headers={"Accept-Encoding": "identity"}) as answer:
                if answer.status_code == 200:
                    return read_capped(answer)
                problem = f"error {answer.status_code}"
                if answer.status_code < 500 and answer.status_code not in (408, 429):
                    raise ValueError(problem)
        except (requests.Timeout, requests.ConnectionError,
                requests.exceptions.ChunkedEncodingError) as error:
            problem = shopstyle.plain_reason(error)
        except (requests.RequestException, UnicodeError):
            raise ValueError("not a URL that can be fetched") from None
    raise shopstyle.Unfinished(problem)


def read_capped(answer):
    pieces, size, deadline = [], 0, time.monotonic() + 120
    for piece in answer.iter_content(65536):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        if time.monotonic() > deadline:
            raise requests.Timeout()
    return b"".join(pieces)


def get_picture(row, images_path, session, feed):
    """The picture row's (path, sha256, status, reason) of one product, fetched if it must be.
    Raises Unfinished where another run may have more luck."""
    adopted = adopt_picture(row["path"], images_path) if row["path"] else None
    if adopted:
        return adopted
    link = row["image"]
    try:
        if link.lower().startswith(("http://", "https://")):
            return keep_picture(download(session, link), images_path)
        path = feeds.picture_file(feed, link) if feed and "://" not in link else None
        if path is None:
            raise ValueError("neither an http(s) URL nor a file in the feed's folder")
        data = read_picture_file(path)
    except ValueError as problem:
        return None, None, db.PICTURE_FAILED, str(problem)
    return keep_picture(data, images_path)


def read_picture_file(path):
    """Bytes of a file beside a feed. Raises ValueError where it can't be read or is too large."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"no readable file: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    return data


def fetch_pictures(conn, source, images_path, feed=None):
    """Get the pictures that are not there yet. Returns counts of ok, failed and unfinished."""
    counts = dict.fromkeys(("ok", "failed", "unfinished"), 0)
    sweep(images_path)
    gone = db.missing_pictures(conn, source, lambda path: os.path.exists(
        os.path.join(images_path, path)))
    if gone:
        log(f"{gone} pictures are no longer in {images_path}: getting them again")
    todo = db.count_pictures_to_fetch(conn, source)
    session, after, in_a_row = shopstyle.new_session(PICTURE_WORKERS), -2 ** 63, 0
    pool = concurrent.futures.ThreadPoolExecutor(PICTURE_WORKERS)
    try:
        with progress("pictures", todo, "pictures") as bar:
            while rows := db.pictures_to_fetch(conn, source, after, 100):
                after, done = rows[-1]["id"], []
                jobs = [pool.submit(get_picture, row, images_path, session, feed) for row in rows]
                for row, job in zip(rows, jobs):
                    try:
                        outcome = job.result()
                    except shopstyle.Unfinished as problem:
                        counts["unfinished"] += 1
                        in_a_row += 1
                        log(f"picture of product {row['id']}: {problem}")
                    else:
                        in_a_row = 0
                        counts[outcome[2]] += 1
                        if outcome[2] == db.PICTURE_FAILED:
                            log(f"picture of product {row['id']}: {outcome[3]}")
                        done.append((row["id"], *outcome))
                    bar.update()
                db.store_pictures(conn, done)
                if in_a_row >= 20:
                    log("twenty pictures in a row could not be fetched: going no further")
                    counts["unfinished"] += db.count_pictures_to_fetch(conn, source, after)
                    break
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return counts


# ---- the command ------------------------------------------------------------------------------

def parse(argv):
    parser = Parser(description=__doc__.split("\n\n")[0], epilog=(
        "The API key is read from the environment variable SHOPSTYLE_API_KEY. Exit status: 0 all "
        "done, 1 something could not be fetched (run it again), 2 a mistake to mend first."))
    parser.add_argument("--db-path", default="crawl.db", metavar="FILE",
                        help="the SQLite file to fill (default: crawl.db)")
    parser.add_argument("--images-path", default="images", metavar="DIR",
                        help="folder for the pictures (default: images)")
    parser.add_argument("--feed", metavar="FILE",
                        help="load this tab-separated Google Merchant feed instead of an API")
    parser.add_argument("--source", default="feed", metavar="NAME",
                        help="name of the feed's shop; products of one name replace each other by "
                        "id, so give a second shop its own (default: feed)")
    parser.add_argument("--api-url", metavar="URL",
                        default=os.environ.get("SHOPSTYLE_API_URL") or shopstyle.API_URL,
                        help="where the ShopStyle API v2 is (default: SHOPSTYLE_API_URL in the "
                        f"environment, else {shopstyle.API_URL})")
    parser.add_argument("--root", default="women", metavar="ID",
                        help="category whose leaves are crawled (default: women)")
    parser.add_argument("--max-per-category", type=int, default=1000, metavar="N",
                        help="products to file in a leaf before going on to the next; never "
                        "limits a feed (default: 1000)")
    args = parser.parse_args(argv)
    if args.max_per_category < 1:
        parser.error("--max-per-category must be 1 or more")
    return args


def main(argv=None):
    args = parse(argv)
    if args.feed is not None:
        if not os.path.isfile(args.feed):
            raise UserError(f"--feed takes a file, and {args.feed} is none")
        feeds.check_feed(args.feed)   # first, so that something else leaves no empty crawl.db
        source, failed = feeds.clean(args.source), []
        if source in ("", "shopstyle"):
            raise UserError("--source must name the feed's shop, and 'shopstyle' is the API's name")
        conn = db.open_database(args.db_path, create=True)
        counts = load_feed(conn, args.feed, source)
    else:
        key = os.environ.get("SHOPSTYLE_API_KEY", "").strip()
        if not key:
            raise UserError("set SHOPSTYLE_API_KEY to your API key, or load a catalogue file with "
                            "--feed FILE")
        source, shop = "shopstyle", shopstyle.Shop(args.api_url, key)
        tree = read_tree(shop, args.root)   # first, so that a dead host leaves no empty crawl.db
        conn = db.open_database(args.db_path, create=True)
        counts, failed = crawl_api(conn, shop, tree, args.max_per_category)
    products, leaves, inner, none = db.catalogue_counts(conn, source)
    print(f"products: {products} in {leaves} leaves ({inner} at an inner category, {none} without "
          f"one); this run: {counts['new']} new, {counts['changed']} changed, "
          f"{counts['unchanged']} seen before, {counts['skipped']} left out")
    pictures = fetch_pictures(conn, source, args.images_path, args.feed)
    print(f"pictures: {pictures['ok']} fetched, {pictures['failed']} unusable, "
          f"{pictures['unfinished']} not fetched")
    if failed or pictures["unfinished"]:
        log(f"{len(failed)} categories and {pictures['unfinished']} pictures are not done: run the "
            "same command again")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
