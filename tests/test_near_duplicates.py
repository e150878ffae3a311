"""Near-duplicates: which texts are, how they are clustered, and what the suite does with them.

pytest tests/test_near_duplicates.py
"""

import itertools
import json
import random
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPO, environment, run_script, write_feed
from hypothesis import given
from hypothesis import strategies as st

import db
import retrain
from evaluation import (
    catalogue_queries,
    experiment_figures,
    experiment_queries,
    experiment_report,
    figures,
    filing_queries,
    levels,
    today,
)
from learning import experiments, model_folders, near_duplicates, selection, twin_search
from learning import queries as learning_queries
from learning.split import split_position

LONG = "soft woven cotton with long sleeves round neck and two pockets made for early autumn days"


def linked(first, second, least=near_duplicates.STYLE):
    """Whether two texts, each (name, description) or a name, are near-duplicates."""
    texts = near_duplicates.word_sets(
        (own, None) if isinstance(own, str) else own for own in (first, second)
    )
    one, other = near_duplicates.components(np.arange(2), texts, least)
    return one == other


def cluster_of(names, keys=None):
    """{name: key of its cluster} of products with these names, for those in clusters."""
    found = near_duplicates.find_clusters(
        (i, keys[i] if keys else db.group_key(name, None), name, None)
        for i, name in enumerate(names)
    )
    return {names[i]: key for i, key in zip(found.ids, found.keys)}


# ---- which texts are near-duplicates ------------------------------------------------------------


@pytest.mark.parametrize(
    "first, second",
    [
        ("Linen wrap dress with belt blue", "Linen wrap dress with belt red"),  # replaced
        ("Linen wrap dress with belt", "Linen wrap dress with belt red"),  # added
        ("LINEN wrap-dress, with <b>belt</b> red", "linen wrap dress with belt blue"),
        ("belt with dress wrap linen", "Linen wrap dress with belt"),  # in another order
        ("blue", "BLUE blue"),  # the same set
        (("Blue dress", LONG), ("Red dress", LONG)),
        (("Blue dress", f"{LONG} in blue"), ("Red dress", f"{LONG} in red")),  # in both, once
        (("Dress", f"{LONG} blue"), ("Dress", f"{LONG} red")),
        (("Blue dress S", LONG), ("Red dress XL", LONG)),  # colour and size
        (("Navy blue dress", LONG), ("Red dress", LONG)),
        (("Платье синее", LONG), ("Платье красное", LONG)),
        ("ワンピース リネン ベルト 付き 青", "ワンピース リネン ベルト 付き 赤"),
        ("Kleid aus Leinen mit Gürtel weiß", "KLEID AUS LEINEN MIT GÜRTEL ROT"),
    ],
)
def test_texts_that_differ_by_a_word_or_by_two_of_the_name_are_near_duplicates(first, second):
    assert linked(first, second) and linked(second, first)


@pytest.mark.parametrize(
    "first, second",
    [
        ("Blue linen dress", "Red linen dress"),  # too little is left
        ("Linen wrap dress with belt blue S", "Linen wrap dress with belt red XL"),
        (("Dress", f"{LONG} blue S"), ("Dress", f"{LONG} red XL")),  # two, and not of the name
        (("Blue dress S new", LONG), ("Red dress XL old", LONG)),
        ("blue", "red"),
        ("blue", ""),
        ("", ""),
        ("!!!", "???"),
        (("", "<br>"), ("", None)),
    ],
)
def test_shorter_ones_are_not_nor_those_that_differ_by_more(first, second):
    assert not linked(first, second)


def test_for_the_question_whether_there_is_any_less_is_asked_of_short_texts():
    assert linked("Blue linen dress", "Red linen dress", twin_search.FINEST)
    assert not linked("Blue dress", "Red dress", twin_search.FINEST)
    assert not linked("Blue", "Red", twin_search.FINEST)


WORDS = st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=9, unique=True)


@given(WORDS, WORDS, st.tuples(st.integers(1, 4), st.integers(2, 8)))
def test_signatures_find_what_the_definition_says(first, second, least):
    """Of names alone: each may lose no word, one if that leaves `least[0]`, two if it leaves
    `least[1]`."""

    def leftovers(words):
        yield frozenset(words)
        for lost, left in ((1, least[0]), (2, least[1])):
            if len(words) - lost >= left:
                yield from map(frozenset, itertools.combinations(words, len(words) - lost))

    said = bool(set(leftovers(first)) & set(leftovers(second)))
    assert linked(" ".join(first), " ".join(second), least) == said


def test_of_a_long_name_the_last_words_may_differ_by_two():
    words = [f"w{i}" for i in range(30)]
    other = [*words[:-2], "blue", "XL"]
    assert linked(" ".join(words), " ".join(other))
    assert not linked(" ".join(words), " ".join(["blue", "XL", *words[2:]]))
    assert linked(" ".join(words), " ".join(["blue", *words[1:]]))  # one of them wherever it is


def test_a_huge_text_costs_no_more_than_its_words():
    huge = " ".join(f"w{i}" for i in range(200_000))
    assert linked(("Blue", huge), ("Red", huge))


def test_hashes_are_the_same_in_every_process():
    code = "from learning.near_duplicates import WordHashes; print(WordHashes()['Größe'])"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=REPO,
            capture_output=True,
            text=True,
            check=True,
            env=environment(PYTHONHASHSEED=str(seed)),
        ).stdout
        for seed in (1, 2)
    }
    assert found == {f"{near_duplicates.WordHashes()['Größe']}\n"}
    assert near_duplicates.WordHashes()["\udc80"] >= 0


def test_words_beyond_the_vocabulary_that_is_kept_have_their_hashes_all_the_same(monkeypatch):
    names = [(f"style {i // 2} has w{i // 2} x{i // 2} c{i % 2}", None) for i in range(40)]
    whole = near_duplicates.word_sets(names)
    monkeypatch.setattr(near_duplicates, "VOCABULARY", 3)
    assert (near_duplicates.word_sets(names).hashes == whole.hashes).all()


def test_sorted_in_parts_the_same_are_found(monkeypatch):
    rng = random.Random(1)
    names = [" ".join(rng.sample("abcdefghij", rng.randint(1, 9))) for _ in range(250)]
    texts = near_duplicates.word_sets((name, None) for name in names)
    whole = near_duplicates.components(np.arange(250), texts, (6, 8))
    monkeypatch.setattr(near_duplicates, "SORTED", 50)
    monkeypatch.setattr(near_duplicates, "CHUNK", 7)
    parts = near_duplicates.components(np.arange(250), texts, (6, 8))
    assert 1 < len(set(whole)) == len(set(parts)) == len(set(zip(whole, parts))) < 250


# ---- clusters -----------------------------------------------------------------------------------


def variants(styles, colours=3, words=6):
    """Names of so many styles in so many colours; no two styles share a word."""
    return [
        " ".join([*(f"s{style}w{i}" for i in range(words)), f"c{colour}"])
        for style in range(styles)
        for colour in range(colours)
    ]


def test_each_style_is_a_cluster_named_by_its_smallest_key_in_whatever_order_they_come():
    names = variants(50) + ["a b", "c d"]
    found = cluster_of(names)
    for style in range(50):
        own = names[3 * style : 3 * style + 3]
        assert {found[name] for name in own} == {min(db.group_key(name, None) for name in own)}
    assert len(found) == 150
    random.Random(2).shuffle(names)
    assert cluster_of(names) == found
    # and another style changes nothing of the others
    assert found.items() <= cluster_of([*names, *variants(52)[150:]]).items()


def test_products_of_a_group_count_once_and_link_what_each_of_them_is_near_to():
    names = [
        "Linen wrap dress with belt blue",
        "quite another text about it here",
        "Linen wrap dress with belt red",
        "quite another text about it there",
    ]
    assert cluster_of(names[:2], ["g", "g"]) == {}  # one group is no cluster
    assert cluster_of(names, ["b", "b", "a", "c"]) == dict.fromkeys(names, "a")


def chain(count, words=5):
    """Names each of which shares all but one word with the next."""
    return [" ".join(f"w{i + j}" for j in range(words)) for i in range(count)]


def test_a_chain_is_parted_into_its_groups_and_reported():
    most = near_duplicates.MOST_GROUPS
    assert len(set(cluster_of(chain(most)).values())) == 1
    names = [*chain(most + 1), *variants(1)]
    found = near_duplicates.find_clusters((i, name, name, "") for i, name in enumerate(names))
    assert found.ids == [most + 1, most + 2, most + 3]
    assert found.report == {
        "products": most + 4,
        "near-duplicates": 3,
        "styles": 1,
        "largest": 3,
        "chains": [most + 1],
    }
    first, second = near_duplicates.report_lines(found.report)
    assert (
        first
        == f"3 of {most + 4} products differ by at most a word or two from a product in another group: 1 style"
    )
    assert f"1 chain of near-duplicates, of {most + 1} groups" in second


def test_in_a_chain_a_style_with_a_longer_text_stays_together():
    names = chain(near_duplicates.MOST_GROUPS + 5)
    style = [f"{names[7]} long linen dress {colour}" for colour in ("blue", "red")]
    bridge = [f"{names[7]} long", f"{names[7]} long linen", f"{names[7]} long linen dress"]
    found = cluster_of([*names, *bridge, *style])
    assert found.keys() >= set(style) and not found.keys() & set(names[20:])
    assert found[style[0]] == found[style[1]]


def test_what_no_length_parts_is_parted_at_last():
    names = [" ".join(order) for order in itertools.islice(itertools.permutations("abcdef"), 150)]
    found = near_duplicates.find_clusters((i, name, name, "") for i, name in enumerate(names))
    assert found.ids == [] and found.report["chains"] == [150]


def test_a_chain_of_long_texts_is_parted_too():
    names = chain(150, words=200)
    found = near_duplicates.find_clusters((i, name, "", name) for i, name in enumerate(names))
    assert found.ids == [] and found.report["chains"] == [150]


def test_of_a_very_long_text_the_first_words_may_differ():
    words = [f"w{i}" for i in range(near_duplicates.LEFT_OUT + 50)]
    near, far = near_duplicates.LEFT_OUT - 1, near_duplicates.LEFT_OUT
    for place, linked in ((0, True), (near, True), (far, False), (len(words) - 1, False)):
        other = [*words[:place], "another", *words[place + 1 :]]
        texts = [(i, str(i), "", " ".join(text)) for i, text in enumerate((words, other))]
        assert near_duplicates.find_clusters(texts).ids == ([0, 1] if linked else [])


def test_random_words_hardly_link():
    rng = random.Random(1)
    names = [
        " ".join(f"w{rng.randrange(3000)}" for _ in range(rng.randrange(4, 9))) for _ in range(5000)
    ]
    assert len(cluster_of(names)) < 10


def test_an_empty_catalogue_has_no_clusters():
    assert near_duplicates.find_clusters([]).ids == []
    assert cluster_of(["", " ", "!"], ["a", "b", "c"]) == {}


def test_a_leaf_that_whole_clusters_would_leave_nothing_to_train_on_is_split_by_group(tmp_path):
    """All products of a leaf differ in their number alone."""
    rows = [
        (
            f"{n}",
            f"Leather bag of the house number {n}" if n % 2 else f"w{n} x{n} y{n} shoe",
            "",
            "Bags > Tote" if n % 2 else "Shoes > Boot",
            "",
            "",
        )
        for n in range(180)
    ]
    write_feed(tmp_path / "products.tsv", rows)
    for script, *more in (
        ("crawl", "--feed", "products.tsv"),
        ("categorize_words", "--min-products", "5", "--epochs", "1", "--folds", "3"),
    ):
        done = run_script(script, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (
        "90 of 180 products differ by at most a word or two from a product in another group: 1 style"
        in done.stderr
    )
    assert "nothing to train on in bags.tote: theirs are split by group" in done.stderr
    write_feed(
        tmp_path / "products.tsv",
        [
            (f"{n}", f"a{n} b{n} c{n} d{n}", "", f"Shoes > {leaf}", "", "")
            for n, leaf in enumerate(["Boot"] * 40 + ["Odd"])
        ],
    )
    run_script("crawl", "--feed", "products.tsv", "--db-path", "odd.db", cwd=tmp_path)
    done = run_script(
        "categorize_words",
        "--db-path",
        "odd.db",
        "--min-products",
        "1",
        "--folds",
        "10",
        cwd=tmp_path,
    )
    assert "1 of which can't be split" in done.stderr and "clusters" not in done.stderr
    assert query(tmp_path, "select count(*) from near_duplicate") == [(0,)]
    assert query(
        tmp_path,
        """select count(distinct fold) from predicted_category
                              where label_id = 'bags.tote'""",
    ) == [(3,)]
    assert "1 of these were split by group" in shown(tmp_path / "crawl.db", 1)


def test_clusters_with_some_products_are_left_out():
    names = variants(3)
    found = near_duplicates.find_clusters((i, name, name, "") for i, name in enumerate(names))
    less = near_duplicates.without(found, {4})
    assert less.ids == [0, 1, 2, 6, 7, 8] and len(set(less.keys)) == 2
    assert less.report == {**found.report, "parted for training": 1}


# ---- whether there is one among others ----------------------------------------------------------


def test_each_side_is_asked_by_itself():
    names = ["Blue linen dress", "Red linen dress", "Green leather boots", "Odd one out"]
    texts = near_duplicates.word_sets((name, None) for name in names)
    sides = np.array([[True, False, False, False], [False, True, True, False], [False] * 4])
    first, second, none = twin_search.among(texts, list(sides))
    assert first.tolist()[1:] == [True, False, False]
    assert second[[0, 3]].tolist() == [True, False]
    assert not none.any()


def test_a_new_product_is_near_what_shares_its_words_or_its_group(monkeypatch):
    monkeypatch.setattr(near_duplicates, "CHUNK", 2)
    labelled = [
        ("a", "Blue linen dress", ""),
        ("b", "Green leather boots", None),
        ("c", None, None),
        ("jeans", "Straight jeans of denim", ""),
    ]
    near = twin_search.seek(labelled)
    new = [
        ("x", "Red linen dress", None),
        ("y", "Red woollen coat", ""),
        ("b", "Black sandals", ""),
        ("z", "", None),
        ("v", "jeans", None),
        ("w", "BOOTS green leather", ""),
    ]
    assert near(new).tolist() == [True, False, True, False, False, True]
    assert not twin_search.seek([])(new).any()
    assert near([]).tolist() == []


def test_a_model_learns_from_what_is_in_its_leaves_by_a_persons_word_too(tmp_path):
    conn = db.open_database(tmp_path / "crawl.db", create=True)
    conn.executemany(
        """insert into product(id, source, external_id, group_key, name, category_id)
                        values (?, 's', ?, ?, ?, ?)""",
        [
            (i, i, f"g{i}", f"name {i}", leaf)
            for i, leaf in enumerate(["tote", "tote", "boot", "boot", None, "tote"])
        ],
    )
    conn.executemany(
        "insert into label_override values (?, ?, ?, ?, '')",
        [
            (1, "label wrong", "boot", "tote"),
            (2, "label wrong", "tote", "boot"),
            (4, "label wrong", "tote", None),
            (5, "label wrong", "boot", "sandal"),
        ],
    )  # lapsed

    def learned(folds, predicted, validated, own=()):
        rows = [
            [(i, "tote", 0.9, "tote", 0.9, "tote", 0.9, "[]", 0) for i in some]
            for some in (predicted, validated)
        ]
        number = model_folders.save_experiment(
            conn,
            tmp_path / "crawl.db",
            "Text",
            {"folds": folds},
            rows[0],
            [(*row, 1) for row in rows[1]],
            lambda folder: None,
            learned=own,
        )
        return [row[0] for row in catalogue_queries.learned_texts(conn, number, ["tote"])]

    # 5 has got its label since, and 3 and what is gone have lost theirs.
    assert learned(None, [], [], [0, 2, 3, 4, 99]) == ["g0", "g2", "g3", "g4"]
    assert learned(5, [0, 3], [], [0, 2, 3, 4]) == ["g0", "g2", "g3", "g4"]
    # Older experiments.
    assert learned(5, [0, 3], [0, 3]) == ["g0", "g3"]
    assert learned(None, [0], [2]) == ["g4", "g5"]
    conn.execute("update product set group_key = null where id = 4")
    assert learned(None, [0], [2]) == ["product 4", "g5"]
    conn.execute("update product set group_key = 'g4' where id = 4")
    assert list(learning_queries.catalogue(conn))[4] == (4, "g4", "name 4", None)
    conn.close()


# ---- the split, and what is stored --------------------------------------------------------------

KINDS = {"Jeans > Bootcut": "flared denim", "Jeans > Skinny": "narrow denim", "Bags > Tote": "hold"}
COLOURS = "black white blue red".split()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """150 styles in two colours each as rows of their own, split by cluster (1, with folds 2), by
    group (3, with folds 4), and two dozen products without a category: colours of the first twelve
    styles, and new styles."""
    folder, rng, rows = tmp_path_factory.mktemp("variants"), random.Random(5), []
    for style in range(162):
        leaf = rng.choice(list(KINDS))
        name = f"{KINDS[leaf]} model{style} of line{style} by house{style}"
        new = style >= 150
        for colour in COLOURS[: 1 if new else 3 if style < 12 else 2]:
            rows.append(
                (
                    f"{style}-{colour}",
                    f"{name} {colour}",
                    "",
                    leaf if not new and colour != "blue" else "",
                    "",
                    "",
                )
            )
    write_feed(folder / "products.tsv", rows)
    for script, *more in (
        ("crawl", "--feed", "products.tsv"),
        *(
            ("categorize_words", "--min-products", "5", "--split-by", by, *folds)
            for by in ("cluster", "group")
            for folds in ((), ("--folds", "4"))
        ),
        ("categorize_words", "--apply", "2"),
    ):
        done = run_script(script, *more, cwd=folder)
        assert done.returncode in (0, 1), done.stderr
        if more[-1] == "cluster":
            assert (
                "300 of 300 products differ by at most a word or two from a product in another group: 150 styles"
                in done.stderr
            )
    return folder


def query(folder, statement, *values):
    conn = sqlite3.connect(folder / "crawl.db")
    found = conn.execute(statement, values).fetchall()
    conn.close()
    return found


def styles(folder):
    return {
        number: name.split("-")[0]
        for number, name in query(folder, "select id, external_id from product")
    }


def test_styles_are_never_parted_by_cluster_and_often_by_group(shop):
    style = styles(shop)
    for number in (2, 4):
        folds = {}
        for product, fold in query(
            shop,
            """select product_id, fold from predicted_category
                                            where experiment_id = ?""",
            number,
        ):
            folds.setdefault(style[product], set()).add(fold)
        assert len(folds) == 150
        parted = sum(len(own) > 1 for own in folds.values())
        assert parted == 0 if number == 2 else parted > 75
    keys = dict(
        query(
            shop,
            """select product_id, cluster from near_duplicate
                               where experiment_id = 1""",
        )
    )
    for number, end in (("predicted_category", 0.1), ("validation_prediction", 0.2)):
        assert all(
            end - 0.1 <= split_position(keys[product]) < end
            for (product,) in query(
                shop, f"select product_id from {number} where experiment_id = 1"
            )
        )


def test_the_clusters_are_stored_with_the_experiment_and_go_with_it(shop, tmp_path):
    style = styles(shop)
    for number, some in ((1, 300), (2, 300), (3, 0), (4, 0)):
        rows = query(
            shop,
            """select product_id, cluster from near_duplicate
                              where experiment_id = ?""",
            number,
        )
        assert len(rows) == some
        of = {}
        for product, key in rows:
            of.setdefault(key, set()).add(style[product])
        assert all(len(own) == 1 for own in of.values()) and len(of) == (150 if some else 0)
    settings = [json.loads(own) for (own,) in query(shop, "select settings from experiment")]
    assert [own["split by"] for own in settings] == ["cluster", "cluster", "group", "group"]
    assert settings[0]["near-duplicates"]["styles"] == 150
    assert "near-duplicates" not in settings[2]
    conn = sqlite3.connect(":memory:", isolation_level=None)
    with sqlite3.connect(shop / "crawl.db") as source:
        source.backup(conn)
    conn.execute("pragma foreign_keys = on")
    conn.execute("delete from experiment where id = 1")
    assert conn.execute("select distinct experiment_id from near_duplicate").fetchall() == [(2,)]


def test_one_of_each_cluster_counts(shop):
    conn = db.open_readonly(shop / "crawl.db")
    for number, groups in ((2, 150), (4, 300)):
        _, rows = figures.read_predictions(conn, number)
        assert len(rows) == 300 and len(set(rows["group"].tolist())) == groups
    contents = list(
        experiment_queries.contents(conn, 2, ["jeans.bootcut", "jeans.skinny", "bags.tote"])
    )
    assert len({row[1] for row in contents}) == 150
    conn.close()


def test_each_prediction_says_whether_its_model_had_a_near_duplicate_in_training(shop):
    style = styles(shop)
    for number in (1, 2, 3, 4):
        rows = {
            table: query(
                shop,
                f"""select product_id, fold, twin from {table}
                                       where experiment_id = ?""",
                number,
            )
            for table in ("predicted_category", "validation_prediction")
        }
        place = {product: fold for product, fold, _ in rows["predicted_category"]}
        held = {(product, fold) for product, fold, _ in rows["validation_prediction"]}
        siblings = {}
        for product, label in query(shop, "select id, category_id from product"):
            if label:
                siblings.setdefault(style[product], []).append(product)
        for product, fold, twin in itertools.chain(*rows.values()):
            trained = [
                one
                for one in siblings[style[product]]
                if one != product and (one, fold) not in held and place.get(one) != fold
            ]
            assert twin == bool(trained), (number, product)
        share = np.mean([twin for _, _, twin in rows["predicted_category"]])
        assert share == 0 if number < 3 else share > 0.4


def test_each_answer_says_whether_the_saved_model_learned_from_a_near_duplicate(shop):
    assert query(
        shop,
        """select cast(external_id as integer) < 12, twin, count(*) from filing
                          join product on id = product_id group by 1, 2""",
    ) == [(0, 0, 12), (1, 1, 12)]


def shown(path, number):
    """What analyze.py --experiment prints."""
    conn = db.open_readonly(path)
    found = experiment_figures.describe(conn, number, 0.95)
    found["today"] = today.since_training(conn, number, found)
    found["levels"] = levels.by_level(conn, number, found)
    lines = "\n".join(experiment_report.experiment_text(found, 20))
    conn.close()
    return lines


def test_an_experiment_shows_how_it_was_split(shop):
    cluster, group = (shown(shop / "crawl.db", number) for number in (2, 4))
    assert "by clusters of near-duplicates" in cluster
    assert (
        "  300 of 300 products differ by at most a word or two from a product in another group: 150 styles\n"
        in cluster
    )
    assert "all but a word or two: 0 (0.00%)" in cluster
    assert "by group: near-duplicates" in group and "all but a word or two: 1" in group
    assert "near-duplicates: {" not in cluster


def test_an_experiment_of_before_is_shown_as_split_by_group(shop, tmp_path):
    path = tmp_path / "crawl.db"
    with sqlite3.connect(shop / "crawl.db") as source, sqlite3.connect(path) as own:
        source.backup(own)
        own.execute("update predicted_category set twin = null")
        own.execute("""update experiment set settings = json_remove(settings, '$."split by"',
                       '$."near-duplicates"')""")
    assert "Split\n  by group" in shown(path, 2) and "all but a word" not in shown(path, 2)
    with sqlite3.connect(path) as own:
        own.execute("""update experiment set settings = json_set(settings, '$."split by"',
                       'cluster', '$."near-duplicates"', json('{"chains": 3}'))""")
    assert "their number is not on record" in shown(path, 2)


def test_without_folds_a_cluster_is_kept_for_certifying_as_a_whole(shop):
    conn = db.open_readonly(shop / "crawl.db")
    kept = set(figures.read_predictions(conn, 1, certifying=True)[1]["product"].tolist())
    keys = dict(
        query(
            shop,
            """select product_id, cluster from near_duplicate
                               where experiment_id = 1""",
        )
    )
    labelled = {
        own for (own,) in query(shop, "select id from product where category_id is not null")
    }
    assert kept == {own for own in labelled if selection.certifies(keys[own])} != set()
    waiting = [
        row for rows in filing_queries.to_answer(conn, 1, ["jeans.bootcut"], 100) for row in rows
    ]
    assert all(row["cluster"] == keys.get(row["id"], row["group_key"]) for row in waiting)
    assert sum(row["id"] in keys for row in waiting) >= 12
    conn.close()
