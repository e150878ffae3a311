"""--format same: the file that was loaded comes out byte for byte as it came, but for the category.

A test writes a file with a mark where the category of a product belongs. It is loaded without the
marks, and what comes out must be the file with the categories in their place.

pytest tests/test_export_same.py
"""

import csv
import gzip
import io
import random
import subprocess
import sys

import pytest
from conftest import REPO, environment
from exports import (
    connect,
    decide,
    file_at,
    filed_where,
    lists,
    load,
    make_experiment,
    rows,
    run,
    write_tsv,
)
from spreadsheets import xlsx

TREE = (
    ("l-1", "Red Bootcut", "Women > Jeans"),
    ("l-2", "Blue Skinny", "Women > Bags, Wallets & Cases"),
    ("l-3", "Short", "Men > Shorts"),
    ("l-4", "Куртка", "Men > Куртки"),
)
FILED = {"1": "Women > Jeans", "2": "Men > Shorts", "-3": "Women > Bags, Wallets & Cases"}


def with_marks(text, cells):
    """(the file as it is loaded, and as it has to come out): <1> stands for the cell of product 1."""
    loaded, meant = text, text
    for number, cell in cells.items():
        loaded = loaded.replace(f"<{number}>", "")
        meant = meant.replace(f"<{number}>", cell)
    return loaded, meant


def make_shop(folder, data, *flags, filed=FILED, tree=TREE):
    """Load a tree of labelled products, unless it is (), and then the file `data`, bytes or text, and
    file its products."""
    if tree:
        load(folder, write_tsv(folder / "old.tsv", tree))
    (folder / "new.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    load(folder, "new.csv", *flags)
    make_experiment(folder)
    for number, path in filed.items():
        file_at(folder, number, path)


def export(folder, *flags, status=0):
    """(the bytes that come out, what is said)."""
    done = run(
        folder,
        *("--export", "1", "--format", "same", "--feed", "new.csv", "-o", "out.csv", *flags),
        status=status,
    )
    assert done.stdout == ""
    return (folder / "out.csv").read_bytes(), done.stderr


def check(folder, data, meant, *flags):
    """The file comes out as it is meant, and gives the same categories when it is loaded."""
    make_shop(folder, data, *flags)
    out, said = export(folder, *flags)
    assert out == meant
    load(folder, "out.csv", *flags, name="check.db")
    back = filed_where(folder, "check.db")
    assert {number: back[number] for number in FILED} == {
        number: path.replace(" > ", "|") for number, path in FILED.items()
    }
    return said


CELLS = {**FILED, "q-3": '"Women > Bags, Wallets & Cases"'}
FILES = {  # form -> (text with marks, encoding)
    "tabs, and inches that are no quotes": (
        'id\ttitle\tproduct_type\tnote\n1\t27" tube\t<1>\tx\n2\t"Best\t<2>\t"\n-3\tRug\t<-3>\t=1+1\n',
        "utf-8",
    ),
    "a mark, quotes around all, ends as on Windows": (
        '\ufeff"id","title","product_type","note"\r\n"1","A ""b""","<1>",""\r\n'
        '"2","C, d","<2>","x\r\ny"\r\n"-3","E","<-3>","  z "\r\n',
        "utf-8",
    ),
    "semicolons, no end of the last line": (
        "id;title;product_type\n1;A, b;<1>\n2;C;<2>\n-3;D;<-3>",
        "utf-8",
    ),
    "commas, only some quotes": (
        'id,title,product_type,n\n1,"A, b",<1>,1\n\n2, "C" ,<2>,2\n-3,D,<q-3>,3\n',
        "utf-8",
    ),
    "bars": ("id|title|product_type\n1|A|<1>\n2|B|<2>\n-3|C|<-3>\n", "utf-8"),
    "UTF-16 with a mark, as Excel writes it": (
        "\ufeffid\ttitle\tproduct_type\r\n1\tÄ\t<1>\r\n2\tB\t<2>\r\n-3\tC\t<-3>\r\n",
        "utf-16-le",
    ),
    "UTF-16 of the other order": (
        "\ufeffid\ttitle\tproduct_type\n1\tÄ\t<1>\n2\tB\t<2>\n-3\tC\t<-3>\n",
        "utf-16-be",
    ),
    "lines of the old Mac": ("id;title;product_type\r1;A;<1>\r2;B;<2>\r-3;C;<-3>\r", "utf-8"),
    "ends of lines of both kinds": (
        "id;title;product_type\r\n1;A;<1>\n2;B;<2>\r\n-3;C;<-3>\n",
        "utf-8",
    ),
    "a hint for Excel, and lines above the header": (
        "sep=;\nOur list;;\nid;title;product_type\n1;A;<1>\n2;B;<2>\n-3;C;<-3>\n",
        "utf-8",
    ),
    "Excel's texts": (
        'id;title;product_type;ean\n="1";A;<1>;="0012"\n="2";B;<2>;="0013"\n="-3";C;<-3>;\n',
        "utf-8",
    ),
    "rows that end early, and some that go on": (
        "id;title;product_type;note\n1;A;<1>\n2;B;<2>;x;;\n-3;C;<-3>;\n",
        "utf-8",
    ),
    "unknown columns, and another order": (
        "x;product_type;title;y;id\n;<2>;B;a & <b>;2\nü;<1>;A;;1\n;<-3>;C;'=1;-3\n",
        "utf-8",
    ),
    "a row that is no product": (
        "id;title;product_type\n1;A;<1>\n;no id;\n9;;\n2;B;<2>\n-3;C;<-3>\n",
        "utf-8",
    ),
    "rows that the load leaves out": (
        "id,title,product_type\n1,A,<1>\nx,y,z,too,many\n2,B,<2>\n-3,C,<q-3>\n",
        "utf-8",
    ),
    "a text over many lines": (
        'id,title,description,product_type\n1,A,"one\n\n\ttwo, ""three""\n",<1>\n2,B,"x\n",<2>\n'
        "-3,C,,<q-3>\n",
        "utf-8",
    ),
}


@pytest.mark.parametrize("form", FILES)
def test_all_but_the_categories_comes_out_byte_for_byte(tmp_path, form):
    text, encoding = FILES[form]
    loaded, meant = with_marks(text, CELLS)
    said = check(tmp_path, loaded.encode(encoding), meant.encode(encoding))
    assert said == "new.csv: 3 rows filled in\n"


def test_an_encoding_that_was_named_stays(tmp_path):
    text = "id;title;product_type\n1;Dröge;<1>\n2;Größe;<2>\n-3;C;<-3>\n"
    loaded, meant = with_marks(text, CELLS)
    check(tmp_path, loaded.encode("cp1252"), meant.encode("cp1252"), "--encoding", "cp1252")


def test_a_row_that_ends_before_the_category_gets_the_cells_that_lack(tmp_path):
    data = b"id;title;note;product_type\n1;A\n2;B;x;\n-3;C;\n"
    meant = (
        b"id;title;note;product_type\n1;A;;Women > Jeans\n2;B;x;Men > Shorts\n"
        b"-3;C;;Women > Bags, Wallets & Cases\n"
    )
    check(tmp_path, data, meant)


def test_printed_it_is_the_same_as_in_a_file(tmp_path):
    loaded, meant = with_marks(FILES["bars"][0], CELLS)
    make_shop(tmp_path, loaded.encode())
    done = run(tmp_path, "--export", "1", "--format", "same", "--feed", "new.csv")
    assert done.stdout == meant


def test_exported_once_more_nothing_changes(tmp_path):
    loaded, meant = with_marks(FILES["bars"][0], CELLS)
    make_shop(tmp_path, loaded.encode())
    (tmp_path / "new.csv").write_text(meant)
    out, said = export(tmp_path)
    assert out == meant.encode()
    assert said.splitlines() == ["new.csv: 0 rows filled in", "3 rows had the category already"]


def test_a_packed_file_comes_out_unpacked(tmp_path):
    loaded, meant = with_marks(FILES["bars"][0], CELLS)
    check(tmp_path, gzip.compress(loaded.encode()), meant.encode())


# ---- how the file writes categories -------------------------------------------------------------


@pytest.mark.parametrize("sign", ["/", " / ", " >> ", ">", " » ", "|", " - ", "::"])
def test_levels_are_written_as_the_other_rows_do(tmp_path, sign):
    text = (
        "id;title;product_type\nl-1;Red;Women/Jeans\nl-2;Blue;Women/Bags\nl-3;X;Men/Shorts\n"
        "1;A;<1>\n2;B;<2>\n"
    ).replace("/", sign)
    loaded, meant = with_marks(text, {"1": f"Women{sign}Jeans", "2": f"Men{sign}Shorts"})
    filed = {"1": "Women > Jeans", "2": "Men > Shorts"}
    make_shop(tmp_path, loaded, filed=filed, tree=())
    assert export(tmp_path)[0] == meant.encode()


def test_a_level_in_each_column_is_filled_into_these_columns(tmp_path):
    text = (
        'id,title,category,sub_category,note\nl-1,Red,Women,Jeans,\nl-2,Blue,Women,"Bags, big",\n'
        "1,A,<1>,x\n2,B,<2>,y\n3,C,<3>,z\n"
    )
    cells = {"1": 'Women,"Bags, big"', "2": "Women,", "3": "Women,Jeans"}
    loaded, meant = text, text
    for number, cell in cells.items():
        loaded = loaded.replace(f"<{number}>", ",")
        meant = meant.replace(f"<{number}>", cell)
    filed = {"1": "Women > Bags, big", "2": "Women", "3": "Women > Jeans"}
    make_shop(tmp_path, loaded, filed=filed, tree=())
    out, said = export(tmp_path)
    assert out == meant.encode() and said == "new.csv: 3 rows filled in\n"
    load(tmp_path, "out.csv", name="check.db")
    back = filed_where(tmp_path, "check.db")
    assert (back["1"], back["2"], back["3"]) == ("Women|Bags, big", "Women", "Women|Jeans")


def test_a_category_of_more_levels_than_columns_is_left_out_and_named(tmp_path):
    data = b"id,title,category,sub_category\nx,Y,Women,Jeans\n1,T,,\n2,U,,\n"
    filed = {"1": "A > B > C", "2": "Women > Jeans"}
    make_shop(tmp_path, data, filed=filed, tree=[("l", "Red", "A > B > C"), *TREE])
    out, said = export(tmp_path, status=1)
    assert out == data.replace(b"2,U,,", b"2,U,Women,Jeans")
    assert "left as it was: line 3 (id 1): a category of more levels than the 2 columns" in said


def test_a_file_without_a_column_for_it_gets_one_at_the_end(tmp_path):
    data = b'"id";"title"\r\n"1";"A"\r\n2;B\r\n"-3";"C"\r\n"4";"D"\r\n'
    meant = (
        b'"id";"title";"product_type"\r\n"1";"A";"Women > Jeans"\r\n2;B;Men > Shorts\r\n'
        b'"-3";"C";"Women > Bags, Wallets & Cases"\r\n"4";"D";""\r\n'
    )
    said = check(tmp_path, data, meant)
    assert "no column for the category: 'product_type' was added as the last one" in said


def test_the_added_column_is_called_as_the_system_calls_it(tmp_path):
    data = b"Handle,Title,Body (HTML),Vendor\n1,A,,x\n2,B,,y\n2,,,\n-3,C,,z\n"
    meant = (
        b"Handle,Title,Body (HTML),Vendor,Type\n1,A,,x,Women > Jeans\n2,B,,y,Men > Shorts\n2,,,,\n"
        b'-3,C,,z,"Women > Bags, Wallets & Cases"\n'
    )
    check(tmp_path, data, meant)


def test_without_a_header_the_added_column_has_no_name(tmp_path):
    flags = ("--column", "id=1", "--column", "title=2")
    make_shop(tmp_path, b"1;A\n2;B\n-3;C\n", *flags)
    out, said = export(tmp_path, *flags)
    assert out == b"1;A;Women > Jeans\n2;B;Men > Shorts\n-3;C;Women > Bags, Wallets & Cases\n"
    assert "was added as the last one" in said


def test_a_column_that_was_named_is_filled_in(tmp_path):
    flags = ("--column", "product_type=shelf")
    text = "id;title;category;shelf\n1;A;no;<1>\n2;B;no;<2>\n-3;C;no;<-3>\n"
    loaded, meant = with_marks(text, CELLS)
    check(tmp_path, loaded.encode(), meant.encode(), *flags)


def test_a_forgotten_column_is_named(tmp_path):
    flags = ("--column", "product_type=shelf")
    data = "id;title;category;shelf\n1;A;x;Men > Shorts\n2;B;y;\n"
    make_shop(tmp_path, data, *flags, filed={"2": "Women > Jeans"})
    assert "--column" not in export(tmp_path, *flags)[1]
    said = export(tmp_path)[1]
    assert "the column 'category' is filled in, and crawl.db has the categories of 'feed'" in said


def test_words_for_no_category_are_replaced_without_a_warning(tmp_path):
    text = "id;title;product_type\n1;A;{}\n2;B;{}\n-3;C;{}\n"
    meant = text.format(*FILED.values())
    said = check(tmp_path, text.format("Uncategorized", "n/a", "-").encode(), meant.encode())
    assert said == "new.csv: 3 rows filled in\n"


def test_a_category_of_the_file_that_was_not_loaded_is_replaced_and_counted(tmp_path):
    text = "id;title;product_type\n1;A;{}\n2;B;{}\n-3;C;{}\n"
    data = text.format("Old > Things", "", "Old > Stuff").encode()
    make_shop(tmp_path, data, "--unlabelled")
    out, said = export(tmp_path)
    assert out == text.format(*FILED.values()).encode()
    assert "2 rows of those filled in had another category in the file" in said


def test_a_cell_that_files_the_product_there_already_keeps_its_other_categories(tmp_path):
    data = b"id,title,product_type\n1,A,Sale; Women > Jeans\n2,B,\n"
    make_shop(tmp_path, data, "--unlabelled", filed={"1": "Women > Jeans", "2": "Men > Shorts"})
    out, said = export(tmp_path)
    assert out == data.replace(b"2,B,", b"2,B,Men > Shorts")
    assert "1 row had the category already" in said


# ---- systems ------------------------------------------------------------------------------------


def test_only_the_first_row_of_a_product_of_shopify_is_filled_in(tmp_path):
    text = (
        "Handle,Title,Body (HTML),Type,Option1 Name,Option1 Value,Image Src\n"
        '1,A,"<p>x,\n""y""</p>",<1>,Size,S,\n1,,,,,M,\n1,,,,,XL,\n'
        "2,B,,<2>,Size,S,\n-3,C,,<q-3>,,,\n-3,,,,,L,\n"
    )
    loaded, meant = with_marks(text, CELLS)
    assert check(tmp_path, loaded.encode(), meant.encode()) == "new.csv: 3 rows filled in\n"


def test_commas_are_escaped_as_woocommerce_does(tmp_path):
    head = "ID,Type,SKU,Name,Published,Categories\n"
    tree = (
        'l-1,simple,,Red,1,"Women > Bags\\, Wallets & Cases, Sale"\nl-2,simple,,X,1,Men > Shorts\n'
    )
    text = f"{head}{tree}" + "1,simple,a,A,1,{}\n2,simple,b,B,1,{}\n"
    filed = {"1": "Women > Bags, Wallets & Cases", "2": "Men > Shorts"}
    make_shop(tmp_path, text.format("", ""), filed=filed, tree=())
    out, _ = export(tmp_path)
    assert out.decode() == text.format('"Women > Bags\\, Wallets & Cases"', "Men > Shorts")
    load(tmp_path, "out.csv", name="check.db")
    assert lists(tmp_path, "check.db")["1"] == {"Women|Bags, Wallets & Cases"}


def test_the_root_of_magento_and_its_slashes_stay(tmp_path):
    head = "sku,store_view_code,attribute_set_code,categories,name\n"
    tree = "l-1,,Default,Main/Women/Caps \\/ hats,Red\nl-2,,Default,Main/Men/Shorts,Blue\n"
    text = f"{head}{tree}" + "1,,Default,{},A\n1,de,Default,,Ä\n2,,Default,{},B\n"
    filed = {"1": "Women > Caps / hats", "2": "Men > Shorts"}
    make_shop(tmp_path, text.format("", ""), filed=filed, tree=())
    assert filed_where(tmp_path)["l-1"] == "Women|Caps / hats"
    out, _ = export(tmp_path)
    assert out.decode() == text.format("Main/Women/Caps \\/ hats", "Main/Men/Shorts")


def test_of_several_categories_only_the_one_that_is_wrong_is_replaced(tmp_path):
    head = "ID,Type,SKU,Name,Published,Categories\n"
    text = head + '1,simple,a,A,1,"{}, Sale, New > In"\n2,simple,b,B,1,Men > Shirts\n'
    make_shop(tmp_path, text.format("Men > Shorts"), filed={}, tree=())
    decide(tmp_path, [("1", "label wrong", "men.shirts", "")])
    out, said = export(tmp_path)
    assert out.decode() == text.format("Men > Shirts")
    assert said == "new.csv: 1 row filled in\n"
    load(tmp_path, "out.csv", name="check.db")
    assert lists(tmp_path, "check.db")["1"] == {"Men|Shirts", "Sale", "New|In"}


def test_what_the_next_load_would_read_otherwise_is_named(tmp_path):
    """All cells of a file tell what parts categories. The bars are gone, and so a comma parts them."""
    text = "sku,attribute_set_code,name,categories\nm-1,Default,A,{}\nm-2,Default,B,{}\n"
    top = "Default Category"
    filed = {"m-1": "Women > Bags, Wallets & Cases", "m-2": "Men > Shorts"}
    data = text.format(f"{top}/Old|{top}/New", f"{top}/New")
    make_shop(tmp_path, data, "--unlabelled", filed=filed)
    out, said = export(tmp_path)
    bags = f"{top}/Women/Bags, Wallets & Cases"
    assert out.decode() == text.format(f'"{bags}"', f"{top}/Men/Shorts")
    assert f"would read 1 category of the new file otherwise than meant, such as '{bags}'" in said
    load(tmp_path, "out.csv", name="check.db")
    assert filed_where(tmp_path, "check.db")["m-1"] != "Women|Bags, Wallets & Cases"


def test_what_others_write_meanwhile_does_not_come_into_it(tmp_path):
    """The reader waits after the first lines, as `less` does, and everything is filed anew."""
    numbers = range(5_000)
    lines = "".join(f"{number};{'T' * 40};\n" for number in numbers)
    make_shop(tmp_path, f"id;title;product_type\n{lines}", filed={"1": "Women > Jeans"})
    rows(
        tmp_path,
        """insert into filing(experiment_id, product_id, category_id, level, score, leaf_id, top)
           select 1, id, 'women.jeans', 'leaf', 0.9, 'women.jeans', '[]' from product
           where category_id is null and external_id <> '1'""",
    )
    command = (REPO / "analyze.py", "--export", "1", "--format", "same", "--feed", "new.csv")
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        start = process.stdout.read(1000)
        rows(tmp_path, "update filing set category_id = 'men.shorts'")
        out = start + process.stdout.read()
    assert process.returncode == 0
    assert (out.count("Women > Jeans"), out.count("Men > Shorts")) == (5_000, 0)


# ---- what can't be written ----------------------------------------------------------------------


def test_a_letter_that_the_encoding_lacks_is_left_out_and_named(tmp_path):
    data = "id;title;product_type\n1;Größe;\n2;B;\n".encode("cp1252")
    flags = ("--encoding", "cp1252")
    filed = {"1": "Men > Куртки", "2": "Men > Shorts"}
    make_shop(tmp_path, data, *flags, filed=filed)
    out, said = export(tmp_path, *flags, status=1)
    assert out == data.replace(b"2;B;", b"2;B;Men > Shorts")
    assert "left as it was: line 2 (id 1): a category that cp1252 has no letters for" in said


def test_a_name_with_the_files_own_sign_is_left_out_and_named(tmp_path):
    text = "id;title;product_type\nl-8;Red;Women/Jeans\nl-9;Blue;Women/Bags\n1;A;\n2;B;\n"
    filed = {"1": "Women > And/or", "2": "Women > Jeans"}
    make_shop(tmp_path, text, filed=filed, tree=[("l", "X", "Women > And/or"), *TREE])
    out, said = export(tmp_path, status=1)
    assert out.decode() == text.replace("2;B;", "2;B;Women/Jeans")
    assert "line 4 (id 1): its category can't be written as the file writes categories" in said


# No feed brings these names of a last level, but an API or --recategorize does. In a column of its
# own a load takes them for nothing, for markup, or for another letter.
ODD_NAMES = ["n/a", "-", "Default Category", "<b>x</b>", "R&amp;D", "&lt;"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_that_a_column_of_levels_can_not_hold_is_left_out_and_named(tmp_path, name):
    data = b"id,title,category,sub_category\nx,Y,Women,Jeans\n1,T,,\n2,U,,\n"
    make_shop(tmp_path, data, filed={"1": "Men > Shorts", "2": "Women > Jeans"})
    conn = connect(tmp_path)
    conn.execute("update category set name = ? where name = 'Shorts'", (name,))
    conn.close()
    out, said = export(tmp_path, status=1)
    assert out == data.replace(b"2,U,,", b"2,U,Women,Jeans")
    assert "line 3 (id 1): its category can't be written as the file writes categories" in said


COLUMNS = {  # of the category -> how a row has a category
    "product_type": "{} > {}",
    "category,sub_category": "{},{}",
}


@pytest.mark.parametrize("columns", COLUMNS)
def test_a_row_with_neither_the_wrong_nor_the_right_category_is_left_out_and_named(
    tmp_path, columns
):
    def text(*levels):
        return f"id,title,{columns}\n1,A,{COLUMNS[columns].format(*levels)}\n"

    make_shop(tmp_path, text("Men", "Shorts"), filed={})
    decide(tmp_path, [("1", "label wrong", "women.jeans", "")])
    data = text("Men", "Куртки").encode()  # the shop has refiled it since
    (tmp_path / "new.csv").write_bytes(data)
    out, said = export(tmp_path, status=1)
    assert out == data
    assert said.splitlines() == [
        "new.csv: 0 rows filled in",
        "left as it was: line 2 (id 1): it has another category than the one found wrong",
    ]


def test_of_a_product_in_two_rows_only_the_one_with_the_wrong_category_changes(tmp_path):
    text = "id,title,product_type\n1,A,Men > Куртки\n1,A,{}\n2,B,Women > Jeans\n"
    make_shop(tmp_path, text.format("Men > Shorts > Long"), filed={})
    assert filed_where(tmp_path)["1"] == "Men|Shorts|Long"
    decide(tmp_path, [("1", "label wrong", "women.jeans", "")])
    out, said = export(tmp_path)
    assert out.decode() == text.format("Women > Jeans")
    assert said == "new.csv: 1 row filled in\n"


def test_products_that_the_file_does_not_have_are_counted(tmp_path):
    make_shop(tmp_path, b"id;title;product_type\n1;A;\n2;B;\n-3;C;\n")
    (tmp_path / "new.csv").write_bytes(b"id;title;product_type\n2;B;\n8;Z;\n")
    out, said = export(tmp_path)
    assert out == b"id;title;product_type\n2;B;Men > Shorts\n8;Z;\n"
    assert "new.csv does not have 2 products of those to export" in said


def test_a_product_that_stands_there_twice_hides_none_that_is_missing(tmp_path):
    make_shop(tmp_path, b"id;title;product_type\n1;A;\n2;B;\n-3;C;\n")
    (tmp_path / "new.csv").write_bytes(b"id;title;product_type\n1;A;\n2;B;\n1;A;\n")
    _, said = export(tmp_path)
    assert said.splitlines() == [
        "new.csv: 3 rows filled in",
        "new.csv does not have 1 product of those to export",
    ]


JSON = b'{"id": "1", "title": "A"}\n{"id": "2", "title": "B"}\n'
XML = b"<rss><channel><item><id>1</id><title>A</title></item></channel></rss>"


@pytest.mark.parametrize(("data", "kind"), [(JSON, "JSON"), (XML, "XML"), (None, "a spreadsheet")])
def test_what_can_not_be_written_again_is_refused_in_one_sentence(tmp_path, data, kind):
    if data is None:
        data = xlsx(Sheet=[["id", "title"], ["1", "A"]])
    make_shop(tmp_path, data, filed={"1": "Men > Shorts"})
    done = run(tmp_path, "--export", "1", "--format", "same", "--feed", "new.csv", status=2)
    assert f"new.csv is {kind}" in done.stderr and "--format jsonl or csv" in done.stderr
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1


def test_an_encoding_in_which_letters_have_several_forms_is_refused(tmp_path):
    data = b"id;title;product_type\n1;\x87\x90;\n"  # cp932 writes this letter as \x81\xe0
    flags = ("--encoding", "cp932")
    make_shop(tmp_path, data, *flags, filed={"1": "Men > Shorts"})
    done = run(
        tmp_path, *("--export", "1", "--format", "same", "--feed", "new.csv"), *flags, status=2
    )
    assert "can't be written exactly as it came: save it as UTF-8" in done.stderr


def test_a_folder_is_refused(tmp_path):
    make_shop(tmp_path, b"id;title;product_type\n1;A;\n", filed={"1": "Men > Shorts"})
    done = run(tmp_path, "--export", "1", "--format", "same", "--feed", ".", status=2)
    assert "--feed . is no file" in done.stderr


# ---- any file -----------------------------------------------------------------------------------

LETTERS = "ab '\";,\t|=+-@\n\r><\\é中&#0"


def random_file(rng):
    """(text of a random table, its cells): products 0 to 11, of which some have a category."""
    delimiter, quoting = rng.choice(",;\t|"), rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    ends = rng.choice(("\n", "\r\n"))
    letters = [letter for letter in LETTERS if letter != "\r" and not (letter == delimiter == "\t")]
    columns = ["id", "title", "product_type", "note", "more"]
    rng.shuffle(columns)
    lines = [columns]
    for number in range(12):
        values = {
            "id": f"p{number}",
            "title": f"T{''.join(rng.choices(letters, k=rng.randrange(6)))}x",
            "product_type": "" if number % 3 else "Men > Shorts",
            "note": "".join(rng.choices(letters, k=rng.randrange(8))),
            "more": "",
        }
        lines.append([values[column] for column in columns])
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=ends).writerows(lines)
    return text.getvalue(), lines, delimiter


@pytest.mark.parametrize("seed", range(25))
def test_in_any_table_only_the_cells_of_the_category_change(tmp_path, seed):
    rng = random.Random(seed)
    text, lines, delimiter = random_file(rng)
    data = text.encode()
    (tmp_path / "new.csv").write_bytes(data)
    load(tmp_path, "new.csv")
    load(tmp_path, write_tsv(tmp_path / "old.tsv", TREE))
    make_experiment(tmp_path)
    waiting = [
        row[0]
        for row in rows(tmp_path, "select external_id from product where category_id is null")
    ]
    filed = {number: rng.choice([path for _, _, path in TREE]) for number in waiting[::2]}
    for number, path in filed.items():
        file_at(tmp_path, number, path)
    out, _ = export(tmp_path)
    column, key = lines[0].index("product_type"), lines[0].index("id")
    for line in lines[1:]:
        line[column] = filed.get(line[key], line[column])
    found = list(csv.reader(io.StringIO(out.decode(), newline=""), delimiter=delimiter))
    assert found == lines
    added = sum(len(path.encode()) for path in filed.values())
    assert 0 <= len(out) - len(data) - added <= 2 * len(filed)  # quotes
    load(tmp_path, "out.csv", name="check.db")
    back = filed_where(tmp_path, "check.db")
    assert {number: back[number] for number in filed} == {
        number: path.replace(" > ", "|") for number, path in filed.items()
    }
