"""The flags of retrain.py, which categorize_images.py and categorize_both.py take too.

In: an argparse parser, then what it parsed. Out: checked arguments, and options for training.
"""

from __future__ import annotations

import argparse
import os

import numpy as np

from common.arguments import count_or_all, whole_number
from common.terminal import UserError
from learning import bottlenecks, cluster_arguments, inception, precision, training
from learning.picture_classifier import PictureOptions


def addargs(parser: argparse.ArgumentParser, alone: bool = False) -> None:
    """The flags of the 2016 retrain.py, with its names and defaults, and those of the network; for
    retrain.py alone the five that matter come first."""
    first = parser.add_argument_group("the five that matter") if alone else None
    network = parser.add_argument_group("the network that looks at pictures")
    steps = parser.add_argument_group("training")
    if not alone:
        parser.epilog = (
            "The other flags of retrain.py are taken too, for the sake of old "
            "commands: distortions are refused, the rest has no effect here."
        )
    add_own_arguments(parser, first)
    add_network_arguments(network, first or network)
    cluster_arguments.add_arguments(parser)
    for name, kind, default, text in (
        ("how_many_training_steps", int, 4000, "at most so many steps of training"),
        ("learning_rate", float, 0.0, "0 means Adam, anything above it gradient descent"),
        ("train_batch_size", int, 100, "examples a step"),
        ("eval_step_interval", int, 10, "steps between two looks at the validation set"),
        ("validation_batch_size", count_or_all, 100, "no effect: all of the set is used"),
        ("test_batch_size", count_or_all, -1, "no effect: all of the set is used"),
        ("testing_percentage", whole_number(0, 100), 10, "examples held out for the test"),
        ("validation_percentage", whole_number(0, 100), 10, "examples held out for validation"),
    ):
        add(steps, name, text, default, type=kind, metavar="N")


def add(group, name, text, default, show=True, **more):
    """A flag in its old spelling and in kebab-case, with its default in its help."""
    spellings = [f"--{name}"]
    if "_" in name:
        spellings.append(f"--{name.replace('_', '-')}")
    if not show:
        text = argparse.SUPPRESS
    elif default is not False and default is not None:
        text += f" (default: {'none' if default == '' else default})"
    group.add_argument(*spellings, default=default, help=text, **more)


def add_network_arguments(network, first):
    """The flags of the network, the weights among the first ones."""
    first.add_argument(
        "--weights",
        metavar="W",
        help="imagenet (downloaded once by Keras, 88 MB), random "
        "(figures mean little), or a Keras weights file (default: imagenet)",
    )
    add(
        network,
        "layer",
        "where to take the bottleneck: mixed0 ... mixed10 or avg_pool, the last "
        "pooling layer, 2048-d",
        "avg_pool",
        choices=inception.LAYERS,
        metavar="LAYER",
    )
    add(
        network,
        "precision",
        "arithmetic of the network: float32, bfloat16 (about twice as fast "
        "if the processor has it), int8 (three times), or auto: that of the bottlenecks that "
        "are there, or else the fastest here",
        "float32",
        choices=(*inception.PRECISIONS, precision.AUTO),
        metavar="P",
    )
    add(
        network,
        "bottleneck_dir",
        "where bottlenecks are kept",
        "retrain_out/bottleneck",
        metavar="DIR",
    )
    add(
        network,
        "cache-dtype",
        "how they are kept: float16, or float32, which takes twice the disk and classifies no "
        "better; by itself float16, or float32 if there are more of them already",
        None,
        choices=("float32", "float16"),
        metavar="D",
    )


def add_own_arguments(parser, first):
    """What only retrain.py by itself uses; the classifiers (first None) take it and show it not."""
    distortions = parser.add_argument_group(
        "distortions of the training pictures, drawn anew in each epoch. They take hours; the "
        "script prints an estimate first"
    )
    files = parser.add_argument_group("the rest")
    alone = first is not None
    first = first or files
    add(
        first,
        "image_dir",
        "folder with a folder of pictures for each label",
        "",
        alone,
        metavar="DIR",
    )
    if alone:
        first.add_argument(
            "--label_image",
            "--label-image",
            nargs="+",
            default=[],
            metavar="FILE",
            help="print the five best labels of these pictures by the saved network",
        )
    add(
        first,
        "output_graph",
        "where to save the network, as .keras",
        "retrain_out/output_graph.keras",
        alone,
        metavar="FILE",
    )
    add(
        first,
        "output_labels",
        "where to save its labels, a line each",
        "retrain_out/output_labels.txt",
        alone,
        metavar="FILE",
    )
    add(distortions, "flip_left_right", "mirror half of them", False, alone, action="store_true")
    for name, text in (
        ("random_crop", "margin around what is cut out, in percent"),
        ("random_scale", "enlarge by up to so many percent"),
        ("random_brightness", "make darker or brighter by up to so many percent"),
    ):
        add(distortions, name, text, 0, alone, type=whole_number(0, 100), metavar="N")
    add(
        files,
        "print_misclassified_test_images",
        "list the test pictures it got wrong",
        False,
        alone,
        action="store_true",
    )
    add(
        files,
        "final_tensor_name",
        "name of the last layer in the saved network",
        "final_result",
        alone,
        metavar="NAME",
    )
    add(
        files,
        "summaries_dir",
        "where TensorBoard finds the curves of training",
        "retrain_out/retrain_logs",
        alone,
        metavar="DIR",
    )
    add(
        files,
        "model_dir",
        "no effect: Keras keeps its own weights",
        "retrain_out/imagenet",
        alone,
        metavar="DIR",
    )


def distortions_asked(args: argparse.Namespace) -> bottlenecks.Distortions:
    return bottlenecks.Distortions(
        args.flip_left_right, args.random_crop, args.random_scale, args.random_brightness
    )


def check_arguments(args: argparse.Namespace, one_split: bool = False) -> None:
    """Refuse what can't be done; with one_split also another share of test products, and
    distortions."""
    if one_split and any(distortions_asked(args)):
        raise UserError(
            "distortions are for retrain.py by itself: here a picture's bottleneck is "
            "computed once; leave out --flip_left_right and --random_*"
        )
    if os.path.exists(args.bottleneck_dir) and not os.path.isdir(args.bottleneck_dir):
        raise UserError(f"--bottleneck_dir {args.bottleneck_dir} is a file: name a folder")
    for name in ("how_many_training_steps", "train_batch_size", "eval_step_interval"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} must be 1 or more")
    if not 0 <= args.learning_rate < np.inf:
        raise UserError("--learning_rate must be 0 (Adam) or above")
    if one_split and (args.testing_percentage, args.validation_percentage) != (10, 10):
        raise UserError(
            "--testing_percentage and --validation_percentage are 10 here, because "
            "all three classifiers share one split"
        )
    if args.testing_percentage + args.validation_percentage > 90:
        raise UserError(
            "--testing_percentage and --validation_percentage leave too little to train on"
        )


def picture_options(args: argparse.Namespace) -> PictureOptions:
    """How pictures become bottlenecks."""
    return PictureOptions(
        args.images_path,
        args.weights,
        args.layer,
        args.precision,
        args.bottleneck_dir,
        args.cache_dtype,
        args.seed,
        cluster_arguments.options(args),
    )


def training_options(args: argparse.Namespace) -> training.Options:
    """Options for training on bottlenecks. Two hundred steps without gain end it."""
    return training.Options(
        batch_size=args.train_batch_size,
        max_steps=args.how_many_training_steps,
        evaluate_every=args.eval_step_interval,
        patience=max(3, 200 // args.eval_step_interval),
        learning_rate=args.learning_rate,
        seed=args.seed,
    )
