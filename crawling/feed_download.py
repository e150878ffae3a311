"""Where a feed is, a file or a URL -> a file to read.

In: the value of --feed. Out: a Feed, whose path is a file. A URL is downloaded: of a Shopify shop's
/products.json all pages, of anything else the file as it is.

    python crawl.py --feed https://shop.example/products.json
    python crawl.py --feed https://shop.example/feed.xml.gz
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import tempfile
import urllib.parse
from collections.abc import Iterator
from typing import Any, NamedTuple

from common.terminal import Undone, UserError, log
from crawling import http_client, picture_links, shopstyle_api

MOST_BYTES = 20_000_000_000  # of a feed
SHOPIFY_PAGE = 250  # products on a page; a shop shows no more


class Feed(NamedTuple):
    """A feed as a file to read."""

    path: str
    url: str | None  # where the file was downloaded from; None if it is the user's own
    images: str | None = None  # --feed-images: the folder of its relative links to pictures

    @property
    def name(self) -> str:
        """What messages call it: the path of a downloaded file would say nothing."""
        return "the feed" if self.url else self.path

    @property
    def pictures_folder(self) -> str | None:
        """The folder in which relative links are looked for: --feed-images, otherwise that of the
        user's file; None if the feed came from a URL."""
        if self.images is not None or self.url:
            return self.images
        return os.path.dirname(os.path.abspath(self.path))

    def absolute(self, link: str) -> str:
        """A link of this feed to a picture, as it is stored. One that is relative to the feed's URL
        stays so: an affiliate's URL holds a key, which may be in no table."""
        if link.startswith(("https://", "http://")):  # at once: a feed may have millions
            return link
        return picture_links.absolute(link, self.url, self.pictures_folder)

    def address(self, link: str) -> str:
        """The address of a stored link; the link itself if it may be a file's."""
        if self.url and self.pictures_folder is None:
            return picture_links.joined(self.url, link)
        return link


def shopify_products(answer: http_client.Answer) -> list[Any] | None:
    """The products on a page of a Shopify shop's /products.json. None if the shop shows no later
    pages: beyond its 25,000th product it answers with status 400. Raises ValueError if the answer
    is another one."""
    if answer.status == 400:
        return None
    page = shopstyle_api.json_object(answer.body) if answer.status == 200 else None
    if not page or not isinstance(page.get("products"), list):
        raise ValueError(f"no products.json of Shopify (status {answer.status})")
    return page["products"]


def check_status(answer: http_client.Answer) -> None:
    if answer.status != 200:
        raise ValueError(f"error {answer.status}")


def download(web: http_client.Web, url: str, path: str) -> None:
    """Download a feed into a file; of a Shopify shop's /products.json all pages, as JSON Lines.

    Raises ValueError and http_client.Unfinished. Neither of them quotes the URL: an affiliate's URL
    holds a key.
    """
    with open(path, "wb") as file:
        if not urllib.parse.urlsplit(url).path.endswith("/products.json"):
            web.get(url, check_status, redirects=3, most=MOST_BYTES, seconds=3600, sink=file)
            return
        last_products, count = None, 0
        for page in itertools.count(1):
            products = web.get(url, shopify_products, {"limit": SHOPIFY_PAGE, "page": page}, 3)
            if products is None and page > 1:
                log(
                    f"warning: the shop shows only its first {count} products this way: load its "
                    "own export for the rest"
                )
            if not products or products == last_products:  # some shops show one page for ever
                return
            last_products, count = products, count + len(products)
            file.writelines(json.dumps(product).encode() + b"\n" for product in products)


def feed_file(
    address: str, web: http_client.Web, stack: contextlib.ExitStack, images: str | None = None
) -> Feed:
    """The Feed at a path or URL, with its pictures in the folder `images` if that is given. A URL
    is downloaded into a folder that exists until the ExitStack `stack` is closed.

    Raises UserError if there is no feed, Undone if another run may get it, and http_client.Stopped.
    """
    if not address.lower().startswith(("http://", "https://")):
        if not os.path.isfile(address):
            raise UserError(f"--feed takes a file or an http(s) URL, and {address} is none")
        return Feed(address, None, images)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="crawl-"))
    path = os.path.join(folder, "feed")
    try:
        download(web, address, path)
    except http_client.Stopped:
        raise
    except (ValueError, http_client.Unfinished) as problem:
        kind = Undone if isinstance(problem, http_client.Unfinished) else UserError
        raise kind(
            f"the URL of --feed gives no feed ({problem}): check it, or load a file"
        ) from None
    return Feed(path, address, images)


@contextlib.contextmanager
def called_by_name(feed: Feed) -> Iterator[None]:
    """In the sentence of a UserError of the block, the feed's path is replaced by its name."""
    try:
        yield
    except UserError as problem:
        raise UserError(str(problem).replace(feed.path, feed.name)) from None
