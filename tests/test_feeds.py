"""A feed is read as shops write it: every usable line becomes one product, whatever stands in it,
and a line or a file that can't be used is named in a sentence."""
import os

import pytest
from hypothesis import given, strategies as st

import feeds
from console import UserError

HEADER = "id\ttitle\tdescription\tproduct_type\timage_link\titem_group_id"


@pytest.fixture
def read(tmp_path):
    """read(bytes or text) -> (products, skipped) of a feed with that content."""
    def read(content):
        path = tmp_path / "products.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        skipped = []
        return list(feeds.read_feed(str(path), skipped)), skipped
    return read


# ---- lines --------------------------------------------------------------------------------------

@pytest.mark.parametrize("start, end", (("", "\n"), ("\ufeff", "\n"), ("", "\r\n"),
                                        ("\ufeff", "\r\n")))
@pytest.mark.parametrize("last", (True, False), ids=("ended", "last line open"))
def test_bom_and_line_ends_do_not_matter(read, start, end, last):
    lines = (HEADER, "1\tJean\tBlue\tJeans > Boot\ta.jpg\tg", "", "2\tGown\t\t\t\t")
    assert read(start + end.join(lines) + end * last) == ([
        feeds.FeedProduct(2, "1", "Jean", "Blue", ("Jeans", "Boot"), "a.jpg", "g"),
        feeds.FeedProduct(4, "2", "Gown", "", (), "", "")], [])


@pytest.mark.parametrize("header", (
    "id\ttitle\tproduct_type", "ID\tTitle\tProduct Type",
    "id [id]\ttitle\tproduct type [product_type]",
    "brand\tproduct-type\tid\ttitle", " id \t title\tproduct_type "))
def test_columns_are_found_by_name_in_any_order_and_spelling(read, header):
    names = [feeds.column_name(name) for name in header.split("\t")]
    values = {"id": "1", "title": "Jean", "product_type": "Jeans", "brand": "Of nobody"}
    assert read(header + "\n" + "\t".join(values[name] for name in names)) == (
        [feeds.FeedProduct(2, "1", "Jean", "", ("Jeans",), "", "")], [])


@pytest.mark.parametrize("line, reason", (
    ("\tJean\t\tJeans\t\t", "no id"), ("1", "no title"), ("1\t  \t\tJeans", "no title"),
    ("  \tJean", "no id"), ("\0\tJean", "no id"),
    ("1\tJean\tBlue\tJeans\t\t\tmore", "more columns"),
    ("1\tJean\t" + "x" * feeds.LONGEST_LINE, "too long"),
    ("1\tJean\t" + "x" * feeds.LONGEST_LINE * 2 + "\tJeans", "too long"),
    (" " * feeds.LONGEST_LINE + "1\tJean", "too long"),
    ("1\tJean\t" + "x" * (feeds.LONGEST_LINE - 8), "too long"),   # its end is the last one read
    ("1\tJean\t\t" + " > ".join(["Jeans"] * 2000), "levels"),
))
def test_a_line_that_cannot_be_used_is_named_and_the_next_one_read(read, line, reason):
    products, skipped = read(f"{HEADER}\n{line}\n2\tGown\n")
    assert [(product.line, product.name) for product in products] == [(3, "Gown")]
    assert [number for number, _ in skipped] == [2] and reason in skipped[0][1]


def test_a_short_row_lacks_what_it_lacks(read):
    assert read(f"{HEADER}\n1\tJean\n2\tGown\tRed")[0] == [
        feeds.FeedProduct(2, "1", "Jean", "", (), "", ""),
        feeds.FeedProduct(3, "2", "Gown", "Red", (), "", "")]


@pytest.mark.parametrize("text", (
    '"Jean', 'a 32" inseam, "boot"', "'", "a\u2028b", "a\u2029b\x85c", "a\x0bb\x0cc\x1cd\x1ee",
    "a\rb", "🥻👖", "e\u0301", "<b>&amp;", "\\t \\n", "a, b; c|d", "NULL", "=1+1", "ﷺ"))
def test_text_is_data_whatever_stands_in_it(read, text):
    products, skipped = read(f"{HEADER}\n1\t{text}\t{text}\t{text} > {text}\n2\tGown")
    assert products[0][:5] == (2, "1", text, text, (text, text)) and skipped == []
    assert len(products) == 2


def test_a_nul_becomes_a_space(read):
    products, _ = read(f"{HEADER}\n1\ta\0b\tc\tJeans\n")
    assert products[0].name == "a b"


@pytest.mark.parametrize("raw", (b"caf\xe9", b"\xed\xa0\x80x", b"\xff\xfe"))
def test_what_is_not_utf_8_is_refused_with_its_line_and_not_guessed(read, raw):
    with pytest.raises(UserError, match="line 3 is not UTF-8"):
        read(HEADER.encode() + b"\n1\tcaf\xc3\xa9\t\tJeans\n2\t" + raw + b"\t\tJeans\n")


@given(st.text())
def test_clean_text_can_be_encoded_and_is_clean_already(text):
    cleaned = feeds.clean(text)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned == feeds.clean(cleaned)
    assert "\0" not in cleaned


@pytest.mark.parametrize("content, sentence", (
    (b"", "no column id, title, product_type"),
    (b"\n1\tJean\n", "no column id, title, product_type"),
    (b"id\ttitle\n1\tJean\n", "no column product_type"),
    (b"id,title,product_type\n1,Jean,Jeans\n", "parted by tabs"),
    (HEADER.encode("utf-16"), "no column"),
    (b"\x7fELF\x02\x01\x01\0\0\x1b[2J\x9b" * 500, "no column"),
    (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 99, "no column"),
    (b"\t" * 200_000, "no column"),
))
def test_a_file_that_is_no_feed_is_one_printable_sentence(read, content, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read(content)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1500


def test_a_folder_or_no_file_at_all_is_a_users_mistake(tmp_path):
    for path in (tmp_path, tmp_path / "none.tsv"):
        with pytest.raises(UserError, match="--feed"):
            list(feeds.read_feed(str(path), []))


# ---- categories ---------------------------------------------------------------------------------

@pytest.mark.parametrize("words, slug", (
    ("Bootcut Jeans", "bootcut-jeans"), ("  Tops,  T-Shirts & more ", "tops-t-shirts-more"),
    ("Röcke", "röcke"), ("ＷＩＤＥ", "wide"), ("Женские джинсы", "женские-джинсы"),
    ("ズボン", "ズボン"),
    ("हिन्दी", "हिन्दी"), ("A/B.C,D", "a-b-c-d"), ("3/4 sleeve", "3-4-sleeve"),
    ("<b>x</b>", "b-x-b"),
    ("../..", None), ("👖", None), ("", None)))
def test_a_slug_keeps_letters_of_any_language_and_nothing_that_parts(words, slug):
    own = feeds.slug(words)
    assert own == (feeds.short_hash(words) if slug is None else slug)
    assert own and not set(own) & set("./, \t\n")


def test_ids_are_the_slugs_of_the_whole_path():
    tree = feeds.CategoryTree()
    assert tree.id_of(("Women", "Jeans, Denim", "Boot & Flare")) == "women.jeans-denim.boot-flare"
    assert tree.id_of(("Women",)) == "women"
    assert sorted(tree.rows()) == [
        ("women", None, 0, "women", "Women"),
        ("women.jeans-denim", "women", 0, "women/women.jeans-denim", "Jeans, Denim"),
        ("women.jeans-denim.boot-flare", "women.jeans-denim", 1,
         "women/women.jeans-denim/women.jeans-denim.boot-flare", "Boot & Flare")]


paths = st.lists(st.lists(st.sampled_from(("A", "a", "a b", "a-b", "A, B", "b", "a.b", "!", "?")),
                          min_size=1, max_size=3).map(tuple), min_size=1, max_size=8)


def as_stored(tree):
    return [dict(zip(("id", "parent", "leaf", "path", "name"), row)) for row in tree.rows()]


@given(paths, st.randoms(use_true_random=False))
def test_two_paths_never_share_an_id_and_keep_theirs_when_loaded_again_in_any_order(paths, chance):
    first = feeds.CategoryTree()
    ids = {path: first.id_of(path) for path in paths}
    assert len(set(ids.values())) == len(ids)
    chance.shuffle(paths)
    again = feeds.CategoryTree(as_stored(first))
    assert {path: again.id_of(path) for path in paths} == ids
    assert sorted(again.rows()) == sorted(first.rows())
    parents = {own: parent for own, parent, *_ in first.rows()}
    assert set(parents.values()) - {None} <= set(parents)
    leaves = {own for own, _, leaf, *_ in first.rows() if leaf}
    assert leaves == set(parents) - set(parents.values())


def test_no_category_of_another_shop_is_taken_over_or_rewritten():
    api = [{"id": "women", "parent": "all", "leaf": 0, "path": "", "name": "Women"},
           {"id": "jeans", "parent": "women", "leaf": 0, "path": "jeans", "name": "Jeans"},
           {"id": "boot", "parent": "jeans", "leaf": 1, "path": "jeans/boot", "name": "Boot"}]
    tree = feeds.CategoryTree(api)
    ids = [tree.id_of(("Jeans", "Boot")), tree.id_of(("Jeans",)), tree.id_of(("Women",))]
    assert not {"jeans", "boot", "women"} & set(ids)
    assert {row[0] for row in tree.rows()} == set(ids)


# ---- pictures -----------------------------------------------------------------------------------

def test_picture_paths_may_not_leave_the_feeds_folder(tmp_path):
    folder = tmp_path / "shop"
    (folder / "pictures").mkdir(parents=True)
    (tmp_path / "secret.png").touch()
    (tmp_path / "shop-2").mkdir()
    os.symlink(tmp_path / "secret.png", folder / "out.png")
    os.symlink(tmp_path, folder / "up")
    os.symlink(folder / "pictures", folder / "photos")
    feed = str(folder / "products.tsv")
    for link in ("../secret.png", "pictures/../../secret.png", str(tmp_path / "secret.png"),
                 "/etc/passwd", "out.png", "up/secret.png", "..", "../shop-2/a.png", "a\0b.png",
                 "//host/a.png"):
        assert feeds.picture_file(feed, link) is None, link
    real = os.path.realpath(folder)
    for link, file in (("pictures/a.png", "pictures/a.png"), ("./a b.png", "a b.png"),
                       ("photos/a.png", "pictures/a.png"), ("x/../a.png", "a.png")):
        assert feeds.picture_file(feed, link) == os.path.join(real, file)
