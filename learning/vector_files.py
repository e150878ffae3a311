"""Files of word vectors that somebody else has learned: word2vec, GloVe, fastText.

In: a file in word2vec's text or binary format, as GloVe writes it (without a first line of sizes),
or fastText's .vec, gzipped or not. Out: an Encoder, whose vector of a text is the mean of its
words' vectors. The content says which format it is. Of the file, which is read as a stream, only the
vectors of words that are asked for stay in memory.

    python categorize_words.py --encoder glove.6B.100d.txt
    python categorize_words.py --encoder cc.de.300.vec.gz
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from common.files import file_sha256
from common.foreign_files import open_regular
from common.terminal import UserError, counted, log
from learning import text_features
from learning.text_encoder import MOST_SIZE, Encoder, Vectors

MOST_FILE = 100_000_000_000  # bytes
MOST_WORDS = 50_000_000  # the largest of the public files have 3 million
MOST_LINE = 40 * MOST_SIZE  # bytes
MOST_WORD = 1_000  # bytes
LARGEST = 10_000  # number of a vector; what is larger, or no number, can't be one
FASTTEXT = (793712314).to_bytes(4, "little")  # a .bin of fastText begins so
GZIP = b"\x1f\x8b"
SIZES = re.compile(rb"\s*(\d{1,12})[ \t]+(\d{1,6})\s*\n")  # the first line of word2vec's formats
ADVICE = "name a file of word vectors: word2vec, GloVe or fastText .vec"


class Form(NamedTuple):
    """How a file is written."""

    size: int  # numbers of a vector
    words: int | None  # that it says it has
    start: int  # byte of the first word, after unpacking
    binary: bool


def open_vectors(path: str) -> Encoder:
    """The word vectors of a file. Raises UserError, with what to do, if it holds none."""
    with reading(path) as file:
        form = form_of(path, file.read(2 * MOST_LINE))
    fingerprint = {"encoder": "word vectors", "files": file_sha256(path)}

    def prepare(texts: Iterable[str]) -> Vectors:
        wanted = {word for text in texts for word in text_features.tokens(text)}
        return mean_vectors(*read_vectors(path, form, wanted))

    return Encoder(fingerprint, form.size, prepare)


class Reading:
    """A file that is open and unpacked; what is wrong with it becomes a UserError."""

    def __init__(self, path: str):
        self.path = path

    def __enter__(self) -> BinaryIO:
        try:
            self.file = open_regular(self.path, MOST_FILE, follow=True)
        except OSError as error:
            raise unusable(self.path, error.strerror or "it can't be read") from None
        packed = self.file.read(2) == GZIP
        self.file.seek(0)
        return cast(BinaryIO, gzip.GzipFile(fileobj=self.file)) if packed else self.file

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.file.close()
        if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
            raise unusable(self.path, "it is cut or damaged") from None


def reading(path: str) -> Reading:
    """A context with the open, unpacked file."""
    return Reading(path)


def form_of(path: str, head: bytes) -> Form:
    """The Form of a file by its first bytes. Raises UserError if it holds no word vectors."""
    if head.startswith(FASTTEXT):
        raise UserError(
            f"{path} is a .bin of fastText, which is not read: name the .vec of the same vectors, "
            "which fastText publishes beside it"
        )
    if sizes := SIZES.match(head):
        words, size, start = int(sizes[1]), int(sizes[2]), sizes.end()
        binary = len(numbers_of(head[start:].partition(b"\n")[0])) != size
        if binary and not looks_binary(head[start:], size):
            raise unusable(path, "its first line says other sizes than the next one has")
    else:
        words, start, binary = None, 0, False
        size = len(numbers_of(head.partition(b"\n")[0]))
    if not 1 < size <= MOST_SIZE:
        raise unusable(path, "it does not begin with a word and its vector")
    return Form(size, words, start, binary)


def numbers_of(line: bytes) -> NDArray[np.float32]:
    """The numbers behind the first word of a line, empty if they are not all numbers."""
    try:
        with np.errstate(over="ignore"):  # too large a number is inf
            return np.array(line.split()[1:], np.float32)
    except ValueError:
        return np.zeros(0, np.float32)


def looks_binary(data: bytes, size: int) -> bool:
    """Whether a word, a blank and a vector in four bytes a number stand there."""
    word, blank, rest = data.partition(b" ")
    if not blank or len(word) > MOST_WORD or len(rest) < 4 * size:
        return False
    vector = np.frombuffer(rest, "<f4", size)
    return bool(sound(vector))


def sound(vector: NDArray[np.float32]) -> bool:
    """Whether all are numbers of a sensible size."""
    return bool((np.abs(vector) <= LARGEST).all())


# ---- all of a file ------------------------------------------------------------------------------


def read_vectors(
    path: str, form: Form, wanted: Collection[str]
) -> tuple[dict[str, int], NDArray[np.float32]]:
    """({word: row}, vectors float32 [rows, size]) of the words that are wanted, in small letters. A
    word in capitals counts if it is not there in small letters; of two alike the first one. What is
    no vector is counted on stderr. If none of the words is there, there are no rows: these may be the
    few words of a new product. Raises UserError if the file is cut."""
    index, exact, vectors, bad = dict[str, int](), set[str](), list[NDArray[np.float32]](), 0
    with reading(path) as file:
        file.seek(form.start)
        for word, data in (entries_binary if form.binary else entries_text)(path, file, form):
            text = word.decode("utf-8", "replace")
            key = text if text in wanted else text.casefold()
            if key not in wanted or key in exact or key in index and key != text:
                continue
            vector = vector_of(data, form)
            if vector is None:
                bad += 1
                continue
            if key == text:
                exact.add(key)
            if key in index:
                vectors[index[key]] = vector
            else:
                index[key] = len(vectors)
                vectors.append(vector)
    if bad:
        log(f"warning: {counted(bad, 'word')} in {path} without a vector of {form.size} numbers")
    log(f"{len(index)} of the {counted(len(wanted), 'word')} have a vector in {path}")
    return index, np.stack([*vectors, np.zeros(form.size, np.float32)])[: len(index)]


def vector_of(data: bytes, form: Form) -> NDArray[np.float32] | None:
    """The vector that stands behind a word, None if it is none."""
    try:
        with np.errstate(over="ignore"):  # too large a number is inf
            vector = np.frombuffer(data, "<f4") if form.binary else np.array(data.split(), "f4")
    except ValueError:
        return None
    return vector if len(vector) == form.size and sound(vector) else None


def entries_text(path: str, file: BinaryIO, form: Form) -> Iterator[tuple[bytes, bytes]]:
    """Yield (word, the numbers behind it) of each line, whether they are as many as they should be
    or not. Words of several parts, which no word of a text is like, are left out."""
    count = 0
    while line := file.readline(MOST_LINE):
        word, _, data = line.lstrip().replace(b"\t", b" ").partition(b" ")
        if not word.strip():
            continue
        count += 1
        if count > MOST_WORDS or len(line) == MOST_LINE:
            raise unusable(path, "it has too many words, or too long a line")
        if data.count(b" ") < form.size or len(data.split()) <= form.size or len(numbers_of(line)):
            yield word, data
    if form.words is not None and count < form.words:
        raise cut(path, form.words, count)


def entries_binary(path: str, file: BinaryIO, form: Form) -> Iterator[tuple[bytes, bytes]]:
    """Yield (word, its vector in bytes) of each of the words of a binary file."""
    buffer, place, length = b"", 0, 4 * form.size
    if form.words is None or form.words > MOST_WORDS:
        raise unusable(path, "it has too many words")
    for count in range(form.words):
        blank = buffer.find(b" ", place)
        if blank < 0 or blank + 1 + length > len(buffer):
            buffer, place = buffer[place:] + file.read((1 << 20) + length), 0
            blank = buffer.find(b" ")
            if blank < 0 or blank + 1 + length > len(buffer):
                raise cut(path, form.words, count)
        if blank - place > MOST_WORD:
            raise unusable(path, "it has too long a word")
        yield buffer[place:blank].strip(), buffer[blank + 1 : blank + 1 + length]
        place = blank + 1 + length


def cut(path: str, words: int, count: int) -> UserError:
    """The error for a file that ends early."""
    return UserError(
        f"{path} says that it has {words} words and ends after {count}: it was cut, fetch it again"
    )


def unusable(path: str, why: str) -> UserError:
    """The error for a file that holds no word vectors."""
    return UserError(f"{path} can't be used as an encoder ({why}): {ADVICE}")


def mean_vectors(index: dict[str, int], vectors: NDArray[np.float32]) -> Vectors:
    """A function from texts to the means of their words' vectors, zeros if none is known."""

    def run(texts: Sequence[str]) -> NDArray[np.float32]:
        means = np.zeros((len(texts), vectors.shape[1]), np.float32)
        for row, text in enumerate(texts):
            known = [index[word] for word in text_features.tokens(text) if word in index]
            if known:
                means[row] = vectors[known].mean(axis=0)
        return means

    return run
