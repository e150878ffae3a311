"""int8 runs on TensorFlow's own interpreter; its successor gives the same bottlenecks.

This is the plan in docs/method.md, tried: it runs if the package ai-edge-litert is installed.
"""

import numpy as np
import pytest

from learning import inception

litert = pytest.importorskip(
    "ai_edge_litert.interpreter", reason="needs python -m pip install ai-edge-litert"
)


def test_the_successor_gives_the_same_bottlenecks(monkeypatch):
    import tensorflow  # late, as everywhere

    network, _ = inception.build_network("random", "mixed2")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 299, 299, 3), dtype=np.uint8)
    ours = inception.make_forward(network, "int8")[0](pixels)
    monkeypatch.setattr(tensorflow.lite, "Interpreter", litert.Interpreter)
    assert np.array_equal(inception.make_forward(network, "int8")[0](pixels), ours)
    assert np.ptp(ours) > 0
