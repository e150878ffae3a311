"""The connections of all requests: one look-up of a name, one checked address, one deadline.

In: the name of a host, from a URL that a person, a shop or a redirect gave. Out: a connection to one
of its addresses. A name is looked up once, and the address that was checked is the one that is used,
so that a name server can't slip another in between. The deadline of a request holds for all that
the host sends: status, headers, body and what follows it, however slowly they come.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import http.client
import http.cookiejar
import io
import logging
import math
import socket
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import requests
import urllib3

from common.terminal import VERSION
from crawling.private_addresses import PRIVATE, PrivateAddress, is_public

MOST_ADDRESSES = 8  # of a host that are tried: each may take all of the time for connecting
MOST_SETTINGS = 1000  # hosts whose settings are held
# When the request of this thread must be done, by time.monotonic.
DEADLINE: contextvars.ContextVar[float] = contextvars.ContextVar("deadline", default=math.inf)


@contextlib.contextmanager
def done_within(seconds: float) -> Iterator[None]:
    """In the block, no answer is read for longer than that: it raises TimeoutError, which the
    libraries wrap as they do it for a host that is silent."""
    token = DEADLINE.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        DEADLINE.reset(token)


class UntilDeadline(io.RawIOBase):
    """What a socket receives until the deadline, which no single read waits beyond."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self.raw, self.sock = raw, sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = DEADLINE.get() - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        longest = self.sock.gettimeout()
        if longest is None or left < longest:
            self.sock.settimeout(left)
        return self.raw.readinto(buffer)  # type: ignore[attr-defined]

    def close(self) -> None:
        self.raw.close()
        super().close()


class TimedAnswer(http.client.HTTPResponse):
    """An answer that is read until the deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()  # type: ignore[attr-defined]
        self.fp = io.BufferedReader(UntilDeadline(raw, sock))


def connect(conn: Any, public_only: bool) -> socket.socket:
    """A socket to the host of a urllib3 connection. Looks the name up once, and notes in
    conn.at_public whether an address is public. Raises PrivateAddress if only public ones are wanted
    and one is not."""
    try:
        entries = socket.getaddrinfo(conn.host, conn.port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise urllib3.exceptions.NameResolutionError(conn.host, conn, error) from None
    except UnicodeError as error:  # no name of a host can be made of it
        raise urllib3.exceptions.NameResolutionError(
            conn.host, conn, socket.gaierror(str(error))
        ) from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    conn.at_public = any(map(is_public, addresses))
    if public_only and not all(map(is_public, addresses)):
        raise PrivateAddress(PRIVATE)
    problem: OSError | None = None
    for address in addresses[:MOST_ADDRESSES]:
        try:
            return urllib3.util.connection.create_connection(
                (address, conn.port), conn.timeout, conn.source_address, conn.socket_options
            )
        except OSError as error:
            problem = error
    if isinstance(problem, TimeoutError):
        raise urllib3.exceptions.ConnectTimeoutError(conn, "no connection in time")
    raise urllib3.exceptions.NewConnectionError(conn, str(problem))


class Connection(urllib3.connection.HTTPConnection):
    response_class = TimedAnswer
    _new_conn = functools.partialmethod(connect, False)


class TLSConnection(urllib3.connection.HTTPSConnection):
    response_class = TimedAnswer
    _new_conn = functools.partialmethod(connect, False)


class PublicConnection(Connection):
    _new_conn = functools.partialmethod(connect, True)


class PublicTLSConnection(TLSConnection):
    _new_conn = functools.partialmethod(connect, True)


class Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = Connection


class TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = TLSConnection


class PublicPool(urllib3.HTTPConnectionPool):
    ConnectionCls = PublicConnection


class PublicTLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = PublicTLSConnection


class Adapter(requests.adapters.HTTPAdapter):
    """A transport of the requests library with these connections, to proxies too."""

    pools: dict[str, Any] = {"http": Pool, "https": TLSPool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self.pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if proxy.lower().startswith("http"):  # SOCKS has its own
            manager.pool_classes_by_scheme = self.pools
        return manager


class PublicAdapter(Adapter):
    """A transport that connects to public addresses only."""

    pools = {"http": PublicPool, "https": PublicTLSPool}


def is_at_public(response: requests.Response) -> bool:
    """Whether the host of an answer that is not read yet has a public address. True if nobody knows,
    as of what a proxy asked."""
    connection = response.raw.connection
    if getattr(connection, "proxy", None) is not None:
        return True
    return getattr(connection, "at_public", True)


# ---- sessions -----------------------------------------------------------------------------------


class Session(requests.Session):
    """A session that follows no redirect, and leaves the body of one unread: the library would read
    all of it, however much that is. What the environment says of a host, a proxy and certificates,
    is looked up once: the library goes through all of the environment with each request."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: dict[tuple[str, str], Any] = {}  # (scheme, host) -> what is said of it

    def merge_environment_settings(self, url: Any, *args: Any) -> Any:
        parts = urllib.parse.urlsplit(url)
        host = (parts.scheme, parts.netloc)
        if len(self.settings) > MOST_SETTINGS:
            self.settings.clear()
        if host not in self.settings:
            self.settings[host] = super().merge_environment_settings(url, *args)
        return self.settings[host]

    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Any:
        return iter(())


def new_session(connections: int, hosts: int, public_only: bool) -> requests.Session:
    """A requests session that says what it is, takes no cookies, sends no password of ~/.netrc and
    keeps up to `connections` connections to each of the last `hosts` hosts. With public_only it uses
    no proxy, because a proxy would look names up itself."""
    # Lines of urllib3's log hold whole URLs, and so the key.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    session = Session()
    session.headers["User-Agent"] = f"ProductClassifier-crawl/{VERSION}"
    session.headers["Accept-Encoding"] = "gzip, deflate"  # what unpacking.py unpacks
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.auth = lambda request: request
    session.trust_env = not public_only
    adapter = PublicAdapter if public_only else Adapter
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter(pool_connections=hosts, pool_maxsize=connections))
    return session


def plain_reason(error: Exception) -> str:
    """A network error in words. Never its own text, which quotes the URL and so the key."""
    if isinstance(error, (requests.Timeout, TimeoutError, urllib3.exceptions.TimeoutError)):
        return "no answer in time"
    if isinstance(error, (requests.exceptions.SSLError, urllib3.exceptions.SSLError)):
        return "no secure connection"
    if isinstance(error, (urllib3.exceptions.ProtocolError, urllib3.exceptions.DecodeError)):
        return "an answer broken off"
    if isinstance(error, requests.ConnectionError) and "NameResolution" in repr(error):
        return "its host was not found"
    return "no connection"
