"""What is measured of a way to run the model: whether it agrees with the reference, and how fast it is.

The reference is TensorFlow in float32. A candidate agrees if on every probe image each task has the
same most probable label and no probability differs by more than 0.02.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from consumer.model.heads import Heads, Pixels
from consumer.model.probes import Probes

MAX_DIFFERENCE = 0.02

TIMING_S = 1.0
"""What timing may take, unless `LEAST_ROUNDS` take longer."""
LEAST_ROUNDS, MOST_ROUNDS = 3, 25


class Backend(Protocol):
    """One way to run the model."""

    @property
    def name(self) -> str:
        """``tensorflow`` or ``openvino``."""

    @property
    def precision(self) -> str:
        """``float32``, ``bfloat16`` or ``int8``."""

    @property
    def lanes(self) -> int:
        """Calls that it answers side by side, from as many threads: see `consumer.model.lanes`."""

    def __call__(self, images: Pixels) -> Heads:
        """uint8 (n, height, width, 3) → one float32 (n, labels) per task."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate and what was measured of it; what was not measured is null.

    Attributes:
        backend: ``tensorflow`` or ``openvino``.
        precision: ``float32``, ``bfloat16`` or ``int8``.
        difference: largest difference of a probability from the reference's, on the probe images.
        labels: most probable labels that were compared: one for each task of each probe image.
        labels_equal: how many of them are the reference's.
        seconds: for one image, in batches of `PROBES` in all lanes.
        taken: whether it answers.
        problem: why it cannot answer at all, or nothing.
    """

    backend: str
    precision: str
    difference: float | None = None
    labels: int = 0
    labels_equal: int = 0
    seconds: float | None = None
    taken: bool = False
    problem: str = ""

    @classmethod
    def of(cls, backend: Backend, probes: Probes) -> Trial:
        """Has a backend answer the probe images."""
        heads = backend(probes.images)
        expected, found = ([head.shape for head in one] for one in (probes.answers, heads))
        if expected != found:
            return cls(backend.name, backend.precision, problem=f"its heads are {found}, and the model's {expected}")
        pairs = list(zip(probes.answers, heads, strict=True))
        difference = float(np.max([np.abs(a - b).max() for a, b in pairs]))
        if not np.isfinite(difference):
            return cls(backend.name, backend.precision, problem="a probability is not finite")
        same = [a.argmax(1) == b.argmax(1) for a, b in pairs]
        labels, equal = sum(map(len, same)), sum(int(one.sum()) for one in same)
        return cls(backend.name, backend.precision, difference, labels, equal)

    @property
    def disagreement(self) -> str:
        """Why it may not answer although it can, or nothing."""
        if self.difference is None:
            return ""
        if wrong := self.labels - self.labels_equal:
            return f"{wrong} of {self.labels} most probable labels differ from those of TensorFlow in float32"
        if self.difference > MAX_DIFFERENCE:
            return f"a probability differs by {self.difference:.4f} from TensorFlow's in float32, {MAX_DIFFERENCE} may"
        return ""

    @property
    def agrees(self) -> bool:
        """Whether it may answer."""
        return self.difference is not None and not self.disagreement

    @property
    def images_per_s(self) -> float | None:
        """Speed in batches of `PROBES`."""
        return None if self.seconds is None else 1 / self.seconds

    def __str__(self) -> str:
        name = f"{self.backend} {self.precision}"
        if self.difference is None:
            return f"{name}: not possible: {self.problem}"
        speed = "" if self.images_per_s is None else f"{told_speed(self.images_per_s)} images/s, "
        return (
            f"{name}: {speed}labels equal {self.labels_equal} of {self.labels}, "
            f"largest difference {self.difference:.4f}"
        )


def told_speed(images_per_s: float) -> str:
    """With three digits that count at least: 1,234 or 12.3."""
    return f"{images_per_s:,.0f}" if images_per_s >= 100 else f"{images_per_s:.1f}"


def timed(calls: Sequence[tuple[Backend, Pixels]], clock: Callable[[], float]) -> list[float]:
    """Seconds that each backend takes for one of its images, given to it in one batch in each of its lanes; warm.

    They take turns, so that whatever else the machine does meets them alike; the lower quartile of a
    backend's calls counts: other processes only slow down, and a single lucky call is no measure.
    """
    took: list[list[float]] = [[] for _ in calls]
    with Abreast(max((backend.lanes for backend, _ in calls), default=1)) as abreast:
        for backend, images in calls:
            abreast.ask(backend, images)  # the first call of a shape prepares for it
        until = clock() + TIMING_S
        for number in range(MOST_ROUNDS):
            if number >= LEAST_ROUNDS and clock() >= until:
                break
            for (backend, images), seconds in zip(calls, took, strict=True):
                began = clock()
                abreast.ask(backend, images)
                seconds.append(clock() - began)
    return [
        float(np.quantile(seconds, 0.25)) / (len(images) * backend.lanes)
        for (backend, images), seconds in zip(calls, took, strict=True)
    ]


class Abreast:
    """Asks a backend in all of its lanes at once, as the service does under load.

    Args:
        most: the most lanes that any of them has.
    """

    def __init__(self, most: int) -> None:
        self._threads = ThreadPoolExecutor(most)

    def ask(self, backend: Backend, images: Pixels) -> None:
        """The same images in each lane; returns when all have answered."""
        for answer in [self._threads.submit(backend, images) for _ in range(backend.lanes)]:
            answer.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()
