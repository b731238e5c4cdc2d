"""What nobody foresaw: one rule for every stage of an event's way."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Any, cast

import pytest

from consumer import worker as worker_module
from consumer.codec import Encoder, decode_prediction
from consumer.events import Answer, Failure, ImageInfo, ModelInfo, Prediction
from consumer.evidence import evidence
from consumer.mistakes import Mistakes
from consumer.predictor import Predictor
from consumer.records import Outcome, Record
from consumer.worker import Worker

URL = "https://shop.example/a.jpg"
RECORD = Record("in", 2, 7, 1_000, b"key", b'{"url": "%s"}' % URL.encode())


class Banana(RuntimeError):
    """What nobody foresaw."""


class Answering:
    """Knows the answer at once."""

    def submit(self, url: str) -> Future[Answer]:
        assert url == URL
        done: Future[Answer] = Future()
        done.set_result(Prediction({"sleeves": {"long": 1.0}}, ImageInfo("00", "png", 1, 1, 1)))
        return done


@pytest.fixture
def worker() -> Worker:
    model = ModelInfo("m", "1", "tensorflow")
    encoder = Encoder("json", input_topic="in", output_topic="out", dead_letter_topic="dead", model=model)
    return Worker(cast(Predictor, Answering()), encoder)


def raise_banana(*_: Any, **__: Any) -> Any:
    raise Banana("of a stranger: secret")


def headers(outcome: Outcome) -> dict[str, bytes | None]:
    """Those of its dead letter."""
    return dict(outcome.messages[-1].headers)


@pytest.mark.parametrize("stage", ["fetch", "decode", "predict", "publish"])
def test_it_is_the_services_fault_whatever_the_stage_and_callers_learn_no_more(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    failure = Mistakes(logging.getLogger("consumer.x")).failure(Banana("secret"), stage)
    assert failure == Failure(
        "model_failed", "an internal error; the log has it", True, 1, stage, f"{__name__}.Banana", foreseen=False
    )
    (told,) = caplog.records
    assert told.exc_info is not None
    assert told.exc_info[0] is Banana


@pytest.mark.parametrize(("stage", "network"), [("fetch", None), ("decode", True), ("predict", True)])
def test_it_speaks_against_nobody_and_for_the_network_only_if_that_brought_the_image(
    stage: Any, network: bool | None
) -> None:
    told = evidence(URL, "model_failed", retriable=True, stage=stage, foreseen=False)
    assert (told.network, told.decoder, told.model, told.ours) == (network, None, None, False)


def test_a_record_that_cannot_be_read_for_a_reason_of_ours_is_a_dead_letter_and_ends_nothing(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "decode_event", raise_banana)
    outcome = worker.submit(RECORD).result(0)
    assert (outcome.kind, outcome.code, len(outcome.messages)) == ("unreadable", "event_unreadable", 1)
    assert headers(outcome)["__connect.errors.stage"] == b"event"
    assert headers(outcome)["__connect.errors.exception.class.name"] == f"{__name__}.Banana".encode()
    assert outcome.messages[0].value == RECORD.value
    assert outcome.evidence is not None
    assert not outcome.evidence.ours
    assert worker.describe(RECORD) is None


def test_a_prediction_that_cannot_be_written_is_a_failure(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Encoder.outcome

    def only_failures(encoder: Encoder, record: Record, event: Any, answer: Answer, at: int) -> Outcome:
        return written(encoder, record, event, answer, at) if isinstance(answer, Failure) else raise_banana()

    monkeypatch.setattr(Encoder, "outcome", only_failures)
    outcome = worker.submit(RECORD).result(0)
    assert (outcome.kind, outcome.code) == ("failed", "model_failed")
    assert headers(outcome)["__connect.errors.stage"] == b"publish"
    assert (
        decode_prediction(outcome.messages[0].value or b"")["error"]["message"] == "an internal error; the log has it"
    )
    assert outcome.evidence == evidence(URL, "model_failed", stage="publish", foreseen=False)


def test_an_event_of_which_nothing_can_be_written_is_a_dead_letter(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Encoder, "outcome", raise_banana)
    outcome = worker.submit(RECORD).result(0)
    assert (outcome.kind, outcome.code, len(outcome.messages)) == ("unreadable", "event_unreadable", 1)
    assert headers(outcome)["__connect.errors.stage"] == b"publish"


def test_where_not_even_that_can_be_written_the_process_ends_and_the_event_stays_in_its_topic(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Encoder, "outcome", raise_banana)
    monkeypatch.setattr(Encoder, "unreadable", raise_banana)
    assert isinstance(worker.submit(RECORD).exception(0), Banana)
