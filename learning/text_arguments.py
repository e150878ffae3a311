"""The flags of the classifier by text, which categorize_words.py and categorize_both.py have.

In: an argparse parser, then what it parsed. Out: checked arguments, and TextOptions.
"""

from __future__ import annotations

import argparse
import os
import tempfile

from common.arguments import whole_number
from learning import encodings, word_vectors
from learning.text_classifier import EPOCHS, TextOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the classifier by text, which categorize_both.py has too."""
    parser.add_argument(
        "--epochs",
        type=whole_number(1, 10_000),
        metavar="N",
        help="at most so many passes through the training products; it ends "
        f"earlier when validation gains nothing (default: {EPOCHS}, more if "
        "products are few)",
    )
    parser.add_argument(
        "--network",
        choices=("default", "original"),
        default="default",
        help="original: that of 2016, with its way of cutting words, batches of 32 "
        "and five epochs, for the record (default: default)",
    )
    parser.add_argument(
        "--fields",
        type=fields_argument,
        default="name,description",
        metavar="A,B",
        help="what of a product is read: name, description or both (default: name,description)",
    )
    parser.add_argument(
        "--embedding",
        choices=("word2vec", "swivel"),
        help="learn vectors of words from the training products first, and let the "
        "hidden layer see their sum for a product beside the bag of words "
        "(default: none)",
    )
    parser.add_argument(
        "--embedding-alone",
        action="store_true",
        help="use only the word vectors, without the bag of words",
    )
    parser.add_argument(
        "--save-embedding",
        metavar="FILE",
        help="write the vectors there, in word2vec's text format",
    )
    parser.add_argument(
        "--encoder",
        metavar="FOLDER",
        help="use what a network has learned elsewhere about sentences, beside the words: the "
        "folder of a sentence-transformers model with an ONNX file, or of model2vec, or a file of "
        "word vectors; it helps if labels are few (default: none)",
    )


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a sentence if the flags of text can't go together, or can't be done."""
    if args.embedding and args.network == "original":
        parser.error("--embedding is for the default network")
    if args.encoder is not None:
        if args.network == "original":
            parser.error("--encoder is for the default network")
        encodings.check_there(args.encoder)
        args.encoder = os.path.abspath(args.encoder)  # --apply finds it from any folder
    if not args.embedding and (args.embedding_alone or args.save_embedding):
        parser.error("--embedding-alone and --save-embedding need --embedding")
    if args.save_embedding:
        if not word_vectors.may_be_replaced(args.save_embedding):
            parser.error("--save-embedding names a file that holds something else: name another")
        try:
            tempfile.TemporaryFile(dir=os.path.dirname(args.save_embedding) or ".").close()
        except OSError:
            parser.error("--save-embedding must name a file in a folder that can be written")


def fields_argument(text: str) -> list[str]:
    """The fields named, parted by commas."""
    fields = [field.strip() for field in text.split(",")]
    if not set(fields) <= {"name", "description"} or len(set(fields)) < len(fields):
        raise argparse.ArgumentTypeError("must be name, description or name,description")
    return fields


def text_options(args: argparse.Namespace) -> TextOptions:
    """What of a product's text is read, and how the classifier is trained on it."""
    return TextOptions(
        args.network,
        args.fields,
        args.epochs,
        args.embedding,
        args.embedding_alone,
        args.save_embedding,
        args.seed,
        encodings.Asked(args.encoder, args.db_path),
    )
