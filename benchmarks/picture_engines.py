"""What pictures.py compares with: environments of the rivals, their models, and how they run.

In: the network as Keras has it, and some pictures to calibrate int8 on. Out: a model file for each
rival and precision, and functions from pictures to bottlenecks. pictures.py uses it:

    python benchmarks/pictures.py --pictures DIR
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common.terminal import log  # noqa: E402
from learning import (
    bottlenecks,  # noqa: E402
    inception,  # noqa: E402
)

RIVALS = {  # virtual environment: what is installed there
    "onnxruntime": "onnxruntime onnx tf2onnx tensorflow>=2.20,<2.22 Pillow tqdm",
    "openvino": "openvino nncf Pillow tqdm",
}
INT8 = {"onnxruntime": "int8.onnx", "openvino": "int8.xml"}  # files of the models in int8
CALIBRATION = 48  # pictures from which the ranges of int8 are taken


def rival_python(name):
    """The Python of a rival's virtual environment, made once; None if it can't be made."""
    folder = ROOT / "benchmarks" / ".venvs" / name
    python = folder / "bin" / "python"
    ready = folder / "ready"  # holds what was installed
    if ready.exists() and ready.read_text() == RIVALS[name]:
        return python
    log(f"installing {name} ...")
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *RIVALS[name].split()], check=True
        )
    except subprocess.CalledProcessError:
        log(f"{name} can't be installed: left out")
        return None
    ready.write_text(RIVALS[name])
    return python


# ---- models -------------------------------------------------------------------------------------


def export(args, folder, python):
    """The network as ONNX, from pixels uint8, as both rivals read it; None if that fails."""
    tf = inception.load_tensorflow()
    network, _ = inception.build_network(args.weights, args.layer)
    module = tf.Module()
    module.network = network
    module.call = tf.function(
        lambda pixels: network(tf.cast(pixels, tf.float32) / 127.5 - 1, training=False),
        input_signature=[tf.TensorSpec([None, inception.SIDE, inception.SIDE, 3], tf.uint8)],
    )
    saved, model = folder / "saved", folder / "model.onnx"
    with inception.quiet():
        tf.saved_model.save(module, str(saved), signatures=module.call)
        command = [python, "-m", "tf2onnx.convert", "--saved-model", saved, "--output", model]
        done = subprocess.run([*command, "--opset", "17"], capture_output=True, text=True)
    if done.returncode:
        log(f"the network can't be had as ONNX: {done.stderr.strip().splitlines()[-1]}")
        return None
    return model


def quantise(rival, model, paths):
    """Leave the network in int8 beside its ONNX file, by the rival's own way: weights of 8 bits
    with a scale for each output channel, and activations whose ranges some of the pictures give."""
    pictures = (
        bottlenecks.read_picture(path)[None]
        for path in paths[:: -(-len(paths) // CALIBRATION)]  # from all of the list
    )
    target = Path(model).parent / INT8[rival]
    if rival == "onnxruntime":
        quantise_for_onnxruntime(model, target, pictures)
    else:
        import nncf
        import openvino

        network = openvino.Core().read_model(model)
        samples = nncf.Dataset(list(pictures))
        openvino.save_model(nncf.quantize(network, samples, subset_size=CALIBRATION), target)


def quantise_for_onnxruntime(model, target, pictures):
    import onnxruntime
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folded = Path(model).parent / "folded.onnx"
    quant_pre_process(model, folded, skip_symbolic_shape=True)  # batch normalisations go
    name = onnxruntime.InferenceSession(model).get_inputs()[0].name

    class Pictures(quantization.CalibrationDataReader):
        def get_next(self):
            pixels = next(pictures, None)
            return None if pixels is None else {name: pixels}

    quantization.quantize_static(
        folded,
        target,
        Pictures(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


# ---- the engines: (function, threads) as inception.make_forward has it --------------------------


def one_call_at_a_time(function):
    lock = threading.Lock()

    def forward(pixels):
        with lock:  # the other thread decodes meanwhile
            return function(pixels)

    return forward, 2


def onnxruntime_forward(model, how):
    import onnxruntime

    precision, way = how.split()
    if precision == "int8":
        model = Path(model).parent / INT8["onnxruntime"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if way == "streams" else os.cpu_count()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    if way == "batches":
        return one_call_at_a_time(lambda pixels: session.run(None, {name: pixels})[0])
    return (
        lambda pixels: np.concatenate([session.run(None, {name: one[None]})[0] for one in pixels])
    ), os.cpu_count()


def openvino_forward(model, how):
    import openvino

    precision, hint = how.split()
    settings = {"PERFORMANCE_HINT": hint}
    if precision == "int8":
        model = Path(model).parent / INT8["openvino"]  # what is left of float computes as it likes
    else:
        settings["INFERENCE_PRECISION_HINT"] = precision
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    own = threading.local()

    def forward(pixels):
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        step = len(pixels) if hint == "LATENCY" else 1
        return np.concatenate(
            [
                own.request.infer([pixels[i : i + step]])[0].copy()
                for i in range(0, len(pixels), step)
            ]
        )

    if hint == "LATENCY":
        return one_call_at_a_time(forward)
    return forward, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")


def one_by_one(network, paths, folder):
    """What the original did with each picture, but for its TensorFlow."""
    for number, path in enumerate(paths):
        pixels = inception.network_input(bottlenecks.read_picture(path))[None]
        values = network.predict(pixels, verbose=0)[0]
        (folder / f"{number}.txt").write_text(",".join(str(value) for value in values))


FORWARDS = {"onnxruntime": onnxruntime_forward, "openvino": openvino_forward}
