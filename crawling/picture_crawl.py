"""All pictures of a catalogue: fetched, and checked once more.

In: links of the products of crawl.db. Out: files under images/, and a row of the table picture for
each product. Whenever this is killed, the next run goes on.

    python crawl.py --image-rate 2
    python crawl.py --verify
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import resource
import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

import db
from common.files import may_use
from common.terminal import UserError, counted, grouped, log, progress
from crawling import (
    fetched_elsewhere,
    http_client,
    in_turns,
    picture_link_queries,
    picture_queries,
    picture_queue_queries,
    picture_store,
)
from crawling.feed_download import Feed
from crawling.fetched_elsewhere import Fetched
from crawling.picture_queries import Wanted
from crawling.picture_store import Outcome

CONNECTIONS = 8  # to one host
THREADS = 128  # a host that answers in a third of a second fills eight pictures a second with three
FILES = 6  # that each thread may have open: two on the disk, and idle connections to hosts
OTHER_FILES = 64  # that the process has open besides
GONE = "no longer there"
WAY_AHEAD = 2 * CONNECTIONS  # while one half fetches, the other half checks and writes
CHECKS = in_turns.Bounds(WAY_AHEAD, 1, WAY_AHEAD)  # of files that lie there
PLACEHOLDER = 20  # groups of products that share one picture: it shows none of them
ROWS = 100  # of pictures, in a transaction
Item = TypeVar("Item")


# ---- getting all --------------------------------------------------------------------------------


def check_folder(images_path: str) -> None:
    """Raise UserError, before the long work, if no picture could be kept there."""
    if not images_path:
        raise UserError("--images-path must name a folder")
    writable = os.path.isdir(images_path) and may_use(images_path, os.W_OK)
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


def bounds() -> in_turns.Bounds:
    """How much is fetched at a time: less if this process may have only few files open."""
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most_files == resource.RLIM_INFINITY:
        most_files = THREADS * FILES + OTHER_FILES
    threads = max(WAY_AHEAD, min(THREADS, (most_files - OTHER_FILES) // FILES))
    return in_turns.Bounds(threads, threads // 2, WAY_AHEAD)


def forget_missing(conn: sqlite3.Connection, source: str, store: picture_store.Store) -> None:
    """Forget the pictures that are known but no longer there, and log how many they are."""
    gone = [
        row["product_id"]
        for row in picture_queries.kept_pictures(conn, source)
        if not os.path.exists(store.path(row["path"]))
    ]
    if gone:
        are = counted(len(gone), "picture is", "pictures are")
        log(f"{are} no longer in {store.folder} and will be fetched again")
        picture_queries.forget_pictures(conn, gone)


def adopt_pictures(
    conn: sqlite3.Connection,
    source: str,
    store: picture_store.Store,
    folder: str,
    stop: threading.Event,
) -> None:
    """Put pictures that another tool has fetched into the store, for the products that have their
    links, and none of their pictures. What can't be used is reported, and fetched later. Ends early
    if `stop` is set."""
    seen: collections.Counter[str] = collections.Counter()
    # Products whose picture is being copied, and those whose row may not be written yet. The first
    # picture of a URL counts, although the next one may come before that row.
    under_way: set[int] = set()
    copied: collections.deque[int] = collections.deque(maxlen=ROWS)

    def needed(tell: fetched_elsewhere.Tell) -> Iterator[tuple[Wanted, Fetched]]:
        for fetched in fetched_elsewhere.pictures(folder, tell, stop):
            if stop.is_set():
                return
            wanted = picture_queries.wanted_by_link(conn, source, fetched.url)
            if wanted and wanted.id not in under_way and wanted.id not in copied:
                seen["needed"] += 1
                under_way.add(wanted.id)
                yield wanted, fetched
            else:
                seen["not needed"] += 1

    def adopted(row: tuple[Wanted, Fetched]) -> Outcome:
        try:
            return picture_store.keep_part(row[1].path, row[1].part, store)
        except ValueError as problem:
            raise http_client.Unfinished(f"can't be adopted: {problem}") from None

    def outcomes(
        tell: fetched_elsewhere.Tell,
    ) -> Generator[tuple[Wanted, Future[Outcome]], None, None]:
        jobs = in_turns.in_turns(adopted, [needed(tell)], CHECKS)
        with contextlib.closing(jobs):
            for (wanted, fetched), job in jobs:
                under_way.remove(wanted.id)
                if not job.exception():
                    copied.append(wanted.id)
                    seen["changed"] += fetched.sha256 not in (None, job.result().sha256)
                yield wanted, job

    with grouped(unread) as tell, contextlib.closing(outcomes(tell)) as jobs:
        ok = store_all(conn, jobs, None)[db.PICTURE_OK]
    report_adopted(folder, ok, seen)


def report_adopted(folder: str, ok: int, seen: collections.Counter[str]) -> None:
    """Log what has become of the pictures in a folder, of which `ok` were adopted."""
    log(
        f"{counted(ok, 'picture')} adopted from {folder}, {seen['needed'] - ok} can't be used, and "
        f"{seen['not needed']} are of no product without a picture"
    )
    if seen["changed"]:
        log(
            f"{counted(seen['changed'], 'adopted picture')} are not as their hosts gave them: "
            "img2dataset keeps the bytes only with disable_all_reencoding"
        )


def unread(count: int, names: str, reason: str) -> str:
    return f"--adopt-images: {reason} {names}"


def fetch_pictures(
    conn: sqlite3.Connection,
    source: str,
    store: picture_store.Store,
    web: http_client.Web,
    feed: Feed | None = None,
    adopt_from: str | None = None,
) -> dict[str, int]:
    """Get the pictures that are not there yet, first from a folder of another tool's if one is
    given, then from where their links lead, which may be relative to `feed`. Returns how many
    are ok, failed and unfinished. Ends early if web.stop is set; what is under way then is finished and kept."""
    picture_store.sweep(store)
    forget_missing(conn, source, store)
    by_url = feed is not None and not feed.folders
    if adopt_from is not None:
        adopt_pictures(conn, source, store, adopt_from, web.stop)
    picture_queries.share_pictures(conn, source, by_url)

    def not_stopped(items: Iterable[Item]) -> Iterator[Item]:
        return itertools.takewhile(lambda item: not web.stop.is_set(), items)

    def get_queued(total: int) -> collections.Counter[str]:
        jobs = in_turns.in_turns(
            lambda picture: picture_store.get_picture(picture, store, web, feed),
            map(not_stopped, not_stopped(picture_queue_queries.queues(conn))),
            bounds(),
        )
        with contextlib.closing(jobs):
            return store_all(conn, jobs, total)

    picture_link_queries.begin_turns(conn)
    counts = get_queued(picture_queue_queries.queue_pictures(conn, source, by_url))
    picture_queries.share_pictures(conn, source, by_url)
    placeholders = picture_queries.set_placeholders(conn, PLACEHOLDER)
    for turn in itertools.count(1):
        left = picture_link_queries.find_links_left(conn, source, by_url, turn)
        if not left or web.stop.is_set():
            break
        counts += get_queued(picture_queue_queries.queue_links_left(conn, turn))
        picture_link_queries.share_later_links(conn, source, turn)
        placeholders += picture_queries.set_placeholders(conn, PLACEHOLDER)
    if placeholders:
        log(
            f"{counted(placeholders, 'product has', 'products have')} a picture that {PLACEHOLDER} "
            "different ones or more have, a placeholder: it is not used"
        )
    return {
        "ok": counts[db.PICTURE_OK],
        "failed": counts[db.PICTURE_FAILED],
        "unfinished": picture_queries.count_unfinished(conn, source),
    }


def store_all(
    conn: sqlite3.Connection, jobs: Iterable[tuple[Wanted, Future[Outcome]]], total: int | None
) -> collections.Counter[str]:
    """Store the rows of pictures as they come. Returns how many are ok and failed."""
    counts: collections.Counter[str] = collections.Counter()
    rows: list[picture_queries.PictureRow] = []
    saved = time.monotonic()
    with progress("pictures", total, "pictures") as bar, grouped(unusable) as tell:
        for wanted, job in jobs:
            try:
                outcome = job.result()
            except http_client.Stopped:
                continue
            except http_client.Unfinished as problem:
                tell(str(problem), wanted.external_id)
                if len(wanted.links) > 1:
                    picture_link_queries.note_tried(conn, wanted.id)
            else:
                links_left = len(wanted.links) - 1 - outcome.position
                if outcome.status == db.PICTURE_OK or not links_left:
                    counts[outcome.status] += 1
                if outcome.status != db.PICTURE_OK or outcome.position:
                    tell(in_words(outcome, links_left), wanted.external_id)
                rows.append((wanted.id, *outcome))
            bar.update()
            if len(rows) >= ROWS or rows and time.monotonic() - saved > 0.2:
                picture_queries.store_pictures(conn, rows)
                rows, saved = [], time.monotonic()
    picture_queries.store_pictures(conn, rows)
    return counts


def in_words(outcome: Outcome, links_left: int) -> str:
    """What a person should know of a picture that is not the first link's."""
    if outcome.status == db.PICTURE_OK:
        reason = outcome.reason or "its first link may give one later"
        return f"{reason}, so the picture of a later link is used"
    if links_left:
        return f"{outcome.reason}, and a later link may give one in another run"
    if outcome.position:
        return f"{outcome.reason}, and {counted(outcome.position, 'other link')} gave none"
    return outcome.reason or ""


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
        rows = in_turns.in_turns(lambda row: damage(row, images_path), [kept], CHECKS)
        for row, job in rows:
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
        sha256 = picture_store.check_file(os.path.join(images_path, row["path"]))
    except FileNotFoundError:
        return GONE
    except OSError as error:
        return f"can't be read ({error.strerror})"
    except ValueError as problem:
        return str(problem)
    return None if sha256 == row["sha256"] else "not what was fetched"


def damaged(count: int, names: str, reason: str) -> str:
    return f"{names}: {reason}" if count == 1 else f"{count} pictures: {reason} ({names})"
