"""Hosts that are asked whether they can be reached, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future

from consumer.errors import ConnectFailed, FetchError
from consumer.evidence import Evidence, evidence

Ask = Callable[[str], Future[None]]
"""Begins to find out whether the host of a URL can be reached; the exception of what it returns says why not."""


class Questions:
    """Those under way. Belongs to the stream's thread; it waits for none."""

    def __init__(self, ask: Ask | None) -> None:
        self._ask = ask or _nobody
        self._asked: list[tuple[str, str, Future[None]]] = []

    def ask(self, urls: Mapping[str, str]) -> None:
        """Asks these hosts, each at its URL; what they were asked before is of no interest any more."""
        self._asked = [one for one in self._asked if one[0] not in urls]
        self._asked += [(host, url, self._ask(url)) for host, url in urls.items()]

    def answers(self) -> Iterator[tuple[str, Evidence]]:
        """Who has answered since the last time, and what that says of the network."""
        done = [one for one in self._asked if one[2].done()]
        self._asked = [one for one in self._asked if not one[2].done()]
        for host, url, answer in done:
            yield host, _told(url, answer.exception())


def _told(url: str, error: BaseException | None) -> Evidence:
    if isinstance(error, FetchError):
        return evidence(url, error.code, retriable=error.retriable, stage=error.stage)
    if error is not None:  # a mistake of ours
        return Evidence(None)
    return evidence(url, None, recalled=True)  # of decoder and model it says nothing


def _nobody(url: str) -> Future[None]:
    answer: Future[None] = Future()
    answer.set_exception(ConnectFailed(f"nobody asks {url}"))
    return answer
