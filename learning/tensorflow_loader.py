"""TensorFlow, imported late and quietly.

In: nothing. Out: the module tensorflow. analyze.py never comes here, so that it answers at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType


def load_tensorflow() -> ModuleType:
    """TensorFlow, imported late because it takes seconds, and quietly: newer versions write of what
    they find whatever TF_CPP_MIN_LOG_LEVEL holds. If the user has set that, all is shown; 2 is what
    this sets, and what a process of a cluster is started with."""
    # By itself TensorFlow uses oneDNN only on processors with AVX-512 for networks; on one with
    # AVX2 alone its convolutions are a fifth faster too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "tensorflow" in sys.modules or os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2") != "2":
        import tensorflow

        return tensorflow
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    with quiet():
        import tensorflow

        tensorflow.config.list_physical_devices()
    return tensorflow


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what the libraries below Python say on stderr, unless an exception comes of it."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except Exception:
            said.seek(0)
            os.write(terminal, said.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def give_back_memory() -> None:
    """Give the memory that is free in this process back to the system, as far as the C library
    can. By itself it keeps hundreds of MB of what TensorFlow needs for a moment."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # it is glibc's
        ctypes.CDLL(None).malloc_trim(0)
