"""Trouble that lasts is told once in a while."""

from __future__ import annotations

import logging

import pytest

from consumer.logs import Repeats
from consumer.logs.repeats import AGAIN_AFTER_S


def test_the_same_trouble_is_told_at_once_and_then_every_thirty_seconds(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    repeats = Repeats(logging.getLogger("x"), lambda: now[0])
    for second in range(61):
        now[0] = float(second)
        repeats.warning("away", "at %d", second)
    assert [one.getMessage() for one in caplog.records] == ["at 0", f"at {AGAIN_AFTER_S:.0f}", "at 60"]


def test_another_trouble_and_one_after_an_end_are_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    repeats = Repeats(logging.getLogger("x"), lambda: 5.0)
    for _ in range(3):
        repeats.warning("a", "a")
        repeats.warning("b", "b")
    repeats.over("a")
    repeats.warning("a", "a again")
    repeats.warning("b", "b again")
    assert [one.getMessage() for one in caplog.records] == ["a", "b", "a again"]
