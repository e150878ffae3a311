"""Tests of --precision auto: it goes on as it began, and begins with what is fastest here.

pytest tests/test_precision.py
"""

import json
import os
import re

import numpy as np
import pytest
from conftest import draw_feed, run_script

from learning import bottleneck_cache, inception, precision

FINGERPRINT = {"network": "InceptionV3", "weights": "w", "layer": "mixed10"}


def keep(folder, name, count, dtype="float16", **more):
    """Keep so many bottlenecks of a precision in a folder."""
    fingerprint = {**FINGERPRINT, "precision": name, **more}
    cache = bottleneck_cache.Cache(str(folder), fingerprint, 2, dtype)
    start = len(os.listdir(folder))
    keys = [f"{start:032x}{number:032x}" for number in range(count)]
    cache.append(keys, np.zeros((count, 2), np.float32))


def test_bottlenecks_that_are_there_are_counted_by_precision_and_layer(tmp_path):
    keep(tmp_path, "int8", 3)
    keep(tmp_path, "int8", 2, "float32", weights="others")
    keep(tmp_path, "float32", 4)
    keep(tmp_path, "float32", 9, layer="mixed8")
    keep(tmp_path, "float64", 9)
    keep(tmp_path, "bfloat16", 9, random_crop=10, seed=0)  # of distorted pictures
    bottleneck_cache.Cache(str(tmp_path), {**FINGERPRINT, "precision": "bfloat16"}, 2)
    assert precision.kept_rows(str(tmp_path), "avg_pool") == {"int8": 5, "float32": 4}
    assert precision.kept_rows(str(tmp_path), "mixed8") == {"float32": 9}
    assert precision.kept_rows(str(tmp_path), "mixed0") == {}
    assert precision.kept_rows(str(tmp_path / "nothing"), "avg_pool") == {}


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 50_000, '{"layer": ["mixed10"]}', "\0", "9"])
def test_what_describes_no_cache_is_left_out(tmp_path, text):
    keep(tmp_path, "int8", 3)
    (tmp_path / "0.json").write_text(text)
    (tmp_path / "1.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "2.json")
    odd = {**FINGERPRINT, "precision": ["int8"], "weights": {}}
    (tmp_path / "3.json").write_text(json.dumps(odd))
    assert precision.kept_rows(str(tmp_path), "avg_pool") == {"int8": 3}
    assert not bottleneck_cache.random_before(str(tmp_path))


def test_auto_goes_on_in_the_precision_of_most_bottlenecks_and_others_are_as_asked(
    tmp_path, capsys
):
    keep(tmp_path, "bfloat16", 1)
    keep(tmp_path, "float32", 2)
    assert precision.settled("auto", "avg_pool", str(tmp_path), None) == "float32"
    assert capsys.readouterr().err == (
        f"--precision auto: float32, as 2 bottlenecks of avg_pool in {tmp_path}\n"
    )
    for name in inception.PRECISIONS:
        assert precision.settled(name, "avg_pool", str(tmp_path), None) == name
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_by_script_auto_measures_once_and_the_model_files_in_the_precision_it_learned_in(tmp_path):
    feed = draw_feed(tmp_path / "shop", 12)
    assert run_script("crawl", "--feed", feed, cwd=tmp_path).returncode == 0
    flags = ["--weights", "random", "--layer", "mixed1", "--min-products", "1"]
    flags += ["--split-by", "group", "--how_many_training_steps", "5", "--precision", "auto"]
    done = run_script("categorize_images", *flags, cwd=tmp_path)
    said = re.search(r"--precision auto: (\w+) \(pictures a second here: (.*)\)", done.stderr)
    rates = {name: float(rate) for name, rate in (part.split() for part in said[2].split(", "))}
    assert rates[said[1]] == max(rates.values())
    unknown = set() if inception.knows_bfloat16() else {"bfloat16"}
    assert {*rates} == {*inception.PRECISIONS} - unknown
    done = run_script("categorize_images", *flags, cwd=tmp_path)
    assert f"--precision auto: {said[1]}, as 24 bottlenecks of mixed1" in done.stderr
    assert "pictures in" not in done.stderr
    for other in ("float32", "int8"):
        keep(tmp_path / "retrain_out" / "bottleneck", other, 50, layer="mixed1")
    for asked in ((), ("--precision", "auto")):
        flags = ("--apply", "1", "--file-anyway", *asked)
        done = run_script("categorize_images", *flags, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "pictures in" not in done.stderr and "pictures a second" not in done.stderr
