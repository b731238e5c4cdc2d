"""Time goes on for the brokers while this machine is held."""

from __future__ import annotations

import pytest

from consumer.stream.brokers_time import BrokersTime


class Clocks:
    def __init__(self) -> None:
        self.monotonic, self.wall = 100.0, 1.8e9
        self.brokers = BrokersTime(lambda: self.monotonic, lambda: self.wall)

    def after(self, monotonic: float, wall: float) -> float:
        """The brokers' time once both clocks have gone on by so much."""
        self.monotonic += monotonic
        self.wall += wall
        return self.brokers()


def test_both_clocks_together_are_one_time() -> None:
    clocks = Clocks()
    assert [clocks.after(1.0, 1.0), clocks.after(0.5, 0.5)] == pytest.approx([1.0, 1.5])


def test_a_machine_that_was_held_has_the_time_that_its_wall_clock_was_set_on_by() -> None:
    assert Clocks().after(0.0, 240.0) == pytest.approx(240.0)


def test_a_wall_clock_that_is_set_back_takes_no_time_away() -> None:
    clocks = Clocks()
    assert clocks.after(2.0, -3600.0) == pytest.approx(2.0)
    assert clocks.after(1.0, 1.0) == pytest.approx(3.0)
