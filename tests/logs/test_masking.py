"""Secrets and the private parts of URLs are in no line."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from consumer.logs import configure, mask_url, printable, secrets_of
from consumer.settings import Settings
from tests.logs.reading import NASTY, Out, fail, log, records


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_secret_is_starred_out_wherever_it_stands(capsys: Out, log_format: Any) -> None:
    secret = 'pass"w\\ord/1'
    with configure(log_format, secrets=[secret], capture=False):
        log.info("it is %s", secret, extra={"field": secret, "deep": {"er": [secret]}})
        log.info("in a URL: pass%22w%5Cord%2F1 or pass%22w%5Cord/1")
        try:
            fail(ValueError(f"refused: {secret}"))
        except ValueError:
            log.exception("failed")
    told = capsys.readouterr().out
    assert "ord" not in told
    assert told.count("***") == 6


def test_a_secret_that_looks_like_json_does_not_break_the_line(capsys: Out) -> None:
    with configure("json", secrets=["level", '": "'], capture=False):
        log.info("my level")
    assert records(capsys.readouterr().out)[0]["message"] == "my ***"


def test_a_secret_of_three_letters_is_not_looked_for(capsys: Out) -> None:
    with configure("json", secrets=["a", ""], capture=False):
        log.info("banana")
    assert records(capsys.readouterr().out)[0]["message"] == "banana"


def test_the_secrets_of_the_settings_are_known() -> None:
    settings = Settings.from_env(
        {
            "HTTP_API_KEY": "key-of-the-api",
            "KAFKA_SASL_PASSWORD": "word-for-all",
            "KAFKA_CONSUMER_SASL_PASSWORD": "word-for-consumers",
            "KAFKA_SASL_USERNAME": "somebody",
        }
    )
    settings = replace(settings, schema_registry_url="https://user:p%40ss@registry.example/")
    assert set(secrets_of(settings)) == {"key-of-the-api", "word-for-all", "word-for-consumers", "p%40ss", "p@ss"}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://example.com/a/b.jpg", "https://example.com/a/b.jpg"),
        ("https://example.com:8443/a?w=100&sig=s3cret", "https://example.com:8443/a?w=***&sig=***"),
        ("https://example.com/a?s3cret", "https://example.com/a?***"),
        ("https://example.com/a?a=s3cret;b=s3cret&&c=", "https://example.com/a?a=***;b=***&&c=***"),
        ("https://example.com/a?sig=s3=cret?#x", "https://example.com/a?sig=***#***"),
        ("https://example.com/a#s3cret", "https://example.com/a#***"),
        ("https://user:s3cret@example.com/", "https://***@example.com/"),
        ("https://s3cret@example.com/", "https://***@example.com/"),
        ("https://user:s3@cret@example.com/", "https://***@example.com/"),
        ("https://user:s3/cret@example.com/", "https://***"),
        ("https://user:s3?cret@example.com/", "https://***"),
        ("https://user:s3#cret@example.com/", "https://***"),
        ("https:/user:s3cret@example.com/", "https:/***@example.com/"),
        ("https:\\\\user:s3cret@example.com\\", "https:\\\\***@example.com\\"),
        ("https:////user:s3cret@example.com/", "https:////***@example.com/"),
        ("//user:s3cret@example.com/", "//***@example.com/"),
        ("user:s3cret@example.com/", "user:***@example.com/"),
        ("blob:https://user:s3cret@example.com/", "blob:https://***@example.com/"),
        ("https://example.com/@user/a.jpg", "https://example.com/@user/a.jpg"),
        ("https://[::1]:80/a", "https://[::1]:80/a"),
        ("https://example.com/a;token=s3cret/b", "https://example.com/a;***/b"),
        ("https://example.com/a.jpg%3Ftoken=s3cret", "https://example.com/a.jpg%3F***"),
        (
            "https://proxy.example/http%3a%2f%2fh%2fa%253Ftoken=s3cret",
            "https://proxy.example/http%3a%2f%2fh%2fa%253F***",
        ),
        ("https://[::1/a", "https://***"),
        ("https://example.com/\r\nSet-Cookie: x\x1b", "https://example.com/\\r\\nSet-Cookie: x\\x1b"),
        ("", ""),
        ("no url at all", "no url at all"),
    ],
)
def test_a_url_is_told_without_its_private_parts(url: str, told: str) -> None:
    assert mask_url(url) == told
    assert "s3cret" not in mask_url(url)


def test_a_url_is_told_in_two_hundred_characters_at_most() -> None:
    assert len(mask_url("https://example.com/" + "\x00" * 500)) == 200
    assert len(mask_url("https://" + "a:" * 500)) <= 200


@pytest.mark.parametrize("text", [":", "a:", "@", "a:b@", ";", "/", "&", "%", "\x00", "é"])
@pytest.mark.parametrize("begin", ["", "http://", "http://h/", "http://h/?"])
def test_a_url_of_a_million_characters_is_told_at_once(begin: str, text: str) -> None:
    began = time.process_time()
    assert len(mask_url(begin + text * 1_000_000)) <= 200
    assert time.process_time() - began < 0.5  # 5 ms; the form that backtracked would have taken days


def test_the_password_of_a_url_that_is_cut_is_not_told() -> None:
    assert mask_url("http://user:" + "s3cret" * 1_000 + "@host/") == "http://***"
    assert "s3cret" not in mask_url("http://host/" + "a/" * 50 + "u:" + "s3cret" * 1_000 + "@host")


def test_printable_leaves_ordinary_text_alone() -> None:
    assert printable("Größe 10 × 20, 服装") == "Größe 10 × 20, 服装"
    assert printable(NASTY).isprintable()
