"""From a URL to an answer: one path, used by the topic and by ``GET /predict/``.

It composes fetching, decoding and the batched model, and knows neither Kafka nor HTTP. Whatever goes
wrong with one image comes back as a `Failure` of that image.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Literal

from consumer.errors import EventError, ModelFailed, Overloaded
from consumer.events import Answer, Failure, ImageInfo, Prediction, Probabilities
from consumer.fetching import Fetcher
from consumer.imaging import decode_image
from consumer.model import Batcher

log = logging.getLogger(__name__)

URGENT_THREADS = 8
"""Threads kept free for HTTP callers, so that a topic full of slow hosts does not hold them up."""

Timer = Callable[[Literal["fetch", "decode"], float], None]
"""Told the stage (``fetch``, ``decode``) and the seconds that it took."""


class Predictor:
    """Answers for URLs. Thread-safe.

    Args:
        fetcher: downloads, under the fetch policy.
        batcher: the model behind its queue.
        input_size: width and height of the model's input, in pixels.
        max_pixels: largest image that is decoded, width times height.
        concurrency: images of the topic fetched and decoded at the same time.
        on_stage: is told how long each fetch and decode took.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        batcher: Batcher,
        *,
        input_size: tuple[int, int],
        max_pixels: int,
        concurrency: int,
        on_stage: Timer | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._batcher = batcher
        self._input_size = input_size
        self._max_pixels = max_pixels
        self._on_stage = on_stage or _untimed
        self._threads = ThreadPoolExecutor(concurrency, "fetch")
        self._urgent = ThreadPoolExecutor(URGENT_THREADS, "fetch-http")

    def submit(self, url: str, *, urgent: bool = False) -> Future[Answer]:
        """Begins to answer for one URL; ``urgent`` goes first.

        Returns:
            A future that holds a `Prediction` or a `Failure`, never an exception. It may be
            cancelled as long as the fetch has not begun.
        """
        answer: Future[Answer] = Future()
        task = (self._urgent if urgent else self._threads).submit(self._look, url, urgent, answer)
        task.add_done_callback(lambda ended: answer.cancel() if ended.cancelled() else None)  # by `close`
        return answer

    def close(self) -> None:
        """Begins nothing more; does not wait for fetches under way."""
        for pool in (self._threads, self._urgent):
            pool.shutdown(wait=False, cancel_futures=True)
        self._fetcher.close()

    def _look(self, url: str, urgent: bool, answer: Future[Answer]) -> None:
        """Fetches, decodes and queues for the model; runs on a thread of the pool."""
        if not answer.set_running_or_notify_cancel():
            return
        try:
            began = time.monotonic()
            fetched = self._fetcher.fetch(url)
            here = time.monotonic()
            self._on_stage("fetch", here - began)
            image = decode_image(fetched.body, size=self._input_size, max_pixels=self._max_pixels)
            self._on_stage("decode", time.monotonic() - here)
            predicted = self._batcher.submit(image.pixels, urgent=urgent)
        except Exception as error:  # noqa: BLE001 - every event gets an answer, a bug of ours included
            answer.set_result(_failure(error))
            return
        predicted.add_done_callback(partial(_answer, answer, image.info))


def _untimed(stage: Literal["fetch", "decode"], seconds: float) -> None:
    """Nobody wants to know."""


def _answer(answer: Future[Answer], image: ImageInfo, predicted: Future[Probabilities]) -> None:
    error = Overloaded("the service is stopping") if predicted.cancelled() else predicted.exception()
    answer.set_result(_failure(error) if error else Prediction(predicted.result(), image))


def _failure(error: BaseException) -> Failure:
    if isinstance(error, EventError):
        return Failure.of(error)
    log.error("an event failed for a reason of ours", exc_info=error)
    return Failure.of(ModelFailed("an internal error; the log has it"))
