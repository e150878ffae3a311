"""HDF5 files of weights, which may be anybody's: looked through before Keras reads them.

In: the path of a file. Out: how many convolutions it holds, or a sentence. Keras fills a network
with whatever the file names, and HDF5 may name other files, or numbers that it does not hold:

    python categorize_images.py --weights FILE
    python retrain.py --label_image photo.jpg
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

# Bytes. Inception v3 has 88 MB, a network of 5,000 labels 130 MB, and what a training keeps beside
# the weights is twice as much again.
MOST_FILE = 1_000_000_000
MOST_OBJECTS = 5_000  # groups and arrays; Inception v3 has some 1,000
MOST_NAMES = 1_000  # of layers, which older files list as texts; Inception v3 has 313


def check_file(path: str) -> None:
    """Raise ValueError if a file is no HDF5, or holds other than numbers, more of them than it has
    bytes for, or a link, to another file or within it. Otherwise what is read of it takes no more
    memory than the file has bytes."""
    size = os.path.getsize(path)
    if size > MOST_FILE:
        raise ValueError(f"it has more than {MOST_FILE / 1e6:.0f} MB")
    import h5py  # late, as Keras itself, which needs it

    try:
        with h5py.File(path, "r") as file:
            held = sum(size_of(member) for member in members(file, h5py))
    except ValueError:
        raise
    except Exception:  # what h5py raises of other files is anything, in words of C
        raise ValueError("it is damaged, or no HDF5 file") from None
    if held > size:
        raise ValueError("it holds more than it can")


def members(file: Any, h5py: Any) -> Iterator[Any]:
    """All groups and arrays of an open h5py.File, itself among them. Raises ValueError for a link,
    and if they are too many."""
    groups, count = [file], 0
    while groups:
        group = groups.pop()
        yield group
        for name in group:
            count += 1
            if count > MOST_OBJECTS:  # or a group that holds itself
                raise ValueError("it holds too many groups and arrays")
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                raise ValueError("it holds a link")
            member = group[name]
            if isinstance(member, h5py.Group):
                groups.append(member)
            else:
                yield member


def size_of(member: Any) -> int:
    """Bytes of a group's or an array's numbers and attributes. Raises ValueError if they are not in
    the file as they are."""
    held = 0
    if len(member.attrs) > 100:
        raise ValueError("it holds too many attributes")
    for name in member.attrs:
        attribute = member.attrs.get_id(name)
        count = math.prod(attribute.shape)
        # Of texts of any length each could be the same long one, so they are few.
        if attribute.dtype.kind == "O" and count > MOST_NAMES:
            raise ValueError("it holds texts in place of numbers")
        held += count * attribute.dtype.itemsize
    if not hasattr(member, "dtype"):
        return held
    if member.dtype.kind not in "fiub":
        raise ValueError("it holds other things than numbers")
    if member.external or member.is_virtual or member.nbytes > member.id.get_storage_size():
        raise ValueError("it is compressed, or its numbers are not in it")
    return held + member.nbytes


def convolutions(path: str) -> int:
    """How many convolutions a Keras weights file holds, in the format of today or the one before
    it. The file is one that check_file lets pass."""
    import h5py

    with h5py.File(path, "r") as file:
        names = (
            list(file["layers"]) if "layers" in file else [name for name in file if len(file[name])]
        )
    return sum(name.startswith("conv2d") for name in names)
