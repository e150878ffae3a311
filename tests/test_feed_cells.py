"""What a cell of a feed holds: lists, categories and their levels, links to pictures."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.text import folded
from crawling import feed_cells
from crawling.feed_cells import Parting, cell_categories, cell_list, picture_links
from crawling.feed_parting import column_parting


def categories(cells, separator=None, **known):
    """The categories of each of a column's cells, as one path in a text or a list of them."""
    parting = column_parting(dict.fromkeys(cells, 1), Parting("", **known), separator)
    return [[" > ".join(path) for path in cell_categories(cell, parting)] for cell in cells]


# ---- lists --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "listed"),
    (
        ('["a", "b"]', ("a", "b")),
        ("['a', \"b's\"]", ("a", "b's")),
        ("('a', 'b')", ("a", "b")),
        ('[["a", "b"], ["c"]]', (("a", "b"), ("c",))),
        ('[{"id": 1, "name": "a"}, {"name": "b"}]', ("a", "b")),
        ('{"name": "a"}', "a"),
        ("{'a'}", ("a",)),
        ("[1, 2.5, null, true]", ("1", "2.5")),
        ('["a\tb"]', ("a\tb",)),
        ("[]", ()),
        (" [] ", ()),
        ("{}", ()),
        # Texts that are no lists stay as they are.
        ("[sale] hats", "[sale] hats"),
        ("[sale]", "[sale]"),
        ('["a", "b"', '["a", "b"'),
        ("(new)", "(new)"),
        ("a, b", "a, b"),
        ("", ""),
        ("[" * 5_000 + "]" * 5_000, "[" * 5_000 + "]" * 5_000),
    ),
)
def test_a_list_in_a_cell_as_json_or_as_python_prints_it(text, listed):
    assert cell_list(text) == listed


def test_a_list_that_is_too_long_is_a_text():
    text = "[" + ", ".join(["1"] * feed_cells.LONGEST_LIST) + "]"
    assert cell_list(text) == text


@pytest.mark.parametrize(
    ("cells", "read"),
    (
        (["A > B; C", "C"], [["A > B", "C"], ["C"]]),
        (["A > B\nC", "C"], [["A > B", "C"], ["C"]]),
        (["A > B, C", "C"], [["A > B", "C"], ["C"]]),
        (["A > B, C > D", "E"], [["A > B", "C > D"], ["E"]]),
        (["A > B | C", "C"], [["A > B", "C"], ["C"]]),
        (['"A, B > C","D"', "D"], [["A, B > C", "D"], ["D"]]),
        (['"A, B > C", "D"', "D"], [["A, B > C", "D"], ["D"]]),
        (['["A > B", "C"]'], [["A > B", "C"]]),
        (["['A > B', 'C']"], [["A > B", "C"]]),
        ([("A > B", "C")], [["A > B", "C"]]),
        ([(("A", "B"), ("C",))], [["A > B", "C"]]),
        ([("C", ("A", "B"))], [["A > B", "C"]]),
        # Which one files a product: the one with most levels, and the first of equals.
        (["C; A > B; D > E"], [["A > B", "D > E", "C"]]),
        # The same category counts once.
        (["A > B; A > B"], [["A > B"]]),
        (["A > B; ; "], [["A > B"]]),
    ),
)
def test_a_cell_lists_categories(cells, read):
    assert categories(cells) == read


@pytest.mark.parametrize(
    ("cells", "read"),
    (
        # A comma is part of a name if what follows it begins no category of the file.
        (["Health, Beauty > Creams", "Toys"], [["Health, Beauty > Creams"], ["Toys"]]),
        (["Bags, Wallets & Cases > Bags", "A > B"], [["Bags, Wallets & Cases > Bags"], ["A > B"]]),
        (["Home > Beds, Sofas", "Home"], [["Home > Beds, Sofas"], ["Home"]]),
        (["Hats, Caps", "Shoes"], [["Hats, Caps"], ["Shoes"]]),
        # It parts categories if what follows it does.
        (["Hats, Sale", "Sale", "Hats"], [["Hats", "Sale"], ["Sale"], ["Hats"]]),
        (["Women > Dresses, Women > Sale"], [["Women > Dresses", "Women > Sale"]]),
        (["Men > Hats, SALE", "Sale"], [["Men > Hats", "SALE"], ["Sale"]]),
        # Or with a \ before it, never.
        (["Hats\\, Sale", "Sale"], [["Hats, Sale"], ["Sale"]]),
    ),
)
def test_a_comma_parts_categories_only_if_the_file_says_so(cells, read):
    assert categories(cells) == read


@pytest.mark.parametrize(
    ("cells", "read"),
    (
        (
            ["Men|Hats", "Women|Hats", "Men|Caps"],
            [["Men > Hats"], ["Women > Hats"], ["Men > Caps"]],
        ),
        (["Hats|Sale", "Sale|Hats", "Hats"], [["Hats", "Sale"], ["Sale", "Hats"], ["Hats"]]),
        (
            ["Hats | Caps", "Shoes", "Bags", "Belts"],
            [["Hats | Caps"], ["Shoes"], ["Bags"], ["Belts"]],
        ),
    ),
)
def test_a_bar_parts_levels_or_categories_or_is_part_of_a_name(cells, read):
    assert categories(cells) == read


def test_a_list_of_names_is_a_path_only_if_its_column_says_so():
    assert categories([("Men", "Hats")]) == [["Men", "Hats"]]
    assert categories([("Men", "Hats")], list_is_path=True) == [["Men > Hats"]]
    assert categories([("Men > Hats", "Sale")], list_is_path=True) == [["Men > Hats", "Sale"]]


# ---- levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sign",
    (">", " > ", ">>", " >> ", "->", "=>", " -> ", "»", " » ", "›", " › ", "→", "::", " :: ", "|",
     " | ", "/", " / ", " - ", "\u00a0>\u00a0", " &gt; ", "&gt;", " &raquo; "),
)  # fmt: skip
def test_levels_are_parted_by_what_most_cells_have(sign):
    paths = ["Men > Hats > Felt", "Men > Caps", "Women > Hats", "Women > Caps > Wool"]
    cells = [path.replace(" > ", sign) for path in paths]
    assert categories(cells) == [[path] for path in paths]


@pytest.mark.parametrize(
    "cells",
    (
        ["Nuts/Bolts", "Screws", "Nails", "Pins"],
        ["T-shirts", "Low-rise", "V-neck"],
        ["Hats - Men", "Caps", "Shoes", "Bags"],
        ["A|B", "Caps", "Shoes"],
        ["Black/White", "Red/Green", "Blue/Grey"],  # no top has two categories below it
    ),
)
def test_what_only_some_cells_have_is_part_of_a_name(cells):
    assert categories(cells) == [[cell] for cell in cells]


def test_a_sign_with_a_backslash_is_part_of_a_name():
    assert categories(["A\\>B > C", "D > E"]) == [["A>B > C"], ["D > E"]]
    assert categories(["A\\/B/C", "A\\/B/D", "E/F", "E/G"]) == [
        ["A/B > C"], ["A/B > D"], ["E > F"], ["E > G"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("separator", "cell", "read"),
    (
        ("/", "A/B / C", ("A", "B", "C")),
        (" / ", "A/B / C", ("A/B", "C")),
        (" - ", "T-shirts - Men", ("T-shirts", "Men")),
        ("#", "A # B#C", ("A", "B", "C")),
        (",", "A, B,C", ("A", "B", "C")),
        (".", "A.B > C", ("A", "B > C")),
        ("\\", "A\\B", ("A", "B")),
        ("  ", "A  B C", ("A", "B C")),
        (": ", "A: B:C", ("A", "B:C")),
        (" :", "A :B:C", ("A", "B:C")),
    ),
)
def test_separator_says_what_parts_levels(separator, cell, read):
    parting = column_parting({cell: 1}, Parting(""), separator)
    assert cell_categories(cell, parting) == (read,)


def test_levels_have_no_blanks_around_them_and_no_empty_ones_between():
    assert categories(["  A  >  > B   C > ", "> D"]) == [["A > B C"], ["D"]]


# ---- no category --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    ("Uncategorized", "UNCATEGORISED", "none", "NULL", "N/A", "n/a", "-", "--", "Default category",
     "Sin categoría", "Sin categori\u0301a", "Nicht kategorisiert", "Non classé", "Senza categoria",
     "Sem categoria", "Geen categorie", "Bez kategorii", "Nezařazeno", "Okategoriserad", "未分類",
     "Без категории", "Χωρίς κατηγορία", "Kategorisiz", "미분류", "  uncategorized  ", "nan"),
)  # fmt: skip
def test_a_word_that_says_there_is_no_category(word):
    assert categories([word, "Hats"]) == [[], ["Hats"]]
    assert categories([f"{word}; Hats", "Hats"]) == [["Hats"], ["Hats"]]


@pytest.mark.parametrize(
    "word", ("Other", "Misc", "Sonstiges", "Otros", "その他", "Nonesuch", "Nan's")
)
def test_a_word_for_other_things_is_a_category(word):
    assert categories([word, "Hats"]) == [[word], ["Hats"]]


def test_a_last_level_that_says_there_is_none_is_no_level():
    cells = ["Men > Uncategorized", "Men > N/A > -", "None > none", "Default > Hats", "Men > Hats"]
    assert categories(cells) == [["Men"], ["Men"], [], ["Default > Hats"], ["Men > Hats"]]
    assert categories([(("Men", "N/A"),)]) == [["Men"]]


def test_roots_are_no_levels_and_alone_no_category():
    roots = frozenset({"default category"})
    cells = ["Default Category/Men/Hats", "Default Category", "Default Category/Men/Caps"]
    assert categories(cells, "/", roots=roots) == [["Men > Hats"], [], ["Men > Caps"]]


def test_ignored_categories_are_none_by_a_level_or_by_the_whole_path():
    cells = ["A > Sale; B", "sale > A", "B > C; B", "C > Sale off"]
    assert categories(cells, ignored=frozenset({"sale"})) == [
        ["B"], [], ["B > C", "B"], ["C > Sale off"],
    ]  # fmt: skip
    assert categories(cells, ignored=frozenset({"b > c"}))[2] == ["B"]


# ---- numbers, entities, markup ------------------------------------------------------------------


def test_a_number_before_googles_names_is_no_part_of_them():
    standard = {"standard": True, "bare_numbers": False}
    cells = ["173 - Apparel > Hats", "Apparel > Hats", "173", "173.0"]
    assert categories(cells, **standard) == [["Apparel > Hats"], ["Apparel > Hats"], [], []]
    numbers = {"173": "Apparel > Hats"}
    assert categories(cells, numbers=numbers, **standard) == [["Apparel > Hats"]] * 4
    # In a shop's own words a number is a name.
    assert categories(["4 - Doors > Oak", "173"]) == [["4 - Doors > Oak"], ["173"]]


def test_a_published_category_is_never_parted_by_commas():
    assert categories(["Food, Beverages & Tobacco > Tea", "Food"], standard=True) == [
        ["Food, Beverages & Tobacco > Tea"],
        ["Food"],
    ]


@pytest.mark.parametrize(
    ("cell", "read"),
    (
        ("Hats &amp; Caps", "Hats & Caps"),
        ("Hats &amp;amp; Caps", "Hats & Caps"),
        ("Men&#8217;s", "Men’s"),
        ("Caf&eacute; &gt; Cups", "Café > Cups"),
        ("A&nbsp;B", "A B"),
        ("<b>Hats</b>", "Hats"),
        ("<p>Hats</p>", "Hats"),
        ("R&D", "R&D"),
        ("Under 5 < 10", "Under 5 < 10"),
        ("I <3 Hats", "I <3 Hats"),
    ),
)
def test_entities_and_markup_are_no_part_of_a_name(cell, read):
    assert categories([cell]) == [[read]]


def test_an_entity_ends_no_category():
    assert categories(["Hats &amp; Caps; Sale", "Sale"]) == [["Hats & Caps", "Sale"], ["Sale"]]


@pytest.mark.parametrize(
    ("one", "other"),
    (
        ("Hats", "HATS"),
        ("Straße", "STRASSE"),
        ("Café", "Cafe\u0301"),
        ("A  B", " A B"),
        ("ＡＢ", "ab"),
    ),
)
def test_names_that_differ_in_case_blanks_or_forms_are_the_same(one, other):
    assert folded(one) == folded(other)


def test_names_that_differ_in_letters_are_not_the_same():
    assert len({folded(name) for name in ("Cafe", "Café", "Cafes", "Ca fe")}) == 4


# ---- pictures -----------------------------------------------------------------------------------

A, B, C = "https://x.example/a.jpg", "http://x.example/b,b.png", "//x.example/c d.webp"


@pytest.mark.parametrize(
    ("cell", "links"),
    (
        (A, [A]),
        (f"{A},{B}", [A, B]),
        (f"{A}, {B} , {C}", [A, B, C]),
        (f"{A};{B}|{C}", [A, B, C]),
        (f"{A}\n{B}", [A, B]),
        (f"{A} {B}", [A, B]),
        (f'"{A}","{B}"', [A, B]),
        (f'["{A}", "{B}"]', [A, B]),
        (f"['{A}']", [A]),
        (f'[{{"url": "{A}", "tag": ["x"]}}, {{"url": "{B}"}}]', [A, B]),
        ((A, (B,), ""), [A, B]),
        ("a.jpg,b.jpg", ["a.jpg", "b.jpg"]),
        ("/m/a.jpg; /m/b.jpeg", ["/m/a.jpg", "/m/b.jpeg"]),
        ("a.jpg|b.webp", ["a.jpg", "b.webp"]),
        ("a, b.jpg", ["a, b.jpg"]),  # a file of that name
        ("no_selection", []),
        ("nan", []),
        ("None", []),
        (("nan", A), [A]),
        ("nan.jpg", ["nan.jpg"]),
        ("", []),
        ((), []),
        (" , ", []),
        (f"\u00a0{A}\u3000|", [A]),
    ),
)
def test_the_links_of_a_cell(cell, links):
    assert list(picture_links(cell)) == links


def test_a_dialects_sign_parts_links_that_are_bare_names():
    assert list(picture_links("aa~mv2;bb~mv2", ";")) == ["aa~mv2", "bb~mv2"]


# ---- any cell -----------------------------------------------------------------------------------

PIECES = st.lists(
    st.sampled_from(
        [">", " > ", ">>", "/", "|", "::", " - ", ",", ";", "\n", '"', "\\", "[", "]", "(", ")", "{",
         "}", "'", "&", "&amp;", "&gt;", "<b>", "<", "173", " ", "A", "B", "Home", "none", "\u00a0",
         "İ", "ß", "\0", "https://x.example/a.jpg", ".jpg"]
    )
).map("".join)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=40), PIECES)
VALUES = st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=10)
PARTINGS = st.builds(
    Parting,
    level_sign=st.sampled_from(["", ">", "/", "|", "~~", " - "]),
    entry_sign=st.sampled_from(["", ",", ";", ",|"]),
    list_is_path=st.booleans(),
    standard=st.booleans(),
    roots=st.sampled_from([frozenset(), frozenset({"home"})]),
    ignored=st.sampled_from([frozenset(), frozenset({"a"})]),
    numbers=st.sampled_from([{}, {"173": "A > B"}]),
    bare_numbers=st.booleans(),
)


@given(
    st.lists(VALUES, min_size=1, max_size=6), PARTINGS, st.none() | st.text(min_size=1, max_size=3)
)
def test_any_cells_are_read_as_categories_without_blanks_around_their_levels(
    cells, given_parting, separator
):
    counts = dict.fromkeys(cells, 1)
    parting = column_parting(counts, given_parting, separator)
    for cell in cells:
        paths = cell_categories(cell, parting)
        assert len(set(paths)) == len(paths)
        assert [len(path) for path in paths] == sorted(map(len, paths), reverse=True)
        for level in (level for path in paths for level in path):
            assert level == " ".join(level.split()) != ""


@given(VALUES, st.sampled_from(["", ";", ","]))
def test_any_cell_is_read_as_links_without_blanks_around_them(cell, sign):
    for link in picture_links(cell, sign):
        assert link == link.strip() != ""


@given(TEXTS)
def test_any_text_is_a_list_or_stays_as_it_is(text):
    listed = cell_list(text)
    assert not isinstance(listed, str) or listed == text.strip() or text.strip()[0] == "{"
    assert re.fullmatch(r"\S(.*\S)?|", feed_cells.folded(text), re.DOTALL)
