"""The ShopStyle API v2 -> categories and products, and the manners of every request.

In: the URL of a host that speaks the API, and a key. Out: rows for crawl.py to store. The original
service closed in 2026; whatever still speaks its protocol is crawled with

    python crawl.py --api-url https://shop.example/api/v2/
    SHOPSTYLE_API_URL=https://shop.example/api/v2/ python crawl.py
"""
import random
import time
import urllib.parse

import requests

import feeds
from console import UserError, VERSION

API_URL = "https://api.shopstyle.com/api/v2/"
PAGE = 50                     # products a request, as the API's clients have always asked
PAGING_CAP = 5000             # the API shows no more products of one query
API_INTERVAL = 60 / 750       # seconds between requests: the documented 750 a minute
TRIES = 3
TIMEOUT = (10, 30)            # seconds to connect and between two pieces of an answer
PICTURE_SIZES = ("XLarge", "Best", "Original", "Large", "IPhone", "Medium")


class Unfinished(Exception):
    """Something that may succeed another time; its text says what happened, without a URL."""


class Unreachable(Unfinished):
    """The host gave no answer at all."""


def new_session(connections=8):
    """A requests session that says what it is and keeps so many connections to a host."""
    session = requests.Session()
    session.headers["User-Agent"] = f"ProductClassifier-crawl/{VERSION}"
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=connections))
    session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=connections))
    return session


def plain_reason(error):
    """A network error in words. Never its own text, which quotes the URL and so the key."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "no secure connection"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__


class Shop:
    """A ShopStyle API v2 host. The key goes into requests only: no error text holds it."""

    def __init__(self, url, key):
        try:
            parts = urllib.parse.urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:   # half an IPv6 address, a port that is no number
            usable = False
        if not usable:
            raise UserError(f"--api-url must be an http(s) URL, such as {API_URL}")
        self.url, self.key, self.host = url.rstrip("/") + "/", key, parts.netloc.split("@")[-1]
        self.session = new_session()
        self.next_request = 0.0

    def get(self, path, **params):
        """The JSON object the API answers. Raises Unfinished when it fails TRIES times, UserError
        when it refuses the key."""
        status = None
        for attempt in range(TRIES):
            if attempt:
                time.sleep(random.uniform(0, 2 ** attempt))
            time.sleep(max(0.0, self.next_request - time.monotonic()))
            self.next_request = time.monotonic() + API_INTERVAL
            try:
                # A redirect would carry the key to wherever it points, so none is followed.
                answer = self.session.get(self.url + path, timeout=TIMEOUT, allow_redirects=False,
                                          params={"pid": self.key, "format": "json", **params})
            except requests.RequestException as error:
                problem = plain_reason(error)
                continue
            status, body = answer.status_code, json_object(answer)
            problem = f"{status} without JSON" if body is None else f"error {status}"
            if body and "errorCode" in body:   # whatever the status of the answer says
                code = body["errorCode"]
                status = code if isinstance(code, int) and code >= 400 else 400
                problem = f"error {status}"
            if status in (401, 403):
                raise UserError(f"{self.host} refuses the key in SHOPSTYLE_API_KEY ({status})")
            if status == 200 and body is not None:
                return body
            if 400 <= status < 500 and status != 429:
                break
        failure = Unfinished if status else Unreachable
        raise failure(f"{self.host} answers /{path} with: {problem}")


def json_object(answer):
    """The JSON object of an answer, None where it is anything else."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):   # also a number of 5,000 digits, or lists in lists
        return None
    return body if isinstance(body, dict) else None


def fetch_tree(shop, root):
    """The category tree below `root` as rows (id, parent, leaf, path, name), the root's own first.

    One request for all of it; where the host answers only one level or none, a request a level.
    """
    try:
        answer = shop.get("categories", cat=root)
    except Unreachable:
        raise
    except Unfinished:
        answer = shop.get("categories", cat=root, depth=1)
    metadata = answer.get("metadata") if isinstance(answer.get("metadata"), dict) else {}
    top = metadata.get("root") if isinstance(metadata.get("root"), dict) else {}
    nodes = child_nodes(answer, root)
    if nodes and all(parent == root for _, parent, _ in nodes):
        waiting, asked = list(nodes), {root}
        while waiting:
            node = waiting.pop()
            if node[0] not in asked:
                asked.add(node[0])
                below = child_nodes(shop.get("categories", cat=node[0], depth=1), node[0])
                waiting += below
                nodes += below
    children = {}
    for node in nodes:
        children.setdefault(node[1], []).append(node)
    above = top.get("parentId") if isinstance(top.get("parentId"), str) else None
    name = feeds.clean(str(top.get("name") or root))
    rows, level = [], [(root, above and feeds.clean(above), name, ())]
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
    return rows


def child_nodes(answer, root):
    """[(id, parent, name)] of a /categories answer, whatever is malformed left out."""
    nodes = answer.get("categories")
    return [(node["id"], node.get("parentId") or root, feeds.clean(str(node.get("name") or "")))
            for node in (nodes if isinstance(nodes, list) else ())
            if isinstance(node, dict) and isinstance(node.get("id"), str)
            and isinstance(node.get("parentId") or root, str)
            and node["id"].isprintable() and node["id"].strip() and not set(node["id"]) & set("/,")]


def read_product(item, leaf, key):
    """A product of a /products answer as db.store_product takes it; None where it has no id."""
    number = item.get("id") if isinstance(item, dict) else None
    if isinstance(number, bool) or not isinstance(number, (int, str)) or not str(number).strip():
        return None
    image = item.get("image")
    sizes = image.get("sizes") if isinstance(image, dict) else None
    urls = [sizes[size].get("url") for size in PICTURE_SIZES
            if isinstance(sizes, dict) and isinstance(sizes.get(size), dict)]
    urls = [without_key(url, key) for url in urls if isinstance(url, str) and url]
    listed = item["categories"] if isinstance(item.get("categories"), list) else ()
    return {"external_id": feeds.clean(str(number)),
            "name": less_key(str(item.get("name") or ""), key),
            "description": less_key(str(item.get("description") or ""), key),
            "image": urls[0] if urls else "",
            "listed": [feeds.clean(category["id"]) for category in listed
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
    text = feeds.clean(text)
    for form in (key, urllib.parse.quote(key), urllib.parse.quote(key, safe="")):
        text = text.replace(form, "") if len(key) >= 8 else text
    return text
