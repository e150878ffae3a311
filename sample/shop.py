"""The stand-in shop: answers the ShopStyle API v2 on a local port, from a drawn catalogue.

In: the size and seed of the catalogue, or a feed to serve instead. Out: one line on stdout, the
API's base URL, as soon as it listens; SIGINT or SIGTERM ends it. Any key (`pid`) that is not empty
is accepted.

    python sample/shop.py
    python sample/shop.py --leaves 156 --per-leaf 1000 --port 8080
    python sample/shop.py --feed products.tsv

It answers /categories, /products, /products/ID, /products/histogram?filters=Category and the
pictures; parameters it does not know are ignored. No record is left of what the real API did with
an unknown category or an offset past the cap: the answers 404 and an empty page are a guess.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import re
import signal
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
from common.terminal import UserError  # noqa: E402
from sample.catalogue import make_catalogue  # noqa: E402  (run from whatever folder)
from sample.feed import feed_catalogue  # noqa: E402

API = "/api/v2/"
PAGE, LONGEST_PAGE = 10, 50
PAGING_CAP = 5000  # products of one query that are shown, at most, whatever `total` says
MAX_DEPTH = 20
IMAGE_SIZES = {
    "Small": (32, 40),
    "IPhoneSmall": (100, 125),
    "Medium": (112, 140),
    "Large": (164, 205),
    "IPhone": (288, 360),
    "XLarge": (328, 410),
    "Best": (720, 900),
}  # and Original, which has no box
IMAGE_PATH = re.compile(r"/pim/[0-9a-f]{2}/[0-9a-f]{2}/([0-9a-f]{32})_[a-z]+\.jpg")
RETAILERS = ("Halvorsen & Pell", "Marigold Row", "Tindra", "The Ninth Drawer", "Casa Brillo")
NO_SUCH_PAGE = 404, "NotFound", "HTTP 404 Not Found"


class ApiError(Exception):
    """Status, name and message of an error body."""


class Index(NamedTuple):
    """A catalogue arranged for looking things up."""

    categories: dict  # id -> Category
    numbers: dict  # id -> its numId
    children: dict  # id -> ids of those right below
    shelves: dict  # id -> the products listed there or below
    products: dict  # id as text -> product
    pictures: dict  # image id -> product


def image_id(product):
    return hashlib.md5(f"picture of {product.id}".encode()).hexdigest()


def mixed(value):
    """A number that looks random and is always the same for the same value."""
    return zlib.crc32(str(value).encode())


def index_catalogue(catalogue):
    categories = {category.id: category for category in catalogue.categories}
    children = {category_id: [] for category_id in categories}
    for category_id, category in categories.items():
        children.setdefault(category.parent_id, []).append(category_id)
    shelves = {category_id: [] for category_id in categories}
    # Mixed, so that a page shows products filed here beside those that are only listed here too.
    for product in sorted(catalogue.products, key=lambda product: mixed(product.id)):
        listed_in = set()
        for category_id in product.categories:
            while category_id in categories and category_id not in listed_in:
                listed_in.add(category_id)
                shelves[category_id].append(product)
                category_id = categories[category_id].parent_id
    numbers = {category_id: number for number, category_id in enumerate(categories, 1)}
    return Index(
        categories,
        numbers,
        children,
        shelves,
        {str(product.id): product for product in catalogue.products},
        {image_id(product): product for product in catalogue.products},
    )


def descendants(index, root, depth):
    """The ids below a category, sorted by name and not by level: a parent may come after its
    child."""
    below, level = [], [root]
    for _ in range(depth):
        level = [child for category_id in level for child in index.children[category_id]]
        below += level
    return sorted(below)


def category_json(index, category_id):
    category = index.categories[category_id]
    above = {"parentId": category.parent_id} if category.parent_id else {}
    return {
        "id": category_id,
        "name": category.name,
        "shortName": category.name,
        "localizedId": category_id,
        **above,
        "hasHeelHeightFilter": False,
        "hasSizeFilter": True,
        "hasColorFilter": True,
        "numId": index.numbers[category_id],
    }


def has_picture(product):
    """Whether a product has a picture. Its flag is asked if it has one: drawing costs more."""
    known = getattr(product, "has_picture", None)
    return product.picture() is not None if known is None else known


def image_json(product, site):
    picture_id = image_id(product)
    start = f"{site}/pim/{picture_id[:2]}/{picture_id[2:4]}/{picture_id}_"
    sizes = {
        name: {
            "sizeName": name,
            "url": f"{start}{name.lower()}.jpg",
            "width": width,
            "height": height,
        }
        for name, (width, height) in IMAGE_SIZES.items()
    }
    sizes["Original"] = {"sizeName": "Original", "url": f"{start}best.jpg"}
    return {"id": picture_id, "sizes": sizes}


def product_json(index, product, site, pid):
    """A product as the API shows it. The three links hold the caller's key, as they did there."""
    number, key = mixed(product.id), quote(pid, safe="")
    brand, price = getattr(product, "brand", ""), getattr(product, "price", 0.0)
    colors, sizes = getattr(product, "colors", ()), getattr(product, "sizes", ())
    slug = re.sub(r"\W+", "-", product.name.lower()).strip("-")
    first, last = (
        datetime.date.fromordinal(735964 + days)  # from the first day of 2016 on
        for days in (number % 300, number % 300 + number % 30)
    )
    listed = [index.categories[own] for own in product.categories if own in index.categories]
    shelf = listed[0] if listed else next(iter(index.categories.values()))
    answer = {
        "id": product.id,
        "name": product.name,
        "brandedName": product.name,
        "unbrandedName": product.name.removeprefix(brand).strip(),
        "currency": "USD",
        "price": price,
        "priceLabel": f"${price:.2f}",
        "inStock": True,
        "locale": "en_US",
        "stock": [
            {"color": {"name": color}, "size": {"name": size}}
            for color in colors[:1]
            for size in sizes
        ],
        "retailer": {
            "id": str(number % len(RETAILERS) + 1),
            "name": RETAILERS[number % len(RETAILERS)],
        },
        "description": product.description,
        "clickUrl": f"{site}/action/apiVisitRetailer?id={product.id}&pid={key}",
        "pageUrl": f"{site}/p/{quote(slug)}/{product.id}?pid={key}",
        "alternateImages": [],
        "colors": [
            {"name": color, "canonicalColors": [{"id": str(mixed(color) % 20), "name": color}]}
            for color in colors[:1]
        ],
        "sizes": [
            {"name": size, "canonicalSize": {"id": str(mixed(size) % 200), "name": size}}
            for size in sizes
        ],
        "categories": [
            {
                "id": category.id,
                "name": category.name,
                "shortName": category.name,
                "localizedId": category.id,
                "numId": index.numbers[category.id],
            }
            for category in listed
        ],
        "extractDate": first.isoformat(),
        "lastModified": last.isoformat(),
        "seeMoreLabel": f"{brand} {shelf.name}".strip(),
        "seeMoreUrl": f"{site}/browse/{quote(shelf.id)}?pid={key}",
        "badges": [],
        "rental": False,
        "preOwned": False,
    }
    if brand:
        answer["brand"] = {"id": str(mixed(brand) % 100000), "name": brand}
    if number % 5 == 0:
        answer.update(salePrice=round(price * 0.7, 2), salePriceLabel=f"${price * 0.7:.2f}")
    if has_picture(product):
        answer["image"] = image_json(product, site)
    return answer


def whole_number(query, name, default):
    if not re.fullmatch("[0-9]{1,9}", query.get(name, "0")):
        raise ApiError(400, "InvalidParameter", f"Invalid {name}: {query[name]}")
    return int(query.get(name, default))


def asked_category(index, query):
    """The id of the query's category, which it names by its id or numId; by default the root."""
    asked = query.get("cat")
    if not asked:
        return next(
            category_id
            for category_id, category in index.categories.items()
            if category.parent_id not in index.categories
        )
    if asked in index.categories:
        return asked
    for category_id, number in index.numbers.items():
        if str(number) == asked:
            return category_id
    raise ApiError(404, "InvalidCategoryId", f"Invalid category id: {asked}")


def answer_categories(index, query, site):
    root = asked_category(index, query)
    below = descendants(index, root, min(whole_number(query, "depth", MAX_DEPTH), MAX_DEPTH))
    return {
        "metadata": {"root": category_json(index, root), "maxDepth": MAX_DEPTH},
        "categories": [category_json(index, category_id) for category_id in below],
    }


def answer_products(index, query, site):
    category_id = asked_category(index, query)
    offset = whole_number(query, "offset", 0)
    limit = min(whole_number(query, "limit", PAGE), LONGEST_PAGE)
    shelf = index.shelves[category_id]
    page = shelf[offset : min(offset + limit, PAGING_CAP)]
    return {
        "metadata": {
            "offset": offset,
            "limit": limit,
            "total": len(shelf),
            "category": {"id": category_id, "name": index.categories[category_id].name},
            "showSizeFilter": True,
            "showColorFilter": True,
            "showHeelHeightFilter": False,
        },
        "products": [product_json(index, product, site, query["pid"]) for product in page],
    }


def answer_histogram(index, query, site):
    root = asked_category(index, query)
    if query.get("filters") != "Category":
        raise ApiError(400, "InvalidParameter", "Only filters=Category is served here")
    rows = []
    for category_id in descendants(index, root, MAX_DEPTH):
        category, count = index.categories[category_id], len(index.shelves[category_id])
        if count >= whole_number(query, "floor", 1):
            rows.append(
                {
                    "id": category_id,
                    "name": category.name,
                    "parentId": category.parent_id,
                    "count": count,
                }
            )
    return {"metadata": {"total": len(index.shelves[root])}, "categoryHistogram": rows}


def answer(index, path, query, site):
    """The JSON object for a path below the API's base. Raises ApiError."""
    routes = {
        "categories": answer_categories,
        "products": answer_products,
        "products/histogram": answer_histogram,
    }
    number = re.fullmatch("products/([^/]+)", path)
    if path not in routes and not number:
        raise ApiError(*NO_SUCH_PAGE)
    if not query.get("pid"):
        raise ApiError(401, "MissingPartnerId", "The pid parameter is missing")
    if path in routes:
        return routes[path](index, query, site)
    if number[1] not in index.products:
        raise ApiError(404, "InvalidProductId", f"Invalid product id: {number[1]}")
    return product_json(index, index.products[number[1]], site, query["pid"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    wbufsize = -1  # head and body leave in one piece, which Nagle can't hold back
    timeout = 60

    def do_GET(self):
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            if url.path.startswith("/pim/"):
                self.send(200, "image/jpeg", self.find_picture(url.path))
            elif url.path.startswith(API):
                site = f"http://{self.headers.get('Host') or self.server.site}"
                path = url.path.removeprefix(API).rstrip("/")
                self.send_json(200, answer(self.server.index, path, query, site))
            else:
                raise ApiError(*NO_SUCH_PAGE)
        except ApiError as error:
            quiet = query.get("suppressResponseCode") == "true"
            self.send_api_error(*error.args, status=200 if quiet else error.args[0])

    do_HEAD = do_GET

    def find_picture(self, path):
        match = IMAGE_PATH.fullmatch(path)
        product = self.server.index.pictures.get(match[1]) if match else None
        picture = product.picture() if product else None
        if picture is None:
            raise ApiError(*NO_SUCH_PAGE)
        return picture

    def send(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, status, body):
        self.send(
            status, "application/json;charset=UTF-8", json.dumps(body, ensure_ascii=False).encode()
        )

    def send_api_error(self, code, name, message, status):
        self.send_json(
            status,
            {"errorCode": code, "errorName": name, "errorMessage": message, "detailedErrors": []},
        )

    def send_error(self, code, message=None, explain=None):
        """What http.server itself refuses (a POST, a torn request) is answered in JSON too."""
        self.close_connection = True
        self.send_api_error(int(code), "HttpError", message or f"HTTP {int(code)}", int(code))

    def log_message(self, *args):
        """Nothing: a crawl is thousands of requests, and each holds the caller's key."""


class Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client may hang up
            super().handle_error(request, client_address)


def make_server(catalogue, host="127.0.0.1", port=0):
    """A server that listens already; call serve_forever() on it. Its api_url is the base URL.

    `catalogue.categories` are objects with id, name and parent_id (None above the top);
    `catalogue.products` have id, name, description, categories (ids, the first of which it is filed
    under) and picture(), which gives JPEG bytes or None. They may have brand, price, colors, sizes
    and has_picture, which saves drawing pictures only to see whether there are any.
    """
    server = Server((host, port), Handler)
    server.index = index_catalogue(catalogue)
    server.site = f"{host}:{server.server_address[1]}"
    server.api_url = f"http://{server.site}{API}"
    return server


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (--help shows the usage)\n")


def main(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, default, text in (
        ("--leaves", 12, "leaf categories, 1 to 156"),
        ("--per-leaf", 60, "products filed in each leaf"),
        ("--seed", 1, "another seed makes other products"),
        ("--port", 0, "port to listen on; 0 is whichever is free"),
    ):
        parser.add_argument(
            flag, type=int, default=default, metavar="N", help=f"{text} (default {default})"
        )
    parser.add_argument(
        "--feed",
        metavar="FILE",
        help="serve this Google Merchant feed instead of the drawn catalogue",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)"
    )
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end with whoever holds stdin (default: stdin is left alone)",
    )
    args = parser.parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        catalogue = (
            feed_catalogue(args.feed)
            if args.feed
            else make_catalogue(args.leaves, args.per_leaf, args.seed)
        )
        server = make_server(catalogue, args.host, args.port)
    except (ValueError, OverflowError, UserError) as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"can't listen on {args.host}:{args.port}: {error.strerror}")
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            print(server.api_url, flush=True)
            if args.until_stdin_closes:
                with contextlib.suppress(OSError):
                    while os.read(0, 65536):
                        pass
            else:
                threading.Event().wait()  # the signals' SystemExit ends it
        finally:
            server.shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
