"""How fast pictures become bottlenecks, side by side with the original's way and with rivals.

In: a folder of pictures. Out, on stdout: pictures a second from the files to rows of the cache on
disk, memory, ratios, and the share of what the processor does in a plain matrix product. All read
the pictures by the same code and write the same cache; only the engine differs. ONNX Runtime and
OpenVINO get a virtual environment each in benchmarks/.venvs and two ways of using the cores, of
which the faster one counts.

    python benchmarks/pictures.py --pictures DIR
    python benchmarks/pictures.py --pictures DIR --weights FILE --layer mixed8 --rounds 5
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common.terminal import UserError, log, run  # noqa: E402
from learning import (
    bottleneck_cache,  # noqa: E402
    bottlenecks,  # noqa: E402
    inception,  # noqa: E402
)

ONE_BY_ONE = "2016: Keras' predict one by one, a text file each"
RIVALS = {  # virtual environment: what is installed there
    "onnxruntime": "onnxruntime tf2onnx tensorflow>=2.20,<2.22 Pillow tqdm",
    "openvino": "openvino Pillow tqdm",
}
CONTESTANTS = {  # name: (virtual environment or None for this one, what to run, how)
    ONE_BY_ONE: (None, "one by one", ""),
    "float32": (None, "ours", "float32"),
    "bfloat16": (None, "ours", "bfloat16"),
    "int8": (None, "ours", "int8"),
    "ONNX Runtime float32, a thread a call": ("onnxruntime", "onnxruntime", "streams"),
    "ONNX Runtime float32, all threads for a call": ("onnxruntime", "onnxruntime", "batches"),
    "OpenVINO float32, throughput": ("openvino", "openvino", "f32 THROUGHPUT"),
    "OpenVINO float32, latency": ("openvino", "openvino", "f32 LATENCY"),
    "OpenVINO bfloat16, throughput": ("openvino", "openvino", "bf16 THROUGHPUT"),
    "OpenVINO bfloat16, latency": ("openvino", "openvino", "bf16 LATENCY"),
}
MATRIX = 4096  # rows and columns of the matrix product


# ---- the engines: (function, threads) as inception.make_forward has it --------------------------


def one_call_at_a_time(function):
    lock = threading.Lock()

    def forward(pixels):
        with lock:  # the other thread decodes meanwhile
            return function(pixels)

    return forward, 2


def onnxruntime_forward(model, how):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if how == "streams" else os.cpu_count()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    if how == "batches":
        return one_call_at_a_time(lambda pixels: session.run(None, {name: pixels})[0])
    return (
        lambda pixels: np.concatenate([session.run(None, {name: one[None]})[0] for one in pixels])
    ), os.cpu_count()


def openvino_forward(model, how):
    import openvino

    precision, hint = how.split()
    compiled = openvino.Core().compile_model(
        model, "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": hint}
    )
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


def peak_memory():
    """MB of this process at its height; getrusage would count what its parent had before it."""
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


# ---- a contestant's process ---------------------------------------------------------------------


def work(name, args):
    """For each line on stdin, a folder, bring the pictures into a cache there; print pictures a
    second and peak memory in MB."""
    _, kind, how = CONTESTANTS[name]
    paths = json.loads(Path(args.list).read_text())
    if kind == "one by one":
        paths = paths[: -(-len(paths) // 8)]  # it takes so long
    if kind in ("one by one", "ours"):
        network, _ = inception.build_network(args.weights, args.layer)
        size = network.output_shape[1]
        forward = inception.make_forward(network, how) if kind == "ours" else None
    else:
        engine = onnxruntime_forward if kind == "onnxruntime" else openvino_forward
        forward = engine(args.model, how)
        size = forward[0](np.zeros((1, inception.SIDE, inception.SIDE, 3), np.uint8)).shape[1]
    for line in sys.stdin:
        folder = Path(line.strip())
        began = time.perf_counter()
        if kind == "one by one":
            one_by_one(network, paths, folder)
        else:
            cache = bottleneck_cache.Cache(folder, {}, size)
            bad = bottlenecks.fill(
                cache,
                ((f"{i:064x}", path) for i, path in enumerate(paths)),
                forward,
                lambda key, path: bottlenecks.read_picture(path),
            )
            assert not bad and cache.count == len(paths), bad
        seconds = time.perf_counter() - began
        print(len(paths) / seconds, peak_memory(), flush=True)


def matrix_products():
    """{precision: the most operations a second, in thousand millions, seen so far in a matrix
    product}, for each line on stdin."""
    tf = inception.load_tensorflow()
    left, right = (
        np.random.default_rng(i).normal(size=(MATRIX, MATRIX)).astype(np.float32) for i in range(2)
    )
    calls = {}
    for name, dtype in (("float32", tf.float32), ("bfloat16", tf.bfloat16)):
        function = tf.function(lambda a, b=tf.constant(right, dtype): a @ b)
        calls[name] = lambda f=function, a=tf.constant(left, dtype): f(a).numpy()
    signature = [tf.TensorSpec([MATRIX // os.cpu_count(), MATRIX], tf.float32)]
    lite = inception.lite_interpreters(
        tf.function(
            lambda a: a @ tf.constant(right), input_signature=signature
        ).get_concrete_function(),
        os.cpu_count(),
    )
    parts = np.split(left, len(lite))

    def quantised():
        threads = [
            threading.Thread(target=inception.lite_output, args=pair) for pair in zip(lite, parts)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    calls["int8"] = quantised
    best = dict.fromkeys(calls, 0.0)
    for _ in sys.stdin:
        for name, call in calls.items():
            for _ in range(3):
                began = time.perf_counter()
                call()
                best[name] = max(best[name], 2e-9 * MATRIX**3 / (time.perf_counter() - began))
        print(json.dumps(best), flush=True)


# ---- the comparison -----------------------------------------------------------------------------


def rival_python(name):
    """The Python of a rival's virtual environment, made once; None where it can't be."""
    folder = ROOT / "benchmarks" / ".venvs" / name
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
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
    (folder / "ready").touch()
    return python


def export(args, folder, python):
    """The network as ONNX, from pixels uint8, as both rivals read it; None where that fails."""
    tf = inception.load_tensorflow()
    network, _ = inception.build_network(args.weights, args.layer)
    module = tf.Module()
    module.network = network
    module.call = tf.function(
        lambda pixels: network(tf.cast(pixels, tf.float32) / 127.5 - 1, training=False),
        input_signature=[tf.TensorSpec([None, inception.SIDE, inception.SIDE, 3], tf.uint8)],
    )
    with inception.quiet():
        tf.saved_model.save(module, str(folder / "saved"), signatures=module.call)
        done = subprocess.run(
            [
                python,
                "-m",
                "tf2onnx.convert",
                "--saved-model",
                folder / "saved",
                "--output",
                folder / "model.onnx",
                "--opset",
                "17",
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        log(f"the network can't be had as ONNX: {done.stderr.strip().splitlines()[-1]}")
        return None
    return folder / "model.onnx"


def multiplications(network):
    """Multiply-adds of the network's convolutions for a picture."""
    total = 0
    for layer in network.layers:
        if type(layer).__name__ == "Conv2D":
            total += np.prod(layer.output.shape[1:]) * np.prod(layer.kernel.shape[:3])
    return int(total)


def start(python, *flags):
    """A process of this file. load_tensorflow has set the variable for this one, not for that."""
    clean = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.Popen(
        [python or sys.executable, __file__, *map(str, flags)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=clean,
    )


def ask(process, line):
    """A worker's answer to a line; None where it has died."""
    try:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    return process.stdout.readline().strip() or None


def compare(args, paths, scratch):
    """({name: pictures a second of each round}, {name: peak MB}, {precision: GFLOP/s}), all of
    them in turn in each round; of a rival's two ways the one that was faster before them."""
    listed = scratch / "pictures.json"
    listed.write_text(json.dumps([str(path) for path in paths]))
    pythons = {name: rival_python(name) for name in RIVALS}
    model = export(args, scratch, pythons["onnxruntime"]) if pythons["onnxruntime"] else None
    flags = ["--list", listed, "--weights", args.weights, "--layer", args.layer, "--model", model]
    with contextlib.ExitStack() as stack:

        def started(*more):
            process = start(*more)
            stack.callback(process.kill)
            return process

        processes = {
            name: started(pythons.get(venv), "--work", name, *flags)
            for name, (venv, _, _) in CONTESTANTS.items()
            if venv is None or (pythons[venv] and model)
        }
        peak = started(None, "--work", "matrix")
        rates, memory = {}, {}
        for turn in range(args.rounds + 1):  # the first warms up and decides
            for name in list(processes):
                with tempfile.TemporaryDirectory(dir=scratch) as folder:
                    answer = ask(processes[name], folder)
                if answer is None:
                    log(f"{name} fails: left out")
                    del processes[name]
                    continue
                rate, megabytes = map(float, answer.split())
                rates.setdefault(name, []).append(rate)
                memory[name] = megabytes
                log(f"round {turn}: {name}: {rate:.1f} pictures/s")
            gflops = json.loads(ask(peak, "go"))
            if turn == 0:
                for name in list(processes):
                    same = [
                        other for other in processes if other.split(",")[0] == name.split(",")[0]
                    ]
                    if rates[name][0] < max(rates[other][0] for other in same):
                        processes.pop(name).kill()
    return {name: rates[name][1:] for name in processes}, memory, gflops


def report(rates, memory, gflops, macs):
    """Print the table and the ratios."""
    print("| | pictures/s, median (least to most) | memory | GFLOP/s | share of a matrix product |")
    print("|---|---|---|---|---|")
    middle = {name: statistics.median(some) for name, some in rates.items()}
    for name, some in rates.items():
        precision = next((p for p in ("bfloat16", "int8") if p in name), "float32")
        flops = 2e-9 * macs * middle[name]
        print(
            f"| {name} | {middle[name]:.1f} ({min(some):.1f} to {max(some):.1f}) "
            f"| {memory[name]:.0f} MB | {flops:.0f} | {100 * flops / gflops[precision]:.0f} % |"
        )
    print(
        "\nmatrix product: "
        + ", ".join(f"{name} {most:.0f} GFLOP/s" for name, most in gflops.items())
        + "\n"
    )
    for precision in ("float32", "bfloat16"):
        rivals = [name for name in rates if f" {precision}" in name]
        if rivals:
            best = max(rivals, key=middle.get)
            print_ratio(rates, precision, best)
    print_ratio(rates, "float32", ONE_BY_ONE)
    print_ratio(rates, "bfloat16", "float32")
    print_ratio(rates, "int8", "float32")


def print_ratio(rates, one, other):
    """The median of the rounds' ratios, and their spread."""
    ratios = [a / b for a, b in zip(rates[one], rates[other])]
    print(
        f"{one} : {other} = {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pictures", metavar="DIR", help="folder with JPEG files, at any depth")
    parser.add_argument(
        "--weights",
        default="random",
        metavar="W",
        help="imagenet, random or a file (default: random)",
    )
    parser.add_argument(
        "--layer",
        default="avg_pool",
        choices=inception.LAYERS,
        metavar="LAYER",
        help="(default: avg_pool)",
    )
    parser.add_argument(
        "--number", type=int, default=320, metavar="N", help="pictures a round (default: 320)"
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: 5)")
    for name in ("work", "list", "model"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.work:
        matrix_products() if args.work == "matrix" else work(args.work, args)
        return 0
    paths = sorted(path.resolve() for path in Path(args.pictures or "").rglob("*.jpg"))
    if not args.pictures or not paths:
        raise UserError("--pictures must name a folder with JPEG files")
    network, _ = inception.build_network(args.weights, args.layer)
    with tempfile.TemporaryDirectory() as scratch:
        rates, memory, gflops = compare(args, paths[: args.number], Path(scratch))
    report(rates, memory, gflops, multiplications(network))
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
