"""Vectors of parts of words that were distilled from a sentence encoder: model2vec's folders.

In: a folder with model.safetensors and tokenizer.json, as model2vec lays it out (Tulkens and van
Dongen 2024, github.com/MinishLab/model2vec). Out: an Encoder, whose vector of a text is the mean of
its tokens' vectors; it takes no network and hardly any time. The folder may be anybody's.

    python categorize_words.py --encoder potion-base-8M
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.files import file_sha256
from common.foreign_files import open_regular, parse_json
from common.terminal import UserError
from learning.text_encoder import (
    MOST_SIZE,
    MOST_TOKENS,
    Encoder,
    import_module,
    raise_stop,
    read_json,
    read_tokenizer,
    reason,
)

MOST_FILE = 5_000_000_000  # bytes
MOST_HEADER = 100_000  # bytes of what it says of its arrays; three of them have some 300
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}
PARTS = {"embeddings", "weights", "mapping"}
ADVICE = "name a folder of model2vec, or of a sentence-transformers model with an ONNX file"


def is_folder(path: str) -> bool:
    """Whether a folder's model.safetensors holds vectors of tokens and nothing else."""
    try:
        with open_regular(os.path.join(path, "model.safetensors"), MOST_FILE, follow=True) as file:
            header, _ = read_header(file.read(8 + MOST_HEADER))
        return "embeddings" in header and set(header) <= PARTS
    except (OSError, ValueError, RecursionError):
        return False


def open_tokens(path: str) -> Encoder:
    """The vectors of tokens in a folder. Raises UserError, with what to do, if it holds none."""
    place = os.path.join(path, "model.safetensors")
    tokenizer_path = os.path.join(path, "tokenizer.json")
    tokenizer = read_tokenizer(import_module("tokenizers"), tokenizer_path)
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.no_padding()
    try:
        vectors, weights, mapping = read_arrays(place)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{place} can't be used as an encoder ({reason(error)}): {ADVICE}"
        ) from None
    normalize = read_json(os.path.join(path, "config.json"), {}).get("normalize") is True
    unknown = unknown_token(tokenizer)

    def run(texts: Sequence[str]) -> NDArray[np.float32]:
        means = np.zeros((len(texts), vectors.shape[1]), np.float32)
        try:
            encoded = tokenizer.encode_batch(list(texts), add_special_tokens=False)
            for row, each in enumerate(encoded):
                tokens = np.array([token for token in each.ids if token != unknown], int)
                if len(tokens):
                    of_tokens = vectors[mapping[tokens]].astype(np.float32)
                    means[row] = (of_tokens * weights[tokens, None]).mean(axis=0)
        except BaseException as error:  # a token without a vector; a panic of Rust
            raise_stop(error)
            raise UserError(
                f"{path} can't be used as an encoder (tokenizer.json and model.safetensors do not "
                f"belong together: {reason(error)}): {ADVICE}"
            ) from None
        if normalize:
            means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return means

    fingerprint = {
        "encoder": "model2vec",
        "files": file_sha256(place, tokenizer_path),
        "normalize": normalize,
    }
    return Encoder(fingerprint, vectors.shape[1], lambda texts: run)


def unknown_token(tokenizer: Any) -> int:
    """The number of the token for what the tokenizer does not know, -1 if it has none."""
    name = getattr(tokenizer.model, "unk_token", None)
    number = tokenizer.token_to_id(name) if isinstance(name, str) else None
    return -1 if number is None else number


def read_header(data: bytes) -> tuple[dict[str, Any], int]:
    """(what a safetensors file says of its arrays, the byte at which they begin) by its first
    bytes. Raises ValueError if it is none."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length or not 2 <= length <= MOST_HEADER:
        raise ValueError("it is no safetensors file, or damaged")
    header = parse_json(data[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("it is no safetensors file, or damaged")
    header.pop("__metadata__", None)
    return header, 8 + length


def read_arrays(path: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(vectors [rows, size], the weight of each token, the row of each token) of a file, the vectors
    mapped into memory. Raises ValueError or OSError if it does not hold them."""
    with open_regular(path, MOST_FILE, follow=True) as file:
        header, start = read_header(file.read(8 + MOST_HEADER))
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {name: array_of(header[name], data, start) for name in PARTS & set(header)}
    vectors = arrays.get("embeddings", np.zeros(0))
    if vectors.ndim != 2 or not len(vectors) or not 0 < vectors.shape[1] <= MOST_SIZE:
        raise ValueError("it holds no matrix of embeddings")
    mapping = arrays.get("mapping", np.arange(len(vectors)))
    weights = arrays.get("weights", np.ones(len(mapping), np.float32)).astype(np.float32)
    if (
        mapping.ndim != 1
        or weights.shape != mapping.shape
        or mapping.dtype.kind != "i"
        or ((mapping < 0) | (mapping >= len(vectors))).any()
    ):
        raise ValueError("its embeddings, weights and mapping do not fit together")
    return vectors, weights, mapping


def array_of(said: Any, data: mmap.mmap, start: int) -> NDArray[Any]:
    """An array as the header says where it lies. Raises ValueError if it does not lie there."""
    try:
        shape, dtype = tuple(said["shape"]), np.dtype(TYPES[said["dtype"]])
        first, last = said["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, first, last))
    except (KeyError, TypeError, ValueError):
        raise ValueError("it holds other arrays than numbers") from None
    count = 1
    for number in shape:
        count *= number
    if not whole or last - first != count * dtype.itemsize or start + last > len(data):
        raise ValueError("it is cut, or says other sizes than it has")
    return np.frombuffer(data, dtype, count, start + first).reshape(shape)
