"""Folders of labelled pictures: which pictures are there, and how they are split.

In: a folder with a folder of pictures for each label. Out: their paths, labels and digests; which
of them train, validate and test.
"""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Container, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.files import file_sha256
from common.terminal import UserError, counted, first_few, grouped, log
from learning.split import check_splits, split_position, splits, unlearnable


class Picture(NamedTuple):
    path: str
    label: str  # the name of its folder, unaltered
    sha256: str  # of the file's bytes


class LabelledPictures(NamedTuple):
    """Pictures that can be trained on, and how they are split."""

    pictures: list[Picture]  # n of them
    names: list[str]  # of the labels, sorted
    labels: NDArray[np.int32]  # [n], positions in names
    training: NDArray[Any]  # positions in pictures, as are the next two
    validation: NDArray[Any]
    test: NDArray[Any]


def find_pictures(folder: str) -> list[Picture]:
    """The pictures of a folder of folders, sorted by label and name. Files that can't be read are
    named on stderr. Raises UserError if there are none."""
    if not folder or not os.path.isdir(folder):
        nowhere = f"; there is none at {folder}" if folder else ""
        raise UserError(
            f"--image_dir must name a folder with a folder of pictures for each label{nowhere}"
        )
    pictures: list[Picture] = []
    empty = []
    with grouped(unreadable) as tell:
        for label in sorted(os.listdir(folder)):
            label_folder = os.path.join(folder, label)
            if label.startswith(".") or not os.path.isdir(label_folder):
                continue
            if "\n" in label or "\r" in label:
                raise UserError(f"the folder {label!r} has a line break in its name: rename it")
            of_label = []
            for path in picture_paths(label_folder):
                try:
                    of_label.append(Picture(path, label, file_sha256(path)))
                except OSError as error:
                    tell(str(error.strerror), path)
            pictures += of_label
            if not of_label:
                empty.append(label_folder)
    if not pictures:
        raise UserError(f"{folder} has no folders with pictures in them")
    if empty:
        log(f"warning: there are no pictures in {first_few(empty)}: left out")
    return pictures


def picture_paths(folder: str) -> Iterator[str]:
    """The files of a folder, sorted, without hidden ones. Links count even if they lead nowhere, so
    that they are reported."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if not name.startswith(".") and (os.path.isfile(path) or os.path.islink(path)):
            yield path


def unreadable(count: int, names: str, reason: str) -> str:
    if count == 1:
        return f"{names} can't be read ({reason}); left out"
    return f"{count} files can't be read ({reason}); left out: {names}"


def warn_of_twins(pictures: Sequence[Picture]) -> None:
    """Warn if a picture has two labels: the same bytes in two folders."""
    first: dict[str, Picture] = {}
    twins = []
    for picture in pictures:
        earlier = first.setdefault(picture.sha256, picture)
        if earlier.label != picture.label:
            twins.append((picture.path, earlier.path))
    if twins:
        log(
            f"warning: {counted(len(twins), 'picture has', 'pictures have')} two labels, such as "
            f"{twins[0][0]} and {twins[0][1]}"
        )


def split_pictures(pictures: list[Picture], testing: float, validation: float) -> LabelledPictures:
    """Split pictures by their content; testing and validation are shares. Labels with too few
    pictures are left out with a warning. Raises UserError if fewer than two remain."""
    names = sorted({picture.label for picture in pictures})
    code = {name: number for number, name in enumerate(names)}
    labels = np.array([code[picture.label] for picture in pictures], np.int32)
    positions = np.array([split_position(picture.sha256) for picture in pictures])
    lost = {names[n] for n in unlearnable(labels, positions, len(names), None, testing, validation)}
    if lost:
        say_left_out(lost, [picture.label for picture in pictures], names)
        kept = [picture for picture in pictures if picture.label not in lost]
        return split_pictures(kept, testing, validation)
    parts = splits(positions, None, testing, validation)[0]
    check_splits([parts], names)
    return LabelledPictures(pictures, names, labels, *parts)


def say_left_out(lost: Container[str], labels: Sequence[str], names: Sequence[str]) -> None:
    """Warn of labels that have no picture to train, to validate or to test on. Raises UserError if
    fewer than two others remain."""
    count = collections.Counter(labels)
    few = [f"{name} ({counted(n, 'picture')})" for name, n in count.most_common() if name in lost]
    pictures = sum(n for name, n in count.items() if name in lost)
    share = f"{len(few)} of {counted(len(names), 'folder')}, with {counted(pictures, 'picture')}"
    reason = (
        "pictures are split by their content, so a folder needs about 30 to have some of each: to "
        "train, to validate and to test on"
    )
    if len(names) - len(few) < 2:
        raise UserError(
            f"there is nothing to tell apart: {share}, can't be learned ({first_few(few)}); "
            f"{reason}; add pictures, or raise --testing_percentage and --validation_percentage"
        )
    verb = "is" if len(few) == 1 else "are"
    log(f"warning: {share}, {verb} left out: {first_few(few)}. {reason[0].upper()}{reason[1:]}")


def only_readable(pictures: list[Picture], readable: NDArray[np.bool_]) -> list[Picture]:
    """The pictures that are readable, bool [n]. Logs how many are left out, and warns of labels
    that are lost."""
    kept = list(itertools.compress(pictures, readable))
    if kept and len(kept) < len(pictures):
        log(f"left out: {len(pictures) - len(kept)} of {len(pictures)} files")
        lost = {picture.label for picture in pictures} - {picture.label for picture in kept}
        if lost:
            log(f"warning: no picture of {first_few(sorted(lost))} can be read: left out")
    return kept
