"""What strangers publish that is no event, and what they write into logs."""

from __future__ import annotations

import io
import logging
import time

import pytest

from consumer.codec import decode_event
from consumer.errors import EventUnreadable
from consumer.logs.formats import JsonFormatter, TextFormatter
from consumer.logs.masking import Secrets, mask_url, mask_urls
from tests.codec.strategies import record
from tests.hostile.events import UNREADABLE
from tests.hostile.urls import URLS


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_value_that_is_no_event_is_unreadable(name: str) -> None:
    with pytest.raises(EventUnreadable) as caught:
        decode_event(record(UNREADABLE[name]))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("url", [case.url for case in URLS], ids=[case.name for case in URLS])
def test_whatever_is_in_a_url_a_record_is_one_line_and_its_private_parts_are_masked(url: str) -> None:
    spiced = url + "?token=hunter2\r\nFORGED level=error \x1b[2J\u2028\u202e\x85#hunter3"
    told = logging.LogRecord(
        "consumer.test", logging.WARNING, "", 0, "an event of %s failed", (mask_url(spiced),), None
    )
    told.url = spiced
    told.masked = mask_url(spiced)
    for formatter in (
        JsonFormatter(Secrets(["hunter2", "hunter3"])),
        TextFormatter(Secrets(["hunter2", "hunter3"]), colour=False),
    ):
        line = formatter.format(told)
        assert len(io.StringIO(line + "\n", newline=None).readlines()) == 1
        assert line.splitlines() == [line]
        assert line.isprintable()
        assert "hunter" not in line
    assert "hunter" not in mask_url(spiced)


def test_urls_in_an_exception_that_nobody_foresaw_are_masked() -> None:
    """urllib3 and requests write the whole of them into their texts."""
    text = "HTTPSConnectionPool(host='h'): Max retries exceeded with url: /a?token=hunter2 (https://u:hunter3@h/?k=hunter4)"
    told = logging.LogRecord("consumer.test", logging.ERROR, "", 0, "a mistake of ours", (), None)
    told.exc_info = (ValueError, ValueError(text), None)
    for formatter in (JsonFormatter(Secrets()), TextFormatter(Secrets(), colour=False)):
        line = formatter.format(told)
        assert "Max retries exceeded with url: /a?token=***" in line
        assert "hunter" not in line


def test_a_long_text_of_an_exception_is_masked_in_its_length() -> None:
    began = time.process_time()
    mask_urls("http" * 250_000 + "https://" * 50_000 + "with url: " * 50_000)
    assert time.process_time() - began < 1.0
