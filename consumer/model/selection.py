"""Which backend, precision and batch size answer: the fastest on this machine that agree with the reference.

Timing is noisy and a choice should not flip with it, so a faster candidate has to be clearly faster than a more
precise one: of those within a tenth of the fastest, the most precise is taken. The choice is kept for the next
start, see `consumer.model.kept`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from consumer.errors import ModelError
from consumer.model import openvino
from consumer.model.int8_copy import Int8Copy
from consumer.model.openvino import Converted
from consumer.model.probes import Probes
from consumer.model.processor import Processor
from consumer.model.shapes import batch_shapes
from consumer.model.tensorflow import Frozen, TensorFlowBackend
from consumer.model.trials import Backend, Trial, timed
from consumer.settings import Settings

log = logging.getLogger(__name__)

PRECISIONS = ("float32", "bfloat16", "int8")
"""The most precise first."""
CLEARLY_FASTER = 1.1
"""Whoever takes up to so many times the fastest one's time counts as fast as it."""
BATCH_MAX_SIZE = 16
"""Unless BATCH_MAX_SIZE says otherwise. Past 16 a CPU gains nothing more from a larger batch, and each
image in it waits longer."""
GOOD_CALL_S = 0.1
"""A larger batch than one that takes so long saves nothing more, and its first image waits for the last one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What answers.

    Attributes:
        backend: how the model is run.
        max_batch: most images in one call.
        trials: every candidate, with what was measured of it.
    """

    backend: Backend
    max_batch: int
    trials: tuple[Trial, ...]


def select(
    workshop: Workshop,
    probes: Probes,
    settings: Settings,
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """What the settings ask for, or the fastest that agrees, timed by ``clock`` (in seconds).

    Raises:
        ModelError: what is asked for is not installed, cannot be had, or disagrees with the reference.
    """
    wanted, precision = settings.model_backend, settings.model_precision
    _refuse_impossible(wanted, precision, workshop.copy)
    made, failed = _make(workshop, _ways(wanted, precision, workshop.copy))
    trials = [Trial.of(backend, probes) for backend in made]
    agreeing = [number for number, trial in enumerate(trials) if trial.agrees]
    if not agreeing:
        raise ModelError(
            f"MODEL_BACKEND={wanted} with MODEL_PRECISION={precision} does not agree with TensorFlow in float32 "
            f"({'; '.join(map(str, trials))}): set both to auto"
        )
    # Those that disagree are timed too: what they would have brought is worth knowing.
    seconds = timed([(one, probes.images) for one in made], clock) if len(made) > 1 else [None]
    trials = [replace(trial, seconds=one) for trial, one in zip(trials, seconds, strict=True)]
    best = _best(trials, agreeing)
    trials[best] = replace(trials[best], taken=True)
    size = settings.batch_max_size or _batch_size(made[best], probes, clock)
    return Choice(made[best], size, (*trials, *failed))


def _refuse_impossible(wanted: str, precision: str, copy: Int8Copy | None) -> None:
    if precision == "int8" and wanted == "tensorflow":
        raise ModelError("MODEL_PRECISION=int8 is OpenVINO's alone: set MODEL_BACKEND to openvino or auto")
    if precision == "int8" and copy is None:
        raise ModelError(
            "MODEL_PRECISION=int8 needs an int8 copy in the model directory, and there is none: make one with "
            "image-tools quantize, or set it to auto, float32 or bfloat16"
        )
    if openvino.is_installed():
        return
    if wanted == "openvino":
        raise ModelError(f"MODEL_BACKEND=openvino, but it is not installed: {openvino.INSTALL}")
    if precision == "int8":
        raise ModelError(f"MODEL_PRECISION=int8 needs OpenVINO, which is not installed: {openvino.INSTALL}")


def _ways(wanted: str, precision: str, copy: Int8Copy | None) -> list[tuple[str, str]]:
    """Backend and precision of all that the settings leave open and this machine can do."""
    able = [("tensorflow", "float32")]
    if Processor.here().computes_bfloat16:  # oneDNN would compute it in float32
        able.append(("tensorflow", "bfloat16"))
    if openvino.is_installed():
        able += [("openvino", one) for one in openvino.precisions()]
        able += [("openvino", "int8")] if copy is not None else []
    open_ = [(name, one) for name, one in able if wanted in {"auto", name} and precision in {"auto", one}]
    if not open_:
        can = [one for name, one in able if wanted in {"auto", name}]
        raise ModelError(f"MODEL_PRECISION={precision}: this processor has only {', '.join(can)}; set it to auto")
    return open_


class Workshop:
    """Makes backends out of the model; what several of them need is made once.

    Args:
        reference: the model in TensorFlow.
        copy: its int8 copy, if there is one.
    """

    def __init__(self, reference: TensorFlowBackend, copy: Int8Copy | None) -> None:
        self._reference = reference
        self.copy = copy

    @cached_property
    def frozen(self) -> Frozen | None:
        """TensorFlow's graph with its weights inside, or null if it is larger than a GraphDef can be (2 GiB)."""
        try:
            return self._reference.frozen()
        except ValueError:
            return None

    @cached_property
    def converted(self) -> Converted:
        """OpenVINO's form of it.

        Raises:
            ModelError: OpenVINO cannot convert it.
        """
        if self.frozen is None:
            raise ModelError("OpenVINO cannot convert the model: its graph is larger than 2 GiB")
        return Converted.of(self.frozen)

    def make(self, name: str, precision: str) -> Backend:
        """A backend.

        Raises:
            ModelError: the model cannot be run like that.
        """
        if name == "openvino":
            converted = self.copy.converted() if precision == "int8" and self.copy else self.converted
            return converted.backend(precision)
        if self.frozen is not None:
            return self.frozen.backend(precision)
        if precision != "float32":
            raise ModelError("its graph is larger than 2 GiB")
        return self._reference


def _make(workshop: Workshop, ways: list[tuple[str, str]]) -> tuple[list[Backend], list[Trial]]:
    """The backends that can be had, and those that can not.

    Raises:
        ModelError: none can.
    """
    made: list[Backend] = []
    failed: list[Trial] = []
    for name, precision in ways:
        try:
            made.append(workshop.make(name, precision))
        except ModelError as error:
            failed.append(Trial(name, precision, problem=str(error)))
    if not made:
        raise ModelError(failed[0].problem)
    for problem in dict.fromkeys(trial.problem for trial in failed):
        log.warning("without %s: %s", " and ".join(_named(one) for one in failed if one.problem == problem), problem)
    return made, failed


def _named(trial: Trial) -> str:
    return f"{trial.backend} {trial.precision}"


def _best(trials: list[Trial], agreeing: list[int]) -> int:
    """The most precise of those that are about as fast as the fastest; the faster of two equally precise ones."""
    took = {number: trials[number].seconds or 0.0 for number in agreeing}
    good = [number for number in agreeing if took[number] <= CLEARLY_FASTER * min(took.values())]
    return min(good, key=lambda number: (PRECISIONS.index(trials[number].precision), took[number]))


def _batch_size(backend: Backend, probes: Probes, clock: Callable[[], float]) -> int:
    """The largest batch that is about as cheap as any and keeps its images for less than `GOOD_CALL_S`."""
    sizes = batch_shapes(BATCH_MAX_SIZE)
    calls = [(backend, probes.images[np.arange(size) % len(probes.images)]) for size in sizes]
    cost = dict(zip(sizes, timed(calls, clock), strict=True))
    cheap = [size for size in sizes if cost[size] <= CLEARLY_FASTER * min(cost.values())]
    return max((size for size in cheap if size * cost[size] <= GOOD_CALL_S), default=min(cheap))
