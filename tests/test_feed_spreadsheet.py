"""Spreadsheets become rows as they were typed, whatever program wrote them, and whatever was done
to the file: damage, bombs and passwords end in a sentence."""

import gzip
import random
import time

import pytest
from rows_of_feeds import a_zip, read, values_of
from spreadsheets import ods, ole, xls, xlsx

from common.terminal import UserError

ROWS = [
    ["id", "title", "product_type", "price", "sale"],
    ["0012", "Cap", "Hats", 1.5, True],
    [],
    [805123456789.0, "Käse & <Brot>", None, 0.1 + 0.2, False],
    [7.0, "Hat", '="0012"', 1e-7, None],
]
READ = [
    (2, ("0012", "Cap", "Hats", "1.5", "TRUE")),
    (4, ("805123456789", "Käse & <Brot>", "", "0.3", "FALSE")),
    (5, ("7", "Hat", "0012", "0.0000001", "")),
]
PROGRAMS = pytest.mark.parametrize("write", (xlsx, xls, ods), ids=("xlsx", "xls", "ods"))


def rows_of(result):
    return [(line, tuple(row.values())) for line, row in result.rows]


@PROGRAMS
@pytest.mark.parametrize(
    "pack",
    (bytes, gzip.compress, lambda data: a_zip(**{"a/products.csv": data})),
    ids=("plain", "gzip", "zip"),
)
def test_cells_are_read_as_they_were_typed(read, write, pack):
    result = read(pack(write(Products=ROWS)))
    assert result.header == (1, tuple(ROWS[0])) and result.skipped == []
    assert rows_of(result) == READ
    assert result.how.kind == "a spreadsheet, its sheet 'Products'" and result.how.remarks == []


@pytest.mark.parametrize(
    "number, text",
    (
        (0, "0"),
        (-3, "-3"),
        (8.05e12, "8050000000000"),
        (4006381333931, "4006381333931"),
        (123456789012345, "123456789012345"),
        (1e16, "10000000000000000"),
        (1.10, "1.1"),
        (19.99, "19.99"),
        (1234567.891, "1234567.891"),
        (1e-5, "0.00001"),
        (2.0000000000000004, "2"),
    ),
)
@PROGRAMS
def test_a_number_has_no_exponent_and_no_zeros_behind_it(read, write, number, text):
    result = read(write(S=[["id", "title"], [number, "Cap"]]))
    assert values_of(result, "id") == [(text,)]


def test_dates_are_text(read):
    rows = [["id", "title", "since"], ["1", "Cap", "date:45658"], ["2", "Hat", "date:45658.75"]]
    result = read(xlsx(S=rows))
    assert values_of(result, "since") == [("2025-01-01",), ("2025-01-01 18:00:00",)]


@PROGRAMS
def test_the_first_sheet_that_has_a_header_is_read(read, write):
    notes = [["Notes"], ["nothing to sell"]]
    result = read(write(About=notes, Empty=[], Stock=ROWS, Other=[["id", "title"], ["9", "x"]]))
    assert rows_of(result) == READ
    assert result.how.remarks == [
        "the sheet 'Stock' was read, and not About, Empty, Other: --sheet NAME reads another"
    ]


@PROGRAMS
def test_a_sheet_can_be_named(read, write):
    data = write(Stock=ROWS, Other=[["id", "title"], ["9", "x"]])
    assert values_of(read(data, sheet="Other"), "id", "title") == [("9", "x")]
    with pytest.raises(UserError, match="no sheet 'other': name .* it has 'Stock', 'Other'"):
        read(data, sheet="other")


@pytest.mark.parametrize("content", ("id,title\n1,Cap\n", '[{"id": 1}]', "<r/>"))
def test_what_is_no_spreadsheet_has_no_sheet(read, content):
    with pytest.raises(UserError, match="is no spreadsheet: leave --sheet out"):
        read(content, sheet="S")


@PROGRAMS
def test_the_header_may_stand_below_other_rows(read, write):
    result = read(write(S=[["Stock of the shop"], [], ["", "made in", 2025.0], *ROWS]))
    assert rows_of(result) == [(line + 3, cells) for line, cells in READ]
    assert result.how.remarks == ["the header is in row 4; what stands above was passed over"]


@PROGRAMS
def test_without_a_header_columns_are_numbers(read, write):
    rows = [["77", "Books", "A tale"], [78.0, "Games", "A board", "x"]]
    result = read(write(S=rows), columns={"id": "1", "title": "3"})
    assert [row["1"] + row["3"] for _, row in result.rows] == ["77A tale", "78A board"]
    assert result.header[0] == 0 and "there is no header" in result.how.remarks[0]


@PROGRAMS
def test_rows_wider_than_the_header_are_named(read, write):
    result = read(write(S=[["id", "title"], ["1", "Cap", None, "more"], ["2", "Hat", " "]]))
    assert values_of(result, "id", "title") == [("2", "Hat")]
    assert result.skipped == [(2, "more columns than the header names")]


@PROGRAMS
def test_a_header_that_nobody_knows_is_the_first_row(read, write):
    result = read(write(S=[["Nummer", "Wort"], ["1", "Mütze"]]))
    assert result.header == (1, ("Nummer", "Wort")) and len(result.rows) == 1


SPARSE = (
    '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
)
REPEATED = (
    '<table:table-row table:number-rows-repeated="1048576"><table:table-cell '
    'table:number-columns-repeated="16384" office:value-type="string"><text:p>id</text:p>'
    "</table:table-cell></table:table-row>"
)
WIDE = [["id", "title", *(f"c{number}" for number in range(10_500))], ["1", "Cap"]]


@pytest.mark.parametrize(
    "data, sentence",
    (
        (xlsx(S=ROWS)[:-30], "packed, and cut short or damaged"),
        (xlsx(S='<row r="1"><c r="A1"'), "because it is damaged"),
        (xlsx(S=SPARSE), "because it is damaged, or it takes too much memory"),
        (ods(S=REPEATED), "because it is damaged|too much memory"),
        (ole(Workbook=b"\0" * 5000), "because it is damaged|is empty"),
        (ole(EncryptionInfo=b"\4\0\4\0", EncryptedPackage=b"x" * 5000), "it has a password"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "because it is damaged"),
        (xls(S=ROWS)[:3000], "because it is damaged"),
        (
            a_zip(**{"[Content_Types].xml": "", "word/document.xml": "<x/>"}),
            "because it is damaged",
        ),
        (a_zip(**{"mimetype": "x", "content.xml": "<x/>"}), "because it is damaged"),
        (xlsx(S=[]), "is empty"),
        (xlsx(), "is empty|is damaged"),
        (xlsx(S=WIDE), "more than 10,000 columns"),
    ),
    ids=range(13),
)
def test_a_spreadsheet_that_is_damaged_or_hostile_is_one_sentence(read, data, sentence):
    began = time.monotonic()
    with pytest.raises(UserError, match=sentence) as caught:
        read(data)
    assert str(caught.value).isprintable() and time.monotonic() - began < 30


def declare(data, name, size):
    """A zip whose directory says that this member has that size."""
    changed = bytearray(data)
    place = changed.rindex(name.encode()) - 46
    assert changed[place : place + 4] == b"PK\1\2"
    changed[place + 24 : place + 28] = size.to_bytes(4, "little")
    return bytes(changed)


def test_a_zip_bomb_is_refused_by_the_size_it_says(read):
    data = declare(xlsx(S=ROWS), "xl/worksheets/sheet1.xml", 3_500_000_000)
    with pytest.raises(UserError, match="holds more than a catalogue can"):
        read(data)
    large = xlsx(S='<row r="1">' + " " * 101_000_000 + "</row>")
    with pytest.raises(UserError, match="holds more than a catalogue can"):
        read(large)


def test_a_zip_whose_members_need_a_password_is_a_sentence(read):
    data = bytearray(xlsx(S=ROWS))
    data[data.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(UserError, match="it has a password"):
        read(bytes(data))


@PROGRAMS
def test_a_damaged_spreadsheet_gives_rows_or_one_printable_sentence(read, write):
    chance, data = random.Random(1), write(Products=ROWS)
    for _ in range(15):
        broken = bytearray(data)
        for _ in range(chance.choice((1, 2, 8))):
            place = chance.randrange(len(broken))
            if chance.random() < 0.7:
                broken[place] = chance.randrange(256)
            else:
                del broken[place : place + chance.choice((1, 30))]
        try:
            result = read(bytes(broken))
        except UserError as error:
            assert str(error).isprintable() and len(str(error)) < 1500
        else:
            assert all(isinstance(text, str) for _, row in result.rows for text in row.values())
