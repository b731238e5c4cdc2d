"""The server around the application: its port, its connections and its end."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import pytest
import requests

from consumer.errors import SettingsError
from consumer.events import Answer
from consumer.web import Submit, WebServer
from tests.web.asking import PREDICT, PREDICTION


@contextmanager
def serving(app: Any, host: str = "127.0.0.1") -> Iterator[WebServer]:
    server = WebServer(app, host, 0)
    server.start()
    try:
        yield server
    finally:
        server.stop(1)


def test_it_serves_on_a_free_port_and_stops(app_with: Callable[..., Any]) -> None:
    server = WebServer(app_with(), "127.0.0.1", 0)
    server.start()
    assert requests.get(server.url + "/livez", timeout=5).status_code == 200
    server.stop()
    assert not server.running
    assert not accepts(server.port)


def test_it_tells_nothing_of_what_it_is_made_of(app_with: Callable[..., Any]) -> None:
    with serving(app_with()) as server:
        assert "Server" not in requests.get(server.url, timeout=5).headers


def test_a_head_answer_over_a_real_connection_has_the_length_and_no_body(app_with: Callable[..., Any]) -> None:
    with serving(app_with()) as server:
        response = requests.head(server.url + "/livez", timeout=5)
        assert int(response.headers["Content-Length"]) > 0
        assert response.content == b""


def test_answers_on_a_kept_connection_do_not_wait_for_the_callers_acknowledgement(app_with: Callable[..., Any]) -> None:
    with serving(app_with()) as server, requests.Session() as session:
        session.get(server.url, timeout=5)
        took = []
        for _ in range(10):
            began = time.monotonic()
            session.get(server.url, timeout=5)
            took.append(time.monotonic() - began)
    assert min(took) < 0.03, "a delayed acknowledgement takes 40 ms"


def test_a_taken_port_is_told_in_one_line(app_with: Callable[..., Any]) -> None:
    with serving(app_with()) as first:
        with pytest.raises(SettingsError) as caught:
            WebServer(app_with(), "127.0.0.1", first.port).start()
        assert str(caught.value).startswith(f"HTTP_PORT={first.port} is taken: ")
    assert "\n" not in str(caught.value)


def test_a_port_that_nobody_chose_gives_way_to_the_next_free_one(app_with: Callable[..., Any]) -> None:
    with serving(app_with()) as first:
        second = WebServer(app_with(), "127.0.0.1", first.port, tries=20)
        second.start()
        assert first.port < second.port < first.port + 20
        assert requests.get(second.url, timeout=5).status_code == 200
        second.stop()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_that_is_not_ours_is_told_in_one_line(app_with: Callable[..., Any], host: str) -> None:
    with pytest.raises(SettingsError, match=rf"HTTP_HOST={re.escape(host)} is no address of this machine: \w+"):
        WebServer(app_with(), host, 0).start()


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [("::1", ["[::1]"]), ("::", ["[::1]", "127.0.0.1"]), ("0.0.0.0", ["127.0.0.1"]), ("localhost", ["localhost"])],
)
def test_it_listens_where_it_should(app_with: Callable[..., Any], host: str, reached_at: list[str]) -> None:
    if ":" in host and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving(app_with(), host) as server:
        for url in [server.url, *(f"http://{address}:{server.port}" for address in reached_at)]:
            assert requests.get(f"{url}/livez", timeout=5).status_code == 200


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def connection(server: WebServer, path: str) -> AbstractContextManager[socket.socket]:
    """A caller that has asked and does not read."""
    caller = socket.create_connection(("127.0.0.1", server.port), 5)
    caller.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return closing(caller)


def held() -> tuple[Submit, threading.Event, Future[Answer]]:
    """What is asked for an answer and does not give it, whether it was asked, and the answer."""
    asked = threading.Event()
    future: Future[Answer] = Future()

    def submit(_: str) -> Future[Answer]:
        asked.set()
        return future

    return submit, asked, future


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionError:
        return False
    return True


def test_a_caller_who_leaves_cancels_the_work(app_with: Callable[..., Any]) -> None:
    submit, asked, future = held()
    cancelled = threading.Event()
    future.add_done_callback(lambda _: cancelled.set())

    with serving(app_with(submit)) as server:
        with connection(server, PREDICT):
            assert asked.wait(5)
        assert cancelled.wait(5)
    assert future.cancelled()


def test_a_stop_lets_a_request_under_way_finish(app_with: Callable[..., Any]) -> None:
    submit, asked, future = held()
    server = WebServer(app_with(submit), "127.0.0.1", 0)
    server.start()
    with ThreadPoolExecutor(2) as callers:
        response = callers.submit(requests.get, server.url + PREDICT, timeout=10)
        assert asked.wait(5)
        stopped = callers.submit(server.stop, 10)
        while accepts(server.port):
            pass
        with pytest.raises(TimeoutError):
            response.result(0.5)  # it is not cut off while the budget lasts
        future.set_result(PREDICTION)
        assert response.result(10).status_code == 200
        stopped.result(10)
    assert not server.running


def test_a_stop_does_not_wait_longer_than_its_budget(app_with: Callable[..., Any]) -> None:
    submit, asked, future = held()
    server = WebServer(app_with(submit, deadline_s=60), "127.0.0.1", 0)
    server.start()
    with connection(server, PREDICT):
        assert asked.wait(5)
        server.stop(0.1)
        assert not server.running
    assert future.cancelled()
