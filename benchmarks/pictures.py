"""How fast pictures become bottlenecks, side by side with the original's way and with rivals.

In: a folder of pictures. Out, on stdout: pictures a second from the files to rows of the cache on
disk, memory, ratios, the share of what the processor does in a plain matrix product, and how close
the bottlenecks are to those in float32. All read the pictures by the same code and write the same
cache; only the engine differs. ONNX Runtime and OpenVINO get a virtual environment each in
benchmarks/.venvs and two ways of using the cores, of which the faster one counts. In int8 they take
the ranges of activations from some of the pictures.

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
from typing import NamedTuple

import numpy as np
import picture_engines

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common.terminal import UserError, log, run  # noqa: E402
from learning import (
    bottleneck_cache,  # noqa: E402
    bottlenecks,  # noqa: E402
    inception,  # noqa: E402
)

ONE_BY_ONE = "2016: Keras' predict one by one, a text file each"
CONTESTANTS = {  # name: (virtual environment or None for this one, what to run, how)
    ONE_BY_ONE: (None, "one by one", ""),
    "float32": (None, "ours", "float32"),
    "bfloat16": (None, "ours", "bfloat16"),
    "int8": (None, "ours", "int8"),
    "ONNX Runtime float32, a thread a call": ("onnxruntime", "onnxruntime", "f32 streams"),
    "ONNX Runtime float32, all threads for a call": ("onnxruntime", "onnxruntime", "f32 batches"),
    "ONNX Runtime int8, a thread a call": ("onnxruntime", "onnxruntime", "int8 streams"),
    "ONNX Runtime int8, all threads for a call": ("onnxruntime", "onnxruntime", "int8 batches"),
    "OpenVINO float32, throughput": ("openvino", "openvino", "f32 THROUGHPUT"),
    "OpenVINO float32, latency": ("openvino", "openvino", "f32 LATENCY"),
    "OpenVINO bfloat16, throughput": ("openvino", "openvino", "bf16 THROUGHPUT"),
    "OpenVINO bfloat16, latency": ("openvino", "openvino", "bf16 LATENCY"),
    "OpenVINO int8, throughput": ("openvino", "openvino", "int8 THROUGHPUT"),
    "OpenVINO int8, latency": ("openvino", "openvino", "int8 LATENCY"),
}
MATRIX = 4096  # rows and columns of the matrix product


# ---- a contestant's process ---------------------------------------------------------------------


def peak_memory():
    """MB of this process at its height; getrusage would count what its parent had before it."""
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


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
        forward = picture_engines.FORWARDS[kind](args.model, how)
        size = forward[0](np.zeros((1, inception.SIDE, inception.SIDE, 3), np.uint8)).shape[1]
    for line in sys.stdin:
        folder = Path(line.strip())
        began = time.perf_counter()
        if kind == "one by one":
            picture_engines.one_by_one(network, paths, folder)
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


class Measured(NamedTuple):
    """What a comparison found, by name of the contestant."""

    rates: dict  # pictures a second of each round
    memory: dict  # MB at the height
    cosines: dict  # of bottlenecks with those in float32, on average
    gflops: dict  # by precision: thousand millions of operations a second in a matrix product


def compare(args, paths, scratch):
    """Measure all of them in turn in each round; of a rival's two ways the one that was faster in a
    first round, which does not count."""
    listed = scratch / "pictures.json"
    listed.write_text(json.dumps([str(path) for path in paths]))
    pythons = {name: picture_engines.rival_python(name) for name in picture_engines.RIVALS}
    model = None
    if pythons["onnxruntime"]:
        model = picture_engines.export(args, scratch, pythons["onnxruntime"])
    flags = ["--list", listed, "--weights", args.weights, "--layer", args.layer, "--model", model]
    in_int8 = {
        name
        for name in pythons
        if model and pythons[name] and quantised(pythons[name], name, flags)
    }
    with contextlib.ExitStack() as stack:

        def started(*more):
            process = start(*more)
            stack.callback(process.kill)
            return process

        processes = {
            name: started(pythons.get(venv), "--work", name, *flags)
            for name, (venv, _, how) in CONTESTANTS.items()
            if venv is None or (pythons[venv] and model and ("int8" not in how or venv in in_int8))
        }
        peak = started(None, "--work", "matrix")
        rates, memory, rows = {}, {}, {}
        for turn in range(args.rounds + 1):  # the first warms up and decides
            for name in list(processes):
                with tempfile.TemporaryDirectory(dir=scratch) as folder:
                    answer = ask(processes[name], folder)
                    if turn == 0 and answer is not None and name != ONE_BY_ONE:
                        rows[name] = kept_rows(folder, len(paths))
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
                leave_the_faster(processes, rates)
    rates = {name: rates[name][1:] for name in processes}
    cosines = {name: cosine(rows[name], rows["float32"]) for name in rows}
    return Measured(rates, memory, cosines, gflops)


def quantised(python, name, flags):
    """Whether a rival has made its model in int8."""
    process = start(python, "--work", f"quantise {name}", *flags)
    process.communicate()
    if process.returncode:
        log(f"{name} has no int8 of this network: left out")
    return process.returncode == 0


def leave_the_faster(processes, rates):
    """Of contestants that differ only in their way of using the cores, end all but the fastest."""
    for name in list(processes):
        same = [other for other in processes if other.split(",")[0] == name.split(",")[0]]
        if rates[name][0] < max(rates[other][0] for other in same):
            processes.pop(name).kill()


def kept_rows(folder, count):
    """The bottlenecks that a contestant has left in a folder, in the order of the pictures."""
    (data,) = Path(folder).rglob("*.f32")
    return np.fromfile(data, np.float32).reshape(count, -1)


def cosine(rows, others):
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    return float(((rows * others).sum(axis=1) / lengths).mean())


def report(measured, macs):
    """Print the table and the ratios."""
    print(
        "| | pictures/s, median (least to most) | memory | GFLOP/s | share of a matrix product "
        "| cosine with float32 |"
    )
    print("|---|---|---|---|---|---|")
    rates = measured.rates
    middle = {name: statistics.median(some) for name, some in rates.items()}
    for name, some in rates.items():
        flops = 2e-9 * macs * middle[name]
        close = f"{measured.cosines[name]:.5f}" if name in measured.cosines else ""
        print(
            f"| {name} | {middle[name]:.1f} ({min(some):.1f} to {max(some):.1f}) "
            f"| {measured.memory[name]:.0f} MB | {flops:.0f} "
            f"| {100 * flops / measured.gflops[precision_of(name)]:.0f} % | {close} |"
        )
    print(
        "\nmatrix product: "
        + ", ".join(f"{name} {most:.0f} GFLOP/s" for name, most in measured.gflops.items())
        + "\n"
    )
    for precision in inception.PRECISIONS:
        rivals = [name for name in rates if f" {precision}" in name]
        if rivals:
            print_ratio(rates, precision, max(rivals, key=middle.get))
    print_ratio(rates, "float32", ONE_BY_ONE)
    print_ratio(rates, "bfloat16", "float32")
    print_ratio(rates, "int8", "float32")
    print_ratio(rates, "int8", "bfloat16")


def precision_of(name):
    return next((p for p in ("bfloat16", "int8") if p in name), "float32")


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
        if args.work == "matrix":
            matrix_products()
        elif args.work.startswith("quantise "):
            paths = json.loads(Path(args.list).read_text())
            picture_engines.quantise(args.work.split()[1], args.model, paths)
        else:
            work(args.work, args)
        return 0
    paths = sorted(path.resolve() for path in Path(args.pictures or "").rglob("*.jpg"))
    if not args.pictures or not paths:
        raise UserError("--pictures must name a folder with JPEG files")
    network, _ = inception.build_network(args.weights, args.layer)
    with tempfile.TemporaryDirectory() as scratch:
        measured = compare(args, paths[: args.number], Path(scratch))
    report(measured, multiplications(network))
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
