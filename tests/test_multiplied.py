"""What a small file or answer multiplies: a text that many rows share, a sequence that is sorted, a
list that is searched for each row, an answer that is cut or never ends."""

import collections
import contextlib
import gzip
import http.server
import json
import threading
import unicodedata
import zlib

import pytest
from conftest import REPO, run_script
from peak import peak_of_code, peak_of_script

import db
from common import text
from crawling import api_crawl, feed_download, feed_products, http_client, queries, shopstyle_api
from crawling.feed_types import LeftOut
from crawling.feed_xml import Frame
from crawling.feed_xml_tree import CategoryNames
from learning.text_features import tokens


@pytest.fixture
def answering():
    """answering(answer) -> the address of a server; answer(number of the request) gives (headers,
    body)."""
    servers = []

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            asked = 0

            def do_GET(self):
                Handler.asked += 1
                headers, body = answer(Handler.asked)
                self.send_response(200)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", Handler

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def page(products, levels):
    """A page of products, and a way to it of so many levels."""
    items = [f'{{"@type":"Product","name":"Shoe","sku":"{sku}"}}' for sku in range(products)]
    way = ",".join(['{"name":"a"}'] * levels)
    script = '<script type="application/ld+json">{}</script>'
    return (
        "<!doctype html><html><head>"
        + script.format("[" + ",".join(items) + "]")
        + script.format('{"@type":"BreadcrumbList","itemListElement":[' + way + "]}")
        + "</head></html>"
    )


@pytest.mark.slow
def test_the_way_to_a_page_is_not_kept_for_each_of_its_products(tmp_path):
    (tmp_path / "page.html").write_text(page(200, 100_000))
    assert peak_of_script("crawl", "--feed", "page.html", cwd=tmp_path).megabytes < 200


@pytest.mark.slow
def test_of_a_product_of_a_page_its_columns_alone_are_kept(tmp_path):
    deep = '{"a":' * 22 + "[" + "[]," * 1_290_000 + "[]]" + "}" * 22  # one value, as it is counted
    script = '<script type="application/ld+json">{"@type":"Product","name":"S","sku":"%d","x":%s}</script>'
    scripts = "".join(script % (sku, deep) for sku in range(5))
    (tmp_path / "page.html").write_text("<!doctype html><html><head>" + scripts)
    run = peak_of_script("crawl", "--feed", "page.html", cwd=tmp_path)
    assert run.status == 0 and run.megabytes < 400  # kept, five take 540 MB


def test_the_path_of_a_category_in_xml_has_a_length_that_is_bound():
    names = CategoryNames()
    for number in range(50):
        frame = Frame("category", 0, {"id": str(number), "parentId": str(number - 1)})
        frame.is_text = True
        frame.texts = ["x" * 100_000]
        names.add(frame)
    assert sum(map(len, names.path("49"))) < 100_000


@pytest.mark.slow
@pytest.mark.parametrize("column", ["description", "product_type"])
def test_marks_in_a_row_do_not_take_the_square_of_their_length(tmp_path, column):
    marks = "a" + "\u0300\u0316" * 40_000  # 5 s and 20 s; without the defect milliseconds
    (tmp_path / "feed.csv").write_text(
        f"id,title,{column}\n1,Shoe,Shoes\n2,Shoe,{marks}\n", "utf-8"
    )
    code = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_CPU, (4, 5))
sys.argv = ["crawl.py", "--feed", "feed.csv"]
sys.path.insert(0, {repo!r})
runpy.run_path({repo!r} + "/crawl.py", run_name="__main__")
"""
    assert peak_of_code(code.format(repo=str(REPO)), cwd=tmp_path).status == 0


@pytest.mark.redteam
@pytest.mark.parametrize(
    "marks", ["\u0300\u0316", "\uff9e\u0316", "\u0f73\u0316", "\u0344\u0316", "\U0001d165\u0316"]
)
@pytest.mark.parametrize(
    "form", [text.folded, text.tidy, text.slug, tokens, lambda name: text.normalised(name, "")]
)
def test_marks_are_cut_wherever_they_begin_and_only_they(form, marks):
    for blanks in range(31):
        long = " " * blanks + "x" + marks * 40
        assert len(form(long)[0] if form is tokens else form(long)) <= 65
        assert form(long) == form(" " * blanks + "x" + marks * 15)  # 0344 is two of the result
    honest = "x" + marks * 15 + "\U0001f600" * 40 + "\u2014" * 40 + marks * 15 + "\u0928\u094d" * 99
    assert text.composed("NFKC", honest) == unicodedata.normalize("NFKC", honest)


@pytest.mark.slow
def test_a_product_in_very_many_categories_is_not_compared_with_each(tmp_path):
    compared = 0

    class Counted(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        def __ne__(self, other):
            return not self == other

    fields = {**dict.fromkeys(feed_products.FIELDS, ""), "id": "1", "title": "Shoe"}
    product = feed_products.OpenProduct(1, fields, Counted("c"), [])
    for number in range(2_000):
        row = feed_products.OpenProduct(1, fields, Counted(f"c{number}"), [])
        feed_products.add_row(product, row, False)
    assert compared < 100_000


@pytest.mark.redteam
@pytest.mark.parametrize("packed", ["gzip", "deflate"])
def test_a_packed_answer_that_is_cut_is_no_catalogue(tmp_path, answering, packed):
    rows = "".join(f"{number},Shoe {number * 7919 % 10007}\n" for number in range(10_000))
    pack = gzip.compress if packed == "gzip" else zlib.compress
    body = pack(("id,title\n" + rows).encode())
    url, _ = answering(lambda _: ({"Content-Encoding": packed}, body[: len(body) // 2]))
    done = run_script("crawl", "--feed", f"{url}/feed.csv", "--tries", "1", cwd=tmp_path)
    assert done.returncode != 0 and "Traceback" not in done.stderr


@pytest.mark.redteam
def test_pages_of_a_shop_that_come_again_end(tmp_path, answering):
    def answer(number):
        if number > 500:  # or it would never end
            return {}, b'{"products": []}'
        return {}, json.dumps({"products": [{"id": number % 2, "title": "x"}]}).encode()

    url, handler = answering(answer)
    web = http_client.Web(0, threading.Event())
    feed_download.download(web, f"{url}/products.json", str(tmp_path / "feed"))
    assert handler.asked <= 450


@pytest.mark.redteam
def test_an_answer_of_very_many_values_takes_little_memory(tmp_path):
    code = """
from crawling import shopstyle_api
body = b'{"categories":[' + b"[]," * 6_000_000 + b"[]]}"
try:
    shopstyle_api.json_object(body)
except ValueError as problem:
    print(problem)
"""
    run = peak_of_code(code, cwd=tmp_path)
    assert run.stdout == "its JSON has more than 1,000,000 values\n"
    assert run.megabytes < 200


@pytest.mark.redteam
def test_pages_that_are_ever_new_are_no_catalogue(tmp_path, answering, monkeypatch):
    def answer(number):
        return {}, json.dumps({"products": [{"id": number, "title": "x"}]}).encode()

    url, handler = answering(answer)
    web = http_client.Web(0, threading.Event())
    for name, most, reason in (
        ("MOST_PAGES", 6, "it has more than 6 pages"),
        ("MOST_BYTES", 100, "its pages have more than 100 bytes"),
    ):
        monkeypatch.setattr(feed_download, name, most)
        with pytest.raises(ValueError, match=reason):
            feed_download.download(web, f"{url}/products.json", str(tmp_path / "feed"))
    assert handler.asked <= 12


@pytest.mark.redteam
def test_of_very_many_categories_of_a_product_the_first_are_kept(tmp_path):
    """And the others are told of."""
    product = {
        "id": 1,
        "name": "Shoe",
        "categories": [{"id": f"c{number}"} for number in range(100_000)],
    }
    told = []
    shop = shopstyle_api.Shop("http://127.0.0.1/", "", None)
    with contextlib.closing(db.open_database(str(tmp_path / "crawl.db"), create=True)) as conn:
        counts = collections.Counter()
        with db.transaction(conn):
            api_crawl.store_page(
                conn, shop, "c1", [product], 0, counts, lambda *said: told.append(said)
            )
        rows = conn.execute("select count(*) from product_category").fetchone()[0]
    assert rows == shopstyle_api.MOST_LISTED
    assert told == [("its categories beyond the first 1,000", "1")]


def test_rows_of_one_id_are_read(tmp_path):
    """The honest form of the above: a product in three categories."""
    path = tmp_path / "feed.csv"
    path.write_text("id,title,product_type\n" + "".join(f"1,Shoe,S > c{i}\n" for i in range(3)))
    (product,) = feed_products.read_feed(str(path), LeftOut())
    assert len(product.categories) == 3


@pytest.mark.redteam
def test_rows_of_a_product_in_too_many_categories_are_left_out_and_counted(tmp_path):
    path = tmp_path / "feed.csv"
    rows = "".join(f"1,Shoe,S > c{i}\n" for i in range(feed_products.MOST_CELLS + 8))
    path.write_text("id,title,product_type\n" + rows + "2,Hat,S > c1\n")
    left_out = LeftOut()
    shoe, hat = feed_products.read_feed(str(path), left_out)
    assert len(shoe.categories) == 1 + feed_products.MOST_CELLS and hat.name == "Hat"
    assert left_out.reasons[feed_products.TOO_MANY_CELLS][0] == 7
