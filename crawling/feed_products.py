"""Catalogue files -> products. In: a feed as shops publish it; out: rows for crawl.py to store.

Google Merchant and Meta feeds, Shopify's exports and products.json, Awin's product files, and any
other table with a name for each column; feed_formats.py reads the files. Of a product only id and
title are needed; description, category, picture and group are used where present.

    python crawl.py --feed products.tsv
    python crawl.py --feed stock.csv --column id=SKU --column title=Name
"""
import collections
import contextlib
import hashlib
import os
import re
import unicodedata
from typing import NamedTuple

from common.terminal import UserError
from crawling.feed_formats import read_rows

DEEPEST_PATH = 50   # levels of a category
# What --column can name. product_type is the category in the shop's own words.
FIELDS = ("id", "title", "description", "product_type", "image_link", "item_group_id")

# Per shop system the columns of each field, the best first. `standard` is a category of somebody
# else's tree, used where the file has none of the shop's own.
GOOGLE = {"id": ("id",), "title": ("title",), "description": ("description", "summary", "content"),
          "product_type": ("product_type",),
          "standard": ("google_product_category", "fb_product_category"),
          "image_link": ("image_link", "image[0].url"), "item_group_id": ("item_group_id",)}
SHOPIFY = {"id": ("url_handle", "handle"), "title": ("title",),
           "description": ("body_(html)", "body_html", "description"),
           "product_type": ("type", "product_type"),
           "standard": ("product_category", "google_shopping_/_google_product_category"),
           "image_link": ("image_src", "product_image_url", "images"),
           "position": ("image_position",)}
AWIN = {"id": ("aw_product_id",), "title": ("product_name",),
        "description": ("description", "product_short_description"),
        "product_type": ("merchant_product_category_path", "merchant_category"),
        "standard": ("category_name",),
        "image_link": ("large_image", "merchant_image_url", "aw_image_url"),
        "item_group_id": ("parent_product_id",)}


class FeedProduct(NamedTuple):
    line: int            # of the file, from 1
    external_id: str     # as the shop gave it: leading zeros are part of it
    name: str
    description: str
    category: tuple      # the shop's words from the top to the leaf; () where it gives none
    image: str           # a URL or a path relative to the feed's folder, '' where there is none
    group: str           # item_group_id, '' where there is none


class Layout(NamedTuple):
    """How to read rows of certain column names."""
    places: dict         # field -> positions of the columns that may hold it, the best first
    standard: tuple      # positions of the columns with a category of somebody else's tree
    header: bool         # whether all rows of the file have these columns
    merged: bool         # whether rows that share an id and stand together are one product
    separator: str       # what parts the levels of a category; '' where the values have to tell


# ---- rows -> products ---------------------------------------------------------------------------

def read_feed(path, skipped, columns=None):
    """Yield a FeedProduct for each product of a catalogue file.

    What can't be used is appended to `skipped` as (line number, reason). `columns` is a dict of
    FIELDS -> column name and goes before what the names of the columns say. Raises UserError where
    the file can't be read, has no columns for id and title, or is not UTF-8.
    """
    columns = columns or {}
    yield from read_products(path, skipped, columns, *survey_categories(path, columns))


def check_feed(path, columns=None):
    """Raise UserError unless the file can be read and has a catalogue's columns."""
    rows = read_products(path, collections.deque(maxlen=0), columns or {}, " > ", False)
    with contextlib.closing(rows):
        next(rows, None)


def read_products(path, skipped, columns, separator, standard):
    """read_feed's products, once it is known what parts the levels of a category, and whether the
    `standard` ones are to be taken."""
    for row in merge_rows(read_texts(path, skipped, columns)):
        category = row["product_type"] or (row["standard"] if standard else "")
        # Feeds that were escaped twice have &gt;, and some a separator at the end.
        category = f" {category} ".replace(" &gt; ", " > ")
        words = tuple([word for part in part_levels(category, separator) if (word := part.strip())])
        if not row["id"]:
            skipped.append((row["line"], "no id"))
        elif not row["title"]:
            skipped.append((row["line"], f"no title (id {row['id'][:50]})"))
        elif len(words) > DEEPEST_PATH:
            skipped.append((row["line"], f"a category of more than {DEEPEST_PATH} levels"))
        else:
            yield FeedProduct(row["line"], row["id"], row["title"], row["description"],
                              words, row["image_link"], row["item_group_id"])


def part_levels(category, separator):
    """The levels of a category; whatever blanks are around a separator that has some."""
    bare = separator.strip()
    return category.split(separator) if bare == separator else \
        re.split(rf"\s{re.escape(bare)}(?=\s)", category)


def survey_categories(path, columns):
    """(separator, standard) for read_products, from reading as much of the file as it takes: as a
    rule its first row. One answer holds for a file, or its categories would be of two trees."""
    found, total = collections.Counter(), 0
    for layout, row in read_texts(path, collections.deque(maxlen=0), columns):
        category = row["product_type"]
        if layout.separator and (category or layout.header and not layout.places["product_type"]):
            return layout.separator, not category
        if category:
            total += 1
            found.update(part for part in (" > ", ">", " | ", " / ") if part in category)
    separator = max((" > ", " | ", " / "), key=found.__getitem__)
    if found[separator] <= total / 2:   # "Coats / Jackets" may be the name of one category
        separator = ">" if found[">"] and not found[" > "] else " > "
    return separator, not total


def merge_rows(rows):
    """Yield the rows as they are, but those of one Shopify product, which stand together, as one:
    each field from the first that has it, but the picture from the one in position 1."""
    held = None
    for layout, row in rows:
        if not layout.merged:
            yield row
        elif held and row["id"] and row["id"] == held["id"]:
            if row["position"] == "1" != held["position"] and row["image_link"]:
                held["image_link"], held["position"] = row["image_link"], "1"
            held = {field: text or row[field] for field, text in held.items()}
        else:
            if held:
                yield held
            held = row
    if held:
        yield held


def read_texts(path, skipped, columns):
    """Yield (layout, {field: text}) for each row of a file; its line is among the fields."""
    if strange := set(columns) - set(FIELDS):
        raise UserError(f"--column knows no field {', '.join(sorted(strange))}: name one of "
                        f"{', '.join(FIELDS)}")
    names, layout, first, known = None, None, None, set()
    for line, found, values in read_rows(path, skipped):
        if found is not names and found != names:
            names, first = found, first or found
            layout = find_layout(names, columns, header=values is None)
            known.update(field for field, places in layout.places.items() if places)
        if values is None:
            check_columns(path, names, known, columns)
            continue
        if not layout.header:   # JSON can escape what a line of text can't hold
            values = [clean(value) if isinstance(value, str) else tuple(map(clean, value))
                      for value in values]
        row = {field: first_text(values, places) for field, places in layout.places.items()}
        row["line"], row["standard"] = line, ""
        if not row["image_link"]:   # JSON may list several
            row["image_link"] = next((value[0] for place in layout.places["image_link"]
                                      if place < len(values) and (value := values[place])
                                      and not isinstance(value, str)), "")
        if not row["product_type"]:
            row["product_type"] = first_path(values, layout.places["product_type"])
            row["standard"] = first_text(values, layout.standard, has_letters)
        yield layout, row
    if first is not None:   # JSON and XML name their columns row by row
        check_columns(path, first, known, columns)


def find_layout(names, columns, header):
    """The Layout of rows with these column names, told by the names that only one system has."""
    names = [column_name(name) for name in names]
    system = GOOGLE
    if "aw_product_id" in names:
        system = AWIN
    elif "url_handle" in names or "handle" in names and ("body_html" in names
                                                         or "id" not in names):
        system = SHOPIFY
    wanted = {**dict.fromkeys(FIELDS, ()), **system,
              **{field: (column_name(name),) for field, name in columns.items()}}
    places = {field: tuple(place for alias in aliases
                           for place, name in enumerate(names) if name == alias)
              for field, aliases in wanted.items()}
    standard = places.pop("standard")
    open_question = system is AWIN or "product_type" in columns
    return Layout(places, () if "product_type" in columns else standard, header,
                  header and system is SHOPIFY, "" if open_question else " > ")


def check_columns(path, names, known, columns):
    """Raise UserError where columns for id or title, or of `columns`, are not among the `known`."""
    found = "found: " + ", ".join(repr(name[:30]) for name in names[:20])
    for field, name in columns.items():
        if field not in known:
            raise UserError(f"{path} has no column {name!r} for --column {field}: name one that it "
                            f"has; {found}")
    missing = [field for field in ("id", "title") if field not in known]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}: say which it is, for example "
                        f"--column {missing[0]}=HEADER; {found}")


def first_text(values, places, usable=None):
    """The first of the values in these places that is a usable text; '' where none is."""
    for place in places:
        if place < len(values) and isinstance(values[place], str):
            text = values[place].strip()
            if text and (usable is None or usable(text)):
                return text
    return ""


def first_path(values, places):
    """The first list among the values in these places as a path of levels, or the first path in it;
    '' where there is no list."""
    found = next((values[place] for place in places
                  if place < len(values) and not isinstance(values[place], str)), ())
    return next((path for path in found if " > " in path), " > ".join(found))


def has_letters(text):
    """Whether a category may be words; Google's may be a number instead, which means nothing."""
    return any(letter.isalpha() for letter in text)


# ---- texts --------------------------------------------------------------------------------------

def column_name(text):
    """`image link [image_link]`, `Image Link`, `g:image_link` and `image_link` are one column."""
    text = text.strip().lower()
    bracket = re.search(r"\[([a-z_]\w*)\]$", text)   # but image[0].url is another
    return bracket.group(1) if bracket else re.sub(r"[\s-]+", "_", text.removeprefix("g:"))


def clean(text):
    """Text that SQLite, JSON and a terminal can hold: no NUL, no half of a surrogate pair."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8").strip()


def slug(words):
    """Lower-case letters, marks and digits of any language, joined by '-'; a hash where none is
    left. It holds no '.', which parts levels, and no ',', which parts ids in --categories."""
    kept = (letter if unicodedata.category(letter)[0] in "LMN" else " "
            for letter in unicodedata.normalize("NFKC", words).lower())
    return "-".join("".join(kept).split()) or short_hash(words)


def short_hash(text):
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


class CategoryTree:
    """Category ids of a feed: the slugs of the whole path joined by '.', made unique.

    `categories` are the category rows of crawl.db: a feed loaded again keeps its ids whatever the
    order of its lines, and no category of an API's tree (they lie below a root, which a feed has
    not) is taken over by its id or its name.
    """

    def __init__(self, categories=()):
        names = {row["id"]: row["name"] for row in categories}
        tops = {row["id"] for row in categories if row["parent"] is None}
        self.ids = {tuple(names.get(step) or step for step in row["path"].split("/")): row["id"]
                    for row in categories if row["path"] and row["path"].split("/")[0] in tops}
        self.taken = set(names)

    def id_of(self, path):
        """The id of a path in the shop's words, () for none; gives ids to its parents too. Blanks
        and ways to write an accent make no difference."""
        path = tuple(unicodedata.normalize("NFC", " ".join(word.split())) for word in path)
        if path not in self.ids:
            above = self.id_of(path[:-1]) + "." if len(path) > 1 else ""
            own = above + slug(path[-1])
            if own in self.taken:
                own += "-" + short_hash(" > ".join(path))
            self.ids[path] = own
            self.taken.add(own)
        return self.ids[path]

    def rows(self):
        """(id, parent, leaf, path, name) of all categories, for queries.store_categories."""
        inner = {path[:-1] for path in self.ids}
        return [(own, self.ids.get(path[:-1]), int(path not in inner),
                 "/".join(self.ids[path[:depth]] for depth in range(1, len(path) + 1)), path[-1])
                for path, own in self.ids.items()]


def of_the_web(link):
    """Whether a link to a picture leads into the web, and not to a file beside the feed."""
    return link.strip().lower().startswith(("http://", "https://", "//"))


def picture_file(feed_path, link):
    """The file that a feed's relative image_link means; None if it leaves the feed's folder, or is
    an address of another kind."""
    link = link.strip()
    if "://" in link:
        return None
    folder = os.path.realpath(os.path.dirname(os.path.abspath(feed_path)))
    try:
        path = os.path.realpath(os.path.join(folder, link))
    except ValueError:
        return None
    return path if os.path.commonpath([folder, path]) == folder else None
