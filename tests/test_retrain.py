"""The split that all classifiers share, and retrain.py by itself on folders of pictures.

Real TensorFlow, drawn pictures, processes that are killed; about 90 seconds.

    pytest tests/test_retrain.py
    pytest tests/test_retrain.py -k "distort or killed"
"""

import argparse
import collections
import contextlib
import hashlib
import io
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest
from conftest import REPO, environment, run_script
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import categorize_both
import categorize_images
import retrain
from common.terminal import UserError
from learning import bottlenecks, inception, picture_arguments, picture_folders
from learning.split import check_splits, split_position, splits, unlearnable

pytestmark = pytest.mark.usefixtures("networks_made_once")

# ---- the split ----------------------------------------------------------------------------------

KEYS = [f"group-{i}" for i in range(20_000)]


def test_a_groups_place_is_a_function_of_its_key_alone():
    expected = int(hashlib.sha256("née \U0001f456".encode()).hexdigest()[:14], 16) / 2**56
    assert split_position("née \U0001f456") == pytest.approx(expected, abs=1e-15)


@given(st.text())
@settings(deadline=None)
def test_every_key_has_a_place_even_half_of_a_surrogate_pair(key):
    assert 0 <= split_position(key) < 1
    assert split_position(key + "\udc80") < 1


def test_places_are_even_so_that_shares_are_near_eight_one_and_one_in_ten():
    u = np.array([split_position(key) for key in KEYS])
    tenths = np.bincount((u * 10).astype(int), minlength=10) / len(u)
    assert tenths == pytest.approx(np.full(10, 0.1), abs=0.01)  # 5 standard deviations
    ((train, validation, test),) = splits(u)
    assert (
        u[test].max() < 0.1 <= u[validation].min() and u[validation].max() < 0.2 <= u[train].min()
    )
    assert sorted(np.concatenate([train, validation, test])) == list(range(len(u)))


def test_new_products_move_no_old_one_and_groups_stay_together():
    keys = [KEYS[i // 3] for i in range(3_000)]
    before = [set(part) for part in splits([split_position(k) for k in keys])[0]]
    more = keys + KEYS[5_000:6_000]
    after = [set(part) for part in splits([split_position(k) for k in more])[0]]
    for old, new in zip(before, after):
        assert old == {row for row in new if row < 3_000}
        assert len({keys[row] for row in old}) * 3 == len(old)


@pytest.mark.parametrize("folds", [3, 7, 10])
def test_with_folds_each_product_is_predicted_once_and_validated_one_fold_before(folds):
    u = np.array([split_position(key) for key in KEYS[:2_000]])
    parts = splits(u, folds)
    assert len(parts) == folds
    assert sorted(np.concatenate([test for *_, test in parts])) == list(range(2_000))
    for number, (train, validation, test) in enumerate(parts):
        assert set(np.floor(u[test] * folds)) == {number}
        assert set(validation) == set(parts[(number + 1) % folds][2])
        assert sorted(np.concatenate([train, validation, test])) == list(range(2_000))


@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=40), st.integers(3, 100))
@settings(deadline=None)
def test_no_place_falls_out_of_the_folds(u, folds):
    parts = splits(np.array(u), folds)
    assert sum(len(test) for *_, test in parts) == len(u)


@pytest.mark.parametrize(
    "sizes, names, sentence",
    [
        ((4, 0, 3), "ab", "validation set is empty"),
        ((4, 2, 0), "ab", "test set is empty"),
        ((4, 1, 1), "a", "a is the only category"),
    ],
)
def test_a_split_that_cant_be_used_is_one_sentence(sizes, names, sentence):
    with pytest.raises(UserError, match=sentence) as problem:
        check_splits([[np.arange(size) for size in sizes]], names)
    assert "\n" not in str(problem.value)


def test_without_folds_a_class_needs_a_product_on_each_side_of_the_split():
    u = np.array([0.05, 0.15, 0.5, 0.05, 0.5, 0.15, 0.5, 0.05, 0.15, 0.9])
    classes = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, -1])
    assert unlearnable(classes, u, 5) == {1, 2, 3, 4}
    assert unlearnable(classes, u, 4, None, 0.1, 0.5) == {1, 2, 3, 0}


def test_with_folds_a_class_needs_a_training_product_in_each():
    labels = np.array([0, 0, 0, 0, 0, 1, 1])
    u = np.array([0.1, 0.12, 0.5, 0.52, 0.9, 0.15, 0.45])  # class 1 lies in folds 0 and 1 only
    assert unlearnable(labels, u, 2, 3) == {1}
    assert unlearnable(np.array([0, 0, 1, 1]), np.array([0.05, 0.95, 0.05, 0.55]), 2, 10) == {0}


# ---- by itself: folders of pictures -------------------------------------------------------------

COLOURS = {
    "-dash": (200, 200, 40),
    "Red Things": (200, 40, 40),
    "blue_1.5": (40, 40, 200),
    "grün": (40, 170, 40),
    "two..dots. and  blanks": (120, 120, 120),
    "日本": (225, 225, 225),
}
SMALL = {label: COLOURS[label] for label in ("Red Things", "blue_1.5", "grün")}
QUICK = ("--weights", "random", "--layer", "mixed0")


def place(data):
    return split_position(hashlib.sha256(data).hexdigest())


def of_side(make, side):
    """The first of make(0), make(1) and so on whose place in the split is in [low, high)."""
    return next(data for data in map(make, itertools.count()) if side[0] <= place(data) < side[1])


def drawn(path, shade, side):
    """Draw a picture of about that colour that falls on that side; no other path draws the same."""

    def make(turn):
        rng = random.Random(f"{path.parts[-3:]} {turn}")
        picture = Image.new("RGB", (40, 40), tuple(c + rng.randrange(-25, 26) for c in shade))
        x, y = rng.randrange(20), rng.randrange(20)
        ImageDraw.Draw(picture).ellipse((x, y, x + rng.randrange(5, 15), y + 9), fill=(9, 9, 9))
        data = io.BytesIO()
        picture.save(data, "PNG")
        return data.getvalue()

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(of_side(make, side))


def draw_labels(folder, colours, counts=(8, 2, 2), testing=0.1):
    """A folder of PNGs for each label, so many to train, to validate, and to test on."""
    for label, shade in colours.items():
        sides = ((testing + 0.1, 1), (testing, testing + 0.1), (0, testing))
        for number, side in enumerate(np.repeat(sides, counts, axis=0)):
            drawn(folder / label / f"{number}.png", shade, side)


def network_of(path):
    return inception.load_tensorflow().keras.models.load_model(path, compile=False)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, networks_made_once):
    """A folder of folders, with all that people have in them, on which retrain.py was run."""
    folder = tmp_path_factory.mktemp("alone")
    pictures, (train, test) = folder / "pictures", ((0.3, 1), (0, 0.2))
    draw_labels(pictures, COLOURS, (10, 3, 4), testing=0.2)
    for number in range(5):
        drawn(pictures / "thin" / f"{number}.png", (160, 40, 160), train)
    for number, side in enumerate([train, (0.2, 0.3), test]):
        (pictures / "papers").mkdir(exist_ok=True)
        (pictures / "papers" / f"{number}.png").write_bytes(of_side(b"page %d".__mod__, side))
    odd = pictures / "grün"
    drawn(odd / "UPPER.PNG", COLOURS["grün"], test)
    for twin in (odd / "twin.png", pictures / "Red Things" / "guest.png"):
        shutil.copy(odd / "14.png", twin)  # which is on the test side
    (odd / "broken.jpg").write_bytes(b"")
    (odd / "notes.txt").write_text("no picture")
    (odd / "to-nowhere.png").symlink_to("nowhere.png")
    for ignored in (
        odd / ".hidden.png",
        odd / "nested" / "0.png",
        pictures / ".git" / "0.png",
        pictures / "loose.png",
    ):
        drawn(ignored, COLOURS["-dash"], test)
    done = run_script(
        "retrain",
        "--image-dir",
        "pictures",
        *QUICK,
        "--bottleneck_dir",
        "b",
        "--output-graph",
        "out/net.keras",
        "--output_labels",
        "out/l.txt",
        "--summaries-dir",
        "logs",
        "--testing_percentage",
        "20",
        "--how-many-training-steps",
        "300",
        "--print_misclassified_test_images",
        "--final_tensor_name",
        "answer",
        cwd=folder,
    )
    return folder, done


def test_by_itself_it_prints_the_accuracy_of_the_network_it_saved(alone):
    """Over every picture in a label's folder, of those that are there twice both."""
    folder, done = alone
    assert done.returncode == 0, done.stderr
    network = network_of(folder / "out" / "net.keras")
    names = (folder / "out" / "l.txt").read_text(encoding="utf-8").splitlines()
    assert names == sorted(COLOURS) and network.layers[-1].name == "answer"
    files = sorted(
        file
        for file in (folder / "pictures").glob("[!.]*/[!.]*")
        if file.suffix.lower() == ".png" and file.parent.name != "papers" and file.is_file()
    )
    assert len(files) == 6 * 17 + 5 + 3
    pixels = np.stack([bottlenecks.read_picture(file) for file in files])
    scores = network.predict(inception.network_input(pixels), verbose=0)
    assert scores.sum(axis=1) == pytest.approx(np.ones(len(files)), abs=1e-5)
    guess = [names[best] for best in scores.argmax(axis=1)]
    right = np.array([name == file.parent.name for name, file in zip(guess, files)])
    test = np.array([place(file.read_bytes()) < 0.2 for file in files])
    assert right.mean() > 0.9  # the colours are far apart
    lines = done.stdout.splitlines()
    assert lines[-1] == f"Final test accuracy = {100 * right[test].mean():.1f}% (N={test.sum()})"
    assert lines[0] == "=== MISCLASSIFIED TEST IMAGES ==="
    wrong = [
        f"{file.relative_to(folder)}  {name}"
        for name, file, good in zip(guess, files, right & test | ~test)
        if not good
    ]
    assert sorted(map(str.lstrip, lines[1:-1])) == sorted(wrong) != []  # one of the same two is


@pytest.mark.parametrize("name", ["broken.jpg", "notes.txt", "to-nowhere.png"])
def test_a_file_that_is_no_picture_is_named_and_left_out(alone, name):
    said = alone[1].stderr
    (line,) = [line for line in said.splitlines() if f"pictures/grün/{name}" in line]
    assert "can't be read (" in line and "left out" in line and "Traceback" not in said


@pytest.mark.parametrize("ignored", ["hidden", "nested", ".git", "loose"])
def test_hidden_nested_and_loose_files_are_not_spoken_of(alone, ignored):
    assert ignored not in alone[1].stderr + alone[1].stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named_and_left_out(tmp_path, capsys):
    draw_labels(tmp_path / "p", SMALL)
    locked = tmp_path / "p" / "grün" / "0.png"
    locked.chmod(0)
    found = picture_folders.find_pictures(str(tmp_path / "p"))
    assert str(locked) not in [path for path, *_ in found] and len(found) == 35
    assert f"{locked} can't be read" in capsys.readouterr().err


def test_a_label_none_of_whose_files_can_be_read_is_left_out_with_a_warning(alone):
    assert "warning: no picture of papers can be read: left out" in alone[1].stderr


def test_a_label_without_test_or_validation_pictures_is_left_out_before_the_work(alone):
    said = alone[1].stderr.splitlines()
    warned = (
        "warning: 1 of 8 folders, with 5 pictures, is left out: thin (5 pictures). "
        "Pictures are split by their content, so a folder needs about 30 to have some of each: to "
        "train, to validate and to test on"
    )
    work = next(i for i, line in enumerate(said) if line.startswith("bottlenecks"))
    assert warned in said[:work]


def test_it_leaves_no_scraps_behind(alone):
    folder = alone[0]
    assert sorted(path.name for path in folder.iterdir()) == ["b", "logs", "out", "pictures"]
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["l.txt", "net.keras"]


def test_too_few_pictures_are_told_with_their_counts_before_tensorflow_is_imported(tmp_path):
    draw_labels(tmp_path / "p", dict(list(SMALL.items())[:1]))
    drawn(tmp_path / "p" / "few" / "0.png", (0, 0, 0), (0, 0.1))
    done = run_script(
        "retrain",
        "--image_dir",
        "p",
        "--weights",
        "random",
        cwd=tmp_path,
        env={"PYTHONPROFILEIMPORTTIME": "1"},
        process=True,
    )
    imported = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert (done.returncode, done.stdout) == (2, "") and os.listdir(tmp_path) == ["p"]
    assert said == [
        "retrain.py: there is nothing to tell apart: 1 of 2 folders, with 1 picture, can't be "
        "learned (few (1 picture)); pictures are split by their content, so a folder needs about 30 "
        "to have some of each: to train, to validate and to test on; add pictures, or raise "
        "--testing_percentage and --validation_percentage"
    ]
    assert len(imported) > 100 and not any(line.split()[-1] == "tensorflow" for line in imported)


def test_a_folder_without_pictures_is_one_sentence_and_exit_status_2(tmp_path):
    (tmp_path / "p" / "label").mkdir(parents=True)
    done = run_script("retrain", "--image_dir", "p", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "retrain.py: p has no folders with pictures in them\n"


def test_pictures_none_of_which_can_be_read_are_one_sentence(tmp_path, monkeypatch):
    for label in "ab":
        (tmp_path / "p" / label).mkdir(parents=True)
        for number, side in enumerate([(0.2, 1), (0.1, 0.2), (0, 0.1)]):
            text = of_side(lambda turn, label=label: f"{label} {turn}".encode(), side)
            (tmp_path / "p" / label / f"{number}.jpg").write_bytes(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="none of the files in p is a picture"):
        retrain.main(["--image_dir", "p", *QUICK])


@pytest.mark.parametrize(
    "labels, sentence", [(["grün"], "grün is the only category"), (["grün", "a\nb"], "line break")]
)
def test_a_folder_that_cant_be_learned_is_refused_before_the_work(
    tmp_path, monkeypatch, labels, sentence
):
    draw_labels(tmp_path / "p", dict.fromkeys(labels, (90, 90, 90)))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^[^\n]*{sentence}[^\n]*$"):
        retrain.main(["--image_dir", "p", "--weights", "random"])
    assert os.listdir() == ["p"]


# ---- by itself: TensorBoard's curves ------------------------------------------------------------


def curves(folder):
    """{tag: {step: value}} of the event files in a folder."""
    tf = inception.load_tensorflow()
    found = collections.defaultdict(dict)
    for record in tf.data.TFRecordDataset([str(path) for path in folder.iterdir()]):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            assert event.step not in found[value.tag]
            found[value.tag][event.step] = float(tf.make_ndarray(value.tensor))
    return found


@pytest.fixture(scope="module")
def training_curves(alone):
    """The curves of training and of validation, and the numbers stderr ends with."""
    (run,) = (alone[0] / "logs").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}", run.name)
    told = re.search(
        r"kept step (\d+) of (\d+), validation loss ([\d.]+), last loss ([\d.]+), "
        r"validation accuracy ([\d.]+)%",
        alone[1].stderr,
    )
    return curves(run / "train"), curves(run / "validation"), [float(n) for n in told.groups()]


def test_tensorboard_finds_each_curve_with_a_value_for_each_evaluation(training_curves):
    train, validation, (_, last, *_) = training_curves
    assert set(train) == {"cross_entropy"} and set(validation) == {"cross_entropy", "accuracy"}
    for curve in (*train.values(), *validation.values()):
        assert list(curve) == list(range(10, int(last) + 1, 10)) and last >= 100


def test_the_curves_are_those_of_the_training_that_stderr_speaks_of(training_curves):
    train, validation, (kept, last, lowest, loss, accuracy) = training_curves
    assert validation["cross_entropy"][kept] == pytest.approx(lowest, abs=6e-5)
    assert validation["cross_entropy"][kept] == min(validation["cross_entropy"].values())
    assert train["cross_entropy"][last] == pytest.approx(loss, abs=6e-5)
    assert 100 * validation["accuracy"][last] == pytest.approx(accuracy, abs=6e-3)
    assert train["cross_entropy"][last] < train["cross_entropy"][10] / 2


# ---- by itself: what is in these pictures? ------------------------------------------------------


def asked(alone, *files):
    """The flags that ask the saved network about files."""
    out = alone[0] / "out"
    return [
        "--output_graph",
        str(out / "net.keras"),
        "--output_labels",
        str(out / "l.txt"),
        "--label_image",
        *map(str, files),
    ]


def answers(printed):
    """[(path, [(score, label)])] of what --label_image prints."""
    found = []
    for line in printed.splitlines():
        answer = re.fullmatch(r"  ([01]\.\d{4})  (.*)", line)
        if answer:
            found[-1][1].append((float(answer[1]), answer[2]))
        else:
            found.append((line, []))
    return found


def test_the_five_best_labels_of_each_file_are_those_of_keras(alone, tmp_path, capsys):
    Image.effect_noise((500, 300), 90).save(tmp_path / "a photo.jpg")
    files = [
        tmp_path / "a photo.jpg",
        *(alone[0] / "pictures" / label / "3.png" for label in COLOURS),
    ]
    assert retrain.main(asked(alone, *files)) == 0
    found = answers(capsys.readouterr().out)
    assert [path for path, _ in found] == list(map(str, files))
    network = network_of(alone[0] / "out" / "net.keras")
    names = sorted(COLOURS)
    pixels = np.stack([bottlenecks.read_picture(file) for file in files])
    for (_, best), scores in zip(
        found, network.predict(inception.network_input(pixels), verbose=0)
    ):
        expected = sorted(zip(scores.tolist(), names), reverse=True)[:5]
        assert [label for _, label in best] == [label for _, label in expected]
        assert [score for score, _ in best] == pytest.approx([s for s, _ in expected], abs=1e-4)
    assert [best[0][1] for _, best in found[1:]] == list(COLOURS)  # unaltered


def test_files_that_cant_be_read_are_named_and_the_others_answered_with_exit_1(alone):
    there, pipe = "pictures/日本/3.png", "a pipe.png"
    os.mkfifo(alone[0] / pipe)  # nobody will ever write into it
    done = run_script(
        "retrain",
        *asked(alone, "missing.png", there, "pictures/grün/notes.txt", pipe, "pictures", there),
        cwd=alone[0],
        timeout=60,
    )
    os.remove(alone[0] / pipe)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert [(path, len(best)) for path, best in answers(done.stdout)] == [(there, 5)] * 2
    said = [line for line in done.stderr.splitlines() if "can't be read" in line]
    assert len(said) == 4
    for line, name in zip(said, ("missing.png", "pictures/grün/notes.txt", pipe, "pictures")):
        assert line.startswith(f"{name} can't be read (")
    assert said[3].endswith("(it is no plain file)")


def test_without_a_saved_network_it_says_what_to_do(alone, tmp_path):
    done = run_script("retrain", *asked((tmp_path,), "a.png"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
    assert "net.keras" in done.stderr and "train a network first with --image_dir" in done.stderr


def lying(data):
    """A .keras whose table of contents has its last file longer than it is."""
    entry = data.rindex(b"PK\x01\x02") + 20
    return data[:entry] + 2 * (2**31 - 5).to_bytes(4, "little") + data[entry + 8 :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"text\n" * 99,
        lambda data: data[: len(data) // 2],
        lambda data: data[:1000] + b"\xff" * 1000 + data[2000:],
        lying,
    ],
    ids=["empty", "text", "truncated", "overwritten", "lying"],
)
def test_a_broken_network_is_one_sentence(alone, tmp_path, spoil):
    shutil.copytree(alone[0] / "out", tmp_path / "out")
    network = tmp_path / "out" / "net.keras"
    network.write_bytes(spoil(network.read_bytes()))
    with pytest.raises(
        UserError, match="^[^\n]*net.keras is no network that retrain.py has saved[^\n]*$"
    ):
        retrain.main(asked((tmp_path,), alone[0] / "pictures" / "grün" / "0.png"))


@pytest.mark.parametrize(
    "text",
    [
        None,
        pytest.param("", marks=pytest.mark.slow),
        pytest.param("b\na\n", marks=pytest.mark.slow),
        "\n".join(sorted(COLOURS, reverse=True)),
    ],
    ids=["gone", "empty", "another's", "reordered"],
)
def test_the_network_knows_its_labels_whatever_became_of_the_file(alone, tmp_path, capsys, text):
    shutil.copytree(alone[0] / "out", tmp_path / "out")
    labels = tmp_path / "out" / "l.txt"
    labels.unlink() if text is None else labels.write_text(text, encoding="utf-8")
    files = [alone[0] / "pictures" / label / "3.png" for label in COLOURS]
    assert retrain.main(asked((tmp_path,), *files)) == 0
    assert [best[0][1] for _, best in answers(capsys.readouterr().out)] == list(COLOURS)


@pytest.mark.parametrize(
    "shape, labels",
    [((4,), 7), ((150, 150, 3), 7), ((299, 299, 1), 7), ((299, 299, 3), 6), ((299, 299, 3), None)],
)
def test_a_network_that_it_has_not_saved_is_one_sentence(alone, tmp_path, shape, labels):
    keras = inception.load_tensorflow().keras
    inside = keras.Input(shape)
    last = keras.layers.Dense(7)(
        keras.layers.GlobalMaxPooling2D()(inside) if len(shape) == 3 else inside
    )
    (tmp_path / "out").mkdir()
    keras.Model(inside, last).save(tmp_path / "out" / "net.keras")
    if labels:
        with zipfile.ZipFile(tmp_path / "out" / "net.keras", "a") as file:
            file.writestr("labels.json", json.dumps(list("abcdefg")[:labels]))
    with pytest.raises(
        UserError, match="^[^\n]*net.keras is no network that retrain.py has saved, [^\n]*$"
    ):
        retrain.main(asked((tmp_path,), alone[0] / "pictures" / "grün" / "0.png"))


# ---- by itself: the same again, and distorted ---------------------------------------------------

DISTORTIONS = (
    "--flip_left_right",
    "--random_crop",
    "10",
    "--random_scale",
    "10",
    "--random_brightness",
    "10",
)
COST = re.compile(
    r"distortions: each step looks at (\d+) pictures anew, at most (\d+) in (\d+) "
    r"steps, of which (\d+) are in .* already; the others take up to (-?\d+) min "
    r"at (\d+) pictures/s and ([\d.]+) GB there"
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder of three labels, with 24 pictures to train, 6 to validate and 6 to test on."""
    folder = tmp_path_factory.mktemp("small")
    draw_labels(folder, SMALL)
    return folder


def flags(pictures, folder, *more):
    """Thirty steps of eight pictures; all that is written goes to folder."""
    return [
        str(word)
        for word in (
            "--image_dir",
            pictures,
            "--bottleneck_dir",
            folder / "b",
            "--output_graph",
            folder / "net.keras",
            "--output_labels",
            folder / "labels.txt",
            "--summaries_dir",
            folder / "logs",
            *QUICK,
            "--cache-dtype",
            "float32",
            "--train_batch_size",
            8,
            "--how_many_training_steps",
            30,
            *more,
        )
    ]


def weights_in(folder):
    return network_of(folder / "net.keras").get_weights()


def retrained(*args):
    """Run retrain.py in this process. Returns (what it printed, what it said on stderr)."""
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        assert retrain.main(flags(*args)) == 0
    return printed.getvalue(), said.getvalue()


def same(one, two):
    return all((a == b).all() for a, b in zip(one, two, strict=True))


def caches(folder):
    """({key: row} of each cache of distorted bottlenecks, the same of each other cache)."""
    found = [], []
    for described in sorted((folder / "b").glob("*.json")):
        text = json.loads(described.read_text())
        stored = {}
        if described.with_suffix(".f32").exists():
            keys = described.with_suffix(".keys").read_bytes()
            rows = np.fromfile(described.with_suffix(".f32"), np.float32)
            rows = rows[: len(rows) // text["size"] * text["size"]].reshape(-1, text["size"])
            records = range(0, len(keys) - 35, 36)  # a key and the checksum of its row
            stored = {keys[i : i + 32]: row for i, row in zip(records, rows)}
        found["random_crop" not in text].append(stored)
    return found


@pytest.fixture(scope="module")
def plain(small, tmp_path_factory, networks_made_once):
    folder = tmp_path_factory.mktemp("plain")
    return folder, *retrained(small, folder)


@pytest.mark.slow
def test_the_same_command_elsewhere_saves_the_same_network_and_another_seed_does_not(
    small, plain, tmp_path
):
    for seed in ("0", "1"):
        retrained(small, tmp_path / seed, "--seed", seed)
    assert same(weights_in(plain[0]), weights_in(tmp_path / "0"))
    assert not same(weights_in(plain[0]), weights_in(tmp_path / "1"))


def test_distortions_of_nought_are_plain_training(small, plain, tmp_path):
    _, said = retrained(
        small, tmp_path, "--random_crop", "0", "--random_scale", "0", "--random_brightness", "0"
    )
    assert "distortions:" not in said and len(caches(tmp_path)[0]) == 0
    assert same(weights_in(plain[0]), weights_in(tmp_path))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(("--precision", "bfloat16"), marks=pytest.mark.slow),
        pytest.param(("--precision", "int8"), marks=pytest.mark.slow),
        ("--cache-dtype", "float16"),
    ],
)
def test_other_precisions_have_caches_of_their_own_and_find_them_again(
    small, plain, tmp_path, more
):
    shutil.copytree(plain[0] / "b", tmp_path / "b")
    before = {path.name for path in (tmp_path / "b").iterdir()}
    printed, said = retrained(small, tmp_path, *more)
    assert printed.startswith("Final test accuracy = ") and "bottlenecks: 36 pictures" in said
    assert {path.name for path in (tmp_path / "b").iterdir()} > before
    assert "bottlenecks:" not in retrained(small, tmp_path, *more)[1]


def test_with_both_it_trains_and_then_labels_with_all_labels_where_they_are_few(small, tmp_path):
    printed, _ = retrained(small, tmp_path, "--label_image", small / "grün" / "0.png")
    first, *rest = printed.splitlines()
    assert first.startswith("Final test accuracy = ") and len(rest) == 4
    ((path, best),) = answers("\n".join(rest))
    assert path == str(small / "grün" / "0.png") and best[0][1] == "grün"
    assert {label for _, label in best} == set(SMALL)


@pytest.fixture(scope="module")
def distorted(small, tmp_path_factory, networks_made_once):
    """The folder, the output and the stderr of an undisturbed run with distortions."""
    folder = tmp_path_factory.mktemp("distorted")
    return folder, *retrained(small, folder, *DISTORTIONS)


@pytest.mark.slow
def test_it_says_what_distortions_cost_before_it_starts(distorted):
    said = distorted[2].splitlines()
    costs = [i for i, line in enumerate(said) if COST.match(line)]
    starts = [i for i, line in enumerate(said) if line.startswith("training")]
    assert len(costs) == 1 and costs[0] < starts[0]
    assert COST.match(said[costs[0]]).groups()[:4] == ("8", "240", "30", "0")


@pytest.mark.slow
def test_each_epoch_has_distorted_pictures_of_its_own_in_a_cache_of_their_own(distorted):
    (one,), (own,) = caches(distorted[0])
    assert len(one) == 240 and len(own) == 36 and not set(one) & set(own)
    every = np.stack([*one.values(), *own.values()])
    assert len(np.unique(every, axis=0)) == 276


@pytest.mark.slow
def test_training_sees_the_distorted_pictures(distorted, plain):
    right = re.fullmatch(r"Final test accuracy = ([\d.]+)% \(N=6\)\n", distorted[1])
    assert float(right[1]) > 80  # the colours are far apart
    ours, theirs = weights_in(distorted[0]), weights_in(plain[0])
    assert same(ours[:-2], theirs[:-2])  # Inception's own
    assert not same(ours[-2:], theirs[-2:])


def killed(args, folder, count):
    """Run retrain.py until its cache of distorted bottlenecks has so many, and kill it."""
    process = subprocess.Popen(
        [sys.executable, REPO / "retrain.py", *args],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while sum(map(len, caches(folder)[0])) < count:
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("counts", [[50], [1, 60, 130, 200]])
def test_killed_in_the_middle_it_goes_on_where_it_was_to_the_same_end(
    small, distorted, tmp_path, counts
):
    folder, undisturbed, _ = distorted
    (whole,), _ = caches(folder)
    for count in counts:
        killed(flags(small, tmp_path, *DISTORTIONS), tmp_path, count)
        (part,), _ = caches(tmp_path)
        assert count <= len(part) < len(whole) and set(part) < set(whole)
    printed, said = retrained(small, tmp_path, *DISTORTIONS)
    assert COST.search(said).groups()[:4] == ("8", "240", "30", str(len(part)))
    assert printed == undisturbed
    (again,), _ = caches(tmp_path)
    keys = next(path for path in (tmp_path / "b").glob("*.keys") if path.stat().st_size > 36 * 36)
    assert again.keys() == whole.keys() and keys.stat().st_size == 36 * len(whole)
    assert same([again[key] for key in sorted(again)], [whole[key] for key in sorted(whole)])
    assert same(weights_in(tmp_path), weights_in(folder))


@pytest.mark.slow
def test_a_finished_run_has_nothing_left_to_distort(small, distorted, tmp_path):
    shutil.copytree(distorted[0] / "b", tmp_path / "b")
    printed, said = retrained(small, tmp_path, *DISTORTIONS)
    assert COST.search(said)[4] == "240" and "up to 0 min" in said and "0.00 GB" in said
    assert printed == distorted[1] and same(weights_in(tmp_path), weights_in(distorted[0]))
    assert list(map(len, caches(tmp_path)[0])) == [240]


@pytest.mark.slow
def test_another_seed_and_other_percentages_draw_others(small, tmp_path):
    """By a weights file, with which the seed is that of chance alone."""
    inception.build_network("random", "mixed0")[0].save_weights(tmp_path / "own.weights.h5")
    for more in ((), ("--seed", "1"), ("--random_crop", "11")):
        _, said = retrained(
            small,
            tmp_path,
            *DISTORTIONS,
            "--how_many_training_steps",
            "2",
            "--train_batch_size",
            "100",
            "--weights",
            tmp_path / "own.weights.h5",
            *more,
        )
        assert COST.search(said).groups()[:4] == ("24", "48", "2", "0")
    drawn_ones, others = caches(tmp_path)
    assert len(others) == 1 and list(map(len, drawn_ones)) == [48] * 3
    every = np.stack([row for one in drawn_ones for row in one.values()])
    assert len(np.unique(every, axis=0)) == 3 * 48


@pytest.mark.slow
def test_the_cost_counts_what_is_there_of_this_folders_pictures_alone(small, tmp_path):
    draw_labels(tmp_path / "p", SMALL)
    three = (*DISTORTIONS, "--how_many_training_steps", "3")
    costs = [
        COST.search(retrained(pictures, tmp_path, *three)[1]).groups()[1:4]
        for pictures in (small, tmp_path / "p", tmp_path / "p", small)
    ]
    assert costs == [("24", "3", "0"), ("24", "3", "0"), ("24", "3", "24"), ("24", "3", "24")]


def mounted(folder, *command):
    """Run a command with a disk of 1 MB at a folder, which nobody but the command sees."""
    return subprocess.run(
        [
            "unshare",
            "-rm",
            "sh",
            "-c",
            'mount -t tmpfs -o size=1m none "$0" && exec "$@"',
            folder,
            *command,
        ],
        env=environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.mark.slow
def test_a_disk_without_room_for_the_distorted_pictures_is_refused_before_training(small, tmp_path):
    (tmp_path / "b").mkdir()
    if not shutil.which("unshare") or mounted(tmp_path / "b", "true").returncode:
        pytest.skip("no disk can be mounted here")
    done = mounted(
        tmp_path / "b",
        sys.executable,
        REPO / "retrain.py",
        *flags(small, tmp_path, *DISTORTIONS, "--how_many_training_steps", "2000"),
    )
    assert (done.returncode, done.stdout) == (2, "") and "training:" not in done.stderr
    *_, cost, refused = done.stderr.splitlines()
    assert re.fullmatch(
        r"retrain.py: 16000 bottlenecks .* has room for .*--cache-dtype float16", refused
    )
    *counts, minutes, rate, size = map(float, COST.match(cost).groups())
    assert counts == [8, 16000, 2000, 0] and size == round(16000 * 1024 / 1e9, 2)
    assert (minutes - 1) * 60 * (rate - 1) < 16000 <= minutes * 60 * (rate + 1)
    assert os.listdir(tmp_path) == ["b"]


@pytest.mark.slow
def test_a_disk_without_room_for_the_curves_is_one_sentence(small, tmp_path):
    (tmp_path / "logs").mkdir()
    if not shutil.which("unshare") or mounted(tmp_path / "logs", "true").returncode:
        pytest.skip("no disk can be mounted here")
    fill = 'cat /dev/zero > "$0/zero" 2> /dev/null; exec "$@"'
    done = mounted(
        tmp_path / "logs",
        "sh",
        "-c",
        fill,
        tmp_path / "logs",
        sys.executable,
        REPO / "retrain.py",
        *flags(small, tmp_path),
        "--summaries_dir",
        tmp_path / "logs",
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.fullmatch(
        r"retrain.py: the curves .* can't be written .*--summaries_dir",
        done.stderr.splitlines()[-1],
    )


@pytest.mark.slow
def test_a_disk_without_room_for_the_network_is_refused_before_the_work(small, tmp_path):
    (tmp_path / "out").mkdir()
    if not shutil.which("unshare") or mounted(tmp_path / "out", "true").returncode:
        pytest.skip("no disk can be mounted here")
    done = mounted(
        tmp_path / "out",
        sys.executable,
        REPO / "retrain.py",
        *flags(
            small,
            tmp_path,
            "--layer",
            "mixed4",
            "--output_graph",
            tmp_path / "out" / "deep" / "net.keras",
        ),
    )
    assert (done.returncode, done.stdout) == (2, "") and not (tmp_path / "b").exists()
    assert re.fullmatch(
        r"retrain.py: [^\n]*net.keras takes \d+ MB and there is room for 1: "
        "[^\n]*--output_graph",
        done.stderr.splitlines()[-1],
    )


def test_the_same_picture_under_two_labels_is_told_of(alone):
    said = alone[1].stderr
    told = re.search("warning: 2 pictures have two labels, such as (.*) and (.*)\n", said)
    assert {os.path.basename(os.path.dirname(path)) for path in told.groups()} == {
        "Red Things",
        "grün",
    }


def test_an_empty_label_is_named_and_left_out(small, tmp_path):
    shutil.copytree(small, tmp_path / "p")
    (tmp_path / "p" / "nothing").mkdir()
    printed, said = retrained(tmp_path / "p", tmp_path)
    assert f"there are no pictures in {tmp_path / 'p' / 'nothing'}: left out" in said
    assert "Final test accuracy" in printed and "ask it with --label_image" in said


@pytest.mark.slow
def test_a_picture_that_vanishes_between_two_epochs_is_one_sentence(tmp_path):
    draw_labels(tmp_path / "p", SMALL)
    gone = tmp_path / "p" / "grün" / "3.png"

    def vanish():
        while not any(caches(tmp_path)[0]):
            time.sleep(0.005)
        gone.unlink()

    thread = threading.Thread(target=vanish)
    thread.start()
    try:
        with pytest.raises(
            UserError,
            match=f"^{re.escape(str(gone))} could be read before and "
            "can't now .the file is missing.$",
        ):
            retrained(tmp_path / "p", tmp_path, *DISTORTIONS)
    finally:
        thread.join()
    assert not (tmp_path / "net.keras").exists()


# ---- flags --------------------------------------------------------------------------------------

OLD = [
    "--image_dir",
    "--bottleneck_dir",
    "--model_dir",
    "--output_graph",
    "--output_labels",
    "--how_many_training_steps",
    "--learning_rate",
    "--testing_percentage",
    "--validation_percentage",
    "--eval_step_interval",
    "--train_batch_size",
    "--test_batch_size",
    "--validation_batch_size",
    "--print_misclassified_test_images",
    "--final_tensor_name",
    "--flip_left_right",
    "--random_crop",
    "--random_scale",
    "--random_brightness",
    "--summaries_dir",
]


def parser_of(alone):
    parser = argparse.ArgumentParser()
    picture_arguments.addargs(parser, alone)
    return parser


@pytest.mark.parametrize("by_itself", [False, True])
def test_old_and_new_spellings_of_every_flag_are_one(by_itself):
    parser = parser_of(by_itself)
    old = [
        word
        for action in parser._actions
        for word in action.option_strings
        if word.startswith("--") and "_" in word and word != "--label_image"
    ]
    assert sorted(old) == sorted(OLD)
    for word in old:
        value = [] if word in ("--flip_left_right", "--print_misclassified_test_images") else ["7"]
        assert (
            parser.parse_args([word, *value])
            == parser.parse_args([word.replace("_", "-"), *value])
            != parser.parse_args([])
        )


def helped(main, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["-h"])
    return capsys.readouterr().out


def flags_in(text):
    """The flags that help speaks of, one set for each line."""
    return [
        set(re.findall(r"--[a-z0-9_-]+", line.split("   ")[0]))
        for line in re.findall(r"^  (-.*)", text, re.M)
    ]


def test_help_has_every_flag_of_2016_in_both_spellings(capsys):
    found = flags_in(helped(retrain.main, capsys))
    for word in OLD:
        assert any({word, word.replace("_", "-")} <= words for words in found), word


@pytest.mark.parametrize("script", [categorize_images, categorize_both])
def test_help_of_the_others_has_the_flags_that_do_something_there(script, capsys):
    said = helped(script.main, capsys)
    found = set().union(*flags_in(said))
    assert {"--bottleneck_dir", "--learning_rate", "--how_many_training_steps"} <= found
    assert not {"--image_dir", "--output_graph", "--random_crop", "--summaries_dir"} & found
    assert "the rest has no effect here" in " ".join(said.split())


def test_help_begins_with_the_five_that_matter(capsys):
    blocks = [
        block
        for block in helped(retrain.main, capsys).split("\n\n")
        if flags_in(block) and not block.startswith("options:")
    ]
    assert blocks[0].startswith("the five that matter:\n")
    assert [len(flags_in(block)) for block in blocks][0] == 5 < sum(map(len, map(flags_in, blocks)))


@pytest.mark.parametrize("by_itself", [False, True])
def test_the_default_that_help_names_is_the_default(by_itself):
    parser = parser_of(by_itself)
    for action in parser._actions:
        shown = re.search(r"\(default: ([^()]+)\)$", action.help)
        if action.help == argparse.SUPPRESS:
            assert (
                parser.parse_args([]).__dict__[action.dest]
                == parser_of(True).parse_args([]).__dict__[action.dest]
            )
        elif action.default is False or action.default in (None, "", [], argparse.SUPPRESS):
            # Nothing, but for imagenet, which where it can't be had may give way to random.
            assert not shown or shown[1] == ("imagenet" if action.dest == "weights" else "none")
        else:
            assert parser.parse_args([action.option_strings[0], shown[1]]) == parser.parse_args([])


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--how_many_training_steps", "0"], "must be 1 or more"),
        (["--train_batch_size", "-3"], "must be 1 or more"),
        (["--eval_step_interval", "0"], "must be 1 or more"),
        (["--learning_rate", "-1"], "must be 0 .Adam. or above"),
        (["--learning_rate", "nan"], "must be 0 .Adam. or above"),
        (["--testing_percentage", "60", "--validation_percentage", "40"], "too little to train on"),
        ([], "--image_dir must name a folder"),
        (["--image_dir", "nowhere"], "there is none at nowhere"),
        (["--image_dir", "nowhere", *DISTORTIONS], "there is none at nowhere"),
    ],
)
def test_what_it_cant_do_is_one_sentence(flags, sentence):
    with pytest.raises(UserError, match=f"^[^\n]*{sentence}"):
        retrain.main(flags)


@pytest.mark.parametrize(
    "flags",
    [
        ["--no_such_flag"],
        ["--seed", "-1"],
        ["--seed", str(2**32)],
        ["--seed", "x"],
        ["--layer", "mixed11"],
        ["--random_crop", "101"],
        ["--random_scale", "-1"],
        ["--random_brightness", "x"],
        ["--test_batch_size", "0"],
        ["--precision", "float64"],
        ["--cache-dtype", "int8"],
        ["--label_image"],
    ],
)
def test_unknown_flags_and_values_out_of_range_are_errors(flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        retrain.main(["--image_dir", ".", *flags])
    assert flags[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    "args, word",
    [
        (("--output_graph", "net.pb"), ".keras"),
        (("--output_labels", "."), "can't be written"),
        (("--output_labels", "/dev/null/labels.txt"), "can't be written"),
        (("--output_graph", "/proc/net.keras"), "can't be written"),
        (("--output_graph", "x.keras", "--output_labels", "./x.keras"), "a file of its own"),
        (("--summaries_dir", "/dev/null/logs"), "can't be written"),
        (("--bottleneck_dir", "/dev/null"), "is a file: name a folder"),
        (("--final_tensor_name", "a/b"), "--final_tensor_name"),
        (("--testing_percentage", "0"), "must be 1 or more"),
    ],
)
def test_what_could_not_be_saved_is_refused_before_the_work(tmp_path, monkeypatch, args, word):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=word):
        retrain.main(["--image_dir", "nowhere", *args])
    assert list(tmp_path.iterdir()) == []


def test_a_final_tensor_name_that_another_layer_has_is_refused_before_the_work(small, tmp_path):
    with pytest.raises(UserError, match="--final_tensor_name mixed0 is another layer's name"):
        retrain.main(flags(small, tmp_path, "--final_tensor_name", "mixed0"))
    assert list(tmp_path.iterdir()) == []


def test_curves_of_a_run_that_is_called_run_are_in_nobodys_way(tmp_path):
    (tmp_path / "logs" / "run").mkdir(parents=True)
    with pytest.raises(UserError, match="there is none at nowhere"):
        retrain.main(["--image_dir", "nowhere", "--summaries_dir", str(tmp_path / "logs")])


def test_files_that_are_left_out_are_counted_and_no_picture_under_two_labels(small, tmp_path):
    shutil.copytree(small, tmp_path / "p")
    for label in SMALL:
        (tmp_path / "p" / label / "empty.jpg").write_bytes(b"")
    _, said = retrained(tmp_path / "p", tmp_path / "out")
    assert f"\nleft out: {len(SMALL)} of " in said
    assert "two labels" not in said
