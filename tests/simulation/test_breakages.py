"""The simulation can fail: with one rule of the service broken, it turns red within a few hundred histories."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.breakages import BREAKAGES
from tests.simulation.instance import SOUND
from tests.simulation.world import play

MOST = {
    "member id asked before the metadata": 3000,
    "a fenced instance takes its name back": 2000,
    "no look for partitions that are with nobody": 2000,
}
"""Histories until it must have shown: a few hundred, but for a gap of microseconds between two calls, for what
takes two processes of one name, and for a death between the two rounds of a rebalance."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_rule_is_noticed(name: str) -> None:
    profile, parts = BREAKAGES[name]
    for seed in range(MOST.get(name, 500)):
        broken = play(seed, profile, "exactly-once", parts).violations
        if broken and not play(seed, profile, "exactly-once", SOUND).violations:
            print(f"{name}: history {seed + 1}, {broken[0]}")
            return
    pytest.fail(f"{name}: nothing was noticed")
