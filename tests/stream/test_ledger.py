"""The ledger of one partition: any order in, the contiguous front out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.stream.ledger import Ledger, Stand
from tests.stream.factories import outcome, record


def ledger_with(*offsets: int) -> Ledger:
    ledger = Ledger(partition=0, tenure=1)
    for offset in offsets:
        assert ledger.accept(record(offset), now=float(offset))
        ledger.start(offset)
    return ledger


def front(ledger: Ledger) -> list[int]:
    return [entry.offset for entry in ledger.front()]


def test_nothing_is_released_while_the_first_event_is_unfinished() -> None:
    ledger = ledger_with(0, 1, 2)
    ledger.finish(2, outcome())
    ledger.finish(1, outcome())
    assert front(ledger) == []


def test_the_front_grows_by_all_that_waited_when_the_first_event_finishes() -> None:
    ledger = ledger_with(0, 1, 2, 3)
    for offset in (2, 1, 0):
        ledger.finish(offset, outcome())
    assert front(ledger) == [0, 1, 2]


def test_gaps_between_offsets_are_no_missing_events() -> None:
    ledger = ledger_with(5, 9, 40)
    for offset in (40, 5, 9):
        ledger.finish(offset, outcome())
    assert front(ledger) == [5, 9, 40]


def test_an_offset_that_was_taken_in_before_is_refused() -> None:
    ledger = ledger_with(3, 4)
    assert ledger.accept(record(4), now=0.0) is None
    assert ledger.accept(record(2), now=0.0) is None
    assert len(ledger) == 2


def test_a_commit_past_unfinished_work_is_an_error_and_changes_nothing() -> None:
    ledger = ledger_with(0, 1, 2)
    ledger.finish(0, outcome())
    ledger.finish(2, outcome())
    with pytest.raises(ValueError, match="offset 1 of partition 0 is in flight: 3 must not be committed"):
        ledger.release(3)
    assert len(ledger) == 3


def test_an_event_cannot_be_finished_twice() -> None:
    ledger = ledger_with(0)
    ledger.finish(0, outcome())
    with pytest.raises(ValueError, match="finished, not in flight"):
        ledger.finish(0, outcome())


def test_an_event_cannot_be_finished_before_it_was_started() -> None:
    ledger = Ledger(0, 1)
    ledger.accept(record(0), now=0.0)
    with pytest.raises(ValueError, match="queued, not in flight"):
        ledger.finish(0, outcome())


def test_a_finished_event_counts_its_outcome_and_its_record_only_if_that_may_still_be_needed() -> None:
    ledger = Ledger(0, 1)
    for offset in (0, 1):
        ledger.accept(record(offset, value=b"v" * 1000), now=0.0)
        ledger.start(offset)
    assert ledger.bytes == 2000
    ledger.finish(0, outcome(size=10))
    assert ledger.bytes == 1010
    ledger.finish(1, outcome(size=10, reduced=outcome(size=1)))
    assert ledger.bytes == 1020
    assert [entry.record for entry in ledger.entries] == [None, None]


def test_the_holder_is_the_first_unfinished_event() -> None:
    ledger = ledger_with(7, 8)
    ledger.finish(7, outcome())
    holder = ledger.holder()
    assert holder is not None
    assert (holder.offset, holder.arrived, holder.stand) == (8, 8.0, Stand.IN_FLIGHT)


def test_an_outcome_that_is_too_large_gives_way_to_its_reduced_form_once() -> None:
    ledger = ledger_with(0)
    ledger.finish(0, outcome(size=5_000, reduced=outcome(size=7)))
    assert ledger.bytes == 5_000 + len(b"{}")
    assert ledger.reduce(0)
    assert ledger.bytes == 7
    assert not ledger.reduce(0)


@given(
    offsets=st.lists(st.integers(0, 10_000), unique=True, min_size=1, max_size=60).map(sorted),
    data=st.data(),
)
def test_whatever_the_order_of_completion_every_event_leaves_once_and_in_order(
    offsets: list[int], data: st.DataObject
) -> None:
    ledger = ledger_with(*offsets)
    finished: set[int] = set()
    left: list[int] = []
    order: list[int] = data.draw(st.permutations(offsets))
    for offset in order:
        ledger.finish(offset, outcome(str(offset)))
        finished.add(offset)
        expected = []
        for waiting in offsets[len(left) :]:
            if waiting not in finished:
                break
            expected.append(waiting)
        assert front(ledger) == expected
        some: int = data.draw(st.integers(0, len(expected)))
        if some:
            left += [entry.offset for entry in ledger.release(expected[some - 1] + 1)]
    left += [entry.offset for entry in ledger.release(offsets[-1] + 1)]
    assert left == offsets
    assert (len(ledger), ledger.bytes) == (0, 0)


class LedgerMachine(RuleBasedStateMachine):
    """A ledger beside a model of three plain lists; sizes are drawn, so that the bytes must add up exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(partition=0, tenure=1)
        self.next = 0
        self.held: dict[int, int] = {}  # offset → bytes, in order
        self.raw: dict[int, int] = {}
        self.queued: list[int] = []
        self.in_flight: list[int] = []
        self.small: dict[int, int | None] = {}  # of the finished: bytes of the reduced form
        self.left: list[int] = []

    @rule(gap=st.integers(0, 3), size=st.integers(0, 50))
    def accept(self, gap: int, size: int) -> None:
        offset = self.next + gap
        assert self.ledger.accept(record(offset, value=bytes(size)), now=0.0)
        assert self.ledger.accept(record(offset, value=bytes(size)), now=0.0) is None
        self.next = offset + 1
        self.held[offset] = self.raw[offset] = size
        self.queued.append(offset)

    @precondition(lambda self: self.queued)
    @rule()
    def start(self) -> None:
        offset = self.queued.pop(0)
        assert self.ledger.start(offset).offset == offset
        self.in_flight.append(offset)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), size=st.integers(1, 90), small=st.none() | st.integers(1, 5))
    def finish(self, data: st.DataObject, size: int, small: int | None) -> None:
        offset = data.draw(st.sampled_from(self.in_flight))
        self.in_flight.remove(offset)
        made = outcome("", size, reduced=None if small is None else outcome("", small))
        self.ledger.finish(offset, made)
        self.held[offset] = size + (self.raw[offset] if small is not None else 0)
        self.small[offset] = small

    @precondition(lambda self: self.small)
    @rule(data=st.data())
    def reduce(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.small)))
        small = self.small[offset]
        assert self.ledger.reduce(offset) is (small is not None)
        if small is not None:
            self.held[offset], self.small[offset] = small, None

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        front = self._front()
        count = data.draw(st.integers(0, len(front)))
        if count:
            gone = [entry.offset for entry in self.ledger.release(front[count - 1] + 1)]
            assert gone == front[:count]
            for offset in gone:
                del self.held[offset], self.small[offset]
            self.left += gone

    @precondition(lambda self: len(self.held) > len(self.small))
    @rule(data=st.data())
    def release_too_much(self, data: st.DataObject) -> None:
        unfinished = [offset for offset in self.held if offset not in self.small]
        offset = data.draw(st.sampled_from(unfinished))
        with pytest.raises(ValueError, match="must not be committed"):
            self.ledger.release(offset + 1)

    @invariant()
    def the_front_is_what_is_finished_without_a_gap_from_the_start(self) -> None:
        assert front(self.ledger) == self._front()

    @invariant()
    def bytes_and_events_add_up_exactly(self) -> None:
        assert (len(self.ledger), self.ledger.bytes) == (len(self.held), sum(self.held.values()))

    @invariant()
    def nothing_leaves_twice_or_out_of_order(self) -> None:
        assert self.left == sorted(set(self.left))

    def _front(self) -> list[int]:
        found = []
        for offset in self.held:
            if offset not in self.small:
                break
            found.append(offset)
        return found


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
