"""URL → bytes: the threads that fetch, and what stands in front of them."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from requests import Response, Session

from consumer.errors import ConnectFailed, FetchError
from consumer.fetching.adapter import GuardedAdapter
from consumer.fetching.addresses import AddressPolicy
from consumer.fetching.connections import Connections
from consumer.fetching.deadline import Deadline
from consumer.fetching.errand import Errand, Fetched, Rules
from consumer.fetching.guard import Connection, Guard
from consumer.fetching.lines import Lines
from consumer.fetching.own import OwnEndpoints
from consumer.fetching.queues import Ticket
from consumer.fetching.resolver import Resolve, Resolver, system_resolve
from consumer.fetching.retry import Retries
from consumer.fetching.urls import UrlPolicy
from consumer.fetching.wire import tls_context
from consumer.flight import Flight
from consumer.machine import usable_memory
from consumer.mistakes import Mistakes
from consumer.settings import Settings

log = logging.getLogger(__name__)

LEAST_THREADS, MOST_THREADS = 32, 128
"""Images fetched at the same time unless FETCH_CONCURRENCY says otherwise. With hosts that take 1 s, three quarters of
128 are 96 images a second, as many as two cores can ask Xception about in int8. A thread that waits costs 0.1 MB."""
MEMORY_PART = 8
"""At worst they hold an image of FETCH_MAX_BYTES each, and an eighth of the memory together, or 32 such images."""

URGENT_THREADS = 8
"""Threads kept free for HTTP callers, so that a topic full of slow hosts does not hold them up."""

AFTER_A_MISTAKE_S = 1.0
"""How long a thread rests after a mistake of ours in what it does for all, which may be there again at once."""


@dataclass(slots=True, eq=False)
class _Job:
    """One fetch, and whom it is for: those who ride along came later, and get what it comes to."""

    errand: Errand
    future: Future[Fetched] = field(default_factory=Future)
    along: list[Future[Fetched]] = field(default_factory=list)

    def come_to(self, result: Fetched | Exception) -> None:
        for future in (self.future, *self.along):
            if future.done():
                continue  # cancelled; or answered, before a mistake of ours
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


def concurrency(settings: Settings) -> int:
    """How many images are fetched at the same time: FETCH_CONCURRENCY, or what the memory allows."""
    affordable = usable_memory() // MEMORY_PART // settings.fetch_max_bytes
    return settings.fetch_concurrency or min(MOST_THREADS, max(LEAST_THREADS, affordable))


class _OneHopSession(Session):
    """A session that follows nothing, also not "to see where it leads", which reads bodies unbounded."""

    def get_redirect_target(self, resp: Response) -> None:  # noqa: ARG002 - requests' own
        return None


class Fetcher:
    """Fetches images that strangers name. Thread-safe; one for the whole process.

    Args:
        settings: the ``FETCH_`` family.
        clock: monotonic seconds.
        own: host and port of what the service itself listens on and depends on: never fetched from.
        resolve: host name → addresses.
        tls: how certificates are verified.
        on_shared: is told how many more one fetch is for, if any.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        *,
        own: Iterable[tuple[str, int]] = (),
        resolve: Resolve = system_resolve,
        tls: ssl.SSLContext | None = None,
        on_shared: Callable[[int], None] | None = None,
    ) -> None:
        resolver = Resolver(resolve)
        policy = AddressPolicy(settings.fetch_allow_nets)
        guard = self._guard = Guard(policy, OwnEndpoints(own, resolver), resolver, tls or tls_context())
        adapter = GuardedAdapter(Connections(lambda target: Connection(target, guard), clock), settings.fetch_max_bytes)
        session = _OneHopSession()
        session.trust_env = False  # no proxies, .netrc and certificates of the environment
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        self._rules = Rules(
            session=session,
            policy=UrlPolicy(settings.fetch_allow_hosts, settings.fetch_allow_ports),
            retries=Retries(settings.fetch_attempts),
            headers={
                "User-Agent": f"image-consumer/{version('image-consumer')}",
                "Accept": "image/*,*/*;q=0.5",
                "Accept-Encoding": "identity",
            },
            deadline_s=settings.fetch_deadline_s,
            max_redirects=settings.fetch_max_redirects,
            clock=clock,
        )
        self._clock = clock
        self._shared = settings.fetch_shared
        self._on_shared = on_shared
        threads = concurrency(settings)
        self._lines: Lines[_Job] = Lines(settings.fetch_per_host, threads, URGENT_THREADS, settings.fetch_deadline_s)
        self._lock = threading.Lock()
        self._work = {urgent: threading.Condition(self._lock) for urgent in (False, True)}
        self._timed = threading.Condition(self._lock)
        self._timed_until = 0.0
        self._closed = False
        self._mistakes = Mistakes(log)
        # Daemons: who hangs in a decoder does not hold up the end of the process.
        for urgent, count, name in ((False, threads, "fetch"), (True, URGENT_THREADS, "fetch-http")):
            for number in range(count):
                threading.Thread(target=self._run, args=(urgent,), name=f"{name}-{number}", daemon=True).start()
        threading.Thread(target=self._keep_time, name="fetch-time", daemon=True).start()

    def submit(self, url: str, *, urgent: bool = False) -> Future[Fetched]:
        """Begins to fetch what is behind a URL; ``urgent`` goes first.

        Returns:
            A future of the image, or of the `FetchError` that it failed with, whose ``attempts`` says how
            often it was tried; another exception is a mistake of ours. Until its first exchange begins it can be
            cancelled. Its callbacks run on the thread that fetched it, which takes nothing else meanwhile: that thread
            still counts as its host's.
        """
        future: Future[Fetched] = Future()
        try:
            errand = Errand(self._rules, url)
        except Exception as error:  # noqa: BLE001 - raised here a mistake would end the stream, and the next one again
            future.set_exception(error)
            return future
        wants = errand.target.url if self._shared else None
        ticket = Ticket(_Job(errand, future), self._clock(), urgent, wants=wants)
        with self._lock:
            if self._closed:
                future.cancel()
                return future
            self._join(ticket)
        return future

    def fetch(self, url: str) -> Fetched:
        """The same, and waits for it.

        Raises:
            FetchError: it did not arrive.
        """
        return self.submit(url).result()

    def reach(self, url: str) -> Future[None]:
        """Begins to find out whether a URL's host can be reached: connects anew, TLS included, and asks for nothing.

        Beside the lines and on a thread of its own, since all others may be waiting for hosts that do not answer.

        Returns:
            A future of nothing, or of the `FetchError` that says why it cannot; within the deadline.
        """
        answer: Future[None] = Future()
        try:
            threading.Thread(target=self._reach, args=(url, answer), name="fetch-reach", daemon=True).start()
        except RuntimeError as error:  # the process may have no more threads
            answer.set_exception(error)
        return answer

    def close(self) -> None:
        """Cancels what has not begun; ends what has, soon, with a retriable error; closes the connections."""
        with self._lock:
            self._closed = True
            waiting = self._lines.clear()
            for condition in (*self._work.values(), self._timed):
                condition.notify_all()
        for ticket in waiting:
            if not ticket.job.future.cancel():
                ticket.job.come_to(_stopping())
        self._rules.session.close()

    # ── the threads ──────────────────────────────────────────────────────────────────────────────

    def _run(self, urgent: bool) -> None:
        while True:
            ticket = None  # who waits for the next one holds on to no image
            try:
                ticket = self._take(urgent)
                if ticket is None:
                    return
                self._exchange(ticket)
            except Exception as bug:  # noqa: BLE001 - whatever it is, the thread and the event go on
                self._mistakes.tell(bug, "fetching")
                if ticket is not None:
                    _fail(ticket, bug)
                with self._lock:
                    self._work[urgent].wait(AFTER_A_MISTAKE_S)

    def _reach(self, url: str, answer: Future[None]) -> None:
        try:
            connection = Connection(self._rules.judged(url), self._guard)
            connection.open(Deadline(self._rules.deadline_s, self._clock))
            connection.close()
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            answer.set_exception(error)
        else:
            answer.set_result(None)

    def _take(self, urgent: bool) -> Ticket[_Job] | None:
        """Waits for a turn; null when closed."""
        with self._lock:
            while not self._closed:
                ticket = self._lines.take(self._clock(), urgent=urgent)
                if ticket is None:
                    self._work[urgent].wait()
                elif ticket.job.future.running():
                    self._rouse()
                    return ticket
                elif ticket.job.future.set_running_or_notify_cancel():
                    self._take_along(ticket)
                    self._rouse()
                    return ticket
                else:
                    self._lines.given_back(ticket, self._clock())
            return None

    def _exchange(self, ticket: Ticket[_Job]) -> None:
        holds = True
        try:
            holds = self._ask(ticket)
        finally:
            if holds:
                with self._lock:
                    self._give_back(ticket)

    def _ask(self, ticket: Ticket[_Job]) -> bool:
        """Returns whether the turn is still this thread's: if the fetch goes on, another may have taken it already."""
        job, error, fetched, bug = ticket.job, None, None, None
        assert ticket.begun is not None
        job.errand.begin(ticket.begun)
        try:
            fetched = job.errand.exchange()
        except FetchError as failure:
            error = failure
        except Exception as mistake:  # noqa: BLE001 - a mistake of ours fails one event, and says nothing of its host
            bug = mistake
        others: list[Ticket[_Job]] = []
        over = fetched is not None or bug is not None or (error is not None and not job.errand.again(error))
        with self._lock:
            now = self._clock()
            if bug is None:
                self._lines.answered(ticket, now, error, job.errand.machine)
            if self._closed and not over:
                over, error = True, error or _stopping()
            if over and error is not None and error.retriable and not error.reached:
                others = self._lines.shared(ticket, now)
            if fetched is None:
                self._give_back(ticket)
            if not over:
                self._join(ticket)
            self._rouse()
            self._tell_time()
        if fetched is not None:
            # And what is done with it, before the host may have this thread's place.
            job.come_to(replace(fetched, flight=Flight(fetched.left_s)) if job.along else fetched)
        elif bug is not None:
            job.come_to(bug)
        elif over and error is not None:
            job.come_to(error)
            for other in others:
                _fail(other, other.job.errand.failed_with(error))
        return fetched is not None

    def _keep_time(self) -> None:
        """Wakes sleepers, and ends what has stood in line for too long."""
        while not self._closed:
            try:
                self._tick()
            except Exception as bug:  # noqa: BLE001 - without this thread nobody would wake or time out any more
                self._mistakes.tell(bug, "keeping the time of fetches")
                with self._lock:
                    self._timed.wait(AFTER_A_MISTAKE_S)

    def _tick(self) -> None:
        with self._lock:
            if self._closed:
                return
            now = self._clock()
            over = self._lines.wake(now)
            self._rouse()
            if not over:
                wait = min(threading.TIMEOUT_MAX, self._lines.due(now))
                self._timed_until = now + wait
                self._timed.wait(wait)
        for ticket in over:
            _fail(ticket, ticket.job.errand.gave_up())

    # ── under the lock ───────────────────────────────────────────────────────────────────────────

    def _take_along(self, ticket: Ticket[_Job]) -> None:
        riders = [one.job.future for one in self._lines.along(ticket, self._clock())]
        ticket.job.along = [one for one in riders if one.set_running_or_notify_cancel()]
        if ticket.job.along and self._on_shared:
            self._on_shared(len(ticket.job.along))

    def _give_back(self, ticket: Ticket[_Job]) -> None:
        self._lines.given_back(ticket, self._clock())
        self._rouse()

    def _join(self, ticket: Ticket[_Job]) -> None:
        now = self._clock()
        errand = ticket.job.errand
        self._lines.join(ticket, errand.target.origin, now, due=now + errand.pause_s if errand.pause_s else now)
        self._rouse()
        self._tell_time()

    def _rouse(self) -> None:
        """Wakes one thread of a kind that has something to do; whoever takes something wakes the next."""
        for urgent, condition in self._work.items():
            if self._lines.ready(urgent=urgent):
                condition.notify()

    def _tell_time(self) -> None:
        """Wakes the thread that keeps the time, if there is something to do sooner than it knows."""
        now = self._clock()
        if now + self._lines.due(now) < self._timed_until:
            self._timed.notify()


def _fail(ticket: Ticket[_Job], error: Exception) -> None:
    future = ticket.job.future
    if future.running() or future.done() or future.set_running_or_notify_cancel():
        ticket.job.come_to(error)


def _stopping() -> ConnectFailed:
    return ConnectFailed("the service is stopping")
