"""An open port: callers who are slow, silent, many or enormous."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest
import requests

from consumer.events import Answer
from consumer.health import Health
from consumer.metrics import Metrics
from consumer.web import Submit, WebServer, create_app
from consumer.web.connection import HEAD_BYTES, Bounds

QUICK = Bounds(connections=20, request_s=0.5, answer_s=1.0, linger_s=0.5)
LATE_S = 0.5
"""What a loaded machine may add."""


def never(_: str) -> Future[Answer]:
    return Future()


@contextmanager
def serving(bounds: Bounds = QUICK, submit: Submit = never) -> Iterator[WebServer]:
    health = Health(60)
    health.running()
    app = create_app(predictor=lambda: submit, model=lambda: None, health=health, metrics=Metrics(), version="1")
    server = WebServer(app, "127.0.0.1", 0, bounds)
    server.start()
    try:
        yield server
    finally:
        server.stop(0.1)


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with serving() as made:
        yield made


def connect(server: WebServer) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", server.port), 5))


def drain(caller: socket.socket) -> int:
    """How many bytes come until the server closes."""
    return len(b"".join(iter(lambda: caller.recv(65536), b"")))


def read_to_the_end(caller: socket.socket) -> bytes:
    """What comes until the server closes; a reset is an end too."""
    told = b""
    caller.settimeout(10)
    try:
        while piece := caller.recv(65536):
            told += piece
    except ConnectionResetError:
        pass
    return told


def drip(caller: socket.socket, pieces: bytes, over: threading.Event) -> None:
    while not over.wait(0.02):
        try:
            caller.sendall(pieces)
        except OSError:
            return


@pytest.mark.parametrize(
    ("begun", "dripped"),
    [
        (b"", b""),
        (b"GET / HT", b""),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n"),
        (b"GET /", b"x"),
        (b"GET /predict/?url=http://a/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n", b"X: y\r\n"),
    ],
    ids=["silence", "half a line", "headers", "a path", "a body", "chunks", "the second request"],
)
def test_who_does_not_finish_a_request_is_cut_off(server: WebServer, begun: bytes, dripped: bytes) -> None:
    over = threading.Event()
    with connect(server) as caller:
        began = time.monotonic()
        caller.sendall(begun)
        dripper = threading.Thread(target=drip, args=(caller, dripped, over))
        if dripped:
            dripper.start()
        read_to_the_end(caller)
        took = time.monotonic() - began
        over.set()
        if dripped:
            dripper.join()
    assert took < 2 * QUICK.request_s + LATE_S


def test_who_does_not_take_the_answer_is_cut_off() -> None:
    with serving() as server, connect(server) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.settimeout(0.2)
        began = time.monotonic()
        try:
            while True:  # until its own sending is held up, too
                caller.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        except OSError:
            pass
        while len(server._server.server_state.connections):
            assert time.monotonic() - began < QUICK.answer_s + QUICK.request_s + LATE_S + 1
            threading.Event().wait(0.02)


def test_what_a_caller_does_not_read_is_kept_by_nobody() -> None:
    """Not by the system either, for which 1.7 MB are little: then the answer would count as taken."""
    with serving(Bounds(request_s=0.2, answer_s=1.0)) as server, closing(socket.socket()) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.settimeout(5)
        caller.connect(("127.0.0.1", server.port))
        caller.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n")
        began = time.monotonic()
        assert caller.recv(1)
        while len(server._server.server_state.connections):
            threading.Event().wait(0.02)
        assert time.monotonic() - began > 0.9
        with pytest.raises(ConnectionResetError):
            drain(caller)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["idle", "half a request"])
def test_idle_connections_make_room_for_a_caller_with_a_request(sent: bytes) -> None:
    with serving(Bounds(connections=20, request_s=30)) as server, ExitStack() as held:
        for _ in range(60):
            held.enter_context(connect(server)).sendall(sent)
        for _ in range(5):
            assert requests.get(server.url, timeout=5).status_code == 200
        assert len(server._server.server_state.connections) <= 21


def test_a_connection_too_many_is_told_to_come_back_where_all_others_are_being_answered() -> None:
    with serving(Bounds(connections=3)) as server, ExitStack() as held:
        asked = b"GET /predict/?url=http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in range(3):
            held.enter_context(connect(server)).sendall(asked)
        while len(server._server.server_state.tasks) < 3:
            threading.Event().wait(0.01)
        response = requests.get(server.url, timeout=5)
    assert (response.status_code, response.json()["code"]) == (503, "overloaded")
    assert response.headers["Retry-After"] == "1"


def status_line_and_body(answer: bytes) -> tuple[bytes, dict[str, str]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"x-content-type-options: nosniff" in head.lower()
    assert b"default-src 'none'" in head
    return head.partition(b"\r\n")[0], json.loads(body)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET /" + b"a" * 2**20 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, "request_too_large"),
        (b"a" * 2**20, 431, "request_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", 431, "request_too_large"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 2 * HEAD_BYTES + b"\r\n\r\n", 431, "request_too_large"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n", 400, "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request"),  # TLS
    ],
    ids=lambda value: value[:12].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_what_is_no_request_or_far_too_large_is_answered_in_the_same_form(
    server: WebServer, caplog: pytest.LogCaptureFixture, request_: bytes, status: int, code: str
) -> None:
    with connect(server) as caller:
        caller.settimeout(5)
        sender = threading.Thread(target=lambda: _send(caller, request_))
        sender.start()
        answer = read_to_the_end(caller)
        sender.join()
    line, told = status_line_and_body(answer)
    assert line.startswith(f"HTTP/1.1 {status} ".encode())
    assert (set(told), told["code"]) == ({"detail", "code"}, code)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def _send(caller: socket.socket, data: bytes) -> None:
    try:
        caller.sendall(data)
    except OSError:  # it was answered before all was sent
        return


def test_a_body_that_breaks_ends_its_request_and_the_work_for_it(caplog: pytest.LogCaptureFixture) -> None:
    future: Future[Answer] = Future()
    asked = threading.Event()

    def submit(_: str) -> Future[Answer]:
        asked.set()
        return future

    with serving(submit=submit) as server, connect(server) as caller:
        caller.sendall(b"GET /predict/?url=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert asked.wait(5)
        caller.sendall(b"no size\r\n")
        line, _ = status_line_and_body(read_to_the_end(caller))
    assert line.startswith(b"HTTP/1.1 400 ")
    assert future.cancelled()
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_url_of_the_longest_that_is_fetched_fits() -> None:
    asked: list[str] = []

    def submit(url: str) -> Future[Answer]:
        asked.append(url)
        future: Future[Answer] = Future()
        future.cancel()
        return future

    url = "http://a.example/".ljust(8192, "ä")
    with serving(submit=submit) as own:
        assert requests.get(own.url + "/predict/", params={"url": url}, timeout=5).status_code == 503
    assert asked == [url]


def test_two_requests_in_one_breath_are_both_answered(server: WebServer) -> None:
    with connect(server) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = read_to_the_end(caller)
    assert answer.count(b"HTTP/1.1 200 OK") == 2


def test_a_kept_connection_takes_requests_for_longer_than_one_may_take(server: WebServer) -> None:
    make: Callable[[], Any] = requests.Session
    with make() as session:
        began = time.monotonic()
        while time.monotonic() - began < 1.5 * QUICK.request_s:
            assert session.get(server.url, timeout=5).status_code == 200
            threading.Event().wait(0.1)
        assert len(session.adapters["http://"].poolmanager.pools) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_request_of_two_lengths_is_refused_and_what_follows_it_is_not_a_request(
    server: WebServer, head: bytes
) -> None:
    """A proxy in front may take the other length, and let somebody's second request pass as a body."""
    with connect(server) as caller:
        caller.sendall(head + b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        told = read_to_the_end(caller)
    assert told.startswith(b"HTTP/1.1 400 ")
    assert told.count(b"HTTP/1.1 ") == 1
    assert json.loads(told.partition(b"\r\n\r\n")[2]) == {"detail": "a request has one length", "code": "bad_request"}
