"""One deadline over everything: whatever stalls, the fetch ends on it, and no more than a tenth later."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import pytest

from consumer.errors import FetchError
from consumer.fetching import Fetched, Fetcher
from consumer.settings import Settings
from tests.fetching.conftest import LOOPBACK
from tests.fetching.server import IMAGE, Answer, HostileServer, Repeat, head, redirect

DEADLINE_S = 2.0
LATE_S = 0.1 * DEADLINE_S

CHUNKED = head("200 OK", "Transfer-Encoding: chunked")
STALLS: dict[str, Answer] = {
    "the body drips": (head("200 OK", "Content-Length: 2000"), Repeat(b"x", 0.05)),
    "the body drips until the end": (head("200 OK"), Repeat(b"x", 0.05)),
    "the headers drip": (b"HTTP/1.1 200 OK\r\nX: ", Repeat(b"x", 0.05)),
    "header after header drips": (b"HTTP/1.1 200 OK\r\n", Repeat(b"X: y\r\n", 0.05)),
    "the status line drips": (Repeat(b"H", 0.05),),
    "interim answers drip": (Repeat(head("103 Early Hints"), 0.05),),
    "the chunks drip": (CHUNKED, Repeat(b"1\r\nx\r\n", 0.05)),
    "a chunk's size drips": (CHUNKED, Repeat(b"0", 0.05)),
    "the trailers drip": (CHUNKED, b"1\r\nx\r\n0\r\n", Repeat(b"X: y\r\n", 0.05)),
    "nothing comes": ("hang",),
    "the length promises more than comes": (head("200 OK", "Content-Length: 2000") + IMAGE[:100], "hang"),
    "an error's body drips": (head("404 Not Found", "Content-Length: 2000"), Repeat(b"x", 0.05)),
    "the next hop hangs": redirect("/hang"),
}
ELSEWHERE = ("a black hole", "a resolver that hangs", "a TLS handshake that drips", "a TLS handshake that never begins")


@dataclass
class Ended:
    """How a fetch ended, and after how many seconds."""

    future: Future[Fetched]
    began: float
    at: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def note(self, _: Future[Fetched]) -> None:
        self.at = time.monotonic()
        self.over.set()


@pytest.fixture(scope="module")
def stalled() -> Iterator[dict[str, Ended]]:
    """All of them at the same time, since each takes the whole deadline."""
    gone = threading.Event()

    def resolve(host: str) -> list[str]:
        if host == "hanging.example":
            gone.wait(20)
        return ["127.0.0.1"]

    settings = Settings(
        fetch_allow_nets=LOOPBACK,
        fetch_allow_ports=None,
        fetch_deadline_s=DEADLINE_S,
        fetch_per_host=64,
        fetch_concurrency=64,
    )
    with (
        HostileServer() as server,
        HostileServer() as dripping,
        HostileServer() as silent,
        socket.create_server(("127.0.0.1", 0), backlog=0) as hole,
    ):
        # A listener with a full queue: the kernel drops what comes, as a firewall does.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        dripping.greeting = (b"\x16\x03\x03\x40\x00", Repeat(b"\x02", 0.05))  # a record of 16 KiB, byte by byte
        server.serve("/hang", ("hang",))
        urls = {case: server.serve(f"/{number}", answer) for number, (case, answer) in enumerate(STALLS.items())}
        urls |= {
            "a black hole": f"http://127.0.0.1:{hole.getsockname()[1]}/",
            "a resolver that hangs": "http://hanging.example/",
            "a TLS handshake that drips": dripping.url("/").replace("http:", "https:"),
            "a TLS handshake that never begins": silent.url("/").replace("http:", "https:"),
        }
        fetcher = Fetcher(settings, resolve=resolve)
        ended = {}
        for case, url in urls.items():
            began = time.monotonic()
            ended[case] = Ended(fetcher.submit(url), began)
            ended[case].future.add_done_callback(partial(Ended.note, ended[case]))
        yield ended
        fetcher.close()
        gone.set()
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("case", [*STALLS, *ELSEWHERE])
def test_the_deadline_holds_however_it_stalls(case: str, stalled: dict[str, Ended]) -> None:
    one = stalled[case]
    assert one.over.wait(4 * DEADLINE_S), "it does not end at all"
    error = one.future.exception(0)
    assert isinstance(error, FetchError)
    assert error.code == "fetch_timeout"
    assert DEADLINE_S <= one.at - one.began < DEADLINE_S + LATE_S
