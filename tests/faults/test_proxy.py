"""The proxy: passes bytes, and fails in each of the ways that it can be told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from ops.local_kafka.ports import free_ports
from tests.faults.proxy import Cut, Proxy


class Echo:
    """Answers each line with itself, and counts what it received."""

    def __init__(self, port: int) -> None:
        self.heard = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(100):
                    self.heard.set()
                    connection.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def ports() -> list[int]:
    return free_ports(2)


@pytest.fixture
def echo(ports: list[int]) -> Iterator[Echo]:
    server = Echo(ports[1])
    yield server
    server.close()


@pytest.fixture
def proxy(ports: list[int], echo: Echo) -> Iterator[Proxy]:
    with Proxy({ports[0]: ports[1]}) as made:
        yield made


@pytest.fixture
def client(proxy: Proxy, ports: list[int]) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", ports[0]), timeout=5) as made:
        made.sendall(b"hello")
        assert made.recv(100) == b"hello"
        yield made


def silent(client: socket.socket) -> bool:
    client.settimeout(0.2)
    try:
        client.recv(100)
    except TimeoutError:
        return True
    finally:
        client.settimeout(5)
    return False


def test_what_is_held_comes_when_it_heals(proxy: Proxy, echo: Echo, client: socket.socket) -> None:
    echo.heard.clear()
    proxy.cut(Cut.HELD)
    client.sendall(b"again")
    assert silent(client)
    assert not echo.heard.is_set()
    proxy.heal()
    assert client.recv(100) == b"again"


def test_with_answers_held_the_request_arrives(proxy: Proxy, echo: Echo, client: socket.socket) -> None:
    echo.heard.clear()
    proxy.cut(Cut.ANSWERS_HELD)
    client.sendall(b"again")
    assert echo.heard.wait(5)
    assert silent(client)
    proxy.heal()
    assert client.recv(100) == b"again"


def test_closed_ends_what_is_open_and_what_comes(proxy: Proxy, client: socket.socket, ports: list[int]) -> None:
    proxy.cut(Cut.CLOSED)
    assert client.recv(100) == b""
    with socket.create_connection(("127.0.0.1", ports[0]), timeout=5) as late:
        assert late.recv(100) == b""
    proxy.heal()
    with socket.create_connection(("127.0.0.1", ports[0]), timeout=5) as again:
        again.sendall(b"back")
        assert again.recv(100) == b"back"
