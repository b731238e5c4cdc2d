"""The transport below `requests`: one exchange over one guarded connection, bounded in every way.

`requests.Session` hands every request to the adapter that is mounted for its scheme, and this one
never looks at a URL: it takes the `Target` that the request was made from.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from consumer.errors import ConnectFailed, ProtocolError, TlsFailed, TooLarge
from consumer.fetching.deadline import Deadline
from consumer.fetching.guard import Connection
from consumer.fetching.hosts import Hosts
from consumer.fetching.urls import Target
from consumer.fetching.wire import BoundedSocket, Overrun

HEADER_BYTES = 64 * 2**10
"""Most bytes of a status line and headers together. Servers keep theirs below 8 to 32 KiB."""

DRAINED_BYTES = 16 * 2**10
"""A body that nobody wants, a 404's, is read to keep the connection if it is known to be so short."""

PIECE_BYTES = 64 * 2**10
"""Read at a time of a body whose length nobody said."""


class ImageRequest(PreparedRequest):
    """A GET for a target. It is made whole here: preparing costs 0.3 ms, and reads the URL again."""

    def __init__(self, target: Target, deadline: Deadline, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.method = "GET"
        self.url = target.url
        self.headers = CaseInsensitiveDict(headers)
        self.target = target
        self.deadline = deadline


class ImageResponse(Response):
    """A response whose body, if it is wanted, is here as a whole. It has no ``raw``, hence no cookies."""

    def __init__(self, request: ImageRequest, answer: http.client.HTTPResponse, body: bytes) -> None:
        super().__init__()
        self.request = request
        self.url = request.target.url
        self.status_code = answer.status
        self.headers = CaseInsensitiveDict(answer.headers.items())
        self._content = body


class _Stale(Exception):
    """A connection that was used before turned out to be closed by the server."""


class GuardedAdapter(BaseAdapter):
    """Sends an `ImageRequest` and returns its `ImageResponse`; redirects and retries are the caller's.

    Raises:
        FetchError: whatever goes wrong, in the words of `consumer.errors`.
    """

    def __init__(self, hosts: Hosts, max_bytes: int) -> None:
        super().__init__()
        self._hosts = hosts
        self._max_bytes = max_bytes

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        """One exchange; a second one where the server closed an idle connection under the first."""
        assert isinstance(request, ImageRequest)
        try:
            with self._hosts.lend(request.target, request.deadline) as connection:
                return self._exchange(connection, request)
        except _Stale:
            with self._hosts.lend(request.target, request.deadline, fresh=True) as connection:
                return self._exchange(connection, request)

    def close(self) -> None:
        """Closes every connection."""
        self._hosts.close()

    def _exchange(self, connection: Connection, request: ImageRequest) -> ImageResponse:
        sock = connection.open(request.deadline, HEADER_BYTES)
        try:
            # The answer holds the socket open until it is closed or read to its end.
            with _ask(connection, request) as answer:
                body = self._body(answer, sock)
                connection.exchanges += 1
                connection.reusable = answer.isclosed() and not answer.will_close
        except Overrun as error:
            raise self._too_large() from error
        except http.client.IncompleteRead as error:
            raise ConnectFailed("the connection ended before the image was whole") from error
        except ssl.SSLError as error:
            raise TlsFailed("the TLS connection broke", retriable=True) from error
        except OSError as error:
            raise ConnectFailed("the connection broke before the image was whole") from error
        except (http.client.HTTPException, ValueError) as error:  # ValueError: a chunk size that is no number
            raise ProtocolError("the answer is not HTTP that we accept") from error
        return ImageResponse(request, answer, body)

    def _body(self, answer: http.client.HTTPResponse, sock: BoundedSocket) -> bytes:
        """The image; of another status than 200 nothing, though a short body is read to keep the connection."""
        length = _length(answer)
        if answer.status == http.client.OK:
            sock.allow_more(self._max_bytes + self._max_bytes // 16 + HEADER_BYTES)  # chunk sizes and trailers
            return self._image(answer, length)
        if length is not None and length <= DRAINED_BYTES:
            sock.allow_more(DRAINED_BYTES)
            answer.read()
        return b""

    def _image(self, answer: http.client.HTTPResponse, length: int | None) -> bytes:
        for coding in answer.headers.get_all("content-encoding", ()):
            if coding.strip().lower() not in ("", "identity"):
                raise ProtocolError("the answer is compressed, although identity was asked for")
        if length is not None:
            if length > self._max_bytes:
                raise self._too_large()
            return answer.read()
        # In pieces: neither one chunk's size nor millions of tiny chunks may decide how much memory it takes.
        body = bytearray()
        while piece := answer.read(PIECE_BYTES):
            body += piece
            if len(body) > self._max_bytes:
                raise self._too_large()
        return bytes(body)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the image has more than {self._max_bytes} bytes (FETCH_MAX_BYTES)")


def _ask(connection: Connection, request: ImageRequest) -> http.client.HTTPResponse:
    """Sends the request and reads the answer's headers."""
    try:
        connection.request("GET", request.target.resource, headers=request.headers)
        return connection.getresponse()
    except ConnectionError as error:  # http.client.RemoteDisconnected is one
        if connection.exchanges:
            raise _Stale from error
        raise
    except Overrun as error:
        raise ProtocolError(f"the answer's headers are longer than {HEADER_BYTES} bytes") from error


def _length(answer: http.client.HTTPResponse) -> int | None:
    """The body's length if the answer says so; `http.client` lets pass what proxies disagree on."""
    codings = answer.headers.get_all("transfer-encoding", [])
    if codings and not answer.chunked:
        raise ProtocolError("the answer's Transfer-Encoding is not chunked")
    lengths = answer.headers.get_all("content-length", [])
    if not lengths or answer.chunked:
        return None
    if len(set(lengths)) > 1 or not lengths[0].isascii() or not lengths[0].isdigit() or len(lengths[0]) > 18:
        raise ProtocolError("the answer's Content-Length cannot be read")
    return int(lengths[0])
