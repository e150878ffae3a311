"""How each shop system writes a catalogue: data, and no code that knows any system by its name.

In: the column names of a file. Out: the Dialect of the system that wrote it, or PLAIN, the general
one. A new system is one more Dialect in DIALECTS, and a file in tests/feeds.

Names of columns stand here as feed_names.column_name gives them: in lower case, with _ between
words. A name such as `images.src` is the key `src` of the objects in the list `images`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from crawling.feed_words import COLUMNS

# What --column can name. product_type is the category in the shop's own words.
FIELDS = ("id", "title", "description", "product_type", "image_link", "item_group_id")
# Fields that only a dialect names:
#   standard   a category of a tree that is not the shop's own, such as Google's
#   parent     the id of the product that the row is a variant of
#   code       another id of a product, by which its variants may name it
#   children   Magento's list of a product's variants
#   kind       what a row is; Dialect.kinds says what its values mean
#   part_of    if it is not empty, the row is a part of the product above it
#   view       if it is not empty, the row says a product of another row in another language
#   position   the place of the row's picture among the product's pictures

# field -> the columns that may hold it, the best first. In a name, # stands for a number; a+b is
# both with a blank between them; and of a category, a,b is a level from each, and a_#, one from
# each numbered column.
Columns = Mapping[str, tuple[str, ...]]
NOTHING: Mapping[str, str] = MappingProxyType({})


class Dialect(NamedTuple):
    """What is particular about the files of one system."""

    name: str
    signs: tuple[
        str, ...
    ]  # names, with blanks between, that only this system's files have together; `only` before them
    #    says that a file of the system has no others
    columns: Columns
    levels: str = ""  # what parts the levels of a category; '' if the values have to tell
    entries: str = ""  # what may part categories in a cell; '' if the values have to tell
    pictures: str = ""  # what parts pictures in a cell; '' if the values have to tell
    list_is_path: bool = False  # whether a list of names is one category, and not several
    ends_with_title: bool = False  # whether the last level may be the product's own name
    roots: tuple[str, ...] = ()  # tops of categories that are no level for a reader
    has_root: bool = False  # whether a top that all categories share is such a root
    kinds: Mapping[str, str] = NOTHING  # value of `kind` -> variant, parent, part (of a product)
    joined: bool = False  # whether rows of one id that stand together are one product
    escaped_lines: bool = False  # whether \\n stands for the end of a line in a text
    escapes: str = ""  # signs that have a backslash before them in the name of a category
    picture_base: str = ""  # the address that the file's bare names of pictures are relative to


def words(text: str) -> tuple[str, ...]:
    """Names of columns, as feed_names.column_name gives them."""
    return tuple(text.replace("ı", "i").split())


def with_numbers(names: Sequence[str]) -> tuple[str, ...]:
    """Names of columns, and after them the same with a number at the end: image_2, image2."""
    bare = [name for name in names if "#" not in name]
    return (*names, *(f"{name}{end}" for name in bare for end in ("_#", "#")))


# What none of the systems fits is read by the usual words.
PLAIN = Dialect("", (), {field: words(names) for field, names in COLUMNS.items()})
PLAIN = PLAIN._replace(
    columns={**PLAIN.columns, "image_link": with_numbers(PLAIN.columns["image_link"])}
)

# The first that fits is taken, so those with fewer names of their own come later.
DIALECTS = (
    Dialect(
        "Shopify",
        ("url_handle title", "handle body_html", "handle body_(html)", "handle title image_src",
         "handle title option1_name", "handle title descriptionhtml", "handle title producttype",
         "handle title __parentid"),
        {
            "id": words("url_handle handle"),
            "title": ("title",),
            "description": words("body_(html) body_html descriptionhtml description"),
            "product_type": words("type product_type producttype custom_product_type"),
            "standard": words("product_category standardized_product_type standard_product_type "
                              "google_shopping_/_google_product_category "
                              "category.fullname productcategory.producttaxonomynode.fullname"),
            "image_link": words("image_src product_image_url images.src images.url image.src "
                                "featuredimage.url url"),
            "position": ("image_position",),
            "part_of": ("__parentid",),
        },
        joined=True,
    ),
    Dialect(
        "Awin",
        ("aw_product_id", "cat.mcat", "cat.awcat", "pid purl imgurl"),
        {
            "id": words("aw_product_id @id pid product_id"),
            "title": words("product_name text.name name"),
            "description": words("description product_short_description text.desc desc"),
            "product_type": words("merchant_product_category_path cat.merchantproductcategorypath "
                                  "merchant_category cat.mcat category"),
            "standard": words("category_name cat.awcat"),
            "image_link": words("large_image uri.largeimage merchant_image_url uri.mimage imgurl "
                                "aw_image_url uri.awimage alternate_image alternate_image_two "
                                "alternate_image_three alternate_image_four uri.alternateimage "
                                "uri.alternateimagetwo uri.alternateimagethree image_url"),
            "item_group_id": words("parent_product_id parentproductid parentid parentpid"),
        },
    ),
    Dialect(
        "BigCommerce",
        ("item_type product_id product_name", "item id name type sku", "product_id product_name "
         "product_image_url_1"),
        {
            "id": words("product_id id"),
            "title": words("product_name name"),
            "description": words("product_description description"),
            "product_type": words("category categories"),
            "image_link": words("product_image_url_# internal_image_url_(export) image_url_(import) "
                                "variant_image_url"),
            "kind": words("item_type item"),
        },
        levels="/",
        entries=";",
        kinds=MappingProxyType(dict.fromkeys(words("sku rule variant image video"), "part")),
    ),
    Dialect(
        "WooCommerce",
        ("id type name short_description", "id type sku name", "id type name parent",
         "id typ artikelnummer name", "id type ugs nom", "id tipo sku nombre", "id tipo sku nome",
         "id tipo cod nome", "id ugs nom", "id type sku naam", "id type artikelnummer naam", "id typ sku nazwa",
         "id тип артикул имя", "id type permalink name",
         "only id categories", "only sku categories"),
        {
            "id": words("id sku ugs artikelnummer cod артикул"),
            "title": words("name nom nombre nome naam nazwa имя"),
            "description": words("description beschreibung descripción descrizione descrição "
                                 "beschrijving opis описание short_description "
                                 "kurzbeschreibung description_courte descripción_corta "
                                 "breve_descrizione korte_omschrijving krótki_opis descrição_curta"),
            "product_type": words("categories categories.name kategorien catégories categorías "
                                  "categorie categorias categorieën kategorie категории"),
            "image_link": words("images images.src bilder imágenes immagini immagine imagens "
                                "afbeeldingen obrazki изображения"),
            "kind": words("type typ tipo тип"),
            "parent": words("parent parent_id übergeordnetes_produkt superior genitore ascendente "
                            "hoofd element_nadrzędny"),
            "code": words("sku artikelnummer ugs cod артикул"),
        },
        levels=">",
        entries=",",
        escaped_lines=True,
        escapes=",",
        kinds=MappingProxyType({"variation": "variant", "variable": "parent",
                                "variable-subscription": "parent"}),
    ),
    Dialect(
        "Magento",
        ("sku attribute_set_code", "sku store_view_code", "sku _attribute_set",
         "sku _category _type"),
        {
            "id": ("sku",),
            "title": ("name",),
            "description": words("description short_description"),
            "product_type": words("categories _category"),
            "image_link": words("base_image image small_image additional_images _media_image"),
            "view": words("store_view_code _store"),
            "children": words("configurable_variations"),
        },
        levels="/",
        entries=",|",
        roots=("Default Category", "Root Catalog"),
        has_root=True,
        escapes="/",
    ),
    Dialect(
        "PrestaShop",
        ("product_id active_(0/1) name", "id active_(0/1) name", "id name reference price_(tax_excl.)",
         "product_id name reference price_(tax_excl.)", "only product_id name categories", "name categories_(x,y,z)"),
        {
            "id": words("product_id id reference"),
            "title": ("name",),
            "description": words("description summary short_description"),
            "product_type": words("categories category"),
            "image_link": words("image_urls image"),
        },
        levels="/",
        entries=",",
        roots=("Home", "Root", "Accueil", "Inicio", "Startseite", "Start", "Início", "Strona główna"),
    ),
    Dialect(
        "Wix",
        ("handleid fieldtype", "handle fieldtype"),
        {
            "id": words("handleid handle"),
            "title": ("name",),
            "description": words("description plaindescription"),
            "product_type": words("collection collections categories"),
            "image_link": words("productimageurl media"),
            "kind": ("fieldtype",),
        },
        entries=";",
        pictures=";",
        kinds=MappingProxyType({"variant": "part", "media": "part"}),
        picture_base="https://static.wixstatic.com/media/",
    ),
    Dialect(
        "Etsy",
        ("title tags materials image1",),
        {
            "id": words("sku title"),
            "title": ("title",),
            "description": ("description",),
            "image_link": ("image#",),
        },
    ),
    Dialect(
        "Amazon",
        ("item_sku item_name", "item_sku feed_product_type", "seller_sku item_name asin1"),
        {
            "id": words("item_sku seller_sku"),
            "title": ("item_name",),
            "description": words("product_description item_description bullet_point1"),
            "product_type": words("item_type item_type_keyword item_type_name feed_product_type"),
            "image_link": words("main_image_url other_image_url# image_url"),
            "parent": ("parent_sku",),
        },
    ),
    Dialect(
        "Amazon's catalogue metadata",
        ("asin title", "parent_asin title", "asin imurl", "asin categories"),
        {
            "id": words("asin parent_asin"),
            "title": ("title",),
            "description": words("description feature features"),
            "product_type": words("categories category"),
            "standard": words("main_category main_cat"),
            "image_link": words("imageurlhighres images.hi_res images.large imageurl image imurl"),
        },
        list_is_path=True,
    ),
    Dialect(
        "Flipkart",
        ("uniq_id product_category_tree",),
        {
            "id": ("uniq_id",),
            "title": ("product_name",),
            "description": ("description",),
            "product_type": ("product_category_tree",),
            "image_link": ("image",),
        },
        levels=">",
        ends_with_title=True,
    ),
    Dialect(
        "Myntra",
        ("mastercategory subcategory articletype", "product_id individual_category category_by_gender"),
        {
            "id": words("id product_id"),
            "title": words("productdisplayname description"),
            "description": ("description",),
            "product_type": words("mastercategory,subcategory,articletype category,individual_category"),
            "image_link": words("link image filename"),
        },
    ),
    Dialect(
        "Yandex Market",
        ("@id categoryid url", "@id categoryid price", "@id categoryid picture", "@id categoryid.path"),
        {
            "id": ("@id",),
            "title": words("name typeprefix+vendor+model title"),
            "description": ("description",),
            "product_type": words("categoryid.path market_category"),
            "image_link": ("picture",),
            "item_group_id": words("@group_id @productid"),
        },
    ),
    Dialect(
        "Heureka or Zboží",
        ("item_id categorytext", "item_id productname", "imgurl productname", "productname categorytext"),
        {
            "id": words("item_id productno url"),
            "title": words("productname product"),
            "description": ("description",),
            "product_type": ("categorytext",),
            "image_link": words("imgurl imgurl_alternative additional_imgurl"),
            "item_group_id": ("itemgroup_id",),
        },
        levels="|",
        roots=("Heureka.cz", "Heureka.sk", "Zboží.cz"),
    ),
    Dialect(
        "Ceneo",
        ("@id cat name @price", "@id cat name @url"),
        {
            "id": ("@id",),
            "title": ("name",),
            "description": ("desc",),
            "product_type": ("cat",),
            "image_link": words("imgs.main@url imgs.i@url"),
        },
        levels="/",
    ),
    Dialect(
        "Skroutz or BestPrice",
        ("name category price_with_vat", "uid name category link", "productid category_path",
         "title category_path pricevat", "name category manufacturer image"),
        {
            "id": words("id uid productid unique_id @id"),
            "title": words("name title"),
            "description": ("description",),
            "product_type": words("category category_path"),
            "image_link": words("image imageurl additionalimage additional_imageurl imagesurl.img#"),
        },
    ),
    Dialect(
        "Trovaprezzi",
        ("name code categories image", "code categories link originalprice"),
        {
            "id": words("code sku"),
            "title": ("name",),
            "description": ("description",),
            "product_type": ("categories",),
            "image_link": words("image image#"),
        },
        levels=",;",
    ),
    Dialect(
        "idealo",
        ("sku title categorypath", "artikelnummer_im_shop produktname"),
        {
            "id": words("sku artikelnummer_im_shop"),
            "title": words("title produktname"),
            "description": words("description produktbeschreibung_(max._1000_zeichen) "
                                 "produktbeschreibung"),
            "product_type": words(
                "categorypath produktgruppe_im_shop_(möglichst_als_pfad_ausgehend_von_der_wurzelkategorie) "
                "produktgruppe_im_shop"
            ),
            "image_link": words(
                "imageurl imageurls bildurl_# bildurl_#_(großes_bild) "
                "bildurl_#_(großes_bild)_bei_bedarf_weitere_bildspalten_einfügen"
            ),
        },
    ),
    Dialect(
        "Kelkoo",
        ("offer_id title merchant_category", "offer_id product_url"),
        {
            "id": ("offer_id",),
            "title": ("title",),
            "description": ("description",),
            "product_type": ("merchant_category",),
            "standard": ("kelkoo_category_id",),
            "image_link": words("image_url image_url_#"),
        },
        levels=" - ",
    ),
    Dialect(
        "Rakuten Advertising (LinkShare)",
        ("primary_category secondary_category product_name", "category.primary category.secondary"),
        {
            "id": words("product_id @product_id"),
            "title": words("product_name @name"),
            "description": words("long_product_description description.long "
                                 "short_product_description description.short"),
            "product_type": words("primary_category,secondary_category "
                                  "category.primary,category.secondary"),
            "image_link": words("product_image_url url.productimage"),
        },
        levels="~~",
    ),
    Dialect(
        "Product Classifier",  # what --apply and --export print
        ("path level score product_id",),
        {
            "id": ("id",),
            "title": ("name",),
            "product_type": ("path",),
        },
        levels=">",
        escapes=">",
    ),
    Dialect(
        "Google Retail",
        ("id title images.uri", "id title categories primaryproductid", "id title priceinfo.price",
         "id title categoryhierarchies.categories"),
        {
            "id": ("id",),
            "title": ("title",),
            "description": ("description",),
            "product_type": words("categories categoryhierarchies.categories"),
            "image_link": words("images.uri productmetadata.images.uri"),
            "item_group_id": words("itemgroupid productmetadata.itemgroupid"),
            "parent": ("primaryproductid",),
        },
        levels=">",
    ),
    Dialect(
        "schema.org",
        ("@type name @context", "@type name sku", "@type name offers.price", "@type name image",
         "@type name offers.@type", "@type name description"),
        {
            "id": words("sku productid productgroupid mpn gtin13 gtin url @id name"),
            "title": ("name",),
            "description": ("description",),
            "product_type": words("category category.name category.breadcrumb"),
            "image_link": words("image image.url image.contenturl"),
            "item_group_id": words("inproductgroupwithid productgroupid"),
        },
    ),
    Dialect(
        "Google Merchant or Meta",
        ("id title image_link", "offerid title imagelink", "id title product_type", "id title google_product_category",
         "id title image[0].url", "id title fb_product_category"),
        {
            **PLAIN.columns,
            "description": words("description summary content rich_text_description"),
            "product_type": words("product_type producttypes category categories"),
        },
    ),
)  # fmt: skip

CATEGORY_COLUMNS = tuple(
    dict.fromkeys(
        column
        for dialect in (PLAIN, *DIALECTS)
        for field in ("product_type", "standard", "weak")
        for column in dialect.columns.get(field, ())
    )
)


SIGNS = tuple((dialect, sign.split()) for dialect in DIALECTS for sign in dialect.signs)


def recognise(names: Collection[str]) -> Dialect:
    """The first Dialect that has a sign among these column names; PLAIN if none has."""
    for dialect, sign in SIGNS:
        if sign[0] in names and all(name in names for name in sign):
            return dialect
        if sign[0] == "only" and len(names) == len(sign) - 1 and set(names) == set(sign[1:]):
            return dialect
    return PLAIN
