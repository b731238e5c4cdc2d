"""Which names belong to one domain."""

from __future__ import annotations

import pytest

from consumer.fetching.kin import ADDRESSES, kin_of


@pytest.mark.parametrize(
    ("host", "kin"),
    [
        ("shop.example", "shop.example"),
        ("img.shop.example", "shop.example"),
        ("a.b.c.shop.example", "shop.example"),
        ("localhost", "localhost"),
        ("img.shop.co.uk", "shop.co.uk"),
        ("shop.co.uk", "shop.co.uk"),
        ("co.uk", "co.uk"),
        ("10.0.0.1.nip.io", "nip.io"),
        ("x.com.com", "com.com"),
        ("127.0.0.1", ADDRESSES),
        ("93.184.215.14", ADDRESSES),
        ("2606:2800:21f::1", ADDRESSES),
        ("1.example", "1.example"),
    ],
)
def test_names_share_the_domain_that_somebody_pays_for(host: str, kin: str) -> None:
    assert kin_of(host) == kin
