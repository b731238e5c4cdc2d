"""Dead names among healthy hosts, and outages where hosts come once only: the stream under a breaker that suspects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumer.breaker import DOUBT_S, GOOD_FOR_DEADLINES, LONGEST_PAUSE_S, RUN
from tests.stream.hosts import World

IN_FLIGHT = 4096
"""As the service has it."""

FORTY = [f"dead-{number}.example" for number in range(40)]


def world_of(healthy: str, takes_s: float, every_s: float, dead: int) -> Iterator[World]:
    """A second at a time: events of a healthy host as they come, and at once a thousand of forty dead ones."""
    world = World([], in_flight=IN_FLIGHT)
    world.down = set(FORTY)
    world.takes_s = dict.fromkeys(FORTY, 0.7) | {healthy: takes_s}
    put = 0
    for second in range(100):
        while put * every_s <= second:
            world.put(put % 2, healthy)
            put += 1
        if second == 20:
            for number in range(dead):
                world.put(number % 2, FORTY[number % 40])
        world.turn(1)
        yield world


@pytest.mark.parametrize(
    ("takes_s", "every_s"), [(0.1, 0.01), (4.0, 0.1), (4.0, 4.0), (0.1, 25.0)], ids=["quick", "slow", "few", "rare"]
)
def test_forty_dead_names_hold_up_no_image_of_a_healthy_host(takes_s: float, every_s: float) -> None:
    alone = [world.outcomes(None) for world in world_of("well", takes_s, every_s, dead=0)]
    among = []
    for world in world_of("well", takes_s, every_s, dead=1000):
        assert not world.held
        among.append(world.outcomes(None))
    # An image waits in the order of its partition for dead names before it, never for longer than they are doubted.
    doubt_s = 2 + int(DOUBT_S + max(every_s, takes_s))
    assert all(some >= before for some, before in zip(among[doubt_s:], alone, strict=False))
    assert world.outcomes("connect_failed") == 1000
    assert max(world.asked[name] for name in FORTY) <= 2 * 25, "each event is worked on once more at most"


def test_events_that_took_the_whole_deadline_among_healthy_ones_are_not_worked_on_once_more() -> None:
    world = World([], in_flight=IN_FLIGHT)
    world.down = set(FORTY)
    world.takes_s = dict.fromkeys(FORTY, 10.0)
    for turn in range(24):
        for number in range(250 if turn < 4 else 0):
            world.put(number % 2, FORTY[number % 40])
        world.put(0, "well")
        world.turn(0.5)
    assert world.outcomes("fetch_timeout") == 1000
    assert world.asked.total() == 1000 + 24


@pytest.mark.parametrize(
    ("how", "lasts_s"), [("refuses", 1), ("refuses", 5), ("refuses", 25), ("refuses", 90), ("hangs", 25), ("hangs", 90)]
)
def test_an_outage_costs_a_topic_whose_hosts_come_once_only_no_event(how: str, lasts_s: int) -> None:
    """Also not what was asked during an outage and gives up when it is over."""
    world = World([], in_flight=IN_FLIGHT)
    put = 0
    for second in range(200):
        gone = 10 <= second < 10 + lasts_s
        world.down = {"*"} if gone and how == "refuses" else set()
        world.hangs = gone and how == "hangs"
        for _ in range(50):
            world.takes_s[f"host-{put}.example"] = 0.3
            world.put(put % 2, f"host-{put}.example")
            put += 1
        world.turn(1, step_s=0.1)
    assert world.outcomes("connect_failed") == world.outcomes("fetch_timeout") == 0
    assert world.outcomes(None) > 5000


def suspecting(deadline_s: float = 10.0) -> World:
    """A healthy host was reached a moment ago, and since then nobody is."""
    world = World([(0, "well")], deadline_s=deadline_s)
    world.turn(0.1)
    world.down = {"*"}
    for number in range(RUN):
        world.put(1, f"host-{number}")
    world.turn(2 * DOUBT_S)
    assert (world.held, world.published) == ("", [(0, 0, None)])
    return world


def test_what_is_doubted_while_nobody_is_reached_is_not_stuck_whatever_the_deadline() -> None:
    world = suspecting(deadline_s=60.0)
    for _ in range(17):
        world.turn(10)
        assert world.health.live().ok
        assert not world.held
    world.turn(10)
    assert world.held, "nobody was reached for three deadlines"


def test_asked_to_stop_while_it_suspects_the_stream_ends_at_once_and_leaves_what_is_doubted() -> None:
    world = suspecting()
    began = world.now
    world.loop.stop()
    while not world.loop._drained():
        world.turn(0.05)
    assert world.now - began < 0.5
    assert world.published == [(0, 0, None)]


def test_what_fails_after_a_stop_while_it_suspects_is_left_too() -> None:
    world = suspecting()
    world.takes_s["slow"] = 1.0
    world.put(0, "slow")
    world.turn(0.5)
    began = world.now
    world.loop.stop()
    while not world.loop._drained():
        world.turn(0.05)
    assert world.now - began < 1.0
    assert world.published == [(0, 0, None)]


@pytest.mark.parametrize("how", ["revoked", "lost"])
def test_a_partition_that_is_taken_away_takes_along_what_is_doubted_of_it(how: str) -> None:
    world = suspecting()
    getattr(world.loop, how)([1])
    assert world.loop._probing.doubted == 0
    world.loop.assigned([1])
    world.read[1] = 0
    world.down = set()
    world.turn(1)
    assert [one for one in world.published if one[0] == 1] == [(1, number, None) for number in range(RUN)]


def paused_by_dead_names(*hosts: str) -> World:
    """These were reached, but not lately, and 200 events of dead ones wait, of which single ones are asked."""
    world = World([(0, host) for host in hosts], in_flight=IN_FLIGHT)
    world.turn(1)
    world.turn(GOOD_FOR_DEADLINES * 10)
    world.down = set(FORTY)
    for number in range(200):
        world.put(1, FORTY[number % 40])
    world.turn(300)
    assert world.held
    return world


def test_a_host_that_was_reached_before_is_asked_before_others_when_intake_is_paused() -> None:
    """One that comes once an hour would else wait until many dead ones had been asked in vain."""
    world = paused_by_dead_names("well")
    world.put(0, "well")
    world.turn(LONGEST_PAUSE_S + 0.1)
    assert not world.held
    assert world.outcomes(None) == 2


def test_those_that_were_reached_before_are_asked_first_but_once() -> None:
    known = [f"host-{number}" for number in range(3)]
    world = paused_by_dead_names(*known)
    world.down |= set(known)
    before = world.asked.copy()
    for host in known:
        world.put(0, host)
        world.put(0, host)
    world.turn(3 * LONGEST_PAUSE_S + 0.2)
    assert world.asked - before == dict.fromkeys(known, 1)
