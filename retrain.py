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
import json
import os
import re
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from common import interrupts

if __name__ == "__main__":
    interrupts.quiet_until_run()

import numpy as np
from numpy.typing import NDArray

from common.arguments import seed
from common.files import free_space, replacing
from common.terminal import Parser, UserError, log, run, say
from learning import (
    bottlenecks,
    cluster,
    cluster_arguments,
    inception,
    layers,
    metrics,
    picture_arguments,
    precision,
    shards,
    training,
)
from learning.bottleneck_cache import open_cache
from learning.distorted_bottlenecks import DistortionOptions, distorted_bottlenecks
from learning.picture_folders import (
    LabelledPictures,
    find_pictures,
    only_readable,
    split_pictures,
    warn_of_twins,
)
from learning.saved_networks import LABELS, load_network
from learning.tensorflow_loader import load_tensorflow

# ---- training: what is checked first ------------------------------------------------------------


def check_outputs(args: argparse.Namespace) -> None:
    """Raise UserError, before any work, if the result could not be saved after it."""
    if not args.output_graph.endswith(".keras"):
        raise UserError("--output_graph must end in .keras, the only format Keras saves and loads")
    if not re.fullmatch(r"[A-Za-z]\w*", args.final_tensor_name):
        raise UserError("--final_tensor_name must be one word of letters, digits and _")
    if not (args.testing_percentage and args.validation_percentage):
        raise UserError("--testing_percentage and --validation_percentage must be 1 or more")
    if not 1980 <= time.localtime().tm_year <= 2107:  # the years that a zip file can hold
        raise UserError(
            f"this computer's clock says that it is the year {time.localtime().tm_year}, and a "
            ".keras file can't hold that: set the clock"
        )
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
        tempfile.TemporaryFile(dir=folder).close()  # root may write anywhere, but not in /proc
    except OSError:
        return False
    return True


def check_graph_space(path: str, network: Any) -> None:
    """Raise UserError, before the long work, if the disk has no room for the network."""
    need, free = 4 * network.count_params(), free_space(path)
    if need > free:
        raise UserError(
            f"{path} takes {need / 1e6:.0f} MB and there is room for "
            f"{free / 1e6:.0f}: make room, or name another --output_graph"
        )


# ---- training: its results ----------------------------------------------------------------------


@contextlib.contextmanager
def summaries(folder: str) -> Iterator[Callable[[int, float, float, float], None]]:
    """A function (step, training loss, validation loss, validation accuracy) that writes them where
    TensorBoard finds them: folder/<time>/train and folder/<time>/validation."""
    tf = load_tensorflow()
    # What tf.summary.scalar writes. That function needs TensorBoard itself; here only the reader
    # has to have it.
    scalar = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    )
    folder = os.path.join(folder, time.strftime("%Y-%m-%d-%H%M%S"))
    with contextlib.ExitStack() as stack:
        writers = {}
        for name in ("train", "validation"):
            try:
                writers[name] = tf.summary.create_file_writer(os.path.join(folder, name))
            except tf.errors.OpError:  # its words are of C++; as a rule the disk is full
                raise UserError(
                    f"the curves of training can't be written to {folder}: make room, "
                    "or name another --summaries_dir"
                ) from None
            stack.callback(writers[name].close)

        def write(step: int, training_loss: float, loss: float, accuracy: float) -> None:
            for name, tag, value in (
                ("train", "cross_entropy", training_loss),
                ("validation", "cross_entropy", loss),
                ("validation", "accuracy", accuracy),
            ):
                with writers[name].as_default():
                    tf.summary.write(tag, tf.constant(value, tf.float32), step, scalar)

        yield write


def save_network(
    network: Any, trained: training.Trained, labels: list[str], args: argparse.Namespace
) -> None:
    """Write the network with its softmax, and the labels, each whole or not at all."""
    keras = load_tensorflow().keras
    final = keras.layers.Dense(len(labels), activation="softmax", name=args.final_tensor_name)
    whole = keras.Model(network.input, final(network.output))
    final.set_weights(
        [
            trained.weights["kernel"] / trained.temperature,
            trained.weights["bias"] / trained.temperature,
        ]
    )
    for path in (args.output_graph, args.output_labels):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with replacing(args.output_graph, ending="keras") as beside:  # no other will Keras write
        whole.save(beside)
        with zipfile.ZipFile(beside, "a") as archive:
            archive.writestr(LABELS, json.dumps(labels))
    with (
        replacing(args.output_labels) as beside,
        open(beside, "w", encoding="utf-8", errors="surrogateescape") as file,
    ):  # a folder's name may be any bytes
        file.write("".join(f"{label}\n" for label in labels))


def report(args: argparse.Namespace, labelled: LabelledPictures, predicted: NDArray[Any]) -> None:
    """Print the test accuracy, and with the flag the test pictures whose label was not predicted.
    predicted are the labels of the test pictures."""
    truth = labelled.labels[labelled.test]
    if args.print_misclassified_test_images:
        say("=== MISCLASSIFIED TEST IMAGES ===")
        for row, label in zip(labelled.test, predicted):
            if label != labelled.labels[row]:
                say(f"{labelled.pictures[row].path:>70s}  {labelled.names[label]}")
    say(f"Final test accuracy = {100 * metrics.accuracy(predicted == truth):.1f}% (N={len(truth)})")


def retrain(args: argparse.Namespace) -> None:
    """Train on the pictures of --image_dir, save the network, print its test accuracy."""
    check_outputs(args)
    asked_cluster = cluster_arguments.options(args)
    inception.check_weights(args.weights, args.layer)
    shares = args.testing_percentage / 100, args.validation_percentage / 100
    labelled = split_pictures(find_pictures(args.image_dir), *shares)  # before the long work
    weights = args.weights or "imagenet"
    network, fingerprint = inception.build_network(weights, args.layer, args.seed, args.precision)
    args.precision = precision.settled(args.precision, args.layer, args.bottleneck_dir, network)
    fingerprint["precision"] = args.precision
    if args.final_tensor_name in {layer.name for layer in network.layers}:
        raise UserError(f"--final_tensor_name {args.final_tensor_name} is another layer's name")
    check_graph_space(args.output_graph, network)
    cache = open_cache(args.bottleneck_dir, fingerprint, network.output_shape[1], args.cache_dtype)
    recipe = shards.recipe(cache, fingerprint, weights, args.seed, args.layer)
    shards.adopt_all(cache, recipe)
    bottlenecks.compute(
        network,
        args.precision,
        cache,
        lambda: ((picture.sha256, picture.path) for picture in labelled.pictures),
        cluster.filler(asked_cluster, recipe),
    )
    rows = cache.find([picture.sha256 for picture in labelled.pictures])
    readable = only_readable(labelled.pictures, rows >= 0)
    if not readable:
        raise UserError(f"none of the files in {args.image_dir} is a picture that can be read")
    if len(readable) < len(labelled.pictures):
        labelled = split_pictures(readable, *shares)
    warn_of_twins(labelled.pictures)
    rows = cache.find([picture.sha256 for picture in labelled.pictures])
    inputs = layers.Inputs(bottlenecks=cache.matrix(), rows=rows)
    distorted = None
    distortions = picture_arguments.distortions_asked(args)
    if any(distortions):
        options = DistortionOptions(
            distortions,
            args.bottleneck_dir,
            args.cache_dtype,
            args.precision,
            args.seed,
            args.how_many_training_steps,
            args.train_batch_size,
        )
        distorted = distorted_bottlenecks(
            options, labelled.pictures, labelled.training, network, fingerprint
        )
    with summaries(args.summaries_dir) as watch:
        trained = training.train(
            inputs,
            labelled.labels,
            len(labelled.names),
            labelled.training,
            labelled.validation,
            picture_arguments.training_options(args),
            pictures=distorted,
            watch=watch,
        )
    predicted = layers.likeliest_classes(trained.weights, inputs, labelled.test)
    save_network(network, trained, labelled.names, args)
    log(f"saved as {args.output_graph}; ask it with --label_image FILE")
    report(args, labelled, predicted)


# ---- asking -------------------------------------------------------------------------------------


def label_images(paths: Sequence[str], graph_path: str) -> bool:
    """Print the five best labels of each picture. Returns whether all could be read."""
    model, labels = load_network(graph_path)
    all_read = True
    for path in paths:
        try:
            if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
                raise ValueError("no file")  # a pipe would block
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Pillow, about what is odd but readable
                pixels = bottlenecks.read_picture(path)
        except ValueError as error:
            log(f"{path} can't be read ({error})")
            all_read = False
            continue
        scores = model.predict_on_batch(inception.network_input(pixels)[None])[0]
        say(path)
        for label in np.argsort(-scores, kind="stable")[:5]:
            say(f"  {scores[label]:.4f}  {labels[label]}")
    return all_read


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        description=(__doc__ or "").split("\n\n")[0],
        usage="retrain.py --image_dir DIR [flags]\n       retrain.py --label_image FILE [FILE ...]",
    )
    picture_arguments.addargs(parser, alone=True)
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        metavar="N",
        help="start number of the random generator (default: 0)",
    )
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
