"""The page for review, as a reviewer uses it in a real Chromium: finding a category, deciding on what
is alike at once, taking back, and what comes back.

pytest tests/test_review_page.py
"""

import re
import sqlite3

import pytest
from conftest import run_script
from test_analyze import LEAVES, change, folder  # noqa: F401
from test_html_pages import (  # noqa: F401
    chromium,
    decisions,
    left,
    marked,
    path_of,
    reload,
    review_text,
    saved,
    seen,
    take_back,
    until,
    visit,
)

COLOURS = (200, 206, 212, 218)  # products of one style; experiment 1 left them to a person
NEAR = (202, 208)  # products whose texts are nearly the same


@pytest.fixture
def alike(left):  # noqa: F811
    """`left`, with one style in four colours and a pair of near-duplicates."""
    for number in COLOURS:
        change(left, "update product set group_key = 'style' where id = ?", number)
        change(left, "update filing set level = 'person' where product_id = ?", number)
    for number in NEAR:
        change(left, "insert into near_duplicate values (1, ?, 'pair')", number)
    return left


def add_left(conn, number, group):
    """A product that experiment 1 left to a person."""
    conn.execute(
        "insert into product(id, name, group_key) values (?, ?, ?)",
        (number, f"Long {number}", group),
    )
    conn.execute(
        """insert into filing(experiment_id, product_id, level, leaf_id, leaf_score, parent_id,
           parent_score, top) values (1, ?, 'person', ?, ?, 'bags', .1, ?)""",
        (number, LEAVES[0], number / 1e6, f'[["{LEAVES[0]}", 0.5]]'),
    )


def article(page, number):
    """The HTML of one product."""
    return page.split(f'data-product="{number}"')[1].split("</article>")[0]


def suggested(page, number):
    """The categories that a page offers for a product."""
    return re.findall(r'class="choice" value="([^"]*)" data-key', article(page, number))


def focused(tab):
    return int(tab.evaluate("document.activeElement.dataset.product"))


def put_in_store(tab, text):
    """Keep this decision of the first product in the browser, as an older page has."""
    tab.evaluate(
        """text => {
            const {key} = JSON.parse(document.getElementById("data").textContent);
            const {product} = document.querySelector(".product").dataset;
            localStorage.setItem(`${key} ${product}`, text);
        }""",
        text,
    )


# ---- finding a category -------------------------------------------------------------------------


@pytest.fixture
def large(left):  # noqa: F811
    """`left`, with a thousand categories more, in three levels."""
    conn = sqlite3.connect(left / "crawl.db")
    with conn:
        for number in range(1000):
            top, kind = f"d{number // 100}", f"d{number // 100}.{number // 10 % 10}"
            category = f"{kind}.{number}"
            for above, parent, name in (
                (top, None, f"Department {number // 100}"),
                (kind, top, f"K\u00fcche {number // 10 % 10}"),
            ):
                conn.execute(
                    "insert or ignore into category(id, parent, leaf, path, name) "
                    "values (?, ?, 0, ?, ?)",
                    (above, parent, f"{parent}/{above}" if parent else above, name),
                )
            conn.execute(
                "insert into category(id, parent, leaf, path, name) values (?, ?, 1, ?, ?)",
                (category, kind, f"{top}/{kind}/{category}", f"Pan number{number}"),
            )
    conn.close()
    return left


def options(tab):
    return tab.locator(".picker [role=option]").all_inner_texts()


def test_chromium_typing_finds_a_category_by_any_of_its_words(large, visit, tmp_path):  # noqa: F811
    tab = visit(large, "--review", 1)
    first = seen(tab)[0]
    tab.keyboard.press("c")
    tab.keyboard.type("number731")
    assert options(tab) == ["Department 7 > K\u00fcche 3 > Pan number731"]
    field = tab.locator(f"[data-product='{first}'] .where")
    for text, count in (
        ("731 kuche", 1),  # by a part of a word, without the accent, in any order
        ("pan dep 7 3", 20),
        ("PAN  department 7", 30),
        ("nothing like it", 0),
    ):
        field.fill(text)
        assert len(options(tab)) == count, text
    field.fill("department 7 kuche")
    assert "160 more" in tab.inner_text(".picker") and "Department 7" in options(tab)[0]
    assert field.get_attribute("aria-expanded") == "true"
    chosen = field.get_attribute("aria-activedescendant")
    assert tab.get_attribute(f"#{chosen}", "aria-selected") == "true"
    tab.keyboard.press("ArrowDown")
    second = options(tab)[1]
    tab.keyboard.press("Enter")
    assert field.input_value() == second and marked(tab) == (1, 1)
    assert focused(tab) == seen(tab)[1] and not tab.is_visible(".picker")
    take_back(tab, tmp_path, large)
    with sqlite3.connect(large / "crawl.db") as conn:
        (category,) = conn.execute(
            "select category_id from label_override where product_id = ?", (first,)
        ).fetchone()
    assert category.startswith("d7.") and second.endswith(f"Pan number{category.split('.')[-1]}")


def test_chromium_the_categories_used_last_stand_first(large, visit):  # noqa: F811
    tab = visit(large, "--review", 1)
    for text in ("number17", "number800"):
        tab.keyboard.press("c")
        tab.keyboard.type(text)
        tab.keyboard.press("Enter")
    tab.keyboard.press("c")
    assert options(tab)[:2] == [
        "Department 8 > K\u00fcche 0 > Pan number800",
        "Department 0 > K\u00fcche 1 > Pan number17",
    ]
    tab.keyboard.type("pan")
    assert "number800" in options(tab)[0] and "number17" in options(tab)[1]
    tab.keyboard.press("Escape")  # the field is as it was, and nothing is decided
    assert not tab.is_visible(".picker")
    assert marked(tab) == (2, 2) and tab.evaluate("document.activeElement.tagName") == "ARTICLE"
    tab.keyboard.press("c")
    tab.locator(".picker [role=option]").nth(1).click()
    assert marked(tab) == (3, 3)


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_chromium_an_open_list_is_accessible(large, visit, scheme):  # noqa: F811
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab = visit(large, "--review", 1, color_scheme=scheme, bypass_csp=True)
    tab.keyboard.press("1")
    tab.keyboard.press("c")
    tab.keyboard.type("pan")
    assert tab.is_visible(".picker")
    found = axe.Axe().run(tab).response["violations"]
    assert [
        (one["id"], one["nodes"][0]["html"][:400], one["nodes"][0]["failureSummary"])
        for one in found
    ] == []


# ---- what is alike --------------------------------------------------------------------------------


def test_chromium_a_group_is_decided_at_once_and_taken_back_at_once(alike, visit, tmp_path):  # noqa: F811
    tab = visit(alike, "--review", 1)
    assert not set(COLOURS[1:]) & set(seen(tab)) and not set(NEAR[1:]) & set(seen(tab))
    assert tab.inner_text("#count").startswith("all 4")  # products, and not groups
    own = tab.locator(f"[data-product='{COLOURS[0]}']")
    assert own.locator(".alike").inner_text() == "4 alike: open"
    tab.keyboard.press("2")
    assert marked(tab) == (4, 4) and focused(tab) == NEAR[0]
    tab.keyboard.press("u")
    assert marked(tab)[0] == 0 and focused(tab) == COLOURS[0]
    tab.keyboard.press("Enter")
    assert focused(tab) == NEAR[0]  # on to the next that is open
    tab.keyboard.press("4")
    assert marked(tab) == (6, 6)
    take_back(tab, tmp_path, alike)
    stored = decisions(alike)
    assert {stored[number] for number in COLOURS} == {("filed by hand", LEAVES[200 % 3])}
    assert {stored[number] for number in NEAR} == {("unclear", None)} and len(stored) == 6


def test_chromium_what_is_decided_is_taken_back_after_a_reload_too(alike, visit):  # noqa: F811
    tab = visit(alike, "--review", 1)
    assert tab.locator("#undo").is_disabled()
    tab.keyboard.press("2")  # the whole group
    tab.keyboard.press("4")
    assert marked(tab) == (6, 6)
    tab.keyboard.press("u")
    reload(tab)
    assert marked(tab) == (4, 4) and tab.locator("#undo").is_enabled()
    tab.keyboard.press("u")  # the group, and not what was taken back before
    assert marked(tab)[0] == 0 and focused(tab) == COLOURS[0]
    assert tab.locator("#undo").is_disabled()
    reload(tab)
    assert tab.locator("#undo").is_disabled()


def test_chromium_a_decision_far_below_is_taken_back_after_a_reload(left, visit):  # noqa: F811
    """The first 64 products are elements at once; the one that was decided last is not among them."""
    conn = sqlite3.connect(left / "crawl.db")
    with conn:
        for number in range(1000, 1400):
            add_left(conn, number, number)
    conn.close()
    tab = visit(left, "--review", 1)
    tab.select_option("#order", "name")
    last = tab.locator("[data-product='1399']")
    last.locator(".choice").first.click()
    assert marked(tab) == (1, 1)
    reload(tab)
    tab.click("#undo")
    assert marked(tab)[0] == 0 and focused(tab) == 1399


def test_chromium_nothing_is_taken_back_of_a_page_that_was_made_anew(left, visit, tmp_path):  # noqa: F811
    path = tmp_path / "page.html"
    tab = visit(left, "--review", 1, path=path)
    tab.keyboard.press("2")
    take_back(tab, tmp_path, left)
    path.unlink()
    made = run_script("analyze", "--review", 1, "-o", path, cwd=left)
    assert made.returncode == 0
    tab.reload()
    assert tab.locator("#undo").is_disabled()
    tab.keyboard.press("u")
    assert marked(tab) == (0, 0) and tab.inner_text("#spoken") == "there is nothing to take back"


def test_chromium_an_opened_group_is_decided_one_by_one(alike, visit, tmp_path):  # noqa: F811
    tab = visit(alike, "--review", 1)
    tab.keyboard.press("1")
    tab.keyboard.press("k")
    tab.keyboard.press("o")
    assert seen(tab)[:4] == list(COLOURS)
    first = tab.locator(f"[data-product='{COLOURS[0]}']")
    assert first.locator(".alike").get_attribute("aria-expanded") == "true"
    tab.keyboard.press("j")
    tab.keyboard.press("4")  # and on to the next without a decision
    assert focused(tab) == NEAR[0] and marked(tab) == (4, 4)
    tab.keyboard.press("k")
    tab.keyboard.press("o")
    assert first.locator(".alike").inner_text() == "4 alike, decided differently: open"
    assert focused(tab) == COLOURS[0]
    tab.keyboard.press("u")  # what is taken back is shown
    assert focused(tab) == COLOURS[1]
    take_back(tab, tmp_path, alike)
    assert [decisions(alike)[number][0] for number in COLOURS] == ["filed by hand"] * 4


def test_chromium_what_a_filter_hides_of_a_group_gets_no_decision(alike, visit, tmp_path):  # noqa: F811
    tab = visit(alike, "--review", 1)
    tab.fill("#search", f"number{COLOURS[2]}")
    until(tab, "document.getElementById('count').textContent.startsWith('1 of')")
    assert seen(tab) == [COLOURS[2]]
    tab.keyboard.press("Escape")
    tab.keyboard.press("1")
    tab.click("#clear")
    assert marked(tab) == (1, 1)
    take_back(tab, tmp_path, alike)
    assert set(decisions(alike)) == {COLOURS[2]}


def test_chromium_a_group_of_a_long_page_is_whole_wherever_it_stands(left, visit):  # noqa: F811
    """The first 64 products are elements at once, and the others come by the hundred."""
    conn = sqlite3.connect(left / "crawl.db")
    with conn:
        for number in range(1000, 1200):
            group = (
                "style" if 1062 <= number < 1066 else "far" if number in (1010, 1190) else number
            )
            add_left(conn, number, group)
    conn.close()
    tab = visit(left, "--review", 1)
    until(tab, "document.querySelectorAll('.product').length === 240")
    numbers = seen(tab)
    assert len(numbers) == 240 - 3 - 1 and 1190 not in numbers
    for number in (1062, 1010):
        tab.locator(f"[data-product='{number}'] .choice").first.click()
    assert marked(tab) == (6, 6)
    tab.locator("[data-product='1010'] .alike").click()
    at = seen(tab).index(1010)
    assert seen(tab)[at : at + 2] == [1010, 1190]
    tab.select_option("#order", "name")
    at = seen(tab).index(1010)  # also in another order
    assert seen(tab)[at : at + 2] == [1010, 1190]


def test_products_without_any_text_are_not_alike(left):  # noqa: F811
    import db

    for number in COLOURS:
        change(
            left,
            "update product set name = '', description = null, group_key = ? where id = ?",
            db.group_key("", None),
            number,
        )
    page = run_script("analyze", "--review", 1, cwd=left).stdout
    assert "data-group" not in page.split("</style>")[1].split("<script")[0]


def test_a_group_is_whole_on_a_page_however_few_products_are_asked_for(alike):
    page = run_script("analyze", "--review", 1, "--top", 3, cwd=alike).stdout
    assert re.findall(r'data-product="(\d+)"', page) == [str(number) for number in COLOURS]
    page = run_script("analyze", "--review", 1, "--top", 1, cwd=alike).stdout
    assert re.findall(r'data-product="(\d+)"', page) == [str(number) for number in COLOURS[:2]]


# ---- several people -------------------------------------------------------------------------------


def products_of(page):
    return [int(number) for number in re.findall(r'data-product="(\d+)"', page)]


@pytest.mark.parametrize("parts", (1, 2, 3))
def test_parts_have_no_product_in_common_and_part_no_group(alike, parts):
    whole = products_of(run_script("analyze", "--review", 1, cwd=alike).stdout)
    pages = [
        products_of(
            run_script("analyze", "--review", 1, "--part", f"{k}/{parts}", cwd=alike).stdout
        )
        for k in range(1, parts + 1)
    ]
    assert sorted(number for page in pages for number in page) == sorted(whole)
    for group in (COLOURS, NEAR):
        assert sorted(len(set(group) & set(page)) for page in pages)[-1] == len(group)
    for page in pages:  # each is in the order of the whole
        assert page == [number for number in whole if number in set(page)]


@pytest.mark.parametrize("part", ("0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"))
def test_a_part_that_is_none_is_one_sentence(left, part):  # noqa: F811
    done = run_script("analyze", "--review", 1, f"--part={part}", cwd=left)
    assert done.returncode == 2 and "write 1/2 for the first of two" in done.stderr
    for flag in ("--part=1/2", "--unclear"):
        done = run_script("analyze", "--experiments", flag, cwd=left)
        assert done.returncode == 2 and "--part and --unclear are for --review" in done.stderr


# ---- what does not come back, and what is not suggested -----------------------------------------


def test_what_a_person_has_called_unclear_does_not_come_back(left):  # noqa: F811
    before = products_of(run_script("analyze", "--review", 1, cwd=left).stdout)
    change(left, "insert into label_override values (?, 'unclear', null, null, 'then')", before[0])
    page = run_script("analyze", "--review", 1, cwd=left).stdout
    assert products_of(page) == before[1:]
    assert "1 that a person has called unclear is left out" in review_text(left)
    again = run_script("analyze", "--review", 1, "--unclear", cwd=left).stdout
    assert products_of(again) == before and "is left out" not in again
    # Once the shop has another label for it, the product is no longer the one that was looked at.
    change(left, "update label_override set label_id = 'bags.totes'")
    assert products_of(run_script("analyze", "--review", 1, cwd=left).stdout) == before


def test_the_parent_at_which_a_product_is_filed_is_not_suggested(left):  # noqa: F811
    """An inner category that has products of its own is a class, which the model may name."""
    change(
        left,
        """update experiment set settings = '{"tree": {"depth": null, "leaves only": false}}'""",
    )
    change(left, "insert into product(id, category_id) values (99, 'bags')")
    change(
        left,
        "update filing set category_id = 'bags', "
        'top = \'[["bags", 0.6], ["bags.totes", 0.3], ["jeans.skinny", 0.1]]\' '
        "where product_id in (200, 257)",
    )
    change(left, "update filing set category_id = null where product_id = 200")
    page = run_script("analyze", "--review", 1, cwd=left).stdout
    assert suggested(page, 200) == ["bags", "bags.totes", "jeans.skinny"]
    assert suggested(page, 257) == ["bags.totes", "jeans.skinny"]


@pytest.mark.parametrize("shop", (True, False), ids=("filed now", "filed by an older version"))
def test_what_an_audit_called_wrong_is_not_suggested_and_the_page_says_why(left, shop):  # noqa: F811
    change(left, "update product set source = 'shop' where id >= 200")
    if shop:
        change(
            left,
            """insert into filing_source values (1, 'shop', .95, .95, .1, .1, '[]', '[]', .9, '[]')""",
        )
    page = run_script("analyze", "--review", 1, cwd=left).stdout
    first, *others = suggested(page, 200)
    second = suggested(page, 202)
    parent, below = "jeans", [leaf for leaf in second if leaf.startswith("jeans.")]
    assert below and set(below) != set(second)
    answered = """insert into audit_sample(experiment_id, product_id, level, category_id, score, answer)
                  values (1, ?, ?, ?, .9, ?)"""
    change(left, answered, 200, "leaf", first, "wrong")
    change(left, answered, 202, "parent", parent, "wrong")
    change(left, answered, 206, "leaf", LEAVES[2], "unsure")  # which refutes nothing
    same = suggested(page, 206)
    page = run_script("analyze", "--review", 1, cwd=left).stdout
    assert suggested(page, 200)[: len(others)] == others and first not in suggested(page, 200)
    assert not set(below) & set(suggested(page, 202)) and suggested(page, 206) == same
    assert "data-proposed" not in article(page, 200)
    why = "Not filed: in the audit a person called it wrong at"
    assert f"{why} {path_of(first).replace('>', '&gt;')}." in article(page, 200)
    assert f"{why} {parent}." in article(page, 202) and why not in article(page, 206)


# ---- progress, the bar, the window ----------------------------------------------------------------


def test_chromium_the_bar_says_how_far_one_is_and_stays(left, visit):  # noqa: F811
    tab = visit(left, "--review", 1)
    assert tab.inner_text("#marked") == "0 of 40 decided"
    for _ in range(6):
        tab.keyboard.press("Enter")
    assert re.fullmatch(r"6 of 40 decided, about \d+ min left", tab.inner_text("#marked"))
    assert tab.evaluate("document.getElementById('progress').value") == 6
    reload(tab)
    assert tab.inner_text("#marked").startswith("6 of 40 decided, about ")
    tab.mouse.wheel(0, 2000)
    until(tab, "scrollY > 300")
    assert tab.evaluate("document.getElementById('bar').getBoundingClientRect().top") == 0
    tab.keyboard.press("1")  # which is out of sight: first it comes back
    for _ in range(34):
        tab.keyboard.press("1")
    assert tab.inner_text("#marked") == "40 of 40 decided"
    tab.keyboard.press("n")
    assert tab.inner_text("#spoken") == "All of them are decided: save."


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_chromium_eight_products_fill_a_laptops_screen(left, visit, scheme):  # noqa: F811
    tab = visit(left, "--review", 1, viewport={"width": 1366, "height": 768}, color_scheme=scheme)
    tab.click("#tools summary")  # the line is closed, as it is at first
    whole = tab.eval_on_selector_all(
        ".product",
        """all => all.filter(one => {
            const {top, bottom} = one.getBoundingClientRect();
            return top >= document.getElementById("bar").offsetHeight && bottom <= innerHeight;
        }).length""",
    )
    assert whole >= 8
    low = tab.eval_on_selector_all(  # all that they say is in them
        ".product", "all => all.filter(one => one.scrollHeight > one.clientHeight + 1).length"
    )
    assert low == 0


def test_chromium_more_of_a_product_opens_by_key_and_by_mouse(left, visit):  # noqa: F811
    change(left, "update product set description = ? where id = 200", "long words " * 100)
    tab = visit(left, "--review", 1)
    own = tab.locator("[data-product='200']")
    low = own.bounding_box()["height"]
    assert not own.locator(".more").is_visible()
    tab.keyboard.press("d")
    assert own.locator(".more").is_visible() and own.bounding_box()["height"] > low
    own.locator(".opens").click()
    assert not own.locator(".more").is_visible() and own.bounding_box()["height"] == low


# ---- pages and decisions of before ----------------------------------------------------------------


def test_chromium_a_decision_that_an_older_page_has_kept_comes_in(left, visit, tmp_path):  # noqa: F811
    tab = visit(left, "--review", 1)
    number = seen(tab)[0]
    put_in_store(
        tab,
        '{"decision": "label wrong", "category": "bags.totes", "proposed": "", "before": "", '
        '"was": "", "made": "0123456789abcdef", "at": 1760000000000, "label": "", "source": "", '
        '"external": "", "name": "Name 200"}',
    )
    reload(tab)
    own = tab.locator(f"[data-product='{number}']")
    assert marked(tab) == (1, 1)
    assert own.locator("[aria-pressed=true]").get_attribute("value") == "bags.totes"
    take_back(tab, tmp_path, left)
    assert decisions(left) == {number: ("filed by hand", "bags.totes")}


def test_chromium_a_change_of_mind_comes_in_and_somebody_elses_decision_stays(
    left,  # noqa: F811
    visit,  # noqa: F811
    tmp_path,
):
    tab = visit(left, "--review", 1, path=tmp_path / "page.html")
    first, second = seen(tab)[:2]
    for number in (first, second):
        tab.locator(f"[data-product='{number}'] button.choice").first.click()
    take_back(tab, tmp_path, left)
    for number in (first, second):
        tab.locator(f"[data-product='{number}'] button.choice").nth(1).click()
    somebody = ("filed by hand", LEAVES[(second + 2) % 3])
    change(
        left, "update label_override set category_id = ? where product_id = ?", somebody[1], second
    )
    with tab.expect_download() as download:
        tab.click("#save")
    download.value.save_as(tmp_path / "decisions.csv")
    done = run_script("analyze", "--overrides", tmp_path / "decisions.csv", cwd=left)
    assert done.returncode == 1
    assert (
        f"product {second} is decided otherwise by now, 'filed by hand {somebody[1]}'"
        in done.stderr
    )
    assert decisions(left) == {first: ("filed by hand", LEAVES[(first + 1) % 3]), second: somebody}
    # A page made since knows that decision, and says that this browser had another one.
    (tmp_path / "page.html").unlink()
    change(left, "update label_override set decision = 'unclear', category_id = null")
    again = visit(
        left, "--review", 1, "--unclear", path=tmp_path / "page.html", context=tab.context
    )
    assert "had another decision in this browser" in again.inner_text("#kept")
    again.locator(f"[data-product='{second}'] button.choice").first.click()
    take_back(again, tmp_path, left)
    assert decisions(left)[second] == ("filed by hand", LEAVES[second % 3])
    assert len(saved(again)) == 1
