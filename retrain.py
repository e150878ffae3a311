"""A picture classifier of your own: trained on folders of pictures, then asked about others.

In: a folder with a folder of pictures for each label. Out: retrain_out/output_graph.keras, a
network from pictures (299x299 RGB in [-1, 1]) to the labels' probabilities which knows the labels
too, and output_labels.txt for other programs.
The split and the flags are those of categorize_images.py and categorize_both.py too.

    python retrain.py --image_dir flower_photos
    python retrain.py --label_image photo.jpg
"""
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

import numpy as np

from common.arguments import seed
from common.files import file_sha256, free_space, replacing
from common.terminal import Parser, UserError, first_few, grouped, log, run
from learning import bottlenecks, inception, metrics, picture_arguments, training
from learning.split import check_splits, split_position, splits

LABELS = "labels.json"   # in the .keras, which is a zip, beside what Keras keeps there


# ---- by itself: training ------------------------------------------------------------------------

def check_outputs(args):
    """Refuse, before any work, what could not be saved after it."""
    if not args.output_graph.endswith(".keras"):
        raise UserError("--output_graph must end in .keras, the only format Keras saves and loads")
    if not re.fullmatch(r"[A-Za-z]\w*", args.final_tensor_name):
        raise UserError("--final_tensor_name must be one word of letters, digits and _")
    if not (args.testing_percentage and args.validation_percentage):
        raise UserError("--testing_percentage and --validation_percentage must be 1 or more")
    graph, labels = map(os.path.realpath, (args.output_graph, args.output_labels))
    if graph == labels or labels.startswith(os.path.realpath(args.image_dir or "?") + os.sep):
        raise UserError("--output_labels must name a file of its own, outside --image_dir")
    for path, folder in ((args.output_graph, os.path.dirname(args.output_graph)),
                         (args.output_labels, os.path.dirname(args.output_labels)),
                         (None, args.summaries_dir)):
        folder = os.path.abspath(folder)
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        try:
            if path and os.path.isdir(path):
                raise IsADirectoryError
            tempfile.TemporaryFile(dir=folder).close()   # root may write anywhere, but not in /proc
        except OSError:
            raise UserError(f"{path or args.summaries_dir} can't be written: name "
                            "another") from None


def check_room(path, network):
    """Raise UserError, before the long work, where the disk has no room for the network."""
    need, free = 4 * network.count_params(), free_space(path)
    if need > free:
        raise UserError(f"{path} takes {need / 1e6:.0f} MB and there is room for "
                        f"{free / 1e6:.0f}: make room, or name another --output_graph")


def find_pictures(folder):
    """[(path, label, SHA-256)] of a folder of folders, sorted; labels are the folders' names
    unaltered. Files that can't be read are named on stderr."""
    if not folder or not os.path.isdir(folder):
        raise UserError(f"--image_dir must name a folder with a folder of pictures for each label"
                        f"{f'; there is none at {folder}' if folder else ''}")
    found, empty, unread = [], [], []
    for label in sorted(os.listdir(folder)):
        if label.startswith(".") or not os.path.isdir(os.path.join(folder, label)):
            continue
        if "\n" in label or "\r" in label:
            raise UserError(f"the folder {label!r} has a line break in its name: rename it")
        before = len(found)
        for name in sorted(os.listdir(os.path.join(folder, label))):
            path = os.path.join(folder, label, name)
            if name.startswith(".") or not (os.path.isfile(path) or os.path.islink(path)):
                continue
            try:
                found.append((path, label, file_sha256(path)))
            except OSError as error:
                unread.append((error.strerror, path))
        if len(found) == before:
            empty.append(os.path.join(folder, label))
    with grouped(lambda count, names, reason: f"{names} can't be read ({reason}); left out"
                 if count == 1 else
                 f"{count} files can't be read ({reason}); left out: {names}") as tell:
        for reason, path in unread:
            tell(reason, path)
    if not found:
        raise UserError(f"{folder} has no folders with pictures in them")
    if empty:
        log(f"warning: there are no pictures in {first_few(empty)}: left out")
    return found


def tell_twins(found):
    """Say where pictures [(path, label, key)] are the same under two labels."""
    first = {}
    twice = [(path, first[key][0]) for path, label, key in found
             if first.setdefault(key, (path, label))[1] != label]
    if twice:
        log(f"warning: {len(twice)} files are the same picture under two labels, such as "
            f"{twice[0][0]} and {twice[0][1]}")


def parted(found, args):
    """(names, labels [n], (training, validation, test rows)) of [(path, label, key)]. Raises
    UserError, with the counts, where they can't be used."""
    names = sorted({label for _, label, _ in found})
    labels = np.array([names.index(label) for _, label, _ in found], np.int32)
    parts = splits([split_position(key) for _, _, key in found], None,
                   args.testing_percentage / 100, args.validation_percentage / 100)[0]
    check_splits([[labels[rows] for rows in parts]], names)
    return names, labels, parts


def variant(key, epoch, seed):
    """The key of a picture as chance distorts it in an epoch, and what that chance is drawn from:
    it hangs on the picture's content, the epoch and the seed alone."""
    return hashlib.sha256(f"{key} {epoch} {seed}".encode()).hexdigest()


def distorted_bottlenecks(args, found, network, fingerprint, examples):
    """A function (rows of found, epoch) -> bottlenecks [n, size] of these pictures as chance
    distorts them in that epoch; examples are the rows to train on.

    They have a cache of their own, in which an interrupted run finds what it had. Says what it will
    cost. Raises UserError where the disk has no room for it.
    """
    settings = picture_arguments.distortions_asked(args)
    cache = bottlenecks.Cache(args.bottleneck_dir, {**fingerprint, **settings._asdict(),
                                                    "seed": args.seed},
                              network.output_shape[1], args.cache_dtype)
    cache.drop_damaged(list(cache.rows))
    forward = inception.make_forward(network, args.precision)
    steps, batch = args.how_many_training_steps, min(args.train_batch_size, len(examples))
    epochs = math.ceil(steps / math.ceil(len(examples) / batch))
    there = 0
    for epoch in range(epochs):   # they were computed in this order
        here = sum(variant(found[row][2], epoch, args.seed) in cache.rows for row in examples)
        there += here
        if not here:
            break
    left = max(0, steps * batch - there)
    rate = bottlenecks.measure_rate(forward)
    log(f"distortions: each step looks at {batch} pictures anew, at most {steps * batch} in "
        f"{steps} steps, of which {steps * batch - left} are in {args.bottleneck_dir} already; the "
        f"others take up to {math.ceil(left / rate / 60)} min at {rate:.0f} pictures/s and "
        f"{left * cache.row_bytes / 1e9:.2f} GB there; stopped, the same command goes on")
    cache.check_space(left)

    def read(key, path):
        return bottlenecks.read_picture(path, settings, np.random.default_rng(int(key, 16)))

    def pictures(rows, epoch):
        keys = [variant(found[row][2], epoch, args.seed) for row in rows]
        todo = {key: found[row][0] for key, row in zip(keys, rows) if key not in cache.rows}
        for key, reason in bottlenecks.fill(cache, todo, forward, read).items():
            raise UserError(f"{todo[key]} could be read before and can't now ({reason})")
        return cache.matrix()[[cache.rows[key] for key in keys]]

    return pictures


@contextlib.contextmanager
def summaries(folder):
    """A function (step, training loss, validation loss, validation accuracy) that writes them where
    TensorBoard finds them: folder/<time>/train and folder/<time>/validation."""
    tf = inception.load_tensorflow()
    # What tf.summary.scalar writes; it needs TensorBoard itself, which only the reader has to have.
    scalar = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"))
    folder = os.path.join(folder, time.strftime("%Y-%m-%d-%H%M%S"))
    with contextlib.ExitStack() as stack:
        writers = {}
        for name in ("train", "validation"):
            try:
                writers[name] = tf.summary.create_file_writer(os.path.join(folder, name))
            except tf.errors.OpError:   # its words are of C++; the disk is full, as a rule
                raise UserError(f"the curves of training can't be written to {folder}: make room, "
                                "or name another --summaries_dir") from None
            stack.callback(writers[name].close)

        def write(step, training_loss, loss, accuracy):
            for name, tag, value in (("train", "cross_entropy", training_loss),
                                     ("validation", "cross_entropy", loss),
                                     ("validation", "accuracy", accuracy)):
                with writers[name].as_default():
                    tf.summary.write(tag, tf.constant(value, tf.float32), step, scalar)

        yield write


def save_network(network, trained, labels, args):
    """Write the network with its softmax, and the labels, each whole or not at all."""
    keras = inception.load_tensorflow().keras
    final = keras.layers.Dense(len(labels), activation="softmax", name=args.final_tensor_name)
    whole = keras.Model(network.input, final(network.output))
    final.set_weights([trained.weights["kernel"] / trained.temperature,
                       trained.weights["bias"] / trained.temperature])
    for path in (args.output_graph, args.output_labels):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with replacing(args.output_graph, f"{args.output_graph}.{os.getpid()}.keras") as beside:
        whole.save(beside)
        with zipfile.ZipFile(beside, "a") as file:
            file.writestr(LABELS, json.dumps(labels))
    with replacing(args.output_labels) as beside, \
            open(beside, "w", encoding="utf-8",
                 errors="surrogateescape") as file:   # a folder's name may be any bytes
        file.write("".join(f"{label}\n" for label in labels))


def retrain(args):
    """Train on the pictures of args.image_dir, save the network, print its test accuracy."""
    check_outputs(args)
    inception.check_weights(args.weights, args.layer)
    found = find_pictures(args.image_dir)
    names, labels, parts = parted(found, args)   # before the long work
    network, fingerprint = inception.build_network(args.weights or "imagenet", args.layer,
                                                   args.seed, args.precision)
    if args.final_tensor_name in {layer.name for layer in network.layers}:
        raise UserError(f"--final_tensor_name {args.final_tensor_name} is another layer's name")
    check_room(args.output_graph, network)
    cache = bottlenecks.Cache(args.bottleneck_dir, fingerprint, network.output_shape[1],
                              args.cache_dtype)
    bottlenecks.compute(network, args.precision, cache, {key: path for path, _, key in found})
    readable = [one for one in found if one[2] in cache.rows]
    if not readable:
        raise UserError(f"none of the files in {args.image_dir} is a picture that can be read")
    if len(readable) < len(found):
        log(f"{len(found) - len(readable)} of {len(found)} files are left out")
        if lost := sorted(set(names) - {label for _, label, _ in readable}):
            log(f"warning: no picture of {first_few(lost)} can be read: left out")
        found = readable
        names, labels, parts = parted(found, args)
    tell_twins(found)
    rows, validation, test = parts
    inputs = training.Inputs(bottlenecks=cache.matrix(),
                             rows=np.array([cache.rows[key] for _, _, key in found]))
    pictures = None
    if any(picture_arguments.distortions_asked(args)):
        pictures = distorted_bottlenecks(args, found, network, fingerprint, rows)
    with summaries(args.summaries_dir) as watch:
        trained = training.train(inputs, labels, len(names), rows, validation,
                                 picture_arguments.training_options(args), pictures=pictures,
                                 watch=watch)
    guess = training.logits(trained.weights, inputs, test).argmax(axis=1)
    save_network(network, trained, names, args)
    log(f"saved as {args.output_graph}; ask it with --label_image FILE")
    if args.print_misclassified_test_images:
        print("=== MISCLASSIFIED TEST IMAGES ===")
        for row, label in zip(test, guess):
            if label != labels[row]:
                print(f"{found[row][0]:>70s}  {names[label]}")
    print(f"Final test accuracy = {100 * metrics.accuracy(guess == labels[test]):.1f}% "
          f"(N={len(test)})")


# ---- by itself: asking --------------------------------------------------------------------------

def load_network(args):
    """(keras.Model, labels) as save_network wrote them. Raises UserError where they are not."""
    if not os.path.isfile(args.output_graph):
        raise UserError(f"there is no {args.output_graph}: train a network first with --image_dir, "
                        "or name another with --output_graph")
    try:
        with zipfile.ZipFile(args.output_graph) as file:
            labels = json.loads(file.read(LABELS))
        model = inception.load_tensorflow().keras.models.load_model(args.output_graph,
                                                                    compile=False)
        assert (model.input_shape[1:], model.output_shape[1:]) == (
            (inception.SIDE, inception.SIDE, 3), (len(labels),))
    except Exception:   # Keras raises whatever comes up, "File not found" for a file cut short
        raise UserError(f"{args.output_graph} is no network that retrain.py has saved, or it is "
                        "damaged: train again with --image_dir") from None
    return model, labels


def label_images(args):
    """Print the five best labels of each of args.label_image. Returns whether all could be read."""
    model, labels = load_network(args)
    bad = 0
    for path in args.label_image:
        try:
            if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
                raise ValueError("no file")   # a pipe would be waited for
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")   # of Pillow, about what is odd but readable
                pixels = bottlenecks.read_picture(path)
        except ValueError as error:
            log(f"{path} can't be read ({error})")
            bad += 1
            continue
        scores = model.predict_on_batch(inception.network_input(pixels)[None])[0]
        print(path)
        for label in np.argsort(-scores, kind="stable")[:5]:
            print(f"  {scores[label]:.4f}  {labels[label]}")
    return not bad


def main(argv=None):
    parser = Parser(
        description=__doc__.split("\n\n")[0],
        usage="retrain.py --image_dir DIR [flags]\n       retrain.py --label_image FILE [FILE ...]")
    picture_arguments.addargs(parser, alone=True)
    parser.add_argument("--seed", type=seed, default=0, metavar="N",
                        help="of everything random (default: 0)")
    args = parser.parse_args(argv)
    picture_arguments.check_arguments(args)
    if args.image_dir or not args.label_image:
        retrain(args)
    return 0 if not args.label_image or label_images(args) else 1


if __name__ == "__main__":
    raise SystemExit(run(main))
