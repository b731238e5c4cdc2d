"""The schema files: what they promise to readers, and that the AsyncAPI document says the same."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import fastavro
import pytest
import yaml

from consumer.codec import Encoder
from consumer.errors import EventUnreadable, Stage, event_errors
from consumer.events import Failure, ImageUrl, ModelInfo
from consumer.records import Headers, Record
from consumer.settings import Settings
from schemas import IMAGE_PREDICTION, IMAGE_URL, Schema, text_of

ASYNCAPI = yaml.safe_load(text_of("asyncapi.yml"))


def records_in(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for part in schema:
            yield from records_in(part)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            yield schema
            for field in schema["fields"]:
                yield from records_in(field["type"])
        yield from records_in(schema.get("values"))
        yield from records_in(schema["type"])


def test_the_fingerprint_of_int_is_the_one_that_the_avro_specification_gives() -> None:
    schema = Schema.of('{"type": "record", "name": "R", "fields": []}')
    other = Schema.of('{"type": "record", "name": "R", "doc": "words change nothing", "fields": []}')
    assert fastavro.schema.fingerprint('"int"', "CRC-64-AVRO") == (0x7275D51A3F395C8F).to_bytes(8, "little").hex()
    assert schema.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("schema", "fingerprint"), [(IMAGE_URL, "847092d6d95c74e4"), (IMAGE_PREDICTION, "4cf10d64566974ad")]
)
def test_the_published_schemas_change_only_on_purpose(schema: Schema, fingerprint: str) -> None:
    """Whoever changes one has to go on reading what the old one wrote."""
    assert schema.fingerprint.hex() == fingerprint


@pytest.mark.parametrize("schema", [IMAGE_URL, IMAGE_PREDICTION])
def test_every_record_and_field_says_what_it_is(schema: Schema) -> None:
    for record in records_in(json.loads(schema.text)):
        assert record["doc"].endswith(".")
        for field in record["fields"]:
            assert field["doc"].endswith("."), field["name"]


@pytest.mark.parametrize("schema", [IMAGE_URL, IMAGE_PREDICTION])
def test_what_may_be_missing_has_a_default(schema: Schema) -> None:
    for field in json.loads(schema.text)["fields"]:
        if isinstance(field["type"], list):
            assert field["type"][0] == "null"
            assert field["default"] is None
        elif isinstance(field["type"], dict) and field["type"]["type"] == "map":
            assert field["default"] == {}


@pytest.mark.parametrize("schema", [IMAGE_URL, IMAGE_PREDICTION])
def test_timestamps_are_milliseconds_to_every_reader_but_plain_integers_to_ours(schema: Schema) -> None:
    assert '"logicalType": "timestamp-millis"' in schema.text
    assert "logicalType" not in json.dumps(schema.parsed)


# ── the AsyncAPI document ────────────────────────────────────────────────────────────────────────


def references_in(part: Any) -> Iterator[str]:
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if key == "$ref":
            yield value
        else:
            yield from references_in(value)


def test_every_reference_of_the_document_leads_somewhere() -> None:
    references = list(references_in(ASYNCAPI))
    assert references
    for reference in references:
        file, _, pointer = reference.partition("#")
        if file:
            assert Schema.of(text_of(file.removeprefix("./")))
            continue
        part = ASYNCAPI
        for step in pointer.strip("/").split("/"):
            part = part[step]


def test_each_message_refers_to_the_schema_that_its_records_are_written_with() -> None:
    messages = ASYNCAPI["components"]["messages"]
    for message, schema in (("imageUrl", IMAGE_URL), ("imagePrediction", IMAGE_PREDICTION)):
        payload = messages[message]["payload"]
        assert payload["schemaFormat"] == "application/vnd.apache.avro+json;version=1.9.0"
        assert text_of(payload["schema"]["$ref"].removeprefix("./")) == schema.text
        assert schema.name.endswith("." + messages[message]["name"])


def test_its_topics_are_the_defaults_of_the_settings() -> None:
    settings = Settings()
    topics = [channel["address"] for channel in ASYNCAPI["channels"].values()]
    assert topics == [settings.input_topic, settings.output_topic, settings.dead_letter_topic]


def test_it_lists_every_error_code_and_stage() -> None:
    headers = ASYNCAPI["components"]["messages"]["deadLetter"]["headers"]["properties"]
    assert headers["error.code"]["enum"] == [kind.code for kind in event_errors()]
    assert headers["__connect.errors.stage"]["enum"] == list(get_args(Stage))


def test_it_describes_the_headers_that_outcomes_and_dead_letters_have() -> None:
    encoder = Encoder("avro", input_topic="i", output_topic="o", dead_letter_topic="d", model=ModelInfo("m", "1", "b"))
    traced: Headers = (("traceparent", b"00-1-2-01"), ("tracestate", b"a=b"))
    record = Record("i", 0, 0, 0, None, b"", traced)
    failure = Failure.of(EventUnreadable("no event"))
    whole = encoder.outcome(record, ImageUrl("1", "u"), failure, 0)
    assert whole.reduced
    smaller = whole.reduced()
    assert smaller.reduced
    for outcome in (whole, smaller.reduced()):
        for message, name in zip(outcome.messages, ("imagePrediction", "deadLetter"), strict=True):
            described = ASYNCAPI["components"]["messages"][name]["headers"]
            names = {name for name, _ in message.headers}
            assert set(described["required"]) <= names
            assert names <= set(described["properties"]) | {"traceparent", "tracestate"}
