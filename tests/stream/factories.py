"""Small things to test the stream with."""

from __future__ import annotations

from consumer.records import Message, Outcome, Record


def record(offset: int, partition: int = 0, value: bytes = b"{}", key: bytes | None = None) -> Record:
    return Record("in", partition, offset, 1_000, key, value)


def outcome(name: str = "x", size: int = 10, reduced: Outcome | None = None, code: str | None = None) -> Outcome:
    message = Message("out", None, name.encode().ljust(size, b"."), (), 0)
    return Outcome("failed" if code else "predicted", (message,), code, (lambda: reduced) if reduced else None)
