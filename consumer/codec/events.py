"""Records of the input topic → `ImageUrl`, strictly: whatever else stands there is `EventUnreadable`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from consumer.codec import avro, strict_json
from consumer.errors import EventUnreadable
from consumer.events import ImageUrl
from consumer.records import Headers, Record
from schemas import IMAGE_URL

EVENT_MAX_BYTES = 2**20
"""Largest value that is read, 1 MiB: what Apache Kafka takes by default (``message.max.bytes``). It
bounds what a hostile value can cost: 1 MiB of JSON or Avro is read in well under a second."""

OTHER_JSON = b'["-0123456789 \t\r\n'
"""What JSON that is no event may begin with, its words apart: another value than an object, or a space before it."""

LONG = range(-(2**63), 2**63)
"""What an Avro long holds."""


def decode_event(record: Record) -> ImageUrl:
    """The event in a record.

    ``event_id`` is the value's own; if it has none, the record's last ``ce_id`` header, unless that is
    empty or not UTF-8; else ``TOPIC-PARTITION-OFFSET``.

    Raises:
        EventUnreadable: there is none. The message repeats nothing of the record.
    """
    try:
        fields = _fields(record.value)
    except ValueError as error:
        raise EventUnreadable(str(error)) from None
    return event_of(fields, _outer_id(record))


def encode_event(event: ImageUrl, output_format: Literal["avro", "json"]) -> bytes:
    """The value of a record that holds this event: JSON, or Avro single-object encoding."""
    fields = {
        "event_id": event.event_id,
        "url": event.url,
        "requested_at": event.requested_at,
        "attributes": dict(event.attributes),
    }
    return avro.encode(IMAGE_URL, fields) if output_format == "avro" else strict_json.encode(fields)


def event_of(fields: Mapping[str, Any], outer_id: str) -> ImageUrl:
    """The event whose fields these are; ``outer_id`` is its id unless it has one. Unknown fields are ignored.

    Null counts as missing, since many serialisers write it for what is not there.

    Raises:
        EventUnreadable: a field is missing or of the wrong type; the text repeats nothing of the fields.
    """
    url, event_id, at = fields.get("url"), fields.get("event_id"), fields.get("requested_at")
    attributes = fields.get("attributes")
    if url is None:
        raise EventUnreadable("the event has no url")
    if not isinstance(url, str):
        raise EventUnreadable(f"the event's url is {strict_json.kind_of(url)} instead of a string")
    if not isinstance(event_id, str | None):
        raise EventUnreadable(f"the event's event_id is {strict_json.kind_of(event_id)} instead of a string")
    if at is not None and (not isinstance(at, int) or isinstance(at, bool)):
        raise EventUnreadable(
            f"the event's requested_at is {strict_json.kind_of(at)} instead of an integer of milliseconds"
        )
    if at is not None and at not in LONG:
        raise EventUnreadable("the event's requested_at does not fit 64 bits")
    if attributes is None:
        attributes = {}
    if not isinstance(attributes, dict) or not all(isinstance(text, str) for text in attributes.values()):
        raise EventUnreadable("the event's attributes are not a map of strings")
    event = ImageUrl(event_id or outer_id, url, at, attributes)
    try:
        "".join((event.event_id, url, *attributes, *attributes.values())).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write as \ud800 and UTF-8 cannot hold
        raise EventUnreadable("the event holds a text that is no Unicode") from None
    return event


def _fields(value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise ValueError("the record has no value (a tombstone)")
    if not value:
        raise ValueError("the record's value is empty")
    if len(value) > EVENT_MAX_BYTES:
        raise ValueError(f"the record's value has {len(value)} bytes, more than {EVENT_MAX_BYTES}")
    if value[0] == ord("{"):
        return strict_json.decode(value)
    if value[0] == avro.MAGIC[0]:
        return avro.decode_strictly(IMAGE_URL, value)
    if value[0] == 0:
        raise ValueError("the value is in Confluent wire format, which takes a schema registry to read")
    if value[0] in OTHER_JSON or value.strip() in (b"null", b"true", b"false"):
        strict_json.decode(value)  # says what it is instead of an object
        raise ValueError("the JSON value does not begin with the { of an object")
    raise ValueError("the value is neither JSON (a { first), Avro single-object encoding nor Confluent wire format")


def _outer_id(record: Record) -> str:
    made = f"{record.topic}-{record.partition}-{record.offset}"
    given = last_header(record.headers, "ce_id")
    try:
        return given.decode() if given else made
    except UnicodeDecodeError:
        return made


def last_header(headers: Headers, name: str) -> bytes | None:
    """The header of that name; of several the last, as Kafka's own ``lastHeader`` has it; null if there is none."""
    return next((value for known, value in reversed(headers) if known == name), None)
