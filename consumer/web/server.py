"""The HTTP server, on a thread of its own: signals and the main thread belong to the service."""

from __future__ import annotations

import errno
import socket
import threading
from collections import OrderedDict
from functools import partial
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from consumer.errors import FatalError, SettingsError
from consumer.web.connection import HEAD_BYTES, BoundedConnection, Bounds

WILDCARDS: Final = {"0.0.0.0", "::"}  # noqa: S104 - they are named here, not listened on

START_S: Final = 10.0
"""How long uvicorn may take to serve on a socket that is open already; it takes milliseconds."""

SEND_BYTES: Final = 128 * 2**10
"""What the system keeps of an answer that its caller does not read; it would grow to 4 MiB, and what lies there counts
as taken here. A caller 100 ms away still gets a megabyte a second."""

CLOSING_S: Final = 1.0
"""What uvicorn needs on top of a stop's budget: its main loop looks up every 100 ms."""


class WebServer:
    """Serves an ASGI application between `start` and `stop`.

    Args:
        app: the application.
        host: an address or name to listen on; ``::`` means IPv4 as well.
        port: the port; 0 takes a free one.
        bounds: what connections may cost.
        tries: how many ports may be tried, from this one on, while others listen on them.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        bounds: Bounds = Bounds(),  # noqa: B008 - frozen
        tries: int = 1,
    ) -> None:
        self._host = host
        self._port = port
        self._tries = tries
        connection = partial(BoundedConnection, bounds=bounds, waiting=OrderedDict())
        config = uvicorn.Config(
            app,
            http=connection,  # type: ignore[arg-type] # called like the class that it makes
            h11_max_incomplete_event_size=HEAD_BYTES,
            lifespan="off",
            ws="none",
            log_config=None,  # consumer.logs decides
            access_log=False,  # its lines would hold the URLs that were asked for
            server_header=False,
            proxy_headers=False,  # nothing here depends on where a caller says it comes from
        )
        self._server = _Server(config)
        self._thread = threading.Thread()

    @property
    def port(self) -> int:
        """The port that it listens on, once it has started."""
        return self._port

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    @property
    def url(self) -> str:
        """Where a program on this machine reaches it, without a slash at the end."""
        host = "127.0.0.1" if self._host in WILDCARDS else self._host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def start(self) -> None:
        """Listens and serves.

        Raises:
            SettingsError: it cannot listen there.
        """
        sockets = listen_near(self._host, self._port, self._tries)
        self._port = sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=[sockets], name="http", daemon=True)
        self._thread.start()
        if not self._server.serving.wait(START_S) or not self._server.started:
            raise FatalError("the HTTP server did not start; the log has the reason")

    def stop(self, budget_s: float = 5.0) -> None:
        """Takes no more connections, lets requests under way finish for so long, then cancels them."""
        # uvicorn reads it when it shuts down.
        self._server.config.timeout_graceful_shutdown = budget_s  # type: ignore[assignment] # asyncio takes fractions
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(budget_s + CLOSING_S)

    def _run(self, sockets: list[socket.socket]) -> None:
        try:
            self._server.run(sockets)
        finally:
            self._server.serving.set()


class _Server(uvicorn.Server):
    """Tells when it serves. Its signal handlers stay away: it does not run on the main thread."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


class PortTakenError(SettingsError):
    """Another process listens there."""


def listen_near(host: str, port: int, tries: int) -> list[socket.socket]:
    """The same as `listen`, on the first of so many ports that nobody listens on.

    Raises:
        SettingsError: all are taken, or the host is none of this machine's.
    """
    for candidate in range(port, port + tries - 1):
        try:
            return listen(host, candidate)
        except PortTakenError:
            continue
    return listen(host, port + tries - 1)


def listen(host: str, port: int) -> list[socket.socket]:
    """Open sockets on every address of a host (``localhost`` has two), all on one port.

    Raises:
        SettingsError: the port is taken, or the host is none of this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingsError(f"HTTP_HOST={host} is no address of this machine: {error.strerror}") from None
    opened: list[socket.socket] = []
    refused: OSError | None = None
    for family, address in dict.fromkeys((family, str(address[0])) for family, *_, address in found):
        try:
            opened.append(
                socket.create_server((address, port), family=family, backlog=2048, dualstack_ipv6=address == "::")
            )
        except OSError as error:
            refused = error
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                break
            continue  # a machine without IPv6 has ::1 among the addresses of localhost all the same
        # Accepted sockets inherit it. asyncio sets it only where a socket names its protocol, which these do
        # not, and without it every answer on a kept connection waits 40 ms for the caller's delayed ACK.
        opened[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened[-1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        port = opened[0].getsockname()[1]
    if opened and (refused is None or refused.errno not in (errno.EADDRINUSE, errno.EACCES)):
        return opened
    for one in opened:
        one.close()
    assert refused is not None, "getaddrinfo gives at least one address"
    kind = PortTakenError if refused.errno == errno.EADDRINUSE else SettingsError
    raise kind(_why(host, port, refused))


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"HTTP_PORT={port} is taken: another process listens on it at {host}; "
            "end that one, or choose another port (0 takes a free one)"
        )
    if error.errno == errno.EACCES:
        return f"HTTP_PORT={port} is not allowed to this user: choose one from 1024 on"
    return f"HTTP_HOST={host} is no address of this machine: {error.strerror}"
