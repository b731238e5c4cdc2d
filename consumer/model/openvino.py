"""OpenVINO as a backend (extra ``openvino``), converted from the very graph that TensorFlow runs."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from consumer.model.tensorflow import Heads, Pixels, TensorFlowBackend
from consumer.model.threads import usable_cores

HINTS = {"float32": "f32", "bfloat16": "bf16"}


def is_installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("openvino") is not None


def converted(reference: TensorFlowBackend) -> Any:
    """The reference's graph for any batch size: converting takes a second, so it is done once for all."""
    import openvino as ov  # noqa: PLC0415 - an extra

    return ov.convert_model(reference.concrete(None))


class OpenVinoBackend:
    """Runs a converted graph; one compiled model for each batch size, made when first asked for."""

    name = "openvino"

    def __init__(self, model: Any, precision: str) -> None:
        import openvino as ov  # noqa: PLC0415 - an extra

        self.precision = precision
        self._core = ov.Core()
        self._model = model
        self._compiled: dict[int, Any] = {}
        self._options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": usable_cores(),
        }

    def __call__(self, images: Pixels) -> Heads:
        """As `TensorFlowBackend.__call__`."""
        size = len(images)
        if size not in self._compiled:
            fixed = self._model.clone()
            fixed.reshape([size, *images.shape[1:]])
            self._compiled[size] = self._core.compile_model(fixed, "CPU", self._options)
        found = self._compiled[size](images)
        return [np.array(found[index], dtype=np.float32) for index in range(len(found))]
