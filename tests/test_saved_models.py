"""Models on disk: what was saved comes back, and a folder of a stranger's gets one sentence.

Here it is asked of the folder alone; tests/test_filing.py asks the scripts.

    pytest tests/test_saved_models.py
"""

import io
import json
import os
import pickle
import random
import socket
import struct
import zipfile

import numpy as np
import pytest
from peak import peak_of_code

from common.terminal import UserError
from learning import correctness, saved_models

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
OF_LEAF = {
    "features": dict.fromkeys(correctness.FEATURES, 0.1),
    "categories": [0.1, 0, -0.5],
    "pairs": [[0, 1, 0.25], [2, 0, -0.25]],
}
OF_PARENT = {**OF_LEAF, "categories": [0.1, 0], "pairs": [[0, 1, 0.25]]}
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


PROMISE = {
    "target": 0.98,
    "confidence": 0.95,
    "leaf": None,
    "parent": 0.5,
    "strange": 0,
    "rests_on": "out-of-fold predictions",
    "products": 7,
    "fewest": 9,
}


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


def stored(members, times=1, flags=0):
    """A zip archive of {name: data}, not compressed, whose table of contents lists all of them so
    many times, with these bits set."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        start = archive.start_dir
    data = out.getvalue()
    contents = bytearray(data[start:-22])
    contents[8] |= flags
    end = struct.pack("<4s4HLLH", b"PK\5\6", 0, 0, times, times, times * len(contents), start, 0)
    return data[:start] + times * bytes(contents) + end


def lying(data):
    """A zip archive of one member that says that it unpacks to 144 bytes."""
    at = data.rindex(b"PK\1\2") + 24
    return data[:at] + struct.pack("<L", 144) + data[at + 4 :]


def header(shape, kind="<f4"):
    """What stands before an array's numbers in a file of numpy's."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\1\0v\0" + text.ljust(117).encode() + b"\n"


WHOLE = npz(**arrays())
# The bombs are made by their tests: every worker of pytest loads this file, and packs for seconds.
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
    "a bomb": lambda: zipped("kernel.npy", b"\0" * 10_000_000, 210),
    "nan": npz(**arrays(bias=np.full(3, np.nan, np.float32))),
    "letters": npz(**arrays(bias=np.array(["a", "b", "c"]))),
    "complex": npz(**arrays(bias=np.zeros(3, complex))),
    "too few categories": npz(**arrays(bias=np.zeros(2, np.float32))),
    "too many words": npz(**arrays(hidden_kernel=np.zeros((5, 5), np.float32))),
    "kernels that do not fit": npz(**arrays(kernel=np.zeros((4, 3), np.float32))),
    "one number": npz(**arrays(hidden_bias=np.float32(1))),
    "idf of other words": npz(**arrays(idf=np.zeros(9, np.float32))),
    "a compressed bomb that lies of its size": lambda: lying(
        zipped("kernel.npy", b"\0" * 10_000_000, 30)
    ),
    "many names of the same bytes": stored({"kernel.npy": bytes(10_000)}, 40),
    "one name twice": stored({"kernel.npy": b"x"}, 2),
    "a table of contents of 100 kB": stored({f"{i}.npy": b"" for i in range(2_000)}),
    "a comment behind it": WHOLE[:-2] + b"\1\0x",
    "a size that no number holds": stored({"kernel.npy": header(f"({10**30},)")}),
    "a size of 40 GB": stored({"kernel.npy": header("(10000000000,)")}),
    "a header that promises less": WHOLE.replace(
        header("(5, 3)")[10:], header("(5, 3)", "<f2")[10:]
    ),
    "a password": stored({"kernel.npy": b"x" * 99}, flags=1),
}


def refused(folder):
    with pytest.raises(UserError) as caught:
        saved_models.load_model(folder)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300 + len(str(folder))
    return str(caught.value)


@pytest.mark.redteam
@pytest.mark.parametrize("data", BROKEN_WEIGHTS.values(), ids=BROKEN_WEIGHTS)
def test_weights_of_a_stranger_that_do_not_fit_are_one_sentence(tmp_path, data):
    saved_models.save_model(tmp_path, arrays(), TEXT)
    (tmp_path / "weights.npz").write_bytes(data() if callable(data) else data)
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
            ("correctness", []),
            ("correctness", {"features": {}, "categories": [0, 0, 0], "pairs": []}),
            ("correctness", {"leaf": OF_LEAF}),
            ("correctness", {"leaf": OF_LEAF, "parent": None}),
            ("correctness", {"leaf": OF_LEAF, "parent": OF_LEAF}),
            *(
                ("correctness", {"leaf": {**OF_LEAF, key: value}, "parent": OF_PARENT})
                for key, value in (
                    ("features", {**OF_LEAF["features"], "margin": "one"}),
                    ("features", {**OF_LEAF["features"], "entropy": float("nan")}),
                    ("features", dict.fromkeys(correctness.FEATURES, [0.1, 0.1])),
                    ("features", dict.fromkeys(correctness.FEATURES, [])),
                    ("categories", [0, 0]),
                    ("categories", [0, 0, 1e300]),
                    ("pairs", [[0, 1, 0.5], [0, 1, 0.5]]),
                    ("pairs", [[0, 3, 0.5]]),
                    ("pairs", [[-1, 1, 0.5]]),
                    ("pairs", [[0, 0.5, 0.5]]),
                    ("pairs", [[0, 1]]),
                    ("pairs", [[1e300, 1, 0.5]]),
                    ("pairs", [[float("nan"), 1, 0.5]]),
                    ("pairs", "none"),
                )
            ),
        )
    },
    "a list": [],
    "nothing": None,
}


@pytest.mark.parametrize("changed", BROKEN_DESCRIPTIONS.values(), ids=BROKEN_DESCRIPTIONS)
def test_a_description_of_a_stranger_that_does_not_fit_is_one_sentence(tmp_path, changed, recwarn):
    saved_models.save_model(tmp_path, arrays(), TEXT)
    told = {"format": 1, **TEXT, **changed} if isinstance(changed, dict) else changed
    (tmp_path / "model.json").write_text(json.dumps(told))
    assert "train again" in refused(tmp_path)
    assert not recwarn.list  # numpy would print one beside the sentence


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


@pytest.mark.redteam
@pytest.mark.parametrize("name", ("model.json", "weights.npz"))
def test_a_device_a_folder_or_nothing_in_a_files_place_is_one_sentence(tmp_path, name):
    for put in (
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.mkdir(),
        os.mkfifo,
        lambda path: None,
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path.with_name(f"{path.name}.elsewhere")),
        lambda path: path.symlink_to(path.name),
        lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
    ):
        own = tmp_path / str(len(os.listdir(tmp_path)))
        own.mkdir()
        saved_models.save_model(own, arrays(), TEXT)
        (own / name).rename(own / f"{name}.elsewhere")
        put(own / name)
        with pytest.raises(OSError):  # nor is a digest waited for
            saved_models.digest(own)
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
    promise = PROMISE
    saved_models.keep_promise(tmp_path, promise)
    saved_models.keep_promise(tmp_path, {**promise, "target": 0.9})
    assert saved_models.kept_promises(tmp_path) == {"98": promise, "90": {**promise, "target": 0.9}}


# ---- links, bombs and damage --------------------------------------------------------------------


def test_a_folder_that_is_a_link_is_read_for_a_person_may_keep_models_elsewhere(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    known = saved_models.save_model(disk, arrays(), TEXT)
    (tmp_path / "models").symlink_to(disk)
    assert saved_models.load_model(tmp_path / "models", known)[1]["categories"] == LEAVES


def test_thresholds_that_are_a_link_or_a_pipe_are_not_read(tmp_path, capsys):
    for put in (lambda path: path.symlink_to("true.json"), os.mkfifo, lambda path: path.mkdir()):
        own = tmp_path / str(len(os.listdir(tmp_path)))
        own.mkdir()
        saved_models.keep_promise(own, PROMISE)
        assert saved_models.kept_promises(own) and capsys.readouterr().err == ""
        (own / "thresholds.json").rename(own / "true.json")
        put(own / "thresholds.json")
        assert saved_models.kept_promises(own) == {}
        assert "thresholds.json is damaged" in capsys.readouterr().err


def test_files_of_before_without_a_checksum_are_read_and_a_changed_digit_is_noticed(
    tmp_path, capsys
):
    saved_models.keep_promise(tmp_path, PROMISE)
    path = tmp_path / "thresholds.json"
    kept = json.loads(path.read_text())
    path.write_text(path.read_text().replace("0.5", "0.4"))
    assert saved_models.kept_promises(tmp_path) == {}
    assert "is damaged" in capsys.readouterr().err
    del kept["98"]["crc32"]
    path.write_text(json.dumps(kept))
    assert saved_models.kept_promises(tmp_path) == {"98": PROMISE}
    assert capsys.readouterr().err == ""


JSON_BOMBS = {
    "lists": "[" + "[]," * 9_900_000 + "0]",
    "objects": "[" + '{"":0},' * 499_000 + "0]",
    "a text of four bytes a letter": '["\U0001f456' + "a" * 29_900_000 + '"]',
    "short texts": "[" + '"ab",' * 990_000 + "0]",
    "depth": "[" * 15_000_000,
    "more than 30 MB": " " * 30_000_001,
}


@pytest.mark.slow
@pytest.mark.redteam
@pytest.mark.parametrize("kind", JSON_BOMBS)
def test_json_takes_no_more_than_its_bound_of_memory(tmp_path, kind):
    saved_models.save_model(tmp_path, arrays(), TEXT)
    (tmp_path / "model.json").write_text(JSON_BOMBS[kind], "utf-8")
    run = peak_of_code(
        "from learning import saved_models\n"
        f"try: saved_models.load_model({str(tmp_path)!r})\n"
        "except saved_models.UserError as error: print(error)\n"
    )
    assert "train again" in run.stdout and run.megabytes < 400, run


def flipped(data, rng):
    """Data with one byte changed; every other time among the first or the last 400, where the
    headers are."""
    ends = rng.random() < 0.5 and len(data) > 800
    place = rng.choice([*range(400), *range(-400, 0)]) if ends else rng.randrange(len(data))
    changed = bytearray(data)
    changed[place] ^= rng.randrange(1, 256)
    return bytes(changed)


@pytest.mark.parametrize(
    "count",
    (pytest.param(50, marks=pytest.mark.redteam), pytest.param(1000, marks=pytest.mark.slow)),
)
@pytest.mark.parametrize("known", (True, False), ids=("digest known", "digest unknown"))
@pytest.mark.parametrize("name", ("weights.npz", "model.json", "thresholds.json"))
def test_a_changed_byte_is_found_or_changes_nothing(tmp_path, capsys, name, known, count):
    """model.json has no checksum of its own: without the digest any text may be another."""
    rng = random.Random(21)
    weights = arrays()
    known = saved_models.save_model(tmp_path, weights, TEXT) if known else None
    if not known:
        saved_models.save_model(tmp_path, weights, TEXT)
    saved_models.keep_promise(tmp_path, PROMISE)
    path, found = tmp_path / name, 0
    whole = path.read_bytes()
    for _ in range(count):
        path.write_bytes(flipped(whole, rng))
        capsys.readouterr()
        try:
            read, described = saved_models.load_model(tmp_path, known)
        except UserError as error:
            assert name != "thresholds.json" and str(error).isprintable()
            found += 1
            continue
        assert name == "thresholds.json" or not known
        if name == "weights.npz":
            assert read.keys() == weights.keys()
            assert all((read[key] == weights[key]).all() for key in weights)
        promises = saved_models.kept_promises(tmp_path)
        if "is damaged" in capsys.readouterr().err:
            found += 1
        else:
            assert {key: promises["98"][key] for key in PROMISE} == PROMISE
    assert found > (count / 2 if name != "model.json" or known else 0)
    path.write_bytes(whole)
    assert saved_models.load_model(tmp_path, known)[1]["categories"] == LEAVES
