"""Near-duplicates: texts that differ by a word or two, such as the colours of one style.

In: names and descriptions. Out: clusters of products for the split, and for a product whether some
others hold a near-duplicate of it. A text is its set of different words. Two texts are
near-duplicates if the sets are equal once at most one word of each, or two words of each name, is
left out (colour, size and number stand in the name), and enough words are left.

Each text has signatures: a hash of its set, of what is left without one of its first 256 words, and
without two words of the name. Texts that share a signature are near-duplicates, so sorting finds
them all in near-linear time. This is the method of deletions, made for letters of misspelt words by
Mor and Fraenkel (A hash code method for detecting and correcting spelling errors, Communications of
the ACM 25(12), 1982), here with words of texts. The hash of a set is the sum of its words' hashes,
as in Bellare and Micciancio (A new paradigm for collision-free hashing, EUROCRYPT 1997), so that
leaving a word out is one subtraction. Numpy and scipy only; experiments.py splits by it, and
filing.py compares new products with it.

    python categorize_words.py --split-by group
    python benchmarks/near_duplicates.py
"""
import hashlib
import itertools
from typing import Any, NamedTuple

import numpy as np

from common.text import normalised

# (words that must be left without one word, without two words of the name)
STYLE = (4, 8)     # for clusters: a short text says too little to tell a style by
FINEST = (2, 6)    # for the question whether there is any near-duplicate
MOST_GROUPS = 100  # of one cluster; more are no style, but a chain
LEFT_OUT = 256     # words of a text that are left out one by one: the first, the name among them
NAME_WORDS = 12    # whose pairs are left out: the last of a name, where colour and size stand
CHUNK = 20_000     # texts whose signatures are computed at a time
SORTED = 8_000_000   # signatures that are sorted at a time, more or less
VOCABULARY = 1_000_000   # words whose hashes are remembered


class Texts(NamedTuple):
    """Sets of words, of n texts with w different words in each of them summed up. A text's words
    stand side by side, those of the name first."""
    hashes: Any    # uint64 [w]
    ends: Any      # int64 [n + 1], text i has the words ends[i] to ends[i + 1]
    named: Any     # int32 [n], how many of them are of the name


class Clusters(NamedTuple):
    """What parts the products of a catalogue into styles."""
    ids: list        # of products in clusters of two groups or more
    keys: list       # of their clusters: the smallest group key of each
    report: dict     # products, near-duplicates, styles, groups of the largest, [groups of chains]


# ---- signatures ---------------------------------------------------------------------------------

class WordHashes(dict):
    """{word: 64 bits that are the same in every process}, filled as it is asked."""

    def __missing__(self, word):
        if len(self) >= VOCABULARY:
            self.clear()
        own = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"),
                                             digest_size=8).digest(), "little")
        self[word] = own
        return own


def read_texts(texts, known=None):
    """Texts of an iterable of (name, description). `known` is a WordHashes of before."""
    known = WordHashes() if known is None else known
    pieces, hashes, lengths, named = [], [], [], []
    for name, description in texts:
        words = dict.fromkeys(normalised(name, None).split())
        named.append(len(words))
        if description:
            words.update(dict.fromkeys(normalised(None, description).split()))
        lengths.append(len(words))
        hashes += map(known.__getitem__, words)
        if len(hashes) > 1_000_000:   # as a list they take four times the memory
            pieces.append(np.array(hashes, np.uint64))
            hashes = []
    pieces.append(np.array(hashes, np.uint64))
    return Texts(np.concatenate(pieces), np.append(0, np.cumsum(np.array(lengths, np.int64))),
                 np.array(named, np.int32))


def signatures(texts, rows, least):
    """(signatures uint64 [m], their texts int [m]) of the texts `rows`, a slice, which ask for at
    least so many words left, as in STYLE. A text without words has none."""
    first, last = texts.ends[rows.start], texts.ends[rows.stop]
    hashes, ends = texts.hashes[first:last], texts.ends[rows.start:rows.stop + 1] - first
    length = np.diff(ends)
    sums = np.append(hashes, np.uint64(0))
    sums = np.where(length > 0, np.add.reduceat(sums, ends[:-1]), np.uint64(0))
    some = np.flatnonzero(length > 0)
    found, owners = [sums[some]], [some]
    word_owner = np.repeat(np.arange(len(length)), length)
    left_out = np.arange(len(word_owner)) - ends[word_owner] < LEFT_OUT
    left_out &= length[word_owner] > least[0]
    owners.append(word_owner[left_out])
    found.append(sums[owners[-1]] - hashes[left_out])
    named = np.minimum(texts.named[rows], NAME_WORDS)
    skipped = texts.named[rows] - named
    for count in range(2, NAME_WORDS + 1):
        some = np.flatnonzero((named == count) & (length >= least[1] + 2))
        words = hashes[(ends[some] + skipped[some])[:, None] + np.arange(count)]
        one, other = np.triu_indices(count, 1)
        found.append((sums[some][:, None] - words[:, one] - words[:, other]).ravel())
        owners.append(np.repeat(some, len(one)))
    return np.concatenate(found), np.concatenate(owners) + rows.start


def shared(texts, least):
    """Yield (codes, texts), int [m] each, of the signatures that two texts or more have, ordered by
    code, all of a signature in one yield: some of the signatures at a time, so that memory stays
    small."""
    n = len(texts.named)
    pairs = np.minimum(texts.named, NAME_WORDS).astype(np.int64)
    total = int(np.minimum(np.diff(texts.ends), LEFT_OUT).sum() + (pairs * (pairs - 1) // 2).sum())
    bits = max(0, int(np.ceil(np.log2(max(1, total) / SORTED))))
    for part in range(2 ** bits):
        found, owners = [], []
        for start in range(0, n, CHUNK):
            own, whose = signatures(texts, slice(start, min(n, start + CHUNK)), least)
            if bits:
                here = own >> np.uint64(64 - bits) == part
                own, whose = own[here], whose[here]
            found.append(own)
            owners.append(whose.astype(np.int32))
        if not sum(map(len, found)):
            continue
        found, owners = np.concatenate(found), np.concatenate(owners)
        order = np.argsort(found)
        found, owners = found[order], owners[order]
        same = found[1:] == found[:-1]
        several = np.append(same, False) | np.append(False, same)
        yield np.cumsum(np.append(True, ~same))[several], owners[several]


# ---- clusters for the split ---------------------------------------------------------------------

def components(groups, texts, least):
    """int [g]: a number for each group, which groups that are linked by near-duplicates share.
    groups int [n] says whose each text is, from 0 to g - 1."""
    from scipy import sparse  # slow to import
    from scipy.sparse import csgraph

    count = int(groups.max(initial=-1)) + 1
    found = np.arange(count)
    for codes, owners in shared(texts, least):
        own = found[groups[owners]]
        link = (codes[1:] == codes[:-1]) & (own[1:] != own[:-1])
        first, second = own[:-1][link], own[1:][link]
        _, merged = csgraph.connected_components(sparse.coo_matrix(
            (np.ones(len(first), bool), (first, second)), (count, count)), directed=False)
        found = merged[found]
    return found


def taken(texts, rows):
    """The Texts of some row numbers, ascending."""
    lengths = np.diff(texts.ends)
    keep = np.repeat(np.isin(np.arange(len(lengths)), rows), lengths)
    return Texts(texts.hashes[keep], np.append(0, np.cumsum(lengths[rows])), texts.named[rows])


def bounded(groups, texts, least=STYLE, most=MOST_GROUPS):
    """(int [g], int [chains]): a number for each group, which those of a cluster share, and how
    many groups each of the chains had.

    A component of more than `most` groups is a chain. Its members are linked again by longer texts
    alone, by a word or a fifth more at a time: so a style with a long text stays whole, although a
    short text links it with half of a shop. What no length parts stays alone, each group.
    """
    found = components(groups, texts, least)
    size = np.bincount(found)
    chains, large = size[size > most], size[found] > most
    while large.any():
        rows = np.flatnonzero(large[groups])
        names, own = np.unique(groups[rows], return_inverse=True)
        some = taken(texts, rows)
        longer = max(least[0] + 1, least[0] * 6 // 5)
        least = (longer, max(longer, least[1]))
        if least[0] >= np.diff(some.ends).max():
            found[names] = found.max() + 1 + np.arange(len(names))
            break
        again = components(own, some, least)
        found[names] = found.max() + 1 + again
        large = np.zeros(len(found), bool)
        large[names] = np.bincount(again)[again] > most
    return np.unique(found, return_inverse=True)[1], chains


def find_clusters(products):
    """Clusters of a catalogue, rows (id, group key, name, description) of its products."""
    ids, places, groups = [], {}, []

    def texts():
        for number, key, name, description in products:
            ids.append(number)
            groups.append(places.setdefault(key, len(places)))
            yield name, description

    read = read_texts(texts())
    found, chains = bounded(np.array(groups, np.int64), read)
    size, keys, clustered, of = np.bincount(found), {}, [], []
    for key, cluster in zip(places, found.tolist()):
        if size[cluster] > 1:
            keys[cluster] = min(key, keys.get(cluster, key))
    for number, cluster in zip(ids, found[groups].tolist() if ids else ()):
        if cluster in keys:
            clustered.append(number)
            of.append(keys[cluster])
    return Clusters(clustered, of, {
        "products": len(ids), "near-duplicates": len(clustered), "styles": len(keys),
        "largest": int(max(size, default=1)), "chains": np.sort(chains)[::-1].tolist()})


def without(clusters, ids):
    """The Clusters that hold none of these products."""
    gone = {key for number, key in zip(clusters.ids, clusters.keys) if number in ids}
    kept = [(number, key) for number, key in zip(clusters.ids, clusters.keys) if key not in gone]
    return Clusters([number for number, _ in kept], [key for _, key in kept],
                    {**clusters.report, "parted for training": len(gone)})


def report_lines(found):
    """Lines about the clusters of find_clusters, by its report."""
    yield f"{found['near-duplicates']:,} of {found['products']:,} products are near-duplicates " \
          f"of products in other groups: {found['styles']:,} " \
          f"{'style' if found['styles'] == 1 else 'styles'}"
    if found.get("parted for training"):
        yield f"{found['parted for training']:,} of these were split by group: whole, they would " \
              "have left a category nothing to train on"
    chains = found["chains"]
    if chains:
        one = len(chains) == 1
        yield f"{len(chains)} {'chain' if one else 'chains'} of near-duplicates, " \
              f"{'of' if one else 'the largest of'} {chains[0]:,} groups, " \
              f"{'is' if one else 'are'} too long for a style: texts there run into each other " \
              "word by word. Only what longer texts link was kept together, so test products " \
              "there may have a near-duplicate in training"


# ---- whether a product has a near-duplicate -----------------------------------------------------

def among(texts, sides):
    """Whether each text has a near-duplicate at the FINEST on each side: a list of bool [n] for
    `sides`, a list of bool [n]. It says nothing of a text that is on the side itself."""
    found = [np.zeros(len(texts.named), bool) for _ in sides]
    for codes, owners in shared(texts, FINEST):
        for side, own in zip(sides, found):
            known = np.zeros(codes.max(initial=0) + 1, bool)
            known[codes[side[owners]]] = True
            own[owners[known[codes]]] = True
    return found


def twin_columns(catalogue, ids, trained, tables):
    """For each of the `tables`, lists of rows whose first cell is a product and whose ninth a fold,
    a list of 0 and 1: whether a near-duplicate of the product is among those that the fold's model
    was `trained` on, places in ids, int [n], ascending. catalogue is rows as in find_clusters."""
    own = set(ids.tolist())
    texts = read_texts(row[2:] for row in catalogue if row[0] in own)
    sides = np.zeros((len(trained), len(ids)), bool)
    for side, rows in zip(sides, trained):
        side[rows] = True
    found = among(texts, list(sides))
    return [[int(found[row[8]][np.searchsorted(ids, row[0])]) for row in rows] for rows in tables]


def product_signatures(products, known):
    """(signatures uint64 [m], row numbers int [m]) at the FINEST of rows (group key, name,
    description): also what shares the group is near."""
    texts = read_texts((row[1:] for row in products), known)
    own, rows = signatures(texts, slice(0, len(products)), FINEST)
    # A word of a text has no such character.
    keys = np.array([known[f"\0{row[0]}"] for row in products], np.uint64)
    return np.append(own, keys), np.append(rows, np.arange(len(products)))


def seek(labelled):
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
        own, whose = product_signatures(rows, hashes)
        place = np.searchsorted(known, own)
        found = np.zeros(len(rows), bool)
        found[whose[np.append(known, np.uint64(0))[place] == own]] = True
        return found & (len(known) > 0)

    return near
