"""What the tests of pictures and of the network share: drawn pictures, Keras' answers.

pytest tests/test_bottlenecks.py
pytest tests/test_inception.py
"""

import random

import numpy as np
from conftest import REPO
from PIL import Image, ImageDraw

from common.files import file_sha256
from learning import bottlenecks, inception

WEIGHTS = REPO.parent / "shared" / "weights" / "inception_v3_imagenet_mixed8.weights.h5"
CATALOGUE = REPO.parent / "shared" / "data" / "hm"


def draw(path, seed):
    """A picture that no other seed draws."""
    rng = random.Random(seed)
    picture = Image.new("RGB", (80, 90), tuple(rng.randrange(256) for _ in range(3)))
    for _ in range(6):
        x, y = rng.randrange(60), rng.randrange(70)
        ImageDraw.Draw(picture).ellipse(
            (x, y, x + rng.randrange(5, 40), y + rng.randrange(5, 40)),
            fill=tuple(rng.randrange(256) for _ in range(3)),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def keyed(paths):
    """{SHA-256: path} of files."""
    return {file_sha256(str(path)): path for path in paths}


def drawn(folder, count, start=0):
    """{SHA-256: path} of so many pictures, no two of which are the same."""
    return keyed(draw(folder / f"{i}.png", i) for i in range(start, start + count))


def pixels_of(paths):
    return np.stack([bottlenecks.read_picture(path) for path in paths])


def direct(network, paths):
    """The bottlenecks of files, by Keras alone."""
    return network.predict(inception.network_input(pixels_of(paths)), verbose=0)


def stir(model, seed=1):
    """Give the batch normalisations, which are the identity when new, statistics like trained
    ones."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            size = len(layer.get_weights()[0])
            layer.beta.assign(rng.normal(0, 0.3, size))
            layer.moving_mean.assign(rng.normal(0, 0.3, size))
            layer.moving_variance.assign(rng.uniform(0.05, 2, size))
    return model
