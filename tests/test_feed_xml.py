"""XML of any shop system becomes rows: the element that repeats is the product, what is commonly
wrong is mended, what can't be is left out, and hostile files end in a sentence."""

import tracemalloc
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows_of_feeds import read, read_file, values_of

from common.terminal import UserError
from crawling import feed_lines

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
<g:product_type>Other</g:product_type>
<author><title>x</title></author><g:item_group_id>g</g:item_group_id></entry>
<entry><id>SKU-2</id><g:title>Gown &amp; &lt;i&gt;hat&lt;/i&gt;</g:title><title>x</title></entry>
</feed>
"""
ITEM = "<item><id>1</id><title>{}</title></item>"


@pytest.mark.parametrize("text, lines", ((RSS, [3, 9]), (ATOM, [3, 9])), ids=("rss", "atom"))
def test_googles_xml(read, text, lines):
    result = read(text)
    assert [line for line, _ in result.rows] == lines and result.skipped == []
    row = result.rows[0][1]
    assert (row["id"], row["title"], row["item_group_id"]) == ("SKU-1", "Acme Jean", "g")
    assert row["product_type"] == ("Women > Jeans", "Other")
    assert "Soft <b>denim</b>" in (row.get("description"), row.get("summary"))
    assert values_of(result, "id", "title")[1] == ("SKU-2", "Gown & <i>hat</i>")


@pytest.mark.parametrize(
    "inner, columns",
    (
        ("<title/><g:title>Jean</g:title>", {"title": "Jean"}),
        ("<g:title/><title>Jean</title>", {"title": "Jean"}),
        ("<title>x</title><g:title>Jean</g:title>", {"title": "Jean"}),
        ("<m:title>x</m:title><title>Jean</title>", {"title": "Jean"}),
        ("<m:title>Jean</m:title>", {"title": "Jean"}),
        ("<title>J<b>ea</b>n</title>", {"title": "Jean"}),
        ("<title><![CDATA[Jean]]></title>", {"title": "Jean"}),
        ("<title>a<![CDATA[ & b]]> c</title>", {"title": "a & b c"}),
        ("<title>J&#101;an<!-- x --></title>", {"title": "Jean"}),
        ("<title></title><title>Jean</title>", {"title": "Jean"}),
        ("<title>Women &amp;amp; men</title>", {"title": "Women &amp; men"}),
        ("<title>Jean</title><item><id>2</id></item>", {"title": "Jean", "item.id": "2"}),
        ("<p>a</p><p>b</p><p>c</p>", {"p": ("a", "b", "c")}),
        ("<pics><pic>a</pic><pic>b</pic></pics>", {"pics.pic": ("a", "b")}),
        ("<pics><pic>a</pic></pics>", {"pics.pic": "a"}),
        (
            '<imgs><main url="a"/><i url="b"/><i url="c"/></imgs>',
            {"imgs.main@url": "a", "imgs.i@url": ("b", "c")},
        ),
        (
            '<param name="Colour">Red</param><param name="Size">M</param>',
            {"param": ("Red", "M"), "param@name": ("Colour", "Size")},
        ),
        (
            "<v><s>1</s><u>a</u><u>b</u></v><v><s>2</s><u>c</u></v>",
            {"v.s": ("1", "2"), "v.u": (("a", "b"), "c")},
        ),
        (
            "<description><p>Soft</p> <ul><li>denim</li></ul></description>",
            {"description": "Soft denim"},
        ),
        ("<a><d/></a><c x=''/>", {"a.d": "", "c@x": ""}),
    ),
    ids=range(20),
)
def test_the_elements_and_attributes_of_a_product_are_columns(read, inner, columns):
    text = (
        '<r xmlns:m="http://media.example" xmlns:g="http://base.google.com/ns/1.0">'
        f"\n\n<item><g:id>1</g:id>{inner}</item></r>"
    )
    assert read(text).rows == [(3, {**columns, "id": "1"})]


def test_the_attributes_of_the_product_itself(read):
    text = '<r><offer id="7" available="true"><name>Cap</name></offer></r>'
    assert read(text).rows == [(1, {"@id": "7", "@available": "true", "name": "Cap"})]


# ---- which element is the product ---------------------------------------------------------------

INNER = (
    "<id>{0}</id><title>Cap {0}</title><variants><variant><id>9</id><title>S</title></variant>"
    "<variant><id>8</id><title>M</title></variant></variants>"
    "<categories><category><id>3</id><name>Hats</name></category></categories>"
)


@pytest.mark.parametrize("count", (1, 2))
@pytest.mark.parametrize(
    "form, element",
    (
        ("<products><product>{}</product></products>", "product"),
        ("<SHOP><SHOPITEM>{}</SHOPITEM></SHOP>", "SHOPITEM"),
        ("<offers xmlns='http://www.ceneo.pl'><o>{}</o></offers>", "o"),
        ("<store><products><product>{}</product></products></store>", "product"),
        ("<lager><ware>{}</ware></lager>", "ware"),
        ("<x:lager xmlns:x='urn:x'><x:ware>{}</x:ware></x:lager>", "ware"),
        ("<a><id>1</id><title>The shop</title><b><c><thing>{}</thing></c></b></a>", "thing"),
        (
            "<a><category id='1'>Hats</category><category id='2'>Caps</category>"
            "<ware>{}</ware></a>",
            "ware",
        ),
        (
            "<a><brands><brand><id>1</id><name>B</name></brand><brand><id>2</id><name>C</name>"
            "</brand></brands><ware>{}</ware></a>",
            "ware",
        ),
        ("<shop><cat><title>Hats</title><product>{}</product></cat></shop>", "product"),
    ),
    ids=range(10),
)
def test_the_element_that_repeats_is_the_product(read, form, element, count):
    start, end = form.split("{}")
    opening, closing = start[start.rindex("<") :], end[: end.index(">") + 1]
    items = f"{closing}\n{opening}".join(INNER.format(number) for number in range(count))
    result = read(start + items + end)
    assert values_of(result, "id", "title", "variants.variant.id") == [
        (str(number), f"Cap {number}", ("9", "8")) for number in range(count)
    ]
    assert result.how.kind == f"XML of <{element}>"


def test_names_that_only_the_user_knows_find_the_product(read):
    text = (
        "<lager>" + "<ware><nr>5</nr><wort>Cap</wort></ware>" * 2 + "<z><y/></z>" * 9 + "</lager>"
    )
    result = read(text, columns={"id": "nr", "title": "wort"})
    assert values_of(result, "nr", "wort") == [("5", "Cap")] * 2


def test_products_may_begin_after_very_much_else(read):
    categories = "".join(f'<category id="{n}">{"c" * 80}</category>' for n in range(20_000))
    result = read(f"<a>{categories}<ware><id>1</id><title>Cap</title></ware></a>")
    assert values_of(result, "id", "title") == [("1", "Cap")]


# ---- trees of categories ------------------------------------------------------------------------

TREE = (
    '<category id="1">Clothes</category><category id="2" parentId="1">Hats</category>'
    '<category id="3" parentId="2">Caps</category><category id="4" parentId="5">A</category>'
    '<category id="5" parentId="4">B</category><category id="6" parentId="99">Sale</category>'
    '<category id="7" parentId="7">Own</category>'
)
PLAIN_TREE = (
    "<category><id>1</id><name>Clothes</name></category>"
    "<category><id>2</id><parentId>1</parentId><name>Hats</name></category>"
)


@pytest.mark.parametrize(
    "ids, paths",
    (
        (["1"], (("Clothes",),)),
        (["3"], (("Clothes", "Hats", "Caps"),)),
        (["3", "6"], (("Clothes", "Hats", "Caps"), ("Sale",))),
        (["none"], ()),
        (["none", "1"], (("Clothes",),)),
        (["4"], (("B", "A"),)),
        (["7"], (("Own",),)),
        ([""], ()),
    ),
)
def test_the_ids_of_categories_are_paths_of_their_tree(read, ids, paths):
    elements = "".join(f"<categoryId>{each}</categoryId>" for each in ids)
    result = read(
        f"<yml><shop><name>Demo</name><categories>{TREE}</categories><offers>"
        f'<offer id="9">{elements}<name>Cap</name></offer></offers></shop></yml>'
    )
    assert [row["categoryId.path"] for _, row in result.rows] == [paths]


def test_the_tree_may_be_written_in_elements(read):
    result = read(
        f"<p><categories>{PLAIN_TREE}</categories><items><item><id>1</id><name>Cap</name>"
        "<categoryId>2</categoryId></item></items></p>"
    )
    assert values_of(result, "categoryId.path") == [((("Clothes", "Hats"),),)]


def test_without_a_tree_there_are_no_paths(read):
    text = "<r><item><id>1</id><title>a</title><categoryId>2</categoryId></item></r>"
    assert "categoryId.path" not in read(text).rows[0][1]


def test_a_tree_of_any_depth_ends(read):
    tree = "".join(f'<category id="{n}" parentId="{n + 1}">c{n}</category>' for n in range(30_000))
    result = read(f'<y>{tree}<offer id="1"><name>a</name><categoryId>0</categoryId></offer></y>')
    ((path,),) = values_of(result, "categoryId.path")[0]
    assert path[-1] == "c0" and len(path) <= 60


# ---- what is mended -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, title",
    (
        ("Salt & pepper", "Salt & pepper"),
        ("R&D &amp; more", "R&D & more"),
        ("a&b;c", "a&b;c"),
        ("&&amp;&", "&&&"),
        ("https://x.example/?a=1&b=2&amp;c=3", "https://x.example/?a=1&b=2&c=3"),
        ("Caf&eacute; &nbsp;mug &hellip;", "Café \xa0mug …"),
        ("&nosuchentity; &LT; &AMP;", "&nosuchentity; < &"),
        ("a\x0bb\x00c\x1fd", "a b c d"),
        ("a&#11;b&#0;c&#x1F;d&#xFFFF;e&#55357;f", "a b c d e f"),
        ("&#38; &#x1F600; &#128512;", "& 😀 😀"),
        ("&#99999999999;", "\xa0"),
        ("under < 40 and <3", "under < 40 and <3"),
        ("a ]]> b", "a ]]> b"),
        ("<![CDATA[a & b &nbsp; < c]]> & d", "a & b &nbsp; < c & d"),
        ("<![CDATA[a\x0b&]]>", "a &"),
    ),
)
def test_what_is_commonly_wrong_is_mended(read, text, title):
    if title == "\xa0":
        title = ""  # a blank alone
    result = read(f"\n<r>\n{ITEM.format(text)}\n<item><id>2</id><title>b</title></item></r>")
    assert values_of(result, "id", "title") == [("1", title), ("2", "b")] and result.skipped == []
    if (
        text == "&#38; &#x1F600; &#128512;"
        or text.startswith("<![CDATA[a & b")
        and "&" not in title
    ):
        assert result.how.remarks == []
    elif "&#38;" not in text:
        (remark,) = result.how.remarks
        assert "mended, the first in line 3" in remark


def test_what_is_right_is_not_mended(read):
    text = "Women &amp; men &lt;b&gt; &#39;x&#x27; <![CDATA[a & b < c &nbsp;]]>"
    result = read(f"<r>{ITEM.format(text)}</r>")
    assert result.how.remarks == []
    assert values_of(result, "title") == [("Women & men <b> 'x' a & b < c &nbsp;",)]


def test_mends_are_counted_to_the_end_of_the_file(read):
    filling = "<item><id>1</id><title>x</title></item>\n" * 50_000
    result = read(f"<r>\n{filling}{ITEM.format('a & b & c')}</r>")
    assert result.how.remarks == [
        "2 characters that XML does not allow were mended, the first in line 50002"
    ]


def test_a_mend_may_stand_at_the_end_of_a_piece(read):
    for size in range(feed_lines.PIECE - 60, feed_lines.PIECE + 5, 3):
        for text in ("a & b", "a&eacute;b", "<![CDATA[a & b]]>&amp;", "a&#11;b"):
            mended = {"a & b": "a & b", "a&eacute;b": "aéb", "a&#11;b": "a b"}
            expected = mended.get(text, "a & b&")
            result = read(f"<r><item><id>{'x' * size}</id><title>{text}</title></item></r>")
            assert values_of(result, "title") == [(expected,)], (size, text)


@pytest.mark.parametrize("prefix", ("g", "m"))
def test_a_namespace_that_is_not_declared(read, prefix):
    text = (
        f"<rss><channel><item><title>x</title><{prefix}:id>1</{prefix}:id>"
        f"<{prefix}:title>Pan</{prefix}:title></item></channel></rss>"
    )
    title = "Pan" if prefix == "g" else "x"  # g: is Google's, which wins
    assert values_of(read(text), "id", "title") == [("1", title)]


@pytest.mark.parametrize(
    "doctype",
    (
        '<!DOCTYPE yml_catalog SYSTEM "shops.dtd">',
        '<!DOCTYPE r PUBLIC "-//x" "http://127.0.0.1:9/x.dtd">',
        "<!DOCTYPE r>",
        "<!DOCTYPE r [\n<!ELEMENT r ANY>\n]>",
    ),
)
def test_a_doctype_without_entities_is_passed_over(read, doctype):
    result = read(f'<?xml version="1.0"?>\n{doctype}\n<r>{ITEM.format("a&nbsp;b")}</r>')
    assert values_of(result, "title") == [("a\xa0b",)]


# ---- what is left out ---------------------------------------------------------------------------


def test_an_item_that_cannot_be_used_is_named_and_the_next_one_read(read):
    huge = "x" * feed_lines.LONGEST_LINE
    result = read(
        f"\n \n<?xml version='1.0'?><r><item><id>1</id></item>\n<item><title>x</title></item>\n"
        f"<item><id>1</id><title>x</title><x>{huge}</x></item>\n"
        f"<item><id>1</id><title>x</title><x><y>{huge}</y></x></item>\n"
        f"<item><id>1</id><title>x</title><x y='{huge}'/></item>\n"
        f"<item/>\n<item><id>2</id><title>Gown</title></item></r>"
    )
    assert [(line, len(row)) for line, row in result.rows] == [(3, 1), (4, 1), (8, 0), (9, 2)]
    assert result.skipped == [(5, "item too long"), (6, "item too long"), (7, "item too long")]


@pytest.mark.parametrize("between", ("", "\n", "\n\n"))
@pytest.mark.parametrize(
    "broken",
    (
        "<item><id>8</id><title>x</titel></item>",
        "<item><id>8</id><title>x</item>",
        "<item><id>8</id><title>x<b>y</title></item>",
        '<item><id>8</id><title a="1" a="2">x</title></item>',
        "<item><id>8</id><title a=1>x</title></item>",
        "<item><id>8</id><title>x</title></item",
        "<item><id>8<//id></item>",
        "<item a=></item>",
    ),
)
@pytest.mark.parametrize("place", (0, 1, 3))
def test_an_item_that_is_broken_costs_no_other(read, broken, place, between):
    items = [f"<item><id>{n}</id><title>a</title></item>" for n in range(3)]
    text = between.join(["<?xml version='1.0'?><rss><channel>", *items[:place], broken,
                         *items[place:], "</channel></rss>"])  # fmt: skip
    result = read(text)
    assert values_of(result, "id") == [("0",), ("1",), ("2",)]
    (line, reason), *others = result.skipped
    assert not others and reason.startswith("broken XML, ")
    assert line == 1 + text[: text.index(broken)].count("\n")


def test_broken_items_all_over_a_long_file(read):
    parts, broken = [], 0
    for number in range(3000):
        if number % 10 == 3:
            parts.append("<item><id>x</id><title>a</item>")
            broken += 1
        else:
            parts.append(f"<item><id>{number}</id><title>{'a' * (number % 200)}</title></item>")
    for end in ("\n", ""):
        result = read("<r>" + end.join(parts) + "</r>")
        assert len(result.skipped) == broken and len(result.rows) == 3000 - broken
        assert [row["id"] for _, row in result.rows] == [
            str(number) for number in range(3000) if number % 10 != 3
        ]
        if end:
            assert [line for line, _ in result.rows] == [n + 1 for n in range(3000) if n % 10 != 3]


def test_a_feed_of_nothing_but_broken_items_is_a_sentence(read):
    with pytest.raises(UserError, match="broken or cut short"):
        read("<r>" + "<item><id>x</item>" * 20_000 + "</r>")


@pytest.mark.parametrize("text", (RSS + RSS, RSS + "\n<br />error\n", RSS + "\0\0"))
def test_what_follows_the_last_element_costs_nothing(read, text):
    result = read(text)
    assert len(result.rows) in (2, 4) and result.skipped == []


@pytest.mark.parametrize(
    "content, sentence",
    (
        # An entity that grows tenfold nine times over, one that reads a file, a part of others.
        (
            '<!DOCTYPE r [<!ENTITY a0 "ha">'
            + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
            + "]>\n<r>"
            + ITEM.format("&a9;")
            + "</r>",
            "declares entities",
        ),
        (
            '<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><r>'
            + ITEM.format("&a;")
            + "</r>",
            "line 1: .*declares entities",
        ),
        (
            '<!DOCTYPE r [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]><r>'
            + ITEM.format("x")
            + "</r>",
            "declares entities",
        ),
        (
            '<!DOCTYPE r [<!ENTITY item "<item><id>1</id><title>x</title></item>">]><r>&item;</r>',
            "declares entities",
        ),
        (RSS[:-30], "line 9: the XML is broken or cut short"),
        (RSS[: RSS.index("Acme")], "line 4: the XML is broken or cut short"),
        ("<", "line 1"),
        ("<r><a></b></r>", "line 1: the XML is broken"),
        ("\n\n" + RSS[:-30], "line 11"),
        ("<r>" + "".join(f"<a{n}{'x' * 99}/>" for n in range(99)) + "</r>", "without an element"),
        ("<r/>", "without an element that is a product: .*found: 'r'"),
        ("<r><a>1</a></r>", "without an element that is a product: .*found: 'r', 'a'"),
        ("<r>" + "<a>" * 10_000, "nested too deep|broken"),
        ("<a>" * 300_000, "nested too deep|broken"),
        ("<r><item>" + "<a>" * 10_000, "nested too deep"),
        ("<r><!--" + "x" * 9_000_000, "tag or comment without an end"),
        ("<r><item><a " + "x" * 9_000_000, "tag or comment without an end"),
        ("<r><item><![CDATA[" + "x" * 9_000_000, "broken or cut short|without an end"),
    ),
    ids=range(18),
)
def test_xml_that_is_hostile_or_no_feed_is_one_printable_sentence(read, content, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read(content)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1500


# ---- any ----------------------------------------------------------------------------------------


@given(st.lists(st.text(), min_size=1, max_size=9))
def test_what_is_escaped_in_xml_is_read_as_it_was(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("feed") / "f"
    # XML has no other control characters, and reads \r as \n.
    texts = [
        "T"
        + "".join(letter for letter in text if letter >= " " or letter in "\t\n")
        .replace("\ufffe", "")
        .replace("\uffff", "")
        .encode("utf-8", "replace")
        .decode()
        for text in texts
    ]
    items = "".join(ITEM.format(escape(text)) for text in texts)
    path.write_text(f"<r>{items}</r>", encoding="utf-8", newline="")
    result = read_file(str(path))
    assert [row["title"] for _, row in result.rows] == [text.strip() for text in texts]
    assert result.how.remarks == [] and result.skipped == []


@given(st.lists(st.text("ab&;<>#x1]![CDATA /=\"'\n\x0b", max_size=20), min_size=1, max_size=6))
def test_any_mess_in_a_title_costs_no_other_item(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("feed") / "f"
    items = "\n".join(
        f"<item><id>m</id><title>{text}</title></item>\n"
        f"<item><id>s{n}</id><title>Cap</title></item>"
        for n, text in enumerate(texts)
        if "<!" not in text and "<?" not in text  # a comment may take anything along
    )
    path.write_text(f"<r>{ITEM.format('a')}\n{items}\n{ITEM.format('b')}</r>", encoding="utf-8")
    result = read_file(str(path))
    ids = [row.get("id") for _, row in result.rows]
    sound = [f"s{n}" for n, text in enumerate(texts) if "<!" not in text and "<?" not in text]
    assert [each for each in ids if isinstance(each, str) and each.startswith("s")] == sound
    messes = sum(isinstance(each, tuple) or each == "m" for each in ids)
    assert messes + len(result.skipped) == len(sound)


def test_a_feed_of_any_length_is_read_in_little_memory(tmp_path):
    from crawling.feed_formats import read_feed_rows

    path = tmp_path / "f"
    with open(path, "w", encoding="utf-8") as file:
        file.write("<r>")
        for _ in range(10_000):
            file.write(ITEM.format("x" * 3000))
        file.write("</r>")
    tracemalloc.start()
    assert sum(1 for _ in read_feed_rows(str(path), [])) == 10_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000 < 30_000_000 < path.stat().st_size
