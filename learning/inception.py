"""Inception v3 as Keras ships it, cut at a layer, and three ways of running it fast.

In: weights (ImageNet's, a file's, random) and a layer. Out: the network, the fingerprint that tells
its bottlenecks from all others, and a function from pictures to bottlenecks. bottlenecks.py uses
it:

    python categorize_images.py --weights imagenet
    python categorize_images.py --weights FILE --layer mixed8 --precision bfloat16
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import random
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from common.files import file_sha256
from common.terminal import UserError, log
from learning import weights_files
from learning.operations import traced
from learning.tensorflow_loader import give_back_memory, load_tensorflow, quiet

SIDE = 299  # pixels; the network's own input size
LAYERS = tuple(f"mixed{block}" for block in range(11)) + ("avg_pool",)
BATCH = 8  # pictures that a thread computes at a time
PRECISIONS = ("float32", "bfloat16", "int8")
PREPROCESSING = "pillow-bilinear-299-v1"  # what bottlenecks.read_picture does
# Convolutions from the input up to each block, mixed10 included, which avg_pool is the average of.
CONVOLUTIONS = dict(zip(LAYERS, (12, 19, 26, 30, 40, 50, 60, 70, 76, 85, 94, 94)))
# What keras.applications downloads and checks for weights="imagenet", include_top=False.
WEIGHTS_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
WEIGHTS_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/" + WEIGHTS_FILE
)
WEIGHTS_BYTES = 87_910_968
WEIGHTS_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"


# ---- the network and its weights ----------------------------------------------------------------


def check_weights(weights: str | None, layer: str) -> None:
    """Raise UserError, before anything is downloaded or computed, if --weights names no file, or a
    file of weights that ends before the layer. None, "imagenet" and "random" reach every layer."""
    if weights in (None, "imagenet", "random"):
        return
    if not os.path.isfile(weights):
        raise UserError(
            f"there is no weights file {weights}; --weights takes imagenet, random or a file"
        )
    if os.path.basename(weights) == WEIGHTS_FILE:
        if file_md5(weights) != WEIGHTS_MD5:
            raise UserError(f"{weights} is damaged or cut short: fetch {WEIGHTS_URL} again")
        return
    try:
        weights_files.check_file(weights)
        there = weights_files.convolutions(weights)
    except ValueError as problem:
        raise UserError(
            f"{weights} holds no weights of InceptionV3 that can be used ({problem}): name a file "
            "that Keras has saved"
        ) from None
    reached = [name for name in LAYERS[:-1] if CONVOLUTIONS[name] <= there]
    if reached and there < CONVOLUTIONS[layer]:
        asked = "" if layer != "avg_pool" else " (the default, the end of the network)"
        raise UserError(
            f"{weights} holds weights up to {reached[-1]} only, and not up to --layer "
            f"{layer}{asked}: train with --layer {reached[-1]}, or name a file that "
            "goes further"
        )


def file_md5(path: str) -> str:
    """The MD5 of a file's bytes, in hex: no protection, but what Keras knows its own file by."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def build_network(
    weights: str = "imagenet", layer: str = "avg_pool", seed: int = 0, precision: str = "float32"
) -> tuple[Any, dict]:
    """Inception v3 up to a layer, averaged over the picture.

    weights: "imagenet" (downloaded by Keras), "random" (from the seed) or the path of a Keras
    weights file, of the whole network without its top or of the part up to the layer. layer: a
    block (mixed0 ... mixed10) or avg_pool, which is the average of mixed10 and 2048-d.
    Returns (a keras.Model in float32: [n, 299, 299, 3] in [-1, 1] -> [n, size], the fingerprint of
    bottlenecks computed with it in this precision).
    """
    check_weights(weights, layer)
    keras = load_tensorflow().keras
    keras.utils.set_random_seed(seed)
    whole, cut = untrained(layer)
    if weights == "random":
        source = f"random-{seed}"
        draw_weights(whole, seed)
    else:
        path = imagenet_file(keras) if weights == "imagenet" else weights
        load_weights(whole, cut, path)
        source = file_sha256(path)
    fingerprint = {
        "network": "InceptionV3",
        "weights": source,
        "layer": block_name(layer),
        "preprocessing": PREPROCESSING,
        "precision": precision,
    }
    give_back_memory()
    return cut, fingerprint


def block_name(layer: str) -> str:
    """The block that is averaged for a layer."""
    return "mixed10" if layer == "avg_pool" else layer


def untrained(layer: str) -> tuple[Any, Any]:
    """Two keras.Models of one set of weights by chance: Inception v3 without its top, and its part
    up to a layer, averaged over the picture."""
    keras = load_tensorflow().keras
    whole = keras.applications.InceptionV3(
        weights=None, include_top=False, input_shape=(SIDE, SIDE, 3)
    )
    block = whole.get_layer(block_name(layer))
    cut = keras.Model(
        whole.input, keras.layers.GlobalAveragePooling2D(name="bottleneck")(block.output)
    )
    return whole, cut


def draw_weights(whole: Any, seed: int) -> None:
    """Give a network of `untrained` its random weights: those that Keras draws in a process of one
    thread. With more threads, as on a worker of a cluster, another one may use Python's generator in
    between, and then the weights are others each time."""
    keras = load_tensorflow().keras
    drawn = random.Random(seed)
    convolutions = [layer for layer in whole.layers if type(layer).__name__ == "Conv2D"]
    # In the order in which they were made: conv2d, conv2d_1 and so on.
    convolutions.sort(key=lambda layer: int(layer.name.partition("_")[2] or 0))
    for layer in convolutions:
        initializer = keras.initializers.GlorotUniform(seed=drawn.randint(1, 10**9))
        layer.kernel.assign(initializer(layer.kernel.shape))


def imagenet_file(keras: ModuleType) -> str:
    """Path of the ImageNet weights, which Keras downloads once and checks."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras shows its progress on stdout
            return keras.utils.get_file(
                WEIGHTS_FILE, WEIGHTS_URL, cache_subdir="models", file_hash=WEIGHTS_MD5
            )
    except Exception as error:  # Keras raises a bare Exception, or what urllib or the disk raise
        raise UserError(
            f"the ImageNet weights can't be downloaded ({str(error).split(' -- ')[-1]}): fetch "
            f"{WEIGHTS_URL} ({WEIGHTS_BYTES} bytes, md5 {WEIGHTS_MD5}) on a machine with a "
            "network and name it with --weights FILE, or try --weights random, whose figures mean "
            "little"
        ) from None


def load_weights(whole: Any, cut: Any, path: str) -> None:
    """Load a weights file of the whole network, or else of its part up to the layer."""
    problem = "is it whole, and does it reach so far?"
    for model in (whole, cut):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras only warns of missing layers
                model.load_weights(path)
            if all(np.isfinite(weight).all() for weight in model.get_weights()):
                return
            problem = "some are no numbers"
        except Exception:  # h5py and Keras raise whatever comes up, in words of their own
            pass
    raise UserError(
        f"{path} holds no weights of InceptionV3 without its top, nor of its part "
        f"up to --layer: {problem}"
    )


def network_input(pixels: np.ndarray) -> np.ndarray:
    """Pixels uint8 as the network takes them: float32 in [-1, 1]."""
    return np.asarray(pixels, np.float32) / np.float32(127.5) - np.float32(1)


# ---- running it fast ----------------------------------------------------------------------------


def make_forward(
    network: Any, precision: str = "float32", cores: int | None = None
) -> tuple[Callable, int]:
    """(function, threads): pixels uint8 [n, 299, 299, 3] -> bottlenecks float32 [n, size], and how
    many threads should call it at once to keep the machine busy.

    float32 and bfloat16 run in TensorFlow, on its GPU if it has one. int8 is TensorFlow Lite's
    dynamic range quantisation: weights of 8 bits with a scale for each output channel, activations
    quantised picture by picture as they come; on the CPU, one interpreter a core, of `cores`
    (default: all that this process may use).
    """
    tf = load_tensorflow()
    dtype = tf.bfloat16 if precision == "bfloat16" else tf.float32
    if dtype == tf.bfloat16 and not (knows_bfloat16() or tf.config.list_physical_devices("GPU")):
        log("warning: this processor has no arithmetic for bfloat16: float32 and int8 are faster")
    shape = (1 if precision == "int8" else None, SIDE, SIDE, 3)
    function = traced(network, dtype, shape)
    give_back_memory()
    if precision != "int8":
        # Called by two threads at once, the first call would prepare everything twice.
        function(tf.zeros((BATCH, SIDE, SIDE, 3), tf.uint8))
        give_back_memory()
        # One thread decodes, or waits, as the other one computes.
        return lambda pixels: function(tf.constant(pixels)).numpy(), 2
    if cores is None:
        all_cores = os.cpu_count() or 1
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else all_cores
    idle: queue.SimpleQueue = queue.SimpleQueue()
    for interpreter in lite_interpreters(function, cores):
        idle.put(interpreter)

    def forward(pixels):
        interpreter = idle.get()
        try:
            return np.concatenate([lite_output(interpreter, picture[None]) for picture in pixels])
        finally:
            idle.put(interpreter)

    return forward, cores


def knows_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16, as far as Linux tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            flags = set(file.read().split())
    except OSError:
        return True
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def lite_interpreters(function: Any, count: int) -> list:
    """So many TensorFlow Lite interpreters of a concrete function, quantised, of one thread."""
    lite = load_tensorflow().lite
    with quiet(), warnings.catch_warnings():
        # It says that tf.lite moves to the package ai-edge-litert; docs/method.md has the plan.
        warnings.simplefilter("ignore")
        converter = lite.TFLiteConverter.from_concrete_functions([function])
        converter.optimizations = [lite.Optimize.DEFAULT]
        model = converter.convert()
        del converter
        give_back_memory()  # what the conversion took is far more than the model
        made = [lite.Interpreter(model_content=model, num_threads=1) for _ in range(count)]
        for interpreter in made:
            interpreter.allocate_tensors()
    return made


def lite_output(interpreter: Any, pixels: np.ndarray) -> np.ndarray:
    """What an interpreter says of one picture, uint8 [1, 299, 299, 3]."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
