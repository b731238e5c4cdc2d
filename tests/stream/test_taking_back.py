"""Work that has not begun is taken back: at a stop and when its partition leaves, nobody waits for it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import cast

import pytest

from consumer.health import Health
from consumer.metrics import Metrics
from consumer.records import Outcome, Record
from consumer.stream.core import StreamCore
from consumer.stream.limits import Limits
from consumer.stream.loop import StreamLoop
from consumer.stream.protocol import Publish, Published, Result
from consumer.stream.publisher import Publisher
from consumer.stream.source import Source
from tests.stream.factories import outcome, record

BEGUN, EVENTS = 3, 1000


class World:
    """A topic of one partition, of whose events a few are being fetched and the others stand in line."""

    def __init__(self) -> None:
        self.now = 0.0
        self.records = [record(offset, 0) for offset in range(EVENTS)]
        self.work: list[Future[Outcome]] = []
        self.committed: dict[int, int] = {}
        self.core = StreamCore(Limits(in_flight=EVENTS, publish_pause_s=0.0))
        self.loop = StreamLoop(
            self.core,
            cast(Source, self),
            cast(Publisher, self),
            self,
            topic="in",
            drain_s=25.0,
            metrics=Metrics(),
            health=Health(60, clock=self.clock),
            clock=self.clock,
        )
        self.loop.assigned([0])
        self.loop.tick()
        self.loop.tick()
        assert self.core.in_flight == EVENTS
        for future in self.work[:BEGUN]:
            assert future.set_running_or_notify_cancel()

    def clock(self) -> float:
        self.now += 0.001
        return self.now

    def submit(self, record: Record) -> Future[Outcome]:
        self.work.append(Future())
        return self.work[-1]

    def poll(self, most: int, timeout_s: float) -> list[Record]:
        found, self.records = self.records[:most], self.records[most:]
        return found

    def pause(self, partitions: tuple[int, ...]) -> None:
        """It is empty."""

    resume = pause

    def joined(self) -> bool:
        return True

    def in_vain(self) -> bool:
        return False

    def unbegun(self) -> dict[int, bool]:
        return {}

    def lag(self, partition: int, offset: int | None) -> int | None:
        return None

    def publish(self, publication: Publish, budget_s: float) -> Published:
        self.committed.update(publication.offsets)
        return Published(Result.COMMITTED)

    def tend(self) -> None:
        """Nothing to do."""

    def abort_hanging(self) -> None:
        """Nothing to do."""

    def finish(self) -> None:
        for future in self.work[:BEGUN]:
            future.set_result(outcome())


@pytest.fixture
def world() -> World:
    return World()


def test_a_stop_waits_for_what_has_begun_and_for_nothing_else(world: World) -> None:
    world.loop.stop()
    world.loop.tick()
    assert world.core.in_flight == BEGUN
    assert all(future.cancelled() for future in world.work[BEGUN:])
    assert not world.loop._drained()
    world.finish()
    while not world.loop._drained():
        world.loop.tick()
    assert world.committed == {0: BEGUN}
    assert world.now < 5.0


def test_a_partition_that_leaves_is_held_for_what_has_begun_and_for_nothing_else(world: World) -> None:
    world.finish()
    before = world.now
    world.loop.revoked([0])
    assert all(future.cancelled() for future in world.work[BEGUN:])
    assert world.committed == {0: BEGUN}
    assert world.now - before < 0.2, "the budget is half a second, and the whole group waits"
    assert world.core.in_flight == 0


def test_what_finishes_after_its_partition_has_left_is_dropped(world: World) -> None:
    world.loop.lost([0])
    world.finish()
    world.loop.assigned([0])
    world.loop.tick()
    assert world.core.held == 0
    assert world.committed == {}
