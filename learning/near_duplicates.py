"""Near-duplicates: texts that differ by at most a word or two, such as the colours of one style.

In: names and descriptions. Out: clusters of products for the split. A text is its set of different words. Two texts are
near-duplicates if the sets are equal once at most one word of each, or two words of each name, is
left out (colour, size and number stand in the name), and enough words are left.

Each text has signatures: a hash of its set, of what is left without one of its first 256 words, and
without two words of the name. Texts that share a signature are near-duplicates, so sorting finds
them all in near-linear time. This is the method of deletions, made for letters of misspelt words by
Mor and Fraenkel (A hash code method for detecting and correcting spelling errors, Communications of
the ACM 25(12), 1982), here with words of texts. The hash of a set is the sum of its words' hashes,
as in Bellare and Micciancio (A new paradigm for collision-free hashing, EUROCRYPT 1997), so that
leaving a word out is one subtraction. Numpy and scipy only; experiments.py splits by it, and
twin_search.py asks by it whether a product has a near-duplicate.

    python categorize_words.py --split-by group
    python benchmarks/near_duplicates.py
"""

from __future__ import annotations

import array
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from common.terminal import counted
from common.text import normalised

# (words that must be left without one word, without two words of the name): a short text says too
# little to tell a style by
STYLE = (4, 8)
MOST_GROUPS = 100  # of one cluster; more are no style, but a chain
LEFT_OUT = 256  # words of a text that are left out one by one: the first, the name among them
NAME_WORDS = 12  # whose pairs are left out: the last of a name, where colour and size stand
CHUNK = 20_000  # texts whose signatures are computed at a time
SORTED = 8_000_000  # signatures that are sorted at a time, more or less
MOST_PARTS = 16  # if they are more, larger parts are sorted: for each part all are computed again
VOCABULARY = 1_000_000  # words whose hashes are remembered


class Texts(NamedTuple):
    """The sets of words of n texts, w words in all. A text's words stand side by side, those of the
    name first."""

    hashes: np.ndarray  # uint64 [w]
    ends: np.ndarray  # int64 [n + 1], text i has the words ends[i] to ends[i + 1]
    named: np.ndarray  # int32 [n], how many of them are of the name


class Clusters(NamedTuple):
    """What parts the products of a catalogue into styles."""

    ids: list[int]  # of products in clusters of two groups or more
    keys: list[str]  # of their clusters: the smallest group key of each
    report: dict  # products, near-duplicates, styles, groups of the largest, [groups of chains]


# ---- signatures ---------------------------------------------------------------------------------


class WordHashes(dict):
    """{word: 64 bits that are the same in every process}, filled as it is asked."""

    def __missing__(self, word: str) -> int:
        if len(self) >= VOCABULARY:
            self.clear()
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
        self[word] = number = int.from_bytes(digest, "little")
        return number


def word_sets(texts: Iterable[Sequence], known: WordHashes | None = None) -> Texts:
    """Texts of an iterable of (name, description). `known` is a WordHashes of before."""
    known = WordHashes() if known is None else known
    hashes, ends, named = array.array("Q"), array.array("q", [0]), array.array("i")
    for name, description in texts:
        title = dict.fromkeys(normalised(name, None).split())
        named.append(len(title))
        rest = normalised(None, description).split() if description else []
        hashes.extend(map(known.__getitem__, dict.fromkeys([*title, *rest])))
        ends.append(len(hashes))
    return Texts(np.array(hashes, np.uint64), np.array(ends), np.array(named, np.int32))


def signatures(texts: Texts, rows: slice, least: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(signatures uint64 [m], their texts int [m]) of the texts `rows`, which ask for at least so
    many words left, as in STYLE. A text without words has none."""
    first, last = texts.ends[rows.start], texts.ends[rows.stop]
    hashes, ends = texts.hashes[first:last], texts.ends[rows.start : rows.stop + 1] - first
    length = np.diff(ends)
    sums = np.append(hashes, np.uint64(0))
    sums = np.where(length > 0, np.add.reduceat(sums, ends[:-1]), np.uint64(0))
    with_words = np.flatnonzero(length > 0)
    codes, owners = [sums[with_words]], [with_words]
    word_owner = np.repeat(np.arange(len(length)), length)
    left_out = np.arange(len(word_owner)) - ends[word_owner] < LEFT_OUT
    left_out &= length[word_owner] > least[0]
    owners.append(word_owner[left_out])
    codes.append(sums[owners[-1]] - hashes[left_out])
    named = np.minimum(texts.named[rows], NAME_WORDS)
    skipped = texts.named[rows] - named
    for count in range(2, NAME_WORDS + 1):
        long = np.flatnonzero((named == count) & (length >= least[1] + 2))
        words = hashes[(ends[long] + skipped[long])[:, None] + np.arange(count)]
        first_word, second_word = np.triu_indices(count, 1)
        codes.append((sums[long][:, None] - words[:, first_word] - words[:, second_word]).ravel())
        owners.append(np.repeat(long, len(first_word)))
    return np.concatenate(codes), np.concatenate(owners) + rows.start


def shared(texts: Texts, least: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (codes, texts), int [m] each, of the signatures that two texts or more have, ordered by
    code, all of a signature in one yield: a part of the signatures at a time, so that memory stays
    small. Beyond MOST_PARTS parts it grows by two bytes for each signature."""
    n = len(texts.named)
    pairs = np.minimum(texts.named, NAME_WORDS).astype(np.int64)
    total = int(np.minimum(np.diff(texts.ends), LEFT_OUT).sum() + (pairs * (pairs - 1) // 2).sum())
    bits = int(np.ceil(np.log2(np.clip(total / SORTED, 1, MOST_PARTS))))
    for part in range(2**bits):
        code_pieces, owner_pieces = [], []
        for start in range(0, n, CHUNK):
            codes, owners = signatures(texts, slice(start, min(n, start + CHUNK)), least)
            if bits:
                here = codes >> np.uint64(64 - bits) == part
                codes, owners = codes[here], owners[here]
            code_pieces.append(codes)
            owner_pieces.append(owners.astype(np.int32))
        if not sum(map(len, code_pieces)):
            continue
        codes, owners = np.concatenate(code_pieces), np.concatenate(owner_pieces)
        order = np.argsort(codes)
        codes, owners = codes[order], owners[order]
        same = codes[1:] == codes[:-1]
        several = np.append(same, False) | np.append(False, same)
        yield np.cumsum(np.append(True, ~same))[several], owners[several]


# ---- clusters for the split ---------------------------------------------------------------------


def components(groups: np.ndarray, texts: Texts, least: tuple[int, int]) -> np.ndarray:
    """int [g]: a number for each group, which groups that are linked by near-duplicates share.
    groups int [n] says whose each text is, from 0 to g - 1."""
    from scipy import sparse  # slow to import
    from scipy.sparse import csgraph

    count = int(groups.max(initial=-1)) + 1
    component = np.arange(count)
    for codes, owners in shared(texts, least):
        numbers = component[groups[owners]]
        link = (codes[1:] == codes[:-1]) & (numbers[1:] != numbers[:-1])
        first, second = numbers[:-1][link], numbers[1:][link]
        _, merged = csgraph.connected_components(
            sparse.coo_matrix((np.ones(len(first), bool), (first, second)), (count, count)),
            directed=False,
        )
        component = merged[component]
    return component


def take_texts(texts: Texts, rows: np.ndarray) -> Texts:
    """The Texts of these row numbers, ascending."""
    lengths = np.diff(texts.ends)
    keep = np.repeat(np.isin(np.arange(len(lengths)), rows), lengths)
    return Texts(texts.hashes[keep], np.append(0, np.cumsum(lengths[rows])), texts.named[rows])


def bounded(
    groups: np.ndarray, texts: Texts, least: tuple[int, int] = STYLE, most: int = MOST_GROUPS
) -> tuple[np.ndarray, np.ndarray]:
    """(int [g], int [chains]): a number for each group, which those of a cluster share, and how
    many groups each of the chains had.

    A component of more than `most` groups is a chain. Its members are linked again by longer texts
    alone, by a word or a fifth more at a time: so a style with a long text stays whole, although a
    short text links it with half of a shop. What no length parts stays alone, each group.
    """
    cluster = components(groups, texts, least)
    size = np.bincount(cluster)
    chains, large = size[size > most], size[cluster] > most
    while large.any():
        rows = np.flatnonzero(large[groups])
        members, numbers = np.unique(groups[rows], return_inverse=True)
        chained = take_texts(texts, rows)
        longer = max(least[0] + 1, least[0] * 6 // 5)
        least = (longer, max(longer, least[1]))
        if least[0] >= np.diff(chained.ends).max():
            cluster[members] = cluster.max() + 1 + np.arange(len(members))
            break
        again = components(numbers, chained, least)
        cluster[members] = cluster.max() + 1 + again
        large = np.zeros(len(cluster), bool)
        large[members] = np.bincount(again)[again] > most
    return np.unique(cluster, return_inverse=True)[1], chains


def find_clusters(products: Iterable[Sequence]) -> Clusters:
    """Clusters of a catalogue, rows (id, group key, name, description) of its products."""
    ids, groups = array.array("q"), array.array("q")
    group_numbers: dict[str, int] = {}

    def texts():
        for product_id, key, name, description in products:
            ids.append(product_id)
            groups.append(group_numbers.setdefault(key, len(group_numbers)))
            yield name, description

    read = word_sets(texts())
    clusters, chains = bounded(np.array(groups), read)
    size, keys = np.bincount(clusters), dict[int, str]()
    for key, cluster in zip(group_numbers, clusters.tolist()):
        if size[cluster] > 1:
            keys[cluster] = min(key, keys.get(cluster, key))
    clustered, cluster_keys = [], []
    for product_id, group in zip(ids, groups):
        if (cluster := int(clusters[group])) in keys:
            clustered.append(product_id)
            cluster_keys.append(keys[cluster])
    return Clusters(
        clustered,
        cluster_keys,
        {
            "products": len(ids),
            "near-duplicates": len(clustered),
            "styles": len(keys),
            "largest": int(max(size, default=1)),
            "chains": np.sort(chains)[::-1].tolist(),
        },
    )


def without(clusters: Clusters, ids: set[int]) -> Clusters:
    """The Clusters that hold none of these products."""
    gone = {key for product_id, key in zip(clusters.ids, clusters.keys) if product_id in ids}
    kept = [
        (product_id, key) for product_id, key in zip(clusters.ids, clusters.keys) if key not in gone
    ]
    return Clusters(
        [product_id for product_id, _ in kept],
        [key for _, key in kept],
        {**clusters.report, "parted for training": len(gone)},
    )


def report_lines(report: dict) -> Iterator[str]:
    """Lines about the clusters of find_clusters, by its report."""
    yield (
        f"{report['near-duplicates']:,} of {report['products']:,} products differ by at most a "
        f"word or two from a product in another group: {counted(report['styles'], 'style')}"
    )
    if report.get("parted for training"):
        yield (
            f"{report['parted for training']:,} of these were split by group: whole, they "
            "would have left a category nothing to train on"
        )
    chains = report["chains"]
    if not chains:
        return
    if len(chains) == 1:
        what = f"1 chain of near-duplicates, of {chains[0]:,} groups, is"
    else:
        what = f"{len(chains)} chains of near-duplicates, the largest of {chains[0]:,} groups, are"
    yield (
        f"{what} too long for a style: texts there run into each other word by word. Only what "
        "longer texts link was kept together, so test products there may have a near-duplicate "
        "in training"
    )
