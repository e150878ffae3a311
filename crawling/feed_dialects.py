"""How each shop system writes a catalogue: data, and no code that knows any system by its name.

In: the column names of a file. Out: the Dialect of the system that wrote it, or PLAIN, the general
one. A new system is one more Dialect in DIALECTS, and a file in tests/feeds.

Names of columns stand here as feed_columns.column_name gives them: in lower case, with _ between
words. A name such as `images.src` is the key `src` of the objects in the list `images`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

# What --column can name. product_type is the category in the shop's own words.
FIELDS = ("id", "title", "description", "product_type", "image_link", "item_group_id")
# Fields that only a dialect names:
#   standard   a category of a tree that is not the shop's own, such as Google's
#   parent     the id of the product that the row is a variant of
#   code       another id of a product, by which its variants may name it
#   children   Magento's list of a product's variants
#   kind       what a row is; Dialect.kinds says what its values mean
#   view       if it is not empty, the row says a product of another row in another language
#   position   the place of the row's picture among the product's pictures

Columns = Mapping[str, tuple[str, ...]]
NOTHING: Mapping[str, str] = MappingProxyType({})


class Dialect(NamedTuple):
    """What is particular about the files of one system."""

    name: str
    signs: tuple[tuple[str, ...], ...]  # names that together no other system's files have
    columns: Columns  # field -> the columns that may hold it, the best first
    levels: str = ""  # what parts the levels of a category; '' if the values have to tell
    entries: str = ""  # what parts several categories in a cell; '' if the values have to tell
    list_is_path: bool = False  # whether a list of names is one category, and not several
    roots: tuple[str, ...] = ()  # the top of every category, which is no level for a reader
    kinds: Mapping[str, str] = (
        NOTHING  # value of `kind` -> variant, parent, part (of a product), other
    )
    joined: bool = False  # whether rows of one id that stand together are one product
    picture_base: str = ""  # the address that the file's names of pictures are relative to


PLAIN = Dialect(
    "",
    (),
    {
        "id": (
            "id", "item_id", "product_id", "productid", "itemid", "uniq_id", "unique_id", "offer_id",
            "external_id", "sku", "product_sku", "item_sku", "sku_id", "asin", "pid", "handle",
            "product_code", "productcode", "item_code", "item_number", "itemnumber", "article_id",
            "article_number", "style_id", "code", "mpn", "reference", "ref", "identifier", "uuid",
            "@id",
        ),
        "title": (
            "title", "name", "product_name", "productname", "product_title", "item_name",
            "productdisplayname", "display_name", "item_title", "product", "label", "headline",
            "description_short",
        ),
        "description": (
            "description", "product_description", "long_description", "body_html", "body_(html)",
            "full_description", "summary", "content", "short_description", "details", "desc", "text",
            "about", "features", "feature",
        ),
        "product_type": (
            "product_type", "category_path", "category_tree", "product_category_tree",
            "category_full_name", "category_name_path", "categories", "category", "category_name",
            "product_category", "breadcrumb", "breadcrumbs", "categories.name", "category.name",
            "category_names", "item_category", "categorytext", "taxonomy", "cat", "product_categories",
            "product_type_name",
        ),
        "standard": ("google_product_category", "fb_product_category", "google_category"),
        "image_link": (
            "image_link", "image[0].url", "image", "images", "image.url", "images.url", "images.src",
            "image.src", "images.uri", "image_url", "imageurl", "image_urls", "image_src", "img",
            "img_url", "imgurl", "imurl", "picture", "pictures", "picture_url", "photo", "photos",
            "main_image", "main_image_url", "primary_image", "product_image", "product_image_url",
            "all_images", "thumbnail", "image_1", "image1", "large_image", "image_path", "filename",
            "image_file", "additional_image_link",
        ),
        "item_group_id": ("item_group_id", "group_id", "itemgroup_id", "parent_asin", "style_code"),
    },
)  # fmt: skip

# The first that fits is taken, so those with fewer names of their own come later.
DIALECTS = (
    Dialect(
        "Shopify",
        (("url_handle",), ("handle", "body_html"), ("handle", "body_(html)"),
         ("handle", "title", "image_src"), ("handle", "title", "option1_name")),
        {
            "id": ("url_handle", "handle"),
            "title": ("title",),
            "description": ("body_(html)", "body_html", "description"),
            "product_type": ("type", "product_type"),
            "standard": ("product_category", "google_shopping_/_google_product_category"),
            "image_link": ("image_src", "product_image_url", "images.src", "image.src"),
            "position": ("image_position",),
        },
        joined=True,
    ),
    Dialect(
        "Awin",
        (("aw_product_id",),),
        {
            "id": ("aw_product_id",),
            "title": ("product_name",),
            "description": ("description", "product_short_description"),
            "product_type": ("merchant_product_category_path", "merchant_category"),
            "standard": ("category_name",),
            "image_link": ("large_image", "merchant_image_url", "aw_image_url"),
            "item_group_id": ("parent_product_id",),
        },
    ),
    Dialect(
        "WooCommerce",
        (("id", "type", "name", "categories"), ("id", "type", "sku", "name")),
        {
            "id": ("id",),
            "title": ("name",),
            "description": ("description", "short_description"),
            "product_type": ("categories",),
            "image_link": ("images",),
            "kind": ("type",),
            "parent": ("parent",),
            "code": ("sku",),
        },
        levels=">",
        entries=",",
        kinds={"variation": "variant", "variable": "parent", "variable-subscription": "parent"},
    ),
    Dialect(
        "Magento",
        (("sku", "attribute_set_code"), ("sku", "_attribute_set")),
        {
            "id": ("sku",),
            "title": ("name",),
            "description": ("description", "short_description"),
            "product_type": ("categories", "_category"),
            "image_link": ("base_image", "image", "small_image", "additional_images"),
            "view": ("store_view_code", "_store"),
            "children": ("configurable_variations",),
        },
        levels="/",
        entries=",",
        roots=("Default Category", "Root Catalog"),
    ),
    Dialect(
        "Wix",
        (("handleid", "fieldtype"),),
        {
            "id": ("handleid",),
            "title": ("name",),
            "description": ("description",),
            "product_type": ("collection",),
            "image_link": ("productimageurl",),
            "kind": ("fieldtype",),
        },
        entries=";",
        kinds={"variant": "part"},
        picture_base="https://static.wixstatic.com/media/",
    ),
    Dialect(
        "Amazon",
        (("item_sku", "item_name"), ("item_sku", "feed_product_type")),
        {
            "id": ("item_sku",),
            "title": ("item_name",),
            "description": ("product_description",),
            "product_type": ("item_type", "item_type_keyword", "feed_product_type"),
            "image_link": ("main_image_url", "other_image_url1"),
            "parent": ("parent_sku",),
        },
    ),
    Dialect(
        "Amazon metadata",
        (("asin", "title"), ("parent_asin", "title")),
        {
            "id": ("asin", "parent_asin"),
            "title": ("title",),
            "description": ("description", "feature", "features"),
            "product_type": ("categories", "category"),
            "standard": ("main_category", "main_cat"),
            "image_link": ("imageurlhighres", "images.large", "images.hi_res", "imageurl", "image",
                           "imurl"),
        },
        list_is_path=True,
    ),
    Dialect(
        "Flipkart",
        (("uniq_id", "product_category_tree"),),
        {
            "id": ("uniq_id",),
            "title": ("product_name",),
            "description": ("description",),
            "product_type": ("product_category_tree",),
            "image_link": ("image",),
        },
        levels=">>",
    ),
    Dialect(
        "Yandex Market",
        (("@id", "categoryid"), ("@id", "categoryid.path")),
        {
            "id": ("@id",),
            "title": ("name", "model"),
            "description": ("description",),
            "product_type": ("categoryid.path", "market_category"),
            "image_link": ("picture",),
            "item_group_id": ("@group_id",),
        },
    ),
    Dialect(
        "Heureka",
        (("item_id", "categorytext"), ("item_id", "productname"), ("imgurl", "productname")),
        {
            "id": ("item_id",),
            "title": ("productname", "product"),
            "description": ("description",),
            "product_type": ("categorytext",),
            "image_link": ("imgurl", "imgurl_alternative"),
            "item_group_id": ("itemgroup_id",),
        },
        levels="|",
    ),
    Dialect(
        "schema.org",
        (("@type", "name", "@context"), ("@type", "name", "sku"), ("@type", "name", "offers.price")),
        {
            "id": ("sku", "productid", "mpn", "gtin", "gtin13", "url", "@id"),
            "title": ("name",),
            "description": ("description",),
            "product_type": ("category", "category.name"),
            "image_link": ("image", "image.url", "image.contenturl"),
            "item_group_id": ("inproductgroupwithid", "productgroupid"),
        },
    ),
    Dialect(
        "Google Retail",
        (("id", "title", "images.uri"), ("id", "title", "categories", "primaryproductid")),
        {
            "id": ("id",),
            "title": ("title",),
            "description": ("description",),
            "product_type": ("categories",),
            "image_link": ("images.uri",),
            "parent": ("primaryproductid",),
        },
        levels=">",
    ),
    Dialect(
        "Google Merchant",
        (("id", "title", "image_link"), ("id", "title", "product_type"),
         ("id", "title", "google_product_category")),
        {
            **PLAIN.columns,
            "description": ("description", "summary", "content"),
            "product_type": ("product_type", "category", "categories"),
        },
    ),
)  # fmt: skip

# A category of this name is none, in any dialect.
NO_CATEGORY = frozenset(
    (
        "uncategorized|uncategorised|not categorized|unclassified|no category|none|null|nil|nan|n/a"
        "|na|-|--|—|?|.|undefined|default|default category|root category|root catalog|uncategorized "
        "products|sin categoría|sin categoria|sin categorizar|sin clasificar|non classé|non classe"
        "|non catégorisé|sans catégorie|unkategorisiert|nicht kategorisiert|ohne kategorie|keine "
        "kategorie|senza categoria|non categorizzato|sem categoria|não categorizado|geen categorie"
        "|niet gecategoriseerd|ongecategoriseerd|bez kategorii|nieskategoryzowane|nezařazeno"
        "|nezařazené|nezaradené|bez kategorie|okategoriserad|okategoriserat|ukategoriseret"
        "|ukategorisert|luokittelematon|kategorizálatlan|без категории|без рубрики|без категорії"
        "|kategorisiz|未分類|未分类|미분류|غير مصنف"
    ).split("|")
)
# A top of this name alone is no category either if most categories with levels are below it.
ROOTS = frozenset(
    "home|all|all products|root|shop|catalog|catalogue|products|inicio|accueil|startseite|home page|"
    "homepage|strona główna|главная|каталог|domů|hem|início|トップ|首页|首頁".split("|")
)

CATEGORY_COLUMNS = frozenset(
    column
    for dialect in (PLAIN, *DIALECTS)
    for field in ("product_type", "standard")
    for column in dialect.columns.get(field, ())
)


def recognise(names: Collection[str]) -> Dialect:
    """The first Dialect that has a sign among these column names; PLAIN if none has."""
    for dialect in DIALECTS:
        if any(all(name in names for name in sign) for sign in dialect.signs):
            return dialect
    return PLAIN
