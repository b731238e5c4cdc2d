"""What an event and its answer become: messages with headers, dead letters, and smaller forms."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest

from consumer.codec import Encoder, decode_prediction
from consumer.errors import EventUnreadable
from consumer.events import Failure, ImageInfo, ImageUrl, ModelInfo, Prediction
from consumer.records import Message, Outcome
from tests.codec.strategies import record

AT = 1_700_000_000_500
EVENT = ImageUrl("é-1", "https://example.com/a.jpg", None, {"product": "17"})
ANSWER = Prediction({"print": {"solid": 0.25, "striped": 0.75}}, ImageInfo("ab" * 32, "JPEG", 385, 500, 33_333))
FAILURE = Failure("fetch_timeout", "no image within 10 s", True, 3, "fetch", "consumer.errors.FetchTimeout")
REASON = {
    "__connect.errors.topic": b"image-urls",
    "__connect.errors.partition": b"3",
    "__connect.errors.offset": b"41",
    "__connect.errors.stage": b"fetch",
    "__connect.errors.exception.class.name": b"consumer.errors.FetchTimeout",
    "__connect.errors.exception.message": b"no image within 10 s",
    "error.code": b"fetch_timeout",
    "error.retriable": b"true",
    "error.attempts": b"3",
}


def encoder(output_format: Literal["avro", "json"] = "avro") -> Encoder:
    return Encoder(
        output_format,
        input_topic="image-urls",
        output_topic="image-predictions",
        dead_letter_topic="image-urls.dead-letter",
        model=ModelInfo("garments", "1", "tensorflow"),
    )


def fields(message: Message) -> dict[str, Any]:
    assert message.value is not None
    return decode_prediction(message.value)


def forms(outcome: Outcome) -> Iterator[Outcome]:
    """The outcome and every smaller one that it leads to."""
    yield outcome
    while outcome.reduced:
        outcome = outcome.reduced()
        yield outcome


@pytest.mark.parametrize(
    ("output_format", "content_type"), [("avro", b"application/avro"), ("json", b"application/json")]
)
def test_a_prediction_goes_out_under_the_events_key_as_a_cloud_event(
    output_format: Literal["avro", "json"], content_type: bytes
) -> None:
    outcome = encoder(output_format).outcome(record(b"{}", key=b"shirt-17"), EVENT, ANSWER, AT)
    (message,) = outcome.messages
    assert (outcome.kind, outcome.code) == ("predicted", None)
    assert (message.topic, message.key, message.keyless_partition) == ("image-predictions", b"shirt-17", 3)
    assert dict(message.headers) == {
        "ce_id": "é-1".encode(),
        "ce_source": b"/image-consumer/image-urls",
        "ce_type": b"image.prediction",
        "ce_specversion": b"1.0",
        "content-type": content_type,
    }
    assert fields(message)["labels"] == {"print": "striped"}
    assert fields(message)["source"] == {
        "topic": "image-urls",
        "partition": 3,
        "offset": 41,
        "timestamp": 1_700_000_000_000,
    }


def test_a_failure_goes_out_as_an_outcome_and_as_a_dead_letter_with_everything_that_came() -> None:
    came = record(b"\0\xff", ("a", b"\xff"), ("a", None), key=b"\xfe")
    outcome = encoder().outcome(came, EVENT, FAILURE, AT)
    message, letter = outcome.messages
    assert (outcome.kind, outcome.code) == ("failed", "fetch_timeout")
    assert (letter.topic, letter.key, letter.value) == ("image-urls.dead-letter", b"\xfe", b"\0\xff")
    assert letter.headers[:2] == (("a", b"\xff"), ("a", None))
    assert dict(letter.headers[2:]) == REASON
    assert letter.keyless_partition == message.keyless_partition == 3
    assert fields(message)["error"] == {
        "code": "fetch_timeout",
        "message": "no image within 10 s",
        "retriable": True,
        "attempts": 3,
    }
    assert fields(message)["attributes"] == {"product": "17"}


@pytest.mark.parametrize("value", [None, b"", b"noise"])
def test_an_unreadable_record_becomes_a_dead_letter_only(value: bytes | None) -> None:
    outcome = encoder().unreadable(record(value, key=None), Failure.of(EventUnreadable("the record's value is empty")))
    (letter,) = outcome.messages
    assert (outcome.kind, outcome.code) == ("unreadable", "event_unreadable")
    assert (letter.topic, letter.key, letter.value) == ("image-urls.dead-letter", None, value)
    assert dict(letter.headers)["__connect.errors.stage"] == b"event"
    assert dict(letter.headers)["__connect.errors.exception.class.name"] == b"consumer.errors.EventUnreadable"
    assert dict(letter.headers)["error.retriable"] == b"false"


def test_the_trace_of_the_event_goes_on_in_its_outcome_and_nothing_else_of_its_headers() -> None:
    came = record(b"{}", ("traceparent", b"00-aa-bb-01"), ("tracestate", b"v=1"), ("cookie", b"x"))
    (message,) = encoder().outcome(came, EVENT, ANSWER, AT).messages
    assert message.headers[-2:] == (("traceparent", b"00-aa-bb-01"), ("tracestate", b"v=1"))
    assert "cookie" not in dict(message.headers)


@pytest.mark.parametrize("output_format", ["avro", "json"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_no_number_is_a_failure_of_the_model(
    value: float, output_format: Literal["avro", "json"]
) -> None:
    answer = replace(ANSWER, probabilities={"print": {"solid": value, "striped": 0.5}})
    outcome = encoder(output_format).outcome(record(b"{}"), EVENT, answer, AT)
    assert (outcome.kind, outcome.code) == ("failed", "model_failed")
    assert len(outcome.messages) == 2


# ── smaller forms ────────────────────────────────────────────────────────────────────────────────


def test_a_prediction_that_is_too_large_becomes_a_failure_with_the_whole_event_in_its_dead_letter() -> None:
    event = replace(EVENT, attributes={"page": "x" * 900_000})
    whole = encoder().outcome(record(b"the event"), event, ANSWER, AT)
    assert whole.size > 900_000
    assert whole.reduced
    smaller = whole.reduced()
    message, letter = smaller.messages
    assert (smaller.kind, smaller.code) == ("failed", "too_large")
    assert fields(message)["error"]["code"] == "too_large"
    assert fields(message)["event_id"] == "é-1"
    assert fields(message)["attributes"] == {}
    assert letter.value == b"the event"
    assert dict(letter.headers)["__connect.errors.stage"] == b"publish"


def test_a_failure_that_is_too_large_keeps_its_reason() -> None:
    codes = {form.code for form in forms(encoder().outcome(record(b"{}"), EVENT, FAILURE, AT))}
    assert codes == {"fetch_timeout"}


def test_a_dead_letter_that_is_too_large_leaves_out_the_value_and_tells_its_size() -> None:
    *_, last = forms(encoder().outcome(record(b"x" * 10, ("a", b"1")), EVENT, FAILURE, AT))
    letter = last.messages[1]
    assert (letter.key, letter.value) == (b"k", None)
    assert dict(letter.headers) == REASON | {"a": b"1", "error.value.bytes": b"10"}


def test_an_unreadable_record_that_is_too_large_leaves_out_its_value_too() -> None:
    *_, last = forms(encoder().unreadable(record(b"x" * 10), Failure.of(EventUnreadable("no event"))))
    assert last.messages[0].value is None
    assert dict(last.messages[0].headers)["error.value.bytes"] == b"10"


@pytest.mark.parametrize("answer", [ANSWER, replace(FAILURE, message="€" * 300_000)], ids=["predicted", "failed"])
def test_the_last_form_is_small_whatever_came(answer: Prediction | Failure) -> None:
    much = "€" * 300_000
    traces = (("traceparent", b"t" * 10**6), ("tracestate", b"t" * 10**6))
    came = record(b"x" * 10**6, ("a", b"x" * 10**6), *traces, key=b"k" * 10**6)
    *_, last = forms(encoder().outcome(came, ImageUrl(much, much, None, {much: much}), answer, AT))
    assert [message.key for message in last.messages] == [None, None]
    assert last.size < 64 * 1024
    assert fields(last.messages[0])["event_id"] == "€" * 1000
    assert dict(last.messages[0].headers)["ce_id"] == ("€" * 1000).encode()


def test_the_last_form_keeps_what_is_of_usual_size() -> None:
    *_, last = forms(encoder().outcome(record(b"{}", ("traceparent", b"00-aa-bb-01")), EVENT, FAILURE, AT))
    message, letter = last.messages
    assert message.key == letter.key == b"k"
    assert dict(message.headers)["traceparent"] == dict(letter.headers)["traceparent"] == b"00-aa-bb-01"
    assert fields(message)["url"] == EVENT.url
