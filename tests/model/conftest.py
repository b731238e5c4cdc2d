"""Tiny models of two tasks, and their configuration; TensorFlow is imported once for all of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
Written = Callable[[str, Callable[[Path], Any]], Path]


@contextmanager
def saving() -> Iterator[None]:
    """Saving is not what is tested: NumPy 2 warns of Keras' arrays, both Keras of the .h5 form being old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def keras() -> Any:
    """Keras 3, on TensorFlow."""
    import_tensorflow()
    import keras

    return keras


def heads(layers: Any, values: Any, names: tuple[str, str] = ("sleeves", "print")) -> list[Any]:
    """A softmax of 2 labels and one of 3."""
    return [layers.Dense(n, activation="softmax", name=name)(values) for n, name in zip((2, 3), names, strict=True)]


@pytest.fixture(scope="session")
def tiny(keras: Any) -> Any:
    """A Keras model: 24 wide, 32 high, heads of 2 and 3 labels in a list."""
    keras.utils.set_random_seed(7)
    images = keras.Input((32, 24, 3))
    values = keras.layers.Rescaling(1 / 127.5, -1)(images)
    values = keras.layers.Conv2D(4, 5, strides=3, activation="relu")(values)
    return keras.Model(images, heads(keras.layers, keras.layers.Flatten()(values)))


@pytest.fixture(scope="session")
def keras2() -> Any:
    """A model as the old project wrote it: arithmetic on Keras 2's tensors makes TensorFlow op layers."""
    import_tensorflow()
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(7)
    images = tf_keras.Input((32, 24, 3))
    values = layers.Flatten()(layers.Conv2D(2, 5, strides=3)((images / 127.5 - 1.0)[:, 2:]))
    return tf_keras.Model(images, heads(layers, values, ("first", "a_second")))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a model under a name, by the function given, and a configuration beside it; gives the directory."""

    def write(name: str, save: Callable[[Path], Any]) -> Path:
        with saving():
            save(tmp_path / name)
        (tmp_path / "config.yml").write_text(CONFIG.format(path=f"./{name}"))
        return tmp_path

    return write


@pytest.fixture
def directory(written: Written, tiny: Any) -> Path:
    """The tiny model as `model.keras`, with its configuration."""
    return written("model.keras", tiny.save)


@pytest.fixture(scope="session")
def images() -> Images:
    return np.random.default_rng(3).integers(0, 256, (13, 32, 24, 3)).astype(np.uint8)
