"""How many calls run side by side."""

from __future__ import annotations

import pytest

from consumer.model import lanes


@pytest.mark.parametrize(("cores", "count"), [(1, 1), (2, 2), (8, 8), (9, 4), (12, 6), (16, 8), (64, 8)])
def test_every_lane_has_as_many_cores_as_another(monkeypatch: pytest.MonkeyPatch, cores: int, count: int) -> None:
    monkeypatch.setattr(lanes, "usable_cores", lambda: cores)
    assert lanes.lanes() == count
