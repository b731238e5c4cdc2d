"""An event and its answer → the messages that are published, in ever smaller forms."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import isfinite
from typing import Literal

from consumer.codec.dead_letters import dead_letter, small_dead_letter, small_key
from consumer.codec.events import last_header
from consumer.codec.predictions import encode_prediction
from consumer.errors import ModelFailed, TooLarge
from consumer.events import Answer, Failure, ImagePrediction, ImageUrl, ModelInfo, Prediction, Source
from consumer.records import Headers, Message, Outcome, Record

CONTENT_TYPES = {"avro": b"application/avro", "json": b"application/json"}
"""As the CloudEvents binding for Kafka has it (version 1.0.2, section 3.2.5)."""

SMALL_ID, SMALL_URL, SMALL_MESSAGE, SMALL_TRACE = 1000, 2000, 1000, 512
"""What the small form keeps of an event's id, its URL and the error's message, in characters, and the
largest trace header that it copies, in bytes (W3C asks for 512)."""

NOT_FINITE = Failure.of(ModelFailed("the model answered with something that is no number"))
OUTCOME_TOO_LARGE = replace(
    Failure.of(TooLarge("the outcome with the event's URL and attributes is larger than the broker accepts")),
    stage="publish",
)

Form = Literal["whole", "small-outcome", "small"]


class Encoder:
    """Makes the outcome of each event; thread-safe, since it only reads what it was made with."""

    def __init__(
        self,
        output_format: Literal["avro", "json"],
        *,
        input_topic: str,
        output_topic: str,
        dead_letter_topic: str,
        model: ModelInfo,
    ) -> None:
        self._format: Literal["avro", "json"] = output_format
        self._output_topic = output_topic
        self._dead_letter_topic = dead_letter_topic
        self._model = model
        self._headers: Headers = (
            ("ce_source", f"/image-consumer/{input_topic}".encode()),
            ("ce_type", b"image.prediction"),
            ("ce_specversion", b"1.0"),
            ("content-type", CONTENT_TYPES[output_format]),
        )

    def outcome(self, record: Record, event: ImageUrl, answer: Answer, predicted_at: int) -> Outcome:
        """What one readable event comes to: its prediction, or its failure and the dead letter.

        Should the broker refuse a message as too large, ``reduced`` gives a smaller form, and that may
        give another: a prediction becomes the failure ``too_large`` in stage ``publish``; the outcome
        record loses its attributes, and a very long id, URL or key; at last the dead letter loses its
        value. The last form has under 256 KiB.

        Args:
            record: where the event stood.
            event: what `decode_event` read in it.
            answer: what the predictor said. A probability that is no finite number makes it a failure.
            predicted_at: when it said so, in milliseconds since the epoch.
        """
        if isinstance(answer, Prediction):
            if all(isfinite(value) for of in answer.probabilities.values() for value in of.values()):
                too_large = partial(self._failed, record, event, OUTCOME_TOO_LARGE, predicted_at, "small-outcome")
                message = self._prediction(record, event, answer, predicted_at, small=False)
                return Outcome("predicted", (message,), reduced=too_large)
            answer = NOT_FINITE
        return self._failed(record, event, answer, predicted_at, "whole")

    def unreadable(self, record: Record, failure: Failure) -> Outcome:
        """What a record comes to that holds no event: a dead letter only."""

        def small() -> Outcome:
            return Outcome("unreadable", (small_dead_letter(self._dead_letter_topic, record, failure),), failure.code)

        whole = dead_letter(self._dead_letter_topic, record, failure)
        return Outcome("unreadable", (whole,), failure.code, reduced=small)

    def _failed(self, record: Record, event: ImageUrl, failure: Failure, predicted_at: int, form: Form) -> Outcome:
        smaller: dict[Form, Form] = {"whole": "small-outcome", "small-outcome": "small"}
        if form != "whole":
            failure = replace(failure, message=failure.message[:SMALL_MESSAGE])
        make_letter = small_dead_letter if form == "small" else dead_letter
        prediction = self._prediction(record, event, failure, predicted_at, small=form != "whole")
        letter = make_letter(self._dead_letter_topic, record, failure)
        reduced = None
        if form in smaller:
            reduced = partial(self._failed, record, event, failure, predicted_at, smaller[form])
        return Outcome("failed", (prediction, letter), failure.code, reduced)

    def _prediction(
        self, record: Record, event: ImageUrl, answer: Answer, predicted_at: int, *, small: bool
    ) -> Message:
        if small:
            event = ImageUrl(event.event_id[:SMALL_ID], event.url[:SMALL_URL])
        source = Source(record.topic, record.partition, record.offset, record.timestamp_ms)
        value = encode_prediction(ImagePrediction(event, source, answer, self._model, predicted_at), self._format)
        headers = (("ce_id", event.event_id.encode()), *self._headers)
        for name in ("traceparent", "tracestate"):
            trace = last_header(record.headers, name)
            if trace is not None and not (small and len(trace) > SMALL_TRACE):
                headers += ((name, trace),)
        key = small_key(record.key) if small else record.key
        return Message(self._output_topic, key, value, headers, record.partition)
