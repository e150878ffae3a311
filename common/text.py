"""Texts: compared, stored, printed.

In and out: strings.
"""
import hashlib
import html
import re
import unicodedata


def normalised(name, description):
    """A product's text without case, markup, punctuation and spacing."""
    text = unicodedata.normalize("NFKC", html.unescape(f"{name or ''}\n{description or ''}"))
    return re.sub(r"\W+", " ", re.sub(r"<[^<>]*>", " ", text)).casefold().strip()


def text_key(text):
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def folded(text):
    """A category's name as it is compared: in lower case, blanks in a row as one."""
    return " ".join(text.split()).casefold()


def storable(text):
    """The text without halves of surrogate pairs, which arguments may hold and SQLite can't."""
    return text.encode("utf-8", "replace").decode("utf-8")
