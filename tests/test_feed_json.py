"""JSON in any shape becomes rows: the list of products is found wherever it lies, nested values
become columns and lists, and one broken product costs no other."""

import json
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows_of_feeds import read, read_file, values_of

from common.terminal import UserError
from crawling import feed_lines

CAP = {"id": "1", "title": "Cap", "product_type": "Hats"}
HAT = {"id": "2", "title": "Hat", "product_type": "Hats"}


# ---- nested values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, columns",
    (
        ("a", {"x": "a"}),
        (1.50, {"x": "1.5"}),
        (True, {"x": "true"}),
        (False, {"x": "false"}),
        (None, {"x": ""}),
        ({}, {"x": ""}),
        ([], {"x": ()}),
        ({"url": "u"}, {"x.url": "u"}),
        ({"a": {"b": [1, "c"]}}, {"x.a.b": ("1", "c")}),
        (["a", 2, None, True], {"x": ("a", "2", "true")}),
        ([["a", "b"], ["c"]], {"x": (("a", "b"), ("c",))}),
        ([[["a"]], "b"], {"x": ((("a",),), "b")}),
        ([{"src": "a"}, {"src": "b"}], {"x.src": ("a", "b")}),
        ([{"src": "a", "alt": "A"}, {"src": "b"}, None], {"x.src": ("a", "b"), "x.alt": ("A",)}),
        (["a", {"url": "b"}], {"x": ("a",), "x.url": ("b",)}),
        (
            [{"levels": [{"n": "a"}, {"n": "b"}]}, {"levels": [{"n": "c"}]}],
            {"x.levels.n": (("a", "b"), ("c",))},
        ),
        (
            [{"src": "b", "position": 2}, {"src": "a", "position": 1}],
            {"x.src": ("a", "b"), "x.position": ("1", "2")},
        ),
        (
            [{"src": "b", "position": 10}, {"src": "a", "position": "9"}],
            {"x.src": ("a", "b"), "x.position": ("9", "10")},
        ),
        ([{"src": "b", "position": 2}, {"src": "a"}], {"x.src": ("b", "a"), "x.position": ("2",)}),
        ({"edges": [{"node": {"src": "a"}}, {"node": {"src": "b"}}]}, {"x.src": ("a", "b")}),
        ({"nodes": [{"src": "a"}, {"src": "b"}], "pageInfo": {}}, {"x.src": ("a", "b")}),
        ({"edges": "a"}, {"x.edges": "a"}),
        ({"edges": [None, 1]}, {"x": ()}),
        ("\0a\ud800", {"x": " a?"}),
        (["\ud800"], {"x": ("?",)}),
    ),
    ids=str,
)
@pytest.mark.parametrize("form", ("lines", "document"))
def test_what_is_nested_becomes_columns(read, value, columns, form):
    text = json.dumps({**CAP, "x": value})
    result = read(f"{text}\n{text}\n" if form == "lines" else f"[{text}]")
    row = dict(result.rows[0][1])
    assert {name: value for name, value in row.items() if name not in CAP} == columns
    assert len(result.rows) == (2 if form == "lines" else 1) and result.skipped == []


def test_numbers_are_kept_as_they_are_written(read):
    digits = "9" * 5000
    result = read(
        f'{{"id": 1.50, "title": {digits}, "a": -0, "b": 1e5, "c": NaN, "d": [1.0, 007]}}\n'
        f'{{"id": 1.50, "title": {digits}, "a": -0, "b": 1e5, "c": NaN, "d": [1.0, 7]}}\n'
    )
    assert result.skipped == [(1, "broken JSON, or nested too deep")]  # JSON has no 007
    assert list(result.rows[0][1].values()) == ["1.50", digits, "-0", "1e5", "NaN", ("1.0", "7")]


def test_what_is_nested_very_deep_is_empty(read):
    value: object = "x"
    for _ in range(30):
        value = {"a": value}
    result = read(json.dumps({**CAP, "deep": value}))
    (name,) = set(result.rows[0][1]) - set(CAP)
    assert result.rows[0][1][name] == "" and name.count(".a") == 20


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "a",
                    "id",
                    "edges",
                    "node",
                    "nodes",
                    "position",
                    "@type",
                    "@graph",
                    "hasVariant",
                    "item",
                    "isVariantOf",
                    "",
                )
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


def only_texts(value):
    return isinstance(value, str) or isinstance(value, tuple) and all(map(only_texts, value))


@given(st.lists(nested, min_size=1, max_size=4), st.sampled_from(("lines", "list", "object")))
def test_any_nesting_is_read(tmp_path_factory, items, form):
    path = tmp_path_factory.mktemp("feed") / "f"
    lines = [json.dumps(item) for item in items]
    path.write_text(
        {
            "lines": "\n".join(['{"id": 1}', *lines]),
            "list": f"[{','.join(lines)}]",
            "object": f'{{"id": 1, "x": [{",".join(lines)}]}}',
        }[form],
        encoding="utf-8",
    )
    result = read_file(str(path))
    assert all(only_texts(value) for _, row in result.rows for value in row.values())
    json.dumps(result.rows, ensure_ascii=False).encode("utf-8")
    if form == "list" and not any("@type" in line or "@graph" in line for line in lines):
        assert len(result.rows) + len(result.skipped) == len(items)


def test_rows_with_the_same_names_share_them(tmp_path):
    from crawling.feed_formats import read_feed_rows

    path = tmp_path / "f"
    path.write_text("\n".join(map(json.dumps, [CAP, {"id": 3}, HAT])), encoding="utf-8")
    first, second, third = [names for _, names, _ in read_feed_rows(str(path), [])]
    assert first is third and first != second


# ---- where the products are ---------------------------------------------------------------------


def shop(products):
    return {"id": 7, "name": "The shop", "url": "https://shop.example", "x": products}


def with_parts(product):
    return {
        **product,
        "variants": [{"id": 8, "title": "S"}],
        "images": [{"id": 9, "src": "a"}],
        "categories": [{"id": 3, "name": "Hats"}],
        "brand": {"id": 4, "name": "Acme"},
    }


@pytest.mark.parametrize("indent", (None, 0, 1))
@pytest.mark.parametrize(
    "wrap",
    (
        lambda items: items,
        lambda items: {"products": items},
        lambda items: {"total": len(items), "items": items, "x": {}},
        lambda items: {"anything": items},
        lambda items: {"status": {"id": 1, "name": "ok"}, "data": {"results": items}},
        lambda items: shop(items) | {"x": {}, "catalogue": {"products": items}},
        lambda items: {"categories": [{"id": 1, "name": "Hats"}] * 9, "offers": items},
        lambda items: {"data": {"products": {"edges": [{"node": item} for item in items]}}},
        lambda items: {"data": {"products": {"nodes": items}}},
        lambda items: {"pages": [{"products": items[:1]}, {"products": items[1:]}]},
        lambda items: {"a": [1, {}], "products": items, "b": "]", "c": {"d": ["[", "\\", '\\"']}},
        lambda items: {item["id"]: {k: v for k, v in item.items() if k != "id"} for item in items},
    ),
    ids=range(12),
)
@pytest.mark.parametrize("parts", (False, True), ids=("flat", "with parts"))
def test_the_list_of_products_may_have_any_name(read, wrap, indent, parts):
    items = [with_parts(item) if parts else item for item in (CAP, HAT)]
    result = read(json.dumps(wrap(items), indent=indent))
    assert values_of(result, "id", "title", "product_type") == [
        ("1", "Cap", "Hats"),
        ("2", "Hat", "Hats"),
    ]
    assert result.skipped == []


@pytest.mark.parametrize(
    "wrap", (lambda item: item, lambda item: {"product": item}, lambda item: [item])
)
def test_a_single_product_is_one(read, wrap):
    result = read(json.dumps(wrap(with_parts(CAP))))
    assert values_of(result, "id", "title", "variants.title") == [("1", "Cap", ("S",))]


def test_names_that_only_the_user_knows_find_the_list(read):
    text = json.dumps({"head": [{"nr": 1, "at": "x"}], "stock": [{"nr": 5, "wort": "Mütze"}]})
    result = read(text, columns={"id": "nr", "title": "wort"})
    assert values_of(result, "nr", "wort") == [("5", "Mütze")]


def test_the_products_may_begin_far_down_and_be_very_many(tmp_path):
    path = tmp_path / "f"
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"about": {"x": [' + ",".join(['"[}\\""'] * 9) + ']}, "stock": [')
        file.write(
            ",".join(
                f'{{"id": {number}, "title": "Jean", "x": "{"y" * 3000}"}}'
                for number in range(10_000)
            )
        )
        file.write("]}")
    tracemalloc.start()
    result = read_file(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(result.rows) == 10_000 and path.stat().st_size > 30_000_000
    assert peak < 70_000_000  # of which the rows of the test take half


def test_pages_put_together_are_one_feed(read):
    page = json.dumps({"products": [CAP, HAT]}, indent=1)
    for text in (
        page + page,
        page + "\n" + page,
        json.dumps([CAP]) + "\n[]\n" + json.dumps([HAT], indent=1),
    ):
        result = read(text)
        assert len(result.rows) in (2, 4)
    lines = [json.dumps({"products": [CAP, HAT]})] * 3
    assert len(read("\n".join(lines)).rows) == 6


@pytest.mark.parametrize(
    "content", ('{"products": []}', "[]", '{"data": {"items": [ ]}}', "[]\n[]")
)
def test_a_document_without_products_holds_none(read, content):
    result = read(content)
    assert (result.rows, result.skipped) == ([], [])


@pytest.mark.parametrize(
    "content, sentence",
    (
        ('{"products": [{"id": 1, "title": "Jean"}', "line 1: here the JSON is broken, cut short"),
        ('[{"id": 1, "title": "Jean"},\n{"id": 2, "tit', "line 2: here the JSON is broken"),
        ('[{"id": 1, "title": "Jean"}]\n]', "line 2"),
        ('{"products": [1 2]}', "broken"),
        ('{"products" []}', "broken"),
        ('{"products": [], ', "broken"),
        ("[" * 9_000_000, "too deep"),
        ('{"products": [\n' + '{"a":' * 100_000, "line 2: .*too deep"),
        ("[1", "broken"),
        ("{", "broken"),
        ("[1, 2" + chr(0) + "]", "broken"),
        ('{"a": "' + "\\" * 99, "broken"),
        ('{"a": {"b": "x', "broken"),
    ),
)
def test_json_that_is_broken_is_one_printable_sentence(read, content, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read(content)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1500


def test_a_product_too_long_or_too_deep_costs_no_other(read):
    long_one = '{"id": 9, "title": "' + "x" * (feed_lines.LONGEST_LINE + 200_000) + '"}'
    deep_one = '{"id": 9, "title": ' + "[" * 50_000 + '"]\\""' + "]" * 50_000 + "}"
    result = read(f'[{json.dumps(CAP)},\n{long_one},\n{deep_one},\n{json.dumps(HAT)}, "x", 1]')
    assert [line for line, _ in result.rows] == [1, 4]
    assert result.skipped == [
        (2, "item too long"),
        (3, "broken JSON, or nested too deep"),
        (4, "no JSON object"),
        (4, "no JSON object"),
    ]


def test_a_value_may_go_over_the_end_of_a_piece(read):
    for size in range(feed_lines.PIECE - 40, feed_lines.PIECE):
        text = f'{{"x": "{"x" * size}", "total": 1234567890, "products": [{{"id": 12, '
        assert values_of(read(text + '"title": "é"}]}'), "id", "title") == [("12", "é")]


def test_what_is_passed_over_may_end_anywhere(read):
    chance = random.Random(1)
    for size in range(feed_lines.PIECE - 30, feed_lines.PIECE + 2):
        inner = "".join(chance.choices(['\\"', "\\\\", "]", "}", "{", "[", "x", "\\n"], k=30))
        text = (
            f'{{"a": {{"x": "{"x" * size}{inner}", "y": [[]]}}, "products": [{json.dumps(CAP)}]}}'
        )
        assert values_of(read(text), "title") == [("Cap",)], inner


# ---- lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, reason",
    (
        ('{"id": 1, "title": "Jean"', "broken JSON"),
        ("nothing", "broken JSON"),
        ('{"id": 1, "title": "Jean"} x', "broken JSON"),
        ("[" * 100_000, "broken JSON, or nested"),
        ('{"id":' * 100_000, "nested too deep"),
        ("[1]", "no JSON object"),
        ('"x"', "no JSON object"),
        ("1", "no JSON object"),
        ("null", "no JSON object"),
        ("{'id': " * 90_000, "nested too deep"),
        ('{"id": 1, "title": "Jean", "x": "' + "x" * feed_lines.LONGEST_LINE + '"}', "too long"),
    ),
    ids=range(11),
)
@pytest.mark.parametrize("first", ('{"id": 0, "title": "Bag"}', "{'id': 0, 'title': 'Bag'}"))
def test_a_line_that_cannot_be_used_is_named_and_the_next_one_read(read, line, reason, first):
    result = read(f'\ufeff{first}\n\n{line}\n{{"id": 2, "title": "Gown"}}\n')
    assert [number for number, _ in result.rows] == [1, 4]
    assert [number for number, _ in result.skipped] == [3] and reason in result.skipped[0][1]


def test_a_broken_first_line_makes_no_document_of_json_lines(read):
    result = read('{"id": 1, "title":\n\n{"id": 2, "title": "Gown"}\n')
    assert values_of(result, "title") == [("Gown",)]
    assert result.skipped == [(1, "broken JSON, or nested too deep")]


def test_products_that_lie_in_an_object_on_each_line(read):
    lines = [json.dumps({"product": item, "at": 1}) for item in (CAP, HAT)]
    result = read("\n".join([*lines, '{"product": 1}', "{"]))
    assert values_of(result, "id", "title") == [("1", "Cap"), ("2", "Hat")]
    assert result.skipped == [(3, "no JSON object"), (4, "broken JSON, or nested too deep")]


def test_shopifys_bulk_export_is_rows(read):
    lines = [
        {"id": "gid://shopify/Product/1", "title": "Cap", "productType": "Hats"},
        {"url": "https://img.example/1.jpg", "__parentId": "gid://shopify/Product/1"},
        {
            "id": "gid://shopify/ProductVariant/2",
            "title": "S",
            "__parentId": "gid://shopify/Product/1",
        },
    ]
    result = read("\n".join(map(json.dumps, lines)))
    assert [row.get("__parentId", "") for _, row in result.rows] == [
        "", "gid://shopify/Product/1", "gid://shopify/Product/1"
    ]  # fmt: skip
    assert result.skipped == []


def test_dicts_as_python_prints_them(read):
    items = [
        {
            "asin": "A1",
            "title": "It's 5\" wide",
            "categories": [["Home", "Mugs"]],
            "price": 1.5,
            "related": {"also_bought": ["B1", "B2"]},
            "x": None,
            "y": True,
            3: ("a", "b"),
        },
        {"asin": "A2", "title": "Pan", "z": {1, 2}},
        {"asin": "A3", "title": "Pot"},
    ]
    text = "\n".join([*map(repr, items), "{'asin': __import__('os')}", "{'asin': 1 +", "{'a'}"])
    result = read(text)
    assert values_of(result, "asin", "title") == [("A1", "It's 5\" wide"), ("A3", "Pot")]
    row = result.rows[0][1]
    assert row["categories"] == (("Home", "Mugs"),) and row["related.also_bought"] == ("B1", "B2")
    assert (row["price"], row["x"], row["y"], row["3"]) == ("1.5", "", "true", ("a", "b"))
    assert [line for line, _ in result.skipped] == [2, 4, 5, 6]


# ---- JSON-LD ------------------------------------------------------------------------------------

PRODUCT = {"@context": "https://schema.org", "@type": "Product", "sku": "J1", "name": "Jug"}
GROUP = {
    "@context": "https://schema.org/",
    "@type": "ProductGroup",
    "productGroupID": "G1",
    "name": "Coat",
    "description": "Warm",
    "category": "Coats",
    "sku": "none",
    "variesBy": ["https://schema.org/size"],
    "hasVariant": [
        {"@type": "Product", "sku": "C1", "name": "Coat S", "image": "a.jpg", "description": ""},
        {"@type": "Product", "sku": "C2", "category": "Sale"},
        {"@id": "#other"},
        {"url": "https://shop.example/c3"},
    ],
}


@pytest.mark.parametrize(
    "data, products",
    (
        (PRODUCT, [("J1", "Jug")]),
        ([PRODUCT, PRODUCT], [("J1", "Jug")] * 2),
        (
            {"@context": "x", "@graph": [{"@type": "WebPage", "name": "P"}, PRODUCT]},
            [("J1", "Jug")],
        ),
        (
            {"@graph": [{"@type": "WebPage", "name": "P", "url": "u"}] * 60 + [PRODUCT]},
            [("J1", "Jug")],
        ),
        ({"@type": ["Product", "Thing"], "sku": "J1", "name": "Jug"}, [("J1", "Jug")]),
        ({"@type": "http://schema.org/Product", "sku": "J1", "name": "Jug"}, [("J1", "Jug")]),
        ({"@type": "ItemPage", "mainEntity": PRODUCT}, [("J1", "Jug")]),
        (
            {
                "@type": "ItemList",
                "itemListElement": [
                    {"@type": "ListItem", "position": 1, "item": PRODUCT},
                    {"@type": "ListItem", "position": 2, "url": "https://shop.example/2"},
                ],
            },
            [("J1", "Jug")],
        ),
        ({"@type": "ItemList", "itemListElement": [PRODUCT]}, [("J1", "Jug")]),
        (GROUP, [("C1", "Coat S"), ("C2", "Coat")]),
        ([GROUP, PRODUCT], [("C1", "Coat S"), ("C2", "Coat"), ("J1", "Jug")]),
        ({"@graph": [GROUP]}, [("C1", "Coat S"), ("C2", "Coat")]),
        ({**GROUP, "hasVariant": []}, [("none", "Coat")]),
    ),
    ids=range(13),
)
@pytest.mark.parametrize("indent", (None, 1))
def test_products_in_json_ld(read, data, products, indent):
    result = read(json.dumps(data, indent=indent))
    assert values_of(result, "sku", "name") == products and result.skipped == []


def test_a_graph_of_any_length_is_read(read):
    products = [{**PRODUCT, "sku": str(number), "x": "y" * 5000} for number in range(1500)]
    result = read(json.dumps({"@context": "https://schema.org", "@graph": products}))
    assert [row["sku"] for _, row in result.rows] == [str(number) for number in range(1500)]


def test_variants_have_what_their_group_has_and_its_id(read):
    result = read(json.dumps(GROUP))
    names = ("inProductGroupWithID", "description", "category", "image")
    assert values_of(result, *names) == [
        ("G1", "Warm", "Coats", "a.jpg"),
        ("G1", "Warm", "Sale", None),
    ]


def test_a_product_names_its_group(read):
    item = {**PRODUCT, "isVariantOf": {"@type": "ProductGroup", "productGroupID": "G2"}}
    assert values_of(read(json.dumps(item)), "inProductGroupWithID") == [("G2",)]


# ---- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, kind",
    (
        (json.dumps(CAP), "JSON"),
        (json.dumps(CAP) + "\n" + json.dumps(HAT), "JSON Lines"),
        (json.dumps([CAP]), "JSON"),
        (json.dumps({"data": {"items": [CAP]}}), "JSON, its list data.items"),
    ),
)
def test_how_it_was_read(read, content, kind):
    assert read(content).how.kind == kind
