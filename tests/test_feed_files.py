"""The files of a feed: a file, a folder, a pattern or a zip is one shop, and what is no feed among
them is passed over and named."""

import gzip
import os

import pytest
from rows_of_feeds import a_zip, read_file, values_of
from spreadsheets import xlsx

from common.terminal import UserError
from crawling.feed_files import feed_files
from crawling.feed_types import FeedFile, ReadOptions

CSV = "id,title\n1,Cap\n"
JSON = '[{"id": 2, "title": "Hat"}]'
XML = "<r><item><id>3</id><title>Fez</title></item></r>"
SHEET = xlsx(S=[["id", "title"], ["4", "Bag"]])
OTHERS = {
    "README.md": "# About",
    "LICENSE": "Do what you like",
    "logo.png": b"\x89PNG\r\n\x1a\n" + bytes(99),
    "manual.pdf": b"%PDF-1.7" + bytes(99),
    "stores.csv": "town,street\nA,B\n",
    "empty.csv": "",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """folder(**{name: content}) makes files, and their folders, in the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(**files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return make


def names_of(files):
    return [file.name for file in files]


def ids(files):
    return [row[0] for file in files for row in values_of(read_file(file), "id")]


@pytest.mark.parametrize(
    "content",
    (CSV, JSON, XML, SHEET, gzip.compress(CSV.encode()), "x", ""),
    ids="csv json xml sheet gzip text empty".split(),  # what is packed holds the time
)
@pytest.mark.parametrize("name", ("a.csv", "feed", "README.md", "logo.png"))
def test_a_file_that_is_named_alone_is_taken_as_it_is(folder, name, content):
    folder(**{name: content})
    assert feed_files([name]) == [FeedFile(name, None, name)]


def test_the_feeds_of_a_folder_are_read_in_the_order_of_their_names(folder, capsys):
    folder(**{"f/c.xml": XML, "f/b.json": JSON, "f/a": CSV, "f/d.gz": gzip.compress(SHEET),
              "f/e.zip": a_zip(x=CSV), "f/deeper/x.csv": CSV, "f/.hidden.csv": CSV})  # fmt: skip
    for address in ("f", "f/"):
        files = feed_files([address])
        assert [name.split("/")[-1] for name in names_of(files)] == [
            *("a", "b.json", "c.xml", "d.gz", "e.zip")
        ]
        assert ids(files) == ["1", "2", "3", "4", "1"]
    assert capsys.readouterr().err == ""


def test_what_is_no_feed_in_a_folder_is_named_in_one_line(folder, capsys):
    folder(
        **{f"f/{name}": content for name, content in {**OTHERS, "a.csv": CSV, "z.xml": XML}.items()}
    )
    assert ids(feed_files(["f"])) == ["1", "3"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (
        "f: 5 files passed over, because no products are in them: LICENSE, README.md, logo.png, "
        "manual.pdf, stores.csv"
    )
    assert lines[1:] == ["passed over: f/empty.csv is empty: --feed takes a catalogue file"]


def test_a_folder_of_very_many_pictures_takes_no_time(folder, capsys):
    folder(**{f"f/{number}.jpg": b"\xff\xd8\xff" for number in range(500)}, **{"f/a.csv": CSV})
    assert ids(feed_files(["f"])) == ["1"]
    assert "500 files passed over" in capsys.readouterr().err


@pytest.mark.parametrize("pattern", ("f/*.csv", "f/?.csv", "f/[ab].csv", "*/*.csv"))
def test_a_pattern(folder, pattern):
    folder(**{"f/b.csv": CSV.replace("1", "7"), "f/a.csv": CSV, "f/c.xml": XML})
    assert names_of(feed_files([pattern])) == ["f/a.csv", "f/b.csv"]


def test_a_file_whose_name_looks_like_a_pattern(folder):
    folder(**{"a[1].csv": CSV, "a1.csv": CSV})
    assert names_of(feed_files(["a[1].csv"])) == ["a[1].csv"]


def test_several_addresses_are_one_feed_and_no_file_is_read_twice(folder):
    folder(**{"f/a.csv": CSV, "f/b.json": JSON, "c.xml": XML})
    assert names_of(feed_files(["c.xml", "f", "f/a.csv", "f/*.json"])) == [
        *("c.xml", "f/a.csv", "f/b.json")
    ]


def test_the_feed_in_a_zip_of_several_files_is_found(folder, capsys):
    folder(**{"z.zip": a_zip(**OTHERS, **{"deep/er/a.csv": CSV, "b.xlsx": SHEET, ".x.csv": CSV})})
    files = feed_files(["z.zip"])
    assert files == [
        FeedFile("z.zip", "b.xlsx", "z.zip (b.xlsx)"),
        FeedFile("z.zip", "deep/er/a.csv", "z.zip (deep/er/a.csv)"),
    ]
    assert ids(files) == ["4", "1"]
    assert "z.zip: 5 files passed over" in capsys.readouterr().err


def test_a_zip_of_one_file_is_that_file(folder):
    folder(**{"z.zip": a_zip(**{"a/": b"", "__MACOSX/._a": b"", "README.md": CSV})})
    assert feed_files(["z.zip"]) == [FeedFile("z.zip", None, "z.zip")]


def test_a_zip_in_a_folder_may_have_several_files(folder):
    folder(**{"f/z.zip": a_zip(a=CSV, b=JSON), "f/c.xml": XML})
    assert names_of(feed_files(["f"])) == ["f/c.xml", "f/z.zip (a)", "f/z.zip (b)"]


def test_in_a_folder_only_the_best_files_are_feeds(folder, capsys):
    folder(**{"f/a.csv": CSV, "f/b.csv": "sku,town\n1,A\n", "f/c.csv": "x,y\n1,2\n"})
    assert names_of(feed_files(["f"])) == ["f/a.csv"]
    (folder() / "f/a.csv").unlink()
    assert names_of(feed_files(["f"])) == ["f/b.csv"]
    options = ReadOptions(columns={"id": "x", "title": "y"})
    assert names_of(feed_files(["f"], options)) == ["f/c.csv"]


def test_the_only_file_that_may_be_one_is_taken_so_that_its_fault_is_said(folder):
    folder(**{"f/a.csv": "Nummer,Wort\n1,Cap\n", "f/README.md": "", "f/x.png": b""})
    assert names_of(feed_files(["f"])) == ["f/a.csv"]
    folder(**{"g/a.csv": b"id,title\n1,Caf\xe9\n", "g/LICENSE.txt": ""})
    assert names_of(feed_files(["g"])) == ["g/a.csv"]
    with pytest.raises(UserError, match="line 2 is not UTF-8"):
        read_file(feed_files(["g"])[0])


def test_files_that_cannot_be_read_are_named_with_the_reason(folder, capsys):
    folder(**{"f/a.csv": CSV, **{f"f/b{n}.csv": b"id,title\n1,Caf\xe9\n" for n in range(8)},
              "f/c.gz": gzip.compress(CSV.encode() * 99)[:-9]})  # fmt: skip
    assert names_of(feed_files(["f"])) == ["f/a.csv"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6 and lines[5] == "f: 4 more files could not be read either"
    assert lines[0].startswith("passed over: f/b0.csv, line 2 is not UTF-8: it looks like cp1252")
    assert names_of(feed_files(["f"], ReadOptions(encoding="cp1252")))[-1] == "f/b7.csv"


@pytest.mark.parametrize(
    "address, sentence",
    (
        ("none.csv", "none.csv: there is no such file or folder"),
        ("none/*.csv", "no file is called none/\\*.csv"),
        ("empty", "empty holds no catalogue: .* found: no file"),
        ("others", "others holds no catalogue: .* found: LICENSE, README.md, a.csv, b.csv, "),
        ("others.zip", "others.zip holds no catalogue"),
        ("others/*.csv", "holds no catalogue: .* found: a.csv, b.csv"),
    ),
)
def test_an_address_without_a_feed_is_one_printable_sentence(folder, address, sentence):
    others = {**OTHERS, "a.csv": "x,y\n1,2\n", "b.csv": "z,w\n1,2\n"}
    root = folder(**{f"others/{name}": content for name, content in others.items()})
    (root / "empty").mkdir()
    (root / "others.zip").write_bytes(a_zip(**others))
    with pytest.raises(UserError, match=sentence) as caught:
        feed_files([address])
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


def test_damaged_zips_are_told_when_they_are_read(folder):
    whole = a_zip(a=CSV, b=JSON)
    for content in (whole[:-9], b"PK\3\4" + bytes(99), whole.replace(b"a", b"\xff")):
        folder(**{"z.zip": content})
        try:
            for file in feed_files(["z.zip"]):
                read_file(file)
        except UserError as error:
            assert str(error)
        else:
            assert content.startswith(b"PK") and len(content) == len(whole)


def test_a_member_that_is_gone_is_a_sentence(folder):
    folder(**{"z.zip": a_zip(a=CSV, b=JSON)})
    with pytest.raises(UserError, match="holds 0 files"):
        read_file(FeedFile("z.zip", "c", "z.zip (c)"))


def test_a_pipe_is_not_waited_for(folder, tmp_path):
    folder(**{"f/a.csv": CSV})
    os.mkfifo(tmp_path / "f" / "b.csv")
    os.mkfifo(tmp_path / "pipe")
    assert names_of(feed_files(["f"])) == ["f/a.csv"]
    with pytest.raises(UserError, match="pipe is no file: save what comes out of it"):
        feed_files(["pipe"])


def test_a_zip_of_very_many_files_takes_no_long_time(folder):
    root = folder(**{"z.zip": a_zip(**{f"{number}": "" for number in range(5_000)})})
    with pytest.raises(
        UserError,
        match="holds 5,000 files that may be feeds in a zip, among 5,000, which is too many: unpack it",
    ):
        feed_files(["z.zip"])
    pictures = {f"{number}.jpg": "" for number in range(5_000)}
    (root / "z.zip").write_bytes(a_zip(**pictures, **{"a.csv": CSV}))
    assert ids(feed_files(["z.zip"])) == ["1"]


def test_a_folder_may_hold_very_many_pages(folder):
    page = (
        '<html><script type="application/ld+json">{{"@type": "Product", "id": "{0}", '
        '"name": "Cap"}}</script></html>'
    )
    folder(**{f"f/{number:04}.html": page.format(number) for number in range(600)})
    assert ids(feed_files(["f"])) == [str(number) for number in range(600)]
