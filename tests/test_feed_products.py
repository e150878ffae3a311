"""The second pass over a feed: rows become products, and each row is accounted for."""

import csv
import io
import itertools
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.terminal import UserError
from common.text import clean_text
from crawling import feed_products, feed_survey
from crawling.feed_reading import SurveyOptions
from crawling.feed_types import FeedFile, LeftOut, ReadOptions


class Read:
    """The products of a file, and what became of its rows."""

    def __init__(self, path, columns=None, **options):
        file = FeedFile(str(path), name="feed")
        self.reading = feed_survey.survey(
            [file], SurveyOptions(ReadOptions(columns or {}), **options)
        )
        self.left_out = LeftOut()
        self.products = list(feed_products.read_products(self.reading, self.left_out))
        self.by_id = {product.external_id: product for product in self.products}

    @property
    def account(self):
        """(rows, products, merged, left out)"""
        return (self.reading.rows, len(self.products), self.reading.merged, self.left_out.rows)


@pytest.fixture
def read(tmp_path):
    def read(*lines, **options):
        path = tmp_path / "feed"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return Read(path, **options)

    return read


# ---- merging ------------------------------------------------------------------------------------

SHOPIFY = "Handle,Title,Body (HTML),Type,Image Src,Image Position"


def test_rows_of_one_product_are_one_and_its_pictures_are_in_their_order(read):
    result = read(
        SHOPIFY,
        "mug,Mug,,Mugs,https://x.example/3.jpg,3",
        "mug,,Warm.,,https://x.example/1.jpg,1",
        "mug,,Hot.,Cups,https://x.example/2.jpg,2",
        "mug,,,,https://x.example/2.jpg,4",
        "mug,,,,https://x.example/0.jpg,",
        "pan,Pan,,Pans,,",
    )
    assert result.account == (6, 2, 4, 0)
    mug = result.by_id["mug"]
    assert [link[-5] for link in mug.images] == ["1", "2", "3", "0"]
    assert (mug.name, mug.description, mug.categories) == ("Mug", "Warm.", (("Mugs",),))
    assert mug.line == 2


def test_a_product_that_stands_twice_in_a_plain_file_is_not_merged(read):
    result = read("id,name,category", "1,Cap,Hats", "1,Fez,Hats", "2,Mug,Mugs")
    assert result.account == (3, 3, 0, 0)  # feed_import leaves the repeated id out, and names it


def test_a_row_with_the_id_above_and_no_title_says_more_of_the_same_product(read):
    result = read("id,name,image", "1,Cap,a.jpg", "1,,b.jpg", "2,,c.jpg")
    assert result.account == (3, 1, 1, 1)
    assert result.by_id["1"].images == ("a.jpg", "b.jpg")
    assert result.left_out.sentences() == ["line 4 (id 2): no title"]


def test_of_parts_only_the_pictures_count(read):
    result = read(
        "handleId,fieldType,name,description,productImageUrl,collection",
        "p1,Variant,,,,",
        "p1,Product,Card,,https://x.example/a.jpg,",
        "p1,Variant,Red card,In red,https://x.example/b.jpg,Sale",
        "p2,Product,Pen,Writes,,Pens",
    )
    assert result.account == (4, 2, 1, 1)
    assert result.left_out.sentences() == ["line 2: no product stands above this part of one"]
    card = result.by_id["p1"]
    assert (card.name, card.description, card.categories) == ("Card", "", ())
    assert card.images == ("https://x.example/a.jpg", "https://x.example/b.jpg")


def test_very_many_pictures_of_a_product_are_bounded(read):
    rows = (f"mug,,,,https://x.example/{n}.jpg,{n}" for n in range(2, 3_000))
    result = read(SHOPIFY, "mug,Mug,,,https://x.example/1.jpg,1", *rows)
    assert result.account == (2_999, 1, 2_998, 0)
    assert [link[18:] for link in result.by_id["mug"].images] == [f"{n}.jpg" for n in range(1, 11)]


# ---- other languages ----------------------------------------------------------------------------

MAGENTO = "sku,store_view_code,attribute_set_code,categories,name"


def test_a_row_in_another_language_is_no_second_product(read):
    result = read(
        MAGENTO, "A,,S,Shop/Hats,Cap", "A,fr,S,,Casquette", "B,,S,Shop/Mugs,Mug", ",de,S,,"
    )
    assert result.account == (4, 2, 2, 0)
    assert result.by_id["A"].name == "Cap"


def test_a_file_of_one_language_has_its_products(read):
    result = read(MAGENTO, "A,en,S,Shop/Hats,Cap", "A,fr,S,,Casquette", "B,en,S,Shop/Mugs,Mug")
    assert result.account == (3, 2, 1, 0)
    assert {product.name for product in result.products} == {"Cap", "Mug"}


# ---- variants -----------------------------------------------------------------------------------

WOO = "ID,Type,SKU,Name,Categories,Parent"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_variant_names_its_parent_wherever_that_stands(order, read):
    rows = ("5,variable,tee,Tee,Tees,", "6,variation,,Red,,tee", "7,variation,,Blue,,id:5")
    result = read(WOO, *(rows[number] for number in order))
    assert {name: product.parent for name, product in result.by_id.items()} == {
        "5": "", "6": "5", "7": "5",
    }  # fmt: skip


def test_a_parent_that_is_not_there_is_kept_as_it_is_named(read):
    result = read(WOO, "6,variation,,Red,,tee", "7,simple,,Blue,,0", "8,simple,x,Own,,id:8")
    assert {name: product.parent for name, product in result.by_id.items()} == {
        "6": "tee", "7": "", "8": "",
    }  # fmt: skip


@pytest.mark.parametrize("name", ("parent_id", "Parent SKU", "parent_asin"))
def test_a_plain_file_names_parents_too(name, read):
    result = read(f"sku,name,category,{name}", "R,Red tee,,T", "T,Tee,Tees,", "M,Mug,Mugs,0")
    assert [product.parent for product in result.products] == ["T", "", ""]
    assert [product.group for product in result.products] == ["", "", ""]


def test_a_parent_that_lists_its_variants(read):
    result = read(
        "sku,attribute_set_code,product_type,categories,name,configurable_variations",
        'T,S,configurable,Default Category/Tees,Tee,"sku=T-R,colour=Red|sku=T-B,colour=Blue"',
        "T-R,S,simple,,Red tee,",
        "T-B,S,simple,,Blue tee,",
        "U,S,simple,Default Category/Mugs,Mug,",
    )
    assert {name: product.parent for name, product in result.by_id.items()} == {
        "T": "", "T-R": "T", "T-B": "T", "U": "",
    }  # fmt: skip


# ---- fields -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "shown"),
    (
        ("Salt &amp; pepper", "Salt & pepper"),
        ("Salt &amp;amp; pepper", "Salt & pepper"),
        ("  Cap ", "Cap"),
        ("Cap&nbsp;", "Cap"),
        ("'+1 tune", "+1 tune"),
        ("'=1+1", "=1+1"),
        ("'s-Gravenhage", "'s-Gravenhage"),
        ("Un chapeau d'été", "Un chapeau d'été"),
    ),
)
def test_a_title_is_shown_without_entities_and_a_spreadsheets_quote(written, shown, read):
    assert read("id,name", f"1,{written}").by_id["1"].name == shown


@pytest.mark.parametrize("title", ("", "  ", "&nbsp;", "\u00a0"))
def test_a_product_without_a_title_is_left_out_by_its_id(title, read):
    result = read("id,name,colour", f"7,{title},red", "8,Cap,")
    assert result.left_out.sentences() == ["line 2 (id 7): no title"]
    assert result.account == (2, 1, 0, 1)


def test_a_product_without_an_id_is_left_out(read):
    result = read("id,name", ",Cap", "0012,Fez", " ,Mug")
    assert list(result.by_id) == ["0012"]
    assert result.left_out.sentences() == ["2 lines (2, 4): no id"]


def test_a_category_of_too_many_levels_is_left_out(read):
    deep = [" > ".join(["A"] * number) for number in (50, 51)]
    result = read("id,name,category", f"1,Cap,{deep[0]}", f"2,Mug,{deep[1]}")
    assert list(result.by_id) == ["1"]
    assert result.left_out.sentences() == ["line 3: a category of more than 50 levels"]


def test_a_last_level_that_is_the_products_name_is_none(read):
    def tree(path):
        return json.dumps(json.dumps([path]))[1:-1].replace('\\"', '""')

    header = "uniq_id,product_name,product_category_tree"
    result = read(
        header,
        f'1,Red cotton dress,"{tree("Clothing >> Dresses >> Red cotton dress")}"',
        f'2,Long red cotton dress for summer,"{tree("Clothing >> Long red cotton dress f...")}"',
        f'3,Red hat,"{tree("Clothing >> Red")}"',
        f'4,Dresses,"{tree("Dresses")}"',
    )
    assert {name: product.categories for name, product in result.by_id.items()} == {
        "1": (("Clothing", "Dresses"),),
        "2": (("Clothing",),),
        "3": (("Clothing", "Red"),),
        "4": (),
    }


def test_a_template_makes_the_link_of_a_picture(read):
    columns = {"image_link": "pics/{id}.jpg"}
    result = read("id,name,image", "12,Cap,x.jpg", "13,Mug,", columns=columns)
    assert [product.images for product in result.products] == [("pics/12.jpg",), ("pics/13.jpg",)]


def test_pictures_come_from_all_columns_of_pictures(read):
    result = read(
        "id,name,additional_image_link,image_link",
        '1,Cap,"https://x.example/b.jpg,https://x.example/c.jpg",https://x.example/a.jpg',
        "2,Mug,https://x.example/d.jpg,",
    )
    assert [[link[18] for link in product.images] for product in result.products] == [
        ["a", "b", "c"],
        ["d"],
    ]


def test_bare_names_of_a_system_are_also_tried_at_its_address(read):
    result = read("handleId,fieldType,name,productImageUrl", "p,Product,Card,aa~mv2.jpg")
    assert result.by_id["p"].images == (
        "aa~mv2.jpg",
        "https://static.wixstatic.com/media/aa~mv2.jpg",
    )


# ---- the account --------------------------------------------------------------------------------


def test_reading_again_counts_anew(read):
    result = read(SHOPIFY, "mug,Mug,,,a.jpg,1", "mug,,,,b.jpg,2", ",Pan,,,,")
    for _ in range(2):
        left_out = LeftOut()
        products = list(feed_products.read_products(result.reading, left_out))
        assert (result.reading.rows, len(products), result.reading.merged, left_out.rows) == (
            3, 1, 1, 1,
        )  # fmt: skip


def test_a_feed_without_a_product_is_a_sentence_with_the_first_reason(tmp_path):
    path = tmp_path / "feed"
    path.write_text("id,name\n1,\n2,\n")
    reading = feed_survey.survey([FeedFile(str(path))], SurveyOptions())
    with pytest.raises(UserError) as error:
        feed_products.some_products(reading)
    assert str(error.value) == "the feed holds no product; 2 lines (2 (id 1), 3 (id 2)): no title"


CELL = st.sampled_from(
    ["", "1", "2", "A", "Cap", "variant", "variation", "variable", "Product", "sku", "fr", "tee",
     "A > B", "A;B", "N/A", "https://x.example/a.jpg", "a.jpg,b.jpg", "&nbsp;", "\"", "x\ny",
     "sku=1|sku=2", '["A", "B"]', "A > " * 60]
)  # fmt: skip
HEADERS = (
    SHOPIFY,
    MAGENTO,
    WOO,
    "handleId,fieldType,name,description,productImageUrl,collection",
    "item_type,product_id,product_name,category,product_image_url_1",
    "sku,attribute_set_code,product_type,categories,name,configurable_variations",
    "id,name,category,image,section",
)


@given(
    st.sampled_from(HEADERS),
    st.lists(st.lists(CELL | st.text(max_size=3), max_size=8), max_size=12),
    st.booleans(),
)
def test_each_row_is_a_product_or_merged_or_left_out(tmp_path_factory, header, rows, as_json):
    names = header.split(",")
    path = tmp_path_factory.mktemp("any") / "feed"
    if as_json:
        lines = [json.dumps(dict(zip(names, row))) for row in rows]
        text = "\n".join([json.dumps(dict.fromkeys(names, "x")), *lines])
    else:
        table = io.StringIO()
        csv.writer(table).writerows([names, ["x"] * len(names), *rows])
        text = table.getvalue()
    path.write_bytes(text.encode("utf-8", "replace"))
    result = Read(path)
    rows_read, products, merged, left_out = result.account
    assert rows_read == products + merged + left_out
    assert left_out == sum(count for count, _ in result.left_out.reasons.values())
    if as_json:
        assert rows_read == len(rows) + 1
    for product in result.products:
        assert product.external_id == product.external_id.strip() != ""
        assert product.name == product.name.strip() != ""
        assert all(level for path in product.categories for level in path)
        assert [len(path) for path in product.categories] == sorted(
            map(len, product.categories), reverse=True
        )


# ---- files as systems write them ----------------------------------------------------------------


def a_table(rows, **dialect):
    """The lines of rows as csv.writer writes them."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n", **dialect).writerows(rows)
    return file.getvalue()


def in_short(result):
    """(line, id, the path that files it, its first picture) of the products."""
    return [
        (
            product.line,
            product.external_id,
            " > ".join(product.categories[0]) if product.categories else "",
            product.images[0] if product.images else "",
        )
        for product in result.products
    ]


def test_metas_catalogue_with_remarks_above_the_header(read):
    result = read(
        "# ref_application_id 1, 2\n# and, so, on\n"
        "id,title,description,availability,image[0].url,image[0].tag[0],"
        "google_product_category,fb_product_category,item_group_id\n"
        '1,"Jean, blue",Soft,in stock,https://shop.example/1.jpg,x,204,'
        "Clothing > Jeans,g\n2,Gown,,in stock,,,2271,173,\n"
        "3,Bag,,,,,Luggage & Bags > Bags,Bags & Luggage,"
    )
    assert in_short(result) == [
        (4, "1", "Clothing > Jeans", "https://shop.example/1.jpg"),
        (5, "2", "", ""),
        (6, "3", "Bags & Luggage", ""),
    ]
    assert result.by_id["1"].group == "g" and result.by_id["1"].name == "Jean, blue"


@pytest.mark.parametrize("number", ("204", "204.0", " 5 ", "٢٠٤"))
def test_a_number_is_no_category_but_a_shop_may_call_its_own_so(number, read):
    header = "id,title,google_product_category,fb_product_category"
    assert in_short(read(header, f"1,Jean,{number},A > B"))[0][2] == "A > B"
    assert in_short(read("id,title,product_type", f"1,Jean,{number}"))[0][2] == number.strip()


OLD_SHOPIFY = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,"
    "Option1 Value,Variant SKU,Variant Price,Image Src,Image Position,Image Alt Text,"
    "Variant Image,Status"
)
NEW_SHOPIFY = (
    "Title,URL handle,Description,Vendor,Product category,Type,Tags,Status,SKU,"
    "Option1 name,Option1 value,Price,Product image URL,Image position,Image alt text,"
    "Variant image URL,Google Shopping / Google product category"
)


def shopify_table(header, rows):
    """A table of dicts by the names that the two headers share when spelled alike."""
    spelled = {
        "URL handle": "Handle",
        "Description": "Body (HTML)",
        "Product image URL": "Image Src",
        "Product category": "Product Category",
        "Image position": "Image Position",
    }
    names = header.split(",")
    return a_table(
        [names, *([row.get(spelled.get(name, name), "") for name in names] for row in rows)]
    )


@pytest.mark.parametrize("header", (OLD_SHOPIFY, NEW_SHOPIFY), ids=("old", "new"))
def test_shopifys_rows_of_one_handle_are_one_product(header, read):
    rows = [
        {
            "Handle": "jean",
            "Title": "Jean",
            "Body (HTML)": "<p>Soft,\nwide</p>",
            "Type": "Jeans",
            "Product Category": "Apparel > Pants",
            "Image Src": "2.jpg",
            "Image Position": "2",
        },
        {"Handle": "jean"},
        {"Handle": "jean", "Image Src": "1.jpg", "Image Position": "1"},
        {"Handle": "jean", "Image Src": "3.jpg", "Image Position": "3", "Title": "Not this"},
        {"Handle": "gown", "Title": "Gown", "Product Category": "Apparel > Dresses"},
        {"Handle": "gown", "Type": "Gowns", "Image Src": "g.jpg"},
        {"Handle": "", "Title": "Nobody's"},
        {"Handle": "", "Title": "Nobody's"},
        {"Handle": "bag", "Image Src": "b.jpg"},
        {"Handle": "hat", "Title": "Hat", "Image Src": "h.jpg", "Image Position": "1"},
        {"Handle": "hat", "Image Src": "i.jpg", "Image Position": "1"},
        {"Handle": "jean", "Title": "Once more"},
    ]
    result = read(shopify_table(header, rows))
    assert in_short(result) == [
        (2, "jean", "Jeans", "1.jpg"),
        (7, "gown", "Gowns", "g.jpg"),
        (12, "hat", "", "h.jpg"),
        (14, "jean", "", ""),
    ]
    assert [product.name for product in result.products] == ["Jean", "Gown", "Hat", "Once more"]
    assert result.products[0].description == "<p>Soft,\nwide</p>"
    assert result.account == (12, 4, 5, 3)
    assert result.left_out.sentences() == ["2 lines (9, 10): no id", "line 11 (id bag): no title"]


@pytest.mark.slow
def test_a_product_with_very_many_rows_is_held_once(tmp_path):
    path = tmp_path / "feed"
    with open(path, "w", encoding="utf-8") as file:
        file.write("Handle,Title,Type,Body (HTML),Image Src,Image Position\n")
        for number in range(30_000):
            file.write(f"jean,Jean,Jeans,{'soft ' * 20},{number}.jpg,{number + 1}\n")
    tracemalloc.start()
    result = Read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert in_short(result) == [(2, "jean", "Jeans", "0.jpg")]
    assert result.account == (30_000, 1, 29_999, 0)
    assert peak < 10_000_000


SHOPIFY_PRODUCT = {
    "id": 7611349762235,
    "title": "Jean",
    "handle": "jean",
    "body_html": "<p>Soft</p>",
    "vendor": "Acme",
    "product_type": "Jeans",
    "tags": ["a", "b"],
    "variants": [{"id": 1, "title": "Default", "price": "7.99"}],
    "images": [
        {"id": 1, "position": 2, "src": "https://cdn.example/2.jpg"},
        {"id": 2, "position": 1, "src": "https://cdn.example/1.jpg?v=1"},
    ],
    "options": [{"name": "Size", "values": ["S"]}],
}


@pytest.mark.parametrize(
    "write",
    (
        lambda product: json.dumps({"products": [product]}),
        lambda product: json.dumps([product], separators=(",", ":")),
        lambda product: json.dumps(product),
        lambda product: json.dumps(product) + "\n\n",
        lambda product: '{"a": [1, {}], "products":[' + json.dumps(product) + '], "b": "]"}',
    ),
    ids="document list line lines keys".split(),
)
def test_shopifys_products_json_as_a_document_and_as_lines(write, read):
    result = read(write(SHOPIFY_PRODUCT))
    assert in_short(result) == [(1, "jean", "Jeans", "https://cdn.example/1.jpg?v=1")]
    assert result.products[0].description == "<p>Soft</p>"
    # A product has the same id in all files of a shop.
    table = shopify_table(OLD_SHOPIFY, [{"Handle": "jean", "Title": "Jean"}])
    assert list(read(table).by_id) == ["jean"]


@pytest.mark.parametrize(
    ("images", "links"),
    (
        ([], ()),
        (None, ()),
        ([None, 1, {}, {"src": None}, {"src": "a"}], ("a",)),
        ([{"src": "a"}, {"src": "b", "position": 1}], ("a", "b")),
        ([{"src": "a", "position": 2}, {"src": "b", "position": 1}], ("b", "a")),
        ([[{"src": "a"}]], ("a",)),
    ),
)
def test_shopifys_pictures_may_be_any_or_none(images, links, read):
    item = {**SHOPIFY_PRODUCT, "images": images, "product_type": ""}
    (product,) = read(json.dumps({"products": [item]})).products
    assert (product.categories, product.images) == ((), links)


AWIN = (
    "aw_deep_link,product_name,aw_product_id,merchant_product_id,merchant_image_url,"
    "description,merchant_category,search_price,category_name,category_id,aw_image_url,"
    "large_image,parent_product_id,merchant_product_category_path"
).split(",")


def awin_table(*rows):
    return a_table(
        [AWIN, *([{"product_name": "Jean", **row}.get(name, "") for name in AWIN] for row in rows)],
        quoting=csv.QUOTE_ALL,
    )


def test_awins_columns(read):
    rows = [
        {
            "aw_product_id": "01",
            "description": "Soft",
            "merchant_category": "Jeans",
            "merchant_product_category_path": "Women > Jeans",
            "category_name": "Clothing",
            "large_image": "l.jpg",
            "merchant_image_url": "m.jpg",
            "aw_image_url": "a.jpg",
            "parent_product_id": "g",
            "search_price": "249,90",
        },
        {
            "aw_product_id": "2",
            "merchant_category": "Gowns",
            "merchant_product_category_path": "Women > Gowns",
            "merchant_image_url": "m.jpg",
            "aw_image_url": "a.jpg",
        },
        {"aw_product_id": "3", "category_name": "Clothing", "aw_image_url": "a.jpg"},
        {"aw_product_id": ""},
    ]
    result = read(awin_table(*rows))
    assert in_short(result) == [
        (2, "01", "Women > Jeans", "l.jpg"),
        (3, "2", "Women > Gowns", "m.jpg"),
        (4, "3", "", "a.jpg"),
    ]
    assert (result.products[0].group, result.products[0].description) == ("g", "Soft")
    assert result.left_out.sentences() == ["line 5: no id"]
    assert in_short(read(awin_table(rows[2])))[0][2] == "Clothing"


@pytest.mark.parametrize(
    ("values", "paths"),
    (
        (("A > B", "A/B", "C"), ["A > B", "A/B", "C"]),
        (("A > B > C", "A > B|C"), ["A > B > C", "A > B|C"]),
        (("A > B", "C>D"), ["A > B", "C > D"]),
        (("A>B", "C"), ["A > B", "C"]),
        (("A >> B", "C"), ["A > B", "C"]),
        (("A>>B",), ["A > B"]),
        (("A | B", "A | C"), ["A > B", "A > C"]),
        (("A / B", "A / C / D"), ["A > B", "A > C > D"]),
        (("Coats / Jackets", "Jeans", "Gowns"), ["Coats / Jackets", "Jeans", "Gowns"]),
        (("Jeans", "Gowns", "Coats | Jackets"), ["Jeans", "Gowns", "Coats | Jackets"]),
        (("A / B", "A | B > C"), ["A / B", "A | B > C"]),
        (("A/B", "A,B", "A|B", "A, B"), ["A/B", "A,B", "A|B", "A, B"]),
        (("A &gt; B", "A"), ["A > B", "A"]),
    ),
)
def test_what_parts_levels_is_one_for_the_file(values, paths, read):
    rows = [
        {"aw_product_id": str(number), "merchant_category": value}
        for number, value in enumerate(values)
    ]
    assert [row[2] for row in in_short(read(awin_table(*rows)))] == paths
    table = a_table(
        [("No", "Name", "Sort"), *((n, "Jean", value) for n, value in enumerate(values))]
    )
    columns = {"id": "no", "product_type": "sort"}
    assert [row[2] for row in in_short(read(table, columns=columns))] == paths


def test_what_parts_levels_does_not_depend_on_the_order_of_the_rows(read):
    rows = [
        {"aw_product_id": str(number), "merchant_category": value}
        for number, value in enumerate(["Jeans"] * 3000 + ["Women > Jeans"])
    ]
    for table in (awin_table(*rows), awin_table(*rows[::-1])):
        products = read(table).by_id
        assert products["3000"].categories == (("Women", "Jeans"),)
        assert products["0"].categories == (("Jeans",),)


@pytest.mark.parametrize(
    "text",
    (
        "No;What;Sort;Words;Shot;Kin\n01;Jean;A > B;Soft;a.jpg;g\n",
        '{"No": "01", "What": "Jean", "Sort": ["A", "B"], "Words": "Soft", "Shot": "a.jpg",'
        ' "Kin": "g"}\n',
        "<a><item><No>01</No><What>Jean</What><Sort>A &gt; B</Sort><Words>Soft</Words>"
        "<Shot>a.jpg</Shot><Kin>g</Kin></item></a>",
    ),
    ids="csv json xml".split(),
)
def test_anybodys_columns_can_be_named(text, read):
    columns = {
        "id": "NO",
        "title": "what",
        "product_type": "SORT",
        "description": " Words ",
        "image_link": "shot",
        "item_group_id": "Kin",
    }
    (product,) = read(text, columns=columns).products
    assert product[1:] == ("01", "Jean", "Soft", (("A", "B"),), ("a.jpg",), "g", "")
    with pytest.raises(UserError, match="no column 'Colour' for --column description: .*'No'"):
        read(text, columns={**columns, "description": "Colour"})
    with pytest.raises(UserError, match="say which .*--column id=.*found: 'No', 'What'"):
        read(text)


def test_a_named_column_goes_before_the_one_that_is_known(read):
    text = "id,title,product_type,google_product_category,Kind,mpn\n1,Jean,Jeans,Apparel,,m"
    (product,) = read(text, columns={"product_type": "Kind", "id": "mpn"}).products
    assert (product.external_id, product.categories) == ("m", ())
    table = shopify_table(
        OLD_SHOPIFY,
        [
            {"Handle": "jean", "Title": "Jean", "Variant SKU": "1"},
            {"Handle": "jean", "Title": "Jean", "Variant SKU": "2"},
            {"Handle": "jean"},
        ],
    )
    assert read(table, columns={"id": "Handle"}).account == read(table).account == (3, 1, 2, 0)
    result = read(table, columns={"id": "Variant SKU"})
    assert list(result.by_id) == ["1", "2"]
    assert result.left_out.sentences() == ["line 4: no id"]


@pytest.mark.parametrize(
    ("header", "row"),
    (
        ("id,title,title", "1,,Jean"),
        ("id,title,Title,title", "1,Jean,Gown,"),
        ("id,id,title", ",1,Jean"),
        ("ID,g:title,IMAGE-LINK", "1,Jean,"),
        ("item id [id],title", "1,Jean"),
        ("id, title, x", '1, Jean, "a, b"'),
        ("id,title,,", "1,Jean,,"),
        ("id,title", "1,Jean,,,,"),
        ("brand,ID [id],Product Title", "Acme,1,Jean"),
    ),
)
def test_the_first_column_of_a_name_that_has_a_value_counts(header, row, read):
    result = read(header, row)
    assert [product[1:3] for product in result.products] == [("1", "Jean")]
    assert result.left_out.rows == 0


@given(st.text())
def test_clean_text_can_be_encoded_and_is_clean_already(text):
    cleaned = clean_text(text)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned == clean_text(cleaned)
    assert "\0" not in cleaned
