"""URL → bytes: redirects, attempts and policy around one guarded exchange."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import urljoin

from requests import Response, Session

from consumer.errors import FetchError, HttpStatus, ProtocolError, TooManyRedirects, UrlBlocked, UrlInvalid
from consumer.fetching.adapter import GuardedAdapter, ImageRequest
from consumer.fetching.addresses import AddressPolicy
from consumer.fetching.deadline import Deadline
from consumer.fetching.guard import Connection, Guard
from consumer.fetching.hosts import Hosts
from consumer.fetching.resolver import Resolve, Resolver, system_resolve
from consumer.fetching.retry import Retries, retry_after_s
from consumer.fetching.urls import Target, UrlPolicy, parse
from consumer.fetching.wire import tls_context
from consumer.settings import Settings

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL led to: the body as it came, and how many attempts it took."""

    body: bytes
    attempts: int


class _OneHopSession(Session):
    """A session that follows nothing, also not "to see where it leads", which reads bodies unbounded."""

    def get_redirect_target(self, resp: Response) -> None:  # noqa: ARG002 - requests' own
        return None


class Fetcher:
    """Fetches images that strangers name. Thread-safe; one for the whole process.

    Args:
        settings: the ``FETCH_`` family.
        clock: monotonic seconds.
        resolve: host name → addresses.
        tls: how certificates are verified.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        *,
        resolve: Resolve = system_resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._deadline_s = settings.fetch_deadline_s
        self._max_redirects = settings.fetch_max_redirects
        self._clock = clock
        self._policy = UrlPolicy(settings.fetch_allow_hosts, settings.fetch_allow_ports)
        self._retries = Retries(settings.fetch_attempts)
        self._headers = {
            "User-Agent": f"image-consumer/{version('image-consumer')}",
            "Accept": "image/*,*/*;q=0.5",
            "Accept-Encoding": "identity",
        }
        guard = Guard(AddressPolicy(settings.fetch_allow_nets), Resolver(resolve), tls or tls_context())
        adapter = GuardedAdapter(
            Hosts(settings.fetch_per_host, lambda target: Connection(target, guard)), settings.fetch_max_bytes
        )
        self._session = _OneHopSession()
        self._session.trust_env = False  # no proxies, .netrc and certificates of the environment
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._closed = threading.Event()

    def fetch(self, url: str) -> Fetched:
        """The bytes behind a URL, within ``FETCH_DEADLINE_S`` whatever happens.

        Raises:
            FetchError: it did not arrive; ``attempts`` says how often it was tried.
        """
        deadline = Deadline(self._deadline_s, self._clock)
        target = self._judged(url)
        attempt = 1
        while True:
            try:
                return Fetched(self._follow(target, deadline), attempt)
            except FetchError as error:
                error.attempts = attempt
                pause = self._retries.pause_s(error, attempt, deadline.left())
                if pause is None or self._closed.wait(pause):
                    raise
            attempt += 1

    def close(self) -> None:
        """Ends every fetch under way, soon, with a retriable error, and closes the connections."""
        self._closed.set()
        self._session.close()

    def _judged(self, url: str) -> Target:
        target = parse(url)
        self._policy.judge(target)
        return target

    def _follow(self, target: Target, deadline: Deadline) -> bytes:
        """One attempt: from hop to hop, each one judged like the first. Nothing is carried along."""
        seen = {target}
        while True:
            request = ImageRequest(target, deadline, self._headers)
            response = self._session.send(request, allow_redirects=False, proxies={})
            if response.status_code not in _REDIRECTS:
                break
            target = self._next(target, response)
            if target in seen:
                raise TooManyRedirects("the server redirects in a circle")
            if len(seen) > self._max_redirects:
                raise TooManyRedirects(
                    f"the server redirects more than {self._max_redirects} times (FETCH_MAX_REDIRECTS)"
                )
            seen.add(target)
        if response.status_code != 200:
            raise HttpStatus(response.status_code, retry_after_s=retry_after_s(response.headers.get("Retry-After")))
        return response.content

    def _next(self, target: Target, response: Response) -> Target:
        location = response.headers.get("Location")
        if location is None:
            raise ProtocolError("the server redirects without saying where")
        try:
            # Header bytes come as Latin-1, but who puts other characters in a location means UTF-8.
            return self._judged(urljoin(target.url, location.encode("latin-1").decode("utf-8")))
        except ValueError:  # the decoder's, or urljoin's for what it cannot read
            raise UrlInvalid("the server redirects to a location that cannot be read") from None
        except (UrlInvalid, UrlBlocked) as error:
            raise type(error)(f"after a redirect: {error}") from None
