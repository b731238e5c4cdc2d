"""Which addresses a socket may be connected to.

`ipaddress.is_global` is not enough. On Python 3.11 it lets pass ``::127.0.0.1``,
``64:ff9b::7f00:1``, ``2002:7f00:1::``, 224.0.0.1 and 168.63.129.16, so the table is our own:
IANA's registries of special-purpose addresses (RFC 6890 and its updates), multicast, the metadata
services of clouds, and every form of IPv6 that carries an IPv4 address, which is judged by what
it carries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from consumer.errors import UrlBlocked

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers (RFC 6598)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, metadata services among them
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

_PUBLIC_V6 = IPv6Network("2000::/3")
"""The only global unicast space that IANA gives out; whatever is outside is special or unknown."""

_NOT_PUBLIC_V6 = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # protocol assignments: benchmarks, ORCHID, … (Teredo is judged by what it carries)
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

_TEREDO = IPv6Network("2001::/32")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_LOW_32_BITS_CARRY_V4 = tuple(
    IPv6Network(net)
    for net in (
        "::/96",  # compatible, deprecated
        "::ffff:0:0/96",  # mapped
        "::ffff:0:0:0/96",  # translated (RFC 2765)
        "64:ff9b::/96",  # NAT64 (RFC 6052): how an IPv6-only network reaches public IPv4
    )
)
_OWN_V6 = (IPv6Address("::"), IPv6Address("::1"))
"""Unspecified and loopback: they look compatible, and are not (RFC 4291, 2.5)."""

_CARRIERS = (*_LOW_32_BITS_CARRY_V4, _SIX_TO_FOUR, _TEREDO)
"""Such an address leads to what it carries and nowhere else, so that alone decides."""

_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
"""NAT64 under a network's own prefix (RFC 8215): never public, though FETCH_ALLOW_NETS may name it. How long that
prefix is nobody tells, so each of the places where RFC 6052 (2.2) has the IPv4 address counts, unless what stands
there is in 0.0.0.0/8, where nobody can be."""

_THIS_NETWORK = IPv4Network("0.0.0.0/8")

_ISATAP = (0x00005EFE, 0x02005EFE)
"""Bits 64 to 95 of an ISATAP address (RFC 5214), under whatever prefix."""

METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google Cloud, OpenStack, Oracle, DigitalOcean
        "169.254.170.2",  # AWS ECS
        "169.254.170.23",  # AWS EKS
        "169.254.42.42",  # Scaleway
        "169.254.0.23",  # Tencent Cloud
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's host, a public address
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS EKS
        "fd20:ce::254",  # Google Cloud
        "fd00:42::42",  # Scaleway
        "fd00:a9fe:a9fe::1",  # Akamai (Linode)
        "fe80::a9fe:a9fe",  # OpenStack
    )
)
"""Services that hand out credentials to whoever asks from inside."""


class AddressPolicy:
    """Judges addresses: public ones pass, and those in ``allow_nets``.

    An address that carries another passes only if that one does by itself: a network of IPv6, be it ``::/0``, opens
    nothing of IPv4, and none of IPv4 opens what is IPv6's own.

    A metadata address passes only if a network of ``allow_nets`` names it and nothing else: who
    allows a whole private network does not mean the credentials of the machine.
    """

    def __init__(self, allow_nets: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allow_nets)

    def judge(self, address: Address) -> None:
        """Lets the address pass.

        Raises:
            UrlBlocked: it may not be connected to. The message does not hold it.
        """
        if not self.allows(address):
            raise UrlBlocked("the host has an address that is not public: FETCH_ALLOW_NETS decides")

    def allows(self, address: Address) -> bool:
        """Whether a socket may be connected to it."""
        inner = tuple(carried(address)) if isinstance(address, IPv6Address) else ()
        if any(one in METADATA and not self._names(one) for one in (address, *inner)):
            return False
        if not all(self.allows(one) for one in inner if not (address in _LOCAL_NAT64 and one in _THIS_NETWORK)):
            return False
        if any(address in net for net in self._allowed):
            return True
        return _is_public(address) or _carries_only(address)

    def _names(self, address: Address) -> bool:
        return any(net.num_addresses == 1 and address in net for net in self._allowed)


def carried(address: IPv6Address) -> Iterator[IPv4Address]:
    """Every IPv4 address that an IPv6 address carries."""
    if address in _OWN_V6:
        return
    bits = int(address)
    low = bits & 0xFFFFFFFF
    if any(address in net for net in _LOW_32_BITS_CARRY_V4) or bits >> 32 & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(low)
    if address in _LOCAL_NAT64:
        yield IPv4Address(low)  # where the prefix has 96 bits
        without_u = bits >> 64 << 64 | (bits & 2**56 - 1) << 8  # bits 64 to 71 are left out of it
        yield from (IPv4Address(without_u >> 96 - length & 0xFFFFFFFF) for length in (48, 56, 64))
    if address in _SIX_TO_FOUR:
        yield IPv4Address(bits >> 80 & 0xFFFFFFFF)
    if address in _TEREDO:
        yield IPv4Address(bits >> 64 & 0xFFFFFFFF)  # the relay's server
        yield IPv4Address(low ^ 0xFFFFFFFF)  # the client, inverted (RFC 4380)


def machine_at(address: Address) -> str:
    """Whose an address is, as far as it tells: IPv4 is one's own, also where IPv6 carries it; of IPv6 the /48.

    That is the most that a site is given for the asking (RIPE-690, section 4.2: a /48 for everybody, or for businesses,
    and a /56 for households). By /64 a stranger with a /48 would be 65 536 machines, by /56 still 256. Customers of a
    cloud may share one, as Let's Encrypt found, whose limits go by /48 too; but here nothing is refused to them for
    that, they share turns and threads.
    """
    if isinstance(address, IPv4Address):
        return str(address)
    if _carries_only(address):
        return str(next(carried(address)))
    return f"{IPv6Address(int(address) >> 80 << 80)}/48"


def _carries_only(address: Address) -> bool:
    """Whether it leads to what it carries and nowhere else."""
    return address not in _OWN_V6 and any(address in net for net in _CARRIERS)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in net for net in _NOT_PUBLIC_V4)
    return address in _PUBLIC_V6 and not any(address in net for net in _NOT_PUBLIC_V6)
