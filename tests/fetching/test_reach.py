"""Whether a host can be reached: what that takes, and what it does not."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

import pytest

from consumer.errors import ConnectFailed, DnsFailed, FetchTimeout, UrlBlocked
from consumer.fetching.guard import Connection
from tests.fetching.conftest import MakeFetcher
from tests.fetching.server import IMAGE, HostileServer, ok


def until(holds: Callable[[], bool]) -> None:
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it does not come to that")


def test_it_takes_a_new_connection_and_no_request(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    fetcher, url = make_fetcher(), server.serve("/", ok())
    assert fetcher.fetch(url).body == IMAGE
    assert fetcher.reach(url).exception(5) is None
    assert fetcher.fetch(url).body == IMAGE
    until(lambda: server.connections == 2)  # who connects need not wait until the server looks
    assert len(server.seen) == 2, "the fetches', over the connection of the first"


def test_it_waits_for_no_thread_that_fetches(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    fetcher, url = make_fetcher(fetch_concurrency=1), server.serve("/", ("hang",))
    hung = [fetcher.submit(url) for _ in range(3)]
    assert fetcher.reach(url).exception(2) is None
    assert not any(one.done() for one in hung)


def test_a_host_that_refuses_cannot_be_reached(make_fetcher: MakeFetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert isinstance(make_fetcher().reach(f"http://127.0.0.1:{port}/").exception(5), ConnectFailed)


def test_nor_can_one_that_does_not_answer_until_the_deadline(make_fetcher: MakeFetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and says nothing of TLS
        began = time.monotonic()
        answer = make_fetcher(fetch_deadline_s=0.3).reach(f"https://127.0.0.1:{silent.getsockname()[1]}/")
        assert isinstance(answer.exception(5), FetchTimeout)
        assert 0.3 <= time.monotonic() - began < 2


def test_its_name_is_resolved_anew_and_its_address_is_judged(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    answers: list[Sequence[str] | OSError] = [["127.0.0.1"], OSError("no resolver"), ["10.0.0.1"]]

    def resolve(_: str) -> Sequence[str]:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    server.serve("/", ok())
    fetcher, url = make_fetcher(resolve=resolve), server.url("/", "image.example")
    assert fetcher.fetch(url).body == IMAGE
    error = fetcher.reach(url).exception(5)
    assert isinstance(error, DnsFailed)
    assert error.retriable
    assert isinstance(fetcher.reach(url).exception(5), UrlBlocked)


def test_a_mistake_of_ours_is_an_answer_too(
    server: HostileServer, make_fetcher: MakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetcher = make_fetcher()
    monkeypatch.setattr(Connection, "open", None)
    assert isinstance(fetcher.reach(server.url("/")).exception(5), TypeError)
