"""Whose image is next: rules by themselves, and a world of machines that mean harm, in simulated time."""

from __future__ import annotations

import heapq
from collections import Counter

import pytest

from consumer.decoding.standings import MOST_MACHINES, SLOW_S, WEIGHT, Standings
from consumer.decoding.turns import Turns

PLACES = 4
HONEST = -1


@pytest.fixture
def standings() -> Standings:
    made = Standings()
    for quick in ("quick", "quick too"):
        made.took(quick, 0.005, 0.0)
    for number in range(9):
        made.took(f"slow {number}", 1.0 + number / 10, 0.0)
    return made


def let_in(turns: Turns[str], now: float = 0.0) -> list[str]:
    found = []
    while (ticket := turns.next(now)) is not None:
        found.append(ticket)
    return found


def asked(turns: Turns[str], *machines: str) -> list[str]:
    """Those of these that have a place at once; a ticket is its machine's name."""
    for machine in machines:
        turns.ask(machine, machine)
    return let_in(turns)


def test_a_machine_is_slow_for_sixty_times_what_its_slow_images_took() -> None:
    standings = Standings()
    standings.took("one", SLOW_S / 2, 10.0)
    assert standings.slow_for_s("one", 10.0) == 0
    standings.took("one", 1.0, 20.0)
    standings.took("one", 0.5, 30.0)
    standings.took("one", 0.001, 40.0)
    assert standings.slow_for_s("one", 40.0) == pytest.approx(1.5 * WEIGHT - 20)
    assert standings.slow_for_s("one", 20.0 + 1.5 * WEIGHT) == 0


def test_the_memory_of_machines_is_bounded() -> None:
    standings = Standings()
    standings.took("first", 0.001, 0.0)
    for number in range(MOST_MACHINES):
        standings.took(number, 0.001, 0.0)
    assert not standings.is_known("first")
    assert standings.is_known(0)


def test_one_place_is_kept_for_quick_machines(standings: Standings) -> None:
    turns: Turns[str] = Turns(PLACES, standings)
    assert len(asked(turns, *[f"slow {number}" for number in range(5)], *[f"new {number}" for number in range(5)])) == 3
    assert asked(turns, "quick", "quick") == ["quick"]


def test_a_place_that_is_freed_goes_to_quick_machines_as_long_as_others_hold_one(standings: Standings) -> None:
    turns: Turns[str] = Turns(PLACES, standings)
    asked(turns, "slow 0", "slow 1", "slow 2", "quick")
    assert asked(turns, "slow 3", "quick", "quick too", "quick") == []
    turns.give_back("slow 0")
    assert let_in(turns) == ["quick"]
    turns.give_back("slow 1")
    assert let_in(turns) == ["quick too"]
    turns.give_back("slow 2")
    assert let_in(turns) == ["slow 3"]  # else they would wait as long as quick ones come


def test_among_others_whoever_took_least_goes_first(standings: Standings) -> None:
    turns: Turns[str] = Turns(PLACES, standings)
    asked(turns, "slow 6", "slow 7", "slow 8")
    order = asked(turns, "slow 5", "slow 0", "new", "slow 0")
    for leaving in ("slow 6", "slow 7", "slow 8", "new"):
        turns.give_back(leaving)
        order += let_in(turns)
    assert order == ["new", "slow 0", "slow 0", "slow 5"]


def test_quick_machines_take_turns_however_much_each_sends(standings: Standings) -> None:
    turns: Turns[str] = Turns(PLACES, standings)
    assert asked(turns, *["quick"] * 20) == ["quick"] * 3  # all but one
    assert asked(turns, *["quick too"] * 3) == ["quick too"]
    order = []
    for _ in range(4):
        turns.give_back("quick")
        order += let_in(turns)
    assert Counter(order)["quick too"] == 2


def test_a_new_machine_holds_one_place_until_it_is_known(standings: Standings) -> None:
    turns: Turns[str] = Turns(PLACES, standings)
    assert asked(turns, "new", "new", "new") == ["new"]
    standings.took("new", 0.005, 0.0)
    assert let_in(turns) == ["new", "new"]


def test_a_single_place_goes_to_quick_machines_and_others_in_turn(standings: Standings) -> None:
    turns: Turns[str] = Turns(1, standings)
    order = asked(turns, *["quick"] * 3, *["slow 0"] * 2, "slow 1")
    for _ in range(5):
        turns.give_back(order[-1])
        order += let_in(turns)
    assert [one.split()[0] for one in order] == ["slow", "quick"] * 3


def test_who_leaves_the_line_has_no_turn(standings: Standings) -> None:
    turns: Turns[str] = Turns(1, standings)
    asked(turns, "quick", "quick too")
    assert turns.leave("quick too", "quick too")
    assert not turns.leave("quick too", "quick too")
    assert not turns.leave("quick", "quick")
    turns.give_back("quick")
    assert let_in(turns) == []


def longest_wait_s(machines: int, prepared: int, seconds: float = 60.0) -> float:
    """The longest that an image of a quick machine waits, one each 20 ms, while others keep three waiting each.

    Images that mean harm take a second, honest ones ten milliseconds. ``prepared`` machines were quick before.
    """
    standings = Standings()
    turns: Turns[tuple[int, float]] = Turns(PLACES, standings)
    for known in (HONEST, *range(prepared)):
        standings.took(known, 0.005, 0.0)
    for machine in range(machines):
        for _ in range(3):
            turns.ask(machine, (machine, 0.0))
    happens: list[tuple[float, int, int, bool]] = [
        (number / 50, number, HONEST, False) for number in range(int(seconds * 50))
    ]
    longest = 0.0
    while happens:
        now, number, machine, ends = heapq.heappop(happens)
        if ends:
            standings.took(machine, 0.01 if machine == HONEST else 1.0, now)
            turns.give_back(machine)
        if not ends or machine != HONEST:
            turns.ask(machine, (machine, now))
        while (ticket := turns.next(now)) is not None:
            whose, since = ticket
            if whose == HONEST:
                longest = max(longest, now - since)
            heapq.heappush(happens, (now + (0.01 if whose == HONEST else 1.0), number, whose, True))
        if now > seconds:
            break
    return longest


@pytest.mark.parametrize("machines", [1, 2, 10, 100])
def test_a_quick_machine_does_not_wait_for_any_number_of_slow_ones(machines: int) -> None:
    assert longest_wait_s(machines, prepared=0) < 0.02


def test_machines_that_were_quick_before_hold_it_up_once_for_one_image_each() -> None:
    assert 1.0 < longest_wait_s(8, prepared=8) <= 8 / PLACES + 1.0
