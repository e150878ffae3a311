"""crawl.py against real HTTP on loopback: the whole way, kills and signals, odd trees and feeds.

The shop is sample/shop.py's, with a script in front that may answer a request itself.
"""

import contextlib
import gzip
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import quote

import pytest
from conftest import REPO, draw_feed, environment, run_script, write_feed
from loopback import (
    HERE,
    KEY,
    catalogue,
    load,
    picture,
    pictures_in,
    products_of,
    run,
    select,
    shop_at,
    state,
)

import crawl
from common.terminal import UserError
from crawling import shopstyle_api, shopstyle_tree
from sample.catalogue import make_catalogue

# ---- the whole way ------------------------------------------------------------------------------


def test_a_whole_crawl_files_all_products_and_keeps_the_key_to_itself(serve, tmp_path):
    content = make_catalogue(leaves=3, per_leaf=12)
    server = serve(content)
    done = run(tmp_path, server)
    assert select(
        tmp_path,
        "select id, category_id, name, description, source, external_id from product order by id",
    ) == sorted(
        (
            product.id,
            product.categories[0],
            product.name,
            product.description,
            "shopstyle",
            str(product.id),
        )
        for product in content.products
    )
    counts = dict(select(tmp_path, "select id, product_count from category where leaf = 1"))
    assert counts == {"bootcut-jeans": 12, "skinny-jeans": 12, "clutches": 12}
    assert select(tmp_path, "select path from category where id = 'clutches'") == [
        ("handbags/clutches",)
    ]
    wanted = {product.id: product.picture() for product in content.products if product.has_picture}
    stored = dict(select(tmp_path, "select product_id, path from picture where status = 'ok'"))
    files = pictures_in(tmp_path)
    assert {number: files[path] for number, path in stored.items()} == wanted
    assert done.stdout.startswith(
        "products: 36 in 3 leaves (0 at an inner category, 0 without "
        "one); this run: 36 new, 0 changed, "
    )
    lines = done.stdout.splitlines()
    assert lines[1] == (
        f"pictures: {len(wanted)} products have theirs, 0 an unusable one, 0 none "
        f"yet; this run: {len(wanted)} fetched, 0 unusable"
    )
    assert lines[2].startswith("3 leaves with fewer than 1000 products, such as ")
    assert "clutches (12 of the " in lines[2]
    assert lines[3].startswith(f"requests: {len(server.seen)}, none of them retries; ")
    for path in tmp_path.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not [
            form
            for form in (KEY, quote(KEY), quote(KEY, safe=""))
            if form.encode() in data + os.fsencode(path)
        ]
    assert [cat for path, cat, _ in server.seen if path == "categories"] == ["women"]

    before, asked = state(tmp_path), len(server.seen)
    done = run(tmp_path, server)
    assert state(tmp_path) == before
    assert server.seen[asked:] == [("categories", "women", None)]
    assert "this run: 0 new, 0 changed, 0 seen before, 0 left out" in done.stdout


def kill_after(server, folder, counts, chance):
    """Crawl into a folder again and again, and kill each run when it has made so many requests:
    with the answer still out, or a moment after it went. Returns how many were killed."""
    ready, killed = threading.Event(), 0

    def script(path, query):
        with server.lock:
            server.left -= 1
            due = server.left == 0
        if due:
            ready.wait()
            kill = threading.Timer(chance.choice((0, 0, 0.002, 0.01, 0.03)), server.victim.kill)
            kill.start()
            if kill.interval == 0:
                kill.join()

    server.script = script
    folder.mkdir()
    for server.left in counts:
        ready.clear()
        server.victim = subprocess.Popen(
            [sys.executable, REPO / "crawl.py", *HERE, "--api-url", server.api_url],
            cwd=folder,
            env=environment(SHOPSTYLE_API_KEY=KEY),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        ready.set()
        server.victim.communicate(timeout=60)
        killed += server.victim.returncode == -signal.SIGKILL
    server.script = lambda path, query: None
    return killed


def test_killed_at_any_instant_and_run_again_it_ends_as_if_undisturbed(serve, tmp_path):
    server, chance = serve(catalogue(per_leaf=56)), random.Random(2016)
    run(tmp_path / "whole", server)
    killed = kill_after(server, tmp_path / "killed", (1, 2, 3, 2, 4, 5, 40, 90, 130, 20), chance)
    assert killed >= 7  # on a busy machine a crawl may come to its end before the kill does
    run(tmp_path / "killed", server)
    assert state(tmp_path / "killed") == state(tmp_path / "whole")


def test_what_a_killed_crawl_left_half_written_is_swept_away_and_nothing_else(small_feed, tmp_path):
    load(tmp_path, small_feed)
    mark = hashlib.sha256(os.path.realpath(tmp_path / "crawl.db").encode()).hexdigest()[:16]
    own, other, mine = (
        tmp_path / "images" / name
        for name in (f".{mark}-aa.tmp", ".0123456789abcdef-bb.tmp", "notes.tmp")
    )
    for path in (own, other, mine):
        path.write_bytes(b"half a pict")
    load(tmp_path, small_feed)
    assert [path.exists() for path in (own, other, mine)] == [False, True, True]


@pytest.fixture
def held(serve, tmp_path):
    """A crawl whose third page of products is kept waiting: (server, process, go_on)."""
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
        [sys.executable, REPO / "crawl.py", *HERE, "--api-url", server.api_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path / "stopped",
        env=environment(SHOPSTYLE_API_KEY=KEY),
        text=True,
    )
    assert arrived.wait(30)
    yield server, process, go_on
    go_on.set()
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number, status", ((signal.SIGINT, 130), (signal.SIGTERM, 143)))
def test_a_signal_finishes_the_page_in_flight_and_the_next_run_goes_on(
    held, tmp_path, number, status
):
    server, process, go_on = held
    process.send_signal(number)
    time.sleep(0.2)
    assert process.poll() is None  # it waits for its page
    go_on.set()
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == status and "Traceback" not in stderr
    assert "run the same command again to go on" in stderr and stdout.startswith("products: ")
    assert len(products_of(server)) == 3
    assert (
        select(tmp_path / "stopped", "select max(next_offset) from category") == [(50,)]
        or len(select(tmp_path / "stopped", "select 1 from category where next_offset > 0")) == 2
    )
    run(tmp_path / "stopped", server)
    assert len(products_of(server, "boot")) == len(set(products_of(server, "boot")))
    assert state(tmp_path / "stopped") == state(tmp_path / "whole")


def test_a_second_signal_ends_it_at_once(held, tmp_path):
    server, process, go_on = held
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert process.wait(5) == 130 and not go_on.is_set()
    go_on.set()
    run(tmp_path / "stopped", server)
    assert state(tmp_path / "stopped") == state(tmp_path / "whole")


def test_a_second_crawl_of_the_same_file_is_refused_and_one_of_another_is_not(held, tmp_path):
    server, process, go_on = held
    asked = len(server.seen)
    done = run(tmp_path / "stopped", server, status=2)
    assert "another crawl is at work on crawl.db" in done.stderr and done.stderr.count("\n") == 1
    assert {seen[0] for seen in server.seen[asked:]} == {"categories"}
    (tmp_path / "stopped" / "link.db").symlink_to("crawl.db")
    assert (
        "another crawl"
        in run(tmp_path / "stopped", server, "--db-path", "link.db", status=2).stderr
    )
    server.script = lambda path, query: None
    run(tmp_path / "stopped", server, "--db-path", "other.db")
    go_on.set()
    assert process.wait(30) == 0
    assert not list((tmp_path / "stopped").glob("*-crawling"))


def test_max_per_category_stops_at_the_page_that_reaches_it(serve, tmp_path):
    server = serve(
        catalogue(per_leaf=180, leaves={"boot": "jeans", "slim": "jeans"}),
        lambda path, query: (404, b"") if path.startswith("/pim/") else None,
    )
    run(tmp_path, server, "--max-per-category", "30", status=1)  # no picture is there
    pages = len(products_of(server, "boot"))
    found = (
        "select count(*) from product_category c join product on id = product_id where "
        "found = 1 and c.category_id = 'boot' and product.category_id = 'boot'"
    )
    assert 30 <= select(tmp_path, found)[0][0] < 30 + shopstyle_api.PAGE
    assert pages < len(server.index.shelves["boot"]) // shopstyle_api.PAGE


def test_a_larger_max_per_category_goes_on_where_it_was(serve, tmp_path):
    server = serve(
        catalogue(per_leaf=180, leaves={"boot": "jeans", "slim": "jeans"}),
        lambda path, query: (404, b"") if path.startswith("/pim/") else None,
    )
    run(tmp_path / "whole", server, "--max-per-category", "150", status=1)  # no picture is there
    run(tmp_path / "twice", server, "--max-per-category", "30", status=1)
    asked = len(products_of(server))
    run(tmp_path / "twice", server, "--max-per-category", "30", status=1)
    assert len(products_of(server)) == asked
    run(tmp_path / "twice", server, "--max-per-category", "150", status=1)
    assert "0" not in [offset for _, _, offset in products_of(server)[asked:]]
    assert state(tmp_path / "twice") == state(tmp_path / "whole")


@pytest.mark.parametrize(
    "late",
    (
        ("boot", "tote"),
        *(pytest.param((leaf,), marks=pytest.mark.slow) for leaf in ("boot", "slim", "tote")),
    ),
)
def test_products_and_labels_do_not_depend_on_which_leaf_came_first(serve, tmp_path, late):
    """Products without a list of their own are filed by where they were found: a leaf that comes
    late takes some from others, which then have too few and go on."""
    down = set()
    shelves = {"boot": range(0, 900), "slim": range(300, 1500), "tote": range(0, 2000, 2)}

    def script(path, query):
        if path == "products":
            if query["cat"] in down:
                return 404, {"errorCode": 404}
            shelf, start = shelves[query["cat"]], int(query["offset"])
            return 200, {
                "metadata": {"total": len(shelf)},
                "products": [{"id": 1 + n, "name": f"Jean {n}"} for n in shelf[start : start + 50]],
            }

    server = serve(script=script)
    run(tmp_path / "whole", server, "--max-per-category", "200")
    down.update(late)
    run(tmp_path / "late", server, "--max-per-category", "200", status=1)
    down.clear()
    run(tmp_path / "late", server, "--max-per-category", "200")
    assert state(tmp_path / "late") == state(tmp_path / "whole")
    counts = dict(select(tmp_path / "whole", "select id, product_count from category where leaf"))
    assert min(counts.values()) >= 200


def test_status_says_where_a_crawl_stands_and_a_dry_run_what_it_would_do(serve, tmp_path):
    server = serve(catalogue(per_leaf=56))
    server.script = lambda path, query: (
        (404, {"errorCode": 404})
        if path == "products" and query["cat"] == "slim"
        else (404, b"")
        if path.startswith("/pim/")
        else None
    )
    plan = run(tmp_path, server, "--dry-run").stdout
    assert "women" in plan and "none is known yet" in plan
    assert server.seen == [] and list(tmp_path.iterdir()) == []
    run(tmp_path, server, status=1)
    before, asked = state(tmp_path), len(server.seen)
    told = run_script("crawl", "--status", cwd=tmp_path).stdout
    assert "leaves: 3; 2 read to their end, 0 with 1000 products, 0 begun, 1 to begin" in told
    assert "  slim: " in told and "rows read of an unknown number; to go on" in told
    assert "  boot: " in told and "the shop shows no more" in told
    assert "products of shopstyle: " in told
    assert f"pictures: {len(before['picture'])} failed: error 404" in told
    plan = run(tmp_path, server, "--dry-run").stdout
    assert "go on in 1 of the 3 leaves known" in plan and "and 0 pictures" in plan
    assert state(tmp_path) == before and len(server.seen) == asked
    done = run_script("crawl", "--status", "--db-path", "none.db", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_hundred_kills_leave_no_trace(serve, tmp_path):
    server, chance = serve(catalogue(per_leaf=500)), random.Random(100)
    run(tmp_path / "whole", server)
    # Together fewer than a crawl needs, so that none comes to its end.
    counts = [chance.randrange(1, 25) for _ in range(100)]
    assert sum(counts) < len(server.seen)
    asked = len(server.seen)
    assert kill_after(server, tmp_path / "killed", counts, chance) == 100
    print(f"killed 100 times; {asked} requests undisturbed, {len(server.seen) - asked} so")
    run(tmp_path / "killed", server)
    assert state(tmp_path / "killed") == state(tmp_path / "whole")
    assert pictures_in(tmp_path / "killed") == pictures_in(tmp_path / "whole")  # nor a .tmp


# ---- the tree -----------------------------------------------------------------------------------


def node(own, parent=None, **more):
    return {"id": own, "name": own.title(), **({"parentId": parent} if parent else {}), **more}


def fetch(serve, script, root="women"):
    server = serve(script=script)
    rows = shopstyle_tree.fetch_tree(shop_at(server), root)
    return {row[0]: row for row in rows}, server


def tree_of(nodes):
    return lambda path, query: (
        200,
        {"metadata": {"root": node("women", "all")}, "categories": nodes},
    )


LEVELS = {"women": ["jeans", "bags"], "jeans": ["boot", "slim"], "bags": ["tote"]}


@pytest.mark.parametrize("refuses", (False, True), ids=("answers one level", "refuses the whole"))
def test_a_host_that_gives_no_whole_tree_is_asked_a_level_at_a_time(serve, refuses):
    def script(path, query):
        if refuses and "depth" not in query:
            return 400, {"errorCode": 400, "errorName": "TooDeep"}
        own = query["cat"]
        return 200, {
            "metadata": {"root": node(own)},
            "categories": [node(child, own) for child in LEVELS.get(own, ())],
        }

    rows, server = fetch(serve, script)
    assert {own: row[1:4] for own, row in rows.items()} == {
        "women": (None, 0, ""),
        "jeans": ("women", 0, "jeans"),
        "bags": ("women", 0, "bags"),
        "boot": ("jeans", 1, "jeans/boot"),
        "slim": ("jeans", 1, "jeans/slim"),
        "tote": ("bags", 1, "bags/tote"),
    }
    assert sorted(cat for _, cat, _ in server.seen) == sorted(
        ["women"] * (1 + refuses) + ["jeans", "bags", "boot", "slim", "tote"]
    )


@pytest.mark.parametrize(
    "nodes, leaves, gone",
    (
        (
            [
                node("jeans", "women"),
                node("bags", "women"),
                node("boot", "jeans"),
                node("boot", "bags"),
                node("tote", "bags"),
            ],
            {"jeans/boot", "bags/tote"},
            (),
        ),  # under two parents
        (
            [node("boot", "jeans"), node("jeans", "women")],
            {"jeans/boot"},
            (),
        ),  # child before parent
        ([node("a", "women"), node("b", "a"), node("a", "b")], {"a/b"}, ()),  # a cycle
        ([node("a", "women"), node("b", "a"), node("women", "b")], {"a/b"}, ()),
        ([node("a", "women"), node("b", "a"), node("b", "b")], {"a/b"}, ()),  # its own parent
        (
            [node("a", "women"), node("b", "a"), node("c", "elsewhere"), node("d", "c")],
            {"a/b"},
            ("c", "d"),
        ),
        ([node("a", "women"), node("a", "women"), node("b", "a"), node("b", "a")], {"a/b"}, ()),
        (
            [
                node("a", "women"),
                node("b", "a"),
                None,
                7,
                [],
                {},
                node("x/y", "a"),
                node("x,y", "a"),
                {"id": 5, "parentId": "a"},
                {"id": None},
                {"id": ""},
                node("\ud800", "a"),
                node("\x1b[2J", "a"),
                node("c", ["a"]),
                node("d", {"a": 1}),
                node("e", 7),
            ],
            {"a/b"},
            ("c", "d", "e", "x/y", "x,y", "\ud800", "\x1b[2J", ""),
        ),
        (
            [
                node("a", "women"),
                {"id": "b", "parentId": "a", "name": None},
                {"id": "c", "parentId": "a", "name": {"en": "C\ud800\0"}},
            ],
            {"a/b", "a/c"},
            (),
        ),
    ),
)
def test_a_tree_with_anything_in_it_becomes_a_tree(serve, nodes, leaves, gone):
    rows, _ = fetch(serve, tree_of(nodes))
    assert {row[3] for row in rows.values() if row[2]} == leaves
    assert not set(gone) & set(rows)
    for own, parent, _leaf, path, name in rows.values():
        assert own == "women" or path.split("/") == (
            rows[parent][3].split("/") if rows[parent][3] else []
        ) + [own]
        "".join((own, path, name)).encode("utf-8")


@pytest.mark.parametrize(
    "answer",
    (
        {},
        {"categories": None},
        {"categories": {}},
        {"categories": []},
        {"metadata": 5},
        {"metadata": {"root": {"name": 7, "parentId": {}}}, "categories": []},
    ),
)
def test_a_shop_without_categories_is_one_sentence(serve, tmp_path, answer):
    done = run(tmp_path, serve(script=lambda path, query: (200, answer)), status=2)
    assert "--root women" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "crawl.db").exists()


def test_an_odd_root_is_stored_as_text(serve):
    rows, _ = fetch(
        serve,
        lambda path, query: (
            200,
            {
                "metadata": {"root": {"name": {"a": 1}, "parentId": ["x"]}},
                "categories": [node("a", "women"), node("b", "a")],
            },
        ),
    )
    assert all(
        value is None or isinstance(value, (str, int)) for row in rows.values() for value in row
    )


# ---- products -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item", (None, 5, "x", [], {}, {"id": None}, {"id": True}, {"id": 1.5}, {"id": []}, {"id": " "})
)
def test_a_product_without_an_id_is_none(item):
    assert shopstyle_api.read_product(item, "boot", KEY) is None


@pytest.mark.parametrize(
    "item, field, value",
    (
        ({"id": 7}, "external_id", "7"),
        ({"id": "0042"}, "external_id", "0042"),
        ({"id": 2**70}, "external_id", str(2**70)),
        ({"id": -5}, "external_id", "-5"),
        ({"id": "a\ud800\0"}, "external_id", "a?"),
        ({"id": 1, "name": None}, "name", ""),
        ({"id": 1}, "description", ""),
        ({"id": 1, "name": "a\0b\udfff"}, "name", "a b?"),
        ({"id": 1, "name": 12}, "name", "12"),
        ({"id": 1, "categories": None}, "listed", []),
        ({"id": 1, "categories": {"id": "x"}}, "listed", []),
        (
            {"id": 1, "categories": [None, 5, {}, {"id": None}, {"id": 5}, {"id": "boot"}]},
            "listed",
            ["boot"],
        ),
        ({"id": 1, "categories": [{"id": "a\ud800"}]}, "listed", ["a?"]),
        ({"id": 1, "name": f"a {KEY}"}, "name", "a "),
        (
            {"id": 1, "description": f"<a href='?pid={quote(KEY)}'>"},
            "description",
            "<a href='?pid='>",
        ),
        ({"id": 1, "image": None}, "image", ""),
        ({"id": 1, "image": {"sizes": []}}, "image", ""),
        ({"id": 1, "image": {"sizes": {"XLarge": None, "Best": {"url": 5}}}}, "image", ""),
        (
            {
                "id": 1,
                "image": {
                    "sizes": {
                        "Medium": {"url": "http://x/m.jpg"},
                        "Best": {"url": "http://x/b.jpg"},
                    }
                },
            },
            "image",
            "http://x/b.jpg",
        ),
    ),
)
def test_odd_fields_of_a_product(item, field, value):
    assert shopstyle_api.read_product(item, "boot", KEY)[field] == value


@pytest.mark.parametrize(
    "key, url, kept",
    (
        (KEY, f"http://x/a.jpg?pid={quote(KEY, safe='')}&w=3", "http://x/a.jpg?w=3"),
        (KEY, f"http://x/a.jpg?PID={KEY}", "http://x/a.jpg"),
        (KEY, f"http://x/{quote(KEY, safe='')}/a.jpg", "http://x//a.jpg"),
        (KEY, f"http://x/a.jpg?u=y{quote(KEY, safe='')}", "http://x/a.jpg?u=y"),
        ("uid1-2-3", "http://x/uid1-2-3/a.jpg?k=uid1-2-3", "http://x//a.jpg?k="),
        ("x", "http://img.xy/pim/a_xlarge.jpg?x=1", "http://img.xy/pim/a_xlarge.jpg?x=1"),
        ("e", "http://e.example/sale/a_xlarge.jpg", "http://e.example/sale/a_xlarge.jpg"),
        (KEY, "http://[bad/a.jpg", "http://[bad/a.jpg"),
    ),
)
def test_the_key_is_taken_out_of_a_pictures_url_and_nothing_else(key, url, kept):
    item = {"id": 1, "image": {"sizes": {"XLarge": {"url": url}}}}
    image = shopstyle_api.read_product(item, "boot", key)["image"]
    assert image == kept


def test_products_with_anything_in_them_are_kept_and_the_rest_counted(serve, tmp_path):
    odd = [
        {
            "id": 1,
            "name": "Jean",
            "categories": [{"id": "boot"}],
            "image": {"sizes": {"XLarge": {"url": "http://[bad"}}},
        },
        {"id": "9" * 5000, "name": ["list"], "categories": [{"id": "\ud800"}, {"id": "boot"}]},
        {"id": 2**63 - 1, "name": "big", "categories": [{"id": f"{n}"} for n in range(40000)]},
        {"id": "text", "name": None, "description": {"a": []}},
        {"name": "no id"},
        None,
        "x",
        {"id": 3, "name": "\x1b[2J\0\ud800", "description": "<script>", "image": {"sizes": {}}},
    ]

    def script(path, query):
        if path == "products":
            return 200, {"metadata": {}, "products": odd if query["offset"] == "0" else []}

    done = run(tmp_path, serve(catalogue(leaves={"boot": "jeans"}), script), status=1)
    assert "none of the 1 pictures of this load" in done.stderr
    assert "5 new, 0 changed, 0 seen before, 3 left out" in done.stdout
    assert select(tmp_path, "select distinct category_id from product") == [("boot",)]
    assert "\x1b" not in done.stdout + done.stderr


# ---- feeds --------------------------------------------------------------------------------------


def test_a_feed_loaded_twice_is_unchanged_and_a_changed_row_is_changed(small_feed, tmp_path):
    assert "12 new, 0 changed, 0 seen before" in load(tmp_path, small_feed).stdout
    before = state(tmp_path)
    assert [
        row[0] for row in select(tmp_path, "select distinct category_id from product order by 1")
    ] == ["bags.clutches", "jeans.bootcut-jeans", "jeans.skinny-jeans"]
    assert select(tmp_path, "select count(*) from picture where status = 'ok'") == [(12,)]
    assert select(
        tmp_path,
        "select count(distinct group_key) from product where group_key like 'feed group-%'",
    ) == [(3,)]
    assert "0 new, 0 changed, 12 seen before" in load(tmp_path, small_feed).stdout
    assert state(tmp_path) == before
    text = small_feed.read_text(encoding="utf-8").splitlines()
    small_feed.write_text(
        "\n".join([text[0], *text[:0:-1]]).replace("style 3", "style three"), encoding="utf-8"
    )  # the other way round
    assert "0 new, 1 changed, 11 seen before" in load(tmp_path, small_feed).stdout
    after = state(tmp_path)
    changed = [new for old, new in zip(before.pop("product"), after.pop("product")) if old != new]
    assert len(changed) == 1 and "style three" in str(changed) and after == before


def test_a_feed_keeps_ids_and_takes_pictures_by_path_and_url_and_says_what_is_missing(
    serve, tmp_path
):
    server = serve(script=lambda path, query: (200, picture(8)) if path == "/a.png" else None)
    (tmp_path / "shop" / "sub").mkdir(parents=True)
    (tmp_path / "shop" / "sub" / "ü 1.jpg").write_bytes(picture(1))
    (tmp_path / "outside.jpg").write_bytes(picture(2))
    links = {
        "007": "sub/ü 1.jpg",
        "sku,1": f"http://{server.site}/a.png",
        "42": "none.jpg",
        "a": "../outside.jpg",
        "b": "sub",
        "c": "sub/ü 1.jpg/x.jpg",
        "d": "x" * 5000,
        "e": "file:///etc/passwd",
        "f": "http://[bad/",
        "g": "ftp://x/y",
        "h": "",
        "i": "http://",
        "j": "\x01",
    }
    feed = write_feed(
        tmp_path / "shop" / "products.tsv",
        [(own, f"Jean {own}", "", "Jeans > Boot", link, "") for own, link in links.items()],
    )
    done = load(tmp_path, feed)
    assert (
        "pictures: 2 products have theirs, 10 an unusable one, 0 none yet; this run: "
        "2 fetched, 10 unusable"
    ) in done.stdout
    good = select(
        tmp_path,
        "select external_id, path from picture join product on id = product_id "
        "where status = 'ok' order by external_id",
    )
    files = pictures_in(tmp_path)
    assert [(own, files[path]) for own, path in good] == [
        ("007", picture(1)),
        ("sku,1", picture(8)),
    ]
    assert select(tmp_path, "select id from product where external_id = '42'") == [(42,)]
    (tmp_path / "shop" / "none.jpg").write_bytes(picture(5))  # a file that comes later is found
    assert "this run: 1 fetched, 7 unusable" in load(tmp_path, feed).stdout


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
    load(
        tmp_path,
        write_feed(
            small_feed.parent / "more.tsv",
            [("1", "Jean", "", "Jeans > Boot", "", ""), ("616000000", "Jean", "", "Bags", "", "")],
        ),
    )
    assert set(api) < set(select(tmp_path, "select * from category"))
    server.seen.clear()
    run(tmp_path, server)
    assert products_of(server) == []  # a feed's leaves are not asked of the API
    assert set(api) < set(select(tmp_path, "select * from category"))
    assert (
        select(tmp_path, "select * from product where source = 'shopstyle' order by id") == products
    )


def test_a_catalogue_gives_the_same_products_by_feed_and_through_the_api(tmp_path):
    """The sample shop serves a feed, and it is crawled over HTTP."""
    script = REPO / "sample" / "shop.py"
    if (
        "--feed"
        not in subprocess.run(
            [sys.executable, script, "--help"], capture_output=True, text=True
        ).stdout
    ):
        pytest.skip("sample/shop.py has no --feed yet")
    feed = draw_feed(tmp_path / "shop", per_leaf=5)
    (tmp_path / "feed").mkdir()
    load(tmp_path / "feed", feed)
    with subprocess.Popen(
        [sys.executable, script, "--feed", feed],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as server:
        try:
            run(tmp_path / "api", server.stdout.readline().strip())
        finally:
            server.terminate()
    same = (
        "select product.name, description, category.name, picture.sha256 from product "
        "join category on category.id = category_id join picture on product_id = product.id "
        "order by product.name"
    )
    assert len(select(tmp_path / "feed", same)) == 15
    assert select(tmp_path / "api", same) == select(tmp_path / "feed", same)


CATALOGUES = REPO.parent / "shared" / "data"


@pytest.mark.parametrize(
    "name",
    (
        pytest.param("livostyle", marks=pytest.mark.slow),
        pytest.param("hm", marks=pytest.mark.slow),
        pytest.param("hm-text", marks=pytest.mark.slow),
    ),
)
def test_a_real_feed_loads_whole(tmp_path, name):
    feed = CATALOGUES / name / "products.tsv"
    if not feed.is_file():
        pytest.skip(f"../shared/data/{name} is not here")
    lines = feed.read_text(encoding="utf-8").rstrip("\n").split("\n")
    header = lines[0].split("\t")
    rows = [dict(zip(header, line.split("\t"))) for line in lines[1:]]
    done = load(tmp_path, feed)
    assert f"this run: {len(rows)} new, 0 changed, 0 seen before, 0 left out" in done.stdout
    stored = select(
        tmp_path,
        """select external_id, product.name, path from product
                                 left join category on category.id = category_id""",
    )
    assert {(number, title) for number, title, _ in stored} == {
        (row["id"].strip(), row["title"].strip()) for row in rows
    }
    depths = {
        row["id"].strip(): len(row["product_type"].split(" > ")) if row["product_type"] else 0
        for row in rows
    }
    assert {number: len(path.split("/")) if path else 0 for number, _, path in stored} == depths
    assert select(tmp_path, "select count(*) from category where product_count > 0") == [
        (len({row["product_type"] for row in rows if row["product_type"]}),)
    ]
    there = sum(
        1 for row in rows if row["image_link"] and (feed.parent / row["image_link"]).is_file()
    )
    assert select(tmp_path, "select count(*) from picture where status = 'ok'") == [(there,)]


def test_a_feed_comes_from_a_url_that_is_nowhere_told(serve, tmp_path):
    rows = [
        ["id", "title", "product_type", "image_link"],
        ["1", "Jean", "Jeans", "/one.jpg"],
        ["2", "Tote", "Bags", "2.jpg"],
        ["", "?"],
    ]
    text = "\n".join("\t".join(row) for row in rows)
    server = serve(
        script=lambda path, query: (
            (200, picture(1))
            if path == "/one.jpg"
            else (200, gzip.compress(text.encode()))
            if "secret77" in path
            else None
        )
    )
    url = f"http://127.0.0.1:{server.server_port}/apikey/secret77/feed.gz"
    done = load(tmp_path, url)
    assert "2 new" in done.stdout and "1 fetched, 1 unusable" in done.stdout
    assert "the feed, line 4: no id; left out" in done.stderr
    assert "secret77" not in done.stdout + done.stderr
    assert b"secret77" not in (tmp_path / "crawl.db").read_bytes()
    assert "2 seen before" in load(tmp_path, url).stdout


@pytest.mark.parametrize(
    "answer, word",
    (
        ((404, b""), "error 404"),
        ((503, b""), "error 503"),
        ((200, b""), "secret-less"),
        ((200, b"<html>sorry</html>"), "secret-less"),
    ),
)
def test_a_url_without_a_feed_is_one_sentence_and_leaves_nothing(serve, tmp_path, answer, word):
    server = serve(script=lambda path, query: answer)
    done = load(
        tmp_path,
        f"http://127.0.0.1:{server.server_port}/secret77/feed",
        status=1 if word == "error 503" else 2,
    )
    assert "secret77" not in done.stderr and done.stderr.count("\n") == 1
    assert word in done.stderr or word == "secret-less"
    assert os.listdir(tmp_path) == []
    for url in ("http://", "https://[bad/", "http://u:p@127.0.0.1/x"):
        assert load(tmp_path, url, status=2).stderr.count("\n") == 1


def test_all_pages_of_a_shopify_shop_are_read(serve, tmp_path):
    def script(path, query):
        if path != "/products.json":
            return 200, picture(int(path[1:-4]))
        first = 250 * (int(query["page"]) - 1)
        return 200, {
            "products": [
                {
                    "id": n,
                    "handle": f"jean-{n}",
                    "title": f"Jean {n}",
                    "body_html": "<p>Blue</p>",
                    "product_type": "Jeans",
                    "images": [{"src": f"{shop}/{n}.jpg", "position": 1}],
                }
                for n in range(first, min(first + 250, 260))
            ]
        }

    server = serve(script=script)
    shop = f"http://127.0.0.1:{server.server_port}"
    done = load(tmp_path, f"{shop}/products.json")
    assert "products: 260 in 1 leaf" in done.stdout and "260 fetched" in done.stdout
    assert [seen[0] for seen in server.seen].count("/products.json") == 3
    assert select(
        tmp_path, "select external_id, name, description from product where name = 'Jean 7'"
    ) == [("jean-7", "Jean 7", "<p>Blue</p>")]


@pytest.mark.parametrize("page", (30, 250))
def test_a_shopify_shop_is_read_to_its_end_whatever_its_pages_and_its_end_are_told(
    serve, tmp_path, page
):
    """30 a page, whatever is asked for; and no page is shown past the 8th, or the same for ever."""

    def script(path, query):
        first = page * (int(query["page"]) - 1)
        if page == 250 and int(query["page"]) > 8:
            return 400, {"errors": "Page * Limit exceeds the limit."}
        number = 11 if page == 30 else 99
        return 200, {
            "products": [
                {"handle": f"jean-{n}", "title": "Jean", "product_type": "Jeans"}
                for n in range(min(first, page * number), min(first, page * number) + page)
            ]
        }

    server = serve(script=script)
    done = load(tmp_path, f"http://127.0.0.1:{server.server_port}/products.json")
    if page == 30:
        assert "products: 360 in 1 leaf" in done.stdout and len(server.seen) == 13
    else:
        assert "products: 2000 in 1 leaf" in done.stdout
        assert "the shop shows only its first 2000 products" in done.stderr


def test_a_mistake_in_a_feed_from_a_url_names_no_temporary_file(serve, tmp_path):
    for body in (b"number\twords\n1\tJean\n", b"id\ttitle\n1\tcaf\xe9\n", b"<html><p>Log in"):
        server = serve(script=lambda path, query, body=body: (200, body))
        for flags in ((), ("--dry-run",)):
            done = load(tmp_path, f"http://127.0.0.1:{server.server_port}/feed", *flags, status=2)
            assert "the feed" in done.stderr and "/tmp" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_signal_ends_the_download_of_a_feed(serve, tmp_path):
    begun = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(600):
                handler.wfile.write(b"id\ttitle\n" * 9)
                handler.wfile.flush()
                begun.set()
                time.sleep(0.05)
        handler.close_connection = True

    server = serve(script=lambda path, query: drip)
    process = subprocess.Popen(
        [sys.executable, REPO / "crawl.py", "--feed", f"http://127.0.0.1:{server.server_port}/f"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert begun.wait(20)
    process.send_signal(signal.SIGINT)
    assert "run the same command again" in process.communicate(timeout=15)[1]
    assert process.returncode == 130 and os.listdir(tmp_path) == []


def test_a_signal_ends_the_reading_of_a_feed_where_no_product_comes(tmp_path):
    with open(tmp_path / "f.csv", "wb") as file:
        file.write(b"id,title,product_type\n1,Jean,Jeans\n")
        file.writelines(b"\n" * 1_000_000 for _ in range(90))
    process = subprocess.Popen(
        [sys.executable, REPO / "crawl.py", "--feed", "f.csv"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    while not any(path.endswith("f.csv") for path in open_files(process.pid)):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert "run the same command again" in process.communicate(timeout=30)[1]
    assert process.returncode == 130 and os.listdir(tmp_path) == ["f.csv"]


def open_files(process):
    """The paths of the files that a process has open."""
    paths = []
    with contextlib.suppress(FileNotFoundError):  # it has ended
        for name in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(FileNotFoundError):
                paths.append(os.readlink(f"/proc/{process}/fd/{name}"))
    return paths


def test_a_key_that_is_refused_in_the_middle_leaves_a_crawl_db(serve, tmp_path):
    server = serve(script=lambda path, query: (403, b"") if path == "products" else None)
    told = run(tmp_path, server, status=1).stderr  # it was good for the tree
    assert told.count("it refuses the key for this (403)") == 1
    assert "3 categories are not finished: " in told
    assert run_script("crawl", "--status", cwd=tmp_path).stdout.startswith("leaves: 3; 0 read")
    other = serve(script=lambda path, query: (403, b""))
    assert "refuses the key in SHOPSTYLE_API_KEY" in run(tmp_path, other, status=2).stderr


def test_what_a_tree_leaves_out_is_told(serve, tmp_path):
    nodes = [
        {"id": "jeans", "parentId": "women"},
        {"id": 7, "parentId": "women"},
        {"id": "a", "parentId": "b"},
        {"id": "b", "parentId": "a"},
        "x",
    ]
    server = serve(
        script=lambda path, query: (
            (200, {"categories": nodes})
            if path == "categories"
            else (200, {"products": [{"name": "Jean"}]})
        )
    )
    told = run(tmp_path, server).stderr
    assert "2 categories without a usable id" in told and "2 categories have no parent" in told
    assert "a product without a usable id; left out" in told and "jeans from row 0 on" in told


def test_columns_may_be_named_and_a_dry_run_says_what_would_be_loaded(tmp_path):
    (tmp_path / "f.csv").write_text("X1,X2,Shelf\n1,Jean,Women > Jeans\n2,Tote,\n,Gown,X\n")
    done = load(tmp_path, "f.csv", status=2)
    assert "'X1', 'X2', 'Shelf'" in done.stderr and "--column" in done.stderr
    flags = ("--column", "id=X1", "--column", "title=X2", "--column", "product_type=Shelf")
    done = load(tmp_path, "f.csv", *flags, "--dry-run")
    assert done.stdout.splitlines()[:3] == [
        "would load 2 products in 1 category (1 without one), 0 with a link to a picture, "
        "0 item groups",
        "products: 2 in 1 leaf (0 at an inner category, 1 without one); this run: 2 new, 0 "
        "changed, 0 seen before, 1 left out",
        "feed: 3 rows = 2 products + 0 merged + 1 left out",
    ]
    assert "f.csv, line 4: no id; left out" in done.stderr
    done = load(tmp_path, "f.csv", *flags, "--unlabelled", "--dry-run")
    assert "2 products in 0 categories (2 without one)" in done.stdout
    assert os.listdir(tmp_path) == ["f.csv"]
    assert (
        "products: 2 in 1 leaf (0 at an inner category, 1 without one)"
        in load(tmp_path, "f.csv", *flags).stdout
    )


def test_a_feed_without_its_categories_leaves_the_tree_as_it_is(tmp_path):
    """A category below a leaf would make it an inner one, and its products would not be learned."""
    (tmp_path / "f.csv").write_text("id,title,product_type\n1,Jean,Women > Jeans\n")
    load(tmp_path, "f.csv")
    tree = select(tmp_path, "select * from category order by id")
    (tmp_path / "f.csv").write_text(
        "id,title,product_type\n2,Slim Jean,Women > Jeans > Slim\n3,Hat,Hats > Wool\n"
    )
    done = load(tmp_path, "f.csv", "--unlabelled")
    assert "3 in 1 leaf (0 at an inner category, 2 without one)" in done.stdout
    assert select(tmp_path, "select * from category order by id") == tree


def test_a_feed_without_its_categories_takes_none_away(tmp_path):
    """As a shop's whole export has old and new products in it."""
    (tmp_path / "f.csv").write_text("id,title,product_type\n1,Jean,Women > Jeans\n2,Tote,\n")
    load(tmp_path, "f.csv")
    (tmp_path / "f.csv").write_text(
        "id,title,product_type\n1,New Jean,Bags\n2,Tote,Bags\n3,Gown,Women > Gowns\n"
    )
    done = load(tmp_path, "f.csv", "--unlabelled")
    assert (
        "3 in 1 leaf (0 at an inner category, 2 without one); this run: 1 new, 1 changed"
        in done.stdout
    )
    assert (
        "1 of these products has a category in the database already, which is kept" in done.stderr
    )
    assert select(tmp_path, "select name, category_id from product order by id") == [
        ("New Jean", "women.jeans"),
        ("Tote", None),
        ("Gown", None),
    ]
    done = load(tmp_path, "f.csv")  # into categories that are new themselves
    assert "3 in 2 leaves" in done.stdout and "this run: 0 new, 3 changed, 0 seen" in done.stdout
    assert "but had one before" not in done.stderr
    assert select(tmp_path, "select category_id from product order by id") == [
        ("bags",),
        ("bags",),
        ("women.gowns",),
    ]
    (tmp_path / "f.csv").write_text("id,title\n1,New Jean\n2,Tote\n")
    done = load(tmp_path, "f.csv")
    assert "2 products of feed have no category now, but had one before" in done.stderr


def test_a_signal_while_a_feed_loads_leaves_the_file_as_it_was(small_feed, tmp_path):
    load(tmp_path, small_feed)
    before = state(tmp_path)
    large = write_feed(
        tmp_path / "large.tsv",
        ((f"n{n}", f"Jean {n}", "Blue", "Jeans > Boot") for n in range(200_000)),
        "id title description product_type",
    )
    process = subprocess.Popen(
        [sys.executable, REPO / "crawl.py", "--feed", large],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "crawl.db-crawling").exists():
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 143 and "run the same command again" in stderr
    assert "this run: 0 new, 0 changed" in stdout and state(tmp_path) == before


# ---- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, key, word",
    (
        ((), "", "SHOPSTYLE_API_KEY"),
        ((), "  ", "SHOPSTYLE_API_KEY"),
        (("--api-url", "shop.example"), KEY, "--api-url"),
        (("--api-url", ""), KEY, "--api-url"),
        (("--api-url", "ftp://shop.example/"), KEY, "--api-url"),
        (("--api-url", "http://[bad"), KEY, "--api-url"),
        (("--api-url", "http://"), KEY, "--api-url"),
        (("--api-url", "http://x:99999/"), KEY, "--api-url"),
        (("--feed", "none.tsv"), "", "none.tsv"),
        (("--feed", "."), "", "--feed takes a file"),
        (("--feed", ""), "", "--feed must name a file"),
        (("--max-per-category", "0"), KEY, "--max-per-category"),
        (("--max-per-category", "many"), KEY, "--max-per-category"),
        (("--tries", "0"), KEY, "--tries"),
        (("--image-rate", "-1"), KEY, "--image-rate"),
        (("--image-rate", "nan"), KEY, "--image-rate"),
        (("--column", "id=SKU"), KEY, "--column"),
        (("--feed", "x", "--column", "SKU"), "", "--column"),
        (("--feed", "x", "--column", "price=P"), "", "--column takes"),
        (("--feed", "http://[bad"), "", "--feed"),
        (("--verify",), "", "no crawl.db"),
        (("--status",), "", "no crawl.db"),
        (("--source", "x"), KEY, "--source is for --feed"),
        (("--status", "--dry-run"), KEY, "not allowed with"),
        (("--verify", "--feed", "f"), "", "leave --feed"),
        (("--roots", "x"), KEY, "--roots"),
    ),
)
def test_a_users_mistake_is_one_sentence_and_exit_2(tmp_path, monkeypatch, capsys, args, key, word):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOPSTYLE_API_KEY", key)
    monkeypatch.setattr(sys, "argv", ["crawl.py", *args])
    try:
        status = crawl.run(crawl.main)
    except SystemExit as stop:  # argparse's own
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
    done = load(tmp_path, feed, "--db-path", "none/crawl.db", status=2)
    assert done.stderr.splitlines()[-1].startswith("crawl.py: none/crawl.db can't be opened")
    done = load(tmp_path, feed, "--db-path", "c.db", "--images-path", "crawl.db", status=2)
    assert done.stderr.splitlines()[-1].startswith("crawl.py: ")


def test_the_shop_is_asked_where_the_environment_says(serve, tmp_path):
    server = serve(catalogue(per_leaf=1))
    done = run_script(
        "crawl",
        *HERE,
        cwd=tmp_path,
        env={"SHOPSTYLE_API_KEY": KEY, "SHOPSTYLE_API_URL": server.api_url.rstrip("/")},
    )
    assert done.returncode == 0 and "3 new" in done.stdout


@pytest.mark.parametrize("scheme", ("ftp", "http"))
def test_a_url_with_a_password_is_refused_and_not_shown(scheme):
    with pytest.raises(UserError) as caught:
        shopstyle_api.Shop(f"{scheme}://user:secret@shop.example/", KEY, None)
    assert "secret" not in str(caught.value)


def test_pictures_whose_files_are_gone_are_fetched_again(small_feed, tmp_path):
    assert load(tmp_path, small_feed).returncode == 0
    before = sorted(path.name for path in (tmp_path / "images").rglob("*.*"))
    shutil.rmtree(tmp_path / "images")
    known = state(tmp_path)
    for folder in ("images", "imgs"):  # which may be another one: nothing is forgotten unasked
        done = load(tmp_path, small_feed, "--images-path", folder, status=2)
        assert f"none of 12 pictures is in {folder}" in done.stderr and "--retry" in done.stderr
        assert state(tmp_path) == known
    done = load(tmp_path, small_feed, "--retry-failed")
    assert "12 pictures are no longer in images" in done.stderr
    assert "this run: 12 fetched" in done.stdout
    assert sorted(path.name for path in (tmp_path / "images").rglob("*.*")) == before


def test_pictures_beside_two_feeds_are_two_whatever_their_names(tmp_path):
    for folder, _own, pixels in (("a", "1", 1), ("b", "2", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpg").write_bytes(picture(pixels))
    (tmp_path / "b" / "late.jpg").write_bytes(picture(3))
    rows = {
        "a": [("1", "Jean", "", "Jeans", "x.jpg", ""), ("3", "Tote", "", "Bags", "late.jpg", "")],
        "b": [("2", "Gown", "", "Jeans", "x.jpg", "")],
    }
    for folder in "ab":
        load(tmp_path, write_feed(tmp_path / folder / "f.tsv", rows[folder]))
    files = pictures_in(tmp_path)
    assert {
        own: path and files[path]
        for own, path in select(
            tmp_path, "select external_id, path from product left join picture on product_id = id"
        )
    } == {"1": picture(1), "2": picture(2), "3": None}  # 3 is of the other feed
    done = load(tmp_path, tmp_path / "b" / "f.tsv", "--retry-failed")  # which only that can give
    assert done.returncode == 0 and "0 none yet" in done.stdout


def test_a_folder_of_pictures_that_is_no_folder_is_one_sentence(small_feed, tmp_path):
    (tmp_path / "images").symlink_to("nowhere")
    assert "no folder that you may write in" in load(tmp_path, small_feed, status=2).stderr
    assert "must name a folder" in load(tmp_path, small_feed, "--images-path", "", status=2).stderr
    assert not (tmp_path / "crawl.db").exists()


def test_a_pipe_in_a_pictures_place_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "p.jpg")
    feed = write_feed(tmp_path / "f.tsv", [("1", "Jean", "", "Jeans", "p.jpg", "")])
    assert "this run: 0 fetched, 1 unusable" in load(tmp_path, feed, status=1).stdout


def test_a_load_all_of_whose_pictures_fail_ends_with_1_and_one_line(small_feed, tmp_path):
    """Whatever was loaded before; a load with one good picture is done."""
    assert load(tmp_path, small_feed).returncode == 0
    rows = [(f"new-{n}", "Jean", "", "Jeans", f"gone/{n}.jpg", "") for n in range(30)]
    feed = write_feed(tmp_path / "shop/new.tsv", rows)
    for _ in range(2):
        told = load(tmp_path, feed, status=1).stderr
        (line,) = [line for line in told.splitlines() if "no readable file" in line]
        assert re.fullmatch(
            r"30 pictures: no readable file: No such file or directory \(of "
            r"products (new-\d+, ){4}new-\d+ and 25 more\)",
            line,
        )
        assert "none of the 30 pictures of this load can be used" in told
    rows[3] = (*rows[3][:4], "pictures/0.png", "")
    assert "none of the" not in load(tmp_path, write_feed(feed, rows)).stderr
    assert "none of the" not in load(tmp_path, small_feed).stderr


def test_a_dry_run_counts_and_names_the_linked_files_that_are_missing(tmp_path):
    (tmp_path / "shop/pictures").mkdir(parents=True)
    (tmp_path / "shop/pictures/0.jpg").write_bytes(picture(1))
    links = [
        "pictures/0.jpg",
        "http://127.0.0.1/a.jpg",
        "//127.0.0.1/b.jpg",
        "",
        "../out.jpg",
        "pictures",
    ] + [f"pictures/no-{n}.jpg" for n in range(30)]
    (tmp_path / "out.jpg").write_bytes(picture(2))
    feed = write_feed(
        tmp_path / "shop/f.tsv",
        [(str(n), "Jean", "", "Jeans", link, "") for n, link in enumerate(links)],
    )
    done = load(tmp_path, feed, "--dry-run")
    assert "35 with a link to a picture (33 of them to files)" in done.stdout
    assert done.stdout.splitlines()[3] == (
        "32 linked files are not there, beside the feed: ../out.jpg (line 6), pictures (line 7), "
        "pictures/no-0.jpg (line 8), pictures/no-1.jpg (line 9), pictures/no-2.jpg (line 10) and 27 "
        "more"
    )
    assert not (tmp_path / "crawl.db").exists()


def test_another_host_for_the_same_file_is_told(serve, tmp_path):
    first, second = serve(), serve()
    assert "warning" not in run(tmp_path, first).stderr
    assert "warning" not in run(tmp_path, second).stderr  # on another port
    told = run(tmp_path, f"http://localhost:{second.server_port}/api/v2/").stderr
    assert "came from 127.0.0.1, and localhost counts as the same shop" in told


def test_of_lines_left_out_each_reason_is_counted_and_flat_categories_are_told(tmp_path):
    lines = (
        [f"{n},,Women/Jeans/Boot" for n in range(40)]
        + ["x,a,b,c"] * 3
        + [f"w{n},Jean,Women/Jeans/Boot" for n in range(5)]
    )
    (tmp_path / "f.csv").write_text("id,title,product_type\n" + "\n".join(lines) + "\n")
    told = load(tmp_path, tmp_path / "f.csv").stderr
    assert (
        "f.csv, 40 lines (2 (id 0), 3 (id 1), 4 (id 2), 5 (id 3), 6 (id 4) and 35 more): no "
        "title; left out"
    ) in told
    assert "f.csv, 3 lines (42, 43, 44): more columns than the header names; left out" in told
    assert told.count("left out") == 2
    assert "the categories have no levels, but many contain '/'" in told


def test_a_feed_line_whose_id_stood_before_is_left_out_and_told(tmp_path):
    feed = write_feed(
        tmp_path / "f.tsv",
        [("1", "A", "", "X"), ("2", "B", "", "X"), ("1", "C", "", "Y")],
        "id title description product_type",
    )
    for words in (
        "2 new, 0 changed, 0 seen before, 1 left out",
        "0 new, 0 changed, 2 seen before, 1 left out",
    ):
        done = load(tmp_path, feed)
        assert (
            words in done.stdout
            and "line 4 (id 1): its id stood in an earlier line; left out" in done.stderr
        )


def test_a_file_that_is_no_feed_leaves_no_empty_crawl_db(tmp_path):
    (tmp_path / "f.csv").write_text("number,words\n1,A\n")
    load(tmp_path, tmp_path / "f.csv", status=2)
    assert os.listdir(tmp_path) == ["f.csv"]
