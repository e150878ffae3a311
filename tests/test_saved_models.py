"""Models on disk: what was saved comes back, and a folder of a stranger's gets one sentence.

Here it is asked of the folder alone; tests/test_filing.py asks the scripts.

    pytest tests/test_saved_models.py
"""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from common.terminal import UserError
from learning import saved_models

LEAVES = ["jeans.boot", "jeans.slim", "bags.totes"]
TEXT = {
    "kind": "Text",
    "categories": LEAVES,
    "parents": ["jeans", "jeans", "bags"],
    "temperature": 1.25,
    "network": "default",
    "fields": ["name", "description"],
    "vocabulary": ["café", "jean", "name:jean", "a jean"],
    "settings": {"folds": 3},
}
FUSED = {**TEXT, "kind": "Image+Text", "bottleneck": {}, "fusion": {"used temperatures": [1.5, 2]}}


def arrays(**changed):
    rng = np.random.default_rng(0)
    own = {"hidden_kernel": (4, 5), "hidden_bias": 5, "kernel": (5, 3), "bias": 3, "idf": 4}
    return {
        **{name: rng.normal(size=shape).astype(np.float32) for name, shape in own.items()},
        **changed,
    }


def fused(**changed):
    rng = np.random.default_rng(1)
    picture = {"kernel": (8, 3), "bias": 3, "bottleneck_mean": 8}
    return {
        **{f"text_{name}": array for name, array in arrays().items()},
        **{
            f"picture_{name}": rng.normal(size=shape).astype(np.float32)
            for name, shape in picture.items()
        },
        "fusion": np.array([1.0, 0.1, 0.2]),
        "unseen": np.zeros(3, bool),
        **changed,
    }


def test_a_saved_model_is_what_was_saved_and_holds_no_pickle(tmp_path):
    for described, weights in ((TEXT, arrays()), (FUSED, fused())):
        saved_models.save_model(tmp_path, weights, described)
        found, told = saved_models.load_model(tmp_path)
        assert told == {"format": 1, **described} and found.keys() == weights.keys()
        with np.load(tmp_path / "weights.npz", allow_pickle=False) as stored:
            for name, value in weights.items():
                assert stored[name].dtype == value.dtype == found[name].dtype
                np.testing.assert_array_equal(found[name], value)


class Payload:
    """What a pickle of it runs when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def npz(**arrays):
    data = io.BytesIO()
    np.savez(data, **arrays)
    return data.getvalue()


def zipped(name, data, times=1):
    """A zip archive that says it holds `data` so many times, by its headers alone."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(times):
            member.write(data)
    return out.getvalue()


WHOLE = npz(**arrays())
BROKEN_WEIGHTS = {
    "empty": b"",
    "text": b"not a zip",
    "cut": WHOLE[: len(WHOLE) // 2],
    "cut late": WHOLE[:-30],
    "a byte changed": WHOLE[:200] + bytes([WHOLE[200] ^ 255]) + WHOLE[201:],
    "one array": npz(kernel=arrays()["kernel"]),
    "a header that promises more": zipped(
        "kernel.npy",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', "
        b"'fortran_order': False, 'shape': (9999999, 999999)}\n",
    ),
    "a header that is no literal": zipped(
        "kernel.npy", b"\x93NUMPY\x01\x00\x10\x00print('here')\n"
    ),
    "a bomb": zipped("kernel.npy", b"\0" * 10_000_000, 210),
    "nan": npz(**arrays(bias=np.full(3, np.nan, np.float32))),
    "letters": npz(**arrays(bias=np.array(["a", "b", "c"]))),
    "complex": npz(**arrays(bias=np.zeros(3, complex))),
    "too few categories": npz(**arrays(bias=np.zeros(2, np.float32))),
    "too many words": npz(**arrays(hidden_kernel=np.zeros((5, 5), np.float32))),
    "kernels that do not fit": npz(**arrays(kernel=np.zeros((4, 3), np.float32))),
    "one number": npz(**arrays(hidden_bias=np.float32(1))),
    "idf of other words": npz(**arrays(idf=np.zeros(9, np.float32))),
}


def refused(folder):
    with pytest.raises(UserError) as caught:
        saved_models.load_model(folder)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300 + len(str(folder))
    return str(caught.value)


@pytest.mark.parametrize("data", BROKEN_WEIGHTS.values(), ids=BROKEN_WEIGHTS)
def test_weights_of_a_stranger_that_do_not_fit_are_one_sentence(tmp_path, data):
    saved_models.save_model(tmp_path, arrays(), TEXT)
    (tmp_path / "weights.npz").write_bytes(data)
    assert "train again" in refused(tmp_path)


def test_a_pickle_among_the_weights_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    own = tmp_path / "model"
    own.mkdir()
    saved_models.save_model(own, arrays(), TEXT)
    evil = np.array([Payload(ran)], object)
    for data in (npz(**arrays(bias=evil)), npz(**arrays(more=evil)), pickle.dumps(Payload(ran))):
        (own / "weights.npz").write_bytes(data)
        refused(own)
        assert not ran.exists()
    assert pickle.loads(data) and ran.exists()  # so it would have run


@pytest.mark.parametrize("name", ("../out.npy", "/tmp/out-of-the-folder.npy", "a/../../b.npy"))
def test_a_member_of_any_name_is_written_nowhere(tmp_path, name):
    own = tmp_path / "model"
    own.mkdir()
    saved_models.save_model(own, arrays(), TEXT)
    with zipfile.ZipFile(own / "weights.npz", "a") as archive:
        archive.writestr(name, b"x")
    before = sorted(tmp_path.rglob("*"))
    try:
        saved_models.load_model(own)
    except UserError:
        pass
    assert sorted(tmp_path.rglob("*")) == before and not os.path.exists(
        "/tmp/out-of-the-folder.npy"
    )


BROKEN_DESCRIPTIONS = {
    **{
        f"{name} {value!r}": {name: value}
        for name, value in (
            ("format", 2),
            ("format", "1"),
            ("kind", "text"),
            ("kind", None),
            ("kind", ["Text"]),
            ("categories", []),
            ("categories", LEAVES[:2]),
            ("categories", [1, 2, 3]),
            ("categories", ["a", "a", "b"]),
            ("parents", ["jeans"]),
            ("parents", None),
            ("temperature", 0),
            ("temperature", -1),
            ("temperature", "1"),
            ("temperature", True),
            ("temperature", float("inf")),
            ("temperature", float("nan")),
            ("vocabulary", {}),
            ("vocabulary", ["a", "a", "b", "c"]),
            ("vocabulary", ["a", "b", "c"]),
            ("vocabulary", [["a"], "b", "c", "d"]),
            ("fields", ["price"]),
            ("settings", []),
        )
    },
    "a list": [],
    "nothing": None,
}


@pytest.mark.parametrize("changed", BROKEN_DESCRIPTIONS.values(), ids=BROKEN_DESCRIPTIONS)
def test_a_description_of_a_stranger_that_does_not_fit_is_one_sentence(tmp_path, changed):
    saved_models.save_model(tmp_path, arrays(), TEXT)
    told = {"format": 1, **TEXT, **changed} if isinstance(changed, dict) else changed
    (tmp_path / "model.json").write_text(json.dumps(told))
    assert "train again" in refused(tmp_path)


@pytest.mark.parametrize(
    "data",
    (
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format": 1}',
        json.dumps({"format": 1, **TEXT}).encode()[:-40],
    ),
)
def test_a_description_that_is_no_json_is_one_sentence(tmp_path, data):
    saved_models.save_model(tmp_path, arrays(), TEXT)
    (tmp_path / "model.json").write_bytes(data)
    refused(tmp_path)


@pytest.mark.parametrize(
    "changed",
    (
        {"fusion": np.ones(2)},
        {"unseen": np.zeros(2, bool)},
        {"fusion": np.array([1, np.inf, 0])},
        {"picture_kernel": np.zeros((7, 3), np.float32)},
        {"text_bias": np.zeros(2, np.float32)},
    ),
    ids=str,
)
def test_two_networks_that_do_not_fit_are_one_sentence(tmp_path, changed):
    saved_models.save_model(tmp_path, fused(**changed), FUSED)
    refused(tmp_path)
    saved_models.save_model(tmp_path, fused(), {**FUSED, "fusion": {"used temperatures": [1, "2"]}})
    refused(tmp_path)
    without = fused()
    del without["picture_bias"]
    saved_models.save_model(tmp_path, without, FUSED)
    refused(tmp_path)


@pytest.mark.parametrize("name", ("model.json", "weights.npz"))
def test_a_device_a_folder_or_nothing_in_a_files_place_is_one_sentence(tmp_path, name):
    for put in (
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.mkdir(),
        os.mkfifo,
        lambda path: None,
        lambda path: path.symlink_to("nowhere"),
    ):
        own = tmp_path / str(len(os.listdir(tmp_path)))
        own.mkdir()
        saved_models.save_model(own, arrays(), TEXT)
        (own / name).unlink()
        put(own / name)
        assert "train again" in refused(own)
    assert "there is no model in" in refused(tmp_path / "none")


@pytest.mark.parametrize(
    "text",
    (
        "",
        "[]",
        "{",
        '{"98": 1}',
        '{"98": {"leaf": "x"}}',
        '{"98": {"target": 0.98}}',
        '{"x": {"target": 0.98, "confidence": 0.95, "leaf": null, '
        '"parent": null, "rests_on": "", "products": 1}}',
        '{"98": {"target": 0.98, "confidence": 0.95, '
        '"leaf": 1' + "0" * 400 + ', "parent": null, "rests_on": "", "products": 1}}',
    ),
)
def test_thresholds_that_nobody_can_read_are_none(tmp_path, text):
    assert saved_models.kept_promises(tmp_path) == {}
    (tmp_path / "thresholds.json").write_text(text)
    assert saved_models.kept_promises(tmp_path) == {}
    promise = {
        "target": 0.98,
        "confidence": 0.95,
        "leaf": None,
        "parent": 0.5,
        "strange": 0,
        "rests_on": "out-of-fold predictions",
        "products": 7,
        "fewest": 9,
    }
    saved_models.keep_promise(tmp_path, promise)
    saved_models.keep_promise(tmp_path, {**promise, "target": 0.9})
    assert saved_models.kept_promises(tmp_path) == {"98": promise, "90": {**promise, "target": 0.9}}
