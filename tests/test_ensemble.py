"""Several networks trained in step: what their mean is, and what each of them has not seen.

Real TensorFlow on drawn numbers, and one run of the scripts; about 30 seconds.

    pytest tests/test_ensemble.py
"""

import argparse
import gc
import itertools

import numpy as np
import pytest
import scipy.sparse

from evaluation import filing_arguments
from learning import (
    correctness,
    experiment_arguments,
    experiments,
    fusion,
    inception,
    layers,
    metrics,
    steps,
    training,
)
from learning.selection import Part, Products

CLASSES, PRODUCTS, TERMS, SIZE = 3, 300, 40, 12
SIDES = np.arange(200), np.arange(200, 250), np.arange(250, 300)


@pytest.fixture(scope="module")
def toy():
    """Inputs of each kind and labels: words 0-2 and units 0-2 tell the class most of the time."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, PRODUCTS).astype(np.int32)
    shown = np.where(rng.random(PRODUCTS) < 0.2, rng.integers(0, CLASSES, PRODUCTS), labels)
    words = rng.random((PRODUCTS, TERMS)) < 0.15
    words[:, :CLASSES] = np.eye(CLASSES, dtype=bool)[shown]
    bag = scipy.sparse.csr_matrix(words.astype(np.float32))
    units = rng.normal(size=(PRODUCTS, SIZE)).astype(np.float32)
    units[:, :CLASSES] += 2 * np.eye(CLASSES, dtype=np.float32)[shown]
    vectors = rng.normal(size=(TERMS, 8)).astype(np.float32)
    rows = np.where(np.arange(PRODUCTS) % 10 == 9, -1, np.arange(PRODUCTS))
    return {
        "text": layers.Inputs(bag=bag),
        "text and vectors": layers.Inputs(bag=bag, embedding=vectors),
        "picture": layers.Inputs(bottlenecks=units, rows=rows),
        "both": layers.Inputs(bag=bag, bottlenecks=units, rows=rows),
    }, labels


def trained(toy, kind, labels=None, blind=None, validation=SIDES[1], **options):
    chosen = {"batch_size": 32, "max_epochs": 3, "members": 3, "adam_rate": 0.01, **options}
    inputs = toy[0][kind]
    labels = toy[1] if labels is None else labels
    options = training.Options(**chosen)
    return training.train(
        inputs, labels, CLASSES, SIDES[0], validation, options, blind=blind
    ), inputs


@pytest.mark.parametrize("kind", ("text", "text and vectors", "picture", "both"))
def test_the_mean_of_networks_is_one_network_with_the_mean_of_their_logits(toy, kind):
    model, inputs = trained(toy, kind, word_dropout=0.3, dropout=0.3, max_epochs=15)
    rows = np.arange(PRODUCTS)
    each = [layers.logits(weights, inputs, rows) for weights in model.members]
    assert len(each) == 3 and np.abs(each[0] - each[1]).max() > 0.01
    mean = layers.logits(model.weights, inputs, rows)
    np.testing.assert_allclose(mean, np.mean(each, axis=0), atol=1e-4)
    assert metrics.accuracy(mean[SIDES[2]].argmax(axis=1) == toy[1][SIDES[2]]) > 0.5


def test_a_member_learns_nothing_from_the_products_that_it_is_blind_to(toy):
    blind = np.arange(PRODUCTS) % 3
    other = toy[1].copy()
    other[blind == 1] = (other[blind == 1] + 1) % CLASSES
    none = SIDES[1][:0]
    first, _ = trained(toy, "text", blind=blind, validation=none)
    second, _ = trained(toy, "text", other, blind, none)
    for place, (one, two) in enumerate(zip(first.members, second.members)):
        same = all(np.array_equal(one[name], two[name]) for name in one)
        assert same == (place == 1)


def test_a_seed_makes_the_same_ensemble_again(toy):
    first, second, third = (trained(toy, "text", seed=seed)[0] for seed in (4, 4, 5))
    for name, array in first.weights.items():
        np.testing.assert_array_equal(array, second.weights[name])
    assert not np.array_equal(first.weights["kernel"], third.weights["kernel"])


@pytest.mark.parametrize("least", (1e-12, 0.9985))  # with the second all is weighed anew often
def test_only_rows_of_a_batchs_words_move_and_as_adam_without_momentum_has_it(least):
    tf = inception.load_tensorflow()
    rng = np.random.default_rng(0)
    start = rng.normal(size=(5, 4)).astype(np.float32)
    variable, power = tf.Variable(start), tf.Variable(1.0)
    move = steps.row_mover(variable, power, least)
    expected, square = start.astype(np.float64), np.zeros((5, 4))
    for turn, rows in enumerate(([0, 1], [1, 3], [0], [1, 3, 4]), start=1):
        power.assign(0.999**turn)
        values = rng.normal(size=(len(rows), 4)).astype(np.float32)
        move(tf.IndexedSlices(tf.constant(values), tf.constant(rows)), tf.constant(0.01))
        gradient = np.zeros((5, 4))
        gradient[rows] = values
        square = 0.999 * square + 0.001 * gradient**2
        expected -= 0.01 * gradient / (np.sqrt(square / (1 - 0.999**turn)) + 1e-7)
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(variable.numpy()[2], start[2])


@pytest.mark.parametrize("density", (0.3, 0))
def test_what_is_seen_of_words_and_its_gradient_are_those_of_dense_matrices(density):
    tf = inception.load_tensorflow()
    rng = np.random.default_rng(0)
    bag = scipy.sparse.random(6, 9, density, format="csr", random_state=1, dtype=np.float32)
    inputs, labels = layers.Inputs(bag=bag), np.zeros(6, np.int32)
    batch = training.batch_tensors(inputs, labels, np.arange(6), None, members=2)
    kernel = rng.normal(size=(9, 2 * 4)).astype(np.float32)
    given = rng.normal(size=(2, 6, 4)).astype(np.float32)

    @tf.function  # as a step calls it
    def both():
        seen, of_kernel = steps.words_seen(tf.constant(kernel), batch, 2)
        return seen, tf.convert_to_tensor(of_kernel(tf.constant(given)))

    seen, gradient = both()
    for place, columns in enumerate((slice(0, 4), slice(4, 8))):
        np.testing.assert_allclose(seen[place], bag @ kernel[:, columns], atol=1e-6)
        np.testing.assert_allclose(gradient[:, columns], bag.T @ given[place], atol=1e-6)


def test_a_training_that_is_over_is_not_kept_in_memory(toy):
    tf = inception.load_tensorflow()

    def graphs():
        gc.collect()
        all_graphs = [one for one in gc.get_objects() if isinstance(one, tf.Graph)]
        return sum(getattr(graph, "name", None) == "one_step" for graph in all_graphs)

    before = graphs()
    for kind in ("text", "both", "text"):
        trained(toy, kind, dropout=0.5, max_epochs=1)
    assert graphs() <= before + 1  # the last one may still be referred to; each was kept


def part(name, value, place):
    """What belongs to a member of three, of a variable, as if there were no others."""
    return np.split(value, 3, axis=1 if name == "hidden_kernel" else 0)[place]


def test_a_step_of_several_networks_moves_each_as_a_step_of_its_own_would(toy):
    """Gradient descent, in which nothing but the gradient counts; each has other products."""
    inputs, labels, rows = toy[0]["text and vectors"], toy[1], np.arange(60)
    blind = np.arange(PRODUCTS) % 3
    options = training.Options(members=3)
    together = training.first_variables(inputs, CLASSES, np.random.default_rng(0), options)
    before = {name: variable.numpy() for name, variable in together.items()}
    step = steps.make_step(together, steps.make_loss(together, 0, 0), 0.5, True)
    tensors = training.batch_tensors(inputs, labels, rows, None, members=3)
    total = step({**tensors, "shares": training.shares(rows, 3, blind)}, 0.001)
    tf, losses = inception.load_tensorflow(), []
    for place in range(3):
        alone = {name: tf.Variable(part(name, value, place)) for name, value in before.items()}
        seen = rows[blind[rows] != place]
        tensors = training.batch_tensors(inputs, labels, seen, None)
        step = steps.make_step(alone, steps.make_loss(alone, 0, 0), 0.5)
        losses.append(float(step({**tensors, "shares": training.shares(seen, 1, None)}, 0.001)))
        for name, variable in alone.items():
            moved = part(name, together[name].numpy(), place)
            np.testing.assert_allclose(moved, variable.numpy(), atol=1e-5, err_msg=name)
            assert not np.array_equal(moved, part(name, before[name], place))
    assert float(total) == pytest.approx(sum(losses), rel=1e-5)


def test_each_network_drops_words_of_its_own(toy):
    rows, rng = np.arange(100), np.random.default_rng(0)
    bag = toy[0]["text"].bag[rows].toarray()
    tensors = training.batch_tensors(toy[0]["text"], toy[1], rows, None, None, 0.5, rng, members=3)
    seen = np.zeros((3, 100, TERMS, 3), np.float32)  # member, product, term, member of the row
    below, place = tensors["places"].T
    seen[below // 100, below % 100, tensors["terms"][place // 3], place % 3] = tensors["values"]
    for place in range(3):
        assert not np.delete(seen[place], place, axis=2).any()
        own = seen[place, :, :, place]
        assert set(np.unique(own)) == {0, 2} and not own[bag == 0].any()
        assert (own != 0).sum() == pytest.approx(bag.sum() / 2, rel=0.2)
    assert not np.array_equal(seen[0, :, :, 0], seen[1, :, :, 1])


def products_of(labels):
    u = np.random.default_rng(5).random(len(labels))
    parents = ["top", "top", "shoes"]
    return Products(
        np.arange(len(labels)), labels, labels, u, [f"{parents[i]}.{i}" for i in range(3)], parents
    )


@pytest.mark.parametrize("members", (1, 3))
def test_an_experiment_of_an_ensemble_has_a_second_stage_and_one_network_has_none(toy, members):
    inputs, products = toy[0]["text"], products_of(toy[1])
    options = training.Options(batch_size=32, max_epochs=3, members=members, adam_rate=0.01)
    fit = experiments.network(products, lambda rows: inputs, options)
    parts = [Part(SIDES[0], SIDES[1], SIDES[1][:0], SIDES[2])]
    outcome = experiments.experiment(products, parts, fit)
    assert (outcome.model.right is not None) == (members > 1)
    logits = layers.logits(outcome.model.weights, inputs, SIDES[2])
    kept = {
        "categories": products.leaves,
        "parents": products.parents,
        "temperature": outcome.model.temperature,
        **correctness.described(outcome.model.right),
    }
    scores = np.exp(metrics.log_softmax(correctness.calibrated(logits, kept)))
    np.testing.assert_allclose(
        np.sort(scores, axis=1)[:, ::-1], outcome.predicted["score"][:, :3], atol=1e-9
    )
    assert outcome.settings["temperature"] == [outcome.model.temperature]


def test_after_folds_the_model_on_all_products_has_blind_answers_of_its_own(toy):
    inputs, products = toy[0]["text"], products_of(toy[1])
    options = training.Options(batch_size=32, max_epochs=2, members=2, adam_rate=0.01)
    fit = experiments.network(products, lambda rows: inputs, options)
    rows, none = np.arange(PRODUCTS), np.arange(0)
    models = [fit(SIDES[0], SIDES[1], "fold")]
    model = fit(rows, none, "all products", models)
    np.testing.assert_array_equal(model.blind.rows, rows)
    np.testing.assert_allclose(np.exp(model.blind.logs).sum(axis=1), 1, rtol=1e-4)
    assert experiments.judged(model, products).right is not None
    assert experiments.slim(model).blind is None


def test_the_second_stage_does_not_look_at_what_is_predicted(toy):
    inputs, options = toy[0]["text"], training.Options(batch_size=32, max_epochs=2, members=2)
    parts = [Part(SIDES[0], SIDES[1], SIDES[1][:0], SIDES[2])]
    kept = []
    for turned in (0, 1):
        labels = toy[1].copy()
        labels[SIDES[2]] = (labels[SIDES[2]] + turned) % CLASSES
        products = products_of(labels)
        fit = experiments.network(products, lambda rows: inputs, options)
        kept.append(experiments.experiment(products, parts, fit).model.right)
    assert all(level is not None for stage in kept for level in stage)
    for one, other in zip(itertools.chain(*kept[0]), itertools.chain(*kept[1]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_text_and_picture_are_fused_blindly_and_without_a_picture_the_text_speaks(toy):
    products = products_of(toy[1])
    rows = toy[0]["picture"].rows
    options = training.Options(batch_size=32, max_epochs=3, members=3, adam_rate=0.01)
    fit = fusion.fusion(
        products,
        experiments.network(products, lambda _: toy[0]["text"], options),
        experiments.network(products, lambda _: toy[0]["picture"], options),
        rows >= 0,
    )
    model = fit(SIDES[0], SIDES[1], "training")
    text, picture = (part.blind for part in model.parts)
    assert len(picture.rows) < len(text.rows) == len(SIDES[0])
    np.testing.assert_array_equal(model.blind.rows, SIDES[0])
    without = rows[SIDES[0]] < 0
    np.testing.assert_allclose(model.blind.logs[without], text.logs[without], atol=1e-5)
    place = np.searchsorted(picture.rows, SIDES[0][~without])
    expected = metrics.log_softmax(
        fusion.fuse(
            text.logs[~without],
            picture.logs[place],
            np.ones((~without).sum(), bool),
            model.weights["fusion"],
        )
    )
    np.testing.assert_allclose(model.blind.logs[~without], expected, atol=1e-5)
    assert experiments.judged(model, products).right is not None


def test_no_flag_of_filing_is_recorded_with_a_training():
    """All of them, whichever are added."""
    parser = argparse.ArgumentParser()
    filing_arguments.add_arguments(parser)
    flags = set(vars(parser.parse_args([])))
    experiment_arguments.add_arguments(parser)
    recorded = experiment_arguments.run_settings(parser.parse_args([]))["arguments"]
    assert flags and not flags & set(recorded) and recorded["ensemble"] == 5
