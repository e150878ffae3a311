"""Pictures -> Inception v3 bottlenecks, kept in a cache on disk.

A bottleneck is what the network knows of a picture just before it would name it: the average over
the picture of one layer's outputs. In: picture files with the SHA-256 of their bytes. Out: rows of
a memory-mapped float32 matrix. retrain.py and the two classifiers that look at pictures use it:

    python categorize_images.py --weights imagenet
    python categorize_images.py --weights FILE --layer mixed8
"""
import concurrent.futures
import contextlib
import fcntl
import hashlib
import io
import json
import os
import sys
import tempfile
import warnings

import numpy as np
from PIL import Image, ImageOps

from console import UserError, log, progress

SIDE = 299                                          # pixels; the network's own input size
LAYERS = tuple(f"mixed{block}" for block in range(11)) + ("avg_pool",)
PREPROCESSING = "pillow-bilinear-299-v1"            # part of the fingerprint: change both together
BATCH = 16
MISSING = "the file is missing"
# What keras.applications downloads and checks for weights="imagenet", include_top=False.
WEIGHTS_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
WEIGHTS_URL = ("https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
               + WEIGHTS_FILE)
WEIGHTS_BYTES = 87_910_968
WEIGHTS_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"


def load_tensorflow():
    """TensorFlow, imported late because it takes seconds. What it says on stderr while it starts
    and looks for a GPU is dropped, unless it fails or TF_CPP_MIN_LOG_LEVEL is set: newer versions
    write some of it whatever that variable holds."""
    if "tensorflow" in sys.modules or "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        import tensorflow
        return tensorflow
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    sys.stderr.flush()
    own = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow
            tensorflow.config.list_physical_devices()
        except BaseException:
            said.seek(0)
            os.write(own, said.read())
            raise
        finally:
            os.dup2(own, 2)
            os.close(own)
    return tensorflow


def file_sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


# ---- the network ------------------------------------------------------------------------------

def build_network(weights="imagenet", layer="avg_pool", seed=0):
    """Inception v3 up to a layer, averaged over the picture.

    weights: "imagenet" (downloaded by Keras), "random" (from the seed) or the path of a Keras
    weights file, of the whole network without its top or of the part up to the layer. layer: a
    block (mixed0 ... mixed10) or avg_pool, which is the average of mixed10 and 2048-d.
    Returns (a keras.Model: [n, 299, 299, 3] in [-1, 1] -> [n, size], its fingerprint).
    """
    if weights not in ("imagenet", "random") and not os.path.isfile(weights):
        raise UserError(f"there is no weights file {weights}; --weights takes imagenet, random or "
                        "a file")
    keras = load_tensorflow().keras
    keras.utils.set_random_seed(seed)
    whole = keras.applications.InceptionV3(weights=None, include_top=False,
                                           input_shape=(SIDE, SIDE, 3))
    block = whole.get_layer("mixed10" if layer == "avg_pool" else layer)
    cut = keras.Model(whole.input,
                      keras.layers.GlobalAveragePooling2D(name="bottleneck")(block.output))
    if weights == "random":
        source = f"random-{seed}"
    else:
        path = imagenet_file(keras) if weights == "imagenet" else weights
        load_weights(whole, cut, path)
        source = file_sha256(path)
    fingerprint = {"network": "InceptionV3", "weights": source, "layer": block.name,
                   "preprocessing": PREPROCESSING, "precision": "float32"}
    return cut, fingerprint


def random_before(folder):
    """Whether a cache in this folder was made with random weights."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name.endswith(".json"):
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                    if '"weights": "random-' in file.read():
                        return True
    return False


def imagenet_file(keras):
    """Path of the ImageNet weights, which Keras downloads once and checks."""
    try:
        with contextlib.redirect_stdout(sys.stderr):   # where Keras shows its progress
            return keras.utils.get_file(WEIGHTS_FILE, WEIGHTS_URL, cache_subdir="models",
                                        file_hash=WEIGHTS_MD5)
    except Exception as error:   # Keras raises a bare Exception, or what urllib or the disk raise
        raise UserError(
            f"the ImageNet weights can't be downloaded ({str(error).split(' -- ')[-1]}): fetch "
            f"{WEIGHTS_URL} ({WEIGHTS_BYTES} bytes, md5 {WEIGHTS_MD5}) on a machine with a "
            "network and name it with --weights FILE, or try --weights random, whose figures mean "
            "little") from None


def load_weights(whole, cut, path):
    """Load a weights file of the whole network, or else of its part up to the layer."""
    problems = []
    for model in (whole, cut):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)   # Keras only warns of missing layers
                model.load_weights(path)
            return
        except Exception as error:   # h5py and Keras raise whatever comes up
            problems.append(str(error).strip().split("\n")[0][:120])
    raise UserError(f"{path} holds no weights of InceptionV3 without its top, nor of its part "
                    f"up to --layer ({problems[-1]})")


# ---- pictures ---------------------------------------------------------------------------------

def read_picture(path):
    """A picture file as the network wants it: float32 [299, 299, 3] in [-1, 1].

    Raises ValueError, with the reason, for a file that is missing or can't be decoded.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as picture:
                picture.draft("RGB", (SIDE, SIDE))
                upright = as_rgb(ImageOps.exif_transpose(picture))
                small = upright.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except FileNotFoundError:
        raise ValueError(MISSING) from None
    except Image.UnidentifiedImageError:
        raise ValueError("it is no picture") from None
    except Exception as error:   # Pillow's decoders raise whatever comes up
        raise ValueError(str(error).replace(str(path), "it")[:120] or type(error).__name__) \
            from None
    return np.asarray(small, np.float32) / np.float32(127.5) - np.float32(1)


def as_rgb(picture):
    """A picture in RGB: 16 bits of grey scaled to 8, where Pillow would clip them, and what is
    transparent white, as on a shop's page, where Pillow would show what it hides."""
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")


# ---- the cache --------------------------------------------------------------------------------

class Cache:
    """Bottlenecks of one network on disk, keyed by the SHA-256 of a picture's bytes.

    `<fingerprint>.f32` holds the rows, `<fingerprint>.keys` their keys, 32 bytes each, in the same
    order; both only grow. A key is written after its row is on disk, so whatever is left of a kill
    is a tail without keys, which the next append overwrites. Appends are under a file lock, so
    two processes may share a cache.
    """

    def __init__(self, folder, fingerprint, size):
        os.makedirs(folder, exist_ok=True)
        described = json.dumps({**fingerprint, "size": size}, sort_keys=True)
        self.base = os.path.join(folder, hashlib.sha256(described.encode()).hexdigest()[:16])
        self.size = size
        self.rows = {}
        self.refresh()
        if not os.path.exists(self.base + ".json"):
            with open(self.base + ".json", "w", encoding="utf-8") as file:
                file.write(described + "\n")

    def refresh(self):
        """Read the keys that this process has not seen yet."""
        with contextlib.suppress(FileNotFoundError), open(self.base + ".keys", "rb") as file:
            whole = os.path.getsize(self.base + ".f32") // (4 * self.size)
            file.seek(32 * len(self.rows))
            fresh = file.read(32 * max(0, whole - len(self.rows)))
            for start in range(0, len(fresh) - 31, 32):
                self.rows[fresh[start:start + 32].hex()] = len(self.rows)

    def append(self, keys, rows):
        """Write rows [n, size] under their keys (hex) and wait until they are on disk."""
        with open(self.base + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            fresh = [i for i, key in enumerate(keys)
                     if key not in self.rows and key not in keys[:i]]
            count = len(self.rows)
            write_at(self.base + ".keys", count * 32, b"")   # a key without a row, if there is one
            write_at(self.base + ".f32", count * self.size * 4,
                     np.ascontiguousarray(rows[fresh], np.float32).tobytes())
            write_at(self.base + ".keys", count * 32,
                     b"".join(bytes.fromhex(keys[i]) for i in fresh))
            self.refresh()

    def matrix(self):
        """All rows, memory-mapped, float32 [n, size]."""
        if not self.rows:
            return np.zeros((0, self.size), np.float32)
        return np.memmap(self.base + ".f32", np.float32, "r", shape=(len(self.rows), self.size))


def write_at(path, offset, data):
    with open(path, "r+b" if os.path.exists(path) else "w+b") as file:
        file.seek(offset)
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def compute(model, cache, pictures):
    """Bring pictures into the cache. pictures: {key: path}. Returns {key: reason} of those that
    can't be read. Decoding runs in threads beside the network."""
    todo = [(key, path) for key, path in pictures.items() if key not in cache.rows]
    if not todo:
        return {}
    tensorflow = load_tensorflow()
    forward = tensorflow.function(lambda batch: model(batch, training=False), input_signature=[
        tensorflow.TensorSpec([None, SIDE, SIDE, 3], tensorflow.float32)])
    bad = {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool, \
            progress("bottlenecks", len(todo), "pictures") as bar:
        batches = [todo[start:start + BATCH] for start in range(0, len(todo), BATCH)]
        decoding = [pool.submit(read_batch, batch) for batch in batches[:4]]
        for index in range(len(batches)):
            keys, batch, unreadable = decoding[index].result()
            decoding[index] = None
            if index + 4 < len(batches):
                decoding.append(pool.submit(read_batch, batches[index + 4]))
            bad.update(unreadable)
            if keys:
                cache.append(keys, forward(batch).numpy())
            bar.update(len(batches[index]))
    missing = [key for key, reason in bad.items() if reason == MISSING]
    for key in [key for key in bad if bad[key] != MISSING] + missing[:3]:
        log(f"{pictures[key]} can't be read ({bad[key]}); left out")
    if missing[3:]:
        log(f"{len(missing) - 3} more pictures are missing there")
    return bad


def read_batch(batch):
    """(keys, float32 [n, 299, 299, 3], {key: reason of those that can't be read})."""
    keys, images, bad = [], [], {}
    for key, path in batch:
        try:
            images.append(read_picture(path))
            keys.append(key)
        except ValueError as error:
            bad[key] = str(error)
    return keys, np.stack(images) if images else None, bad
