"""Pictures -> bottlenecks: what is read, what is kept, and what is left after a kill.

Real TensorFlow with weights from a seed at the first block, which is fast; about a minute.

    pytest tests/test_bottlenecks.py
    pytest tests/test_bottlenecks.py -k kill
"""

import contextlib
import fcntl
import hashlib
import io
import itertools
import os
import pty
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import REPO, environment, run_script
from PIL import Image
from shared_pictures import direct, draw, drawn, keyed
from small_disks import fill_up, small_disk

from common import pictures, terminal
from common.terminal import UserError
from crawling import picture_store
from evaluation import product_view
from learning import bottleneck_cache, bottlenecks, inception

RED, BLUE = (220, 20, 30), (20, 40, 210)
WHITE = (255, 255, 255)


@pytest.fixture(scope="module")
def network():
    return inception.build_network("random", "mixed0", 0)


@pytest.fixture(scope="module")
def forward(network):
    return inception.make_forward(network[0])


def halves(mode="RGB", size=(60, 40)):
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, *size))
    return picture.convert(mode)


def colour(pixels):
    return tuple(np.asarray(pixels, int))


def close(pixels, expected):
    return np.abs(np.subtract(colour(pixels), expected)).max() <= 12


def files_of(cache):
    """(keys, rows) as they are on disk."""
    with open(cache.keys_path, "rb") as file:
        keys = file.read()
    rows = np.fromfile(cache.data_path, np.float32)
    return (
        [keys[i : i + 32].hex() for i in range(0, len(keys), bottleneck_cache.RECORD)],
        rows.reshape(-1, cache.size),
    )


def keys_of(cache):
    """The keys of a cache in the order of their rows, as another process finds them."""
    keys = list(cache.keys())
    assert cache.find(keys).tolist() == list(range(cache.count))
    return keys


def pairs(paths):
    """What bottlenecks.compute takes, of {key: path}."""
    return lambda: iter(paths.items())


# ---- reading pictures ---------------------------------------------------------------------------


def test_a_picture_is_scaled_to_the_range_and_size_the_network_was_trained_on(tmp_path):
    halves().save(tmp_path / "a.png")
    pixels = bottlenecks.read_picture(tmp_path / "a.png")
    assert pixels.shape == (299, 299, 3) and pixels.dtype == np.uint8
    assert colour(pixels[150, 10]) == RED and colour(pixels[150, 290]) == BLUE


@pytest.mark.parametrize(
    "mode, suffix",
    [
        ("RGB", "jpg"),
        ("CMYK", "jpg"),
        ("P", "png"),
        ("P", "gif"),
        ("RGBA", "png"),
        ("RGB", "webp"),
        ("RGB", "bmp"),
        ("RGB", "tiff"),
    ],
)
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
    assert (pixels[..., 0] == pixels[..., 2]).all() and pixels.std() > 5


def test_sixteen_bits_of_grey_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 299 * 299).reshape(299, 299).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    pixels = bottlenecks.read_picture(tmp_path / "a.png")
    assert pixels.mean() == pytest.approx(127.5, abs=1)
    assert pixels[0, 0, 0] == 0 and pixels[-1, -1, 2] == 255


@pytest.mark.parametrize("hidden", [(0, 0, 0, 0), (0, 255, 0, 0)])
def test_what_is_transparent_is_white_as_on_a_page(tmp_path, hidden):
    picture = halves("RGBA")
    picture.paste(hidden, (0, 0, 60, 20))
    picture.save(tmp_path / "a.png")
    pixels = bottlenecks.read_picture(tmp_path / "a.png")
    assert colour(pixels[20, 150]) == (255, 255, 255) and colour(pixels[280, 20]) == RED


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_a_moving_picture_the_first_frame_counts(tmp_path, suffix):
    frames = [Image.new("RGB", (30, 30), shade) for shade in (RED, BLUE, (0, 200, 0))]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / f"a.{suffix}") as picture:
        assert picture.n_frames == 3
    assert close(bottlenecks.read_picture(tmp_path / f"a.{suffix}")[150, 150], RED)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    "turned, number",
    [
        (None, 1),
        ("FLIP_LEFT_RIGHT", 2),
        ("ROTATE_180", 3),
        ("FLIP_TOP_BOTTOM", 4),
        ("TRANSPOSE", 5),
        ("ROTATE_90", 6),
        ("TRANSVERSE", 7),
        ("ROTATE_270", 8),
    ],
)
def test_a_photo_taken_sideways_is_set_upright(tmp_path, suffix, turned, number):
    picture = halves(size=(60, 120))
    picture.paste((255, 255, 0), (0, 60, 30, 120))  # below the red
    exif = Image.Exif()
    exif[0x0112] = number
    stored = picture.transpose(Image.Transpose[turned]) if turned else picture
    stored.save(tmp_path / f"a.{suffix}", exif=exif)
    pixels = bottlenecks.read_picture(tmp_path / f"a.{suffix}")
    assert close(pixels[70, 60], RED) and close(pixels[220, 60], (255, 255, 0))
    assert close(pixels[70, 240], BLUE) and close(pixels[220, 240], BLUE)


def png(width, height, depth, kind, data, *more):
    """A PNG of these bytes of pixels, for what Pillow does not write; more are (name, content)."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)),
        *more,
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


def deep(kind, left, right, *more):
    """A PNG of 16 bits a channel, 40x40, its left half of one colour and its right of another."""
    row = (
        b"\0"
        + struct.pack(f">{len(left)}H", *left) * 20
        + struct.pack(f">{len(right)}H", *right) * 20
    )
    return png(40, 40, 16, kind, row * 40, *more)


@pytest.mark.parametrize(
    "data, left, right",
    [
        (deep(2, [256 * one for one in RED], [256 * one for one in BLUE]), RED, BLUE),
        (deep(6, [*(256 * one for one in RED), 65535], [0, 0, 0, 0]), RED, WHITE),
        (deep(0, [51200], [25600]), (200, 200, 200), (100, 100, 100)),
        (deep(4, [51200, 65535], [0, 0]), (200, 200, 200), WHITE),
        (deep(0, [51200], [0], (b"tRNS", b"\0\0")), (200, 200, 200), WHITE),
    ],
    ids=["RGB", "RGBA", "grey", "grey with alpha", "grey with a transparent shade"],
)
def test_of_sixteen_bits_a_channel_the_upper_eight_count(tmp_path, data, left, right):
    (tmp_path / "a.png").write_bytes(data)
    pixels = bottlenecks.read_picture(tmp_path / "a.png")
    assert close(pixels[150, 70], left) and close(pixels[150, 230], right)


def test_what_a_picture_is_shows_in_its_bytes_not_in_its_name(tmp_path):
    halves().save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert colour(bottlenecks.read_picture(tmp_path / "a.jpg")[150, 20]) == RED


def test_grey_with_alpha_is_white_where_it_is_transparent(tmp_path):
    picture = Image.new("LA", (60, 40), (90, 255))
    picture.paste((0, 0), (30, 0, 60, 40))
    picture.save(tmp_path / "a.png")
    pixels = bottlenecks.read_picture(tmp_path / "a.png")
    assert colour(pixels[150, 40]) == (90, 90, 90) and colour(pixels[150, 260]) == WHITE


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_palettes_transparent_colour_is_white(tmp_path, suffix):
    picture = halves().quantize(2)
    picture.save(tmp_path / f"a.{suffix}", transparency=picture.getpixel((50, 20)))  # the blue
    pixels = bottlenecks.read_picture(tmp_path / f"a.{suffix}")
    assert close(pixels[150, 40], RED) and colour(pixels[150, 260]) == WHITE


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp"])
def test_a_picture_of_one_pixel_is_all_of_its_colour(tmp_path, suffix):
    Image.new("RGB", (1, 1), BLUE).save(tmp_path / f"a.{suffix}")
    pixels = bottlenecks.read_picture(tmp_path / f"a.{suffix}")
    assert pixels.shape == (299, 299, 3) and np.ptp(pixels.astype(int), axis=(0, 1)).max() == 0
    assert close(pixels[0, 0], BLUE)


@pytest.mark.parametrize("size", [(5000, 3), (3, 5000)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_strip_is_squeezed_into_the_square(tmp_path, size, suffix):
    strip = halves(size=(max(size), 3))
    (strip if size[1] == 3 else strip.transpose(Image.Transpose.ROTATE_270)).save(
        tmp_path / f"a.{suffix}"
    )
    pixels = bottlenecks.read_picture(tmp_path / f"a.{suffix}")
    ends = (
        (pixels[150, 40], pixels[150, 260]) if size[1] == 3 else (pixels[40, 150], pixels[260, 150])
    )
    assert close(ends[0], RED) and close(ends[1], BLUE)


@pytest.mark.parametrize("side", [10_000, 20_000, 2**31 - 1])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_huge_picture_is_refused_from_its_header(tmp_path, side):
    (tmp_path / "a.png").write_bytes(png(side, side, 8, 2, b""))  # no pixels: it would be torn
    with pytest.raises(
        ValueError, match=f"{side}x{side} pixels are too many|too many pixels"
    ) as problem:
        bottlenecks.read_picture(tmp_path / "a.png")
    assert len(str(problem.value)) <= 120


def test_a_whole_picture_of_a_hundred_megapixels_is_refused(tmp_path, network, capsys):
    Image.new("1", (10_000, 10_000), 1).save(tmp_path / "a.png")
    cache = bottleneck_cache.Cache(tmp_path / "cache", network[1], 256)
    huge = keyed([tmp_path / "a.png"])
    paths = drawn(tmp_path / "pictures", 1) | huge
    bad = bottlenecks.compute(network[0], "float32", cache, pairs(paths))
    assert bad == dict.fromkeys(huge, "10000x10000 pixels are too many (at most 25 million)")
    assert cache.count == 1
    assert capsys.readouterr().err.endswith("1 of 2 pictures can't be read\n")


def half_of(suffix):
    data = io.BytesIO()
    Image.effect_noise((90, 90), 90).convert("RGB").save(data, suffix)
    return data.getvalue()[: len(data.getvalue()) // 2]


BROKEN = {
    "empty.jpg": b"",
    "text.jpg": b"<html>404 Not Found</html>",
    "torn.jpg": half_of("JPEG"),
    "torn.png": half_of("PNG"),
    "torn.gif": half_of("GIF"),
    "torn.webp": half_of("WEBP"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_picture_is_refused_with_a_reason_a_person_can_read(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(ValueError, match="^[^\n]{3,120}$") as problem:
        bottlenecks.read_picture(tmp_path / name)
    assert "0x" not in str(problem.value) and "BytesIO" not in str(problem.value)


def test_a_missing_picture_is_refused_with_a_reason(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # which would not end
    for name, reason in (("none.jpg", "missing"), ("", "plain file"), ("pipe.jpg", "plain file")):
        path = tmp_path / name
        with pytest.raises(ValueError, match=reason):
            bottlenecks.read_picture(path)


@pytest.mark.parametrize(
    "kind", ("PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG", "AVIF", "PPM", "TGA")
)
def test_crawl_network_and_pages_read_the_same_formats(tmp_path, kind):
    path = tmp_path / f"a.{kind.lower()}"
    try:
        Image.new("RGB", (40, 30), (200, 10, 10)).save(path, kind)
    except (KeyError, OSError):
        pytest.skip(f"a Pillow without {kind}")
    if kind in pictures.SUFFIXES:
        assert picture_store.check_picture(path.read_bytes()) == pictures.SUFFIXES[kind]
        assert np.abs(bottlenecks.read_picture(path) - np.array((200.0, 10, 10))).max() < 9
        assert product_view.thumbnail(str(path))
    else:
        with pytest.raises(ValueError, match="not a picture"):
            picture_store.check_picture(path.read_bytes())
        with pytest.raises(ValueError, match="no picture"):
            bottlenecks.read_picture(path)
        assert product_view.thumbnail(str(path)) is None


def test_filling_a_cache_leaves_the_filters_of_warnings_as_they_were(tmp_path, network):
    for number in range(20):
        Image.effect_noise((40, 40), 80).convert("RGB").save(tmp_path / f"{number}.png")
    paths = keyed(tmp_path.glob("*.png"))
    cache = bottleneck_cache.Cache(tmp_path / "cache", network[1], 256)
    before = list(warnings.filters)
    bottlenecks.compute(network[0], "float32", cache, pairs(paths))
    assert cache.count == 20 and warnings.filters == before


def test_whatever_the_bytes_are_reading_gives_pixels_or_a_reason(tmp_path):
    rng, path, outcomes = random.Random(5), tmp_path / "a", {True: 0, False: 0}
    for suffix in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"):
        whole = io.BytesIO()
        try:
            Image.effect_noise((40, 40), 80).convert("RGB").save(whole, suffix)
        except (KeyError, OSError):
            continue  # a Pillow without AVIF
        for _ in range(60):
            data = bytearray(whole.getvalue())
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(min(len(data), rng.choice((60, 400, 10**6))))] = rng.randrange(
                    256
                )
            path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)
            try:
                read = bottlenecks.read_picture(path)
                assert read.shape == (299, 299, 3) and read.dtype == np.uint8
            except ValueError:
                read = None
            outcomes[read is not None] += 1
    assert min(outcomes.values()) > 20


# ---- distortions --------------------------------------------------------------------------------


def distortions(path, times, **settings):
    """So many readings of a picture with these distortions, by as many draws of chance."""
    return [
        bottlenecks.read_picture(
            path, bottlenecks.Distortions(**settings), np.random.default_rng(seed)
        ).astype(int)
        for seed in range(times)
    ]


@pytest.fixture
def chart(tmp_path):
    """A picture that is as red as a pixel is far to the right, as green as it is far down."""
    x, y = np.meshgrid(np.linspace(0, 255, 512), np.linspace(0, 255, 384))
    Image.fromarray(np.stack([x, y, 0 * x], 2).round().astype(np.uint8)).save(tmp_path / "c.png")
    return tmp_path / "c.png"


def shown(pixels):
    """What part of a chart is to be seen: its left, right, upper and lower bound."""
    edges = pixels[150, 0, 0], pixels[150, -1, 0], pixels[0, 150, 1], pixels[-1, 150, 1]
    return np.array(edges) / 255


def test_without_distortions_a_picture_is_read_plainly(chart):
    plain = bottlenecks.read_picture(chart)
    none = bottlenecks.read_picture(chart, bottlenecks.Distortions(), np.random.default_rng(3))
    assert (none == plain).all()
    np.testing.assert_allclose(shown(plain.astype(int)), [0, 1, 0, 1], atol=0.01)


def test_the_same_chance_distorts_the_same_way(chart):
    settings = {
        "flip_left_right": True,
        "random_crop": 10,
        "random_scale": 10,
        "random_brightness": 10,
    }
    first, again = (distortions(chart, 8, **settings) for _ in range(2))
    assert (np.array(first) == again).all()
    assert all((one != other).any() for one, other in itertools.combinations(first, 2))


def test_a_flip_mirrors_about_half_and_changes_nothing_else(chart):
    plain = bottlenecks.read_picture(chart)
    readings = distortions(chart, 60, flip_left_right=True)
    mirrored = sum((one == plain[:, ::-1]).all() for one in readings)
    straight = sum((one == plain).all() for one in readings)
    assert mirrored + straight == 60 and 15 < mirrored < 45  # all but one time in ten thousand


def test_a_crop_cuts_the_same_margin_off_at_a_place_of_chance(chart):
    parts = np.array([shown(one) for one in distortions(chart, 60, random_crop=25)])
    left, right, upper, lower = parts.T
    np.testing.assert_allclose(right - left, 1 / 1.25, atol=0.01)
    np.testing.assert_allclose(lower - upper, 1 / 1.25, atol=0.01)
    for start in (left, upper):
        assert start.min() < 0.04 and start.max() > 0.16  # of 0 to .2
    assert abs(np.corrcoef(left, upper)[0, 1]) < 0.5  # across and down by themselves


def test_a_scale_enlarges_by_chance_up_to_its_bound(chart):
    parts = np.array([shown(one) for one in distortions(chart, 60, random_scale=60)])
    zoom = 1 / (parts[:, 1] - parts[:, 0])
    assert zoom.min() > 0.98 and zoom.max() < 1.62 and zoom.min() < 1.1 and zoom.max() > 1.5
    np.testing.assert_allclose(1 / (parts[:, 3] - parts[:, 2]), zoom, atol=0.05)


def test_crop_and_scale_together_multiply(chart):
    parts = np.array(
        [shown(one) for one in distortions(chart, 60, random_crop=25, random_scale=20)]
    )
    zoom = 1 / (parts[:, 1] - parts[:, 0])
    assert 1.23 < zoom.min() < 1.29 and 1.46 < zoom.max() < 1.53


def test_brightness_multiplies_within_its_bounds(tmp_path):
    Image.new("RGB", (20, 20), (100, 60, 20)).save(tmp_path / "a.png")
    readings = np.array(distortions(tmp_path / "a.png", 60, random_brightness=40))
    assert (readings == readings[:, :1, :1]).all()  # as much everywhere
    factors = readings[:, 0, 0] / (100, 60, 20)
    assert factors.min() > 0.57 and factors.max() < 1.43  # and half a step of rounding
    assert factors[:, 0].min() < 0.67 and factors[:, 0].max() > 1.33
    np.testing.assert_allclose(factors[:, 1], factors[:, 0], atol=0.02)


def test_what_gets_too_bright_is_white_and_never_wraps_around(chart, tmp_path):
    Image.new("RGB", (20, 20), (250, 250, 250)).save(tmp_path / "a.png")
    lightest = np.array(distortions(tmp_path / "a.png", 40, random_brightness=100)).max(axis=(1, 2))
    assert (lightest == 255).any() and (lightest < 100).any()
    for one in distortions(chart, 40, random_brightness=100):
        assert (np.diff(one[150, :, 0]) >= 0).all()  # no lighter pixel turned darker


# ---- the cache ----------------------------------------------------------------------------------


def test_rows_are_those_of_a_direct_pass_and_are_computed_once(tmp_path, network, capsys):
    model, fingerprint = network
    paths = drawn(tmp_path, 20)
    cache = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256)
    assert bottlenecks.compute(model, "float32", cache, pairs(paths)) == {}
    expected = direct(model, paths.values())
    rows = cache.matrix()[cache.find(list(paths))]
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)
    assert expected.std(axis=0).max() > 100 * np.abs(rows - expected).max()  # they do differ

    for path in paths.values():
        path.unlink()  # so that nothing can be computed again
    again = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256)
    assert bottlenecks.compute(model, "float32", again, pairs(paths)) == {} and again.count == 20
    assert (again.matrix() == cache.matrix()).all()


def test_a_picture_that_cant_be_read_is_named_and_the_others_are_kept(tmp_path, network, capsys):
    model, fingerprint = network
    sound = drawn(tmp_path, 3)
    for name, data in BROKEN.items():
        (tmp_path / name).write_bytes(data)
    paths = sound | keyed(tmp_path / name for name in BROKEN)
    paths["f" * 64] = tmp_path / "missing.jpg"
    cache = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256)
    bad = bottlenecks.compute(model, "float32", cache, pairs(paths))
    assert set(bad) == set(paths) - set(sound) and cache.count == 3
    said = capsys.readouterr().err.splitlines()
    for name in (*BROKEN, "missing.jpg"):
        assert sum(name in line and "can't be read (" in line for line in said) == 1, name
    assert said[-1] == f"{len(BROKEN) + 1} of {len(paths)} pictures can't be read"


def test_a_picture_that_was_replaced_since_the_crawl_is_left_out_and_named(
    tmp_path, network, capsys
):
    model, fingerprint = network
    paths = drawn(tmp_path, 3)
    replaced = list(paths)[1]
    draw(paths[replaced], 99)
    cache = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256)
    bad = bottlenecks.compute(model, "float32", cache, pairs(paths))
    assert bad == {replaced: bottlenecks.OTHER_FILE} and cache.count == 2
    name = str(paths[replaced])
    assert f"{name} can't be read ({bottlenecks.OTHER_FILE}); left out" in capsys.readouterr().err


def test_pictures_that_come_or_go_meanwhile_cost_no_other_picture_its_row(tmp_path, network):
    model, fingerprint = network
    paths = list(drawn(tmp_path, 12).items())
    cache = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256)
    some = paths[2::2]
    bottlenecks.compute(model, "float32", cache, lambda: some)
    calls = iter((paths[1:], paths[1:], paths[:7] + paths[8:]))  # the first comes, another goes
    bottlenecks.compute(model, "float32", cache, lambda: next(calls, paths))
    there = cache.find([key for key, _ in paths]) >= 0
    assert np.flatnonzero(~there).tolist() == [0, 7]


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_of_a_picture_whose_file_is_gone_the_file_of_another_product_is_read(
    tmp_path, network, gone, capsys
):
    (key, path), other = *drawn(tmp_path, 1).items(), tmp_path / "other.png"
    shutil.copy(path, other)
    files = [(key, str(path)), (key, str(other))]
    for file in (path, other)[:gone]:
        file.unlink()
    cache = bottleneck_cache.Cache(tmp_path / "cache", network[1], 256)
    bad = bottlenecks.compute(network[0], "float32", cache, lambda: files)
    assert (set(bad), cache.count) == ((set(), 1) if gone < 2 else ({key}, 0))
    assert ("can't be read" in capsys.readouterr().err) == (gone == 2)


def test_nothing_readable_is_no_error_of_the_cache(tmp_path, network):
    model, fingerprint = network
    cache = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256)
    bad = bottlenecks.compute(model, "float32", cache, pairs({"1" * 64: tmp_path / "no"}))
    assert list(bad) == ["1" * 64]
    assert cache.matrix().shape == (0, 256)


@pytest.mark.slow
def test_rows_of_another_network_are_never_served(tmp_path, network, monkeypatch):
    network[0].save_weights(tmp_path / "same.weights.h5")
    fingerprints = [network[1]] + [
        inception.build_network(weights, layer, seed, precision)[1]
        for weights, layer, seed, precision in (
            ("random", "mixed0", 0, "bfloat16"),
            ("random", "mixed0", 0, "int8"),
            ("random", "mixed1", 0, "float32"),
            ("random", "mixed0", 1, "float32"),
            (str(tmp_path / "same.weights.h5"), "mixed0", 0, "float32"),
        )
    ]
    monkeypatch.setattr(inception, "PREPROCESSING", "another")
    fingerprints.append(inception.build_network("random", "mixed0", 0)[1])
    caches = [
        (fingerprint, size, dtype)
        for fingerprint in fingerprints
        for size in (8, 9)
        for dtype in ("float32", "float16")
    ]
    key = f"{7:064x}"
    for number, (fingerprint, size, dtype) in enumerate(caches):
        cache = bottleneck_cache.Cache(tmp_path, fingerprint, size, dtype)
        assert not cache.count
        cache.append([key], np.full((1, size), number, np.float32))
    for number, (fingerprint, size, dtype) in enumerate(caches):
        cache = bottleneck_cache.Cache(tmp_path, fingerprint, size, dtype)
        assert cache.matrix().tolist() == [[number] * size]


@pytest.mark.slow
def test_weights_are_known_by_their_content_wherever_they_are(tmp_path, network):
    network[0].save_weights(tmp_path / "a.weights.h5")
    shutil.copy(tmp_path / "a.weights.h5", tmp_path / "b.weights.h5")
    one, two = (
        inception.build_network(str(tmp_path / f"{name}.weights.h5"), "mixed0", seed)[1]
        for name, seed in (("a", 0), ("b", 3))
    )
    bottleneck_cache.Cache(tmp_path / "cache", one, 4).append(
        ["a" * 64], np.ones((1, 4), np.float32)
    )
    assert keys_of(bottleneck_cache.Cache(tmp_path / "cache", two, 4)) == ["a" * 64]


def test_a_key_that_is_given_twice_has_one_row(tmp_path):
    cache = bottleneck_cache.Cache(tmp_path, {"network": "toy"}, 4)
    for first in (0, 2):
        keys = [f"{i:064x}" for i in (first, 1, first, 1)]
        cache.append(keys, np.array([[first], [1], [first], [1]], np.float32).repeat(4, axis=1))
    keys, rows = files_of(cache)
    assert keys == [f"{i:064x}" for i in (0, 1, 2)] and rows[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("precision", inception.PRECISIONS)
def test_the_same_run_twice_gives_the_same_bytes(tmp_path, network, precision):
    paths = drawn(tmp_path / "pictures", 18)  # two whole batches and a part of one
    files = []
    for turn in "ab":
        cache = bottleneck_cache.Cache(tmp_path / turn, network[1], 256)
        bottlenecks.compute(network[0], precision, cache, pairs(paths))
        assert keys_of(cache) == list(paths)
        files.append({path.name: path.read_bytes() for path in (tmp_path / turn).iterdir()})
    assert files[0] == files[1]


def test_float16_takes_half_the_bytes_beside_float32_without_mixing(tmp_path, network):
    model, fingerprint = network
    some = drawn(tmp_path / "pictures", 16)
    more = {**drawn(tmp_path / "pictures", 8, start=16), **some}  # in another order
    full = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256)
    bottlenecks.compute(model, "float32", full, pairs(some))
    before = Path(full.data_path).read_bytes()
    half = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256, dtype="float16")
    assert not half.count
    bottlenecks.compute(model, "float32", half, pairs(more))
    assert Path(full.data_path).read_bytes() == before
    again = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256)
    assert keys_of(again) == list(some) and half.count == len(more)
    assert again.matrix().dtype == np.float32 and half.matrix().dtype == np.float16
    assert os.path.getsize(half.data_path) * len(some) * 2 == len(before) * len(more)
    np.testing.assert_allclose(
        half.matrix()[8:].astype(np.float32), again.matrix(), rtol=6e-4, atol=1e-6
    )


def with_infinity(which):
    """A network one of whose convolutions, the first (0) or the last (-1), has an infinite weight,
    and its fingerprint."""
    model, fingerprint = inception.build_network("random", "mixed0")
    convolution = [one for one in model.layers if type(one).__name__ == "Conv2D"][which]
    kernel = convolution.kernel.numpy()
    kernel[0, 0, 0, 0] = np.inf
    convolution.kernel.assign(kernel)
    return model, fingerprint


def test_a_bottleneck_that_is_no_number_is_told_of_and_not_kept(tmp_path, capsys):
    model, fingerprint = with_infinity(-1)
    cache = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256)
    paths = drawn(tmp_path / "pictures", 3)
    bad = bottlenecks.compute(model, "float32", cache, pairs(paths))
    assert bad == dict.fromkeys(paths, "its bottleneck is no number")
    assert not bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256).count
    said = capsys.readouterr().err
    assert said.count("3 pictures can't be read (its bottleneck is no number); left out: ") == 1


def test_weights_that_are_no_numbers_leave_nothing_in_the_cache(tmp_path):
    path = tmp_path / "infinite.weights.h5"
    with_infinity(0)[0].save_weights(path)
    with contextlib.suppress(UserError):
        model, fingerprint = inception.build_network(str(path), "mixed0")
        cache = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256)
        bottlenecks.compute(model, "float32", cache, pairs(drawn(tmp_path / "pictures", 3)))
        assert not cache.count


@pytest.mark.slow
def test_of_bottlenecks_too_large_for_float16_only_those_are_left_out(tmp_path):
    model, fingerprint = inception.build_network("random", "mixed0")
    paths = drawn(tmp_path / "pictures", 12)
    largest = direct(model, paths.values()).max(axis=1)
    convolution = next(one for one in model.layers if type(one).__name__ == "Conv2D")
    convolution.kernel.assign(convolution.kernel * 65_504 / np.sort(largest)[5:7].mean())
    for dtype, expected in (("float16", largest > np.sort(largest)[5]), ("float32", largest < 0)):
        cache = bottleneck_cache.Cache(tmp_path / "cache", fingerprint, 256, dtype)
        bad = bottlenecks.compute(model, "float32", cache, pairs(paths))
        assert [key in bad for key in paths] == expected.tolist()
        assert (cache.find(list(paths)) >= 0).tolist() == (~expected).tolist()
        assert np.isfinite(cache.matrix()).all()


def test_the_tail_of_a_torn_write_is_overwritten(tmp_path):
    keys, rows = [f"{i:064x}" for i in range(5)], np.arange(40, dtype=np.float32).reshape(5, 8)
    cache = bottleneck_cache.Cache(tmp_path, {"network": "toy"}, 8)
    cache.append(keys[:2], rows[:2])
    with open(cache.data_path, "ab") as file:
        file.write(b"\xff" * 77)  # two rows and a part of a third
    with open(cache.keys_path, "ab") as file:
        file.write(b"\xff" * 35)  # a key and its checksum but for one byte
    after = bottleneck_cache.Cache(tmp_path, {"network": "toy"}, 8)
    assert keys_of(after) == keys[:2] and (after.matrix() == rows[:2]).all()
    after.append(keys[1:], rows[1:])  # one of them is there already
    assert files_of(after)[0] == keys and (files_of(after)[1] == rows).all()


@pytest.mark.parametrize("left", [0, 50, None])
def test_keys_whose_rows_are_gone_are_computed_again(tmp_path, left):
    keys, rows = [f"{i:064x}" for i in range(3)], np.arange(24, dtype=np.float32).reshape(3, 8)
    cache = bottleneck_cache.Cache(tmp_path, {"network": "toy"}, 8)
    cache.append(keys, rows)
    if left is None:
        os.remove(cache.data_path)
    else:
        with open(cache.data_path, "r+b") as file:
            file.truncate(left)
    after = bottleneck_cache.Cache(tmp_path, {"network": "toy"}, 8)
    assert keys_of(after) == keys[: (left or 0) // 32]
    assert (after.matrix() == rows[: after.count]).all()
    after.append(keys[2:], rows[2:])
    kept = [*range(after.count - 1), 2]
    again = bottleneck_cache.Cache(tmp_path, {"network": "toy"}, 8)
    assert keys_of(again) == [keys[i] for i in kept] and (again.matrix() == rows[kept]).all()
    assert files_of(again)[0] == keys_of(again)  # no key of a row that is gone is left
    again.append(keys, rows)
    assert again.matrix()[again.find(keys)].tolist() == rows.tolist()


def damage(path, offset, count):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(bytes(255 - byte for byte in path_bytes(path)[offset : offset + count]))


def path_bytes(path):
    with open(path, "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    "name, offset, count, lost, told",
    [
        ("data_path", 0, 1024, 1, 1),
        ("data_path", 1024 + 7, 1, 1, 1),
        ("data_path", 1020, 9, 2, 2),
        ("keys_path", 32, 4, 1, 1),
        ("keys_path", 3 * 36 + 5, 1, 1, 0),
        ("keys_path", 0, 0, 0, 0),
    ],
    ids=["a row", "a byte", "two rows", "a checksum", "a key", "nothing"],
)
def test_what_the_disk_has_damaged_is_computed_again_and_never_served(
    tmp_path, network, capsys, name, offset, count, lost, told
):
    paths = drawn(tmp_path / "pictures", 4)
    cache = bottleneck_cache.Cache(tmp_path / "cache", network[1], 256)
    bottlenecks.compute(network[0], "float32", cache, pairs(paths))
    rows = cache.matrix().copy()
    damage(getattr(cache, name), offset, count)
    capsys.readouterr()
    again = bottleneck_cache.Cache(tmp_path / "cache", network[1], 256)
    for turn in range(2):
        assert bottlenecks.compute(network[0], "float32", again, pairs(paths)) == {}
        np.testing.assert_allclose(
            again.matrix()[again.find(list(paths))], rows, rtol=1e-4, atol=1e-5
        )
        assert again.count == 4 + lost
        said = f"{told} bottlenecks in {again.data_path} were damaged" in capsys.readouterr().err
        assert said == (turn == 0 and told > 0)
        again = bottleneck_cache.Cache(tmp_path / "cache", network[1], 256)


@pytest.mark.parametrize(
    "count",
    (pytest.param(50, marks=pytest.mark.redteam), pytest.param(1000, marks=pytest.mark.slow)),
)
@pytest.mark.parametrize("name", ("data_path", "keys_path"))
def test_a_changed_byte_in_a_cache_is_found_or_changes_nothing(tmp_path, capsys, name, count):
    rng = random.Random(21)
    keys = [hashlib.sha256(bytes([number])).hexdigest() for number in range(20)]
    rows = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    cache = bottleneck_cache.Cache(tmp_path, {"network": "toy"}, 8)
    cache.append(keys, rows)
    path, lost = Path(getattr(cache, name)), 0
    whole = path.read_bytes()
    for _ in range(count):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= rng.randrange(1, 256)
        path.write_bytes(changed)
        again = bottleneck_cache.Cache(tmp_path, {"network": "toy"}, 8)
        again.drop_damaged(keys)
        found = again.find(keys)
        lost += (found < 0).sum()
        assert (again.matrix()[found[found >= 0]] == rows[found >= 0]).all()
    assert lost == count  # each time the row, or the key, that was hit


@pytest.mark.redteam
@pytest.mark.parametrize("name", ("data_path", "keys_path", "lock_path"))
@pytest.mark.parametrize("kind", ("a link", "a link to nowhere", "a pipe"))
def test_a_cache_of_a_stranger_leads_to_no_file_of_yours(tmp_path, name, kind):
    mine = tmp_path / "mine.txt"
    mine.write_text("keep me")
    cache = bottleneck_cache.Cache(tmp_path / "cache", {"network": "toy"}, 4)
    path = Path(getattr(cache, name))
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(mine if kind == "a link" else tmp_path / "new.txt")
    with pytest.raises(UserError, match="^[^\n]*is no file of a cache .* --bottleneck_dir$"):
        bottleneck_cache.Cache(tmp_path / "cache", {"network": "toy"}, 4)
    if kind != "a pipe":  # put there after the cache was opened
        with pytest.raises(OSError):
            cache.append(["a" * 64], np.ones((1, 4), np.float32))
    assert mine.read_text() == "keep me" and not (tmp_path / "new.txt").exists()


def test_a_second_process_sees_what_the_first_has_added(tmp_path):
    one, two = (bottleneck_cache.Cache(tmp_path, {"network": "toy"}, 4) for _ in range(2))
    for turn, cache in enumerate((one, two, one, two)):
        cache.append(
            [f"{turn:064x}", f"{turn + 1:064x}"], np.full((2, 4), [[turn], [turn + 1]], np.float32)
        )
    keys, rows = files_of(one)
    assert keys == [f"{i:064x}" for i in range(5)]
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4] and (two.matrix() == rows).all()


def test_what_another_process_adds_meanwhile_is_not_computed(tmp_path, network, forward):
    paths = drawn(tmp_path / "pictures", 80)
    one, two = (bottleneck_cache.Cache(tmp_path / "cache", network[1], 256) for _ in range(2))
    late, computed = list(paths)[40:], []

    def read(key, path):
        if not computed:
            two.append(late, np.zeros((40, 256), np.float32))
        computed.append(key)
        return bottlenecks.read_picture(path)

    assert bottlenecks.fill(one, paths.items(), forward, read) == {}
    assert sorted(computed) == sorted(set(paths) - set(late))
    assert sorted(keys_of(one)) == sorted(paths)
    assert not one.matrix()[one.find(list(late))].any()


@pytest.mark.parametrize(
    "cached, expected", [([], False), (["imagenet"], False), (["imagenet", "random-3"], True)]
)
def test_random_weights_were_used_before_only_where_a_cache_says_so(tmp_path, cached, expected):
    for source in cached:
        bottleneck_cache.Cache(tmp_path / "cache", {"network": "InceptionV3", "weights": source}, 4)
    assert bottleneck_cache.random_before(tmp_path / "cache") is expected


# ---- kills --------------------------------------------------------------------------------------

# For each line with two numbers it starts so many processes, which append until they are killed
# rows that begin with the second number, and with what follows, each under this number as its key.
APPENDER = """
import os, sys
import numpy as np
from learning import bottleneck_cache, key_index
key_index.FEWEST = 50  # so that an index is written again and again
for line in sys.stdin:
    count, first = map(int, line.split())
    children = []
    while len(children) < count and (child := os.fork()):
        children.append(child)
    if len(children) < count:
        cache = bottleneck_cache.Cache("cache", {"network": "toy"}, 512)
        while True:
            done = cache.count
            numbers = range(first + done, first + done + 1 + done % 5)
            cache.append([f"{i:064x}" for i in numbers], np.add.outer(numbers, np.arange(512)))
    print(*children, flush=True)
    for child in children:
        os.waitpid(child, 0)
    print("gone", flush=True)
"""


def start(code, folder):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        text=True,
        env=environment(PYTHONPATH=str(REPO)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def append_and_kill(parent, folder, count, first, seconds):
    """Have APPENDER's processes append for so long and kill them. Returns the numbers in the cache,
    after a look whether each has its own row."""
    print(count, first, file=parent.stdin, flush=True)
    children = parent.stdout.readline().split()
    time.sleep(seconds)
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    assert parent.stdout.readline() == "gone\n"
    cache = bottleneck_cache.Cache(folder / "cache", {"network": "toy"}, 512)
    numbers = [int(key, 16) for key in keys_of(cache)]
    assert (cache.matrix() == np.add.outer(numbers, np.arange(512))).all()
    return numbers


@pytest.mark.parametrize("processes", [1, 2])
def test_fifty_kills_of_what_appends_lose_no_row(tmp_path, processes):
    rng, counts = random.Random(8), [0]
    with start(APPENDER, tmp_path) as parent:
        for _ in range(50):
            numbers = append_and_kill(parent, tmp_path, processes, 0, rng.uniform(0, 0.06))
            assert numbers == list(range(len(numbers))) and len(numbers) >= counts[-1]
            counts.append(len(numbers))
        parent.stdin.close()
    assert len(set(counts)) > 10  # the kills did come in the midst of appends


def test_a_kill_while_lost_rows_are_replaced_gives_no_key_another_row(tmp_path):
    rng = random.Random(9)
    with start(APPENDER, tmp_path) as parent:
        append_and_kill(parent, tmp_path, 1, 0, 0.2)
        for turn in range(1, 200):
            for path in (tmp_path / "cache").glob("*.f32"):
                os.truncate(path, 0)  # and the keys are left
            append_and_kill(parent, tmp_path, 1, 1000 * turn, rng.uniform(0, 0.008))
        parent.stdin.close()


# Computes the pictures of a folder, and writes down each before it reads it.
COMPUTER = """
import os, pathlib
from common.files import file_sha256
from learning import bottleneck_cache, bottlenecks, inception
network, fingerprint = inception.build_network("random", "mixed0")
cache = bottleneck_cache.Cache("cache", fingerprint, 256)
log = os.open("log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
def read(key, path):
    os.write(log, f"{key}\\n".encode())
    return bottlenecks.read_picture(path)
pictures = {file_sha256(str(path)): path for path in sorted(pathlib.Path("pictures").iterdir())}
bottlenecks.fill(cache, pictures.items(), inception.make_forward(network), read)
"""


@pytest.mark.parametrize(
    "instants, count",
    [
        pytest.param([20], 48, marks=pytest.mark.slow),
        pytest.param(random.Random(50).choices(range(1, 45), k=50), 1000, marks=pytest.mark.slow),
    ],
    ids=["1 kill", "50 kills"],
)
def test_kills_cost_no_more_than_what_is_in_flight(tmp_path, network, forward, instants, count):
    paths, rng = drawn(tmp_path / "pictures", count), random.Random(50)
    expected = dict(zip(paths, direct(network[0], paths.values())))
    log = tmp_path / "log"
    log.touch()
    before, rows = [], []
    for instant in [*instants, None]:  # in pictures read; None for no kill
        with start(COMPUTER, tmp_path) as process:
            if instant:
                while log.stat().st_size < 65 * (len(before) + instant) and process.poll() is None:
                    time.sleep(0.005)
                time.sleep(rng.uniform(0, 0.1))
                process.kill()
            err = process.communicate()[1]
        assert process.returncode == (-signal.SIGKILL if instant else 0), err
        cache = bottleneck_cache.Cache(tmp_path / "cache", network[1], 256)
        keys = keys_of(cache)
        assert keys[: len(rows)] == rows  # in their places
        for key, row in zip(keys, cache.matrix()):
            np.testing.assert_allclose(row, expected[key], rtol=1e-4, atol=1e-5)
        read = log.read_text().split()
        fresh = read[len(before) :]
        assert len(set(fresh)) == len(fresh) and not set(fresh) & set(rows)
        lost = len(fresh) - (cache.count - len(rows))
        assert lost <= (forward[1] + 1) * inception.BATCH if instant else lost == 0
        before, rows = read, keys
    assert sorted(rows) == sorted(paths)


def retrain_process(folder):
    return subprocess.Popen(
        [
            sys.executable,
            REPO / "retrain.py",
            "--image_dir",
            "pictures",
            "--weights",
            "random",
            "--layer",
            "mixed0",
            "--bottleneck_dir",
            "cache",
            "--how_many_training_steps",
            "20",
            "--cache-dtype",
            "float32",
        ],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_after_a_kill_two_processes_at_once_end_with_a_whole_and_right_cache(tmp_path, network):
    paths = [draw(tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png", i) for i in range(64)]
    (tmp_path / "pictures" / "a" / "broken.png").write_bytes(b"not a picture")
    shutil.copy(paths[0], tmp_path / "pictures" / "a" / "same.png")
    digests = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in paths}
    cache = bottleneck_cache.Cache(tmp_path / "cache", network[1], 256)
    first, deadline = retrain_process(tmp_path), time.monotonic() + 120
    while not cache.count and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
        cache.refresh()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    cache.refresh()
    kept = cache.count
    assert 0 < kept < 64  # it was killed in the middle

    both = [retrain_process(tmp_path) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        assert out.startswith("Final test accuracy = ") and "broken.png can't be read" in err
        assert (
            int(re.search(r"^bottlenecks: (\d+) pictures in [\d.]+ s$", err, re.M)[1])
            <= 64 - kept + 1
        )  # and the broken one
    keys, rows = files_of(cache)
    assert len(keys) == 64 and set(keys) == set(digests) and len(rows) == 64
    expected = direct(network[0], [digests[key] for key in keys])
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


# ---- a full disk --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_disk_without_room_is_told_of_before_any_work(tmp_path, small_disk, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # which our own TensorFlow has set
    folder = tmp_path / "own"
    for i in range(100):  # of which 62 would fit
        draw(folder / "pictures" / "ab"[i % 2] / f"{i}.png", i)
    done = run_script(
        "retrain",
        "--image_dir",
        "pictures",
        "--weights",
        "random",
        "--layer",
        "mixed0",
        "--cache-dtype",
        "float32",
        "--bottleneck_dir",
        small_disk / "cache",
        cwd=folder,
        process=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(r"retrain\.py: [^\n]+\n", done.stderr)
    assert f"{small_disk}/cache" in done.stderr and "--cache-dtype float16" in done.stderr
    assert not [
        path for path in (small_disk / "cache").iterdir() if path.suffix in (".f32", ".keys")
    ]


def test_what_fits_in_float16_alone_is_refused_in_float32(small_disk):
    half, full = (
        bottleneck_cache.Cache(small_disk, {"network": "toy"}, 256, dtype)
        for dtype in ("float16", "float32")
    )
    half.check_space(100)
    with pytest.raises(UserError, match="--cache-dtype"):
        full.check_space(100)
    with pytest.raises(UserError, match="^(?!.*--cache-dtype).*--bottleneck_dir"):
        half.check_space(1000)  # which is halved already


def test_what_the_cache_holds_needs_no_more_room(tmp_path, small_disk, network):
    paths = drawn(tmp_path / "own", 50)
    cache = bottleneck_cache.Cache(small_disk / "cache", network[1], 256)
    for count in (40, 50):  # 90 would be too many
        bottlenecks.compute(
            network[0], "float32", cache, pairs(dict(itertools.islice(paths.items(), count)))
        )
    assert keys_of(cache) == list(paths)


@pytest.mark.slow
def test_a_disk_that_fills_up_midway_keeps_what_was_there_and_lets_go_on(
    tmp_path, small_disk, network, forward
):
    paths = drawn(tmp_path / "own", 48)
    expected = direct(network[0], paths.values())

    def read(key, path):
        if key == list(paths)[36]:  # two batches have been kept by then
            fill_up(small_disk / "ballast")
        return bottlenecks.read_picture(path)

    cache = bottleneck_cache.Cache(small_disk / "cache", network[1], 256)
    with pytest.raises(OSError, match="No space left"):
        bottlenecks.fill(cache, paths.items(), forward, read)
    kept = bottleneck_cache.Cache(small_disk / "cache", network[1], 256)
    assert 16 <= kept.count < 48
    np.testing.assert_allclose(kept.matrix(), expected[: kept.count], rtol=1e-4, atol=1e-5)
    (small_disk / "ballast").unlink()
    assert bottlenecks.compute(network[0], "float32", kept, pairs(paths)) == {}
    np.testing.assert_allclose(kept.matrix(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [2, 8, 64, 1000])  # in the first the keys take the room
def test_appends_that_no_longer_fit_take_nothing_away(small_disk, size):
    cache = bottleneck_cache.Cache(small_disk, {"network": "toy"}, size)
    fill_up(small_disk / "ballast")
    os.truncate(small_disk / "ballast", os.path.getsize(small_disk / "ballast") - 5 * 4096)

    def append(number):
        cache.append(
            [f"{i:064x}" for i in range(number, number + 3)],
            np.add.outer(range(number, number + 3), np.arange(size)),
        )

    with pytest.raises(OSError, match="No space left"):
        for number in range(0, 10**5, 3):
            append(number)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            append(number)
    again = bottleneck_cache.Cache(small_disk, {"network": "toy"}, size)
    assert again.count >= number > 0
    (small_disk / "ballast").unlink()
    first = number
    for number in range(first, first + 9, 3):  # by the process that has seen it fail
        append(number)
    keys, rows = files_of(cache)
    assert keys == [f"{i:064x}" for i in range(number + 3)]
    assert (rows == np.add.outer(range(number + 3), np.arange(size))).all()


# ---- progress -----------------------------------------------------------------------------------


def test_on_a_terminal_progress_shows_rate_and_time_left(tmp_path, network, forward, monkeypatch):
    paths = drawn(tmp_path / "pictures", 40)
    cache = bottleneck_cache.Cache(tmp_path / "cache", network[1], 256)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    with open(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        bottlenecks.compute(network[0], "float32", cache, pairs(paths))
        terminal.flush()
        shown = os.read(master, 10**6).decode()
    os.close(master)
    assert re.search(
        r"bottlenecks: .* (8|16|24|32)/40 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+ ?"
        r"(s/)? ?pictures",
        shown,
    )


def test_elsewhere_progress_is_lines_with_rate_and_time_left(tmp_path, network, forward, capsys):
    cache = bottleneck_cache.Cache(tmp_path / "cache", network[1], 256)
    paths = {**drawn(tmp_path / "pictures", 40), "f" * 64: tmp_path / "missing"}
    with terminal.progress("bottlenecks", len(paths), "pictures") as bar:
        bar.mininterval = 0.001  # not 30 seconds
        bottlenecks.fill(
            cache, paths.items(), forward, lambda key, path: bottlenecks.read_picture(path), bar
        )
    *lines, last = capsys.readouterr().err.splitlines()
    counts = [
        int(re.fullmatch(r"bottlenecks: (\d+) of 41 pictures, [\d.]+/s, \d\d:\d\d left", line)[1])
        for line in lines
    ]
    assert len(counts) > 2 and counts == sorted(counts) and 0 < counts[0] < 41
    assert re.fullmatch(r"bottlenecks: 41 pictures in \d+\.\d s", last)
