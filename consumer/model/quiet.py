"""Importing TensorFlow without its chatter, and without what nobody asked for.

Before its logging is set up, its C++ side writes to descriptor 2 whatever TF_CPP_MIN_LOG_LEVEL says: that
oneDNN is on, that there is no GPU. Those lines are dropped; anything else that is written meanwhile is
passed on.

Keras and TensorFlow look for packages that they can do without: scikit-learn for wrappers that make a Keras model one
of its estimators, matplotlib for galleries of pictures, SciPy for sparse inputs of Keras 1. Where they are, as beside
NNCF, in the environment of the benchmarks and in most of those that a model is made in, that costs every start a fifth
of the import's time and tens of megabytes; so they are told that those are not there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType

from consumer.logs.native import read_line

CONTINUATION = "To enable the following"
"""The second line of what it says about this processor's instructions."""


def import_tensorflow() -> ModuleType:
    """The module ``tensorflow``, and Keras behind it."""
    # Whatever the machine's other work is set up for, this model runs on TensorFlow.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # After that its level holds. At 3, since a missing GPU is an error to it; what matters is raised in Python.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    real = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            with _absent("sklearn", "matplotlib", "scipy"):
                import keras  # noqa: F401, PLC0415 - imports TensorFlow once more, in a library of its own
                import tensorflow as tf  # noqa: PLC0415 - seconds
        finally:
            os.dup2(real, 2)
            os.close(real)
            kept.seek(0)
            for line in kept:
                if not _is_chatter(line.decode(errors="replace").rstrip("\n")):
                    os.write(2, line)
    assert isinstance(tf, ModuleType)
    return tf


@contextlib.contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Within it modules that have not been imported yet cannot be."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment] # Python's own mark of what is not to be found
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _is_chatter(line: str) -> bool:
    level = read_line("stderr", line).level
    return line.startswith(CONTINUATION) or (level is not None and level < logging.ERROR)
