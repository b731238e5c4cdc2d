"""Model files → a function of TensorFlow that gives one probability tensor per task.

`.keras` and `.h5` load through Keras (see `consumer.model.keras_files`), a SavedModel through TensorFlow,
whether Keras exported it or ``tf.saved_model.save`` wrote it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consumer.errors import ModelError
from consumer.model.config import ModelConfig
from consumer.model.heads import in_order
from consumer.model.keras_files import SUFFIXES, in_one_line, load_keras
from consumer.model.quiet import import_tensorflow

Graph = Callable[[Any], list[Any]]
"""Images (n, height, width, 3), 0..255, of any type → one tensor (n, labels) per task."""


def load_graph(config: ModelConfig) -> Graph:
    """Loads the model's file.

    Raises:
        ModelError: it cannot be loaded, or its input is not one batch of images of the configured size.
    """
    path = config.model_path
    if path.is_dir():
        return _saved_model(config)
    if path.suffix not in SUFFIXES:
        raise ModelError(f"{path} is of no known kind: a .keras or .h5 file, or a SavedModel directory")
    tf = import_tensorflow()
    model = load_keras(path)
    try:
        inputs = model.inputs or []
    except AttributeError:
        raise ModelError(f"{path} was saved before it had an input: call it on images, then save it") from None
    taken = _only([(one.shape, one.dtype) for one in inputs], config)
    names = list(model.output_names)
    return lambda images: in_order(model(tf.cast(images, taken), training=False), config, names)


def _only(inputs: list[tuple[Any, Any]], config: ModelConfig) -> Any:
    """The type of a model's only input, given as (shape, type) pairs, after a look at its shape."""
    path, (width, height) = config.model_path, config.input_size
    if len(inputs) != 1:
        raise ModelError(f"{path} takes {len(inputs)} inputs, but it is given one: a batch of images")
    shape, taken = inputs[0]
    wanted = (height, width, 3)
    if shape is None or getattr(shape, "rank", 4) is None:  # a SavedModel may leave it open
        return taken
    have = tuple(shape)[1:]
    if len(have) != 3 or any(one not in {None, want} for one, want in zip(have, wanted, strict=True)):
        raise ModelError(
            f"{path} takes images of shape {have} (height, width, channels), but model.input_shape says "
            f"width {width} and height {height}, RGB, which is {wanted}"
        )
    return taken


def _saved_model(config: ModelConfig) -> Graph:
    path = config.model_path
    if not (path / "saved_model.pb").exists():
        raise ModelError(f"{path} is a directory without saved_model.pb, so it is no SavedModel")
    tf = import_tensorflow()
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # noqa: BLE001 - TensorFlow raises what it likes for a broken directory
        raise ModelError(f"{path} cannot be loaded as a SavedModel ({in_one_line(error)})") from None
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        raise ModelError(f"{path} has no signature serving_default: write it with model.export(…)")
    inputs = signature.structured_input_signature[1]
    taken = _only([(one.shape, one.dtype) for one in inputs.values()], config)
    (name,) = inputs
    by_name = set(signature.structured_outputs) == set(config.tasks)

    def call(images: Any) -> list[Any]:
        images = tf.cast(images, taken)
        if not by_name and hasattr(loaded, "keras_api"):
            # Keras 2 wrote it: its signature forgets the order of its outputs, its call keeps it.
            return in_order(loaded(images, training=False), config)
        return in_order(signature(**{name: images}), config)

    return call
