"""One picture of a product -> a file under images/, checked and named by its content.

In: the link of a product. Out: a file with the server's own bytes if the picture can be decoded
whole, and the columns of the table picture: the file, or the reason why there is none.
picture_crawl.py gets them all.

    python crawl.py --image-rate 2
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import itertools
import os
import random
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import IO, NamedTuple

import db
from common.files import replacing
from common.foreign_files import open_regular
from common.pictures import SUFFIXES, TooLarge, begins_like_a_picture, held, opened
from common.terminal import UserError
from crawling import http_client, picture_links
from crawling.feed_download import Feed
from crawling.picture_queries import Wanted

MOST_BYTES = 20_000_000  # of a picture
LEAST_SIDE = 8  # pixels; a smaller picture counts visits and shows nothing

# Many threads fetch, and few check what has come: its bytes are in memory then. Meanwhile a picture
# waits in memory too if it is as small as most are, and otherwise on the disk.
CHECKED = threading.Semaphore(8)
SMALL = 500_000  # bytes

PAGE = "not a picture, but a web page"
BROKEN = "not a picture in a known format, or a broken one"


class Cut(ValueError):
    """Bytes that are empty, or begin like a picture and are not one: they may be whole next time."""


class Outcome(NamedTuple):
    """What became of a product's picture: columns of the table picture."""

    path: str | None  # relative to the folder of pictures
    sha256: str | None
    status: str
    reason: str | None  # why the first link gave none
    position: int = 0  # the link it is of, or the last that was tried, from 0


class Store(NamedTuple):
    """Where pictures are kept."""

    folder: str
    mark: str  # part of the name of a file that is being written: the crawl that writes it

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)


# ---- what is a picture --------------------------------------------------------------------------


def check_picture(data: bytes) -> str:
    """The file suffix of picture bytes that decode in full. Raises ValueError with the reason if
    they do not, and Cut if that may be the fault of the way here."""
    if not data:
        raise Cut("empty")
    too_small = None
    try:
        with opened(data) as picture:
            if min(picture.size) < LEAST_SIDE:
                too_small = "{}x{} pixels are too few".format(*picture.size)
            else:
                picture.draft(None, (1, 1))  # a JPEG: all is read, and little memory is taken
                picture.load()
                if picture.format and has_end(data, picture.format):
                    return SUFFIXES[picture.format]
    except TooLarge:
        raise
    except Exception:  # Pillow raises anything
        pass
    if too_small or not begins_like_a_picture(data):
        is_page = data.lstrip()[:1] == b"<"
        raise ValueError(too_small or (PAGE if is_page else BROKEN))
    raise Cut(BROKEN)


def has_end(data: bytes, kind: str) -> bool:
    """Whether a file goes on to its format's last mark. Pillow also decodes a file that lost its
    last bytes, and with them the last of several pictures."""
    if kind in ("JPEG", "MPO"):
        return b"\xff\xd9" in data[data.rfind(b"\xff\xda") :]
    if kind == "PNG":
        return b"IEND\xaeB`\x82" in data
    return kind != "GIF" or b";" in data[-64:]  # some writers pad it


def keep_picture(data: bytes, store: Store) -> Outcome:
    """Put a picture into the store, named by its content. The file is whole or not there, whenever
    this is killed. Raises ValueError if it is none that decodes, and UserError if it can't be
    written."""
    suffix = check_picture(data)
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{sha256[:2]}/{sha256}{suffix}"
    target = store.path(name)
    if not holds(target, data):  # a file of this name may be there and be damaged
        os.makedirs(os.path.dirname(target), exist_ok=True)
        beside = store.path(f".{store.mark}-{random.getrandbits(64):x}.tmp")
        with replacing(target, beside), open(beside, "wb") as file:
            file.write(data)
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
        sha256 = check_file(store.path(name))
    except (OSError, ValueError):
        return None
    return Outcome(name, sha256, db.PICTURE_OK, None)


def check_file(path: str) -> str:
    """The SHA-256 of a picture file. Raises OSError, and ValueError if it can't be used."""
    with open(path, "rb") as file, held(file, MOST_BYTES) as data:
        check_picture(data)
        return hashlib.sha256(data).hexdigest()


def judge_of(tries: int, body: IO[bytes], store: Store) -> Callable[[http_client.Answer], Outcome]:
    """A function that judges the answers of one link, whose bytes are in the file `body`, and puts
    the picture into the store. It raises ValueError if there is none, and http_client.Again if it
    may have been cut short.

    That is any answer whose length nobody told, and of others one that is Cut, up to `tries` times:
    then the shop has it so. A page in place of a picture is meant, and not asked for again.
    """
    cut = itertools.count(1)

    def judge_picture(answer: http_client.Answer) -> Outcome:
        if answer.status != 200:
            raise ValueError(f"error {answer.status}")
        try:
            with CHECKED, held(body, MOST_BYTES) as data:
                return keep_picture(data, store)
        except ValueError as problem:
            if not answer.measured or isinstance(problem, Cut) and next(cut) < tries:
                raise http_client.Again(str(problem)) from None
            raise

    return judge_picture


def get_picture(wanted: Wanted, store: Store, web: http_client.Web, feed: Feed | None) -> Outcome:
    """The picture of the first of a product's links that works. Links may be relative to `feed`.

    A link into the web that was tried before is not tried again; a file is looked for again. If no
    link works and another run may succeed, Unfinished is raised; but what was found out of the
    first link is kept: its failure, at position 0, as if no other had been tried.
    """
    adopted = adopt_picture(wanted.path, store) if wanted.path else None
    if adopted:
        position = max(wanted.tried, 0)
        return adopted._replace(position=position, reason=wanted.reason if position else None)
    reason, unfinished = wanted.reason, None
    if wanted.tried >= 0 and reason is None:
        unfinished = http_client.Unfinished("its first link may give one later")
    for position, link in enumerate(wanted.links):
        link = link.strip()
        address = feed.address(link) if feed else link
        if position <= wanted.tried and picture_links.of_the_web(address):
            continue
        try:
            outcome = read_link(address, store, web, feed)
        except http_client.Stopped:
            raise
        except http_client.Unfinished as problem:
            unfinished = unfinished or problem
            continue
        except ValueError as problem:
            if position == 0:
                reason = str(problem)
        else:
            return outcome._replace(position=position, reason=reason if position else None)
    first_failed_now = wanted.tried < 0 and reason is not None
    if unfinished and not first_failed_now:
        raise unfinished
    position = 0 if unfinished else len(wanted.links) - 1
    return Outcome(None, None, db.PICTURE_FAILED, reason, position)


def read_link(address: str, store: Store, web: http_client.Web, feed: Feed | None) -> Outcome:
    """The picture at an address or in a file in the feed's folder, put into the store. Raises
    ValueError if there is none, and Unfinished if another run may succeed."""
    if picture_links.of_the_web(address):
        url = f"https:{address}" if address.startswith("//") else address
        with tempfile.SpooledTemporaryFile(SMALL) as body:
            judge = judge_of(web.tries, body, store)
            return web.get(url, judge, redirects=3, most=MOST_BYTES, sink=body)
    folders = feed.folders if feed else ()
    paths = [picture_links.picture_file(folder, address) for folder in folders]
    inside = [path for path in paths if path is not None]
    if not inside:
        raise ValueError("neither an http(s) URL nor a file in the feed's folder")
    return keep_file(next(filter(os.path.exists, inside), inside[0]), store)


def keep_file(path: str, store: Store) -> Outcome:
    """The picture in a file beside a feed, put into the store. Raises ValueError if it can't be read
    or used."""
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would block
        raise ValueError("no readable file")
    with contextlib.ExitStack() as until_kept:
        try:
            file = until_kept.enter_context(open(path, "rb"))
            data = until_kept.enter_context(held(file, MOST_BYTES))
        except OSError as error:
            raise ValueError(f"no readable file: {error.strerror}") from None
        return keep_picture(data, store)


def keep_part(path: str, part: tuple[int, int] | None, store: Store) -> Outcome:
    """The picture that another tool has put into a file, or into a part of it, put into the store.
    It is copied: whoever writes into the other file later does not change this one. Raises
    ValueError if it can't be read or used."""
    with contextlib.ExitStack() as until_kept:
        try:
            file = until_kept.enter_context(open_regular(path, sys.maxsize))
            data = until_kept.enter_context(held(file, MOST_BYTES, part))
        except OSError as error:
            raise ValueError(f"no readable file: {error.strerror}") from None
        return keep_picture(data, store)
