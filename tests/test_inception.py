"""The network: its weights, its fingerprint, and its three ways of running fast beside Keras' own.

Real TensorFlow with weights from a seed, most at the first blocks, which is fast.

    pytest tests/test_inception.py
    pytest tests/test_inception.py -k precision
"""

import concurrent.futures
import csv
import hashlib
import random
import threading

import numpy as np
import pytest
from conftest import run_script
from PIL import Image, ImageOps
from shared_pictures import CATALOGUE, WEIGHTS, direct, draw, drawn, pixels_of, stir

from common.terminal import UserError
from learning import bottleneck_cache, bottlenecks, inception
from learning.tensorflow_loader import load_tensorflow


@pytest.fixture(scope="module")
def network():
    return inception.build_network("random", "mixed0", 0)


# ---- running it fast ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stirred():
    return stir(inception.build_network("random", "mixed2")[0])


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return list(drawn(tmp_path_factory.mktemp("pictures"), 12).values())


@pytest.fixture(scope="module", params=inception.PRECISIONS)
def running(request, stirred):
    """(precision, what make_forward gives in it)"""
    return request.param, inception.make_forward(stirred, request.param)


@pytest.mark.parametrize(
    "layer",
    ["mixed0", *(pytest.param(layer, marks=pytest.mark.slow) for layer in ("mixed3", "mixed8"))],
)
def test_folded_and_swapped_operations_give_what_keras_gives(layer, paths):
    model = stir(inception.build_network("random", layer)[0])
    expected = direct(model, paths[:4])
    rows = inception.make_forward(model)[0](pixels_of(paths[:4]))
    assert rows.dtype == np.float32 and rows.shape == expected.shape
    off = np.abs(rows - expected).max()
    assert off < 1e-4 * np.abs(expected).max()
    assert off < 1e-2 * expected.std(axis=0).max()  # far less than the pictures' differences


@pytest.mark.slow
def test_the_full_network_gives_2048_d_bottlenecks_equal_to_those_of_keras_applications(tmp_path):
    keras = inception.load_tensorflow().keras
    reference = stir(
        keras.applications.InceptionV3(
            weights=None, include_top=False, input_shape=(299, 299, 3), pooling="avg"
        )
    )
    reference.save_weights(tmp_path / "reference.weights.h5")
    pictures = drawn(tmp_path / "pictures", 3)
    pixels = pixels_of(pictures.values()).astype(np.float32)
    expected = reference.predict(
        keras.applications.inception_v3.preprocess_input(pixels), verbose=0
    )

    model, fingerprint = inception.build_network(
        str(tmp_path / "reference.weights.h5"), "avg_pool", seed=9
    )
    cache = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 2048)
    assert bottlenecks.compute(model, "float32", cache, lambda: pictures.items()) == {}
    rows = cache.matrix()[cache.find(list(pictures))]
    off = np.abs(rows - expected).max()
    assert off < 1e-4 * np.abs(expected).max() and off < 1e-2 * expected.std(axis=0).max()


def test_in_every_precision_a_picture_is_what_it_is_in_float32_but_for_rounding(
    running, stirred, paths
):
    precision, (function, _) = running
    exact, rows = direct(stirred, paths), function(pixels_of(paths))
    assert rows.dtype == np.float32
    cosine = (
        (rows * exact).sum(axis=1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(exact, axis=1)
    )
    assert cosine.min() > 0.99
    distance = np.linalg.norm(rows[:, None] - exact[None], axis=2)
    assert distance.argmin(axis=1).tolist() == list(range(len(paths)))  # nearest to itself
    rounding = np.abs(rows - exact).max() / exact.max()
    assert rounding < 1e-4 if precision == "float32" else rounding > 1e-4


def test_a_row_does_not_depend_on_the_other_pictures_of_its_batch(running, paths):
    precision, (function, _) = running
    pixels = pixels_of(paths)
    together = function(pixels)
    alone = np.concatenate([function(one[None]) for one in pixels])
    among_white = function(np.stack([np.full_like(pixels[5], 255), pixels[5]]))[1]
    largest = np.abs(together).max() * {"float32": 1e-5, "bfloat16": 1e-2, "int8": 0}[precision]
    assert np.abs(alone - together).max() <= largest
    assert np.abs(among_white - together[5]).max() <= largest


@pytest.mark.slow
def test_several_threads_at_once_get_the_right_rows(running, paths):
    precision, (function, threads) = running
    pixels = pixels_of(paths)
    batches = [pixels[[i, (i + turn) % len(pixels)]] for turn in (1, 5) for i in range(len(pixels))]
    expected = [function(batch) for batch in batches]
    with concurrent.futures.ThreadPoolExecutor(2 * threads + 1) as pool:
        rows = list(pool.map(function, batches))
    np.testing.assert_allclose(
        rows, expected, rtol=0, atol=1e-5 * np.abs(expected).max() if precision == "float32" else 0
    )


def test_the_input_of_the_network_is_what_keras_applications_makes_of_pixels():
    keras = inception.load_tensorflow().keras
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    made = inception.network_input(pixels)
    expected = keras.applications.inception_v3.preprocess_input(pixels.astype(np.float32))
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, atol=1e-6)


# ---- the network --------------------------------------------------------------------------------


def test_avg_pool_is_the_average_of_the_last_block():
    model, fingerprint = inception.build_network("random", "avg_pool", 0)
    assert model.output_shape == (None, 2048) and fingerprint["layer"] == "mixed10"


def test_random_weights_are_those_of_keras_whatever_other_threads_draw_meanwhile():
    keras = load_tensorflow().keras
    keras.utils.set_random_seed(3)
    drawn_by_keras = inception.untrained("mixed1")[1].get_weights()
    is_done = threading.Event()

    def draw_on():
        while not is_done.wait(0.0005):  # without a pause it would take the processor for itself
            random.random()

    other = threading.Thread(target=draw_on)
    other.start()
    try:
        drawn_here = inception.build_network("random", "mixed1", 3)[0].get_weights()
    finally:
        is_done.set()
        other.join()
    assert all(np.array_equal(a, b) for a, b in zip(drawn_by_keras, drawn_here, strict=True))


def test_the_same_seed_gives_the_same_network_and_another_seed_another(network):
    same, other = (inception.build_network("random", "mixed0", seed) for seed in (0, 1))
    assert same[1] == network[1] and other[1] != network[1]
    kernels = [model.get_weights()[0] for model, _ in (network, same, other)]
    assert (kernels[0] == kernels[1]).all() and np.abs(kernels[0] - kernels[2]).max() > 0.01


# ---- weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, data",
    [
        ("none.h5", None),
        ("text.weights.h5", b"hello"),
        ("text.h5", b"hello"),
        ("a.bin", b"hello"),
        ("empty.weights.h5", b""),
    ],
)
def test_a_file_that_holds_no_weights_is_one_sentence(tmp_path, name, data):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match="^[^\n]+$") as problem:
        inception.build_network(str(tmp_path / name), "mixed0")
    assert name in str(problem.value) and "weights" in str(problem.value)


def test_weights_cut_short_or_of_another_network_are_one_sentence(tmp_path, network):
    network[0].save_weights(tmp_path / "whole.weights.h5")
    data = (tmp_path / "whole.weights.h5").read_bytes()
    (tmp_path / "cut.weights.h5").write_bytes(data[: len(data) // 2])
    for name, layer in (("cut", "mixed0"), ("whole", "mixed1")):  # up to mixed0 is too little
        with pytest.raises(UserError, match=f"^[^\n]*{name}.weights.h5[^\n]*$"):
            inception.build_network(str(tmp_path / f"{name}.weights.h5"), layer)


@pytest.fixture(scope="module")
def up_to(tmp_path_factory):
    """up_to(layer) -> a weights file of random weights that ends there."""
    folder = tmp_path_factory.mktemp("weights")

    def path(layer):
        file = folder / f"{layer}.weights.h5"
        if not file.exists():
            inception.build_network("random", layer)[0].save_weights(file)
        return file

    return path


@pytest.mark.parametrize(
    "script, flags",
    (
        ("categorize_images", ()),
        pytest.param("categorize_both", (), marks=pytest.mark.slow),  # the same flags and calls
        ("retrain", ("--image_dir", "pictures")),
    ),
)
def test_a_file_that_ends_before_the_layer_is_told_before_anything_is_done(
    up_to, tmp_path, script, flags
):
    """Before the database is opened, pictures are looked for or TensorFlow is imported."""
    done = run_script(
        script,
        "--weights",
        up_to("mixed8"),
        *flags,
        cwd=tmp_path,
        env={"PYTHONPROFILEIMPORTTIME": "1"},
        process=True,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 2 and len(said) == 1 and list(tmp_path.iterdir()) == []
    assert "up to mixed8 only" in said[0] and "train with --layer mixed8" in said[0]
    imported = {line.split()[-1] for line in done.stderr.splitlines() if line not in said}
    assert "numpy" in imported and "tensorflow" not in imported
    other = run_script(
        script, "--weights", up_to("mixed8"), "--layer", "mixed8", *flags, cwd=tmp_path
    )
    assert other.returncode == 2 and "mixed8" not in other.stderr  # goes on, to what is not there


@pytest.mark.parametrize(
    "holds, layer", (("mixed0", "mixed1"), ("mixed2", "mixed9"), ("mixed2", "avg_pool"))
)
def test_how_far_a_file_reaches_is_told_by_its_convolutions(up_to, holds, layer):
    with pytest.raises(UserError, match=f"up to --layer {layer}.* with --layer {holds}, "):
        inception.check_weights(str(up_to(holds)), layer)
    for reached in inception.LAYERS[: inception.LAYERS.index(holds) + 1]:
        inception.check_weights(str(up_to(holds)), reached)


def test_the_convolutions_up_to_each_block_are_those_of_the_network(tmp_path):
    keras = inception.load_tensorflow().keras
    whole = keras.applications.InceptionV3(weights=None, include_top=False)
    for layer in inception.LAYERS:
        block = whole.get_layer("mixed10" if layer == "avg_pool" else layer)
        kinds = [type(one).__name__ for one in keras.Model(whole.input, block.output).layers]
        assert kinds.count("Conv2D") == inception.CONVOLUTIONS[layer]


def test_a_weights_file_gives_the_network_it_was_saved_from(tmp_path, network):
    path = tmp_path / "part.weights.h5"
    network[0].save_weights(path)
    loaded, fingerprint = inception.build_network(str(path), "mixed0", seed=5)
    assert fingerprint["weights"] == hashlib.sha256(path.read_bytes()).hexdigest()
    for ours, theirs in zip(loaded.get_weights(), network[0].get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # Sums are not always added up in the same order, so bottlenecks are the same but for rounding.
    picture = [draw(tmp_path / "a.png", 1)]
    np.testing.assert_allclose(
        direct(loaded, picture), direct(network[0], picture), rtol=1e-3, atol=1e-7
    )


@pytest.mark.slow
def test_without_a_network_the_download_is_one_sentence_that_says_what_to_do(tmp_path):
    for i in range(60):
        draw(tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png", i)
    done = run_script(
        "retrain",
        "--image_dir",
        "pictures",
        cwd=tmp_path,
        env={"KERAS_HOME": str(tmp_path / "home"), "https_proxy": "http://127.0.0.1:9"},
        process=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    last = done.stderr.splitlines()[-1]
    for part in (
        "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "87910968",
        "https://storage.googleapis.com/",
        "bcbd6486424b2319ff4ef7d526e38f63",
        "--weights FILE",
    ):
        assert part in last
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def trained_network():
    if not WEIGHTS.exists() or not CATALOGUE.exists():
        pytest.skip("the real weights and catalogues of ../shared are not here")
    return inception.build_network(str(WEIGHTS), "mixed8")[0]


@pytest.mark.slow
def test_with_real_weights_two_pictures_of_one_thing_are_nearer_than_a_third(
    trained_network, tmp_path
):
    originals, altered = [], []
    with open(CATALOGUE / "products.tsv", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        links = [row["image_link"] for number, row in enumerate(rows) if number % 2500 == 0]
    for number, link in enumerate(links):
        with Image.open(CATALOGUE / link) as picture:
            whole = picture.convert("RGB")
        whole.save(tmp_path / f"{number}.png")
        ImageOps.mirror(ImageOps.crop(whole, 8)).save(tmp_path / f"{number}-m.jpg", quality=70)
        originals.append(tmp_path / f"{number}.png")
        altered.append(tmp_path / f"{number}-m.jpg")
    one, two = direct(trained_network, originals), direct(trained_network, altered)
    distance = np.linalg.norm(one[:, None] - two[None], axis=2)
    assert len(links) >= 5 and distance.argmin(axis=1).tolist() == list(range(len(links)))


@pytest.mark.slow
def test_an_earlier_block_of_a_file_is_the_inner_output_of_the_later_one(trained_network):
    keras = inception.load_tensorflow().keras
    early = inception.build_network(str(WEIGHTS), "mixed5")[0]
    block = trained_network.get_layer("mixed5").output
    inner = keras.Model(trained_network.input, keras.layers.GlobalAveragePooling2D()(block))
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 299, 299, 3)).astype(np.float32)
    np.testing.assert_allclose(early(batch).numpy(), inner(batch).numpy(), atol=1e-5)


@pytest.mark.slow
def test_a_file_that_ends_before_the_layer_is_refused(trained_network):
    with pytest.raises(UserError, match="up to --layer"):
        inception.build_network(str(WEIGHTS), "mixed9")


def test_a_variance_below_nought_is_one_sentence_before_anything_runs():
    model = inception.build_network("random", "mixed0", 0)[0]
    layer = next(one for one in model.layers if type(one).__name__ == "BatchNormalization")
    beta, mean, variance = layer.get_weights()
    layer.set_weights([beta, mean, -variance])
    for precision in inception.PRECISIONS:
        with pytest.raises(UserError, match=f"^[^\n]*{layer.name} is below 0"):
            inception.make_forward(model, precision)
