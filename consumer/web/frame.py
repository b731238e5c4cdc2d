"""What holds for every request: HEAD, headers, and an answer even if we are at fault."""

from __future__ import annotations

import logging
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumer.logs import printable
from consumer.web.forms import OWN_CODES, problem

log = logging.getLogger(__name__)

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # Answers are data: nothing in them may run, load or be framed, whatever a URL smuggles into them.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""On every answer that does not set them itself."""


class Frame:
    """ASGI middleware around the whole application.

    HEAD is answered as GET without its body. An exception that nobody expected is logged and becomes a
    500 that tells nothing about it; Starlette's own middleware would hand it on to the server, to be
    logged there once more.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; other kinds of scope pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = {name for name, _ in scope["headers"]}
        if b"transfer-encoding" in named and (b"content-length" in named or scope["http_version"] == "1.0"):
            # RFC 9112, 6.1: a proxy in front may see the end of this request, and the next one, elsewhere.
            refusal = problem(400, "a request has one length", OWN_CODES[400], {"Connection": "close", **HEADERS})
            await refusal(scope, receive, send)
            return
        head = scope["method"] == "HEAD"
        if head:
            scope = {**scope, "method": "GET"}
        begun = False

        async def send_framed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, send_framed)
        except Exception:  # whatever it is, it is told with its stack, and the caller gets an answer or is cut off
            log.exception("%s %s failed", scope["method"], printable(scope["path"])[:200])
            if begun:
                raise  # too late for an answer: the server has to cut the connection
            await problem(500, "an internal error; the log has it", "internal")(scope, receive, send_framed)
