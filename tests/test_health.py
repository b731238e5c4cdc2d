"""Stuck is what does not move; not what waits."""

from __future__ import annotations

import json
import logging
import threading

import pytest

from consumer.health import STARTING_LIMIT_S, Health, dump_stacks
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(60, clock=clock)


@pytest.fixture
def running(health: Health) -> Health:
    health.running()
    return health


def turn(health: Health, clock: Clock, seconds: int, in_flight: int = 0) -> None:
    """The loop turns once a second with the same work."""
    for _ in range(seconds):
        clock.now += 1
        health.beat(in_flight)


def names(health: Health) -> list[str]:
    return [reason.name for reason in health.ready().reasons]


# ── the start ────────────────────────────────────────────────────────────────────────────────────


def test_while_the_model_loads_it_is_alive_and_says_what_it_does(health: Health, clock: Clock) -> None:
    health.starting("loading the model")
    clock.now += 120
    assert health.live().ok
    assert not health.ready().ok
    assert health.ready().reason == "loading the model (for 120 s)"


def test_a_load_that_never_ends_is_stuck(health: Health, clock: Clock) -> None:
    health.starting("loading the model")
    clock.now += STARTING_LIMIT_S + 1
    assert health.live().reason == "the start does not get past: loading the model (for 901 s)"
    assert names(health) == ["start_stuck"]


def test_each_step_of_the_start_has_its_own_time(health: Health, clock: Clock) -> None:
    health.starting("loading the model")
    clock.now += STARTING_LIMIT_S - 1
    health.starting("looking at the broker")
    clock.now += STARTING_LIMIT_S - 1
    assert health.live().ok


def test_a_running_service_is_alive_and_ready(running: Health) -> None:
    assert running.live().ok
    assert running.ready().ok
    assert running.ready().reason == "ok"


# ── alive ────────────────────────────────────────────────────────────────────────────────────────


def test_a_loop_that_does_not_turn_is_stuck(running: Health, clock: Clock) -> None:
    clock.now += 60
    assert running.live().ok
    clock.now += 1
    assert running.live().reason == "the stream loop does not turn (for 61 s)"


def test_a_loop_that_turns_again_is_alive_again(running: Health, clock: Clock) -> None:
    clock.now += 100
    assert not running.live().ok
    running.beat()
    assert running.live().ok


def test_a_quiet_topic_is_not_stuck(running: Health, clock: Clock) -> None:
    turn(running, clock, 3600)
    assert running.live().ok


def test_work_that_never_finishes_is_stuck_although_the_loop_turns(running: Health, clock: Clock) -> None:
    turn(running, clock, 61, in_flight=7)
    assert running.live().ok
    turn(running, clock, 1, in_flight=7)
    assert running.live().reason == "none of the 7 events in flight gets finished (for 61 s)"
    assert names(running) == ["work_stuck"]


def test_work_of_which_some_finishes_now_and_then_is_not_stuck(running: Health, clock: Clock) -> None:
    for _ in range(10):
        turn(running, clock, 50, in_flight=7)
        assert running.live().ok
        running.progressed()


def test_a_call_of_the_model_that_hangs_is_stuck_although_others_go_on(running: Health, clock: Clock) -> None:
    began = clock.now
    running.watch_model(lambda: clock.now - began)
    for _ in range(2):
        turn(running, clock, 30, in_flight=2)
        running.progressed()
        assert running.live().ok
    turn(running, clock, 1, in_flight=2)
    assert running.live().reason == "a call of the model does not end (for 61 s)"
    assert names(running) == ["work_stuck"]


def test_work_counts_from_when_it_was_taken_in_not_from_the_last_that_finished(running: Health, clock: Clock) -> None:
    turn(running, clock, 500)
    turn(running, clock, 30, in_flight=1)
    assert running.live().ok


def test_an_old_finish_is_no_excuse_for_ever(running: Health, clock: Clock) -> None:
    turn(running, clock, 30, in_flight=7)
    running.progressed()
    turn(running, clock, 60, in_flight=6)
    assert running.live().ok
    turn(running, clock, 1, in_flight=6)
    assert not running.live().ok


# ── ready ────────────────────────────────────────────────────────────────────────────────────────


def test_a_hold_makes_it_not_ready_but_leaves_it_alive(running: Health, clock: Clock) -> None:
    running.hold("group", "the consumer group is not joined")
    clock.now += 5
    assert running.live().ok
    assert running.ready().reason == "the consumer group is not joined (for 5 s)"
    running.release("group")
    assert running.ready().ok


def test_a_hold_that_is_repeated_keeps_its_age_and_takes_the_new_text(running: Health, clock: Clock) -> None:
    running.hold("breaker", "8 of 10 fetches fail")
    clock.now += 5
    running.beat()
    running.hold("breaker", "10 of 10 fetches fail")
    (reason,) = running.ready().reasons
    assert (reason.name, reason.text, reason.for_s) == ("breaker", "10 of 10 fetches fail", 5)


def test_all_reasons_are_told_at_once(running: Health, clock: Clock) -> None:
    running.hold("group", "the consumer group is not joined")
    running.hold("breaker", "the network is down")
    clock.now += 61
    assert names(running) == ["loop_stuck", "group", "breaker"]


def test_releasing_what_is_not_held_does_nothing(running: Health) -> None:
    running.release("group")
    assert running.ready().ok


def test_whoever_waits_for_it_is_told_once_that_it_is_ready(health: Health) -> None:
    told: list[str] = []
    health.when_ready(lambda: told.append("ready"))
    health.hold("group", "the group is not joined yet")
    health.release("breaker")
    health.running()
    assert told == []
    health.release("group")
    health.hold("group", "this member fell out of the group and joins it again")
    health.release("group")
    assert told == ["ready"]


def test_a_stopping_service_is_alive_and_not_ready(running: Health, clock: Clock) -> None:
    running.stopping()
    clock.now += 100
    assert running.live().ok
    assert names(running) == ["stopping"]


# ── form ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_verdict_is_told_as_json(running: Health, clock: Clock) -> None:
    running.hold("group", "the consumer group is not joined")
    clock.now += 1.26
    assert json.loads(json.dumps(running.ready().to_json())) == {
        "ok": False,
        "phase": "running",
        "reason": "the consumer group is not joined (for 1 s)",
        "reasons": [{"name": "group", "text": "the consumer group is not joined", "for_s": 1.3}],
    }


def test_the_stacks_of_all_threads_are_one_record(caplog: pytest.LogCaptureFixture) -> None:
    here = threading.Event()
    go = threading.Event()

    def standing_still() -> None:
        here.set()
        go.wait()

    thread = threading.Thread(target=standing_still, name="the-stuck-one")
    thread.start()
    here.wait()
    with caplog.at_level(logging.CRITICAL):
        dump_stacks(logging.getLogger("watchdog"), "stuck")
    go.set()
    thread.join()
    (record,) = caplog.records
    text = record.getMessage()
    assert text.startswith("stuck; all threads:\n")
    assert "thread the-stuck-one:" in text
    assert "in standing_still" in text
    assert "thread MainThread:" in text
