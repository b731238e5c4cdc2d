"""A local image server: drawn garments over HTTP, at ``/garment/SEED.jpg``.

Run it with ``python -m consumer.demo.images [--host HOST] [--port PORT]``; SIGTERM or Ctrl-C ends it. Its
index page shows a sheet of garments with what they are.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import threading
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self

from consumer.demo.drawing import HEIGHT, WIDTH, draw_garment, truth_of
from consumer.signals import StopRequest

MAX_SEED = 10**9
"""Seeds from 0 up to here, without it, are served; the training draws from the seeds above."""

_SHEET = 48  # garments on the index page: a second or two of drawing
_CACHED = 256  # files of about 20 kB

_log = logging.getLogger(__name__)


class Picture(NamedTuple):
    """A picture's address and what is on it: task → label."""

    url: str
    truth: dict[str, str]


@lru_cache(maxsize=_CACHED)
def _jpeg(seed: int) -> bytes:
    return draw_garment(seed).jpeg


class ImageServer:
    """Serves drawn garments from construction to `close`; also a context manager.

    Args:
        host: address to listen on.
        port: 0 takes a free one.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = _Server((host, port), _Handler)
        # It looks every 50 ms whether it is to end, which `close` waits for; the default is 0.5 s.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="images", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """``http://HOST:PORT``, without a slash at the end."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def pictures(self, count: int, first_seed: int = 0) -> list[Picture]:
        """``count`` different pictures and their truth; nothing is drawn before it is asked for."""
        return pictures(self.url, count, first_seed)

    def close(self) -> None:
        """Stops listening and waits for the server's thread; connections that stand open are dropped."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def pictures(base_url: str, count: int, first_seed: int = 0) -> list[Picture]:
    """The addresses on the image server at ``base_url`` and the truth of ``count`` pictures."""
    seeds = range(first_seed, first_seed + count)
    return [Picture(f"{base_url}/garment/{seed}.jpg", truth_of(seed)) for seed in seeds]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client that keeps its connection open does not hold up the end
    request_queue_size = 128  # the consumer opens many connections at once; the default of 5 makes some wait 1 s

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base's signature
        """A client that hangs up is no event; anything else is logged, not printed."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            _log.error("a request failed: %r", error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    timeout = 60  # seconds of silence after which a connection is closed
    wbufsize = -1  # head and body leave together: separate writes cost 40 ms (Nagle meets delayed ACK)

    def do_GET(self) -> None:
        """Answers one request."""
        path = self.path.partition("?")[0]
        garment = re.fullmatch(r"/garment/([0-9]{1,9})\.jpg", path)
        if garment:
            self._answer(HTTPStatus.OK, "image/jpeg", _jpeg(int(garment[1])))
        elif path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", _sheet().encode())
        elif path == "/healthz":
            self._answer(HTTPStatus.OK, "text/plain", b"ok\n")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"Garments are at /garment/SEED.jpg\n")

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Into the log, for those who want to see every request."""
        _log.debug(format, *args)


def _sheet() -> str:
    """The index page."""
    cells = "".join(
        f'<figure><a href="{url}"><img loading="lazy" src="{url}" width="{WIDTH // 2}" height="{HEIGHT // 2}" '
        f'alt=""></a><figcaption>{"<br>".join(truth.values())}</figcaption></figure>'
        for url, truth in pictures("", _SHEET)
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Drawn garments</title>'
        "<style>body{font:14px system-ui;margin:24px}main{display:flex;flex-wrap:wrap;gap:16px}"
        "figure{margin:0}img{display:block;border-radius:4px}</style>"
        f"<h1>Drawn garments</h1><p>Any seed below {MAX_SEED:,}: /garment/SEED.jpg</p><main>{cells}</main></html>"
    )


def main(arguments: list[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m consumer.demo.images",
        description="Serves drawn garments over HTTP at /garment/SEED.jpg; / shows a sheet of them.",
        epilog="example: python -m consumer.demo.images --host 0.0.0.0 --port 8080",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="its port; 0 takes a free one (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        server = ImageServer(options.host, options.port)
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error}\n")
        return 2
    asked = StopRequest.on_signals()
    with server:
        sys.stdout.write(f"drawn garments at {server.url}/\n")
        sys.stdout.flush()
        asked.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
