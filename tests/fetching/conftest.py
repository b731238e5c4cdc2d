from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from consumer.fetching import Fetcher
from consumer.fetching.fetcher import LEAST_THREADS
from consumer.fetching.retry import Retries
from consumer.settings import Settings
from tests.fetching.server import HostileServer

LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    made = HostileServer()
    yield made
    made.close()


MakeFetcher = Callable[..., Fetcher]


@pytest.fixture
def make_fetcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeFetcher]:
    """Makes fetchers that may go to loopback, on any port, and whose pauses between attempts are short.

    Each event is fetched for by itself unless asked: what is sent a thousand times is not one fetch here.
    """
    made: list[Fetcher] = []
    monkeypatch.setattr(Retries.__init__, "__defaults__", (lambda _low, high: high / 20,))

    def make(
        *,
        resolve: Any = None,
        tls: Any = None,
        own: Any = None,
        on_shared: Any = None,
        clock: Any = None,
        **settings: Any,
    ) -> Fetcher:
        ours: dict[str, Any] = {
            "fetch_allow_nets": LOOPBACK,
            "fetch_allow_ports": None,
            "fetch_deadline_s": 5.0,
            "fetch_shared": False,
            "fetch_concurrency": LEAST_THREADS,  # by default it goes by the machine's memory
        }
        ours |= settings
        given = {"resolve": resolve, "tls": tls, "own": own, "on_shared": on_shared, "clock": clock}
        more = {name: value for name, value in given.items() if value is not None}
        made.append(Fetcher(Settings(**ours), **more))
        return made[-1]

    yield make
    for one in made:
        one.close()
