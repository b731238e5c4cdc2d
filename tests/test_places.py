"""What is remembered of hosts, and how much of it."""

from __future__ import annotations

import pytest

from consumer.places import DOMAINS, NAMES, REMEMBERED_S, Places

GOOD_FOR_S = 30.0
ROOT = "https://it/"


@pytest.fixture
def places() -> Places:
    return Places(GOOD_FOR_S)


def test_who_was_never_reached_is_heard_of_and_not_known(places: Places) -> None:
    places.failed("dead.example", "dns_failed", 0)
    places.failed("dead.example", "connect_failed", 1)
    assert places.known(1) == (0, 0, 0)
    assert places.heard(1) == (1, 1, 2)
    assert places.failing(1) == {"dead.example": "connect_failed"}


def test_who_is_reached_is_known_from_then_on_and_what_was_before_is_forgotten(places: Places) -> None:
    places.failed("shop.test", "dns_failed", 0)
    places.reached("shop.test", ROOT, 1)
    assert places.known(1) == places.heard(1) == (0, 1, 0)
    assert (places.failing(1), places.well(1)) == ({}, 1)
    places.failed("shop.test", "dns_failed", 2)
    assert places.known(2) == places.heard(2) == (1, 1, 1)


def test_a_host_speaks_for_the_network_for_a_while_and_against_it_for_longer(places: Places) -> None:
    places.reached("a.test", ROOT, 0)
    places.reached("b.test", ROOT, 0)
    places.failed("b.test", "connect_failed", 1)
    assert places.known(GOOD_FOR_S) == (1, 2, 1)
    assert places.known(GOOD_FOR_S + 1) == (1, 1, 1)
    assert places.known(REMEMBERED_S + 2) == (0, 0, 0)
    assert places.witnesses(9) == {"a.test": ROOT}, "it is worth asking still"


def test_the_names_of_a_domain_share_its_voice(places: Places) -> None:
    for number in range(4):
        places.reached(f"img{number}.shop.test", ROOT, 0)
    places.failed("img0.shop.test", "connect_failed", 1)
    places.failed("127.0.0.1", "connect_failed", 1)
    places.failed("[2001:db8::1]", "connect_failed", 1)
    assert places.known(1) == (0.25, 1, 1)
    assert places.heard(1) == (1.25, 2, 3), "all addresses are one domain"


def test_of_many_domains_and_names_those_are_remembered_that_were_heard_of_last(places: Places) -> None:
    for number in range(100):
        places.reached(f"img{number}.shop.test", ROOT, 0)
    assert places.well(0) == NAMES
    assert places.witnesses(99) == {"img99.shop.test": ROOT}
    for number in range(100):
        places.reached(f"{number}.test", ROOT, 0)
        places.failed(f"{number}.example", "connect_failed", 0)
        places.reached("shop.test", ROOT, 0)
    assert places.known(0) == (0, DOMAINS, 0)
    assert len(places.failing(0)) == DOMAINS
    assert places.witnesses(99).keys() >= {"shop.test", "99.test"}
    assert "0.test" not in places.witnesses(99)


def test_once_forgiven_nobody_speaks_who_failed(places: Places) -> None:
    for name in ("a.test", "b.test"):
        places.reached(name, ROOT, 0)
    for name in ("b.test", "c.test"):
        places.failed(name, "connect_failed", 1)
    places.forgive()
    assert places.known(1) == places.heard(1) == (0, 1, 0)
    assert places.witnesses(9) == {"a.test": ROOT, "b.test": ROOT}, "it was known before, and is asked again"


def test_witnesses_are_those_who_were_reached_last_one_of_each_domain(places: Places) -> None:
    for number in range(6):
        places.reached(f"img{number % 2}.shop{number // 2}.test", f"https://{number}/", number)
    assert list(places.witnesses(2)) == ["img1.shop2.test", "img1.shop1.test"]
    places.failed("img1.shop2.test", "connect_failed", 9)
    assert list(places.witnesses(2).items()) == [
        ("img0.shop2.test", "https://4/"),
        ("img1.shop1.test", "https://3/"),
    ]


def test_witnesses_that_failed_since_come_behind_the_others_if_they_are_wanted(places: Places) -> None:
    for number in range(4):
        places.reached(f"{number}.test", ROOT, number)
        if number % 2:
            places.failed(f"{number}.test", "connect_failed", 9)
    assert list(places.witnesses(9)) == ["2.test", "0.test"]
    assert list(places.witnesses(3, failing_too=True)) == ["2.test", "0.test", "3.test"]
