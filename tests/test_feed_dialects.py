"""Each known system's catalogue file is read as the system's documentation means it: tests/feeds
has an invented file for each, and expected.json what is right, with where that is written."""

import json
import re
import sqlite3
import threading
from pathlib import Path

import pytest

import db
from crawling import feed_dialects, feed_import, feed_load, feed_products, feed_reading, feed_survey
from crawling.feed_columns import column_name
from crawling.feed_types import FeedFile, LeftOut

FEEDS = Path(__file__).parent / "feeds"
EXPECTED = json.loads((FEEDS / "expected.json").read_text(encoding="utf-8"))


def read_whole(name):
    """(Reading, products, LeftOut) of a file in tests/feeds."""
    path = str(FEEDS / name)
    reading = feed_survey.survey([FeedFile(path, name=name)], feed_reading.SurveyOptions())
    left_out = LeftOut()
    return reading, list(feed_products.read_products(reading, left_out)), left_out


def in_order(wanted, links):
    """Whether all `wanted` are among `links`, in the same order."""
    rest = iter(links)
    return all(link in rest for link in wanted)


def listed(paths):
    return [list(path) for path in paths]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_file_of_a_system_is_read_as_its_documentation_means_it(name):
    reading, products, left_out = read_whole(name)
    right = EXPECTED[name]
    assert [(product.external_id, product.name) for product in products] == [
        (product["id"], product["title"]) for product in right["products"]
    ]
    for product, wanted in zip(products, right["products"]):
        assert listed(product.categories) == wanted["categories"], product
        assert (product.group, product.parent) == (wanted["group"], wanted["parent"]), product
        assert list(product.images[:1]) == wanted["images"][:1], product
        assert in_order(wanted["images"], product.images), product
    assert (reading.merged, left_out.rows) == (right["merged"], right["left_out"])
    assert reading.rows == len(products) + reading.merged + left_out.rows


def test_each_file_in_the_folder_is_expected():
    files = {path.name for path in FEEDS.iterdir() if path.is_file()}
    assert files - {"expected.json"} - {path.name for path in FEEDS.glob("*.md")} == set(EXPECTED)
    for name, right in EXPECTED.items():
        assert right["system"] and right["source"], name


def test_each_dialect_has_a_file_that_it_is_recognised_by():
    recognised = {read_whole(name)[0].files[0].dialect.name for name in EXPECTED}
    assert {dialect.name for dialect in feed_dialects.DIALECTS} - recognised == set()
    assert "" in recognised  # plain tables are no system's


WITH_PARENTS = [
    name
    for name, right in EXPECTED.items()
    if any(product["parent"] for product in right["products"])
]


@pytest.mark.parametrize("name", WITH_PARENTS)
def test_a_stored_variant_has_the_category_and_the_group_of_its_parent(name, tmp_path):
    reading, products, left_out = read_whole(name)
    path = str(tmp_path / "crawl.db")
    conn = db.open_database(path, create=True)
    options = feed_load.FeedOptions("feed", False, False)
    feed_import.load_feed(conn, iter(products), left_out, options, threading.Event())
    conn.close()

    with sqlite3.connect(path) as conn:
        names = dict(conn.execute("select id, name from category"))
        stored = {
            external_id: (path and [names[step] for step in path.split("/")], group)
            for external_id, path, group in conn.execute(
                "select external_id, path, group_key from product left join category on"
                " category.id = category_id"
            )
        }
    assert len(stored) == len(products)
    variants = 0
    by_id = {product["id"]: product for product in EXPECTED[name]["products"]}
    for product in by_id.values():
        parent = by_id.get(product["parent"])
        wanted = product["categories"] or (parent["categories"] if parent else [])
        assert stored[product["id"]][0] == (wanted[0] if wanted else None), product
        if parent:
            variants += 1
            assert stored[product["id"]][1] == stored[parent["id"]][1], product
    assert variants or not any(product["parent"] in by_id for product in by_id.values())


def test_products_of_googles_api_are_known(tmp_path):
    path = tmp_path / "products.json"
    product = {
        "offerId": "7",
        "title": "Cap",
        "googleProductCategory": "Apparel > Hats",
        "productTypes": ["Men > Caps", "Sale"],
        "imageLink": "https://x.example/a.jpg",
        "additionalImageLinks": ["https://x.example/b.jpg"],
        "itemGroupId": "G",
    }
    path.write_text(json.dumps({"resources": [product]}))
    reading = feed_survey.survey([FeedFile(str(path))], feed_reading.SurveyOptions())
    (cap,) = feed_products.read_products(reading, LeftOut())
    assert (cap.external_id, cap.group) == ("7", "G")
    assert cap.categories == (("Men", "Caps"), ("Sale",))
    assert cap.images == ("https://x.example/a.jpg", "https://x.example/b.jpg")


def test_shopifys_columns_of_2021_are_known(tmp_path):
    path = tmp_path / "products.csv"
    path.write_text(
        "Handle,Title,Body (HTML),Vendor,Standardized Product Type,Custom Product Type\n"
        "tee,Tee,Soft,V,Apparel > Clothing,Tees\ncap,Cap,Warm,V,Apparel > Hats,Caps\n"
        "mug,Mug,Hot,V,Home > Mugs,\n"
    )
    reading = feed_survey.survey([FeedFile(str(path))], feed_reading.SurveyOptions())
    assert reading.files[0].filed == {"custom_product_type": 2, "standardized_product_type": 3}
    assert reading.files[0].standard


def test_prestashop_is_known_by_how_its_importer_calls_lists(tmp_path):
    """Whoever fills in three columns of its form has none of its other signs. Its documentation parts
    categories by commas, and levels by slashes."""
    path = tmp_path / "import.csv"
    path.write_text(
        "Reference #;Name *;Categories (x,y,z...)\nr-1;Tunic;Home/Women/Tunics,Sale\n", "utf-8"
    )
    reading = feed_survey.survey([FeedFile(str(path))], feed_reading.SurveyOptions())
    (product,) = feed_products.read_products(reading, LeftOut())
    assert reading.files[0].dialect.name == "PrestaShop"
    assert product.external_id == "r-1"
    assert product.categories == (("Women", "Tunics"), ("Sale",))


def test_the_first_dialect_that_fits_is_taken_and_else_the_plain_one():
    assert feed_dialects.recognise(["id", "title", "image_link"]).name == "Google Merchant or Meta"
    assert feed_dialects.recognise(["handle", "title", "body_html", "image_link"]).name == "Shopify"
    assert feed_dialects.recognise(["id", "title", "colour"]) is feed_dialects.PLAIN
    assert feed_dialects.recognise([]) is feed_dialects.PLAIN


def test_amazons_report_of_listings_is_recognised(tmp_path):
    path = tmp_path / "listings.txt"
    path.write_text(
        "item-name\titem-description\tlisting-id\tseller-sku\timage-url\tasin1\n"
        "Oak bowl\tTurned by hand.\tL1\tBWL-1\thttps://img.example/1.jpg\tB000000001\n"
    )
    reading = feed_survey.survey([FeedFile(str(path))], feed_reading.SurveyOptions())
    (product,) = feed_products.read_products(reading, LeftOut())
    assert reading.files[0].dialect.name == "Amazon"
    assert (product.external_id, product.name) == ("BWL-1", "Oak bowl")
    assert product.images == ("https://img.example/1.jpg",)


@pytest.mark.parametrize("dialect", (feed_dialects.PLAIN, *feed_dialects.DIALECTS))
def test_a_dialect_names_columns_as_column_name_gives_them(dialect):
    """A name that column_name never gives would never be found."""
    aliases = {alias for names in dialect.columns.values() for alias in names}
    names = {name for alias in aliases for name in re.split("[,+]", alias)} - {""}
    names |= {name for sign in dialect.signs for name in sign.split()}
    with_numbers = {re.sub("#", "2", name) for name in names}
    assert {name for name in with_numbers if column_name(name) != name} == set()
