"""Breakers in the states that tests begin with."""

from __future__ import annotations

import pytest

from consumer.suspicion import GOOD_FOR_DEADLINES
from tests.breaker.telling import Stream, failed, got


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def suspecting(stream: Stream) -> Stream:
    """Twelve hosts were reached, one after the other, and then nobody is."""
    for number in range(12):
        stream.tell(got(f"host-{number}"))
    stream.now += GOOD_FOR_DEADLINES * 10
    while not stream.suspects():
        assert stream.tell(failed(host=f"dead-{stream.events}"))
    return stream


@pytest.fixture
def opened(stream: Stream) -> Stream:
    stream.until_open(failed())
    return stream
