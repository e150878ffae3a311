"""Kinds of faults that catalogue files of real shops showed: how each is read, and what is said."""

import pytest

from common.terminal import UserError
from crawling import feed_products, feed_reading, feed_survey, feed_understood
from crawling.feed_names import column_name, without_language
from crawling.feed_types import FeedFile, LeftOut, ReadOptions


@pytest.fixture
def load(tmp_path):
    """Writes a file, reads it, and gives (Reading, products by id, lines that say how)."""

    def load_text(text, name="feed.csv", columns=None):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        options = feed_reading.SurveyOptions(ReadOptions(columns or {}))
        reading = feed_survey.survey([FeedFile(str(path), name=name)], options)
        products = list(feed_products.read_products(reading, LeftOut()))
        lines = feed_understood.understood(reading) + feed_understood.remarks(reading)
        return reading, {product.external_id: product for product in products}, "\n".join(lines)

    return load_text


def table(*rows):
    return "".join(f"{row}\n" for row in rows)


# ---- texts in several languages -----------------------------------------------------------------


@pytest.mark.parametrize("name", ("name_de", "name.en", "name-pt_BR", "name [fr]", "Name en-US"))
def test_a_name_may_end_with_its_language(name):
    assert without_language(column_name(name)) == "name"


@pytest.mark.parametrize("name", ("product_id", "item no", "item id [id]", "name_new", "de", "id"))
def test_other_names_have_no_language(name):
    assert without_language(column_name(name)) == column_name(name)


def test_the_first_language_that_a_product_has_is_read(load):
    _, products, said = load(
        table(
            "sku,name_de,name_tr,description-en_US,category.de",
            "1,Hut,Sapka,A hat,Kleidung > Hut",
            "2,,Kazak,,Kleidung",
        )
    )
    assert (products["1"].name, products["1"].description) == ("Hut", "A hat")
    assert products["1"].categories == (("Kleidung", "Hut"),)
    assert products["2"].name == "Kazak"
    assert "title: name_de (otherwise name_tr);" in said


def test_a_column_without_a_language_comes_first(load):
    _, products, _ = load(table("id,title_fr,title", "1,Chapeau,Hat"))
    assert products["1"].name == "Hat"


def test_objects_by_language_in_json(load):
    _, products, _ = load(
        '[{"key": "a", "sku": "1", "name": {"en": "Hat", "de": "Hut"}},'
        ' {"key": "b", "sku": "2", "name": {"en": "Bag", "de": "Tasche"}}]',
        "feed.json",
    )
    assert [product.name for product in products.values()] == ["Hat", "Bag"]


@pytest.mark.parametrize("attribute", ("lang", "xml:lang"))
def test_elements_in_several_languages_are_not_glued_together(load, attribute):
    item = (
        '<offer id="{}"><name LANG="ru">{}</name><name LANG="ua">{}</name>'
        '<category LANG="ru">A</category><category LANG="ru">B</category></offer>'
    ).replace("LANG", attribute)
    _, products, _ = load(
        f"<offers>{item.format(1, 'Shlyapa', 'Kapelyukh')}{item.format(2, 'Sumka', 'Torba')}"
        "</offers>",
        "feed.xml",
    )
    assert [product.name for product in products.values()] == ["Shlyapa", "Sumka"]
    assert sum(products["1"].categories, ()) == ("A", "B")


# ---- columns whose names promise something else -------------------------------------------------


def test_what_a_shop_system_calls_a_product_type_is_no_category(load):
    _, products, said = load(
        table(
            "id,Title,Product Type,parent_id,Product categories",
            "1,Hat,simple,0,Clothes>Hats|Clothes>Caps",
            "2,Bag,variable,0,Clothes>Bags",
        )
    )
    assert products["2"].categories == (("Clothes", "Bags"),)
    assert products["1"].categories == (("Clothes", "Hats"), ("Clothes", "Caps"))
    assert "product_type (the category): Product categories;" in said
    assert "not read: Product Type" in said


@pytest.mark.parametrize("nothing", ("0", "none", "N/A", "-"))
def test_a_word_for_nothing_is_no_item_group(load, nothing):
    _, products, _ = load(
        table("id,title,item_group_id", f"1,Hat,{nothing}", f"2,Bag,{nothing}", "3,Cap,7")
    )
    assert [product.group for product in products.values()] == ["", "", "7"]


def test_a_dialects_file_may_have_its_category_in_a_column_of_the_usual_names(load):
    """Google's columns, and Category in Greek."""
    _, products, _ = load(
        table("id,title,image_link,Κατηγορία", "1,Hat,http://a/1.jpg,A", "2,Bag,http://a/2.jpg,B")
    )
    assert products["1"].categories == (("A",),)


# ---- what is said -------------------------------------------------------------------------------


def test_columns_that_are_proposed_as_a_category_have_names_in_them(load):
    rows = [f"{n},P{n},http://a/c/{n % 4},{n % 2 == 0},A > B{n % 4}" for n in range(60)]
    _, _, said = load(table("id,name,category_url,is_new,place", *rows))
    assert "column 'place' is not read, but looks like a category (A > B0, A > B1, A > B2" in said
    assert "column 'category_url'" not in said and "column 'is_new'" not in said


def test_if_all_products_are_filed_only_a_finer_column_is_proposed(load):
    rows = [f"{n},P{n},A{n % 4},R{n % 2},F{n % 8}" for n in range(60)]
    _, _, said = load(table("id,name,category,root_category,fine_category", *rows))
    assert "column 'fine_category' is not read, but looks like a category" in said
    assert "column 'root_category'" not in said


def test_a_list_is_not_said_to_be_parted_by_a_sign_that_is_not_in_it(load):
    _, _, said = load(table("id,name,breadcrumb", '1,Hat,"[""A"",""B""]"', '2,Cap,"[""A"",""C""]"'))
    assert "is read as 2 levels: A > " in said


@pytest.mark.parametrize(
    ("header", "flag"), (("Name,Price,Link", "id=Link"), ("Brand,Title,Price", "id=Title"))
)
def test_a_file_without_an_id_is_offered_what_else_tells_products_apart(load, header, flag):
    with pytest.raises(UserError, match=f"if there is none, --column {flag} will do") as error:
        load(table(header, "a,b,c"))
    field, name = flag.split("=")
    assert field in str(error.value)
    _, products, _ = load(table(header, "a,b,c"), columns={field: name})
    assert len(products) == 1


def test_a_category_without_a_name_is_reported(load):
    offers = "".join(
        f'<offer id="{n}"><name>Hat</name><price>1</price><categoryId>{c}</categoryId></offer>'
        for n, c in ((1, 5), (2, 6), (3, 6))
    )
    _, products, said = load(
        '<yml_catalog><shop><categories><category id="5">Hats</category></categories>'
        f"<offers>{offers}</offers></shop></yml_catalog>",
        "feed.xml",
    )
    assert products["1"].categories == (("Hats",),) and products["2"].categories == ()
    assert (
        "2 products without a category: the file does not say what its category '6' is called"
    ) in said


def test_two_columns_of_groups_are_two_levels(load):
    _, products, _ = load(
        "Artikelnummer\tKurzbez.\tWarengruppe\tWarenuntergruppe\n1\tH-1\tMode\tHut\n"
    )
    assert products["1"].categories == (("Mode", "Hut"),)


# ---- what a system's documentation says, and a shop does otherwise ------------------------------


@pytest.mark.parametrize("sign", (" > ", " | ", "/"))
def test_levels_may_be_parted_otherwise_than_the_documentation_says(load, sign):
    offers = "".join(
        f"<Offer><Name>Hat {n}</Name><Code>{n}</Code><Image>http://a/{n}.jpg</Image>"
        f"<Categories>Clothes{sign.replace('>', '&gt;')}Kind {n % 3}</Categories></Offer>"
        for n in range(9)
    )
    _, products, _ = load(f"<Products>{offers}</Products>", "feed.xml")
    assert products["1"].categories == (("Clothes", "Kind 1"),)


def test_a_documented_sign_wins_if_it_is_there(load):
    offer = (
        "<Offer><Name>Hat</Name><Code>{0}</Code><Image>http://a/{0}.jpg</Image>"
        "<Categories>Clothes,A/C {0}</Categories></Offer>"
    )
    _, products, _ = load(f"<Products>{offer.format(1)}{offer.format(2)}</Products>", "feed.xml")
    assert products["1"].categories == (("Clothes", "A/C 1"),)


def test_a_title_made_of_several_columns_is_said(load):
    offer = (
        '<offer id="{}"><vendor>Acme</vendor><model>H{}</model><url>http://a</url>'
        "<categoryId>1</categoryId></offer>"
    )
    _, products, said = load(
        f"<shop><offers>{offer.format(1, 1)}{offer.format(2, 2)}</offers></shop>", "feed.xml"
    )
    assert products["1"].name == "Acme H1"
    assert "title: vendor and model;" in said


def test_rows_of_an_export_that_were_added_by_hand_have_a_code_and_no_id(load):
    _, products, said = load(
        table(
            "ID,Type,UGS,Nom,Catégories,Parent",
            '7,simple,A-7,Chapeau,"Mode, Été > Plage",',
            ",simple,A-8,Sac,Mode,",
        )
    )
    assert [product.name for product in products.values()] == ["Chapeau", "Sac"]
    assert list(products) == ["7", "A-8"]
    assert products["7"].categories == (("Été", "Plage"), ("Mode",))
    assert "read as a file of WooCommerce" in said


def test_ids_of_categories_without_names_are_proposed(load):
    offer = (
        '<offer id="{0}"><name>Hat {0}</name><price>1</price><categoryId>{1}</categoryId></offer>'
    )
    offers = "".join(offer.format(n, n % 3) for n in range(6))
    _, products, said = load(f"<shop><offers>{offers}</offers></shop>", "feed.xml")
    assert len(products) == 6
    assert "--column product_type=categoryId" in said


# ---- shapes -------------------------------------------------------------------------------------


def test_what_the_products_of_json_lines_list_are_parts_of_them(load):
    line = (
        '{{"productCode":"{0}","content":{{"productName":"Hat {0}"}},"bundledProducts":'
        '[{{"productCode":"x{0}","productName":"Part"}},{{"productCode":"y{0}","productName":"Z"}}]}}'
    )
    _, products, _ = load(table(*(line.format(n) for n in range(3))), "feed.jsonl")
    assert {number: product.name for number, product in products.items()} == {
        "0": "Hat 0",
        "1": "Hat 1",
        "2": "Hat 2",
    }


def test_lines_that_are_pages_of_products_are_no_products(load):
    page = '{{"page":{0},"products":[{{"id":"a{0}","title":"Hat"}},{{"id":"b{0}","title":"Cap"}}]}}'
    _, products, _ = load(table(page.format(1), page.format(2)), "feed.jsonl")
    assert list(products) == ["a1", "b1", "a2", "b2"]


@pytest.mark.parametrize("wrapper", ("attributes", "fields"))
def test_an_object_may_wrap_the_fields_of_a_product(load, wrapper):
    item = '{{"id":"{0}","type":"product","{1}":{{"name":"Hat {0}","category":"Hats"}}}}'
    items = ",".join(item.format(n, wrapper) for n in range(2))
    _, products, _ = load(f'{{"data":[{items}]}}', "feed.json")
    assert [product.name for product in products.values()] == ["Hat 0", "Hat 1"]
    assert products["1"].categories == (("Hats",),)


@pytest.mark.parametrize("sign", (",", ";"))
def test_blanks_behind_a_closing_quote_are_no_text(load, sign):
    rows = [
        "name  ,sku ,description               ",
        'Hat   ,1   ,"Red, with a 5"" band"     ',
        '"Cap" ,"2" ,"Two',
        'lines"                              ',
        'Bag   ,3   ,"He said ""no"" ; twice" ',
    ]
    if sign == ";":
        rows = [row.replace(",", ";") for row in rows]
    _, products, _ = load(table(*rows))
    assert [product.name for product in products.values()] == ["Hat", "Cap", "Bag"]
    assert products["1"].description.endswith('with a 5" band')
    assert products["2"].description.split() == ["Two", "lines"]


@pytest.mark.parametrize("encoding", ("gb18030", "cp932", "big5"))
@pytest.mark.parametrize("more", range(4))
def test_no_letter_is_cut_where_the_encoding_is_guessed(tmp_path, encoding, more):
    words = {
        "gb18030": "新华书店正版小说全集包邮现货图书中国历史文学名著青少年版课外阅读书籍",
        "cp932": "日本語の説明文です。このカメラは高性能で、とても使いやすい商品になっています。",
        "big5": "這是一個關於商品的說明文字，適合在家裡使用，歡迎選購我們的產品與服務。",
    }[encoding]
    rows = [f"{n},{'x' * (more + n % 3)}{words}" for n in range(200)]
    path = tmp_path / "feed.csv"
    path.write_bytes(table("id,name", *rows).encode(encoding))
    with pytest.raises(UserError, match=f"say --encoding {encoding}"):
        feed_survey.survey([FeedFile(str(path), name="feed.csv")], feed_reading.SurveyOptions())


# ---- a row for each category of a product -------------------------------------------------------


def test_rows_of_a_product_that_stand_together_may_each_have_a_category(load):
    reading, products, _ = load(
        table(
            "id,name,category,image",
            "1,Hat,Sale,http://a/1.jpg",
            "1,Hat,Clothes > Hats,http://a/1.jpg",
            "1,Hat,Summer,http://a/2.jpg",
            "2,Cap,Sale,http://a/3.jpg",
        )
    )
    assert products["1"].categories == (("Clothes", "Hats"), ("Sale",), ("Summer",))
    assert products["1"].images == ("http://a/1.jpg", "http://a/2.jpg")
    assert (reading.rows, reading.merged, len(products)) == (4, 2, 2)


@pytest.mark.parametrize("row", ("1,Hat,Sale", "1,Another hat,Clothes", "1,Hat,"))
def test_other_rows_with_the_same_id_are_not_merged(load, row):
    reading, products, _ = load(table("id,name,category", "1,Hat,Sale", row, "2,Cap,Clothes"))
    assert reading.merged == 0
