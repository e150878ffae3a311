"""The audit of what was filed automatically: its random sample, its page and its answers, by real
runs of analyze.py on a database that is made by hand.

    pytest tests/test_audit.py
"""

import csv
import json
import re
import sqlite3
from collections import Counter

import pytest
from conftest import run_script
from test_html_pages import chromium, visit

import db
from crawling import queries as crawling_queries
from evaluation import audit, audit_queries, filing_queries
from evaluation.audit_limits import BROKEN, KEPT, OPEN
from learning import queries as learning_queries

LEAVES = ("bags.clutches", "bags.totes", "jeans.bootcut", "jeans.skinny")
COLUMNS = (
    "product_id",
    "decision",
    "suggestion",
    "proposed",
    "label",
    "source",
    "external_id",
    "name",
    "audit",
)
LABELLED = 20  # products with a category


def filing_row(number, filed):
    """What experiment 1 filed a product as: the leaf, or for one in five the parent only."""
    leaf, score = LEAVES[number % 4], 0.8 + 0.2 * (number * 7919 % filed) / filed
    level = "parent" if number % 5 == 0 else "leaf"
    where = leaf.split(".")[0] if level == "parent" else leaf
    return level, where, score, leaf, leaf.split(".")[0]


def add_products(conn, numbers, filed):
    """Products without a category that experiment 1 has filed."""
    for number in numbers:
        level, where, score, leaf, parent = filing_row(number, filed)
        conn.execute(
            """insert into product(id, name, description, source, external_id, group_key)
               values (?, ?, 'Text', 'shop', ?, ?)""",
            (number, f"Name {number}", f"sku-{number}", f"g{number}"),
        )
        conn.execute(
            """insert into filing(experiment_id, product_id, category_id, level, score, leaf_id,
                                  leaf_score, parent_id, parent_score, top, target)
               values (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, .95)""",
            (number, where, level, score, leaf, score, parent, score, json.dumps([[leaf, score]])),
        )


@pytest.fixture
def folder(tmp_path):
    """400 products that experiment 1 has filed at a promise of 95 %, 80 of them at the parent."""
    conn = db.open_database(str(tmp_path / "crawl.db"), create=True)
    crawling_queries.store_categories(
        conn,
        [
            *((top, None, 0, top, top.title()) for top in ("bags", "jeans")),
            *(
                (leaf, leaf.split(".")[0], 1, f"{leaf.split('.')[0]}/{leaf}", leaf)
                for leaf in LEAVES
            ),
        ],
    )
    for number in range(1, LABELLED + 1):
        conn.execute(
            """insert into product(id, category_id, name, source, external_id, group_key)
               values (?, ?, 'Old', 'shop', ?, ?)""",
            (number, LEAVES[number % 4], f"old-{number}", f"old{number}"),
        )
    conn.execute(
        """insert into experiment(name, date, settings) values ('Text classification of: ',
           '2026-01-01', ?)""",
        (json.dumps({"folds": 5, "categories": list(LEAVES)}),),
    )
    conn.execute(
        """insert into predicted_category(experiment_id, product_id, category_id, score)
           values (1, 1, 'bags.totes', .9)"""
    )
    conn.execute(
        """insert into filing_source(experiment_id, source, target, confidence, leaf, parent,
                                     reasons, refused, floor, shut)
           values (1, 'shop', .95, .95, .8, .8, '[]', '[]', 0.9, '[]')"""
    )
    add_products(conn, range(1001, 1401), 400)
    conn.close()
    return tmp_path


def query(folder, statement, *values):
    conn = sqlite3.connect(folder / "crawl.db")
    with conn:
        rows = conn.execute(statement, values).fetchall()
    conn.close()
    return rows


def draw(folder, *flags):
    """The products of the page that --audit makes, in order, and the CompletedProcess."""
    done = run_script("analyze", "--audit", 1, "-o", "audit.html", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    page = (folder / "audit.html").read_text(encoding="utf-8")
    return [int(number) for number in re.findall(r'data-product="(\d+)"', page)], done


def write_answers(folder, answers, name="audit.csv", experiment=1, label=None):
    """A file as the page saves it, of (product, decision, right category). The label is the category
    at which the product was drawn, unless the test says another."""
    drawn = dict(query(folder, "select product_id, category_id from audit_sample"))
    with open(folder / name, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, decision, right in answers:
            about = label or drawn.get(number) or filing_row(number, 400)[1]
            cells = (number, decision, right, "", about, "shop", f"sku-{number}")
            writer.writerow([*cells, f"Name {number}", experiment])
    return name


def take(folder, answers, status=0, **more):
    done = run_script("analyze", "--overrides", write_answers(folder, answers, **more), cwd=folder)
    assert done.returncode == status, done.stderr
    return done


def judged(folder, **thresholds):
    """{level: audit.Judged} of the promise of 95 % from these thresholds on."""
    conn = db.open_readonly(str(folder / "crawl.db"))
    promise = audit.Promise(0.95, 0.95, {"leaf": 0.8, "parent": 0.8, **thresholds})
    found = {level.level: level for level in audit.judge(conn, 1, promise)}
    conn.close()
    return found


# ---- who is drawn -----------------------------------------------------------------------------------


def test_what_is_drawn_stays_drawn_and_the_sample_goes_on_where_it_was(folder):
    first, done = draw(folder, "--top", 60)
    assert len(set(first)) == 60 and "60 products to look at" in done.stderr
    assert draw(folder, "--top", 60)[0] == first
    more, _ = draw(folder, "--top", 90)
    assert more[:60] == first and len(set(more)) == 90
    take(folder, [(number, "right", "") for number in first[:40]])
    rest, _ = draw(folder, "--top", 90)
    assert rest[:50] == more[40:] and set(rest).isdisjoint(first[:40]) and len(rest) == 90


def test_each_product_is_drawn_as_often_as_any_other_whatever_its_score(folder):
    conn = db.open_database(str(folder / "crawl.db"))
    times = Counter()
    for secret in range(200):
        conn.execute("delete from audit")
        conn.execute("delete from audit_sample")
        conn.execute("insert into audit values (1, ?)", (f"{secret:032x}",))
        audit.draw(conn, 1, 40)
        times.update(
            number
            for (number,) in db.plain(
                conn, "select product_id from audit_sample where threshold is not null"
            )
        )
    conn.close()
    usual = times.total() / 400
    spread = sum((times[number] - usual) ** 2 for number in range(1001, 1401)) / 400
    assert 14 < usual <= 20
    assert 0.75 < spread / usual < 1.25  # as chance would have it: binomial, about 0.95
    surest = sum(times[number] for number in range(1001, 1401) if filing_row(number, 400)[2] > 0.9)
    assert 0.45 < surest / times.total() < 0.55


def test_two_audits_of_the_same_products_differ(folder, tmp_path_factory):
    first, _ = draw(folder, "--top", 30)
    query(folder, "delete from audit")
    query(folder, "delete from audit_sample")
    assert set(draw(folder, "--top", 30)[0]) != set(first)


def test_each_large_category_has_twenty_and_the_verdict_rests_on_the_whole(folder):
    # One leaf of ten has 6 % of all, which is large; a rare one has 2 %, which is not.
    query(
        folder,
        """update filing set category_id = 'few', leaf_id = 'few' where product_id < 1026
           and level = 'leaf' and experiment_id = 1""",
    )
    query(
        folder,
        """update filing set category_id = 'rare', leaf_id = 'rare'
           where product_id between 1026 and 1035 and level = 'leaf'""",
    )
    draw(folder, "--top", 200)
    drawn = Counter(
        dict(query(folder, "select category_id, count(*) from audit_sample group by 1"))
    )
    assert drawn["few"] == 20 and drawn["rare"] < 10  # of 20 and 8
    extra = query(folder, "select distinct category_id from audit_sample where threshold is null")
    assert ("few",) in extra and ("rare",) not in extra
    take(
        folder,
        [
            (number, "right", "")
            for (number,) in query(
                folder,
                """
        select product_id from audit_sample where threshold is null""",
            )
        ],
    )
    assert judged(folder) == {} or all(
        found.counts.looked == 0 for found in judged(folder).values()
    )


def test_what_counts_is_the_beginning_of_the_random_order_at_each_moment(folder):
    """What was drawn for its category, and answered, counted at once when a page reached it: before
    the random ones that stand between, so that large categories counted more than others."""
    draw(folder, "--top", 1)
    conn = db.open_readonly(str(folder / "crawl.db"))
    place = audit_queries.random_order(conn, 1)
    conn.close()
    order = sorted(range(1001, 1401), key=place)
    for _ in range(5):
        numbers, _ = draw(folder, "--top", 40)
        check_beginning(folder, order)
        for part in (numbers[:10], numbers[10:]):
            take(folder, [(number, "right", "") for number in part])
            check_beginning(folder, order)
    assert query(folder, "select 1 from audit_sample where beside and threshold is not null")
    # In the end each product counts, and once.
    while numbers:
        take(folder, [(number, "right", "") for number in numbers])
        numbers, _ = draw(folder, "--top", 400)
    assert {level: found.counts.looked for level, found in judged(folder).items()} == {
        "leaf": 320,
        "parent": 80,
    }


def check_beginning(folder, order):
    """What counts of a level are the first products of the random order, and each is answered."""
    conn = db.open_readonly(str(folder / "crawl.db"))
    sample = audit_queries.sample(conn, 1)
    conn.close()
    for level in audit_queries.LEVELS:
        of_level = [number for number in order if filing_row(number, 400)[0] == level]
        rows = audit.answered_rows(sample, level, 0.8)
        assert [row["product_id"] for row in rows] == of_level[: len(rows)]
        assert all(row["answer"] for row in rows)


def test_those_of_which_somebody_was_not_sure_come_again_at_the_end_of_each_page(folder):
    numbers, _ = draw(folder, "--top", 40)
    unsure = set(numbers[::4])
    take(folder, [(n, "unsure" if n in unsure else "right", "") for n in numbers])
    again, done = draw(folder, "--top", 80)
    assert set(again[-10:]) == unsure and len(again) == 80
    assert "10 once more, because somebody was not sure" in done.stderr
    few, _ = draw(folder, "--top", 20)
    assert len(few) == 20 and set(few[-5:]) < unsure
    take(folder, [(number, "right", "") for number in unsure])
    assert not unsure & set(draw(folder, "--top", 80)[0])


def test_what_nobody_is_sure_of_counts_as_an_error_in_what_it_takes(folder):
    numbers, _ = draw(folder, "--top", 40)
    leaf = next(number for number in numbers if filing_row(number, 400)[0] == "leaf")
    take(folder, [(n, "unsure" if n == leaf else "right", "") for n in numbers])
    _, done = draw(folder, "--top", 40)
    assert "it takes" in done.stderr and "with 1 error, " in done.stderr
    assert "without an error, " not in done.stderr.split("at the parent")[0]
    assert "(1 not sure or skipped among the errors)" in done.stderr


def test_what_was_filed_later_is_caught_up_with(folder):
    first, _ = draw(folder, "--top", 100)
    take(folder, [(number, "right", "") for number in first])
    conn = db.open_database(str(folder / "crawl.db"))
    add_products(conn, range(2001, 2401), 400)
    conn.close()
    later, _ = draw(folder, "--top", 100)
    assert set(later).isdisjoint(first)
    # The new ones are passed first, as far as the old ones were: about a hundred of each.
    assert sum(number > 2000 for number in later) >= 80
    counts = judged(folder)["leaf"].counts
    assert counts.filed > 600 and counts.looked > 50


def test_a_raised_threshold_is_judged_by_the_answers_above_it_and_a_lowered_one_restarts(folder):
    first, _ = draw(folder, "--top", 100)
    take(folder, [(number, "right", "") for number in first])
    above = judged(folder, leaf=0.9)["leaf"]
    assert above.threshold == 0.9
    assert 0 < above.counts.looked < judged(folder)["leaf"].counts.looked
    # Below the threshold nothing was drawn: the answers speak for what is above.
    assert judged(folder, leaf=0.5)["leaf"].threshold == 0.8
    # --apply has lowered the threshold, and more products come in below.
    query(folder, "update filing_source set leaf = .5")
    query(folder, "update filing set score = score - .2 where product_id > 1200 and level = 'leaf'")
    draw(folder, "--top", 150)
    drawn = query(folder, "select distinct threshold from audit_sample where level = 'leaf'")
    assert (0.5,) in drawn


def test_nothing_filed_is_one_sentence(folder):
    query(folder, "delete from filing")
    done = run_script("analyze", "--audit", 1, cwd=folder)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert "has filed nothing by itself" in done.stderr and "--apply 1" in done.stderr
    assert run_script("analyze", "--audit", 9, cwd=folder).returncode == 2


def test_what_an_older_version_filed_is_to_be_filed_again(folder):
    query(folder, "update filing set target = null")
    query(folder, "delete from filing_source")
    done = run_script("analyze", "--audit", 1, cwd=folder)
    assert done.returncode == 2 and "older version" in done.stderr and "--apply 1" in done.stderr


def test_flags_that_do_not_go_with_it(folder):
    assert run_script("analyze", "--audit", 1, "--json", cwd=folder).returncode == 2
    assert run_script("analyze", "--audit", 1, "--models", cwd=folder).returncode == 2


# ---- the page ---------------------------------------------------------------------------------------


def test_the_page_says_what_it_takes_and_not_how_sure_the_machine_was(folder):
    numbers, done = draw(folder, "--top", 50)
    page = (folder / "audit.html").read_text(encoding="utf-8")
    takes = re.search(r"320 filed at the leaf, 95 % promised: it takes (\d+) answers", done.stderr)
    assert takes and takes[0] in page
    beside = re.search(
        r"50 products to look at, drawn at random, \d+ of them from the large", done.stderr
    )
    assert beside and f"<summary>{beside[0]}" in page  # not all of them are drawn of the whole
    assert "without an error" in done.stderr and "with 2 errors" in done.stderr
    for number in numbers[:20]:
        assert f"{filing_row(number, 400)[2]:.3f}"[:5] not in page
    assert 'data-score="-1"' in page and "sku-" in page and "Filed at" in page


def test_printed_it_is_the_same_page(folder):
    draw(folder, "--top", 20)
    done = run_script("analyze", "--audit", 1, "--top", 20, cwd=folder)
    assert done.stdout == (folder / "audit.html").read_text(encoding="utf-8")


def test_chromium_the_sample_is_answered_by_keyboard(folder, visit, tmp_path):
    numbers, _ = draw(folder, "--top", 20)
    filed = filing_row(numbers[1], 400)[1]
    other = "bags.clutches" if filed == "bags.totes" else "bags.totes"
    tab = visit(folder, path=folder / "audit.html")
    tab.keyboard.press("y")
    tab.keyboard.press("n")
    tab.keyboard.type(other.split(".")[1])
    tab.keyboard.press("Enter")
    tab.keyboard.press("?")
    tab.keyboard.press("n")
    tab.keyboard.press("Escape")  # nobody knows where it belongs
    assert "4 of 20" in tab.inner_text("#marked")
    with tab.expect_download() as download:
        tab.click("#save")
    assert download.value.suggested_filename == "audit.csv"
    download.value.save_as(folder / "saved.csv")
    done = run_script("analyze", "--overrides", "saved.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    answers = dict(query(folder, "select product_id, answer from audit_sample"))
    second = "right" if filed == "bags" else "wrong"  # a parent is right about a leaf below it
    assert [answers[number] for number in numbers[:4]] == ["right", second, "unsure", "wrong"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_chromium_the_page_is_accessible_and_fits_its_screen(folder, visit, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    draw(folder, "--top", 20)
    view = {"width": 1366, "height": 768}
    tab = visit(folder, path=folder / "audit.html", viewport=view, color_scheme=scheme)
    tab.click("#tools summary")  # the line is closed, as it is at first
    whole = """all => all.filter(one => one.getBoundingClientRect().bottom <= innerHeight).length"""
    assert tab.eval_on_selector_all(".product", whole) >= 8
    for width in (1366, 400):
        tab.set_viewport_size({"width": width, "height": 768})
        for key in "jn":
            tab.keyboard.press(key)
        assert tab.is_visible(".picker")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.Axe().run(tab).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"][:400]) for one in found] == []
        tab.keyboard.press("Escape")
    rows = tab.eval_on_selector_all(
        ".product:first-of-type .choice", "all => all.map(one => one.getBoundingClientRect().top)"
    )
    assert len(set(rows)) == 1  # three short answers, also on a phone


# ---- the answers ------------------------------------------------------------------------------------


def drawn_at(folder, level, count):
    """The first products that were drawn at a level."""
    return [
        number
        for (number,) in query(
            folder, "select product_id from audit_sample where level = ? order by id", level
        )
    ][:count]


def test_answers_are_stored_and_become_labels(folder):
    draw(folder, "--top", 100)
    right, wrong, lost, unsure = drawn_at(folder, "leaf", 4)
    other = next(leaf for leaf in LEAVES if leaf != filing_row(wrong, 400)[1])
    done = take(
        folder, [(right, "right", ""), (wrong, "wrong", other), (lost, "n", ""), (unsure, "?", "")]
    )
    assert "4 read (1 right, 1 unsure, 2 wrong), 4 new or changed" in done.stdout
    assert query(
        folder,
        """select product_id, answer, right_id from audit_sample where answer is not null
           order by id""",
    ) == [
        (right, "right", None),
        (wrong, "wrong", other),
        (lost, "wrong", None),
        (unsure, "unsure", None),
    ]
    assert query(
        folder, "select product_id, decision, category_id from label_override order by product_id"
    ) == sorted(
        [(right, "filed by hand", filing_row(right, 400)[1]), (wrong, "filed by hand", other)]
    )
    # What is called wrong is left to a person at once.
    assert query(folder, "select level, category_id from filing where product_id = ?", lost) == [
        ("person", None)
    ]
    again = take(folder, [(right, "right", "")])
    assert "0 new or changed" in again.stdout


def test_an_answer_is_taken_back_with_the_label_that_it_gave(folder):
    draw(folder, "--top", 40)
    first, second = drawn_at(folder, "leaf", 2)
    take(folder, [(first, "right", ""), (second, "right", "")])
    query(folder, "update label_override set category_id = 'jeans' where product_id = ?", second)
    take(folder, [(first, "undecided", ""), (second, "unsure", "")])
    assert query(folder, "select answer from audit_sample where product_id = ?", first) == [(None,)]
    # What somebody has decided otherwise since stays.
    assert query(folder, "select product_id, category_id from label_override") == [
        (second, "jeans")
    ]


def test_a_parent_that_was_right_gives_no_label_unless_the_leaf_is_named(folder):
    draw(folder, "--top", 100)
    first, second, third = drawn_at(folder, "parent", 3)
    leaf, other = filing_row(second, 400)[3], filing_row(third, 400)[1]
    elsewhere = "bags.totes" if other == "jeans" else "jeans.skinny"
    take(folder, [(first, "right", ""), (second, "wrong", leaf), (third, "wrong", elsewhere)])
    assert query(
        folder, "select product_id, answer from audit_sample where answer is not null order by id"
    ) == [(first, "right"), (second, "right"), (third, "wrong")]
    assert dict(query(folder, "select product_id, category_id from label_override")) == {
        second: leaf,
        third: elsewhere,
    }


def test_answers_that_can_not_be_used_are_named(folder):
    numbers, _ = draw(folder, "--top", 40)
    drawn = drawn_at(folder, "leaf", 4)
    undrawn = next(number for number in range(1001, 1401) if number not in numbers)
    same = filing_row(drawn[2], 400)[1]
    done = take(
        folder,
        [
            (undrawn, "right", ""),
            (drawn[0], "right", ""),
            (drawn[1], "maybe", ""),
            (drawn[2], "wrong", same),
            (drawn[3], "wrong", "no.such"),
        ],
        status=1,
    )
    assert f"line 2: product {undrawn} ('Name {undrawn}') was never drawn" in done.stderr
    assert "line 4: the answer 'maybe' is none of right, wrong and unsure" in done.stderr
    assert "answer right" in done.stderr and "'no.such'" in done.stderr
    assert "1 read (1 right)" in done.stdout
    done = take(folder, [(undrawn, "right", "")], status=2, experiment="no")
    assert "was never drawn" in done.stderr


def test_an_answer_about_another_category_than_the_drawn_one_is_named(folder):
    """Such as one of a page that was made from another crawl.db, with the same products."""
    draw(folder, "--top", 40)
    number = next(n for n in drawn_at(folder, "leaf", 40) if filing_row(n, 400)[1] != "bags.totes")
    done = take(folder, [(number, "right", "")], status=2, label="bags.totes")
    assert f"line 2: the answer is about 'bags.totes', and product {number} was filed at" in (
        done.stderr
    )
    assert query(folder, "select count(*) from label_override") == [(0,)]


@pytest.mark.parametrize("word", ["right", "unsure"])
def test_an_answer_that_contradicts_its_own_category_is_named(folder, word):
    draw(folder, "--top", 60)
    number = next(n for n in drawn_at(folder, "leaf", 60) if filing_row(n, 400)[1] != "bags.totes")
    done = take(folder, [(number, word, "bags.totes")], status=2)
    assert f"it is called {word}, and is to go to 'bags.totes': answer wrong" in done.stderr
    take(folder, [(number, "right", filing_row(number, 400)[1])])  # says the same twice
    assert query(folder, "select count(*) from label_override") == [(1,)]


def test_a_product_that_is_answered_twice_differently_is_left_out(folder):
    draw(folder, "--top", 40)
    first, second = drawn_at(folder, "leaf", 2)
    done = take(
        folder, [(first, "right", ""), (second, "right", ""), (first, "wrong", "")], status=1
    )
    assert done.stderr.count("answered twice, differently (lines 2, 4)") == 2
    assert query(folder, "select product_id from audit_sample where answer is not null") == [
        (second,)
    ]
    take(folder, [(first, "right", ""), (first, "right", "")])  # a file that was saved twice


def take_page(folder, lines, status=0):
    """Take a file as the page saves it: lines of (product, decision, what the page knew)."""
    with open(folder / "page.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["product_id", "decision", "instead_of", "audit", "line"])
        for turn, (number, decision, knew) in enumerate(lines, 1):
            writer.writerow([number, decision, knew, 1, f"{turn} of {len(lines)}"])
    done = run_script("analyze", "--overrides", "page.csv", cwd=folder)
    assert done.returncode == status, done.stderr
    return done


def test_what_somebody_else_has_answered_is_not_overwritten_in_silence(folder):
    draw(folder, "--top", 40)
    first, second, third = drawn_at(folder, "leaf", 3)
    undecided = "undecided"
    take_page(folder, [(first, "right", undecided), (second, "unsure", undecided)])
    # Another person's page is older than these answers.
    done = take_page(
        folder,
        [(first, "wrong", undecided), (second, "right", undecided), (third, "right", undecided)],
        status=1,
    )
    assert f"line 2: product {first} is answered otherwise by now, 'right'" in done.stderr
    answers = dict(query(folder, "select product_id, answer from audit_sample"))
    assert [answers[number] for number in (first, second, third)] == ["right"] * 3
    take_page(folder, [(first, "unsure", "undecided | right")])  # one's own may be changed
    assert query(folder, "select answer from audit_sample where product_id = ?", first) == [
        ("unsure",)
    ]


def test_a_file_that_was_saved_half_way_is_named(folder):
    draw(folder, "--top", 40)
    first, second = drawn_at(folder, "leaf", 2)
    text = (
        f"product_id,decision,instead_of,audit,line\n{first},right,undecided,1,1 of 2\n{second},ri"
    )
    (folder / "cut.csv").write_text(text, encoding="utf-8")
    done = run_script("analyze", "--overrides", "cut.csv", cwd=folder)
    assert done.returncode == 1 and "line 3: the line is not whole" in done.stderr
    assert "1 read (1 right)" in done.stdout


def test_decisions_of_a_review_and_answers_of_an_audit_may_stand_in_one_file(folder):
    draw(folder, "--top", 40)
    (first,) = drawn_at(folder, "leaf", 1)
    name = write_answers(folder, [(first, "right", "")])
    with open(folder / name, "a", encoding="utf-8") as file:
        file.write("1,label wrong,bags.clutches,,bags.totes,shop,old-1,Old,\n")
    done = run_script("analyze", "--overrides", name, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert dict(query(folder, "select product_id, decision from label_override")) == {
        1: "label wrong",
        first: "filed by hand",
    }


def test_what_the_shop_has_filed_since_keeps_the_shops_label_and_is_answered_all_the_same(folder):
    draw(folder, "--top", 40)
    first, second = drawn_at(folder, "leaf", 2)
    query(folder, "update product set category_id = 'bags.totes' where id = ?", first)
    query(folder, "update product set removed = 1 where id = ?", second)
    done = take(folder, [(first, "wrong", ""), (second, "right", "")])
    assert "2 new or changed" in done.stdout
    assert judged(folder)["leaf"].counts.looked == 2
    assert query(folder, "select product_id from label_override") == [(second,)]


# ---- what they say ----------------------------------------------------------------------------------


def answer_all(folder, is_wrong):
    """Answer each product that waits; `is_wrong` says of a position whether it is wrong."""
    numbers, _ = draw(folder)
    answers = []
    for position, number in enumerate(numbers):
        answers.append((number, "wrong" if is_wrong(position) else "right", ""))
    return take(folder, answers)


def test_without_errors_the_promise_is_kept(folder):
    done = answer_all(folder, lambda position: False)
    assert judged(folder)["leaf"].verdict == KEPT
    assert "experiment 1, audit of the leaf, from score 0.8000 on: kept" in done.stdout
    taken = run_script("analyze", "--overrides", "audit.csv", "--json", cwd=folder)
    levels = json.loads(taken.stdout)["audit"]["judged"]["1"]["levels"]
    assert [level["verdict"] for level in levels] == ["kept", "open"]


def test_while_a_promise_is_open_it_is_said_how_to_go_on_and_each_answer_is_accounted_for(folder):
    numbers, _ = draw(folder, "--top", 40)
    done = take(folder, [(number, "right", "") for number in numbers])
    counts = map(int, re.findall(r"filed (\d+) were looked at", done.stdout))
    (beside,) = re.findall(r"(\d+) of the answers count for their large category", done.stdout)
    assert sum(counts) + int(beside) == 40 and int(beside) > 0
    assert re.search(r"80 filed at the parent, 95 % promised: it takes \d+ answers", done.stdout)
    assert "to look at more: python analyze.py --audit 1 -o audit.html" in done.stdout
    again, _ = draw(folder, "--top", 40)
    assert not set(again) & set(numbers)


def test_with_many_errors_it_is_broken(folder):
    done = answer_all(folder, lambda position: position % 5 == 0)
    assert judged(folder)["leaf"].verdict == BROKEN
    assert "on: broken. Of 320 filed" in done.stdout
    shown = done.stdout.split("large categories, each by itself, the lowest limit first:\n")[1]
    shown = shown.split("decisions (")[0]
    names = {f"{leaf} (leaf)" for leaf in LEAVES} | {"bags (parent)", "jeans (parent)"}
    assert {line.split(":")[0].strip() for line in shown.splitlines()} == names
    assert len(re.findall(r": \d+ of \d+ are right, \d+\.\d % \[", shown)) == 6


def test_what_is_skipped_or_not_sure_keeps_it_open(folder):
    numbers, _ = draw(folder)
    answers = [
        (number, "unsure" if place % 8 == 0 else "right", "")
        for place, number in enumerate(numbers)
    ]
    take(folder, [answer for place, answer in enumerate(answers) if place % 9])
    found = judged(folder)["leaf"]
    assert found.verdict == OPEN and found.counts.wrong == 0 and found.counts.unsure > 10
    assert found.limits.high == 1 and found.limits.low < 0.9
    # What is not sure is shown again after what waits, for somebody else.
    again, _ = draw(folder, "--top", 400)
    unsure = [number for number, answer, _ in answers if answer == "unsure"]
    assert set(again[-10:]) <= set(unsure)


def test_renamed_categories_are_what_they_are_called_today(folder):
    draw(folder, "--top", 60)
    number = next(n for n in drawn_at(folder, "leaf", 60) if filing_row(n, 400)[1] == "bags.totes")
    (folder / "moves.csv").write_text("from,to\nbags.totes,bags > Shoppers\n", encoding="utf-8")
    done = run_script("analyze", "--recategorize", "moves.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    numbers, _ = draw(folder, "--top", 60)
    assert "Shoppers" in (folder / "audit.html").read_text(encoding="utf-8")
    take(folder, [(number, "right", "")])
    (row,) = query(
        folder,
        """select path from label_override join category on category.id = category_id
           where product_id = ?""",
        number,
    )
    assert "shoppers" in row[0].lower()


def test_what_was_filed_at_a_category_that_is_gone_is_judged_and_gives_no_label(folder):
    """The id of the category became a label, and went out to the shop as a name."""
    draw(folder, "--top", 60)
    number = next(n for n in drawn_at(folder, "leaf", 60) if filing_row(n, 400)[1] == "bags.totes")
    (folder / "moves.csv").write_text("from,to\nbags.totes,\n", encoding="utf-8")
    assert run_script("analyze", "--recategorize", "moves.csv", cwd=folder).returncode == 0
    done = take(folder, [(number, "right", "")])
    assert "1 read (1 right)" in done.stdout and "to be created" not in done.stdout
    assert query(folder, "select count(*) from label_override") == [(0,)]


@pytest.mark.parametrize("applied", (False, True), ids=("at once", "after --apply"))
@pytest.mark.parametrize("who", ("a person", "the shop"))
def test_what_somebody_has_filed_since_is_not_lost_from_what_was_filed(folder, who, applied):
    """Otherwise a review of what is hard, or an import of what was filed, leaves the sample alone as
    all that was filed, and a few right answers would prove the promise."""
    draw(folder, "--top", 60)
    drawn = drawn_at(folder, "leaf", 60)
    before = len(query(folder, "select 1 from filing where level = 'leaf'"))
    take(folder, [(number, "right", "") for number in drawn])
    rest = """from filing where level = 'leaf' and not exists (
                  select 1 from audit_sample where product_id = filing.product_id)"""
    if who == "the shop":
        query(
            folder,
            f"update product set category_id = 'jeans.skinny' where id in (select product_id {rest})",
        )
    else:
        query(
            folder,
            f"""insert into label_override select product_id, 'filed by hand', 'jeans.skinny', null,
                datetime() {rest}""",
        )
    if applied:  # what --apply does before it files
        conn = db.open_database(str(folder / "crawl.db"))
        with conn:
            filing_queries.unfile(conn, 1)
        conn.close()
    level = judged(folder)["leaf"]
    assert level.counts.filed == before == 320 and level.verdict == OPEN
    again, _ = draw(folder, "--top", 60)  # the sample goes on among them
    assert len(again) == 60 and any(
        filing_row(number, 400)[0] == "leaf" and number not in drawn for number in again
    )
    take(folder, [(number, "wrong", "") for number in again])
    level = judged(folder)["leaf"]
    assert level.counts.filed == 320 and level.counts.wrong > 5 and level.verdict == BROKEN


def test_what_was_noted_and_not_drawn_takes_no_answer_and_says_nothing_of_its_category(folder):
    draw(folder, "--top", 20)
    number = next(n for n in range(1001, 1401) if n not in drawn_at(folder, "leaf", 60))
    query(folder, "update product set category_id = 'jeans.skinny' where id >= 1001")
    conn = db.open_database(str(folder / "crawl.db"))
    with conn:
        filing_queries.unfile(conn, 1)
    noted = conn.execute("select product_id from audit_sample where drawn is null").fetchall()
    promise = audit.Promise(0.95, 0.95, {"leaf": 0.8, "parent": 0.8})
    assert (number,) in map(tuple, noted) and audit.judge_categories(conn, 1, promise) == []
    conn.close()
    done = take(folder, [(number, "right", "")], status=2)
    assert "was never drawn" in done.stderr


# ---- no random sample of all products -----------------------------------------------------------------


def test_an_answer_is_learned_and_is_no_evidence_for_a_promise(folder):
    """The shop imports what was filed. What a person has chosen at a review counts then, and what
    was audited does not, right or wrong: only what the machine was sure of is audited."""
    draw(folder, "--top", 60)
    right, wrong = drawn_at(folder, "leaf", 2)
    other = next(leaf for leaf in LEAVES if leaf != filing_row(wrong, 400)[1])
    take(folder, [(right, "right", ""), (wrong, "wrong", other)])
    reviewed = next(
        number
        for number in range(1001, 1401)
        if filing_row(number, 400)[0] == "leaf" and number not in drawn_at(folder, "leaf", 400)
    )
    leaf = filing_row(reviewed, 400)[1]
    for number in (right, wrong, reviewed):
        query(
            folder,
            """insert into filed_before select product_id, leaf_id from filing
               where product_id = ?""",
            number,
        )
    query(
        folder,
        "insert into label_override values (?, 'filed by hand', ?, null, 'then')",
        reviewed,
        leaf,
    )
    query(
        folder,
        """update product set category_id = (select category_id from label_override
           where product_id = product.id) where id in (select product_id from label_override)""",
    )
    conn = db.open_readonly(str(folder / "crawl.db"))
    rows = {row["id"]: row for row in learning_queries.labelled_products(conn, LEAVES)}
    conn.close()
    assert rows[reviewed]["category_id"] == leaf and not rows[reviewed]["filed"]
    for number, label in ((right, filing_row(right, 400)[1]), (wrong, other)):
        assert rows[number]["taught"] == label
        assert rows[number]["category_id"] is None and rows[number]["filed"]
