"""From a record to what is published for it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import cast

import pytest

from consumer.codec import Encoder, decode_prediction
from consumer.events import Answer, Failure, ImageInfo, ModelInfo, Prediction
from consumer.predictor import Predictor
from consumer.records import Record
from consumer.worker import Worker

PREDICTION = Prediction({"sleeves": {"long": 1.0}}, ImageInfo("00", "png", 1, 1, 1))
FAILURE = Failure("http_status", "404", False, 1, "fetch", "x")


class StubPredictor:
    """Leaves its answers to the test."""

    def __init__(self) -> None:
        self.answers: dict[str, Future[Answer]] = {}

    def submit(self, url: str) -> Future[Answer]:
        self.answers[url] = Future()
        return self.answers[url]


@pytest.fixture
def predictor() -> StubPredictor:
    return StubPredictor()


@pytest.fixture
def worker(predictor: StubPredictor) -> Worker:
    encoder = Encoder(
        "json",
        input_topic="in",
        output_topic="out",
        dead_letter_topic="dead",
        model=ModelInfo("m", "1", "tensorflow"),
    )
    return Worker(cast(Predictor, predictor), encoder, now_ms=lambda: 1_234)


def record(value: bytes) -> Record:
    return Record("in", 2, 7, 1_000, b"key", value)


def test_an_answer_becomes_an_outcome_record_under_the_events_key(worker: Worker, predictor: StubPredictor) -> None:
    done = worker.submit(record(b'{"url": "u"}'))
    assert not done.done()
    predictor.answers["u"].set_result(PREDICTION)
    outcome = done.result(1)
    (message,) = outcome.messages
    assert (outcome.kind, message.topic, message.key) == ("predicted", "out", b"key")
    assert message.value is not None
    told = decode_prediction(message.value)
    assert (told["event_id"], told["predicted_at"], told["labels"]) == ("in-2-7", 1_234, {"sleeves": "long"})


def test_a_failure_becomes_an_outcome_and_a_dead_letter(worker: Worker, predictor: StubPredictor) -> None:
    done = worker.submit(record(b'{"url": "u"}'))
    predictor.answers["u"].set_result(FAILURE)
    outcome = done.result(1)
    assert (outcome.kind, outcome.code) == ("failed", "http_status")
    assert [message.topic for message in outcome.messages] == ["out", "dead"]
    assert outcome.messages[1].value == b'{"url": "u"}'


def test_a_record_that_is_no_event_is_a_dead_letter_at_once(worker: Worker, predictor: StubPredictor) -> None:
    outcome = worker.submit(record(b"nonsense")).result(0)
    assert (outcome.kind, outcome.code) == ("unreadable", "event_unreadable")
    assert [message.topic for message in outcome.messages] == ["dead"]
    assert predictor.answers == {}


def test_cancelling_spares_the_fetch(worker: Worker, predictor: StubPredictor) -> None:
    done = worker.submit(record(b'{"url": "u"}'))
    assert done.cancel()
    assert predictor.answers["u"].cancelled()


def test_an_answer_that_nobody_waits_for_any_more_is_dropped(worker: Worker, predictor: StubPredictor) -> None:
    done = worker.submit(record(b'{"url": "u"}'))
    assert predictor.answers["u"].set_running_or_notify_cancel()
    assert done.cancel()
    predictor.answers["u"].set_result(PREDICTION)
    assert done.cancelled()
