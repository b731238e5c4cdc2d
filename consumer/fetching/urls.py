"""A URL is read once, strictly, and what was read is what is fetched.

Parsers disagree: for ``http://127.0.0.1:80\\@example.com/`` `urllib.parse` says example.com where
urllib3 connects to 127.0.0.1. So there is one parser here, it refuses whatever two parsers could read
differently, and nobody reads the text again: what it makes, a `Target`, is all that the rest of
this package knows of a URL.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

import idna

from consumer.errors import UrlBlocked, UrlInvalid

MAX_LENGTH = 8192
"""Characters. Signed URLs of object stores take 2000; servers commonly refuse more than 8192."""

DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>(\?[^#]*)?)(#.*)?",
    re.IGNORECASE | re.ASCII,  # else \u017f, the long s, is an s
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(:(?P<port>[0-9]{1,5}))?")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NUMERIC = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
"""A last label that resolvers take for a part of an IPv4 address (WHATWG's "ends in a number")."""

_KEPT = "/%:@!$&'()*+,;=-._~"
"""Characters that stand in a path as they are (RFC 3986, pchar); anything else is percent-encoded."""


Origin = tuple[str, str, int]
"""Scheme, host and port: who is asked."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is fetched: ``host`` in lower-case ASCII, ``resource`` the path with its query, encoded.

    ``address`` is the host where the URL names an address instead of a name.
    """

    scheme: str
    host: str
    port: int
    resource: str
    address: IPv4Address | IPv6Address | None = None

    @property
    def origin(self) -> Origin:
        """Who is asked for it: targets of one origin share connections, a line and a standing."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL in its one canonical form."""
        return f"{self.scheme}://{self.authority}{self.resource}"


def parse(url: str) -> Target:
    """Reads an absolute http or https URL.

    Raises:
        UrlInvalid: it is none, or holds something that is not accepted: user information, a space, a
            control character, a backslash, an address in another form than four decimal numbers
            or bracketed IPv6. The message says which and never repeats the URL.
    """
    judge_text(url)
    match = _URL.fullmatch(url)
    if match is None:
        raise UrlInvalid("not an absolute http or https URL")
    if "@" in match["authority"]:
        raise UrlInvalid("the URL holds user information, which is never sent: remove it")
    authority = _AUTHORITY.fullmatch(match["authority"])
    if authority is None:
        raise UrlInvalid("the URL's host or port cannot be read")
    scheme = match["scheme"].lower()
    port = int(authority["port"] or DEFAULT_PORTS[scheme])
    if not 1 <= port <= 65535:
        raise UrlInvalid("the URL's port is not between 1 and 65535")
    host, address = _host(authority["host"])
    resource = quote(match["path"], safe=_KEPT) or "/"
    if match["query"]:
        resource += "?" + quote(match["query"][1:], safe=_KEPT + "?")
    return Target(scheme, host, port, resource, address)


def judge_text(text: str) -> None:
    """Lets a URL or a relative reference pass whose characters nobody drops, changes or takes for an end.

    Raises:
        UrlInvalid: it is too long, or holds a space, a control character or a backslash.
    """
    if len(text) > MAX_LENGTH:
        raise UrlInvalid(f"the URL is longer than {MAX_LENGTH} characters")
    if not text.isprintable():  # controls, line separators, surrogates, every space but U+0020
        raise UrlInvalid("the URL holds a control character or another one that cannot be printed")
    if " " in text or "\\" in text:
        raise UrlInvalid("the URL holds a space or a backslash: encode it as %20 or %5C")


def _host(text: str) -> tuple[str, IPv4Address | IPv6Address | None]:
    if text.startswith("["):
        if "%" in text:
            raise UrlInvalid("the URL's host names a network interface, which means nothing here")
        try:
            v6 = IPv6Address(text[1:-1])
        except ValueError:
            raise UrlInvalid("the URL's host is no IPv6 address") from None
        return str(v6), v6
    name = _ascii(text).lower().removesuffix(".")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise UrlInvalid("the URL's host is no host name")
    if not _NUMERIC.fullmatch(name):
        return name, None
    try:
        v4 = IPv4Address(name)
    except ValueError:
        raise UrlInvalid("the URL's host is a number: write an address as four decimal numbers") from None
    return str(v4), v4


def _ascii(text: str) -> str:
    """An internationalised name in the form that resolvers take (UTS 46, as browsers do)."""
    if text.isascii():
        return text
    if len(text) > 253:  # the encoder's time grows faster than its input
        raise UrlInvalid("the URL's host is no host name")
    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError:  # idna.IDNAError is one
        raise UrlInvalid("the URL's host is no internationalised host name") from None


class UrlPolicy:
    """Which hosts and ports are fetched from, apart from their addresses.

    Args:
        hosts: exact names, or ``*.example.com`` for every name below example.com (not itself);
            empty for any.
        ports: null for any.
    """

    def __init__(self, hosts: Collection[str], ports: Collection[int] | None) -> None:
        self._names = frozenset(host for host in hosts if not host.startswith("*"))
        self._suffixes = tuple(host[1:] for host in hosts if host.startswith("*"))
        self._any_host = not hosts
        self._ports = ports

    def judge(self, target: Target) -> None:
        """Lets the target pass.

        Raises:
            UrlBlocked: it may not; the message names the setting that decides.
        """
        if self._ports is not None and target.port not in self._ports:
            raise UrlBlocked(f"port {target.port} is not fetched from: FETCH_ALLOW_PORTS decides")
        if self._any_host or target.host in self._names:
            return
        if target.address is None and target.host.endswith(self._suffixes):
            return
        raise UrlBlocked("this host is not fetched from: FETCH_ALLOW_HOSTS decides")
