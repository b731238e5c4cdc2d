"""The dead letter: a record as it came, with the reason in headers that Kafka Connect's tools know."""

from __future__ import annotations

from consumer.events import Failure
from consumer.records import Headers, Message, Record

KEY_MAX_BYTES = HEADERS_MAX_BYTES = 2**16
"""What the smallest form keeps of a key and of headers, 64 KiB: far more than they usually have, far
less than any broker's limit."""


def dead_letter(topic: str, record: Record, failure: Failure) -> Message:
    """Key, value and headers as they came, and after them ours; where a name occurs twice the last counts."""
    return Message(topic, record.key, record.value, record.headers + _reason(record, failure), record.partition)


def small_dead_letter(topic: str, record: Record, failure: Failure) -> Message:
    """The same without the value, whose size ``error.value.bytes`` tells.

    Key and headers stay too unless they are very large. The event itself still stands in its topic, at
    the offset that the headers name.
    """
    headers = record.headers if _size(record.headers) <= HEADERS_MAX_BYTES else ()
    dropped = (("error.value.bytes", str(len(record.value or b"")).encode()),)
    headers += _reason(record, failure) + dropped
    return Message(topic, small_key(record.key), None, headers, record.partition)


def small_key(key: bytes | None) -> bytes | None:
    """The key, or null if it is so large that a message with it might be too large again."""
    return key if key is None or len(key) <= KEY_MAX_BYTES else None


def _reason(record: Record, failure: Failure) -> Headers:
    texts = (
        ("__connect.errors.topic", record.topic),
        ("__connect.errors.partition", str(record.partition)),
        ("__connect.errors.offset", str(record.offset)),
        ("__connect.errors.stage", failure.stage),
        ("__connect.errors.exception.class.name", failure.exception),
        ("__connect.errors.exception.message", failure.message),
        ("error.code", failure.code),
        ("error.retriable", "true" if failure.retriable else "false"),
        ("error.attempts", str(failure.attempts)),
    )
    return tuple((name, text.encode()) for name, text in texts)


def _size(headers: Headers) -> int:
    return sum(len(name.encode()) + len(value or b"") for name, value in headers)
