"""The products of saved web pages are those that their JSON-LD names, with the category that the
way to the page gives."""

import json
import time

import pytest
from rows_of_feeds import read, values_of

from common.terminal import UserError

PRODUCT = {"@type": "Product", "sku": "J1", "name": "Jug &amp; bowl", "image": ["a.jpg", "b.jpg"]}
HOME = ("Home", "https://shop.example/")


def crumbs(*levels, form="item"):
    return {
        "@type": "BreadcrumbList",
        "itemListElement": [
            {"@type": "ListItem", "position": number, "name": name, "item": address}
            if form == "item"
            else {"@type": "ListItem", "position": number, "item": {"@id": address, "name": name}}
            for number, (name, address) in enumerate(levels, 1)
        ],
    }


def page(*scripts, head="<!DOCTYPE html>\n<html><head><title>x</title>"):
    return (
        head
        + "".join(
            '<script type="application/ld+json">\n'
            + (each if isinstance(each, str) else json.dumps(each))
            + "</script>\n"
            for each in scripts
        )
        + "<script>var x = {};</script></head><body>Jug &lt; 5 & more</body></html>"
    )


@pytest.mark.parametrize(
    "scripts, names",
    (
        ([PRODUCT], ["Jug & bowl"]),
        ([[PRODUCT, PRODUCT]], ["Jug & bowl"] * 2),
        (
            [{"@context": "x", "@graph": [{"@type": "WebSite", "name": "S"}, PRODUCT]}],
            ["Jug & bowl"],
        ),
        ([{"@type": "Organization", "name": "S"}, PRODUCT], ["Jug & bowl"]),
        (
            [
                {
                    "@type": "ItemList",
                    "itemListElement": [
                        {"@type": "ListItem", "item": PRODUCT},
                        {"@type": "ListItem", "url": "u"},
                    ],
                }
            ],
            ["Jug & bowl"],
        ),
        (
            [
                {
                    "@type": "ProductGroup",
                    "name": "Coat",
                    "productGroupID": "G",
                    "hasVariant": [
                        {"@type": "Product", "sku": "1"},
                        {"@type": "Product", "sku": "2", "name": "Coat L"},
                    ],
                }
            ],
            ["Coat", "Coat L"],
        ),
        (["<!--\n" + json.dumps(PRODUCT) + "\n-->"], ["Jug & bowl"]),
        (["//<![CDATA[\n" + json.dumps(PRODUCT) + "\n//]]>"], ["Jug & bowl"]),
        ([json.dumps(PRODUCT).replace("Jug", "Jug\n\t")], ["Jug\n\t & bowl"]),
    ),
    ids=range(9),
)
@pytest.mark.parametrize(
    "head",
    (
        "<!DOCTYPE html>\n<html>",
        "<html lang=de>",
        "\ufeff\n<!-- saved from a shop --><!doctype HTML>",
        '<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C"><html xmlns="http://www.w3.org/x">',
        "<head>",
        "",
    ),
)
def test_products_of_a_page(read, scripts, names, head):
    result = read(page(*scripts, head=head))
    assert [row["name"] for _, row in result.rows] == names and result.skipped == []
    assert result.how.kind == "a web page with JSON-LD"


@pytest.mark.parametrize(
    "tag",
    (
        '<script type="application/ld+json">',
        "<script type='application/ld+json' id=x>",
        "<SCRIPT data-x='1' TYPE=application/ld+json>",
        '<script class="y"\n  type="application/ld+json; charset=utf-8"  >',
    ),
)
def test_tags_of_scripts_are_written_in_many_ways(read, tag):
    text = f"<!doctype html>\n<html>{tag}{json.dumps(PRODUCT)}</SCRIPT ></html>"
    result = read(text)
    assert values_of(result, "sku", "image") == [("J1", ("a.jpg", "b.jpg"))]


def test_a_broken_script_is_left_out_by_its_line(read):
    result = read(page("{broken", PRODUCT, "", json.dumps(PRODUCT)[:-5]))
    assert [line for line, _ in result.rows] == [4]
    assert result.skipped == [(line, "broken JSON-LD") for line in (2, 6, 8)]


@pytest.mark.parametrize("form", ("item", "inner"))
@pytest.mark.parametrize(
    "levels, path",
    (
        (
            [HOME, ("Kitchen", "https://shop.example/k"), ("Jugs", "https://shop.example/k/j")],
            ("Kitchen", "Jugs"),
        ),
        (
            [HOME, ("Kitchen", "https://shop.example/k"), ("Jug & Bowl", "https://shop.example/p")],
            ("Kitchen",),
        ),
        (
            [("Start", "https://shop.example/de/"), ("Küche", "https://shop.example/de/k")],
            ("Küche",),
        ),
        ([("Start", "https://shop.example/index.html"), ("Kitchen", "/k")], ("Kitchen",)),
        (
            [("Home", "https://shop.example/home-and-garden"), ("Jugs", "https://shop.example/j")],
            ("Home", "Jugs"),
        ),
        ([("Salt &amp; pepper", "https://shop.example/s")], ("Salt & pepper",)),
    ),
    ids=range(6),
)
def test_the_way_to_a_page_is_the_category_of_its_product(read, form, levels, path):
    product = {**PRODUCT, "name": "Jug & bowl"}
    for scripts in (
        [crumbs(*levels, form=form), product],
        [{"@graph": [product, crumbs(*levels, form=form)]}],
        [{"@type": "WebPage", "breadcrumb": crumbs(*levels, form=form), "mainEntity": product}],
    ):
        assert values_of(read(page(*scripts)), "category") == [((path,),)]


def test_the_way_to_a_page_stands_back_behind_a_category(read):
    way = crumbs(HOME, ("Kitchen", "https://shop.example/k"))
    assert values_of(read(page(way, {**PRODUCT, "category": "Jugs"})), "category") == [("Jugs",)]


def test_a_way_that_leads_nowhere_is_no_category(read):
    for way in (crumbs(HOME), crumbs(), {"@type": "BreadcrumbList"}, crumbs(("", ""), (None, "x"))):
        assert values_of(read(page(way, PRODUCT)), "category") in ([("",)], [(None,)])


@pytest.mark.parametrize(
    "text",
    (
        "<!DOCTYPE html><html><body>Not found</body></html>",
        "<html><script>var product = 1;</script>",
        page({"@type": "Organization", "name": "S"}),
        page({"@type": "ItemList", "itemListElement": [{"@type": "ListItem", "url": "u"}]}),
    ),
)
def test_a_page_without_products_is_a_sentence(read, text):
    with pytest.raises(UserError, match="is a web page without products in JSON-LD: --feed takes"):
        read(text)


def test_a_feed_whose_texts_hold_a_page_is_no_page(read):
    text = escape_page = page(PRODUCT)
    feed = f"<rss><item><id>1</id><title><![CDATA[{text}]]></title></item></rss>"
    assert values_of(read(feed), "title") == [(escape_page.strip(),)]


@pytest.mark.parametrize(
    "filling",
    (
        *("<script", "<script ", "<!--", "<", "</script", "<!--x-->", "<a b='", "<![CDATA["),
        "<script type=application/ld+json>",
        '<script type="application/ld+json">{}</script>',
    ),
)
@pytest.mark.parametrize("start", ("<!doctype html>", "<script>", ""))
def test_a_hostile_page_takes_no_long_time(read, filling, start):
    began = time.process_time()
    try:
        read(start + filling * (1_000_000 // len(filling)))
    except UserError as error:
        assert str(error).isprintable()
    assert time.process_time() - began < 5
