"""Files that were made to take much time or memory, or to end in a traceback: each is read in
little of both, and each of its rows is a product or left out."""

import gzip
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from common.terminal import UserError
from common.text import normalised
from crawling import (
    feed_categories,
    feed_cells,
    feed_import,
    feed_products,
    feed_reading,
    feed_survey,
)
from crawling.feed_columns import column_name, header_rank
from crawling.feed_json_shape import product_place
from crawling.feed_types import FeedFile, FeedProduct

REPO = Path(__file__).parent.parent
HEADER = "id\ttitle\tproduct_type\timage_link\n"
BLANKS, COMMAS = " " * 100_000, "," * 100_000


def load(tmp_path, content):
    """(the products, what is left out, the Reading) of a file with this content."""
    path = tmp_path / "feed"
    path.write_text(content, encoding="utf-8")
    reading = feed_survey.survey([FeedFile(str(path), name="feed")], feed_reading.SurveyOptions())
    left_out = []
    products = list(feed_products.read_products(reading, left_out))
    assert reading.rows == len(products) + reading.merged + len(left_out)
    return products, left_out, reading


@pytest.mark.parametrize(
    "row",
    [
        f"1\tx\ta{BLANKS}b > c\tx.jpg",
        f"1\tx\ta{BLANKS}b\tx.jpg",
        f"1\tx\t{'a,' * 50_000}b > c\tx.jpg",
        f"1\tx\ta\thttp://a.example/1.jpg{COMMAS}x, http://b.example/1.jpg",
        f"1\tx\ta\t{'.jpg?' * 20_000} x, y.jpg",
    ],
    ids=["blanks-level", "blanks", "commas", "commas-links", "queries"],
)
def test_a_long_cell_takes_no_square_of_its_length_in_time(tmp_path, row):
    began = time.process_time()
    products, _, _ = load(tmp_path, f"{HEADER}0\ty\ta > b\t\n{row}\n")
    assert [product.external_id for product in products] == ["0", "1"]
    assert time.process_time() - began < 3


def test_many_cells_of_blanks_take_little_time(tmp_path):
    began = time.process_time()
    rows = "".join(f"{n}\tx\ta{n}{' ' * 1900}b > c\t\n" for n in range(100))
    products, _, _ = load(tmp_path, HEADER + rows)
    assert products[7].categories == (("a7 b", "c"),)
    assert time.process_time() - began < 3


@pytest.mark.parametrize("name", ["_" * 100_000, "1" * 100_000 + "x1", "a" + BLANKS + "b"])
def test_a_long_name_of_a_column_takes_little_time(name):
    began = time.process_time()
    assert header_rank(["id", "title", name], {}) >= 2
    assert len(column_name(name)) <= 300
    assert time.process_time() - began < 3


@pytest.mark.parametrize("end", ["", "\\", 'a"}'])
def test_a_text_of_quotes_is_looked_at_once(end):
    began = time.process_time()
    product_place('{"a": "' + '\\"' * 100_000 + end, {})
    assert time.process_time() - began < 3


def test_a_character_of_thousands_of_digits_is_none(tmp_path):
    number = "&#" + "9" * 5000
    products, _, _ = load(tmp_path, f"{HEADER}1\tx{number};\ta > b{number}\t\n2\ty\ta > b\t\n")
    assert [product.name for product in products] == ["x\ufffd", "y"]
    assert normalised(f"x{number}", None) == "x"


def test_a_category_of_many_levels_is_left_out_at_no_cost(tmp_path):
    began = time.process_time()
    rows = "".join(f"{n}\tx\t{n}{'>b' * 900}\t\n" for n in range(50))
    products, left_out, reading = load(tmp_path, f"{HEADER}x\ty\ta > b\t\n{rows}")
    assert (len(products), len(left_out)) == (1, 50)
    assert max(map(len, reading.shown)) <= 50
    assert time.process_time() - began < 5


def test_a_googles_number_is_one_only_at_the_beginning():
    parting = feed_cells.Parting(standard=True)
    assert feed_cells.cell_categories("173 - Hats > 3 - 6 months", parting) == (
        ("Hats", "3 - 6 months"),
    )
    began = time.process_time()
    feed_cells.cell_categories("1" * 100_000, parting)
    assert time.process_time() - began < 3


@pytest.mark.parametrize("form", ["json", "xml"])
def test_long_names_in_each_other_are_cut(tmp_path, form):
    name, inner = "n" * 100_000, [f"a{number}" for number in range(2000)]
    if form == "json":
        row = {"id": "1", "title": "x", name: dict.fromkeys(inner, 1)}
        content = json.dumps({"items": [row, row | {"id": "2"}]})
    else:
        elements = "".join(f"<{each}>1</{each}>" for each in inner)
        item = f"<title>x</title><{name}>{elements}</{name}></item>"
        content = f"<r><item><id>1</id>{item}<item><id>2</id>{item}</r>"
    products, _, reading = load(tmp_path, content)
    assert [product.external_id for product in products] == ["1", "2"]
    assert max(map(len, reading.files[0].names)) <= 500


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_row_of_very_many_columns_is_left_out(tmp_path, form):
    names = [f"k{number}" for number in range(10_001)]
    if form == "json":
        rows = [{"id": "1", "title": "x"}, {"id": "2", "title": "x", **dict.fromkeys(names, "")}]
        content = "\n".join(map(json.dumps, rows))
    else:
        elements = "".join(f"<{name}/>" for name in names)
        content = (
            "<r><item><id>1</id><title>x</title></item>\n"
            f"<item><id>2</id><title>x</title>{elements}</item></r>"
        )
    products, left_out, _ = load(tmp_path, content)
    assert [product.external_id for product in products] == ["1"]
    assert left_out == [(2, "more than 10,000 columns")]


def test_many_columns_of_many_values_are_sampled_in_few(tmp_path):
    header = ",".join(["id", "title", *(f"c{number}" for number in range(2000))])
    rows = "\n".join(
        ",".join(map(str, [row, "x", *range(row * 7, row * 7 + 2000)])) for row in range(100)
    )
    _, _, reading = load(tmp_path, f"{header}\n{rows}\n")
    assert sum(map(len, reading.files[0].samples.values())) <= 120_000


def test_a_batch_of_long_products_is_a_short_one():
    products = [FeedProduct(n, str(n), "x", "y" * 3_000_000, (), (), "", "") for n in range(3)] + [
        FeedProduct(n, str(n), "x", "", (), (), "", "") for n in range(501)
    ]
    assert list(map(len, feed_import.batches(products))) == [2, 500, 2]
    assert [product for batch in feed_import.batches(products) for product in batch] == products
    linked = [FeedProduct(n, str(n), "x", "", (), ("y" * 5_000_000,), "", "") for n in range(3)]
    assert list(map(len, feed_import.batches(linked))) == [1, 1, 1]


def run_crawl(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(REPO / "crawl.py"), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_table_without_header_has_no_more_columns_than_another(tmp_path):
    (tmp_path / "feed.csv").write_text(",".join("x" * 20_000))
    run = run_crawl("--feed", "feed.csv", "--column", "id=1", "--column", "title=2", cwd=tmp_path)
    assert run.returncode == 2 and "more than 10,000 columns" in run.stderr
    assert run.stderr.count("\n") == 1


def test_lists_in_each_other_are_read_to_some_depth():
    value, depth = feed_cells.cell_list("[" * 400 + '"a"' + "]" * 400), 0
    while isinstance(value, tuple) and value:
        value, depth = value[0], depth + 1
    assert depth <= 30
    assert feed_cells.cell_list('[["a", ["b"]], "c"]') == (("a", ("b",)), "c")


def test_linked_data_without_a_product_is_counted(tmp_path):
    rows = [{"@type": kind, "sku": kind, "name": "x"} for kind in ("Product", "Book")]
    rows.append({"@type": "WebSite", "name": "x"})  # is passed over
    products, left_out, _ = load(tmp_path, "\n".join(map(json.dumps, rows)))
    assert [product.external_id for product in products] == ["Product"]
    assert left_out == [(2, "JSON-LD of another type than Product")]


def test_a_column_of_very_many_values_is_no_category(monkeypatch):
    monkeypatch.setattr(feed_categories, "MOST_CATEGORIES", 3)
    tree = feed_categories.CategoryTree()
    assert tree.id_of(("a", "b")) == "a.b" and tree.id_of(("a", "c")) == "a.c"
    with pytest.raises(UserError, match="more than 3 categories.*--unlabelled"):
        tree.id_of(("a", "d"))
    assert tree.id_of(("A", "B")) == "a.b"


# ---- files --------------------------------------------------------------------------------------


def gzip_bomb(path, megabytes):
    """A file of so many megabytes, packed a thousand times smaller by repeating one member."""
    member = gzip.compress(b"y" * 1_000_000)
    start = gzip.compress(f"{HEADER}1\tx\ta > b\t\n".encode())
    path.write_bytes(start + member * megabytes)


def test_what_unpacks_without_end_is_refused_in_a_sentence(tmp_path):
    gzip_bomb(tmp_path / "feed.gz", 150)
    run = run_crawl("--feed", "feed.gz", "--dry-run", cwd=tmp_path)
    assert run.returncode == 2 and run.stderr.count("\n") == 1
    assert "more than 400 times its size" in run.stderr


def test_gzip_within_zip_is_read_and_limited(tmp_path):
    gzip_bomb(tmp_path / "feed.gz", 1)
    with zipfile.ZipFile(tmp_path / "feed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "feed.gz", "feed.gz")
    run = run_crawl("--feed", "feed.zip", "--dry-run", cwd=tmp_path)
    assert "feed: 2 rows = 1 product + 0 merged + 1 left out" in run.stdout


def test_a_file_that_is_named_twice_is_read_once(tmp_path):
    (tmp_path / "feeds").mkdir()
    (tmp_path / "feeds" / "a.tsv").write_text(f"{HEADER}1\tx\ta > b\t\n")
    (tmp_path / "feeds" / "b.tsv").symlink_to("a.tsv")
    addresses = ("feeds/a.tsv", "./feeds/a.tsv", "feeds")
    run = run_crawl("--feed", *addresses, "--dry-run", cwd=tmp_path)
    assert "feed: 1 row = 1 product + 0 merged + 0 left out" in run.stdout


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "idna", "undefined"])
def test_a_wrong_encoding_of_the_users_is_named(tmp_path, encoding):
    (tmp_path / "feed.tsv").write_text(f"{HEADER}1\tx\ta > b\t\n22\ty\t\t")
    run = run_crawl("--feed", "feed.tsv", "--encoding", encoding, "--dry-run", cwd=tmp_path)
    assert run.returncode == 2 and "name another or none" in run.stderr


def test_names_of_categories_are_read_from_files_alone(tmp_path):
    (tmp_path / "feed.tsv").write_text(f"{HEADER}1\tx\ta > b\t\n")
    arguments = ("--feed", "feed.tsv", "--dry-run", "--category-names", "/dev/zero")
    run = run_crawl(*arguments, cwd=tmp_path)
    assert run.returncode == 2 and "is no file" in run.stderr
