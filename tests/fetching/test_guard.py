"""Names and certificates: what a resolver answers, and who a server proves to be."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path

import pytest

from consumer.fetching.wire import tls_context
from tests.fetching.conftest import LOOPBACK, MakeFetcher
from tests.fetching.server import IMAGE, HostileServer, ok
from tests.fetching.test_fetcher import failure

DEADLINE_S = 0.5
LATE_S = 0.1


@pytest.mark.parametrize("answer", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["::ffff:10.0.0.1"]])
def test_one_address_that_is_not_allowed_blocks_the_name(
    answer: list[str], server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    server.serve("/", ok())
    error = failure(make_fetcher(resolve=lambda _: answer), server.url("/", "mixed.example"))
    assert error.code == "url_blocked"
    assert "10.0.0.1" not in str(error)
    assert server.connections == 0


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(
    server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    """The name localhost leads elsewhere for everybody who would resolve it a second time."""
    server.serve("/", ok())
    make_fetcher(resolve=lambda _: ["127.0.0.3"]).fetch(server.url("/", "localhost"))
    assert server.seen[0].address.removeprefix("::ffff:") == "127.0.0.3"
    assert b"Host: localhost:" in server.seen[0].head


def test_a_name_is_judged_anew_for_every_connection(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    """DNS rebinding: the first answer is allowed, the second is not."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    server.serve("/", (ok()[0],))  # closed after the answer
    fetcher = make_fetcher(resolve=lambda _: next(answers))
    url = server.url("/", "rebinding.example")
    assert fetcher.fetch(url).body == IMAGE
    assert failure(fetcher, url).code == "url_blocked"


def test_the_next_address_is_tried_where_one_refuses(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    server.serve("/", ok())
    fetcher = make_fetcher(resolve=lambda _: ["::1", "127.0.0.1"], fetch_allow_nets=(*LOOPBACK, ip_network("::1/128")))
    assert fetcher.fetch(server.url("/", "two.example")).attempts == 1
    assert b"Host: two.example:" in server.seen[0].head


def test_a_resolver_that_hangs_ends_at_the_deadline(make_fetcher: MakeFetcher) -> None:
    lookups = []
    over = threading.Event()

    def hang(host: str) -> list[str]:
        lookups.append(host)
        over.wait(10)
        return []

    fetcher = make_fetcher(resolve=hang, fetch_deadline_s=DEADLINE_S)
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        errors = list(pool.map(lambda _: failure(fetcher, "http://hanging.example/"), range(4)))
    took = time.monotonic() - began
    over.set()
    assert {error.code for error in errors} == {"fetch_timeout"}
    assert DEADLINE_S <= took < DEADLINE_S + LATE_S
    assert lookups == ["hanging.example"]  # one thread, however many ask


@pytest.mark.parametrize(
    ("raised", "retriable"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), False),
        (socket.gaierror(socket.EAI_AGAIN, "later"), True),
        (OSError("out of files"), True),
        (RuntimeError("a bug"), True),
    ],
)
def test_a_name_without_an_address(raised: Exception, retriable: bool, make_fetcher: MakeFetcher) -> None:
    def refuse(_: str) -> list[str]:
        raise raised

    error = failure(make_fetcher(resolve=refuse), "http://nowhere.example/")
    assert (error.code, error.retriable, error.attempts) == ("dns_failed", retriable, 3 if retriable else 1)


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of image.example, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=image.example", "-addext", "subjectAltName=DNS:image.example"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[HostileServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    made = HostileServer(context)
    yield made
    made.close()


def test_a_trusted_certificate_with_the_right_name_is_accepted(
    tls_server: HostileServer, make_fetcher: MakeFetcher, certificate: Path
) -> None:
    tls_server.serve("/", ok())
    fetcher = make_fetcher(tls=tls_context(str(certificate / "cert.pem")), resolve=lambda _: ["127.0.0.1"])
    for _ in range(3):
        assert fetcher.fetch(tls_server.url("/", "image.example")).body == IMAGE
    assert tls_server.connections == 1


def test_a_self_signed_certificate_is_not_accepted(tls_server: HostileServer, make_fetcher: MakeFetcher) -> None:
    tls_server.serve("/", ok())
    error = failure(make_fetcher(resolve=lambda _: ["127.0.0.1"]), tls_server.url("/", "image.example"))
    assert (error.code, error.retriable, error.attempts) == ("tls_failed", False, 1)
    assert "self-signed" in str(error)
    assert tls_server.seen == []


def test_a_certificate_of_another_name_is_not_accepted(
    tls_server: HostileServer, make_fetcher: MakeFetcher, certificate: Path
) -> None:
    tls_server.serve("/", ok())
    fetcher = make_fetcher(tls=tls_context(str(certificate / "cert.pem")), resolve=lambda _: ["127.0.0.1"])
    assert failure(fetcher, tls_server.url("/", "other.example")).code == "tls_failed"
    assert failure(fetcher, tls_server.url("/")).code == "tls_failed"
