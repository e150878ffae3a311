"""What a newcomer meets on the pages of the audit and of the review, in a real Chromium: answers that
are stored, categories that can be chosen, and what the bar offers and says.

    pytest tests/test_page_answers.py
"""

import pytest
from conftest import run_script
from test_analyze import LEAVES, change, folder  # noqa: F401
from test_html_pages import (  # noqa: F401
    chromium,
    left,
    marked,
    reload,
    saved,
    seen,
    take_back,
    visit,
)
from test_page_keys import CURRENT, audited, current  # noqa: F401
from test_review_page import focused, options


def audit_again(folder):  # noqa: F811
    """The path of a page of the audit that is made anew, of what has no answer yet."""
    change(folder, "update filing_source set parent = .1")  # that of the leaf
    done = run_script("analyze", "--audit", 1, "-o", "again.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "again.html"


def filed_at(tab, product):
    return tab.get_attribute(f"[data-product='{product}']", "data-label")


# ---- answers that are stored --------------------------------------------------------------------


def test_chromium_answers_that_are_stored_are_not_to_save_on_the_next_page(
    audited,  # noqa: F811
    visit,  # noqa: F811
    tmp_path,
):
    at_parent = seen(visit(audited, path=audited / "audit.html"))[-1]
    for table in ("filing", "audit_sample"):
        change(
            audited,
            f"update {table} set level = 'parent', category_id = 'bags' where product_id = ?",
            at_parent,
        )
    tab = visit(audited, path=audit_again(audited))
    order = seen(tab)
    for number in order[:4]:
        tab.locator(f"[data-product='{number}'] [data-key=y]").click()
    tab.locator(f"[data-product='{order[4]}'] [data-key='?']").click()
    tab.locator(f"[data-product='{at_parent}'] .where").fill("bags.totes")  # the parent was right
    tab.keyboard.press("Enter")
    answered = marked(tab)[0]
    take_back(tab, tmp_path, audited)
    again = visit(audited, path=audit_again(audited), context=tab.context)
    assert marked(again) == (1, 0) and saved(again) == []  # the one that nobody is sure of
    assert len(seen(again)) == 20 - answered + 1
    assert again.inner_text("#changed") == again.inner_text("#kept") == ""


def test_chromium_an_answer_that_was_changed_since_it_was_stored_stays_to_save(
    audited,  # noqa: F811
    visit,  # noqa: F811
    tmp_path,
):
    tab = visit(audited, path=audited / "audit.html")
    first, second, third = seen(tab)[:3]
    for key in "yyy":
        tab.keyboard.press(key)
    take_back(tab, tmp_path, audited)
    tab.locator(f"[data-product='{first}'] [data-key='?']").click()
    change(audited, "update audit_sample set answer = 'wrong' where product_id = ?", second)
    again = visit(audited, path=audit_again(audited), context=tab.context)
    assert again.inner_text("#changed") == "1 to save (1 of them not on this page)"
    assert again.inner_text("#kept").startswith("1 product had another decision in this browser")
    take_back(again, tmp_path, audited)
    assert (tmp_path / "decisions.csv").read_text().splitlines()[1].startswith(f"{first},unsure,")
    last = visit(audited, path=audit_again(audited), context=tab.context)
    assert saved(last) == [] and str(third) not in last.inner_text("main")


def test_chromium_what_was_said_where_a_product_was_filed_before_is_no_answer(
    audited,  # noqa: F811
    visit,  # noqa: F811
    tmp_path,
):
    tab = visit(audited, path=audited / "audit.html")
    first = seen(tab)[0]
    tab.keyboard.press("y")
    take_back(tab, tmp_path, audited)
    change(  # it was filed anew, at the parent
        audited,
        """insert into audit_sample(experiment_id, product_id, level, category_id, score, threshold,
           beside, drawn, place) select 1, product_id, 'parent', 'bags', score, threshold, beside,
           drawn, 100 from audit_sample where product_id = ?""",
        first,
    )
    again = visit(audited, path=audit_again(audited), context=tab.context)
    assert first in seen(again) and filed_at(again, first) == "bags"
    assert marked(again) == (0, 0)


# ---- categories that can be chosen --------------------------------------------------------------


def test_chromium_a_new_category_is_offered_again(left, visit, tmp_path):  # noqa: F811
    tab = visit(left, "--review", 1)
    products = seen(tab)
    for path in ("Accessories > Wig", "Accessories > Hat"):
        tab.keyboard.press("c")
        tab.keyboard.type(path)
        tab.keyboard.press("Enter")
        tab.keyboard.press("Enter")
    reload(tab)
    tab.keyboard.press("c")
    assert options(tab)[:2] == ["Accessories > Hat", "Accessories > Wig"]  # as they were used last
    tab.keyboard.type("wig")
    assert options(tab) == ["Accessories > Wig"]
    tab.keyboard.press("Enter")
    assert focused(tab) == products[3] and marked(tab) == (3, 3)
    own = tab.locator(f"[data-product='{products[3]}'] .where")
    own.fill("accessories >  wig")  # nor does it take an Enter more
    own.dispatch_event("change")
    assert marked(tab) == (4, 4) and own.input_value() == "Accessories > Wig"
    lines = [",".join(line.split(",")[1:4]) for line in saved(tab)]
    new = "filed by hand,,Accessories > "
    assert lines == [f"{new}Wig", f"{new}Hat", f"{new}Wig", f"{new}Wig"]
    for _ in range(4):
        tab.keyboard.press("0")
        tab.keyboard.press("k")
    tab.keyboard.press("c")
    assert not [path for path in options(tab) if "Accessories" in path]


def test_chromium_a_new_category_that_the_shop_has_by_now_is_offered_once(left, visit, tmp_path):  # noqa: F811
    tab = visit(left, "--review", 1)
    tab.keyboard.press("c")
    tab.keyboard.type("bags > basket")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Enter")
    change(left, "update category set name = 'basket' where id = 'bags.totes'")
    tab = visit(left, "--review", 1, context=tab.context)
    tab.keyboard.press("c")
    assert [path for path in options(tab) if "basket" in path] == ["bags > basket"]


def test_chromium_what_is_called_wrong_is_no_choice_of_what_is_right(audited, visit):  # noqa: F811
    change(audited, "update category set name = 'totes large' where id = 'jeans.skinny'")
    change(audited, "update audit_sample set category_id = 'bags.totes'")
    tab = visit(audited, path=audit_again(audited))
    first = current(tab)
    tab.keyboard.press("n")
    assert len(options(tab)) == len(LEAVES) - 1 and "bags > bags.totes" not in options(tab)
    tab.keyboard.type("totes")
    assert options(tab) == ["jeans > totes large"]
    for _ in range(2):  # nor is another one taken instead of what was typed
        tab.locator(f"[data-product='{first}'] .where").fill("bags > Bags.totes")
        assert options(tab) == []
        tab.keyboard.press("Enter")
        said = "Not stored: this is the category that you call wrong. Name another one."
        assert tab.locator("output.fault").inner_text() == said and current(tab) == first
    assert f"{first},wrong,,," in saved(tab)[0]


# ---- what the bar offers and says ---------------------------------------------------------------


def filters(tab):
    """{filter of categories or badges that the bar has: what it has to choose from}."""
    boxes = tab.locator("#tools select:not(#mark, #order)")
    return {
        box.get_attribute("id"): box.locator("option").all_inner_texts()[1:] for box in boxes.all()
    }


def test_chromium_a_filter_that_would_hide_nothing_is_not_there(audited, visit):  # noqa: F811
    tab = visit(audited, path=audited / "audit.html")
    assert filters(tab) == {}  # all were filed at one category, and none has a picture
    change(audited, "update audit_sample set category_id = 'bags.totes' where id < 6")
    change(audited, "update audit_sample set answer = 'unsure' where id < 4")
    tab = visit(audited, path=audit_again(audited))
    assert {name: len(values) for name, values in filters(tab).items()} == {
        "predicted": 2,
        "badge": 1,
    }
    tab.select_option("#badge", "answered ? before")
    assert len(seen(tab)) == 3


def test_chromium_what_is_taken_back_to_is_said(audited, visit):  # noqa: F811
    tab = visit(audited, path=audited / "audit.html")
    tab.keyboard.press("n")
    tab.keyboard.type("totes")
    tab.keyboard.press("Enter")
    assert tab.inner_text("#spoken") == "wrong: bags > bags.totes"
    for said in (", again wrong", ""):
        tab.keyboard.press("u")
        name = tab.inner_text(f"{CURRENT} h3")
        assert tab.inner_text("#spoken") == f"taken back: {name}{said}"


def test_chromium_the_bar_has_the_words_of_the_audit(audited, visit):  # noqa: F811
    tab = visit(audited, path=audited / "audit.html")
    answers = [text.split()[:-1] for text in tab.locator(".choice").all_inner_texts()[:3]]
    assert tab.locator("#mark option").all_inner_texts()[2:] == [" ".join(own) for own in answers]
    tab.keyboard.press("?")
    assert tab.inner_text("#marked") == "1 of 20 answered"
    assert tab.inner_text("#spoken") == "not sure"
    tab.select_option("#mark", "not sure")
    assert len(seen(tab)) == 1


# ---- a choice that has the focus ----------------------------------------------------------------


@pytest.mark.parametrize("key", ("Enter", "Space"))
def test_chromium_a_choice_that_has_the_focus_goes_on_as_its_key_does(left, visit, key):  # noqa: F811
    tab = visit(left, "--review", 1)
    first, second = seen(tab)[:2]
    own = tab.locator(f"[data-product='{first}'] .choice").nth(1)
    for _ in range(2):  # once more changes nothing and goes on, too
        own.focus()
        tab.keyboard.press(key)
        assert own.get_attribute("aria-pressed") == "true" and marked(tab) == (1, 1)
        assert current(tab) == focused(tab) == second
    own.click()  # by mouse it is taken back, and stays
    assert marked(tab) == (0, 0) and focused(tab) == first


def test_chromium_wrong_that_has_the_focus_asks_what_is_right(audited, visit):  # noqa: F811
    tab = visit(audited, path=audited / "audit.html")
    first = current(tab)
    tab.locator(f"[data-product='{first}'] [data-key=n]").focus()
    tab.keyboard.press("Enter")
    assert marked(tab) == (1, 1) and current(tab) == first
    assert tab.evaluate("document.activeElement.className") == "where"
