"""Where a feed is, a file or a URL -> a file to read.

In: the value of --feed. Out: a Feed, whose path is a file. A URL is downloaded: of a Shopify shop's
/products.json all pages, of anything else the file as it is.

    python crawl.py --feed https://shop.example/products.json
    python crawl.py --feed https://shop.example/feed.xml.gz
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from common.terminal import Undone, UserError, log
from crawling import http_client, picture_links, shopstyle_api
from crawling.feed_files import feed_files, without_repeats
from crawling.feed_types import FeedFile, ReadOptions

MOST_BYTES = 20_000_000_000  # of a feed
MOST_PAGES = 4_000  # of a Shopify shop, which shows 100; of another kind, a million products
SHOPIFY_PAGE = 250  # products on a page; a shop shows no more


class Feed(NamedTuple):
    """The files of a feed."""

    files: tuple[FeedFile, ...]

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders in which relative links to pictures are looked for; none if the feed came from
        a URL."""
        return tuple(dict.fromkeys(file.folder for file in self.files if file.folder is not None))

    def address(self, link: str) -> str:
        """The address of a stored link; the link itself if it may be a file's. A link that is
        relative to the feed's URL is stored so: an affiliate's URL holds a key, which may be in no
        table."""
        if not self.folders and self.files[0].url:
            return picture_links.joined(self.files[0].url, link)
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

    Pages that come again end it. Raises ValueError, also if there is no end of pages, and
    http_client.Unfinished. Neither of them quotes the URL: an affiliate's URL
    holds a key.
    """
    with open(path, "wb") as file:
        if not urllib.parse.urlsplit(url).path.endswith("/products.json"):
            web.get(url, check_status, redirects=3, most=MOST_BYTES, seconds=3600, sink=file)
            return
        seen, count = set[bytes](), 0
        for page in range(1, MOST_PAGES + 1):
            products = web.get(url, shopify_products, {"limit": SHOPIFY_PAGE, "page": page}, 3)
            if products is None and page > 1:
                log(
                    f"warning: the shop shows only its first {count} products this way: load its "
                    "own export for the rest"
                )
            lines = [json.dumps(product).encode() + b"\n" for product in products or ()]
            digest = hashlib.sha256(b"".join(lines)).digest()
            if not lines or digest in seen:  # some shops show one page for ever, or some in turn
                return
            seen.add(digest)
            count += len(lines)
            file.writelines(lines)
            if file.tell() > MOST_BYTES:
                raise ValueError(f"its pages have more than {MOST_BYTES} bytes")
        # Part of a catalogue is none: what it does not name would count as gone.
        raise ValueError(f"it has more than {MOST_PAGES:,} pages")


def open_feed(
    addresses: Sequence[str],
    options: ReadOptions,
    images: str | None,
    web: http_client.Web,
    stack: contextlib.ExitStack,
) -> Feed:
    """The Feed at paths and URLs, with its pictures in the folder `images` if that is given. A URL
    is downloaded into a folder that exists until the ExitStack `stack` is closed.

    Raises UserError if there is no feed, Undone if another run may get it, and http_client.Stopped.
    """
    files: dict[FeedFile, None] = {}
    for address in addresses:
        if address.lower().startswith(("http://", "https://")):
            path = downloaded(address, web, stack)
            with called_by_name([FeedFile(path, name="the feed")]):
                for file in feed_files([path], options):
                    name = f"the feed ({file.member[:100]})" if file.member else "the feed"
                    files.setdefault(file._replace(name=name, url=address, folder=images))
        else:
            for file in feed_files([address], options):
                folder = os.path.dirname(os.path.abspath(file.path)) if images is None else images
                files.setdefault(file._replace(folder=folder))
    return Feed(tuple(without_repeats(files)))


def downloaded(url: str, web: http_client.Web, stack: contextlib.ExitStack) -> str:
    """The path of a downloaded file, as open_feed says."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="crawl-"))
    path = os.path.join(folder, "feed")
    try:
        download(web, url, path)
    except http_client.Stopped:
        raise
    except (ValueError, http_client.Unfinished) as problem:
        kind = Undone if isinstance(problem, http_client.Unfinished) else UserError
        raise kind(
            f"the URL of --feed gives no feed ({problem}): check it, or load a file"
        ) from None
    return path


@contextlib.contextmanager
def called_by_name(files: Iterable[FeedFile]) -> Iterator[None]:
    """In the sentence of a UserError of the block, the paths of files are replaced by their names."""
    try:
        yield
    except UserError as problem:
        sentence = str(problem)
        for file in files:
            sentence = sentence.replace(file.path, file.name)
        raise UserError(sentence) from None
