"""A feed that is loaded again with renamed, moved or merged categories says which they are."""

import csv
import os
import random
import re
import shlex

import pytest
from conftest import REPO, run_script, write_feed
from loopback import load, select

from common.text import folded, without_apostrophes

HEADER = "id title product_type"


def write(path, changes, position):
    """Write a feed of products given as (count, category before, category after), with the
    categories before (position 1) or after (2); products without that category are left out."""
    categories = [change[position] for change in changes for _ in range(change[0])]
    rows = [
        (str(number), f"Thing {number}", category)
        for number, category in enumerate(categories)
        if category is not None
    ]
    return write_feed(path, rows, HEADER)


def read_moves(path):
    """{from: (to, products)} of a file that --write-moves has written."""
    with open(path, encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["from", "to", "products"]
    moves = {source: (target, int(products)) for source, target, products in lines}
    assert len(moves) == len(lines)
    return moves


def sentences(done):
    """What a run has logged about moves."""
    return [line for line in done.stderr.splitlines() if re.search(" now in |like these", line)]


def moves_of(folder, changes, *flags):
    """Load products, then what changes, in a dry run and in earnest, which find the same. Returns
    the moves."""
    load(folder, write(folder / "f.tsv", changes, 1), *flags)
    feed = write(folder / "f.tsv", changes, 2)
    dry = load(folder, feed, "--write-moves", "dry.csv", "--dry-run", *flags)
    done = load(folder, feed, "--write-moves", "moves.csv", *flags)
    assert sentences(dry) == sentences(done)
    moves = read_moves(folder / "moves.csv")
    assert read_moves(folder / "dry.csv") == moves
    return moves


def test_a_renamed_category_is_told_of_and_written_and_a_dry_run_changes_nothing(tmp_path):
    changes = [(120, "A > B", "A > C"), (1, "A > D", "A > D"), (5, None, "A > C")]
    load(tmp_path, write(tmp_path / "f.tsv", changes, 1))
    before = (tmp_path / "crawl.db").read_bytes()
    feed = write(tmp_path / "f.tsv", changes, 2)
    done = load(tmp_path, feed, "--dry-run")
    assert sentences(done) == ["120 products of A > B are now in A > C"]
    assert "--dry-run --write-moves FILE writes" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.glob("*.csv"))
    done = load(tmp_path, feed, "--dry-run", "--write-moves", "moves.csv")
    assert sentences(done) == ["120 products of A > B are now in A > C"]
    assert done.stderr.splitlines()[-1] == (
        "run python analyze.py --recategorize moves.csv before you load the feed, and "
        "experiments, decisions and models keep their categories"
    )
    assert (tmp_path / "moves.csv").read_bytes() == b"from,to,products\nA > B,A > C,120\n"
    assert (tmp_path / "crawl.db").read_bytes() == before
    done = load(tmp_path, feed)
    assert sentences(done) == ["120 products of A > B are now in A > C"]
    assert "the old categories are empty now: if they have other names" in done.stderr
    done = load(tmp_path, feed, "--write-moves", "moves.csv")  # once more, which changes nothing
    assert "no category has been renamed or moved: moves.csv has no line" in done.stderr
    assert (tmp_path / "moves.csv").read_bytes() == b"from,to,products\n"


def test_the_commands_name_the_database(tmp_path):
    changes = [(9, "A > B", "A > C")]
    flags = ("--db-path", "my shop.db")
    load(tmp_path, write(tmp_path / "f.tsv", changes, 1), *flags)
    feed = write(tmp_path / "f.tsv", changes, 2)
    command = "run python analyze.py --recategorize {} --db-path 'my shop.db'"
    for more in ((), ("--write-moves", "m 1.csv")):
        file = "'m 1.csv'" if more else "FILE"
        dry = load(tmp_path, feed, *flags, *more, "--dry-run")
        assert command.format(file) in dry.stderr.splitlines()[-1]
    told = load(tmp_path, feed, *flags).stderr.splitlines()[-1]
    assert command.format("FILE") in told


@pytest.mark.parametrize(
    "changes, right",
    (
        pytest.param(
            [(4, "W > B > T", "W > H > T"), (5, "W > B > C", "W > H > C"), (3, "W > B", "W > H")],
            {"W > B": ("W > H", 12)},
            id="an inner category with all below it",
        ),
        pytest.param(
            [(4, "W > B > T", "W > H > T"), (5, "W > B > C", "W > H > C"), (3, "W > B > D", "E")],
            {"W > B": ("W > H", 9), "W > B > D": ("E", 3)},
            id="and one below it has a move of its own",
        ),
        pytest.param(
            [(4, "W > B > T", "W > H > T"), (5, "W > B > C", "W > H > C"), (9, *["W > B > D"] * 2)],
            {"W > B > T": ("W > H > T", 4), "W > B > C": ("W > H > C", 5)},
            id="one below it stays",
        ),
        pytest.param(
            [(4, "W > B > T", "W > H > T"), (5, "W > B > C", "W > H > C"), (9, "W > B", "W > B")],
            {"W > B > T": ("W > H > T", 4), "W > B > C": ("W > H > C", 5)},
            id="its own products stay",
        ),
        pytest.param(
            [(4, "W > B > T", "W > H > T"), (5, "W > B > C", "W > H > C"), (1, None, "W > B > D")],
            {"W > B > T": ("W > H > T", 4), "W > B > C": ("W > H > C", 5)},
            id="a new product has a place below it",
        ),
        pytest.param(
            [(4, "W > B > T", "M > B > T"), (5, "W > B > C", "M > B > C"), (2, "W > J", "W > J")],
            {"W > B": ("M > B", 9)},
            id="a branch under another top",
        ),
        pytest.param(
            [(4, "W > B > T", "L > B > T"), (5, "W > C", "l >  c"), (4, "W > B > D", "L > b > D")],
            {"W": ("L", 13)},
            id="a top; letter case and blanks make no difference",
        ),
        pytest.param(
            [(4, "W > J", "W > K > J"), (5, "W > B", "W > K > B"), (3, "W > D", "W > D")],
            {"W > J": ("W > K > J", 4), "W > B": ("W > K > B", 5)},
            id="a level comes in between",
        ),
        pytest.param(
            [(4, "W > K > J", "W > J"), (5, "W > K > B", "W > B"), (3, "W > D", "W > D")],
            {"W > K > J": ("W > J", 4), "W > K > B": ("W > B", 5)},
            id="a level falls out",
        ),
        pytest.param(
            [(4, "W > J > S", "W > J"), (5, "W > J", "W > J")],
            {"W > J > S": ("W > J", 4)},
            id="a category is merged into the one above it",
        ),
        pytest.param(
            [(3, "W > B", "S"), (8, "W > B > T", "M > T")],
            {"W > B": ("S", 3), "W > B > T": ("M > T", 8)},
            id="an inner category's own products, and others below it elsewhere",
        ),
        pytest.param([(4, "W", "W > J")], {}, id="no category moves below itself"),
        pytest.param(
            [(4, "W > J", "W > D"), (3, "W > D", "W > D")], {"W > J": ("W > D", 4)}, id="a merge"
        ),
        pytest.param([(2, "W > J", "W > D"), (3, "W > D", "W > D")], {}, id="too few for a merge"),
        pytest.param([(1, "W > J", "W > D")], {"W > J": ("W > D", 1)}, id="all of a small one"),
        pytest.param([(2, "W > J", "W > D"), (1, "W > J", None)], {}, id="two of three"),
        pytest.param([(4, "A", "B"), (6, "B", "A")], {"A": ("B", 4), "B": ("A", 6)}, id="a swap"),
        pytest.param([(9, "A", "B"), (3, "B", "C")], {"A": ("B", 9), "B": ("C", 3)}, id="a chain"),
    ),
)
def test_a_move_is_one_line_with_the_rest_of_the_path(tmp_path, changes, right):
    assert moves_of(tmp_path, changes) == right


@pytest.mark.parametrize(
    "changes, right",
    (
        ([(8, "A > B", "A > C"), (92, "A > B", "A > B")], {}),
        ([(90, "A > B", "A > C"), (10, "A > B", "A > B")], {"A > B": ("A > C", 90)}),
        ([(89, "A > B", "A > C"), (11, "A > B", "A > B")], {}),
        ([(90, "A > B", "A > C"), (10, "A > B", "A > D")], {"A > B": ("A > C", 90)}),
        ([(50, "A > B", "A > C"), (50, "A > B", "A > D")], {}),
        ([(90, "A > B", "A > C"), (10, "A > B", "")], {"A > B": ("A > C", 90)}),
        ([(50, "A > B", "")], {}),
        ([(90, "A > B", "A > C"), (10, None, "A > B")], {"A > B": ("A > C", 90)}),
        ([(90, "A > B", "A > C"), (11, None, "A > B")], {}),
        ([(50, "A > B", "A > C"), (50, "A > B", None)], {"A > B": ("A > C", 50)}),
        ([(50, "A > B", "A > C"), (51, "A > B", None)], {}),
        (
            [(90, "A > B", "A > C"), (30, "D", "A > B")],
            {"A > B": ("A > C", 90), "D": ("A > B", 30)},
        ),
    ),
)
def test_what_is_refiled_as_shops_do_is_no_move(tmp_path, changes, right):
    """Most of a category's products are in the feed; nine of ten of these are together."""
    assert moves_of(tmp_path, changes) == right


def test_only_products_of_the_feeds_own_shop_count(tmp_path):
    other = write(tmp_path / "other.tsv", [(5, "A > B", None), (5, "X > C", None)], 1)
    load(tmp_path, other, "--source", "other")
    changes = [(30, "A > B", "A > C"), (20, "A > D", "A > E"), (20, "X > B", "Y > B")]
    # The other shop has products at A > B, and below X.
    assert moves_of(tmp_path, changes) == {"A > D": ("A > E", 20), "X > B": ("Y > B", 20)}
    done = load(tmp_path, write(other, [(10, None, "Z")], 2), "--source", "third")
    assert sentences(done) == []


@pytest.mark.parametrize(
    "changes, right",
    (
        # All are filed under a deeper category now, and listed in the first one as well.
        ([(9, "A > B", "C > D > E; A > B"), (3, "A > F", "A > F")], {}),
        ([(9, "A > B; C > D > E", "C > D > E")], {}),  # filed under the deepest before and now
        ([(9, "C > D > E; A > B", "A > B")], {"C > D > E": ("A > B", 9)}),
        ([(9, "C > D > E; A > B", "C > X > E; A > B")], {"C > D": ("C > X", 9)}),
        # C > D > F is listed still, though nothing is filed there.
        (
            [(9, "C > D > E", "C > X > E"), (3, "A > B > C; C > D > F", "A > B > C; C > D > F")],
            {"C > D > E": ("C > X > E", 9)},
        ),
    ),
)
def test_a_category_that_products_are_still_listed_in_has_not_moved(tmp_path, changes, right):
    assert moves_of(tmp_path, changes) == right


def test_products_that_were_removed_and_are_back_count_too(tmp_path):
    changes = [(30, "A > B", "A > C"), (20, "A > D", "A > D")]
    load(tmp_path, write(tmp_path / "f.tsv", changes, 1))
    without = [(30, None, None), *changes[1:]]
    load(tmp_path, write(tmp_path / "f.tsv", without, 1), "--remove-missing")
    done = load(tmp_path, write(tmp_path / "f.tsv", changes, 2))
    assert sentences(done) == ["30 products of A > B are now in A > C"]


def test_variants_that_have_their_parents_category_move_with_it(tmp_path):
    def rows(category):
        for number in range(1, 31, 3):
            yield str(number), f"Shirt {number}", category, "", "variable"
            for variant in (number + 1, number + 2):
                yield str(variant), f"Shirt {variant}", "", f"id:{number}", "variation"

    header = "ID Name Categories Parent Type"
    load(tmp_path, write_feed(tmp_path / "f.tsv", rows("Men > Shirts"), header))
    assert select(tmp_path, "select count(*) from product where category_id = 'men.shirts'") == [
        (30,)
    ]
    feed = write_feed(tmp_path / "f.tsv", rows("Men > Tops"), header)
    for flags in (("--dry-run",), ()):
        done = load(tmp_path, feed, *flags)
        assert sentences(done) == ["30 products of Men > Shirts are now in Men > Tops"]


def test_many_moves_are_counted_and_all_are_written(tmp_path):
    changes = [(30 - n, f"A > {n}", f"A > new {n}") for n in range(17)] + [(9, "A > x", "A > x")]
    moves = moves_of(tmp_path, changes)
    assert moves == {f"A > {n}": (f"A > new {n}", 30 - n) for n in range(17)}
    load(tmp_path, write(tmp_path / "f.tsv", changes, 1), "--db-path", "new.db")
    feed = write(tmp_path / "f.tsv", changes, 2)
    told = sentences(load(tmp_path, feed, "--db-path", "new.db"))
    assert told[:2] == ["30 products of A > 0 are now in A > new 0"] + [
        "29 products of A > 1 are now in A > new 1"
    ]
    assert len(told) == 6 and told[5] == "and 12 more categories moved like these"


def test_the_file_is_safe_to_open_and_can_be_read_back(tmp_path):
    names = ["=cmd()", "+1", "-x", "@y", 'say "a, b"', "Ünïcode ズボン", "'=z", "'s-Hertogenbosch"]
    changes = [(9 - n, name, f"{name} new") for n, name in enumerate(names)]
    moves = moves_of(tmp_path, changes)
    assert not [cell for cell in moves if cell[0] in "=+-@"]
    known = {folded(name) for (name,) in select(tmp_path, "select name from category")}
    for source, (target, _) in moves.items():
        for cell in (source, target):
            assert folded(without_apostrophes(cell)) in known
    assert len(moves) == len(names)


def test_a_name_that_holds_the_sign_between_levels_is_left_out_of_the_file(tmp_path):
    changes = [(9, "A/B>C", "A/D"), (8, "A/E", "A/F")]
    assert moves_of(tmp_path, changes, "--separator", "/") == {"A > E": ("A > F", 8)}
    load(tmp_path, write(tmp_path / "f.tsv", changes, 1), "--separator", "/", "--db-path", "new.db")
    feed = write(tmp_path / "f.tsv", changes, 2)
    done = load(tmp_path, feed, "--separator", "/", "--db-path", "new.db", "--write-moves", "m.csv")
    assert "1 move is not in m.csv, because a name has '>' in it" in done.stderr


@pytest.mark.parametrize(
    "flags, sentence",
    (
        (("--write-moves", "m.csv"), "--write-moves is for --feed"),
        (("--feed", "f.tsv", "--write-moves", ""), "takes a file in a folder that is there"),
        (("--feed", "f.tsv", "--write-moves", "."), "takes a file in a folder that is there"),
        (
            ("--feed", "f.tsv", "--write-moves", "no/m.csv"),
            "takes a file in a folder that is there",
        ),
        (("--feed", "f.tsv", "--write-moves", "f.tsv"), "would replace f.tsv"),
        (("--feed", "f.tsv", "--write-moves", "./crawl.db"), "would replace ./crawl.db"),
        (("--feed", "f.tsv", "--write-moves", "m.csv", "--unlabelled"), "leave --unlabelled out"),
    ),
)
def test_a_file_that_cannot_be_written_is_refused_first(tmp_path, flags, sentence):
    feed = write(tmp_path / "f.tsv", [(3, "A", None)], 1)
    before = feed.read_bytes()
    done = run_script("crawl", *flags, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and sentence in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["f.tsv"] and feed.read_bytes() == before


def test_a_load_that_fails_writes_no_file(tmp_path):
    load(tmp_path, write(tmp_path / "f.tsv", [(9, "A", None)], 1))
    (tmp_path / "f.tsv").write_text("id\ttitle\tproduct_type\n", encoding="utf-8")
    (tmp_path / "m.csv").write_text("from,to,products\nX,Y,1\n", encoding="utf-8")
    load(tmp_path, "f.tsv", "--write-moves", "m.csv", status=2)
    assert (tmp_path / "m.csv").read_text(encoding="utf-8").endswith("X,Y,1\n")
    assert not list(tmp_path.glob("*.tmp"))


def test_the_page_on_catalogues_shows_what_is_printed(tmp_path):
    page = (REPO / "docs" / "crawl.md").read_text(encoding="utf-8")
    section = page.split("\n### When the shop has renamed categories\n")[1].split("\n## ")[0]
    command, *shown = re.findall(r"^    (.*)$", section, re.M)
    changes = [
        (120, "Women > Jeans", "Women > Denim"),
        (30, "Women > Bags > Totes", "Accessories > Bags > Totes"),
        (15, "Women > Bags > Clutches", "Accessories > Bags > Clutches"),
        (10, "Women > Dresses", "Women > Dresses"),
    ]
    load(tmp_path, write(tmp_path / "old.csv", changes, 1), "--db-path", "mine.db")
    write(tmp_path / "new.csv", changes, 2)
    done = run_script("crawl", *shlex.split(command)[3:], cwd=tmp_path)
    assert done.stderr.splitlines()[-3:] == shown


def applied(moves, path):
    """A path after moves {from: (to, products)}: of the beginnings that move the longest counts."""
    steps = path.split(" > ")
    for length in range(len(steps), 0, -1):
        source = " > ".join(steps[:length])
        if source in moves:
            return " > ".join([moves[source][0], *steps[length:]])
    return path


@pytest.mark.parametrize("seed", range(8))
def test_the_moves_of_a_tree_that_was_renamed_at_random_lead_to_the_new_paths(tmp_path, seed):
    rng = random.Random(seed)
    paths = {
        " > ".join(f"{'abc'[level]}{rng.randrange(4)}" for level in range(rng.randint(1, 3)))
        for _ in range(40)
    }
    renames = {}
    for number in range(4):
        source = rng.choice(sorted(paths)).split(" > ")
        source = " > ".join(source[: rng.randint(1, len(source))])
        other = rng.choice(sorted(paths))
        target = rng.choice(("top", f"{source} new", f"{other} > under"))
        if not f"{target} > ".startswith(f"{source} > "):
            renames[source] = (f"{target} {number}", 0)
    changes = [(rng.randint(3, 9), path, applied(renames, path)) for path in sorted(paths)]
    moves = moves_of(tmp_path, changes)
    assert [applied(moves, before) for _, before, _ in changes] == [new for *_, new in changes]
    assert renames and len(moves) <= len(renames) + 2


def test_a_file_that_holds_something_else_is_not_replaced(tmp_path):
    feed = write(tmp_path / "f.tsv", [(3, "A", None)], 1)
    (tmp_path / "decisions.csv").write_text("product_id,decision\n7,unclear\n", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    for name in ("decisions.csv", "pipe"):
        done = run_script("crawl", "--feed", feed, "--write-moves", name, cwd=tmp_path)
        assert done.returncode == 2 and "holds no moves: name another file" in done.stderr
    assert not (tmp_path / "crawl.db").exists()
