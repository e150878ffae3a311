"""The stand-in shop: its catalogue is what it promises, and it answers as the real one did."""

import collections
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from PIL import Image

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))  # plain pytest puts only tests/ there

from sample import tables  # noqa: E402
from sample.catalogue import COLORS, FIRST, draw_picture, make_catalogue  # noqa: E402
from sample.shop import make_server  # noqa: E402

KEY = "uid1-secret-77"


def serve(catalogue):
    server = make_server(catalogue)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def demo():
    return make_catalogue()


@pytest.fixture(scope="module")
def tree():
    return make_catalogue(leaves=156, per_leaf=60)


@pytest.fixture(scope="module")
def api(demo):
    """get(path, **params) -> (status, JSON); the key is added, and left out where it is None."""
    server, session = serve(demo), requests.Session()

    def get(path, pid=KEY, **params):
        answer = session.get(server.api_url + path, params={"pid": pid, **params}, timeout=5)
        return answer.status_code, answer.json()

    get.server, get.session = server, session
    yield get
    session.close()
    server.shutdown()
    server.server_close()


def all_of(api, own, limit=50):
    products = []
    while True:
        _, page = api("products", cat=own, offset=len(products), limit=limit)
        products += page["products"]
        if not page["products"]:
            return products


# ---- the catalogue ------------------------------------------------------------------------------


def test_the_same_arguments_give_the_same_catalogue(demo):
    assert make_catalogue() == demo
    assert make_catalogue(seed=2).products != demo.products
    text = "\n".join(map(repr, (p[:9] for p in make_catalogue(156, 5).products)))
    # On every Python from 3.10 on; a change of words or shares changes it.
    assert hashlib.md5(text.encode()).hexdigest() == "21c4fce1b058ea8bda7ce8cdecf84e6b"


def test_a_smaller_catalogue_is_a_prefix_leaf_by_leaf(demo):
    smaller = collections.defaultdict(list)
    for product in make_catalogue(per_leaf=7).products:
        smaller[product.categories[0]].append(product)
    for leaf, products in smaller.items():
        assert products == [p for p in demo.products if p.categories[0] == leaf][:7]


def test_the_demo_is_twelve_leaves_under_four_parents(demo):
    parents = {category.id: category.parent_id for category in demo.categories}
    leaves = set(parents) - set(parents.values())
    assert leaves == set(FIRST) and FIRST[:3] == ["bootcut-jeans", "skinny-jeans", "clutches"]
    under = collections.Counter(parents[leaf] for leaf in leaves)
    assert sorted(under.values()) == [3, 3, 3, 3]
    assert collections.Counter(p.categories[0] for p in demo.products) == dict.fromkeys(FIRST, 60)
    assert all(set(p.categories) <= leaves for p in demo.products)


def test_the_whole_tree_is_the_list_in_results(tree):
    parents = {category.id: category.parent_id for category in tree.categories}

    def path(own):
        return path(parents[own]) + [own] if parents[own] in parents else []

    paths = {"/".join(path(own)[1:]) for own in set(parents) - set(parents.values())}
    assert paths == set((REPO / "results" / "categories.txt").read_text().split())
    assert len(paths) == 156


def share(products, condition):
    return sum(map(bool, map(condition, products))) / len(products)


def test_the_promised_proportions(tree):
    products = tree.products
    texts = collections.Counter((p.name, p.description) for p in products)
    assert len({p.id for p in products}) == len(products) == 156 * 60
    assert 0.10 < share(products, lambda p: len(p.categories) > 1) < 0.20
    assert 0.01 < share(products, lambda p: len(p.categories) > 2) < 0.05
    assert 0.15 < share(products, lambda p: texts[p.name, p.description] > 1) < 0.35
    assert 0.01 < share(products, lambda p: re.fullmatch(r"(\d+\.0)?", p.description)) < 0.05
    assert 0.10 < share(products, lambda p: "<ul><li>" in p.description) < 0.20
    assert 0.03 < share(products, lambda p: re.search("&[a-z]+;", p.description)) < 0.20
    assert 0.05 < share(products, lambda p: not (p.name + p.description).isascii()) < 0.40
    assert 0.001 < share(products, lambda p: not p.has_picture) < 0.02
    assert sum("<script>" in p.name + p.description for p in products) == 2
    assert all(len(set(p.categories)) == len(p.categories) for p in products)
    named = share(
        products,
        lambda p: p.categories[0].split("-")[0].rstrip("s") in (p.name + p.description).lower(),
    )
    assert 0.3 < named < 0.8  # the words of the leaf stand in part of the texts only


@pytest.mark.parametrize("arguments", [(0, 60), (157, 60), (12, 0)])
def test_sizes_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="leaves must be 1 to 156"):
        make_catalogue(*arguments)


def test_pictures_decode_and_show_the_color(demo):
    for product in demo.products[::12]:
        if product.has_picture:
            picture = Image.open(io.BytesIO(product.picture()))
            assert picture.format == "JPEG" and picture.size == (246, 328)
    assert draw_picture(product) == draw_picture(product)


def test_another_color_of_a_style_has_the_text_but_not_the_picture(demo):
    pairs = [
        (a, b)
        for a, b in zip(demo.products, demo.products[1:])
        if (a.name, a.description) == (b.name, b.description)
    ]
    assert pairs
    for a, b in pairs:
        assert a.colors[0] != b.colors[0] and {*a.colors, *b.colors} <= set(COLORS)
        assert draw_picture(a) != draw_picture(b) and a.id != b.id


def test_every_shape_can_be_drawn(tree):
    one_a_leaf = {p.categories[0]: p for p in tree.products if p.has_picture}
    assert len(one_a_leaf) == 156
    for product in one_a_leaf.values():
        extrema = Image.open(io.BytesIO(product.picture())).convert("L").getextrema()
        assert extrema[1] - extrema[0] > 15, product  # something stands out from the ground


# ---- categories ---------------------------------------------------------------------------------


def test_categories_come_as_one_flat_list(api):
    status, answer = api("categories", cat="women")
    assert status == 200 and answer["metadata"]["maxDepth"] == 20
    assert answer["metadata"]["root"]["id"] == "women"
    ids = {category["id"] for category in answer["categories"]}
    assert set(FIRST) <= ids and "women" not in ids
    assert all(category["parentId"] in ids | {"women"} for category in answer["categories"])


def test_depth_a_leaf_and_the_global_root(api):
    _, one = api("categories", cat="women", depth=1)
    assert {c["id"] for c in one["categories"]} == {"womens-clothes", "handbags", "womens-shoes"}
    assert api("categories", cat="clutches")[1]["categories"] == []
    _, top = api("categories")
    assert "parentId" not in top["metadata"]["root"]
    number = one["metadata"]["root"]["numId"]
    assert api("categories", cat=number, depth=1)[1] == one


# ---- products -----------------------------------------------------------------------------------


def test_paging_gives_every_product_once(api, demo):
    _, page = api("products", cat="clutches")
    assert len(page["products"]) == page["metadata"]["limit"] == 10
    assert page["metadata"]["category"] == {"id": "clutches", "name": "Clutches"}
    assert api("products", cat="clutches", limit=100)[1]["metadata"]["limit"] == 50
    found = all_of(api, "clutches", limit=17)
    assert len(found) == page["metadata"]["total"]
    assert sorted(p["id"] for p in found) == sorted(
        p.id for p in demo.products if "clutches" in p.categories
    )


def test_an_inner_category_gives_its_descendants_products_once(api, demo):
    ids = [product["id"] for product in all_of(api, "jeans")]
    assert sorted(ids) == sorted(
        p.id for p in demo.products if any(own.endswith("-jeans") for own in p.categories)
    )


def test_nothing_comes_past_the_paging_cap():
    plain = [
        SimpleNamespace(
            id=n, name=f"Belt {n}", description="", categories=("belts",), picture=lambda: None
        )
        for n in range(5020)
    ]
    top = SimpleNamespace(id="belts", name="Belts", parent_id=None)
    server = serve(SimpleNamespace(categories=[top], products=plain))
    counts = {}
    for offset in (4950, 4990, 5000, 9999):
        answer = requests.get(
            server.api_url + "products",
            timeout=5,
            params={"pid": KEY, "offset": offset, "limit": 50},
        ).json()
        counts[offset] = len(answer["products"])
        assert answer["metadata"]["total"] == 5020
        assert not any("image" in product for product in answer["products"])
    server.shutdown()
    server.server_close()
    assert counts == {4950: 50, 4990: 10, 5000: 0, 9999: 0}


def test_a_product_by_its_id_and_its_fields(api, demo):
    plain = next(p for p in demo.products if p.has_picture and len(p.categories) > 1)
    status, product = api(f"products/{plain.id}")
    assert status == 200 and product["id"] == plain.id
    assert (product["name"], product["description"]) == (plain.name, plain.description)
    assert [category["id"] for category in product["categories"]] == list(plain.categories)
    assert not any("parentId" in category for category in product["categories"])
    assert set(product) >= {
        "brandedName",
        "unbrandedName",
        "currency",
        "price",
        "priceLabel",
        "inStock",
        "stock",
        "retailer",
        "locale",
        "clickUrl",
        "pageUrl",
        "image",
        "alternateImages",
        "colors",
        "sizes",
        "extractDate",
        "lastModified",
        "seeMoreLabel",
        "seeMoreUrl",
        "badges",
        "rental",
        "preOwned",
    }
    assert product["brand"]["name"] == plain.brand
    assert product["colors"][0]["name"] == plain.colors[0]


def test_the_key_is_in_three_links_only(api):
    for product in all_of(api, "women"):
        holders = {name for name, value in product.items() if KEY in json.dumps(value)}
        assert holders == {"clickUrl", "pageUrl", "seeMoreUrl"}
    _, product = api(f"products/{product['id']}", pid="a b&c")
    assert product["clickUrl"].endswith("pid=a%20b%26c")


def test_pictures_in_eight_sizes(api, demo):
    _, page = api("products", cat="pumps")
    image = next(product["image"] for product in page["products"] if "image" in product)
    assert set(image["sizes"]) == {
        "Small",
        "IPhoneSmall",
        "Medium",
        "Large",
        "IPhone",
        "XLarge",
        "Best",
        "Original",
    }
    own = image["id"]
    large = image["sizes"]["XLarge"]
    assert large["url"].endswith(f"/pim/{own[:2]}/{own[2:4]}/{own}_xlarge.jpg")
    assert (large["width"], large["height"]) == (328, 410)
    bodies = set()
    for size in image["sizes"].values():
        answer = api.session.get(size["url"], timeout=5)
        assert answer.headers["Content-Type"] == "image/jpeg"
        bodies.add(answer.content)
    assert len(bodies) == 1 and Image.open(io.BytesIO(bodies.pop())).size == (246, 328)


def test_a_product_without_a_picture_has_no_image(api, demo):
    bare = [product for product in demo.products if not product.has_picture]
    assert bare and bare[0].picture() is None
    assert "image" not in api(f"products/{bare[0].id}")[1]


def test_the_histogram_counts_what_paging_gives(api):
    status, answer = api("products/histogram", cat="jeans", filters="Category")
    counts = {row["id"]: row["count"] for row in answer["categoryHistogram"]}
    assert status == 200 and set(counts) == {"bootcut-jeans", "skinny-jeans", "flare-jeans"}
    assert answer["metadata"]["total"] == len(all_of(api, "jeans"))
    assert counts["flare-jeans"] == len(all_of(api, "flare-jeans"))
    answer = api("products/histogram", cat="jeans", filters="Category", floor=10_000)[1]
    assert answer["categoryHistogram"] == []


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, params, code, name",
    [
        ("categories", {"pid": None}, 401, "MissingPartnerId"),
        ("products", {"pid": "", "cat": "women"}, 401, "MissingPartnerId"),
        ("products/1", {}, 404, "InvalidProductId"),
        ("categories", {"cat": "no-such"}, 404, "InvalidCategoryId"),
        ("products", {"cat": "no-such"}, 404, "InvalidCategoryId"),
        ("products", {"offset": "-1"}, 400, "InvalidParameter"),
        ("products", {"limit": "many"}, 400, "InvalidParameter"),
        ("products/histogram", {"filters": "Brand"}, 400, "InvalidParameter"),
        ("lists/search", {}, 404, "NotFound"),
        ("products/1/related", {}, 404, "NotFound"),
        ("../../", {}, 404, "NotFound"),
        ("../../pim/aa/bb/" + "ab" * 16 + "_xlarge.jpg", {}, 404, "NotFound"),
        ("../../pim/../../sample/shop.py", {}, 404, "NotFound"),
    ],
)
def test_errors_are_json_with_their_status(api, path, params, code, name):
    status, body = api(path, **params)
    assert (status, body["errorCode"], body["errorName"]) == (code, code, name)
    assert body["errorMessage"] and body["detailedErrors"] == []
    assert api(path, **params, suppressResponseCode="true") == (200, body)


def test_a_post_is_refused_in_json(api):
    answer = requests.post(api.server.api_url + "products", data="x", timeout=5)
    assert answer.status_code == answer.json()["errorCode"] == 501


def test_a_connection_is_kept_even_after_an_error(api):
    with requests.Session() as session:
        ports = set()
        for path in ("categories", "products", "products/1", "nowhere"):
            answer = session.get(
                api.server.api_url + path, params={"pid": KEY}, stream=True, timeout=5
            )
            ports.add(answer.raw._connection.sock.getsockname()[1])
            assert len(answer.content) == int(answer.headers["Content-Length"])
    assert len(ports) == 1


# ---- the process --------------------------------------------------------------------------------


def start(*flags, cwd, stdin=subprocess.DEVNULL):
    shop = REPO / "sample" / "shop.py"
    return subprocess.Popen(
        [sys.executable, shop, "--leaves", "2", "--per-leaf", "3", *flags],
        cwd=cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_one_line_serves_and_ends_on_a_signal(tmp_path, number):
    process = start(cwd=tmp_path)
    url = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/v2/", url)
    answer = requests.get(url + "products", params={"pid": KEY}, timeout=5).json()
    assert answer["metadata"]["total"] == 6
    process.send_signal(number)
    assert process.communicate(timeout=5) == ("", "") and process.returncode == 0


def test_it_ends_with_its_stdin(tmp_path):
    read, write = os.pipe()
    process = start("--until-stdin-closes", cwd=tmp_path, stdin=read)
    os.close(read)
    url = process.stdout.readline().strip()
    assert requests.get(url + "categories", params={"pid": KEY}, timeout=5).status_code == 200
    os.close(write)
    assert process.communicate(timeout=5) == ("", "") and process.returncode == 0


@pytest.mark.parametrize(
    "flags",
    [("--leaves", "157"), ("--port", "99999"), ("--colour", "red"), ("--host", "203.0.113.1")],
)
def test_a_mistake_is_one_sentence(tmp_path, flags):
    process = start(*flags, cwd=tmp_path)
    stdout, stderr = process.communicate(timeout=5)
    assert process.returncode == 2 and stdout == ""
    assert stderr.startswith("shop.py: ") and stderr.count("\n") == 1


def test_the_catalogue_files_are_those_that_their_command_writes(tmp_path):
    assert tables.main(["--folder", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new-products.tsv", "products.tsv"]
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (REPO / "sample" / path.name).read_bytes()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 200_000
