"""The bytes of a feed: every encoding that can be told is read, every other one is refused in a
sentence that names it, and packed files are unpacked on the way."""

import codecs
import gzip
import itertools
import tracemalloc

import pytest
from rows_of_feeds import a_zip, read, read_file, values_of

from common.terminal import UserError
from crawling import feed_bytes
from crawling.feed_formats import read_feed_rows

TABLE = "id\ttitle\tproduct_type\r\n1\tJeän 🥻\tRöcke > Mini\r\n"
CSV = TABLE.replace("\t", ",")
LINES = '\n{"id": 1, "title": "Jeän 🥻", "product_type": "Röcke > Mini"}'
DOCUMENT = '[\n{"id": 1, "title": "Je\\u00e4n \\ud83e\\udd7b", "product_type": "Röcke > Mini"}]'
XML = (
    "<rss>\n<item><id>1</id><title>Jeän &#x1f97b;</title>"
    "<product_type>Röcke > Mini</product_type></item></rss>"
)
PAGE = (
    '<!doctype html><html>\n<script type="application/ld+json">{"@type": "Product", "sku": "1", '
    '"name": "Jeän 🥻", "category": "Röcke > Mini"}</script></html>'
)
FORMATS = pytest.mark.parametrize(
    "text", (TABLE, CSV, LINES, DOCUMENT, XML, PAGE), ids="tsv csv lines json xml page".split()
)


def check(result):
    (line, row), *others = result.rows
    assert line == 2 and not others and result.skipped == []
    assert (row.get("id") or row["sku"], row.get("title") or row["name"]) == ("1", "Jeän 🥻")
    assert "Röcke > Mini" in row.values()


@pytest.mark.parametrize(
    "encode",
    (
        lambda text: text.encode("utf-8"),
        lambda text: text.encode("utf-8-sig"),
        lambda text: codecs.BOM_UTF8 + text.encode("utf-8-sig"),
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
    ),
    ids="utf-8 bom two-boms le be bare-le bare-be".split(),
)
@pytest.mark.parametrize(
    "pack",
    (
        bytes,
        gzip.compress,
        lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
        lambda data: a_zip(**{"a/b/products.png": data}),
        lambda data: a_zip(**{"a/": b"", "__MACOSX/._f": b"x", "a/.DS_Store": b"x", "../f": data}),
        lambda data: a_zip(f=gzip.compress(data)),
    ),
    ids="plain gzip two-gzips zip mac-zip gzip-in-zip".split(),
)
@FORMATS
def test_every_format_comes_in_every_encoding_and_packing(read, encode, pack, text):
    check(read(pack(encode(text))))


@pytest.mark.parametrize(
    "encoding", ("cp1252", "latin-1", "cp1250", "mac_roman", "utf-8", "utf-16-be")
)
@pytest.mark.parametrize(
    "text", (TABLE, CSV, LINES, XML, PAGE), ids="tsv csv lines xml page".split()
)
def test_the_encoding_can_be_named(read, encoding, text):
    text = text.replace(" 🥻", "").replace(" &#x1f97b;", "")
    result = read(text.encode(encoding), encoding=encoding)
    row = result.rows[0][1]
    assert "Jeän" in row.values() and "Röcke > Mini" in row.values()
    assert result.how.encoding == codecs.lookup(encoding).name.upper()


@pytest.mark.parametrize("encoding", ("shift_jis", "gb18030", "euc_kr", "big5", "koi8_r", "cp1251"))
def test_encodings_of_any_language_can_be_named(read, encoding):
    words = {"shift_jis": "帽子", "gb18030": "帽子", "euc_kr": "모자", "big5": "帽子"}
    word = words.get(encoding, "Шапка")
    for text in (f"id,title\n1,{word}\n", f"<r><item><id>1</id><title>{word}</title></item></r>"):
        assert values_of(read(text.encode(encoding), encoding=encoding), "title") == [(word,)]


def test_a_mark_knows_better_than_the_user(read):
    check(read(TABLE.encode("utf-8-sig"), encoding="cp1252"))


@pytest.mark.parametrize("name", ("nope", "", "base64", "rot13", "hex", "zip", "x\0y"))
def test_an_encoding_that_is_none_is_a_sentence(read, name):
    with pytest.raises(UserError, match="--encoding .* is none that is known: name one such as"):
        read(TABLE, encoding=name)


@pytest.mark.parametrize(
    "encoding, words, named",
    (
        ("cp1252", "Größe;Schürze;Küche", "cp1252"),
        ("cp1252", "Crème brûlée;Écharpe;Été", "cp1252"),
        ("cp1252", "Señor;Pantalón;Niño", "cp1252"),
        ("cp1252", "caf\xe9", "cp1252"),
        ("cp1252", "Topf 5 €", "cp1252"),
        ("cp1250", "Čepice;Oblečení;Žluťoučký kůň", "cp1250"),
        ("cp1251", "Артикул;Название;Категория", "cp1251"),
        ("cp1253", "Καπέλο;Ρούχα", "cp1253"),
        ("shift_jis", "帽子;ズボン;カテゴリー", "cp932"),
        ("gb18030", "帽子;裤子;商品类别", "gb18030"),
        ("euc_kr", "모자;바지", "cp949"),
    ),
)
@pytest.mark.parametrize("line", (1, 2, 700))
def test_what_is_not_utf_8_is_refused_with_its_line_and_its_likely_encoding(
    read, encoding, words, named, line
):
    lines = ["Nummer;Wort;a;b"] + ["1;Mütze;x;y"] * 800  # with no name that is known
    raw = [each.encode("utf-8") for each in lines]
    raw[line - 1] = words.encode(encoding)
    with pytest.raises(UserError) as caught:
        read(b"\n".join(raw))
    sentence = str(caught.value)
    assert f"line {line} is not UTF-8: it looks like {named}, so say --encoding {named}" in sentence
    assert sentence.isprintable()


@pytest.mark.parametrize("line", (1, 3))
@pytest.mark.parametrize(
    "form",
    (
        b"%(1)s,id,title\n,1,Jean\n%(3)s,2,Gown\n",
        b"%(1)s\tid\ttitle\n\t1\tJean\n%(3)s\t2\tGown\n",
        b'{"id": 1, "title": "%(1)s"}\n\n{"id": "%(3)s"}\n',
        b'{"id": "%(1)s", "products": [\n\n{"id": 1, "title": "%(3)s"}]}',
        b"<r><item><id>%(1)s</id>\n\n<title>%(3)s</title></item></r>",
        b'<html><script type="application/ld+json">"%(1)s"\n\n"%(3)s"</script>',
    ),
    ids="csv tsv lines json xml page".split(),
)
@pytest.mark.parametrize("raw", (b"caf\xe9", b"\xed\xa0\x80x", b"\xff\xfe"))
def test_no_format_guesses_at_what_is_not_utf_8(read, form, raw, line):
    if raw == b"\xff\xfe" and line == 1 and form.startswith(b"%"):
        return  # at the start of a file it is the mark of UTF-16
    values = {b"1": b"x", b"3": b"x", str(line).encode(): raw}
    with pytest.raises(UserError, match=f"line {line} is not UTF-8"):
        read(form % values)


def test_bytes_that_are_not_in_the_named_encoding_are_a_sentence(read):
    with pytest.raises(UserError, match="line 2 is not CP1252: it looks like"):
        read(b"id,title\n1,a\x81b\n", encoding="cp1252")
    with pytest.raises(UserError, match="be read as utf-16-le, which --encoding says"):
        read("id,title\n1,Cap\n".encode("utf-16-le")[:-1], encoding="utf-16-le")


def test_far_into_a_file_bytes_are_still_checked(read):
    for start, row in ((b"id\ttitle\n", b"1\tCap %s\n"), (b"id,title\n", b'1,"%s"\n')):
        with pytest.raises(UserError, match="line 50002 is not UTF-8"):
            read(start + row % (b"x" * 40) * 50_000 + b"2\tcaf\xe9\n")


@pytest.mark.parametrize("encoding", ("iso-8859-1", "windows-1252", "utf-8", "utf-16", "shift_jis"))
def test_xml_says_itself_how_it_is_encoded(read, encoding):
    word = "Jeän" if encoding != "shift_jis" else "帽子"
    text = (
        f"<?xml version='1.0' encoding='{encoding}'?><r><item><id>1</id><title>{word}</title>"
        "</item></r>"
    )
    assert values_of(read(text.encode(encoding)), "title") == [(word,)]


def test_xml_that_says_utf_16_and_can_be_read_as_ascii_is_none(read):
    text = (
        "<?xml version='1.0' encoding='utf-16'?><r><item><id>1</id><title>Jeän</title></item></r>"
    )
    assert values_of(read(text), "title") == [("Jeän",)]


def test_a_page_says_itself_how_it_is_encoded(read):
    text = PAGE.replace("<html>", '<html><head><meta charset="windows-1251">')
    text = text.replace("Jeän 🥻", "Шапка").replace("Röcke", "Rock")
    assert values_of(read(text.encode("cp1251")), "name") == [("Шапка",)]


def test_an_encoding_in_the_xml_that_nobody_knows_is_a_sentence(read):
    with pytest.raises(UserError, match="says that its encoding is 'x-none'.* --encoding utf-8"):
        read('<?xml version="1.0" encoding="x-none"?><r/>')
    text = '<?xml version="1.0" encoding="x-none"?><r><item><id>1</id><title>a</title></item></r>'
    assert len(read(text, encoding="utf-8").rows) == 1


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
    item = "<item><id>1</id><title>Jeän</title></item>"
    text = f"<?xml version='1.0' encoding='iso-8859-1'?><r>{item}</r>"
    assert values_of(read(encode(text)), "title") == [("Jeän",)]


@pytest.mark.parametrize(
    "content, sentence",
    (
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (codecs.BOM_UTF8 + b"\n", "is empty"),
        (b"\t" * 200_000, "is empty"),
        (b"\0" * 200_000, "is no text"),
        (b"\x7fELF\x02\x01\x01\0\0\x1b[2J\x9b" * 500, "is no text|is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 99, "is a picture"),
        (b"%PDF-1.7\n" + bytes(range(256)) * 99, "is a PDF"),
        (b"\xff\xd8\xff\xe0" + bytes(99), "is a picture"),
        (b"PAR1" + bytes(99), "is a Parquet file"),
        (b"SQLite format 3\0" + bytes(99), "is a database"),
        (b"BZh91AY&SY" + bytes(99), "is packed by bzip2"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(99), "is packed by 7-Zip"),
        (gzip.compress(TABLE.encode() * 5000)[:-20], "cut short or damaged: get it again"),
        (gzip.compress(TABLE.encode())[:9], "cut short or damaged"),
        (gzip.compress(TABLE.encode()) + b"junk", "cut short or damaged"),
        (b"\x1f\x8b" + b"x" * 99, "cut short or damaged"),
        (b"\x1f\x8b", "cut short or damaged"),
        (a_zip(f=TABLE)[:-9], "cut short or damaged"),
        (b"PK\3\4" + b"x" * 99, "cut short or damaged"),
        (
            a_zip(**{"a/shoes.csv": TABLE, "bags.csv": TABLE}),
            "holds 2 files: unpack it .* found: 'a/shoes.csv', 'bags.csv'",
        ),
        (a_zip(), "holds 0 files"),
        (a_zip(**{"a/": b""}), "holds 0 files"),
        (a_zip(**{"\x1b[2J\n" + "x" * 9999: b"", "b": b""}), "holds 2 files"),
        (gzip.compress(gzip.compress(TABLE.encode())), "is no text|is not UTF-8"),
        (TABLE.encode("utf-16") + b"x", "not whole in its encoding"),
        (
            codecs.BOM_UTF16_LE + (TABLE + "\n\ud800\t").encode("utf-16-le", "surrogatepass"),
            "line 4 is not whole UTF-16",
        ),
        (codecs.BOM_UTF8 + TABLE.encode("utf-16"), "is no text|is not UTF-8"),
    ),
    ids=itertools.count(),
)  # by themselves they would hold the time, which is in what packs
def test_a_file_that_is_no_feed_is_one_printable_sentence(read, content, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read(content)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1500


@pytest.mark.parametrize("name", ("content.xml", "xl/workbook.xml", "[Content_Types]", "a.xlsx"))
def test_the_name_of_a_file_in_a_zip_says_nothing(read, name):
    check(read(a_zip(**{name: XML})))


def test_a_zip_that_wants_a_password_or_another_method_is_one_sentence(read):
    data = a_zip(f=TABLE)
    place = data.index(b"PK\1\2")
    for at, byte in ((8, 1), (10, 9)):  # the flags; the method
        broken = bytearray(data)
        broken[place + at] = byte
        with pytest.raises(UserError, match="password or an unusual packing: unpack it"):
            read(bytes(broken))


def test_a_folder_or_no_file_at_all_is_a_users_mistake(tmp_path):
    for path in (tmp_path, tmp_path / "none.tsv"):
        with pytest.raises(UserError, match="--feed"):
            read_file(str(path))


@pytest.mark.parametrize(
    "pack",
    (
        pytest.param(gzip.compress, id="gzip"),
        pytest.param(lambda data: a_zip(f=data), id="zip", marks=pytest.mark.slow),
    ),
)
@pytest.mark.parametrize(
    "head, filling, tail",
    (
        (b"id\ttitle\n1\t", b"\0", b"\n2\tGown\n"),
        (b"id,title\n1,", b"\0", b"\n2,Gown\n"),
        (b'{"id": 2, "title": "Gown"}\n{"id": "', b"0", b'"}\n'),
        (b'{"id": 2, "title": "Gown"}\n', b"[", b"\n"),
        (b'{"x": [{"id": 2, "title": "Gown"}, {"id": "', b"0", b'"}]}\n'),
        (b"<rss><item><id>2</id><title>Gown</title></item><item><id>", b"0", b"</id></item></rss>"),
        (b"<rss><item><id>2</id><title>Gown</title></item><item>", b"<a/>" * 50, b"</item></rss>"),
        (
            b"<rss><item><id>2</id><title>Gown</title></item><category>",
            b"<a/>" * 50,
            b"</category><item/></rss>",
        ),
    ),
    ids="tsv csv lines nested json xml elements category".split(),
)
def test_a_bomb_costs_no_more_memory_than_a_row_may(tmp_path, pack, head, filling, tail):
    path = tmp_path / "f"
    path.write_bytes(pack(head + filling * (30_000_000 if len(filling) == 1 else 1000) + tail))
    tracemalloc.start()
    result = read_file(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.rows[0][1]["title"] == "Gown" and peak < 80_000_000
    if b"category" not in tail:
        assert ["too long" in reason for _, reason in result.skipped] == [True]


def test_the_commonest_of_the_encodings_that_fit_equally_well_is_named():
    assert feed_bytes.likely_encoding(b"caf\xe9") == "cp1252"
    assert feed_bytes.likely_encoding(b"\x81\x8d\x8f\x90\x9d") in feed_bytes.LIKELY_ENCODINGS
    assert feed_bytes.likely_encoding(b"") in feed_bytes.LIKELY_ENCODINGS


@pytest.mark.parametrize(
    ("encoding", "word", "reads"),
    (
        ("cp1250", "Ręcznik", ("cp1252 if 'Rêcznik' is right", "cp1250 if it is 'Ręcznik'")),
        ("cp1252", "Größe", ()),  # no other encoding makes another word of it
    ),
)
def test_a_word_shows_which_encoding_is_right(tmp_path, encoding, word, reads):
    path = tmp_path / "f.csv"
    path.write_bytes(f"SKU;Name\n1;{word}\n".encode(encoding))
    with pytest.raises(UserError) as error:
        list(read_feed_rows(str(path), []))
    assert all(part in str(error.value) for part in reads)
    assert (" is right" in str(error.value)) == bool(reads)
