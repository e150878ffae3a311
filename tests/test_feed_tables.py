"""Delimited text becomes rows, whatever stands in it: header, delimiter and quotes are found by the
content, and each line is yielded or named."""

import csv
import gzip
import io
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows_of_feeds import read, read_file, values_of

from common.terminal import UserError
from crawling import feed_lines

HEADER = "id\ttitle\tdescription\tproduct_type"


def a_table(rows, **dialect):
    """The text of rows as csv.writer writes them."""
    file = io.StringIO()
    csv.writer(file, **dialect).writerows(rows)
    return file.getvalue()


# ---- lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start", ("", "\ufeff", "\ufeff\ufeff", "\ufeff\n\n", "\n\ufeff", "\r\n\ufeff \n")
)
@pytest.mark.parametrize("end", ("\n", "\r\n"))
@pytest.mark.parametrize("delimiter", "\t,")
def test_marks_blank_lines_and_line_ends_do_not_matter(read, start, end, delimiter):
    lines = (HEADER, "1\tJean\tBlue\tJeans > Boot", "", "2\tGown\t\t")
    result = read(start + end.join(lines).replace("\t", delimiter))
    above = start.count("\n")
    assert result.header == (1 + above, ("id", "title", "description", "product_type"))
    assert [line for line, _ in result.rows] == [2 + above, 4 + above] and result.skipped == []
    assert values_of(result, "id", "product_type") == [("1", "Jeans > Boot"), ("2", "")]
    assert result.how.remarks == []


@pytest.mark.parametrize(
    "line, reason",
    (
        ("1\tJean\tBlue\tJeans\tmore", "more columns"),
        ("1\tJean\t" + "x" * feed_lines.LONGEST_LINE, "too long"),
        ("1\tJean\t" + "x" * feed_lines.LONGEST_LINE * 2 + "\tJeans", "too long"),
        (" " * feed_lines.LONGEST_LINE + "1\tJean", "too long"),
        ("1\tJean\t" + "x" * (feed_lines.LONGEST_LINE - 8), "too long"),  # its end is read last
    ),
    ids=("columns", "long", "longer", "blanks", "edge"),
)
@pytest.mark.parametrize("delimiter", "\t,")
def test_a_line_that_cannot_be_used_is_named_and_the_next_one_read(read, line, reason, delimiter):
    result = read(f"{HEADER}\n{line}\n2\tGown\n".replace("\t", delimiter))
    assert [(number, row["title"]) for number, row in result.rows] == [(3, "Gown")]
    assert [number for number, _ in result.skipped] == [2] and reason in result.skipped[0][1]


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
        '="12',
    ),
)
def test_text_is_data_whatever_stands_in_it(read, text):
    result = read(f"{HEADER}\n1\t{text}\t{text}\t{text} > {text}\n2\tGown")
    assert values_of(result, "id", "title", "product_type") == [
        ("1", text, f"{text} > {text}"),
        ("2", "Gown", None),
    ]
    assert result.skipped == []


def test_a_nul_becomes_a_space(read):
    assert values_of(read(f"{HEADER}\n1\ta\0b\tc\tJeans\n"), "title") == [("a b",)]


@pytest.mark.parametrize("delimiter", "\t,;|")
@pytest.mark.parametrize("cell", ('="0012"', '"=""0012"""', '"=""0012"""  '))
def test_what_excel_shall_leave_as_it_is_loses_its_wrapping(read, delimiter, cell):
    if delimiter == "\t" and '""' in cell:
        cell = '="0012"'
    text = f'id,title,x\n{cell},Cap,a\n1,Hat,"a = ""b"""\n2,{cell},\n'.replace(",", delimiter)
    result = read(text)
    assert values_of(result, "id", "title") == [("0012", "Cap"), ("1", "Hat"), ("2", "0012")]


# ---- quotes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", "\t,;|")
@pytest.mark.parametrize("quoting", (csv.QUOTE_MINIMAL, csv.QUOTE_ALL), ids=("minimal", "all"))
@pytest.mark.parametrize("end", ("\n", "\r\n"))
def test_the_delimiter_and_the_quotes_are_found_by_the_content(read, delimiter, quoting, end):
    rows = [
        HEADER.split("\t"),
        ["007", "Jean, blue; wide|flared", 'a 27" one,\n\nof "our" best', "Women > Jeans"],
        ["2", 'The "Boot"', "", "Women"],
        ["3", '"Jean"', "tab\there", ""],
    ]
    result = read(a_table(rows, delimiter=delimiter, quoting=quoting, lineterminator=end))
    assert result.skipped == []
    assert [line for line, _ in result.rows] == [2, 5, 6]
    assert values_of(result, *rows[0]) == [tuple(row) for row in rows[1:]]


@given(
    st.lists(st.tuples(*[st.text()] * 3), min_size=1, max_size=5),
    st.sampled_from("\t,;|"),
    st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
)
def test_what_csv_writes_is_read_as_it_was(tmp_path_factory, rows, delimiter, quoting):
    path = tmp_path_factory.mktemp("feed") / "f"
    # The first row makes it sure that tabs are quoted; NUL and \r alone Python 3.10 can't write.
    texts = [("a", '"', "a\n" * 9)] + [
        tuple(
            text.replace("\0", "").replace("\r", "").replace("=", "").encode("utf-8", "replace")
            for text in row
        )
        for row in rows
    ]
    table = [
        (str(number), *(text if isinstance(text, str) else text.decode() for text in row))
        for number, row in enumerate(texts)
    ]
    path.write_bytes(
        a_table(
            [("id", "title", "description", "x"), *table], delimiter=delimiter, quoting=quoting
        ).encode()
    )
    result = read_file(str(path))
    got = values_of(result, "id", "title", "description", "x")
    # The first blanks of a cell that is not quoted say nothing, and who reads them strips them.
    assert [[cell.strip() for cell in row] for row in got] == [
        [cell.strip() for cell in row] for row in table
    ]
    assert result.skipped == []


@given(st.text("ab\"',\n", max_size=200))
def test_any_mess_of_quotes_is_read_as_csv_reads_it_and_costs_no_sound_row(tmp_path_factory, mess):
    path = tmp_path_factory.mktemp("feed") / "f"
    text = f'id,title,x,y\n{mess}\n"last","Gown","x","y"\n'
    path.write_text(text, encoding="utf-8")
    result = read_file(str(path))
    assert result.rows[-1][0] == 3 + mess.count("\n")
    assert list(result.rows[-1][1].values()) == ["last", "Gown", "x", "y"]
    lines = [line for line, _ in result.rows] + [line for line, _ in result.skipped]
    assert len(lines) == len(set(lines))
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))[1:]
    except csv.Error:
        return  # no reading is the right one
    fitting = [row for row in rows if any(row) and not any(cell.strip() for cell in row[4:])]
    got = [[cell.strip() for cell in row.values()] for _, row in result.rows]
    assert [row for row in got if any(row)] == [
        [cell.strip() for cell in row[:4]] for row in fitting if any(cell.strip() for cell in row)
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
            [3, 4, 5],
        ),
        (
            ('1,Jean,"a "soft", b', '"warm, wide', 'blue, "new"', "2,Gown,x", "3,Bag"),
            ["Gown", "Bag"],
            [2, 3, 4],
        ),
    ),
)
def test_quotes_that_do_not_match_cost_no_other_row(read, rows, names, lines):
    result = read("\n".join(("id,title,description", *rows)) + "\n")
    assert [row["title"] for _, row in result.rows] == names
    assert [line for line, _ in result.skipped] == lines  # one entry for each line
    assert all("quotes that do not match" in reason for _, reason in result.skipped)


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
    result = read(f"{HEADER}\n" + "\n".join("\t".join(row) for row in rows))
    assert values_of(result, *HEADER.split("\t")) == rows and result.skipped == []


@pytest.mark.parametrize("stray", ('"Jean', 'a "', '"a" b', '"'))
def test_a_stray_quote_costs_a_quoted_tab_separated_feed_one_row_at_most(read, stray):
    rows = [(str(number), "Gown, red", "two\nlines") for number in range(2, 60)]
    text = a_table([("id", "title", "description"), *rows], delimiter="\t")
    header, _, rest = text.partition("\n")
    result = read(f"{header}\n1\t{stray}\tx\n{rest}")
    assert values_of(result, "id", "title", "description")[-58:] == rows
    assert [row["title"] for _, row in result.rows[:-58]] == [stray] and result.skipped == []


def test_excel_quotes_in_tab_separated_text_what_holds_a_comma_or_a_line_break(read):
    result = read(
        'id\ttitle\tdescription\r\n1\t"Jean, blue"\t"two\nlines"\r\n'
        '2\t"27"" monitor"\tplain\r\n3\t"Gown, open"\tx\r\n'
    )
    assert values_of(result, "id", "title", "description") == [
        ("1", "Jean, blue", "two\nlines"),
        ("2", '27" monitor', "plain"),
        ("3", "Gown, open", "x"),
    ]
    assert [line for line, _ in result.rows] == [2, 4, 5]


@pytest.mark.parametrize("quoting", (csv.QUOTE_MINIMAL, csv.QUOTE_ALL), ids=("minimal", "all"))
def test_lines_that_end_as_on_the_old_mac_are_lines(read, quoting):
    rows = [(str(number), f"Jean {number}", "two\nlines, and more") for number in range(20)]
    result = read(
        a_table([("id", "title", "description"), *rows], quoting=quoting, lineterminator="\r")
    )
    assert [line for line, _ in result.rows] == list(range(2, 22)) and result.skipped == []
    assert values_of(result, "id", "title", "description") == rows


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
    result = read("\n".join(rows).replace(",", delimiter) + "\n")
    assert [row["title"] for _, row in result.rows] == ["Gown", "Bag"]
    assert [line for line, _ in result.skipped] == [2, 3]


def test_a_quoted_text_may_go_over_the_end_of_what_is_looked_at_first(read):
    text = "\n".join(["soft"] * 999)
    rows = [(str(number), "Jean", text) for number in range(400)]
    for size in (1, 2500):  # a text is about 5,000 long, so the end is in one
        result = read(
            a_table([("id", "title", "description"), ("x", "x" * size, ""), *rows], delimiter="\t")
        )
        assert values_of(result, "description")[1:] == [(text,)] * 400 and result.skipped == []


def test_a_quote_at_the_start_of_a_long_feed_does_not_make_it_a_quoted_one(read):
    rows = [
        ("1", '"Jean'),
        *((str(number), "x" * 900) for number in range(2, 1500)),
        ("b", '"Boot"'),
    ]
    result = read("\n".join(map("\t".join, [("id", "title"), *rows])))
    assert values_of(result, "id", "title") == rows and result.skipped == []


def test_a_feed_whose_header_is_quoted_is_quoted_whatever_inches_it_has(read):
    result = read('"id"\t"title"\n"1"\t"27" monitor"\n"2"\t"Gown"\n')
    assert values_of(result, "id", "title") == [("1", '27" monitor'), ("2", "Gown")]


@pytest.mark.parametrize("delimiter", "\t,")
@pytest.mark.parametrize("line", ('a","b', ',"', 'a,"b', '"a,"b', 'a,"b,"c'))
def test_a_file_in_which_every_line_opens_a_quote_does_not_take_the_square_of_its_length(
    read, delimiter, line
):
    text = "id,title\n" + (line + "\n") * (300_000 // len(line))
    began = time.process_time()
    result = read(text.replace(",", delimiter))
    assert len(result.rows) + len(result.skipped) > 10_000
    assert time.process_time() - began < 5


# ---- ragged -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", "\t,")
def test_ragged_rows_lack_what_they_lack_and_more_than_the_header_has_is_named(read, delimiter):
    text = "id,title,x,image_link\n1\n2,Gown\n3,Bag,x,y,z\n\n4,Hat,x,y,,\n".replace(",", delimiter)
    result = read(text)
    assert [list(row.values()) for _, row in result.rows] == [
        ["1"],
        ["2", "Gown"],
        ["4", "Hat", "x", "y"],
    ]
    assert result.skipped == [(4, "more columns than the header names")]


@pytest.mark.parametrize(
    "content",
    (
        HEADER,
        HEADER + "\n",
        HEADER.replace("\t", ",") + "\r\n\r\n",
        "# only\n# remarks\nid,title\n",
        "sep=;\r\nid;title\r\n",
    ),
)
def test_a_table_without_products_holds_none(read, content):
    result = read(content)
    assert (result.rows, result.skipped, result.how.remarks) == ([], [], [])
    assert result.header[1][:2] == ("id", "title")


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
    tracemalloc.start()
    result = read_file(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    last = result.rows[-1][1]
    assert list(last.values()) == ["2", "Gown", "", "x"] and peak < 150_000_000
    if end:
        assert len(result.rows) == 1 and result.skipped[0][0] == 2


# ---- headers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", "\t,;|")
@pytest.mark.parametrize(
    "above",
    (
        ["---", "layout: null", "---"],
        ["Products of the shop", "", "Made on 2025-01-01"],
        ["Seller code\tProduct\tKind", "a\tb\tc"],
        ["x"] * 49,
    ),
    ids=("front matter", "words", "labels", "many"),
)
def test_the_header_may_stand_below_other_lines(read, delimiter, above):
    lines = [*above, "id\ttitle\tproduct_type", "1\tCap\tHats"]
    result = read("\n".join(lines).replace("\t", delimiter))
    number = len(above) + 1
    assert result.header == (number, ("id", "title", "product_type"))
    assert values_of(result, "id", "title", "product_type") == [("1", "Cap", "Hats")]
    assert result.how.remarks == [
        f"the header is in line {number}; the {number - 1} lines above it were passed over"
    ]


def test_one_line_above_the_header_is_named_in_the_singular(read):
    remarks = read("My shop\nid,title\n1,Cap\n").how.remarks
    assert remarks == ["the header is in line 2; the 1 line above it was passed over"]


@pytest.mark.parametrize("delimiter", ["\t", ";", "|"])
def test_commas_in_the_name_of_a_column_part_no_cells(read, delimiter):
    names = ("Product ID", "Name *", "Categories (x,y,z...)")
    rows = ("1", "Coat (red, blue, green, black)", "Men/Coats,Sale")
    result = read("".join(delimiter.join(line) + "\n" for line in (names, rows)))
    assert result.header == (1, names)
    assert result.rows == [(2, dict(zip(names, rows)))]


def test_of_two_headers_the_one_of_a_known_system_counts(read):
    result = read(
        "TemplateType=fptcustom\tVersion=2020.0101\tThe top 3 rows are for Amazon.com use only.\n"
        "Seller SKU\tProduct Name\tProduct Type\tParent SKU\n"
        "item_sku\titem_name\tfeed_product_type\tparent_sku\n"
        "SK-1\tSteel ring\tring\t\n"
    )
    assert result.header[0] == 3
    assert values_of(result, "item_sku", "item_name") == [("SK-1", "Steel ring")]


def test_a_header_that_only_the_user_knows_stands_where_the_user_says(read):
    text = "Stock list\nNummer;Wort\n1;Mütze\n"
    columns = {"id": "Nummer", "title": "wort"}
    result = read(text, columns=columns)
    assert result.header == (2, ("Nummer", "Wort")) and len(result.rows) == 1
    assert read(text).header == (1, ("Stock list",))


@pytest.mark.parametrize(
    "columns", ({"id": "1", "title": "3"}, {"id": " 1", "title": "3", "product_type": "2,3"})
)
def test_without_a_header_columns_are_numbers(read, columns):
    result = read("77,Books,A tale\n\n78,Games,A board,x\n", columns=columns)
    assert result.header == (0, ("1", "2", "3", "4"))
    assert result.rows == [
        (1, {"1": "77", "2": "Books", "3": "A tale"}),
        (3, {"1": "78", "2": "Games", "3": "A board", "4": "x"}),
    ]
    assert result.how.remarks == [
        "there is no header: line 1 is read as a product, and the columns are called 1, 2, 3 ..."
    ]


def test_numbers_of_columns_may_also_stand_beside_a_header(read):
    result = read("id,title\n1,Cap\n", columns={"id": "1", "title": "2"})
    assert result.header == (1, ("id", "title")) and len(result.rows) == 1


@pytest.mark.parametrize("times", (1, 3))
def test_rakutens_files_have_the_columns_of_its_documentation(read, times):
    product = (
        'P1|Cap 7" wide|SKU1|Clothing|Hats~~Caps|https://shop.example/1|https://img.example/1.jpg|'
        "https://buy.example|Short|Long|0|Amount|9.99|12.50|01/01/2025||Acme|4.00|cap~~hat|MPN1|"
        "Acme Inc|Express|in-stock|012345678905|60|USD||https://pixel.example|Red|M"
    )
    text = "\n".join(["HDR|123|Demo|2025-01-01", *[product] * times, f"TRL|{times}"])
    for ending in ("", "\n", "\r\n"):
        result = read(text + ending)
        assert len(result.rows) == times and result.skipped == []
        line, row = result.rows[0]
        assert line == 2 and row["Product ID"] == "P1" and row["Product Name"] == 'Cap 7" wide'
        assert row["Secondary Category"] == "Hats~~Caps" and row["Keywords"] == "cap~~hat"
        assert row["Product Image URL"] == "https://img.example/1.jpg"
        assert row["Long Product Description"] == "Long" and row["Currency"] == "USD"
    assert "Rakuten" in result.how.kind


@pytest.mark.parametrize("separator", "\t,;|")
@pytest.mark.parametrize("count", (20_000, 1_000_000))
def test_a_header_of_a_million_columns_is_a_sentence(tmp_path, separator, count):
    path = tmp_path / "f"
    path.write_text("id" + separator + f"title{separator}" * count + "\n1\n", encoding="utf-8")
    tracemalloc.start()
    with pytest.raises(UserError, match="more than 10,000 columns"):
        read_file(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000_000


@pytest.mark.parametrize(
    "content, kind",
    (
        ("id\ttitle\n1\tCap\n", "text with tabs between its cells"),
        ("id,title\n1,Cap\n", "text with commas between its cells"),
        ("id;title\n1;Cap\n", "text with semicolons between its cells"),
        ("id|title\n1|Cap\n", "text with bars between its cells"),
    ),
)
def test_how_it_was_read(read, content, kind):
    how = read(content).how
    assert (how.kind, how.encoding, how.remarks) == (kind, "UTF-8", [])


def test_names_are_the_same_object_for_all_rows(tmp_path):
    from crawling.feed_formats import read_feed_rows

    path = tmp_path / "f"
    path.write_text("id\ttitle\n" + "1\tCap\n" * 9, encoding="utf-8")
    names = [names for _, names, _ in read_feed_rows(str(path), [])]
    assert all(each is names[0] for each in names)
