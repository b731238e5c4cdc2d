"""Dead names among healthy hosts, and outages where hosts come once only: the stream under a breaker that suspects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumer.breaker import DOUBT_S, FIRST_PAUSE_S
from consumer.suspicion import ASK_AFTER_S, RUN, WITNESSES
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
    ("takes_s", "every_s"),
    [(0.1, 0.01), (4.0, 0.1), (4.0, 4.0), (0.1, 25.0), (0.1, 90.0)],
    ids=["quick", "slow", "few", "rare", "hardly any"],
)
def test_forty_dead_names_hold_up_no_image_of_a_healthy_host(takes_s: float, every_s: float) -> None:
    alone = [world.outcomes(None) for world in world_of("well", takes_s, every_s, dead=0)]
    among = []
    for world in world_of("well", takes_s, every_s, dead=1000):
        assert not world.held
        among.append(world.outcomes(None))
    # An image waits in the order of its partition for dead names before it: they are worked on twice, and doubted.
    twice_s = int(2 * (ASK_AFTER_S + DOUBT_S + 0.7)) + 1
    assert all(some >= before for some, before in zip(among[twice_s:], alone, strict=False))
    assert world.outcomes("connect_failed") == 1000
    assert max(world.asked[name] for name in FORTY) <= 2 * 25, "each event is worked on once more at most"
    assert world.questions["well"] <= 5
    assert world.questions.total() == world.questions["well"], "who was never reached knows nothing"


def test_when_only_dead_names_are_left_they_are_believed_and_nobody_waits_for_somebody_else_to_come() -> None:
    """A batch of images of many shops: one of four is gone, and takes longer than the others."""
    world = World([(n % 2, f"shop-{n}.example") for n in range(400)], in_flight=IN_FLIGHT)
    world.down = {f"shop-{n}.example" for n in range(0, 400, 4)}
    world.takes_s = dict.fromkeys(world.down, 5.0)
    world.turn(5 + ASK_AFTER_S + 5 + ASK_AFTER_S + DOUBT_S + 1)
    assert not world.held
    assert (world.outcomes(None), world.outcomes("connect_failed")) == (300, 100)


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
    ("how", "lasts_s"),
    [("refuses", lasts_s) for lasts_s in (1, 5, 14, 25, 90)] + [("hangs", lasts_s) for lasts_s in (14, 25, 90)],
)
def test_an_outage_costs_a_topic_whose_hosts_come_once_only_no_event(how: str, lasts_s: int) -> None:
    """Also not what was asked during an outage and gives up when it is over; unless that is so short that nobody has
    given up before, and thus nobody suspects anything."""
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
    """A healthy host was reached a moment ago, since then nobody is, and whoever is asked does not answer."""
    world = World([(0, "well")], deadline_s=deadline_s)
    world.turn(0.1)
    world.down = {"*"}
    for number in range(RUN):
        world.put(1, f"host-{number}")
    world.turn(0.1)
    world.hangs = True
    world.turn(2 * DOUBT_S)
    assert (world.held, world.published) == ("", [(0, 0, None)])
    assert world.questions == {"well": 1}
    return world


def test_when_none_who_was_reached_before_can_be_reached_intake_is_paused() -> None:
    world = suspecting()
    world.turn(10 + ASK_AFTER_S - 2 * DOUBT_S)
    assert "nothing comes from 21 of 21 hosts" in world.held
    assert world.published == [(0, 0, None)]


def test_eight_domains_that_were_reached_last_and_go_dark_pause_intake_for_a_second() -> None:
    dark = [f"mean-{number}.example" for number in range(WITNESSES)]
    world = World([(0, "well"), *((0, host) for host in dark)], in_flight=IN_FLIGHT)
    world.turn(1)
    world.down = {*FORTY, *dark}
    for number in range(200):
        world.put(1, FORTY[number % 40])
    world.turn(ASK_AFTER_S + 0.2)
    assert world.held
    assert world.questions == dict.fromkeys(dark, 1)
    world.turn(FIRST_PAUSE_S)
    assert not world.held
    assert world.questions["well"] == 1


def test_while_intake_is_paused_hosts_that_were_reached_before_are_asked_before_each_probe() -> None:
    """One of a thousand dead names that wait would tell less."""
    world = World([(0, "well"), (0, "good")])
    world.turn(1)
    world.down = {"*"}
    for number in range(1000):
        world.put(1, FORTY[number % 40])
    world.turn(10)
    assert world.held
    world.down = set(FORTY)
    while world.held:
        world.turn(0.1)
    assert world.now < 18, "probes come after 1, 3, 7, 15 s"
    assert world.questions == {"well": 5, "good": 5}, "while it suspected, and four times since"


def test_no_event_is_asked_before_the_hosts_have_answered() -> None:
    world = suspecting()
    while not world.held:
        world.turn(1)
    before = world.asked.total()
    world.turn(10)
    assert world.questions == {"well": 2}
    assert world.asked.total() == before
    world.turn(2)
    assert world.asked.total() == before + 1


def test_what_is_doubted_while_hosts_are_asked_is_not_stuck_whatever_the_deadline() -> None:
    world = suspecting(deadline_s=100.0)
    for _ in range(9):
        world.turn(10)
        assert world.health.live().ok
        assert not world.held
    world.turn(10)
    assert world.held


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
    world.hangs = False
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
    world.down, world.hangs = set(), False
    world.turn(1)
    assert [one for one in world.published if one[0] == 1] == [(1, number, None) for number in range(RUN)]
