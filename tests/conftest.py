"""What the tests share: the repository on sys.path, runs of the scripts, a small drawn feed."""

import importlib
import io
import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from PIL import Image, ImageDraw

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the scripts
# that the tests start, some of which are to be stopped by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

LEAVES = {
    "Jeans > Bootcut Jeans": "bootcut flare denim",
    "Jeans > Skinny Jeans": "slim ankle denim",
    "Bags > Clutches": "evening satin envelope",
}


def environment(**more):
    """This process's variables without what would lead a script elsewhere, and with `more`."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SHOPSTYLE_") and not name.lower().endswith("_proxy")
    }
    return {**clean, **more}


def run_script(name, *args, cwd, env=None, timeout=300, process=False):
    """Run <repo>/name.py with these arguments to its end; env is added to the environment.
    Returns the CompletedProcess, its stdout and stderr as text.

    The script runs in this process, as if it were one of its own, because an interpreter takes a
    second to start and TensorFlow takes five. With process=True it is one of its own: for pipes,
    for what is imported, and for what the system writes."""
    if process:
        return subprocess.run(
            [sys.executable, REPO / f"{name}.py", *map(str, args)],
            cwd=cwd,
            env=environment(**(env or {})),
            timeout=timeout,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
    module = importlib.import_module(name)
    stdout, stderr = io.BytesIO(), io.BytesIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        mock.patch.dict(os.environ, environment(**(env or {})), clear=True),
    ):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [str(REPO / f"{name}.py"), *map(str, args)])
        patch.setattr(sys, "stdout", io.TextIOWrapper(stdout, "utf-8"))
        patch.setattr(
            sys, "stderr", io.TextIOWrapper(stderr, "utf-8", "backslashreplace", write_through=True)
        )
        warn_as_by_default()
        try:
            status = module.run(module.main)
        except SystemExit as end:  # of argparse
            status = end.code
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        printed = [written.getvalue() for written in (stdout, stderr)]
    texts = [
        io.TextIOWrapper(io.BytesIO(data), "utf-8").read() for data in printed
    ]  # with line breaks as subprocess reads them
    done = subprocess.CompletedProcess([name, *args], status or 0, *texts)
    done.stdout_bytes = printed[0]  # with line breaks as a file has them
    return done


def warn_as_by_default():
    """Have warnings written to stderr, as Python does where no pytest collects them."""
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)

    def show(message, category, filename, lineno, file=None, line=None):
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))

    warnings.showwarning = show


def write_feed(path, rows, header="id title description product_type image_link item_group_id"):
    """Write a feed of rows, sequences of text in the order of the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(header.split()), *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def draw_feed(folder, per_leaf=4):
    """Write folder/products.tsv, so many products in each of LEAVES, and their pictures: ids
    sku-0, sku-1 and so on; the first two of a leaf are one item group. Returns the file's path."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rows = []
    for leaf, (category, words) in enumerate(LEAVES.items()):
        for turn in range(per_leaf):
            number = leaf * per_leaf + turn
            picture = Image.new("RGB", (64, 80), (60 + 80 * leaf, 200 - 60 * leaf, 90))
            ImageDraw.Draw(picture).ellipse(
                (8, 8, 16 + turn * 7 % 40, 20 + turn * 5 % 50), fill=(turn * 37 % 256, 40, 200)
            )
            picture.save(folder / "pictures" / f"{number}.png")
            rows.append(
                (
                    f"sku-{number}",
                    f"{words.split()[turn % 3].title()} piece {number}",
                    f"A {words} piece, style {number}.",
                    category,
                    f"pictures/{number}.png",
                    f"group-{leaf}" if turn < 2 else "",
                )
            )
    return write_feed(folder / "products.tsv", rows)


MADE = {}  # the networks of random weights, by layer and seed


@pytest.fixture(scope="module")
def networks_made_once():
    """Scripts that ask for the same random network are given the same one, for making it takes two
    thirds of a small run. Scripts in processes of their own make theirs, and say the same."""
    from learning import inception

    build = inception.build_network

    def build_once(weights="imagenet", layer="avg_pool", seed=0, precision="float32"):
        if weights != "random":
            return build(weights, layer, seed, precision)
        if (layer, seed) not in MADE:
            MADE[layer, seed] = build(weights, layer, seed)
        network, fingerprint = MADE[layer, seed]
        return network, {**fingerprint, "precision": precision}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "build_network", build_once)
        yield


@pytest.fixture
def small_feed(tmp_path):
    """A feed of twelve products in three leaves of two parents, each with a picture by path."""
    return draw_feed(tmp_path / "shop")


@pytest.fixture
def serve():
    """serve(catalogue, script) -> a server that listens, see loopback.Scripted; all are stopped at
    the end."""
    from loopback import Scripted, catalogue, sample_shop

    servers = []

    def serve(content=None, script=lambda path, query: None):
        server = sample_shop.make_server(content or catalogue())
        server.RequestHandlerClass = Scripted
        server.script, server.seen, server.lock = script, [], threading.Lock()
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
