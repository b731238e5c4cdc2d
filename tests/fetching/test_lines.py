"""Whose turn it is: hosts that are well, ailing and down, in a time that the test makes up."""

from __future__ import annotations

import gc
import weakref

import pytest

from consumer.errors import ConnectFailed, DnsFailed, FetchError, FetchTimeout, HttpStatus, UrlBlocked
from consumer.fetching.known import MOST_REMEMBERED, MOST_STRANGERS
from consumer.fetching.lines import Lines
from consumer.fetching.queues import Ticket
from consumer.fetching.standing import DOWN_PAUSE_S
from tests.fetching.lines_world import DEADLINE_S, World, host, refused


@pytest.fixture
def world() -> World:
    return World()


# ── turns ────────────────────────────────────────────────────────────────────────────────────────


def test_a_host_gets_no_more_than_its_places_and_the_next_in_line_when_one_is_free(world: World) -> None:
    world.arrive(1, 2, 3, 4)
    first, second = world.take()
    assert (first.job, second.job) == (1, 2)
    world.answer(first)
    assert world.jobs() == [3]


def test_hosts_take_turns_however_long_their_lines_are() -> None:
    world = World(per_host=1, threads=100)
    for job in range(6):
        world.arrive(job, name="abb"[job % 3])
    order = []
    while taken := world.take():
        order += [ticket.job for ticket in taken]
        for ticket in taken:
            world.answer(ticket)
    assert order == [0, 1, 3, 2, 4, 5]


def test_hosts_without_trust_leave_a_quarter_of_the_threads_to_those_that_have_answered(world: World) -> None:
    """A topic full of names that lead nowhere, each of them a new one."""
    world.arrive(0, name="known")
    world.answer(world.take()[0])
    for job in range(10, 20):
        world.arrive(job, name=f"new-{job}")
    assert world.jobs() == [10, 11, 12]
    world.arrive(1, 2, name="known")
    assert world.jobs() == [1, 2]


@pytest.mark.parametrize("domains", [["evil.example"], ["evil.example", "bad.example", "worse.example"]])
def test_hundreds_of_dead_names_leave_a_new_host_its_turn_at_once_however_long_they_hold_their_threads(
    domains: list[str],
) -> None:
    world = World(threads=32)
    for number in range(300):
        world.arrive(number, name=f"dead-{number}.{domains[number % len(domains)]}")
    held = world.take()
    assert len(held) == 24 * len(domains) // (len(domains) + 1)
    world.arrive(1000, name="shop.example")
    assert world.jobs() == [1000]


def test_names_of_one_domain_take_turns_with_others_and_not_each_name() -> None:
    world = World(threads=1)
    for number in range(10):
        world.arrive(number, name=f"dead-{number}.evil.example")
    for number in range(10, 13):
        world.arrive(number, name=f"shop-{number}.example")
    order = []
    for _ in range(6):
        ticket = world.lines.take(world.now)
        assert ticket is not None
        order.append(ticket.job)
        world.answer(ticket, refused())
    assert order == [0, 10, 11, 12, 1, 2]


def test_trusted_hosts_do_not_keep_the_others_from_their_turn(world: World) -> None:
    world.arrive(0, name="known")
    world.answer(world.take()[0])
    world.arrive(1, 2, 3, 4, name="known")
    world.arrive(10, name="new")
    ticket = world.lines.take(world.now)
    assert ticket is not None
    assert {ticket.job, world.jobs()[0]} == {1, 10}


def test_urgent_ones_have_threads_of_their_own_and_the_last_place_of_a_host(world: World) -> None:
    world.arrive(1, 2, 3)
    world.arrive(100, urgent=True)
    assert world.jobs() == [1]
    assert world.jobs(urgent=True) == [100]
    assert world.jobs() == []


def test_a_sleeper_holds_no_place_and_comes_back_before_those_that_have_not_begun() -> None:
    world = World(per_host=1)
    world.arrive(1, 2, 3)
    (first,) = world.take()
    world.answer(first, HttpStatus(503))
    world.lines.join(first, host(), world.now, due=world.now + 1)
    (second,) = world.take()
    assert world.lines.due(world.now) == 1.0
    world.now += 1
    assert world.wake() == []
    world.answer(second)
    assert world.jobs() == [1]


def test_a_turn_that_was_not_used_goes_to_the_next() -> None:
    world = World(per_host=1)
    world.arrive(1, 2)
    (cancelled,) = world.take()
    world.lines.given_back(cancelled, world.now)
    assert world.jobs() == [2]


def test_a_host_whose_images_take_long_to_decode_holds_twice_its_places_and_no_more() -> None:
    """A neighbour has its turn, though no decoding ends; and with one that does, the host goes on."""
    world = World(per_host=2, threads=100)
    world.arrive(*range(10), name="large")
    decoding = []
    while taken := world.take():
        for ticket in taken:
            world.lines.answered(ticket, world.now, None)
        decoding += taken
    assert len(decoding) == 4
    world.arrive(100, name="small")
    assert world.jobs() == [100]
    world.lines.given_back(decoding[0], world.now)
    assert world.jobs() == [4]


def test_many_names_of_one_machine_leave_a_quarter_of_the_threads_to_others() -> None:
    world = World(per_host=2, threads=8)
    names = [f"a{number}.evil" for number in range(10)]
    for name in names:
        world.arrive(0, name=name)
        (ticket,) = world.take()
        world.lines.answered(ticket, world.now, None, "192.0.2.1")
        world.lines.given_back(ticket, world.now)
    for name in names:
        world.arrive(1, 2, name=name)
    held = world.take()
    assert len(held) == 6
    world.lines.answered(held[0], world.now, None, "192.0.2.1")
    assert world.take() == [], "its thread decodes"
    world.lines.given_back(held[0], world.now)
    assert len(world.take()) == 1


def test_hosts_that_answer_slowly_leave_a_quarter_of_the_threads_to_those_that_are_quick() -> None:
    world = World(per_host=2, threads=8)
    for number in range(10):
        world.arrive(0, name=f"slow-{number}")
        (ticket,) = world.take()
        world.answer(ticket, after_s=0.2 * DEADLINE_S)
    for number in range(10):
        world.arrive(1, 2, name=f"slow-{number}")
    assert len(world.take()) == 6
    world.arrive(7, name="new")
    assert world.take() == []


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


def test_waiting_for_a_host_that_is_well_costs_nobody_the_deadline(world: World) -> None:
    world.arrive(*range(1000))
    served = []
    while taken := world.take():
        world.now += 0.2
        assert world.wake() == []
        for ticket in taken:
            assert ticket.begun == world.now - 0.2
            world.answer(ticket)
            served.append(ticket.job)
    assert served == list(range(1000))
    assert world.now == pytest.approx(200.0)


def test_in_the_line_of_an_ailing_host_the_clock_has_run_since_the_event_came(world: World) -> None:
    world.spoil(error=FetchTimeout("slow"), after_s=0.6 * DEADLINE_S)
    world.arrive(1, 2)
    assert world.jobs() == [2]
    world.now += DEADLINE_S - 0.1
    assert world.wake() == []
    world.now += 0.1
    assert world.wake() == [1]


def test_who_is_overdue_already_when_a_host_begins_to_ail_fails_at_once() -> None:
    world = World(per_host=1)
    world.arrive(0)
    world.answer(world.take()[0])
    world.arrive(1, 2, 3)
    (slow,) = world.take()
    world.now += DEADLINE_S
    assert world.wake() == []
    world.answer(slow, FetchTimeout("slow"))
    assert world.wake() == [2, 3]


def test_one_slow_answer_among_good_ones_costs_nobody_anything(world: World) -> None:
    world.arrive(*range(100))
    slow, quick = world.take()
    for _ in range(20):
        world.answer(quick, after_s=1.0)
        (quick,) = world.take()
    world.answer(slow, FetchTimeout("slow"))
    assert world.wake() == []
    assert len(world.take()) == 1


def test_an_ailing_host_is_asked_one_at_a_time_the_newest_first_with_what_is_left_of_its_time(world: World) -> None:
    world.arrive(7, 8)
    world.spoil(error=FetchTimeout("slow"), after_s=0.6 * DEADLINE_S)
    world.wake()
    (old,) = world.arrive(1)
    world.now += 1
    (new,) = world.arrive(2)
    arrived = world.now
    world.now += 1
    assert world.take() == [new]
    assert new.begun == arrived
    assert old.begun is None


def test_one_good_answer_makes_a_host_well_at_once(world: World) -> None:
    world.spoil(error=FetchTimeout("slow"), after_s=0.6 * DEADLINE_S)
    world.arrive(1, 2, 3)
    (probe,) = world.take()
    world.answer(probe, HttpStatus(404))
    assert world.jobs() == [1, 2]


def test_who_has_begun_stands_in_no_line_for_longer_than_its_deadline() -> None:
    world = World(per_host=1)
    (moved,) = world.arrive(1, name="a")
    world.take()
    world.arrive(2, name="b")
    world.take()
    world.now += 4
    world.answer(moved)
    world.lines.join(moved, host("b"), world.now)  # redirected to a host whose only place is taken
    world.now += 5.9
    assert world.wake() == []
    world.now += 0.1
    assert world.wake() == [1]


# ── hosts that are down ──────────────────────────────────────────────────────────────────────────


def test_the_failure_at_a_host_that_is_down_holds_for_all_who_stood_in_line(world: World) -> None:
    world.spoil()
    world.now += DOWN_PAUSE_S
    world.wake()
    earlier = world.arrive(1, 2, 3)
    (probe,) = world.take()
    world.now += 1
    world.arrive(4)
    assert world.lost(probe, after_s=1) == {1, 2}
    assert probe is earlier[2]
    world.now += DOWN_PAUSE_S
    assert world.wake() == []
    assert world.jobs() == [4]


def test_a_failure_at_a_host_that_is_not_known_to_be_down_is_nobody_elses(world: World) -> None:
    world.arrive(1, 2, 3)
    first, _ = world.take()
    assert world.lost(first) == set()


def test_a_host_that_is_down_is_not_hammered(world: World) -> None:
    world.spoil()
    world.arrive(1)
    assert world.take() == []
    assert world.lines.due(world.now) == pytest.approx(DOWN_PAUSE_S)
    world.now += DOWN_PAUSE_S
    world.wake()
    assert world.jobs() == [1]


@pytest.mark.parametrize(
    ("error", "took_s"),
    [
        (HttpStatus(500), 0.1),
        (ConnectFailed("cut"), 0.1),  # a connection was made
        (FetchTimeout("cut short by what came before"), 1.0),
        (UrlBlocked("no"), 0.1),
        (DnsFailed("no such name", retriable=False), 0.1),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_what_is_not_the_hosts_fault_or_costs_no_time_makes_no_host_ail(
    world: World, error: FetchError, took_s: float
) -> None:
    error.reached = not isinstance(error, UrlBlocked | DnsFailed)
    world.spoil(error=error, after_s=took_s)
    world.arrive(1, 2, 3)
    assert len(world.take()) == 2


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


def test_hosts_that_nobody_wants_are_forgotten_in_the_end(world: World) -> None:
    world.spoil("spoilt")
    for number in range(MOST_STRANGERS):
        world.spoil(f"host-{number}")
    assert len(world.lines._hosts) == MOST_STRANGERS
    (ticket,) = world.arrive(1, name="spoilt")
    assert world.take() == [ticket], "it does not rest any more"
    world.answer(ticket)
    for number in range(MOST_REMEMBERED + 1):
        world.arrive(number, name=f"good-{number}")
        world.answer(world.take()[0])
    assert len(world.lines._hosts) == MOST_STRANGERS + MOST_REMEMBERED


def test_a_flood_of_made_up_names_makes_nobody_forget_a_good_host(world: World) -> None:
    world.arrive(0, name="good")
    world.answer(world.take()[0])
    for number in range(MOST_STRANGERS + MOST_REMEMBERED):
        world.arrive(1, name=f"made-up-{number}")
        world.answer(world.take()[0], refused())
    (ticket,) = world.arrive(2, name="good")
    assert world.take() == [ticket]
    assert ticket.host is not None
    assert ticket.host.standing.trusted


def test_nothing_holds_on_to_a_ticket_that_is_through() -> None:
    """It may hold an image."""

    class Image:
        pass

    lines: Lines[Image] = Lines(2, 4, 2, DEADLINE_S)
    ticket = Ticket(Image(), 0.0)
    image = weakref.ref(ticket.job)
    lines.join(ticket, host(), 0.0)
    lines.take(0.0)
    lines.answered(ticket, 0.0, HttpStatus(503))
    lines.join(ticket, host(), 0.0, due=1.0)
    lines.wake(1.0)
    lines.take(1.0)
    lines.answered(ticket, 1.0, None)
    del ticket
    gc.collect()
    assert image() is None


def test_everybody_can_be_sent_away(world: World) -> None:
    (asleep,) = world.arrive(1, name="b")
    world.take()
    world.answer(asleep, HttpStatus(503))
    world.lines.join(asleep, host("b"), world.now, due=world.now + 1)
    world.arrive(2, 3, 4)
    world.take()
    assert sorted(ticket.job for ticket in world.lines.clear()) == [1, 4]
    assert world.take() == []
    assert world.wake() == []


def test_a_host_that_is_forgotten_while_it_rests_stays_forgotten(world: World) -> None:
    world.spoil()
    for number in range(2 * MOST_STRANGERS):
        if number == MOST_STRANGERS:
            world.now += DOWN_PAUSE_S
            world.wake()
        world.arrive(number, name=f"other-{number}")
        world.answer(world.take()[0], refused())
    world.arrive(2)
    assert world.jobs() == [2]
