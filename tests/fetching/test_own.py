"""The service never fetches from itself, nor from its brokers, even where loopback is allowed."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from consumer.errors import UrlBlocked
from consumer.fetching.own import OwnEndpoints, is_here, servers
from consumer.fetching.resolver import Resolver
from consumer.fetching.urls import parse
from tests.fetching.conftest import MakeFetcher
from tests.fetching.server import IMAGE, HostileServer, ok
from tests.fetching.test_fetcher import failure


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "localhost"])
@pytest.mark.parametrize("asked", ["http://127.0.0.1:{}/", "http://127.0.0.9:{}/", "http://[::ffff:127.0.0.1]:{}/"])
def test_the_services_own_endpoint_is_blocked_at_every_address_of_this_machine(
    host: str, asked: str, server: HostileServer, make_fetcher: MakeFetcher
) -> None:
    error = failure(make_fetcher(own=[(host, server.port)]), asked.format(server.port))
    assert error.code == "url_blocked"
    assert "the service itself" in str(error)
    assert server.connections == 0


def test_a_name_that_leads_to_the_service_is_blocked_too(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    fetcher = make_fetcher(own=[("127.0.0.1", server.port)], resolve=lambda _: ["127.0.0.5"])
    assert failure(fetcher, server.url("/", "innocent.example")).code == "url_blocked"
    assert server.connections == 0


def test_another_port_of_the_same_machine_is_none_of_ours(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    fetcher = make_fetcher(own=[("127.0.0.1", server.port + 1)])
    assert fetcher.fetch(server.serve("/", ok())).body == IMAGE


def test_a_redirect_to_the_service_is_blocked(server: HostileServer, make_fetcher: MakeFetcher) -> None:
    with HostileServer() as ours:
        server.serve("/", (f"HTTP/1.1 302 Found\r\nLocation: {ours.url('/')}\r\n\r\n".encode(),))
        assert failure(make_fetcher(own=[("::", ours.port)]), server.url("/")).code == "url_blocked"
        assert ours.connections == 0


def test_brokers_elsewhere_are_known_by_name_and_by_address() -> None:
    resolver = Resolver(lambda host: {"kafka-1.example": ["10.1.1.1", "::ffff:10.1.1.2"]}[host])
    own = OwnEndpoints([("kafka-1.example", 9092), ("nowhere.example", 9092), ("10.1.1.3", 9093)], resolver)
    for url, address in (
        ("http://kafka-1.example:9092/", "10.9.9.9"),
        ("http://KAFKA-1.example.:9092/", "10.9.9.9"),
        ("http://nowhere.example:9092/", "10.9.9.9"),
        ("http://other.example:9092/", "10.1.1.1"),
        ("http://other.example:9092/", "10.1.1.2"),
        ("http://other.example:9093/", "::ffff:10.1.1.3"),
    ):
        with pytest.raises(UrlBlocked):
            own.judge(parse(url), ip_address(address))
    own.judge(parse("http://kafka-1.example/"), ip_address("10.1.1.1"))
    own.judge(parse("http://other.example:9093/"), ip_address("10.1.1.1"))


@pytest.mark.parametrize(
    "carrying",
    [
        "::ffff:10.1.1.3",  # mapped
        "::10.1.1.3",  # compatible
        "::ffff:0:10.1.1.3",  # translated
        "64:ff9b::10.1.1.3",  # NAT64
        "64:ff9b:1::10.1.1.3",  # NAT64 of one's own network, whose prefix has 96 bits,
        "64:ff9b:1:a01:1:300::",  # 48,
        "64:ff9b:1:ff0a:1:103::",  # 56
        "64:ff9b:1:ffff:a:101:300:0",  # and 64
        "2002:a01:103::1",  # 6to4
        "2001:0:808:808::f5fe:fefc",  # Teredo
        "2606:2800::5efe:10.1.1.3",  # ISATAP
    ],
)
def test_an_address_that_carries_one_of_ours_is_ours(carrying: str) -> None:
    own = OwnEndpoints([("10.1.1.3", 9092)], Resolver(lambda _: []))
    with pytest.raises(UrlBlocked):
        own.judge(parse("http://other.example:9092/"), ip_address(carrying))
    own.judge(parse("http://other.example:9093/"), ip_address(carrying))


def test_an_address_that_carries_this_machine_is_this_machine() -> None:
    own = OwnEndpoints([("::", 8000)], Resolver(lambda _: []))
    for carrying in ("64:ff9b::127.0.0.1", "64:ff9b:1::127.0.0.1", "2002:7f00:1::", "::127.0.0.1"):
        with pytest.raises(UrlBlocked):
            own.judge(parse("http://other.example:8000/"), ip_address(carrying))
    own.judge(parse("http://other.example:8000/"), ip_address("64:ff9b::192.0.2.1"))


def test_the_servers_that_the_settings_name_are_read_as_kafka_reads_them() -> None:
    told = "kafka-1.example:9093, SSL://Kafka-2.example,[2001:db8::1]:9094,[2001:db8::2],bad:port,"
    assert servers(told) == [
        *(("kafka-1.example", 9093), ("kafka-2.example", 9092)),
        *(("2001:db8::1", 9094), ("2001:db8::2", 9092)),
    ]


def test_this_machines_addresses_are_known_as_such() -> None:
    assert is_here(ip_address("127.1.2.3"))
    assert is_here(ip_address("0.0.0.0"))
    assert not is_here(ip_address("192.0.2.1"))
