"""Pictures of products -> files under images/, checked and named by their content.

In: links of the products of crawl.db. Out: a file for each picture that can be decoded whole, and a
row of the table picture for each product: its file, or the reason why there is none. A file holds
the server's own bytes. Whenever this is killed, the next run goes on.

    python crawl.py --image-rate 2
    python crawl.py --verify
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import glob
import hashlib
import itertools
import os
import random
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

import db
from common.files import replacing
from common.pictures import FORMATS, SUFFIXES, TooLarge, opened, quietly
from common.terminal import UserError, grouped, log, progress
from crawling import feed_products, http_client, picture_queries

CONNECTIONS = 8
WORKERS = 2 * CONNECTIONS  # while one half fetches, the other half checks and writes
MOST_BYTES = 20_000_000  # of a picture
LEAST_SIDE = 8  # pixels; a smaller picture counts visits and shows nothing
GONE = "no longer there"
PLACEHOLDER = 20  # groups of products that share one picture: it shows none of them

Result = TypeVar("Result")


class Outcome(NamedTuple):
    """What became of a product's picture: columns of the table picture."""

    path: str | None  # relative to the folder of pictures
    sha256: str | None
    status: str
    reason: str | None  # why there is none


def failed(reason: Exception) -> Outcome:
    return Outcome(None, None, db.PICTURE_FAILED, str(reason))


class Store(NamedTuple):
    """Where pictures are kept."""

    folder: str
    mark: str  # part of the name of a file that is being written: the crawl that writes it

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)


# ---- what is a picture --------------------------------------------------------------------------


def check_picture(data: bytes) -> str:
    """The file suffix of picture bytes that decode in full. Raises ValueError with the reason if
    they do not."""
    if not data:
        raise ValueError("empty")
    too_small = None
    try:
        with opened(data, FORMATS) as picture:
            if min(picture.size) < LEAST_SIDE:
                too_small = "{}x{} pixels are too few".format(*picture.size)
            else:
                picture.load()
                if picture.format and has_end(data, picture.format):
                    return SUFFIXES[picture.format]
    except TooLarge:
        raise
    except Exception:  # Pillow raises anything
        pass
    raise ValueError(too_small or "not a picture in a known format, or a broken one")


def has_end(data: bytes, kind: str) -> bool:
    """Whether a file goes on to its format's last mark. Pillow also decodes a file that lost its
    last bytes, and with them the last of several pictures."""
    if kind in ("JPEG", "MPO"):
        return b"\xff\xd9" in data[data.rfind(b"\xff\xda") :]
    if kind == "PNG":
        return b"IEND\xaeB`\x82" in data
    return kind != "GIF" or b";" in data[-64:]  # some writers pad it


def keep_picture(data: bytes, store: Store) -> Outcome:
    """Check picture bytes and put them into the store, named by their content. The file is whole or
    not there, whenever this is killed. Raises UserError if it can't be written."""
    try:
        suffix = check_picture(data)
    except ValueError as problem:
        return failed(problem)
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{sha256[:2]}/{sha256}{suffix}"
    target = store.path(name)
    if not holds(target, data):  # a file of this name may be there and be damaged
        os.makedirs(os.path.dirname(target), exist_ok=True)
        beside = store.path(f".{store.mark}-{random.getrandbits(64):x}.tmp")
        with replacing(target, beside), open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    return Outcome(name, sha256, db.PICTURE_OK, None)


def holds(path: str, data: bytes) -> bool:
    """Whether a file holds these bytes. Raises UserError if something else stands there."""
    try:
        with open(path, "rb") as file:
            return file.read() == data
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(
            f"{path} stands where a picture belongs, and can't be read "
            f"({error.strerror}): move it away, and run the same command "
            "again"
        ) from None


def sweep(store: Store) -> None:
    """Remove what a killed crawl of the same database left half-written."""
    for path in glob.glob(os.path.join(glob.escape(store.folder), f".{store.mark}-*.tmp")):
        with contextlib.suppress(OSError):
            os.remove(path)


# ---- getting one --------------------------------------------------------------------------------


def adopt_picture(name: str, store: Store) -> Outcome | None:
    """A file that an earlier crawl left in the store; None if it is not usable."""
    try:
        with open(store.path(name), "rb") as file:
            data = file.read(MOST_BYTES + 1)
        check_picture(data)
    except (OSError, ValueError):
        return None
    return Outcome(name, hashlib.sha256(data).hexdigest(), db.PICTURE_OK, None)


def judge_picture(answer: http_client.Answer) -> bytes:
    """The bytes of an answer. Raises ValueError if it is an error, and http_client.Again if it may
    have been cut short: it is no picture, and nobody told its length."""
    if answer.status != 200:
        raise ValueError(f"error {answer.status}")
    if not answer.measured:
        try:
            check_picture(answer.body)
        except ValueError as problem:
            raise http_client.Again(str(problem)) from None
    return answer.body


def get_picture(
    row: sqlite3.Row, store: Store, web: http_client.Web, feed_path: str | None
) -> Outcome:
    """The picture of a row of picture_queries.rows_to_fetch, fetched if it must be. feed_path
    is the feed beside which files may lie. Raises Unfinished if another run may succeed."""
    adopted = adopt_picture(row["path"], store) if row["path"] else None
    if adopted:
        return adopted
    link = row["image"].strip()
    try:
        if feed_products.of_the_web(link):
            url = f"https:{link}" if link.startswith("//") else link
            data = web.get(url, judge_picture, redirects=3, most=MOST_BYTES)
        else:
            path = feed_products.picture_file(feed_path, link) if feed_path else None
            if path is None:
                raise ValueError("neither an http(s) URL nor a file in the feed's folder")
            data = read_picture_file(path)
    except ValueError as problem:
        return failed(problem)
    return keep_picture(data, store)


def read_picture_file(path: str) -> bytes:
    """Bytes of a file beside a feed. Raises ValueError if it can't be read or is too large."""
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would block
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


def check_folder(images_path: str) -> None:
    """Raise UserError, before the long work, if no picture could be kept there."""
    if not images_path:
        raise UserError("--images-path must name a folder")
    writable = os.path.isdir(images_path) and os.access(images_path, os.W_OK)
    if os.path.lexists(images_path) and not writable:
        raise UserError(
            f"--images-path {images_path} is no folder that you may write in: name another"
        )


def check_there(conn: sqlite3.Connection, source: str, images_path: str) -> None:
    """Raise UserError if pictures are known, and none of them is in images_path: that is another
    folder, and all would be fetched again."""
    number = 0
    for row in picture_queries.kept_pictures(conn, source):
        if os.path.exists(os.path.join(images_path, row["path"])):
            return
        number += 1
    if number:
        raise UserError(
            f"none of {number} pictures is in {images_path}: name their folder with "
            "--images-path, or fetch them all again with --retry-failed"
        )


def in_parallel(
    work: Callable[[sqlite3.Row], Result], rows: Iterable[sqlite3.Row], most: int
) -> Generator[tuple[sqlite3.Row, Future[Result]], None, None]:
    """Yield (row, Future of work(row)) as they are done, at most `most` under way at a time."""
    with quietly(), concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs: dict[Future[Result], sqlite3.Row] = {}
        rows = iter(rows)
        try:
            while True:
                for row in rows:
                    jobs[pool.submit(work, row)] = row
                    if len(jobs) >= most:
                        break
                if not jobs:
                    return
                done, _ = concurrent.futures.wait(
                    jobs, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for job in done:
                    yield jobs.pop(job), job
        finally:
            pool.shutdown(cancel_futures=True)


def forget_missing(conn: sqlite3.Connection, source: str, store: Store) -> None:
    """Forget the pictures that are known but no longer there, and log how many they are."""
    gone = [
        row["product_id"]
        for row in picture_queries.kept_pictures(conn, source)
        if not os.path.exists(store.path(row["path"]))
    ]
    if gone:
        log(f"{len(gone)} pictures are no longer in {store.folder}: getting them again")
        picture_queries.forget_pictures(conn, gone)


def fetch_pictures(
    conn: sqlite3.Connection,
    source: str,
    store: Store,
    web: http_client.Web,
    feed_path: str | None = None,
) -> dict[str, int]:
    """Get the pictures that are not there yet. Returns how many are ok, failed and unfinished. Ends
    early if web.stop is set; what is under way then is finished and kept."""
    sweep(store)
    forget_missing(conn, source, store)
    picture_queries.share_pictures(conn, source)
    counts = store_all(conn, source, store, web, feed_path)
    picture_queries.share_pictures(conn, source)
    placeholders = picture_queries.set_placeholders(conn, PLACEHOLDER)
    if placeholders:
        log(
            f"{placeholders} products have a picture that {PLACEHOLDER} different ones or more "
            "have, a placeholder: it is not used"
        )
    return {**counts, "unfinished": picture_queries.count_unfinished(conn, source)}


def store_all(
    conn: sqlite3.Connection, source: str, store: Store, web: http_client.Web, feed_path: str | None
) -> dict[str, int]:
    """Get pictures side by side and store their rows. Returns how many are ok and failed."""
    counts = {db.PICTURE_OK: 0, db.PICTURE_FAILED: 0}
    total = picture_queries.count_pictures_to_fetch(conn, source)
    rows: list[picture_queries.PictureRow] = []
    saved = time.monotonic()
    rows_to_fetch = picture_queries.rows_to_fetch(conn, source)
    wanted = itertools.takewhile(lambda row: not web.stop.is_set(), rows_to_fetch)
    jobs = in_parallel(lambda row: get_picture(row, store, web, feed_path), wanted, 2 * WORKERS)
    with (
        progress("pictures", total, "pictures") as bar,
        contextlib.closing(jobs),
        grouped(unusable) as tell,
    ):
        for row, job in jobs:
            try:
                outcome = job.result()
            except http_client.Stopped:
                continue
            except http_client.Unfinished as problem:
                tell(str(problem), row["external_id"])
            else:
                counts[outcome.status] += 1
                if outcome.reason is not None:
                    tell(outcome.reason, row["external_id"])
                rows.append((row["id"], *outcome))
            bar.update()
            if len(rows) >= 100 or rows and time.monotonic() - saved > 0.2:
                picture_queries.store_pictures(conn, rows)
                rows, saved = [], time.monotonic()
    picture_queries.store_pictures(conn, rows)
    return counts


def unusable(count: int, names: str, reason: str) -> str:
    if count == 1:
        return f"picture of product {names}: {reason}"
    return f"{count} pictures: {reason} (of products {names})"


# ---- checking all -------------------------------------------------------------------------------


def verify(conn: sqlite3.Connection, images_path: str) -> tuple[int, int]:
    """Read and decode every picture again, and forget those that are damaged or gone, so that the
    next crawl fetches them. Returns (good, damaged). Raises UserError if not one is there: that is
    another folder."""
    total = sum(
        number
        for status, _, number in picture_queries.picture_counts(conn)
        if status == db.PICTURE_OK
    )
    bad, missing = [], 0
    with progress("pictures", total, "pictures") as bar:
        kept = picture_queries.kept_pictures(conn, None)
        for row, job in in_parallel(lambda row: damage(row, images_path), kept, 100):
            reason = job.result()
            if reason:
                bad.append((row["product_id"], row["path"], reason))
                missing += reason == GONE
            bar.update()
    if bad and missing == total:
        raise UserError(
            f"none of {total} pictures is in {images_path}: name their folder with "
            "--images-path, or run crawl.py --retry-failed to fetch them again"
        )
    with grouped(damaged) as tell:
        for product_id, path, reason in bad:
            tell(reason, f"{path} of product {product_id}")
    picture_queries.forget_pictures(conn, [product_id for product_id, _, _ in bad])
    return total - len(bad), len(bad)


def damage(row: sqlite3.Row, images_path: str) -> str | None:
    """What is wrong with the file of a row of picture_queries.kept_pictures, None if nothing is."""
    try:
        with open(os.path.join(images_path, row["path"]), "rb") as file:
            data = file.read(MOST_BYTES + 1)
        check_picture(data)
    except FileNotFoundError:
        return GONE
    except OSError as error:
        return f"can't be read ({error.strerror})"
    except ValueError as problem:
        return str(problem)
    return None if hashlib.sha256(data).hexdigest() == row["sha256"] else "not what was fetched"


def damaged(count: int, names: str, reason: str) -> str:
    return f"{names}: {reason}" if count == 1 else f"{count} pictures: {reason} ({names})"
