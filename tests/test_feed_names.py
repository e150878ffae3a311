"""Names: of columns in elements of elements, of columns in the files of relatives of a known system,
and of categories that are numbers in the file."""

import pytest

from crawling import feed_products, feed_reading, feed_survey, feed_understood
from crawling.feed_types import FeedFile

CAPS = (("Clothing", "Caps"), ("Sale",))
LINKS = ("https://img.example/1.jpg", "https://img.example/2.jpg")


def only_product(tmp_path, name, text):
    """The one product of a file."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    left_out = []
    products = list(feed_products.read_feed(str(tmp_path / name), left_out))
    assert left_out == [] and len(products) == 1
    return products[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "list.xml",
            "<shop><product><id>1</id><name>Cap</name><categories><category>Clothing > Caps</category>"
            f"<category>Sale</category></categories><images><image>{LINKS[0]}</image>"
            f"<image>{LINKS[1]}</image></images></product></shop>",
        ),
        (
            "list.json",
            '[{"id": 1, "name": "Cap", "categories": {"category": ["Clothing > Caps", "Sale"]}, '
            f'"photos": {{"photo": ["{LINKS[0]}", "{LINKS[1]}"]}}}}]',
        ),
        (
            "objects.jsonl",
            '{"id": 1, "name": "Cap", "categories": {"category": [{"name": "Clothing > Caps"}, '
            f'{{"name": "Sale"}}]}}, "images": {{"image": [{{"url": "{LINKS[0]}"}}, '
            f'{{"url": "{LINKS[1]}"}}]}}}}\n',
        ),
    ],
    ids=lambda text: text if len(text) < 20 else "",
)
def test_an_element_that_is_called_as_its_list_is_the_list(tmp_path, name, text):
    product = only_product(tmp_path, name, text)
    assert (product.external_id, product.name) == ("1", "Cap")
    assert product.categories == CAPS and product.images == LINKS


def test_google_retail_in_its_older_form(tmp_path):
    product = only_product(
        tmp_path,
        "recommendations.jsonl",
        '{"id": "1", "title": "Cap", "categoryHierarchies": [{"categories": ["Clothing", "Caps"]}, '
        '{"categories": ["Sale"]}], "productMetadata": {"itemGroupId": "g", "images": '
        f'[{{"uri": "{LINKS[0]}"}}, {{"uri": "{LINKS[1]}"}}]}}}}\n',
    )
    assert product.categories == CAPS and product.images == LINKS and product.group == "g"


def test_heurekas_relatives_have_an_exact_name(tmp_path):
    product = only_product(
        tmp_path,
        "items.xml",
        "<CHANNEL><ITEM><ITEM_ID>1</ITEM_ID><NAME_EXACT>Cap</NAME_EXACT>"
        f"<CATEGORY>Clothing</CATEGORY><IMAGE>{LINKS[0]}</IMAGE>"
        f"<IMAGE_ALTERNATIVE>{LINKS[1]}</IMAGE_ALTERNATIVE></ITEM></CHANNEL>",
    )
    assert (product.external_id, product.name) == ("1", "Cap") and product.images == LINKS


def test_variants_of_icml_share_the_product_that_they_are_offers_of(tmp_path):
    product = only_product(
        tmp_path,
        "icml.xml",
        '<yml_catalog><shop><categories><category id="1"><name>Clothing</name></category>'
        '<category id="2" parentId="1"><name>Caps</name></category></categories><offers>'
        '<offer id="10" productId="7"><url>https://shop.example</url><categoryId>2</categoryId>'
        "<name>Cap S</name></offer></offers></shop></yml_catalog>",
    )
    assert product.categories == (("Clothing", "Caps"),) and product.group == "7"


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("id,title,product_type,rich_text_description\n1,Cap,Caps,Warm\n", "description", "Warm"),
        ('[{"@type": "Product", "@context": "https://schema.org", "sku": "1", "name": "Cap", '
         '"isVariantOf": {"@type": "ProductGroup", "productGroupID": "g"}}]', "group", "g"),
        ("ID,TITLE,GOOGLE_PRODUCT_CATEGORY,GOOGLE_PRODUCT_CATEGORY_NAME\n1,Cap,173,Clothing > Caps\n",
         "categories", (("Clothing", "Caps"),)),
        ("<shop><product id='1'><name>Cap</name><categories><category name='Caps'/></categories>"
         "</product></shop>", "categories", (("Caps",),)),
        ("article_id,prod_name,detail_desc\n1,Cap,Warm\n", "description", "Warm"),
        (f"id,name,img_link\n1,Cap,{LINKS[0]}\n", "images", LINKS[:1]),
        ("offer-id,title,product-url,kelkoo-category-id\n1,Cap,https://shop.example,100\n",
         "categories", (("100",),)),
    ],
    ids=["meta", "schema.org", "cj", "attribute", "prod_name", "img_link", "kelkoo"],
)  # fmt: skip
def test_fields_that_some_files_of_a_system_have(tmp_path, text, field, value):
    assert getattr(only_product(tmp_path, "feed.txt", text), field) == value


@pytest.mark.parametrize(
    ("header", "cell"),
    [
        ("Item,ID,Name,Type,SKU,Categories", "Product,1,Cap,physical,,24;31"),  # BigCommerce: levels by /
        ("id,title,category", "1,Cap,24;31"),
        ("id,title,google_product_category", "1,Cap,24"),
    ],
    ids=["bigcommerce", "plain", "google"],
)  # fmt: skip
def test_the_names_of_numbers_have_levels_whatever_parts_those_of_the_file(tmp_path, header, cell):
    (tmp_path / "feed.csv").write_text(f"{header}\n{cell}\n", encoding="utf-8")
    numbers = {"24": "Home & Garden > Clothing / Linen > Caps", "31": "Sale"}
    reading = feed_survey.survey(
        [FeedFile(str(tmp_path / "feed.csv"), name="feed.csv")],
        feed_reading.SurveyOptions(numbers=numbers),
    )
    (product,) = feed_products.read_products(reading, reading.left_out)
    assert product.categories[0] == ("Home & Garden", "Clothing / Linen", "Caps")
    assert product.categories[1:] == ((("Sale",),) if "31" in cell else ())


@pytest.mark.parametrize(
    ("fields", "advised"),
    [
        ('{"id": "c1", "name": "Caps", "slug": "caps", "image": "https://img.example/c.jpg"}', []),
        ('{"slug": "caps"}', []),  # it is read
        ('{"name": "Caps", "section": "Head"}', ["category.section"]),
    ],
    ids=["named", "slug-only", "another"],
)
def test_what_else_is_said_of_a_category_is_advised_only_if_it_has_no_name(
    tmp_path, fields, advised
):
    (tmp_path / "feed.json").write_text(f'[{{"id": 1, "title": "Cap", "category": {fields}}}]')
    file = FeedFile(str(tmp_path / "feed.json"), name="feed.json")
    reading = feed_survey.survey([file], feed_reading.SurveyOptions())
    lines = [line for line in feed_understood.remarks(reading) if "looks like a category" in line]
    assert [line.split("'")[1] for line in lines] == advised
