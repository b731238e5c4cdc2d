"""Names to addresses, by a resolver that may hang."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from consumer.errors import DnsFailed
from consumer.fetching.deadline import Deadline

Resolve = Callable[[str], Sequence[str]]
"""A host name → its addresses as text, in the order to try them; raises `OSError`."""

MOST_LOOKUPS = 512
"""Lookups at one time. Those that hang go on after the fetch that wanted them has ended: with three name servers and
the usual 5 s twice for each, 30 s, so that the 96 threads which hosts without trust share at most can leave 288 behind
with the usual deadline of 10 s."""


def system_resolve(host: str) -> list[str]:
    """What the machine's resolver says. The order is its own (RFC 6724)."""
    # As bytes, so that Python's own IDNA codec stays out: the name is ASCII since it was parsed.
    found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class Resolver:
    """Resolves within a deadline, although `socket.getaddrinfo` knows none.

    Each lookup runs in a daemon thread of its own, which its caller leaves behind at the deadline.
    A thread costs 0.1 ms, and only a new connection to a name pays it: with keep-alive, few fetches.
    (A pool of threads would be cheaper still, but an executor's threads hold up the end of the
    process, and a queue before them holds up the others.) Whoever asks for a name while it is being
    looked up waits for the same answer, so a name that hangs costs one thread however often it is
    asked for. Answers are not kept: caching is the machine's resolver's, which knows their TTL.
    """

    def __init__(self, resolve: Resolve = system_resolve) -> None:
        self._resolve = resolve
        self._lock = threading.Lock()
        self._room = threading.Semaphore(MOST_LOOKUPS)
        self._lookups: dict[str, Future[Sequence[str] | OSError]] = {}

    def addresses(self, host: str, deadline: Deadline) -> Sequence[str]:
        """The addresses of a name, at least one.

        Raises:
            DnsFailed: it has none; retriable unless the resolver said so for certain.
            FetchTimeout: the deadline passed.
        """
        with self._lock:
            lookup = self._lookups.get(host)
            ours = lookup is None
            if lookup is None:
                lookup = self._lookups[host] = Future()
        if ours:
            self._start(host, lookup, deadline)
        try:
            found = lookup.result(deadline.remaining())
        except TimeoutError:
            raise deadline.passed() from None
        if isinstance(found, OSError):
            certain = isinstance(found, socket.gaierror) and found.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
            told = "there is no such host" if certain else "the host's name could not be resolved"
            raise DnsFailed(told, retriable=not certain)
        if not found:
            raise DnsFailed("the host has no address", retriable=False)
        return found

    def _start(self, host: str, lookup: Future[Sequence[str] | OSError], deadline: Deadline) -> None:
        if not self._room.acquire(timeout=deadline.remaining()):
            self._finish(host, lookup, TimeoutError("too many lookups hang"))
            raise deadline.passed()
        try:
            threading.Thread(target=self._run, args=(host, lookup), name="resolver", daemon=True).start()
        except RuntimeError as error:  # the process may have no more threads
            self._room.release()
            self._finish(host, lookup, OSError(str(error)))

    def _run(self, host: str, lookup: Future[Sequence[str] | OSError]) -> None:
        answer: Sequence[str] | OSError
        try:
            answer = self._resolve(host)
        except OSError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for this thread in vain
            answer = OSError(str(error))
        self._room.release()
        self._finish(host, lookup, answer)

    def _finish(self, host: str, lookup: Future[Sequence[str] | OSError], answer: Sequence[str] | OSError) -> None:
        with self._lock:
            del self._lookups[host]
        lookup.set_result(answer)
