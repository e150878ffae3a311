"""The connection to a Dask cluster.

In: where it is, as cluster_address.py checks it. Out: which workers there are, and answers of
functions that run on them.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from common.terminal import Undone, UserError
from learning.cluster_address import (
    LOCAL,
    TIMEOUT,
    Options,
    check,
    hostname,
    knock,
    one_reason,
    security_of,
)

ANSWER = 45  # seconds for what a worker has computed: the scheduler tries for 30 to reach it
# Dask watches what runs in its processes a hundred times a second, and has workers give freed memory
# back at each call. Here that took a tenth of the two cores.
UNWATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.nanny.pre-spawn-environ": {},
}


class Worker(NamedTuple):
    """A worker that is there."""

    name: str  # of its process; another one at the same address has another
    share: int  # how many workers its computer has
    is_ready: bool  # not if its memory is short, for example


class ConnectionLost(Exception):
    """The scheduler could not be reached for a while, and has forgotten what it was asked for."""


class WorkersKilled(Exception):
    """Several workers at one address, one after the other, ended while they computed this."""


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C in the block, and put SIGTERM off until its end: Dask can't close what has half
    begun. Signals can be set in the main thread only; elsewhere there are none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    put_off: list[int] = []
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, _: put_off.append(number)),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if put_off:
            signal.raise_signal(signal.SIGTERM)


class Connection:
    """A Dask client, in whose `with` functions run on workers. For local:N the workers are processes
    here, which end with it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> Connection:
        address = check(self.options)
        import dask.config
        import distributed
        from distributed.system import MEMORY_LIMIT

        # What Dask logs is of its own parts. What matters is reported here in words.
        for name in [*logging.root.manager.loggerDict, "distributed", "tornado", "asyncio"]:
            if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        security = security_of(self.options.security) if self.options.security else None
        with contextlib.ExitStack() as stack:
            stack.enter_context(
                dask.config.set(
                    {
                        # A picture that is sent may be large, and is bounded by shards.py.
                        "distributed.admin.large-graph-warning-threshold": "250MB",
                        "distributed.comm.timeouts.connect": f"{TIMEOUT}s",
                    }
                )
            )
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # of versions that differ a little; of ports in use
            try:
                if local := LOCAL.fullmatch(address):
                    stack.enter_context(dask.config.set(UNWATCHED))
                    with without_interrupts():  # nor do the workers, who inherit that, take any
                        cluster = stack.enter_context(
                            distributed.LocalCluster(
                                n_workers=int(local[1]),
                                threads_per_worker=1,
                                memory_limit=MEMORY_LIMIT // int(local[1]),
                                processes=True,
                                host="127.0.0.1",
                                dashboard_address=None,
                                silence_logs=logging.CRITICAL,
                            )
                        )
                    address = cluster.scheduler_address
                else:
                    knock(address, self.options.security)
                self.client = stack.enter_context(
                    distributed.Client(
                        address, security=security, timeout=TIMEOUT, set_as_default=False
                    )
                )
            except (OSError, TimeoutError, ValueError, RuntimeError) as error:
                raise Undone(
                    f"no scheduler answers at {address} ({one_reason(error)}): start one as "
                    "docs/cluster.md says, and run the same command again"
                ) from None
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        with contextlib.suppress(Exception):  # what is lost can't be closed, and need not be
            self.stack.close()

    def workers(self, before: dict[str, Worker]) -> dict[str, Worker]:
        """{address: Worker} of those that are there. Their shares stay as they were `before`,
        because a worker's threads are set once. Raises Undone if the scheduler is lost."""
        try:
            found = self.client.sync(
                self.client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER
            )["workers"]
        except (
            TimeoutError,
            asyncio.TimeoutError,
        ):  # two until 3.11; it takes connections and answers none
            raise self.lost() from None
        except Exception:  # of the network, of tornado, or a client that was closed
            if self.client.status in ("running", "connecting"):
                return before
            raise self.lost() from None
        hosts = collections.Counter(map(hostname, found))
        return {
            address: Worker(
                str(described.get("id")),
                before[address].share if address in before else hosts[hostname(address)],
                described.get("status") == "running",
            )
            for address, described in found.items()
        }

    def is_up(self) -> bool:
        """Whether the scheduler can be reached now. What it is asked for while it can't be, it would
        never answer."""
        return self.client.status == "running"

    def submit(self, function: Callable, *args: Any, worker: str, key: str) -> Any:
        """A Future of function(*args), run by this worker and no other."""
        try:
            return self.client.submit(
                function, *args, workers=[worker], allow_other_workers=False, key=key, pure=False
            )
        except Exception:
            raise self.lost() from None

    def result(self, future: Any) -> Any:
        """What has come of a future that is done. Raises what its function raised, ConnectionLost,
        WorkersKilled, Undone, or UserError if the scheduler does not know these scripts."""
        import distributed

        if future.status == "cancelled" or future.status == "lost":
            raise ConnectionLost
        try:
            return future.result(timeout=ANSWER)
        except (distributed.CancelledError, distributed.client.FutureCancelledError):
            raise ConnectionLost from None
        except distributed.KilledWorker:
            raise WorkersKilled from None
        except RuntimeError as error:
            if "deserialization of the task graph" not in str(error):
                raise
            raise UserError(
                f"the scheduler at {self.options.address} can't read what it is sent: start it in "
                "the folder of the scripts by python -m dask scheduler, with the same packages as "
                "here, and run the same command again"
            ) from None

    def lost(self) -> Undone:
        return Undone(
            f"the scheduler at {self.options.address} can't be reached any more; what is done is "
            "kept: start it and its workers again, and run the same command"
        )
