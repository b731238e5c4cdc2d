"""The system clock jumps: no wait, no pause and no report follows it."""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from pathlib import Path

import pytest

import consumer.breaker
import consumer.stream
from consumer.breaker import FIRST_PAUSE_S
from consumer.suspicion import RUN
from tests.stream.hosts import World

HOUR_S, DAY_S = 3600.0, 86_400.0
JUMPS = (-HOUR_S, DAY_S, -DAY_S, HOUR_S)


class Jumping(World):
    """Its system clock jumps at every reading, while its monotonic one goes on."""

    def __init__(self, jumps: tuple[float, ...]) -> None:
        self.readings = 0
        self.jumps = jumps
        super().__init__((at % 2, "healthy") for at in range(20))
        self.loop._reporter._now = self.system

    def system(self) -> float:
        self.readings += 1
        return 1_700_000_000.0 + self.now + (self.jumps[self.readings % len(self.jumps)] if self.jumps else 0.0)


def history(jumps: tuple[float, ...]) -> tuple[list[tuple[int, int, str | None]], list[str], int, int]:
    """A stream whose network fails and comes back: what was published, what was told, how often it tried."""
    world = Jumping(jumps)
    world.turn(2)
    held = [world.held]
    world.down = {"*"}
    for at in range(RUN + 10):
        world.put(at % 2, f"host-{at}")
    world.turn(30 * FIRST_PAUSE_S)
    asked = world.asked.total()
    held.append(world.held)
    world.down = set()
    world.turn(60)
    held.append(world.held)
    assert world.readings > 10, "the system clock was never read: the test proves nothing"
    return world.published, held, asked, world.polls


def test_the_loop_and_the_breaker_go_by_the_monotonic_clock_alone() -> None:
    steady = history(())
    assert history(JUMPS) == steady
    published, held, *_ = steady
    assert len(published) == 20 + RUN + 10
    assert held[0] == held[2] == ""
    assert held[1], "the breaker never opened: the test proves nothing"


@pytest.mark.parametrize(
    ("timestamp_ms", "counted", "seconds"),
    [
        (1_700_000_000_000 + int(1000 * DAY_S), 1.0, 0.0),  # of tomorrow, or the clock went back: never below 0
        (1_700_000_000_000 - int(1000 * HOUR_S), 1.0, HOUR_S),
        (-1, 0.0, 0.0),  # it has none
        (2**63 - 1, 1.0, 0.0),
    ],
)
def test_the_seconds_of_an_event_never_go_below_zero(timestamp_ms: int, counted: float, seconds: float) -> None:
    world = Jumping(())
    world.topic = {0: [], 1: []}
    world.put(0, "healthy")
    (record,) = world.topic[0]
    world.topic[0] = [replace(record, timestamp_ms=timestamp_ms)]
    world.turn(1)
    value = world.loop._reporter._metrics.registry.get_sample_value
    assert value("image_consumer_event_seconds_count") == counted
    total = value("image_consumer_event_seconds_sum")
    assert total is not None
    assert math.isclose(total, seconds, abs_tol=2.0)


def test_only_what_is_told_reads_the_system_clock() -> None:
    folder = Path(consumer.stream.__file__).parent
    readers = {
        path.name
        for path in [*folder.glob("*.py"), Path(consumer.breaker.__file__)]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"time", "time_ns", "now", "utcnow"}
        if isinstance(node.value, ast.Name) and node.value.id in {"time", "datetime"}
    }
    # The loop only hands it to the report, and what is asked of the other is whether a name may be another's by now.
    assert readers == {"loop.py", "report.py", "brokers_time.py"}
