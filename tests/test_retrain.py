"""The split, the training loop, saved models, and retrain.py by itself on folders of pictures.

Real TensorFlow; about 30 seconds.

    pytest tests/test_retrain.py
    pytest tests/test_retrain.py -k split
"""
import argparse
import collections
import hashlib
import math
import random
import shutil

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings, strategies as st
from PIL import Image

from conftest import run_script

import bottlenecks
import metrics
import retrain
from console import UserError


# ---- the split ----------------------------------------------------------------------------------

KEYS = [f"group-{i}" for i in range(20_000)]


def test_a_groups_place_is_a_function_of_its_key_alone():
    expected = int(hashlib.sha256("née \U0001f456".encode()).hexdigest()[:14], 16) / 2 ** 56
    assert retrain.split_position("née \U0001f456") == pytest.approx(expected, abs=1e-15)


@given(st.text())
@settings(deadline=None)
def test_every_key_has_a_place_even_half_of_a_surrogate_pair(key):
    assert 0 <= retrain.split_position(key) < 1
    assert retrain.split_position(key + "\udc80") < 1


def test_places_are_even_so_that_shares_are_near_eight_one_and_one_in_ten():
    u = np.array([retrain.split_position(key) for key in KEYS])
    tenths = np.bincount((u * 10).astype(int), minlength=10) / len(u)
    assert tenths == pytest.approx(np.full(10, .1), abs=.01)      # 5 standard deviations
    (train, validation, test), = retrain.splits(u)
    assert u[test].max() < .1 <= u[validation].min() and u[validation].max() < .2 <= u[train].min()
    assert sorted(np.concatenate([train, validation, test])) == list(range(len(u)))


def test_new_products_move_no_old_one_and_groups_stay_together():
    keys = [KEYS[i // 3] for i in range(3_000)]
    before = [set(part) for part in retrain.splits([retrain.split_position(k) for k in keys])[0]]
    more = keys + KEYS[5_000:6_000]
    after = [set(part) for part in retrain.splits([retrain.split_position(k) for k in more])[0]]
    for old, new in zip(before, after):
        assert old == {row for row in new if row < 3_000}
        assert len({keys[row] for row in old}) * 3 == len(old)


@pytest.mark.parametrize("folds", [3, 7, 10])
def test_with_folds_each_product_is_predicted_once_and_validated_one_fold_before(folds):
    u = np.array([retrain.split_position(key) for key in KEYS[:2_000]])
    parts = retrain.splits(u, folds)
    assert len(parts) == folds
    assert sorted(np.concatenate([test for *_, test in parts])) == list(range(2_000))
    for number, (train, validation, test) in enumerate(parts):
        assert set(np.floor(u[test] * folds)) == {number}
        assert set(validation) == set(parts[(number + 1) % folds][2])
        assert sorted(np.concatenate([train, validation, test])) == list(range(2_000))


@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=40), st.integers(3, 100))
@settings(deadline=None)
def test_no_place_falls_out_of_the_folds(u, folds):
    parts = retrain.splits(np.array(u), folds)
    assert sum(len(test) for *_, test in parts) == len(u)


def parts_of(*counts):
    """The classes on each side of a split, from (training, validation, test) counts of each."""
    return [tuple(np.repeat(np.arange(len(counts)), own) for own in zip(*counts))]


@pytest.mark.parametrize("counts, sentence", [
    ([(5, 1, 1), (0, 2, 3)], r"b has nothing to train on \(0 training, 2 validation, 3 test\)"),
    ([(5, 1, 1), (0, 0, 0)], r"b has nothing to train on \(0 training, 0 validation, 0 test\)"),
    ([(5, 0, 1), (4, 0, 2)], "validation set is empty .b has 4 training, 0 validation and 2 test"),
    ([(5, 1, 0), (9, 1, 0)], "test set is empty .a has 5 training, 1 validation and 0 test"),
    ([(5, 1, 1)], "a is the only category")])
def test_a_split_that_cant_be_used_is_one_sentence_with_the_leaf_and_its_counts(counts, sentence):
    with pytest.raises(UserError, match=sentence) as problem:
        retrain.check_splits(parts_of(*counts), list("ab")[:len(counts)])
    assert "\n" not in str(problem.value)


def test_a_leaf_without_validation_or_test_products_is_a_warning(capsys):
    retrain.check_splits(parts_of((5, 1, 1), (5, 0, 1), (5, 1, 0)), ["all", "no-val", "no-test"])
    said = capsys.readouterr().err
    assert "warning: no-val has 5 training, 0 validation and 1 test" in said
    assert "warning: no-test has 5 training, 1 validation and 0 test" in said
    assert "all has" not in said


def test_of_folds_one_without_a_training_product_is_enough_to_stop():
    labels = np.array([0, 0, 0, 0, 0, 1, 1])
    u = np.array([.1, .12, .5, .52, .9, .15, .45])      # class 1 lies in folds 0 and 1 only
    with pytest.raises(UserError, match="b has nothing to train on"):
        retrain.check_splits([[labels[rows] for rows in part] for part in retrain.splits(u, 3)],
                             ["a", "b"])


# ---- training -----------------------------------------------------------------------------------

CLASSES, PRODUCTS, TERMS, SIZE = 3, 300, 40, 12
KINDS = ("text", "picture", "both")


@pytest.fixture(scope="module")
def toy():
    """Inputs of each kind and labels: words 0-2 and units 4, 6 and 10 tell the class; one unit is
    dead, the scales of the others are 10,000 apart, every tenth product has no picture."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, PRODUCTS).astype(np.int32)
    words = rng.random((PRODUCTS, TERMS)) < .15
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
    return {"text": retrain.Inputs(bag=bag),
            "picture": retrain.Inputs(bottlenecks=stored, rows=rows),
            "both": retrain.Inputs(bag=bag, bottlenecks=stored, rows=missing)}, labels


SIDES = np.arange(200), np.arange(200, 250), np.arange(250, 300)


def trained(toy, kind, **options):
    inputs, labels = toy[0][kind], toy[1]
    options = retrain.Options(**{"batch_size": 32, "max_epochs": 100, "seed": 1, **options})
    return retrain.train(inputs, labels, CLASSES, SIDES[0], SIDES[1], options), inputs, labels


def keras_logits(weights, inputs):
    """The same network out of Keras' own layers."""
    keras = bottlenecks.load_tensorflow().keras
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
        given.append(np.where(inputs.rows[:, None] < 0, weights["bottleneck_mean"],
                              inputs.bottlenecks[inputs.rows]))
    last = keras.layers.Dense(len(weights["bias"]))
    out = last(keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0])
    last.set_weights([weights["kernel"], weights["bias"]])
    return keras.Model(ins, out).predict(given if len(given) > 1 else given[0], verbose=0)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_numpy_gives_what_keras_gives(toy, kind):
    model, inputs, labels = trained(toy, kind)
    scores = retrain.logits(model.weights, inputs, np.arange(PRODUCTS))
    assert metrics.accuracy(scores[SIDES[2]].argmax(axis=1) == labels[SIDES[2]]) > .9
    np.testing.assert_allclose(scores, keras_logits(model.weights, inputs), rtol=1e-3, atol=1e-3)
    assert metrics.nll(scores[SIDES[1]] / model.temperature, labels[SIDES[1]]) \
        <= metrics.nll(scores[SIDES[1]], labels[SIDES[1]]) + 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_training_sees_the_loss_that_the_saved_weights_have(toy, kind):
    tf = bottlenecks.load_tensorflow()
    inputs, labels = toy[0][kind], toy[1]
    rng, rows = np.random.default_rng(0), np.arange(0, PRODUCTS, 3)
    variables = {name: tf.Variable(value)
                 for name, value in retrain.initial_weights(inputs, CLASSES, rng).items()}
    statistics = retrain.bottleneck_statistics(inputs, rows) if kind != "text" else None
    step = retrain.make_step(variables, .1, 0, 0)
    for _ in range(3):
        weights = retrain.usable_weights(variables, statistics)
        expected = metrics.nll(retrain.logits(weights, inputs, rows), labels[rows])
        loss = step(*retrain.batch_tensors(inputs, labels, rows, statistics))
        assert float(loss) == pytest.approx(expected, rel=1e-3)


def test_standardising_uses_the_training_products_with_a_picture_and_no_others(toy):
    inputs = toy[0]["both"]
    rows = np.arange(50, 150)
    seen = inputs.bottlenecks[[inputs.rows[row] for row in rows if row % 10 != 9]]
    mean, deviation = retrain.bottleneck_statistics(inputs, rows)
    assert len(seen) == 90 and mean == pytest.approx(seen.mean(axis=0), rel=1e-4)
    spread = seen.std(axis=0)
    floor = .1 * np.median(spread[spread > 0])
    assert deviation == pytest.approx(np.maximum(seen.std(axis=0), floor), rel=1e-3)
    assert deviation[7] > 0                             # the dead unit


def test_a_product_without_a_picture_is_answered_from_its_words(toy):
    model, inputs, labels = trained(toy, "both")
    blind = inputs._replace(rows=np.full(PRODUCTS, -1))
    guess = retrain.logits(model.weights, blind, SIDES[2]).argmax(axis=1)
    assert metrics.accuracy(guess == labels[SIDES[2]]) > .7    # a third by chance


def test_a_text_without_a_known_word_is_answered(toy):
    model, inputs, _ = trained(toy, "text")
    empty = retrain.Inputs(bag=scipy.sparse.csr_matrix((4, TERMS), dtype=np.float32))
    scores = retrain.logits(model.weights, empty, np.arange(4))
    assert np.isfinite(scores).all() and (scores == scores[0]).all()
    some = retrain.Inputs(bag=scipy.sparse.csr_matrix(inputs.bag.multiply(
        (np.arange(PRODUCTS) % 2)[:, None])))           # half of the training texts are empty
    model = retrain.train(some, toy[1], CLASSES, *SIDES[:2], retrain.Options(max_epochs=2))
    assert all(np.isfinite(part).all() for part in model.weights.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_makes_training_repeatable(toy, kind):
    options = {"max_epochs": 2, "dropout": .5 if kind != "picture" else 0}
    one, two, other = (trained(toy, kind, seed=seed, **options)[0] for seed in (5, 5, 6))
    assert one.temperature == two.temperature
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, two.weights[name])
    assert (one.weights["kernel"] != other.weights["kernel"]).any()


def test_gradient_descent_takes_the_step_that_calculus_says():
    """From equal logits the gradient is x (softmax - onehot); one product, one step of .5."""
    tf = bottlenecks.load_tensorflow()
    variables = {"kernel": tf.Variable(np.zeros((2, 2), np.float32)),
                 "bias": tf.Variable(np.zeros(2, np.float32))}
    step = retrain.make_step(variables, .5, 0, 0)
    pictures = np.array([[1, 3]], np.float32)
    loss = step(np.zeros(0, np.int32), np.zeros(0, np.int32), pictures, np.array([0], np.int32))
    assert float(loss) == pytest.approx(math.log(2))
    assert variables["kernel"].numpy() == pytest.approx(np.array([[.25, -.25], [.75, -.75]]))
    assert variables["bias"].numpy() == pytest.approx(np.array([.25, -.25]))


def test_learning_rate_nought_is_adam_as_keras_has_it(toy):
    tf = bottlenecks.load_tensorflow()
    inputs, labels = toy[0]["text"], toy[1]
    start = retrain.initial_weights(inputs, CLASSES, np.random.default_rng(0))
    variables = {name: tf.Variable(value) for name, value in start.items()}
    step = retrain.make_step(variables, 0.0, 0, 0)
    theirs = [tf.Variable(value) for value in start.values()]
    adam = tf.keras.optimizers.Adam(.001, epsilon=1e-7)
    for turn in range(5):
        rows = np.arange(40) + 40 * turn
        step(*retrain.batch_tensors(inputs, labels, rows, None))
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(inputs.bag[rows].toarray() @ theirs[0] + theirs[1])
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels[rows], hidden @ theirs[2] + theirs[3]))
        adam.apply_gradients(zip(tape.gradient(loss, theirs), theirs))
    for mine, other in zip(variables.values(), theirs):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=1e-5)


def test_it_stops_when_validation_gains_nothing_and_keeps_the_best_weights(toy, capsys):
    inputs = toy[0]["text"]
    noise = np.random.default_rng(0).integers(0, CLASSES, PRODUCTS).astype(np.int32)
    model = retrain.train(inputs, noise, CLASSES, *SIDES[:2],
                          retrain.Options(batch_size=20, max_epochs=200, patience=3))
    assert model.steps < 1_000 and f"kept step {model.steps} of " in capsys.readouterr().err
    kept = metrics.nll(retrain.logits(model.weights, inputs, SIDES[1]), noise[SIDES[1]])
    short = retrain.train(inputs, noise, CLASSES, *SIDES[:2], retrain.Options(
        batch_size=20, max_steps=model.steps, patience=3, evaluate_every=10))
    again = metrics.nll(retrain.logits(short.weights, inputs, SIDES[1]), noise[SIDES[1]])
    assert kept == pytest.approx(again)


def test_training_that_runs_away_is_one_sentence_and_no_experiment_of_nans(toy):
    with pytest.raises(UserError, match="--learning_rate"):
        trained(toy, "picture", learning_rate=1e38)


def test_a_saved_model_is_what_was_saved_and_holds_no_pickle(toy, tmp_path):
    model = trained(toy, "both", max_epochs=1)[0]
    retrain.save_model(tmp_path, model.weights, {"vocabulary": ["café", "\U0001f456"]})
    weights, described = retrain.load_model(tmp_path)
    assert described["vocabulary"] == ["café", "\U0001f456"]
    assert weights.keys() == model.weights.keys()
    with np.load(tmp_path / "weights.npz", allow_pickle=False) as stored:
        for name, value in model.weights.items():
            assert stored[name].dtype == np.float32
            np.testing.assert_array_equal(stored[name], value)


# ---- by itself ----------------------------------------------------------------------------------

LABELS = {"Red Things": (200, 30, 30), "blue_1.5": (30, 30, 200), "grün": (30, 170, 30)}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder of folders on which retrain.py was run, and what it answered."""
    folder = tmp_path_factory.mktemp("alone")
    rng = random.Random(2)
    for label, shade in LABELS.items():
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(30):
            Image.new("RGB", (40, 40), tuple(c + rng.randrange(-25, 26) for c in shade)) \
                .save(folder / "pictures" / label / f"{number}.png")
    odd = folder / "pictures" / "grün"
    (odd / "broken.jpg").write_bytes(b"")
    (odd / ".hidden").write_bytes(b"")
    (folder / "pictures" / ".git").mkdir()
    done = run_script(
        "retrain", "--image-dir", "pictures", "--weights", "random", "--layer", "mixed0",
        "--bottleneck_dir", "b", "--output-graph", "out/net.keras", "--output_labels", "out/l.txt",
        "--testing_percentage", "20", "--how-many-training-steps", "300",
        "--print_misclassified_test_images", "--final_tensor_name", "answer", cwd=folder)
    return folder, done


def test_by_itself_it_prints_the_accuracy_of_the_network_it_saved(alone):
    folder, done = alone
    assert done.returncode == 0, done.stderr
    keras = bottlenecks.load_tensorflow().keras
    network = keras.models.load_model(folder / "out" / "net.keras")
    names = (folder / "out" / "l.txt").read_text(encoding="utf-8").splitlines()
    assert names == sorted(LABELS) and network.layers[-1].name == "answer"
    files = sorted((folder / "pictures").glob("*/*.png"))
    scores = network.predict(np.stack([bottlenecks.read_picture(file) for file in files]),
                             verbose=0)
    assert scores.sum(axis=1) == pytest.approx(np.ones(90), abs=1e-5)
    right = np.array([names[best] == file.parent.name
                      for file, best in zip(files, scores.argmax(axis=1))])
    test = np.array([retrain.split_position(bottlenecks.file_sha256(file)) < .2 for file in files])
    assert right.mean() > .9                            # the colours are far apart
    lines = done.stdout.splitlines()
    assert lines[-1] == f"Final test accuracy = {100 * right[test].mean():.1f}% (N={test.sum()})"
    assert lines[0] == "=== MISCLASSIFIED TEST IMAGES ==="
    assert len(lines) == 2 + (~right[test]).sum()


def test_by_itself_it_names_the_picture_it_left_out_and_leaves_no_scraps(alone):
    folder, done = alone
    assert "broken.jpg can't be read" in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["l.txt", "net.keras"]


def test_old_and_new_spellings_of_every_flag_are_one():
    parser = argparse.ArgumentParser()
    retrain.addargs(parser)
    old = [word for action in parser._actions for word in action.option_strings
           if word.startswith("--") and "_" in word]
    assert len(old) == 20 and set(old) == {
        "--image_dir", "--bottleneck_dir", "--model_dir", "--output_graph", "--output_labels",
        "--how_many_training_steps", "--learning_rate", "--testing_percentage",
        "--validation_percentage", "--eval_step_interval", "--train_batch_size",
        "--test_batch_size", "--validation_batch_size", "--print_misclassified_test_images",
        "--final_tensor_name", "--flip_left_right", "--random_crop", "--random_scale",
        "--random_brightness", "--summaries_dir"}
    for word in old:
        value = [] if word in ("--flip_left_right", "--print_misclassified_test_images") else ["7"]
        assert parser.parse_args([word, *value]) \
            == parser.parse_args([word.replace("_", "-"), *value]) != parser.parse_args([])


@pytest.mark.parametrize("flags, sentence", [
    (["--flip_left_right"], "distortions are not available"),
    (["--random-crop", "10"], "distortions are not available"),
    (["--random_scale", "1"], "distortions are not available"),
    (["--random_brightness", "5"], "distortions are not available"),
    (["--how_many_training_steps", "0"], "must be 1 or more"),
    (["--train_batch_size", "-3"], "must be 1 or more"),
    (["--eval_step_interval", "0"], "must be 1 or more"),
    (["--learning_rate", "-1"], "must be 0 .Adam. or above"),
    (["--learning_rate", "nan"], "must be 0 .Adam. or above"),
    (["--testing_percentage", "60", "--validation_percentage", "40"], "too little to train on"),
    ([], "--image_dir must name a folder"),
    (["--image_dir", "nowhere"], "there is none at nowhere")])
def test_what_it_cant_do_is_one_sentence(flags, sentence):
    with pytest.raises(UserError, match=f"^[^\n]*{sentence}"):
        retrain.main(flags)


@pytest.mark.parametrize("flags", [
    ["--no_such_flag"], ["--seed", "-1"], ["--seed", str(2 ** 32)], ["--seed", "x"],
    ["--layer", "mixed11"], ["--random_crop", "101"], ["--test_batch_size", "0"]])
def test_unknown_flags_and_values_out_of_range_are_errors(flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        retrain.main(["--image_dir", ".", *flags])
    assert flags[0] in capsys.readouterr().err


def test_a_folder_without_pictures_is_one_sentence_and_exit_status_2(tmp_path):
    (tmp_path / "p" / "label").mkdir(parents=True)
    done = run_script("retrain", "--image_dir", "p", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "retrain.py: p has no folders with pictures in them\n"


def test_pictures_none_of_which_can_be_read_are_one_sentence(tmp_path, monkeypatch):
    for label in "ab":
        (tmp_path / "p" / label).mkdir(parents=True)
        (tmp_path / "p" / label / "1.jpg").write_bytes(label.encode())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="none of the files in p is a picture"):
        retrain.main(["--image_dir", "p", "--weights", "random", "--layer", "mixed0"])


def test_one_label_is_nothing_to_tell_apart(alone, tmp_path, monkeypatch):
    shutil.copytree(alone[0] / "pictures" / "grün", tmp_path / "p" / "grün")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="grün is the only category|set is empty"):
        retrain.main(["--image_dir", "p", "--weights", "random", "--layer", "mixed0",
                      "--bottleneck_dir", str(alone[0] / "b")])
    assert collections.Counter(path.name for path in tmp_path.iterdir()) == {"p": 1}


@pytest.mark.parametrize("args, word", [
    (("--output_graph", "net.pb"), ".keras"), (("--output_labels", "."), "can't be written"),
    (("--output_labels", "/dev/null/labels.txt"), "can't be written"),
    (("--final_tensor_name", "a/b"), "--final_tensor_name"),
    (("--testing_percentage", "0"), "must be 1 or more")])
def test_what_could_not_be_saved_is_refused_before_the_work(tmp_path, monkeypatch, args, word):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=word):
        retrain.main(["--image_dir", "nowhere", *args])
    assert list(tmp_path.iterdir()) == []
