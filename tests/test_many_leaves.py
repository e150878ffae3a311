"""Scores of thousands of leaves: the same answers as all at once, and little memory."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from learning import experiments, layers, metrics, predictions, training
from learning.selection import Products


@pytest.mark.parametrize("count", (0, 1, 2730, 2731, 9000))
def test_slices_part_all_products(count):
    slices = list(metrics.slices(count, 1500))
    assert [row for part in slices for row in range(count)[part]] == list(range(count))
    assert all(part.stop - part.start <= metrics.CELLS // 1500 for part in slices)


def test_as_many_products_at_a_time_as_memory_allows():
    assert metrics.rows_at_once(2) == metrics.rows_at_once(1000) == metrics.CHUNK
    assert metrics.rows_at_once(2, most=5000) == 5000
    assert metrics.rows_at_once(8000) == metrics.CHUNK // 8
    assert metrics.rows_at_once(10**8) == 1


def network(classes, rng, terms=30):
    """Weights of a network over `terms` words."""
    return {
        "hidden_kernel": rng.normal(size=(terms, layers.HIDDEN)).astype(np.float32),
        "hidden_bias": np.zeros(layers.HIDDEN, np.float32),
        "kernel": rng.normal(size=(layers.HIDDEN, classes)).astype(np.float32),
        "bias": np.zeros(classes, np.float32),
    }


def bags(count, rng, terms=30):
    """Inputs of `count` products."""
    return layers.Inputs(bag=sparse.csr_matrix(rng.random((count, terms), np.float32)))


def test_an_evaluation_in_parts_is_that_of_all_products():
    rng, classes, count = np.random.default_rng(0), 2000, 5000
    weights, inputs = network(classes, rng), bags(count, rng)
    labels, rows = rng.integers(classes, size=count), np.arange(count)
    scores = layers.logits(weights, inputs, rows)
    loss, accuracy = training.evaluate(weights, inputs, labels, rows)
    assert loss == pytest.approx(metrics.nll(scores, labels))
    assert accuracy == metrics.accuracy(scores.argmax(axis=1) == labels)


def test_the_temperature_of_a_sample_is_near_that_of_all_products():
    rng, classes, count = np.random.default_rng(0), 20, 6000
    weights, inputs, rows = network(classes, rng), bags(count, rng), np.arange(count)
    chance = np.exp(metrics.log_softmax(layers.logits(weights, inputs, rows) / 3))
    labels = np.array([rng.choice(classes, p=row / row.sum()) for row in chance.astype(float)])
    of_all = training.fitted_temperature(weights, inputs, labels, rows, seed=0)
    of_sample = training.fitted_temperature(weights, inputs, labels, rows, 0, most_scores=1)
    assert of_sample != of_all == pytest.approx(3, rel=0.1)
    assert of_sample == pytest.approx(of_all, rel=0.15)


@pytest.mark.slow
def test_a_temperature_fitted_in_parts_is_that_of_the_formula():
    rng, classes, count = np.random.default_rng(1), 3000, 1500  # in two parts
    logits = rng.normal(scale=4, size=(count, classes))
    labels = np.where(rng.random(count) < 0.5, logits.argmax(axis=1), rng.integers(classes))
    found = metrics.fit_temperature(logits, labels)

    def loss(temperature):
        return metrics.nll(logits / temperature, labels) + 2 * np.log(temperature) ** 2 / count

    assert loss(found) < min(loss(found * 1.01), loss(found / 1.01))


@pytest.mark.parametrize("leaves", (1, 3, 5, 40))
def test_the_likeliest_are_those_of_a_stable_sort(leaves):
    probability = np.random.default_rng(leaves).integers(8, size=(200, leaves)) / 8  # many ties
    expected = np.argsort(-probability, axis=1, kind="stable")[:, :5]
    assert (predictions.likeliest(probability, 5) == expected).all()


def test_a_parent_has_the_sum_of_its_leaves():
    rng = np.random.default_rng(0)
    logits, parents = rng.normal(size=(50, 12)), [f"top {leaf % 5}" for leaf in range(12)]
    said = predictions.answers(logits, 2.0, parents)
    sums = np.stack(
        [said.probability[:, place::5].sum(axis=1) for place in range(5)], axis=1
    )  # in the order of the parents' names
    assert [said.names[parent] for parent in said.parent] == [
        f"top {best}" for best in sums.argmax(axis=1)
    ]
    assert said.parent_score == pytest.approx(sums.max(axis=1))


def measured_prediction(count, leaves, parents):
    """(rows of predicted_category, peak bytes) of `count` products' predictions."""
    rng = np.random.default_rng(0)
    names = [f"leaf{leaf}" for leaf in range(leaves)]
    labels = rng.integers(leaves, size=count).astype(np.int32)
    products = Products(np.arange(count), labels, labels, rng.random(count), names, parents(names))
    weights, inputs = network(leaves, rng), bags(count, rng)
    model = experiments.Fitted(
        weights, [1], count, 1.5, lambda rows: layers.logits(weights, inputs, rows)
    )
    tracemalloc.start()
    predicted, guesses, judged = experiments.predict(products, np.arange(count), model, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(predicted) == len(guesses) == sum(part.best.shape[1] for part in judged) == count
    return predicted, peak


@pytest.mark.parametrize(
    "parents",
    (lambda names: [f"top {len(name)}" for name in names], list),
    ids=("few parents", "each its own parent"),
)
def test_memory_does_not_grow_with_leaves_times_products(parents):
    # All scores of 3,000 products in 5,000 leaves are 120 MB, and there are several such arrays.
    _, peak = measured_prediction(3000, 5000, parents)
    assert peak < 230e6
