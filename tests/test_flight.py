"""What one image comes to is what it comes to for everybody whom its fetch is for."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, cast

import numpy as np
import pytest

from consumer.answer_cache import AnswerCache
from consumer.errors import HttpStatus, ModelFailed, Overloaded
from consumer.events import Answer, Failure, Prediction, Probabilities
from consumer.fetching import Fetched, Fetcher
from consumer.flight import Flight
from consumer.imaging import DecodedImage
from consumer.model import Batcher
from consumer.predictor import Predictor
from tests.decoding.in_thread import InThread
from tests.test_predictor import ANSWER, StubBatcher, picture

LEFT_S = 9.5


class Shaky(InThread):
    """Cannot start a process for the first few images."""

    fails = 0

    def decode(self, body: bytes, timeout_s: float, machine: object = None, sha256: str | None = None) -> DecodedImage:
        image = super().decode(body, timeout_s, machine, sha256)
        if len(self.timeouts_s) <= self.fails:
            raise Overloaded("no process for decoding can be started", stage="decode")
        return image


class TogetherFetcher:
    """Answers all that were submitted at once, the way `Fetcher` does: one after the other, on one thread."""

    def __init__(self) -> None:
        self.waiting: list[Future[Fetched]] = []

    def submit(self, url: str, *, urgent: bool = False) -> Future[Fetched]:
        self.waiting.append(Future())
        return self.waiting[-1]

    def answer(self, result: bytes | Exception) -> None:
        flight, waiting = Flight(LEFT_S), self.waiting
        self.waiting = []
        for future in waiting:
            assert future.set_running_or_notify_cancel()
        for future in waiting:
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(Fetched(result, 1, 0.5, LEFT_S, flight=flight))

    def close(self) -> None:
        """Nothing to give back."""


class World:
    def __init__(self, batcher: StubBatcher | Batcher, *, waiting: int = 1, cache: AnswerCache | None = None) -> None:
        self.fetcher = TogetherFetcher()
        self.decoder = Shaky((16, 8), 10_000)
        self.predictor = Predictor(
            cast(Fetcher, self.fetcher), self.decoder, cast(Batcher, batcher), waiting=waiting, cache=cache
        )

    def answers(self, count: int, result: bytes | Exception) -> list[Answer]:
        futures = [self.predictor.submit("u") for _ in range(count)]
        self.fetcher.answer(result)
        return [one.result(10) for one in futures]


def test_one_picture_is_decoded_and_predicted_once_for_all() -> None:
    batcher = StubBatcher()
    world = World(batcher)
    answers = world.answers(5, picture())
    assert isinstance(answers[0], Prediction)
    assert answers == [answers[0]] * 5
    assert (len(world.decoder.timeouts_s), len(batcher.asked)) == (1, 1)


def test_none_waits_for_a_place_at_the_model_that_the_first_one_has() -> None:
    batcher = StubBatcher()
    batcher.busy = True
    world = World(batcher, waiting=1)
    futures = [world.predictor.submit("u") for _ in range(3)]
    world.fetcher.answer(picture())
    assert not any(one.done() for one in futures)
    batcher.waiting[0].set_result(ANSWER)
    assert all(isinstance(one.result(10), Prediction) for one in futures)


@pytest.mark.parametrize(
    ("result", "code", "decoded"),
    [(HttpStatus(404), "http_status", 0), (b"<html>", "not_an_image", 1), (picture()[:60], "image_corrupt", 1)],
    ids=["no image", "a page", "half of one"],
)
def test_what_is_no_picture_is_none_for_each_and_is_looked_at_once(
    result: bytes | Exception, code: str, decoded: int
) -> None:
    world = World(StubBatcher())
    answers = world.answers(4, result)
    assert isinstance(answers[0], Failure)
    assert answers[0].code == code
    assert answers == [answers[0]] * 4
    assert len(world.decoder.timeouts_s) == decoded


def test_a_failure_with_many_owners_does_not_grow_with_them() -> None:
    error = HttpStatus(404)
    World(StubBatcher()).answers(50, error)
    assert error.__traceback__ is None


def test_a_failure_of_the_model_is_only_that_of_the_event_it_was_asked_for() -> None:
    class FailsOnce(StubBatcher):
        def submit(self, pixels: np.ndarray[Any, Any], *, urgent: bool = False) -> Future[Probabilities]:
            self.error = None if self.asked else ModelFailed("out of memory")
            return super().submit(pixels, urgent=urgent)

    batcher = FailsOnce()
    world = World(batcher)
    first, *others = world.answers(4, picture())
    assert isinstance(first, Failure)
    assert all(isinstance(one, Prediction) for one in others)
    assert (len(world.decoder.timeouts_s), len(batcher.asked)) == (1, 4)


def test_a_model_that_fails_for_good_is_asked_for_each_without_holding_itself_up() -> None:
    """The others ask on the model's own thread, which must not wait for a place that only it gives back."""
    calls: list[int] = []

    def fail(images: Any) -> Sequence[Probabilities]:
        calls.append(len(images))
        raise RuntimeError("out of memory")

    batcher = Batcher(fail, 4, 0.0)
    answers = World(batcher, waiting=1).answers(6, picture())
    batcher.close()
    assert {one.code for one in answers if isinstance(one, Failure)} == {"model_failed"}
    assert len(answers) == 6
    assert sum(calls) >= 6


def test_a_mistake_while_the_model_is_asked_again_is_an_answer_for_each() -> None:
    class Broken(StubBatcher):
        def submit(self, pixels: np.ndarray[Any, Any], *, urgent: bool = False) -> Future[Probabilities]:
            if self.asked:
                raise KeyError("banana")
            self.error = ModelFailed("out of memory")
            return super().submit(pixels, urgent=urgent)

    first, *others = World(Broken()).answers(3, picture())
    assert isinstance(first, Failure)
    assert all(isinstance(one, Failure) and not one.foreseen for one in others)


def test_that_no_decoder_could_be_started_is_a_failure_of_one_event_and_the_next_one_tries() -> None:
    """Otherwise one such moment would be as many failures as there are events, and the breaker would open."""
    world = World(StubBatcher())
    world.decoder.fails = 2
    answers = world.answers(5, picture())
    assert [getattr(one, "code", None) for one in answers] == ["overloaded"] * 2 + [None] * 3
    assert len(world.decoder.timeouts_s) == 3
    assert world.decoder.timeouts_s == sorted(world.decoder.timeouts_s, reverse=True)
    assert world.decoder.timeouts_s[-1] < LEFT_S


def test_an_answer_that_is_held_on_to_holds_no_pixels() -> None:
    """Outcomes may wait long for earlier events of their partition; images would be 150 kB each."""
    pixels: list[weakref.ref[Any]] = []

    class Remembers(StubBatcher):
        def submit(self, image: np.ndarray[Any, Any], *, urgent: bool = False) -> Future[Probabilities]:
            pixels.append(weakref.ref(image))
            return super().submit(image, urgent=urgent)

    batcher = Remembers()
    batcher.busy = True
    world = World(batcher)
    futures = [world.predictor.submit("u") for _ in range(3)]
    world.fetcher.answer(picture())
    assert pixels[0]() is not None
    batcher.waiting.pop().set_result(ANSWER)
    assert all(one.done() for one in futures)
    assert pixels[0]() is None


def test_a_known_picture_is_recalled_for_all_at_once() -> None:
    batcher = StubBatcher()
    world = World(batcher, cache=AnswerCache(2**20))
    world.answers(1, picture())
    answers = world.answers(3, picture())
    assert all(isinstance(one, Prediction) and one.recalled for one in answers)
    assert (len(world.decoder.timeouts_s), len(batcher.asked)) == (1, 1)
