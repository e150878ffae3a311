"""Texts -> words -> a bag of words, and what each word of a text says for a category.

In: the texts of products. Out: a Corpus, sparse matrices over a vocabulary, and the contributions
of words to a saved network's scores. No TensorFlow here. The classifiers of text use it:

    python categorize_words.py --min-products 50
    python categorize_words.py --explain 17 --experiment 1
"""
import collections
import html
import itertools
import re
import unicodedata
from typing import Any, NamedTuple

import numpy as np

from common.terminal import UserError

VOCABULARY = 20_000  # words, and as many words of names and pairs
TEXTS = 10_000       # read at a time
LONGEST = 100        # characters; what is longer is no word that a second text will have
WORD, WORD_OF_NAME, PAIR = range(3)   # kinds of terms
TAG = re.compile(r"<[/!?a-zA-Z][^<>]*>")
# All of ASCII but letters, digits and the apostrophe is a blank.
ASCII = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "'")}
# Python's \w leaves out the vowel signs of Hebrew, Arabic and the scripts from India to Cambodia,
# and accents that have no letter of their own together with what they are on.
SIGNS = ("\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0670\u06d6-\u06dc\u0900-\u0963"
         "\u0971-\u0e3e\u0e40-\u0e4e\u0e81-\u0ece\u0f71-\u0f84\u1000-\u1049\u1780-\u17d3")
NO_WORD = re.compile(rf"[^\w'{SIGNS}]+|_+")
# Scripts that are written without blanks: each of their characters is a word.
ALONE = re.compile("[\u3041-\u3096\u30a1-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
                   "\U00020000-\U0003ffff]")
LOOSE = re.compile(r"(?<![^\s'])'+|'+(?![^\s'])")


class Corpus(NamedTuple):
    """The words of n texts, in order: those of the name, then those of the description."""
    words: Any    # int32 [words], index into vocabulary
    ends: Any     # int64 [n + 1], where a text ends and the next begins, from 0
    names: Any    # int64 [n], how many words of a text are its name's
    vocabulary: Any   # object [distinct words], in the order of the alphabet


class Terms(NamedTuple):
    """Which of n texts has which term."""
    has: Any      # CSR uint8 [n, terms], 1 where a text has the term
    kinds: Any    # uint8 [terms]: WORD wherever it stands, WORD_OF_NAME, PAIR of words in a row
    codes: Any    # int64 [terms]: the word's place in the vocabulary, of pairs the first one's *
    #               distinct words + the second one's
    corpus: Corpus
    least: int    # how many training texts must have a pair before it is a term


def tokens(text):
    """The words of a text: entities read once, markup dropped, case folded, and letters and digits
    of any language kept together with the apostrophes between them (women's, café, 27)."""
    if "&" in text or "<" in text:
        text = TAG.sub(" ", html.unescape(text))
    if text.isascii():
        text = text.lower().translate(ASCII)
    else:
        text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
        text = ALONE.sub(r" \g<0> ", NO_WORD.sub(" ", text))
    return (LOOSE.sub(" ", text) if "'" in text else text).split()


def tokens_of_2016(text):
    """The words as the original study cut them: only tags of one or two characters dropped, then
    all but a to z, 0 to 9 and the blank deleted, which glues what a line break parted."""
    return re.sub("[^a-z0-9 ]", "", re.sub("<..?>", " ", text.lower())).split()


def read_texts(texts, cut=tokens):
    """The Corpus of (name, description) pairs, read once, a chunk at a time; no loop in Python goes
    over words."""
    number = collections.defaultdict(itertools.count().__next__)
    words, lengths, names, texts = [np.zeros(0, np.int32)], [0], [], iter(texts)
    while chunk := [(cut(name), cut(text)) for name, text in itertools.islice(texts, TEXTS)]:
        names += [len(name) for name, _ in chunk]
        lengths += [len(name) + len(text) for name, text in chunk]
        flat = itertools.chain.from_iterable(itertools.chain.from_iterable(chunk))
        words.append(np.fromiter(map(number.__getitem__, flat), np.int32))
    vocabulary = np.array(list(number), object)
    order = np.argsort(vocabulary)
    place = np.empty(len(vocabulary), np.int32)
    place[order] = np.arange(len(vocabulary))
    words = np.concatenate(words)
    return Corpus(place[words] if len(words) else words, np.cumsum(lengths),
                  np.array(names, np.int64), vocabulary[order])


def presence(columns, ends, width):
    """CSR uint8 [n, width], 1 where text i has it among its columns[ends[i]:ends[i + 1]]."""
    from scipy import sparse
    found = sparse.csr_matrix((np.ones(len(columns), np.uint8), columns, ends),
                              (len(ends) - 1, width))
    found.sum_duplicates()
    found.data[:] = 1
    return found


def count_terms(corpus, names=True, pairs=True):
    """The Terms of a Corpus. Raises UserError where there is not a word in it."""
    from scipy import sparse
    if not len(corpus.words):
        raise UserError("these products have no words in name or description")
    size, n = len(corpus.vocabulary), len(corpus.names)
    least = max(3, n // 20_000)
    kinds, codes = [WORD], [np.arange(size)]
    parts = [presence(corpus.words.copy(), corpus.ends, size)]
    if names:
        rows = np.repeat(np.arange(n), np.diff(corpus.ends))
        own = np.arange(len(rows)) - corpus.ends[rows] < corpus.names[rows]
        parts.append(presence(corpus.words[own], np.append(0, np.cumsum(corpus.names)), size))
        codes.append(np.arange(size))
        kinds.append(WORD_OF_NAME)
    if pairs:
        found, ends = frequent_pairs(corpus, least)
        distinct, columns = np.unique(found, return_inverse=True)
        parts.append(presence(columns.astype(np.int32), ends, len(distinct)))
        codes.append(distinct)
        kinds.append(PAIR)
    return Terms(sparse.hstack(parts, "csr", np.uint8),
                 np.repeat(np.array(kinds, np.uint8), [len(some) for some in codes]),
                 np.concatenate(codes), corpus, least)


def frequent_pairs(corpus, least):
    """(codes int64, ends) of the pairs of words in each text, without most of those that fewer than
    `least` texts have: a pair is left out where all pairs with its hash are too few."""
    size, n, buckets = len(corpus.vocabulary), len(corpus.names), 2 ** 22
    starts = [*range(0, n, TEXTS), n]

    def chunks():
        for first, last in zip(starts, starts[1:]):
            ends = corpus.ends[first:last + 1]
            words = corpus.words[ends[0]:ends[-1]].astype(np.int64)
            inside = np.ones(len(words), bool)
            inside[ends[1:][np.diff(ends) > 0] - ends[0] - 1] = False   # a text's last word
            left = np.flatnonzero(inside)
            text = np.repeat(np.arange(last - first), np.diff(ends))[left]
            code = words[left] * size + words[left + 1]
            bucket = (code.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(42)
            yield code, bucket.astype(np.int64), text, last - first

    total = np.zeros(buckets, np.int64)
    for _, bucket, *_ in chunks():
        total += np.bincount(bucket, minlength=buckets)
    kept, counts = [np.zeros(0, np.int64)], [np.zeros(1, np.int64)]
    for code, bucket, text, texts in chunks():
        often = total[bucket] >= least
        kept.append(code[often])
        counts.append(np.bincount(text[often], minlength=texts))
    return np.concatenate(kept), np.cumsum(np.concatenate(counts))


def choose_terms(terms, rows):
    """The vocabulary of the texts `rows`: of each kind the 20,000 terms that most of them have (of
    equals the first in the alphabet). Returns (columns of terms.has, in order, inverse document
    frequencies float32, ln((1 + n) / (1 + texts that have it)) + 1)."""
    often = np.bincount(terms.has[rows].indices, minlength=terms.has.shape[1])
    long = np.array([len(word) > LONGEST for word in terms.corpus.vocabulary])
    chosen = []
    for kind, least in ((WORD, 1), (WORD_OF_NAME, 1), (PAIR, terms.least)):
        some = np.flatnonzero((terms.kinds == kind) & (often >= least))
        if kind != PAIR:
            some = some[~long[terms.codes[some]]]
        chosen.append(np.sort(some[np.argsort(-often[some], kind="stable")[:VOCABULARY]]))
    columns = np.concatenate(chosen)
    return columns, (np.log((1 + len(rows)) / (1 + often[columns])) + 1).astype(np.float32)


def term_names(terms, columns):
    """The terms in words: `jean`, `name:jean`, `flared jean`."""
    words, size = terms.corpus.vocabulary, len(terms.corpus.vocabulary)

    def name(kind, code):
        if kind == PAIR:
            return f"{words[code // size]} {words[code % size]}"
        return f"name:{words[code]}" if kind == WORD_OF_NAME else words[code]

    return [name(kind, code) for kind, code in zip(terms.kinds[columns].tolist(),
                                                   terms.codes[columns].tolist())]


def weigh(has, idf):
    """The bag of words float32 of CSR [n, columns], 1 where a text has a term: TF-IDF rows of
    length 5, as long as a text of 25 words of which all count alike."""
    bag = has.astype(np.float32)
    bag.data *= idf[bag.indices]
    square = np.add.reduceat(np.append(bag.data ** 2, 0), bag.indptr[:-1])
    square[np.diff(bag.indptr) == 0] = 1
    bag.data *= np.repeat((5 / np.sqrt(square)).astype(np.float32), np.diff(bag.indptr))
    return bag


# ---- what a saved network makes of words --------------------------------------------------------

class Lexicon(NamedTuple):
    """A saved model's vocabulary, ready for texts to be looked up in."""
    cut: Any        # function: text -> its words
    fields: tuple   # of name and description, what is read
    number: dict    # word -> its number, of all words in its terms
    columns: tuple  # int [numbers]: the column of the word itself, and of it as a word of the name;
    #                 -1 where there is none
    pairs: Any      # int64 [pairs], first number * count of numbers + second, ascending
    of_pairs: Any   # int [pairs], their columns
    idf: Any        # float32 [terms], None where the bag is of 0 and 1


def make_lexicon(described, weights):
    """The Lexicon of a model, by its description and weights as of saved_models.load_model."""
    vocabulary, number = described["vocabulary"], {}
    terms = [[number.setdefault(word, len(number))
              for word in term.removeprefix("name:").split(" ")] for term in vocabulary]
    columns = np.full((2, len(number)), -1)
    codes, of_pairs = [], []
    for column, (own, term) in enumerate(zip(terms, vocabulary)):
        if len(own) == 2:
            codes.append(own[0] * len(number) + own[1])
            of_pairs.append(column)
        else:
            columns[int(term.startswith("name:")), own[0]] = column
    order = np.argsort(np.array(codes, np.int64))
    original = described.get("network") == "original"
    return Lexicon(tokens_of_2016 if original else tokens,
                   tuple(described.get("fields", ("name", "description"))), number, tuple(columns),
                   np.array(codes, np.int64)[order], np.array(of_pairs, int)[order],
                   weights.get("idf"))


def bag_of(lexicon, texts, width):
    """(CSR float32 [n, width], words int [n], how many of them are not in the vocabulary int [n])
    of n pairs (name, description)."""
    from scipy import sparse
    name, description = (field in lexicon.fields for field in ("name", "description"))
    own, names = [], []
    for title, text in texts:
        title = lexicon.cut(title) if name else []
        names.append(len(title))
        own.append(title + lexicon.cut(text) if description else title)
    n, lengths = len(own), np.array([len(words) for words in own], int)
    numbers = np.fromiter((lexicon.number.get(word, -1)
                           for word in itertools.chain.from_iterable(own)), np.int64)
    rows = np.repeat(np.arange(n), lengths)
    in_name = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths) \
        < np.repeat(np.array(names, int), lengths)
    alone, named = (np.append(column, -1)[numbers] for column in lexicon.columns)
    found = [(rows, alone), (rows[in_name], named[in_name])]
    if len(lexicon.pairs) and len(rows) > 1:
        code = numbers[:-1] * len(lexicon.number) + numbers[1:]
        code[(numbers[:-1] < 0) | (numbers[1:] < 0) | (rows[:-1] != rows[1:])] = -1
        place = np.minimum(np.searchsorted(lexicon.pairs, code), len(lexicon.pairs) - 1)
        found.append((rows[:-1], np.where(lexicon.pairs[place] == code, lexicon.of_pairs[place],
                                          -1)))
    rows, columns = map(np.concatenate, zip(*found))
    rows, columns = rows[columns >= 0], columns[columns >= 0]
    has = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (n, width))
    has.sum_duplicates()
    has.data[:] = 1
    bag = has if lexicon.idf is None else weigh(has, lexicon.idf)
    unknown = np.add.reduceat(np.append(alone < 0, False).astype(int),
                              np.cumsum(lengths) - lengths)
    return bag, lengths, np.where(lengths > 0, unknown, 0)


def one_text(described, weights, name, description, lexicon=None):
    """(columns, values) of the bag of words of one text for a saved model: its description and its
    weights, as saved_models.load_model gives them; with its Lexicon, where that is at hand."""
    bag = bag_of(lexicon or make_lexicon(described, weights), [(name, description)],
                 len(described["vocabulary"]))[0]
    return bag.indices, bag.data


def contributions(weights, columns, values, first, second):
    """What each term of a product adds to the logit of class `first` over that of `second`, and
    what is left without words. Around a product the network is linear, so these sum to the
    difference of the two logits: each is the gradient times the term's value."""
    kernel = weights["hidden_kernel"][columns]
    active = values @ kernel + weights["hidden_bias"] > 0
    outward = weights["kernel"][:len(active)]
    direction = (outward[:, first] - outward[:, second]) * active
    rest = weights["bias"][first] - weights["bias"][second] + weights["hidden_bias"] @ direction
    return values * (kernel @ direction), float(rest)
