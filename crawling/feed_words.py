"""The words by which columns of plain tables are known, in many languages.

In: nothing. Out: for each field the names of its columns, the best first, as column_name of
feed_names gives them; what says that a product has no category; and what a shop calls its whole
catalogue.
In a name, # stands for a number. a,b of a category is a level from each of two columns, and a_#, a
level from each numbered one.
"""

from __future__ import annotations

COLUMNS: dict[str, str] = {
    "id": (
        "id item_id product_id productid itemid offer_id offerid uniq_id unique_id external_id sku "
        "product_sku item_sku sku_id sku_code _id asin pid handle article_id product_code productcode "
        "item_code item_number itemnumber item_no article_number article_no "
        "part_number part_no part_no. ordernumber style_id url_handle artikelnummer artikelnr artikelnr. art._nr. artnr "
        "artikel_nr artikelcode bestellnummer produktnummer référence reference_produit réf "
        "code_article code_produit identifiant referencia código codigo código_de_producto "
        "clave codice_articolo codice codice_prodotto riferimento kod_produktu kod indeks "
        "symbol numer_katalogowy kód kód_produktu kód_zboží katalogové_číslo číslo_produktu "
        "código_do_produto varenummer varenr tuotenumero tuotekoodi cikkszám cod_produs артикул "
        "код код_товара идентификатор stok_kodu ürün_kodu stokkodu 商品コード 品番 商品番号 商品id 型番 商品编码 "
        "商品编号 编号 货号 sku编码 商品編號 貨號 상품코드 상품번호 품번 상품id artikel_nr. bestell_nr artikel_id "
        "materialnummer référence_produit numéro_d'article código_de_artículo núm._artículo "
        "cod._articolo bestelnummer productnummer nr_katalogowy kod_towaru id_produktu cód. "
        "referência ref. id_do_produto objednací_kód katalógové_číslo kód_tovaru art.nr "
        "varunummer artikkelnummer produktnr koodi tuote_id termékkód azonosító termékazonosító "
        "cod cod_articol referință κωδικός κωδικός_προϊόντος κωδ. id_товара "
        "номенклатурный_номер код_товару артикулен_номер код_на_продукта stok_no ürün_id barkod "
        "model_kodu 商品管理番号 管理番号 产品编号 商家编码 產品編號 모델번호 자체상품코드 판매자상품코드 code mpn reference ref "
        "identifier uuid gtin ean barcode isbn @id "
        "system_id item_nr. record_id index"
    ),
    "title": (
        "title name product_name productname prod_name product_title producttitle item_name "
        "itemname "
        "productdisplayname display_name name_exact item_title product label headline "
        "article_name "
        "bezeichnung artikelbezeichnung artikelname produktname produktbezeichnung titel nom "
        "désignation designation nom_du_produit nom_produit libellé libelle titre nombre "
        "nombre_del_producto nombre_producto título titulo nome nome_prodotto nome_do_produto "
        "nome_produto titolo denominazione naam productnaam nazwa nazwa_produktu tytuł název "
        "název_produktu název_zboží názov nimi tuotenimi benämning produktnamn namn navn "
        "produktnavn varenavn megnevezés terméknév név denumire nume наименование название "
        "название_товара имя товар ürün_adi ürün_ismi ürünadi 商品名 製品名 名称 商品名称 产品名称 标题 商品標題 商品名稱 "
        "상품명 제품명 품명 kurzbezeichnung intitulé denominación artikelnaam artikelomschrijving "
        "nazwa_towaru designação jméno názov_produktu názov_tovaru artikelnamn betegnelse "
        "tittel tuotteen_nimi nimike termék_neve denumire_produs nume_produs titlu όνομα τίτλος "
        "ονομασία όνομα_προϊόντος περιγραφή_είδους наименование_товара номенклатура назва "
        "назва_товару найменування назва_позиції название_позиции име име_на_продукта заглавие "
        "başlik stok_adi ürün_başliği 品名 タイトル 商品标题 宝贝标题 產品名稱 標題 이름 상품이름 omschrijving "
        "descrizione_breve descrizione descripción descrição part_name item_description "
        "artikeltext artikeltext_# artikeltext# kurzbez. kurzbez artikelbez. artikelbez bez. "
        "prodotto produit producto produto produkt produs termék ürün article artículo artigo "
        "artykuł zboží tovar vare vara tuote είδος προϊόν продукт 产品 商品 상품"
    ),
    "description": (
        "description product_description productdescription long_description full_description "
        "body_html body_(html) descriptionhtml item_description summary content "
        "short_description details desc text about features feature bullet_points "
        "product_details about_product detail_desc "
        "beschreibung langtext artikelbeschreibung produktbeschreibung "
        "langbeschreibung kurzbeschreibung kurztext description_longue descriptif "
        "description_courte descripción descripcion descripción_larga descrizione "
        "descrizione_lunga descrição descricao beschrijving productomschrijving opis "
        "opis_produktu długi_opis popis popis_produktu kuvaus beskrivning produktbeskrivning "
        "beskrivelse leírás descriere описание описание_товара подробное_описание açiklama "
        "ürün_açiklamasi 商品説明 説明 商品詳細 商品描述 描述 详情 商品詳情 상세설명 상품설명 설명 résumé descripción_corta "
        "detalle descrizione_estesa descrizione_breve omschrijving lange_omschrijving "
        "korte_omschrijving opis_długi krótki_opis opis_krótki descrição_do_produto "
        "descrição_longa descrição_curta dlouhý_popis dlhý_popis krátký_popis krátky_popis "
        "lång_beskrivning kort_beskrivning produktbeskrivelse lang_beskrivelse kort_beskrivelse "
        "tuotekuvaus pitkä_kuvaus lyhyt_kuvaus termékleírás hosszú_leírás rövid_leírás "
        "descriere_produs descriere_lungă descriere_scurtă περιγραφή περιγραφή_προϊόντος "
        "σύντομη_περιγραφή детальное_описание краткое_описание опис опис_товару короткий_опис "
        "кратко_описание detay kisa_açiklama detayli_açiklama 説明文 商品説明文 pc用商品説明文 产品描述 商品详情 宝贝描述 "
        "說明 商品說明 상품상세설명 상품_상세정보 상품요약설명"
    ),
    "product_type": (
        "category,sub_category,sub_sub_category category,subcategory,subsubcategory "
        "category,sub_category category,subcategory main_category,sub_category "
        "maincategory,subcategory main_category,subcategory "
        "product_group_name,product_type_name mastercategory,subcategory,articletype "
        "department,category,subcategory category_level_#, category_lvl_#, category_#, category#, "
        "level_#, kategorie_ebene_#, kategorie_#, product_type hauptkategorie,unterkategorie "
        "warengruppe,warenuntergruppe hauptwarengruppe,warengruppe warengruppe,untergruppe "
        "famille,sous_famille familia,subfamilia categoria,sottocategoria "
        "categoria,subcategoria ana_kategori,alt_kategori категория,подкатегория "
        "κατηγορία,υποκατηγορία 대분류,중분류,소분류 大分類,中分類,小分類 一级分类,二级分类,三级分类 category_path "
        "categorypath category_tree product_category_tree category_full_name category_name_path "
        "categories category category.fullname category_name categoryname product_category "
        "producttypes productcategory product_category/complete_name product_group breadcrumb breadcrumbs categories.path categories.name category.name "
        "category_names item_category categorytext product_categories producttype "
        "categoryid.path categories.category@name "
        "kategorie kategorien warengruppe artikelgruppe produktgruppe "
        "kategoriepfad produktkategorie catégorie catégories categorie categoría categoria "
        "categorías categorias gruppo_merceologico categorieën productgroep rubriek kategoria "
        "kategorie_produktu kategórie kategori varugrupp produktgrupp varegruppe kategoriat "
        "tuoteryhmä kategória categorii категория категории раздел рубрика группа_товаров "
        "kategoriler ürün_kategorisi カテゴリ カテゴリー 商品カテゴリ 分类 商品分类 类目 類別 分類 商品分類 카테고리 분류 상품분류 "
        "produkttyp hauptkategorie rubrique sous_famille subfamilia sottocategoria artikelgroep "
        "hoofdcategorie kategoria_produktu grupa_towarowa subcategoria kategorier artikelgrupp "
        "kategóriák termékcsoport cikkcsoport κατηγορία κατηγορίες υποκατηγορία категорія "
        "категорії розділ назва_групи название_группы ana_kategori alt_kategori ürün_grubu "
        "kategori_yolu カテゴリ名 表示先カテゴリ 商品类目 产品分类 品类 所属分类 카테고리명 대분류 중분류 소분류 "
        "product_categories produktkategorien catégories_de_produits categorías_del_producto "
        "categorías_de_producto categorie_prodotto categorias_de_produto productcategorieën "
        "kategorie_produktów категории_товаров κατηγορίες_προϊόντων kategorie_produktů "
        "produktkategorier ürün_kategorileri 商品カテゴリー 产品分类目录 "
        "category_slug categories.slug category.slug"
    ),
    # Names that other things than categories have too: used if no other column has any.
    "weak": (
        "department section group collection collections item_type article_type cat taxonomy "
        "product_type_name rayon gamme univers reparto famiglia departamento departament "
        "sección seção rubro grupa dział skupina zařazení zaradenie osasto grupă ομάδα группа "
        "група каталог famille familia família ジャンル"
    ),
    "image_link": (
        "image_link image_links imagelink additionalimagelinks image[#].url image images image.url image.src images.url "
        "images.src images.uri images.large image_url imageurl image_urls imageurls image_src "
        "imagesrc featuredimage.url featured_image primary_image main_image main_image_url "
        "product_image product_image_url product_images img img_url imgurl imurl picture "
        "pictures picture_url photo photos photo_url large_image all_images gallery thumbnail "
        "thumbnail_url img_link productimage hosted_image_urls "
        "image_path image_file image_name filename additional_image_link "
        "additional_images additional_image_url additionalimage image_alternative bild "
        "bilder bildurl bild_url bilddatei imagen imágenes imagenes foto fotos imagem imagens "
        "immagine immagini afbeelding afbeeldingen zdjęcie zdjęcia obrazek obrázek obrázky "
        "obrázok kuva kuvat billede billeder bilde kép imagine imagini изображение изображения "
        "фото картинка картинки resim görsel görseller 商品画像 画像 商品图片 图片 主图 图片链接 商品圖片 圖片 대표이미지 "
        "추가이미지 이미지 상품이미지 bildlink abbildung produktbild hauptbild visuel url_image lien_image "
        "image_principale url_imagen imagen_principal url_immagine link_immagine afbeelding_url "
        "hoofdafbeelding obraz grafika zdjęcie_główne url_da_imagem imagem_principal fotka "
        "hlavní_obrázek hlavný_obrázok bildlänk billed_url tuotekuva képek kép_url fotó poză "
        "poze url_imagine εικόνα εικόνες φωτογραφία ссылка_на_изображение ссылка_изображения "
        "зображення посилання_зображення снимка снимки resimler resim_url fotoğraf 画像url メイン画像 "
        "商品画像url 画像ファイル名 商品主图 产品图片 宝贝图片 主圖 대표_이미지 이미지등록 weiterer_bildlink zusätzlicher_bildlink image_link_# "
        "image_url_# image_url# imageurl# additional_image_# photo_url_# picture_url_# "
        "bild_url_# bildurl_#"
    ),
    "standard": (
        "google_product_category fb_product_category google_category google_taxonomy "
        "googleproductcategory google_shopping_/_google_product_category google_produktkategorie "
        "google_product_category_name"
    ),
    "item_group_id": (
        "item_group_id itemgroup_id itemgroupid group_id style_code artikelgruppen_id"
    ),
    "parent": ("parent_sku parent_id parent_asin"),
}

# A category of this name is none. Words for "other" are categories: a shop means them so.
NO_CATEGORY = frozenset(
    (
        "uncategorized|uncategorised|not categorized|unclassified|no category|none|null|"
        "nil|nan|n/a|#n/a|n.a.|na|(none)|unknown|-|--|—|?|.|undefined|default|default category|root category|"
        "root catalog|uncategorized products|sin categoría|sin categoria|sin categorizar|"
        "sin clasificar|non classé|non classe|non catégorisé|sans catégorie|unkategorisiert|"
        "nicht kategorisiert|ohne kategorie|keine kategorie|senza categoria|"
        "non categorizzato|sem categoria|não categorizado|geen categorie|"
        "niet gecategoriseerd|ongecategoriseerd|bez kategorii|nieskategoryzowane|nezařazeno|"
        "nezařazené|nezaradené|bez kategorie|okategoriserad|okategoriserat|ukategoriseret|"
        "ukategorisert|luokittelematon|kategorizálatlan|без категории|без рубрики|"
        "без категорії|kategorisiz|未分類|未分类|미분류|غير مصنف|unassigned|nicht zugeordnet|"
        "keine zuordnung|non classée|aucune catégorie|sin clasificación|nessuna categoria|"
        "non classificato|zonder categorie|brak kategorii|brak|nieprzypisane|"
        "sem classificação|nenhuma|bez kategórie|okategoriserade|ingen kategori|"
        "utan kategori|uden kategori|uten kategori|kategorisoimaton|ei kategoriaa|"
        "nincs kategória|besorolatlan|fără categorie|necategorizat|neclasificat|"
        "χωρίσ κατηγορία|μη κατηγοριοποιημένο|αταξινόμητα|без раздела|нет категории|"
        "не указана|без розділу|без категория|некатегоризирани|kategori yok|カテゴリなし|分類なし|"
        "无分类|默认分类|無分類|분류없음|카테고리 없음"
    ).split("|")
)

# What a shop system may call a "product type" and is no category: how the product is sold.
PRODUCT_KINDS = frozenset(
    (
        "simple|variable|variation|configurable|grouped|bundle|virtual|downloadable|external|"
        "subscription|variable-subscription|giftcard|simple product|variable product|"
        "composite|product|variant|parent|child|master|physical|digital|p|v"
    ).split("|")
)

# A top of this name alone is no category either if most categories with levels are below it.
ROOTS = frozenset(
    (
        "home|all|all products|root|shop|catalog|catalogue|products|inicio|accueil|"
        "startseite|home page|homepage|strona główna|главная|каталог|domů|hem|início|"
        "トップ|首页|首頁|all categories|store|alle produkte|alle kategorien|katalog|boutique|"
        "tous les produits|tienda|todos los productos|catálogo|portada|pagina iniziale|"
        "negozio|tutti i prodotti|catalogo|winkel|alle producten|assortiment|sklep|"
        "wszystkie produkty|oferta|página inicial|loja|todos os produtos|domov|úvod|"
        "hlavní stránka|hlavná stránka|eshop|katalóg|startsida|butik|alla produkter|hjem|"
        "forside|forsiden|butikk|alle produkter|etusivu|kauppa|kaikki tuotteet|főoldal|"
        "kezdőlap|bolt|összes termék|acasă|prima pagină|magazin|toate produsele|αρχική|"
        "αρχική σελίδα|κατάστημα|όλα τα προϊόντα|главная страница|каталог товаров|магазин|"
        "все товары|головна|каталог товарів|усі товари|начало|ana sayfa|anasayfa|mağaza|"
        "tüm ürünler|ホーム|トップページ|全商品|すべての商品|主页|全部商品|所有商品|홈|메인|전체상품|전체"
    ).split("|")
)
