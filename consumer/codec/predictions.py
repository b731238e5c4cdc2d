"""The outcome record, `ImagePrediction`, ⇄ bytes."""

from __future__ import annotations

from typing import Any, Literal

from fastavro.validation import validate

from consumer.codec import avro, strict_json
from consumer.events import ImagePrediction, Prediction, Probabilities
from schemas import IMAGE_PREDICTION

CONFLUENT_HEAD = 5
"""Bytes before the body in Confluent wire format: a zero, and the schema's id in four."""


def encode_prediction(outcome: ImagePrediction, output_format: Literal["avro", "json"]) -> bytes:
    """The outcome's value: Avro single-object encoding, or JSON.

    Raises:
        ValueError: with JSON, a probability that is NaN or infinite.
    """
    event, source, answer, model = outcome.event, outcome.source, outcome.answer, outcome.model
    fields: dict[str, Any] = {
        "event_id": event.event_id,
        "url": event.url,
        "predictions": {},
        "labels": {},
        "error": None,
        "model": {"name": model.name, "version": model.version, "backend": model.backend},
        "image": None,
        "source": {
            "topic": source.topic,
            "partition": source.partition,
            "offset": source.offset,
            "timestamp": source.timestamp,
        },
        "attributes": event.attributes,
        "predicted_at": outcome.predicted_at,
    }
    if isinstance(answer, Prediction):
        image = answer.image
        fields["predictions"] = answer.probabilities
        fields["labels"] = answer.labels
        fields["image"] = {
            "sha256": image.sha256,
            "format": image.format,
            "width": image.width,
            "height": image.height,
            "bytes": image.bytes,
        }
    else:
        fields["error"] = {
            "code": answer.code,
            "message": answer.message,
            "retriable": answer.retriable,
            "attempts": answer.attempts,
        }
    if output_format == "json":
        return strict_json.encode(fields | {"predictions": _shortened(fields["predictions"])})
    for name, record in (("error", "image_consumer.Error"), ("image", "image_consumer.Image")):
        if fields[name] is not None:
            fields[name] = (record, fields[name])  # names the union's branch, which fastavro would search for
    return avro.encode(IMAGE_PREDICTION, fields)


def decode_prediction(value: bytes) -> dict[str, Any]:
    """The fields of an outcome, in the names and types of its JSON form, whatever form it came in.

    Confluent wire format names its schema by an id that only the registry knows; it is read as our
    own, and refused unless that fits to the last byte.

    Raises:
        ValueError: it is no outcome; the text repeats nothing of the value.
    """
    if value[:1] == b"{":
        given = strict_json.decode(value)
        fields = {field["name"]: given.get(field["name"]) for field in IMAGE_PREDICTION.parsed["fields"]}
        if not validate(fields, IMAGE_PREDICTION.parsed, raise_errors=False):
            raise ValueError("the JSON value is no ImagePrediction: a field is missing or of the wrong type")
        return fields
    if value[:1] == b"\0":
        fields = avro.decode_body(IMAGE_PREDICTION, value, min(CONFLUENT_HEAD, len(value)))
    elif value[:1] == avro.MAGIC[:1]:
        fields = avro.decode(IMAGE_PREDICTION, value)
    else:
        raise ValueError("the value is neither JSON, Avro single-object encoding nor Confluent wire format")
    return fields | {"predictions": _shortened(fields["predictions"])}


def _shortened(probabilities: Probabilities) -> dict[str, dict[str, float]]:
    """0.9712346 instead of 0.9712345600128174: a float32 has 7 digits that mean something."""
    return {task: {label: float(f"{value:.7g}") for label, value in of.items()} for task, of in probabilities.items()}
