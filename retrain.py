"""A picture classifier of your own: trained on folders of pictures, then asked about others.

In: a folder with a folder of pictures for each label. Out: retrain_out/output_graph.keras, a
network from pictures (299x299 RGB in [-1, 1]) to the labels' probabilities, which holds the labels
too; and output_labels.txt for other programs.
categorize_images.py and categorize_both.py take the same flags and use the same split.

    python retrain.py --image_dir flower_photos
    python retrain.py --label_image photo.jpg
"""
from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import os
import re
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.arguments import seed
from common.files import file_sha256, free_space, replacing
from common.terminal import Parser, UserError, first_few, grouped, log, run
from learning import bottlenecks, inception, metrics, picture_arguments, training
from learning.split import check_splits, split_position, splits
from learning.tensorflow_loader import load_tensorflow

LABELS = "labels.json"   # in the .keras file, which is a zip, beside what Keras keeps there


class Picture(NamedTuple):
    path: str
    label: str    # the name of its folder, unaltered
    sha256: str   # of the file's bytes


class LabelledPictures(NamedTuple):
    """Pictures that can be trained on, and how they are split."""
    pictures: list[Picture]      # n of them
    names: list[str]             # of the labels, sorted
    labels: NDArray[np.int32]    # [n], positions in names
    training: NDArray[Any]       # positions in pictures, as are the next two
    validation: NDArray[Any]
    test: NDArray[Any]


# ---- training: what is checked first ------------------------------------------------------------

def check_outputs(args: argparse.Namespace) -> None:
    """Raise UserError, before any work, if the result could not be saved after it."""
    if not args.output_graph.endswith(".keras"):
        raise UserError("--output_graph must end in .keras, the only format Keras saves and loads")
    if not re.fullmatch(r"[A-Za-z]\w*", args.final_tensor_name):
        raise UserError("--final_tensor_name must be one word of letters, digits and _")
    if not (args.testing_percentage and args.validation_percentage):
        raise UserError("--testing_percentage and --validation_percentage must be 1 or more")
    graph, labels = map(os.path.realpath, (args.output_graph, args.output_labels))
    if graph == labels or labels.startswith(os.path.realpath(args.image_dir or "?") + os.sep):
        raise UserError("--output_labels must name a file of its own, outside --image_dir")
    for path in (args.output_graph, args.output_labels):
        if os.path.isdir(path) or not can_write_in(os.path.dirname(path)):
            raise UserError(f"{path} can't be written: name another")
    if not can_write_in(args.summaries_dir):
        raise UserError(f"{args.summaries_dir} can't be written: name another")


def can_write_in(folder: str) -> bool:
    """Whether files can be written in a folder, or in the nearest one above it that exists."""
    folder = os.path.abspath(folder)
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    try:
        tempfile.TemporaryFile(dir=folder).close()   # root may write anywhere, but not in /proc
    except OSError:
        return False
    return True


def check_graph_space(path: str, network: Any) -> None:
    """Raise UserError, before the long work, if the disk has no room for the network."""
    need, free = 4 * network.count_params(), free_space(path)
    if need > free:
        raise UserError(f"{path} takes {need / 1e6:.0f} MB and there is room for "
                        f"{free / 1e6:.0f}: make room, or name another --output_graph")


# ---- training: the pictures ---------------------------------------------------------------------

def find_pictures(folder: str) -> list[Picture]:
    """The pictures of a folder of folders, sorted by label and name. Files that can't be read are
    named on stderr. Raises UserError if there are none."""
    if not folder or not os.path.isdir(folder):
        nowhere = f"; there is none at {folder}" if folder else ""
        raise UserError("--image_dir must name a folder with a folder of pictures for each label"
                        f"{nowhere}")
    pictures: list[Picture] = []
    empty = []
    with grouped(unreadable) as tell:
        for label in sorted(os.listdir(folder)):
            label_folder = os.path.join(folder, label)
            if label.startswith(".") or not os.path.isdir(label_folder):
                continue
            if "\n" in label or "\r" in label:
                raise UserError(f"the folder {label!r} has a line break in its name: rename it")
            of_label = []
            for path in picture_paths(label_folder):
                try:
                    of_label.append(Picture(path, label, file_sha256(path)))
                except OSError as error:
                    tell(str(error.strerror), path)
            pictures += of_label
            if not of_label:
                empty.append(label_folder)
    if not pictures:
        raise UserError(f"{folder} has no folders with pictures in them")
    if empty:
        log(f"warning: there are no pictures in {first_few(empty)}: left out")
    return pictures


def picture_paths(folder: str) -> Iterator[str]:
    """The files of a folder, sorted, without hidden ones. Links count even if they lead nowhere, so
    that they are reported."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if not name.startswith(".") and (os.path.isfile(path) or os.path.islink(path)):
            yield path


def unreadable(count: int, names: str, reason: str) -> str:
    if count == 1:
        return f"{names} can't be read ({reason}); left out"
    return f"{count} files can't be read ({reason}); left out: {names}"


def warn_of_twins(pictures: Sequence[Picture]) -> None:
    """Warn if a picture has two labels: the same bytes in two folders."""
    first: dict[str, Picture] = {}
    twins = []
    for picture in pictures:
        earlier = first.setdefault(picture.sha256, picture)
        if earlier.label != picture.label:
            twins.append((picture.path, earlier.path))
    if twins:
        log(f"warning: {len(twins)} files are the same picture under two labels, such as "
            f"{twins[0][0]} and {twins[0][1]}")


def split(pictures: list[Picture], testing: float, validation: float) -> LabelledPictures:
    """Split pictures by their content; testing and validation are shares. Raises UserError, with
    the counts, if a label has too few."""
    names = sorted({picture.label for picture in pictures})
    labels = np.array([names.index(picture.label) for picture in pictures], np.int32)
    positions = [split_position(picture.sha256) for picture in pictures]
    parts = splits(positions, None, testing, validation)[0]
    check_splits([[labels[rows] for rows in parts]], names)
    return LabelledPictures(pictures, names, labels, *parts)


def without_unread(labelled: LabelledPictures, cache: bottlenecks.Cache, args: argparse.Namespace
                   ) -> LabelledPictures:
    """The pictures that the cache has bottlenecks for, split anew. Warns of labels that are lost.
    Raises UserError if none is left."""
    readable = [picture for picture in labelled.pictures if picture.sha256 in cache.rows]
    if not readable:
        raise UserError(f"none of the files in {args.image_dir} is a picture that can be read")
    unread = len(labelled.pictures) - len(readable)
    if not unread:
        return labelled
    log(f"{unread} of {len(labelled.pictures)} files are left out")
    lost = sorted(set(labelled.names) - {picture.label for picture in readable})
    if lost:
        log(f"warning: no picture of {first_few(lost)} can be read: left out")
    return split(readable, args.testing_percentage / 100, args.validation_percentage / 100)


# ---- training: distortions ----------------------------------------------------------------------

def variant(sha256: str, epoch: int, seed: int) -> str:
    """The key of a picture as chance distorts it in an epoch, from which that chance is drawn too.
    It depends only on the picture's content, the epoch and the seed."""
    return hashlib.sha256(f"{sha256} {epoch} {seed}".encode()).hexdigest()


def distorted_bottlenecks(args: argparse.Namespace, labelled: LabelledPictures, network: Any,
                          fingerprint: dict[str, Any]) -> Callable[[Any, int], NDArray[Any]]:
    """A function (rows of pictures, epoch) -> bottlenecks [n, size] of these pictures as chance
    distorts them in that epoch.

    They have a cache of their own, so that an interrupted run goes on where it was. Logs what the
    training will cost. Raises UserError if the disk has no room for it.
    """
    settings = picture_arguments.distortions_asked(args)
    cache = bottlenecks.Cache(args.bottleneck_dir, {**fingerprint, **settings._asdict(),
                                                    "seed": args.seed},
                              network.output_shape[1], args.cache_dtype)
    cache.drop_damaged(list(cache.rows))
    forward = inception.make_forward(network, args.precision)
    keys = [labelled.pictures[row].sha256 for row in labelled.training]
    log_cost(args, cache, bottlenecks.measure_rate(forward), keys)

    def read(key: str, path: str) -> NDArray[Any]:
        return bottlenecks.read_picture(path, settings, np.random.default_rng(int(key, 16)))

    def bottlenecks_in(rows: Any, epoch: int) -> NDArray[Any]:
        keys = [variant(labelled.pictures[row].sha256, epoch, args.seed) for row in rows]
        missing = {}
        for key, row in zip(keys, rows):
            if key not in cache.rows:
                missing[key] = labelled.pictures[row].path
        for key, reason in bottlenecks.fill(cache, missing, forward, read).items():
            raise UserError(f"{missing[key]} could be read before and can't now ({reason})")
        return cache.matrix()[[cache.rows[key] for key in keys]]

    return bottlenecks_in


def log_cost(args: argparse.Namespace, cache: bottlenecks.Cache, per_second: float,
             keys: Sequence[str]) -> None:
    """Log what training on distortions of these pictures will cost at so many pictures a second.
    Raises UserError if the disk has no room for it."""
    steps, batch = args.how_many_training_steps, min(args.train_batch_size, len(keys))
    epochs = math.ceil(steps / math.ceil(len(keys) / batch))
    cached = 0
    for epoch in range(epochs):   # they were computed in this order
        cached_of_epoch = sum(variant(key, epoch, args.seed) in cache.rows for key in keys)
        if not cached_of_epoch:
            break
        cached += cached_of_epoch
    left = max(0, steps * batch - cached)
    log(f"distortions: each step looks at {batch} pictures anew, at most {steps * batch} in "
        f"{steps} steps, of which {steps * batch - left} are in {args.bottleneck_dir} already; the "
        f"others take up to {math.ceil(left / per_second / 60)} min at {per_second:.0f} pictures/s "
        f"and {left * cache.row_bytes / 1e9:.2f} GB there; stopped, the same command goes on")
    cache.check_space(left)


# ---- training: its results ----------------------------------------------------------------------

@contextlib.contextmanager
def summaries(folder: str) -> Iterator[Callable[[int, float, float, float], None]]:
    """A function (step, training loss, validation loss, validation accuracy) that writes them where
    TensorBoard finds them: folder/<time>/train and folder/<time>/validation."""
    tf = load_tensorflow()
    # What tf.summary.scalar writes. That function needs TensorBoard itself; here only the reader
    # has to have it.
    scalar = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"))
    folder = os.path.join(folder, time.strftime("%Y-%m-%d-%H%M%S"))
    with contextlib.ExitStack() as stack:
        writers = {}
        for name in ("train", "validation"):
            try:
                writers[name] = tf.summary.create_file_writer(os.path.join(folder, name))
            except tf.errors.OpError:   # its words are of C++; as a rule the disk is full
                raise UserError(f"the curves of training can't be written to {folder}: make room, "
                                "or name another --summaries_dir") from None
            stack.callback(writers[name].close)

        def write(step: int, training_loss: float, loss: float, accuracy: float) -> None:
            for name, tag, value in (("train", "cross_entropy", training_loss),
                                     ("validation", "cross_entropy", loss),
                                     ("validation", "accuracy", accuracy)):
                with writers[name].as_default():
                    tf.summary.write(tag, tf.constant(value, tf.float32), step, scalar)

        yield write


def save_network(network: Any, trained: training.Trained, labels: list[str],
                 args: argparse.Namespace) -> None:
    """Write the network with its softmax, and the labels, each whole or not at all."""
    keras = load_tensorflow().keras
    final = keras.layers.Dense(len(labels), activation="softmax", name=args.final_tensor_name)
    whole = keras.Model(network.input, final(network.output))
    final.set_weights([trained.weights["kernel"] / trained.temperature,
                       trained.weights["bias"] / trained.temperature])
    for path in (args.output_graph, args.output_labels):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with replacing(args.output_graph, f"{args.output_graph}.{os.getpid()}.keras") as beside:
        whole.save(beside)
        with zipfile.ZipFile(beside, "a") as archive:
            archive.writestr(LABELS, json.dumps(labels))
    with replacing(args.output_labels) as beside, \
            open(beside, "w", encoding="utf-8",
                 errors="surrogateescape") as file:   # a folder's name may be any bytes
        file.write("".join(f"{label}\n" for label in labels))


def report(args: argparse.Namespace, labelled: LabelledPictures, predicted: NDArray[Any]) -> None:
    """Print the test accuracy, and with the flag the test pictures whose label was not predicted.
    predicted are the labels of the test pictures."""
    truth = labelled.labels[labelled.test]
    if args.print_misclassified_test_images:
        print("=== MISCLASSIFIED TEST IMAGES ===")
        for row, label in zip(labelled.test, predicted):
            if label != labelled.labels[row]:
                print(f"{labelled.pictures[row].path:>70s}  {labelled.names[label]}")
    print(f"Final test accuracy = {100 * metrics.accuracy(predicted == truth):.1f}% "
          f"(N={len(truth)})")


def retrain(args: argparse.Namespace) -> None:
    """Train on the pictures of --image_dir, save the network, print its test accuracy."""
    check_outputs(args)
    inception.check_weights(args.weights, args.layer)
    labelled = split(find_pictures(args.image_dir), args.testing_percentage / 100,
                     args.validation_percentage / 100)
    network, fingerprint = inception.build_network(args.weights or "imagenet", args.layer,
                                                   args.seed, args.precision)
    if args.final_tensor_name in {layer.name for layer in network.layers}:
        raise UserError(f"--final_tensor_name {args.final_tensor_name} is another layer's name")
    check_graph_space(args.output_graph, network)
    cache = bottlenecks.Cache(args.bottleneck_dir, fingerprint, network.output_shape[1],
                              args.cache_dtype)
    bottlenecks.compute(network, args.precision, cache,
                        {picture.sha256: picture.path for picture in labelled.pictures})
    labelled = without_unread(labelled, cache, args)
    warn_of_twins(labelled.pictures)
    rows = np.array([cache.rows[picture.sha256] for picture in labelled.pictures])
    inputs = training.Inputs(bottlenecks=cache.matrix(), rows=rows)
    distorted = None
    if any(picture_arguments.distortions_asked(args)):
        distorted = distorted_bottlenecks(args, labelled, network, fingerprint)
    with summaries(args.summaries_dir) as watch:
        trained = training.train(inputs, labelled.labels, len(labelled.names), labelled.training,
                                 labelled.validation, picture_arguments.training_options(args),
                                 pictures=distorted, watch=watch)
    predicted = training.logits(trained.weights, inputs, labelled.test).argmax(axis=1)
    save_network(network, trained, labelled.names, args)
    log(f"saved as {args.output_graph}; ask it with --label_image FILE")
    report(args, labelled, predicted)


# ---- asking -------------------------------------------------------------------------------------

def load_network(path: str) -> tuple[Any, list[str]]:
    """(keras.Model, labels) as save_network wrote them. Raises UserError if they are not there."""
    if not os.path.isfile(path):
        raise UserError(f"there is no {path}: train a network first with --image_dir, or name "
                        "another with --output_graph")
    try:
        with zipfile.ZipFile(path) as archive:
            labels = json.loads(archive.read(LABELS))
        model = load_tensorflow().keras.models.load_model(path, compile=False)
        shapes = model.input_shape[1:], model.output_shape[1:]
        if shapes != ((inception.SIDE, inception.SIDE, 3), (len(labels),)):
            raise ValueError(f"a network of other shapes: {shapes}")
    except Exception:   # Keras raises anything, "File not found" for a file cut short
        raise UserError(f"{path} is no network that retrain.py has saved, or it is damaged: train "
                        "again with --image_dir") from None
    return model, labels


def label_images(paths: Sequence[str], graph_path: str) -> bool:
    """Print the five best labels of each picture. Returns whether all could be read."""
    model, labels = load_network(graph_path)
    all_read = True
    for path in paths:
        try:
            if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
                raise ValueError("no file")   # a pipe would block
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")   # of Pillow, about what is odd but readable
                pixels = bottlenecks.read_picture(path)
        except ValueError as error:
            log(f"{path} can't be read ({error})")
            all_read = False
            continue
        scores = model.predict_on_batch(inception.network_input(pixels)[None])[0]
        print(path)
        for label in np.argsort(-scores, kind="stable")[:5]:
            print(f"  {scores[label]:.4f}  {labels[label]}")
    return all_read


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        description=(__doc__ or "").split("\n\n")[0],
        usage="retrain.py --image_dir DIR [flags]\n       retrain.py --label_image FILE [FILE ...]")
    picture_arguments.addargs(parser, alone=True)
    parser.add_argument("--seed", type=seed, default=0, metavar="N",
                        help="of everything random (default: 0)")
    args = parser.parse_args(argv)
    picture_arguments.check_arguments(args)
    if args.image_dir or not args.label_image:
        retrain(args)
    all_read = True
    if args.label_image:
        all_read = label_images(args.label_image, args.output_graph)
    return 0 if all_read else 1


if __name__ == "__main__":
    raise SystemExit(run(main))
