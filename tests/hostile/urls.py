"""URLs and servers that strangers name: one line each, with what each comes to.

A URL is text, in which ``{port}`` and its like stand for what only a run knows. An answer is what a server
of its own sends to whoever asks it for ``/``. Tables that other tests drew up are part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.fetching.server import Answer, Repeat, head, ok, redirect
from tests.fetching.test_fetcher import FAILS
from tests.fetching.test_urls import REFUSED
from tests.hostile.images import saved
from tests.hostile.measuring import PREDICTED

INVALID, BLOCKED, TIMEOUT, NO_NAME = "url_invalid", "url_blocked", "fetch_timeout", "dns_failed"


@dataclass(frozen=True, slots=True)
class UrlCase:
    """``url`` may name ``{port}``, a good server's; ``{plain}``, one without TLS; ``{own}``, ``{broker}``, the service's."""

    name: str
    url: str
    outcome: str


@dataclass(frozen=True, slots=True)
class AnswerCase:
    """``answer`` is given the good server's port, for redirects."""

    name: str
    answer: Callable[[int], Answer]
    outcome: str


def _always(answer: Answer) -> Callable[[int], Answer]:
    return lambda _: answer


def _in_chunks(body: bytes, size: int) -> bytes:
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


PICTURE = saved("PNG")()
_CHUNKED = head("200 OK", "Transfer-Encoding: chunked")
_PIECE = b"%x\r\n" % len(PICTURE) + PICTURE + b"\r\n"

NAMES: dict[str, list[str] | None] = {
    "public.test": ["127.0.0.1"],  # the one address that the run allows
    "inside.test": ["10.0.0.1"],
    "mixed.test": ["127.0.0.1", "10.0.0.1"],
    "mixed6.test": ["127.0.0.1", "::1"],
    "metadata.test": ["169.254.169.254"],
    "mapped.test": ["::ffff:10.0.0.1"],
    "nat64.test": ["64:ff9b::a00:1"],
    "scoped.test": ["fe80::1%1"],
    "nowhere.test": None,
    "hangs.test": [],
}
"""What the resolver of a run says; null: there is no such name; nothing: it never answers."""

URLS: tuple[UrlCase, ...] = (
    *(UrlCase(f"a URL with {name}", url, INVALID) for name, url in REFUSED.items() if name != "a lone surrogate"),
    UrlCase("a URL of 9000 characters", "http://public.test:{port}/" + "a" * 9000, INVALID),
    UrlCase("a script", "javascript:alert(1)", INVALID),
    UrlCase("data in a URL", "data:image/png;base64,iVBORw0KGgo=", INVALID),
    UrlCase("gopher", "gopher://127.0.0.1:6379/_FLUSHALL", INVALID),
    UrlCase("a text direction turned round", "http://public.test/\u202egnp.jpg", INVALID),
    UrlCase("a line separator", "http://public.test/\u2028", INVALID),
    UrlCase("a terminal's escape", "http://public.test/\x1b[2J", INVALID),
    UrlCase("another loopback address", "http://127.0.0.2:{port}/", BLOCKED),
    UrlCase("loopback of IPv6", "http://[::1]:{port}/", BLOCKED),
    UrlCase("the unspecified address", "http://0.0.0.0:{port}/", BLOCKED),
    UrlCase("the unspecified address of IPv6", "http://[::]:{port}/", BLOCKED),
    UrlCase("a private address", "http://10.0.0.1/", BLOCKED),
    UrlCase("a carrier's address", "http://100.64.0.1/", BLOCKED),
    UrlCase("metadata", "http://169.254.169.254/latest/meta-data/", BLOCKED),
    UrlCase("metadata of Alibaba", "http://100.100.100.200/", BLOCKED),
    UrlCase("metadata of Azure, a public address", "http://168.63.129.16/", BLOCKED),
    UrlCase("metadata of AWS over IPv6", "http://[fd00:ec2::254]/", BLOCKED),
    UrlCase("multicast", "http://224.0.0.1/", BLOCKED),
    UrlCase("broadcast", "http://255.255.255.255/", BLOCKED),
    UrlCase("an address of documentation", "http://203.0.113.7/", BLOCKED),
    UrlCase("IPv4 mapped into IPv6", "http://[::ffff:10.0.0.1]/", BLOCKED),
    UrlCase("IPv4 through NAT64", "http://[64:ff9b::a00:1]/", BLOCKED),
    UrlCase("IPv4 through 6to4", "http://[2002:a00:1::]/", BLOCKED),
    UrlCase("IPv4 in ISATAP", "http://[2001:470::5efe:a00:1]/", BLOCKED),
    UrlCase("link-local of IPv6", "http://[fe80::1]/", BLOCKED),
    UrlCase("full-width digits", "http://１０.0.0.1/", BLOCKED),
    UrlCase("a port of mail", "http://public.test:25/", BLOCKED),
    UrlCase("the service itself", "http://127.0.0.1:{own}/predict/?url=http://127.0.0.1:{own}/", BLOCKED),
    UrlCase("the service itself, by a name", "http://public.test:{own}/livez", BLOCKED),
    UrlCase("its broker", "http://127.0.0.1:{broker}/", BLOCKED),
    UrlCase("a name of a private address", "http://inside.test/", BLOCKED),
    UrlCase("a name of a good and a bad address", "http://mixed.test:{port}/", BLOCKED),
    UrlCase("a name of a good and a bad address, of IPv6", "http://mixed6.test:{port}/", BLOCKED),
    UrlCase("a name of metadata", "http://metadata.test/", BLOCKED),
    UrlCase("a name of a mapped address", "http://mapped.test/", BLOCKED),
    UrlCase("a name of a NAT64 address", "http://nat64.test/", BLOCKED),
    UrlCase("a name of an address with a zone", "http://scoped.test/", BLOCKED),
    UrlCase("a name that does not exist", "http://nowhere.test/", NO_NAME),
    UrlCase("a name whose resolver hangs", "http://hangs.test/", TIMEOUT),
    UrlCase("TLS asked of a server that waits for HTTP", "https://silent.test:{port}/", TIMEOUT),
    UrlCase("TLS asked of a server that speaks first", "https://public.test:{plain}/", "tls_failed"),
    UrlCase("a fragment", "http://public.test:{port}/#a/../b", PREDICTED),
    UrlCase("a query", "http://public.test:{port}/?a=b&password=hunter2", PREDICTED),
    UrlCase("a name in capitals with a dot", "HTTP://PUBLIC.TEST.:{port}/", PREDICTED),
)  # fmt: skip

ANSWERS: tuple[AnswerCase, ...] = (
    *(AnswerCase(name, _always(answer), code) for name, (code, _, answer) in FAILS.items()),
    AnswerCase("a connection that says nothing", lambda _: ("hang",), TIMEOUT),
    AnswerCase("a dripping status line", lambda _: (Repeat(b"H", 0.3),), TIMEOUT),
    AnswerCase("dripping headers", lambda _: (b"HTTP/1.1 200 OK\r\n", Repeat(b"a: b\r\n", 0.3)), TIMEOUT),
    AnswerCase("a dripping body", lambda _: (head("200 OK", "Content-Length: 99999"), Repeat(b"x", 0.3)), TIMEOUT),
    AnswerCase("a body that stops half way", lambda _: (head("200 OK", f"Content-Length: {len(PICTURE)}") + PICTURE[:99], "hang"), TIMEOUT),
    AnswerCase("dripping chunks", lambda _: (_CHUNKED, Repeat(b"1\r\nx\r\n", 0.3)), TIMEOUT),
    AnswerCase("a million chunks of a byte", lambda _: (_CHUNKED + b"1\r\nx\r\n" * 1_000_000, "keep"), "protocol_error"),
    AnswerCase("ten thousand headers", lambda _: ok(PICTURE, *["a:b"] * 10_000), "protocol_error"),
    AnswerCase("a redirect to a private address", lambda _: redirect("http://10.0.0.1/"), BLOCKED),
    AnswerCase("a redirect to another loopback address", lambda port: redirect(f"http://127.0.0.2:{port}/"), BLOCKED),
    AnswerCase("a redirect to a name of a private address", lambda _: redirect("//inside.test/"), BLOCKED),
    AnswerCase("a redirect to a name that does not exist", lambda _: redirect("http://nowhere.test/"), NO_NAME),
    AnswerCase("a redirect with a line break", lambda _: (head("302 Found", "Location: /a\n b", "Content-Length: 0"),), INVALID),
    AnswerCase("a redirect to Redis", lambda _: redirect("gopher://127.0.0.1:6379/_FLUSHALL"), INVALID),
    AnswerCase("a redirect to a backslash", lambda _: redirect("/\\127.0.0.2/"), INVALID),
    AnswerCase("401 that asks for a password", lambda _: (head("401 Unauthorized", "WWW-Authenticate: Basic", "Content-Length: 0"), "keep"), "http_status"),
    AnswerCase("429 for an hour", lambda _: (head("429 Too Many Requests", "Retry-After: 3600", "Content-Length: 0"), "keep"), "http_status"),
    AnswerCase("503 until the year 9999", lambda _: (head("503 Busy", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", "Content-Length: 0"), "keep"), "http_status"),
    AnswerCase("a picture with a length of 0", lambda _: (head("200 OK", "Content-Length: 0"), "keep"), "not_an_image"),
    AnswerCase("a picture cut by its length", lambda _: (head("200 OK", "Content-Length: 50") + PICTURE, "keep"), "image_corrupt"),
    AnswerCase("a picture in Brotli", lambda _: (head("200 OK", "Content-Encoding: br", f"Content-Length: {len(PICTURE)}") + PICTURE,), "protocol_error"),
    # what becomes a prediction all the same
    AnswerCase("a picture said to be a page", lambda _: ok(PICTURE, "Content-Type: text/html"), PREDICTED),
    AnswerCase("a picture said to be a program", lambda _: ok(PICTURE, "Content-Type: application/x-msdownload", "Content-Disposition: attachment"), PREDICTED),
    AnswerCase("a picture in chunks", lambda _: (_CHUNKED + _PIECE + b"0\r\n\r\n", "keep"), PREDICTED),
    AnswerCase("a picture in chunks of 64 bytes", lambda _: (_CHUNKED + _in_chunks(PICTURE, 64) + b"0\r\n\r\n", "keep"), PREDICTED),
    AnswerCase("a picture with extensions and trailers", lambda _: (_CHUNKED + _PIECE.replace(b"\r", b";a=b\r", 1) + b"0\r\nX: y\r\n\r\n", "keep"), PREDICTED),
    AnswerCase("a picture until the connection closes", lambda _: (head("200 OK") + PICTURE,), PREDICTED),
    AnswerCase("a picture in HTTP/1.0", lambda _: (b"HTTP/1.0 200 OK\r\n\r\n" + PICTURE,), PREDICTED),
    AnswerCase("a picture after early hints", lambda _: (head("103 Early Hints", "Link: </a>"), *ok(PICTURE)), PREDICTED),
    AnswerCase("a picture with a hundred cookies", lambda _: ok(PICTURE, *[f"Set-Cookie: a{n}=b" for n in range(90)]), PREDICTED),
    AnswerCase("a picture two redirects away", lambda port: redirect(f"http://public.test:{port}/again"), PREDICTED),
    AnswerCase("a picture behind a body of a redirect", lambda port: (head("302 Found", f"Location: http://public.test:{port}/", "Content-Length: 9") + b"x" * 9, "keep"), PREDICTED),
)  # fmt: skip
