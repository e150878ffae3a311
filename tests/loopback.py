"""What the tests of crawling share: a scripted shop on loopback, crawls of it, what they leave.

pytest tests/test_crawl.py
pytest tests/test_http_client.py tests/test_picture_store.py
"""

import collections
import contextlib
import io
import json
import sqlite3
import threading
from types import SimpleNamespace
from urllib.parse import parse_qsl, quote, urlsplit

from conftest import run_script
from PIL import Image

import crawl
import db
from crawling import api_crawl, http_client, shopstyle_api, shopstyle_tree
from sample import shop as sample_shop

KEY = "uid1234-secret/ü+9"
LEAVES = {"boot": "jeans", "slim": "jeans", "tote": "bags"}
HERE = ("--allow-private", "--image-rate", "0", "--tries", "2")  # of a shop on this machine


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
            products.append(
                SimpleNamespace(
                    id=number,
                    name=f"Marigold {leaf} {turn}",
                    description=f"<b>{leaf}</b> & more",
                    categories=listed,
                    has_picture=True,
                    picture=lambda number=number: picture(number),
                )
            )
    return SimpleNamespace(
        products=products,
        categories=[
            SimpleNamespace(id=own, name=own.title(), parent_id=parent)
            for own, parent in parents.items()
        ],
    )


class Scripted(sample_shop.Handler):
    """Asks server.script(path, query) first: None lets the sample shop answer, (status, body) is
    the answer; body is bytes or what becomes JSON. A function gets this handler to answer by."""

    def do_GET(self):
        url = urlsplit(self.path)
        path, query = url.path.removeprefix(sample_shop.API), dict(parse_qsl(url.query))
        with self.server.lock:
            self.server.seen.append((path, query.get("cat"), query.get("offset")))
        answer = self.server.script(path, query)
        if answer is None:
            super().do_GET()
        elif callable(answer):
            answer(self)
        elif isinstance(answer[1], bytes):
            self.send(answer[0], "text/html", answer[1])
        else:
            self.send(answer[0], "application/json", json.dumps(answer[1]).encode())


def run(cwd, server, *args, status=0):
    """Run crawl.py to its end and check what holds always. Returns the CompletedProcess."""
    cwd.mkdir(exist_ok=True)
    done = run_script(
        "crawl",
        "--api-url",
        server if isinstance(server, str) else server.api_url,
        *HERE,
        *args,
        cwd=cwd,
        env={"SHOPSTYLE_API_KEY": KEY},
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    for form in (KEY, quote(KEY), quote(KEY, safe="")):
        assert form not in done.stdout + done.stderr
    return done


def load(cwd, feed, *args, status=0):
    done = run_script("crawl", "--feed", feed, *HERE, *args, cwd=cwd, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    return done


def select(cwd, statement):
    with contextlib.closing(sqlite3.connect(cwd / "crawl.db")) as conn:
        return conn.execute(statement).fetchall()


def pictures_in(cwd):
    return {
        str(path.relative_to(cwd / "images")): path.read_bytes()
        for path in (cwd / "images").rglob("*")
        if path.is_file()
    }


def state(cwd):
    """Everything a crawl leaves behind."""
    tables = {
        table: select(cwd, f"select * from {table} order by 1, 2")
        for table in ("category", "product", "product_category", "picture")
    }
    return {
        **tables,
        "files": {
            name: data for name, data in pictures_in(cwd).items() if not name.endswith(".tmp")
        },
    }


def products_of(server, cat=None):
    return [
        seen for seen in server.seen if seen[0] == "products" and (cat is None or seen[1] == cat)
    ]


def shop_at(server, tries=1):
    """A shopstyle.Shop that tries once and hurries."""
    return shopstyle_api.Shop(
        server.api_url, KEY, http_client.Web(0, threading.Event(), tries=tries)
    )


def crawled(tmp_path, server, most=1000):
    """(new products, failed leaves) of a crawl of the products in this process."""
    counts, shop = collections.Counter(), shop_at(server)
    with contextlib.closing(db.open_database(tmp_path / "crawl.db", create=True)) as conn:
        failed = api_crawl.crawl_api(
            conn, shop, shopstyle_tree.fetch_tree(shop, "women"), most, counts
        )
    return counts["new"], failed
