"""Retry-After: whose wish it is, and what it costs the others, in a time that the test makes up."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable

import pytest

from consumer.errors import HttpStatus
from consumer.fetching.lines import Lines
from consumer.fetching.queues import Ticket
from consumer.fetching.retry import Retries
from consumer.fetching.wishes import IN_A_ROW, RETRY_AFTER_CAP_S, SILENCE_S, Wishes

DEADLINE_S = 10.0
TAKES_S = 0.02
SHOP = ("http", "shop.example", 80)

Answer = Callable[[float, str], float | None]
"""What the host says at a time to a URL: a wish in seconds, or null where it answers well."""


class World:
    """One host, which has answered well once, and whoever asks it; in the end, who was served and when it was asked."""

    def __init__(self, comes: Iterable[tuple[float, str]], answer: Answer) -> None:
        self.lines: Lines[str] = Lines(8, 32, 8, DEADLINE_S)
        self.asked: list[float] = []
        self.waited: defaultdict[str, list[float]] = defaultdict(list)
        self.lost: defaultdict[str, int] = defaultdict(int)
        self._answer = answer
        self._retries = Retries(3, draw=lambda low, _: low)
        self._attempts: defaultdict[Ticket[str], int] = defaultdict(int)
        self._order = itertools.count()
        self._to_come = [(at, next(self._order), Ticket(url, at)) for at, url in [(-1.0, "first"), *comes]]
        heapq.heapify(self._to_come)
        while self._to_come or self.lines.due(0.0) < math.inf:
            self._step()

    def busiest(self, after_s: float, until_s: float) -> int:
        """Most requests in one second of that time."""
        return max(sum(at <= one < at + 1 for one in self.asked) for at in range(int(after_s), int(until_s)))

    def _step(self) -> None:
        now = self.lines.due(0.0)
        if self._to_come and self._to_come[0][0] <= now:
            now, _, ticket = heapq.heappop(self._to_come)
            if ticket.host is None:
                self.lines.join(ticket, SHOP, now)
            else:
                self._answered(ticket, now)
        for ticket in self.lines.wake(now):
            self.lost[ticket.job] += 1
        while (turn := self.lines.take(now)) is not None:
            self._attempts[turn] += 1
            self.asked.append(now)
            heapq.heappush(self._to_come, (now + TAKES_S, next(self._order), turn))

    def _answered(self, ticket: Ticket[str], now: float) -> None:
        wish_s = self._answer(now, ticket.job)
        error = None if wish_s is None else HttpStatus(429, retry_after_s=wish_s)
        self.lines.answered(ticket, now, error)
        self.lines.given_back(ticket, now)
        assert ticket.begun is not None
        if error is None:
            self.waited[ticket.job].append(now - ticket.arrived)
        elif (pause := self._retries.pause_s(error, self._attempts[ticket], ticket.begun + DEADLINE_S - now)) is None:
            self.lost[ticket.job] += 1
        else:
            self.lines.join(ticket, SHOP, now, due=now + pause)


def every(seconds: float, url: str, until_s: float = 60.0, since_s: float = 0.0) -> list[tuple[float, str]]:
    return [(since_s + number * seconds, url) for number in range(int((until_s - since_s) / seconds))]


def only_bad(wish_s: float) -> Answer:
    return lambda _, url: wish_s if url == "bad" else None


def limited(each_second: int) -> Answer:
    """A bucket that holds so many tokens."""
    left, at = float(each_second), -1.0

    def answer(now: float, _: str) -> float | None:
        nonlocal left, at
        left, at = min(each_second, left + (now - at) * each_second), now
        if left < 1:
            return 1.0
        left -= 1
        return None

    return answer


# ── one URL ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wish_s", [1.0, 4.0])
@pytest.mark.parametrize(("good_every_s", "longest_s"), [(0.2, SILENCE_S), (1.0, SILENCE_S), (3.0, 4.0)])
def test_one_url_that_is_always_turned_away_holds_up_the_others_of_its_host_for_no_longer_than_a_rest(
    good_every_s: float, longest_s: float, wish_s: float
) -> None:
    world = World(every(good_every_s, "good", since_s=0.01) + every(2.0, "bad"), only_bad(wish_s))
    assert world.lost == {"bad": 30}
    assert max(world.waited["good"]) < longest_s


def test_nobody_is_lost_behind_a_hundred_such_urls_at_once() -> None:
    world = World([(5.0, "bad")] * 100 + [(5.01, "good")] * 20, only_bad(4.0))
    assert world.lost == {"bad": 100}
    assert max(world.waited["good"]) < DEADLINE_S


# ── the host itself ──────────────────────────────────────────────────────────────────────────────


def test_a_host_that_limits_the_rate_serves_a_whole_line_at_that_rate_and_is_hardly_asked_for_more() -> None:
    world = World([(0.0, "good")] * 200, limited(10))
    assert not world.lost
    assert max(world.waited["good"]) < 200 / 10 * 1.2
    assert world.busiest(1, 25) <= 10 + 8


def test_a_host_that_turns_everybody_away_is_asked_three_times_for_each_wish_and_serves_all_who_come_later() -> None:
    comes = every(0.05, "good", until_s=50.0)
    world = World(comes, lambda now, _: RETRY_AFTER_CAP_S if 5 <= now < 30 else None)
    assert sum(7 <= at < 30 for at in world.asked) <= IN_A_ROW * math.ceil(23 / RETRY_AFTER_CAP_S)
    assert sum(5 <= at < 7 for at in world.asked) < 40 + 8, "the line is not run through while nobody is sure"
    assert len(world.waited["good"]) >= 20 * 25


def test_three_in_a_row_without_a_good_answer_for_a_second_let_the_host_rest_up_to_the_cap() -> None:
    wishes = Wishes(DEADLINE_S)
    wishes.answered_well(0.0, again=False)
    for at in (1.0, 1.1):
        wishes.turned_away(at, 3600.0, again=False)
        assert wishes.resume_at == -math.inf
    wishes.turned_away(1.2, 3600.0, again=False)
    assert wishes.resume_at == 1.2 + RETRY_AFTER_CAP_S
    assert wishes.all_turned_away


def test_among_good_answers_it_rests_for_a_second_until_that_has_helped_nobody() -> None:
    wishes = Wishes(DEADLINE_S)
    wishes.answered_well(0.0, again=False)
    wishes.turned_away(0.5, 4.0, again=False)
    assert wishes.resume_at == 0.5 + SILENCE_S
    wishes.answered_well(4.4, again=False)
    wishes.turned_away(4.5, 4.0, again=True)
    wishes.turned_away(4.6, 4.0, again=False)
    assert wishes.resume_at == 0.5 + SILENCE_S, "it is the URL's own"
    wishes.answered_well(8.6, again=True)
    wishes.turned_away(8.7, 4.0, again=True)
    assert wishes.resume_at == 8.7 + SILENCE_S, "it helps after all"


def test_after_a_rest_those_ask_first_that_were_not_turned_away() -> None:
    lines: Lines[str] = Lines(8, 32, 8, DEADLINE_S)
    for number in range(IN_A_ROW):
        ticket = Ticket(f"turned away {number}", 0.0)
        lines.join(ticket, SHOP, 0.0)
        assert lines.take(0.0) is ticket
        lines.answered(ticket, 0.0, HttpStatus(429, retry_after_s=2.0))
        lines.given_back(ticket, 0.0)
        lines.join(ticket, SHOP, 0.0, due=2.0)
    new = Ticket("new", 1.0)
    lines.join(new, SHOP, 1.0)
    assert lines.take(1.9) is None
    lines.wake(2.0)
    assert lines.take(2.0) is new
