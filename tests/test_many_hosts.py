"""Pictures of many hosts: all are asked at a time, each politely, and none holds up the others."""

import collections
import contextlib
import resource
import subprocess
import sys
import threading

import pytest
from conftest import REPO, environment, write_feed
from loopback import HERE, load, picture

import db
from crawling import http_client, in_turns, picture_crawl, picture_queue_queries

LONG = 30  # seconds that only a crawl waits for which asks one host after the other


def rows_of(servers, each):
    """Rows of a feed in which the products of each server lie together."""
    return [
        (f"{port}-{n}", f"Jean {port} {n}", "", "Jeans", f"http://127.0.0.1:{port}/{n}.jpg", "")
        for port in (server.server_port for server in servers)
        for n in range(each)
    ]


def test_hosts_are_asked_at_a_time_though_their_products_lie_together(serve, tmp_path):
    """Each host answers first once all of them have been asked."""
    asked, all_asked = set(), threading.Event()

    def script_of(number):
        def script(path, query):
            asked.add(number)
            if len(asked) == 6:
                all_asked.set()
            all_asked.wait(LONG)
            return 200, picture(int(path[1:-4]))

        return script

    servers = [serve(script=script_of(number)) for number in range(6)]
    done = load(tmp_path, write_feed(tmp_path / "feed.tsv", rows_of(servers, 40)))
    assert all_asked.is_set() and "240 fetched, 0 unusable" in done.stdout


def test_a_host_that_gives_no_answer_leaves_threads_to_the_others(serve, tmp_path):
    """The host whose products come first answers once the other one has given all of its own."""
    lock, finished = threading.Lock(), threading.Event()
    counts = collections.Counter()

    def silent(path, query):
        with lock:
            counts["under way"] += 1
            counts["most"] = max(counts["most"], counts["under way"])
        finished.wait(LONG)
        with lock:
            counts["under way"] -= 1
        return 200, picture(int(path[1:-4]))

    def good(path, query):
        with lock:
            counts["given"] += 1
        if counts["given"] == 60:
            finished.set()
        return 200, picture(int(path[1:-4]))

    servers = [serve(script=silent), serve(script=good)]
    done = load(tmp_path, write_feed(tmp_path / "feed.tsv", rows_of(servers, 60)))
    assert finished.is_set() and "120 fetched, 0 unusable" in done.stdout
    assert 0 < counts["most"] <= picture_crawl.CONNECTIONS


@pytest.mark.slow
@pytest.mark.redteam
def test_a_process_that_may_open_few_files_fetches_all_the_same(serve, tmp_path):
    servers = [serve(script=lambda path, query: (200, picture(int(path[1:-4])))) for _ in range(12)]
    feed = write_feed(tmp_path / "feed.tsv", rows_of(servers, 25))
    done = subprocess.run(
        [sys.executable, REPO / "crawl.py", *HERE, "--feed", feed],
        cwd=tmp_path,
        env=environment(),
        text=True,
        capture_output=True,
        timeout=100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128)),
    )
    assert (done.returncode, done.stderr.count("Too many")) == (0, 0), done.stderr
    assert "300 fetched, 0 unusable" in done.stdout


LINKS = (
    "http://a.example/1.jpg",
    "https://A.example/2.jpg",
    "//a.example/3.jpg",
    "http://b.example:80/4.jpg",
    "http://b.example?5",
    "http://",
    "http:///6.jpg",
    "images/7.jpg",
    "images//8.jpg",
    "http://" + "x" * 5000,
    "http://ü.example/9.jpg",
)


def test_whatever_the_links_are_each_stands_in_one_queue(tmp_path):
    with contextlib.closing(db.open_database(tmp_path / "crawl.db", create=True)) as conn:
        conn.execute("create temp table seen(id text primary key, outcome text) without rowid")
        for number, link in enumerate(LINKS * 30):  # more than a batch
            conn.execute(
                "insert into product(id, image, source, external_id) values (?, ?, 'feed', ?)",
                (number, f"{link}#{number}", str(number)),
            )
            conn.execute("insert into seen(id) values (?)", (str(number),))
        assert picture_queue_queries.queue_pictures(conn, "feed", False) == 30 * len(LINKS)
        queues = [list(queue) for queue in picture_queue_queries.queues(conn)]
    ids = [wanted.id for queue in queues for wanted in queue]
    assert sorted(ids) == list(range(30 * len(LINKS)))
    of_first = next(queue for queue in queues if queue[0].id == 0)
    assert {wanted.links[0].partition("#")[0] for wanted in of_first} == set(LINKS[:3])


# ---- the threads --------------------------------------------------------------------------------


def test_more_queues_than_are_taken_from_at_a_time_all_come_to_their_end():
    taken = []

    def queue_of(number):
        for row in range(3):
            taken.append(number)
            yield number, row

    bounds = in_turns.Bounds(threads=4, queues=5, of_one=2)
    results = {
        job.result()
        for _, job in in_turns.in_turns(lambda row: row, map(queue_of, range(100)), bounds)
    }
    assert results == {(number, row) for number in range(100) for row in range(3)}
    # A queue begins once one of the five before it is at its end.
    first, last = {}, {}
    for moment, number in enumerate(taken):
        first.setdefault(number, moment)
        last[number] = moment
    for number in range(100):
        assert sum(last[other] >= first[number] for other in range(number)) <= 5


def test_the_queue_with_the_fewest_under_way_is_next_and_none_has_more_than_its_bound():
    bounds = in_turns.Bounds(threads=8, queues=4, of_one=3)
    at_work, waiting = [], map(in_turns.Queue, ([1] * 9, [2] * 2, [3] * 9))
    rows = []
    while taken := in_turns.next_row(at_work, waiting, bounds):
        rows.append(taken[0])
    assert rows == [1, 2, 3, 1, 2, 3, 1, 3]


def test_an_error_of_a_row_is_in_its_future_and_one_of_a_queue_ends_all():
    def rows():
        yield 1
        yield 0
        raise OSError("read no further")

    bounds = in_turns.Bounds(2, 1, 1)
    seen = []
    with pytest.raises(OSError, match="read no further"):
        for row, job in in_turns.in_turns(lambda row: 1 // row, [rows()], bounds):
            seen.append((row, type(job.exception())))
    assert seen == [(1, type(None)), (0, ZeroDivisionError)]


def test_no_more_requests_than_connections_are_under_way_at_a_host_and_another_has_its_own(serve):
    counts, lock, both = collections.Counter(), threading.Lock(), threading.Barrier(4)

    def script(path, query):
        with lock:
            counts[path] += 1
            counts["most", path] = max(counts["most", path], counts[path])
        both.wait(LONG)  # two requests of each host, or none goes on
        with lock:
            counts[path] -= 1
        return 200, b"x"

    servers = [serve(script=script), serve(script=script)]
    web = http_client.Web(0, threading.Event(), 2, tries=1)
    bounds = in_turns.Bounds(threads=16, queues=2, of_one=8)
    urls = [
        [f"http://127.0.0.1:{server.server_port}/{number}"] * 8
        for number, server in enumerate(servers)
    ]
    jobs = in_turns.in_turns(lambda url: web.get(url, lambda answer: answer.body), urls, bounds)
    assert [job.result() for _, job in jobs] == [b"x"] * 16
    assert counts["most", "/0"] == counts["most", "/1"] == 2
