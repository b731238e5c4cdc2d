"""From a URL to an answer: one path, used by the topic and by ``GET /predict/``.

It composes fetching, decoding and the batched model, and knows neither Kafka nor HTTP. Whatever goes
wrong with one image comes back as a `Failure` of that image.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Literal

from consumer.decoding.decoder import Decoder
from consumer.errors import EventError, ModelFailed, Overloaded, Stage
from consumer.events import Answer, Failure, ImageInfo, Prediction, Probabilities
from consumer.fetching import Fetched, Fetcher
from consumer.logs.sparing import Sparing
from consumer.model import Batcher
from consumer.model.heads import Pixels

log = logging.getLogger(__name__)

Timer = Callable[[Literal["fetch", "decode"], float], None]
"""Told the stage (``fetch``, ``decode``) and the seconds that it took."""


class Predictor:
    """Answers for URLs. Thread-safe.

    Args:
        fetcher: downloads, under the fetch policy; the thread that fetched an image has it decoded.
        decoder: bytes → pixels of the model's size.
        batcher: the model behind its queue.
        waiting: images of the topic that wait for the model at the same time. A thread with one more waits
            with it: so that the number of images in memory is bounded, however many events are in flight.
        on_stage: is told how long each fetch and decode took.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        decoder: Decoder,
        batcher: Batcher,
        *,
        waiting: int,
        on_stage: Timer | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._decoder = decoder
        self._batcher = batcher
        self._places = threading.BoundedSemaphore(waiting)
        self._on_stage = on_stage or _untimed
        self._mistakes = Sparing(log, "mistakes of ours")

    def submit(self, url: str, *, urgent: bool = False) -> Future[Answer]:
        """Begins to answer for one URL; ``urgent`` goes first.

        Returns:
            A future that holds a `Prediction` or a `Failure`, never an exception. It may be
            cancelled as long as the fetch has not begun.
        """
        fetched = self._fetcher.submit(url, urgent=urgent)
        answer = _Answer(fetched)
        fetched.add_done_callback(partial(self._look, answer, urgent))
        return answer

    def close(self) -> None:
        """Begins nothing more; does not wait for fetches under way."""
        self._fetcher.close()

    def _look(self, answer: Future[Answer], urgent: bool, future: Future[Fetched]) -> None:
        """Decodes and queues for the model; runs on the thread that fetched."""
        if future.cancelled():
            answer.cancel()
            return
        answer.set_running_or_notify_cancel()
        stage: Stage = "fetch"
        try:
            fetched = future.result()
            self._on_stage("fetch", fetched.took_s)
            here, stage = time.monotonic(), "decode"
            image = self._decoder.decode(fetched.body, fetched.left_s, fetched.machine)
            self._on_stage("decode", time.monotonic() - here)
            stage = "predict"
            predicted = self._ask_model(image.pixels, urgent)
        except Exception as error:  # noqa: BLE001 - every event gets an answer, a bug of ours included
            answer.set_result(self._failure(error, stage))
            return
        predicted.add_done_callback(partial(self._answer, answer, image.info))

    def _ask_model(self, pixels: Pixels, urgent: bool) -> Future[Probabilities]:
        if urgent:  # as many as there are callers, whose number is limited
            return self._batcher.submit(pixels, urgent=True)
        self._places.acquire()
        try:
            predicted = self._batcher.submit(pixels)
        except BaseException:
            self._places.release()
            raise
        predicted.add_done_callback(lambda _: self._places.release())
        return predicted

    def _answer(self, answer: Future[Answer], image: ImageInfo, predicted: Future[Probabilities]) -> None:
        error = Overloaded("the service is stopping") if predicted.cancelled() else predicted.exception()
        answer.set_result(self._failure(error, "predict") if error else Prediction(predicted.result(), image))

    def _failure(self, error: BaseException, stage: Stage) -> Failure:
        if isinstance(error, EventError):
            return Failure.of(error)
        self._mistakes.log(logging.ERROR, type(error).__name__, "an event failed for a reason of ours", exc_info=error)
        # Of the contract's codes it has the one that says 500; that the model is at fault, it does not say.
        failure = Failure.of(ModelFailed("an internal error; the log has it"))
        kind = type(error)
        return replace(failure, stage=stage, exception=f"{kind.__module__}.{kind.__qualname__}", foreseen=False)


class _Answer(Future[Answer]):
    """Can be cancelled exactly as long as its fetch can."""

    def __init__(self, fetched: Future[Fetched]) -> None:
        super().__init__()
        self._fetched = fetched

    def cancel(self) -> bool:
        return self._fetched.cancel() and super().cancel()


def _untimed(stage: Literal["fetch", "decode"], seconds: float) -> None:
    """Nobody wants to know."""
