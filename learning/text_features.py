"""Texts -> words -> a bag of words, and what each word of a text says for a category.

In: the texts of products. Out: sparse matrices over a vocabulary, counted by scikit-learn, and the
contributions of words to a saved network's scores. No TensorFlow here, and scikit-learn, which is
slow to import, only for training. The classifiers of text use it:

    python categorize_words.py --min-products 50
    python categorize_words.py --explain 17 --experiment 1
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from common.terminal import UserError
from common.text import composed, unescaped

VOCABULARY = 20_000  # words, and as many words of names and pairs
BUCKETS = 2**24  # that pairs are counted in, before they are told apart
LONGEST = 100  # characters; what is longer is no word that a second text will have
WORD, WORD_OF_NAME, PAIR = range(3)  # kinds of terms
TAG = re.compile(r"<[/!?a-zA-Z][^<>]*>")
# All of ASCII but letters, digits and the apostrophe is a blank.
ASCII = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "'")}
# Python's \w leaves out the vowel signs of Hebrew, Arabic and the scripts from India to Cambodia,
# and accents that have no letter of their own together with what they are on.
SIGNS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0670\u06d6-\u06dc\u0900-\u0963"
    "\u0971-\u0e3e\u0e40-\u0e4e\u0e81-\u0ece\u0f71-\u0f84\u1000-\u1049\u1780-\u17d3"
)
NO_WORD = re.compile(rf"[^\w'{SIGNS}]+|_+")
# Scripts that are written without blanks: each of their characters is a word.
ALONE = re.compile(
    "[\u3041-\u3096\u30a1-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
LOOSE = re.compile(r"(?<![^\s'])'+|'+(?![^\s'])")


class Terms(NamedTuple):
    """Which of n texts has which term how often."""

    counts: Any  # scipy CSR int32 [n, terms]
    names: np.ndarray  # object [terms]: `jean`, `name:jean`, `flared jean`, in alphabetical order
    kinds: np.ndarray  # uint8 [terms]: WORD wherever it stands, WORD_OF_NAME, PAIR in a row
    least: int  # how many training texts must have a pair before it is a term
    words: Callable[[], Iterator[list[str]]]  # yields the words of each text once more


def tokens(text: str) -> list[str]:
    """The words of a text: entities read once, markup dropped, case folded, and letters and digits
    of any language kept together with the apostrophes between them (women's, café, 27)."""
    if "&" in text or "<" in text:
        text = TAG.sub(" ", unescaped(text))
    if text.isascii():
        text = text.lower().translate(ASCII)
    else:
        text = composed("NFKC", text).casefold().replace("\u2019", "'")
        text = ALONE.sub(r" \g<0> ", NO_WORD.sub(" ", text))
    return (LOOSE.sub(" ", text) if "'" in text else text).split()


def tokens_of_2016(text: str) -> list[str]:
    """The words as the original study cut them: only tags of one or two characters dropped, then
    all but a to z, 0 to 9 and the blank deleted, which glues what a line break parted."""
    return re.sub("[^a-z0-9 ]", "", re.sub("<..?>", " ", text.lower())).split()


def terms_of(
    title: list[str], description: list[str], frequent: np.ndarray | None = None
) -> list[str]:
    """The terms of the words of a name and of a description: each word, each word of the name once
    more, and the pairs of words in a row; if `frequent` is given, bool [BUCKETS], only pairs of its
    buckets."""
    words = title + description
    pairs: Iterable[tuple[str, str]] = zip(words, words[1:])
    if frequent is not None:
        pairs = itertools.compress(pairs, frequent[pair_buckets(words)].tolist())
    return [*words, *("name:" + word for word in title), *map(" ".join, pairs)]


def pair_buckets(words: list[str]) -> np.ndarray:
    """int64 [words - 1]: the bucket of each pair of words in a row, a hash of the pair."""
    hashes = np.fromiter(map(hash, words), np.int64, len(words))
    return (3 * hashes[:-1] + hashes[1:]) % BUCKETS


def count_terms(
    read: Callable[[], Iterable[tuple[str, str]]],
    cut: Callable[[str], list[str]] = tokens,
    words_alone: bool = False,
) -> Terms:
    """The Terms of texts, without most of the pairs that are too rare to be one. read() yields the
    (name, description) of each text, and is called twice: for the buckets of pairs that at least
    `least` texts have, and for the terms. Raises UserError if there is not a word in them."""
    from scipy import sparse
    from sklearn.feature_extraction.text import CountVectorizer

    def words():
        return (cut(name) + cut(description) for name, description in read())

    texts_with, count = np.zeros(BUCKETS, np.int32), 0
    if not words_alone:
        for text in words():
            texts_with[pair_buckets(text)] += 1
            count += 1
    least = max(3, count // 20_000)
    frequent = texts_with >= least

    def analyze(text):
        title, description = map(cut, text)
        return title + description if words_alone else terms_of(title, description, frequent)

    vectorizer = CountVectorizer(analyzer=analyze, dtype=np.int32)
    try:
        counts = sparse.csr_matrix(vectorizer.fit_transform(read()))
    except ValueError:  # its vocabulary is empty
        raise UserError("these products have no words in name or description") from None
    names = vectorizer.get_feature_names_out()
    kinds = [
        WORD_OF_NAME if name.startswith("name:") else PAIR if " " in name else WORD
        for name in names
    ]
    return Terms(counts, names, np.array(kinds, np.uint8), least, words)


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


def weigh(has: Any, idf: np.ndarray) -> Any:
    """The bag of words float32 of CSR [n, columns], 1 if a text has a term: TF-IDF rows of
    length 5, as long as a text of 25 words of which all count alike."""
    bag = has.astype(np.float32)
    bag.data *= idf[bag.indices]
    square = np.add.reduceat(np.append(bag.data**2, 0), bag.indptr[:-1])
    square[np.diff(bag.indptr) == 0] = 1
    bag.data *= np.repeat((5 / np.sqrt(square)).astype(np.float32), np.diff(bag.indptr))
    return bag


# ---- what a saved network makes of words --------------------------------------------------------


class Lexicon(NamedTuple):
    """A saved model's vocabulary, ready for texts to be looked up in."""

    cut: Callable[[str], list[str]]
    fields: tuple[str, ...]  # of name and description, what is read
    columns: dict[str, int]  # of a term
    idf: np.ndarray | None  # float32 [terms], None if the bag is of 0 and 1


def make_lexicon(described: dict, weights: dict) -> Lexicon:
    """The Lexicon of a model, by its description and weights as of saved_models.load_model."""
    original = described.get("network") == "original"
    return Lexicon(
        tokens_of_2016 if original else tokens,
        tuple(described.get("fields", ("name", "description"))),
        {term: column for column, term in enumerate(described["vocabulary"])},
        weights.get("idf"),
    )


def words_weights(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of the network of words in those of a saved model, which may fuse it with others:
    with an encoder's, and then with a picture's (fusion.fusion puts their names before them)."""
    for prefix in ("text_", "words_"):
        within = {
            name.removeprefix(prefix): array
            for name, array in weights.items()
            if name.startswith(prefix)
        }
        weights = within or weights
    return weights


def bag_of(
    lexicon: Lexicon, texts: Iterable[tuple[str, str]], width: int
) -> tuple[Any, np.ndarray, np.ndarray]:
    """(CSR float32 [n, width], words int [n], how many of them are not in the vocabulary int [n])
    of n pairs (name, description)."""
    from scipy import sparse

    known, lengths, unknown = [], [], []
    for name, description in texts:
        title, rest = (
            lexicon.cut(text) if field in lexicon.fields else []
            for field, text in (("name", name), ("description", description))
        )
        known.append(
            sorted(
                {lexicon.columns[term] for term in terms_of(title, rest) if term in lexicon.columns}
            )
        )
        lengths.append(len(title) + len(rest))
        unknown.append(sum(word not in lexicon.columns for word in title + rest))
    ends = np.cumsum([0, *map(len, known)])
    columns = np.fromiter(itertools.chain.from_iterable(known), np.int32, ends[-1])
    has = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, ends), (len(known), width))
    bag = has if lexicon.idf is None else weigh(has, lexicon.idf)
    return bag, np.array(lengths, int), np.array(unknown, int)


def one_text(
    described: dict, weights: dict, name: str, description: str, lexicon: Lexicon | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(columns, values) of the bag of words of one text for a saved model: its description and its
    weights, as saved_models.load_model gives them; with its Lexicon, if that is at hand."""
    bag = bag_of(
        lexicon or make_lexicon(described, weights),
        [(name, description)],
        len(described["vocabulary"]),
    )[0]
    return bag.indices, bag.data


def contributions(
    weights: dict[str, np.ndarray], columns: np.ndarray, values: np.ndarray, first: int, second: int
) -> tuple[np.ndarray, float]:
    """What each term of a product adds to the logit of class `first` over that of `second`, and
    what is left without words. Around a product the network is linear, so these sum to the
    difference of the two logits: each is the gradient times the term's value."""
    kernel = weights["hidden_kernel"][columns]
    active = values @ kernel + weights["hidden_bias"] > 0
    outward = weights["kernel"][: len(active)]
    direction = (outward[:, first] - outward[:, second]) * active
    rest = weights["bias"][first] - weights["bias"][second] + weights["hidden_bias"] @ direction
    return values * (kernel @ direction), float(rest)
