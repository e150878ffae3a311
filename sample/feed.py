"""A catalogue file as a catalogue that the stand-in shop can serve, so that real products can be
crawled over HTTP too.

In: a feed as `crawl.py --feed` takes it. Out: a catalogue for sample/shop.py, whose categories have
the ids that loading the feed would give them. Pictures are those in the feed's own folder.

    python sample/shop.py --feed products.tsv
"""

import os
from typing import NamedTuple

from common.terminal import UserError
from crawling import feed_products, picture_links
from crawling.feed_categories import CategoryTree

ROOT = {"id": "women", "name": "Women", "path": "", "parent": None}  # where crawl.py starts


class Category(NamedTuple):
    id: str
    name: str
    parent_id: str | None


class Product(NamedTuple):
    id: int
    name: str
    description: str
    categories: tuple
    file: str | None

    @property
    def has_picture(self):
        return self.file is not None

    def picture(self):
        with open(self.file, "rb") as file:
            return file.read()


class FeedCatalogue(NamedTuple):
    categories: list
    products: list


def feed_catalogue(path):
    """The catalogue of a feed. The API knows whole numbers only, so a product whose id is none
    gets one. Raises UserError if the file is no feed or has no products."""
    tree, products, taken, highest = CategoryTree([ROOT]), [], set(), 0
    for row in feed_products.read_feed(path, []):
        shop_id, number = row.external_id, 0
        if shop_id.isascii() and shop_id.isdecimal() and shop_id[0] != "0":
            number = int(shop_id)
        if not 0 < number < 2**63 or number in taken:
            number = highest + 1
        taken.add(number)
        highest = max(highest, number)
        folder = os.path.dirname(os.path.abspath(path))
        file = picture_links.picture_file(folder, row.images[0]) if row.images else None
        products.append(
            Product(number, row.name, row.description, tuple(map(tree.id_of, row.categories)), file)
        )
    if not products:
        raise UserError(f"{path} holds no product")
    categories = [Category(ROOT["id"], ROOT["name"], None)]
    for category, parent, _, _, name in tree.rows():
        categories.append(Category(category, name, parent or ROOT["id"]))
    return FeedCatalogue(categories, products)
