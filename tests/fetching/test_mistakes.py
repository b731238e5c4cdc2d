"""A mistake of ours fails one fetch, and stops no thread."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from typing import Any

import pytest

from consumer.fetching import fetcher as module
from consumer.fetching.errand import Errand
from consumer.fetching.fetcher import URGENT_THREADS, Fetcher
from consumer.fetching.lines import Lines
from tests.fetching.conftest import MakeFetcher
from tests.fetching.server import IMAGE, Answer, HostileServer, head, ok


class Mistake(RuntimeError):
    """What nobody foresaw."""


def break_once(monkeypatch: pytest.MonkeyPatch, kind: type, name: str, times: int = 1) -> threading.Event:
    """Lets a method raise so many times before it works again; the event is set when it has."""
    whole, left, done = getattr(kind, name), [times], threading.Event()

    def broken(*arguments: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise Mistake(name)
        done.set()
        return whole(*arguments, **named)

    monkeypatch.setattr(kind, name, broken)
    return done


def mistake(fetcher: Fetcher, url: str) -> BaseException | None:
    """What a fetch ends with; who asked for it makes a failure of it (`consumer.mistakes`)."""
    return fetcher.submit(url).exception(5)


def test_what_nobody_foresaw_is_what_the_fetch_ends_with_and_the_next_one_does_not(
    server: HostileServer, make_fetcher: MakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetcher, url = make_fetcher(), server.serve("/", ok())
    break_once(monkeypatch, Errand, "exchange")
    assert isinstance(mistake(fetcher, url), Mistake)
    assert fetcher.fetch(url).body == IMAGE


def test_so_is_what_goes_wrong_before_the_fetch_begins(
    server: HostileServer, make_fetcher: MakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_once(monkeypatch, Errand, "__init__")
    fetcher, url = make_fetcher(), server.serve("/", ok())
    assert isinstance(mistake(fetcher, url), Mistake)
    assert fetcher.fetch(url).body == IMAGE


def test_it_says_nothing_of_the_host(
    server: HostileServer, make_fetcher: MakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetcher, url = make_fetcher(fetch_per_host=4), server.serve("/", ok())
    for trusted in (False, True):
        break_once(monkeypatch, Errand, "exchange", times=10)
        assert all(isinstance(mistake(fetcher, url), Mistake) for _ in range(10))
        (host,) = fetcher._lines._hosts
        assert (host.standing.trusted, host.running) == (trusted, 0)
        fetcher.fetch(url)


@pytest.mark.parametrize("name", ["take", "answered"])
def test_no_thread_ends_and_no_event_is_left_where_the_lines_go_wrong(
    name: str,
    server: HostileServer,
    make_fetcher: MakeFetcher,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "AFTER_A_MISTAKE_S", 0.01)
    url = server.serve("/", ok())
    before = set(threading.enumerate())
    fetcher = make_fetcher(fetch_concurrency=1)
    made = set(threading.enumerate()) - before
    break_once(monkeypatch, Lines, name)
    first = fetcher.submit(url).exception(5)
    assert first is None or isinstance(first, Mistake)
    (told,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert told.exc_info is not None
    assert told.exc_info[0] is Mistake
    assert fetcher.submit(url).result(5).body == IMAGE
    assert len(made) == 1 + URGENT_THREADS + 1
    assert all(thread.is_alive() for thread in made)


def test_a_thread_gives_back_no_turn_of_another_that_goes_on_with_its_fetch(
    server: HostileServer, make_fetcher: MakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, ask, turn = Errand.exchange, Fetcher._ask, Fetcher._exchange
    goes_on, over = threading.Event(), threading.Event()
    calls: list[Errand] = []

    def exchanging(errand: Errand) -> Any:
        calls.append(errand)
        if len(calls) == 2:  # the other thread has it, until the first one is through
            goes_on.set()
            assert over.wait(5)
        return exchange(errand)

    def asking(fetcher: Fetcher, ticket: Any) -> Any:
        answer = ask(fetcher, ticket)
        assert goes_on.wait(5)
        return answer

    def turning(fetcher: Fetcher, ticket: Any) -> None:
        turn(fetcher, ticket)
        over.set()

    monkeypatch.setattr(Errand, "exchange", exchanging)
    monkeypatch.setattr(Fetcher, "_ask", asking)
    monkeypatch.setattr(Fetcher, "_exchange", turning)
    url = server.serve("/", (head("302 Found", "Location: /there", "Content-Length: 0"), "keep"))
    server.serve("/there", ok())
    assert make_fetcher(fetch_concurrency=2).submit(url).result(10).body == IMAGE


def test_the_thread_that_keeps_the_time_survives(
    server: HostileServer, make_fetcher: MakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the pause before a second attempt."""
    monkeypatch.setattr(module, "AFTER_A_MISTAKE_S", 0.01)
    fetcher = make_fetcher()
    kept = break_once(monkeypatch, Lines, "wake", times=3)
    busy: Answer = (head("503 Busy", "Content-Length: 0"), "keep")
    assert fetcher.submit(server.serve("/", busy, ok())).result(5).attempts == 2
    assert kept.is_set()


def test_no_thread_holds_on_to_an_image_while_it_waits_for_the_next(
    server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    future = make_fetcher().submit(server.serve("/", ok()))
    assert future.result(5).body == IMAGE
    held = weakref.ref(future)
    del future
    for _ in range(500):
        gc.collect()
        if held() is None:
            return
        threading.Event().wait(0.01)
    pytest.fail("a thread holds on to it")
