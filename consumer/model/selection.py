"""Which backend and precision answer: the fastest on this machine that agrees with the reference.

The reference is TensorFlow in float32. A candidate agrees if on every probe image each task has the
same most probable label and no probability differs by more than 0.02.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from consumer.errors import ModelError
from consumer.model import openvino
from consumer.model.heads import Heads, Pixels
from consumer.model.tensorflow import TensorFlowBackend
from consumer.settings import Settings

log = logging.getLogger(__name__)

PROBES = 8
"""Probe images; also the batch that candidates are timed with."""
MAX_DIFFERENCE = 0.02
TIMING_S = 0.3
"""How long each candidate is timed; the best call counts, since other processes only slow down."""


class Backend(Protocol):
    """One way to run the model."""

    @property
    def name(self) -> str:
        """``tensorflow`` or ``openvino``."""

    @property
    def precision(self) -> str:
        """``float32`` or ``bfloat16``."""

    def __call__(self, images: Pixels) -> Heads:
        """uint8 (n, height, width, 3) → one float32 (n, labels) per task."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What was measured of one candidate; ``seconds`` is for one image in a batch of `PROBES`."""

    backend: Backend
    seconds: float
    difference: float
    same_labels: bool

    @property
    def agrees(self) -> bool:
        """Whether it may answer."""
        return self.same_labels and self.difference <= MAX_DIFFERENCE

    def __str__(self) -> str:
        verdict = "agrees" if self.agrees else "disagrees" if self.same_labels else "disagrees on labels"
        return (
            f"{self.backend.name} {self.backend.precision} {self.seconds * 1000:.1f} ms an image, "
            f"{verdict} (largest difference {self.difference:.4f})"
        )


def probe_images(input_size: tuple[int, int], count: int = PROBES) -> Pixels:
    """Seeded images with structure at every scale: blocks from coarse to fine, plain and with noise."""
    width, height = input_size
    random = np.random.default_rng(20_261_124)
    images = np.empty((count, height, width, 3), np.uint8)
    for number in range(count):
        cells = 2 ** (1 + number % 5)
        blocks = random.integers(0, 256, (cells, cells, 3))
        rows, columns = np.arange(height) * cells // height, np.arange(width) * cells // width
        noise = random.normal(0, 4 * (number % 4), (height, width, 3))
        images[number] = np.clip(blocks[rows][:, columns] + noise, 0, 255).astype(np.uint8)
    return images


def select(
    reference: TensorFlowBackend,
    settings: Settings,
    input_size: tuple[int, int],
    clock: Callable[[], float] = time.perf_counter,
) -> Backend:
    """The backend that the settings ask for, or the fastest that agrees, timed by ``clock`` (in seconds).

    Raises:
        ModelError: what is asked for is not installed, cannot be had, or disagrees with the reference.
    """
    wanted, precision = settings.model_backend, settings.model_precision
    _refuse_impossible(wanted, precision)
    candidates: list[Backend] = []
    if wanted != "openvino" and precision in {"auto", "float32"}:
        candidates.append(reference)
    if wanted != "tensorflow" and openvino.is_installed():
        try:
            candidates += _from_openvino(reference, precision)
        except ModelError as error:
            if not candidates:
                raise
            log.warning("TensorFlow answers alone: %s", error)
    if candidates == [reference]:
        return reference
    trials = [_try(backend, reference, probe_images(input_size), clock) for backend in candidates]
    agreeing = [trial for trial in trials if trial.agrees]
    if not agreeing:
        raise ModelError(
            f"MODEL_BACKEND={wanted} with MODEL_PRECISION={precision} does not agree with TensorFlow in float32 "
            f"({'; '.join(map(str, trials))}): set both to auto"
        )
    best = min(agreeing, key=lambda trial: trial.seconds)
    log.info("of %s: %s %s is taken", "; ".join(map(str, trials)), best.backend.name, best.backend.precision)
    return best.backend


def _refuse_impossible(wanted: str, precision: str) -> None:
    install = "pip install 'image-consumer[openvino]'"
    if precision == "int8":
        raise ModelError(
            "MODEL_PRECISION=int8 needs a quantised copy of the model, which this version does not read: "
            "set it to auto, float32 or bfloat16"
        )
    if precision == "bfloat16" and wanted == "tensorflow":
        raise ModelError("MODEL_PRECISION=bfloat16 is OpenVINO's alone: set MODEL_BACKEND to openvino or auto")
    if openvino.is_installed():
        return
    if wanted == "openvino":
        raise ModelError(f"MODEL_BACKEND=openvino, but it is not installed: {install}")
    if precision == "bfloat16":
        raise ModelError(f"MODEL_PRECISION=bfloat16 needs OpenVINO, which is not installed: {install}")


def _from_openvino(reference: TensorFlowBackend, precision: str) -> list[Backend]:
    converted = openvino.Converted(reference)
    able = converted.precisions()
    if precision not in {"auto", *able}:
        raise ModelError(f"MODEL_PRECISION={precision}: this processor has only {', '.join(able)}; set it to auto")
    return [converted.backend(one) for one in able if precision in {"auto", one}]


def _try(backend: Backend, reference: Backend, images: Pixels, clock: Callable[[], float]) -> Trial:
    expected, found = reference(images), backend(images)
    best, until = float("inf"), clock() + TIMING_S
    while clock() < until:
        began = clock()
        backend(images)
        best = min(best, clock() - began)
    return Trial(
        backend,
        best / len(images),
        float(np.max([np.abs(a - b).max() for a, b in zip(expected, found, strict=True)])),  # NaN stays NaN
        all(bool((a.argmax(1) == b.argmax(1)).all()) for a, b in zip(expected, found, strict=True)),
    )
