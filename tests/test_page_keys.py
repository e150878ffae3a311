"""The pages of the audit and of the review, as somebody meets them who has read README alone, in a real
Chromium: keys on a fresh page, what is typed, what the bar says, and what a card shows.

    pytest tests/test_page_keys.py
"""

import sqlite3

import pytest
from conftest import run_script
from test_analyze import LEAVES, change, folder  # noqa: F401
from test_html_pages import (  # noqa: F401
    chromium,
    decisions,
    encoded,
    left,
    many,
    marked,
    reload,
    saved,
    seen,
    take_back,
    until,
    visit,
)
from test_review_page import add_left, focused

import db

CURRENT = ".product[aria-current=true]"


def current(tab):
    """The product that is marked as the one to which keys go."""
    (number,) = tab.locator(CURRENT).evaluate_all("all => all.map(one => one.dataset.product)")
    return int(number)


@pytest.fixture
def audited(left):  # noqa: F811
    """`left`, with an audit to be made of the 20 products that were filed at a leaf."""
    conn = db.open_database(str(left / "crawl.db"))
    with db.transaction(conn):
        conn.execute("update filing set target = .95 where level = 'leaf'")
        conn.execute(
            """insert into filing_source(experiment_id, source, target, confidence, leaf, parent,
                                         reasons, refused, floor, shut)
               values (1, 'shop', .95, .95, .1, .9, '[]', '[]', .9, '[]')"""
        )
        conn.execute("update product set source = 'shop', external_id = id")
    conn.close()
    done = run_script("analyze", "--audit", 1, "-o", "audit.html", cwd=left)
    assert done.returncode == 0, done.stderr
    return left


# ---- the current product ------------------------------------------------------------------------


@pytest.mark.parametrize("key", ("Enter", "1", "4"))
def test_chromium_a_key_on_a_fresh_page_decides_on_the_first_product(left, visit, key):  # noqa: F811
    tab = visit(left, "--review", 1)
    first, second = seen(tab)[:2]
    assert current(tab) == first and tab.evaluate("scrollY") == 0
    assert tab.evaluate("document.activeElement.closest('.product')") is None
    tab.keyboard.press(key)
    assert marked(tab) == (1, 1) and current(tab) == focused(tab) == second
    reload(tab)  # the first that is open
    assert current(tab) == second
    tab.keyboard.press(key)
    assert marked(tab) == (2, 2)


@pytest.mark.parametrize("key", ("y", "n", "?"))
def test_chromium_a_key_on_a_fresh_audit_answers_the_first_product(audited, visit, key):
    tab = visit(audited, path=audited / "audit.html")
    first = current(tab)
    assert first == seen(tab)[0]
    tab.keyboard.press(key)
    assert marked(tab) == (1, 1)
    own = tab.locator(f"[data-product='{first}'] [aria-pressed=true]")
    assert own.get_attribute("data-key") == key


def test_chromium_the_first_open_product_is_current_however_far_down(left, visit):  # noqa: F811
    """The first 64 products are elements at once, and the others come by the hundred."""
    conn = sqlite3.connect(left / "crawl.db")
    with conn:
        for number in range(1000, 1200):
            add_left(conn, number, number)
    conn.close()
    tab = visit(left, "--review", 1)
    until(tab, "document.querySelectorAll('.product').length === 240")
    for _ in range(70):
        tab.keyboard.press("1")
    at = current(tab)
    assert seen(tab)[70] == at
    reload(tab)
    until(tab, "document.querySelectorAll('.product').length === 240")
    assert current(tab) == at
    tab.evaluate("scrollTo(0, 0)")
    tab.keyboard.press("j")  # which is out of sight: first it comes back
    assert focused(tab) == at and marked(tab)[0] == 70


def test_chromium_a_key_goes_to_what_a_filter_has_left(left, visit):  # noqa: F811
    tab = visit(left, "--review", 1)
    order = seen(tab)
    tab.select_option("#badge", "filed at the parent")
    tab.keyboard.press("1")  # to look at first
    assert marked(tab) == (0, 0) and focused(tab) == seen(tab)[0] != order[0]
    tab.keyboard.press("1")
    assert marked(tab) == (1, 1)


# ---- a category that is typed -------------------------------------------------------------------


def test_chromium_escape_leaves_the_field_at_once(left, visit):  # noqa: F811
    tab = visit(left, "--review", 1)
    first, second = seen(tab)[:2]
    tab.keyboard.press("c")
    assert tab.is_visible(".picker")
    tab.keyboard.type("tot")
    tab.keyboard.press("Escape")
    assert not tab.is_visible(".picker") and focused(tab) == first
    tab.keyboard.press("j")
    assert focused(tab) == second and marked(tab) == (0, 0)
    assert tab.locator(f"[data-product='{first}'] .where").input_value() == ""


def test_chromium_a_new_category_is_typed_once_and_enter_once_more_creates_it(
    left,  # noqa: F811
    visit,  # noqa: F811
    tmp_path,
):
    tab = visit(left, "--review", 1)
    first, second = seen(tab)[:2]
    own = tab.locator(f"[data-product='{first}']")
    field, line = own.locator(".where"), own.locator("output")
    tab.keyboard.press("c")
    tab.keyboard.type("Bags > Basket")
    tab.keyboard.press("Enter")
    assert line.inner_text() == "Not in the list, and not stored yet."
    assert own.locator(".propose").inner_text() == "create it: Enter once more"
    plain = tab.evaluate("getComputedStyle(document.querySelector('h3')).color")
    assert line.evaluate("one => getComputedStyle(one).color") == plain  # it is no error
    assert marked(tab) == (0, 0) and tab.inner_text("#spoken") == line.inner_text()
    tab.keyboard.type("s")  # other words are asked about anew
    assert line.count() == 0 and own.locator(".propose").count() == 0
    tab.keyboard.press("Enter")
    assert field.input_value() == "Bags > Baskets" and field.evaluate(
        "one => one.matches(':focus')"
    )
    tab.keyboard.press("Enter")
    assert marked(tab) == (1, 1) and focused(tab) == second
    assert line.inner_text() == "A new category, to be created."
    assert line.evaluate("one => getComputedStyle(one).color") == plain
    tab.keyboard.press("u")
    assert marked(tab) == (0, 0) and focused(tab) == first and field.input_value() == ""
    # Who goes on without an Enter sees that it is not stored.
    field.fill("Bags > Baskets")
    tab.locator(f"[data-product='{second}'] .choice").first.click()
    assert field.input_value() == "Bags > Baskets" and marked(tab) == (1, 1)
    assert line.inner_text() == "Not in the list, and not stored yet."
    own.locator(".propose").click()
    assert marked(tab) == (2, 2)
    take_back(tab, tmp_path, left)
    assert decisions(left)[first] == ("filed by hand", "Bags > Baskets")


@pytest.mark.parametrize("text", (" > ", "x" * 300, "Zz > > Yy"))
def test_chromium_what_can_be_no_category_is_a_fault_and_stays_to_be_mended(left, visit, text):  # noqa: F811
    tab = visit(left, "--review", 1)
    tab.keyboard.press("c")
    tab.keyboard.insert_text(text)
    for _ in range(2):
        tab.keyboard.press("Enter")
        assert tab.locator("output.fault").inner_text().startswith("Not stored: ")
    assert tab.locator(".where").first.input_value() == text and marked(tab) == (0, 0)


def test_chromium_what_is_wrong_may_be_named_later_and_otherwise(audited, visit, tmp_path):
    tab = visit(audited, path=audited / "audit.html")
    first, second = seen(tab)[:2]
    own = tab.locator(f"[data-product='{first}']")
    filed = own.get_attribute("data-label")
    right = next(leaf for leaf in LEAVES if leaf != filed)
    tab.keyboard.press("n")
    tab.keyboard.press("Enter")  # nobody knows what is right
    assert marked(tab) == (1, 1) and current(tab) == second
    tab.keyboard.press("k")
    tab.keyboard.press("n")  # or somebody does
    tab.keyboard.insert_text(filed)
    own.locator(".where").dispatch_event("change")
    assert own.locator("output.fault").inner_text().endswith("Name another one.")
    own.locator(".where").fill(right)
    tab.keyboard.press("Enter")
    assert marked(tab) == (1, 1) and current(tab) == second
    assert f"{first},wrong,{right}," in saved(tab)[0]
    own.locator(".where").fill("")  # it stays wrong without a category
    own.locator(".where").press("Enter")
    assert f"{first},wrong,," in saved(tab)[0]


def test_chromium_the_field_repeats_no_suggestion(left, visit):  # noqa: F811
    tab = visit(left, "--review", 1)
    own = tab.locator(f"[data-product='{seen(tab)[0]}']")
    chosen = own.locator(".choice").nth(1).get_attribute("value")
    tab.keyboard.press("2")
    assert own.locator(".where").input_value() == ""
    own.locator(".where").fill(chosen.upper())  # nor is there a second way to say the same
    own.locator(".where").press("Tab")
    assert own.locator(".where").input_value() == "" and marked(tab) == (1, 1)
    assert own.locator("[aria-pressed=true]").get_attribute("value") == chosen


# ---- what the bar says --------------------------------------------------------------------------


def test_chromium_the_bar_says_what_is_to_save_and_what_is_saved(left, visit):  # noqa: F811
    tab = visit(left, "--review", 1)

    def bar():
        return tab.inner_text("#marked").split(",")[0], tab.inner_text("#changed")

    for key in "12uu":
        tab.keyboard.press(key)
    assert bar() == ("0 of 40 decided", "")  # what was taken back is nothing to save
    assert saved(tab) == []
    for key in "12":
        tab.keyboard.press(key)
    assert bar() == ("2 of 40 decided", "2 to save")
    assert len(saved(tab)) == 2
    assert bar() == ("2 of 40 decided", "2 saved")
    reload(tab)
    assert bar() == ("2 of 40 decided", "2 saved")
    tab.keyboard.press("u")  # a file has it, so the next one has to take it back
    assert bar() == ("1 of 40 decided", "1 to save")
    assert [line.split(",")[1] for line in saved(tab)] == ["filed by hand", "undecided"]
    assert bar() == ("1 of 40 decided", "2 saved")


def test_chromium_what_a_page_of_before_has_kept_is_to_save(left, visit):  # noqa: F811
    """Its decisions do not say whether a file has them."""
    tab = visit(left, "--review", 1)
    tab.keyboard.press("1")
    saved(tab)
    tab.evaluate("""() => { for (const [key, value] of Object.entries(localStorage)) {
        const {saved, ...rest} = JSON.parse(value);
        localStorage.setItem(key, JSON.stringify(rest)); } }""")
    reload(tab)
    assert tab.inner_text("#changed") == "1 to save"
    tab.keyboard.press("k")
    tab.keyboard.press("0")
    assert [line.split(",")[1] for line in saved(tab)] == ["undecided"]


@pytest.mark.parametrize("keys", ("", "1"))
def test_chromium_on_a_phone_the_bar_has_two_lines(left, visit, keys):  # noqa: F811
    tab = visit(left, "--review", 1, viewport={"width": 400, "height": 800})
    tab.click("#tools summary")  # the line is closed, as it is at first
    for key in keys:
        tab.keyboard.press(key)
    assert tab.locator("#bar").bounding_box()["height"] <= 80
    assert tab.locator("#tools summary").bounding_box()["height"] <= 24


# ---- what a card shows --------------------------------------------------------------------------


def test_chromium_a_page_without_pictures_has_no_room_for_them(left, visit, tmp_path):  # noqa: F811
    tab = visit(left, "--review", 1, path=tmp_path / "bare.html")
    card = tab.locator(".product").first
    assert tab.locator(".picture").count() == 0
    room = card.bounding_box()["width"] - card.locator(".text").bounding_box()["width"]
    assert room < 30
    assert "no picture" in card.get_attribute("data-badges")
    change(left, "update product set image = 'https://shop.example/a.jpg' where id = 202")
    tab = visit(left, "--review", 1, path=tmp_path / "one.html")  # and then all have it
    assert tab.locator(".picture").count() == 40 and "no picture" in tab.inner_text(
        ".picture >> nth=0"
    )


@pytest.mark.parametrize("width", (1280, 400))
def test_chromium_a_parents_name_is_never_cut(left, visit, width):  # noqa: F811
    for parent, name in (("jeans", "Garment Lower body"), ("bags", "Accessories of all kinds")):
        change(left, "update category set name = ? where id = ?", name, parent)
    change(left, "update product set image = 'https://shop.example/a.jpg'")
    tab = visit(left, "--review", 1, viewport={"width": width, "height": 900})
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).length"
    assert tab.eval_on_selector_all(".choice, .choice .above", cut) == 0
    assert "Garment Lower body" in tab.inner_text(".product >> nth=0").replace("\n", " ")


def test_chromium_a_long_path_is_cut_at_its_beginning(left, visit):  # noqa: F811
    conn = sqlite3.connect(left / "crawl.db")
    with conn:
        for level, parent in enumerate((None, "d0", "d1")):
            conn.execute(
                "insert into category(id, parent, leaf, path, name) values (?, ?, 0, ?, ?)",
                (
                    f"d{level}",
                    parent,
                    "/".join(f"d{n}" for n in range(level + 1)),
                    f"Department {level}",
                ),
            )
        conn.execute(
            "update category set parent = 'd2', path = 'd0/d1/d2/' || id where id = ?", LEAVES[:1]
        )
    conn.close()
    tab = visit(left, "--review", 1, viewport={"width": 1280, "height": 900})
    button = tab.locator(f".choice[value='{LEAVES[0]}']").first
    outer, inner = button.locator(".outer"), button.locator(".above span:not(.outer, .to)").first
    assert outer.evaluate("one => one.scrollWidth > one.clientWidth")
    assert inner.evaluate("one => one.scrollWidth <= one.clientWidth")
