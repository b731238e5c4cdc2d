"""From a record to what is published for it."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import Future
from dataclasses import replace
from typing import cast

import pytest

from consumer.codec import Encoder, decode_prediction
from consumer.errors import FetchTimeout, ImageCorrupt, ModelFailed, Overloaded
from consumer.events import Answer, Failure, ImageInfo, ModelInfo, Prediction
from consumer.evidence import Evidence
from consumer.predictor import Predictor
from consumer.records import Record
from consumer.worker import Worker

PREDICTION = Prediction({"sleeves": {"long": 1.0}}, ImageInfo("00", "png", 1, 1, 1))
NAN = Prediction({"sleeves": {"long": float("nan")}}, PREDICTION.image)
FAILURE = Failure("http_status", "404", False, 1, "fetch", "x")
BUG = replace(Failure.of(ModelFailed("a mistake of ours")), foreseen=False)
CORRUPT = Failure.of(ImageCorrupt("it is cut"))
SLOW_DECODER = Failure.of(FetchTimeout("it takes too long", stage="decode"))
NO_DECODER = Failure.of(Overloaded("none can be started", stage="decode"))


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


def test_work_that_has_begun_cannot_be_cancelled(worker: Worker, predictor: StubPredictor) -> None:
    done = worker.submit(record(b'{"url": "u"}'))
    assert predictor.answers["u"].set_running_or_notify_cancel()
    assert not done.cancel()
    predictor.answers["u"].set_result(PREDICTION)
    assert done.result(1).kind == "predicted"


def test_what_is_done_is_freed_at_once_without_the_garbage_collector(worker: Worker, predictor: StubPredictor) -> None:
    done = worker.submit(record(b'{"url": "u"}'))
    answer = predictor.answers.pop("u")
    answer.set_result(PREDICTION)
    freed = weakref.ref(answer)
    gc.disable()
    try:
        del answer
        assert done.done()
        assert freed() is None
    finally:
        gc.enable()


def test_work_that_was_cancelled_below_is_cancelled(worker: Worker, predictor: StubPredictor) -> None:
    """By the predictor, when it closes."""
    done = worker.submit(record(b'{"url": "u"}'))
    predictor.answers["u"].cancel()
    assert done.cancelled()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (PREDICTION, Evidence(None, "shop.example", network=True, decoder=True, model=True)),
        (replace(PREDICTION, recalled=True), Evidence(None, "shop.example", network=True)),
        (FAILURE, Evidence("http_status", "shop.example", network=True)),
        (NAN, Evidence("model_failed", "shop.example", network=True, decoder=True, model=False)),
        (BUG, Evidence("model_failed", "shop.example", network=True)),
        (CORRUPT, Evidence("image_corrupt", "shop.example", network=True, decoder=True)),
        (SLOW_DECODER, Evidence("fetch_timeout", "shop.example", network=True)),
        (NO_DECODER, Evidence("overloaded", "shop.example", network=True, decoder=False)),
        (Failure.of(Overloaded("it stops")), Evidence("overloaded")),
        (Failure("dns_failed", "", True, 3, "fetch", "x"), Evidence("dns_failed", "shop.example", network=False)),
        (Failure("dns_failed", "", False, 1, "fetch", "x"), Evidence("dns_failed", "shop.example", network=True)),
        (Failure("url_invalid", "", False, 0, "fetch", "x"), Evidence("url_invalid")),
    ],
)
def test_an_outcome_tells_the_breaker_what_it_says_of_network_decoders_and_model(
    worker: Worker, predictor: StubPredictor, answer: Answer, told: Evidence
) -> None:
    done = worker.submit(record(b'{"url": "http://Shop.example:8080/x.jpg"}'))
    predictor.answers["http://Shop.example:8080/x.jpg"].set_result(answer)
    assert done.result(1).evidence == told


def test_a_failure_is_noted_with_where_it_stood_and_its_masked_url(worker: Worker, predictor: StubPredictor) -> None:
    done = worker.submit(record(b'{"url": "http://a/?k=v", "event_id": "42"}'))
    predictor.answers["http://a/?k=v"].set_result(FAILURE)
    failed = done.result(1).failed
    assert failed is not None
    assert (failed.at, failed.code, failed.partition, failed.offset) == (1_234, "http_status", 2, 7)
    assert (failed.event_id, failed.url) == ("42", "http://a/?k=***")


def test_a_record_that_is_no_event_is_noted_without_a_url_and_says_nothing_of_the_network(worker: Worker) -> None:
    outcome = worker.submit(record(b"nonsense")).result(0)
    assert outcome.failed is not None
    assert (outcome.failed.url, outcome.failed.event_id, outcome.failed.offset) == (None, None, 7)
    assert outcome.evidence == Evidence("event_unreadable")


def test_a_model_that_answers_with_no_number_is_a_failure_of_the_model(
    worker: Worker, predictor: StubPredictor
) -> None:
    done = worker.submit(record(b'{"url": "u"}'))
    predictor.answers["u"].set_result(NAN)
    failed = done.result(1).failed
    assert failed is not None
    assert (failed.code, failed.message) == ("model_failed", "the model answered with something that is no number")


def test_an_event_is_described_by_its_id_and_masked_url(worker: Worker) -> None:
    assert worker.describe(record(b'{"url": "http://u:p@a/?k=v", "event_id": "4\\u001b2"}')) == (
        "4\\x1b2",
        "http://***@a/?k=***",
    )
    assert worker.describe(record(b"nonsense")) is None


def test_an_id_that_is_a_url_is_told_without_its_private_parts(worker: Worker) -> None:
    told = worker.describe(record(b'{"url": "http://a/", "event_id": "shop http://u:p@a/?token=s3cret"}'))
    assert told == ("shop http://***@a/?token=***", "http://a/")
