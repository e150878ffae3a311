"""The first pass over a feed: which column files products, how its cells are read, which spelling
of a category is shown."""

import json

import pytest
from peak import peak_of_code

from common.terminal import UserError
from crawling import feed_products, feed_reading, feed_survey
from crawling.feed_reading import SurveyOptions
from crawling.feed_types import FeedFile, LeftOut, ReadOptions


@pytest.fixture
def survey(tmp_path):
    """survey(text, ..., **options) -> the Reading of files with these texts; `column` is what
    --column says."""

    def survey(*texts, column=None, suffix="csv", **options):
        files = []
        for number, text in enumerate(texts):
            path = tmp_path / f"feed-{number}.{suffix}"
            path.write_text(text, encoding="utf-8")
            files.append(FeedFile(str(path), name=path.name))
        read = ReadOptions(column or {})
        return feed_survey.survey(files, SurveyOptions(read, **options))

    return survey


def table(header, *rows):
    return "\n".join([header, *rows]) + "\n"


def filed(reading):
    """{id: its categories, as texts} of a feed's products."""
    return {
        product.external_id: [" > ".join(path) for path in product.categories]
        for product in feed_products.read_products(reading, LeftOut())
    }


# ---- which column -------------------------------------------------------------------------------


def test_the_column_that_files_most_rows_is_taken(survey):
    reading = survey(
        table(
            "id,name,category,product_type",
            "1,Cap,,Hats",
            "2,Fez,Old,Hats",
            "3,Mug,,Mugs",
            "4,Pan,New,",
        )
    )
    file = reading.files[0]
    assert file.category == "product_type"
    assert file.filed == {"category": 2, "product_type": 3}
    assert filed(reading) == {"1": ["Hats"], "2": ["Hats"], "3": ["Mugs"], "4": []}


@pytest.mark.parametrize(
    ("header", "chosen"),
    (
        ("id,name,category_path,category", "category_path"),
        ("id,name,category,category_path", "category_path"),
        ("id,name,kategorie,warengruppe", "kategorie"),
        ("id,name,google_product_category,category", "category"),
        ("id,name,section,category", "category"),
    ),
)
def test_of_columns_that_file_equally_many_the_better_known_is_taken(header, chosen, survey):
    reading = survey(table(header, "1,Cap,A,B", "2,Mug,C,D", "3,Pan,A,D"))
    assert reading.files[0].category == chosen


def test_a_column_of_one_category_is_taken_only_if_no_other_has_several(survey):
    rows = ("1,Cap,Shop,Hats", "2,Mug,Shop,Mugs", "3,Pan,Shop,")
    assert survey(table("id,name,category_name,category", *rows)).files[0].category == "category"
    rows = ("1,Cap,Shop", "2,Mug,Shop")
    reading = survey(table("id,name,category", *rows))
    assert filed(reading) == {"1": ["Shop"], "2": ["Shop"]}


def test_the_shops_own_categories_come_before_a_published_tree_s(survey):
    header = "id,title,google_product_category,product_type"
    reading = survey(table(header, "1,Cap,A > B,Hats", "2,Mug,C > D,Mugs"))
    assert (reading.files[0].category, reading.files[0].standard) == ("product_type", False)
    # But not if it files fewer products.
    reading = survey(table(header, "1,Cap,A > B,Hats", "2,Mug,C > D,", "3,Pan,C > D,Pans"))
    assert (reading.files[0].category, reading.files[0].standard) == (
        "google_product_category",
        True,
    )


def test_a_name_that_other_things_have_too_counts_if_nothing_else_is_there(survey):
    header = "id,name,department,category"
    rows = ("1,Cap,Warehouse,", "2,Mug,Office,", "3,Pan,Office,Pans")
    assert survey(table(header, *rows)).files[0].category == "category"
    rows = ("1,Cap,Clothing,", "2,Mug,Kitchen,")
    reading = survey(table(header, *rows))
    assert reading.files[0].category == "department"
    assert filed(reading) == {"1": ["Clothing"], "2": ["Kitchen"]}


def test_a_column_of_kinds_of_products_is_no_category(survey):
    rows = ("1,Cap,simple,", "2,Mug,Configurable,Mugs", "3,Pan,simple,")
    reading = survey(table("id,title,product_type,categories", *rows))
    assert filed(reading) == {"1": [], "2": ["Mugs"], "3": []}
    reading = survey(table("id,title,product_type", "1,Cap,simple", "2,Yarn,wool"))
    assert filed(reading) == {"1": ["simple"], "2": ["wool"]}


def test_what_column_names_is_taken_whatever_else_there_is(survey):
    rows = ("1,Cap,Hats,Red", "2,Mug,Mugs,")
    text = table("id,name,category,colour", *rows)
    reading = survey(text, column={"product_type": "colour"})
    assert filed(reading) == {"1": ["Red"], "2": []}
    reading = survey(text, column={"product_type": "category,colour"})
    assert filed(reading) == {"1": ["Hats > Red"], "2": ["Mugs"]}
    reading = survey(text, column={"product_type": "{category} > {colour}"})
    assert filed(reading) == {"1": ["Hats > Red"], "2": []}
    empty = table("id,name,category,colour", "1,Cap,Hats,", "2,Mug,Mugs,")
    assert filed(survey(empty, column={"product_type": "colour"})) == {"1": [], "2": []}


def test_a_column_that_is_not_there_is_a_sentence(survey):
    text = table("id,name,category", "1,Cap,Hats")
    for column in ({"product_type": "kind"}, {"image_link": "{picture}.jpg"}):
        with pytest.raises(UserError, match="feed-0.csv has no column .* for --column"):
            survey(text, column=column)
    with pytest.raises(UserError, match="--column knows no field colour"):
        survey(text, column={"colour": "name"})
    with pytest.raises(UserError, match="has no column id: say which it is"):
        survey('{"name": "Cap"}\n{"name": "Mug"}\n', suffix="jsonl")


def test_columns_of_json_may_come_and_go(survey):
    lines = [
        {"id": 1, "title": "Cap"},
        {"id": 2, "title": "Mug", "product_type": "Mugs"},
        {"category": "Pans", "title": "Pan", "id": 3},
        {"id": 4, "title": "Pot", "product_type": ["Mugs", "Pots"]},
    ]
    reading = survey("\n".join(map(json.dumps, lines)), suffix="jsonl")
    assert filed(reading) == {"1": [], "2": ["Mugs"], "3": [], "4": ["Mugs > Pots"]}
    assert reading.files[0].filed == {"product_type": 2, "category": 1}


def test_a_list_of_names_is_a_path_or_lists_categories(survey):
    def lists(*values):
        lines = [json.dumps({"id": n, "title": "T", "category": v}) for n, v in enumerate(values)]
        return list(filed(survey("\n".join(lines), suffix="jsonl")).values())

    assert lists(["Men", "Hats"], ["Men", "Ties"], ["Men"]) == [
        ["Men > Hats"], ["Men > Ties"], ["Men"],
    ]  # fmt: skip
    assert lists(["Men", "Sale"], ["Sale", "Men"], ["Sale"]) == [
        ["Men", "Sale"], ["Sale", "Men"], ["Sale"],
    ]  # fmt: skip
    # An element that stands several times lists categories, though its name is in the singular.
    items = "".join(
        f"<item><id>{n}</id><title>T</title><product_type>Hats</product_type>{more}</item>"
        for n, more in enumerate(("<product_type>Sale</product_type>", ""))
    )
    reading = survey(f"<items>{items}</items>", suffix="xml")
    assert filed(reading) == {"0": ["Hats", "Sale"], "1": ["Hats"]}


@pytest.mark.parametrize(
    "names",
    ("category1,category2", "Category 1,Category 2", "Kategorie Ebene 1,Kategorie Ebene 2",
     "category_level_1,category_level_2", "Level 1,Level 2",
     "product_group_name,product_type_name", "Hauptkategorie,Unterkategorie"),
)  # fmt: skip
def test_columns_that_are_numbered_are_levels(names, survey):
    reading = survey(table(f"id,name,{names}", "1,Cap,Men,Hats", "2,Tie,Men,", "3,Pan,Home,Pans"))
    assert filed(reading) == {"1": ["Men > Hats"], "2": ["Men"], "3": ["Home > Pans"]}


def test_each_file_of_a_feed_has_its_own_columns(survey):
    reading = survey(
        table("id,name,category", "1,Cap,Hats", "2,Mug,Mugs"),
        table("Artikelnummer;Bezeichnung;Warengruppe", "3;Hut;HATS", "4;Topf;Töpfe/Groß"),
    )
    assert [file.category for file in reading.files] == ["category", "warengruppe"]
    assert filed(reading) == {"1": ["Hats"], "2": ["Mugs"], "3": ["Hats"], "4": ["Töpfe/Groß"]}


# ---- roots, numbers, words for none -------------------------------------------------------------


def test_the_top_that_most_categories_are_below_is_alone_none(survey):
    rows = ("1,Cap,Home > Hats", "2,Mug,Home > Mugs", "3,Pan,Home", "4,Pot,Pots")
    reading = survey(table("id,name,category", *rows))
    assert filed(reading) == {"1": ["Home > Hats"], "2": ["Home > Mugs"], "3": [], "4": ["Pots"]}
    # All others may be below one category of the root.
    rows = ("1,Desk,All / Sold / Office", "2,Chair,All / Sold / Home", "3,Pan,All")
    assert filed(survey(table("id,name,category", *rows)))["3"] == []
    # A department of that name is one, as long as others stand beside it.
    rows = ("1,Cap,Men > Hats", "2,Mug,Home > Mugs", "3,Pan,Home", "4,Tie,Men > Ties")
    assert filed(survey(table("id,name,category", *rows)))["3"] == ["Home"]


def test_googles_numbers_count_only_if_nothing_else_does(survey):
    header = "id,title,google_product_category,product_type"
    reading = survey(table(header, "1,Cap,173,", "2,Mug,2169,"))
    assert filed(reading) == {"1": ["173"], "2": ["2169"]}
    reading = survey(table(header, "1,Cap,173,Hats", "2,Mug,2169,"))
    assert filed(reading) == {"1": ["Hats"], "2": []}
    reading = survey(table(header, "1,Cap,173,", "2,Mug,2169,"), numbers={"173": "Apparel > Hats"})
    assert filed(reading) == {"1": ["Apparel > Hats"], "2": []}


def test_a_number_has_the_name_that_stands_beside_it_elsewhere(survey):
    header = "id,title,google_product_category"
    reading = survey(
        table(header, "1,Cap,173 - Apparel > Hats", "2,Fez,173", "3,Tie,Apparel > Ties")
    )
    assert filed(reading) == {
        "1": ["Apparel > Hats"],
        "2": ["Apparel > Hats"],
        "3": ["Apparel > Ties"],
    }


def test_words_for_no_category_are_counted(survey):
    rows = ("1,Cap,Hats", "2,Mug,Uncategorized", "3,Pan,uncategorized", "4,Pot,N/A", "5,Fez,")
    file = survey(table("id,name,category", *rows)).files[0]
    assert file.filed == {"category": 1}
    assert file.none_words == {"Uncategorized": 1, "uncategorized": 1, "N/A": 1}


def test_ignored_categories_file_nothing(survey):
    text = table(
        "id,name,categories", "1,Cap,Hats;Sale", "2,Mug,sale", "3,Pan,Kitchen > SALE > Pans"
    )
    reading = survey(text, ignored=("Sale",))
    assert filed(reading) == {"1": ["Hats"], "2": [], "3": []}
    reading = survey(text, ignored=("Kitchen > Sale > Pans", "Hats"))
    assert filed(reading) == {"1": ["Sale"], "2": ["Sale"], "3": []}


def test_rows_that_list_several_categories_are_counted(survey):
    text = table("id,name,categories", "1,Cap,Hats;Sale", "2,Mug,Mugs", "3,Fez,Hats;Sale")
    assert survey(text).files[0].listing_several == 2


# ---- one spelling -------------------------------------------------------------------------------


def test_a_category_is_shown_as_most_products_spell_it(survey):
    rows = ("1,Cap,MEN > Hats", "2,Fez,Men > hats", "3,Tie,Men > Ties", "4,Hat,men > hats")
    reading = survey(table("id,name,category", *rows))
    assert filed(reading) == {
        "1": ["Men > hats"],
        "2": ["Men > hats"],
        "3": ["Men > Ties"],
        "4": ["Men > hats"],
    }


def test_the_spelling_is_the_same_in_all_files_of_a_feed(survey):
    one = table("id,name,category", "1,Cap,HATS", "2,Mug,Mugs")
    other = table("id,name,category", "3,Fez,Hats", "4,Hat,Hats", "5,Pan,Pans")
    assert [filed(survey(one, other))[name] for name in "134"] == [["Hats"]] * 3


def test_a_list_that_spells_a_category_twice_has_it_once(survey):
    reading = survey(table("id,name,categories", "1,Cap,Hats; HATS; Sale", "2,Fez,Hats"))
    assert filed(reading)["1"] == ["Hats", "Sale"]


# ---- bounds -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_million_distinct_categories_stay_under_100_mb(tmp_path):
    path = tmp_path / "feed.tsv"
    with open(path, "w", encoding="utf-8") as file:
        file.write("id\ttitle\tproduct_type\n")
        for number in range(1_000_000):
            file.write(f"{number}\tThing\tTop {number % 7} > Leaf {number}, and\n")
    run = peak_of_code(
        "from crawling import feed_reading, feed_survey\n"
        "from crawling.feed_types import FeedFile\n"
        f"reading = feed_survey.survey([FeedFile({str(path)!r})], feed_reading.SurveyOptions())\n"
        "print(reading.files[0].rows)\n",
        timeout=300,
    )
    assert run.stdout == "1000000\n"
    assert run.megabytes < 100


def test_very_many_kinds_of_rows_are_read(survey):
    lines = (
        json.dumps({"id": number, "title": "Cap", f"x{number}": 1, "category": f"C{number % 3}"})
        for number in range(6_000)
    )
    reading = survey("\n".join(lines), suffix="jsonl")
    file = reading.files[0]
    assert file.filed == {"category": 6_000}
    assert max(len(file.names), len(file.samples), len(file.layouts)) <= feed_survey.MOST_NAMES
    assert len(filed(reading)) == 6_000
