"""What readers make of records: a publisher may leave one in the topic of which it was never told."""

from __future__ import annotations

import json
from typing import Any, cast

from confluent_kafka import Message

from consumer.codec import decode_prediction
from tests.faults import watch
from tests.faults.tally import Event, count
from tests.simulation.log import Entry
from tests.simulation.message import Message as SimulatedMessage


def record(topic: str, partition: int, offset: int, value: bytes) -> Message:
    """As a consumer's ``poll`` gives it."""
    ce_id = str(decode_prediction(value)["event_id"]).encode() if topic == "out" else b""
    entry = Entry(b"key", value, 0, headers=(("ce_id", ce_id),))
    return cast(Message, SimulatedMessage(topic, partition, offset, entry))


def test_a_record_that_its_publisher_knows_nothing_of_is_an_event_like_any_other() -> None:
    event = Event(7, b"key", 5, 681, readable=True, at=1.0)
    inputs = [record("in", 5, offset, b'{"event_id": "7"}') for offset in (681, 682)]
    copies = watch.copies(inputs, [event])
    assert [(one.partition, one.offset, one.readable) for one in copies] == [(5, 682, True)]
    copied = {(one.partition, one.offset): one.number for one in copies}
    reading = watch.outcome_reading({"u": {"sleeves": "long"}}, {7: (5, 681)}, copied)
    outcomes = [reading(record("out", 5, 700 + source, outcome_of(source)), 0.0) for source in (681, 682)]
    assert count([event, *copies], outcomes, []).bad() == {}
    assert count([event, *copies], outcomes[:1], []).bad() == {"lost": 1}
    assert count([event, *copies], [*outcomes, outcomes[1]], []).bad() == {"doubled": 1}


def outcome_of(offset: int) -> bytes:
    value: dict[str, Any] = {
        "event_id": "7",
        "url": "u",
        "predictions": {"sleeves": {"long": 1.0}},
        "labels": {"sleeves": "long"},
        "error": None,
        "model": {"name": "none", "version": "1", "backend": "none"},
        "image": None,
        "source": {"topic": "in", "partition": 5, "offset": offset, "timestamp": 0},
        "attributes": {},
        "predicted_at": 0,
    }
    return json.dumps(value).encode()
