"""What an event that has been worked on says of what all events share."""

from __future__ import annotations

import pytest

from consumer.evidence import evidence


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://a/x", "a"),
        ("https://Shop.Example:8443?x=http://b/", "shop.example"),
        ("http://user:p%40ss@a:80/@b", "a"),
        ("http://[::1]:80/x", "[::1]"),
        ("http:\\\\a\\b", "a"),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_a_place_is_the_host_that_the_url_names(url: str, place: str) -> None:
    assert evidence(url, None).place == place
