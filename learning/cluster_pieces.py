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
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from learning.bottleneck_cache import Cache
from learning.cluster_address import hostname
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
    tried: frozenset[str] = frozenset()  # workers that could not read them


class Pieces:
    """The pictures that are missing, and what has become of them. It has a state because answers
    come in any order."""

    def __init__(self, cache: Cache, missing: Iterable[Picture], are_sent: bool, bar: Any) -> None:
        self.cache, self.missing, self.are_sent, self.bar = cache, iter(missing), are_sent, bar
        self.all_taken, self.left = False, bar.total  # of the missing pictures
        self.again: collections.deque[Piece] = collections.deque()  # given back, or halved
        self.deaths: collections.Counter[int] = collections.Counter()  # by the number of a piece
        self.bad: dict[str, str] = {}  # {key: why it has no row}
        self.unread: dict[str, str] = {}  # {key: why a worker could not read it}
        self.numbers = itertools.count()

    def waiting(self, worker: str) -> Piece | None:
        """A piece that was given back, and that a worker has not tried in vain."""
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

    def second_copy(self, worker: str, running: Sequence[tuple[Piece, float]]) -> Piece | None:
        """When nothing else is left, the first piece that other workers are at, and for how many
        seconds, in case that they are slow or can't be reached any more. A piece by which a worker
        has ended is given to one at a time, unless that one seems to hang."""
        counts = collections.Counter(piece.number for piece, _ in running)
        for piece, seconds in running:  # the longest first
            copies = 1 + int(seconds // SLOW) + (not self.deaths[piece.number])
            if counts[piece.number] < copies and worker not in piece.tried:
                return piece
        return None

    def take(self, most: int) -> list[Picture]:
        """The next missing pictures, without those that another command has computed meanwhile."""
        pictures: list[Picture] = []
        while not pictures and not self.all_taken:
            size = 0
            for key, path in self.missing:
                pictures.append((key, path if "://" in path else os.path.abspath(path)))
                if self.are_sent:
                    with contextlib.suppress(OSError):
                        size += os.path.getsize(path)
                if len(pictures) >= most or size > MOST_SENT:
                    break
            else:
                self.all_taken = True
            self.left -= len(pictures)
            self.cache.refresh()
            known = self.cache.find([key for key, _ in pictures]) >= 0
            self.bar.update(int(known.sum()))
            pictures = [picture for picture, there in zip(pictures, known) if not there]
        return pictures

    def give_back(self, piece: Piece, is_running: bool) -> None:
        """Have a piece computed by another worker, unless one is at it."""
        if not is_running:
            self.again.appendleft(piece)

    def note_death(self, piece: Piece, is_running: bool) -> None:
        """A worker has ended while it had this piece. After several times it is halved, down to the
        picture that does it, which is left out."""
        self.deaths[piece.number] += 1
        deaths, pictures = self.deaths[piece.number], piece.pictures
        if is_running or deaths < (DEATHS if len(pictures) > 1 else ALONE):
            self.give_back(piece, is_running)
        elif len(pictures) == 1:
            self.leave_out(pictures[0][0], KILLED)
        else:
            half = len(pictures) // 2
            for part in (pictures[half:], pictures[:half]):
                smaller = Piece(next(self.numbers), part, piece.tried)
                # Of a picture alone it is not known yet. Of more, the next death halves again.
                self.deaths[smaller.number] = DEATHS - 1 if len(part) > 1 else 0
                self.again.appendleft(smaller)

    def note_unread(self, piece: Piece, worker: str, unread: dict[str, str]) -> None:
        """These pictures {key: reason} of a piece could not be read by a worker. Another one is to
        try them, unless workers of two computers have tried."""
        left = [picture for picture in piece.pictures if picture[0] in unread]
        again = Piece(next(self.numbers), left, piece.tried | {worker})
        self.unread.update(unread)
        self.again.append(again)
        if len(set(map(hostname, again.tried))) > 1:
            self.give_up(again)

    def give_up(self, piece: Piece) -> None:
        """Leave out a piece that waits, because nobody can read it."""
        self.again.remove(piece)
        for key, _ in piece.pictures:
            self.leave_out(key, self.unread[key])

    def leave_out(self, key: str, reason: str) -> None:
        """A picture has no row, for this reason."""
        if key not in self.bad:
            self.bar.update()
        self.bad[key] = reason

    def note_rows(self, keys: Iterable[str]) -> None:
        """These pictures have rows in the cache now."""
        self.bar.update(sum(self.bad.pop(key, None) is None for key in keys))  # else it was counted

    def are_done(self) -> bool:
        """Whether all pictures have been given to workers, and none was given back."""
        return self.all_taken and not self.again
