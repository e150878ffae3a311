"""crawl.py against real HTTP on loopback: the whole way, every fault a shop has shown, and kills.

The shop is sample/shop.py's, with a script in front that may answer a request itself.
"""
import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from conftest import REPO, draw_feed, environment, run_script, write_feed
from PIL import Image

import crawl
import db
import shopstyle
from console import UserError
from sample import shop as sample_shop
from sample.catalogue import make_catalogue
from test_db import make_2016

KEY = "uid1234-secret/ü+9"
LEAVES = {"boot": "jeans", "slim": "jeans", "tote": "bags"}


def picture(number=0, kind="JPEG", size=(20, 24), **options):
    """Bytes of a picture like no other number's."""
    image = Image.new("RGB", size, (number % 256, number // 256 % 256, 99))
    image.putpixel((number % size[0], 0), (255, 255, 255))
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def catalogue(per_leaf=3, leaves=LEAVES):
    """A small one: every third product stands in the next leaf too, before or after its own."""
    parents = {**leaves, **dict.fromkeys(leaves.values(), "women"), "women": "all", "all": None}
    products = []
    for place, leaf in enumerate(leaves):
        other = list(leaves)[(place + 1) % len(leaves)]
        for turn in range(per_leaf):
            number = 616000000 + place * per_leaf + turn
            listed = ((leaf,), (leaf, other), (other, leaf))[turn % 3]
            products.append(SimpleNamespace(
                id=number, name=f"Marigold {leaf} {turn}", description=f"<b>{leaf}</b> & more",
                categories=listed, has_picture=True, picture=lambda number=number: picture(number)))
    return SimpleNamespace(products=products, categories=[
        SimpleNamespace(id=own, name=own.title(), parent_id=parent)
        for own, parent in parents.items()])


class Scripted(sample_shop.Handler):
    """Asks server.script(path, query) first: None lets the sample shop answer, (status, body) is
    the answer; body is bytes or what becomes JSON."""

    def do_GET(self):
        url = urlsplit(self.path)
        path, query = url.path.removeprefix(sample_shop.API), dict(parse_qsl(url.query))
        with self.server.lock:
            self.server.seen.append((path, query.get("cat"), query.get("offset")))
        answer = self.server.script(path, query)
        if answer is None:
            super().do_GET()
        elif isinstance(answer[1], bytes):
            self.send(answer[0], "text/html", answer[1])
        else:
            self.send(answer[0], "application/json", json.dumps(answer[1]).encode())


@pytest.fixture
def serve():
    """serve(catalogue, script) -> a server that listens; all are stopped at the end."""
    servers = []

    def serve(content=None, script=lambda path, query: None):
        server = sample_shop.make_server(content or catalogue())
        server.RequestHandlerClass = Scripted
        server.script, server.seen, server.lock = script, [], threading.Lock()
        threading.Thread(target=server.serve_forever, args=(.05,), daemon=True).start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def run(cwd, server, *args, status=0):
    """Run crawl.py to its end and check what holds always. Returns the CompletedProcess."""
    cwd.mkdir(exist_ok=True)
    done = run_script("crawl", "--api-url", server if isinstance(server, str) else server.api_url,
                      *args, cwd=cwd, env={"SHOPSTYLE_API_KEY": KEY}, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    for form in (KEY, quote(KEY), quote(KEY, safe="")):
        assert form not in done.stdout + done.stderr
    return done


def load(cwd, feed, *args, status=0):
    done = run_script("crawl", "--feed", feed, *args, cwd=cwd, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    return done


def select(cwd, statement):
    with contextlib.closing(sqlite3.connect(cwd / "crawl.db")) as conn:
        return conn.execute(statement).fetchall()


def pictures_in(cwd):
    return {str(path.relative_to(cwd / "images")): path.read_bytes()
            for path in (cwd / "images").rglob("*") if path.is_file()}


def state(cwd):
    """Everything a crawl leaves behind."""
    tables = {table: select(cwd, f"select * from {table} order by 1, 2")
              for table in ("category", "product", "product_category", "picture")}
    return {**tables, "files": {name: data for name, data in pictures_in(cwd).items()
                                if not name.endswith(".tmp")}}


def products_of(server, cat=None):
    return [seen for seen in server.seen
            if seen[0] == "products" and (cat is None or seen[1] == cat)]


# ---- the whole way ------------------------------------------------------------------------------

def test_a_whole_crawl_files_all_products_and_keeps_the_key_to_itself(serve, tmp_path):
    content = make_catalogue(leaves=3, per_leaf=12)
    server = serve(content)
    done = run(tmp_path, server)
    assert select(tmp_path, "select id, category_id, name, description, source, external_id "
                            "from product order by id") == sorted(
        (product.id, product.categories[0], product.name, product.description, "shopstyle",
         str(product.id)) for product in content.products)
    counts = dict(select(tmp_path, "select id, product_count from category where leaf = 1"))
    assert counts == {"bootcut-jeans": 12, "skinny-jeans": 12, "clutches": 12}
    assert select(tmp_path, "select path from category where id = 'clutches'") == [
        ("handbags/clutches",)]
    wanted = {product.id: product.picture() for product in content.products if product.has_picture}
    stored = dict(select(tmp_path, "select product_id, path from picture where status = 'ok'"))
    files = pictures_in(tmp_path)
    assert {number: files[path] for number, path in stored.items()} == wanted
    assert done.stdout.startswith("products: 36 in 3 leaves (0 at an inner category, 0 without "
                                  "one); this run: 36 new, 0 changed, ")
    assert done.stdout.splitlines()[1:] == [
        f"pictures: {len(wanted)} fetched, 0 unusable, 0 not fetched"]
    for path in tmp_path.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not [form for form in (KEY, quote(KEY), quote(KEY, safe=""))
                    if form.encode() in data + os.fsencode(path)]
    assert [cat for path, cat, _ in server.seen if path == "categories"] == ["women"]

    before, asked = state(tmp_path), len(server.seen)
    done = run(tmp_path, server)
    assert state(tmp_path) == before
    assert server.seen[asked:] == [("categories", "women", None)]
    assert "this run: 0 new, 0 changed, 0 seen before, 0 left out" in done.stdout


def test_killed_at_any_instant_and_run_again_it_ends_as_if_undisturbed(serve, tmp_path):
    server, chance = serve(catalogue(per_leaf=56)), random.Random(2016)
    run(tmp_path / "whole", server)
    (tmp_path / "killed").mkdir()
    ready = threading.Event()

    def script(path, query):
        with server.lock:
            server.left -= 1
            due = server.left == 0
        if due:   # now, with the answer still out, or a moment after it went
            ready.wait()
            kill = threading.Timer(chance.choice((0, 0, .002, .01, .03)), server.victim.kill)
            kill.start()
            if kill.interval == 0:
                kill.join()

    server.script, killed = script, 0
    for requests in (1, 2, 3, 2, 4, 5, 40, 90, 130, 20):
        server.left = requests
        ready.clear()
        server.victim = subprocess.Popen(
            [sys.executable, REPO / "crawl.py", "--api-url", server.api_url],
            cwd=tmp_path / "killed", env=environment(SHOPSTYLE_API_KEY=KEY),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        ready.set()
        server.victim.communicate(timeout=60)
        killed += server.victim.returncode == -signal.SIGKILL
    assert killed >= 7   # on a busy machine a crawl may come to its end before the kill does
    server.left = 0
    run(tmp_path / "killed", server)
    assert state(tmp_path / "killed") == state(tmp_path / "whole")


def test_what_a_killed_crawl_left_half_written_is_swept_away_a_day_later(small_feed, tmp_path):
    load(tmp_path, small_feed)
    old, new = (tmp_path / "images" / name for name in (".1-aa.tmp", ".1-bb.tmp"))
    mine = tmp_path / "images" / "notes.tmp"
    for path in (old, new, mine):
        path.write_bytes(b"half a pict")
    for path in (old, mine):
        os.utime(path, (0, 0))
    load(tmp_path, small_feed)
    assert [path.exists() for path in (old, new, mine)] == [False, True, True]


def test_ctrl_c_ends_with_130_and_a_sentence_and_the_next_run_finishes(serve, tmp_path):
    server = serve(catalogue(per_leaf=56))
    run(tmp_path / "whole", server)
    arrived, go_on = threading.Event(), threading.Event()

    def script(path, query):
        if path == "products" and len(products_of(server)) == 3:
            arrived.set()
            go_on.wait(30)

    server.seen.clear()
    server.script = script
    (tmp_path / "stopped").mkdir()
    process = subprocess.Popen(
        [sys.executable, REPO / "crawl.py", "--api-url", server.api_url], stderr=subprocess.PIPE,
        cwd=tmp_path / "stopped", env=environment(SHOPSTYLE_API_KEY=KEY), text=True)
    assert arrived.wait(30)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=30)[1]
    go_on.set()
    assert process.returncode == 130
    assert "interrupted; run the same command again" in stderr and "Traceback" not in stderr
    run(tmp_path / "stopped", server)
    assert state(tmp_path / "stopped") == state(tmp_path / "whole")


def test_max_per_category_stops_at_the_page_that_reaches_it(serve, tmp_path):
    server = serve(catalogue(per_leaf=180, leaves={"boot": "jeans", "slim": "jeans"}),
                   lambda path, query: (404, b"") if path.startswith("/pim/") else None)
    run(tmp_path, server, "--max-per-category", "30")
    pages = len(products_of(server, "boot"))
    found = "select count(*) from product_category c join product on id = product_id where " \
            "found = 1 and c.category_id = 'boot' and product.category_id = 'boot'"
    assert 30 <= select(tmp_path, found)[0][0] < 30 + shopstyle.PAGE
    assert pages < len(server.index.shelves["boot"]) // shopstyle.PAGE


# ---- the tree -----------------------------------------------------------------------------------

def node(own, parent=None, **more):
    return {"id": own, "name": own.title(), **({"parentId": parent} if parent else {}), **more}


def fetch(serve, script, root="women"):
    server = serve(script=script)
    rows = shopstyle.fetch_tree(shopstyle.Shop(server.api_url, KEY), root)
    return {row[0]: row for row in rows}, server


def tree_of(nodes):
    return lambda path, query: (200, {"metadata": {"root": node("women", "all")},
                                      "categories": nodes})


LEVELS = {"women": ["jeans", "bags"], "jeans": ["boot", "slim"], "bags": ["tote"]}


@pytest.mark.parametrize("refuses", (False, True), ids=("answers one level", "refuses the whole"))
def test_a_host_that_gives_no_whole_tree_is_asked_a_level_at_a_time(serve, refuses):
    def script(path, query):
        if refuses and "depth" not in query:
            return 400, {"errorCode": 400, "errorName": "TooDeep"}
        own = query["cat"]
        return 200, {"metadata": {"root": node(own)},
                     "categories": [node(child, own) for child in LEVELS.get(own, ())]}

    rows, server = fetch(serve, script)
    assert {own: row[1:4] for own, row in rows.items()} == {
        "women": (None, 0, ""), "jeans": ("women", 0, "jeans"), "bags": ("women", 0, "bags"),
        "boot": ("jeans", 1, "jeans/boot"), "slim": ("jeans", 1, "jeans/slim"),
        "tote": ("bags", 1, "bags/tote")}
    assert sorted(cat for _, cat, _ in server.seen) == sorted(
        ["women"] * (1 + refuses) + ["jeans", "bags", "boot", "slim", "tote"])


@pytest.mark.parametrize("nodes, leaves, gone", (
    ([node("jeans", "women"), node("bags", "women"), node("boot", "jeans"), node("boot", "bags"),
      node("tote", "bags")], {"jeans/boot", "bags/tote"}, ()),          # under two parents
    ([node("boot", "jeans"), node("jeans", "women")], {"jeans/boot"}, ()),   # child before parent
    ([node("a", "women"), node("b", "a"), node("a", "b")], {"a/b"}, ()),     # a cycle
    ([node("a", "women"), node("b", "a"), node("women", "b")], {"a/b"}, ()),
    ([node("a", "women"), node("b", "a"), node("b", "b")], {"a/b"}, ()),     # its own parent
    ([node("a", "women"), node("b", "a"), node("c", "elsewhere"), node("d", "c")], {"a/b"},
     ("c", "d")),
    ([node("a", "women"), node("a", "women"), node("b", "a"), node("b", "a")], {"a/b"}, ()),
    ([node("a", "women"), node("b", "a"), None, 7, [], {}, node("x/y", "a"), node("x,y", "a"),
      {"id": 5, "parentId": "a"}, {"id": None}, {"id": ""}, node("\ud800", "a"),
      node("\x1b[2J", "a"), node("c", ["a"]), node("d", {"a": 1}), node("e", 7)], {"a/b"},
     ("c", "d", "e", "x/y", "x,y", "\ud800", "\x1b[2J", "")),
    ([node("a", "women"), {"id": "b", "parentId": "a", "name": None},
      {"id": "c", "parentId": "a", "name": {"en": "C\ud800\0"}}], {"a/b", "a/c"}, ()),
))
def test_a_tree_with_anything_in_it_becomes_a_tree(serve, nodes, leaves, gone):
    rows, _ = fetch(serve, tree_of(nodes))
    assert {row[3] for row in rows.values() if row[2]} == leaves
    assert not set(gone) & set(rows)
    for own, parent, leaf, path, name in rows.values():
        assert own == "women" or path.split("/") == (rows[parent][3].split("/") if rows[parent][3]
                                                     else []) + [own]
        "".join((own, path, name)).encode("utf-8")


@pytest.mark.parametrize("answer", (
    {}, {"categories": None}, {"categories": {}}, {"categories": []}, {"metadata": 5},
    {"metadata": {"root": {"name": 7, "parentId": {}}}, "categories": []}))
def test_a_shop_without_categories_is_one_sentence(serve, tmp_path, answer):
    done = run(tmp_path, serve(script=lambda path, query: (200, answer)), status=2)
    assert "--root women" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "crawl.db").exists()


def test_an_odd_root_is_stored_as_text(serve):
    rows, _ = fetch(serve, lambda path, query: (200, {
        "metadata": {"root": {"name": {"a": 1}, "parentId": ["x"]}},
        "categories": [node("a", "women"), node("b", "a")]}))
    assert all(value is None or isinstance(value, (str, int)) for row in rows.values()
               for value in row)


# ---- products -----------------------------------------------------------------------------------

@pytest.mark.parametrize("item", (
    None, 5, "x", [], {}, {"id": None}, {"id": True}, {"id": 1.5}, {"id": []}, {"id": " "}))
def test_a_product_without_an_id_is_none(item):
    assert shopstyle.read_product(item, "boot", KEY) is None


@pytest.mark.parametrize("item, field, value", (
    ({"id": 7}, "external_id", "7"), ({"id": "0042"}, "external_id", "0042"),
    ({"id": 2 ** 70}, "external_id", str(2 ** 70)), ({"id": -5}, "external_id", "-5"),
    ({"id": "a\ud800\0"}, "external_id", "a?"),
    ({"id": 1, "name": None}, "name", ""), ({"id": 1}, "description", ""),
    ({"id": 1, "name": "a\0b\udfff"}, "name", "a b?"), ({"id": 1, "name": 12}, "name", "12"),
    ({"id": 1, "categories": None}, "listed", []),
    ({"id": 1, "categories": {"id": "x"}}, "listed", []),
    ({"id": 1, "categories": [None, 5, {}, {"id": None}, {"id": 5}, {"id": "boot"}]}, "listed",
     ["boot"]),
    ({"id": 1, "categories": [{"id": "a\ud800"}]}, "listed", ["a?"]),
    ({"id": 1, "name": f"a {KEY}"}, "name", "a "),
    ({"id": 1, "description": f"<a href='?pid={quote(KEY)}'>"}, "description", "<a href='?pid='>"),
    ({"id": 1, "image": None}, "image", ""), ({"id": 1, "image": {"sizes": []}}, "image", ""),
    ({"id": 1, "image": {"sizes": {"XLarge": None, "Best": {"url": 5}}}}, "image", ""),
    ({"id": 1, "image": {"sizes": {"Medium": {"url": "http://x/m.jpg"},
                                   "Best": {"url": "http://x/b.jpg"}}}}, "image", "http://x/b.jpg"),
))
def test_odd_fields_of_a_product(item, field, value):
    assert shopstyle.read_product(item, "boot", KEY)[field] == value


@pytest.mark.parametrize("key, url, kept", (
    (KEY, f"http://x/a.jpg?pid={quote(KEY, safe='')}&w=3", "http://x/a.jpg?w=3"),
    (KEY, f"http://x/a.jpg?PID={KEY}", "http://x/a.jpg"),
    (KEY, f"http://x/{quote(KEY, safe='')}/a.jpg", "http://x//a.jpg"),
    (KEY, f"http://x/a.jpg?u=y{quote(KEY, safe='')}", "http://x/a.jpg?u=y"),
    ("uid1-2-3", "http://x/uid1-2-3/a.jpg?k=uid1-2-3", "http://x//a.jpg?k="),
    ("x", "http://img.xy/pim/a_xlarge.jpg?x=1", "http://img.xy/pim/a_xlarge.jpg?x=1"),
    ("e", "http://e.example/sale/a_xlarge.jpg", "http://e.example/sale/a_xlarge.jpg"),
    (KEY, "http://[bad/a.jpg", "http://[bad/a.jpg"),
))
def test_the_key_is_taken_out_of_a_pictures_url_and_nothing_else(key, url, kept):
    item = {"id": 1, "image": {"sizes": {"XLarge": {"url": url}}}}
    image = shopstyle.read_product(item, "boot", key)["image"]
    assert image == kept


def test_products_with_anything_in_them_are_kept_and_the_rest_counted(serve, tmp_path):
    odd = [{"id": 1, "name": "Jean", "categories": [{"id": "boot"}],
            "image": {"sizes": {"XLarge": {"url": "http://[bad"}}}},
           {"id": "9" * 5000, "name": ["list"], "categories": [{"id": "\ud800"}, {"id": "boot"}]},
           {"id": 2 ** 63 - 1, "name": "big", "categories": [{"id": f"{n}"} for n in range(40000)]},
           {"id": "text", "name": None, "description": {"a": []}}, {"name": "no id"}, None, "x",
           {"id": 3, "name": "\x1b[2J\0\ud800", "description": "<script>", "image": {"sizes": {}}}]

    def script(path, query):
        if path == "products":
            return 200, {"metadata": {}, "products": odd if query["offset"] == "0" else []}

    done = run(tmp_path, serve(catalogue(leaves={"boot": "jeans"}), script))
    assert "5 new, 0 changed, 0 seen before, 3 left out" in done.stdout
    assert select(tmp_path, "select distinct category_id from product") == [("boot",)]
    assert "\x1b" not in done.stdout + done.stderr


# ---- faults of the API --------------------------------------------------------------------------

def test_faults_that_pass_are_ridden_out_and_a_leaf_that_fails_waits_for_the_next_run(serve,
                                                                                     tmp_path):
    server = serve(catalogue(per_leaf=56))
    run(tmp_path / "whole", server)
    faults = {"boot": [(500, b"oops")], "slim": [(200, {"errorCode": 404, "errorName": "Gone"})],
              "tote": [None, (200, b"<html>maintenance</html>")]}

    def script(path, query):
        if path == "products" and faults[query["cat"]]:
            return faults[query["cat"]].pop(0)

    server.script = script
    done = run(tmp_path / "faulty", server, status=1)
    assert "slim is not finished" in done.stderr and "1 categories" in done.stderr
    assert "error 404" in done.stderr and "boot is not" not in done.stderr
    assert select(tmp_path / "faulty", "select id from category where leaf = 1 and crawled = 0"
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
            return 200, {"metadata": {"total": 2}, "products": [
                {"id": 1, "name": "Jean"}, {"id": 2, "name": "Gown", "categories": []}]}

    server = serve(script=script)
    run(tmp_path / "whole", server)
    down.add("tote")   # bags/tote is the first in path order
    run(tmp_path / "late", server, status=1)
    assert select(tmp_path / "late", "select distinct category_id from product") == [("boot",)]
    down.clear()
    run(tmp_path / "late", server)
    assert state(tmp_path / "late") == state(tmp_path / "whole")
    assert select(tmp_path / "late", "select id, product_count from category where leaf = 1 "
                  "order by id") == [("boot", 0), ("slim", 0), ("tote", 2)]


@pytest.mark.parametrize("answer", (
    (403, {"errorCode": 403}), (401, b"<html>no</html>"), (200, {"errorCode": 403})))
def test_a_key_that_is_refused_is_one_sentence_at_once(serve, tmp_path, answer):
    server = serve(script=lambda path, query: answer)
    done = run(tmp_path, server, status=2)
    assert "SHOPSTYLE_API_KEY" in done.stderr and done.stderr.count("\n") == 1
    assert len(server.seen) == 1 and os.listdir(tmp_path) == []


def test_a_host_that_cannot_be_reached_is_one_sentence(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))   # taken, and nobody listens
        done = run(tmp_path, f"http://127.0.0.1:{unused.getsockname()[1]}/api/v2/", status=2)
    assert "no connection" in done.stderr and "--feed" in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == "" and os.listdir(tmp_path) == []


@pytest.mark.parametrize("body", (
    b'{"a": ' + b"9" * 5000 + b"}", b'{"a":' * 100_000, b"\xff\xfe{", b"", b"null", b"[1]", b'"x"',
    b'{"categories": [{"id": "a", "parentId": "women"'))
def test_an_answer_that_is_no_json_object_is_unfinished(serve, body, monkeypatch):
    monkeypatch.setattr(shopstyle, "TRIES", 1)   # saves the waiting
    shop = shopstyle.Shop(serve(script=lambda path, query: (200, body)).api_url, KEY)
    with pytest.raises(shopstyle.Unfinished, match="/products with"):
        shop.get("products")


@pytest.mark.parametrize("total, stock, stored, requests", (
    (120, 120, 120, 3), (121, 120, 120, 4),    # an empty page ends it, whatever total says
    (1000, 60, 60, 3), (60, 120, 100, 2),      # total is believed when it is reached
    (None, 120, 120, 4), ("120", 60, 60, 3), (-1, 60, 50, 1), (2 ** 80, 60, 60, 3),
    ({}, 0, 0, 1), (50, 0, 0, 1)))
def test_a_total_that_lies_neither_hangs_the_crawl_nor_fails_it(serve, tmp_path, total, stock,
                                                               stored, requests):
    def script(path, query):
        if path == "products":
            start = int(query["offset"])
            return 200, {"metadata": {"total": total}, "products": [
                {"id": 1 + n, "name": "Jean"} for n in range(start, min(start + 50, stock))]}

    server = serve(catalogue(leaves={"boot": "jeans"}), script)
    shop = shopstyle.Shop(server.api_url, KEY)
    conn = db.open_database(tmp_path / "crawl.db", create=True)
    counts, failed = crawl.crawl_api(conn, shop, shopstyle.fetch_tree(shop, "women"), 1000)
    assert (counts["new"], failed, len(products_of(server))) == (stored, [], requests)
    conn.close()


def test_a_shop_that_repeats_its_last_page_for_ever_is_left_at_the_cap(serve, tmp_path,
                                                                      monkeypatch):
    monkeypatch.setattr(shopstyle, "API_INTERVAL", 0)
    page = {"metadata": {}, "products": [{"id": n, "name": "Jean"} for n in range(50)]}
    server = serve(catalogue(leaves={"boot": "jeans"}),
                   lambda path, query: (200, page) if path == "products" else None)
    shop = shopstyle.Shop(server.api_url, KEY)
    conn = db.open_database(tmp_path / "crawl.db", create=True)
    counts, failed = crawl.crawl_api(conn, shop, shopstyle.fetch_tree(shop, "women"), 1000)
    assert counts["new"] == 50 and failed == []
    assert len(products_of(server)) <= shopstyle.PAGING_CAP / shopstyle.PAGE
    conn.close()


# ---- pictures -----------------------------------------------------------------------------------

def noise(cut=None):
    data = io.BytesIO()
    Image.effect_noise((80, 80), 90).convert("RGB").save(data, "JPEG", quality=95)
    return data.getvalue()[:cut]


PICTURES = {   # what the shop sends -> the suffix it is kept under, or a word of the reason
    "jpeg": (200, picture(1), ".jpg"), "png named .jpg": (200, picture(2, "PNG"), ".png"),
    "gif": (200, picture(3, "GIF"), ".gif"), "webp": (200, picture(4, "WEBP"), ".webp"),
    "mpo": (200, picture(5, "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
            ".jpg"),
    "missing": (404, b"gone", "404"), "html": (200, b"<html>sorry</html>", "not a picture"),
    "truncated": (200, noise(900), "broken"), "empty": (200, b"", "empty"),
    "bomb": (200, picture(6, "PNG", (9000, 9000), compress_level=1), "pixels"),
    "script": (200, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    "pcx": (200, picture(7, "PCX"), "not a picture"),
    "noise": (200, bytes(range(7, 207)) * 5, "not a picture"),
    "broken avif": (200, b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 99, "not a picture")}


def test_pictures_of_every_kind_are_kept_or_refused_with_a_reason(serve, tmp_path):
    content = catalogue(per_leaf=len(PICTURES), leaves={"boot": "jeans"})
    names = {sample_shop.image_id(product): name
             for product, name in zip(content.products, PICTURES)}

    def script(path, query):
        if path.startswith("/pim/"):
            return PICTURES[names[path.split("/")[-1].split("_")[0]]][:2]

    server = serve(content, script)
    done = run(tmp_path, server)
    rows = dict(zip(PICTURES, select(tmp_path, """select status, path, reason, image_crawled
        from picture join product on id = product_id order by id""")))
    good = {name for name, (_, _, word) in PICTURES.items() if word.startswith(".")}
    assert {name for name, row in rows.items() if row[0] == "ok"} == good
    files = pictures_in(tmp_path)
    for name, (status, path, reason, crawled) in rows.items():
        _, data, word = PICTURES[name]
        if name in good:
            assert path.endswith(word) and files.pop(path) == data and crawled == 1
        else:
            assert (status, path, crawled) == ("failed", None, 0) and word in reason, name
    assert files == {}
    assert f"pictures: {len(good)} fetched, {len(PICTURES) - len(good)} unusable" in done.stdout
    asked = len(server.seen)
    run(tmp_path, server)   # what will never be a picture is not asked for again
    assert len(server.seen) == asked + 1


def test_a_picture_that_could_not_be_fetched_is_fetched_by_the_next_run(serve, tmp_path):
    content = catalogue(per_leaf=2, leaves={"boot": "jeans"})
    server = serve(content)
    own = sample_shop.image_id(content.products[0])
    server.script = lambda path, query: (503, b"") if own in path else None
    done = run(tmp_path, server, status=1)
    assert "1 fetched, 0 unusable, 1 not fetched" in done.stdout and "1 pictures" in done.stderr
    server.script = lambda path, query: None
    assert "1 fetched, 0 unusable, 0 not" in run(tmp_path, server).stdout


def test_pictures_of_2016_are_adopted_without_a_request(serve, tmp_path):
    server = serve(catalogue(leaves={"boot": "jeans"}))
    base = f"http://{server.site}/pim/aa/bb/"
    names = ["good_xlarge.jpg", "half_xlarge.jpg", "gone_xlarge.jpg", "..out.jpg"]
    make_2016(tmp_path / "crawl.db", [(number, "bootcut-jeans", base + name, "Jean", "Blue")
                                      for number, name in enumerate(names, 1)])
    for name, data in zip(names, (picture(1), b"half", None, picture(2))):
        if data:
            path = tmp_path / "images" / name[:2] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    server.script = lambda path, query: (200, picture(3)) if "/aa/bb/" in path else None
    run(tmp_path, server)
    asked = {seen[0].split("/")[-1] for seen in server.seen if "/aa/bb/" in seen[0]}
    assert asked == set(names[1:])
    rows = select(tmp_path, "select path, status from picture where product_id < 9 order by 1 desc")
    assert ("go/good_xlarge.jpg", "ok") in rows and [row[1] for row in rows] == ["ok"] * 4
    assert pictures_in(tmp_path)["go/good_xlarge.jpg"] == picture(1)
    assert not [row[0] for row in rows if row[0].startswith("..")]


@pytest.mark.parametrize("kind", ("JPEG", "PNG", "GIF", "WEBP", "BMP"))
def test_damaged_pictures_only_ever_raise_value_error(kind):
    chance, data = random.Random(1), picture(9, kind)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(chance.choice((1, 2, 8))):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        with contextlib.suppress(ValueError):
            assert crawl.check_picture(bytes(broken)) in crawl.SUFFIXES.values()
    with pytest.raises(ValueError):
        crawl.check_picture(data[:len(data) // 3])


# ---- feeds --------------------------------------------------------------------------------------

def test_a_feed_loaded_twice_is_unchanged_and_a_changed_row_is_changed(small_feed, tmp_path):
    assert "12 new, 0 changed, 0 seen before" in load(tmp_path, small_feed).stdout
    before = state(tmp_path)
    assert [row[0] for row in select(tmp_path, "select distinct category_id from product "
            "order by 1")] == ["bags.clutches", "jeans.bootcut-jeans", "jeans.skinny-jeans"]
    assert select(tmp_path, "select count(*) from picture where status = 'ok'") == [(12,)]
    assert select(tmp_path, "select count(distinct group_key) from product where "
                            "group_key like 'feed group-%'") == [(3,)]
    assert "0 new, 0 changed, 12 seen before" in load(tmp_path, small_feed).stdout
    assert state(tmp_path) == before
    text = small_feed.read_text(encoding="utf-8").splitlines()
    small_feed.write_text("\n".join([text[0], *text[:0:-1]]).replace("style 3", "style three"),
                          encoding="utf-8")   # the other way round
    assert "0 new, 1 changed, 11 seen before" in load(tmp_path, small_feed).stdout
    after = state(tmp_path)
    changed = [new for old, new in zip(before.pop("product"), after.pop("product")) if old != new]
    assert len(changed) == 1 and "style three" in str(changed) and after == before


def test_a_feed_keeps_ids_and_takes_pictures_by_path_and_url_and_says_what_is_missing(serve,
                                                                                     tmp_path):
    server = serve(script=lambda path, query: (200, picture(8)) if path == "/a.png" else None)
    (tmp_path / "shop" / "sub").mkdir(parents=True)
    (tmp_path / "shop" / "sub" / "ü 1.jpg").write_bytes(picture(1))
    (tmp_path / "outside.jpg").write_bytes(picture(2))
    links = {"007": "sub/ü 1.jpg", "sku,1": f"http://{server.site}/a.png", "42": "none.jpg",
             "a": "../outside.jpg", "b": "sub", "c": "sub/ü 1.jpg/x.jpg", "d": "x" * 5000,
             "e": "file:///etc/passwd", "f": "http://[bad/", "g": "ftp://x/y", "h": "",
             "i": "http://", "j": "\x01"}
    feed = write_feed(tmp_path / "shop" / "products.tsv", [
        (own, f"Jean {own}", "", "Jeans > Boot", link, "") for own, link in links.items()])
    done = load(tmp_path, feed)
    assert "pictures: 2 fetched, 10 unusable, 0 not fetched" in done.stdout
    good = select(tmp_path, "select external_id, path from picture join product on id = product_id "
                            "where status = 'ok' order by external_id")
    files = pictures_in(tmp_path)
    assert [(own, files[path]) for own, path in good] == [("007", picture(1)),
                                                          ("sku,1", picture(8))]
    assert select(tmp_path, "select id from product where external_id = '42'") == [(42,)]
    (tmp_path / "shop" / "none.jpg").write_bytes(picture(5))   # a file that comes later is found
    assert "pictures: 1 fetched, 7 unusable" in load(tmp_path, feed).stdout


def test_a_feed_is_loaded_whole_or_not_at_all(small_feed, tmp_path):
    load(tmp_path, small_feed)
    before = state(tmp_path)
    text = small_feed.read_text(encoding="utf-8")
    for content in ("", "not a feed\n", text.split("\n", 1)[1]):
        small_feed.write_text(content, encoding="utf-8")
        done = load(tmp_path, small_feed, status=2)
        assert done.stderr.count("\n") == 1 and done.stdout == ""
        assert state(tmp_path) == before


def test_a_feed_and_an_api_share_a_file_and_leave_each_other_alone(serve, small_feed, tmp_path):
    server = serve()
    run(tmp_path, server)
    api = select(tmp_path, "select * from category order by id")
    products = select(tmp_path, "select * from product where source = 'shopstyle' order by id")
    load(tmp_path, write_feed(small_feed.parent / "more.tsv", [
        ("1", "Jean", "", "Jeans > Boot", "", ""), ("616000000", "Jean", "", "Bags", "", "")]))
    assert set(api) < set(select(tmp_path, "select * from category"))
    server.seen.clear()
    run(tmp_path, server)
    assert products_of(server) == []   # a feed's leaves are not asked of the API
    assert set(api) < set(select(tmp_path, "select * from category"))
    assert select(tmp_path, "select * from product where source = 'shopstyle' order by id"
                  ) == products


def test_a_catalogue_gives_the_same_products_by_feed_and_through_the_api(tmp_path):
    """The sample shop serves a feed, and it is crawled over HTTP."""
    script = REPO / "sample" / "shop.py"
    if "--feed" not in subprocess.run([sys.executable, script, "--help"], capture_output=True,
                                      text=True).stdout:
        pytest.skip("sample/shop.py has no --feed yet")
    feed = draw_feed(tmp_path / "shop", per_leaf=5)
    (tmp_path / "feed").mkdir()
    load(tmp_path / "feed", feed)
    with subprocess.Popen([sys.executable, script, "--feed", feed], stdout=subprocess.PIPE,
                          text=True, env=environment()) as server:
        try:
            run(tmp_path / "api", server.stdout.readline().strip())
        finally:
            server.terminate()
    same = "select product.name, description, category.name, picture.sha256 from product " \
           "join category on category.id = category_id join picture on product_id = product.id " \
           "order by product.name"
    assert len(select(tmp_path / "feed", same)) == 15
    assert select(tmp_path / "api", same) == select(tmp_path / "feed", same)


LIVOSTYLE = REPO.parent / "shared" / "data" / "livostyle" / "products.tsv"


@pytest.mark.skipif(not LIVOSTYLE.is_file(), reason="../shared/data/livostyle is not here")
def test_a_real_feed_loads_without_a_line_left_out(tmp_path):
    import feeds
    skipped = []
    products = list(feeds.read_feed(str(LIVOSTYLE), skipped))
    assert len(products) == 2756 and skipped == []
    assert len({product.external_id for product in products}) == 2756
    assert all(Path(feeds.picture_file(LIVOSTYLE, product.image)).is_file()
               for product in products if product.image)


# ---- the command --------------------------------------------------------------------------------

@pytest.mark.parametrize("args, key, word", (
    ((), "", "SHOPSTYLE_API_KEY"), ((), "  ", "SHOPSTYLE_API_KEY"),
    (("--api-url", "shop.example"), KEY, "--api-url"), (("--api-url", ""), KEY, "--api-url"),
    (("--api-url", "ftp://shop.example/"), KEY, "--api-url"),
    (("--api-url", "http://[bad"), KEY, "--api-url"),
    (("--api-url", "http://"), KEY, "--api-url"),
    (("--api-url", "http://x:99999/"), KEY, "--api-url"),
    (("--feed", "none.tsv"), "", "none.tsv"), (("--feed", "."), "", "--feed takes a file"),
    (("--feed", ""), "", "--feed takes a file"), (("--max-per-category", "0"), KEY, "--max-per-category"),
    (("--max-per-category", "many"), KEY, "--max-per-category"), (("--roots", "x"), KEY, "--roots"),
))
def test_a_users_mistake_is_one_sentence_and_exit_2(tmp_path, monkeypatch, capsys, args, key, word):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOPSTYLE_API_KEY", key)
    monkeypatch.setattr(sys, "argv", ["crawl.py", *args])
    try:
        status = crawl.run(crawl.main)
    except SystemExit as stop:   # argparse's own
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2 and captured.out == "" and os.listdir(tmp_path) == []
    assert word in captured.err.splitlines()[-1] and "Traceback" not in captured.err
    assert "usage" in captured.err or captured.err.count("\n") == 1


def test_help_needs_no_key_and_unknown_databases_are_refused(tmp_path):
    assert "--feed" in run_script("crawl", "--help", cwd=tmp_path).stdout
    (tmp_path / "crawl.db").write_bytes(b"not a database" * 99)
    feed = draw_feed(tmp_path / "shop", per_leaf=1)
    assert "crawl.db" in load(tmp_path, feed, status=2).stderr
    assert load(tmp_path, feed, "--db-path", "none/crawl.db", status=2).stderr.count("\n") == 1
    done = load(tmp_path, feed, "--db-path", "c.db", "--images-path", "crawl.db", status=2)
    assert done.stderr.splitlines()[-1].startswith("crawl.py: ")


def test_the_shop_is_asked_where_the_environment_says(serve, tmp_path):
    server = serve(catalogue(per_leaf=1))
    done = run_script("crawl", cwd=tmp_path, env={"SHOPSTYLE_API_KEY": KEY,
                                                  "SHOPSTYLE_API_URL": server.api_url.rstrip("/")})
    assert done.returncode == 0 and "3 new" in done.stdout


def test_a_url_with_a_password_is_not_shown():
    with pytest.raises(UserError) as caught:
        shopstyle.Shop("ftp://user:secret@shop.example/", KEY)
    assert "secret" not in str(caught.value)
    assert shopstyle.Shop("http://user:secret@shop.example/", KEY).host == "shop.example"


def test_pictures_whose_files_are_gone_are_fetched_again(small_feed, tmp_path):
    assert load(tmp_path, small_feed).returncode == 0
    before = sorted(path.name for path in (tmp_path / "images").rglob("*.*"))
    shutil.rmtree(tmp_path / "images")
    done = load(tmp_path, small_feed)
    assert done.returncode == 0 and "12 pictures are no longer in images" in done.stderr
    assert "pictures: 12 fetched" in done.stdout
    assert sorted(path.name for path in (tmp_path / "images").rglob("*.*")) == before


def test_a_feed_line_whose_id_stood_before_is_left_out_and_told(tmp_path):
    feed = write_feed(tmp_path / "f.tsv", [("1", "A", "", "X"), ("2", "B", "", "X"),
                                           ("1", "C", "", "Y")], "id title description product_type")
    for words in ("2 new, 0 changed, 0 seen before, 1 left out",
                  "0 new, 0 changed, 2 seen before, 1 left out"):
        done = load(tmp_path, feed)
        assert words in done.stdout and "line 4: the id 1 stood in an earlier line" in done.stderr


def test_a_file_that_is_no_feed_leaves_no_empty_crawl_db(tmp_path):
    (tmp_path / "f.csv").write_text("sku,name,product_type\n1,A,X\n")
    load(tmp_path, tmp_path / "f.csv", status=2)
    assert os.listdir(tmp_path) == ["f.csv"]
