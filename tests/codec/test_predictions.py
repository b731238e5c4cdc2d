"""The outcome record: one content in two encodings."""

import json
import struct
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Literal

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.codec import decode_prediction
from consumer.codec.predictions import encode_prediction
from consumer.events import Answer, Failure, ImageInfo, ImagePrediction, ImageUrl, ModelInfo, Prediction, Source
from schemas import IMAGE_PREDICTION
from tests.codec.strategies import events, longs, texts

FORMATS: list[Literal["avro", "json"]] = ["avro", "json"]
ints = st.integers(-(2**31), 2**31 - 1)
probabilities = st.floats(0, 1, width=32)
tasks = st.dictionaries(texts, st.dictionaries(texts, probabilities, min_size=1, max_size=4), max_size=4)
images = st.builds(ImageInfo, texts, texts, width=ints, height=ints, bytes=longs)
failures = st.builds(
    Failure, texts, texts, st.booleans(), attempts=ints, stage=st.just("fetch"), exception=st.just("consumer.errors.X")
)
outcomes = st.builds(
    ImagePrediction,
    events,
    st.builds(Source, texts, ints, longs, longs),
    st.builds(Prediction, tasks, images) | failures,
    st.builds(ModelInfo, texts, texts, texts),
    longs,
)

PREDICTION = Prediction({"print": {"solid": 0.25, "striped": 0.75}}, ImageInfo("ab" * 32, "JPEG", 385, 500, 33_333))
FAILURE = Failure("http_status", "the server answered with status 404", False, 1, "fetch", "consumer.errors.HttpStatus")


def outcome(answer: Answer) -> ImagePrediction:
    event = ImageUrl("e-1", "https://example.com/ü.jpg", None, {"product": "17"})
    source = Source("image-urls", 3, 41, 1_700_000_000_000)
    return ImagePrediction(event, source, answer, ModelInfo("garments", "1", "tensorflow"), 1_700_000_000_500)


def expected(answer: Answer) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "event_id": "e-1",
        "url": "https://example.com/ü.jpg",
        "predictions": {"print": {"solid": 0.25, "striped": 0.75}},
        "labels": {"print": "striped"},
        "error": None,
        "model": {"name": "garments", "version": "1", "backend": "tensorflow"},
        "image": {"sha256": "ab" * 32, "format": "JPEG", "width": 385, "height": 500, "bytes": 33_333},
        "source": {"topic": "image-urls", "partition": 3, "offset": 41, "timestamp": 1_700_000_000_000},
        "attributes": {"product": "17"},
        "predicted_at": 1_700_000_000_500,
    }
    if isinstance(answer, Failure):
        error = {
            "code": "http_status",
            "message": "the server answered with status 404",
            "retriable": False,
            "attempts": 1,
        }
        fields |= {"predictions": {}, "labels": {}, "error": error, "image": None}
    return fields


@pytest.mark.parametrize("answer", [PREDICTION, FAILURE], ids=["prediction", "failure"])
@pytest.mark.parametrize("output_format", FORMATS)
def test_an_outcome_has_the_documented_fields_in_every_form(
    output_format: Literal["avro", "json"], answer: Answer
) -> None:
    assert decode_prediction(encode_prediction(outcome(answer), output_format)) == expected(answer)


@given(outcome=outcomes)
def test_both_forms_say_the_same(outcome: ImagePrediction) -> None:
    one, other = (decode_prediction(encode_prediction(outcome, output_format)) for output_format in FORMATS)
    assert one == other


def test_json_says_so_in_its_first_byte_and_writes_letters_as_they_are() -> None:
    value = encode_prediction(outcome(PREDICTION), "json")
    assert value.startswith(b'{"event_id":"e-1","url":"https://example.com/\xc3\xbc.jpg"')


def test_a_reader_with_the_schema_file_and_any_avro_library_gets_datetimes() -> None:
    value = encode_prediction(outcome(PREDICTION), "avro")
    assert value[:10] == b"\xc3\x01" + IMAGE_PREDICTION.fingerprint
    fields = fastavro.schemaless_reader(BytesIO(value[10:]), json.loads(IMAGE_PREDICTION.text), None)
    assert isinstance(fields, dict)
    assert fields["predicted_at"] == datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC)


@pytest.mark.parametrize("output_format", FORMATS)
def test_float32_probabilities_come_out_as_numbers_that_a_person_would_write(
    output_format: Literal["avro", "json"],
) -> None:
    (single,) = struct.unpack("<f", struct.pack("<f", 0.1))
    assert single != 0.1
    answer = Prediction({"print": {"solid": single}}, PREDICTION.image)
    assert decode_prediction(encode_prediction(outcome(answer), output_format))["predictions"]["print"]["solid"] == 0.1


def test_json_never_holds_nan() -> None:
    answer = Prediction({"print": {"solid": float("nan")}}, PREDICTION.image)
    with pytest.raises(ValueError, match="JSON"):
        encode_prediction(outcome(answer), "json")


def test_confluent_wire_format_is_read_when_our_schema_fits_it() -> None:
    body = encode_prediction(outcome(PREDICTION), "avro")[10:]
    assert decode_prediction(b"\0\0\0\0\x07" + body) == expected(PREDICTION)
    with pytest.raises(ValueError, match="1 bytes too many"):
        decode_prediction(b"\0\0\0\0\x07" + body + b"\0")


@pytest.mark.parametrize(
    "value", [b"", b"\0", b"\0\0\0\0\x07", b"\xc3", b"<html>", b"{}", b'{"event_id": "e-1"', b'{"event_id": 1}']
)
def test_what_is_no_outcome_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="value"):
        decode_prediction(value)


def test_json_of_other_versions_may_leave_out_nulls_and_add_what_we_do_not_know() -> None:
    fields = json.loads(encode_prediction(outcome(PREDICTION), "json"))
    del fields["error"]
    assert decode_prediction(json.dumps(fields | {"new": 1}).encode()) == expected(PREDICTION)
