"""Which text of a catalogue has which term how often, and the vocabulary of those to train on.

In: the names and descriptions of products. Out: a sparse matrix, texts by terms. The words of each
text are cut once and kept as numbers; all else is numpy's, some texts at a time. The classifiers of
text train on it:

    python categorize_words.py --min-products 50
    python categorize_both.py --min-products 50
"""

from __future__ import annotations

import array
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from common.terminal import UserError
from learning.text_features import tokens

VOCABULARY = 20_000  # words, and as many words of names and pairs
PIECE = 250_000  # words whose terms are told apart at a time
HASH_BITS = 24  # by which pairs are counted, before they are told apart
LONGEST = 100  # characters; what is longer is no word that a second text will have
WORD, WORD_OF_NAME, PAIR = range(3)  # kinds of terms


class Terms(NamedTuple):
    """Which of n texts has which term how often."""

    counts: Any  # scipy CSR int32 [n, terms]
    names: np.ndarray  # object [terms]: `jean`, `name:jean`, `flared jean`, in alphabetical order
    kinds: np.ndarray  # uint8 [terms]: WORD wherever it stands, WORD_OF_NAME, PAIR in a row
    least: int  # how many training texts must have a pair before it is a term
    words: Callable[[], Iterator[list[str]]]  # yields the words of each text once more


class Numbers(dict):
    """{word: its number}, counted up as words are asked for."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class Numbered(NamedTuple):
    """The words of n texts as numbers, w in all, side by side, those of a text's name first."""

    words: np.ndarray  # int32 [w]
    ends: np.ndarray  # int64 [n + 1], text i has the words ends[i] to ends[i + 1]
    named: np.ndarray  # int32 [n], how many of them are of the name
    spelled: np.ndarray  # object, the word of each number


class Piece(NamedTuple):
    """Some of the texts, m words with p pairs: terms by number, and whose they are, from 0."""

    texts: int
    owners: np.ndarray  # int64 [m]
    words: np.ndarray  # int64 [m]
    in_name: np.ndarray  # bool [m]
    pair_owners: np.ndarray  # int64 [p]
    pairs: np.ndarray  # int64 [p]: the first word times the number of all words, plus the second


class Places(NamedTuple):
    """In which column each term stands, of w numbered words and p pairs; -1 for what is no term."""

    of_word: np.ndarray  # int32 [w]
    of_name: np.ndarray  # int32 [w], of a word as a word of the name
    pairs: np.ndarray  # int64 [p], ascending, each as in a Piece
    of_pair: np.ndarray  # int32 [p]


def numbered(
    texts: Iterable[tuple[str, str]], cut: Callable[[str], list[str]], number: Numbers | None = None
) -> Numbered:
    """Numbered of the (name, description) of each text; `number` says by which numbers."""
    number = Numbers() if number is None else number
    words, ends, named = array.array("i"), array.array("q", [0]), array.array("i")
    for name, description in texts:
        title = cut(name)
        words.extend(map(number.__getitem__, title + cut(description)))
        ends.append(len(words))
        named.append(len(title))
    return Numbered(
        np.array(words, np.int32),
        np.array(ends),
        np.array(named, np.int32),
        np.array([*number], object),
    )


def in_pieces(texts: Numbered) -> Iterator[Piece]:
    """Yield the texts in Pieces of some PIECE words."""
    cuts = np.searchsorted(texts.ends, np.arange(0, max(1, texts.ends[-1]), PIECE))
    for start, stop in itertools.pairwise([*cuts.tolist(), len(texts.named)]):
        first, last = texts.ends[start], texts.ends[stop]
        words = texts.words[first:last].astype(np.int64)
        owners = np.repeat(np.arange(stop - start), np.diff(texts.ends[start : stop + 1]))
        places = np.arange(first, last) - texts.ends[start:][owners]
        in_row = owners[1:] == owners[:-1]
        yield Piece(
            stop - start,
            owners,
            words,
            places < texts.named[start:][owners],
            owners[1:][in_row],
            words[:-1][in_row] * len(texts.spelled) + words[1:][in_row],
        )


def frequent_pairs(texts: Numbered, least: int) -> np.ndarray:
    """int64, ascending: the pairs that stand in texts at least so often, and a few others. Most
    pairs are rare, so they are counted by a hash first (Fibonacci hashing, Knuth, The Art of
    Computer Programming 3, 6.4)."""

    def hashed(pairs):
        spread = pairs.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return (spread >> np.uint64(64 - HASH_BITS)).astype(np.int64)

    often = np.zeros(2**HASH_BITS, np.int32)
    for piece in in_pieces(texts):
        np.add.at(often, hashed(piece.pairs), np.int32(1))  # with a plain 1 fifteen times as long
    found = [np.zeros(0, np.int64)]
    for piece in in_pieces(texts):
        kept = np.sort(piece.pairs[often[hashed(piece.pairs)] >= least])
        found.append(kept[np.append(True, kept[1:] != kept[:-1])[: len(kept)]])
    return np.unique(np.concatenate(found))


def count_terms(
    read: Callable[[], Iterable[tuple[str, str]]],
    cut: Callable[[str], list[str]] = tokens,
    words_alone: bool = False,
) -> Terms:
    """The Terms of texts, without most of the pairs that are too rare to be one; with words_alone,
    of their words. read() yields the (name, description) of each text. Raises UserError if there is
    not a word in them."""

    def words():
        return (cut(name) + cut(description) for name, description in read())

    texts = numbered(read(), cut)
    if not len(texts.words):
        raise UserError("these products have no words in name or description")
    least, count = max(3, len(texts.named) // 20_000), len(texts.spelled)
    named, pairs = np.zeros(count, bool), np.zeros(0, np.int64)
    if not words_alone:
        for piece in in_pieces(texts):
            named[piece.words[piece.in_name]] = True
        pairs = frequent_pairs(texts, least)
    parts = (
        texts.spelled,
        "name:" + texts.spelled[named],
        texts.spelled[pairs // count] + " " + texts.spelled[pairs % count],
    )
    names = np.concatenate(parts)
    kinds = np.repeat(np.arange(3, dtype=np.uint8), [*map(len, parts)])
    order = np.array(sorted(range(len(names)), key=names.__getitem__))
    column = np.empty(len(order), np.int32)
    column[order] = np.arange(len(order), dtype=np.int32)
    return Terms(matrix(texts, named, pairs, column), names[order], kinds[order], least, words)


def matrix(texts: Numbered, named: np.ndarray, pairs: np.ndarray, column: np.ndarray) -> Any:
    """CSR int32 [n, terms]: how often each text has each term. The terms are all words, those that
    are `named`, bool [words], once more as words of names, and `pairs`, ascending; `column` says
    where each stands."""
    count = len(texts.spelled)
    of_name = np.full(count, -1, np.int32)
    of_name[named] = column[count : count + named.sum()]
    places = Places(column[:count], of_name, pairs, column[count + named.sum() :])
    return counted(texts, places, len(column))


def counted(texts: Numbered, places: Places, width: int) -> Any:
    """CSR int32 [n, width]: how often each text has each term."""
    from scipy import sparse

    of_word, of_name, pairs, of_pair = places
    lengths, indices, data = [np.zeros(0, int)], [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for piece in in_pieces(texts):
        word = of_word[piece.words] >= 0
        name = piece.in_name & (of_name[piece.words] >= 0)
        place = np.searchsorted(pairs, piece.pairs)
        pair = np.append(pairs, -1)[place] == piece.pairs
        owners = (piece.owners[word], piece.owners[name], piece.pair_owners[pair])
        columns = (of_word[piece.words[word]], of_name[piece.words[name]], of_pair[place[pair]])
        ones = np.ones(sum(map(len, owners)), np.int32)
        cells = np.concatenate(owners), np.concatenate(columns)
        part = sparse.csr_matrix((ones, cells), (piece.texts, width))
        lengths.append(np.diff(part.indptr))
        indices.append(part.indices)
        data.append(part.data)
    ends = np.append(0, np.cumsum(np.concatenate(lengths), dtype=np.int64))
    return sparse.csr_matrix(
        (np.concatenate(data), np.concatenate(indices), ends), (len(texts.named), width)
    )


def choose_terms(terms: Terms, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vocabulary of the texts `rows`: of each kind the 20,000 terms that most of them have (of
    equals the first in the alphabet). Returns (columns of terms.counts, in order, inverse document
    frequencies float32, ln((1 + n) / (1 + texts that have it)) + 1)."""
    often = np.bincount(terms.counts[rows].indices, minlength=len(terms.names))
    chosen = []
    for kind, least in ((WORD, 1), (WORD_OF_NAME, 1), (PAIR, terms.least)):
        able = np.flatnonzero((terms.kinds == kind) & (often >= least))
        if kind != PAIR:
            able = able[[len(name.removeprefix("name:")) <= LONGEST for name in terms.names[able]]]
        chosen.append(np.sort(able[np.argsort(-often[able], kind="stable")[:VOCABULARY]]))
    columns = np.concatenate(chosen)
    return columns, (np.log((1 + len(rows)) / (1 + often[columns])) + 1).astype(np.float32)


def presence(terms: Terms, columns: np.ndarray) -> Any:
    """CSR float32 [n, columns], 1 if a text has the term."""
    has = terms.counts[:, columns]
    has.data = np.ones(len(has.data), np.float32)
    has.sort_indices()
    return has
