"""The ShopStyle API v2 -> categories and products.

In: the URL of a host that speaks the API, and a key. Out: rows for crawl.py to store. The original
service closed in 2026; whatever still speaks its protocol is crawled with

    python crawl.py --api-url https://shop.example/api/v2/
    SHOPSTYLE_API_URL=https://shop.example/api/v2/ python crawl.py
"""
import json
import re
import urllib.parse

from common.terminal import UserError, log
from crawling import feed_products, http_client

API_URL = "https://api.shopstyle.com/api/v2/"
PAGE = 50                     # products a request, as the API's clients have always asked
PAGING_CAP = 5000             # the API shows no more products of one query
RATE = 750 / 60               # requests a second that the API's documents allow
PICTURE_SIZES = ("XLarge", "Best", "Original", "Large", "IPhone", "Medium")


class Shop:
    """A ShopStyle API v2 host. The key goes into requests only: no error text holds it."""

    def __init__(self, url, key, requests):
        try:
            parts = urllib.parse.urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:   # half an IPv6 address, a port that is no number
            usable = False
        if not usable or parts.username is not None:
            raise UserError(f"--api-url must be an http(s) URL without a password, such as "
                            f"{API_URL}")
        self.url, self.key, self.host = url.rstrip("/") + "/", key, parts.netloc
        self.name = parts.hostname   # without the port: the sample shop has another each time
        self.web, self.accepted = requests, False

    def get(self, path, **params):
        """The JSON object the API answers. Raises http_client.Unfinished where it fails, UserError
        where it refuses the key."""
        try:
            # A redirect would carry the key to wherever it points, so none is followed.
            return self.web.get(self.url + path, self.judge,
                                {"pid": self.key, "format": "json", **params})
        except http_client.Stopped:
            raise
        except http_client.Unfinished as problem:
            raise type(problem)(f"{self.host} answers /{path} with: {problem}") from None
        except ValueError as problem:
            raise http_client.Unfinished(f"{self.host} answers /{path} with: {problem}") from None

    def judge(self, answer):
        body, status = json_object(answer.body), answer.status
        if body and "errorCode" in body:   # whatever the status of the answer says
            code = str(body["errorCode"])   # some say "500"
            status = int(code) if re.fullmatch("[4-9][0-9]{2}", code) else 400
        if status in (401, 403) and self.accepted:   # the key is good, but not for this
            raise http_client.Unfinished(f"it refuses the key for this ({status})")
        if status in (401, 403):
            raise UserError(f"{self.host} refuses the key in SHOPSTYLE_API_KEY ({status})")
        if status in http_client.PASSING:
            raise http_client.Again(f"error {status}")
        if 300 <= status < 400:
            raise http_client.Unfinished(f"a redirect ({status}), which is not followed because it "
                                         "would carry the key elsewhere")
        if status != 200:
            raise http_client.Unfinished(f"error {status}")
        if body is None:
            raise http_client.Again("200 without JSON")
        self.accepted = True
        return body

    def page(self, leaf, offset):
        """(items, total or None, items asked for) of a leaf's products from `offset` on. Raises
        http_client.Unfinished where the answer holds no list of products."""
        answer = self.get("products", cat=leaf, offset=offset, limit=PAGE)
        items, about = answer.get("products"), answer.get("metadata")
        if not isinstance(items, list):
            raise http_client.Unfinished(f"{self.host} gives no list of products for {leaf}")
        total, limit = (about.get(name) if isinstance(about, dict) else None
                        for name in ("total", "limit"))
        return (items, total if type(total) is int and 0 <= total < 2 ** 62 else None,
                limit if type(limit) is int and 0 < limit < PAGE else PAGE)


def json_object(body):
    """The JSON object in an answer's bytes, None where it is anything else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):   # also a number of 5,000 digits, or lists in lists
        return None
    return found if isinstance(found, dict) else None


def fetch_tree(shop, root):
    """The category tree below `root` as rows (id, parent, leaf, path, name), the root's own first.

    One request for all of it; where the host answers only one level or none, a request a level.
    """
    try:
        answer = shop.get("categories", cat=root)
    except (http_client.Unreachable, http_client.GivenUp, http_client.Stopped):
        raise
    except http_client.Unfinished as problem:
        log(f"{problem}; asking for the tree level by level")
        answer = shop.get("categories", cat=root, depth=1)
    metadata = answer.get("metadata") if isinstance(answer.get("metadata"), dict) else {}
    top = metadata.get("root") if isinstance(metadata.get("root"), dict) else {}
    nodes = child_nodes(answer, root, shop.key)
    if nodes and all(parent == root for _, parent, _ in nodes):
        waiting, asked = list(nodes), {root}
        while waiting:
            node = waiting.pop()
            if node[0] not in asked:
                asked.add(node[0])
                below = child_nodes(shop.get("categories", cat=node[0], depth=1), node[0],
                                    shop.key)
                waiting += below
                nodes += below
    children = {}
    for node in nodes:
        children.setdefault(node[1], []).append(node)
    above = top.get("parentId") if isinstance(top.get("parentId"), str) else None
    name = feed_products.clean(str(top.get("name") or root))
    rows, level = [], [(root, above and feed_products.clean(above), name, ())]
    seen = {root}
    while level:   # a category under two parents stays with the first; a cycle is never entered
        below = []
        for own, parent, name, path in level:
            fresh = [node for node in children.get(own, ()) if node[0] not in seen]
            fresh = list({node[0]: node for node in reversed(fresh)}.values())[::-1]
            seen.update(node[0] for node in fresh)
            below += [(node[0], own, node[2], path + (node[0],)) for node in fresh]
            inner = {node[0] for node in children.get(own, ())} - {root, *path}
            rows.append((own, parent, int(not inner and own != root), "/".join(path), name))
        level = below
    if lost := sorted({node[0] for node in nodes} - seen):
        log(f"{len(lost)} categories hang on none below {root}, such as {lost[0]}: left out")
    return rows


def child_nodes(answer, root, key):
    """[(id, parent, name)] of a /categories answer; what is malformed is counted and left out."""
    nodes = answer.get("categories")
    nodes = nodes if isinstance(nodes, list) else []
    found = [(less_key(node["id"], key), less_key(node.get("parentId") or root, key),
              less_key(str(node.get("name") or ""), key))
             for node in nodes
             if isinstance(node, dict) and isinstance(node.get("id"), str)
             and isinstance(node.get("parentId") or root, str)
             and node["id"].isprintable() and node["id"].strip()
             and not set(node["id"]) & set("/,")]
    if len(found) < len(nodes):
        log(f"{len(nodes) - len(found)} categories without a usable id (a text without / and ,): "
            "left out")
    return found


def read_product(item, leaf, key):
    """A product of a /products answer as queries.store_product takes it; None if it has no id."""
    number = item.get("id") if isinstance(item, dict) else None
    if isinstance(number, bool) or not isinstance(number, (int, str)) or not str(number).strip():
        return None
    image = item.get("image")
    sizes = image.get("sizes") if isinstance(image, dict) else None
    urls = [sizes[size].get("url") for size in PICTURE_SIZES
            if isinstance(sizes, dict) and isinstance(sizes.get(size), dict)]
    urls = [without_key(url, key) for url in urls if isinstance(url, str) and url]
    listed = item["categories"] if isinstance(item.get("categories"), list) else ()
    return {"external_id": less_key(str(number), key),
            "name": less_key(str(item.get("name") or ""), key),
            "description": less_key(str(item.get("description") or ""), key),
            "image": urls[0] if urls else "",
            "listed": [less_key(category["id"], key) for category in listed
                       if isinstance(category, dict) and isinstance(category.get("id"), str)],
            "found": leaf, "group": None}


def without_key(url, key):
    """The URL less its `pid` parameter, and less the key wherever else it may stand."""
    address, _, query = url.partition("?")
    kept = "&".join(pair for pair in query.split("&") if not pair.lower().startswith("pid="))
    return less_key(f"{address}?{kept}" if kept else address, key)


def less_key(text, key):
    """Clean text less the key, as it is and as URLs quote it. One of under 8 letters stays: it is
    no secret but a word said to the stand-in shop, and "x" would be cut out of "_xlarge.jpg"."""
    text = feed_products.clean(text)
    if len(key) < 8:
        return text
    forms = {key, *(quote(key, **more) for quote in (urllib.parse.quote, urllib.parse.quote_plus)
                    for more in ({}, {"safe": ""}))}
    longest = sorted(forms, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest)), "", text, flags=re.I)
