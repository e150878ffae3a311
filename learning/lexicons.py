"""A saved model's vocabulary, and the bags of words of new texts by it.

In: a saved model's description and weights, and texts. Out: rows of a sparse matrix, and how many
words each text has. The classifiers of text ask for them when they file products or explain one:

    python categorize_words.py --apply 1
    python categorize_words.py --explain 17 --experiment 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from learning.term_counts import Numbers, Places, counted, numbered
from learning.text_features import tokens, tokens_of_2016, weigh

UNKNOWN = " "  # stands for all words that no term has; no word is a blank


class KnownNumbers(Numbers):
    """{word: its number} of a vocabulary's words. All others have the number of UNKNOWN."""

    def __missing__(self, word: str) -> int:
        return self[UNKNOWN]


class Lexicon(NamedTuple):
    """A saved model's vocabulary, ready for texts to be looked up in."""

    cut: Callable[[str], list[str]]
    fields: tuple[str, ...]  # of name and description, what is read
    number: KnownNumbers
    places: Places
    width: int  # terms
    idf: np.ndarray | None  # float32 [terms], None if the bag is of 0 and 1


def make_lexicon(described: dict, weights: dict) -> Lexicon:
    """The Lexicon of a model, by its description and weights as of saved_models.load_model."""
    terms = described["vocabulary"]
    words = (word for term in terms for word in term.removeprefix("name:").split(" "))
    number = KnownNumbers({word: place for place, word in enumerate(dict.fromkeys(words))})
    number[UNKNOWN] = len(number)
    of_word, of_name = np.full((2, len(number)), -1, np.int32)
    of_pair = {}
    for column, term in enumerate(terms):
        first, *second = term.removeprefix("name:").split(" ")
        if second:
            of_pair[number[first] * len(number) + number[second[0]]] = column
        else:
            (of_name if term.startswith("name:") else of_word)[number[first]] = column
    pairs = np.array(sorted(of_pair), np.int64)
    columns = np.array([of_pair[pair] for pair in pairs.tolist()], np.int32)
    original = described.get("network") == "original"
    return Lexicon(
        tokens_of_2016 if original else tokens,
        tuple(described.get("fields", ("name", "description"))),
        number,
        Places(of_word, of_name, pairs, columns),
        len(terms),
        weights.get("idf"),
    )


def bag_of(
    lexicon: Lexicon, texts: Iterable[tuple[str, str]]
) -> tuple[Any, np.ndarray, np.ndarray]:
    """(CSR float32 [n, terms], words int [n], how many of them are not in the vocabulary int [n])
    of n pairs (name, description)."""
    read = [field in lexicon.fields for field in ("name", "description")]
    found = numbered(
        ((name * read[0], description * read[1]) for name, description in texts),
        lexicon.cut,
        lexicon.number,
    )
    has = counted(found, lexicon.places, lexicon.width).astype(np.float32)
    has.data[:] = 1
    bag = has if lexicon.idf is None else weigh(has, lexicon.idf)
    unknown = np.append(0, np.cumsum(lexicon.places.of_word[found.words] < 0))
    return bag, np.diff(found.ends), np.diff(unknown[found.ends])


def one_text(
    described: dict, weights: dict, name: str, description: str, lexicon: Lexicon | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(columns, values) of the bag of words of one text for a saved model: its description and its
    weights, as saved_models.load_model gives them; with its Lexicon, if that is at hand."""
    bag = bag_of(lexicon or make_lexicon(described, weights), [(name, description)])[0]
    return bag.indices, bag.data
