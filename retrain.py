"""The split, the training loop and saved models; by itself: a classifier for folders of pictures.

In: a folder with a folder of pictures for each label. Out: retrain_out/output_graph.keras, a
network from pictures (299x299 RGB in [-1, 1]) to the labels' probabilities, and output_labels.txt.

    python retrain.py --image_dir flower_photos
    python retrain.py --image_dir flower_photos --weights FILE --how_many_training_steps 1000
"""
import argparse
import contextlib
import hashlib
import json
import os
import re
from typing import Any, NamedTuple

import numpy as np

import bottlenecks
import metrics
from console import UserError, log, progress, run

HIDDEN = 100       # ReLU units between the bag of words and the softmax
CHUNK = 4096       # products whose logits are computed at a time


# ---- the split --------------------------------------------------------------------------------

def split_position(key):
    """A group's place u in [0, 1), the same for all scripts, seeds and times."""
    digest = hashlib.sha256(key.encode("utf-8", "replace")).digest()
    return (int.from_bytes(digest[:7], "big") >> 3) / 2 ** 53


def splits(u, folds=None, testing=.1, validation=.1):
    """[(training rows, validation rows, rows to predict)] of products at positions u [n].

    Without folds one: u < testing is predicted, the next `validation` of it validates, the rest
    trains. With folds K: fold = floor(u K); fold i is predicted by a model validated on fold i + 1
    and trained on the rest.
    """
    u = np.asarray(u)
    if not folds:
        return [(np.flatnonzero(u >= testing + validation),
                 np.flatnonzero((u >= testing) & (u < testing + validation)),
                 np.flatnonzero(u < testing))]
    fold = np.floor(u * folds).astype(int)
    return [(np.flatnonzero((fold != i) & (fold != (i + 1) % folds)),
             np.flatnonzero(fold == (i + 1) % folds), np.flatnonzero(fold == i))
            for i in range(folds)]


def check_splits(parts, names):
    """Raise UserError where a class has no training product, or nothing is there to validate on or
    to predict; warn of classes that one of those lacks. parts are [(training, validation, test)],
    the classes of the products there."""
    counts = [[np.bincount(labels, minlength=len(names)) for labels in part] for part in parts]
    for train, validation, predicted in counts:
        for name, *n in zip(names, train, validation, predicted):
            if not n[0]:
                raise UserError(f"{name} has nothing to train on ({n[0]} training, {n[1]} "
                                f"validation, {n[2]} test): leave it out, or add to it")
        smallest = min(range(len(names)), key=lambda i: train[i])
        have = f"{names[smallest]} has {train[smallest]} training, " \
               f"{validation[smallest]} validation and {predicted[smallest]} test"
        for what, n in (("validation", validation), ("test", predicted)):
            if not n.sum():
                raise UserError(f"the {what} set is empty ({have}): there is too little to part")
    if len(names) < 2:
        raise UserError(f"there is nothing to tell apart: {names[0]} is the only category")
    if len(parts) == 1:
        train, validation, predicted = counts[0]
        for name, *n in zip(names, train, validation, predicted):
            if not (n[1] and n[2]):
                log(f"warning: {name} has {n[0]} training, {n[1]} validation and {n[2]} test "
                    "examples")


# ---- the network and its training -------------------------------------------------------------

class Inputs(NamedTuple):
    """What a network sees of n products; a part it does not use is None."""
    bag: Any = None           # scipy CSR [n, terms], 1 where the product's text has the term
    bottlenecks: Any = None   # float32 [m, size], memory-mapped
    rows: Any = None          # int [n]: a product's row of bottlenecks, -1 where it has none
    columns: Any = None       # int [terms]: which of the catalogue's terms the bag's columns are


class Options(NamedTuple):
    """How to train. An evaluation is a look at the validation set; the best one's weights win."""
    batch_size: int = 100
    max_steps: int = 4000
    max_epochs: int = 0         # where above 0, counts instead of max_steps
    evaluate_every: int = 0     # steps; 0 for once an epoch
    patience: int = 3           # evaluations without a lower validation loss before it stops
    learning_rate: float = 0.0  # 0: Adam at .001; above: gradient descent
    dropout: float = 0.0        # of the hidden units
    seed: int = 0


class Trained(NamedTuple):
    weights: dict               # name -> float32 array; see `logits`
    steps: int                  # of the weights kept
    temperature: float          # fitted on validation; 1 without


def logits(weights, inputs, rows):
    """Logits [len(rows), classes] of a network given by its weights, in numpy.

    hidden_kernel [terms, 100] and hidden_bias: bag of words -> ReLU; bottleneck_mean [size] stands
    in for a missing picture; kernel [100 and/or size, classes] and bias: the parts side by side ->
    classes.
    """
    out = np.empty((len(rows), len(weights["bias"])), np.float32)
    for start in range(0, len(rows), CHUNK):
        some, parts = rows[start:start + CHUNK], []
        if "hidden_kernel" in weights:
            parts.append(np.maximum(inputs.bag[some] @ weights["hidden_kernel"]
                                    + weights["hidden_bias"], 0))
        if "bottleneck_mean" in weights:
            parts.append(picture_rows(inputs, some, weights["bottleneck_mean"]))
        out[start:start + CHUNK] = np.hstack(parts) @ weights["kernel"] + weights["bias"]
    return out


def picture_rows(inputs, some, mean):
    """Bottlenecks [len(some), size], the mean where a product has no picture."""
    where = inputs.rows[some]
    taken = np.repeat(mean[None], len(some), axis=0)
    taken[where >= 0] = inputs.bottlenecks[where[where >= 0]]
    return taken


def bottleneck_statistics(inputs, train):
    """Mean and standard deviation [size] of the training products' bottlenecks."""
    where = inputs.rows[train]
    where = np.sort(where[where >= 0])
    total = np.zeros((2, inputs.bottlenecks.shape[1]))
    for start in range(0, len(where), CHUNK):
        some = inputs.bottlenecks[where[start:start + CHUNK]].astype(np.float64)
        total += some.sum(axis=0), (some ** 2).sum(axis=0)
    mean, square = total / max(1, len(where))
    deviation = np.sqrt(np.maximum(square - mean ** 2, 0))
    # A unit that hardly ever fires must not be blown up to the size of the others.
    live = deviation[deviation > 0]
    floor = .1 * np.median(live) + 1e-6 if len(live) else 1.0
    return mean.astype(np.float32), np.maximum(deviation, floor).astype(np.float32)


def initial_weights(inputs, classes, rng):
    """Glorot's uniform start (AISTATS 2010, equation 16), biases 0."""
    def uniform(rows, columns):
        limit = (6 / (rows + columns)) ** .5
        return rng.uniform(-limit, limit, (rows, columns)).astype(np.float32)

    weights, width = {}, 0
    if inputs.bag is not None:
        weights["hidden_kernel"] = uniform(inputs.bag.shape[1], HIDDEN)
        weights["hidden_bias"] = np.zeros(HIDDEN, np.float32)
        width += HIDDEN
    if inputs.bottlenecks is not None:
        width += inputs.bottlenecks.shape[1]
    weights["kernel"] = uniform(width, classes)
    weights["bias"] = np.zeros(classes, np.float32)
    return weights


def make_step(variables, learning_rate, dropout, seed):
    """A TensorFlow function for one step of training that returns the batch's loss.

    Adam is TensorFlow's own fused kernel (Kingma and Ba 2015, algorithm 1): with millions of hidden
    weights the optimiser is the cost of a step, and Keras' takes more than twice as long.
    """
    tf = bottlenecks.load_tensorflow()
    slots = {name: (tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v)))
             for name, v in variables.items()}
    power = (tf.Variable(1.0), tf.Variable(1.0))
    generator = tf.random.Generator.from_seed(seed)

    def loss_of(columns, products, pictures, labels):
        parts = []
        if "hidden_kernel" in variables:
            hidden = tf.nn.relu(tf.sparse.segment_sum(variables["hidden_kernel"], columns, products,
                                                      num_segments=tf.size(labels))
                                + variables["hidden_bias"])
            if dropout:
                keep = generator.uniform(tf.shape(hidden)) >= dropout
                hidden = tf.where(keep, hidden / (1 - dropout), 0.0)
            parts.append(hidden)
        if pictures.shape[1] > 0:
            parts.append(pictures)
        scores = tf.concat(parts, 1) @ variables["kernel"] + variables["bias"]
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))

    @tf.function(reduce_retracing=True)
    def step(columns, products, pictures, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(columns, products, pictures, labels)
        gradients = tape.gradient(loss, list(variables.values()))
        for decay, so_far in zip((.9, .999), power):
            so_far.assign(so_far * decay)
        for name, gradient in zip(variables, gradients):
            gradient = tf.convert_to_tensor(gradient)
            if learning_rate:
                variables[name].assign_sub(learning_rate * gradient)
            else:
                mean, square = slots[name]
                tf.raw_ops.ResourceApplyAdam(
                    var=variables[name].handle, m=mean.handle, v=square.handle,
                    beta1_power=power[0], beta2_power=power[1], lr=.001, beta1=.9, beta2=.999,
                    epsilon=1e-7, grad=gradient)
        return loss

    return step


def train(inputs, labels, classes, rows, validation, options, label="training"):
    """Train a network on products `rows`, watching products `validation`.

    Stops when the validation loss has not fallen for options.patience evaluations, and keeps the
    weights of the lowest. Without validation rows it takes as many steps as it may. Bottlenecks are
    standardised for training only: the weights returned take them as they are. Returns Trained.
    """
    tf = bottlenecks.load_tensorflow()
    rng = np.random.default_rng(options.seed)
    variables = {name: tf.Variable(value)
                 for name, value in initial_weights(inputs, classes, rng).items()}
    statistics = bottleneck_statistics(inputs, rows) if inputs.bottlenecks is not None else None
    step = make_step(variables, options.learning_rate, options.dropout, options.seed)
    epoch = -(-len(rows) // options.batch_size)
    most = options.max_epochs * epoch or options.max_steps
    every = options.evaluate_every or epoch
    best, best_loss, best_step, since, done, running = None, np.inf, 0, 0, 0, []
    # A run that diverges is told of below, in a sentence, not by numpy at every step.
    with progress(label, most, "steps") as bar, np.errstate(over="ignore", invalid="ignore"):
        while done < most and since < options.patience:
            for batch in np.array_split(rng.permutation(rows), epoch):
                running.append(step(*batch_tensors(inputs, labels, batch, statistics)))
                done += 1
                bar.update()
                if done % every and done < most:
                    continue
                weights = usable_weights(variables, statistics)
                note = {"loss": f"{np.mean(running):.4f}"}
                running = []
                if len(validation):
                    scores = logits(weights, inputs, validation)
                    loss = metrics.nll(scores, labels[validation])
                    right = metrics.accuracy(scores.argmax(axis=1) == labels[validation])
                    note["validation accuracy"] = f"{100 * right:.2f}%"
                    since += 1
                    if loss < best_loss:
                        best, best_loss, best_step, since = weights, loss, done, 0
                bar.set_postfix(note, refresh=False)
                if done >= most or since >= options.patience:
                    break
    if best is None and len(validation):
        raise UserError("training ran away, its loss is no number any more: lower --learning_rate")
    if best is None:
        return Trained(weights, done, 1.0)
    temperature = metrics.fit_temperature(logits(best, inputs, validation), labels[validation])
    log(f"{label}: kept step {best_step} of {done}, validation loss {best_loss:.4f}, last "
        + ", ".join(f"{name} {value}" for name, value in note.items()))
    return Trained(best, best_step, temperature)


def batch_tensors(inputs, labels, batch, statistics):
    """(columns, products, pictures, labels) of some products, as `make_step` takes them."""
    columns = products = np.zeros(0, np.int32)
    if inputs.bag is not None:
        some = inputs.bag[batch]
        columns = some.indices.astype(np.int32)
        products = np.repeat(np.arange(len(batch), dtype=np.int32), np.diff(some.indptr))
    pictures = np.zeros((len(batch), 0), np.float32)
    if statistics is not None:
        mean, deviation = statistics
        pictures = (picture_rows(inputs, batch, mean) - mean) / deviation
    return columns, products, pictures, labels[batch].astype(np.int32)


def usable_weights(variables, statistics):
    """The weights in numpy, for bottlenecks as they are: standardising is folded in."""
    weights = {name: variable.numpy() for name, variable in variables.items()}
    if statistics is not None:
        mean, deviation = statistics
        own = slice(len(weights["kernel"]) - len(mean), None)
        weights["kernel"][own] /= deviation[:, None]
        weights["bias"] -= mean @ weights["kernel"][own]
        weights["bottleneck_mean"] = mean
    return weights


# ---- saved models -----------------------------------------------------------------------------

def save_model(folder, weights, described):
    """Write weights.npz and model.json, from which `logits` and a softmax give scores again."""
    np.savez(os.path.join(folder, "weights.npz"), **weights)
    with open(os.path.join(folder, "model.json"), "w", encoding="utf-8",
              errors="replace") as file:
        json.dump({"format": 1, **described}, file, ensure_ascii=False)


def load_model(folder):
    """(weights, description) as save_model wrote them. Loading runs no code from the files."""
    with open(os.path.join(folder, "model.json"), encoding="utf-8") as file:
        described = json.load(file)
    with np.load(os.path.join(folder, "weights.npz"), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}, described


# ---- arguments --------------------------------------------------------------------------------

def percentage(text):
    if not text.isdecimal() or not 0 <= int(text) <= 100:
        raise argparse.ArgumentTypeError("must be a percentage from 0 to 100")
    return int(text)


def count_argument(text):
    """A whole number above 0, or -1 for all."""
    number = int(text) if re.fullmatch("-?[0-9]{1,9}", text) else 0
    if number < 1 and number != -1:
        raise argparse.ArgumentTypeError("must be above 0, or -1 for all")
    return number


def seed_argument(text):
    if not text.isdecimal() or int(text) >= 2 ** 32:
        raise argparse.ArgumentTypeError("must be a whole number from 0 to 4294967295")
    return int(text)


def addargs(parser):
    """The flags of the 2016 retrain.py, with its names and defaults, and those of the network."""
    network = parser.add_argument_group("the network that looks at pictures")
    network.add_argument("--weights", metavar="W",
                         help="imagenet (downloaded once by Keras, 88 MB), random (figures mean "
                         "little), or a Keras weights file (default: imagenet)")
    network.add_argument("--layer", choices=bottlenecks.LAYERS, default="avg_pool",
                         metavar="LAYER", help="where to take the bottleneck: mixed0 ... mixed10 "
                         "or avg_pool, the last pooling layer, 2048-d (default: avg_pool)")
    network.add_argument("--bottleneck_dir", "--bottleneck-dir", default="retrain_out/bottleneck",
                         metavar="DIR", help="where bottlenecks are kept "
                         "(default: retrain_out/bottleneck)")
    training = parser.add_argument_group("training, under the names of 2016")
    for name, kind, default, text in (
            ("how_many_training_steps", int, 4000, "steps of training at the most"),
            ("learning_rate", float, 0.0, "0 means Adam, anything above it gradient descent"),
            ("train_batch_size", int, 100, "examples a step"),
            ("eval_step_interval", int, 10, "steps between two looks at the validation set"),
            ("validation_batch_size", count_argument, 100, "no effect: all of the set is used"),
            ("test_batch_size", count_argument, -1, "no effect: all of the set is used"),
            ("testing_percentage", percentage, 10, "examples held out for the test"),
            ("validation_percentage", percentage, 10, "examples held out for validation"),
            ("random_crop", percentage, 0, "distortions are not available yet"),
            ("random_scale", percentage, 0, "distortions are not available yet"),
            ("random_brightness", percentage, 0, "distortions are not available yet")):
        training.add_argument(f"--{name}", f"--{name.replace('_', '-')}", type=kind,
                              default=default, metavar="N", help=f"{text} (default: {default})")
    training.add_argument("--flip_left_right", "--flip-left-right", action="store_true",
                          help="distortions are not available yet")
    files = parser.add_argument_group("retrain.py by itself (no effect in the other scripts)")
    files.add_argument("--print_misclassified_test_images", "--print-misclassified-test-images",
                       action="store_true", help="list the test pictures it got wrong")
    for name, default, text in (
            ("image_dir", "", "folder with a folder of pictures for each label"),
            ("output_graph", "retrain_out/output_graph.keras", "where the network is saved"),
            ("output_labels", "retrain_out/output_labels.txt", "where its labels are saved"),
            ("final_tensor_name", "final_result", "name of the last layer in the saved network"),
            ("model_dir", "retrain_out/imagenet", "no effect: Keras keeps its own weights"),
            ("summaries_dir", "retrain_out/retrain_logs", "no effect yet")):
        files.add_argument(f"--{name}", f"--{name.replace('_', '-')}", default=default,
                           metavar="PATH", help=f"{text} (default: {default or 'none'})")


def check_arguments(args, one_split=False):
    """Refuse what can't be done; with one_split also another share of test products."""
    if args.flip_left_right or args.random_crop or args.random_scale or args.random_brightness:
        raise UserError("distortions are not available yet: leave out --flip_left_right and "
                        "--random_*")
    for name in ("how_many_training_steps", "train_batch_size", "eval_step_interval"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} must be 1 or more")
    if not 0 <= args.learning_rate < np.inf:
        raise UserError("--learning_rate must be 0 (Adam) or above")
    if one_split and (args.testing_percentage, args.validation_percentage) != (10, 10):
        raise UserError("--testing_percentage and --validation_percentage are 10 here, because "
                        "all three classifiers share one split")
    if args.testing_percentage + args.validation_percentage > 90:
        raise UserError("--testing_percentage and --validation_percentage leave too little to "
                        "train on")


def picture_options(args):
    """Options for training on bottlenecks. Two hundred steps without gain end it."""
    return Options(batch_size=args.train_batch_size, max_steps=args.how_many_training_steps,
                   evaluate_every=args.eval_step_interval,
                   patience=max(3, 200 // args.eval_step_interval),
                   learning_rate=args.learning_rate, seed=args.seed)


# ---- by itself --------------------------------------------------------------------------------

def check_outputs(args):
    """Refuse, before any work, what could not be saved after it."""
    if not args.output_graph.endswith(".keras"):
        raise UserError("--output_graph must end in .keras, the only format Keras saves and loads")
    if not re.fullmatch(r"[A-Za-z]\w*", args.final_tensor_name):
        raise UserError("--final_tensor_name must be one word of letters, digits and _")
    if not (args.testing_percentage and args.validation_percentage):
        raise UserError("--testing_percentage and --validation_percentage must be 1 or more")
    for path in (args.output_graph, args.output_labels):
        folder = os.path.dirname(os.path.abspath(path))
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        if os.path.isdir(path) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            raise UserError(f"{path} can't be written: name another file")


def find_pictures(folder):
    """[(path, label)] of a folder of folders, sorted; labels are the folders' names unaltered."""
    if not folder or not os.path.isdir(folder):
        raise UserError(f"--image_dir must name a folder with a folder of pictures for each label"
                        f"{f'; there is none at {folder}' if folder else ''}")
    found = [(os.path.join(folder, label, name), label)
             for label in sorted(os.listdir(folder))
             if os.path.isdir(os.path.join(folder, label)) and not label.startswith(".")
             for name in sorted(os.listdir(os.path.join(folder, label)))
             if not name.startswith(".") and os.path.isfile(os.path.join(folder, label, name))]
    if not found:
        raise UserError(f"{folder} has no folders with pictures in them")
    for _, label in found:
        if "\n" in label or "\r" in label:
            raise UserError(f"the folder {label!r} has a line break in its name: rename it")
    return found


def save_network(network, trained, labels, args):
    """Write the network with its softmax, and the labels, each whole or not at all."""
    keras = bottlenecks.load_tensorflow().keras
    final = keras.layers.Dense(len(labels), activation="softmax", name=args.final_tensor_name)
    whole = keras.Model(network.input, final(network.output))
    final.set_weights([trained.weights["kernel"] / trained.temperature,
                       trained.weights["bias"] / trained.temperature])
    for path in (args.output_graph, args.output_labels):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    beside = f"{args.output_graph}.{os.getpid()}.keras"
    try:
        whole.save(beside)
        os.replace(beside, args.output_graph)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(beside)
    with open(f"{args.output_labels}.tmp", "w", encoding="utf-8",
              errors="surrogateescape") as file:   # a folder's name may be any bytes
        file.write("".join(f"{label}\n" for label in labels))
    os.replace(f"{args.output_labels}.tmp", args.output_labels)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    addargs(parser)
    parser.add_argument("--seed", type=seed_argument, default=0, metavar="N",
                        help="of everything random (default: 0)")
    args = parser.parse_args(argv)
    check_arguments(args)
    check_outputs(args)
    found = find_pictures(args.image_dir)
    network, fingerprint = bottlenecks.build_network(args.weights or "imagenet", args.layer,
                                                     args.seed)
    if args.final_tensor_name in {layer.name for layer in network.layers}:
        raise UserError(f"--final_tensor_name {args.final_tensor_name} is another layer's name")
    cache = bottlenecks.Cache(args.bottleneck_dir, fingerprint, network.output_shape[1])
    keys = [bottlenecks.file_sha256(path) for path, _ in found]
    bottlenecks.compute(network, cache, {key: path for key, (path, _) in zip(keys, found)})
    kept = [i for i, key in enumerate(keys) if key in cache.rows]
    if not kept:
        raise UserError(f"none of the files in {args.image_dir} is a picture that can be read")
    names = sorted({found[i][1] for i in kept})
    for label in sorted({label for _, label in found} - set(names)):
        log(f"warning: no picture of {label} can be read: it is left out")
    labels = np.array([names.index(found[i][1]) for i in kept], np.int32)
    inputs = Inputs(None, cache.matrix(), np.array([cache.rows[keys[i]] for i in kept]))
    parts = splits([split_position(keys[i]) for i in kept], None,
                   args.testing_percentage / 100, args.validation_percentage / 100)
    rows, validation, test = parts[0]
    check_splits([(labels[rows], labels[validation], labels[test])], names)
    trained = train(inputs, labels, len(names), rows, validation, picture_options(args))
    guess = logits(trained.weights, inputs, test).argmax(axis=1)
    save_network(network, trained, names, args)
    if args.print_misclassified_test_images:
        print("=== MISCLASSIFIED TEST IMAGES ===")
        for row, label in zip(test, guess):
            if label != labels[row]:
                print(f"{found[kept[row]][0]:>70s}  {names[label]}")
    print(f"Final test accuracy = {100 * metrics.accuracy(guess == labels[test]):.1f}% "
          f"(N={len(test)})")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
