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
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from common.files import open_locked, replacing
from common.terminal import UserError, counted, log
from learning import bottlenecks, cluster_worker, shards
from learning.bottleneck_cache import Cache
from learning.cluster_address import TIMEOUT, Options
from learning.cluster_connection import Connection, ConnectionLost, WorkersKilled
from learning.cluster_crew import PATIENCE, STILLBORN, Crew, is_seen_here
from learning.cluster_pieces import SLOW, Picture, Piece, Pieces

LOOK = 1.0  # seconds between two looks at which workers there are
NO_FOLDER = "no folder"  # as a token: the worker is to send its rows
UNREACHABLE = "its answers do not arrive; see whether the scheduler can reach that address"


class Task(NamedTuple):
    """What a worker is at: a piece, or None while it loads the network."""

    piece: Piece | None
    keys: list[str]  # of the pictures that it got
    worker: str  # its address
    name: str  # of its process
    started: float  # when
    future: Any  # distributed.Future


@contextlib.contextmanager
def folder_with_token(folder: str) -> Iterator[str]:
    """The name of a file in the folder of shards, by which a worker sees that it has the same one."""
    os.makedirs(folder, exist_ok=True)
    token = f"{shards.TOKEN}{os.urandom(8).hex()}"
    path = os.path.join(folder, token)
    try:
        with open_locked(path):  # so that another command knows that it is in use
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
    run.crew.report()
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
        self.crew = Crew(options.address)
        self.running: dict[str, Task] = {}  # by the key of its future, the longest first
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()  # keys of futures that are done
        self.looked = -LOOK  # when
        self.waited = time.monotonic()  # since when nothing but second tries are left
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
        for worker in self.crew.idle({task.worker for task in self.running.values()}):
            if worker not in self.crew.loaded:
                self.submit(None, worker)
            elif piece := self.next_piece(worker):
                self.submit(piece, worker)
        self.end_waiting()
        self.take_answers(wait=LOOK)
        return not self.pieces.are_done()

    def next_piece(self, worker: str) -> Piece | None:
        """The piece for an idle worker."""
        name, count = self.crew.workers[worker].name, len(self.crew.usable())
        is_trusted = self.crew.is_trusted(worker, self.soon_loaded(), self.hanging())
        if is_trusted and self.crew.are_dying() and (piece := self.pieces.fresh(count)):
            return piece
        if (piece := self.pieces.waiting(name)) or not is_trusted:
            return piece
        return (
            self.pieces.fresh(count)
            or self.pieces.for_the_last_time()
            or self.pieces.second_copy(name, self.pieces_running())
        )

    def end_waiting(self) -> None:
        """A worker is in doubt as long as others are to try what it could not read. What waits for
        them to the end is tried once more by any, if none of them may come."""
        waiting, busy = self.pieces.again, self.pieces_at_work()
        self.crew.doubted &= frozenset().union(*(piece.tried for piece in [*waiting, *busy]))
        is_over = self.pieces.all_taken and not busy and all(piece.tried for piece in waiting)
        if not is_over or self.soon_loaded():
            self.waited = time.monotonic()
        elif self.crew.have_tried(waiting):
            self.pieces.give_up()
        elif waiting and self.crew.usable() and time.monotonic() - self.waited > PATIENCE:
            if self.crew.are_believed(self.hanging()):
                self.pieces.give_up()

    def take_answers(self, wait: float) -> None:
        """Take what has come of tasks that are done; if of none, after so many seconds."""
        with contextlib.suppress(queue.Empty):
            key = self.answers.get(timeout=wait) if wait else self.answers.get_nowait()
            while True:
                if task := self.running.pop(key, None):
                    self.receive(task)
                key = self.answers.get_nowait()

    def look(self) -> None:
        """See which workers there are. What a worker had that is gone is given to another one."""
        self.looked = time.monotonic()
        found = self.connection.workers(self.crew.workers)
        if self.connection.is_up():
            self.take_answers(wait=0)  # of a worker that had done its piece before it ended
        for key, task in list(self.running.items()):
            # At its address there may be another process by now.
            if task.worker not in found or found[task.worker].name != task.name:
                del self.running[key]
                task.future.cancel()
                self.note_death(task)
        has_come = self.crew.update(found)
        usable = self.crew.usable()
        self.pieces.bar.set_postfix_str(counted(len(usable), "worker"), refresh=False)
        if not self.crew.loaded and has_come:
            there = counted(len(usable), "worker is", "workers are")
            log(f"{there} at {self.options.address}: each loads the network first")
        hanging = self.hanging()
        self.crew.check(len(self.running) > len(hanging), hanging)

    def note_death(self, task: Task) -> None:
        """A worker has ended while it was at something."""
        if task.piece is None:
            self.crew.note_stillborn(bool(self.loading()))
        else:
            self.pieces.note_death(task.piece, self.is_running(task.piece))
            self.crew.note_end()

    # ---- tasks

    def pieces_running(self) -> list[tuple[Piece, float]]:
        """The pieces that workers are at, and for how many seconds."""
        now = time.monotonic()
        return [(task.piece, now - task.started) for task in self.running.values() if task.piece]

    def pieces_at_work(self) -> list[Piece]:
        """Those of them whose workers do not seem to hang."""
        return [piece for piece, seconds in self.pieces_running() if seconds < SLOW]

    def loading(self) -> set[str]:
        """Workers that load the network, and do not seem to hang."""
        tasks = self.running.values()
        return {task.worker for task in tasks if task.piece is None} - self.hanging()

    def soon_loaded(self) -> set[str]:
        """Those of them that can be waited for, unless all that load it end by that."""
        return self.loading() if self.crew.stillborn < STILLBORN else set()

    def hanging(self) -> set[str]:
        """Workers that have not answered for so long that they seem to hang."""
        late = time.monotonic() - SLOW
        return {task.worker for task in self.running.values() if task.started <= late}

    def is_running(self, piece: Piece) -> bool:
        """Whether another worker is at the same piece, and has not tried it in vain before."""
        but, hanging = self.pieces.in_vain.get(piece.number, set()), self.hanging()
        return any(
            task.piece and task.piece.number == piece.number and task.name not in but
            for task in self.running.values()
            if task.worker not in hanging
        )

    def submit(self, piece: Piece | None, worker: str) -> None:
        """Give a piece to a worker, or have it load the network."""
        pictures, data, recipe = piece.pictures if piece else [], None, self.recipe
        if piece and self.options.send_pictures:
            pictures, data = self.pieces.read(pictures)
            if not pictures:
                return
        if piece is None or worker in self.crew.apart:
            recipe = recipe._replace(token=NO_FOLDER)
        future = self.connection.submit(
            cluster_worker.compute_shard,
            json.dumps(recipe._asdict()),
            self.crew.workers[worker].share,
            zlib.compress(json.dumps(pictures).encode(), 1),
            data,
            worker=worker,
            key=f"bottlenecks-{self.recipe.token}-{next(self.numbers)}",
        )
        keys, name = [key for key, _ in pictures], self.crew.workers[worker].name
        self.running[future.key] = Task(piece, keys, worker, name, time.monotonic(), future)
        future.add_done_callback(lambda done: self.answers.put(done.key))

    def receive(self, task: Task) -> None:
        """Take what has come of a task: a shard, or trouble."""
        rows, is_done = None, task.future.status == "finished"
        path = os.path.join(self.recipe.folder, shards.file_name(self.recipe, task.keys))
        try:
            is_there = is_done and task.worker not in self.crew.apart and os.path.exists(path)
            if task.piece is None or not is_there:  # else nothing travels
                rows = self.connection.result(task.future)
        except ConnectionLost:  # to the scheduler, and it came back; nobody is to blame
            self.give_back(task)
        except WorkersKilled:  # at an address where each time another one started
            self.note_death(task)
        except UserError:  # of the scheduler
            raise
        except Exception as problem:  # a worker's libraries raise whatever comes up
            is_unusable = isinstance(problem, cluster_worker.Unusable)
            reason = str(problem) if is_unusable else f"{type(problem).__name__}: {problem}"[:300]
            self.crew.note_failure(task.worker, UNREACHABLE if is_done else reason, is_unusable)
            self.give_back(task)
        else:
            self.crew.stillborn = 0
            self.crew.loaded.add(task.worker)
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
        except OSError as error:
            if error.filename not in (path, None):  # of the cache: the disk is full, for example
                raise
            self.take_without_shard(task, path, error, isinstance(rows, bytes))
        except ValueError as problem:
            self.crew.note_failure(task.worker, f"what it computed can't be used: {problem}")
            self.give_back(task)
        else:
            self.crew.processors.add(shard.processor)
            self.take_pictures(task, shard)

    def take_without_shard(self, task: Task, path: str, error: OSError, was_here: bool) -> None:
        """A task is done, but its file is not to be had. Another command may have taken it in; or
        else the worker sees the folder, and its file is not seen here."""
        self.cache.refresh()
        there = [key for key, row in zip(task.keys, self.cache.find(task.keys)) if row >= 0]
        self.pieces.note_rows(there)
        if not was_here and not there:
            self.crew.apart.add(task.worker)
            words = f"its file {path} can't be read ({error.strerror})"
            self.crew.note_failure(task.worker, words)
        self.give_back(task)

    def take_pictures(self, task: Task, shard: shards.Shard) -> None:
        """Note what has become of the pictures of a task, whose rows are in the cache now."""
        piece = task.piece
        assert piece
        self.pieces.note_rows(shard.keys)
        for key, reason in shard.bad.items():
            self.pieces.leave_out(key, reason)
        if shard.keys or shard.bad:
            self.crew.note_second_try(piece)
            self.crew.note_read(task.worker)
        if shard.unread:
            self.take_unread(task, piece, shard)
        if not self.pieces.rest(piece):
            for key, other in list(self.running.items()):
                if other.piece and other.piece.number == piece.number:
                    self.running.pop(key).future.cancel()

    def take_unread(self, task: Task, piece: Piece, shard: shards.Shard) -> None:
        """Note which pictures a worker could not read. Others are asked, unless they are at it."""
        told = []
        for key, path in piece.pictures:
            if (reason := shard.unread.get(key)) is not None:
                digest = key if reason == bottlenecks.OTHER_FILE else None
                told.append((key, path, reason, is_seen_here(path, digest)))
        is_first = not piece.tried and not piece.is_last
        if is_first and not shard.keys and not shard.bad:
            self.crew.note_unread(task.worker, [one[1:] for one in told])
        if self.is_running(piece):
            self.pieces.in_vain[piece.number].add(task.name)
        else:
            sure, unsure = dict[str, str](), dict[str, str]()
            for key, _, reason, is_here in told:
                are_sure = self.crew.are_sure(piece.tried | {task.name}, is_here)
                (sure if are_sure else unsure)[key] = reason
            self.pieces.note_unread(piece, task.name, sure, is_sure=True)
            self.pieces.note_unread(piece, task.name, unsure)
