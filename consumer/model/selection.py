"""Which backend, precision and batch size answer: the fastest on this machine that agree with the reference.

Timing is noisy and a choice should not flip with it, so a faster candidate has to be clearly faster than a more
precise one: of those within a tenth of the fastest, the most precise is taken; of two as precise OpenVINO, which needs
no TensorFlow at the next start: seven seconds and some 550 MiB less. The choice is kept for the next
start, see `consumer.model.kept`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial

import numpy as np

from consumer.errors import ModelError
from consumer.model import openvino
from consumer.model.choice import Choice
from consumer.model.heads import Pixels
from consumer.model.int8_copy import Int8Copy
from consumer.model.openvino import Converted
from consumer.model.probes import PROBES, Probes
from consumer.model.processor import Processor
from consumer.model.shapes import batch_shapes
from consumer.model.tensorflow import Frozen, TensorFlowBackend
from consumer.model.trials import Abreast, Backend, Trial, timed
from consumer.settings import Settings

log = logging.getLogger(__name__)

PRECISIONS = ("float32", "bfloat16", "int8")
"""The most precise first."""
WAYS = (
    *(("tensorflow", "float32"), ("tensorflow", "bfloat16")),
    *(("openvino", "float32"), ("openvino", "bfloat16"), ("openvino", "int8")),
)
CLEARLY_FASTER = 1.1
"""Whoever takes up to so many times the fastest one's time counts as fast as it."""
BATCH_MAX_SIZE = 16
"""Unless BATCH_MAX_SIZE says otherwise. Past 16 a CPU gains nothing more from a larger batch, and each
image in it waits longer."""
GOOD_CALL_S = 0.1
"""A larger batch than one that takes so long saves nothing more, and its first image waits for the last one."""


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
    ways, left_out = _ways(wanted, precision, workshop.copy)
    made, failed = _make(workshop, ways)
    trials = [Trial.of(backend, probes) for backend in made]
    agreeing = [number for number, trial in enumerate(trials) if trial.agrees]
    if not agreeing:
        raise ModelError(
            f"MODEL_BACKEND={wanted} with MODEL_PRECISION={precision} does not agree with TensorFlow in float32 "
            f"({'; '.join(map(str, trials))}): set both to auto"
        )
    # Those that disagree are timed too: what they would have brought is worth knowing.
    images = probes.images[: settings.batch_max_size or PROBES]
    seconds = timed([(one, images) for one in made], clock) if len(made) > 1 else [None]
    trials = [replace(trial, seconds=one) for trial, one in zip(trials, seconds, strict=True)]
    best = _best(trials, agreeing)
    costs = {} if settings.batch_max_size else _costs(made[best], probes, clock)
    seconds_of_best = trials[best].seconds or _cost_of_probes(costs)  # the only candidate has been timed here alone
    trials[best] = replace(trials[best], taken=True, seconds=seconds_of_best)
    size = settings.batch_max_size or _batch_size(costs, made[best].lanes)
    return Choice(made[best], size, (*trials, *failed, *left_out), costs, time.time_ns() // 1_000_000)


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


def _ways(wanted: str, precision: str, copy: Int8Copy | None) -> tuple[list[tuple[str, str]], list[Trial]]:
    """Of all that the settings leave open: backend and precision of what can be tried here, and what cannot, and why.

    Raises:
        ModelError: nothing can.
    """
    of_backend = {way: _obstacle(*way, copy) for way in WAYS if wanted in {"auto", way[0]}}
    open_ = {way: why for way, why in of_backend.items() if precision in {"auto", way[1]}}
    ways = [way for way, why in open_.items() if not why]
    if not ways:
        can = dict.fromkeys(one for (_, one), why in of_backend.items() if not why)
        raise ModelError(f"MODEL_PRECISION={precision}: this processor has only {', '.join(can)}; set it to auto")
    return ways, [Trial(*way, problem=why) for way, why in open_.items() if why]


def _obstacle(name: str, precision: str, copy: Int8Copy | None) -> str:
    """Why a way need not be tried here, or nothing."""
    if name == "openvino" and not openvino.is_installed():
        return f"OpenVINO is not installed: {openvino.INSTALL}"
    if precision == "int8" and copy is None:
        return "there is no int8 copy of this model: image-tools quantize makes one"
    if precision == "bfloat16":
        able = Processor.here().computes_bfloat16 if name == "tensorflow" else precision in openvino.precisions()
        return "" if able else "this processor has no instructions for it"  # it would be computed in float32
    return ""


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
    """The most precise of those that are about as fast as the fastest; of two equally precise ones OpenVINO's."""
    took = {number: trials[number].seconds or 0.0 for number in agreeing}
    good = [number for number in agreeing if took[number] <= CLEARLY_FASTER * min(took.values())]
    return min(good, key=lambda one: (PRECISIONS.index(trials[one].precision), trials[one].backend != "openvino"))


def _costs(backend: Backend, probes: Probes, clock: Callable[[], float]) -> dict[int, float]:
    """Seconds for one image, by the size of its batch, for all sizes that may be worth taking.

    A batch that takes longer than `GOOD_CALL_S` and saves nothing ends the list: larger ones would not be taken
    either, and of a model that takes 0.4 s an image the 31 images of all sizes would be asked for most of a minute.
    """
    calls: dict[int, Pixels] = {}
    cheapest = math.inf
    with Abreast(backend.lanes) as abreast:
        for size in batch_shapes(BATCH_MAX_SIZE):
            calls[size] = probes.images[np.arange(size) % len(probes.images)]
            took = _quickest(partial(abreast.ask, backend, calls[size]), clock)
            if took > GOOD_CALL_S and took / size * CLEARLY_FASTER > cheapest:
                break
            cheapest = min(cheapest, took / size)
    return dict(zip(calls, timed([(backend, images) for images in calls.values()], clock), strict=True))


def _quickest(ask: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds of the quicker of two calls, since one may have been disturbed; a first one prepares for this shape."""
    ask()
    took = []
    for _ in range(2):
        began = clock()
        ask()
        took.append(clock() - began)
    return min(took)


def _cost_of_probes(costs: dict[int, float]) -> float | None:
    """Seconds for one image in a batch of `PROBES`; that of the largest batch if so large a one saves nothing more."""
    return costs.get(PROBES, costs[max(costs)]) if costs else None


def _batch_size(costs: dict[int, float], lanes: int) -> int:
    """The largest batch that is about as cheap as any and keeps its images for less than `GOOD_CALL_S`."""
    cheap = [size for size, cost in costs.items() if cost <= CLEARLY_FASTER * min(costs.values())]
    return max((size for size in cheap if size * lanes * costs[size] <= GOOD_CALL_S), default=min(cheap))
