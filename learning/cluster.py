"""Bottlenecks computed by the workers of a Dask cluster.

In: pictures that the cache lacks, and the address of a scheduler. Out: rows in the cache, which only
this process writes. A shard of pictures is a task, and each worker has one at a time, so that it is
known which shard a worker died of. What lies there as a file is done, whoever computed it:

    python categorize_images.py --cluster local:2
    python categorize_images.py --cluster tls://scheduler:8786 --cluster-security keys
"""

from __future__ import annotations

import collections
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

from common.files import replacing
from common.pictures import MOST_BYTES
from common.terminal import Undone, UserError, counted, first_few, log
from learning import bottlenecks, cluster_worker, shards
from learning.bottleneck_cache import Cache
from learning.cluster_connection import Connection, ConnectionLost, Options, Worker, WorkersKilled

LEAST_PICTURES = 32  # in a shard, at the end of a run, when the workers are to end together
MOST_SENT = 4_000_000  # bytes of pictures in a task, if they are sent; a larger picture goes alone
DEATHS = 2  # of workers by one shard, before it is halved: one may have had another cause
ALONE = 3  # deaths of workers by one picture, before it is left out
FAILURES = 3  # of a worker, one after the other, before it gets no more shards
LOOK = 1.0  # seconds between two looks at which workers there are
PATIENCE = 30.0  # seconds without any worker before that is reported
KILLED = f"it ended {ALONE} workers, one after the other"

Picture = tuple[str, str]  # SHA-256 and path


class Piece(NamedTuple):
    """Pictures of one shard, and how often a worker has died or failed with it."""

    pictures: list[Picture]
    deaths: int = 0


class Task(NamedTuple):
    """A piece on its way: which worker has it, and what it will say."""

    piece: Piece
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


# ---- from pictures to the cache -----------------------------------------------------------------


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
    with folder_with_token(recipe.folder) as token, Connection(options) as connection:
        run = Run(options, connection, cache, missing, recipe._replace(token=token), bar)
        while run.step():
            pass
    run.report()
    return run.bad


class Run:
    """One run of shards on a cluster. It has a state because workers, pieces and answers each come
    and go by themselves."""

    def __init__(
        self,
        options: Options,
        connection: Connection,
        cache: Cache,
        missing: Iterable[Picture],
        recipe: shards.Recipe,
        bar: Any,
    ) -> None:
        self.options, self.connection, self.cache = options, connection, cache
        self.missing, self.recipe, self.bar = iter(missing), recipe, bar
        self.recipe_text = json.dumps(recipe._asdict())
        self.again: collections.deque[Piece] = collections.deque()  # after a death, or halved
        self.running: dict[str, Task] = {}  # by the key of its future
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()  # keys of futures that are done
        self.workers: dict[str, Worker] = {}  # by address, who are there
        self.failures: collections.Counter[str] = collections.Counter()  # of workers
        self.unusable: dict[str, str] = {}  # {address of a worker: why it gets no shards}
        self.bad: dict[str, str] = {}  # {key: why it has no row}
        self.used: dict[str, set[str]] = collections.defaultdict(set)  # {processor: computers}
        self.all_taken, self.left = False, bar.total  # of the missing pictures
        self.looked, self.seen = -LOOK, time.monotonic()  # when: for workers, and one of them
        self.numbers = itertools.count()

    def step(self) -> bool:
        """Give each idle worker a shard, and take what comes back. Returns whether anything is left
        to do."""
        if time.monotonic() - self.looked > LOOK:
            self.look()
        if not self.connection.is_up():
            time.sleep(LOOK)  # the next look says whether it is lost
            return True
        busy = {task.worker for task in self.running.values()}
        for worker, described in self.workers.items():
            if described.is_ready and worker not in busy and worker not in self.unusable:
                piece = self.next_piece()
                if piece is None:
                    break
                self.submit(piece, worker)
        if self.all_taken and not self.running and not self.again:
            return False
        with contextlib.suppress(queue.Empty):
            key = self.answers.get(timeout=LOOK)
            if task := self.running.pop(key, None):
                self.receive(task)
        return True

    def look(self) -> None:
        """See which workers there are. What a worker had that is gone is given to another one."""
        self.looked = time.monotonic()
        self.workers = self.connection.workers(self.workers)
        for key, task in list(self.running.items()):
            if task.worker not in self.workers:
                del self.running[key]
                task.future.cancel()
                self.give_again(task.piece, blamed=True)
        usable = [worker for worker in self.workers if worker not in self.unusable]
        self.bar.set_postfix_str(counted(len(usable), "worker"), refresh=False)
        if usable:
            self.seen = time.monotonic()
        elif self.workers and not self.running:
            raise UserError(
                f"no worker can compute bottlenecks ({self.reasons()}): mend that, and run the same "
                "command again"
            )
        elif time.monotonic() - self.seen > PATIENCE:
            log(f"there is no worker at {self.options.address} now: waiting for one")
            self.seen = time.monotonic() + 9 * PATIENCE

    # ---- pieces

    def next_piece(self) -> Piece | None:
        """The piece that an idle worker gets: one that another worker failed on, the next ones of
        the missing pictures, or, when nothing else is left, the oldest that is still running
        elsewhere, in case that worker is slow or can't be reached any more; but not one by which a
        worker has ended, or both would."""
        if self.again:
            return self.again.popleft()
        if pictures := self.take(self.size()):
            return Piece(pictures)
        counts = collections.Counter(id(task.piece.pictures) for task in self.running.values())
        for task in self.running.values():
            if counts[id(task.piece.pictures)] == 1 and not task.piece.deaths:
                return task.piece
        return None

    def size(self) -> int:
        """How many pictures the next shard has. Towards the end there are fewer, so that the
        workers end at about the same time."""
        share = self.left // (4 * max(1, len(self.workers)))
        return min(shards.MOST_PICTURES, max(LEAST_PICTURES, share))

    def take(self, most: int) -> list[Picture]:
        """The next missing pictures."""
        pictures = []
        size = 0
        for key, path in self.missing:
            pictures.append((key, path if "://" in path else os.path.abspath(path)))
            if self.options.send_pictures:
                with contextlib.suppress(OSError):
                    size += os.path.getsize(path)
            if len(pictures) >= most or size > MOST_SENT:
                break
        else:
            self.all_taken = True
        self.left -= len(pictures)
        return pictures

    def twins(self, piece: Piece) -> list[str]:
        """The keys of the tasks that compute the same piece."""
        return [key for key, task in self.running.items() if task.piece.pictures is piece.pictures]

    def give_again(self, piece: Piece, blamed: bool) -> None:
        """Have a piece computed again, unless a twin is at it. If a worker died of it, or failed on
        it, several times, it is halved, down to the picture that does it, which is left out."""
        pictures, deaths = piece.pictures, piece.deaths + blamed
        if self.twins(piece):
            return
        if len(pictures) == 1 and deaths >= ALONE:
            self.bad[pictures[0][0]] = KILLED
            self.bar.update()
        elif len(pictures) > 1 and deaths >= DEATHS:
            half = len(pictures) // 2
            for part in (pictures[:half], pictures[half:]):
                # Of a picture alone it is not known yet. Of more, the next death halves again.
                self.again.append(Piece(part, DEATHS - 1 if len(part) > 1 else 0))
        else:
            self.again.append(Piece(pictures, deaths))

    # ---- tasks

    def submit(self, piece: Piece, worker: str) -> None:
        """Give a piece to a worker."""
        pictures, data = piece.pictures, None
        if self.options.send_pictures:
            pictures, data = self.read(pictures)
            if not pictures:
                return
            if len(pictures) < len(piece.pictures):  # else it stays the twin of its twins
                piece = piece._replace(pictures=pictures)
        names = zlib.compress(json.dumps(pictures).encode(), 1)
        future = self.connection.submit(
            cluster_worker.compute_shard,
            self.recipe_text,
            self.workers[worker].share,
            names,
            data,
            worker=worker,
            key=f"bottlenecks-{self.recipe.token}-{next(self.numbers)}",
        )
        self.running[future.key] = Task(piece, worker, future)
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
                self.bad[key] = bottlenecks.MISSING if missing else str(error.strerror)
                self.bar.update()
        return readable, data

    def receive(self, task: Task) -> None:
        """Take what has come of a task: a shard, or trouble."""
        keys = [key for key, _ in task.piece.pictures]
        path = os.path.join(self.recipe.folder, shards.file_name(self.recipe, keys))
        rows, is_done = None, task.future.status == "finished"
        try:
            if not (is_done and os.path.exists(path)):  # else nothing need travel
                rows = self.connection.result(task.future)
        except ConnectionLost:  # to the scheduler, and it came back; nobody is to blame
            self.give_again(task.piece, blamed=False)
            return
        except WorkersKilled:  # at an address where each time another one started
            self.give_again(task.piece, blamed=True)
            return
        except Undone:
            raise
        except Exception as problem:  # a worker's libraries raise whatever comes up
            self.note_failure(task.worker, problem, is_done)
            lacks_something = is_done or isinstance(problem, cluster_worker.Unusable)
            self.give_again(task.piece, blamed=not lacks_something)
            return
        if rows is not None:
            with replacing(path) as beside, open(beside, "wb") as file:
                file.write(rows)
        try:
            shard = shards.adopt(self.cache, self.recipe, path)
        except ValueError as problem:
            log(f"warning: {path} can't be used ({problem}): computed again")
            self.give_again(task.piece, blamed=True)
            return
        for key in self.twins(task.piece):
            self.running.pop(key).future.cancel()
        self.failures[task.worker] = 0
        wanted = set(keys)
        self.bad.update((key, why) for key, why in shard.bad.items() if key in wanted)
        self.used[shard.processor].add(shard.computer)
        self.bar.update(len(keys))

    def note_failure(self, worker: str, problem: Exception, is_done: bool) -> None:
        """Give a worker no more shards if it lacks something, or has failed several times."""
        reason = f"{type(problem).__name__}: {problem}"[:300]
        if is_done:
            reason = "its answers do not arrive; see whether the scheduler can reach that address"
        self.failures[worker] += 1
        if isinstance(problem, cluster_worker.Unusable):
            reason = str(problem)
        elif self.failures[worker] < FAILURES:
            return
        self.unusable[worker] = reason
        log(f"warning: the worker at {worker} gets no pictures: {reason}")

    # ---- what is said

    def reasons(self) -> str:
        """Why workers can't be used, in words."""
        reasons = list(dict.fromkeys(self.unusable.values()))
        return first_few([reason.rstrip(".") for reason in reasons])

    def report(self) -> None:
        """Log whether the rows can differ from each other in their last bits."""
        names = sorted(self.used)
        if len(names) > 1 or names and names != [shards.processor()]:
            log(
                f"the workers' processors are {first_few(names)}, and this computer's is "
                f"{shards.processor()}: rows of different ones differ by rounding"
            )
