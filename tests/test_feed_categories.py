"""Categories in a shop's words get ids that stay the same, whatever the order of the feed's lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.text import short_hash, slug
from crawling.feed_categories import CategoryTree


@pytest.mark.parametrize(
    "words, right",
    (
        ("Bootcut Jeans", "bootcut-jeans"),
        ("  Tops,  T-Shirts & more ", "tops-t-shirts-more"),
        ("Röcke", "röcke"),
        ("ＷＩＤＥ", "wide"),
        ("Женские джинсы", "женские-джинсы"),
        ("ズボン", "ズボン"),
        ("हिन्दी", "हिन्दी"),
        ("A/B.C,D", "a-b-c-d"),
        ("3/4 sleeve", "3-4-sleeve"),
        ("<b>x</b>", "b-x-b"),
        ("../..", None),
        ("👖", None),
        ("", None),
    ),
)
def test_a_slug_keeps_letters_of_any_language_and_nothing_that_parts(words, right):
    made = slug(words)
    assert made == (short_hash(words) if right is None else right)
    assert made and not set(made) & set("./, \t\n")


def test_ids_are_the_slugs_of_the_whole_path():
    tree = CategoryTree()
    assert tree.id_of(("Women", "Jeans, Denim", "Boot & Flare")) == "women.jeans-denim.boot-flare"
    assert tree.id_of(("Women",)) == "women"
    assert sorted(tree.rows()) == [
        ("women", None, 0, "women", "Women"),
        ("women.jeans-denim", "women", 0, "women/women.jeans-denim", "Jeans, Denim"),
        (
            "women.jeans-denim.boot-flare",
            "women.jeans-denim",
            1,
            "women/women.jeans-denim/women.jeans-denim.boot-flare",
            "Boot & Flare",
        ),
    ]


paths = st.lists(
    st.lists(
        st.sampled_from(("A", "a", "a b", "a-b", "A, B", "b", "a.b", "!", "?")),
        min_size=1,
        max_size=3,
    ).map(tuple),
    min_size=1,
    max_size=8,
)


def as_stored(tree):
    return [dict(zip(("id", "parent", "leaf", "path", "name"), row)) for row in tree.rows()]


@given(paths, st.randoms(use_true_random=False))
def test_two_paths_never_share_an_id_and_keep_theirs_when_loaded_again_in_any_order(paths, chance):
    first = CategoryTree()
    ids = {path: first.id_of(path) for path in paths}
    # Letter case alone makes no other category.
    assert len(set(ids.values())) == len({tuple(map(str.casefold, path)) for path in ids})
    chance.shuffle(paths)
    again = CategoryTree(as_stored(first))
    assert {path: again.id_of(path) for path in paths} == ids
    assert sorted(row[:4] for row in again.rows()) == sorted(row[:4] for row in first.rows())
    parents = {category: parent for category, parent, *_ in first.rows()}
    assert set(parents.values()) - {None} <= set(parents)
    leaves = {category for category, _, leaf, *_ in first.rows() if leaf}
    assert leaves == set(parents) - set(parents.values())


def test_no_category_of_another_shop_is_taken_over_or_rewritten():
    api = [
        {"id": "women", "parent": "all", "leaf": 0, "path": "", "name": "Women"},
        {"id": "jeans", "parent": "women", "leaf": 0, "path": "jeans", "name": "Jeans"},
        {"id": "boot", "parent": "jeans", "leaf": 1, "path": "jeans/boot", "name": "Boot"},
    ]
    tree = CategoryTree(api)
    ids = [tree.id_of(("Jeans", "Boot")), tree.id_of(("Jeans",)), tree.id_of(("Women",))]
    assert not {"jeans", "boot", "women"} & set(ids)
    assert {row[0] for row in tree.rows()} == set(ids)


def test_letter_case_blanks_and_forms_of_accents_make_no_other_category():
    tree = CategoryTree()
    spellings = (("Café", "Big Cups"), ("CAFÉ", "big  cups"), ("Cafe\u0301", " Big\u00a0Cups "))
    assert len({tree.id_of(path) for path in spellings}) == 1
    assert [row[0] for row in tree.rows()] == ["café", "café.big-cups"]
