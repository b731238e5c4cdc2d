"""The transport below `requests`: one exchange over one guarded connection, bounded in every way.

`requests.Session` hands every request to the adapter that is mounted for its scheme, and this one
never looks at a URL: it takes the `Target` that the request was made from.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from consumer.errors import ConnectFailed, FetchError, ProtocolError, TlsFailed, TooLarge
from consumer.fetching.connections import Connections
from consumer.fetching.deadline import Deadline
from consumer.fetching.guard import Connection
from consumer.fetching.http1 import Head, UnansweredError
from consumer.fetching.urls import Target
from consumer.fetching.wire import Overrun

DRAINED_BYTES = 16 * 2**10
"""A body that nobody wants, a 404's, is read to keep the connection if it is known to be so short."""


class ImageRequest(PreparedRequest):
    """A GET for a target. It is made whole here: preparing costs 0.3 ms, and reads the URL again."""

    def __init__(self, target: Target, deadline: Deadline, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.method = "GET"
        self.url = target.url
        self.headers = CaseInsensitiveDict(headers)
        self.target = target
        self.deadline = deadline
        self.machine: str | None = None
        """Who was reached; null as long as nobody was."""


class ImageResponse(Response):
    """A response whose body, if it is wanted, is here as a whole. It has no ``raw``, hence no cookies."""

    def __init__(self, request: ImageRequest, head: Head, body: bytes) -> None:
        super().__init__()
        self.request = request
        self.url = request.target.url
        self.status_code = head.status
        self.headers = head.headers
        self._content = body


class _Stale(Exception):
    """A connection that was used before turned out to be closed by the server."""


class GuardedAdapter(BaseAdapter):
    """Sends an `ImageRequest` and returns its `ImageResponse`; redirects and retries are the caller's.

    Raises:
        FetchError: whatever goes wrong, in the words of `consumer.errors`.
    """

    def __init__(self, connections: Connections, max_bytes: int) -> None:
        super().__init__()
        self._connections = connections
        self._max_bytes = max_bytes

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        """One exchange; a second one where the server closed an idle connection under the first."""
        assert isinstance(request, ImageRequest)
        try:
            with self._connections.lend(request.target) as connection:
                return self._exchange(connection, request)
        except _Stale:
            with self._connections.lend(request.target, fresh=True) as connection:
                return self._exchange(connection, request)

    def close(self) -> None:
        """Closes every connection."""
        self._connections.close()

    def _exchange(self, connection: Connection, request: ImageRequest) -> ImageResponse:
        try:
            connection.open(request.deadline)
        except FetchError as error:
            error.reached = False
            raise
        request.machine = connection.machine
        try:
            head = _ask(connection, request)
            body = self._body(connection, head)
        except Overrun as error:
            raise TooLarge(f"the image has more than {self._max_bytes} bytes (FETCH_MAX_BYTES)") from error
        except ssl.SSLError as error:
            raise TlsFailed("the TLS connection broke", retriable=True) from error
        except OSError as error:
            raise ConnectFailed("the connection broke before the image was whole") from error
        return ImageResponse(request, head, body)

    def _body(self, connection: Connection, head: Head) -> bytes:
        """The image; of another status than 200 nothing, though a short body is read to keep the connection."""
        if head.status == 200:
            if head.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
                raise ProtocolError("the answer is compressed, although identity was asked for")
            body = connection.body(head, self._max_bytes)
            connection.answered(head)
            return body
        if head.length is not None and head.length <= DRAINED_BYTES:
            connection.body(head, DRAINED_BYTES)
            connection.answered(head)
        return b""


def _ask(connection: Connection, request: ImageRequest) -> Head:
    """Sends the request and reads the answer's head."""
    try:
        return connection.ask(request.target, request.headers)
    except (UnansweredError, ConnectionError) as error:
        if connection.exchanges:
            raise _Stale from error
        raise ConnectFailed("the server closed the connection without an answer") from error
