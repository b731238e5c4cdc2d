"""From a URL to an answer, with a fetcher and a model that a test holds in its hands."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from consumer.answer_cache import AnswerCache
from consumer.decoding.decoder import Decoder
from consumer.errors import HttpStatus, ModelFailed, Overloaded
from consumer.events import Failure, Prediction, Probabilities
from consumer.fetching import Fetched, Fetcher
from consumer.imaging import DecodedImage
from consumer.model import Batcher
from consumer.predictor import Predictor
from tests.decoding.in_thread import InThread

ANSWER = {"sleeves": {"long": 0.75, "short": 0.25}}


def picture(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "PNG")
    return file.getvalue()


class StubFetcher:
    """Gives what a test put under a URL; an exception is raised. ``held`` are fetches that do not begin."""

    def __init__(self, pages: dict[str, bytes | Exception]) -> None:
        self.pages = pages
        self.held: list[Future[Fetched]] = []

    def submit(self, url: str, *, urgent: bool = False) -> Future[Fetched]:
        future: Future[Fetched] = Future()
        if url == "held":
            self.held.append(future)
            return future
        page = self.pages[url]
        if isinstance(page, Exception):
            future.set_exception(page)
        else:
            future.set_result(Fetched(page, 1, 0.5, 9.5))
        return future

    def close(self) -> None:
        for future in self.held:
            future.cancel()


class StubBatcher:
    """Answers at once unless it is ``busy``, and remembers what it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.busy = False
        self.asked: list[tuple[tuple[int, ...], bool]] = []
        self.waiting: list[Future[Probabilities]] = []

    def submit(self, pixels: np.ndarray[Any, Any], *, urgent: bool = False) -> Future[Probabilities]:
        self.asked.append((pixels.shape, urgent))
        future: Future[Probabilities] = Future()
        if self.busy:
            self.waiting.append(future)
        elif self.error:
            future.set_exception(self.error)
        else:
            future.set_result(ANSWER)
        return future


PAGES: dict[str, bytes | Exception] = {
    "good": picture(),
    "missing": HttpStatus(404, attempts=1),
    "same": picture(),
    "page": b"<!doctype html><html></html>",
    "bug": RuntimeError("secret detail"),
}


@pytest.fixture
def fetcher() -> StubFetcher:
    return StubFetcher(PAGES)


def make(
    fetcher: StubFetcher,
    batcher: StubBatcher,
    waiting: int = 2,
    decoder: Decoder | None = None,
    cache: AnswerCache | None = None,
) -> Predictor:
    return Predictor(
        cast(Fetcher, fetcher),
        decoder or InThread((16, 8), 10_000),
        cast(Batcher, batcher),
        waiting=waiting,
        cache=cache,
    )


@pytest.fixture
def predictor(fetcher: StubFetcher) -> Iterator[Predictor]:
    made = make(fetcher, StubBatcher())
    yield made
    made.close()


def test_a_picture_is_answered_with_probabilities_and_what_it_was(predictor: Predictor) -> None:
    answer = predictor.submit("good").result(10)
    assert isinstance(answer, Prediction)
    assert answer.probabilities == ANSWER
    assert (answer.image.format, answer.image.width, answer.image.height) == ("png", 40, 30)
    assert answer.labels == {"sleeves": "long"}


def test_decoding_has_what_the_fetch_left_of_the_deadline(fetcher: StubFetcher) -> None:
    decoder = InThread((16, 8), 10_000)
    predictor = make(fetcher, StubBatcher(), decoder=decoder)
    predictor.submit("good").result(10)
    predictor.close()
    assert decoder.timeouts_s == [9.5]


def test_pixels_reach_the_model_in_its_own_size_and_http_callers_go_first(fetcher: StubFetcher) -> None:
    batcher = StubBatcher()
    predictor = make(fetcher, batcher)
    predictor.submit("good", urgent=True).result(10)
    predictor.submit("good").result(10)
    predictor.close()
    assert batcher.asked == [((8, 16, 3), True), ((8, 16, 3), False)]


@pytest.mark.parametrize(("url", "code"), [("missing", "http_status"), ("page", "not_an_image")])
def test_what_goes_wrong_with_one_picture_is_its_failure(predictor: Predictor, url: str, code: str) -> None:
    answer = predictor.submit(url).result(10)
    assert isinstance(answer, Failure)
    assert answer.code == code


def test_a_model_that_cannot_answer_is_a_failure_too(fetcher: StubFetcher) -> None:
    predictor = make(fetcher, StubBatcher(ModelFailed("no")))
    answer = predictor.submit("good").result(10)
    predictor.close()
    assert isinstance(answer, Failure)
    assert (answer.code, answer.stage) == ("model_failed", "predict")


def test_a_bug_of_ours_is_an_answer_without_its_details(predictor: Predictor) -> None:
    answer = predictor.submit("bug").result(10)
    assert isinstance(answer, Failure)
    assert (answer.code, answer.message) == ("model_failed", "an internal error; the log has it")
    assert (answer.stage, answer.exception, answer.foreseen) == ("fetch", "builtins.RuntimeError", False)


def test_a_bug_of_ours_has_the_stage_that_it_is_in(fetcher: StubFetcher) -> None:
    class Broken(InThread):
        def decode(
            self, body: bytes, timeout_s: float, machine: object = None, sha256: str | None = None
        ) -> DecodedImage:
            raise KeyError(body)

    for predictor, stage in (
        (make(fetcher, StubBatcher(), decoder=Broken((16, 8), 10_000)), "decode"),
        (make(fetcher, StubBatcher(KeyError("bug"))), "predict"),
    ):
        answer = predictor.submit("good").result(10)
        predictor.close()
        assert isinstance(answer, Failure)
        assert (answer.stage, answer.exception, answer.foreseen) == (stage, "builtins.KeyError", False)


def test_a_thread_waits_with_its_image_while_too_many_wait_for_the_model(fetcher: StubFetcher) -> None:
    """Events in flight may be many, images in memory may not."""
    batcher = StubBatcher()
    batcher.busy = True
    predictor = make(fetcher, batcher, waiting=2)
    first, _ = predictor.submit("good"), predictor.submit("good")
    with ThreadPoolExecutor(1) as thread:
        third = thread.submit(predictor.submit, "good")
        predictor.submit("good", urgent=True)  # an HTTP caller's goes ahead
        with pytest.raises(TimeoutError):
            third.result(0.2)
        assert [urgent for _, urgent in batcher.asked] == [False, False, True]
        batcher.waiting[0].set_result(ANSWER)
        third.result(10)
    assert isinstance(first.result(10), Prediction)
    assert len(batcher.asked) == 4
    predictor.close()


def test_a_place_for_the_model_is_given_back_when_it_takes_no_more(fetcher: StubFetcher) -> None:
    class Closed(StubBatcher):
        def submit(self, pixels: np.ndarray[Any, Any], *, urgent: bool = False) -> Future[Probabilities]:
            raise Overloaded("the service is stopping")

    predictor = make(fetcher, Closed(), waiting=1)
    for _ in range(3):
        answer = predictor.submit("good").result(10)
        assert isinstance(answer, Failure)
        assert answer.code == "overloaded"
    predictor.close()


def test_an_answer_can_be_cancelled_exactly_as_long_as_its_fetch_has_not_begun(fetcher: StubFetcher) -> None:
    predictor = make(fetcher, StubBatcher())
    waiting, begun, left = (predictor.submit("held") for _ in range(3))
    assert fetcher.held[1].set_running_or_notify_cancel()
    assert waiting.cancel()
    assert waiting.cancelled()
    assert fetcher.held[0].cancelled()
    assert not begun.cancel()
    predictor.close()
    assert left.cancelled()
    assert not begun.done()


# ── answers to images that came before ───────────────────────────────────────────────────────────


def test_the_same_bytes_under_another_url_are_neither_decoded_nor_predicted_again(fetcher: StubFetcher) -> None:
    batcher, decoder = StubBatcher(), InThread((16, 8), 10_000)
    predictor = make(fetcher, batcher, decoder=decoder, cache=AnswerCache(2**20))
    first, second = (predictor.submit(url).result(10) for url in ("good", "same"))
    assert isinstance(first, Prediction)
    assert isinstance(second, Prediction)
    assert (second, first.recalled, second.recalled) == (first, False, True)
    assert (len(decoder.timeouts_s), len(batcher.asked)) == (1, 1)


def test_without_a_cache_every_event_has_its_image_predicted(fetcher: StubFetcher) -> None:
    batcher = StubBatcher()
    predictor = make(fetcher, batcher)
    assert [predictor.submit(url).result(10) for url in ("good", "same")]
    assert len(batcher.asked) == 2


def test_an_image_that_has_changed_is_asked_about_anew(fetcher: StubFetcher) -> None:
    batcher = StubBatcher()
    predictor = make(fetcher, batcher, cache=AnswerCache(2**20))
    predictor.submit("good").result(10)
    fetcher.pages = PAGES | {"good": picture("blue")}
    answer = predictor.submit("good").result(10)
    assert isinstance(answer, Prediction)
    assert not answer.recalled
    assert len(batcher.asked) == 2


def test_a_failure_is_not_kept(fetcher: StubFetcher) -> None:
    batcher = StubBatcher(ModelFailed("no"))
    predictor = make(fetcher, batcher, cache=AnswerCache(2**20))
    assert isinstance(predictor.submit("good").result(10), Failure)
    batcher.error = None
    answer = predictor.submit("good").result(10)
    assert isinstance(answer, Prediction)
    assert not answer.recalled
