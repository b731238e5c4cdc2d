"""From a URL to an answer: one path, used by the topic and by ``GET /predict/``.

It composes fetching, decoding and the batched model, and knows neither Kafka nor HTTP. Whatever goes
wrong with one image comes back as a `Failure` of that image.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from functools import partial
from typing import Literal

from consumer.answer_cache import AnswerCache
from consumer.decoding.decoder import Decoder
from consumer.errors import EventError, Overloaded, Stage
from consumer.events import Answer, Failure, ImageInfo, Prediction, Probabilities
from consumer.fetching import Fetched, Fetcher
from consumer.imaging import DecodedImage
from consumer.mistakes import Mistakes
from consumer.model import Batcher
from consumer.model.heads import Pixels

log = logging.getLogger(__name__)

AT_DECODERS = 32
"""Threads that wait for a decoder at the same time, which counts against their deadlines; others wait in front of them,
which does not. Of 128 threads with images that take 0.3 s to decode half timed out, of 32 none."""

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
        cache: answers to images that came before; null keeps none.
        on_stage: is told how long each fetch and decode took.
        on_recalled: is told of each answer out of the cache.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        decoder: Decoder,
        batcher: Batcher,
        *,
        waiting: int,
        cache: AnswerCache | None = None,
        on_stage: Timer | None = None,
        on_recalled: Callable[[], None] | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._decoder = decoder
        self._batcher = batcher
        self._places = threading.BoundedSemaphore(waiting)
        self._at_decoders = threading.BoundedSemaphore(AT_DECODERS)
        self._cache = cache
        self._on_stage = on_stage or _untimed
        self._on_recalled = on_recalled or _uncounted
        self._mistakes = Mistakes(log)

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

    def reach(self, url: str) -> Future[None]:
        """Whether the host of a URL can be reached: `consumer.fetching.Fetcher.reach`."""
        return self._fetcher.reach(url)

    def close(self) -> None:
        """Begins nothing more; does not wait for fetches under way."""
        self._fetcher.close()

    def _look(self, answer: _Answer, urgent: bool, future: Future[Fetched]) -> None:
        """Decodes and queues for the model; runs on the thread that fetched."""
        if future.cancelled():
            answer.cancel()
            return
        answer.begin()
        if error := future.exception():  # not raised: it may be the failure of many, and would grow with each
            answer.set_result(self._failure(error, "fetch"))
            return
        fetched = future.result()
        stage: Stage = "fetch"
        try:
            self._on_stage("fetch", fetched.took_s)
            stage = "decode"
            image = self._image(answer, fetched, urgent)
            if image is None:
                return
            stage = "predict"
            predicted = self._ask_model(image.pixels, urgent)
        except Exception as error:  # noqa: BLE001 - every event gets an answer, a bug of ours included
            answer.set_result(self._failure(error, stage))
            return
        predicted.add_done_callback(partial(self._answer, answer, image.info))

    def _image(self, answer: Future[Answer], fetched: Fetched, urgent: bool) -> DecodedImage | None:
        """What to ask the model about; null if it need not be: the answer is known, or another event's to find."""
        flight = fetched.flight
        if flight is not None and flight.board(answer, partial(self._ask_again, answer, urgent)):
            return None
        sha256 = None
        if self._cache is not None:
            sha256 = hashlib.sha256(fetched.body).hexdigest()
            known = self._cache.get(sha256)
            if known is not None:
                self._on_recalled()
                answer.set_result(known)
                return None
        left_s = fetched.left_s if flight is None else flight.left_s
        with nullcontext() if urgent else self._at_decoders:
            here = time.monotonic()
            image = self._decoder.decode(fetched.body, left_s, fetched.machine, sha256)
            self._on_stage("decode", time.monotonic() - here)
        if flight is not None:
            flight.image = image
        return image

    def _ask_again(self, answer: Future[Answer], urgent: bool, image: DecodedImage) -> None:
        """Without waiting for a place: the image takes no more memory than it does already."""
        try:
            predicted = self._batcher.submit(image.pixels, urgent=urgent)
        except Exception as error:  # noqa: BLE001 - every event gets an answer, a bug of ours included
            answer.set_result(self._failure(error, "predict"))
            return
        predicted.add_done_callback(partial(self._answer, answer, image.info))

    def _ask_model(self, pixels: Pixels, urgent: bool) -> Future[Probabilities]:
        if urgent:  # as many as there are callers, whose number is limited
            return self._batcher.submit(pixels, urgent=True)
        self._places.acquire()
        try:
            predicted = self._batcher.submit(pixels)
        except BaseException:  # whatever it is, it is raised again, and the place is not lost
            self._places.release()
            raise
        predicted.add_done_callback(lambda _: self._places.release())
        return predicted

    def _answer(self, answer: Future[Answer], image: ImageInfo, predicted: Future[Probabilities]) -> None:
        error = Overloaded("the service is stopping") if predicted.cancelled() else predicted.exception()
        if error:
            answer.set_result(self._failure(error, "predict"))
            return
        prediction = Prediction(predicted.result(), image)
        if self._cache is not None:
            self._cache.put(prediction)
        answer.set_result(prediction)

    def _failure(self, error: BaseException, stage: Stage) -> Failure:
        return Failure.of(error) if isinstance(error, EventError) else self._mistakes.failure(error, stage)


class _Answer(Future[Answer]):
    """Can be cancelled exactly as long as its fetch can."""

    def __init__(self, fetched: Future[Fetched]) -> None:
        super().__init__()
        self._fetched: Future[Fetched] | None = fetched

    def begin(self) -> None:
        """The fetch is over. Lets go of it, and with it of the image's bytes."""
        self._fetched = None
        self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        fetched = self._fetched
        return fetched is not None and fetched.cancel() and super().cancel()


def _untimed(stage: Literal["fetch", "decode"], seconds: float) -> None:
    """Nobody wants to know."""


def _uncounted() -> None:
    """Nobody counts."""
