"""One connection of the HTTP server, so bounded that an open port cannot be filled up.

uvicorn itself waits without end for a request that has begun, and for a caller that does not read its
answer. Here a request has `Bounds.request_s` to come in whole, its answer `Bounds.answer_s` to be taken, and
of more than `Bounds.connections` the one that has waited longest for a request makes room.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from consumer.web.forms import OWN_CODES, problem
from consumer.web.frame import HEADERS

HEAD_BYTES: Final = 64 * 2**10
"""Most bytes of a request line and headers together. The longest URL that is fetched has 8192 characters,
and 49 KiB percent-encoded."""

_SLICE_BYTES: Final = 16 * 2**10
"""h11 judges the size of what is incomplete: handed on at once, a head of any size would be complete."""

_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""Lingering, for 0 s: a reset instead of an end (socket(7))."""

# What strangers send is no news for the log: they would decide how much is written.
_log = logging.getLogger("uvicorn.error.connection")
_log.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What connections may cost."""

    connections: int = 512
    """Open at the same time; a process may commonly have 1024 files open."""
    request_s: float = 10.0
    """From a connection's beginning, or its last answer, until the next request is here as a whole."""
    answer_s: float = 60.0
    """From there until its answer has been taken; longer than answering takes."""
    linger_s: float = 5.0
    """After an answer that ends the connection, until its caller has taken it and closed."""


class BoundedConnection(H11Protocol):
    """uvicorn's protocol for HTTP/1.1 with a clock.

    Args:
        waiting: shared by all connections of a server: those that wait for a request, the longest first.
    """

    def __init__(self, *args: Any, bounds: Bounds, waiting: OrderedDict[BoundedConnection, None], **more: Any) -> None:
        super().__init__(*args, **more)
        self.logger = _log
        self._bounds = bounds
        self._waiting = waiting
        self._timer: asyncio.TimerHandle | None = None
        self._answering = False
        self._deaf = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Somebody connects; another makes room, or there is none."""
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections:
            if not self._waiting:
                self._refuse(503, "as many callers as the service takes at once are being answered", "overloaded")
                return
            longest, _ = self._waiting.popitem(last=False)
            longest.cut()
        self._await_request()

    def data_received(self, data: bytes) -> None:
        """A part of a request, or more than one."""
        for start in range(0, len(data), _SLICE_BYTES):
            if self._deaf or self.transport.is_closing():
                return
            super().data_received(data[start : start + _SLICE_BYTES])
        if not self._answering and not self._deaf and self._is_received():
            self._await_answer()

    def on_response_complete(self) -> None:
        """The answer was handed over; what follows it in the same breath is begun."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._within(self._bounds.linger_s)
        elif self._is_received():
            self._await_answer()
        else:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def cut(self) -> None:
        """Ends the connection, with what its caller has not taken: else the system keeps that for a minute or more."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - a text of uvicorn's
        """Answers what is no HTTP, or too much of it."""
        # Called while the error is being handled.
        if getattr(sys.exc_info()[1], "error_status_hint", 400) == 431:
            self._refuse(431, f"the request line and headers are longer than {HEAD_BYTES} bytes", OWN_CODES[431])
        else:
            self._refuse(400, "this is no HTTP/1.1 request", OWN_CODES[400])

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _refuse(self, status: int, detail: str, code: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # an answer may be under way
            answer = problem(status, detail, code, {"Retry-After": "1"} if status == 503 else None)
            headers = [*answer.raw_headers, *((name.encode(), value.encode()) for name, value in HEADERS.items())]
            headers.append((b"connection", b"close"))
            for event in (
                h11.Response(status_code=status, headers=headers),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:  # what it works on nobody will read
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        # Closed with bytes unread, the connection would be reset, and the answer with it (RFC 9112, 9.6).
        self._deaf = True
        self.transport.write_eof()
        self._await_request(self._bounds.linger_s)

    def _is_received(self) -> bool:
        """Whether a request is here as a whole and not answered yet."""
        return (
            self.cycle is not None and not self.cycle.response_complete and self.conn.their_state is not h11.SEND_BODY
        )

    def _await_request(self, seconds: float | None = None) -> None:
        self._answering = False
        self._waiting[self] = None
        self._waiting.move_to_end(self)
        self._within(self._bounds.request_s if seconds is None else seconds)

    def _await_answer(self) -> None:
        self._answering = True
        self._waiting.pop(self, None)
        self._within(self._bounds.answer_s)

    def _within(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.cut)
