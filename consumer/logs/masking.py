"""What must not stand in a log: control characters, secrets, and the private parts of URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from consumer.kafka_settings import SECRET
from consumer.settings import Settings

MASK: Final = "***"

SHORTEST_SECRET: Final = 4
"""A shorter one is not looked for: it would be starred out of half the words of the log, and that tells it."""

# Lenient as browsers are: any number of slashes or backslashes, so that no spelling gets past the mask.
_PARTS = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*:)?)([/\\]*)([^/\\]*)(.*)", re.DOTALL)
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]*\]|[^\s:@\[\]]*)(:[0-9]*)?")
_SEGMENT = re.compile(r"[^/\\]+")
_QUERY_INSIDE = re.compile(r";|%(25)*3[bf]", re.IGNORECASE)

LONGEST_READ: Final = 4096
"""Characters of a URL that are looked at; more are not needed to tell it, and strangers send a million."""


def printable(text: str) -> str:
    r"""The text on one line, safe for a terminal: what `str.isprintable` denies is written as an escape.

    That is every line break (Unicode's own ones too), tab, escape sequence, C1 control, bidirectional
    override and lone surrogate.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def mask_url(url: str, limit: int = 200) -> str:
    """A URL as a log may hold it: no user name or password, no values of the query, no fragment.

    Never raises, whatever the text is: URLs come from strangers. An authority that is no host with a
    port (such as ``user:pa/ss@host``, a password that was not encoded) hides everything after it.
    The result has at most ``limit`` characters, all printable. Linear in `LONGEST_READ`, whatever stands there.
    """
    if len(url) > LONGEST_READ:
        # Back to the last part that is whole: what is cut off may be what tells a password from a host.
        kept = url[:LONGEST_READ]
        url = kept[: max(map(kept.rfind, "/\\?#&;")) + 1] + MASK
    head, hash_, _ = url.partition("#")
    head, mark, query = head.partition("?")
    match = _PARTS.fullmatch(head)
    assert match is not None, "every part may be empty"
    scheme, slashes, authority, path = match.groups()
    user, at, host = authority.rpartition("@")
    if (slashes or at) and not _HOST_PORT.fullmatch(host):
        return printable(f"{scheme}{slashes}{MASK}")[:limit]
    user = MASK if at else ""
    path = _SEGMENT.sub(lambda one: _without_query(_without_user(one[0])), path)
    asked = re.sub(r"[^&;]+", lambda one: _without_value(one[0]), query)
    told = printable(f"{scheme}{slashes}{user}{at}{host}{path}{mark}{asked}{hash_}{MASK if hash_ else ''}")
    return told if len(told) <= limit else told[: limit - 1] + "…"


_URLS = re.compile(r"https?://[^\s'\"<>]+|(?<=with url: )\S+", re.IGNORECASE)
"""In texts of others; the second is urllib3's, which names a path and its query."""


def mask_urls(text: str) -> str:
    """A text that is not ours, an exception's say, with every URL in it masked. Linear in its length."""
    return _URLS.sub(lambda one: mask_url(one[0]), text)


def mask_id(event_id: str, limit: int) -> str:
    """An event's id in at most ``limit`` characters, all printable; some producers take a URL for it."""
    return printable(mask_urls(event_id[:LONGEST_READ]))[:limit]


def _without_user(segment: str) -> str:
    """Of a URL inside the URL: nothing up to the last ``@`` if a ``:`` stands before it."""
    user, at, host = segment.rpartition("@")
    return f"{MASK}@{host}" if at and ":" in user else segment


def _without_query(segment: str) -> str:
    """Nothing behind a ``;``, where a path's parameters stand, nor behind the encoded ``?`` of a URL inside the URL."""
    begin = _QUERY_INSIDE.search(segment)
    return f"{segment[: begin.end()]}{MASK}" if begin else segment


def _without_value(parameter: str) -> str:
    name, sign, _ = parameter.partition("=")
    return f"{name}={MASK}" if sign else MASK


class Secrets:
    """Stars known secret values out of a text, as they are and as a URL would hold them."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in (value, quote(value, safe=""), quote(value))}
        # The longest first: one secret may begin like another.
        told = sorted((form for form in forms if len(form) >= SHORTEST_SECRET), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, told))) if told else None

    def mask(self, text: str) -> str:
        """The text without them."""
        return self._pattern.sub(MASK, text) if self._pattern else text


def secrets_of(settings: Settings) -> list[str]:
    """Every secret value among the settings: the API key, Kafka's passwords and keys, the registry's password."""
    kafka = settings.kafka
    found = [
        value
        for properties in (kafka.common, kafka.consumer_only, kafka.producer_only)
        for name, value in properties.items()
        if SECRET.search(name)
    ]
    if settings.http_api_key:
        found.append(settings.http_api_key)
    registry = re.match(r"https?://[^/:@]*:(?P<password>[^/]*)@", settings.schema_registry_url or "")
    if registry:
        found += [registry["password"], unquote(registry["password"])]
    return found
