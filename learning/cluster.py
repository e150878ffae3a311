"""Bottlenecks computed by the workers of a Dask cluster.

In: pictures that the cache lacks, and the address of a scheduler. Out: rows in the cache, which only
this process writes. A shard of pictures is a task, and each worker has one at a time, so that it is
known which shard a worker died of. What lies there as a file is done, whoever computed it:

    python categorize_images.py --cluster local:2
    python categorize_images.py --cluster tls://scheduler:8786 --cluster-security keys
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import queue
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from common.files import replacing
from common.pictures import MOST_BYTES
from common.terminal import Undone, UserError, counted, first_few, log
from learning import bottlenecks, cluster_worker, shards
from learning.bottleneck_cache import Cache
from learning.cluster_connection import (
    TIMEOUT,
    Connection,
    ConnectionLost,
    Options,
    Worker,
    WorkersKilled,
)
from learning.cluster_pieces import Picture, Piece, Pieces

FAILURES = 3  # of a worker, one after the other, before it gets no more pictures
STILLBORN = 6  # workers, one after the other, that ended before they got any picture
LOOK = 1.0  # seconds between two looks at which workers there are
PATIENCE = 30.0  # seconds in which nothing can go on, before that is reported
NO_FOLDER = "no folder"  # as a token: the worker is to send its rows
UNREACHABLE = "its answers do not arrive; see whether the scheduler can reach that address"


class Task(NamedTuple):
    """What a worker is at: a piece, or None while it loads the network."""

    piece: Piece | None
    keys: list[str]  # of the pictures that it got
    worker: str  # its address
    future: Any  # distributed.Future


@contextlib.contextmanager
def folder_with_token(folder: str) -> Iterator[str]:
    """The name of a file in the folder of shards, by which a worker sees that it has the same one."""
    os.makedirs(folder, exist_ok=True)
    token = f"here-{os.urandom(8).hex()}"
    path = os.path.join(folder, token)
    open(path, "xb").close()
    try:
        yield token
    finally:
        shards.remove(path)
        with contextlib.suppress(OSError):  # there are shards in it
            os.rmdir(folder)


def filler(options: Options | None, recipe: shards.Recipe) -> bottlenecks.Filler | None:
    """A function (cache, missing pictures, bar) that computes them on a cluster; None if no cluster
    is asked for."""
    return functools.partial(fill, options, recipe) if options else None


def fill(
    options: Options, recipe: shards.Recipe, cache: Cache, missing: Iterable[Picture], bar: Any
) -> dict[str, str]:
    """Have the cluster compute the missing pictures, and adopt what it leaves. bar.total is how many
    they are. Returns {key: reason of those that can't be read}. Raises UserError if no worker can
    compute them, and Undone if the scheduler is lost."""
    pieces = Pieces(cache, missing, options.send_pictures, bar)
    with folder_with_token(recipe.folder) as token:
        with Connection(options) as connection:
            run = Run(options, connection, cache, pieces, recipe._replace(token=token))
            while run.step():
                pass
        shards.adopt_all(cache, recipe)  # of the last pieces, some were given to two workers
    run.report()
    return pieces.bad


class Run:
    """One run of pieces on a cluster. It has a state because workers and answers each come and go by
    themselves."""

    def __init__(
        self,
        options: Options,
        connection: Connection,
        cache: Cache,
        pieces: Pieces,
        recipe: shards.Recipe,
    ) -> None:
        self.options, self.connection, self.cache = options, connection, cache
        self.pieces, self.recipe = pieces, recipe
        self.running: dict[str, Task] = {}  # by the key of its future
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()  # keys of futures that are done
        self.workers: dict[str, Worker] = {}  # by address, who are there
        self.loaded: set[str] = set()  # workers that have the network
        self.apart: set[str] = set()  # workers whose files are not seen here
        self.failures: Counter[str] = Counter()  # of workers, one after the other
        self.unusable: dict[str, str] = {}  # {address of a worker: why it gets no pictures}
        self.stillborn = 0  # workers, one after the other
        self.ended = 0  # workers that had pictures
        self.processors: defaultdict[str, set[str]] = defaultdict(set)  # {name: computers}
        self.looked, self.moved = -LOOK, time.monotonic()  # when: for workers; anything went on
        self.is_cut_off = False  # from the scheduler
        self.numbers = itertools.count()

    # ---- workers

    def step(self) -> bool:
        """Give each idle worker a piece, and take what comes back. Returns whether anything is left
        to do."""
        if time.monotonic() - self.looked > LOOK:
            self.look()
        if not self.connection.is_up():
            if not self.is_cut_off:
                log(f"{self.options.address} can't be reached: trying for {TIMEOUT} s")
            self.is_cut_off = True
            time.sleep(LOOK)  # the next look says whether it is lost
            return True
        self.is_cut_off = False
        busy = {task.worker for task in self.running.values()}
        for worker, described in self.workers.items():
            if described.is_ready and worker not in busy and worker not in self.unusable:
                if worker not in self.loaded:
                    self.submit(None, worker)
                elif piece := self.pieces.next_piece(len(self.workers), self.pieces_running()):
                    self.submit(piece, worker)
        if self.pieces.are_done() and not self.pieces_running():
            return False
        with contextlib.suppress(queue.Empty):
            key = self.answers.get(timeout=LOOK)
            if task := self.running.pop(key, None):
                self.receive(task)
        return True

    def look(self) -> None:
        """See which workers there are. What a worker had that is gone is given to another one."""
        before, self.looked = set(self.workers), time.monotonic()
        self.workers = self.connection.workers(self.workers)
        for key, task in list(self.running.items()):
            if task.worker not in self.workers:
                del self.running[key]
                task.future.cancel()
                self.note_death(task)
        usable = [worker for worker in self.workers if worker not in self.unusable]
        self.pieces.bar.set_postfix_str(counted(len(usable), "worker"), refresh=False)
        if not self.loaded and set(self.workers) - before:
            there = counted(len(usable), "worker is", "workers are")
            log(f"{there} at {self.options.address}: each loads the network first")
        if self.running:
            self.moved = time.monotonic()
        elif self.workers and not usable:
            raise UserError(
                f"no worker can compute bottlenecks ({self.reasons()}): mend that, and run the same "
                "command again"
            )
        elif time.monotonic() - self.moved > PATIENCE:
            log(self.why_waiting())
            self.moved = time.monotonic() + 9 * PATIENCE

    def note_death(self, task: Task) -> None:
        """A worker has ended while it was at something."""
        if task.piece is not None:
            self.ended += 1
            self.pieces.note_death(task.piece, self.is_running(task.piece))
            return
        self.stillborn += 1
        if self.stillborn >= STILLBORN:
            raise UserError(
                f"{STILLBORN} workers, one after the other, ended while they loaded the network: see "
                "what they print; start them in the folder of the scripts by python -m dask worker, "
                "each with about 2 GB of memory"
            )

    def note_failure(self, worker: str, reason: str, at_once: bool = False) -> None:
        """Give a worker no more pictures if it lacks something, or has failed several times."""
        self.failures[worker] += 1
        if at_once or self.failures[worker] >= FAILURES:
            self.unusable[worker] = reason
            if set(self.workers) - set(self.unusable):  # else the error will say it
                log(f"warning: the worker at {worker} gets no pictures: {reason}")

    # ---- tasks

    def pieces_running(self) -> list[Piece]:
        return [task.piece for task in self.running.values() if task.piece is not None]

    def is_running(self, piece: Piece) -> bool:
        """Whether another worker is at the same piece."""
        return piece.number in {other.number for other in self.pieces_running()}

    def submit(self, piece: Piece | None, worker: str) -> None:
        """Give a piece to a worker, or have it load the network."""
        pictures, data, recipe = piece.pictures if piece else [], None, self.recipe
        if piece and self.options.send_pictures:
            pictures, data = self.read(pictures)
            if not pictures:
                return
        if piece is None or worker in self.apart:
            recipe = recipe._replace(token=NO_FOLDER)
        future = self.connection.submit(
            cluster_worker.compute_shard,
            json.dumps(recipe._asdict()),
            self.workers[worker].share,
            zlib.compress(json.dumps(pictures).encode(), 1),
            data,
            worker=worker,
            key=f"bottlenecks-{self.recipe.token}-{next(self.numbers)}",
        )
        self.running[future.key] = Task(piece, [key for key, _ in pictures], worker, future)
        future.add_done_callback(lambda done: self.answers.put(done.key))

    def read(self, pictures: list[Picture]) -> tuple[list[Picture], list[bytes]]:
        """Those of the pictures whose files can be read here, and their bytes."""
        readable, data = [], []
        for key, path in pictures:
            try:
                with open(path, "rb") as file:
                    data.append(file.read(MOST_BYTES + 1))
                readable.append((key, path))
            except OSError as error:
                missing = isinstance(error, FileNotFoundError)
                self.pieces.leave_out(key, bottlenecks.MISSING if missing else str(error.strerror))
        return readable, data

    def receive(self, task: Task) -> None:
        """Take what has come of a task: a shard, or trouble."""
        rows, is_done = None, task.future.status == "finished"
        path = os.path.join(self.recipe.folder, shards.file_name(self.recipe, task.keys))
        try:
            if task.piece is None or not (is_done and os.path.exists(path)):  # else nothing travels
                rows = self.connection.result(task.future)
        except ConnectionLost:  # to the scheduler, and it came back; nobody is to blame
            self.give_back(task)
        except WorkersKilled:  # at an address where each time another one started
            self.note_death(task)
        except Undone:
            raise
        except Exception as problem:  # a worker's libraries raise whatever comes up
            is_unusable = isinstance(problem, cluster_worker.Unusable)
            reason = str(problem) if is_unusable else f"{type(problem).__name__}: {problem}"[:300]
            self.note_failure(task.worker, UNREACHABLE if is_done else reason, is_unusable)
            self.give_back(task)
        else:
            self.stillborn = 0
            self.loaded.add(task.worker)
            if task.piece is not None:
                self.take_shard(task, path, rows)

    def give_back(self, task: Task) -> None:
        if task.piece is not None:
            self.pieces.give_back(task.piece, self.is_running(task.piece))

    def take_shard(self, task: Task, path: str, rows: Any) -> None:
        """Adopt the shard of a task, from its file, or from the bytes that the worker has sent."""
        if isinstance(rows, bytes):
            with replacing(path) as beside, open(beside, "wb") as file:
                file.write(rows)
        try:
            shard = shards.adopt(self.cache, self.recipe, path, task.keys)
        except OSError as error:  # the worker sees the folder, but its file is not to be had
            if rows is not None:
                raise
            self.cache.refresh()
            if (self.cache.find(task.keys) >= 0).all():  # another command has adopted it
                self.pieces.note_rows(task.keys)
                return
            self.apart.add(task.worker)
            self.note_failure(task.worker, f"its file {path} can't be read ({error.strerror})")
            self.give_back(task)
            return
        except ValueError as problem:
            self.note_failure(task.worker, f"what it computed can't be used: {problem}")
            self.give_back(task)
            return
        if self.is_blind(task, shard):
            self.give_back(task)
            return
        for key, other in list(self.running.items()):
            if other.piece and task.piece and other.piece.number == task.piece.number:
                self.running.pop(key).future.cancel()
        self.failures[task.worker] = 0
        self.processors[shard.processor].add(shard.computer)
        for key, reason in shard.bad.items():
            self.pieces.leave_out(key, reason)
        self.pieces.note_rows(shard.keys)

    def is_blind(self, task: Task, shard: shards.Shard) -> bool:
        """Whether a worker has seen none of the files of a piece, of which some are here. Then it
        gets no more pictures."""
        missing = all(reason == bottlenecks.MISSING for reason in shard.bad.values())
        if shard.keys or not missing or self.options.send_pictures or not task.piece:
            return False
        for _, path in task.piece.pictures:
            if "://" not in path and os.path.exists(path):
                reason = f"it sees no picture at {path}; --send-pictures sends them"
                self.note_failure(task.worker, reason, at_once=True)
                return True
        return False

    # ---- what is said

    def reasons(self) -> str:
        """Why workers can't be used, in words."""
        reasons = list(dict.fromkeys(self.unusable.values()))
        return first_few([reason.rstrip(".") for reason in reasons])

    def why_waiting(self) -> str:
        """Why nothing goes on, in words."""
        if any(worker not in self.unusable for worker in self.workers):
            return (
                f"the workers at {self.options.address} take no work, because their memory is short "
                "(--memory-limit of dask worker): waiting until one does"
            )
        ended = "; the last one ended while it loaded the network" if self.stillborn else ""
        return f"there is no worker at {self.options.address} now: waiting for one{ended}"

    def report(self) -> None:
        """Log how many workers were lost, and whether rows can differ in their last bits."""
        if self.ended:
            ended = counted(self.ended, "worker")
            log(f"{ended} ended while computing")
        names = sorted(self.processors)
        if len(names) > 1 or names and names != [shards.processor()]:
            log(
                f"the workers' processors are {first_few(names)}, and this computer's is "
                f"{shards.processor()}: rows of different ones differ by rounding"
            )
