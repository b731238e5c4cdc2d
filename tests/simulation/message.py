"""What a simulated consumer's ``poll`` gives."""

from __future__ import annotations

from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError

from tests.simulation.log import Entry


class Message:
    """A record, or an error, as ``poll`` gives it."""

    def __init__(
        self, topic: str, partition: int, offset: int, entry: Entry | None, error: KafkaError | None = None
    ) -> None:
        self._place = topic, partition, offset
        self._entry = entry or Entry(None, None, -1)
        self._error = error

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return self._place[0]

    def partition(self) -> int:
        return self._place[1]

    def offset(self) -> int:
        return self._place[2]

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_CREATE_TIME, self._entry.timestamp_ms

    def key(self) -> bytes | None:
        return self._entry.key

    def value(self) -> bytes | None:
        return self._entry.value

    def headers(self) -> list[tuple[str, bytes]]:
        return list(self._entry.headers)
