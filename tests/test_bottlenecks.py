"""Pictures -> bottlenecks: what is read, what is kept, and what is left after a kill.

Real TensorFlow with weights from a seed at the first block, which is fast; about 45 seconds.

    pytest tests/test_bottlenecks.py
    pytest tests/test_bottlenecks.py -k kill
"""
import csv
import hashlib
import io
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from conftest import REPO, environment, run_script

import bottlenecks
from console import UserError

WEIGHTS = REPO.parent / "shared" / "weights" / "inception_v3_imagenet_mixed8.weights.h5"
CATALOGUE = REPO.parent / "shared" / "data" / "hm"
RED, BLUE = (220, 20, 30), (20, 40, 210)


@pytest.fixture(scope="module")
def network():
    return bottlenecks.build_network("random", "mixed0", 0)


def draw(path, seed):
    """A picture that no other seed draws."""
    rng = random.Random(seed)
    picture = Image.new("RGB", (80, 90), tuple(rng.randrange(256) for _ in range(3)))
    for _ in range(6):
        x, y = rng.randrange(60), rng.randrange(70)
        ImageDraw.Draw(picture).ellipse((x, y, x + rng.randrange(5, 40), y + rng.randrange(5, 40)),
                                        fill=tuple(rng.randrange(256) for _ in range(3)))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def halves(mode="RGB", size=(60, 40)):
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, *size))
    return picture.convert(mode)


def colour(pixels):
    return tuple(np.round((np.asarray(pixels, float) + 1) * 127.5))


def close(pixels, expected):
    return np.abs(np.subtract(colour(pixels), expected)).max() <= 12


def direct(network, paths):
    """The bottlenecks of files, by Keras alone."""
    return network.predict(np.stack([bottlenecks.read_picture(path) for path in paths]), verbose=0)


def files_of(cache):
    """(keys, rows) as they are on disk."""
    with open(cache.base + ".keys", "rb") as file:
        keys = file.read()
    rows = np.fromfile(cache.base + ".f32", np.float32)
    return [keys[i:i + 32].hex() for i in range(0, len(keys), 32)], rows.reshape(-1, cache.size)


# ---- reading pictures ---------------------------------------------------------------------------

def test_a_picture_is_scaled_to_the_range_and_size_the_network_was_trained_on(tmp_path):
    halves().save(tmp_path / "a.png")
    pixels = bottlenecks.read_picture(tmp_path / "a.png")
    assert pixels.shape == (299, 299, 3) and pixels.dtype == np.float32
    assert colour(pixels[150, 10]) == RED and colour(pixels[150, 290]) == BLUE


@pytest.mark.parametrize("mode, suffix", [
    ("RGB", "jpg"), ("CMYK", "jpg"), ("P", "png"), ("P", "gif"), ("RGBA", "png"), ("RGB", "webp"),
    ("RGB", "bmp"), ("RGB", "tiff")])
def test_every_colour_mode_shows_the_same_picture(tmp_path, mode, suffix):
    path = tmp_path / f"a.{suffix}"
    halves().convert(mode, palette=Image.Palette.ADAPTIVE).save(path)
    pixels = bottlenecks.read_picture(path)
    assert close(pixels[150, 40], RED) and close(pixels[150, 260], BLUE)


def test_a_large_jpeg_that_is_decoded_at_a_smaller_scale_is_the_same_picture(tmp_path):
    halves(size=(2400, 1600)).save(tmp_path / "a.jpg")
    pixels = bottlenecks.read_picture(tmp_path / "a.jpg")
    assert close(pixels[150, 40], RED) and close(pixels[150, 260], BLUE)


def test_grey_has_three_equal_channels(tmp_path):
    halves("L").save(tmp_path / "a.png")
    pixels = bottlenecks.read_picture(tmp_path / "a.png")
    assert (pixels[..., 0] == pixels[..., 2]).all() and pixels.std() > .05


def test_sixteen_bits_of_grey_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 299 * 299).reshape(299, 299).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    pixels = bottlenecks.read_picture(tmp_path / "a.png")
    assert pixels.mean() == pytest.approx(0, abs=.01)
    assert pixels[0, 0, 0] == -1 and pixels[-1, -1, 2] == 1


@pytest.mark.parametrize("hidden", [(0, 0, 0, 0), (0, 255, 0, 0)])
def test_what_is_transparent_is_white_as_on_a_page(tmp_path, hidden):
    picture = halves("RGBA")
    picture.paste(hidden, (0, 0, 60, 20))
    picture.save(tmp_path / "a.png")
    pixels = bottlenecks.read_picture(tmp_path / "a.png")
    assert colour(pixels[20, 150]) == (255, 255, 255) and colour(pixels[280, 20]) == RED


def test_of_a_moving_picture_the_first_frame_counts(tmp_path):
    frames = [Image.new("RGB", (30, 30), shade) for shade in (RED, BLUE, (0, 200, 0))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert close(bottlenecks.read_picture(tmp_path / "a.gif")[150, 150], RED)


def test_a_photo_taken_sideways_is_set_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6                                    # turn it a quarter clockwise
    halves().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", exif=exif)
    pixels = bottlenecks.read_picture(tmp_path / "a.jpg")
    assert close(pixels[150, 40], RED) and close(pixels[150, 260], BLUE)


def half_of(suffix):
    data = io.BytesIO()
    Image.effect_noise((90, 90), 90).convert("RGB").save(data, suffix)
    return data.getvalue()[:len(data.getvalue()) // 2]


BROKEN = {"empty.jpg": b"", "text.jpg": b"<html>404 Not Found</html>", "torn.jpg": half_of("JPEG"),
          "torn.png": half_of("PNG"), "torn.gif": half_of("GIF"), "torn.webp": half_of("WEBP")}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_picture_is_refused_with_a_reason_a_person_can_read(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(ValueError, match="^[^\n]{3,120}$") as problem:
        bottlenecks.read_picture(tmp_path / name)
    assert "0x" not in str(problem.value) and "BytesIO" not in str(problem.value)


def test_a_missing_picture_is_refused_with_a_reason(tmp_path):
    for path, reason in ((tmp_path / "none.jpg", "missing"), (tmp_path, "directory")):
        with pytest.raises(ValueError, match=reason):
            bottlenecks.read_picture(path)


def test_whatever_the_bytes_are_reading_gives_pixels_or_a_reason(tmp_path):
    rng, path, outcomes = random.Random(5), tmp_path / "a", {True: 0, False: 0}
    for suffix in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"):
        whole = io.BytesIO()
        try:
            Image.effect_noise((40, 40), 80).convert("RGB").save(whole, suffix)
        except (KeyError, OSError):
            continue                                    # a Pillow without AVIF
        for _ in range(60):
            data = bytearray(whole.getvalue())
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(min(len(data), rng.choice((60, 400, 10 ** 6))))] \
                    = rng.randrange(256)
            path.write_bytes(data[:rng.randrange(len(data))] if rng.random() < .3 else data)
            try:
                read = np.isfinite(bottlenecks.read_picture(path)).all()
            except ValueError:
                read = False
            outcomes[bool(read)] += 1
    assert min(outcomes.values()) > 20


# ---- the cache ----------------------------------------------------------------------------------

def test_rows_are_those_of_a_direct_pass_and_are_computed_once(tmp_path, network, capsys):
    model, fingerprint = network
    paths = {f"{i:064x}": draw(tmp_path / f"{i}.png", i) for i in range(20)}
    cache = bottlenecks.Cache(tmp_path / "cache", fingerprint, 256)
    assert bottlenecks.compute(model, cache, paths) == {}
    expected = direct(model, paths.values())
    rows = cache.matrix()[[cache.rows[key] for key in paths]]
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)
    assert expected.std(axis=0).max() > 100 * np.abs(rows - expected).max()   # they do differ

    for path in paths.values():
        path.unlink()                                   # so that nothing can be computed again
    again = bottlenecks.Cache(tmp_path / "cache", fingerprint, 256)
    assert bottlenecks.compute(model, again, paths) == {} and len(again.rows) == 20
    assert (again.matrix() == cache.matrix()).all()


def test_a_picture_that_cant_be_read_is_named_and_the_others_are_kept(tmp_path, network, capsys):
    model, fingerprint = network
    paths = {f"{i:064x}": draw(tmp_path / f"{i}.png", i) for i in range(3)}
    for i, (name, data) in enumerate(BROKEN.items(), 3):
        (tmp_path / name).write_bytes(data)
        paths[f"{i:064x}"] = tmp_path / name
    paths[f"{99:064x}"] = tmp_path / "missing.jpg"
    cache = bottlenecks.Cache(tmp_path / "cache", fingerprint, 256)
    bad = bottlenecks.compute(model, cache, paths)
    assert set(bad) == set(paths) - {f"{i:064x}" for i in range(3)} and len(cache.rows) == 3
    said = capsys.readouterr().err.splitlines()
    for name in (*BROKEN, "missing.jpg"):
        assert sum(f"{name} can't be read (" in line for line in said) == 1


def test_nothing_readable_is_no_error_of_the_cache(tmp_path, network):
    model, fingerprint = network
    cache = bottlenecks.Cache(tmp_path / "cache", fingerprint, 256)
    assert list(bottlenecks.compute(model, cache, {f"{1:064x}": tmp_path / "no"})) == [f"{1:064x}"]
    assert cache.matrix().shape == (0, 256)


def test_rows_of_another_network_are_never_served(tmp_path, network):
    fingerprints = [network[1]] + [bottlenecks.build_network("random", layer, seed)[1]
                                   for layer, seed in (("mixed1", 0), ("mixed0", 1))]
    key = f"{7:064x}"
    for number, fingerprint in enumerate(fingerprints):
        cache = bottlenecks.Cache(tmp_path, fingerprint, 8)
        assert not cache.rows
        cache.append([key], np.full((1, 8), number, np.float32))
    for number, fingerprint in enumerate(fingerprints):
        assert (bottlenecks.Cache(tmp_path, fingerprint, 8).matrix() == number).all()


def test_avg_pool_is_the_average_of_the_last_block():
    model, fingerprint = bottlenecks.build_network("random", "avg_pool", 0)
    assert model.output_shape == (None, 2048) and fingerprint["layer"] == "mixed10"


def test_the_tail_of_a_torn_write_is_overwritten(tmp_path):
    keys, rows = [f"{i:064x}" for i in range(5)], np.arange(40, dtype=np.float32).reshape(5, 8)
    cache = bottlenecks.Cache(tmp_path, {"network": "toy"}, 8)
    cache.append(keys[:2], rows[:2])
    with open(cache.base + ".f32", "ab") as file:
        file.write(b"\xff" * 77)                        # two rows and a part of a third
    with open(cache.base + ".keys", "ab") as file:
        file.write(b"\xff" * 31)                        # a key but for one byte
    after = bottlenecks.Cache(tmp_path, {"network": "toy"}, 8)
    assert list(after.rows) == keys[:2] and (after.matrix() == rows[:2]).all()
    after.append(keys[1:], rows[1:])                    # one of them is there already
    assert files_of(after)[0] == keys and (files_of(after)[1] == rows).all()


@pytest.mark.parametrize("left", [0, 50, None])
def test_keys_whose_rows_are_gone_are_computed_again(tmp_path, left):
    keys, rows = [f"{i:064x}" for i in range(3)], np.arange(24, dtype=np.float32).reshape(3, 8)
    cache = bottlenecks.Cache(tmp_path, {"network": "toy"}, 8)
    cache.append(keys, rows)
    if left is None:
        (tmp_path / (cache.base + ".f32")).unlink()
    else:
        with open(cache.base + ".f32", "r+b") as file:
            file.truncate(left)
    after = bottlenecks.Cache(tmp_path, {"network": "toy"}, 8)
    assert list(after.rows) == keys[:(left or 0) // 32]
    assert (after.matrix() == rows[:len(after.rows)]).all()
    after.append(keys[2:], rows[2:])
    kept = [*range(len(after.rows) - 1), 2]
    again = bottlenecks.Cache(tmp_path, {"network": "toy"}, 8)
    assert list(again.rows) == [keys[i] for i in kept] and (again.matrix() == rows[kept]).all()
    assert files_of(again)[0] == list(again.rows)       # no key of a row that is gone is left
    again.append(keys, rows)
    assert [again.matrix()[again.rows[key]].tolist() for key in keys] == rows.tolist()


def test_a_second_process_sees_what_the_first_has_added(tmp_path):
    one, two = (bottlenecks.Cache(tmp_path, {"network": "toy"}, 4) for _ in range(2))
    for turn, cache in enumerate((one, two, one, two)):
        cache.append([f"{turn:064x}", f"{turn + 1:064x}"],
                     np.full((2, 4), [[turn], [turn + 1]], np.float32))
    keys, rows = files_of(one)
    assert keys == [f"{i:064x}" for i in range(5)]
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4] and (two.matrix() == rows).all()


def retrain_process(folder):
    return subprocess.Popen(
        [sys.executable, REPO / "retrain.py", "--image_dir", "pictures", "--weights", "random",
         "--layer", "mixed0", "--bottleneck_dir", "cache", "--how_many_training_steps", "20"],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_after_a_kill_two_processes_at_once_end_with_a_whole_and_right_cache(tmp_path, network):
    paths = [draw(tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png", i) for i in range(64)]
    (tmp_path / "pictures" / "a" / "broken.png").write_bytes(b"not a picture")
    digests = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in paths}
    cache = bottlenecks.Cache(tmp_path / "cache", network[1], 256)
    first, deadline = retrain_process(tmp_path), time.monotonic() + 120
    while not cache.rows and first.poll() is None and time.monotonic() < deadline:
        time.sleep(.005)
        cache.refresh()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    cache.refresh()
    assert 0 < len(cache.rows) < 64                    # it was killed in the middle

    both = [retrain_process(tmp_path) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        assert out.startswith("Final test accuracy = ") and "broken.png can't be read" in err
    keys, rows = files_of(cache)
    assert len(keys) == 64 and set(keys) == set(digests) and len(rows) == 64
    expected = direct(network[0], [digests[key] for key in keys])
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


# ---- weights ------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, data", [
    ("none.h5", None), ("text.weights.h5", b"hello"), ("text.h5", b"hello"), ("a.bin", b"hello"),
    ("empty.weights.h5", b"")])
def test_a_file_that_holds_no_weights_is_one_sentence(tmp_path, name, data):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match="^[^\n]+$") as problem:
        bottlenecks.build_network(str(tmp_path / name), "mixed0")
    assert name in str(problem.value) and "weights" in str(problem.value)


def test_weights_cut_short_or_of_another_network_are_one_sentence(tmp_path, network):
    network[0].save_weights(tmp_path / "whole.weights.h5")
    data = (tmp_path / "whole.weights.h5").read_bytes()
    (tmp_path / "cut.weights.h5").write_bytes(data[:len(data) // 2])
    for name, layer in (("cut", "mixed0"), ("whole", "mixed1")):   # up to mixed0 is too little
        with pytest.raises(UserError, match=f"^[^\n]*{name}.weights.h5[^\n]*$"):
            bottlenecks.build_network(str(tmp_path / f"{name}.weights.h5"), layer)


def test_a_weights_file_gives_the_network_it_was_saved_from(tmp_path, network):
    path = tmp_path / "part.weights.h5"
    network[0].save_weights(path)
    loaded, fingerprint = bottlenecks.build_network(str(path), "mixed0", seed=5)
    assert fingerprint["weights"] == hashlib.sha256(path.read_bytes()).hexdigest()
    picture = [draw(tmp_path / "a.png", 1)]
    np.testing.assert_array_equal(direct(loaded, picture), direct(network[0], picture))


def test_without_a_network_the_download_is_one_sentence_that_says_what_to_do(tmp_path):
    draw(tmp_path / "pictures" / "a" / "1.png", 1)
    done = run_script("retrain", "--image_dir", "pictures", cwd=tmp_path,
                      env={"KERAS_HOME": str(tmp_path / "home"),
                           "https_proxy": "http://127.0.0.1:9"})
    assert done.returncode == 2 and done.stdout == ""
    last = done.stderr.splitlines()[-1]
    for part in ("inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5", "87910968",
                 "https://storage.googleapis.com/", "bcbd6486424b2319ff4ef7d526e38f63",
                 "--weights FILE"):
        assert part in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("cached, expected", [([], False), (["imagenet"], False),
                                              (["imagenet", "random-3"], True)])
def test_random_weights_were_used_before_only_where_a_cache_says_so(tmp_path, cached, expected):
    for source in cached:
        bottlenecks.Cache(tmp_path / "cache", {"network": "InceptionV3", "weights": source}, 4)
    assert bottlenecks.random_before(tmp_path / "cache") is expected


@pytest.fixture(scope="module")
def trained_network():
    if not WEIGHTS.exists() or not CATALOGUE.exists():
        pytest.skip("the real weights and catalogues of ../shared are not here")
    return bottlenecks.build_network(str(WEIGHTS), "mixed8")[0]


def test_with_real_weights_two_pictures_of_one_thing_are_nearer_than_a_third(trained_network,
                                                                             tmp_path):
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


def test_an_earlier_block_of_a_file_is_the_inner_output_of_the_later_one(trained_network):
    keras = bottlenecks.load_tensorflow().keras
    early = bottlenecks.build_network(str(WEIGHTS), "mixed5")[0]
    block = trained_network.get_layer("mixed5").output
    inner = keras.Model(trained_network.input, keras.layers.GlobalAveragePooling2D()(block))
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 299, 299, 3)).astype(np.float32)
    np.testing.assert_allclose(early(batch).numpy(), inner(batch).numpy(), atol=1e-5)


def test_a_file_that_ends_before_the_layer_is_refused(trained_network):
    with pytest.raises(UserError, match="up to --layer"):
        bottlenecks.build_network(str(WEIGHTS), "mixed9")
