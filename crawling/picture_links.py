"""What a link to a picture means: an address in the web, a file in a folder, or nothing.

In: a link as a feed gives it, where the feed came from, and the folder of its pictures. Out: an
address, or the path of a file that lies in that folder.
"""

from __future__ import annotations

import os
import re
import urllib.parse

LONGEST_HOST = 260  # characters, with a port
LABEL = r"[^\W_](?:[\w-]*[^\W_])?"  # letters of any language
HOST = re.compile(rf"(?:{LABEL}\.)+(?:[^\W\d_]{{2,63}}|xn--[a-z0-9-]+)(?::\d+)?", re.IGNORECASE)


def of_the_web(link: str) -> bool:
    """Whether a link to a picture leads into the web, and not to a file."""
    return link.strip().lower().startswith(("http://", "https://", "//"))


def absolute(link: str, feed_url: str | None, folder: str | None) -> str:
    """A link as it is stored: an address if it names a host, or if it begins with / and the feed
    came from feed_url. A host name without a scheme is an address, unless `folder`, which holds the
    pictures, has something of that name. Other links are returned as they are."""
    link = link.strip()
    if link.lower().startswith(("http://", "https://")):
        return link
    if names_host(link) and not (
        folder and os.path.lexists(os.path.join(folder, first_part(link)))
    ):
        return f"https://{link}"
    if feed_url and link.startswith("/"):
        return joined(root_of(feed_url), link)
    return link


def joined(base: str, link: str) -> str:
    """A link, resolved against an address."""
    try:
        return urllib.parse.urljoin(base, link)
    except ValueError:  # half an IPv6 address
        return link


def root_of(url: str) -> str:
    """The top of a URL's host, without a name and password."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"


def first_part(link: str) -> str:
    return link.partition("/")[0]


def names_host(link: str) -> bool:
    """Whether a link without a scheme begins with the name of a host: `img.example/1.jpg`, but not
    `photo.jpg` or `images/1.jpg`."""
    host = first_part(link)
    return (
        0 < len(host) <= LONGEST_HOST and len(host) + 1 < len(link) and bool(HOST.fullmatch(host))
    )


def picture_file(folder: str, link: str) -> str | None:
    """The file in a folder that a link means: a path relative to it, which some systems begin with
    a /. None if it lies outside the folder, or if the link is an address of another kind."""
    link = link.strip()
    if "://" in link:
        return None
    folder = os.path.realpath(folder)
    for relative in dict.fromkeys((link, link.lstrip("/"), link.replace("\\", "/"))):
        try:
            path = os.path.realpath(os.path.join(folder, relative))
        except ValueError:
            return None
        inside = os.path.commonpath([folder, path]) == folder
        if inside and (relative == link or os.path.lexists(path)):
            return path
    return None
