"""OpenVINO as a backend (extra ``openvino``), converted from the very graph that TensorFlow runs."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from consumer.errors import ModelError
from consumer.model.heads import Heads, Pixels
from consumer.model.keras_files import in_one_line
from consumer.model.tensorflow import TensorFlowBackend
from consumer.model.threads import usable_cores

HINTS = {"float32": "f32", "bfloat16": "bf16"}
"""Our names of the precisions → OpenVINO's."""


def is_installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("openvino") is not None


class Converted:
    """The model as OpenVINO reads it, from which a backend is compiled for each precision.

    Raises:
        ModelError: OpenVINO cannot convert it.
    """

    def __init__(self, reference: TensorFlowBackend) -> None:
        # OpenVINO reports each import to its makers over the Internet unless a file in the home directory
        # forbids it. A service calls nobody by itself; with this entry the import finds no reporter.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino  # noqa: PLC0415 - an extra

        self._core = openvino.Core()
        try:
            graph, self._outputs = reference.frozen()
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "frozen.pb"
                file.write_bytes(graph)
                self._model = self._core.read_model(file)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(f"OpenVINO cannot convert the model ({in_one_line(error)})") from None

    def precisions(self) -> list[str]:
        """What this processor can do."""
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return ["float32", "bfloat16"] if "BF16" in able else ["float32"]

    def backend(self, precision: str) -> OpenVinoBackend:
        """Compiles it; one compiled model serves every batch shape.

        Raises:
            ModelError: OpenVINO cannot compile it, or not in this precision.
        """
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, on all cores
            "INFERENCE_NUM_THREADS": usable_cores(),
            # Two processes of the service on one machine would be pinned to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            compiled = self._core.compile_model(self._model, "CPU", options)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot compile the model in {precision} ({in_one_line(error)})") from None
        return OpenVinoBackend(precision, compiled, [compiled.output(name) for name in self._outputs])


class OpenVinoBackend:
    """Runs the compiled model.

    Args:
        precision: ``float32`` or ``bfloat16``.
        compiled: the compiled model.
        outputs: its outputs in the order of the tasks.
    """

    name = "openvino"

    def __init__(self, precision: str, compiled: Any, outputs: list[Any]) -> None:
        self.precision = precision
        self._request = compiled.create_infer_request()
        self._outputs = outputs
        self._one_at_a_time = threading.Lock()  # a request that is under way refuses another call

    def __call__(self, images: Pixels) -> Heads:
        """As `TensorFlowBackend.__call__`."""
        with self._one_at_a_time:
            found = self._request.infer([images], share_inputs=True)
            return [found[output] for output in self._outputs]
