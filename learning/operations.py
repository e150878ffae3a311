"""Inception v3 as plain operations of TensorFlow, with its batch normalisations folded.

In: a network of inception.build_network. Out: a function of TensorFlow from pixels to bottlenecks.
inception.make_forward uses it:

    function = traced(network, tf.float32, (None, 299, 299, 3))
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from common.terminal import UserError
from learning.tensorflow_loader import load_tensorflow


def traced(network: Any, dtype: Any, shape: tuple) -> Any:
    """A network of build_network as a concrete function of TensorFlow, of pixels of this shape. It
    holds the weights as constants, and no other copy of them is kept for it."""
    tf = load_tensorflow()
    return tf.function(
        functools.partial(run_operations, operations(network), dtype=dtype),
        autograph=False,
        input_signature=[tf.TensorSpec(shape, tf.uint8)],
    ).get_concrete_function()


def operations(network: Any) -> list[tuple]:
    """A network of build_network as [(kind, name, names of its inputs, what it needs)] in order.

    A batch normalisation is folded into the convolution before it, whose kernel becomes
    kernel / sqrt(variance + epsilon) and whose bias beta - mean / sqrt(variance + epsilon), and a
    ReLU belongs to its convolution: (kernel, bias, strides, padding). A pooling needs (window,
    strides, padding). Raises UserError for weights that can't be folded.
    """
    steps: dict[str, tuple] = {}
    names: dict[int, str] = {}
    for layer in network.layers:
        kind = type(layer).__name__
        name = layer.name
        needs: tuple = ()
        inputs: list = [
            names.get(id(tensor))
            for tensor in (layer.input if isinstance(layer.input, list) else [layer.input])
        ]
        if kind == "Conv2D":
            needs = (layer.get_weights()[0], None, layer.strides, layer.padding.upper())
        elif kind == "BatchNormalization":
            name = inputs[0]
            kind, _, inputs, (kernel, _, *shape) = steps[name]
            beta, mean, variance = layer.get_weights()
            if not (variance > -layer.epsilon).all():
                raise UserError(f"the weights are spoilt: a variance of {layer.name} is below 0")
            factor = 1 / np.sqrt(variance + layer.epsilon)
            needs = (kernel * factor, beta - mean * factor, *shape)
        elif kind in ("MaxPooling2D", "AveragePooling2D"):
            needs = (layer.pool_size, layer.strides, layer.padding.upper())
        elif kind in ("InputLayer", "Concatenate", "GlobalAveragePooling2D"):
            needs = ()
        elif kind == "Activation":
            name = inputs[0]
            kind, _, inputs, needs = steps[name]
        else:
            raise ValueError(f"{layer.name} is a layer that run_operations does not know: {kind}")
        names[id(layer.output)] = name
        steps[name] = (kind, name, inputs, needs)
    return list(steps.values())


def run_operations(steps: list[tuple], pixels: Any, dtype: Any) -> Any:
    """Bottlenecks float32 [n, size] of pixels uint8 [n, 299, 299, 3], as TensorFlow operations.

    The weights become constants, which oneDNN brings into its own order once instead of at every
    call. An average and the 1x1 convolution after it are swapped, which changes nothing (both are
    linear, and the average of a constant is that constant) and averages far fewer channels.
    """
    tf = load_tensorflow()
    values: dict[str, Any] = {}
    averages: dict[str, tuple] = {}
    for kind, name, inputs, needs in steps:
        if kind == "InputLayer":
            values[name] = tf.cast(tf.cast(pixels, tf.float32) / 127.5 - 1, dtype)
        elif kind == "Conv2D":
            kernel, bias, strides, padding = needs
            pooling = averages.get(inputs[0])
            out = tf.nn.conv2d(
                values[pooling[0] if pooling else inputs[0]],
                tf.constant(kernel.astype(dtype.as_numpy_dtype)),
                strides,
                padding,
            )
            out = tf.nn.bias_add(out, tf.constant(bias.astype(dtype.as_numpy_dtype)))
            values[name] = tf.nn.relu(tf.nn.avg_pool2d(out, *pooling[1]) if pooling else out)
        elif kind == "AveragePooling2D":  # in Inception always before a 1x1 convolution
            averages[name] = (inputs[0], needs)
        elif kind == "MaxPooling2D":
            values[name] = tf.nn.max_pool2d(values[inputs[0]], *needs)
        elif kind == "Concatenate":
            values[name] = tf.concat([values[branch] for branch in inputs], 3)
        else:
            values[name] = tf.reduce_mean(tf.cast(values[inputs[0]], tf.float32), [1, 2])
    return values[name]
