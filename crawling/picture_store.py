"""Pictures of products -> files under images/, checked and named by their content.

In: links of the products of crawl.db. Out: a file for each picture that can be decoded whole, and a
row of the table picture for each product: its file, or the reason why there is none. Whenever it is
killed, the next run goes on; what a file holds is the server's own bytes.

    python crawl.py --image-rate 2
    python crawl.py --verify
"""
import concurrent.futures
import contextlib
import glob
import hashlib
import itertools
import os
import random
import time

import db
from common.files import replacing
from common.pictures import SUFFIXES, TooLarge, opened
from common.terminal import UserError, grouped, log, progress
from crawling import feed_products, http_client, queries

CONNECTIONS = 8
WORKERS = 2 * CONNECTIONS     # while one half fetches, the other checks and writes
MOST_BYTES = 20_000_000       # of a picture
LEAST_SIDE = 8                # pixels; a smaller one counts visits and shows nothing
GONE = "no longer there"
PLACEHOLDER = 20              # groups of products that share one picture: "no picture yet"


# ---- what is a picture --------------------------------------------------------------------------

def check_picture(data):
    """The file suffix of picture bytes that decode in full. Raises ValueError with the reason."""
    if not data:
        raise ValueError("empty")
    size = None
    try:
        with opened(data) as picture:
            if min(picture.size) < LEAST_SIDE:
                size = "{}x{}".format(*picture.size)
            else:
                picture.load()
                if has_end(data, picture.format):
                    return SUFFIXES[picture.format]
    except TooLarge:
        raise
    except Exception:
        pass
    raise ValueError(f"{size} pixels are too few" if size else
                     "not a picture in a known format, or a broken one")


def has_end(data, kind):
    """Whether a file goes on to its format's last mark. Pillow decodes one that lost its last
    bytes, and with them, of several pictures, the last ones."""
    if kind in ("JPEG", "MPO"):
        return b"\xff\xd9" in data[data.rfind(b"\xff\xda"):]
    if kind == "PNG":
        return b"IEND\xaeB`\x82" in data
    return kind != "GIF" or b";" in data[-64:]   # some writers pad it


def keep_picture(data, images_path, mark):
    """Check picture bytes and put them under images_path by their content. Returns a picture
    row's (path, sha256, status, reason). The file is whole or not there, whenever this is killed.
    `mark` is part of the name it has until then."""
    try:
        suffix = check_picture(data)
    except ValueError as problem:
        return None, None, db.PICTURE_FAILED, str(problem)
    sha256 = hashlib.sha256(data).hexdigest()
    path = f"{sha256[:2]}/{sha256}{suffix}"
    target = os.path.join(images_path, path)
    if not holds(target, data):   # it may be there, and damaged
        os.makedirs(os.path.dirname(target), exist_ok=True)
        beside = os.path.join(images_path, f".{mark}-{random.getrandbits(64):x}.tmp")
        with replacing(target, beside), open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    return path, sha256, db.PICTURE_OK, None


def holds(path, data):
    try:
        with open(path, "rb") as file:
            return file.read() == data
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"{path} stands where a picture belongs, and can't be read "
                        f"({error.strerror}): move it away, and run the same command again"
                        ) from None


def sweep(images_path, mark):
    """Remove what a killed crawl of the same database left half-written."""
    for path in glob.glob(os.path.join(glob.escape(images_path), f".{mark}-*.tmp")):
        with contextlib.suppress(OSError):
            os.remove(path)


# ---- getting one --------------------------------------------------------------------------------

def adopt_picture(path, images_path):
    """The picture row of a file that an earlier crawl left at `path`, None where it is no good."""
    try:
        with open(os.path.join(images_path, path), "rb") as file:
            data = file.read(MOST_BYTES + 1)
        check_picture(data)
    except (OSError, ValueError):
        return None
    return path, hashlib.sha256(data).hexdigest(), db.PICTURE_OK, None


def judge(answer):
    """The bytes of a picture's answer. One whose length nobody told may have been cut short."""
    if answer.status != 200:
        raise ValueError(f"error {answer.status}")
    if not answer.measured:
        try:
            check_picture(answer.body)
        except ValueError as problem:
            raise http_client.Again(str(problem)) from None
    return answer.body


def get_picture(row, images_path, requests, feed, mark):
    """The picture row's (path, sha256, status, reason) of one product, fetched if it must be.
    Raises http_client.Unfinished where another run may have more luck."""
    adopted = adopt_picture(row["path"], images_path) if row["path"] else None
    if adopted:
        return adopted
    link = row["image"].strip()
    try:
        if feed_products.of_the_web(link):
            link = f"https:{link}" if link.startswith("//") else link
            data = requests.get(link, judge, redirects=3, most=MOST_BYTES)
        else:
            path = feed_products.picture_file(feed, link) if feed else None
            if path is None:
                raise ValueError("neither an http(s) URL nor a file in the feed's folder")
            data = read_picture_file(path)
    except ValueError as problem:
        return None, None, db.PICTURE_FAILED, str(problem)
    return keep_picture(data, images_path, mark)


def read_picture_file(path):
    """Bytes of a file beside a feed. Raises ValueError where it can't be read or is too large."""
    if os.path.exists(path) and not os.path.isfile(path):   # a pipe would be waited for
        raise ValueError("no readable file")
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"no readable file: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    return data


# ---- getting all --------------------------------------------------------------------------------

def check_folder(images_path):
    """Raise UserError, before the long work, where no picture could be kept."""
    if not images_path:
        raise UserError("--images-path must name a folder")
    if os.path.lexists(images_path) and not (os.path.isdir(images_path)
                                             and os.access(images_path, os.W_OK)):
        raise UserError(f"--images-path {images_path} is no folder that you may write in: name "
                        "another")


def check_there(conn, source, images_path):
    """Raise UserError where pictures are known, and not one is in images_path: that is another
    folder, and all would be fetched again."""
    there, number = False, 0
    for number, row in enumerate(queries.kept_pictures(conn, source), 1):
        there = os.path.exists(os.path.join(images_path, row["path"]))
        if there:
            break
    if number and not there:
        raise UserError(f"none of {number} pictures is in {images_path}: name their folder with "
                        "--images-path, or fetch them all again with --retry-failed")


def rows_to_fetch(conn, source):
    """Yield the rows of queries.pictures_to_fetch, read a thousand at a time."""
    after = -2 ** 63
    while rows := queries.pictures_to_fetch(conn, source, after, 1000):
        after = rows[-1]["id"]
        yield from rows


def in_parallel(work, rows, most):
    """Yield (row, Future of work(row)) as they are done, at most `most` under way at a time."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs, rows = {}, iter(rows)
        try:
            while True:
                for row in rows:
                    jobs[pool.submit(work, row)] = row
                    if len(jobs) >= most:
                        break
                if not jobs:
                    return
                done, _ = concurrent.futures.wait(
                    jobs, return_when=concurrent.futures.FIRST_COMPLETED)
                for job in done:
                    yield jobs.pop(job), job
        finally:
            pool.shutdown(cancel_futures=True)


def forget_missing(conn, source, images_path):
    """Forget, and say, which pictures are known but no longer there."""
    gone = [row["product_id"] for row in queries.kept_pictures(conn, source)
            if not os.path.exists(os.path.join(images_path, row["path"]))]
    if gone:
        log(f"{len(gone)} pictures are no longer in {images_path}: getting them again")
        queries.forget_pictures(conn, gone)


def fetch_pictures(conn, source, images_path, requests, feed=None, mark=""):
    """Get the pictures that are not there yet; requests is a http_client.Web. Stops early where
    requests.stop is set. Returns a dict of how many are ok, failed and unfinished."""
    counts = dict.fromkeys(("ok", "failed", "unfinished"), 0)
    sweep(images_path, mark)
    forget_missing(conn, source, images_path)
    queries.share_pictures(conn, source)
    todo = queries.count_pictures_to_fetch(conn, source)
    rows, saved = [], time.monotonic()
    # What is in flight when somebody wants an end is finished and kept.
    wanted = itertools.takewhile(lambda row: not requests.stop.is_set(),
                                 rows_to_fetch(conn, source))
    jobs = in_parallel(lambda row: get_picture(row, images_path, requests, feed, mark), wanted,
                       2 * WORKERS)
    with progress("pictures", todo, "pictures") as bar, contextlib.closing(jobs), \
            grouped(unusable) as tell:
        for row, job in jobs:
            try:
                outcome = job.result()
            except http_client.Stopped:
                continue
            except http_client.Unfinished as problem:
                tell(str(problem), row["external_id"])
            else:
                counts[outcome[2]] += 1
                if outcome[2] == db.PICTURE_FAILED:
                    tell(outcome[3], row["external_id"])
                rows.append((row["id"], *outcome))
            bar.update()
            if len(rows) >= 100 or rows and time.monotonic() - saved > .2:
                queries.store_pictures(conn, rows)
                rows, saved = [], time.monotonic()
    queries.store_pictures(conn, rows)
    queries.share_pictures(conn, source)
    placeholders = queries.set_placeholders(conn, PLACEHOLDER)
    if placeholders:
        log(f"{placeholders} products have a picture that {PLACEHOLDER} different ones or more "
            "have, a placeholder: it is not used")
    counts["unfinished"] = queries.count_unfinished(conn, source)
    return counts


def unusable(count, names, reason):
    return f"picture of product {names}: {reason}" if count == 1 else \
        f"{count} pictures: {reason} (of products {names})"


def verify(conn, images_path):
    """Read and decode every picture again and forget what is damaged or gone, so that the next
    crawl fetches it. Returns (good, damaged). Raises UserError where not one is there: that is
    another folder."""
    def damage(row):
        path = os.path.join(images_path, row["path"])
        try:
            with open(path, "rb") as file:
                data = file.read(MOST_BYTES + 1)
            check_picture(data)
        except FileNotFoundError:
            return GONE
        except OSError as error:
            return f"can't be read ({error.strerror})"
        except ValueError as problem:
            return str(problem)
        return None if hashlib.sha256(data).hexdigest() == row["sha256"] else "not what was fetched"

    total = sum(number for status, _, number in queries.picture_counts(conn) if status == db.PICTURE_OK)
    bad, missing = [], 0
    with progress("pictures", total, "pictures") as bar:
        for row, job in in_parallel(damage, queries.kept_pictures(conn, None), 100):
            if job.result():
                bad.append((row["product_id"], row["path"], job.result()))
                missing += job.result() == GONE
            bar.update()
    if bad and missing == total:
        raise UserError(f"none of {total} pictures is in {images_path}: name their folder with "
                        "--images-path, or run crawl.py --retry-failed to fetch them again")
    with grouped(lambda count, names, reason: f"{names}: {reason}" if count == 1 else
                 f"{count} pictures: {reason} ({names})") as tell:
        for number, path, reason in bad:
            tell(reason, f"{path} of product {number}")
    queries.forget_pictures(conn, [number for number, _, _ in bad])
    return total - len(bad), len(bad)
