"""The ShopStyle API v2 -> categories and products.

In: the URL of a host that speaks the API, and a key. Out: rows for crawl.py to store. The original
service closed in 2026; any other host that speaks its protocol is crawled with

    python crawl.py --api-url https://shop.example/api/v2/
    SHOPSTYLE_API_URL=https://shop.example/api/v2/ python crawl.py
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import urllib.parse
from typing import Any

from common.foreign_files import check_values
from common.terminal import UserError
from common.text import clean_text
from crawling.http_client import RETRIED, Again, Answer, Stopped, Unfinished, Web
from crawling.queries import CrawledProduct

API_URL = "https://api.shopstyle.com/api/v2/"
PAGE = 50  # products a request, as the API's clients have always asked
PAGING_CAP = 5000  # the API shows no more products of one query
RATE = 750 / 60  # requests a second that the API's documents allow
SHORTEST_KEY = 8  # letters; a shorter one is no secret
MOST_LISTED = 1_000  # categories of a product: a row each, and no shop lists it in so many
PICTURE_SIZES = ("XLarge", "Best", "Original", "Large", "IPhone", "Medium")  # the best first


class Shop:
    """A host that speaks the ShopStyle API v2. The key goes into requests only; no error text holds
    it. Raises UserError if the URL can't be one."""

    def __init__(self, url: str, key: str, web: Web) -> None:
        try:
            parts = urllib.parse.urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # half an IPv6 address, a port that is no number
            usable = False
        if not usable or parts.username is not None:
            raise UserError(
                f"--api-url must be an http(s) URL without a password, such as {API_URL}"
            )
        self.url, self.key, self.host = url.rstrip("/") + "/", key, parts.netloc
        self.name = parts.hostname or ""  # no port: the sample shop has another each time
        self.web = web
        self.key_accepted = False

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """The JSON object that the API answers. Raises http_client.Unfinished if it fails, and
        UserError if it refuses the key."""
        try:
            # A redirect would carry the key to wherever it points, so none is followed.
            return self.web.get(
                self.url + path, self.judge_answer, {"pid": self.key, "format": "json", **params}
            )
        except Stopped:
            raise
        except Unfinished as problem:
            raise type(problem)(f"{self.host} answers /{path} with: {problem}") from None
        except ValueError as problem:
            raise Unfinished(f"{self.host} answers /{path} with: {problem}") from None

    def judge_answer(self, answer: Answer) -> dict[str, Any]:
        """The JSON object of an answer. Raises Again, Unfinished or UserError if it is an error."""
        body = json_object(answer.body)
        status = error_status(body) or answer.status
        if status in (401, 403) and self.key_accepted:  # the key is good, but not for this
            raise Unfinished(f"it refuses the key for this ({status})")
        if status in (401, 403):
            raise UserError(f"{self.host} refuses the key in SHOPSTYLE_API_KEY ({status})")
        if status in RETRIED:
            raise Again(f"error {status}")
        if 300 <= status < 400:
            raise Unfinished(
                f"a redirect ({status}), which is not followed because it would carry "
                "the key elsewhere"
            )
        if status != 200:
            raise Unfinished(f"error {status}")
        if body is None:
            raise Again("200 without JSON")
        self.key_accepted = True
        return body

    def page(self, leaf: str, offset: int) -> tuple[list[Any], int | None, int]:
        """(items, how many products the leaf has or None, how many items a full page has) of a
        leaf's products from `offset` on. Raises http_client.Unfinished if the answer holds no list
        of products."""
        answer = self.get("products", cat=leaf, offset=offset, limit=PAGE)
        items, metadata = answer.get("products"), as_dict(answer.get("metadata"))
        if not isinstance(items, list):
            raise Unfinished(f"{self.host} gives no list of products for {leaf}")
        total, limit = metadata.get("total"), metadata.get("limit")
        if type(total) is not int or not 0 <= total < 2**62:  # a bool is an int, too
            total = None
        if type(limit) is not int or not 0 < limit < PAGE:
            limit = PAGE
        return items, total, limit


def error_status(body: dict[str, Any] | None) -> int | None:
    """The status of an error that a JSON answer tells of, whatever the answer's own status is. None
    if it tells of none."""
    if not body or "errorCode" not in body:
        return None
    code = str(body["errorCode"])  # some say "500"
    return int(code) if re.fullmatch("[4-9][0-9]{2}", code) else 400


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in an answer's bytes, None if it is anything else. Raises ValueError if it is
    too much, before it takes memory."""
    check_values(body)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # also a number of 5,000 digits, or lists in lists
        return None
    return value if isinstance(value, dict) else None


def as_dict(value: Any) -> dict[str, Any]:
    """A JSON object as it is, {} for anything else."""
    return value if isinstance(value, dict) else {}


# ---- products -----------------------------------------------------------------------------------


def read_product(item: Any, leaf: str, key: str) -> CrawledProduct | None:
    """A product of a /products answer, which stood on the page of this leaf, as
    queries.store_product takes it. None if it has no id."""
    number = item.get("id") if isinstance(item, dict) else None
    if isinstance(number, bool) or not isinstance(number, (int, str)) or not str(number).strip():
        return None
    return {
        "external_id": drop_key(str(number), key),
        "name": drop_key(str(item.get("name") or ""), key),
        "description": drop_key(str(item.get("description") or ""), key),
        "image": picture_url(item, key),
        "listed": listed_categories(item, key),
        "found": leaf,
        "group": None,
    }


def picture_url(item: dict[str, Any], key: str) -> str:
    """The URL of the best size of a product's picture, '' if it has none."""
    sizes = as_dict(as_dict(item.get("image")).get("sizes"))
    for size in PICTURE_SIZES:
        url = as_dict(sizes.get(size)).get("url")
        if isinstance(url, str) and url:
            return url_without_key(url, key)
    return ""


def listed_categories(item: dict[str, Any], key: str) -> list[str]:
    """The ids of the categories that a product is listed in, in the shop's order; of more than
    MOST_LISTED only one more."""
    entries = item.get("categories")
    if not isinstance(entries, list):
        return []
    ids = (
        drop_key(entry["id"], key)
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    )
    return list(itertools.islice(ids, MOST_LISTED + 1))


# ---- the key ------------------------------------------------------------------------------------


def url_without_key(url: str, key: str) -> str:
    """The URL without its `pid` parameter, and without the key wherever else it may stand."""
    address, _, query = url.partition("?")
    kept = "&".join(pair for pair in query.split("&") if not pair.lower().startswith("pid="))
    return drop_key(f"{address}?{kept}" if kept else address, key)


def drop_key(text: str, key: str) -> str:
    """Clean text without the key, as it is and as URLs quote it. A key of fewer than SHORTEST_KEY
    letters stays: it is only a word for the sample shop, and "x" would be cut out of "_xlarge.jpg".
    """
    text = clean_text(text)
    if len(key) < SHORTEST_KEY:
        return text
    return key_pattern(key).sub("", text)


@functools.lru_cache(maxsize=1)
def key_pattern(key: str) -> re.Pattern[str]:
    """What matches a key, as it is and as URLs quote it."""
    forms = {key}
    for quote in (urllib.parse.quote, urllib.parse.quote_plus):
        forms |= {quote(key), quote(key, safe="")}
    longest_first = sorted(forms, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)), re.I)
