"""Waiting for an answer: not for ever, not for too many at once, and not for a caller who has left."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from starlette.types import Receive

from consumer.errors import FetchTimeout, Overloaded, UrlInvalid
from consumer.events import Answer
from consumer.fetching.kin import kin_of
from consumer.fetching.urls import parse

Submit = Callable[[str], Future[Answer]]
"""Begins to answer for a URL; the future holds a `Prediction` or a `Failure`."""


class Places:
    """So many, for whoever comes, but never all for the hosts of one domain. Thread-safe.

    A domain that holds some gets another only while more than those are free (dynamic thresholds: Choudhury and Hahne,
    1998). So one that never answers takes half of them, two take a third each, and somebody else still finds room.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._held: Counter[str] = Counter()

    def take(self, domain: str) -> bool:
        """Whether there was one."""
        with self._lock:
            if self._free <= self._held[domain]:
                return False
            self._free -= 1
            self._held[domain] += 1
            return True

    def give_back(self, domain: str) -> None:
        """One that was taken."""
        with self._lock:
            self._free += 1
            self._held[domain] -= 1
            if not self._held[domain]:
                del self._held[domain]


class Waiting:
    """Bounds what HTTP callers ask for.

    A place is taken until the work is over, not until its caller has left: else impatient callers could
    pile up any amount of work.

    Args:
        places: how many may be worked on at once.
        deadline_s: how long a caller waits at most.
    """

    def __init__(self, places: int, deadline_s: float) -> None:
        self._places = Places(places)
        self._deadline_s = deadline_s

    async def answer(self, submit: Submit, url: str, receive: Receive) -> Answer:
        """Has the URL worked on and waits; ``receive`` is the ASGI channel that tells when the caller leaves.

        Raises:
            Overloaded: there is no place free, or the service stops.
            FetchTimeout: the deadline passed, or the caller left, who will not read it. The work is
                cancelled as far as it has not begun.
        """
        domain = _domain(url)
        if not self._places.take(domain):
            raise Overloaded("as many images as the service takes at once, of this host or of all, are being worked on")
        try:
            future = submit(url)
        except BaseException:  # whatever it is, it is raised again, and the place is not lost
            self._places.give_back(domain)
            raise
        future.add_done_callback(lambda _: self._places.give_back(domain))

        answered = asyncio.wrap_future(future)
        left = asyncio.ensure_future(_left(receive))
        try:
            either: set[asyncio.Future[Any]] = {answered, left}
            await asyncio.wait(either, timeout=self._deadline_s, return_when=asyncio.FIRST_COMPLETED)
            if answered.cancelled():
                raise Overloaded("the service is stopping")
            if answered.done():
                return answered.result()
            raise FetchTimeout(f"there was no answer within {self._deadline_s:g} s")
        finally:
            left.cancel()
            answered.cancel()  # and with it the work


def _domain(url: str) -> str:
    """Whose image it is; empty where nobody will be asked."""
    try:
        return kin_of(parse(url).host)
    except UrlInvalid:
        return ""


async def _left(receive: Receive) -> None:
    """Returns when the caller has left; whatever body there was is thrown away."""
    while (await receive())["type"] != "http.disconnect":
        pass
