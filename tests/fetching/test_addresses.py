from __future__ import annotations

from ipaddress import IPv6Network, ip_address, ip_network
from itertools import islice

import pytest

from consumer.errors import UrlBlocked
from consumer.fetching.addresses import AddressPolicy, machine_at

PUBLIC = ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::808:808", "::ffff:8.8.8.8"]

CARRYING = [
    # IPv6 that carries 127.0.0.1, or 10.0.0.1
    "::127.0.0.1",  # compatible
    "::ffff:127.0.0.1",  # mapped
    "::ffff:0:7f00:1",  # translated
    "64:ff9b::7f00:1",  # NAT64
    "64:ff9b:1::7f00:1",  # NAT64 of one's own network
    "64:ff9b:1:7f00:0:100::",  # the same, under a prefix of 48 bits
    "2002:7f00:1::",  # 6to4
    "2001:0:808:808::80ff:fffe",  # Teredo, the client inverted
    "2001:0:7f00:1::f7f7:f7f7",  # Teredo, the server
    "2606:2800::5efe:a00:1",  # ISATAP
    "2606:2800::200:5efe:a00:1",  # "
    "::ffff:169.254.169.254",
]

NOT_PUBLIC = [
    *("127.0.0.1", "0.0.0.0", "10.0.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "169.254.169.254"),
    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "192.0.0.192", "168.63.129.16"),
    *("::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "3fff::1", "fec0::1", "100::1"),
    *CARRYING,
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_pass(text: str) -> None:
    AddressPolicy().judge(ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_what_is_not_public_is_blocked_without_being_named(text: str) -> None:
    with pytest.raises(UrlBlocked, match="FETCH_ALLOW_NETS") as caught:
        AddressPolicy().judge(ip_address(text))
    assert text not in str(caught.value).split()


def test_allowed_networks_pass_in_every_form() -> None:
    policy = AddressPolicy([ip_network("127.0.0.0/8"), ip_network("::1/128")])
    for text in ("127.0.0.1", "::ffff:127.0.0.1", "::1"):
        policy.judge(ip_address(text))
    for text in ("10.0.0.1", "::2"):
        assert not policy.allows(ip_address(text))


@pytest.mark.parametrize("text", CARRYING)
def test_a_network_of_ipv6_opens_nothing_of_ipv4(text: str) -> None:
    policy = AddressPolicy([ip_network("::/0")])
    assert policy.allows(ip_address("fd00::1"))
    assert not policy.allows(ip_address(text))


@pytest.mark.parametrize("text", ["::", "::1", "fe80::1", "fd00::1", "64:ff9b:1::7f00:1", "fd00::5efe:a00:1"])
def test_a_network_of_ipv4_opens_nothing_of_ipv6s_own(text: str) -> None:
    policy = AddressPolicy([ip_network("0.0.0.0/0")])
    assert policy.allows(ip_address("127.0.0.1"))
    assert policy.allows(ip_address("::ffff:127.0.0.1")), "which is the same"
    assert not policy.allows(ip_address(text))


def test_a_metadata_service_passes_only_if_it_is_named_alone() -> None:
    address = ip_address("169.254.169.254")
    assert not AddressPolicy([ip_network("169.254.0.0/16")]).allows(address)
    assert AddressPolicy([ip_network("169.254.169.254/32")]).allows(address)


def test_a_metadata_service_behind_a_networks_own_nat64_passes_neither() -> None:
    policy = AddressPolicy([ip_network("64:ff9b:1::/48"), ip_network("10.0.0.0/8")])
    assert policy.allows(ip_address("64:ff9b:1::10.0.0.1"))
    assert not policy.allows(ip_address("64:ff9b:1::192.168.0.1"))
    assert not policy.allows(ip_address("64:ff9b:1:808:8:800:c0a8:1")), "a public one in another place"
    assert not policy.allows(ip_address("64:ff9b:1::169.254.169.254"))
    assert not policy.allows(ip_address("64:ff9b:1:a9fe:a9:fe00::"))


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        ("93.184.215.14", "93.184.215.14"),
        ("::ffff:93.184.215.14", "93.184.215.14"),
        ("64:ff9b::5db8:d70e", "93.184.215.14"),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2606:2800:21f::/48"),
    ],
)
def test_a_machine_is_an_address_of_ipv4_or_a_48_of_ipv6(text: str, machine: str) -> None:
    assert machine_at(ip_address(text)) == machine


def test_a_site_is_one_machine_however_many_networks_it_makes_of_its_48() -> None:
    site = IPv6Network("2606:2800:21f::/48")
    found = {machine_at(network[1]) for bits in (56, 64) for network in islice(site.subnets(new_prefix=bits), 256)}
    assert found == {"2606:2800:21f::/48"}
    assert machine_at(site[-1]) in found
    assert machine_at(site[-1] + 1) not in found
