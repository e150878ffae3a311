"""The discriminant of vectors: what it is in closed form, on few labels, and in awkward cases.

pytest tests/test_discriminant.py
"""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from learning import correctness, discriminant, layers, metrics, selection


def drawn(count, classes=4, size=6, seed=0, apart=2.0):
    """(vectors float32 [count, size], labels) of normal distributions that share a covariance."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(classes, size)) * apart
    spread = np.eye(size) + np.random.default_rng(98).normal(size=(size, size)) / 4
    labels = rng.integers(0, classes, count)
    return (means[labels] + rng.normal(size=(count, size)) @ spread).astype(np.float32), labels


def inputs_of(vectors, rows=None):
    rows = np.arange(len(vectors)) if rows is None else rows
    return layers.Inputs(bottlenecks=vectors, rows=rows)


def products_of(labels, groups=None):
    leaves = [f"c{i}" for i in range(labels.max() + 1)]
    groups = range(len(labels)) if groups is None else groups
    rows = [
        (i, leaves[label], f"g{group}", leaves[label])
        for i, (label, group) in enumerate(zip(labels, groups))
    ]
    return selection.make_products(rows, leaves, {})


def test_of_many_products_it_is_linear_discriminant_analysis():
    vectors, labels = drawn(4_000)
    rows = np.arange(3_000)
    weights = discriminant.fitted_weights(inputs_of(vectors), rows, labels, 4)
    found = layers.logits(weights, inputs_of(vectors), np.arange(3_000, 4_000))
    known = LinearDiscriminantAnalysis().fit(vectors[:3_000], labels[:3_000])
    expected = known.decision_function(vectors[3_000:])
    np.testing.assert_allclose(
        metrics.log_softmax(found / discriminant.SCALE), metrics.log_softmax(expected), 0.05, 0.1
    )
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.99


def test_the_shrinkage_is_that_of_ledoit_and_wolf():
    from sklearn.covariance import ledoit_wolf

    noise = np.random.default_rng(3).normal(size=(40, 30)) * np.linspace(0.5, 2, 30)
    noise -= noise.mean(axis=0)
    fourth = float((np.einsum("ij,ij->i", noise, noise) ** 2).sum())
    found = discriminant.shrunk(noise.T @ noise, fourth, 40)
    np.testing.assert_allclose(found, ledoit_wolf(noise, assume_centered=True)[0], rtol=1e-6)


def test_on_few_labels_its_scores_are_calibrated():
    """Of five labels a category in 40 dimensions the temperature is fitted on training products.
    They are held out from a fifth, so it errs on the careful side."""
    vectors, labels = drawn(3_000, classes=8, size=40, apart=1.0)
    products, rows = products_of(labels), np.arange(40)
    model = discriminant.discriminant(products, inputs_of(vectors))(rows, rows[:0], "")
    logs = metrics.log_softmax(model.scores(np.arange(40, 3_000)) / model.temperature)
    right = logs.argmax(axis=1) == labels[40:]
    assert -0.2 < np.exp(logs.max(axis=1)).mean() - right.mean() < 0.05


def test_twins_are_not_held_out_from_each_other():
    """Vectors are noise, and each product has a twin of the same vector and label: who sees the
    twin is right, and its scores would be taken for sure."""
    rng = np.random.default_rng(5)
    half = rng.normal(size=(300, 200)).astype(np.float32)
    lots = rng.integers(0, 3, 300)
    vectors, labels = np.repeat(half, 2, axis=0), np.repeat(lots, 2)
    rows = np.arange(600)

    def temperature(u):
        block = correctness.blind_members(u, discriminant.BLOCKS)
        logits = discriminant.held_out_logits(inputs_of(vectors), rows, labels, 3, block, rows)
        return metrics.fit_temperature(logits, labels)

    together = temperature(products_of(labels, rows // 2).u)
    apart = temperature(rng.random(600))
    assert together > 1.5 * apart


@pytest.mark.parametrize("count", (1, 2, 5))
def test_a_handful_of_products_gives_numbers(count):
    vectors, _ = drawn(count, size=30)
    labels = np.arange(count) % 2
    products = products_of(labels)._replace(leaves=["c0", "c1", "c2"])
    model = discriminant.discriminant(products, inputs_of(vectors))(np.arange(count), [], "")
    assert np.isfinite(model.scores(np.arange(count))).all() and model.temperature > 0


def test_vectors_that_are_all_the_same_say_only_how_frequent_a_category_is():
    vectors, labels = np.ones((10, 5), np.float32), np.array([0] * 7 + [1] * 3)
    model = discriminant.discriminant(products_of(labels), inputs_of(vectors))(
        np.arange(10), [], ""
    )
    chances = np.exp(metrics.log_softmax(model.scores(np.arange(1)) / discriminant.SCALE))[0]
    assert chances == pytest.approx([7.5 / 11, 3.5 / 11], abs=1e-3)


def test_chunks_and_the_order_of_rows_change_nothing(monkeypatch):
    vectors, labels = drawn(500)
    order = np.random.default_rng(1).permutation(500)
    shuffled = inputs_of(vectors[np.argsort(order)], order)
    whole = discriminant.fitted_weights(inputs_of(vectors), np.arange(500), labels, 4)
    monkeypatch.setattr(layers, "CHUNK", 7)
    parts = discriminant.fitted_weights(shuffled, np.arange(500), labels, 4)
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, rtol=1e-3, atol=1e-5)
