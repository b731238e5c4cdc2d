"""Which events share one fetch: those that came before it began, and would have met the same alone."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import wait

import pytest

from consumer.errors import ConnectFailed, FetchError, HttpStatus
from consumer.fetching import Fetcher
from consumer.fetching import fetcher as module
from consumer.fetching.lines import Lines
from consumer.fetching.queues import Ticket
from consumer.fetching.standing import AILING_AFTER
from consumer.fetching.urls import Origin
from tests.fetching.conftest import MakeFetcher
from tests.fetching.server import IMAGE, Answer, HostileServer, head, ok
from tests.fetching.test_mistakes import break_once

ORIGIN: Origin = ("http", "a", 80)
BUSY: Answer = (head("503 Service Unavailable", "Content-Length: 0"), "keep")


class World:
    """A server that is known as a good one, and whose answers wait until the test lets them go."""

    def __init__(self, server: HostileServer, make_fetcher: MakeFetcher) -> None:
        self.server = server
        self.shared: list[int] = []
        self._make = make_fetcher
        self._go = threading.Event()
        self._asked = threading.Semaphore(0)
        server.serve("/held", ok())

    def fetcher(self, *, per_host: int = 1, shared: bool = True) -> Fetcher:
        made = self._make(fetch_per_host=per_host, fetch_shared=shared, on_shared=self.shared.append)
        made.fetch(self.server.serve("/known", ok()))
        self.server.seen.clear()
        self.server.on_request = self._hold
        return made

    def _hold(self) -> None:
        self._asked.release()
        assert self._go.wait(10)

    def wait_until_asked(self) -> None:
        """Returns once one more request is there."""
        assert self._asked.acquire(timeout=10)

    def let_go(self) -> None:
        self._go.set()

    def requests(self, path: str) -> int:
        return Counter(seen.path for seen in self.server.seen)[path]


@pytest.fixture
def world(server: HostileServer, make_fetcher: MakeFetcher) -> Iterator[World]:
    made = World(server, make_fetcher)
    yield made
    made.let_go()


# ── with sockets ─────────────────────────────────────────────────────────────────────────────────


def test_events_that_wait_for_one_url_are_answered_by_one_fetch(world: World) -> None:
    fetcher = world.fetcher()
    alone = fetcher.submit(world.server.url("/held"))
    url = world.server.serve("/a", ok())
    same = [fetcher.submit(url) for _ in range(5)]
    world.let_go()
    assert [one.result(10).body for one in same] == [IMAGE] * 5
    assert (world.requests("/a"), world.shared) == (1, [4])
    assert len({id(one.result().flight) for one in same}) == 1
    assert same[0].result().flight is not None
    assert alone.result(10).flight is None


def test_each_is_fetched_for_itself_where_the_setting_says_so(world: World) -> None:
    fetcher = world.fetcher(shared=False)
    fetcher.submit(world.server.url("/held"))
    url = world.server.serve("/a", ok())
    same = [fetcher.submit(url) for _ in range(5)]
    world.let_go()
    assert not wait(same, 10).not_done
    assert (world.requests("/a"), world.shared) == (5, [])


@pytest.mark.parametrize("per_host", [1, 2])
def test_an_event_that_comes_while_an_image_is_on_its_way_is_not_answered_with_that_image(
    world: World, per_host: int
) -> None:
    """It may be about the image that has replaced it meanwhile."""
    fetcher = world.fetcher(per_host=per_host)
    before = fetcher.submit(world.server.serve("/a", ok(b"old")))
    world.wait_until_asked()
    after = fetcher.submit(world.server.serve("/a", ok(b"new")))
    world.let_go()
    assert (before.result(10).body, after.result(10).body) == (b"old", b"new")


def test_an_event_that_comes_between_two_attempts_makes_its_own(world: World) -> None:
    fetcher = world.fetcher()
    first = fetcher.submit(world.server.serve("/a", BUSY, ok()))
    world.wait_until_asked()
    second = fetcher.submit(world.server.url("/a"))
    world.let_go()
    assert {first.result(10).attempts, second.result(10).attempts} == {1, 2}
    assert (world.requests("/a"), world.shared) == (3, [])


@pytest.mark.parametrize(
    ("status", "attempts"), [("404 Not Found", 1), ("503 Service Unavailable", 3)], ids=["for good", "after retries"]
)
def test_a_failure_is_that_of_each_with_the_attempts_that_were_made_for_it(
    world: World, status: str, attempts: int
) -> None:
    fetcher = world.fetcher()
    fetcher.submit(world.server.url("/held"))
    url = world.server.serve("/a", (head(status, "Content-Length: 0"), "keep"))
    same = [fetcher.submit(url) for _ in range(4)]
    world.let_go()
    for one in same:
        error = one.exception(10)
        assert isinstance(error, HttpStatus)
        assert (error.status, error.attempts) == (int(status[:3]), attempts)
    assert world.requests("/a") == attempts


def test_who_is_cancelled_in_the_line_takes_nobody_with_him(world: World) -> None:
    """A partition that is taken away cancels its events, those of others wait for the same image."""
    fetcher = world.fetcher()
    fetcher.submit(world.server.url("/held"))
    url = world.server.serve("/a", ok())
    first, middle, last = (fetcher.submit(url) for _ in range(3))
    assert first.cancel()
    assert last.cancel()
    world.let_go()
    assert middle.result(10).body == IMAGE
    assert (world.requests("/a"), world.shared) == (1, [])


def test_who_rides_along_has_begun(world: World) -> None:
    fetcher = world.fetcher()
    fetcher.submit(world.server.url("/held"))
    world.wait_until_asked()
    asked = threading.Event()
    go = threading.Event()

    def hold() -> None:
        asked.set()
        assert go.wait(10)

    url = world.server.serve("/a", ok())
    first, second = fetcher.submit(url), fetcher.submit(url)
    world.server.on_request = hold
    world.let_go()
    assert asked.wait(10)
    assert (first.running(), second.running()) == (True, True)
    assert not second.cancel()
    go.set()
    assert second.result(10).body == IMAGE


def test_closing_answers_everybody_who_rides(world: World) -> None:
    fetcher = world.fetcher()
    fetcher.submit(world.server.url("/held"))
    world.wait_until_asked()
    url = world.server.serve("/a", ok())
    same = [fetcher.submit(url) for _ in range(3)]
    asked, go = threading.Event(), threading.Event()

    def hold() -> None:
        asked.set()
        assert go.wait(10)

    world.server.on_request = hold
    world.let_go()
    assert asked.wait(10)
    fetcher.close()
    assert all(isinstance(one.exception(10), FetchError) for one in same)
    go.set()


@pytest.mark.parametrize("name", ["answered", "given_back"])
def test_a_mistake_of_ours_leaves_nobody_who_rides_without_an_answer(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AFTER_A_MISTAKE_S", 0.01)
    fetcher = world.fetcher()
    fetcher.submit(world.server.url("/held"))
    world.wait_until_asked()
    url = world.server.serve("/a", ok())
    same = [fetcher.submit(url) for _ in range(3)]
    break_once(monkeypatch, Lines, name)
    world.let_go()
    assert not wait(same, 10).not_done
    assert fetcher.submit(url).result(10).body == IMAGE


# ── in the lines, without any ────────────────────────────────────────────────────────────────────


def refused() -> FetchError:
    error = ConnectFailed("nobody listens")
    error.reached = False
    return error


class Line:
    """One host's, with one place. It has answered well unless the test says otherwise."""

    def __init__(self, *, known: bool = True) -> None:
        self.lines: Lines[int] = Lines(1, 4, 2, 10.0)
        self.now = 0.0
        if known:
            self.exchange(None)

    def exchange(self, error: FetchError | None) -> None:
        self.join(-1)
        ticket = self.take()
        self.answer(ticket, error)

    def answer(self, ticket: Ticket[int], error: FetchError | None = None) -> None:
        self.lines.answered(ticket, self.now, error)
        self.lines.given_back(ticket, self.now)

    def join(self, *jobs: int, wants: str | None = "/a", urgent: bool = False) -> None:
        for job in jobs:
            self.lines.join(Ticket(job, self.now, urgent, wants=wants), ORIGIN, self.now)

    def take(self, *, urgent: bool = False) -> Ticket[int]:
        ticket = self.lines.take(self.now, urgent=urgent)
        assert ticket is not None
        return ticket

    def along(self, ticket: Ticket[int]) -> list[int]:
        return [one.job for one in self.lines.along(ticket, self.now)]


def test_only_who_wants_the_same_rides_along_in_the_order_of_coming() -> None:
    line = Line()
    line.join(1)
    line.join(2, wants="/b")
    line.join(3, 4)
    line.join(5, wants=None)
    taken = line.take()
    assert (taken.job, line.along(taken)) == (1, [3, 4])
    line.answer(taken)
    assert line.take().job == 2


def test_nobody_rides_to_a_host_that_is_not_known_as_a_good_one() -> None:
    """There an event's clock runs from its arrival, so that who came later has more time."""
    line = Line(known=False)
    line.join(1, 2)
    assert line.along(line.take()) == []


def test_nobody_rides_to_a_host_that_is_down() -> None:
    line = Line()
    for _ in range(AILING_AFTER):
        line.exchange(refused())
    line.now = 1.0  # it has rested
    line.join(1, 2)
    assert line.along(line.take()) == []


def test_an_urgent_one_does_not_ride_with_an_ordinary_one_but_the_other_way_round() -> None:
    line = Line()
    line.join(1)
    taken = line.take()
    line.join(2, urgent=True)
    assert line.along(taken) == []
    line.join(3)
    line.answer(taken)
    urgent = line.take(urgent=True)
    assert (urgent.job, line.along(urgent)) == (2, [3])


@pytest.mark.parametrize("seed", range(20))
def test_nobody_is_taken_twice_or_forgotten_whatever_happens(seed: int) -> None:
    draw = random.Random(seed)
    lines: Lines[int] = Lines(2, 4, 2, 10.0)
    now, number, gone, running = 0.0, 0, Counter[int](), list[Ticket[int]]()
    for _ in range(2000):
        now += draw.choice([0.0, 0.01, 0.5])
        match draw.choice(["join", "join", "take", "answer", "wake"]):
            case "join":
                name = draw.choice("ab")
                ticket = Ticket(number, now, draw.random() < 0.2, wants=draw.choice([None, f"{name}/1", f"{name}/2"]))
                lines.join(ticket, ("http", name, 80), now)
                number += 1
            case "take":
                taken = lines.take(now, urgent=draw.random() < 0.3)
                if taken is not None:
                    running.append(taken)
                    gone.update(one.job for one in lines.along(taken, now))
            case "answer" if running:
                ticket = running.pop(draw.randrange(len(running)))
                error = draw.choice([None, None, refused()])
                lines.answered(ticket, now, error)
                gone[ticket.job] += 1
                if error is not None:
                    gone.update(one.job for one in lines.shared(ticket, now))
                lines.given_back(ticket, now)
            case "wake":
                gone.update(one.job for one in lines.wake(now))
    gone.update(one.job for one in [*running, *lines.clear()])
    assert gone == Counter(range(number))
