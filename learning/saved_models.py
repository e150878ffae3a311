"""What an experiment learned, on disk: models/experiment-N/ beside crawl.db.

In: a folder, which may be anybody's. Out: arrays and a description that fit together, or a
sentence; nothing in the folder is run, and no other file is read, for a link in the place of a file
is not followed. The folder itself may be a link: whoever put it there could have put files there,
and a person may keep models/ on another disk. weights.npz holds the arrays, model.json all else,
thresholds.json what is promised of it. They are listed and used by

    python analyze.py --models
    python categorize_words.py --apply 1
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from common.files import replacing
from common.foreign_files import MOST_JSON, open_archive, open_regular, parse_json
from common.terminal import UserError, log
from common.text import one_line
from learning import correctness

# Bytes. The largest that training writes, of 60,000 terms and pictures of 2,048 numbers, has 190 MB
# in 5,000 categories and 1,160 MB in 100,000, by five networks.
MOST_WEIGHTS = 1_200_000_000
LARGEST_WEIGHT = 1e6  # trained ones stay below 100; of larger ones the sums may be no numbers
MOST_PROMISES = 1_000_000  # bytes of thresholds.json; a promise has about 300
FILES = ("weights.npz", "model.json", "thresholds.json")


@contextlib.contextmanager
def opened(folder: str) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A model's two files, weights.npz and model.json. Raises OSError if one is no plain file."""
    with (
        open_regular(os.path.join(folder, "weights.npz"), MOST_WEIGHTS) as weights,
        open_regular(os.path.join(folder, "model.json"), MOST_JSON) as described,
    ):
        yield weights, described


def digest(folder: str) -> str:
    """What a model is known by: the SHA-256 of its two files. Raises OSError as `opened` does."""
    with opened(folder) as files:
        return digest_of(files)


def digest_of(files: Iterable[BinaryIO]) -> str:
    """The SHA-256 of open files, one behind the other, which are read from their start again."""
    digest = hashlib.sha256()
    for file in files:
        while piece := file.read(1 << 20):
            digest.update(piece)
        file.seek(0)
    return digest.hexdigest()


def save_model(folder: str, weights: dict[str, np.ndarray], described: dict) -> str:
    """Write weights.npz and model.json, from which layers.logits and a softmax give scores again;
    for the two networks of categorize_both.py see fusion.fusion. Returns the digest."""
    np.savez(os.path.join(folder, "weights.npz"), **weights)  # type: ignore[arg-type]
    with open(os.path.join(folder, "model.json"), "w", encoding="utf-8", errors="replace") as file:
        json.dump({"format": 1, **described}, file, ensure_ascii=False)
    return digest(folder)


def copy_model(folder: str, to: str) -> None:
    """Copy a model's files, and nothing else of its folder, into a new one."""
    os.mkdir(to)
    for name in FILES:
        try:
            file = open_regular(os.path.join(folder, name), MOST_WEIGHTS)
        except OSError:  # nothing is promised yet, or a link is in the file's place
            continue
        with file, open(os.path.join(to, name), "xb") as copy:
            shutil.copyfileobj(file, copy)


def load_model(folder: str, known: str | None = None) -> tuple[dict[str, np.ndarray], dict]:
    """(weights, description) as save_model wrote them, checked: whoever made the folder, loading
    runs no code of it, reads no other file, and what is returned fits together. `known` is the
    digest that its experiment wrote down, if it did: without it a changed letter of model.json is
    not noticed. Raises UserError, with what is wrong."""
    try:
        with opened(folder) as (file, text):
            if known not in (None, digest_of((file, text))):
                raise UserError(
                    f"the model in {folder} is not the one that its experiment wrote, it is damaged "
                    "or another experiment's model, and nothing is promised of another: put its own "
                    "back, or train again"
                )
            described = parse_json(text.read(MOST_JSON + 1))
            weights = read_arrays(file)
        check_description(described)
        check_weights(weights, described)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"there is no model in {folder}: train again") from None
    except Exception as error:  # what numpy, zipfile and json raise of damaged files is anything
        raise UserError(
            f"the model in {folder} is damaged or no model of this program "
            f"({one_reason(error)}): train again"
        ) from None
    return weights, described


def read_arrays(file: BinaryIO) -> dict[str, np.ndarray]:
    """The arrays of an open weights.npz. Raises anything for what is none."""
    arrays = {}
    with open_archive(file) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
                # A member's checksum is looked at only at its end, and a damaged header may promise
                # less than there is.
                if member.read(1):
                    raise ValueError(f"{name} is longer than it says")
            arrays[name.removesuffix(".npy")] = array
    return arrays


def keep_promise(folder: str, promise: dict) -> None:
    """Put what guarantees.promise found beside the model, whole or not at all; a folder that can't
    be written is no reason to stop."""
    promises = {**kept_promises(folder), f"{100 * promise['target']:g}": promise}
    kept = {target: {**promise, "crc32": checksum(promise)} for target, promise in promises.items()}
    path = os.path.join(folder, "thresholds.json")
    try:
        with replacing(path) as beside, open(beside, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)
    except OSError as error:
        log(f"warning: {path} can't be written ({error.strerror})")


def kept_promises(folder: str) -> dict[str, dict]:
    """{target in percent, as text: what guarantees.promise found} kept beside a model; {} if there
    is none. What can't be read, or was changed, is left out with a warning."""
    path = os.path.join(folder, "thresholds.json")
    kept, whole = {}, True
    try:
        with open_regular(path, MOST_PROMISES) as file:
            stored = parse_json(file.read(MOST_PROMISES + 1))
        for target, promise in stored.items():
            # Files of before have no checksum.
            if (
                is_promise(promise)
                and promise.pop("crc32", None) in (None, checksum(promise))
                and target == f"{100 * promise['target']:g}"
            ):
                kept[target] = promise
            else:
                whole = False
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, AttributeError, RecursionError):
        whole = False
    if not whole:
        log(f"warning: {path} is damaged, and what can't be read is left out: run --apply again")
    return kept


def checksum(promise: dict) -> int:
    """The CRC-32 by which a changed digit of a promise is noticed."""
    return zlib.crc32(json.dumps(promise, sort_keys=True).encode())


def is_promise(value: Any) -> bool:
    """Whether it may be what guarantees.promise found. Raises KeyError for a dict of other keys."""
    return (
        isinstance(value, dict)
        and positive(value["target"])
        and positive(value["confidence"])
        and all(
            value[level] is None or value[level] == 0 or positive(value[level])
            for level in ("leaf", "parent")
        )
        and isinstance(value["rests_on"], str)
        and positive(value["products"])
    )


def listing(models_path: str, rows: Iterable, digests: dict[int, str | None]) -> list[dict]:
    """What analyze.py --models says of the experiments, rows of the table, that have a folder here:
    a dict each, with experiment, name, date, kind, categories, folds, bytes and promises, or with a
    `problem` in the model's place. digests are what they wrote down, by their numbers, or None."""
    models = []
    for row in rows:
        folder = os.path.join(models_path, f"experiment-{row['id']}")
        model = {"experiment": row["id"], "name": row["name"] or "", "date": row["date"]}
        if not os.path.isdir(folder):
            continue
        try:
            _, described = load_model(folder, digests[row["id"]])
        except UserError as error:
            model["problem"] = str(error)
        else:
            model.update(
                kind=described["kind"],
                categories=len(described["categories"]),
                folds=described["settings"].get("folds"),
                promises=kept_promises(folder),
                bytes=sum(
                    os.path.getsize(os.path.join(folder, name))
                    for name in ("weights.npz", "model.json")
                ),
            )
        models.append(model)
    return models


def one_reason(error: BaseException) -> str:
    """What an exception says, on one line of at most 80 characters."""
    said = getattr(error, "strerror", None) or str(error)  # the whole names the path again
    return one_line(said)[:80] or type(error).__name__


def check_description(described: Any) -> None:
    """Raise ValueError or KeyError if model.json is not what recording.record writes."""

    def texts(value):
        return isinstance(value, list) and all(isinstance(text, str) for text in value)

    if not isinstance(described, dict) or described.get("format") != 1:
        raise ValueError("model.json is not of format 1")
    if described["kind"] not in ("Text", "Image", "Image+Text"):
        raise ValueError("unknown kind of model")
    leaves, temperature = described["categories"], described["temperature"]
    if not texts(leaves) or not leaves or len(set(leaves)) < len(leaves):
        raise ValueError("categories must be different texts")
    if not texts(described["parents"]) or len(described["parents"]) != len(leaves):
        raise ValueError("there must be a parent for each category")
    if not positive(temperature) or not isinstance(described["settings"], dict):
        raise ValueError("temperature must be a number above 0")
    correctness.of_description(described)
    if "Text" in described["kind"]:
        vocabulary = described["vocabulary"]
        if not texts(vocabulary) or len(set(vocabulary)) < len(vocabulary):
            raise ValueError("vocabulary must be different texts")
        if not set(described.get("fields", ())) <= {"name", "description"}:
            raise ValueError("unknown fields")
        if not isinstance(described.get("encoder", {}), dict):
            raise ValueError("encoder must say which one was used")
    if "Image" in described["kind"] and not isinstance(described["bottleneck"], dict):
        raise ValueError("bottleneck must say which network was used")


def positive(value: Any) -> bool:
    """Whether it is a number above 0 that a float can hold."""
    return type(value) in (int, float) and 0 < value < 1e300


def check_weights(weights: dict[str, np.ndarray], described: dict) -> None:
    """Raise ValueError or KeyError if the arrays do not fit the description and each other."""
    leaves, kind = len(described["categories"]), described["kind"]
    terms = len(described.get("vocabulary", ()))
    if kind == "Text":
        check_text(weights, described)
    elif "fusion" not in weights:
        check_network(weights, terms if "Text" in kind else None, True, leaves)
    else:
        text, picture = check_fused(weights, described["fusion"], ("text", "picture"), leaves)
        check_text(text, described)
        check_network(picture, None, True, leaves)


def check_text(weights: dict[str, np.ndarray], described: dict) -> None:
    """check_weights of the classifier by text, with an encoder or without one."""
    leaves, terms = len(described["categories"]), len(described["vocabulary"])
    if "encoder" in described:
        names = ("words", "encoder")
        weights, encoder = check_fused(weights, described["encoder fusion"], names, leaves)
        check_network(encoder, None, True, leaves)
    check_network(weights, terms, False, leaves)


def check_fused(
    weights: dict[str, np.ndarray], fused: dict, names: Iterable[str], leaves: int
) -> list[dict[str, np.ndarray]]:
    """The weights of each of two networks, whose names are before them. Raises ValueError if what
    fuses them does not fit."""
    check_array("fusion", weights["fusion"], 3)
    check_array("unseen", weights["unseen"], leaves)
    temperatures = fused["used temperatures"]
    if (
        not isinstance(temperatures, list)
        or len(temperatures) != 2
        or not all(map(positive, temperatures))
    ):
        raise ValueError(f"there must be a temperature above 0 for {' and '.join(names)}")
    return [
        {
            name.removeprefix(f"{prefix}_"): array
            for name, array in weights.items()
            if name.startswith(f"{prefix}_")
        }
        for prefix in names
    ]


def check_network(
    weights: dict[str, np.ndarray], terms: int | None, pictures: bool, leaves: int
) -> None:
    """check_weights of one network, which reads so many terms (None: no text) and pictures."""
    width = 0
    if terms is not None:
        width = len(weights["hidden_bias"])
        check_array("hidden_kernel", weights["hidden_kernel"], terms, width)
        check_array("hidden_bias", weights["hidden_bias"], width)
        if "idf" in weights:
            check_array("idf", weights["idf"], terms)
    if pictures:
        mean = weights["bottleneck_mean"]
        check_array("bottleneck_mean", mean, mean.size)
        width += mean.size
    check_array("kernel", weights["kernel"], width, leaves)
    check_array("bias", weights["bias"], leaves)


def check_array(name: str, array: np.ndarray, *shape: int) -> None:
    """Raise ValueError if an array has another shape, or holds what is no number."""
    if array.shape != shape:
        raise ValueError(f"{name} is {array.shape} and should be {shape}")
    if array.dtype.kind not in "fb" or not (np.abs(array) <= LARGEST_WEIGHT).all():
        raise ValueError(f"{name} must be numbers of at most {LARGEST_WEIGHT:g}")
