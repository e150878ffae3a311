"""The names by which the columns of a feed are known, however a file spells them.

In: names as they stand in a file. Out: known names: in lower case, with _ between words; and what
else a column may be called, such as without its language, or without a number at its end.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import TypeVar

from crawling.feed_types import Names

# What says at the end of a column's name in which language its texts are: name_de, name.en_US.
# Not among them: id and no, which are other words at the end of a name.
LANGUAGE = re.compile(
    r"(?<=\w)[_.:](?:ar|bg|cn|cs|cz|da|de|dk|el|en|es|et|fa|fi|fr|gb|gr|he|hr|hu|it|ja|jp|ko|kr|"
    r"lt|lv|nb|nl|pl|pt|ro|ru|sk|sl|sr|sv|th|tr|tw|ua|uk|us|vi|zh)(?:_[a-z]{2}(?:_\w+)?)?$"
)
# The objects that some systems wrap the fields of a product in: attributes.name, fields.Name.
WRAPPER = re.compile(
    r"(?:attributes|fields|content|product|properties|_source|data|item)\.(?=\w+$)"
)
MANY_NAMES = 60  # of columns of a row
LONGEST_NAME = 300  # characters by which a column is known

Result = TypeVar("Result")


def cached_by_names(function: Callable[[Names], Result]) -> Callable[[Names], Result]:
    """A function of the names of a row's columns, which remembers its results: those for many names
    take much memory, so only a few of them."""
    of_few = functools.lru_cache(maxsize=1_000)(function)
    of_many = functools.lru_cache(maxsize=2)(function)

    @functools.wraps(function)
    def cached(names: Names) -> Result:
        return of_few(names) if len(names) <= MANY_NAMES else of_many(names)

    return cached


def column_name(text: str) -> str:
    """The name by which a column is known: `image link [image_link]`, `Image Link`, `g:image_link`
    and `image_link` are one column."""
    text = unicodedata.normalize("NFKC", text[:LONGEST_NAME]).strip().strip("\ufeff").lower()
    text = text.replace("i\u0307", "i").replace("ı", "i")  # the Turkish letters
    bracket = re.search(r"\[([a-z_]\w*)\]$", text)  # but image[0].url is another
    if bracket and LANGUAGE.search(f"name_{bracket.group(1)}"):  # name[de]
        text = f"{text[: bracket.start()].rstrip()}_{bracket.group(1)}"
    elif bracket:
        return bracket.group(1)
    text = text.removeprefix("g:").rstrip("*# ") or text
    text = re.sub(r"[\s_]*\(x, ?y, ?z.*\)$", " (x,y,z)", text)  # PrestaShop's sign of a list
    return re.sub(r"[\s-]+", "_", text)


def bare_name(name: str) -> str:
    """A known name without advice in brackets: price_(gross) is price. But image[0].url is not
    image."""
    return re.sub(r"_*\(.*|_+\[.*", "", name) or name


def without_language(name: str) -> str:
    """A known name without the language at its end: name_de and name.en_us are name."""
    return LANGUAGE.sub("", name)


def inner_name(name: str) -> str:
    """A known name without the language at its end, and what it is wrapped in."""
    return WRAPPER.sub("", without_language(name), count=1)


@cached_by_names
def known_names(names: Names) -> Names:
    """The names by which columns are known, in the same order."""
    return tuple(map(column_name, names))


@cached_by_names
def name_places(names: Names) -> dict[str, list[int]]:
    """{a name that an alias may have: where such columns are}. The name of a field in a language, or
    in an object that wraps the product, is one of the field's names, after the others."""
    places: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        for known in dict.fromkeys(
            (name, bare_name(name), list_name(name), numbered(name), numbered(bare_name(name)))
        ):
            places.setdefault(known, []).append(position)
    for position, name in enumerate(names):
        if inner_name(name) != name:
            places.setdefault(inner_name(name), []).append(position)
    return places


def list_name(name: str) -> str:
    """A column's name without an element that is called as the list around it: categories.category
    is categories, and images.image.url is images.url."""
    parts = name.split(".")
    inner = [
        part
        for list_part, part in zip(parts, parts[1:])
        if list_part not in (f"{part}s", f"{part[:-1]}ies")
    ]
    return ".".join([parts[0], *inner])


def numbered(name: str) -> str:
    """A column's name with # for its last number: image_2 is image_#."""
    return re.sub(r"\d+(?=\D*$)", "#", name, count=1)
