"""Sockets that keep a deadline and count what they receive.

Whatever reads from them cannot outlast the first nor exceed the second, in a status line, in headers,
in chunk sizes, in trailers and in the body alike.
"""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any

import certifi

from consumer.errors import ProtocolError
from consumer.fetching.deadline import Deadline

PIECES = 4096
PIECE_BYTES = 512
"""An answer may come in so many pieces, and in one more for so many bytes that are allowed. A piece takes 10 to 15 µs
of the interpreter, so 20 MiB in records of TLS of one byte would take minutes. So it is 0.7 s at most."""

ROOM_BYTES = 64 * 2**10
"""Most that one call receives."""


class _Room(threading.local):
    """Where a thread receives into, again and again.

    What `socket.recv` returns is taken for all that might come, then cut down to what came. Small blocks settle in what
    was cut off, and glibc keeps them for their threads; so the next 64 KiB do not fit there, and new memory is taken:
    0.5 to 2 KiB an event, without an end, all of it free. With this it stays (docs/scaling.md).
    """

    def __init__(self) -> None:
        self.view = memoryview(bytearray(ROOM_BYTES))


_room = _Room()


class Overrun(Exception):
    """The server sent more bytes than it was allowed to."""


class BoundedSocket(socket.socket):
    """A connected socket; before each use, `bound` says what holds for it."""

    _deadline: Deadline | None = None
    """Null before `bound`: `ssl` itself reads a byte where the peer is gone before the handshake."""
    _allowance = 0
    _pieces = 0

    def bound(self, deadline: Deadline) -> None:
        """From now on nothing blocks past ``deadline``, and nothing may come in before `allow` lets it."""
        self._deadline = deadline
        self._allowance = self._pieces = 0

    def allow(self, count: int) -> None:
        """From now on ``count`` bytes may come in, in not too many pieces."""
        self._allowance = count
        self._pieces = PIECES + count // PIECE_BYTES

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """As `socket.socket.recv`, within the bounds, and `ROOM_BYTES` at most; all reading goes through here.

        Raises:
            FetchTimeout: the deadline passed.
            Overrun: more bytes came than are allowed.
            ProtocolError: they come in more pieces than they may.
        """
        deadline = self._deadline
        if deadline is None:
            return super().recv(bufsize, flags)
        self.settimeout(deadline.remaining())
        room = _room.view[:bufsize]
        try:
            count = super().recv_into(room, len(room), flags)
        except TimeoutError:
            raise deadline.passed() from None
        self._allowance -= count
        if self._allowance < 0:
            raise Overrun
        self._pieces -= 1
        if self._pieces < 0:
            raise ProtocolError("the answer comes in very many small pieces")
        return bytes(room[:count])

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As `socket.socket.sendall`, within the deadline as a whole: over TLS the standard one gives it to each piece.

        Raises:
            FetchTimeout: the deadline passed.
        """
        deadline = self._deadline
        assert deadline is not None, "bound first"
        rest = memoryview(data)
        try:
            while rest:
                self.settimeout(deadline.remaining())
                rest = rest[super().send(rest, flags) :]
        except TimeoutError:
            raise deadline.passed() from None


class BoundedTlsSocket(BoundedSocket, ssl.SSLSocket):  # type: ignore[misc] # the stubs name parameters differently
    """The same over TLS; `ssl.SSLContext.wrap_socket` makes it."""


def tls_context(cafile: str | None = None) -> ssl.SSLContext:
    """Verifies chain and host name against ``cafile``; if null, against the roots of `certifi`."""
    context = ssl.create_default_context(cafile=cafile or certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = BoundedTlsSocket
    return context
