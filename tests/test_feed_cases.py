"""crawl.py --feed loads what real shops write as their shop means it. tests/feeds/cases has a small
file for each kind of fault, and the tests have others of the same kind."""

import dataclasses
import json
import shlex
import socket
import sqlite3
from pathlib import Path

import pytest
from conftest import run_script

CASES = Path(__file__).parent / "feeds" / "cases"
# Pictures and training are tested in test_picture_links, test_picture_store and test_training.
OFFLINE = ("--tries", 1, "--image-rate", 0)  # no waiting for pictures that are not there
ELSEWHERE = {"avif.tsv", "schemeless_images.tsv", "a_few_leaves_of_one_style.tsv"}


@dataclasses.dataclass
class Loaded:
    filed: dict  # id -> "A > B" of the category that files it, None if none does
    listed: dict  # id -> all its categories
    rows: dict  # id -> (name, description, image, group_key)
    stdout: str
    stderr: str


@pytest.fixture(autouse=True)
def no_web(monkeypatch):
    """No host is found, and none is waited for: the links of these files lead nowhere."""

    def not_found(host, *rest, **more):
        raise socket.gaierror(socket.EAI_NONAME, "not found")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)


@pytest.fixture
def load(tmp_path):
    """load(case, or text, *flags) -> Loaded, after crawl.py --feed. Each load has its database."""

    def load(feed, *flags, suffix="csv"):
        if feed in CASE_NAMES:
            path = CASES / feed
        else:
            path = tmp_path / f"feed.{suffix}"
            path.write_text(feed, encoding="utf-8")
        database = tmp_path / "crawl.db"
        database.unlink(missing_ok=True)
        result = run_script(
            "crawl", "--feed", path, "--db-path", database, *OFFLINE, *flags, cwd=tmp_path
        )
        assert result.returncode in (0, 1), result.stderr  # 1: pictures that are not there
        return loaded(database, result)

    return load


def loaded(database, result):
    with sqlite3.connect(database) as conn:
        names = dict(conn.execute("select id, name from category"))
        paths = {
            category: " > ".join(names[step] for step in path.split("/"))
            for category, path in conn.execute("select id, path from category")
        }
        products = list(
            conn.execute(
                "select id, external_id, category_id, name, description, image, group_key"
                " from product order by id"
            )
        )
        listed = {product[1]: [] for product in products}
        ids = {product[0]: product[1] for product in products}
        for product, category in conn.execute(
            "select product_id, category_id from product_category order by product_id, position"
        ):
            listed[ids[product]].append(paths[category])
    return Loaded(
        {product[1]: paths.get(product[2]) for product in products},
        listed,
        {product[1]: product[3:] for product in products},
        result.stdout,
        result.stderr,
    )


CASE_NAMES = {path.name for path in CASES.iterdir()}
# case -> {id: its categories, and the first of them files it}, and the flags
RIGHT = {
    "woo_two_categories.csv": {
        "11": ["Clothing > Hats", "Sale"],
        "12": ["Clothing > Hats", "Clothing > Winter"],
        "13": ["Clothing > Hats"],
        "14": ["Clothing > Gloves", "Clothing"],
        "15": ["Kitchen, Dining > Bowls"],
    },
    "google_several_types.tsv": {
        "1": ["Women > Dresses"],
        "2": ["Women > Dresses", "Women > Sale"],
        "3": ["Health, Beauty & Care > Creams"],
    },
    "google_several_types.xml": {
        "1": ["Women > Dresses", "Sale"],
        "2": ["Women > Dresses"],
        "3": ["Home > Women > Dresses"],
    },
    "category_list_semicolon.csv": {
        "1": ["Boys", "New - Boys", "Sets"],
        "2": ["Boys", "Coats"],
        "3": ["Coats", "Boys"],
    },
    "woo_uncategorized.csv": {
        "1": ["Synths > Roland"],
        "2": ["Synths > Roland"],
        "3": [],
        "4": ["Synths > Korg"],
    },
    "uncategorized.csv": {
        "u-a": ["Apparel & Accessories > Clothing Accessories > Hair Accessories > Wigs"],
        "u-b": [],
        "u-c": [],
    },
    "category_lists.jsonl": {
        "B1": ["Sport > Shoes > Running", "Men > Shoes"],
        "B2": ["Outdoor > Boots"],
    },
    "flipkart_tree.csv": {
        "a1": ["Home > Bath > Towels"],
        "a2": ["Home > Bath > Towels"],
        "a3": ["Clocks"],
    },
    "letter_case.tsv": dict.fromkeys("1234", ["Hair > Closure"]),
    "entities.csv": {
        "1": ["Hats & Caps"],
        "2": ["Hats & Caps"],
        "3": ["Men’s > Mugs"],
        "4": ["Home & Garden > Mugs"],
    },
    "google_id_and_name.tsv": dict.fromkeys(
        "12", ["Apparel & Accessories > Clothing Accessories > Hats"]
    ),
    "google_numbers.tsv": {"1": ["173"], "2": ["212"]},
    "some_with_type.csv": dict.fromkeys(
        ("cap-a", "cap-b", "cap-c"), ["Apparel & Accessories > Clothing Accessories > Hats"]
    ),
    "plain_category_column.csv": {"1": ["Bags"], "2": ["Mugs"]},
    "magento.csv": {
        "M-1": ["Gear > Bags", "Gear"],
        "M-2": ["Gear > Bags"],
        "M-3": ["Gear > Bags", "New"],
    },
    "woo_variations.csv": dict.fromkeys(("21", "22", "23", "24"), ["Clothing > Tees"]),
    "wix.csv": {"p1": ["Wedding", "Summer"], "p2": ["Wedding"]},
    "amazon_flat_file.tsv": {"SK-1": ["rings"], "SK-2": ["rings"]},
    "front_matter.tsv": {"1": ["Hats"]},
    "linkshare.txt": {"101": ["Clothing > Hats > Caps"]},
    "yml_doctype.xml": {"9": ["Одежда > Шапки"]},
    "heureka.xml": {"7": ["Oblečení > Čepice"]},
    "plain_products.xml": {"3": ["Clothing > Caps"]},
    "jsonld.json": {"J1": ["Kitchen > Jugs"], "J2": ["Kitchen > Mugs"]},
    "gretail.jsonl": {"R1": ["Bags > Totes"], "R2": ["Bags > Sacks", "Sale"]},
    "items_in_json.json": {"1": ["Bags"], "2": ["Mugs"]},
    "amazon_meta.jsonl": {
        "A1": ["Appliances > Refrigerators, Freezers & Ice Makers"],
        "A2": ["Appliances > Hobs"],
    },
    "ampersand.xml": {"1": ["Kitchen"], "2": ["Kitchen"]},
    "control_char.xml": {"1": ["Kitchen"], "2": ["Kitchen"]},
    "no_namespace.xml": {"1": ["Kitchen"]},
    "cp1252_header.csv --encoding cp1252": {"1": ["Küche"], "2": ["Küche"]},
    "no_header.csv --column id=2 --column title=2 --column product_type=1": {
        "Paper plane frame": ["Household"],
        "A tale": ["Books"],
    },
    "levels_in_columns.csv --column product_type=gender,masterCategory,subCategory,articleType": {
        "1": ["Men > Apparel > Topwear > Shirts"],
        "2": ["Women > Apparel > Topwear > Shirts"],
        "3": ["Women > Footwear > Shoes > Heels"],
    },
}


@pytest.mark.parametrize("command", RIGHT)
def test_a_case_gives_what_is_right(command, load):
    case, *flags = command.split(" ")
    result = load(case, *flags)
    assert result.listed == RIGHT[command]
    assert result.filed == {
        product: categories[0] if categories else None
        for product, categories in RIGHT[command].items()
    }


def test_each_case_is_tested():
    assert {command.split(" ")[0] for command in RIGHT} | ELSEWHERE == CASE_NAMES


# ---- lists of categories ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells",
    (  # of products a, b and c, which are in Women > Dresses and Sale; Women > Dresses; Sale
        ("Women > Dresses, Sale", "Women > Dresses", "Sale"),
        ("Sale;Women > Dresses", "Women > Dresses", "Sale"),
        ("Women>Dresses|Sale", "Women>Dresses", "Sale"),
        ('["Sale", "Women > Dresses"]', '["Women > Dresses"]', '["Sale"]'),
        ("['Women > Dresses', 'Sale']", "['Women > Dresses']", "['Sale']"),
        ('[["Women", "Dresses"], ["Sale"]]', '[["Women", "Dresses"]]', '[["Sale"]]'),
        ('"Women > Dresses","Sale"', '"Women > Dresses"', "Sale"),
        ("Women/Dresses\nSale", "Women/Dresses", "Sale"),
        ("Women &gt; Dresses, Sale", "Women &gt; Dresses", "Sale"),
        ("women » dresses; Sale", "Women » Dresses", "Sale"),
        ("Women :: Dresses, Sale", "Women :: Dresses", "Sale"),
    ),
)
@pytest.mark.parametrize("suffix", ("csv", "jsonl"))
def test_a_cell_that_lists_categories_in_any_form(cells, suffix, load):
    rows = [*zip("abc", cells), ("d", cells[1])]
    if suffix == "csv":
        lines = ["id,name,categories"]
        for product, cell in rows:
            quoted = cell.replace('"', '""')
            lines.append(f'{product},Thing {product},"{quoted}"')
    else:
        lines = [
            json.dumps({"id": product, "name": f"Thing {product}", "categories": cell})
            for product, cell in rows
        ]
    result = load("\n".join(lines) + "\n", suffix=suffix)
    assert result.filed == {**dict.fromkeys("abd", "Women > Dresses"), "c": "Sale"}
    assert sorted(result.listed["a"]) == ["Sale", "Women > Dresses"]


@pytest.mark.parametrize(
    "value",
    (
        ["Women > Dresses", "Sale"],
        [["Sale"], ["Women", "Dresses"]],
        [{"name": "Sale"}, {"name": "Women > Dresses"}],
        [{"id": 3, "name": "Women > Dresses", "slug": "dresses"}, {"id": 4, "name": "Sale"}],
    ),
)
def test_a_list_in_json_is_a_list_of_categories(value, load):
    lines = [
        json.dumps({"id": 1, "title": "Frock", "categories": value}),
        json.dumps({"id": 2, "title": "Skirt", "categories": value[:1]}),
    ]
    result = load("\n".join(lines), suffix="jsonl")
    assert result.filed["1"] == "Women > Dresses"
    assert sorted(result.listed["1"]) == ["Sale", "Women > Dresses"]
    assert len(result.listed["2"]) == 1


@pytest.mark.parametrize(
    "name",
    ("Health, Beauty & Care", "Tools, Garden and Home", "Bücher, Filme & Musik", "Nuts, Raw"),
)
@pytest.mark.parametrize("sign", (" > ", ">", " / ", "|", " » "))
def test_a_comma_in_a_name_parts_nothing(name, sign, load):
    rows = [f'{n},Thing {n},"{name}{sign}{leaf}"' for n, leaf in enumerate(("One", "Two", "One"))]
    result = load("\n".join(["id,name,category", *rows]))
    assert result.filed == {"0": f"{name} > One", "1": f"{name} > Two", "2": f"{name} > One"}


def test_of_equally_deep_categories_the_first_files_and_it_is_reported(load):
    result = load("category_list_semicolon.csv")
    assert [result.filed[product] for product in "123"] == ["Boys", "Boys", "Coats"]
    assert "3 rows list several categories" in result.stderr
    assert "--ignore-category" in result.stderr
    result = load("category_list_semicolon.csv", "--ignore-category", "boys")
    assert [result.filed[product] for product in "123"] == ["New - Boys", "Coats", "Coats"]


def test_an_element_that_stands_several_times_lists_categories(load):
    result = load(
        "<catalog><product><id>1</id><name>Frock</name><category>Sale</category><category>Women &gt;"
        " Dresses</category></product><product><id>2</id><name>Skirt</name><category>Women &gt; "
        "Skirts</category></product></catalog>",
        suffix="xml",
    )
    assert result.listed == {"1": ["Women > Dresses", "Sale"], "2": ["Women > Skirts"]}


# ---- no category --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    ("Uncategorized", "Sin categoría", "Default", "N/A", "none", "-", "未分類", "BEZ KATEGORII"),
)
def test_a_word_for_no_category_is_none(word, load):
    result = load(f"id,name,category\n1,Cap,Hats\n2,Mug,{word}\n3,Fez,Hats\n4,Pan,Pans\n")
    assert result.filed == {"1": "Hats", "2": None, "3": "Hats", "4": "Pans"}
    assert f"1 row without a category: '{word}' counts as none" in result.stderr
    assert "(0 at an inner category, 1 without one)" in result.stdout


@pytest.mark.parametrize("root", ("Home", "Startseite", "Inicio"))
def test_the_root_alone_is_no_category(root, load):
    rows = (f"{root} > Hats", f"{root} > Mugs", f"{root} > Hats", root)
    lines = [f"{n},Thing {n},{cell}" for n, cell in enumerate(rows)]
    result = load("\n".join(["id,name,category", *lines]))
    assert result.filed["3"] is None
    assert result.filed["0"] == result.filed["2"] != result.filed["1"]


def test_what_a_shop_means_as_a_category_stays_one(load):
    result = load("id,name,category\n1,Cap,Other\n2,Mug,Misc\n3,Pan,Home\n4,Pot,Home > Pots\n")
    assert result.filed == {"1": "Other", "2": "Misc", "3": "Home", "4": "Home > Pots"}


# ---- levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sign", (" > ", ">", ">>", " >> ", "/", " / ", "|", " | ", "::", "»", " › ", " → ", " - ", "->")
)
def test_levels_are_parted_by_what_the_file_uses_throughout(sign, load):
    paths = (("Home", "Bath", "Towels"), ("Home", "Bed"), ("Toys", "Trains"), ("Toys", "Dolls"))
    lines = [f"{n},Thing {n},{sign.join(path)}" for n, path in enumerate(paths)]
    result = load("\n".join(["id,name,category", *lines]))
    assert result.filed == {str(n): " > ".join(path) for n, path in enumerate(paths)}


@pytest.mark.parametrize("sign", ("#", " ~ ", ",", " - ", "\\", "."))
def test_separator_names_what_parts_levels(sign, load):
    paths = (("Home", "Bath"), ("Home", "Bed"), ("Toys",))
    lines = [f'{n},Thing {n},"{sign.join(path)}"' for n, path in enumerate(paths)]
    result = load("\n".join(["id,name,category", *lines]), "--separator", sign)
    assert result.filed == {str(n): " > ".join(path) for n, path in enumerate(paths)}


@pytest.mark.parametrize(
    ("header", "flag"),
    (
        ("id\tname\tgender\tkind", "gender,kind"),
        ("id\tname\tTop level\tSub level", "top level,sub_level"),
        ("id\tname\tx\ty", "3,4"),
    ),
)
def test_levels_from_several_columns(header, flag, load):
    rows = "1\tCap\tMen\tHats\n2\tHat\tMen\t\n3\tFez\t\tHats\n4\tMug\t\t\n"
    result = load(f"{header}\n{rows}", "--column", f"product_type={flag}", suffix="tsv")
    assert result.filed == {"1": "Men > Hats", "2": "Men", "3": "Hats", "4": None}


def test_columns_that_are_known_as_levels_need_no_flag(load):
    result = load(
        "id,name,main_category,sub_category\n1,Cap,Men,Hats\n2,Mug,Kitchen,Mugs\n3,Pan,Kitchen,\n"
    )
    assert result.filed == {"1": "Men > Hats", "2": "Kitchen > Mugs", "3": "Kitchen"}


# ---- one category, one id -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "spellings",
    (
        ("Café > Tasses", "cafe\u0301 > tasses", "CAFÉ > TASSES", "Café > Tasses"),
        ("Hats & Caps", "Hats &amp; Caps", "hats &amp;amp; caps", "Hats & Caps"),
        ("Big  Hats", "Big Hats", "big\u00a0hats", "Big Hats"),
        ("Straße > Schuhe", "STRASSE > SCHUHE", "Straße  >  Schuhe", "Straße > Schuhe"),
    ),
)
def test_one_category_has_one_id_and_the_spelling_that_most_products_have(spellings, load):
    lines = [f"{n},Thing {n},{cell}" for n, cell in enumerate(spellings)]
    result = load("\n".join(["id,name,category", *lines]))
    assert set(result.filed.values()) == {spellings[-1]}


def test_names_and_descriptions_have_no_entities(load):
    result = load("entities.csv")
    assert [row[0] for row in result.rows.values()] == ["Kid's cap", "Kid's hat", "Café mug", "Mug"]
    result = load("id,name,description\n1,Salt &amp; pepper,A &quot;set&quot;\n")
    assert result.rows["1"][0] == "Salt & pepper"


def test_a_number_before_googles_names_is_no_part_of_them(load):
    result = load(
        "<rss xmlns:g='http://base.google.com/ns/1.0'><channel><item><g:id>1</g:id><g:title>Cap"
        "</g:title><g:google_product_category>173 - Apparel &gt; Hats</g:google_product_category>"
        "</item><item><g:id>2</g:id><g:title>Fez</g:title><g:google_product_category>Apparel &gt; "
        "Hats</g:google_product_category></item><item><g:id>3</g:id><g:title>Cap</g:title>"
        "<g:google_product_category>173</g:google_product_category></item></channel></rss>",
        suffix="xml",
    )
    assert result.filed == dict.fromkeys("123", "Apparel > Hats")


def test_googles_numbers_are_named_by_a_file(load, tmp_path):
    assert "--category-names FILE" in load("google_numbers.tsv").stderr
    names = tmp_path / "taxonomy.txt"
    names.write_text("# Google\n173 - Apparel & Accessories > Hats\n", encoding="utf-8")
    result = load("google_numbers.tsv", "--category-names", names)
    assert result.filed == {"1": "Apparel & Accessories > Hats", "2": None}
    assert "1 row without a category: '212' counts as none" in result.stderr
    cells = "id,title,google_product_category\n1,Cap,173.0\n2,Fez,173\n3,Mug,\n"
    result = load(cells, "--category-names", names)
    assert result.filed == {
        "1": "Apparel & Accessories > Hats",
        "2": "Apparel & Accessories > Hats",
        "3": None,
    }


# ---- which column ------------------------------------------------------------------------------


def test_the_column_that_files_most_products_wins_and_the_other_is_named(load):
    flag = "--column product_type=Type"
    result = load("some_with_type.csv")
    assert flag in result.stderr
    result = load("some_with_type.csv", *flag.split())
    assert result.filed == {"cap-a": None, "cap-b": None, "cap-c": "Caps"}
    assert "--column 'product_type=Product Category'" in result.stderr


def test_a_column_that_files_more_than_the_shops_own(load):
    result = load(
        "id,title,product_type,google_product_category\n1,Cap,,Apparel > Hats\n"
        "2,Mug,,Home > Mugs\n3,Fez,Fezzes,Apparel > Hats\n4,Pan,Pans,\n5,Hat,,Apparel > Hats\n"
    )
    assert result.filed["1"] == "Apparel > Hats"
    assert "--column product_type=product_type" in result.stderr


def test_what_is_read_and_what_is_left_unread_is_said(load):
    result = load("plain_category_column.csv")
    assert (
        "product_type (the category): category; image_link: image; item_group_id: none"
        in result.stderr
    )
    assert result.rows["1"][:3] == ("Canvas bag", "Holds much", "https://img.example/1.jpg")
    result = load("id,name,Rayon,Farbe\n1,Cap,Hats,Red\n2,Mug,Mugs,Red\n")
    assert result.filed == {"1": "Hats", "2": "Mugs"}
    assert "not read: Farbe" in result.stderr


def test_the_row_of_another_store_view_is_no_second_product(load):
    result = load("magento.csv")
    assert result.rows["M-2"][0] == "Leather bag"
    assert "feed: 4 rows = 3 products + 1 merged + 0 left out" in result.stdout
    result = load(
        "sku,store_view_code,attribute_set_code,product_type,categories,name\n"
        'A,,Shoes,simple,"Root Shop/Men/Boots,Root Shop/New",Boot\n'
        "A,fr,Shoes,simple,,Botte\nB,,Shoes,virtual,Root Shop/Men,Voucher\n"
    )
    assert result.listed == {"A": ["Men > Boots", "New"], "B": ["Men"]}


# ---- variants and parts -------------------------------------------------------------------------


def test_variants_have_their_parents_category_and_share_its_group(load):
    for result in (
        load("woo_variations.csv"),
        load(
            "item_sku\titem_name\titem_type\tparent_sku\tmain_image_url\n"
            "T-R\tTee red\t\tT\t\nT\tTee\ttees\t\t\nT-B\tTee blue\t\tT\t\n",
            suffix="tsv",
        ),
        load(
            "ID,Type,SKU,Name,Categories,Parent\n5,variation,t-r,Tee red,,tee\n"
            "6,variable,tee,Tee,Clothing > Tees,\n7,variation,t-b,Tee blue,,id:6\n"
        ),
    ):
        assert len(set(result.filed.values())) == 1 and None not in result.filed.values()
        assert len({row[3] for row in result.rows.values()}) == 1
        assert len(result.rows) in (3, 4)


def test_rows_of_variants_and_pictures_are_no_faults(load):
    result = load("wix.csv")
    assert "feed: 3 rows = 2 products + 1 merged + 0 left out" in result.stdout
    assert "left out" not in result.stderr
    assert result.rows["p1"][2] == "aa_1~mv2.jpg"
    result = load(
        "Handle,Title,Body (HTML),Type,Image Src,Image Position\nmug,Mug,Warm,Mugs,"
        "https://img.example/2.jpg,2\nmug,,,,https://img.example/1.jpg,1\n"
        "pan,Pan,Hot,Pans,,\n"
    )
    assert "feed: 3 rows = 2 products + 1 merged + 0 left out" in result.stdout
    assert result.rows["mug"][2] == "https://img.example/1.jpg"


# ---- systems and bytes --------------------------------------------------------------------------


def test_the_header_is_found_below_other_lines_and_it_is_said(load):
    assert "header" in load("amazon_flat_file.tsv").stderr
    assert "header" in load("front_matter.tsv").stderr
    result = load("Stock of 1 May\n\nPrepared by the shop;;\nSKU;Name;Category\n7;Cap;Hats\n")
    assert result.filed == {"7": "Hats"}
    assert "line 4" in result.stderr


def test_a_file_without_a_header_ends_in_a_sentence(load, tmp_path):
    result = run_script("crawl", "--feed", CASES / "no_header.csv", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == "" and not (tmp_path / "crawl.db").exists()
    assert "--column id=1 --column title=2" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_encoding_is_named_before_anything_is_said_of_columns(load, tmp_path):
    result = run_script("crawl", "--feed", CASES / "cp1252_header.csv", cwd=tmp_path)
    assert result.returncode == 2
    assert "--encoding cp1252" in result.stderr and "column" not in result.stderr
    assert load("cp1252_header.csv", "--encoding", "cp1252").rows["1"][0] == "Schürze"


def test_pictures_of_objects_and_descriptions_of_several_texts(load):
    images = {name: row[2] for name, row in load("jsonld.json").rows.items()}
    assert images == {"J1": "https://img.example/j1.jpg", "J2": "https://img.example/j2.jpg"}
    assert load("gretail.jsonl").rows["R2"][2] == "https://img.example/r2.jpg"
    assert load("amazon_meta.jsonl").rows["A1"][1] == "Keeps things cold. For years."
    assert load("flipkart_tree.csv").rows["a1"][2] == "https://img.example/1.jpeg"
    assert load("heureka.xml").rows["7"][:2] == ("Čepice", "Teplá")


def test_items_with_a_broken_letter_are_mended(load):
    assert load("ampersand.xml").rows["1"][0] == "Salt & pepper"
    assert load("control_char.xml").rows["1"][0] == "Salt pepper"


@pytest.mark.parametrize("sign", (",", "\\", "~"))
def test_a_sign_that_may_part_levels_is_named_with_the_flag_that_makes_it_do_so(sign, load):
    rows = [f'{n},T,"{top}{sign}{leaf}"' for n, (top, leaf) in enumerate(("AB", "AC", "DE", "DF"))]
    text = "\n".join(["id,name,category", *rows])
    (line,) = [line for line in load(text).stderr.splitlines() if "--separator" in line]
    flags = shlex.split(line[line.index("--separator") :])
    assert load(text, *flags).filed == {"0": "A > B", "1": "A > C", "2": "D > E", "3": "D > F"}
