"""The pictures of a run on a cluster, in pieces: which one comes next, and what becomes of one that
workers have ended by.

In: the pictures that the cache lacks. Out: pieces of them, until each picture has a row, or a reason
why it has none. cluster.py gives them to workers.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from common.foreign_files import open_regular
from common.pictures import MOST_BYTES
from learning import bottlenecks
from learning.bottleneck_cache import Cache
from learning.shards import MOST_PICTURES

LEAST_PICTURES = 32  # in a piece, at the end of a run, when the workers are to end together
MOST_SENT = 4_000_000  # bytes of pictures in a piece, if they are sent; a larger picture goes alone
DEATHS = 2  # of workers by one piece, before it is halved: one may have had another cause
ALONE = 3  # deaths of workers by one picture, before it is left out
KILLED = f"it ended {ALONE} workers, one after the other"
SLOW = 300  # seconds after which a worker may hang, so that another one gets the same piece too

Picture = tuple[str, str]  # SHA-256 and path


class Piece(NamedTuple):
    """Pictures that a worker gets at a time."""

    number: int  # which stays the same when it is given to another worker, too
    pictures: list[Picture]
    tried: frozenset[str] = frozenset()  # names of workers that could not read them
    is_last: bool = False  # whether what can't be read now is left out


class Pieces:
    """The pictures that are missing, and what has become of them. It has a state because answers
    come in any order."""

    def __init__(self, cache: Cache, missing: Iterable[Picture], are_sent: bool, bar: Any) -> None:
        self.cache, self.missing, self.are_sent, self.bar = cache, iter(missing), are_sent, bar
        self.all_taken, self.left = False, bar.total  # of the missing pictures
        self.pending: set[str] = set()  # keys that were taken, and have neither row nor reason yet
        self.again: collections.deque[Piece] = collections.deque()  # given back, or halved
        self.last: collections.deque[Piece] = collections.deque()  # tried once more at the end
        self.deaths: collections.Counter[int] = collections.Counter()  # by the number of a piece
        self.in_vain = collections.defaultdict[int, set[str]](set)  # {number: who tried a copy}
        self.bad: dict[str, str] = {}  # {key: why it has no row}
        self.numbers = itertools.count()

    def waiting(self, worker: str) -> Piece | None:
        """A piece that was given back, and that a worker of this name has not tried."""
        for piece in self.again:
            if worker not in piece.tried:
                self.again.remove(piece)
                return piece
        return None

    def fresh(self, workers: int) -> Piece | None:
        """The next pictures, for one of so many workers. Towards the end pieces are smaller, so that
        the workers end at about the same time."""
        size = min(MOST_PICTURES, max(LEAST_PICTURES, self.left // (4 * max(1, workers))))
        pictures = self.take(size)
        return Piece(next(self.numbers), pictures) if pictures else None

    def for_the_last_time(self) -> Piece | None:
        """A piece that nobody could read."""
        return self.last.popleft() if self.last else None

    def second_copy(self, worker: str, running: Sequence[tuple[Piece, float]]) -> Piece | None:
        """When nothing else is left, the first piece that other workers are at, and for how many
        seconds, in case that they are slow or can't be reached any more. A piece by which a worker
        has ended is given to one at a time, unless that one seems to hang."""
        counts = collections.Counter(piece.number for piece, _ in running)
        waiting = {key for piece in [*self.again, *self.last] for key, _ in piece.pictures}
        for piece, seconds in running:  # the longest first
            copies = 1 + int(seconds // SLOW) + (not self.deaths[piece.number])
            tried = piece.tried | self.in_vain[piece.number]
            if counts[piece.number] < copies and (worker not in tried or seconds >= SLOW):
                left = [
                    picture for picture in piece.pictures if picture[0] in self.pending - waiting
                ]
                if left:
                    return piece._replace(pictures=left)
        return None

    def take(self, most: int) -> list[Picture]:
        """The next missing pictures, without those that another command has computed meanwhile."""
        pictures: list[Picture] = []
        while not pictures and not self.all_taken:
            size = 0
            for key, path in self.missing:
                pictures.append((key, path if "://" in path else os.path.abspath(path)))
                if self.are_sent:
                    with contextlib.suppress(OSError, ValueError):
                        size += os.path.getsize(path)
                if len(pictures) >= most or size > MOST_SENT:
                    break
            else:
                self.all_taken = True
            self.left -= len(pictures)
            self.all_taken = self.all_taken or self.left <= 0  # also if no worker is left to ask
            self.cache.refresh()
            known = self.cache.find([key for key, _ in pictures]) >= 0
            self.bar.update(int(known.sum()))
            pictures = [picture for picture, there in zip(pictures, known) if not there]
        self.pending.update(key for key, _ in pictures)
        return pictures

    def rest(self, piece: Piece) -> Piece | None:
        """A piece without the pictures of which it is known by now what becomes of them."""
        left = [picture for picture in piece.pictures if picture[0] in self.pending]
        return piece._replace(pictures=left) if left else None

    def read(self, pictures: list[Picture]) -> tuple[list[Picture], list[bytes]]:
        """Those of the pictures whose files can be read here, and their bytes."""
        readable, data = [], []
        for key, path in pictures:
            try:
                with open_regular(path, sys.maxsize, follow=True) as file:  # a pipe would not end
                    data.append(file.read(MOST_BYTES + 1))
                readable.append((key, path))
            except (OSError, ValueError) as error:  # the latter if there is a zero byte in it
                missing = isinstance(error, FileNotFoundError)
                reason = getattr(error, "strerror", None) or str(error)
                self.leave_out(key, bottlenecks.MISSING if missing else reason)
        return readable, data

    def give_back(self, piece: Piece, is_running: bool) -> None:
        """Have a piece computed by another worker, unless one is at it."""
        if (left := self.rest(piece)) and not is_running:
            self.again.appendleft(left)

    def note_death(self, piece: Piece, is_running: bool) -> None:
        """A worker has ended while it had this piece. After several times it is halved, down to the
        picture that does it, which is left out."""
        self.deaths[piece.number] += 1
        deaths, left = self.deaths[piece.number], self.rest(piece)
        if left is None:
            return
        pictures = left.pictures
        if is_running or deaths < (DEATHS if len(pictures) > 1 else ALONE):
            self.give_back(left, is_running)
        elif len(pictures) == 1:
            self.leave_out(pictures[0][0], KILLED)
        else:
            half = len(pictures) // 2
            first, second = (
                left._replace(number=next(self.numbers), pictures=part)
                for part in (pictures[:half], pictures[half:])
            )
            for smaller in (first, second):
                # Of a picture alone it is not known yet. Of more, the next death halves again.
                self.deaths[smaller.number] = DEATHS - 1 if len(smaller.pictures) > 1 else 0
            self.again.appendleft(first)
            self.again.append(second)  # so that pictures between have their turn

    def note_unread(
        self, piece: Piece, worker: str, unread: dict[str, str], is_sure: bool = False
    ) -> None:
        """These pictures {key: reason} of a piece could not be read by the worker of this name.
        Another one is to try them; or, if it is sure that it can't either, any at the end. Nobody is
        asked after that."""
        left = [
            (key, path) for key, path in piece.pictures if key in unread and key in self.pending
        ]
        if not left:
            return
        again = Piece(next(self.numbers), left, piece.tried | {worker})
        if piece.is_last:
            for key, _ in left:
                self.leave_out(key, unread[key])
        elif is_sure:
            self.last.append(again._replace(tried=frozenset(), is_last=True))
        else:
            self.again.append(again)

    def give_up(self) -> None:
        """Have all that waits tried for the last time."""
        for piece in self.again:
            self.last.append(piece._replace(tried=frozenset(), is_last=True))
        self.again.clear()

    def leave_out(self, key: str, reason: str) -> None:
        """A picture that was taken has no row, for this reason, unless it has one by now."""
        if key in self.pending:
            self.pending.remove(key)
            self.bar.update()
            self.bad[key] = reason

    def note_rows(self, keys: Iterable[str]) -> None:
        """These pictures have rows in the cache now."""
        there = set(keys)
        fresh = self.pending & there
        self.pending -= fresh
        for key in there:
            self.bad.pop(key, None)  # it was counted
        if fresh:  # at once: the bar would tell a rate by the first of them
            self.bar.update(len(fresh))

    def are_done(self) -> bool:
        """Whether it is known of all pictures what becomes of them."""
        return self.all_taken and not self.pending
