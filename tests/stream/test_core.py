"""The stream core: what it says to do, after what happened."""

from __future__ import annotations

import pytest

from consumer.stream.core import StreamCore
from consumer.stream.limits import Limits
from consumer.stream.protocol import Claim, Halt, Pause, Publish, Published, Resolve, Result, Resume
from tests.stream.cores import ABORTED, COMMITTED, UNKNOWN, core, only, publication, publishing, submitted, work
from tests.stream.factories import outcome, record

# ── assignments ──────────────────────────────────────────────────────────────────────────────────


def test_every_partition_is_told_to_resume_after_its_assignment_since_a_pause_survives_it() -> None:
    stream = StreamCore(Limits())
    stream.assigned([3, 1])
    assert stream.actions(0.0) == [Resume((3, 1))]
    assert stream.actions(0.0) == []


def test_a_record_of_a_partition_that_is_not_ours_is_dropped() -> None:
    stream = core()
    assert work(stream, 0, partition=9) == []
    assert stream.held == 0


def test_work_that_finishes_in_a_later_tenure_than_it_began_in_is_dropped() -> None:
    stream = core()
    (old,) = work(stream, 0)
    stream.revoked([0])
    stream.assigned([0])
    (new,) = work(stream, 0)
    stream.finished(old, outcome("old"))
    assert only(Publish, stream.actions(0.0)) == []
    stream.finished(new, outcome("new"))
    assert publication(stream.actions(0.0)).claims == (new,)


def test_a_revocation_names_the_work_that_was_in_flight_and_frees_its_room() -> None:
    stream = core(in_flight=2)
    first, second = work(stream, 0, 1, 2)
    assert stream.revoked([0]) == [first, second]
    assert stream.in_flight == 0
    assert len(work(stream, 5, 6, partition=1)) == 2


def test_while_partitions_leave_only_publications_are_asked_for() -> None:
    stream = core(in_flight=1)
    (claim,) = work(stream, 0, 1)
    stream.revoking([0])
    stream.finished(claim, outcome())
    (action,) = stream.actions(0.0)
    assert isinstance(action, Publish)
    stream.published(COMMITTED, 0.0)
    assert stream.actions(0.0) == []


# ── intake ───────────────────────────────────────────────────────────────────────────────────────


def test_no_more_than_the_limit_is_in_flight() -> None:
    stream = core(in_flight=3)
    claims = work(stream, *range(10))
    assert [claim.offset for claim in claims] == [0, 1, 2]
    stream.finished(claims[1], outcome())
    assert [claim.offset for claim in submitted(stream.actions(0.0))] == [3]


def test_intake_pauses_when_the_queue_is_full_and_resumes_when_it_is_half_empty() -> None:
    stream = core(in_flight=1, queued=4)
    stream.received([record(offset) for offset in range(5)], 0.0)
    actions = stream.actions(0.0)
    assert only(Pause, actions) == [Pause((0, 1))]
    resumed = []
    for _ in range(2):
        (claim,) = submitted(actions)
        stream.finished(claim, outcome())
        actions = stream.actions(0.0)
        resumed.append(only(Resume, actions))
    assert resumed == [[], [Resume((0, 1))]]


def test_a_partition_whose_front_is_stuck_is_paused_alone_when_work_has_run_too_far_ahead() -> None:
    stream = core(held_each=4, in_flight=10)
    stream.received([record(offset) for offset in range(4)], 0.0)
    actions = stream.actions(0.0)
    claims = submitted(actions)
    assert only(Pause, actions) == [Pause((0,))]
    for claim in claims[1:]:
        stream.finished(claim, outcome())
    assert len(work(stream, 0, partition=1)) == 1
    stream.finished(claims[0], outcome())
    stream.actions(0.0)
    stream.published(COMMITTED, 0.0)
    assert stream.actions(0.0) == [Resume((0,))]


def test_bytes_that_are_held_stop_the_intake() -> None:
    stream = core(held_bytes=1_000)
    stream.received([record(0, value=b"v" * 1_000)], 0.0)
    assert only(Pause, stream.actions(0.0)) == [Pause((0, 1))]


# ── publications ─────────────────────────────────────────────────────────────────────────────────


def test_a_publication_holds_the_fronts_of_all_partitions_and_one_past_their_last_offsets() -> None:
    stream = core()
    a0, a1 = work(stream, 0, 1)
    b7, b8 = work(stream, 7, 8, partition=1)
    for claim in (a1, b7, a0):
        stream.finished(claim, outcome(str(claim.offset)))
    publish = publication(stream.actions(0.0))
    assert (set(publish.claims), publish.offsets) == ({a0, a1, b7}, {0: 2, 1: 8})
    assert b8 not in publish.claims


def test_only_one_publication_is_under_way() -> None:
    stream = core()
    first, second = work(stream, 0, 1)
    stream.finished(first, outcome())
    publication(stream.actions(0.0))
    stream.finished(second, outcome())
    assert only(Publish, stream.actions(9.0)) == []


def test_an_aborted_publication_is_published_again_from_the_ledger_after_a_growing_pause() -> None:
    stream = core(retry_pause_s=0.1)
    (claim,) = work(stream, 0)
    stream.finished(claim, outcome())
    now, pauses = 0.0, []
    for _ in range(8):
        assert publication(stream.actions(now)).claims == (claim,)
        assert stream.published(ABORTED, now) == []
        assert only(Publish, stream.actions(now)) == []
        pauses.append(round(stream.due(now), 3))
        now += stream.due(now)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_outcomes_are_released_when_the_commit_is_answered_and_not_before() -> None:
    stream = core()
    publishing(stream)
    assert stream.busy()
    assert [entry.offset for entry in stream.published(COMMITTED, 0.0)] == [0]
    assert not stream.busy()


def test_a_publication_of_unknown_result_is_resolved_before_anything_else_is_published() -> None:
    stream = core(retry_pause_s=0.0)
    first, second = work(stream, 0, 1)
    stream.finished(first, outcome())
    stream.actions(0.0)
    stream.published(UNKNOWN, 0.0)
    stream.finished(second, outcome())
    assert stream.actions(0.0) == [Resolve((0,))]
    assert stream.actions(0.0) == []


def test_what_the_broker_had_committed_after_all_is_released_and_not_published_again() -> None:
    stream = core()
    publishing(stream)
    stream.published(UNKNOWN, 0.0)
    stream.actions(9.0)
    assert [entry.offset for entry in stream.resolved({0: 1}, 9.0)] == [0]
    assert only(Publish, stream.actions(99.0)) == []


def test_what_the_broker_had_not_committed_is_published_again() -> None:
    stream = core()
    claim = publishing(stream)
    stream.published(UNKNOWN, 0.0)
    stream.actions(9.0)
    assert stream.resolved({0: 0}, 9.0) == []
    assert publication(stream.actions(99.0)).claims == (claim,)


def test_a_broker_that_cannot_be_asked_is_asked_again_later() -> None:
    stream = core()
    publishing(stream)
    stream.published(UNKNOWN, 0.0)
    assert only(Resolve, stream.actions(1.0)) == [Resolve((0,))]
    stream.resolved(None, 1.0)
    assert only(Resolve, stream.actions(1.0)) == []
    assert only(Resolve, stream.actions(9.0)) == [Resolve((0,))]


def test_an_unknown_publication_of_partitions_that_are_gone_is_forgotten() -> None:
    stream = core()
    publishing(stream)
    stream.published(UNKNOWN, 0.0)
    stream.revoked([0])
    (other,) = work(stream, 3, partition=1, now=9.0)
    stream.finished(other, outcome())
    assert publication(stream.actions(9.0)).claims == (other,)


def test_an_unknown_publication_never_releases_events_of_a_later_tenure() -> None:
    stream = core()
    claims = work(stream, 0), work(stream, 0, partition=1)
    for (claim,) in claims:
        stream.finished(claim, outcome())
    stream.actions(0.0)
    stream.published(UNKNOWN, 0.0)
    stream.revoked([0])
    stream.assigned([0])
    work(stream, 0, now=9.0)
    assert [entry.offset for entry in stream.resolved({0: 1, 1: 1}, 9.0)] == [0]
    assert stream.held == 1


def test_a_rejected_outcome_is_published_in_its_reduced_form() -> None:
    stream = core()
    (claim,) = work(stream, 0)
    small = outcome("small")
    stream.finished(claim, outcome("large", reduced=small))
    stream.actions(0.0)
    stream.published(Published(Result.ABORTED, "too large", (claim,)), 0.0)
    assert publication(stream.actions(0.0)).outcomes == (small,)


def test_an_outcome_that_is_rejected_in_its_smallest_form_ends_the_process_rather_than_be_lost() -> None:
    stream = core()
    claim = publishing(stream)
    stream.published(Published(Result.ABORTED, "too large", (claim,)), 0.0)
    (halt,) = stream.actions(0.0)
    assert isinstance(halt, Halt)
    assert "smallest form (10 bytes for out): raise max.message.bytes of that topic" in halt.reason


def test_a_fenced_instance_halts() -> None:
    stream = core()
    publishing(stream)
    stream.published(Published(Result.FENCED, "a newer one"), 0.0)
    assert stream.actions(0.0) == [Halt("a newer one")]


# ── put back, and on hold ────────────────────────────────────────────────────────────────────────


def test_what_is_put_back_is_worked_on_again_behind_all_the_others() -> None:
    stream = core(in_flight=2)
    first, second = work(stream, 0, 1, 2)
    stream.put_back(first)
    assert [claim.offset for claim in submitted(stream.actions(0.0))] == [2]
    stream.finished(second, outcome())
    assert submitted(stream.actions(0.0)) == [first]
    assert stream.in_flight == 2


def test_work_of_an_earlier_tenure_that_is_put_back_is_dropped() -> None:
    stream = core()
    (old,) = work(stream, 0)
    stream.revoked([0])
    stream.assigned([0])
    stream.put_back(old)
    assert (stream.in_flight, submitted(stream.actions(0.0))) == (0, [])


def test_what_is_put_back_holds_its_partitions_front() -> None:
    stream = core(in_flight=2)
    first, second = work(stream, 0, 1)
    stream.finished(second, outcome())
    stream.put_back(first)
    stream.hold()
    assert only(Publish, stream.actions(0.0)) == []


def test_on_hold_nothing_begins_and_what_is_finished_is_published() -> None:
    stream = core(in_flight=1)
    (claim,) = work(stream, 0, 1, 2)
    stream.hold()
    stream.finished(claim, outcome())
    (action,) = stream.actions(0.0)
    assert isinstance(action, Publish)


def test_on_hold_events_are_taken_in_until_the_queue_is_full_with_what_was_in_flight() -> None:
    stream = core(queued=2, in_flight=3)
    stream.received([record(0), record(1), record(2)], 0.0)
    stream.actions(0.0)
    stream.hold()
    for offset in range(3):
        stream.put_back(Claim(0, 1, offset))
    stream.received([record(3)], 0.0)
    assert stream.actions(0.0) == []
    stream.received([record(4)], 0.0)
    assert stream.actions(0.0) == [Pause((0, 1))]


def test_after_a_hold_it_goes_on_at_full_width() -> None:
    stream = core()
    stream.hold()
    stream.received([record(offset) for offset in range(3)], 0.0)
    assert stream.actions(0.0) == []
    stream.release()
    assert len(submitted(stream.actions(0.0))) == 3


@pytest.mark.parametrize(("at", "offset"), [(0.0, 0), (0.5, 2), (0.999, 3)])
def test_a_probe_is_taken_from_anywhere_in_the_queue(at: float, offset: int) -> None:
    stream = core()
    stream.hold()
    stream.received([record(offset) for offset in range(4)], 0.0)
    (probe,) = stream.probe(at)
    assert probe.claim.offset == offset
    assert stream.in_flight == 1
    stream.put_back(probe.claim)
    stream.release()
    assert len(submitted(stream.actions(0.0))) == 4


def test_no_event_of_a_partition_that_is_gone_or_is_leaving_is_a_probe() -> None:
    stream = core()
    stream.hold()
    stream.received([record(0), record(0, 1)], 0.0)
    stream.revoked([0])
    (probe,) = stream.probe(0.0)
    assert probe.claim.partition == 1
    stream.put_back(probe.claim)
    stream.revoking([1])
    assert stream.probe(0.0) == []


def test_what_is_put_back_while_stopping_is_not_begun_again() -> None:
    stream = core()
    (claim,) = work(stream, 0)
    stream.stop()
    stream.put_back(claim)
    assert submitted(stream.actions(0.0)) == []
    assert stream.probe(0.0) == []
    assert not stream.busy()
    stream.revoked([0, 1])
    assert stream.held == 0


# ── the end ──────────────────────────────────────────────────────────────────────────────────────


def test_after_stop_nothing_is_begun_and_what_is_in_flight_is_published() -> None:
    stream = core(in_flight=1)
    (claim,) = work(stream, 0, 1, 2)
    assert stream.stop() == [claim]
    assert stream.room == 0
    assert stream.actions(0.0) == [Pause((0, 1))]
    stream.finished(claim, outcome())
    assert publication(stream.actions(0.0)).offsets == {0: 1}
    stream.published(COMMITTED, 0.0)
    assert not stream.busy()
