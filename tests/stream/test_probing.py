"""The whole stream under a breaker that opens."""

from __future__ import annotations

from collections import Counter

import pytest

from consumer.breaker import DOUBT_S, HOPELESS_PROBES
from consumer.errors import FatalError
from consumer.suspicion import RUN
from tests.stream.hosts import World


def mixed(count: int) -> list[tuple[int, str]]:
    return [(n % 2, f"host-{n % 5}") for n in range(count)]


def test_a_topic_without_a_network_is_not_poured_into_dead_letters_and_goes_on_by_itself() -> None:
    world = World(mixed(300))
    world.down = {"*"}
    world.turn(60)
    assert world.published == []
    assert world.paused == {0, 1}
    assert "nothing comes from 5 of 5 hosts: 5 connect_failed" in world.held
    world.down = set()
    world.turn(31)
    assert world.held == ""
    assert world.outcomes(None) == 300
    assert sorted(one[:2] for one in world.published) == [(p, n) for p in (0, 1) for n in range(150)]


def test_while_it_is_open_the_topic_is_polled_and_only_single_probes_go_out() -> None:
    world = World(mixed(300))
    world.down = {"*"}
    world.turn(1)
    polls, asked = world.polls, world.asked.total()
    world.turn(120)
    assert world.polls - polls == 120 * 20
    assert world.asked.total() - asked == 7  # after 1, 3, 7, 15, 31, 61, 91 s
    assert world.health.live().ok
    assert world.core.held > 0


def test_an_event_of_a_dead_host_does_not_keep_it_open_when_the_others_are_back() -> None:
    world = World([(0, "dead")] * 12 + [(1, f"host-{n}") for n in range(300)])
    world.down = {"*"}
    world.turn(5)
    assert world.held
    world.down = {"dead"}
    world.turn(32)
    assert not world.held
    assert world.outcomes(None) == 300 - world.outcomes("connect_failed") + 12


def test_a_run_of_events_of_a_dead_host_at_the_front_of_the_queue_is_jumped_over() -> None:
    world = World([(0, "dead")] * 70 + [(0, "well")] * 200)
    world.down = {"dead"}
    world.turn(1)
    assert world.held
    world.turn(7)  # the third probe is not one of the 6 at the front, nor of the 64 that were put back
    assert not world.held
    world.turn(5)
    assert (world.outcomes(None), world.outcomes("connect_failed")) == (200, 70)


def test_a_failure_of_one_host_among_others_is_believed_after_a_moment() -> None:
    world = World([(n % 2, ("well", "dead")[n % 2]) for n in range(60)])
    world.down = {"dead"}
    world.turn(DOUBT_S - 0.1)
    assert (world.outcomes(None), world.outcomes("connect_failed")) == (30, 0)
    world.turn(0.2)
    assert world.outcomes("connect_failed") == 30
    assert not world.held


def test_a_failure_that_is_doubted_is_left_to_the_next_owner_of_its_partition() -> None:
    world = World([(0, "well"), (0, "dead"), (1, "dead")])
    world.down = {"dead"}
    world.turn(0.5)
    began = world.now
    world.loop.revoked([0])
    assert world.now - began < 0.1
    world.turn(DOUBT_S)
    assert world.published == [(0, 0, None), (1, 0, "connect_failed")]


def test_a_topic_of_failures_of_its_own_is_never_paused() -> None:
    world = World([(0, "missing")] * 500)
    world.turn(5)
    assert world.outcomes("http_status") == 500
    assert not world.held


def test_asked_to_stop_while_it_is_open_it_ends_at_once_and_commits_nothing_more() -> None:
    world = World(mixed(300))
    world.down = {"*"}
    world.turn(5)
    published, began = list(world.published), world.now
    world.loop.stop()
    asked = world.asked.total()
    while not world.loop._drained():
        world.turn(0.05)
    assert world.now - began < 1
    assert world.published == published
    assert world.asked.total() == asked


def test_what_fails_of_ours_during_the_drain_is_left_to_the_next_owner() -> None:
    world = World(mixed(300))
    world.turn(0.05)  # taken in, nothing finished yet
    world.down = {"*"}
    world.turn(0.2)
    world.loop.stop()
    while not world.loop._drained():
        world.turn(0.05)
    assert world.outcomes("connect_failed") < RUN


def test_a_partition_may_be_taken_away_and_come_back_while_it_is_open() -> None:
    world = World(mixed(300))
    world.down = {"*"}
    world.turn(5)
    first = {p: world.core.ledgers[p].next_offset or 0 for p in (0, 1)}
    world.loop.revoked([0, 1])
    assert world.core.held == world.core.in_flight == 0
    world.loop.assigned([0, 1])
    world.read = dict(first)  # where the committed offsets are
    world.turn(30)
    assert world.held
    world.down = set()
    world.turn(31)
    assert not world.held
    assert Counter(one[:2] for one in world.published) == Counter({(p, n): 1 for p in (0, 1) for n in range(150)})


def test_events_that_come_while_it_is_open_may_be_what_closes_it() -> None:
    world = World([(0, "dead")] * RUN)
    world.down = {"dead"}
    world.turn(5)
    assert world.held
    for _ in range(100):
        world.put(1, "well")
    world.turn(31)
    assert not world.held
    assert world.outcomes(None) == 100
    assert world.outcomes("connect_failed") == RUN


def test_a_host_that_is_alone_and_dead_is_waited_for_for_an_hour() -> None:
    world = World([(0, "dead")] * 300)
    world.down = {"dead"}
    world.turn(3500, step_s=1)
    assert world.held
    assert world.outcomes("connect_failed") < RUN
    world.turn(200, step_s=1)
    assert not world.held
    assert world.outcomes("connect_failed") == 300


def test_a_model_that_fails_pauses_the_topic_and_is_given_up_after_some_minutes() -> None:
    world = World(mixed(300))
    world.model_fails = True
    world.turn(60)
    assert world.published == []
    assert "the model failed for 20 events in a row" in world.held
    with pytest.raises(FatalError, match="a restart may cure it"):
        world.turn(1000, step_s=1)
    assert world.now < 60 + 31 * HOPELESS_PROBES
    assert world.published == []


def test_a_model_that_answers_again_is_used_again() -> None:
    world = World(mixed(300))
    world.model_fails = True
    world.turn(10)
    world.model_fails = False
    world.turn(31)
    assert not world.held
    assert world.outcomes(None) == 300


def test_a_process_that_stood_still_blames_no_host_for_it() -> None:
    world = World([(n % 2, "well") for n in range(300)])
    world.takes_s = {"well": 0.5}
    world.turn(0.2)
    world.freeze(12.0)
    world.turn(10)
    assert (world.outcomes(None), world.outcomes("fetch_timeout")) == (300, 0)


def test_a_dead_host_s_event_is_worked_on_once_more_after_that_and_then_believed() -> None:
    world = World([(n % 2, "well") for n in range(40)] + [(0, "dead")])
    world.takes_s = {"well": 0.5, "dead": 10.0}
    world.down = {"dead"}
    world.turn(0.2)
    world.freeze(12.0)
    world.turn(30)
    assert (world.outcomes(None), world.outcomes("fetch_timeout")) == (40, 1)
    assert world.asked["dead"] == 2
