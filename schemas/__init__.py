"""The schemas of the records, as files, and what is needed to read and write with them.

``image_url.avsc`` and ``image_prediction.avsc`` are Avro; ``asyncapi.yml`` describes the topics that
they travel in. Data and a loader, nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form


@dataclass(frozen=True, slots=True)
class Schema:
    """One Avro schema, ready for use."""

    name: str
    """Full name of its record, such as ``image_consumer.ImageUrl``."""

    text: str
    """The .avsc file, as it is: what a registry is given."""

    parsed: Any
    """For fastavro, without its logical types: a timestamp stays an integer of milliseconds, since a
    datetime costs more and cannot hold every one that a stranger may send."""

    fingerprint: bytes
    """CRC-64-AVRO of its parsing canonical form: the 8 bytes, least significant first, that single-object
    encoding has after ``C3 01`` (Avro 1.12 specification, "Single-object encoding")."""

    @classmethod
    def of(cls, text: str) -> Schema:
        """The schema that an .avsc file's text holds.

        Raises:
            fastavro.schema.SchemaParseException: it is no Avro schema.
        """
        parsed = parse_schema(_without_logical_types(json.loads(text)))
        digest = fingerprint(to_parsing_canonical_form(parsed), "CRC-64-AVRO")
        return cls(parsed["name"], text, parsed, bytes.fromhex(digest))


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_logical_types(part) for key, part in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(part) for part in schema]
    return schema


def text_of(name: str) -> str:
    """The text of one of this package's files, such as ``asyncapi.yml``."""
    return files(__name__).joinpath(name).read_text("utf-8")


IMAGE_URL = Schema.of(text_of("image_url.avsc"))
"""What comes in."""

IMAGE_PREDICTION = Schema.of(text_of("image_prediction.avsc"))
"""What goes out."""
