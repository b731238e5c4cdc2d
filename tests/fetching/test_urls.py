from __future__ import annotations

import pytest

from consumer.errors import UrlBlocked, UrlInvalid
from consumer.fetching.urls import MAX_LENGTH, UrlPolicy, parse

REFUSED = {
    "empty": "",
    "relative": "/a.jpg",
    "no host": "http:///a.jpg",
    "another scheme": "ftp://example.com/a.jpg",
    "a scheme with a long s": "http\u017f://example.com/",
    "a scheme with a long s and a port": "http\u017f://example.com:80/",
    "a file": "file:///etc/passwd",
    "user information": "http://user:secret@example.com/",
    "an empty user": "http://@example.com/",
    "a backslash before the at": "http://127.0.0.1:80\\@example.com/",
    "a backslash": "http://example.com\\a",
    "a space": "http://example.com/a b.jpg",
    "a leading space": " http://example.com/",
    "a line break": "http://example.com/\r\nHost: inside",
    "a tab": "http://exam\tple.com/",
    "NUL": "http://127.0.0.1\0.example.com/",
    "a no-break space": "http://example.com/\u00a0",
    "a lone surrogate": "http://example.com/\ud800",
    "a percent-encoded host": "http://%31%32%37.0.0.1/",
    "decimal": "http://2130706433/",
    "octal": "http://0177.0.0.1/",
    "hexadecimal": "http://0x7f.0.0.1/",
    "hexadecimal, one number": "http://0x7f000001/",
    "short": "http://127.1/",
    "a name that ends in a number": "http://example.1/",
    "a zone": "http://[fe80::1%25eth0]/",
    "half a bracket": "http://[::1/",
    "two colons": "http://example.com:80:80/",
    "IPv6 without brackets": "http://::1/",
    "port 0": "http://example.com:0/",
    "port 65536": "http://example.com:65536/",
    "a port in words": "http://example.com:http/",
    "a label that is too long": f"http://{'a' * 64}.com/",
    "two dots": "http://example..com/",
    "a forbidden character": "http://exa<mple.com/",
    "an emoji": "http://\U0001f355.example/",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_two_parsers_could_read_differently_is_refused(case: str) -> None:
    with pytest.raises(UrlInvalid) as caught:
        parse(REFUSED[case])
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ["user information", "an empty user"])
def test_user_information_is_named_as_the_reason(case: str) -> None:
    with pytest.raises(UrlInvalid, match="user information"):
        parse(REFUSED[case])


def test_a_url_that_is_too_long_is_refused() -> None:
    assert parse("http://example.com/".ljust(MAX_LENGTH, "a"))
    with pytest.raises(UrlInvalid, match="8192"):
        parse("http://example.com/".ljust(MAX_LENGTH + 1, "a"))


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("http://example.com:80/a", "http://example.com/a"),
        ("https://example.com:8443/a", "https://example.com:8443/a"),
        ("http://example.com./a", "http://example.com/a"),
        ("http://example.com?x=1", "http://example.com/?x=1"),
        ("http://example.com/a?b=c/d?e#fragment", "http://example.com/a?b=c/d?e"),
        ("http://example.com/kjø.jpg", "http://example.com/kj%C3%B8.jpg"),
        ("http://example.com/a%20b%2Fc.jpg", "http://example.com/a%20b%2Fc.jpg"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://1２7.0.0.1/", "http://127.0.0.1/"),
        ("http://a_b.example.com/", "http://a_b.example.com/"),
        ("http://[2001:DB8:0:0::1]:8080/", "http://[2001:db8::1]:8080/"),
    ],
)
def test_a_url_has_one_canonical_form(url: str, canonical: str) -> None:
    target = parse(url)
    assert target.url == canonical
    assert parse(target.url) == target


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://1２7.0.0.1/", "http://[::1]/"])
def test_an_address_is_known_as_one(url: str) -> None:
    address = parse(url).address
    assert address is not None
    assert address.is_loopback


ANY_PORT = None


@pytest.mark.parametrize(
    ("hosts", "ports", "url", "setting"),
    [
        ((), {80, 443}, "http://example.com/", None),
        ((), {80, 443}, "http://example.com:8080/", "FETCH_ALLOW_PORTS"),
        ((), ANY_PORT, "http://example.com:8080/", None),
        (("example.com",), ANY_PORT, "http://example.com/", None),
        (("example.com",), ANY_PORT, "http://www.example.com/", "FETCH_ALLOW_HOSTS"),
        (("*.example.com",), ANY_PORT, "http://a.b.example.com/", None),
        (("*.example.com",), ANY_PORT, "http://example.com/", "FETCH_ALLOW_HOSTS"),
        (("*.example.com",), ANY_PORT, "http://badexample.com/", "FETCH_ALLOW_HOSTS"),
        (("*.example.com",), ANY_PORT, "http://example.com.evil.test/", "FETCH_ALLOW_HOSTS"),
    ],
)
def test_the_policy_names_the_setting_that_decides(
    hosts: tuple[str, ...], ports: set[int] | None, url: str, setting: str | None
) -> None:
    policy = UrlPolicy(hosts, ports)
    if setting is None:
        policy.judge(parse(url))
    else:
        with pytest.raises(UrlBlocked, match=setting):
            policy.judge(parse(url))
