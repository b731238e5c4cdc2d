"""The model's threads: images come singly from many threads, the model is asked in batches.

When a batch goes and who is in it is `consumer.model.batch_queue`'s to say. A batch never shares a fate:
if a call fails, its images are asked again in halves, until the culprit stands alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from consumer.errors import ModelFailed, Overloaded
from consumer.events import Probabilities
from consumer.logs.sparing import Sparing
from consumer.model.batch_queue import BatchQueue, Waiting
from consumer.model.heads import Pixels

log = logging.getLogger(__name__)

Observer = Callable[[float], None]


def _unobserved(_: float) -> None:
    """Nobody wants to know."""


class Batcher:
    """Answers for single images through batched calls, on threads of its own.

    It takes whatever it is given: whoever submits bounds how many images wait at a time. A future's
    callbacks run on one of the model's threads, between two calls, so they must be short; observers too,
    and they must not raise.

    Args:
        predict: uint8 (n, height, width, 3) → n answers.
        max_size: most images in one call.
        max_wait_s: longest wait for company, in seconds.
        lanes: calls side by side, each on a thread of its own.
        on_batch: is told the size of each call that gave answers.
        on_wait: is told the seconds that each image waited for its call.
        on_predict: is told the seconds that each image's call took.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        predict: Callable[[Pixels], Sequence[Probabilities]],
        max_size: int,
        max_wait_s: float,
        *,
        lanes: int = 1,
        on_batch: Observer = _unobserved,
        on_wait: Observer = _unobserved,
        on_predict: Observer = _unobserved,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._predict = predict
        self._queue = BatchQueue(max_size, max_wait_s)
        self._on_batch = on_batch
        self._on_wait = on_wait
        self._on_predict = on_predict
        self._clock = clock
        self._sparing = Sparing(log, "failures of the model", clock)
        self._changed = threading.Condition()
        self._closed = False
        self._began: dict[int, float] = {}
        """Threads whose call is under way → since when."""
        self._threads = [
            threading.Thread(target=self._run, name=f"batcher-{number}", daemon=True) for number in range(lanes)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def queued(self) -> int:
        """Images that wait for their call."""
        return len(self._queue)

    def longest_call_s(self) -> float:
        """For how many seconds the longest of the calls under way has taken already, with what is done with its answers
        on its thread; 0 if there is none."""
        began = list(self._began.values())
        return self._clock() - min(began) if began else 0.0

    def submit(self, pixels: Pixels, *, urgent: bool = False) -> Future[Probabilities]:
        """Queues an image, uint8 (height, width, 3); ``urgent`` goes first.

        Returns:
            Its answer, or `ModelFailed`. It may be cancelled until its call begins.

        Raises:
            Overloaded: the batcher was closed.
        """
        with self._changed:
            if self._closed:
                raise Overloaded("the service is stopping")
            one = Waiting(pixels, self._clock())
            self._queue.put(one, urgent=urgent)
            if len(self._queue) == 1 or self._queue.wait_s(one.since) <= 0:  # else it knows how long to wait
                self._changed.notify()
        return one.answer

    def close(self) -> None:
        """Answers what is queued, then ends; takes no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        thread = threading.get_ident()
        while (batch := self._next()) is not None:
            if batch:
                self._ask(batch)
                self._began.pop(thread, None)

    def _next(self) -> list[Waiting] | None:
        """Waits for the next batch; null when closed and empty."""
        with self._changed:
            while True:
                if not len(self._queue):
                    if self._closed:
                        return None
                    self._changed.wait()
                elif not self._closed and (wait_s := self._queue.wait_s(self._clock())) > 0:
                    self._changed.wait(wait_s)  # or until another lane has taken it
                else:
                    batch = self._queue.take()
                    if len(self._queue):
                        self._changed.notify()  # a lane that is free may wait with the others, or take them
                    return batch

    def _ask(self, batch: list[Waiting]) -> None:
        self._began[threading.get_ident()] = began = self._clock()
        try:
            answers = list(zip(batch, self._predict(np.stack([one.pixels for one in batch])), strict=True))
        except BaseException as error:  # noqa: BLE001 - a backend raises what it likes; each image gets its answer
            self._ask_in_halves(batch, error)
            return
        took = self._clock() - began
        self._on_batch(len(batch))
        for one, answer in answers:
            self._on_wait(began - one.since)
            self._on_predict(took)
            one.answer.set_result(answer)

    def _ask_in_halves(self, batch: list[Waiting], error: BaseException) -> None:
        if len(batch) == 1:
            kind = type(error).__name__
            self._sparing.log(logging.ERROR, kind, "the model failed for one image: %s: %s", kind, error)
            batch[0].answer.set_exception(ModelFailed("the model could not answer for this image"))
            return
        middle = len(batch) // 2
        self._ask(batch[:middle])
        self._ask(batch[middle:])
