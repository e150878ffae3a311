"""The workers of a cluster, and what can be expected of each: which are there, which get pictures,
and which of those that could not read a picture are to blame.

In: what a scheduler says of them, and what has come of their tasks. Out: which of them may get the
next piece, and an error if none can. cluster.py asks it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Container, Iterable, Sequence

from common.files import file_sha256
from common.foreign_files import open_regular
from common.terminal import UserError, counted, first_few, log
from learning.cluster_address import hostname
from learning.cluster_connection import Worker
from learning.cluster_pieces import SLOW, Piece
from learning.shards import processor

FAILURES = 3  # of a worker, one after the other, before it gets no more pictures
STILLBORN = 6  # workers, one after the other, that ended before they got any picture
DEATHS_IN_A_ROW = 100  # of each worker, without a row between; a picture that kills costs 16
DOUBTFUL_DEATHS = 20  # of each worker, after which other pictures come first, if there are any
UNREAD_IN_A_ROW = 4_000  # pictures that a worker could not read, one after the other
PATIENCE = 30.0  # seconds in which nothing can go on, before that is reported


class Crew:
    """The workers of one run. It has a state because each comes, fails and goes by itself."""

    def __init__(self, address: str) -> None:
        self.address = address  # of the scheduler
        self.workers: dict[str, Worker] = {}  # by address, who are there
        self.loaded: set[str] = set()  # who have loaded the network, also if they are gone
        self.apart: set[str] = set()  # whose files are not seen here
        self.failures: Counter[str] = Counter()  # of each, one after the other
        self.unusable: dict[str, str] = {}  # {address: why it gets no pictures}
        self.unread: Counter[str] = Counter()  # pictures, one after the other, of each
        self.doubted: set[str] = set()  # names of those who could read no picture of a piece
        self.readers: dict[str, str | None] = {}  # {name: host} of those who have read pictures
        self.blamed: set[str] = set()  # names of those of whom it was said that others can read
        self.stillborn = 0  # workers, one after the other
        self.ended = 0  # workers that had pictures
        self.ended_in_a_row = 0  # of them, since the last row
        self.processors: set[str] = set()  # their names, of those whose rows were taken
        self.most = 1  # workers that were there at a time
        self.moved = time.monotonic()  # when anything went on

    def update(self, found: dict[str, Worker]) -> bool:
        """Take up who is there now. Returns whether a worker has come."""
        fresh = {
            address
            for address, worker in found.items()
            if address not in self.workers or self.workers[address].name != worker.name
        }
        for address in fresh:  # another process, about which nothing is known
            for known in (self.loaded, self.apart):
                known.discard(address)
            for counts in (self.failures, self.unread, self.unusable):
                counts.pop(address, None)
        self.workers, self.most = found, max(self.most, len(found))
        return bool(fresh)

    def usable(self) -> list[str]:
        """Who are there, and may get pictures."""
        return [worker for worker in self.workers if worker not in self.unusable]

    def idle(self, busy: set[str]) -> list[str]:
        """Who can be given something."""
        return [
            worker
            for worker in self.usable()
            if self.workers[worker].is_ready and worker not in busy
        ]

    def is_trusted(self, worker: str, loading: set[str], hanging: Container[str] = ()) -> bool:
        """Whether a worker may get pictures that nobody has tried. One in doubt may if no other one
        can take them, nor will as soon as it has loaded the network."""
        return self.workers[worker].name not in self.doubted or not any(
            (other in loading or other in self.loaded and self.workers[other].is_ready)
            and other not in hanging
            and self.workers[other].name not in self.doubted
            for other in self.usable()
        )

    # ---- what has come of their tasks

    def note_read(self, worker: str) -> None:
        """A worker has read pictures."""
        self.failures[worker] = self.unread[worker] = self.ended_in_a_row = 0
        if worker in self.workers:
            name = self.workers[worker].name
            self.readers[name] = hostname(worker)
            self.doubted.discard(name)

    def note_end(self) -> None:
        """A worker has ended while it computed. Raises UserError if that is all they do."""
        self.ended += 1
        self.ended_in_a_row += 1
        if self.ended_in_a_row >= DEATHS_IN_A_ROW * self.most:
            raise UserError(
                f"{self.ended_in_a_row} workers, one after the other, ended while they computed, "
                "and no picture was done between: see what they print, and whether each has about "
                "2 GB of memory; then run the same command again"
            )

    def are_dying(self) -> bool:
        """Whether so many workers have ended that other pictures are to show if any can be done."""
        return self.ended_in_a_row >= DOUBTFUL_DEATHS * self.most

    def note_stillborn(self, others_load: bool) -> None:
        """A worker has ended while it loaded the network. Raises UserError if that is all they do;
        if others load now, they may do better, for some time."""
        self.stillborn += 1
        sentence = (
            f"{self.stillborn} workers, one after the other, ended while they loaded the network: "
            "see what they print; start them in the folder of the scripts by python -m dask worker, "
            "each with about 2 GB of memory"
        )
        most = STILLBORN * (self.most if others_load else 1)
        if self.stillborn >= most and not self.loaded & set(self.workers):
            raise UserError(sentence)
        if self.stillborn == STILLBORN:
            log(f"warning: {sentence}")

    def note_failure(self, worker: str, reason: str, at_once: bool = False) -> None:
        """Give a worker no more pictures if it lacks something, or has failed several times."""
        self.failures[worker] += 1
        if at_once or self.failures[worker] >= FAILURES:
            self.unusable[worker] = reason
            if self.usable():  # else the error will say it
                log(f"warning: the worker at {worker} gets no pictures: {reason}")

    def note_unread(self, worker: str, unread: list[tuple[str, str, bool | None]]) -> None:
        """A worker could read no picture of a piece that nobody else has tried: `unread` are path,
        reason and is_seen_here() of each. It gets no others until somebody else has tried these; or
        none at all, if this computer reads one, or if it could read none of very many."""
        self.unread[worker] += sum(is_here is not False for _, _, is_here in unread)
        here = [(path, reason) for path, reason, is_here in unread if is_here]
        path, reason = here[0] if here else unread[0][:2]
        words = f"it can't read {path} ({reason})"
        if here and self.unread[worker] >= FAILURES:
            self.note_failure(worker, f"{words}; --send-pictures sends them", at_once=True)
        elif self.unread[worker] >= UNREAD_IN_A_ROW:
            words += f", nor any other of {self.unread[worker]} pictures"
            self.note_failure(worker, words, at_once=True)
        elif worker in self.workers:
            self.doubted.add(self.workers[worker].name)

    def note_second_try(self, piece: Piece) -> None:
        """A worker has read pictures that others could not read. It is said once of each of them."""
        addresses = {self.workers[worker].name: worker for worker in self.usable()}
        for name in self.doubted & piece.tried & addresses.keys() - self.blamed:
            self.blamed.add(name)
            log(
                f"warning: the worker at {addresses[name]} could not read "
                f"{piece.pictures[0][1]}, which another one could"
            )

    def are_sure(self, tried: frozenset[str], is_here: bool | None) -> bool:
        """Whether the workers of two computers, which have read other pictures, could not read one;
        or those of one, and it is not at its place here."""
        hosts = {self.readers[name] for name in tried if name in self.readers}
        return len(hosts) + (is_here is False) > 1

    def have_tried(self, pieces: Iterable[Piece]) -> bool:
        """Whether nobody is there, or may soon be back, who has not tried these pieces."""
        usable = {self.workers[worker].name for worker in self.usable()}
        gone = self.loaded - self.workers.keys() - self.unusable.keys()
        return bool(usable) and not gone and all(usable <= piece.tried for piece in pieces)

    def are_believed(self, hanging: set[str]) -> bool:
        """Whether a computer that has read pictures can be asked, so that others are not wrong about
        what can't be read. Raises UserError if none ever can: one that is short of memory is waited
        for."""
        hosts = {*self.readers.values()}
        if not hosts or hosts & {*map(hostname, self.idle(hanging))}:
            return True
        if not hosts & {hostname(worker) for worker in self.usable() if worker not in hanging}:
            raise UserError(
                f"the workers that could read the pictures at {self.address} are gone, or hang, "
                "and the others can't read the last ones: start them, and run the same command "
                "again"
            )
        return False

    # ---- what is said

    def check(self, are_working: bool, hanging: Iterable[str] = ()) -> None:
        """Log why nothing goes on, if nothing does. Raises UserError if nobody can compute."""
        waited = time.monotonic() - self.moved
        if are_working:
            self.moved = time.monotonic()
        elif self.workers and not self.usable():
            # A good one that has just ended is started again within this time.
            if not self.loaded - set(self.unusable) or waited > PATIENCE:
                raise UserError(
                    f"no worker can compute bottlenecks ({self.reasons()}): mend that, and run the "
                    "same command again"
                )
        elif waited > PATIENCE and (words := self.why_waiting(sorted(hanging))):
            log(words)
            self.moved = time.monotonic() + 9 * PATIENCE

    def reasons(self) -> str:
        """Why workers can't be used, in words."""
        reasons = list(dict.fromkeys(self.unusable.values()))
        return first_few([reason.rstrip(".") for reason in reasons])

    def why_waiting(self, hanging: Sequence[str]) -> str:
        """Why nothing goes on, in words; nothing if workers only have to be asked once more."""
        if hanging:
            return (
                f"no answer for over {SLOW // 60} minutes of {first_few(hanging)}: waiting; if they "
                "hang, end them, and start others"
            )
        if any(not self.workers[worker].is_ready for worker in self.usable()):
            return (
                f"workers at {self.address} take no work, because their memory is short "
                "(--memory-limit of dask worker): waiting until one does"
            )
        if self.usable():
            return ""
        ended = "; the last one ended while it loaded the network" if self.stillborn else ""
        return f"there is no worker at {self.address} now: waiting for one{ended}"

    def report(self) -> None:
        """Log how many workers were lost, and whether rows can differ in their last bits."""
        if self.ended:
            log(f"{counted(self.ended, 'worker')} ended while computing")
        names = sorted(self.processors)
        if len(names) > 1 or names and names != [processor()]:
            log(
                f"the workers' processors are {first_few(names)}, and this computer's is "
                f"{processor()}: rows of different ones differ by rounding"
            )


def is_seen_here(path: str, sha256: str | None = None) -> bool | None:
    """Whether a file is there for this computer, with this digest if one is given. None if it can't
    know: the path is a URL, or in a folder that is not here, or is an empty one, where nothing is
    mounted; or the file can't be read."""
    if "://" in path:
        return None
    try:
        open_regular(path, sys.maxsize, follow=True).close()
        return sha256 is None or file_sha256(path) == sha256
    except FileNotFoundError:
        with contextlib.suppress(OSError), os.scandir(os.path.dirname(path)) as entries:
            return False if any(True for _ in entries) else None
    except (OSError, ValueError):  # the latter if there is a zero byte in it
        pass
    return None
