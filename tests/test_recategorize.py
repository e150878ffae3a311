"""Categories that are renamed, moved and merged: what changes, what stays, and what is taken back.

pytest tests/test_recategorize.py
"""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from conftest import REPO, environment, run_script, write_feed
from hypothesis import given, settings
from hypothesis import strategies as st
from test_db import make_2016

import db
from common.terminal import UserError
from crawling import queries as crawling_queries
from evaluation import recategorize

PRODUCTS = {
    "1": "Women > Jeans > Skinny",
    "2": "Women > Jeans > Wide",
    "3": "Women > Jeans > Wide",
    "4": "Women > Bags",
    "5": "Men > Trousers",
    "6": "Women > Tops",
    "7": "Women",
}
TABLES = ("category", "product", "product_category", "label_override", "filed_before", "filing")


def rows_of(products):
    return [(number, f"Name {number}", "", path, "", "") for number, path in products.items()]


@pytest.fixture
def folder(tmp_path):
    """A crawl.db with PRODUCTS, as crawl.py has loaded them."""
    load(tmp_path, PRODUCTS)
    return tmp_path


def load(folder, products, *flags):
    """Load a feed of products {id: path}. Returns what crawl.py printed."""
    write_feed(folder / "feed.tsv", rows_of(products))
    done = run_script("crawl", "--feed", "feed.tsv", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def change(folder, lines, *flags, header="from,to"):
    """Run --recategorize on a file of these lines. Returns the CompletedProcess."""
    text = "\n".join([header, *lines]) + "\n"
    (folder / "moves.csv").write_text(text, encoding="utf-8")
    return run_script("analyze", "--recategorize", "moves.csv", *flags, cwd=folder)


def take_back(folder, *flags):
    return run_script("analyze", "--undo-recategorize", *flags, cwd=folder)


def query(folder, statement, *values):
    with contextlib.closing(sqlite3.connect(folder / "crawl.db")) as conn, conn:
        return conn.execute(statement, values).fetchall()


def state(folder):
    """All rows of the tables that a change of categories writes."""
    return {table: sorted(query(folder, f"select * from {table}"), key=repr) for table in TABLES}


def filed(folder):
    """{product id: category id}, of products as the shop numbers them."""
    return dict(query(folder, "select external_id, category_id from product order by id"))


def tree(folder):
    """{category id: (leaf, product_count, path, name)}."""
    return {
        row[0]: row[1:]
        for row in query(folder, "select id, leaf, product_count, path, name from category")
    }


def kinds(done):
    return [(move["kind"], move["products"]) for move in json.loads(done.stdout)["moves"]]


def reasons(done):
    return {line["line"]: line["reason"] for line in json.loads(done.stdout)["unusable"]}


# ---- bounds of a load ---------------------------------------------------------------------------

DEEP = " > ".join(["Deep", *"a" * 29])
OUT_OF_BOUNDS = {  # kind: (categories of the feed, lines that can't be used)
    "levels": ((), [f"Women > Bags,Deep{'>a' * 240}"]),
    "levels of an id": ((), [f"women.bags,deep{'.a' * 240}"]),
    "an id of a megabyte": ((), [f"women.bags,deep{'.a' * 500_000}"]),
    "one level more than 50": ((), [f"Women > Bags,Deep{'>a' * 50}"]),
    "a level below an id": ((), [f"women.bags,women.{'a' * 501}"]),
    "the first level in all ids": ((), [f"Women > Bags,{'a' * 400}{'>b' * 40}"]),
    "levels that go along": ((DEEP,), [f"Deep,Other{'>b' * 30}"]),
    "letters that go along": ((f"Long > {'x' * 490}",), [f"Long,{'y' * 400}{'>b' * 22}"]),
}


@pytest.mark.redteam
@pytest.mark.parametrize("kind", OUT_OF_BOUNDS)
def test_a_line_that_leads_beyond_the_bounds_of_a_load_is_left_out(folder, kind):
    categories, lines = OUT_OF_BOUNDS[kind]
    load(folder, {**PRODUCTS, **dict(zip("89", categories))})
    before = tree(folder)
    done = change(folder, [*lines, "Men > Trousers,Men > Shorts"], "--json")
    assert done.returncode == 1 and list(reasons(done)) == [2], done.stderr
    assert filed(folder)["5"] == "men.shorts"
    assert tree(folder).keys() - before.keys() == {"men.shorts"}


def test_as_many_levels_as_a_load_takes_can_be_made(folder):
    done = change(folder, [f"Women > Bags,Deep{'>a' * 49}"])
    assert (done.returncode, done.stderr) == (0, "")


# ---- what a line does ---------------------------------------------------------------------------


def test_a_category_gets_the_id_of_its_new_path_and_its_products_go_with_it(folder):
    done = change(folder, ["Women > Bags,Women > Hand Bags"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "  from          to                          products",
        "  Women > Bags  Women > Hand Bags  renamed         1",
    ]
    assert filed(folder)["4"] == "women.hand-bags"
    assert tree(folder)["women.hand-bags"] == (1, 1, "women/women.hand-bags", "Hand Bags")
    assert "women.bags" not in tree(folder)
    assert query(folder, "select category_id from product_category where product_id = 4") == [
        ("women.hand-bags",)
    ]
    assert query(
        folder, "select run, from_id, to_id, from_path, to_path, products from category_change"
    ) == [(1, "women.bags", "women.hand-bags", "Women > Bags", "Women > Hand Bags", 1)]


@pytest.mark.parametrize(
    "line, kind, expected",
    (
        ("women.bags,women.totes", ("renamed", 1), {"4": "women.totes"}),
        ("women.bags,Men > Bags", ("moved", 1), {"4": "men.bags"}),
        ("women > BAGS,Men > New > Bags", ("moved", 1), {"4": "men.new.bags"}),
        ("Women > Bags,Bags", ("moved", 1), {"4": "bags"}),
        ("Women > Bags,men.trousers", ("merged", 1), {"4": "men.trousers"}),
        ("Women > Jeans > Wide,women > jeans", ("merged", 2), {"2": "women.jeans"}),
        ("Women > Bags,", ("waits", 1), {"4": None}),
        ("Women > Jeans,", ("waits", 3), {"1": None, "2": None, "3": None}),
        (
            "Women > Jeans,Women > Denim",
            ("renamed", 3),
            {"1": "women.denim.skinny", "2": "women.denim.wide"},
        ),
        (
            "women,ladies",
            ("renamed", 6),
            {"1": "ladies.jeans.skinny", "4": "ladies.bags", "7": "ladies"},
        ),
        ("Women > Bags,Women > BAGS", ("renamed", 1), {"4": "women.bags"}),
        ("Women > Bags,women.bags", ("unchanged", 0), {"4": "women.bags"}),
        ("Women > Bags,Women > Bags!", ("renamed", 1), {"4": "women.bags"}),
        ("Women > Bags,Women > Ба́гс", ("renamed", 1), {"4": "women.ба́гс"}),
    ),
)
def test_what_a_line_does_and_that_all_of_it_is_taken_back(folder, line, kind, expected):
    before, labels = state(folder), filed(folder)
    done = change(folder, [line], "--json")
    assert done.returncode == 0, done.stderr
    assert kinds(done) == [kind]
    assert filed(folder) == {**labels, **filed(folder), **expected}
    assert_sound(folder)
    undone = take_back(folder)
    if kind[0] == "unchanged":
        assert undone.returncode == 2 and "there is nothing to take back" in undone.stderr
    else:
        assert undone.returncode == 0, undone.stderr
    assert state(folder) == before


def assert_sound(folder):
    """The tree has the flags, sizes and paths that a load would give it, and no dangling label."""
    rows = {row[0]: row for row in query(folder, "select id, parent, leaf, path from category")}
    parents = {row[1] for row in rows.values()}
    for category, parent, leaf, path in rows.values():
        assert leaf == (category not in parents)
        assert path == (f"{rows[parent][3]}/{category}" if parent else category)
    sizes = dict(
        query(folder, "select category_id, count(*) from product where removed = 0 group by 1")
    )
    assert set(sizes) <= {*rows, None}
    assert dict(query(folder, "select id, product_count from category where product_count")) == {
        category: size for category, size in sizes.items() if category is not None
    }
    assert not query(
        folder,
        """select * from product_category where category_id not in (select id from category)""",
    )


def test_all_lines_are_read_against_the_tree_before_them(folder):
    before = state(folder)
    done = change(
        folder,
        [
            "Women > Bags,Men > Trousers",
            "Men > Trousers,Women > Tops",
            "women.tops,women.bags",
            "Women > Jeans > Wide,Women > Jeans > Skinny",
            "Women > Jeans > Skinny,Women > Jeans > Wide",
        ],
        "--json",
    )
    assert kinds(done) == [
        ("moved", 1),
        ("moved", 1),
        ("renamed", 1),
        ("renamed", 2),
        ("renamed", 1),
    ]
    assert filed(folder) == {
        "1": "women.jeans.wide",
        "2": "women.jeans.skinny",
        "3": "women.jeans.skinny",
        "4": "men.trousers",
        "5": "women.tops",
        "6": "women.bags",
        "7": "women",
    }
    assert_sound(folder)
    take_back(folder)
    assert state(folder) == before


def test_a_line_about_a_category_goes_before_one_about_what_is_above_it(folder):
    done = change(
        folder,
        ["women,Ladies", "Women > Jeans > Wide,Trousers > Wide", "Women > Bags,Women > Bags"],
        "--json",
    )
    assert kinds(done) == [("renamed", 3), ("moved", 2), ("unchanged", 0)]
    labels = filed(folder)
    assert labels["1"] == "ladies.jeans.skinny" and labels["7"] == "ladies"
    assert labels["2"] == labels["3"] == "trousers.wide" and labels["4"] == "women.bags"
    assert tree(folder)["women"] == (0, 0, "women", "Women")
    assert_sound(folder)


def test_what_is_left_empty_goes_and_a_merge_takes_the_children_along(folder):
    change(folder, ["Men > Trousers,Women > Trousers"])
    assert "men" not in tree(folder)
    load(folder, {**PRODUCTS, "5": "Women > Trousers", "8": "Girls > Jeans > Wide", "9": "Girls"})
    before = state(folder)
    done = change(folder, ["Girls,Women"], "--json")
    assert kinds(done) == [("merged", 2)]
    assert filed(folder)["8"] == "women.jeans.wide" and filed(folder)["9"] == "women"
    assert not [category for category in tree(folder) if category.startswith("girls")]
    assert_sound(folder)
    take_back(folder)
    assert state(folder) == before


def test_two_categories_that_become_one_new_one(folder):
    before = state(folder)
    done = change(folder, ["Women > Bags,Women > Other", "Women > Tops,women > other"], "--json")
    assert kinds(done) == [("merged", 1), ("merged", 1)]
    assert filed(folder)["4"] == filed(folder)["6"] == "women.other"
    take_back(folder)
    assert state(folder) == before


def test_a_product_in_both_of_two_merged_categories_is_in_one_of_them_once(folder):
    load(folder, {"4": "Women > Tops, Women > Bags, Men > Trousers"})
    assert query(folder, "select count(*) from product_category where product_id = 4") == [(3,)]
    before = state(folder)
    change(folder, ["Men > Trousers,Women > Tops"])
    assert query(folder, "select * from product_category where product_id = 4 order by 3") == [
        (4, "women.tops", 0, 0),
        (4, "women.bags", 1, 0),
    ]
    said = load(folder, {"4": "Women > Tops, Women > Bags"})
    assert "0 changed" in said
    take_back(folder)
    assert state(folder) == before


def test_a_feed_with_the_new_paths_finds_the_categories_and_one_with_the_old_brings_those_back(
    folder,
):
    change(folder, ["Women > Jeans,Women > Denim & Co.", "Women > Bags,Men > Trousers"])
    new_paths = {
        number: path.replace("Jeans", "Denim & Co.").replace("Women > Bags", "Men > Trousers")
        for number, path in PRODUCTS.items()
    }
    before = state(folder)
    assert "0 new, 0 changed, 7 seen before" in load(folder, new_paths)
    assert state(folder) == before
    assert "4 changed" in load(folder, PRODUCTS)
    assert filed(folder)["2"] == "women.jeans.wide"


def test_the_file_that_a_dry_run_writes_is_taken_and_the_feed_then_changes_nothing(tmp_path):
    old_paths = {
        str(number): f"Women > {('Jeans', 'Tops')[number % 2]} > {'ABC'[number % 3]}"
        for number in range(120)
    }
    new_paths = {
        number: path.replace("Jeans", "Denim").replace("Tops > A", "Tops > =X")
        for number, path in old_paths.items()
    }
    load(tmp_path, old_paths)
    load(tmp_path, new_paths, "--dry-run", "--write-moves", "moves.csv")
    done = run_script("analyze", "--recategorize", "moves.csv", "--json", cwd=tmp_path)
    assert done.returncode == 0 and kinds(done) == [("renamed", 60), ("renamed", 20)]
    assert "0 new, 0 changed, 120 seen before" in load(tmp_path, new_paths)
    assert_sound(tmp_path)


# ---- decisions and filing -----------------------------------------------------------------------


def decide(folder, number, decision, category, label):
    query(
        folder,
        "insert into label_override values (?, ?, ?, ?, '2026-01-01')",
        number,
        decision,
        category,
        label,
    )


def test_decisions_go_on_holding(folder):
    decide(folder, 1, "label wrong", "women.bags", "women.jeans.skinny")
    decide(folder, 4, "classifier wrong", None, "women.bags")
    decide(folder, 5, "label wrong", "A new one", "men.trousers")
    decide(folder, 6, "classifier wrong", None, "women.tops")
    query(folder, "insert into filed_before values (4, 'women.bags'), (4, 'women.tops')")
    before = state(folder)
    change(
        folder,
        ["Women > Bags,Women > Totes", "Women > Jeans,Denim", "Men > Trousers,", "Women > Tops,"],
    )
    assert query(folder, "select * from label_override order by 1") == [
        (1, "label wrong", "women.totes", "denim.skinny", "2026-01-01"),
        (4, "classifier wrong", None, "women.totes", "2026-01-01"),
        (5, "filed by hand", "A new one", None, "2026-01-01"),
        (6, "classifier wrong", None, "women.tops", "2026-01-01"),
    ]
    assert query(folder, "select * from filed_before") == [(4, "women.totes")]
    take_back(folder)
    assert state(folder) == before


@pytest.mark.parametrize(
    "line, proposed, expected",
    (
        ("Women > Jeans,Women > Denim", "Women > Jeans > Flared", "Women > Denim > Flared"),
        ("Women > Jeans,Women > Denim", "women >  JEANS > A > B", "Women > Denim > A > B"),
        ("Women > Jeans > Wide,Trousers", "Women > Jeans > Wide > X", "Trousers > X"),
        ("Women,Ladies", "Women > Jeans > Flared", "Ladies > Jeans > Flared"),
        ("Women > Jeans,Women > Denim", "Women > Jeanswear > X", "Women > Jeanswear > X"),
        ("Women > Jeans,Women > Denim", "Jeans > X", "Jeans > X"),
        ("Women > Jeans,", "Women > Jeans > X", "Women > Jeans > X"),
        ("Women > Jeans,Women > Denim", "Women > Jeans", "Women > Denim"),
    ),
)
def test_a_proposed_category_goes_with_the_one_that_it_is_to_lie_below(
    folder, line, proposed, expected
):
    decide(folder, 5, "label wrong", proposed, "men.trousers")
    decide(folder, 1, "label wrong", proposed, "women.jeans.skinny")  # its label moves, too
    before = state(folder)
    change(folder, [line])
    assert query(folder, "select distinct category_id from label_override") == [(expected,)]
    take_back(folder)
    assert state(folder) == before


def test_a_proposal_that_is_settled_after_a_rename_is_taken_back_with_it(folder):
    decide(folder, 1, "label wrong", "Women > Jeans > Flared", "women.jeans.skinny")
    before = query(folder, "select * from label_override")
    change(folder, ["Women > Jeans,Women > Denim"])
    load(folder, {"8": "Women > Denim > Flared"})
    (folder / "d.csv").write_text("product_id,decision\n5,undecided\n")
    assert run_script("analyze", "--overrides", "d.csv", cwd=folder).returncode == 0
    assert query(folder, "select category_id from label_override") == [("women.denim.flared",)]
    take_back(folder)
    assert query(folder, "select * from label_override") == before


# ---- taking back --------------------------------------------------------------------------------


def test_what_has_changed_since_stays_and_is_counted(folder):
    change(folder, ["Women > Jeans,Women > Denim", "Women > Tops,"])
    load(
        folder,
        {"2": "Women > Bags", "3": "Women > Denim > Wide", "8": "Women > Denim > New", "6": "Tops"},
    )
    decide(folder, 1, "label wrong", "women.bags", "women.denim.skinny")
    done = take_back(folder, "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 0 and (result["products"], result["stayed"]) == (2, 2)
    assert filed(folder) == {
        "1": "women.jeans.skinny",
        "2": "women.bags",
        "3": "women.jeans.wide",
        "4": "women.bags",
        "5": "men.trousers",
        "6": "tops",
        "7": "women",
        "8": "women.denim.new",
    }
    assert tree(folder)["women.denim"][:2] == (0, 0) and "women.denim.wide" not in tree(folder)
    assert_sound(folder)


def test_runs_are_taken_back_one_after_another(folder):
    states = [state(folder)]
    for line in ("Women > Bags,Women > B", "Women > B,Women > C", "Women > C,Women > Bags"):
        assert change(folder, [line]).returncode == 0
        states.append(state(folder))
    assert states[3] == states[0] != states[1]
    take_back(folder)
    assert state(folder) == states[2]
    assert change(folder, ["Women > C,Women > D"]).returncode == 0
    take_back(folder)
    take_back(folder)
    assert state(folder) == states[1]
    take_back(folder)
    assert state(folder) == states[0]
    done = take_back(folder)
    assert done.returncode == 2 and "there is nothing to take back" in done.stderr


WORDS = st.sampled_from(("Women", "Jeans", "A", "B", "Bags", "Wide"))
PATHS = st.lists(WORDS, min_size=1, max_size=3).map(" > ".join)


@settings(max_examples=15)
@given(
    products=st.lists(PATHS, min_size=2, max_size=8),
    moves=st.lists(st.tuples(PATHS, PATHS | st.just("")), min_size=1, max_size=6),
)
def test_whatever_the_moves_the_tree_is_sound_and_the_way_back_exact(
    tmp_path_factory, products, moves
):
    folder = tmp_path_factory.mktemp("any")
    load(folder, {str(number): path for number, path in enumerate(products)})
    before, labels = state(folder), filed(folder)
    done = change(folder, [",".join(move) for move in moves], "--json")
    assert len(filed(folder)) == len(labels)
    assert_sound(folder)
    if done.returncode == 2:
        assert state(folder) == before
        return
    waits = {move["from"] for move in json.loads(done.stdout)["moves"] if move["kind"] == "waits"}
    assert waits or None not in filed(folder).values()
    if json.loads(done.stdout)["moves"] and state(folder) != before:
        assert take_back(folder).returncode == 0
    assert state(folder) == before


# ---- files that can't be used -------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines, reason",
    (
        (["Women > Nix,Women > B"], "there is no category 'Women > Nix'"),
        (["Women > Bagz,Women > B"], "the nearest: Women > Bags"),
        ([",Women > B"], "names no category in the column from"),
        (["Women > Bags,Women > Bags > Small"], "lies below 'Women > Bags' itself"),
        (["Women,women.jeans"], "lies below 'Women' itself"),
        (["Women > Bags,Women > "], "is no name for a new category"),
        (["Women > Bags," + "x" * 600], "is no name for a new category"),
        (
            ["WOMEN > bags,A", "WOMEN > bags,B"],
            "'WOMEN > bags' is moved to different categories (l",
        ),
        (["Women > Bags,", "women.bags,B"], "moved to different categories (lines 2, 3)"),
        (["Women,Men > W", "Men,Women > M"], "below each other in a circle"),
    ),
)
def test_a_line_that_can_not_be_used_is_named_and_the_others_are_done(folder, lines, reason):
    before = state(folder)
    done = change(folder, lines)
    assert done.returncode == 2 and reason in done.stderr and "nothing is changed" in done.stderr
    assert done.stdout == "" and state(folder) == before
    done = change(folder, [*lines, "Women > Tops,Women > Shirts"], "--json")
    assert done.returncode == 1 and kinds(done) == [("renamed", 1)]
    assert list(reasons(done)) == list(range(2, 2 + len(lines)))
    assert all(reason in text for text in reasons(done).values())
    assert filed(folder)["6"] == "women.shirts" and filed(folder)["4"] == "women.bags"


@pytest.mark.parametrize(
    "lines",
    (["Women,", "Women > Bags,A", "Women > Bags,B"], ["Women,Ladies", "Women > Bags,Women >"]),
)
def test_a_category_of_a_refused_line_does_not_go_along_with_one_above_it(folder, lines):
    before = state(folder)
    done = change(folder, lines)
    assert done.returncode == 2 and state(folder) == before
    assert "line 2: 'Women' has a category below it that line" in done.stderr


def test_what_is_said_of_the_other_lines_and_of_those_that_wait(folder):
    done = change(folder, ["Nix,A", "Women > Tops,Women > Shirts"])
    assert done.stderr.endswith("1 line of moves.csv can't be used; the others are done\n")
    done = change(folder, ["Nix,A", "Nox,A", "Women > Bags,women.bags"], "--json")
    assert done.stderr.endswith("2 lines of moves.csv can't be used; the others change nothing\n")
    assert done.returncode == 1 and json.loads(done.stdout)["run"] is None
    assert change(folder, ["Women > Bags,Women > Bags!"]).stderr == ""
    assert "1 category as before\n" in take_back(folder).stdout
    (line,) = change(folder, ["Women > Jeans,", "Women > Shirts,"]).stderr.splitlines()
    assert line.startswith("4 products wait to be filed now: the next --apply files them together")
    assert "4 categories as before, with 4 products\n" in take_back(folder).stdout
    (line,) = change(folder, ["Women > Shirts,"]).stderr.splitlines()
    assert line.startswith("1 product waits to be filed now: ")


def test_a_file_that_was_used_before_says_where_the_categories_are_now(folder):
    lines = ["Women > Bags,Women > Totes"]
    assert change(folder, lines).returncode == 0
    done = change(folder, lines)
    assert done.returncode == 2
    assert "there is no category 'Women > Bags' any more: it is Women > Totes since" in done.stderr


def test_the_same_line_twice_counts_once_and_a_second_header_and_blank_lines_do_not(folder):
    done = change(
        folder,
        ["Women > Bags,A,1", "", "From,To,products", "women.bags,a,1"],
        "--json",
        header="from,to,products",
    )
    assert done.returncode == 0 and kinds(done) == [("moved", 1)]


@pytest.mark.parametrize(
    "data, reason",
    (
        (b"product,category\n1,2\n", "needs the columns from and to"),
        ("from,to\nWomen > R\u00f6cke,A\n".encode("latin-1"), "save it as CSV UTF-8"),
        (b'from,to\n"Women > Bags,A\n', "is no CSV"),
        (b"", "needs the columns from and to"),
    ),
)
def test_a_file_that_is_none_of_moves_is_refused_in_a_sentence(folder, data, reason):
    (folder / "moves.csv").write_bytes(data)
    done = run_script("analyze", "--recategorize", "moves.csv", cwd=folder)
    assert done.returncode == 2 and reason in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    missing = run_script("analyze", "--recategorize", "nix.csv", cwd=folder)
    assert missing.returncode == 2 and "nix.csv can't be read" in missing.stderr


def test_a_file_without_lines_changes_nothing_and_says_so(folder):
    before = state(folder)
    done = change(folder, [])
    assert done.returncode == 0 and "names no category" in done.stderr and done.stdout == ""
    assert state(folder) == before
    assert take_back(folder).returncode == 2


@pytest.mark.parametrize(
    "form", ("\ufefffrom;to\r\nWomen > Bags;A\r\n", "sep=\t\nto\tFrom\nA\tWomen > Bags\n")
)
def test_a_file_as_spreadsheets_write_it_is_read(folder, form):
    (folder / "moves.csv").write_bytes(form.encode())
    assert run_script("analyze", "--recategorize", "moves.csv", cwd=folder).returncode == 0
    assert filed(folder)["4"] == "a"


# ---- trees of an API and of 2016 ----------------------------------------------------------------


def api_tree(folder):
    """A tree below a root, as an API gives it, with twins of one name."""
    conn = db.open_database(str(folder / "crawl.db"), create=True)
    with contextlib.closing(conn):
        crawling_queries.store_categories(
            conn,
            [
                ("women", None, 0, "", "Women"),
                ("jeans", "women", 0, "jeans", "Jeans"),
                ("skinny-jeans", "jeans", 1, "jeans/skinny-jeans", "Skinny"),
                ("slim-jeans", "jeans", 1, "jeans/slim-jeans", "Skinny"),
                ("bags", "women", 1, "bags", "Bags"),
            ],
        )
        crawling_queries.set_host(conn, "women", "shop.example")
        for number, category in enumerate(("skinny-jeans", "slim-jeans", "bags"), 1):
            conn.execute(
                """insert into product(id, category_id, name, source, external_id, group_key)
                   values (?, ?, 'x', 'shopstyle', ?, ?)""",
                (number, category, str(number), str(number)),
            )
            conn.execute("insert into product_category values (?, ?, 0, 1)", (number, category))
        crawling_queries.count_products(conn)
        crawling_queries.set_progress(conn, "bags", 50, 1, 70, False)


def test_a_tree_of_an_api_keeps_its_root_and_gets_slugs(tmp_path):
    api_tree(tmp_path)
    before = state(tmp_path)
    done = change(
        tmp_path,
        [
            "Jeans > Skinny,X",
            "women,Y",
            "bags,women",
            "skinny-jeans,Denim > Tight",
            "bags,Handbags",
        ],
        "--json",
    )
    assert done.returncode == 1
    assert "several categories are called 'Jeans > Skinny'" in reasons(done)[2]
    assert "the root of an API's tree" in reasons(done)[3] and 4 in reasons(done)
    assert filed(tmp_path) == {"1": "tight", "2": "slim-jeans", "3": "handbags"}
    assert tree(tmp_path)["tight"][2] == "denim/tight"
    assert query(
        tmp_path, "select parent, next_offset, total, crawled from category where id = 'handbags'"
    ) == [("women", 50, 70, 1)]
    take_back(tmp_path)
    assert state(tmp_path) == before


def test_a_file_of_2016_is_changed_and_its_figures_stay(tmp_path):
    products = [
        (number, leaf, "", f"n{number}", "")
        for number, leaf in enumerate(["bootcut-jeans", "skinny-jeans", "clutches"] * 4, 1)
    ]
    make_2016(str(tmp_path / "crawl.db"), products)
    query(tmp_path, "delete from predicted_category")
    query(
        tmp_path,
        """insert into predicted_category(experiment_id, product_id, category_id, score)
           select 1, id, 'skinny-jeans', 1.0 / id from product""",
    )
    figures = run_script("analyze", cwd=tmp_path).stdout
    assert "Accuracy: 33.33% (N=12)" in figures and "Parent Accuracy: 66.67%" in figures
    before = state(tmp_path)
    lines = ["jeans > skinny-jeans,", "jeans,trousers", "clutches,bags"]
    done = change(tmp_path, lines, "--json")
    assert kinds(done) == [("waits", 4), ("renamed", 4), ("renamed", 4)]
    assert (filed(tmp_path)["1"], filed(tmp_path)["3"]) == ("bootcut-jeans", "bags")
    assert tree(tmp_path)["bootcut-jeans"][2] == "trousers/bootcut-jeans"
    assert run_script("analyze", cwd=tmp_path).stdout == figures
    take_back(tmp_path)
    assert {**state(tmp_path), "category": 0} == {**before, "category": 0}
    unlabelled = "select count(*) from predicted_category where label_id is null"
    assert query(tmp_path, unlabelled) == [(12,)]
    assert run_script("analyze", cwd=tmp_path).stdout == figures


# ---- one transaction ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_all_or_nothing(folder):
    with contextlib.closing(sqlite3.connect(folder / "crawl.db")) as conn, conn:
        conn.executemany(
            """insert into product(id, category_id, name, source, external_id, group_key)
               values (?, 'women.bags', 'x', 'feed', ?, 'g')""",
            [(number, f"n{number}") for number in range(100, 40_000)],
        )
        conn.execute("update category set product_count = 39901 where id = 'women.bags'")
    before = state(folder)
    (folder / "moves.csv").write_text("from,to\nWomen > Bags,Women > Totes\n")
    command = [sys.executable, REPO / "analyze.py", "--recategorize", "moves.csv"]
    delay = 0.4
    for _ in range(6):
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        time.sleep(delay)
        process.kill()
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
        if query(folder, "select count(*) from category_change") != [(0,)]:
            break
        assert state(folder) == before
        delay += 0.06
    if query(folder, "select count(*) from category_change") == [(0,)]:
        assert run_script("analyze", "--recategorize", "moves.csv", cwd=folder).returncode == 0
    assert filed(folder)["n100"] == "women.totes"
    assert tree(folder)["women.totes"][1] == 39_901
    take_back(folder)
    assert state(folder) == before


def test_what_goes_wrong_in_the_middle_leaves_nothing(folder):
    before = state(folder)
    query(
        folder,
        """create trigger full before update on product begin
           select raise(abort, 'disk is full'); end""",
    )
    (folder / "moves.csv").write_text("from,to\nWomen > Bags,Women > Totes\n")
    with pytest.raises(sqlite3.Error):
        recategorize.take_file(str(folder / "crawl.db"), str(folder / "moves.csv"))
    query(folder, "drop trigger full")
    assert state(folder) == before
    with pytest.raises(UserError):
        recategorize.undo(str(folder / "crawl.db"))


def test_a_line_with_too_many_or_too_few_cells_moves_nothing(folder):
    before = state(folder)
    lines = ["Women > Bags,Women, Men > Trousers", "Women > Jeans"]
    done = change(folder, lines, "--json")
    assert done.returncode == 2 and state(folder) == before
    done = change(folder, [*lines, "Women > Tops,Women > Shirts,,"], "--json")
    assert done.returncode == 1
    assert sorted(reasons(done)) == [2, 3]
    assert "more cells than columns" in reasons(done)[2]
    assert "ends before the column to" in reasons(done)[3]
    assert filed(folder) == {
        "1": "women.jeans.skinny",
        "2": "women.jeans.wide",
        "3": "women.jeans.wide",
        "4": "women.bags",
        "5": "men.trousers",
        "7": "women",
        "6": "women.shirts",
    }


def test_a_new_id_of_an_api_stands_beside_the_old_one(tmp_path):
    make_2016(str(tmp_path / "crawl.db"))
    done = change(tmp_path, ["skinny-jeans,slim-jeans"], "--json")
    assert kinds(done) == [("renamed", 1)]
    assert tree(tmp_path)["slim-jeans"][2] == "jeans/slim-jeans"
