"""Every fault of a shop, over real HTTP on loopback: what passes is ridden out, what does not waits
for the next run, and the key goes nowhere else."""

import concurrent.futures
import contextlib
import email.utils
import functools
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from conftest import REPO, environment
from loopback import HERE, catalogue, crawled, products_of, run, select, shop_at, state

import crawl
from common.terminal import VERSION
from crawling import api_crawl, http_client, private_addresses

# ---- faults of the API --------------------------------------------------------------------------


def test_faults_that_pass_are_ridden_out_and_a_leaf_that_fails_waits_for_the_next_run(
    serve, tmp_path
):
    server = serve(catalogue(per_leaf=56))
    run(tmp_path / "whole", server)
    faults = {
        "boot": [(500, b"oops")],
        "slim": [(200, {"errorCode": 404, "errorName": "Gone"})],
        "tote": [None, (200, b"<html>maintenance</html>")],
    }

    def script(path, query):
        if path == "products" and faults[query["cat"]]:
            return faults[query["cat"]].pop(0)

    server.script = script
    done = run(tmp_path / "faulty", server, status=1)
    assert "slim is not finished" in done.stderr and "1 category is not done" in done.stderr
    assert "error 404" in done.stderr and "boot is not" not in done.stderr
    assert select(
        tmp_path / "faulty", "select id from category where leaf = 1 and crawled = 0"
    ) == [("slim",)]
    server.seen.clear()
    run(tmp_path / "faulty", server)
    assert {cat for _, cat, _ in products_of(server)} == {"slim"}
    assert state(tmp_path / "faulty") == state(tmp_path / "whole")


def test_a_leaf_crawled_late_takes_products_and_their_count_from_the_others(serve, tmp_path):
    """Products whose list names no leaf of the tree are filed by where they were found."""
    down = set()

    def script(path, query):
        if path == "products":
            if query["cat"] in down:
                return 404, {"errorCode": 404}
            return 200, {
                "metadata": {"total": 2},
                "products": [
                    {"id": 1, "name": "Jean"},
                    {"id": 2, "name": "Gown", "categories": []},
                ],
            }

    server = serve(script=script)
    run(tmp_path / "whole", server)
    down.add("tote")  # bags/tote is the first in path order
    run(tmp_path / "late", server, status=1)
    assert select(tmp_path / "late", "select distinct category_id from product") == [("boot",)]
    down.clear()
    run(tmp_path / "late", server)
    assert state(tmp_path / "late") == state(tmp_path / "whole")
    assert select(
        tmp_path / "late", "select id, product_count from category where leaf = 1 order by id"
    ) == [("boot", 0), ("slim", 0), ("tote", 2)]


@pytest.mark.parametrize(
    "answer", ((403, {"errorCode": 403}), (401, b"<html>no</html>"), (200, {"errorCode": 403}))
)
def test_a_key_that_is_refused_is_one_sentence_at_once(serve, tmp_path, answer):
    server = serve(script=lambda path, query: answer)
    done = run(tmp_path, server, status=2)
    assert "SHOPSTYLE_API_KEY" in done.stderr and done.stderr.count("\n") == 1
    assert len(server.seen) == 1 and os.listdir(tmp_path) == []


def test_a_host_that_cannot_be_reached_is_one_sentence(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, and nobody listens
        done = run(tmp_path, f"http://127.0.0.1:{unused.getsockname()[1]}/api/v2/", status=1)
    assert "no connection" in done.stderr and "--feed" in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == "" and os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "body",
    (
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a":' * 100_000,
        b"\xff\xfe{",
        b"",
        b"null",
        b"[1]",
        b'"x"',
        b'{"categories": [{"id": "a", "parentId": "women"',
    ),
)
def test_an_answer_that_is_no_json_object_is_unfinished(serve, body):
    with pytest.raises(http_client.Unfinished, match="/products with: 200 without JSON"):
        shop_at(serve(script=lambda path, query: (200, body))).get("products")


@pytest.mark.parametrize(
    "total, stock, stored, requests",
    (
        (120, 120, 120, 3),  # reached by a page that is not full
        (121, 120, 120, 5),
        (1000, 60, 60, 4),
        (50, 0, 0, 2),  # an empty page too early: asked twice
        (100, 100, 100, 3),
        (60, 120, 120, 3),
        (0, 120, 120, 3),  # a full page may have more behind it
        (None, 120, 120, 4),
        ("120", 60, 60, 3),
        (-1, 60, 60, 3),
        (2**80, 60, 60, 3),
        ({}, 0, 0, 1),
        (True, 60, 60, 3),
        (9000, 9000, 5000, 100),
    ),
)
def test_a_total_that_lies_neither_hangs_the_crawl_nor_fails_it(
    serve, tmp_path, total, stock, stored, requests
):
    def script(path, query):
        if path == "products":
            start = int(query["offset"])
            return 200, {
                "metadata": {"total": total},
                "products": [
                    {"id": 1 + n, "name": "Jean"} for n in range(start, min(start + 50, stock))
                ],
            }

    server = serve(catalogue(leaves={"boot": "jeans"}), script)
    assert crawled(tmp_path, server, most=9999) == (stored, [])
    assert len(products_of(server)) == requests


def test_a_leaf_whose_pages_were_empty_too_early_is_asked_once_more_by_the_next_run(
    serve, tmp_path
):
    empty = [True]

    def script(path, query):
        if path == "products":
            start = int(query["offset"])
            numbers = range(start, min(start + 50, 120)) if not (empty[0] and start) else ()
            return 200, {
                "metadata": {"total": 120},
                "products": [{"id": 1 + n, "name": "Jean"} for n in numbers],
            }

    server = serve(catalogue(leaves={"boot": "jeans"}), script)
    assert crawled(tmp_path, server) == (50, [])
    empty[0] = False
    assert crawled(tmp_path, server) == (70, [])
    asked = len(products_of(server))
    assert crawled(tmp_path, server) == (0, []) and len(products_of(server)) == asked


@pytest.mark.parametrize("first, stored, requests", ((0, 50, 3), (3, 200, 6)))
def test_a_shop_that_shows_the_same_page_again_and_again_is_left(
    serve, tmp_path, first, stored, requests
):
    def script(path, query):
        if path == "products":
            start = 50 * min(first, int(query["offset"]) // 50)
            return 200, {
                "metadata": {"total": 4000},
                "products": [{"id": start + n, "name": "Jean"} for n in range(50)],
            }

    server = serve(catalogue(leaves={"boot": "jeans"}), script)
    assert crawled(tmp_path, server) == (stored, [])
    assert len(products_of(server)) == requests


def test_results_that_shift_between_pages_are_stored_once_each(serve, tmp_path):
    """Ten new products appear in front before each page."""

    def script(path, query):
        if path == "products":
            start = int(query["offset"])
            shift = start // 50 * 10
            numbers = range(start - shift, min(start - shift + 50, 130))
            return 200, {
                "metadata": {"total": 130 + shift},
                "products": [{"id": 100 + n, "name": "Jean"} for n in numbers],
            }

    assert crawled(tmp_path, serve(catalogue(leaves={"boot": "jeans"}), script)) == (130, [])


def test_many_failures_in_a_row_end_the_crawl_of_products_with_the_reason(serve, tmp_path):
    leaves = {f"leaf{number}": "jeans" for number in range(12)}
    server = serve(catalogue(per_leaf=1, leaves=leaves))
    server.script = lambda path, query: (
        (500, b"")
        if path == "products" and int(query["cat"][4:]) % 12 in {0, 1, 2, 3, 5, 6, 7, 8, 9}
        else None
    )
    done = run(tmp_path, server, "--tries", "1", status=1)
    order = [cat for _, cat, _ in products_of(server)]  # in path order: 0, 1, 10, 11, 2, ...
    assert order == ["leaf0", "leaf1", "leaf10", "leaf11", *(f"leaf{n}" for n in range(2, 10))]
    assert "9 categories" in done.stderr and "no further" not in done.stderr
    server.seen.clear()
    server.script = lambda path, query: (500, b"") if path == "products" else None
    done = run(tmp_path / "all", server, "--tries", "1", status=1)
    assert len(products_of(server)) == api_crawl.GIVE_UP
    assert "the crawl ends here: " in done.stderr and "failures in a row" in done.stderr
    assert "12 categories" in done.stderr


@pytest.mark.slow
def test_an_api_that_asks_for_a_pause_gets_it_and_one_that_asks_too_much_is_left(serve, tmp_path):
    """Retry-After in seconds, as a date, and as neither."""
    asked = []

    def limited(value):
        def answer(handler):
            asked.append(time.monotonic())
            handler.send_response(429)
            handler.send_header("Retry-After", value)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        return answer

    later = email.utils.formatdate(time.time() + 3, usegmt=True)
    answers = [limited("1"), limited(later), limited("soon")]

    def script(path, query):
        if path == "products":
            asked.append(time.monotonic())
            return answers.pop(0) if answers else None

    began = time.time()
    assert run(tmp_path, serve(catalogue(leaves={"boot": "jeans"}), script), "--tries", "4")
    assert not answers and asked[2] - asked[1] >= 0.99  # the first answer, the second request
    assert time.time() - began >= 2  # the date has whole seconds
    answers.append(limited("86400"))
    done = run(tmp_path / "long", serve(catalogue(), script), status=1)
    assert "left alone for 1440 min" in done.stderr and "3 categories" in done.stderr


def broken_off(handler, size=None, data=b'{"products": [{"id": 1}', reset=False):
    """An answer that ends too early: with a length, without one, or by a reset."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    if size:
        handler.send_header("Content-Length", str(size))
    handler.end_headers()
    handler.wfile.write(data)
    handler.wfile.flush()
    if reset:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


FAULTS = {
    "500": (500, b"oops"),
    "503": (503, b""),
    "429": (429, b""),
    "html": (200, b"<html>"),
    "half a json": (200, b'{"products": [{"id": 1'),
    "error body": (200, {"errorCode": 500}),
    "error body in words": (200, {"errorCode": "500"}),
    "cut, length told": functools.partial(broken_off, size=999),
    "cut, no length": broken_off,
    "reset": functools.partial(broken_off, size=999, reset=True),
    "nothing": functools.partial(broken_off, data=b""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_is_ridden_out_whatever_it_is(serve, tmp_path, fault):
    server, answers = serve(catalogue(leaves={"boot": "jeans"})), {}
    run(tmp_path / "whole", server)
    for path in ("categories", "products"):
        answers[path] = [FAULTS[fault]]
    server.script = lambda path, query: answers[path].pop() if answers.get(path) else None
    done = run(tmp_path / "faulty", server)
    assert not any(answers.values()) and "2 of them retries" in done.stdout
    assert state(tmp_path / "faulty") == state(tmp_path / "whole")


def test_a_page_without_an_end_is_broken_off(serve):
    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(400):
                handler.wfile.write(b" " * 10)
                handler.wfile.flush()
                time.sleep(0.02)
        handler.close_connection = True

    requests = http_client.Web(0, threading.Event(), tries=1)
    for limits, reason in (({"seconds": 0.5}, "no answer in time"), ({"most": 99}, "more than 99")):
        with pytest.raises((http_client.Unfinished, ValueError), match=reason):
            requests.get(serve(script=lambda path, query: drip).api_url, lambda answer: 1, **limits)


def test_the_key_goes_to_no_other_host(serve, tmp_path):
    other, own = serve(), serve()

    def away(handler):
        handler.send_response(302)
        handler.send_header("Location", f"http://localhost:{other.server_port}{handler.path}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    own.script = lambda path, query: away if path == "products" else None
    done = run(tmp_path, own, status=1)
    assert other.seen == [] and "a redirect (302), which is not followed" in done.stderr
    own.script = lambda path, query: away
    assert run(tmp_path, own, status=1).stderr.count("\n") == 2 and other.seen == []


EVERY_FAULT = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
sys.argv[0] = "crawl.py"
import crawl
raise SystemExit(crawl.run(crawl.main))
"""


@pytest.mark.slow
@pytest.mark.parametrize("crawls", [1, 3])
def test_the_key_is_nowhere_after_a_crawl_with_every_fault_at_debug_level(serve, tmp_path, crawls):
    chance, lock, key = random.Random(1), threading.Lock(), "uid-secret-77-key"
    odd = [
        *FAULTS.values(),
        (404, b""),
        (400, {"errorCode": 400, "errorMessage": key}),
        lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\n: : x\r\nbad\r\n\r\n{}"),
        lambda handler: handler.wfile.write(b"\0\xff garbage\r\n\r\n"),
        None,
        None,
        None,
    ]

    def script(path, query):
        with lock:
            return chance.choice(odd) if path != "categories" else None

    server = serve(catalogue(per_leaf=20), script)
    for _ in range(crawls):
        done = subprocess.run(
            [sys.executable, "-c", EVERY_FAULT, *HERE, "--api-url", server.api_url],
            cwd=tmp_path,
            env=environment(SHOPSTYLE_API_KEY=key, PYTHONPATH=str(REPO)),
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
        assert key not in done.stdout + done.stderr
    if crawls > 1:  # one may get no product through all these faults
        assert select(tmp_path, "select count(*) from product") != [(0,)]
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes()


# ---- addresses and manners ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "address, public",
    (
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("fe80::1", False),
        ("fe80::1%lo", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("2002:7f00:0001::", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
    ),
)
def test_which_addresses_are_public(address, public):
    assert private_addresses.is_public(address) is public


@pytest.mark.parametrize(
    "host",
    (
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ),
)
def test_no_request_reaches_a_private_address_however_it_is_written(serve, host):
    server = serve()
    requests = http_client.Web(0, threading.Event(), tries=1, public_only=True)
    with pytest.raises((ValueError, http_client.Unfinished), match="private address|no connection"):
        requests.get(f"http://{host}:{server.server_port}/api/v2/categories", lambda answer: 1)
    assert server.seen == []


def test_the_address_that_was_checked_is_the_one_that_is_used(monkeypatch):
    """A name server that says a public address first and a private one the second time."""
    asked, connected = [], []

    def answers(host, port, *rest, **more):
        if host[0].isdigit():  # what needs no name server
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(host)
        address = "203.0.114.7" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    real = socket.socket.connect

    def connect(self, address):
        connected.append(address[0])
        return real(self, ("127.0.0.1", 1))  # where nobody listens, instead of the internet

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    monkeypatch.setattr(socket.socket, "connect", connect)
    requests = http_client.Web(0, threading.Event(), tries=1, public_only=True)
    with pytest.raises(http_client.Unfinished):
        requests.get("http://shop.example/", lambda answer: 1)
    assert connected == ["203.0.114.7"] and asked == ["shop.example"]


def test_a_rate_is_kept_for_each_host_and_connections_are_kept_alive(serve):
    servers, at, peers = [serve(), serve()], [], set()

    def script(path, query):
        def answer(handler):
            at.append((handler.server.server_port, time.monotonic()))
            peers.add(handler.client_address)
            handler.send(200, "text/plain", handler.headers["User-Agent"].encode())

        return answer

    requests, urls = http_client.Web(20, threading.Event(), 4), []
    for server in servers:
        server.script = script
        urls += [f"http://127.0.0.1:{server.server_port}/"] * 8
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        agents = set(pool.map(lambda url: requests.get(url, lambda answer: answer.body), urls))
    assert agents == {b"ProductClassifier-crawl/" + VERSION.encode()}
    for server in servers:
        own = [moment for port, moment in at if port == server.server_port]
        assert len(own) == 8 and max(own) - min(own) >= 7 / 20 - 0.05
    assert len(peers) <= 8 and requests.counts["requests"] == 16


@pytest.mark.parametrize(
    "headers, least, most",
    (
        ({}, 0, 0),
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": " 7 "}, 7, 7),
        ({"Retry-After": "-7"}, 0, 0),
        ({"Retry-After": "soon"}, 0, 0),
        ({"Retry-After": ""}, 0, 0),
        ({"Retry-After": "9" * 400}, 0, 0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0, 0),
        ({"Retry-After": email.utils.formatdate(time.time() + 9000)}, 5000, 9000),
    ),
)
def test_how_long_a_retry_after_asks_for(headers, least, most):
    assert least <= http_client.pause_asked(headers) <= most


def test_only_what_may_succeed_is_tried_again(serve):
    for status, tries in ((400, 1), (403, 1), (404, 1), (410, 1), (408, 2), (500, 2), (503, 2)):
        server = serve(script=lambda path, query, status=status: (status, b""))
        requests = http_client.Web(0, threading.Event(), tries=2)

        def judge(answer):
            raise ValueError(answer.status)

        with pytest.raises((ValueError, http_client.Unfinished)):
            requests.get(server.api_url, judge)
        assert len(server.seen) == tries, status
