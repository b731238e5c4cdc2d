"""The counting, on worlds of a few events: each count sees its own fault and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.tally import Counts, Event, Sample, Seen, count, silences

EVENTS = [Event(n, b"key", 0, n, readable=n != 2, at=float(n)) for n in range(5)]
OUTCOMES = [
    Seen(n, ("out", 0, place), produced_ms=1_000 * n, arrived=n + 0.1, failed=n == 3)
    for place, n in enumerate([0, 1, 3, 4])
]
LETTERS = [Seen(n, ("dead", 0, n), produced_ms=1_000 * n, arrived=n + 0.1) for n in (2, 3)]
GOOD = Counts(0, 0, 0, 0, 0, 0, silence_s=pytest.approx(0.1))  # type: ignore[arg-type] # approx stands for a float


def test_a_good_run_counts_nothing() -> None:
    samples = [Sample(3_500.0, {0: 4}), Sample(4_001.0, {0: 5})]
    assert count(EVENTS, OUTCOMES, LETTERS, live=[*OUTCOMES, *LETTERS], samples=samples) == GOOD


def test_an_event_without_an_outcome_is_lost() -> None:
    assert count(EVENTS, OUTCOMES[1:], LETTERS).bad() == {"lost": 1}


def test_a_failed_or_unreadable_event_without_a_dead_letter_is_lost() -> None:
    assert count(EVENTS, OUTCOMES, []).bad() == {"lost": 2}


def test_a_second_outcome_is_a_double_and_does_not_reorder() -> None:
    again = replace(OUTCOMES[0], place=("out", 0, 9))
    counts = count(EVENTS, [*OUTCOMES, again], LETTERS)
    assert counts.bad() == {"doubled": 1}
    assert counts.bad(may_double=True) == {}


def test_a_second_dead_letter_is_a_double_and_so_is_one_of_an_event_that_succeeded() -> None:
    assert count(EVENTS, OUTCOMES, [*LETTERS, LETTERS[0]]).bad() == {"doubled": 1}
    assert count(EVENTS, OUTCOMES, [*LETTERS, replace(LETTERS[0], number=0)]).bad() == {"doubled": 1}


def test_an_outcome_after_a_later_one_of_its_key_is_reordered() -> None:
    swapped = [replace(OUTCOMES[1], place=("out", 0, 2)), replace(OUTCOMES[2], place=("out", 0, 1))]
    assert count(EVENTS, [OUTCOMES[0], *swapped, OUTCOMES[3]], LETTERS).bad() == {"reordered": 1}


def test_another_key_s_outcomes_may_come_in_between() -> None:
    events = [replace(EVENTS[0], key=b"other"), *EVENTS[1:]]
    last = replace(OUTCOMES[0], place=("out", 0, 9))
    assert count(events, [*OUTCOMES[1:], last], LETTERS).bad() == {}


def test_an_aborted_record_that_a_reader_had_is_visible_even_if_it_is_gone_at_the_end() -> None:
    gone = Seen(1, ("out", 0, 7), 0, 0.0)
    assert count(EVENTS, OUTCOMES, LETTERS, aborted=[OUTCOMES[0].place]).bad() == {"aborted_visible": 1}
    assert count(EVENTS, OUTCOMES, LETTERS, live=[gone]).bad() == {"aborted_visible": 1}


def test_an_outcome_that_was_made_after_its_offset_was_seen_committed_is_committed_too_far() -> None:
    # At 3.5 s everything up to 4 is committed, but the last outcome is produced at 4 s.
    assert count(EVENTS, OUTCOMES, LETTERS, samples=[Sample(3_500.0, {0: 5})]).bad() == {"committed_too_far": 1}


def test_an_event_that_has_no_outcome_but_a_committed_offset_is_committed_too_far() -> None:
    counts = count(EVENTS, OUTCOMES[1:], LETTERS, samples=[Sample(9_000.0, {0: 5})])
    assert counts.bad() == {"lost": 1, "committed_too_far": 1}


def test_silence_is_the_time_that_an_event_waited_while_its_partition_gave_nothing() -> None:
    late = [replace(one, arrived=one.arrived + 7 * (one.number >= 3)) for one in OUTCOMES]
    # Event 3 was there from 3.0 and came at 10.1; event 4 came a second later.
    assert silences(EVENTS, late) == {0: pytest.approx(7.1)}
    assert silences(EVENTS, late, during=(10.5, 20.0)) == {0: pytest.approx(1.0)}
    assert silences(EVENTS, late, during=(2.0, 2.5)) == {0: 0.0}
