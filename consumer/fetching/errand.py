"""One image on its way: exchange by exchange, from attempt to attempt, within one deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

from requests import Response, Session

from consumer.errors import (
    FetchError,
    FetchTimeout,
    HttpStatus,
    ProtocolError,
    TooManyRedirects,
    UrlBlocked,
    UrlInvalid,
)
from consumer.fetching.adapter import ImageRequest
from consumer.fetching.deadline import Deadline
from consumer.fetching.retry import Retries, retry_after_s
from consumer.fetching.urls import Target, UrlPolicy, judge_text, parse
from consumer.flight import Flight

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL led to: the body as it came, how many attempts it took, how long since the first began, and
    how much of the deadline is left for what is done with it. ``machine`` is who sent it, whatever its name."""

    body: bytes
    attempts: int
    took_s: float
    left_s: float
    machine: str | None = None
    flight: Flight | None = None
    """The one object of all events that the fetch is for; null if it is for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for every errand."""

    session: Session
    policy: UrlPolicy
    retries: Retries
    headers: Mapping[str, str]
    deadline_s: float
    max_redirects: int
    clock: Callable[[], float]

    def judged(self, url: str) -> Target:
        """What a URL, or a redirect's location, leads to; raises `UrlInvalid` or `UrlBlocked`."""
        target = parse(url)
        self.policy.judge(target)
        return target


class Errand:
    """Fetches one image. Not thread-safe: whose turn it is runs `exchange`, once a turn.

    Raises:
        UrlInvalid, UrlBlocked: the URL is refused. Nobody was asked, so ``attempts`` is 0.
    """

    def __init__(self, rules: Rules, url: str) -> None:
        try:
            self._first = rules.judged(url)
        except FetchError as error:
            error.attempts = 0
            raise
        self._rules = rules
        self._deadline: Deadline | None = None
        self._attempts = 0
        self._seen: set[Target] = set()
        self._why: FetchError | None = None
        self.target = self._first
        """Where the next exchange goes."""
        self.pause_s = 0.0
        """How long to wait before it."""
        self.machine: str | None = None
        """Who the last exchange reached; null if nobody."""

    def begin(self, at: float) -> None:
        """Its clock has run since then; before each exchange, since what it waited for us is not counted."""
        self._deadline = Deadline(self._rules.deadline_s, self._rules.clock, since=at)

    def exchange(self) -> Fetched | None:
        """One exchange: a redirect's hop, or a whole attempt where there are none.

        Returns:
            The image, or null if there is another exchange to come, with ``target``, after ``pause_s``.

        Raises:
            FetchError: this exchange failed. `again` says whether that is the end.
        """
        assert self._deadline is not None
        if self._deadline.left() <= 0:
            raise self.gave_up()
        if not self._seen:
            self._attempts += 1
            self._seen = {self.target}
        self.pause_s, self.machine = 0.0, None
        request = ImageRequest(self.target, self._deadline, self._rules.headers)
        try:
            # Each hop is judged like the first, and nothing is carried along.
            response = self._rules.session.send(request, allow_redirects=False, proxies={})
        finally:
            self.machine = request.machine
        if response.status_code in _REDIRECTS:
            self.target = self._next(response)
            return None
        if response.status_code != 200:
            raise HttpStatus(response.status_code, retry_after_s=retry_after_s(response.headers.get("Retry-After")))
        return Fetched(response.content, self._attempts, self._deadline.spent(), self._deadline.left(), self.machine)

    def again(self, error: FetchError) -> bool:
        """Whether another attempt follows this failure, after ``pause_s``; if not, it is the errand's."""
        assert self._deadline is not None
        error.attempts = self._attempts
        if self._deadline.left() <= 0:
            return False
        pause_s = self._rules.retries.pause_s(error, self._attempts, self._deadline.left())
        if pause_s is None:
            return False
        self._why = error
        self.pause_s = pause_s
        self.target = self._first
        self._seen = set()
        return True

    def gave_up(self) -> FetchError:
        """What to say of it if its time passed in a line: why its last attempt failed, or that it did."""
        if self._why is not None:
            return self._why
        told = f"after {self._rules.deadline_s:g} s (FETCH_DEADLINE_S)"
        if not self._attempts:
            return FetchTimeout(f"its turn at a host that is slow had not come {told}", attempts=0)
        return FetchTimeout(f"the image was not here {told}", attempts=self._attempts)

    def failed_with(self, error: FetchError) -> FetchError:
        """What to say of it if another's failure holds for it too."""
        told = f"{error}; found out for another event of its host"
        return type(error)(told, retriable=error.retriable, attempts=self._attempts)

    def _next(self, response: Response) -> Target:
        location = response.headers.get("Location")
        if location is None:
            raise ProtocolError("the server redirects without saying where")
        try:
            # Header bytes come as Latin-1, but who puts other characters in a location means UTF-8.
            reference = location.encode("latin-1").decode("utf-8")
            judge_text(reference)  # as it was sent: urljoin drops tabs and line ends, and what stands before the scheme
            target = self._rules.judged(urljoin(self.target.url, reference))
        except ValueError:  # the decoder's, or urljoin's for what it cannot read
            raise UrlInvalid("the server redirects to a location that cannot be read") from None
        except (UrlInvalid, UrlBlocked) as error:
            raise type(error)(f"after a redirect: {error}") from None
        if target in self._seen:
            raise TooManyRedirects("the server redirects in a circle")
        most = self._rules.max_redirects
        if len(self._seen) > most:
            raise TooManyRedirects(f"the server redirects more than {most} times (FETCH_MAX_REDIRECTS)")
        self._seen.add(target)
        return target
