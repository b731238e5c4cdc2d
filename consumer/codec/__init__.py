"""Bytes ⇄ events, without a Kafka client: what a record's value means, and what an outcome looks like.

::

    events       Record → ImageUrl, and ImageUrl → bytes for the tools
    outcomes     ImageUrl and its answer → the messages to publish, in ever smaller forms
    predictions  the outcome record ⇄ bytes
    dead_letters the event that failed, with the reason in its headers
    avro, strict_json   one value ⇄ bytes, for the two encodings; strict_avro reads what strangers wrote

A value is told by its first byte: ``{`` is JSON, ``C3 01`` Avro single-object encoding, ``00`` the
Confluent wire format.
"""

from consumer.codec.events import EVENT_MAX_BYTES, decode_event, encode_event, event_of
from consumer.codec.outcomes import NOT_FINITE, Encoder
from consumer.codec.predictions import decode_prediction

__all__ = ["EVENT_MAX_BYTES", "NOT_FINITE", "Encoder", "decode_event", "decode_prediction", "encode_event", "event_of"]
