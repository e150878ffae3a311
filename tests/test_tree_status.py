"""crawl.py --status shows the tree as it is, and as each --depth would leave it."""

import contextlib
import random
import re
import shlex

import pytest
from conftest import REPO, run_script, write_feed
from loopback import load
from test_db import make_2016

import db
from crawling.tree_status import SIZES, cut_at_each_level, tree_lines
from learning import category_tree

HEADER = "id title product_type item_group_id"


def rows_of(categories, first=0, style=None):
    """Rows of a feed: so many products in each category, each of a style of its own, or all of
    one."""
    number = first
    for category, count in categories.items():
        for _ in range(count):
            yield str(number), f"Thing {number}", category, style or ""
            number += 1


def status(folder, *args):
    """What crawl.py --status prints about the tree."""
    done = run_script("crawl", "--status", *args, cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("tree: ")), len(lines))
    return [lines[start], *(line for line in lines[start:] if line.startswith("  "))]


def figures(lines):
    """The rows of the table as lists of numbers."""
    rows = [line.replace(",", "").replace("%", "").split() for line in lines]
    return [list(map(int, row)) for row in rows if all(cell.isdigit() for cell in row)]


@pytest.fixture
def conn(tmp_path):
    with contextlib.closing(db.open_database(tmp_path / "crawl.db", create=True)) as conn:
        yield conn


def test_status_shows_each_level_and_what_a_cut_there_would_give(tmp_path):
    categories = {
        "Women > Jeans > Skinny": 30,
        "Women > Jeans > Bootcut": 25,
        "Women > Jeans": 4,
        "Women > Bags": 60,
        "Hats": 3,
    }
    rows = [*rows_of(categories), *rows_of({"Women > Bags": 9}, 900, "one style")]
    load(tmp_path, write_feed(tmp_path / "f.tsv", rows, HEADER))
    lines = status(tmp_path)
    assert lines[0] == "tree: 131 products in 5 categories, at 3 levels (level 1 is the top)"
    assert figures(lines) == [
        # level, categories and products there; cut there: all, 5, 50, 1,000, share of those of 50
        [1, 1, 3, 2, 1, 1, 0, 97],
        [2, 2, 73, 3, 2, 2, 0, 97],
        [3, 2, 55, 5, 3, 1, 0, 52],
    ]
    assert lines[-1] == (
        "  the deepest level at which nine of ten products are in categories of at least 50 is 2: "
        "--depth 2"
    )
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize(
    "sizes, right",
    (
        ({"A": 50, "B > C": 5}, "even without --depth: --min-products 50"),
        ({"A": 49, "B > C": 49}, "at no level: --min-products takes a smaller number"),
        ({f"A > {n}": 30 for n in range(3)}, "is 1: --depth 1"),
    ),
)
def test_status_names_the_deepest_level_of_large_categories(tmp_path, sizes, right):
    load(tmp_path, write_feed(tmp_path / "f.tsv", rows_of(sizes), HEADER))
    assert status(tmp_path)[-1].endswith(f"in categories of at least 50 {right}")


def test_fifty_products_of_few_styles_are_no_category_of_fifty(tmp_path):
    rows = [*rows_of({"A > B": 49}), *rows_of({"A > B": 30, "A > C": 3}, 500, "one")]
    load(tmp_path, write_feed(tmp_path / "f.tsv", rows, HEADER))
    # B has the 49 styles and the one; that C shares it makes no difference to A.
    assert figures(status(tmp_path)) == [[1, 0, 0, 1, 1, 1, 0, 100], [2, 2, 82, 2, 1, 1, 0, 96]]
    rows = [*rows_of({"A > B": 48}), *rows_of({"A > B": 30, "A > C": 3}, 500, "one")]
    load(tmp_path, write_feed(tmp_path / "g.tsv", rows, HEADER), "--db-path", "other.db")
    few = figures(status(tmp_path, "--db-path", "other.db"))
    assert [row[5] for row in few] == [0, 0]


def test_only_products_that_are_there_and_filed_count(tmp_path):
    feed = write_feed(tmp_path / "f.tsv", rows_of({"A": 10, "B > C": 7, "N/A": 5}), HEADER)
    load(tmp_path, feed)
    write_feed(feed, rows_of({"A": 10, "N/A": 4}), HEADER)
    load(tmp_path, feed, "--remove-missing")
    assert status(tmp_path)[0] == "tree: 10 products in 1 category, at 1 level (level 1 is the top)"


def test_the_tree_of_several_shops_is_one(tmp_path):
    feed = write_feed(tmp_path / "f.tsv", rows_of({"A > B": 30, "C": 2}), HEADER)
    load(tmp_path, feed)
    load(tmp_path, feed, "--source", "second")
    lines = status(tmp_path)
    assert lines[0].startswith("tree: 64 products in 2 categories, at 2 levels")
    # The products of the two shops share their words, and so are one style each.
    assert figures(lines) == [[1, 1, 4, 2, 1, 0, 0, 0], [2, 1, 60, 2, 1, 0, 0, 0]]


def test_the_page_on_catalogues_shows_what_is_printed(tmp_path):
    page = (REPO / "docs" / "crawl.md").read_text(encoding="utf-8")
    section = page.split("\n## Looking at the tree\n")[1].split("\n## ")[0]
    command, *shown = re.findall(r"^    (.*)$", section, re.M)
    categories = {
        **{f"Women > Jeans > {number}": 9 for number in range(27)},
        **{f"Women > Bags > {number}": 8 for number in range(27)},
        **{"Men > Shirts > Long": 29, "Men > Shirts > Short": 27, "Men > Shirts > Polo": 27},
        **{"Women > Jeans": 12, "Women > Dresses": 250, "Men > Shoes": 200, "Men > Hats": 80},
    }
    load(tmp_path, write_feed(tmp_path / "f.tsv", rows_of(categories), HEADER))
    done = run_script("crawl", *shlex.split(command)[3:], cwd=tmp_path)
    assert done.stdout.splitlines() == shown


def test_no_tree_is_shown_without_a_product_in_it(conn, tmp_path):
    assert tree_lines(conn) == []
    conn.execute("insert into product(id, name, category_id) values (1, 'a', null), (2, 'b', 'x')")
    assert tree_lines(conn) == []


def test_a_file_of_2016_and_the_root_of_an_api_have_levels_below_the_root(tmp_path):
    make_2016(tmp_path / "crawl.db")
    lines = status(tmp_path)
    assert lines[0] == "tree: 2 products in 2 categories, at 2 levels (level 1 is the top)"
    assert figures(lines) == [[1, 0, 0, 1, 0, 0, 0, 0], [2, 2, 2, 2, 0, 0, 0, 0]]
    with contextlib.closing(db.open_database(tmp_path / "crawl.db")) as conn:
        conn.execute("insert into product(id, category_id) values (3, 'jeans'), (4, 'women')")
        # The root is no category that products may be filed under.
        assert [cut[:4] for cut in cut_at_each_level(conn)] == [(1, 1, 1, 1), (2, 2, 2, 3)]


def counted_by_hand(products):
    """What cut_at_each_level is to find of products (steps of the category, style)."""
    for level in range(1, max(len(steps) for steps, _ in products) + 1):
        classes = {}
        for steps, style in products:
            classes.setdefault(steps[:level], []).append(style)
        here = [steps for steps, _ in products if len(steps) == level]
        sizes = [len(set(styles)) for styles in classes.values()]
        yield (
            level,
            len(set(here)),
            len(here),
            len(classes),
            tuple(sum(size >= least for size in sizes) for least in SIZES),
            sum(len(styles) for styles in classes.values() if len(set(styles)) >= 50),
        )


@pytest.mark.parametrize("seed", range(5))
def test_every_tree_is_counted_as_by_hand(conn, seed):
    rng = random.Random(seed)
    products = []
    for _ in range(2_000):
        depth = rng.randint(1, 6)
        steps = tuple(f"{rng.randint(0, 2)}{level}" for level in range(depth))
        products.append(
            (tuple("-".join(steps[: n + 1]) for n in range(depth)), rng.randrange(1500))
        )
    paths = {steps[:length] for steps, _ in products for length in range(1, len(steps) + 1)}
    with db.transaction(conn):
        conn.executemany(
            "insert into category(id, parent, path) values (?, ?, ?)",
            [(path[-1], (None, *path)[-2], "/".join(path)) for path in paths],
        )
        conn.executemany(
            "insert into product(category_id, group_key) values (?, ?)",
            [(steps[-1], f"style {style}" if style else None) for steps, style in products],
        )
    without = iter(range(10**6))
    styles = [(steps, style or f"none {next(without)}") for steps, style in products]
    cuts = cut_at_each_level(conn)
    assert cuts == list(counted_by_hand(styles))
    for cut in cuts:  # which training makes of the same tree
        classes = category_tree.counts_as(conn, category_tree.Rule(cut.level))
        assert len({classes[steps[-1]] for steps, _ in products}) == cut.categories
