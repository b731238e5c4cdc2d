"""The connections: how many to one host at a time, and those that wait for their next request."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from urllib3.util import wait_for_read

from consumer.errors import ConnectFailed
from consumer.fetching.deadline import Deadline
from consumer.fetching.guard import Connection
from consumer.fetching.urls import Target

MOST_IDLE = 128
"""Idle connections kept, of all hosts together; beyond it the one that is idle for longest goes."""

MOST_IDLE_S = 15.0
"""Seconds that an idle connection is kept. Servers close theirs after 5 (Apache) to 75 (nginx)."""


class Hosts:
    """Lends connections, at most ``per_host`` of one host at a time, of whatever scheme and port.

    Who has to wait for one is served in turn. Nothing is remembered of a host that has neither a
    connection lent nor anybody waiting, so the memory is bounded by the number of callers.
    """

    def __init__(self, per_host: int, make: Callable[[Target], Connection]) -> None:
        self._per_host = per_host
        self._make = make
        self._lock = threading.Lock()
        self._lent: dict[str, int] = {}
        self._waiting: dict[str, deque[threading.Event]] = {}
        self._busy: set[Connection] = set()
        self._idle: dict[Connection, float] = {}  # since when; in the order in which they became idle
        self._closed = False

    @contextmanager
    def lend(self, target: Target, deadline: Deadline, *, fresh: bool = False) -> Iterator[Connection]:
        """A connection for one exchange; kept if it is ``reusable`` when that is over, else closed.

        Args:
            target: whose host to connect to.
            deadline: how long to wait for a turn.
            fresh: not one that was used before.

        Raises:
            FetchTimeout: no turn came.
            ConnectFailed: `close` was called.
        """
        self._enter(target.host, deadline)
        connection = None
        try:
            connection = self._take(target, fresh)
            yield connection
        finally:
            if connection is not None:
                self._put_back(connection)
            self._leave(target.host)

    def close(self) -> None:
        """Closes what is idle, and ends what is under way."""
        with self._lock:
            self._closed = True
            idle, busy = list(self._idle), list(self._busy)
            self._idle.clear()
        for connection in idle:
            connection.close()
        for connection in busy:
            connection.abort()

    # ── turns ────────────────────────────────────────────────────────────────────────────────────

    def _enter(self, host: str, deadline: Deadline) -> None:
        with self._lock:
            lent = self._lent.get(host, 0)
            if lent < self._per_host:
                self._lent[host] = lent + 1
                return
            turn = threading.Event()
            self._waiting.setdefault(host, deque()).append(turn)
        turn.wait(max(0.0, deadline.left()))
        with self._lock:
            if turn.is_set():
                return
            self._forget(host, turn)
        raise deadline.passed()

    def _forget(self, host: str, turn: threading.Event) -> None:
        waiting = self._waiting[host]
        waiting.remove(turn)
        if not waiting:
            del self._waiting[host]

    def _leave(self, host: str) -> None:
        with self._lock:
            if waiting := self._waiting.get(host):
                turn = waiting[0]
                self._forget(host, turn)
                turn.set()  # the place is handed on, so the count stays
            elif self._lent[host] == 1:
                del self._lent[host]
            else:
                self._lent[host] -= 1

    # ── connections ──────────────────────────────────────────────────────────────────────────────

    def _take(self, target: Target, fresh: bool) -> Connection:
        connection = None if fresh else self._take_idle(target.origin)
        if connection is None:
            connection = self._make(target)
        with self._lock:
            if not self._closed:
                self._busy.add(connection)
                return connection
        connection.close()
        raise ConnectFailed("the service is stopping")

    def _take_idle(self, origin: tuple[str, str, int]) -> Connection | None:
        while True:
            with self._lock:
                found = next((one for one in reversed(self._idle) if one.origin == origin), None)
                since = self._idle.pop(found) if found is not None else 0.0
            if found is None:
                return None
            assert found.sock is not None  # it was used
            # One that can be read from was closed by the server, or holds bytes that nobody asked for.
            if time.monotonic() - since < MOST_IDLE_S and not wait_for_read(found.sock, timeout=0):
                return found
            found.close()

    def _put_back(self, connection: Connection) -> None:
        now = time.monotonic()
        gone = []
        with self._lock:
            self._busy.discard(connection)
            if connection.reusable and not self._closed:
                self._idle[connection] = now
                while True:
                    oldest = next(iter(self._idle))
                    if len(self._idle) <= MOST_IDLE and now - self._idle[oldest] < MOST_IDLE_S:
                        break
                    del self._idle[oldest]
                    gone.append(oldest)
            else:
                gone.append(connection)
        for one in gone:
            one.close()
