"""Saved models of text and picture: a function from new products to what both say.

In: the weights and the description of a model of categorize_both.py. Out: logits, and what they
rest on, as filing.apply needs it:

    python categorize_both.py --apply 3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from learning import encodings, fusion, layers, lexicons, picture_classifier, text_classifier


def scorer(
    options: picture_classifier.PictureOptions,
    encoder: encodings.Asked,
    weights: dict,
    description: dict,
    waiting: picture_classifier.Pictures,
) -> Callable:
    """A function from new products to logits and what they rest on, as picture_classifier.scorer
    has it, by a saved model of categorize_both.py."""
    vectors = encodings.finder(encoder, description, ahead=True)
    find = picture_classifier.bottleneck_finder(options, description, waiting)
    if "fusion" in weights:
        return fused_scorer(find, vectors, weights, description)
    return concat_scorer(find, weights, description)


def concat_scorer(find: Callable, weights: dict, description: dict) -> Callable:
    """`scorer` of one network of both, as in 2016."""
    lexicon = lexicons.make_lexicon(description, weights)

    def score(rows: Sequence) -> tuple:
        matrix, picture = find(rows)
        bag, count, unknown = lexicons.bag_of(
            lexicon, ((row["name"], row["description"]) for row in rows)
        )
        logits = layers.logits(
            weights, layers.Inputs(bag=bag, bottlenecks=matrix, rows=picture), np.arange(len(rows))
        )
        return logits, (count > 0) | (picture >= 0), count, unknown, picture >= 0

    return score


def fused_scorer(
    find: Callable, vectors: encodings.Find | None, weights: dict, description: dict
) -> Callable:
    """`scorer` of two classifiers and the weights that fuse them."""
    text, picture = fusion.parted(weights, fusion.PICTURE)
    by_text = text_classifier.text_scorer(text, description, vectors)
    temperatures = description[fusion.PICTURE.key]["used temperatures"]

    def score(rows: Sequence) -> tuple:
        matrix, picture_row = find(rows)
        text_logits, count, unknown = by_text(rows)
        picture_logits = layers.logits(
            picture, layers.Inputs(bottlenecks=matrix, rows=picture_row), np.arange(len(rows))
        )
        has_picture = picture_row >= 0
        fused = fusion.saved_logits(
            weights, temperatures, text_logits, picture_logits, has_picture, fusion.PICTURE
        )
        return fused, (count > 0) | has_picture, count, unknown, has_picture

    return score
