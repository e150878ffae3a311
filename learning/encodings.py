"""Vectors of products' texts by an encoder, kept in a cache as the bottlenecks of pictures are.

In: an encoder's folder or file, and texts. Out: rows of the cache, which is encodings/ beside
crawl.db; what it lacks is encoded first. Stopped at any moment, the next run goes on.

    python categorize_words.py --encoder all-MiniLM-L6-v2
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import db
from common.terminal import UserError, counted, log, progress
from common.text import one_line, unescaped
from learning import queries, text_encoder, text_features, token_vectors, vector_files
from learning.bottleneck_cache import LOOKED_UP, Cache, Names, in_batches
from learning.bottlenecks import chosen, missing

MOST_TEXT = 10_000  # characters of a text; 512 tokens have some 2,500
WINDOW = 2_048  # texts that are sorted by length before they are encoded
BATCH = 32  # texts that are encoded together
SAVED = 5  # seconds between two additions to the cache
Texts = Callable[[], Iterable[str]]  # always the same ones in the same order
# Rows with name and description [n] -> (vectors [m, size], a row of them for each, -1: none).
Find = Callable[[Sequence[Any]], tuple[NDArray[Any], NDArray[np.int64]]]
NAMES = Names("vectors of texts", "remove it, and they are made again", "make room")


class Asked(NamedTuple):
    """The encoder that a command names."""

    path: str | None = None  # None: nobody has named one
    db_path: str = "crawl.db"  # beside which vectors are kept


class OpenEncoder(NamedTuple):
    """An encoder that is ready, and the cache of its vectors."""

    encoder: text_encoder.Encoder
    cache: Cache


def check_there(path: str) -> None:
    """Raise UserError, before any work, if there is no such folder or file."""
    if not os.path.exists(path):
        raise UserError(
            f"there is no {path}: name the folder of an encoder, or a file of word vectors, with "
            "--encoder; none is downloaded"
        )


def open_encoder(path: str, db_path: str) -> OpenEncoder:
    """The encoder in a folder or file, told by its content, and its cache beside crawl.db. Raises
    UserError if it can't be used."""
    check_there(path)
    if os.path.isdir(path):
        tokens = token_vectors.is_folder(path)
        encoder = (token_vectors.open_tokens if tokens else text_encoder.open_encoder)(path)
    elif path.endswith(".onnx"):
        encoder = text_encoder.open_encoder(path)
    else:
        encoder = vector_files.open_vectors(path)
    folder = os.path.join(os.path.dirname(os.path.abspath(db_path)), "encodings")
    return OpenEncoder(encoder, Cache(folder, encoder.fingerprint, encoder.size, "float16", NAMES))


def text_of(name: str, description: str, fields: Sequence[str]) -> str:
    """The text of a product as it is encoded: the fields that are read, without markup."""
    parts = [
        plain(text)
        for field, text in (("name", name), ("description", description))
        if field in fields
    ]
    return ". ".join(filter(None, parts))[:MOST_TEXT]


def plain(text: str) -> str:
    """A text without markup and without more blanks than one."""
    text = text[: 4 * MOST_TEXT]
    if "&" in text or "<" in text:
        text = text_features.TAG.sub(" ", unescaped(text))
    return " ".join(text.split())


def key_of(text: str) -> str:
    """What a text is kept under in the cache."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def rows_of(opened: OpenEncoder, texts: Texts) -> NDArray[np.int64]:
    """int64 [n]: the cache's row of each text, -1 if it is empty or the encoder knows nothing of
    it. What the cache lacks is encoded first, the same text once."""

    def keyed() -> Iterator[tuple[str, str]]:
        return ((key_of(text), text) for text in texts() if text)

    compute(opened, keyed)
    cache, rows = opened.cache, []
    for batch in in_batches(texts(), LOOKED_UP):
        found = cache.find([key_of(text) for text in batch])
        found[[not text for text in batch]] = -1
        rows.append(found)
    known = np.concatenate([np.zeros(0, np.int64), *rows])
    matrix = cache.matrix()
    for part in in_batches(np.flatnonzero(known >= 0), LOOKED_UP):
        known[[place for place in part if not matrix[known[place]].any()]] = -1
    return known


def say_unknown(path: str, rows: NDArray[np.int64]) -> None:
    """Say how many of a catalogue's texts have no row. Raises UserError if none has one: then the
    encoder at this path is of another language."""
    unknown = int((rows < 0).sum())
    if unknown == len(rows):
        raise UserError(
            f"{path} knows nothing of the catalogue's words: name an encoder of its language"
        )
    if unknown:
        log(f"{unknown} of {len(rows)} products have no text that the encoder knows")


def compute(opened: OpenEncoder, keyed: Callable[[], Iterable[tuple[str, str]]]) -> None:
    """Bring texts (key, text) into the cache. Raises UserError, before any work, if the disk has no
    room for them."""
    cache = opened.cache
    cache.drop_damaged(key for key, _ in keyed())
    wanted, _ = missing(cache, keyed())
    if not len(wanted):
        return
    cache.check_space(len(wanted))
    vectors = opened.encoder.prepare(text for _, text in chosen(keyed(), wanted))
    with progress("vectors of texts", len(wanted), "texts") as bar:
        left_out = fill(cache, chosen(keyed(), wanted), vectors, bar)
    if left_out:
        log(
            f"warning: the encoder gives no usable vector for {counted(left_out, 'text')}: "
            "words alone answer there"
        )


def fill(
    cache: Cache, items: Iterable[tuple[str, str]], vectors: text_encoder.Vectors, bar: Any
) -> int:
    """Encode texts (key, text) and append them to the cache every few seconds. Returns how many
    have no vector of numbers. They are sorted by length, some at a time, because a batch takes as
    long as its longest."""
    left_out, keys, rows, saved = 0, list[str](), list[NDArray[Any]](), time.monotonic()
    for window in in_batches(items, WINDOW):
        window.sort(key=lambda item: len(item[1]))
        for start in range(0, len(window), BATCH):
            batch = window[start : start + BATCH]
            with np.errstate(over="ignore"):
                made = vectors([text for _, text in batch]).astype(cache.dtype)
            sound = np.isfinite(made).all(axis=1)
            left_out += int((~sound).sum())
            keys += [key for (key, _), good in zip(batch, sound) if good]
            rows.append(made[sound])
            last = start + BATCH >= len(window)
            if keys and (last or time.monotonic() - saved > SAVED):
                cache.append(keys, np.concatenate(rows))
                keys, rows, saved = [], [], time.monotonic()
            bar.update(len(batch))
    return left_out


def finder(asked: Asked, described: dict, ahead: bool = False) -> Find | None:
    """A function that finds the vectors of new products, by the encoder that a saved model was
    trained with; None if it was trained without one. Those of all products that wait to be filed
    may be made ahead: a file of word vectors is read once then. Raises UserError if the encoder is
    not to be had."""
    if "encoder" not in described:
        if asked.path is not None:
            raise UserError("the experiment was trained without an encoder: leave --encoder out")
        return None
    arguments = described["settings"].get("arguments")
    path = asked.path or (arguments.get("encoder") if isinstance(arguments, dict) else None)
    if not isinstance(path, str) or not os.path.exists(path):
        raise UserError(
            f"the experiment was trained with the encoder in {one_line(str(path))}, which is not "
            "there: say by --encoder where it lies now"
        )
    opened = open_encoder(path, asked.db_path)
    if opened.encoder.fingerprint != described["encoder"]:
        raise UserError(
            f"the experiment was trained with another encoder than {path}: name its own with "
            "--encoder"
        )
    fields = tuple(described.get("fields", ("name", "description")))
    if ahead:
        with contextlib.closing(db.open_readonly(asked.db_path)) as conn:

            def keyed() -> Iterator[tuple[str, str]]:
                texts = (text_of(*row, fields) for row in queries.unfiled_texts(conn))
                return ((key_of(text), text) for text in texts if text)

            compute(opened, keyed)

    def find(rows: Sequence) -> tuple[NDArray[Any], NDArray[np.int64]]:
        texts = [text_of(row["name"], row["description"], fields) for row in rows]
        found = rows_of(opened, lambda: texts)
        return opened.cache.matrix(), found

    return find
