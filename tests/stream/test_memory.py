"""Events and outcomes that are held stay within their bounds, whatever stands still: the output, or one partition."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumer.stream.core import StreamCore
from consumer.stream.limits import Limits
from consumer.stream.protocol import Claim, Pause, Publish, Published, Result, Resume, Submit
from consumer.stream.source import POLL_BYTES
from tests.stream.factories import outcome, record

PARTITIONS = (0, 1, 2)
LIMITS = Limits(in_flight=8, queued=16, held_bytes=60_000, held_each=200, publish_outcomes=50, publish_pause_s=0.0)
ROOM = LIMITS.in_flight + LIMITS.queued


class Endless:
    """A topic without end before the core, taken in as the loop does, and work that takes no time.

    ``at_once`` is how many records the broker has for a poll.
    """

    def __init__(self, event_bytes: int, outcome_bytes: int, at_once: int, limits: Limits = LIMITS) -> None:
        self.core = StreamCore(limits)
        self.core.assigned(PARTITIONS)
        self.stuck: Callable[[Claim], bool] = lambda _: False
        self.published = dict.fromkeys(PARTITIONS, 0)
        self.most_bytes = 0
        self._at_once = at_once
        self._event = bytes(event_bytes)
        self._outcome_bytes = outcome_bytes
        self._offsets = dict.fromkeys(PARTITIONS, 0)
        self._paused: set[int] = set(PARTITIONS)
        self._publish: Publish | None = None

    @property
    def bytes(self) -> int:
        return sum(ledger.bytes for ledger in self.core.ledgers)

    @property
    def taken(self) -> int:
        return sum(self._offsets.values())

    def turn(self) -> bool:
        """What happens until nothing does; whether anything was taken in."""
        before = self.taken
        self._act()
        for partition in PARTITIONS:
            # As a poll gives them: as many as there is room for, until `POLL_BYTES` are reached.
            room = 0 if partition in self._paused else self.core.room
            for _ in range(min(room, self._at_once, -(-POLL_BYTES // len(self._event)))):
                self.core.received([record(self._offsets[partition], partition, self._event)], 0.0)
                self._offsets[partition] += 1
            self._act()
        return self.taken > before

    def answer(self) -> None:
        """The broker has what was published, at last."""
        if self._publish is not None:
            for claim in self._publish.claims:
                self.published[claim.partition] += 1
            self._publish = None
            self.core.published(Published(Result.COMMITTED), 0.0)
            self._act()

    def _act(self) -> None:
        again = True
        while again:
            again = False
            self.most_bytes = max(self.most_bytes, self.bytes)
            for action in self.core.actions(0.0):
                match action:
                    case Submit(claim, _) if not self.stuck(claim):
                        self.core.finished(claim, outcome(size=self._outcome_bytes))
                        again = True
                    case Pause(chosen):
                        self._paused |= set(chosen)
                    case Resume(chosen):
                        self._paused -= set(chosen)
                    case Publish():
                        self._publish = action


@pytest.mark.parametrize(("event_bytes", "outcome_bytes"), [(100, 400), (400, 100), (5_000, 5_000), (10, 30_000)])
@pytest.mark.parametrize("at_once", [4, ROOM])
def test_while_the_output_stands_still_intake_stops_at_the_bytes_that_may_be_held(
    event_bytes: int, outcome_bytes: int, at_once: int
) -> None:
    world = Endless(event_bytes, outcome_bytes, at_once)
    bound = LIMITS.held_bytes + ROOM * max(event_bytes, outcome_bytes)
    while world.turn():
        assert world.bytes <= bound
    taken = world.taken
    assert not world.turn()
    assert world.core.in_flight == 0
    while sum(world.published.values()) < 3 * taken:  # and it goes on as soon as the output does
        world.answer()
        world.turn()
    assert world.most_bytes <= bound


def test_the_largest_events_are_stopped_by_their_bytes_although_there_is_room_for_thousands() -> None:
    event_bytes, limits = 2**20, Limits(in_flight=4096)
    world = Endless(event_bytes, 0, 4096, limits)
    world.stuck = lambda _: True  # they are being fetched
    while world.turn():
        pass
    assert limits.held_bytes <= world.most_bytes <= limits.held_bytes + POLL_BYTES + event_bytes


def test_a_partition_that_is_stuck_holds_so_many_of_its_events_and_the_others_go_on() -> None:
    world = Endless(100, 100, ROOM)
    world.stuck = lambda claim: (claim.partition, claim.offset) == (0, 0)
    while min(world.published[1], world.published[2]) < 20 * LIMITS.held_each:
        assert world.turn()
        world.answer()
    held = {ledger.partition: len(ledger) for ledger in world.core.ledgers}
    assert held[0] <= LIMITS.held_each + ROOM
    assert (world.published[0], world.core.in_flight) == (0, 1)
    assert world.most_bytes <= 100 * (LIMITS.held_each + len(PARTITIONS) * ROOM + LIMITS.publish_outcomes)
