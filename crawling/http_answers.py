"""Answers to HTTP requests: their bytes within limits, what their headers ask for, what went wrong.

In: a response of requests. Out: its bytes, unpacked, or an exception in words that never quotes a
URL. http_client.py asks, waits and retries.

    python crawl.py --feed products.tsv
"""

from __future__ import annotations

import datetime
import email.utils
import threading
import time
from collections.abc import Mapping
from typing import IO, NamedTuple

import requests

from common.terminal import UserError
from crawling.unpacking import content_of

LARGE = 100_000_000  # bytes; what is more than that must not be packed too well
MOST_PACKING = 400  # how many times smaller than its content a large answer may be packed


class Unfinished(Exception):
    """Another run may succeed. The text says what happened, without a URL."""


class Unreachable(Unfinished):
    """The host gave no answer at all."""


class GivenUp(Unfinished):
    """The host failed so many times in a row that it is left alone in this run."""


class Stopped(Unfinished):
    """Somebody wants the run to end."""


class Again(Exception):
    """This try failed, but another one may succeed."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]  # their names in any case
    body: bytes  # b'' if it went into a file
    measured: bool  # whether its length was given, so that a cut would have been seen


def read_body(
    response: requests.Response,
    most: int,
    seconds: float,
    sink: IO[bytes] | None = None,
    stop: threading.Event | None = None,
) -> bytes:
    """All bytes of a response, unpacked; b'' if they go into the file `sink`.

    Raises urllib3's DecodeError if what is packed does not come to its end, ValueError beyond
    `most` bytes and requests.Timeout beyond `seconds`. With a sink, also UserError if it can't be
    written, and Stopped as soon as a `stop` is set.
    """
    pieces, size, deadline = [], 0, time.monotonic() + seconds
    # Not iter_content, which waits for a whole piece: ten bytes now and then would never end.
    raw = iter(lambda: response.raw.read1(65536, decode_content=False), b"")
    for piece in content_of(raw, response.headers.get("Content-Encoding") or ""):
        size += len(piece)
        if size > most:
            raise ValueError(f"more than {most} bytes")
        if size > LARGE and size > MOST_PACKING * response.raw.tell():
            raise ValueError(f"unpacks to more than {MOST_PACKING} times its size")
        if time.monotonic() > deadline:
            raise requests.Timeout()
        if sink is None:
            pieces.append(piece)
            continue
        if stop and stop.is_set():
            raise Stopped("stopped")
        try:
            sink.write(piece)
        except OSError as error:  # a full disk is not the network's fault
            raise UserError(f"{sink.name}: {error.strerror}; make room, or set TMPDIR") from None
    return b"".join(pieces)


def has_length(headers: Mapping[str, str]) -> bool:
    """Whether an answer says how long it is, at the beginning or piece by piece."""
    return any(name.lower() in ("content-length", "transfer-encoding") for name in headers)


def pause_asked(headers: Mapping[str, str]) -> float:
    """The seconds that a Retry-After asks for, which may be a date; 0 without one. A date is one of
    the server's clock, which says its time too; this computer's may be wrong."""
    asked = (headers.get("Retry-After") or "").strip()
    if asked.isdecimal() and len(asked) < 10:
        return int(asked)
    try:
        until = moment(asked)
        return max(0.0, (until - answered_at(headers)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0


def answered_at(headers: Mapping[str, str]) -> datetime.datetime:
    """When the server says that it has answered; now, if it does not say."""
    try:
        return moment(headers.get("Date") or "")
    except (ValueError, TypeError, OverflowError):
        return datetime.datetime.now(datetime.timezone.utc)


def moment(text: str) -> datetime.datetime:
    """A date of HTTP. Raises ValueError, TypeError or OverflowError if it is none."""
    read = email.utils.parsedate_to_datetime(text)
    return read if read.tzinfo else read.replace(tzinfo=datetime.timezone.utc)
