"""Model files → a function of TensorFlow that gives one probability array per task.

`.keras` and `.h5` load through Keras 3, a SavedModel through TensorFlow. An `.h5` that Keras 2 wrote
with TensorFlow op layers inside (``x / 127.5 - 1`` on a Keras tensor makes one) loads through the
``tf-keras`` package, since Keras 3 has no such layers.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from consumer.errors import ModelError
from consumer.model.config import ModelConfig
from consumer.model.quiet import import_tensorflow

Graph = Callable[[Any], Sequence[Any]]
"""Float32 images (n, height, width, 3), 0..255 → one float32 (n, labels) per task, as TensorFlow tensors."""

OP_LAYERS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")


def load_graph(config: ModelConfig) -> Graph:
    """Loads the model's file.

    Raises:
        ModelError: it cannot be loaded, or its outputs are not one for each task.
    """
    path = config.model_path
    if path.is_dir():
        return _saved_model(path, config)
    if path.suffix not in {".keras", ".h5", ".hdf5"}:
        raise ModelError(f"{path} is of no known kind: a .keras or .h5 file, or a SavedModel directory")
    model = _keras(path)
    shape = tuple(model.input_shape) if not isinstance(model.input_shape, list) else ()
    width, height = config.input_size
    if len(shape) != 4 or any(
        have not in {None, want} for have, want in zip(shape[1:], (height, width, 3), strict=True)
    ):
        raise ModelError(
            f"{path} takes images of shape {shape[1:]} (height, width, channels), but model.input_shape in the "
            f"configuration says width {width} and height {height}, RGB"
        )
    return lambda images: in_order(model(images, training=False), config)


def in_order(outputs: Any, config: ModelConfig) -> list[Any]:
    """A model's outputs in the order of the tasks: a list is in order, a mapping is by name.

    Raises:
        ModelError: there is not one output for each task.
    """
    tasks = list(config.tasks)
    if isinstance(outputs, dict):
        if set(outputs) == set(tasks):
            return [outputs[task] for task in tasks]
        # Names that an export made up (output_0, output_1 …) are in the order of the outputs.
        outputs = [outputs[name] for name in sorted(outputs, key=lambda name: (len(name), name))]
    found = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    if len(found) != len(tasks):
        raise ModelError(
            f"{config.model_path} has {len(found)} outputs, but model.target_encoder names {len(tasks)} tasks "
            f"({', '.join(tasks)}): one softmax head is needed for each, in order"
        )
    return found


def _keras(path: Path) -> Any:
    import_tensorflow()
    import keras  # noqa: PLC0415 - with TensorFlow behind it, seconds

    if path.suffix in {".h5", ".hdf5"} and _has_op_layers(path):
        if importlib.util.find_spec("tf_keras") is None:
            raise ModelError(
                f"{path} was written by Keras 2 with TensorFlow op layers inside, which Keras 3 cannot load: "
                "pip install 'image-consumer[keras2]'"
            )
        import tf_keras as loader  # noqa: PLC0415 - an extra
    else:
        loader = keras
    try:
        return loader.models.load_model(path, compile=False)
    except Exception as error:  # noqa: BLE001 - Keras, h5py and zipfile raise what they like for a broken file
        text = " ".join(str(error).split())[:300]
        raise ModelError(f"{path} cannot be loaded ({type(error).__name__}: {text})") from None


def _has_op_layers(path: Path) -> bool:
    """Whether the file's own description of its layers names one that only Keras 2 has."""
    import h5py  # noqa: PLC0415 - comes with Keras

    try:
        with h5py.File(path, "r") as file:
            described = file.attrs.get("model_config", "{}")
    except OSError as error:
        raise ModelError(f"{path} cannot be loaded: it is no HDF5 file, or a damaged one ({error})") from None
    text = described.decode() if isinstance(described, bytes) else str(described)
    try:
        layers = json.loads(text).get("config", {}).get("layers", [])
    except (ValueError, AttributeError):
        raise ModelError(f"{path} cannot be loaded: it does not describe a model; save the whole model") from None
    return any(layer.get("class_name") in OP_LAYERS for layer in layers)


def _saved_model(path: Path, config: ModelConfig) -> Graph:
    tf = import_tensorflow()
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # noqa: BLE001 - TensorFlow raises what it likes for a broken directory
        text = " ".join(str(error).split())[:300]
        raise ModelError(f"{path} cannot be loaded as a SavedModel ({type(error).__name__}: {text})") from None
    signature = loaded.signatures.get("serving_default") or loaded.signatures.get("serve")
    if signature is None:
        raise ModelError(f"{path} has no signature serving_default: export it with model.export(…)")
    inputs = list(signature.structured_input_signature[1])
    if len(inputs) != 1:
        raise ModelError(f"{path} takes {len(inputs)} inputs; it must take one batch of images")

    def call(images: Any) -> list[Any]:
        wanted = signature.structured_input_signature[1][inputs[0]].dtype
        # The signature closes over the loaded object, which must live as long as it.
        assert loaded is not None
        return in_order(signature(**{inputs[0]: tf.cast(images, wanted)}), config)

    return call
