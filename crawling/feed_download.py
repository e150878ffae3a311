"""Where a feed lies, a file or a URL -> a file to read.

In: the value of --feed. Out: a path, and the URL it came from: of a Shopify shop's /products.json
all pages, of anything else the file as it is.

    python crawl.py --feed https://shop.example/products.json
    python crawl.py --feed https://shop.example/feed.xml.gz
"""
import contextlib
import itertools
import json
import os
import tempfile
import urllib.parse

from common.terminal import Undone, UserError, log
from crawling import http_client, shopstyle_api

MOST_OF_A_FEED = 20_000_000_000   # bytes
SHOPIFY_PAGE = 250   # products, the most that a shop shows


def shopify_page(answer):
    """The products of a page of a Shopify shop's /products.json; None where the shop will show no
    later ones, as it says with status 400 beyond its 25,000th."""
    if answer.status == 400:
        return None
    found = shopstyle_api.json_object(answer.body) if answer.status == 200 else None
    if not found or not isinstance(found.get("products"), list):
        raise ValueError(f"no products.json of Shopify (status {answer.status})")
    return found["products"]


def feed_arrived(answer):
    if answer.status != 200:
        raise ValueError(f"error {answer.status}")


def fetch_feed(requests, url, path):
    """Fetch a feed into a file; of a Shopify shop's /products.json all pages, as JSON Lines. Raises
    ValueError and http_client.Unfinished, neither of which quotes the URL: an affiliate's holds a
    key."""
    with open(path, "wb") as file:
        if not urllib.parse.urlsplit(url).path.endswith("/products.json"):
            requests.get(url, feed_arrived, redirects=3, most=MOST_OF_A_FEED, seconds=3600,
                         sink=file)
            return
        before, count = None, 0
        for page in itertools.count(1):
            found = requests.get(url, shopify_page, {"limit": SHOPIFY_PAGE, "page": page}, 3)
            if found is None and page > 1:
                log(f"warning: the shop shows no more than its first {count} products so: load its "
                    "own export for the rest")
            if not found or found == before:   # some shops show one page for ever
                return
            before, count = found, count + len(found)
            file.writelines(json.dumps(one).encode() + b"\n" for one in found)


def feed_file(args, stack, requests):
    """(path of the feed as a file, the URL it came from or None). What a URL gives is fetched into
    a folder that is there until the ExitStack `stack` is closed."""
    if not args.feed.lower().startswith(("http://", "https://")):
        if not os.path.isfile(args.feed):
            raise UserError(f"--feed takes a file or an http(s) URL, and {args.feed} is none")
        return args.feed, None
    path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(prefix="crawl-")), "feed")
    try:
        fetch_feed(requests, args.feed, path)
    except http_client.Stopped:
        raise
    except (ValueError, http_client.Unfinished) as problem:
        kind = Undone if isinstance(problem, http_client.Unfinished) else UserError
        raise kind(f"the URL of --feed gives no feed ({problem}): check it, or load a "
                   "file") from None
    return path, args.feed


@contextlib.contextmanager
def called(path, base):
    """In a mistake's sentence, the temporary file of a feed that came from a URL is the feed."""
    try:
        yield
    except UserError as problem:
        raise UserError(str(problem).replace(path, "the feed") if base else str(problem)) from None


def at_shop(link, base):
    """A link of a feed that came from the URL base, or from a file (None)."""
    if base and link.startswith("//"):
        return f"{base.split(':')[0]}:{link}"
    return "/".join(base.split("/")[:3]) + link if base and link.startswith("/") else link
