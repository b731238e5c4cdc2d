"""A server that does whatever a hostile or broken one does, on raw sockets.

What it answers is data: for each path a list of answers, one for each request and the last one for all
that follow; an answer is a sequence of steps, and after the last step the connection is closed.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

GONE_S = 20.0
"""A test's server gives up by itself after this, so that a broken fetcher fails a test and hangs none."""


@dataclass(frozen=True)
class Repeat:
    """Sends the piece again and again until the client goes away."""

    piece: bytes
    every_s: float = 0.0


Step = bytes | Repeat | Literal["hang", "keep"]
"""Bytes to send; ``hang``: nothing more until the client goes away; ``keep``: another request may follow."""
Answer = Sequence[Step]

IMAGE = bytes(range(256)) * 8


def ok(body: bytes = IMAGE, *headers: str) -> Answer:
    """A proper answer on a connection that is kept."""
    return (head("200 OK", f"Content-Length: {len(body)}", *headers) + body, "keep")


def head(status: str, *headers: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, "", "")).encode("latin-1")


def redirect(location: str, status: str = "302 Found") -> Answer:
    return (head(status, f"Location: {location}", "Content-Length: 0"), "keep")


@dataclass
class Seen:
    """A request as it came: its target, the bytes of its head, and the address that it was sent to."""

    path: str
    head: bytes
    address: str


class HostileServer:
    """Listens on every address, so that 127.0.0.2 reaches it too; one thread a connection."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.seen: list[Seen] = []
        self.connections = 0
        self.at_once = 0
        """Most requests that were being answered at the same time."""
        self._answering = 0
        self._count: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._tls = tls
        self._stop = threading.Event()
        self.greeting: Answer | None = None
        """Sent on every connection before anything is read."""
        self.on_request: Callable[[], None] = lambda: None
        self._listener = socket.create_server(("", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def serve(self, path: str, *answers: Answer) -> str:
        """From now on the path is answered so. Returns its URL."""
        self.answers[path] = list(answers)
        return self.url(path)

    def close(self) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._talk, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(GONE_S)
        try:
            for step in self.greeting or ():
                self._step(connection, step)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            while self._exchange(connection):
                pass
        except OSError:  # the client went away, which is what most of these tests are about
            pass
        finally:
            connection.close()

    def _exchange(self, connection: socket.socket) -> bool:
        """One request and its answer; whether the connection is kept."""
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            if self._stop.is_set() or not (piece := self._receive(connection)):
                return False
            request += piece
        path = request.split(b" ")[1].decode("ascii")
        with self._lock:
            self.seen.append(Seen(path, request, connection.getsockname()[0]))
            answers = self.answers[path]
            answer = answers[min(self._count[path], len(answers) - 1)]
            self._count[path] += 1
            self._answering += 1
            self.at_once = max(self.at_once, self._answering)
        try:
            self.on_request()
            for step in answer:
                self._step(connection, step)
            return answer[-1] == "keep"
        finally:
            with self._lock:
                self._answering -= 1

    def _receive(self, connection: socket.socket) -> bytes:
        while not self._stop.is_set():
            if select.select([connection], [], [], 0.05)[0]:
                return connection.recv(65536)
        return b""

    def _step(self, connection: socket.socket, step: Step) -> None:
        if isinstance(step, bytes):
            connection.sendall(step)
        elif isinstance(step, Repeat):
            while not self._stop.wait(step.every_s):
                connection.sendall(step.piece)
        elif step == "hang":
            self._receive(connection)
