"""What the service itself is made of: never fetched from, whatever FETCH_ALLOW_NETS and FETCH_ALLOW_PORTS let.

Who allows loopback for a local try does not mean the service's own endpoint (a URL that leads to
``/predict/`` of itself, and so on without end) nor the port of its Kafka brokers.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

from consumer.errors import FetchError, UrlBlocked
from consumer.fetching.addresses import Address
from consumer.fetching.deadline import Deadline
from consumer.fetching.resolver import Resolver
from consumer.fetching.urls import Target

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
                self._addresses.add((address, port))
                if is_here(address):
                    self._ports_here.add(port)  # reached at any address of this machine, as far as we know

    def judge(self, target: Target, address: Address) -> None:
        """Lets a target pass that is about to be connected to at this address.

        Raises:
            UrlBlocked: it is one of our own.
        """
        address = _plain(address)
        if (
            (target.host, target.port) in self._names
            or (address, target.port) in self._addresses
            or (target.port in self._ports_here and is_here(address))
        ):
            raise UrlBlocked("this is the service itself, or a part of it: it is never fetched from")


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
        return [_plain(ip_address(host))]
    except ValueError:
        pass  # a name
    try:
        return [_plain(ip_address(text)) for text in resolver.addresses(host, Deadline(RESOLVE_S))]
    except (FetchError, ValueError):
        return []


def _plain(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
