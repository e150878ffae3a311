"""Encoders of texts: what they make of a text, and folders that are broken, cut or a stranger's.

pytest tests/test_text_encoder.py
"""

import os

import numpy as np
import pytest
from encoders import SHARED, WORDS, network, onnx, safetensors, table, write_encoder, write_tokens

from common.terminal import UserError
from learning import encodings, onnx_files, text_encoder, token_vectors


def tokens_of(*words):
    """What the network makes of words, [words, 4]."""
    vectors = table()[[WORDS.index(word) for word in words]]
    return vectors + vectors.sum(axis=0)


def opened(path):
    return encodings.open_encoder(str(path), str(path) + ".db")


def vectors_of(path, texts):
    encoder = text_encoder.open_encoder(str(path))
    return encoder.prepare(texts)(texts)


def refused(path, part):
    """Whether the folder is refused in one sentence with this part in it."""
    with pytest.raises(UserError) as caught:
        opened(path)
    said = str(caught.value)
    assert part in said and "\n" not in said and len(said) < 500, said


@pytest.mark.parametrize("place", ("", "onnx"))
def test_the_mean_of_the_tokens_of_length_one(tmp_path, place):
    found = vectors_of(write_encoder(tmp_path / "e", place=place), ["Flared  denim", "satin"])
    for row, words in zip(found, (("flared", "denim"), ("satin",))):
        mean = tokens_of(*words).mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), rtol=1e-5)


@pytest.mark.parametrize(
    "pooling, expected",
    (("cls", lambda t: t[0]), ("max", lambda t: t.max(0)), ("mean", lambda t: t.mean(0))),
)
def test_each_pooling_without_length_one(tmp_path, pooling, expected):
    folder = write_encoder(tmp_path / "e", pooling=pooling, normalize=False)
    found = vectors_of(folder, ["slim blue jean", "red"])  # the second one is padded
    np.testing.assert_allclose(found[0], expected(tokens_of("slim", "blue", "jean")), rtol=1e-5)
    np.testing.assert_allclose(found[1], expected(tokens_of("red")), rtol=1e-5)


def test_pooling_as_later_versions_write_it(tmp_path):
    folder = write_encoder(tmp_path / "e", normalize=False)
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode": "max"}')
    np.testing.assert_allclose(
        vectors_of(folder, ["slim jean"])[0], tokens_of("slim", "jean").max(axis=0), rtol=1e-5
    )


def test_without_modules_it_is_the_mean_as_it_is(tmp_path):
    folder = write_encoder(tmp_path / "e")
    (folder / "modules.json").unlink()
    np.testing.assert_allclose(
        vectors_of(folder, ["slim jean"])[0], tokens_of("slim", "jean").mean(axis=0), rtol=1e-5
    )


def test_a_text_is_cut_at_the_most_tokens_and_batches_change_nothing(tmp_path, monkeypatch):
    folder = write_encoder(tmp_path / "e", most=4)
    texts = ["red blue slim jean satin bag", "red blue slim jean", "bag", "", "an unknown word"]
    together = vectors_of(folder, texts)
    np.testing.assert_array_equal(together[0], together[1])
    monkeypatch.setattr(text_encoder, "BATCH_TOKENS", 4)
    np.testing.assert_allclose(vectors_of(folder, texts), together, rtol=1e-5)
    assert np.isfinite(together).all()


def test_an_onnx_file_may_be_named_itself_and_is_another_encoder(tmp_path):
    folder = write_encoder(tmp_path / "e")
    onnx.save(network(table(seed=1)), str(folder / "onnx/model_quantized.onnx"))
    one, other = (
        text_encoder.open_encoder(str(path))
        for path in (folder, folder / "onnx/model_quantized.onnx")
    )
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == text_encoder.open_encoder(str(folder / "onnx/model.onnx")).fingerprint


def test_a_quantised_file_may_be_named_and_makes_nearly_the_same_vectors(tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    folder = write_encoder(tmp_path / "e")
    made = folder / "onnx/model_quantized.onnx"
    quantization.quantize_dynamic(folder / "onnx/model.onnx", made, per_channel=True)
    texts = ["slim blue jean", "red satin bag", "denim"]
    exact, rounded = vectors_of(folder, texts), vectors_of(made, texts)
    assert ((exact * rounded).sum(axis=1) > 0.999).all() and not np.array_equal(exact, rounded)
    assert opened(folder).encoder.fingerprint != opened(made).encoder.fingerprint


@pytest.mark.parametrize("setting", ("most", "pooling", "normalize"))
def test_what_changes_vectors_changes_the_fingerprint(tmp_path, setting):
    other = {"most": 5, "pooling": "cls", "normalize": False}[setting]
    one = text_encoder.open_encoder(str(write_encoder(tmp_path / "one")))
    two = text_encoder.open_encoder(str(write_encoder(tmp_path / "two", **{setting: other})))
    assert one.fingerprint != two.fingerprint


# ---- what is broken -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, part",
    (("onnx/model.onnx", "no model.onnx"), ("tokenizer.json", "there is no tokenizer.json")),
)
def test_a_file_that_is_missing_is_named(tmp_path, name, part):
    folder = write_encoder(tmp_path / "e")
    (folder / name).unlink()
    refused(folder, part)


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    refused(tmp_path / "gone", "name the folder of an encoder")


@pytest.mark.parametrize(
    "name, content, part",
    (
        ("tokenizer.json", b"{}", "no tokenizer"),
        ("tokenizer.json", b"\xff\xfe", "no tokenizer"),
        ("modules.json", b'{"a": 1}', "not as sentence-transformers writes it"),
        ("modules.json", b'["Pooling"]', "not as sentence-transformers writes it"),
        ("modules.json", b"[" * 10_000, "can't be used"),
        ("modules.json", b'[{"type": "a.Dense", "path": ""}]', "not known here, Dense"),
        ("modules.json", b'[{"type": "a.Pooling", "path": "../other"}]', "leads out"),
        ("modules.json", b'[{"type": "a.Pooling", "path": "/etc"}]', "leads out"),
        ("1_Pooling/config.json", b'{"pooling_mode_lasttoken": true}', "its pooling is"),
        ("1_Pooling/config.json", b'{"pooling_mode": "x\\u001b[2J"}', "its pooling is"),
        ("sentence_bert_config.json", b'{"max_seq_length": "long"}', "max_seq_length"),
        ("sentence_bert_config.json", b'{"max_seq_length": -3}', "max_seq_length"),
        ("onnx/model.onnx", b"", "it is empty"),
        ("onnx/model.onnx", b"PK\x03\x04 something else", "no ONNX file"),
        ("onnx/model.onnx", b"\x00" * 100, "no ONNX file"),
    ),
    ids=lambda value: str(value)[:30],
)
@pytest.mark.redteam
def test_a_file_that_is_broken_is_one_sentence(tmp_path, name, content, part):
    folder = write_encoder(tmp_path / "e")
    (folder / name).write_bytes(content)
    refused(folder, part)


@pytest.mark.redteam
@pytest.mark.parametrize("share", (0.2, 0.5, 0.9, 0.99))
def test_a_network_that_was_cut_is_one_sentence(tmp_path, share):
    folder = write_encoder(tmp_path / "e")
    data = (folder / "onnx/model.onnx").read_bytes()
    (folder / "onnx/model.onnx").write_bytes(data[: int(share * len(data))])
    refused(folder, "can't be used as an encoder")


@pytest.mark.redteam
@pytest.mark.parametrize(
    "model, part",
    (
        (lambda: network(table(), external="../../secret"), "in other files"),
        (lambda: network(table(), external="weights.bin"), "in other files"),
        (lambda: network(table(), domain="evil.ops"), "can't be used"),
        (lambda: network(table(), inputs=("pixels", "mask")), "it wants mask, pixels"),
        (lambda: network(np.full((len(WORDS), 4), np.nan, np.float32)), "no vector"),
        (lambda: network(table()[:1]), "can't be used"),
    ),
    ids=("outside", "external", "custom", "pixels", "nan", "few rows"),
)
def test_a_hostile_network_is_one_sentence(tmp_path, model, part):
    (tmp_path / "secret").write_bytes(b"x" * 10_000)
    refused(write_encoder(tmp_path / "e", model()), part)


def of_vectors(vectors, nodes=()):
    """A network that looks the vectors up as t, or as o, what else it makes of them."""
    make = onnx.helper
    kind = onnx.helper.np_dtype_to_tensor_dtype(vectors.dtype)
    looked_up = make.make_node("Gather", ["vectors", "input_ids"], ["t" if nodes else "o"])
    given = make.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["b", "l"])
    made = make.make_tensor_value_info("o", kind, ["b", "l", "size"])
    weights = [onnx.numpy_helper.from_array(vectors, "vectors")]
    graph = make.make_graph([looked_up, *nodes], "lookup", [given], [made], weights)
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("dtype", (np.int8, np.uint8, np.int64, bool, object), ids=str)
@pytest.mark.parametrize("pooling", ("mean", "cls", "max"))
def test_vectors_must_be_fractions(tmp_path, dtype, pooling):
    """Of whole numbers the mean would be zeros, as if the encoder knew no text."""
    made = (
        (table() * 100).astype(dtype)
        if dtype is not object
        else np.full((len(WORDS), 4), "x", dtype)
    )
    refused(write_encoder(tmp_path / "e", of_vectors(made), pooling), "not float")


@pytest.mark.redteam
def test_vectors_of_another_length_for_each_text_are_one_sentence(tmp_path):
    """They would be written into a cache whose rows are all of one length."""
    make = onnx.helper.make_node
    nodes = [
        make("Transpose", ["t"], ["back"], perm=[0, 2, 1]),
        make("MatMul", ["t", "back"], ["o"]),
    ]
    folder = write_encoder(tmp_path / "e", of_vectors(table(), nodes))
    assert vectors_of(folder, ["a text"]).shape == (1, 2)
    with pytest.raises(UserError, match="as long as the texts"):
        opened(folder).encoder.prepare([])(["slim denim jean"])


@pytest.mark.redteam
def test_a_pipe_in_a_files_place_is_not_waited_for(tmp_path):
    folder = write_encoder(tmp_path / "e")
    for name in ("1_Pooling/config.json", "model.safetensors"):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    refused(folder, "no plain file")


@pytest.mark.parametrize("name", ("onnxruntime", "tokenizers"))
def test_without_the_packages_it_says_what_to_install(tmp_path, name, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    refused(write_encoder(tmp_path / "e"), f"needs {name}: python -m pip install -r")


# ---- model2vec ----------------------------------------------------------------------------------


def test_the_mean_of_the_vectors_of_tokens(tmp_path):
    encoder = opened(write_tokens(tmp_path / "m")).encoder
    assert encoder.fingerprint["encoder"] == "model2vec"
    found = encoder.prepare([])(["Slim unknown jean", "unknown", ""])
    mean = table()[[WORDS.index("slim"), WORDS.index("jean")]].mean(axis=0)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), rtol=1e-5)
    assert not found[1:].any()


def test_weights_and_a_mapping_of_tokens(tmp_path):
    mapping = np.arange(len(WORDS))[::-1].copy()
    weights = np.linspace(1, 2, len(WORDS))
    folder = write_tokens(
        tmp_path / "m",
        normalize=False,
        embeddings=table().astype(np.float16),
        weights=weights,
        mapping=mapping,
    )
    found = opened(folder).encoder.prepare([])(["red"])
    red = WORDS.index("red")
    np.testing.assert_allclose(found[0], table()[mapping[red]] * weights[red], rtol=1e-2)


@pytest.mark.redteam
@pytest.mark.parametrize(
    "arrays",
    (
        {"embeddings": table(), "mapping": np.full(len(WORDS), 99)},
        {"embeddings": table(), "weights": np.ones(3)},
        {"embeddings": table()[:2]},
    ),
    ids=("mapping", "weights", "few rows"),
)
def test_arrays_that_do_not_fit_are_one_sentence(tmp_path, arrays):
    folder = write_tokens(tmp_path / "m", **arrays)
    with pytest.raises(UserError, match="can't be used as an encoder"):
        opened(folder).encoder.prepare([])([" ".join(WORDS[2:])])


@pytest.mark.redteam
def test_a_safetensors_file_that_lies_is_no_encoder(tmp_path):
    folder = write_tokens(tmp_path / "m")
    whole = safetensors(embeddings=table())
    for data in (
        whole[:-9],
        whole.replace(b'"shape": [12, 4]', b'"shape": [12, 9]'),
        whole.replace(b"F32", b"U99"),
        whole.replace(b'"shape": [12, 4]', b'"shape": [-12,4]'),
    ):
        (folder / "model.safetensors").write_bytes(data)
        refused(folder, "can't be used as an encoder")
    for data in (b"", b"\xff" * 100, (1 << 62).to_bytes(8, "little") + b"{}"):
        (folder / "model.safetensors").write_bytes(data)
        assert not token_vectors.is_folder(str(folder))


# ---- a real one ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHARED / "tokenizer.json").exists(),
    reason="SENTENCE_ENCODER names no folder of a sentence-transformers model with an ONNX file",
)
def test_a_real_encoder_knows_what_is_alike(tmp_path):
    texts = ["a warm coat for winter", "a thick winter coat", "red sandals with high heels"]
    vectors = vectors_of(SHARED, texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
