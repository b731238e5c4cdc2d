"""What an event that has been worked on says about what all events share: network, decoders, model.

A failure that may be ours speaks against one of them, and whatever got further speaks for it. An answer of any kind
from a host (404, a page instead of an image) shows that resolver and network work, and so does a resolver that says
that there is no such host. An event that asked nobody (a bad or forbidden URL) says nothing at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from consumer.errors import (
    ConnectFailed,
    DnsFailed,
    EventUnreadable,
    FetchError,
    FetchTimeout,
    ImageError,
    ModelFailed,
    Overloaded,
    Stage,
    UrlBlocked,
    UrlInvalid,
)

NETWORK_FAILED: Final = frozenset({ConnectFailed.code, FetchTimeout.code})
_HOST: Final = re.compile(r"([^:/?#]*):[/\\]*(?:[^/?#\\]*@)?(\[[^/?#\]]*\]|[^/?#:\\]*)(:\d*)?")
SAYS_NOTHING: Final = frozenset({EventUnreadable.code, UrlInvalid.code, UrlBlocked.code, Overloaded.code})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one event says about what all events share; null where it did not ask.

    ``code`` is that of its failure, null if there is none. ``place`` is the host that its URL names, and ``root`` the
    URL of what that host has at its top: who connects to it asks whether the host can be reached.
    """

    code: str | None
    place: str = ""
    root: str = field(default="", compare=False)
    network: bool | None = None
    decoder: bool | None = None
    model: bool | None = None

    @property
    def ours(self) -> bool:
        """Whether it failed of what may be our trouble."""
        return self.network is False or self.decoder is False or self.model is False


def evidence(
    url: str,
    code: str | None,
    *,
    retriable: bool = False,
    stage: Stage = "predict",
    foreseen: bool = True,
    recalled: bool = False,
) -> Evidence:
    """What an event with this URL says that ended with this code, null for a prediction.

    A ``recalled`` prediction says nothing of decoder and model, which were not asked.

    What nobody foresaw speaks against nobody, not even if it has the code of the model's failures: a stranger
    who finds such a mistake must not stop the service by sending it twenty times.
    """
    if code in SAYS_NOTHING and not (code == Overloaded.code and stage == ImageError.stage):
        return Evidence(code)
    place, root = _host(url)
    if code is None:
        return _all_well(place, root, not recalled)
    if not foreseen:
        return Evidence(code, place, root, network=None if stage == FetchError.stage else True)
    if code == Overloaded.code:  # no process for decoding can be started
        return Evidence(code, place, root, network=True, decoder=False)
    if code == ModelFailed.code:
        return Evidence(code, place, root, network=True, decoder=True, model=False)
    if stage == ImageError.stage:  # whatever the code is, the network brought it; one that took too long says no more
        return Evidence(code, place, root, network=True, decoder=True if code != FetchTimeout.code else None)
    failed = code in NETWORK_FAILED or (code == DnsFailed.code and retriable)
    return Evidence(code, place, root, network=not failed)


@lru_cache(maxsize=1024)
def _all_well(place: str, root: str, asked: bool) -> Evidence:
    """The usual ones, not made anew for each event."""
    return Evidence(None, place, root, network=True, decoder=True if asked else None, model=True if asked else None)


def _host(url: str) -> tuple[str, str]:
    """The host that a URL names, whose trouble it may be, and its root. Need not be exact, is cheap, takes any text.

    The host is without its port: five dead ports of one machine are one machine's trouble, and one that answers shows
    that the way there is open.
    """
    found = _HOST.match(url)
    if not found:
        return "", ""
    scheme, host, port = found.groups("")
    return host.lower(), f"{scheme}://{host}{port}/"
