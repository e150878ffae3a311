"""Memory and work grow with one size, and not with the product of two: products and categories,
errors and words, runs and changes, leaves that are shut and leaves without a parent.

Each test fails on the code as it was before: it took 5 to 100 times as much.

    pytest tests/test_two_sizes.py
"""

import collections
import json
import sqlite3
import tracemalloc

import numpy as np
import pytest
from peak import peak_of_code
from scipy import sparse

import db
from evaluation import label_suspects, moves_together, recategorize_queries, shifts
from learning import experiments, layers, predictions, term_counts, text_classifier, text_features
from learning.selection import Products

pytestmark = pytest.mark.redteam


def drawn(count, leaves, seed=0):
    """(Products, whose labels are drawn, generator)."""
    rng = np.random.default_rng(seed)
    names = [f"leaf{leaf}" for leaf in range(leaves)]
    labels = rng.integers(leaves, size=count).astype(np.int32)
    parents = [f"top{leaf % 3}" for leaf in range(leaves)]
    return Products(np.arange(count), labels, labels, rng.random(count), names, parents), rng


def held(make):
    """(what make() returns, bytes that are in use more after it, bytes at its peak)."""
    tracemalloc.start()
    try:
        result = make()
        return result, *tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


# ---- training -----------------------------------------------------------------------------------


def test_a_prediction_takes_some_hundred_bytes_until_it_is_stored():
    count, leaves = 20_000, 12
    products, rng = drawn(count, leaves)
    logits = rng.normal(size=(count, leaves)).astype(np.float32)
    model = experiments.Fitted({}, [1], count, 1.5, lambda rows: logits[rows])
    result, now, _ = held(lambda: experiments.predict(products, np.arange(count), model, 3))
    assert now / count < 160  # 500 as a tuple with its texts
    rows = list(predictions.stored_rows(products, result[0]))
    said = predictions.answers(logits, 1.5, products.parents)
    assert [row[0] for row in rows] == list(range(count))
    for i in range(0, count, 1500):  # the borders of chunks are among these
        best = [products.leaves[leaf] for leaf in said.best[i]]
        assert rows[i][1] == best[0] and rows[i][2] == said.score[i, 0]
        assert rows[i][3:5] == (
            products.leaves[products.labels[i]],
            said.probability[i, products.labels[i]],
        )
        assert rows[i][5:7] == (said.names[said.parent[i]], said.parent_score[i])
        assert rows[i][8] == 3 and [leaf for leaf, _ in json.loads(rows[i][7])] == best


def test_of_test_pictures_the_scores_are_not_all_in_memory():
    """retrain.py's: 6,000 pictures with 5,000 labels have scores of 120 MB."""
    rng, count, labels = np.random.default_rng(0), 6000, 5000
    weights = {
        "kernel": rng.normal(size=(8, labels)).astype(np.float32),
        "bias": np.zeros(labels, np.float32),
        "bottleneck_mean": np.zeros(8, np.float32),
    }
    stored = rng.normal(size=(count, 8)).astype(np.float32)
    inputs = layers.Inputs(bottlenecks=stored, rows=np.arange(count))
    found, _, peak = held(lambda: layers.likeliest_classes(weights, inputs, np.arange(count)))
    assert peak < 80e6
    assert (found[::100] == (stored[::100] @ weights["kernel"]).argmax(axis=1)).all()


@pytest.mark.parametrize("leaves", (1, 2, 5, 9))
def test_of_few_leaves_all_are_stored(leaves):
    products, rng = drawn(50, leaves)
    logits = rng.normal(size=(50, leaves))
    stored = predictions.stored_rows(
        products, predictions.predicted(products, np.arange(50), logits, 1.0, 0)
    )
    for row in stored:
        assert len(json.loads(row[7])) == min(5, leaves) and row[1] == json.loads(row[7])[0][0]


def test_what_misled_takes_some_bytes_for_each_word_of_an_error():
    count, leaves, words, vocabulary = 1500, 400, 100, 5000
    products, rng = drawn(count, leaves)
    bag = sparse.csr_matrix(
        (
            np.ones(count * words, np.float32),
            rng.integers(vocabulary, size=count * words),
            np.arange(0, count * words + 1, words),
        ),
        (count, vocabulary),
    )
    names = np.array([f"word{number}" for number in range(vocabulary)], object)
    terms = term_counts.Terms(bag, names, np.zeros(vocabulary, np.uint8), 3, lambda: iter(()))
    weights = {
        "hidden_kernel": rng.normal(size=(vocabulary, layers.HIDDEN)).astype(np.float32),
        "hidden_bias": np.zeros(layers.HIDDEN, np.float32),
        "kernel": rng.normal(size=(layers.HIDDEN, leaves)).astype(np.float32),
        "bias": np.zeros(leaves, np.float32),
    }
    inputs = layers.Inputs(bag=bag, columns=np.arange(vocabulary))
    model = experiments.Fitted(weights, [1], count, 1.0, lambda rows: rows, inputs)
    guesses = np.where(np.arange(count) % 10, (products.labels + 1) % leaves, products.labels)
    result, now, _ = held(
        lambda: text_classifier.misled(products, terms, model, np.arange(count), guesses)
    )
    assert now / (count * words) < 20  # some hundred as a Counter for each word of a category
    expected = collections.Counter()
    for row in np.flatnonzero(guesses != products.labels):
        own = bag[row]
        said, _ = text_features.contributions(
            weights, own.indices, own.data, guesses[row], products.labels[row]
        )
        for column, logit in zip(own.indices, said):
            expected[products.labels[row], column] += float(logit)
    keys = list(expected)[::97]
    assert [result.said[key] for key in keys] == pytest.approx(
        [expected[key] for key in keys], rel=1e-3, abs=1e-3
    )
    assert result.taken.sum() == (guesses != products.labels).sum()


def test_shops_are_parted_by_one_query(tmp_path):
    """A query for each shop would compare all shops with all products."""
    conn = db.open_database(str(tmp_path / "crawl.db"), create=True)
    conn.executemany(
        "insert into product(id, source, external_id) values (?, ?, ?)",
        [(number, f"shop {number % 300}", str(number)) for number in range(1, 1201)],
    )
    asked = []
    conn.set_trace_callback(asked.append)
    products, rng = drawn(1201, 2)
    shares = rng.random(1201)
    rows = np.arange(1201)  # product 0 is gone
    measured = text_classifier.measured_unknown(conn, products, [(rows, shares)])["unknown words"]
    assert len(asked) == 1 and len(measured) == 301
    for shop in range(300):
        own = shares[1:][np.arange(1, 1201) % 300 == shop]
        assert measured[f"shop {shop}"] == [own.mean(), own.var()]
    assert measured[""] == [shares.mean(), shares.var()]


# ---- promises -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_samples_of_labelled_products_are_not_all_in_memory():
    rng, count = np.random.default_rng(0), 16_000
    answers, labels = np.arange(count), rng.integers(400, size=count)
    passed = np.ones((count, 1), bool)
    right = rng.random((count, 1)) < 0.9
    (found,), _, peak = held(
        lambda: shifts.right_in_mix(answers, labels, passed, right, np.ones(count))
    )
    assert peak < 150e6  # 236 MB with all 200 at once
    assert found.usual == right.mean() and found.estimated == pytest.approx(found.usual, abs=0.05)


@pytest.mark.parametrize("at_once", (1, 7, 199, 200, 10_000))
def test_as_many_samples_in_slices_as_at_once(at_once, monkeypatch):
    monkeypatch.setattr(shifts, "CELLS", 3 * at_once)
    count, new = np.array([50.0, 30, 20]), np.array([5.0, 5])
    by_answer = shifts.indicator(np.array([0, 1, 1]), 2)
    samples = list(shifts.mix_samples(count, new, by_answer, np.random.default_rng(0)))
    assert sum(old.shape[1] for old, _ in samples) == 1 + shifts.DRAWS
    assert max(old.shape[1] for old, _ in samples) <= at_once
    for old, explained in samples:
        assert (old.sum(axis=0) == 100).all() and (explained.sum(axis=0) == 10).all()
    assert (samples[0][0][:, 0] == count).all() and (samples[0][1][:, 0] == new).all()


# ---- suspects -----------------------------------------------------------------------------------


def test_the_best_leaves_of_all_predictions_are_not_read_at_once(tmp_path):
    conn, count = db.open_database(str(tmp_path / "crawl.db"), create=True), 5_000
    conn.execute("insert into experiment(id, name) values (1, 'Text')")
    top = [[f"category.with.a-long-name.{place}", 0.2] for place in range(5)]
    conn.executemany(
        "insert into predicted_category(experiment_id, product_id, top) values (1, ?, ?)",
        [(number, json.dumps(top[number % 5 :])) for number in range(count)],
    )
    codes = {}
    (leaves, probability), _, peak = held(lambda: label_suspects.best_leaves(conn, 1, codes, count))
    assert peak / count < 120  # 780 as the JSON of all
    assert list(codes) == [name for name, _ in top]
    assert leaves[0].tolist() == [0, 1, 2, 3, 4] and leaves[3].tolist() == [3, 4, 0, 0, 0]
    assert probability[3].tolist() == [0.2, 0.2, -1, -1, -1]


# ---- what takes a hundred times as long if it is a product of two sizes -------------------------

CPU_SECONDS = 20  # of a process, whatever the machine does beside
LIMIT = f"""
import resource
resource.setrlimit(resource.RLIMIT_CPU, ({CPU_SECONDS}, {CPU_SECONDS}))
"""
RUNS = """
import db
from learning import category_changes
conn = db.open_database("crawl.db", create=True)
conn.execute("begin")  # one transaction, not one a row
conn.executemany("insert into category(id, path, name, leaf) values (?, ?, ?, 1)",
                 [(f"c{own}", f"c{own}", f"name {own}") for own in range(20)])
conn.executemany(
    "insert into category_change(run, from_id, to_id, from_path, to_path) values (?, ?, ?, ?, ?)",
    [(run, f"c{own}", f"c{own}", f"was {own} {run}", "now") for run in range(1, 801)
     for own in range(20)])
paths = category_changes.paths_today(conn)
print(len(paths), paths["was 7 400"])
"""
CIRCLES = """
from evaluation import moves_together
chain = range(60_000)
print(moves_together.on_circles(chain[:-1], chain[1:], len(chain)).sum(),
      moves_together.on_circles(chain, [*chain[1:], 0], len(chain)).sum())
"""
SHUT = """
import numpy as np
from evaluation import certified_figures, figures, floors
import db
conn = db.open_database("crawl.db", create=True)
conn.execute("begin")  # one transaction, not one a row
names = [f"c{own:06}" for own in range(200_000)]
conn.executemany("insert into category(id, path, leaf) values (?, ?, 1)", [(n, n) for n in names])
conn.execute("insert into experiment(id, name, settings) values (1, 'Text', ?)",
             ('{"folds": 5, "tree": {"depth": null, "leaves only": false}}',))
floor = certified_figures.floor_of(conn, 1, 0.9, names)
rows = np.zeros(200_000, figures.ROW)
rows["predicted"] = rows["parent"] = range(200_000)
filed = floors.without_shut(rows, dict.fromkeys(range(200_000), (1, 0)), floor.lone)
print(int((filed["parent_score"] == -1).sum()), int((filed["score"] == -1).sum()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "code, printed",
    (
        pytest.param(RUNS, "16000 name 7", id="runs of --recategorize, and their changes"),
        pytest.param(CIRCLES, "0 60000", id="lines that wait for each other in a row"),
        pytest.param(SHUT, "200000 200000", id="leaves that are shut, and lone ones"),
    ),
)
def test_two_sizes_are_not_multiplied(code, printed, tmp_path):
    """Each takes a second or two of the processor; it took a minute and more."""
    done = peak_of_code(LIMIT + code, tmp_path, timeout=600)
    assert (done.status, done.stdout.strip()) == (0, printed), done.stderr


def test_lines_on_a_circle_and_no_others():
    # 0 -> 1 -> 2 -> 0 with 3 before it and 4 behind it, 5 to itself, 6 alone
    starts, ends = [0, 1, 2, 3, 2, 5], [1, 2, 0, 0, 4, 5]
    assert moves_together.on_circles(starts, ends, 7).tolist() == [True] * 3 + [False] * 2 + [
        True,
        False,
    ]
    assert moves_together.on_circles([], [], 2).tolist() == [False, False]


def steps_of_emptied(folder, categories):
    """How many hundred instructions SQLite takes to find out that a category is empty."""
    folder.mkdir()
    conn = db.open_database(str(folder / "crawl.db"), create=True)
    conn.executemany(
        "insert into category(id, parent, path, leaf) values (?, 'top', ?, 1)",
        [(f"c{own}", f"top/c{own}") for own in range(categories)],
    )
    taken = []
    conn.set_progress_handler(lambda: taken.append(1) and 0, 100)
    assert isinstance(recategorize_queries.emptied(conn, "c7"), sqlite3.Row)
    return len(taken)


def test_a_category_that_goes_is_found_empty_without_a_look_at_all_others(tmp_path):
    assert steps_of_emptied(tmp_path / "few", 50) == steps_of_emptied(tmp_path / "many", 5000) <= 2
