"""Any bytes at all, and any damage to a small file of each format, give rows or one sentence, in
little time, and no row of a file is lost without being named."""

import gzip
import json
import random
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rows_of_feeds import a_zip, read_file
from spreadsheets import ods, xls, xlsx

from common.terminal import UserError
from crawling import feed_products, feed_reading, feed_survey
from crawling.feed_files import feed_files

SHEET = [["id", "title"], ["1", "Jeän"], [2.0, 'Gown "x"']]
FILES = {
    "tsv": 'id\ttitle\tproduct_type\n1\tJeän "a"\tA > B\n2\t"Gown, ""b"""\tC\n'.encode(),
    "csv": 'My shop\nid,title,x\n1,"Jeän, ""x""","two\nlines"\n="002",Gown,"a"\n'.encode(),
    "semicolons": "id;title\r\n1;Größe\r\n".encode("cp1252"),
    "utf-16": "id\ttitle\r\n1\tJeän\r\n".encode("utf-16"),
    "utf-16 without a mark": "id\ttitle\r\n1\tJeän\r\n".encode("utf-16-le"),
    "rakuten": b"HDR|1|S|x\n1|Cap|S1|A|B~~C|u|i\nTRL|1\n",
    "lines": b'{"id": 1, "title": "Jean", "product_type": ["A", "B"]}\n' * 3,
    "python": b"{'asin': '1', 'title': \"It's\"}\n" * 3,
    "json": b'{"x": {"y": "]"}, "products": [\n{"id": 1, "title": "a"},\n{"id": 2, "i": [{}]}]}',
    "json-ld": json.dumps(
        {"@type": "ProductGroup", "name": "a", "hasVariant": [{"sku": "1"}, {"sku": "2"}]}
    ).encode(),
    "rss": "<?xml version='1.0' encoding='utf-8'?>\n<rss xmlns:g='http://base.google.com/ns/1.0'>"
    "<item><g:id>1</g:id>\n<title>Jeän &amp; x</title><a b='c'><![CDATA[<&]]></a></item>"
    "<item><g:id>2</g:id></item></rss>".encode(),
    "yml": b"<!DOCTYPE y SYSTEM 'x'><y><category id='1'>A</category><category id='2' parentId='1'>"
    b"B</category><offer id='7'><name>a</name><categoryId>2</categoryId></offer></y>",
    "page": b'<!doctype html><html><meta charset="utf-8"><script type="application/ld+json">'
    b'{"@type": "Product", "sku": "1", "name": "Jug"}</script></html>',
}
FILES["gzip"] = gzip.compress(FILES["tsv"])
FILES["zip"] = a_zip(f=FILES["csv"])
SHEETS = {"xlsx": xlsx(S=SHEET), "xls": xls(S=SHEET), "ods": ods(S=SHEET)}


def check(path):
    """Read a file, and check what must hold whatever is in it. Returns the Result, or None."""
    began = time.process_time()
    try:
        result = read_file(str(path))
    except UserError as error:
        assert str(error).isprintable() and len(str(error)) < 1500, error
        return None
    finally:
        assert time.process_time() - began < 10
    lines = [line for line, _ in [*result.rows, *result.skipped]]
    assert all(line >= 1 for line in lines)
    if result.header:
        assert all(line > result.header[0] for line in lines)
        assert len(lines) == len(set(lines))
    json.dumps([result.rows, result.skipped, result.how.remarks], ensure_ascii=False).encode()
    assert "\0" not in json.dumps(result.rows).replace("\\u0000", "\0")
    return result


def check_bytes(tmp_path_factory, data):
    """check() of a file with these bytes."""
    path = tmp_path_factory.mktemp("feed") / "f"
    path.write_bytes(data)
    check(path)


@st.composite
def damaged(draw, files):
    """One of the files, in which some bytes are other, gone, doubled or new."""
    data = bytearray(draw(st.sampled_from(sorted(files.values()))))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from((0, 1, 1, 2, 20)))
        filling = draw(
            st.sampled_from(
                (
                    b"",
                    b'"',
                    b"\0",
                    b"\t",
                    b",",
                    b"\n",
                    b"\r",
                    b"{",
                    b"}",
                    b"[",
                    b"]",
                    b"<",
                    b">",
                    b"&",
                    b"'",
                    b"\xef\xbb\xbf",
                    b"\xff\xfe",
                    b"]]>",
                    b"<![CDATA[",
                    b"<!--",
                    b"\\",
                    b"<item>",
                    b"</item>",
                    b"id,title\n",
                    b'="',
                    b"PK\3\4",
                    b"{'",
                    b"</script",
                    b"\xe9",
                )
            )
            | st.binary(max_size=4)
            | st.just(bytes(data[place : place + 30]))
        )
        data[place : place + length] = filling
    return bytes(data)


@given(st.binary(max_size=400))
@example(b"\xff\xfe")
@example(b"\xff\xfea")
@example(b"\0\0\xfe\xff")
@example(b"\xef\xbb\xbf")
@example(b"\r")
@example(b"PK\5\6" + bytes(18))
def test_any_bytes_give_rows_or_one_sentence(tmp_path_factory, data):
    check_bytes(tmp_path_factory, data)


@given(damaged(FILES))
@settings(max_examples=200)
def test_any_damage_gives_rows_or_one_sentence(tmp_path_factory, data):
    check_bytes(tmp_path_factory, data)


@given(damaged(SHEETS))
@settings(max_examples=25)
def test_any_damage_to_a_spreadsheet_gives_rows_or_one_sentence(tmp_path_factory, data):
    check_bytes(tmp_path_factory, data)


STARTS = (b"id,title\n", b"<r><item>", b'[{"id": 1}, ', b"<html><script>", b"HDR|", b"{'a")


@given(st.binary(max_size=60), st.sampled_from(STARTS))
def test_any_bytes_behind_the_start_of_a_format(tmp_path_factory, data, start):
    path = tmp_path_factory.mktemp("feed") / "f"
    path.write_bytes(start + data)
    check(path)


@given(
    st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=5), max_size=8),
    st.sampled_from("\t,;|"),
)
def test_each_line_of_cells_is_a_row_or_named(tmp_path_factory, rows, delimiter):
    path = tmp_path_factory.mktemp("feed") / "f"
    lines = [
        delimiter.join(
            cell.replace("\n", "").replace("\r", "").replace('"', "").replace("\ufeff", "")
            for cell in row
        )
        for row in rows
    ]
    text = "\n".join([delimiter.join(("id", "title", "x")), *lines])
    path.write_bytes(text.encode("utf-8", "replace"))
    result = check(path)
    assert result is not None
    above = result.header[0]  # any line may look like a better header
    filled = [line for line in lines[above - 1 :] if line.replace("\0", " ").strip()]
    assert len(result.rows) + len(result.skipped) == len(filled)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("byte", (b"\0", b"\t", b'"', b"a", b"<", b"[", b"{", b"\xff", b"&", b"\r"))
def test_a_megabyte_of_one_byte_in_the_middle_takes_no_long_time(tmp_path, name, byte):
    data = FILES[name]
    path = tmp_path / "f"
    path.write_bytes(data[: len(data) // 2] + byte * 1_000_000 + data[len(data) // 2 :])
    check(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_format_that_is_repeated_to_a_megabyte_takes_no_long_time(tmp_path, name):
    path = tmp_path / "f"
    path.write_bytes(FILES[name] * (1_000_000 // len(FILES[name])))
    check(path)
    half = FILES[name][: len(FILES[name]) // 2]
    path.write_bytes(half * (1_000_000 // len(half)))
    check(path)


# ---- flipped bits, through to the products ------------------------------------------------------

# Files of more than a few rows, so that some of them stay sound.
SOUND = {
    **{name: FILES[name] for name in ("csv", "utf-16", "json", "rss", "yml", "page", "json-ld")},
    "lines": b"".join(
        b'{"id": "%d", "title": "Jean", "category": "A > B"}\n' % n for n in range(9)
    ),
    "gzip": gzip.compress(
        b"id,title,product_type\n" + b"".join(b"%d,x,a > b\n" % n for n in range(30))
    ),
    "zip": a_zip(f=FILES["csv"], g=FILES["lines"]),
    **SHEETS,
}


def flip_and_load(path, sound, count):
    """Flip bits of a file, so many times, and read it as crawl.py does: products, or one sentence,
    and each row is a product, merged or left out."""
    chance = random.Random(21)
    for _ in range(count):
        data = bytearray(sound)
        for _ in range(chance.choice((1, 1, 2, 5, 20))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        left_out = []
        try:
            files = feed_files([str(path)])
            reading = feed_survey.survey(files, feed_reading.SurveyOptions())
            products = list(feed_products.read_products(reading, left_out))
        except UserError as error:
            assert str(error).isprintable() and len(str(error)) < 1500, error
        else:
            assert reading.rows == len(products) + reading.merged + len(left_out)


@pytest.mark.redteam
@pytest.mark.parametrize("name", [name for name in SOUND if name not in SHEETS])
def test_flipped_bits_give_products_or_one_sentence(tmp_path, name):
    flip_and_load(tmp_path / "f", SOUND[name], 60)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
def test_very_many_flipped_bits_give_products_or_one_sentence(tmp_path, name):
    flip_and_load(tmp_path / "f", SOUND[name], 30 if name in SHEETS else 1000)
