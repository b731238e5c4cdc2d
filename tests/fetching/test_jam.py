"""What is waited for our own sake is held against nobody: images that wait for decoders or for the model."""

from __future__ import annotations

import pytest

from consumer.fetching.lines import LOOK_S, MOST_SPARED
from consumer.fetching.queues import Ticket
from tests.fetching.lines_world import DEADLINE_S, World, host, refused


@pytest.fixture
def world() -> World:
    return World()


def jam(world: World) -> list[Ticket[int]]:
    """Hosts that were new have all the threads that such hosts may have: their images wait for the model."""
    waiting = [ticket for number in range(3) for ticket in world.arrive(-1, name=f"first-{number}")]
    assert world.take() == waiting
    for ticket in waiting:
        world.lines.answered(ticket, world.now, None)
    return waiting


def test_while_images_hold_the_threads_and_wait_for_the_model_nobody_in_a_line_times_out(world: World) -> None:
    waiting = jam(world)
    world.arrive(1, 2, name="new")
    world.now += 2 * DEADLINE_S
    assert world.wake() == []
    world.lines.given_back(waiting[0], world.now)
    first = world.lines.take(world.now)  # on the thread that is free now
    assert first is not None
    assert (first.job, first.begun) == (1, world.now)
    world.now += DEADLINE_S - 0.1  # in which the host is asked: that is waited for, and not the model
    assert world.wake() == []
    world.now += 0.1
    assert world.wake() == [2]


def test_what_a_host_takes_that_is_asked_at_last_counts_again(world: World) -> None:
    waiting = jam(world)
    world.arrive(1, 2, name="new")
    world.now += DEADLINE_S
    world.lines.given_back(waiting[0], world.now)
    first = world.lines.take(world.now)
    assert first is not None
    world.now += 4
    world.lines.answered(first, world.now, refused())
    world.lines.given_back(first, world.now)
    second = world.lines.take(world.now)
    assert second is not None
    assert (second.job, second.begun) == (2, world.now - 4)


def test_nor_who_has_begun_and_goes_on_to_another_host(world: World) -> None:
    (moved,) = world.arrive(1, name="a")
    world.take()
    world.now += 4
    world.answer(moved)
    waiting = jam(world)
    world.lines.join(moved, host("b"), world.now)
    world.now += 2 * DEADLINE_S
    assert world.wake() == []
    world.lines.given_back(waiting[0], world.now)
    assert world.take() == [moved]
    assert moved.begun == world.now - 4


def test_a_jam_spares_nobody_for_longer_than_three_deadlines(world: World) -> None:
    jam(world)
    world.arrive(1, name="new")
    end = world.now + (1 + MOST_SPARED) * DEADLINE_S
    looks = 0
    while not (over := world.wake()):
        looks += 1
        world.now += world.lines.due(world.now)
    assert over == [1]
    assert world.now == pytest.approx(end, abs=LOOK_S)
    assert looks < 10  # now and then, and not all the time


def test_nor_in_all_its_lines_together(world: World) -> None:
    world.lines.given_back(jam(world)[0], world.now)  # two are enough for a jam, and leave a turn
    (event,) = world.arrive(1, name="first")
    began = world.now
    for number in range(4):
        world.now += 0.9 * DEADLINE_S
        assert world.wake() == []
        assert world.lines.take(world.now) is event
        world.lines.answered(event, world.now, refused())
        world.lines.given_back(event, world.now)
        world.lines.join(event, host(f"hop-{number}"), world.now)
    world.now = began + (1 + MOST_SPARED) * DEADLINE_S
    assert world.wake() == [1]


def test_threads_that_wait_for_hosts_spare_nobody(world: World) -> None:
    for number in range(4):
        world.arrive(-1, name=f"slow-{number}")
    assert len(world.take()) == 3
    world.arrive(1, name="new")
    world.now += DEADLINE_S
    assert 1 in world.wake()


def test_nor_do_the_images_of_quick_hosts_who_have_threads_of_their_own(world: World) -> None:
    world.arrive(-1, name="good")
    world.answer(world.take()[0])
    good = world.arrive(-1, -1, name="good")
    assert world.take() == good
    for ticket in good:
        world.lines.answered(ticket, world.now, None)
    world.arrive(1, 2, 3, name="new")
    assert len(world.take()) == 2
    world.now += DEADLINE_S
    assert world.wake() == [3]
