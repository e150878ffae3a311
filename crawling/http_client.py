"""Polite HTTP requests: everything that crawl.py asks a server for goes through here.

In: URLs. Out: whole answers within limits of size and time, or a reason in words that never quotes
a URL, because a URL may hold a key. Each host has a rate; connections are kept alive; a request
that may succeed later is retried with exponential backoff and full jitter; Retry-After is obeyed.
A redirect from a public host leads to public addresses only, and so does each link of a shop,
unless private ones are allowed (connections.py, private_addresses.py).

    python crawl.py --image-rate 2
    python crawl.py --api-url http://127.0.0.1:8080/api/v2/ --allow-private
"""

from __future__ import annotations

import collections
import http.client
import random
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple, TypeVar

import requests
import urllib3

from crawling.connections import done_within, is_at_public, new_session, plain_reason
from crawling.http_answers import (
    Again,
    Answer,
    GivenUp,
    Stopped,
    Unfinished,
    Unreachable,
    has_length,
    pause_asked,
    read_body,
)
from crawling.private_addresses import PRIVATE, PrivateAddress, check_name

TIMEOUT = (10, 30)  # seconds to connect, and between two pieces of an answer
LONGEST = 120  # seconds for all of an answer: a piece now and then is no answer
MOST_BYTES = 20_000_000
HOSTS = 8  # of which connections are kept
TRIES = 5
LONGEST_PAUSE = 15 * 60  # seconds; a host that asks for more is left alone in this run
RETRIED = {408, 425, 429, *range(500, 600)}  # statuses after which another try may do better

Result = TypeVar("Result")


class Request(NamedTuple):
    """What is asked for besides the URL, and the limits of the answer."""

    params: Mapping[str, Any] | None  # of the query
    redirects: int  # how many are followed
    most: int  # bytes of the answer
    seconds: float  # for all of the answer
    sink: IO[bytes] | None  # a file that takes the answer's body, None to return it


class Redirect(NamedTuple):
    target: str  # an address, which may be relative
    public: bool  # whether the host that says it is at a public address


# ---- one request --------------------------------------------------------------------------------


def host_of(url: str) -> str:
    """Host and port of a URL. Raises ValueError unless it is an http(s) URL with a host and without
    a user's name."""
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.username is None:
            return f"{parts.hostname}:{parts.port or parts.scheme}"
    except ValueError:  # half an IPv6 address, a port that is no number
        pass
    raise ValueError("not a URL that can be fetched")


# ---- many requests ------------------------------------------------------------------------------


class Web:
    """What all requests of a run share; threads may use it together.

    `rate` is how many requests a second one host gets, 0 for no limit. Setting `stop` ends all
    waiting. `connections` is how many requests may be under way at once at one host, and `hosts` of
    how many hosts connections are kept; `tries` is how often a request is tried; `give_up` after
    how many failures in a row a host is left alone. `public_only` is for links that a shop gave: no
    private address is reached; with public_redirects, none is reached by a redirect of a public
    host. `counts` has the numbers of requests, retries and bytes.
    """

    def __init__(
        self,
        rate: float,
        stop: threading.Event,
        connections: int = 1,
        tries: int = TRIES,
        give_up: int = 20,
        public_only: bool = False,
        public_redirects: bool = False,
        hosts: int = HOSTS,
    ) -> None:
        self.session = new_session(connections, hosts, public_only)
        self.public_session = new_session(connections, hosts, True) if public_redirects else None
        self.rate, self.stop, self.tries, self.give_up = rate, stop, tries, give_up
        self.lock = threading.Lock()
        # Host -> the requests that may still begin there.
        self.slots = collections.defaultdict[str, threading.Semaphore](
            lambda: threading.Semaphore(connections)
        )
        self.counts: collections.Counter[str] = collections.Counter()
        self.failures: collections.Counter[str] = collections.Counter()  # in a row, by host
        # Hosts at private addresses, by the session that may not ask them: they need no turn.
        self.private: set[tuple[str, requests.Session]] = set()
        self.turn: dict[str, float] = {}  # host -> when its next request may start
        self.pause: dict[str, float] = {}  # host -> until when it wants to be left alone

    def get(
        self,
        url: str,
        judge: Callable[[Answer], Result],
        params: Mapping[str, Any] | None = None,
        redirects: int = 0,
        most: int = MOST_BYTES,
        seconds: float = LONGEST,
        sink: IO[bytes] | None = None,
    ) -> Result:
        """What judge(Answer) returns for a URL's answer; it raises Again if another try may do
        better. The other arguments are those of a Request.

        Raises Unfinished if another run may succeed (Unreachable if no try had an answer),
        ValueError if none will, and whatever judge raises.
        """
        host, request = host_of(url), Request(params, redirects, most, seconds, sink)
        answered, reason = False, ""
        for attempt in range(self.tries):
            if attempt:
                self.sleep(random.uniform(0, min(60, 2**attempt)))
                self.count("retries", 1)
            try:
                answer = self.ask(url, request)
                answered = True
                if answer.status in RETRIED:
                    self.leave_alone(host, answer, attempt)
                    raise Again(f"error {answer.status}")
                result = judge(answer)
            except Again as problem:
                reason = str(problem)
                continue
            except (Stopped, GivenUp):
                raise
            except Exception:  # whatever it is, the host has answered
                self.set_failures(host, 0)
                raise
            self.set_failures(host, 0)
            self.count("bytes", sink.tell() if sink else len(answer.body))
            return result
        with self.lock:
            self.failures[host] += 1
        raise (Unfinished if answered else Unreachable)(reason)

    def ask(self, url: str, request: Request) -> Answer:
        """One try. Raises Again, or ValueError if no other try will do better."""
        params, public = request.params, False
        try:
            for _ in range(request.redirects + 1):
                answer = self.send(url, params, request, public)
                if isinstance(answer, Answer):
                    return answer
                url, params = urllib.parse.urljoin(url, answer.target), None
                public = public or answer.public
            raise ValueError("too many redirects")
        except requests.exceptions.SSLError as error:
            if "expired" in str(error) or "not yet valid" in str(error):
                self.set_failures(host_of(url), self.give_up)
                raise GivenUp(
                    "its host's certificate is not valid at this computer's time: is its clock right?"
                ) from None
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ValueError("its host's certificate is not valid") from None
            raise Again(plain_reason(error)) from None
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
            UnicodeError,
            urllib3.exceptions.LocationParseError,
        ):
            raise ValueError("not a URL that can be fetched") from None
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
        ) as error:
            raise Again(plain_reason(error)) from None

    def session_for(self, url: str, public: bool) -> requests.Session:
        """The session to ask a URL by; `public` if it must lead to a public address because a public
        host redirects there. A proxy looks names up itself, so that only what is known here can be
        checked then."""
        if not public or self.public_session is None:
            return self.session
        if requests.utils.get_environ_proxies(url):
            check_name(urllib.parse.urlsplit(url).hostname)
            return self.session
        return self.public_session

    def send(
        self, url: str, params: Mapping[str, Any] | None, request: Request, public: bool
    ) -> Answer | Redirect:
        """Ask one host, when its turn comes: its answer, or a redirect to follow."""
        host, session = host_of(url), self.session_for(url, public)
        if (host, session) in self.private:
            raise PrivateAddress(PRIVATE)
        self.wait_turn(host)
        try:
            with self.slots[host]:
                self.check_host(host)  # it may have failed while this request waited
                return self.exchange(session, url, params, request)
        except PrivateAddress:
            self.count("requests", -1)  # none was sent
            with self.lock:
                self.private.add((host, session))
            raise

    def exchange(
        self,
        session: requests.Session,
        url: str,
        params: Mapping[str, Any] | None,
        request: Request,
    ) -> Answer | Redirect:
        """Send one request, whose turn it is."""
        if request.sink:  # an earlier try may have left something there
            request.sink.seek(0)
            request.sink.truncate()
        self.count("requests", 1)
        with (
            done_within(request.seconds),
            session.get(
                url, params=params, timeout=TIMEOUT, stream=True, allow_redirects=False
            ) as response,
        ):
            target = session.get_redirect_target(response)
            if target and request.redirects:
                return Redirect(target, is_at_public(response))
            # What may take long is not finished first if the script is told to stop.
            stop = self.stop if request.seconds > LONGEST else None
            body = read_body(response, request.most, request.seconds, request.sink, stop)
            return Answer(
                response.status_code, response.headers, body, has_length(response.headers)
            )

    def wait_turn(self, host: str) -> None:
        """Wait until it is this request's turn at the host. Raises GivenUp and Stopped."""
        with self.lock:
            self.check_host(host)
            self.slots[host]  # is made while nobody else can make it
            now = time.monotonic()
            turn = max(now, self.turn.get(host, now))
            self.turn[host] = turn + (1 / self.rate if self.rate else 0)
        self.sleep(turn - now)
        while (left := self.pause.get(host, 0) - time.monotonic()) > 0:
            self.sleep(left)

    def check_host(self, host: str) -> None:
        """Raises GivenUp if the host has failed too often."""
        if self.failures[host] >= self.give_up:
            raise GivenUp(f"{self.give_up} failures in a row: the host is left alone")

    def leave_alone(self, host: str, answer: Answer, attempt: int) -> None:
        """Leave a host alone for as long as its answer asks for. Raises GivenUp if that is longer
        than LONGEST_PAUSE."""
        seconds = pause_asked(answer.headers)
        if seconds > LONGEST_PAUSE:
            self.set_failures(host, self.give_up)
            raise GivenUp(f"it asks to be left alone for {seconds / 60:.0f} min")
        if not seconds and answer.status in (429, 503):
            seconds = random.uniform(0, 2 ** (attempt + 1))
        with self.lock:
            self.pause[host] = max(self.pause.get(host, 0), time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Sleep, unless `stop` is set or gets set. Raises Stopped then."""
        if self.stop.wait(max(0.0, seconds)):
            raise Stopped("stopped")

    def count(self, name: str, number: int) -> None:
        with self.lock:
            self.counts[name] += number

    def set_failures(self, host: str, number: int) -> None:
        with self.lock:
            self.failures[host] = number
