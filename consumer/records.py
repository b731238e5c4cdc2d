"""What stands in a topic and what goes to one, without a Kafka client in sight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from consumer.evidence import Evidence
from consumer.failures import FailedEvent

Headers = tuple[tuple[str, bytes | None], ...]
"""Record headers in their order; a name may occur twice, a value may be null."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the input topic holds it. ``timestamp_ms`` is -1 where the record has none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        return _size(self.key, self.value, self.headers)


@dataclass(frozen=True, slots=True)
class Message:
    """One record that is to be published.

    With a key, the output partition is the one that Java clients choose (murmur2). Without one it is
    ``keyless_partition`` modulo the number of output partitions, which keeps the source's order.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    keyless_partition: int

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        return _size(self.key, self.value, self.headers)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that one input record comes to: the messages that are published, or none of them.

    ``kind`` and ``code`` are for the metrics: ``code`` is the failure's, or null.
    ``reduced`` makes what to publish instead when the broker finds a message too large; null when this
    is already the smallest form.
    ``evidence`` is for the breaker, null if it says nothing; ``failed`` for those who look what went wrong.
    """

    kind: Literal["predicted", "failed", "unreadable"]
    messages: tuple[Message, ...]
    code: str | None = None
    reduced: Callable[[], Outcome] | None = None
    evidence: Evidence | None = None
    failed: FailedEvent | None = None

    @property
    def size(self) -> int:
        """Bytes of keys, values and headers: what holding and publishing this costs, framing apart."""
        return sum(message.size for message in self.messages)


def _size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    named = sum(len(name) + len(content or b"") for name, content in headers)
    return len(key or b"") + len(value or b"") + named
