"""What an event that has been worked on says of what all events share."""

from __future__ import annotations

import pytest

from consumer.evidence import evidence


@pytest.mark.parametrize(
    ("url", "place", "root"),
    [
        ("http://a/x", "a", "http://a/"),
        ("https://Shop.Example:8443?x=http://b/", "shop.example", "https://Shop.Example:8443/"),
        ("http://user:p%40ss@a:80/@b", "a", "http://a:80/"),
        ("http://[::1]:80/x", "[::1]", "http://[::1]:80/"),
        ("http:\\\\a\\b", "a", "http://a/"),
        ("nonsense", "", ""),
        ("", "", ""),
    ],
)
def test_a_place_is_the_host_that_the_url_names_and_its_root_is_where_that_is(url: str, place: str, root: str) -> None:
    told = evidence(url, None)
    assert (told.place, told.root) == (place, root)
