"""The failure vocabulary: everything that can go wrong, once, as a type.

::

    ImageConsumerError
    ├── ServiceError              the process cannot start or go on; ends it with ``exit_code``
    │   ├── SettingsError         2   a setting is wrong or unknown
    │   ├── ModelError            3   the model cannot be loaded, or does not fit its configuration
    │   ├── BrokerError           4   the broker is unreachable, refuses us, or lacks a topic
    │   └── FatalError            5   fenced, stuck, or a failure that a restart has to cure
    └── EventError                one event or request failed; becomes a failure outcome with ``code``
        ├── EventUnreadable       event_unreadable    the record is no image-URL event
        ├── FetchError            (stage ``fetch``)
        │   ├── UrlInvalid        url_invalid         not a URL that we accept
        │   ├── UrlBlocked        url_blocked         the policy forbids its address, host or port
        │   ├── DnsFailed         dns_failed          the name has no address
        │   ├── ConnectFailed     connect_failed      no connection, or it broke
        │   ├── TlsFailed         tls_failed          the handshake or the certificate failed
        │   ├── ProtocolError     protocol_error      the answer is not HTTP that we accept
        │   ├── TooManyRedirects  too_many_redirects  more hops than FETCH_MAX_REDIRECTS
        │   ├── HttpStatus        http_status         the server answered with an error status
        │   ├── FetchTimeout      fetch_timeout       FETCH_DEADLINE_S passed
        │   └── TooLarge          too_large           more bytes than FETCH_MAX_BYTES
        ├── ImageError            (stage ``decode``)
        │   ├── ImageTooLarge     image_too_large     more pixels than IMAGE_MAX_PIXELS
        │   ├── NotAnImage        not_an_image        not an image at all
        │   ├── ImageUnsupported  image_unsupported   an image of a kind that is not decoded
        │   └── ImageCorrupt      image_corrupt       an image that is cut or damaged
        ├── ModelFailed           model_failed        the model could not answer for this image
        └── Overloaded            overloaded          no room for the request now

Code, HTTP status, stage and retriability are properties of the type, as the table of error codes in
the README lists them. A message is for people: it never holds a response body, an address that a
name resolved to, or a stack trace, because callers of ``/predict/`` read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

Stage = Literal["event", "fetch", "decode", "predict", "publish"]


class ImageConsumerError(Exception):
    """Root of everything that this package raises on purpose."""


# ── the process ──────────────────────────────────────────────────────────────────────────────────


class ServiceError(ImageConsumerError):
    """The process cannot start or go on. Its text is one line: what is wrong and what to do."""

    exit_code: ClassVar[int] = 1


class SettingsError(ServiceError):
    """A setting is wrong or unknown; names the variable, its value and what is accepted."""

    exit_code = 2


class ModelError(ServiceError):
    """The model cannot be loaded, or does not fit its configuration."""

    exit_code = 3


class BrokerError(ServiceError):
    """The broker is unreachable, does not authorise us, or lacks a topic."""

    exit_code = 4


class FatalError(ServiceError):
    """Fenced, stuck, or failing in a way that only a restart cures."""

    exit_code = 5


# ── one event ────────────────────────────────────────────────────────────────────────────────────


class EventError(ImageConsumerError):
    """One event or request failed.

    Args:
        message: for people; one line, free of secrets and of anything that an upstream sent.
        retriable: overrides the type's default where the cause decides (``http_status``: 503 is,
            404 is not).
        attempts: how often the thing was tried; 0 where nobody was asked, such as for a URL that is refused.
        stage: overrides the type's where it happened elsewhere: the deadline may pass while an image is decoded.
    """

    code: ClassVar[str]
    http_status: ClassVar[int]
    stage: Stage
    retriable: bool = False

    def __init__(
        self, message: str, *, retriable: bool | None = None, attempts: int = 1, stage: Stage | None = None
    ) -> None:
        super().__init__(message)
        self.attempts = attempts
        if retriable is not None:
            self.retriable = retriable
        if stage is not None:
            self.stage = stage


class EventUnreadable(EventError):
    """The record is no image-URL event: there is no URL that an outcome could speak of."""

    code, http_status, stage = "event_unreadable", 422, "event"


class FetchError(EventError):
    """The image did not arrive."""

    stage = "fetch"
    reached: bool = True
    """False where not even a connection was made: it tells of the host and not of this image."""


class UrlInvalid(FetchError):
    """Not a URL that we accept."""

    code, http_status = "url_invalid", 422


class UrlBlocked(FetchError):
    """The policy forbids its address, host or port."""

    code, http_status = "url_blocked", 403


class DnsFailed(FetchError):
    """The name has no address. Retriable when the resolver failed rather than said no."""

    code, http_status, retriable = "dns_failed", 502, True


class ConnectFailed(FetchError):
    """No connection could be made, or it broke before the image was whole."""

    code, http_status, retriable = "connect_failed", 502, True


class TlsFailed(FetchError):
    """The TLS handshake failed; a bad certificate does not get better by asking again."""

    code, http_status = "tls_failed", 502


class ProtocolError(FetchError):
    """The answer is not HTTP, or HTTP of a kind that we do not accept."""

    code, http_status = "protocol_error", 502


class TooManyRedirects(FetchError):
    """More hops than ``FETCH_MAX_REDIRECTS``, or a circle."""

    code, http_status = "too_many_redirects", 502


class HttpStatus(FetchError):
    """The server answered with a status other than 200; ``status`` holds it.

    ``retry_after_s`` is what its Retry-After header asked for, in seconds; null if it did not ask.

    Retriable are 408, 425, 429 and 5xx (the contract's list; RFC 9110 calls these transient).
    """

    code, http_status = "http_status", 502

    def __init__(self, status: int, *, attempts: int = 1, retry_after_s: float | None = None) -> None:
        super().__init__(
            f"the server answered with status {status}",
            retriable=status in {408, 425, 429} or 500 <= status <= 599,
            attempts=attempts,
        )
        self.status = status
        self.retry_after_s = retry_after_s


class FetchTimeout(FetchError):
    """``FETCH_DEADLINE_S`` passed before the image was here."""

    code, http_status, retriable = "fetch_timeout", 504, True


class TooLarge(FetchError):
    """More bytes than ``FETCH_MAX_BYTES``."""

    code, http_status = "too_large", 413


class ImageError(EventError):
    """The bytes came, but they do not become pixels."""

    stage = "decode"


class ImageTooLarge(ImageError):
    """More pixels than ``IMAGE_MAX_PIXELS``, found out before they are decoded."""

    code, http_status = "image_too_large", 413


class NotAnImage(ImageError):
    """Not an image at all: an HTML page, an empty body, noise."""

    code, http_status = "not_an_image", 415


class ImageUnsupported(ImageError):
    """An image of a kind that is not decoded, such as SVG or PSD."""

    code, http_status = "image_unsupported", 415


class ImageCorrupt(ImageError):
    """An image of a known kind that is cut or damaged."""

    code, http_status = "image_corrupt", 415


class ModelFailed(EventError):
    """The model could not answer for this image, alone, after its batch was taken apart; or a mistake of ours."""

    code, http_status, stage, retriable = "model_failed", 500, "predict", True


class Overloaded(EventError):
    """No room for the request now; try again after ``retry_after_s`` seconds."""

    code, http_status, stage, retriable = "overloaded", 503, "predict", True

    def __init__(self, message: str, *, retry_after_s: int = 1, stage: Stage | None = None) -> None:
        super().__init__(message, stage=stage)
        self.retry_after_s = retry_after_s


def event_errors() -> Iterator[type[EventError]]:
    """Every concrete type of the event branch, in the order of the tree above."""

    def leaves(kind: type[EventError]) -> Iterator[type[EventError]]:
        children = kind.__subclasses__()
        if not children:
            yield kind
        for child in children:
            yield from leaves(child)

    return leaves(EventError)
