"""The core against a broker of a few lines, through any history: what is visible, what is committed, what is held."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from consumer.records import Message, Outcome
from consumer.stream.core import StreamCore
from consumer.stream.limits import Limits
from consumer.stream.protocol import Claim, Halt, Pause, Publish, Published, Resolve, Result, Resume, Submit
from tests.stream.factories import record

PARTITIONS = (0, 1, 2)
LIMITS = Limits(
    in_flight=4,
    queued=6,
    held_bytes=4_000,
    held_each=8,
    publish_outcomes=5,
    publish_bytes=1_500,
    publish_pause_s=0.05,
    retry_pause_s=0.1,
)
EVENT_BYTES = 100
LARGE_BYTES = 700

partitions = st.sets(st.sampled_from(PARTITIONS), min_size=1)


class Broker:
    """A topic's partitions, the group's committed offsets, and what a ``read_committed`` reader sees."""

    def __init__(self) -> None:
        self.committed = dict.fromkeys(PARTITIONS, 0)
        self.visible: list[tuple[int, int]] = []

    def commit(self, publish: Publish) -> None:
        self.visible += [(claim.partition, claim.offset) for claim in publish.claims]
        self.committed |= publish.offsets


class CoreMachine(RuleBasedStateMachine):
    """Every third offset of a partition is a gap, as transaction markers leave them."""

    def __init__(self) -> None:
        super().__init__()
        self.core = StreamCore(LIMITS)
        self.broker = Broker()
        self.now = 0.0
        self.position: dict[int, int] = {}  # of owned partitions: what is read next
        self.tenure: dict[int, int] = {}
        self.paused: set[int] = set()
        self.running: list[Claim] = []  # stale ones too: work does not stop because a partition left
        self.begun: set[Claim] = set()
        self.finished: dict[Claim, int] = {}  # claim → bytes of its outcome
        self.received: set[tuple[int, int, int]] = set()
        self.publish: Publish | None = None
        self.unknown = False
        self.resolve = False
        self.stopped = False

    # ── the world's moves ────────────────────────────────────────────────────────────────────────

    @initialize(chosen=partitions)
    def first_assignment(self, chosen: set[int]) -> None:
        self.assign(chosen)

    @rule(chosen=partitions)
    def assign(self, chosen: set[int]) -> None:
        for partition in sorted(chosen - self.position.keys()):
            self.core.assigned([partition])
            self.position[partition] = self.broker.committed[partition]
            self.tenure[partition] = max(self.tenure.values(), default=0) + 1
            self.paused.discard(partition)

    @rule(chosen=partitions, also_publish=st.booleans())
    def revoke(self, chosen: set[int], also_publish: bool) -> None:
        mine = chosen & self.position.keys()
        self.core.revoking(mine)
        if also_publish:
            self.act()
        if also_publish and self.publish is not None and not self.unknown:
            self.answer(Result.COMMITTED)
        self._gone(mine)

    @rule(chosen=partitions)
    def lose(self, chosen: set[int]) -> None:
        self._gone(chosen & self.position.keys())

    @precondition(lambda self: self.position and not self.stopped)
    @rule(count=st.integers(1, 20), data=st.data())
    def receive(self, count: int, data: st.DataObject) -> None:
        readable = sorted(self.position.keys() - self.paused)
        if not readable:
            return
        partition = data.draw(st.sampled_from(readable))
        for _ in range(min(count, max(1, self.core.room))):  # as the loop polls
            offset = self.position[partition]
            if offset % 3 == 2:
                offset += 1
            self.core.received([record(offset, partition, value=bytes(EVENT_BYTES))], self.now)
            self.received.add((partition, self.tenure[partition], offset))
            self.position[partition] = offset + 1
        self.act()  # in the loop nothing is read again before the core has said what to do

    @precondition(lambda self: self.running)
    @rule(data=st.data(), large=st.booleans())
    def finish(self, data: st.DataObject, large: bool) -> None:
        claim = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        size = LARGE_BYTES if large else EVENT_BYTES // 2
        self.core.finished(claim, _outcome(claim, size))
        self.finished[claim] = size

    @rule()
    def act(self) -> None:
        for action in self.core.actions(self.now):
            match action:
                case Submit(claim, event):
                    assert (claim.partition, claim.offset) == (event.partition, event.offset)
                    assert claim not in self.begun, "begun twice in one tenure"
                    assert self._is_mine(claim)
                    self.begun.add(claim)
                    self.running.append(claim)
                case Pause(chosen):
                    self.paused |= set(chosen)
                case Resume(chosen):
                    self.paused -= set(chosen)
                case Publish():
                    assert self.publish is None, "two publications at a time"
                    self._check(action)
                    self.publish = action
                case Resolve(chosen):
                    assert self.publish is not None
                    assert self.unknown
                    assert set(chosen) == set(self.publish.offsets)
                    self.resolve = True
                case Halt(reason):
                    raise AssertionError(f"halted without a cause: {reason}")

    @precondition(lambda self: self.publish is not None and not self.unknown)
    @rule(result=st.sampled_from([Result.COMMITTED, Result.ABORTED, Result.UNKNOWN]), took_effect=st.booleans())
    def answer(self, result: Result, took_effect: bool = True) -> None:
        assert self.publish is not None
        publish = self.publish
        if result is Result.COMMITTED or (result is Result.UNKNOWN and took_effect):
            self.broker.commit(publish)
        released = self.core.published(Published(result, "by the dice"), self.now)
        assert [entry.offset for entry in released] == (
            [claim.offset for claim in publish.claims] if result is Result.COMMITTED else []
        )
        if result is Result.UNKNOWN:
            self.unknown = True
        else:
            self.publish = None

    @precondition(lambda self: self.publish is not None and not self.unknown)
    @rule(data=st.data())
    def reject(self, data: st.DataObject) -> None:
        """The broker finds outcomes too large: those that have a smaller form."""
        assert self.publish is not None
        large = [claim for claim in self.publish.claims if self.finished[claim] == LARGE_BYTES]
        if large:
            chosen = data.draw(st.lists(st.sampled_from(large), min_size=1, unique=True))
            self.core.published(Published(Result.ABORTED, "too large", tuple(chosen)), self.now)
            self.finished |= dict.fromkeys(chosen, 1)
            self.publish = None

    @precondition(lambda self: self.resolve)
    @rule(answered=st.booleans())
    def resolved(self, answered: bool) -> None:
        self.resolve = False
        self.core.resolved(dict(self.broker.committed) if answered else None, self.now)
        if answered:
            self.publish, self.unknown = None, False

    @rule(seconds=st.sampled_from([0.01, 0.06, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.stopped)
    @rule(really=st.integers(0, 9))
    def stop(self, really: int) -> None:
        if really == 0:
            self.stopped = True
            self.core.stop()

    # ── what always holds ────────────────────────────────────────────────────────────────────────

    @invariant()
    def nothing_is_visible_twice_or_out_of_order(self) -> None:
        for partition in PARTITIONS:
            seen = [offset for place, offset in self.broker.visible if place == partition]
            assert seen == sorted(set(seen))

    @invariant()
    def everything_before_a_committed_offset_is_visible(self) -> None:
        visible = set(self.broker.visible)
        for partition, committed in self.broker.committed.items():
            events = [offset for offset in range(committed) if offset % 3 != 2]
            assert {(partition, offset) for offset in events} <= visible

    @invariant()
    def what_is_held_stays_within_its_limits(self) -> None:
        room = LIMITS.queued + LIMITS.in_flight
        assert 0 <= self.core.in_flight <= LIMITS.in_flight
        assert self.core.in_flight == sum(self._is_mine(claim) for claim in self.running)
        if not self.stopped:
            waiting = [one for one in self.received if self._holds(*one) and Claim(*one) not in self.finished]
            assert len(waiting) <= room + 1  # a poll takes one record at least
        assert self.core.held == sum(self._holds(*one) for one in self.received)

    def teardown(self) -> None:
        """Whatever happened: from here on all goes well, and then nothing is left over."""
        if not self.position:
            return
        for _ in range(200):
            self.now += 10.0
            if self.resolve:
                self.resolved(answered=True)
            elif self.publish is not None and not self.unknown:
                self.answer(Result.COMMITTED)
            self.act()
            while self.running:
                claim = self.running.pop()
                self.core.finished(claim, _outcome(claim, 1))
                self.finished[claim] = 1
        assert not self.core.busy()
        if not self.stopped:
            assert self.core.held == 0, "an event is stuck for ever"
            assert not self.paused & self.position.keys(), "a partition stands still for ever"
        self.nothing_is_visible_twice_or_out_of_order()
        self.everything_before_a_committed_offset_is_visible()

    # ── helpers ──────────────────────────────────────────────────────────────────────────────────

    def _gone(self, mine: Iterable[int]) -> None:
        mine = set(mine)
        expected = {claim for claim in self.running if self._is_mine(claim) and claim.partition in mine}
        assert set(self.core.revoked(mine)) == expected
        for partition in mine:
            del self.position[partition]
        if self.publish is not None and not any(self._is_mine(claim) for claim in self.publish.claims):
            self.publish, self.unknown, self.resolve = None, False, False

    def _is_mine(self, claim: Claim) -> bool:
        return claim.partition in self.position and self.tenure[claim.partition] == claim.tenure

    def _holds(self, partition: int, tenure: int, offset: int) -> bool:
        """Whether the core holds this event still: it is ours, and not known to be committed."""
        if not self._is_mine(Claim(partition, tenure, offset)):
            return False
        (ledger,) = (one for one in self.core.ledgers if one.partition == partition)
        return bool(ledger.entries) and offset >= ledger.entries[0].offset

    def _check(self, publish: Publish) -> None:
        """A publication holds whole fronts: everything from the committed offset up to the new one, finished."""
        assert len(publish.claims) <= LIMITS.publish_outcomes
        sizes = [outcome.size for outcome in publish.outcomes]
        assert sum(sizes[:-1]) < LIMITS.publish_bytes
        for partition, offset in publish.offsets.items():
            claims = [claim for claim in publish.claims if claim.partition == partition]
            assert all(self._is_mine(claim) for claim in claims)
            expected = [n for n in range(self.broker.committed[partition], offset) if n % 3 != 2]
            assert [claim.offset for claim in claims] == expected
            assert offset == claims[-1].offset + 1
        for claim, outcome in zip(publish.claims, publish.outcomes, strict=True):
            assert outcome.size == self.finished[claim], "not the outcome that its work came to"


def _outcome(claim: Claim, size: int) -> Outcome:
    def made(size: int) -> Outcome:
        return Outcome("predicted", (Message("out", None, bytes(size), (), claim.partition),))

    return Outcome("predicted", made(size).messages, reduced=(lambda: made(1)) if size == LARGE_BYTES else None)


TestCore = CoreMachine.TestCase
TestCore.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
