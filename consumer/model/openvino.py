"""OpenVINO as a backend (extra ``openvino``), converted from the very graph that TensorFlow runs."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from consumer.errors import ModelError
from consumer.machine import usable_cores
from consumer.model.heads import Heads, Pixels
from consumer.model.keras_files import in_one_line
from consumer.model.lanes import lanes
from consumer.model.tensorflow import Frozen

HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""Our names of the precisions → OpenVINO's, for what is not quantised in the model itself."""

INSTALL = "pip install 'image-consumer[openvino]'"


def is_installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> Any:
    """The module ``openvino``, without its reporter.

    It reports each import to its makers over the Internet unless a file in the home directory forbids it.
    A service calls nobody by itself; with this entry the import finds no reporter.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # None is how Python says that a module must not be imported
    import openvino  # noqa: PLC0415 - an extra

    return openvino


@cache
def _core() -> Any:
    return import_openvino().Core()


def precisions() -> list[str]:
    """What this processor can do with a model that is not quantised."""
    able = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["float32", "bfloat16"] if "BF16" in able else ["float32"]


class Converted:
    """A model as OpenVINO reads it, from which a backend is compiled for each precision.

    Args:
        model: OpenVINO's own model.
        outputs: the names of its outputs in the order of the tasks.
    """

    def __init__(self, model: Any, outputs: Sequence[str]) -> None:
        self.model = model
        self.outputs = list(outputs)

    @classmethod
    def of(cls, frozen: Frozen) -> Converted:
        """Converts TensorFlow's graph.

        Raises:
            ModelError: OpenVINO cannot convert it.
        """
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "frozen.pb"
                file.write_bytes(frozen.serialized())
                return cls(_core().read_model(file), frozen.outputs)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(f"OpenVINO cannot convert the model ({in_one_line(error)})") from None

    @classmethod
    def read(cls, file: Path, outputs: Sequence[str]) -> Converted:
        """Reads what `save` wrote.

        Raises:
            ModelError: it cannot be read.
        """
        try:
            return cls(_core().read_model(file), outputs)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot read {file} ({in_one_line(error)})") from None

    def save(self, file: Path) -> None:
        """Writes ``file``, named ``….xml``, and its weights beside it as ``….bin``, as exact as they are.

        Raises:
            RuntimeError: it cannot be written.
        """
        import_openvino().save_model(self.model, file, compress_to_fp16=False)

    def backend(self, precision: str, compiled: Path | None = None) -> OpenVinoBackend:
        """Compiles it; one compiled model serves every batch shape.

        Args:
            precision: ``float32``, ``bfloat16``, or ``int8`` of a quantised model.
            compiled: a folder that keeps the compiled form for the next time.

        Raises:
            ModelError: OpenVINO cannot compile it, or not in this precision.
        """
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "NUM_STREAMS": lanes(),
            "INFERENCE_NUM_THREADS": usable_cores(),
            # Two processes of the service on one machine would be pinned to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        if compiled is not None:
            options["CACHE_DIR"] = str(compiled)
        try:
            made = _core().compile_model(self.model, "CPU", options)
            outputs = [made.output(name) for name in self.outputs]
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot compile the model in {precision} ({in_one_line(error)})") from None
        return OpenVinoBackend(precision, made, outputs)


class OpenVinoBackend:
    """Runs the compiled model.

    Args:
        precision: ``float32``, ``bfloat16`` or ``int8``.
        compiled: the compiled model.
        outputs: its outputs in the order of the tasks.
    """

    name = "openvino"

    def __init__(self, precision: str, compiled: Any, outputs: list[Any]) -> None:
        self.precision = precision
        # Fewer than asked for where two of the cores are threads of one.
        self.lanes = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._outputs = outputs
        self._free: SimpleQueue[Any] = SimpleQueue()  # a request that is under way refuses another call
        for _ in range(self.lanes):
            self._free.put(compiled.create_infer_request())

    def __call__(self, images: Pixels) -> Heads:
        """As `TensorFlowBackend.__call__`."""
        request = self._free.get()
        try:
            found = request.infer([images], share_inputs=True)
            return [found[output] for output in self._outputs]
        finally:
            self._free.put(request)
