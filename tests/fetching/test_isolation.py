"""One host's trouble stays its own: real sockets, from the predictor down."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from consumer.errors import FetchError
from consumer.events import Answer, Failure, Prediction, Probabilities
from consumer.fetching import Fetcher
from consumer.fetching.fetcher import URGENT_THREADS
from consumer.model import Batcher
from consumer.predictor import Predictor
from tests.decoding.in_thread import InThread
from tests.fetching.conftest import MakeFetcher
from tests.fetching.server import IMAGE, HostileServer, Step, head, ok, redirect

LATENCY_S = 0.02
"""What the healthy host takes: so its rate is its own, 400 a second on 8 connections, and not the machine's."""


class InstantModel:
    def submit(self, pixels: np.ndarray[Any, Any], *, urgent: bool = False) -> Future[Probabilities]:
        future: Future[Probabilities] = Future()
        future.set_result({"task": {"label": 1.0}})
        return future


def linger(seconds: float) -> None:
    """The time that a host takes to answer."""
    threading.Event().wait(seconds)


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A host that drops what comes, as a firewall does: a listener whose queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as hole:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        yield f"http://127.0.0.1:{hole.getsockname()[1]}"
        for filler in fillers:
            filler.close()


@pytest.fixture
def refusing() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def predictor_of(fetcher: Fetcher) -> Predictor:
    return Predictor(fetcher, InThread((8, 8), 10_000), cast(Batcher, InstantModel()), waiting=64)


def seconds_until_all(answers: list[Future[Answer]], began: float) -> float:
    assert not wait(answers, 60).not_done
    assert all(isinstance(one.result(), Prediction) for one in answers)
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("trouble", "count"),
    [
        ("drops everything", 1000),
        ("accepts and says nothing", 300),
        ("many names that lead nowhere", 300),
        ("many names whose lookup hangs", 300),
    ],
)
def test_a_thousand_events_for_a_dead_host_leave_a_thousand_others_four_fifths_of_their_rate(
    trouble: str, count: int, server: HostileServer, black_hole: str, make_fetcher: MakeFetcher
) -> None:
    over = threading.Event()

    def resolve(host: str) -> list[str]:
        if host.startswith("hanging"):
            over.wait(20)
        return ["127.0.0.1"]

    healthy = server.serve("/", ok(picture()))
    server.on_request = partial(linger, LATENCY_S)
    with HostileServer() as mute:
        mute.serve("/", ("hang",))
        port = black_hole.rpartition(":")[2]
        dead = {
            "drops everything": [black_hole],
            "accepts and says nothing": [mute.url("/")],
            "many names that lead nowhere": [f"http://dead-{number}.example:{port}/" for number in range(count)],
            "many names whose lookup hangs": [f"http://hanging-{number}.example/" for number in range(count)],
        }[trouble]
        shares = []
        for _ in range(3):  # the best of three: whatever else runs on this machine only lowers it
            predictor = predictor_of(make_fetcher(fetch_deadline_s=2.0, resolve=resolve))
            shares.append(share_of_rate(predictor, healthy, dead, count))
            predictor.close()
            if shares[-1] >= 0.8:
                break
        over.set()
    assert max(shares) >= 0.8


def share_of_rate(predictor: Predictor, healthy: str, dead: list[str], count: int) -> float:
    """What is left of a host's rate among as many events for dead ones."""
    predictor.submit(healthy).result(10)  # it is known: the first event of all would be, too
    began = time.monotonic()
    alone = seconds_until_all([predictor.submit(healthy) for _ in range(count)], began)
    began = time.monotonic()
    answers = []
    for number in range(count):
        predictor.submit(dead[number % len(dead)])
        answers.append(predictor.submit(healthy))
    return alone / seconds_until_all(answers, began)


@pytest.mark.parametrize(("width", "known"), [(1, False), (8, True)], ids=["from the start", "after it was well"])
def test_a_host_that_answers_no_more_holds_no_event_longer_than_the_deadline(
    width: int, known: bool, server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    fetcher = make_fetcher(fetch_deadline_s=2.0, fetch_per_host=width)
    black_hole = server.serve("/", ("hang",))
    if known:
        fetcher.fetch(server.serve("/well", ok()))
    began = time.monotonic()
    futures = [fetcher.submit(black_hole) for _ in range(200)]
    assert not wait(futures, 30).not_done
    took = time.monotonic() - began
    errors = [one.exception() for one in futures]
    assert {error.code for error in errors if isinstance(error, FetchError)} == {"fetch_timeout"}
    assert 2.0 <= took < 2.2


def test_a_host_that_refuses_fails_for_all_after_one_has_made_all_its_attempts(
    refusing: str, make_fetcher: MakeFetcher
) -> None:
    fetcher = make_fetcher(fetch_deadline_s=10.0, fetch_per_host=2)
    began = time.monotonic()
    futures = [fetcher.submit(refusing) for _ in range(500)]
    assert not wait(futures, 30).not_done
    assert time.monotonic() - began < 5
    errors = [error for one in futures if isinstance(error := one.exception(), FetchError)]
    assert {(error.code, error.retriable) for error in errors} == {("connect_failed", True)}
    attempts = Counter(error.attempts for error in errors)
    assert attempts[3] >= 1
    assert attempts[0] > 400
    never_asked = next(str(error) for error in errors if not error.attempts)
    assert "another event of its host" in never_asked
    assert "127.0.0.1" not in never_asked


def test_a_host_that_comes_back_is_served_at_full_width_again(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    broken: tuple[Step, ...] = (head("429 Slow down", "Retry-After: 1", "Content-Length: 0"), "keep")
    url = server.serve("/", broken, broken, broken, ok())
    fetcher = make_fetcher(fetch_per_host=4, fetch_deadline_s=5.0, fetch_attempts=10)
    futures = [fetcher.submit(url) for _ in range(50)]
    assert all(one.result(20).body == IMAGE for one in futures)
    assert server.at_once <= 4


def test_hundreds_of_events_for_one_healthy_host_do_not_time_out_in_its_line(
    server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    url = server.serve("/", ok())
    server.on_request = partial(linger, 0.01)
    fetcher = make_fetcher(fetch_per_host=4, fetch_deadline_s=1.0)
    began = time.monotonic()
    futures = [fetcher.submit(url) for _ in range(600)]
    assert all(one.result(30).body == IMAGE for one in futures)
    assert time.monotonic() - began > 1.4  # the last ones stood in line for longer than the deadline
    assert server.at_once == 4


def test_a_redirect_waits_in_the_line_of_the_host_that_it_leads_to(
    server: HostileServer, black_hole: str, make_fetcher: MakeFetcher
) -> None:
    """A shortener that leads to a dead host must not bring that host's trouble back into the threads."""
    shortener = server.serve("/short", redirect(f"{black_hole}/"))
    server.serve("/", ok())
    fetcher = make_fetcher(fetch_per_host=2, fetch_concurrency=4, fetch_deadline_s=2.0)
    fetcher.fetch(server.url("/"))
    lost = [fetcher.submit(shortener) for _ in range(20)]
    began = time.monotonic()
    for _ in range(5):
        assert fetcher.submit(server.url("/")).result(5).body == IMAGE
    assert time.monotonic() - began < 1.5
    assert not any(one.done() for one in lost)
    assert not wait(lost, 10).not_done


def test_http_callers_do_not_wait_behind_a_topic_of_slow_hosts(
    server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    server.serve("/slow", ("hang",))
    fetcher = make_fetcher(fetch_concurrency=1, resolve=lambda _: ["127.0.0.1"])
    asked = threading.Event()
    server.on_request = asked.set
    slow = [fetcher.submit(server.url("/slow", f"slow-{number}.example")) for number in range(3)]
    assert asked.wait(5)
    assert fetcher.submit(server.serve("/", ok()), urgent=True).result(5).body == IMAGE
    assert not any(one.done() for one in slow)


def test_a_fetch_that_has_not_begun_can_be_cancelled_and_closing_cancels_the_others(
    server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    asked = threading.Event()
    server.on_request = asked.set
    url = server.serve("/", ("hang",))
    fetcher = make_fetcher(fetch_per_host=1)
    begun, second, third = (fetcher.submit(url) for _ in range(3))
    assert asked.wait(5)
    assert second.cancel()
    assert not begun.cancel()
    fetcher.close()
    assert third.cancelled()
    error = begun.exception(5)
    assert isinstance(error, FetchError)
    assert (error.code, error.retriable) == ("connect_failed", True)
    assert fetcher.submit(url).cancelled()
    assert len(server.seen) == 1


def test_closing_ends_a_pause_between_two_attempts(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    server.serve("/", (head("503 Busy", "Retry-After: 4", "Content-Length: 0"), "keep"))
    fetcher = make_fetcher(fetch_deadline_s=10.0)
    future = fetcher.submit(server.url("/"))
    while not server.seen:
        linger(0.01)
    fetcher.close()
    failure: Any = future.exception(2)
    assert failure.code in {"connect_failed", "http_status"}
    assert isinstance(Failure.of(failure), Failure)


def test_threads_are_named_and_end_with_the_fetcher(make_fetcher: MakeFetcher) -> None:
    before = set(threading.enumerate())
    fetcher = make_fetcher(fetch_concurrency=3)
    made = set(threading.enumerate()) - before
    assert len(made) == 3 + URGENT_THREADS + 1
    assert all(thread.name.startswith("fetch-") for thread in made)
    fetcher.close()
    for thread in made:
        thread.join(5)
        assert not thread.is_alive()
