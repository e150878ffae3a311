"""The network that retrain.py has saved, read again.

In: a .keras file, which may be anybody's. Out: the network and its labels, or a sentence. The file
says of itself how a network is built, and Keras would build whatever it says, code of a stranger
among it. So nothing of that is read: the network is built here, and only its weights are the file's.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from typing import Any

import numpy as np

from common.foreign_files import MOST_JSON, open_archive, open_regular, parse_json
from common.terminal import UserError
from learning import inception, weights_files
from learning.tensorflow_loader import load_tensorflow

LABELS = "labels.json"  # in the .keras file, which is a zip, beside what Keras keeps there
WEIGHTS = "model.weights.h5"  # there, too


def load_network(path: str) -> tuple[Any, list[str]]:
    """(keras.Model, labels) as retrain.save_network wrote them. Raises UserError if they are not
    there."""
    if not os.path.isfile(path):
        raise UserError(
            f"there is no {path}: train a network first with --image_dir, or name "
            "another with --output_graph"
        )
    try:
        labels, weights = read_parts(path)
        with tempfile.TemporaryDirectory() as folder:
            beside = os.path.join(folder, WEIGHTS)
            with open(beside, "wb") as file:
                file.write(weights)
            return rebuilt(beside, len(labels)), labels
    except Exception:  # Keras and zipfile raise anything
        raise UserError(
            f"{path} is no network that retrain.py has saved, or it is damaged: train "
            "again with --image_dir"
        ) from None


def read_parts(path: str) -> tuple[list[str], bytes]:
    """(labels, the bytes of an HDF5 file of weights) of a .keras file. Raises anything if they are
    not there."""
    with (
        open_regular(path, weights_files.MOST_FILE, follow=True) as file,
        open_archive(file) as archive,
    ):
        # By the checksums of all parts, though two alone are used: a damaged file has a bad disk.
        if archive.testzip() or archive.getinfo(LABELS).file_size > MOST_JSON:
            raise ValueError("it is damaged, or has too many labels")
        labels = parse_json(archive.read(LABELS))
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ValueError("labels must be texts")
        return labels, archive.read(WEIGHTS)


def rebuilt(path: str, labels: int) -> Any:
    """Inception v3 up to the layer that a file of weights reaches, with a softmax of so many labels
    behind it, and these weights. Raises anything if they do not fit."""
    weights_files.check_file(path)
    count = weights_files.convolutions(path)
    layer = next(name for name, own in inception.CONVOLUTIONS.items() if own == count)
    keras = load_tensorflow().keras
    _, cut = inception.untrained(layer)
    network = keras.Model(cut.input, keras.layers.Dense(labels, activation="softmax")(cut.output))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Keras only warns of missing layers
        network.load_weights(path)
    if not all(np.isfinite(weight).all() for weight in network.get_weights()):
        raise ValueError("some weights are no numbers")
    return network
