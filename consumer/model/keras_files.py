"""`.keras` and `.h5` files → a Keras model, by the Keras that can read them.

Both kinds describe their layers in JSON, which is read first. It tells which Keras wrote the file. What Keras 2
wrote, the ``tf-keras`` package reads, which is Keras 2. Without it Keras 3 reads some of those `.h5` files, but
none with TensorFlow op layers inside (``x / 127.5 - 1`` on a Keras tensor makes one) or a DepthwiseConv2D
(MobileNet, EfficientNet), and no `.keras` file. And it tells of Lambda layers, which are refused: they are
Python code inside the file.
"""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.errors import ModelError
from consumer.model.quiet import import_tensorflow

SUFFIXES = {".keras", ".h5", ".hdf5"}

OP_LAYERS = {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod", "InstanceProperty"}
"""Classes of Keras 2 that wrap a call of TensorFlow; Keras 3 has none of them."""


def load_keras(path: Path) -> Any:
    """Loads a whole model.

    Raises:
        ModelError: it is damaged, holds no whole model, holds Python code, or needs ``tf-keras``.
    """
    needs = _describe(path)
    if needs.python_code:
        raise ModelError(
            f"{path} has a Lambda layer, which is Python code inside the file and is never loaded: use a layer such "
            "as Rescaling in its place, or save the model as a SavedModel with model.export(…)"
        )
    installed = importlib.util.find_spec("tf_keras") is not None
    if needs.keras_2 and not installed:
        raise ModelError(
            f"{path} was written by Keras 2 in a form that Keras 3 cannot load: pip install 'image-consumer[keras2]'"
        )
    import_tensorflow()
    if needs.written_by_2 and installed:
        import tf_keras as loader  # noqa: PLC0415 - an extra
    else:
        import keras as loader  # noqa: PLC0415 - with TensorFlow behind it, seconds
    try:
        return loader.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # noqa: BLE001 - Keras, h5py and zipfile raise what they like for a broken file
        hint = (
            "; Keras 2 wrote it: pip install 'image-consumer[keras2]'" if needs.written_by_2 and not installed else ""
        )
        raise ModelError(f"{path} cannot be loaded ({in_one_line(error)}){hint}") from None


def in_one_line(error: Exception, most: int = 400) -> str:
    """An exception of somebody else's library, for the end of our own message.

    Of a long one the beginning and the end: Keras prints whole configurations, and the cause after them.
    """
    text = " ".join(str(error).split())
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-most // 2 :]}"
    return f"{type(error).__name__}: {text}"


@dataclass(frozen=True, slots=True)
class _Needs:
    """What loading a file takes; ``keras_2``: nothing else can read it."""

    written_by_2: bool
    keras_2: bool
    python_code: bool


def _describe(path: Path) -> _Needs:
    try:
        text, version = _zipped(path) if path.suffix == ".keras" else _hdf5(path)
        described = json.loads(text)
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path} cannot be loaded: it is damaged, or holds no whole model but weights ({in_one_line(error)})"
        ) from None
    classes = set(_classes(described))
    op_layers = bool(classes & OP_LAYERS)
    written_by_2 = op_layers or version.startswith("2.")
    return _Needs(
        written_by_2=written_by_2,
        keras_2=op_layers or (written_by_2 and path.suffix == ".keras"),
        python_code="Lambda" in classes,
    )


def _zipped(path: Path) -> tuple[str, str]:
    with zipfile.ZipFile(path) as archive:
        written = json.loads(archive.read("metadata.json"))
        return archive.read("config.json").decode(), str(written.get("keras_version", ""))


def _hdf5(path: Path) -> tuple[str, str]:
    import h5py  # noqa: PLC0415 - comes with Keras

    with h5py.File(path, "r") as file:
        text, version = (file.attrs[key] for key in ("model_config", "keras_version"))
        return (one.decode() if isinstance(one, bytes) else str(one) for one in (text, version))  # type: ignore[return-value] # a generator of two is unpacked as one


def _classes(described: Any) -> Iterator[str]:
    """The class of every layer, those of models within models included."""
    remaining = [described]
    while remaining:
        one = remaining.pop()
        if isinstance(one, dict):
            if isinstance(name := one.get("class_name"), str):
                yield name
            remaining.extend(one.values())
        elif isinstance(one, list):
            remaining.extend(one)
