"""Small encoders of texts for the tests: written as sentence-transformers and model2vec lay out
theirs, run by the real onnxruntime and the real tokenizers.

The network looks up a vector for each token and adds a part of the sum of all that are there, so
that what stands in the padding would be noticed.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import REPO

onnx = pytest.importorskip("onnx", reason="pip install -r requirements-test.txt")
pytest.importorskip("onnxruntime", reason="pip install -r requirements-encoder.txt")
tokenizers = pytest.importorskip("tokenizers", reason="pip install -r requirements-encoder.txt")

WORDS = "[PAD] [UNK] denim jean flared slim satin clutch evening bag red blue".split()
SHARED = Path(os.environ.get("SENTENCE_ENCODER", REPO.parent / "shared" / "weights" / "minilm"))


def table(size=4, seed=0):
    """The vectors of WORDS, float32 [words, size]."""
    return np.random.default_rng(seed).normal(size=(len(WORDS), size)).astype(np.float32)


def network(vectors, domain="", inputs=("input_ids", "attention_mask"), external=None):
    """An onnx model of the vectors."""
    make = onnx.helper
    weights = onnx.numpy_helper.from_array(vectors, "vectors")
    if external:
        weights.ClearField("raw_data")
        weights.data_location = onnx.TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=external)
    axes = onnx.numpy_helper.from_array(np.array([2], np.int64), "axes")
    middle = onnx.numpy_helper.from_array(np.array([1], np.int64), "middle")
    nodes = [
        make.make_node("Gather", ["vectors", inputs[0]], ["tokens"], domain=domain),
        make.make_node("Cast", [inputs[1]], ["seen"], to=onnx.TensorProto.FLOAT),
        make.make_node("Unsqueeze", ["seen", "axes"], ["there"]),
        make.make_node("Mul", ["tokens", "there"], ["masked"]),
        make.make_node("ReduceSum", ["masked", "middle"], ["sum"]),
        make.make_node("Add", ["masked", "sum"], ["last_hidden_state"]),
    ]
    value = make.make_tensor_value_info
    graph = make.make_graph(
        nodes,
        "small",
        [value(name, onnx.TensorProto.INT64, ["batch", "length"]) for name in inputs],
        [value("last_hidden_state", onnx.TensorProto.FLOAT, ["batch", "length", vectors.shape[1]])],
        [weights, axes, middle],
    )
    versions = [make.make_opsetid("", 17)] + ([make.make_opsetid(domain, 1)] if domain else [])
    return make.make_model(graph, opset_imports=versions, ir_version=9)


def write_tokenizer(path, words=WORDS):
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    )
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(path))


def write_encoder(folder, model=None, pooling="mean", normalize=True, most=8, place="onnx"):
    """A folder of a sentence encoder. Returns its path."""
    (folder / place).mkdir(parents=True)
    (folder / "1_Pooling").mkdir()
    onnx.save(network(table()) if model is None else model, str(folder / place / "model.onnx"))
    write_tokenizer(folder / "tokenizer.json")
    kinds = ["Transformer", "Pooling"] + ["Normalize"] * normalize
    modules = [
        {
            "idx": i,
            "path": "1_Pooling" if kind == "Pooling" else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    config = {
        "word_embedding_dimension": 4,
        **{f"pooling_mode_{name}": mode == pooling for mode, name in modes.items()},
    }
    for name, value in (
        ("modules.json", modules),
        ("1_Pooling/config.json", config),
        ("sentence_bert_config.json", {"max_seq_length": most, "do_lower_case": False}),
    ):
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder


def safetensors(**arrays):
    """The bytes of a safetensors file."""
    names = {"float32": "F32", "float16": "F16", "int64": "I64", "float64": "F64"}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        header[name] = {
            "dtype": names[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        data += array.tobytes()
    said = json.dumps(header).encode()
    said += b" " * (-len(said) % 8)
    return len(said).to_bytes(8, "little") + said + data


def write_tokens(folder, normalize=True, **arrays):
    """A folder of model2vec. Returns its path."""
    folder.mkdir()
    write_tokenizer(folder / "tokenizer.json")
    (folder / "model.safetensors").write_bytes(safetensors(**(arrays or {"embeddings": table()})))
    (folder / "config.json").write_text(
        json.dumps({"model_type": "model2vec", "normalize": normalize})
    )
    return folder
