"""A stream core to test, and what is asked of it again and again."""

from __future__ import annotations

from collections.abc import Iterable

from consumer.stream.core import StreamCore
from consumer.stream.limits import Limits
from consumer.stream.protocol import Action, Claim, Publish, Published, Result, Submit
from tests.stream.factories import outcome, record

COMMITTED = Published(Result.COMMITTED)
ABORTED = Published(Result.ABORTED, "as a test wants it")
UNKNOWN = Published(Result.UNKNOWN, "as a test wants it")


def core(**limits: float) -> StreamCore:
    made = StreamCore(Limits(**limits))  # type: ignore[arg-type] # whatever the test says
    made.assigned([0, 1])
    made.actions(0.0)
    return made


def only(kind: type[Action], actions: Iterable[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]


def submitted(actions: Iterable[Action]) -> list[Claim]:
    return [action.claim for action in actions if isinstance(action, Submit)]


def publication(actions: Iterable[Action]) -> Publish:
    (one,) = (action for action in actions if isinstance(action, Publish))
    return one


def work(stream: StreamCore, *offsets: int, partition: int = 0, now: float = 0.0) -> list[Claim]:
    """Takes events in and begins them all."""
    stream.received([record(offset, partition) for offset in offsets], now)
    return submitted(stream.actions(now))


def publishing(stream: StreamCore) -> Claim:
    """One event of partition 0, worked on and handed out for publication."""
    (claim,) = work(stream, 0)
    stream.finished(claim, outcome())
    stream.actions(0.0)
    return claim
