"""The queue in front of the model: images come singly, the model is asked in batches.

The rule: an image that finds the model idle goes at once. While a call runs, others gather, up to the
largest batch, and go together when it ends. Only if a batch that is not full has just been preceded by
another (the topic is busy, more is on its way) does it wait for company, at most ``max_wait_s`` from the
arrival of its oldest image. So a single image pays no wait, and a flood fills its batches by itself.

A batch never shares a fate: if a call fails, its images are asked again in halves, until the culprit
stands alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from consumer.errors import ModelFailed, Overloaded
from consumer.events import Probabilities

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
Observer = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One image in the queue; ``since`` is monotonic seconds."""

    pixels: Pixels
    since: float
    answer: Future[Probabilities] = field(default_factory=Future)


class Queue:
    """Who waits, and who goes next. Without thread or clock: the time is passed in."""

    def __init__(self, max_size: int, max_wait_s: float) -> None:
        self._max_size = max_size
        self._max_wait_s = max_wait_s
        self._urgent: deque[Waiting] = deque()
        self._others: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def put(self, one: Waiting, *, urgent: bool) -> None:
        """Takes an image in."""
        (self._urgent if urgent else self._others).append(one)

    def wait_s(self, now: float, *, busy: bool) -> float:
        """Seconds until the next batch should go: 0 is now. The queue must not be empty.

        Args:
            now: monotonic seconds.
            busy: whether a call has just ended, so that more is likely on its way.
        """
        if self._urgent or not busy or len(self) >= self._max_size:
            return 0.0
        return max(0.0, self._others[0].since + self._max_wait_s - now)

    def take(self) -> list[Waiting]:
        """The next batch, urgent ones first; who was cancelled meanwhile is left out."""
        batch: list[Waiting] = []
        for queue in (self._urgent, self._others):
            while queue and len(batch) < self._max_size:
                one = queue.popleft()
                if one.answer.set_running_or_notify_cancel():
                    batch.append(one)
        return batch


def _unobserved(_: float) -> None:
    """Nobody wants to know."""


class Batcher:
    """Answers for single images through batched calls, on a thread of its own.

    Args:
        predict: uint8 (n, height, width, 3) → n answers; called by one thread only.
        max_size: most images in one call.
        max_wait_s: longest wait for company.
        on_batch: is told the size of each batch.
        on_wait: is told the seconds that each image waited for its call.
        on_predict: is told the seconds that each image's call took.
    """

    def __init__(
        self,
        predict: Callable[[Pixels], Sequence[Probabilities]],
        max_size: int,
        max_wait_s: float,
        *,
        on_batch: Observer = _unobserved,
        on_wait: Observer = _unobserved,
        on_predict: Observer = _unobserved,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._predict = predict
        self._queue = Queue(max_size, max_wait_s)
        self._on_batch = on_batch
        self._on_wait = on_wait
        self._on_predict = on_predict
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """Images that wait for their call."""
        return len(self._queue)

    def submit(self, pixels: Pixels, *, urgent: bool = False) -> Future[Probabilities]:
        """Queues an image (height, width, 3); ``urgent`` goes first.

        Raises:
            Overloaded: the batcher was closed.
        """
        one = Waiting(pixels, self._clock())
        with self._changed:
            if self._closed:
                raise Overloaded("the service is stopping")
            self._queue.put(one, urgent=urgent)
            self._changed.notify()
        return one.answer

    def close(self) -> None:
        """Answers what is queued, then ends; takes no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        busy = False
        while (batch := self._next(busy)) is not None:
            busy = bool(batch)
            if batch:
                self._on_batch(len(batch))
                self._ask(batch)

    def _next(self, busy: bool) -> list[Waiting] | None:
        """Waits for the next batch; null when closed and empty."""
        with self._changed:
            while not len(self._queue):
                if self._closed:
                    return None
                self._changed.wait()
                busy = False
            while not self._closed and (wait := self._queue.wait_s(self._clock(), busy=busy)) > 0:
                self._changed.wait(wait)
            return self._queue.take()

    def _ask(self, batch: list[Waiting]) -> None:
        began = self._clock()
        try:
            answers = list(zip(batch, self._predict(np.stack([one.pixels for one in batch])), strict=True))
        except Exception as error:  # noqa: BLE001 - a backend raises what it likes; each image gets its answer
            self._ask_in_halves(batch, error)
            return
        took = self._clock() - began
        for one, answer in answers:
            self._on_wait(began - one.since)
            self._on_predict(took)
            one.answer.set_result(answer)

    def _ask_in_halves(self, batch: list[Waiting], error: Exception) -> None:
        if len(batch) == 1:
            log.error("the model failed for one image: %s: %s", type(error).__name__, error)
            batch[0].answer.set_exception(ModelFailed("the model could not answer for this image"))
            return
        middle = len(batch) // 2
        self._ask(batch[:middle])
        self._ask(batch[middle:])
