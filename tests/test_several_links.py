"""A product with several links to its picture gets the first that works, and no link is asked for
more often than that takes.

pytest tests/test_several_links.py
"""

import collections
import contextlib
import random
import threading

import pytest
from loopback import picture

import db
from crawling import (
    feed_download,
    http_client,
    picture_crawl,
    picture_queries,
    picture_store,
    queries,
)
from crawling.feed_types import FeedFile

TINY = picture(1, size=(4, 4))


class Shop:
    """Products of a crawl.db and the host of their pictures: {path: bytes or status}."""

    def __init__(self, folder, serve):
        self.folder, self.answers, self.asked = folder, {}, collections.Counter()
        server = serve(script=lambda path, query: self.answer(path, query))
        self.host = f"http://127.0.0.1:{server.server_port}"
        self.conn = db.open_database(str(folder / "crawl.db"), create=True)
        queries.remember_seen(self.conn)

    def answer(self, path, query):
        self.asked[path.strip("/")] += 1
        answer = self.answers.get(path.strip("/"), 404)
        return (answer, b"") if isinstance(answer, int) else (200, answer)

    def add(self, number, *links, name=None, seen=True):
        """A product with these links: names at the host, or as they are if they have a dot."""
        first, *further = [link if "." in link else f"{self.host}/{link}" for link in links]
        self.conn.execute(
            """insert into product(id, image, name, source, external_id, group_key)
               values (?, ?, ?, 'feed', ?, ?)""",
            (number, first, name or f"Hat {number}", str(number), name or f"Hat {number}"),
        )
        self.conn.executemany(
            "insert into picture_link values (?, ?, ?)",
            [(number, position, link) for position, link in enumerate(further, 1)],
        )
        if seen:
            self.conn.execute("insert into seen(id) values (?)", (str(number),))

    def fetch(self, feed=None, tries=1):
        web = http_client.Web(0, threading.Event(), 4, tries, give_up=10**6)
        store = picture_store.Store(str(self.folder / "images"), "mark")
        self.asked.clear()
        return picture_crawl.fetch_pictures(self.conn, "feed", store, web, feed)

    def pictures(self):
        """{product id: (name of the link that its picture is of, or None; position; reason)}."""
        by_bytes = {data: name for name, data in self.answers.items() if isinstance(data, bytes)}
        rows = {}
        for row in self.conn.execute("select * from picture order by product_id"):
            name = None
            if row["status"] == "ok":
                name = by_bytes[(self.folder / "images" / row["path"]).read_bytes()]
                assert row["sha256"] and row["path"]
            rows[row["product_id"]] = (name, row["position"], row["reason"])
        crawled = {
            row[0] for row in self.conn.execute("select id from product where image_crawled = 1")
        }
        assert crawled == {number for number, (name, _, _) in rows.items() if name}
        return rows


@pytest.fixture
def shop(tmp_path, serve):
    shop = Shop(tmp_path, serve)
    with contextlib.closing(shop.conn):
        yield shop


def test_the_first_link_that_works_counts(shop, capsys):
    shop.answers.update(page=b"<html>", tiny=TINY, good=picture(5), better=picture(6))
    shop.add(1, "gone", "page", "tiny", "good", "better")
    shop.add(2, "better", "good")
    assert shop.fetch() == {"ok": 2, "failed": 0, "unfinished": 0}
    assert shop.pictures() == {1: ("good", 3, "error 404"), 2: ("better", 0, None)}
    assert shop.asked == dict.fromkeys(("gone", "page", "tiny", "good", "better"), 1)
    assert (
        "picture of product 1: error 404, so the picture of a later link is used"
        in capsys.readouterr().err
    )
    assert shop.fetch() == {"ok": 0, "failed": 0, "unfinished": 0} and not shop.asked


def test_the_reason_is_the_first_links_with_how_many_others_gave_none(shop, capsys):
    shop.answers.update(page=b"<html>")
    shop.add(1, "gone", "page", "lost")
    shop.add(2, "gone", "page")
    shop.add(3, "gone")
    assert shop.fetch() == {"ok": 0, "failed": 2, "unfinished": 0}
    assert shop.pictures() == {
        1: (None, 2, "error 404"),
        2: (None, 1, "error 404"),
        3: (None, 0, "error 404"),
    }
    assert "picture of product 1: error 404, and 2 other links gave none" in capsys.readouterr().err
    assert [tuple(row) for row in picture_queries.picture_counts(shop.conn)] == [
        ("failed", "error 404", 1),
        ("failed", "error 404, and 1 other link gave none", 1),
        ("failed", "error 404, and 2 other links gave none", 1),
    ]
    assert shop.asked["gone"] == 1
    assert not shop.fetch()["unfinished"] and not shop.asked
    picture_queries.forget_failed_pictures(shop.conn, "feed", "error 404")
    shop.answers.update(gone=picture(1))
    assert shop.fetch()["ok"] == 1 and set(shop.asked) == {"gone"}


def test_a_link_that_may_work_later_is_no_end(shop):
    shop.answers.update(busy=502, good=picture(5), gone=404)
    shop.add(1, "busy", "good")
    shop.add(2, "busy")
    shop.add(3, "gone", "busy")
    shop.add(4, "busy", "gone")
    # 4 shares its first link with 1, which has another picture by now.
    assert shop.fetch() == {"ok": 1, "failed": 0, "unfinished": 3}
    assert shop.pictures() == {1: ("good", 1, None), 3: (None, 0, "error 404")}
    shop.answers.update(busy=picture(7))
    assert shop.fetch()["unfinished"] == 0
    assert shop.pictures() == {
        1: ("good", 1, None),
        2: ("busy", 0, None),
        3: ("busy", 1, "error 404"),
        4: ("busy", 0, None),
    }
    assert shop.asked == {"busy": 2}  # as the first link of some, and the second of another


def test_products_that_share_links_ask_for_each_once(shop):
    shop.answers.update(y=picture(1), z=picture(2))
    lists = {1: "xy", 2: "xy", 3: "xz", 4: "x", 5: "xz", 6: "xwz", 7: "xy"}
    for number, links in lists.items():
        shop.add(number, *links)
    shop.fetch()
    assert shop.pictures() == {
        **dict.fromkeys((1, 2, 7), ("y", 1, "error 404")),
        **dict.fromkeys((3, 5), ("z", 1, "error 404")),
        4: (None, 0, "error 404"),
        6: ("z", 2, "error 404"),
    }
    assert shop.asked == {"x": 1, "y": 1, "z": 2, "w": 1}
    # What is known of a link holds for products that come later.
    for number, links in {8: "xv", 9: "xz", 10: "x"}.items():
        shop.add(number, *links)
    shop.fetch()
    assert shop.asked == {"v": 1}
    assert [shop.pictures()[number] for number in (8, 9, 10)] == [
        (None, 1, "error 404"),
        ("z", 1, "error 404"),
        (None, 0, "error 404"),
    ]


def test_a_first_link_that_works_is_enough_for_all_who_share_it(shop):
    shop.answers.update(x=picture(1), y=picture(2))
    for number, links in enumerate(("xy", "x", "xz", "xy", "yx"), 1):
        shop.add(number, *links)
    shop.fetch()
    assert shop.asked == {"x": 1, "y": 1}
    assert shop.pictures() == {**dict.fromkeys((1, 2, 3, 4), ("x", 0, None)), 5: ("y", 0, None)}


def test_behind_a_placeholder_the_next_link_is_tried(shop, capsys):
    many = picture_crawl.PLACEHOLDER
    for number in range(1, many + 1):
        # All have the same first picture, at their own links, and the same table of sizes behind.
        shop.answers[f"p{number}"] = picture(1)
        shop.answers[f"own{number}"] = picture(100 + number)
        shop.add(number, f"p{number}", "sizes", f"own{number}")
    shop.answers["sizes"] = picture(2)
    shop.add(1000, "p1")
    shop.fetch()
    rows, reason = shop.pictures(), f"a placeholder: {many + 1} different products have it"
    assert rows.pop(1000) == (None, 0, reason)
    assert rows == {number: (f"own{number}", 2, reason) for number in range(1, many + 1)}
    assert set(shop.asked.values()) == {1} or shop.asked["sizes"] <= many
    before = shop.pictures()
    shop.add(1001, "p1", "own1")
    shop.fetch()
    assert shop.asked == {"own1": 1}
    assert shop.pictures() == {**before, 1001: ("own1", 1, reason)}


def test_files_are_looked_for_again_and_links_into_the_web_are_not(shop, tmp_path):
    feed = feed_download.Feed((FeedFile(str(tmp_path / "feed.tsv"), folder=str(tmp_path)),))
    shop.answers.update(good=picture(4))
    shop.add(1, "1.png", "lost", "2.png")
    shop.add(2, "3.png", "good")
    assert shop.fetch(feed) == {"ok": 1, "failed": 1, "unfinished": 0}
    first = "no readable file: No such file or directory"
    assert shop.pictures() == {1: (None, 2, first), 2: ("good", 1, first)}
    shop.fetch(feed)
    assert not shop.asked
    (tmp_path / "2.png").write_bytes(picture(9, "PNG"))
    shop.answers["2.png"] = picture(9, "PNG")
    shop.fetch(feed)
    assert not shop.asked and shop.pictures()[1] == ("2.png", 2, first)


def test_further_links_may_be_relative_to_the_feeds_url(shop):
    feed = feed_download.Feed((FeedFile("feed", url=f"{shop.host}/key/feed.tsv"),))
    shop.answers.update({"key/b.png": picture(1, "PNG")})
    shop.add(1, "a.png", "b.png")
    shop.add(2, "a.png", "b.png")
    shop.add(3, "a.png", "c.png")
    shop.fetch(feed)
    assert shop.asked == {"key/a.png": 1, "key/b.png": 1, "key/c.png": 1}
    assert shop.pictures() == {
        **dict.fromkeys((1, 2), ("key/b.png", 1, "error 404")),
        3: (None, 1, "error 404"),
    }
    shop.fetch(feed)
    assert not shop.asked


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_lists_and_answers_are_each_product_has_the_first_that_works(shop, seed):
    chance, names = random.Random(seed), "abcdefghijkl"
    answers = {
        name: chance.choice((picture(number), picture(number), 404, 502))
        for number, name in enumerate(names)
    }
    shop.answers.update(answers)
    lists = {}
    for number in range(1, 121):
        first = chance.choice(names[:4]) if chance.random() < 0.7 else chance.choice(names)
        lists[number] = [first, *chance.sample(names, chance.randrange(4))]
        shop.add(number, *lists[number], name="Hat")  # or one of them is a placeholder
        if number in (60, 90):
            shop.fetch()

    def expected(links):
        for position, name in enumerate(links):
            if isinstance(shop.answers[name], bytes):
                return name, position
        return None if 502 in map(shop.answers.get, links) else (None, len(links) - 1)

    def check(counts):
        rows = shop.pictures()
        for number, links in lists.items():
            right = expected(links)
            name, position, reason = rows.get(number, (None, -1, None))
            if right is None:  # nothing is known, or some links are
                assert name is None and position < len(links) - 1, (number, links)
                continue
            assert (name, position) == right, (number, links)
            if position > 0:
                first = answers[links[0]]
                assert reason == (f"error {first}" if first == 404 else None)
        unfinished = sum(expected(links) is None for links in lists.values())
        assert counts["unfinished"] == unfinished
        states = collections.Counter()
        for status, _, number in picture_queries.picture_counts(shop.conn):
            states[status] += number
        assert states[None] == unfinished and states.total() == len(lists)

    counts = shop.fetch()
    check(counts)
    before = {number: row for number, row in shop.pictures().items() if row[0]}
    for name, answer in answers.items():
        if answer == 502:
            shop.answers[name] = picture(200 + names.index(name))
    assert shop.fetch()["unfinished"] == 0
    assert len(shop.pictures()) == len(lists)
    assert before.items() <= shop.pictures().items()
    shop.fetch()
    assert not shop.asked


def test_a_crawl_that_is_stopped_between_two_links_goes_on_with_the_next(shop):
    many = picture_crawl.PLACEHOLDER
    for number in range(1, many + 1):
        shop.answers[f"own{number}"] = picture(100 + number)
        shop.add(number, "x", f"own{number}")
    stop, answer = threading.Event(), shop.answer

    def answer_once(path, query):
        if path.startswith("/own"):
            stop.set()
        return answer(path, query)

    shop.answer = answer_once
    web = http_client.Web(0, stop, 1, 1)
    store = picture_store.Store(str(shop.folder / "images"), "mark")
    counts = picture_crawl.fetch_pictures(shop.conn, "feed", store, web, None)
    assert 0 < counts["unfinished"] <= many
    shop.fetch()
    assert shop.asked["x"] <= 1 and shop.pictures() == {
        number: (f"own{number}", 1, "error 404") for number in range(1, many + 1)
    }
