"""Many threads, and many queues of work: no queue holds up the others.

In: for each host its rows. Out: what became of each row, as soon as it is done. A thread that is
free takes from the queue that has the fewest rows under way. So a host that is slow or dead keeps
its share of the threads, and no more.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import itertools
import queue
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Generic, NamedTuple, TypeVar

from common.pictures import quietly

# Of the C library of Linux: memory in pieces of at least so many bytes goes back to the system.
M_MMAP_THRESHOLD, LARGE_PIECE = -3, 1 << 20

Row = TypeVar("Row")
Result = TypeVar("Result")


class Bounds(NamedTuple):
    """How much is done at a time."""

    threads: int
    queues: int  # that rows are taken from
    of_one: int  # rows of one queue that are under way


class Queue(Generic[Row]):
    """The rows of one host, and how many of them are under way."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows, self.under_way = iter(rows), 0


def give_memory_back() -> None:
    """Have memory go back to the system as soon as it is let go. Otherwise each thread would keep
    what the largest of its pictures took: 1.8 GB in all. A system without this call is left as it
    is."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_PIECE)


def in_turns(
    work: Callable[[Row], Result], queues: Iterable[Iterable[Row]], bounds: Bounds
) -> Generator[tuple[Row, Future[Result]], None, None]:
    """Yield (row, Future of work(row)) of all rows of all queues, as they are done."""
    give_memory_back()
    done: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
    jobs: dict[Future[Result], tuple[Row, Queue[Row]]] = {}
    waiting = map(Queue[Row], queues)
    at_work: list[Queue[Row]] = []
    with quietly(), concurrent.futures.ThreadPoolExecutor(bounds.threads) as pool:
        try:
            while True:
                while len(jobs) < bounds.threads:
                    taken = next_row(at_work, waiting, bounds)
                    if taken is None:
                        break
                    job = pool.submit(work, taken[0])
                    jobs[job] = taken
                    job.add_done_callback(done.put)
                if not jobs:
                    return
                job = done.get()
                row, its_queue = jobs.pop(job)
                its_queue.under_way -= 1
                yield row, job
        finally:
            pool.shutdown(cancel_futures=True)


def next_row(
    at_work: list[Queue[Any]], waiting: Iterator[Queue[Any]], bounds: Bounds
) -> tuple[Any, Queue[Any]] | None:
    """The row to begin next, and its queue, which counts it from now on. None if there is none, or
    each queue has as many under way as it may. Queues that end leave `at_work`, and others of those
    that wait take their place."""
    while True:
        at_work.extend(itertools.islice(waiting, bounds.queues - len(at_work)))
        fewest = min(at_work, key=lambda queue: queue.under_way, default=None)
        if fewest is None or fewest.under_way >= bounds.of_one:
            return None
        for row in fewest.rows:
            fewest.under_way += 1
            return row, fewest
        at_work.remove(fewest)
