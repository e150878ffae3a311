"""A shop's tree of categories takes little room, whatever a feed or an API says it is: what is too
long or too deep is left out, counted and named, and the rest is a tree."""

import json

import pytest
from loopback import load, select, shop_at
from peak import peak_of_script

from common import text
from common.terminal import UserError
from crawling import feed_categories, shopstyle_tree

HEADER = "id\ttitle\tproduct_type\n0\tJean\tWomen > Jeans\n"
pytestmark = pytest.mark.redteam


def levels(number, length, first=""):
    return " > ".join(f"{first}{level}".ljust(length, "x") for level in range(number))


# ---- feeds --------------------------------------------------------------------------------------

TOO_LONG = {
    "50 levels of 79,000": [levels(50, 79_000)],
    "one level": ["x" * 3_900_000],
    "one level of many": [f"Women > Jeans > {'x' * 501}"],
    "too many characters in all": [levels(50, 100)],
    "letters that are 18 when they are folded": [" > ".join(["\ufdfa" * 10_000] * 10)],
    "many rows, each with a level more": [
        " > ".join(f"{level}".ljust(3_000, "x") for level in range(number))
        for number in range(2, 50)
    ],
    "in a list of categories": [f"Women > {'x' * 600}"] * 3,
}


@pytest.mark.parametrize("kind", TOO_LONG)
def test_a_category_that_is_too_long_is_none_and_its_product_is_loaded(tmp_path, kind):
    rows = [f"{number}\tGown\t{cell}\n" for number, cell in enumerate(TOO_LONG[kind], 1)]
    (tmp_path / "f.tsv").write_text(HEADER + "".join(rows), encoding="utf-8")
    done = load(tmp_path, "f.tsv")
    assert (tmp_path / "crawl.db").stat().st_size < 1_000_000
    assert feed_categories.TOO_LONG in done.stderr
    assert "--column product_type=NAME" in done.stderr
    assert select(tmp_path, "select count(*), sum(category_id is null) from product") == [
        (len(rows) + 1, len(rows))
    ]
    assert select(tmp_path, "select id from category order by id") == [("women",), ("women.jeans",)]


@pytest.mark.slow
def test_a_row_of_four_million_letters_takes_little_memory(tmp_path):
    (tmp_path / "f.tsv").write_text(f"{HEADER}1\tGown\t{levels(50, 79_000)}\n")
    done = peak_of_script("crawl", "--feed", "f.tsv", cwd=tmp_path)
    assert done.status == 0 and done.megabytes < 250, done.stderr[-500:]


def test_a_product_keeps_its_other_categories(tmp_path):
    lists = (["Women > Jeans", "Women > " + "x" * 501], ["Women > Gowns"])
    products = [
        {"id": str(number), "title": "Jean", "categories": listed}
        for number, listed in enumerate(lists)
    ]
    (tmp_path / "f.json").write_text(json.dumps(products))
    done = load(tmp_path, "f.json")
    assert done.stderr.count(feed_categories.TOO_LONG) == 1
    assert select(tmp_path, "select external_id, category_id from product order by id") == [
        ("0", "women.jeans"),
        ("1", "women.gowns"),
    ]


@pytest.mark.parametrize(
    "path, is_short",
    (
        (("x" * 500,), True),
        (("x" * 501,), False),
        (("Women", "x" * 501), False),
        (("abcde",) * 50, True),
        (("x" * 500,) * 5, True),
        (("x" * 500,) * 6, False),
        (("x" * 60,) * 15, True),
    ),
)
def test_which_paths_are_short_enough(path, is_short):
    tree = feed_categories.CategoryTree()
    assert (tree.id_of(path) is not None) is is_short
    assert all(len(row[3]) <= text.LONGEST_PATH for row in tree.rows())
    assert bool(tree.rows()) is is_short  # nothing above it is left behind


def test_a_long_category_of_an_existing_database_stays_as_it_is():
    name, own = "x" * 9_000, f"women.{'x' * 9_000}"
    rows = [
        {"id": "women", "parent": None, "leaf": 0, "path": "women", "name": "Women"},
        {"id": own, "parent": "women", "leaf": 1, "path": f"women/{own}", "name": name},
    ]
    tree = feed_categories.CategoryTree(rows)
    for path in (("Women", name), ("WOMEN", name.upper()), (" Women ", f"{name} ")):
        assert tree.id_of(path) == own
    assert tree.id_of(("Women", name + "x")) is None
    assert {row[0] for row in tree.rows()} == {"women", own}


def test_many_categories_with_long_paths_are_too_many_in_all(monkeypatch):
    monkeypatch.setattr(feed_categories, "MOST_PATHS", 100_000)
    tree = feed_categories.CategoryTree()
    with pytest.raises(UserError, match="--column"):
        for number in range(100):
            tree.id_of((f"{number}".ljust(100, "x"), *"abcdefghijklmnop"))
    assert sum(len(row[3]) for row in tree.rows()) <= 100_000
    again = feed_categories.CategoryTree(
        [dict(zip(("id", "parent", "leaf", "path", "name"), row)) for row in tree.rows()]
    )
    with pytest.raises(UserError, match="--column"):  # of all loads together
        for number in range(100, 200):
            again.id_of((f"{number}".ljust(100, "x"), *"abcdefghijklmnop"))


def test_many_spellings_of_a_category_are_not_all_kept(monkeypatch):
    monkeypatch.setattr(feed_categories, "MOST_SPELLINGS", 10)
    tree = feed_categories.CategoryTree()
    assert {tree.id_of(("Women", " " * number + "Jeans")) for number in range(100)} == {
        "women.jeans"
    }
    assert len(tree.ids) <= 10


# ---- an API -------------------------------------------------------------------------------------


def node(own, parent="women", name="x"):
    return {"id": own, "name": name, **({"parentId": parent} if parent else {})}


def chain(number, width=0):
    ids = ["women", *(f"c{level}".ljust(width, "x") for level in range(number))]
    return [node(own, parent) for parent, own in zip(ids, ids[1:])]


@pytest.fixture(autouse=True)
def fewer_categories(monkeypatch):
    monkeypatch.setattr(shopstyle_tree, "MOST_CATEGORIES", 5_000)


WHOLE_TREES = {  # kind: (nodes of one answer, rows of the tree, what is said)
    "a chain of 4,000": (chain(4_000), 51, "3,950 categories are more than 50 levels below women"),
    "a chain of long ids": (
        chain(49, 490),
        21,
        "29 categories are more than 50 levels below women",
    ),
    "an id that is long": ([node("jeans"), node("x" * 501)], 2, "1 category without a usable id"),
    "a name that is long": (
        [node("jeans"), node("bags", name="x" * 100_000)],
        2,
        "name of more than 500 characters",
    ),
    "a name that is an object": (
        [node("jeans"), node("bags", name={"x": "x" * 100_000})],
        2,
        "name of more than 500 characters",
    ),
    "6,000 children": (
        [node("jeans"), *(node(f"n{number}", "jeans") for number in range(6_000))],
        5_001,
        "1,001 categories are beyond the first 5,000",
    ),
    "6,000 times the same": ([node("jeans")] * 6_000, 2, ""),
    "a cycle": ([node("a"), node("b", "a"), node("a", "b"), node("women", "b")], 3, ""),
    "its own parent": ([node("a"), node("b", "a"), node("b", "b")], 3, ""),
    "a cycle below what is too deep": (
        [*chain(60), node("c50", "c59"), node("c10", "c59")],
        51,
        "10 categories are more than 50 levels",
    ),
}


@pytest.mark.parametrize("kind", WHOLE_TREES)
def test_a_tree_of_an_api_is_no_larger_than_a_tree(serve, capfd, kind):
    nodes, number, told = WHOLE_TREES[kind]
    server = serve(
        script=lambda path, query: (200, {"categories": [] if "depth" in query else nodes})
    )
    rows = shopstyle_tree.fetch_tree(shop_at(server), "women")
    assert len(rows) == number and told in capfd.readouterr().err
    assert max(len(row[3]) for row in rows) <= text.LONGEST_PATH
    assert max(row[3].count("/") for row in rows) < text.DEEPEST_PATH
    assert any(row[2] for row in rows)  # the deepest that fits shows what is below it


def test_paths_of_an_api_are_bounded_in_all(serve, monkeypatch, capfd):
    monkeypatch.setattr(shopstyle_tree, "MOST_PATHS", 50_000)
    nodes = [*chain(15, 100), *(node(f"n{number}", "c14".ljust(100, "x")) for number in range(500))]
    server = serve(script=lambda path, query: (200, {"categories": nodes}))
    rows = shopstyle_tree.fetch_tree(shop_at(server), "women")
    assert sum(len(row[3]) for row in rows) < 60_000
    assert "categories are more than 50 levels" in capfd.readouterr().err


def parts(answer):
    """A host that has only one level in each answer, answer(number of the request, what is asked
    for) is its nodes."""
    asked = []

    def script(path, query):
        asked.append(query["cat"])
        return 200, {"categories": answer(len(asked), query["cat"])}

    return script


MANY = [f"n{number}" for number in range(300)]
PARTS = {  # kind: (nodes of each answer, requests at most, rows at most)
    "the whole again": (lambda turn, cat: [node(own) for own in MANY], 2, 301),
    "the whole again, as its own": (lambda turn, cat: [node(own, None) for own in MANY], 2, 301),
    "half of it again": (lambda turn, cat: [node(own, None) for own in MANY[turn % 2 :]], 40, 301),
    "ever new ones": (lambda turn, cat: [node(f"{turn}-{own}", None) for own in MANY], 40, 5_001),
    "a chain without an end": (lambda turn, cat: [node(f"c{turn}", None)], 51, 51),
    "itself": (lambda turn, cat: [node(own, None) for own in ("a", cat)], 3, 3),
}


@pytest.mark.parametrize("kind", PARTS)
def test_answers_that_repeat_or_never_end_do(serve, kind):
    answer, requests, most = PARTS[kind]
    server = serve(script=parts(answer))
    rows = shopstyle_tree.fetch_tree(shop_at(server), "women")
    assert 1 < len(rows) <= most and len(server.seen) <= requests
    assert max(row[3].count("/") for row in rows) < text.DEEPEST_PATH


def test_what_many_answers_leave_out_is_one_line(serve, capfd):
    server = serve(
        script=parts(
            lambda turn, cat: [5, *(node(f"{cat}{end}", None) for end in "ab" if turn < 8)]
        )
    )
    shopstyle_tree.fetch_tree(shop_at(server), "women")
    told = capfd.readouterr().err
    assert told.count("without a usable id") == 1
    assert f"{len(server.seen)} categories without a usable id" in told
