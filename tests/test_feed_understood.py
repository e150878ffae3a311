"""What is said of how a feed was understood: which column is what, and which flag says otherwise."""

import json
import shlex
from pathlib import Path

import pytest

from crawling import feed_products, feed_survey, feed_understood
from crawling.feed_reading import SurveyOptions
from crawling.feed_types import FeedFile, LeftOut, ReadOptions

FEEDS = Path(__file__).parent / "feeds"


def read(path, column=None, **options):
    """The Reading of a file, called by its name."""
    file = FeedFile(str(path), name=Path(path).name)
    return feed_survey.survey([file], SurveyOptions(ReadOptions(column or {}), **options))


@pytest.fixture
def survey(tmp_path):
    """survey(lines of a table, or of JSON, **as read) -> its Reading."""

    def survey(*lines, name="feed.csv", **options):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return read(path, **options)

    return survey


def said(reading):
    return [*feed_understood.understood(reading), *feed_understood.remarks(reading)]


def flags_of(line):
    """{field: name} of the --column in a line, as a shell would hand it over."""
    words = shlex.split(line.partition("--column")[2].partition(" takes ")[0])
    return dict(word.partition("=")[::2] for word in words)


def rows_filed(reading):
    return sum(
        bool(product.categories) for product in feed_products.read_products(reading, LeftOut())
    )


# ---- the block ----------------------------------------------------------------------------------


def test_a_system_s_file():
    assert said(read(FEEDS / "cases" / "woo_two_categories.csv")) == [
        "woo_two_categories.csv: text with commas between its cells, UTF-8, read as a file of "
        "WooCommerce",
        "  id: ID (otherwise SKU); title: Name; description: Description (otherwise Short description); "
        "product_type (the category): Categories; image_link: Images; item_group_id: none",
        "  not read: Published, Tags, Attribute 1 name, Attribute 1 value(s)",
        "  a category such as 'Clothing > Hats, Sale' is read as 2 categories: Clothing > Hats and "
        "Sale",
        "3 rows list several categories: a product is filed under the one with the most levels, "
        "the first if several have as many, and all are kept in the table product_category; "
        "--ignore-category NAME leaves one out",
    ]


def test_a_plain_file(survey):
    reading = survey(
        "Artikelnummer;Bezeichnung;Farbe;Warengruppe",
        "1;Hut;rot;Hüte/Filz",
        "2;Topf;;Küche/Töpfe",
        "3;Kappe;rot;Hüte/Kappen",
        "4;Brett;;Küche/Bretter",
        "5;Gutschein;;Ohne Kategorie",
    )
    assert said(reading) == [
        "feed.csv: text with semicolons between its cells, UTF-8",
        "  id: Artikelnummer; title: Bezeichnung; description: none; product_type (the category): Warengruppe; "
        "image_link: none; item_group_id: none",
        "  not read: Farbe",
        "  a category such as 'Hüte/Filz' is read as 2 levels, parted by '/': Hüte > Filz",
        "1 row without a category: 'Ohne Kategorie' counts as none",
    ]


def test_json_without_a_category(survey):
    reading = survey('{"id": 1, "title": "Cap", "images": ["a.jpg"], "x": {"y": 1}}', name="f.json")
    assert said(reading) == [
        "f.json: JSON, UTF-8",
        "  id: id; title: title; description: none; product_type (the category): none; image_link: images; "
        "item_group_id: none",
        "  not read: x.y",
    ]


def test_each_file_of_a_feed_is_said(tmp_path):
    files = []
    for name, text in (("a.csv", "id,name\n1,Cap\n"), ("b.tsv", "sku\tname\n2\tMug\n")):
        (tmp_path / name).write_text(text)
        files.append(FeedFile(str(tmp_path / name), name=name))
    reading = feed_survey.survey(files, SurveyOptions())
    assert [line for line in feed_understood.understood(reading) if line[0] != " "] == [
        "a.csv: text with commas between its cells, UTF-8",
        "b.tsv: text with tabs between its cells, UTF-8",
    ]
    assert reading.name == "the feed"


def test_what_column_says_is_shown_as_it_was_understood(survey):
    lines = ("No,What,Top,Sub", "1,Cap,Men,Hats", "2,Pot,Home,Pots")
    columns = {"id": "1", "title": "what", "product_type": "top,4", "image_link": "{no}.jpg"}
    assert said(survey(*lines, column=columns))[1:] == [
        "  id: No; title: What; description: none; product_type (the category): Top > Sub; image_link: {no}.jpg; "
        "item_group_id: none",
        "  a category such as 'Men, Hats' is read as 2 levels: Men > Hats",
    ]
    columns["product_type"] = "{top}/{sub}"
    assert "product_type (the category): {top}/{sub}; " in said(survey(*lines, column=columns))[1]


def test_very_many_columns_and_long_ones_stay_one_line_each(survey):
    names = [f"column {number} {'x' * 100}" for number in range(3_000)]
    reading = survey(",".join(["id", "name", *names]), "1,Cap")
    lines = said(reading)
    assert len(lines) == 3 and all(len(line) < 1_500 for line in lines)
    assert lines[2].endswith(" and 2985 more")
    reading = survey("id\tname\tcategory", f"1\tCap\tA > {'B' * 5_000}\u202e\x1b[31m")
    assert all(len(line) < 400 and "\x1b" not in line for line in said(reading))


def test_a_backslash_in_a_cell_is_shown_as_it_stands(survey):
    reading = read(FEEDS / "woocommerce.csv")
    assert any(r"'Clothing > Woven\, knitted > Tunics, " in line for line in said(reading))


# ---- remarks, and their flags -------------------------------------------------------------------


def test_the_flag_for_the_column_that_was_not_taken_takes_it():
    path = FEEDS / "cases" / "some_with_type.csv"
    (line,) = feed_understood.remarks(read(path))
    assert line == (
        "'Product Category' is used and gives 3 rows a category; 'Type' gives 1: to use it instead, "
        "add --column product_type=Type"
    )
    assert rows_filed(read(path, flags_of(line))) == 1
    (line,) = feed_understood.remarks(read(path, flags_of(line)))
    assert line == (
        "'Type' is used and gives 1 row a category; 'Product Category' gives 3: to use it instead, "
        "add --column 'product_type=Product Category'"
    )
    assert rows_filed(read(path, flags_of(line))) == 3


@pytest.mark.parametrize(
    ("header", "rows"),
    (  # one column files all rows but of one category; several levels file three
        ("category_name,category_lvl_1,category_lvl_2", ("A,Men,Hats", "B,Men,Ties", "C,,", "D,,")),
        ("category_name,Main Category,Sub-Category", ("A,Men,Hats", "B,Men,Ties", "C,,", "D,,")),
        ("category_name,Dept. 'A' $HOME,x", ("A,Men,Hats", "B,Men,Ties", "C,,", "D,,")),
    ),
)
def test_the_flag_names_columns_as_they_stand(header, rows, survey):
    lines = [f"id,name,{header}", *(f"{n},Thing,{row}" for n, row in enumerate(rows))]
    other = header.split(",")[1:]
    chosen = ",".join(other[:1] if "x" in other else other)
    reading = survey(*lines, column={"product_type": chosen})
    assert rows_filed(reading) == 2
    (line,) = [line for line in feed_understood.remarks(reading) if "instead" in line]
    assert flags_of(line) == {"product_type": "category_name"}
    assert rows_filed(survey(*lines, column=flags_of(line))) == 4
    back = shlex.split(feed_understood.column_flag(chosen))[1].partition("=")[2]
    assert rows_filed(survey(*lines, column={"product_type": back})) == 2


def test_levels_that_would_file_more_are_named_by_their_columns(survey):
    lines = (
        "id,name,Category,Level 1,Level 2",
        "1,Cap,A,Men,Hats",
        "2,Mug,B,Home,Mugs",
        "3,Tie,,Men,Ties",
    )
    columns = {"product_type": "category"}
    (line,) = [
        line
        for line in feed_understood.remarks(survey(*lines, column=columns))
        if "instead" in line
    ]
    assert flags_of(line) == {"product_type": "Level 1,Level 2"}
    assert rows_filed(survey(*lines, column=flags_of(line))) == 3


def test_a_column_of_objects_is_named_as_it_can_be_typed(survey):
    rows = [
        {"id": 1, "title": "Cap", "product_type": "A", "category": {"name": "Hats"}},
        {"id": 2, "title": "Mug", "product_type": "B", "category": {"name": "Mugs"}},
        {"id": 3, "title": "Pan", "category": {"name": "Pans"}},
    ]
    lines = list(map(json.dumps, rows))
    reading = survey(*lines, column={"product_type": "product_type"})
    (line,) = [line for line in feed_understood.remarks(reading) if "instead" in line]
    assert flags_of(line) == {"product_type": "category.name"}
    assert rows_filed(survey(*lines, column=flags_of(line))) == 3


def test_an_unread_column_that_looks_like_a_category_is_named_with_its_flag(survey):
    kinds = ("Hats", "Mugs", "Pots")
    lines = ["id,name,Art der Ware,colour,price", *(
        f"{n},Thing {n},{kinds[n % 3]},{('red', 'blue')[n % 2]},{n % 4}.5" for n in range(40)
    )]  # fmt: skip
    reading = survey(*lines)
    (line,) = feed_understood.remarks(reading)
    assert line == (
        "column 'Art der Ware' is not read, but looks like a category (Hats, Mugs, Pots): "
        "to use it, add --column 'product_type=Art der Ware'"
    )
    assert rows_filed(reading) == 0
    reading = survey(*lines, column=flags_of(line))
    assert rows_filed(reading) == 40 and feed_understood.remarks(reading) == []


def test_a_column_called_a_category_is_named_though_another_is_read(survey):
    rows = ("1,Cap,Men,Hats", "2,Mug,Home,Mugs", "3,Tie,Men,Ties")
    lines = ("id,name,category,my_subcategory", *rows)
    (line,) = feed_understood.remarks(survey(*lines))
    assert "'my_subcategory' is not read, but looks like a category (Hats, Mugs, Ties)" in line
    assert flags_of(line) == {"product_type": "my_subcategory"}


def test_columns_of_numbers_links_and_long_texts_are_no_categories(survey):
    lines = ["id,name,shelf,made_in_country,see,story", *(
        f"{n},Thing {n},{n % 3},{('DE', 'FR')[n % 2]},https://x.example/{n},{'Word ' * 40}{n % 2}"
        for n in range(40)
    )]  # fmt: skip
    assert feed_understood.remarks(survey(*lines)) == []


@pytest.mark.parametrize("column", (None, {"product_type": "google_product_category"}))
def test_numbers_are_said_with_the_flag_that_names_them(column):
    reading = read(FEEDS / "cases" / "google_numbers.tsv", column)
    assert feed_understood.remarks(reading) == [
        "the categories in 'google_product_category' are numbers: --category-names FILE takes "
        "their names from a file with lines such as '166 - Apparel & Accessories'"
    ]
    reading = read(FEEDS / "cases" / "google_numbers.tsv", column, numbers={"173": "A", "212": "B"})
    assert feed_understood.remarks(reading) == []


def test_words_for_no_category_are_said_the_most_frequent_first(survey):
    words = ("N/A", "none", "none", "Uncategorized", "-", "null", "undefined")
    lines = ["id,name,category", "0,Cap,Hats", "8,Mug,Mugs"]
    reading = survey(*lines, *(f"{n + 1},Thing,{word}" for n, word in enumerate(words)))
    (line,) = feed_understood.remarks(reading)
    assert line == (
        "7 rows without a category: 'none', 'N/A', 'Uncategorized', '-', 'null' and 1 more count as none"
    )


@pytest.mark.parametrize("cut, said", ((1, True), (2, False)))
def test_rows_that_end_early_are_named_unless_a_file_writes_many_so(survey, cut, said):
    """A row that was cut is a product without a category, which nobody would look for."""
    rows = [f"{number};Cap;x;Hats" for number in range(14)]
    rows[3 : 3 + cut] = ["3;Ca"] * cut
    remarks = feed_understood.remarks(survey("\n".join(["id;title;description;category", *rows])))
    short = [line for line in remarks if "fewer cells than the header (line 5)" in line]
    assert bool(short) == said
