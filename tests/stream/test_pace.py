"""When the core publishes next, how much, and whose outcomes first."""

from __future__ import annotations

import pytest

from consumer.stream.core import GLANCE_S, StreamCore
from consumer.stream.pace import LONG_S
from consumer.stream.protocol import Publish, Published
from tests.stream.cores import ABORTED, COMMITTED, UNKNOWN, core, only, publication, submitted, work
from tests.stream.factories import outcome, record


def test_publications_in_a_flood_keep_their_pause() -> None:
    stream = core(publish_pause_s=0.5, publish_pause_each_s=1.0)
    first, second = work(stream, 0, 1)
    stream.finished(first, outcome())
    stream.actions(0.0)
    stream.published(COMMITTED, 1.0)
    stream.finished(second, outcome())
    assert only(Publish, stream.actions(1.4)) == []
    assert stream.due(1.4) == stream.pause_s(1.4) == pytest.approx(0.1)
    assert publication(stream.actions(1.5)).claims == (second,)


@pytest.mark.parametrize(
    ("together", "took_s", "pause_s"), [(1, 0.0, 0.01), (2, 0.0, 0.02), (6, 0.0, 0.05), (1, 0.03, 0.03), (1, 0.3, 0.05)]
)
def test_outcomes_that_come_singly_wait_for_as_many_as_went_before_them_or_as_long_as_those_took(
    together: int, took_s: float, pause_s: float
) -> None:
    stream = core(publish_pause_s=0.05, publish_pause_each_s=0.01)
    for claim in work(stream, *range(together), now=100.0):
        stream.finished(claim, outcome())
    assert len(publication(stream.actions(100.0)).claims) == together
    stream.published(COMMITTED, 100 + took_s)
    assert stream.pause_s(100 + took_s) == pytest.approx(pause_s)


def late(took_s: float) -> StreamCore:
    """At 100 one outcome of an event that took so long is committed, and that of a second one waits."""
    stream = core(publish_outcomes=1, publish_pause_s=0.05, publish_pause_late_s=0.25, publish_pause_each_s=0.01)
    for claim in work(stream, 0, 1, now=100.0 - took_s):
        stream.finished(claim, outcome())
    stream.actions(100.0)
    stream.published(COMMITTED, 100.0)
    return stream


@pytest.mark.parametrize(("took_s", "pause_s"), [(0.05, 0.01), (0.9, 0.1), (1.8, 0.2), (60.0, 0.25)])
def test_outcomes_that_all_took_long_wait_until_a_tenth_of_that_has_passed(took_s: float, pause_s: float) -> None:
    stream = late(took_s)
    assert stream.due(100.0) == pytest.approx(pause_s)
    assert only(Publish, stream.actions(99.99 + pause_s)) == []
    assert only(Publish, stream.actions(100.001 + pause_s)) != []


def test_a_quick_event_waits_for_none_that_took_long() -> None:
    stream = late(10.0)
    assert stream.pause_s(100.015) == GLANCE_S  # so soon it is seen
    (quick,) = work(stream, 0, partition=1, now=100.015)
    stream.finished(quick, outcome())
    assert stream.due(100.02) == 0.0
    assert only(Publish, stream.actions(100.02)) != []


@pytest.mark.parametrize("leaves", [True, False])
def test_what_must_be_out_waits_for_nothing(leaves: bool) -> None:
    stream = late(10.0)
    assert stream.due(100.0) == 0.25
    if leaves:
        stream.revoking([0])
    else:
        stream.stop()
    assert stream.due(100.0) == stream.pause_s(100.0) == 0.0
    assert only(Publish, stream.actions(100.0)) != []


def test_nothing_pauses_the_last_publications() -> None:
    stream = core(publish_pause_s=0.5, publish_pause_each_s=1.0)
    first, _ = work(stream, 0, 1)
    stream.finished(first, outcome())
    stream.actions(0.0)
    stream.published(COMMITTED, 0.0)
    assert stream.pause_s(0.0) == 0.5
    stream.stop()
    assert stream.pause_s(0.0) == 0.0


def test_a_publication_is_no_larger_than_its_limits() -> None:
    stream = core(publish_outcomes=2, publish_pause_s=0.0)
    for claim in work(stream, 0, 1, 2):
        stream.finished(claim, outcome())
    assert publication(stream.actions(0.0)).offsets == {0: 2}
    stream.published(COMMITTED, 0.0)
    assert publication(stream.actions(0.0)).offsets == {0: 3}


@pytest.mark.parametrize("answer", [ABORTED, UNKNOWN])
@pytest.mark.parametrize(("took_s", "sizes"), [(LONG_S + 1, [32, 16, 8, 4]), (LONG_S - 1, [32, 32, 32, 32])])
def test_what_does_not_get_through_in_time_is_sent_in_halves_and_then_in_slowly_larger_parts(
    answer: Published, took_s: float, sizes: list[int]
) -> None:
    stream = core(publish_outcomes=32, publish_pause_s=0.0, publish_pause_each_s=0.0, retry_pause_s=0.0)
    for claim in work(stream, *range(64)):
        stream.finished(claim, outcome())
    now = 0.0

    def publish(answer: Published) -> int:
        nonlocal now
        now += 1.0  # whatever the pause is
        size = len(publication(stream.actions(now)).claims)
        now += took_s
        stream.published(answer, now)
        if answer is UNKNOWN:
            stream.actions(now)
            stream.resolved({0: 0}, now)
        return size

    assert [publish(answer) for _ in sizes] == sizes
    if sizes[-1] == 4:
        assert [publish(COMMITTED) for _ in range(8)] == [2, 3, 4, 5, 6, 7, 8, 9]


def test_who_has_waited_longest_is_published_first_so_that_no_partition_is_left_out() -> None:
    stream = core(publish_outcomes=2, publish_pause_s=0.0, publish_pause_late_s=0.0, publish_pause_each_s=0.0)
    for offset in range(6):
        stream.received([record(offset, 0)], float(offset))
    stream.received([record(0, 1)], 2.5)
    for claim in submitted(stream.actions(6.0)):
        stream.finished(claim, outcome())
    order = []
    for _ in range(3):
        order.append([(one.partition, one.offset) for one in publication(stream.actions(6.0)).claims])
        stream.published(COMMITTED, 6.0)
    assert order == [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(1, 0), (0, 4)]]
