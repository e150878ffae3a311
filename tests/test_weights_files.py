"""Weights and networks of a stranger's: HDF5 files, .keras files, and changed bytes in both.

Real Keras with networks of three layers; one test builds Inception v3.

    pytest tests/test_weights_files.py
"""

import argparse
import io
import json
import os
import random
import types
import zipfile

import h5py
import numpy as np
import pytest
from conftest import run_script
from peak import peak_of_code
from PIL import Image
from test_saved_models import flipped, stored

import retrain
from common.files import file_sha256
from common.terminal import UserError
from learning import inception, saved_networks, weights_files

# ---- HDF5 ---------------------------------------------------------------------------------------


def linked_outside(file):
    file["layers/conv2d/vars/0"] = h5py.ExternalLink("other.h5", "/secret")


def raw_file(file):
    file.create_dataset("0", (4,), "f4", external=[("secret.bin", 0, 16)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (4,))
    file.create_virtual_dataset("0", layout)


def loop(file):
    file.create_group("a")["b"] = file["/"]


def many_attributes(file):
    for number in range(200):
        file.attrs[str(number)] = 1


def many_texts(file):
    file.attrs["names"] = np.array(["a" * 600] * 1001, object)


HOSTILE = {
    "a link to another file": linked_outside,
    "a link within": lambda file: file.__setitem__("0", h5py.SoftLink("/layers")),
    "a link to nowhere": lambda file: file.__setitem__("0", h5py.SoftLink("/nowhere")),
    "numbers of another file": raw_file,
    "numbers of another HDF5 file": virtual,
    "a terabyte that nobody has written": lambda file: file.create_dataset("0", (10**12,), "u1"),
    "the same in pieces": lambda file: file.create_dataset("0", (10**12,), "u1", chunks=(10**6,)),
    "a compressed bomb": lambda file: file.create_dataset(
        "0", data=np.zeros(10**7, "u1"), compression="gzip"
    ),
    "texts": lambda file: file.create_dataset("0", data=["a" * 99] * 99),
    "a group that holds itself": loop,
    "many groups": lambda file: [file.create_group(str(number)) for number in range(5_001)],
    "many attributes": many_attributes,
    "attributes of many texts": many_texts,
}


@pytest.mark.redteam
@pytest.mark.parametrize("kind", HOSTILE)
def test_hdf5_of_a_stranger_is_one_sentence_before_keras_reads_it(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(b"x" * 16)
    with h5py.File("other.h5", "w") as file:
        file["secret"] = np.ones(4, "f4")
    with h5py.File("evil.weights.h5", "w") as file:
        HOSTILE[kind](file)
    with pytest.raises(UserError, match="^evil.weights.h5 holds no weights .*[^\n]*$"):
        inception.check_weights("evil.weights.h5", "mixed0")


def test_weights_that_are_a_pipe_or_a_device_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    for path in (tmp_path / "pipe.h5", "/dev/zero", tmp_path):
        with pytest.raises(UserError, match="there is no weights file"):
            inception.check_weights(str(path), "mixed0")


def test_a_file_of_a_known_name_that_is_not_that_file_is_said_to_be_damaged(tmp_path):
    path = tmp_path / inception.WEIGHTS_FILE
    path.write_bytes(b"x" * 99)
    with pytest.raises(UserError, match="damaged or cut short: fetch https"):
        inception.check_weights(str(path), "mixed0")


@pytest.fixture(scope="module")
def small():
    """A network of three layers, of the kinds that Inception has."""
    keras = inception.load_tensorflow().keras
    inside = keras.Input((8, 8, 3))
    last = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inside))
    return keras.Model(inside, keras.layers.Dense(3)(last))


@pytest.mark.parametrize("name", ("new.weights.h5", "old.h5"))
def test_what_keras_saves_passes(small, tmp_path, name):
    if name == "old.h5":
        from keras.src.legacy.saving import legacy_h5_format

        with h5py.File(tmp_path / name, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, small)
    else:
        small.save_weights(tmp_path / name)
    weights_files.check_file(str(tmp_path / name))
    assert weights_files.convolutions(str(tmp_path / name)) == 1
    inception.load_weights(small, small, str(tmp_path / name))


@pytest.mark.slow
@pytest.mark.parametrize("count", (pytest.param(50, marks=pytest.mark.redteam), 1000))
def test_a_changed_byte_in_weights_is_refused_or_tells_by_the_fingerprint(small, tmp_path, count):
    """HDF5 has no checksum of its numbers. Another number makes other weights, whose bottlenecks
    are never mixed with those of the whole file: they are known by the SHA-256 of the file."""
    rng, path = random.Random(21), tmp_path / "f.weights.h5"
    small.save_weights(path)
    whole, known = path.read_bytes(), file_sha256(path)
    wanted, refused = small.get_weights(), 0
    for _ in range(count):
        path.write_bytes(flipped(whole, rng))
        try:
            weights_files.check_file(str(path))
            weights_files.convolutions(str(path))
            inception.load_weights(small, small, str(path))
        except (ValueError, UserError) as error:
            assert str(error).isprintable()
            refused += 1
            continue
        same = all(map(np.array_equal, small.get_weights(), wanted))
        assert same or file_sha256(path) != known
    assert 0 < refused < count


# ---- .keras -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The path of a network up to mixed0 with three labels, as retrain.py saves it."""
    folder = tmp_path_factory.mktemp("saved")
    network, _ = inception.build_network("random", "mixed0")
    kernel = np.random.default_rng(0).normal(size=(256, 3)).astype(np.float32)
    trained = types.SimpleNamespace(
        weights={"kernel": kernel, "bias": np.zeros(3, np.float32)}, temperature=1.0
    )
    args = argparse.Namespace(
        final_tensor_name="last",
        output_graph=str(folder / "net.keras"),
        output_labels=str(folder / "labels.txt"),
    )
    retrain.save_network(network, trained, ["a", "b", "c"], args)
    Image.new("RGB", (64, 64), "red").save(folder / "a.png")
    return folder / "net.keras"


def changed(saved, path, **members):
    """Write a copy of a .keras file in which these members are others; None leaves one out."""
    with zipfile.ZipFile(saved) as file, zipfile.ZipFile(path, "w") as out:
        for name in {**dict.fromkeys(file.namelist()), **members}:
            data = members[name] if name in members else file.read(name)
            if data is not None:
                out.writestr(name, data)


def compressed(saved, path, name, piece, times):
    """The same, in which one is a compressed bomb."""
    changed(saved, path, **{name: None})
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as out,
        out.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(times):
            member.write(piece)


def hdf5(fill):
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        fill(file)
    return out.getvalue()


BAD_NETWORKS = {
    "labels that are a bomb": lambda *to: compressed(*to, "labels.json", b"[]," * 10**6, 60),
    "a description that is a bomb": lambda *to: compressed(*to, "config.json", b" " * 10**7, 30),
    "a bomb beside it": lambda *to: compressed(*to, "assets/x", bytes(10**7), 30),
    "labels of 31 MB": lambda *to: changed(*to, **{"labels.json": b" " * 31_000_000}),
    "ten million labels": lambda *to: changed(*to, **{"labels.json": b"[" + b"1," * 10**7 + b"1]"}),
    "labels that are no texts": lambda *to: changed(*to, **{"labels.json": b'["a", [], {}]'}),
    "labels that are no list": lambda *to: changed(*to, **{"labels.json": b'{"a":1,"b":2,"c":3}'}),
    "too few labels": lambda *to: changed(*to, **{"labels.json": b'["a", "b"]'}),
    "no labels": lambda *to: changed(*to, **{"labels.json": None}),
    "no weights": lambda *to: changed(*to, **{"model.weights.h5": None}),
    "weights elsewhere": lambda *to: changed(*to, **{"model.weights.h5": hdf5(linked_outside)}),
    "weights of a terabyte": lambda *to: changed(
        *to,
        **{
            "model.weights.h5": hdf5(
                lambda file: file.create_dataset(
                    "layers/conv2d/vars/0", (10**12,), "u1", chunks=True
                )
            )
        },
    ),
    "many names": lambda saved, path: path.write_bytes(stored({f"{i}": b"" for i in range(2000)})),
}


@pytest.mark.redteam
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow if "bomb" in kind or "few" in kind else ())
        for kind in BAD_NETWORKS
    ],
)
def test_a_network_of_a_stranger_is_one_sentence(saved, tmp_path, kind):
    path = tmp_path / "net.keras"
    BAD_NETWORKS[kind](saved, path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="^[^\n]*net.keras is no network that retrain.py has saved"):
        saved_networks.load_network(str(path))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
@pytest.mark.redteam
@pytest.mark.parametrize("kind", [kind for kind in BAD_NETWORKS if "bomb" in kind])
def test_a_bomb_of_a_network_takes_no_memory(saved, tmp_path, kind):
    path = tmp_path / "net.keras"
    BAD_NETWORKS[kind](saved, path)
    run = peak_of_code(
        "from learning import saved_networks\n"
        f"try: saved_networks.load_network({str(path)!r})\n"
        "except saved_networks.UserError: print('refused')\n"
    )
    assert run.stdout == "refused\n" and run.megabytes < 200, run


CODE = {  # what Keras would build of a description
    "module": "keras.layers",
    "class_name": "Lambda",
    "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEA"}}},
}


@pytest.mark.slow
@pytest.mark.redteam
def test_what_a_network_says_of_how_it_is_built_is_not_read_and_its_labels_steer_no_terminal(
    saved, tmp_path
):
    picture = saved.with_name("a.png")
    plain = run_script("retrain", "--label_image", picture, "--output_graph", saved, cwd=tmp_path)
    labels = ["\x1b]0;mine\x07", "b\nforged", "c\u202e\x9b31m"]
    changed(
        saved,
        tmp_path / "net.keras",
        **{"config.json": json.dumps(CODE).encode(), "labels.json": json.dumps(labels).encode()},
    )
    done = run_script(
        "retrain", "--label_image", picture, "--output_graph", "net.keras", cwd=tmp_path
    )
    assert done.returncode == plain.returncode == 0
    lines, expected = done.stdout.splitlines(), plain.stdout.splitlines()
    assert len(lines) == len(expected) == 4 and all(line.isprintable() for line in lines)
    assert [line.split()[0] for line in lines] == [line.split()[0] for line in expected]


@pytest.mark.parametrize(
    "count",
    (pytest.param(50, marks=pytest.mark.redteam), pytest.param(1000, marks=pytest.mark.slow)),
)
def test_a_changed_byte_in_a_network_is_found_or_changes_nothing(saved, tmp_path, count):
    rng, path, found = random.Random(21), tmp_path / "net.keras", 0
    whole, parts = saved.read_bytes(), saved_networks.read_parts(str(saved))
    for _ in range(count):
        path.write_bytes(flipped(whole, rng))
        try:
            read = saved_networks.read_parts(str(path))
        except Exception:  # load_network makes a sentence of whatever it is
            found += 1
            continue
        assert read == parts
    assert found > count / 2
