"""What the tests of --cluster share: pictures, a command that computes their bottlenecks on a cluster
and starts in a second, and the rows that one computer by itself computes.

pytest tests/test_cluster_trouble.py
"""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

from clusters import wait_until
from conftest import REPO, environment
from PIL import Image
from shared_pictures import drawn, keyed

from learning import bottlenecks, inception
from learning.bottleneck_cache import Cache

LAYER, SIZE = "mixed0", 256
FINGERPRINT = {
    "network": "InceptionV3",
    "weights": "random-0",
    "layer": LAYER,
    "preprocessing": inception.PREPROCESSING,
    "precision": "float32",
}

# What picture_classifier.open_network and cached_rows do, but without the network, which this
# computer needs for nothing if a cluster computes.
COMMAND = """
import json, sys
sys.path.insert(0, sys.argv[1])
from common.terminal import run, say
from learning import bottlenecks, cluster, cluster_address, shards
from learning.bottleneck_cache import Cache

def main(argv=None):
    order = json.load(sys.stdin)
    cache = Cache(order["cache"], order["fingerprint"], order["size"])
    recipe = shards.recipe(cache, order["fingerprint"], "random", 0, order["fingerprint"]["layer"])
    shards.adopt_all(cache, recipe)
    options = cluster_address.Options(**order["options"])
    bad = bottlenecks.compute(
        None, "float32", cache, lambda: map(tuple, order["pictures"]), cluster.filler(options, recipe)
    )
    say(json.dumps(bad))
    return 0

raise SystemExit(run(main))
"""


def make_pictures(folder, count, start=0):
    """[(SHA-256, path)] of so many drawn pictures, no two of which are the same."""
    return as_pairs(drawn(Path(folder), count, start))


def make_trouble(path, width):
    """(SHA-256, path) of a picture of a width that trouble.py knows."""
    Image.new("RGB", (width, 40), (width, 90, sum(path.name.encode()) % 256)).save(path)
    return as_pairs(keyed([path]))[0]


def as_pairs(pictures):
    return [(key, str(path)) for key, path in pictures.items()]


def open_cache(folder):
    return Cache(str(folder), FINGERPRINT, SIZE)


def records_of(folder):
    """The SHA-256 of each row in a folder of bottlenecks, in the order of the file."""
    path = Path(open_cache(folder).keys_path)
    keys = path.read_bytes() if path.exists() else b""
    return [keys[start : start + 32].hex() for start in range(0, len(keys), 36)]


def rows_of(folder):
    """{SHA-256: bytes of its row} of a folder of bottlenecks."""
    cache = open_cache(folder)
    digests = records_of(folder)
    rows = cache.find(digests)
    assert (rows >= 0).all()
    return {digest: cache.matrix()[row].tobytes() for digest, row in zip(digests, rows)}


def rows_alone(folder, pictures):
    """{SHA-256: bytes of its row}, computed by this process without a cluster."""
    network, fingerprint = inception.build_network("random", LAYER, 0)
    assert fingerprint == FINGERPRINT
    assert bottlenecks.compute(network, "float32", open_cache(folder), lambda: iter(pictures)) == {}
    return rows_of(folder)


class Command:
    """A process that has a cluster compute pictures into a folder of bottlenecks."""

    def __init__(self, cluster, folder, pictures, prefix=(), **options):
        order = {
            "cache": str(folder),
            "fingerprint": FINGERPRINT,
            "size": SIZE,
            "pictures": pictures,
            "options": {"address": str(cluster.address), **options},
        }
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", COMMAND, str(REPO)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(order))
            self.process.stdin.close()
        self.process.stdin = None

    def end(self, seconds=500):
        """Wait for its end. Returns (status, {key: reason} that it left out, stderr)."""
        try:
            stdout, stderr = self.process.communicate(timeout=seconds)
        finally:
            self.process.kill()
        status = self.process.returncode
        return status, json.loads(stdout) if status == 0 else None, stderr

    def kill(self):
        self.process.kill()
        self.process.communicate()


def computed(cluster, folder, pictures, **options):
    """Have a cluster compute pictures, to the end. Returns {key: reason} of what it left out."""
    status, bad, stderr = Command(cluster, folder, pictures, **options).end()
    assert status == 0, stderr
    return bad


class Hold:
    """Has the workers of trouble.py wait before the next picture that each opens."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.env = {"TROUBLE": str(folder)}

    def on(self):
        for path in self.folder.glob("waits-*"):
            path.unlink()
        (self.folder / "hold").touch()

    def off(self):
        (self.folder / "hold").unlink(missing_ok=True)

    def wait_for(self, count, seconds=120):
        """Wait until so many workers wait."""
        wait_until(lambda: len(list(self.folder.glob("waits-*"))) >= count, seconds)
