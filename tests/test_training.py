"""The network on top: what a step of training does, when it stops, and what a saved model holds.

Real TensorFlow on drawn numbers; about 25 seconds.

    pytest tests/test_training.py
    pytest tests/test_training.py -k "adam or gradient"
"""

import collections
import itertools
import math
import re

import numpy as np
import pytest
import scipy.sparse

from common.terminal import UserError
from learning import inception, layers, metrics, training

CLASSES, PRODUCTS, TERMS, SIZE = 3, 300, 40, 12
KINDS = ("text", "vectors", "text and vectors", "picture", "both")
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def toy():
    """Inputs of each kind and labels: words 0-2 and units 4, 6 and 10 tell the class; one unit is
    dead, the scales of the others are 10,000 apart, every tenth product has no picture."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, PRODUCTS).astype(np.int32)
    words = rng.random((PRODUCTS, TERMS)) < 0.15
    words[:, :CLASSES] = np.eye(CLASSES, dtype=bool)[labels]
    bag = scipy.sparse.csr_matrix(words.astype(np.float32))
    units = rng.normal(size=(PRODUCTS, SIZE))
    units[:, [4, 6, 10]] += 4 * np.eye(CLASSES)[labels]
    units = units * np.logspace(-2, 2, SIZE) + 5
    units[:, 7] = 0
    rows = rng.permutation(PRODUCTS)
    stored = np.zeros((PRODUCTS, SIZE), np.float32)
    stored[rows] = units
    missing = np.where(np.arange(PRODUCTS) % 10 == 9, -1, rows)
    vectors = rng.normal(size=(TERMS, 8)).astype(np.float32)
    vectors[:CLASSES] *= 5
    return {
        "text": layers.Inputs(bag=bag),
        "vectors": layers.Inputs(bag=bag, embedding=vectors, alone=True),
        "text and vectors": layers.Inputs(bag=bag, embedding=vectors),
        "picture": layers.Inputs(bottlenecks=stored, rows=rows),
        "both": layers.Inputs(bag=bag, bottlenecks=stored, rows=missing),
    }, labels


SIDES = np.arange(200), np.arange(200, 250), np.arange(250, 300)


def trained(toy, kind, **options):
    inputs, labels = toy[0][kind], toy[1]
    options = training.Options(**{"batch_size": 32, "max_epochs": 100, "seed": 1, **options})
    return training.train(inputs, labels, CLASSES, SIDES[0], SIDES[1], options), inputs, labels


def tensors(inputs, labels, rows, statistics):
    """What a step of one network takes."""
    return {
        **training.batch_tensors(inputs, labels, rows, statistics),
        "shares": training.shares(rows, 1, None),
    }


def keras_logits(weights, inputs):
    """The same network out of Keras' own layers."""
    keras = inception.load_tensorflow().keras
    ins, parts, given = [], [], []
    if "hidden_kernel" in weights:
        ins.append(keras.Input((len(weights["hidden_kernel"]),)))
        hidden = keras.layers.Dense(100, activation="relu")
        parts.append(hidden(ins[-1]))
        hidden.set_weights([weights["hidden_kernel"], weights["hidden_bias"]])
        given.append(inputs.bag.toarray())
    if "bottleneck_mean" in weights:
        ins.append(keras.Input((len(weights["bottleneck_mean"]),)))
        parts.append(ins[-1])
        given.append(
            np.where(
                inputs.rows[:, None] < 0,
                weights["bottleneck_mean"],
                inputs.bottlenecks[inputs.rows],
            )
        )
    last = keras.layers.Dense(len(weights["bias"]))
    out = last(keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0])
    last.set_weights([weights["kernel"], weights["bias"]])
    return keras.Model(ins, out).predict(given if len(given) > 1 else given[0], verbose=0)


@pytest.mark.parametrize(
    "kind",
    # "text and vectors" and "both" have the same layers beside others.
    [pytest.param(kind, marks=SLOW if kind in ("text", "vectors") else ()) for kind in KINDS],
)
def test_it_learns_and_numpy_gives_what_keras_gives(toy, kind):
    model, inputs, labels = trained(toy, kind)
    scores = layers.logits(model.weights, inputs, np.arange(PRODUCTS))
    assert metrics.accuracy(scores[SIDES[2]].argmax(axis=1) == labels[SIDES[2]]) > 0.9
    np.testing.assert_allclose(scores, keras_logits(model.weights, inputs), rtol=1e-3, atol=1e-3)
    assert (
        metrics.nll(scores[SIDES[1]] / model.temperature, labels[SIDES[1]])
        <= metrics.nll(scores[SIDES[1]], labels[SIDES[1]]) + 1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_training_sees_the_loss_that_the_saved_weights_have(toy, kind):
    inputs, labels = toy[0][kind], toy[1]
    rng, rows = np.random.default_rng(0), np.arange(0, PRODUCTS, 3)
    variables = training.first_variables(inputs, CLASSES, rng, training.Options())
    statistics = (
        layers.bottleneck_statistics(inputs, rows) if inputs.bottlenecks is not None else None
    )
    step = training.make_step(variables, training.make_loss(variables, 0, 0), 0.1)
    for _ in range(3):
        weights = layers.mean_of(training.usable_weights(variables, inputs, statistics))
        expected = metrics.nll(layers.logits(weights, inputs, rows), labels[rows])
        loss = step(tensors(inputs, labels, rows, statistics), 0.001)
        assert float(loss) == pytest.approx(expected, rel=1e-3)


def test_standardising_uses_the_training_products_with_a_picture_and_no_others(toy):
    inputs = toy[0]["both"]
    rows = np.arange(50, 150)
    seen = inputs.bottlenecks[[inputs.rows[row] for row in rows if row % 10 != 9]]
    mean, deviation = layers.bottleneck_statistics(inputs, rows)
    assert len(seen) == 90 and mean == pytest.approx(seen.mean(axis=0), rel=1e-4)
    spread = seen.std(axis=0)
    floor = 0.1 * np.median(spread[spread > 0])
    assert deviation == pytest.approx(np.maximum(seen.std(axis=0), floor), rel=1e-3)
    assert deviation[7] > 0  # the dead unit


def test_a_product_without_a_picture_is_answered_from_its_words(toy):
    model, inputs, labels = trained(toy, "both")
    blind = inputs._replace(rows=np.full(PRODUCTS, -1))
    guess = layers.logits(model.weights, blind, SIDES[2]).argmax(axis=1)
    assert metrics.accuracy(guess == labels[SIDES[2]]) > 0.7  # a third by chance


def test_a_text_without_a_known_word_is_answered(toy):
    model, inputs, _ = trained(toy, "text")
    empty = layers.Inputs(bag=scipy.sparse.csr_matrix((4, TERMS), dtype=np.float32))
    scores = layers.logits(model.weights, empty, np.arange(4))
    assert np.isfinite(scores).all() and (scores == scores[0]).all()
    some = layers.Inputs(
        bag=scipy.sparse.csr_matrix(inputs.bag.multiply((np.arange(PRODUCTS) % 2)[:, None]))
    )  # half of the training texts are empty
    none = layers.Inputs(bag=scipy.sparse.csr_matrix((PRODUCTS, 0), dtype=np.float32))
    for given, members in itertools.product(
        (some, layers.Inputs(bag=scipy.sparse.csr_matrix(some.bag.shape, dtype=np.float32)), none),
        (1, 2),
    ):
        options = training.Options(max_epochs=2, members=members)
        model = training.train(given, toy[1], CLASSES, *SIDES[:2], options)
        assert all(np.isfinite(part).all() for part in model.weights.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_makes_training_repeatable(toy, kind):
    options = {"max_epochs": 2, "dropout": 0.5 if kind != "picture" else 0}
    one, two, other = (trained(toy, kind, seed=seed, **options)[0] for seed in (5, 5, 6))
    assert one.temperature == two.temperature
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, two.weights[name])
    assert (one.weights["kernel"] != other.weights["kernel"]).any()


def test_gradient_descent_takes_the_step_that_calculus_says():
    """From equal logits the gradient is x (softmax - onehot); one product, one step of .5."""
    tf = inception.load_tensorflow()
    variables = {
        "kernel": tf.Variable(np.zeros((1, 2, 2), np.float32)),
        "bias": tf.Variable(np.zeros((1, 2), np.float32)),
    }
    step = training.make_step(variables, training.make_loss(variables, 0, 0), 0.5)
    pictures = np.array([[1, 3]], np.float32)
    batch = {"pictures": pictures, "labels": np.array([0], np.int32)}
    loss = step({**batch, "shares": np.ones((1, 1), np.float32)}, 0.001)
    assert float(loss) == pytest.approx(math.log(2))
    assert variables["kernel"].numpy()[0] == pytest.approx(np.array([[0.25, -0.25], [0.75, -0.75]]))
    assert variables["bias"].numpy()[0] == pytest.approx(np.array([0.25, -0.25]))


def test_learning_rate_nought_is_adam_as_keras_has_it(toy):
    tf = inception.load_tensorflow()
    inputs, labels = toy[0]["text"], toy[1]
    start = layers.initial_weights(inputs, CLASSES, np.random.default_rng(0))
    variables = training.first_variables(
        inputs, CLASSES, np.random.default_rng(0), training.Options()
    )
    step = training.make_step(variables, training.make_loss(variables, 0, 0), 0.0)
    theirs = [tf.Variable(value) for value in start.values()]
    adam = tf.keras.optimizers.Adam(0.001, epsilon=1e-7)
    for turn in range(5):
        rows = np.arange(40) + 40 * turn
        step(tensors(inputs, labels, rows, None), 0.001)
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(inputs.bag[rows].toarray() @ theirs[0] + theirs[1])
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels[rows], hidden @ theirs[2] + theirs[3]
                )
            )
        adam.apply_gradients(zip(tape.gradient(loss, theirs), theirs))
    for mine, other in zip(variables.values(), theirs):
        np.testing.assert_allclose(mine.numpy().reshape(other.shape), other.numpy(), atol=1e-5)


def test_it_stops_when_validation_gains_nothing_and_keeps_the_best_weights(toy, capsys):
    inputs = toy[0]["text"]
    noise = np.random.default_rng(0).integers(0, CLASSES, PRODUCTS).astype(np.int32)
    model = training.train(
        inputs,
        noise,
        CLASSES,
        *SIDES[:2],
        training.Options(batch_size=20, max_epochs=200, patience=3),
    )
    assert model.steps < 1_000 and f"kept step {model.steps} of " in capsys.readouterr().err
    kept = metrics.nll(layers.logits(model.weights, inputs, SIDES[1]), noise[SIDES[1]])
    short = training.train(
        inputs,
        noise,
        CLASSES,
        *SIDES[:2],
        training.Options(batch_size=20, max_steps=model.steps, patience=3, evaluate_every=10),
    )
    again = metrics.nll(layers.logits(short.weights, inputs, SIDES[1]), noise[SIDES[1]])
    assert kept == pytest.approx(again)


def test_training_that_runs_away_is_one_sentence_and_no_experiment_of_nans(toy):
    with pytest.raises(UserError, match="--learning_rate"):
        trained(toy, "picture", learning_rate=1e38)


# ---- the options of text -------------------------------------------------------------------------


def test_the_rate_falls_in_a_straight_line_to_nothing(toy, monkeypatch):
    rates, make_step = [], training.make_step

    def watched(*args):
        step = make_step(*args)
        return lambda batch, rate: rates.append(float(rate)) or step(batch, rate)

    monkeypatch.setattr(training, "make_step", watched)
    trained(toy, "text", batch_size=50, max_epochs=2, decay=True, adam_rate=0.008)
    assert rates == pytest.approx([0.008 - i * 0.001 for i in range(8)])
    rates.clear()
    trained(toy, "text", batch_size=50, max_epochs=1, adam_rate=0.003)
    assert rates == pytest.approx([0.003] * 4)


def test_word_dropout_drops_its_share_of_terms_and_leaves_the_inputs_alone(toy):
    inputs, labels = toy[0]["text"], toy[1]
    before, rows = inputs.bag.copy(), np.arange(200)
    rng = np.random.default_rng(0)
    values = training.batch_tensors(inputs, labels, rows, None, None, 0.25, rng)["values"]
    assert values == pytest.approx(np.full(len(values), 1 / 0.75)) and values.dtype == np.float32
    assert len(values) == pytest.approx(0.75 * before[rows].nnz, rel=0.06)
    assert (inputs.bag != before).nnz == 0
    assert values.sum() == pytest.approx(before[rows].sum(), rel=0.06)


def test_as_in_2016_it_goes_on_to_the_end_and_the_last_weights_count(toy):
    noise = np.random.default_rng(0).integers(0, CLASSES, PRODUCTS).astype(np.int32)
    options = training.Options(batch_size=32, max_epochs=5, patience=0, start="2016", seed=1)
    model = training.train(toy[0]["text"], noise, CLASSES, *SIDES[:2], options)
    assert model.steps == 5 * 7
    start = layers.initial_weights(toy[0]["text"], CLASSES, np.random.default_rng(1), "2016")
    for name, fan_in in (
        ("hidden_kernel", TERMS),
        ("hidden_bias", TERMS),
        ("kernel", 100),
        ("bias", 100),
    ):
        assert 0.8 * fan_in**-0.5 < np.abs(start[name]).max() <= fan_in**-0.5 or name == "bias"
        assert np.abs(start[name]).max() > 0


def test_each_epoch_is_a_line_with_losses_accuracy_and_the_time_left(toy, capsys):
    trained(toy, "text", max_epochs=3, patience=9)
    said = [line for line in capsys.readouterr().err.splitlines() if "epoch" in line]
    assert len(said) == 3
    for number, line in enumerate(said, 1):
        assert re.fullmatch(
            rf"training: epoch {number} of 3, loss [\d.]+, validation loss [\d.]+, "
            r"validation accuracy [\d.]+%, at most \d+ s left",
            line,
        )


# ---- what retrain.py hands in ------------------------------------------------------------------


@pytest.mark.parametrize("batch_size, steps", [(32, 28), (200, 3), (7, 40), (150, 5)])
def test_pictures_are_asked_for_once_an_epoch_each_by_the_epochs_number(toy, batch_size, steps):
    inputs, labels = toy[0]["picture"], toy[1]
    asked = collections.defaultdict(list)

    def pictures(rows, epoch):
        asked[epoch] += rows.tolist()
        assert len(rows) <= batch_size
        return inputs.bottlenecks[inputs.rows[rows]]

    training.train(
        inputs,
        labels,
        CLASSES,
        *SIDES[:2],
        training.Options(batch_size=batch_size, max_steps=steps, evaluate_every=3, patience=99),
        pictures=pictures,
    )
    whole, rest = divmod(steps, math.ceil(200 / batch_size))
    assert sorted(asked) == list(range(whole + (rest > 0)))
    for epoch in range(whole):
        assert sorted(asked[epoch]) == list(range(200))
    for epoch in range(whole, len(asked)):
        assert len(set(asked[epoch])) == len(asked[epoch]) < 200


def test_distorted_pictures_are_computed_for_one_step_at_a_time(toy):
    """An interrupt would wait for those of a step ahead, which take minutes."""
    inputs, labels = toy[0]["picture"], toy[1]
    asked, seen = [], []

    def pictures(rows, epoch):
        asked.append(rows)
        return inputs.bottlenecks[inputs.rows[rows]]

    training.train(
        inputs,
        labels,
        CLASSES,
        *SIDES[:2],
        training.Options(batch_size=20, max_steps=9, evaluate_every=1, patience=99),
        pictures=pictures,
        watch=lambda step, *figures: seen.append((step, len(asked))),
    )
    assert seen == [(step, step) for step in range(1, 10)]


def test_the_order_of_the_pictures_is_drawn_anew_in_each_epoch(toy):
    inputs, labels = toy[0]["picture"], toy[1]
    asked = []

    def pictures(rows, epoch):
        asked.append(rows.tolist())
        return inputs.bottlenecks[inputs.rows[rows]]

    training.train(
        inputs,
        labels,
        CLASSES,
        *SIDES[:2],
        training.Options(batch_size=200, max_steps=3),
        pictures=pictures,
    )
    assert len({tuple(rows) for rows in asked}) == 3


def test_what_pictures_returns_is_what_is_trained_on(toy):
    """The products' own bottlenecks are noise; those handed in tell the class."""
    told, labels = toy[0]["picture"], toy[1]
    noise = told._replace(bottlenecks=np.random.default_rng(9).permutation(told.bottlenecks))
    options = training.Options(batch_size=50, max_steps=1000)
    right = []
    for pictures in (lambda rows, epoch: told.bottlenecks[told.rows[rows]], None):
        model = training.train(
            noise, labels, CLASSES, SIDES[0], SIDES[0][:0], options, pictures=pictures
        )
        guess = layers.logits(model.weights, told, SIDES[2]).argmax(axis=1)
        right.append(metrics.accuracy(guess == labels[SIDES[2]]))
    assert right[0] > 0.9 and right[1] < 0.6  # a third by chance


def test_pictures_that_are_the_products_own_change_nothing(toy):
    inputs, labels = toy[0]["picture"], toy[1]
    options = training.Options(batch_size=30, max_steps=20, evaluate_every=5)
    one, two = (
        training.train(inputs, labels, CLASSES, *SIDES[:2], options, pictures=pictures)
        for pictures in (None, lambda rows, epoch: inputs.bottlenecks[inputs.rows[rows]])
    )
    assert one.steps == two.steps
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, two.weights[name])


@pytest.mark.parametrize(
    "every, steps, expected",
    [(10, 30, [10, 20, 30]), (10, 25, [10, 20, 25]), (50, 7, [7]), (0, 15, [7, 14, 15])],
)
def test_watch_is_called_at_each_evaluation_and_at_the_end(toy, every, steps, expected):
    inputs, labels = toy[0]["picture"], toy[1]
    seen = []
    training.train(
        inputs,
        labels,
        CLASSES,
        *SIDES[:2],
        training.Options(batch_size=32, max_steps=steps, evaluate_every=every, patience=99),
        watch=lambda step, *rest: seen.append(step),
    )
    assert seen == expected


def test_watch_is_told_the_losses_and_the_accuracy_of_the_weights_of_that_step(toy):
    """With one batch an epoch, a step's training loss is that of the weights before it. Labels by
    lot, so that the validation loss rises."""
    inputs, labels = toy[0]["picture"], np.random.default_rng(0).permutation(toy[1])
    options = training.Options(batch_size=200, max_steps=5, evaluate_every=1, learning_rate=1.0)
    seen = {}
    training.train(
        inputs,
        labels,
        CLASSES,
        *SIDES[:2],
        options,
        watch=lambda step, *rest: seen.update({step: rest}),
    )
    assert list(seen) == [1, 2, 3, 4, 5] and seen[3][1] < seen[4][1]
    for step in (1, 2, 3, 4):
        weights = training.train(
            inputs, labels, CLASSES, SIDES[0], SIDES[0][:0], options._replace(max_steps=step)
        ).weights
        before, own = (layers.logits(weights, inputs, side) for side in SIDES[:2])
        assert seen[step + 1][0] == pytest.approx(metrics.nll(before, labels[SIDES[0]]), rel=1e-3)
        assert seen[step][1] == pytest.approx(metrics.nll(own, labels[SIDES[1]]), rel=1e-3)
        assert seen[step][2] == (own.argmax(axis=1) == labels[SIDES[1]]).mean()


def test_the_training_loss_is_the_mean_since_the_last_evaluation(toy):
    inputs, labels = toy[0]["picture"], toy[1]
    told = {}
    for every in (1, 5):
        training.train(
            inputs,
            labels,
            CLASSES,
            *SIDES[:2],
            training.Options(batch_size=32, max_steps=10, evaluate_every=every, patience=99),
            watch=lambda step, loss, *rest, every=every: told.update({(every, step): loss}),
        )
    for step in (5, 10):
        assert told[5, step] == pytest.approx(
            np.mean([told[1, before] for before in range(step - 4, step + 1)]), rel=1e-5
        )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_bottlenecks_mapped_from_disk_train_as_those_in_memory_do(toy, tmp_path, dtype):
    """Statistics, mini-batches and scores; numbers of 16 bits hold three digits."""
    inputs, labels = toy[0]["both"], toy[1]
    inputs.bottlenecks.astype(dtype).tofile(tmp_path / "rows")
    mapped = inputs._replace(
        bottlenecks=np.memmap(tmp_path / "rows", dtype, "r", shape=inputs.bottlenecks.shape)
    )
    options = training.Options(batch_size=32, max_steps=60, evaluate_every=20)
    scores = []
    for some in (inputs, mapped):
        model = training.train(some, labels, CLASSES, *SIDES[:2], options)
        assert all(value.dtype == np.float32 for value in model.weights.values())
        scores.append(layers.logits(model.weights, some, np.arange(PRODUCTS)))
    if dtype == "float32":
        np.testing.assert_array_equal(*scores)
    else:
        np.testing.assert_allclose(*scores, atol=0.02)
