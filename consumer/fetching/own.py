"""What the service itself is made of: never fetched from, whatever FETCH_ALLOW_NETS and FETCH_ALLOW_PORTS let.

Who allows loopback for a local try does not mean the service's own endpoint (a URL that leads to
``/predict/`` of itself, and so on without end) nor the port of its Kafka brokers.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from consumer.errors import FetchError, UrlBlocked
from consumer.fetching.addresses import Address, carried
from consumer.fetching.deadline import Deadline
from consumer.fetching.resolver import Resolver
from consumer.fetching.urls import Target

KAFKA_PORT = 9092
"""Where librdkafka looks for a server that is named without a port."""

RESOLVE_S = 2.0
"""What looking up one of our own names may take, once, at start."""


class OwnEndpoints:
    """The endpoints of the service and of its brokers.

    Args:
        endpoints: host and port of each, as it listens or is reached.
        resolver: looks their names up, once; a name that cannot be resolved is known by its name alone.
    """

    def __init__(self, endpoints: Iterable[tuple[str, int]], resolver: Resolver) -> None:
        self._names: set[tuple[str, int]] = set()
        self._addresses: set[tuple[Address, int]] = set()
        self._ports_here: set[int] = set()
        for host, port in endpoints:
            self._names.add((host.lower().removesuffix("."), port))
            for address in _addresses(host, resolver):
                self._addresses |= {(form, port) for form in _forms(address)}
                if any(map(is_here, _forms(address))):
                    self._ports_here.add(port)  # reached at any address of this machine, as far as we know

    def judge(self, target: Target, address: Address) -> None:
        """Lets a target pass that is about to be connected to at this address.

        Raises:
            UrlBlocked: it is one of our own.
        """
        if (target.host, target.port) in self._names or any(self._is_ours(one, target.port) for one in _forms(address)):
            raise UrlBlocked("this is the service itself, or a part of it: it is never fetched from")

    def _is_ours(self, address: Address, port: int) -> bool:
        return (address, port) in self._addresses or (port in self._ports_here and is_here(address))


def servers(bootstrap: str) -> list[tuple[str, int]]:
    """The endpoints in Kafka's ``bootstrap.servers``, which need not be among those that the cluster names."""
    found = []
    for one in bootstrap.split(","):
        try:
            at = urlsplit(f"//{one.rpartition('//')[2].strip()}")
            found += [(at.hostname, at.port or KAFKA_PORT)] if at.hostname else []
        except ValueError:
            continue  # no server either: librdkafka passes over what it cannot read
    return found


def is_here(address: Address) -> bool:
    """Whether it is one of this machine's: then, and only then, a socket can be bound to it."""
    if address.is_unspecified:
        return True  # connecting to it means loopback
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _addresses(host: str, resolver: Resolver) -> list[Address]:
    try:
        return [ip_address(host)]
    except ValueError:
        pass  # a name
    try:
        return [ip_address(text) for text in resolver.addresses(host, Deadline(RESOLVE_S))]
    except (FetchError, ValueError):
        return []


def _forms(address: Address) -> list[Address]:
    """The address, and every IPv4 address that it leads to."""
    return [address, *carried(address)] if isinstance(address, IPv6Address) else [address]
