"""What an experiment learned, on disk: models/experiment-N/ beside crawl.db.

In: a folder, which may be anybody's. Out: arrays and a description that fit together, or a
sentence; nothing in the folder is run, and no other file is read. weights.npz holds the arrays,
model.json all else, thresholds.json what is promised of it. They are listed and used by

    python analyze.py --models
    python categorize_words.py --apply 1
"""
import json
import os
import tempfile
import zipfile
import zlib

import numpy as np

from common.files import file_sha256
from common.terminal import UserError, log
from common.text import one_line

MOST_JSON, MOST_WEIGHTS = 100_000_000, 2_000_000_000   # bytes


def digest(folder):
    """What a model is known by: the SHA-256 of its two files."""
    return file_sha256(os.path.join(folder, "weights.npz"), os.path.join(folder, "model.json"))


def save_model(folder, weights, described):
    """Write weights.npz and model.json, from which training.logits and a softmax give scores again;
    for the two networks of categorize_both.py see there."""
    np.savez(os.path.join(folder, "weights.npz"), **weights)
    with open(os.path.join(folder, "model.json"), "w", encoding="utf-8",
              errors="replace") as file:
        json.dump({"format": 1, **described}, file, ensure_ascii=False)
    return digest(folder)


def load_model(folder):
    """(weights, description) as save_model wrote them, checked: whoever made the folder, loading
    runs no code of it, reads no other file, and what is returned fits together. Raises UserError,
    with what is wrong, where it does not."""
    try:
        with open_regular(os.path.join(folder, "model.json"), MOST_JSON) as file:
            described = json.loads(file.read().decode("utf-8"))
        with open_regular(os.path.join(folder, "weights.npz"), MOST_WEIGHTS) as file:
            with zipfile.ZipFile(file) as archive:   # before a byte of it is unpacked
                if sum(member.file_size for member in archive.infolist()) > MOST_WEIGHTS:
                    raise ValueError("its weights are too large")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                weights = {name: arrays[name] for name in arrays.files}
        check_description(described)
        check_weights(weights, described)
    except FileNotFoundError:
        raise UserError(f"there is no model in {folder}: train again") from None
    # What numpy, zipfile and json raise of damaged files are many things.
    except (OSError, ValueError, KeyError, TypeError, RecursionError, EOFError, MemoryError,
            SyntaxError, AttributeError, NotImplementedError, zlib.error,
            zipfile.BadZipFile) as error:
        raise UserError(f"the model in {folder} is damaged or no model of this program "
                        f"({one_reason(error)}): train again") from None
    return weights, described


def keep_promise(folder, promise):
    """Put what guarantees.promise found beside the model, whole or not at all; a folder that can't
    be written is no reason to stop."""
    kept = {**promises(folder), f"{100 * promise['target']:g}": promise}
    path = os.path.join(folder, "thresholds.json")
    try:
        # A new file of a name that nobody can know, and have made a link elsewhere of.
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as file:
            json.dump(kept, file, indent=1)
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        log(f"warning: {path} can't be written ({error.strerror})")


def promises(folder):
    """{target in percent, as text: what guarantees.promise found} kept beside a model; {} where
    there is none, or nothing that can be read."""
    try:
        with open_regular(os.path.join(folder, "thresholds.json"), MOST_JSON) as file:
            found = json.loads(file.read().decode("utf-8"))
        return {target: own for target, own in found.items() if isinstance(own, dict)
                and positive(own["target"]) and target == f"{100 * own['target']:g}"
                and positive(own["confidence"])
                and all(own[name] is None or own[name] == 0 or positive(own[name])
                        for name in ("leaf", "parent"))
                and isinstance(own["rests_on"], str) and positive(own["products"])}
    except (OSError, ValueError, KeyError, AttributeError, RecursionError):
        return {}


def listing(models_path, rows, digests):
    """What analyze.py --models tells of experiments, rows of the table, that have a folder here:
    a dict each, of experiment, name, date, kind, categories, folds, bytes and promises, or of a
    `problem` in the model's place. digests are what they wrote down, by their numbers, or None."""
    found = []
    for row in rows:
        folder = os.path.join(models_path, f"experiment-{row['id']}")
        own = {"experiment": row["id"], "name": row["name"] or "", "date": row["date"]}
        if not os.path.isdir(folder):
            continue
        try:
            _, described = load_model(folder)
            if digests[row["id"]] not in (None, digest(folder)):
                raise UserError(f"{folder} was changed, or this is another experiment's model")
        except UserError as error:
            own["problem"] = str(error)
        else:
            own.update(kind=described["kind"], categories=len(described["categories"]),
                       folds=described["settings"].get("folds"), promises=promises(folder),
                       bytes=sum(os.path.getsize(os.path.join(folder, name))
                                 for name in ("weights.npz", "model.json")))
        found.append(own)
    return found


def open_regular(path, most):
    """A file opened for reading bytes; raises ValueError where it is a device or too large."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{os.path.basename(path)} is no file")
    if os.path.getsize(path) > most:
        raise ValueError(f"{os.path.basename(path)} is too large")
    return open(path, "rb")


def one_reason(error):
    return one_line(str(error))[:80] or type(error).__name__


def check_description(described):
    """Raise ValueError or KeyError where model.json is not what experiments.record writes."""
    def texts(some):
        return isinstance(some, list) and all(isinstance(one, str) for one in some)

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
    if "Text" in described["kind"]:
        vocabulary = described["vocabulary"]
        if not texts(vocabulary) or len(set(vocabulary)) < len(vocabulary):
            raise ValueError("vocabulary must be different texts")
        if not set(described.get("fields", ())) <= {"name", "description"}:
            raise ValueError("unknown fields")


def positive(value):
    """Whether it is a number above 0 that a float can hold."""
    return type(value) in (int, float) and 0 < value < 1e300


def check_weights(weights, described):
    """Raise ValueError or KeyError where the arrays do not fit the description and each other."""
    def check(name, array, *shape):
        if array.shape != shape:
            raise ValueError(f"{name} is {array.shape} and should be {shape}")
        if array.dtype.kind not in "fb" or not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite numbers")

    def network(prefix, text, picture):
        own = {name.removeprefix(prefix): array for name, array in weights.items()
               if name.startswith(prefix)}
        width = 0
        if text:
            terms, width = len(described["vocabulary"]), len(own["hidden_bias"])
            check("hidden_kernel", own["hidden_kernel"], terms, width)
            check("hidden_bias", own["hidden_bias"], width)
            if "idf" in own:
                check("idf", own["idf"], terms)
        if picture:
            mean = own["bottleneck_mean"]
            check("bottleneck_mean", mean, mean.size)
            width += mean.size
        check("kernel", own["kernel"], width, leaves)
        check("bias", own["bias"], leaves)

    leaves = len(described["categories"])
    if "fusion" in weights:
        network("text_", True, False)
        network("picture_", False, True)
        check("fusion", weights["fusion"], 3)
        check("unseen", weights["unseen"], leaves)
        own = described["fusion"]["used temperatures"]
        if not isinstance(own, list) or len(own) != 2 or not all(map(positive, own)):
            raise ValueError("there must be a temperature above 0 for text and picture")
    else:
        network("", "Text" in described["kind"], "Image" in described["kind"])
