"""Connections that wait for their next request, and those in use."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from consumer.errors import ConnectFailed
from consumer.fetching.guard import Connection
from consumer.fetching.urls import Origin, Target

MOST_IDLE = 128
"""Idle connections kept, of all hosts together; beyond it the one that is idle for longest goes."""

MOST_IDLE_S = 15.0
"""Seconds that an idle connection is kept. Servers close theirs after 5 (Apache) to 75 (nginx)."""

MOST_AGE_S = 60.0
"""Seconds after which a connection takes no further request: names move to other addresses, and a host that is asked
all the time would else hide for as long that no name can be resolved any more. One handshake a minute costs nothing."""


class Connections:
    """Lends connections, each to one exchange at a time. How many of a host is for `Lines` to say."""

    def __init__(self, make: Callable[[Target], Connection], clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        self._lock = threading.Lock()
        self._busy: set[Connection] = set()
        self._idle: OrderedDict[Connection, float] = OrderedDict()  # since when, the longest first
        self._closed = False

    @contextmanager
    def lend(self, target: Target, *, fresh: bool = False) -> Iterator[Connection]:
        """A connection for one exchange; kept if it is ``reusable`` when that is over, else closed.

        Args:
            target: whose host to connect to.
            fresh: not one that was used before.

        Raises:
            ConnectFailed: `close` was called.
        """
        connection = self._take(target, fresh)
        try:
            yield connection
        finally:
            self._put_back(connection)

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

    def _take(self, target: Target, fresh: bool) -> Connection:
        connection = None if fresh else self._take_idle(target.origin)
        if connection is None:
            connection = self._make(target)
            connection.made_at = self._clock()
        with self._lock:
            if not self._closed:
                self._busy.add(connection)
                return connection
        connection.close()
        raise ConnectFailed("the service is stopping")

    def _take_idle(self, origin: Origin) -> Connection | None:
        while True:
            with self._lock:
                found = next((one for one in reversed(self._idle) if one.origin == origin), None)
                since = self._idle.pop(found) if found is not None else 0.0
            if found is None:
                return None
            if self._clock() - since < MOST_IDLE_S and found.is_quiet():
                return found
            found.close()

    def _put_back(self, connection: Connection) -> None:
        now = self._clock()
        gone = []
        with self._lock:
            self._busy.discard(connection)
            if connection.reusable and now - connection.made_at < MOST_AGE_S and not self._closed:
                self._idle[connection] = now
            else:
                gone.append(connection)
            while self._idle and (len(self._idle) > MOST_IDLE or now - next(iter(self._idle.values())) > MOST_IDLE_S):
                gone.append(self._idle.popitem(last=False)[0])
        for one in gone:
            one.close()
