"""What crawl.db holds after a feed: categories, links, variants, groups, and products that are gone.

The products are given as the readers of feeds make them, so that no file is in the way; whole runs
of crawl.py are at the end.
"""

import contextlib
import itertools
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import REPO, environment, run_script, write_feed
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import load, run, select, state

import db
from common.terminal import StopEvent
from crawling import feed_categories, feed_import, feed_queries, picture_queries, queries
from crawling.feed_load import FeedOptions
from crawling.feed_types import FeedProduct, LeftOut
from evaluation import filing_queries, review_queries
from learning import queries as learning_queries
from learning.category_tree import WHOLE_TREE

JEANS, BOOT, SALE = ("Women", "Jeans"), ("Women", "Jeans", "Boot"), ("Sale",)


def product(
    number, categories=(), images=(), group="", parent="", name="Jean", description="", line=1
):
    return FeedProduct(
        line, number, name, description, tuple(categories), tuple(images), group, parent
    )


def store(folder, products, source="s", **options):
    """Load products into folder/crawl.db. Returns (LoadCounts, LeftOut)."""
    left_out = LeftOut()
    with contextlib.closing(db.open_database(folder / "crawl.db", create=True)) as conn:
        counts = feed_import.load_feed(
            conn, products, left_out, FeedOptions(source, **options), StopEvent()
        )
    return counts, left_out


def outcomes(folder, products, **options):
    """(new, changed, unchanged) of a load."""
    counts, _ = store(folder, products, **options)
    return tuple(counts.outcomes[name] for name in ("new", "changed", "unchanged"))


def filed(folder):
    return dict(select(folder, "select external_id, category_id from product"))


def listed(folder):
    """{external_id: its categories in order}."""
    lists = {}
    for number, category in select(
        folder,
        "select external_id, product_category.category_id from product_category "
        "join product on product.id = product_id order by product_id, position",
    ):
        lists[number] = [*lists.get(number, []), category]
    return lists


def groups(folder):
    return dict(select(folder, "select external_id, group_key from product"))


# ---- categories and links -----------------------------------------------------------------------


def test_all_categories_are_listed_and_the_first_files_even_if_it_is_an_inner_one(tmp_path):
    products = [product("1", [BOOT, SALE]), product("2", [JEANS, SALE, JEANS]), product("3", [])]
    assert outcomes(tmp_path, products) == (3, 0, 0)
    assert filed(tmp_path) == {"1": "women.jeans.boot", "2": "women.jeans", "3": None}
    assert listed(tmp_path) == {"1": ["women.jeans.boot", "sale"], "2": ["women.jeans", "sale"]}
    assert select(tmp_path, "select distinct position from product_category order by 1") == [
        (0,),
        (1,),
    ]
    assert select(tmp_path, "select id, leaf, product_count from category order by id") == [
        ("sale", 1, 0),
        ("women", 0, 0),
        ("women.jeans", 0, 1),
        ("women.jeans.boot", 1, 1),
    ]
    assert outcomes(tmp_path, products) == (0, 0, 3)


@pytest.mark.parametrize(
    "before, after, filed_under",
    (
        ([BOOT], [BOOT, SALE], "women.jeans.boot"),  # one more that does not file it
        ([BOOT, SALE], [SALE, BOOT], "sale"),
        ([BOOT, SALE], [BOOT], "women.jeans.boot"),
        ([BOOT], [], None),
        ([], [SALE], "sale"),
    ),
)
def test_a_list_of_categories_that_changes_is_a_change(tmp_path, before, after, filed_under):
    store(tmp_path, [product("1", before), product("2", [BOOT])])
    assert outcomes(tmp_path, [product("1", after), product("2", [BOOT])]) == (0, 1, 1)
    assert filed(tmp_path)["1"] == filed_under
    ids = [".".join(word.lower() for word in path) for path in after]
    assert listed(tmp_path).get("1", []) == ids
    assert outcomes(tmp_path, [product("1", after), product("2", [BOOT])]) == (0, 0, 2)


def links(folder):
    return select(folder, "select product_id, position, link from picture_link order by 1, 2")


def test_the_first_link_is_the_picture_and_nine_more_are_kept(tmp_path):
    many = [f"{n}.jpg" for n in range(20)]
    store(tmp_path, [product("1", images=["a", "b", "a", "c"]), product("2", images=["a"])])
    assert links(tmp_path) == [(1, 1, "b"), (1, 2, "c")]
    assert select(tmp_path, "select image from product order by id") == [("a",), ("a",)]
    store(tmp_path, [product("3", images=many), product("4")], source="t")
    assert [link for _, _, link in links(tmp_path)][2:] == many[1:10]
    assert select(tmp_path, "select image from product where id = 4") == [("",)]


@pytest.mark.parametrize(
    "status, images, kept",
    (
        ("ok", ["a", "c"], True),  # the first link still gives the picture
        ("failed", ["a", "c"], False),  # the new link may give one
        ("failed", ["a"], False),
        ("ok", ["c", "b"], False),
        ("ok", ["a", "b"], True),
        ("failed", ["a", "b"], True),  # nothing is new
    ),
)
def test_links_that_change_are_a_change_and_have_the_picture_fetched_again(
    tmp_path, status, images, kept
):
    store(tmp_path, [product("1", images=["a", "b"])])
    with contextlib.closing(db.open_database(tmp_path / "crawl.db")) as conn:
        picture_queries.store_pictures(conn, [(1, "ab/ab.jpg", "ab", status, None, 0)])
    is_same = images == ["a", "b"]
    assert outcomes(tmp_path, [product("1", images=images)]) == (0, 1 - is_same, int(is_same))
    assert select(tmp_path, "select count(*) from picture") == [(int(kept),)]
    assert select(tmp_path, "select image_crawled from product") == [
        (int(kept and status == "ok"),)
    ]
    assert [link for _, _, link in links(tmp_path)] == images[1:]


# ---- one category, one id -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", (("women", "JEANS"), (" Women ", "Jeans  "), ("Ｗomen", "Jeans"), ("WOMEN", "jeans"))
)
def test_a_category_keeps_its_id_in_another_spelling_and_gets_the_latest_as_its_name(
    tmp_path, written
):
    store(tmp_path, [product("1", [JEANS]), product("2", [BOOT])])
    assert outcomes(tmp_path, [product("1", [written])]) == (0, 0, 1)
    assert filed(tmp_path)["1"] == "women.jeans"
    assert select(tmp_path, "select id, name, path from category order by id") == [
        ("women", " ".join(written[0].split()), "women"),
        ("women.jeans", " ".join(written[1].split()), "women/women.jeans"),
        ("women.jeans.boot", "Boot", "women/women.jeans/women.jeans.boot"),
    ]


def test_a_database_that_has_one_category_twice_keeps_both_ids():
    """Versions before this one took another letter case for another category."""
    rows = [
        {"id": "jeans", "parent": None, "leaf": 1, "path": "jeans", "name": "Jeans"},
        {"id": "jeans-1a2b", "parent": None, "leaf": 1, "path": "jeans-1a2b", "name": "JEANS"},
    ]
    tree = feed_categories.CategoryTree(rows)
    assert [tree.id_of((name,)) for name in ("JEANS", "Jeans", "jeans")] == [
        "jeans-1a2b",
        "jeans",
        "jeans",
    ]
    assert sorted(row[0] for row in tree.rows()) == ["jeans", "jeans-1a2b"]


# ---- repeated ids -------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 700), max_size=1500))
@settings(max_examples=10)
def test_each_row_is_a_product_or_left_out_wherever_its_id_stood_before(tmp_path_factory, numbers):
    """In the same batch, in an earlier one, and in a load of products that are there."""
    folder = tmp_path_factory.mktemp("repeats")
    rows = [product(f"n{n}", [SALE], line=line) for line, n in enumerate(numbers, 2)]
    for turn in range(2):
        counts, left_out = store(folder, rows)
        assert counts.products == len(set(numbers))
        assert counts.products + len(left_out) == len(rows)
        assert counts.outcomes["unchanged" if turn else "new"] == len(set(numbers))
        repeats = [line for line, n in enumerate(numbers, 2) if n in numbers[: line - 2]]
        named = re.findall(r"(\d+) \(id n", " ".join(left_out.sentences()))
        assert list(map(int, named)) == repeats[: len(named)] and (named or not repeats)


# ---- ids and groups are what they were ----------------------------------------------------------


texts = st.one_of(
    st.integers(0, 30).map(str),
    st.sampled_from(
        ("007", "sku-1", "-5", "１２", "1.0", str(2**62 - 1), str(2**62), "9" * 40, "", "+1", "1_0")
    ),
    st.text(max_size=3),
)


@given(st.lists(texts, unique=True, max_size=25), st.lists(texts, unique=True, max_size=10))
@settings(max_examples=8)
def test_ids_and_groups_are_those_that_a_product_gets_one_by_one(tmp_path_factory, first, second):
    """By the function that stores the products of an API, one at a time."""
    texts = [text.encode("utf-8", "replace").decode().replace("\0", "") for text in first]
    texts = list(dict.fromkeys(texts))
    folder = tmp_path_factory.mktemp("ids")
    store(folder, [product(text, name=f"n {text}") for text in texts])
    store(folder, [product(text, name=f"m {text}") for text in second if "\0" not in text], "t")
    with contextlib.closing(db.open_database(folder / "one.db", create=True)) as conn:
        for source, name, own in (("s", "n", texts), ("t", "m", second)):
            for text in own:
                if "\0" not in text:
                    crawled = {"external_id": text, "name": f"{name} {text}", "description": ""}
                    crawled |= {"image": "", "listed": [], "found": None, "group": None}
                    queries.store_product(conn, source, crawled)
        rows = conn.execute("select id, source, external_id, group_key, image from product")
        expected = [tuple(row) for row in rows]
    assert (
        select(folder, "select id, source, external_id, group_key, image from product") == expected
    )


def test_an_item_group_that_comes_later_replaces_the_key_and_the_earlier_one_is_kept(tmp_path):
    store(tmp_path, [product("1"), product("2", group="g")])
    first = groups(tmp_path)
    counts, _ = store(tmp_path, [product("1", group="g"), product("2")])
    assert counts.regrouped == 1 and counts.outcomes == {"new": 0, "changed": 1, "unchanged": 1}
    assert groups(tmp_path) == {"1": "s g", "2": "s g"}
    assert select(tmp_path, "select product_id, group_key from regrouped") == [(1, first["1"])]


# ---- variants -----------------------------------------------------------------------------------


FAMILY = (
    product("p", [BOOT, SALE]),
    product("v1", parent="p"),
    product("v2", [SALE], parent="p"),
    product("alone", [SALE], name="Hat"),
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_variants_have_their_parents_categories_and_group_whatever_the_order(tmp_path, order):
    products = [FAMILY[3], *(FAMILY[number] for number in order)]
    counts, _ = store(tmp_path, products)
    assert (counts.variants, counts.inherited) == (2, 1)
    assert filed(tmp_path) == {
        "p": "women.jeans.boot",
        "v1": "women.jeans.boot",
        "v2": "sale",
        "alone": "sale",
    }
    assert listed(tmp_path)["v1"] == listed(tmp_path)["p"] == ["women.jeans.boot", "sale"]
    keys = groups(tmp_path)
    assert keys["p"] == keys["v1"] == keys["v2"] == "s p" != keys["alone"]
    assert counts.regrouped == 0
    before = state(tmp_path)
    assert outcomes(tmp_path, products[::-1]) == (0, 0, 4)
    assert state(tmp_path) == before
    assert select(
        tmp_path, "select id, product_count from category where product_count > 0 order by 1"
    ) == [("sale", 2), ("women.jeans.boot", 2)]


def test_an_item_group_goes_before_the_group_of_a_parent(tmp_path):
    products = [
        product("p", [BOOT], group="g"),
        product("v1", parent="p"),
        product("v2", parent="p", group="h"),
    ]
    for expected in ((3, 0, 0), (0, 0, 3)):
        assert outcomes(tmp_path, products[::-1]) == expected
        assert groups(tmp_path) == {"p": "s g", "v1": "s g", "v2": "s h"}
    assert select(tmp_path, "select * from regrouped") == []


def test_variants_without_their_parent_share_a_group_and_take_its_category_once_it_comes(tmp_path):
    variants = [product("v1", parent="p"), product("v2", parent="p"), product("p2", parent="p2")]
    counts, _ = store(tmp_path, variants)
    assert (counts.variants, counts.inherited) == (2, 0)  # p2 is no variant of itself
    assert groups(tmp_path)["v1"] == groups(tmp_path)["v2"] == "s p"
    assert groups(tmp_path)["p2"] == db.group_key("Jean", "")
    assert outcomes(tmp_path, [product("p", [BOOT])]) == (1, 0, 0)
    assert outcomes(tmp_path, variants) == (0, 2, 1)
    assert filed(tmp_path)["v1"] == "women.jeans.boot"
    assert groups(tmp_path)["p"] == "s p"  # which had a key of its own until then
    assert len(select(tmp_path, "select * from regrouped")) == 1
    assert outcomes(tmp_path, variants) == (0, 0, 3)


def test_a_product_that_becomes_a_variant_is_regrouped_once_and_a_parent_that_loses_its_category_takes_it(
    tmp_path,
):
    store(tmp_path, [product("p", [BOOT]), product("v", [SALE], name="Blue")])
    counts, _ = store(tmp_path, [product("v", name="Blue", parent="p"), product("p", [BOOT])])
    assert counts.outcomes == {"new": 0, "changed": 2, "unchanged": 0} and counts.regrouped == 2
    assert filed(tmp_path)["v"] == "women.jeans.boot" and counts.labels_lost == 0
    counts, _ = store(tmp_path, [product("v", name="Blue", parent="p"), product("p")])
    assert counts.outcomes == {"new": 0, "changed": 2, "unchanged": 0} and counts.regrouped == 0
    assert filed(tmp_path) == {"v": None, "p": None} and counts.labels_lost == 2
    assert listed(tmp_path) == {}


def test_a_parent_of_another_shop_is_none(tmp_path):
    store(tmp_path, [product("p", [BOOT])], source="t")
    store(tmp_path, [product("v", parent="p")])
    assert filed(tmp_path)["v"] is None and groups(tmp_path)["v"] == "s p"


def test_without_labels_no_category_is_taken_from_a_parent_and_none_is_lost(tmp_path):
    store(tmp_path, [product("p", [BOOT]), product("v", [SALE])])
    counts, _ = store(
        tmp_path,
        [product("p"), product("v", parent="p"), product("w", parent="p")],
        unlabelled=True,
    )
    assert (counts.labels_kept, counts.labels_lost, counts.inherited) == (2, 0, 0)
    assert filed(tmp_path) == {"p": "women.jeans.boot", "v": "sale", "w": None}


# ---- products that are gone ---------------------------------------------------------------------


def test_products_that_the_feed_no_longer_has_are_counted_and_removed_only_if_asked(tmp_path):
    both = [
        product("1", [SALE], images=["http://x/1"]),
        product("2", [SALE], images=["http://x/2"]),
    ]
    store(tmp_path, both)
    store(tmp_path, [product("1", [SALE])], source="t")
    counts, _ = store(tmp_path, both[:1])
    assert (counts.gone, counts.removed) == (1, 0)
    removed = "select source, external_id from product where removed = 1"
    assert select(tmp_path, removed) == []
    counts, _ = store(tmp_path, both[:1], remove_missing=True)
    assert (counts.gone, counts.removed) == (1, 1)
    assert select(tmp_path, removed) == [("s", "2")]
    assert select(tmp_path, "select product_count from category where id = 'sale'") == [(2,)]
    with contextlib.closing(db.open_database(tmp_path / "crawl.db")) as conn:
        assert len(list(learning_queries.labelled_products(conn, ["sale"]))) == 2
        assert len(list(learning_queries.texts(conn, ["sale"]))) == 2
        assert learning_queries.class_sizes(conn, WHOLE_TREE) == {"sale": (2, 1)}
        assert len(list(learning_queries.catalogue(conn))) == 2
        assert picture_queries.count_pictures_to_fetch(conn, "s") == 1
    counts, _ = store(tmp_path, both[:1])  # one that was removed before is not counted again
    assert counts.gone == 0 and select(tmp_path, removed) == [("s", "2")]
    assert outcomes(tmp_path, both) == (0, 1, 1)
    assert select(tmp_path, removed) == []
    assert select(tmp_path, "select product_count from category where id = 'sale'") == [(3,)]


def test_a_removed_product_is_not_filed_and_not_left_to_a_person(tmp_path):
    store(tmp_path, [product("1"), product("2")])
    with contextlib.closing(db.open_database(tmp_path / "crawl.db")) as conn:
        conn.execute("insert into experiment(id, name) values (1, 'n')")
        rows = [(n, "sale", 0.9, None, 0.9, "[]", 1, 0, 0, 0) for n in (1, 2)]
        filing_queries.store_answers(conn, 1, rows)
        filing_queries.file_products(conn, 1, "s", 2.0, 2.0, 2.0)
        assert len(list(review_queries.products_left(conn, 1, False, False))) == 2
    store(tmp_path, [product("1")], remove_missing=True)
    with contextlib.closing(db.open_database(tmp_path / "crawl.db")) as conn:
        assert [product for product, _ in review_queries.products_left(conn, 1, False, False)] == [
            1
        ]
        assert filing_queries.count_unfiled(conn, 1, [])[0] == 1
        assert [row["product_id"] for row in filing_queries.filed(conn, 1)] == [1]
        assert conn.execute("select count(*) from filing").fetchone()[0] == 2  # kept
    store(tmp_path, [product("2")])
    with contextlib.closing(db.open_database(tmp_path / "crawl.db")) as conn:
        assert len(list(review_queries.products_left(conn, 1, False, False))) == 2


# ---- indexes and kills --------------------------------------------------------------------------


def indexes(folder):
    return select(
        folder, "select name, tbl_name from sqlite_master where type = 'index' order by 1"
    )


def test_a_first_load_leaves_all_indexes_and_the_write_ahead_log_as_they_were(tmp_path):
    (tmp_path / "new").mkdir()
    db.open_database(tmp_path / "new" / "crawl.db", create=True).close()
    store(tmp_path, [product("1", [BOOT])])
    assert indexes(tmp_path) == indexes(tmp_path / "new")
    assert select(tmp_path, "pragma journal_mode") == [("wal",)]
    plan = select(
        tmp_path, "explain query plan select * from product where source='s' and external_id='1'"
    )
    assert "product_by_external_id" in plan[0][3]


def test_a_first_load_works_while_another_process_reads_the_file(tmp_path):
    db.open_database(tmp_path / "crawl.db", create=True).close()
    with contextlib.closing(db.open_readonly(tmp_path / "crawl.db")) as reader:
        reader.execute("begin")
        assert reader.execute("select count(*) from product").fetchone()[0] == 0
        assert outcomes(tmp_path, [product("1", [BOOT])]) == (1, 0, 0)
        assert reader.execute("select count(*) from product").fetchone()[0] == 0


@pytest.mark.slow
def test_a_first_load_killed_at_any_instant_leaves_nothing_of_it_and_the_next_one_loads(tmp_path):
    rows = ((f"n{n}", f"Jean {n}", "Blue " * 50, "Jeans > Boot") for n in range(20_000))
    feed = write_feed(tmp_path / "f.tsv", rows, "id title description product_type")
    whole = None
    for delay in (0.5, 0.8, 1.1, 1.4, 1.7):
        folder = tmp_path / str(delay)
        folder.mkdir()
        process = subprocess.Popen(
            [sys.executable, REPO / "crawl.py", "--feed", feed],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (folder / "crawl.db").exists() and (folder / "crawl.db").stat().st_size:
            with contextlib.closing(db.open_readonly(folder / "crawl.db")) as conn:
                count = conn.execute("select count(*) from product").fetchone()[0]
            assert count in (0, 20_000)
        load(folder, feed)
        assert select(folder, "pragma integrity_check") == [("ok",)]
        whole = whole or (state(folder), indexes(folder))
        assert (state(folder), indexes(folder)) == whole
        shutil.rmtree(folder)


# ---- whole runs ---------------------------------------------------------------------------------


def test_the_account_adds_up_in_a_load_and_in_a_dry_run(tmp_path):
    lines = ["1,Jean,A > B", "2,,A > B", "1,Jean,A > C", "x,a,b,c", "3,Hat,", ",Hat,A"]
    (tmp_path / "f.csv").write_text("id,title,product_type\n" + "\n".join(lines) + "\n")
    for flags in (("--dry-run",), (), ("--dry-run",), ()):
        done = load(tmp_path, "f.csv", *flags)
        assert "feed: 6 rows = 2 products + 0 merged + 4 left out" in done.stdout
        assert "line 4 (id 1): its id stood in an earlier line; left out" in done.stderr


def test_a_load_says_which_categories_are_the_largest_and_the_smallest(tmp_path):
    rows = [(f"{n}-{m}", "Jean", f"Top > Leaf {n:02}") for n in range(1, 31) for m in range(n)]
    feed = write_feed(tmp_path / "f.tsv", [*rows, ("x", "Hat", "")], "id title product_type")
    told = load(tmp_path, feed).stderr.splitlines()
    start = told.index("465 products in 30 categories, 1 without one")
    assert told[start + 1 : start + 3] == [
        "the 10 largest categories:",
        "         30  Top > Leaf 30",
    ]
    assert told[start + 11 : start + 14] == [
        "         21  Top > Leaf 21",
        "10 of the smallest:",
        "         10  Top > Leaf 10",
    ]
    assert told[start + 22] == "          1  Top > Leaf 01"
    few = write_feed(tmp_path / "few.tsv", rows[:3], "id title product_type")
    told = load(tmp_path, few, "--source", "few").stderr
    assert "categories:" not in told and "          2  Top > Leaf 02" in told
    told = load(
        tmp_path, write_feed(tmp_path / "1.tsv", rows[:1], "id title product_type"), "--source", "1"
    )
    assert "          1  Top > Leaf" not in told.stderr


def test_a_dry_run_says_what_a_load_says_and_writes_nothing(tmp_path):
    header = "id title description product_type image_link"
    rows = [(str(n), f"Jean {n}", "Blue", "Women > Jeans", "") for n in range(20)]
    load(tmp_path, write_feed(tmp_path / "f.tsv", rows, header))
    rows[0] = ("0", "Slim Jean", "Blue \x1b " * 40, "Women > Slim", "none.jpg")
    rows[1] = (*rows[1][:3], "", "http://127.0.0.1:9/a.jpg")
    rows[5:] = [("new", "Hat", "", "Hats", "")]
    feed = write_feed(tmp_path / "f.tsv", rows, header)
    before = [(tmp_path / name).read_bytes() for name in ("crawl.db", "f.tsv")]
    dry = load(tmp_path, feed, "--dry-run", "--remove-missing")
    assert [(tmp_path / name).read_bytes() for name in ("crawl.db", "f.tsv")] == before
    assert not (tmp_path / "crawl.db-wal").stat().st_size  # which a reader leaves, empty
    assert dry.stdout.splitlines()[:4] == [
        "would load 6 products in 3 categories (1 without one), 2 with a link to a picture (1 of them "
        "to files), 0 item groups",
        "products: 6 in 3 leaves (0 at an inner category, 1 without one, 15 removed); this run: 1 "
        "new, 2 changed, 3 seen before, 0 left out",
        "feed: 6 rows = 6 products + 0 merged + 0 left out",
        "1 linked file is not there, beside the feed: none.jpg (line 2)",
    ]
    assert dry.stdout.splitlines()[4:10] == [
        "product 0: Slim Jean",
        "  category: Women > Slim",
        "  picture: none.jpg",
        "  group: none",
        "  description: " + "Blue " * 16 + "...",
        "product 1: Jean 1",
    ]
    assert dry.stdout.count("\nproduct ") == 3
    assert "1 product of feed has no category now, but had one before" in dry.stderr
    assert (
        "--unlabelled keeps" in dry.stderr
        and "15 products of feed are no longer in the feed: marked as removed" in dry.stderr
    )
    done = load(tmp_path, feed, "--remove-missing", status=1)
    assert done.stdout.splitlines()[:2] == dry.stdout.splitlines()[1:3]
    unlike = r"feed: \d+ products in .*|.*picture.*"
    told = [line for line in done.stderr.splitlines() if not re.fullmatch(unlike, line)]
    assert told == [line for line in dry.stderr.splitlines() if not re.fullmatch(unlike, line)]


def test_a_dry_run_of_what_is_loaded_and_of_another_shop_changes_nothing(tmp_path):
    feed = write_feed(
        tmp_path / "f.tsv",
        [(str(n), "Jean", "Top > Jeans") for n in range(9)],
        "id title product_type",
    )
    load(tmp_path, feed)
    before = state(tmp_path)
    assert "0 new, 0 changed, 9 seen before" in load(tmp_path, feed, "--dry-run").stdout
    done = load(tmp_path, feed, "--dry-run", "--source", "b")
    assert "9 new, 0 changed, 0 seen before" in done.stdout and state(tmp_path) == before


@pytest.mark.parametrize("flags", ((), ("--dry-run",)))
@pytest.mark.parametrize("lines", ("", "1,\n,Jean\n"))
def test_a_feed_without_a_product_is_one_sentence_and_leaves_no_file(tmp_path, flags, lines):
    (tmp_path / "f.csv").write_text("id,title\n" + lines)
    done = load(tmp_path, "f.csv", *flags, status=2)
    assert "the feed holds no product" in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]


def test_a_load_that_loses_products_says_so_and_names_the_flag(tmp_path):
    rows = [(str(n), "Jean", "Top > Jeans") for n in range(9)]
    load(tmp_path, write_feed(tmp_path / "f.tsv", rows, "id title product_type"))
    write_feed(tmp_path / "f.tsv", rows[:4], "id title product_type")
    told = load(tmp_path, "f.tsv").stderr
    assert (
        "5 products of feed are no longer in the feed, and nothing changes for them: --remove"
        in told
    )
    done = load(tmp_path, "f.tsv", "--remove-missing")
    assert (
        "5 products of feed are no longer in the feed: marked as removed" in done.stderr
        and "5 removed)" in done.stdout
    )
    assert "no longer in the feed" not in load(tmp_path, "f.tsv").stderr
    status = run_script("crawl", "--status", cwd=tmp_path)
    assert "products of feed: 4 in 1 leaf (0 at an inner category, 0 without one, 5 removed)" in (
        status.stdout
    )
    done = run_script("crawl", "--remove-missing", cwd=tmp_path)
    assert done.returncode == 2 and "--remove-missing is for --feed" in done.stderr


def test_a_feed_without_links_says_nothing_of_pictures(tmp_path):
    feed = write_feed(tmp_path / "f.tsv", [("1", "Jean", "Top > Jeans")], "id title product_type")
    assert "picture" not in load(tmp_path, feed).stdout
    assert "to go on" not in run_script("crawl", "--status", cwd=tmp_path).stdout


def test_the_leaves_of_a_feed_are_none_to_go_on_in_once_their_products_are_elsewhere(
    tmp_path, serve
):
    """A leaf that has no product any more is as much the feed's as the others."""
    run(tmp_path, serve())
    before = run_script("crawl", "--status", cwd=tmp_path).stdout
    leaves = before.split("\nproducts")[0].splitlines()
    for category in ("Top > Jeans", "Top > Boots"):
        load(
            tmp_path,
            write_feed(tmp_path / "f.tsv", [("a", "Jean", category)], "id title product_type"),
        )
    after = run_script("crawl", "--status", cwd=tmp_path).stdout
    assert "top." not in after and set(leaves) < set(after.splitlines())


def test_the_first_crawl_of_an_api_has_seen_nothing_before(tmp_path, serve):
    """A product may stand on the pages of several leaves."""
    done = run(tmp_path, serve())
    new = select(tmp_path, "select count(*) from product")[0][0]
    assert f"this run: {new} new, 0 changed, 0 seen before" in done.stdout


def test_indexes_of_a_copy_are_those_of_the_copy(tmp_path):
    store(tmp_path, [product("1", [BOOT])])
    with contextlib.closing(db.open_readonly(tmp_path / "crawl.db")) as conn:
        feed_queries.copy_tables(conn, "s")
        names = conn.execute("select name from sqlite_temp_master where type = 'index'").fetchall()
        assert "product_by_external_id" in {row[0] for row in names}
        feed_queries.make_indexes(conn, feed_queries.drop_indexes(conn))
        again = conn.execute("select name from sqlite_temp_master where type = 'index'").fetchall()
        assert sorted(map(tuple, names)) == sorted(map(tuple, again))


# ---- what the shop has already ------------------------------------------------------------------


def test_a_few_products_get_the_tree_and_the_spelling_that_is_there(tmp_path):
    """A file of one category does not tell what parts its levels; the categories that are there
    do."""
    (tmp_path / "all.csv").write_text(
        "SKU;Name;Warengruppe\n1;a;Möbel/Sofas\n2;b;Möbel/Sofas\n3;c;Möbel/Tische\n4;d;Garten\n"
    )
    load(tmp_path, "all.csv")
    before = select(tmp_path, "select id, name from category order by id")
    (tmp_path / "new.csv").write_text("SKU;Name;Warengruppe\n5;e;MÖBEL/Sofas\n")
    load(tmp_path, "new.csv")
    assert select(tmp_path, "select id, name from category order by id") == before
    assert filed(tmp_path)["5"] == "möbel.sofas"


def test_a_spelling_that_the_whole_feed_changes_is_taken(tmp_path):
    rows = [(str(n), "Jean", "TOP > JEANS") for n in range(5)]
    load(tmp_path, write_feed(tmp_path / "f.tsv", rows, "id title product_type"))
    rows = [(number, name, "Top > Jeans") for number, name, _ in rows]
    load(tmp_path, write_feed(tmp_path / "f.tsv", rows, "id title product_type"))
    names = [name for (name,) in select(tmp_path, "select name from category order by id")]
    assert names == ["Top", "Jeans"]


def test_a_load_that_loses_pictures_says_so(tmp_path):
    rows = [(str(n), "Jean", "https://img.example/1.jpg") for n in range(3)]
    store(tmp_path, [product(number, images=[link]) for number, _, link in rows])
    counts, _ = store(tmp_path, [product(number) for number, _, _ in rows])
    assert counts.pictures_lost == 3
