"""Reading an HTTP/1.1 answer, strictly: whatever two readers could understand differently is refused.

Own and not `http.client`, which takes ``-1`` and ``0x_10`` for the size of a chunk, ends the headers at a
line that is none, and gives out an early hint (103) as the answer. Grammar: RFC 9112. One leniency
stays, since it changes no meaning: lines may end with LF alone.

Not even a broken answer can make it read on for ever: the socket below has a deadline, heads and trailers
have `HEAD_BYTES`, and bodies the caller's cap. Nor can one keep the interpreter busy: lines, chunks and pieces are
counted too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import NoReturn

from requests.structures import CaseInsensitiveDict

from consumer.errors import ConnectFailed, ProtocolError, TooLarge
from consumer.fetching.wire import ROOM_BYTES, BoundedSocket

HEAD_BYTES = 64 * 2**10
"""Most bytes of status lines and headers together, interim answers included; the same for trailers.
Servers keep theirs below 8 to 32 KiB."""

LINE_COUNTS = 64
"""Bytes of those that a line counts as at least, hence 1024 lines; `http.client` takes 100 headers. A line takes 5 µs
of the interpreter's lock, whatever is in it."""

CHUNK_LINE_BYTES = 256
"""Most bytes of the line before a chunk: its size, and extensions that nobody uses."""

CHUNKS = 4096
CHUNK_BYTES = 256
"""A body may have so many chunks, and one more for so many bytes that it may have. Servers send kilobytes at a time; a
chunk takes 3 µs of the interpreter's lock, so 20 MiB in chunks of one byte would take a minute. So it is 0.3 s."""

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})( [^\r\n\0]*)?")
# One pass each, without a choice: what backtracks can be made to take minutes, with the interpreter's lock held.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NO_VALUE = re.compile(rb"[\r\n\0]")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;[^\r\n\0]*)?")
_LENGTH = re.compile(r"[0-9]{1,18}")


class UnansweredError(Exception):
    """The connection ended before the first byte of an answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an answer; several fields of one name are joined by ``", "``.

    ``length`` is the body's, in bytes; null if it is ``chunked``, or ends with the connection.
    """

    status: int
    headers: CaseInsensitiveDict[str]
    length: int | None
    chunked: bool
    kept: bool
    """Whether the server lets the connection take another request once the body is read."""


class AnswerReader:
    """Reads answers from one connection, one after the other."""

    def __init__(self, sock: BoundedSocket) -> None:
        self._sock = sock
        self._buffer = bytearray()

    @property
    def clean(self) -> bool:
        """Whether nothing came that was not asked for."""
        return not self._buffer

    def head(self) -> Head:
        """The head of the final answer; interim ones (1xx) are read over.

        Raises:
            UnansweredError: the connection ended instead.
            ConnectFailed: it ended in the middle.
            ProtocolError: this is not HTTP, is longer than `HEAD_BYTES`, or can be read in two ways.
        """
        self._sock.allow(HEAD_BYTES + ROOM_BYTES)
        budget = _Budget(HEAD_BYTES, f"the answer's headers are longer than {HEAD_BYTES} bytes", LINE_COUNTS)
        if not self._buffer and not self._more():
            raise UnansweredError
        while True:
            line = self._line(budget, budget.left)
            match = _STATUS.fullmatch(line)
            if match is None:
                _refuse("the answer is not HTTP")
            status, fields = int(match[2]), self._fields(budget)
            if status >= HTTPStatus.OK:
                return _head(status, fields, old=match[1] == b"0")
            if status == HTTPStatus.SWITCHING_PROTOCOLS:
                _refuse("the server switches to a protocol that nobody asked for")

    def body(self, head: Head, most: int) -> bytes:
        """The whole body of an answer that may have one.

        Raises:
            TooLarge: it is longer than ``most`` bytes, or would need many more on the wire.
            ConnectFailed: the connection ended before the body did.
            ProtocolError: a chunk is none.
        """
        # On the wire: a sixteenth more for the lines between chunks, and trailers.
        self._sock.allow(most + most // 16 + HEAD_BYTES + ROOM_BYTES)
        if head.chunked:
            return self._chunks(most)
        if head.length is None:
            while len(self._buffer) <= most:
                if not self._more():
                    return self._take(len(self._buffer))
            raise _too_large(most)
        if head.length > most:
            raise _too_large(most)
        return self._exactly(head.length)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _chunks(self, most: int) -> bytes:
        body, left = bytearray(), CHUNKS + most // CHUNK_BYTES
        while size := self._chunk_size():
            if len(body) + size > most:
                raise _too_large(most)
            left -= 1
            if left < 0:
                _refuse("the answer comes in very many small chunks")
            body += self._exactly(size)
            if self._line(_Budget(2, "a chunk is longer than its size"), 2):
                _refuse("a chunk is longer than its size")
        self._fields(_Budget(HEAD_BYTES, f"the answer's trailers are longer than {HEAD_BYTES} bytes", LINE_COUNTS))
        return bytes(body)

    def _chunk_size(self) -> int:
        told = "the size of a chunk cannot be read"
        match = _CHUNK.fullmatch(self._line(_Budget(CHUNK_LINE_BYTES, told), CHUNK_LINE_BYTES))
        if match is None:
            _refuse(told)
        return int(match[1], 16)

    def _fields(self, budget: _Budget) -> list[tuple[str, str]]:
        fields: list[tuple[str, list[str]]] = []
        while line := self._line(budget, budget.left):
            if line[:1] in b" \t" and fields:  # a folded line, which a user agent joins (RFC 9112, 5.2)
                fields[-1][1].append(line.strip(b" \t").decode("latin-1"))
                continue
            name, colon, value = line.partition(b":")
            if not colon or not _NAME.fullmatch(name) or _NO_VALUE.search(value):
                _refuse("the answer has a header that cannot be read")
            fields.append((name.decode("ascii"), [value.strip(b" \t").decode("latin-1")]))
        return [(name, " ".join(parts)) for name, parts in fields]

    def _line(self, budget: _Budget, most: int) -> bytes:
        """The next line without its end."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > most:
                _refuse(budget.told)
            if not self._more():
                raise ConnectFailed("the connection ended before the answer was whole")
        budget.spend(end + 1)
        return self._take(end + 1)[:-1].removesuffix(b"\r")

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._more():
                raise ConnectFailed("the connection ended before the image was whole")
        return self._take(count)

    def _take(self, count: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return taken

    def _more(self) -> bool:
        """Receives; false at the connection's end."""
        piece = self._sock.recv(ROOM_BYTES)
        self._buffer += piece
        return bool(piece)


class _Budget:
    """Bytes that may still be spent on lines; each counts as ``least`` at least."""

    def __init__(self, left: int, told: str, least: int = 0) -> None:
        self.left = left
        self.told = told
        self._least = least

    def spend(self, count: int) -> None:
        self.left -= max(count, self._least)
        if self.left < 0:
            _refuse(self.told)


def _head(status: int, fields: list[tuple[str, str]], *, old: bool) -> Head:
    values: CaseInsensitiveDict[list[str]] = CaseInsensitiveDict()
    for name, value in fields:
        values.setdefault(name, []).append(value)
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict({name: ", ".join(told) for name, told in values.items()})
    coding, lengths = headers.get("transfer-encoding"), headers.get("content-length")
    length = None
    if coding is not None:
        # Both, or a coding in HTTP/1.0, is how answers are smuggled past what stands between (RFC 9112, 6.3).
        if lengths is not None or old:
            _refuse("the answer says in two ways where it ends")
        if coding.lower() != "chunked":
            _refuse("the answer's Transfer-Encoding is not chunked")
    elif lengths is not None:
        said = {one.strip() for one in lengths.split(",")}
        if len(said) > 1 or not _LENGTH.fullmatch(lengths := said.pop()):
            _refuse("the answer's Content-Length cannot be read")
        length = int(lengths)
    if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        coding, length = None, 0  # never a body, whatever the headers say
    connection = {one.strip().lower() for one in headers.get("connection", "").split(",")}
    kept = (coding is not None or length is not None) and not old and "close" not in connection
    return Head(status, headers, length, coding is not None, kept)


def _refuse(told: str) -> NoReturn:
    raise ProtocolError(told)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the image has more than {most} bytes (FETCH_MAX_BYTES)")
