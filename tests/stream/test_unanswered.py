"""Readiness while the brokers take no outcomes."""

from __future__ import annotations

import pytest

from consumer.health import Health
from consumer.stream.unanswered import UNANSWERED_S, Unanswered


@pytest.fixture
def health() -> Health:
    made = Health(60.0)
    made.running()
    return made


def test_outcomes_that_wait_for_long_hold_readiness_until_one_is_committed(health: Health) -> None:
    unanswered = Unanswered(health)
    unanswered.look(0.0, waiting=True, in_vain=False)
    unanswered.look(UNANSWERED_S, waiting=True, in_vain=False)
    assert health.ready().ok
    unanswered.look(UNANSWERED_S + 1, waiting=True, in_vain=False)
    unanswered.look(UNANSWERED_S + 2, waiting=True, in_vain=False)
    (reason,) = health.ready().reasons
    assert reason.name == "brokers"
    assert "the brokers have committed none for more than 10 s" in reason.text
    unanswered.committed()
    assert health.ready().ok
    unanswered.look(UNANSWERED_S + 3, waiting=True, in_vain=False)
    assert health.ready().ok


def test_it_says_why_as_it_was_when_it_was_told_first(health: Health) -> None:
    unanswered = Unanswered(health)
    for second in range(0, 30, 5):
        unanswered.look(float(second), waiting=True, in_vain=False)
        unanswered.failed(f"partition {second} of out")
    (reason,) = health.ready().reasons
    assert reason.text.endswith("none for more than 10 s (partition 10 of out)")
    unanswered.committed()
    unanswered.look(30.0, waiting=True, in_vain=False)
    unanswered.look(50.0, waiting=True, in_vain=False)
    (reason,) = health.ready().reasons
    assert reason.text.endswith("none for more than 10 s")


def test_a_stream_that_always_has_outcomes_to_commit_and_commits_them_is_ready(health: Health) -> None:
    unanswered = Unanswered(health)
    for second in range(100):
        unanswered.look(float(second), waiting=True, in_vain=False)
        unanswered.committed()
    assert health.ready().ok


def test_outcomes_that_are_somebody_elses_now_hold_nothing(health: Health) -> None:
    unanswered = Unanswered(health)
    unanswered.look(0.0, waiting=True, in_vain=False)
    unanswered.look(UNANSWERED_S + 1, waiting=True, in_vain=False)
    assert not health.ready().ok
    unanswered.look(UNANSWERED_S + 2, waiting=False, in_vain=False)
    assert health.ready().ok


def test_brokers_that_answer_no_question_hold_readiness_also_where_no_outcome_waits(health: Health) -> None:
    unanswered = Unanswered(health)
    unanswered.look(0.0, waiting=False, in_vain=True)
    (reason,) = health.ready().reasons
    assert (reason.name, reason.text) == ("brokers", "the brokers do not answer")
    unanswered.look(1.0, waiting=False, in_vain=False)
    assert health.ready().ok


def test_who_gets_outcomes_through_is_ready_whatever_questions_come_to(health: Health) -> None:
    unanswered = Unanswered(health)
    for second in range(100):
        unanswered.look(float(second), waiting=False, in_vain=True)
        unanswered.committed()
        unanswered.look(second + 0.5, waiting=False, in_vain=True)
        assert health.ready().ok
