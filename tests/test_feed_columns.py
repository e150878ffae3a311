"""Which column of a feed is what: names in any spelling and language, and what --column says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.terminal import UserError
from crawling import feed_columns
from crawling.feed_columns import (
    category_source,
    category_value,
    check_columns,
    column_name,
    field_text,
    fields_there,
    find_layout,
    header_rank,
    named_source,
)
from crawling.feed_dialects import PLAIN, recognise
from crawling.feed_names import known_names


def fields(*names, columns=None):
    """{field: the names of the columns that hold it} of a plain file with these columns."""
    dialect = recognise([column_name(name) for name in names])
    layout = find_layout(names, dialect, columns or {}, False)
    return {
        field: [names[position] for position in positions]
        for field, positions in layout.positions.items()
        if positions
    }


def text(names, values, field, columns=None):
    layout = find_layout(tuple(names), PLAIN, columns or {}, False)
    return field_text(values, layout, field)


# ---- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "known"),
    (
        ("image_link", "image_link"),
        ("Image Link", "image_link"),
        ("IMAGE-LINK", "image_link"),
        (" image  link ", "image_link"),
        ("g:image_link", "image_link"),
        ("image link [image_link]", "image_link"),
        ("Bildlink [image_link]", "image_link"),
        ("image[0].url", "image[0].url"),
        ("\ufeffid", "id"),
        ("id*", "id"),
        ("title #", "title"),
        ("*", "*"),
        ("Categories (x, y, z...)", "categories_(x,y,z)"),
        ("Categories (x,y,z)", "categories_(x,y,z)"),
        ("Body (HTML)", "body_(html)"),
        ("ＩＤ", "id"),
        ("AÇIKLAMA", "açiklama"),
        ("Açıklama", "açiklama"),
        ("İSİM", "isim"),
        ("Cafe\u0301", "café"),
        ("", ""),
    ),
)
def test_a_column_is_known_in_any_spelling(written, known):
    assert column_name(written) == known


@pytest.mark.parametrize(
    ("names", "found"),
    (
        # language: (id, title, description, category, picture)
        ("de", "Artikelnummer Bezeichnung Beschreibung Warengruppe Bild"),
        ("fr", "Référence Désignation Descriptif Catégorie Photo"),
        ("es", "Código Nombre Descripción Categoría Imagen"),
        ("it", "Codice Nome Descrizione Categoria Immagine"),
        ("nl", "Artikelcode Naam Beschrijving Rubriek Afbeelding"),
        ("pl", "Indeks Nazwa Opis Kategoria Zdjęcie"),
        ("pt", "Código Nome Descrição Categoria Imagem"),
        ("cs", "Kód Název Popis Kategorie Obrázek"),
        ("sv", "Varunummer Benämning Beskrivning Varugrupp Bild"),
        ("da", "Varenummer Navn Beskrivelse Varegruppe Billede"),
        ("fi", "Tuotekoodi Tuotenimi Kuvaus Tuoteryhmä Kuva"),
        ("hu", "Cikkszám Megnevezés Leírás Kategória Kép"),
        ("ro", "Cod Denumire Descriere Categorie Imagine"),
        ("el", "Κωδικός Ονομασία Περιγραφή Κατηγορία Εικόνα"),
        ("ru", "Артикул Наименование Описание Категория Фото"),
        ("uk", "Код_товару Назва Опис Категорія Зображення"),
        ("tr", "STOK_KODU ÜRÜN_ADI AÇIKLAMA KATEGORİ RESİM"),
        ("ja", "商品コード 商品名 商品説明 カテゴリ 商品画像"),
        ("zh", "货号 商品名称 商品描述 分类 图片"),
        ("ko", "상품코드 상품명 상세설명 카테고리 이미지"),
        ("en", "SKU Name Description Category Image"),
    ),
)
def test_columns_are_known_in_many_languages(names, found):
    columns = [name.replace("_", " ") for name in found.split()]
    got = fields("Preis", *columns)
    for field, column in zip(("id", "title", "description", "product_type", "image_link"), columns):
        assert got[field][0] == column, names
    assert header_rank(columns, {}) == 2


def test_of_several_names_the_best_comes_first():
    assert fields("code", "sku", "id", "name", "title")["id"] == ["id", "sku", "code"]
    assert fields("image", "image_2", "Image 1", "id", "name")["image_link"] == [
        "image", "image_2", "Image 1",
    ]  # fmt: skip


def test_advice_in_brackets_does_not_matter():
    assert fields("ID (required)", "Name (max. 80)", "Category (path)")["title"] == [
        "Name (max. 80)"
    ]


@pytest.mark.parametrize(
    ("header", "id_name", "title", "category"),
    (
        ("Part No.,Part Name,Price", "Part No.", "Part Name", None),
        ("Item Code,Item Description,Product Group", "Item Code", "Item Description", "Product Group"),
        ("ordernumber,name,categories", "ordernumber", "name", "categories"),
        ("article_id,product_code,prod_name", "article_id", "prod_name", None),
        ("index,product,category", "index", "product", "category"),
        ("ID,Código,Descrição,Categoria", "ID", "Descrição", "Categoria"),
        ("Product ID [Non Editable],Title,Categories", "Product ID [Non Editable]", "Title", "Categories"),
        ("External ID,Name,Product Category/Complete Name", "External ID", "Name",
         "Product Category/Complete Name"),
    ),
)  # fmt: skip
def test_columns_of_other_systems_are_known(header, id_name, title, category):
    found = fields(*header.split(","))
    assert (found["id"][0], found["title"][0]) == (id_name, title)
    assert found.get("product_type", [None])[0] == category


def test_a_tag_of_a_picture_is_no_picture():
    assert fields("id", "title", "image[0].url", "image[0].tag[0]")["image_link"] == [
        "image[0].url"
    ]


# ---- the header ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "columns", "rank"),
    (
        (["Handle", "Title", "Body (HTML)"], {}, 3),
        (["id", "title", "image_link", "x"], {}, 3),
        (["sku", "name", "colour"], {}, 2),
        (["Artikelnummer", "Bezeichnung"], {}, 2),
        (["X", "Y"], {"id": "x", "title": "Y"}, 2),
        (["X", "name"], {"id": "x"}, 2),
        (["X", "Y", "Z"], {"id": "x", "title": "{y} {z}"}, 2),
        (["X", "Y"], {"id": "1", "title": "2"}, 0),  # numbers name no header
        (["name", "colour"], {}, 1),
        (["name"], {}, 1),
        (["name", "name"], {}, 1),
        (["X", "Y"], {"id": "z"}, 0),
        (["1", "Paper plane", "Toys"], {}, 0),
        (["", ""], {}, 0),
        ([], {}, 0),
    ),
)
def test_how_surely_cells_are_a_header(cells, columns, rank):
    assert header_rank(cells, columns) == rank


def test_a_header_with_very_many_cells_is_ranked_by_its_first():
    assert header_rank(["x"] * 1_000_000 + ["id", "name"], {}) == 0
    assert header_rank(["id", "name"] + ["x"] * 1_000_000, {}) == 2


# ---- --column -----------------------------------------------------------------------------------

NAMES = ("Art No", "Kind", "Sub kind", "Pic", "2")


@pytest.mark.parametrize(
    ("wanted", "value"),
    (
        ("kind", "Hats"),
        ("KIND", "Hats"),
        ("sub kind", "Felt"),
        ("sub_kind", "Felt"),
        ("1", "7"),
        ("2", "p.jpg"),  # a column of that name comes before the number
        ("4", "a/b"),
        ("pics/{Art No}.jpg", "pics/7.jpg"),
        ("{1}-{kind}.png", "7-Hats.png"),
        ("{kind}", "Hats"),
    ),
)
def test_column_names_a_column_a_number_or_a_template(wanted, value):
    values = ("7", "Hats", "Felt", "a/b", "p.jpg")
    assert text(NAMES, values, "image_link", {"image_link": wanted}) == value


@pytest.mark.parametrize(
    "wanted", ("6", "0", "-1", "colour", "{colour}.jpg", "kind,colour", "٣", "")
)
def test_a_column_that_is_not_there_is_a_sentence(wanted):
    columns = {"id": "1", "title": "2", "image_link": wanted}
    layout = find_layout(NAMES, PLAIN, columns, False)
    with pytest.raises(UserError) as error:
        check_columns("feed.csv", NAMES, fields_there(layout), columns, True)
    assert str(error.value) == (
        f"feed.csv has no column {wanted!r} for --column image_link: name one that it has; "
        "found: 'Art No', 'Kind', 'Sub kind', 'Pic', '2'"
    )


def test_a_name_with_braces_or_commas_of_its_own_is_a_name():
    names = ("id", "name", "Kind, sub", "{x}")
    assert fields(*names, columns={"product_type": "kind, sub"})["product_type"] == ["Kind, sub"]
    assert text(names, ("1", "n", "k", "v"), "image_link", {"image_link": "{x}"}) == "v"


@pytest.mark.parametrize("values", (("", "Hats"), ("7",), ("7", " ")))
def test_a_template_with_an_empty_column_gives_nothing(values):
    assert text(("id", "kind"), values, "image_link", {"image_link": "{id}/{kind}.jpg"}) == ""


def test_a_field_that_there_is_not_is_a_sentence():
    with pytest.raises(UserError, match="--column knows no field colour: name one of id, title, "):
        feed_columns.check_fields({"colour": "x", "id": "y"})


def test_without_id_or_title_a_sentence_says_how_to_name_them():
    def sentence(names, header=True):
        with pytest.raises(UserError) as error:
            layout = find_layout(names, PLAIN, {}, False)
            check_columns("feed.csv", names, fields_there(layout), {}, header)
        return str(error.value)

    assert sentence(("name", "colour")) == (
        "feed.csv has no column id: say which it is, for example --column id=HEADER; "
        "if there is none, --column id=name will do; found: 'name', 'colour'"
    )
    assert sentence(("a", "b")).startswith("feed.csv has no column whose name is known: ")
    assert sentence(("a", "b"), header=False).startswith("feed.csv has no column id, title: say")
    many = sentence(tuple(f"column {number}" for number in range(50_000)))
    assert many.endswith(" and 49,980 more") and len(many) < 1_000


# ---- where the category is ----------------------------------------------------------------------


def category(names, values, wanted=None, alias=None):
    known = known_names(tuple(names))
    source = named_source(known, wanted) if wanted else category_source(known, alias)
    return source and category_value(values, source)


def test_a_category_of_several_columns_is_one_path():
    names = ("Top", "Middle", "Leaf")
    assert category(names, ("A", "B", "C"), "top,middle,leaf") == (("A", "B", "C"),)
    assert category(names, ("A", "B", "C"), "leaf, 1") == (("C", "A"),)
    assert category(names, ("A", "", "C"), "top,middle,leaf") == (("A", "C"),)
    assert category(names, ("A",), "top,middle,leaf") == (("A",),)
    assert category(names, ("", " "), "top,middle,leaf") == ""
    assert category(names, ("A", "B", "C"), "top,none") is None
    assert category(names, ("A", "B", "C"), "{top} > {leaf}") == "A > C"


def test_an_alias_of_several_columns_needs_all_of_them():
    assert category(("Category", "Sub-category"), ("A", "B"), alias="category,sub_category") == (
        ("A", "B"),
    )
    assert category(("Category",), ("A",), alias="category,sub_category") is None
    assert category(("Level 1", "Level 2"), ("A", "B"), alias="level_#,") == (("A", "B"),)
    assert category(("Level 1",), ("A",), alias="level_#,") is None


def test_the_first_column_with_a_category_is_taken():
    names = ("category", "category.name")
    assert category(names, ("", "Hats"), alias="category") == "Hats"
    assert category(names, ("Caps", "Hats"), alias="category") == "Caps"


# ---- values -------------------------------------------------------------------------------------


def test_the_first_column_that_has_a_text_is_taken():
    names = ("id", "name", "description", "summary")
    assert text(names, ("1", "n", "", " short "), "description") == "short"
    assert text(names, ("1", "n"), "description") == ""
    assert text(names, ("1", "n", ("Warm.", ("", "Soft."))), "description") == "Warm. Soft."


def test_two_columns_may_together_be_a_title():
    yandex = recognise(["@id", "categoryid", "url"])
    layout = find_layout(("@id", "typePrefix", "vendor", "model"), yandex, {}, False)
    assert field_text(("1", "Kettle", "", "K-2"), layout, "title") == "Kettle K-2"
    assert "title" in fields_there(layout)


@given(
    st.lists(st.text(max_size=12) | st.sampled_from(["id", "name", "category"]), max_size=8),
    st.dictionaries(st.sampled_from(feed_columns.FIELDS), st.text(max_size=8)),
    st.lists(st.text(max_size=5), max_size=8),
)
def test_any_names_and_any_values_are_read(names, columns, values):
    names = tuple(names)
    assert header_rank(names, columns) in (0, 1, 2, 3)
    layout = find_layout(names, PLAIN, columns, True)
    assert fields_there(layout) <= set(PLAIN.columns) | set(columns)
    for field in feed_columns.FIELDS:
        assert field_text(values, layout, field) == field_text(values, layout, field).strip()


def test_a_table_without_a_header_and_without_an_id_says_how_to_name_one():
    sentence = "no column is named for id: name one by its number, such as --column id=1"
    with pytest.raises(UserError, match=sentence):
        feed_columns.check_columns("f.csv", ("1", "2"), {"title"}, {"title": "2"}, True)
