"""Preloaded by the workers of a test: pictures of some widths bring trouble when they are opened, and
all wait as long as there is a file `hold` in the folder $TROUBLE.

python -m dask worker ... --preload tests/trouble.py
"""

import ctypes
import os
import time

from PIL import Image

CRASH, KEEPS_GIL, EATS = 71, 72, 73  # widths, in pixels
KEPT = 45  # seconds
open_picture = getattr(Image, "without_trouble", Image.open)  # Dask loads this module twice


def open_with_trouble(*args, **more):
    """Image.open, as it is if a decoder has a hole, or takes too long."""
    folder = os.environ["TROUBLE"]
    hold = os.path.join(folder, "hold")
    if os.path.exists(hold):
        with open(os.path.join(folder, f"waits-{os.getpid()}"), "w"):
            pass
        while os.path.exists(hold):
            time.sleep(0.02)
    picture = open_picture(*args, **more)
    if picture.width == CRASH:
        os.abort()
    if picture.width == KEEPS_GIL:
        ctypes.PyDLL(None).sleep(KEPT)  # a function of PyDLL is called with the lock held
    if picture.width == EATS:
        eaten = [os.urandom(1 << 24) for _ in range(300)]  # 5 GB
        del eaten
    return picture


if "TROUBLE" in os.environ:  # else a test looks up the widths
    Image.without_trouble, Image.open = open_picture, open_with_trouble
