"""A network that has learned elsewhere what sentences mean: texts to vectors.

In: the folder of a sentence encoder as sentence-transformers lays it out (Reimers and Gurevych
2019, arXiv 1908.10084), with an ONNX file. Out: an Encoder, or a sentence. The folder may be
anybody's: nothing in it is run as code, and a network whose numbers lie elsewhere is refused.

    python categorize_words.py --encoder all-MiniLM-L6-v2
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.files import file_sha256
from common.foreign_files import open_regular, parse_json
from common.terminal import UserError
from common.text import one_line
from learning import onnx_files

MOST_TOKENS = 512  # of a text that are read; time and memory grow with the square of them
DEFAULT_TOKENS = 256  # if the folder does not say
BATCH_TOKENS = 8192  # of a batch, padding included
MOST_TOKENIZER = 100_000_000  # bytes of tokenizer.json
MOST_SIZE = 8192  # numbers of a vector
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUTS = ("last_hidden_state", "token_embeddings")  # of Optimum, of sentence-transformers
POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
}
ADVICE = "name the folder of a sentence-transformers model with an ONNX file"
INSTALL = "python -m pip install -r requirements-encoder.txt"
Vectors = Callable[[Sequence[str]], NDArray[np.float32]]  # texts [n] -> [n, size]


class Encoder(NamedTuple):
    """What makes vectors of texts."""

    fingerprint: dict[str, Any]  # of another one the vectors differ
    size: int  # numbers of a vector
    # A function that is given the texts to come, which it may read once before the first: it
    # returns one from texts to vectors, a row each; zeros if it knows nothing of a text.
    prepare: Callable[[Iterable[str]], Vectors]


class Layout(NamedTuple):
    """What a folder says of its encoder."""

    network: str  # the path of the ONNX file
    tokenizer: str  # and of tokenizer.json
    pooling: str  # how the vectors of tokens become one: mean, cls or max
    normalize: bool  # whether that is brought to length 1
    most_tokens: int
    lower: bool  # whether texts are put in small letters first


def open_encoder(path: str) -> Encoder:
    """The sentence encoder in a folder, or of an ONNX file in one. Raises UserError, with what to
    do, if it can't be used."""
    tokenizers, onnxruntime = import_module("tokenizers"), import_module("onnxruntime")
    layout = read_layout(path)
    tokenizer = read_tokenizer(tokenizers, layout.tokenizer)
    tokenizer.enable_truncation(layout.most_tokens)
    tokenizer.no_padding()
    session = read_network(onnxruntime, layout.network)
    run = runner(session, tokenizer, layout)
    probe = run(["a text"])
    if probe.ndim != 2 or not 0 < probe.shape[1] <= MOST_SIZE or not np.isfinite(probe).all():
        raise unusable(layout.network, "what it makes of a text is no vector")
    fingerprint = {
        "encoder": "sentence-transformers",
        "files": file_sha256(layout.network, layout.tokenizer),
        "pooling": layout.pooling,
        "normalize": layout.normalize,
        "most tokens": layout.most_tokens,
        "lower": layout.lower,
    }

    def checked(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = run(texts)
        if vectors.shape[1] != probe.shape[1]:
            raise unusable(layout.network, "its vectors are as long as the texts")
        return vectors

    return Encoder(fingerprint, probe.shape[1], lambda texts: checked)


def import_module(name: str) -> Any:
    """onnxruntime or tokenizers, which not every user needs. Raises UserError without it."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"--encoder needs {name}: {INSTALL}") from None


# ---- what the folder says -----------------------------------------------------------------------


def read_layout(path: str) -> Layout:
    """The Layout of a folder, or of the folder of an ONNX file. Raises UserError."""
    folder, network = path, ""
    if os.path.isfile(path):
        network, folder = path, os.path.dirname(path) or "."
        if not os.path.exists(os.path.join(folder, "tokenizer.json")):
            folder = os.path.dirname(os.path.abspath(folder))
    places = [os.path.join(folder, name) for name in ("model.onnx", "onnx/model.onnx")]
    found = [network] if network else [place for place in places if os.path.isfile(place)]
    if not found:
        raise UserError(f"there is no model.onnx or onnx/model.onnx in {folder}: {ADVICE}")
    tokenizer = os.path.join(folder, "tokenizer.json")
    if not os.path.isfile(tokenizer):
        raise UserError(f"there is no tokenizer.json in {folder}: {ADVICE}")
    sentence = read_json(os.path.join(folder, "sentence_bert_config.json"), {})
    most = sentence.get("max_seq_length", DEFAULT_TOKENS) or DEFAULT_TOKENS
    if type(most) is not int or most < 4:
        raise unusable(folder, "its max_seq_length is no number of tokens")
    pooling, normalize = read_modules(folder)
    lower = sentence.get("do_lower_case") is True
    return Layout(found[0], tokenizer, pooling, normalize, min(most, MOST_TOKENS), lower)


def read_modules(folder: str) -> tuple[str, bool]:
    """(pooling, whether vectors are normalised) as modules.json says; without it the mean."""
    modules = read_json(os.path.join(folder, "modules.json"), [])
    pooling, normalize = "mean", False
    for module in modules:
        if not isinstance(module, dict):
            raise unusable(folder, "its modules.json is not as sentence-transformers writes it")
        kind, place = str(module.get("type")).rpartition(".")[2], module.get("path", "")
        if kind == "Pooling":
            if not isinstance(place, str) or os.path.isabs(place) or ".." in place.split("/"):
                raise unusable(folder, "its modules.json leads out of it")
            pooling = read_pooling(folder, os.path.join(folder, place, "config.json"))
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise unusable(folder, f"it has a part that is not known here, {one_line(kind)[:40]}")
    return pooling, normalize


def read_pooling(folder: str, path: str) -> str:
    """mean, cls or max, as the configuration of the pooling says."""
    config = read_json(path, {})
    modes = [
        POOLINGS.get(name, name)
        for name, value in config.items()
        if name.startswith("pooling_mode_") and value is True
    ]
    named = config.get("pooling_mode")  # as later versions write it
    modes += [named] if isinstance(named, str) else []
    if not modes:
        modes = ["mean"]
    if len(modes) > 1 or modes[0] not in POOLINGS.values():
        raise unusable(
            folder, f"its pooling is {one_line(' and '.join(modes))[:60]}, not mean, cls or max"
        )
    return modes[0]


def read_json(path: str, default: Any) -> Any:
    """What a JSON file of the folder says, of the same type as the default, which stands for a file
    that is not there. Raises UserError if it is none."""
    try:
        with open_regular(path, 1_000_000, follow=True) as file:
            value = parse_json(file.read())
    except FileNotFoundError:
        return default
    except (OSError, ValueError, RecursionError) as error:
        raise unusable(path, reason(error)) from None
    if not isinstance(value, type(default)):
        raise unusable(path, "it is not as sentence-transformers writes it")
    return value


def read_tokenizer(tokenizers: Any, path: str) -> Any:
    """The tokenizer of a tokenizer.json. Raises UserError if it is none."""
    try:
        with open_regular(path, MOST_TOKENIZER, follow=True) as file:
            return tokenizers.Tokenizer.from_str(file.read().decode("utf-8"))
    except BaseException as error:  # a panic of its Rust is no Exception
        raise_stop(error)
        raise unusable(path, f"it is no tokenizer ({reason(error)})") from None


def read_network(onnxruntime: Any, path: str) -> Any:
    """A session of onnxruntime. Raises UserError if the file is no network for texts."""
    try:
        onnx_files.check_file(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # it would write to stderr by itself
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own kinds, too
        raise unusable(path, reason(error)) from None
    names = {wanted.name for wanted in session.get_inputs()}
    if "input_ids" not in names or not names <= set(INPUTS):
        raise unusable(path, f"it wants {one_line(', '.join(sorted(names)))[:80]}, and no text")
    return session


def unusable(path: str, why: str) -> UserError:
    """The error for a file or folder that can't be used."""
    return UserError(f"{path} can't be used as an encoder ({why}): {ADVICE}")


def reason(error: BaseException) -> str:
    """What an exception says, on one line of at most 120 characters."""
    said = one_line(getattr(error, "strerror", None) or str(error))
    said = said.partition(" failed:")[2] or said  # onnxruntime names the path again before
    return said[:120] or type(error).__name__


def raise_stop(error: BaseException) -> None:
    """Raise what is no error but the end of the program."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
        raise error


# ---- texts to vectors ---------------------------------------------------------------------------


def runner(session: Any, tokenizer: Any, layout: Layout) -> Vectors:
    """A function from texts to vectors float32 [n, size]. Its texts should be of about one length:
    each batch is padded to its longest. It raises UserError if the network can't take them."""
    wanted = {
        each.name: np.int32 if "int32" in each.type else np.int64 for each in session.get_inputs()
    }
    names = [output.name for output in session.get_outputs()]
    output = next((name for name in OUTPUTS if name in names), names[0])
    padding = next(
        (number for number in map(tokenizer.token_to_id, ("[PAD]", "<pad>")) if number is not None),
        0,
    )

    def run(texts: Sequence[str]) -> NDArray[np.float32]:
        lowered = [text.lower() for text in texts] if layout.lower else list(texts)
        try:
            encoded = tokenizer.encode_batch(lowered)
            parts = []
            for batch in batches(encoded):
                values, there = tensors(batch, padding)
                given = {name: values[name].astype(dtype) for name, dtype in wanted.items()}
                (tokens,) = session.run([output], given)
                parts.append(pooled(tokens, there, layout))
            return np.concatenate(parts)
        except BaseException as error:
            raise_stop(error)
            raise unusable(layout.network, reason(error)) from None

    return run


def batches(encoded: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Parts of tokenized texts, in order, of at most BATCH_TOKENS tokens, padding included."""
    start, longest = 0, 1
    for place, each in enumerate(encoded):
        longest = max(longest, len(each.ids))
        if (place + 1 - start) * longest > BATCH_TOKENS and place > start:
            yield encoded[start:place]
            start, longest = place, max(1, len(each.ids))
    if start < len(encoded):
        yield encoded[start:]


def tensors(
    batch: Sequence[Any], padding: int
) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.bool_]]:
    """(what a network may take of tokenized texts, whether there is a token, [n, longest] each)."""
    shape = len(batch), max([1, *(len(each.ids) for each in batch)])
    values = {
        "input_ids": np.full(shape, padding, np.int64),
        "attention_mask": np.zeros(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    for row, each in enumerate(batch):
        count = len(each.ids)
        values["input_ids"][row, :count] = each.ids
        values["attention_mask"][row, : max(1, count)] = 1
        values["token_type_ids"][row, :count] = each.type_ids
    return values, values["attention_mask"] > 0


def pooled(tokens: Any, there: NDArray[np.bool_], layout: Layout) -> NDArray[np.float32]:
    """Vectors [n, size] of the vectors of tokens [n, longest, size], as far as they are there.
    Raises ValueError if the network has made other things."""
    if not isinstance(tokens, np.ndarray) or tokens.ndim != 3 or tokens.shape[:2] != there.shape:
        raise ValueError("what it makes of a text is not a vector for each token")
    if tokens.dtype.kind != "f":  # shares of whole numbers would be zeros
        raise ValueError(f"its vectors are {one_line(str(tokens.dtype))}, not float")
    if layout.pooling == "cls":
        vectors = tokens[:, 0]
    elif layout.pooling == "max":
        vectors = np.where(there[:, :, None], tokens, -np.inf).max(axis=1)
    else:
        shares = (there / there.sum(axis=1, keepdims=True)).astype(tokens.dtype)
        vectors = np.einsum("ntd,nt->nd", tokens, shares)
    vectors = vectors.astype(np.float32, copy=False)
    if layout.normalize:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors
