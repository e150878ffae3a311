"""Whether a product has a twin: a near-duplicate among other products.

In: names and descriptions. Out: for a product, whether some others hold a near-duplicate of it, as
near_duplicates.py has it, but more finely: a shorter text will do. experiments.py records it of the
products that a model was trained on, and filing.py says it of new products:

    python categorize_words.py --apply 1
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from learning.near_duplicates import CHUNK, Texts, WordHashes, shared, signatures, word_sets

FINEST = (2, 6)  # as near_duplicates.STYLE, for the question whether there is any near-duplicate


def among(texts: Texts, sides: list[np.ndarray]) -> list[np.ndarray]:
    """Whether each text has a near-duplicate at the FINEST on each side: a list of bool [n] for
    `sides`, a list of bool [n]. It says nothing of a text that is on the side itself."""
    answers = [np.zeros(len(texts.named), bool) for _ in sides]
    for codes, owners in shared(texts, FINEST):
        for side, near in zip(sides, answers):
            known = np.zeros(codes.max(initial=0) + 1, bool)
            known[codes[side[owners]]] = True
            near[owners[known[codes]]] = True
    return answers


def twin_columns(
    catalogue: Iterable[Sequence],
    ids: np.ndarray,
    trained: list[np.ndarray],
    tables: Sequence[np.ndarray],
) -> list[list[int]]:
    """For each of the `tables`, structured arrays [m] with the fields product and fold, a list [m]
    of 0 and 1: whether a near-duplicate of the product is among those that the fold's model was
    `trained` on, places in ids, int [n], ascending. catalogue is rows as in find_clusters."""
    wanted = set(ids.tolist())
    texts = word_sets(row[2:] for row in catalogue if row[0] in wanted)
    sides = np.zeros((len(trained), len(ids)), bool)
    for side, rows in zip(sides, trained):
        side[rows] = True
    near = np.array(among(texts, list(sides)))
    return [
        near[rows["fold"], np.searchsorted(ids, rows["product"])].astype(int).tolist()
        for rows in tables
    ]


def product_signatures(
    products: Sequence[Sequence], known: WordHashes
) -> tuple[np.ndarray, np.ndarray]:
    """(signatures uint64 [m], row numbers int [m]) at the FINEST of rows (group key, name,
    description): also what shares the group is near."""
    texts = word_sets((row[1:] for row in products), known)
    codes, rows = signatures(texts, slice(0, len(products)), FINEST)
    # A word of a text has no such character.
    keys = np.array([known[f"\0{row[0]}"] for row in products], np.uint64)
    return np.append(codes, keys), np.append(rows, np.arange(len(products)))


def seek(labelled: Iterable[Sequence]) -> Callable[[Sequence[Sequence]], np.ndarray]:
    """A function: rows (group key, name, description) -> bool [n], whether each has a
    near-duplicate at the FINEST among the `labelled` ones, an iterable of such rows. It keeps eight
    bytes for each signature of those, about one for each of their words, and no text."""
    hashes, pieces = WordHashes(), []
    labelled = iter(labelled)
    while rows := list(itertools.islice(labelled, CHUNK)):
        pieces.append(product_signatures(rows, hashes)[0])
    known = np.concatenate(pieces or [np.zeros(0, np.uint64)])
    pieces.clear()
    known.sort()

    def near(rows):
        codes, owners = product_signatures(rows, hashes)
        place = np.searchsorted(known, codes)
        answer = np.zeros(len(rows), bool)
        answer[owners[np.append(known, np.uint64(0))[place] == codes]] = True
        return answer & (len(known) > 0)

    return near
