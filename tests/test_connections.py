"""Hostile servers over real HTTP on loopback: no private address is reached, and no answer takes
more time or memory than it may, however it is made."""

import contextlib
import gzip
import socket
import struct
import threading
import time
import zlib

import pytest
from conftest import run_script
from loopback import KEY, load, run
from peak import peak_of_code

from crawling import connections, feed_download, http_answers, http_client, private_addresses

pytestmark = pytest.mark.redteam


# ---- addresses ----------------------------------------------------------------------------------

PUBLIC = """
    93.184.216.34 8.8.8.8 2606:2800:220:1::1 2a00:1450:4001:82b::200e 2620:4f:8000::1
    ::ffff:93.184.216.34 64:ff9b::5db8:d822 2002:5db8:d822::1 2606:2800:220:1:0:5efe:5db8:d822
"""
NOT_PUBLIC = {
    "this machine": "127.0.0.1 127.1.2.3 0.0.0.0 0.1.2.3 ::1 :: ::1%lo",
    "a local network": "10.1.2.3 172.16.0.1 172.31.9.9 192.168.1.1 fc00::1 fd00:ec2::254",
    "a link": "169.254.169.254 fe80::1 fe80::1%eth0 fe80::5efe:7f00:1",
    "a site": "fec0::1 feff::1",
    "a provider's network": "100.64.0.1 100.127.255.254 192.0.0.1",
    "a cloud's machine": "168.63.129.16",
    "groups and all": "224.0.0.1 239.255.255.250 255.255.255.255 ff02::1 ff0e::1",
    "examples and tests": "192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1 2001:2::1",
    "not given out": "240.0.0.1 4000::1 1::1 5f00::1 100::1 100:0:0:1::1",
    "IPv4 in IPv6": "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 ::10.0.0.1 ::93.184.216.34 ::2",
    "translated": "::ffff:0:127.0.0.1 ::ffff:0:10.0.0.1 ::ffff:0:93.184.216.34",
    "NAT64": "64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 64:ff9b:1:ffff::7f00:1",
    "6to4": "2002:7f00:1::1 2002:a00:1::1 2002:c0a8:101::",
    "Teredo": "2001:0:5db8:d822:0:0:80ff:fffe 2001:0:7f00:1::1",
    "ISATAP": "2606:2800:220:1:0:5efe:a00:1 2606:2800:220:1:200:5efe:7f00:1",
}


@pytest.mark.parametrize("kind", NOT_PUBLIC)
def test_which_addresses_are_not_public(kind):
    assert not list(filter(private_addresses.is_public, NOT_PUBLIC[kind].split()))


def test_which_addresses_are_public():
    assert all(map(private_addresses.is_public, PUBLIC.split()))


@pytest.fixture
def internet(monkeypatch):
    """internet(name=[addresses]): what a name server says. Public addresses lead to this machine, so
    that nothing leaves it. Returns the list of the addresses that were connected to."""
    names, connected = {}, []
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def answers(host, port, *rest, **more):
        if host not in names:
            assert "example" not in str(host), host
            return look_up(host, port, *rest, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in names[host]]

    def connect_here(self, address):
        connected.append(address[0])
        return connect(self, ("127.0.0.1", address[1]))

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    monkeypatch.setattr(socket.socket, "connect", connect_here)
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    names.update({"shop.example": ["203.0.114.7"], "cdn.example": ["203.0.114.8"]})
    names["inside.example"] = ["127.0.0.1"]
    names["both.example"] = ["203.0.114.9", "127.0.0.1"]
    return connected


def redirects_to(target):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


TARGETS = (
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://localhost.:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://0:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[fec0::1]:{port}/",
    "http://[64:ff9b:1::1]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://169.254.169.254:{port}/latest/",
    "//127.0.0.1:{port}/",
    "http://inside.example:{port}/",
    "http://both.example:{port}/",
    "http://shop.example:{port}/again",  # which redirects once more
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://shop.example\\@127.0.0.1:{port}/",
)


@pytest.mark.parametrize("target", TARGETS)
def test_no_redirect_of_a_public_host_reaches_a_private_one(serve, internet, tmp_path, target):
    inside, shop = serve(script=lambda path, query: (200, b"secret")), serve()
    again = redirects_to(f"http://127.0.0.1:{inside.server_port}/")
    port = shop.server_port if "again" in target else inside.server_port
    first = redirects_to(target.format(port=port))
    shop.script = lambda path, query: again if "again" in path else first
    feed, picture = (
        http_client.Web(0, threading.Event(), tries=1, **{what: True})
        for what in ("public_redirects", "public_only")
    )
    for web in (feed, picture):
        with pytest.raises(
            (ValueError, http_client.Unfinished), match="private|can be fetched|not found|no conn"
        ):
            web.get(f"http://shop.example:{shop.server_port}/f", lambda answer: 1, redirects=3)
    assert inside.seen == [] and shop.seen
    assert set(internet) == {"203.0.114.7"}


def test_a_redirect_within_the_open_internet_or_the_users_own_network_is_followed(serve, internet):
    target = serve(script=lambda path, query: (200, b"feed"))
    for first, second in (
        ("shop.example", "cdn.example"),
        ("shop.example", "shop.example"),
        ("inside.example", "inside.example"),
        ("127.0.0.1", "localhost"),
        ("127.0.0.1", "cdn.example"),
    ):
        redirect = redirects_to(f"http://{second}:{target.server_port}/")
        shop = serve(script=lambda path, query, redirect=redirect: redirect)
        web = http_client.Web(0, threading.Event(), tries=1, public_redirects=True)
        url = f"http://{first}:{shop.server_port}/"
        assert web.get(url, lambda answer: answer.body, redirects=3) == b"feed"


def test_a_redirect_to_a_private_host_leaves_it_open_to_the_user(serve, internet):
    inside = serve(script=lambda path, query: (200, b"feed"))
    url = f"http://127.0.0.1:{inside.server_port}/"
    shop = serve(script=lambda path, query: away)
    away = redirects_to(url)
    web = http_client.Web(0, threading.Event(), tries=1, public_redirects=True)
    with pytest.raises(ValueError, match="private address"):
        web.get(f"http://shop.example:{shop.server_port}/", lambda answer: 1, redirects=3)
    assert web.get(url, lambda answer: answer.body) == b"feed"
    allowed = http_client.Web(0, threading.Event(), tries=1)
    url = f"http://shop.example:{shop.server_port}/"
    assert allowed.get(url, lambda answer: answer.body, redirects=3) == b"feed"


def test_behind_a_proxy_a_redirect_is_checked_by_what_is_known_here(serve, internet, monkeypatch):
    asked = []

    def proxied(handler):
        asked.append(handler.path)
        target = handler.path.partition("?to=")[2]
        return redirects_to(target)(handler) if target else handler.send(200, "text/plain", b"feed")

    proxy = serve(script=lambda path, query: proxied)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
    web = http_client.Web(0, threading.Event(), tries=1, public_redirects=True)
    url = "http://shop.example/?to=http://cdn.example/"
    assert web.get(url, lambda answer: answer.body, redirects=3) == b"feed"
    for target in ("http://inside.example/", "http://10.0.0.1/", "http://both.example/"):
        with pytest.raises(ValueError, match="private address"):
            web.get(f"http://shop.example/?to={target}", lambda answer: 1, redirects=3)
    assert len(asked) == 5


def test_a_host_of_many_addresses_is_not_tried_for_ever(internet, monkeypatch):
    monkeypatch.setattr(connections.socket.socket, "connect", refuse := Refuse())
    addresses = [f"203.0.{number}.7" for number in range(114, 214)]
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in addresses]
    real = socket.getaddrinfo

    def many(host, *rest, **more):
        return entries if host == "many.example" else real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", many)
    for options in ({}, {"public_only": True}):
        refuse.count = 0
        web = http_client.Web(0, threading.Event(), tries=1, **options)
        with pytest.raises(http_client.Unreachable, match="no connection"):
            web.get("http://many.example/", lambda answer: 1)
        assert refuse.count == connections.MOST_ADDRESSES


class Refuse:
    count = 0

    def __call__(self, *arguments):
        self.count += 1
        raise ConnectionRefusedError(111, "refused")


def test_a_feeds_redirect_to_a_private_address_is_one_sentence(serve, internet, tmp_path):
    inside = serve(script=lambda path, query: (200, b"id,title\n1,secret\n"))
    url = f"http://127.0.0.1:{inside.server_port}/"
    shop = serve(script=lambda path, query: away)
    away = redirects_to(url)
    feed = f"http://shop.example:{shop.server_port}/f.csv"
    for more in ((), ("--dry-run",)):
        done = run_script("crawl", "--feed", feed, *more, cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert private_addresses.PRIVATE in done.stderr and inside.seen == []
    load(tmp_path, feed)  # with --allow-private
    load(tmp_path, url)  # which the user has typed


# ---- time ---------------------------------------------------------------------------------------

ANSWER = b"HTTP/1.1 200 OK\r\n"
CHUNKED = ANSWER + b"Transfer-Encoding: chunked\r\n\r\n"
GZIPPED = ANSWER + b"Content-Encoding: gzip\r\n\r\n"
DRIPS = {  # kind: (what comes at once, what then comes again and again)
    "nothing": (b"", b""),
    "the status": (b"HTTP/1.1 200 ", b"O"),
    "a header": (ANSWER + b"X: ", b"x"),
    "headers to go on": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers to go on, each with some": (b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"),
    "a body with a length": (ANSWER + b"Content-Length: 1000000\r\n\r\n", b"x"),
    "a body without one": (ANSWER + b"\r\n", b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "the size of a chunk": (CHUNKED, b"0"),
    "what is said of a chunk": (CHUNKED + b"1;", b"x"),
    "what follows the chunks": (CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n"),
    "a gzip's comment": (GZIPPED + b"\x1f\x8b\x08\x10\0\0\0\0\0\0", b"x"),
    "empty gzips": (GZIPPED, gzip.compress(b"")),
    "a redirect's body": (
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 1000000\r\n\r\n",
        b"x",
    ),
}


@contextlib.contextmanager
def dripping(beginning, piece, pause, most):
    """The URL of a server that sends a piece now and then, at most so many, and a list of how many
    each client took."""
    taken = []

    def serve_one(client):
        taken.append(0)
        place = len(taken) - 1
        with client, contextlib.suppress(OSError):
            client.recv(65536)
            client.sendall(beginning)
            while taken[place] < most:
                time.sleep(pause)
                client.sendall(piece)
                taken[place] += 1

    def serve_all():
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=serve_one, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve_all, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", taken
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("kind", DRIPS)
def test_an_answer_that_drips_is_given_up_wherever_it_does(kind):
    """Each would take 300 s, and no read waits for 30. The body of a redirect is not read."""
    web = http_client.Web(0, threading.Event(), tries=1)
    with dripping(*DRIPS[kind], pause=0.02, most=15_000) as (url, taken):
        with pytest.raises(
            (http_client.Unfinished, ValueError), match="no answer in time|too many redirects"
        ):
            web.get(url, lambda answer: 1, seconds=0.3, redirects=1)
        assert taken and max(taken) < 5_000


def test_a_flood_of_headers_to_go_on_ends_at_the_deadline():
    web = http_client.Web(0, threading.Event(), tries=1)
    piece = b"HTTP/1.1 100 Continue\r\n\r\n" * 1000
    with dripping(b"", piece, pause=0, most=10**6) as (url, taken):
        with pytest.raises(http_client.Unfinished, match="no answer in time"):
            web.get(url, lambda answer: 1, seconds=0.5)
        assert max(taken) < 10**6


@pytest.mark.parametrize(
    "headers",
    (
        b"X: y\r\n" * 100_000,
        b"X: " + b"y" * 10_000_000 + b"\r\n",
        b" folded\r\n" * 100_000,
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: -5\r\nConnection: close\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: " + b"9" * 5_000 + b"\r\n",
        b"Transfer-Encoding: chunked, chunked\r\nConnection: close\r\n",
        b"Content-Encoding: " + b"gzip, " * 1_000 + b"gzip\r\n",
        b"Content-Encoding: br\r\nConnection: close\r\n",
        b"Location: " + b"/x" * 30_000 + b"\r\n",
        b"Set-Cookie: a=b\r\n" * 90,
    ),
    ids=range(12),
)
def test_headers_that_lie_or_are_many_are_a_reason_in_words(headers):
    web = http_client.Web(0, threading.Event(), tries=1)
    with dripping(ANSWER + headers + b"\r\nhello", b"", pause=0.05, most=1) as (url, _):
        with contextlib.suppress(http_client.Unfinished, ValueError):
            answer = web.get(url, lambda answer: answer, seconds=5, redirects=1)
            assert answer.status == 200 and len(answer.body) <= 5
    assert not web.session.cookies


def test_a_chain_of_redirects_ends(serve):
    server = serve()
    server.script = lambda path, query: redirects_to(f"/{len(server.seen)}")
    web = http_client.Web(0, threading.Event(), tries=1)
    with pytest.raises(ValueError, match="too many redirects"):
        web.get(server.api_url, lambda answer: 1, redirects=3)
    assert len(server.seen) == 4


def test_the_key_goes_to_no_other_host_by_any_redirect_or_picture(serve, tmp_path):
    other = serve()
    for status in (301, 302, 303, 307, 308):

        def away(handler, status=status):
            handler.send_response(status)
            handler.send_header("Location", f"http://localhost:{other.server_port}{handler.path}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        own = serve(script=lambda path, query, away=away: away)
        assert KEY not in run(tmp_path, own, "--tries", "1", status=1).stderr
    assert other.seen == []


# ---- memory -------------------------------------------------------------------------------------


def deflated(size, wbits):
    packer = zlib.compressobj(6, zlib.DEFLATED, wbits)
    pieces = [packer.compress(bytes(1_000_000)) for _ in range(size // 1_000_000)]
    return b"".join(pieces) + packer.flush()


BOMBS = {
    "gzip": lambda: deflated(120_000_000, 31),
    "deflate": lambda: deflated(120_000_000, 15),
    "deflate without a header": lambda: deflated(120_000_000, -15),
    "gzip, gzip": lambda: gzip.compress(deflated(120_000_000, 31)),
    "gzip, deflate, gzip": lambda: gzip.compress(zlib.compress(deflated(120_000_000, 31))),
}
ASK = """
import threading
from crawling import feed_download, http_client
web = http_client.Web(0, threading.Event(), tries=1)
for ask in (
    lambda url: web.get(url, lambda answer: 1),
    lambda url: web.get(url + "away", lambda answer: 1, redirects=3),
    lambda url: feed_download.download(web, url, "feed"),
):
    try:
        ask({url!r})
    except (ValueError, http_client.Unfinished) as problem:
        print(problem)
"""


def packed(handler, data, encoding, status=200):
    handler.send_response(status)
    handler.send_header("Location", "/away")
    handler.send_header("Content-Encoding", encoding)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    with contextlib.suppress(OSError):
        handler.wfile.write(data)
    handler.close_connection = True


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.slow
def test_an_answer_that_unpacks_to_much_more_takes_little_memory_and_room(serve, tmp_path, bomb):
    data, encoding = BOMBS[bomb](), bomb.removesuffix(" without a header")
    server = serve()
    server.script = lambda path, query: (
        lambda handler: packed(handler, data, encoding, 302 if "away" in path else 200)
    )
    done = peak_of_code(ASK.format(url=server.api_url), tmp_path)
    assert done.stdout.splitlines() == [
        "more than 20000000 bytes",
        "too many redirects",
        "unpacks to more than 400 times its size",
    ]
    assert done.megabytes < 150, done
    assert (tmp_path / "feed").stat().st_size < 2 * http_answers.LARGE


def test_a_well_packed_feed_is_downloaded_whole(serve, tmp_path):
    """A catalogue of few words, 100 times smaller when it is packed."""
    rows = b"".join(b"%d,A blue jean with five pockets\n" % number for number in range(100_000))
    data = gzip.compress(rows)
    server = serve(script=lambda path, query: lambda handler: packed(handler, data, "gzip"))
    web = http_client.Web(0, threading.Event(), tries=1)
    feed_download.download(web, server.api_url, str(tmp_path / "feed"))
    assert (tmp_path / "feed").read_bytes() == rows
