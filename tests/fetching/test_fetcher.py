"""What a hostile, broken or slow server does, and what the fetcher makes of it."""

from __future__ import annotations

import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path

import pytest

from consumer.errors import FetchError, HttpStatus, UrlBlocked
from consumer.fetching import Fetcher
from consumer.fetching.connections import MOST_AGE_S, MOST_IDLE_S
from consumer.fetching.fetcher import concurrency
from consumer.settings import Settings
from tests.fetching.conftest import MakeFetcher
from tests.fetching.server import IMAGE, Answer, HostileServer, Repeat, head, ok, redirect

CHUNKED = head("200 OK", "Transfer-Encoding: chunked")
FAILS: dict[str, tuple[str, bool, Answer]] = {
    "endless header": ("protocol_error", False, (b"HTTP/1.1 200 OK\r\nX: ", Repeat(b"x" * 4096))),
    "endless headers": ("protocol_error", False, (b"HTTP/1.1 200 OK\r\n", Repeat(b"X: y\r\n"))),
    "endless 100 Continue": ("protocol_error", False, (Repeat(head("100 Continue") * 50),)),
    "endless chunks": ("too_large", False, (CHUNKED, Repeat(b"1000\r\n" + b"x" * 4096 + b"\r\n"))),
    "endless tiny chunks": ("protocol_error", False, (CHUNKED, Repeat(b"1\r\nx\r\n" * 500))),
    "endless chunk extension": ("protocol_error", False, (CHUNKED, b"1;", Repeat(b"x" * 4096))),
    "endless trailers": ("protocol_error", False, (CHUNKED, b"1\r\nx\r\n0\r\n", Repeat(b"X: y\r\n" * 500))),
    "endless body without a length": ("too_large", False, (head("200 OK"), Repeat(b"x" * 4096))),
    "a length above the cap": ("too_large", False, (head("200 OK", "Content-Length: 999999999"), "hang")),
    "a negative length": ("protocol_error", False, (head("200 OK", "Content-Length: -1") + IMAGE,)),
    "a length in words": ("protocol_error", False, (head("200 OK", "Content-Length: many") + IMAGE,)),
    "a length with a sign": ("protocol_error", False, (head("200 OK", "Content-Length: +5") + IMAGE,)),
    "a length that is a list": ("protocol_error", False, (head("200 OK", "Content-Length: 5, 6") + IMAGE,)),
    "a length of twenty digits": ("protocol_error", False, (head("200 OK", f"Content-Length: {10**19}") + IMAGE,)),
    "two lengths": ("protocol_error", False, (head("200 OK", "Content-Length: 5", "Content-Length: 6") + IMAGE,)),
    "a negative chunk": ("protocol_error", False, (CHUNKED, b"-1\r\nx\r\n")),
    "a chunk with a sign": ("protocol_error", False, (CHUNKED, b"+1\r\nx\r\n0\r\n\r\n")),
    "a chunk in Python's notation": ("protocol_error", False, (CHUNKED, b"0x1\r\nx\r\n0\r\n\r\n")),
    "a chunk with an underscore": ("protocol_error", False, (CHUNKED, b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n")),
    "a chunk of no size": ("protocol_error", False, (CHUNKED, b"\r\nx\r\n")),
    "a chunk of 16 digits": ("protocol_error", False, (CHUNKED, b"1" * 16 + b"\r\n")),
    "a chunk above the cap": ("too_large", False, (CHUNKED, b"fffffff\r\n")),
    "a chunk that is longer than its size": ("protocol_error", False, (CHUNKED, b"1\r\nxyz\r\n0\r\n\r\n")),
    "chunks and a length": (
        "protocol_error",
        False,
        (head("200 OK", "Transfer-Encoding: chunked", "Content-Length: 5") + b"1\r\nx\r\n0\r\n\r\n",),
    ),
    "chunks in HTTP/1.0": (
        "protocol_error",
        False,
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",),
    ),
    "two transfer codings": (
        "protocol_error",
        False,
        (head("200 OK", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n",),
    ),
    "an unknown transfer coding": ("protocol_error", False, (head("200 OK", "Transfer-Encoding: gzip") + IMAGE,)),
    "gzip": ("protocol_error", False, (head("200 OK", "Content-Encoding: gzip", "Content-Length: 9") + b"x" * 9,)),
    "a header without a colon": ("protocol_error", False, (head("200 OK", "junk", "Content-Length: 5") + IMAGE,)),
    "a space before the colon": ("protocol_error", False, (head("200 OK", "Content-Length : 5") + IMAGE,)),
    "NUL in a header": ("protocol_error", False, (head("200 OK", "X: \0", "Content-Length: 5") + IMAGE,)),
    "CR in a header": ("protocol_error", False, (head("200 OK", "X: a\rContent-Length: 5") + IMAGE,)),
    "a first header that is folded": ("protocol_error", False, (head("200 OK", " X: y") + IMAGE,)),
    "two status lines": ("protocol_error", False, (b"HTTP/1.1 200 OK\r\n" + head("200 OK") + IMAGE,)),
    "a status of four digits": ("protocol_error", False, (head("2000 OK"),)),
    "HTTP/2": ("protocol_error", False, (b"HTTP/2.0 200 OK\r\n\r\n",)),
    "another protocol": ("protocol_error", False, (head("101 Switching Protocols", "Upgrade: x"), "hang")),
    "endless early hints": ("protocol_error", False, (Repeat(head("103 Early Hints", "Link: </a>") * 50),)),
    "no HTTP": ("protocol_error", False, (b"220 mail.example.com ESMTP\r\n",)),
    "HTTP/0.9": ("protocol_error", False, (IMAGE,)),
    "a close without an answer": ("connect_failed", True, (b"",)),
    "a cut body": ("connect_failed", True, (head("200 OK", "Content-Length: 2000") + IMAGE[:100],)),
    "a cut chunk": ("connect_failed", True, (CHUNKED, b"1000\r\nxxx")),
    "404": ("http_status", False, (head("404 Not Found", "Content-Length: 0"), "keep")),
    "204": ("http_status", False, (head("204 No Content"), "keep")),
    "204 with a body": ("http_status", False, (head("204 No Content", "Content-Length: 5") + b"12345", "keep")),
    "206": ("http_status", False, (head("206 Partial Content", "Content-Length: 5") + b"12345", "keep")),
    "304": ("http_status", False, (head("304 Not Modified", "Content-Length: 2000"), "keep")),
    "300": ("http_status", False, (head("300 Multiple Choices", "Content-Length: 0"), "keep")),
    "503": ("http_status", True, (head("503 Service Unavailable", "Content-Length: 0"), "keep")),
    "a redirect without a location": ("protocol_error", False, (head("302 Found", "Content-Length: 0"),)),
    "a redirect to user information": ("url_invalid", False, redirect("http://a:b@example.com/")),
    "a redirect to a file": ("url_invalid", False, redirect("file:///etc/passwd")),
    "a redirect to what is no URL": ("url_invalid", False, redirect("http://[::1")),
    "a redirect to what urljoin makes a URL": ("url_invalid", False, redirect("http:/\t/127.0.0.2/")),
    "a redirect with a control character in front": ("url_invalid", False, redirect("\x01/a")),
    "a redirect with a tab in its path": ("url_invalid", False, redirect("/a\tb")),
    "a redirect of 60 000 dots": ("url_invalid", False, redirect("../" * 20_000)),
    "a redirect to itself": ("too_many_redirects", False, redirect("/")),
    "a redirect to link-local": ("url_blocked", False, redirect("http://169.254.169.254/latest/meta-data/")),
    "a redirect to an octal address": ("url_invalid", False, redirect("http://0177.0.0.1/")),
}


def failure(fetcher: Fetcher, url: str) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(url)
    return caught.value


@pytest.mark.parametrize("case", FAILS)
def test_a_broken_answer_has_its_code(case: str, server: HostileServer, make_fetcher: MakeFetcher) -> None:
    code, retriable, answer = FAILS[case]
    url = server.serve("/", answer)
    error = failure(make_fetcher(fetch_max_bytes=10_000, fetch_attempts=2), url)
    assert (error.code, error.retriable, error.attempts) == (code, retriable, 2 if retriable else 1)
    assert "127.0.0.1" not in str(error)
    assert "\n" not in str(error)


def test_a_length_that_promises_less_cuts_the_body_and_spoils_no_later_one(
    server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    lying = server.serve("/lying", (head("200 OK", "Content-Length: 10") + IMAGE, "keep"))
    fetcher = make_fetcher()
    assert fetcher.fetch(lying).body == IMAGE[:10]
    assert fetcher.fetch(server.serve("/", ok())).body == IMAGE


def test_answers_that_nobody_asked_for_are_not_the_next_ones(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    """Many: the reader takes up to 64 KiB at once, what stands behind a body included; the rest stays in the socket."""
    forged = ok(b"forged")[0]
    assert isinstance(forged, bytes)
    url = server.serve("/", (head("200 OK", f"Content-Length: {len(IMAGE)}") + IMAGE + forged * 2000, "keep"), ok())
    fetcher = make_fetcher()
    assert fetcher.fetch(url).body == IMAGE
    assert fetcher.fetch(url).body == IMAGE


@pytest.mark.parametrize(
    "answer",
    [
        ok(),
        (head("200 OK") + IMAGE,),
        (CHUNKED, b"800\r\n" + IMAGE + b"\r\n0\r\n\r\n"),
        ok(IMAGE, "Content-Encoding: identity"),
        (head("100 Continue") + head("103 Early Hints", "Content-Length: 5"), *ok()),
        (head("200 OK", f"Content-Length: {len(IMAGE)}, {len(IMAGE)}") + IMAGE,),
        (head("200 OK", f"Content-Length: {len(IMAGE)}").replace(b"\r", b"") + IMAGE,),
        (head("200 OK", "X: a", " b", f"Content-Length: {len(IMAGE)}") + IMAGE,),
        (CHUNKED, b"0800 ;x=y\r\n" + IMAGE + b"\r\n000\r\nTrailer: x\r\n\r\n"),
        (b"HTTP/1.0 200\r\n\r\n" + IMAGE,),
    ],
    ids=[
        *("length", "until the end", "chunked", "identity", "interim answers", "the same length twice"),
        *("lines without CR", "a folded header", "extensions and trailers", "HTTP/1.0"),
    ],
)
def test_a_whole_body_arrives(answer: Answer, server: HostileServer, make_fetcher: MakeFetcher) -> None:
    fetched = make_fetcher().fetch(server.serve("/", answer))
    assert (fetched.body, fetched.attempts) == (IMAGE, 1)


def test_an_empty_body_is_a_body(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    assert make_fetcher().fetch(server.serve("/", ok(b""))).body == b""


def test_a_body_of_exactly_the_cap_arrives_and_one_byte_more_does_not(
    server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    url = server.serve("/", ok(b"x" * 1000), ok(b"x" * 1001))
    fetcher = make_fetcher(fetch_max_bytes=1000)
    assert len(fetcher.fetch(url).body) == 1000
    assert failure(fetcher, url).code == "too_large"


# ── attempts ─────────────────────────────────────────────────────────────────────────────────────


def test_an_attempt_that_fails_for_now_is_made_again(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    url = server.serve("/", (head("500 Oops", "Connection: close"),), (b"",), ok())
    fetched = make_fetcher().fetch(url)
    assert (fetched.body, fetched.attempts) == (IMAGE, 3)


def test_retry_after_is_waited_for(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    url = server.serve("/", (head("429 Slow down", "Retry-After: 1", "Content-Length: 0"), "keep"), ok())
    began = time.monotonic()
    assert make_fetcher().fetch(url).attempts == 2
    assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize("wish", ["3600", "3", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_that_is_too_long_or_past_the_deadline_is_not_waited_for(
    wish: str, server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    url = server.serve("/", (head("429 Slow down", f"Retry-After: {wish}", "Content-Length: 0"),))
    began = time.monotonic()
    error = failure(make_fetcher(fetch_deadline_s=2.0), url)
    assert isinstance(error, HttpStatus)
    assert (error.status, error.retriable, error.attempts) == (429, True, 1)
    assert time.monotonic() - began < 0.5


# ── redirects ────────────────────────────────────────────────────────────────────────────────────


def test_redirects_are_followed_up_to_the_limit(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    for hop in range(4):
        server.serve(f"/{hop}", redirect(f"/{hop + 1}", "307 Temporary Redirect"))
    server.serve("/4", ok())
    fetcher = make_fetcher(fetch_max_redirects=3)
    assert fetcher.fetch(server.url("/1")).body == IMAGE
    error = failure(fetcher, server.url("/0"))
    assert (error.code, error.http_status) == ("too_many_redirects", 502)
    assert "FETCH_MAX_REDIRECTS" in str(error)


def test_a_redirect_to_loopback_is_blocked_like_a_url(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    inside = server.serve("/inside", ok())
    server.serve("/", redirect(inside))
    # 127.0.0.2 stands for a public address: it reaches the same server, which listens on all of loopback.
    fetcher = make_fetcher(fetch_allow_nets=(ip_network("127.0.0.2/32"),), resolve=lambda _: ["127.0.0.2"])
    error = failure(fetcher, server.url("/", host="outside.example"))
    assert error.code == "url_blocked"
    assert "FETCH_ALLOW_NETS" in str(error)
    assert [one.path for one in server.seen] == ["/"]


def test_nothing_is_carried_from_hop_to_hop(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    server.serve("/a", (head("302 Found", "Location: /b", "Set-Cookie: a=b; Path=/", "Content-Length: 0"), "keep"))
    server.serve("/b", ok())
    make_fetcher().fetch(server.url("/a"))
    second = server.seen[1].head.lower()
    assert b"cookie" not in second
    assert b"referer" not in second


# ── policy ───────────────────────────────────────────────────────────────────────────────────────


def test_loopback_is_blocked_unless_it_is_allowed(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    error = failure(make_fetcher(fetch_allow_nets=()), server.serve("/", ok()))
    assert isinstance(error, UrlBlocked)
    assert "FETCH_ALLOW_NETS" in str(error)
    assert server.connections == 0


def test_ports_and_hosts_are_judged_on_every_hop(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    url = server.serve("/", redirect("http://127.0.0.1:81/"))
    only_this_port = make_fetcher(fetch_allow_ports=frozenset({server.port}))
    for fetcher, setting in (
        (make_fetcher(fetch_allow_ports=frozenset({80, 443})), "FETCH_ALLOW_PORTS"),
        (make_fetcher(fetch_allow_hosts=("*.example.com",)), "FETCH_ALLOW_HOSTS"),
        (only_this_port, "FETCH_ALLOW_PORTS"),
    ):
        error = failure(fetcher, url)
        assert error.code == "url_blocked"
        assert setting in str(error)
    assert len(server.seen) == 1  # only the last one got as far as the redirect


def test_the_environment_takes_no_part(
    server: HostileServer, make_fetcher: MakeFetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither proxies nor a .netrc, whose password would go to whoever is named in a URL."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("default login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_fetcher().fetch(server.serve("/", ok())).body == IMAGE
    assert b"authorization" not in server.seen[0].head.lower()


def test_no_cookie_is_kept_from_one_image_to_the_next(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    url, fetcher = server.serve("/", ok(IMAGE, "Set-Cookie: a=b; Path=/")), make_fetcher()
    for _ in range(2):
        fetcher.fetch(url)
    assert all(b"cookie" not in one.head.lower() for one in server.seen)


def test_a_request_says_who_asks_and_what_for_and_nothing_else(
    server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    make_fetcher().fetch(server.serve("/", ok()))
    lines = server.seen[0].head.decode("ascii").split("\r\n")
    assert lines[0] == "GET / HTTP/1.1"
    assert {line.partition(":")[0] for line in lines[1:] if line} == {
        *("Host", "User-Agent", "Accept", "Accept-Encoding")
    }


# ── connections ──────────────────────────────────────────────────────────────────────────────────


def test_a_connection_is_used_again(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    url, fetcher = server.serve("/", ok()), make_fetcher()
    for _ in range(5):
        fetcher.fetch(url)
    assert server.connections == 1


def test_a_connection_is_made_anew_once_a_minute_however_much_it_is_used(
    server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    passed_s = [0.0]
    url, fetcher = server.serve("/", ok()), make_fetcher(clock=lambda: time.monotonic() + passed_s[0])
    for _ in range(30):
        fetcher.fetch(url)
        passed_s[0] += MOST_IDLE_S / 3
    assert server.connections == math.ceil(29 / (1 + MOST_AGE_S / (MOST_IDLE_S / 3)))


def test_a_connection_that_the_server_closed_costs_no_attempt(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    # The second request is read and answered by a close, as a server does whose idle time ran out just then.
    url, fetcher = server.serve("/", ok(), (b"",), ok()), make_fetcher()
    fetcher.fetch(url)
    assert fetcher.fetch(url).attempts == 1
    assert server.connections == 2


def test_one_host_gets_no_more_connections_at_once_than_allowed(
    server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    third = threading.Event()  # comes at once where nothing holds it back, and never otherwise

    def linger() -> None:
        if server.at_once > 2:
            third.set()
        third.wait(0.2)

    server.on_request = linger
    url, fetcher = server.serve("/", ok()), make_fetcher(fetch_per_host=2)
    with ThreadPoolExecutor(8) as pool:
        assert all(one.body == IMAGE for one in pool.map(fetcher.fetch, [url] * 8))
    assert server.at_once == 2


def test_nobody_listens(make_fetcher: MakeFetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = failure(make_fetcher(), f"http://127.0.0.1:{port}/")
    assert (error.code, error.retriable, error.attempts) == ("connect_failed", True, 3)


def test_closing_ends_a_fetch_under_way(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    asked = threading.Event()
    server.on_request = asked.set
    url, fetcher = server.serve("/", ("hang",)), make_fetcher()
    with ThreadPoolExecutor(1) as pool:
        fetch = pool.submit(fetcher.fetch, url)
        assert asked.wait(5)
        fetcher.close()
        error = fetch.exception(2)
    assert isinstance(error, FetchError)
    assert (error.code, error.retriable) == ("connect_failed", True)


@pytest.mark.parametrize(("gibibytes", "threads"), [(0.5, 32), (2, 32), (8, 51), (20, 128), (1000, 128)])
def test_threads_are_as_many_as_may_hold_a_largest_image_each_in_an_eighth_of_the_memory(
    monkeypatch: pytest.MonkeyPatch, gibibytes: float, threads: int
) -> None:
    monkeypatch.setattr("consumer.fetching.fetcher.usable_memory", lambda: int(gibibytes * 2**30))
    assert concurrency(Settings()) == threads
    assert concurrency(Settings(fetch_concurrency=7)) == 7
