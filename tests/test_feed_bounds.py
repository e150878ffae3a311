"""Feeds that were made to take much memory or time, a table of kinds for each format: what they take
has a bound over the whole file, and what is refused or left out is named."""

import gzip
import json
import re
import struct
import time
import zipfile
from pathlib import Path

import pytest
from peak import peak_of_script
from rows_of_feeds import a_zip, read_file

from common.terminal import UserError
from crawling import (
    feed_import,
    feed_linked_data,
    feed_reading,
    feed_survey,
    feed_values,
    feed_xml_shape,
)
from crawling.feed_bytes import LONGEST_LIST, open_zip
from crawling.feed_files import feed_files
from crawling.feed_types import FeedFile, FeedProduct

MOST_MEMORY = 300  # MB, for any file of 50 MB
HEADER = "id,title,product_type\n"
EMOJI = "\U0001f600"


def small(count, first=0):
    """So many products of JSON."""
    return [
        f'{{"id": "{number}", "title": "x", "category": "a > b"}}'
        for number in range(first, first + count)
    ]


def listed(*products):
    return '{"products": [' + ",\n".join(products) + "]}"


def items(count, inside=""):
    """So many products of XML; {} in `inside` is the product's number."""
    item = "<item><id>{0}</id><title>x</title>" + inside + "</item>\n"
    return "".join(item.format(number) for number in range(count))


def xml(content):
    return f"<r>{items(3)}{content}</r>"


def write(tmp_path, content, name="feed"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def check_peak(tmp_path, path):
    """Load a file, check the peak, and return what the run did."""
    run = peak_of_script("crawl", "--feed", path, "--tries", 1, cwd=tmp_path, timeout=300)
    assert run.megabytes < MOST_MEMORY
    assert "Traceback" not in run.stderr
    return run


# ---- JSON ---------------------------------------------------------------------------------------

LONG = "y" * 2_100_000
MANY = small(20_000)
LONG_TEXTS = {
    "at the start": listed(f'{{"id": "z", "title": "x", "note": "{LONG}"}}', *MANY),
    "in the middle": listed(*MANY[:100], f'{{"id": "z", "title": "{LONG}"}}', *MANY[100:]),
    "with an emoji": listed(f'{{"id": "z", "title": "x", "note": "{EMOJI}{LONG}"}}', *MANY),
    "as a key": listed(*MANY[:100], f'{{"{LONG}": 1, "id": "z", "title": "x"}}', *MANY[100:]),
    "a number": listed(*MANY[:100], f'{{"id": "z", "title": {"1" * 2_100_000}}}', *MANY[100:]),
    "a deep list": listed(*MANY[:100], "[" * 1_000_000 + "]" * 1_000_000, *MANY[100:]),
    "no object": listed(*MANY[:100], f'"{LONG}"', *MANY[100:]),
    "too long": listed(*MANY[:100], f'{{"id": "z", "title": "{LONG * 3}"}}', *MANY[100:]),
    "blanks": listed(*MANY[:100], " " * 2_100_000 + MANY[100], *MANY[101:]),
    "after them": listed(*MANY[:100])[:-1] + f', "about": "{LONG}", "more": [{",".join(MANY)}]}}',
    "in lines": f'{{"id": "z", "title": "{LONG}"}}\n' + "\n".join(MANY),
}


@pytest.mark.slow
@pytest.mark.parametrize("content", LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_a_long_text_of_json_is_not_copied_for_each_value(tmp_path, content):
    began = time.process_time()
    read_file(str(write(tmp_path, listed(*MANY))))
    plain = time.process_time() - began
    began = time.process_time()
    result = read_file(str(write(tmp_path, content)))
    # To copy it for each value took 20 times as long at 180,000 products.
    assert time.process_time() - began < 6 * plain + 1
    assert len(result.rows) + len(result.skipped) >= 100  # all of the list of products


VALUES = {
    "empty lists": "[" + ",".join(["[]"] * 120_000) + "]",
    "objects": "[" + ",".join(['{"a": {}}'] * 60_000) + "]",
    "numbers": "[" + ",".join("1" * 120_000) + "]",
    "lists in lists": "[" + ",".join(["[[[[[[]]]]]]"] * 20_000) + "]",
}


@pytest.mark.redteam
@pytest.mark.parametrize("form", ["json", "jsonl"])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_product_of_very_many_values_is_left_out(tmp_path, form, value):
    rows = [*small(2), f'{{"id": "z", "title": "x", "y": {value}}}', *small(1, 2)]
    content = listed(*rows) if form == "json" else "\n".join(rows)
    result = read_file(str(write(tmp_path, content)))
    assert [row["id"] for _, row in result.rows] == ["0", "1", "2"]
    assert [reason for _, reason in result.skipped] == ["more than 100,000 values"]


def graph(*objects):
    return json.dumps({"@context": "https://schema.org", "@graph": list(objects)})


def product(number, **values):
    return {"@type": "Product", "sku": str(number), "name": "x", **values}


WIDE = {f"k{number}": "v" for number in range(2_000)}
LINKED = {
    "many point to one": graph(
        {"@id": "i", **WIDE},
        *(product(number, image=[{"@id": "i"}] * 500) for number in range(100)),
    ),
    "variants of a wide group": graph(
        {
            "@type": "ProductGroup",
            "name": "x",
            **WIDE,
            "hasVariant": [product(number) for number in range(2_000)],
        }
    ),
    "variants of a group with a long text": graph(
        {
            "@type": "ProductGroup",
            "name": "x",
            "description": "y" * 300_000,
            "hasVariant": [product(number) for number in range(2_000)],
        }
    ),
    "variants of a group with lists": graph(
        {
            "@type": "ProductGroup",
            "name": "x",
            "image": ["u"] * 30_000,
            "offers": [{"price": 1}] * 30_000,
            "hasVariant": [product(number) for number in range(2_000)],
        }
    ),
}


@pytest.mark.redteam
@pytest.mark.parametrize("form", ["json", "page"])
@pytest.mark.parametrize("content", LINKED.values(), ids=LINKED)
def test_what_products_share_is_not_multiplied_without_a_bound(tmp_path, form, content):
    if form == "page":
        script = f'<script type="application/ld+json">{content}</script>'
        content = f"<!doctype html><html><body>{script}</body></html>"
    result = read_file(str(write(tmp_path, content)))
    most = feed_linked_data.MOST_TOGETHER + feed_values.MOST_COLUMNS
    assert sum(len(row) for _, row in result.rows) <= most
    assert "more than 500,000 values of JSON-LD together" in [
        reason for _, reason in result.skipped
    ]


# ---- names --------------------------------------------------------------------------------------

NAMES = {
    "elements": xml("".join(f"<e{number}/>" for number in range(50_000))),
    "elements of products": f"<r>{items(50_000, '<e{0}/>')}</r>",
    "attributes": xml("".join(f'<e a{number}=""/>' for number in range(50_000))),
    "attributes of products": f"<r>{items(50_000, '''<e a{0}=''/>''')}</r>",
    "namespaces": xml("".join(f'<e xmlns:n{number}="u"/>' for number in range(50_000))),
    "names with prefixes": xml("".join(f"<n{number}:e/>" for number in range(50_000))),
    "paths": xml("".join(f"<e{n}><f{n}><g{n}/></f{n}></e{n}>" for n in range(20_000))),
    "long names": xml("".join(f"<e{'x' * 99_000}{number}/>" for number in range(50))),
}


@pytest.mark.redteam
@pytest.mark.parametrize("content", NAMES.values(), ids=NAMES)
def test_ever_new_names_in_xml_are_refused_in_a_sentence(tmp_path, content):
    with pytest.raises(UserError, match="line \\d+: the XML has too many different names of ele"):
        read_file(str(write(tmp_path, content)))


HARMLESS = {
    "instructions": xml("".join(f"<?p{number} x?>" for number in range(100_000))),
    "comments": xml("<!-- x -->" * 100_000),
    "elements": xml("<e/>" * 100_000),
    "long namespaces": xml(f'<e xmlns:n="{"u" * 20_000}"/>' * 50),
}


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS)
def test_what_expat_does_not_keep_is_passed_over(tmp_path, content):
    assert len(read_file(str(write(tmp_path, content))).rows) == 3


@pytest.mark.redteam
@pytest.mark.parametrize(
    "declared",
    [
        '<!ATTLIST item a CDATA "v">',
        "<!ATTLIST item a CDATA #IMPLIED b CDATA 'v'>",
        '<!ATTLIST item a CDATA #FIXED "v">',
        '<!ENTITY a "v">',
        '<!ENTITY % a "v">',
    ],
)
def test_a_doctype_that_gives_values_is_refused(tmp_path, declared):
    with pytest.raises(UserError, match="a DOCTYPE that declares entities or values"):
        read_file(str(write(tmp_path, f"<!DOCTYPE r [{declared}]><r>{items(3)}</r>")))


def test_a_doctype_of_attributes_without_values_is_passed_over(tmp_path):
    declared = "<!ELEMENT item ANY><!ATTLIST item a CDATA #IMPLIED b CDATA #REQUIRED>"
    content = f"<!DOCTYPE r [{declared}]><r>{items(3)}</r>"
    assert len(read_file(str(write(tmp_path, content))).rows) == 3


@pytest.mark.redteam
@pytest.mark.parametrize("form", ["json", "xml"])
def test_columns_beyond_ten_thousand_are_not_read_and_counted(tmp_path, form):
    if form == "json":
        rows = ({"id": n, "title": "x", f"k{n}": 1, "price": n} for n in range(10_100))
        content = "\n".join(map(json.dumps, rows))
    else:
        content = f"<r>{items(10_100, '<k{0}>1</k{0}><price>{0}</price>')}</r>"
    result = read_file(str(write(tmp_path, content)))
    assert len(result.rows) == 10_100 and result.skipped == []
    assert {"id": "10099", "title": "x", "price": "10099"} == result.rows[-1][1]
    assert len({name for _, row in result.rows for name in row}) <= feed_values.MOST_KEPT
    (remark,) = result.how.remarks
    assert remark.startswith(
        "it has more than 10,000 names of columns: 103 values under later ones"
    )


def test_which_element_is_a_product_is_chosen_a_few_times(tmp_path, monkeypatch):
    times = []
    choose = feed_xml_shape.choose
    monkeypatch.setattr(feed_xml_shape, "choose", lambda *given: times.append(1) or choose(*given))
    path = write(tmp_path, "<r>" + "<a><b>1</b></a>" * 200_000 + "</r>")
    with pytest.raises(UserError, match="XML without an element"):
        list(
            feed_survey.survey([FeedFile(str(path), name="f")], feed_reading.SurveyOptions()).files
        )
    assert len(times) < 10


# ---- packed files -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_feed_with_sixty_thousand_pictures_is_read_from_its_zip(tmp_path):
    times = struct.pack("<HHBI", 0x5455, 5, 3, 0) + struct.pack(
        "<HHBBIBI", 0x7875, 11, 1, 4, 0, 4, 0
    )
    with zipfile.ZipFile(tmp_path / "feed.zip", "w") as archive:
        archive.writestr("catalogue/a.csv", HEADER + "1,x,a\n")
        for number in range(60_000):
            picture = zipfile.ZipInfo(f"catalogue/images/{number:06d}-front.jpg")
            picture.extra = times  # as Info-ZIP adds them
            archive.writestr(picture, b"")
    run = check_peak(tmp_path, tmp_path / "feed.zip")
    assert run.status == 0, run.stderr


@pytest.mark.redteam
def test_a_zip_of_very_many_files_is_refused_before_they_are_listed(tmp_path):
    path = tmp_path / "feed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", HEADER + "1,x,a\n")
        for number in range(LONGEST_LIST // 60_000 + 1):
            archive.writestr(f"{'x' * 60_000}{number}.jpg", "")
    run = check_peak(tmp_path, path)
    assert run.status == 2 and run.stderr.count("\n") == 1
    assert "feed.zip is a zip of too many files: unpack it, and load the folder" in run.stderr


@pytest.mark.redteam
@pytest.mark.parametrize("at", ["end", "zip64"])
def test_what_a_zip_says_of_its_lists_length_is_not_trusted(tmp_path, at):
    data, more = bytearray(a_zip(f=HEADER)), b"\0" * (LONGEST_LIST + 1000)
    end = data.rindex(b"PK\5\6")
    start = struct.unpack_from("<I", data, end + 16)[0]
    listing, size = bytes(data[start:end]) + more, end - start + len(more)
    tail = bytearray(data[end:])
    extra = b""
    if at == "end":
        struct.pack_into("<I", tail, 12, size)
    else:
        extra = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 1, 1, size, start)
        extra += struct.pack("<IIQI", 0x07064B50, 0, start + size, 1)
    path = write(tmp_path, bytes(data[:start]) + listing + extra + bytes(tail))
    with open(path, "rb") as file, pytest.raises(UserError, match="a zip of too many files"):
        open_zip(file)


def test_a_zip_of_too_many_files_in_a_folder_is_passed_over_and_named(tmp_path, capsys):
    (tmp_path / "f").mkdir()
    write(tmp_path, HEADER + "1,x,a\n", "f/a.csv")
    with zipfile.ZipFile(tmp_path / "f" / "b.zip", "w") as archive:
        for number in range(LONGEST_LIST // 60_000 + 1):
            archive.writestr(f"{'x' * 60_000}{number}.csv", "")
    assert [Path(file.name).name for file in feed_files([str(tmp_path / "f")])] == ["a.csv"]
    assert "b.zip is a zip of too many files" in capsys.readouterr().err


@pytest.mark.redteam
def test_feeds_among_very_many_files_of_a_zip_are_not_opened_one_by_one(tmp_path):
    path = tmp_path / "feed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}.csv", HEADER)
        for number in range(10_000):
            archive.writestr(f"{number}.jpg", "")
    with pytest.raises(UserError, match="100 files that may be feeds in a zip, among 10,100"):
        feed_files([str(path)])


@pytest.mark.redteam
def test_what_all_files_of_a_zip_unpack_to_has_a_bound(tmp_path):
    feeds = {f"{number}.csv": HEADER + "1,x,a\n" * 200_000 for number in range(100)}
    path = str(write(tmp_path, a_zip(**feeds)))
    with pytest.raises(UserError, match="unpacks to more than 400 times its size"):
        read_file(FeedFile(path, "7.csv"))


@pytest.mark.redteam
@pytest.mark.parametrize("column", ["product_type", "note"])
def test_what_is_counted_of_all_cells_has_a_bound(tmp_path, monkeypatch, column):
    monkeypatch.setattr(feed_survey, "MOST_COUNTED", 100_000)
    rows = "".join(f"{number},x,{EMOJI}{number}{'y' * 150}\n" for number in range(500))
    path = write(tmp_path, f"id,title,{column}\n{rows}")
    files = [FeedFile(str(path), name="f")]
    (file,) = feed_survey.survey(files, feed_reading.SurveyOptions()).files
    counted = file.cells.get(column) or file.samples[column]
    assert 100 < len(counted) < 160


def nested_zip():
    data = HEADER.encode()
    for _ in range(20):
        data = a_zip(f=data)
    return data


def nested_gzip():
    data = b"\0" * 20_000_000
    for _ in range(3):
        data = gzip.compress(data)
    return data


def zeros(megabytes):
    """A gzip file of so many megabytes of zeros, in members that follow each other."""
    return gzip.compress(HEADER.encode()) + gzip.compress(b"\0" * 1_000_000) * megabytes


# {kind: (file, what is said)}
PACKED = {
    "zip in zip": (nested_zip, "is no text in UTF-8"),
    "gzip in gzip": (nested_gzip, "is no text in UTF-8"),
    "gzip of zeros": (lambda: zeros(150), "more than 400 times its size"),
    "zip of zeros": (
        lambda: a_zip(f=HEADER.encode() + b"\0" * 150_000_000),
        "more than 400 times its size",
    ),
    "gzip of rows": (
        lambda: gzip.compress(HEADER.encode()) + gzip.compress(b"1,x,a\n" * 170_000) * 130,
        "more than 400 times its size",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PACKED)
def test_a_bomb_is_refused_in_a_sentence(tmp_path, kind):
    make, said = PACKED[kind]
    run = check_peak(tmp_path, write(tmp_path, make()))
    assert run.status == 2
    assert re.search(said, run.stderr), run.stderr


# ---- what is kept of a whole feed ---------------------------------------------------------------


def test_a_batch_counts_the_bytes_of_all_texts():
    long = EMOJI + "x" * 300_000  # 1.2 MB

    def made(**fields):
        values = {"external_id": "1", "name": "x", "description": "", "categories": ()}
        values |= {"images": (), "group": "", "parent": "", **fields}
        return FeedProduct(1, **values)

    for fields in (
        {"external_id": long},
        {"name": long},
        {"description": long},
        {"categories": ((long,),)},
        {"categories": (("a",), ("b", long))},
        {"images": ("a", long)},
        {"group": long},
        {"parent": long},
    ):
        batches = feed_import.batches([made(**fields)] * 10)
        assert list(map(len, batches)) == [4, 4, 2], fields


@pytest.mark.parametrize("kind", ["codes", "children"])
def test_parents_beyond_the_bound_are_counted(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(feed_survey, "MOST_PARENTS", 100_000)
    if kind == "codes":
        rows = "".join(f"{n},variable,s{n},x\n" for n in range(2_000))
        content = f"ID,Type,SKU,Name\n{rows}"
    else:
        children = "|".join(f"sku=c{n},a=b" for n in range(2_000))
        content = f'sku,attribute_set_code,name,configurable_variations\n1,x,y,"{children}"\n'
    files = [FeedFile(str(write(tmp_path, content)), name="f")]
    (file,) = feed_survey.survey(files, feed_reading.SurveyOptions()).files
    kept = len(file.codes) + len(file.children)
    assert 0 < kept < 700 and file.parents_lost == 2_000 - kept
    assert f"{file.parents_lost:,} variants without a parent" in " ".join(file.how.remarks)


def wide_rows(count, cell):
    return HEADER + "".join(f"{number},x,{cell(number)}\n" for number in range(count))


# The kinds of large files whose peak is measured, each of some ten megabytes.
LARGE = {
    "json, empty lists": lambda: listed(
        *small(2), *('{"id": "z", "x": [' + ",".join(["[]"] * 1_300_000) + "]}" for _ in range(2))
    ),
    "json, ever new names": lambda: "\n".join(
        f'{{"id": {number}, "title": 1, "k{number}": 1}}' for number in range(30_000)
    ),
    "links with an emoji": lambda: (
        "id,title,image_link\n"
        + "".join(f"{n},x{EMOJI},http://127.0.0.1/{'x' * 3_000_000}\n" for n in range(5))
    ),
    "titles with an emoji": lambda: (
        "id,title\n" + "".join(f"{n},{EMOJI}{'x' * 3_900_000}\n" for n in range(4))
    ),
    "ids with an emoji": lambda: wide_rows(300, lambda n: "a").replace(
        ",x,", f"{EMOJI}{'x' * 90_000},x,"
    ),
    "a row of a million columns": lambda: wide_rows(9, str) + "x," * 1_000_000 + "\n",
    "one line": lambda: wide_rows(9, str) + "x" * 30_000_000,
    "an unclosed quote": lambda: HEADER + '1,"x,a\n' + "2,x,a\n" * 1_500_000,
    "zeros": lambda: (wide_rows(9, str)).encode() + b"\0" * 30_000_000,
    "zeros in UTF-16": lambda: (wide_rows(9, str)).encode("utf-16") + b"\0\0" * 10_000_000,
    "a header of 100,000 columns": lambda: (
        "id,title," + ",".join(map(str, range(100_000))) + "\n1,x\n"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE)
def test_the_peak_of_a_large_file(tmp_path, kind):
    check_peak(tmp_path, write(tmp_path, LARGE[kind]()))
