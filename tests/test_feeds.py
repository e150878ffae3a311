"""A feed is read as shops write it, in any of their formats: every usable row becomes one product,
whatever stands in it, and a row or a file that can't be used is named in a sentence."""

import codecs
import csv
import gzip
import io
import itertools
import json
import os
import random
import tracemalloc
import zipfile
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.terminal import UserError
from common.text import clean_text
from crawling import feed_categories, feed_columns, feed_formats, feed_lines, feed_products
from crawling.feed_types import FeedProduct

HEADER = "id\ttitle\tdescription\tproduct_type\timage_link\titem_group_id"


@pytest.fixture
def read(tmp_path):
    """read(bytes or text) -> (products, skipped) of a feed with that content, whatever its name;
    keywords are columns of --column."""

    def read(content, **columns):
        path = tmp_path / "products"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        skipped = []
        return list(feed_products.read_feed(str(path), skipped, columns)), skipped

    return read


def product(line, own, name="Jean", description="", category=(), image="", group=""):
    categories = (category,) if category else ()
    images = (image,) if image else ()
    return FeedProduct(line, own, name, description, categories, images, group, "")


def category(product):
    """The category that files a product; () if none does."""
    return product.categories[0] if product.categories else ()


def a_table(rows, **dialect):
    """The text of rows as csv.writer writes them."""
    file = io.StringIO()
    csv.writer(file, **dialect).writerows(rows)
    return file.getvalue()


# ---- lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start, end", (("", "\n"), ("\ufeff", "\n"), ("", "\r\n"), ("\ufeff", "\r\n"))
)
@pytest.mark.parametrize("last", (True, False), ids=("ended", "last line open"))
def test_bom_and_line_ends_do_not_matter(read, start, end, last):
    lines = (HEADER, "1\tJean\tBlue\tJeans > Boot\ta.jpg\tg", "", "2\tGown\t\t\t\t")
    assert read(start + end.join(lines) + end * last) == (
        [
            feed_products.FeedProduct(2, "1", "Jean", "Blue", ("Jeans", "Boot"), "a.jpg", "g"),
            feed_products.FeedProduct(4, "2", "Gown", "", (), "", ""),
        ],
        [],
    )


@pytest.mark.parametrize(
    "line, reason",
    (
        ("\tJean\t\tJeans\t\t", "no id"),
        ("1", "no title"),
        ("1\t  \t\tJeans", "no title"),
        ("  \tJean", "no id"),
        ("\0\tJean", "no id"),
        ("1\tJean\tBlue\tJeans\t\t\tmore", "more columns"),
        ("1\tJean\t" + "x" * feed_lines.LONGEST_LINE, "too long"),
        ("1\tJean\t" + "x" * feed_lines.LONGEST_LINE * 2 + "\tJeans", "too long"),
        (" " * feed_lines.LONGEST_LINE + "1\tJean", "too long"),
        (
            "1\tJean\t" + "x" * (feed_lines.LONGEST_LINE - 8),
            "too long",
        ),  # its end is the last one read
        ("1\tJean\t\t" + " > ".join(["Jeans"] * 2000), "levels"),
    ),
)
def test_a_line_that_cannot_be_used_is_named_and_the_next_one_read(read, line, reason):
    products, skipped = read(f"{HEADER}\n{line}\n2\tGown\n")
    assert [(product.line, product.name) for product in products] == [(3, "Gown")]
    assert [number for number, _ in skipped] == [2] and reason in skipped[0][1]


def test_a_short_row_lacks_what_it_lacks(read):
    assert read(f"{HEADER}\n1\tJean\n2\tGown\tRed")[0] == [
        feed_products.FeedProduct(2, "1", "Jean", "", (), "", ""),
        feed_products.FeedProduct(3, "2", "Gown", "Red", (), "", ""),
    ]


@pytest.mark.parametrize(
    "text",
    (
        '"Jean',
        'a 32" inseam, "boot"',
        "'",
        "a\u2028b",
        "a\u2029b\x85c",
        "a\x0bb\x0cc\x1cd\x1ee",
        "a\rb",
        "🥻👖",
        "e\u0301",
        "<b>&amp;",
        "\\t \\n",
        "a, b; c|d",
        "NULL",
        "=1+1",
        "ﷺ",
    ),
)
def test_text_is_data_whatever_stands_in_it(read, text):
    products, skipped = read(f"{HEADER}\n1\t{text}\t{text}\t{text} > {text}\n2\tGown")
    assert products[0][:5] == (2, "1", text, text, (text, text)) and skipped == []
    assert len(products) == 2


def test_a_nul_becomes_a_space(read):
    products, _ = read(f"{HEADER}\n1\ta\0b\tc\tJeans\n")
    assert products[0].name == "a b"


@pytest.mark.parametrize("raw", (b"caf\xe9", b"\xed\xa0\x80x", b"\xff\xfe"))
def test_what_is_not_utf_8_is_refused_with_its_line_and_not_guessed(read, raw):
    with pytest.raises(UserError, match="line 3 is not UTF-8"):
        read(HEADER.encode() + b"\n1\tcaf\xc3\xa9\t\tJeans\n2\t" + raw + b"\t\tJeans\n")


@given(st.text())
def test_clean_text_can_be_encoded_and_is_clean_already(text):
    cleaned = clean_text(text)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned == clean_text(cleaned)
    assert "\0" not in cleaned


@pytest.mark.parametrize(
    "content, sentence",
    (
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\x1f\x8b", "cut short or damaged"),
        (b"\n1\tJean\n", "no column id, title"),
        (b"id\tname\n1\tJean\n", "no column title: .* --column title=HEADER; found: 'id', 'name'"),
        (b"sku,title\n1,Jean\n", "no column id: .* --column id=HEADER; found: 'sku', 'title'"),
        (HEADER.encode("utf-16-le"), "no text in UTF-8"),
        (b"\x7fELF\x02\x01\x01\0\0\x1b[2J\x9b" * 500, "no text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 99, "no column"),
        (b"\t" * 200_000, "is empty"),
    ),
)
def test_a_file_that_is_no_feed_is_one_printable_sentence(read, content, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read(content)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1500


@pytest.mark.parametrize("raw, line", ((b"caf\xe9", 3), (b"caf\xe9", 1)))
@pytest.mark.parametrize(
    "form",
    (
        b"%(1)s,id,title\n,1,Jean\n%(3)s,2,Gown\n",
        b'{"id": 1, "title": "%(1)s"}\n\n"%(3)s"\n',
        b'{"id": "%(1)s", "products": [\n\n{"id": 1, "title": "%(3)s"}]}',
    ),
    ids="csv lines json".split(),
)
def test_no_text_format_guesses_at_what_is_not_utf_8(read, form, raw, line):
    values = {b"1": b"x", b"3": b"x", str(line).encode(): raw}
    with pytest.raises(UserError, match=f"line {line} is not UTF-8"):
        read(form % values)


def test_a_folder_or_no_file_at_all_is_a_users_mistake(tmp_path):
    for path in (tmp_path, tmp_path / "none.tsv"):
        with pytest.raises(UserError, match="--feed"):
            list(feed_products.read_feed(str(path), []))


# ---- tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", "\t,;|")
@pytest.mark.parametrize("quoting", (csv.QUOTE_MINIMAL, csv.QUOTE_ALL), ids=("minimal", "all"))
@pytest.mark.parametrize("end", ("\n", "\r\n"))
def test_the_delimiter_and_the_quotes_are_found_by_the_content(read, delimiter, quoting, end):
    rows = [
        HEADER.split("\t"),
        ["007", "Jean, blue; wide|flared", 'a 27" one,\n\nof "our" best', "Women > Jeans", "", "g"],
        ["2", 'The "Boot"', "", "Women", "b.jpg", ""],
        ["3", '"Jean"', "tab\there", "", "", ""],
    ]
    products, skipped = read(
        a_table(rows, delimiter=delimiter, quoting=quoting, lineterminator=end)
    )
    assert skipped == [] and products == [
        product(2, "007", rows[1][1], rows[1][2], ("Women", "Jeans"), "", "g"),
        product(5, "2", 'The "Boot"', "", ("Women",), "b.jpg"),
        product(6, "3", '"Jean"', "tab\there"),
    ]


@given(
    st.lists(st.tuples(*[st.text()] * 4), min_size=1, max_size=5),
    st.sampled_from("\t,;|"),
    st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
)
def test_what_csv_writes_is_read_as_it_was(tmp_path_factory, rows, delimiter, quoting):
    path = tmp_path_factory.mktemp("feed") / "f"
    # The first row makes it sure that tabs are quoted; NUL and \r alone Python 3.10 can't write.
    texts = [("a", "b", '"', "a\n" * 9)] + [
        tuple(text.replace("\0", "").replace("\r", "") for text in row) for row in rows
    ]
    table = [("id", "title", "description", "product_type", "image_link")] + [
        (str(number), "T" + title, description, category, image)
        for number, (title, description, category, image) in enumerate(texts)
    ]
    text = a_table(table, delimiter=delimiter, quoting=quoting)
    path.write_bytes(text.encode("utf-8", "replace"))
    skipped, clean = [], clean_text
    products = list(feed_products.read_feed(str(path), skipped))
    assert [(each.external_id, each.name, each.description, each.image) for each in products] == [
        (own, clean(title), clean(description), clean(image))
        for own, title, description, _, image in table[1:]
    ]
    assert skipped == []


@given(st.text("ab\"',\n", max_size=200))
def test_any_mess_of_quotes_is_read_as_csv_reads_it_and_costs_no_sound_row(tmp_path_factory, mess):
    path, skipped = tmp_path_factory.mktemp("feed") / "f", []
    text = f'id,title,x,y\n{mess}\n"last","Gown","x","y"\n'
    path.write_text(text, encoding="utf-8")
    products = list(feed_products.read_feed(str(path), skipped))
    assert products[-1] == product(3 + mess.count("\n"), "last", "Gown")
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))[1:]
    except csv.Error:
        return  # no reading is the right one
    rows = [[cell.strip() for cell in row] for row in rows]
    assert [(each.external_id, each.name) for each in products] == [
        tuple(row[:2]) for row in rows if len(row) > 1 and all(row[:2]) and not any(row[4:])
    ]


@pytest.mark.parametrize(
    "rows, names, lines",
    (
        # Inches: neither a quote within a text nor one without its other half takes anything along.
        (('1,27" monitor,x', '2,a 5\' 6" one,"x, y"'), ['27" monitor', "a 5' 6\" one"], []),
        (('1,"27" monitor",x', "2,Gown,x"), ['27" monitor', "Gown"], []),
        (('"1","27" monitor","x"', '"2","Gown","x"'), ['27" monitor', "Gown"], []),
        (('1,"Jean,x', "2,Gown,x", "3,Bag,x"), ['"Jean', "Gown", "Bag"], []),
        (('1,"Jean,x', "2,Gown,x", '3,"Bag",x'), ['"Jean', "Gown", "Bag"], []),
        (("1,Jean,x", '2,"Gown'), ["Jean"], [3]),
        (('1,"Jean, blue,x', "2,Gown,x", "3,Bag,x"), ["Gown", "Bag"], [2]),
        # The rest of a text whose quotes do not match looks like rows, and is none.
        (
            ('1,Jean,"a "soft"', "warm, wide", "blue", '"', "2,Gown,x", "3,Bag"),
            ["Jean", "Gown", "Bag"],
            [3],
        ),
        (
            ('1,Jean,"a "soft", b', '"warm, wide', 'blue, "new"', "2,Gown,x", "3,Bag"),
            ["Gown", "Bag"],
            [2],
        ),
    ),
)
def test_quotes_that_do_not_match_cost_no_other_row(read, rows, names, lines):
    products, skipped = read("\n".join(("id,title,description", *rows)) + "\n")
    assert [each.name for each in products] == names
    assert [line for line, _ in skipped] == lines
    assert all("quotes that do not match" in reason for _, reason in skipped)


@pytest.mark.parametrize(
    "cells",
    (
        ('"Jean', "Blue"),
        ('"Jean', 'Blue"'),
        ('"Boot" jeans', "x"),
        ('27"', '"'),
        ('"', '"'),
        ('"Jean"', '"Boot" jeans'),
    ),
    ids=str,
)
def test_a_tab_separated_feed_is_only_quoted_if_most_of_its_cells_are(read, cells):
    rows = [("1", *cells, "Jeans"), ("2", "Gown", 'Red 32"', "Gowns"), ("3", '5"', "x", "Gowns")]
    text = "\n".join("\t".join(row) for row in rows)
    products, skipped = read("id\ttitle\tdescription\tproduct_type\n" + text)
    assert [
        (each.external_id, each.name, each.description, *category(each)) for each in products
    ] == rows and skipped == []


@pytest.mark.parametrize("stray", ('"Jean', 'a "', '"a" b', '"'))
def test_a_stray_quote_costs_a_quoted_tab_separated_feed_one_row_at_most(read, stray):
    rows = [(str(own), "Gown, red", "two\nlines") for own in range(2, 60)]
    text = a_table([("id", "title", "description"), *rows], delimiter="\t")
    header, _, rest = text.partition("\n")
    products, skipped = read(f"{header}\n1\t{stray}\tx\n{rest}")
    assert [(each.external_id, each.name, each.description) for each in products[-58:]] == rows
    assert [each.name for each in products[:-58]] == [stray] and skipped == []


def test_excel_quotes_in_tab_separated_text_what_holds_a_comma_or_a_line_break(read):
    text = (
        'id\ttitle\tdescription\r\n1\t"Jean, blue"\t"two\nlines"\r\n'
        '2\t"27"" monitor"\tplain\r\n3\t"Gown, open'
    )
    assert read(text.replace("3\t", "3\t") + '"\tx\r\n') == (
        [
            product(2, "1", "Jean, blue", "two\nlines"),
            product(4, "2", '27" monitor', "plain"),
            product(5, "3", "Gown, open", "x"),
        ],
        [],
    )


@pytest.mark.parametrize("quoting", (csv.QUOTE_MINIMAL, csv.QUOTE_ALL), ids=("minimal", "all"))
def test_lines_that_end_as_on_the_old_mac_are_lines(read, quoting):
    rows = [(str(own), f"Jean {own}", "two\nlines, and more") for own in range(20)]
    products, skipped = read(
        a_table([("id", "title", "description"), *rows], quoting=quoting, lineterminator="\r")
    )
    assert [(each.line, each.external_id, each.name, each.description) for each in products] == [
        (own + 2, *row) for own, row in enumerate(rows)
    ] and skipped == []


def test_blanks_around_the_separator_and_blank_lines_before_the_header_mean_nothing(read):
    for path in ("women > jeans", "women  >  jeans", "women\u00a0> jeans"):
        assert read(f"\n\nid,title,product_type\n1,Jean,{path}\n")[0][0].category == (
            "women",
            "jeans",
        )


@pytest.mark.parametrize("delimiter", "\t,")
def test_a_record_that_ends_in_a_line_too_long_is_not_cut_short(read, delimiter):
    rows = [
        "id,title,x,description",
        '1,Jean,"two',
        'lines",' + "x" * feed_lines.LONGEST_LINE,
        '2,Gown,"two',
        'lines",',
        "3,Bag,,",
    ]
    products, skipped = read("\n".join(rows).replace(",", delimiter) + "\n")
    assert [each.name for each in products] == ["Gown", "Bag"]
    assert [line for line, _ in skipped] == [2, 3]


def test_a_quoted_text_may_go_over_the_end_of_what_is_looked_at_first(read):
    text = "\n".join(["soft"] * 999)
    rows = [(str(own), "Jean", text) for own in range(400)]
    for size in (1, 2500):  # a text is about 5,000 long, so the end is in one
        products, skipped = read(
            a_table([("id", "title", "description"), ("x", "x" * size, ""), *rows], delimiter="\t")
        )
        assert [each.description for each in products[1:]] == [text] * 400 and skipped == []


def test_a_quote_at_the_start_of_a_long_feed_does_not_make_it_a_quoted_one(read):
    rows = [
        ("id", "title"),
        ("1", '"Jean'),
        *((str(own), "x" * 900) for own in range(2, 1500)),
        ("b", '"Boot"'),
    ]
    products, skipped = read("\n".join(map("\t".join, rows)))
    assert [(each.external_id, each.name) for each in products] == rows[1:] and skipped == []


def test_a_feed_whose_header_is_quoted_is_quoted_whatever_inches_it_has(read):
    assert read('"id"\t"title"\n"1"\t"27" monitor"\n"2"\t"Gown"\n') == (
        [product(2, "1", '27" monitor'), product(3, "2", "Gown")],
        [],
    )


@pytest.mark.parametrize("delimiter", "\t,")
def test_ragged_rows_lack_what_they_lack_and_more_than_the_header_has_is_told(read, delimiter):
    text = "id,title,x,image_link\n1\n2,Gown\n3,Bag,x,y,z\n\n4,Hat,x,y\n".replace(",", delimiter)
    assert read(text) == (
        [product(3, "2", "Gown"), product(6, "4", "Hat", image="y")],
        [(2, "no title (id 1)"), (4, "more columns than the header names")],
    )


@pytest.mark.parametrize(
    "content",
    (
        HEADER,
        HEADER + "\n",
        HEADER.replace("\t", ",") + "\r\n\r\n",
        "# only\n# remarks\nid,title\n",
        '{"products": []}',
        "[]",
        "sep=;\r\nid;title\r\n",
    ),
)
def test_a_feed_without_products_holds_none(read, content):
    assert read(content) == ([], [])


@pytest.mark.parametrize("start", ("1,Jean,", '1,Jean,"'), ids=("bare", "quoted"))
@pytest.mark.parametrize(
    "filling, times",
    (
        ("x", 20_000_000),
        (",", 20_000_000),
        ('""', 10_000_000),
        ("x" * 999 + "\n", 20_000),
        ("\n", 200_000),
        pytest.param("x\n", 100_000, marks=pytest.mark.slow),
        pytest.param("a,b,c\n", 100_000, marks=pytest.mark.slow),
    ),
    ids="letters commas quotes lines blank short rows".split(),
)
def test_a_huge_field_costs_its_own_row_and_no_memory(tmp_path, start, filling, times):
    end = '"' if start.endswith('"') else ""
    path = tmp_path / "f"
    with gzip.open(path, "wt", compresslevel=1, newline="") as file:
        file.write("id,title,description,x\n" + start)
        file.writelines([filling * (times // 10)] * 10)
        file.write(f"{end},x\n2,Gown,,x\n")
    own, skipped = [], []
    tracemalloc.start()
    for each in feed_products.read_feed(str(path), skipped):
        if each.external_id != "a":  # bare, a,b,c is a row of its own
            own.append(each.name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert own[-1] == "Gown" and peak < 80_000_000
    if end:
        assert own == ["Gown"] and [line for line, _ in skipped] == [2]


# ---- encodings and packing ----------------------------------------------------------------------

JEAN = [product(2, "1", "Jeän 🥻", "", ("Röcke", "Mini"))]
TABLE = "id\ttitle\tproduct_type\r\n1\tJeän 🥻\tRöcke > Mini\r\n"


def a_zip(**files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


@pytest.mark.parametrize(
    "encode",
    (
        lambda text: text.encode("utf-8"),
        lambda text: text.encode("utf-8-sig"),
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    ),
    ids="utf-8 bom le be".split(),
)
@pytest.mark.parametrize(
    "pack",
    (
        bytes,
        gzip.compress,
        lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
        lambda data: a_zip(**{"a/b/products.png": data}),
        lambda data: a_zip(**{"a/": b"", "__MACOSX/._f": b"x", "a/.DS_Store": b"x", "../f": data}),
    ),
    ids="plain gzip two-gzips zip mac-zip".split(),
)
@pytest.mark.parametrize(
    "text",
    (
        TABLE,
        TABLE.replace("\t", ","),
        '\n{"id": 1, "title": "Jeän 🥻", "product_type": "Röcke > Mini"}',
        '[\n{"id": 1, "title": "Je\\u00e4n \\ud83e\\udd7b", "product_type": ["Röcke", "Mini"]}]',
        "<rss>\n<item><id>1</id><title>Jeän &#x1f97b;</title>"
        "<product_type>Röcke > Mini</product_type></item></rss>",
    ),
    ids="tsv csv lines json xml".split(),
)
def test_every_format_comes_in_every_encoding_and_packing(read, encode, pack, text):
    assert read(pack(encode(text))) == (JEAN, [])


@pytest.mark.parametrize(
    "content, sentence",
    (
        (gzip.compress(TABLE.encode() * 5000)[:-20], "cut short or damaged: get it again"),
        (gzip.compress(TABLE.encode())[:9], "cut short or damaged"),
        (gzip.compress(TABLE.encode()) + b"junk", "cut short or damaged"),
        (b"\x1f\x8b" + b"x" * 99, "cut short or damaged"),
        (a_zip(f=TABLE)[:-9], "cut short or damaged"),
        (b"PK\3\4" + b"x" * 99, "cut short or damaged"),
        (a_zip(f=TABLE * 99).replace(b"\xff", b"\xfe").replace(b"\1", b"\2"), "cut short|unusual"),
        (
            a_zip(**{"a/shoes.csv": TABLE, "bags.csv": TABLE}),
            "holds 2 files: unpack it .* found: 'a/shoes.csv', 'bags.csv'",
        ),
        (a_zip(), "holds 0 files"),
        (a_zip(**{"a/": b""}), "holds 0 files"),
        (a_zip(**{"\x1b[2J\n" + "x" * 9999: b"", "b": b""}), "holds 2 files"),
        (
            a_zip(**{"[Content_Types].xml": "", "xl/workbook.xml": ""}),
            "office document: save .* CSV",
        ),
        (gzip.compress(gzip.compress(TABLE.encode())), "no text in UTF-8"),
        (TABLE.encode("utf-16") + b"x", "damaged or not whole UTF-16"),
        (
            codecs.BOM_UTF16_LE + (TABLE + "\n\ud800\t").encode("utf-16-le", "surrogatepass"),
            "line 4 is not UTF-8",
        ),
        (codecs.BOM_UTF8 + TABLE.encode("utf-16"), "no text in UTF-8"),
    ),
    ids=itertools.count(),
)  # by themselves they would hold the time, which is in what packs
def test_a_file_packed_or_written_wrongly_is_one_sentence(read, content, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read(content)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    "pack", (bytes, gzip.compress, lambda data: a_zip(f=data)), ids="plain gzip zip".split()
)
@pytest.mark.parametrize("encoding", ("utf-8", "utf-16"))
@pytest.mark.parametrize(
    "text",
    (
        HEADER + '\n1\tJeän "a"\tx\tA > B\n2\t"Gown, ""b"""\ty\tC\n',
        'id,title,x\n1,"Jeän, ""x""","two\nlines"\n2,Gown,"a"\n',
        '{"id": 1, "title": "Jeän", "product_type": ["A", "B"]}\n' * 3,
        '{"products": [\n{"id": 1, "title": "Jeän"},\n{"id": 2, "title": "Gown"}]}',
        "<?xml version='1.0'?>\n<r><item><id>1</id>\n<title>Jeän &amp; x</title></item></r>",
    ),
    ids="tsv csv lines json xml".split(),
)
def test_a_damaged_file_gives_products_or_one_printable_sentence(read, pack, encoding, text):
    chance, data = random.Random(1), pack(text.encode(encoding))
    for _ in range(40):
        broken = bytearray(data)
        for _ in range(chance.choice((1, 2, 8))):
            place = chance.randrange(len(broken))
            if chance.random() < 0.5:
                broken[place] = chance.choice((*b'\0"\t,\n{}[]<>&', chance.randrange(256)))
            else:
                del broken[place : place + chance.choice((1, 30))]
            broken = broken or bytearray(b"x")
        try:
            products, _ = read(bytes(broken))
        except UserError as error:
            assert str(error).isprintable() and len(str(error)) < 1500
        else:
            assert all(each.external_id and each.name for each in products)


def test_a_zip_that_wants_a_password_or_another_method_is_one_sentence(read):
    data = a_zip(f=TABLE)
    place = data.index(b"PK\1\2")
    for at, byte in ((8, 1), (10, 9)):  # the flags; the method
        broken = bytearray(data)
        broken[place + at] = byte
        with pytest.raises(UserError, match="password or an unusual packing: unpack it"):
            read(bytes(broken))


@pytest.mark.parametrize("pack", (gzip.compress, lambda data: a_zip(f=data)), ids=("gzip", "zip"))
@pytest.mark.parametrize(
    "head, filling, tail",
    (
        (b"id\ttitle\n1\t", b"\0", b"\n2\tGown\n"),
        (b"id,title\n1,", b"\0", b"\n2,Gown\n"),
        (b'{"id": 2, "title": "Gown"}\n{"id": "', b"0", b'"}\n'),
        (b'{"id": 2, "title": "Gown"}\n', b"[", b"\n"),
        (b"<rss><item><id>2</id><title>Gown</title></item><item><id>", b"0", b"</id></item></rss>"),
        (b"<rss><item><id>2</id><title>Gown</title></item><item>", b"<a/>" * 100, b"</item></rss>"),
    ),
    ids="tsv csv lines nested xml elements".split(),
)
def test_a_bomb_costs_no_more_memory_than_a_row_may(tmp_path, pack, head, filling, tail):
    path = tmp_path / "f"
    path.write_bytes(pack(head + filling * (40_000_000 if len(filling) == 1 else 1000) + tail))
    skipped = []
    tracemalloc.start()
    products = list(feed_products.read_feed(str(path), skipped))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [each.name for each in products] == ["Gown"] and peak < 60_000_000
    assert [reason for _, reason in skipped if "too long" in reason] and len(skipped) == 1


# ---- JSON ---------------------------------------------------------------------------------------


def test_numbers_are_kept_as_written_and_what_is_nested_is_no_text(read):
    digits = "9" * 5000
    assert read(
        '{"id": 1.50, "title": "Jean", "description": null, "image_link": {"src": "x"}}\n'
        f'{{"id": {digits}, "title": 501, "item_group_id": true, "image_link": [["a"]]}}\n'
        '{"id": ["x"], "title": "Jean"}\n{"id": "1e5", "title": "\\ud800\\u0000a"}\n'
        '{"id": -0, "title": NaN, "product_type": ["A", 2, null, " B ", ""]}\n'
    ) == (
        [
            product(1, "1.50"),
            product(2, digits, "501"),
            product(4, "1e5", "? a"),
            product(5, "-0", "NaN", "", ("A", "2", "B")),
        ],
        [(3, "no id")],
    )


@pytest.mark.parametrize(
    "line, reason",
    (
        ('{"id": 1, "title": "Jean"', "broken JSON"),
        ("nothing", "broken JSON"),
        ('{"id": 1, "title": "Jean"} x', "broken JSON"),
        ("[" * 100_000, "broken JSON, or nested"),
        ('{"id":' * 100_000, "nested too deep"),
        ("[1]", "no JSON object"),
        ('"x"', "no JSON object"),
        ("1", "no JSON object"),
        ("null", "no JSON object"),
        ('{"id": 1}', "no title"),
        ('{"id": 1, "title": "Jean", "x": "' + "x" * feed_lines.LONGEST_LINE + '"}', "too long"),
    ),
)
def test_a_line_of_json_that_cannot_be_used_is_named_and_the_next_one_read(read, line, reason):
    first = '{"id": 0, "title": "Bag"}'
    products, skipped = read(f'{first}\n{line}\n{{"id": 2, "title": "Gown"}}\n')
    assert [each.line for each in products] == [1, 3]
    assert [number for number, _ in skipped] == [2] and reason in skipped[0][1]


def test_a_broken_first_line_makes_no_document_of_json_lines(read):
    assert read('{"id": 1, "title":\n\n{"id": 2, "title": "Gown"}\n') == (
        [product(3, "2", "Gown")],
        [(1, "broken JSON, or nested too deep")],
    )


@pytest.mark.parametrize("indent", (None, 0, 1))
@pytest.mark.parametrize(
    "wrap",
    (
        lambda items: items,
        lambda items: {"products": items},
        lambda items: {"total": len(items), "products": items, "x": {}},
    ),
)
def test_a_document_is_read_to_its_end_however_it_is_laid_out(read, wrap, indent):
    items = [
        {"id": number, "title": "Jean", "x": {"}": [number, "]" * 9]}} for number in range(5000)
    ]
    text = json.dumps(wrap([*items, None]), indent=indent)
    products, skipped = read(text + "\n" + text)  # two pages put together
    assert [each.external_id for each in products] == [str(number) for number in range(5000)] * 2
    lines = (
        [number for number, line in enumerate(text.split("\n"), 1) if line.strip().startswith("{")][
            -5000:
        ]
        if indent is not None
        else [1] * 5000
    )
    after = text.count("\n") + 1
    assert [each.line for each in products] == lines + [line + after for line in lines]
    assert [reason for _, reason in skipped] == ["no JSON object"] * 2


def test_a_value_may_go_over_the_end_of_a_piece(read):
    for size in range(feed_lines.PIECE - 40, feed_lines.PIECE):
        text = f'{{"x": "{"x" * size}", "total": 1234567890, "products": [{{"id": 12, '
        assert read(text + '"title": "é"}]}') == ([product(1, "12", "é")], [])


@pytest.mark.parametrize(
    "content, sentence",
    (
        ('{"products": [{"id": 1, "title": "Jean"}', "line 1: here the JSON is broken, cut short"),
        (
            '[{"id": 1, "title": "Jean"},\n{"id": 2, "tit',
            "line 2: here the JSON is broken, cut short",
        ),
        ('[{"id": 1, "title": "Jean"}]\n]', "line 2"),
        ('{"products": [1 2]}', "broken"),
        ('{"products" []}', "broken"),
        ('{"products": [], ', "broken"),
        ("[" * 9_000_000, "too deep"),
        ('{"products": [\n' + '{"a":' * 100_000, "line 2: .*too deep"),
        ("[1", "broken"),
        ("{", "broken"),
        ('[{"id": 1, "title": "' + "x" * (feed_lines.LONGEST_LINE + 200_000) + '"}]', "too long"),
        ("{" + ",".join(f'"{number}": "{"x" * 99_999}"' for number in range(45)) + "}", "too long"),
        ('{"errors": "Not Found"}', "no column id, title: .*found: 'errors'"),
        ('{"products": {"id": 1}}', "found: 'products'"),
        ('{\n"products": null\n}', "found: 'products'"),
        ('{"products": [{"sku": 1, "name": "x"}]}', "found: 'sku', 'name'"),
        ('[{"sku": 1}]', "found: 'sku'"),
        ("{}", "no column id, title"),
        ('{"id": 1}', "no column title"),
        ('"id"', "no column"),
        ("[1, 2" + chr(0) + "]", "broken"),
    ),
)
def test_json_of_another_shape_is_one_printable_sentence(read, content, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read(content)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1500


def test_a_document_of_any_length_is_read_in_little_memory(tmp_path):
    path = tmp_path / "f"
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"products": [')
        file.write(
            ",".join(
                f'{{"id": {number}, "title": "Jean", "x": "{"y" * 3000}"}}'
                for number in range(10_000)
            )
        )
        file.write("]}")
    tracemalloc.start()
    assert sum(1 for _ in feed_products.read_feed(str(path), [])) == 10_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000 < 30_000_000 < path.stat().st_size


# ---- XML ----------------------------------------------------------------------------------------

RSS = """<?xml version="1.0"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>The shop</title>
<link>https://shop.example</link><item>
  <g:id>SKU-1</g:id><title>Acme Jean</title><description>Soft &lt;b&gt;denim&lt;/b&gt;</description>
  <g:image_link>https://shop.example/1.jpg</g:image_link>
  <g:product_type>Women &gt; Jeans</g:product_type><g:product_type>Other</g:product_type>
  <g:item_group_id> g </g:item_group_id><g:shipping><g:id>0</g:id></g:shipping>
</item>
<item><g:id>SKU-2</g:id><g:title><![CDATA[Gown & <i>hat</i>]]></g:title></item></channel></rss>
"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<title>The shop</title><id>tag:shop</id>
<entry><id>tag:1</id><g:id>SKU-1</g:id><title>Acme Jean</title>
<summary>Soft &lt;b&gt;denim&lt;/b&gt;</summary><link href="https://shop.example/p/1"/>
<g:image_link>https://shop.example/1.jpg</g:image_link>
<g:product_type>Women &gt; Jeans</g:product_type>
<author><title>x</title></author><g:item_group_id>g</g:item_group_id><title>x</title></entry>
<entry><id>SKU-2</id><g:title>Gown &amp; &lt;i&gt;hat&lt;/i&gt;</g:title><title>x</title></entry>
</feed>
"""


@pytest.mark.parametrize("text, lines", ((RSS, (3, 9)), (ATOM, (3, 8))), ids=("rss", "atom"))
def test_googles_xml(read, text, lines):
    assert read(text) == (
        [
            product(
                lines[0],
                "SKU-1",
                "Acme Jean",
                "Soft <b>denim</b>",
                ("Women", "Jeans"),
                "https://shop.example/1.jpg",
                "g",
            ),
            product(lines[1], "SKU-2", "Gown & <i>hat</i>"),
        ],
        [],
    )


@pytest.mark.parametrize(
    "item, name",
    (
        ("<title/><g:title>Jean</g:title>", "Jean"),
        ("<g:title/><title>Jean</title>", "Jean"),
        ("<title>x</title><g:title>Jean</g:title>", "Jean"),
        ("<m:title>x</m:title><title>Jean</title>", "Jean"),
        ("<m:title>Jean</m:title>", "Jean"),
        ("<title>J<b>ea</b>n</title>", "Jean"),
        ("<title><![CDATA[Jean]]></title>", "Jean"),
        ("<title>J&#101;an<!-- x --></title>", "Jean"),
        ("<title></title><title>Jean</title>", "Jean"),
        ("<title>Jean</title><item><id>2</id><title>x</title></item>", "Jean"),
        ("<title>Women &amp;amp; men</title>", "Women &amp; men"),
    ),
)
def test_the_elements_of_an_item(read, item, name):
    assert read(
        RSS.split("<item>")[0].replace(" xmlns", ' xmlns:m="http://media.example" xmlns')
        + f"\n\n<item><g:id>1</g:id>{item}</item></channel></rss>"
    ) == ([product(5, "1", name)], [])


def test_an_item_that_cannot_be_used_is_named_and_the_next_one_read(read):
    huge = "x" * feed_lines.LONGEST_LINE
    products, skipped = read(
        f"\n \n<?xml version='1.0'?><r><item><id>1</id></item>\n<item><title>x</title></item>\n"
        f"<item><id>1</id><title>x</title><x>{huge}</x></item>\n"
        f"<item><id>1</id><title>x</title><x><y>{huge}</y></x></item>\n"
        f"<item/>\n<item><id>2</id><title>Gown</title></item></r>"
    )
    assert products == [product(8, "2", "Gown")]
    assert skipped == [
        (3, "no title (id 1)"),
        (4, "no id"),
        (5, "item too long"),
        (6, "item too long"),
        (7, "no id"),
    ]


ITEM = "<item><id>1</id><title>{}</title></item>"


@pytest.mark.parametrize(
    "content, sentence",
    (
        # An entity that grows tenfold nine times over, one that reads a file, a definition elsewhere.
        (
            '<!DOCTYPE r [<!ENTITY a0 "ha">'
            + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
            + "]>\n<r>"
            + ITEM.format("&a9;")
            + "</r>",
            "DOCTYPE",
        ),
        (
            '<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><r>'
            + ITEM.format("&a;")
            + "</r>",
            "DOCTYPE",
        ),
        (
            '<!DOCTYPE r SYSTEM "http://shop.example/feed.dtd"><r>' + ITEM.format("x") + "</r>",
            "DOCTYPE",
        ),
        (
            "<!DOCTYPE html><html><body>Not found</body></html>",
            "line 1: .*DOCTYPE, which a web page has",
        ),
        (RSS[:-30], "line 9: the XML is broken or cut short"),
        (RSS.replace("</title><description>", "</titel><description>"), "line 4: .*mismatched tag"),
        (RSS.replace("Acme", "Ac & me"), "line 4"),
        (RSS.replace("Acme", "&nbsp;"), "line 4.*entity"),
        (RSS.replace("Acme", "\0"), "line 4"),
        (RSS.replace("xmlns:g", "xmlns:x"), "unbound prefix"),
        (RSS.encode().replace(b"Acme", b"\xe9"), "line 4"),
        (RSS + RSS, "line 10"),
        ("<", "line 1"),
        ("\n\n" + RSS[:-30], "line 11"),
        ('<?xml version="1.0" encoding="shift_jis"?><r/>', "unusual encoding: save it as UTF-8"),
        ('<?xml version="1.0" encoding="x"?><r/>', "unusual encoding"),
        (
            "<products><product><id>1</id></product></products>",
            "without an <item> or <entry>: .*found: 'products', 'product', 'id'",
        ),
        ("<r>" + "".join(f"<a{n}{'x' * 99}/>" for n in range(99)) + "</r>", "without an <item>"),
        ("<r><item><sku>1</sku></item></r>", "no column id, title: .*found: 'sku'"),
        ("<r>" + "<a>" * 10_000, "nested too deep"),
        ("<a>" * 10_000_000, "nested too deep"),
        ("<r><!--" + "x" * 9_000_000, "tag or comment without an end"),
        ("<r><item><a " + "x" * 9_000_000, "tag or comment without an end"),
    ),
)
def test_xml_that_is_hostile_or_no_feed_is_one_printable_sentence(read, content, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read(content)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1500


@pytest.mark.parametrize("encoding", ("iso-8859-1", "windows-1252", "utf-8", "utf-16"))
def test_xml_says_itself_how_it_is_encoded(read, encoding):
    text = f"<?xml version='1.0' encoding='{encoding}'?><r>" + ITEM.format("Jeän") + "</r>"
    assert read(text.encode(encoding)) == ([product(1, "1", "Jeän")], [])


@pytest.mark.parametrize(
    "encode",
    (
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    ),
    ids="utf-8 le be".split(),
)
def test_a_byte_order_mark_knows_better_than_what_xml_says(read, encode):
    text = "<?xml version='1.0' encoding='iso-8859-1'?><r>" + ITEM.format("Jeän") + "</r>"
    assert read(encode(text)) == ([product(1, "1", "Jeän")], [])


@given(st.lists(st.text(), min_size=1, max_size=9))
def test_what_is_escaped_in_xml_is_read_as_it_was(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("feed") / "f"
    # XML has no other control characters, and reads \r as \n.
    texts = [
        "T"
        + "".join(letter for letter in text if letter >= " " or letter in "\t\n")
        .replace("\ufffe", "")
        .replace("\uffff", "")
        for text in map(clean_text, texts)
    ]
    items = "".join(ITEM.format(escape(text)) for text in texts)
    path.write_text(f"<r>{items}</r>", encoding="utf-8", newline="")
    assert [each.name for each in feed_products.read_feed(str(path), [])] == [
        clean_text(text) for text in texts
    ]


def test_a_feed_of_any_length_is_read_in_little_memory(tmp_path):
    path = tmp_path / "f"
    with open(path, "w", encoding="utf-8") as file:
        file.write("<r>")
        for _ in range(10_000):
            file.write(ITEM.format("x" * 3000))
        file.write("</r>")
    tracemalloc.start()
    assert sum(1 for _ in feed_products.read_feed(str(path), [])) == 10_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000 < 30_000_000 < path.stat().st_size
