"""Tiny models of two tasks, written in every form that the service loads."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consumer.model.quiet import import_tensorflow

CONFIG = """\
paths: {{model_path: {path}}}
model:
  name: tiny
  input_shape: [24, 32]
  target_encoder:
    sleeves: [long, short]
    print: [a, b, c]
training: {{epochs: 3}}
"""

Images = NDArray[np.uint8]


@pytest.fixture(scope="session")
def tiny() -> Any:
    """A Keras model: 24 wide, 32 high, heads of 2 and 3 labels."""
    import_tensorflow()
    import keras
    from keras import layers

    keras.utils.set_random_seed(7)
    images = keras.Input((32, 24, 3))
    values = layers.Rescaling(1 / 127.5, -1)(images)
    values = layers.Conv2D(4, 5, strides=3, activation="relu")(values)
    values = layers.Flatten()(values)
    heads = [layers.Dense(n, activation="softmax", name=name)(values) for name, n in (("sleeves", 2), ("print", 3))]
    return keras.Model(images, heads)


@pytest.fixture
def directory(tmp_path: Path, tiny: Any) -> Callable[[str], Path]:
    """Writes the tiny model under a file name (none for a SavedModel) and its configuration."""

    def make(name: str) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy 2 on Keras' arrays, and Keras on the .h5 form being old
            if name == "saved":
                tiny.export(tmp_path / name, verbose=False)
            else:
                tiny.save(tmp_path / name)
        (tmp_path / "config.yml").write_text(CONFIG.format(path=f"./{name}"))
        return tmp_path

    return make


@pytest.fixture(scope="session")
def images() -> Images:
    return np.random.default_rng(3).integers(0, 256, (13, 32, 24, 3)).astype(np.uint8)
