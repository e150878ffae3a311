"""The connection to a Dask cluster, and who may be asked for one.

In: an address, as --cluster takes it. Out: which workers there are, and answers of functions that
run on them. A scheduler runs whatever it is sent, so one on another computer is spoken to by TLS, or
only if somebody says that its network is safe.
"""

from __future__ import annotations

import collections
import contextlib
import ipaddress
import logging
import os
import re
import signal
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from common.foreign_files import open_regular, parse_json
from common.terminal import Undone, UserError

KEYS = ("ca.pem", "cert.pem", "key.pem")  # in the folder of --cluster-security
LOCAL = re.compile(r"local:([1-9]\d{0,3})")
ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})")
TIMEOUT = 30  # seconds for connecting
ANSWER = 45  # seconds for what a worker has computed: the scheduler tries for 30 to reach it
MOST_DESCRIBED = 1_000_000  # bytes of a scheduler file
# Dask watches what runs in its processes a hundred times a second, and has workers give freed memory
# back at each call. Here that took a tenth of the two cores.
UNWATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.nanny.pre-spawn-environ": {},
}
NO_DASK = "--cluster needs Dask: python -m pip install -r requirements-cluster.txt"


class Options(NamedTuple):
    """Where the cluster is, and how it is spoken to."""

    address: str  # tcp://host:port, tls://host:port, a scheduler file, or local:N
    security: str | None = None  # a folder with the KEYS
    insecure: bool = False  # whether another computer may be spoken to without TLS
    send_pictures: bool = False


class Worker(NamedTuple):
    """A worker that is there."""

    share: int  # how many workers its computer has
    is_ready: bool  # not if its memory is short, for example


class ConnectionLost(Exception):
    """The scheduler could not be reached for a while, and has forgotten what it was asked for."""


class WorkersKilled(Exception):
    """Several workers at one address, one after the other, ended while they computed this."""


def check(options: Options) -> str:
    """The address of the scheduler, or local:N. Raises UserError if Dask is missing, or if it is no
    address that may be spoken to."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise UserError(NO_DASK) from None
    if LOCAL.fullmatch(options.address):
        return options.address
    address = options.address
    if "://" not in address and not address.startswith("local:"):
        address = scheduler_of(address)
    parts = ADDRESS.fullmatch(address)
    if not parts:
        raise UserError(
            f"--cluster takes tcp://host:8786, tls://host:8786, a scheduler file or local:2, not "
            f"{address}"
        )
    scheme, host = parts[1], parts[2].strip("[]")
    if scheme == "tls" and not options.security:
        raise UserError(
            f"{address} wants keys: name the folder of {', '.join(KEYS)} with --cluster-security"
        )
    if scheme == "tcp" and options.security:
        raise UserError(f"{address} is without TLS: with --cluster-security, name tls://{host}:...")
    if scheme == "tcp" and not options.insecure and not is_here(host):
        raise UserError(
            f"{address} is another computer, where anybody who reaches the port could run programs: "
            "use TLS (docs/cluster.md), or --insecure-cluster if you trust all of that network"
        )
    return address


def hostname(address: str) -> str | None:
    """The host of an address, None if it has no host or no port."""
    try:
        parts = urlsplit(address)
        return parts.hostname if parts.port else None
    except ValueError:
        return None


def scheduler_of(path: str) -> str:
    """The address in a file that a scheduler has written. Raises UserError if there is none."""
    try:
        with open_regular(path, MOST_DESCRIBED, follow=True) as file:
            address = parse_json(file.read())["address"]
    except FileNotFoundError:
        if ADDRESS.fullmatch(f"tcp://{path}"):
            raise UserError(f"--cluster {path} lacks its protocol: write tcp://{path}") from None
        raise UserError(
            f"there is no scheduler file {path}: start dask scheduler with --scheduler-file, or "
            "give --cluster an address such as tcp://host:8786 or local:2"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        address = None
    if not isinstance(address, str):
        raise UserError(f"{path} is no scheduler file: dask scheduler --scheduler-file writes one")
    return address


def is_here(host: str) -> bool:
    """Whether a host is this computer and no other one is reached by its name."""
    try:
        found = {str(item[4][0]) for item in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(is_own_address(address) for address in found)


def is_own_address(address: str) -> bool:
    """Whether an address belongs to this computer, which then can listen there."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        return True
    return False


def security_of(folder: str) -> Any:
    """distributed.Security of the KEYS in a folder. Raises UserError if one is missing."""
    from distributed import Security

    paths = [os.path.join(folder, name) for name in KEYS]
    for path in paths:
        if not os.path.isfile(path) or not os.access(path, os.R_OK):
            raise UserError(
                f"--cluster-security {folder} must hold {', '.join(KEYS)}, and {path} can't be read"
            )
    ca, cert, key = paths
    tls_of(folder)
    return Security(
        tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True
    )


def tls_of(folder: str) -> ssl.SSLContext:
    """What speaks TLS by the KEYS in a folder. As in Dask, names of hosts do not count. Raises
    UserError if the keys can't be used."""
    ca, cert, key = (os.path.join(folder, name) for name in KEYS)
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
        context.check_hostname = False
        context.load_cert_chain(cert, key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UserError(
            f"the keys in --cluster-security {folder} can't be used ({one_reason(error)}): make "
            "them anew (docs/cluster.md)"
        ) from None
    return context


def knock(address: str, security: str | None) -> None:
    """See whether a scheduler answers at an address: it speaks first, by the length of what it says.
    Dask itself would wait for ever, or take what another service says for a length. Raises UserError
    or Undone."""
    parts = ADDRESS.fullmatch(address)
    assert parts  # it was checked
    try:
        with socket.create_connection((parts[2].strip("[]"), int(parts[3])), TIMEOUT) as plain:
            speaks = tls_of(security).wrap_socket(plain) if security else plain
            said = speaks.recv(8)
    except ssl.SSLError as error:
        raise UserError(
            f"the scheduler at {address} and the keys in {security} do not fit together "
            f"({error.reason or one_reason(error)}): use the folder that it was started with"
        ) from None
    except TimeoutError:
        said = b""
    except (OSError, OverflowError) as error:
        if isinstance(error, ConnectionResetError):
            said = b""
        else:
            raise Undone(
                f"no scheduler answers at {address} ({getattr(error, 'strerror', None) or error}): "
                "start one by python -m dask scheduler, and run the same command again"
            ) from None
    if len(said) < 8 or int.from_bytes(said, "little") > MOST_DESCRIBED:
        other = "tcp" if security else "tls"
        raise UserError(
            f"what listens at {address} is no scheduler that speaks so: see whether it is "
            f"{other}://, or name another port"
        )


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C in the block. Signals can be set in the main thread only; elsewhere there are
    none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
                        cluster = distributed.LocalCluster(
                            n_workers=int(local[1]),
                            threads_per_worker=1,
                            memory_limit=MEMORY_LIMIT // int(local[1]),
                            processes=True,
                            host="127.0.0.1",
                            dashboard_address=None,
                            silence_logs=logging.CRITICAL,
                        )
                    stack.enter_context(cluster)
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
                    f"no scheduler answers at {address} ({one_reason(error)}): start one by "
                    "python -m dask scheduler, and run the same command again"
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
            found = self.client.scheduler_info()["workers"]
        except Exception:  # of the network, of tornado, or a client that was closed
            if self.client.status in ("running", "connecting"):
                return before
            raise self.lost() from None
        hosts = collections.Counter(map(hostname, found))
        return {
            address: Worker(
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
        WorkersKilled, or Undone."""
        import distributed

        if future.status == "cancelled" or future.status == "lost":
            raise ConnectionLost
        try:
            return future.result(timeout=ANSWER)
        except (distributed.CancelledError, distributed.client.FutureCancelledError):
            raise ConnectionLost from None
        except distributed.KilledWorker:
            raise WorkersKilled from None

    def lost(self) -> Undone:
        return Undone(
            f"the scheduler at {self.options.address} can't be reached any more; what is done is "
            "kept: start it again, and run the same command"
        )


def one_reason(error: BaseException) -> str:
    """The first line of what an error says."""
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
