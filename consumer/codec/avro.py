"""One value ⇄ Avro bytes: single-object encoding, which names its schema by fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader, schemaless_writer

from consumer.codec.strict_avro import NotAvro, Reader
from schemas import Schema

MAGIC = b"\xc3\x01"
"""What single-object encoding begins with (Avro 1.12 specification); the fingerprint's 8 bytes follow."""


def encode(schema: Schema, value: Mapping[str, Any]) -> bytes:
    """One record in single-object encoding."""
    out = BytesIO()
    out.write(MAGIC + schema.fingerprint)
    schemaless_writer(out, schema.parsed, value)
    return out.getvalue()


def decode(schema: Schema, data: bytes) -> dict[str, Any]:
    """The record in single-object encoding that the whole of ``data`` is.

    Raises:
        ValueError: it is not; the text repeats nothing of the data.
    """
    return decode_body(schema, data, body_of(schema, data))


def decode_strictly(schema: Schema, data: bytes) -> dict[str, Any]:
    """The same for what strangers write: it is read as `strict_avro` reads.

    Raises:
        ValueError: it is not; the text repeats nothing of the data.
    """
    reader = Reader(data, body_of(schema, data))
    try:
        value: dict[str, Any] = reader.value(schema.parsed)
    except NotAvro as error:
        raise ValueError(f"the Avro value is cut or damaged: {error}") from None
    if left := len(data) - reader.at:
        raise ValueError(f"the Avro value has {left} bytes too many")
    return value


def body_of(schema: Schema, data: bytes) -> int:
    """Where the bare record begins.

    Raises:
        ValueError: the head is cut, or names another schema.
    """
    head = len(MAGIC) + len(schema.fingerprint)
    if not data.startswith(MAGIC) or len(data) < head:
        raise ValueError("the Avro value ends inside its first 10 bytes, which name its schema")
    if data[len(MAGIC) : head] != schema.fingerprint:
        raise ValueError(f"the Avro value was written with another schema than {schema.name}'s in schemas/")
    return head


def decode_body(schema: Schema, data: bytes, start: int) -> dict[str, Any]:
    """The bare record that ``data`` holds from ``start`` to its end.

    Raises:
        ValueError: there is none, or something is left over; the text repeats nothing of the data.
    """
    source = BytesIO(data)
    source.seek(start)
    try:
        value: dict[str, Any] = schemaless_reader(source, schema.parsed, None)
    except Exception as error:  # noqa: BLE001 — hostile bytes: EOFError, IndexError, OverflowError, UnicodeDecodeError …
        raise ValueError(f"the Avro value is cut or damaged ({type(error).__name__})") from None
    left = len(data) - source.tell()
    if left:
        raise ValueError(f"the Avro value has {left} bytes too many")
    return value
