"""Requests with manners: how crawl.py asks anybody for anything.

In: URLs. Out: whole answers within limits of size and time, or a reason in words that never quotes
a URL, for that may hold a key. A rate for each host, connections kept alive, exponential backoff
with full jitter, Retry-After obeyed, and no private address reached unless that is allowed.

    python crawl.py --image-rate 2
    python crawl.py --api-url http://127.0.0.1:8080/api/v2/ --allow-private
"""
import collections
import datetime
import email.utils
import http.client
import http.cookiejar
import ipaddress
import logging
import random
import socket
import threading
import time
import urllib.parse
from typing import Any, NamedTuple

import requests
import urllib3

from common.terminal import VERSION, UserError

TIMEOUT = (10, 30)      # seconds to connect, and between two pieces of an answer
LONGEST = 120           # seconds for all of an answer: a piece now and then is no answer
MOST_BYTES = 20_000_000
TRIES = 5
LONGEST_PAUSE = 15 * 60   # a host that asks for more is left alone in this run
PASSING = {408, 425, 429, *range(500, 600)}   # statuses after which another try may do better
MAPPED = ipaddress.ip_network("64:ff9b::/96")   # IPv4 addresses behind NAT64


class Unfinished(Exception):
    """Something that may succeed another time; its text says what happened, without a URL."""


class Unreachable(Unfinished):
    """The host gave no answer at all."""


class GivenUp(Unfinished):
    """The host failed so many times in a row that it is left alone for this run."""


class Stopped(Unfinished):
    """Somebody wants the run to end."""


PRIVATE = "its host is at a private address (--allow-private)"


class PrivateAddress(ValueError):
    """The host is at an address that is not of the open internet."""


class Again(Exception):
    """This try failed, another may not."""


class Answer(NamedTuple):
    status: int
    headers: Any      # a dict of any case
    body: bytes       # b'' where it went into a file
    measured: bool    # whether its length was told, so that a cut would have been seen


# ---- addresses ----------------------------------------------------------------------------------

def is_public(address):
    """Whether an IP address, as text, is one of the open internet, also where it holds another."""
    found = ipaddress.ip_address(address)
    if found.version == 6:
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if found in MAPPED:
            inner = ipaddress.ip_address(int(found) & 0xffffffff)
        if inner is not None and not is_public(str(inner)):
            return False
    return found.is_global and not found.is_multicast


def public_connection(conn):
    """A socket to the host of a urllib3 connection. Looks the name up once, checks every address
    and connects to one of those, so that nobody can slip another in between. Raises PrivateAddress
    where one is not public."""
    try:
        found = socket.getaddrinfo(conn.host, conn.port, 0, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise urllib3.exceptions.NameResolutionError(conn.host, conn, error) from None
    addresses = list(dict.fromkeys(entry[4][0] for entry in found))
    if not all(map(is_public, addresses)):
        raise PrivateAddress(PRIVATE)
    for address in addresses:
        try:
            return urllib3.util.connection.create_connection(
                (address, conn.port), conn.timeout, conn.source_address, conn.socket_options)
        except OSError as error:
            problem = error
    if isinstance(problem, TimeoutError):
        raise urllib3.exceptions.ConnectTimeoutError(conn, "no connection in time")
    raise urllib3.exceptions.NewConnectionError(conn, str(problem))


class PublicConnection(urllib3.connection.HTTPConnection):
    _new_conn = public_connection


class PublicTLSConnection(urllib3.connection.HTTPSConnection):
    _new_conn = public_connection


class PublicPool(urllib3.HTTPConnectionPool):
    ConnectionCls = PublicConnection


class PublicTLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = PublicTLSConnection


class PublicAdapter(requests.adapters.HTTPAdapter):
    """Connects to public addresses only."""

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": PublicPool, "https": PublicTLSPool}


# ---- one request --------------------------------------------------------------------------------

def new_session(connections, public_only):
    """A requests session that says what it is, takes no cookies, sends no password of ~/.netrc and
    keeps so many connections to a host. With public_only it uses no proxy, which would look names
    up itself."""
    # Its lines on stderr or in somebody's log hold whole URLs, and so the key.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    session = requests.Session()
    session.headers["User-Agent"] = f"ProductClassifier-crawl/{VERSION}"
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.auth = lambda request: request
    session.trust_env = not public_only
    adapter = PublicAdapter if public_only else requests.adapters.HTTPAdapter
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter(pool_connections=64, pool_maxsize=connections))
    return session


def plain_reason(error):
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


def read_body(response, most, seconds, sink=None, stop=None):
    """All bytes of a response, b'' where they go into the file `sink`. Raises ValueError beyond
    `most` bytes, requests.Timeout beyond `seconds`, UserError where sink can't be written, Stopped
    where stop is set in the middle of what goes into one."""
    pieces, size, deadline = [], 0, time.monotonic() + seconds
    # Not iter_content, which waits for a whole piece: ten bytes now and then would never end.
    while piece := response.raw.read1(65536, decode_content=True):
        size += len(piece)
        if size > most:
            raise ValueError(f"more than {most} bytes")
        if time.monotonic() > deadline:
            raise requests.Timeout()
        if sink is None:
            pieces.append(piece)
            continue
        if stop and stop.is_set():
            raise Stopped("stopped")
        try:
            sink.write(piece)
        except OSError as error:   # a full disk is no fault of the network
            raise UserError(f"{sink.name}: {error.strerror}; make room, or set TMPDIR") from None
    return b"".join(pieces)


def host_of(url):
    """Host and port of a URL. Raises ValueError where it is no http(s) URL with a host."""
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.username is None:
            return f"{parts.hostname}:{parts.port or parts.scheme}"
    except ValueError:   # half an IPv6 address, a port that is no number
        pass
    raise ValueError("not a URL that can be fetched")


def pause_asked(headers):
    """The seconds that a Retry-After asks for, which may be a date; 0 without one."""
    asked = (headers.get("Retry-After") or "").strip()
    if asked.isdecimal() and len(asked) < 10:
        return int(asked)
    try:
        until = email.utils.parsedate_to_datetime(asked)
        if until.tzinfo is None:
            until = until.replace(tzinfo=datetime.timezone.utc)
        return max(0.0, (until - datetime.datetime.now(datetime.timezone.utc)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0


# ---- many requests ------------------------------------------------------------------------------

class Web:
    """What all requests of a run share; threads may use it together.

    `rate` is requests a second to one host, 0 for no limit; `stop` a threading.Event that ends all
    waiting; `connections` how many requests may be under way; `give_up` the failures in a row after
    which a host is left alone. counts has requests, tries again and bytes.
    """

    def __init__(self, rate, stop, connections=1, tries=TRIES, give_up=20, public_only=False):
        self.session = new_session(connections, public_only)
        self.rate, self.stop, self.tries, self.give_up = rate, stop, tries, give_up
        self.lock, self.slots = threading.Lock(), threading.Semaphore(connections)
        self.counts = collections.Counter()
        self.failures = collections.Counter()   # in a row, by host
        self.private = set()   # hosts at private addresses, which need no turn
        self.turn = {}       # host -> when its next request may start
        self.pause = {}      # host -> until when it wants to be left alone

    def sleep(self, seconds):
        if self.stop.wait(max(0.0, seconds)):
            raise Stopped("stopped")

    def wait(self, host):
        """Until it is this request's turn at the host. Raises GivenUp and Stopped."""
        with self.lock:
            if self.failures[host] >= self.give_up:
                raise GivenUp(f"{self.give_up} failures in a row: the host is left alone")
            now = time.monotonic()
            turn = max(now, self.turn.get(host, now))
            self.turn[host] = turn + (1 / self.rate if self.rate else 0)
        self.sleep(turn - now)
        while (left := self.pause.get(host, 0) - time.monotonic()) > 0:
            self.sleep(left)

    def ask(self, url, params, redirects, most, seconds, sink):
        """One try. Raises Again, or ValueError where no other try will do better."""
        counted = 0
        try:
            for hop in range(redirects + 1):
                host, counted = host_of(url), 0
                if host in self.private:
                    raise PrivateAddress(PRIVATE)
                self.wait(host)
                if sink:
                    sink.seek(0)
                    sink.truncate()
                with self.lock:
                    self.counts["requests"] += 1
                counted = 1
                with self.slots, self.session.get(url, params=params, timeout=TIMEOUT, stream=True,
                                                  allow_redirects=False) as response:
                    target = self.session.get_redirect_target(response)
                    if not target or not redirects:
                        body = read_body(response, most, seconds, sink, self.stop)
                        return Answer(response.status_code, response.headers, body, bool(
                            {"content-length", "transfer-encoding"} & {
                                name.lower() for name in response.headers}))
                url, params = urllib.parse.urljoin(url, target), None
            raise ValueError("too many redirects")
        except PrivateAddress:
            with self.lock:
                self.counts["requests"] -= counted   # none was sent
                self.private.add(host)
            raise
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ValueError("its host's certificate is not valid") from None
            raise Again(plain_reason(error)) from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema,
                requests.exceptions.MissingSchema, UnicodeError,
                urllib3.exceptions.LocationParseError):
            raise ValueError("not a URL that can be fetched") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException,
                OSError) as error:
            raise Again(plain_reason(error)) from None

    def get(self, url, judge, params=None, redirects=0, most=MOST_BYTES, seconds=LONGEST,
            sink=None):
        """What judge(Answer) makes of a URL's answer; it raises Again where another try may do
        better.

        Raises Unfinished where another run may have more luck (Unreachable where no try had an
        answer), ValueError where it will not, and whatever judge raises.
        """
        host, answered = host_of(url), False
        for attempt in range(self.tries):
            if attempt:
                self.sleep(random.uniform(0, min(60, 2 ** attempt)))
                with self.lock:
                    self.counts["tries again"] += 1
            try:
                answer = self.ask(url, params, redirects, most, seconds, sink)
                answered = True
                if answer.status in PASSING:
                    self.heed(host, answer, attempt)
                    raise Again(f"error {answer.status}")
                found = judge(answer)
            except Again as problem:
                reason = str(problem)
            except (Stopped, GivenUp):
                raise
            except Exception:   # whatever it is, the host has answered
                with self.lock:
                    self.failures[host] = 0
                raise
            else:
                with self.lock:
                    self.failures[host] = 0
                    self.counts["bytes"] += len(answer.body)
                return found
        with self.lock:
            self.failures[host] += 1
        raise (Unfinished if answered else Unreachable)(reason)

    def heed(self, host, answer, attempt):
        """Leave a host alone that asks for it. Raises GivenUp where that is too long."""
        seconds = pause_asked(answer.headers)
        if seconds > LONGEST_PAUSE:
            with self.lock:
                self.failures[host] = self.give_up
            raise GivenUp(f"it asks to be left alone for {seconds / 60:.0f} min")
        if not seconds and answer.status in (429, 503):
            seconds = random.uniform(0, 2 ** (attempt + 1))
        with self.lock:
            self.pause[host] = max(self.pause.get(host, 0), time.monotonic() + seconds)
