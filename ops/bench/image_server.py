"""The image server: ``python -m ops.bench.image_server PORT``, a process of its own.

``/385x500/NUMBER.jpg`` is a picture of `ops.bench.pictures`; ``?after=0.1`` answers 0.1 s later, as a host far away
does; ``?new`` has eight bytes more, which no other number has. It listens on 127.0.0.1 and `HOSTS` - 1 addresses after
it, since the images of a real topic lie on many hosts, and a fetcher spares each of them. Bytes and headers are ready
before they are asked for: a request costs some 60 µs.
"""

from __future__ import annotations

import asyncio
import re
import sys

from ops.bench.pictures import SIZES, jpeg

HOSTS = 64
PICTURES = 64
"""Of each size; large ones are drawn when they are asked for first."""

_REQUEST = re.compile(
    rb"GET /(?P<size>\w+)/(?P<number>\d+)\.jpg(?:\?(?:after=(?P<after>[\d.]+)|(?P<new>new)))? HTTP/1\.1\r\n"
)


def url(port: int, number: int, size: str = "385x500", after_s: float = 0.0) -> str:
    """The address of one picture: hosts take turns; every event has a URL of its own."""
    host = f"127.0.0.{1 + number % HOSTS}"
    return f"http://{host}:{port}/{size}/{number}.jpg" + (f"?after={after_s:g}" if after_s else "")


class Files:
    """Whole answers, by size and number."""

    def __init__(self) -> None:
        self._ready: dict[tuple[str, int], bytes] = {}

    def answer(self, size: str, number: int) -> bytes:
        """Head and body of a picture."""
        key = (size, number % PICTURES)
        if key not in self._ready:
            body = jpeg(key[1], SIZES[size])
            head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
            self._ready[key] = head.encode() + body
        return self._ready[key]

    def new(self, size: str, number: int) -> bytes:
        """The same picture, with the number behind its end, where no decoder looks."""
        head, _, body = self.answer(size, number).partition(b"\r\n\r\n")
        length = b"Content-Length: %d"
        return b"".join(
            (head.replace(length % len(body), length % (len(body) + 8)), b"\r\n\r\n", body, b"%08d" % number)
        )


class Connection(asyncio.Protocol):
    """One kept connection; requests come one at a time, without bodies."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._transport: asyncio.WriteTransport | None = None
        self._begun = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody came."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A request, or a part of one."""
        self._begun += data
        while (end := self._begun.find(b"\r\n\r\n")) >= 0:
            request, self._begun = self._begun[: end + 4], self._begun[end + 4 :]
            self._answer(request)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """They left."""
        self._transport = None

    def _answer(self, request: bytes) -> None:
        found = _REQUEST.match(request)
        if found is None or found["size"].decode() not in SIZES:
            self._write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        find = self._files.new if found["new"] else self._files.answer
        answer = find(found["size"].decode(), int(found["number"]))
        if found["after"]:
            asyncio.get_running_loop().call_later(float(found["after"]), self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


async def _serve(port: int) -> None:
    files = Files()
    for number in range(PICTURES):
        files.answer("385x500", number)
    loop = asyncio.get_running_loop()
    hosts = [f"127.0.0.{1 + number}" for number in range(HOSTS)]
    await loop.create_server(lambda: Connection(files), hosts, port, backlog=512)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
