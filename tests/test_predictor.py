"""From a URL to an answer, with a fetcher and a model that a test holds in its hands."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from consumer.errors import HttpStatus, ModelFailed
from consumer.events import Failure, Prediction, Probabilities
from consumer.fetching import Fetched, Fetcher
from consumer.model import Batcher
from consumer.predictor import Predictor

ANSWER = {"sleeves": {"long": 0.75, "short": 0.25}}


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "PNG")
    return file.getvalue()


class StubFetcher:
    """Gives what a test put under a URL; an exception is raised. ``gate`` holds every fetch back."""

    def __init__(self, pages: dict[str, bytes | Exception]) -> None:
        self.pages = pages
        self.gate = threading.Event()
        self.gate.set()
        self.fetched: list[str] = []

    def fetch(self, url: str) -> Fetched:
        assert self.gate.wait(10)
        self.fetched.append(url)
        page = self.pages[url]
        if isinstance(page, Exception):
            raise page
        return Fetched(page, 1)

    def close(self) -> None:
        self.gate.set()


class StubBatcher:
    """Answers at once, and remembers what it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[tuple[tuple[int, ...], bool]] = []

    def submit(self, pixels: np.ndarray[Any, Any], *, urgent: bool = False) -> Future[Probabilities]:
        self.asked.append((pixels.shape, urgent))
        future: Future[Probabilities] = Future()
        if self.error:
            future.set_exception(self.error)
        else:
            future.set_result(ANSWER)
        return future


PAGES: dict[str, bytes | Exception] = {
    "good": picture(),
    "missing": HttpStatus(404, attempts=1),
    "page": b"<!doctype html><html></html>",
    "bug": RuntimeError("secret detail"),
}


@pytest.fixture
def fetcher() -> StubFetcher:
    return StubFetcher(PAGES)


def make(fetcher: StubFetcher, batcher: StubBatcher, concurrency: int = 2) -> Predictor:
    return Predictor(
        cast(Fetcher, fetcher),
        cast(Batcher, batcher),
        input_size=(16, 8),
        max_pixels=10_000,
        concurrency=concurrency,
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


def test_http_callers_do_not_wait_behind_a_topic_of_slow_hosts(fetcher: StubFetcher) -> None:
    predictor = make(fetcher, StubBatcher(), concurrency=1)
    fetcher.gate.clear()
    slow = [predictor.submit("good") for _ in range(5)]
    urgent = predictor.submit("good", urgent=True)
    fetcher.gate.set()
    assert isinstance(urgent.result(10), Prediction)
    assert all(isinstance(one.result(10), Prediction) for one in slow)
    predictor.close()


def test_a_fetch_that_has_not_begun_can_be_cancelled_and_closing_cancels_them_all(fetcher: StubFetcher) -> None:
    predictor = make(fetcher, StubBatcher(), concurrency=1)
    fetcher.gate.clear()
    first, second, third = (predictor.submit("good") for _ in range(3))
    while not first.running():
        pass
    assert second.cancel()
    predictor.close()
    assert isinstance(first.result(10), Prediction)
    assert third.cancelled()
    assert len(fetcher.fetched) == 1
