"""What ten million products need is counted on a few thousand: each table is read once when a file
is opened, and what is kept of a product is a few bytes.

Each test fails on the code as it was before. benchmarks/ten_million.py measures the whole.

    pytest tests/test_ten_million.py
"""

import tracemalloc

import numpy as np
import pytest

import db
from crawling import picture_queries
from evaluation import experiment_queries, figures, queries
from learning import category_tree, near_duplicates, selection

pytestmark = pytest.mark.redteam


@pytest.fixture
def shop(tmp_path):
    """A database of 4,000 products in 20 leaves, each with a picture of its own."""
    conn = db.open_database(str(tmp_path / "crawl.db"), create=True)
    leaves = [f"a-long-name-of-a-top.a-long-name-of-a-leaf-{leaf}" for leaf in range(20)]
    conn.executemany("insert into category(id, path, leaf) values (?1, ?1, 1)", zip(leaves))
    conn.executemany(
        """insert into product(id, source, external_id, category_id, group_key, name)
           values (?1, 'feed', ?1, ?2, ?3, ?4)""",
        [
            (number, leaves[number % 20], f"{number:040x}", f"name {number}")
            for number in range(1, 4001)
        ],
    )
    conn.execute("""insert into picture(product_id, path, sha256, status)
                    select id, 'ab/' || id || '.jpg', printf('%064x', id), 'ok' from product""")
    return conn


def steps(conn, work):
    """How many hundred instructions SQLite takes for work()."""
    taken = []
    conn.set_progress_handler(lambda: taken.append(1) and 0, 100)
    work()
    conn.set_progress_handler(None, 0)
    return len(taken)


def test_an_open_file_has_each_table_read_once_for_all_columns(shop, tmp_path):
    asked = []
    path = str(tmp_path / "crawl.db")
    conn = db.connect(path, "ro")
    conn.set_trace_callback(asked.append)
    db.check_whole(conn, path, db.own_columns())
    for table in ("product", "picture", "category"):
        reading = [said for said in asked if f" from {table} where" in said]
        assert len(reading) == 1, reading  # one for each column


def test_products_to_learn_take_some_bytes_each(shop):
    wanted = selection.Wanted([], 1, 10)
    leaves = [row["id"] for row in db.categories(shop)]
    category_tree.counts_as(shop, wanted.rule)
    tracemalloc.start()
    try:
        products = selection.read_products(shop, wanted, leaves)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(products.ids) == 4000 and products.labels.tolist() == products.taught.tolist()
    assert peak / 4000 < 150 and now / 4000 < 60  # 600 as rows with their texts


def test_a_cluster_moves_its_products_alone():
    rows = [(number, "a", f"g{number}", "a") for number in range(6)]
    products = selection.make_products(rows, ["a"], {})
    near = near_duplicates.Clusters([1, 4, 77], ["g1", "g1", "g1"], {})
    clustered = selection.by_cluster(products, near)
    expected = products.u.copy()
    expected[4] = products.u[1]
    assert clustered.u.tolist() == expected.tolist() and clustered.near is near
    assert products.u[4] != products.u[1]


def test_of_pictures_that_no_other_product_has_nothing_more_is_asked(shop):
    shop.execute("update picture set sha256 = 'shared' where product_id <= 20")
    alone = steps(shop, lambda: shop.execute("select sum(sha256 > '') from picture").fetchone())
    assert picture_queries.set_placeholders(shop, 20) == 20
    taken = steps(shop, lambda: picture_queries.set_placeholders(shop, 20))
    assert taken < 5 * alone, (taken, alone)


def test_signatures_are_not_computed_for_ever_more_parts(monkeypatch):
    """Each text's signatures are computed once for each part of them that is sorted."""
    monkeypatch.setattr(near_duplicates, "SORTED", 200)
    computed, compute = [], near_duplicates.signatures
    monkeypatch.setattr(
        near_duplicates,
        "signatures",
        lambda texts, rows, least: (
            computed.append(rows.stop - rows.start) or compute(texts, rows, least)
        ),
    )
    rng = np.random.default_rng(0)
    for count in (200, 3200):
        texts = [
            (number, f"g{number}", "", " ".join(f"word{n}" for n in rng.integers(9999, size=8)))
            for number in range(count)
        ]
        texts.append((-1, "same", *texts[0][2:]))
        computed.clear()
        found = near_duplicates.find_clusters(texts)
        assert found.ids == [0, -1] and found.keys == ["g0", "g0"]
        assert sum(computed) / len(texts) <= near_duplicates.MOST_PARTS  # 256 of 3,200


def test_predictions_are_read_beside_their_products(shop):
    """In the order of their scores each row would be on another page, of both tables."""
    shop.execute("insert into experiment(id, name, settings) values (1, 'Text', '{}')")
    shop.execute("""insert into predicted_category(experiment_id, product_id, category_id, label_id,
                        score, label_score, top, fold, twin)
                    select 1, id, category_id, category_id, abs(random() % 1000) / 1000.0, 0.5,
                        '[]', 0, 0 from product""")
    asked = []
    shop.set_trace_callback(asked.append)
    names, rows = figures.read_predictions(shop, 1)
    assert len(queries.graded(shop, 1).fetchall()) == len(rows) == 4000
    assert len(list(queries.best_five(shop, 1))) == 4000
    assert experiment_queries.near_trained(shop, 1) == []
    assert len(figures.block_scores(shop, 1)[0]) == 4000
    shop.set_trace_callback(None)
    plans = [
        row["detail"]
        for said in asked
        if "predicted_category" in said
        for row in shop.execute(f"explain query plan {said}")
        if "predicted_category_by" in row["detail"]
    ]
    assert len(plans) >= 5
    assert not [plan for plan in plans if "USING INDEX predicted_category_by_score" in plan]
